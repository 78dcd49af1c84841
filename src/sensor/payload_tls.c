/* SPDX-License-Identifier: Apache-2.0 */
#include "payload_tls.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fdio.h"

#include "hooks_private.h"
#include "payload_private.h"

#define KNOWN_MAX 16384u      /* files that are remembered; beyond that all without probes are forgotten, and may be offered again */
#define MACHINE_X86_64 62

static const struct {
        const char *name, *enter, *leave;
} functions[] = {
        { "SSL_read", "up_tls_moves", "ur_tls_read" },
        { "SSL_write", "up_tls_moves", "ur_tls_write" },
        { "SSL_read_ex", "up_tls_moves", "ur_tls_read_ex" },
        { "SSL_write_ex", "up_tls_moves", "ur_tls_write_ex" },
        { "SSL_do_handshake", "up_tls_handshake", "ur_tls_read" },
        { "gnutls_record_recv", "up_tls_moves", "ur_tls_read" },
        { "gnutls_record_send", "up_tls_moves", "ur_tls_write" },
        { "gnutls_handshake", "up_tls_handshake", "ur_tls_read" },
};

typedef struct {
        guint64 dev, ino;
        int probes[2 * G_N_ELEMENTS(functions)]; /* perf events: a probe ends with its own */
        guint n; /* 0: it has none of the functions */
} File;

static guint file_hash(gconstpointer data) {
        const File *f = data;

        return (guint) (f->ino ^ f->ino >> 32 ^ f->dev * 2654435761u);
}

static gboolean file_equal(gconstpointer a, gconstpointer b) {
        const File *x = a, *y = b;

        return x->dev == y->dev && x->ino == y->ino;
}

static void file_free(gpointer data) {
        File *f = data;

        for (guint i = 0; i < f->n; i++)
                close(f->probes[i]);
        g_free(f);
}

GHashTable *bh_payload_tls_table(void) {
        return g_hash_table_new_full(file_hash, file_equal, file_free, NULL);
}

void bh_payload_tls_forget(BhPayload *p) {
        g_hash_table_remove_all(p->tls);
}

/* Whether the socket programs look for calls of libraries. The table's lock is held. */
static void tell_programs(BhPayload *p, gboolean any) {
        g_mutex_lock(&p->lock);
        if (p->state.tls != (guint32) any) {
                p->state.tls = (guint32) any;
                bh_payload_config_write(p);
        }
        g_mutex_unlock(&p->lock);
}

/* ---- probes ---- */

#define UPROBES "/sys/bus/event_source/devices/uprobe/"

/* A number in a file that is nothing else but, if it is given, `before` it. -1: there is none. */
static int number_in(const char *path, const char *before) {
        g_autofree char *text = bh_file_read(AT_FDCWD, path, 64, NULL, NULL, NULL);
        char *end;
        guint64 n;

        if (!text || !g_str_has_prefix(text, before))
                return -1;
        n = g_ascii_strtoull(text + strlen(before), &end, 10);
        return end > text + strlen(before) && n < G_MAXINT ? (int) n : -1;
}

/* Not by libbpf, which does the same for a program that it has loaded itself. */
static int open_probe(int program, const char *path, guint64 offset, gboolean at_end) {
        const int type = number_in(UPROBES "type", ""), bit = number_in(UPROBES "format/retprobe", "config:");
        struct perf_event_attr attr = { .size = sizeof(attr), .type = (guint32) type, .uprobe_path = (guintptr) path, .probe_offset = offset };
        g_auto(BhFd) fd = -1;

        if (program < 0 || type < 0 || bit < 0 || bit > 63) {
                errno = ENOTSUP;
                return -1;
        }
        if (at_end)
                attr.config |= 1ull << bit;
        fd = (int) syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
        if (fd < 0 || ioctl(fd, PERF_EVENT_IOC_SET_BPF, program) || ioctl(fd, PERF_EVENT_IOC_ENABLE, 0))
                return -1;
        return bh_fd_steal(&fd);
}

static gboolean probe(BhPayload *p, File *f, const char *path, guint64 offset, const char *program, gboolean at_end, GError **error) {
        int fd = open_probe(bh_payload_program(p, program), path, offset, at_end);

        if (fd < 0)
                return bh_hooks_fail(error, "cannot look at the calls of the TLS library in %s: %s", path, g_strerror(errno));
        f->probes[f->n++] = fd;
        return TRUE;
}

static gboolean has_no_probes(gpointer key, gpointer value, gpointer data) {
        return ((File *) key)->n == 0;
}

static guint files_with_probes(BhPayload *p) {
        GHashTableIter i;
        gpointer key;
        guint n = 0;

        for (g_hash_table_iter_init(&i, p->tls); g_hash_table_iter_next(&i, &key, NULL); )
                n += ((File *) key)->n != 0;
        return n;
}

static gboolean attach_all(BhPayload *p, File *f, const char *path, const BhElf *elf, GError **error) {
        for (guint i = 0; i < G_N_ELEMENTS(functions); i++) {
                const BhElfSymbol *symbol = bh_elf_symbol(elf, functions[i].name);

                if (!symbol || !symbol->offset)
                        continue;
                if (f->n == 0 && files_with_probes(p) >= BH_PAYLOAD_TLS_FILES)
                        return bh_hooks_fail(error, "%u files have probes on TLS functions already: no more are taken, what connections of %s say stays closed", BH_PAYLOAD_TLS_FILES, path);
                if (!probe(p, f, path, symbol->offset, functions[i].enter, FALSE, error) || !probe(p, f, path, symbol->offset, functions[i].leave, TRUE, error))
                        return FALSE;
        }
        return TRUE;
}

gboolean bh_payload_tls_attach(BhPayload *p, guint64 dev, guint64 ino, const char *path, const BhElf *elf, GError **error) {
        File *f;
        gboolean ok = TRUE;

        g_mutex_lock(&p->tls_lock);
        f = g_new0(File, 1);
        f->dev = dev;
        f->ino = ino;
        if (!g_atomic_int_get(&p->started)) {
                ok = bh_hooks_fail(error, "what connections say is not captured at the moment: probes on TLS functions would show nothing");
        } else if (!g_hash_table_contains(p->tls, f)) {
                if (g_hash_table_size(p->tls) >= KNOWN_MAX)
                        g_hash_table_foreach_remove(p->tls, has_no_probes, NULL);
                /* the kernel's numbers of 32-bit arguments lie elsewhere */
                if (elf->bits == 64 && elf->machine == MACHINE_X86_64)
                        ok = attach_all(p, f, path, elf, error);
                if (!ok)
                        p->tls_refused++;
                if (ok && f->n)
                        tell_programs(p, TRUE);
                if (ok)
                        g_hash_table_add(p->tls, g_steal_pointer(&f));
        }
        if (f)
                file_free(f);
        g_mutex_unlock(&p->tls_lock);
        return ok;
}

void bh_payload_tls_detach(BhPayload *p, guint64 dev, guint64 ino) {
        File key = { .dev = dev, .ino = ino };

        g_mutex_lock(&p->tls_lock);
        g_hash_table_remove(p->tls, &key);
        if (!files_with_probes(p))
                tell_programs(p, FALSE);
        g_mutex_unlock(&p->tls_lock);
}

void bh_payload_tls_stats(BhPayload *p, BhPayloadTlsStats *stats) {
        GHashTableIter i;
        gpointer key;

        g_mutex_lock(&p->tls_lock);
        *stats = (BhPayloadTlsStats) { .refused = p->tls_refused };
        for (g_hash_table_iter_init(&i, p->tls); g_hash_table_iter_next(&i, &key, NULL); ) {
                const File *f = key;

                stats->files += f->n != 0;
                stats->functions += f->n / 2;
        }
        g_mutex_unlock(&p->tls_lock);
}

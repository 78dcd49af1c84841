/* SPDX-License-Identifier: Apache-2.0 */
#include "payload_tls.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/fdio.h"
#include "hooks_private.h"
#include "payload_private.h"

#define MAPS_MAX (4u << 20)   /* bytes of /proc/PID/maps that are read */
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
        struct bpf_link *links[2 * G_N_ELEMENTS(functions)];
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
                bpf_link__destroy(f->links[i]);
        g_free(f);
}

GHashTable *bh_payload_tls_table(void) {
        return g_hash_table_new_full(file_hash, file_equal, file_free, NULL);
}

void bh_payload_tls_forget(BhPayload *p) {
        g_hash_table_remove_all(p->tls);
        if (!p->state.tls)
                return;
        p->state.tls = 0;
        bh_payload_config_write(p);
}

const char *const *bh_payload_tls_functions(guint32 *n) {
        static const char *names[G_N_ELEMENTS(functions)];

        for (guint i = 0; i < G_N_ELEMENTS(functions); i++)
                names[i] = functions[i].name;
        *n = G_N_ELEMENTS(functions);
        return names;
}

/* ---- which files ---- */

static gboolean may_be(const char *path) {
        const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

        return g_str_has_prefix(name, "libssl") || g_str_has_prefix(name, "libgnutls");
}

gboolean bh_payload_tls_files(const char *proc, guint32 pid, void (*found)(const BhPayloadTlsFile *file, gpointer data), gpointer data) {
        g_autofree char *maps = g_strdup_printf("%s/%u/maps", proc, pid), *exe = g_strdup_printf("%s/%u/exe", proc, pid), *text = NULL;
        g_autofree char *executable = g_file_read_link(exe, NULL);
        g_auto(GStrv) lines = NULL;

        text = bh_file_read(AT_FDCWD, maps, MAPS_MAX, NULL, NULL, NULL);
        if (!text)
                return FALSE;
        lines = g_strsplit(text, "\n", -1);
        for (guint i = 0; lines[i]; i++) {
                BhPayloadTlsFile file = { 0 };
                guint64 from, to, offset, ino;
                unsigned major, minor;
                char mode[5];
                int name = 0;

                if (sscanf(lines[i], "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n", &from, &to, mode, &offset, &major, &minor, &ino, &name) != 7 || !name || mode[2] != 'x' || !ino)
                        continue;
                file.name = lines[i] + name;
                if (!may_be(file.name) && g_strcmp0(file.name, executable) != 0)
                        continue;
                file.dev = makedev(major, minor);
                file.ino = ino;
                g_snprintf(file.path, sizeof(file.path), "/proc/%u/map_files/%" PRIx64 "-%" PRIx64, pid, from, to);
                found(&file, data);
        }
        return TRUE;
}

gboolean bh_payload_tls_known(BhPayload *p, guint64 dev, guint64 ino) {
        File key = { .dev = dev, .ino = ino };
        gboolean known;

        g_mutex_lock(&p->lock);
        known = g_hash_table_contains(p->tls, &key);
        g_mutex_unlock(&p->lock);
        return known;
}

/* ---- probes ---- */

static gboolean probe(BhPayload *p, File *f, const char *path, guint64 offset, const char *program, gboolean at_end, GError **error) {
        LIBBPF_OPTS(bpf_uprobe_opts, o, .retprobe = at_end);
        struct bpf_program *prog = bpf_object__find_program_by_name(p->object, program);
        struct bpf_link *link = prog ? bpf_program__attach_uprobe_opts(prog, -1, path, offset, &o) : NULL;

        if (!link)
                return bh_hooks_fail(error, "cannot look at the calls of the TLS library in %s: %s", path, g_strerror(errno));
        f->links[f->n++] = link;
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

        g_mutex_lock(&p->lock);
        f = g_new0(File, 1);
        f->dev = dev;
        f->ino = ino;
        if (!p->started) {
                ok = bh_hooks_fail(error, "what connections say is not captured at the moment: probes on TLS functions would show nothing");
        } else if (!g_hash_table_contains(p->tls, f)) {
                if (g_hash_table_size(p->tls) >= KNOWN_MAX)
                        g_hash_table_foreach_remove(p->tls, has_no_probes, NULL);
                /* the kernel's numbers of 32-bit arguments lie elsewhere */
                if (elf->bits == 64 && elf->machine == MACHINE_X86_64)
                        ok = attach_all(p, f, path, elf, error);
                if (!ok)
                        p->tls_refused++;
                if (ok && f->n && !p->state.tls) {
                        p->state.tls = 1;
                        bh_payload_config_write(p);
                }
                if (ok)
                        g_hash_table_add(p->tls, g_steal_pointer(&f));
        }
        if (f)
                file_free(f);
        g_mutex_unlock(&p->lock);
        return ok;
}

void bh_payload_tls_stats(BhPayload *p, BhPayloadTlsStats *stats) {
        GHashTableIter i;
        gpointer key;

        g_mutex_lock(&p->lock);
        *stats = (BhPayloadTlsStats) { .refused = p->tls_refused };
        for (g_hash_table_iter_init(&i, p->tls); g_hash_table_iter_next(&i, &key, NULL); ) {
                const File *f = key;

                stats->files += f->n != 0;
                stats->functions += f->n / 2;
        }
        g_mutex_unlock(&p->lock);
}

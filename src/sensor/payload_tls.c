/* SPDX-License-Identifier: Apache-2.0 */
#include "payload_tls.h"

#include <errno.h>

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

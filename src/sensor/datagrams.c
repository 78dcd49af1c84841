/* SPDX-License-Identifier: Apache-2.0 */
#include "datagrams.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>

#include "datagrams.skel.h"
#include "hooks_private.h"
#include "loader.h"
#include "sock_record.h"

struct BhDatagrams {
        BhHooks *hooks;
        struct bpf_object *object;
        struct bpf_link *links[2];
        int map;
        gboolean impossible;
        GHashTable *followed; /* addresses of sockets */
        GMutex lock;
        BhDatagramStats stats; /* under the lock */
};

static const char *const programs[2] = { "tp_datagram_sent", "tp_datagram_received" };

BhDatagrams *bh_datagrams_new(BhHooks *hooks) {
        BhDatagrams *d = g_new0(BhDatagrams, 1);

        g_mutex_init(&d->lock);
        d->hooks = hooks;
        d->followed = g_hash_table_new(g_direct_hash, g_direct_equal);
        return d;
}

static void detach(BhDatagrams *d) {
        for (guint i = 0; i < G_N_ELEMENTS(d->links); i++)
                if (d->links[i])
                        bpf_link__destroy(g_steal_pointer(&d->links[i]));
}

void bh_datagrams_free(BhDatagrams *d) {
        if (!d)
                return;
        detach(d);
        if (d->object)
                bpf_object__close(d->object);
        g_hash_table_unref(d->followed);
        g_mutex_clear(&d->lock);
        g_free(d);
}

static gboolean load(BhDatagrams *d, GError **error) {
        size_t size;
        const void *bytes = bh_datagrams__elf_bytes(&size);

        if (d->object)
                return TRUE;
        if (!(d->object = bh_loader_load_apart(d->hooks, "datagrams", bytes, size, error)))
                return FALSE;
        d->map = bpf_object__find_map_fd_by_name(d->object, "followed");
        return TRUE;
}

static gboolean attach(BhDatagrams *d, GError **error) {
        for (guint i = 0; i < G_N_ELEMENTS(d->links); i++) {
                if (d->links[i])
                        continue;
                d->links[i] = bpf_program__attach(bpf_object__find_program_by_name(d->object, programs[i]));
                if (!d->links[i])
                        return bh_hooks_fail(error, "cannot look at what sockets move: %s", g_strerror(errno));
        }
        return TRUE;
}

/* Those that are not among the wanted go. */
static void drop_others(BhDatagrams *d, GHashTable *wanted) {
        GHashTableIter it;
        gpointer sk;

        g_hash_table_iter_init(&it, d->followed);
        while (g_hash_table_iter_next(&it, &sk, NULL)) {
                guint64 key = GPOINTER_TO_SIZE(sk);

                if (g_hash_table_contains(wanted, sk))
                        continue;
                bpf_map_delete_elem(d->map, &key);
                g_hash_table_iter_remove(&it);
        }
}

gboolean bh_datagrams_follow(BhDatagrams *d, const BhDatagramSocket *sockets, guint n, gboolean attach_now, GError **error) {
        g_autoptr(GHashTable) wanted = g_hash_table_new(g_direct_hash, g_direct_equal);
        gboolean was = d->links[0] != NULL, ok = TRUE;
        guint64 refused = 0;

        if (d->impossible || (!n && !d->object))
                return TRUE;
        if (!load(d, error)) {
                d->impossible = TRUE;
                return FALSE;
        }
        for (guint i = 0; i < n; i++)
                g_hash_table_add(wanted, GSIZE_TO_POINTER((gsize) sockets[i].sk));
        drop_others(d, wanted);
        for (guint i = 0; i < n; i++) {
                struct bh_datagrams_moved begin = { .lport = sockets[i].lport, .rport = sockets[i].rport };

                if (g_hash_table_contains(d->followed, GSIZE_TO_POINTER((gsize) sockets[i].sk)))
                        continue;
                if (bpf_map_update_elem(d->map, &sockets[i].sk, &begin, BPF_ANY))
                        refused++;
                else
                        g_hash_table_add(d->followed, GSIZE_TO_POINTER((gsize) sockets[i].sk));
        }
        if (!attach_now || !g_hash_table_size(d->followed))
                detach(d);
        else
                ok = attach(d, error);
        d->impossible |= !ok;
        g_mutex_lock(&d->lock);
        d->stats.attached = d->links[0] != NULL;
        d->stats.attached_times += d->stats.attached && !was;
        d->stats.followed = g_hash_table_size(d->followed);
        d->stats.refused += refused;
        g_mutex_unlock(&d->lock);
        return ok;
}

gboolean bh_datagrams_read(BhDatagrams *d, guint64 sk, BhDatagramCounts *out) {
        struct bh_datagrams_moved v;

        if (!g_hash_table_contains(d->followed, GSIZE_TO_POINTER((gsize) sk)) || bpf_map_lookup_elem(d->map, &sk, &v))
                return FALSE;
        *out = (BhDatagramCounts){ v.bytes_out, v.bytes_in, v.packets_out, v.packets_in };
        return TRUE;
}

void bh_datagrams_each(BhDatagrams *d, void (*each)(guint64 sk, const BhDatagramCounts *counts, gpointer data), gpointer data) {
        GHashTableIter it;
        gpointer sk;

        g_hash_table_iter_init(&it, d->followed);
        while (g_hash_table_iter_next(&it, &sk, NULL)) {
                BhDatagramCounts c;

                if (bh_datagrams_read(d, GPOINTER_TO_SIZE(sk), &c))
                        each(GPOINTER_TO_SIZE(sk), &c, data);
        }
}

void bh_datagrams_stats(BhDatagrams *d, BhDatagramStats *out) {
        g_mutex_lock(&d->lock);
        *out = d->stats;
        g_mutex_unlock(&d->lock);
}

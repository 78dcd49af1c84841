/* SPDX-License-Identifier: Apache-2.0 */
#include "unixes.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>

#include "backends.h"
#include "hooks_private.h"
#include "loader.h"
#include "unixes.skel.h"

#define PROGRAMS 4
#define GRACE_US (40 * 1000) /* programs that began in a turn are done long before */

struct BhUnixes {
        BhHooks *hooks;
        volatile struct bh_config *config;
        struct bpf_object *object;
        struct bpf_link *links[PROGRAMS];
        const char *names[PROGRAMS + 1];
        gboolean fexit, failed;
        int moved, lost;
        gint64 turned_us;
        gboolean due; /* the turn before the present one is not taken yet */

        GMutex lock; /* of the statistics */
        BhUnixesStats stats;
};

/* ---- attached or not ---- */

static void detach(BhUnixes *u) {
        for (guint i = 0; i < PROGRAMS; i++)
                if (u->links[i])
                        bpf_link__destroy(g_steal_pointer(&u->links[i]));
}

/* Unless the programs of payload.h do, which need not ask. */
static void counts(BhUnixes *u) {
        guint8 nobody = BH_UNIX_BY_NOBODY;

        __atomic_compare_exchange_n(&u->config->unix_by, &nobody, BH_UNIX_BY_ITS_OWN, FALSE, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static gboolean attach(BhUnixes *u, GError **error) {
        for (guint i = 0; u->names[i]; i++) {
                u->links[i] = bpf_program__attach(bpf_object__find_program_by_name(u->object, u->names[i]));
                if (!u->links[i]) {
                        bh_hooks_fail(error, "cannot count what Unix sockets move: %s cannot be attached: %s", u->names[i], g_strerror(errno));
                        detach(u);
                        return FALSE;
                }
        }
        counts(u);
        return TRUE;
}

/* Names of the programs that this kernel has a place for. */
static gboolean choose(BhUnixes *u, GError **error) {
        static const struct {
                const char *program, *function;
                gboolean needed;
        } preferred[] = {
                { "fx_unix_stream", "unix_stream_sendmsg", TRUE },
                { "fx_unix_dgram", "unix_dgram_sendmsg", TRUE },
                { "fx_unix_dgram_read", "unix_dgram_recvmsg", TRUE },
                { "fx_unix_page", "unix_stream_sendpage", FALSE },
        };
        g_autofree char *why = NULL;
        guint n = 0;

        G_STATIC_ASSERT(G_N_ELEMENTS(preferred) <= PROGRAMS);
        u->fexit = u->hooks->options.force != BH_BACKEND_FALLBACK && bh_backends_fexit_works(u->hooks, &why);
        for (guint i = 0; u->fexit && i < G_N_ELEMENTS(preferred); i++) {
                if (bh_backends_function_id(u->hooks, preferred[i].function) >= 0)
                        u->names[n++] = preferred[i].program;
                else if (preferred[i].needed)
                        u->fexit = FALSE;
        }
        if (u->fexit)
                return TRUE;
        if (!bh_loader_has_tracepoint(u->hooks, "sock_send_length"))
                return bh_hooks_fail(error, "this kernel lets no fexit programs run and has no tracepoint sock_send_length (Linux 6.5): what moves over Unix sockets is not known");
        u->names[0] = "tp_unix_sent";
        u->names[1] = NULL;
        return TRUE;
}

static gboolean load(BhUnixes *u, GError **error) {
        size_t size;
        const void *bytes = bh_unixes__elf_bytes(&size);

        u->object = bh_loader_load_some(u->hooks, "unixes", bytes, size, u->names, NULL, error);
        return u->object && (!u->fexit || attach(u, error));
}

BhUnixes *bh_unixes_new(BhHooks *hooks, GError **error) {
        g_autoptr(BhUnixes) u = g_new0(BhUnixes, 1);

        g_mutex_init(&u->lock);
        u->hooks = hooks;
        u->config = bh_hooks_config(hooks);
        u->moved = bh_hooks_map(hooks, "unix_moved");
        u->lost = bh_hooks_map(hooks, "unix_lost");
        /* those of a sensor that was killed ended with it, whatever the configuration says */
        u->config->unix_by = BH_UNIX_BY_NOBODY;
        if (!choose(u, error) || !load(u, error))
                return NULL;
        u->config->unix_wanted = 1;
        return g_steal_pointer(&u);
}

void bh_unixes_free(BhUnixes *u) {
        if (!u)
                return;
        u->config->unix_wanted = 0;
        detach(u);
        if (u->object)
                bpf_object__close(u->object);
        g_mutex_clear(&u->lock);
        g_free(u);
}

/* ---- taking ---- */

/* Those of one turn, or (-1) all. */
static void take(BhUnixes *u, gint turn, GArray *taken) {
        struct bh_unix_key key, next;
        BhUnixMoved m;
        guint from = taken->len;

        for (gboolean more = bpf_map_get_next_key(u->moved, NULL, &next) == 0; more && taken->len - from < BH_UNIX_MAX; ) {
                key = next;
                more = bpf_map_get_next_key(u->moved, &key, &next) == 0;
                if ((turn >= 0 && key.turn != turn) || bpf_map_lookup_elem(u->moved, &key, &m.moved) || bpf_map_delete_elem(u->moved, &key))
                        continue;
                m.key = key;
                g_array_append_val(taken, m);
        }
        g_mutex_lock(&u->lock);
        for (guint i = from; i < taken->len; i++) {
                u->stats.entries++;
                u->stats.bytes += g_array_index(taken, BhUnixMoved, i).moved.bytes_out + g_array_index(taken, BhUnixMoved, i).moved.bytes_in;
        }
        g_mutex_unlock(&u->lock);
}

/* Where the programs of payload.h count, others at the same place would cost each call of each socket as much again. */
static gboolean follow_payload(BhUnixes *u, gboolean used, GError **error) {
        if (u->fexit || u->failed)
                return TRUE;
        if (u->config->unix_by == BH_UNIX_BY_PAYLOAD || !used) {
                detach(u);
                return TRUE;
        }
        if (u->links[0]) {
                counts(u);
                return TRUE;
        }
        if (attach(u, error))
                return TRUE;
        u->failed = TRUE;
        return FALSE;
}

gboolean bh_unixes_round(BhUnixes *u, gboolean used, gint64 now_us, GArray *taken, GError **error) {
        gboolean ok = follow_payload(u, used, error);

        if (u->due && now_us - u->turned_us >= GRACE_US) {
                take(u, !u->config->unix_turn, taken);
                u->due = FALSE;
        }
        if (!u->due && now_us - u->turned_us >= BH_UNIXES_TURN_MS * 1000) {
                u->config->unix_turn = !u->config->unix_turn;
                u->turned_us = now_us;
                u->due = TRUE;
        }
        return ok;
}

void bh_unixes_rest(BhUnixes *u, GArray *taken) {
        u->config->unix_wanted = 0;
        take(u, -1, taken);
}

void bh_unixes_stats(BhUnixes *u, BhUnixesStats *stats) {
        struct bh_unix_lost lost = { 0 };
        guint32 zero = 0;

        bpf_map_lookup_elem(u->lost, &zero, &lost);
        g_mutex_lock(&u->lock);
        *stats = u->stats;
        g_mutex_unlock(&u->lock);
        stats->backend = u->fexit ? "fexit" : u->config->unix_by == BH_UNIX_BY_PAYLOAD ? "payload" : "calls";
        stats->refused = lost.refused;
        stats->refused_bytes = lost.refused_bytes;
        stats->unaddressed = lost.unaddressed;
        stats->unaddressed_bytes = lost.unaddressed_bytes;
}

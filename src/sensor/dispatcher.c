/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "backends.h"
#include "hooks_private.h"

#define NR32_SOCKETCALL 102
#define BH_DISPATCHER_PLACES 1088 /* of the map `syscalls` */

static const struct {
        guint32 type;
        const char *handler;
        int native, compat; /* -1: has none */
} calls[] = {
#define BH_HOOK_CALL(type, handler, native, compat) { BH_EV_##type, #handler, native, compat },
#define BH_HOOK_CALL_INSTEAD(type, handler, of, native, compat) BH_HOOK_CALL(type, handler, native, compat)
#include "hooks.tbl.h"
};

static const struct {
        const char *handler;
        guint8 subject; /* enum bh_subject */
} subjects[] = {
#define BH_HOOK_SUBJECT(handler, subject) { #handler, BH_SUBJECT_##subject },
#include "hooks.tbl.h"
};

/* What a handler's first argument must lead to, at its place in an entry of `watch`. socketcall is many calls by one number, its descriptor in memory: any. */
static guint8 subject_of(const char *handler, gboolean socketcall) {
        for (guint i = 0; i < G_N_ELEMENTS(subjects) && !socketcall; i++)
                if (g_str_equal(subjects[i].handler, handler))
                        return (guint8) (subjects[i].subject << 2);
        return 0;
}

/* Where the calls of calls[i] stand in the table; -1: there is none. */
static void indexes(guint i, int out[2]) {
        out[0] = calls[i].native;
        out[1] = calls[i].compat >= 0 ? calls[i].compat + 512 : -1;
}

static gboolean is_bulk(guint32 type) {
        static const guint8 rings[BH_EV_MAX] = {
#define BH_EVENT_TYPE(num, id, name, ring, folds, doc) [num] = BH_RING_##ring,
#include "event_types.tbl.h"
        };

        return rings[type] == BH_RING_BULK;
}

/* What the entries of the table are to be: all handlers that are entered for a hook that is needed, and whether anything but bulk events comes of a number. */
static void watch_of(BhHooks *h, struct bh_watch *w) {
        guint8 key[G_N_ELEMENTS(w->of)] = { 0 }; /* bits as in `of`: others than bulk events too */

        memset(w, 0, sizeof(*w));
        for (guint i = 0; i < G_N_ELEMENTS(calls); i++) {
                g_autofree char *name = g_strconcat("sx_", calls[i].handler, NULL);
                gboolean socketcall = calls[i].compat >= 512, bulk = is_bulk(calls[i].type);
                int compat = socketcall ? NR32_SOCKETCALL : calls[i].compat;

                if (!bh_kinds_has(&h->needed, calls[i].type) || !g_hash_table_contains(h->attached, name))
                        continue;
                if (calls[i].native >= 0) {
                        w->of[calls[i].native] |= (guint8) (BH_WATCH_CALL | subject_of(calls[i].handler, FALSE));
                        key[calls[i].native] |= bulk ? 0 : BH_WATCH_CALL;
                }
                if (compat >= 0) {
                        w->of[compat] |= (guint8) ((BH_WATCH_CALL | subject_of(calls[i].handler, socketcall)) << BH_WATCH_COMPAT);
                        key[compat] |= (guint8) (bulk && !socketcall ? 0 : BH_WATCH_CALL << BH_WATCH_COMPAT); /* socketcall is many calls by one number */
                }
        }
        for (guint nr = 0; nr < G_N_ELEMENTS(w->of); nr++)
                for (guint shift = 0; shift <= BH_WATCH_COMPAT; shift += BH_WATCH_COMPAT)
                        if (w->of[nr] >> shift & BH_WATCH_CALL && !(key[nr] >> shift & BH_WATCH_CALL))
                                w->of[nr] |= (guint8) (BH_WATCH_BULK << shift);
}

gboolean bh_dispatcher_watch(BhHooks *h, GError **error) {
        struct bh_watch w;
        __u32 zero = 0;

        watch_of(h, &w);
        if (bpf_map_update_elem(bh_hooks_map(h, "watch"), &zero, &w, BPF_ANY))
                return bh_hooks_fail(error, "cannot tell the dispatcher which system calls are watched: %s", g_strerror(errno));
        return TRUE;
}

gboolean bh_dispatcher_enter(BhHooks *h, struct bpf_program *p, GError **error) {
        const char *name = bpf_program__name(p);
        int map = bh_hooks_map(h, "syscalls"), fd = bpf_program__fd(p);

        for (guint i = 0; i < G_N_ELEMENTS(calls); i++) {
                int at[2];

                if (!g_str_equal(calls[i].handler, name + strlen("sx_")))
                        continue;
                indexes(i, at);
                for (guint k = 0; k < G_N_ELEMENTS(at); k++)
                        if (at[k] >= 0 && bpf_map_update_elem(map, &at[k], &fd, BPF_ANY))
                                return bh_hooks_fail(error, "cannot enter %s for system call %d: %s", name, at[k], g_strerror(errno));
        }
        g_hash_table_add(h->attached, g_strdup(name));
        return TRUE;
}

gboolean bh_dispatcher_prune(BhHooks *h, GHashTable *want, GError **error) {
        g_autofree guint8 *used = g_new0(guint8, BH_DISPATCHER_PLACES);
        int map = bh_hooks_map(h, "syscalls");

        for (guint i = 0; i < G_N_ELEMENTS(calls); i++) {
                g_autofree char *name = g_strconcat("sx_", calls[i].handler, NULL);
                int at[2];

                indexes(i, at);
                for (guint k = 0; k < G_N_ELEMENTS(at) && g_hash_table_contains(want, name); k++)
                        if (at[k] >= 0)
                                used[at[k]] = 1;
        }
        for (guint i = 0; i < G_N_ELEMENTS(calls); i++) {
                g_autofree char *name = g_strconcat("sx_", calls[i].handler, NULL);
                int at[2];

                indexes(i, at);
                for (guint k = 0; k < G_N_ELEMENTS(at); k++)
                        if (at[k] >= 0 && !used[at[k]])
                                bpf_map_delete_elem(map, &at[k]);
                if (!g_hash_table_contains(want, name))
                        g_hash_table_remove(h->attached, name);
        }
        return bh_dispatcher_watch(h, error);
}

/* TRUE if the table has an entry for each system call of that handler. */
static gboolean has(BhHooks *h, const char *handler) {
        int map = bh_hooks_map(h, "syscalls");

        for (guint i = 0; i < G_N_ELEMENTS(calls); i++) {
                int at[2];

                if (!g_str_equal(calls[i].handler, handler))
                        continue;
                indexes(i, at);
                for (guint k = 0; k < G_N_ELEMENTS(at); k++) {
                        __u32 id;

                        if (at[k] >= 0 && bpf_map_lookup_elem(map, &at[k], &id))
                                return FALSE;
                }
        }
        return TRUE;
}

void bh_dispatcher_look(BhHooks *h) {
        for (guint i = 0; i < G_N_ELEMENTS(calls); i++) {
                g_autofree char *name = g_strconcat("sx_", calls[i].handler, NULL);

                if (has(h, calls[i].handler)) /* also of one that stands in for it at the same place: it is looked after alike */
                        g_hash_table_add(h->attached, g_steal_pointer(&name));
                else
                        g_hash_table_remove(h->attached, name);
        }
}

/* Whether the dispatcher looks for a number and does not take it for less than what comes of it. */
static gboolean watched(guint of, gboolean bulk, guint8 subject) {
        return of & BH_WATCH_CALL && (bulk || !(of & BH_WATCH_BULK)) && BH_WATCH_SUBJECT(of) << 2 == subject;
}

gboolean bh_dispatcher_whole(BhHooks *h, guint32 type) {
        g_autoptr(GHashTable) want = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        struct bh_watch w;
        __u32 zero = 0;

        if (bpf_map_lookup_elem(bh_hooks_map(h, "watch"), &zero, &w))
                return FALSE;
        bh_backends_programs(h, type, BH_BACKEND_FALLBACK, want);
        for (guint i = 0; i < G_N_ELEMENTS(calls); i++) {
                g_autofree char *name = calls[i].type == type ? g_strconcat("sx_", calls[i].handler, NULL) : NULL;

                if (!name || !g_hash_table_contains(want, name))
                        continue;
                if (!has(h, calls[i].handler) || (calls[i].native >= 0 && !watched(w.of[calls[i].native], is_bulk(type), subject_of(calls[i].handler, FALSE))))
                        return FALSE;
                if (calls[i].compat < 0)
                        continue;

                gboolean socketcall = calls[i].compat >= 512;
                guint of = w.of[socketcall ? NR32_SOCKETCALL : calls[i].compat] >> BH_WATCH_COMPAT;
                if (!watched(of, is_bulk(type) && !socketcall, subject_of(calls[i].handler, socketcall)))
                        return FALSE;
        }
        return TRUE;
}

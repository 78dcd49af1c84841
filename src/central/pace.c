/* SPDX-License-Identifier: Apache-2.0 */
#include "pace.h"

#define STEP_US ((gint64) BH_PACE_SECONDS * G_USEC_PER_SEC)

/* `full_at`: when all of the burst will be there again; each act moves it on by a step. */
typedef struct {
        gint64 full_at;
        guint64 skipped;
} Entry;

struct BhPace {
        GMutex lock;
        GHashTable *users; /* name -> Entry */
        guint64 refused;
};

BhPace *bh_pace_new(void) {
        BhPace *p = g_new0(BhPace, 1);

        g_mutex_init(&p->lock);
        p->users = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        return p;
}

void bh_pace_free(BhPace *p) {
        if (!p)
                return;
        g_hash_table_unref(p->users);
        g_mutex_clear(&p->lock);
        g_free(p);
}

static void make_room(BhPace *p) {
        const char *user, *quiet = NULL;
        gint64 since = G_MAXINT64;
        GHashTableIter it;
        Entry *e;

        if (g_hash_table_size(p->users) < BH_PACE_USERS)
                return;
        g_hash_table_iter_init(&it, p->users);
        while (g_hash_table_iter_next(&it, (gpointer *) &user, (gpointer *) &e)) {
                if (e->full_at < since) {
                        since = e->full_at;
                        quiet = user;
                }
        }
        g_hash_table_remove(p->users, quiet);
}

guint bh_pace_take(BhPace *p, const char *user, gint64 now_us, guint64 *skipped) {
        guint wait = 0;

        g_mutex_lock(&p->lock);
        Entry *e = g_hash_table_lookup(p->users, user);
        if (!e) {
                make_room(p);
                e = g_new0(Entry, 1);
                g_hash_table_insert(p->users, g_strdup(user), e);
        }
        gint64 at = MAX(e->full_at, now_us) + STEP_US, over = at - now_us - BH_PACE_BURST * STEP_US;
        if (over > 0) {
                wait = (guint) ((over + G_USEC_PER_SEC - 1) / G_USEC_PER_SEC);
                e->skipped++;
                p->refused++;
        } else {
                e->full_at = at;
                if (skipped) {
                        *skipped = e->skipped;
                        e->skipped = 0;
                }
        }
        g_mutex_unlock(&p->lock);
        return wait;
}

guint64 bh_pace_refused(BhPace *p) {
        g_mutex_lock(&p->lock);
        guint64 n = p->refused;
        g_mutex_unlock(&p->lock);
        return n;
}

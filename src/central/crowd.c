/* SPDX-License-Identifier: Apache-2.0 */
#include "crowd.h"

struct BhCrowd {
        GMutex lock;
        GHashTable *users; /* name -> how many */
        guint all;
        guint64 refused;
};

BhCrowd *bh_crowd_new(void) {
        BhCrowd *c = g_new0(BhCrowd, 1);

        g_mutex_init(&c->lock);
        c->users = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        return c;
}

void bh_crowd_free(BhCrowd *c) {
        if (!c)
                return;
        g_hash_table_unref(c->users);
        g_mutex_clear(&c->lock);
        g_free(c);
}

gboolean bh_crowd_enter(BhCrowd *c, const char *user) {
        g_mutex_lock(&c->lock);
        guint n = GPOINTER_TO_UINT(g_hash_table_lookup(c->users, user));
        gboolean room = n < BH_CROWD_PER_USER && c->all < BH_CROWD_ALL;
        if (room) {
                g_hash_table_insert(c->users, g_strdup(user), GUINT_TO_POINTER(n + 1));
                c->all++;
        } else {
                c->refused++;
        }
        g_mutex_unlock(&c->lock);
        return room;
}

void bh_crowd_leave(BhCrowd *c, const char *user) {
        g_mutex_lock(&c->lock);
        guint n = GPOINTER_TO_UINT(g_hash_table_lookup(c->users, user));
        if (n > 1)
                g_hash_table_insert(c->users, g_strdup(user), GUINT_TO_POINTER(n - 1));
        else
                g_hash_table_remove(c->users, user);
        c->all--;
        g_mutex_unlock(&c->lock);
}

guint64 bh_crowd_refused(BhCrowd *c) {
        g_mutex_lock(&c->lock);
        guint64 n = c->refused;
        g_mutex_unlock(&c->lock);
        return n;
}

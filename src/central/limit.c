/* SPDX-License-Identifier: Apache-2.0 */
#include "limit.h"

#include <arpa/inet.h>
#include <string.h>

#define FORGET_US ((gint64) 3600 * G_USEC_PER_SEC)

typedef struct {
        guint failures;
        gint64 last, closed_until;
} Entry;

struct BhLimit {
        GMutex lock;
        GHashTable *entries; /* key -> Entry */
        guint64 evicted;
};

BhLimit *bh_limit_new(void) {
        BhLimit *l = g_new0(BhLimit, 1);

        g_mutex_init(&l->lock);
        l->entries = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        return l;
}

void bh_limit_free(BhLimit *l) {
        if (!l)
                return;
        g_hash_table_unref(l->entries);
        g_mutex_clear(&l->lock);
        g_free(l);
}

/* What an address shares its budget with: caller frees. */
static char *budget_of(const char *address) {
        struct in6_addr a;
        char text[INET6_ADDRSTRLEN];

        if (inet_pton(AF_INET6, address, &a) != 1 || IN6_IS_ADDR_V4MAPPED(&a) || IN6_IS_ADDR_LOOPBACK(&a))
                return g_strdup(address);
        memset(a.s6_addr + 8, 0, 8);
        return g_strdup(inet_ntop(AF_INET6, &a, text, sizeof(text)));
}

/* Neither an address nor a device holds a line feed. *alone (NULL: none): the key of the address. */
static char *keys_of(const BhLimitWho *who, char **alone) {
        *alone = who->device ? NULL : budget_of(who->address);
        return who->device ? g_strconcat("device\n", who->device, "\n", who->user, NULL) : g_strconcat(*alone, "\n", who->user, NULL);
}

static guint wait_of(BhLimit *l, const char *key, gint64 now) {
        const Entry *e = g_hash_table_lookup(l->entries, key);

        return e && e->closed_until > now ? (guint) ((e->closed_until - now + G_USEC_PER_SEC - 1) / G_USEC_PER_SEC) : 0;
}

guint bh_limit_wait(BhLimit *l, const BhLimitWho *who, gint64 now) {
        g_autofree char *alone = NULL, *pair = keys_of(who, &alone);

        g_mutex_lock(&l->lock);
        guint seconds = MAX(wait_of(l, pair, now), alone ? wait_of(l, alone, now) : 0);
        g_mutex_unlock(&l->lock);
        return seconds;
}

static void make_room(BhLimit *l, gint64 now) {
        GHashTableIter it;
        const char *key, *oldest = NULL;
        Entry *e;
        gint64 since = G_MAXINT64;

        if (g_hash_table_size(l->entries) < BH_LIMIT_ENTRIES)
                return;
        g_hash_table_iter_init(&it, l->entries);
        while (g_hash_table_iter_next(&it, (gpointer *) &key, (gpointer *) &e)) {
                if (now - e->last > FORGET_US) {
                        g_hash_table_iter_remove(&it);
                } else if (e->last < since) {
                        since = e->last;
                        oldest = key;
                }
        }
        if (g_hash_table_size(l->entries) >= BH_LIMIT_ENTRIES && oldest) {
                g_hash_table_remove(l->entries, oldest);
                l->evicted++;
        }
}

/* Takes the key. */
static gboolean count(BhLimit *l, char *key, guint free_failures, gint64 now) {
        Entry *e = g_hash_table_lookup(l->entries, key);

        if (!e) {
                make_room(l, now);
                e = g_new0(Entry, 1);
                g_hash_table_insert(l->entries, key, e);
        } else {
                g_free(key);
        }
        if (e->last && now - e->last > FORGET_US)
                e->failures = 0;
        e->last = now;
        e->failures++;
        if (e->failures < free_failures)
                return FALSE;

        guint power = MIN(e->failures - free_failures, 16);
        e->closed_until = now + (gint64) MIN(1u << power, BH_LIMIT_MAX_SECONDS) * G_USEC_PER_SEC;
        return TRUE;
}

gboolean bh_limit_failed(BhLimit *l, const BhLimitWho *who, gint64 now) {
        char *alone, *pair = keys_of(who, &alone);

        g_mutex_lock(&l->lock);
        gboolean closed = count(l, pair, BH_LIMIT_FREE, now);
        if (alone && count(l, alone, BH_LIMIT_FREE_ADDRESS, now))
                closed = TRUE;
        g_mutex_unlock(&l->lock);
        return closed;
}

void bh_limit_succeeded(BhLimit *l, const BhLimitWho *who) {
        g_autofree char *alone = NULL, *pair = keys_of(who, &alone);

        g_mutex_lock(&l->lock);
        g_hash_table_remove(l->entries, pair);
        g_mutex_unlock(&l->lock);
}

guint64 bh_limit_evicted(BhLimit *l) {
        g_mutex_lock(&l->lock);
        guint64 n = l->evicted;
        g_mutex_unlock(&l->lock);
        return n;
}

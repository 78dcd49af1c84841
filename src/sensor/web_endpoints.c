/* SPDX-License-Identifier: Apache-2.0 */
#include "web_endpoints.h"

#include <string.h>

typedef struct {
        BhWebEndpoint e; /* must be first */
        char *key;
        gint64 due_us;
        GQueue *in;
        GList link;
} Entry;

struct BhWebEndpoints {
        GHashTable *entries;    /* key → Entry */
        GHashTable *containers; /* char *id → number of its entries */
        GQueue fresh, repeats, idle;
        BhWebEndpointsStats stats;
};

static void entry_free(gpointer p) {
        Entry *n = p;

        bh_container_unref(n->e.container);
        g_free(n->e.method);
        g_free(n->e.path);
        g_free(n->e.peer);
        g_free(n->key);
        g_free(n);
}

BhWebEndpoints *bh_web_endpoints_new(void) {
        BhWebEndpoints *t = g_new0(BhWebEndpoints, 1);

        t->entries = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, entry_free);
        t->containers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        return t;
}

void bh_web_endpoints_free(BhWebEndpoints *t) {
        if (!t)
                return;
        g_hash_table_unref(t->entries);
        g_hash_table_unref(t->containers);
        g_free(t);
}

static void count_container(BhWebEndpoints *t, const char *id, int by) {
        int n = GPOINTER_TO_INT(g_hash_table_lookup(t->containers, id)) + by;

        if (n > 0)
                g_hash_table_replace(t->containers, g_strdup(id), GINT_TO_POINTER(n));
        else
                g_hash_table_remove(t->containers, id);
}

static void move(Entry *n, GQueue *to, gint64 due_us) {
        if (n->in)
                g_queue_unlink(n->in, &n->link);
        n->in = to;
        n->due_us = due_us;
        g_queue_push_tail_link(to, &n->link);
}

static char *key_of(const BhWebExchangeFact *f, const char *path, const char *peer) {
        return g_strdup_printf("%s\n%c\n%s\n%s\n%s", f->container->id, f->client ? 'c' : 's', f->method, path, peer);
}

/* NULL: no room, even for the rest. */
static Entry *entry_of(BhWebEndpoints *t, const BhWebExchangeFact *f) {
        const char *path = f->path, *peer = f->client ? f->peer : "", *method = f->method;
        g_autofree char *key = key_of(f, path, peer);
        Entry *n = g_hash_table_lookup(t->entries, key);

        if (n)
                return n;
        if (GPOINTER_TO_UINT(g_hash_table_lookup(t->containers, f->container->id)) >= BH_WEB_ENDPOINTS_CONTAINER || g_hash_table_size(t->entries) >= BH_WEB_ENDPOINTS) {
                t->stats.rest++;
                path = BH_WEB_ENDPOINT_REST;
                peer = "";
                method = BH_WEB_ENDPOINT_REST;
                g_free(key);
                key = g_strdup_printf("%s\n%c\n*", f->container->id, f->client ? 'c' : 's');
                if ((n = g_hash_table_lookup(t->entries, key)))
                        return n;
                if (g_hash_table_size(t->entries) >= 2 * BH_WEB_ENDPOINTS) {
                        t->stats.refused++;
                        return NULL;
                }
        }
        n = g_new0(Entry, 1);
        n->e.container = bh_container_ref((BhContainer *) f->container);
        n->e.client = f->client;
        n->e.method = g_strdup(method);
        n->e.path = g_strdup(path);
        n->e.peer = g_strdup(peer);
        n->key = g_steal_pointer(&key);
        n->link.data = n;
        move(n, &t->fresh, 0);
        g_hash_table_insert(t->entries, n->key, n);
        count_container(t, f->container->id, 1);
        return n;
}

void bh_web_endpoints_add(BhWebEndpoints *t, const BhWebExchangeFact *f, gint64 now_us) {
        Entry *n = entry_of(t, f);

        t->stats.counted++;
        if (!n)
                return;
        if (n->in == &t->idle)
                move(n, &t->repeats, now_us + BH_WEB_ENDPOINT_REPEAT_US);
        BhWebEndpoint *e = &n->e;
        if (!e->count)
                e->first_ns = f->begin_ns;
        e->count++;
        e->last_ns = f->begin_ns;
        e->pid = f->pid;
        e->start = f->start;
        e->status[f->status >= 100 && f->status < 600 ? f->status / 100 : BH_WEB_STATUS_NONE]++;
        e->request_bytes += f->request_bytes;
        e->response_bytes += f->response_bytes;
        if (f->status && f->end_ns >= f->begin_ns) {
                guint64 took = (guint64) (f->end_ns - f->begin_ns) / 1000;

                e->latency_us += took;
                e->latency_max_us = MAX(e->latency_max_us, took);
                e->timed++;
        }
}

guint bh_web_endpoints_take(BhWebEndpoints *t, gboolean all, gint64 now_us, guint max, void (*told)(const BhWebEndpoint *endpoint, gpointer data), gpointer data) {
        guint n = 0;

        for (; n < max; n++) {
                Entry *next = t->fresh.head ? t->fresh.head->data : NULL;

                if (!next && t->repeats.head && (all || ((Entry *) t->repeats.head->data)->due_us <= now_us))
                        next = t->repeats.head->data;
                if (!next)
                        break;
                told(&next->e, data);
                t->stats.told++;
                next->e.count = next->e.request_bytes = next->e.response_bytes = next->e.latency_us = next->e.latency_max_us = next->e.timed = 0;
                memset(next->e.status, 0, sizeof(next->e.status));
                move(next, &t->idle, now_us + BH_WEB_ENDPOINT_QUIET_US);
        }
        for (guint i = 0; i < max && t->idle.head && ((Entry *) t->idle.head->data)->due_us <= now_us; i++) {
                Entry *quiet = t->idle.head->data;

                g_queue_unlink(quiet->in, &quiet->link);
                count_container(t, quiet->e.container->id, -1);
                g_hash_table_remove(t->entries, quiet->key);
        }
        return n;
}

void bh_web_endpoints_stats(const BhWebEndpoints *t, BhWebEndpointsStats *out) {
        *out = t->stats;
        out->endpoints = g_hash_table_size(t->entries);
}

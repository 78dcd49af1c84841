/* SPDX-License-Identifier: Apache-2.0 */
#include "web_endpoints.h"

#include <string.h>

typedef struct {
        BhWebEndpoint e; /* must be first */
        char *key;
        gboolean refused; /* never answered, or by 4xx alone */
        gboolean rest_known;
        gint64 due_us;
        GQueue *in;
        GList link;
} Entry;

struct BhWebEndpoints {
        GHashTable *entries;    /* key → Entry */
        GHashTable *containers; /* char *id → Room */
        GQueue fresh, repeats, idle;
        BhWebEndpointsStats stats;
};

/* What a container has. */
typedef struct {
        guint endpoints, refused, params;
} Room;

static void entry_free(gpointer p) {
        Entry *n = p;

        for (guint i = 0; i < n->e.n_params; i++)
                g_free(n->e.params[i].name);
        g_free(n->e.params);
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
        t->containers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        return t;
}

void bh_web_endpoints_free(BhWebEndpoints *t) {
        if (!t)
                return;
        g_hash_table_unref(t->entries);
        g_hash_table_unref(t->containers);
        g_free(t);
}

static Room *room_of(BhWebEndpoints *t, const char *id) {
        Room *r = g_hash_table_lookup(t->containers, id);

        if (!r)
                g_hash_table_insert(t->containers, g_strdup(id), r = g_new0(Room, 1));
        return r;
}

static void forget(BhWebEndpoints *t, Entry *n) {
        const char *id = n->e.container->id;
        Room *r = room_of(t, id);

        r->endpoints--;
        r->refused -= n->refused;
        r->params -= n->e.n_params;
        t->stats.params -= n->e.n_params;
        if (!r->endpoints)
                g_hash_table_remove(t->containers, id);
        g_queue_unlink(n->in, &n->link);
        g_hash_table_remove(t->entries, n->key);
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

static gboolean is_refused(const BhWebExchangeFact *f) {
        return f->status < 100 || (f->status >= 400 && f->status < 500);
}

static Entry *entry_new(BhWebEndpoints *t, const BhWebExchangeFact *f, const char *method, const char *path, const char *peer, char *key, Room *room) {
        Entry *n = g_new0(Entry, 1);

        n->e.container = bh_container_ref((BhContainer *) f->container);
        n->e.client = f->client;
        n->e.method = g_strdup(method);
        n->e.path = g_strdup(path);
        n->e.peer = g_strdup(peer);
        n->key = key;
        n->refused = is_refused(f);
        n->link.data = n;
        move(n, &t->fresh, 0);
        g_hash_table_insert(t->entries, n->key, n);
        room->endpoints++;
        room->refused += n->refused;
        return n;
}

/* NULL: no room, even for the rest. */
static Entry *entry_of(BhWebEndpoints *t, const BhWebExchangeFact *f) {
        const char *peer = f->client ? f->peer : "";
        g_autofree char *key = key_of(f, f->path, peer);
        Entry *n = g_hash_table_lookup(t->entries, key);

        if (n)
                return n;
        const Room *have = g_hash_table_lookup(t->containers, f->container->id);
        gboolean full = have && (have->endpoints >= BH_WEB_ENDPOINTS_CONTAINER || (is_refused(f) && have->refused >= BH_WEB_ENDPOINTS_REFUSED));

        if (!full && g_hash_table_size(t->entries) < BH_WEB_ENDPOINTS)
                return entry_new(t, f, f->method, f->path, peer, g_steal_pointer(&key), room_of(t, f->container->id));
        t->stats.rest++;
        g_free(key);
        key = g_strdup_printf("%s\n%c\n*", f->container->id, f->client ? 'c' : 's');
        if ((n = g_hash_table_lookup(t->entries, key)))
                return n;
        if (g_hash_table_size(t->entries) >= 2 * BH_WEB_ENDPOINTS) {
                t->stats.refused++;
                return NULL;
        }
        return entry_new(t, f, BH_WEB_ENDPOINT_REST, BH_WEB_ENDPOINT_REST, "", g_steal_pointer(&key), room_of(t, f->container->id));
}

/* TRUE: there is something to be told at once. */
static gboolean add_param(BhWebEndpoints *t, Entry *n, const BhWebParam *p, gint64 at_ns) {
        const guint32 hash = g_str_hash(p->name) ^ ((guint32) p->place << 24 | (guint32) p->type << 16);
        BhWebEndpointParam *found = NULL;
        BhWebEndpoint *e = &n->e;
        gboolean news = FALSE;

        for (guint i = 0; i < e->n_params && !found; i++) {
                BhWebEndpointParam *one = &e->params[i];

                if (one->hash == hash && one->place == p->place && one->type == p->type && g_str_equal(one->name, p->name))
                        found = one;
        }
        if (!found) {
                Room *room = room_of(t, e->container->id);

                if (e->n_params >= BH_WEB_ENDPOINT_PARAMS || room->params >= BH_WEB_PARAMS_CONTAINER || t->stats.params >= BH_WEB_PARAMS) {
                        e->rest++;
                        t->stats.params_rest++;
                        news = !n->rest_known;
                        n->rest_known = TRUE;
                        return news;
                }
                if (e->n_params % 8 == 0)
                        e->params = g_renew(BhWebEndpointParam, e->params, e->n_params + 8);
                found = &e->params[e->n_params++];
                *found = (BhWebEndpointParam){ .hash = hash, .place = p->place, .type = p->type, .length = p->length, .name = g_strdup(p->name) };
                room->params++;
                t->stats.params++;
                news = TRUE;
        } else if (p->length > found->length) {
                found->length = p->length;
                news = TRUE;
        }
        if (!found->count++)
                found->first_ns = at_ns;
        found->last_ns = at_ns;
        return news;
}

void bh_web_endpoints_add(BhWebEndpoints *t, const BhWebExchangeFact *f, gint64 now_us) {
        Entry *n = entry_of(t, f);
        gboolean news = FALSE;

        t->stats.counted++;
        if (!n)
                return;
        if (n->refused && !is_refused(f)) {
                n->refused = FALSE;
                room_of(t, n->e.container->id)->refused--;
        }
        BhWebEndpoint *e = &n->e;
        /* of many paths together nobody can say what belongs to which; and what was refused is not what it takes */
        if (!is_refused(f) && f->status < 400 && !g_str_equal(e->path, BH_WEB_ENDPOINT_REST)) {
                for (guint i = 0; i < f->n_params; i++)
                        news |= add_param(t, n, &f->params[i], f->begin_ns);
                e->rest += f->params_dropped;
                t->stats.params_rest += f->params_dropped;
        }
        if (news && n->in != &t->fresh)
                move(n, &t->fresh, 0);
        else if (n->in == &t->idle)
                move(n, &t->repeats, now_us + BH_WEB_ENDPOINT_REPEAT_US);
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
                for (guint i = 0; i < next->e.n_params; i++)
                        next->e.params[i].count = 0;
                next->e.rest = next->e.count = next->e.request_bytes = next->e.response_bytes = next->e.latency_us = next->e.latency_max_us = next->e.timed = 0;
                memset(next->e.status, 0, sizeof(next->e.status));
                move(next, &t->idle, now_us + BH_WEB_ENDPOINT_QUIET_US);
        }
        for (guint i = 0; i < max && t->idle.head && ((Entry *) t->idle.head->data)->due_us <= now_us; i++) {
                forget(t, t->idle.head->data);
        }
        return n;
}

void bh_web_endpoints_stats(const BhWebEndpoints *t, BhWebEndpointsStats *out) {
        *out = t->stats;
        out->endpoints = g_hash_table_size(t->entries);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the analyzer sees beside observations: which containers run, for how long, and who talks to whom. */
#include <string.h>

#include "base/log.h"
#include "graph.h"
#include "models_private.h"

#define CHANGES_AT_ONCE 256
#define NODES_US (3 * (gint64) G_USEC_PER_SEC)
#define AWAY_NS (24 * 3600 * G_GINT64_CONSTANT(1000000000)) /* a node that was not heard of for so long: its containers are no replicas any more */
#define PEERS_US (2 * (gint64) G_USEC_PER_SEC)
#define PEERS_REST 20 /* times that asking the map takes, until it is asked again */
#define EDGES_MAX 200000u
#define OUTSIDE_FIRST_HOURS 1.0 /* a workload that had no destination outside for so long: the first one is not learned by itself */

void bh_models_box_free(gpointer p) {
        BhModelBox *b = p;

        g_free(b->node);
        g_free(b->id);
        g_free(b->name);
        g_free(b->image);
        g_free(b->application);
        g_free(b->workload);
        g_free(b->digest);
        g_free(b);
}

/* `seen_live`: it was not there when this program began. */
static BhModelBox *set_box(BhModels *m, const BhStoreContainer *c, gboolean seen_live) {
        g_autofree char *key = g_strdup_printf("%s/%s", c->node, c->id);
        BhModelBox *old = g_hash_table_lookup(m->boxes, key), *b = g_new0(BhModelBox, 1);

        b->node = g_strdup(c->node);
        b->id = g_strdup(c->id);
        b->name = g_strdup(c->name);
        b->image = g_strdup(c->image);
        b->application = g_strdup(c->application);
        b->workload = g_strdup(c->workload);
        /* as the sensor tells it with each observation */
        b->digest = g_strdup(*c->image_digest ? c->image_digest : c->image_id);
        b->started_ns = c->started_ns;
        b->running = !c->ended_ns && g_str_equal(c->state, "running");
        b->replica = g_str_hash(c->id);
        b->counted_us = old ? old->counted_us : 0;
        gboolean began = seen_live && b->running && b->started_ns && *b->workload && (!old || old->started_ns != b->started_ns || !*old->workload);
        if (c->ended_ns) {
                /* its observations may still come, and name it */
                b->counted_us = 0;
        }
        g_hash_table_replace(m->boxes, g_steal_pointer(&key), b);
        if (began) {
                BhKept *k = bh_models_kept(m, b->application, b->workload, TRUE);

                if (k)
                        bh_model_start(k->model, b->digest, b->started_ns);
        }
        return b;
}

static BhModelBox *fetch(BhModels *m, const char *node, const char *id) {
        g_autoptr(GError) error = NULL;
        g_autoptr(BhStoreContainer) c = bh_store_container(m->central->store, node, id, &error);

        return c ? set_box(m, c, !m->replaying) : NULL;
}

BhModelBox *bh_models_box(BhModels *m, const char *node, const char *container) {
        g_autofree char *key = g_strdup_printf("%s/%s", node, container);
        BhModelBox *b = g_hash_table_lookup(m->boxes, key);

        return b && *b->workload ? b : fetch(m, node, container);
}

static gboolean load_all(BhModels *m, GError **error) {
        g_autofree char *cursor = NULL;

        do {
                g_autoptr(BhStorePage) page = bh_store_containers(m->central->store, NULL, cursor, 0, error);

                if (!page)
                        return FALSE;
                for (guint i = 0; i < page->rows->len; i++)
                        set_box(m, page->rows->pdata[i], FALSE);
                g_free(cursor);
                cursor = g_steal_pointer(&page->next);
        } while (cursor);
        return TRUE;
}

gboolean bh_models_watch_begin(BhModels *m, GError **error) {
        return bh_store_changes_last(m->central->store, &m->after, error) && load_all(m, error);
}

static void follow_containers(BhModels *m) {
        guint got;

        do {
                gboolean gap = FALSE;
                g_autoptr(GError) error = NULL;
                g_autoptr(GPtrArray) changes = bh_store_changes_after(m->central->store, m->after, CHANGES_AT_ONCE, &gap, &error);

                if (!changes) {
                        bh_error("behaviour models cannot read what changed", "error", error->message);
                        return;
                }
                if (gap) {
                        g_hash_table_remove_all(m->boxes);
                        if (!bh_models_watch_begin(m, &error))
                                bh_error("behaviour models cannot read the containers", "error", error->message);
                        return;
                }
                got = changes->len;
                for (guint i = 0; i < changes->len; i++) {
                        const BhStoreChange *c = changes->pdata[i];
                        const char *slash = strchr(c->key, '/');

                        m->after = c->id;
                        if (c->kind != BH_STORE_CHANGE_CONTAINER || !slash)
                                continue;
                        g_autofree char *node = g_strndup(c->key, (gsize) (slash - c->key));
                        if (!fetch(m, node, slash + 1))
                                g_hash_table_remove(m->boxes, c->key);
                }
        } while (got == CHANGES_AT_ONCE);
}

enum { NODE_AWAY = 1, NODE_UP };

static void read_nodes(BhModels *m) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GPtrArray) nodes = bh_store_nodes(m->central->store, &error);

        if (!nodes)
                return;
        g_hash_table_remove_all(m->nodes);
        for (guint i = 0; i < nodes->len; i++) {
                const BhStoreNode *n = nodes->pdata[i];

                if (n->up || n->last_seen_ns + AWAY_NS > g_get_real_time() * 1000)
                        g_hash_table_insert(m->nodes, g_strdup(n->name), GINT_TO_POINTER(n->up ? NODE_UP : NODE_AWAY));
        }
}

/* ---- time ---- */

typedef struct {
        BhModel *model;
        const char *digest;
        guint running;
        double ns;
} Exposure;

static void reset(BhModel *model, gpointer data) {
        for (guint i = 0; i < model->versions->len; i++)
                ((BhModelVersion *) model->versions->pdata[i])->running = 0;
}

/* A container's time counts once it has begun, and while its node is watched. */
static void count_time(BhModels *m) {
        g_autoptr(GHashTable) sums = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        gint64 now_us = g_get_monotonic_time(), now_ns = g_get_real_time() * 1000;
        GHashTableIter it;
        gpointer p;

        bh_models_each(m, reset, NULL);
        g_hash_table_iter_init(&it, m->boxes);
        while (g_hash_table_iter_next(&it, NULL, &p)) {
                BhModelBox *b = p;
                gint node = GPOINTER_TO_INT(g_hash_table_lookup(m->nodes, b->node));
                BhKept *k;

                if (!b->running || !*b->workload || !node || !(k = bh_models_kept(m, b->application, b->workload, FALSE))) {
                        b->counted_us = 0;
                        continue;
                }
                g_autofree char *key = g_strdup_printf("%p %s", (void *) k->model, b->digest);
                Exposure *e = g_hash_table_lookup(sums, key);
                if (!e) {
                        e = g_new0(Exposure, 1);
                        e->model = k->model;
                        e->digest = b->digest;
                        g_hash_table_insert(sums, g_steal_pointer(&key), e);
                }
                /* a replica that nobody sees is one all the same: else what one of three does were what most of them do. But its time proves nothing. */
                e->running++;
                if (node == NODE_AWAY)
                        b->counted_us = 0;
                if (node == NODE_AWAY || b->started_ns + m->scale.starting_ns > now_ns)
                        continue;
                if (b->counted_us)
                        e->ns += (double) (now_us - b->counted_us) * 1000;
                b->counted_us = now_us;
        }
        g_hash_table_iter_init(&it, sums);
        while (g_hash_table_iter_next(&it, NULL, &p)) {
                const Exposure *e = p;

                bh_model_expose(e->model, e->digest, e->running, e->ns);
        }
}

/* ---- peers ---- */

/* Who the other end is, as a model remembers it. NULL: nobody to speak of. */
static char *identity(const BhGraphNode *n, gboolean out) {
        if (g_str_equal(n->kind, "container") || g_str_equal(n->kind, "workload"))
                return g_strdup_printf("workload %s/%s", n->application, n->workload);
        if (g_str_equal(n->kind, "host"))
                return g_strdup_printf("host %s", *n->node ? n->node : n->name);
        if (g_str_equal(n->kind, "runtime"))
                return NULL;
        /* whoever comes from outside is as good as anybody */
        return out ? g_strdup_printf("%s %s", n->kind, n->name) : g_strdup("outside");
}

static gboolean has_outside(const BhFacets *f) {
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, f->items);
        while (g_hash_table_iter_next(&it, &p, NULL)) {
                const BhItem *i = p;

                if (i->family == BH_FAMILY_PEER && g_str_has_prefix(i->detail, "out ") && (g_str_has_prefix(i->object, "name ") || g_str_has_prefix(i->object, "network ")))
                        return TRUE;
        }
        return FALSE;
}

static void peer(BhModels *m, const BhGraphEdge *e, const BhGraphNode *self, const BhGraphNode *other, gboolean out, guint64 n, gint64 time_ns) {
        g_autofree char *who = identity(other, out);
        const GPtrArray *programs = out ? e->clients : e->servers;

        if (!g_str_equal(self->kind, "container") || !who || !*self->workload)
                return;
        BhKept *k = bh_models_kept(m, self->application, self->workload, TRUE);
        BhModelBox *box = bh_models_box(m, self->node, self->container);
        if (!k || !box)
                return;
        const char *proto = e->proto == 6 ? "tcp" : e->proto == 17 ? "udp" : e->proto == 132 ? "sctp" : e->proto ? "ip" : "unix";
        g_autofree char *detail = !e->proto ? g_strdup_printf("%s unix %s", out ? "out" : "in", e->path) : e->port ? g_strdup_printf("%s %s/%u", out ? "out" : "in", proto, e->port) : g_strdup_printf("%s %s/many", out ? "out" : "in", proto);
        BhAct a = { .family = BH_FAMILY_PEER, .actor = programs && programs->len == 1 ? programs->pdata[0] : "", .object = who, .detail = detail, .count = n, .first_ns = time_ns, .last_ns = time_ns };
        const BhModelVersion *v = bh_model_version(k->model, box->digest);

        if (v && out && (g_str_has_prefix(who, "name ") || g_str_has_prefix(who, "network ")) && v->facets->trials * m->scale.slot_ns >= OUTSIDE_FIRST_HOURS * 3600e9 && !has_outside(v->facets)) {
                a.suspicious = TRUE;
                a.why = "a destination outside, of a workload that had none";
        }
        bh_models_act(m, k, box->digest, &a, box, self->node, self->container);
}

static void ask_map(BhModels *m) {
        guint64 generation = bh_map_generation(m->central->map);
        gint64 begun_us = g_get_monotonic_time();

        if (generation == m->generation || begun_us < m->peers_us)
                return;
        const BhGraphQuery q = { .level = BH_GRAPH_CONTAINER };
        const BhGraph *g = bh_map_acquire(m->central->map);
        if (!g)
                return;
        /* that takes a while, and needs no model */
        bh_models_release(m);
        g_autoptr(BhGraphView) view = bh_graph_query(g, &q, NULL, G_MAXUINT);
        bh_map_release(m->central->map);
        bh_models_acquire(m);
        m->generation = generation;
        for (guint i = 0; i < view->edges->len; i++) {
                const BhGraphEdge *e = view->edges->pdata[i];
                guint64 *was = g_hash_table_lookup(m->edges, e->id), now = e->counts.connections + e->counts.refused + e->counts.timed_out + e->counts.unreachable + e->counts.failed + e->counts.packets_out;

                if ((was && *was == now) || e->from >= view->nodes->len || e->to >= view->nodes->len)
                        continue;
                const BhGraphNode *from = view->nodes->pdata[e->from], *to = view->nodes->pdata[e->to];
                guint64 n = was && now > *was ? now - *was : 1;

                if (!was && g_hash_table_size(m->edges) < EDGES_MAX) {
                        was = g_new0(guint64, 1);
                        g_hash_table_insert(m->edges, g_strdup(e->id), was);
                }
                if (was)
                        *was = now;
                peer(m, e, from, to, TRUE, n, e->last_ns);
                peer(m, e, to, from, FALSE, n, e->last_ns);
        }
        gint64 now_us = g_get_monotonic_time();
        m->peers_us = now_us + MAX(PEERS_US, (now_us - begun_us) * PEERS_REST);
}

void bh_models_watch_count(BhModels *m) {
        read_nodes(m);
        count_time(m);
}

void bh_models_watch(BhModels *m) {
        gint64 now_us = g_get_monotonic_time();

        if (now_us - m->nodes_us >= NODES_US || !m->nodes_us) {
                m->nodes_us = now_us;
                read_nodes(m);
        }
        follow_containers(m);
        count_time(m);
        ask_map(m);
}

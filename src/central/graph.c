/* SPDX-License-Identifier: Apache-2.0 */
#include "graph.h"

#include <arpa/inet.h>
#include <malloc.h>
#include <string.h>

#include "base/log.h"
#include "base/turn_lock.h"
#include "graph_private.h"
#include "graph_queue.h"
#include "hub.h"

#define CHANGES_AT_ONCE 256
#define LARGE_EDGES 20000 /* a question to a map of so many takes tens of MiB for a moment */
#define FINDINGS_US (5 * G_USEC_PER_SEC) /* so old may the numbers of findings be */
#define FINDINGS_REST 20                 /* or so many times as old as counting them takes */

struct BhMap {
        BhCentral *central;
        BhGraph *graph;
        BhTurnLock lock; /* of the graph */
        BhGraphQueue *queue;

        GMutex state; /* of what follows */
        GCond changed;
        guint readers;
        gboolean woken, stopping, settings, reload;
        guint64 generation, told;
        guint64 batches, duplicates, halves;
        BhGraphStats stats; /* of the graph, as the last writer left it */
        BhGraphContest contests[BH_MAP_CONTESTS];
        guint n_contests;

        GMutex counting;
        GHashTable *findings; /* "c:node/id", "w:application\nworkload", "a:application" → guint64; with `counting` */
        gint64 count_us; /* then they are counted anew; 0: they never were */

        char *places;  /* the thread's: what was read of addresses last, as a digest */
        guint64 after; /* the thread's: place in the change log */
        GThread *thread;
};

static void changed(BhMap *m) {
        g_mutex_lock(&m->state);
        m->generation++;
        g_cond_broadcast(&m->changed);
        g_mutex_unlock(&m->state);
}

static void write_lock(BhMap *m) {
        bh_turn_lock_write(&m->lock);
}

static void write_unlock(BhMap *m) {
        BhGraphContest contests[BH_MAP_CONTESTS];
        BhGraphStats stats;
        guint n = 0;

        bh_graph_stats(m->graph, &stats);
        if (stats.contested)
                n = bh_graph_contests(m->graph, contests, BH_MAP_CONTESTS);
        bh_turn_lock_write_done(&m->lock);
        g_mutex_lock(&m->state);
        m->stats = stats;
        memcpy(m->contests, contests, n * sizeof(*contests));
        m->n_contests = n;
        g_mutex_unlock(&m->state);
}

/* ---- containers */

static BhHalfAddress address_of(json_t *o, const char *key) {
        const char *text = json_string_value(json_object_get(o, key));
        guint8 bytes[16];

        if (text && inet_pton(AF_INET, text, bytes) == 1)
                return bh_half_address(bytes, 4);
        if (text && inet_pton(AF_INET6, text, bytes) == 1)
                return bh_half_address(bytes, 16);
        return (BhHalfAddress){ 0 };
}

static const char *text_of(json_t *o, const char *key) {
        const char *text = json_string_value(json_object_get(o, key));

        return text ? text : "";
}

static guint32 proto_of(const char *name) {
        return g_str_equal(name, "udp") ? IPPROTO_UDP : g_str_equal(name, "sctp") ? IPPROTO_SCTP : IPPROTO_TCP;
}

/* With the graph's lock. */
static void set_container(BhMap *m, const BhStoreContainer *c) {
        g_autoptr(GArray) addresses = g_array_new(FALSE, TRUE, sizeof(BhGraphAddress)), ports = g_array_new(FALSE, TRUE, sizeof(BhGraphPort));
        json_t *networks = json_loads(c->networks, 0, NULL), *published = json_loads(c->ports, 0, NULL), *o;
        size_t i;

        json_array_foreach(networks, i, o) {
                const BhGraphAddress a = { .network = text_of(o, "id"), .ip = address_of(o, "ip"), .ip6 = address_of(o, "ip6") };

                if (a.ip.len || a.ip6.len)
                        g_array_append_val(addresses, a);
        }
        json_array_foreach(published, i, o) {
                const BhGraphPort p = {
                        .host_ip = address_of(o, "host_ip"),
                        .proto = proto_of(text_of(o, "protocol")),
                        .host_port = (guint32) CLAMP(json_integer_value(json_object_get(o, "host_port")), 0, 65535),
                        .container_port = (guint32) CLAMP(json_integer_value(json_object_get(o, "container_port")), 0, 65535),
                };

                if (p.host_port)
                        g_array_append_val(ports, p);
        }
        const BhGraphContainer given = {
                .node = c->node,
                .id = c->id,
                .name = c->name,
                .application = c->application,
                .workload = c->workload,
                .image = c->image,
                .state = c->state,
                .since_ns = c->created_ns ? c->created_ns : c->first_seen_ns,
                .ended_ns = c->ended_ns,
                .running = !c->ended_ns && (g_str_equal(c->state, "running") || g_str_equal(c->state, "paused")),
                .host_network = c->host_network,
                .addresses = (const BhGraphAddress *) (const void *) addresses->data,
                .n_addresses = addresses->len,
                .ports = (const BhGraphPort *) (const void *) ports->data,
                .n_ports = ports->len,
        };
        bh_graph_set_container(m->graph, &given);
        json_decref(networks);
        json_decref(published);
}

static gboolean load_containers(BhMap *m, GError **error) {
        g_autofree char *cursor = NULL;

        do {
                g_autoptr(BhStorePage) page = bh_store_containers(m->central->store, NULL, cursor, 0, error);

                if (!page)
                        return FALSE;
                write_lock(m);
                for (guint i = 0; i < page->rows->len; i++)
                        set_container(m, page->rows->pdata[i]);
                write_unlock(m);
                g_free(cursor);
                cursor = g_steal_pointer(&page->next);
        } while (cursor);
        return TRUE;
}

static gboolean load_half(const BhHalf *half, gpointer data) {
        bh_graph_apply(((BhMap *) data)->graph, half);
        return TRUE;
}

/* ---- whose addresses are */

static gboolean load_claims(BhMap *m, GError **error) {
        g_autoptr(GArray) known = bh_store_node_addresses(m->central->store, error);

        for (guint i = 0; known && i < known->len; i++) {
                const BhStoreNodeAddress *a = &g_array_index(known, BhStoreNodeAddress, i);

                bh_graph_claim(m->graph, a->node, &a->address);
        }
        return known != NULL;
}

static void take_claim(const char *node, const BhHalfAddress *address, gpointer data) {
        const BhStoreNodeAddress a = { (char *) (gsize) node, *address };

        g_array_append_val((GArray *) data, a);
}

/* What is not kept when the central is killed is claimed again, a little later. */
static void keep_claims(BhMap *m) {
        g_autoptr(GArray) fresh = g_array_new(FALSE, FALSE, sizeof(BhStoreNodeAddress));
        g_autoptr(GError) error = NULL;

        g_mutex_lock(&m->state);
        gboolean some = m->stats.fresh_claims > 0;
        g_mutex_unlock(&m->state);
        if (!some)
                return;
        write_lock(m);
        bh_graph_news(m->graph, take_claim, fresh);
        write_unlock(m);
        /* nodes' names are interned, and claims are never taken back */
        if (!bh_store_add_node_addresses(m->central->store, fresh, &error))
                bh_error("the map cannot keep whose addresses are", "error", error->message);
}

/* ---- what follows the start */

static void read_networks(BhMap *m) {
        g_autofree char *text = bh_store_setting_get(m->central->store, "graph.networks", NULL);
        g_autoptr(GArray) cidrs = NULL;
        g_autoptr(GError) error = NULL;

        if (!bh_graph_parse_networks(text, &cidrs, &error)) {
                bh_error("the setting graph.networks is not used", "error", error->message);
                return;
        }
        write_lock(m);
        bh_graph_set_networks(m->graph, cidrs);
        write_unlock(m);
        changed(m);
}

/* Resources change in bursts: looked at once for all that came together. */
static gboolean read_places(BhMap *m, GError **error) {
        g_autoptr(GArray) places = g_array_new(FALSE, TRUE, sizeof(BhGraphPlace));
        g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);

        if (!bh_map_load_places(m->central, places, texts, error))
                return FALSE;
        g_autofree char *digest = bh_map_digest_places(places);
        if (g_strcmp0(digest, m->places) == 0)
                return TRUE;
        g_free(m->places);
        m->places = g_steal_pointer(&digest);
        write_lock(m);
        bh_graph_set_places(m->graph, (const BhGraphPlace *) (const void *) places->data, places->len);
        write_unlock(m);
        changed(m);
        return TRUE;
}

static void follow_container(BhMap *m, const char *key) {
        const char *slash = strchr(key, '/');
        g_autofree char *node = slash ? g_strndup(key, (gsize) (slash - key)) : NULL;
        g_autoptr(GError) error = NULL;
        g_autoptr(BhStoreContainer) c = slash ? bh_store_container(m->central->store, node, slash + 1, &error) : NULL;

        if (!c && !g_error_matches(error, BH_STORE_ERROR, BH_STORE_ERROR_NOT_FOUND))
                return;
        write_lock(m);
        if (c)
                set_container(m, c);
        else
                bh_graph_remove_container(m->graph, node, slash + 1);
        write_unlock(m);
}

/* All containers anew: what retention takes away is in no change log. */
static void reload(BhMap *m) {
        g_autoptr(GError) error = NULL;

        write_lock(m);
        bh_graph_containers_begin(m->graph);
        write_unlock(m);
        if (!load_containers(m, &error)) {
                bh_error("the map cannot read the containers", "error", error->message);
                return;
        }
        write_lock(m);
        bh_graph_containers_end(m->graph);
        write_unlock(m);
        changed(m);
}

/* TRUE when there may be more. */
static gboolean follow_changes(BhMap *m) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GHashTable) once = g_hash_table_new(g_str_hash, g_str_equal);
        gboolean gap = FALSE, resources = FALSE;
        g_autoptr(GPtrArray) changes = bh_store_changes_after(m->central->store, m->after, CHANGES_AT_ONCE, &gap, &error);
        guint64 last;

        if (!changes) {
                bh_error("the map cannot read what changed", "error", error->message);
                return FALSE;
        }
        if (gap) {
                /* first the place, then all of it: what changes meanwhile comes again */
                if (!bh_store_changes_last(m->central->store, &last, NULL))
                        return FALSE;
                m->after = last;
                reload(m);
                read_places(m, NULL);
                return TRUE;
        }
        for (guint i = 0; i < changes->len; i++) {
                const BhStoreChange *c = changes->pdata[i];

                m->after = c->id;
                if (c->kind == BH_STORE_CHANGE_CONTAINER && g_hash_table_add(once, c->key))
                        follow_container(m, c->key);
                resources |= c->kind == BH_STORE_CHANGE_RESOURCE;
        }
        if (resources && !read_places(m, &error))
                bh_error("the map cannot read what addresses mean", "error", error->message);
        if (g_hash_table_size(once))
                changed(m);
        return changes->len == CHANGES_AT_ONCE;
}

static gpointer run(gpointer data) {
        BhMap *m = data;
        gint64 tell_us = 0;

        for (;;) {
                g_mutex_lock(&m->state);
                while (!m->stopping && !m->woken && !m->settings && !m->reload) {
                        if (m->told == m->generation)
                                g_cond_wait(&m->changed, &m->state);
                        else if (g_get_monotonic_time() >= tell_us || !g_cond_wait_until(&m->changed, &m->state, tell_us))
                                break;
                }
                gboolean stopping = m->stopping, woken = m->woken, settings = m->settings, again = m->reload;
                guint64 generation = m->generation, told = m->told;
                m->woken = m->settings = m->reload = FALSE;
                g_mutex_unlock(&m->state);
                if (stopping)
                        return NULL;
                if (settings)
                        read_networks(m);
                if (again)
                        reload(m);
                while (woken && follow_changes(m) && !bh_http_stopping(m->central->http))
                        ;
                if (generation != told && g_get_monotonic_time() >= tell_us) {
                        tell_us = g_get_monotonic_time() + BH_MAP_TELL_MS * 1000;
                        g_mutex_lock(&m->state);
                        m->told = generation = m->generation;
                        g_mutex_unlock(&m->state);
                        bh_hub_graph(m->central->hub, generation);
                        keep_claims(m);
                }
        }
}

/* ---- what waits to be entered */

/* A batch, or halves that are no longer kept. */
typedef struct {
        BhStoreFlows batch;
        GArray *gone;
        GDestroyNotify free;
        gpointer data;
} Piece;

static void piece_free(gpointer p) {
        Piece *piece = p;

        if (piece->free)
                piece->free(piece->data);
        bh_store_flows_clear(&piece->batch);
        g_clear_pointer(&piece->gone, g_array_unref);
        g_free(piece);
}

static void enter_piece(gpointer p, gpointer data) {
        BhMap *m = data;
        const Piece *piece = p;
        const BhStoreFlows *batch = &piece->batch;
        guint n = 0;

        write_lock(m);
        for (guint i = 0; i < batch->n_halves; i++) {
                if (!batch->halves[i].id)
                        continue;
                bh_graph_apply(m->graph, &batch->halves[i]);
                n++;
        }
        for (guint i = 0; batch->closed && i < batch->closed->len; i++)
                bh_graph_close(m->graph, g_array_index(batch->closed, gint64, i));
        for (guint i = 0; piece->gone && i < piece->gone->len; i++)
                bh_graph_remove(m->graph, g_array_index(piece->gone, gint64, i));
        write_unlock(m);
        if (n || (batch->closed && batch->closed->len) || piece->gone)
                changed(m);
}

/* ---- life */

static BhMap *map_alloc(BhCentral *c) {
        BhMap *m = g_new0(BhMap, 1);

        m->central = c;
        m->graph = bh_graph_new();
        bh_turn_lock_init(&m->lock);
        g_mutex_init(&m->state);
        g_cond_init(&m->changed);
        g_mutex_init(&m->counting);
        m->findings = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        /* goes on rising over a restart */
        m->generation = m->told = (guint64) g_get_real_time() / 1000;
        return m;
}

BhMap *bh_map_new(BhCentral *c, GError **error) {
        BhMap *m = map_alloc(c);

        if (!bh_store_changes_last(c->store, &m->after, error) || !load_claims(m, error) || !load_containers(m, error) || !read_places(m, error) || !bh_store_halves(c->store, load_half, m, error)) {
                bh_map_free(m);
                return NULL;
        }
        read_networks(m);
        write_lock(m);
        write_unlock(m);
        m->told = m->generation;
        m->queue = bh_graph_queue_new(enter_piece, piece_free, m);
        m->thread = g_thread_new("bh-graph", run, m);
        return m;
}

void bh_map_stop(BhMap *m) {
        if (!m)
                return;
        g_mutex_lock(&m->state);
        m->stopping = TRUE;
        g_cond_broadcast(&m->changed);
        g_mutex_unlock(&m->state);
        if (m->thread)
                g_thread_join(g_steal_pointer(&m->thread));
}

void bh_map_free(BhMap *m) {
        if (!m)
                return;
        bh_map_stop(m);
        bh_graph_queue_free(m->queue);
        bh_graph_free(m->graph);
        g_free(m->places);
        bh_turn_lock_clear(&m->lock);
        g_mutex_clear(&m->state);
        g_cond_clear(&m->changed);
        g_mutex_clear(&m->counting);
        g_hash_table_unref(m->findings);
        g_free(m);
}

/* ---- changes */

void bh_map_flows(BhMap *m, BhStoreFlows *batch, GDestroyNotify free_data, gpointer data) {
        Piece *piece = g_new0(Piece, 1);
        guint n = 0;

        for (guint i = 0; i < batch->n_halves; i++)
                n += batch->halves[i].id != 0;
        g_mutex_lock(&m->state);
        m->batches++;
        m->duplicates += !batch->counted;
        m->halves += n;
        g_mutex_unlock(&m->state);
        *piece = (Piece){ .batch = *batch, .free = free_data, .data = data };
        *batch = (BhStoreFlows){ 0 };
        bh_graph_queue_push(m->queue, piece, piece->batch.n_halves + 1);
}

void bh_map_wake(BhMap *m) {
        g_mutex_lock(&m->state);
        m->woken = TRUE;
        g_cond_broadcast(&m->changed);
        g_mutex_unlock(&m->state);
}

void bh_map_read_settings(BhMap *m) {
        g_mutex_lock(&m->state);
        m->settings = TRUE;
        g_cond_broadcast(&m->changed);
        g_mutex_unlock(&m->state);
}

void bh_map_reload(BhMap *m) {
        g_mutex_lock(&m->state);
        m->reload = TRUE;
        g_cond_broadcast(&m->changed);
        g_mutex_unlock(&m->state);
}

void bh_map_forget(BhMap *m, const GArray *halves) {
        Piece *piece;

        if (!halves->len)
                return;
        piece = g_new0(Piece, 1);
        piece->gone = g_array_copy((GArray *) (gsize) halves);
        bh_graph_queue_push(m->queue, piece, 1);
}

/* ---- readers */

const BhGraph *bh_map_acquire(BhMap *m) {
        gint64 until = g_get_monotonic_time() + g_atomic_int_get(&m->central->query_seconds) * G_USEC_PER_SEC;

        /* late is better than not at all: then without what waits */
        bh_graph_queue_wait(m->queue, until);
        g_mutex_lock(&m->state);
        while (m->readers >= BH_MAP_READERS && g_cond_wait_until(&m->changed, &m->state, until))
                ;
        gboolean ok = m->readers < BH_MAP_READERS;
        if (ok)
                m->readers++;
        g_mutex_unlock(&m->state);
        if (!ok)
                return NULL;
        bh_turn_lock_read(&m->lock);
        return m->graph;
}

void bh_map_release(BhMap *m) {
        BhGraphStats stats;

        bh_graph_stats(m->graph, &stats);
        bh_turn_lock_read_done(&m->lock);
        /* each worker's heap would keep what one question took */
        if (stats.edges > LARGE_EDGES)
                malloc_trim(0);
        g_mutex_lock(&m->state);
        m->readers--;
        g_cond_broadcast(&m->changed);
        g_mutex_unlock(&m->state);
}

static void count(GHashTable *to, char *key, guint64 n) {
        guint64 *have = g_hash_table_lookup(to, key);

        if (have) {
                *have += n;
                g_free(key);
        } else {
                g_hash_table_insert(to, key, g_memdup2(&n, sizeof(n)));
        }
}

static void count_findings(const char *node, const char *container, const char *application, const char *workload, guint64 n, gpointer data) {
        if (*container)
                count(data, g_strdup_printf("c:%s/%s", node, container), n);
        else
                count(data, g_strdup_printf("h:%s", node), n);
        count(data, g_strdup_printf("w:%s\n%s", application, workload), n);
        if (*container)
                count(data, g_strdup_printf("a:%s", application), n);
}

/* With `counting`, which is let go meanwhile: others go on with the old numbers, but for the first time. */
static void count_anew(BhMap *m) {
        g_autoptr(GHashTable) fresh = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        gboolean first = !m->count_us;
        gint64 begin = g_get_monotonic_time(), took;

        m->count_us = G_MAXINT64;
        if (!first)
                g_mutex_unlock(&m->counting);
        gboolean ok = bh_store_findings_by_container(m->central->store, count_findings, fresh, NULL);
        if (!first)
                g_mutex_lock(&m->counting);
        /* without an answer the old numbers stay */
        if (ok) {
                g_hash_table_unref(m->findings);
                m->findings = g_steal_pointer(&fresh);
        }
        took = g_get_monotonic_time() - begin;
        m->count_us = begin + took + MAX(FINDINGS_US, took * FINDINGS_REST);
}

guint64 bh_map_findings(BhMap *m, const BhGraphNode *n) {
        g_autofree char *key = NULL;

        if (g_str_equal(n->kind, "container"))
                key = g_strdup_printf("c:%s/%s", n->node, n->container);
        else if (g_str_equal(n->kind, "workload"))
                key = g_strdup_printf("w:%s\n%s", n->application, n->workload);
        else if (g_str_equal(n->kind, "application"))
                key = g_strdup_printf("a:%s", n->application);
        else if (g_str_equal(n->kind, "host"))
                key = g_strdup_printf("h:%s", n->node);
        else
                return 0;
        g_mutex_lock(&m->counting);
        if (g_get_monotonic_time() >= m->count_us)
                count_anew(m);
        const guint64 *have = g_hash_table_lookup(m->findings, key);
        guint64 found = have ? *have : 0;
        g_mutex_unlock(&m->counting);
        return found;
}

guint64 bh_map_generation(BhMap *m) {
        g_mutex_lock(&m->state);
        guint64 n = m->generation;
        g_mutex_unlock(&m->state);
        return n;
}

void bh_map_stats(BhMap *m, BhMapStats *out) {
        bh_graph_queue_stats(m->queue, &out->queue);
        g_mutex_lock(&m->state);
        out->graph = m->stats;
        out->generation = m->generation;
        out->batches = m->batches;
        out->duplicates = m->duplicates;
        out->halves = m->halves;
        memcpy(out->contests, m->contests, m->n_contests * sizeof(*m->contests));
        out->n_contests = m->n_contests;
        g_mutex_unlock(&m->state);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* the connection map: nodes and edges, one edge, its course over time, what changed; and where something listens */
#include <arpa/inet.h>
#include <math.h>
#include <string.h>

#include "graph.h"
#include "graph_json.h"
#include "json_out.h"
#include "reached.h"
#include "routes.h"

#define EDGES_DEFAULT 1000
#define EDGES_MAX 10000
#define BINS_DEFAULT 60
#define BINS_MAX 1000
#define ALL_EDGES 1000000 /* of a comparison, before its lists are cut */
#define CHANGED_RATIO 2.0
#define SECOND_NS ((gint64) 1000000000)

/* ---- what is asked ---- */

static gboolean level_of(BhCall *call, BhGraphLevel *level) {
        const char *name = bh_call_param(call, "level");

        *level = BH_GRAPH_WORKLOAD;
        if (!name || bh_graph_level_parse(name, level))
                return TRUE;
        bh_call_error(call, 400, "bad_level", "\"level\" must be application, workload or container");
        return FALSE;
}

static gboolean hidden_of(BhCall *call, gboolean *hidden) {
        const char *text = bh_call_param(call, "hidden");

        if (!text || g_str_equal(text, "0") || g_str_equal(text, "false"))
                return TRUE;
        *hidden = g_str_equal(text, "1") || g_str_equal(text, "true");
        if (!*hidden)
                bh_call_error(call, 400, "bad_flag", "\"hidden\" must be 0 or 1");
        return *hidden;
}

static gboolean edge_limit(BhCall *call, guint *limit) {
        if (!bh_call_limit(call, EDGES_MAX, limit))
                return FALSE;
        if (!bh_call_param(call, "limit"))
                *limit = EDGES_DEFAULT;
        return TRUE;
}

static gboolean filters_of(BhCall *call, BhGraphQuery *q) {
        q->application = bh_call_param(call, "application");
        q->workload = bh_call_param(call, "workload");
        q->container = bh_call_param(call, "container");
        q->node = bh_call_param(call, "node");
        q->search = bh_call_param(call, "search");
        return level_of(call, &q->level) && hidden_of(call, &q->hidden);
}

/* FALSE: answered. *window: one was asked for, and both bounds are set. */
static gboolean times_of(BhCall *call, const char *since, const char *until, gint64 *since_ns, gint64 *until_ns, gboolean *window) {
        if (!bh_call_time(call, since, since_ns) || !bh_call_time(call, until, until_ns))
                return FALSE;
        *window = bh_call_param(call, since) || bh_call_param(call, until);
        if (*window && !*until_ns)
                *until_ns = g_get_real_time() * 1000;
        if (*window && *since_ns >= *until_ns) {
                bh_call_error(call, 400, "bad_time", "\"%s\" must be before \"%s\"", since, until);
                return FALSE;
        }
        return TRUE;
}

static gboolean is_edge_id(const char *text) {
        return strlen(text) == 16 && strspn(text, "0123456789abcdef") == 16;
}

/* ---- windows ---- */

static void add_sum(gint64 half, gint64 start_s, const BhHalfCounts *counts, gpointer data) {
        bh_graph_sums_add(data, half, counts);
}

/* The window's sums, of these halves or of all (NULL); its bounds become those that count. NULL: answered. */
static BhGraphSums *sums_of(BhCall *call, GHashTable *halves, gint64 *since_ns, gint64 *until_ns) {
        g_autoptr(BhGraphSums) sums = bh_graph_sums_new();
        GError *error = NULL;

        if (!bh_store_flow_buckets_of(call->central->store, halves, since_ns, until_ns, add_sum, sums, &error)) {
                bh_call_store_error(call, error);
                return NULL;
        }
        return g_steal_pointer(&sums);
}

/* NULL: answered. */
static const BhGraph *acquire(BhCall *call) {
        const BhGraph *g = bh_map_acquire(call->central->map);

        if (!g) {
                bh_http_add_header(call->http, "Retry-After", "1");
                bh_call_error(call, 503, "busy", "%d other questions about the map are being answered, and none of them ended in time: try again", BH_MAP_READERS);
        }
        return g;
}

static BhGraphView *ask(BhCall *call, const BhGraphQuery *q, const char *after, guint limit) {
        const BhGraph *g = acquire(call);

        if (!g)
                return NULL;
        BhGraphView *v = bh_graph_query(g, q, after, limit);
        bh_map_release(call->central->map);
        return v;
}

/* ---- answers ---- */

static void head(BhCall *call, GString *out, const BhGraphQuery *q) {
        bh_json_text(out, "level", bh_graph_level_name(q->level));
        bh_json_time(out, "since", q->since_ns);
        bh_json_time(out, "until", q->until_ns ? q->until_ns : g_get_real_time() * 1000);
        bh_json_uint(out, "generation", bh_map_generation(call->central->map));
}

static void nodes(BhCall *call, GString *out, const BhGraphView *v, GHashTable *once) {
        g_autofree guint8 *needed = g_new0(guint8, v->nodes->len + 1);

        for (guint i = 0; i < v->edges->len; i++) {
                const BhGraphEdge *e = v->edges->pdata[i];

                needed[e->from] = needed[e->to] = 1;
        }
        for (guint i = 0; i < v->nodes->len; i++) {
                const BhGraphNode *n = v->nodes->pdata[i];

                /* of very many those without an edge here come with the pages of theirs */
                if ((!needed[i] && out->len >= BH_ANSWER_BYTES) || (once && !g_hash_table_add(once, n->id)))
                        continue;
                bh_graph_node_open(out, n, bh_map_findings(call->central->map, n));
                bh_json_close(out, '}');
        }
}

void bh_api_graph(BhCall *call) {
        const char *cursor = bh_call_param(call, "cursor");
        g_autoptr(BhGraphSums) sums = NULL;
        BhGraphQuery q = { 0 };
        gboolean window;
        GString *out;
        guint limit;

        if (!filters_of(call, &q) || !edge_limit(call, &limit) || !times_of(call, "since", "until", &q.since_ns, &q.until_ns, &window))
                return;
        if (cursor && !is_edge_id(cursor)) {
                bh_call_error(call, 400, "invalid", "the cursor is not one that an earlier page gave: begin again without it");
                return;
        }
        if (window && !(sums = sums_of(call, NULL, &q.since_ns, &q.until_ns)))
                return;
        q.sums = sums;
        g_autoptr(BhGraphView) v = ask(call, &q, cursor, limit);
        if (!v)
                return;
        out = g_string_sized_new(64 * 1024);
        bh_json_open(out, NULL, '{');
        head(call, out, &q);
        bh_json_open(out, "nodes", '[');
        nodes(call, out, v, NULL);
        bh_json_close(out, ']');
        bh_json_open(out, "edges", '[');
        gsize begin = out->len;
        for (guint i = 0; i < v->edges->len; i++) {
                bh_graph_edge_open(out, NULL, v, v->edges->pdata[i]);
                bh_json_close(out, '}');
                if (out->len - begin >= BH_ANSWER_BYTES)
                        bh_graph_view_cut(v, i + 1);
        }
        bh_json_close(out, ']');
        bh_json_text(out, "next", v->more && v->edges->len ? ((const BhGraphEdge *) v->edges->pdata[v->edges->len - 1])->id : NULL);
        bh_json_open(out, "counts", '{');
        bh_json_uint(out, "nodes", v->n_nodes);
        bh_json_uint(out, "edges", v->n_edges);
        bh_json_uint(out, "hidden", v->n_hidden);
        bh_json_close(out, '}');
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}

/* ---- over time ---- */

typedef struct {
        gint64 begin_s, width_s;
        guint n;
        struct {
                guint64 connections, bytes, failures, fresh;
        } *of;
} Bins;

static void add_bin(gint64 half, gint64 start_s, const BhHalfCounts *c, gpointer data) {
        Bins *b = data;
        gint64 i = (start_s - b->begin_s) / b->width_s;

        if (i < 0 || i >= (gint64) b->n)
                return;
        b->of[i].connections = bh_half_sum(b->of[i].connections, c->connections);
        b->of[i].bytes = bh_half_sum(b->of[i].bytes, bh_half_sum(c->bytes_out, c->bytes_in));
        b->of[i].failures = bh_half_sum(b->of[i].failures, c->refused);
        b->of[i].failures = bh_half_sum(b->of[i].failures, c->timed_out);
        b->of[i].failures = bh_half_sum(b->of[i].failures, c->unreachable);
        b->of[i].failures = bh_half_sum(b->of[i].failures, c->failed);
        b->of[i].failures = bh_half_sum(b->of[i].failures, c->reset);
}

/* {"time","connections","bytes","failures","new_edges"} for each part of the window. FALSE: answered. */
static gboolean histogram(BhCall *call, GString *out, BhGraphQuery *q, guint wanted) {
        g_autoptr(GArray) begins = g_array_new(FALSE, FALSE, sizeof(gint64));
        gint64 since = q->since_ns, until = q->until_ns, width;
        GError *error = NULL;
        Bins b = { 0 };

        const BhGraph *g = acquire(call);
        if (!g)
                return FALSE;
        g_autoptr(GHashTable) halves = bh_graph_select(g, q, begins);
        bh_map_release(call->central->map);
        /* whole minutes, or hours where the numbers are by the hour */
        gint64 unit = until - since > BH_STORE_WINDOW_HOURS * 3600 * SECOND_NS ? 3600 : 60;
        width = ((until - since) / SECOND_NS + wanted - 1) / wanted;
        b.width_s = MAX((width + unit - 1) / unit * unit, unit);
        b.begin_s = since / SECOND_NS;
        b.begin_s -= b.begin_s % unit;
        b.n = (guint) CLAMP((until / SECOND_NS - b.begin_s + b.width_s - 1) / b.width_s, 1, BINS_MAX + 1);
        b.of = g_malloc0_n(b.n, sizeof(*b.of));
        gboolean ok = bh_store_flow_buckets_of(call->central->store, halves, &since, &until, add_bin, &b, &error);
        for (guint i = 0; i < begins->len; i++) {
                gint64 k = (g_array_index(begins, gint64, i) / SECOND_NS - b.begin_s) / b.width_s;

                if (g_array_index(begins, gint64, i) / SECOND_NS >= b.begin_s && k < (gint64) b.n)
                        b.of[k].fresh++;
        }
        for (guint i = 0; ok && i < b.n; i++) {
                bh_json_open(out, NULL, '{');
                bh_json_time(out, "time", (b.begin_s + i * b.width_s) * SECOND_NS);
                bh_json_uint(out, "connections", MIN(b.of[i].connections, (guint64) G_MAXINT64));
                bh_json_uint(out, "bytes", MIN(b.of[i].bytes, (guint64) G_MAXINT64));
                bh_json_uint(out, "failures", MIN(b.of[i].failures, (guint64) G_MAXINT64));
                bh_json_uint(out, "new_edges", b.of[i].fresh);
                bh_json_close(out, '}');
        }
        g_free(b.of);
        if (!ok)
                bh_call_store_error(call, error);
        return ok;
}

static gboolean number_of(BhCall *call, const char *name, guint fallback, guint max, guint *n) {
        const char *text = bh_call_param(call, name);
        gsize len = text ? strlen(text) : 0;

        *n = fallback;
        if (!text)
                return TRUE;
        *n = len && len < 8 && strspn(text, "0123456789") == len ? (guint) g_ascii_strtoull(text, NULL, 10) : 0;
        if (*n >= 1 && *n <= max)
                return TRUE;
        bh_call_error(call, 400, "bad_number", "\"%s\" must be a number from 1 to %u", name, max);
        return FALSE;
}

/* The day before now, where no window is asked for. */
static void default_window(BhGraphQuery *q, gboolean window) {
        if (window)
                return;
        q->until_ns = g_get_real_time() * 1000;
        q->since_ns = q->until_ns - 24 * 3600 * SECOND_NS;
}

void bh_api_graph_histogram(BhCall *call) {
        BhGraphQuery q = { 0 };
        gboolean window;
        guint bins;

        if (!filters_of(call, &q) || !times_of(call, "since", "until", &q.since_ns, &q.until_ns, &window) || !number_of(call, "buckets", BINS_DEFAULT, BINS_MAX, &bins))
                return;
        default_window(&q, window);
        GString *out = g_string_sized_new(8192);
        bh_json_open(out, NULL, '{');
        bh_json_open(out, "buckets", '[');
        if (!histogram(call, out, &q, bins)) {
                g_string_free(out, TRUE);
                return;
        }
        bh_json_close(out, ']');
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}

/* ---- one edge ---- */

void bh_api_graph_edge(BhCall *call) {
        const char *id = call->captures[0];
        g_autoptr(BhGraphSums) sums = NULL;
        g_autoptr(GHashTable) once = g_hash_table_new(g_str_hash, g_str_equal);
        g_autoptr(BhGraphView) parts = NULL;
        BhGraphQuery q = { .hidden = TRUE };
        gboolean window;

        if (!level_of(call, &q.level) || !times_of(call, "since", "until", &q.since_ns, &q.until_ns, &window))
                return;
        /* what it is made of is found once, and all that follows reads no more than that */
        const BhGraph *g = acquire(call);
        if (!g)
                return;
        const BhGraphQuery whole = { .level = q.level, .hidden = TRUE, .within = id, .within_level = q.level, .both = TRUE };
        g_autoptr(GHashTable) halves = bh_graph_select(g, &whole, NULL);
        bh_map_release(call->central->map);
        if (window && !(sums = sums_of(call, halves, &q.since_ns, &q.until_ns)))
                return;
        q.sums = sums;
        q.halves = halves;
        g_autoptr(BhGraphView) v = ask(call, &q, NULL, 1);
        if (!v)
                return;
        if (!v->edges->len) {
                bh_call_error(call, 404, "not_found", "there is no such edge at the level %s%s", bh_graph_level_name(q.level), window ? " in that window" : "");
                return;
        }
        BhGraphQuery lower = q;
        if (q.level != BH_GRAPH_CONTAINER) {
                lower.level = (BhGraphLevel) (q.level + 1);
                if (!(parts = ask(call, &lower, NULL, EDGES_MAX)))
                        return;
        }
        GString *out = g_string_sized_new(16384);
        bh_json_open(out, NULL, '{');
        head(call, out, &q);
        bh_graph_edge_open(out, "edge", v, v->edges->pdata[0]);
        bh_json_close(out, '}');
        bh_json_open(out, "nodes", '[');
        nodes(call, out, v, once);
        if (parts)
                nodes(call, out, parts, once);
        bh_json_close(out, ']');
        bh_json_open(out, "parts", '[');
        for (guint i = 0; parts && i < parts->edges->len && out->len < BH_ANSWER_BYTES; i++) {
                bh_graph_edge_open(out, NULL, parts, parts->edges->pdata[i]);
                bh_json_close(out, '}');
        }
        bh_json_close(out, ']');
        bh_json_open(out, "histogram", '[');
        default_window(&q, window);
        q.sums = window ? sums : NULL;
        if (!histogram(call, out, &q, BINS_DEFAULT)) {
                g_string_free(out, TRUE);
                return;
        }
        bh_json_close(out, ']');
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}

/* ---- two windows ---- */

static const BhGraphEdge *same_edge(const BhGraphView *v, const char *id) {
        guint low = 0, high = v->edges->len;

        while (low < high) {
                guint middle = (low + high) / 2;
                int order = strcmp(((const BhGraphEdge *) v->edges->pdata[middle])->id, id);

                if (!order)
                        return v->edges->pdata[middle];
                if (order < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return NULL;
}

static double rate(guint64 n, const BhGraphQuery *q) {
        return (double) n / (double) MAX(q->until_ns - q->since_ns, SECOND_NS);
}

/* How many times more; 0 where one of them is 0. */
static double ratio(guint64 now, const BhGraphQuery *q, guint64 before, const BhGraphQuery *base) {
        return now && before ? rate(now, q) / rate(before, base) : 0;
}

static void put_ratio(GString *out, const char *key, double value) {
        char text[40];

        if (value > 0)
                g_ascii_formatd(text, sizeof(text), "%.6g", value);
        bh_json_raw(out, key, value > 0 ? text : NULL);
}

static gboolean has_changed(double value) {
        return value > 0 && (value >= CHANGED_RATIO || value <= 1 / CHANGED_RATIO);
}

/* What has changed how much. */
typedef struct {
        double bytes, connections;
} Ratio;

/* Ids of edges that the other does not have, at most `limit`. */
static GHashTable *only_in(const BhGraphView *v, const BhGraphView *other, guint limit) {
        GHashTable *ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

        for (guint i = 0; i < v->edges->len && g_hash_table_size(ids) < limit; i++) {
                const BhGraphEdge *e = v->edges->pdata[i];

                if (!same_edge(other, e->id))
                        g_hash_table_add(ids, g_strdup(e->id));
        }
        return ids;
}

/* Ids of edges that have changed, with how much. */
static GHashTable *changed_in(const BhGraphView *now, const BhGraphQuery *q, const BhGraphView *before, const BhGraphQuery *base, guint limit) {
        GHashTable *ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);

        for (guint i = 0; i < now->edges->len && g_hash_table_size(ids) < limit; i++) {
                const BhGraphEdge *e = now->edges->pdata[i], *was = same_edge(before, e->id);

                if (!was)
                        continue;
                const Ratio r = {
                        .bytes = ratio(bh_half_sum(e->counts.bytes_out, e->counts.bytes_in), q, bh_half_sum(was->counts.bytes_out, was->counts.bytes_in), base),
                        .connections = ratio(e->counts.connections, q, was->counts.connections, base),
                };
                if (has_changed(r.bytes) || has_changed(r.connections))
                        g_hash_table_insert(ids, g_strdup(e->id), g_memdup2(&r, sizeof(r)));
        }
        return ids;
}

/* These edges in full. NULL: answered. */
static BhGraphView *in_full(BhCall *call, const BhGraphQuery *q, GHashTable *ids) {
        BhGraphQuery full = *q;

        full.brief = FALSE;
        full.only = ids;
        return ask(call, &full, NULL, 2 * EDGES_MAX);
}

/* A list of those of the view that are among these. */
static void put_edges(GString *out, const char *key, const BhGraphView *v, GHashTable *ids, gboolean ratios) {
        bh_json_open(out, key, '[');
        for (guint i = 0; v && i < v->edges->len && out->len < BH_ANSWER_BYTES; i++) {
                const BhGraphEdge *e = v->edges->pdata[i];
                const Ratio *r = ratios ? g_hash_table_lookup(ids, e->id) : NULL;

                if (!g_hash_table_contains(ids, e->id))
                        continue;
                bh_graph_edge_open(out, NULL, v, e);
                if (r) {
                        put_ratio(out, "bytes_ratio", r->bytes);
                        put_ratio(out, "connections_ratio", r->connections);
                }
                bh_json_close(out, '}');
        }
        bh_json_close(out, ']');
}

static void add_ids(GHashTable *to, GHashTable *ids) {
        GHashTableIter it;
        gpointer id;

        g_hash_table_iter_init(&it, ids);
        while (g_hash_table_iter_next(&it, &id, NULL))
                g_hash_table_add(to, id);
}

/* First all edges of both windows in brief, then in full what is told. */
static gboolean compare(BhCall *call, GString *out, const BhGraphQuery *q, const BhGraphQuery *base, guint limit) {
        g_autoptr(GHashTable) once = g_hash_table_new(g_str_hash, g_str_equal), of_now = g_hash_table_new(g_str_hash, g_str_equal), fresh = NULL, gone = NULL, changed = NULL;
        BhGraphView *now = ask(call, q, NULL, ALL_EDGES), *before = now ? ask(call, base, NULL, ALL_EDGES) : NULL;
        g_autoptr(BhGraphView) full = NULL, full_before = NULL;

        if (before) {
                fresh = only_in(now, before, limit);
                gone = only_in(before, now, limit);
                changed = changed_in(now, q, before, base, limit);
        }
        bh_graph_view_free(now);
        bh_graph_view_free(before);
        if (!before)
                return FALSE;
        add_ids(of_now, fresh);
        add_ids(of_now, changed);
        if ((g_hash_table_size(of_now) && !(full = in_full(call, q, of_now))) || (g_hash_table_size(gone) && !(full_before = in_full(call, base, gone))))
                return FALSE;
        put_edges(out, "new", full, fresh, FALSE);
        put_edges(out, "gone", full_before, gone, FALSE);
        put_edges(out, "changed", full, changed, TRUE);
        bh_json_open(out, "nodes", '[');
        if (full)
                nodes(call, out, full, once);
        if (full_before)
                nodes(call, out, full_before, once);
        bh_json_close(out, ']');
        return TRUE;
}

void bh_api_graph_diff(BhCall *call) {
        g_autoptr(BhGraphSums) sums = NULL, base_sums = NULL;
        BhGraphQuery q = { .brief = TRUE }, base;
        gboolean window, base_window;
        gint64 base_since = 0, base_until = 0;
        guint limit;

        if (!filters_of(call, &q) || !edge_limit(call, &limit) || !times_of(call, "since", "until", &q.since_ns, &q.until_ns, &window) ||
            !times_of(call, "base_since", "base_until", &base_since, &base_until, &base_window))
                return;
        if (!window || !q.since_ns) {
                bh_call_error(call, 400, "bad_time", "\"since\" says where the window begins that is to be compared: 1h, for example");
                return;
        }
        if (!base_window) {
                /* as long, just before; in whole minutes, so that they do not overlap */
                base_until = q.since_ns - q.since_ns % (60 * SECOND_NS);
                base_since = MAX(base_until - (q.until_ns - q.since_ns), 1);
        }
        if (!(sums = sums_of(call, NULL, &q.since_ns, &q.until_ns)) || !(base_sums = sums_of(call, NULL, &base_since, &base_until)))
                return;
        base = q;
        q.sums = sums;
        base.sums = base_sums;
        base.since_ns = base_since;
        base.until_ns = base_until;
        GString *out = g_string_sized_new(64 * 1024);
        bh_json_open(out, NULL, '{');
        head(call, out, &q);
        bh_json_time(out, "base_since", base.since_ns);
        bh_json_time(out, "base_until", base.until_ns);
        if (!compare(call, out, &q, &base, limit)) {
                g_string_free(out, TRUE);
                return;
        }
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}

/* ---- listeners ---- */

static gboolean is_loopback(const BhHalfAddress *a) {
        static const guint8 one[16] = { [15] = 1 };

        return a->len == 4 ? a->bytes[0] == 127 : a->len == 16 && memcmp(a->bytes, one, sizeof one) == 0;
}

static void listener(GString *out, const BhGraph *g, BhReached *reached, const BhStoreListener *l) {
        char proto[16], address[INET6_ADDRSTRLEN] = "";
        BhGraphBox box;
        gboolean known = *l->container_id && bh_graph_box(g, l->node, l->container_id, &box);
        g_autoptr(GPtrArray) ways = bh_graph_reached_by(g, l->node, l->container_id, l->proto, l->port);

        /* no address from outside leads to loopback, whatever is published */
        if (is_loopback(&l->ip))
                g_ptr_array_set_size(ways, 0);
        else if (l->port)
                bh_reached_names(reached, l->node, l->container_id, l->port, ways);
        if (l->ip.len)
                inet_ntop(l->ip.len == 4 ? AF_INET : AF_INET6, l->ip.bytes, address, sizeof(address));
        bh_json_open(out, NULL, '{');
        bh_json_text(out, "node", l->node);
        bh_json_text(out, "container", l->container_id);
        bh_json_text(out, "container_name", known ? box.name : "");
        bh_json_text(out, "application", known ? box.application : "");
        bh_json_text(out, "workload", known ? box.workload : "");
        bh_json_text(out, "exe", l->exe);
        bh_json_uint(out, "pid", l->pid);
        bh_json_text(out, "proto", bh_proto_name(l->proto, proto));
        bh_json_text(out, "address", address);
        bh_json_uint(out, "port", l->port);
        bh_json_text(out, "path", l->path);
        bh_json_time(out, "started", l->started_ns);
        bh_json_time(out, "first_seen", l->first_ns);
        bh_json_open(out, "reached_by", '[');
        for (guint i = 0; i < ways->len; i++)
                bh_json_text(out, NULL, ways->pdata[i]);
        bh_json_close(out, ']');
        bh_json_close(out, '}');
        if (known)
                bh_graph_box_clear(&box);
}

void bh_api_listeners(BhCall *call) {
        BhStoreListenerFilter f = {
                .node = bh_call_param(call, "node"),
                .application = bh_call_param(call, "application"),
                .workload = bh_call_param(call, "workload"),
        };
        const char *wanted = bh_call_param(call, "container");
        g_autoptr(BhStoreContainer) container = NULL;
        GError *error = NULL;
        guint limit;

        if (!bh_call_limit(call, BH_STORE_LIMIT_MAX, &limit) || !number_of(call, "port", 0, 65535, &f.port))
                return;
        if (wanted && *wanted) {
                if (!(container = bh_store_container_find(call->central->store, wanted, &error))) {
                        bh_call_store_error(call, error);
                        return;
                }
                f.container_id = container->id;
        } else {
                f.container_id = wanted; /* "": the node's own processes */
        }
        g_autoptr(BhStorePage) page = bh_store_listeners(call->central->store, &f, bh_call_param(call, "cursor"), limit, &error);
        if (!page) {
                bh_call_store_error(call, error);
                return;
        }
        /* before the map is held: nobody waits for the store */
        g_autoptr(BhReached) reached = bh_reached_new(call->central->store);
        for (guint i = 0; i < page->rows->len; i++) {
                const BhStoreListener *l = page->rows->pdata[i];

                bh_reached_load(reached, l->node, l->container_id);
        }
        const BhGraph *g = acquire(call);
        if (!g)
                return;
        GString *out = g_string_sized_new(8192);
        bh_json_open(out, NULL, '{');
        bh_json_open(out, "listeners", '[');
        for (guint i = 0; i < page->rows->len; i++) {
                listener(out, g, reached, page->rows->pdata[i]);
                if (out->len >= BH_ANSWER_BYTES && i + 1 < page->rows->len)
                        bh_store_page_cut(page, i + 1);
        }
        bh_map_release(call->central->map);
        bh_json_close(out, ']');
        bh_json_text(out, "next", page->next);
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}

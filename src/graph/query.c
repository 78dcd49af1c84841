/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/query.h"

#include <arpa/inet.h>
#include <xxhash.h>

#include "graph/graph_private.h"
#include "graph/tiers.h"

#define NONE G_MAXUINT
#define APPLICATION (END_RUNTIME + 1) /* what containers are put together to, beside the kinds of ends */
#define PREFIX_MIN 4

static const char *const levels[] = { [BH_GRAPH_APPLICATION] = "application", [BH_GRAPH_WORKLOAD] = "workload", [BH_GRAPH_CONTAINER] = "container" };

const char *bh_graph_level_name(BhGraphLevel level) {
        return levels[level];
}

gboolean bh_graph_level_parse(const char *name, BhGraphLevel *level) {
        for (guint i = 0; i < G_N_ELEMENTS(levels); i++)
                if (g_str_equal(levels[i], name)) {
                        *level = (BhGraphLevel) i;
                        return TRUE;
                }
        return FALSE;
}

/* ---- sums */

struct BhGraphSums {
        GHashTable *of; /* gint64 as a pointer → BhHalfCounts */
};

BhGraphSums *bh_graph_sums_new(void) {
        BhGraphSums *s = g_new0(BhGraphSums, 1);

        s->of = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, g_free);
        return s;
}

void bh_graph_sums_add(BhGraphSums *s, gint64 half, const BhHalfCounts *counts) {
        gpointer key = (gpointer) (gsize) half;
        BhHalfCounts *c = g_hash_table_lookup(s->of, key);

        if (c)
                bh_half_counts_add(c, counts);
        else
                g_hash_table_insert(s->of, key, g_memdup2(counts, sizeof(*counts)));
}

void bh_graph_sums_free(BhGraphSums *s) {
        if (!s)
                return;
        g_hash_table_unref(s->of);
        g_free(s);
}

/* ---- folding */

/* What ends are put together to. */
typedef struct {
        guint kind; /* EndKind or APPLICATION */
        char *a, *b;
        const Box *box; /* of a container, or the youngest of them */
        guint running, containers;
        gboolean used, matches;
        guint number; /* in the answer */
        char *id;
} Group;

typedef struct {
        guint from, to;
        guint32 proto, port;
        char *path;
        BhHalfCounts counts;
        guint64 open, half_open;
        gint64 first_ns, last_ns;
        gboolean hidden;
        guint sides, first_base; /* a chain through Fold.next_base */
        char id[17];
} Folded;

typedef struct {
        const BhGraph *g;
        const BhGraphQuery *q;
        GArray *groups; /* Group */
        GHashTable *group_of;
        guint *of_end;     /* group by slot of the end */
        guint8 *end_found; /* 0: not looked at; 1: no; 2: filters match; 3: and the text; 4: the text alone */
        GPtrArray *edges;  /* Folded */
        GHashTable *edge_of;
        guint *next_base; /* by slot of the edge */
        char *needle;
} Fold;

static guint group_hash(gconstpointer p) {
        const Group *x = p;

        return (x->kind + 1) * 0x9e3779b1u ^ (guint) ((gsize) x->a >> 4) * 65599u ^ (guint) ((gsize) x->b >> 4) * 31u;
}

static gboolean group_equal(gconstpointer p, gconstpointer q) {
        const Group *x = p, *y = q;

        return x->kind == y->kind && x->a == y->a && x->b == y->b;
}

static guint folded_hash(gconstpointer p) {
        const Folded *f = p;

        return (f->from * 0x9e3779b1u ^ f->to) * 65599u ^ (f->proto << 16 | f->port) * 31u ^ (guint) ((gsize) f->path >> 4);
}

static gboolean folded_equal(gconstpointer p, gconstpointer q) {
        const Folded *x = p, *y = q;

        return x->from == y->from && x->to == y->to && x->proto == y->proto && x->port == y->port && x->path == y->path;
}

/* Within a part of an id that another follows. */
static void append_part(GString *out, const char *text) {
        for (; *text; text++) {
                if (*text == '/' || *text == '%')
                        g_string_append_printf(out, "%%%02X", (guint8) *text);
                else
                        g_string_append_c(out, *text);
        }
}

static char *group_id(const Group *group) {
        static const char *const prefixes[] = { [END_CONTAINER] = "c:", [END_WORKLOAD] = "w:", [END_HOST] = "h:", [END_NAME] = "dns:",
                                                [END_NETWORK] = "net:",  [END_RUNTIME] = "rt:",  [APPLICATION] = "a:" };
        GString *out = g_string_new(prefixes[group->kind]);

        if (group->kind == END_CONTAINER || group->kind == END_WORKLOAD) {
                append_part(out, group->a);
                g_string_append_c(out, '/');
                g_string_append(out, group->b);
        } else {
                g_string_append(out, group->a);
        }
        return g_string_free(out, FALSE);
}

static guint group_for(Fold *f, guint kind, char *a, char *b, const Box *box) {
        const Group key = { .kind = kind, .a = a, .b = b };
        gpointer number;

        if (g_hash_table_lookup_extended(f->group_of, &key, NULL, &number))
                return GPOINTER_TO_UINT(number);
        Group *group = g_memdup2(&key, sizeof(key));
        g_ref_string_acquire(a);
        g_ref_string_acquire(b);
        group->box = box;
        g_hash_table_insert(f->group_of, group, GUINT_TO_POINTER(f->groups->len));
        g_array_append_val(f->groups, group);
        return f->groups->len - 1;
}

static Group *group_at(const Fold *f, guint i) {
        return g_array_index(f->groups, Group *, i);
}

static void group_free(gpointer p) {
        Group *group = p;

        g_ref_string_release(group->a);
        g_ref_string_release(group->b);
        g_free(group->id);
        g_free(group);
}

static guint group_of_nothing(Fold *f, guint kind, char *a) {
        char *none = bh_graph_text("");
        guint n = group_for(f, kind, a, none, NULL);

        g_ref_string_release(none);
        return n;
}

static guint group_of_box(Fold *f, const Box *b) {
        if (f->q->level == BH_GRAPH_APPLICATION)
                return group_of_nothing(f, APPLICATION, b->application);
        if (f->q->level == BH_GRAPH_WORKLOAD && *b->workload)
                return group_for(f, END_WORKLOAD, b->application, b->workload, NULL);
        return group_for(f, END_CONTAINER, b->node, b->id, b);
}

static guint group_of_end(Fold *f, const End *e) {
        guint *known = &f->of_end[e->slot];

        if (*known != NONE)
                return *known;
        if (e->kind == END_CONTAINER && e->box) {
                *known = group_of_box(f, e->box);
        } else if (f->q->level == BH_GRAPH_APPLICATION && (e->kind == END_WORKLOAD || e->kind == END_HOST || e->kind == END_CONTAINER)) {
                /* all nodes are one; a container that nobody knows belongs to no application */
                char *a = e->kind == END_WORKLOAD ? g_ref_string_acquire(e->a) : bh_graph_text("");

                *known = group_of_nothing(f, e->kind == END_HOST ? END_HOST : APPLICATION, a);
                g_ref_string_release(a);
        } else {
                *known = group_for(f, e->kind, e->a, e->b, NULL);
        }
        return *known;
}

/* ---- filters */

static gboolean is_text(const char *wanted, const char *text) {
        return !wanted || !strcmp(wanted, text);
}

static gboolean is_container(const char *wanted, const char *id, const char *name) {
        return !wanted || !strcmp(wanted, id) || (name && !strcmp(wanted, name)) || (strlen(wanted) >= PREFIX_MIN && g_str_has_prefix(id, wanted));
}

static gboolean box_matches(const BhGraphQuery *q, const Box *b) {
        return is_text(q->application, b->application) && is_text(q->workload, b->workload) && is_text(q->node, b->node) && is_container(q->container, b->id, b->name);
}

static gboolean has_text(const Fold *f, const char *text) {
        g_autofree char *lower = g_ascii_strdown(text, -1);

        return strstr(lower, f->needle) != NULL;
}

static gboolean box_has_text(const Fold *f, const Box *b) {
        return !f->needle || has_text(f, b->name) || has_text(f, b->id) || has_text(f, b->application) || has_text(f, b->workload) || has_text(f, b->image);
}

static guint8 look_at_end(Fold *f, const End *e) {
        const BhGraphQuery *q = f->q;
        gboolean matches;

        if (f->end_found[e->slot])
                return f->end_found[e->slot];
        if (e->box)
                matches = box_matches(q, e->box);
        else if (e->kind == END_CONTAINER)
                matches = !q->application && !q->workload && is_text(q->node, e->a) && is_container(q->container, e->b, NULL);
        else if (e->kind == END_WORKLOAD)
                matches = is_text(q->application, e->a) && is_text(q->workload, e->b) && !q->node && !q->container;
        else
                matches = !q->application && !q->workload && !q->container && (!q->node || (e->kind == END_HOST && !strcmp(q->node, e->a)));
        gboolean text = e->box ? box_has_text(f, e->box) : !f->needle || has_text(f, e->a) || has_text(f, e->b);
        return f->end_found[e->slot] = matches ? (text ? 3 : 2) : (text ? 4 : 1);
}

static gboolean half_has_text(const Fold *f, const Half *h) {
        g_autofree char *port = g_strdup_printf("%u", h->port);

        return has_text(f, h->exe) || has_text(f, h->peer_exe) || has_text(f, h->peer_name) || has_text(f, h->protocol) || has_text(f, h->server_name) || has_text(f, h->fingerprint) || has_text(f, h->certificate) ||
               has_text(f, h->path) || (h->port && !strcmp(port, f->needle));
}

static gboolean edge_matches(Fold *f, const Edge *e) {
        guint8 from = look_at_end(f, e->from), to = look_at_end(f, e->to);

        if (from != 2 && from != 3 && to != 2 && to != 3)
                return FALSE;
        if (!f->needle || from >= 3 || to >= 3)
                return TRUE;
        for (const Half *h = e->halves; h; h = h->next)
                if (half_has_text(f, h))
                        return TRUE;
        return FALSE;
}

/* ---- one edge of the graph */

typedef struct {
        BhHalfCounts client, server;
        guint64 open[2], half_open[2];
        gint64 first_ns, last_ns;
        guint sides;
        gboolean there;
} Sides;

static void look_at_halves(const BhGraphQuery *q, const Edge *e, Sides *out) {
        *out = (Sides){ 0 };
        for (const Half *h = e->halves; h; h = h->next) {
                const BhHalfCounts *c = q->sums ? g_hash_table_lookup(q->sums->of, (gpointer) (gsize) h->id) : &h->counts;
                gboolean server = h->role == BH_HALF_SERVER;

                if (!c && !(h->open && (!q->until_ns || h->first_ns < q->until_ns)))
                        continue;
                out->there = TRUE;
                out->sides |= server ? BH_GRAPH_SERVER_SIDE : BH_GRAPH_CLIENT_SIDE;
                out->first_ns = out->first_ns ? MIN(out->first_ns, h->first_ns) : h->first_ns;
                out->last_ns = MAX(out->last_ns, h->last_ns);
                if (h->absorbed)
                        continue;
                if (c && server) {
                        BhHalfCounts turned = bh_half_counts_turned(c);

                        bh_half_counts_add(&out->server, &turned);
                } else if (c) {
                        bh_half_counts_add(&out->client, c);
                }
                out->open[server] = bh_half_sum(out->open[server], h->open);
                out->half_open[server] = bh_half_sum(out->half_open[server], h->half_open);
        }
}

static void fold_edge(Fold *f, const Edge *e, const Sides *s) {
        const Folded key = { .from = group_of_end(f, e->from), .to = group_of_end(f, e->to), .proto = e->proto, .port = e->port, .path = e->path };
        Folded *x = g_hash_table_lookup(f->edge_of, &key);
        BhHalfCounts more = s->client;

        bh_half_counts_max(&more, &s->server);
        if (!x) {
                x = g_memdup2(&key, sizeof(key));
                g_ref_string_acquire(x->path);
                x->first_base = NONE;
                x->hidden = TRUE;
                g_ptr_array_add(f->edges, x);
                g_hash_table_add(f->edge_of, x);
        }
        bh_half_counts_add(&x->counts, &more);
        x->open = bh_half_sum(x->open, MAX(s->open[0], s->open[1]));
        x->half_open = bh_half_sum(x->half_open, MAX(s->half_open[0], s->half_open[1]));
        x->first_ns = x->first_ns ? MIN(x->first_ns, s->first_ns) : s->first_ns;
        x->last_ns = MAX(x->last_ns, s->last_ns);
        x->sides |= s->sides;
        x->hidden = x->hidden && (e->to->kind == END_RUNTIME || e->from->kind == END_RUNTIME);
        f->next_base[e->slot] = x->first_base;
        x->first_base = e->slot;
}

static void folded_free(gpointer p) {
        g_ref_string_release(((Folded *) p)->path);
        g_free(p);
}

static void set_id(Fold *f, Folded *x) {
        Group *from = group_at(f, x->from), *to = group_at(f, x->to);
        g_autofree char *text = NULL;

        if (!from->id)
                from->id = group_id(from);
        if (!to->id)
                to->id = group_id(to);
        text = g_strdup_printf("%u\n%s\n%s\n%u\n%u\n%s", (guint) f->q->level, from->id, to->id, x->proto, x->port, x->path);
        g_snprintf(x->id, sizeof(x->id), "%016" G_GINT64_MODIFIER "x", (guint64) XXH3_64bits(text, strlen(text)));
}

static void fold_clear(Fold *f) {
        g_hash_table_unref(f->edge_of);
        g_ptr_array_unref(f->edges);
        g_hash_table_unref(f->group_of);
        g_array_unref(f->groups);
        g_free(f->of_end);
        g_free(f->end_found);
        g_free(f->next_base);
        g_free(f->needle);
}

/* `allowed`: a byte for each edge, NULL: all. Ids are a good part of the work: without `ids` edges have none. */
static void fold_all(Fold *f, const BhGraph *g, const BhGraphQuery *q, const guint8 *allowed, gboolean ids) {
        *f = (Fold){ .g = g, .q = q };
        f->groups = g_array_new(FALSE, FALSE, sizeof(Group *));
        f->group_of = g_hash_table_new_full(group_hash, group_equal, group_free, NULL);
        f->of_end = g_new(guint, g->ends->len + 1);
        memset(f->of_end, 0xff, (g->ends->len + 1) * sizeof(guint));
        f->end_found = g_new0(guint8, g->ends->len + 1);
        f->edges = g_ptr_array_new_with_free_func(folded_free);
        f->edge_of = g_hash_table_new(folded_hash, folded_equal);
        f->next_base = g_new(guint, g->edges->len + 1);
        f->needle = q->search && *q->search ? g_ascii_strdown(q->search, -1) : NULL;
        for (guint i = 0; i < g->edges->len; i++) {
                const Edge *e = g->edges->pdata[i];
                Sides s;

                if (allowed && !allowed[i])
                        continue;
                if (!edge_matches(f, e))
                        continue;
                look_at_halves(q, e, &s);
                if (s.there)
                        fold_edge(f, e, &s);
        }
        for (guint i = 0; ids && i < f->edges->len; i++)
                set_id(f, f->edges->pdata[i]);
}

/* What one edge of another level is made of: NULL when there is no such edge. */
static guint8 *edges_within(const BhGraph *g, const BhGraphQuery *q) {
        guint8 *allowed = g_new0(guint8, g->edges->len + 1);
        BhGraphQuery wide = { .level = q->within_level, .hidden = TRUE };
        Fold f;

        fold_all(&f, g, &wide, NULL, TRUE);
        for (guint i = 0; i < f.edges->len; i++) {
                const Folded *x = f.edges->pdata[i];

                if (strcmp(x->id, q->within))
                        continue;
                for (guint e = x->first_base; e != NONE; e = f.next_base[e])
                        allowed[e] = 1;
        }
        fold_clear(&f);
        return allowed;
}

static guint8 *edges_of_halves(const BhGraph *g, GHashTable *halves) {
        guint8 *allowed = g_new0(guint8, g->edges->len + 1);

        for (guint i = 0; i < g->edges->len; i++)
                for (const Half *h = ((const Edge *) g->edges->pdata[i])->halves; h && !allowed[i]; h = h->next)
                        allowed[i] = g_hash_table_contains(halves, (gpointer) (gsize) h->id);
        return allowed;
}

static void fold(Fold *f, const BhGraph *g, const BhGraphQuery *q, gboolean ids) {
        g_autofree guint8 *allowed = q->halves ? edges_of_halves(g, q->halves) : q->within ? edges_within(g, q) : NULL;

        fold_all(f, g, q, allowed, ids);
}

/* ---- nodes of the answer */

static void node_free(gpointer p) {
        BhGraphNode *n = p;
        char *const texts[] = { n->application, n->workload, n->container, n->node, n->image, n->state };

        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                g_ref_string_release(texts[i]);
        g_free(n->id);
        g_free(n->name);
        g_free(n);
}

static char *name_of(const Group *group) {
        switch (group->kind) {
        case APPLICATION:
                return g_strdup(*group->a ? group->a : "(no application)");
        case END_HOST:
                return g_strdup(*group->a ? group->a : "(hosts)");
        case END_WORKLOAD:
                return g_strdup(group->b);
        case END_CONTAINER:
                return group->box && *group->box->name ? g_strdup(group->box->name) : g_strndup(group->b, 12);
        case END_NETWORK:
                if (*group->b && strcmp(group->b, "special"))
                        return g_strconcat(group->b, " ", group->a, NULL);
                return g_strdup(group->a);
        default:
                return g_strdup(group->a);
        }
}

static BhGraphNode *node_of(Group *group) {
        static const char *const kinds[] = { [END_CONTAINER] = "container", [END_WORKLOAD] = "workload", [END_HOST] = "host", [END_NAME] = "name",
                                             [END_NETWORK] = "network",      [END_RUNTIME] = "runtime",   [APPLICATION] = "application" };
        BhGraphNode *n = g_new0(BhGraphNode, 1);
        const Box *b = group->box;

        if (!group->id)
                group->id = group_id(group);
        n->id = g_strdup(group->id);
        n->kind = kinds[group->kind];
        n->name = name_of(group);
        n->application = bh_graph_text(group->kind == APPLICATION || group->kind == END_WORKLOAD ? group->a : b ? b->application : "");
        n->workload = bh_graph_text(group->kind == END_WORKLOAD ? group->b : group->kind == END_CONTAINER && b ? b->workload : "");
        n->container = bh_graph_text(group->kind == END_CONTAINER ? group->b : "");
        n->node = bh_graph_text(group->kind == END_CONTAINER || group->kind == END_HOST ? group->a : "");
        n->image = bh_graph_text(b && group->kind != APPLICATION ? b->image : "");
        n->state = bh_graph_text(group->running && group->kind != END_CONTAINER ? "running" : b ? b->state : "");
        n->running = group->running;
        n->containers = group->containers;
        return n;
}

static gboolean existed(const BhGraphQuery *q, const Box *b) {
        if (!q->sums)
                return TRUE;
        return b->since_ns <= (q->until_ns ? q->until_ns : G_MAXINT64) && (!b->ended_ns || b->ended_ns >= q->since_ns);
}

/* Numbers of containers; groups that no edge has, where they are wanted. */
static void count_boxes(Fold *f, gboolean isolated) {
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, f->g->boxes);
        while (g_hash_table_iter_next(&it, &p, NULL)) {
                const Box *b = p;

                if (!existed(f->q, b))
                        continue;
                gboolean shown = (f->q->sums || !b->ended_ns) && box_matches(f->q, b) && box_has_text(f, b);
                Group *group = group_at(f, group_of_box(f, b));

                group->containers++;
                group->running += b->running;
                group->matches |= shown && isolated;
                if (group->kind == END_CONTAINER || !group->box || b->since_ns > group->box->since_ns || (b->since_ns == group->box->since_ns && b->id > group->box->id))
                        group->box = b;
        }
}

static void set_tiers(Fold *f, GPtrArray *edges) {
        g_autofree guint *from = g_new(guint, edges->len + 1), *to = g_new(guint, edges->len + 1), *tiers = g_new(guint, f->groups->len + 1);
        guint n = 0;

        for (guint i = 0; i < f->groups->len; i++) {
                guint kind = group_at(f, i)->kind;

                tiers[i] = kind == END_CONTAINER || kind == END_WORKLOAD || kind == APPLICATION;
        }
        for (guint i = 0; i < edges->len; i++) {
                const Folded *x = edges->pdata[i];
                guint kind = group_at(f, x->to)->kind;

                /* what goes to the node itself or the runtime would make one of all that those talk to */
                if (x->from == x->to || x->hidden || kind == END_HOST || kind == END_RUNTIME)
                        continue;
                from[n] = x->from;
                to[n++] = x->to;
        }
        bh_tiers(f->groups->len, from, to, n, tiers);
        for (guint i = 0; i < f->groups->len; i++)
                group_at(f, i)->number = tiers[i];
}

/* ---- edges of the answer */

static void edge_free(gpointer p) {
        BhGraphEdge *e = p;
        GPtrArray **const lists[] = { &e->clients, &e->servers, &e->names, &e->dialled, &e->networks };

        g_ref_string_release(e->path);
        g_ref_string_release(e->protocol);
        g_ref_string_release(e->server_name);
        g_ref_string_release(e->fingerprint);
        g_ref_string_release(e->certificate);
        for (guint i = 0; i < G_N_ELEMENTS(lists); i++)
                g_clear_pointer(lists[i], g_ptr_array_unref);
        g_clear_pointer(&e->resolved, g_ptr_array_unref);
        g_free(e);
}

static void resolved_free(gpointer p) {
        g_free(((BhGraphResolved *) p)->by);
        g_free(((BhGraphResolved *) p)->name);
        g_free(((BhGraphResolved *) p)->address);
        g_free(p);
}

static void note(GPtrArray *list, const char *text) {
        if (!*text || list->len >= BH_GRAPH_LIST_MAX)
                return;
        for (guint i = 0; i < list->len; i++)
                if (!strcmp(list->pdata[i], text))
                        return;
        g_ptr_array_add(list, g_strdup(text));
}

static char *dialled_text(const BhHalfAddress *a, guint32 port) {
        char text[INET6_ADDRSTRLEN];

        inet_ntop(a->len == 4 ? AF_INET : AF_INET6, a->bytes, text, sizeof(text));
        return a->len == 4 ? g_strdup_printf("%s:%u", text, port) : g_strdup_printf("[%s]:%u", text, port);
}

static void take(char **to, char *text) {
        if (*text && (!**to || strcmp(text, *to) < 0)) {
                g_ref_string_release(*to);
                *to = g_ref_string_acquire(text);
        }
}

static void note_resolved(BhGraphEdge *e, const Edge *base, const Half *h) {
        const End *from = base->from;
        const Group group = { .kind = from->kind, .a = from->a, .b = from->b };
        char address[INET6_ADDRSTRLEN] = "";

        if (base->to->kind != END_NAME || h->role != BH_HALF_CLIENT || (e->resolved && e->resolved->len >= BH_GRAPH_LIST_MAX))
                return;
        if (h->peer.len)
                inet_ntop(h->peer.len == 4 ? AF_INET : AF_INET6, h->peer.bytes, address, sizeof(address));
        g_autofree char *by = group_id(&group);
        for (guint i = 0; e->resolved && i < e->resolved->len; i++) {
                const BhGraphResolved *r = e->resolved->pdata[i];

                if (!strcmp(r->by, by) && !strcmp(r->address, address))
                        return;
        }
        BhGraphResolved *r = g_new0(BhGraphResolved, 1);
        r->by = g_steal_pointer(&by);
        r->name = g_strdup(from->box ? from->box->name : from->kind == END_HOST ? from->a : "");
        r->address = g_strdup(address);
        if (!e->resolved)
                e->resolved = g_ptr_array_new_with_free_func(resolved_free);
        g_ptr_array_add(e->resolved, r);
}

static void describe(BhGraphEdge *e, const Edge *base, const Half *h) {
        gboolean server = h->role == BH_HALF_SERVER;

        note_resolved(e, base, h);

        note(server ? e->servers : e->clients, h->exe);
        note(server ? e->clients : e->servers, h->peer_exe);
        if (!server)
                note(e->names, h->peer_name);
        note(e->networks, h->network_id);
        if (h->dialled.len) {
                g_autofree char *text = dialled_text(&h->dialled, h->dialled_port);

                note(e->dialled, text);
        }
        if (h->published) {
                g_autofree char *text = dialled_text(&h->peer, h->port);

                note(e->dialled, text);
        }
        take(&e->protocol, h->protocol);
        take(&e->server_name, h->server_name);
        take(&e->fingerprint, h->fingerprint);
        take(&e->certificate, h->certificate);
        e->ports = MAX(e->ports, h->ports);
        e->addresses = MAX(e->addresses, h->addresses);
        for (guint i = 0; h->samples && i < h->samples[0] && e->n_samples < BH_HALF_SAMPLES; i++) {
                guint k = 0;

                while (k < e->n_samples && e->samples[k] != h->samples[i + 1])
                        k++;
                if (k == e->n_samples)
                        e->samples[e->n_samples++] = h->samples[i + 1];
        }
}

static gint by_text(gconstpointer a, gconstpointer b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static BhGraphEdge *edge_of(const Fold *f, const Folded *x) {
        BhGraphEdge *e = g_new0(BhGraphEdge, 1);
        GPtrArray **const lists[] = { &e->clients, &e->servers, &e->names, &e->dialled, &e->networks };

        for (guint i = 0; !f->q->brief && i < G_N_ELEMENTS(lists); i++)
                *lists[i] = g_ptr_array_new_with_free_func(g_free);
        memcpy(e->id, x->id, sizeof(e->id));
        e->proto = x->proto;
        e->port = x->port;
        e->path = g_ref_string_acquire(x->path);
        e->counts = x->counts;
        e->open = x->open;
        e->half_open = x->half_open;
        e->first_ns = x->first_ns;
        e->last_ns = x->last_ns;
        e->fresh = f->q->since_ns && x->first_ns >= f->q->since_ns;
        e->hidden = x->hidden;
        e->sides = x->sides;
        e->protocol = bh_graph_text("");
        e->server_name = bh_graph_text("");
        e->fingerprint = bh_graph_text("");
        e->certificate = bh_graph_text("");
        for (guint b = f->q->brief ? NONE : x->first_base; b != NONE; b = f->next_base[b])
                for (const Half *h = ((const Edge *) f->g->edges->pdata[b])->halves; h; h = h->next)
                        describe(e, f->g->edges->pdata[b], h);
        for (guint i = 0; !f->q->brief && i < G_N_ELEMENTS(lists); i++)
                g_ptr_array_sort(*lists[i], by_text);
        return e;
}

static gint by_id(gconstpointer a, gconstpointer b) {
        return strcmp((*(const Folded *const *) a)->id, (*(const Folded *const *) b)->id);
}

static guint enter_node(BhGraphView *v, Group *group, guint *place) {
        if (*place == NONE) {
                BhGraphNode *n = node_of(group);

                n->tier = group->number;
                *place = v->nodes->len;
                g_ptr_array_add(v->nodes, n);
        }
        return *place;
}

BhGraphView *bh_graph_query(const BhGraph *g, const BhGraphQuery *q, const char *after, guint limit) {
        BhGraphView *v = g_new0(BhGraphView, 1);
        g_autoptr(GPtrArray) shown = g_ptr_array_new();
        g_autofree guint *places = NULL;
        Fold f;

        v->nodes = g_ptr_array_new_with_free_func(node_free);
        v->edges = g_ptr_array_new_with_free_func(edge_free);
        fold(&f, g, q, TRUE);
        for (guint i = 0; i < f.edges->len; i++) {
                Folded *x = f.edges->pdata[i];

                v->n_hidden += x->hidden;
                if (x->hidden && !q->hidden)
                        continue;
                group_at(&f, x->from)->used = group_at(&f, x->to)->used = TRUE;
                g_ptr_array_add(shown, x);
        }
        v->n_edges = shown->len;
        if (!q->brief) {
                count_boxes(&f, !q->within && !q->halves);
                set_tiers(&f, shown);
        }
        g_ptr_array_sort(shown, by_id);
        places = g_new(guint, f.groups->len + 1);
        memset(places, 0xff, (f.groups->len + 1) * sizeof(guint));
        for (guint i = 0; i < f.groups->len; i++) {
                Group *group = group_at(&f, i);

                v->n_nodes += group->used || group->matches;
                if (!after && !q->only && !q->brief && (group->used || group->matches))
                        enter_node(v, group, &places[i]);
        }
        for (guint i = 0; i < shown->len; i++) {
                const Folded *x = shown->pdata[i];

                if ((after && strcmp(x->id, after) <= 0) || (q->only && !g_hash_table_contains((GHashTable *) (gsize) q->only, x->id)))
                        continue;
                if (v->edges->len >= limit) {
                        v->more = TRUE;
                        break;
                }
                BhGraphEdge *e = edge_of(&f, x);
                e->from = q->brief ? 0 : enter_node(v, group_at(&f, x->from), &places[x->from]);
                e->to = q->brief ? 0 : enter_node(v, group_at(&f, x->to), &places[x->to]);
                g_ptr_array_add(v->edges, e);
        }
        fold_clear(&f);
        return v;
}

void bh_graph_view_cut(BhGraphView *v, guint n) {
        if (n < v->edges->len) {
                g_ptr_array_set_size(v->edges, (gint) n);
                v->more = TRUE;
        }
}

void bh_graph_view_free(BhGraphView *v) {
        if (!v)
                return;
        g_ptr_array_unref(v->nodes);
        g_ptr_array_unref(v->edges);
        g_free(v);
}

/* ---- the halves behind it */

GHashTable *bh_graph_select(const BhGraph *g, const BhGraphQuery *q, GArray *edge_begins) {
        GHashTable *ids = g_hash_table_new(g_direct_hash, g_direct_equal);
        Fold f;

        fold(&f, g, q, FALSE);
        for (guint i = 0; i < f.edges->len; i++) {
                const Folded *x = f.edges->pdata[i];

                if (x->hidden && !q->hidden)
                        continue;
                if (edge_begins)
                        g_array_append_val(edge_begins, x->first_ns);
                for (guint b = x->first_base; b != NONE; b = f.next_base[b]) {
                        const Edge *e = g->edges->pdata[b];
                        Sides s;

                        /* the side that has seen more stands for both */
                        look_at_halves(q, e, &s);
                        guint64 client = bh_half_sum(bh_half_sum(s.client.bytes_out, s.client.bytes_in), s.client.connections);
                        guint64 server = bh_half_sum(bh_half_sum(s.server.bytes_out, s.server.bytes_in), s.server.connections);
                        guint role = (s.sides & BH_GRAPH_CLIENT_SIDE) && client >= server ? BH_HALF_CLIENT : BH_HALF_SERVER;
                        for (const Half *h = e->halves; h; h = h->next)
                                if (q->both || (h->role == role && !h->absorbed))
                                        g_hash_table_add(ids, (gpointer) (gsize) h->id);
                }
        }
        fold_clear(&f);
        return ids;
}

/* ---- listeners */

static const Box *box_at(const BhGraph *g, const char *node, const char *container) {
        char *n = bh_graph_text(node), *id = bh_graph_text(container);
        const Box key = { .node = n, .id = id };
        const Box *b = g_hash_table_lookup(g->boxes, &key);

        g_ref_string_release(n);
        g_ref_string_release(id);
        return b;
}

gboolean bh_graph_box(const BhGraph *g, const char *node, const char *container, BhGraphBox *out) {
        const Box *b = box_at(g, node, container);

        if (!b)
                return FALSE;
        *out = (BhGraphBox){ g_ref_string_acquire(b->name), g_ref_string_acquire(b->application), g_ref_string_acquire(b->workload) };
        return TRUE;
}

void bh_graph_box_clear(BhGraphBox *b) {
        g_ref_string_release(b->name);
        g_ref_string_release(b->application);
        g_ref_string_release(b->workload);
}

GPtrArray *bh_graph_reached_by(const BhGraph *g, const char *node, const char *container, guint32 proto, guint32 port) {
        static const BhHalfAddress any = { .len = 4 };
        GPtrArray *out = g_ptr_array_new_with_free_func(g_free);
        const Box *b = *container ? box_at(g, node, container) : NULL;
        GHashTableIter it;
        gpointer key, value;

        for (guint i = 0; b && i < b->n_ports; i++) {
                const BhGraphPort *p = &b->ports[i];

                if (p->proto == proto && p->container_port == port && p->host_port && !b->ended_ns) {
                        g_autofree char *text = dialled_text(p->host_ip.len ? &p->host_ip : &any, p->host_port);

                        note(out, text);
                }
        }
        g_hash_table_iter_init(&it, g->services);
        while (b && g_hash_table_iter_next(&it, &key, &value)) {
                const End *service = value;

                if (service->a == b->application && service->b == b->workload) {
                        g_autofree char *text = g_strdup_printf("%s:%u (service)", service->b, port);

                        note(out, text);
                }
        }
        g_ptr_array_sort(out, by_text);
        return out;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <xxhash.h>

#include "graph/flow_private.h"

#define SCANS_MORE 16u /* beyond the bounds: what is found to be a scan takes the place of its many tries, which may have used up the room */

/* ---- addresses ---- */

gboolean bh_flow_ip_parse(const char *text, struct bh_ip *ip) {
        memset(ip, 0, sizeof(*ip));
        if (inet_pton(AF_INET, text, ip->b) == 1)
                ip->len = 4;
        else if (inet_pton(AF_INET6, text, ip->b) == 1)
                ip->len = 16;
        return ip->len != 0;
}

gboolean bh_flow_ip_is_any(const struct bh_ip *ip) {
        for (guint i = 0; i < ip->len; i++)
                if (ip->b[i])
                        return FALSE;
        return TRUE;
}

gboolean bh_flow_ip_is_loopback(const struct bh_ip *ip) {
        static const guint8 one[16] = { [15] = 1 };

        return ip->len == 4 ? ip->b[0] == 127 : ip->len == 16 && memcmp(ip->b, one, 16) == 0;
}

gboolean bh_flow_ip_is_near(const struct bh_ip *ip) {
        const guint8 *b = ip->b;

        if (ip->len == 4)
                return b[0] == 127 || b[0] == 10 || (b[0] == 172 && (b[1] & 0xf0) == 16) || (b[0] == 192 && b[1] == 168) || (b[0] == 100 && (b[1] & 0xc0) == 64) ||
                       (b[0] == 169 && b[1] == 254);
        return ip->len == 16 && (bh_flow_ip_is_loopback(ip) || (b[0] & 0xfe) == 0xfc || (b[0] == 0xfe && (b[1] & 0xc0) == 0x80));
}

GPtrArray *bh_flow_all(GHashTable *h) {
        GPtrArray *all = g_ptr_array_sized_new(g_hash_table_size(h));
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, h);
        while (g_hash_table_iter_next(&it, NULL, &p))
                g_ptr_array_add(all, p);
        return all;
}

/* ---- boxes ---- */

static guint box_hash(gconstpointer p) {
        const Box *b = p;

        return (guint) XXH3_64bits(b->id, b->id_len);
}

static gboolean box_equal(gconstpointer pa, gconstpointer pb) {
        const Box *a = pa, *b = pb;

        return a->id_len == b->id_len && memcmp(a->id, b->id, a->id_len) == 0;
}

static void net_clear(gpointer p) {
        g_free(((struct net *) p)->id);
}

Box *bh_flow_box(BhFlowTable *t, struct bh_str id) {
        Box wanted = { .id = (char *) (id.len ? id.p : ""), .id_len = MIN(id.len, 128) };
        Box *b = g_hash_table_lookup(t->boxes, &wanted);

        if (b)
                return b;
        b = g_new0(Box, 1);
        b->id = g_strndup(wanted.id, wanted.id_len);
        b->id_len = wanted.id_len;
        b->nets = g_array_new(FALSE, TRUE, sizeof(struct net));
        g_array_set_clear_func(b->nets, net_clear);
        g_queue_init(&b->flows);
        g_hash_table_add(t->boxes, b);
        return b;
}

gboolean bh_flow_table_knows(BhFlowTable *t, struct bh_str container_id) {
        const Box wanted = { .id = (char *) (container_id.len ? container_id.p : ""), .id_len = MIN(container_id.len, 128) };
        const Box *b = g_hash_table_lookup(t->boxes, &wanted);

        return b && (b == t->host || b->listed);
}

void bh_flow_box_unref(BhFlowTable *t, Box *b) {
        if (--b->refs)
                return;
        g_hash_table_remove(t->boxes, b);
        bh_flow_leave_places(t, b);
        g_array_unref(b->nets);
        g_ptr_array_add(t->grave, b->id);
        g_free(b);
}

/* ---- ends ---- */

static guint end_hash(gconstpointer p) {
        const End *e = p;

        return (guint) XXH3_64bits_withSeed(e->exe, e->exe_len, (XXH64_hash_t) (uintptr_t) e->box);
}

static gboolean end_equal(gconstpointer pa, gconstpointer pb) {
        const End *a = pa, *b = pb;

        return a->box == b->box && a->exe_len == b->exe_len && memcmp(a->exe, b->exe, a->exe_len) == 0;
}

End *bh_flow_end_ref(End *e) {
        e->refs++;
        return e;
}

End *bh_flow_end(BhFlowTable *t, Box *box, struct bh_str exe) {
        End wanted = { .box = box, .exe = exe.len ? exe.p : "", .exe_len = MIN(exe.len, BH_FLOW_TEXT_MAX) };
        End *e = g_hash_table_lookup(t->ends, &wanted);

        if (e)
                return bh_flow_end_ref(e);
        e = g_new0(End, 1);
        e->box = box;
        box->refs++;
        e->exe = g_strndup(wanted.exe, wanted.exe_len);
        e->exe_len = wanted.exe_len;
        e->refs = 1;
        g_hash_table_add(t->ends, e);
        return e;
}

void bh_flow_end_unref(BhFlowTable *t, End *e) {
        if (!e || --e->refs)
                return;
        g_hash_table_remove(t->ends, e);
        g_ptr_array_add(t->grave, (char *) e->exe);
        bh_flow_box_unref(t, e->box);
        g_free(e);
}

/* ---- flows ---- */

static guint flow_hash(gconstpointer p) {
        return (guint) XXH3_64bits(p, sizeof(struct key));
}

static gboolean flow_equal(gconstpointer a, gconstpointer b) {
        return memcmp(a, b, sizeof(struct key)) == 0;
}

void bh_flow_text(BhFlowTable *t, char **field, const char *value) {
        if (!value || !*value || (*field && strcmp(*field, value) == 0))
                return;
        if (*field)
                g_ptr_array_add(t->grave, *field);
        *field = g_strdup(value);
}

void bh_flow_peer_end(BhFlowTable *t, Flow *f, End *peer) {
        if (f->peer_end == peer || !peer)
                return;
        bh_flow_end_unref(t, f->peer_end);
        f->peer_end = bh_flow_end_ref(peer);
}

void bh_flow_drop(BhFlowTable *t, Flow *f) {
        char *texts[] = { f->path, f->name, f->network, f->protocol, f->server_name, f->fingerprint, f->certificate };

        bh_flow_awaits_no_more(t, f);
        g_hash_table_remove(t->flows, &f->key);
        g_queue_unlink(&t->ages, &f->age);
        g_queue_unlink(&f->key.end->box->flows, &f->in_box);
        if (f->dirty)
                g_queue_unlink(&t->dirty, &f->in_dirty);
        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                if (texts[i])
                        g_ptr_array_add(t->grave, texts[i]);
        if (f->scan)
                g_free(f->scan->seen);
        g_free(f->scan);
        g_free(f->held);
        bh_flow_crowd_drop(f);
        bh_flow_end_unref(t, f->peer_end);
        if (f->key.peer)
                bh_flow_box_unref(t, f->key.peer);
        if (f->told_peer)
                bh_flow_box_unref(t, f->told_peer);
        bh_flow_end_unref(t, f->key.end);
        g_free(f);
}

static gboolean at_rest(const Flow *f) {
        return !f->dirty && !f->conns && !f->held;
}

/* The one of these that was at rest longest goes; a few are looked at, as flows with open connections stand among them. */
static gboolean make_room(BhFlowTable *t, GQueue *among) {
        guint looked = 0;

        for (GList *l = among->head; l && looked < 64; l = l->next, looked++) {
                if (at_rest(l->data)) {
                        t->stats.forgotten++;
                        bh_flow_drop(t, l->data);
                        return TRUE;
                }
        }
        return FALSE;
}

Flow *bh_flow_find(BhFlowTable *t, const struct key *key) {
        return g_hash_table_lookup(t->flows, key);
}

Flow *bh_flow_get(BhFlowTable *t, const struct key *key, const char *path) {
        Flow *f = g_hash_table_lookup(t->flows, key);
        Box *box = key->end->box;
        guint more = key->scan ? SCANS_MORE : 0;

        if (f)
                return f;
        /* the host is many containers' peer, and no container: it may have more, but leaves room for them */
        guint beyond = box->crowds + box->fresh + box->large;
        if (box->flows.length - beyond >= (box == t->host ? t->c.max_flows - t->c.max_flows / 4 : t->c.max_per_container) + more && !make_room(t, &box->flows))
                return key->scan ? NULL : bh_flow_crowd(t, key, path);
        if (g_hash_table_size(t->flows) >= t->c.max_flows + (key->scan ? t->c.max_flows / 8 : 0) && !make_room(t, &t->ages))
                return key->scan ? NULL : bh_flow_crowd(t, key, path);
        return bh_flow_new(t, key, path);
}

Flow *bh_flow_new(BhFlowTable *t, const struct key *key, const char *path) {
        Flow *f = g_new0(Flow, 1);

        f->key = *key;
        bh_flow_end_ref(key->end);
        if (key->peer)
                key->peer->refs++;
        f->path = g_strdup(path);
        f->age.data = f->in_box.data = f->in_dirty.data = f;
        g_queue_push_tail_link(&t->ages, &f->age);
        g_queue_push_tail_link(&key->end->box->flows, &f->in_box);
        g_hash_table_add(t->flows, f);
        return f;
}

void bh_flow_touch(BhFlowTable *t, Flow *f) {
        /* who only tries is told later, or as a scan */
        if (!f->told && (f->added.last_ns || f->now.open > f->now.half_open))
                t->soon = TRUE;
        if (f->dirty)
                return;
        f->dirty = TRUE;
        g_queue_push_tail_link(&t->dirty, &f->in_dirty);
        g_queue_unlink(&t->ages, &f->age);
        g_queue_push_tail_link(&t->ages, &f->age);
        g_queue_unlink(&f->key.end->box->flows, &f->in_box);
        g_queue_push_tail_link(&f->key.end->box->flows, &f->in_box);
}

void bh_flow_add(BhFlowCounts *to, const BhFlowCounts *more) {
        to->connections += more->connections;
        to->refused += more->refused;
        to->timed_out += more->timed_out;
        to->unreachable += more->unreachable;
        to->failed += more->failed;
        to->reset += more->reset;
        to->bytes_out += more->bytes_out;
        to->bytes_in += more->bytes_in;
        to->packets_out += more->packets_out;
        to->packets_in += more->packets_in;
        to->duration_ns += more->duration_ns;
        if (more->first_ns && (!to->first_ns || more->first_ns < to->first_ns))
                to->first_ns = more->first_ns;
        to->last_ns = MAX(to->last_ns, more->last_ns);
}

void bh_flow_count(BhFlowTable *t, Flow *f, const BhFlowCounts *more) {
        if (f) {
                if (f->crowd)
                        f = bh_flow_crowd_counts(t, f, more);
                bh_flow_add(&f->added, more);
                bh_flow_touch(t, f);
                if (more->connections)
                        bh_flow_ask_protocol(t, f);
                return;
        }
        t->rest_connections += more->connections;
        t->rest_bytes += more->bytes_out + more->bytes_in;
        t->stats.rest_connections += more->connections;
        t->stats.rest_bytes += more->bytes_out + more->bytes_in;
}

void bh_flow_count_failed(BhFlowTable *t, Flow *f, const BhFlowCounts *more, guint64 id) {
        if (id <= t->failed_until || !f) { /* of a batch that is made again; or nobody's */
                BhFlowCounts rest = *more;

                rest.connections += f ? 0 : more->refused + more->timed_out + more->unreachable + more->failed;
                bh_flow_count(t, f, &rest);
                return;
        }
        if (!f->held)
                f->held = g_new0(struct held, 1);
        bh_flow_add(&f->held->slot[0], more);
}

/* ---- life ---- */

BhFlowTable *bh_flow_table_new(const BhFlowTableConfig *config) {
        BhFlowTable *t = g_new0(BhFlowTable, 1);

        t->c = *config;
        t->c.max_flows = t->c.max_flows ? t->c.max_flows : BH_FLOW_MAX;
        t->c.max_per_container = t->c.max_per_container ? t->c.max_per_container : BH_FLOW_MAX_PER_CONTAINER;
        t->c.max_conns = t->c.max_conns ? t->c.max_conns : BH_FLOW_MAX_CONNS;
        t->c.max_waiting = t->c.max_waiting ? t->c.max_waiting : BH_FLOW_MAX_WAITING;
        t->conntrack = bh_conntrack_new(0);
        t->names = bh_flow_names_new();
        t->boxes = g_hash_table_new(box_hash, box_equal);
        t->ends = g_hash_table_new(end_hash, end_equal);
        t->flows = g_hash_table_new(flow_hash, flow_equal);
        t->grave = g_ptr_array_new_with_free_func(g_free);
        t->told = g_array_new(FALSE, FALSE, sizeof(BhFlow));
        t->talks = g_new0(struct talk, BH_FLOW_TALKS);
        t->proxies = g_array_new(FALSE, TRUE, sizeof(struct proxy));
        g_queue_init(&t->ages);
        g_queue_init(&t->dirty);
        t->host = bh_flow_box(t, (struct bh_str){ "", 0 });
        t->host->refs = 1;
        t->host->listed = t->host->alive = t->host->host_network = TRUE;
        t->look = 1;
        t->pairs = bh_flow_pairs_new();
        bh_flow_scans_init(t);
        bh_flow_walk_init(t);
        return t;
}

void bh_flow_table_free(BhFlowTable *t) {
        if (!t)
                return;
        bh_flow_walk_free(t);
        bh_flow_pairs_free(t);
        bh_flow_scans_free(t);
        while (t->ages.head)
                bh_flow_drop(t, t->ages.head->data);
        bh_flow_tell_free(t);

        g_autoptr(GPtrArray) boxes = bh_flow_all(t->boxes);
        for (guint i = 0; i < boxes->len; i++)
                bh_flow_box_unref(t, g_ptr_array_index(boxes, i));
        g_hash_table_unref(t->boxes);
        g_hash_table_unref(t->ends);
        g_hash_table_unref(t->flows);
        g_array_unref(t->proxies);
        g_free(t->talks);
        g_array_unref(t->told);
        g_ptr_array_unref(t->grave);
        bh_conntrack_free(t->conntrack);
        bh_flow_names_free(t->names);
        g_free(t);
}

BhConntrack *bh_flow_table_conntrack(BhFlowTable *t) {
        return t->conntrack;
}

void bh_flow_table_stats(BhFlowTable *t, BhFlowStats *out) {
        *out = t->stats;
        out->flows = g_hash_table_size(t->flows);
        out->ends = g_hash_table_size(t->ends);
        out->containers = g_hash_table_size(t->boxes) - 1;
        out->conns = g_hash_table_size(t->conns);
        out->listeners = g_hash_table_size(t->listeners);
        out->breadths = g_hash_table_size(t->breadths);
        out->names = bh_flow_names_count(t->names);
}

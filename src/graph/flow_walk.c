/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/socket.h>
#include <xxhash.h>

#include "graph/flow_private.h"

#define CLOSED_MAX 4096u /* remembered, so that a walk that was slow does not open them again */
#define EPHEMERAL_FIRST 32768u
#define WALKS_TO_GIVE_UP 2u
#define MISSED_NS (2 * G_GINT64_CONSTANT(1000000000)) /* a TCP connection that no walk tells any more: its end is on its way for so long */
#define INVERTED 16u                                  /* of those that ended last, where an event of their beginning may come behind that of their end … */
#define INVERTED_NS 1000000                           /* … as it has a time that is a little later */
#define UNANSWERED_NS (1500 * G_GINT64_CONSTANT(1000000))
#define COMPARISONS_MAX 2000000u /* a walk's, of connections through docker-proxy: some milliseconds */

/* A connected Unix socket of a walk. */
typedef struct {
        guint64 ino, peer_ino;
        End *end;
        BhFlowRole role;
        char path[109];
        guint32 path_dev;
        guint64 path_ino;
} WalkUnix;

static guint tuple_hash(gconstpointer p) {
        return (guint) XXH3_64bits(p, sizeof(struct tuple));
}

static gboolean tuple_equal(gconstpointer a, gconstpointer b) {
        return memcmp(a, b, sizeof(struct tuple)) == 0;
}

static void walk_unix_free(gpointer p) {
        g_free(p);
}

void bh_flow_walk_init(BhFlowTable *t) {
        t->conns = g_hash_table_new(tuple_hash, tuple_equal);
        t->closed = g_new0(struct ended, CLOSED_MAX);
        bh_flow_listen_init(t);
        t->walk_unix = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, walk_unix_free);
}

/* ---- connections ---- */

static void set_tuple(struct tuple *k, Box *box, guint8 proto, const struct bh_ip *laddr, guint16 lport, const struct bh_ip *raddr, guint16 rport) {
        memset(k, 0, sizeof(*k));
        k->box = box;
        memcpy(k->laddr.b, laddr->b, laddr->len);
        k->laddr.len = laddr->len;
        memcpy(k->raddr.b, raddr->b, raddr->len);
        k->raddr.len = raddr->len;
        k->lport = lport;
        k->rport = rport;
        k->proto = proto;
}

Conn *bh_flow_conn_find(BhFlowTable *t, const struct side *s) {
        struct tuple k;

        if (!g_hash_table_size(t->conns))
                return NULL;
        set_tuple(&k, s->end->box, s->proto, &s->laddr, s->lport, &s->raddr, s->rport);
        return g_hash_table_lookup(t->conns, &k);
}

static void leave_flow(BhFlowTable *t, Conn *c) {
        Flow *f = c->flow;

        if (!f)
                return;
        c->flow = NULL;
        f->conns--;
        f->now.open--;
        f->now.half_open -= c->half_open;
        f->now.bytes_out -= c->bytes_out;
        f->now.bytes_in -= c->bytes_in;
        f->now.packets_out -= c->packets_out;
        f->now.packets_in -= c->packets_in;
        if (f->told)
                bh_flow_touch(t, f);
}

static void join_flow(BhFlowTable *t, Conn *c, Flow *f) {
        if (!f)
                return;
        if (!c->half_open)
                bh_flow_ask_protocol(t, f);
        c->flow = f;
        f->conns++;
        f->now.open++;
        f->now.half_open += c->half_open;
        f->now.bytes_out += c->bytes_out;
        f->now.bytes_in += c->bytes_in;
        f->now.packets_out += c->packets_out;
        f->now.packets_in += c->packets_in;
        bh_flow_touch(t, f);
}

static void conn_remove(BhFlowTable *t, Conn *c) {
        g_hash_table_remove(t->conns, &c->tuple);
        c->tuple.box->conns--;
        leave_flow(t, c);
        bh_flow_end_unref(t, c->end);
        c->free = t->free_conns;
        t->free_conns = c;
}

void bh_flow_conn_close(BhFlowTable *t, struct side *s, Conn *c) {
        struct tuple k;

        set_tuple(&k, s->end->box, s->proto, &s->laddr, s->lport, &s->raddr, s->rport);
        t->closed[t->n_closed++ % CLOSED_MAX] = (struct ended){ XXH3_64bits(&k, sizeof(k)), t->now_ns };
        if (!c)
                return;

        Flow *f = c->flow;
        leave_flow(t, c);
        if (f && f->told)
                bh_flow_leaves(t, f, c, t->now_ns, s->told);
        conn_remove(t, c);
}

static gboolean closed_lately(const BhFlowTable *t, const struct tuple *k) {
        guint64 hash = XXH3_64bits(k, sizeof(*k));

        for (guint i = 0; i < MIN(t->n_closed, CLOSED_MAX); i++)
                if (t->closed[i].hash == hash)
                        return TRUE;
        return FALSE;
}

/* A hook notes a connection before it makes the event of it: in between the connection may have ended, and its end been told. */
static gboolean is_over(const BhFlowTable *t, const struct tuple *k, gint64 ns) {
        guint64 hash = XXH3_64bits(k, sizeof(*k));

        for (guint i = 1; i <= MIN(t->n_closed, INVERTED); i++) {
                const struct ended *e = &t->closed[(t->n_closed - i) % CLOSED_MAX];

                if (e->hash == hash && ns < e->ns + INVERTED_NS)
                        return TRUE;
        }
        return FALSE;
}

/* No container has all of the room: the last eighth is for the others. */
static gboolean conns_full(const BhFlowTable *t, const Box *box) {
        return g_hash_table_size(t->conns) >= t->c.max_conns || (box != t->host && box->conns >= t->c.max_conns - t->c.max_conns / 8);
}

static Conn *conn_add(BhFlowTable *t, const struct tuple *k, End *end, gint64 now_ns) {
        Conn *c = t->free_conns;

        if (conns_full(t, k->box)) {
                t->stats.conns_refused++;
                return NULL;
        }
        k->box->conns++;
        if (c)
                t->free_conns = c->free;
        else
                c = g_new(Conn, 1);
        memset(c, 0, sizeof(*c));
        c->tuple = *k;
        c->end = bh_flow_end_ref(end);
        c->seen_ns = now_ns;
        g_hash_table_insert(t->conns, &c->tuple, c);
        return c;
}

static Flow *flow_of_client(BhFlowTable *t, const struct side *s, gboolean half_open) {
        struct key key;

        if (!bh_flow_client_key(t, s, &key))
                return NULL;

        Flow *f = bh_flow_find(t, &key);
        if (!f && half_open) /* one more of a scan? Failures tell; what is known of it until now says */
                f = bh_flow_scan_tried(t, &key, FALSE);
        return f ? f : bh_flow_of(t, s, &key);
}

Conn *bh_flow_conn_open(BhFlowTable *t, const struct side *s, gboolean half_open, gint64 now_ns) {
        gboolean hidden;
        struct tuple k;

        set_tuple(&k, s->end->box, s->proto, &s->laddr, s->lport, &s->raddr, s->rport);
        if (!s->lport || !s->rport || g_hash_table_contains(t->conns, &k))
                return g_hash_table_lookup(t->conns, &k);
        if (is_over(t, &k, now_ns))
                return NULL;
        Conn *c = conn_add(t, &k, s->end, now_ns);
        if (!c)
                return NULL;
        c->role = s->role;
        c->half_open = half_open;
        c->net_ns = s->net_ns;
        c->since_ns = now_ns;
        c->walk = t->walk;
        if (s->role == BH_FLOW_CLIENT)
                join_flow(t, c, flow_of_client(t, s, half_open));
        else if (!bh_flow_proxy_leg(t, s, BH_FLOW_SERVER)) /* the container's own side tells it */
                join_flow(t, c, bh_flow_pair_open(t, s, FALSE, &hidden));
        return c;
}

guint bh_flow_table_unspoken_sockets(BhFlowTable *t, guint64 *sks, guint max) {
        GHashTableIter it;
        guint n = 0;
        gpointer p;

        g_hash_table_iter_init(&it, t->conns);
        while (n < max && g_hash_table_iter_next(&it, NULL, &p)) {
                const Conn *c = p;

                if (!c->sk || !c->flow || c->half_open || c->flow->protocol || c->tuple.proto != BH_PROTO_TCP || c->flow->looks >= BH_FLOW_LOOKS_MAX || bh_flow_of_host_alone(t, c->flow))
                        continue;
                c->flow->looks++;
                sks[n++] = c->sk;
        }
        return n;
}

gboolean bh_flow_table_assigning(BhFlowTable *t) {
        return t->assigning;
}

gboolean bh_flow_table_wants_walk(BhFlowTable *t) {
        gboolean wants = t->wants_walk;

        t->wants_walk = FALSE;
        return wants;
}

/* ---- walks ---- */

void bh_flow_table_walk_begin(BhFlowTable *t, gint64 now_ns) {
        t->walk++;
        t->walk_ns = now_ns;
        g_hash_table_remove_all(t->walk_unix);
}

static struct bh_str text_of(const char *s) {
        return (struct bh_str){ s ? s : "", s ? (guint32) strlen(s) : 0 };
}

static void moved(BhFlowTable *t, Conn *c, const BhFlowSocket *told, gboolean half_open) {
        BhFlowSocket copy = *told, *s = &copy;
        Flow *f = c->flow;

        if (c->tuple.proto == BH_PROTO_UDP) { /* counted from some time on, and perhaps not any more */
                guint64 before = c->bytes_out + c->bytes_in + c->packets_out + c->packets_in;

                s->bytes_out = MAX(s->bytes_out, c->bytes_out);
                s->bytes_in = MAX(s->bytes_in, c->bytes_in);
                s->packets_out = MAX(s->packets_out, c->packets_out);
                s->packets_in = MAX(s->packets_in, c->packets_in);
                if (s->bytes_out + s->bytes_in + s->packets_out + s->packets_in != before)
                        c->dull = 0;
                else if (c->dull++ >= 2 * BH_FLOW_DULL_WALKS)
                        c->dull = BH_FLOW_DULL_WALKS + 1;
        }

        if (f && (c->bytes_out != s->bytes_out || c->bytes_in != s->bytes_in || c->packets_out != s->packets_out || c->packets_in != s->packets_in || c->half_open != half_open)) {
                f->now.bytes_out += s->bytes_out - c->bytes_out;
                f->now.bytes_in += s->bytes_in - c->bytes_in;
                f->now.packets_out += s->packets_out - c->packets_out;
                f->now.packets_in += s->packets_in - c->packets_in;
                f->now.half_open = f->now.half_open - c->half_open + half_open;
                bh_flow_touch(t, f);
        }
        c->bytes_out = s->bytes_out;
        c->bytes_in = s->bytes_in;
        c->packets_out = s->packets_out;
        c->packets_in = s->packets_in;
        c->half_open = half_open;
        if (s->net_ns)
                c->net_ns = s->net_ns;
}

/* What has moved much while it is open does not stay in a crowd; what was told of it does. */
static void step_out(BhFlowTable *t, Conn *c, const struct side *s) {
        guint64 told[BH_FLOW_MOVED] = { 0 };
        Flow *crowd = c->flow, *own;
        BhConntrackEnds ends;
        struct key key;

        if (s->role == BH_FLOW_SERVER) {
                gboolean translated = bh_conntrack_undo_server(t->conntrack, s->proto, &s->laddr, s->lport, &s->raddr, s->rport, &ends);

                bh_flow_server_key(s, NULL, &ends.client, translated ? &ends.dialled : NULL, ends.dialled_port, &key);
        } else if (!bh_flow_client_key(t, s, &key)) {
                return;
        }
        own = bh_flow_find(t, &key);
        if (!own && !(own = bh_flow_crowd_moved(t, crowd, &key, c->bytes_out + c->bytes_in)))
                return;
        leave_flow(t, c);
        if (crowd->told)
                bh_flow_leaves(t, crowd, c, t->walk_ns, told);
        for (guint i = 0; i < BH_FLOW_MOVED; i++)
                own->elsewhere[i] += told[i];
        join_flow(t, c, own);
}

static gboolean walk_connection(BhFlowTable *t, const BhFlowSocket *s, Box *box) {
        gboolean half_open = s->state == BH_TCP_SYN_SENT;
        struct bh_ip laddr = bh_flow_ip(&s->laddr), raddr = bh_flow_ip(&s->raddr);
        struct tuple k;

        /* a datagram socket that is connected is in the state of an established connection */
        if (!s->lport || !s->rport || s->state == BH_TCP_CLOSE || s->state == BH_TCP_LISTEN)
                return TRUE;
        set_tuple(&k, box, s->proto, &laddr, s->lport, &raddr, s->rport);
        Conn *c = g_hash_table_lookup(t->conns, &k);
        if (!c) {
                /* beyond the bound there is no use in looking up whose it is */
                if (conns_full(t, box)) {
                        t->stats.conns_refused++;
                        return TRUE;
                }
                if (s->fresh)
                        return TRUE;
                if (!s->exe)
                        return FALSE;
                if (closed_lately(t, &k))
                        return TRUE;
                End *end = bh_flow_end(t, box, text_of(s->exe));
                c = conn_add(t, &k, end, t->walk_ns);
                bh_flow_end_unref(t, end);
                if (!c)
                        return TRUE;
                c->role = s->role;
                c->since_ns = s->since_ns;
        }
        bh_flow_learn(t, box, &laddr, s->net_ns);
        c->sk = s->sk;
        c->walk = t->walk;
        c->missed_ns = 0;
        moved(t, c, s, half_open);
        if (c->role == BH_FLOW_ROLE_NONE)
                c->role = s->role;
        struct side side = { .end = c->end, .role = c->role, .proto = s->proto, .net_ns = s->net_ns, .pid = s->pid, .laddr = laddr, .raddr = raddr, .lport = s->lport, .rport = s->rport };
        gboolean in_crowd = c->flow && c->flow->crowd;
        if (c->role == BH_FLOW_CLIENT) {
                t->now_ns = MAX(t->now_ns, t->walk_ns);
                bh_flow_pair_client(t, &side);
                /* no answer since more than the first repetition of its SYN: as good as a failure, which may be minutes away */
                if (half_open && c->flow && (in_crowd || !c->flow->key.scan) && t->walk_ns - c->seen_ns > UNANSWERED_NS) {
                        struct key key = c->flow->key;

                        if (in_crowd && !bh_flow_client_key(t, &side, &key))
                                return TRUE;
                        bh_flow_end_ref(key.end);
                        Flow *scan = bh_flow_scan_tried(t, &key, TRUE);
                        if (scan && in_crowd) {
                                leave_flow(t, c);
                                join_flow(t, c, scan);
                        }
                        bh_flow_end_unref(t, key.end);
                }
        }
        if (in_crowd && !half_open && c->flow && c->flow->crowd)
                step_out(t, c, &side);
        return TRUE;
}

static gboolean walk_listener(BhFlowTable *t, const BhFlowSocket *s, Box *box) {
        if (!s->exe)
                return FALSE;

        gboolean is_unix = s->family == BH_AF_UNIX;
        if (is_unix && box != t->host)
                t->unix_ns = MAX(t->unix_ns, t->walk_ns);
        End *end = bh_flow_end(t, box, text_of(s->exe));
        Listener wanted = { .end = end, .path = (char *) (s->path ? s->path : ""), .told = { .net_ns = s->net_ns, .proto = is_unix ? 0 : s->proto, .port = s->lport } };
        if (!is_unix)
                wanted.told.ip = bh_flow_ip(&s->laddr);

        /* a datagram socket without a peer on a port that the kernel chose is a client's, as long as it does not stay */
        gboolean passing = s->proto == BH_PROTO_UDP && !is_unix && s->lport >= EPHEMERAL_FIRST;
        Listener *known = g_hash_table_lookup(t->listeners, &wanted);
        Listener *l = bh_flow_listen_get(t, &wanted, t->walk_ns);
        if (l && (!passing || known)) {
                l->told.pid = s->pid;
                l->told.started_ns = s->started_ns;
        }
        bh_flow_end_unref(t, end);
        return TRUE;
}

static gboolean walk_unix(BhFlowTable *t, const BhFlowSocket *s, Box *box) {
        if (!s->peer_ino || !s->ino || !s->path || !*s->path)
                return TRUE;
        if (!s->exe)
                return FALSE;

        WalkUnix *u = g_new0(WalkUnix, 1);
        u->ino = s->ino;
        u->peer_ino = s->peer_ino;
        u->end = bh_flow_end(t, box, text_of(s->exe));
        u->role = s->role;
        u->path_dev = s->path_dev;
        u->path_ino = s->path_ino;
        g_strlcpy(u->path, s->path, sizeof(u->path));
        WalkUnix *old = g_hash_table_lookup(t->walk_unix, &u->ino);
        if (old)
                bh_flow_end_unref(t, old->end);
        g_hash_table_replace(t->walk_unix, &u->ino, u);
        return TRUE;
}

gboolean bh_flow_table_walk_socket(BhFlowTable *t, const BhFlowSocket *s) {
        Box *box = bh_flow_box(t, text_of(s->container_id));
        gboolean inet = s->family == BH_AF_INET || s->family == BH_AF_INET6, done = TRUE;

        box->refs++;
        if (s->listening && (s->family == BH_AF_UNIX ? s->path && *s->path : inet && s->lport))
                done = walk_listener(t, s, box);
        else if (inet && (s->proto == BH_PROTO_TCP || s->proto == BH_PROTO_UDP))
                done = walk_connection(t, s, box);
        else if (s->family == BH_AF_UNIX)
                done = walk_unix(t, s, box);
        bh_flow_box_unref(t, box);
        return done;
}

guint bh_flow_table_silent_datagrams(BhFlowTable *t, BhFlowSilent *out, guint max, gboolean *look) {
        GHashTableIter it;
        guint n = 0;
        gpointer p;

        *look = FALSE;
        g_hash_table_iter_init(&it, t->conns);
        while (n < max && g_hash_table_iter_next(&it, NULL, &p)) {
                const Conn *c = p;

                if (c->tuple.proto != BH_PROTO_UDP || !c->sk || c->tuple.box == t->host || !c->flow || c->flow->heard || c->walk != t->walk)
                        continue;
                *look |= c->dull <= BH_FLOW_DULL_WALKS || c->dull == 2 * BH_FLOW_DULL_WALKS;
                out[n++] = (BhFlowSilent){ c->sk, c->tuple.lport, c->tuple.rport };
        }
        return n;
}

void bh_flow_table_walk_datagrams(BhFlowTable *t, guint64 sk, guint64 bytes_out, guint64 bytes_in, guint64 packets_out, guint64 packets_in) {
        const BhFlowSocket s = { .bytes_out = bytes_out, .bytes_in = bytes_in, .packets_out = packets_out, .packets_in = packets_in };
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, t->conns);
        while (g_hash_table_iter_next(&it, NULL, &p)) {
                Conn *c = p;

                if (c->sk == sk && c->tuple.proto == BH_PROTO_UDP && c->walk != t->walk)
                        moved(t, c, &s, FALSE);
        }
}

/* Nobody tells the end of a datagram socket: what was counted of it becomes what has ended. */
static void datagrams_end(BhFlowTable *t, Conn *c) {
        BhFlowCounts all = { .bytes_out = c->bytes_out, .bytes_in = c->bytes_in, .packets_out = c->packets_out, .packets_in = c->packets_in, .last_ns = t->walk_ns };
        guint64 told[BH_FLOW_MOVED] = { 0 };
        Flow *f = c->flow;

        if (!f || !(all.packets_out + all.packets_in))
                return;
        leave_flow(t, c);
        if (f->told)
                bh_flow_leaves(t, f, c, t->walk_ns, told);
        bh_flow_not_again(&all, told);
        bh_flow_count(t, f, &all);
}

/* Both ends of Unix connections that are open. A pair is a connection as any, by its inode. */
static void pair_unix(BhFlowTable *t) {
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, t->walk_unix);
        while (g_hash_table_iter_next(&it, NULL, &p)) {
                const WalkUnix *u = p, *peer = g_hash_table_lookup(t->walk_unix, &u->peer_ino);
                struct bh_ip ino = { .len = 8 }, peer_ino = { .len = 8 };
                struct tuple k;

                if (!peer || u->role == BH_FLOW_ROLE_NONE || (u->end->box == t->host && peer->end->box == t->host))
                        continue;
                memcpy(ino.b, &u->ino, 8);
                memcpy(peer_ino.b, &u->peer_ino, 8);
                set_tuple(&k, u->end->box, 0, &ino, 0, &peer_ino, 0);

                Conn *c = g_hash_table_lookup(t->conns, &k);
                t->unix_ns = MAX(t->unix_ns, t->walk_ns);
                if (c) {
                        c->walk = t->walk;
                        continue;
                }
                if (!(c = conn_add(t, &k, u->end, t->walk_ns)))
                        continue;
                c->walk = t->walk;
                c->role = u->role;

                struct key key = { .end = u->end, .peer = peer->end->box, .path_hash = XXH3_64bits(u->path, strlen(u->path)), .role = u->role };
                Flow *f = bh_flow_get(t, &key, u->path);
                if (f) {
                        bh_flow_peer_end(t, f, peer->end);
                        f->path_dev = u->path_dev;
                        f->path_ino = u->path_ino;
                }
                join_flow(t, c, f);
        }
        g_hash_table_iter_init(&it, t->walk_unix);
        while (g_hash_table_iter_next(&it, NULL, &p))
                bh_flow_end_unref(t, ((WalkUnix *) p)->end);
        g_hash_table_remove_all(t->walk_unix);
}

/* Now that all listeners and clients are known. */
static void assign_flow(BhFlowTable *t, Conn *c) {
        struct side s = {
                .end = c->end, .proto = c->tuple.proto, .net_ns = c->net_ns, .laddr = c->tuple.laddr, .raddr = c->tuple.raddr, .lport = c->tuple.lport, .rport = c->tuple.rport,
        };
        gboolean hidden;

        if (c->role == BH_FLOW_ROLE_NONE && c->tuple.proto == BH_PROTO_UDP)
                c->role = bh_flow_datagram_role(t, &s, TRUE);
        else if (c->role == BH_FLOW_ROLE_NONE)
                c->role = bh_flow_listener(t, c->net_ns, c->end->box, c->tuple.proto, c->tuple.lport) ? BH_FLOW_SERVER : BH_FLOW_CLIENT;
        s.role = c->role;
        if (c->role == BH_FLOW_CLIENT)
                join_flow(t, c, flow_of_client(t, &s, c->half_open));
        else
                join_flow(t, c, bh_flow_pair_open(t, &s, c->walks++ >= WALKS_TO_GIVE_UP, &hidden));
}

static gboolean is_proxy_leg(BhFlowTable *t, const Conn *c, BhFlowRole role) {
        struct side s = { .end = c->end, .proto = c->tuple.proto, .laddr = c->tuple.laddr, .raddr = c->tuple.raddr, .lport = c->tuple.lport, .rport = c->tuple.rport };

        return bh_flow_proxy_leg(t, &s, role);
}

/*
 * A server's open connections that come from a docker-proxy: each belongs to one that the proxy accepted. Which, nobody says; those that have carried the
 * same are taken for each other, else those that began in the same order. Of very many some are left to the next walk.
 */
static void assign_proxied(BhFlowTable *t, GPtrArray *servers, GPtrArray *accepted) {
        g_autofree const struct proxy **proxies = g_new(const struct proxy *, accepted->len + 1);
        guint comparisons = 0;

        for (guint k = 0; k < accepted->len && servers->len; k++) {
                const Conn *a = g_ptr_array_index(accepted, k);

                proxies[k] = bh_flow_proxy_at(t, a->net_ns, a->tuple.proto, &a->tuple.laddr, a->tuple.lport);
        }
        for (guint i = 0; i < servers->len && comparisons < COMPARISONS_MAX; i++) {
                Conn *c = g_ptr_array_index(servers, i), *best = NULL;
                guint best_at = 0;

                comparisons += accepted->len;
                for (guint k = 0; k < accepted->len; k++) {
                        Conn *a = g_ptr_array_index(accepted, k);

                        if (!proxies[k] || proxies[k]->proto != c->tuple.proto || proxies[k]->port != c->tuple.lport || !bh_flow_ip_equal(&proxies[k]->ip, &c->tuple.laddr))
                                continue;
                        gboolean same = a->bytes_in == c->bytes_in && a->bytes_out == c->bytes_out;
                        gboolean best_same = best && best->bytes_in == c->bytes_in && best->bytes_out == c->bytes_out;
                        if (!best || (same && !best_same) || (same == best_same && a->since_ns < best->since_ns)) {
                                best = a;
                                best_at = k;
                        }
                }
                if (!best)
                        continue;
                proxies[best_at] = NULL;

                struct side s = { .end = c->end, .role = BH_FLOW_SERVER, .proto = c->tuple.proto, .net_ns = c->net_ns, .laddr = c->tuple.laddr, .raddr = best->tuple.raddr,
                                  .lport = c->tuple.lport, .rport = best->tuple.rport };
                struct key key;

                /* loopback is the node's there, not the container's own */
                bh_flow_server_key(&s, bh_flow_ip_is_loopback(&best->tuple.raddr) ? t->host : NULL, &best->tuple.raddr, &best->tuple.laddr, best->tuple.lport, &key);
                join_flow(t, c, bh_flow_of(t, &s, &key));
        }
}

/*
 * The walk did not tell it. The end of a TCP connection may be told a little later than a walk misses it; who took it out now would have to count it as another.
 */
static gboolean is_gone(const BhFlowTable *t, Conn *c) {
        if (c->tuple.proto != BH_PROTO_TCP || (c->missed_ns && t->walk_ns - c->missed_ns >= MISSED_NS))
                return TRUE;
        if (!c->missed_ns)
                c->missed_ns = t->walk_ns;
        return FALSE;
}

gboolean bh_flow_table_walk_end(BhFlowTable *t, gboolean whole) {
        g_autoptr(GPtrArray) gone = g_ptr_array_new(), waiting = g_ptr_array_new(), accepted = g_ptr_array_new();
        GHashTableIter it;
        gboolean soon;
        gpointer p;

        pair_unix(t);
        g_hash_table_iter_init(&it, t->conns);
        while (g_hash_table_iter_next(&it, NULL, &p)) {
                Conn *c = p;

                if (whole && c->walk != t->walk && c->seen_ns < t->walk_ns) {
                        if (is_gone(t, c))
                                g_ptr_array_add(gone, c);
                } else if (c->role == BH_FLOW_SERVER && is_proxy_leg(t, c, BH_FLOW_SERVER)) {
                        g_ptr_array_add(accepted, c);
                } else if (!c->flow && c->tuple.proto && !is_proxy_leg(t, c, BH_FLOW_CLIENT) && (c->role != BH_FLOW_ROLE_NONE || !is_proxy_leg(t, c, BH_FLOW_SERVER))) {
                        g_ptr_array_add(waiting, c);
                }
        }
        for (guint i = 0; i < gone->len; i++) {
                Conn *c = g_ptr_array_index(gone, i);

                t->stats.vanished += c->tuple.proto == BH_PROTO_TCP;
                if (c->tuple.proto == BH_PROTO_UDP)
                        datagrams_end(t, c);
                conn_remove(t, c);
        }
        if (whole)
                bh_flow_listen_close(t);
        for (guint i = 0; i < waiting->len; i++)
                assign_flow(t, g_ptr_array_index(waiting, i));
        for (guint i = waiting->len; i-- > 0; )
                if (((Conn *) g_ptr_array_index(waiting, i))->flow || ((Conn *) g_ptr_array_index(waiting, i))->role != BH_FLOW_SERVER)
                        g_ptr_array_remove_index_fast(waiting, i);
        assign_proxied(t, waiting, accepted);
        t->assigning = FALSE;
        for (guint i = 0; i < waiting->len; i++) {
                const Conn *c = g_ptr_array_index(waiting, i);

                t->assigning |= !c->flow && c->walks <= WALKS_TO_GIVE_UP;
        }
        t->wants_walk |= t->assigning;
        bh_flow_listen_list(t);
        soon = t->soon;
        t->soon = FALSE;
        return soon;
}

void bh_flow_walk_free(BhFlowTable *t) {
        g_autoptr(GPtrArray) conns = bh_flow_all(t->conns);
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, t->walk_unix);
        while (g_hash_table_iter_next(&it, NULL, &p))
                bh_flow_end_unref(t, ((WalkUnix *) p)->end);
        for (guint i = 0; i < conns->len; i++)
                conn_remove(t, g_ptr_array_index(conns, i));
        for (Conn *c; (c = t->free_conns); g_free(c))
                t->free_conns = c->free;
        bh_flow_listen_free(t);
        g_hash_table_unref(t->conns);
        g_hash_table_unref(t->walk_unix);
        g_free(t->closed);
}

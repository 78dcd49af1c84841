/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <xxhash.h>

#include "graph/flow_private.h"

/* Where the kernel takes ports from for who does not ask for one (net.ipv4.ip_local_port_range, as it comes). */
#define EPHEMERAL_FIRST 32768u
#define EPHEMERAL_LAST 60999u
#define KERNEL_ERRORS 512 /* ERESTARTSYS and what follows never reach a program */

gboolean bh_flow_table_wants(guint32 type) {
        switch (type) {
        case BH_EV_CONNECT:
        case BH_EV_ACCEPT:
        case BH_EV_NET_CLOSE:
        case BH_EV_SEND:
        case BH_EV_RECV:
        case BH_EV_DNS:
        case BH_EV_LISTEN:
        case BH_EV_BIND:
        case BH_EV_EXEC:
        case BH_EV_PROCESS:
        case BH_EV_EXIT:
                return TRUE;
        default:
                return FALSE;
        }
}

/* ---- keys ---- */

static void put_ip(guint8 to[16], guint8 *len, const struct bh_ip *ip) {
        memcpy(to, ip->b, ip->len);
        *len = ip->len;
}

static gboolean is_docker_dns(const struct bh_ip *ip) {
        static const guint8 resolver[4] = { 127, 0, 0, 11 };

        return ip->len == 4 && memcmp(ip->b, resolver, 4) == 0;
}

/* Where a client really gets when it dials an address of the node. */
static gboolean redirected(BhFlowTable *t, const struct side *s, struct bh_ip *server, guint16 *port) {
        gboolean loopback = bh_flow_ip_is_loopback(&s->raddr);

        if (loopback ? !s->end->box->host_network || is_docker_dns(&s->raddr) : !bh_flow_is_host_address(t, &s->raddr))
                return FALSE;

        const struct proxy *proxy = bh_flow_proxy_at(t, s->net_ns, s->proto, &s->raddr, s->rport);
        if (proxy) {
                *server = proxy->ip;
                *port = proxy->port;
                return TRUE;
        }
        return bh_flow_published(t, s->proto, s->rport, s->raddr.len, server, port);
}

gboolean bh_flow_client_key(BhFlowTable *t, const struct side *s, struct key *key) {
        BhConntrackEnds ends;
        gboolean translated;

        if (bh_flow_proxy_leg(t, s, BH_FLOW_CLIENT))
                return FALSE;
        translated = bh_conntrack_undo_client(t->conntrack, s->proto, &s->laddr, s->lport, &s->raddr, s->rport, &ends);
        if (translated)
                translated = ends.server_port != s->rport || !bh_flow_ip_equal(&ends.server, &s->raddr);
        else
                translated = redirected(t, s, &ends.server, &ends.server_port);
        memset(key, 0, sizeof(*key));
        key->end = s->end;
        key->role = BH_FLOW_CLIENT;
        key->proto = s->proto;
        key->port = ends.server_port;
        put_ip(key->peer_ip, &key->peer_len, &ends.server);
        if (translated) {
                put_ip(key->dialled_ip, &key->dialled_len, &s->raddr);
                key->dialled_port = s->rport;
        }
        return TRUE;
}

void bh_flow_server_key(const struct side *s, Box *peer, const struct bh_ip *client, const struct bh_ip *dialled, guint16 dialled_port, struct key *key) {
        memset(key, 0, sizeof(*key));
        key->end = s->end;
        key->peer = peer;
        key->role = BH_FLOW_SERVER;
        key->proto = s->proto;
        key->port = s->lport;
        put_ip(key->peer_ip, &key->peer_len, client);
        if (dialled && dialled->len && (dialled_port != s->lport || !bh_flow_ip_equal(dialled, &s->laddr))) {
                put_ip(key->dialled_ip, &key->dialled_len, dialled);
                key->dialled_port = dialled_port;
        }
}

Flow *bh_flow_of(BhFlowTable *t, const struct side *s, const struct key *key) {
        Flow *f = bh_flow_get(t, key, "");

        if (f && s->laddr.len && !bh_flow_ip_is_any(&s->laddr))
                f->local_ip = s->laddr;
        if (f && s->net_ns)
                f->net_ns = s->net_ns;
        if (f && !f->protocol && !f->told && key->role == BH_FLOW_SERVER)
                bh_flow_speaks(t, f, bh_flow_listener_protocol(t, s->net_ns, s->end->box, key->proto, key->port));
        return f;
}

/* ---- events ---- */

#define TEXT(e, member) (bh_event_has(e, BH_F_##member) ? (e)->member : (struct bh_str){ "", 0 })

/* FALSE: it is not about IP. The end is a reference. */
static gboolean side_of(BhFlowTable *t, const struct bh_event *e, struct side *s) {
        static const struct bh_ip none = { .len = 0 };

        if (e->family != BH_AF_INET && e->family != BH_AF_INET6)
                return FALSE;
        *s = (struct side){
                .proto = (guint8) e->proto,
                .net_ns = bh_event_has(e, BH_F_net_ns) ? e->net_ns : 0,
                .pid = e->pid,
                .laddr = bh_flow_ip(bh_event_has(e, BH_F_laddr) ? &e->laddr : &none),
                .raddr = bh_flow_ip(bh_event_has(e, BH_F_raddr) ? &e->raddr : &none),
                .lport = (guint16) (bh_event_has(e, BH_F_lport) ? e->lport : 0),
                .rport = (guint16) (bh_event_has(e, BH_F_rport) ? e->rport : 0),
        };
        Box *box = bh_flow_box(t, TEXT(e, container_id));
        if (!s->net_ns)
                s->net_ns = box->host_network ? t->c.host_net_ns : box->net_ns;
        s->end = bh_flow_end(t, box, TEXT(e, exe));
        bh_flow_learn(t, box, &s->laddr, s->net_ns);
        return TRUE;
}

/* FALSE: not a failure that anybody would know of. */
static gboolean count_failure(gint64 ret, guint64 n, BhFlowCounts *c) {
        switch (-ret) {
        case EINTR:
        case EINPROGRESS:
        case EALREADY:
        case EISCONN:
        case EAGAIN:
                return FALSE;
        case ECONNREFUSED:
                c->refused = n;
                return TRUE;
        case ETIMEDOUT:
                c->timed_out = n;
                return TRUE;
        case EHOSTUNREACH:
        case ENETUNREACH:
        case EHOSTDOWN:
        case ENETDOWN:
                c->unreachable = n;
                return TRUE;
        default:
                if (-ret >= KERNEL_ERRORS)
                        return FALSE;
                c->failed = n;
                return TRUE;
        }
}

static void times_of(const struct bh_event *e, BhFlowCounts *c) {
        guint64 lasted = bh_event_has(e, BH_F_duration) && e->duration < e->time ? e->duration : 0;

        c->first_ns = (gint64) (e->time - lasted);
        c->last_ns = (gint64) e->time;
}

static void failed(BhFlowTable *t, const struct bh_event *e, const struct side *s) {
        BhFlowCounts c = { 0 };
        struct key key;

        if (!s->raddr.len || !count_failure(e->ret, MAX(e->count, 1), &c) || !bh_flow_client_key(t, s, &key))
                return;
        times_of(e, &c);

        Flow *f = bh_flow_scan_tried(t, &key, TRUE);
        bh_flow_count_failed(t, f ? f : bh_flow_of(t, s, &key), &c, e->id);
}

static void connected(BhFlowTable *t, const struct bh_event *e, struct side *s) {
        gboolean half = bh_event_has(e, BH_F_ret) && e->ret < 0;
        gboolean is_new;
        struct key key;

        s->role = BH_FLOW_CLIENT;
        if (s->proto == BH_PROTO_UDP)
                return; /* a socket that only knows its peer now, or was told that there is no way: resolvers ask so to sort addresses. Nothing was sent */
        if (half && -e->ret != EINPROGRESS && -e->ret != EINTR) {
                failed(t, e, s);
                return;
        }
        /* repeats are told with the addresses of the first of them */
        if (s->proto != BH_PROTO_TCP || (e->flags & BH_RF_REPEATS))
                return;
        bh_flow_pair_client(t, s);
        if (!bh_flow_client_key(t, s, &key))
                return;
        is_new = !bh_flow_find(t, &key);
        Conn *c = bh_flow_conn_open(t, s, half, (gint64) e->time);
        if (is_new && c && c->flow)
                bh_flow_touch(t, c->flow);
}

static void accepted(BhFlowTable *t, const struct bh_event *e, struct side *s) {
        s->role = BH_FLOW_SERVER;
        if ((bh_event_has(e, BH_F_ret) && e->ret < 0) || s->proto != BH_PROTO_TCP || (e->flags & BH_RF_REPEATS))
                return;
        bh_flow_serves(t, s);
        Conn *c = bh_flow_conn_open(t, s, FALSE, (gint64) e->time);
        if (c && c->flow && !c->flow->told)
                bh_flow_touch(t, c->flow);
}

static void closed(BhFlowTable *t, const struct bh_event *e, struct side *s) {
        gint64 ret = bh_event_has(e, BH_F_ret) ? e->ret : 0;
        Conn *conn = bh_flow_conn_find(t, s);
        struct key key;

        s->role = e->outgoing ? BH_FLOW_CLIENT : BH_FLOW_SERVER;
        if (!s->net_ns && conn)
                s->net_ns = conn->net_ns;
        bh_flow_conn_close(t, s, conn);
        /* an error before a byte was moved: it never became one. (A peer that resets one at once had taken it.) */
        if (ret < 0 && ret != -ECONNRESET && ret != -EPIPE && s->role == BH_FLOW_CLIENT && !e->bytes_in && !e->bytes_out) {
                failed(t, e, s);
                return;
        }

        BhFlowCounts c = {
                .connections = MAX(e->count, 1),
                .reset = ret == -ECONNRESET || ret == -EPIPE,
                .bytes_out = e->bytes_out,
                .bytes_in = e->bytes_in,
                .packets_out = bh_event_has(e, BH_F_packets_out) ? e->packets_out : 0,
                .packets_in = bh_event_has(e, BH_F_packets_in) ? e->packets_in : 0,
                .duration_ns = bh_event_has(e, BH_F_duration) ? e->duration : 0,
        };
        times_of(e, &c);
        if (s->role == BH_FLOW_CLIENT) {
                bh_flow_pair_client(t, s);
                bh_flow_not_again(&c, s->told);
                if (bh_flow_client_key(t, s, &key))
                        bh_flow_count(t, bh_flow_of(t, s, &key), &c);
        } else if (bh_flow_proxy_leg(t, s, BH_FLOW_SERVER)) {
                bh_flow_pair_proxy(t, s, &c);
        } else {
                bh_flow_serves(t, s);
                bh_flow_pair_server(t, s, &c);
        }
}

/* ---- datagrams ---- */

static gboolean is_ephemeral(guint16 port) {
        return port >= EPHEMERAL_FIRST && port <= EPHEMERAL_LAST;
}

BhFlowRole bh_flow_datagram_role(BhFlowTable *t, const struct side *s, gboolean out) {
        if (s->proto != BH_PROTO_UDP || !s->lport)
                return BH_FLOW_CLIENT;
        if (s->rport == BH_PORT_DNS || s->lport == BH_PORT_DNS)
                return s->rport == BH_PORT_DNS ? BH_FLOW_CLIENT : BH_FLOW_SERVER;
        if (is_ephemeral(s->lport) != is_ephemeral(s->rport))
                return is_ephemeral(s->lport) ? BH_FLOW_CLIENT : BH_FLOW_SERVER;
        if (bh_flow_listener(t, s->net_ns, s->end->box, s->proto, s->lport))
                return BH_FLOW_SERVER;
        return out ? BH_FLOW_CLIENT : BH_FLOW_SERVER;
}

/* The key of a datagram's flow. Both ways of a conversation must come to the same role, so one that is known decides. */
static gboolean datagram_key(BhFlowTable *t, struct side *s, gboolean out, struct key *key) {
        BhConntrackEnds ends;
        struct key other;

        s->role = bh_flow_datagram_role(t, s, out);
        gboolean client = bh_flow_client_key(t, s, key);
        gboolean translated = bh_conntrack_undo_server(t->conntrack, s->proto, &s->laddr, s->lport, &s->raddr, s->rport, &ends);
        bh_flow_server_key(s, NULL, &ends.client, translated ? &ends.dialled : NULL, ends.dialled_port, &other);
        if (s->proto == BH_PROTO_UDP && s->lport && client && is_ephemeral(s->lport) == is_ephemeral(s->rport)) {
                if (s->role == BH_FLOW_CLIENT && !bh_flow_find(t, key) && bh_flow_find(t, &other))
                        s->role = BH_FLOW_SERVER;
                else if (s->role == BH_FLOW_SERVER && !bh_flow_find(t, &other) && bh_flow_find(t, key))
                        s->role = BH_FLOW_CLIENT;
        }
        if (s->role == BH_FLOW_SERVER) {
                if (!out)
                        bh_flow_serves(t, s);
                *key = other;
                return !bh_flow_proxy_leg(t, s, BH_FLOW_SERVER);
        }
        return client;
}

static struct talk *talk_of(BhFlowTable *t, const struct side *s, guint64 *who) {
        guint64 words[] = { (guint64) (uintptr_t) s->end, (guint64) s->pid << 32 | (guint64) s->proto << 16 | s->lport };

        *who = XXH3_64bits(words, sizeof(words)) | 1;
        return &t->talks[*who / 2 % BH_FLOW_TALKS];
}

static void datagrams(BhFlowTable *t, const struct bh_event *e, struct side *s) {
        gboolean out = e->type == BH_EV_SEND;
        guint64 bytes = bh_event_has(e, BH_F_bytes) ? e->bytes : 0, n = MAX(e->count, 1);
        BhFlowCounts c = { 0 };
        struct key key;

        if (bh_event_has(e, BH_F_ret) && e->ret < 0)
                return;
        gboolean known = s->raddr.len && !bh_flow_ip_is_any(&s->raddr);
        guint64 who;
        struct talk *talk = talk_of(t, s, &who);
        if (known ? !datagram_key(t, s, out, &key) : talk->who != who || !bh_flow_find(t, &talk->key))
                return;
        if (!known) {
                key = talk->key;
        } else if (out) {
                talk->who = who;
                talk->key = key;
        }
        if (out) {
                c.bytes_out = bytes;
                c.packets_out = n;
        } else {
                c.bytes_in = bytes;
                c.packets_in = n;
        }
        times_of(e, &c);

        Flow *f = known ? bh_flow_of(t, s, &key) : bh_flow_find(t, &key);
        if (f)
                f->heard = TRUE;
        bh_flow_count(t, f, &c);
}

static void dns(BhFlowTable *t, const struct bh_event *e, struct side *s) {
        struct key key;

        bh_flow_names_learn(t->names, e);
        if (!bh_event_has(e, BH_F_dns_type) || !s->raddr.len || !datagram_key(t, s, e->outgoing, &key))
                return;
        Flow *f = bh_flow_find(t, &key);
        if (f && !f->protocol) {
                bh_flow_text(t, &f->protocol, "dns");
                bh_flow_touch(t, f);
        }
}

/* ---- Unix sockets ---- */

static gboolean wants_unix(const struct bh_event *e) {
        return bh_event_has(e, BH_F_path) && e->path.len && (e->type == BH_EV_CONNECT || e->type == BH_EV_ACCEPT);
}

/* One side of connections over a Unix socket. */
struct unix_ends {
        struct bh_str box, exe; /* box "": the host */
        BhFlowRole role;
        const char *path;
        gboolean has_peer;          /* the process at the other end is known … */
        struct bh_str peer, peer_exe; /* … which is in this container ("": the host) */
};

static struct bh_str text_of(const char *s) {
        return (struct bh_str){ s ? s : "", s ? (guint32) strlen(s) : 0 };
}

/* NULL: of the host with itself, or beyond the bounds. */
static Flow *unix_counts(BhFlowTable *t, const struct unix_ends *ends, const BhFlowCounts *c, gboolean failed, guint64 id) {
        Box *box = bh_flow_box(t, ends->box);
        /* nobody says who is there: a socket that a container can reach and nobody else is known to serve is its own */
        Box *peer = ends->peer.len ? bh_flow_box(t, ends->peer) : ends->has_peer ? t->host : box;
        Flow *f = NULL;

        box->refs++;
        peer->refs++;
        if (box != t->host || peer != t->host) {
                End *end = bh_flow_end(t, box, ends->exe);
                struct key key = { .end = end, .peer = peer, .path_hash = XXH3_64bits(ends->path, strlen(ends->path)), .role = ends->role };

                t->unix_ns = MAX(t->unix_ns, c->last_ns);
                f = bh_flow_get(t, &key, ends->path);
                if (failed)
                        bh_flow_count_failed(t, f, c, id);
                else
                        bh_flow_count(t, f, c);
                if (f && ends->has_peer && ends->peer_exe.len) {
                        End *peer_end = bh_flow_end(t, peer, ends->peer_exe);

                        bh_flow_peer_end(t, f, peer_end);
                        bh_flow_end_unref(t, peer_end);
                }
                bh_flow_end_unref(t, end);
        }
        bh_flow_box_unref(t, peer);
        bh_flow_box_unref(t, box);
        return f;
}

static void unix_socket(BhFlowTable *t, const struct bh_event *e) {
        gint64 ret = bh_event_has(e, BH_F_ret) ? e->ret : 0;
        gboolean has_peer = bh_event_has(e, BH_F_target_pid) && e->target_pid;
        BhFlowCounts c = { 0 };
        char path[109];

        if (e->type == BH_EV_LISTEN) {
                t->wants_walk = TRUE;
                if (bh_event_has(e, BH_F_container_id))
                        t->unix_ns = MAX(t->unix_ns, (gint64) e->time);
                return;
        }
        /* where there is no socket there is no other end: libc looks for nscd's in each process */
        if (!wants_unix(e) || ret == -ENOENT || (e->type == BH_EV_ACCEPT && ret < 0) || (ret < 0 && !count_failure(ret, MAX(e->count, 1), &c)))
                return;

        memcpy(path, e->path.p, MIN(e->path.len, sizeof(path) - 1));
        path[MIN(e->path.len, sizeof(path) - 1)] = '\0';

        struct unix_ends ends = {
                .box = TEXT(e, container_id),
                .exe = TEXT(e, exe),
                .role = e->type == BH_EV_CONNECT ? BH_FLOW_CLIENT : BH_FLOW_SERVER,
                .path = path,
                .has_peer = has_peer,
                .peer = TEXT(e, target_container_id),
                .peer_exe = TEXT(e, target_exe),
        };
        times_of(e, &c);
        if (ret >= 0)
                c.connections = MAX(e->count, 1);
        unix_counts(t, &ends, &c, ret < 0, e->id);
}

gboolean bh_flow_table_unix_used(const BhFlowTable *t, gint64 now_ns) {
        return t->unix_ns && now_ns < t->unix_ns + (gint64) BH_FLOW_QUIET_US * 1000;
}

void bh_flow_table_unix_moved(BhFlowTable *t, const BhFlowUnix *m) {
        const struct unix_ends ends = {
                .box = text_of(m->container_id),
                .exe = text_of(m->exe),
                .role = m->role,
                .path = m->path,
                .has_peer = m->peer_known,
                .peer = text_of(m->peer_container_id),
                .peer_exe = text_of(m->peer_exe),
        };
        const BhFlowCounts c = {
                .bytes_out = m->bytes_out, .bytes_in = m->bytes_in, .packets_out = m->messages_out, .packets_in = m->messages_in, .first_ns = m->first_ns, .last_ns = m->last_ns,
        };
        Flow *f = unix_counts(t, &ends, &c, FALSE, 0);

        if (f && m->path_ino) {
                f->path_dev = m->path_dev;
                f->path_ino = m->path_ino;
        }
}

/* ---- all ---- */

static void by_type(BhFlowTable *t, const struct bh_event *e, struct side *s) {
        switch (e->type) {
        case BH_EV_CONNECT:
                connected(t, e, s);
                break;
        case BH_EV_ACCEPT:
                accepted(t, e, s);
                break;
        case BH_EV_NET_CLOSE:
                closed(t, e, s);
                break;
        case BH_EV_SEND:
        case BH_EV_RECV:
                datagrams(t, e, s);
                break;
        case BH_EV_DNS:
                dns(t, e, s);
                break;
        case BH_EV_LISTEN:
        case BH_EV_BIND:
                if (bh_event_has(e, BH_F_ret) && e->ret < 0)
                        break;
                if (s->lport && (e->type == BH_EV_LISTEN || (s->proto == BH_PROTO_UDP && !is_ephemeral(s->lport)))) {
                        bh_flow_listens(t, s->end, s->net_ns, s->proto, &s->laddr, s->lport);
                        t->wants_walk = TRUE;
                }
                break;
        default:
                break;
        }
}

/* Told before: by a sensor that was killed. */
static gboolean is_old(BhFlowTable *t, const struct bh_event *e) {
        gboolean fails = (e->type == BH_EV_CONNECT || e->type == BH_EV_NET_CLOSE) && bh_event_has(e, BH_F_ret) && e->ret < 0 && e->ret != -EINPROGRESS;

        if (!fails || (e->type == BH_EV_NET_CLOSE && (e->bytes_in || e->bytes_out || e->ret == -ECONNRESET || e->ret == -EPIPE || !e->outgoing)))
                return e->id <= t->after;
        return e->id <= t->failed_after;
}

gboolean bh_flow_table_event(BhFlowTable *t, const struct bh_event *e) {
        gboolean soon;
        struct side s;

        if (!bh_flow_table_wants(e->type))
                return FALSE;
        if (e->type == BH_EV_EXEC || e->type == BH_EV_PROCESS || e->type == BH_EV_EXIT) {
                bh_flow_proxy_event(t, e);
                return FALSE;
        }
        t->now_ns = MAX(t->now_ns, (gint64) e->time);
        if (is_old(t, e)) {
                if (e->type == BH_EV_DNS)
                        bh_flow_names_learn(t->names, e);
                return FALSE;
        }
        t->last_id = MAX(t->last_id, e->id);
        t->stats.events++;
        if (e->family == BH_AF_UNIX) {
                unix_socket(t, e);
        } else if (side_of(t, e, &s)) {
                by_type(t, e, &s);
                bh_flow_end_unref(t, s.end);
        }
        soon = t->soon;
        t->soon = FALSE;
        return soon;
}

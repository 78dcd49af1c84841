/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/conntrack.h"

#include <xxhash.h>

/* linux/netlink.h, linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h: numbers of the wire, so that the parser stands on nothing but bytes. */
enum {
        NL_HEADER = 16,
        NL_ERROR = 2,
        NL_DONE = 3,
        NF_HEADER = 4,
        ATTR_HEADER = 4,
        ATTR_TYPE_MASK = 0x3fff,
        SUBSYSTEM_CONNTRACK = 1,
        MESSAGE_NEW = 0,
        MESSAGE_DELETE = 2,
        TUPLE_ORIGINAL = 1,
        TUPLE_REPLY = 2,
        TUPLE_IP = 1,
        TUPLE_PROTO = 2,
        IP_V4_SRC = 1,
        IP_V4_DST = 2,
        IP_V6_SRC = 3,
        IP_V6_DST = 4,
        PROTO_NUMBER = 1,
        PROTO_SPORT = 2,
        PROTO_DPORT = 3,
};

/* ---- parser ---- */

typedef struct {
        const guint8 *p;
        gsize left;
} Bytes;

typedef struct {
        guint type;
        Bytes content;
} Attr;

static guint16 host16(const guint8 *p) { /* netlink's own numbers are in the host's order */
        guint16 v;

        memcpy(&v, p, sizeof(v));
        return v;
}

static guint32 host32(const guint8 *p) {
        guint32 v;

        memcpy(&v, p, sizeof(v));
        return v;
}

static gsize aligned(gsize n) {
        return (n + 3) & ~(gsize) 3;
}

/* The next attribute; FALSE at the end or where a length is none. */
static gboolean next_attr(Bytes *b, Attr *a) {
        if (b->left < ATTR_HEADER)
                return FALSE;
        gsize len = host16(b->p);
        if (len < ATTR_HEADER || len > b->left)
                return FALSE;
        a->type = host16(b->p + 2) & ATTR_TYPE_MASK;
        a->content = (Bytes){ b->p + ATTR_HEADER, len - ATTR_HEADER };

        gsize step = MIN(aligned(len), b->left);
        b->p += step;
        b->left -= step;
        return TRUE;
}

static void take_ip(struct bh_ip *ip, const Attr *a, guint8 len) {
        if (a->content.left != len)
                return;
        memcpy(ip->b, a->content.p, len);
        ip->len = len;
}

static void parse_addresses(Bytes b, BhConntrackWay *way) {
        for (Attr a; next_attr(&b, &a); ) {
                if (a.type == IP_V4_SRC)
                        take_ip(&way->src, &a, 4);
                else if (a.type == IP_V4_DST)
                        take_ip(&way->dst, &a, 4);
                else if (a.type == IP_V6_SRC)
                        take_ip(&way->src, &a, 16);
                else if (a.type == IP_V6_DST)
                        take_ip(&way->dst, &a, 16);
        }
}

static void parse_ports(Bytes b, BhConntrackWay *way, guint8 *proto) {
        for (Attr a; next_attr(&b, &a); ) {
                if (a.type == PROTO_NUMBER && a.content.left == 1)
                        *proto = a.content.p[0];
                else if (a.type == PROTO_SPORT && a.content.left == 2)
                        way->sport = (guint16) (a.content.p[0] << 8 | a.content.p[1]);
                else if (a.type == PROTO_DPORT && a.content.left == 2)
                        way->dport = (guint16) (a.content.p[0] << 8 | a.content.p[1]);
        }
}

/* FALSE: not a way between two addresses of one family. */
static gboolean parse_way(Bytes b, BhConntrackWay *way, guint8 *proto) {
        for (Attr a; next_attr(&b, &a); ) {
                if (a.type == TUPLE_IP)
                        parse_addresses(a.content, way);
                else if (a.type == TUPLE_PROTO)
                        parse_ports(a.content, way, proto);
        }
        return way->src.len && way->src.len == way->dst.len;
}

static gboolean same_ip(const struct bh_ip *a, const struct bh_ip *b) {
        return a->len == b->len && memcmp(a->b, b->b, a->len) == 0;
}

static gboolean has_ports(guint8 proto) {
        return proto == 6 || proto == 17 || proto == 132 || proto == 136 || proto == 33;
}

static gboolean parse_entry(Bytes b, BhConntrackEntry *e) {
        guint8 protos[2] = { 0 };
        gboolean original = FALSE, reply = FALSE;

        for (Attr a; next_attr(&b, &a); ) {
                if (a.type == TUPLE_ORIGINAL)
                        original = parse_way(a.content, &e->original, &protos[0]);
                else if (a.type == TUPLE_REPLY)
                        reply = parse_way(a.content, &e->reply, &protos[1]);
        }
        /* a translation between families is none of this kernel's conntrack */
        if (!original || !reply || protos[0] != protos[1] || !has_ports(protos[0]) || e->original.src.len != e->reply.src.len)
                return FALSE;
        e->proto = protos[0];
        e->translated = !same_ip(&e->original.src, &e->reply.dst) || !same_ip(&e->original.dst, &e->reply.src) || e->original.sport != e->reply.dport ||
                        e->original.dport != e->reply.sport;
        return TRUE;
}

guint bh_conntrack_parse(const guint8 *bytes, gsize len, void (*each)(const BhConntrackEntry *entry, gpointer data), gpointer data, gboolean *done, int *error_number) {
        guint refused = 0;

        while (len >= NL_HEADER) {
                gsize size = host32(bytes);
                guint type = host16(bytes + 4);

                if (size < NL_HEADER || size > len)
                        return refused + 1;
                if (type == NL_DONE) {
                        if (done)
                                *done = TRUE;
                } else if (type == NL_ERROR) {
                        gint32 code = size >= NL_HEADER + 4 ? (gint32) host32(bytes + NL_HEADER) : 0;

                        if (error_number && code < 0 && code > -4096)
                                *error_number = -code;
                } else if (type >> 8 == SUBSYSTEM_CONNTRACK && ((type & 0xff) == MESSAGE_NEW || (type & 0xff) == MESSAGE_DELETE) && size >= NL_HEADER + NF_HEADER) {
                        BhConntrackEntry e = { .change = (type & 0xff) == MESSAGE_NEW ? BH_CONNTRACK_NEW : BH_CONNTRACK_DESTROY };

                        if (parse_entry((Bytes){ bytes + NL_HEADER + NF_HEADER, size - NL_HEADER - NF_HEADER }, &e))
                                each(&e, data);
                        else
                                refused++;
                } else {
                        refused++;
                }
                gsize step = MIN(aligned(size), len);
                bytes += step;
                len -= step;
        }
        return refused;
}

/* ---- table ---- */

/* Hashed and compared as bytes. */
typedef struct {
        guint8 a[16], b[16];
        guint16 aport, bport;
        guint8 proto, len;
        guint8 pad[2];
} Key;

typedef struct {
        Key client, server; /* as the socket of each sees it: local, remote */
        BhConntrackWay original, reply;
        gint64 ended_us;
        GQueue *in;
        GList link;
} Entry;

struct BhConntrack {
        GHashTable *clients, *servers; /* &Entry.client, &Entry.server → Entry */
        GQueue live, ended;            /* the one used longest ago first; in the order of their end */
        guint max;
        guint64 seen, evicted;
};

static guint key_hash(gconstpointer p) {
        return (guint) XXH3_64bits(p, sizeof(Key));
}

static gboolean key_equal(gconstpointer a, gconstpointer b) {
        return memcmp(a, b, sizeof(Key)) == 0;
}

static void set_key(Key *k, guint8 proto, const struct bh_ip *a, guint16 aport, const struct bh_ip *b, guint16 bport) {
        memset(k, 0, sizeof(*k));
        memcpy(k->a, a->b, MIN(a->len, 16));
        memcpy(k->b, b->b, MIN(b->len, 16));
        k->aport = aport;
        k->bport = bport;
        k->proto = proto;
        k->len = a->len;
}

BhConntrack *bh_conntrack_new(guint max) {
        BhConntrack *c = g_new0(BhConntrack, 1);

        c->clients = g_hash_table_new(key_hash, key_equal);
        c->servers = g_hash_table_new(key_hash, key_equal);
        g_queue_init(&c->live);
        g_queue_init(&c->ended);
        c->max = max ? max : BH_CONNTRACK_MAX;
        return c;
}

static void forget(BhConntrack *c, Entry *e) {
        if (g_hash_table_lookup(c->clients, &e->client) == e)
                g_hash_table_remove(c->clients, &e->client);
        if (g_hash_table_lookup(c->servers, &e->server) == e)
                g_hash_table_remove(c->servers, &e->server);
        g_queue_unlink(e->in, &e->link);
        g_free(e);
}

void bh_conntrack_free(BhConntrack *c) {
        if (!c)
                return;
        while (c->live.head)
                forget(c, c->live.head->data);
        while (c->ended.head)
                forget(c, c->ended.head->data);
        g_hash_table_unref(c->clients);
        g_hash_table_unref(c->servers);
        g_free(c);
}

static void move(Entry *e, GQueue *to) {
        g_queue_unlink(e->in, &e->link);
        e->in = to;
        g_queue_push_tail_link(to, &e->link);
}

void bh_conntrack_apply(BhConntrack *c, const BhConntrackEntry *entry, gint64 now_us) {
        Key client, server;

        c->seen++;
        for (guint i = 0; i < 16 && c->ended.head && now_us - ((Entry *) c->ended.head->data)->ended_us > BH_CONNTRACK_KEEP_US; i++)
                forget(c, c->ended.head->data);
        set_key(&client, entry->proto, &entry->original.src, entry->original.sport, &entry->original.dst, entry->original.dport);
        set_key(&server, entry->proto, &entry->reply.src, entry->reply.sport, &entry->reply.dst, entry->reply.dport);

        Entry *e = g_hash_table_lookup(c->clients, &client);
        if (entry->change == BH_CONNTRACK_DESTROY) {
                if (e && e->in == &c->live) {
                        e->ended_us = now_us;
                        move(e, &c->ended);
                }
                return;
        }
        if (e)
                forget(c, e);
        if ((e = g_hash_table_lookup(c->servers, &server)))
                forget(c, e);
        if (!entry->translated)
                return;
        if (g_hash_table_size(c->clients) >= c->max) {
                c->evicted++;
                forget(c, c->ended.head ? c->ended.head->data : c->live.head->data);
        }
        e = g_new0(Entry, 1);
        e->client = client;
        e->server = server;
        e->original = entry->original;
        e->reply = entry->reply;
        e->link.data = e;
        e->in = &c->live;
        g_queue_push_tail_link(e->in, &e->link);
        g_hash_table_replace(c->clients, &e->client, e);
        g_hash_table_replace(c->servers, &e->server, e);
}

static void tell(BhConntrack *c, Entry *e, BhConntrackEnds *out) {
        if (e->in == &c->live)
                move(e, &c->live);
        *out = (BhConntrackEnds){
                .client = e->original.src,
                .client_port = e->original.sport,
                .server = e->reply.src,
                .server_port = e->reply.sport,
                .dialled = e->original.dst,
                .dialled_port = e->original.dport,
        };
}

gboolean bh_conntrack_undo_client(BhConntrack *c, guint8 proto, const struct bh_ip *laddr, guint16 lport, const struct bh_ip *raddr, guint16 rport, BhConntrackEnds *out) {
        *out = (BhConntrackEnds){ .client = *laddr, .client_port = lport, .server = *raddr, .server_port = rport, .dialled = *raddr, .dialled_port = rport };
        if (!g_hash_table_size(c->clients))
                return FALSE;

        Key k;
        set_key(&k, proto, laddr, lport, raddr, rport);
        Entry *e = g_hash_table_lookup(c->clients, &k);
        if (e)
                tell(c, e, out);
        return e != NULL;
}

gboolean bh_conntrack_undo_server(BhConntrack *c, guint8 proto, const struct bh_ip *laddr, guint16 lport, const struct bh_ip *raddr, guint16 rport, BhConntrackEnds *out) {
        *out = (BhConntrackEnds){ .client = *raddr, .client_port = rport, .server = *laddr, .server_port = lport, .dialled = *laddr, .dialled_port = lport };
        if (!g_hash_table_size(c->servers))
                return FALSE;

        Key k;
        set_key(&k, proto, laddr, lport, raddr, rport);
        Entry *e = g_hash_table_lookup(c->servers, &k);
        if (e)
                tell(c, e, out);
        return e != NULL;
}

void bh_conntrack_stats(const BhConntrack *c, BhConntrackStats *out) {
        *out = (BhConntrackStats){ .entries = g_hash_table_size(c->clients), .seen = c->seen, .evicted = c->evicted };
}

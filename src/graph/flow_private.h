/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the flow table. flow_table.c has containers, ends and flows and their life; flow_fold.c what events say; flow_pair.c finds who is at the other end;
 * flow_scan.c finds scans; flow_crowd.c has what is beyond bounds; flow_walk.c open connections, flow_listen.c listeners; flow_told.c what was told of open ones; flow_tell.c resolves addresses and makes cuts.
 */
#pragma once
#include "graph/flow_table.h"

#define BH_AF_UNIX 1
#define BH_AF_INET 2
#define BH_AF_INET6 10
#define BH_PROTO_TCP 6
#define BH_PROTO_UDP 17
#define BH_TCP_SYN_SENT 2
#define BH_TCP_CLOSE 7
#define BH_TCP_LISTEN 10
#define BH_PORT_DNS 53

typedef struct Box Box;
typedef struct End End;
typedef struct Flow Flow;
typedef struct Conn Conn;
typedef struct Breadth Breadth;

#define BH_FLOW_CROWD 3

struct net {
        char *id;
        struct bh_ip ip;
};

/* A container, or the host (id ""). Lives while something points to it, or it is among the containers that there are. */
struct Box {
        char *id;
        guint32 id_len;
        guint refs;
        guint conns; /* open ones that are its */
        gboolean listed, alive, host_network;
        guint32 net_ns; /* of its sockets, 0: not known */
        GArray *nets;  /* struct net; those of one that ended stay */
        GQueue flows;  /* the one quiet longest first */
        guint crowds, fresh, large, tokens; /* flow_crowd.c: of its flows, those beyond its bound; of new ones that may be */
        gint64 token_ns;
};

/* A program of a container. */
struct End {
        Box *box;
        const char *exe; /* not terminated in a look-up */
        guint32 exe_len;
        guint refs;
};

/* What makes a flow: hashed and compared as bytes, so padding is zero. */
struct key {
        End *end;
        Box *peer; /* found by pairing; NULL: by its address, when it is told */
        guint64 path_hash;
        guint16 port, dialled_port;
        guint8 peer_ip[16], dialled_ip[16];
        guint8 peer_len, dialled_len, proto, role;
        guint8 scan; /* 1: of ports, 2: of addresses, BH_FLOW_CROWD */
        guint8 pad[7];
};
_Static_assert(sizeof(struct key) == 72, "no hidden padding");

/* Failures that are not told yet: of this while, and of the one before. */
struct held {
        BhFlowCounts slot[2];
};

/* A connection that has ended. */
struct ended {
        guint64 hash; /* of its ends */
        gint64 ns;
};

struct scan {
        guint8 *seen; /* a bit for each port, or for each hash of an address */
        guint different;
        guint n_samples;
        guint16 samples[BH_FLOW_SAMPLES];
};

/* Bytes and packets, each way. */
#define BH_FLOW_MOVED 4

struct Flow {
        struct key key;
        char *path; /* "": none */
        guint32 path_dev;
        guint64 path_ino;
        struct bh_ip local_ip;
        guint32 net_ns;
        End *peer_end; /* seen at the other end last; NULL: not */
        char *name, *network, *protocol, *server_name, *fingerprint, *certificate; /* NULL: none */
        BhFlowCounts added;
        BhFlowOpen now;
        Box *told_peer; /* as whose peer it was told last; NULL: by its address. A reference */
        guint64 ahead[BH_FLOW_MOVED], elsewhere[BH_FLOW_MOVED]; /* flow_told.c */
        struct held *held;
        struct scan *scan;
        struct crowd *crowd;
        guint *counted_in; /* of its box: it was taken out of a crowd; NULL: not */
        guint conns;
        gboolean dirty, told, heard; /* heard: events tell of its datagrams */
        guint8 looks; /* times that its bytes were asked for in vain */
        guint32 look; /* the last time */
        gint64 quiet_us, fresh_us; /* told last; seen first by a cut */
        GList age, in_box, in_dirty;
};

/*
 * Who receives without asking from whom (recv) is not told by every hook whom it heard: most likely him whom it had spoken to. A place for each hash; the key is
 * compared, and what it points to never followed.
 */
#define BH_FLOW_TALKS 4096u
struct talk {
        guint64 who; /* hash of container, process and port */
        struct key key;
};

/* One side of an open connection. */
struct tuple {
        Box *box;
        struct bh_ip laddr, raddr; /* bytes behind the length are zero */
        guint16 lport, rport;
        guint8 proto, pad[5];
};

struct Conn {
        struct tuple tuple;
        Flow *flow; /* NULL: not known yet who is at the other end */
        End *end;
        BhFlowRole role;
        gboolean half_open;
        guint8 walks;      /* that told it without knowing its other end */
        guint32 net_ns;
        guint64 walk;      /* the last that told it */
        gint64 since_ns, seen_ns;
        guint8 dull; /* walks in which a datagram socket moved nothing, up to twice BH_FLOW_DULL_WALKS */
        gint64 missed_ns; /* when a walk missed it; 0: none has since one told it */
        guint64 bytes_out, bytes_in, packets_out, packets_in;
        guint64 sk; /* the kernel's name of the socket, 0: not known */
        Conn *free;
};

/* A docker-proxy: whom it stands for. */
struct proxy {
        guint32 pid;
        guint8 proto;
        struct bh_ip host_ip, ip; /* host_ip of zeros: any */
        guint16 host_port, port;
        guint32 net_ns;  /* where it listens, 0: not known */
        gint64 ended_ns; /* 0: it runs */
};

typedef struct {
        End *end;
        char *path, *protocol; /* protocol NULL: not known */
        BhFlowListener told;
        guint64 walk;
        guint64 ino;
} Listener;

struct BhFlowTable {
        BhFlowTableConfig c;
        BhConntrack *conntrack;
        BhFlowNames *names;
        GHashTable *boxes, *ends, *flows; /* Box, End, Flow: by what they are */
        Box *host;
        GHashTable *addresses;      /* struct bh_ip → GArray of Place: containers */
        GHashTable *learned;        /* struct bh_ip → Box: of containers of which nobody told the networks */
        GHashTable *host_addresses; /* struct bh_ip */
        GHashTable *published;      /* protocol and port → struct published */
        GQueue ages, dirty;         /* flows: the one quiet longest first; those with something to tell */
        GPtrArray *grave;           /* texts that the last cut may point to */
        GArray *told;               /* BhFlow, of the last cut */

        GHashTable *conns; /* Conn */
        Conn *free_conns;
        guint64 walk;
        gint64 walk_ns;
        struct ended *closed; /* the connections that ended last, a ring */
        guint n_closed;
        GHashTable *walk_unix; /* inode → WalkUnix, during a walk */
        gboolean wants_walk, assigning;

        GHashTable *listeners; /* Listener, by where it listens */
        GHashTable *by_port;   /* port key → Listener */
        GHashTable *served;    /* struct served: who has a socket at an address that another container owns */
        GArray *listing;       /* BhFlowListener */
        guint64 listing_hash;
        gboolean listing_changed;

        struct talk *talks;  /* whom a datagram socket sent to last, by its place */
        GArray *proxies;     /* struct proxy */
        guint64 proxies_seen;
        struct pairs *pairs;
        GHashTable *breadths; /* Breadth */
        GQueue breadth_ages;

        guint64 last_id, after, failed_after, failed_until; /* failed_until: of a batch that is made again */
        guint64 hold_mark, ripe_id;
        gint64 held_us;
        gint64 now_ns; /* time of the last event */
        gint64 unix_ns; /* when a container was last known to have to do with Unix sockets; 0: none */
        guint64 rest_connections, rest_bytes; /* since the last cut */
        gboolean soon;
        gboolean unspoken; /* connections of flows whose protocol is not known */
        guint32 look;      /* number of the present time that bytes are asked for */
        guint awaited[2];  /* flows that are asked for, and still without an answer: now, and the time before */
        BhFlowStats stats;
};

/* ---- addresses */

static inline struct bh_ip bh_flow_ip(const struct bh_ip *ip) {
        static const guint8 mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
        struct bh_ip out = { .len = 0 };

        if (ip->len == 16 && memcmp(ip->b, mapped, sizeof(mapped)) == 0) {
                memcpy(out.b, ip->b + 12, 4);
                out.len = 4;
        } else if (ip->len == 4 || ip->len == 16) {
                memcpy(out.b, ip->b, ip->len);
                out.len = ip->len;
        }
        return out;
}

static inline gboolean bh_flow_ip_equal(const struct bh_ip *a, const struct bh_ip *b) {
        return a->len == b->len && memcmp(a->b, b->b, a->len) == 0;
}

/* FALSE: not an address. */
gboolean bh_flow_ip_parse(const char *text, struct bh_ip *ip);
gboolean bh_flow_ip_is_any(const struct bh_ip *ip);
gboolean bh_flow_ip_is_loopback(const struct bh_ip *ip);
/* Loopback, private or link-local: may be of this node. */
gboolean bh_flow_ip_is_near(const struct bh_ip *ip);

/* ---- boxes, ends, flows (flow_table.c) */

/* All values of a table, for a loop that changes it. */
GPtrArray *bh_flow_all(GHashTable *h);

Box *bh_flow_box(BhFlowTable *t, struct bh_str id);
void bh_flow_box_unref(BhFlowTable *t, Box *b);
/* A reference for the caller. */
End *bh_flow_end(BhFlowTable *t, Box *box, struct bh_str exe);
End *bh_flow_end_ref(End *e);
void bh_flow_end_unref(BhFlowTable *t, End *e);

/* NULL: beyond the bounds. `path` "" : none. Beyond its container's it may be a crowd. */
Flow *bh_flow_get(BhFlowTable *t, const struct key *key, const char *path);
Flow *bh_flow_find(BhFlowTable *t, const struct key *key);
/* Whatever the bounds are. */
Flow *bh_flow_new(BhFlowTable *t, const struct key *key, const char *path);
void bh_flow_drop(BhFlowTable *t, Flow *f);
void bh_flow_touch(BhFlowTable *t, Flow *f);
void bh_flow_add(BhFlowCounts *to, const BhFlowCounts *more);
/* Adds to the flow, or to the rest where there is none. A crowd: about whom bh_flow_get() was asked last. */
void bh_flow_count(BhFlowTable *t, Flow *f, const BhFlowCounts *more);
/* Failures: held back. `id` of the event. */
void bh_flow_count_failed(BhFlowTable *t, Flow *f, const BhFlowCounts *more, guint64 id);
void bh_flow_text(BhFlowTable *t, char **field, const char *value);
void bh_flow_peer_end(BhFlowTable *t, Flow *f, End *peer);

/* ---- what events are about (flow_fold.c) */

/* One side of a connection, addresses as its socket has them (IPv4 not mapped). */
struct side {
        End *end;
        BhFlowRole role;
        guint8 proto;
        guint32 net_ns, pid;
        struct bh_ip laddr, raddr;
        guint16 lport, rport;
        guint64 told[BH_FLOW_MOVED]; /* of what an ended connection moved: counted already, where it was told while it was open */
};

/* The key of a client's flow, translations undone; FALSE: a leg of docker-proxy, which is no flow. */
gboolean bh_flow_client_key(BhFlowTable *t, const struct side *s, struct key *key);
/* Who serves of two that exchange datagrams, as far as their ports tell. `out`: this one is the first that was heard of. */
BhFlowRole bh_flow_datagram_role(BhFlowTable *t, const struct side *s, gboolean out);
/* A flow's key from a server's side and who its client really is. `dialled` NULL: what the server has. */
void bh_flow_server_key(const struct side *s, Box *peer, const struct bh_ip *client, const struct bh_ip *dialled, guint16 dialled_port, struct key *key);
/* The flow, with what the side tells beside the key. NULL: beyond the bounds. */
Flow *bh_flow_of(BhFlowTable *t, const struct side *s, const struct key *key);

/* ---- who is at the other end (flow_pair.c) */

struct pairs *bh_flow_pairs_new(void);
void bh_flow_pairs_free(BhFlowTable *t);
/* A side that connected is known: ends that wait for it go on. */
void bh_flow_pair_client(BhFlowTable *t, const struct side *s);
/* A connection that docker-proxy accepted has ended. */
void bh_flow_pair_proxy(BhFlowTable *t, const struct side *s, const BhFlowCounts *c);
/* Counts what a server's connection moved, now or when its other end is known. */
void bh_flow_pair_server(BhFlowTable *t, const struct side *s, const BhFlowCounts *c);
/* For an open connection of a server: its flow, or NULL if it is not known yet; *hidden: it is no flow. `give_up`: then by its address alone. */
Flow *bh_flow_pair_open(BhFlowTable *t, const struct side *s, gboolean give_up, gboolean *hidden);
/* What waits goes on with what is known. */
void bh_flow_pair_force(BhFlowTable *t);
const struct proxy *bh_flow_proxy_of(BhFlowTable *t, const End *end, guint32 pid);
/*
 * TRUE: the side is what a docker-proxy is there for: it accepted on the port that it publishes (`role` server), or goes to its container (client). Anything else that
 * a program of that name does is a connection as any. `s->pid` 0: of whichever.
 */
gboolean bh_flow_proxy_leg(BhFlowTable *t, const struct side *s, BhFlowRole role);
/* `net_ns` of who dials, or listens, there; 0: not known, or another. Several engines may have proxies on one port, each in a network namespace of its own. */
const struct proxy *bh_flow_proxy_at(BhFlowTable *t, guint32 net_ns, guint8 proto, const struct bh_ip *ip, guint16 port);
void bh_flow_proxy_event(BhFlowTable *t, const struct bh_event *e);
gboolean bh_flow_is_host_address(BhFlowTable *t, const struct bh_ip *ip);

/* ---- beyond the bounds of a container (flow_crowd.c) */

/* The crowd for what finds no room, or a flow of its own if that is worth it; NULL: no room for either. */
Flow *bh_flow_crowd(BhFlowTable *t, const struct key *key, const char *path);
/* That is going to be added for whom the crowd was asked for: to which flow. */
Flow *bh_flow_crowd_counts(BhFlowTable *t, Flow *f, const BhFlowCounts *more);
/* An open connection in a crowd has moved so much: a flow of its own, or NULL. */
Flow *bh_flow_crowd_moved(BhFlowTable *t, Flow *f, const struct key *key, guint64 bytes);
void bh_flow_crowd_drop(Flow *f);
guint bh_flow_crowd_size(const Flow *f);

/* ---- what was told of open connections (flow_told.c) */

/*
 * A connection that was in `f` has ended, its numbers are out of f->now: what was told of them stays there. `told`: how much that is, which is not to be counted
 * again, whatever flow the connection ends in.
 */
void bh_flow_leaves(BhFlowTable *t, Flow *f, const Conn *c, gint64 ns, guint64 told[BH_FLOW_MOVED]);
void bh_flow_not_again(BhFlowCounts *c, const guint64 told[BH_FLOW_MOVED]);
/*
 * Notes as whose peer the flow is told now. TRUE: what was told of its open connections was told of another, and is to be told as ended there, which `out`, a copy of
 * the flow's description, says now. Texts in it live until the next cut.
 */
gboolean bh_flow_peer_changes(BhFlowTable *t, Flow *f, Box *peer, BhFlow *out);
/* TRUE: something was told of connections that are open, or were when it was told last. */
gboolean bh_flow_is_ahead(const Flow *f);
/* Takes off what is counted elsewhere, and notes what is told. */
void bh_flow_tells(Flow *f, BhFlow *out);

/* ---- scans (flow_scan.c) */

/* A try without success, or (`failed` FALSE) one whose end is not known. Returns the flow of the scan that it belongs to, or NULL. */
Flow *bh_flow_scan_tried(BhFlowTable *t, const struct key *key, gboolean failed);
/* TRUE if the local end tries so many others that a flow which only tries is not worth telling yet. */
gboolean bh_flow_scan_suspects(BhFlowTable *t, const struct key *key);
void bh_flow_scans_init(BhFlowTable *t);
void bh_flow_scans_free(BhFlowTable *t);

/* ---- open connections (flow_walk.c) */

void bh_flow_walk_init(BhFlowTable *t);
void bh_flow_walk_free(BhFlowTable *t);
Conn *bh_flow_conn_find(BhFlowTable *t, const struct side *s);
/* Adds it if there is room, and assigns its flow where it is known. */
Conn *bh_flow_conn_open(BhFlowTable *t, const struct side *s, gboolean half_open, gint64 now_ns);
/* It has ended, known (`c`) or not (NULL): a walk that saw it before does not open it again. Fills s->told. */
void bh_flow_conn_close(BhFlowTable *t, struct side *s, Conn *c);
/* ---- who is at an address and port (flow_listen.c) */

void bh_flow_listen_init(BhFlowTable *t);
void bh_flow_listen_free(BhFlowTable *t);
/* Made if it is not known; NULL: beyond the bound. */
Listener *bh_flow_listen_get(BhFlowTable *t, const Listener *wanted, gint64 now_ns);
/* A whole walk is over: those that it did not tell are gone. */
void bh_flow_listen_close(BhFlowTable *t);
/* What bh_flow_table_listeners() gives. */
void bh_flow_listen_list(BhFlowTable *t);
/*
 * Somebody has a server's connection at that address, seen by its own event: where containers share a network namespace, and so an address, it is he who is meant, not
 * whoever the address was given to.
 */
void bh_flow_serves(BhFlowTable *t, const struct side *s);
/* NULL: nobody but the address's own. `net_ns` counts for loopback alone. */
End *bh_flow_server_at(BhFlowTable *t, guint32 net_ns, guint8 proto, const struct bh_ip *ip, guint16 port);
void bh_flow_listens(BhFlowTable *t, End *end, guint32 net_ns, guint8 proto, const struct bh_ip *ip, guint16 port);
/* Who listens there; by network namespace (0: not known), else by container (NULL: not known). */
End *bh_flow_listener(BhFlowTable *t, guint32 net_ns, Box *box, guint8 proto, guint16 port);

/* What was recognised of connections to it; NULL: nothing. */
const char *bh_flow_listener_protocol(BhFlowTable *t, guint32 net_ns, Box *box, guint8 proto, guint16 port);
void bh_flow_listener_speaks(BhFlowTable *t, guint32 net_ns, Box *box, guint8 proto, guint16 port, const char *protocol);

#define BH_FLOW_LOOKS_MAX 20u

/* The host with itself, which is not told: what it speaks nobody needs to know. A container in the host's network says it of its own side. */
static inline gboolean bh_flow_of_host_alone(BhFlowTable *t, const Flow *f) {
        struct bh_ip ip = { .len = f->key.peer_len };

        if (f->key.end->box != t->host || (f->key.peer && f->key.peer != t->host))
                return FALSE;
        memcpy(ip.b, f->key.peer_ip, f->key.peer_len);
        return f->key.peer || bh_flow_ip_is_loopback(&ip) || bh_flow_is_host_address(t, &ip);
}

/* A connection of the flow: if its protocol is not known, some bytes are to be looked at. */
static inline void bh_flow_ask_protocol(BhFlowTable *t, Flow *f) {
        if (f->protocol || f->key.proto != BH_PROTO_TCP || f->looks >= BH_FLOW_LOOKS_MAX || f->look == t->look || bh_flow_of_host_alone(t, f))
                return;
        f->look = t->look;
        f->looks++;
        t->unspoken = TRUE;
        t->awaited[0]++;
}

/* Before a flow without a protocol gets one, or goes. */
static inline void bh_flow_awaits_no_more(BhFlowTable *t, const Flow *f) {
        guint ago = t->look - f->look;

        if (!f->protocol && f->looks && ago < G_N_ELEMENTS(t->awaited) && t->awaited[ago])
                t->awaited[ago]--;
}

/* NULL or "": leaves what there is. */
static inline void bh_flow_speaks(BhFlowTable *t, Flow *f, const char *protocol) {
        if (protocol && *protocol)
                bh_flow_awaits_no_more(t, f);
        bh_flow_text(t, &f->protocol, protocol);
}

/* ---- resolving (flow_tell.c) */

void bh_flow_tell_free(BhFlowTable *t);
/* A box that goes: its addresses lead nowhere from now on. */
void bh_flow_leave_places(BhFlowTable *t, const Box *b);
/* A socket of the container has that address. Learned if it may be a container's: not the world's, loopback or the node's. */
void bh_flow_learn(BhFlowTable *t, Box *box, const struct bh_ip *laddr, guint32 net_ns);
/* The published port of a container on the node's address; FALSE: none is known. */
gboolean bh_flow_published(BhFlowTable *t, guint8 proto, guint16 port, guint8 ip_len, struct bh_ip *ip, guint16 *to);
/* The container with that address, as `local` (NULL: anybody) sees it; *network its network's id. NULL: none is known. */
Box *bh_flow_at(BhFlowTable *t, const Box *local, const struct bh_ip *ip, const char **network);

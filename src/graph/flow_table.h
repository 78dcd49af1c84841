/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who talks to whom, as one node sees it: events, walks over all sockets and translations of addresses, folded into flows.
 *
 * A flow is one side of all equal connections: same local end (container or host, and executable), same role, protocol, peer and port of the server. The two
 * sides of a connection within this node are two flows; whoever draws the map puts them together.
 *
 * What counts, and when:
 *   connections, bytes, packets, duration, reset   when a TCP connection has ended (net_close); those that are open are in `open` and what belongs to it
 *   refused, timed_out, unreachable, failed        connections that never became one (net_close with an error, connect with an error). Held back for
 *                                                  BH_FLOW_HOLD_US at least, so that a scan is told as one flow and not as each of its ports
 *   bytes and packets of datagrams                 send and recv
 *   Unix sockets: connections                      connect and accept
 *   Unix sockets: bytes                            no event tells them: bh_flow_table_unix_moved()
 * Each event is counted once, in the order of its number. bh_flow_table_cut() gives what the events up to a number have added since the cut before, with the
 * bounds that go into the batch, so that who reads the same events again from the recorder makes the same batch.
 *
 * Addresses. Both ends are told as they really are: translations by the kernel (conntrack.h), by docker-proxy (from its arguments and by pairing its two legs,
 * which are not told themselves) and, where neither is known, by ports that containers publish, are undone; what the client had dialled is kept beside it.
 * (What else a program called docker-proxy does is told as of any program.) A peer on this node is found by the socket at the other end (the mirrored addresses), by address in the networks of known containers (or, where nobody tells those, by the addresses of their sockets), by who listens in the
 * network namespace, by the node's own addresses. A server's connection from an address that is not told apart (loopback, the node's own) waits for its other end,
 * at most until the next cut that `force`s it. Docker's resolver, 127.0.0.11, is the host by the name "docker-dns". Flows of the host with itself are not told.
 *
 * Scans: more than BH_FLOW_SCAN_PORTS different ports of one peer, or BH_FLOW_SCAN_ADDRESSES addresses on one port, that one local end tried without success within
 * BH_FLOW_SCAN_US: one flow, with the number of different ports or addresses and some of them. Port 0, or no address. A try that a walk finds without an answer counts
 * as one without success: its failure may be minutes away.
 *
 * Bounds: below. The host may have three quarters of all flows, a container seven eighths of the open connections, so that nobody takes all the room. A flow at rest (nothing open, nothing to be told) goes when room is needed, the one that was quiet longest; what finds no room even so is
 * told as a crowd: one flow without a peer for each program, role, protocol and port, with the number of peers in `addresses`. Who is large, or new and outside, gets a flow of
 * its own even so (flow_crowd.c). Beyond a few crowds it is counted as rest. An event that repeats known ones allocates nothing.
 *
 * No I/O and no clock: times come with events or from the caller. No locks: one thread at a time. What a cut gives points into the table and is good until the
 * next call of bh_flow_table_cut() or bh_flow_table_free(), also while events are folded.
 */
#pragma once
#include "container/container.h"
#include "event/event.h"
#include "graph/conntrack.h"
#include "graph/flow_names.h"

#define BH_FLOW_MAX 20000u
#define BH_FLOW_MAX_PER_CONTAINER 512u
#define BH_FLOW_MAX_CONNS 65536u
#define BH_FLOW_MAX_LISTENERS 16384u
#define BH_FLOW_MAX_WAITING 8192u        /* ends that wait for their other end */
#define BH_FLOW_MAX_SERVED 8192u         /* ports of addresses that another container owns */
#define BH_FLOW_MAX_LEARNED 8192u        /* addresses of containers whose networks nobody tells */
#define BH_FLOW_MAX_BREADTHS 1024u       /* watched for scans */
#define BH_FLOW_TEXT_MAX 1024u           /* of an executable's path; what is longer is cut */
#define BH_FLOW_QUIET_US (600 * G_USEC_PER_SEC)
#define BH_FLOW_HOLD_US (2 * G_USEC_PER_SEC)
#define BH_FLOW_SCAN_US (10 * G_USEC_PER_SEC)
#define BH_FLOW_SCAN_PORTS 32u
#define BH_FLOW_SCAN_ADDRESSES 64u
#define BH_FLOW_SAMPLES 16u
#define BH_FLOW_DULL_WALKS 12u
#define BH_FLOW_CROWD_PEERS 8u
#define BH_FLOW_CROWD_TOKENS 16u

#define BH_FLOW_DOCKER_DNS "docker-dns"

typedef enum {
        BH_FLOW_ROLE_NONE,
        BH_FLOW_CLIENT,
        BH_FLOW_SERVER,
} BhFlowRole;

/* What was added since it was told last. */
typedef struct {
        guint64 connections, refused, timed_out, unreachable, failed, reset;
        guint64 bytes_out, bytes_in, packets_out, packets_in;
        guint64 duration_ns;
        gint64 first_ns, last_ns; /* since the epoch; 0: nothing */
} BhFlowCounts;

/* How it is now. */
typedef struct {
        guint64 open, half_open; /* half open ones are in `open` */
        guint64 bytes_out, bytes_in, packets_out, packets_in;
} BhFlowOpen;

/* A flow as a cut gives it. Texts are never NULL. Addresses of length 0: none. IPv4 that came mapped into IPv6 is IPv4. */
typedef struct {
        const char *container_id; /* "": the host */
        const char *exe;
        BhFlowRole role;
        guint8 proto; /* 0: Unix socket */
        struct bh_ip local_ip, peer_ip, dialled_ip;
        guint16 port, dialled_port;
        const char *path;
        guint32 path_dev;
        guint64 path_ino;
        const char *peer_container_id;
        gboolean peer_is_host;
        const char *peer_exe, *peer_name, *network_id, *protocol, *server_name, *fingerprint, *certificate;
        BhFlowCounts added;
        BhFlowOpen now;
        guint32 ports, addresses; /* of scans; 0: it is none */
        guint32 n_samples;
        guint16 samples[BH_FLOW_SAMPLES];
} BhFlow;

/*
 * A cut: what the events with numbers in (after, through] added; failures are those of (failed_after, failed_through], which lags behind. One
 * without flows and rest need not be told; the next then has the same begin, unless `all` was asked for.
 */
typedef struct {
        guint64 after, through, failed_after, failed_through;
        GArray *flows; /* BhFlow; owned by the table */
        guint64 rest_connections, rest_bytes; /* added since the cut before, beyond the bounds */
} BhFlowCut;

typedef struct {
        guint flows, ends, containers, conns, listeners, waiting, breadths, names;
        guint64 events;        /* folded */
        guint64 rest_connections, rest_bytes;
        guint64 conns_refused; /* open connections beyond the bound: not in `open`, counted when they end */
        guint64 vanished;      /* open connections whose end nobody told */
        guint64 unpaired;      /* ends whose other end did not come in time */
        guint64 scans;         /* found */
        guint64 forgotten;     /* flows at rest that went for room or for age */
        guint64 crowds;        /* made, for what was beyond a container's bound */
        guint64 listeners_refused;
} BhFlowStats;

typedef struct {
        guint32 host_net_ns;   /* inode of the node's network namespace; 0: not known */
        /* 0: the bounds above */
        guint max_flows, max_per_container, max_conns, max_waiting;
} BhFlowTableConfig;

typedef struct BhFlowTable BhFlowTable;

BhFlowTable *bh_flow_table_new(const BhFlowTableConfig *config);
void bh_flow_table_free(BhFlowTable *t);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhFlowTable, bh_flow_table_free)

/* ---- what is known beside events */

/* The containers that there are (BhContainer *), whole: replaces what was known. Addresses of those that are gone stay until another has them. */
void bh_flow_table_containers(BhFlowTable *t, const GPtrArray *containers);
/* TRUE if the container is among them. */
gboolean bh_flow_table_knows(BhFlowTable *t, struct bh_str container_id);
/* The node's own addresses: replaces what was known. */
void bh_flow_table_host_addresses(BhFlowTable *t, const struct bh_ip *addresses, gsize n);
/*
 * Processes of docker-proxy that run: they know the addresses of the node where their engine has its networks. Returns how many, at most `max`; *changed (may be NULL)
 * is another number when there is a new one.
 */
guint bh_flow_table_proxies(BhFlowTable *t, guint32 *pids, guint max, guint64 *changed);
/* The network namespace of one of them. */
void bh_flow_table_proxy_namespace(BhFlowTable *t, guint32 pid, guint32 net_ns);
/* Translations of the kernel, for the caller to feed; the table's own, never NULL. */
BhConntrack *bh_flow_table_conntrack(BhFlowTable *t);

/* ---- events */

/* Kinds that the table wants to see. */
gboolean bh_flow_table_wants(guint32 type);
/*
 * An event, enriched. Numbers (e->id) must rise. Returns TRUE when there is something that should be told soon: a flow that was not known.
 * Events of kinds that it does not want are passed over.
 */
gboolean bh_flow_table_event(BhFlowTable *t, const struct bh_event *e);

/* ---- Unix sockets */

/* What a process moved over connections to one name; texts need to be good during the call only. */
typedef struct {
        const char *container_id, *exe;
        BhFlowRole role;
        const char *path;
        guint32 path_dev;
        guint64 path_ino;
        gboolean peer_known;           /* the process at the other end is; it is in … */
        const char *peer_container_id; /* … ("": the host) */
        const char *peer_exe;
        guint64 bytes_out, bytes_in, messages_out, messages_in;
        gint64 first_ns, last_ns;      /* since the epoch */
} BhFlowUnix;

/* TRUE if a container listens on a Unix socket, or was connected over one within BH_FLOW_QUIET_US: whoever counts what they move has something to do. */
gboolean bh_flow_table_unix_used(const BhFlowTable *t, gint64 now_ns);
/* Added to what the flow has counted. As there is no event, it is told with the next cut that has one. Each byte is told by whoever sent it, and by him alone. */
void bh_flow_table_unix_moved(BhFlowTable *t, const BhFlowUnix *moved);

/* ---- walks over all sockets */

typedef struct {
        const char *container_id; /* "": the host; texts need to be good during the call only */
        const char *exe;
        guint32 pid;
        gint64 started_ns;        /* of the process, since the epoch */
        guint16 family;           /* AF_INET, AF_INET6, AF_UNIX; others are passed over */
        guint16 type;             /* SOCK_* */
        guint8 proto;
        guint8 state;             /* TCP_ESTABLISHED … as in the kernel */
        gboolean listening;
        BhFlowRole role;          /* NONE: by who listens on its port */
        struct bh_ip laddr, raddr;
        guint16 lport, rport;
        guint32 net_ns;
        guint64 bytes_out, bytes_in, packets_out, packets_in;
        gint64 since_ns;          /* when it began, since the epoch; 0: not known */
        gboolean fresh;           /* an event told its beginning just now, or is on its way, and knows better whose it is: not entered by this walk */
        /* Unix */
        const char *path;
        guint32 path_dev;
        guint64 path_ino;
        guint64 ino, peer_ino;
        guint64 sk; /* the kernel's name of it, for bh_flow_table_unspoken_sockets() */
} BhFlowSocket;

/* One walk: begin, a call for each socket, end. Sockets may be told in any order; `now_ns` is when the walk began, since the epoch. */
void bh_flow_table_walk_begin(BhFlowTable *t, gint64 now_ns);
/*
 * `socket->exe` NULL: whoever walks has not looked it up yet. Then FALSE says that it is needed, and that nothing was done: call again with it (which may be "").
 * So the executable of a connection that is known already need not be looked up in each walk.
 */
gboolean bh_flow_table_walk_socket(BhFlowTable *t, const BhFlowSocket *socket);
/*
 * Datagram sockets that are open and connected, have sent or received nothing that an event told, and are a container's: they may be used by the calls for files, which
 * have no event on the fallback. Whoever counts for them tells it in `bytes_out` … of their sockets. *look: now is the time to count; a socket that moved nothing
 * for BH_FLOW_DULL_WALKS walks is looked at in each BH_FLOW_DULL_WALKS-th only. Returns how many.
 */
typedef struct {
        guint64 sk;
        guint16 lport, rport;
} BhFlowSilent;
guint bh_flow_table_silent_datagrams(BhFlowTable *t, BhFlowSilent *out, guint max, gboolean *look);
/* Before the walk's end: what such a socket had moved in all, which this walk may not have met any more. */
void bh_flow_table_walk_datagrams(BhFlowTable *t, guint64 sk, guint64 bytes_out, guint64 bytes_in, guint64 packets_out, guint64 packets_in);

/* `whole` FALSE: the walk was broken off; what it did not tell may be there. Returns TRUE if something should be told soon. */
gboolean bh_flow_table_walk_end(BhFlowTable *t, gboolean whole);
/* TRUE if the last walk left connections whose other end another walk may tell. At most three walks in a row find such. */
gboolean bh_flow_table_assigning(BhFlowTable *t);
/* TRUE if a walk soon would tell something new: somebody began to listen. Reset by it. */
gboolean bh_flow_table_wants_walk(BhFlowTable *t);

typedef struct {
        const char *container_id, *exe, *path;
        guint32 pid, net_ns;
        guint8 proto; /* 0: Unix socket */
        struct bh_ip ip;
        guint16 port;
        gint64 started_ns, first_ns;
} BhFlowListener;

/* All listeners of the last walk, sorted. `changed` (may be NULL): whether they are others than when they were asked for last. The table's, until the next walk ends. */
const GArray *bh_flow_table_listeners(BhFlowTable *t, gboolean *changed);

/* ---- protocols */

/* A connection, as one of its ends names it. */
typedef struct {
        struct bh_str container_id, exe; /* empty: the host; not known */
        gboolean outgoing;               /* this side began it */
        gboolean anybody;                /* the container is not known either: whoever listens there */
        guint8 proto;
        guint32 net_ns;                  /* 0: not known */
        struct bh_ip laddr, raddr;
        guint16 lport, rport;
} BhFlowEnds;

/*
 * TRUE if there were connections, since it was asked last, of flows whose protocol is not known: the first bytes of the next ones are worth a look. A flow that was
 * asked for BH_FLOW_LOOKS_MAX (20) times without an answer is asked for no more.
 */
gboolean bh_flow_table_unspoken(BhFlowTable *t);
/* Whether a flow that bh_flow_table_unspoken() last told of, or one that came since, still has no protocol: else nobody waits for the bytes any more. */
gboolean bh_flow_table_awaited(const BhFlowTable *t);
/* Sockets of open connections of such flows, as the last walk named them. Returns how many. */
guint bh_flow_table_unspoken_sockets(BhFlowTable *t, guint64 *sks, guint max);
/*
 * What the first bytes of a connection were recognised as: "http/1", "tls", …; texts are copied, NULL or "": leave what there is. The last word holds.
 * FALSE: no flow of that connection is known (yet).
 * What a server speaks holds for all flows to where it listens; without `exe`, what a client speaks for all of the container with that server. `tls` (NULL: nothing) is of the handshake: the name
 * that was asked for and the fingerprint are the client's, the certificate's subject the server's.
 */
typedef struct {
        const char *fingerprint, *certificate;
} BhFlowTls;
gboolean bh_flow_table_set_protocol(BhFlowTable *t, const BhFlowEnds *ends, const char *protocol, const char *server_name, const BhFlowTls *tls);

/* ---- telling */

/*
 * At the beginning: up to which numbers events have been told by somebody before; they are passed over, and the first cut begins there. `failed_until`: a batch that
 * was perhaps told is made again, with the failures up to that number in it; else as failed_after.
 */
void bh_flow_table_begin(BhFlowTable *t, guint64 after, guint64 failed_after, guint64 failed_until);
/* An event of any kind had this number: cuts may go on to it. */
void bh_flow_table_advance(BhFlowTable *t, guint64 id);
/* TRUE if ends wait for their other end since less than `wait_us`: a cut that is made a little later tells better. */
gboolean bh_flow_table_unsettled(BhFlowTable *t, gint64 now_us, gint64 wait_us);
/* TRUE if a cut would tell something, or the failures that are held back are due. */
gboolean bh_flow_table_pending(BhFlowTable *t, gint64 now_us);
/*
 * What was added since the cut before, and flows whose open connections are others. `all`: every flow that has open connections, and what is held back of
 * failures. `now_us`: monotonic, for ages.
 */
void bh_flow_table_cut(BhFlowTable *t, gboolean all, gint64 now_us, BhFlowCut *out);

/* A container's program that has more peers than are told apart. Texts are the caller's. */
typedef struct {
        char *container_id, *exe;
        guint8 proto;
        guint16 port;
        guint peers; /* at least */
        guint64 bytes;
        char *large, *newest; /* addresses: of those who moved most, and of the last that were new and outside */
} BhFlowCrowd;

/* One of which nothing was said yet, or that has grown much since. FALSE: none. */
gboolean bh_flow_table_next_crowd(BhFlowTable *t, BhFlowCrowd *out);
void bh_flow_crowd_clear(BhFlowCrowd *c);

void bh_flow_table_stats(BhFlowTable *t, BhFlowStats *out);

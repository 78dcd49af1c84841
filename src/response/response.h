/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a response is, for whoever orders one (the central), carries it out (the sensor) or shows it: actions, states, and the peers that a list names.
 *
 * A response is one action on one container of one node, with a reason, an actor and an end. The central's ledger has all of them; the node keeps those that are in force, so that they
 * survive both. An order is idempotent by its id: it may be sent again, and says then what it came to.
 *
 *      pending ──▶ active ──▶ released       isolate, quarantine, pause, block, decoy, scale-to-zero
 *         │  │        └─────▶ gone           its container ended
 *         │  └─▶ done                        kill, kill-process, kill-tree, stop, restart: there is nothing to undo
 *         └─▶ failed, dry_run
 *
 * Pure functions, any thread. Texts come from outside the process: errors are sentences.
 */
#pragma once
#include <glib.h>

#define BH_RESPONSE_PEERS_MAX 1024u          /* of one response */
#define BH_RESPONSE_ID_MAX 32u               /* letters and digits */
#define BH_RESPONSE_TTL_MAX_S (366 * 86400)

/* BH_ACTION(NAME, text, holds: it goes on until it is released, what it does) */
#define BH_RESPONSE_ACTIONS(X)                                                                                                       \
        X(ISOLATE, "isolate", TRUE, "no traffic but with the peers that are allowed")                                                 \
        X(QUARANTINE, "quarantine", TRUE, "isolated, frozen, and a snapshot of its processes is taken")                               \
        X(PAUSE, "pause", TRUE, "all its processes are frozen")                                                                        \
        X(BLOCK, "block", TRUE, "these peers are refused")                                                                             \
        X(KILL, "kill", FALSE, "all its processes are killed")                                                                         \
        X(STOP, "stop", FALSE, "stopped by its runtime")                                                                               \
        X(RESTART, "restart", FALSE, "restarted by its runtime")                                                                       \
        X(KILL_PROCESS, "kill-process", FALSE, "this process is killed")                                                               \
        X(KILL_TREE, "kill-tree", FALSE, "this process and all that descend from it are killed")                                       \
        X(SCALE, "scale-to-zero", TRUE, "its workload has no running containers")                                                      \
        X(DECOY, "decoy", TRUE, "its new TCP connections to these destinations are led to a decoy, all else to them is refused")

typedef enum {
#define X(name, text, holds, does) BH_RESPONSE_##name,
        BH_RESPONSE_ACTIONS(X)
#undef X
        BH_RESPONSE_N_ACTIONS,
} BhResponseAction;

const char *bh_response_action_name(BhResponseAction a);
const char *bh_response_action_does(BhResponseAction a);
/* FALSE: there is none of that name. */
gboolean bh_response_action_parse(const char *name, BhResponseAction *a);
gboolean bh_response_action_holds(BhResponseAction a);
gboolean bh_response_action_isolates(BhResponseAction a);
gboolean bh_response_action_freezes(BhResponseAction a);
/* Its list `deny` has what it refuses. */
gboolean bh_response_action_denies(BhResponseAction a);
/* It is about single processes of the container: its subject is a BhProcessName. */
gboolean bh_response_action_of_processes(BhResponseAction a);
/* What a policy may do by itself: what is about the container alone. */
gboolean bh_response_action_by_policy(BhResponseAction a);

#define BH_RESPONSE_STATES(X) X(PENDING, "pending") X(ACTIVE, "active") X(RELEASED, "released") X(GONE, "gone") X(DONE, "done") X(FAILED, "failed") X(DRY_RUN, "dry_run")

typedef enum {
#define X(name, text) BH_RESPONSE_STATE_##name,
        BH_RESPONSE_STATES(X)
#undef X
        BH_RESPONSE_N_STATES,
} BhResponseState;

const char *bh_response_state_name(BhResponseState s);
gboolean bh_response_state_parse(const char *name, BhResponseState *s);

/* Labels by which a container is never touched; values, NULL: it has none. The sentence that says why, NULL: it may be touched. Static. */
#define BH_RESPONSE_LABEL_PROTECTED "bulkhead.protected"
#define BH_RESPONSE_LABEL_NAMESPACE "io.kubernetes.pod.namespace"
const char *bh_response_protects(const char *is_protected, const char *namespace);

gboolean bh_response_id_valid(const char *id);

/* ---- subjects: what it is about beside the container */

/*
 * A process, "4242@2026-11-27T10:00:00.120000000Z": its number on the node, and when it began, as events and lists of processes tell it, which no later process of that number has.
 * Without a time ("4242@") it is who has the number now: for a dry run alone.
 */
typedef struct {
        gint pid;
        gint64 started_ns; /* since the epoch; 0: not said */
} BhProcessName;

gboolean bh_process_name_parse(const char *text, BhProcessName *out);
/* Caller frees. */
char *bh_process_name_text(const BhProcessName *name);

/* What is scaled: "swarm:ID" of a service, "compose:PROJECT/SERVICE", "compose:PROJECT" for all services of the project. */
#define BH_SCALE_SWARM "swarm:"
#define BH_SCALE_COMPOSE "compose:"
#define BH_LABEL_SWARM_SERVICE "com.docker.swarm.service.id"
#define BH_LABEL_SWARM_SERVICE_NAME "com.docker.swarm.service.name"
#define BH_LABEL_COMPOSE_PROJECT "com.docker.compose.project"
#define BH_LABEL_COMPOSE_SERVICE "com.docker.compose.service"
#define BH_LABEL_COMPOSE_ONE_OFF "com.docker.compose.oneoff" /* "True": a job that somebody ran (docker compose run) */

/*
 * Where a decoy listens, "10.0.0.5:7000", "[fd00::5]:7000": its own address and port, by which the container reaches it. Not one that is the container itself (loopback). *out: for TCP.
 */
struct BhPeer;
gboolean bh_decoy_parse(const char *text, struct BhPeer *out, GError **error);
/*
 * Whether all of these destinations (texts of peers and names) can be led there: an IPv4 socket cannot be led to an IPv6 address. What is refused by acts (response/deny.h) is none.
 */
gboolean bh_decoy_leads(const struct BhPeer *to, const char *const *texts, gsize n, GError **error);

/* ---- peers: "10.0.0.1", "10.0.0.0/8", "10.0.0.1:443", "10.0.0.1:53/udp", "fd00::/8", "[fd00::1]:443/tcp", ":53/udp" or "*:53" (all addresses) */

typedef struct BhPeer {
        guint8 addr[16]; /* IPv4 mapped into IPv6; host bits are zero */
        guint8 bits;     /* of these 128 */
        guint8 proto;    /* 0: all, 6, 17, 132 */
        guint16 port;    /* 0: all */
} BhPeer;

/* A name (of DNS, below) is none. "all addresses" gives two peers, for IPv4 and IPv6, so *n is 1 or 2. */
gboolean bh_peer_parse(const char *text, BhPeer out[2], guint *n, GError **error);
/* GArray of BhPeer; names are looked at, and have none in it: that is for who knows what they resolve to. NULL with *error that names the text; also beyond BH_RESPONSE_PEERS_MAX. */
GArray *bh_peers_parse(const char *const *texts, gsize n, GError **error);

/* ---- names of DNS: "peer:evil.example", "peer:*.example.com:443" (all below, not itself), "peer:db:5432/tcp" */

#define BH_PEER_NAME_MAX 253u

typedef struct {
        char name[BH_PEER_NAME_MAX + 1]; /* lower-case, without a dot at the end */
        gboolean below;
        guint8 proto; /* 0: all */
        guint16 port; /* 0: all */
} BhPeerName;

gboolean bh_peer_is_name(const char *text);
gboolean bh_peer_name_parse(const char *text, BhPeerName *out, GError **error);
/* `name` in the same form. */
gboolean bh_peer_name_matches(const BhPeerName *p, const char *name);
/*
 * Who answers for the names of an allow list: an address of the list by itself (no network, no loopback, where the container could answer itself) with port 53 or all. A name without
 * such a server is an error.
 */
gboolean bh_peer_is_server(const BhPeer *p);
gboolean bh_peers_have_server(const char *const *texts, gsize n, GError **error);

gboolean bh_peer_holds(const BhPeer *p, const guint8 *addr);

/* One network with all ports of it and of the wider networks that hold it: what a look-up of the longest match needs. */
typedef struct {
        guint8 addr[16];
        guint8 bits;
        guint n;
        struct {
                guint16 port;
                guint8 proto;
        } ports[16];
} BhPeerNet;

/* GArray of BhPeerNet, each network once. NULL with *error: a network would have more than 16 ports. */
GArray *bh_peers_merge(const GArray *peers, GError **error);

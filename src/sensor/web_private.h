/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the watch over web traffic: what web_watch.c (connections), web_records.c (what the inspector told) and web_join.c (events) share. */
#pragma once
#include "net_alerts.h"
#include "parse/inspect_client.h"
#include "parse/waf_words.h"
#include "web_watch.h"

#define OPEN_MAX 128u    /* requests of a connection without their response */
#define MATCHES_KEPT 8u  /* of a finding */
#define READERS_MAX 16u  /* of a connection: of more, the oldest is forgotten, and what it read is taken for the next one's */

/* Who read a connection's bytes from then on. */
typedef struct {
        gint64 from_ns;
        guint32 pid, tid;
        guint64 start;
} BhWebReader;

/* How many of the pieces under way are a container's. */
typedef struct {
        guint64 container;
        guint waiting;
} BhWebShare;

/* A request with an attack in it on its way to becoming a finding. */
typedef struct {
        BhWebRequest *request;
        BhWebMatch matches[MATCHES_KEPT];
        guint n_matches, more, score, level;
        guint32 rules[BH_WEB_FACT_MATCHES_MAX]; /* of all that counted */
        guint n_rules;
        char *agent, *authority, *peer, *key, *whole;
        gint64 due_us; /* told without a response then */
        gboolean answered;
} BhWebSuspect;

typedef struct {
        guint64 connection, sk; /* of the payload */
        guint64 serial;         /* of the inspector; 0: it was not told of it */
        guint64 epoch;          /* of the inspector's process when it was told */
        guint64 container;      /* its cgroup */
        gboolean tls, server, suspected, skipping, done, closing;
        gboolean proxied;       /* all pieces so far are of protocol PROXY: it may turn out to be TLS, and must not be ignored before that is known */
        guint state;            /* BhWebState, of the last answer */
        guint64 next[2];        /* where each direction's stream goes on; [1]: the client's */
        gboolean seen[2];
        BhWebReader readers[READERS_MAX]; /* of the client's bytes, by their time */
        guint n_readers;
        char client[64], host[64]; /* addresses */
        guint16 port;
        BhContainer *c;         /* NULL: not known */
        BhWebPlan *plan;
        guint64 policy;         /* which one it is by */
        GQueue open;            /* BhWebRequest, references */
        guint under_way;        /* pieces that are not answered */
        GList link;             /* in `quiet` */
} BhWebConn;

struct BhWebWatch {
        BhWebWatchConfig c;
        char *node, *program;
        BhWafWords *words;
        BhInspectClient *client;

        GMutex lock; /* all below */
        GHashTable *conns;   /* connection and tls → BhWebConn */
        GHashTable *serials; /* serial → BhWebConn */
        GQueue quiet;        /* BhWebConn, the longest quiet one first */
        guint64 last_serial, epoch, policies; /* policies: how many there were */
        GHashTable *off;     /* containers (their cgroups' ids) that are left out */
        char *last_problem;  /* of the last lost piece: names the process that died */
        guint waiting;       /* pieces under way */
        GHashTable *shares;  /* container → BhWebShare, of those that have some */
        BhWebRequests *requests;
        BhWebEndpoints *endpoints;
        GQueue suspects;     /* BhWebSuspect, by due_us */
        GQueue ready;        /* BhWebSuspect, to be told */
        gint64 swept_ns;
        struct {
                guint64 connections, pieces, requests, served, judged, attacks, exchanges;
                guint64 skipped_requests, skipped_pieces; /* above capacity */
                guint64 lost[BH_INSPECT_LOST_REASONS], refused, malformed, unknown, banned, evicted, unbegun, tls_closed, gaps, records_dropped, partial, beyond_share,
                        ended_early[3], /* connections that became a tunnel, another protocol, or broke HTTP: nothing of them is read any more */
                        suspects_refused, acts, acts_refused, joined, waited_in_vain, off;
        } n;

        /* the drain thread's alone */
        BhNetAlerts *alerts;
        GQueue late; /* acts */
        guint64 late_refused;
        gint busy; /* atomic: something serves requests; events need not look otherwise */
};

/* Under the lock: what the inspector told of this connection. */
void bh_web_take_records(BhWebWatch *w, BhWebConn *conn, BhWebFacts *facts);
/* Who read what came at that time: an answer of the inspector's comes later, when others may be reading. Never NULL. */
const BhWebReader *bh_web_reader_at(const BhWebConn *conn, gint64 when_ns);
/* Under the lock: takes the reference; of too many, the oldest has ended. */
void bh_web_add_open(BhWebWatch *w, BhWebConn *conn, BhWebRequest *request);
/* Under the lock: what is open there has ended. */
void bh_web_end_open(BhWebWatch *w, BhWebConn *conn, gint64 end_ns);
void bh_web_suspect_free(BhWebSuspect *s);
/* What makes its finding equal to another. Caller frees. */
char *bh_web_suspect_key(const BhWebRequest *q);
/* The drain thread, without the lock. */
void bh_web_tell_suspect(BhWebWatch *w, const BhWebSuspect *s, const struct bh_lineage *lineage, gint64 now_us);
/* The drain thread: acts whose requests are told of by now (all: whatever is left). */
void bh_web_tell_late(BhWebWatch *w, const struct bh_lineage *lineage, gint64 now_us, gboolean all);
/* "remote command execution", … of a class. */
const char *bh_web_class_name(const char *class);

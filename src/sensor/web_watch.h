/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Web traffic of containers: what their sockets read and wrote (payload.h) on its way to bulkhead-inspect-web, and what that makes of it on its way to findings, observations and
 * events. docs/web.md says what comes of it.
 *
 * Pieces are handed to the inspector in the order of their streams. It tells requests, judged where its filter wants that, and exchanges. Of requests that containers serve, those that
 * the rule set scores at or above the workload's threshold become findings as soon as their response is known, at most BH_WEB_RESPONSE_US later; of requests that containers make, facts
 * alone are kept. Events of processes that served a request then are given it (web_requests.h), and an act that an attack may have caused is a finding of its own.
 *
 * The inspector may die, hang or answer rubbish: the connection that it worked on is given up, others begin anew with their next request (HTTP/2, whose requests depend on earlier ones, does
 * not). When more than BH_WEB_BUSY pieces wait for it, whole requests of HTTP/1 are skipped, but never one that the inspector's own filter would have judged
 * (bh_web_trace_suspected()), nor one of a connection that ever had one, nor any of a workload whose paranoia level is 3 or 4. All that is not looked at is counted by reason.
 *
 * Threads: pieces come from the payload's thread, answers on the inspector client's, events and rounds from the drain thread. One mutex, held for microseconds.
 */
#pragma once
#include <jansson.h>

#include "container/table.h"
#include "event/lineage.h"
#include "payload.h"
#include "web_endpoints.h"
#include "web_policy.h"
#include "web_requests.h"

#define BH_WEB_WATCH_CONNECTIONS 16384u  /* followed here; the inspector keeps BH_WEB_CONNECTIONS_MAX */
#define BH_WEB_BUSY 1024u                /* pieces that wait for the inspector; from then on plain requests are skipped */
#define BH_WEB_WAITING 8192u             /* pieces that wait at most: more are lost, and counted */
#define BH_WEB_WAITING_SHARE (BH_WEB_WAITING / 4) /* of one container; more are lost, and counted apart */
#define BH_WEB_WAITING_BYTES (32u << 20)
#define BH_WEB_RESPONSE_US (2 * G_USEC_PER_SEC)
#define BH_WEB_YOUNG_NS (300 * G_GINT64_CONSTANT(1000000)) /* one that is not told of for longer is one that is long in coming: nothing waits for it */
#define BH_WEB_JOIN_MS 250               /* an act waits so long for the inspector to tell of the requests that it may be due to */
#define BH_WEB_FINDINGS_WAITING 1024u    /* requests with an attack in them whose response is not known yet */
#define BH_WEB_LATE_MAX 1024u            /* acts that went on before the inspector told of their request; looked at again … */
#define BH_WEB_LATE_US (10 * G_USEC_PER_SEC) /* … so long */
#define BH_WEB_ACTS_MAX 16u              /* findings of acts that are due to one request */

typedef struct BhWebWatch BhWebWatch;

/* What an event waits for, and is given. */
typedef struct BhWebTicket BhWebTicket;

/* A request of which a finding was told. */
typedef struct {
        const BhContainer *container; /* NULL: not known */
        const char *finding, *rule, *priority, *target, *whole; /* whole: its first bytes, redacted (web_facts.h) */
        gint64 time_ns;               /* since the epoch */
        guint32 pid;
        gint64 start_ns;
} BhWebKept;

typedef struct {
        const char *program;      /* bulkhead-inspect-web */
        const BhWebPolicy *policy; /* outlives it, or until bh_web_watch_policy() */
        BhContainerTable *containers;
        const char *node;
        guint64 clock_start;      /* start times as events tell them: struct bh_clock */
        void (*publish)(GBytes *body, gpointer data);              /* a finding; takes the reference. The drain thread */
        /* HTTP facts that are due, with the executable of the process ("" unknown). May be NULL. The drain thread; must not block. */
        void (*observe)(const BhWebEndpoint *endpoint, struct bh_str exe, gpointer data);
        void (*keep)(const BhWebKept *request, gpointer data); /* as evidence. May be NULL. The drain thread; must not block */
        gint64 (*told_ns)(gpointer data); /* all pieces of before that time were given; NULL: always all */
        void (*hurry)(gpointer data);     /* that is to be so soon */
        void (*ignore)(guint64 connection, guint64 sk, gpointer data); /* nothing more of it is wanted */
        void (*off)(guint64 container, gboolean off, gpointer data); /* nothing of this container (its cgroup's id) is, or again it is */
        void (*problem)(const char *problem, gboolean away, gpointer data); /* the inspector ended, or (away) cannot be started. On its client's thread */
        gpointer data;
} BhWebWatchConfig;

/* NULL with *error: the program cannot be started. */
BhWebWatch *bh_web_watch_new(const BhWebWatchConfig *config, GError **error);
/* No thread of others calls any more. NULL is allowed. */
void bh_web_watch_free(BhWebWatch *w);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhWebWatch, bh_web_watch_free)
/* Whether the inspector takes pieces by now; waits at most so long. For tests. */
gboolean bh_web_watch_wait(BhWebWatch *w, guint timeout_ms, GError **error);

/* Another policy, from now on: connections that are open get it with their next request, those of containers that were left out stay out. The one before is not looked at any more. Any thread. */
void bh_web_watch_policy(BhWebWatch *w, const BhWebPolicy *policy);

/* This container (its cgroup's id) is gone. Any thread. */
void bh_web_watch_forget(BhWebWatch *w, guint64 container);

/* One thread. */
void bh_web_watch_piece(BhWebWatch *w, const BhPayloadPiece *piece);

/*
 * Bytes of other connections as redacted text (NULL: the inspector gave none), which its sandbox makes. At most BH_INSPECT_REDACT_MAX. FALSE: it takes no more at the moment, `redacted` is never called; else once, on
 * its client's thread. Any thread.
 */
gboolean bh_web_watch_redact(BhWebWatch *w, const guint8 *bytes, gsize len, void (*redacted)(const char *text, gpointer data), gpointer data);

/* ---- the drain thread */

/* Each event of a container, in order. NULL: it has nothing to do with requests. */
BhWebTicket *bh_web_watch_event(BhWebWatch *w, const struct bh_event *e);
/* Whether what it waits for is there. */
gboolean bh_web_watch_ready(BhWebWatch *w, BhWebTicket *t);
/* Gives the event its fields, good until the ticket is freed, and tells what is to be told. */
void bh_web_watch_finish(BhWebWatch *w, BhWebTicket *t, struct bh_event *e, const struct bh_lineage *lineage);
/* NULL is allowed. */
void bh_web_ticket_free(BhWebTicket *t);
/* Tells findings and facts whose time has come. Often. */
void bh_web_watch_round(BhWebWatch *w, const struct bh_lineage *lineage, gint64 now_us);

/* For the status. New reference; any thread. */
json_t *bh_web_watch_status(BhWebWatch *w);

/* A time of CLOCK_BOOTTIME since the epoch, as the wall clock stands now. */
gint64 bh_web_epoch_ns(gint64 boottime_ns);

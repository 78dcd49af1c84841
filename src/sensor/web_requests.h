/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which requests a process serves while it acts: the join of web traffic with what processes do.
 *
 * A request belongs to the process and thread that read its first bytes, from then until its response has ended. What that process does meanwhile may be due to it; so may
 * whatever a process does that was created meanwhile, for as long as it lives, and what that one's children do. A process that serves requests itself is nobody's child here.
 *
 * Of several requests that were open, those of connections that the acting thread itself has read requests of come before those of other threads; and one of which the act has a longer part in it
 * than of all others (web_trace.h: in an argument, a path, a peer), whichever thread read it, before all. What is left is told as it is: one of so many.
 *
 * Times are CLOCK_BOOTTIME. The owner of a table holds its lock in every call. Requests are counted references; their members are under the owner's lock as well.
 *
 * Bounds, each counted in the stats: BH_WEB_REQUESTS_MAX requests at a time, BH_WEB_REQUESTS_WORKER of a process (its oldest goes), BH_WEB_BYTES_MAX of their bytes (further ones
 * are kept without), BH_WEB_FORKS_MAX processes that were created (of those that ended, or else of all, the oldest is forgotten), and BH_WEB_PINNED_MAX references to requests that processes are due to (beyond,
 * what a process is due to is found anew at each act, for as long as its requests are remembered). A request that ended is remembered for BH_WEB_ENDED_NS, a process for BH_WEB_GONE_NS, since events come later.
 */
#pragma once
#include "container/container.h"
#include "event/event.h"

#define BH_WEB_REQUESTS_MAX 16384u
#define BH_WEB_REQUESTS_WORKER 512u
#define BH_WEB_BYTES_MAX (16u << 20)
#define BH_WEB_LOOK_SECOND (8u << 20)
#define BH_WEB_FORKS_MAX 16384u
#define BH_WEB_PINNED_MAX 8192u
#define BH_WEB_ENDED_NS (2 * G_GINT64_CONSTANT(1000000000))
#define BH_WEB_GONE_NS (10 * G_GINT64_CONSTANT(1000000000))
#define BH_WEB_OPEN_NS (600 * G_GINT64_CONSTANT(1000000000)) /* an open request whose end was not seen is forgotten after so long */
#define BH_WEB_CANDIDATES_MAX 64u

typedef struct BhWebRequests BhWebRequests;

typedef struct {
        guint refs;
        BhWebRequests *table;  /* NULL: outlived it */
        guint64 connection;    /* whoever fills requests in */
        guint64 number;        /* of the inspector's record */
        guint32 pid, tid;
        guint64 start;         /* of the process */
        gint64 begin_ns, end_ns; /* end 0: open */
        gboolean known;        /* the inspector told of it: what follows is filled */
        char *method, *path, *target, *source; /* path: a template; source: where it came from */
        guint rule;            /* of the rules that matched, with the highest score; 0: nothing to speak of */
        gboolean gains;        /* one of the rules says more of it than that it is odd (bh_web_class_is_odd()) */
        char *class, *finding; /* of that rule; id of the finding. NULL without */
        guint status, acts;    /* acts: told to be due to it */
        BhContainer *container; /* NULL: none known */
        GByteArray *bytes;     /* as bh_web_trace_keep() made them; NULL: none kept */
        GList link;            /* in the order of their begin; data: this */
        gboolean listed;
} BhWebRequest;

typedef enum {
        BH_WEB_BASIS_BYTES,   /* a part of this request, and a longer one than of any other, is in the act */
        BH_WEB_BASIS_THREAD,  /* the only one open in the acting thread */
        BH_WEB_BASIS_PROCESS, /* the only one open in the process */
        BH_WEB_BASIS_OTHER,   /* one of several */
        BH_WEB_BASES,
} BhWebBasis;

/* Requests that an act may be due to. */
typedef struct {
        BhWebBasis basis;
        GPtrArray *requests; /* BhWebRequest, references; the oldest first; at most BH_WEB_CANDIDATES_MAX, the newest */
        guint more;          /* beyond */
        GPtrArray *others;   /* BhWebRequest, references: open in the same process, in other threads; nothing but bytes makes one of them the cause. At most as many, the newest */
        gboolean inherited;  /* they were open when the process, or the one that it descends from, was created */
} BhWebCause;

typedef struct {
        guint requests, workers, forks, pinned;
        gsize bytes;
        guint64 begun, refused, forgotten, bytes_refused, forks_forgotten, causes_refused, not_looked;
} BhWebRequestsStats;

BhWebRequests *bh_web_requests_new(void);
/* Requests may outlive it. NULL is allowed. */
void bh_web_requests_free(BhWebRequests *t);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhWebRequests, bh_web_requests_free)

/* A request's first bytes were read. `bytes` is taken; may be NULL. A reference, or NULL: no room. */
BhWebRequest *bh_web_requests_begin(BhWebRequests *t, guint32 pid, guint32 tid, guint64 start, gint64 begin_ns, GByteArray *bytes);
/* Its response has ended, or its connection. Once more changes nothing. */
void bh_web_requests_end(BhWebRequests *t, BhWebRequest *r, gint64 end_ns);
/* More of its bytes, within BH_WEB_BYTES_MAX. */
void bh_web_request_add_bytes(BhWebRequest *r, const guint8 *bytes, gsize len);
BhWebRequest *bh_web_request_ref(BhWebRequest *r);
/* NULL is allowed. */
void bh_web_request_unref(BhWebRequest *r);

/* The process accepts connections: it may serve requests of which no bytes were told yet. */
void bh_web_requests_accepts(BhWebRequests *t, guint32 pid, gint64 when_ns);
/* Whether it serves requests or accepts connections, or was created by one that does, or descends from such. */
gboolean bh_web_requests_related(const BhWebRequests *t, guint32 pid);

/* Processes come and go. In the order of their times. */
void bh_web_requests_fork(BhWebRequests *t, guint32 pid, guint32 tid, guint32 child, gint64 when_ns);
void bh_web_requests_exit(BhWebRequests *t, guint32 pid, gint64 when_ns);

/* Requests that what this thread did then may be due to. NULL: none. Caller frees. */
BhWebCause *bh_web_requests_cause(BhWebRequests *t, guint32 pid, guint32 tid, gint64 when_ns);
/* Of what was done. whole: nothing less than all of it counts. */
typedef struct {
        struct bh_str text;
        gboolean whole;
} BhWebText;

/*
 * Looks for parts of them in what was done. When one has the longest, it alone remains, and what the process (if it has none of its own) and its
 * children do later is due to it. TRUE: so it was.
 */
gboolean bh_web_requests_narrow(BhWebRequests *t, BhWebCause *cause, guint32 pid, const BhWebText *texts, guint n);
/*
 * bh_web_trace_common() of the request's bytes. The events of one container come with the work that this is: of all requests together BH_WEB_LOOK_SECOND bytes are looked through in a
 * second, and what is beyond has nothing in common with anything, and is counted.
 */
gsize bh_web_requests_common(BhWebRequests *t, const BhWebRequest *r, const char *text, gsize len);
/* With references of its own. */
BhWebCause *bh_web_cause_copy(const BhWebCause *from);
/* NULL is allowed. */
void bh_web_cause_free(BhWebCause *cause);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhWebCause, bh_web_cause_free)

/* Lets go of what ended long enough ago. Now and then. */
void bh_web_requests_sweep(BhWebRequests *t, gint64 now_ns);
void bh_web_requests_stats(const BhWebRequests *t, BhWebRequestsStats *out);

/* For events and people: "bytes", "only request open in this thread", "only request open in this process", "one of several". */
const char *bh_web_basis_name(BhWebBasis basis);

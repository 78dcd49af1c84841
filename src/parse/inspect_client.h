/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sensor's side of bulkhead-inspect: starts the program, hands it bytes, brings back what they mean, and outlives its deaths.
 *
 * One thread of the client's own ("bh-inspect") talks to one child. Requests are answered in order. Every request that bh_inspect_submit()
 * accepted is answered exactly once, by a call of its callback on that thread: with a result, or with status LOST and the reason. When the
 * child dies, hangs (works on one request for longer than its kind allows, in processor time, or five times that on the clock) or answers
 * rubbish, what it had been sent is LOST, counted by reason, the child is killed, and a new one is started: at once for the first time, then
 * after 10 ms, 20 ms … BH_INSPECT_BACKOFF_MAX_MS; after a child that lived for a second it begins anew. What still waited here goes to the
 * next child. At most BH_INSPECT_WINDOW requests are with the child at a time, so no death costs more.
 *
 * Bounds: `max_requests` and `max_bytes` of waiting requests, BH_INSPECT_FILES_WAITING files among them; what is beyond is refused by
 * bh_inspect_submit() and counted. A request that waited here for longer than its `wait_ms` is LOST (EXPIRED).
 *
 * A child of a root process becomes uid and gid 65534. For that the caller must have CAP_SETUID and CAP_SETGID in its bounding set while
 * children are started, and not SECBIT_NOROOT; with CAP_SETPCAP, CAP_SYS_ADMIN and CAP_SYS_CHROOT the sandbox has all of its layers (stats: `layers`). Descriptors
 * of the caller must be O_CLOEXEC (the child closes others that it finds). A child ends when the client's thread or process does. The
 * caller must not reap children that are not its own (no waitpid(-1)).
 */
#pragma once
#include "parse/inspect_wire.h"

#define BH_INSPECT_WINDOW 64u
#define BH_INSPECT_WINDOW_BYTES (2u << 20) /* of bodies; one request always fits */
#define BH_INSPECT_FILES_WAITING 8u
#define BH_INSPECT_BACKOFF_MAX_MS 250u
#define BH_INSPECT_START_MS 5000u /* for the greeting */

typedef enum {
        BH_INSPECT_LOST_DIED,    /* the child ended while it had it */
        BH_INSPECT_LOST_HUNG,    /* the child worked on one request for too long while it had it */
        BH_INSPECT_LOST_RUBBISH, /* the child said what the wire does not allow while it had it */
        BH_INSPECT_LOST_EXPIRED, /* it waited here for longer than its wait_ms */
        BH_INSPECT_LOST_STOPPED, /* the client was freed */
        BH_INSPECT_LOST_REASONS,
} BhInspectLostReason;

/* Valid during the callback; it may take `dns`, `names`, `elf`, `protocol` or `web` with g_steal_pointer(), and then frees it. */
typedef struct {
        guint kind;               /* BhInspectKind */
        BhInspectStatus status;
        BhInspectLostReason lost; /* with status LOST */
        const char *problem;      /* why there is no result, for people; "" with status OK */
        BhDnsMessage *dns;        /* OK and DNS, DNS_TCP */
        BhPasswd *names;          /* OK and USERS, GROUPS */
        BhElf *elf;               /* OK and ELF */
        BhProtocolFacts *protocol; /* OK and PROTOCOL; g_free() */
        BhWebFacts *web;          /* OK and WEB */
        const guint8 *body;       /* OK and PING, REDACT */
        gsize len;
        GBytes *owned;            /* what `body` lies in after bh_inspect_ask() */
        guint64 took_us;          /* since bh_inspect_submit() */
} BhInspectAnswer;

/* On the client's thread. Must not block; may submit; must not free the client or call bh_inspect_ask(). */
typedef void (*BhInspectCallback)(BhInspectAnswer *answer, gpointer data);

typedef struct {
        const char *program; /* path of bulkhead-inspect; see bh_inspect_find_program() */
        guint max_requests;  /* waiting; 0 = 4096 */
        gsize max_bytes;     /* of waiting bodies; 0 = 8 MiB */
        /* Each time a child is lost or cannot start, with a sentence, on the client's thread. May be NULL. */
        void (*on_problem)(const char *problem, gpointer data);
        gpointer data;
} BhInspectConfig;

typedef struct {
        guint64 submitted;  /* accepted; = answered + malformed + the sum of lost + waiting + sent */
        guint64 answered;   /* OK */
        guint64 malformed;  /* MALFORMED and REFUSED */
        guint64 lost[BH_INSPECT_LOST_REASONS];
        guint64 refused;    /* not accepted: a bound was reached */
        guint64 starts;     /* children started, the first among them */
        guint64 start_failures; /* children that did not get to their greeting */
        guint32 waiting, sent;  /* now: here, with the child */
        guint32 waiting_max;
        pid_t pid;          /* 0 = none now */
        gboolean ready;     /* a child takes requests */
        guint32 layers;     /* BhInspectLayers of the last child that greeted */
        char problem[256];  /* the last one; "" = never any */
} BhInspectStats;

typedef struct BhInspectClient BhInspectClient;

/* "died", …; "?" for another number. */
const char *bh_inspect_lost_name(BhInspectLostReason reason);

/* The program of that name ("bulkhead-inspect", "bulkhead-inspect-web") beside this one, or where the build has it (../inspect/). NULL with *error naming the places. Caller frees. */
char *bh_inspect_find_program(const char *name, GError **error);

/* Starts the thread, which starts the child. NULL with *error when the program cannot be executed or there is no thread to be had. */
BhInspectClient *bh_inspect_client_new(const BhInspectConfig *config, GError **error);
/* Kills the child, answers what is left with LOST (STOPPED), on the client's thread, and joins it. NULL is allowed. */
void bh_inspect_client_free(BhInspectClient *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhInspectClient, bh_inspect_client_free)

/* Waits until a child is ready. FALSE with the last problem in *error when none is after timeout_ms. */
gboolean bh_inspect_client_wait(BhInspectClient *c, guint timeout_ms, GError **error);

/*
 * Asks. `body` (NULL = empty; a reference is taken) has at most BH_INSPECT_REQUEST_MAX bytes. `file` is -1, or for kinds that take a file a
 * sealed memfd (see bh_rootfile_memfd(); F_SEAL_SHRINK and F_SEAL_WRITE, at most BH_INSPECT_FILE_MAX bytes), which is duplicated. wait_ms 0
 * = 5000. Returns at once. FALSE when it was not accepted: a bound is reached (counted as `refused`), or the arguments break a rule
 * above (also counted); then the callback is never called.
 */
gboolean bh_inspect_submit(BhInspectClient *c, guint kind, GBytes *body, int file, guint wait_ms, BhInspectCallback callback, gpointer data);

/*
 * The same, waiting for the answer: for tests and for callers with a thread to spare. *answer is filled only on TRUE (status OK); free its
 * parts with bh_inspect_answer_clear(). FALSE with *error for everything else.
 */
gboolean bh_inspect_ask(BhInspectClient *c, guint kind, GBytes *body, int file, guint wait_ms, BhInspectAnswer *answer, GError **error);
void bh_inspect_answer_clear(BhInspectAnswer *answer);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BhInspectAnswer, bh_inspect_answer_clear)

void bh_inspect_client_stats(BhInspectClient *c, BhInspectStats *stats);

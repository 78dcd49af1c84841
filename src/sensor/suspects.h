/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First bytes of suspicious connections, both ways, for evidence. Nothing is looked at but in containers of which a finding of priority warning or above was told: for BH_SUSPECTS_US after the latest, connections
 * that speak nothing that is followed anyway are told, too (bh_payload_other()), BH_SUSPECTS_BYTES of each direction, and kept here, with what is told of requests and handshakes. What is sealed is that of the
 * connections that findings are about: by address and port of the other end, or, where a finding tells no address, those of its process.
 *
 * So a connection that is made after a first finding has its first bytes; one that was there, or that the first finding is about, those from the moment on in which the finding was told, some milliseconds late:
 * `from` says where in the stream that is. They are sealed when the connection ends or both directions are full, BH_SUSPECTS_WAIT_US after its finding at the latest.
 *
 * The bytes are the attacker's: they are copied here and read by nobody but the inspector, which makes printable, redacted text of them.
 *
 * Bounds, counted: containers, connections and findings that wait (of one container a quarter); the oldest goes. Of equal findings (container, other end, process) that wait the first has the connections. What the
 * inspector does not take at the moment is offered again for BH_SUSPECTS_AGAIN_US. One mutex, held for microseconds. Pieces come on the payload's thread, findings and rounds on the drain
 * thread, texts on the inspector client's.
 */
#pragma once
#include <jansson.h>

#include "event/event.h"
#include "payload.h"

#define BH_SUSPECTS_BYTES 4096u
#define BH_SUSPECTS_US (600 * G_USEC_PER_SEC)
#define BH_SUSPECTS_WAIT_US (20 * G_USEC_PER_SEC)
#define BH_SUSPECTS_CONTAINERS 64u
#define BH_SUSPECTS_CONNECTIONS 512u
#define BH_SUSPECTS_SHARE (BH_SUSPECTS_CONNECTIONS / 4)
#define BH_SUSPECTS_FINDINGS 256u
#define BH_SUSPECTS_FINDINGS_SHARE (BH_SUSPECTS_FINDINGS / 4)
#define BH_SUSPECTS_AGAIN 64u /* connections that wait for an inspector that takes none at the moment … */
#define BH_SUSPECTS_AGAIN_US (10 * G_USEC_PER_SEC) /* … so long */
#define BH_SUSPECTS_RETRY_US (G_USEC_PER_SEC / 5)

/* What is to be kept. Texts live during the call. */
typedef struct {
        const char *finding, *rule, *priority, *container; /* container: its full id, "" not known */
        const char *peer;  /* "203.0.113.9:4444" */
        const char *text;  /* printable ASCII and line ends, redacted */
        guint32 pid;       /* who read or wrote first */
        guint64 start;     /* of it, CLOCK_BOOTTIME ns */
        gint64 time_ns;    /* of the first byte that is there, CLOCK_BOOTTIME */
} BhSuspectKept;

typedef struct BhSuspects BhSuspects;
/* One direction's text, or NULL: the inspector gave none. */
typedef void (*BhSuspectsRedacted)(const char *text, gpointer data);

typedef enum {
        BH_SUSPECTS_NO,
        BH_SUSPECTS_YES,
        BH_SUSPECTS_LATER, /* not at the moment: to be asked again */
} BhSuspectsAnswer;

typedef struct {
        /* Connections of this container (its own cgroup's id) are to be told, or not any more. NO: they cannot be. By rounds alone, under no lock. */
        BhSuspectsAnswer (*other)(guint64 container, guint32 bytes, gpointer data);
        void (*ignore)(guint64 connection, guint64 sk, gpointer data);
        /* FALSE: `done` is never called; else once, from any thread, also before this returns. `cut`: they are not the first of their direction. */
        gboolean (*redact)(const guint8 *bytes, gsize len, gboolean cut, BhSuspectsRedacted done, gpointer ticket, gpointer data);
        void (*keep)(const BhSuspectKept *kept, gpointer data);
        gpointer data;
} BhSuspectsConfig;

BhSuspects *bh_suspects_new(const BhSuspectsConfig *config);
/* When nobody calls any more; what waits for the inspector was answered. NULL is allowed. */
void bh_suspects_free(BhSuspects *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhSuspects, bh_suspects_free)

/* Something that tells of no connection makes this container (its own cgroup's id) suspicious: what it says from now on is there if a finding is about it later. Cheap, any thread. */
void bh_suspects_watch(BhSuspects *s, guint64 container, gint64 now_us);
/* A finding of priority warning or above in this container (its own cgroup's id, and its full id). */
void bh_suspects_finding(BhSuspects *s, guint64 container, const char *container_id, const char *finding, const char *rule, const char *priority, const struct bh_event *e, gint64 now_us);
/* Cheap where no container is suspicious. TRUE: it is nobody else's. */
gboolean bh_suspects_piece(BhSuspects *s, const BhPayloadPiece *piece);
/* What is due. Often: cheap where there is nothing. */
void bh_suspects_round(BhSuspects *s, gint64 now_us);
/* The container (its own cgroup's id) is gone. */
void bh_suspects_forget(BhSuspects *s, guint64 container);
/* For the status. New reference. */
json_t *bh_suspects_status(BhSuspects *s);

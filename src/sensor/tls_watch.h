/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Of which containers' TLS the clear text is had: finds the files that have functions of OpenSSL or GnuTLS in them, has them probed (payload_tls.h), and lets go of them when the last
 * container that used them has ended.
 *
 * A process is looked at when it runs a program that its container has not run before, when it maps what is named as a TLS library, when its first TLS handshake is seen, and when a
 * connection stays closed. A file is named by device, inode, size and times; the same file of an image's layer is one in all containers of it. ELF files are parsed by the inspector alone.
 * One thread asks and attaches; each of the others does a look-up. Files are opened and copied by threads of their own (tls_reader.h): a file system that does not answer within two seconds costs
 * those, and nothing more of its container is looked at before it has answered after all (counted as "stuck", and said): then what was to be looked at is. What is known to be a file system in user space is not read.
 *
 * The first connection of a library that no container used before may be over before its probes are there: some milliseconds after it is mapped.
 * A process id used again between an event and the look costs a file that is looked at for nothing.
 *
 * Any thread may call all but new and free.
 */
#pragma once
#include <jansson.h>

#include "container/table.h"
#include "event/event.h"
#include "parse/elf.h"
#include "payload.h"
#include "tls_reader.h"

#define BH_TLS_WATCH_WAITING 4096u     /* processes that wait to be looked at; of one container … */
#define BH_TLS_WATCH_CONTAINER 1024u   /* … so many. More are passed over and counted: a later act of the process brings it back */
#define BH_TLS_WATCH_CONTAINERS 16384u /* that are known; more are passed over and counted */
#define BH_TLS_WATCH_PROGRAMS 4096u    /* of a container, that need no second look; beyond it all are looked at again */
#define BH_TLS_WATCH_USES 64u          /* files with TLS in them, of a container; more are not probed for it, and counted */
#define BH_TLS_WATCH_SHOWN 256u        /* containers in the status */

typedef struct BhTlsWatch BhTlsWatch;

typedef struct {
        const char *proc; /* "/proc" */
        BhContainerTable *containers;
        /* What the inspector says of the file (a sealed memfd, the caller's). NULL with *error. May take long. */
        BhElf *(*parse)(int memfd, gpointer data, GError **error);
        /* As bh_payload_tls_attach() and bh_payload_tls_detach(). */
        gboolean (*attach)(guint64 dev, guint64 ino, const char *path, const BhElf *elf, gpointer data, GError **error);
        void (*detach)(guint64 dev, guint64 ino, gpointer data);
        gpointer data;
        const BhTlsReaderCalls *calls; /* for tests; NULL */
} BhTlsWatchConfig;

/* Nothing is looked at before the start; what is told before waits. */
BhTlsWatch *bh_tls_watch_new(const BhTlsWatchConfig *config);
void bh_tls_watch_start(BhTlsWatch *w);
/* Ends the thread: nothing is called any more, and what is told is passed over. It waits at most two seconds for a file system that does not answer, and then leaves the thread behind. NULL is allowed. */
void bh_tls_watch_stop(BhTlsWatch *w);
/* Stops; nobody calls any more. NULL is allowed. */
void bh_tls_watch_free(BhTlsWatch *w);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhTlsWatch, bh_tls_watch_free)

/* A process of a container that runs already. `cgroup`: its own. */
void bh_tls_watch_process(BhTlsWatch *w, guint32 pid, guint64 cgroup);
/* Each event of a container. */
void bh_tls_watch_event(BhTlsWatch *w, const struct bh_event *e, const BhContainer *c);
/* Each piece of the payload: handshakes and closed connections are of interest. */
void bh_tls_watch_piece(BhTlsWatch *w, const BhPayloadPiece *piece);

/* What is open and what is not, of each container: for the status. New reference. */
json_t *bh_tls_watch_status(BhTlsWatch *w);
/* "clear: OpenSSL 3; closed: Go"; NULL: no TLS was seen there. Caller frees. */
char *bh_tls_watch_container(BhTlsWatch *w, const char *id);

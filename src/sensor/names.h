/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of users and groups, as a container's own /etc/passwd and /etc/group (for the host: the host's) give them to ids.
 *
 * Tables are kept by container and mount namespace, found or asked for in the drain thread, and loaded by others: four threads read the files
 * through the container's root (parse/rootfile.h) and have the inspector parse them, for whoever breaks into a container writes these files. A table is used
 * for as long as its files are the same ones; that is looked at when an event comes, at most each BH_NAMES_CHECK_US. Until there is one there are no names.
 *
 * Ids of events are the node's; in a container with a user namespace the names are those of the ids inside it.
 *
 * A file system that does not answer (a container can serve its own) holds one of the four threads, and one container never more than one. Bounds:
 * BH_NAMES_TABLES tables, the least recently used goes; BH_NAMES_OF_CONTAINER of them of one container (it can make mount namespaces at will); BH_NAMES_BYTES of names, beyond which new tables are empty; BH_NAMES_WAITING to be loaded.
 * What is refused is counted, and tried again at the next look.
 */
#pragma once
#include "container/container.h"
#include "event/event.h"
#include "parse/inspect_client.h"

#define BH_NAMES_TABLES 4096u
#define BH_NAMES_OF_CONTAINER 32u
#define BH_NAMES_BYTES (32u << 20)
#define BH_NAMES_WAITING 256u
#define BH_NAMES_THREADS 4
#define BH_NAMES_CHECK_US (5 * G_USEC_PER_SEC)
#define BH_NAMES_AGAIN_US (G_USEC_PER_SEC / 10) /* when the process was gone before its root could be opened */

typedef struct {
        guint tables;
        guint busy; /* being loaded, or stuck */
        gsize bytes;
        guint64 loads, unchanged, failed, refused, evicted;
} BhNamesStats;

typedef struct BhNames BhNames;

/* `proc`: where the node's procfs is. `client` must outlive it, see bh_names_free(). */
BhNames *bh_names_new(BhInspectClient *client, const char *proc, const char *host_root);
/* FALSE: a thread is stuck in a file system that does not answer, so nothing was freed; the client must not be freed either. */
gboolean bh_names_free(BhNames *n);

/* The rest in the drain thread. */

/* Takes what was loaded. Call it now and then. */
void bh_names_poll(BhNames *n);

/*
 * An event of a process of that container (NULL: the host) comes: its table is made, loaded or looked at again where that is due. The key by which to ask for
 * it; `pid` is a process that has the namespace's root now. `first`: this may be the first event that needs the names, so a load that failed a moment ago is tried
 * again at once.
 */
guint64 bh_names_touch(BhNames *n, const BhContainer *c, guint32 mnt_ns, guint32 pid, gboolean first, gint64 now_us);

/* The first load of that table is under way. */
gboolean bh_names_pending(BhNames *n, guint64 key);

/* Sets proc.user and proc.group where there are names. They point into the table: good until the next bh_names_poll() or bh_names_touch(). */
void bh_names_set(BhNames *n, guint64 key, struct bh_event *e);

/* The names of ids in the container whose id is that (NULL: the host); NULL where there are none. Good as above. */
void bh_names_of(BhNames *n, const char *container, guint32 uid, guint32 gid, const char **user, const char **group);

/* Any thread: as of the last poll. */
void bh_names_stats(BhNames *n, BhNamesStats *out);

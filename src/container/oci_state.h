/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers that no runtime's interface tells of (plain runc and crun, podman, CRI-O), described from the state that their runtimes keep on disk, and a
 * thread that does so for each one that the table knows from its cgroup alone.
 *
 * Read, all below host_root: runc's state.json and crun's status (/run/runc, /run/crun, runc's of containerd and Docker), the bundle's config.json that they
 * name, and what containers/storage has of it (oci_storage.h). A file counts if it is a regular one of root's, not reached by a link in its last place, and within its
 * bound: what a user who is not root runs is known from its cgroup alone.
 */
#pragma once
#include "container/table.h"

#define BH_OCI_STATE_MAX (4u << 20)
#define BH_OCI_NAMES_MAX (16u << 20) /* containers.json, which has all containers */

/*
 * Describes c (id, runtime, cgroup are known; not published): level BH_CONTAINER_FULL, unattended, finished. FALSE, c as it was but for details, when no state
 * of it is found. Reads files; thread-safe.
 */
gboolean bh_oci_state_describe(const char *host_root, BhContainer *c);

typedef struct {
        guint64 described, missed; /* missed: given up, no state was found */
} BhOciWatchStats;

typedef struct BhOciWatch BhOciWatch;

/*
 * Starts the thread; NULL with *error for want of resources. What is described is given to `on_container`, in that thread, borrowed. Containers whose cgroup has Docker's or containerd's shape are
 * left to their clients for some seconds first. At most 4,096 are waited for at a time; those beyond are passed over and counted as missed. The table must outlive it.
 */
BhOciWatch *bh_oci_watch_start(BhContainerTable *table, const char *host_root, void (*on_container)(BhContainer *c, gpointer data), gpointer data, GError **error);
/* Ends the thread and waits for it; may be called twice. NULL is allowed, as for _free(). */
void bh_oci_watch_stop(BhOciWatch *w);
void bh_oci_watch_free(BhOciWatch *w);
void bh_oci_watch_stats(BhOciWatch *w, BhOciWatchStats *out);

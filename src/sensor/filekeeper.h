/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sensor's side of bulkhead-keeper (keeper_wire.h): starts it when it is needed, tells it which files are denied, and knows when it ended.
 *
 * What was told stays in force without this process; the next one that opens the same run directory finds it. One thread at a time; the caller locks. Calls wait for the keeper, at most BH_FILEKEEPER_WAIT_MS.
 */
#pragma once
#include <glib.h>
#include <jansson.h>
#include <sys/types.h>

#define BH_FILEKEEPER_WAIT_MS 15000

typedef struct BhFileKeeper BhFileKeeper;

/* Connects to a keeper that runs; starts none. */
BhFileKeeper *bh_filekeeper_open(const char *run_dir, const char *proc_path, const char *v2_mount);
/* What is denied stays denied. NULL is allowed. */
void bh_filekeeper_free(BhFileKeeper *k);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhFileKeeper, bh_filekeeper_free)

/*
 * Denies the container of this cgroup these files (BhDeny of files, response/deny.h; what is to be told by opens of it) and no others. In force when it returns. `pid`: a process of it. The result says what is not denied: {"marks","wide","open":[sentence…]},
 * new reference. NULL with *error: as before.
 */
json_t *bh_filekeeper_set(BhFileKeeper *k, const char *container, const char *cgroup, pid_t pid, const GPtrArray *rules, GError **error);
/* FALSE with *error: it may still be in force. Where nothing is denied to it, nothing is done. */
gboolean bh_filekeeper_drop(BhFileKeeper *k, const char *container, GError **error);
/* All that a keeper has, also one that did not answer when it was opened: from how many containers. Where no keeper runs there is nothing. */
guint bh_filekeeper_drop_all(BhFileKeeper *k, GError **error);
/* TRUE: the keeper ended since the last call while it held something, and nothing of it is in force now. */
gboolean bh_filekeeper_lost(BhFileKeeper *k);
/* {"restarts","containers":[…]}; new reference. NULL: no keeper runs. */
json_t *bh_filekeeper_list(BhFileKeeper *k);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths of containers, looked up part by part, so that no file system is asked that another program or machine serves: it could let the keeper wait for as long as it likes. Each part is opened as a place alone
 * (O_PATH), which fanotify does not tell of; at each mount its kind is looked at before anything in it is. For the keeper, and for the sensor, which looks at the paths of blocked programs (block.h).
 *
 * Any thread.
 */
#pragma once
#include <sys/types.h>

#include "response/files.h"

/* File systems whose opens the kernel answers from memory or this machine's disks. An overlay counts as one whatever its layers are: where they lie is told in the words of another namespace, if at all. */
gboolean bh_keeper_is_local(const char *type);

/* What the mount table of a process says, with paths as the whole of its namespace sees them. NULL: it cannot be told. */
GArray *bh_keeper_mounts(const char *proc, pid_t pid);

/*
 * `root`: the root directory of a process, as a place; `mounts`: what its mount table says. Links are followed, within the root. *mount: what it lies on. -1 with *error (G_FILE_ERROR_NOENT: there is none). Caller
 * closes.
 */
int bh_keeper_walk(int root, const GArray *mounts, const char *path, const BhFileMount **mount, GError **error);

typedef struct {
        guint most; /* parts that are looked at, those of links too; 0: no bound but the kernel's on links. Beyond it fails as too many links do */
        void (*crossed)(int link, gpointer data); /* each link that is followed, as a place. May be NULL */
        gpointer data;
        guint steps; /* out, also where it failed: parts that were looked at */
        const BhFileMount *on; /* out: what it lies on */
} BhKeeperWalk;
/* The same, for who has to know how it was led there, and for how long it may be. */
int bh_keeper_walk_by(int root, const GArray *mounts, const char *path, BhKeeperWalk *walk, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths of containers, looked up part by part, so that no file system is asked that another program or machine serves: it could let the keeper wait for as long as it likes. Each part is opened as a place alone
 * (O_PATH), which fanotify does not tell of; at each mount its kind is looked at before anything in it is.
 *
 * Any thread.
 */
#pragma once
#include "response/files.h"

/* File systems whose opens the kernel answers from memory or this machine's disks. */
gboolean bh_keeper_is_local(const char *type);

/*
 * `root`: the root directory of a process, as a place; `mounts`: what its mount table says. Links are followed, within the root. *mount: what it lies on. -1 with *error (G_FILE_ERROR_NOENT: there is none). Caller
 * closes.
 */
int bh_keeper_walk(int root, const GArray *mounts, const char *path, const BhFileMount **mount, GError **error);

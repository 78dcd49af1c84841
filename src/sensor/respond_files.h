/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Denials of files among what a container's responses refuse: handed to the keeper (filekeeper.h). Part of respond.h; the caller locks.
 */
#pragma once
#include <jansson.h>

#include "container/container.h"
#include "filekeeper.h"
#include "response/deny.h"

/*
 * Puts in force what of `denies` (BhDeny) is of files, and nothing else of files. `ways`: to it is added what goes on all the same, a sentence each. FALSE with *error: as before.
 */
gboolean bh_respond_files(BhFileKeeper *keeper, const char *container, const char *cgroup, pid_t pid, const GPtrArray *denies, json_t *ways, GError **error);

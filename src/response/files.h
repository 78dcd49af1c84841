/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an opened file is: the arithmetic of mounts and paths by which it is found to be in a denied folder (deny.h) under whatever name.
 *
 * Pure functions, any thread. The mount table comes from a process of the container, which chose its names: hostile bytes.
 */
#pragma once
#include <glib.h>

#define BH_FILE_MOUNTS_MAX 4096u /* lines of a mount table; a longer one is refused */

/* A line of /proc/PID/mountinfo. */
typedef struct {
        guint id;
        guint64 dev; /* of the file system, major << 32 | minor */
        char *root;  /* what of the file system is mounted */
        char *point; /* where, as its process sees it */
        char *type;
} BhFileMount;

/* GArray of BhFileMount, cleared with the array. NULL: it is none, or too long. `chroot`: the process's root directory as others of its mount namespace see it; put before each `point`. */
GArray *bh_file_mounts_parse(const char *text, gsize len, const char *chroot);
/* The one that was mounted last, where an id is there twice. NULL: none. */
const BhFileMount *bh_file_mounts_find(const GArray *mounts, guint id);
/* Where in its file system a path below the mount is. NULL: it is not below it. Caller frees. */
char *bh_file_inside(const BhFileMount *m, const char *path);
/* `path` is `dir` or below it. */
gboolean bh_file_below(const char *path, const char *dir);

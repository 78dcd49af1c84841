/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Denials of files: what is denied, as text and as rule; and the arithmetic of paths and mounts by which an opened file is found to be in a denied tree.
 *
 * A rule is "file:MODE:/path" for one file, "file:MODE:/path/" and two stars for a directory and all below it. MODE: "read" (also to execute), "write", "any". Paths are the container's, absolute,
 * without empty parts, "." and "..". Links on the way are followed when the rule is put in force.
 *
 * Pure functions, any thread. The mount table comes from a process of the container, which chose its names: hostile bytes.
 */
#pragma once
#include <glib.h>

#define BH_FILE_RULES_MAX 64u    /* of a container, all its responses together */
#define BH_FILE_PATH_MAX 1023u   /* bytes */
#define BH_FILE_MOUNTS_MAX 4096u /* lines of a mount table; a longer one is refused */

typedef enum { BH_FILE_READ = 1, BH_FILE_WRITE = 2, BH_FILE_ANY = 3 } BhFileMode;

typedef struct {
        char *path; /* of a tree: its directory */
        gboolean tree;
        BhFileMode mode;
} BhFileRule;

void bh_file_rule_free(BhFileRule *rule);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhFileRule, bh_file_rule_free)

/* Whether a text of a list of denials is one of a file, good or bad. */
gboolean bh_file_rule_is(const char *text);
/* NULL with *error, a sentence that names the text. */
BhFileRule *bh_file_rule_parse(const char *text, GError **error);
/* GPtrArray of BhFileRule, of those texts that are of files. NULL with *error; also beyond BH_FILE_RULES_MAX. */
GPtrArray *bh_file_rules_parse(const char *const *texts, gsize n, GError **error);

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

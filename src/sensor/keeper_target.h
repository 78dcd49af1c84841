/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the worker of bulkhead-keeper holds for a container (keeper_worker.h): the files and trees that its rules led to, and the marks by which the kernel asks about them.
 *
 * Held is never changed once the answering thread may see it, but for what is marked: the looking thread makes another. Reference-counted, any thread.
 */
#pragma once
#include <jansson.h>
#include <sys/types.h>

#include "response/deny.h"
#include "response/files.h"

#define BH_KEEPER_OPS (BH_DENY_READ | BH_DENY_WRITE) /* what opens can be told by */
#define BH_KEEPER_RULES 64u       /* files and folders of a container */
#define BH_KEEPER_HASHES 2048u    /* contents of a container */
#define BH_KEEPER_TARGETS 256u    /* of a container; beyond, those are let go that no path has led to for longest */
#define BH_KEEPER_NAMESPACES 16u  /* mount namespaces of a container in which shared file systems are marked */

typedef struct {
        int fd; /* a place: keeps the inode from being used again */
        guint64 dev, ino;
        char *path; /* of the rule */
        guint ops;  /* of BH_KEEPER_OPS */
        gboolean tree;
} BhKeeperTarget;

typedef struct {
        char *container, *cgroup, *v2, *proc;
        int group; /* duplicate of the guard's */
        guint slot;
        pid_t pid; /* a process of it, by which its root is reached */
        int pidfd, watch; /* watch: its mount table, for the looking thread */
        guint64 mount_ns;
        GPtrArray *rules;   /* BhDeny, of files and contents */
        GArray *hashes;     /* of contents, BH_DENY_HASH bytes each, sorted */
        GPtrArray *targets; /* BhKeeperTarget, reference-counted boxes */
        guint marks;
        gboolean wide; /* more than single inodes is marked */
        gboolean narrow; /* taken over from a worker that marked nothing but denied inodes: whatever is asked about is denied, also where its name is not known any more */
        /* of the looking thread alone */
        GArray *pids; /* pid_t: the container's processes, as they were at the look; NULL: not asked for */
        gboolean more_pids; /* there were more */
        /* of the answering thread alone */
        int table;
        GArray *mounts;
} BhKeeperHeld;

/* From a "set"; takes `group`. NULL with *error. */
BhKeeperHeld *bh_keeper_held_new(json_t *set, int group, const char *proc, GError **error);
gboolean bh_keeper_refuses(const BhKeeperHeld *h, const guint8 *hash);
BhKeeperHeld *bh_keeper_held_ref(BhKeeperHeld *h);
void bh_keeper_held_unref(BhKeeperHeld *h);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhKeeperHeld, bh_keeper_held_unref)

/*
 * Looks up each rule, and marks. `before`: what was held until now, whose files stay denied under the names they have now; NULL: the first time. `open`: to it is added what is not denied, a sentence each: 32, then how
 * many more (may be NULL). `strict`: FALSE with *error when a rule cannot be held at all; else that is passed over.
 */
gboolean bh_keeper_look(BhKeeperHeld *h, const BhKeeperHeld *before, gboolean strict, json_t *open, GError **error);
/* The same rules, looked up again; what is wide stays so. NULL: nothing changed. */
BhKeeperHeld *bh_keeper_look_again(BhKeeperHeld *h);

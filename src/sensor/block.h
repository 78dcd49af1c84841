/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's part of blocks that are not about the network (bpf/block.bpf.c): programs by their file, programs that are not from the image, capabilities, mounting, tracing,
 * kernel modules; per cgroup, all below it, and its pid namespace.
 *
 * How sure it is depends on the kernel, and is tried by effect (a child tries to run the program that calls this with the one argument "--version", on which main() must end at once, whether it knows it or not): BPF LSM, or programs that change what the
 * kernel's security functions return, deny with EPERM. Else tracepoints kill a process before the new program runs an instruction, and the other acts cannot be refused.
 *
 * Programs are attached when something is refused that needs them, until nothing at all is refused. What is in force stays so without this process, as in enforce.h: it is pinned below `dir`; a successor sets again what its
 * ledger knows and then calls bh_block_settle().
 *
 * A program is refused by its file: the inode at that path (walked as keeper_walk.h has it, so on no file system that others serve) when it is set, whatever its name becomes, and by its place: whatever regular file is there later. A copy is another file: EXEC_NOT_IN_IMAGE refuses those. Setting it
 * again looks at the paths again; files that were refused for the same rule stay so, up to BH_BLOCK_KEPT for each path, also when their path is gone.
 *
 * Whoever is in the container has a hand in what its paths lead to. So a list has files of the image alone, to which nothing but the image's own links leads, and, on other file systems, what is there by the very path that was listed. The root and the mount namespace through
 * which files are found are remembered from the first time on (by the kernel, and from one build to the next): where the process has others later, what was refused and listed stays as it was, and nothing new is listed. What one look may cost is bounded; paths that it did not
 * come to stay as they were, and are looked at with the next one.
 *
 * One thread at a time; the caller locks.
 */
#pragma once
#include "block_record.h"
#include "response/deny.h"

#define BH_BLOCK_KEPT 4u
#define BH_BLOCK_STEPS 65536u   /* parts of paths that a look at a container goes, but for paths that were never looked at */
#define BH_BLOCK_PATH_STEPS 256u /* of one path: a longer one is not there */
#define BH_BLOCK_LOADERS 32u /* of a rule, with those that were at their paths before; beyond, a loader that comes to one is not refused */

typedef enum { BH_BLOCK_BACKEND_NONE, BH_BLOCK_BACKEND_LSM, BH_BLOCK_BACKEND_RETURN, BH_BLOCK_BACKEND_TRACEPOINT } BhBlockBackend;

typedef struct BhBlock BhBlock;

/* Takes up what is pinned; loads nothing. Never NULL. */
BhBlock *bh_block_open(const char *dir, const char *v2_mount, const char *proc_path);
/* What is in force stays. NULL is allowed. */
void bh_block_free(BhBlock *b);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhBlock, bh_block_free)

/* Chooses the backend, loads it, attaches nothing. FALSE with *error: this kernel has none. Later calls say the same. */
gboolean bh_block_prepare(BhBlock *b, GError **error);
/* NONE until it is prepared. */
BhBlockBackend bh_block_backend(const BhBlock *b);
/* For tests: tries this one alone. Before bh_block_prepare(). */
void bh_block_want(BhBlock *b, BhBlockBackend backend);

typedef struct {
        guint32 number; /* of the response: what is counted and told for it. Not 0, of one container only */
        const GPtrArray *denies; /* BhDeny; FILE is left alone */
        gboolean fresh; /* ordered just now: a list of which nothing is there is an error. One that was in force refuses everything then, for whoever is in the container can bring that about */
} BhBlockRule;

typedef struct {
        gint init_pid;    /* through whose root paths are looked up; 0: the first of the cgroup that can be asked and does not have the host's */
        gboolean own_pids; /* nobody else is in the pid namespace of its first process */
} BhBlockSubject;

typedef struct {
        GPtrArray *open;  /* char *: what is not refused, a sentence each */
        GPtrArray *notes; /* char *: what is refused beside what was asked for */
} BhBlockDone;
void bh_block_done_clear(BhBlockDone *done);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BhBlockDone, bh_block_done_clear)

/*
 * In force when it returns, in the place of what was set for this cgroup before. `done` is filled; to be cleared by the caller. FALSE with *error: as before, but for what was
 * looked up anew.
 */
gboolean bh_block_set(BhBlock *b, const char *cgroup, const BhBlockRule *rules, guint n, const BhBlockSubject *subject, BhBlockDone *done, GError **error);
/* Takes everything away from it, also where the cgroup is gone. With the last one the programs and the mount go, too. */
void bh_block_clear(BhBlock *b, const char *cgroup);
/* What was found pinned and was not set since then goes, and what another build left: its counts go on, and its acts will be told. */
void bh_block_settle(BhBlock *b);
guint bh_block_count(const BhBlock *b);

/* Acts that were refused for this rule, and how many of them were not told for want of room. FALSE: it is not in force. */
gboolean bh_block_refused(BhBlock *b, guint32 number, guint64 *acts, guint64 *untold);
/*
 * How often the kernel left one of the programs out, whoever ran what then ("recursion misses"): kernels that preempt programs of tracepoints and of functions do so while the same one is
 * under way on that CPU, and what was left out was not judged; two would have to be for a program to run. Those of BPF LSM are never left out.
 */
guint64 bh_block_skipped(const BhBlock *b);
typedef void (*BhBlockTold)(const struct bh_block_act *act, gpointer data);
/* Tells what was refused since the last call, by whomever that was made. To be called before a rule is taken away: with the last one goes what was not told. */
void bh_block_tell(BhBlock *b, BhBlockTold told, gpointer data);

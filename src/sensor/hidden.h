/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that the kernel has and /proc does not show: not in its listing (a kernel that was tampered with leaves them out), not there when asked for by number, or there with something mounted over
 * (`mount --bind /empty /proc/123`).
 *
 * A process counts as hidden when it is in the kernel's list before and after two looks at /proc, with one start time and alive, and was missing in both looks: what begins or ends meanwhile, and an id that is
 * used again, is in one of the lists only. The comparison is a pure function over the lists; looking reads /proc. Any thread.
 */
#pragma once
#include <glib.h>

#include "task_record.h"

/* How it is hidden; several may be true. */
enum bh_hidden_how {
        BH_HIDDEN_UNLISTED = 1u << 0, /* /proc can be asked for it by number, and does not list it */
        BH_HIDDEN_ABSENT = 1u << 1,   /* /proc says that there is none */
        BH_HIDDEN_COVERED = 1u << 2,  /* something is mounted over its directory, or over a file in it */
};

typedef struct {
        struct bh_task_record task;
        guint32 how;
} BhHidden;

/* A mount on something of a process in /proc, as a mountinfo has it. Hostile texts, in which the kernel has escaped blanks and line ends. */
typedef struct {
        guint32 pid;
        char *point;  /* "/proc/123" */
        char *what;   /* "tmpfs none", "ext4 /dev/vda1 /empty": file system, its source, and which of its directories where not the root */
} BhProcMount;

/* BhProcMount *, owned by the array. `proc`: where /proc is in it. */
GPtrArray *bh_hidden_mounts(const char *mountinfo, const char *proc);

/*
 * A look: id → enum bh_hidden_how of those of `tasks` (struct bh_task_record) that the directory `proc` does not show as it should; those that are shown are not in it. `into`: the result of another look, which it is
 * added to.
 */
void bh_hidden_look(int proc, const GArray *tasks, GHashTable *into);
/* The same for mounts (BhProcMount) on processes of `tasks`. */
void bh_hidden_look_mounts(const GPtrArray *mounts, const GArray *tasks, GHashTable *into);

/* BhHidden, by the order of `before`. */
GArray *bh_hidden_compare(const GArray *before, GHashTable *first, GHashTable *second, const GArray *after);

/* "not listed in /proc", "a mount lies over /proc/123 (tmpfs none)", …. `mount`: the one that names the trick, or NULL. Caller frees. */
char *bh_hidden_text(const BhHidden *h, const BhProcMount *mount);

/* ---- looks at the node (hidden.c's own reading) */

typedef struct {
        const char *proc; /* where this process has the node's /proc */
        gboolean (*list)(GArray *out, gpointer data); /* the kernel's list; FALSE: it cannot be had now */
        gpointer data;
} BhHiddenSource;

typedef struct {
        GArray *hidden;    /* BhHidden */
        GPtrArray *mounts; /* BhProcMount *: those of the last look */
        GArray *living;    /* struct bh_task_record: the list from before */
        const char *problem; /* why nothing was compared; NULL: it was. A literal */
} BhHiddenFound;

/*
 * Looks at what this process sees as /proc and, where that is another mount, at what the node's first process sees; and at the mounts of both. A view that is no /proc of the list's process ids is left out.
 */
void bh_hidden_find(const BhHiddenSource *source, BhHiddenFound *out);
void bh_hidden_found_clear(BhHiddenFound *f);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BhHiddenFound, bh_hidden_found_clear)
/* The mount on that process, that on its directory itself first; NULL: none. */
const BhProcMount *bh_hidden_mount_of(const GPtrArray *mounts, guint32 pid);

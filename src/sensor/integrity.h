/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the node is made of, and whether it is still that: files by which something stays on a node (cron, units, keys, users, preloaded libraries, handlers of core dumps and of binary formats,
 * system programs), and modules that should be seen and are not (processes: hidden.h).
 *
 * Files are looked at by their state (inode, size, time of change, mode, owner; not the device, whose number may be another after a boot), and read only when that moved; what they were last is kept
 * in a file, so that a change while no sensor ran is found as well. The first time nothing is told. Hidden: a module that one of /proc/modules and
 * /sys/module has and the other has not, looked at twice.
 *
 * Pure but for what it reads; one thread. Bounds: BH_INTEGRITY_FILES files, more are counted.
 */
#pragma once
#include <glib.h>

#define BH_INTEGRITY_FILES 20000u
#define BH_INTEGRITY_READ_MAX (1u << 20)

typedef enum { BH_CHANGE_NEW, BH_CHANGE_CHANGED, BH_CHANGE_REMOVED } BhChangeKind;

typedef struct {
        BhChangeKind kind;
        const char *path;  /* as the node calls it */
        const char *what;  /* "cron", "unit", …: integrity.tbl.h */
        guint weight;      /* 0: a note, unless a container did it; 1: a warning; 2: critical */
        guint64 dev, ino;  /* of the file; 0: it is gone */
} BhChange;

typedef struct BhIntegrity BhIntegrity;

/* `root`: the node's; `proc`: its /proc; `state`: file that keeps what is known (NULL: none). */
BhIntegrity *bh_integrity_new(const char *root, const char *proc, const char *state);
void bh_integrity_free(BhIntegrity *g); /* NULL is allowed */
/* Looks at everything, tells what moved since the last look, and keeps the new state. `each` may be NULL. */
void bh_integrity_look(BhIntegrity *g, void (*each)(const BhChange *change, gpointer data), gpointer data);
guint bh_integrity_files(const BhIntegrity *g);
guint64 bh_integrity_refused(const BhIntegrity *g);

/* Names of modules that only one of the two views has: char *, owned by the array. */
GPtrArray *bh_integrity_modules(const char *proc_modules, const char *sys_modules);

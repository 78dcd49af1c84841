/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the process table: entries and what its source files share. */
#pragma once
#include "event/lineage.h"
#include "process/procfs.h"
#include "process/shared.h"
#include "process/table.h"

#define BH_TABLE_ARGS_MAX 4096 /* bytes of arguments kept for a process */
#define BH_TABLE_ENV_MAX 1024 /* bytes of environment kept for a process */
#define BH_START_SLACK_NS 20000000u /* two ticks of /proc */

enum bh_queue { BH_QUEUE_LIVE, BH_QUEUE_DEAD, BH_QUEUE_HELD, BH_QUEUES };

struct bh_process {
        guint64 start, exited, cgroup, origin;
        guint64 exe_ino, exe_ctime;
        guint32 pid, vpid, ppid, exe_dev;
        guint32 flags; /* BH_RF_EXE_*, BH_RF_ARGS_CUT */
        guint8 queue;
        guint8 exact : 1;     /* start is the kernel's */
        guint8 announced : 1; /* there is or will be a fork, exec or process event of it */
        guint8 stub : 1;      /* nothing is known but that it was there */
        guint8 recalled : 1;  /* as another sensor recorded it; nobody has seen it since */
        guint8 relinked : 1;  /* the parent's entry has gone: `parent` is a remoter ancestor */
        guint32 scan;         /* the last scan that saw it */
        char comm[16];
        struct bh_shared *exe, *args, *cred; /* cred: struct bh_cred */
        /* as of the last exec, or what was inherited since; for readers of lineage */
        guint32 known; /* BH_LP_SESSION, BH_LP_LOGIN, BH_LP_EXE */
        guint32 sid, pgid, tty, loginuid, exe_mode, exe_uid;
        guint64 exe_mtime;
        struct bh_shared *env, *cwd;
        struct bh_shared *gone_exe, *gone_comm; /* of the parent, where relinked */
        struct bh_process *parent, *first_child, *next_sibling, *prev_sibling;
        struct bh_process *older;               /* earlier process with this pid */
        struct bh_process *q_next, *q_prev;
};

struct bh_queue_head {
        struct bh_process *first, *last;
        guint n;
};

struct BhProcessTable {
        struct bh_process_config config;
        gboolean replay; /* fed recorded events: starts are ns since the epoch */
        GHashTable *by_pid; /* pid -> youngest entry */
        BhSharedSet shared;
        struct bh_queue_head queues[BH_QUEUES]; /* live: least recently heard of first; dead and held: oldest exit first */
        int proc;
        char *cgroup_root, *cgroup_controller;
        guint32 scans;
        GString *scratch; /* list of ancestors of the last event */
        struct bh_process_stats stats;
};

struct bh_process *bh_table_find(BhProcessTable *t, guint32 pid, guint64 start, gboolean exact);
/* A new entry; the pid's present process, if another, is over. */
struct bh_process *bh_table_insert(BhProcessTable *t, guint32 pid, guint64 start, gboolean exact);
void bh_table_remove(BhProcessTable *t, struct bh_process *p);
void bh_table_exit(BhProcessTable *t, struct bh_process *p, guint64 when);
void bh_table_link(struct bh_process *p, struct bh_process *parent);
void bh_table_touch(BhProcessTable *t, struct bh_process *p);
/* The process that had this pid when `child` began; NULL if not known. */
struct bh_process *bh_table_parent_of(BhProcessTable *t, const struct bh_process *child, guint32 ppid);
void bh_table_set(BhProcessTable *t, struct bh_shared **member, const void *data, gsize len);
void bh_table_set_args(BhProcessTable *t, struct bh_process *p, const void *args, gsize len, gboolean cut);
void bh_table_set_cgroup(BhProcessTable *t, struct bh_process *p, guint64 cgroup, const char *path);
/* Session, login, executable's mode, environment and working directory: what the event tells of them. */
void bh_table_set_more(BhProcessTable *t, struct bh_process *p, const struct bh_event *e);
void bh_table_set_comm(struct bh_process *p, const struct bh_str *comm);
/* Arguments, environment, directory and name are as if nobody had told them, and where it is another than `exe` now, so is the executable. */
void bh_table_forget_program(BhProcessTable *t, struct bh_process *p, const char *exe, gsize len);
/* What is missing in the entry, from /proc. */
void bh_table_fill(BhProcessTable *t, struct bh_process *p, const BhProcfs *info, guint64 cgroup);
guint64 bh_table_now(void);

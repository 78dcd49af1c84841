/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an event does not carry and a reader of it may ask for: the acting process as it is known beyond this event, and its ancestors.
 *
 * Who holds processes (src/process live and in a replay, a test with a table of its own) fills in the functions. Answers point into what that
 * holder owns and are good until the event that is looked at has been dealt with. One thread.
 */
#pragma once
#include "event/event.h"

/* What is known of a process. Texts may be empty, p NULL; numbers that are not known are what `has` does not say. */
struct bh_lineage_process {
        guint32 pid, vpid, ppid;
        guint64 start; /* as events tell it, ns since the epoch */
        struct bh_str comm, exe, args, cwd, env; /* args and env: NUL-terminated texts one after the other */
        struct bh_str container_id;
        guint32 uid, gid, sid, pgid, tty, loginuid;
        guint32 exe_mode, exe_uid, exe_dev;
        guint64 exe_ino, exe_ctime, exe_mtime; /* exe_mtime 0: not known */
        guint64 cap_effective, cap_permitted, cap_inheritable;
        guint32 flags; /* BH_LP_… */
        guint64 cgroup;
        gconstpointer ref; /* the holder's own: lets parent() go on without looking up */
};

enum {
        BH_LP_CRED = 1u << 0,      /* uid, gid, cap_* are known */
        BH_LP_SESSION = 1u << 1,   /* sid, pgid, tty */
        BH_LP_LOGIN = 1u << 2,     /* loginuid */
        BH_LP_EXE = 1u << 3,       /* exe_mode, exe_uid, exe_dev, exe_ino, exe_ctime, exe_mtime, and the three below */
        BH_LP_EXE_UPPER = 1u << 4, /* executable is in the upper layer of an overlay */
        BH_LP_EXE_LOWER = 1u << 5, /* executable is in a lower layer of an overlay */
        BH_LP_EXE_MEMFD = 1u << 6, /* executable is an anonymous memory file */
        BH_LP_EXE_WRITABLE = 1u << 7, /* the process may write to its executable */
        BH_LP_EXITED = 1u << 8,
};

/*
 * What is known of a container beyond what each event of it carries. Texts may be empty (not known). Lists are NUL-terminated texts one after the other.
 */
struct bh_lineage_container {
        struct bh_str id, name, image, image_id, image_digest, runtime;
        struct bh_str workload, application;
        struct bh_str ip;
        struct bh_str healthcheck, liveness, readiness; /* commands; empty: not known, "NONE": there is none */
        struct bh_str labels; /* pairs: key, value, key, value, … */
        struct bh_str mounts; /* fives: source, destination, mode, "true" or "false" (writable), propagation, … */
        guint64 started;      /* ns since the epoch, 0: not known */
        gint8 privileged, host_pid, host_network, host_ipc; /* 1, 0; -1: not known */
};

struct bh_lineage {
        /* The process with that pid that was created then (start 0: the pid's present or last one). FALSE: not known. */
        gboolean (*find)(gpointer data, guint32 pid, guint64 start, struct bh_lineage_process *out);
        /* The one that created it, whatever became of its ppid later. FALSE: not known, or there is none. */
        gboolean (*parent)(gpointer data, const struct bh_lineage_process *of, struct bh_lineage_process *out);
        /* The container with that id. FALSE: not known. NULL: nobody knows; events tell what they carry. */
        gboolean (*container)(gpointer data, struct bh_str id, struct bh_lineage_container *out);
        /* Name of the domain that a DNS answer on this node gave the address last. FALSE: not known. NULL: nobody knows. */
        gboolean (*domain)(gpointer data, const struct bh_ip *ip, struct bh_str *name);
        /* Name of a user (group FALSE) or group on the node, or in the acting process's container. FALSE: not known. NULL: nobody knows. */
        gboolean (*user)(gpointer data, const struct bh_event *e, guint32 id, gboolean group, struct bh_str *name);
        gpointer data;
};

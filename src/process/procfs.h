/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process as /proc tells it. Everything is read below one open /proc/PID, which stays with that very process: a reuse of the
 * pid during the reading gives an error, never a mixture. Executable and arguments are read again if an exec came in between.
 */
#pragma once
#include "event/record_decode.h"

typedef struct {
        guint32 pid, ppid, pgid, sid, tty, vpid, loginuid;
        guint64 start; /* CLOCK_BOOTTIME ns, in ticks */
        gboolean kthread;
        char comm[16];
        char *exe, *args, *env, *cwd; /* NULL: none, or not to be read */
        gsize exe_len, args_len, env_len, cwd_len;
        char *cgroup;  /* path in the chosen hierarchy; NULL: not known */
        guint32 flags; /* BH_RF_EXE_*, BH_RF_ARGS_CUT, BH_RF_ENV_CUT */
        guint32 exe_dev, exe_mode, exe_uid;
        guint64 exe_ino, exe_ctime, exe_mtime;
        gboolean has_cred;
        struct bh_cred cred;
        guint32 mnt_ns, pid_ns, net_ns, user_ns, ipc_ns, uts_ns, cgroup_ns; /* 0: not known */
} BhProcfs;

void bh_procfs_clear(BhProcfs *p);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BhProcfs, bh_procfs_clear)

/* What stat says alone: pid, ppid, pgid, sid, tty, start, kthread. Nothing to clear. */
gboolean bh_procfs_read_stat(int proc, guint32 pid, BhProcfs *out, GError **error);

/* All of it. `controller` as in struct bh_process_config. On failure *out needs no clearing. */
gboolean bh_procfs_read(int proc, guint32 pid, const char *controller, BhProcfs *out, GError **error);

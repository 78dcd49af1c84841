/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the kernel programs write and the sensor reads: ring buffer records and shared map values.
 *
 * A record is one struct bh_rec followed by chunks up to `size`. A chunk is struct bh_chunk and `len` bytes, unaligned.
 * Strings carry no NUL; lists (ARGV, ENVP) are the strings each with its NUL. Numbers are native-endian.
 * Every record is self-contained: what it needs of the acting process stands in the header.
 * Meaning of a[] per kind: event_args.tbl.h.
 */
#ifndef BH_RECORD_H
#define BH_RECORD_H

#ifndef __VMLINUX_H__
#ifdef __bpf__
#include "kernel_types.h"
#else
#include <linux/types.h>
#endif
#endif

enum bh_event_type {
#define BH_EVENT_TYPE(num, id, name, ring, folds, doc) BH_EV_##id = num,
#include "event_types.tbl.h"
        BH_EV_KERNEL_MAX = 128,
        BH_EV_MAX = 131,
};

enum bh_lost_reason {
#define BH_LOST_REASON(num, id, name, doc) BH_LOST_##id = num,
#include "reasons.tbl.h"
        BH_LOST_MAX = 4,
};

enum bh_record_flag {
#define BH_RECORD_FLAG(bit, id, name, doc) BH_RF_##id = 1u << bit,
#include "reasons.tbl.h"
};

enum bh_ring {
        BH_RING_LIFE = 0,
        BH_RING_KEY = 1,
        BH_RING_BULK = 2,
        BH_RING_MAX = 3,
};

/* Chunk tags. Permanent numbers. */
enum bh_tag {
        BH_TAG_PATH = 1,     /* resolved path of the object; for unix sockets the socket's path ('@' first: abstract) */
        BH_TAG_PATH2 = 2,    /* second path: new name, link name, symlink target, mount source, put_old */
        BH_TAG_NAME = 3,     /* the caller's own text: path as given, new comm, module name or parameters, memfd name, xattr name, fs type */
        BH_TAG_ARGV = 4,
        BH_TAG_ENVP = 5,
        BH_TAG_EXE = 6,      /* resolved path of the executable */
        BH_TAG_CWD = 7,
        BH_TAG_ADDR = 8,     /* struct bh_addr */
        BH_TAG_CRED = 9,     /* struct bh_cred: credentials after the act */
        BH_TAG_EXEC = 10,    /* struct bh_exec_info */
        BH_TAG_PAYLOAD = 11, /* first bytes of a datagram */
        BH_TAG_COMM = 12,    /* comm of the other process (ptrace, signal, …) */
        BH_TAG_SCRIPT = 13,  /* exec: file name the caller asked for (bprm->filename); for scripts the script */
        BH_TAG_CRED_OLD = 14, /* struct bh_cred before the act, where the backend knows it */
        BH_TAG_CWD2 = 15,    /* BH_RF_PATH_USER: directory that a relative PATH2 starts from (CWD is the first path's) */
};

#define BH_ARGS_MAX 12

struct bh_rec {
        __u32 size;     /* bytes, header and chunks */
        __u16 type;     /* enum bh_event_type */
        __u16 cpu;
        __u64 ts;       /* CLOCK_BOOTTIME, ns */
        __u64 cgroup;   /* id of the acting task's cgroup in the hierarchy that the sensor chose */
        __u64 origin;   /* id of the container cgroup that the process, or an ancestor, was in first; 0: none */
        __u64 start;    /* start time of the acting process (thread group leader), CLOCK_BOOTTIME ns */
        __u64 fold_key; /* same process, object by the same name, outcome; 0: not folded */
        __u32 tgid;     /* process id, initial pid namespace */
        __u32 tid;
        __u32 ppid;     /* process id of the real parent */
        __u32 uid;      /* effective user and group id, initial user namespace */
        __u32 gid;
        __u32 count;    /* acts that this record stands for */
        __u32 flags;    /* enum bh_record_flag */
        __u32 mnt_ns;   /* inode number of the mount namespace */
        __s64 ret;      /* result: >= 0, or -errno; 0 where the kind has none */
        __u64 a[BH_ARGS_MAX];
        char comm[16];
};
_Static_assert(sizeof(struct bh_rec) == 200, "struct bh_rec is shared with the kernel side and stands in recordings");

struct bh_chunk {
        __u16 tag;
        __u16 len;
};

struct bh_addr {
        __u16 family; /* AF_* */
        __u16 type;   /* SOCK_* */
        __u16 proto;  /* IPPROTO_*; packet sockets: ethertype */
        __u16 lport;  /* host order */
        __u16 rport;
        __u16 pad;
        __u32 ifindex; /* packet sockets, link-local scope; else 0 */
        __u8 laddr[16]; /* IPv4 in the first four bytes; zero: not bound */
        __u8 raddr[16];
};
_Static_assert(sizeof(struct bh_addr) == 48, "shared layout");

struct bh_cred {
        __u32 uid, gid, suid, sgid, euid, egid, fsuid, fsgid;
        __u64 cap_inheritable, cap_permitted, cap_effective, cap_bounding, cap_ambient;
        __u32 user_ns; /* inode number */
        __u32 securebits;
};
_Static_assert(sizeof(struct bh_cred) == 80, "shared layout");

struct bh_exec_info {
        __u64 ino;
        __u64 ctime; /* ns since the epoch */
        __u32 dev;   /* kernel encoding: major << 20 | minor */
        __u32 mode;  /* st_mode */
        __u32 owner_uid, owner_gid;
        __u32 pid_ns, net_ns, user_ns, ipc_ns, uts_ns, cgroup_ns; /* inode numbers */
        __u32 vpid;  /* process id inside its own pid namespace */
        __u32 sid, pgid; /* session and process group, initial pid namespace */
        __u32 tty;   /* device number, 0: none */
        __u32 loginuid;
        __u32 argc;
        __u32 arg_len, env_len; /* full lengths in bytes, before truncation */
        __u64 interp_ino; /* script: inode of the script file; else 0 */
};
_Static_assert(sizeof(struct bh_exec_info) == 96, "shared layout");

/* What identifies the acting process of an event: enough for filters, folding and budgets. */
struct bh_who {
        __u64 cgroup, origin, start;
        __u32 tgid, tid;
};
/* The same and the rest that a record says of it, for acts that are told later, when another process may be current. */
struct bh_actor {
        struct bh_who id;
        __u32 ppid, uid, gid, mnt_ns;
        char comm[16];
};

/* acct map: one per cgroup and kind, per CPU. generated == delivered + folded + sum(lost). */
struct bh_acct_key {
        __u64 cgroup;
        __u32 type;
        __u32 pad;
};
struct bh_acct {
        __u64 generated;
        __u64 delivered;
        __u64 folded;     /* repeats, and acts over budget */
        __u64 over;       /* of what is folded: acts that no record stands for because the cgroup was over budget */
        __u64 over_bytes; /* their bytes, for kinds that carry bytes */
        __u64 lost[BH_LOST_MAX];
};
#define BH_ACCT_ENDED (~0ull) /* as cgroup: sum over cgroups that are gone; the sensor's */

/* told map: what of an acct entry is in the recorder as events already. The sensor's, pinned so that the next sensor does not repeat it. */
struct bh_told {
        __u64 over, over_bytes;
        __u64 lost[BH_LOST_MAX];
};

/* spent map: key like acct, type a kind or BH_SPENT_RING + ring. */
struct bh_spent {
        __u64 window; /* start of the budget's second, CLOCK_BOOTTIME ns */
        __u64 used;   /* records in it */
};
#define BH_SPENT_RING 0x100

/* cgroups map: key cgroup id. Written by the cgroup hooks and by the sensor; read by every hook. */
struct bh_cgroup {
        __u64 container; /* id of the container's own cgroup (this one or an ancestor); 0: not in a container */
};

/*
 * folds map: key fold_key, which has the CPU in it, so that an entry is changed by one CPU at a time and counts are exact. An entry that was quiet
 * for one and a half windows is closed: the kernel leaves it alone, and after two windows the sensor reports what is left in `count` and deletes it.
 */
struct bh_fold {
        __u64 first;  /* when the window began */
        __u64 last;
        __u64 bytes;  /* sum over the repeats, for kinds that carry bytes */
        __u64 cgroup;
        __u64 start;
        __u32 count;  /* repeats not reported yet */
        __u32 tgid;
        __u16 type;
        __u16 pad;
        __u32 taking; /* by a program that is about to report them: see bh_claim() */
};

/* procs map: key tgid. An entry whose start is not the process's own is of an earlier process with that id. */
struct bh_proc {
        __u64 start;
        __u64 origin;
};

/* watch map: one entry. By number of a system call: whether its exit is looked at, for the native interface and, BH_WATCH_COMPAT bits up, the 32-bit one. */
#define BH_WATCH_CALL 1u
#define BH_WATCH_BULK 2u /* for BULK kinds alone */
#define BH_WATCH_SUBJECT(of) ((of) >> 2 & 3) /* enum bh_subject: what its first argument, a descriptor, must lead to for there to be an event */
#define BH_WATCH_COMPAT 4
enum bh_subject {
        BH_SUBJECT_ANY,
        BH_SUBJECT_FILE,      /* a regular file */
        BH_SUBJECT_DATAGRAMS, /* no stream socket, and the call succeeded */
        BH_SUBJECT_KNOWN,     /* led to a file that may have been written to */
};
struct bh_watch {
        __u8 of[512];
};

/* config map: one entry, written by the sensor, readable at any time. */
struct bh_config {
        __u32 self_tgid;   /* the sensor: its own acts are not events */
        __u32 canary_tgid; /* the canary: its acts are counted in canary_hits and are not events */
        __u32 host_bulk;   /* 1: BULK kinds of processes outside containers are events too */
        __u8 unix_by;      /* enum bh_unix_by: whose programs count what Unix sockets move */
        __u8 unix_wanted;  /* 0: nobody wants it */
        __u8 unix_turn;    /* part of the key of what is counted from now on */
        __u8 pad;
        __u64 fold_window; /* ns; 0: no folding */
        __u64 budget[BH_RING_MAX]; /* records per second and cgroup that kinds of a ring share once they have used their reserve; 0: no limit */
        __u64 off[2];      /* bit set of kinds (event type number) that nobody needs */
        __u64 build_id;    /* of the programs that are attached: an adopting sensor compares */
        __u64 heartbeat;   /* CLOCK_BOOTTIME ns, written by the sensor */
};

/* Of each kind so much of the budget is a reserve of its own, so that a flood of one kind does not hide another. */
#define BH_RESERVE(budget) ((budget) / 16 + 1)

#define BH_ARGV_MAX 32768 /* bytes of arguments kept */
#define BH_ENVP_MAX 12288 /* bytes of environment kept */
#define BH_PATH_MAX 4096
#define BH_PAYLOAD_MAX 1232 /* DNS payload bytes kept: the recommended EDNS limit */

#endif

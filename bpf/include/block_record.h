/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What block.bpf.c and src/sensor/block.c share. Numbers are native-endian.
 *
 * A *subject* is a cgroup, to which something is refused: itself and all below it, and the processes of its pid namespace, which cannot be left. A *rule* is the number
 * of the response that refuses, by which acts are counted and told.
 */
#ifndef BH_BLOCK_RECORD_H
#define BH_BLOCK_RECORD_H

#include <linux/types.h>

#define BH_BLOCK_SUBJECTS 256
#define BH_BLOCK_FILES 16384  /* of all subjects together */
#define BH_BLOCK_RULES 1024
#define BH_BLOCK_LEVELS 16    /* so far above a process's cgroup its subject is looked for */
#define BH_BLOCK_RING (256 << 10)
#define BH_BLOCK_NAME 64

/* What is refused; bh_block_act.kind. */
#define BH_BLOCK_EXEC 1
#define BH_BLOCK_NOT_IN_IMAGE 2
#define BH_BLOCK_CAP 3
#define BH_BLOCK_MOUNT 4
#define BH_BLOCK_PTRACE 5
#define BH_BLOCK_MODULE 6
#define BH_BLOCK_NOT_LISTED 7 /* a program that is not on a list of those that alone may run; in no bh_block_subject.rules: see there */
#define BH_BLOCK_KINDS 8
#define BH_BLOCK_LISTS 8 /* such lists of a subject, one of a rule each */

/* How sure. */
#define BH_BLOCK_DENIED 1 /* it failed with EPERM */
#define BH_BLOCK_KILLED 2 /* the process died before the program's first instruction */
#define BH_BLOCK_OBSERVED 3 /* it was let through: the list is only tried */

/* files map. `name` 0: the file of this number; else whatever has this (hashed) name in the folder of this number. */
struct bh_block_key {
        __u64 cgroup; /* the subject's */
        __u64 ino;
        __u64 name;
        __u32 dev;
        __u32 pad;
};
_Static_assert(sizeof(struct bh_block_key) == 32, "shared layout");

struct bh_block_file {
        __u32 rule; /* 0: by none, it is only on lists */
        __u32 generation; /* of the inode: numbers are used again; 0: any, as for files of a lower layer, whose number is not */
        __u32 loader;     /* not 0: it may be loaded by the kernel for another program, but not be run itself */
        __u8 listed;      /* bit by list: it may run */
        __u8 image;       /* listed as a file of the image: not any more once it was changed */
        __u16 pad;
};

struct bh_block_subject {
        __u64 caps;                   /* bit by number */
        __u32 rules[BH_BLOCK_KINDS];  /* by kind; 0: not refused. EXEC: any of its files is in the map */
        __u32 root_dev;               /* of the overlay that is the container's root */
        __u32 host_mnt_ns, own_mnt_ns; /* the first process's, and the sensor's: programs of runtimes run there, in the container's cgroup */
        __u32 lists, observed;        /* bit by list: there is such a one; what is not on it is only told */
        __u32 list_rules[BH_BLOCK_LISTS];
        __u32 seq;                    /* another with each change */
};
_Static_assert(sizeof(struct bh_block_subject) == 96, "shared layout");

/* namespaces map, by the number of a pid namespace: numbers are used again, so the start of its first process is compared. */
struct bh_block_ns {
        __u64 cgroup;
        __u64 ticks; /* since boot, of 10 ms */
};

/* roots map, by subject: through which root its files were found the first time. A build that takes over reads another's: for good as it is. */
struct bh_block_root {
        __u64 ino;
        __u32 dev, mnt_ns; /* mnt_ns: number of the mount namespace */
        __u32 overlay, pad; /* overlay: it is one */
};
_Static_assert(sizeof(struct bh_block_root) == 24, "shared layout");

struct bh_block_config {
        __u32 subjects;   /* how many there are */
        __u32 namespaces; /* how many are in the map */
        __u32 canary;     /* process that may run nothing */
        __u32 pad;
};

/* counts map, by rule. A build that takes over from another adds up both: for good as it is. */
struct bh_block_count {
        __u64 acts;
        __u64 untold; /* of them, those for which the ring had no room */
};

/* asked map: what a file of the asking process is to the kernel. */
struct bh_block_asked {
        __u64 ino;
        __u32 dev, generation;
        __u32 overlay; /* it is on an overlay, */
        __u32 lower;   /* and as a lower layer has it */
        __u32 found, pad;
};

/* Told to the sensor; also to one of a later build, which passes over those of another size. */
struct bh_block_act {
        __u64 time; /* since boot, ns */
        __u64 cgroup, ino;
        __u32 dev, rule;
        __u32 kind, how;
        __u32 tgid, uid;
        __u32 cap, pad;
        char comm[16]; /* of who did it */
        char name[BH_BLOCK_NAME]; /* the file's last component, cut */
};
_Static_assert(sizeof(struct bh_block_act) == 136, "shared layout");

/* Of the first 63 bytes of a name, zeros behind it, as eight words; and of its whole length. Never 0. */
static inline __attribute__((always_inline)) __u64 bh_block_hash(const __u64 *words, __u32 length) {
        __u64 h = 0x9e3779b97f4a7c15ull ^ length;

#pragma GCC unroll 8
        for (int i = 0; i < BH_BLOCK_NAME / 8; i++) {
                h = (h ^ words[i]) * 0xff51afd7ed558ccdull;
                h ^= h >> 32;
        }
        return h | 1;
}

#endif

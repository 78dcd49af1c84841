/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fallback: what the dispatcher can see of a call's first argument, a descriptor, before it goes to the call's handler. Most writes of most machines go to
 * sockets and pipes, most sends and receives are streams', most closed descriptors were never written to: such calls end in the dispatcher, for a few loads
 * more than an unwatched call. What is looked at here is looked at again, or not needed, in the handler: these only say "certainly nothing".
 */
#ifndef BH_SUBJECT_BPF_H
#define BH_SUBJECT_BPF_H

#include "core.bpf.h"

#define BH_SUBJECT_IFMT 0170000
#define BH_SUBJECT_IFREG 0100000
#define BH_SUBJECT_IFSOCK 0140000
#define BH_SUBJECT_STREAM 1 /* SOCK_STREAM */

/*
 * Descriptors of `written_fds`, counted at a place that process and number give: where it is 0, none with that place is known. Counted up before an entry is
 * made and down after it is gone, so never too low; an entry that the sensor takes out for a dead process stays counted, which costs a look-up now and then.
 */
#define BH_KNOWN_PLACES 8192
struct bh_known_some {
        __u32 n[BH_KNOWN_PLACES];
};
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct bh_known_some);
        BH_PINNED;
} written_some SEC(".maps");

static __always_inline __u32 *bh_known_place(__u32 tgid, __u32 fd) {
        __u32 zero = 0;
        struct bh_known_some *some = bpf_map_lookup_elem(&written_some, &zero);
        __u64 i = tgid * 0x9e3779b1u + fd;

        if (!some)
                return NULL;
        asm volatile("" : "+r"(i));
        return &some->n[i & (BH_KNOWN_PLACES - 1)];
}

/* Whether the current process's descriptor can be one that is known: see written.bpf.h. */
static __always_inline bool bh_maybe_known(__u32 fd) {
        __u32 *n = bh_known_place((__u32) (bpf_get_current_pid_tgid() >> 32), fd);

        return !n || *(volatile __u32 *) n;
}

/*
 * Whether a call with this subject (BH_WATCH_SUBJECT of the watch map) and result certainly makes no event. `fd`: its first argument. A descriptor that leads
 * nowhere was closed meanwhile: who moved data through it must say that it is lost.
 */
static __always_inline bool bh_subject_is_nothing(struct task_struct *task, __u32 subject, __s32 fd, __s64 ret) {
        struct inode *inode;
        struct file *file;
        __u16 mode;

        if (subject == BH_SUBJECT_KNOWN)
                return !bh_maybe_known((__u32) fd);
        if (subject == BH_SUBJECT_DATAGRAMS && ret < 0)
                return true;
        file = bh_task_file(task, fd);
        inode = BPF_CORE_READ(file, f_inode);
        mode = BPF_CORE_READ(inode, i_mode) & BH_SUBJECT_IFMT;
        if (subject == BH_SUBJECT_FILE)
                return mode != BH_SUBJECT_IFREG;
        if (mode != BH_SUBJECT_IFSOCK)
                return false;

        struct socket *socket = (struct socket *) BPF_CORE_READ(file, private_data);
        return BPF_CORE_READ(socket, type) == BH_SUBJECT_STREAM;
}

#endif

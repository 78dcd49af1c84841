// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Stops a program that a container runs from memory, from a deleted file or from one that was written shortly before, ahead of its first instruction: until the sensor has copied it, some 100 µs.
 * One that ends at once is gone before the sensor hears of it otherwise.
 *
 * SIGSTOP from the exec tracepoint is pending when the new program would return to user space, and acted on there. The sensor continues it, or its guard, or whoever finds the pinned map
 * (src/sensor/pause.h). The link of this program is not pinned: it ends with the sensor.
 *
 * Not stopped: what was written and has a terminal: an interactive shell takes a stop for its own (job control). A written file stays behind its process more often than not; what runs from memory
 * does not.
 */
#include "exe.bpf.h"
#include "pause_record.h"

#define SIGSTOP 19
#define NFS_SUPER_MAGIC 0x6969
#define FUSE_SUPER_MAGIC 0x65735546
#define CIFS_SUPER_MAGIC 0xff534d42
#define SMB2_SUPER_MAGIC 0xfe534d42
#define V9FS_MAGIC 0x01021997
#define CEPH_SUPER_MAGIC 0x00c36400
#define SECOND 1000000000ull

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, BH_PAUSE_SLOTS);
        __uint(map_flags, BPF_F_MMAPABLE);
        __type(key, __u32);
        __type(value, struct bh_paused);
} paused SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __uint(map_flags, BPF_F_MMAPABLE);
        __type(key, __u32);
        __type(value, struct bh_pause_wish);
} pause_wish SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_RINGBUF);
        __uint(max_entries, 16384);
} pause_ring SEC(".maps");

struct known_file {
        __u64 ino, ctime;
        __u32 dev, pad;
};
struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, BH_PAUSE_KNOWN);
        __type(key, struct known_file);
        __type(value, __u8);
} pause_known SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, BH_PAUSE_OWNERS);
        __type(key, __u64); /* container's cgroup; 0: the node */
        __type(value, struct bh_spent);
} pause_spent SEC(".maps");

/* The count may be a little off where CPUs meet: a rate needs no more. */
static __noinline int may_spend(__u64 owner, __u64 limit, __u64 now) {
        struct bh_spent first = { .window = now }, *s = bpf_map_lookup_elem(&pause_spent, &owner);

        if (!s) {
                bpf_map_update_elem(&pause_spent, &owner, &first, BPF_NOEXIST);
                s = bpf_map_lookup_elem(&pause_spent, &owner);
        }
        if (!s)
                return 0;
        if (now >= s->window + SECOND) {
                s->window = now;
                s->used = 0;
        }
        if (s->used >= limit)
                return 0;
        s->used++;
        return 1;
}

static __always_inline struct bh_paused *claim(__u32 tgid, __u32 *slot) {
        for (__u32 i = 0; i < 4; i++) {
                __u32 at = (tgid + i * 17) & (BH_PAUSE_SLOTS - 1);
                struct bh_paused *p = bpf_map_lookup_elem(&paused, &at);

                if (p && bh_claim(&p->taken)) {
                        *slot = at;
                        return p;
                }
        }
        return NULL;
}

/* A server, or another user's program, stands behind it and could make the copying wait. */
static __always_inline bool may_wait(struct inode *inode) {
        __u32 magic = (__u32) BPF_CORE_READ(inode, i_sb, s_magic);

        return magic == FUSE_SUPER_MAGIC || magic == NFS_SUPER_MAGIC || magic == CIFS_SUPER_MAGIC || magic == SMB2_SUPER_MAGIC || magic == V9FS_MAGIC || magic == CEPH_SUPER_MAGIC;
}

/* What it is that makes it worth a stop; 0: nothing. */
static __always_inline __u32 kind_of(struct task_struct *task, struct inode *inode, struct dentry *dentry, const struct bh_pause_wish *w, __u64 now, __u64 ctime) {
        if (bh_exe_memfd(inode, dentry))
                return BH_PAUSE_MEMFD;
        if (bh_exe_deleted(inode, dentry))
                return BH_PAUSE_DELETED;
        if (ctime + w->window < now + w->offset || bh_exe_layer(inode) == BH_RF_EXE_LOWER || BPF_CORE_READ(task, signal, tty))
                return 0;
        return BH_PAUSE_WRITTEN;
}

SEC("tp_btf/sched_process_exec")
int tp_pause(__u64 *ctx) {
        struct task_struct *task = (struct task_struct *) ctx[0];
        __u32 zero = 0, slot = 0, kind;
        struct bh_pause_wish *w = bpf_map_lookup_elem(&pause_wish, &zero);
        struct bh_who who = {};
        __u64 owner, now;

        if (!w || !w->on)
                return 0;
        bh_who_is(&who, task);
        owner = who.origin ? who.origin : bh_container_of(who.cgroup);
        if (!owner)
                return 0;

        struct file *exe = BPF_CORE_READ(task, mm, exe_file);
        struct inode *inode = BPF_CORE_READ(exe, f_inode);
        struct known_file file = { .ino = BPF_CORE_READ(inode, i_ino), .ctime = bh_ctime(inode), .dev = BPF_CORE_READ(inode, i_sb, s_dev) };
        now = bpf_ktime_get_boot_ns();
        kind = kind_of(task, inode, BPF_CORE_READ(exe, f_path.dentry), w, now, file.ctime);
        if (!kind || may_wait(inode))
                return 0;
        /* a number is given again, and a change time tells no two within a tick of the kernel apart: what was written just now may be another file than the one before */
        if (kind == BH_PAUSE_WRITTEN && now + w->offset > file.ctime + SECOND && bpf_map_lookup_elem(&pause_known, &file))
                return 0;
        if (now < w->quiet_until || now > w->alive + BH_PAUSE_STALE_NS) {
                BH_ADD(w->behind, 1);
                return 0;
        }
        if (!may_spend(owner, w->per_container, now) || !may_spend(0, w->per_node, now)) {
                BH_ADD(w->over_rate, 1);
                return 0;
        }

        struct bh_pause_record *r = bpf_ringbuf_reserve(&pause_ring, sizeof(*r), 0);
        struct bh_paused *p = r ? claim(who.tgid, &slot) : NULL;
        if (!r || !p) {
                BH_ADD(w->no_room, 1);
                if (r)
                        bpf_ringbuf_discard(r, 0);
                return 0;
        }
        r->slot = slot;
        r->tgid = who.tgid;
        r->start = who.start;
        r->since = now;
        r->ino = file.ino;
        r->dev = file.dev;
        r->kind = kind;
        p->tgid = who.tgid;
        p->start = who.start;
        *(volatile __u64 *) &p->since = now;
        if (bpf_send_signal(SIGSTOP)) {
                *(volatile __u64 *) &p->since = 0;
                bh_unclaim(&p->taken);
                BH_ADD(w->refused, 1);
                bpf_ringbuf_discard(r, 0);
                return 0;
        }
        BH_ADD(w->stopped, 1);
        if (kind == BH_PAUSE_WRITTEN) {
                __u8 one = 1;

                bpf_map_update_elem(&pause_known, &file, &one, BPF_ANY);
        }
        bpf_ringbuf_submit(r, BPF_RB_FORCE_WAKEUP);
        return 0;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bytes written to regular files, per open file, told once when it is closed (CLOSE_WRITE); writes into other processes (MEM_WRITE).
 *
 * `written` has an entry for each open regular file that a process whose acts are events has written to; the event is the first writer's.
 * Preferred: the entry goes, and the event comes, when the kernel lets go of the open file.
 * Fallback: that moment cannot be seen, only closings of descriptors. `written_fds` says which descriptors are known to lead to a file
 * (it was opened, written or duplicated there) and the event comes when the last of them is closed, replaced, or its process ends. A file
 * that lives on in a descriptor inherited or received and never written through is then told of again when that writes.
 *
 * Counted: write, writev, pwrite and kin, sendfile, splice, copy_file_range, io_uring; asynchronous I/O (io_submit) on the preferred
 * backend. Not counted: stores through shared mappings, truncation, allocation.
 * Bounds: a full map means that the write is counted as lost (STATE_FULL). So does, on the fallback, a descriptor that cannot be noted: its set must
 * be found again when many are closed at once, and has room for the numbers below BH_WRITTEN_FDS and for BH_WRITTEN_HIGH others, each at one place.
 */
#ifndef BH_WRITTEN_BPF_H
#define BH_WRITTEN_BPF_H

#include "core.bpf.h"
#include "subject.bpf.h"
#include "syscall.bpf.h"
#include "target.bpf.h"

#define BH_FMODE_WRITE 2
#define BH_S_IFMT 0170000
#define BH_S_IFREG 0100000
#define BH_WRITTEN_FDS 1024
#define BH_WRITTEN_HIGH 2048

struct bh_written {
        struct bh_actor who;
        struct file *file;
        struct inode *inode;
        struct vfsmount *mnt;
        struct dentry *dentry;
        __u64 dev, ino, bytes;
        __u32 open_flags;
        __s32 refs; /* descriptors known */
};
struct bh_written_fd {
        __u32 tgid, fd;
};
/*
 * Which descriptors of a process have an entry, by number: bytes, as 5.10 has no atomic way to set a bit. Those with a number beyond stand in `high`, at
 * the place that their number leaves modulo its size; a place belongs to who finds itself alone there after adding its number.
 */
struct bh_written_set {
        __u8 has[BH_WRITTEN_FDS];
        __u32 high[BH_WRITTEN_HIGH];
        __u32 highs; /* places taken */
        __u32 pad;
};
struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 16384);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, __u64);
        __type(value, struct bh_written);
        BH_PINNED;
} written SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 32768);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, struct bh_written_fd);
        __type(value, __u64);
        BH_PINNED;
} written_fds SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 8192);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, __u32);
        __type(value, struct bh_written_set);
        BH_PINNED;
} written_sets SEC(".maps");
/* All zero: where a new entry of the map above comes from, too big for the stack. */
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct bh_written_set);
} written_none SEC(".maps");

/* The compiler would drop the bound, which it has seen before, and the verifier not remember it. */
static __always_inline __u8 *bh_written_mark(struct bh_written_set *set, __u32 fd) {
        __u64 i = fd;

        asm volatile("" : "+r"(i));
        return &set->has[i & (BH_WRITTEN_FDS - 1)];
}

static __always_inline __u32 *bh_written_place(struct bh_written_set *set, __u32 fd) {
        __u64 i = fd;

        asm volatile("" : "+r"(i));
        return &set->high[i & (BH_WRITTEN_HIGH - 1)];
}

/* Whether the current process's bulk events are wanted: bh_admit() decides in the end, this keeps others from taking room here. */
static __always_inline bool bh_written_wanted(const struct bh_who *who) {
        __u32 zero = 0;
        struct bh_config *cfg = bpf_map_lookup_elem(&config, &zero);

        if (cfg && cfg->canary_tgid && cfg->canary_tgid == who->tgid)
                return true; /* also while the kind is off: that it works is found out first */
        if (!cfg || cfg->self_tgid == who->tgid || cfg->off[(BH_EV_CLOSE_WRITE >> 6) & 1] >> (BH_EV_CLOSE_WRITE & 63) & 1)
                return false;
        return cfg->host_bulk || who->origin || bh_container_of(who->cgroup);
}

static __always_inline int bh_written_send(struct bh_written *w) {
        struct dentry *dentry = w->dentry;
        struct inode *inode = w->inode;
        struct bh_buf *b;
        __u64 place = 0;
        bool there;

        if (!w->bytes)
                return 0;
        /* on the fallback the file is closed already: its name is there as long as the kernel remembers it, and then still has the inode */
        there = BPF_CORE_READ(dentry, d_inode) == inode && BPF_CORE_READ(inode, i_ino) == w->ino;
        if (there)
                place = bh_place(w->mnt, dentry);
        b = bh_begin_as(&w->who, BH_EV_CLOSE_WRITE, bh_hash(bh_hash(place ^ w->dev, w->ino), w->open_flags) | 1, w->bytes);
        if (!b)
                return 0;
        b->rec.a[0] = w->dev;
        b->rec.a[1] = w->ino;
        b->rec.a[2] = w->open_flags;
        if (there) {
                if (!BPF_CORE_READ(inode, i_nlink))
                        b->rec.flags |= BH_RF_DELETED;
                bh_put_path(b, BH_TAG_PATH, w->mnt, dentry);
        } else {
                b->rec.flags |= BH_RF_DELETED;
        }
        return bh_end(b);
}

/* The open file is gone. The one that removes the entry sends the event. */
static __noinline int bh_written_end(__u64 file) {
        struct bh_written *w = bpf_map_lookup_elem(&written, &file), copy;

        if (!w)
                return 0;
        copy = *w;
        if (bpf_map_delete_elem(&written, &file))
                return 0;
        return bh_written_send(&copy);
}

/* The entry of an open regular file, if it has one. */
static __always_inline struct bh_written *bh_written_find(struct file *file, struct inode *inode) {
        __u64 key = (__u64) file;
        struct bh_written *w = bpf_map_lookup_elem(&written, &key);

        if (w && (w->inode != inode || w->dentry != BPF_CORE_READ(file, f_path.dentry))) {
                bh_written_end(key); /* the memory is another open file's now: the end of the old one was not seen */
                return NULL;
        }
        return w;
}

/* A new entry, if it is wanted. */
static __noinline struct bh_written *bh_written_make(struct file *file, struct inode *inode) {
        __u64 key = (__u64) file;
        struct bh_written *w;
        struct task_struct *task = bh_current();
        struct bh_written fresh = {
                .file = file,
                .inode = inode,
                .mnt = BPF_CORE_READ(file, f_path.mnt),
                .dentry = BPF_CORE_READ(file, f_path.dentry),
                .dev = BPF_CORE_READ(inode, i_sb, s_dev),
                .ino = BPF_CORE_READ(inode, i_ino),
                .open_flags = BPF_CORE_READ(file, f_flags) & ~0100000u /* O_LARGEFILE */,
        };

        bh_actor_of(&fresh.who, task);
        if (!bh_written_wanted(&fresh.who.id))
                return NULL;
        if (bpf_map_update_elem(&written, &key, &fresh, BPF_NOEXIST)) {
                w = bpf_map_lookup_elem(&written, &key);
                if (!w)
                        bh_count_lost(fresh.who.id.cgroup, BH_EV_CLOSE_WRITE, BH_LOST_STATE_FULL);
                return w;
        }
        return bpf_map_lookup_elem(&written, &key);
}

/* One more, or one less, of the descriptors in `written_fds` than the dispatcher knows of. */
static __always_inline void bh_written_count(const struct bh_written_fd *key, __u32 by) {
        __u32 *n = bh_known_place(key->tgid, key->fd);

        if (n)
                BH_ADD(*n, by);
}

/* Takes a descriptor out: 0 for the one that did it. */
static __noinline int bh_written_forget(const struct bh_written_fd *key) {
        if (bpf_map_delete_elem(&written_fds, key))
                return -1;
        bh_written_count(key, (__u32) -1);
        return 0;
}

/* The descriptor does not lead to its file any more. Global: the sweeps below call it from many turns of a loop. */
__noinline int bh_written_drop(__u32 tgid, __u32 fd) {
        struct bh_written_fd key = { .tgid = tgid, .fd = fd };
        __u64 *known = bpf_map_lookup_elem(&written_fds, &key), file;
        struct bh_written_set *set;
        struct bh_written *w;

        if (!known)
                return 0;
        file = *known;
        if (bh_written_forget(&key))
                return 0;
        set = bpf_map_lookup_elem(&written_sets, &tgid);
        if (set && fd < BH_WRITTEN_FDS) {
                *bh_written_mark(set, fd) = 0;
        } else if (set) {
                BH_ADD(*bh_written_place(set, fd), -fd);
                BH_ADD(set->highs, (__u32) -1);
        }
        w = bpf_map_lookup_elem(&written, &file);
        if (!w)
                return 0;
        __sync_fetch_and_add(&w->refs, -1);
        return w->refs <= 0 ? bh_written_end(file) : 0;
}

/*
 * Before bh_written_know(), and in the caller's frame: a descriptor of the current process that is known to lead elsewhere was closed unseen.
 * FALSE: it is known already.
 */
static __always_inline bool bh_written_is_new(__u64 file, __u32 fd) {
        struct bh_written_fd key = { .tgid = (__u32) (bpf_get_current_pid_tgid() >> 32), .fd = fd };
        __u64 *known = bpf_map_lookup_elem(&written_fds, &key);

        if (known && *known == file)
                return false;
        if (known)
                bh_written_drop(key.tgid, fd);
        return true;
}

/* A descriptor that leads to this file cannot be noted. If none is, what was written would never be told: it is lost. */
static __noinline int bh_written_astray(struct bh_written *w) {
        __u64 file = (__u64) w->file;

        if (w->refs > 0 || bpf_map_delete_elem(&written, &file) || !w->bytes)
                return 0;
        return bh_count_lost(w->who.id.cgroup, BH_EV_CLOSE_WRITE, BH_LOST_STATE_FULL);
}

/* A descriptor of the current process leads to this file, which has an entry. */
static __noinline int bh_written_know(struct bh_written *w, __u32 fd) {
        struct bh_written_fd key = { .tgid = (__u32) (bpf_get_current_pid_tgid() >> 32), .fd = fd };
        __u64 file = (__u64) w->file;
        struct bh_written_set *set, *none;
        __u32 zero = 0;

        bh_written_count(&key, 1);
        if (bpf_map_update_elem(&written_fds, &key, &file, BPF_NOEXIST)) {
                bh_written_count(&key, (__u32) -1);
                return bpf_map_lookup_elem(&written_fds, &key) ? 0 : bh_written_astray(w);
        }
        __sync_fetch_and_add(&w->refs, 1);
        set = bpf_map_lookup_elem(&written_sets, &key.tgid);
        if (!set) {
                none = bpf_map_lookup_elem(&written_none, &zero);
                if (none)
                        bpf_map_update_elem(&written_sets, &key.tgid, none, BPF_NOEXIST);
                set = bpf_map_lookup_elem(&written_sets, &key.tgid);
        }
        if (set && fd < BH_WRITTEN_FDS) {
                *bh_written_mark(set, fd) = 1;
                return 0;
        }
        if (set) {
                __u32 *place = bh_written_place(set, fd);

                BH_ADD(set->highs, 1);
                BH_ADD(*place, fd);
                if (*(volatile __u32 *) place == fd)
                        return 0;
        }
        /* unless another thread has closed it, and with that taken everything back */
        if (bh_written_forget(&key))
                return 0;
        if (set) {
                BH_ADD(*bh_written_place(set, fd), -fd);
                BH_ADD(set->highs, (__u32) -1);
        }
        __sync_fetch_and_add(&w->refs, -1);
        return bh_written_astray(w);
}

/* `fd` < 0: not known, or not needed. */
static __noinline int bh_written_add(struct file *file, __s64 bytes, __s32 fd) {
        struct inode *inode = BPF_CORE_READ(file, f_inode);
        struct bh_written *w;

        if (bytes <= 0 || (BPF_CORE_READ(inode, i_mode) & BH_S_IFMT) != BH_S_IFREG)
                return 0;
        w = bh_written_find(file, inode);
        if (!w)
                w = bh_written_make(file, inode);
        if (!w)
                return 0;
        /* who opened it may be another than who writes first */
        if (!w->bytes && w->who.id.tgid != (__u32) (bpf_get_current_pid_tgid() >> 32)) {
                bh_actor_of(&w->who, bh_current());
        }
        __sync_fetch_and_add(&w->bytes, (__u64) bytes);
        if (fd >= 0 && bh_written_is_new((__u64) w->file, (__u32) fd))
                bh_written_know(w, (__u32) fd);
        return 0;
}

/* Fallback: opened for writing. */
static __noinline int bh_written_opened(struct file *file, __u32 fd) {
        struct inode *inode = BPF_CORE_READ(file, f_inode);
        struct bh_written *w;

        if (!(BPF_CORE_READ(file, f_mode) & BH_FMODE_WRITE) || (BPF_CORE_READ(inode, i_mode) & BH_S_IFMT) != BH_S_IFREG)
                return 0;
        w = bh_written_find(file, inode);
        if (!w)
                w = bh_written_make(file, inode);
        return w && bh_written_is_new((__u64) w->file, fd) ? bh_written_know(w, fd) : 0;
}

/* Fallback: `fd` is now a duplicate, of something that may have an entry; what it led to before is closed. */
static __noinline int bh_written_dup(__u32 fd) {
        __u64 file = (__u64) bh_file_of_fd(fd);
        struct bh_written *w;

        if (!bh_written_is_new(file, fd))
                return 0;
        w = bpf_map_lookup_elem(&written, &file);
        return w ? bh_written_know(w, fd) : 0;
}

/* `all` 0: only if the descriptor does not lead to its file any more. */
static __always_inline int bh_written_sweep_one(__u32 tgid, __u32 fd, __u32 all) {
        struct bh_written_fd key = { .tgid = tgid, .fd = fd };

        if (!all) {
                __u64 *known = bpf_map_lookup_elem(&written_fds, &key);

                if (!known || *known == (__u64) bh_file_of_fd(fd))
                        return 0;
        }
        return bh_written_drop(tgid, fd);
}

/* Eight descriptors from `first`; `marks` has a byte for each, 0: not known. */
__noinline int bh_written_sweep_eight(__u32 tgid, __u32 first, __u64 marks, __u32 all) {
        if (!marks)
                return 0;
        for (__u32 i = 0; i < 8; i++)
                if (marks >> 8 * i & 0xff)
                        bh_written_sweep_one(tgid, first + i, all);
        return 0;
}

/* Those below BH_WRITTEN_FDS. The loop has no branch of its own: older verifiers would follow each side of it in each turn. */
__noinline int bh_written_sweep_low(__u32 tgid, __u32 all) {
        struct bh_written_set *set = bpf_map_lookup_elem(&written_sets, &tgid);

        if (!set)
                return 0;
        for (__u32 i = 0; i < BH_WRITTEN_FDS / 8; i++) {
                __u64 marks = ((__u64 *) set->has)[i];

                bh_written_sweep_eight(tgid, 8 * i, marks, all);
        }
        return 0;
}

/* Eight places of the others, from `first`. */
__noinline int bh_written_sweep_places(__u32 tgid, __u32 first, __u32 all) {
        struct bh_written_set *set = bpf_map_lookup_elem(&written_sets, &tgid);

        if (!set)
                return 0;
        for (__u32 i = 0; i < 8; i++) {
                __u32 fd = *bh_written_place(set, first + i);

                if (fd)
                        bh_written_sweep_one(tgid, fd, all);
        }
        return 0;
}

__noinline int bh_written_sweep_high(__u32 tgid, __u32 all) {
        for (__u32 i = 0; i < BH_WRITTEN_HIGH / 8; i++)
                bh_written_sweep_places(tgid, 8 * i, all);
        return 0;
}

/* Many descriptors were closed at once. Not by bpf_loop(), which came with 5.17: loops of calls to functions that are verified once do it as well. */
static __always_inline int bh_written_sweep(__u32 tgid, __u32 all) {
        struct bh_written_set *set = bpf_map_lookup_elem(&written_sets, &tgid);

        if (!set)
                return 0;
        bh_written_sweep_low(tgid, all);
        return set->highs ? bh_written_sweep_high(tgid, all) : 0;
}

/* ---- /proc/PID/mem ---- */

static __always_inline bool bh_is_proc_mem(struct file *file, struct inode *inode) {
        char name[8] = {};

        if (BPF_CORE_READ(inode, i_sb, s_magic) != PROC_SUPER_MAGIC)
                return false;
        bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(file, f_path.dentry, d_name.name));
        return name[0] == 'm' && name[1] == 'e' && name[2] == 'm' && !name[3];
}

static __noinline int bh_send_mem_write(struct file *file, __u64 address, __s64 ret, __u32 flags) {
        struct inode *inode = BPF_CORE_READ(file, f_inode);
        struct proc_inode *proc = (struct proc_inode *) ((char *) inode - bpf_core_field_offset(struct proc_inode, vfs_inode));
        struct task_struct *task = bh_task_of_pid(BPF_CORE_READ(proc, pid));
        struct bh_buf *b = bh_begin(BH_EV_MEM_WRITE, bh_hash(bh_tgid_of(task), ret < 0 ? (__u64) ret : 0) | 1, ret > 0 ? (__u64) ret : 0);

        if (!b)
                return 0;
        b->rec.ret = ret;
        b->rec.flags |= flags;
        b->rec.a[3] = address;
        bh_put_target(b, task, 1);
        bh_put_file_path(b, BH_TAG_PATH, file);
        return bh_end(b);
}

#endif

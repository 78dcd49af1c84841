// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What a process does to other processes (ptrace, process_vm_writev, pidfd_getfd, signals) and to memory that becomes code (mprotect,
 * mmap, memory files). Writes to /proc/PID/mem are files' business: file.bpf.c.
 */
#include "core.bpf.h"
#include "syscall.bpf.h"
#include "target.bpf.h"

/* ---- ptrace ---- */

#define PTRACE_TRACEME 0
#define PTRACE_POKETEXT 4
#define PTRACE_POKEDATA 5
#define PTRACE_POKEUSR 6
#define PTRACE_SETREGS 13
#define PTRACE_SETFPREGS 15
#define PTRACE_ATTACH 16
#define PTRACE_SETFPXREGS 19
#define PTRACE_SETREGSET 0x4205
#define PTRACE_SEIZE 0x4206

static __always_inline bool ptrace_matters(__u32 request) {
        switch (request) {
        case PTRACE_TRACEME:
        case PTRACE_POKETEXT:
        case PTRACE_POKEDATA:
        case PTRACE_POKEUSR:
        case PTRACE_SETREGS:
        case PTRACE_SETFPREGS:
        case PTRACE_ATTACH:
        case PTRACE_SETFPXREGS:
        case PTRACE_SETREGSET:
        case PTRACE_SEIZE:
                return true;
        }
        return false;
}

/* ptrace(request, pid, address, data). The words of one poke after the other are one act: the address is that of the first. */
BH_SYSCALL(ptrace) {
        __u32 request = (__u32) c->args[0];
        struct task_struct *target;

        if (!ptrace_matters(request))
                return 0;
        if (request == PTRACE_TRACEME)
                target = BPF_CORE_READ(bh_current(), real_parent); /* who may trace from now on */
        else
                target = bh_task_of_vpid((__u32) c->args[1]);

        struct bh_buf *b = bh_begin(BH_EV_PTRACE, bh_hash((__u64) request << 32 | bh_tgid_of(target), c->ret < 0 ? c->ret : 1), 0);
        if (!b)
                return 0;
        b->rec.flags |= bh_call_flags(c);
        b->rec.ret = c->ret;
        b->rec.a[0] = request;
        b->rec.a[3] = c->args[2];
        bh_put_target(b, target, 1);
        return bh_end(b);
}
BH_SYSCALL32(ptrace, __ia32_compat_sys_ptrace)

/* ---- memory and descriptors of another process ---- */

/* process_vm_writev(pid, local, local count, remote, remote count, flags): the address is where the first part begins */
BH_SYSCALL(process_vm_writev) {
        struct task_struct *target = bh_task_of_vpid((__u32) c->args[0]);
        __u64 address = 0, bytes = c->ret > 0 ? c->ret : 0;
        struct bh_buf *b = bh_begin(BH_EV_VM_WRITE, bh_hash(bh_tgid_of(target), c->ret < 0 ? c->ret : 1), bytes);

        if (!b)
                return 0;
        bpf_probe_read_user(&address, c->compat ? 4 : 8, (const void *) c->args[3]);
        b->rec.flags |= bh_call_flags(c);
        b->rec.ret = c->ret;
        b->rec.a[3] = address;
        bh_put_target(b, target, 1);
        return bh_end(b);
}
BH_SYSCALL32(process_vm_writev, __ia32_sys_process_vm_writev)

/* Until 5.12 the 32-bit call had an entry of its own. */
SEC("fexit/__ia32_compat_sys_process_vm_writev")
int fc_process_vm_writev_old(__u64 *ctx) {
        struct bh_call c;

        bh_call_compat(&c, bh_user_regs(), (__s64) ctx[1]);
        return bh_call_process_vm_writev(&c);
}

/* pidfd_getfd(pidfd, descriptor, flags) */
BH_SYSCALL(pidfd_getfd) {
        struct file *pidfd = bh_file_of_fd((__s32) c->args[0]), *file = c->ret >= 0 ? bh_file_of_fd(c->ret) : NULL;
        struct task_struct *target = bh_task_of_pid(bh_pid_of_pidfd(pidfd));
        struct bh_buf *b = bh_begin(BH_EV_PIDFD_GETFD, bh_hash((__u64) bh_tgid_of(target) << 32 | (__u32) c->args[1], c->ret < 0 ? c->ret : 1), 0);

        if (!b)
                return 0;
        b->rec.flags |= bh_call_flags(c);
        b->rec.ret = c->ret;
        b->rec.a[0] = bh_call_fd(c);
        b->rec.a[3] = (__u64) (__s32) c->args[1];
        bh_put_target(b, target, 1);
        if (file)
                bh_put_any_file(b, file);
        return bh_end(b);
}
BH_SYSCALL32(pidfd_getfd, __ia32_sys_pidfd_getfd)

/* ---- memory files ---- */

/* The name that the file has got ("memfd:" before it); the caller's text only where there is no file. `text` 0: the call takes none. */
static __noinline int send_memfd(struct bh_call *c, __u64 text, __u64 flags) {
        struct file *file = c->ret >= 0 ? bh_file_of_fd(c->ret) : NULL;
        struct inode *inode = BPF_CORE_READ(file, f_inode);
        const unsigned char *name = BPF_CORE_READ(file, f_path.dentry, d_name.name);
        __u64 words[4] = {}, hash = flags;

        if (file)
                bpf_probe_read_kernel_str(words, sizeof(words), name);
        for (int i = 0; i < 4; i++)
                hash = bh_hash(hash, words[i]);

        struct bh_buf *b = bh_begin(BH_EV_MEMFD_CREATE, bh_hash(hash, c->ret < 0 ? c->ret : 1), 0);
        if (!b)
                return 0;
        b->rec.flags |= bh_call_flags(c);
        b->rec.ret = c->ret;
        b->rec.a[0] = flags;
        b->rec.a[1] = bh_call_fd(c);
        if (file) {
                b->rec.a[2] = BPF_CORE_READ(inode, i_ino);
                b->rec.a[3] = BPF_CORE_READ(inode, i_sb, s_dev);
                if (text)
                        bh_put_kernel_str(b, BH_TAG_NAME, name + 6, 256);
                bh_put_file_path(b, BH_TAG_PATH, file);
        } else if (text) {
                bh_put_user_str(b, BH_TAG_NAME, (const void *) text, 256);
        }
        return bh_end(b);
}

BH_SYSCALL(memfd_create) {
        return send_memfd(c, c->args[0], (__u32) c->args[1]);
}
BH_SYSCALL32(memfd_create, __ia32_sys_memfd_create)

BH_SYSCALL(memfd_secret) {
        return send_memfd(c, 0, (__u32) c->args[0]);
}
BH_SYSCALL32(memfd_secret, __ia32_sys_memfd_secret)

/* ---- memory made executable ---- */

#define PROT_READ 1
#define PROT_WRITE 2
#define PROT_EXEC 4
#define VM_SHARED 8
#define READ_IMPLIES_EXEC 0x0400000
#define FMODE_WRITE 2

/* What lies behind memory that becomes executable. */
struct behind {
        struct file *file;
        __u64 dev, ino, place;
        __u32 flags; /* BH_RF_WRITTEN, BH_RF_ANON */
        __u32 pad;
};

/* May its content have been changed by whom we watch: open for writing here or elsewhere, or mapped shared and writable? */
static __always_inline bool writable_file(struct file *file) {
        struct inode *inode = BPF_CORE_READ(file, f_inode);

        return BPF_CORE_READ(file, f_mode) & FMODE_WRITE || BPF_CORE_READ(inode, i_writecount.counter) > 0 ||
               BPF_CORE_READ(inode, i_mapping, i_mmap_writable.counter) > 0;
}

static __always_inline void name_file(struct behind *to, struct file *file) {
        struct inode *inode = BPF_CORE_READ(file, f_inode);

        to->file = file;
        to->dev = BPF_CORE_READ(inode, i_sb, s_dev);
        to->ino = BPF_CORE_READ(inode, i_ino);
        to->place = bh_place_of_file(file);
}

/* A private mapping has an anon_vma once a page of it was written to (or may have been: __anon_vma_prepare() at the first write fault). */
static __noinline int look_behind(struct behind *to, struct vm_area_struct *vma) {
        struct file *file = BPF_CORE_READ(vma, vm_file);

        to->flags = 0;
        to->pad = 0;
        if (file) {
                name_file(to, file);
        } else {
                to->file = NULL;
                to->dev = 0;
                to->ino = 0;
                to->place = 0;
                to->flags = BH_RF_ANON;
        }
        if (BPF_CORE_READ(vma, anon_vma) || (file && BPF_CORE_READ(vma, vm_flags) & VM_SHARED && writable_file(file)))
                to->flags |= BH_RF_WRITTEN;
        return 0;
}

struct range {
        __u64 start, len, prot, flags;
        __s64 ret;
};

static __noinline int send_exec_memory(__u32 type, const struct range *r, const struct behind *what) {
        __u64 key = bh_hash(bh_hash(what->place ^ what->dev, what->ino), bh_hash(r->prot << 32 | what->flags, r->ret < 0 && r->ret > -4096 ? r->ret : 1));
        struct bh_buf *b = bh_begin(type, key, r->len);
        struct file *file = what->file;

        if (!b)
                return 0;
        b->rec.flags |= what->flags | (bh_compat_task() ? BH_RF_COMPAT : 0);
        b->rec.ret = r->ret;
        b->rec.a[0] = what->dev;
        b->rec.a[1] = what->ino;
        b->rec.a[3] = r->start;
        b->rec.a[5] = r->prot;
        b->rec.a[6] = r->flags;
        /* the mapping may have gone since and its file with it: only if it still is the one */
        if (file && BPF_CORE_READ(file, f_inode, i_ino) == what->ino) {
                if (bh_unlinked(BPF_CORE_READ(file, f_path.dentry)))
                        b->rec.flags |= BH_RF_DELETED;
                bh_put_file_path(b, BH_TAG_PATH, file);
        }
        return bh_end(b);
}

/* Whether `prot` asks for execution, directly or for the old programs whose every readable page is executable. */
static __always_inline bool asks_exec(__u64 prot) {
        return prot & PROT_EXEC || (prot & PROT_READ && BPF_CORE_READ(bh_current(), personality) & READ_IMPLIES_EXEC);
}

/* What security_file_mprotect saw last, until the call that it belongs to returns. */
struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, 1024);
        __type(key, __u64);
        __type(value, struct behind);
} protecting SEC(".maps");

/* int security_file_mprotect(vma, requested, prot): for each mapping in the range, before it changes; the first that was written to counts */
SEC("fentry/security_file_mprotect")
int fe_mprotect_vma(__u64 *ctx) {
        __u64 id = bpf_get_current_pid_tgid();
        struct behind now, *before;

        if (!(ctx[2] & PROT_EXEC))
                return 0;
        before = bpf_map_lookup_elem(&protecting, &id);
        if (before && before->flags & BH_RF_WRITTEN)
                return 0;
        look_behind(&now, (struct vm_area_struct *) ctx[0]);
        if (!before || now.flags & BH_RF_WRITTEN)
                bpf_map_update_elem(&protecting, &id, &now, BPF_ANY);
        return 0;
}

/* int do_mprotect_pkey(start, len, prot, pkey): of both calls */
SEC("fexit/do_mprotect_pkey")
int fe_mprotect(__u64 *ctx) {
        struct range r = { .start = ctx[0], .len = ctx[1], .prot = ctx[2], .ret = (__s32) ctx[4] };
        __u64 id = bpf_get_current_pid_tgid();
        struct behind none = {}, *seen;

        if (!asks_exec(r.prot))
                return 0;
        seen = bpf_map_lookup_elem(&protecting, &id);
        send_exec_memory(BH_EV_MPROTECT_EXEC, &r, seen ? seen : &none);
        if (seen)
                bpf_map_delete_elem(&protecting, &id);
        return 0;
}

struct walk {
        struct behind what;
        __u64 end; /* of the mapping found */
};

/* The first mapping counts, and the first that was written to before it. */
static long vma_found(struct task_struct *task, struct vm_area_struct *vma, struct walk *w) {
        struct behind here;

        look_behind(&here, vma);
        if (!w->end || here.flags & BH_RF_WRITTEN)
                w->what = here;
        w->end = BPF_CORE_READ(vma, vm_end);
        return 0;
}

#define MAPPINGS_SEEN 4

/*
 * Fallback of both calls, 5.17 and later (bpf_find_vma): the mappings are looked at after they changed, which takes nothing from what is asked of
 * them. If another thread is changing the address space at that moment they cannot be: the record says so.
 */
BH_SYSCALL_FALLBACK(mprotect) {
        struct range r = { .start = c->args[0], .len = c->args[1], .prot = c->args[2], .ret = c->ret };
        struct walk w = {};
        __u64 at = r.start, end = r.start + r.len;

        if (!asks_exec(r.prot))
                return 0;
        for (int i = 0; i < MAPPINGS_SEEN && !r.ret && at < end; i++) {
                if (bpf_find_vma(bpf_get_current_task_btf(), at, vma_found, &w, 0)) {
                        w.what.flags |= BH_RF_FAULT;
                        break;
                }
                if (w.what.flags & BH_RF_WRITTEN)
                        break;
                at = w.end;
        }
        return send_exec_memory(BH_EV_MPROTECT_EXEC, &r, &w.what);
}

/* The same before 5.17, where mappings are in a tree (find_vma(), mm/mmap.c) and a list; without its lock: in change it may lead to none. */
BH_SYSCALL_FALLBACK(mprotect_tree) {
        struct range r = { .start = c->args[0], .len = c->args[1], .prot = c->args[2], .ret = c->ret };
        struct behind what = { .flags = 0 }, here;
        struct vm_area_struct *vma = NULL;
        struct rb_node *node;

        if (!asks_exec(r.prot))
                return 0;
        node = r.ret ? NULL : BPF_CORE_READ(bh_current(), mm, mm_rb.rb_node);
        for (int i = 0; i < 32 && node; i++) { /* deep enough for 65,536 mappings, of which a process may have 65,530 */
                struct vm_area_struct *at = (struct vm_area_struct *) ((char *) node - bpf_core_field_offset(struct vm_area_struct, vm_rb));

                if (BPF_CORE_READ(at, vm_end) > r.start) {
                        vma = at;
                        if (BPF_CORE_READ(at, vm_start) <= r.start)
                                break;
                        node = BPF_CORE_READ(node, rb_left);
                } else {
                        node = BPF_CORE_READ(node, rb_right);
                }
        }
        if (!vma && !r.ret)
                what.flags |= BH_RF_FAULT;
        for (int i = 0; i < MAPPINGS_SEEN && vma && !(what.flags & BH_RF_WRITTEN); i++) {
                if (i && BPF_CORE_READ(vma, vm_start) >= r.start + r.len)
                        break;
                look_behind(&here, vma);
                if (!i || here.flags & BH_RF_WRITTEN)
                        what = here;
                vma = BPF_CORE_READ(vma, vm_next);
        }
        return send_exec_memory(BH_EV_MPROTECT_EXEC, &r, &what);
}

#define MAP_ANONYMOUS 0x20
#define MAP_IGNORED 0x1800 /* MAP_DENYWRITE, MAP_EXECUTABLE: taken off by some kernels, meant nothing to any */
#define IS_ERROR(ret) ((ret) < 0 && (ret) > -4096)

static __noinline int send_mmap(struct range *r, struct file *file) {
        struct behind what = {};

        r->flags &= ~(__u64) MAP_IGNORED;
        if (r->flags & MAP_ANONYMOUS) {
                what.flags = BH_RF_ANON;
        } else if (file) {
                name_file(&what, file);
                if (writable_file(file))
                        what.flags = BH_RF_WRITTEN;
        } else {
                return 0; /* not an open descriptor */
        }
        if (r->prot & PROT_WRITE)
                what.flags |= BH_RF_WRITTEN;
        return send_exec_memory(BH_EV_MMAP_EXEC, r, &what);
}

/* unsigned long vm_mmap_pgoff(file, address, len, prot, flags, offset): all ways to map; exec's own loading is part of exec */
SEC("fexit/vm_mmap_pgoff")
int fe_mmap(__u64 *ctx) {
        struct range r = { .len = ctx[2], .prot = ctx[3], .flags = ctx[4], .ret = (__s64) ctx[6] };
        struct task_struct *task = bh_current();

        if (!asks_exec(r.prot) || BPF_CORE_READ_BITFIELD_PROBED(task, in_execve) || BPF_CORE_READ(task, flags) & PF_KTHREAD)
                return 0;
        r.start = r.ret < 0 ? ctx[1] : (__u64) r.ret;
        return send_mmap(&r, (struct file *) ctx[0]);
}

static __always_inline int mmap_call(struct bh_call *c) {
        struct range r = { .len = c->args[1], .prot = c->args[2], .flags = c->args[3], .ret = c->ret };

        if (!asks_exec(r.prot))
                return 0;
        /* addresses of 32-bit processes reach up to 4 GiB */
        if (c->compat && !IS_ERROR(r.ret))
                r.ret = (__u32) r.ret;
        r.start = r.ret < 0 ? c->args[0] : (__u64) r.ret;
        return send_mmap(&r, bh_file_of_fd((__s32) c->args[4]));
}

/* mmap, mmap2(address, len, prot, flags, fd, offset) */
BH_SYSCALL_FALLBACK(mmap) {
        return mmap_call(c);
}

/* The first 32-bit mmap has its arguments in memory. */
BH_SYSCALL_FALLBACK(old_mmap) {
        __u32 args[6] = {};

        if (bpf_probe_read_user(args, sizeof(args), (const void *) c->args[0]))
                return 0;
        for (int i = 0; i < 6; i++)
                c->args[i] = args[i];
        return mmap_call(c);
}

/* ---- signals ---- */

#define SI_USER 0
#define SI_TIMER (-2)
#define SI_SIGIO (-5)

/* Is the current task in a system call that sends signals? kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo, pidfd_send_signal */
static __always_inline bool sending(void) {
        __s64 call = (__s64) BPF_CORE_READ(bh_user_regs(), orig_ax);

        if (bh_compat_task())
                return call == 37 || call == 238 || call == 270 || call == 178 || call == 335 || call == 424;
        return call == 62 || call == 200 || call == 234 || call == 129 || call == 297 || call == 424;
}

/*
 * A signal that the current process sends to another one. Not those that the kernel sends by itself: forced ones (siginfo 1), those with a code
 * above zero, and timers, message queues and asynchronous input and output, which come in the name of whom they interrupt. As rt_sigqueueinfo can
 * lend itself their codes, and kill goes without siginfo (0) on 7.x as a parent's death signal does everywhere, the system call tells.
 */
SEC("tp_btf/signal_generate")
int tp_signal(__u64 *ctx) {
        struct kernel_siginfo *info = (struct kernel_siginfo *) ctx[1];
        struct task_struct *target = (struct task_struct *) ctx[2], *task = bh_current();
        __u32 sig = (__u32) ctx[0], tgid = (__u32) BPF_CORE_READ(target, tgid);

        if (ctx[1] == 1 || tgid == (__u32) (bpf_get_current_pid_tgid() >> 32) || BPF_CORE_READ(task, flags) & PF_KTHREAD)
                return 0;

        __s32 code = info ? BPF_CORE_READ(info, si_code) : SI_TIMER;
        if (code > SI_USER || (code <= SI_TIMER && code >= SI_SIGIO && !sending()))
                return 0;

        struct bh_buf *b = bh_begin(BH_EV_SIGNAL, (__u64) sig << 32 | tgid, 0);
        if (!b)
                return 0;
        b->rec.flags |= bh_compat_task() ? BH_RF_COMPAT : 0;
        b->rec.a[0] = sig;
        bh_put_target(b, target, 1);
        return bh_end(b);
}

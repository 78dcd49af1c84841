// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Refuses acts to containers: programs by their file, programs that are not from the image or not on a list, capabilities, mounting, tracing, kernel modules.
 *
 * Attached only while something is refused, and only where: user space decides which of the three forms of a hook is used, by effect:
 *
 *  - lsm_…: BPF LSM. The act fails with EPERM.
 *  - fm_…: the same from programs that change what the kernel's security_…() functions return, where BPF is not among its security modules.
 *  - tp_…: tracepoints, for programs alone: SIGKILL before the new program runs an instruction.
 *
 * Nothing of it leans on the sensor or on its maps, so that it goes on without it. Whose an act is: the cgroup's of the process, or of the cgroup above it; else, for who left
 * the cgroup, the pid namespace's, which nobody leaves.
 *
 * Which file: the inode that the kernel runs, so names do not matter and there is no race between the look at a path and its use; and the place in its folder, so that another file
 * put there is refused as well. A script's file is the program at first and its interpreter later: the security hooks see both. The tracepoints come when the kernel has let go of the
 * script's file, but it is still there: to be freed when the process returns to user space, on the task's list of work.
 */
#include "block_record.h"
#include "kernel_types.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define SIGNAL_GROUP_EXIT 4

const volatile __u32 bh_second = 0; /* set before load: sched_prepare_exec is there and looked at every exec before sched_process_exec */

#define SIGKILL 9
#define EPERM 1
#define WORKS 32        /* at most on a task's list; more are there only for who closes many files by this exec */
#define FMODE_EXEC 0x20 /* in f_flags: opened to be run, which no process can do by itself */
#define PTRACE_ATTACH 2
#define CAP_NOAUDIT 2
#define PROT_EXEC 4
#define MAP_TYPE 0xf
#define MAP_PRIVATE 2

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct callback_head { struct callback_head *next; };
struct file___task { struct callback_head f_task_work; };                      /* 6.11 */
struct file___rcu { struct callback_head f_rcuhead; };                         /* 5.18 */
struct file___old { union { struct callback_head fu_rcuhead; } f_u; };
struct task_struct___works { struct callback_head *task_works; };
struct inode___generation { __u32 i_generation; };
struct pid_namespace___reaper { struct ns_common ns; struct task_struct *child_reaper; };
struct linux_binprm___exec { struct file *executable, *file; };
struct linux_binprm___head { char buf[2]; };
#pragma clang attribute pop
enum kernel_read_file_id { READING_MODULE = 2 };
enum kernel_load_data_id { LOADING_MODULE = 2 };

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, BH_BLOCK_SUBJECTS);
        __type(key, __u64); /* id of the cgroup */
        __type(value, struct bh_block_subject);
} subjects SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, BH_BLOCK_SUBJECTS);
        __type(key, __u32);
        __type(value, struct bh_block_ns);
} namespaces SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, BH_BLOCK_FILES);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, struct bh_block_key);
        __type(value, struct bh_block_file);
} files SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct bh_block_config);
} config SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, BH_BLOCK_RULES);
        __type(key, __u32);
        __type(value, struct bh_block_count);
} counts SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct bh_block_asked);
} asked SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_RINGBUF);
        __uint(max_entries, BH_BLOCK_RING);
} acts SEC(".maps");

/* Nothing here reads it: it is kept for the sensor's successor. */
struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, BH_BLOCK_SUBJECTS);
        __type(key, __u64); /* id of the cgroup */
        __type(value, struct bh_block_root);
} roots SEC(".maps");

/* ---- who ---- */

struct who {
        struct bh_block_subject *subject; /* NULL: nothing is refused to it */
        __u64 cgroup;
};

static __always_inline bool look(struct who *w, __u64 cgroup) {
        w->cgroup = cgroup;
        w->subject = bpf_map_lookup_elem(&subjects, &w->cgroup);
        return w->subject != NULL;
}

static __always_inline void find_by_namespace(struct who *w, struct task_struct *task) {
        struct pid *pid = BPF_CORE_READ(task, thread_pid);
        __u32 level = BPF_CORE_READ(pid, level);

        for (__u32 i = 1; i <= 4 && i <= level; i++) { /* deeper ones are of containers in containers in containers */
                struct upid number = {};

                bpf_probe_read_kernel(&number, sizeof(number), (char *) pid + bpf_core_field_offset(struct pid, numbers) + i * bpf_core_type_size(struct upid));
                struct pid_namespace___reaper *ns = (void *) number.ns;
                __u32 inum = BPF_CORE_READ(ns, ns.inum);
                /* the leader: a thread of the first process becomes the reaper when its leader ends */
                struct bh_block_ns *known = bpf_map_lookup_elem(&namespaces, &inum);

                if (known && BPF_CORE_READ(ns, child_reaper, group_leader, start_boottime) / 10000000 == known->ticks && look(w, known->cgroup))
                        return;
        }
}

static __always_inline struct who find_who(void) {
        struct task_struct *task = (struct task_struct *) bpf_get_current_task();
        __u32 zero = 0;
        struct bh_block_config *c = bpf_map_lookup_elem(&config, &zero);
        struct who w = {};
        struct cgroup *cgroup;

        if (!c || !c->subjects)
                return w;
        cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp);
        for (int i = 0; i < BH_BLOCK_LEVELS; i++) {
                struct cgroup_subsys_state *parent;

                if (look(&w, BPF_CORE_READ(cgroup, kn, id)))
                        return w;
                parent = BPF_CORE_READ((struct cgroup___self *) cgroup, self.parent);
                if (!parent)
                        break;
                cgroup = BPF_CORE_READ(parent, cgroup);
        }
        if (c->namespaces)
                find_by_namespace(&w, task);
        return w;
}

/* ---- what ---- */

static __always_inline bool on_overlay(struct inode *inode) {
        return BPF_CORE_READ(inode, i_sb, s_magic) == OVERLAYFS_SUPER_MAGIC;
}

/* Its dentry of the upper layer, which overlayfs keeps right behind the inode (struct ovl_inode, fs/overlayfs/ovl_entry.h). */
static __always_inline struct dentry *upper_of(struct inode *inode) {
        void *upper = NULL;

        bh_read(&upper, sizeof(upper), (char *) inode + bpf_core_type_size(struct inode));
        return upper;
}

/* An inode of a lower layer has none: its number is not used again as long as the layer is there. */
static __always_inline __u32 generation_of(struct inode *inode) {
        struct inode___generation *real = (void *) inode;

        if (on_overlay(inode)) {
                struct dentry *upper = upper_of(inode);

                if (!upper)
                        return 0;
                real = (void *) BPF_CORE_READ(upper, d_inode);
        }
        return BPF_CORE_READ(real, i_generation);
}

/* The entry of this file itself. */
static __noinline struct bh_block_file *entry_of(struct file *file, __u64 cgroup) {
        struct inode *inode = BPF_CORE_READ(file, f_inode);
        struct bh_block_key key = { .cgroup = cgroup, .ino = BPF_CORE_READ(inode, i_ino), .dev = BPF_CORE_READ(inode, i_sb, s_dev) };
        struct bh_block_file *f = bpf_map_lookup_elem(&files, &key);

        return f && (!f->generation || f->generation == generation_of(inode)) ? f : NULL;
}

/* Of whatever is at its place. */
static __noinline struct bh_block_file *place_of(struct file *file, __u64 cgroup) {
        struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry);
        struct inode *inode = BPF_CORE_READ(dentry, d_parent, d_inode);
        struct bh_block_key key = { .cgroup = cgroup, .ino = BPF_CORE_READ(inode, i_ino), .dev = BPF_CORE_READ(inode, i_sb, s_dev) };
        __u64 name[BH_BLOCK_NAME / 8] = {};

        bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(dentry, d_name.name));
        key.name = bh_block_hash(name, BPF_CORE_READ(dentry, d_name.len));
        return bpf_map_lookup_elem(&files, &key);
}

static __always_inline bool in_image(const struct who *w, struct file *file) {
        struct inode *inode = BPF_CORE_READ(file, f_inode);

        return BPF_CORE_READ(inode, i_sb, s_dev) == w->subject->root_dev && on_overlay(inode) && !upper_of(inode);
}

/* A runtime's own program on its way into the container is not the container's. */
static __always_inline bool is_runtimes(const struct who *w) {
        struct task_struct *task = (struct task_struct *) bpf_get_current_task();
        __u32 ns = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);

        return ns == w->subject->host_mnt_ns || ns == w->subject->own_mnt_ns;
}

/* ---- telling ---- */

#define WHAT(kind, how, cap) ((__u32) (kind) | (__u32) (how) << 8 | (__u32) (cap) << 16) /* a function has five arguments at most */

static __noinline void tell(__u64 cgroup, struct file *file, __u32 rule, __u32 what) {
        struct bh_block_count *n = bpf_map_lookup_elem(&counts, &rule);
        struct bh_block_act *a = bpf_ringbuf_reserve(&acts, sizeof(*a), 0);

        if (n)
                __sync_fetch_and_add(&n->acts, 1);
        if (!a) {
                if (n)
                        __sync_fetch_and_add(&n->untold, 1);
                return;
        }
        __builtin_memset(a, 0, sizeof(*a));
        a->time = bpf_ktime_get_boot_ns();
        a->cgroup = cgroup;
        a->rule = rule;
        a->kind = what & 0xff;
        a->how = what >> 8 & 0xff;
        a->cap = what >> 16;
        a->tgid = (__u32) (bpf_get_current_pid_tgid() >> 32);
        a->uid = (__u32) bpf_get_current_uid_gid();
        bpf_get_current_comm(a->comm, sizeof(a->comm));
        if (file) {
                struct inode *inode = BPF_CORE_READ(file, f_inode);

                a->ino = BPF_CORE_READ(inode, i_ino);
                a->dev = BPF_CORE_READ(inode, i_sb, s_dev);
                bpf_probe_read_kernel_str(a->name, sizeof(a->name), BPF_CORE_READ(file, f_path.dentry, d_name.name));
        }
        bpf_ringbuf_submit(a, 0);
}

/* ---- programs ---- */

/* What is asked of a file that is to be run. */
#define MAIN 1   /* it is what the kernel starts, after all interpreters */
#define SCRIPT 2 /* it is a script: on lists is what it is a script for */
#define AGAIN 4  /* another program looked at this exec before, if it was not left out */

static __always_inline __u32 rule_of(const struct bh_block_subject *s, __u32 lists) {
#pragma unroll
        for (int i = 0; i < BH_BLOCK_LISTS; i++)
                if (lists >> i & 1)
                        return s->list_rules[i];
        return 0;
}

static __always_inline __u32 lists_of(const struct who *w, struct bh_block_file *f, struct file *file) {
        return f && (!f->image || in_image(w, file)) ? f->listed : 0;
}

#define TRIED (1ull << 32)

/*
 * The rule of a list that it is not on, 0: it may run; with TRIED, of a list that is only tried. Who changes lists puts files on new ones first, and takes them off old ones with the change behind it: so what
 * was looked at belongs together when the subject is the same before and after, and is looked at again when it is not, for this may be preempted in between.
 */
static __noinline __u64 unlisted(const struct who *w, struct file *file) {
        __u64 cgroup = w->cgroup, rule = 0;

        for (int i = 0; i < 3; i++) {
                struct bh_block_subject *s = bpf_map_lookup_elem(&subjects, &cgroup);
                __u32 seq, lists;

                if (!s)
                        return 0; /* released meanwhile */
                seq = s->seq;
                lists = s->lists;
                barrier();
                lists &= ~(lists_of(w, entry_of(file, cgroup), file) | lists_of(w, place_of(file, cgroup), file));
                rule = rule_of(s, lists & ~s->observed);
                if (!rule && lists)
                        rule = rule_of(s, lists) | TRIED;
                barrier();
                s = bpf_map_lookup_elem(&subjects, &cgroup);
                if (!lists || (s && s->seq == seq))
                        break;
        }
        return rule;
}

/* Whether this file may not be run; told. */
static __always_inline bool refuses(const struct who *w, struct file *file, __u32 what, __u32 how) {
        struct bh_block_subject *s = w->subject;
        __u64 rule;

        if (s->rules[BH_BLOCK_EXEC]) {
                struct bh_block_file *f = entry_of(file, w->cgroup);

                if (f && f->rule && (!f->loader || (what & MAIN && how == BH_BLOCK_KILLED))) {
                        tell(w->cgroup, file, f->rule, WHAT(BH_BLOCK_EXEC, how, 0));
                        return true;
                }
                f = place_of(file, w->cgroup);
                if (f && f->rule) {
                        tell(w->cgroup, file, f->rule, WHAT(BH_BLOCK_EXEC, how, 0));
                        return true;
                }
        }
        if (s->rules[BH_BLOCK_NOT_IN_IMAGE] && !in_image(w, file) && !is_runtimes(w)) {
                tell(w->cgroup, file, s->rules[BH_BLOCK_NOT_IN_IMAGE], WHAT(BH_BLOCK_NOT_IN_IMAGE, how, 0));
                return true;
        }
        if (!s->lists || !(what & MAIN) || what & SCRIPT || is_runtimes(w) || !(rule = unlisted(w, file)))
                return false;
        if (!(rule & TRIED))
                tell(w->cgroup, file, (__u32) rule, WHAT(BH_BLOCK_NOT_LISTED, how, 0));
        else if (!(what & AGAIN))
                tell(w->cgroup, file, (__u32) rule, WHAT(BH_BLOCK_NOT_LISTED, BH_BLOCK_OBSERVED, 0));
        return !(rule & TRIED);
}

static __always_inline bool is_canary(void) {
        __u32 zero = 0;
        struct bh_block_config *c = bpf_map_lookup_elem(&config, &zero);

        return c && c->canary && c->canary == (__u32) (bpf_get_current_pid_tgid() >> 32);
}

/* The kernel has read its head by now. */
static __always_inline bool is_script(struct linux_binprm *bprm) {
        struct linux_binprm___head *b = (void *) bprm;
        char head[2] = {};

        BPF_CORE_READ_INTO(&head, b, buf);
        return head[0] == '#' && head[1] == '!';
}

static __always_inline int run(struct linux_binprm *bprm, __u32 what) {
        struct who w = find_who();

        if (!w.subject)
                return is_canary() ? -EPERM : 0;
        if (w.subject->lists && is_script(bprm))
                what |= SCRIPT;
        return refuses(&w, BPF_CORE_READ(bprm, file), what | MAIN, BH_BLOCK_DENIED) ? -EPERM : 0;
}

/*
 * A file is mapped. What the kernel itself maps for a program was judged before; so this is a program that loads another one (ld.so PROGRAM). A file that may not be run is not
 * mapped at all, since what may be read can be made executable afterwards; of what is not from the image what is mapped as code is refused, libraries too. Shared
 * memory is left to those who translate programs at run time.
 */
static __always_inline int map(struct file *file, __u64 prot, __u64 flags) {
        struct who w;

        if (!file)
                return 0;
        w = find_who();
        if (!w.subject)
                return 0;
        if (w.subject->rules[BH_BLOCK_EXEC]) {
                struct bh_block_file *f = entry_of(file, w.cgroup);

                if (!f || !f->rule)
                        f = place_of(file, w.cgroup);
                if (f && f->rule && !f->loader) {
                        tell(w.cgroup, file, f->rule, WHAT(BH_BLOCK_EXEC, BH_BLOCK_DENIED, 0));
                        return -EPERM;
                }
        }
        if (w.subject->rules[BH_BLOCK_NOT_IN_IMAGE] && prot & PROT_EXEC && (flags & MAP_TYPE) == MAP_PRIVATE && !in_image(&w, file) && !is_runtimes(&w)) {
                tell(w.cgroup, file, w.subject->rules[BH_BLOCK_NOT_IN_IMAGE], WHAT(BH_BLOCK_NOT_IN_IMAGE, BH_BLOCK_DENIED, 0));
                return -EPERM;
        }
        return 0;
}

SEC("lsm/bprm_check_security")
int lsm_run(__u64 *ctx) {
        return run((struct linux_binprm *) ctx[0], 0);
}

SEC("fmod_ret/security_bprm_check")
int fm_run(__u64 *ctx) {
        return run((struct linux_binprm *) ctx[0], 0);
}

/* The second chance, as tp_run() below: a kernel that is fully preemptible leaves these programs out as well. It runs only where the first one let the program pass, or was left out. */
SEC("fmod_ret/security_bprm_check")
int fm_again(__u64 *ctx) {
        return run((struct linux_binprm *) ctx[0], AGAIN);
}

SEC("lsm/mmap_file")
int lsm_map(__u64 *ctx) {
        return map((struct file *) ctx[0], ctx[1], ctx[3]);
}

SEC("fmod_ret/security_mmap_file")
int fm_map(__u64 *ctx) {
        return map((struct file *) ctx[0], ctx[1], ctx[2]);
}

/* The file that this work will free; what is no file's is read as if it were: see is_file(). */
static __always_inline struct file *file_of_work(struct callback_head *work) {
        unsigned long at = (unsigned long) work;

        if (bpf_core_field_exists(((struct file___task *) 0)->f_task_work))
                return (struct file *) (at - bpf_core_field_offset(struct file___task, f_task_work));
        if (bpf_core_field_exists(((struct file___rcu *) 0)->f_rcuhead))
                return (struct file *) (at - bpf_core_field_offset(struct file___rcu, f_rcuhead));
        return (struct file *) (at - bpf_core_field_offset(struct file___old, f_u));
}

/* Other work on that list (of the scheduler, of timers) reads as a file that is not from the image, where its bytes happen to have the flag: of a file the dentry leads to the inode. */
static __always_inline bool is_file(struct file *file) {
        struct inode *inode = BPF_CORE_READ(file, f_inode);

        return inode && BPF_CORE_READ(file, f_path.dentry, d_inode) == inode;
}

/* Killed already, so that a second look at one exec neither tells nor counts it twice. */
static __always_inline bool is_dying(void) {
        struct task_struct *task = (void *) bpf_get_current_task();

        return BPF_CORE_READ(task, signal, flags) & SIGNAL_GROUP_EXIT;
}

static __always_inline int start(struct linux_binprm *bprm, bool scripts) {
        struct linux_binprm___exec *b = (void *) bprm;
        struct task_struct___works *task = (void *) bpf_get_current_task();
        struct who w = find_who();
        struct callback_head *work;
        struct file *file;

        if (!w.subject)
                return is_canary() ? bpf_send_signal(SIGKILL), 0 : 0;
        if (refuses(&w, BPF_CORE_READ(b, file), scripts ? MAIN : MAIN | AGAIN, BH_BLOCK_KILLED))
                goto out;
        if (bpf_core_field_exists(b->executable) && (file = BPF_CORE_READ(b, executable)) && refuses(&w, file, 0, BH_BLOCK_KILLED))
                goto out;
        if (!scripts)
                return 0;
        work = BPF_CORE_READ(task, task_works);
        for (int i = 0; i < WORKS; i++) {
                if (!work)
                        break;
                file = file_of_work(work);
                if (BPF_CORE_READ(file, f_flags) & FMODE_EXEC && is_file(file) && refuses(&w, file, 0, BH_BLOCK_KILLED))
                        goto out;
                work = BPF_CORE_READ(work, next);
        }
        return 0;
out:
        bpf_send_signal(SIGKILL);
        return 0;
}

/* Since 6.10: before the task's files are closed, so that the list has nothing but what this exec let go of. */
SEC("tp_btf/sched_prepare_exec")
int tp_prepare(__u64 *ctx) {
        return start((struct linux_binprm *) ctx[1], true);
}

/*
 * The only one before 6.10. Since then the second chance: a kernel that preempts programs of tracepoints leaves one out while it is under way on that CPU for another process, and
 * that both are is rare.
 */
SEC("tp_btf/sched_process_exec")
int tp_run(__u64 *ctx) {
        if (bh_second && is_dying())
                return 0;
        return start((struct linux_binprm *) ctx[2], !bh_second);
}

/* ---- other acts ---- */

static __always_inline int refuse(__u32 kind) {
        struct who w = find_who();

        if (!w.subject || !w.subject->rules[kind])
                return 0;
        tell(w.cgroup, NULL, w.subject->rules[kind], WHAT(kind, BH_BLOCK_DENIED, 0));
        return -EPERM;
}

static __always_inline int use_cap(__u32 cap, __u64 opts) { /* an int: what is above it in its register may be anything */
        struct who w = find_who();

        if (!w.subject || cap > 63 || !(w.subject->caps >> cap & 1))
                return 0;
        /* who only asks whether it could is not told of: the kernel does that for most processes at each turn */
        if (!(opts & CAP_NOAUDIT))
                tell(w.cgroup, NULL, w.subject->rules[BH_BLOCK_CAP], WHAT(BH_BLOCK_CAP, BH_BLOCK_DENIED, cap));
        return -EPERM;
}

static __always_inline int trace(__u64 mode) {
        if (mode & PTRACE_ATTACH)
                return refuse(BH_BLOCK_PTRACE);
        return 0;
}

static __always_inline int read_file(__u32 id) {
        if (id == bpf_core_enum_value(enum kernel_read_file_id, READING_MODULE))
                return refuse(BH_BLOCK_MODULE);
        return 0;
}

static __always_inline int load_data(__u32 id) {
        if (id == bpf_core_enum_value(enum kernel_load_data_id, LOADING_MODULE))
                return refuse(BH_BLOCK_MODULE);
        return 0;
}

#define BOTH(name, hook, function, call)        \
        SEC("lsm/" hook)                        \
        int lsm_##name(__u64 *ctx) {            \
                return call;                    \
        }                                       \
        SEC("fmod_ret/" function)               \
        int fm_##name(__u64 *ctx) {             \
                return call;                    \
        }

BOTH(cap, "capable", "security_capable", use_cap((__u32) ctx[2], ctx[3]))
BOTH(mount, "sb_mount", "security_sb_mount", refuse(BH_BLOCK_MOUNT))
BOTH(move, "move_mount", "security_move_mount", refuse(BH_BLOCK_MOUNT))
BOTH(trace, "ptrace_access_check", "security_ptrace_access_check", trace(ctx[1]))
BOTH(traceme, "ptrace_traceme", "security_ptrace_traceme", refuse(BH_BLOCK_PTRACE))
BOTH(request, "kernel_module_request", "security_kernel_module_request", refuse(BH_BLOCK_MODULE))
BOTH(read, "kernel_read_file", "security_kernel_read_file", read_file((__u32) ctx[1]))
BOTH(load, "kernel_load_data", "security_kernel_load_data", load_data((__u32) ctx[0]))

/* ---- asking ---- */

/* Run by the sensor: what the file behind its own descriptor is to the programs above. stat() says other numbers on an overlay. */
SEC("raw_tp/bh_block")
int ask(__u64 *ctx) {
        struct task_struct *task = (struct task_struct *) bpf_get_current_task();
        struct fdtable *fdt = BPF_CORE_READ(task, files, fdt);
        struct file **fds = BPF_CORE_READ(fdt, fd), *file = NULL;
        __u32 zero = 0, fd = (__u32) ctx[0];
        struct bh_block_asked *a = bpf_map_lookup_elem(&asked, &zero);

        if (!a)
                return 0;
        __builtin_memset(a, 0, sizeof(*a));
        if (fd >= BPF_CORE_READ(fdt, max_fds))
                return 0;
        bpf_probe_read_kernel(&file, sizeof(file), fds + fd);
        if (!file)
                return 0;

        struct inode *inode = BPF_CORE_READ(file, f_inode);
        a->ino = BPF_CORE_READ(inode, i_ino);
        a->dev = BPF_CORE_READ(inode, i_sb, s_dev);
        a->generation = generation_of(inode);
        a->overlay = on_overlay(inode);
        a->lower = a->overlay && !upper_of(inode);
        a->found = 1;
        return 0;
}

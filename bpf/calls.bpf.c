// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Which system calls the executables of containers make: counts, and the order of one thread's. Attached while the sensor wants to know (callers.c), and then
 * every call of the machine comes here; else it costs nothing. A call that is known costs a few loads, one hash over who calls, and one addition: what a thread runs and
 * where it is counted is looked up once, and remembered by its CPU.
 */
#include "core.bpf.h"
#include "calls_record.h"

#define NOBODY 0xffffu /* of no container */
#define NO_ROOM 0xfffeu
#define NOT_NOW 0xfffdu /* not to be remembered */
#define X32 0x40000000u

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __uint(map_flags, BPF_F_MMAPABLE);
        __type(key, __u32);
        __type(value, struct bh_call_state);
} call_state SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct bh_call_cpu);
} call_cpus SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, BH_CALLERS_MAX);
        __uint(map_flags, BPF_F_MMAPABLE);
        __type(key, __u32);
        __type(value, struct bh_caller);
} callers SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, BH_CALLERS_MAX);
        __type(key, struct bh_caller_id);
        __type(value, __u32);
} caller_ids SEC(".maps");

/* What the current task runs, where it is counted. */
static __noinline __u32 find_caller(struct task_struct *task, struct bh_call_state *state) {
        struct file *exe = BPF_CORE_READ(task, mm, exe_file);
        struct inode *inode = BPF_CORE_READ(exe, f_inode);
        struct bh_caller_id id = { .container = bh_container_of(bh_task_cgroup(task)) };
        struct bh_caller *c;
        __u32 *known, at;

        if (!id.container || !inode)
                return NOBODY;
        id.ino = BPF_CORE_READ(inode, i_ino);
        id.dev = BPF_CORE_READ(inode, i_sb, s_dev);
        known = bpf_map_lookup_elem(&caller_ids, &id);
        if (known)
                return *known & 0xffff;
        if (!bh_claim(&state->busy))
                return NOT_NOW;
        at = *(volatile __u32 *) &state->next;
        c = at < BH_CALLERS_MAX ? bpf_map_lookup_elem(&callers, &at) : NULL;
        /* another CPU may have made it since the look */
        known = bpf_map_lookup_elem(&caller_ids, &id);
        if (known || !c) {
                at = known ? *known & 0xffff : NO_ROOM;
        } else {
                c->container = id.container;
                c->ino = id.ino;
                c->dev = id.dev;
                c->tgid = bpf_get_current_pid_tgid() >> 32;
                c->start = BPF_CORE_READ(task, group_leader, start_boottime);
                bpf_probe_read_kernel_str(c->name, sizeof(c->name), BPF_CORE_READ(exe, f_path.dentry, d_name.name));
                if (bpf_map_update_elem(&caller_ids, &id, &at, BPF_NOEXIST))
                        at = NOT_NOW;
                else
                        *(volatile __u32 *) &state->next = at + 1;
        }
        bh_unclaim(&state->busy);
        return at;
}

/* The order of one thread's calls: of the first one that calls in a window. */
static __always_inline void keep_order(struct bh_caller_bank *b, __u32 tid, __u32 call) {
        __u64 n;

        if (!*(volatile __u32 *) &b->tid) {
                if (!bh_claim(&b->claims))
                        return;
                /* not given back: one is enough */
                *(volatile __u32 *) &b->tid = tid;
        } else if (*(volatile __u32 *) &b->tid != tid) {
                return;
        }
        n = *(volatile __u32 *) &b->n;
        if (n >= BH_CALLERS_ORDER) {
                b->left++;
                return;
        }
        asm volatile("" : "+r"(n));
        b->order[n & (BH_CALLERS_ORDER - 1)] = call;
        *(volatile __u32 *) &b->n = n + 1;
}

SEC("tp_btf/sys_enter")
int tp_call(__u64 *ctx) {
        __u32 zero = 0, at;
        struct bh_call_state *state = bpf_map_lookup_elem(&call_state, &zero);
        struct bh_call_cpu *cpu = bpf_map_lookup_elem(&call_cpus, &zero);
        struct task_struct *task = bh_current();
        __u64 who = bpf_get_current_pid_tgid(), key, word, *place, call = (__u32) ctx[1];
        struct bh_caller *c;

        if (!state || !cpu || *(volatile __u32 *) &state->paused)
                return 0;
        BH_ADD(cpu->seen, 1);
        /* what a thread runs changes with an exec, which counts; an id is used again by another program only in another process */
        key = (bh_hash(state->seed ^ who, BPF_CORE_READ(task, self_exec_id)) | 0x10000) & ~0xffffull;
        place = &cpu->cache[(key >> 20) & (BH_CALLERS_CACHE - 1)];
        word = *(volatile __u64 *) place;
        if ((word & ~0xffffull) == key) {
                at = word & 0xffff;
        } else {
                at = find_caller(task, state);
                if (at == NOT_NOW)
                        BH_ADD(cpu->contended, 1);
                else
                        *(volatile __u64 *) place = key | at;
        }
        if (at >= BH_CALLERS_MAX) {
                if (at == NO_ROOM)
                        BH_ADD(cpu->full, 1);
                return 0;
        }
        c = bpf_map_lookup_elem(&callers, &at);
        if (!c)
                return 0;
        if (call >= BH_CALLERS_BEYOND || call & X32)
                call = BH_CALLERS_BEYOND;
        if (BPF_CORE_READ(task, thread_info.status) & TS_COMPAT)
                call += BH_CALLERS_COMPAT;
        asm volatile("" : "+r"(call));
        call &= BH_CALLERS_CALLS - 1;

        struct bh_caller_bank *b = *(volatile __u32 *) &state->bank & 1 ? &c->bank[1] : &c->bank[0];
        BH_ADD(b->counts[call], 1);
        BH_ADD(cpu->counted, 1);
        keep_order(b, (__u32) who, call);
        return 0;
}

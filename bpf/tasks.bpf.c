// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The walk over all processes: called for each task when the sensor reads the iterator. The kernel goes through its table of ids and not through /proc, so that what hides a process from readers of /proc does not
 * hide it here. Attached to nothing.
 */
#include "core.bpf.h"
#include "task_record.h"

SEC("iter/task")
int walk_tasks(__u64 *ctx) {
        struct bpf_iter_meta *meta = (struct bpf_iter_meta *) ctx[0];
        struct task_struct *task = (struct task_struct *) ctx[1];
        struct bh_task_record r;
        struct bh_proc *p;

        if (!task)
                return 0;
        __builtin_memset(&r, 0, sizeof(r));
        r.tgid = (__u32) BPF_CORE_READ(task, tgid);
        /* by id and not by group_leader: when a thread execs it takes over the leader's id, start time and place in /proc */
        if (r.tgid != (__u32) BPF_CORE_READ(task, pid))
                return 0;
        r.start = BPF_CORE_READ(task, start_boottime);
        r.cgroup = bh_task_cgroup(task);
        p = bpf_map_lookup_elem(&procs, &r.tgid);
        r.origin = p && p->start == r.start ? p->origin : 0;
        /* a leader that ended while other threads go on is a zombie, and its process lives: the count of threads is what says */
        if (BPF_CORE_READ(task, signal, live.counter) <= 0)
                r.flags |= BH_TASK_DYING;
        if (BPF_CORE_READ(task, flags) & PF_KTHREAD)
                r.flags |= BH_TASK_KERNEL;
        if (r.tgid == (__u32) (bpf_get_current_pid_tgid() >> 32))
                r.flags |= BH_TASK_SELF;
        bh_read(r.comm, sizeof(r.comm), __builtin_preserve_access_index(&task->comm));
        r.comm[sizeof(r.comm) - 1] = 0;
        bpf_seq_write(meta->seq, &r, sizeof(r));
        return 0;
}

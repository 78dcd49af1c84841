/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What every kernel program stands on: shared maps, who acts, accounting, folding, budgets, building and sending a record.
 *
 * A hook does:
 *
 *     struct bh_buf *b = bh_begin(BH_EV_CHDIR, bh_hash(bh_hash(bh_place_of_file(file), ino), ret), 0);
 *     if (!b)
 *             return 0;                 // filtered, folded or lost: already accounted
 *     b->rec.ret = ret;
 *     b->rec.a[0] = dev;
 *     bh_put_file_path(b, BH_TAG_PATH, file);
 *     bh_end(b);
 *
 * Between begin and end nothing may return: end gives the scratch slot back and sends the record (bh_cancel() throws it away). The fold key says what makes two
 * acts of one process equal, while it runs one program; 0 means never folded. It has all that a record tells of what the act was about: of a file its name (bh_place()) and not only
 * its number. Accounting invariant, per cgroup and kind:
 * generated == delivered + folded + sum(lost).
 *
 * Maps are pinned by name, so that all objects and a sensor that comes back after a crash share them.
 */
#ifndef BH_CORE_BPF_H
#define BH_CORE_BPF_H

#include "kernel_types.h"
#include "record.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define BH_PINNED __uint(pinning, LIBBPF_PIN_BY_NAME)

/* Set before load, per kernel. */
const volatile __s32 bh_cgroup_subsys = -1; /* index of the v1 controller whose hierarchy names cgroups; -1: cgroup v2 */
const volatile __s32 bh_cgroup_hierarchy = 0; /* number of that hierarchy as in /proc/self/cgroup; 0: cgroup v2 */

struct {
        __uint(type, BPF_MAP_TYPE_RINGBUF);
        __uint(max_entries, 16 << 20);
        BH_PINNED;
} ring_life SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_RINGBUF);
        __uint(max_entries, 8 << 20);
        BH_PINNED;
} ring_key SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_RINGBUF);
        __uint(max_entries, 16 << 20);
        BH_PINNED;
} ring_bulk SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __uint(map_flags, BPF_F_MMAPABLE);
        __type(key, __u32);
        __type(value, struct bh_config);
        BH_PINNED;
} config SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_HASH);
        __uint(max_entries, 32768);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, struct bh_acct_key);
        __type(value, struct bh_acct);
        BH_PINNED;
} acct SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 32768);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, struct bh_acct_key);
        __type(value, struct bh_told);
        BH_PINNED;
} told SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 32768);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, struct bh_acct_key);
        __type(value, struct bh_spent);
        BH_PINNED;
} spent SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 16384);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, __u64);
        __type(value, struct bh_cgroup);
        BH_PINNED;
} cgroups SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 32768);
        __type(key, __u64);
        __type(value, struct bh_fold);
        BH_PINNED;
} folds SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, BH_EV_KERNEL_MAX);
        __uint(map_flags, BPF_F_MMAPABLE);
        __type(key, __u32);
        __type(value, __u64);
        BH_PINNED;
} canary_hits SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 131072);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, __u32);
        __type(value, struct bh_proc);
        BH_PINNED;
} procs SEC(".maps");
/* What the judgements in `quiet` rest on was changed so often: by the programs, by the sensor. */
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 2);
        __type(key, __u32);
        __type(value, __u64);
        BH_PINNED;
} changes SEC(".maps");
#define BH_QUIET_PLACES 16
struct bh_quiet {
        __u64 task[BH_QUIET_PLACES];
};
struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct bh_quiet);
        BH_PINNED;
} quiet SEC(".maps");
/* Scratch: where a record is built. Value bigger than a per-CPU map allows, so an array of (CPU, slot). */
#define BH_SLOTS 3
#define BH_BUF_SIZE 65536
#define BH_PATHBUF 8192

struct bh_buf {
        union {
                struct bh_rec rec;
                __u8 raw[BH_BUF_SIZE];
        };
        __u8 path[BH_PATHBUF + 256]; /* paths are rendered here from the end backwards */
        __u32 slot;
        __u32 ring;
        __u32 path_pos;
        __u32 path_done;
        __u64 walk_mnt, walk_dentry, walk_root; /* see bh_path_step() */
        __u32 index; /* of this buffer in `scratch` */
        __u32 pad;
};
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, BH_SLOTS); /* times the number of CPUs: set before load */
        __type(key, __u32);
        __type(value, struct bh_buf);
        BH_PINNED;
} scratch SEC(".maps");
struct bh_busy {
        __u64 jiffies, ns; /* see bh_about_now() */
        __u32 slot[BH_SLOTS];
        __u32 work[BH_SLOTS]; /* of `works`, see net.bpf.h */
};
struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct bh_busy);
        BH_PINNED;
} busy SEC(".maps");

/*
 * Programs may be preempted by others on the same CPU (tracepoints on 7.x), so "per CPU" is no protection: what is counted is added by one
 * instruction. Only addition without a result is there for all kernels since 5.10.
 */
#define BH_ADD(to, n) ((void) __sync_fetch_and_add(&(to), (n)))

/*
 * Takes a place of the current CPU, or what one holder at a time may do: whoever sees itself alone has it. Two that meet may both go without, never
 * both have it. To be given back on the same CPU.
 */
static __always_inline bool bh_claim(__u32 *place) {
        if (*(volatile __u32 *) place)
                return false;
        BH_ADD(*place, 1);
        if (*(volatile __u32 *) place == 1)
                return true;
        BH_ADD(*place, (__u32) -1);
        return false;
}

static __always_inline void bh_unclaim(__u32 *place) {
        BH_ADD(*place, (__u32) -1);
}

static __always_inline __u64 bh_hash(__u64 a, __u64 b) {
        __u64 h = (a ^ 0x9e3779b97f4a7c15ull) * 0xff51afd7ed558ccdull;

        h ^= h >> 32;
        h = (h ^ b) * 0xc4ceb9fe1a85ec53ull;
        return h ^ (h >> 29);
}

static __always_inline struct task_struct *bh_current(void) {
        return (struct task_struct *) bpf_get_current_task();
}

static __always_inline __u64 bh_kn_id(struct cgroup *cgrp) {
        return BPF_CORE_READ(cgrp, kn, id);
}

/* Id of the task's cgroup in the hierarchy that names containers. */
static __always_inline __u64 bh_task_cgroup(struct task_struct *task) {
        struct css_set *set = BPF_CORE_READ(task, cgroups);

        if (bh_cgroup_subsys < 0)
                return BPF_CORE_READ(set, dfl_cgrp, kn, id);

        struct cgroup_subsys_state *css = NULL;
        bh_read(&css, sizeof(css), (char *) set + bpf_core_field_offset(struct css_set, subsys) + 8 * (bh_cgroup_subsys & 31));
        return BPF_CORE_READ(css, cgroup, kn, id);
}

static __always_inline __u64 bh_container_of(__u64 cgroup) {
        struct bh_cgroup *cg = bpf_map_lookup_elem(&cgroups, &cgroup);

        return cg ? cg->container : 0;
}

/* By kind. A table and not a switch: the verifier would follow each case to the end of the program. */
static const __u8 bh_rings[256] = {
#define BH_EVENT_TYPE(num, id, name, ring, folds, doc) [num] = BH_RING_##ring,
#include "event_types.tbl.h"
};
_Static_assert(BH_EV_MAX <= sizeof(bh_rings), "every kind has its ring");

static __always_inline __u32 bh_ring_of(__u32 type) {
        return bh_rings[type & (sizeof(bh_rings) - 1)];
}

/* All zero: where a new entry of `acct` comes from, so that no chain of calls needs the stack for it. */
static const struct bh_acct bh_acct_none;

/* Per CPU and cgroup; a cgroup beyond the map's bound is counted under cgroup 0, whose entries the sensor made at start. */
static __noinline struct bh_acct *bh_acct_of(__u64 cgroup, __u32 type) {
        struct bh_acct_key key = { .cgroup = cgroup, .type = type };
        struct bh_acct *a = bpf_map_lookup_elem(&acct, &key);

        if (a)
                return a;
        bpf_map_update_elem(&acct, &key, &bh_acct_none, BPF_NOEXIST);
        a = bpf_map_lookup_elem(&acct, &key);
        if (!a) {
                key.cgroup = 0;
                a = bpf_map_lookup_elem(&acct, &key);
        }
        return a;
}

/*
 * Global functions (no `static`): the verifier looks at such a function once for each program, on its own, however often and from however many
 * states it is called, which is most of what a start costs. They take and give only numbers (5.10), so a buffer comes as its index and a kernel
 * pointer as a number.
 */

/* For a hook that must give up before or without a record. */
__noinline int bh_count_lost(__u64 cgroup, __u32 type, __u32 reason) {
        struct bh_acct *a = bh_acct_of(cgroup, type);

        if (a) {
                BH_ADD(a->generated, 1);
                BH_ADD(a->lost[reason & (BH_LOST_MAX - 1)], 1);
        }
        return 0;
}

/* Of the current task. The rest is read only for a record that is really built, or kept. */
static __always_inline void bh_who_is(struct bh_who *who, struct task_struct *task) {
        __u64 id = bpf_get_current_pid_tgid();
        struct bh_proc *p;

        who->tgid = id >> 32;
        who->tid = (__u32) id;
        who->start = BPF_CORE_READ(task, group_leader, start_boottime);
        who->cgroup = bh_task_cgroup(task);
        p = bpf_map_lookup_elem(&procs, &who->tgid);
        who->origin = p && p->start == who->start ? p->origin : 0;
}

static __always_inline void bh_actor_of(struct bh_actor *who, struct task_struct *task) {
        const struct cred *cred = BPF_CORE_READ(task, cred);

        bh_who_is(&who->id, task);
        who->ppid = BPF_CORE_READ(task, real_parent, tgid);
        who->uid = BPF_CORE_READ(cred, euid.val);
        who->gid = BPF_CORE_READ(cred, egid.val);
        who->mnt_ns = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
        bpf_get_current_comm(who->comm, sizeof(who->comm));
}

/*
 * CLOCK_BOOTTIME as it was when this CPU first asked in this tick of the kernel (1 to 10 ms): what windows and budgets need, at a quarter of the price of
 * a clock. Never ahead of the time.
 */
static __noinline __u64 bh_about_now(void) {
        __u32 zero = 0;
        struct bh_busy *b = bpf_map_lookup_elem(&busy, &zero);
        __u64 jiffies = bpf_jiffies64(), now;

        if (b && *(volatile __u64 *) &b->jiffies == jiffies)
                return b->ns;
        now = bpf_ktime_get_boot_ns();
        if (b) {
                *(volatile __u64 *) &b->ns = now;
                *(volatile __u64 *) &b->jiffies = jiffies;
        }
        return now;
}

/* Room in the budget of a cgroup and kind (or ring)? The count may be a little off where CPUs meet: a budget needs no more. */
__noinline int bh_spend(__u64 cgroup, __u32 type, __u64 limit, __u64 now) {
        struct bh_acct_key key = { .cgroup = cgroup, .type = type };
        struct bh_spent *s = bpf_map_lookup_elem(&spent, &key);

        if (!s) {
                struct bh_spent first = { .window = now };

                bpf_map_update_elem(&spent, &key, &first, BPF_NOEXIST);
                s = bpf_map_lookup_elem(&spent, &key);
        }
        if (!s) {
                /* the map is full: such cgroups share one budget, made by the sensor at start */
                key.cgroup = 0;
                s = bpf_map_lookup_elem(&spent, &key);
                if (!s)
                        return 0;
        }
        if (now - s->window >= 1000000000ull) {
                s->window = now;
                s->used = 0;
        }
        if (s->used >= limit)
                return 0;
        s->used++;
        return 1;
}

/* Of the lifecycle kinds only changes of credentials can be made as fast as a processor runs; the others are never refused. */
static __always_inline int bh_has_budget(__u32 type, __u32 ring) {
        return ring != BH_RING_LIFE || type == BH_EV_CREDS;
}

/*
 * An act on its way to a record. In: type, key (see above) and sum, its bytes. Out, where it is admitted: key is final, count and sum are what
 * the record stands for, with the repeats that were folded before it.
 *
 * The functions from here to bh_begin() are called ones, each with a small frame, and not one big one: kernels until 6.12 give a chain of calls
 * 512 bytes of stack, and hooks need most of it before they come here (tests/lint/check_stack.py holds the sum).
 */
struct bh_ticket {
        __u64 key, sum, now;
        __u32 type, count;
};

/* What no event is made of. The sensor's own acts, kinds that are switched off, bulk acts of the host. */
static __always_inline bool bh_unwanted(const struct bh_who *who, __u32 type, const struct bh_config *cfg) {
        if (cfg->self_tgid == who->tgid || cfg->off[(type >> 6) & 1] >> (type & 63) & 1)
                return true;
        /* ends of connections are told of the host too: the other end may be a container */
        if (bh_ring_of(type) == BH_RING_BULK && type != BH_EV_NET_CLOSE && !cfg->host_bulk && !who->origin) {
                struct bh_cgroup *cg = bpf_map_lookup_elem(&cgroups, &who->cgroup);

                /* a cgroup that is not in the map (it is full, or somebody took the entry away) is not passed over */
                return cg && !cg->container;
        }
        return false;
}

/* Whether nobody needs events of this kind. */
static __always_inline bool bh_is_off(const __u32 type) {
        __u32 zero = 0;
        struct bh_config *cfg = bpf_map_lookup_elem(&config, &zero);

        return !cfg || cfg->off[(type >> 6) & 1] >> (type & 63) & 1;
}

/* To be called after what bh_is_quiet() goes by has changed for tasks that live. */
static __always_inline void bh_quiet_changed(void) {
        __u32 zero = 0;
        __u64 *n = bpf_map_lookup_elem(&changes, &zero);

        if (n)
                BH_ADD(*n, 1);
}

static __noinline int bh_judge_quiet(struct task_struct *task) {
        __u32 zero = 0;
        struct bh_config *cfg = bpf_map_lookup_elem(&config, &zero);
        struct bh_who who = {};
        struct bh_cgroup *cg;

        bh_who_is(&who, task);
        if (!cfg || cfg->host_bulk || who.origin || cfg->canary_tgid == who.tgid)
                return 0;
        cg = bpf_map_lookup_elem(&cgroups, &who.cgroup);
        return cg && !cg->container;
}

/*
 * Whether no bulk act of the current task is an event: it is the host's. What most calls of most machines need to know, so each CPU remembers what it
 * found for its last tasks, each in one word (a program that interrupts here finds it whole): a hash over the task, its cgroups, and the number of
 * changes; and over the second of the sensor's heartbeat, so that no judgement gets old. Its low bits are 1 for a quiet task, 2 for another.
 * The hash is a sum of products, which a processor works out side by side: it is compared whole, so its low bits need not be good ones.
 */
static __always_inline bool bh_is_quiet(struct task_struct *task) {
        __u32 zero = 0, one = 1;
        struct bh_quiet *q = bpf_map_lookup_elem(&quiet, &zero);
        struct bh_config *cfg = bpf_map_lookup_elem(&config, &zero);
        __u64 *programs = bpf_map_lookup_elem(&changes, &zero), *sensor = bpf_map_lookup_elem(&changes, &one);

        if (!q || !cfg || !programs || !sensor)
                return false;

        __u64 of = (__u64) task * 0x9e3779b97f4a7c15ull + BPF_CORE_READ(task, start_boottime) * 0xff51afd7ed558ccdull + (__u64) BPF_CORE_READ(task, cgroups) * 0xc4ceb9fe1a85ec53ull;
        __u64 word = (of + *(volatile __u64 *) programs * 0xd6e8feb86659fd93ull + (*(volatile __u64 *) sensor ^ cfg->heartbeat >> 30 << 20) * 0xa0761d6478bd642full) & ~3ull, known;
        __u64 *place = &q->task[of >> 60 & (BH_QUIET_PLACES - 1)];

        known = *(volatile __u64 *) place;
        if ((known & ~3ull) != word) {
                known = word | (bh_judge_quiet(task) ? 1 : 2);
                *(volatile __u64 *) place = known;
        }
        return known & 1;
}

/* For a hook that cannot tell `n` acts of the current process, if they are wanted at all. */
__noinline int bh_lose(__u32 type, __u32 reason, __u64 n) {
        __u32 zero = 0;
        struct bh_config *cfg = bpf_map_lookup_elem(&config, &zero);
        struct bh_who who = {};
        struct bh_acct *a;

        bh_who_is(&who, bh_current());
        if (!cfg || (cfg->canary_tgid && cfg->canary_tgid == who.tgid) || bh_unwanted(&who, type, cfg))
                return 0;
        a = bh_acct_of(who.cgroup, type);
        if (a) {
                BH_ADD(a->generated, n);
                BH_ADD(a->lost[reason & (BH_LOST_MAX - 1)], n);
        }
        return 0;
}

/* TRUE: this act is one more of an open window and needs no record. Else t->key is 0 if it cannot be folded after all. */
static __noinline int bh_fold_into(const struct bh_who *who, struct bh_ticket *t, __u64 window) {
        struct bh_fold *f;

        t->key = bh_hash(bh_hash(t->key, t->type), bh_hash(who->start, who->tgid | (__u64) bpf_get_smp_processor_id() << 32)) | 1;
        f = bpf_map_lookup_elem(&folds, &t->key);
        if (!f) {
                struct bh_fold first = { .first = t->now, .last = t->now, .cgroup = who->cgroup, .start = who->start, .tgid = who->tgid, .type = (__u16) t->type };

                /* a full map means no folding for this act, not a loss */
                bpf_map_update_elem(&folds, &t->key, &first, BPF_NOEXIST);
                return 0;
        }
        if (t->now - f->last >= window + window / 2) {
                t->key = 0; /* closed: the sensor is about to sweep it */
                return 0;
        }
        f->last = t->now;
        if (t->now - f->first < window) {
                BH_ADD(f->count, 1);
                BH_ADD(f->bytes, t->sum);
                return 1;
        }
        /* one that this interrupted is taking them, or is about to: then this act is told alone */
        if (!bh_claim(&f->taking))
                return 0;

        __u32 count = f->count;
        __u64 bytes = f->bytes;
        f->first = t->now;
        BH_ADD(f->count, -count);
        BH_ADD(f->bytes, -bytes);
        bh_unclaim(&f->taking);
        t->count += count;
        t->sum += bytes;
        return 0;
}

/* Decides about an act of `who`: 0 if it is filtered (not an event), folded or over budget, else 1. */
static __noinline int bh_admit(const struct bh_who *who, struct bh_ticket *t) {
        __u32 zero = 0, type = t->type, ring = bh_ring_of(type);
        struct bh_config *cfg = bpf_map_lookup_elem(&config, &zero);

        if (!cfg)
                return 0;
        if (cfg->canary_tgid && cfg->canary_tgid == who->tgid) {
                __u64 *hits = bpf_map_lookup_elem(&canary_hits, &type);

                if (hits)
                        __sync_fetch_and_add(hits, 1);
                return 0;
        }
        if (bh_unwanted(who, type, cfg))
                return 0;

        struct bh_acct *a = bh_acct_of(who->cgroup, type);
        if (a)
                BH_ADD(a->generated, 1);

        t->now = bh_about_now();
        t->count = 1;
        if (!cfg->fold_window)
                t->key = 0;
        if (t->key && bh_fold_into(who, t, cfg->fold_window)) {
                if (a)
                        BH_ADD(a->folded, 1);
                return 0;
        }

        __u64 budget = cfg->budget[ring & 3];
        if (budget && bh_has_budget(type, ring) && !bh_spend(who->cgroup, type, BH_RESERVE(budget), t->now) &&
            !bh_spend(who->cgroup, BH_SPENT_RING + ring, budget, t->now)) {
                if (a) {
                        BH_ADD(a->folded, 1);
                        BH_ADD(a->over, t->count);
                        BH_ADD(a->over_bytes, t->sum);
                }
                return 0;
        }
        return 1;
}

/* A buffer with the head of the admitted act's record, or NULL: counted as lost. */
static __noinline struct bh_buf *bh_take(const struct bh_who *who, const struct bh_ticket *t) {
        __u32 zero = 0, cpu = bpf_get_smp_processor_id(), i, index;
        struct bh_busy *used = bpf_map_lookup_elem(&busy, &zero);
        struct bh_buf *b;

        if (!used)
                return NULL;
        if (bh_claim(&used->slot[0]))
                i = 0;
        else if (bh_claim(&used->slot[1]))
                i = 1;
        else if (bh_claim(&used->slot[2]))
                i = 2;
        else
                goto lost;

        index = cpu * BH_SLOTS + i;
        b = bpf_map_lookup_elem(&scratch, &index);
        if (!b) {
                bh_unclaim(&used->slot[i]);
                goto lost;
        }
        b->slot = i;
        b->index = index;
        b->ring = bh_ring_of(t->type);
        __builtin_memset(&b->rec, 0, sizeof(b->rec));
        b->rec.size = sizeof(b->rec);
        b->rec.type = (__u16) t->type;
        b->rec.cpu = (__u16) cpu;
        b->rec.ts = bpf_ktime_get_boot_ns();
        b->rec.cgroup = who->cgroup;
        b->rec.origin = who->origin;
        b->rec.start = who->start;
        b->rec.fold_key = t->key;
        b->rec.tgid = who->tgid;
        b->rec.tid = who->tid;
        b->rec.count = t->count;
        b->rec.a[4] = t->sum; /* kinds with bytes keep the sum there; others overwrite or ignore it */
        return b;

lost:;
        struct bh_acct *a = bh_acct_of(who->cgroup, t->type);
        if (a)
                BH_ADD(a->lost[BH_LOST_BUSY], 1);
        return NULL;
}

/* bh_begin() as a global function: index of the buffer, or -1. */
__noinline int bh_begin_at(__u32 type, __u64 key, __u64 bytes) {
        struct task_struct *task = bh_current();
        /* what a process does after it became another program is no repeat of what it did before */
        struct bh_ticket t = { .type = type, .key = key ? bh_hash(key, BPF_CORE_READ(task, self_exec_id)) | 1 : 0, .sum = bytes };
        struct bh_who who = {};
        struct bh_buf *b;

        bh_who_is(&who, task);
        if (!bh_admit(&who, &t))
                return -1;
        b = bh_take(&who, &t);
        if (!b)
                return -1;

        const struct cred *cred = BPF_CORE_READ(task, cred);
        b->rec.ppid = BPF_CORE_READ(task, real_parent, tgid);
        b->rec.uid = BPF_CORE_READ(cred, euid.val);
        b->rec.gid = BPF_CORE_READ(cred, egid.val);
        b->rec.mnt_ns = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
        bpf_get_current_comm(b->rec.comm, sizeof(b->rec.comm));
        return (int) b->index;
}

/* Starts a record about an act of the current task. `key`: see above; `bytes`: summed over folded repeats into a[4]. */
static __always_inline struct bh_buf *bh_begin(__u32 type, __u64 key, __u64 bytes) {
        int at = bh_begin_at(type, key, bytes);
        __u32 index = (__u32) at;

        return at < 0 ? NULL : bpf_map_lookup_elem(&scratch, &index);
}

/* Starts a record about an act of a process that need not be the current one any more: see bh_actor_of(). */
static __noinline struct bh_buf *bh_begin_as(const struct bh_actor *who, __u32 type, __u64 key, __u64 bytes) {
        struct bh_ticket t = { .type = type, .key = key, .sum = bytes };
        struct bh_buf *b;

        if (!bh_admit(&who->id, &t))
                return NULL;
        b = bh_take(&who->id, &t);
        if (!b)
                return NULL;
        b->rec.ppid = who->ppid;
        b->rec.uid = who->uid;
        b->rec.gid = who->gid;
        b->rec.mnt_ns = who->mnt_ns;
        __builtin_memcpy(b->rec.comm, who->comm, sizeof(b->rec.comm));
        return b;
}

static __always_inline void bh_release(struct bh_buf *b) {
        __u32 zero = 0, i = b->slot;
        struct bh_busy *used = bpf_map_lookup_elem(&busy, &zero);

        if (used && i < BH_SLOTS)
                bh_unclaim(&used->slot[i]);
}

__noinline int bh_end_at(__u32 index) {
        struct bh_buf *b = bpf_map_lookup_elem(&scratch, &index);
        struct bh_acct *a;
        __u32 size;
        long err;

        if (!b)
                return 0;
        a = bh_acct_of(b->rec.cgroup, b->rec.type);
        size = b->rec.size;
        if (size > BH_BUF_SIZE)
                size = BH_BUF_SIZE;
        /* no wake-ups: the reader looks every few milliseconds, and one interrupt an event would cost more than the event */
        if (b->ring == BH_RING_LIFE)
                err = bpf_ringbuf_output(&ring_life, b->raw, size, BPF_RB_NO_WAKEUP);
        else if (b->ring == BH_RING_KEY)
                err = bpf_ringbuf_output(&ring_key, b->raw, size, BPF_RB_NO_WAKEUP);
        else
                err = bpf_ringbuf_output(&ring_bulk, b->raw, size, BPF_RB_NO_WAKEUP);
        if (a) {
                if (err)
                        BH_ADD(a->lost[BH_LOST_RING_FULL], 1);
                else
                        BH_ADD(a->delivered, 1);
        }
        bh_release(b);
        return 0;
}

/* Sends the record and gives the slot back. */
static __always_inline int bh_end(struct bh_buf *b) {
        return bh_end_at(b->index);
}

/* For a record that turned out to be no event, or another's to tell: as if it had never been begun. Not for kinds that are folded. */
static __always_inline void bh_cancel(struct bh_buf *b) {
        struct bh_acct *a = bh_acct_of(b->rec.cgroup, b->rec.type);

        if (a)
                BH_ADD(a->generated, -1);
        bh_release(b);
}

/*
 * Chunks. Offsets come from memory, so each put bounds them anew for the verifier: a chunk begins below BH_CHUNK_TOP and is at most
 * 4096 + 255 bytes, arguments and environment have their own readers in process.bpf.c.
 */
#define BH_CHUNK_TOP 60000u

/* Room for a chunk of `len` <= 4400 bytes: offset of its content, or 0 if the record is full (then nothing is put). */
static __always_inline __u32 bh_chunk_at(struct bh_buf *b, __u32 tag, __u32 len) {
        __u32 off = b->rec.size;

        if (off > BH_CHUNK_TOP)
                return 0;

        struct bh_chunk *c = (struct bh_chunk *) (b->raw + off);
        c->tag = (__u16) tag;
        c->len = (__u16) len;
        b->rec.size = off + sizeof(*c) + len;
        return off + sizeof(*c);
}

/* Fixed-size bytes known at compile time (structs). `size` <= 256. */
static __always_inline void bh_put_struct(struct bh_buf *b, __u32 tag, const void *data, const __u32 size) {
        __u32 at = bh_chunk_at(b, tag, size);

        if (at && at <= BH_CHUNK_TOP + sizeof(struct bh_chunk))
                bpf_probe_read_kernel(b->raw + at, size, data);
}

/* A NUL-terminated string of kernel memory, at most `max` <= 4096 bytes (constant). */
static __always_inline void bh_put_kernel_str(struct bh_buf *b, __u32 tag, const void *str, const __u32 max) {
        __u32 off = b->rec.size;

        if (off > BH_CHUNK_TOP)
                return;

        long n = bpf_probe_read_kernel_str(b->raw + off + sizeof(struct bh_chunk), max, str);
        if (n < 0) {
                b->rec.flags |= BH_RF_FAULT;
                return;
        }
        if (n > 0)
                n--;
        struct bh_chunk *c = (struct bh_chunk *) (b->raw + off);
        c->tag = (__u16) tag;
        c->len = (__u16) n;
        b->rec.size = off + sizeof(*c) + (__u32) n;
}

/* The same of user memory. */
static __always_inline void bh_put_user_str(struct bh_buf *b, __u32 tag, const void *str, const __u32 max) {
        __u32 off = b->rec.size;

        if (off > BH_CHUNK_TOP)
                return;

        long n = bpf_probe_read_user_str(b->raw + off + sizeof(struct bh_chunk), max, str);
        if (n < 0) {
                b->rec.flags |= BH_RF_FAULT;
                return;
        }
        if (n > 0)
                n--;
        struct bh_chunk *c = (struct bh_chunk *) (b->raw + off);
        c->tag = (__u16) tag;
        c->len = (__u16) n;
        b->rec.size = off + sizeof(*c) + (__u32) n;
}

/* `len` bytes of user memory, cut at `max` (constant, a power of two <= 4096). Sets BH_RF_PAYLOAD_CUT. */
static __always_inline void bh_put_user_bytes(struct bh_buf *b, __u32 tag, const void *data, __u64 len, const __u32 max) {
        __u32 off = b->rec.size;
        __u64 n = len < max ? len : max;

        if (off > BH_CHUNK_TOP || !n)
                return;
        if (len > max)
                b->rec.flags |= BH_RF_PAYLOAD_CUT;
        asm volatile("" : "+r"(n));
        if (n > 4096)
                return;
        if (bpf_probe_read_user(b->raw + off + sizeof(struct bh_chunk), n, data)) {
                b->rec.flags |= BH_RF_FAULT;
                return;
        }
        struct bh_chunk *c = (struct bh_chunk *) (b->raw + off);
        c->tag = (__u16) tag;
        c->len = (__u16) n;
        b->rec.size = off + sizeof(*c) + (__u32) n;
}

/* Change time in ns; the member was renamed twice. */
static __always_inline __u64 bh_ctime(struct inode *inode) {
        if (bpf_core_field_exists(inode->i_ctime_sec))
                return (__u64) BPF_CORE_READ(inode, i_ctime_sec) * 1000000000ull + BPF_CORE_READ(inode, i_ctime_nsec);
        if (bpf_core_field_exists(inode->__i_ctime))
                return (__u64) BPF_CORE_READ(inode, __i_ctime.tv_sec) * 1000000000ull + (__u64) BPF_CORE_READ(inode, __i_ctime.tv_nsec);

        struct inode___old *old = (void *) inode;
        return (__u64) BPF_CORE_READ(old, i_ctime.tv_sec) * 1000000000ull + (__u64) BPF_CORE_READ(old, i_ctime.tv_nsec);
}

static __always_inline bool bh_unlinked(struct dentry *dentry) {
        return BPF_CORE_READ(dentry, d_hash.pprev) == NULL;
}

/* Open file behind a descriptor of the current process, or NULL. */
static __always_inline struct file *bh_task_file(struct task_struct *task, __s64 fd) {
        struct fdtable *fdt = BPF_CORE_READ(task, files, fdt);
        struct file **fds = BPF_CORE_READ(fdt, fd), *file = NULL;

        if (fd < 0 || fd >= BPF_CORE_READ(fdt, max_fds))
                return NULL;
        bh_read(&file, sizeof(file), fds + fd);
        /* 6.10 and later keep nothing in the low bits here; older neither: struct file is at least 8-aligned */
        return file;
}

static __always_inline struct file *bh_file_of_fd(__s64 fd) {
        return bh_task_file(bh_current(), fd);
}

static __always_inline void bh_read_caps(__u64 *out, const void *set) {
        bh_read(out, sizeof(*out), set);
}

static __always_inline void bh_put_cred(struct bh_buf *b, __u32 tag, const struct cred *cred) {
        struct bh_cred c = {
                .uid = BPF_CORE_READ(cred, uid.val),
                .gid = BPF_CORE_READ(cred, gid.val),
                .suid = BPF_CORE_READ(cred, suid.val),
                .sgid = BPF_CORE_READ(cred, sgid.val),
                .euid = BPF_CORE_READ(cred, euid.val),
                .egid = BPF_CORE_READ(cred, egid.val),
                .fsuid = BPF_CORE_READ(cred, fsuid.val),
                .fsgid = BPF_CORE_READ(cred, fsgid.val),
                .user_ns = BPF_CORE_READ(cred, user_ns, ns.inum),
                .securebits = BPF_CORE_READ(cred, securebits),
        };

        bh_read_caps(&c.cap_inheritable, __builtin_preserve_access_index(&cred->cap_inheritable));
        bh_read_caps(&c.cap_permitted, __builtin_preserve_access_index(&cred->cap_permitted));
        bh_read_caps(&c.cap_effective, __builtin_preserve_access_index(&cred->cap_effective));
        bh_read_caps(&c.cap_bounding, __builtin_preserve_access_index(&cred->cap_bset));
        bh_read_caps(&c.cap_ambient, __builtin_preserve_access_index(&cred->cap_ambient));
        bh_put_struct(b, tag, &c, sizeof(c));
}

#include "path.bpf.h"

#endif

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The walk over all sockets: called for each descriptor of each process when the sensor reads the iterator. One reader at a time.
 *
 * Entering a connection that nobody followed is done here and not by the sensor, because here its file is held: the kernel's object cannot become
 * another's between the look and the entry.
 */
#include "unix.bpf.h"

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct bh_sock_walk);
} walk SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 16384);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, struct bh_sock_port);
        __type(value, __u32);
} listened SEC(".maps");

static __always_inline bool is_connection(int state) {
        return state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT || fin_due(state);
}

/* As bh_actor_of(), of a task that is not the current one. */
static __always_inline void owner(struct bh_sock_record *r, struct task_struct *task) {
        const struct cred *cred = BPF_CORE_READ(task, cred);
        struct bh_proc *p;

        r->tgid = (__u32) BPF_CORE_READ(task, tgid);
        r->start = BPF_CORE_READ(task, group_leader, start_boottime);
        r->cgroup = bh_task_cgroup(task);
        p = bpf_map_lookup_elem(&procs, &r->tgid);
        r->origin = p && p->start == r->start ? p->origin : 0;
        r->uid = BPF_CORE_READ(cred, euid.val);
        r->gid = BPF_CORE_READ(cred, egid.val);
        r->mnt_ns = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
        task = BPF_CORE_READ(task, group_leader);
        bh_read(r->comm, sizeof(r->comm), __builtin_preserve_access_index(&task->comm));
}

static __noinline int enter(struct bh_sock_walk *w, struct task_struct *task, __u32 replace) {
        struct bh_sock_record *r = &w->record;
        struct bh_conn c = {
                .who = { .id = { .cgroup = r->cgroup, .origin = r->origin, .start = r->start, .tgid = r->tgid, .tid = r->tgid },
                         .ppid = BPF_CORE_READ(task, real_parent, tgid), .uid = r->uid, .gid = r->gid, .mnt_ns = r->mnt_ns },
                .addr = r->addr,
                .since = w->now,
                .seen = w->now,
                .outgoing = r->flags & BH_SOCK_CLIENT ? 1 : 0,
                .flags = BH_RF_FOUND,
        };
        __u64 key = r->sk;
        int err;

        __builtin_memcpy(c.who.comm, r->comm, sizeof(c.who.comm));
        err = conn_put(key, &c, replace);
        if (err) {
                w->full += err != -EEXIST; /* a hook was faster */
                return 0;
        }
        r->flags |= BH_SOCK_TRACKED | BH_SOCK_FOUND;
        r->since = c.since;
        w->entered++;
        if (BPF_CORE_READ((struct sock *) key, __sk_common.skc_state) == TCP_CLOSE)
                conn_take_out(key, c.share);
        return 0;
}

/* What hooks know of a connection, else what its counters and who listens say. */
static __noinline int connection(struct bh_sock_walk *w, struct sock *sk, struct task_struct *task) {
        struct bh_sock_record *r = &w->record;
        __u64 key = (__u64) sk;
        struct bh_conn *c = bpf_map_lookup_elem(&conns, &key);
        int state = r->state;
        struct conn_counts n;
        __u32 replace = c != NULL;

        if (c && is_of(c, sk)) {
                r->cgroup = c->who.id.cgroup;
                r->origin = c->who.id.origin;
                r->start = c->who.id.start;
                r->tgid = c->who.id.tgid;
                r->uid = c->who.uid;
                r->gid = c->who.gid;
                r->mnt_ns = c->who.mnt_ns;
                __builtin_memcpy(r->comm, c->who.comm, sizeof(r->comm));
                r->since = c->since;
                c->seen = w->now;
                r->flags |= BH_SOCK_TRACKED | (c->outgoing ? BH_SOCK_CLIENT : BH_SOCK_SERVER) | (c->flags & BH_RF_FOUND ? BH_SOCK_FOUND : BH_SOCK_BY_EVENT);
        } else if (state == TCP_SYN_SENT) {
                r->flags |= BH_SOCK_CLIENT;
        } else if (is_connection(state)) {
                r->flags |= side_by_counters(sk, state);
                if (!(r->flags & (BH_SOCK_CLIENT | BH_SOCK_SERVER)) && w->ports_known) {
                        struct bh_sock_port port = { .net_ns = r->net_ns, .port = r->addr.lport };

                        r->flags |= BH_SOCK_BY_PORT | (bpf_map_lookup_elem(&listened, &port) ? BH_SOCK_SERVER : BH_SOCK_CLIENT);
                }
                if (r->flags & (BH_SOCK_CLIENT | BH_SOCK_SERVER) && !bh_is_off(BH_EV_NET_CLOSE))
                        enter(w, task, replace);
        } else {
                return 0;
        }
        conn_count(&n, sk, r->flags & BH_SOCK_CLIENT ? 1 : 0, state);
        r->bytes_out = n.out;
        r->bytes_in = n.in;
        r->packets_out = n.packets_out;
        r->packets_in = n.packets_in;
        return 0;
}

static __always_inline __u64 ino_of_sock(struct sock *sk) {
        return BPF_CORE_READ(sk, sk_socket, file, f_inode, i_ino);
}

static __noinline int unix_names(struct bh_sock_record *r, struct sock *sk) {
        struct unix_sock *peer = (struct unix_sock *) BPF_CORE_READ((struct unix_sock *) sk, peer), *named = (struct unix_sock *) sk;
        struct unix_address *addr = BPF_CORE_READ(named, addr), *theirs = peer ? BPF_CORE_READ(peer, addr) : NULL;
        struct dentry *dentry;

        if (peer)
                r->peer_ino = ino_of_sock((struct sock *) peer);
        r->peer_pid = unix_peer_pid(sk);
        if (theirs && !unix_serves(sk, addr, theirs)) {
                named = peer;
                addr = theirs;
                r->flags |= BH_SOCK_PATH_OF_PEER;
        }
        if (!addr)
                return 0;
        dentry = BPF_CORE_READ(named, path.dentry);
        if (dentry) {
                r->path_ino = BPF_CORE_READ(dentry, d_inode, i_ino);
                r->path_dev = BPF_CORE_READ(dentry, d_inode, i_sb, s_dev);
        }
        r->path_len = (__u8) unix_name(r->path, addr);
        if (r->path_len)
                r->size = sizeof(*r);
        return 0;
}

SEC("iter/task_file")
int walk_sockets(__u64 *ctx) {
        struct bpf_iter_meta *meta = (struct bpf_iter_meta *) ctx[0];
        struct task_struct *task = (struct task_struct *) ctx[1];
        struct file *file = (struct file *) ctx[3];
        __u32 zero = 0;
        struct bh_sock_walk *w = bpf_map_lookup_elem(&walk, &zero);
        struct bh_sock_record *r;
        struct sock *sk;

        if (!task || !file || !w)
                return 0;
        w->descriptors++;
        sk = sock_of_file(file);
        if (!sk)
                return 0;
        r = &w->record;
        __builtin_memset(r, 0, BH_SOCK_RECORD_MIN);
        r->size = BH_SOCK_RECORD_MIN;
        r->sk = (__u64) sk;
        r->ino = BPF_CORE_READ(file, f_inode, i_ino);
        sock_addr(&r->addr, sk);
        r->net_ns = sock_net_ns(sk);
        r->state = BPF_CORE_READ(sk, __sk_common.skc_state);
        owner(r, task);
        if (r->addr.family == AF_UNIX)
                unix_names(r, sk);
        else if (is_inet(r->addr.family) && r->addr.proto == IPPROTO_TCP)
                connection(w, sk, task);
        if (r->size == sizeof(*r))
                bpf_seq_write(meta->seq, r, sizeof(*r));
        else
                bpf_seq_write(meta->seq, r, BH_SOCK_RECORD_MIN);
        return 0;
}

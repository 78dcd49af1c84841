/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Connected Unix sockets: whose name is meant, and what is sent over them. For unixes.bpf.c, payload.bpf.c, and the walk.
 */
#ifndef BH_UNIX_BPF_H
#define BH_UNIX_BPF_H

#include "sock.bpf.h"

/*
 * Which of two connected sockets serves. An accepted stream shares the object of its name with its listener, a client that has bound a name has one to itself. Who is connected to a
 * datagram socket that has a name is its client; the other end need not be connected.
 */
static __always_inline bool unix_serves(struct sock *sk, struct unix_address *own, struct unix_address *theirs) {
        if (!own || !theirs)
                return own != NULL;
        if (BPF_CORE_READ(sk, sk_type) == SOCK_DGRAM)
                return false;
        return BPF_CORE_READ(own, refcnt.refs.counter) > 1 || BPF_CORE_READ(theirs, refcnt.refs.counter) <= 1;
}

static __always_inline __u32 unix_peer_pid(struct sock *sk) {
        struct pid *pid = BPF_CORE_READ(sk, sk_peer_pid);
        __u32 nr = 0;

        if (pid)
                bh_read(&nr, sizeof(nr), (char *) pid + bpf_core_field_offset(struct pid, numbers));
        return nr;
}

/* The name of `named`, without the family. Its length; 0: none. */
static __always_inline __u32 unix_name(__u8 *to, struct unix_address *addr) {
        __u64 len = (__u64) BPF_CORE_READ(addr, len) - 2;

        if (!len)
                return 0;
        asm volatile("" : "+r"(len)); /* or the compiler makes one comparison of both, which the verifier of 5.10 does not follow */
        if (len > BH_SOCK_PATH_MAX || bpf_probe_read_kernel(to, len, (const char *) addr + bpf_core_field_offset(struct unix_address, name) + 2))
                return 0;
        return (__u32) len;
}

static __always_inline struct bh_unix_lost *unix_losses(void) {
        __u32 zero = 0;

        return bpf_map_lookup_elem(&unix_lost, &zero);
}

static __noinline int unix_first(struct bh_unix_key *key, struct unix_sock *named, __u64 cgroup, __u32 n, __u32 sent) {
        struct bh_unix_moved m = { .cgroup = cgroup, .first = bpf_ktime_get_boot_ns() }, *other;
        struct unix_address *addr = (struct unix_address *) key->addr;
        struct dentry *dentry = BPF_CORE_READ(named, path.dentry);
        struct bh_unix_lost *lost;

        m.last = m.first;
        m.path_len = (__u8) unix_name(m.path, addr);
        if (dentry) {
                m.path_ino = BPF_CORE_READ(dentry, d_inode, i_ino);
                m.path_dev = BPF_CORE_READ(dentry, d_inode, i_sb, s_dev);
        }
        if (sent) {
                m.bytes_out = n;
                m.messages_out = 1;
        } else {
                m.bytes_in = n;
                m.messages_in = 1;
        }
        if (!bpf_map_update_elem(&unix_moved, key, &m, BPF_NOEXIST))
                return 0;
        other = bpf_map_lookup_elem(&unix_moved, key); /* another thread was faster */
        if (other && sent) {
                BH_ADD(other->bytes_out, n);
                BH_ADD(other->messages_out, 1);
        } else if (other) {
                BH_ADD(other->bytes_in, n);
                BH_ADD(other->messages_in, 1);
        } else if ((lost = unix_losses())) {
                BH_ADD(lost->refused, 1);
                BH_ADD(lost->refused_bytes, n);
        }
        return 0;
}

/* `n` bytes were sent over (or, `sent` 0, received from) a Unix socket by the current process. `by`: enum bh_unix_by, of who says so. */
__noinline int bh_unix_count(__u64 socket, __u32 sent, __u32 n, __u32 by) {
        struct sock *sk = (struct sock *) socket;
        struct unix_sock *u = (struct unix_sock *) sk, *peer;
        struct unix_address *own, *theirs;
        struct bh_unix_key key = {};
        struct bh_unix_moved *m;
        struct bh_unix_lost *lost;
        struct bh_config *cfg;
        __u64 cgroup;
        __u32 zero = 0;
        struct bh_proc *p;

        cfg = bpf_map_lookup_elem(&config, &zero);
        if (!cfg || *(volatile __u8 *) &cfg->unix_by != by || !*(volatile __u8 *) &cfg->unix_wanted)
                return 0;
        if (!sent && BPF_CORE_READ(sk, sk_type) != SOCK_DGRAM)
                return 0;
        peer = (struct unix_sock *) BPF_CORE_READ(u, peer);
        own = BPF_CORE_READ(u, addr);
        if (!peer) {
                lost = sent ? unix_losses() : NULL;
                if (lost && bh_container_of(bh_task_cgroup(bh_current()))) {
                        BH_ADD(lost->unaddressed, 1);
                        BH_ADD(lost->unaddressed_bytes, n);
                }
                return 0;
        }
        theirs = BPF_CORE_READ(peer, addr);
        if (!own && !theirs) /* socketpair(): within one program, or a child of it */
                return 0;
        key.tgid = bpf_get_current_pid_tgid() >> 32;
        if (key.tgid == cfg->self_tgid)
                return 0;
        key.peer_pid = unix_peer_pid(sk);
        cgroup = bh_task_cgroup(bh_current());
        if (!bh_container_of(cgroup)) {
                p = bpf_map_lookup_elem(&procs, &key.peer_pid); /* those that come from containers */
                if (!p || !p->origin)
                        return 0;
        }
        key.server = unix_serves(sk, own, theirs);
        key.addr = (__u64) (key.server ? own : theirs);
        key.start = BPF_CORE_READ(bh_current(), group_leader, start_boottime);
        key.turn = *(volatile __u8 *) &cfg->unix_turn;
        m = bpf_map_lookup_elem(&unix_moved, &key);
        if (!m)
                return unix_first(&key, key.server ? u : peer, cgroup, n, sent);
        if (sent) {
                BH_ADD(m->bytes_out, n);
                BH_ADD(m->messages_out, 1);
        } else {
                BH_ADD(m->bytes_in, n);
                BH_ADD(m->messages_in, 1);
        }
        m->last = bh_about_now();
        return 0;
}

#endif

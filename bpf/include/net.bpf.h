/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Network acts, as both backends of net.bpf.c report them: addresses of sockets, unix names, TCP connections from beginning to end, datagrams
 * and DNS messages.
 *
 * Kernel objects are read as they are at the hook, without locks: a thread that changes the socket at that very moment can make one
 * record describe the change, no more. For net.bpf.c alone.
 */
#ifndef BH_NET_BPF_H
#define BH_NET_BPF_H

#include "sock.bpf.h"
#include "syscall.bpf.h"
#include "target.bpf.h"

/* An event in the making. Small: it lives on the stack, of which a chain of calls has 512 bytes. */
struct act {
        struct bh_addr addr;
        const char *un;    /* unix sockets: name of the peer or of the socket, without the family */
        struct file *file; /* if set, a[0] is its descriptor */
        __u64 key;
        __s64 ret;
        __s32 a[3];
        __u32 flags;
        __u16 un_len;
        __u8 un_user;      /* 1: `un` is in the caller's memory */
        __u8 type;
        __u32 pad;
};

/* ---- addresses that callers give ---- */

/* struct sockaddr_in, _in6 and _ll begin alike on both interfaces. */
struct any_addr {
        __u16 family;
        __u16 port; /* packet: protocol */
        __u32 v4;   /* IPv6: flow; packet: interface */
        __u8 v6[16];
        __u32 scope;
};

static __always_inline int read_addr(struct any_addr *to, const void *from, __s64 len, bool user) {
        __u64 n = len < (__s64) sizeof(*to) ? (__u64) len : sizeof(*to);

        __builtin_memset(to, 0, sizeof(*to));
        if (!from || len < 2)
                return -1;
        asm volatile("" : "+r"(n));
        if (n > sizeof(*to))
                return -1;
        return user ? bpf_probe_read_user(to, n, from) : bpf_probe_read_kernel(to, n, from);
}

/* Puts `from` into the socket's address as remote or local. */
static __always_inline void use_addr(struct bh_addr *a, const struct any_addr *from, bool local) {
        __u8 *ip = local ? a->laddr : a->raddr;
        __u16 port = swap16(from->port);

        if (from->family == AF_PACKET) {
                a->ifindex = from->v4;
                if (port)
                        a->proto = port;
                return;
        }
        if (from->family == AF_INET6) {
                __builtin_memcpy(ip, from->v6, 16);
                if (from->v6[0] == 0xfe && (from->v6[1] & 0xc0) == 0x80 && from->scope)
                        a->ifindex = from->scope;
        } else if (from->family == AF_INET) {
                if (a->family == AF_INET6) { /* as the kernel maps it */
                        __builtin_memset(ip, 0, 16);
                        ip[10] = 0xff;
                        ip[11] = 0xff;
                        __builtin_memcpy(ip + 12, &from->v4, 4);
                } else {
                        __builtin_memcpy(ip, &from->v4, 4);
                }
        } else {
                return;
        }
        if (a->type == SOCK_RAW)
                return;
        if (local)
                a->lport = port;
        else
                a->rport = port;
}

static __always_inline __u64 addr_key(const struct bh_addr *a) {
        const __u64 *l = (const __u64 *) a->laddr, *r = (const __u64 *) a->raddr;
        __u64 h = bh_hash((__u64) a->family << 32 | (__u64) a->type << 16 | a->proto, a->ifindex);

        h = bh_hash(h, l[0] ^ l[1] << 1);
        h = bh_hash(h, l[1]);
        h = bh_hash(h, r[0]);
        return bh_hash(h, r[1]);
}

static __always_inline __u64 peer_key(const struct bh_addr *a) {
        const __u64 *r = (const __u64 *) a->raddr;
        __u64 h = bh_hash((__u64) a->family << 32 | (__u64) a->type << 16 | a->proto, (__u64) a->ifindex << 16 | a->rport);

        h = bh_hash(h, r[0]);
        return bh_hash(h, r[1]);
}

/* ---- unix sockets ---- */

static __always_inline void un_of_sock(struct act *n, struct sock *sk) {
        struct unix_address *addr = BPF_CORE_READ((struct unix_sock *) sk, addr);

        if (!addr)
                return;
        n->un = (const char *) addr + bpf_core_field_offset(struct unix_address, name) + 2;
        n->un_len = (__u16) (BPF_CORE_READ(addr, len) - 2);
        n->un_user = 0;
}

static __always_inline void un_of_user(struct act *n, const void *addr, __s64 len, bool user) {
        if (len <= 2 || len > 110)
                return;
        n->un = (const char *) addr + 2;
        n->un_len = (__u16) (len - 2);
        n->un_user = user;
}

static __noinline __u64 un_key(struct act *n) {
        __u64 h = 0;

        for (__u32 i = 0; i < 14; i++) {
                __u64 word = 0, left = n->un_len - i * 8;

                if (!n->un || i * 8 >= n->un_len)
                        break;
                if (left > 8)
                        left = 8;
                asm volatile("" : "+r"(left));
                if (left > 8)
                        break;
                if (n->un_user)
                        bpf_probe_read_user(&word, left, n->un + i * 8);
                else
                        bpf_probe_read_kernel(&word, left, n->un + i * 8);
                h = bh_hash(h, word);
                if (i == 0 && (word & 0xff) == 0)
                        h ^= 1;
        }
        return h;
}

/* Abstract names begin with a NUL and may hold more: '@', as /proc/net/unix has them. */
static __noinline int put_un(struct bh_buf *b, struct act *n) {
        __u8 name[112] = {};
        __u64 len = n->un_len;
        __u32 off = b->rec.size;

        if (off > BH_CHUNK_TOP || !n->un || !len || len > 108)
                return 0;
        asm volatile("" : "+r"(len));
        if (len > 108)
                return 0;
        if (n->un_user ? bpf_probe_read_user(name, len, n->un) : bpf_probe_read_kernel(name, len, n->un)) {
                b->rec.flags |= BH_RF_FAULT;
                return 0;
        }
        if (name[0]) {
                /* a path ends at its NUL, if it has one */
                long k = bpf_probe_read_kernel_str(b->raw + off + sizeof(struct bh_chunk), 110, name);

                if (k <= 1)
                        return 0;
                len = (__u64) k - 1;
        } else {
                for (__u32 i = 0; i < 108; i++)
                        name[i] |= (__u8) ((((__u32) name[i] - 1) >> 31) * '@');
                bpf_probe_read_kernel(b->raw + off + sizeof(struct bh_chunk), len, name);
        }
        struct bh_chunk *c = (struct bh_chunk *) (b->raw + off);
        c->tag = BH_TAG_PATH;
        c->len = (__u16) len;
        b->rec.size = off + sizeof(*c) + (__u32) len;
        return 0;
}

static __always_inline __u32 peer_pid(struct sock *sk) {
        struct pid *pid = BPF_CORE_READ(sk, sk_peer_pid);
        int nr = 0;

        if (pid)
                bh_read(&nr, sizeof(nr), (char *) pid + bpf_core_field_offset(struct pid, numbers));
        return (__u32) nr;
}

/* ---- who and how ---- */

static __always_inline bool kernel_thread(void) {
        return BPF_CORE_READ(bh_current(), flags) & PF_KTHREAD;
}

static __always_inline __u32 compat_flag(void) {
        return bh_compat_task() ? BH_RF_COMPAT : 0;
}

#define NR_IO_URING_ENTER 426 /* both interfaces */

/* Made by these system calls (native numbers, 32-bit number or socketcall), not by io_uring while the task is in or on its way out of some call. */
static __always_inline bool in_call(__u32 native, __u32 native2, __u32 compat) {
        __u32 nr = (__u32) BPF_CORE_READ(bh_user_regs(), orig_ax);

        if (BPF_CORE_READ(bh_current(), flags) & PF_IO_WORKER)
                return false;
        if (BPF_CORE_READ(bh_current(), thread_info.status) & TS_COMPAT)
                return nr == compat || nr == 102;
        nr &= ~0x40000000; /* x32 */
        return nr == native || nr == native2;
}

static __always_inline bool through_uring(void) {
        if (BPF_CORE_READ(bh_current(), flags) & PF_IO_WORKER)
                return true;
        return (__u32) BPF_CORE_READ(bh_user_regs(), orig_ax) == NR_IO_URING_ENTER;
}

/* Descriptor of a file that the current call works on: most calls have it as first argument. io_uring's is looked for among the low ones. */
static __noinline __s64 fd_of(struct file *file) {
        const struct pt_regs *regs = bh_user_regs();
        __s64 fd;

        if (BPF_CORE_READ(bh_current(), thread_info.status) & TS_COMPAT) {
                fd = (__s32) BPF_CORE_READ(regs, bx);
                if (BPF_CORE_READ(regs, orig_ax) == 102) {
                        __s32 first = -1;

                        bpf_probe_read_user(&first, sizeof(first), (void *) (__u64) (__u32) BPF_CORE_READ(regs, cx));
                        fd = first;
                }
        } else {
                fd = (__s32) BPF_CORE_READ(regs, di);
        }
        if (bh_file_of_fd(fd) == file)
                return fd;

        struct fdtable *fdt = BPF_CORE_READ(bh_current(), files, fdt);
        struct file **fds = BPF_CORE_READ(fdt, fd);
        __u32 max = BPF_CORE_READ(fdt, max_fds);

        __s32 found = -1, result = -1;
        for (__s32 i = 0; i < 64; i++) {
                struct file *f = NULL;

                if ((__u32) i >= max)
                        break;
                bh_read(&f, sizeof(f), fds + i);
                if (f == file) {
                        found = i;
                        break;
                }
        }
        /* any number to the verifier: it would follow each of the 64 on its own from here */
        bpf_probe_read_kernel(&result, sizeof(result), &found);
        return result;
}

static __noinline int finish(struct bh_buf *b, struct act *n) {
        b->rec.ret = n->ret;
        b->rec.flags |= n->flags;
        b->rec.a[0] = (__u64) (n->file ? fd_of(n->file) : n->a[0]);
        b->rec.a[1] = (__u32) n->a[1];
        b->rec.a[2] = (__u64) (__s64) n->a[2];
        bh_put_struct(b, BH_TAG_ADDR, &n->addr, sizeof(n->addr));
        put_un(b, n);
        return bh_end(b);
}

/* Sends what is gathered. `bytes`: see bh_begin(). In line: the frames of a chain of calls share 512 bytes of stack. */
static __always_inline int emit(struct act *n, __u64 bytes) {
        struct bh_buf *b = bh_begin(n->type, n->key, bytes);

        return b ? finish(b, n) : 0;
}

/* ---- TCP connections from beginning to end ---- */

/* Why a connection that was in state `old` (0: not known) ended: 0, or the negative errno. */
static __always_inline __s64 end_result(struct sock *sk, int old) {
        __s32 err = BPF_CORE_READ(sk, sk_err);

        if (err == EPIPE) /* a reset after the peer's FIN */
                return -ECONNRESET;
        if (err)
                return -err;
        if (old == TCP_SYN_SENT || !old) /* closed by its program before there was an answer */
                return -ECONNABORTED;
        /* without both FINs: this side sent a reset, because there was unread data, because it was told to, or because data came for nobody */
        if (old == TCP_ESTABLISHED || old == TCP_SYN_RECV || old == TCP_CLOSE_WAIT || old == TCP_FIN_WAIT1)
                return -ECONNRESET;
        return 0;
}

/*
 * The record is made of the entry while it is there, and sent only if it was this program that took it out: a copy on the stack would be too much for some
 * chains of calls.
 */
static __noinline int act_net_close(struct sock *sk, int old) {
        __u64 key = (__u64) sk;
        struct bh_conn *c = bpf_map_lookup_elem(&conns, &key);
        struct conn_counts n;
        struct bh_buf *b;
        __u64 share;

        if (!c)
                return 0;
        share = c->share;
        if (!is_of(c, sk)) {
                conn_take_out(key, share);
                return 0;
        }
        b = bh_begin_as(&c->who, BH_EV_NET_CLOSE, 0, 0);
        if (b) {
                conn_count(&n, sk, c->outgoing, old);
                b->rec.ret = end_result(sk, old);
                b->rec.flags |= c->flags;
                b->rec.a[0] = n.out;
                b->rec.a[1] = n.in;
                b->rec.a[2] = bpf_ktime_get_boot_ns() - c->since;
                b->rec.a[3] = c->outgoing;
                b->rec.a[5] = n.packets_out;
                b->rec.a[6] = n.packets_in;
                b->rec.a[7] = sock_net_ns(sk);
                bh_put_struct(b, BH_TAG_ADDR, &c->addr, sizeof(c->addr));
        }
        if (!conn_take_out(key, share)) {
                if (b)
                        bh_cancel(b);
                return 0;
        }
        return b ? bh_end(b) : 0;
}

static __always_inline bool same_ends(const struct bh_addr *a, const struct bh_addr *b) {
        const __u64 *al = (const __u64 *) a->laddr, *bl = (const __u64 *) b->laddr;

        return a->lport == b->lport && a->rport == b->rport && al[0] == bl[0] && al[1] == bl[1] && al[2] == bl[2] && al[3] == bl[3];
}

/*
 * Until its end is told. A call that only asks how its connection is getting on is no new beginning. TRUE: it is over already, and the end is still to be
 * told: it was refused while the caller was on its way back, or reset before it was accepted.
 */
static __noinline int track(struct sock *sk, struct act *n, __u32 outgoing) {
        bool over = BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_CLOSE;
        __u64 key = (__u64) sk;
        struct bh_conn c = {}, *known;

        /* over, and begun by an earlier call, whose connection it was; or going to be tried again */
        if (over && n->ret < 0 && n->ret != -EINPROGRESS)
                return 0;
        bh_actor_of(&c.who, bh_current());
        c.addr = n->addr;
        c.since = bpf_ktime_get_boot_ns();
        c.outgoing = outgoing;
        known = bpf_map_lookup_elem(&conns, &key);
        if (known && same_ends(&known->addr, &c.addr)) {
                c.since = known->since;
                c.seen = known->seen;
        }
        if (conn_put(key, &c, 1))
                return bh_count_lost(c.who.id.cgroup, BH_EV_NET_CLOSE, BH_LOST_STATE_FULL);
        return over || BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_CLOSE;
}

static __always_inline void follow(struct sock *sk, struct act *n, __u32 outgoing) {
        if (is_inet(n->addr.family) && n->addr.proto == IPPROTO_TCP && !bh_is_off(BH_EV_NET_CLOSE) && track(sk, n, outgoing))
                act_net_close(sk, 0);
}

/* ---- the acts, for both backends ---- */

static __noinline int act_socket(struct act *n, __u32 family, __u32 type, __u32 protocol) {
        struct sock *sk = n->ret >= 0 ? sock_of_file(bh_file_of_fd(n->ret)) : NULL;

        if (sk) {
                sock_addr(&n->addr, sk);
        } else {
                n->addr.family = (__u16) family;
                n->addr.type = type & SOCK_TYPE_MASK;
                n->addr.proto = family == AF_PACKET ? swap16((__u16) protocol) : (__u16) protocol;
        }
        n->type = BH_EV_SOCKET;
        n->a[0] = (__s32) n->ret;
        n->key = bh_hash(peer_key(&n->addr), n->ret < 0 ? (__u64) n->ret : 0);
        return emit(n, 0);
}

/* `to`: the address given, in kernel memory unless `user`. */
static __noinline int act_connect(struct act *n, struct sock *sk, const void *to, __s64 len, __u32 user) {
        struct any_addr given;
        __s64 ret = n->ret;
        bool known = read_addr(&given, to, len, user) == 0;

        if (known && given.family == AF_UNSPEC)
                return 0;
        sock_addr(&n->addr, sk);
        n->type = BH_EV_CONNECT;
        if (n->addr.family == AF_UNIX) {
                if (ret >= 0) {
                        un_of_sock(n, BPF_CORE_READ((struct unix_sock *) sk, peer));
                        n->a[1] = (__s32) peer_pid(sk);
                } else {
                        un_of_user(n, to, len, user);
                        n->flags |= user ? BH_RF_PATH_USER : 0;
                }
                n->key = un_key(n);
        } else if (ret < 0 && ret != -EINPROGRESS && ret != -EALREADY && ret > -ERESTARTSYS) {
                /* the socket has forgotten, or never took, whom it was to connect to */
                if (known)
                        use_addr(&n->addr, &given, false);
                else
                        n->flags |= BH_RF_FAULT;
                n->flags |= user ? BH_RF_PATH_USER : 0;
        } else {
                if (known && !is_inet(n->addr.family))
                        use_addr(&n->addr, &given, false);
                follow(sk, n, 1);
        }
        n->key = bh_hash(bh_hash(n->key, peer_key(&n->addr)), (__u64) ret);
        return emit(n, 0);
}

static __noinline int act_bind(struct act *n, struct sock *sk, const void *to, __s64 len, __u32 user) {
        sock_addr(&n->addr, sk);
        n->type = BH_EV_BIND;
        if (n->ret < 0) {
                struct any_addr given;

                n->flags |= user ? BH_RF_PATH_USER : 0;
                if (n->addr.family == AF_UNIX)
                        un_of_user(n, to, len, user);
                else if (read_addr(&given, to, len, user) == 0)
                        use_addr(&n->addr, &given, true);
                else
                        n->flags |= BH_RF_FAULT;
        } else if (n->addr.family == AF_UNIX) {
                un_of_sock(n, sk);
        }
        n->key = bh_hash(bh_hash(addr_key(&n->addr), un_key(n)), (__u64) n->ret << 16 | n->addr.lport);
        return emit(n, 0);
}

static __noinline int act_listen(struct act *n, struct sock *sk, __u32 backlog) {
        sock_addr(&n->addr, sk);
        n->type = BH_EV_LISTEN;
        n->a[1] = (__s32) backlog;
        if (n->addr.family == AF_UNIX)
                un_of_sock(n, sk);
        n->key = bh_hash(bh_hash(addr_key(&n->addr), un_key(n)), (__u64) n->ret << 16 | n->addr.lport);
        return emit(n, 0);
}

/*
 * Fallback: the call was done, and its descriptor leads to no socket any more, because another thread closed or replaced it meanwhile. What is left is
 * the address that the caller gave; without one the act is counted as lost.
 */
static __noinline int act_nowhere(struct act *n, const void *to, __s64 len, __u32 type) {
        struct any_addr given;

        if (!to || len < 2 || read_addr(&given, to, len, true))
                return bh_lose(type, BH_LOST_FAULT, 1);
        n->type = (__u8) type;
        n->flags |= BH_RF_PATH_USER | BH_RF_FAULT;
        n->addr.family = given.family;
        if (given.family == AF_UNIX)
                un_of_user(n, to, len, true);
        else
                use_addr(&n->addr, &given, type == BH_EV_BIND);
        n->key = bh_hash(bh_hash(addr_key(&n->addr), un_key(n)), bh_hash((__u64) n->ret, (__u64) n->addr.rport << 16 | n->addr.lport));
        return emit(n, 0);
}

/* sk: the new connection, or the listener if there is none. */
static __noinline int act_accept(struct act *n, struct sock *sk) {
        sock_addr(&n->addr, sk);
        n->type = BH_EV_ACCEPT;
        if (n->addr.family == AF_UNIX) {
                un_of_sock(n, sk);
                if (n->ret >= 0)
                        n->a[1] = (__s32) peer_pid(sk);
                n->key = bh_hash(un_key(n), (__u32) n->a[1]);
        }
        /* another port of the same peer is the same act again */
        n->key = bh_hash(bh_hash(addr_key(&n->addr), n->key), (__u64) (n->ret < 0 ? n->ret : 0) << 16 | n->addr.lport);
        if (n->ret >= 0)
                follow(sk, n, 0);
        return emit(n, 0);
}

/* ---- datagrams ---- */

static __always_inline bool is_dns(const struct bh_addr *a) {
        return a->proto == IPPROTO_UDP && is_inet(a->family) && (a->rport == PORT_DNS || a->lport == PORT_DNS);
}

static __always_inline int act_datagram(struct act *n, __u32 out, __u64 bytes) {
        n->type = out ? BH_EV_SEND : BH_EV_RECV;
        n->key = peer_key(&n->addr);
        return emit(n, bytes);
}

/* Appends at most BH_PAYLOAD_MAX bytes at `pos` of the payload chunk's content; returns how many, 0 on a fault. */
static __always_inline __u64 payload_part(struct bh_buf *b, __u64 off, __u64 pos, const void *from, __u64 len, bool user) {
        __u64 n = len;

        if (n > BH_PAYLOAD_MAX - pos)
                n = BH_PAYLOAD_MAX - pos;
        /* the verifier is to see the bounds of what is really used */
        asm volatile("" : "+r"(n), "+r"(off), "+r"(pos));
        if (off > BH_CHUNK_TOP || pos > BH_PAYLOAD_MAX || n > BH_PAYLOAD_MAX)
                return 0;
        if (user ? bpf_probe_read_user(b->raw + off + sizeof(struct bh_chunk) + pos, n, from) :
                   bpf_probe_read_kernel(b->raw + off + sizeof(struct bh_chunk) + pos, n, from))
                return 0;
        return n;
}

/* Set before load, where this is used: addresses of the kernel's variables of these names. By the sensor, as libbpf would read all symbols for each job. */
const volatile __u64 bh_page_offset_base = 0;
const volatile __u64 bh_vmemmap_base = 0;

/* Where the first page fragment of a packet lies: its page's place in the kernel's direct mapping (x86-64, arch/x86/include/asm/page_64.h). */
static __always_inline const void *first_frag(struct sk_buff *skb, __u64 *len) {
        struct skb_shared_info *shared = (struct skb_shared_info *) (BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, end));
        struct { __u64 page; __u32 len, offset; } frag = {};
        __u64 direct = 0, pages = 0;

        if (!BPF_CORE_READ(shared, nr_frags) || !bh_page_offset_base || !bh_vmemmap_base)
                return NULL;
        /* struct bio_vec until 6.9, of the same layout: page, length, offset; a page pointer with its low bit set is no memory of ours */
        bpf_probe_read_kernel(&frag, sizeof(frag), (char *) shared + bpf_core_field_offset(struct skb_shared_info, frags));
        bpf_probe_read_kernel(&direct, sizeof(direct), (const void *) bh_page_offset_base);
        bpf_probe_read_kernel(&pages, sizeof(pages), (const void *) bh_vmemmap_base);
        if (frag.page & 1 || !pages)
                return NULL;
        *len = frag.len;
        return (const void *) (direct + (frag.page - pages) / 64 * 4096 + frag.offset);
}

/* A DNS message and where its bytes are. */
struct message {
        struct bh_addr addr;
        const void *at;      /* first part */
        struct sk_buff *skb; /* if set, more of it is in its fragments */
        __u32 len;           /* of the first part */
        __u32 total;         /* of the message */
        __u32 flags;
        __u16 user;          /* 1: `at` is in the caller's memory */
        __u16 out;
};

static __noinline int act_dns(struct message *m) {
        struct bh_buf *b = bh_begin(BH_EV_DNS, 0, m->total);

        if (!b)
                return 0;
        b->rec.ret = m->total;
        b->rec.flags |= m->flags;
        b->rec.a[3] = m->out;
        bh_put_struct(b, BH_TAG_ADDR, &m->addr, sizeof(m->addr));

        __u64 off = b->rec.size, len = 0;
        if (m->len)
                len = payload_part(b, off, 0, m->at, m->len < m->total ? m->len : m->total, m->user);
        if (m->skb && len < m->total) {
                __u64 more = 0;
                const void *at = first_frag(m->skb, &more);

                if (at)
                        len += payload_part(b, off, len, at, more < m->total - len ? more : m->total - len, false);
        }
        asm volatile("" : "+r"(off));
        if (off <= BH_CHUNK_TOP && len) {
                struct bh_chunk *c = (struct bh_chunk *) (b->raw + off);

                c->tag = BH_TAG_PAYLOAD;
                c->len = (__u16) len;
                b->rec.size = (__u32) (off + sizeof(*c) + len);
        }
        if (!len && m->total)
                b->rec.flags |= BH_RF_FAULT;
        else if (len < m->total)
                b->rec.flags |= BH_RF_PAYLOAD_CUT;
        return bh_end(b);
}

/* ---- datagrams that the fallback finds in the caller's memory ---- */

/* A datagram that a system call moved, all pointers the caller's. */
struct moved {
        __s64 fd;
        __u64 name, name_len;
        __u64 buf, buf_len;
        __u64 bytes;
        __u32 out, flags;
};

/* Datagram socket behind a file, or NULL: streams are to be left at once. */
static __always_inline struct sock *datagram_sock(struct file *file) {
        struct sock *sk = sock_of_file(file);
        __u16 type, family;

        if (!sk)
                return NULL;
        type = BPF_CORE_READ(sk, sk_type);
        if (type != SOCK_DGRAM && type != SOCK_RAW && type != SOCK_PACKET)
                return NULL;
        family = BPF_CORE_READ(sk, __sk_common.skc_family);
        return is_inet(family) || family == AF_PACKET ? sk : NULL;
}

/*
 * What a fallback handler works with. Its chain of calls has 512 bytes of stack, and these alone are more; so they lie in a map, of which each CPU
 * has BH_SLOTS, for the handler that interrupts another on the same CPU.
 */
struct work {
        struct bh_call call;
        struct act act;
        struct moved moved;
        struct message message;
        __u32 slot, index;
};
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, BH_SLOTS); /* times the number of CPUs: set before load */
        __type(key, __u32);
        __type(value, struct work);
        BH_PINNED;
} works SEC(".maps");

/* NULL: the act is counted as lost, so the caller has seen that it is one. */
static __noinline struct work *work_take(__u32 type) {
        __u32 zero = 0, i, index;
        struct bh_busy *used = bpf_map_lookup_elem(&busy, &zero);
        struct work *w;

        if (!used)
                return NULL;
        if (bh_claim(&used->work[0]))
                i = 0;
        else if (bh_claim(&used->work[1]))
                i = 1;
        else if (bh_claim(&used->work[2]))
                i = 2;
        else
                goto lost;
        index = bpf_get_smp_processor_id() * BH_SLOTS + i;
        w = bpf_map_lookup_elem(&works, &index);
        if (!w) {
                bh_unclaim(&used->work[i]);
                goto lost;
        }
        w->slot = i;
        w->index = index;
        return w;

lost:
        bh_lose(type, BH_LOST_BUSY, 1);
        return NULL;
}

static __always_inline int work_give(struct work *w) {
        __u32 zero = 0, i = w->slot;
        struct bh_busy *used = bpf_map_lookup_elem(&busy, &zero);

        if (used && i < BH_SLOTS)
                bh_unclaim(&used->work[i]);
        return 0;
}

/* w->moved as an event; TRUE if it is a DNS message as well. */
static __noinline int datagram_moved(struct work *w, struct sock *sk) {
        struct moved *d = &w->moved;
        struct act *n = &w->act;
        struct any_addr peer;

        __builtin_memset(n, 0, sizeof(*n));
        n->ret = (__s64) d->bytes;
        n->flags = d->flags;
        n->a[0] = (__s32) d->fd;
        sock_addr(&n->addr, sk);
        if (!d->out && n->addr.proto != IPPROTO_UDP)
                return 0;
        if (d->name && d->name_len) {
                n->flags |= BH_RF_PATH_USER;
                if (read_addr(&peer, (const void *) d->name, (__s64) d->name_len, true))
                        n->flags |= BH_RF_FAULT;
                else
                        use_addr(&n->addr, &peer, false);
        }
        act_datagram(n, d->out, d->bytes);
        return is_dns(&n->addr);
}

/* After datagram_moved() or what does the same, and beside it, not below. */
static __always_inline int dns_moved(struct work *w) {
        struct message *m = &w->message;

        m->addr = w->act.addr;
        m->at = (const void *) w->moved.buf;
        m->skb = NULL;
        m->len = (__u32) w->moved.buf_len;
        m->total = (__u32) w->moved.bytes;
        m->flags = w->act.flags;
        m->user = 1;
        m->out = (__u16) w->moved.out;
        return act_dns(m);
}

static __always_inline int moved(struct work *w, struct sock *sk) {
        return sk && datagram_moved(w, sk) ? dns_moved(w) : 0;
}

/* struct msghdr (user_msghdr, compat_msghdr) at `at`: name and first buffer. */
static __always_inline void read_msghdr(struct moved *d, __u64 at, __u32 compat) {
        if (compat) {
                struct { __u32 name, name_len, iov, iovlen; } h = {};
                struct { __u32 base, len; } v = {};

                if (bpf_probe_read_user(&h, sizeof(h), (const void *) at))
                        d->flags |= BH_RF_FAULT;
                else if (h.iovlen)
                        bpf_probe_read_user(&v, sizeof(v), (const void *) (__u64) h.iov);
                d->name = h.name;
                d->name_len = h.name_len;
                d->buf = v.base;
                d->buf_len = v.len;
        } else {
                struct { __u64 name; __u32 name_len, pad; __u64 iov, iovlen; } h = {};
                struct { __u64 base, len; } v = {};

                if (bpf_probe_read_user(&h, sizeof(h), (const void *) at))
                        d->flags |= BH_RF_FAULT;
                else if (h.iovlen)
                        bpf_probe_read_user(&v, sizeof(v), (const void *) h.iov);
                d->name = h.name;
                d->name_len = h.name_len;
                d->buf = v.base;
                d->buf_len = v.len;
        }
}

/*
 * The kernel's copy of the address of an io_uring request to connect or bind: the request's data is that alone, or a message header with the
 * address in it; kernels went from the one to the other and back. A header begins with a pointer or NULL, so with a multiple of 8; the families
 * of unix, IP and packet sockets are none.
 */
static __always_inline const void *uring_addr(struct io_kiocb *req) {
        struct io_async_msghdr *io = (struct io_async_msghdr *) BPF_CORE_READ(req, async_data);
        __u16 first = 0;

        if (!io)
                return NULL;
        bpf_probe_read_kernel(&first, sizeof(first), io);
        return first & 7 ? (const void *) io : (const char *) io + bpf_core_field_offset(struct io_async_msghdr, addr);
}

#endif

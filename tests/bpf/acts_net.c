/* SPDX-License-Identifier: Apache-2.0 */
/* Acts: sockets. Everything stays on loopback; what needs a known port 53 gets a network namespace of its own. */
#include "acts.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/uio.h>
#include <sys/un.h>

/* ---- the calls, by the number that each build is to use ---- */

#ifdef __i386__
static long socketcall(int call, long a, long b, long c, long d, long e, long f) {
        long args[6] = { a, b, c, d, e, f };

        return SYSC(SYS_socketcall, call, args);
}
#endif

union addr {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
        struct sockaddr_ll ll;
};

static socklen_t loopback(union addr *u, int family, uint16_t port) {
        memset(u, 0, sizeof *u);
        u->sa.sa_family = (sa_family_t) family;
        if (family == AF_INET6) {
                u->in6.sin6_addr = in6addr_loopback;
                u->in6.sin6_port = htons(port);
                return sizeof u->in6;
        }
        u->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        u->in.sin_port = htons(port);
        return sizeof u->in;
}

static socklen_t unix_addr(union addr *u, bool abstract) {
        memset(u, 0, sizeof *u);
        u->un.sun_family = AF_UNIX;
        if (abstract) {
                int n = snprintf(u->un.sun_path + 1, sizeof u->un.sun_path - 1, "acts-%d-%ld", getpid(), env.seq);
                return (socklen_t) (offsetof(struct sockaddr_un, sun_path) + 1 + (size_t) n);
        }
        snprintf(u->un.sun_path, sizeof u->un.sun_path, "%s", act_path("s\"ock"));
        return sizeof u->un;
}

/* Containers without a network have no ::1: a network namespace of our own does. Called before any socket is made. */
static void want_inet6(bool wanted) {
        union addr u;
        socklen_t n = loopback(&u, AF_INET6, 0);
        int fd = wanted ? socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;

        if (fd >= 0 && bind(fd, &u.sa, n) < 0)
                act_try_private_net();
        if (fd >= 0)
                close(fd);
}

static int make(int family, int type, int proto) {
        int fd = (int) SYSC(SYS_socket, family, type | SOCK_CLOEXEC, proto);

        if (fd < 0)
                act_unsupported("cannot make a socket of family %d", family);
        return fd;
}

static void local_facts(int fd) {
        union addr u;
        socklen_t n = sizeof u;

        if (getsockname(fd, &u.sa, &n) == 0)
                act_addr_facts("l", &u.sa, n);
}

static void must_bind(int fd, union addr *u, socklen_t n) {
        if (bind(fd, &u->sa, n) < 0)
                act_unsupported("cannot bind");
        n = sizeof *u;
        getsockname(fd, &u->sa, &n);
}

/* ---- socket, bind, listen ---- */

/* arg: family << 16 | type << 8 | protocol */
static void run_socket(const struct act *a) {
        int family = (int) (a->arg >> 16), type = a->arg >> 8 & 0xff, proto = a->arg & 0xff;

        if (family == AF_PACKET)
                proto = htons(ETH_P_ALL);
#ifdef __i386__
        if (!strcmp(a->syscall, "socketcall"))
                act_ret(socketcall(SYS_SOCKET, family, type, proto, 0, 0, 0));
        else
#endif
                act_ret(SYSC(SYS_socket, family, type, proto));
        act_int("family", family);
        act_int("sock_type", type);
        act_int("proto", proto);
        act_end();
}

enum { BIND_ANY, BIND_FIXED, BIND_V6, BIND_UDP, BIND_UNIX, BIND_INUSE, LISTEN4, LISTEN6, LISTEN_UNIX };

static void run_bind(const struct act *a) {
        bool udp = a->arg == BIND_UDP, v6 = a->arg == BIND_V6 || a->arg == LISTEN6, un = a->arg == BIND_UNIX || a->arg == LISTEN_UNIX;
        want_inet6(v6);
        int fd = make(un ? AF_UNIX : v6 ? AF_INET6 : AF_INET, udp ? SOCK_DGRAM : SOCK_STREAM, 0), other;
        union addr u;
        socklen_t n = un ? unix_addr(&u, false) : loopback(&u, v6 ? AF_INET6 : AF_INET, 0);

        if (a->arg == BIND_FIXED || a->arg == BIND_INUSE) { /* a port that is free now, or surely is not */
                other = make(AF_INET, SOCK_STREAM, 0);
                must_bind(other, &u, n);
                if (a->arg == BIND_FIXED)
                        close(other);
        }
        act_addr_facts("asked_", &u.sa, n);
        if (a->arg >= LISTEN4) {
                must_bind(fd, &u, n);
                errno = 0;
                act_ret(SYSC(SYS_listen, fd, 17));
                act_int("backlog", 17);
        } else {
                errno = 0;
                act_ret(SYSC(SYS_bind, fd, &u, n));
        }
        act_int("fd", fd);
        local_facts(fd);
        act_end();
}

/* ---- streams: connect, accept, bytes at close ---- */

enum { TCP4 = 1, TCP6, REFUSED, REFUSED6, NONBLOCK, UDP_CONNECT, UNIX_PATH, UNIX_ABSTRACT, UNIX_ENOENT, SOCKETCALL, INT80_SOCKETCALL, INT80_CONNECT, MAPPED, DISCONNECT, UDP6_CONNECT };
enum { ACCEPT = 32, ACCEPT4, ACCEPT_UNIX, ACCEPT_SOCKETCALL };
enum { TO_SERVER = 4567, TO_CLIENT = 8901 };

static bool move_bytes(int fd, size_t n, bool out) {
        static char buf[16384];

        while (n) {
                ssize_t r = out ? write(fd, buf, n < sizeof buf ? n : sizeof buf) : read(fd, buf, n < sizeof buf ? n : sizeof buf);
                if (r <= 0 && errno != EINTR)
                        return false;
                n -= r > 0 ? (size_t) r : 0;
        }
        return true;
}

/* The other end: accepts (or connects), receives and sends the agreed bytes, waits for the end, goes. `ours` is this end's socket, if any yet. */
static pid_t other_end(int listener, int ours, const union addr *u, socklen_t n, bool connects, int family) {
        pid_t pid = act_fork();
        char c;

        if (pid)
                return pid;
        if (ours >= 0)
                close(ours); /* kept here it would never end */
        int fd = connects ? socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0) : accept(listener, NULL, NULL);
        if (fd < 0 || (connects && connect(fd, &u->sa, n) < 0))
                _exit(1);
        bool ok = connects ? move_bytes(fd, TO_SERVER, true) && move_bytes(fd, TO_CLIENT, false) : move_bytes(fd, TO_SERVER, false) && move_bytes(fd, TO_CLIENT, true);
        if (connects)
                shutdown(fd, SHUT_WR);
        while (read(fd, &c, 1) > 0)
                ;
        close(fd);
        _exit(ok ? 0 : 2);
}

static long call_connect(long variant, int fd, const union addr *u, socklen_t n) {
        switch (variant) {
#ifdef __i386__
        case SOCKETCALL: return socketcall(SYS_CONNECT, fd, (long) u, (long) n, 0, 0, 0);
#endif
        case INT80_CONNECT: return INT80(362 /* connect */, fd, act_low(u, sizeof *u), n);
        case INT80_SOCKETCALL: {
                uint32_t args[3] = { (uint32_t) fd, (uint32_t) (uintptr_t) act_low(u, sizeof *u), n };
                return INT80(102 /* socketcall */, SYS_CONNECT, act_low(args, sizeof args));
        }
        default: return SYSC(SYS_connect, fd, u, n);
        }
}

static void run_connect(const struct act *a) {
        bool v6 = a->arg == TCP6 || a->arg == REFUSED6 || a->arg == MAPPED || a->arg == UDP6_CONNECT, un = a->arg == UNIX_PATH || a->arg == UNIX_ABSTRACT || a->arg == UNIX_ENOENT;
        bool udp = a->arg == UDP_CONNECT || a->arg == UDP6_CONNECT || a->arg == DISCONNECT, refused = a->arg == REFUSED || a->arg == REFUSED6 || a->arg == UNIX_ENOENT;
        int family = un ? AF_UNIX : v6 ? AF_INET6 : AF_INET, type = udp ? SOCK_DGRAM : SOCK_STREAM;
        want_inet6(v6);
        int server = make(a->arg == MAPPED ? AF_INET : family, type, 0), fd = make(family, type | (a->arg == NONBLOCK ? SOCK_NONBLOCK : 0), 0);
        union addr u;
        socklen_t n = un ? unix_addr(&u, a->arg == UNIX_ABSTRACT) : loopback(&u, a->arg == MAPPED ? AF_INET : family, 0);
        pid_t pid = 0;

        if (a->arg == INT80_CONNECT || a->arg == INT80_SOCKETCALL)
                act_low("", 0); /* ends the act where int 0x80 does not work */
        if (a->arg != UNIX_ENOENT)
                must_bind(server, &u, n);
        if (a->arg == MAPPED) { /* IPv4 in an IPv6 socket */
                uint16_t port = u.in.sin_port;
                memset(&u, 0, sizeof u);
                u.in6.sin6_family = AF_INET6;
                u.in6.sin6_port = port;
                inet_pton(AF_INET6, "::ffff:127.0.0.1", &u.in6.sin6_addr);
                n = sizeof u.in6;
        }
        if (!refused && !udp) {
                if (listen(server, 8) < 0)
                        act_unsupported("cannot listen");
                pid = other_end(server, fd, NULL, 0, false, family);
        }
        if (refused)
                close(server); /* bound a moment ago, so nobody else listens there */
        if (a->arg == DISCONNECT) {
                pid_t other = act_fork(); /* not by this process, which is to have no connect that counts */
                if (other == 0)
                        _exit(connect(fd, &u.sa, n) < 0);
                if (act_wait(other))
                        act_unsupported("connect");
                memset(&u, 0, sizeof u);
        }
        errno = 0;
        long r = act_ret(call_connect(a->arg, fd, &u, n));
        act_int("fd", fd);
        act_int("family", family);
        act_int("sock_type", type);
        act_addr_facts("r", &u.sa, n);
        local_facts(fd);
        if (pid) {
                act_int("target_pid", pid);
                if (r < 0 && errno == EINPROGRESS) {
                        struct pollfd pfd = { fd, POLLOUT, 0 };
                        poll(&pfd, 1, 5000);
                        fcntl(fd, F_SETFL, 0);
                }
                bool ok = move_bytes(fd, TO_SERVER, true) && move_bytes(fd, TO_CLIENT, false);
                close(fd);
                int status = act_wait(pid);
                act_int("bytes_out", ok ? TO_SERVER : -1);
                act_int("bytes_in", ok ? TO_CLIENT : -1);
                act_bool("peer_ok", status == 0);
        }
        act_end();
}

static void run_accept(const struct act *a) {
        bool un = a->arg == ACCEPT_UNIX;
        int family = un ? AF_UNIX : AF_INET, server = make(family, SOCK_STREAM, 0), fd = -1;
        union addr u, peer;
        socklen_t n = un ? unix_addr(&u, false) : loopback(&u, AF_INET, 0), m = sizeof peer;

        memset(&peer, 0, sizeof peer);
        must_bind(server, &u, n);
        if (listen(server, 4) < 0)
                act_unsupported("cannot listen");
        pid_t pid = other_end(-1, server, &u, n, true, family);
        errno = 0;
        switch (a->arg) {
#ifdef __i386__
        case ACCEPT: /* there is no such call on i386 */
        case ACCEPT_SOCKETCALL: fd = (int) act_ret(socketcall(SYS_ACCEPT, server, (long) &peer, (long) &m, 0, 0, 0)); break;
#else
        case ACCEPT: fd = (int) act_ret(SYSC(SYS_accept, server, &peer, &m)); break;
#endif
        default: fd = (int) act_ret(SYSC(SYS_accept4, server, &peer, &m, SOCK_CLOEXEC));
        }
        act_int("fd", fd);
        act_int("old_fd", server);
        act_int("target_pid", pid);
        act_addr_facts("r", &peer.sa, m);
        local_facts(server);
        bool ok = fd >= 0 && move_bytes(fd, TO_SERVER, false) && move_bytes(fd, TO_CLIENT, true);
        close(fd);
        act_bool("peer_ok", act_wait(pid) == 0);
        act_int("bytes_in", ok ? TO_SERVER : -1);
        act_int("bytes_out", ok ? TO_CLIENT : -1);
        act_end();
}

/* ---- datagrams ---- */

enum { SENDTO, SENDMSG, SENDMMSG, SEND, WRITE, SENDTO6, RECVFROM, RECVMSG, UNIX_DGRAM, SEND_SOCKETCALL, RAW_ICMP, PACKET, DNS, DNS_REPLY };

static void run_datagram(const struct act *a) {
        bool un = a->arg == UNIX_DGRAM;
        want_inet6(a->arg == SENDTO6);
        int family = un ? AF_UNIX : a->arg == SENDTO6 ? AF_INET6 : AF_INET, server = make(family, SOCK_DGRAM, 0), fd = make(family, SOCK_DGRAM, 0);
        char data[900], got[1000];
        union addr u, from;
        socklen_t n = un ? unix_addr(&u, true) : loopback(&u, family, 0), m = sizeof from;
        struct iovec v[2] = { { data, 300 }, { data, 21 } };
        struct msghdr msg = { .msg_name = &u, .msg_iov = v, .msg_iovlen = 2 };
        struct mmsghdr batch[3];
        long r = -1, bytes;

        memset(data, 'u', sizeof data);
        must_bind(server, &u, n);
        msg.msg_namelen = n;
        for (int i = 0; i < 3; i++)
                batch[i] = (struct mmsghdr){ .msg_hdr = msg };
        if ((a->arg == SEND || a->arg == WRITE) && connect(fd, &u.sa, n) < 0)
                act_unsupported("connect");
        if (a->arg == RECVFROM || a->arg == RECVMSG) { /* sent by a child, received here */
                pid_t pid = act_fork();
                if (pid == 0)
                        _exit(sendto(fd, data, 444, 0, &u.sa, n) != 444);
                act_wait(pid);
                act_int("target_pid", pid);
                memset(&from, 0, sizeof from);
                struct iovec w = { got, sizeof got };
                struct msghdr in = { .msg_name = &from, .msg_namelen = m, .msg_iov = &w, .msg_iovlen = 1 };
                errno = 0;
                bytes = act_ret(a->arg == RECVFROM ? SYSC(SYS_recvfrom, server, got, sizeof got, 0, &from, &m) : SYSC(SYS_recvmsg, server, &in, 0));
                act_int("fd", server);
                act_int("bytes", bytes);
                act_addr_facts("r", &from.sa, sizeof from.in);
                local_facts(server);
                act_end();
                return;
        }
        errno = 0;
        switch (a->arg) {
        case SENDTO:
        case SENDTO6:
        case UNIX_DGRAM: r = SYSC(SYS_sendto, fd, data, 123, 0, &u, n); break;
        case SENDMSG: r = SYSC(SYS_sendmsg, fd, &msg, 0); break;
        case SENDMMSG: r = SYSC(SYS_sendmmsg, fd, batch, 3, 0); break;
        case WRITE: r = SYSC(SYS_write, fd, data, 222); break;
#ifdef __i386__
        case SEND: r = socketcall(SYS_SEND, fd, (long) data, 234, 0, 0, 0); break;
        case SEND_SOCKETCALL: r = socketcall(SYS_SENDTO, fd, (long) data, 345, 0, (long) &u, (long) n); break;
#else
        case SEND: r = SYSC(SYS_sendto, fd, data, 234, 0, NULL, 0); break;
#endif
        default: break;
        }
        act_ret(r);
        bytes = 0;
        int datagrams = 0;
        for (long k; (k = recv(server, got, sizeof got, MSG_DONTWAIT)) > 0; datagrams++)
                bytes += k;
        act_int("fd", fd);
        act_int("family", family);
        act_int("bytes", bytes); /* as they arrived */
        act_int("datagrams", datagrams);
        act_addr_facts("r", &u.sa, n);
        local_facts(fd);
        act_end();
}

static void run_raw(const struct act *a) {
        union addr u;
        long r;

        if (a->arg == RAW_ICMP) {
                int fd = make(AF_INET, SOCK_RAW, IPPROTO_ICMP);
                struct icmphdr echo = { .type = ICMP_ECHO, .un.echo = { htons(7), htons((uint16_t) env.seq) } };
                uint32_t sum = htons(ICMP_ECHO << 8) + echo.un.echo.id + echo.un.echo.sequence;
                echo.checksum = (uint16_t) ~((sum & 0xffff) + (sum >> 16));
                socklen_t n = loopback(&u, AF_INET, 0);
                errno = 0;
                r = act_ret(SYSC(SYS_sendto, fd, &echo, sizeof echo, 0, &u, n));
                act_int("fd", fd);
                act_int("family", AF_INET);
                act_int("sock_type", SOCK_RAW);
                act_addr_facts("r", &u.sa, n);
        } else {
                act_private_net(); /* a frame of its own kind, where nobody else gets it */
                int fd = make(AF_PACKET, SOCK_RAW, 0);
                unsigned char frame[60] = { [12] = 0x88, [13] = 0xb5 }; /* local experimental ethertype */
                memset(&u, 0, sizeof u);
                u.ll = (struct sockaddr_ll){ .sll_family = AF_PACKET, .sll_protocol = htons(0x88b5), .sll_ifindex = (int) if_nametoindex("lo"), .sll_halen = 6 };
                errno = 0;
                r = act_ret(SYSC(SYS_sendto, fd, frame, sizeof frame, 0, &u, sizeof u.ll));
                act_int("fd", fd);
                act_int("family", AF_PACKET);
                act_int("sock_type", SOCK_RAW);
                act_int("ifindex", u.ll.sll_ifindex);
        }
        act_int("bytes", r);
        act_end();
}

/* A query for acts-<seq>.bulkhead.test, type A, and its answer 192.0.2.1, by two processes over port 53. */
static size_t dns_message(unsigned char *p, char *name, bool answer) {
        static const unsigned char query_head[12] = { 0xac, 0x75, 0x01, 0x00, 0, 1 }, answer_head[12] = { 0xac, 0x75, 0x81, 0x80, 0, 1, 0, 1 };
        static const unsigned char answer_tail[16] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1 };
        unsigned char *q = p + 12;

        memcpy(p, answer ? answer_head : query_head, 12);
        for (const char *label = name; *label;) {
                size_t n = strcspn(label, ".");
                *q++ = (unsigned char) n;
                memcpy(q, label, n);
                q += n;
                label += n + (label[n] == '.');
        }
        memcpy(q, "\0\0\1\0\1", 5);
        q += 5;
        if (answer) {
                memcpy(q, answer_tail, sizeof answer_tail);
                q += sizeof answer_tail;
        }
        return (size_t) (q - p);
}

static void run_dns(const struct act *a) {
        unsigned char msg[512], reply[512];
        char name[64], hex[1025];
        union addr u, from;
        socklen_t n = loopback(&u, AF_INET, 53), m = sizeof from;

        snprintf(name, sizeof name, "acts-%ld.bulkhead.test", env.seq);
        int server = make(AF_INET, SOCK_DGRAM, 0);
        if (bind(server, &u.sa, n) < 0) { /* taken, or not ours to take: a network of our own */
                act_private_net();
                close(server);
                server = make(AF_INET, SOCK_DGRAM, 0);
                must_bind(server, &u, n);
        }
        int fd = make(AF_INET, SOCK_DGRAM, 0);
        size_t query = dns_message(msg, name, false);
        pid_t pid = act_fork();
        if (pid == 0) {
                ssize_t k = recvfrom(server, msg, sizeof msg, 0, &from.sa, &m);
                size_t len = dns_message(reply, name, true);
                _exit(k != (ssize_t) query || sendto(server, reply, len, 0, &from.sa, m) != (ssize_t) len);
        }
        errno = 0;
        act_ret(SYSC(SYS_sendto, fd, msg, query, 0, &u, n));
        act_int("fd", fd);
        act_int("target_pid", pid);
        act_str("query", name);
        act_int("bytes", (long long) query);
        for (size_t i = 0; i < query; i++)
                snprintf(hex + 2 * i, 3, "%02x", msg[i]);
        act_str("payload", hex);
        act_addr_facts("r", &u.sa, n);
        local_facts(fd);
        ssize_t k = recv(fd, reply, sizeof reply, 0);
        act_int("reply_bytes", k);
        act_str("answer", "192.0.2.1");
        act_bool("peer_ok", act_wait(pid) == 0);
        act_end();
}

#define FTP(family, type, proto) ((long) (family) << 16 | (type) << 8 | (proto))
#ifdef __i386__
#define OWN(call) "socketcall"
#else
#define OWN(call) call
#endif

const struct act acts_net[] = {
        { "socket", "inet_stream", "socket", "socket", run_socket, FTP(AF_INET, SOCK_STREAM, 0), 0 },
        { "socket", "inet_dgram", "socket", "socket", run_socket, FTP(AF_INET, SOCK_DGRAM, 0), 0 },
        { "socket", "inet6_stream", "socket", "socket", run_socket, FTP(AF_INET6, SOCK_STREAM, 0), 0 },
        { "socket", "inet6_dgram", "socket", "socket", run_socket, FTP(AF_INET6, SOCK_DGRAM, 0), 0 },
        { "socket", "unix_stream", "socket", "socket", run_socket, FTP(AF_UNIX, SOCK_STREAM, 0), 0 },
        { "socket", "unix_dgram", "socket", "socket", run_socket, FTP(AF_UNIX, SOCK_DGRAM, 0), 0 },
        { "socket", "raw_icmp", "socket", "socket", run_socket, FTP(AF_INET, SOCK_RAW, IPPROTO_ICMP), 0 },
        { "socket", "packet_raw", "socket", "socket", run_socket, FTP(AF_PACKET, SOCK_RAW, 0), 0 },
        { "socket", "packet_dgram", "socket", "socket", run_socket, FTP(AF_PACKET, SOCK_DGRAM, 0), 0 },
        { "socket", "netlink", "socket", "socket", run_socket, FTP(AF_NETLINK, SOCK_RAW, 0), 0 },
        { "socket", "socketcall", "socket", "socketcall", run_socket, FTP(AF_INET, SOCK_STREAM, 0), ACT_I386 },
        { "bind", "port_0", "bind", "bind", run_bind, BIND_ANY, 0 },
        { "bind", "fixed", "bind", "bind", run_bind, BIND_FIXED, 0 },
        { "bind", "inet6", "bind", "bind", run_bind, BIND_V6, 0 },
        { "bind", "udp", "bind", "bind", run_bind, BIND_UDP, 0 },
        { "bind", "unix", "bind", "bind", run_bind, BIND_UNIX, 0 },
        { "bind", "in_use", "bind", "bind", run_bind, BIND_INUSE, 0 },
        { "listen", "inet", "listen", "listen", run_bind, LISTEN4, 0 },
        { "listen", "inet6", "listen", "listen", run_bind, LISTEN6, 0 },
        { "listen", "unix", "listen", "listen", run_bind, LISTEN_UNIX, 0 },
        { "connect", "tcp4", "connect", "connect", run_connect, TCP4, 0 },
        { "connect", "tcp6", "connect", "connect", run_connect, TCP6, 0 },
        { "connect", "tcp4_mapped", "connect", "connect", run_connect, MAPPED, 0 },
        { "connect", "refused", "connect", "connect", run_connect, REFUSED, 0 },
        { "connect", "refused6", "connect", "connect", run_connect, REFUSED6, 0 },
        { "connect", "nonblock", "connect", "connect", run_connect, NONBLOCK, 0 },
        { "connect", "udp", "connect", "connect", run_connect, UDP_CONNECT, 0 },
        { "connect", "udp6", "connect", "connect", run_connect, UDP6_CONNECT, 0 },
        { "connect", "udp_disconnect", "connect", "connect", run_connect, DISCONNECT, ACT_QUIET },
        { "connect", "unix_path", "connect", "connect", run_connect, UNIX_PATH, 0 },
        { "connect", "unix_abstract", "connect", "connect", run_connect, UNIX_ABSTRACT, 0 },
        { "connect", "unix_enoent", "connect", "connect", run_connect, UNIX_ENOENT, 0 },
        { "connect", "socketcall", "connect", "socketcall", run_connect, SOCKETCALL, ACT_I386 },
        { "connect", "int80", "connect", "connect", run_connect, INT80_CONNECT, ACT_X86_64 | ACT_INT80 },
        { "connect", "int80_socketcall", "connect", "socketcall", run_connect, INT80_SOCKETCALL, ACT_X86_64 | ACT_INT80 },
        { "accept", "accept", "accept", OWN("accept"), run_accept, ACCEPT, 0 },
        { "accept", "accept4", "accept", "accept4", run_accept, ACCEPT4, 0 },
        { "accept", "unix", "accept", "accept4", run_accept, ACCEPT_UNIX, 0 },
        { "net_close", "client", "net_close", "connect", run_connect, TCP4, 0 },
        { "net_close", "client6", "net_close", "connect", run_connect, TCP6, 0 },
        { "net_close", "server", "net_close", "accept4", run_accept, ACCEPT4, 0 },
        { "udp", "sendto", "send", "sendto", run_datagram, SENDTO, 0 },
        { "udp", "sendto6", "send", "sendto", run_datagram, SENDTO6, 0 },
        { "udp", "sendmsg", "send", "sendmsg", run_datagram, SENDMSG, 0 },
        { "udp", "sendmmsg", "send", "sendmmsg", run_datagram, SENDMMSG, 0 },
        { "udp", "send_connected", "send", OWN("sendto"), run_datagram, SEND, 0 },
        { "udp", "write_connected", "send", "write", run_datagram, WRITE, 0 },
        { "udp", "sendto_socketcall", "send", "socketcall", run_datagram, SEND_SOCKETCALL, ACT_I386 },
        { "udp", "recvfrom", "recv", "recvfrom", run_datagram, RECVFROM, 0 },
        { "udp", "recvmsg", "recv", "recvmsg", run_datagram, RECVMSG, 0 },
        { "udp", "unix_dgram", "send", "sendto", run_datagram, UNIX_DGRAM, ACT_QUIET },
        { "dns", "query", "dns", "sendto", run_dns, DNS, 0 },
        { "raw", "icmp", "send", "sendto", run_raw, RAW_ICMP, 0 },
        { "raw", "packet", "send", "sendto", run_raw, PACKET, 0 },
        { NULL, NULL, NULL, NULL, NULL, 0, 0 },
};

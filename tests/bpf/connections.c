/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_close: every TCP connection whose beginning was seen is told once when it ends, however it ends, with exactly the bytes that the programs sent and
 * got. Real sockets over loopback, both backends.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <netinet/in.h>
#include <poll.h>
#include <linux/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel.h"
#include "network.h"
#include "sensor/map_each.h"
#include "sock_record.h"

#define KINDS "connect,accept,net_close"
#define WAIT_MS 20000u /* emulated machines are slow */
#define AGAIN_MS 150u

static int family = AF_INET;

static socklen_t loopback(struct sockaddr_storage *a, guint16 port) {
        memset(a, 0, sizeof(*a));
        a->ss_family = (sa_family_t) family;
        if (family == AF_INET6) {
                ((struct sockaddr_in6 *) a)->sin6_port = htons(port);
                ((struct sockaddr_in6 *) a)->sin6_addr = in6addr_loopback;
                return sizeof(struct sockaddr_in6);
        }
        ((struct sockaddr_in *) a)->sin_port = htons(port);
        ((struct sockaddr_in *) a)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return sizeof(struct sockaddr_in);
}

static guint16 port_of(int fd) {
        struct sockaddr_storage a;
        socklen_t n = sizeof(a);

        g_assert_no_errno(getsockname(fd, (struct sockaddr *) &a, &n));
        return ntohs(family == AF_INET6 ? ((struct sockaddr_in6 *) &a)->sin6_port : ((struct sockaddr_in *) &a)->sin_port);
}

static int bound(int flags) {
        struct sockaddr_storage a;
        socklen_t n = loopback(&a, 0);
        int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

        g_assert_no_errno(fd);
        g_assert_no_errno(bind(fd, (struct sockaddr *) &a, n));
        return fd;
}

static int connect_to(int fd, guint16 port) {
        struct sockaddr_storage a;
        socklen_t n = loopback(&a, port);

        return connect(fd, (struct sockaddr *) &a, n);
}

static void say(int fd, guint n) {
        g_autofree char *bytes = g_malloc0(n);

        g_assert_cmpint(send(fd, bytes, n, MSG_NOSIGNAL), ==, n);
}

static void hear(int fd, guint n) {
        g_autofree char *bytes = g_malloc(n);

        g_assert_cmpint(recv(fd, bytes, n, MSG_WAITALL), ==, n);
}

static void close_with_reset(int fd) {
        struct linger l = { .l_onoff = 1 };

        g_assert_no_errno(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
        close(fd);
}

typedef struct {
        int listener, client, server;
        guint16 client_port, server_port;
} Pair;

static Pair pair_new(void) {
        Pair p = { .listener = bound(0), .client = bound(0) };

        p.server_port = port_of(p.listener);
        p.client_port = port_of(p.client);
        g_assert_no_errno(listen(p.listener, 8));
        g_assert_no_errno(connect_to(p.client, p.server_port));
        g_assert_no_errno(p.server = accept4(p.listener, NULL, NULL, SOCK_CLOEXEC));
        return p;
}

/* The end of a connection from `lport` to `rport`. */
typedef struct {
        guint16 lport, rport;
} Ends;

static gboolean is_end(const struct bh_rec *rec, const struct bh_addr *a, gconstpointer data) {
        const Ends *e = data;

        return rec->tgid == (__u32) getpid() && a && a->lport == e->lport && a->rport == e->rport;
}

static void expect_end(guint16 lport, guint16 rport, int result, guint64 out, guint64 in, gboolean outgoing) {
        Ends e = { lport, rport };
        g_autofree struct bh_rec *rec = kernel_wait(BH_EV_NET_CLOSE, is_end, &e, WAIT_MS);
        struct stat ns;

        g_assert_nonnull(rec);
        g_assert_cmpint(rec->ret, ==, result);
        g_assert_cmpuint(rec->a[0], ==, out);
        g_assert_cmpuint(rec->a[1], ==, in);
        g_assert_cmpuint(rec->a[3], ==, outgoing);
        g_assert_cmpuint(rec->flags & BH_RF_FOUND, ==, 0);
        g_assert_no_errno(stat("/proc/self/ns/net", &ns));
        g_assert_cmpuint(rec->a[7], ==, ns.st_ino);
        g_assert_cmpint(memcmp(kernel_addr(rec)->laddr, kernel_addr(rec)->raddr, 16), ==, 0); /* loopback both */
        g_assert_null(kernel_wait(BH_EV_NET_CLOSE, is_end, &e, AGAIN_MS));
}

static BhBackend backend;

static gboolean begin(gconstpointer data) {
        backend = (BhBackend) GPOINTER_TO_INT(data);
        return kernel_use(backend, KINDS);
}

static void orderly_end_tells_bytes_and_packets_of_both_sides(gconstpointer data) {
        if (!begin(data))
                return;
        for (guint i = 0; i < 2; i++) {
                struct tcp_info at_client, at_server;
                socklen_t n = sizeof(at_client);

                family = i ? AF_INET6 : AF_INET;
                Pair p = pair_new();
                say(p.client, 1000);
                hear(p.server, 1000);
                say(p.server, 70000);
                hear(p.client, 70000);
                g_assert_no_errno(getsockopt(p.client, IPPROTO_TCP, TCP_INFO, &at_client, &n));
                n = sizeof(at_server);
                g_assert_no_errno(getsockopt(p.server, IPPROTO_TCP, TCP_INFO, &at_server, &n));
                close(p.client);
                hear(p.server, 0);
                close(p.server);
                close(p.listener);

                Ends client = { p.client_port, p.server_port }, server = { p.server_port, p.client_port };
                g_autofree struct bh_rec *c = kernel_wait(BH_EV_NET_CLOSE, is_end, &client, WAIT_MS), *s = kernel_wait(BH_EV_NET_CLOSE, is_end, &server, WAIT_MS);
                g_assert_nonnull(c);
                g_assert_nonnull(s);
                g_assert_cmpint(c->ret, ==, 0);
                g_assert_cmpint(s->ret, ==, 0);
                g_assert_cmpuint(c->a[0], ==, 1000);
                g_assert_cmpuint(c->a[1], ==, 70000);
                g_assert_cmpuint(s->a[0], ==, 70000);
                g_assert_cmpuint(s->a[1], ==, 1000);
                /* what TCP_INFO said, and at most two FINs and two answers more */
                g_assert_cmpuint(c->a[5], >=, at_client.tcpi_segs_out);
                g_assert_cmpuint(c->a[5], <=, at_client.tcpi_segs_out + 3);
                g_assert_cmpuint(c->a[6], >=, at_client.tcpi_segs_in);
                g_assert_cmpuint(c->a[6], <=, at_client.tcpi_segs_in + 3);
                g_assert_cmpuint(s->a[5], >=, at_server.tcpi_segs_out);
                g_assert_cmpuint(s->a[5], <=, at_server.tcpi_segs_out + 3);
                g_assert_cmpuint(s->a[6], >=, at_server.tcpi_segs_in);
                g_assert_cmpuint(s->a[6], <=, at_server.tcpi_segs_in + 3);
                g_assert_cmpuint(c->a[2], >, 0);
                g_assert_null(kernel_wait(BH_EV_NET_CLOSE, is_end, &client, AGAIN_MS));
                g_assert_null(kernel_wait(BH_EV_NET_CLOSE, is_end, &server, 0));
        }
        family = AF_INET;
}

static void half_closed_connection_counts_what_came_after(gconstpointer data) {
        if (!begin(data))
                return;

        Pair p = pair_new();
        say(p.client, 10);
        g_assert_no_errno(shutdown(p.client, SHUT_WR));
        hear(p.server, 10);
        say(p.server, 5000);
        hear(p.client, 5000);
        close(p.server);
        hear(p.client, 0);
        close(p.client);
        close(p.listener);
        expect_end(p.client_port, p.server_port, 0, 10, 5000, TRUE);
        expect_end(p.server_port, p.client_port, 0, 5000, 10, FALSE);
}

static void refused_connect_that_was_not_waited_for_is_told(gconstpointer data) {
        if (!begin(data))
                return;

        int listener = bound(0), fd = bound(SOCK_NONBLOCK);
        guint16 to = port_of(listener), from = port_of(fd);
        close(listener);
        g_assert_cmpint(connect_to(fd, to), ==, -1);
        g_assert_cmpint(errno, ==, EINPROGRESS);
        expect_end(from, to, -ECONNREFUSED, 0, 0, TRUE);
        close(fd);
        Ends e = { from, to };
        g_assert_null(kernel_wait(BH_EV_NET_CLOSE, is_end, &e, AGAIN_MS));
}

static void refused_connect_that_was_waited_for_is_left_to_its_event(gconstpointer data) {
        if (!begin(data))
                return;

        int listener = bound(0), fd = bound(0);
        guint16 to = port_of(listener), from = port_of(fd);
        Ends e = { from, to };
        close(listener);
        g_assert_cmpint(connect_to(fd, to), ==, -1);
        g_assert_cmpint(errno, ==, ECONNREFUSED);
        close(fd);
        g_assert_null(kernel_wait(BH_EV_NET_CLOSE, is_end, &e, AGAIN_MS));
}

/* A listener that answers no SYN: its queue is full. Returns what fills it. */
static int deaf(int *filled) {
        int listener = bound(0);

        g_assert_no_errno(listen(listener, 0));
        *filled = bound(0);
        g_assert_no_errno(connect_to(*filled, port_of(listener)));
        return listener;
}

static void connect_that_is_given_up_is_told(gconstpointer data) {
        if (!begin(data))
                return;

        int filled, listener = deaf(&filled), fd = bound(SOCK_NONBLOCK);
        guint16 to = port_of(listener), from = port_of(fd);
        g_assert_cmpint(connect_to(fd, to), ==, -1);
        g_assert_cmpint(errno, ==, EINPROGRESS);
        g_usleep(20000);
        close(fd);
        expect_end(from, to, -ECONNABORTED, 0, 0, TRUE);
        close(filled);
        close(listener);
}

static void connect_that_times_out_is_told(gconstpointer data) {
        if (!begin(data))
                return;

        int filled, listener = deaf(&filled), fd = bound(SOCK_NONBLOCK), once = 1;
        guint16 to = port_of(listener), from = port_of(fd);
        g_assert_no_errno(setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &once, sizeof(once)));
        g_assert_cmpint(connect_to(fd, to), ==, -1);
        g_assert_cmpint(errno, ==, EINPROGRESS);
        expect_end(from, to, -ETIMEDOUT, 0, 0, TRUE);
        close(fd);
        close(filled);
        close(listener);
}

static void reset_is_told_on_both_sides(gconstpointer data) {
        if (!begin(data))
                return;

        Pair p = pair_new();
        say(p.client, 300);
        hear(p.server, 300);
        say(p.server, 20);
        hear(p.client, 20);
        close_with_reset(p.server);
        expect_end(p.server_port, p.client_port, -ECONNRESET, 20, 300, FALSE);
        expect_end(p.client_port, p.server_port, -ECONNRESET, 300, 20, TRUE);
        close(p.client);
        close(p.listener);
}

static void close_over_unread_bytes_is_a_reset(gconstpointer data) {
        if (!begin(data))
                return;

        Pair p = pair_new();
        say(p.client, 64);
        g_assert_cmpint(recv(p.server, &(char[1]){ 0 }, 1, MSG_PEEK), ==, 1);
        close(p.server);
        expect_end(p.server_port, p.client_port, -ECONNRESET, 0, 64, FALSE);
        expect_end(p.client_port, p.server_port, -ECONNRESET, 64, 0, TRUE);
        close(p.client);
        close(p.listener);
}

static void reset_after_the_fin_is_a_reset(gconstpointer data) {
        if (!begin(data))
                return;

        Pair p = pair_new();
        say(p.client, 7);
        hear(p.server, 7);
        g_assert_no_errno(shutdown(p.client, SHUT_WR));
        hear(p.server, 0);
        close_with_reset(p.client);
        expect_end(p.server_port, p.client_port, -ECONNRESET, 0, 7, FALSE);
        close(p.server);
        close(p.listener);
}

static void connection_that_was_reset_before_it_was_accepted_is_told(gconstpointer data) {
        if (!begin(data))
                return;

        int listener = bound(0), fd = bound(0);
        guint16 to = port_of(listener), from = port_of(fd);
        g_assert_no_errno(listen(listener, 8));
        g_assert_no_errno(connect_to(fd, to));
        say(fd, 12);
        close_with_reset(fd);
        int server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        g_assert_no_errno(server);
        expect_end(to, from, -ECONNRESET, 0, 12, FALSE);
        close(server);
        close(listener);
        Ends e = { to, from };
        g_assert_null(kernel_wait(BH_EV_NET_CLOSE, is_end, &e, AGAIN_MS));
}

static void connect_that_is_asked_about_again_is_told_once_from_its_beginning(gconstpointer data) {
        if (!begin(data))
                return;

        Pair p = { .listener = bound(0), .client = bound(SOCK_NONBLOCK) };
        p.server_port = port_of(p.listener);
        p.client_port = port_of(p.client);
        g_assert_no_errno(listen(p.listener, 8));
        g_assert_cmpint(connect_to(p.client, p.server_port), ==, -1);
        g_assert_cmpint(errno, ==, EINPROGRESS);
        g_assert_no_errno(p.server = accept4(p.listener, NULL, NULL, SOCK_CLOEXEC));
        g_usleep(100000);
        g_assert_no_errno(connect_to(p.client, p.server_port));
        close(p.client);
        hear(p.server, 0);
        close(p.server);
        close(p.listener);

        Ends e = { p.client_port, p.server_port };
        g_autofree struct bh_rec *rec = kernel_wait(BH_EV_NET_CLOSE, is_end, &e, WAIT_MS);
        g_assert_nonnull(rec);
        g_assert_cmpuint(rec->a[2], >=, 100000000);
        g_assert_null(kernel_wait(BH_EV_NET_CLOSE, is_end, &e, AGAIN_MS));
}

/* The programs take this process for one of the host when its cgroup is known to be in no container. */
static void connections_of_the_host_are_told(gconstpointer data) {
        if (!begin(data))
                return;

        Pair p = pair_new();
        close(p.client);
        close(p.server);
        close(p.listener);
        Ends e = { p.client_port, p.server_port };
        g_autofree struct bh_rec *rec = kernel_wait(BH_EV_NET_CLOSE, is_end, &e, WAIT_MS);
        g_assert_nonnull(rec);

        struct bh_cgroup host = { 0 };
        __u64 cgroup = rec->cgroup;
        g_assert_cmpint(bpf_map_update_elem(bh_hooks_map(kernel_hooks(), "cgroups"), &cgroup, &host, BPF_ANY), ==, 0);
        bh_hooks_judge_anew(kernel_hooks());
        p = pair_new();
        say(p.client, 3);
        hear(p.server, 3);
        close(p.client);
        hear(p.server, 0);
        close(p.server);
        close(p.listener);
        expect_end(p.client_port, p.server_port, 0, 3, 0, TRUE);
        expect_end(p.server_port, p.client_port, 0, 0, 3, FALSE);
        bpf_map_delete_elem(bh_hooks_map(kernel_hooks(), "cgroups"), &cgroup);
        bh_hooks_judge_anew(kernel_hooks());
}

enum { MANY = 600, THREADS = 4 };

/* Connections that end in each way, as fast as it goes. Returns how many ends there are to be told. */
static gpointer many_connections(gpointer data) {
        guint ends = 0;

        for (guint i = 0; i < MANY; i++) {
                int listener = bound(0), client = bound(SOCK_NONBLOCK), server;
                guint16 port = port_of(listener);

                if (i % 5 < 4)
                        g_assert_no_errno(listen(listener, 1));
                g_assert_cmpint(connect_to(client, port), ==, -1);
                g_assert_cmpint(errno, ==, EINPROGRESS);
                ends++;
                if (i % 5 < 4) {
                        g_assert_cmpint(poll(&(struct pollfd){ .fd = client, .events = POLLOUT }, 1, WAIT_MS), ==, 1);
                        if (i % 5 == 0)
                                close_with_reset(client); /* before it is accepted */
                        g_assert_no_errno(server = accept4(listener, NULL, NULL, SOCK_CLOEXEC));
                        ends++;
                        if (i % 5 == 1)
                                close_with_reset(server);
                        else
                                close(server);
                }
                if (i % 5 == 2) /* where the fallback sees it again */
                        connect_to(client, port);
                if (i % 5)
                        close(client);
                close(listener);
        }
        return GUINT_TO_POINTER(ends);
}

static gboolean is_own(const struct bh_rec *rec, const struct bh_addr *a, gconstpointer data) {
        return rec->tgid == (__u32) getpid();
}

static void no_change(guint32 type, const BhHookState *now, gpointer data) {
}

/* Calls that the kernel kept from programs because they ran on that CPU already: 7.x preempts them, and on an emulated machine they take long. */
static guint64 misses(void) {
        g_autoptr(GError) error = NULL;

        bh_hooks_check(kernel_hooks(), no_change, NULL, &error);
        g_assert_no_error(error);
        return bh_hooks_recursion_misses(kernel_hooks());
}

static void many_ends_at_once_are_each_told_once(gconstpointer data) {
        GThread *threads[THREADS];
        guint ends = 0, told = 0;
        guint64 missed;
        struct bh_rec *rec;

        if (!begin(data))
                return;
        missed = misses();
        for (guint i = 0; i < THREADS; i++)
                threads[i] = g_thread_new("many", many_connections, NULL);
        for (guint i = 0; i < THREADS; i++)
                ends += GPOINTER_TO_UINT(g_thread_join(threads[i]));
        missed = misses() - missed;
        for (; (rec = kernel_wait(BH_EV_NET_CLOSE, is_own, NULL, told + missed < ends ? WAIT_MS : AGAIN_MS)); told++)
                g_free(rec);
        g_test_message("%u of %u, %" G_GUINT64_FORMAT " calls missed", told, ends, missed);
        g_assert_cmpuint(told, <=, ends);
        g_assert_cmpuint(told + missed, >=, ends);
}

static void count_own(const void *key, const void *value, gpointer data) {
        (*(guint *) data) += ((const struct bh_conn *) value)->who.id.tgid == (__u32) getpid();
}


static void nothing_is_kept_of_connections_whose_end_nobody_needs(gconstpointer data) {
        guint before = 0, after = 0; /* ends that were missed stay for a while */

        backend = (BhBackend) GPOINTER_TO_INT(data);
        if (!kernel_use(backend, "connect,accept"))
                return;
        g_assert_true(bh_map_each(bh_hooks_map(kernel_hooks(), "conns"), 8, sizeof(struct bh_conn), count_own, &before));
        Pair p = pair_new();
        g_assert_true(bh_map_each(bh_hooks_map(kernel_hooks(), "conns"), 8, sizeof(struct bh_conn), count_own, &after));
        g_assert_cmpuint(after, ==, before);
        close(p.client);
        close(p.server);
        close(p.listener);
}

/* ---- shares of the table ---- */

static void take_cgroup(const void *key, const void *value, gpointer data) {
        const struct bh_conn *c = value;

        if (c->who.id.tgid == (__u32) getpid())
                *(guint64 *) data = c->who.id.cgroup;
}

static void set_container(guint64 cgroup, guint64 container) {
        struct bh_cgroup cg = { .container = container };

        g_assert_no_errno(bpf_map_update_elem(bh_hooks_map(kernel_hooks(), "cgroups"), &cgroup, &cg, BPF_ANY));
}

static gint64 share_of(guint64 share) {
        gint64 n = -1;

        bpf_map_lookup_elem(bh_hooks_map(kernel_hooks(), "conn_shares"), &share, &n);
        return n;
}

/* The end is told before the share is given back, maybe on another processor. */
static void expect_share(guint64 share, gint64 n) {
        for (guint ms = 0; ms < 2000 && share_of(share) != n; ms++)
                g_usleep(1000);
        g_assert_cmpint(share_of(share), ==, n);
}

static void set_share(guint64 share, gint64 n) {
        g_assert_no_errno(bpf_map_update_elem(bh_hooks_map(kernel_hooks(), "conn_shares"), &share, &n, BPF_ANY));
}

static guint64 refused(guint64 cgroup) {
        struct bh_acct_key key = { .cgroup = cgroup, .type = BH_EV_NET_CLOSE };
        guint cpus = (guint) libbpf_num_possible_cpus();
        g_autofree struct bh_acct *a = g_new0(struct bh_acct, cpus);
        guint64 n = 0;

        if (bpf_map_lookup_elem(bh_hooks_map(kernel_hooks(), "acct"), &key, a))
                return 0;
        for (guint i = 0; i < cpus; i++)
                n += a[i].lost[BH_LOST_STATE_FULL];
        return n;
}

static void pair_end(Pair *p) {
        close(p->client);
        close(p->server);
        close(p->listener);
}

/* A container that has as many connections as are free gets no more, which is counted; another, that has few, is told of each. */
static void who_has_most_of_the_table_leaves_room_for_others(gconstpointer data) {
        const guint64 greedy = 0x7fff0001, modest = 0x7fff0002;
        struct bh_cgroup cg = { 0 };
        guint64 cgroup = 0, before;
        gint64 all;

        if (!begin(data))
                return;
        Pair p = pair_new();
        g_assert_true(bh_map_each(bh_hooks_map(kernel_hooks(), "conns"), 8, sizeof(struct bh_conn), take_cgroup, &cgroup));
        g_assert_cmpuint(cgroup, !=, 0);
        pair_end(&p);
        expect_end(p.server_port, p.client_port, 0, 0, 0, FALSE);
        expect_end(p.client_port, p.server_port, 0, 0, 0, TRUE);
        gboolean known = bpf_map_lookup_elem(bh_hooks_map(kernel_hooks(), "cgroups"), &cgroup, &cg) == 0;
        all = share_of(BH_SHARE_ALL);

        set_container(cgroup, greedy);
        set_share(greedy, 60000);
        set_share(BH_SHARE_ALL, BH_CONNS_MAX - 1000);
        before = refused(cgroup);
        p = pair_new();
        pair_end(&p);
        g_assert_null(kernel_wait(BH_EV_NET_CLOSE, is_own, NULL, AGAIN_MS));
        g_assert_cmpuint(refused(cgroup) - before, ==, 2);
        g_assert_cmpint(share_of(greedy), ==, 60000);

        set_container(cgroup, modest);
        p = pair_new();
        g_assert_cmpint(share_of(modest), ==, 2);
        pair_end(&p);
        expect_end(p.server_port, p.client_port, 0, 0, 0, FALSE);
        expect_end(p.client_port, p.server_port, 0, 0, 0, TRUE);
        expect_share(modest, 0);

        /* the same number is no matter where more than that is free */
        set_container(cgroup, greedy);
        set_share(BH_SHARE_ALL, 60000);
        p = pair_new();
        g_assert_cmpint(share_of(greedy), ==, 60002);
        pair_end(&p);
        expect_end(p.server_port, p.client_port, 0, 0, 0, FALSE);
        expect_end(p.client_port, p.server_port, 0, 0, 0, TRUE);
        expect_share(greedy, 60000);

        set_share(BH_SHARE_ALL, all);
        if (known)
                set_container(cgroup, cg.container);
        else
                bpf_map_delete_elem(bh_hooks_map(kernel_hooks(), "cgroups"), &cgroup);
        bpf_map_delete_elem(bh_hooks_map(kernel_hooks(), "conn_shares"), &greedy);
        bpf_map_delete_elem(bh_hooks_map(kernel_hooks(), "conn_shares"), &modest);
}

void connections_add(BhBackend with) {
        static const struct {
                const char *name;
                void (*run)(gconstpointer data);
        } tests[] = {
                { "orderly_end_tells_bytes_and_packets_of_both_sides", orderly_end_tells_bytes_and_packets_of_both_sides },
                { "half_closed_connection_counts_what_came_after", half_closed_connection_counts_what_came_after },
                { "refused_connect_that_was_not_waited_for_is_told", refused_connect_that_was_not_waited_for_is_told },
                { "refused_connect_that_was_waited_for_is_left_to_its_event", refused_connect_that_was_waited_for_is_left_to_its_event },
                { "connect_that_is_given_up_is_told", connect_that_is_given_up_is_told },
                { "connect_that_times_out_is_told", connect_that_times_out_is_told },
                { "reset_is_told_on_both_sides", reset_is_told_on_both_sides },
                { "close_over_unread_bytes_is_a_reset", close_over_unread_bytes_is_a_reset },
                { "reset_after_the_fin_is_a_reset", reset_after_the_fin_is_a_reset },
                { "connection_that_was_reset_before_it_was_accepted_is_told", connection_that_was_reset_before_it_was_accepted_is_told },
                { "connect_that_is_asked_about_again_is_told_once_from_its_beginning", connect_that_is_asked_about_again_is_told_once_from_its_beginning },
                { "connections_of_the_host_are_told", connections_of_the_host_are_told },
                { "many_ends_at_once_are_each_told_once", many_ends_at_once_are_each_told_once },
                { "nothing_is_kept_of_connections_whose_end_nobody_needs", nothing_is_kept_of_connections_whose_end_nobody_needs },
                { "who_has_most_of_the_table_leaves_room_for_others", who_has_most_of_the_table_leaves_room_for_others },
        };

        for (guint i = 0; i < G_N_ELEMENTS(tests); i++) {
                g_autofree char *path = g_strdup_printf("/%s/connections/%s", bh_backend_name(with), tests[i].name);

                g_test_add_data_func(path, GINT_TO_POINTER(with), tests[i].run);
        }
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk over all sockets: real sockets of this process and of children, seen once and as they are; connections from before are entered, and their end
 * is told. Both backends, as who follows connections differs.
 */
#include "sensor/sockets.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <glib/gstdio.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"
#include "network.h"
#include "sensor/hooks_private.h"
#include "sensor/map_each.h"
#include "sock_record.h"

#define KINDS "connect,accept,net_close"
#define WAIT_MS 20000u
#ifndef TCP_SEND_QUEUE
#define TCP_SEND_QUEUE 2
#endif

typedef struct {
        int listener, client, server;
        guint16 client_port, server_port;
} Pair;

static guint64 ino_of(int fd) {
        struct stat st;

        g_assert_no_errno(fstat(fd, &st));
        return st.st_ino;
}

static guint16 port_of(int fd) {
        struct sockaddr_in a;
        socklen_t n = sizeof(a);

        g_assert_no_errno(getsockname(fd, (struct sockaddr *) &a, &n));
        return ntohs(a.sin_port);
}

static int bound(int type) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

        g_assert_no_errno(fd);
        g_assert_no_errno(bind(fd, (struct sockaddr *) &a, sizeof(a)));
        return fd;
}

static int connect_to(int fd, guint16 port) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

        return connect(fd, (struct sockaddr *) &a, sizeof(a));
}

static Pair pair_new(void) {
        Pair p = { .listener = bound(SOCK_STREAM), .client = bound(SOCK_STREAM) };

        p.server_port = port_of(p.listener);
        p.client_port = port_of(p.client);
        g_assert_no_errno(listen(p.listener, 8));
        g_assert_no_errno(connect_to(p.client, p.server_port));
        g_assert_no_errno(p.server = accept4(p.listener, NULL, NULL, SOCK_CLOEXEC));
        return p;
}

static void pair_close(Pair *p) {
        close(p->client);
        g_assert_cmpint(recv(p->server, &(char[1]){ 0 }, 1, 0), ==, 0);
        close(p->server);
        close(p->listener);
}

static void move_bytes(int from, int to, guint n) {
        g_autofree char *bytes = g_malloc0(n);

        g_assert_cmpint(send(from, bytes, n, MSG_NOSIGNAL), ==, n);
        g_assert_cmpint(recv(to, bytes, n, MSG_WAITALL), ==, n);
}

/* ---- walks ---- */

static BhSockets *walker;
static GArray *seen;

static void on_socket(const BhSocket *s, gpointer data) {
        g_array_append_vals(seen, s, 1);
}

static void walk(void) {
        g_autoptr(GError) error = NULL;

        g_array_set_size(seen, 0);
        g_assert_true(bh_sockets_walk(walker, on_socket, NULL, &error));
        g_assert_no_error(error);
}

/* The socket of that inode, which must have been told exactly once. */
static const BhSocket *told(guint64 ino) {
        const BhSocket *found = NULL;
        guint n = 0;

        for (guint i = 0; i < seen->len; i++) {
                const BhSocket *s = &g_array_index(seen, BhSocket, i);

                if (s->ino == ino) {
                        found = s;
                        n++;
                }
        }
        g_assert_cmpuint(n, ==, 1);
        return found;
}

/* With the walker of this backend. `kinds`: what the hooks are to tell. */
static gboolean begin(gconstpointer data, const char *kinds) {
        static BhBackend of;
        BhBackend backend = (BhBackend) GPOINTER_TO_INT(data);
        g_autoptr(GError) error = NULL;

        if (backend != of)
                g_clear_pointer(&walker, bh_sockets_free);
        of = backend;
        if (!kernel_use(backend, kinds))
                return FALSE;
        if (!walker) {
                walker = bh_sockets_new(kernel_hooks(), &error);
                g_assert_no_error(error);
        }
        return TRUE;
}

static guint32 own_net_ns(void) {
        struct stat st;

        g_assert_no_errno(stat("/proc/self/ns/net", &st));
        return (guint32) st.st_ino;
}

typedef struct {
        guint16 lport, rport;
} Ends;

static gboolean is_end(const struct bh_rec *rec, const struct bh_addr *a, gconstpointer data) {
        const Ends *e = data;

        return a && a->lport == e->lport && a->rport == e->rport;
}

static struct bh_rec *end_of(guint16 lport, guint16 rport) {
        Ends e = { lport, rport };
        struct bh_rec *rec = kernel_wait(BH_EV_NET_CLOSE, is_end, &e, WAIT_MS);

        g_assert_nonnull(rec);
        return rec;
}

static void listeners_are_seen_with_owner_address_and_namespace(gconstpointer data) {
        struct sockaddr_in6 any = { .sin6_family = AF_INET6 };
        int tcp, tcp6, udp;
        socklen_t n = sizeof(any);

        if (!begin(data, KINDS))
                return;
        tcp = bound(SOCK_STREAM);
        udp = bound(SOCK_DGRAM);
        tcp6 = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_assert_no_errno(bind(tcp6, (struct sockaddr *) &any, sizeof(any)));
        g_assert_no_errno(getsockname(tcp6, (struct sockaddr *) &any, &n));
        g_assert_no_errno(listen(tcp, 1));
        g_assert_no_errno(listen(tcp6, 1));
        walk();

        const BhSocket *s = told(ino_of(tcp));
        g_assert_true(s->listening);
        g_assert_cmpuint(s->family, ==, AF_INET);
        g_assert_cmpuint(s->type, ==, SOCK_STREAM);
        g_assert_cmpuint(s->proto, ==, IPPROTO_TCP);
        g_assert_cmpuint(s->lport, ==, port_of(tcp));
        g_assert_cmpmem(s->laddr, 4, ((guint8[]){ 127, 0, 0, 1 }), 4);
        g_assert_cmpuint(s->pid, ==, getpid());
        g_assert_cmpuint(s->start, >, 0);
        g_assert_cmpstr(s->comm, ==, "test_network");
        g_assert_cmpuint(s->net_ns, ==, own_net_ns());
        g_assert_cmpint(s->role, ==, BH_SOCKET_ROLE_NONE);
        g_assert_false(s->tracked);

        s = told(ino_of(tcp6));
        g_assert_true(s->listening);
        g_assert_cmpuint(s->family, ==, AF_INET6);
        g_assert_cmpuint(s->lport, ==, ntohs(any.sin6_port));
        g_assert_cmpmem(s->laddr, 16, &in6addr_any, 16);

        s = told(ino_of(udp));
        g_assert_false(s->listening);
        g_assert_cmpuint(s->proto, ==, IPPROTO_UDP);
        g_assert_cmpuint(s->lport, ==, port_of(udp));
        close(tcp);
        close(tcp6);
        close(udp);
        walk();
        for (guint i = 0; i < seen->len; i++)
                g_assert_false(g_array_index(seen, BhSocket, i).listening && g_array_index(seen, BhSocket, i).pid == (guint32) getpid());
}

static void connection_whose_beginning_was_seen_tells_its_role_and_bytes(gconstpointer data) {
        if (!begin(data, KINDS))
                return;

        Pair p = pair_new();
        move_bytes(p.client, p.server, 500);
        move_bytes(p.server, p.client, 9000);
        walk();
        const BhSocket *c = told(ino_of(p.client)), *s = told(ino_of(p.server));
        g_assert_cmpint(c->role, ==, BH_SOCKET_ROLE_CLIENT);
        g_assert_cmpint(s->role, ==, BH_SOCKET_ROLE_SERVER);
        g_assert_cmpint(c->basis, ==, BH_SOCKET_BY_EVENT);
        g_assert_cmpint(s->basis, ==, BH_SOCKET_BY_EVENT);
        g_assert_true(c->tracked && s->tracked);
        g_assert_false(c->found || s->found);
        g_assert_cmpuint(c->since, >, 0);
        g_assert_cmpuint(c->state, ==, 1);
        g_assert_cmpuint(c->bytes_out, ==, 500);
        g_assert_cmpuint(c->bytes_in, ==, 9000);
        g_assert_cmpuint(s->bytes_out, ==, 9000);
        g_assert_cmpuint(s->bytes_in, ==, 500);
        g_assert_cmpuint(c->packets_out, >=, 2);
        g_assert_cmpuint(c->lport, ==, p.client_port);
        g_assert_cmpuint(c->rport, ==, p.server_port);
        g_assert_cmpuint(s->lport, ==, p.server_port);
        pair_close(&p);
        g_free(end_of(p.client_port, p.server_port));
        g_free(end_of(p.server_port, p.client_port));
}

static void connection_from_before_is_entered_and_its_end_told(gconstpointer data) {
        BhSocketsStats before, after;

        /* nobody needs ends of connections, so this one is not followed */
        if (!begin(data, "connect,accept"))
                return;
        Pair p = pair_new();
        move_bytes(p.client, p.server, 77);
        move_bytes(p.server, p.client, 3000);
        walk();
        g_assert_false(told(ino_of(p.client))->tracked);

        g_assert_true(begin(data, KINDS));
        bh_sockets_stats(walker, &before);
        walk();
        bh_sockets_stats(walker, &after);
        g_assert_cmpuint(after.entered, >=, before.entered + 2);
        const BhSocket *c = told(ino_of(p.client)), *s = told(ino_of(p.server));
        g_assert_true(c->tracked && c->found && s->tracked && s->found);
        g_assert_cmpint(c->role, ==, BH_SOCKET_ROLE_CLIENT);
        g_assert_cmpint(s->role, ==, BH_SOCKET_ROLE_SERVER);
        g_assert_cmpint(c->basis, ==, BH_SOCKET_BY_COUNTERS);
        g_assert_cmpint(s->basis, ==, BH_SOCKET_BY_COUNTERS);
        g_assert_cmpuint(c->bytes_out, ==, 77);
        g_assert_cmpuint(c->bytes_in, ==, 3000);
        g_assert_cmpuint(s->bytes_out, ==, 3000);
        g_assert_cmpuint(s->bytes_in, ==, 77);

        move_bytes(p.client, p.server, 3);
        guint64 since = c->since;
        walk(); /* not entered twice */
        g_assert_cmpuint(told(ino_of(p.client))->since, ==, since);
        pair_close(&p);
        g_autofree struct bh_rec *a = end_of(p.client_port, p.server_port), *b = end_of(p.server_port, p.client_port);
        g_assert_cmpuint(a->flags & BH_RF_FOUND, ==, BH_RF_FOUND);
        g_assert_cmpuint(a->a[0], ==, 80);
        g_assert_cmpuint(a->a[1], ==, 3000);
        g_assert_cmpuint(a->a[3], ==, 1);
        g_assert_cmpuint(b->a[0], ==, 3000);
        g_assert_cmpuint(b->a[1], ==, 80);
        g_assert_cmpuint(b->a[3], ==, 0);
        g_assert_cmpuint(b->tgid, ==, getpid());
        g_assert_cmpstr(b->comm, ==, "test_network");
}

/* Programs that are loaded apart use the maps of the others, whatever became of their pins: with a map of their own a connection would be entered where nobody looks. */
static void map_whose_pin_was_taken_away_is_still_the_same(gconstpointer data) {
        if (!begin(data, KINDS))
                return;
        g_autofree char *pin = g_build_filename(kernel_hooks()->pin_dir, "conns", NULL);
        int conns = bh_hooks_map(kernel_hooks(), "conns");

        g_clear_pointer(&walker, bh_sockets_free);
        g_assert_no_errno(unlink(pin));
        g_assert_true(begin(data, "connect,accept"));
        Pair p = pair_new();
        move_bytes(p.client, p.server, 5);
        g_assert_true(begin(data, KINDS));
        walk();
        const BhSocket *c = told(ino_of(p.client));
        g_assert_true(c->tracked && c->found);
        pair_close(&p);
        g_autofree struct bh_rec *end = end_of(p.client_port, p.server_port);
        g_assert_cmpuint(end->a[0], ==, 5);
        g_clear_pointer(&walker, bh_sockets_free);
        g_assert_no_errno(bpf_obj_pin(conns, pin));
}

static void half_closed_connection_from_before_keeps_its_sides(gconstpointer data) {
        if (!begin(data, "connect,accept"))
                return;

        Pair p = pair_new(), q = pair_new();
        move_bytes(p.client, p.server, 5);
        g_assert_no_errno(shutdown(p.client, SHUT_WR));
        g_assert_no_errno(shutdown(q.server, SHUT_WR));
        g_assert_cmpint(recv(p.server, &(char[1]){ 0 }, 1, 0), ==, 0);
        g_assert_true(begin(data, KINDS));
        walk();
        g_assert_cmpint(told(ino_of(p.client))->role, ==, BH_SOCKET_ROLE_CLIENT);
        g_assert_cmpint(told(ino_of(p.server))->role, ==, BH_SOCKET_ROLE_SERVER);
        g_assert_cmpint(told(ino_of(q.client))->role, ==, BH_SOCKET_ROLE_CLIENT);
        g_assert_cmpint(told(ino_of(q.server))->role, ==, BH_SOCKET_ROLE_SERVER);
        g_assert_cmpuint(told(ino_of(p.client))->bytes_out, ==, 5);
        g_assert_cmpuint(told(ino_of(p.server))->bytes_in, ==, 5);
        close(p.server);
        close(p.client);
        close(p.listener);
        close(q.client);
        close(q.server);
        close(q.listener);
}

static void half_open_connect_is_seen_as_such(gconstpointer data) {
        if (!begin(data, KINDS))
                return;

        int listener = bound(SOCK_STREAM), filled = bound(SOCK_STREAM), fd = bound(SOCK_STREAM | SOCK_NONBLOCK);
        g_assert_no_errno(listen(listener, 0));
        g_assert_no_errno(connect_to(filled, port_of(listener)));
        g_assert_cmpint(connect_to(fd, port_of(listener)), ==, -1);
        g_assert_cmpint(errno, ==, EINPROGRESS);
        walk();
        const BhSocket *s = told(ino_of(fd));
        g_assert_cmpuint(s->state, ==, 2);
        g_assert_cmpint(s->role, ==, BH_SOCKET_ROLE_CLIENT);
        g_assert_cmpuint(s->rport, ==, port_of(listener));
        g_assert_true(s->tracked);
        close(fd);
        close(filled);
        close(listener);
}

static void unix_sockets_tell_name_file_and_peer(gconstpointer data) {
        /* not on an overlay, whose files stat(2) tells with numbers that are not the kernel's objects' */
        g_autofree char *dir = g_strdup("/run/bh-sockets-XXXXXX");
        struct sockaddr_un a = { .sun_family = AF_UNIX }, abstract = { .sun_family = AF_UNIX, .sun_path = { 0, 'b', 'h', 0, 'x' } };
        int named, hidden, client, server, two[2];
        struct stat file;

        if (!begin(data, KINDS))
                return;
        g_assert_nonnull(g_mkdtemp(dir));
        g_snprintf(a.sun_path, sizeof(a.sun_path), "%s/s", dir);
        g_assert_no_errno(named = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        g_assert_no_errno(hidden = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        g_assert_no_errno(client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        g_assert_no_errno(bind(named, (struct sockaddr *) &a, sizeof(a)));
        g_assert_no_errno(bind(hidden, (struct sockaddr *) &abstract, offsetof(struct sockaddr_un, sun_path) + 5));
        g_assert_no_errno(listen(named, 1));
        g_assert_no_errno(listen(hidden, 1));
        g_assert_no_errno(connect(client, (struct sockaddr *) &a, sizeof(a)));
        g_assert_no_errno(server = accept4(named, NULL, NULL, SOCK_CLOEXEC));
        g_assert_no_errno(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, two));
        g_assert_no_errno(stat(a.sun_path, &file));
        walk();

        const BhSocket *s = told(ino_of(named));
        g_assert_true(s->listening);
        g_assert_cmpstr(s->path, ==, a.sun_path);
        g_assert_cmpuint(s->path_ino, ==, file.st_ino);
        g_assert_cmpuint(s->path_dev, ==, file.st_dev);
        g_assert_false(s->path_of_peer);
        g_assert_cmpstr(told(ino_of(hidden))->path, ==, "@bh@x");
        g_assert_cmpuint(told(ino_of(hidden))->path_ino, ==, 0);

        s = told(ino_of(client));
        g_assert_cmpuint(s->peer_ino, ==, ino_of(server));
        g_assert_cmpuint(s->peer_pid, ==, getpid());
        g_assert_true(s->path_of_peer);
        g_assert_cmpstr(s->path, ==, a.sun_path);
        g_assert_cmpuint(s->path_ino, ==, file.st_ino);
        s = told(ino_of(server));
        g_assert_cmpuint(s->peer_ino, ==, ino_of(client));
        g_assert_false(s->path_of_peer);
        g_assert_cmpstr(s->path, ==, a.sun_path);
        s = told(ino_of(two[0]));
        g_assert_cmpuint(s->peer_ino, ==, ino_of(two[1]));
        g_assert_cmpstr(s->path, ==, "");
        for (guint i = 0; i < 6; i++)
                close(((int[]){ named, hidden, client, server, two[0], two[1] })[i]);
        g_unlink(a.sun_path);
        g_rmdir(dir);
}

/* A child that does `work`, says so, and stays until kernel_end_child(). */
static pid_t child(void (*work)(int say), int *hear) {
        int say[2];
        pid_t pid;

        g_assert_no_errno(pipe(say));
        g_assert_no_errno(pid = fork());
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                close(say[0]);
                work(say[1]);
                for (;;)
                        pause();
        }
        close(say[1]);
        *hear = say[0];
        return pid;
}

static void end_child(pid_t pid, int hear) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        close(hear);
}

static void just_say(int say) {
        guint64 none = 0;

        if (write(say, &none, sizeof(none)) < 0)
                _exit(1);
}

static void socket_of_several_processes_is_told_once_with_the_first(gconstpointer data) {
        if (!begin(data, KINDS))
                return;

        int listener = bound(SOCK_STREAM), hear;
        guint64 word;
        g_assert_no_errno(listen(listener, 1));
        pid_t pid = child(just_say, &hear);
        g_assert_cmpint(read(hear, &word, sizeof(word)), ==, sizeof(word));
        walk();
        g_assert_cmpuint(told(ino_of(listener))->pid, ==, MIN((guint32) pid, (guint32) getpid()));
        end_child(pid, hear);
        close(listener);
}

static void set_loopback(gboolean up) {
        struct ifreq r = { .ifr_name = "lo" };
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        r.ifr_flags = up ? IFF_UP : 0;
        if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &r))
                _exit(2);
        close(fd);
}

static void listen_elsewhere(int say) {
        guint64 ino;

        if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
                _exit(3);
        set_loopback(TRUE);
        int listener = bound(SOCK_STREAM);
        ino = listen(listener, 1) ? 0 : ino_of(listener);
        if (write(say, &ino, sizeof(ino)) < 0)
                _exit(1);
}

static void listener_in_another_network_namespace_is_seen(gconstpointer data) {
        guint64 ino = 0;
        int hear;

        if (!begin(data, KINDS))
                return;
        pid_t pid = child(listen_elsewhere, &hear);
        if (read(hear, &ino, sizeof(ino)) != sizeof(ino)) {
                g_test_skip("this machine gives no network namespace");
                end_child(pid, hear);
                return;
        }
        g_autofree char *path = g_strdup_printf("/proc/%d/ns/net", pid);
        struct stat ns;
        g_assert_no_errno(stat(path, &ns));
        walk();
        const BhSocket *s = told(ino);
        g_assert_cmpuint(s->pid, ==, pid);
        g_assert_cmpuint(s->net_ns, ==, ns.st_ino);
        g_assert_cmpuint(s->net_ns, !=, own_net_ns());
        end_child(pid, hear);
}

/* Bytes that were put into the queue as if they had been sent (as restoring a checkpoint does) are counted when they are acknowledged, and never as sent. */
static void send_uncounted(int fd, const char *bytes) {
        int on = 1, queue = TCP_SEND_QUEUE, off = 0;

        if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) || setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof(queue)) ||
            send(fd, bytes, strlen(bytes), 0) < 0 || setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off)))
                _exit(4);
}

static void connect_and_confuse(int say) {
        guint64 inos[2];

        if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
                _exit(3);
        set_loopback(TRUE);
        Pair p = pair_new();
        inos[0] = ino_of(p.client);
        inos[1] = ino_of(p.server);
        send_uncounted(p.client, "what");
        send_uncounted(p.server, "how");
        if (write(say, inos, sizeof(inos)) < 0)
                _exit(1);
}

static void sides_that_counters_do_not_tell_follow_from_who_listens(gconstpointer data) {
        guint64 inos[2];
        int hear;

        if (!begin(data, "connect,accept"))
                return;
        pid_t pid = child(connect_and_confuse, &hear);
        if (read(hear, inos, sizeof(inos)) != sizeof(inos)) {
                g_test_skip("this machine gives no network namespace");
                end_child(pid, hear);
                return;
        }
        g_assert_true(begin(data, KINDS));
        walk();
        const BhSocket *c = told(inos[0]), *s = told(inos[1]);
        g_assert_cmpint(c->role, ==, BH_SOCKET_ROLE_CLIENT);
        g_assert_cmpint(s->role, ==, BH_SOCKET_ROLE_SERVER);
        g_assert_cmpint(c->basis, ==, BH_SOCKET_BY_PORT);
        g_assert_cmpint(s->basis, ==, BH_SOCKET_BY_PORT);
        g_assert_true(c->tracked && s->tracked);
        guint16 cport = c->lport, sport = s->lport;
        kill(pid, SIGKILL);
        g_autofree struct bh_rec *rec = end_of(cport, sport);
        g_assert_cmpuint(rec->a[3], ==, 1);
        g_assert_cmpuint(rec->tgid, ==, pid);
        end_child(pid, hear);
}

/* A connection that the programs believe to be there and no process has: what a missed end leaves behind. */
static void ends_that_were_missed_do_not_stay_for_ever(gconstpointer data) {
        int conns;
        struct bh_conn old = { .since = 1, .seen = 1 };
        guint64 key = 0xffff000000000040ull, live = 0;
        BhSocketsStats before, after;

        if (!begin(data, KINDS))
                return;
        conns = bh_hooks_map(kernel_hooks(), "conns");
        Pair p = pair_new();
        walk();
        live = told(ino_of(p.client))->sk;
        g_assert_cmpint(bpf_map_update_elem(conns, &key, &old, BPF_ANY), ==, 0);
        bh_sockets_stats(walker, &before);
        bh_sockets_sweep(walker, G_MAXINT64);
        bh_sockets_stats(walker, &after);
        g_assert_cmpuint(after.forgotten, >, before.forgotten);
        g_assert_cmpint(bpf_map_lookup_elem(conns, &key, &old), !=, 0);
        pair_close(&p);

        p = pair_new();
        walk();
        live = told(ino_of(p.client))->sk;
        /* a share that cannot be is counted anew, one that has nothing goes */
        int shares = bh_hooks_map(kernel_hooks(), "conn_shares");
        guint64 host = BH_SHARE_HOST, gone = 0x7fff0003;
        gint64 wrong = -70000, none = 0;
        g_assert_cmpint(bpf_map_lookup_elem(conns, &live, &old), ==, 0);
        g_assert_cmpint(bpf_map_update_elem(shares, &old.share, &wrong, BPF_ANY), ==, 0);
        g_assert_cmpint(bpf_map_update_elem(shares, &gone, &none, BPF_ANY), ==, 0);
        bh_sockets_sweep(walker, 0);
        g_assert_cmpint(bpf_map_lookup_elem(conns, &live, &old), ==, 0);
        g_assert_cmpint(bpf_map_lookup_elem(shares, &old.share, &wrong), ==, 0);
        g_assert_cmpint(wrong, >, 0);
        g_assert_cmpint(bpf_map_lookup_elem(shares, &gone, &none), !=, 0);
        g_assert_cmpint(bpf_map_lookup_elem(shares, &host, &none), ==, 0);
        pair_close(&p);
}

static gboolean is_of_old(const struct bh_rec *rec, const struct bh_addr *a, gconstpointer data) {
        return rec->tgid == 4194305;
}

/* What is kept of a connection whose end was missed, at the address that another's socket has got. */
static void what_is_left_of_another_connection_is_not_taken_for_this_one(gconstpointer data) {
        struct bh_conn old = { .who.id.tgid = 4194305, .addr = { .lport = 1, .rport = 2 }, .since = 1, .outgoing = 1 };
        int conns;

        if (!begin(data, KINDS))
                return;
        conns = bh_hooks_map(kernel_hooks(), "conns");
        Pair p = pair_new(), q = pair_new();
        walk();
        guint64 sk = told(ino_of(p.server))->sk, other = told(ino_of(q.server))->sk;
        g_assert_cmpint(bpf_map_update_elem(conns, &sk, &old, BPF_ANY), ==, 0);
        walk();
        const BhSocket *s = told(ino_of(p.server));
        g_assert_cmpuint(s->pid, ==, getpid());
        g_assert_true(s->found);
        g_assert_cmpint(s->role, ==, BH_SOCKET_ROLE_SERVER);
        g_assert_cmpint(bpf_map_update_elem(conns, &other, &old, BPF_ANY), ==, 0);
        pair_close(&p);
        pair_close(&q);
        g_free(end_of(p.server_port, p.client_port));
        g_free(end_of(q.client_port, q.server_port));
        g_assert_null(kernel_wait(BH_EV_NET_CLOSE, is_of_old, NULL, 200));
        g_assert_cmpint(bpf_map_lookup_elem(conns, &other, &old), !=, 0);
}

static guint64 cpu_us(void) {
        struct timespec t;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return (guint64) t.tv_sec * 1000000 + (guint64) t.tv_nsec / 1000;
}

/* Figures, not a test: what a walk takes on a machine with many processes. */
static void speed(gconstpointer data) {
        enum { PROCESSES = 10000, OTHERS = 5, PAIRS = 2 };
        g_autofree pid_t *pids = g_new0(pid_t, PROCESSES);
        BhSocketsStats stats;
        guint n = 0;

        if (!g_test_perf()) {
                g_test_skip("figures only, with -m perf");
                return;
        }
        if (!begin(data, KINDS))
                return;
        for (; n < PROCESSES; n++) {
                pid_t pid = fork();

                if (pid < 0)
                        break;
                if (pid == 0) {
                        int two[2];

                        prctl(PR_SET_PDEATHSIG, SIGKILL);
                        close_range(1, ~0u, 0);
                        for (guint i = 0; i < OTHERS; i++)
                                (void) !dup(0);
                        for (guint i = 0; i < PAIRS; i++)
                                (void) !socketpair(AF_UNIX, SOCK_STREAM, 0, two);
                        for (;;)
                                pause();
                }
                pids[n] = pid;
        }
        g_usleep(2 * G_USEC_PER_SEC);
        for (guint i = 0; i < 5; i++) {
                guint64 began = cpu_us();

                walk();
                began = cpu_us() - began;
                bh_sockets_stats(walker, &stats);
                g_test_message("%u processes, %" G_GUINT64_FORMAT " descriptors, %" G_GUINT64_FORMAT " sockets: %" G_GUINT64_FORMAT " us, of the processor %" G_GUINT64_FORMAT ", %.0f ns a descriptor",
                               n, stats.descriptors, stats.sockets, stats.took_us, began, (double) began * 1000 / (double) stats.descriptors);
        }
        for (guint i = 0; i < n; i++)
                kill(pids[i], SIGKILL);
        for (guint i = 0; i < n; i++)
                waitpid(pids[i], NULL, 0);
}

void sockets_add(BhBackend with) {
        static const struct {
                const char *name;
                void (*run)(gconstpointer data);
        } tests[] = {
                { "listeners_are_seen_with_owner_address_and_namespace", listeners_are_seen_with_owner_address_and_namespace },
                { "connection_whose_beginning_was_seen_tells_its_role_and_bytes", connection_whose_beginning_was_seen_tells_its_role_and_bytes },
                { "connection_from_before_is_entered_and_its_end_told", connection_from_before_is_entered_and_its_end_told },
                { "map_whose_pin_was_taken_away_is_still_the_same", map_whose_pin_was_taken_away_is_still_the_same },
                { "half_closed_connection_from_before_keeps_its_sides", half_closed_connection_from_before_keeps_its_sides },
                { "half_open_connect_is_seen_as_such", half_open_connect_is_seen_as_such },
                { "unix_sockets_tell_name_file_and_peer", unix_sockets_tell_name_file_and_peer },
                { "socket_of_several_processes_is_told_once_with_the_first", socket_of_several_processes_is_told_once_with_the_first },
                { "listener_in_another_network_namespace_is_seen", listener_in_another_network_namespace_is_seen },
                { "sides_that_counters_do_not_tell_follow_from_who_listens", sides_that_counters_do_not_tell_follow_from_who_listens },
                { "ends_that_were_missed_do_not_stay_for_ever", ends_that_were_missed_do_not_stay_for_ever },
                { "what_is_left_of_another_connection_is_not_taken_for_this_one", what_is_left_of_another_connection_is_not_taken_for_this_one },
                { "speed", speed },
        };

        if (!seen)
                seen = g_array_new(FALSE, FALSE, sizeof(BhSocket));
        for (guint i = 0; i < G_N_ELEMENTS(tests); i++) {
                g_autofree char *path = g_strdup_printf("/%s/sockets/%s", bh_backend_name(with), tests[i].name);

                g_test_add_data_func(path, GINT_TO_POINTER(with), tests[i].run);
        }
}

void sockets_end(void) {
        g_clear_pointer(&walker, bh_sockets_free);
        g_clear_pointer(&seen, g_array_unref);
}

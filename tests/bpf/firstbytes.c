/* SPDX-License-Identifier: Apache-2.0 */
/* First bytes of real TCP connections over loopback: whose they are, once a wish, exactly what was sent, and nothing when nothing is wanted. */
#include "sensor/firstbytes.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <glib.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fdio.h"
#include "kernel.h"
#include "network.h"
#include "sensor/sockets.h"

#define KINDS "connect,accept,net_close"
#define WAIT_MS 20000
#define AGAIN_MS 200

static int family = AF_INET;

static guint16 port_of(int fd) {
        struct sockaddr_in6 a; /* port and family are where sockaddr_in has them */
        socklen_t n = sizeof(a);

        g_assert_no_errno(getsockname(fd, (struct sockaddr *) &a, &n));
        return ntohs(a.sin6_port);
}

static socklen_t loopback(struct sockaddr_in6 *a, guint16 port) {
        memset(a, 0, sizeof(*a));
        a->sin6_family = (sa_family_t) family;
        a->sin6_port = htons(port);
        if (family == AF_INET6)
                a->sin6_addr = in6addr_loopback;
        else
                ((struct sockaddr_in *) a)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

static int bound(void) {
        struct sockaddr_in6 a;
        socklen_t n = loopback(&a, 0);
        int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

        g_assert_no_errno(fd);
        g_assert_no_errno(bind(fd, (struct sockaddr *) &a, n));
        return fd;
}

typedef struct {
        int listener, client, server;
        guint16 client_port, server_port;
} Pair;

static void pair_connect(Pair *p) {
        struct sockaddr_in6 a;
        socklen_t n;

        p->listener = bound();
        p->client = bound();
        p->server_port = port_of(p->listener);
        p->client_port = port_of(p->client);
        n = loopback(&a, p->server_port);
        g_assert_no_errno(listen(p->listener, 8));
        g_assert_no_errno(connect(p->client, (struct sockaddr *) &a, n));
}

static Pair pair_new(void) {
        Pair p;

        pair_connect(&p);
        g_assert_no_errno(p.server = accept4(p.listener, NULL, NULL, SOCK_CLOEXEC));
        return p;
}

static void pair_close(Pair *p) {
        close(p->client);
        close(p->server);
        close(p->listener);
}

static void move_text(int from, int to, const char *text, gsize len) {
        g_autofree char *got = g_malloc(len);

        g_assert_cmpint(send(from, text, len, MSG_NOSIGNAL), ==, len);
        g_assert_cmpint(recv(to, got, len, MSG_WAITALL), ==, len);
}

/* ---- what is told ---- */

typedef struct {
        BhFirstBytesPiece p;
        guint8 bytes[BH_FIRST_BYTES_MAX];
} Piece;

static GMutex lock;
static GArray *pieces;
static gint blocked;
static BhFirstBytes *first;

static void on_piece(const BhFirstBytesPiece *p, gpointer data) {
        Piece copy = { .p = *p };

        while (g_atomic_int_get(&blocked))
                g_usleep(1000);
        g_assert_cmpuint(p->len, <=, sizeof(copy.bytes));
        memcpy(copy.bytes, p->bytes, p->len);
        g_mutex_lock(&lock);
        g_array_append_val(pieces, copy);
        g_mutex_unlock(&lock);
}

/* What the socket at this end received, taken away; FALSE: nothing within `ms`. */
static gboolean received(guint16 lport, guint16 rport, gint64 ms, Piece *out) {
        gint64 until = g_get_monotonic_time() + ms * 1000;

        do {
                g_mutex_lock(&lock);
                for (guint i = 0; i < pieces->len; i++) {
                        *out = g_array_index(pieces, Piece, i);
                        if (out->p.lport == lport && out->p.rport == rport) {
                                g_array_remove_index(pieces, i);
                                g_mutex_unlock(&lock);
                                return TRUE;
                        }
                }
                g_mutex_unlock(&lock);
                g_usleep(2000);
        } while (g_get_monotonic_time() < until);
        return FALSE;
}

static void wait_until_detached(void) {
        gint64 until = g_get_monotonic_time() + WAIT_MS * 1000;
        BhFirstBytesStats s;

        do {
                g_usleep(5000);
                bh_first_bytes_stats(first, &s);
                g_assert_cmpint(g_get_monotonic_time(), <, until);
        } while (s.attached);
}

static gboolean begin(gconstpointer data) {
        static BhBackend of;
        BhBackend backend = (BhBackend) GPOINTER_TO_INT(data);
        g_autoptr(GError) error = NULL;

        if (backend != of)
                g_clear_pointer(&first, bh_first_bytes_free);
        of = backend;
        if (!kernel_use(backend, KINDS))
                return FALSE;
        if (!first) {
                first = bh_first_bytes_new(kernel_hooks(), on_piece, NULL, &error);
                g_assert_no_error(error);
        }
        wait_until_detached();
        g_mutex_lock(&lock);
        g_array_set_size(pieces, 0);
        g_mutex_unlock(&lock);
        return TRUE;
}

static void want_new(guint seconds) {
        g_autoptr(GError) error = NULL;

        g_assert_true(bh_first_bytes_want_new(first, seconds, &error));
        g_assert_no_error(error);
}

static void new_connection_tells_what_each_side_sent_first(gconstpointer data) {
        g_autofree char *answer = g_malloc(100000);
        static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        Piece at_server, at_client, other;

        if (!begin(data))
                return;
        for (guint i = 0; i < 100000; i++)
                answer[i] = (char) (i * 7 + i / 256);
        for (guint i = 0; i < 2; i++) {
                family = i ? AF_INET6 : AF_INET;
                want_new(30);
                Pair p = pair_new();
                move_text(p.client, p.server, request, strlen(request));
                move_text(p.server, p.client, answer, 100000);
                move_text(p.client, p.server, "more", 4);
                g_assert_true(received(p.server_port, p.client_port, WAIT_MS, &at_server));
                g_assert_true(received(p.client_port, p.server_port, WAIT_MS, &at_client));
                g_assert_cmpmem(at_server.bytes, at_server.p.len, request, strlen(request));
                g_assert_cmpuint(at_server.p.total, ==, strlen(request));
                g_assert_cmpuint(at_server.p.offset, ==, 0);
                g_assert_cmpint(at_server.p.side, ==, BH_FIRST_BYTES_OF_CLIENT);
                g_assert_cmpuint(at_server.p.pid, ==, getpid());
                g_assert_cmpuint(at_server.p.family, ==, family);
                g_assert_cmpuint(at_server.p.net_ns, !=, 0);
                g_assert_cmpmem(at_client.bytes, at_client.p.len, answer, BH_FIRST_BYTES_MAX);
                g_assert_cmpuint(at_client.p.total, >, BH_FIRST_BYTES_MAX);
                g_assert_cmpint(at_client.p.side, ==, BH_FIRST_BYTES_OF_SERVER);
                /* and nothing of what came later */
                g_assert_false(received(p.server_port, p.client_port, AGAIN_MS, &other));
                g_assert_false(received(p.client_port, p.server_port, 0, &other));
                pair_close(&p);
        }
        family = AF_INET;
        bh_first_bytes_free(g_steal_pointer(&first)); /* ends the wish */
}

static void bytes_that_come_before_the_accept_are_told(gconstpointer data) {
        Piece piece;
        Pair p;

        if (!begin(data))
                return;
        want_new(30);
        pair_connect(&p);
        g_assert_cmpint(send(p.client, "early", 5, MSG_NOSIGNAL), ==, 5);
        g_assert_true(received(p.server_port, p.client_port, WAIT_MS, &piece));
        g_assert_cmpmem(piece.bytes, piece.p.len, "early", 5);
        g_assert_cmpint(piece.p.side, ==, BH_FIRST_BYTES_OF_CLIENT);
        g_assert_cmpuint(piece.p.pid, ==, 0); /* nobody's yet */
        close(p.client);
        close(p.listener);
        bh_first_bytes_free(g_steal_pointer(&first));
}

static guint64 sk;
static guint16 sk_port;

static void on_socket(const BhSocket *s, gpointer data) {
        if (s->state == 1 && s->lport == sk_port && s->pid == (guint32) getpid())
                sk = s->sk;
}

static void wanted_socket_tells_its_next_segment_once(gconstpointer data) {
        g_autoptr(GError) error = NULL;
        BhFirstBytesStats s;
        Piece piece;

        if (!begin(data))
                return;

        Pair p = pair_new(), q = pair_new();
        g_autoptr(BhSockets) walker = bh_sockets_new(kernel_hooks(), &error);
        g_assert_no_error(error);
        move_text(p.client, p.server, "before", 6);
        sk = 0;
        sk_port = p.server_port;
        g_assert_true(bh_sockets_walk(walker, on_socket, NULL, &error));
        g_assert_cmpuint(sk, !=, 0);
        g_assert_true(bh_first_bytes_want(first, &sk, 1, 30, &error));
        bh_first_bytes_stats(first, &s);
        g_assert_true(s.attached);
        g_assert_cmpuint(s.wanted, ==, 1);
        move_text(q.client, q.server, "another's", 9);
        move_text(p.client, p.server, "*1\r\n$4\r\nPING\r\n", 14);
        move_text(p.client, p.server, "again", 5);
        g_assert_true(received(p.server_port, p.client_port, WAIT_MS, &piece));
        g_assert_cmpmem(piece.bytes, piece.p.len, "*1\r\n$4\r\nPING\r\n", 14);
        g_assert_cmpuint(piece.p.offset, ==, 6);
        g_assert_cmpuint(piece.p.sk, ==, sk);
        g_assert_false(received(p.server_port, p.client_port, AGAIN_MS, &piece));
        g_assert_false(received(q.server_port, q.client_port, 0, &piece));
        wait_until_detached(); /* long before its time: nothing is wanted any more */
        pair_close(&p);
        pair_close(&q);
}

static void nothing_is_told_when_the_time_is_over(gconstpointer data) {
        g_autoptr(GError) error = NULL;
        BhFirstBytesStats before, after;
        guint64 nobody = 64;
        Piece piece;

        if (!begin(data))
                return;
        bh_first_bytes_stats(first, &before);
        want_new(1);
        g_assert_true(bh_first_bytes_want(first, &nobody, 1, 1, &error));
        wait_until_detached();
        bh_first_bytes_stats(first, &after);
        g_assert_cmpuint(after.attached_ms - before.attached_ms, >=, 990);
        g_assert_cmpuint(after.wanted, ==, 0);

        Pair p = pair_new();
        move_text(p.client, p.server, "unseen", 6);
        g_assert_false(received(p.server_port, p.client_port, AGAIN_MS, &piece));
        pair_close(&p);
}

static void more_sockets_than_the_bound_are_refused_and_counted(gconstpointer data) {
        g_autofree guint64 *many = g_new(guint64, BH_FIRST_BYTES_SOCKETS + 10);
        g_autoptr(GError) error = NULL;
        BhFirstBytesStats s;

        if (!begin(data))
                return;
        for (guint i = 0; i < BH_FIRST_BYTES_SOCKETS + 10; i++)
                many[i] = 64 * (i + 1);
        want_new(1); /* beside them */
        g_assert_true(bh_first_bytes_want(first, many, BH_FIRST_BYTES_SOCKETS + 10, 1, &error));
        bh_first_bytes_stats(first, &s);
        g_assert_cmpuint(s.refused, ==, 10);
        g_assert_cmpuint(s.wanted, ==, BH_FIRST_BYTES_SOCKETS);
        wait_until_detached();
}

static void pieces_that_find_no_room_are_counted(gconstpointer data) {
        enum { CONNECTIONS = 4000 };
        g_autofree char *bytes = g_malloc0(BH_FIRST_BYTES_MAX);
        BhFirstBytesStats before, after;
        guint64 told;
        gint64 until = g_get_monotonic_time() + WAIT_MS * 1000;

        if (!begin(data))
                return;
        bh_first_bytes_stats(first, &before);
        g_atomic_int_set(&blocked, 1);
        want_new(BH_FIRST_BYTES_SECONDS);
        for (guint i = 0; i < CONNECTIONS; i++) {
                struct linger now = { .l_onoff = 1 };
                Pair p = pair_new();

                move_text(p.client, p.server, bytes, BH_FIRST_BYTES_MAX);
                setsockopt(p.client, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
                pair_close(&p);
        }
        bh_first_bytes_stats(first, &after);
        g_assert_cmpuint(after.lost, >, before.lost);
        g_atomic_int_set(&blocked, 0);
        do {
                g_usleep(5000);
                bh_first_bytes_stats(first, &after);
                told = after.told - before.told + after.lost - before.lost + after.unreadable - before.unreadable;
        } while (told < CONNECTIONS && g_get_monotonic_time() < until);
        g_assert_cmpuint(told, >=, CONNECTIONS); /* others on this machine connect, too */
        g_assert_cmpuint(after.unreadable, ==, before.unreadable);
        bh_first_bytes_free(g_steal_pointer(&first));
}

/* Nanoseconds a segment that the program takes while it is attached and looks for something else: a figure, not a test. */
/* What the programs of that name have taken so far. */
static void taken(guint64 *ns, guint64 *segments) {
        struct bpf_prog_info info;
        guint32 id = 0;

        *ns = *segments = 0;
        while (bpf_prog_get_next_id(id, &id) == 0) {
                g_auto(BhFd) fd = bpf_prog_get_fd_by_id(id);
                guint32 n = sizeof(info);

                memset(&info, 0, sizeof(info));
                if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &n) == 0 && g_str_equal(info.name, "tp_first_bytes")) {
                        *ns += info.run_time_ns;
                        *segments += info.run_cnt;
                }
        }
}

static void speed(gconstpointer data) {
        g_autoptr(GError) error = NULL;
        guint64 nobody = 64, ns[3], segments[3];

        if (!g_test_perf()) {
                g_test_skip("figures only, with -m perf");
                return;
        }
        if (!begin(data))
                return;

        Pair p = pair_new();
        g_auto(BhFd) stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
        g_assert_cmpint(stats, >=, 0);
        for (guint asked = 0; asked < 2; asked++) {
                want_new(10);
                if (asked)
                        g_assert_true(bh_first_bytes_want(first, &nobody, 1, 10, &error));
                taken(&ns[asked], &segments[asked]);
                for (guint i = 0; i < 200000; i++)
                        move_text(p.client, p.server, "x", 1);
                taken(&ns[asked + 1], &segments[asked + 1]);
                g_test_message("%" G_GUINT64_FORMAT " segments, %.0f ns each, while %s", segments[asked + 1] - segments[asked],
                               (double) (ns[asked + 1] - ns[asked]) / (double) MAX(segments[asked + 1] - segments[asked], 1),
                               asked ? "a socket's next bytes are wanted" : "connections that begin are");
        }
        pair_close(&p);
        g_clear_pointer(&first, bh_first_bytes_free);
}

void firstbytes_add(BhBackend with) {
        static const struct {
                const char *name;
                void (*run)(gconstpointer data);
        } tests[] = {
                { "new_connection_tells_what_each_side_sent_first", new_connection_tells_what_each_side_sent_first },
                { "bytes_that_come_before_the_accept_are_told", bytes_that_come_before_the_accept_are_told },
                { "wanted_socket_tells_its_next_segment_once", wanted_socket_tells_its_next_segment_once },
                { "nothing_is_told_when_the_time_is_over", nothing_is_told_when_the_time_is_over },
                { "more_sockets_than_the_bound_are_refused_and_counted", more_sockets_than_the_bound_are_refused_and_counted },
                { "pieces_that_find_no_room_are_counted", pieces_that_find_no_room_are_counted },
                { "speed", speed },
        };

        if (!pieces)
                pieces = g_array_new(FALSE, FALSE, sizeof(Piece));
        for (guint i = 0; i < G_N_ELEMENTS(tests); i++) {
                g_autofree char *path = g_strdup_printf("/%s/firstbytes/%s", bh_backend_name(with), tests[i].name);

                g_test_add_data_func(path, GINT_TO_POINTER(with), tests[i].run);
        }
}

void firstbytes_end(void) {
        g_clear_pointer(&first, bh_first_bytes_free);
        g_clear_pointer(&pieces, g_array_unref);
}

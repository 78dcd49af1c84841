/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What containers' sockets read and write: every form of call gives exactly the bytes in order, gaps are counted, and nothing of other sockets is told. The container
 * is a cgroup of its own that `cgroups` calls one; who acts in it is payload_calls, or a child of this process.
 */
#include "sensor/payload.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "kernel.h"
#include "network.h"
#include "payload_calls.h"

#define WAIT_MS 20000
#define AGAIN_MS 200

typedef struct {
        BhPayloadPiece p;
        guint8 *bytes;
} Piece;

static GMutex lock;
static GPtrArray *pieces;
static BhPayload *payload;
static guint64 container;
static char *cgroup_dir;
static gint blocked; /* the callback waits */

static void piece_free(gpointer data) {
        Piece *piece = data;

        g_free(piece->bytes);
        g_free(piece);
}

static void on_piece(const BhPayloadPiece *p, gpointer data) {
        Piece *copy = g_new0(Piece, 1);

        while (g_atomic_int_get(&blocked))
                g_usleep(1000);
        copy->p = *p;
        copy->bytes = g_memdup2(p->bytes, p->len);
        g_mutex_lock(&lock);
        g_ptr_array_add(pieces, copy);
        g_mutex_unlock(&lock);
}

static void forget_pieces(void) {
        g_mutex_lock(&lock);
        g_ptr_array_set_size(pieces, 0);
        g_mutex_unlock(&lock);
}

/* The first piece of the socket with these ports that has one of `flags` (0: has bytes), or NULL after `ms`. Stays where it is. */
static const Piece *piece_with(guint16 lport, guint16 rport, guint flags, gint64 ms) {
        gint64 until = g_get_monotonic_time() + ms * 1000;

        do {
                g_mutex_lock(&lock);
                for (guint i = 0; i < pieces->len; i++) {
                        const Piece *x = pieces->pdata[i];

                        if (x->p.lport == lport && x->p.rport == rport && (flags ? x->p.flags & flags : x->p.len)) {
                                g_mutex_unlock(&lock);
                                return x;
                        }
                }
                g_mutex_unlock(&lock);
                g_usleep(2000);
        } while (g_get_monotonic_time() < until);
        return NULL;
}

/* What was told of one direction: bytes at their places, how many of `len` there are, and whether pieces came in order. */
static guint64 put_together(guint16 lport, guint16 rport, gboolean sent, guint8 *to, gsize len) {
        guint64 at = 0, had = 0;

        g_mutex_lock(&lock);
        for (guint i = 0; i < pieces->len; i++) {
                const Piece *x = pieces->pdata[i];

                if (x->p.lport != lport || x->p.rport != rport || x->p.sent != sent || !x->p.len)
                        continue;
                g_assert_cmpuint(x->p.offset, >=, at);
                g_assert_cmpint(x->p.offset != at, ==, (x->p.flags & BH_PAYLOAD_SKIPPED) != 0);
                g_assert_cmpuint(x->p.offset + x->p.len, <=, len);
                g_assert_cmpint(x->p.total != x->p.len, ==, (x->p.flags & BH_PAYLOAD_CUT) != 0);
                memcpy(to + x->p.offset, x->bytes, x->p.len);
                at = x->p.offset + x->p.len;
                had += x->p.len;
        }
        g_mutex_unlock(&lock);
        return had;
}

static void check_account(BhPayloadAccount *a) {
        guint64 sum;

        bh_payload_account(payload, container, a);
        sum = a->copied;
        for (guint i = 0; i < BH_PAYLOAD_SKIPPED_REASONS; i++)
                sum += a->skipped[i];
        g_assert_cmpuint(a->moved, ==, sum);
}

/* ---- the container ---- */

static const char *cgroups_root(void) {
        return access("/sys/fs/cgroup/cgroup.procs", F_OK) == 0 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/unified";
}

static void container_make(void) {
        struct bh_cgroup is = { 0 };
        struct stat st;

        cgroup_dir = g_strdup_printf("%s/bh-payload-%d", cgroups_root(), (int) getpid());
        g_assert_no_errno(mkdir(cgroup_dir, 0755));
        g_assert_no_errno(stat(cgroup_dir, &st));
        container = is.container = st.st_ino;
        g_assert_no_errno(bpf_map_update_elem(bh_hooks_map(kernel_hooks(), "cgroups"), &container, &is, BPF_ANY));
        bh_hooks_judge_anew(kernel_hooks());
}

static void container_remove(void) {
        gint64 until = g_get_monotonic_time() + WAIT_MS * 1000;

        while (cgroup_dir && rmdir(cgroup_dir) && g_get_monotonic_time() < until)
                g_usleep(5000);
        g_clear_pointer(&cgroup_dir, g_free);
}

static void enter_container(void) {
        g_autofree char *procs = g_build_filename(cgroup_dir, "cgroup.procs", NULL);
        int fd = open(procs, O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, "0", 1) != 1)
                _exit(9);
        close(fd);
}

static BhBackend now;

static gboolean begin(gconstpointer data) {
        BhBackend backend = (BhBackend) GPOINTER_TO_INT(data);
        g_autoptr(GError) error = NULL;

        if (payload && now != backend) {
                g_clear_pointer(&payload, bh_payload_free);
                container_remove();
        }
        if (!kernel_use(backend, "connect,accept,net_close"))
                return FALSE;
        if (!payload) {
                if (!pieces)
                        pieces = g_ptr_array_new_with_free_func(piece_free);
                payload = bh_payload_new(kernel_hooks(), backend, on_piece, NULL, &error);
                if (!payload && backend == BH_BACKEND_FALLBACK && g_strstr_len(error->message, -1, "sock_send_length")) {
                        g_test_skip(error->message);
                        return FALSE;
                }
                g_assert_no_error(error);
                container_make();
        }
        now = backend;
        g_assert_true(bh_payload_start(payload, &error));
        g_assert_no_error(error);
        forget_pieces();
        return TRUE;
}

/* ---- every form of call ---- */

static gboolean calls(const char *program, const char *form, guint16 *client, guint16 *server) {
        g_autofree char *self = g_file_read_link("/proc/self/exe", NULL), *dir = g_path_get_dirname(self), *path = g_build_filename(dir, program, NULL);
        g_autofree char *procs = g_build_filename(cgroup_dir, "cgroup.procs", NULL), *out = NULL, *err = NULL;
        char *argv[] = { path, procs, (char *) form, NULL };
        g_autoptr(GError) error = NULL;
        int status, a, b;

        if (access(path, X_OK))
                return FALSE;
        g_assert_true(g_spawn_sync(NULL, argv, NULL, 0, NULL, NULL, &out, &err, &status, &error));
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
                return FALSE;
        if (status || sscanf(out, "%d %d", &a, &b) != 2)
                g_error("%s %s: status %d: %s", program, form, status, err);
        *client = (guint16) a;
        *server = (guint16) b;
        return TRUE;
}

/* The programs read pages where the kernel says where it maps them: CONFIG_KALLSYMS_ALL. */
static gboolean pages_are_readable(void) {
        g_autoptr(GIOChannel) file = g_io_channel_new_file("/proc/kallsyms", "r", NULL);
        g_autofree char *line = NULL;
        gboolean found = FALSE;

        g_io_channel_set_encoding(file, NULL, NULL);
        while (!found && g_io_channel_read_line(file, &line, NULL, NULL, NULL) == G_IO_STATUS_NORMAL) {
                found = g_str_has_suffix(line, " vmemmap_base\n") && g_ascii_strtoull(line, NULL, 16);
                g_clear_pointer(&line, g_free);
        }
        return found;
}

/* Both directions of one end: all of it, or nothing. */
static void check_stream(const char *what, guint16 lport, guint16 rport, gboolean client, gboolean sends, gboolean reads) {
        enum { ALL = PAYLOAD_TURNS * PAYLOAD_BYTES };
        guint8 truth[ALL], got[ALL];

        for (guint sent = 0; sent < 2; sent++) {
                guint64 had;

                for (guint turn = 0; turn < PAYLOAD_TURNS; turn++)
                        payload_text(truth + turn * PAYLOAD_BYTES, PAYLOAD_BYTES, sent ? !client : client, turn);
                memset(got, 0, sizeof(got));
                had = put_together(lport, rport, sent, got, ALL);
                g_test_message("%s: the %s %s: %" G_GUINT64_FORMAT " of %d bytes", what, client ? "client" : "server", sent ? "sends" : "reads", had, ALL);
                g_assert_cmpuint(had, ==, (sent ? sends : reads) ? ALL : 0);
                if (had)
                        g_assert_cmpmem(got, ALL, truth, ALL);
        }
}

static void check_first(const Piece *first, BhPayloadSide side) {
        g_assert_nonnull(first);
        g_assert_cmpint(first->p.side, ==, side);
        g_assert_cmpuint(first->p.container, ==, container);
        g_assert_cmpuint(first->p.cgroup, ==, container);
        g_assert_cmpuint(first->p.pid, !=, 0);
        g_assert_cmpuint(first->p.start, !=, 0);
        g_assert_cmpuint(first->p.offset, ==, 0);
}

static void check_form(const char *program, const char *form) {
        enum { ALL = PAYLOAD_TURNS * PAYLOAD_BYTES };
        BhPayloadAccount before, after;
        BhPayloadStats stats;
        guint16 client, server;
        gboolean reads = !g_str_equal(form, "splice-from"); /* which neither backend sees */
        gboolean sends = pages_are_readable() || (!g_str_equal(form, "sendfile") && !g_str_equal(form, "splice-to"));

        check_account(&before);
        if (!calls(program, form, &client, &server)) {
                g_test_message("%s has no %s here", program, form);
                return;
        }
        if (sends)
                g_assert_nonnull(piece_with(client, server, BH_PAYLOAD_CLOSE, WAIT_MS));
        if (reads)
                g_assert_nonnull(piece_with(server, client, BH_PAYLOAD_CLOSE, WAIT_MS));
        g_usleep(AGAIN_MS * 1000 / 10);
        check_account(&after);
        if (sends && reads) {
                check_first(piece_with(client, server, BH_PAYLOAD_OPEN, 0), BH_PAYLOAD_CLIENT);
                check_first(piece_with(server, client, BH_PAYLOAD_OPEN, 0), BH_PAYLOAD_SERVER);
                check_stream(form, client, server, TRUE, TRUE, TRUE);
                check_stream(form, server, client, FALSE, TRUE, TRUE);
                g_assert_cmpuint(after.moved - before.moved, ==, 4 * ALL);
                g_assert_cmpuint(after.copied - before.copied, ==, 4 * ALL);
        } else if (sends) {
                /* reads of both ends are a gap, of the server from its first write on; that is of a connection whose beginning nobody saw */
                check_stream(form, client, server, TRUE, TRUE, FALSE);
                check_stream(form, server, client, FALSE, FALSE, FALSE);
                g_assert_cmpuint(after.skipped[BH_PAYLOAD_SKIPPED_FORM] - before.skipped[BH_PAYLOAD_SKIPPED_FORM], ==, 2 * ALL - PAYLOAD_BYTES);
        } else {
                check_stream(form, client, server, TRUE, FALSE, FALSE);
                check_stream(form, server, client, FALSE, FALSE, TRUE);
                g_assert_cmpuint(after.skipped[BH_PAYLOAD_SKIPPED_UNREADABLE] + after.skipped[BH_PAYLOAD_SKIPPED_FORM] -
                                 before.skipped[BH_PAYLOAD_SKIPPED_UNREADABLE] - before.skipped[BH_PAYLOAD_SKIPPED_FORM], ==, 2 * ALL);
        }
        bh_payload_stats(payload, &stats);
        g_assert_cmpuint(stats.refused, ==, 0);
        forget_pieces();
}

static void every_form_of_call_gives_the_bytes_in_order(gconstpointer data) {
        static const char *const forms[] = { "write-read", "single-bytes", "sendto-recvfrom", "peek", "writev-readv", "pwritev2-preadv2", "sendmsg-recvmsg", "sendmmsg-recvmmsg",
                                             "sendfile", "splice-to", "splice-from", "uring-send-recv", "uring-async-send-recv", "uring-sqpoll-send-recv", "uring-write-read",
                                             "uring-sendmsg-recvmsg", "socketcall-send-recv", "socketcall-sendmsg-recvmsg" };

        if (!begin(data))
                return;
        for (guint i = 0; i < G_N_ELEMENTS(forms); i++) {
                check_form("payload_calls", forms[i]);
                check_form("payload_calls32", forms[i]);
        }
}

/* ---- a child in the container, with both ends of a connection ---- */

typedef struct {
        pid_t pid;
        int to, from;
        guint16 client, server; /* ports */
} Child;

static int client_fd, server_fd; /* in the child */

static void must(gboolean ok) {
        if (!ok)
                _exit(3);
}

/* This process has dropped what a port below 1024 needs: in namespaces of its own the child has it. */
static void child_may_use_low_ports(void) {
        struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
        int fd;

        must(unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 && (fd = socket(AF_INET, SOCK_DGRAM, 0)) >= 0);
        must(ioctl(fd, SIOCSIFFLAGS, &lo) == 0);
        close(fd);
}

static void child_pair(guint16 port, int say) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(0x7f000035) }, c;
        socklen_t len = sizeof(a);
        int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
        guint16 ports[2];

        client_fd = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        must(bind(listener, (struct sockaddr *) &a, len) == 0 && listen(listener, 1) == 0 && getsockname(listener, (struct sockaddr *) &a, &len) == 0);
        must(connect(client_fd, (struct sockaddr *) &a, len) == 0 && getsockname(client_fd, (struct sockaddr *) &c, &len) == 0);
        must((server_fd = accept(listener, NULL, NULL)) >= 0);
        ports[0] = ntohs(c.sin_port);
        ports[1] = ntohs(a.sin_port);
        must(write(say, ports, sizeof(ports)) == sizeof(ports));
        close(listener);
}

/* In the child: `act` for each step that the parent asks for. */
static Child child_new(void (*act)(guint step), guint16 port, gboolean contained) {
        int down[2], up[2];
        guint16 ports[2];
        Child c;

        g_assert_no_errno(pipe2(down, O_CLOEXEC));
        g_assert_no_errno(pipe2(up, O_CLOEXEC));
        g_assert_no_errno(c.pid = fork());
        if (c.pid == 0) {
                char byte;

                close(down[1]);
                close(up[0]);
                if (contained)
                        enter_container();
                if (port)
                        child_may_use_low_ports();
                child_pair(port, up[1]);
                for (guint step = 0; read(down[0], &byte, 1) == 1; step++) {
                        act(step);
                        must(write(up[1], &byte, 1) == 1);
                }
                _exit(0);
        }
        close(down[0]);
        close(up[1]);
        c.to = down[1];
        c.from = up[0];
        g_assert_cmpint(read(c.from, ports, sizeof(ports)), ==, sizeof(ports));
        c.client = ports[0];
        c.server = ports[1];
        return c;
}

static void child_step(Child *c) {
        char byte = 'x';

        g_assert_cmpint(write(c->to, &byte, 1), ==, 1);
        g_assert_cmpint(read(c->from, &byte, 1), ==, 1);
}

static void child_end(Child *c) {
        int status;

        close(c->to);
        g_assert_no_errno(waitpid(c->pid, &status, 0));
        g_assert_cmpint(status, ==, 0);
        close(c->from);
}

/* In the child: one call to send, and one that reads all of it. */
static void move_bytes(int from, int to, const void *bytes, gsize len) {
        char *got = malloc(len);

        must(send(from, bytes, len, MSG_NOSIGNAL) == (ssize_t) len);
        must(recv(to, got, len, MSG_WAITALL) == (ssize_t) len && memcmp(got, bytes, len) == 0);
        free(got);
}

static void move_text(int from, int to, const char *text) {
        move_bytes(from, to, text, strlen(text));
}

static guint count_of(guint16 lport, guint16 rport) {
        guint n = 0;

        g_mutex_lock(&lock);
        for (guint i = 0; i < pieces->len; i++) {
                const Piece *x = pieces->pdata[i];

                n += (x->p.lport == lport && x->p.rport == rport) || (x->p.lport == rport && x->p.rport == lport);
        }
        g_mutex_unlock(&lock);
        return n;
}

/* Everything that was in the ring before has been told. */
static void wait_for_all(void) {
        gint64 until = g_get_monotonic_time() + WAIT_MS * 1000;
        BhPayloadStats s;

        do {
                g_usleep(2000);
                bh_payload_stats(payload, &s);
                g_assert_cmpint(g_get_monotonic_time(), <, until);
        } while (s.told < s.all.pieces); /* ends are told as well: more, never fewer */
        g_usleep(AGAIN_MS * 1000);
}

/* ---- what is looked at, and what is not ---- */

static void act_redis(guint step) {
        move_text(client_fd, server_fd, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n");
        move_text(server_fd, client_fd, "+OK\r\n");
}

static void act_banner(guint step) {
        move_text(server_fd, client_fd, "SSH-2.0-OpenSSH_9.2\r\n");
        move_text(client_fd, server_fd, "GET / HTTP/1.1\r\n\r\n");
}

static void act_http(guint step) {
        move_text(client_fd, server_fd, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
        move_text(server_fd, client_fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

static void nothing_of_other_protocols_is_copied(gconstpointer data) {
        static void (*const acts[])(guint) = { act_redis, act_banner };
        BhPayloadAccount before, after;
        BhPayloadStats then, later;

        if (!begin(data))
                return;
        for (guint i = 0; i < G_N_ELEMENTS(acts); i++) {
                check_account(&before);
                bh_payload_stats(payload, &then);
                Child c = child_new(acts[i], 0, TRUE);
                child_step(&c);
                child_step(&c);
                child_end(&c);
                wait_for_all();
                g_assert_cmpuint(count_of(c.client, c.server), ==, 0);
                check_account(&after);
                bh_payload_stats(payload, &later);
                g_assert_cmpuint(after.moved, ==, before.moved);
                g_assert_cmpuint(later.ignored, >=, then.ignored + 2);
                g_assert_cmpuint(later.followed, ==, then.followed);
        }
}

static void nothing_of_the_host_is_looked_at(gconstpointer data) {
        BhPayloadStats then, later;

        if (!begin(data))
                return;
        bh_payload_stats(payload, &then);
        Child c = child_new(act_http, 0, FALSE);
        child_step(&c);
        child_end(&c);
        wait_for_all();
        bh_payload_stats(payload, &later);
        g_assert_cmpuint(count_of(c.client, c.server), ==, 0);
        g_assert_cmpuint(later.followed, ==, then.followed);
}

static void act_tls(guint step) {
        static const guint8 client_hello[] = { 22, 3, 1, 0, 8, 1, 0, 0, 4, 3, 3, 0, 0 }, server_hello[] = { 22, 3, 3, 0, 8, 2, 0, 0, 4, 3, 3, 0, 0 };
        static const guint8 data[] = { 23, 3, 3, 0, 4, 1, 2, 3, 4 };

        if (step == 0) {
                move_bytes(client_fd, server_fd, client_hello, sizeof(client_hello));
                move_bytes(server_fd, client_fd, server_hello, sizeof(server_hello));
        }
        move_bytes(client_fd, server_fd, data, sizeof(data));
        move_bytes(server_fd, client_fd, data, sizeof(data));
}

static void of_tls_the_handshake_is_told_and_then_that_it_is_closed(gconstpointer data) {
        BhPayloadAccount before, after;
        const Piece *hello, *closed;

        if (!begin(data))
                return;
        check_account(&before);
        Child c = child_new(act_tls, 0, TRUE);
        child_step(&c);
        child_step(&c);
        child_end(&c);
        g_assert_nonnull(piece_with(c.client, c.server, BH_PAYLOAD_CLOSE, WAIT_MS));
        g_assert_nonnull(piece_with(c.server, c.client, BH_PAYLOAD_CLOSE, WAIT_MS));
        g_assert_nonnull(hello = piece_with(c.client, c.server, BH_PAYLOAD_OPEN, 0));
        g_assert_cmpint(hello->p.protocol, ==, BH_PAYLOAD_TLS_HELLO);
        g_assert_cmpuint(hello->p.len, ==, 13);
        g_assert_nonnull(closed = piece_with(c.client, c.server, BH_PAYLOAD_TLS_CLOSED, 0));
        g_assert_cmpuint(closed->p.len, ==, 0);
        g_assert_cmpuint(closed->p.connection, ==, hello->p.connection);
        /* of each end: both hellos, that it is closed, that it is over */
        g_assert_cmpuint(count_of(c.client, c.server), ==, 8);
        check_account(&after);
        g_assert_cmpuint(after.tls_closed - before.tls_closed, ==, 2);
}

static void act_dns(guint step) {
        static const guint8 query[] = { 0, 19, 1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 0, 0, 1, 0, 1 };

        move_bytes(client_fd, server_fd, query, 2);
        move_bytes(client_fd, server_fd, query + 2, sizeof(query) - 2);
        move_bytes(server_fd, client_fd, query, sizeof(query));
}

static void dns_over_tcp_is_followed_on_its_port(gconstpointer data) {
        guint8 got[21] = { 0 };

        if (!begin(data))
                return;
        Child c = child_new(act_dns, 53, TRUE);
        child_step(&c);
        child_end(&c);
        g_assert_nonnull(piece_with(c.client, c.server, BH_PAYLOAD_CLOSE, WAIT_MS));
        g_assert_cmpuint(put_together(c.client, c.server, TRUE, got, sizeof(got)), ==, sizeof(got));
        g_assert_cmpint(piece_with(c.client, c.server, BH_PAYLOAD_CLOSE, 0)->p.protocol, ==, BH_PAYLOAD_DNS);
        g_assert_cmpint(piece_with(c.client, c.server, BH_PAYLOAD_CLOSE, 0)->p.side, ==, BH_PAYLOAD_CLIENT);
        /* the same bytes on another port say nothing */
        c = child_new(act_dns, 0, TRUE);
        child_step(&c);
        child_end(&c);
        wait_for_all();
        g_assert_cmpuint(count_of(c.client, c.server), ==, 0);
}

static void connection_that_was_open_before_is_followed_from_its_next_request(gconstpointer data) {
        g_autoptr(GError) error = NULL;
        const Piece *first;

        if (!begin(data))
                return;
        bh_payload_stop(payload);
        Child c = child_new(act_http, 0, TRUE);
        child_step(&c);
        wait_for_all();
        g_assert_cmpuint(count_of(c.client, c.server), ==, 0);
        g_assert_true(bh_payload_start(payload, &error));
        child_step(&c);
        child_step(&c);
        child_end(&c);
        g_assert_nonnull(piece_with(c.server, c.client, BH_PAYLOAD_CLOSE, WAIT_MS));
        first = piece_with(c.server, c.client, BH_PAYLOAD_OPEN, 0);
        g_assert_nonnull(first);
        g_assert_cmpuint(first->p.offset, ==, strlen("GET /a HTTP/1.1\r\nHost: x\r\n\r\n"));
        g_assert_true(first->p.flags & BH_PAYLOAD_SKIPPED);
        g_assert_cmpint(first->p.side, ==, BH_PAYLOAD_SERVER);
        g_assert_cmpmem(first->bytes, first->p.len, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n", 28);
}

static void connection_that_is_ignored_tells_nothing_more(gconstpointer data) {
        const Piece *first;
        guint n;

        if (!begin(data))
                return;
        Child c = child_new(act_http, 0, TRUE);
        child_step(&c);
        g_assert_nonnull(first = piece_with(c.server, c.client, BH_PAYLOAD_OPEN, WAIT_MS));
        bh_payload_ignore(payload, first->p.connection + 1, first->p.sk); /* another's: nothing happens */
        child_step(&c);
        wait_for_all();
        g_assert_cmpuint(n = count_of(c.client, c.server), ==, 8);
        bh_payload_ignore(payload, first->p.connection, first->p.sk);
        child_step(&c);
        child_end(&c);
        wait_for_all();
        g_assert_cmpuint(count_of(c.client, c.server), ==, n + 3); /* the client's end alone: request, response, its end */
}

/* ---- bounds ---- */

#define LONG 50000u
static guint8 long_request[LONG];

static void act_long(guint step) {
        move_bytes(client_fd, server_fd, long_request, LONG);
        move_text(server_fd, client_fd, "HTTP/1.1 200 OK\r\n\r\n");
}

/* One long request; what the server's end of it has, and its account. */
static void run_long(BhPayloadAccount *by, const Piece **first) {
        BhPayloadAccount before, after;

        memset(long_request, 'a', sizeof(long_request));
        memcpy(long_request, "POST / HTTP/1.1\r\n", 17);
        forget_pieces();
        check_account(&before);
        Child c = child_new(act_long, 0, TRUE);
        child_step(&c);
        child_end(&c);
        wait_for_all();
        check_account(&after);
        for (guint i = 0; i < sizeof(after) / sizeof(guint64); i++)
                ((guint64 *) by)[i] = ((guint64 *) &after)[i] - ((guint64 *) &before)[i];
        *first = piece_with(c.server, c.client, 0, 0);
}

static void set(guint64 of, BhPayloadRule rule) {
        g_autoptr(GError) error = NULL;

        g_assert_true(bh_payload_set(payload, of, &rule, &error));
        g_assert_no_error(error);
}

static void what_is_beyond_a_bound_is_counted_by_reason(gconstpointer data) {
        enum { ANSWER = 19 };
        g_autoptr(GError) error = NULL;
        BhPayloadAccount by;
        const Piece *first;

        if (!begin(data))
                return;
        run_long(&by, &first);
        g_assert_cmpuint(first->p.len, ==, BH_PAYLOAD_REQUEST);
        g_assert_cmpuint(first->p.total, ==, LONG);
        g_assert_true(first->p.flags & BH_PAYLOAD_CUT);
        g_assert_cmpmem(first->bytes, first->p.len, long_request, BH_PAYLOAD_REQUEST);
        g_assert_cmpuint(by.moved, ==, 2 * (LONG + ANSWER));
        g_assert_cmpuint(by.copied, ==, 2 * (BH_PAYLOAD_REQUEST + ANSWER));
        g_assert_cmpuint(by.skipped[BH_PAYLOAD_SKIPPED_REQUEST], ==, 2 * (LONG - BH_PAYLOAD_REQUEST));

        set(container, (BhPayloadRule) { .bytes_per_request = LONG });
        run_long(&by, &first);
        g_assert_cmpuint(first->p.len, ==, BH_PAYLOAD_PIECE);
        g_assert_cmpmem(first->bytes, first->p.len, long_request, BH_PAYLOAD_PIECE);
        g_assert_cmpuint(by.skipped[BH_PAYLOAD_SKIPPED_CALL], ==, 2 * (LONG - BH_PAYLOAD_PIECE));

        set(container, (BhPayloadRule) { .bytes_per_request = 100 });
        set(0, (BhPayloadRule) { .bytes_per_request = 200 }); /* of those without a rule of their own */
        run_long(&by, &first);
        g_assert_cmpuint(first->p.len, ==, 100);
        g_assert_true(bh_payload_set(payload, container, NULL, &error));
        run_long(&by, &first);
        g_assert_cmpuint(first->p.len, ==, 200);
        g_assert_true(bh_payload_set(payload, 0, NULL, &error));

        /* what came before may have used this second's */
        set(container, (BhPayloadRule) { .bytes_per_second = 10 });
        for (gint64 until = g_get_monotonic_time() + WAIT_MS * 1000; run_long(&by, &first), !by.copied; )
                g_assert_cmpint(g_get_monotonic_time(), <, until);
        g_assert_cmpuint(by.copied, >=, 10);
        g_assert_cmpuint(by.copied, <=, 40); /* four calls: of as many seconds, if this machine is that slow */
        g_assert_cmpuint(by.skipped[BH_PAYLOAD_SKIPPED_CONTAINER], >=, 2 * BH_PAYLOAD_REQUEST - 40);

        set(container, (BhPayloadRule) { .off = TRUE });
        run_long(&by, &first);
        g_assert_null(first);
        g_assert_cmpuint(by.moved, ==, 0);
        g_assert_true(bh_payload_set(payload, container, NULL, &error));
        run_long(&by, &first);
        g_assert_cmpuint(first->p.len, ==, BH_PAYLOAD_REQUEST);

        g_assert_false(bh_payload_set(payload, container, &(BhPayloadRule) { .bytes_per_request = BH_PAYLOAD_REQUEST_MAX + 1 }, &error));
        g_assert_nonnull(error);
}

#define MANY 250u /* a mebibyte, which a connection may have told in a second */

static void act_many(guint step) {
        static guint8 bytes[4096] = "POST / HTTP/1.1\r\n";

        for (guint i = 0; i < MANY; i++) {
                move_bytes(client_fd, server_fd, bytes, sizeof(bytes));
                move_bytes(server_fd, client_fd, bytes, 16);
        }
}

static void bytes_that_find_no_room_in_the_ring_are_counted(gconstpointer data) {
        enum { CONNECTIONS = 8 };
        BhPayloadAccount before, after;

        if (!begin(data))
                return;
        set(container, (BhPayloadRule) { .bytes_per_request = BH_PAYLOAD_REQUEST_MAX, .bytes_per_second = G_MAXUINT32 });
        check_account(&before);
        g_atomic_int_set(&blocked, 1);
        for (guint i = 0; i < CONNECTIONS; i++) {
                Child c = child_new(act_many, 0, TRUE);

                child_step(&c);
                child_end(&c);
        }
        check_account(&after);
        g_atomic_int_set(&blocked, 0);
        g_assert_cmpuint(after.moved - before.moved, ==, CONNECTIONS * 2 * MANY * (4096 + 16));
        g_assert_cmpuint(after.skipped[BH_PAYLOAD_SKIPPED_FULL], >, before.skipped[BH_PAYLOAD_SKIPPED_FULL]);
        wait_for_all();
        bh_payload_set(payload, container, NULL, NULL);
}

static void account_of_a_container_that_is_gone_stays_in_the_sum(gconstpointer data) {
        BhPayloadAccount own;
        BhPayloadStats then, later;

        if (!begin(data))
                return;
        Child c = child_new(act_http, 0, TRUE);
        child_step(&c);
        child_end(&c);
        wait_for_all();
        check_account(&own);
        g_assert_cmpuint(own.moved, >, 0);
        bh_payload_stats(payload, &then);
        bh_payload_forget(payload, container);
        bh_payload_stats(payload, &later);
        g_assert_cmpuint(later.all.moved, ==, then.all.moved);
        check_account(&own);
        g_assert_cmpuint(own.moved, ==, 0);
}

/* ---- figures ---- */

static gint64 ns_of_moves(guint n, const char *first) {
        struct timespec a, b;
        char byte[64] = { 0 };

        move_text(client_fd, server_fd, first);
        clock_gettime(CLOCK_MONOTONIC, &a);
        for (guint i = 0; i < n; i++) {
                must(send(client_fd, byte, sizeof(byte), MSG_NOSIGNAL) == sizeof(byte));
                must(recv(server_fd, byte, sizeof(byte), 0) == sizeof(byte));
                must(send(server_fd, byte, sizeof(byte), MSG_NOSIGNAL) == sizeof(byte));
                must(recv(client_fd, byte, sizeof(byte), 0) == sizeof(byte));
        }
        clock_gettime(CLOCK_MONOTONIC, &b);
        return ((b.tv_sec - a.tv_sec) * 1000000000ll + b.tv_nsec - a.tv_nsec) / (4 * n);
}

static const char *speed_first;
static int speed_say;

static void act_speed(guint step) {
        gint64 ns = ns_of_moves(20000, speed_first);

        must(write(speed_say, &ns, sizeof(ns)) == sizeof(ns));
}

/* Nanoseconds a send or recv of 64 bytes, in turns: not attached, of a connection that is ignored, one that is followed, one of the host. */
static void speed(gconstpointer data) {
        static const char *const names[] = { "off", "ignored", "followed", "host" };
        enum { ROUNDS = 9 };
        gint64 ns[4][ROUNDS];
        g_autoptr(GError) error = NULL;
        int say[2];

        if (!g_test_perf()) {
                g_test_skip("figures only, with -m perf");
                return;
        }
        if (!begin(data))
                return;
        set(container, (BhPayloadRule) { .bytes_per_second = G_MAXUINT32 });
        g_assert_no_errno(pipe2(say, O_CLOEXEC));
        speed_say = say[1];
        for (guint round = 0; round < ROUNDS; round++) {
                for (guint i = 0; i < 4; i++) {
                        if (i == 0)
                                bh_payload_stop(payload);
                        else
                                g_assert_true(bh_payload_start(payload, &error));
                        speed_first = i == 2 ? "POST / HTTP/1.1\r\n\r\n" : "*1\r\n$4\r\nPING\r\n";
                        Child c = child_new(act_speed, 0, i != 3);
                        child_step(&c);
                        child_end(&c);
                        g_assert_cmpint(read(say[0], &ns[i][round], sizeof(gint64)), ==, sizeof(gint64));
                        forget_pieces();
                }
        }
        for (guint i = 0; i < 4; i++) {
                for (guint a = 1; a < ROUNDS; a++)
                        for (guint b = a; b > 0 && ns[i][b - 1] > ns[i][b]; b--) {
                                gint64 t = ns[i][b];

                                ns[i][b] = ns[i][b - 1];
                                ns[i][b - 1] = t;
                        }
                g_print("# payload %s: %s: %" G_GINT64_FORMAT " ns a call (median of %d; %" G_GINT64_FORMAT "-%" G_GINT64_FORMAT "), %.3f of off\n", bh_backend_name(now), names[i],
                        ns[i][ROUNDS / 2], ROUNDS, ns[i][0], ns[i][ROUNDS - 1], (double) ns[i][ROUNDS / 2] / (double) ns[0][ROUNDS / 2]);
        }
        close(say[0]);
        close(say[1]);
        bh_payload_set(payload, container, NULL, NULL);
}

void payload_add(BhBackend with) {
        const char *name = bh_backend_name(with);
        static const struct {
                const char *name;
                GTestDataFunc run;
        } tests[] = {
#define TEST(name) { #name, name }
                TEST(every_form_of_call_gives_the_bytes_in_order),
                TEST(nothing_of_other_protocols_is_copied),
                TEST(nothing_of_the_host_is_looked_at),
                TEST(of_tls_the_handshake_is_told_and_then_that_it_is_closed),
                TEST(dns_over_tcp_is_followed_on_its_port),
                TEST(connection_that_was_open_before_is_followed_from_its_next_request),
                TEST(connection_that_is_ignored_tells_nothing_more),
                TEST(what_is_beyond_a_bound_is_counted_by_reason),
                TEST(bytes_that_find_no_room_in_the_ring_are_counted),
                TEST(account_of_a_container_that_is_gone_stays_in_the_sum),
                TEST(speed),
        };

        for (guint i = 0; i < G_N_ELEMENTS(tests); i++) {
                g_autofree char *path = g_strdup_printf("/payload/%s/%s", name, tests[i].name);

                g_test_add_data_func(path, GINT_TO_POINTER(with), tests[i].run);
        }
}

void payload_end(void) {
        g_clear_pointer(&payload, bh_payload_free);
        container_remove();
        g_clear_pointer(&pieces, g_ptr_array_unref);
}

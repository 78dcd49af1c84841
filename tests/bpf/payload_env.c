/* SPDX-License-Identifier: Apache-2.0 */
#include "payload_env.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"

GMutex lock;
GPtrArray *pieces;
BhPayload *payload;
guint64 container;
char *cgroup_dir;
gint blocked; /* the callback waits */

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

void forget_pieces(void) {
        g_mutex_lock(&lock);
        g_ptr_array_set_size(pieces, 0);
        g_mutex_unlock(&lock);
}

/* The first piece of the socket with these ports that has one of `flags` (0: has bytes), or NULL after `ms`. Stays where it is. */
const Piece *piece_with(guint16 lport, guint16 rport, guint flags, gint64 ms) {
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
guint64 put_together(guint16 lport, guint16 rport, gboolean sent, guint8 *to, gsize len) {
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

void check_account(BhPayloadAccount *a) {
        guint64 sum;

        bh_payload_account(payload, container, a);
        sum = a->copied;
        for (guint i = 0; i < BH_PAYLOAD_SKIPPED_REASONS; i++)
                sum += a->skipped[i];
        g_assert_cmpuint(a->moved, ==, sum);
}

/* ---- the container ---- */

static const char *cgroups_root(void) {
        return access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/unified";
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

void container_remove(void) {
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

BhBackend now;

gboolean begin(gconstpointer data) {
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
                payload = bh_payload_new(kernel_hooks(), backend, on_piece, NULL);
                if (!bh_payload_load(payload, &error))
                        g_clear_pointer(&payload, bh_payload_free);
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

void take_over(BhPayloadStats *stats) {
        g_autoptr(GError) error = NULL;

        bh_payload_free(payload);
        payload = bh_payload_new(kernel_hooks(), now, on_piece, NULL);
        g_assert_true(bh_payload_load(payload, &error));
        g_assert_no_error(error);
        bh_payload_stats(payload, stats);
        g_assert_true(bh_payload_start(payload, &error));
        g_assert_no_error(error);
        forget_pieces();
}

/* ---- payload_calls ---- */

gboolean run_calls(const char *program, const char *form, const char *name, guint16 *client, guint16 *server) {
        g_autofree char *self = g_file_read_link("/proc/self/exe", NULL), *dir = g_path_get_dirname(self), *path = g_build_filename(dir, program, NULL);
        g_autofree char *procs = g_build_filename(cgroup_dir, "cgroup.procs", NULL), *out = NULL, *err = NULL;
        char *argv[] = { path, procs, (char *) form, (char *) name, NULL };
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

/* ---- a child in the container, with both ends of a connection ---- */

int client_fd, server_fd;

void must(gboolean ok) {
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
Child child_new(void (*act)(guint step), guint16 port, gboolean contained) {
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

void child_step(Child *c) {
        char byte = 'x';

        g_assert_cmpint(write(c->to, &byte, 1), ==, 1);
        g_assert_cmpint(read(c->from, &byte, 1), ==, 1);
}

void child_end(Child *c) {
        int status;

        close(c->to);
        g_assert_no_errno(waitpid(c->pid, &status, 0));
        g_assert_cmpint(status, ==, 0);
        close(c->from);
}

/* In the child: one call to send, and one that reads all of it. */
void move_bytes(int from, int to, const void *bytes, gsize len) {
        char *got = malloc(len);

        must(send(from, bytes, len, MSG_NOSIGNAL) == (ssize_t) len);
        must(recv(to, got, len, MSG_WAITALL) == (ssize_t) len && memcmp(got, bytes, len) == 0);
        free(got);
}

void move_text(int from, int to, const char *text) {
        move_bytes(from, to, text, strlen(text));
}

guint count_of(guint16 lport, guint16 rport) {
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
void wait_for_all(void) {
        gint64 until = g_get_monotonic_time() + WAIT_MS * 1000;
        BhPayloadStats s;

        do {
                g_usleep(2000);
                bh_payload_stats(payload, &s);
                g_assert_cmpint(g_get_monotonic_time(), <, until);
        } while (s.told < s.all.pieces); /* ends are told as well: more, never fewer */
        g_usleep(AGAIN_MS * 1000);
}

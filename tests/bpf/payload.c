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
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
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

static void piece_free(gpointer data) {
        Piece *piece = data;

        g_free(piece->bytes);
        g_free(piece);
}

static void on_piece(const BhPayloadPiece *p, gpointer data) {
        Piece *copy = g_new0(Piece, 1);

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

G_GNUC_UNUSED static void enter_container(void) {
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

void payload_add(BhBackend with) {
        const char *name = bh_backend_name(with);
        static const struct {
                const char *name;
                GTestDataFunc run;
        } tests[] = {
                { "every_form_of_call_gives_the_bytes_in_order", every_form_of_call_gives_the_bytes_in_order },
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

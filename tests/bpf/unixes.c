/* SPDX-License-Identifier: Apache-2.0 */
/* What moves over Unix sockets is counted to the byte, whatever call moves it, and by one of those who could. */
#include "sensor/unixes.h"

#include <glib.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "kernel.h"
#include "network.h"
#include "payload_calls.h"
#include "payload_env.h"

#define ROUND_US (20 * 1000)
#define ASKED 700u
#define ANSWERED 1300u

static BhUnixes *unixes;
static GArray *taken;

/* Also of who cannot: says which. */
static gboolean begin_counting(gconstpointer data) {
        g_autoptr(GError) error = NULL;

        if (!begin(data))
                return FALSE;
        unixes = bh_unixes_new(kernel_hooks(), &error);
        g_assert_no_error(error);
        taken = g_array_new(FALSE, FALSE, sizeof(BhUnixMoved));
        return TRUE;
}

static void end_counting(void) {
        BhUnixesStats s;

        bh_unixes_stats(unixes, &s);
        g_assert_cmpuint(s.refused, ==, 0);
        g_clear_pointer(&unixes, bh_unixes_free);
        g_clear_pointer(&taken, g_array_unref);
}

static void go_round(void) {
        g_autoptr(GError) error = NULL;

        g_assert_true(bh_unixes_round(unixes, TRUE, g_get_monotonic_time(), taken, &error));
        g_assert_no_error(error);
        g_usleep(ROUND_US);
}

/* Of one side of what has that abstract name. */
static struct bh_unix_moved sum_of(const char *name, gboolean server) {
        struct bh_unix_moved sum = { 0 };

        for (guint i = 0; i < taken->len; i++) {
                const BhUnixMoved *m = &g_array_index(taken, BhUnixMoved, i);

                if (m->moved.path_len != strlen(name) + 1 || m->moved.path[0] || memcmp(m->moved.path + 1, name, strlen(name)) != 0 || m->key.server != server)
                        continue;
                g_assert_cmpuint(m->moved.cgroup, ==, container);
                g_assert_cmpuint(m->key.tgid, !=, 0);
                g_assert_cmpuint(m->moved.first, <=, m->moved.last + 20000000); /* the last is by the tick */
                sum.bytes_out += m->moved.bytes_out;
                sum.bytes_in += m->moved.bytes_in;
                sum.messages_out += m->moved.messages_out;
        }
        return sum;
}

/* Twice two turns: nothing more is to come. */
static void go_until_all(const char *name, guint64 out) {
        gint64 until = g_get_monotonic_time() + WAIT_MS * 1000;

        while (sum_of(name, FALSE).bytes_out + sum_of(name, TRUE).bytes_out < out && g_get_monotonic_time() < until)
                go_round();
        for (gint64 end = g_get_monotonic_time() + 4 * BH_UNIXES_TURN_MS * 1000; g_get_monotonic_time() < end; )
                go_round();
}

/* Until 5.12 io_uring's own threads are not the process's: nobody knows whose they are. */
static gboolean threads_are_the_process_s(void) {
        struct utsname u;
        guint major, minor;

        g_assert_cmpint(uname(&u), ==, 0);
        g_assert_cmpint(sscanf(u.release, "%u.%u", &major, &minor), ==, 2);
        return major > 5 || (major == 5 && minor >= 12);
}

static void check_forms(const char *by, const char *const *forms, guint n) {
        enum { ALL = PAYLOAD_TURNS * PAYLOAD_BYTES };
        gboolean ran[64] = { FALSE };
        guint16 client, server;

        g_assert_cmpuint(n, <=, G_N_ELEMENTS(ran) / 2);
        for (guint i = 0; i < 2 * n; i++) {
                g_autofree char *name = g_strdup_printf("bh-%s-%s-%u-%d", by, forms[i / 2], i % 2, (int) getpid());

                ran[i] = run_calls(i % 2 ? "payload_calls32" : "payload_calls", forms[i / 2], name, &client, &server);
                go_round();
        }
        for (guint i = 0; i < 2 * n; i++) {
                g_autofree char *name = g_strdup_printf("bh-%s-%s-%u-%d", by, forms[i / 2], i % 2, (int) getpid());
                gboolean own = strstr(forms[i / 2], "async") || strstr(forms[i / 2], "sqpoll");

                if (!ran[i])
                        continue;
                g_test_message("%s", name);
                if (own && !threads_are_the_process_s())
                        continue;
                if (i == 0 || sum_of(name, FALSE).bytes_out + sum_of(name, TRUE).bytes_out < 2 * ALL)
                        go_until_all(name, 2 * ALL);
                g_assert_cmpuint(sum_of(name, FALSE).bytes_out, ==, ALL);
                g_assert_cmpuint(sum_of(name, TRUE).bytes_out, ==, ALL);
                g_assert_cmpuint(sum_of(name, FALSE).bytes_in + sum_of(name, TRUE).bytes_in, ==, 0);
        }
}

static const char *counted_by(void) {
        BhUnixesStats s;

        bh_unixes_stats(unixes, &s);
        return s.backend;
}

static void every_form_of_call_is_counted_to_the_byte(gconstpointer data) {
        static const char *const forms[] = { "write-read", "single-bytes", "sendto-recvfrom", "peek", "writev-readv", "pwritev2-preadv2", "sendmsg-recvmsg", "sendmmsg-recvmmsg",
                                             "sendfile", "splice-to", "splice-from", "uring-send-recv", "uring-async-send-recv", "uring-sqpoll-send-recv", "uring-write-read",
                                             "uring-sendmsg-recvmsg", "socketcall-send-recv", "socketcall-sendmsg-recvmsg" };

        if (!begin_counting(data))
                return;
        bh_payload_stop(payload);
        go_round();
        g_assert_cmpstr(counted_by(), ==, now == BH_BACKEND_PREFERRED ? "fexit" : "calls");
        check_forms("own", forms, G_N_ELEMENTS(forms));
        end_counting();
}

static void whoever_counts_each_byte_is_counted_once(gconstpointer data) {
        static const char *const forms[] = { "write-read", "sendmsg-recvmsg" }, *const again[] = { "writev-readv" };
        g_autoptr(GError) error = NULL;

        if (!begin_counting(data))
                return;
        bh_payload_stop(payload);
        go_round();
        g_assert_true(bh_payload_start(payload, &error));
        g_assert_no_error(error);
        check_forms("payload", forms, G_N_ELEMENTS(forms));
        g_assert_cmpstr(counted_by(), ==, now == BH_BACKEND_PREFERRED ? "fexit" : "payload");
        bh_payload_stop(payload);
        go_round();
        check_forms("after", again, G_N_ELEMENTS(again));
        g_assert_cmpstr(counted_by(), ==, now == BH_BACKEND_PREFERRED ? "fexit" : "calls");
        end_counting();
}

static char datagram_name[64];

/* In the child: asks a datagram server and is answered; and one that sends without a connection, of which nobody knows to whom. */
static void ask_by_datagrams(guint step) {
        struct sockaddr_un un = { .sun_family = AF_UNIX }, from;
        socklen_t len = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + 1 + strlen(datagram_name)), from_len = sizeof(from);
        int server = socket(AF_UNIX, SOCK_DGRAM, 0), client = socket(AF_UNIX, SOCK_DGRAM, 0);
        sa_family_t any = AF_UNIX;
        char bytes[2048] = { 0 };

        memcpy(un.sun_path + 1, datagram_name, strlen(datagram_name));
        must(bind(server, (struct sockaddr *) &un, len) == 0 && bind(client, (struct sockaddr *) &any, sizeof(any)) == 0);
        must(connect(client, (struct sockaddr *) &un, len) == 0);
        must(send(client, bytes, ASKED, 0) == ASKED && recvfrom(server, bytes, sizeof(bytes), 0, (struct sockaddr *) &from, &from_len) == ASKED);
        must(sendto(server, bytes, ANSWERED, 0, (struct sockaddr *) &from, from_len) == ANSWERED && recv(client, bytes, sizeof(bytes), MSG_PEEK) == ANSWERED);
        must(recv(client, bytes, sizeof(bytes), 0) == ANSWERED);
        close(client);
        close(server);
}

static void answers_to_a_connected_datagram_socket_are_counted_where_they_come(gconstpointer data) {
        BhUnixesStats before, after;
        Child c;

        if (!begin_counting(data))
                return;
        bh_payload_stop(payload);
        g_assert_true(bh_payload_start(payload, NULL));
        go_round();
        bh_unixes_stats(unixes, &before);
        g_snprintf(datagram_name, sizeof(datagram_name), "bh-datagrams-%d", (int) getpid());
        c = child_new(ask_by_datagrams, 0, TRUE);
        child_step(&c);
        child_end(&c);
        go_until_all(datagram_name, ASKED);
        g_assert_cmpuint(sum_of(datagram_name, FALSE).bytes_out, ==, ASKED);
        g_assert_cmpuint(sum_of(datagram_name, FALSE).bytes_in, ==, ANSWERED);
        g_assert_cmpuint(sum_of(datagram_name, TRUE).bytes_out, ==, 0);
        bh_unixes_stats(unixes, &after);
        g_assert_cmpuint(after.unaddressed - before.unaddressed, ==, 1);
        g_assert_cmpuint(after.unaddressed_bytes - before.unaddressed_bytes, ==, ANSWERED);
        end_counting();
}

void unixes_add(BhBackend with) {
        const char *name = bh_backend_name(with);
        static const struct {
                const char *name;
                GTestDataFunc run;
        } tests[] = {
#define TEST(name) { #name, name }
                TEST(every_form_of_call_is_counted_to_the_byte),
                TEST(whoever_counts_each_byte_is_counted_once),
                TEST(answers_to_a_connected_datagram_socket_are_counted_where_they_come),
#undef TEST
        };

        for (guint i = 0; i < G_N_ELEMENTS(tests); i++) {
                g_autofree char *path = g_strdup_printf("/%s/unixes/%s", name, tests[i].name);

                g_test_add_data_func(path, GINT_TO_POINTER((gint) with), tests[i].run);
        }
}

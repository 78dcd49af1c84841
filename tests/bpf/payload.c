/* SPDX-License-Identifier: Apache-2.0 */
/* What containers' sockets read and write: every form of call gives exactly the bytes in order, and gaps are counted. */
#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"
#include "network.h"
#include "payload_calls.h"
#include "payload_env.h"
#include "sensor/loader.h"

/* ---- every form of call ---- */

/* The programs read pages where the kernel says where it maps them: CONFIG_KALLSYMS_ALL. */
static gboolean pages_are_readable(void) {
        static int known = -1;
        g_autoptr(GIOChannel) file = NULL;
        g_autofree char *line = NULL;
        gboolean found = FALSE;

        if (known >= 0)
                return known;
        file = g_io_channel_new_file("/proc/kallsyms", "r", NULL);
        g_io_channel_set_encoding(file, NULL, NULL);
        while (!found && g_io_channel_read_line(file, &line, NULL, NULL, NULL) == G_IO_STATUS_NORMAL) {
                found = g_str_has_suffix(line, " vmemmap_base\n") && g_ascii_strtoull(line, NULL, 16);
                g_clear_pointer(&line, g_free);
        }
        known = found;
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
        gboolean pages = g_str_equal(form, "sendfile") || g_str_equal(form, "splice-to"), uring = g_str_has_prefix(form, "uring");
        /* without the kernel's own description of what is sent */
        gboolean calls_alone = now == BH_BACKEND_FALLBACK && !bh_loader_has_tracepoint(kernel_hooks(), "tcp_sendmsg_locked");
        gboolean sends = !(pages && !pages_are_readable()) && !(calls_alone && (pages || uring));

        check_account(&before);
        if (!run_calls(program, form, NULL, &client, &server)) {
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
#define TEST(name) { #name, name }
                TEST(every_form_of_call_gives_the_bytes_in_order),
                TEST(nothing_of_other_protocols_is_copied),
                TEST(other_protocols_are_told_where_that_is_asked_for),
                TEST(nothing_of_the_host_is_looked_at),
                TEST(of_tls_the_handshake_is_told_and_then_that_it_is_closed),
                TEST(tls_behind_a_proxys_header_is_told_as_tls),
                TEST(dns_over_tcp_is_followed_on_its_port),
                TEST(connection_that_was_open_before_is_followed_from_its_next_request),
                TEST(request_in_single_bytes_is_followed_from_its_first),
                TEST(connection_that_is_ignored_tells_nothing_more),
                TEST(what_is_beyond_a_bound_is_counted_by_reason),
                TEST(one_container_does_not_fill_the_ring),
                TEST(account_of_a_container_that_is_gone_stays_in_the_sum),
                TEST(programs_of_one_that_was_killed_are_taken_over),
                TEST(programs_of_another_build_are_not_taken_over),
                TEST(tls_library_gives_the_clear_text),
                TEST(speed),
        };

        for (guint i = 0; i < G_N_ELEMENTS(tests); i++) {
                g_autofree char *path = g_strdup_printf("/%s/payload/%s", name, tests[i].name);

                g_test_add_data_func(path, GINT_TO_POINTER(with), tests[i].run);
        }
}

void payload_end(void) {
        g_clear_pointer(&payload, bh_payload_free);
        container_remove();
        g_clear_pointer(&pieces, g_ptr_array_unref);
}

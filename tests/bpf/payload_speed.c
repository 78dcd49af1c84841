/* SPDX-License-Identifier: Apache-2.0 */
/* What looking at connections costs. */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "kernel.h"
#include "payload_env.h"

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

/* By the kernel's own statistics, which other work of this machine does not blur as much: sums of all programs of that name. */
static void program_runs(const char *name, guint64 *runs, guint64 *ns) {
        guint32 id = 0;

        *runs = *ns = 0;
        while (bpf_prog_get_next_id(id, &id) == 0) {
                struct bpf_prog_info info = { 0 };
                guint32 len = sizeof(info);
                g_auto(BhFd) fd = bpf_prog_get_fd_by_id(id);

                if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) || strcmp(info.name, name))
                        continue;
                *runs += info.run_cnt;
                *ns += info.run_time_ns;
        }
}

static void speed_of_programs(const char *mode) {
        static const char *const names[] = { "fx_tcp_sendmsg", "fx_tcp_recvmsg", "tp_sent", "tp_read", "tp_sending" };
        guint64 runs[G_N_ELEMENTS(names)], ns[G_N_ELEMENTS(names)];
        g_auto(BhFd) statistics = bpf_enable_stats(BPF_STATS_RUN_TIME);

        for (guint i = 0; i < G_N_ELEMENTS(names); i++)
                program_runs(names[i], &runs[i], &ns[i]);
        Child c = child_new(act_speed, 0, strcmp(mode, "host") != 0);
        child_step(&c);
        child_end(&c);
        for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
                guint64 n, t;

                program_runs(names[i], &n, &t);
                if (n > runs[i])
                        g_print("# payload %s: %s: %s: %.0f ns a run\n", bh_backend_name(now), mode, names[i], (double) (t - ns[i]) / (double) (n - runs[i]));
        }
}

/* Nanoseconds a send or recv of 64 bytes, in turns: not attached, of a connection that is ignored, one that is followed, one of the host. */
void speed(gconstpointer data) {
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
        g_assert_true(bh_payload_set(payload, container, &(BhPayloadRule){ .bytes_per_second = G_MAXUINT32 }, NULL));
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
        for (guint i = 1; i < 4; i++) {
                gint64 unused;

                speed_first = i == 2 ? "POST / HTTP/1.1\r\n\r\n" : "*1\r\n$4\r\nPING\r\n";
                speed_of_programs(names[i]);
                g_assert_cmpint(read(say[0], &unused, sizeof(unused)), ==, sizeof(unused));
        }
        close(say[0]);
        close(say[1]);
        bh_payload_set(payload, container, NULL, NULL);
}

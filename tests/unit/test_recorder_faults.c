/* SPDX-License-Identifier: Apache-2.0 */
#include "recorder_records.h"

static G_GNUC_NORETURN void append_until_killed(const char *dir, guint64 from, int pipe_fd) {
        BhRecorderLimits limits = small_limits();
        BhRecorder *r = bh_recorder_open(dir, &limits, NULL, NULL);
        guint64 told = 0, mark;
        guint32 len;

        if (!r)
                _exit(1);
        for (guint64 seq = from;; seq++) {
                if (!append(r, seq))
                        _exit(2);
                if (seq % 16 == 0)
                        bh_recorder_mark(r, &seq, sizeof(seq));
                if (seq % 64 == 0 && bh_recorder_durable_mark(r, &mark, &len) && mark != told) {
                        told = mark;
                        if (write(pipe_fd, &mark, sizeof(mark)) != sizeof(mark))
                                _exit(3);
                }
        }
}

static void killed_recorder_keeps_what_it_called_durable(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhRecorderLimits limits = small_limits();
        guint64 next = 1;

        for (int round = 0; round < 20; round++) {
                int fds[2];
                guint64 durable = 0, mark, last = 0;
                BhRecorderRecovery found;
                BhRecorder *r;

                g_assert_cmpint(pipe(fds), ==, 0);
                pid_t child = fork();
                g_assert_cmpint(child, >=, 0);
                if (child == 0) {
                        close(fds[0]);
                        append_until_killed(dir, next, fds[1]);
                }
                close(fds[1]);
                guint marks = 1 + (guint) g_random_int_range(0, 60);
                for (guint i = 0; i < marks; i++)
                        g_assert_cmpint(read(fds[0], &durable, sizeof(durable)), ==, sizeof(durable));
                g_usleep((gulong) g_random_int_range(0, 3000));
                kill(child, SIGKILL);
                while (read(fds[0], &mark, sizeof(mark)) == sizeof(mark))
                        durable = mark;
                close(fds[0]);
                int status;
                g_assert_cmpint(waitpid(child, &status, 0), ==, child);
                g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

                guint64 seen = count_all(dir, &last, NULL);
                g_assert_cmpuint(seen, ==, last); /* without a gap */
                g_assert_cmpuint(last, >=, durable);
                must_open(&r, dir, &limits, &found);
                memcpy(&mark, found.mark, sizeof(mark));
                g_assert_cmpuint(mark, >=, durable);
                g_assert_cmpuint(found.last_seq, ==, last);
                g_assert_cmpuint(mark + found.unmarked_records, ==, last);
                bh_recorder_free(r);
                next = last + 1;
        }
        g_test_message("%" G_GUINT64_FORMAT " records over 20 kills", next - 1);
}

static void full_disk_is_counted_and_left_behind(void) {
        g_autoptr(TempDir) base = temp_dir();
        g_autofree char *dir = g_build_filename(base, "recorder", NULL), *hog = g_build_filename(base, "hog", NULL);
        BhRecorderLimits limits = small_limits();
        BhRecorderQueryStats qs;
        BhRecorderStats stats;
        BhRecorder *r;
        guint64 mark, seq = 0, last, accepted_last = 0;
        guint32 len;

        /* In a mount namespace of its own: gone with this process, however it ends. */
        if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("bulkhead-test", base, "tmpfs", 0, "size=1m") < 0) {
                g_test_skip("needs root and mount(2), to have a small file system");
                return;
        }
        limits.hold_ms = 100;
        limits.retry_ms = 20;
        limits.flush_ms = 10;
        limits.wait_ms = 50;
        limits.queue_blocks = 8;
        limits.segment_bytes = 64 << 10;
        limits.keep_bytes = 200 << 10;
        must_open(&r, dir, &limits, NULL);

        /* The recorder alone: it frees its own oldest segments and loses nothing. */
        for (guint64 n = 0; n < 30000; n++) {
                append(r, ++seq);
                if (seq % 100 == 0)
                        bh_recorder_flush(r, TRUE);
        }
        g_assert_true(bh_recorder_flush(r, TRUE));
        bh_recorder_stats(r, &stats);
        g_assert_cmpstr(bh_recorder_state_name(stats.state), ==, "ok");
        g_assert_cmpuint(stats.lost[BH_RECORDER_LOST_DISK_FULL], ==, 0);
        g_assert_cmpuint(stats.dropped_segments, >, 0);
        g_assert_cmpuint(stats.written, ==, 30000);

        /* Somebody fills it: the recorder frees down to keep_bytes, no further, then counts. */
        gint64 begin = g_get_monotonic_time();
        int hogfd = open(hog, O_WRONLY | O_CREAT, 0600);
        static char junk[65536];
        gboolean ok;
        do { /* a small block may still fit behind another: until nothing does */
                while (write(hogfd, junk, sizeof(junk)) > 0)
                        ;
                for (int i = 0; i < 100; i++)
                        append(r, ++seq);
                bh_recorder_mark(r, &seq, sizeof(seq));
                ok = bh_recorder_flush(r, TRUE);
                bh_recorder_stats(r, &stats);
                g_assert_cmpint(g_get_monotonic_time() - begin, <, 20 * G_USEC_PER_SEC);
        } while (ok || stats.lost[BH_RECORDER_LOST_DISK_FULL] < 100);
        g_assert_cmpstr(bh_recorder_state_name(stats.state), ==, "disk-full");
        bh_recorder_stats(r, &stats);
        g_assert_cmpuint(stats.bytes, >=, limits.keep_bytes);
        g_assert_cmpuint(stats.problem[0], !=, 0);
        /* Marks go on: the kernel's rings must not fill up because a disk did. */
        g_assert_true(bh_recorder_durable_mark(r, &mark, &len));
        g_assert_cmpuint(mark, ==, seq);

        /* Room again. */
        close(hogfd);
        g_unlink(hog);
        begin = g_get_monotonic_time();
        do {
                if (append(r, ++seq))
                        accepted_last = seq;
                bh_recorder_flush(r, TRUE);
                bh_recorder_stats(r, &stats);
                g_assert_cmpint(g_get_monotonic_time() - begin, <, 20 * G_USEC_PER_SEC);
        } while (stats.state != BH_RECORDER_OK);
        g_assert_cmpuint(stats.written + stats.lost[BH_RECORDER_LOST_DISK_FULL] + stats.lost[BH_RECORDER_LOST_QUEUE_FULL], ==, seq);
        guint64 seen = count_all(dir, &last, &qs);
        g_assert_cmpuint(last, ==, accepted_last);
        g_assert_cmpuint(seen + stats.dropped_records, ==, stats.written);
        g_assert_cmpuint(qs.lost, ==, stats.lost[BH_RECORDER_LOST_DISK_FULL] + stats.lost[BH_RECORDER_LOST_QUEUE_FULL]);
        bh_recorder_free(r);
        g_assert_cmpuint(count_all(dir, NULL, &qs), ==, seen);
        g_assert_cmpuint(qs.damaged_bytes + qs.torn_bytes, ==, 0);

        /* The reserve rule: a file system with less free than that is full. */
        limits.reserve_bytes = 2 << 20;
        limits.keep_bytes = G_MAXUINT64;
        must_open(&r, dir, &limits, NULL);
        g_assert_true(append(r, ++seq));
        g_assert_false(bh_recorder_flush(r, TRUE));
        bh_recorder_stats(r, &stats);
        g_assert_cmpuint(stats.lost[BH_RECORDER_LOST_DISK_FULL], ==, 1);
        bh_recorder_free(r);
        g_assert_cmpint(umount2(base, MNT_DETACH), ==, 0);
}

static void full_queue_is_counted(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhRecorderLimits limits = small_limits();
        BhRecorderStats stats;
        BhRecorderQueryStats qs;
        BhRecorder *r;
        guint64 accepted = 0, tried = 0;

        limits.wait_ms = 0;
        limits.queue_blocks = 2;
        limits.level = 3;
        must_open(&r, dir, &limits, NULL);
        gint64 begin = g_get_monotonic_time();
        do {
                accepted += append(r, ++tried);
                if (tried % 10000 == 0)
                        g_assert_cmpint(g_get_monotonic_time() - begin, <, 20 * G_USEC_PER_SEC);
        } while (tried - accepted < 1000);
        g_assert_true(bh_recorder_flush(r, TRUE));
        while (!append(r, ++tried))
                ;
        accepted++;
        g_assert_true(bh_recorder_flush(r, TRUE));
        bh_recorder_stats(r, &stats);
        g_assert_cmpuint(stats.written, ==, accepted);
        g_assert_cmpuint(stats.lost[BH_RECORDER_LOST_QUEUE_FULL], ==, tried - accepted);
        g_assert_cmpuint(count_all(dir, NULL, &qs), ==, accepted);
        g_assert_cmpuint(qs.lost, ==, tried - accepted);
        bh_recorder_free(r);

        /* Allowed to wait, the same flood loses nothing. */
        limits.wait_ms = 10000;
        must_open(&r, dir, &limits, NULL);
        for (guint64 i = 0; i < 50000; i++)
                g_assert_true(append(r, ++tried));
        bh_recorder_free(r);
}

static void deleted_segment_is_noticed(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhRecorderLimits limits = small_limits();
        BhRecorderStats stats;
        BhRecorder *r;

        must_open(&r, dir, &limits, NULL);
        g_assert_true(append(r, 1));
        g_assert_true(bh_recorder_flush(r, TRUE));
        g_autofree char *path = segment_path(dir, 0);
        g_assert_cmpint(g_unlink(path), ==, 0);
        g_assert_true(append(r, 2));
        g_assert_true(bh_recorder_flush(r, TRUE));
        bh_recorder_stats(r, &stats);
        g_assert_cmpuint(stats.vanished_segments, ==, 1);
        g_assert_cmpuint(stats.bytes, ==, bytes_on_disk(dir));
        g_assert_cmpuint(count_all(dir, NULL, NULL), ==, 1);
        bh_recorder_free(r);
}

typedef struct {
        const char *dir;
        gint stop;
        guint64 rounds, gone;
} Follower;

static void *read_on(void *arg) {
        Follower *f = arg;

        do {
                BhRecorderQueryStats qs;

                count_all(f->dir, NULL, &qs); /* each record genuine, in order */
                g_assert_cmpuint(qs.damaged_regions, ==, 0);
                g_assert_cmpuint(qs.segments_unreadable, ==, 0);
                count_query(f->dir, 0, 0, 3, 0, NULL, &qs);
                g_assert_cmpuint(qs.damaged_regions, ==, 0);
                f->gone += qs.segments_gone;
                f->rounds++;
        } while (!__atomic_load_n(&f->stop, __ATOMIC_ACQUIRE));
        return NULL;
}

static void readers_and_the_writer_do_not_disturb_each_other(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhRecorderLimits limits = small_limits();
        Follower f = { .dir = dir };
        BhRecorder *r;
        pthread_t thread;

        limits.max_bytes = 512 << 10;
        limits.segment_bytes = 32 << 10;
        limits.flush_ms = 1;
        must_open(&r, dir, &limits, NULL);
        g_assert_cmpint(pthread_create(&thread, NULL, read_on, &f), ==, 0);
        gint64 begin = g_get_monotonic_time();
        for (guint64 seq = 1; g_get_monotonic_time() - begin < G_USEC_PER_SEC; seq++)
                g_assert_true(append(r, seq));
        __atomic_store_n(&f.stop, 1, __ATOMIC_RELEASE);
        pthread_join(thread, NULL);
        bh_recorder_free(r);
        g_test_message("%" G_GUINT64_FORMAT " rounds of reading, %" G_GUINT64_FORMAT " segments gone in between", f.rounds, f.gone);
}

static void second_recorder_names_the_first(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhRecorderLimits limits = small_limits();
        g_autoptr(GError) error = NULL;
        g_autofree char *pid = g_strdup_printf("process %ld", (long) getpid());
        BhRecorder *r;

        must_open(&r, dir, &limits, NULL);
        g_assert_null(bh_recorder_open(dir, &limits, NULL, &error));
        g_assert_error(error, BH_RECORDER_ERROR, BH_RECORDER_ERROR_LOCKED);
        g_assert_nonnull(strstr(error->message, pid));
        bh_recorder_free(r);
        must_open(&r, dir, &limits, NULL);
        bh_recorder_free(r);
}

/* ---- captures */

static void *feed(void *arg) {
        int fd = GPOINTER_TO_INT(arg);
        BhCaptureWriter *w = bh_capture_writer_new_fd(fd, "pipe", "n", 2, NULL);
        guint8 data[256];

        for (guint64 seq = 1; seq <= 10000; seq++)
                g_assert_true(bh_capture_writer_append(w, TIME(seq), CONTAINER(seq), seq, data, make_record(seq, data), NULL));
        g_assert_true(bh_capture_writer_finish(w, NULL));
        bh_capture_writer_free(w);
        close(fd);
        return NULL;
}

static void capture_goes_through_a_pipe(void) {
        g_autoptr(GError) error = NULL;
        pthread_t thread;
        int fds[2];
        BhRecord rec;
        guint64 n = 0;

        g_assert_cmpint(pipe(fds), ==, 0);
        g_assert_cmpint(pthread_create(&thread, NULL, feed, GINT_TO_POINTER(fds[1])), ==, 0);
        BhCaptureReader *c = bh_capture_reader_new_fd(fds[0], "pipe", &error);
        g_assert_no_error(error);
        while (bh_capture_reader_next(c, &rec, &error)) {
                g_assert_true(is_genuine(&rec));
                g_assert_cmpuint(rec.seq, ==, ++n);
        }
        g_assert_no_error(error);
        g_assert_cmpuint(n, ==, 10000);
        bh_capture_reader_free(c);
        pthread_join(thread, NULL);
        close(fds[0]);
}

static void capture_errors_say_what_is_wrong(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autofree char *path = g_build_filename(dir, "c", NULL), *bytes = NULL;
        guint8 data[256];
        gsize len;

        BhCaptureWriter *w = bh_capture_writer_new(path, NULL, 1, NULL);
        for (guint64 seq = 1; seq <= 4; seq++)
                g_assert_true(bh_capture_writer_append(w, TIME(seq), CONTAINER(seq), seq, data, make_record(seq, data), NULL));
        g_assert_true(bh_capture_writer_finish(w, NULL));
        bh_capture_writer_free(w);
        g_assert_true(g_file_get_contents(path, &bytes, &len, NULL));

        struct {
                const char *what;
                gsize keep, at;
                char byte;
                BhRecorderError code;
                gboolean opens;
        } cases[] = {
                { "is empty", 0, 0, 0, BH_RECORDER_ERROR_NOT_CAPTURE, FALSE },
                { "is not a Bulkhead capture", len, 0, 'x', BH_RECORDER_ERROR_NOT_CAPTURE, FALSE },
                { "has capture format 9", len, 8, 9, BH_RECORDER_ERROR_VERSION, FALSE },
                { "file header", len, 50, 'x', BH_RECORDER_ERROR_CORRUPT, FALSE },
                { "within its file header", 100, 0, bytes[0], BH_RECORDER_ERROR_TRUNCATED, FALSE },
                { "no end mark", sizeof(BhFileHeader), 0, bytes[0], BH_RECORDER_ERROR_TRUNCATED, TRUE },
                { "not a whole block", sizeof(BhFileHeader) + 200, 0, bytes[0], BH_RECORDER_ERROR_TRUNCATED, TRUE },
                { "not a whole block", len - 1, 0, bytes[0], BH_RECORDER_ERROR_TRUNCATED, TRUE },
                { "unreadable", len, sizeof(BhFileHeader) + 220, 'x', BH_RECORDER_ERROR_CORRUPT, TRUE },
        };
        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *copy = g_memdup2(bytes, len);
                g_autoptr(GError) error = NULL;
                BhRecord rec;

                copy[cases[i].at] = cases[i].byte;
                g_assert_true(g_file_set_contents(path, copy, (gssize) cases[i].keep, NULL));
                g_autoptr(BhCaptureReader) c = bh_capture_reader_new(path, &error);
                g_assert_true(!!c == cases[i].opens);
                while (c && bh_capture_reader_next(c, &rec, &error))
                        g_assert_true(is_genuine(&rec));
                g_assert_error(error, BH_RECORDER_ERROR, (gint) cases[i].code);
                g_test_message("%s", error->message);
                g_assert_nonnull(strstr(error->message, cases[i].what));
                g_assert_nonnull(strstr(error->message, path));
        }
}

static void speed(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhRecorderLimits limits;
        guint64 total = 2000000, n = 0, bytes = 0;
        guint8 data[220];
        BhRecorderStats stats;
        BhRecorder *r;
        BhRecord rec;

        if (g_test_quick() && !g_test_perf())
                total = 200000;
        bh_recorder_limits_init(&limits);
        limits.reserve_bytes = 0;
        limits.wait_ms = 10000;
        must_open(&r, dir, &limits, NULL);
        for (gsize i = 0; i < sizeof(data); i++)
                data[i] = (guint8) (i * i >> 3);
        gint64 t = g_get_monotonic_time();
        for (guint64 seq = 1; seq <= total; seq++) {
                memcpy(data + 100, &seq, sizeof(seq));
                bh_recorder_append(r, TIME(seq), CONTAINER(seq), seq, data, sizeof(data));
        }
        gint64 appended = g_get_monotonic_time() - t;
        g_assert_true(bh_recorder_flush(r, TRUE));
        gint64 durable = g_get_monotonic_time() - t;
        bh_recorder_stats(r, &stats);
        bh_recorder_free(r);

        t = g_get_monotonic_time();
        g_autoptr(BhRecorderQuery) q = bh_recorder_query(dir, 0, 0, BH_RECORDER_ANY, 0, NULL);
        while (bh_recorder_query_next(q, &rec))
                n++, bytes += rec.len;
        gint64 read = g_get_monotonic_time() - t;
        g_assert_cmpuint(n + stats.lost[BH_RECORDER_LOST_QUEUE_FULL], ==, total);
        g_test_message("append %.2f M/s, durable %.2f M/s, replay %.2f M/s; %" G_GUINT64_FORMAT " -> %" G_GUINT64_FORMAT " bytes",
                       (double) total / (double) appended, (double) total / (double) durable, (double) n / (double) read, bytes,
                       stats.stored_bytes);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/recorder_faults/killed_recorder_keeps_what_it_called_durable", killed_recorder_keeps_what_it_called_durable);
        g_test_add_func("/recorder_faults/full_disk_is_counted_and_left_behind", full_disk_is_counted_and_left_behind);
        g_test_add_func("/recorder_faults/full_queue_is_counted", full_queue_is_counted);
        g_test_add_func("/recorder_faults/deleted_segment_is_noticed", deleted_segment_is_noticed);
        g_test_add_func("/recorder_faults/readers_and_the_writer_do_not_disturb_each_other", readers_and_the_writer_do_not_disturb_each_other);
        g_test_add_func("/recorder_faults/second_recorder_names_the_first", second_recorder_names_the_first);
        g_test_add_func("/recorder_faults/capture_goes_through_a_pipe", capture_goes_through_a_pipe);
        g_test_add_func("/recorder_faults/capture_errors_say_what_is_wrong", capture_errors_say_what_is_wrong);
        g_test_add_func("/recorder_faults/speed", speed);
        return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "recorder_records.h"

static void records_come_back_in_order(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhRecorderLimits limits = small_limits();
        BhRecorderRecovery found;
        BhRecorderStats stats;
        BhRecorderQueryStats qs;
        BhRecorder *r;
        struct stat st;
        guint64 last;

        limits.segment_bytes = 64 << 10;
        must_open(&r, dir, &limits, &found);
        g_assert_cmpuint(found.segments, ==, 0);
        for (guint64 seq = 1; seq <= 5000; seq++)
                g_assert_true(append(r, seq));
        g_assert_true(bh_recorder_flush(r, TRUE));
        g_assert_cmpuint(count_all(dir, &last, NULL), ==, 5000); /* live: the last segment is still open */
        g_assert_cmpuint(last, ==, 5000);
        bh_recorder_stats(r, &stats);
        g_assert_cmpuint(stats.written, ==, 5000);
        g_assert_cmpuint(stats.segments, >, 2);
        g_assert_cmpuint(stats.bytes, ==, bytes_on_disk(dir));
        g_assert_cmpuint(stats.stored_bytes, <, stats.raw_bytes);
        g_assert_cmpuint(stats.durable_seq, ==, 5000);
        bh_recorder_free(r);

        g_assert_cmpuint(count_all(dir, NULL, &qs), ==, 5000);
        g_assert_cmpuint(qs.damaged_bytes + qs.torn_bytes + qs.lost, ==, 0);

        g_autofree char *first = segment_path(dir, 0);
        g_assert_cmpint(stat(first, &st), ==, 0);
        g_assert_cmpuint(st.st_mode & 0777, ==, 0600);
        g_assert_cmpint(stat(dir, &st), ==, 0);
        g_assert_cmpuint(st.st_mode & 0777, ==, 0700);

        /* The next run goes on behind it, and knows where the log ended. */
        must_open(&r, dir, &limits, &found);
        g_assert_cmpuint(found.records, ==, 5000);
        g_assert_cmpuint(found.last_seq, ==, 5000);
        g_assert_cmpuint(found.last_time_ns, ==, TIME(5000));
        g_assert_cmpuint(found.cut_bytes + found.recovered_segments, ==, 0);
        g_assert_true(append(r, 5001));
        bh_recorder_free(r);
        g_assert_cmpuint(count_all(dir, &last, NULL), ==, 5001);
        g_assert_cmpuint(last, ==, 5001);

        /* A segment is a capture. */
        g_autoptr(BhCaptureReader) c = bh_capture_reader_new(first, NULL);
        g_assert_cmpstr(bh_capture_reader_node(c), ==, "node-1");
        g_assert_cmpuint(bh_capture_reader_schema(c), ==, 3);
}

static void large_records_and_marks_without_records(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhRecorderLimits limits = small_limits();
        g_autofree guint8 *big = g_malloc(3 << 20), *out = g_malloc(BH_RECORDER_MARK_MAX);
        BhRecorderRecovery found;
        BhRecorderStats stats;
        BhRecorder *r;
        BhRecord rec;
        guint32 len;

        limits.max_bytes = 16 << 20;
        must_open(&r, dir, &limits, NULL);
        for (guint32 i = 0; i < 3u << 20; i++)
                big[i] = (guint8) g_random_int();
        bh_recorder_mark(r, "before", 6);
        g_assert_true(bh_recorder_append(r, 1, 2, 3, big, 3 << 20));
        g_assert_true(bh_recorder_append(r, 1, 2, 4, NULL, 0));
        g_assert_false(bh_recorder_append(r, 1, 2, 5, big, 4 << 20)); /* max_bytes / 4 */
        g_assert_true(bh_recorder_flush(r, TRUE));
        bh_recorder_mark(r, "after", 5);
        g_assert_true(bh_recorder_flush(r, TRUE));
        g_assert_true(bh_recorder_durable_mark(r, out, &len));
        g_assert_cmpmem(out, len, "after", 5);
        bh_recorder_stats(r, &stats);
        g_assert_cmpuint(stats.lost[BH_RECORDER_LOST_TOO_LARGE], ==, 1);
        bh_recorder_free(r);

        g_autoptr(BhRecorderQuery) q = bh_recorder_query(dir, 0, 0, BH_RECORDER_ANY, 0, NULL);
        g_assert_true(bh_recorder_query_next(q, &rec));
        g_assert_cmpmem(rec.data, rec.len, big, 3 << 20);
        g_assert_true(bh_recorder_query_next(q, &rec));
        g_assert_cmpuint(rec.len, ==, 0);
        g_assert_false(bh_recorder_query_next(q, &rec));

        must_open(&r, dir, &limits, &found);
        g_assert_cmpmem(found.mark, found.mark_len, "after", 5);
        g_assert_cmpuint(found.unmarked_records, ==, 0);
        bh_recorder_free(r);
}

static void timer_writes_without_another_append(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhRecorderLimits limits = small_limits();
        guint8 mark[BH_RECORDER_MARK_MAX];
        guint32 len = 0;
        BhRecorder *r;

        limits.flush_ms = 50;
        must_open(&r, dir, &limits, NULL);
        g_assert_true(append(r, 1));
        bh_recorder_mark(r, "m1", 2);
        gint64 begin = g_get_monotonic_time();
        while (!bh_recorder_durable_mark(r, mark, &len)) {
                g_assert_cmpint(g_get_monotonic_time() - begin, <, 5 * G_USEC_PER_SEC);
                g_usleep(1000);
        }
        g_assert_cmpmem(mark, len, "m1", 2);
        g_assert_cmpint(g_get_monotonic_time() - begin, >=, 40000);
        g_assert_cmpuint(count_all(dir, NULL, NULL), ==, 1);
        bh_recorder_free(r);
}

static void index_skips_blocks(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhRecorderLimits limits = small_limits();
        BhRecorderQueryStats all, some;
        BhRecorder *r;

        limits.segment_bytes = 128 << 10;
        must_open(&r, dir, &limits, NULL);
        for (guint64 seq = 1; seq <= 8000; seq++)
                g_assert_true(append(r, seq));
        g_assert_true(bh_recorder_flush(r, TRUE));

        /* Twice: with the last segment open (no index there), and all closed. */
        for (int closed = 0; closed < 2; closed++) {
                if (closed)
                        bh_recorder_free(r);
                g_assert_cmpuint(count_all(dir, NULL, &all), ==, 8000);
                g_assert_cmpuint(all.blocks_skipped, ==, 0);
                g_assert_cmpuint(all.blocks_read, >, 100);

                g_assert_cmpuint(count_query(dir, TIME(4000), TIME(4099), BH_RECORDER_ANY, 0, NULL, &some), ==, 100);
                g_assert_cmpuint(some.blocks_read, <=, 6);
                g_assert_cmpuint(some.blocks_read + some.blocks_skipped, ==, all.blocks_read);
                g_assert_cmpuint(some.segments_skipped, >, 0);

                g_assert_cmpuint(count_query(dir, 0, 0, 5, 0, NULL, &some), ==, 1000);
                g_assert_cmpuint(some.blocks_read, <, all.blocks_read / 2);
                g_assert_cmpuint(some.blocks_read + some.blocks_skipped, ==, all.blocks_read);
                g_assert_cmpuint(count_query(dir, 0, 0, BH_RECORDER_HOST, 0, NULL, &some), ==, 1000);
                g_assert_cmpuint(count_query(dir, 0, 0, 99, 0, NULL, &some), ==, 0);
                g_assert_cmpuint(some.blocks_read, ==, 0);

                g_assert_cmpuint(count_query(dir, 0, 0, BH_RECORDER_ANY, 7951, NULL, &some), ==, 50);
                g_assert_cmpuint(some.blocks_read, <=, 4);
        }
}

static void many_containers_use_a_filter(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhRecorderLimits limits = small_limits();
        BhRecorder *r;
        BhRecord rec;
        guint read = 0;

        limits.block_bytes = 256 << 10;
        must_open(&r, dir, &limits, NULL);
        for (guint64 seq = 0; seq < 900; seq++)
                g_assert_true(bh_recorder_append(r, 1, seq + 1, seq, "x", 1));
        bh_recorder_free(r);
        for (guint64 c = 1; c <= 900; c += 7) {
                g_autoptr(BhRecorderQuery) q = bh_recorder_query(dir, 0, 0, c, 0, NULL);

                g_assert_true(bh_recorder_query_next(q, &rec));
                g_assert_cmpuint(rec.container, ==, c);
                g_assert_false(bh_recorder_query_next(q, &rec));
        }
        for (guint64 c = 10000; c < 10200; c++) {
                g_autoptr(BhRecorderQuery) q = bh_recorder_query(dir, 0, 0, c, 0, NULL);

                g_assert_false(bh_recorder_query_next(q, &rec));
                read += (guint) bh_recorder_query_stats(q)->blocks_read;
        }
        g_assert_cmpuint(read, <, 10); /* expected: 0.3 % of 200 */
}

static void size_bound_holds(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhRecorderLimits limits = small_limits();
        BhRecorderStats stats;
        BhRecorder *r;
        guint64 last;

        limits.max_bytes = 256 << 10;
        limits.segment_bytes = 32 << 10;
        must_open(&r, dir, &limits, NULL);
        for (guint64 seq = 1; seq <= 20000; seq++) {
                g_assert_true(append(r, seq));
                if (seq % 1000 == 0) {
                        g_assert_true(bh_recorder_flush(r, TRUE));
                        g_assert_cmpuint(bytes_on_disk(dir), <=, limits.max_bytes);
                }
        }
        bh_recorder_stats(r, &stats);
        guint64 n = count_all(dir, &last, NULL);
        g_assert_cmpuint(last, ==, 20000);
        g_assert_cmpuint(stats.dropped_segments, >, 0);
        g_assert_cmpuint(stats.dropped_records + n, ==, 20000);
        g_assert_cmpuint(stats.bytes, ==, bytes_on_disk(dir));
        g_assert_cmpuint(stats.bytes, >, limits.max_bytes / 2);
        bh_recorder_free(r);
        g_assert_cmpuint(bytes_on_disk(dir), <=, limits.max_bytes);
}

static void age_bound_holds(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhRecorderLimits limits = small_limits();
        guint64 now = (guint64) g_get_real_time() * 1000, hour = G_GUINT64_CONSTANT(3600000000000);
        BhRecorderStats stats;
        BhRecorder *r;
        BhRecord rec;

        must_open(&r, dir, &limits, NULL);
        g_assert_true(bh_recorder_append(r, now - 3 * hour, 1, 1, "old", 3));
        bh_recorder_free(r);
        must_open(&r, dir, &limits, NULL);
        g_assert_true(bh_recorder_append(r, now - hour, 1, 2, "new", 3));
        bh_recorder_free(r);

        limits.max_age_s = 2 * 3600;
        must_open(&r, dir, &limits, NULL);
        bh_recorder_stats(r, &stats);
        g_assert_cmpuint(stats.dropped_segments, ==, 1);
        g_assert_cmpuint(stats.dropped_records, ==, 1);
        g_autoptr(BhRecorderQuery) q = bh_recorder_query(dir, 0, 0, BH_RECORDER_ANY, 0, NULL);
        g_assert_true(bh_recorder_query_next(q, &rec));
        g_assert_cmpuint(rec.seq, ==, 2);
        g_assert_false(bh_recorder_query_next(q, &rec));
        bh_recorder_free(r);

        /* And while it runs: closed by its age, then dropped. */
        limits.max_age_s = 1;
        must_open(&r, dir, &limits, NULL);
        g_assert_true(bh_recorder_append(r, (guint64) g_get_real_time() * 1000, 1, 3, "now", 3));
        g_assert_true(bh_recorder_flush(r, TRUE));
        gint64 begin = g_get_monotonic_time();
        do {
                g_assert_cmpint(g_get_monotonic_time() - begin, <, 10 * G_USEC_PER_SEC);
                g_usleep(20000);
                bh_recorder_stats(r, &stats);
        } while (stats.segments);
        g_assert_cmpuint(stats.dropped_records, ==, 2);
        g_assert_cmpuint(bytes_on_disk(dir), ==, 0);
        bh_recorder_free(r);
}

static guint64 ahead_ns;

static guint64 wall(void) {
        return (guint64) g_get_real_time() * 1000 + ahead_ns;
}

static void a_clock_that_jumps_ahead_deletes_nothing(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhRecorderLimits limits = small_limits();
        guint64 years = G_GUINT64_CONSTANT(10) * 366 * 86400 * 1000000000;
        BhRecorderStats stats;
        BhRecorder *r;

        limits.max_age_s = 2 * 3600;
        limits.wall = wall;
        ahead_ns = 0;
        must_open(&r, dir, &limits, NULL);
        g_assert_true(bh_recorder_append(r, wall(), 1, 1, "before", 6));
        bh_recorder_free(r);

        must_open(&r, dir, &limits, NULL);
        bh_recorder_stats(r, &stats);
        g_assert_false(stats.clock_distrusted);
        ahead_ns = years;
        g_assert_true(bh_recorder_append(r, wall(), 1, 2, "while", 5));
        g_assert_true(bh_recorder_flush(r, TRUE));
        gint64 begin = g_get_monotonic_time();
        do { /* the worker looks at ages by itself */
                g_assert_cmpint(g_get_monotonic_time() - begin, <, 10 * G_USEC_PER_SEC);
                g_usleep(20000);
                bh_recorder_stats(r, &stats);
        } while (!stats.clock_distrusted);
        g_assert_cmpuint(stats.dropped_segments, ==, 0);

        /* It is put right, which needs no restart. */
        ahead_ns = 0;
        do {
                g_assert_cmpint(g_get_monotonic_time() - begin, <, 20 * G_USEC_PER_SEC);
                g_usleep(20000);
                bh_recorder_stats(r, &stats);
        } while (stats.clock_distrusted);
        g_assert_cmpuint(stats.dropped_segments, ==, 0);
        bh_recorder_free(r);
        g_autoptr(BhRecorderQuery) q = bh_recorder_query(dir, 0, 0, BH_RECORDER_ANY, 0, NULL);
        BhRecord rec;
        for (guint64 seq = 1; seq <= 2; seq++) {
                g_assert_true(bh_recorder_query_next(q, &rec));
                g_assert_cmpuint(rec.seq, ==, seq);
        }
        g_assert_false(bh_recorder_query_next(q, &rec));

        /* A start accepts the clock as it is: what is too old by it goes. */
        ahead_ns = years;
        must_open(&r, dir, &limits, NULL);
        bh_recorder_stats(r, &stats);
        g_assert_false(stats.clock_distrusted);
        g_assert_cmpuint(stats.dropped_segments, >=, 1);
        bh_recorder_free(r);
}

/* A directory with one segment that was never closed, of `blocks` blocks, the last of which begins at *last_block. */
static guint8 *open_segment(const char *dir, guint blocks, gsize *len, gsize *last_block, guint64 *records_before_last) {
        BhRecorderLimits limits = small_limits();
        BhRecorder *r;
        guint64 seq = 0;
        char *bytes;

        must_open(&r, dir, &limits, NULL);
        for (guint b = 0; b < blocks; b++) {
                g_autofree char *path = segment_path(dir, 0);
                struct stat st = { 0 };

                if (path)
                        g_assert_cmpint(stat(path, &st), ==, 0);
                *last_block = (gsize) st.st_size;
                *records_before_last = seq;
                for (guint i = 0; i < 4; i++)
                        g_assert_true(append(r, ++seq));
                char mark[32];
                bh_recorder_mark(r, mark, (guint32) g_snprintf(mark, sizeof(mark), "mark-%u", b));
                g_assert_true(bh_recorder_flush(r, TRUE));
        }
        g_autofree char *path = segment_path(dir, 0);
        g_assert_true(g_file_get_contents(path, &bytes, len, NULL));
        bh_recorder_free(r);
        g_assert_cmpint(g_unlink(path), ==, 0);
        return (guint8 *) bytes;
}

static char *put_segment(const char *dir, const void *data, gsize len) {
        char *path = g_build_filename(dir, "0000000000000001-0000000001.bhr", NULL);

        g_assert_true(g_file_set_contents(path, data, (gssize) len, NULL));
        return path;
}

/* What is recorded behind the jump grows old as well. */
static void after_a_jump_what_comes_next_ages(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhRecorderLimits limits = small_limits();
        BhRecorderStats stats;
        BhRecorder *r;

        limits.max_age_s = 1;
        limits.wall = wall;
        ahead_ns = 0;
        must_open(&r, dir, &limits, NULL);
        ahead_ns = G_GUINT64_CONSTANT(10) * 366 * 86400 * 1000000000;
        g_assert_true(bh_recorder_append(r, wall(), 1, 1, "behind", 6));
        g_assert_true(bh_recorder_flush(r, TRUE));
        gint64 begin = g_get_monotonic_time();
        do {
                g_assert_cmpint(g_get_monotonic_time() - begin, <, 20 * G_USEC_PER_SEC);
                g_usleep(20000);
                bh_recorder_stats(r, &stats);
        } while (!stats.dropped_records);
        bh_recorder_free(r);
        ahead_ns = 0;
}

static void torn_tail_is_cut_at_every_byte(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhRecorderLimits limits = small_limits();
        gsize len, last_block;
        guint64 before, last;
        g_autofree guint8 *bytes = open_segment(dir, 3, &len, &last_block, &before);

        g_assert_cmpuint(before, ==, 8);
        for (gsize cut = last_block; cut <= len; cut++) {
                g_autofree char *path = put_segment(dir, bytes, cut);
                gboolean whole = cut == len;
                BhRecorderRecovery found;
                BhRecorderQueryStats qs;
                BhRecorder *r;

                /* A reader that comes before the recovery sees the same. */
                g_assert_cmpuint(count_all(dir, NULL, &qs), ==, whole ? 12 : 8);
                g_assert_cmpuint(qs.torn_bytes, ==, whole ? 0 : cut - last_block);
                g_assert_cmpuint(qs.damaged_bytes, ==, 0);

                must_open(&r, dir, &limits, &found);
                g_assert_cmpuint(found.cut_bytes, ==, whole ? 0 : cut - last_block);
                g_assert_cmpuint(found.recovered_segments, ==, 1);
                g_assert_cmpuint(found.records, ==, whole ? 12 : 8);
                g_assert_cmpmem(found.mark, found.mark_len, whole ? "mark-2" : "mark-1", 6);
                g_assert_cmpuint(found.unmarked_records, ==, 0);
                g_assert_true(append(r, 100));
                bh_recorder_free(r);
                g_assert_cmpuint(count_all(dir, &last, &qs), ==, whole ? 13 : 9);
                g_assert_cmpuint(last, ==, 100);
                g_assert_cmpuint(qs.torn_bytes + qs.damaged_bytes, ==, 0);
                g_assert_cmpuint(count_query(dir, TIME(5), TIME(6), BH_RECORDER_ANY, 0, NULL, NULL), ==, 2); /* the new index is right */
                g_autofree char *second = segment_path(dir, 1);
                g_unlink(second);
                g_unlink(path);
        }
}

static void damage_in_the_middle_is_skipped_and_told(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhRecorderLimits limits = small_limits();
        gsize len, last_block;
        guint64 before;
        g_autofree guint8 *bytes = open_segment(dir, 5, &len, &last_block, &before);
        BhRecorderRecovery found;
        BhRecorderQueryStats qs;
        BhRecorder *r;
        BhBlock b;
        gsize need, second;

        g_assert_cmpint(bh_block_parse(bytes + sizeof(BhFileHeader), len, ((BhFileHeader *) (void *) bytes)->salt, sizeof(BhFileHeader),
                                       &b, &need), ==, BH_PARSE_OK);
        second = sizeof(BhFileHeader) + b.head_len + b.f.stored_bytes;
        memset(bytes + second + 20, 0xff, 40); /* its header */
        g_free(put_segment(dir, bytes, len));
        g_assert_cmpuint(count_all(dir, NULL, &qs), ==, 16);
        g_assert_cmpuint(qs.damaged_regions, ==, 1);
        must_open(&r, dir, &limits, &found);
        g_assert_cmpuint(found.cut_bytes, ==, 0);
        g_assert_cmpuint(found.damaged_bytes, ==, qs.damaged_bytes);
        g_assert_cmpuint(found.records, ==, 16);
        bh_recorder_free(r);
        g_assert_cmpuint(count_all(dir, NULL, &qs), ==, 16);
        g_assert_cmpuint(count_query(dir, TIME(9), TIME(12), BH_RECORDER_ANY, 0, NULL, NULL), ==, 4);
}

/* An attacker chooses what is in records; a block within one must not be taken for a block of the file. */
static void block_inside_a_damaged_record_is_not_believed(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autofree char *path = g_build_filename(dir, "c.bhr", NULL);
        BhBlockEncoder enc;
        guint8 raw[64];
        static guint8 noise[100000]; /* so large that zstd finds it not worth while to compress */
        BhRecordHead h = { .len = 6, .seq = 666 };

        memcpy(raw, &h, sizeof(h));
        memcpy(raw + sizeof(h), "forged", 6);
        bh_block_encoder_init(&enc, 1);
        bh_block_pack(&enc, BH_BLOCK_RECORDS, raw, sizeof(h) + 6, 0, NULL, 0, 0, 0);
        for (gsize i = 0; i < sizeof(noise); i++)
                noise[i] = (guint8) g_random_int();
        gsize at = 1000;
        guint64 offset = sizeof(BhFileHeader) + sizeof(BhBlockFixed) + 8 + sizeof(BhRecordHead) + at;
        bh_block_seal(&enc, 0x1234, offset, 0);
        memcpy(noise + at, enc.out, enc.out_len);

        BhCaptureWriter *w = bh_capture_writer_new(path, NULL, 1, NULL);
        g_assert_true(bh_capture_writer_append(w, 1, 1, 1, noise, sizeof(noise), NULL));
        g_assert_true(bh_capture_writer_finish(w, NULL));
        bh_capture_writer_free(w);
        bh_block_encoder_clear(&enc);

        g_auto(BhFd) fd = open(path, O_RDWR);
        guint8 there[8];
        g_assert_cmpint(pread(fd, there, 8, (off_t) offset), ==, 8);
        g_assert_cmpmem(there, 8, BH_BLOCK_MAGIC, 8); /* the test is about what it says */
        g_assert_cmpint(pwrite(fd, "XXXX", 4, sizeof(BhFileHeader)), ==, 4);

        g_autoptr(BhCaptureReader) c = bh_capture_reader_new(path, NULL);
        g_autoptr(GError) error = NULL;
        BhRecord rec;
        g_assert_false(bh_capture_reader_next(c, &rec, &error));
        g_assert_error(error, BH_RECORDER_ERROR, BH_RECORDER_ERROR_CORRUPT);
        g_assert_false(bh_capture_reader_next(c, &rec, NULL));
}

static void corrupt_bytes_never_give_a_wrong_record(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhRecorderLimits limits = small_limits();
        g_autofree char *bytes = NULL;
        gsize len;
        BhRecorder *r;

        must_open(&r, dir, &limits, NULL);
        for (guint64 seq = 1; seq <= 12; seq++) {
                g_assert_true(append(r, seq));
                if (seq % 4 == 0) {
                        bh_recorder_mark(r, &seq, sizeof(seq));
                        g_assert_true(bh_recorder_flush(r, TRUE));
                }
        }
        bh_recorder_free(r);
        g_autofree char *path = segment_path(dir, 0);
        g_assert_true(g_file_get_contents(path, &bytes, &len, NULL));
        g_auto(BhFd) fd = open(path, O_RDWR);

        for (gsize i = 0; i < len; i++) {
                for (int bit = 0; bit < 3; bit++) {
                        guint8 bad = (guint8) (bytes[i] ^ (bit == 0 ? 0x01 : bit == 1 ? 0x80 : 0xff));
                        guint64 n = 0, errors = 0, before = 0;
                        BhRecorderQueryStats qs;
                        BhRecord rec;

                        g_assert_cmpint(pwrite(fd, &bad, 1, (off_t) i), ==, 1);

                        guint64 q = count_all(dir, NULL, &qs); /* checks each record */
                        g_assert_cmpuint(q, >=, 8);
                        g_assert_true(q == 12 || qs.damaged_bytes + qs.torn_bytes);
                        g_assert_cmpuint(count_query(dir, TIME(2), TIME(11), BH_RECORDER_ANY, 0, NULL, NULL), >=, 6);

                        g_autoptr(GError) error = NULL;
                        g_autoptr(BhCaptureReader) c = bh_capture_reader_new(path, &error);
                        g_assert_true(!c == !!error);
                        while (c) {
                                g_autoptr(GError) e = NULL;
                                if (bh_capture_reader_next(c, &rec, &e)) {
                                        g_assert_true(is_genuine(&rec));
                                        g_assert_cmpuint(rec.seq, >, before);
                                        before = rec.seq;
                                        n++;
                                } else if (e) {
                                        errors++;
                                } else {
                                        break;
                                }
                        }
                        if (c)
                                g_assert_true(n == 12 ? TRUE : n >= 8 && errors);
                        if (c && i < len - sizeof(BhTrailer) - 1 && n == 12)
                                g_assert_cmpuint(qs.blocks_read, ==, 3); /* only the index was hit */
                }
                g_assert_cmpint(pwrite(fd, bytes + i, 1, (off_t) i), ==, 1);
        }
        g_assert_cmpuint(count_all(dir, NULL, NULL), ==, 12);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/recorder/records_come_back_in_order", records_come_back_in_order);
        g_test_add_func("/recorder/large_records_and_marks_without_records", large_records_and_marks_without_records);
        g_test_add_func("/recorder/timer_writes_without_another_append", timer_writes_without_another_append);
        g_test_add_func("/recorder/index_skips_blocks", index_skips_blocks);
        g_test_add_func("/recorder/many_containers_use_a_filter", many_containers_use_a_filter);
        g_test_add_func("/recorder/size_bound_holds", size_bound_holds);
        g_test_add_func("/recorder/age_bound_holds", age_bound_holds);
        g_test_add_func("/recorder/a_clock_that_jumps_ahead_deletes_nothing", a_clock_that_jumps_ahead_deletes_nothing);
        g_test_add_func("/recorder/after_a_jump_what_comes_next_ages", after_a_jump_what_comes_next_ages);
        g_test_add_func("/recorder/torn_tail_is_cut_at_every_byte", torn_tail_is_cut_at_every_byte);
        g_test_add_func("/recorder/damage_in_the_middle_is_skipped_and_told", damage_in_the_middle_is_skipped_and_told);
        g_test_add_func("/recorder/block_inside_a_damaged_record_is_not_believed", block_inside_a_damaged_record_is_not_believed);
        g_test_add_func("/recorder/corrupt_bytes_never_give_a_wrong_record", corrupt_bytes_never_give_a_wrong_record);
        return g_test_run();
}

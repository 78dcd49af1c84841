/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fdio.h"
#include "recorder/capture.h"
#include "recorder/format.h"
#include "recorder/query.h"
#include "recorder/store.h"

/*
 * Every record of these tests is a function of its seq: whatever a reader returns can be checked without knowing what was
 * appended. T0 keeps times plausible.
 */
#define T0 (G_GUINT64_CONSTANT(1800000000) * 1000000000u)
#define TIME(seq) (T0 + (seq) * G_GUINT64_CONSTANT(1000000))
#define CONTAINER(seq) ((seq) / 50 % 8) /* runs of one container, some of them the host (0) */

static guint32 make_record(guint64 seq, guint8 *out) {
        guint32 len = 20 + (guint32) (seq * 7 % 180);
        guint64 x = seq * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15) + 1;

        for (guint32 i = 0; i < len; i++) {
                if (i % 16 == 0)
                        x ^= x >> 29, x *= G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
                out[i] = (guint8) (x >> (i % 8 * 8));
        }
        return len;
}

static gboolean append(BhRecorder *r, guint64 seq) {
        guint8 data[256];
        guint32 len = make_record(seq, data);

        return bh_recorder_append(r, TIME(seq), CONTAINER(seq), seq, data, len);
}

static gboolean is_genuine(const BhRecord *rec) {
        guint8 data[256];
        guint32 len = make_record(rec->seq, data);

        return rec->len == len && memcmp(rec->data, data, len) == 0 && rec->time_ns == TIME(rec->seq) &&
               rec->container == CONTAINER(rec->seq);
}

static void must_open(BhRecorder **r, const char *dir, const BhRecorderLimits *limits, BhRecorderRecovery *found) {
        g_autoptr(GError) error = NULL;

        *r = bh_recorder_open(dir, limits, found, &error);
        g_assert_no_error(error);
        g_assert_nonnull(*r);
}

static BhRecorderLimits small_limits(void) {
        BhRecorderLimits l;

        bh_recorder_limits_init(&l);
        l.max_age_s = 0;
        l.block_bytes = 4096;
        l.reserve_bytes = 0;
        l.sync_s = 0;
        l.wait_ms = 5000;
        l.node = "node-1";
        l.schema = 3;
        return l;
}

static void remove_dir(char *dir) {
        if (!dir)
                return;
        GDir *d = g_dir_open(dir, 0, NULL);
        for (const char *n; d && (n = g_dir_read_name(d));) {
                g_autofree char *p = g_build_filename(dir, n, NULL);

                g_unlink(p);
        }
        if (d)
                g_dir_close(d);
        g_rmdir(dir);
        g_free(dir);
}

typedef char TempDir;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TempDir, remove_dir)

static char *temp_dir(void) {
        char *dir = g_dir_make_tmp("bulkhead-recorder-XXXXXX", NULL);

        g_assert_nonnull(dir);
        return dir;
}

/* The n-th segment's path, or NULL. Negative: from the end. */
static char *segment_path(const char *dir, int n) {
        g_auto(BhFd) fd = open(dir, O_RDONLY | O_DIRECTORY);
        g_autoptr(GArray) names = bh_segment_list(fd, dir, NULL);

        if (n < 0)
                n += (int) names->len;
        if (n < 0 || n >= (int) names->len)
                return NULL;
        return g_build_filename(dir, g_array_index(names, BhSegmentName, n).name, NULL);
}

static guint64 bytes_on_disk(const char *dir) {
        guint64 sum = 0;
        char *p;

        for (int i = 0; (p = segment_path(dir, i)); i++) {
                struct stat st;

                if (stat(p, &st) == 0)
                        sum += (guint64) st.st_size;
                g_free(p);
        }
        return sum;
}

/* Reads with a filter; each record must be genuine, match, and come in order. Returns how many. */
static guint64 count_query(const char *path, guint64 from, guint64 to, guint64 container, guint64 from_seq, guint64 *last,
                           BhRecorderQueryStats *stats) {
        g_autoptr(GError) error = NULL;
        g_autoptr(BhRecorderQuery) q = bh_recorder_query(path, from, to, container, from_seq, &error);
        guint64 n = 0, before = 0;
        BhRecord rec;

        g_assert_no_error(error);
        while (bh_recorder_query_next(q, &rec)) {
                g_assert_true(is_genuine(&rec));
                g_assert_true(!n || rec.seq > before);
                g_assert_cmpuint(rec.seq, >=, from_seq);
                g_assert_cmpuint(rec.time_ns, >=, from);
                g_assert_true(!to || rec.time_ns <= to);
                if (container != BH_RECORDER_ANY)
                        g_assert_cmpuint(rec.container, ==, container == BH_RECORDER_HOST ? 0 : container);
                before = rec.seq;
                n++;
        }
        if (last)
                *last = before;
        if (stats)
                *stats = *bh_recorder_query_stats(q);
        return n;
}

static guint64 count_all(const char *path, guint64 *last, BhRecorderQueryStats *stats) {
        return count_query(path, 0, 0, BH_RECORDER_ANY, 0, last, stats);
}

/* ---- */

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

/* ---- */


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
        g_test_add_func("/recorder/records_come_back_in_order", records_come_back_in_order);
        g_test_add_func("/recorder/large_records_and_marks_without_records", large_records_and_marks_without_records);
        g_test_add_func("/recorder/timer_writes_without_another_append", timer_writes_without_another_append);
        g_test_add_func("/recorder/index_skips_blocks", index_skips_blocks);
        g_test_add_func("/recorder/many_containers_use_a_filter", many_containers_use_a_filter);
        g_test_add_func("/recorder/size_bound_holds", size_bound_holds);
        g_test_add_func("/recorder/age_bound_holds", age_bound_holds);
        g_test_add_func("/recorder/torn_tail_is_cut_at_every_byte", torn_tail_is_cut_at_every_byte);
        g_test_add_func("/recorder/damage_in_the_middle_is_skipped_and_told", damage_in_the_middle_is_skipped_and_told);
        g_test_add_func("/recorder/block_inside_a_damaged_record_is_not_believed", block_inside_a_damaged_record_is_not_believed);
        g_test_add_func("/recorder/corrupt_bytes_never_give_a_wrong_record", corrupt_bytes_never_give_a_wrong_record);
        g_test_add_func("/recorder/killed_recorder_keeps_what_it_called_durable", killed_recorder_keeps_what_it_called_durable);
        g_test_add_func("/recorder/full_disk_is_counted_and_left_behind", full_disk_is_counted_and_left_behind);
        g_test_add_func("/recorder/full_queue_is_counted", full_queue_is_counted);
        g_test_add_func("/recorder/deleted_segment_is_noticed", deleted_segment_is_noticed);
        g_test_add_func("/recorder/readers_and_the_writer_do_not_disturb_each_other", readers_and_the_writer_do_not_disturb_each_other);
        g_test_add_func("/recorder/second_recorder_names_the_first", second_recorder_names_the_first);
        g_test_add_func("/recorder/capture_goes_through_a_pipe", capture_goes_through_a_pipe);
        g_test_add_func("/recorder/capture_errors_say_what_is_wrong", capture_errors_say_what_is_wrong);
        g_test_add_func("/recorder/speed", speed);
        return g_test_run();
}

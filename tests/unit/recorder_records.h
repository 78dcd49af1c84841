/* SPDX-License-Identifier: Apache-2.0 */
/* Records whose content follows from their number, and directories to keep them in: shared by the tests of the recorder. */
#pragma once
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
#include "recorder/segments.h"

/*
 * Every record of these tests is a function of its seq: whatever a reader returns can be checked without knowing what was
 * appended. T0 keeps times plausible.
 */
#define T0 (G_GUINT64_CONSTANT(1800000000) * 1000000000u)
#define TIME(seq) (T0 + (seq) * G_GUINT64_CONSTANT(1000000))
#define CONTAINER(seq) ((seq) / 50 % 8) /* runs of one container, some of them the host (0) */

static G_GNUC_UNUSED guint32 make_record(guint64 seq, guint8 *out) {
        guint32 len = 20 + (guint32) (seq * 7 % 180);
        guint64 x = seq * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15) + 1;

        for (guint32 i = 0; i < len; i++) {
                if (i % 16 == 0)
                        x ^= x >> 29, x *= G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
                out[i] = (guint8) (x >> (i % 8 * 8));
        }
        return len;
}

static G_GNUC_UNUSED gboolean append(BhRecorder *r, guint64 seq) {
        guint8 data[256];
        guint32 len = make_record(seq, data);

        return bh_recorder_append(r, TIME(seq), CONTAINER(seq), seq, data, len);
}

static G_GNUC_UNUSED gboolean is_genuine(const BhRecord *rec) {
        guint8 data[256];
        guint32 len = make_record(rec->seq, data);

        return rec->len == len && memcmp(rec->data, data, len) == 0 && rec->time_ns == TIME(rec->seq) &&
               rec->container == CONTAINER(rec->seq);
}

static G_GNUC_UNUSED void must_open(BhRecorder **r, const char *dir, const BhRecorderLimits *limits, BhRecorderRecovery *found) {
        g_autoptr(GError) error = NULL;

        *r = bh_recorder_open(dir, limits, found, &error);
        g_assert_no_error(error);
        g_assert_nonnull(*r);
}

static G_GNUC_UNUSED BhRecorderLimits small_limits(void) {
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

static G_GNUC_UNUSED void remove_dir(char *dir) {
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

static G_GNUC_UNUSED char *temp_dir(void) {
        char *dir = g_dir_make_tmp("bulkhead-recorder-XXXXXX", NULL);

        g_assert_nonnull(dir);
        return dir;
}

/* The n-th segment's path, or NULL. Negative: from the end. */
static G_GNUC_UNUSED char *segment_path(const char *dir, int n) {
        g_auto(BhFd) fd = open(dir, O_RDONLY | O_DIRECTORY);
        g_autoptr(GArray) names = bh_segment_list(fd, dir, NULL);

        if (n < 0)
                n += (int) names->len;
        if (n < 0 || n >= (int) names->len)
                return NULL;
        return g_build_filename(dir, g_array_index(names, BhSegmentName, n).name, NULL);
}

static G_GNUC_UNUSED guint64 bytes_on_disk(const char *dir) {
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
static G_GNUC_UNUSED guint64 count_query(const char *path, guint64 from, guint64 to, guint64 container, guint64 from_seq, guint64 *last,
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

static G_GNUC_UNUSED guint64 count_all(const char *path, guint64 *last, BhRecorderQueryStats *stats) {
        return count_query(path, 0, 0, BH_RECORDER_ANY, 0, last, stats);
}


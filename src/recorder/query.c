/* SPDX-License-Identifier: Apache-2.0 */
#include "recorder/query.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fdio.h"
#include "recorder/reader.h"
#include "recorder/segments.h"

struct BhRecorderQuery {
        int dirfd; /* -1: a single file */
        GArray *names; /* BhSegmentName, in order of number */
        guint next;
        int fd; /* of the file being read, -1 = none */
        BhReader reader;
        BhFilter filter;
        BhRecorderQueryStats stats;
};

static void close_file(BhRecorderQuery *q) {
        if (q->fd < 0)
                return;
        q->stats.blocks_read += q->reader.blocks_read;
        q->stats.blocks_skipped += q->reader.blocks_skipped;
        q->stats.lost += q->reader.lost;
        bh_reader_clear(&q->reader);
        bh_fd_clear(&q->fd);
}

/* Takes `fd`. FALSE with an error if it is not readable as a segment; TRUE with q->fd == -1 if nothing in it can match. */
static gboolean open_file(BhRecorderQuery *q, int fd, const char *name, GError **error) {
        struct stat st;
        gboolean all = q->filter.from_ns == 0 && q->filter.to_ns == G_MAXUINT64 && q->filter.from_seq == 0 && q->filter.container == 0;

        q->fd = fd;
        bh_reader_init(&q->reader, fd, fstat(fd, &st) == 0 && S_ISREG(st.st_mode));
        q->reader.filter = q->filter;
        if (!bh_reader_open(&q->reader, name, error)) {
                close_file(q);
                return FALSE;
        }
        if (!all && q->reader.seekable) {
                bh_reader_load_trailer(&q->reader, TRUE);
                if (q->reader.closed && !bh_filter_trailer(&q->filter, &q->reader.trailer)) {
                        q->stats.segments_skipped++;
                        q->stats.blocks_skipped += q->reader.trailer.blocks;
                        close_file(q);
                        return TRUE;
                }
        }
        q->stats.segments_read++;
        return TRUE;
}

BhRecorderQuery *bh_recorder_query(const char *path, guint64 from_ns, guint64 to_ns, guint64 container, guint64 from_seq,
                                   GError **error) {
        g_auto(BhFd) fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0) {
                g_set_error(error, BH_RECORDER_ERROR, BH_RECORDER_ERROR_IO, "cannot open %s: %s", path, g_strerror(errno));
                return NULL;
        }

        g_autoptr(BhRecorderQuery) q = g_new0(BhRecorderQuery, 1);
        q->dirfd = q->fd = -1;
        q->filter = (BhFilter) { .from_ns = from_ns, .to_ns = to_ns ? to_ns : G_MAXUINT64, .container = container, .from_seq = from_seq };
        if (!S_ISDIR(st.st_mode))
                return open_file(q, bh_fd_steal(&fd), path, error) ? g_steal_pointer(&q) : NULL;
        q->dirfd = bh_fd_steal(&fd);
        q->names = bh_segment_list(q->dirfd, path, error);
        return q->names ? g_steal_pointer(&q) : NULL;
}

gboolean bh_recorder_query_next(BhRecorderQuery *q, BhRecord *out) {
        for (;;) {
                if (q->fd < 0) {
                        if (!q->names || q->next == q->names->len)
                                return FALSE;
                        const char *name = g_array_index(q->names, BhSegmentName, q->next++).name;
                        int fd = openat(q->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
                        if (fd < 0 && errno == ENOENT)
                                q->stats.segments_gone++;
                        else if (fd < 0 || !open_file(q, fd, name, NULL))
                                q->stats.segments_unreadable++;
                        continue;
                }
                switch (bh_reader_record(&q->reader, out)) {
                case BH_READ_OK:
                        return TRUE;
                case BH_READ_DAMAGE:
                        q->stats.damaged_regions++;
                        q->stats.damaged_bytes += q->reader.damage_bytes;
                        break;
                case BH_READ_TORN:
                        q->stats.torn_bytes += q->reader.torn_bytes;
                        close_file(q);
                        break;
                case BH_READ_FAILED:
                        q->stats.segments_unreadable++;
                        close_file(q);
                        break;
                case BH_READ_END:
                case BH_READ_OPEN:
                        close_file(q);
                        break;
                }
        }
}

const BhRecorderQueryStats *bh_recorder_query_stats(const BhRecorderQuery *q) {
        return &q->stats;
}

void bh_recorder_query_free(BhRecorderQuery *q) {
        if (!q)
                return;
        close_file(q);
        if (q->dirfd >= 0)
                close(q->dirfd);
        if (q->names)
                g_array_unref(q->names);
        g_free(q);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "recorder/segments.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "base/fdio.h"
#include "recorder/reader.h"

#define JUMP_NS G_GUINT64_CONSTANT(3600000000000)

static guint64 now_ns(const BhSegments *s) {
        return s->limits.wall ? s->limits.wall() : (guint64) g_get_real_time() * 1000;
}

/* Suspended time counts. */
static guint64 boot_ns(void) {
        struct timespec t;

        clock_gettime(CLOCK_BOOTTIME, &t);
        return (guint64) t.tv_sec * 1000000000 + (guint64) t.tv_nsec;
}

/* ---- names */

static gint by_number(gconstpointer a, gconstpointer b) {
        guint64 x = ((const BhSegmentName *) a)->number, y = ((const BhSegmentName *) b)->number;

        return x < y ? -1 : x > y;
}

GArray *bh_segment_list(int dirfd, const char *dir, GError **error) {
        int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd < 0 ? NULL : fdopendir(fd);

        if (!d) {
                g_set_error(error, BH_RECORDER_ERROR, BH_RECORDER_ERROR_IO, "cannot list %s: %s", dir, g_strerror(errno));
                if (fd >= 0)
                        close(fd);
                return NULL;
        }

        GArray *names = g_array_new(FALSE, FALSE, sizeof(BhSegmentName));
        for (struct dirent *e; (e = readdir(d));) {
                BhSegmentName n = { 0 };
                unsigned long long time, number;
                int end = 0;

                if (strlen(e->d_name) < sizeof(n.name) && sscanf(e->d_name, "%16llx-%10llu.bhr%n", &time, &number, &end) == 2 &&
                    end && !e->d_name[end]) {
                        g_strlcpy(n.name, e->d_name, sizeof(n.name));
                        n.number = number;
                        g_array_append_val(names, n);
                }
        }
        closedir(d);
        g_array_sort(names, by_number);
        return names;
}

/* ---- deleting */

static void drop_oldest(BhSegments *s) {
        BhSegment *seg = g_queue_pop_head(&s->segments);

        /* ENOENT: an operator was faster. Any other failure: it no longer counts as ours, or we would try for ever. */
        unlinkat(s->dirfd, seg->id.name, 0);
        s->bytes -= seg->bytes;
        s->dropped_segments++;
        s->dropped_records += seg->records;
        s->dropped_bytes += seg->bytes;
        g_free(seg);
}

static gboolean may_free_room(const BhSegments *s) {
        const BhSegment *oldest = g_queue_peek_head((GQueue *) &s->segments);

        return oldest && s->limits.keep_bytes != G_MAXUINT64 && s->bytes >= oldest->bytes + s->limits.keep_bytes;
}

/* The clock, as far as the time since boot bears it out: one that jumped ahead by years must not delete what was recorded a minute ago, nor keep what comes now for years. Opening the directory anew accepts the clock as it is. */
static guint64 believed_ns(BhSegments *s) {
        guint64 now = now_ns(s), believable = s->opened_wall + (boot_ns() - s->opened_boot) + JUMP_NS;

        s->clock_distrusted = now > believable;
        return MIN(now, believable);
}

/* ---- closing */

static void retire_segment(BhSegments *s) {
        bh_fd_clear(&s->fd);
        s->cur.records = s->index.t.records;
        s->cur.max_time = s->cur.records ? MIN(s->index.t.max_time, believed_ns(s)) : believed_ns(s); /* marks alone have no time of their own; the file keeps what its records say */
        g_queue_push_tail(&s->segments, g_memdup2(&s->cur, sizeof(s->cur)));
        bh_index_clear(&s->index);
}

/* The segment stays readable without its index and trailer, so trouble here is no error. */
static void close_segment(BhSegments *s, BhBlockEncoder *enc) {
        if (s->fd < 0)
                return;
        g_autoptr(GByteArray) tail = bh_index_finish(&s->index, enc, s->salt, s->cur.bytes);
        ssize_t n = pwrite(s->fd, tail->data, tail->len, (off_t) s->cur.bytes);
        if (n == (ssize_t) tail->len) {
                s->cur.bytes += tail->len;
                s->bytes += tail->len;
        } else if (n > 0 && ftruncate(s->fd, (off_t) s->cur.bytes) < 0) {
                s->cur.bytes += (guint64) n;
                s->bytes += (guint64) n;
        }
        s->dirty = TRUE;
        bh_segments_sync(s);
        retire_segment(s);
}

int bh_segments_sync(BhSegments *s) {
        if (s->fd < 0 || !s->dirty)
                return 0;
        if (fdatasync(s->fd) < 0) {
                s->sync_errors++;
                return errno;
        }
        s->dirty = FALSE;
        return 0;
}

void bh_segments_age(BhSegments *s, BhBlockEncoder *tail) {
        guint64 max_age = s->limits.max_age_s * G_GUINT64_CONSTANT(1000000000), now = believed_ns(s);

        if (!max_age)
                return;
        if (s->fd >= 0 && now - s->first_ns > max_age / 8 && now > s->first_ns)
                close_segment(s, tail);
        for (const BhSegment *seg; (seg = g_queue_peek_head(&s->segments)) && now > max_age && seg->max_time < now - max_age;)
                drop_oldest(s);
}

/* ---- writing */

#define UNNAMED "new" /* a segment until it has its header; what a kill leaves of it is written over */

/* Never over a segment that is there, where the file system can be asked for that. */
static int name_segment(BhSegments *s) {
        if (renameat2(s->dirfd, UNNAMED, s->dirfd, s->cur.id.name, RENAME_NOREPLACE) == 0)
                return 0;
        return errno == EINVAL || errno == ENOSYS ? renameat(s->dirfd, UNNAMED, s->dirfd, s->cur.id.name) : -1;
}

static int create_segment(BhSegments *s, guint64 first_time) {
        BhFileHeader head;

        bh_file_header_init(&head, s->node, s->limits.schema, s->next_number);
        s->cur = (BhSegment) { .id.number = s->next_number, .bytes = sizeof(head) };
        g_snprintf(s->cur.id.name, sizeof(s->cur.id.name), "%016" G_GINT64_MODIFIER "x-%010" G_GUINT64_FORMAT ".bhr", first_time,
                   s->next_number);
        g_auto(BhFd) fd = openat(s->dirfd, UNNAMED, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return errno;
        ssize_t n = pwrite(fd, &head, sizeof(head), 0);
        /* readers list names at any time: one that is there has its header */
        if (n != (ssize_t) sizeof(head) || name_segment(s) < 0) {
                int err = n < 0 || n == (ssize_t) sizeof(head) ? errno : ENOSPC;

                if (err == EEXIST)
                        s->next_number++; /* the next attempt has another name */
                unlinkat(s->dirfd, UNNAMED, 0);
                return err;
        }
        /* The name must survive too; blocks are synchronised by the usual policy. */
        if (fsync(s->dirfd) < 0)
                s->sync_errors++;
        s->next_number++;
        s->fd = bh_fd_steal(&fd);
        s->salt = head.salt;
        s->first_ns = believed_ns(s);
        s->bytes += sizeof(head);
        bh_index_init(&s->index);
        return 0;
}

/* Whether `len` bytes may be taken from the file system under the reserve rule. */
static gboolean reserve_kept(const BhSegments *s, guint64 len) {
        struct statvfs v;

        return !s->limits.reserve_bytes || fstatvfs(s->dirfd, &v) < 0 ||
               (guint64) v.f_bavail * v.f_frsize >= s->limits.reserve_bytes + len;
}

static int try_write(BhSegments *s, BhBlockEncoder *enc) {
        int err;

        if (s->fd < 0 && (err = create_segment(s, bh_block_encoder_head(enc)->min_time)))
                return err;
        bh_block_seal(enc, s->salt, s->cur.bytes, s->index.t.blocks);
        for (gsize done = 0; done < enc->out_len;) {
                ssize_t n = pwrite(s->fd, enc->out + done, enc->out_len - done, (off_t) (s->cur.bytes + done));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0) {
                        err = n < 0 ? errno : EIO;
                        /* A tail that cannot be cut off is skipped by readers as damage; nothing may follow it in this file. */
                        if (done && ftruncate(s->fd, (off_t) s->cur.bytes) < 0) {
                                s->bytes += done;
                                s->cur.bytes += done;
                                retire_segment(s);
                        }
                        return err;
                }
                done += (gsize) n;
        }
        bh_index_add(&s->index, enc->out, enc->head_len);
        s->cur.bytes += enc->out_len;
        s->bytes += enc->out_len;
        s->dirty = TRUE;
        return 0;
}

/* The file was unlinked under us: what we write into it nobody will read. */
static void leave_vanished(BhSegments *s) {
        struct stat st;

        if (s->fd < 0 || fstat(s->fd, &st) < 0 || st.st_nlink)
                return;
        bh_fd_clear(&s->fd);
        s->bytes -= s->cur.bytes;
        s->vanished_segments++;
        bh_index_clear(&s->index);
}

int bh_segments_write(BhSegments *s, BhBlockEncoder *enc, BhBlockEncoder *tail) {
        /* What the block itself needs, and closing its segment after it. */
        guint64 len = enc->out_len + enc->head_len + sizeof(BhFileHeader) + sizeof(BhTrailer) + BH_BLOCK_HEAD_MAX;

        leave_vanished(s);
        if (s->fd >= 0 && s->index.t.blocks && s->cur.bytes + s->index.heads->len + len > s->limits.segment_bytes)
                close_segment(s, tail);
        if (s->fd >= 0)
                len += s->index.heads->len;
        while (s->bytes + len > s->limits.max_bytes && !g_queue_is_empty(&s->segments))
                drop_oldest(s);
        for (;;) {
                gboolean room = reserve_kept(s, len);
                int err = room ? try_write(s, enc) : ENOSPC;

                if ((err != ENOSPC && err != EDQUOT) || !may_free_room(s))
                        return err;
                drop_oldest(s);
        }
}

/* ---- opening */

static gboolean fail(GError **error, const char *what, const char *dir, int err) {
        g_set_error(error, BH_RECORDER_ERROR, BH_RECORDER_ERROR_IO, "cannot %s the recorder directory %s: %s", what, dir,
                    g_strerror(err));
        return FALSE;
}

static gboolean take_lock(BhSegments *s, const char *dir, GError **error) {
        char text[32] = { 0 };

        s->lockfd = openat(s->dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (s->lockfd < 0)
                return fail(error, "make the lock file in", dir, errno);
        if (flock(s->lockfd, LOCK_EX | LOCK_NB) < 0) {
                if (errno != EWOULDBLOCK)
                        return fail(error, "lock", dir, errno);
                ssize_t n = pread(s->lockfd, text, sizeof(text) - 1, 0);
                g_set_error(error, BH_RECORDER_ERROR, BH_RECORDER_ERROR_LOCKED, "the recorder directory %s is in use by process %ld", dir,
                            n > 0 ? strtol(text, NULL, 10) : 0L);
                return FALSE;
        }
        int n = g_snprintf(text, sizeof(text), "%ld\n", (long) getpid());
        /* Only the message for the second comer needs it; a full disk must not keep the recorder from starting. */
        gboolean told = ftruncate(s->lockfd, 0) == 0 && pwrite(s->lockfd, text, (gsize) n, 0) == n;
        (void) told;
        return TRUE;
}

static void keep_mark(BhRecorderRecovery *found, guint64 *after, const BhBlock *b) {
        if (!b->f.mark_len) {
                *after += b->f.count;
                return;
        }
        found->mark_len = b->f.mark_len;
        memcpy(found->mark, b->mark, b->f.mark_len);
        *after = b->f.count - b->f.mark_count;
}

static void keep_end(BhRecorderRecovery *found, const BhTrailer *t) {
        if (!t->records)
                return;
        found->records += t->records;
        found->last_seq = MAX(found->last_seq, t->max_seq);
        found->last_time_ns = MAX(found->last_time_ns, t->max_time);
}

/* Cuts the torn tail of a segment that was not closed, and closes it. TRUE if the segment is to be kept. */
static gboolean recover_segment(BhSegments *s, BhReader *r, BhSegment *seg, BhBlockEncoder *enc, BhRecorderRecovery *found,
                                guint64 *after) {
        guint64 damaged = 0;

        bh_index_init(&s->index);
        for (BhRead got; (got = bh_reader_block(r)) == BH_READ_OK || got == BH_READ_DAMAGE;) {
                if (got == BH_READ_DAMAGE)
                        continue;
                const guint8 *head = r->buf + r->at - r->block.f.stored_bytes - r->block.head_len;
                bh_index_add(&s->index, head, r->block.head_len);
                keep_mark(found, after, &r->block);
                damaged = r->good_end - sizeof(BhFileHeader);
        }
        for (gsize at = 0, need; at < s->index.heads->len;) { /* what lies between the good blocks */
                BhBlock b;

                if (bh_block_parse(s->index.heads->data + at, s->index.heads->len - at, r->salt, G_MAXUINT64, &b, &need) != BH_PARSE_OK)
                        break;
                damaged -= b.head_len + b.f.stored_bytes;
                at += b.head_len;
        }
        if (r->err) { /* unreadable now does not mean torn: touch nothing */
                bh_index_clear(&s->index);
                found->unreadable_segments++;
                return TRUE;
        }
        found->cut_bytes += seg->bytes - r->good_end;
        found->damaged_bytes += s->index.t.blocks ? damaged : 0;
        found->recovered_segments++;
        if (!s->index.t.blocks) {
                bh_index_clear(&s->index);
                found->cut_bytes += r->good_end;
                unlinkat(s->dirfd, seg->id.name, 0);
                return FALSE;
        }
        keep_end(found, &s->index.t);
        seg->records = s->index.t.records;
        if (seg->records)
                seg->max_time = s->index.t.max_time;

        g_autoptr(GByteArray) tail = bh_index_finish(&s->index, enc, r->salt, r->good_end);
        if (ftruncate(r->fd, (off_t) r->good_end) == 0) {
                seg->bytes = r->good_end;
                if (pwrite(r->fd, tail->data, tail->len, (off_t) r->good_end) == (ssize_t) tail->len)
                        seg->bytes += tail->len;
                else if (ftruncate(r->fd, (off_t) r->good_end) < 0)
                        s->sync_errors++;
        }
        if (fdatasync(r->fd) < 0)
                s->sync_errors++;
        bh_index_clear(&s->index);
        return TRUE;
}

static gboolean recover_one(BhSegments *s, BhSegment *seg, BhBlockEncoder *enc, BhRecorderRecovery *found, guint64 *after) {
        g_auto(BhFd) fd = openat(s->dirfd, seg->id.name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        g_autoptr(GError) error = NULL;
        struct stat st;
        gboolean keep = TRUE;

        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
                found->unreadable_segments++;
                return fd >= 0 || errno != ENOENT;
        }
        seg->bytes = (guint64) st.st_size;
        /* Until the records tell: what cannot be read grows old by the file's own time. */
        seg->max_time = (guint64) st.st_mtim.tv_sec * 1000000000u;

        BhReader r;
        bh_reader_init(&r, fd, TRUE);
        if (!bh_reader_open(&r, seg->id.name, &error)) {
                /* A file that died with its header holds nothing. */
                if (seg->bytes <= sizeof(BhFileHeader)) {
                        found->recovered_segments++;
                        found->cut_bytes += seg->bytes;
                        unlinkat(s->dirfd, seg->id.name, 0);
                        keep = FALSE;
                } else {
                        found->unreadable_segments++;
                }
                bh_reader_clear(&r);
                return keep;
        }
        bh_reader_load_trailer(&r, TRUE);
        if (!r.closed) {
                keep = recover_segment(s, &r, seg, enc, found, after);
        } else {
                seg->records = r.trailer.records;
                if (seg->records)
                        seg->max_time = r.trailer.max_time;
                keep_end(found, &r.trailer);
                for (gsize at = 0, need; at < r.index_len;) {
                        BhBlock b;

                        if (bh_block_parse(r.index + at, r.index_len - at, r.salt, G_MAXUINT64, &b, &need) != BH_PARSE_OK)
                                break;
                        keep_mark(found, after, &b);
                        at += b.head_len;
                }
        }
        bh_reader_clear(&r);
        return keep;
}

static void clamp_limits(BhRecorderLimits *l) {
        l->max_bytes = MAX(l->max_bytes, 256u << 10);
        l->segment_bytes = CLAMP(l->segment_bytes, 16u << 10, l->max_bytes / 4);
        l->block_bytes = CLAMP(l->block_bytes, 4u << 10, 4u << 20);
        l->block_bytes = (guint32) MIN(l->block_bytes, l->segment_bytes);
        l->flush_ms = CLAMP(l->flush_ms, 1, 60000);
        l->queue_blocks = CLAMP(l->queue_blocks, 2, 4096);
        l->retry_ms = CLAMP(l->retry_ms, 1, 60000);
        l->max_age_s = MIN(l->max_age_s, G_GUINT64_CONSTANT(100) * 366 * 86400);
}

gboolean bh_segments_open(BhSegments *s, const char *dir, const BhRecorderLimits *limits, BhBlockEncoder *enc, BhRecorderRecovery *found,
                       GError **error) {
        BhRecorderRecovery f = { 0 };
        struct stat st;

        *s = (BhSegments) { .limits = *limits, .node = g_strdup(limits->node), .dirfd = -1, .lockfd = -1, .fd = -1, .next_number = 1 };
        s->limits.node = s->node;
        clamp_limits(&s->limits);
        s->opened_wall = now_ns(s);
        s->opened_boot = boot_ns();
        g_queue_init(&s->segments);

        if (g_mkdir_with_parents(dir, 0700) < 0)
                return fail(error, "make", dir, errno);
        s->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->dirfd < 0 || fstat(s->dirfd, &st) < 0) {
                fail(error, "open", dir, errno);
                bh_segments_clear(s, enc);
                return FALSE;
        }
        if ((st.st_mode & 07777) != 0700 && fchmod(s->dirfd, 0700) < 0) {
                fail(error, "make private", dir, errno);
                bh_segments_clear(s, enc);
                return FALSE;
        }
        g_autoptr(GArray) names = NULL;
        if (!take_lock(s, dir, error) || !(names = bh_segment_list(s->dirfd, dir, error))) {
                bh_segments_clear(s, enc);
                return FALSE;
        }

        guint64 after = 0;
        for (guint i = 0; i < names->len; i++) {
                BhSegment seg = { .id = g_array_index(names, BhSegmentName, i) };

                s->next_number = seg.id.number + 1;
                if (recover_one(s, &seg, enc, &f, &after)) {
                        s->bytes += seg.bytes;
                        g_queue_push_tail(&s->segments, g_memdup2(&seg, sizeof(seg)));
                }
        }
        f.unmarked_records = after;
        bh_segments_age(s, enc);
        while (s->bytes > s->limits.max_bytes && !g_queue_is_empty(&s->segments))
                drop_oldest(s);
        f.segments = g_queue_get_length(&s->segments);
        f.bytes = s->bytes;
        if (found)
                *found = f;
        return TRUE;
}

void bh_segments_clear(BhSegments *s, BhBlockEncoder *enc) {
        close_segment(s, enc);
        g_queue_clear_full(&s->segments, g_free);
        bh_index_clear(&s->index);
        bh_fd_clear(&s->dirfd);
        bh_fd_clear(&s->lockfd);
        g_free(s->node);
        s->node = NULL;
}

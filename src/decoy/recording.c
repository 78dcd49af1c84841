/* SPDX-License-Identifier: Apache-2.0 */
#include "decoy/recording.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"

#define LINE_MAX_BYTES 512u
#define BLOCK 4096u
#define INODE 512u /* of a file beside its blocks, with its name */
#define LINES "connections.jsonl"
#define LINES_BEFORE "connections.1.jsonl"
#define HASH_CHARS 64u

typedef struct {
        char name[HASH_CHARS + 1];
        gint64 time_ns;
        guint64 size;
} Kept;

struct BhRecording {
        int dir, bytes, lines, counts;
        guint64 max, max_each;
        guint64 used; /* bytes on disk of what was sent, by charge() */
        guint files, max_files; /* of these, parts too */
        guint64 lines_now, lines_before; /* bytes */
        GQueue kept;      /* Kept, the oldest first */
        GHashTable *named; /* name → its GList */
        guint64 number;
        gboolean changed, unsynced, torn; /* torn: a line was written in part */
        BhRecordingCounts n;
};

struct BhPart {
        char peer[INET6_ADDRSTRLEN + 8];
        guint16 port;
        gint64 began_us, time_us; /* by either clock */
        guint64 number, bytes, kept, charged;
        int fd; /* -1: nothing is kept of it yet, or any more */
        gboolean failed;
        GChecksum *sum;
};

static gboolean fail(GError **error, const char *what, const char *name) {
        g_set_error(error, G_FILE_ERROR, (gint) g_file_error_from_errno(errno), "cannot %s %s: %s", what, name, g_strerror(errno));
        return FALSE;
}

static guint64 size_of(int fd) {
        struct stat st;

        return fstat(fd, &st) == 0 ? (guint64) st.st_size : 0;
}

/* ---- room ---- */

/* What a file takes of a disk: as many bytes as it has would be too few where there are many small ones. */
static guint64 charge(guint64 size) {
        return MAX((size + BLOCK - 1) / BLOCK * BLOCK, BLOCK) + INODE;
}

static guint64 lines_max(const BhRecording *r) {
        return r->max / 16;
}

static guint64 lines_size(const BhRecording *r) {
        return MAX(r->lines_now, lines_max(r)) + MAX(r->lines_before, lines_max(r));
}

/* For what was sent: lines, of which there are two files, and the counts have theirs. */
static guint64 room_of(const BhRecording *r) {
        return r->max - MIN(r->max, lines_size(r) + charge(0));
}

static void let_oldest_go(BhRecording *r) {
        g_autofree Kept *k = g_queue_pop_head(&r->kept);

        g_hash_table_remove(r->named, k->name);
        r->changed = TRUE;
        if (unlinkat(r->bytes, k->name, 0) && errno != ENOENT) { /* its place is taken for good */
                r->n.write_errors++;
                return;
        }
        r->used -= charge(k->size);
        r->files--;
        r->n.let_go++;
}

/* Whether there is room for so many bytes and files more; what was kept for longest goes for it. */
static gboolean make_room(BhRecording *r, guint64 more, guint files) {
        while ((r->used + more > room_of(r) || r->files + files > r->max_files) && r->kept.length)
                let_oldest_go(r);
        return r->used + more <= room_of(r) && r->files + files <= r->max_files;
}

static gint by_time(gconstpointer a, gconstpointer b, gpointer unused) {
        const Kept *x = a, *y = b;

        return (x->time_ns > y->time_ns) - (x->time_ns < y->time_ns);
}

/* It is there, and was charged. */
static void note_kept(BhRecording *r, const char *name, guint64 size, gint64 time_ns) {
        Kept *k = g_new0(Kept, 1);

        g_strlcpy(k->name, name, sizeof(k->name));
        k->time_ns = time_ns;
        k->size = size;
        g_queue_push_tail(&r->kept, k);
        g_hash_table_insert(r->named, k->name, g_queue_peek_tail_link(&r->kept));
}

/* The same was sent once more: whoever reads it for that finds it for as long as another's. */
static void renew(BhRecording *r, const char *name) {
        GList *at = g_hash_table_lookup(r->named, name);

        if (!at)
                return;
        g_queue_unlink(&r->kept, at);
        g_queue_push_tail_link(&r->kept, at);
        utimensat(r->bytes, name, NULL, AT_SYMLINK_NOFOLLOW); /* so that a successor has the same order */
}

/* ---- lines ---- */

/* The lines of before go, these are the lines of before. */
static gboolean begin_lines(BhRecording *r) {
        int fd;

        fdatasync(r->lines);
        if (renameat(r->dir, LINES, r->dir, LINES_BEFORE))
                return FALSE;
        if ((fd = openat(r->dir, LINES, O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0) {
                renameat(r->dir, LINES_BEFORE, r->dir, LINES);
                return FALSE;
        }
        close(r->lines);
        r->lines = fd;
        r->lines_before = r->lines_now;
        r->lines_now = 0;
        r->torn = FALSE;
        return TRUE;
}

static void add_line(BhRecording *r, const char *line, gsize len) {
        if (r->lines_now + len + 1 > lines_max(r) && !begin_lines(r)) {
                r->n.lost_lines++;
                r->n.write_errors++;
                return;
        }
        gssize n = r->torn ? write(r->lines, "\n", 1) : 1;
        if (n == 1) {
                r->lines_now += r->torn;
                r->torn = FALSE;
                n = write(r->lines, line, len);
                r->lines_now += n > 0 ? (guint64) n : 0;
        }
        r->unsynced = TRUE;
        if (n == (gssize) len)
                return;
        r->torn |= n > 0;
        r->n.lost_lines++;
        r->n.write_errors++;
}

static void tell(BhRecording *r, const BhPart *p, gint64 ms, const char *sha256, const char *end) {
        g_autoptr(GDateTime) t = g_date_time_new_from_unix_utc(p->time_us / G_USEC_PER_SEC);
        g_autofree char *second = g_date_time_format(t, "%Y-%m-%dT%H:%M:%S");
        char line[LINE_MAX_BYTES];
        gint n = g_snprintf(line, sizeof(line),
                            "{\"time\":\"%s.%06uZ\",\"ms\":%" G_GINT64_FORMAT ",\"peer\":\"%s\",\"port\":%u,\"bytes\":%" G_GUINT64_FORMAT ",\"left_out\":%" G_GUINT64_FORMAT ",\"sha256\":\"%s\",\"end\":\"%s\"}\n",
                            second, (guint) (p->time_us % G_USEC_PER_SEC), ms, p->peer, p->port, p->bytes, p->bytes - p->kept, sha256, end);

        g_assert(n > 0 && (gsize) n < sizeof(line));
        add_line(r, line, (gsize) n);
}

/* ---- parts ---- */

static char *part_name(guint64 number) {
        return g_strdup_printf("part-%" G_GUINT64_FORMAT, number);
}

static gboolean is_there(const BhRecording *r, const char *sha256, guint64 size) {
        struct stat st;

        return fstatat(r->bytes, sha256, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) && (guint64) st.st_size == size;
}

/* It becomes a file of its content's name. FALSE: it could not, and is gone. */
static gboolean keep(BhRecording *r, const char *part, const char *sha256, const BhPart *p) {
        int problem = renameat2(r->dir, part, r->bytes, sha256, RENAME_NOREPLACE) == 0 ? 0 : errno;

        if (problem == EINVAL) /* a file system without the flag */
                problem = faccessat(r->bytes, sha256, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ? EEXIST : renameat(r->dir, part, r->bytes, sha256) == 0 ? 0 : errno;
        if (problem)
                unlinkat(r->dir, part, 0);
        if (!problem && !g_hash_table_contains(r->named, sha256)) {
                note_kept(r, sha256, p->kept, p->time_us * 1000);
                return TRUE;
        }
        r->used -= p->charged; /* the other one of its name is */
        r->files--;
        if (problem && (problem != EEXIST || !is_there(r, sha256, p->kept)))
                return FALSE;
        renew(r, sha256);
        return TRUE;
}

BhPart *bh_recording_begin(BhRecording *r, const struct sockaddr_in6 *peer, guint16 port) {
        BhPart *p = g_new0(BhPart, 1);
        char text[INET6_ADDRSTRLEN] = "";

        if (IN6_IS_ADDR_V4MAPPED(&peer->sin6_addr))
                inet_ntop(AF_INET, peer->sin6_addr.s6_addr + 12, text, sizeof(text));
        else
                inet_ntop(AF_INET6, &peer->sin6_addr, text, sizeof(text));
        g_snprintf(p->peer, sizeof(p->peer), strchr(text, ':') ? "[%s]:%u" : "%s:%u", text, ntohs(peer->sin6_port));
        p->port = port;
        p->began_us = g_get_monotonic_time();
        p->time_us = g_get_real_time();
        p->number = r->number++;
        p->fd = -1;
        p->sum = g_checksum_new(G_CHECKSUM_SHA256);
        return p;
}

/* How many of so many bytes more there is room for. */
static gsize fitting(BhRecording *r, const BhPart *p, gsize want) {
        const guint is_new = p->fd < 0;

        if (make_room(r, charge(p->kept + want) - p->charged, is_new))
                return want;
        guint64 left = room_of(r) - MIN(r->used, room_of(r)) + p->charged, size = left < BLOCK + INODE || r->files + is_new > r->max_files ? 0 : (left - INODE) / BLOCK * BLOCK;
        return (gsize) MIN(want, size - MIN(p->kept, size));
}

static void begin_part(BhRecording *r, BhPart *p) {
        g_autofree char *name = part_name(p->number);

        p->fd = openat(r->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        p->failed = p->fd < 0;
        if (p->failed) {
                r->n.write_errors++;
                return;
        }
        p->charged = charge(0);
        r->used += p->charged;
        r->files++;
}

void bh_recording_add(BhRecording *r, BhPart *p, const guint8 *bytes, gsize len) {
        gsize want = p->failed ? 0 : (gsize) MIN(r->max_each - MIN(p->kept, r->max_each), len);
        gssize n = 0;

        p->bytes += len;
        r->n.bytes += len;
        r->changed = TRUE;
        if (want)
                want = fitting(r, p, want);
        if (want && p->fd < 0)
                begin_part(r, p);
        if (want && !p->failed)
                n = write(p->fd, bytes, want);
        if (n > 0) {
                g_checksum_update(p->sum, bytes, n);
                p->kept += (guint64) n;
                r->used += charge(p->kept) - p->charged;
                p->charged = charge(p->kept);
                r->n.kept += (guint64) n;
        }
        if (want && !p->failed && n != (gssize) want) { /* what is kept is a beginning, without a gap */
                p->failed = TRUE;
                r->n.write_errors++;
        }
        r->n.left_out += len - (n > 0 ? (gsize) n : 0);
        if (want < len) /* what comes later would be behind a gap */
                p->failed = TRUE;
}

void bh_recording_end(BhRecording *r, BhPart *p, const char *end) {
        g_autofree char *name = part_name(p->number);
        const char *sha256 = p->kept ? g_checksum_get_string(p->sum) : "";

        if (p->fd >= 0) {
                fdatasync(p->fd);
                close(p->fd);
        }
        if (p->kept && !keep(r, name, sha256, p)) {
                r->n.write_errors++;
                r->n.kept -= p->kept;
                r->n.left_out += p->kept;
                p->kept = 0;
                sha256 = "";
        } else if (!p->kept && p->fd >= 0) {
                unlinkat(r->dir, name, 0);
                r->used -= p->charged;
                r->files--;
        }
        tell(r, p, (g_get_monotonic_time() - p->began_us) / 1000, sha256, end);
        r->n.connections++;
        r->changed = TRUE;
        g_checksum_free(p->sum);
        g_free(p);
}

void bh_recording_refused(BhRecording *r) {
        r->n.refused++;
        r->changed = TRUE;
}

/* ---- what is there ---- */

/* What another decoy, which was killed, had of a connection. */
static void take_up(BhRecording *r, const char *name) {
        g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
        g_auto(BhFd) fd = openat(r->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        BhPart p = { .peer = "" };
        struct stat st;
        guint8 some[65536];
        gssize n;

        if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode))
                return;
        p.bytes = (guint64) st.st_size;
        p.time_us = (gint64) st.st_mtim.tv_sec * G_USEC_PER_SEC + st.st_mtim.tv_nsec / 1000;
        p.charged = charge(p.bytes);
        if (p.bytes && make_room(r, p.charged, 1)) {
                while (p.kept < p.bytes && (n = read(fd, some, sizeof(some))) > 0) {
                        g_checksum_update(sum, some, n);
                        p.kept += (guint64) n;
                }
                r->used += p.charged;
                r->files++;
                if (p.kept != p.bytes || !keep(r, name, g_checksum_get_string(sum), &p)) {
                        r->n.write_errors++;
                        p.kept = 0;
                }
        } else {
                unlinkat(r->dir, name, 0);
        }
        tell(r, &p, 0, p.kept ? g_checksum_get_string(sum) : "", "unfinished");
}

static gboolean is_hash(const char *name) {
        return strlen(name) == HASH_CHARS && strspn(name, "0123456789abcdef") == HASH_CHARS;
}

static void look_at(BhRecording *r, const char *dir) {
        g_autofree char *bytes = g_build_filename(dir, "bytes", NULL);
        g_autoptr(GDir) kept = g_dir_open(bytes, 0, NULL), all = NULL;
        g_autoptr(GArray) found = g_array_new(FALSE, FALSE, sizeof(Kept));

        for (const char *name; kept && (name = g_dir_read_name(kept));) {
                struct stat st;

                if (fstatat(r->bytes, name, &st, AT_SYMLINK_NOFOLLOW))
                        continue;
                r->used += charge((guint64) st.st_size);
                r->files++;
                if (S_ISREG(st.st_mode) && is_hash(name)) { /* what else is there is nobody's to let go */
                        Kept k = { .time_ns = (gint64) st.st_mtim.tv_sec * G_GINT64_CONSTANT(1000000000) + st.st_mtim.tv_nsec, .size = (guint64) st.st_size };

                        g_strlcpy(k.name, name, sizeof(k.name));
                        g_array_append_val(found, k);
                }
        }
        g_array_sort_with_data(found, by_time, NULL);
        for (guint i = 0; i < found->len; i++) {
                const Kept *k = &g_array_index(found, Kept, i);

                note_kept(r, k->name, k->size, k->time_ns);
        }
        make_room(r, 0, 0); /* of one with other bounds */
        all = g_dir_open(dir, 0, NULL);
        for (const char *name; all && (name = g_dir_read_name(all));)
                if (g_str_has_prefix(name, "part-"))
                        take_up(r, name);
}

BhRecording *bh_recording_open(const char *dir, guint64 max, guint64 max_each, guint max_files, GError **error) {
        g_autoptr(BhRecording) r = g_new0(BhRecording, 1);
        struct stat before;
        char last = '\n';

        r->max = max;
        r->max_each = max_each;
        r->max_files = max_files;
        g_queue_init(&r->kept);
        r->named = g_hash_table_new(g_str_hash, g_str_equal);
        r->bytes = r->lines = r->counts = -1;
        r->number = (guint64) g_get_real_time(); /* nobody's before */
        if ((r->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
                fail(error, "open", dir);
                return NULL;
        }
        if ((mkdirat(r->dir, "bytes", 0700) && errno != EEXIST) || (r->bytes = openat(r->dir, "bytes", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)) < 0) {
                fail(error, "make the folder bytes in", dir);
                return NULL;
        }
        if ((r->lines = openat(r->dir, LINES, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0) {
                fail(error, "write connections.jsonl in", dir);
                return NULL;
        }
        if ((r->counts = openat(r->dir, "counts.json", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0) {
                fail(error, "write counts.json in", dir);
                return NULL;
        }
        r->lines_now = size_of(r->lines);
        r->lines_before = fstatat(r->dir, LINES_BEFORE, &before, AT_SYMLINK_NOFOLLOW) == 0 ? (guint64) before.st_size : 0;
        r->torn = r->lines_now && pread(r->lines, &last, 1, (off_t) r->lines_now - 1) == 1 && last != '\n';
        look_at(r, dir);
        r->changed = TRUE;
        bh_recording_round(r);
        return g_steal_pointer(&r);
}

void bh_recording_round(BhRecording *r) {
        char text[LINE_MAX_BYTES];
        const BhRecordingCounts *n = &r->n;

        if (r->unsynced)
                fdatasync(r->lines);
        r->unsynced = FALSE;
        if (!r->changed)
                return;
        gint len = g_snprintf(text, sizeof(text),
                              "{\"connections\":%" G_GUINT64_FORMAT ",\"refused\":%" G_GUINT64_FORMAT ",\"bytes\":%" G_GUINT64_FORMAT ",\"kept\":%" G_GUINT64_FORMAT ",\"left_out\":%" G_GUINT64_FORMAT
                              ",\"lost_lines\":%" G_GUINT64_FORMAT ",\"write_errors\":%" G_GUINT64_FORMAT ",\"let_go\":%" G_GUINT64_FORMAT ",\"disk\":%" G_GUINT64_FORMAT "}",
                              n->connections, n->refused, n->bytes, n->kept, n->left_out, n->lost_lines, n->write_errors, n->let_go, r->used + r->lines_now + r->lines_before + charge(0));
        memset(text + len, ' ', sizeof(text) - 1 - (gsize) len);
        text[sizeof(text) - 1] = '\n';
        r->changed = pwrite(r->counts, text, sizeof(text), 0) != (gssize) sizeof(text) || ftruncate(r->counts, sizeof(text));
}

const BhRecordingCounts *bh_recording_counts(const BhRecording *r) {
        return &r->n;
}

void bh_recording_free(BhRecording *r) {
        if (!r)
                return;
        if (r->lines >= 0)
                bh_recording_round(r);
        int fds[] = { r->dir, r->bytes, r->lines, r->counts };
        for (guint i = 0; i < G_N_ELEMENTS(fds); i++)
                if (fds[i] >= 0)
                        close(fds[i]);
        if (r->named)
                g_hash_table_unref(r->named);
        g_queue_clear_full(&r->kept, g_free);
        g_free(r);
}

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

struct BhRecording {
        int dir, bytes, lines, counts;
        guint64 max, max_each, used; /* bytes on disk */
        guint64 number;
        gboolean changed, unsynced, torn; /* torn: a line was written in part */
        BhRecordingCounts n;
};

struct BhPart {
        char peer[INET6_ADDRSTRLEN + 8];
        guint16 port;
        gint64 began_us, time_us; /* by either clock */
        guint64 number, bytes, kept;
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

/* ---- lines ---- */

static void add_line(BhRecording *r, const char *line, gsize len) {
        gsize torn = r->torn ? 1 : 0;

        if (r->used + len + torn > r->max) {
                r->n.lost_lines++;
                return;
        }
        gssize n = torn ? write(r->lines, "\n", 1) : 1;
        if (n == 1) {
                r->torn = FALSE;
                n = write(r->lines, line, len);
        }
        r->used += n > 0 ? (guint64) n : 0;
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

/* It becomes a file of its content's name. */
static void keep(BhRecording *r, const char *part, const char *sha256, guint64 size) {
        if (renameat2(r->dir, part, r->bytes, sha256, RENAME_NOREPLACE) == 0)
                return;
        if (errno == EINVAL && faccessat(r->bytes, sha256, F_OK, AT_SYMLINK_NOFOLLOW) && renameat(r->dir, part, r->bytes, sha256) == 0) /* a file system without the flag */
                return;
        unlinkat(r->dir, part, 0);
        r->used -= MIN(r->used, size);
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

void bh_recording_add(BhRecording *r, BhPart *p, const guint8 *bytes, gsize len) {
        guint64 of_disk = r->max - r->max / 8, room = MIN(r->max_each - MIN(p->kept, r->max_each), of_disk - MIN(r->used, of_disk));
        gsize want = (gsize) MIN(room, len);
        gssize n;

        p->bytes += len;
        r->n.bytes += len;
        r->changed = TRUE;
        if (want && p->fd < 0 && !p->failed) {
                g_autofree char *name = part_name(p->number);

                p->fd = openat(r->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
                p->failed = p->fd < 0;
                r->n.write_errors += p->failed;
        }
        n = want && !p->failed ? write(p->fd, bytes, want) : 0;
        if (n > 0) {
                g_checksum_update(p->sum, bytes, n);
                p->kept += (guint64) n;
                r->used += (guint64) n;
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
        if (p->kept)
                keep(r, name, sha256, p->kept);
        else if (p->fd >= 0)
                unlinkat(r->dir, name, 0);
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
        while ((n = read(fd, some, sizeof(some))) > 0) {
                g_checksum_update(sum, some, n);
                p.bytes += (guint64) n;
        }
        p.kept = p.bytes;
        p.time_us = (gint64) st.st_mtim.tv_sec * G_USEC_PER_SEC + st.st_mtim.tv_nsec / 1000;
        r->used += p.bytes;
        keep(r, name, g_checksum_get_string(sum), p.bytes);
        tell(r, &p, 0, g_checksum_get_string(sum), "unfinished");
}

static void look_at(BhRecording *r, const char *dir) {
        g_autofree char *bytes = g_build_filename(dir, "bytes", NULL);
        g_autoptr(GDir) kept = g_dir_open(bytes, 0, NULL), all = NULL;

        for (const char *name; kept && (name = g_dir_read_name(kept));) {
                struct stat st;

                if (fstatat(r->bytes, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
                        r->used += (guint64) st.st_size;
        }
        all = g_dir_open(dir, 0, NULL);
        for (const char *name; all && (name = g_dir_read_name(all));)
                if (g_str_has_prefix(name, "part-"))
                        take_up(r, name);
}

BhRecording *bh_recording_open(const char *dir, guint64 max, guint64 max_each, GError **error) {
        g_autoptr(BhRecording) r = g_new0(BhRecording, 1);
        char last = '\n';

        r->max = max;
        r->max_each = max_each;
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
        if ((r->lines = openat(r->dir, "connections.jsonl", O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0) {
                fail(error, "write connections.jsonl in", dir);
                return NULL;
        }
        if ((r->counts = openat(r->dir, "counts.json", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0) {
                fail(error, "write counts.json in", dir);
                return NULL;
        }
        r->used = size_of(r->lines) + LINE_MAX_BYTES;
        r->torn = size_of(r->lines) && pread(r->lines, &last, 1, (off_t) size_of(r->lines) - 1) == 1 && last != '\n';
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
                              ",\"lost_lines\":%" G_GUINT64_FORMAT ",\"write_errors\":%" G_GUINT64_FORMAT ",\"disk\":%" G_GUINT64_FORMAT "}",
                              n->connections, n->refused, n->bytes, n->kept, n->left_out, n->lost_lines, n->write_errors, r->used);
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
        g_free(r);
}

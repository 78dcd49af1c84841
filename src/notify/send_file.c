/* SPDX-License-Identifier: Apache-2.0 */
/* files and standard output: lines */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "notify/send_private.h"

#define PIECE 4096u /* what a pipe that is ready takes whole (PIPE_BUF) */

typedef struct {
        BhFd fd;
        char *path;
        gint reopened;
} File;

static gpointer file_open(BhSender *s) {
        File *f = g_new0(File, 1);

        f->fd = -1;
        if (s->output->type == BH_OUTPUT_FILE)
                f->path = g_build_filename(s->place->alert_dir, s->output->file, NULL);
        return f;
}

static void file_close(gpointer state) {
        File *f = state;

        bh_fd_clear(&f->fd);
        g_free(f->path);
        g_free(f);
}

static GString *line_of(BhSender *s, const BhAlert *a, BhSendNote *note) {
        GString *line = bh_format(a, s->output->format, BH_SEND_LINE_MAX, &note->cut);

        g_string_append_c(line, '\n');
        return line;
}

/* The file that has the name now. */
static gboolean settle(File *f, GError **error) {
        gint reopened = g_atomic_int_get(&bh_send_reopened);
        struct stat named, held;

        if (f->fd >= 0 && f->reopened == reopened && stat(f->path, &named) == 0 && fstat(f->fd, &held) == 0 && named.st_dev == held.st_dev && named.st_ino == held.st_ino)
                return TRUE;
        bh_fd_clear(&f->fd);
        f->reopened = reopened;

        int fd = open(f->path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
        gboolean made = fd >= 0;
        if (fd < 0 && errno == EEXIST)
                /* not blocking: a FIFO in its place would hold us */
                fd = open(f->path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0) {
                bh_send_failed(BH_SEND_RETRY, error, "cannot open %s: %s", f->path, g_strerror(errno));
                return FALSE;
        }
        f->fd = fd;
        if (made)
                fchmod(fd, 0640); /* the process's mask is tighter */
        if (fstat(fd, &held) || !S_ISREG(held.st_mode)) {
                bh_fd_clear(&f->fd);
                bh_send_failed(BH_SEND_RETRY, error, "%s is no regular file: remove it", f->path);
                return FALSE;
        }
        return TRUE;
}

static BhSendResult file_send(BhSender *s, gpointer state, const BhAlert *a, BhSendNote *note, GError **error) {
        g_autoptr(GString) line = line_of(s, a, note);
        File *f = state;
        struct stat before;

        if (!settle(f, error))
                return BH_SEND_RETRY;
        if (fstat(f->fd, &before))
                return bh_send_failed(BH_SEND_RETRY, error, "cannot look at %s: %s", f->path, g_strerror(errno));

        ssize_t n = write(f->fd, line->str, line->len);
        int code = n < 0 ? errno : ENOSPC;
        if (n == (ssize_t) line->len)
                return BH_SEND_OK;
        /* half a line would spoil the next one: it is taken back, unless others write there, too */
        struct stat after;
        if (n > 0 && fstat(f->fd, &after) == 0 && after.st_size == before.st_size + n && ftruncate(f->fd, before.st_size))
                code = errno;
        return bh_send_failed(BH_SEND_RETRY, error, code == ENOSPC ? "cannot write to %s: the disk is full" : "cannot write to %s: %s", f->path, g_strerror(code));
}

static BhSendResult file_flush(BhSender *s, gpointer state, GError **error) {
        File *f = state;

        if (f->fd < 0 || fdatasync(f->fd) == 0)
                return BH_SEND_OK;
        return bh_send_failed(BH_SEND_RETRY, error, "cannot write to %s: %s", f->path, g_strerror(errno));
}

static BhSendResult stdout_send(BhSender *s, gpointer state, const BhAlert *a, BhSendNote *note, GError **error) {
        g_autoptr(GString) line = line_of(s, a, note);
        gint64 until = g_get_monotonic_time() + BH_SEND_MS * 1000;

        for (gsize at = 0; at < line->len;) {
                /* once a line is begun it is ended, however long that takes: the next one would be glued to it. A stop ends that, too */
                if (!bh_net_wait(s, s->place->stdout_fd, POLLOUT, at ? G_MAXINT64 : until, error)) {
                        g_prefix_error(error, "nobody reads the standard output: ");
                        return BH_SEND_RETRY;
                }
                ssize_t n = write(s->place->stdout_fd, line->str + at, MIN(PIECE, line->len - at));
                if (n < 0 && errno != EINTR && errno != EAGAIN)
                        return bh_send_failed(BH_SEND_RETRY, error, "cannot write to the standard output: %s", g_strerror(errno));
                at += n > 0 ? (gsize) n : 0;
        }
        return BH_SEND_OK;
}

const BhSendKind bh_send_file = { file_open, file_close, file_send, file_flush };
const BhSendKind bh_send_stdout = { file_open, file_close, stdout_send, NULL };

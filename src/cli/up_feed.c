/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "output.h"
#include "signals.h"
#include "up.h"

#define CHUNK 4096 /* a write of this much after POLLOUT does not block a pipe */

void bh_up_feed_init(BhUpFeed *f, const BhCliPaths *paths) {
        *f = (BhUpFeed){ .paths = paths, .fd = -1, .rest = g_string_new(NULL), .out = g_string_new(NULL) };
}

void bh_up_feed_clear(BhUpFeed *f) {
        bh_fd_clear(&f->fd);
        g_string_free(f->rest, TRUE);
        g_string_free(f->out, TRUE);
}

gboolean bh_up_feed_open(BhUpFeed *f, GError **error) {
        guint64 all[BH_TYPE_WORDS] = { 0 };

        bh_fd_clear(&f->fd);
        g_string_truncate(f->rest, 0);
        f->fd = bh_client_request(f->paths, bh_cli_events_request("text", TRUE, NULL, all), error);
        f->ended = f->fd < 0;
        return f->fd >= 0;
}

static gboolean shows(const BhUpFeed *f) {
        return f->fd >= 0 && !f->ended && !f->reader_gone;
}

int bh_up_feed_source(const BhUpFeed *f) {
        return shows(f) && !f->out->len ? f->fd : -1;
}

int bh_up_feed_sink(const BhUpFeed *f) {
        return f->out->len && !f->reader_gone ? STDOUT_FILENO : -1;
}

static gboolean take_line(const char *line, gsize len, gpointer data) {
        BhUpFeed *f = data;
        const char *space = memchr(line, ' ', len);
        gsize time = space ? (gsize) (space - line) : 0;

        if (g_str_has_prefix(line, "{\"dropped\"")) {
                json_auto_t *mark = json_loadb(line, len, 0, NULL);

                g_string_append_printf(f->out, "… %" G_GUINT64_FORMAT " events are left out here, because this terminal is too slow; they are recorded\n", bh_json_number(mark, "dropped"));
                return TRUE;
        }
        g_string_append(f->out, bh_out_style(BH_STYLE_DIM));
        g_string_append_len(f->out, line, (gssize) time);
        g_string_append(f->out, bh_out_style(BH_STYLE_NONE));
        g_string_append_len(f->out, line + time, (gssize) (len - time));
        g_string_append_c(f->out, '\n');
        return TRUE;
}

void bh_up_feed_read(BhUpFeed *f, gboolean quiet_end) {
        g_autoptr(GError) error = NULL;
        BhClientState state = bh_client_read_lines(f->fd, f->rest, take_line, f, &error);

        if (state == BH_CLIENT_MORE)
                return;
        if (state == BH_CLIENT_FAILED && !quiet_end)
                fprintf(stderr, "bulkhead: no more live events: %s\n", error->message);
        f->ended = TRUE;
        bh_fd_clear(&f->fd);
}

void bh_up_feed_write(BhUpFeed *f) {
        ssize_t n = write(STDOUT_FILENO, f->out->str, MIN(f->out->len, CHUNK));

        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return;
        if (n < 0) {
                if (!bh_stop_asked())
                        fprintf(stderr, "bulkhead: nobody takes the live events (%s); Bulkhead goes on without showing them\n", g_strerror(errno));
                f->reader_gone = TRUE;
                g_string_truncate(f->out, 0);
                /* a feed that is open and not read would hold up the sensor when it stops */
                f->ended = TRUE;
                bh_fd_clear(&f->fd);
                return;
        }
        g_string_erase(f->out, 0, n);
}

void bh_up_feed_drain(BhUpFeed *f) {
        for (struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT }; f->out->len && !f->reader_gone && poll(&p, 1, 200) == 1; )
                bh_up_feed_write(f);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/escape.h"
#include "commands.h"
#include "event/codec.h"
#include "output.h"
#include "recorder/capture.h"
#include "signals.h"

#define MISSED_MARK 0xffffffffu
#define FLUSH_MS 1000
#define DRAIN_US (G_USEC_PER_SEC / 2)

typedef struct {
        BhCaptureWriter *writer;
        GByteArray *rest; /* read from the sensor, not yet a whole message */
        guint64 events, missed;
        gboolean unflushed;
} Recording;

static gboolean fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static gboolean fail(GError **error, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_propagate_error(error, g_error_new_valist(G_FILE_ERROR, G_FILE_ERROR_FAILED, format, ap));
        va_end(ap);
        return FALSE;
}

static gboolean take_event(Recording *r, const guint8 *data, guint32 len, GError **error) {
        struct bh_event e;
        g_autoptr(GError) why = NULL;

        if (!bh_event_decode(&e, data, len, &why))
                return fail(error, "the sensor sent an event that this program cannot read (%s): is it of another version?", why->message);
        if (!bh_capture_writer_append(r->writer, e.time, bh_event_has(&e, BH_F_container_id) ? bh_container_key(e.container_id.p, e.container_id.len) : 0, e.id, data, len, error))
                return FALSE;
        r->events++;
        r->unflushed = TRUE;
        return TRUE;
}

/* Every message that is whole. */
static gboolean take_messages(Recording *r, GError **error) {
        const guint8 *p = r->rest->data;
        guint left = r->rest->len;
        guint32 len;

        while (left >= sizeof(len)) {
                memcpy(&len, p, sizeof(len));
                len = GUINT32_FROM_LE(len);
                if (len == MISSED_MARK) {
                        guint64 missed;

                        if (left < sizeof(len) + sizeof(missed))
                                break;
                        memcpy(&missed, p + sizeof(len), sizeof(missed));
                        r->missed += GUINT64_FROM_LE(missed);
                        p += sizeof(len) + sizeof(missed);
                        left -= (guint) (sizeof(len) + sizeof(missed));
                        continue;
                }
                if (memcmp(p, "{\"er", 4) == 0) { /* as a length it would be more than is allowed */
                        const guint8 *end = memchr(p, '\n', left);

                        if (!end && left < 65536)
                                break;
                        json_auto_t *answer = end ? json_loadb((const char *) p, (gsize) (end - p), 0, NULL) : NULL;
                        return fail(error, "the sensor says: %s", bh_json_text(answer, "error"));
                }
                if (len > BH_RECORDER_BLOCK_MAX)
                        return fail(error, "the sensor sent a message of %u bytes: is it of another version?", len);
                if (left < sizeof(len) + len)
                        break;
                if (!take_event(r, p + sizeof(len), len, error))
                        return FALSE;
                p += sizeof(len) + len;
                left -= (guint) sizeof(len) + len;
        }
        g_byte_array_remove_range(r->rest, 0, r->rest->len - left);
        return TRUE;
}

/* One read(2). *ended: the sensor closed the stream. */
static gboolean take(Recording *r, int fd, gboolean *ended, GError **error) {
        guint8 chunk[65536];
        ssize_t n = recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT);

        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return TRUE;
        if (n < 0)
                return fail(error, "the connection to the sensor broke: %s", g_strerror(errno));
        *ended = n == 0;
        g_byte_array_append(r->rest, chunk, (guint) n);
        return take_messages(r, error);
}

/* Until `until` (monotonic µs, 0: no end), a signal, or the end of the sensor. */
static gboolean run(Recording *r, int fd, gint64 until, gboolean *ended, GError **error) {
        int stop = bh_stop_install();
        gint64 flushed = g_get_monotonic_time();

        while (!*ended && !bh_stop_asked()) {
                struct pollfd p[] = { { .fd = fd, .events = POLLIN }, { .fd = stop, .events = POLLIN } };
                gint64 now = g_get_monotonic_time(), wait = FLUSH_MS;

                if (until && now >= until)
                        break;
                if (until)
                        wait = MIN(wait, (until - now) / 1000 + 1);
                if (poll(p, G_N_ELEMENTS(p), (int) wait) < 0 && errno != EINTR)
                        return fail(error, "cannot wait for events: %s", g_strerror(errno));
                if (p[0].revents && !take(r, fd, ended, error))
                        return FALSE;
                now = g_get_monotonic_time();
                if (r->unflushed && now - flushed > FLUSH_MS * 1000) {
                        if (!bh_capture_writer_flush(r->writer, error))
                                return FALSE;
                        r->unflushed = FALSE;
                        flushed = now;
                }
        }

        /* what is on its way belongs to the capture: the sensor sends that and closes, when it sees that nothing more is wanted */
        gboolean drained = *ended;
        shutdown(fd, SHUT_WR);
        for (until = g_get_monotonic_time() + DRAIN_US; !drained && g_get_monotonic_time() < until; ) {
                struct pollfd p = { .fd = fd, .events = POLLIN };

                if (poll(&p, 1, 50) > 0 && !take(r, fd, &drained, error))
                        return FALSE;
        }
        return TRUE;
}

int bh_cmd_record(const BhCliPaths *paths, int argc, char **argv) {
        g_autofree char *file = NULL, *container = NULL, *duration = NULL;
        g_auto(GStrv) names = NULL;
        guint64 types[BH_TYPE_WORDS];
        GOptionEntry entries[] = {
                { "output", 'o', 0, G_OPTION_ARG_FILENAME, &file, "the capture file; \"-\" is standard output", "FILE" },
                { "duration", 'd', 0, G_OPTION_ARG_STRING, &duration, "stop after so long: 30 (seconds), 90s, 10m, 2h", "TIME" },
                { "container", 'c', 0, G_OPTION_ARG_STRING, &container, "only of this container (name, id or its beginning; \"host\": of none)", "NAME" },
                { "type", 't', 0, G_OPTION_ARG_STRING_ARRAY, &names, "only these kinds (may be repeated, or a,b,c)", "KIND" },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;

        if (!bh_cli_parse(&argc, &argv, entries, NULL, "Writes live events to a capture file until Ctrl-C. \"bulkhead replay FILE\" reads it, on any machine.",
                          "The flight recorder keeps everything by itself; \"bulkhead replay DATA-DIR/recorder\" reads that.\n"))
                return BH_EXIT_USAGE;

        guint64 span = duration ? bh_cli_duration(duration) : 0;
        if (argc > 1)
                return bh_cli_usage("it takes no arguments but options, not \"%s\"", argv[1]);
        if (!file || !*file)
                return bh_cli_usage("say where to write with -o FILE");
        if (duration && !span)
                return bh_cli_usage("--duration takes a number of seconds, or one with s, m, h or d, not \"%s\"", duration);
        if (container && !*container)
                return bh_cli_usage("--container needs a name or an id");
        if (!bh_cli_types(names, types))
                return BH_EXIT_USAGE;

        gboolean pipe = g_str_equal(file, "-");
        if (pipe && bh_out_terminal())
                return bh_cli_usage("a capture is not for terminals; give -o a file or pipe it on");

        /* before the file is touched: without a sensor an older capture stays what it is */
        json_auto_t *status = bh_client_status(paths, 15, &error);
        if (!status)
                return bh_cli_fail(error);
        g_auto(BhFd) fd = bh_client_request(paths, bh_cli_events_request("wire", TRUE, container, types), &error);
        if (fd < 0)
                return bh_cli_fail(error);
        g_autoptr(BhCaptureWriter) writer = bh_capture_writer_new(file, bh_json_text(status, "node"), 0, &error);
        if (!writer)
                return bh_cli_fail(error);

        g_autoptr(GByteArray) rest = g_byte_array_new();
        g_autofree char *shown = bh_escape_cell(pipe ? "standard output" : file, -1);
        Recording r = { .writer = writer, .rest = rest };
        gint64 begin = g_get_monotonic_time();
        gboolean ended = FALSE;

        fprintf(stderr, "bulkhead: recording to %s; %s\n", shown, span ? "Ctrl-C stops earlier" : "Ctrl-C stops");
        gboolean ok = run(&r, fd, span ? begin + (gint64) (span / 1000) : 0, &ended, &error);
        g_autoptr(GError) unfinished = NULL;
        if (!bh_capture_writer_finish(writer, &unfinished) && ok) {
                g_propagate_error(&error, g_steal_pointer(&unfinished));
                ok = FALSE;
        }
        if (ended && ok)
                fprintf(stderr, "bulkhead: the sensor ended%s\n", rest->len ? " in the middle of an event, which is left out" : "");
        if (r.missed)
                fprintf(stderr, "bulkhead: %" G_GUINT64_FORMAT " events are missing in the capture, because it could not be written fast enough; the flight recorder has them\n", r.missed);
        if (!ok)
                return bh_cli_fail(error);

        g_autofree char *took = bh_out_span((guint64) (g_get_monotonic_time() - begin) / G_USEC_PER_SEC);
        fprintf(stderr, "bulkhead: %" G_GUINT64_FORMAT " events in %s recorded to %s\n", r.events, took, shown);
        return BH_EXIT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Syslog messages. Pure. */
#include <string.h>
#include <time.h>

#include "notify/send.h"

/* Falco's priorities are syslog's severities. */
static guint pri_of(const BhOutput *o, const BhAlert *a) {
        return o->facility * 8 + MIN(a->rank, 7);
}

/* A header's field: printable ASCII without spaces, at most `max`; "-" for nothing. */
static void append_field(GString *out, const char *text, gsize max) {
        gsize n = 0;

        for (; *text && n < max; text++, n++)
                g_string_append_c(out, (guint8) *text > 0x20 && (guint8) *text < 0x7f ? *text : '_');
        if (!n)
                g_string_append_c(out, '-');
}

/* RFC 5424 allows six digits of a second's fraction, and has no leap seconds. What is no time as the central writes it is "-". */
static void append_time(GString *out, const char *time_) {
        gboolean ok = strlen(time_) == 30 && time_[10] == 'T' && time_[19] == '.' && time_[29] == 'Z';

        for (guint i = 0; ok && i < 29; i++)
                ok = i == 4 || i == 7 ? time_[i] == '-' : i == 10 || i == 19 ? TRUE : i == 13 || i == 16 ? time_[i] == ':' : g_ascii_isdigit(time_[i]);
        if (ok)
                g_string_append_printf(out, "%.26sZ", time_);
        else
                g_string_append_c(out, '-');
}

GString *bh_syslog_message(const BhOutput *o, const BhAlert *a, int proc_id, gsize max, gboolean *cut) {
        GString *out = g_string_new(NULL);

        g_string_append_printf(out, "<%u>1 ", pri_of(o, a));
        append_time(out, a->time);
        g_string_append_c(out, ' ');
        append_field(out, a->hostname, 255);
        g_string_append_printf(out, " bulkhead %d alert - ", proc_id);
        /* the mark that says that UTF-8 follows; JSON is ASCII, and parsers stumble over the mark */
        if (o->format == BH_FORMAT_TEXT)
                g_string_append(out, "\xef\xbb\xbf");
        g_autoptr(GString) text = bh_format(a, o->format, max - out->len, cut);
        g_string_append_len(out, text->str, (gssize) text->len);
        return out;
}

GString *bh_syslog_local(const BhOutput *o, const BhAlert *a, int proc_id, gsize max, gboolean *cut) {
        static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
        GString *out = g_string_new(NULL);
        time_t now = time(NULL);
        struct tm tm;

        localtime_r(&now, &tm);
        g_string_append_printf(out, "<%u>%s %2d %02d:%02d:%02d bulkhead[%d]: ", pri_of(o, a), months[tm.tm_mon], tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, proc_id);
        g_autoptr(GString) text = bh_format(a, o->format, max - out->len, cut);
        g_string_append_len(out, text->str, (gssize) text->len);
        return out;
}

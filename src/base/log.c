/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <unistd.h>

#include "base/escape.h"

static gint min_level = BH_LOG_INFO;

void bh_log_set_level(BhLogLevel level) {
        g_atomic_int_set(&min_level, (gint) level);
}

void bh_log(BhLogLevel level, const char *msg, ...) {
        static const char *const names[] = { "debug", "info", "warn", "error" };

        if ((gint) level < g_atomic_int_get(&min_level))
                return;

        g_autoptr(GDateTime) now = g_date_time_new_now_utc();
        g_autofree char *when = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S");
        g_autoptr(GString) line = g_string_sized_new(256);

        g_string_append_printf(line, "%s.%03dZ level=%s msg=", when, g_date_time_get_microsecond(now) / 1000, names[level]);
        bh_escape_append_quoted(line, msg, -1);

        va_list ap;
        va_start(ap, msg);
        for (const char *key; (key = va_arg(ap, const char *)); ) {
                const char *value = va_arg(ap, const char *);

                g_string_append_printf(line, " %s=", key);
                bh_escape_append_quoted(line, value ? value : "", -1);
        }
        va_end(ap);
        g_string_append_c(line, '\n');

        /* Standard error may be gone or full; there is nowhere left to say so. */
        if (write(STDERR_FILENO, line->str, line->len) < 0)
                return;
}

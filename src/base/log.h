/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging for programs. Libraries return errors (GError) and do not log; a program logs each error once.
 *
 * One line a message, key=value, on standard error:
 *     2026-11-24T03:08:20.123Z level=warn msg="text" key="value" …
 * Foreign bytes are escaped (see escape.h), so no container can forge a line or drive a terminal.
 * Thread-safe: each line is one write(2).
 */
#pragma once
#include <glib.h>

typedef enum {
        BH_LOG_DEBUG,
        BH_LOG_INFO,
        BH_LOG_WARN,
        BH_LOG_ERROR,
} BhLogLevel;

/* Messages below `level` are not printed. Default: BH_LOG_INFO. */
void bh_log_set_level(BhLogLevel level);

/* Logs `msg` with a NULL-terminated list of (const char *key, const char *value) pairs; a NULL value prints as "". */
void bh_log(BhLogLevel level, const char *msg, ...) G_GNUC_NULL_TERMINATED;

#define bh_debug(...) bh_log(BH_LOG_DEBUG, __VA_ARGS__, NULL)
#define bh_info(...) bh_log(BH_LOG_INFO, __VA_ARGS__, NULL)
#define bh_warn(...) bh_log(BH_LOG_WARN, __VA_ARGS__, NULL)
#define bh_error(...) bh_log(BH_LOG_ERROR, __VA_ARGS__, NULL)

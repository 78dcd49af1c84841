/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The notifier: the central's program once more, as the process that delivers alerts (bulkhead-central --notifier, started by its keeper). It alone
 * has a way out of the machine, and has nothing else: not the database, not the keys of the web interface, no API. What it is told to connect to
 * is known before its sandbox closes, and the sandbox lets it connect to those ports alone; another configuration needs another process.
 */
#pragma once
#include <glib.h>

typedef struct {
        const char *dir;       /* <data>/central: the queue is in notify/ below it */
        const char *alert_dir; /* of files */
        guint summary_s;       /* equal findings are told once in so many seconds */
} BhNotifierConfig;

/* Runs until the socket's end or SIGTERM. The exit status. */
int bh_notifier_main(const BhNotifierConfig *config);

/* SPDX-License-Identifier: Apache-2.0 */
/* SIGINT, SIGTERM and SIGHUP as a request to stop in order, for commands that run on. One thread. */
#pragma once
#include <glib.h>

/* From here on the signals only make the returned descriptor readable, and interrupt a blocked system call. */
int bh_stop_install(void);

/* How many of them have come. */
guint bh_stop_asked(void);

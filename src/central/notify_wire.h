/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the central and its notifier, the process that delivers alerts: frames on a socket pair. A frame is a 32-bit little-endian length, of at
 * most BH_NOTIFY_FRAME_MAX, one byte that says what it is, and the rest of it.
 *
 *     central to notifier   C  first and once: the configuration (JSON)           notifier to central   H  ready: the position that it has (decimal)
 *                           A  a finding that is new or has grown (JSON)                                S  how it is (JSON); each few seconds
 *                           P  the alerts before belong to this position (decimal)                      R  how a test went: {"call", "problem"}
 *                           G  some were lost before these: the change log does not go back so far
 *                           T  test an output: {"call", "name", "who"}
 *
 * The end of the stream, from either side, is the end. The notifier keeps what it has taken in (with position) on its disk; the central begins
 * at the position that it says. Blocking; one thread for each direction.
 */
#pragma once
#include <glib.h>

#define BH_NOTIFY_FRAME_MAX (5u << 20)

gboolean bh_notify_write(int fd, char what, const char *data, gsize len);
/* NULL: the end, or no frame of ours. NUL-terminated behind *len bytes. Caller frees. */
char *bh_notify_read(int fd, char *what, gsize *len);

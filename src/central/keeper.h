/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts the notifier, and starts it anew whenever it ends. The central cannot: its sandbox lets it start nothing. So a small process is forked
 * before the sandbox closes, as the central's own user; it opens nothing, reads nothing but the end of its socket to the central, and executes one
 * program. For each notifier it makes a socket pair and passes the central its end over that socket. It ends with the central (the socket's
 * end): then the notifier is asked to end, and killed after BH_KEEPER_GRACE_MS.
 *
 * A notifier that ends by itself with status 0 (its configuration changed) is started again at once, any other after 1 s, 2 s … 30 s.
 */
#pragma once
#include <glib.h>

#define BH_KEEPER_GRACE_MS 6000

/* The notifier's descriptor of its end. */
#define BH_KEEPER_FD 3

/* Before there are threads. `argv` is what the notifier is executed with. The socket to the keeper, or -1. */
int bh_keeper_start(char *const *argv, GError **error);

/* The next notifier's socket; waits. -1: the keeper is gone, or shutdown() was called on the socket. */
int bh_keeper_receive(int keeper);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The central's directories, sockets and lock. bh_place_prepare() and bh_place_listen() run before privileges are dropped, the others after.
 */
#pragma once
#include <glib.h>
#include <sys/types.h>

/*
 * Makes <run>/central (0755) and <data>/central (0700), owned by `uid`. As root the two directories above get the search permission for
 * others (they must be passed, not read). A directory that is somebody else's and not empty is refused: its files would be as well.
 */
gboolean bh_place_prepare(const char *run_dir, const char *data_dir, uid_t uid, gid_t gid, GError **error);

/* The directory for files of alerts: made (0750, `uid`'s) if it is not there and the one above is; else left as it is. */
gboolean bh_place_prepare_alerts(const char *dir, uid_t uid, gid_t gid, GError **error);

/* "127.0.0.1:8443", "[::1]:8443"; port 0: any. A listening, non-blocking socket; *url is "https://…" with the real port. -1 on failure. */
int bh_place_listen(const char *address, char **url, GError **error);

/* A Unix socket for everybody (mode 0666); a stale one is replaced. -1 on failure. */
int bh_place_listen_local(const char *path, GError **error);

/* Locks <run>/central/central.pid, which names the holder, until the process ends. */
gboolean bh_place_lock(const char *run_dir, GError **error);

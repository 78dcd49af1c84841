/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What programs are, by the SHA-256 of their content, for the worker of bulkhead-keeper (keeper_worker.h). Content is read on threads of its own, since that takes a disk; what was read is known by the file's identity
 * (device, inode, size, times of its last changes) until that changes. A file that changes while it is read is read anew; one that goes on changing cannot be told.
 *
 * Read each time, since the identity would not tell the next change: a file that was changed less than BH_KEEPER_FRESH_S ago (a mapped page may be written, after the file's times were set for it, until the kernel
 * writes it back), and any on a tmpfs, whose pages are never written back. An overlay whose own layer is a tmpfs is not told from others.
 *
 * Bounds: BH_KEEPER_PROGRAM_MAX bytes of a program, beyond which it cannot be told; BH_KEEPER_KNOWN contents, all forgotten when there is no room; BH_KEEPER_READING that wait. There is no bound of time: a disk that
 * does not answer holds a thread. Who asks sees to it (keeper_worker.h).
 */
#pragma once
#include <glib.h>

#define BH_KEEPER_HASH 32u
#define BH_KEEPER_PROGRAM_MAX (256u << 20)
#define BH_KEEPER_KNOWN 16384u
#define BH_KEEPER_READING 1024u
#define BH_KEEPER_FRESH_S 60 /* dirty pages are written back after 30 s, as kernels are set (vm.dirty_expire_centisecs) */

typedef struct BhKeeperHasher BhKeeperHasher;

/* `hash` NULL: it cannot be told. On a thread of the hasher. */
typedef void (*BhKeeperHashed)(gpointer question, const guint8 *hash, gpointer data);

/* For as long as the process. NULL with *error: there are no threads. */
BhKeeperHasher *bh_keeper_hasher_new(BhKeeperHashed done, gpointer data, GError **error);
/* What is behind the descriptor, from memory alone. FALSE: it has to be read. Any thread. */
gboolean bh_keeper_hash_known(BhKeeperHasher *h, int fd, guint8 out[BH_KEEPER_HASH]);
/* Reads it, by a descriptor of its own, and then calls. `turn`: those with a lower one go first. FALSE: too many wait, or there is no descriptor; it does not call. */
gboolean bh_keeper_hash_read(BhKeeperHasher *h, int fd, guint turn, gpointer question);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clear text of TLS connections: probes on the functions of OpenSSL (1.1 and 3) and GnuTLS by which a program reads and writes, in whichever file of a container
 * they are: a library, or an executable that has them in it and is not stripped. The pieces come as those of BhPayload, with the flag BH_PAYLOAD_TLS.
 *
 * A probe belongs to a file (device and inode), and fires in every process that maps it, the host's too, at about 1 µs a call; only containers' calls are looked
 * at further. Which connection a call belongs to is not asked of the library: it is the socket that the thread read or wrote inside the call, or inside an
 * earlier one of the same session.
 *
 * Who finds the files, and knows when nobody uses them any more: tls_watch.h. ELF files are hostile bytes: nothing here reads them.
 *
 * The calls of a handshake may be missed, where the kernel runs no program of a socket because the same one was interrupted on that CPU (BhPayloadStats.interrupted): then the connection is told as
 * closed, and its clear text comes from the next call on.
 *
 * Not seen: 32-bit programs; other libraries (BH_PAYLOAD_TLS_CLOSED says that of a connection); a library that does its input and output in another thread than its caller's.
 *
 * Any thread may call.
 */
#pragma once
#include "parse/elf.h"
#include "payload.h"

#define BH_PAYLOAD_TLS_FILES 256u /* with probes at a time; more are refused and counted */

/*
 * Attaches to what `elf` has of the functions, and remembers the file, until bh_payload_tls_detach() or bh_payload_stop(). `dev` and `ino` are the caller's name of it. FALSE: it is not started, the bound is reached or the kernel refuses; a file without such functions
 * is no error.
 */
gboolean bh_payload_tls_attach(BhPayload *p, guint64 dev, guint64 ino, const char *path, const BhElf *elf, GError **error);
/* Takes its probes away and forgets it. Waits for the kernel, some hundred milliseconds. One that is not known is no error. */
void bh_payload_tls_detach(BhPayload *p, guint64 dev, guint64 ino);

typedef struct {
        guint files;     /* with probes now */
        guint functions; /* in them */
        guint64 refused; /* files that the kernel refused, or that were beyond the bound */
} BhPayloadTlsStats;
void bh_payload_tls_stats(BhPayload *p, BhPayloadTlsStats *stats);

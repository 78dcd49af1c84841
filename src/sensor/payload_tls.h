/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clear text of TLS connections: probes on the functions of OpenSSL (1.1 and 3) and GnuTLS by which a program reads and writes, in whichever file of a container
 * they are: a library, or an executable that has them in it and is not stripped. The pieces come as those of BhPayload, with the flag BH_PAYLOAD_TLS.
 *
 * A probe belongs to a file (device and inode), and fires in every process that maps it, the host's too, at about 1 µs a call; only containers' calls are looked
 * at further. Which connection a call belongs to is not asked of the library: it is the socket that the thread read or wrote inside the call, or inside an
 * earlier one of the same session.
 *
 * A way to use it: for each container process that runs at the start, and at each exec and each mapping of an executable file, bh_payload_tls_files();
 * for each file that bh_payload_tls_known() does not know, the inspector's ELF with bh_payload_tls_functions() as names; then bh_payload_tls_attach().
 * ELF files are hostile bytes: nothing here reads them.
 *
 * Not seen: 32-bit programs; other libraries (BH_PAYLOAD_TLS_CLOSED says that of a connection); a library that does its input and output in another thread than its caller's.
 *
 * Any thread may call.
 */
#pragma once
#include "parse/elf.h"
#include "payload.h"

#define BH_PAYLOAD_TLS_FILES 256u /* with probes at a time; more are refused and counted */

typedef struct {
        guint64 dev, ino; /* as in /proc/PID/maps: device as stat() has it */
        char path[64];    /* by which the kernel finds the file now, while the process maps it: /proc/PID/map_files/… */
        const char *name; /* as the process knows it; good during the call */
} BhPayloadTlsFile;

/* Names to ask the inspector for. */
const char *const *bh_payload_tls_functions(guint32 *n);

/*
 * Files that a process maps executable and that may hold such functions: its executable, and what is named as those libraries are. FALSE: it is gone. `proc`: "/proc".
 */
gboolean bh_payload_tls_files(const char *proc, guint32 pid, void (*found)(const BhPayloadTlsFile *file, gpointer data), gpointer data);

/* Whether the file was offered before, with or without such functions in it. */
gboolean bh_payload_tls_known(BhPayload *p, guint64 dev, guint64 ino);

/*
 * Attaches to what `elf` has of the functions, and remembers the file, until bh_payload_stop(). FALSE: it is not started, the bound is reached or the kernel refuses; a file without such functions
 * is no error.
 */
gboolean bh_payload_tls_attach(BhPayload *p, guint64 dev, guint64 ino, const char *path, const BhElf *elf, GError **error);

typedef struct {
        guint files;     /* with probes now */
        guint functions; /* in them */
        guint64 refused; /* files that the kernel refused, or that were beyond the bound */
} BhPayloadTlsStats;
void bh_payload_tls_stats(BhPayload *p, BhPayloadTlsStats *stats);

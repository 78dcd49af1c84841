/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of a process that may have functions of a TLS library in them: its executable, and what is named as such libraries are. And what to call what is found there.
 * Names and paths are a container's own: escape them. No state; any thread.
 */
#pragma once
#include "parse/elf.h"

typedef struct {
        guint64 dev, ino; /* as in /proc/PID/maps, which of layered file systems is not what stat() says */
        char path[160];   /* by which the kernel finds the file now, while the process maps it: PROC/PID/map_files/… */
        const char *name; /* as the process knows it; good during the call */
        gboolean executable; /* it is the program itself */
} BhTlsFile;

#define BH_TLS_FILES_MAX 64u /* of a process */

/* What the process maps executable of such files; of more than BH_TLS_FILES_MAX the first, so that one process does not keep all others waiting. FALSE: it is gone. `proc`: "/proc". */
gboolean bh_tls_files(const char *proc, guint32 pid, void (*found)(const BhTlsFile *file, gpointer data), gpointer data);

/* Whether a path is named as a TLS library of which the clear text can be had. */
gboolean bh_tls_file_named(const char *path);

/* Functions that carry clear text, and after them those by which a library is known whose clear text is not to be had. To ask the inspector for. */
const char *const *bh_tls_symbols(guint32 *n);

/*
 * "OpenSSL 3", "OpenSSL 1.1", "GnuTLS", "OpenSSL in the program": clear text can be had of it (*open). "Go": it cannot. NULL: it has no TLS that is known. Caller frees.
 */
char *bh_tls_library(const BhElf *elf, gboolean executable, gboolean *open);

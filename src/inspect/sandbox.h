/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inspector's way into its sandbox, in three steps that cannot be taken back. Call them once each, in this order, single-threaded.
 * What each establishes is checked by its effect, not by the result of the call alone. On failure *error is a sentence and the process
 * must end.
 *
 * Must hold: not root, no groups, no capabilities, no_new_privs, seccomp. The rest (namespaces, an empty root, Landlock) depends on the
 * kernel and on who started the program; *layers says what there is (BhInspectLayers). A build with a sanitizer has no seccomp filter
 * and no limit on memory and file sizes, because the sanitizer's runtime needs system calls, address space and a place for its report;
 * bh_sandbox_seal() then does nothing and the layer's bit stays 0.
 */
#pragma once
#include <glib.h>

/* The bytes of address space that the inspector may have: a file of BH_INSPECT_FILE_MAX twice over, and what parsing takes. */
#define BH_SANDBOX_ADDRESS_SPACE (G_GUINT64_CONSTANT(512) << 20)
#define BH_SANDBOX_FILES 16u
#define BH_SANDBOX_ID 65534u

/* Closes all descriptors but `keep`, puts /dev/null on 0 to 2 (a sanitizer build keeps 2), sets limits, dies with its parent. */
gboolean bh_sandbox_prepare(int keep, GError **error);
/* Namespaces, empty root, ids, capabilities, no_new_privs, Landlock. */
gboolean bh_sandbox_confine(guint32 *layers, GError **error);
/* The system-call filter: what is not on its list kills the process. `fd` is the only descriptor that may be written. `web`: also the two calls that the web-attack engine needs. */
gboolean bh_sandbox_seal(int fd, gboolean web, guint32 *layers, GError **error);

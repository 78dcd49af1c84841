/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is the same about paths, arguments and names that differ each time: numbers, hashes, UUIDs, dates, temporary names, ids.
 *
 * A template keeps every word. Only parts whose shape says that chance or a counter made them are replaced: {n}, {hex}, {uuid}, {date}, {tmp}, {ip}. It is never
 * the directory that decides, so /etc/shadow is no "one more file under /etc" (that many files of one directory may become one item is a matter of the model, which
 * spares such directories: bh_template_wild()). In sensitive places (/etc, /root, /usr, …, .ssh, secrets) only hashes and UUIDs are replaced, the number of a renewed certificate (cert12.pem), and the directory that a
 * renewed secret is mounted by ("..2026_11_27_10_00_00.123"); /proc/1 stays itself; public
 * addresses stay; executables are never generalised: their paths are compared as they are. A brace in the input is doubled, so that nobody can write a template.
 *
 * Too long a template ends in "#" and 16 digits of a hash of all of it: what differs behind the bound still differs.
 *
 * Pure, thread-safe, no allocation. Inputs are hostile bytes; outputs are NUL-terminated, hold what bytes the input held, and no NUL. Returned: the length.
 */
#pragma once
#include <glib.h>

#define BH_TEMPLATE_MAX 256u /* with the NUL: what buffers must hold */
#define BH_TEMPLATE_ARGS 24u /* arguments that are looked at; the others count in the hash */

gsize bh_template_path(const char *path, gsize len, char out[BH_TEMPLATE_MAX]);
/*
 * Arguments: NUL-terminated texts one after the other (the last NUL may be missing). The first one is left out where it is the executable's own name, so that an applet of
 * busybox keeps its name.
 */
gsize bh_template_args(const char *exe, gsize exe_len, const char *args, gsize len, char out[BH_TEMPLATE_MAX]);
/* A DNS name: in small letters; of more than three labels the first ones are one "*"; the last two are never generalised. */
gsize bh_template_name(const char *name, gsize len, char out[BH_TEMPLATE_MAX]);

/* A path, or template of one, in a place where each file counts. */
gboolean bh_template_sensitive(const char *path, gsize len);
/* Where programs may be written at run time: /tmp, /var/tmp, /dev/shm, /run, … */
gboolean bh_template_writable(const char *path, gsize len);
/* Files that hold secrets: shadow, private keys, tokens, credentials of clouds. */
gboolean bh_template_credential(const char *path, gsize len);
/*
 * The item that a path becomes when its directory has too many: "/var/lib/app/x/" + "*" + extension. FALSE: it must not (sensitive, scripts and libraries,
 * top directories).
 */
gboolean bh_template_wild(const char *path, gsize len, char out[BH_TEMPLATE_MAX]);

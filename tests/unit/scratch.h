/* SPDX-License-Identifier: Apache-2.0 */
/* What a test leaves on disk. */
#pragma once
#include <glib/gstdio.h>

/* The file or directory with all that is in it; links are removed and not followed. */
static inline void bh_test_remove(const char *path) {
        g_autoptr(GDir) dir = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);

        for (const char *name; dir && (name = g_dir_read_name(dir));) {
                g_autofree char *child = g_build_filename(path, name, NULL);

                bh_test_remove(child);
        }
        g_remove(path);
}

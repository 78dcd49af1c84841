/* SPDX-License-Identifier: Apache-2.0 */
#include "enforce_pin.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <xxhash.h>

#define BPF_FS_MAGIC_NUMBER 0xcafe4a11u

gboolean bh_enforce_fail(GError **error, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        if (error)
                *error = g_error_new_valist(G_FILE_ERROR, G_FILE_ERROR_FAILED, format, ap);
        va_end(ap);
        return FALSE;
}

gboolean bh_pins_mounted(const char *dir) {
        struct statfs fs;

        return statfs(dir, &fs) == 0 && (guint32) fs.f_type == BPF_FS_MAGIC_NUMBER;
}

void bh_pins_remove(const char *home) {
        DIR *d = opendir(home);

        if (!d)
                return;
        for (struct dirent *one; (one = readdir(d));)
                if (one->d_name[0] != '.')
                        unlinkat(dirfd(d), one->d_name, 0);
        closedir(d);
        rmdir(home);
}

gboolean bh_pins_make(const char *dir, const char *home, GError **error) {
        if (g_mkdir_with_parents(dir, 0700))
                return bh_enforce_fail(error, "cannot make %s: %s", dir, g_strerror(errno));
        if (!bh_pins_mounted(dir) && mount("bpf", dir, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"))
                return bh_enforce_fail(error, "cannot mount a BPF file system on %s: %s", dir, g_strerror(errno));
        bh_pins_remove(home);
        if (mkdir(home, 0700))
                return bh_enforce_fail(error, "cannot make %s: %s", home, g_strerror(errno));
        return TRUE;
}

void bh_pins_unmount(const char *dir) {
        if (umount2(dir, MNT_DETACH) == 0)
                rmdir(dir);
}

GPtrArray *bh_pins_others(const char *dir, const char *home) {
        GPtrArray *others = g_ptr_array_new_with_free_func(g_free);
        DIR *d = opendir(dir);

        for (struct dirent *one; d && (one = readdir(d));) {
                char *path = g_build_filename(dir, one->d_name, NULL);

                if (one->d_name[0] != '.' && !g_str_equal(path, home))
                        g_ptr_array_add(others, path);
                else
                        g_free(path);
        }
        if (d)
                closedir(d);
        return others;
}

char *bh_pins_home(const char *dir, const void *bytes, gsize size) {
        return g_strdup_printf("%s/%016" G_GINT64_MODIFIER "x", dir, (guint64) XXH3_64bits(bytes, size));
}

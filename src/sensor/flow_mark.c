/* SPDX-License-Identifier: Apache-2.0 */
#include "sensor/flow_mark.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"

#define VERSION 1u

gboolean bh_flow_mark_read(const char *path, BhFlowMark *m) {
        g_autofree char *text = bh_file_read(AT_FDCWD, path, 512, NULL, NULL, NULL);
        BhFlowMark got;
        char gone[8] = "";
        guint version;

        if (text)
                text[strcspn(text, "\n")] = '\0'; /* what is behind it may be of a longer one */
        if (!text || sscanf(text, "%u %63s %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %7s", &version, got.boot_id, &got.after, &got.through, &got.failed_after,
                            &got.failed_through, gone) < 6 ||
            version != VERSION || got.after > got.through || got.failed_after > got.failed_through || got.failed_through > got.through)
                return FALSE;
        got.gone = g_str_equal(gone, "gone");
        *m = got;
        return TRUE;
}

/* One write of less than a block into one that is there: nothing is allocated, and whoever is killed has written all of it or nothing. What is longer behind it does not matter. */
static gboolean write_in_place(const char *path, const char *text) {
        g_auto(BhFd) fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
        gsize len = strlen(text);

        return fd >= 0 && pwrite(fd, text, len, 0) == (ssize_t) len;
}

gboolean bh_flow_mark_write(const char *path, const BhFlowMark *m, GError **error) {
        g_autofree char *text = g_strdup_printf("%u %s %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT "%s\n", VERSION, m->boot_id, m->after, m->through, m->failed_after,
                                                m->failed_through, m->gone ? " gone" : "");
        g_autoptr(GError) why = NULL;

        if (g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, &why) || write_in_place(path, text))
                return TRUE;
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
}

guint64 bh_flow_mark_through(const char *data_dir) {
        g_autofree char *path = g_build_filename(data_dir, BH_FLOW_MARK, NULL);
        BhFlowMark m;

        return bh_flow_mark_read(path, &m) && m.gone && m.through < G_MAXINT64 ? m.through : 0;
}

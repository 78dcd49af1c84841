/* SPDX-License-Identifier: Apache-2.0 */
#include "response/files.h"

#include <string.h>

static void mount_clear(gpointer data) {
        BhFileMount *m = data;

        g_free(m->root);
        g_free(m->point);
        g_free(m->type);
}

/* \040 and the like stand for what would end a part of the line. */
static char *unescaped(const char *text) {
        GString *out = g_string_new(NULL);

        for (; *text; text++) {
                if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] >= '0' && text[2] <= '7' && text[3] >= '0' && text[3] <= '7') {
                        g_string_append_c(out, (char) ((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0')));
                        text += 3;
                } else {
                        g_string_append_c(out, *text);
                }
        }
        return g_string_free(out, FALSE);
}

/* 36 35 98:0 /part /where rw,noatime master:1 - ext4 /dev/sda1 rw */
static gboolean parse_line(char *line, const char *chroot, BhFileMount *m) {
        g_auto(GStrv) head = g_strsplit(line, " ", 7);
        const char *tail = strstr(line, " - ");
        guint64 id, major, minor;
        char *colon;

        if (g_strv_length(head) < 7 || !tail || !(colon = strchr(head[2], ':')))
                return FALSE;
        *colon = '\0';
        if (!g_ascii_string_to_unsigned(head[0], 10, 0, G_MAXUINT, &id, NULL) || !g_ascii_string_to_unsigned(head[2], 10, 0, G_MAXUINT32, &major, NULL) ||
            !g_ascii_string_to_unsigned(colon + 1, 10, 0, G_MAXUINT32, &minor, NULL))
                return FALSE;
        g_autofree char *point = unescaped(head[4]);

        m->id = (guint) id;
        m->dev = major << 32 | minor;
        m->root = unescaped(head[3]);
        m->point = g_str_equal(chroot, "/") ? g_steal_pointer(&point) : g_strconcat(chroot, g_str_equal(point, "/") ? "" : point, NULL);
        m->type = g_strndup(tail + 3, strcspn(tail + 3, " "));
        return TRUE;
}

GArray *bh_file_mounts_parse(const char *text, gsize len, const char *chroot) {
        g_autofree char *copy = g_strndup(text, len);
        g_auto(GStrv) lines = g_strsplit(copy, "\n", (gint) BH_FILE_MOUNTS_MAX + 2);
        g_autoptr(GArray) mounts = g_array_new(FALSE, TRUE, sizeof(BhFileMount));

        g_array_set_clear_func(mounts, mount_clear);
        if (g_strv_length(lines) > BH_FILE_MOUNTS_MAX)
                return NULL;
        for (guint i = 0; lines[i]; i++) {
                BhFileMount m = { 0 };

                if (!*lines[i])
                        continue;
                if (!parse_line(lines[i], chroot, &m))
                        return NULL;
                g_array_append_val(mounts, m);
        }
        return g_steal_pointer(&mounts);
}

const BhFileMount *bh_file_mounts_find(const GArray *mounts, guint id) {
        for (guint i = mounts->len; i-- > 0;)
                if (g_array_index(mounts, BhFileMount, i).id == id)
                        return &g_array_index(mounts, BhFileMount, i);
        return NULL;
}

gboolean bh_file_below(const char *path, const char *dir) {
        gsize len = strlen(dir);

        return g_str_equal(dir, "/") || (strncmp(path, dir, len) == 0 && (!path[len] || path[len] == '/'));
}

char *bh_file_inside(const BhFileMount *m, const char *path) {
        const char *rest = path + (g_str_equal(m->point, "/") ? 0 : strlen(m->point));

        if (*path != '/' || !bh_file_below(path, m->point))
                return NULL;
        if (!*rest || g_str_equal(rest, "/"))
                return g_strdup(m->root);
        return g_strconcat(g_str_equal(m->root, "/") ? "" : m->root, rest, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "response/files.h"

#include <string.h>

#define PREFIX "file:"

static const struct {
        const char *name;
        BhFileMode mode;
} modes[] = { { "read", BH_FILE_READ }, { "write", BH_FILE_WRITE }, { "any", BH_FILE_ANY } };

void bh_file_rule_free(BhFileRule *rule) {
        if (!rule)
                return;
        g_free(rule->path);
        g_free(rule);
}

gboolean bh_file_rule_is(const char *text) {
        return g_str_has_prefix(text, PREFIX);
}

static gpointer bad(GError **error, const char *text, const char *why) {
        g_autofree char *shown = g_utf8_make_valid(text, (gssize) MIN(strlen(text), 100));

        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "\"%s\" %s; a file is denied like file:any:/etc/shadow, a tree like file:write:/srv/data/**", shown, why);
        return NULL;
}

static gboolean is_plain(const char *path) {
        g_auto(GStrv) parts = NULL;

        if (*path != '/')
                return FALSE;
        if (!path[1])
                return TRUE;
        parts = g_strsplit(path + 1, "/", -1);
        for (guint i = 0; parts[i]; i++)
                if (!*parts[i] || g_str_equal(parts[i], ".") || g_str_equal(parts[i], ".."))
                        return FALSE;
        return TRUE;
}

BhFileRule *bh_file_rule_parse(const char *text, GError **error) {
        g_autoptr(BhFileRule) rule = g_new0(BhFileRule, 1);
        const char *at = text + strlen(PREFIX), *colon;

        if (!bh_file_rule_is(text) || !(colon = strchr(at, ':')))
                return bad(error, text, "names no mode");
        for (guint i = 0; i < G_N_ELEMENTS(modes); i++)
                if (strlen(modes[i].name) == (gsize) (colon - at) && g_str_has_prefix(at, modes[i].name))
                        rule->mode = modes[i].mode;
        if (!rule->mode)
                return bad(error, text, "has another mode than read, write and any");
        rule->path = g_strdup(colon + 1);
        if (strlen(rule->path) > BH_FILE_PATH_MAX)
                return bad(error, text, "is too long");
        if (g_str_has_suffix(rule->path, "/**")) {
                rule->tree = TRUE;
                rule->path[strlen(rule->path) - (strlen(rule->path) == 3 ? 2 : 3)] = '\0';
        }
        if (strpbrk(rule->path, "*?[\n"))
                return bad(error, text, "has a wildcard or the end of a line: only /** at the end, for a whole tree, is known");
        if (!is_plain(rule->path))
                return bad(error, text, "is no absolute path without empty parts, \".\" and \"..\"");
        return g_steal_pointer(&rule);
}

GPtrArray *bh_file_rules_parse(const char *const *texts, gsize n, GError **error) {
        g_autoptr(GPtrArray) rules = g_ptr_array_new_with_free_func((GDestroyNotify) bh_file_rule_free);

        for (gsize i = 0; i < n; i++) {
                BhFileRule *rule;

                if (!bh_file_rule_is(texts[i]))
                        continue;
                if (!(rule = bh_file_rule_parse(texts[i], error)))
                        return NULL;
                g_ptr_array_add(rules, rule);
                if (rules->len > BH_FILE_RULES_MAX) {
                        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "more than %u files are denied to one container: name trees instead of single files", BH_FILE_RULES_MAX);
                        return NULL;
                }
        }
        return g_steal_pointer(&rules);
}

/* ---- mounts ---- */

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

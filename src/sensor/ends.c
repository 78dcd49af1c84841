/* SPDX-License-Identifier: Apache-2.0 */
#include "ends.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"

#define FILE_MAX (64u << 10)
#define MORE "more " /* a line with the number of those that are not named */

struct BhEnds {
        char *path, *run;
        GPtrArray *names; /* oldest first */
        guint64 more;
        gint64 found_ns;
        gboolean marked;
};

static gboolean is_name(const char *text) {
        gsize n = strlen(text);

        return n && n <= BH_ENDS_NAME_MAX && strspn(text, "0123456789abcdefghijklmnopqrstuvwxyz-") == n;
}

void bh_ends_add(BhEnds *e, const char *name) {
        if (e->names->len >= BH_ENDS_MAX) {
                g_ptr_array_remove_index(e->names, 0);
                e->more++;
        }
        g_ptr_array_add(e->names, g_strdup(name));
}

/* The last run stands first in the file, and ended last. What is none of ours, as a file from before there were names, is one end with the time for its name. */
static void parse(BhEnds *e, const char *text) {
        g_auto(GStrv) lines = g_strsplit(text, "\n", 0);

        for (char **line = *lines ? lines + 1 : lines; *line; line++) {
                if (g_str_has_prefix(*line, MORE))
                        e->more += g_ascii_strtoull(*line + strlen(MORE), NULL, 10);
                else if (is_name(*line))
                        bh_ends_add(e, *line);
        }
        if (*lines && is_name(*lines)) {
                bh_ends_add(e, *lines);
        } else {
                g_autofree char *name = g_strdup_printf("%" G_GINT64_FORMAT, e->found_ns);

                bh_ends_add(e, name);
        }
}

BhEnds *bh_ends_open(const char *path, const char *run) {
        g_autofree char *text = bh_file_read(AT_FDCWD, path, FILE_MAX, NULL, NULL, NULL);
        BhEnds *e = g_new0(BhEnds, 1);
        struct stat st;

        e->path = g_strdup(path);
        e->run = g_strdup(run);
        e->names = g_ptr_array_new_with_free_func(g_free);
        if (stat(path, &st) == 0) {
                e->found_ns = (gint64) st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
                parse(e, text ? text : "");
        }
        return e;
}

void bh_ends_free(BhEnds *e) {
        if (!e)
                return;
        g_ptr_array_unref(e->names);
        g_free(e->path);
        g_free(e->run);
        g_free(e);
}

gint64 bh_ends_found_ns(const BhEnds *e) {
        return e->found_ns;
}

guint bh_ends_count(const BhEnds *e) {
        return e->names->len;
}

const char *bh_ends_name(const BhEnds *e, guint i) {
        return g_ptr_array_index(e->names, i);
}

guint64 bh_ends_more(const BhEnds *e) {
        return e->more;
}

/* Whole or not at all: a sensor killed meanwhile leaves the file as it was. */
static gboolean put(const BhEnds *e, const char *first, guint names, GError **error) {
        g_autoptr(GString) text = g_string_new(first);

        g_string_append_c(text, '\n');
        for (guint i = 0; i < names; i++)
                g_string_append_printf(text, "%s\n", bh_ends_name(e, i));
        if (e->more)
                g_string_append_printf(text, MORE "%" G_GUINT64_FORMAT "\n", e->more);
        return g_file_set_contents_full(e->path, text->str, (gssize) text->len, G_FILE_SET_CONTENTS_CONSISTENT, 0600, error);
}

gboolean bh_ends_mark(BhEnds *e, GError **error) {
        e->marked = put(e, e->run, e->names->len, error);
        return e->marked;
}

gboolean bh_ends_told(BhEnds *e, GError **error) {
        g_ptr_array_set_size(e->names, 0);
        e->more = 0;
        return !e->marked || put(e, e->run, 0, error);
}

void bh_ends_close(BhEnds *e) {
        if (!e->marked)
                return;
        e->marked = FALSE;
        /* the newest of them takes this run's line; if it cannot, this run counts as one that was killed: too many are better than too few */
        if (e->names->len)
                put(e, bh_ends_name(e, e->names->len - 1), e->names->len - 1, NULL);
        else
                unlink(e->path);
}

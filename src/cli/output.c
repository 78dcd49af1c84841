/* SPDX-License-Identifier: Apache-2.0 */
#include "output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/escape.h"
#include "commands.h"

#define CELL_COLUMNS 60
#define COLUMNS_MAX 16

gboolean bh_out_terminal(void) {
        static int terminal = -1;

        if (terminal < 0)
                terminal = isatty(STDOUT_FILENO) == 1;
        return terminal;
}

const char *bh_out_style(BhStyle style) {
        static const char *const begin[] = { "\033[0m", "\033[2m", "\033[1m", "\033[1;31m", "\033[32m" };
        static int colours = -1;

        if (colours < 0) {
                const char *no = g_getenv("NO_COLOR");

                colours = bh_out_terminal() && !(no && *no) && g_strcmp0(g_getenv("TERM"), "dumb") != 0;
        }
        return colours ? begin[style] : "";
}

/* ---- tables ---- */

typedef struct {
        char *text;
        guint width;
        BhStyle style;
} Cell;

struct BhTable {
        guint columns;
        gboolean right[COLUMNS_MAX];
        guint width[COLUMNS_MAX];
        GArray *cells; /* headers first */
};

static guint columns_of(gunichar c) {
        return g_unichar_iszerowidth(c) ? 0 : g_unichar_iswide(c) ? 2 : 1;
}

static void clear_cell(gpointer cell) {
        g_free(((Cell *) cell)->text);
}

/* Takes `text`, which is valid UTF-8. */
static void add(BhTable *t, char *text, BhStyle style) {
        guint column = t->cells->len % t->columns;
        Cell cell = { .text = text, .style = style };

        for (const char *p = text; *p; p = g_utf8_next_char(p))
                cell.width += columns_of(g_utf8_get_char(p));
        if (cell.width > CELL_COLUMNS && column + 1 < t->columns) {
                const char *p = text;

                cell.width = 0;
                for (; cell.width + columns_of(g_utf8_get_char(p)) < CELL_COLUMNS; p = g_utf8_next_char(p))
                        cell.width += columns_of(g_utf8_get_char(p));
                g_autofree char *kept = g_strndup(text, (gsize) (p - text));
                g_free(text);
                cell.text = g_strconcat(kept, "…", NULL);
                cell.width++;
        }
        t->width[column] = MAX(t->width[column], cell.width);
        g_array_append_val(t->cells, cell);
}

BhTable *bh_table_new(const char *const headers[]) {
        BhTable *t = g_new0(BhTable, 1);

        t->cells = g_array_new(FALSE, FALSE, sizeof(Cell));
        g_array_set_clear_func(t->cells, clear_cell);
        while (headers[t->columns])
                t->columns++;
        g_assert(t->columns <= COLUMNS_MAX);
        for (guint i = 0; i < t->columns; i++) {
                t->right[i] = headers[i][0] == '>';
                add(t, g_strdup(headers[i] + t->right[i]), BH_STYLE_BOLD);
        }
        return t;
}

void bh_table_cell(BhTable *t, const char *text, BhStyle style) {
        add(t, bh_escape_cell(text ? text : "", -1), style);
}

void bh_table_number(BhTable *t, guint64 n) {
        add(t, g_strdup_printf("%" G_GUINT64_FORMAT, n), n ? BH_STYLE_NONE : BH_STYLE_DIM);
}

void bh_table_print(const BhTable *t) {
        for (guint i = 0; i < t->cells->len; i++) {
                const Cell *cell = &g_array_index(t->cells, Cell, i);
                guint column = i % t->columns;
                int pad = (int) (t->width[column] - cell->width);
                gboolean last = column + 1 == t->columns;

                if (t->right[column])
                        printf("%*s", pad, "");
                if (cell->style && *cell->text)
                        printf("%s%s%s", bh_out_style(cell->style), cell->text, bh_out_style(BH_STYLE_NONE));
                else
                        fputs(cell->text, stdout);
                if (!t->right[column] && !last)
                        printf("%*s", pad, "");
                fputs(last ? "\n" : "  ", stdout);
        }
}

void bh_table_free(BhTable *t) {
        if (!t)
                return;
        g_array_unref(t->cells);
        g_free(t);
}

/* ---- values ---- */

char *bh_out_span(guint64 s) {
        if (s < 60)
                return g_strdup_printf("%" G_GUINT64_FORMAT " s", s);
        if (s < 3600)
                return g_strdup_printf("%" G_GUINT64_FORMAT " min %" G_GUINT64_FORMAT " s", s / 60, s % 60);
        if (s < 86400)
                return g_strdup_printf("%" G_GUINT64_FORMAT " h %" G_GUINT64_FORMAT " min", s / 3600, s / 60 % 60);
        return g_strdup_printf("%" G_GUINT64_FORMAT " d %" G_GUINT64_FORMAT " h", s / 86400, s / 3600 % 24);
}

char *bh_out_bytes(guint64 bytes) {
        static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB" };
        double n = (double) bytes / 1024;
        guint u = 0;

        if (bytes < 1024)
                return g_strdup_printf("%" G_GUINT64_FORMAT " B", bytes);
        for (; n >= 1024 && u + 1 < G_N_ELEMENTS(units); u++)
                n /= 1024;
        return g_strdup_printf("%.*f %s", n < 10 ? 1 : 0, n, units[u]);
}

const char *bh_json_text(const json_t *object, const char *key) {
        const char *text = json_string_value(json_object_get(object, key));

        return text ? text : "";
}

const char *bh_json_dash(const json_t *object, const char *key) {
        const char *text = bh_json_text(object, key);

        return *text ? text : "-";
}

guint64 bh_json_number(const json_t *object, const char *key) {
        return (guint64) json_integer_value(json_object_get(object, key));
}

char *bh_json_cell(const json_t *object, const char *key) {
        return bh_escape_cell(bh_json_text(object, key), -1);
}

char *bh_json_when(const json_t *object, const char *key) {
        const char *text = json_string_value(json_object_get(object, key));
        char *out;

        if (!text || strlen(text) < 19)
                return g_strdup("-");
        out = g_strndup(text, 19);
        if (out[10] == 'T')
                out[10] = ' ';
        return out;
}

static int write_error;

gboolean bh_out_write(const void *data, gsize len) {
        if (write_error)
                return FALSE;
        errno = 0;
        if (fwrite(data, 1, len, stdout) != len)
                write_error = errno ? errno : EIO;
        return !write_error;
}

void bh_out_json(const json_t *object) {
        char *text = json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII);

        /* DEL is ASCII, and nothing for a terminal */
        for (const char *p = text; p && *p;) {
                gsize n = strcspn(p, "\x7f");

                if (!bh_out_write(p, n) || (p[n] && !bh_out_write("\\u007f", 6)))
                        break;
                p += n + (p[n] != '\0');
        }
        free(text);
        bh_out_write("\n", 1);
}

int bh_out_finish(void) {
        errno = 0;
        if ((fflush(stdout) || ferror(stdout)) && !write_error)
                write_error = errno ? errno : EIO;
        if (!write_error || write_error == EPIPE)
                return BH_EXIT_OK;
        fprintf(stderr, "bulkhead: cannot write to standard output: %s\n", g_strerror(write_error));
        return BH_EXIT_FAILED;
}

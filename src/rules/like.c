/* SPDX-License-Identifier: Apache-2.0 */
/* What was probably meant by a name that is unknown. */
#include <string.h>

#include "base/escape.h"
#include "rules/load.h"

#define LIKE_MAX 48u  /* longer names are compared with nothing */
#define LIKE_SCAN 2000u /* names that are looked at */
#define LIKE_CALLS 3000u /* names that a load has guesses for: a hostile file has millions of wrong ones */

char *bh_load_quote(const char *text, gsize len) {
        GString *s = g_string_new(NULL);
        gsize n = MIN(len, 100);

        while (n < len && n > 96 && ((guchar) text[n] & 0xc0) == 0x80)
                n--;
        bh_escape_append_quoted(s, text, (gssize) n);
        if (n < len)
                g_string_append(s, "…");
        return g_string_free(s, FALSE);
}

/* Insertions, deletions, replacements and swaps of neighbours that make b of a; more than LIKE_MAX for long names. */
static guint distance(const char *a, gsize n, const char *b, gsize m) {
        guint rows[3][LIKE_MAX + 1];

        if (n > LIKE_MAX || m > LIKE_MAX)
                return LIKE_MAX + 1;
        for (gsize j = 0; j <= m; j++)
                rows[0][j] = (guint) j;
        for (gsize i = 1; i <= n; i++) {
                guint *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];

                row[0] = (guint) i;
                for (gsize j = 1; j <= m; j++) {
                        char x = g_ascii_tolower(a[i - 1]), y = g_ascii_tolower(b[j - 1]);

                        row[j] = MIN(MIN(above[j], row[j - 1]) + 1, above[j - 1] + (x != y));
                        if (i > 1 && j > 1 && x == g_ascii_tolower(b[j - 2]) && y == g_ascii_tolower(a[i - 2]))
                                row[j] = MIN(row[j], above2[j - 2] + 1);
                }
        }
        return rows[n % 3][m];
}

gboolean bh_load_one_off(const char *a, const char *b) {
        gsize n = strlen(a), m = strlen(b);

        return n <= m + 1 && m <= n + 1 && distance(a, n, b, m) == 1;
}

typedef struct {
        const char *text;
        gsize len;
        const char *best;
        guint least;
} Like;

static void look(Like *k, const char *name) {
        gsize n = strlen(name);

        if (n > k->len + k->len / 3 + 1 || k->len > n + k->len / 3 + 1)
                return;
        guint d = distance(k->text, k->len, name, n);

        if (d < k->least || (d == k->least && k->best && strcmp(name, k->best) < 0)) {
                k->least = d;
                k->best = name;
        }
}

static char *say(const Like *k) {
        if (!k->best || k->least > MAX(1, k->len / 3))
                return g_strdup("");
        g_autofree char *q = bh_load_quote(k->best, strlen(k->best));
        return g_strdup_printf("; is %s meant?", q);
}

char *bh_load_like(BhLoader *l, GHashTable *names, const char *text, gsize len) {
        Like k = { .text = text, .len = len, .least = LIKE_MAX };
        GHashTableIter it;
        gpointer name;
        guint n = 0;

        if (l->like_calls++ >= LIKE_CALLS)
                return g_strdup("");
        g_hash_table_iter_init(&it, names);
        while (n++ < LIKE_SCAN && g_hash_table_iter_next(&it, &name, NULL))
                look(&k, name);
        return say(&k);
}

char *bh_load_like_words(BhLoader *l, const char *const words[], guint n, const char *text, gsize len) {
        Like k = { .text = text, .len = len, .least = LIKE_MAX };

        if (l->like_calls++ >= LIKE_CALLS)
                return g_strdup("");
        for (guint i = 0; i < n; i++)
                look(&k, words[i]);
        return say(&k);
}

char *bh_load_like_field(BhLoader *l, const char *text, gsize len) {
        g_autofree const char **like = l->like_calls++ < LIKE_CALLS ? bh_rule_field_like(text, len) : NULL;
        GString *s = g_string_new(NULL);

        for (guint i = 0; like && like[i]; i++)
                g_string_append_printf(s, "%s%s", i ? " or " : "; is ", like[i]);
        if (s->len)
                g_string_append(s, " meant?");
        return g_string_free(s, FALSE);
}

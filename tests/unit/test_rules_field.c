/* SPDX-License-Identifier: Apache-2.0 */
#include <glib.h>
#include <string.h>

#include "rules/value.h"

static const BhRuleField *find(const char *text, gsize *used) {
        return bh_rule_field_find(text, strlen(text), used);
}

static void expect(const char *text, const char *name, gsize used) {
        gsize n = 0;
        const BhRuleField *f = find(text, &n);

        g_assert_nonnull(f);
        g_assert_cmpstr(f->name, ==, name);
        g_assert_cmpuint(n, ==, used);
}

static void finds_the_longest_name(void) {
        gsize n;

        expect("proc.name", "proc.name", 9);
        expect("proc.aname[2]", "proc.aname", 10);
        expect("evt.arg.flags", "evt.arg", 7);
        expect("evt.arg[0]", "evt.arg", 7);
        expect("evt.args", "evt.args", 8);
        expect("evt.time.s", "evt.time.s", 10);
        expect("evt.abspath.src", "evt.abspath", 11);
        expect("container.label.maintainer", "container.label", 15);
        expect("container.image.repository", "container.image.repository", 26);
        expect("container.mount.dest[/etc/x.y]", "container.mount.dest", 20);
        expect("evt.type.is.open", "evt.type.is", 11);
        g_assert_null(find("", &n));
        g_assert_null(find("proc", &n));
        g_assert_null(find("proc.nam", &n));
        g_assert_null(find("proc.name.x", &n));
        g_assert_null(find(".", &n));
        g_assert_null(find("[", &n));
        g_assert_null(bh_rule_field_find("proc.name\0", 10, &n));
}

static void rows_are_sound(void) {
        g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
        guint n;
        const BhRuleField *rows = bh_rule_fields(&n);

        g_assert_cmpuint(n, ==, BH_FLD_COUNT);
        for (guint i = 0; i < n; i++) {
                guint64 kinds[BH_KIND_WORDS], any = 0;

                g_assert_true(g_hash_table_add(names, (gpointer) rows[i].name));
                g_assert_cmpuint(rows[i].id, ==, i);
                g_assert_nonnull(rows[i].doc);
                g_assert_cmpint(rows[i].doc[0], !=, 0);
                /* a field that no event has says why, and only such a one */
                g_assert_cmpint(rows[i].why_not != NULL, ==, rows[i].when == BH_RW_NEVER);
                bh_rule_when_kinds(rows[i].when, kinds);
                for (guint w = 0; w < BH_KIND_WORDS; w++)
                        any |= kinds[w];
                g_assert_cmpint(any != 0, ==, rows[i].when != BH_RW_NEVER);
                if (rows[i].flags & BH_FF_DOTTED)
                        g_assert_true(rows[i].arg == BH_RA_NAME || rows[i].arg == BH_RA_NAME_OPT);
        }
}

static void says_what_was_meant(void) {
        g_autofree const char **like = bh_rule_field_like("proc.nmae", 9);
        g_autofree const char **none = bh_rule_field_like("completely.unlike", 17);
        g_autofree const char **arg = bh_rule_field_like("proc.anamee[2]", 14);

        g_assert_cmpstr(like[0], ==, "proc.name");
        g_assert_null(none[0]);
        g_assert_cmpstr(arg[0], ==, "proc.aname");
}

static void page_has_all_names(void) {
        g_autofree char *page = NULL;

        g_assert_true(g_file_get_contents(BH_SOURCE_ROOT "/docs/rules.md", &page, NULL, NULL));
        for (guint c = 0; c < BH_CALL_COUNT; c++) {
                g_autofree char *kind = g_strdup_printf("| `%s`", bh_event_type_name(bh_rule_calls[c].kind)), *shown = g_strdup_printf("| `%s` |", bh_rule_calls[c].shown);
                gboolean found = FALSE;

                for (const char *line = page; line && !found; line = strchr(line + 1, '\n')) {
                        g_autofree char *text = g_strndup(line, strcspn(line + 1, "\n") + 1);
                        g_auto(GStrv) names = g_strsplit(bh_rule_calls[c].names, " ", -1);

                        found = strstr(text, kind) && strstr(text, shown);
                        for (guint i = 0; names[i]; i++)
                                found = found && strstr(text, names[i]);
                }
                if (!found)
                        g_error("docs/rules.md does not have %s as %s", bh_event_type_name(bh_rule_calls[c].kind), bh_rule_calls[c].names);
        }
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/rules/field/finds_the_longest_name", finds_the_longest_name);
        g_test_add_func("/rules/field/rows_are_sound", rows_are_sound);
        g_test_add_func("/rules/field/says_what_was_meant", says_what_was_meant);
        g_test_add_func("/rules/field/page_has_all_names", page_has_all_names);
        return g_test_run();
}

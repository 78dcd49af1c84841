/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "rules/pattern.h"
#include "rules/strset.h"

static gboolean glob(const char *pattern, const char *text) {
        return bh_glob(pattern, strlen(pattern), text, strlen(text), FALSE);
}

static void globs(void) {
        g_assert_true(glob("", ""));
        g_assert_false(glob("", "a"));
        g_assert_true(glob("*", ""));
        g_assert_true(glob("/proc/*/environ", "/proc/1/environ"));
        g_assert_true(glob("/proc/*/environ", "/proc/1/task/2/environ"));
        g_assert_false(glob("/proc/*/environ", "/proc/1/environ2"));
        g_assert_true(glob("?at", "cat"));
        g_assert_false(glob("?at", "at"));
        g_assert_true(glob("[a-c]x[!0-9]", "bxz"));
        g_assert_false(glob("[a-c]x[!0-9]", "bx5"));
        g_assert_true(glob("[]a]", "]"));
        g_assert_true(glob("[[:digit:]]*", "5x"));
        g_assert_false(glob("[[:digit:]]*", "x5"));
        g_assert_true(glob("a[", "a["));
        g_assert_true(glob("\\*", "*"));
        g_assert_false(glob("\\*", "x"));
        g_assert_true(glob("*.so*", "libc.so.6"));
        g_assert_true(glob(".*", ".profile"));
        g_assert_true(glob("*", ".profile"));
        g_assert_true(glob("a*b*c*d", "a1b2c3d"));
        g_assert_false(glob("a*b*c*d", "a1b2d3c"));
        g_assert_true(bh_glob("/ETC/[A-Z]*", 11, "/etc/passwd", 11, TRUE));
}

/* Many stars over a long text stay within the bound of steps. */
static void hostile_globs_end(void) {
        g_autofree char *text = g_strnfill(100000, 'a');
        gboolean limit = FALSE;

        g_assert_false(bh_glob_steps("*a*a*a*a*a*a*a*a*b", 18, text, 100000, FALSE, &limit));
        g_assert_false(limit); /* one way back is enough: no power of the number of stars */
        g_autofree char *star = g_strdup_printf("*%.*sb", 50000, text);
        g_assert_false(bh_glob_steps(star, strlen(star), text, 100000, FALSE, &limit));
        g_assert_true(limit);
}

static BhMatcher *matcher;

static gboolean regex(const char *pattern, const char *text) {
        g_autoptr(GError) error = NULL;
        g_autoptr(BhRegex) r = bh_regex_new(pattern, strlen(pattern), &error);
        gboolean limit = FALSE, hit;

        g_assert_no_error(error);
        hit = bh_regex_match(r, matcher, text, strlen(text), &limit);
        g_assert_false(limit);
        return hit;
}

static void regexes_match_the_whole_text(void) {
        g_assert_true(regex("abc", "abc"));
        g_assert_false(regex("abc", "abcd"));
        g_assert_false(regex("abc", "xabc"));
        g_assert_true(regex("a|abc", "abc"));
        g_assert_true(regex("/etc/(passwd|shadow)", "/etc/shadow"));
        g_assert_true(regex("[[:alpha:]]+[0-9]{2,3}", "abc123"));
        g_assert_false(regex("[[:alpha:]]+[0-9]{2,3}", "abc1234"));
        g_assert_true(regex("(?i)ABC", "abc"));
        g_assert_true(regex("(?P<x>a)(?:b)?", "a"));
        g_assert_true(regex("\\d+\\.\\w*", "12.x"));
        g_assert_true(regex("[]a]+", "]a]"));
        g_assert_true(regex("a{0}", ""));
        g_assert_true(regex("x{a", "x{a"));
        g_assert_false(regex(".", "\n"));
        g_assert_true(regex("\\x2fx", "/x"));
        g_assert_true(regex(".*?b", "aab"));
        g_assert_true(regex("", ""));
}

static void unbounded_regexes_are_refused(void) {
        static const char *const bad[] = {
                "(a)\\1", "\\k<x>", "\\g1", "(?=a)", "(?!a)", "(?<=a)b", "(?<!a)b", "(?>a+)", "a++", "a*+", "(?R)", "(?1)", "(?(1)a|b)", "(?C1)", "(*ACCEPT)", "(*UTF)a", "a\\Kb", "\\R", "\\X", "\\pL", "\\Qa\\E",
                "a{1001}", "a{2,5000}", "(", ")", "[a", "a)|(b", "\\", "\\x{", "(?x)a #c", "(?#c)a", "(?|a|b)", "((ab{100}c){100}d){1000}", "*a", "\\01", "[[.a.]]", "(?-x:a)", "a{99999999999}",
        };

        for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_autoptr(GError) error = NULL;
                g_autoptr(BhRegex) r = bh_regex_new(bad[i], strlen(bad[i]), &error);

                if (r)
                        g_error("is not refused: %s", bad[i]);
                g_assert_nonnull(error);
                g_assert_nonnull(strstr(error->message, "regular expression"));
        }

        g_autofree char *deep = g_strnfill(9000, '(');
        g_autoptr(GError) error = NULL;
        g_assert_null(bh_regex_new(deep, 9000, &error));
        g_clear_error(&error);
        g_assert_null(bh_regex_new(deep, 1000, &error));
}

/* A pattern that backtracks without end is stopped, and that is said. */
static void hostile_regexes_end(void) {
        static const char *const slow[] = { "(a*)*[bc]", "(a|a)*[bc]", "(a|aa)+[bc]", "(.*)(.*)(.*)(.*)(.*)[bc]" };
        g_autofree char *text = g_strnfill(4000, 'a');

        for (guint i = 0; i < G_N_ELEMENTS(slow); i++) {
                g_autoptr(BhRegex) r = bh_regex_new(slow[i], strlen(slow[i]), NULL);
                gint64 start = g_get_monotonic_time();
                gboolean limit = FALSE;

                g_assert_nonnull(r);
                g_assert_false(bh_regex_match(r, matcher, text, 4000, &limit));
                g_assert_true(limit);
                g_assert_cmpint(g_get_monotonic_time() - start, <, 5 * G_USEC_PER_SEC); /* some ms; machines may be busy */
        }
}

static gboolean prefix(const char *prefixes, const char *path) {
        g_auto(GStrv) all = g_strsplit(prefixes, " ", -1);
        g_autoptr(BhPrefixes) p = bh_prefixes_new();
        gboolean limit = FALSE;

        for (guint i = 0; all[i]; i++)
                bh_prefixes_add(p, all[i], strlen(all[i]));
        return bh_prefixes_match(p, path, strlen(path), &limit);
}

static void prefixes_go_by_components(void) {
        g_assert_true(prefix("/var/log", "/var/log"));
        g_assert_true(prefix("/var/log", "/var/log/x/y"));
        g_assert_false(prefix("/var/log", "/var/logs"));
        g_assert_false(prefix("/var/log", "/var"));
        g_assert_true(prefix("/var/log /var", "/var/x"));
        g_assert_true(prefix("/var /var/log", "/var/x"));
        g_assert_true(prefix("/", "/anything"));
        g_assert_true(prefix("/", "/"));
        g_assert_true(prefix("/srv/*/.ssh", "/srv/me/.ssh/id"));
        g_assert_false(prefix("/srv/*/.ssh", "/srv/me/x/.ssh"));
        g_assert_true(prefix("/srv/me/x /srv/*/y /srv/m?/z", "/srv/me/z/1"));
        g_assert_true(prefix("/a/b /a/*", "/a/c"));
        g_assert_true(prefix("//var///log/", "/var//log"));
        g_assert_false(prefix("/x", ""));
}

/* ---- sets ---- */

struct told {
        guint64 bits;
};

static void tell(guint32 atom, gpointer data) {
        ((struct told *) data)->bits |= 1ull << atom;
}

static guint64 matched(const BhStrSet *s, const char *text) {
        struct told t = { 0 };

        bh_strset_match(s, text, strlen(text), tell, &t);
        return t.bits;
}

static void sets_tell_all(void) {
        g_autoptr(BhStrSet) s = bh_strset_new();
        static const struct {
                enum bh_strset_kind kind;
                const char *text;
                guint32 atom;
        } literals[] = {
                { BH_SS_WHOLE, "/etc/passwd", 0 }, { BH_SS_WHOLE, "", 1 },    { BH_SS_BEGIN, "/etc", 2 },   { BH_SS_BEGIN, "/etc/", 3 }, { BH_SS_BEGIN, "/usr", 4 },   { BH_SS_END, "wd", 5 },
                { BH_SS_END, "passwd", 6 },        { BH_SS_PART, "c/p", 7 },  { BH_SS_PART, "ass", 8 },     { BH_SS_PART, "s", 9 },      { BH_SS_PART_FOLD, "PASS", 10 }, { BH_SS_BEGIN, "", 11 },
                { BH_SS_PART, "she", 12 },         { BH_SS_PART, "he", 13 },  { BH_SS_PART, "hers", 14 },   { BH_SS_PART, "his", 15 },   { BH_SS_WHOLE, "/etc/passwd", 16 }, { BH_SS_END, "", 17 },
                { BH_SS_PART, "", 18 },            { BH_SS_BEGIN, "/etc/pam.d/x", 19 },
        };

        for (guint i = 0; i < G_N_ELEMENTS(literals); i++)
                bh_strset_add(s, literals[i].kind, literals[i].text, strlen(literals[i].text), literals[i].atom);
        bh_strset_build(s);
#define BIT(n) (1ull << (n))
        g_assert_cmphex(matched(s, "/etc/passwd"), ==, BIT(0) | BIT(2) | BIT(3) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(9) | BIT(10) | BIT(11) | BIT(16) | BIT(17) | BIT(18));
        g_assert_cmphex(matched(s, ""), ==, BIT(1) | BIT(11) | BIT(17) | BIT(18));
        g_assert_cmphex(matched(s, "ushers"), ==, BIT(9) | BIT(11) | BIT(12) | BIT(13) | BIT(14) | BIT(17) | BIT(18));
        g_assert_cmphex(matched(s, "/etc"), ==, BIT(2) | BIT(11) | BIT(17) | BIT(18));
        g_assert_cmphex(matched(s, "xpAsSx"), ==, BIT(9) | BIT(10) | BIT(11) | BIT(17) | BIT(18));
}

/* Random literals over a small alphabet against the plain functions. */
static void sets_agree_with_plain_search(void) {
        for (guint round = 0; round < 300; round++) {
                g_autoptr(BhStrSet) s = bh_strset_new();
                char literals[40][8];
                guint n = (guint) g_test_rand_int_range(1, 40);

                for (guint i = 0; i < n; i++) {
                        guint len = (guint) g_test_rand_int_range(0, 6);

                        for (guint k = 0; k < len; k++)
                                literals[i][k] = (char) ('a' + g_test_rand_int_range(0, 3));
                        literals[i][len] = 0;
                        bh_strset_add(s, (enum bh_strset_kind) (i % 4), literals[i], len, i);
                }
                bh_strset_build(s);
                for (guint t = 0; t < 50; t++) {
                        char text[16];
                        guint len = (guint) g_test_rand_int_range(0, 15);
                        guint64 want = 0;

                        for (guint k = 0; k < len; k++)
                                text[k] = (char) ('a' + g_test_rand_int_range(0, 3));
                        text[len] = 0;
                        for (guint i = 0; i < n; i++) {
                                gboolean hit = i % 4 == BH_SS_WHOLE ? g_str_equal(text, literals[i]) : i % 4 == BH_SS_BEGIN ? g_str_has_prefix(text, literals[i])
                                               : i % 4 == BH_SS_END ? g_str_has_suffix(text, literals[i])
                                                                    : strstr(text, literals[i]) != NULL;

                                want |= (guint64) hit << i;
                        }
                        g_assert_cmphex(matched(s, text), ==, want);
                }
        }
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        matcher = bh_matcher_new();
        g_test_add_func("/rules/pattern/globs", globs);
        g_test_add_func("/rules/pattern/hostile_globs_end", hostile_globs_end);
        g_test_add_func("/rules/pattern/regexes_match_the_whole_text", regexes_match_the_whole_text);
        g_test_add_func("/rules/pattern/unbounded_regexes_are_refused", unbounded_regexes_are_refused);
        g_test_add_func("/rules/pattern/hostile_regexes_end", hostile_regexes_end);
        g_test_add_func("/rules/pattern/prefixes_go_by_components", prefixes_go_by_components);
        g_test_add_func("/rules/pattern/sets_tell_all", sets_tell_all);
        g_test_add_func("/rules/pattern/sets_agree_with_plain_search", sets_agree_with_plain_search);
        int status = g_test_run();
        bh_matcher_free(matcher);
        return status;
}

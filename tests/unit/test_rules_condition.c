/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar of conditions, by the language's own definition: what is a condition, as which tree, and what is said about what is none. */
#include <glib.h>
#include <string.h>

#include "rules/ruleset.h"

static void is(const char *text, const char *tree) {
        g_autoptr(GError) error = NULL;
        g_autoptr(BhCond) c = bh_condition_parse(text, strlen(text), &error);

        g_assert_no_error(error);
        g_autofree char *got = bh_cond_to_text(c);
        g_assert_cmpstr(got, ==, tree);
}

/* The message begins with "line:column: ", and holds `part`. */
static void no(const char *text, const char *place, const char *part) {
        g_autoptr(GError) error = NULL;
        g_autoptr(BhCond) c = bh_condition_parse(text, strlen(text), &error);

        g_assert_null(c);
        g_assert_nonnull(error);
        if (!g_str_has_prefix(error->message, place) || !strstr(error->message, part))
                g_error("%s: said \"%s\", expected %s … %s", text, error->message, place, part);
}

static void and_binds_tighter_than_or_and_not_tightest(void) {
        is("proc.name=a or proc.name=b and proc.name=c", "(proc.name = \"a\" or (proc.name = \"b\" and proc.name = \"c\"))");
        is("proc.name=a and proc.name=b or proc.name=c", "((proc.name = \"a\" and proc.name = \"b\") or proc.name = \"c\")");
        is("not proc.name=a and proc.name=b", "(not proc.name = \"a\" and proc.name = \"b\")");
        is("not (proc.name=a or proc.name=b)", "not (proc.name = \"a\" or proc.name = \"b\")");
        is("not(proc.name=a)", "not proc.name = \"a\"");
        is("not not proc.name=a", "proc.name = \"a\"");
        is("not not not proc.name=a", "not proc.name = \"a\"");
        is("not not(proc.name=a)", "proc.name = \"a\"");
        is("proc.name=a and(proc.name=b)or(proc.name=c)", "((proc.name = \"a\" and proc.name = \"b\") or proc.name = \"c\")");
        is("  ( ( proc.name = a ) )  ", "proc.name = \"a\"");
        is("proc.name=a\tand\nproc.name=b\r\nor\bproc.name=c", "((proc.name = \"a\" and proc.name = \"b\") or proc.name = \"c\")");
        is("proc.name=a and proc.name=b and proc.name=c", "(proc.name = \"a\" and proc.name = \"b\" and proc.name = \"c\")");
}

static void all_operators_are_read(void) {
        is("proc.name exists", "proc.name exists");
        is("proc.name==a", "proc.name = \"a\"");
        is("proc.name != a", "proc.name != \"a\"");
        is("proc.pid<3", "proc.pid < \"3\"");
        is("proc.pid<=3 and proc.pid > -1", "(proc.pid <= \"3\" and proc.pid > \"-1\")");
        is("proc.pid >= 0x1F", "proc.pid >= \"0x1F\"");
        is("proc.name contains a", "proc.name contains \"a\"");
        is("proc.name icontains a", "proc.name icontains \"a\"");
        is("proc.name startswith a", "proc.name startswith \"a\"");
        is("proc.name endswith a", "proc.name endswith \"a\"");
        is("proc.name glob a*", "proc.name glob \"a*\"");
        is("proc.name iglob a*", "proc.name iglob \"a*\"");
        is("proc.name regex a.*b", "proc.name regex \"a.*b\"");
        is("proc.name in (a,b)", "proc.name in (\"a\", \"b\")");
        is("proc.name in(a , b)", "proc.name in (\"a\", \"b\")");
        is("proc.name in ()", "proc.name in ()");
        is("proc.name in ( )", "proc.name in ()");
        is("proc.name in (a)", "proc.name in (\"a\")");
        is("proc.name in a", "proc.name in (\"a\")");
        is("proc.name intersects (a)", "proc.name intersects (\"a\")");
        is("fd.name pmatch (/etc, /usr/lib)", "fd.name pmatch (\"/etc\", \"/usr/lib\")");
        is("evt.buffer bcontains 4142", "evt.buffer bcontains \"AB\"");
        is("evt.buffer bstartswith 7f45", "evt.buffer bstartswith \"\\x7fE\"");
        /* an operator of letters wants a blank behind it, one of signs none */
        no("proc.name containsx", "1:11:", "is \"contains\" meant?");
        no("proc.name =", "1:12:", "value is missing");
        no("proc.name ~ a", "1:11:", "operator");
}

static void modifiers_stand_before_lists_only(void) {
        is("proc.name startswith oneof (a,b)", "proc.name startswith oneof (\"a\", \"b\")");
        is("proc.name = anyof (a,b)", "proc.name = anyof (\"a\", \"b\")");
        is("proc.name contains allof (a, \"b c\")", "proc.name contains allof (\"a\", \"b c\")");
        is("proc.name startswith oneof ()", "proc.name startswith oneof ()");
        is("proc.name startswith oneof", "proc.name startswith \"oneof\"");
        is("proc.name startswith oneof and proc.name=a", "(proc.name startswith \"oneof\" and proc.name = \"a\")");
        is("proc.name startswith oneof\nor proc.name=a", "(proc.name startswith \"oneof\" or proc.name = \"a\")");
        is("proc.name =oneof and proc.name=allof", "(proc.name = \"oneof\" and proc.name = \"allof\")");
        is("proc.name startswith oneof abc", "proc.name startswith oneof (\"abc\")");
        no("proc.pid > oneof (1)", "1:12:", "number");
        no("proc.name in oneof (a)", "1:20:", "missing");
}

static void quotes_keep_everything_and_escapes_are_the_languages(void) {
        is("proc.name = \"a b\"", "proc.name = \"a b\"");
        is("proc.name = 'a \"b\"'", "proc.name = \"a \\\"b\\\"\"");
        is("proc.name = \"it's\"", "proc.name = \"it's\"");
        is("proc.name = \"\"", "proc.name = \"\"");
        is("proc.name = \"a\\\\\"", "proc.name = \"a\\\\\"");
        is("proc.name = \"a\\tb\\x41\"", "proc.name = \"a\\tbA\"");
        is("proc.name = 'a\\'b'", "proc.name = \"a'b\"");
        is("proc.name = \"a\\/b\"", "proc.name = \"a/b\"");
        is("proc.name = \"a\\ b\"", "proc.name = \"a\\\\b\"");
        is("proc.name = a\\nb", "proc.name = \"a\\\\nb\"");
        no("proc.name = \"a\\'b\"", "1:15:", "without the backslash");
        no("proc.name = \"a\\qb\"", "1:15:", "no escape");
        no("proc.name = \"a\\x4\"", "1:15:", "two hexadecimal digits");
        no("proc.name = \"abc", "1:13:", "no \" at its end");
        no("proc.name = \"a\\x00b\"", "1:13:", "NUL");
}

static void bare_words_end_at_blanks_brackets_quotes_equals_commas(void) {
        is("proc.name=/usr/bin/x-y.z_*?[]{}!<>:;|&%$#@~^", "proc.name = \"/usr/bin/x-y.z_*?[]{}!<>:;|&%$#@~^\"");
        is("(proc.name=a)", "proc.name = \"a\"");
        is("proc.name in (a-b, c.d, 1.2.3.4, ::1, <NA>)", "proc.name in (\"a-b\", \"c.d\", \"1.2.3.4\", \"::1\", \"<NA>\")");
        is("proc.name = grün", "proc.name = \"grün\"");
        is("proc.name = or or proc.name = and", "(proc.name = \"or\" or proc.name = \"and\")");
        no("proc.name = a=b", "1:14:", "before \"=b\"");
        no("proc.name = a,b", "1:14:", "before \",b\"");
        no("proc.name = a\"b\"", "1:14:", "quotes");
        no("proc.name in (a b)", "1:17:", "',' or ')'");
        no("proc.name in (a,)", "1:17:", "take the comma away");
        no("proc.name in (,a)", "1:15:", "',' or ')'");
        no("proc.name in (a", "1:16:", "missing");
}

static void fields_have_arguments(void) {
        is("proc.aname[2]=a", "proc.aname[2] = \"a\"");
        is("proc.aname = a", "proc.aname = \"a\"");
        is("evt.arg.flags contains O_CREAT", "evt.arg[flags] contains \"O_CREAT\"");
        is("evt.arg[flags] contains O_CREAT", "evt.arg[flags] contains \"O_CREAT\"");
        is("evt.arg[\"a b\"] = x", "evt.arg[a b] = \"x\"");
        is("evt.arg['0'] = x", "evt.arg[0] = \"x\"");
        is("evt.arg[1] = x", "evt.arg[1] = \"x\"");
        no("proc.aname[x] = a", "1:1:", "takes a number");
        no("proc.aname[99999999999] = a", "1:1:", "takes a number");
        no("proc.aname[] = a", "1:12:", "argument is missing");
        no("proc.aname[ 1] = a", "1:12:", "argument is missing");
        no("proc.aname[1 = a", "1:13:", "']' is missing");
        no("proc.name[1] = a", "1:1:", "has no argument");
        no("evt.arg = a", "1:1:", "needs an argument");
        no("evt.arg.a[b] = a", "1:10:", "after the dot");
        no("proc.nam = a", "1:1:", "proc.name");
        no("evt.type=open and foo.bar=1", "1:19:", "no field \"foo.bar\"");
}

static void transformers_nest_on_both_sides(void) {
        is("tolower(proc.name) = a", "tolower(proc.name) = \"a\"");
        is("tolower( toupper( proc.name ) ) = a", "tolower(toupper(proc.name)) = \"a\"");
        is("basename(proc.exepath) = val(proc.name)", "basename(proc.exepath) = val(proc.name)");
        is("proc.name = tolower(proc.pname)", "proc.name = tolower(proc.pname)");
        is("len(proc.name) > 5", "len(proc.name) > \"5\"");
        is("len(evt.arg[x]) exists", "len(evt.arg[x]) exists");
        is("concat(proc.name, \"-\", proc.pname) = a-b", "concat(proc.name, \"-\", proc.pname) = \"a-b\"");
        is("join(\",\", (proc.name, \"x\", 5)) = a", "join(\",\", (proc.name, \"x\", \"5\")) = \"a\"");
        is("proc.name in val(proc.pname)", "proc.name in (val(proc.pname))");
        is("getopt((proc.name, \"-b\"), \"ab:\")[b] = x", "getopt((proc.name, \"-b\"), \"ab:\")[b] = \"x\"");
        is("getopt((proc.name), \"ab:\") intersects (x)", "getopt((proc.name), \"ab:\") intersects (\"x\")");
        no("val(proc.name) = a", "1:4:", "before \"(proc.name)\"");
        no("proc.name = val(tolower(proc.name))", "1:17:", "val() takes the name of a field");
        no("tolower(proc.pid) = 5", "1:1:", "takes a text");
        no("len(proc.name) = x", "1:18:", "whole number");
        no("len(proc.name) startswith 1", "1:1:", "cannot compare");
        no("tolower(proc.name, proc.name) = x", "1:1:", "takes 1 argument");
        no("join(proc.name) = x", "1:1:", "takes 2 arguments");
        no("join(\",\", proc.name) = x", "1:1:", "then a list");
        no("concat(proc.name) = x", "1:1:", "at least 2");
        no("concat(proc.name, proc.pid) = x", "1:19:", "joins texts");
        no("getopt((proc.name), \"a\") = x", "1:1:", "cannot compare a list");
        no("getopt((proc.name), \"a\")[ab] = x", "1:1:", "letter of one option");
        no("tolower(proc.name)[1] = x", "1:1:", "brackets");
        no("tolower(xyz) = x", "1:9:", "takes a field");
        no("tolower(proc.name = x", "1:19:", "')' is missing");
        no("proc.name = val(proc.pid)", "1:13:", "cannot be compared");
        no("proc.name regex val(proc.pname)", "1:17:", "fixed");
}

static void values_fit_the_type_of_the_field(void) {
        is("fd.sport in (80, 443, ssh)", "fd.sport in (\"80\", \"443\", \"ssh\")");
        is("fd.sip = 10.0.0.1 or fd.sip in (fd00::1, 10.0.0.0/8)", "(fd.sip = \"10.0.0.1\" or fd.sip in (\"fd00::1\", \"10.0.0.0/8\"))");
        is("fd.snet in (10.0.0.0/8, \"fd00::/8\")", "fd.snet in (\"10.0.0.0/8\", \"fd00::/8\")");
        is("evt.is_open_read = true", "evt.is_open_read = \"true\"");
        is("proc.pid = -1 or proc.pid = +1", "(proc.pid = \"-1\" or proc.pid = \"+1\")");
        no("proc.pid = abc", "1:12:", "whole number");
        no("proc.pid = 1.5", "1:12:", "whole number");
        no("proc.pid = 99999999999999999999", "1:12:", "whole number");
        no("proc.pid in (1, x)", "1:17:", "whole number");
        no("proc.pid contains 1", "1:1:", "cannot compare the type number");
        no("fd.sport = 65536", "1:12:", "0 to 65535");
        no("fd.sport = noservice", "1:12:", "name of a service");
        no("fd.sip = 10.0.0.256", "1:10:", "address");
        no("fd.sip = 10.0.0.0/33", "1:10:", "address");
        no("fd.sip startswith 10.", "1:1:", "cannot compare");
        no("fd.snet > 1", "1:1:", "cannot compare");
        no("fd.snet = 10.0.0.0", "1:11:", "network");
        is("evt.type in (open, ustat, container) or evt.type startswith x", "(evt.type in (\"open\", \"ustat\", \"container\") or evt.type startswith \"x\")");
        no("evt.type = explode", "1:12:", "no type of event");
        no("evt.type in (open, opnat)", "1:20:", "\"openat\" meant");
        no("evt.is_open_read = yes", "1:20:", "true or false");
        no("evt.is_open_read > 1", "1:1:", "cannot compare");
        no("proc.name bcontains 41", "1:1:", "cannot compare");
        no("evt.buffer bcontains 4", "1:22:", "hexadecimal");
        no("evt.buffer bcontains zz", "1:22:", "hexadecimal");
        no("evt.buffer regex a", "1:1:", "cannot compare");
        /* after < > the language itself wants a number */
        no("proc.name > abc", "1:13:", "number is missing");
        is("proc.name > 5", "proc.name > \"5\"");
}

static void what_is_no_condition_is_said_with_its_place(void) {
        no("", "1:1:", "empty");
        no("   ", "1:4:", "missing");
        no("(proc.name=a", "1:13:", "line 1, column 1");
        no("proc.name=a)", "1:12:", "no '(' before it");
        no("proc.name=a and", "1:16:", "blank or a '('");
        no("proc.name=a and ", "1:17:", "missing");
        no("proc.name=a\nand\n  proc.nam=b", "3:3:", "proc.name");
        no("proc.name=a proc.name=b", "1:13:", "\"and\", \"or\"");
        no("proc.name=a andproc.name=b", "1:16:", "after \"and\"");
        no("=a", "1:1:", "missing");
        no("proc.name=a and some_macro", "1:17:", "no macro \"some_macro\"");
        no("not", "1:1:", "no macro");
        no("proc.name", "1:10:", "operator is missing");
        no("evt.type = open and notx", "1:21:", "no macro \"notx\"");
}

static char *nested(guint n, const char *inside) {
        GString *s = g_string_new(NULL);

        for (guint i = 0; i < n; i++)
                g_string_append_c(s, '(');
        g_string_append(s, inside);
        for (guint i = 0; i < n; i++)
                g_string_append_c(s, ')');
        return g_string_free(s, FALSE);
}

static void depth_is_limited(void) {
        g_autofree char *fits = nested(18, "proc.name=a"), *deep = nested(19, "proc.name=a"), *hostile = nested(30000, "proc.name=a");
        g_autoptr(GString) nots = g_string_new(NULL);
        g_autoptr(GString) long_one = g_string_new("proc.name=a");

        is(fits, "proc.name = \"a\"");
        no(deep, "1:", "deeper than the limit of 100");
        no(hostile, "1:", "deeper than the limit of 100");
        /* what is long is not deep */
        for (guint i = 0; i < 1001; i++)
                g_string_append(nots, "not ");
        g_string_append(nots, "proc.name=a");
        is(nots->str, "not proc.name = \"a\"");
        for (guint i = 0; i < 3000; i++)
                g_string_append(long_one, " or proc.name=a");
        g_autoptr(BhCond) c = bh_condition_parse(long_one->str, long_one->len, NULL);
        g_assert_nonnull(c);
        g_assert_cmpuint(c->kids->len, ==, 3001);
        g_string_set_size(long_one, 70000);
        g_autoptr(GError) error = NULL;
        g_assert_null(bh_condition_parse(long_one->str, long_one->len, &error));
        g_assert_nonnull(error);
}

static void literals_know_their_bytes_and_quotes(void) {
        const char *text = "proc.name in (a, 'b c') and proc.aname[3] = x";
        g_autoptr(BhCond) c = bh_condition_parse(text, strlen(text), NULL);
        const BhCond *in = g_ptr_array_index(c->kids, 0), *eq = g_ptr_array_index(c->kids, 1);
        const BhOperand *a = g_ptr_array_index(in->values, 0), *b = g_ptr_array_index(in->values, 1);

        g_assert_false(a->quoted);
        g_assert_true(b->quoted);
        g_assert_cmpmem(b->text, b->len, "b c", 3);
        g_assert_cmpuint(b->pos.line, ==, 1);
        g_assert_cmpuint(b->pos.column, ==, 18);
        g_assert_true(eq->left->has_index);
        g_assert_cmpuint(eq->left->index, ==, 3);
        g_assert_cmpstr(eq->left->arg, ==, "3");
        g_assert_cmpuint(eq->pos.column, ==, 29);
        g_autoptr(BhCond) copy = bh_cond_copy(c);
        g_clear_pointer(&c, bh_cond_free);
        g_autofree char *again = bh_cond_to_text(copy);
        g_assert_cmpstr(again, ==, "(proc.name in (\"a\", \"b c\") and proc.aname[3] = \"x\")");
}

static void operand(const char *text, gsize used, const char *name) {
        g_autoptr(GError) error = NULL;
        gsize n = 0;
        g_autoptr(BhOperand) o = bh_operand_parse(text, strlen(text), &n, &error);

        if (!name) {
                g_assert_null(o);
                g_assert_nonnull(error);
                return;
        }
        g_assert_no_error(error);
        g_assert_cmpuint(n, ==, used);
        g_assert_cmpstr(o->kind == BH_OPERAND_FIELD ? o->field->name : "transformer", ==, name);
}

static void formats_take_the_longest_field(void) {
        operand("proc.name is", 9, "proc.name");
        operand("proc.name.", 9, "proc.name");
        operand("proc.names", 9, "proc.name");
        operand("proc.aname[2])", 13, "proc.aname");
        operand("evt.arg.flags,", 13, "evt.arg");
        operand("tolower(proc.name)x", 18, "transformer");
        operand("nothing", 0, NULL);
        operand("x.y", 0, NULL);
        operand("", 0, NULL);
        operand("5", 0, NULL);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/rules/condition/" #name, name)
        TEST(and_binds_tighter_than_or_and_not_tightest);
        TEST(all_operators_are_read);
        TEST(modifiers_stand_before_lists_only);
        TEST(quotes_keep_everything_and_escapes_are_the_languages);
        TEST(bare_words_end_at_blanks_brackets_quotes_equals_commas);
        TEST(fields_have_arguments);
        TEST(transformers_nest_on_both_sides);
        TEST(values_fit_the_type_of_the_field);
        TEST(what_is_no_condition_is_said_with_its_place);
        TEST(depth_is_limited);
        TEST(literals_know_their_bytes_and_quotes);
        TEST(formats_take_the_longest_field);
        return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Rule files that want to take memory, time or the stack: refused, or read within bounds. Memory is measured in a child of its own. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rules_load_help.h"

#define MEMORY_MAX (1024u * 1024u) /* KiB: what the loader promises to stay below */

static void repeat(GString *s, const char *text, guint n) {
        for (guint i = 0; i < n; i++)
                g_string_append(s, text);
}

static void has_error(const GString *text, const char *code, const char *part) {
        BhRuleSource f = { "a.yaml", text->str, text->len };
        g_autoptr(BhRuleSet) s = bh_rule_set_load(&f, 1, NULL);

        has(s, TRUE, code, NULL, part);
}

/* Runs it in a child, which must end well and stay below MEMORY_MAX. The sanitizers' own memory is not the loader's. */
static void bounded(void (*run)(void)) {
#if defined(__SANITIZE_ADDRESS__)
        run();
#else
        struct rusage usage;
        int status;
        pid_t child = fork();

        g_assert_cmpint(child, >=, 0);
        if (!child) {
                /* Of the processor's time: on a busy machine the clock says nothing of the loader. */
                g_assert_cmpint(setrlimit(RLIMIT_CPU, &(struct rlimit) { 100, 100 }), ==, 0);
                run();
                _exit(0);
        }
        while (wait4(child, &status, 0, &usage) < 0)
                g_assert_cmpint(errno, ==, EINTR);
        g_test_message("%ld KiB, %ld.%03ld s", usage.ru_maxrss, (long) usage.ru_utime.tv_sec, (long) usage.ru_utime.tv_usec / 1000);
        g_assert_cmpint(status, ==, 0);
        g_assert_cmpint(usage.ru_maxrss, <, MEMORY_MAX);
#endif
}

static void a_file_of_100_mb_is_refused_unread(void) {
        g_autofree char *path = NULL;
        int fd = g_file_open_tmp("bh-rules-XXXXXX", &path, NULL);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(ftruncate(fd, 100 << 20), ==, 0); /* a hole: if it were read, it would be NULs, and said to be */
        close(fd);
        BhRuleSource f = { .name = path };
        g_autoptr(BhRuleSet) s = bh_rule_set_load(&f, 1, NULL);
        g_unlink(path);
        has(s, TRUE, "LOAD_ERR_FILE_READ", "0:0", "16 MiB");
        g_assert_cmpuint(bh_rule_set_errors(s), ==, 1);
}

static void what_is_no_file_is_refused(void) {
        BhRuleSource f[] = { { .name = "/nonexistent/rules.yaml" }, { .name = "/" }, { .name = "/dev/zero" } };
        g_autoptr(BhRuleSet) s = bh_rule_set_load(f, 3, NULL);

        has(s, TRUE, "LOAD_ERR_FILE_READ", NULL, "No such file");
        has(s, TRUE, "LOAD_ERR_FILE_READ", NULL, "directory");
        has(s, TRUE, "LOAD_ERR_FILE_READ", NULL, "no file");
}

static void a_pipe_is_read(void) {
        int fds[2];
        static const char text[] = RULE("r", "evt.type=open");

        g_assert_cmpint(pipe(fds), ==, 0);
        g_assert_cmpint(write(fds[1], text, strlen(text)), ==, (gssize) strlen(text));
        close(fds[1]);
        g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fds[0]);
        BhRuleSource f = { .name = path };
        g_autoptr(BhRuleSet) s = bh_rule_set_load(&f, 1, NULL);
        close(fds[0]);
        condition_is(s, "r", "evt.type = \"open\"");
}

static void a_million_items(void) {
        g_autoptr(GString) t = g_string_new("- list: l\n  items:\n");

        for (guint i = 0; i < 1000000; i++)
                g_string_append_printf(t, "    - a%u\n", i);
        for (guint i = 0; i < 500; i++)
                g_string_append_printf(t, "- rule: r%u\n  desc: d\n  condition: evt.type=open and proc.name in (l)\n  output: o\n  priority: INFO\n", i);
        BhRuleSource f = { "a.yaml", t->str, t->len };
        g_autoptr(BhRuleSet) s = bh_rule_set_load(&f, 1, NULL);
        g_autofree char *problems = all_problems(s);
        g_assert_cmpstr(problems, ==, "");
        const BhCond *c = g_ptr_array_index(rule(s, "r499")->condition->kids, 1);
        g_assert_cmpuint(c->values->len, ==, 1000000);
}

static void a_million_items_are_read(void) {
        bounded(a_million_items);
}

static void more_items(void) {
        g_autoptr(GString) t = g_string_new("- list: l\n  items: [");

        repeat(t, "a,", 1000001);
        g_string_append(t, "]\n");
        has_error(t, "LOAD_ERR_VALIDATE", "1,000,000 items");
        /* as many values as fit into a file */
        g_string_assign(t, "- list: l\n  items: [");
        repeat(t, "a,", 8000000);
        g_string_append(t, "]\n");
        has_error(t, "LOAD_ERR_YAML_PARSE", "split it");
}

static void more_than_a_million_items_are_refused(void) {
        bounded(more_items);
}

static void put_in(void) {
        g_autoptr(GString) t = g_string_new("- list: l\n  items: [");

        /* each condition copies 100,000 values, for the list does not stand alone */
        repeat(t, "abcdefgh,", 100000);
        g_string_append(t, "]\n");
        for (guint i = 0; i < 1000; i++)
                g_string_append_printf(t, "- rule: r%u\n  desc: d\n  condition: evt.type=open and proc.name in (x, l)\n  output: o\n  priority: INFO\n", i);
        has_error(t, "LOAD_ERR_COMPILE_CONDITION", "8,000,000 values");
}

static void lists_put_in_many_times_are_bounded(void) {
        bounded(put_in);
}

static void list_bomb(void) {
        g_autoptr(GString) t = g_string_new("- list: l0\n  items: [a,b,c,d,e,f,g,h,i,j]\n");

        for (guint i = 1; i < 40; i++) {
                g_string_append_printf(t, "- list: l%u\n  items: [", i);
                for (guint k = 0; k < 10; k++)
                        g_string_append_printf(t, "l%u,", i - 1);
                g_string_append(t, "]\n");
        }
        g_string_append(t, RULE("r", SYS "proc.name in (l39)"));
        has_error(t, "LOAD_ERR_VALIDATE", "1,000,000");
        /* and a chain */
        g_string_assign(t, "- list: l0\n  items: [a]\n");
        for (guint i = 1; i < 20000; i++)
                g_string_append_printf(t, "- list: l%u\n  items: [l%u]\n", i, i - 1);
        BhRuleSource f = { "a.yaml", t->str, t->len };
        bh_rule_set_unref(bh_rule_set_load(&f, 1, NULL));
}

static void lists_of_lists_of_lists_are_bounded(void) {
        bounded(list_bomb);
}

static void macro_bomb(void) {
        g_autoptr(GString) t = g_string_new("- macro: m0\n  condition: proc.name=a\n");

        for (guint i = 1; i < 100; i++)
                g_string_append_printf(t, "- macro: m%u\n  condition: m%u or m%u\n", i, i - 1, i - 1);
        g_string_append(t, RULE("r", SYS "m99"));
        has_error(t, "LOAD_ERR_VALIDATE", "200,000 are the limit");
        g_string_assign(t, "- macro: m0\n  condition: proc.name=a\n");
        for (guint i = 1; i < 15000; i++)
                g_string_append_printf(t, "- macro: m%u\n  condition: not m%u\n", i, i - 1);
        g_string_append(t, RULE("r", SYS "m14999"));
        has_error(t, "LOAD_ERR_VALIDATE", "deeper");
        /* many rules, each near the bound */
        g_string_assign(t, "- macro: m\n  condition: proc.name=a");
        repeat(t, " or proc.name=a", 100000);
        g_string_append(t, "\n");
        for (guint i = 0; i < 1000; i++)
                g_string_append_printf(t, "- rule: r%u\n  desc: d\n  condition: evt.type=open and m\n  output: o\n  priority: INFO\n", i);
        has_error(t, "LOAD_ERR_VALIDATE", "4,000,000 parts");
}

static void macros_of_macros_of_macros_are_bounded(void) {
        bounded(macro_bomb);
}

static void alias_bomb(void) {
        g_autoptr(GString) t = g_string_new("- list: l\n  items: &a0 [x,x,x,x,x,x,x,x,x,x]\n");

        for (guint i = 1; i < 30; i++) {
                g_string_append_printf(t, "- list: l%u\n  items: &a%u [", i, i);
                for (guint k = 0; k < 10; k++)
                        g_string_append_printf(t, "*a%u,", i - 1);
                g_string_append(t, "]\n");
        }
        has_error(t, "LOAD_ERR_YAML_VALIDATE", "single values");
        /* where lists of lists may stand */
        g_string_assign(t, "- list: l\n  items: &a [");
        repeat(t, "x,", 100000);
        g_string_append(t, "]\n" RULE("r", "evt.type=open") "  exceptions:\n    - name: e\n      fields: [proc.name]\n      comps: [in]\n      values: [");
        repeat(t, "[*a],", 5000);
        g_string_append(t, "]\n");
        has_error(t, "LOAD_ERR_COMPILE_CONDITION", "3,000,000");
        g_string_assign(t, "");
        for (guint i = 0; i < 20000; i++)
                g_string_append_printf(t, "- list: l%u\n  items: [&a%u x]\n", i, i);
        has_error(t, "LOAD_ERR_YAML_PARSE", "anchors");
}

static void aliases_take_no_more_than_their_text(void) {
        bounded(alias_bomb);
}

static void nesting(void) {
        g_autoptr(GString) t = g_string_new("- list: l\n  items: ");

        repeat(t, "[", 1000000);
        has_error(t, "LOAD_ERR_YAML_PARSE", "deeper than 64");
        g_string_assign(t, "- a: ");
        repeat(t, "{a: ", 1000000);
        has_error(t, "LOAD_ERR_YAML_PARSE", "deeper than 64");
        g_string_assign(t, "");
        repeat(t, "- ", 1000000);
        has_error(t, "LOAD_ERR_YAML_PARSE", "deeper than 64");
        g_string_assign(t, "- rule: r\n  desc: d\n  output: o\n  priority: INFO\n  condition: ");
        repeat(t, "(", 1000000);
        has_error(t, "LOAD_ERR_COMPILE_CONDITION", "limit of 1000");
        g_string_assign(t, "- rule: r\n  desc: d\n  output: o\n  priority: INFO\n  condition: tolower(");
        repeat(t, "tolower(", 1000000);
        has_error(t, "LOAD_ERR_COMPILE_CONDITION", "limit of 1000");
        g_string_assign(t, "- rule: r\n  desc: d\n  output: \"%");
        repeat(t, "tolower(", 1000000);
        g_string_append(t, "\"\n  priority: INFO\n  condition: evt.type=open\n");
        has_error(t, "LOAD_ERR_COMPILE_OUTPUT", "8,192 bytes");
        g_string_assign(t, "- rule: r\n  desc: d\n  output: \"%");
        repeat(t, "tolower(", 1000);
        g_string_append(t, "\"\n  priority: INFO\n  condition: evt.type=open\n");
        has_error(t, "LOAD_ERR_COMPILE_OUTPUT", "limit of 100");
}

static void deep_nesting_is_refused(void) {
        bounded(nesting);
}

static void long_conditions(void) {
        g_autoptr(GString) t = g_string_new("- rule: r\n  desc: d\n  output: o\n  priority: INFO\n  condition: proc.name=a");

        repeat(t, " or proc.name=a", 250000);
        has_error(t, "LOAD_ERR_COMPILE_CONDITION", "200,000 parts");
        g_string_assign(t, "- rule: r\n  desc: d\n  output: o\n  priority: INFO\n  condition: concat(proc.name");
        repeat(t, ",proc.name", 1000000);
        g_string_append(t, ") = a\n");
        has_error(t, "LOAD_ERR_COMPILE_CONDITION", "200,000 parts");
        g_string_assign(t, "- rule: r\n  desc: d\n  output: \"");
        repeat(t, "%foo.bar ", 900);
        g_string_append(t, "\"\n  priority: INFO\n  condition: evt.type=open");
        repeat(t, " or foo.bar=1", 150000);
        g_string_append(t, "\n");
        has_error(t, "LOAD_ERR_COMPILE_OUTPUT", "foo.bar");
}

static void long_conditions_are_bounded(void) {
        bounded(long_conditions);
}

static void many_problems(void) {
        g_autoptr(GString) t = g_string_new("");

        for (guint i = 0; i < 20000; i++)
                g_string_append_printf(t, "- rule: r%u\n  desc: d\n  condition: evt.type=open and proc.nme_%u=x\n  output: \"\"\n  foo: bar\n", i, i);
        repeat(t, "- a: \"x\n", 20000);
        BhRuleSource f = { "a.yaml", t->str, t->len };
        g_autoptr(BhRuleSet) s = bh_rule_set_load(&f, 1, NULL);
        g_assert_cmpuint(bh_rule_set_errors(s), >=, 40000);
        g_assert_cmpuint(bh_rule_set_problems(s)->len, ==, BH_RULES_PROBLEMS_MAX);
        g_string_assign(t, "");
        for (guint i = 0; i < 30000; i++)
                g_string_append_printf(t, "- rule: r%u\n  desc: d\n  condition: evt.type=open\n  output: o\n  priority: INFO\n", i);
        has_error(t, "LOAD_ERR_VALIDATE", "20,000 rules");
}

static void problems_are_counted_and_a_thousand_kept(void) {
        bounded(many_problems);
}

static void quadratic(void) {
        g_autoptr(GString) t = g_string_new(NULL);

        /* elements after a syntax error, each a parse of its own */
        g_string_assign(t, "- \"\n");
        repeat(t, "- ~\n", 4000000);
        has_error(t, "LOAD_ERR_YAML_PARSE", "only 100,000");
        /* a key that is found late, again and again */
        g_string_assign(t, "- rule: r\n");
        for (guint i = 0; i < 300000; i++)
                g_string_append_printf(t, "  k%u: x\n", i);
        repeat(t, "  condition: x\n", 300000);
        has_error(t, "LOAD_ERR_YAML_VALIDATE", "100 keys");
        /* appends to what was appended to */
        for (guint n = 400; n <= 16000; n *= 40) {
                g_string_assign(t, RULE("r", "evt.type=open"));
                for (guint i = 0; i < n; i++)
                        g_string_append_printf(t, "- rule: r\n  desc: %0700u\n  tags: [t%u]\n  output: %030u\n  exceptions:\n    - {name: e%u, fields: proc.name, values: [a]}\n"
                                                  "  override: {desc: append, tags: append, output: append, exceptions: append}\n", i, i, i, i);
                has_error(t, "LOAD_ERR_VALIDATE", "64 KiB");
                has_error(t, "LOAD_ERR_VALIDATE", "100 tags");
                has_error(t, "LOAD_ERR_VALIDATE", "200 exceptions");
                if (n == 400) /* later there are a thousand problems before it */
                        has_error(t, "LOAD_ERR_COMPILE_OUTPUT", "8,192 bytes");
        }
        /* many lists, many long conditions */
        g_string_assign(t, "");
        for (guint i = 0; i < 300000; i++)
                g_string_append_printf(t, "- list: l%u\n  items: []\n", i);
        for (guint i = 0; i < 10000; i++) {
                g_string_append_printf(t, "- rule: r%u\n  desc: d\n  output: o\n  priority: INFO\n  condition: evt.type=open and proc.name in (", i);
                repeat(t, "a,", 200);
                g_string_append(t, "a)\n");
        }
        BhRuleSource f = { "a.yaml", t->str, t->len };
        bh_rule_set_unref(bh_rule_set_load(&f, 1, NULL));
}

static void nothing_takes_the_square_of_its_size(void) {
        bounded(quadratic);
}

static void many_appends(void) {
        g_autoptr(GString) rules = g_string_new(NULL), config = g_string_new("append_output:\n");

        for (guint i = 0; i < 20000; i++) {
                g_string_append_printf(rules, "- rule: r%u\n  desc: d\n  condition: evt.type=open\n  output: o\n  priority: INFO\n  tags: [", i);
                for (guint k = 0; k < 90; k++)
                        g_string_append_printf(rules, "t%u,", k);
                g_string_append(rules, "]\n");
        }
        for (guint i = 0; i < 100; i++) {
                g_string_append(config, "  - match: {tags: [");
                for (guint k = 0; k < 90; k++)
                        g_string_append_printf(config, "t%u,", 89 - k);
                g_string_append(config, "]}\n    extra_output: \"");
                repeat(config, "%proc.name ", 500);
                g_string_append(config, "\"\n    extra_fields: [{a: \"");
                repeat(config, "x", 8000);
                g_string_append(config, "\"}]\n");
        }
        BhRuleSource f[] = { { "a.yaml", rules->str, rules->len }, { "b.yaml", config->str, config->len } };
        g_autoptr(BhRuleSet) s = bh_rule_set_load(f, 2, NULL);
        has(s, TRUE, "LOAD_ERR_COMPILE_OUTPUT", NULL, "8,192 bytes");
}

static void settings_times_rules_are_bounded(void) {
        bounded(many_appends);
}

/* Files that are each as full as may be. */
static void full_files(void) {
        g_autoptr(GString) a = g_string_new(NULL);

        for (guint l = 0; l < 2; l++) {
                g_string_append_printf(a, "- list: l%u\n  items: [", l);
                for (guint i = 0; i < 999999; i++)
                        g_string_append_printf(a, "%x,", i);
                g_string_append(a, "]\n- rule: r%u\n  desc: d\n  condition: evt.type=open and proc.name in (x, l0)\n  output: o\n  priority: INFO\n");
        }
        BhRuleSource f[] = { { "a.yaml", a->str, a->len }, { "b.yaml", a->str, a->len }, { "c.yaml", a->str, a->len } };
        g_assert_cmpuint(a->len, <, BH_RULES_FILE_MAX);
        g_autoptr(BhRuleSet) s = bh_rule_set_load(f, 3, NULL);
        has(s, TRUE, "LOAD_ERR_FILE_READ", NULL, "32 MiB");
}

static void full_files_stay_below_the_bound(void) {
        bounded(full_files);
}

static void foreign_bytes_are_refused_and_never_printed(void) {
        g_autoptr(GString) t = g_string_new(NULL);

        g_string_append_len(t, "- list: l\0x\n", 12);
        has_error(t, "LOAD_ERR_YAML_PARSE", "NUL byte");
        g_string_assign(t, "- list: \xff\xfe\n");
        has_error(t, "LOAD_ERR_YAML_PARSE", "UTF-8");
        g_string_truncate(t, 0);
        g_string_append_len(t, "\xff\xfe-\0 \0", 6);
        has_error(t, "LOAD_ERR_YAML_PARSE", "UTF-16");
        g_string_assign(t, "- rule: \"a\\0b\"\n  desc: d\n  condition: x\n  output: o\n  priority: INFO\n");
        has_error(t, "LOAD_ERR_YAML_VALIDATE", "NUL byte");
        g_string_assign(t, "- rule: r\n  desc: d\n  condition: \"evt.type=open\\0\"\n  output: \"o\\0\"\n  priority: INFO\n");
        has_error(t, "LOAD_ERR_COMPILE_CONDITION", "NUL byte");
        has_error(t, "LOAD_ERR_COMPILE_OUTPUT", "NUL byte");
        g_string_assign(t, "- list: l\n  items: [\"a\\0b\"]\n");
        has_error(t, "LOAD_ERR_COMPILE_CONDITION", "NUL byte");
        /* escapes for the terminal come out as text */
        BhRuleSource f = { "\x1b[31m", "- rule: \"\\e[31mx\"\n  \"\\e[1mfoo\": x\n  desc: d\n  condition: \"\\e[2mx\"\n  output: \"%\\e.\"\n  priority: \"\\e\"\n- macro: m\n  condition: \"abc.def\\u202e=1\"\n", 0 };
        f.len = strlen(f.text);
        g_autoptr(BhRuleSet) s = bh_rule_set_load(&f, 1, NULL);
        g_autofree char *all = all_problems(s);
        g_assert_cmpuint(bh_rule_set_errors(s), >=, 2);
        g_assert_null(strchr(all, '\x1b'));
        g_assert_null(strstr(all, "\xe2\x80\xae"));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/rules/hostile/" #name, name)
        TEST(a_file_of_100_mb_is_refused_unread);
        TEST(what_is_no_file_is_refused);
        TEST(a_pipe_is_read);
        TEST(a_million_items_are_read);
        TEST(more_than_a_million_items_are_refused);
        TEST(lists_put_in_many_times_are_bounded);
        TEST(lists_of_lists_of_lists_are_bounded);
        TEST(macros_of_macros_of_macros_are_bounded);
        TEST(aliases_take_no_more_than_their_text);
        TEST(deep_nesting_is_refused);
        TEST(long_conditions_are_bounded);
        TEST(problems_are_counted_and_a_thousand_kept);
        TEST(nothing_takes_the_square_of_its_size);
        TEST(settings_times_rules_are_bounded);
        TEST(full_files_stay_below_the_bound);
        TEST(foreign_bytes_are_refused_and_never_printed);
        return g_test_run();
}

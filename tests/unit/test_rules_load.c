/* SPDX-License-Identifier: Apache-2.0 */
/* Files of rules: what the language's facts say that they mean. */
#include "rules_load_help.h"

#define VALIDATE "LOAD_ERR_YAML_VALIDATE"
#define OBJECT "LOAD_ERR_VALIDATE"
#define CONDITION "LOAD_ERR_COMPILE_CONDITION"

static void lists_are_put_in(void) {
        loads("- list: l\n  items: [a, \"b c\", d-e.f, '\"q\"']\n" RULE("r", SYS "proc.name in (l)"),
              "(evt.type = \"open\" and proc.name in (\"a\", \"b c\", \"d-e.f\", \"q\"))");
        loads("- list: l-1.x\n  items: [a, b]\n" RULE("r", SYS "proc.name in (x, l-1.x, \"l-1.x\",y)"),
              "(evt.type = \"open\" and proc.name in (\"x\", \"a\", \"b\", \"l-1.x\", \"y\"))");
        loads("- list: l\n  items: []\n" RULE("r", SYS "proc.name in (l) and proc.name in (a, l) and proc.name in (l,a)"),
              "(evt.type = \"open\" and proc.name in () and proc.name in (\"a\") and proc.name in (\"a\"))");
        loads("- list: l\n  items: [x]\n" RULE("r", SYS "proc.name = l and proc.name in l"), "(evt.type = \"open\" and proc.name = \"x\" and proc.name in (\"x\"))");
        loads("- list: ports\n  items: [80, 443]\n" RULE("r", SYS "fd.sport in (ports)"), "(evt.type = \"open\" and fd.sport in (\"80\", \"443\"))");
        loads("- list: l\n  items: [/etc, /usr/lib]\n" RULE("r", SYS "fd.name pmatch (l) and fd.name startswith oneof (l)"),
              "(evt.type = \"open\" and fd.name pmatch (\"/etc\", \"/usr/lib\") and fd.name startswith oneof (\"/etc\", \"/usr/lib\"))");
        loads("- list: l\n  items: [\"a,b\"]\n" RULE("r", SYS "proc.name in (l)"), "(evt.type = \"open\" and proc.name in (\"a\", \"b\"))");
        fails("- list: l\n  items: [a, b]\n" RULE("r", SYS "proc.name = l"), CONDITION, "5:44", "list of 2 values");
        fails("- list: l\n  items:\n    - ok\n    - a=b\n" RULE("r", SYS "proc.name in (l)"), CONDITION, "4:7", "quotes of its own");
        /* lists need no order among conditions */
        loads(RULE("r", SYS "proc.name in (l)") "- list: l\n  items: [a]\n", "(evt.type = \"open\" and proc.name in (\"a\"))");
}

static void lists_hold_earlier_lists_only(void) {
        loads("- list: a\n  items: [x, y]\n- list: b\n  items: [a, z]\n- list: c\n  items: [b]\n" RULE("r", SYS "proc.name in (c)"),
              "(evt.type = \"open\" and proc.name in (\"x\", \"y\", \"z\"))");
        loads("- list: b\n  items: [a, z]\n- list: a\n  items: [x]\n" RULE("r", SYS "proc.name in (b)"), "(evt.type = \"open\" and proc.name in (\"a\", \"z\"))");
        loads("- list: a\n  items: [a, b]\n" RULE("r", SYS "proc.name in (a)"), "(evt.type = \"open\" and proc.name in (\"a\", \"b\"))");
        /* a list that is changed later sees what stands before the change */
        loads("- list: b\n  items: [z]\n- list: a\n  items: [x]\n- list: b\n  items: [a]\n  override: {items: append}\n" RULE("r", SYS "proc.name in (b)"),
              "(evt.type = \"open\" and proc.name in (\"z\", \"x\"))");
}

static void lists_are_replaced_and_appended_to(void) {
        loads("- list: l\n  items: [a]\n- list: l\n  items: [b]\n" RULE("r", SYS "proc.name in (l)"), "(evt.type = \"open\" and proc.name in (\"b\"))");
        loads("- list: l\n  items: [a]\n- list: l\n  items: [b]\n  override: {items: append}\n" RULE("r", SYS "proc.name in (l)"), "(evt.type = \"open\" and proc.name in (\"a\", \"b\"))");
        loads("- list: l\n  items: [a]\n- list: l\n  items: [b]\n  override: {items: replace}\n" RULE("r", SYS "proc.name in (l)"), "(evt.type = \"open\" and proc.name in (\"b\"))");
        loads("- list: l\n  items: [a]\n- list: l\n  items: [b]\n  append: true\n" RULE("r", SYS "proc.name in (l)"), "(evt.type = \"open\" and proc.name in (\"a\", \"b\"))");
        warns("- list: l\n  items: [a]\n- list: l\n  items: [b]\n  append: true\n" RULE("r", SYS "proc.name in (l)"), "LOAD_DEPRECATED_ITEM", "5:3", "override");
        fails("- list: l\n  items: [b]\n  append: true\n", OBJECT, "1:9", "stands before");
        fails("- list: l\n  items: [b]\n  override: {items: append}\n", OBJECT, "1:9", "stands before");
        fails("- list: l\n  items: [b]\n  append: true\n  override: {items: append}\n", VALIDATE, NULL, "cannot stand together");
        fails("- list: l\n  items: [b]\n  override: {foo: append}\n", VALIDATE, "3:14", "cannot be appended to");
        fails("- list: l\n  items: [b]\n  override: {items: add}\n", VALIDATE, "3:21", "append or replace");
        /* replace of what is not there defines it */
        loads("- list: l\n  items: [b]\n  override: {items: replace}\n" RULE("r", SYS "proc.name in (l)"), "(evt.type = \"open\" and proc.name in (\"b\"))");
        fails("- list: l\n", VALIDATE, NULL, "\"items\" is missing");
        fails("- list: l\n  items: x\n", VALIDATE, "2:10", "must be a list");
        fails("- list: l\n  items: [[x]]\n", VALIDATE, "2:11", "single values");
        fails("- list:\n  items: []\n", VALIDATE, "1:3", "no value");
        warns("- list: a b\n  items: [x]\n", "LOAD_INVALID_LIST_NAME", "1:9", "blanks");
        loads("- list: a b\n  items: [x]\n" RULE("r", SYS "proc.name in (a b)"), "(evt.type = \"open\" and proc.name in (\"x\"))");
        warns("- list: l\n  items: [x]\n", "LOAD_UNUSED_LIST", "1:3", "uses this list");
}

static void macros_are_put_in(void) {
        loads("- macro: m\n  condition: proc.name=a or proc.name=b\n" RULE("r", SYS "m"), "(evt.type = \"open\" and (proc.name = \"a\" or proc.name = \"b\"))");
        loads("- macro: m\n  condition: proc.name=a or proc.name=b\n" RULE("r", SYS "not m and (m)"),
              "(evt.type = \"open\" and not (proc.name = \"a\" or proc.name = \"b\") and (proc.name = \"a\" or proc.name = \"b\"))");
        loads("- macro: a\n  condition: proc.name=a\n- macro: b\n  condition: a and proc.name=b\n" RULE("r", SYS "b"), "(evt.type = \"open\" and (proc.name = \"a\" and proc.name = \"b\"))");
        /* rules see macros that are defined later, macros do not */
        loads(RULE("r", SYS "m") "- macro: m\n  condition: proc.name=a\n", "(evt.type = \"open\" and proc.name = \"a\")");
        fails("- macro: b\n  condition: a\n- macro: a\n  condition: proc.name=a\n" RULE("r", SYS "b"), OBJECT, "2:14", "at line 3 only");
        /* a macro keeps its place when it is replaced, and then sees what stands before the replacement */
        loads("- macro: b\n  condition: proc.name=x\n- macro: a\n  condition: proc.name=a\n- macro: b\n  condition: a\n" RULE("r", SYS "b"), "(evt.type = \"open\" and proc.name = \"a\")");
        loads("- macro: m\n  condition: proc.name=a\n- macro: m\n  condition: or proc.name=b\n  override: {condition: append}\n" RULE("r", SYS "m"),
              "(evt.type = \"open\" and (proc.name = \"a\" or proc.name = \"b\"))");
        loads("- macro: m\n  condition: proc.name=a\n- macro: m\n  condition: or proc.name=b\n  append: true\n" RULE("r", SYS "m"),
              "(evt.type = \"open\" and (proc.name = \"a\" or proc.name = \"b\"))");
        loads("- macro: m\n  condition: proc.name=a\n- macro: m\n  condition: proc.name=b\n  override: {condition: replace}\n" RULE("r", SYS "m"), "(evt.type = \"open\" and proc.name = \"b\")");
        fails("- macro: m\n  condition: or proc.name=b\n  append: true\n", OBJECT, "1:10", "stands before");
        fails("- macro: m\n  condition: proc.name=b\n  append: true\n  override: {condition: replace}\n", VALIDATE, NULL, "cannot stand together");
        fails("- macro: m\n  condition: proc.name=a\n- macro: m\n  condition: or m\n  override: {condition: append}\n" RULE("r", SYS "m"), OBJECT, "4:17", "uses itself");
        fails("- macro: a\n  condition: proc.name=x\n- macro: b\n  condition: a\n- macro: a\n  condition: b\n", OBJECT, NULL, "uses itself");
        fails(RULE("r", SYS "nothing"), OBJECT, "3:32", "no macro \"nothing\"");
        fails("- macro: never_true\n  condition: (evt.num=0)\n" RULE("r", SYS "nevr_true"), OBJECT, "5:32", "\"never_true\"");
        fails("- list: l\n  items: [a]\n" RULE("r", SYS "l"), OBJECT, "5:32", "is a list");
        fails("- macro: m\n  condition: proc.name=\n", CONDITION, "2:24", "value is missing");
        fails("- macro: m\n", VALIDATE, NULL, "\"condition\" is missing");
        warns("- macro: m-x\n  condition: proc.name=a\n", "LOAD_INVALID_MACRO_NAME", "1:10", "letters");
        warns("- macro: m\n  condition: proc.name=a\n", "LOAD_UNUSED_MACRO", "1:3", "uses this macro");
        /* fields of macros count when a rule uses them */
        warns("- macro: m\n  condition: foo.bar=a\n", "LOAD_COMPILE_CONDITION", "2:14", "no rule that loads uses it");
        fails("- macro: m\n  condition: foo.bar=a\n" RULE("r", SYS "m"), CONDITION, "2:14", "uses at a.yaml:5:32");
}

static void rules_have_their_keys(void) {
        g_autoptr(BhRuleSet) s = load("- rule: r\n  desc: some text\n  condition: evt.type=open\n  output: \" out %proc.name \"\n  priority: warning\n  tags: [b, a, b]\n  enabled: no\n  source: syscall\n"
                                      "  warn_evttypes: False\n  skip-if-unknown-filter: true\n  capture: true\n  capture_duration: 5000\n");
        const BhRule *r = rule(s, "r");

        condition_is(s, "r", "evt.type = \"open\"");
        g_assert_cmpuint(bh_rule_set_warnings(s), ==, 0);
        g_assert_cmpstr(r->desc, ==, "some text");
        g_assert_cmpstr(r->output, ==, "out %proc.name");
        g_assert_cmpint(r->priority, ==, BH_PRIO_WARNING);
        g_assert_cmpuint(r->tags->len, ==, 2);
        g_assert_false(r->enabled);
        g_assert_false(r->warn_evttypes);
        g_assert_true(r->skip_if_unknown_filter);
        g_assert_false(r->skipped);
        g_assert_cmpstr(r->source, ==, "syscall");
        g_assert_cmpuint(r->pos.line, ==, 1);
        g_assert_cmpuint(r->condition_pos.line, ==, 3);
        g_assert_cmpuint(r->condition_pos.column, ==, 14);
        g_autoptr(BhRuleSet) d = load(RULE("r", "evt.type=open"));
        r = rule(d, "r");
        g_assert_true(r->enabled);
        g_assert_true(r->warn_evttypes);
        g_assert_false(r->skip_if_unknown_filter);
        g_assert_cmpstr(r->source, ==, "syscall");
        g_assert_cmpint(bh_priority_from_name("eMERGENCY", 9), ==, BH_PRIO_EMERGENCY);
        g_assert_cmpint(bh_priority_from_name("info", 4), ==, BH_PRIO_INFO);
        g_assert_cmpint(bh_priority_from_name("INFORMATIONAL", 13), ==, BH_PRIO_INFO);
        g_assert_cmpint(bh_priority_from_name("inform", 6), ==, -1);
        g_assert_cmpstr(bh_priority_name(BH_PRIO_INFO), ==, "Informational");

        fails("- rule: r\n  desc: d\n  output: o\n  priority: INFO\n", VALIDATE, "1:3", "\"condition\" is missing");
        fails("- rule: r\n  desc: d\n  condition: evt.type=open\n  priority: INFO\n", VALIDATE, "1:3", "\"output\" is missing");
        fails("- rule: r\n  output: d\n  condition: evt.type=open\n  priority: INFO\n", VALIDATE, "1:3", "\"desc\" is missing");
        fails("- rule: r\n  output: d\n  condition: evt.type=open\n  desc: d\n", VALIDATE, "1:3", "\"priority\" is missing");
        fails("- rule: r\n  output: d\n  condition: evt.type=open\n  desc: d\n  priority: HIGH\n", VALIDATE, "5:13", "no priority");
        fails("- rule: r\n  output: d\n  condition:\n  desc: d\n  priority: INFO\n", VALIDATE, "3:3", "no value");
        fails("- rule: r\n  output: [d]\n  condition: evt.type=open\n  desc: d\n  priority: INFO\n", VALIDATE, "2:11", "one value");
        fails(RULE("r", "evt.type=open") "  enabled: maybe\n", VALIDATE, "6:12", "true or false");
        fails(RULE("r", "evt.type=open") "  tags: a\n", VALIDATE, "6:9", "must be a list");
        fails(RULE("r", "evt.type=open") "  capture_duration: -1\n", VALIDATE, "6:21", "whole number");
        fails(RULE("r", "evt.type=open") "  capture: often\n", VALIDATE, "6:12", "true or false");
        fails("- rule:\n  desc: d\n", VALIDATE, "1:3", "no value");
        fails("- rule: r\n", VALIDATE, "1:3", "are missing");
        warns(RULE("r", "evt.type=open") "  enabeld: true\n", "LOAD_UNKNOWN_KEY", "6:3", "\"enabled\" meant");
        warns(RULE("r", "evt.type=open") "  priority: DEBUG\n", "LOAD_UNKNOWN_KEY", "6:3", "twice");
        warns("- list: l\n  items: [cat]\n  priority: INFO\n" RULE("r", SYS "proc.name in (l)"), "LOAD_UNKNOWN_KEY", "3:3", "ignored");
        warns("- foo: bar\n" RULE("r", "evt.type=open"), "LOAD_UNKNOWN_ITEM", "1:3", "ignored");
}

static void later_definitions_replace_earlier_ones(void) {
        g_autoptr(BhRuleSet) s = load2(RULE("a", "evt.type=open") RULE("b", "evt.type=open"), "- rule: a\n  desc: e\n  condition: evt.type=close\n  output: p\n  priority: DEBUG\n  tags: [t]\n");
        const BhRule *r = rule(s, "a");

        condition_is(s, "a", "evt.type = \"close\"");
        g_assert_cmpuint(bh_rule_set_rules(s)->len, ==, 2);
        g_assert_true(g_ptr_array_index(bh_rule_set_rules(s), 0) == r);
        g_assert_cmpstr(r->desc, ==, "e");
        g_assert_cmpint(r->priority, ==, BH_PRIO_DEBUG);
        g_assert_cmpuint(r->pos.file, ==, 1);
        g_assert_cmpstr(bh_rule_set_file(s, 1), ==, "b.yaml");
}

static void overrides_go_key_by_key(void) {
        static const char base[] = RULE("r", "evt.type=open") "  tags: [a]\n  enabled: false\n";
        g_autofree char *append = g_strconcat(base, "- rule: r\n  condition: and proc.name=x\n  output: more\n  desc: e\n  tags: [b, a]\n"
                                                    "  override: {condition: append, output: append, desc: append, tags: append}\n", NULL);
        g_autofree char *replace = g_strconcat(base, "- rule: r\n  condition: evt.type=close\n  output: other\n  desc: e\n  tags: [c]\n  priority: ERROR\n  enabled: true\n  warn_evttypes: false\n"
                                                     "  skip-if-unknown-filter: true\n  capture: true\n  capture_duration: 5\n"
                                                     "  override: {condition: replace, output: replace, desc: replace, tags: replace, priority: replace, enabled: replace, warn_evttypes: replace, "
                                                     "skip-if-unknown-filter: replace, capture: replace, capture_duration: replace}\n", NULL);
        g_autofree char *both = g_strconcat(base, "- rule: r\n  condition: and proc.name=x\n  priority: ERROR\n  override: {condition: append, priority: replace}\n", NULL);
        g_autoptr(BhRuleSet) s = load(append);
        const BhRule *r = rule(s, "r");

        condition_is(s, "r", "(evt.type = \"open\" and proc.name = \"x\")");
        g_assert_cmpstr(r->output, ==, "o more");
        g_assert_cmpstr(r->desc, ==, "d e");
        g_assert_cmpuint(r->tags->len, ==, 2);
        g_assert_false(r->enabled);
        g_autoptr(BhRuleSet) s2 = load(replace);
        r = rule(s2, "r");
        condition_is(s2, "r", "evt.type = \"close\"");
        g_assert_cmpstr(r->output, ==, "other");
        g_assert_cmpuint(r->tags->len, ==, 1);
        g_assert_cmpstr(g_ptr_array_index(r->tags, 0), ==, "c");
        g_assert_cmpint(r->priority, ==, BH_PRIO_ERROR);
        g_assert_true(r->enabled);
        g_assert_false(r->warn_evttypes);
        g_assert_true(r->skip_if_unknown_filter);
        g_autoptr(BhRuleSet) s3 = load(both);
        condition_is(s3, "r", "(evt.type = \"open\" and proc.name = \"x\")");
        g_assert_cmpint(rule(s3, "r")->priority, ==, BH_PRIO_ERROR);

#define OVER(keys, override) RULE("r", "evt.type=open") "- rule: r\n" keys "  override: " override "\n"
        fails(OVER("  priority: ERROR\n", "{priority: append}"), VALIDATE, "8:14", "use replace");
        fails(OVER("  enabled: true\n", "{enabled: append}"), VALIDATE, "8:14", "use replace");
        fails(OVER("  source: syscall\n", "{source: replace}"), VALIDATE, "8:14", "cannot be replaced");
        fails(OVER("  condition: x\n", "{condition: prepend}"), VALIDATE, "8:25", "append or replace");
        fails(OVER("  enabled: true\n", "{enabled: x}"), VALIDATE, "8:23", "must be replace");
        fails(OVER("  output: x\n", "{output: append, condition: append}"), VALIDATE, "8:30", "no such key");
        fails(OVER("  output: x\n  priority: INFO\n", "{output: append}"), VALIDATE, "8:3", "does not say");
        fails(OVER("  output: x\n", "append"), VALIDATE, "8:13", "must be a map");
        fails(OVER("  output: x\n  append: true\n", "{output: append}"), VALIDATE, NULL, "cannot stand together");
        fails("- rule: q\n  output: x\n  override: {output: append}\n", OBJECT, "1:9", "stands before");
        fails("- rule: q\n  output: x\n  override: {output: replace}\n", OBJECT, "1:9", "stands before");
        /* a break in an appended condition is told at the piece that it stands in */
        fails(RULE("r", "evt.type=open") "- rule: r\n  condition: and proc.nme=x\n  override: {condition: append}\n", CONDITION, "7:18", "proc.name");
}

static void append_true_and_bare_enabled_still_work(void) {
        g_autoptr(BhRuleSet) s = load(RULE("r", "evt.type=open") "- rule: r\n  append: true\n  condition: and proc.name=x\n- rule: r\n  enabled: false\n");

        condition_is(s, "r", "(evt.type = \"open\" and proc.name = \"x\")");
        has(s, FALSE, "LOAD_DEPRECATED_ITEM", "7:3", "override");
        has(s, FALSE, "LOAD_DEPRECATED_ITEM", "9:3", "enabled: replace");
        g_assert_false(rule(s, "r")->enabled);
        fails("- rule: r\n  append: true\n  condition: and x\n", OBJECT, "1:9", "stands before");
        fails("- rule: r\n  enabled: false\n", OBJECT, "1:9", "stands before");
        fails(RULE("r", "evt.type=open") "- rule: r\n  append: true\n", OBJECT, "6:3", "needs a condition or exceptions");
        /* the source may be left empty */
        loads(RULE("r", "evt.type=open") "- rule: r\n  append: true\n  source:\n  condition: and proc.name=x\n", "(evt.type = \"open\" and proc.name = \"x\")");
        loads(RULE("r", "evt.type=open") "- rule: r\n  append: true\n  source: \"\"\n  condition: and proc.name=x\n", "(evt.type = \"open\" and proc.name = \"x\")");
}

static void sources_decide_what_is_loaded(void) {
        g_autoptr(BhRuleSet) s = load("- macro: m\n  condition: ka.verb=create\n" RULE("k", "m and ka.foo=bar") "  source: k8s_audit\n" RULE("r", "evt.type=open"));
        const BhRule *r = rule(s, "k");

        condition_is(s, "r", "evt.type = \"open\"");
        has(s, FALSE, "LOAD_UNKNOWN_SOURCE", "8:11", "skipped");
        g_assert_true(r->skipped);
        g_assert_null(r->condition);
        g_autoptr(BhRuleSet) c = load(RULE("r", "evt.type=container") "  source: container\n");
        condition_is(c, "r", "evt.type = \"container\"");
        fails(RULE("r", "evt.type=open") RULE("r", "evt.type=open") "  source: container\n", OBJECT, "11:11", "source \"syscall\"");
        fails(RULE("r", "evt.type=open") "- rule: r\n  source: container\n  append: true\n  condition: and x\n", OBJECT, "7:11", "source \"syscall\"");
        const char *own[] = { "mine", NULL };
        BhRuleLoadOptions options = { .sources = own, .rule_matching_all = TRUE };
        BhRuleSource f = { "x", RULE("r", "evt.type=open") "  source: mine\n", 0 };
        f.len = strlen(f.text);
        g_autoptr(BhRuleSet) o = bh_rule_set_load(&f, 1, &options);
        g_assert_false(rule(o, "r")->skipped);
        g_assert_true(bh_rule_set_matching_all(o));
}

static void skip_if_unknown_filter_excuses_unknown_fields_only(void) {
        g_autoptr(BhRuleSet) s = load(RULE("r", SYS "foo.bar=1") "  skip-if-unknown-filter: true\n");

        g_assert_cmpuint(bh_rule_set_errors(s), ==, 0);
        has(s, FALSE, "LOAD_UNKNOWN_FILTER", "3:32", "skipped");
        g_assert_true(rule(s, "r")->skipped);
        g_autoptr(BhRuleSet) o = load("- rule: r\n  desc: d\n  condition: evt.type=open\n  output: \"%foo.bar\"\n  priority: INFO\n  skip-if-unknown-filter: true\n");
        g_assert_cmpuint(bh_rule_set_errors(o), ==, 0);
        has(o, FALSE, "LOAD_UNKNOWN_FILTER", "4:13", "skipped");
        fails(RULE("r", SYS "proc.pid=x") "  skip-if-unknown-filter: true\n", CONDITION, "3:41", "whole number");
        fails(RULE("r", SYS "foo.bar=1"), CONDITION, "3:32", "no field");
}

static void versions_are_compared_part_by_part(void) {
        loads("- required_engine_version: 26\n" RULE("r", "evt.type=open"), "evt.type = \"open\"");
        loads("- required_engine_version: 0.57.0\n" RULE("r", "evt.type=open"), "evt.type = \"open\"");
        loads("- required_engine_version: 0.63.0\n- required_engine_version: 63\n" RULE("r", "evt.type=open"), "evt.type = \"open\"");
        fails("- required_engine_version: 64\n", OBJECT, "1:28", "0.63.0");
        fails("- required_engine_version: 0.63.1\n", OBJECT, "1:28", "upgrade");
        fails("- required_engine_version: 1.0.0\n", OBJECT, "1:28", "upgrade");
        fails("- required_engine_version: seven\n", VALIDATE, "1:28", "no version");
        fails("- required_engine_version: 0.57\n", VALIDATE, "1:28", "no version");
        fails("- required_engine_version:\n", VALIDATE, "1:3", "no value");
        warns("- required_engine_version: 1\n  foo: bar\n", "LOAD_UNKNOWN_KEY", "2:3", "ignored");
#define PLUGINS "- required_plugin_versions:\n"
        loads(PLUGINS "    - name: container\n      version: 0.4.0\n" RULE("r", "evt.type=open"), "evt.type = \"open\"");
        loads(PLUGINS "    - {name: k8saudit, version: 0.7.0, alternatives: [{name: container, version: 0.2.0}]}\n" RULE("r", "evt.type=open"), "evt.type = \"open\"");
        loads("- required_plugin_versions: []\n" RULE("r", "evt.type=open"), "evt.type = \"open\"");
        fails(PLUGINS "    - {name: k8saudit, version: 0.7.0}\n", OBJECT, "2:7", "\"k8saudit\" (\"0.7.0\" or later)");
        fails(PLUGINS "    - {name: container, version: 0.99.0}\n", OBJECT, "2:7", "native");
        fails(PLUGINS "    - {name: container, version: 1.0.0}\n", OBJECT, "2:7", "native");
        fails(PLUGINS "    - {name: container, version: x}\n", OBJECT, "2:34", "no version");
        fails(PLUGINS "    - {name: container}\n", VALIDATE, "2:7", "\"version\" is missing");
        fails(PLUGINS "    - {version: 1.0.0}\n", VALIDATE, "2:7", "\"name\" is missing");
        fails(PLUGINS "    - container\n", VALIDATE, "2:7", "map");
        fails("- required_plugin_versions: container\n", VALIDATE, "1:3", "list");
        fails(PLUGINS "    - {name: a, version: 1.0.0, alternatives: [{name: a, version: 1.0.0}]}\n", OBJECT, NULL, "twice");
}

static void costly_and_deprecated_conditions_are_warned_of(void) {
#define NARROW(condition) \
        do { \
                g_autoptr(BhRuleSet) n_ = load(RULE("r", condition)); \
                g_assert_cmpuint(bh_rule_set_errors(n_) + bh_rule_set_warnings(n_), ==, 0); \
        } while (0)
        warns(RULE("r", "proc.name=cat"), "LOAD_NO_EVTTYPE", "3:14", "evt.type");
        warns(RULE("r", "evt.type=open or proc.name=cat"), "LOAD_NO_EVTTYPE", "3:14", "evt.type");
        warns(RULE("r", "not evt.type=open and proc.name=cat"), "LOAD_NO_EVTTYPE", "3:14", "evt.type");
        warns(RULE("r", "evt.type != open"), "LOAD_NO_EVTTYPE", "3:14", "evt.type");
        NARROW("evt.type=open");
        NARROW("evt.type in (open, close) and proc.name=a");
        NARROW("(evt.type=open or evt.type=close) and proc.name=a");
        NARROW("not evt.type != open");
        NARROW("not (proc.name=a or evt.type != open)");
        NARROW("evt.num=0");
        NARROW("proc.name=a and evt.num<1");
        NARROW("evt.type = open and evt.type = close");
        g_autoptr(BhRuleSet) off = load(RULE("r", "proc.name=cat") "  warn_evttypes: false\n");
        g_assert_cmpuint(bh_rule_set_warnings(off), ==, 0);
        warns(RULE("r", SYS "evt.dir=<"), "LOAD_DEPRECATED_ITEM", "3:32", "evt.dir");
        warns("- rule: r\n  desc: d\n  condition: evt.type=open\n  output: \"x %container.info\"\n  priority: INFO\n", "LOAD_DEPRECATED_ITEM", "4:14", "container.info");
        warns("- rule: r\n  desc: d\n  condition: evt.type=open\n  output: x %evt.dir\n  priority: INFO\n", "LOAD_DEPRECATED_ITEM", "4:14", "evt.dir");
        warns(RULE("r", SYS "proc.name = proc.pname"), "LOAD_COMPILE_CONDITION", "3:44", "val(proc.pname)");
        warns(RULE("r", SYS "proc.name = \" toupper(proc.pname)\""), "LOAD_COMPILE_CONDITION", "3:44", "transformer");
        warns(RULE("r", SYS "proc.name regex abc"), "LOAD_COMPILE_CONDITION", "3:48", "no special character");
        warns(RULE("r", SYS "proc.name = <NA>"), "LOAD_UNSAFE_NA_CHECK", "3:44", "exists");
        warns("- list: shell_bins\n  items: [sh]\n" RULE("r", SYS "proc.name in (shell_bin) and proc.name in (shell_bins)"), "LOAD_COMPILE_CONDITION", "5:46", "\"shell_bins\" meant");
        g_autoptr(BhRuleSet) info = load("- rule: r\n  desc: d\n  condition: evt.type=open\n  output: x (%container.info)\n  priority: INFO\n");
        g_assert_cmpstr(rule(info, "r")->output, ==, "x ()");
}

static void outputs_are_checked(void) {
#define OUT(format) "- rule: r\n  desc: d\n  condition: evt.type=open\n  output: " format "\n  priority: INFO\n"
        loads(OUT("\"* %proc.name %20proc.name 100%% %evt.arg.flags %evt.arg[0] %proc.aname[2]/%tolower(proc.name) (%fd.name).\""), "evt.type = \"open\"");
        fails(OUT("\"a %proc.nme\""), "LOAD_ERR_COMPILE_OUTPUT", "4:15", "proc.name");
        fails(OUT("\"100% sure\""), "LOAD_ERR_COMPILE_OUTPUT", "4:16", "%%");
        fails(OUT("\"a %\""), "LOAD_ERR_COMPILE_OUTPUT", "4:14", "ends");
        fails(OUT("\"a %20\""), "LOAD_ERR_COMPILE_OUTPUT", "4:14", "ends");
        fails(OUT("\"a %proc.aname[x]\""), "LOAD_ERR_COMPILE_OUTPUT", "4:15", "number");
        fails(OUT("\"a %tolower(proc.pid)\""), "LOAD_ERR_COMPILE_OUTPUT", "4:15", "takes a text");
        fails(OUT("\"a %tolower(proc.name\""), "LOAD_ERR_COMPILE_OUTPUT", NULL, "')' is missing");
        g_autoptr(BhRuleSet) two = load(OUT("\"%a.b %c.d\""));
        g_assert_cmpuint(bh_rule_set_errors(two), ==, 2);
}

static void settings_append_to_outputs(void) {
        g_autoptr(BhRuleSet) s = load2(RULE("r", "evt.type=open") "  tags: [a, b]\n" RULE("q", "evt.type=open"),
                                       "rule_matching: all\nappend_output:\n  - match: {source: syscall, tags: [a]}\n    extra_output: \"on %evt.hostname\"\n    extra_fields:\n      - proc.name\n      - home: \"%proc.cwd!\"\n"
                                       "  - match: {rule: q}\n    extra_output: only q\n  - suggested_output: true\n    match: {rule: none}\n");
        const BhRule *r = rule(s, "r");

        condition_is(s, "r", "evt.type = \"open\"");
        g_assert_true(bh_rule_set_matching_all(s));
        g_assert_cmpstr(r->output, ==, "o on %evt.hostname");
        g_assert_cmpstr(rule(s, "q")->output, ==, "o only q");
        g_assert_cmpuint(r->extra_fields->len, ==, 2);
        const BhRuleExtra *raw = g_ptr_array_index(r->extra_fields, 0), *format = g_ptr_array_index(r->extra_fields, 1);
        g_assert_cmpstr(raw->name, ==, "proc.name");
        g_assert_cmpstr(raw->format, ==, "%proc.name");
        g_assert_true(raw->raw);
        g_assert_cmpstr(format->name, ==, "home");
        g_assert_cmpstr(format->format, ==, "%proc.cwd!");
        g_assert_false(format->raw);
        g_autoptr(BhRuleSet) bad = load2(RULE("r", "evt.type=open"), "append_output:\n  - extra_output: \"%foo.bar\"\n    extra_fields: [x.y]\n");
        has(bad, TRUE, "LOAD_ERR_COMPILE_OUTPUT", "2:21", "no field");
        has(bad, TRUE, "LOAD_ERR_COMPILE_OUTPUT", "3:20", "no field");
        g_autoptr(BhRuleSet) matching = load("rule_matching: some\n");
        has(matching, TRUE, VALIDATE, "1:16", "first or all");
        g_autoptr(BhRuleSet) suggested = load2(RULE("r", "evt.type=open"), "append_output:\n  - suggested_output: true\n");
        g_assert_cmpuint(bh_rule_set_errors(suggested), ==, 0);
        g_assert_nonnull(strstr(rule(suggested, "r")->output, "container_id=%container.id"));
}

static void one_bad_rule_hides_no_other(void) {
        g_autoptr(BhRuleSet) s = load(RULE("a", "evt.type=open and (") RULE("b", "proc.nme=x") "- rule: c\n  desc: \"open\n" RULE("d", "evt.type=close and proc.pid=x") "- macro: e\n  condition: ((\n"
                                      "- list: f\n  items: {}\n" RULE("g", "evt.type=open"));

        has(s, TRUE, CONDITION, "3:33", "missing");
        has(s, TRUE, CONDITION, "8:14", "no field");
        has(s, TRUE, "LOAD_ERR_YAML_PARSE", "12:9", "quoted scalar");
        has(s, TRUE, CONDITION, "15:42", "whole number");
        has(s, TRUE, CONDITION, "19:16", "missing");
        has(s, TRUE, VALIDATE, "21:10", "must be a list");
        g_assert_nonnull(rule(s, "g")->condition);
        /* in order of place */
        for (guint i = 1; i < bh_rule_set_problems(s)->len; i++)
                g_assert_cmpuint(((BhRuleProblem *) g_ptr_array_index(bh_rule_set_problems(s), i - 1))->pos.line, <=, ((BhRuleProblem *) g_ptr_array_index(bh_rule_set_problems(s), i))->pos.line);
}

static void places_are_right_in_every_form_of_text(void) {
#define AT(form, place) fails("- rule: r\n  desc: d\n  output: o\n  priority: INFO\n  condition: " form, CONDITION, place, "proc.name")
        AT("evt.type=open and proc.nme=x\n", "5:32");
        AT("evt.type=open\n    and proc.nme=x\n", "6:9");
        AT(">\n    evt.type=open\n    and proc.nme=x\n", "7:9");
        AT(">-\n\n    evt.type=open\n\n    and proc.nme=x\n", "9:9");
        AT("|\n    evt.type=open\n      and proc.nme=x\n", "7:11");
        AT("> # comment\n    evt.type=open and proc.nme=x\n", "6:23");
        AT("\"evt.type=open and proc.nme=x\"\n", "5:33");
        AT("\"evt.type=\\\"open\\\" and\\tproc.nme=x\"\n", "5:38");
        AT("\"evt.type=open and \\\n     proc.nme=x\"\n", "6:6");
        AT("'evt.type=''open'' and proc.nme=x'\n", "5:37");
        AT("'evt.type=open\n\n   and proc.nme=x'\n", "7:8");
        AT(">\n    evt.type=\"grün\"\n    and proc.nme=x\n", "7:9");
        AT("evt.type=\"ü\" and proc.nme=x\n", "5:32");
        fails("\xef\xbb\xbf- rule: r\n  desc: d\n  output: o\n  priority: INFO\n  condition: proc.nme=x\n", CONDITION, "5:14", "proc.name");
        fails("- rule: r\r\n  desc: d\r\n  output: o\r\n  priority: INFO\r\n  condition: >\r\n    evt.type=open\r\n    and proc.nme=x\r\n", CONDITION, "7:9", "proc.name");
}

static void files_are_lists_of_maps(void) {
        static const char *const nothing[] = { "", "\n", "# comment\n", "---\n", "---\n...\n", "~\n", "- \n", "-\n- ~\n", "[]\n" };

        for (gsize i = 0; i < G_N_ELEMENTS(nothing); i++) {
                g_autoptr(BhRuleSet) s = load(nothing[i]);

                g_assert_cmpuint(bh_rule_set_errors(s) + bh_rule_set_warnings(s), ==, 0);
        }
        fails("rule: r\n", VALIDATE, "1:1", "must be a list");
        fails("just text\n", VALIDATE, "1:1", "no rules file");
        fails("- text\n", VALIDATE, "1:3", "must be a map");
        fails("- [a]\n", VALIDATE, "1:3", "must be a map");
        fails("- a: b\n\t- c\n", "LOAD_ERR_YAML_PARSE", "2:1", "tabs");
        fails("- a: b\n  c: [d\n", "LOAD_ERR_YAML_PARSE", NULL, "no YAML");
        g_autoptr(BhRuleSet) docs = load("---\n" RULE("a", "evt.type=open") "---\n" RULE("b", "evt.type=open") "...\n");
        g_assert_cmpuint(bh_rule_set_rules(docs)->len, ==, 2);
        g_assert_cmpuint(bh_rule_set_errors(docs), ==, 0);
        /* anchors */
        loads("- list: l\n  items: &i [a, b]\n- list: k\n  items: *i\n" RULE("r", SYS "proc.name in (k)"), "(evt.type = \"open\" and proc.name in (\"a\", \"b\"))");
        fails("- list: l\n  items: *i\n", "LOAD_ERR_YAML_PARSE", "2:10", "no anchor");
        fails("- list: l\n  items: &i [*i]\n", "LOAD_ERR_YAML_PARSE", "2:14", "no anchor");
}

static void the_public_rules_load(void) {
        g_autofree char *a = g_build_filename(BH_SOURCE_ROOT, "../shared/falco/falco_rules.yaml", NULL), *b = g_build_filename(BH_SOURCE_ROOT, "../shared/falco/falco-incubating_rules.yaml", NULL);
        BhRuleSource files[] = { { .name = a }, { .name = b } };

        if (!g_file_test(a, G_FILE_TEST_EXISTS) || !g_file_test(b, G_FILE_TEST_EXISTS)) {
                g_test_skip("the public rule files are not beside this tree (../shared/falco)");
                return;
        }
        g_autoptr(BhRuleSet) first = bh_rule_set_load(files, 1, NULL), both = bh_rule_set_load(files, 2, NULL);
        g_autofree char *problems = all_problems(both);

        if (bh_rule_set_errors(first) + bh_rule_set_errors(both))
                g_error("errors:\n%s", problems);
        g_assert_cmpuint(bh_rule_set_rules(first)->len, ==, 25);
        g_assert_cmpuint(bh_rule_set_rules(both)->len, ==, 56);
        for (guint i = 0; i < 56; i++)
                g_assert_nonnull(((const BhRule *) g_ptr_array_index(bh_rule_set_rules(both), i))->condition);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/rules/load/" #name, name)
        TEST(lists_are_put_in);
        TEST(lists_hold_earlier_lists_only);
        TEST(lists_are_replaced_and_appended_to);
        TEST(macros_are_put_in);
        TEST(rules_have_their_keys);
        TEST(later_definitions_replace_earlier_ones);
        TEST(overrides_go_key_by_key);
        TEST(append_true_and_bare_enabled_still_work);
        TEST(sources_decide_what_is_loaded);
        TEST(skip_if_unknown_filter_excuses_unknown_fields_only);
        TEST(versions_are_compared_part_by_part);
        TEST(costly_and_deprecated_conditions_are_warned_of);
        TEST(outputs_are_checked);
        TEST(settings_append_to_outputs);
        TEST(one_bad_rule_hides_no_other);
        TEST(places_are_right_in_every_form_of_text);
        TEST(files_are_lists_of_maps);
        TEST(the_public_rules_load);
        return g_test_run();
}

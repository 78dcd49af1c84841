/* SPDX-License-Identifier: Apache-2.0 */
/* Exceptions of rules: the condition that they make, and what is wrong with those that make none. */
#include "rules_load_help.h"

#define VALIDATE "LOAD_ERR_YAML_VALIDATE"
#define OBJECT "LOAD_ERR_VALIDATE"
#define CONDITION "LOAD_ERR_COMPILE_CONDITION"
#define BASE RULE("r", "evt.type=open or evt.type=close") "  exceptions:\n"
#define IS(rest) "((evt.type = \"open\" or evt.type = \"close\")" rest ")"

static void one_field_takes_a_list_of_values(void) {
        loads(BASE "    - name: e\n      fields: proc.name\n      values: [a, \"b c\", \"'d'\"]\n", IS(" and not proc.name in (\"a\", \"b c\", \"d\")"));
        loads(BASE "    - name: e\n      fields: fd.name\n      comps: pmatch\n      values: [/a, /b]\n", IS(" and not fd.name pmatch (\"/a\", \"/b\")"));
        loads(BASE "    - name: e\n      fields: proc.name\n      comps: startswith oneof\n      values: [a]\n", IS(" and not proc.name startswith oneof (\"a\")"));
        loads(BASE "    - name: e\n      fields: proc.name\n      comps: \" intersects\\n\"\n      values: [a]\n", IS(" and not proc.name intersects (\"a\")"));
        loads(BASE "    - name: e\n      fields: tolower(proc.name)\n      values: [a]\n", IS(" and not tolower(proc.name) in (\"a\")"));
        loads("- list: l\n  items: [x, y]\n" BASE "    - name: e\n      fields: proc.name\n      values: [a, l]\n", IS(" and not proc.name in (\"a\", \"x\", \"y\")"));
        loads(BASE "    - name: e\n      fields: proc.name\n      values: []\n", "(evt.type = \"open\" or evt.type = \"close\")");
        loads(BASE "    - name: e\n      fields: proc.name\n", "(evt.type = \"open\" or evt.type = \"close\")");
        loads(RULE("r", "evt.type=open") "  exceptions:\n", "evt.type = \"open\"");
        fails(BASE "    - name: e\n      fields: proc.name\n      comps: =\n      values: [a]\n", OBJECT, "9:14", "must take a list");
        fails(BASE "    - name: e\n      fields: proc.name\n      comps: [in]\n      values: [a]\n", OBJECT, "9:14", "no list");
        fails(BASE "    - name: e\n      fields: proc.name\n      comps: in oneof\n      values: [a]\n", OBJECT, "9:14", "no operator");
        fails(BASE "    - name: e\n      fields: proc.name\n      values: [[a]]\n", OBJECT, "9:16", "must be a text");
        fails(BASE "    - name: e\n      fields: proc.pid\n      values: [a]\n", CONDITION, "9:16", "whole number");
        fails(BASE "    - name: e\n      fields: proc.name\n      values: [a=b]\n", CONDITION, "9:16", "quotes of its own");
}

static void several_fields_are_compared_together(void) {
        loads(BASE "    - name: e\n      fields: [proc.name, fd.name]\n      values:\n        - [a, b]\n        - [\"c d\", e]\n",
              IS(" and not ((proc.name = \"a\" and fd.name = \"b\") or (proc.name = \"c d\" and fd.name = \"e\"))"));
        loads(BASE "    - name: e\n      fields: [proc.cmdline]\n      comps: [contains]\n      values:\n        - [curl 127.0.0.1]\n", IS(" and not proc.cmdline contains \"curl 127.0.0.1\""));
        loads(BASE "    - name: e\n      fields: [proc.name, fd.name]\n      comps: [in, startswith]\n      values:\n        - [[a, \"b c\"], /etc]\n        - [\"(d, e)\", /usr]\n        - [f, /var]\n",
              IS(" and not ((proc.name in (\"a\", \"b c\") and fd.name startswith \"/etc\") or (proc.name in (\"d\", \"e\") and fd.name startswith \"/usr\") or (proc.name in (\"f\") and fd.name "
                 "startswith \"/var\"))"));
        /* a list's name with and without parentheses */
        loads("- list: l\n  items: [x, y]\n" BASE "    - name: e\n      fields: [proc.name, proc.pname]\n      comps: [in, in]\n      values:\n        - [l, (l)]\n        - [[l, z], \"(z, l)\"]\n",
              IS(" and not ((proc.name in (\"x\", \"y\") and proc.pname in (\"x\", \"y\")) or (proc.name in (\"x\", \"y\", \"z\") and proc.pname in (\"z\", \"x\", \"y\")))"));
        loads(BASE "    - name: e\n      fields: [proc.name, proc.pname]\n      comps: [contains allof, =]\n      values:\n        - [[a, b], val(proc.name)]\n        - [c, toupper(proc.name)]\n",
              IS(" and not ((proc.name contains allof (\"a\", \"b\") and proc.pname = val(proc.name)) or (proc.name contains allof (\"c\") and proc.pname = toupper(proc.name)))"));
        loads(BASE "    - name: e\n      fields: [proc.name]\n      values: [[a]]\n    - name: f\n      fields: [proc.pname]\n      values: [[b]]\n", IS(" and not proc.name = \"a\" and not proc.pname = \"b\""));
        loads(BASE "    - name: e\n      fields: [proc.name]\n      values: []\n", "(evt.type = \"open\" or evt.type = \"close\")");
        warns(BASE "    - name: e\n      fields: [proc.name]\n      values: [[proc.pname]]\n", "LOAD_COMPILE_CONDITION", "9:17", "val(proc.pname)");
        warns(BASE "    - name: e\n      fields: [proc.name]\n      values: [[\"toupper( proc.pname)\"]]\n", "LOAD_COMPILE_CONDITION", "9:17", "transformer");
        fails(BASE "    - name: e\n      fields: [proc.name, fd.name]\n      comps: [=]\n      values: [[a, b]]\n", OBJECT, "9:14", "2 fields and 1 comps");
        fails(BASE "    - name: e\n      fields: [proc.name, fd.name]\n      comps: =\n      values: [[a, b]]\n", OBJECT, "9:14", "each of the 2 fields");
        fails(BASE "    - name: e\n      fields: [proc.name, fd.name]\n      values: [[a]]\n", OBJECT, "9:16", "list of 2");
        fails(BASE "    - name: e\n      fields: [proc.name, fd.name]\n      values: [a]\n", OBJECT, "9:16", "list of 2");
        fails(BASE "    - name: e\n      fields: [proc.name]\n      values: [[[a, b]]]\n", OBJECT, "9:17", "one value");
        fails(BASE "    - name: e\n      fields: [proc.name]\n      comps: [like]\n      values: [[a]]\n", OBJECT, "9:15", "no operator");
        fails(BASE "    - name: e\n      fields: [proc.nme]\n      values: [[a]]\n", OBJECT, "8:16", "proc.name");
        fails(BASE "    - name: e\n      fields: [5]\n      values: [[a]]\n", OBJECT, "8:16", "neither a field");
        fails(BASE "    - name: e\n      fields: [proc.name]\n      values: [[a=b]]\n", CONDITION, "9:18", "quotes of its own");
        fails(BASE "    - name: e\n      fields: [fd.sport]\n      values: [[x y]]\n", CONDITION, "9:17", "port");
}

static void shapes_are_checked(void) {
        fails(BASE "    - fields: proc.name\n", VALIDATE, "7:7", "\"name\" is missing");
        fails(BASE "    - name: e\n", VALIDATE, "7:7", "needs \"fields\"");
        fails(BASE "    - name: e\n      fields:\n", VALIDATE, "8:7", "no value");
        fails(BASE "    - name: e\n      fields: {a: b}\n", VALIDATE, "8:15", "texts");
        fails(BASE "    - name: e\n      fields: proc.name\n      values: a\n", VALIDATE, "9:7", "must be a list");
        fails(BASE "    - name: e\n      fields: proc.name\n      values: [{a: b}]\n", VALIDATE, "9:16", "texts");
        fails(BASE "    - e\n", VALIDATE, "7:7", "must be a map");
        fails(RULE("r", "evt.type=open") "  exceptions: x\n", VALIDATE, "6:3", "must be a list");
        warns(BASE "    - name: e\n      fields: proc.name\n      values: [a]\n      foo: bar\n", "LOAD_UNKNOWN_KEY", "10:7", "ignored");
        warns(BASE "    - name: e\n      fields: proc.name\n      values: [a]\n    - name: e\n      fields: proc.name\n      values: [b]\n", "LOAD_EXCEPTION_NAME_NOT_UNIQUE", "10:7", "twice");
}

#define WITH BASE "    - name: e\n      fields: proc.name\n      values: [a]\n- rule: r\n"

static void appends_add_values_by_name(void) {
        loads(WITH "  append: true\n  exceptions:\n    - name: e\n      values: [b, c]\n", IS(" and not proc.name in (\"a\", \"b\", \"c\")"));
        loads(WITH "  override: {exceptions: append}\n  exceptions:\n    - name: e\n      values: [b]\n", IS(" and not proc.name in (\"a\", \"b\")"));
        loads(WITH "  override: {exceptions: append}\n  exceptions:\n    - name: f\n      fields: proc.pname\n      values: [b]\n", IS(" and not proc.name in (\"a\") and not proc.pname in (\"b\")"));
        loads(WITH "  override: {exceptions: append, condition: append}\n  condition: and proc.pid=1\n  exceptions:\n    - name: e\n      values: [b]\n",
              "((evt.type = \"open\" or (evt.type = \"close\" and proc.pid = \"1\")) and not proc.name in (\"a\", \"b\"))");
        loads(WITH "  override: {exceptions: replace}\n  exceptions:\n    - name: f\n      fields: proc.pname\n      values: [b]\n", IS(" and not proc.pname in (\"b\")"));
        loads(WITH "  override: {exceptions: replace}\n  exceptions:\n    - name: f\n      fields: proc.pname\n", "(evt.type = \"open\" or evt.type = \"close\")");
        loads(BASE "    - name: e\n      fields: proc.name\n- rule: r\n  override: {exceptions: append}\n  exceptions:\n    - name: e\n      values: [b]\n", IS(" and not proc.name in (\"b\")"));
        /* across files */
        g_autoptr(BhRuleSet) s = load2(BASE "    - name: e\n      fields: [proc.name]\n      values: [[a]]\n", "- rule: r\n  override: {exceptions: append}\n  exceptions:\n    - name: e\n      values:\n        - [b]\n");
        condition_is(s, "r", IS(" and not (proc.name = \"a\" or proc.name = \"b\")"));
        warns(WITH "  override: {exceptions: append}\n  exceptions:\n    - name: e\n", "LOAD_APPEND_NO_VALUES", "13:7", "changes nothing");
        fails(WITH "  override: {exceptions: append}\n  exceptions:\n    - name: e\n      fields: proc.name\n      values: [b]\n", OBJECT, "14:15", "only values");
        fails(WITH "  override: {exceptions: append}\n  exceptions:\n    - name: e\n      comps: in\n      values: [b]\n", OBJECT, "14:14", "only values");
        fails(WITH "  override: {exceptions: append}\n  exceptions:\n    - name: f\n      values: [b]\n", OBJECT, "13:7", "needs \"fields\"");
        fails(WITH "  override: {exceptions: append}\n  exceptions:\n    - name: f\n      fields: proc.pname\n", OBJECT, "13:7", "needs \"values\"");
        fails(WITH "  override: {exceptions: replace}\n  exceptions:\n    - name: f\n      values: [a]\n", VALIDATE, "13:7", "needs \"fields\"");
        /* a fault in what was appended is told where that stands */
        g_autoptr(BhRuleSet) bad = load2(BASE "    - name: e\n      fields: [proc.pid]\n      values: [[1]]\n", "- rule: r\n  append: true\n  exceptions:\n    - name: e\n      values:\n        - [b]\n");
        has(bad, TRUE, CONDITION, "6:12", "whole number");
        g_assert_cmpuint(((BhRuleProblem *) g_ptr_array_index(bh_rule_set_problems(bad), 0))->pos.file, ==, 1);
}

static void rules_of_unknown_sources_keep_unchecked_exceptions(void) {
        g_autoptr(BhRuleSet) s = load(RULE("r", "ka.verb=get") "  source: k8s_audit\n  exceptions:\n    - name: e\n      fields: ka.user.name\n      values: [a]\n");

        g_assert_cmpuint(bh_rule_set_errors(s), ==, 0);
        g_assert_true(rule(s, "r")->skipped);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/rules/exceptions/" #name, name)
        TEST(one_field_takes_a_list_of_values);
        TEST(several_fields_are_compared_together);
        TEST(shapes_are_checked);
        TEST(appends_add_values_by_name);
        TEST(rules_of_unknown_sources_keep_unchecked_exceptions);
        return g_test_run();
}

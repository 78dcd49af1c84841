/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>

#include "rules/alert.h"
#include "rules_event.h"

typedef struct {
        char *text;
        json_t *fields;
} made;

static void made_clear(made *m) {
        g_free(m->text);
        json_decref(m->fields);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(made, made_clear)

static BhRuleSet *set_with(const char *output, const char *more) {
        g_autofree char *yaml = g_strdup_printf("- rule: R\n  desc: d\n  condition: evt.type exists\n  output: '%s'\n  priority: WARNING\n  tags: [a, b]\n%s", output, more);
        BhRuleSource source = { .name = "test", .text = yaml, .len = strlen(yaml) };
        BhRuleSet *set = bh_rule_set_load(&source, 1, NULL);

        for (guint i = 0; bh_rule_set_errors(set) && i < bh_rule_set_problems(set)->len; i++) {
                g_autofree char *text = bh_rule_problem_text(set, g_ptr_array_index(bh_rule_set_problems(set), i));

                g_printerr("%s\n", text);
        }
        g_assert_cmpuint(bh_rule_set_errors(set), ==, 0);
        return set;
}

static made make_with(const struct bh_event *e, const char *output, const char *more) {
        g_autoptr(BhRuleSet) set = set_with(output, more);
        g_autoptr(BhRuleEngine) engine = bh_rule_engine_new(set, NULL, NULL, NULL);
        g_autoptr(BhRuleRun) run = bh_rule_run_new();
        g_autoptr(GString) text = g_string_new(NULL), fields = g_string_new(NULL);
        const guint32 *matches;
        made m;

        g_assert_cmpuint(bh_rule_run_event(run, engine, e, NULL, &matches), ==, 1);
        bh_rule_run_output(run, engine, matches[0], text, fields);
        m.text = g_strdup(text->str);
        m.fields = json_loadb(fields->str, fields->len, 0, NULL);
        if (!m.fields)
                g_error("is no JSON: %s", fields->str);
        return m;
}

static made make(const struct bh_event *e, const char *output) {
        return make_with(e, output, "");
}

static void fields_and_text(void) {
        struct bh_event e = exec_event();
        g_auto(made) m = make(&e, "user=%user.name uid=%user.uid cmd=%proc.cmdline a=%proc.aname[1] end");

        g_assert_cmpstr(m.text, ==, "user=root uid=0 cmd=bash -c id; ls a=sshd end");
        g_assert_cmpstr(json_string_value(json_object_get(m.fields, "user.name")), ==, "root");
        g_assert_cmpint(json_integer_value(json_object_get(m.fields, "user.uid")), ==, 0);
        g_assert_true(json_is_integer(json_object_get(m.fields, "user.uid")));
        g_assert_cmpstr(json_string_value(json_object_get(m.fields, "proc.aname[1]")), ==, "sshd");
        g_assert_cmpint(json_integer_value(json_object_get(m.fields, "evt.time")), ==, 1700000000123456789);
        g_assert_cmpuint(json_object_size(m.fields), ==, 5);
}

static void missing_is_na_and_null(void) {
        struct bh_event e = exec_event();
        g_auto(made) m = make(&e, "*fd=%fd.name x=%k8s.ns.name;%container.healthcheck|");

        g_assert_cmpstr(m.text, ==, "fd=<NA> x=<NA>;<NA>|");
        g_assert_true(json_is_null(json_object_get(m.fields, "fd.name")));
        g_assert_true(json_is_null(json_object_get(m.fields, "k8s.ns.name")));
}

static void widths_pad_and_cut(void) {
        struct bh_event e = exec_event();
        g_auto(made) m = make(&e, "[%8proc.name][%2proc.name][%6fd.name]");

        g_assert_cmpstr(m.text, ==, "[bash    ][ba][<NA>  ]");
}

static void transformers_and_percent(void) {
        struct bh_event e = exec_event();
        g_auto(made) m = make(&e, "100%% %toupper(proc.name) %basename(proc.exepath)");

        g_assert_cmpstr(m.text, ==, "100% BASH bash");
        /* fields of the alert are plain ones: those inside of the transformers, and the time */
        g_assert_cmpuint(json_object_size(m.fields), ==, 3);
        g_assert_cmpstr(json_string_value(json_object_get(m.fields, "proc.name")), ==, "bash");
        g_assert_nonnull(json_object_get(m.fields, "proc.exepath"));
}

static void booleans_addresses_and_types(void) {
        struct bh_event e = connect_event("10.0.0.5", 40000, "93.184.216.34", 443);
        g_auto(made) m = make(&e, "%fd.name %fd.is_server %fd.sip %fd.sport %evt.type %container.id %evt.arg.fd");

        g_assert_cmpstr(m.text, ==, "10.0.0.5:40000->93.184.216.34:443 false 93.184.216.34 443 connect 0123456789ab <4>10.0.0.5:40000->93.184.216.34:443");
        g_assert_true(json_is_false(json_object_get(m.fields, "fd.is_server")));
        g_assert_cmpstr(json_string_value(json_object_get(m.fields, "fd.sip")), ==, "93.184.216.34");
        g_assert_cmpint(json_integer_value(json_object_get(m.fields, "fd.sport")), ==, 443);
}

static void hostile_values_are_sound_json(void) {
        struct bh_event e = exec_event();

        ADD(&e, comm, "a\"\\\n\xff\x1b[0m");
        g_auto(made) m = make(&e, "%proc.name %evt.args");
        g_assert_nonnull(json_object_get(m.fields, "proc.name"));
}

static void long_values_are_cut(void) {
        struct bh_event e = exec_event();
        g_autofree char *name = g_strnfill(200000, 'x');

        BH_SET(&e, exe, ((struct bh_str){ name, 200000 }));
        g_auto(made) m = make(&e, "%proc.exepath %proc.name");
        g_assert_cmpuint(strlen(m.text), <=, (64 << 10) + 4);
        g_assert_true(g_str_has_suffix(m.text, "…"));
        g_assert_cmpuint(json_string_length(json_object_get(m.fields, "proc.exepath")), <=, (64 << 10) + 4);
}

static void an_open_without_number(void) {
        struct bh_event e = open_event(O_RDONLY);
        g_auto(made) m = make(&e, "%fd.num %evt.arg.fd %evt.arg.flags %evt.args");

        g_assert_cmpstr(m.text, ==, "<NA> <f>/etc/pam.d/su O_RDONLY fd=<f>/etc/pam.d/su name=/etc/pam.d/su flags=O_RDONLY");
        g_assert_true(json_is_null(json_object_get(m.fields, "fd.num")));
}

static void alerts_have_the_public_members(void) {
        struct bh_event e = exec_event();
        g_autoptr(BhRuleSet) set = set_with("%proc.name", "");
        g_autoptr(BhRuleEngine) engine = bh_rule_engine_new(set, NULL, NULL, NULL);
        g_autoptr(BhRuleRun) run = bh_rule_run_new();
        g_autoptr(GString) text = g_string_new(NULL), json = g_string_new(NULL);
        const BhRule *rule = g_ptr_array_index(bh_rule_set_rules(set), 0);
        const guint32 *matches;

        ADD(&e, node, "node-1");
        g_assert_cmpuint(bh_rule_run_event(run, engine, &e, NULL, &matches), ==, 1);
        bh_rule_alert_text(run, engine, rule, matches[0], &e, text);
        g_assert_true(g_str_has_suffix(text->str, ".123456789: Warning bash"));
        bh_rule_alert_json(run, engine, rule, matches[0], &e, json);
        json_t *o = json_loadb(json->str, json->len, 0, NULL);
        g_assert_nonnull(o);
        g_assert_cmpstr(json_string_value(json_object_get(o, "rule")), ==, "R");
        g_assert_cmpstr(json_string_value(json_object_get(o, "priority")), ==, "Warning");
        g_assert_cmpstr(json_string_value(json_object_get(o, "source")), ==, "syscall");
        g_assert_cmpstr(json_string_value(json_object_get(o, "hostname")), ==, "node-1");
        g_assert_cmpstr(json_string_value(json_object_get(o, "output")), ==, "bash");
        g_assert_cmpstr(json_string_value(json_object_get(o, "time")), ==, "2023-11-14T22:13:20.123456789Z");
        g_assert_cmpuint(json_array_size(json_object_get(o, "tags")), ==, 2);
        g_assert_true(json_is_object(json_object_get(o, "output_fields")));
        json_decref(o);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/rules/output/fields_and_text", fields_and_text);
        g_test_add_func("/rules/output/missing_is_na_and_null", missing_is_na_and_null);
        g_test_add_func("/rules/output/widths_pad_and_cut", widths_pad_and_cut);
        g_test_add_func("/rules/output/transformers_and_percent", transformers_and_percent);
        g_test_add_func("/rules/output/booleans_addresses_and_types", booleans_addresses_and_types);
        g_test_add_func("/rules/output/hostile_values_are_sound_json", hostile_values_are_sound_json);
        g_test_add_func("/rules/output/long_values_are_cut", long_values_are_cut);
        g_test_add_func("/rules/output/an_open_without_number", an_open_without_number);
        g_test_add_func("/rules/output/alerts_have_the_public_members", alerts_have_the_public_members);
        return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings that change rules, in the form that the public engine's configuration file has them: a file (or a document of one) that is a map with `rule_matching: first|all` and
 * `append_output`, a list of { match: { rule, source, tags }, extra_output, extra_fields: [field, {name: format}], suggested_output }.
 */
#include <string.h>

#include "rules/load.h"

#define SUGGESTED "container_id=%container.id container_name=%container.name container_image_repository=%container.image.repository container_image_tag=%container.image.tag " \
                  "k8s_pod_name=%k8s.pod.name k8s_ns_name=%k8s.ns.name"

static void bad(BhLoader *l, const BhYaml *at, const char *what) {
        bh_load_problem(l, BH_ERROR, "LOAD_ERR_YAML_VALIDATE", bh_load_pos(l, at), l->object, "%s", what);
}

gboolean bh_load_is_config(const BhYaml *document) {
        return bh_yaml_get(document, "append_output", NULL) || bh_yaml_get(document, "rule_matching", NULL);
}

static void load_match(BhLoader *l, BhAppendDef *a, const BhYaml *match) {
        static const char *const known[] = { "rule", "source", "tags" };
        const BhYaml *v, *tags;

        if (match->kind != BH_YAML_MAP) {
                bad(l, match, "\"match\" must be a map of \"rule\", \"source\" and \"tags\"");
                return;
        }
        bh_load_unknown_keys(l, match, known, G_N_ELEMENTS(known));
        if (bh_load_scalar(l, match, "rule", BH_KEY_OPTIONAL_EMPTY, &v) && v)
                a->rule = g_strdup(v->text);
        if (bh_load_scalar(l, match, "source", BH_KEY_OPTIONAL_EMPTY, &v) && v)
                a->source = g_strdup(v->text);
        if (bh_load_sequence(l, match, "tags", BH_KEY_OPTIONAL_EMPTY, &tags) && tags)
                for (guint i = 0; i < MIN(tags->n, BH_RULES_TAGS_MAX); i++)
                        g_ptr_array_add(a->tags, g_strdup(tags->nodes[i]->text));
}

static void add_field(BhLoader *l, BhAppendDef *a, const BhYaml *name, const BhYaml *format) {
        BhRuleExtra *e = g_new0(BhRuleExtra, 1);
        BhText *t = bh_text_new();

        bh_text_add(t, l->file, format ? format : name);
        if (!format) {
                g_string_prepend_c(t->s, '%');
                for (guint i = 0; i < t->runs->len; i++)
                        g_array_index(t->runs, BhTextRun, i).at++;
        }
        e->name = g_strdup(name->text);
        e->raw = format == NULL;
        e->format = g_strdup(t->s->str);
        g_ptr_array_add(a->fields, e);
        g_ptr_array_add(a->fields_text, t);
}

static void load_fields(BhLoader *l, BhAppendDef *a, const BhYaml *fields) {
        if (fields->kind != BH_YAML_SEQUENCE) {
                bad(l, fields, "\"extra_fields\" must be a list of fields, or of maps of a name to a format");
                return;
        }
        for (guint i = 0; i < fields->n; i++) {
                if (i >= BH_RULES_EXTRA_MAX) {
                        bad(l, fields->nodes[i], "100 extra fields at most: take some away");
                        return;
                }

                const BhYaml *f = fields->nodes[i];

                if (f->kind == BH_YAML_SCALAR && f->n)
                        add_field(l, a, f, NULL);
                else if (f->kind == BH_YAML_MAP && f->n == 2 && f->nodes[0]->kind == BH_YAML_SCALAR && f->nodes[0]->n && f->nodes[1]->kind == BH_YAML_SCALAR)
                        add_field(l, a, f->nodes[0], f->nodes[1]);
                else
                        bad(l, f, "an extra field must be a field's name, or a map of one name to a format, as in \"home: %proc.cwd\"");
        }
}

static void load_append(BhLoader *l, const BhYaml *item) {
        static const char *const known[] = { "match", "extra_output", "extra_fields", "suggested_output" };
        const BhYaml *v;

        if (item->kind != BH_YAML_MAP) {
                bad(l, item, "an item of \"append_output\" must be a map of \"match\", \"extra_output\", \"extra_fields\" and \"suggested_output\"");
                return;
        }
        bh_load_unknown_keys(l, item, known, G_N_ELEMENTS(known));
        BhAppendDef *a = g_new0(BhAppendDef, 1);
        a->tags = g_ptr_array_new_with_free_func(g_free);
        a->fields = g_ptr_array_new_with_free_func(bh_rule_extra_free);
        a->fields_text = g_ptr_array_new_with_free_func((GDestroyNotify) bh_text_free);
        g_ptr_array_add(l->appends, a);
        if ((v = bh_yaml_get(item, "match", NULL)) && v->kind != BH_YAML_NULL)
                load_match(l, a, v);
        if (bh_load_scalar(l, item, "extra_output", BH_KEY_OPTIONAL_EMPTY, &v) && v) {
                a->output = bh_text_new();
                bh_text_add(a->output, l->file, v);
        }
        if ((v = bh_yaml_get(item, "extra_fields", NULL)) && v->kind != BH_YAML_NULL)
                load_fields(l, a, v);
        bh_load_bool(l, item, "suggested_output", &a->suggested);
}

void bh_load_config(BhLoader *l, const BhYaml *document) {
        static const char *const known[] = { "append_output", "rule_matching" };
        const BhYaml *v;

        bh_load_unknown_keys(l, document, known, G_N_ELEMENTS(known));
        if (bh_load_scalar(l, document, "rule_matching", BH_KEY_OPTIONAL, &v) && v) {
                if (v->n == 3 && g_ascii_strncasecmp(v->text, "all", 3) == 0)
                        l->set->matching_all = TRUE;
                else if (v->n == 5 && g_ascii_strncasecmp(v->text, "first", 5) == 0)
                        l->set->matching_all = FALSE;
                else
                        bad(l, v, "\"rule_matching\" must be first or all");
        }
        if (!(v = bh_yaml_get(document, "append_output", NULL)) || v->kind == BH_YAML_NULL)
                return;
        if (v->kind != BH_YAML_SEQUENCE) {
                bad(l, v, "\"append_output\" must be a list");
                return;
        }
        for (guint i = 0; i < v->n; i++) {
                if (l->appends->len >= BH_RULES_APPENDS_MAX) {
                        bad(l, v->nodes[i], "100 items of \"append_output\" at most: take some away");
                        return;
                }
                load_append(l, v->nodes[i]);
        }
}

static gboolean matches(const BhAppendDef *a, const BhRule *r, GHashTable *tags) {
        if ((a->rule && !g_str_equal(a->rule, r->name)) || (a->source && !g_str_equal(a->source, r->source)))
                return FALSE;
        for (guint i = 0; i < a->tags->len; i++)
                if (!g_hash_table_contains(tags, g_ptr_array_index(a->tags, i)))
                        return FALSE;
        return TRUE;
}

static void append_text(BhText *to, const BhText *more) {
        guint32 base = (guint32) to->s->len + 1;

        g_string_append_printf(to->s, " %s", more->s->str);
        for (guint k = 0; k < more->runs->len; k++) {
                BhTextRun run = g_array_index(more->runs, BhTextRun, k);

                run.at += base;
                g_array_append_val(to->runs, run);
        }
}

static void add_extra(BhLoader *l, BhRule *r, const BhRuleExtra *from, const BhText *text, GPtrArray *faults) {
        BhRuleExtra *e;

        l->extra_bytes += strlen(from->name) + strlen(from->format) + sizeof *e;
        if (r->extra_fields->len >= BH_RULES_EXTRA_MAX || text->s->len > BH_RULES_OUTPUT_MAX || l->extra_bytes > BH_RULES_EXTRA_BYTES_MAX) {
                bh_fault(faults, BH_ERROR, FALSE, "LOAD_ERR_COMPILE_OUTPUT", bh_text_pos(l, text, 0),
                         "more than 100 extra fields of one rule, 8,192 bytes of one, or 64 MiB of all: take some away");
                return;
        }
        e = g_new0(BhRuleExtra, 1);
        e->name = g_strdup(from->name);
        e->format = g_strdup(from->format);
        e->raw = from->raw;
        g_ptr_array_add(r->extra_fields, e);
        bh_output_check(l, text, faults);
}

void bh_load_appends(BhLoader *l, BhRuleDef *d, GPtrArray *faults) {
        g_autoptr(GHashTable) tags = g_hash_table_new(g_str_hash, g_str_equal);

        for (guint i = 0; i < d->rule->tags->len; i++)
                g_hash_table_add(tags, g_ptr_array_index(d->rule->tags, i));
        for (guint i = 0; i < l->appends->len; i++) {
                const BhAppendDef *a = g_ptr_array_index(l->appends, i);

                if (!matches(a, d->rule, tags))
                        continue;
                if (a->output && d->output->s->len <= BH_RULES_OUTPUT_MAX && a->output->s->len <= BH_RULES_OUTPUT_MAX)
                        append_text(d->output, a->output);
                else if (a->output)
                        bh_fault(faults, BH_ERROR, FALSE, "LOAD_ERR_COMPILE_OUTPUT", bh_text_pos(l, a->output, 0), "with this an output has more than 8,192 bytes: shorten it");
                if (a->suggested && g_str_equal(d->rule->source, "syscall"))
                        g_string_append(d->output->s, " " SUGGESTED);
                for (guint k = 0; k < a->fields->len; k++)
                        add_extra(l, d->rule, g_ptr_array_index(a->fields, k), g_ptr_array_index(a->fields_text, k), faults);
        }
}

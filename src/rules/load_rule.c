/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Items that begin with "rule:": a new rule, a replacement of all of it, an append (deprecated), an override by key, or the bare "enabled" (deprecated).
 */
#include <string.h>

#include "rules/load.h"

enum { K_CONDITION, K_OUTPUT, K_DESC, K_TAGS, K_EXCEPTIONS, K_PRIORITY, K_CAPTURE, K_CAPTURE_DURATION, K_ENABLED, K_WARN_EVTTYPES, K_SKIP, K_COUNT };
static const char *const keys[K_COUNT] = { "condition", "output", "desc", "tags", "exceptions", "priority", "capture", "capture_duration", "enabled", "warn_evttypes",
                                           "skip-if-unknown-filter" };
#define BIT(k) (1u << (k))
#define MAY_APPEND (BIT(K_CONDITION) | BIT(K_OUTPUT) | BIT(K_DESC) | BIT(K_TAGS) | BIT(K_EXCEPTIONS))
#define MAY_REPLACE (BIT(K_COUNT) - 1)
#define APPENDED "condition, output, desc, tags and exceptions"

/* What an item says. NULL or unset where it does not. */
typedef struct {
        const BhYaml *item, *name, *condition, *output, *desc, *tags, *source;
        int priority; /* -1: not said */
        gboolean enabled, capture, warn_evttypes, skip;
        guint32 capture_duration;
        GPtrArray *exceptions; /* NULL: not said */
        guint32 has;           /* bits of keys that are there */
} Said;

static void bad(BhLoader *l, const BhYaml *at, const char *code, const char *what) {
        bh_load_problem(l, BH_ERROR, code, bh_load_pos(l, at), l->object, "%s", what);
}

static gboolean text_key(BhLoader *l, const Said *s, guint key, BhKeyNeed need, const BhYaml **out) {
        return bh_load_scalar(l, s->item, keys[key], need, out);
}

static gboolean priority_key(BhLoader *l, Said *s, BhKeyNeed need) {
        const BhYaml *v;

        if (!bh_load_scalar(l, s->item, "priority", need, &v))
                return FALSE;
        if (!v)
                return TRUE;
        s->priority = bh_priority_from_name(v->text, v->n);
        if (s->priority >= 0)
                return TRUE;
        static const char *const words[] = { "Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug" };
        g_autofree char *q = bh_load_quote(v->text, v->n), *like = bh_load_like_words(l, words, G_N_ELEMENTS(words), v->text, v->n);
        bh_load_problem(l, BH_ERROR, "LOAD_ERR_YAML_VALIDATE", bh_load_pos(l, v), l->object,
                        "%s is no priority: there are Emergency, Alert, Critical, Error, Warning, Notice, Informational, Debug%s", q, like);
        return FALSE;
}

/* All keys in `wanted` that may have a plain value. FALSE: told. */
static gboolean read_keys(BhLoader *l, Said *s, guint32 wanted, BhKeyNeed texts, gboolean append_exceptions) {
        gboolean good = TRUE;

        if (wanted & BIT(K_CONDITION))
                good = text_key(l, s, K_CONDITION, texts, &s->condition) && good;
        if (wanted & BIT(K_OUTPUT))
                good = text_key(l, s, K_OUTPUT, texts, &s->output) && good;
        if (wanted & BIT(K_DESC))
                good = text_key(l, s, K_DESC, texts, &s->desc) && good;
        if (wanted & BIT(K_PRIORITY))
                good = priority_key(l, s, texts) && good;
        if (wanted & BIT(K_TAGS))
                good = bh_load_sequence(l, s->item, "tags", BH_KEY_OPTIONAL, &s->tags) && good;
        if (wanted & BIT(K_ENABLED))
                good = bh_load_bool(l, s->item, "enabled", &s->enabled) && good;
        if (wanted & BIT(K_CAPTURE))
                good = bh_load_bool(l, s->item, "capture", &s->capture) && good;
        if (wanted & BIT(K_CAPTURE_DURATION))
                good = bh_load_count(l, s->item, "capture_duration", &s->capture_duration) && good;
        if (wanted & BIT(K_WARN_EVTTYPES))
                good = bh_load_bool(l, s->item, "warn_evttypes", &s->warn_evttypes) && good;
        if (wanted & BIT(K_SKIP))
                good = bh_load_bool(l, s->item, "skip-if-unknown-filter", &s->skip) && good;
        if (wanted & BIT(K_EXCEPTIONS))
                good = bh_load_exceptions(l, s->item, append_exceptions, &s->exceptions) && good;
        return good;
}

static gboolean source_known(const BhLoader *l, const char *source) {
        static const char *const native[] = { "container", "sensor", NULL };
        const char *const *known = l->options->sources ? l->options->sources : native;

        if (g_str_equal(source, "syscall"))
                return TRUE;
        for (; *known; known++)
                if (g_str_equal(source, *known))
                        return TRUE;
        return FALSE;
}

static void set_text(BhText *t, gboolean append, BhLoader *l, const BhYaml *v) {
        if (!append)
                bh_text_clear(t);
        bh_text_add(t, l->file, v);
}

static void set_desc(BhLoader *l, BhRule *r, gboolean append, const BhYaml *v) {
        if (v->n + (append ? strlen(r->desc) : 0) > BH_RULES_DESC_MAX) {
                bad(l, v, "LOAD_ERR_VALIDATE", "a description of more than 64 KiB is refused: shorten it");
                return;
        }
        char *desc = append && r->desc ? g_strconcat(r->desc, " ", v->text, NULL) : g_strdup(v->text);

        g_free(r->desc);
        r->desc = desc;
}

static void add_tags(BhLoader *l, BhRule *r, gboolean append, const BhYaml *tags) {
        if (!append)
                g_ptr_array_set_size(r->tags, 0);
        for (guint i = 0; tags && i < tags->n; i++) {
                gboolean there = FALSE;

                for (guint j = 0; j < r->tags->len && !there; j++)
                        there = g_str_equal(g_ptr_array_index(r->tags, j), tags->nodes[i]->text);
                if (!there && r->tags->len >= BH_RULES_TAGS_MAX) {
                        bad(l, tags->nodes[i], "LOAD_ERR_VALIDATE", "a rule can have 100 tags at most: take some away");
                        return;
                }
                if (!there)
                        g_ptr_array_add(r->tags, g_strdup(tags->nodes[i]->text));
        }
}

static BhRuleDef *find(BhLoader *l, const Said *s, gboolean say) {
        BhRuleDef *d = g_hash_table_lookup(l->rules_by, s->name->text);

        if (d && s->source && !g_str_equal(d->rule->source, s->source->text)) {
                g_autofree char *q = bh_load_quote(d->rule->source, strlen(d->rule->source));

                bh_load_problem(l, BH_ERROR, "LOAD_ERR_VALIDATE", bh_load_pos(l, s->source), l->object, "this rule was defined with the source %s: give it the same, or another name", q);
                return NULL;
        }
        if (!d && say) {
                g_autofree char *like = bh_load_like(l, l->rules_by, s->name->text, s->name->n);

                bh_load_problem(l, BH_ERROR, "LOAD_ERR_VALIDATE", bh_load_pos(l, s->name), l->object, "no rule of that name stands before, to append to or override%s", like);
        }
        return d;
}

static BhRuleDef *def_new(const char *name) {
        BhRuleDef *d = g_new0(BhRuleDef, 1);

        d->rule = bh_rule_new(name);
        d->condition = bh_text_new();
        d->output = bh_text_new();
        d->exceptions = g_ptr_array_new_with_free_func(bh_exception_free);
        return d;
}

static void define(BhLoader *l, Said *s) {
        gboolean good = read_keys(l, s, BIT(K_CONDITION) | BIT(K_OUTPUT) | BIT(K_DESC) | BIT(K_PRIORITY), BH_KEY_NEEDED, FALSE);

        good = read_keys(l, s, MAY_REPLACE & ~(BIT(K_CONDITION) | BIT(K_OUTPUT) | BIT(K_DESC) | BIT(K_PRIORITY)), BH_KEY_OPTIONAL, FALSE) && good;
        const char *source = s->source ? s->source->text : "syscall";
        gboolean known = source_known(l, source);
        for (guint i = 0; s->exceptions && i < s->exceptions->len; i++) {
                BhExceptionDef *e = g_ptr_array_index(s->exceptions, i);

                /* one without fields was told when it was read */
                if (e->fields)
                        good = bh_exceptions_check(l, e, known) && good;
        }
        BhRuleDef *d = g_hash_table_lookup(l->rules_by, s->name->text);
        if (d && !g_str_equal(d->rule->source, source)) {
                g_autofree char *q = bh_load_quote(d->rule->source, strlen(d->rule->source));

                bh_load_problem(l, BH_ERROR, "LOAD_ERR_VALIDATE", bh_load_pos(l, s->source ? s->source : s->name), l->object,
                                "this rule was defined with the source %s: give it the same, or another name", q);
                return;
        }
        if (!good)
                return;
        if (!d) {
                if (l->rules->len >= BH_RULES_RULES_MAX) {
                        bad(l, s->name, "LOAD_ERR_VALIDATE", "more than 20,000 rules: the others are not read");
                        return;
                }
                d = def_new(s->name->text);
                d->index = l->next_index;
                g_ptr_array_add(l->rules, d);
                g_hash_table_insert(l->rules_by, d->rule->name, d);
        }
        l->next_index++;
        BhRule *r = d->rule;
        r->pos = bh_load_pos(l, s->item);
        r->condition_pos = bh_load_pos(l, s->condition);
        r->output_pos = bh_load_pos(l, s->output);
        g_free(r->source);
        r->source = g_strdup(source);
        r->priority = (enum bh_priority) s->priority;
        r->enabled = s->enabled;
        r->warn_evttypes = s->warn_evttypes;
        r->skip_if_unknown_filter = s->skip;
        r->skipped = !known;
        set_desc(l, r, FALSE, s->desc);
        set_text(d->condition, FALSE, l, s->condition);
        set_text(d->output, FALSE, l, s->output);
        add_tags(l, r, FALSE, s->tags);
        g_ptr_array_set_size(d->exceptions, 0);
        while (s->exceptions && s->exceptions->len)
                g_ptr_array_add(d->exceptions, g_ptr_array_steal_index(s->exceptions, 0));
        if (!known) {
                g_autofree char *q = bh_load_quote(source, strlen(source));

                bh_load_problem(l, BH_WARN, "LOAD_UNKNOWN_SOURCE", bh_load_pos(l, s->source ? s->source : s->item), l->object,
                                "there are no events of the source %s here: the rule is skipped (there are syscall, container, sensor)", q);
        }
}

/* Part of an item onto a rule that stands before. */
static void apply(BhLoader *l, BhRuleDef *d, Said *s, guint32 which, gboolean append) {
        BhRule *r = d->rule;

        if (which & BIT(K_CONDITION) && s->condition) {
                set_text(d->condition, append, l, s->condition);
                if (!append)
                        r->condition_pos = bh_load_pos(l, s->condition);
        }
        if (which & BIT(K_OUTPUT) && s->output && d->output->s->len + s->output->n <= 2 * BH_RULES_OUTPUT_MAX) { /* longer is told when the rule is made */
                set_text(d->output, append, l, s->output);
                if (!append)
                        r->output_pos = bh_load_pos(l, s->output);
        }
        if (which & BIT(K_DESC) && s->desc)
                set_desc(l, r, append, s->desc);
        if (which & BIT(K_TAGS))
                add_tags(l, r, append, s->tags);
        if (which & BIT(K_PRIORITY) && s->priority >= 0)
                r->priority = (enum bh_priority) s->priority;
        if (which & BIT(K_ENABLED))
                r->enabled = s->enabled;
        if (which & BIT(K_WARN_EVTTYPES))
                r->warn_evttypes = s->warn_evttypes;
        if (which & BIT(K_SKIP))
                r->skip_if_unknown_filter = s->skip;
        if (which & BIT(K_EXCEPTIONS) && s->exceptions)
                bh_exceptions_merge(l, d, s->exceptions, !append);
}

static void override(BhLoader *l, Said *s, guint32 append, guint32 replace) {
        const BhYaml *o = bh_yaml_get(s->item, "override", NULL);
        guint32 said = append | replace, missing = said & ~s->has, surplus = s->has & MAY_REPLACE & ~said;
        gboolean good = TRUE;

        for (guint k = 0; k < K_COUNT; k++) {
                const BhYaml *node = NULL;

                if (append & replace & BIT(k)) {
                        bh_load_problem(l, BH_ERROR, "LOAD_ERR_YAML_VALIDATE", bh_load_pos(l, o), l->object, "\"%s\" is both appended and replaced: choose one", keys[k]);
                        good = FALSE;
                }
                if (missing & BIT(k)) {
                        bh_yaml_get(o, keys[k], &node);
                        bh_load_problem(l, BH_ERROR, "LOAD_ERR_YAML_VALIDATE", bh_load_pos(l, node), l->object, "\"%s\" is overridden, but the item has no such key: add it", keys[k]);
                        good = FALSE;
                }
                if (surplus & BIT(k)) {
                        bh_yaml_get(s->item, keys[k], &node);
                        bh_load_problem(l, BH_ERROR, "LOAD_ERR_YAML_VALIDATE", bh_load_pos(l, node), l->object,
                                        "\"%s\" is here, but \"override\" does not say what to do with it: add \"%s: %sreplace\" there", keys[k], keys[k],
                                        MAY_APPEND & BIT(k) ? "append or " : "");
                        good = FALSE;
                }
        }
        good = good && read_keys(l, s, said, BH_KEY_NEEDED, (append & BIT(K_EXCEPTIONS)) != 0);
        BhRuleDef *d = find(l, s, TRUE);
        if (!good || !d)
                return;
        apply(l, d, s, append, TRUE);
        apply(l, d, s, replace, FALSE);
        l->next_index++;
}

static void deprecated_append(BhLoader *l, Said *s) {
        const BhYaml *k = NULL;

        bh_yaml_get(s->item, "append", &k);
        bh_load_problem(l, BH_WARN, "LOAD_DEPRECATED_ITEM", bh_load_pos(l, k), l->object,
                        "\"append: true\" is deprecated: write the keys to append under \"override\" instead, as in \"condition: append\"");
        gboolean good = read_keys(l, s, BIT(K_CONDITION) | BIT(K_EXCEPTIONS), BH_KEY_OPTIONAL, TRUE);
        BhRuleDef *d = find(l, s, TRUE);
        if (!good || !d)
                return;
        if (!s->condition && !(s->has & BIT(K_EXCEPTIONS))) {
                bad(l, s->item, "LOAD_ERR_VALIDATE", "an item with \"append: true\" needs a condition or exceptions to append: the keys that \"override\" can append are " APPENDED);
                return;
        }
        apply(l, d, s, BIT(K_CONDITION) | BIT(K_EXCEPTIONS), TRUE);
        l->next_index++;
}

static void enable_only(BhLoader *l, Said *s) {
        if (!(s->has & BIT(K_ENABLED))) {
                bad(l, s->item, "LOAD_ERR_YAML_VALIDATE", "the keys \"condition\", \"output\", \"desc\" and \"priority\" are missing: add them; to change a rule that stands before, use \"override\"");
                return;
        }
        if (!read_keys(l, s, BIT(K_ENABLED), BH_KEY_NEEDED, FALSE))
                return;
        bh_load_problem(l, BH_WARN, "LOAD_DEPRECATED_ITEM", bh_load_pos(l, s->item), l->object,
                        "\"enabled\" by itself is deprecated: add \"enabled: replace\" under \"override\"");
        BhRuleDef *d = g_hash_table_lookup(l->rules_by, s->name->text);
        if (!d)
                find(l, s, TRUE);
        else
                d->rule->enabled = s->enabled;
}

void bh_load_rule(BhLoader *l, const BhYaml *item) {
        static const char *const known[] = { "rule", "condition", "output", "desc", "priority", "source", "enabled", "capture", "capture_duration", "warn_evttypes",
                                             "skip-if-unknown-filter", "tags", "exceptions", "override", "append" };
        Said s = { .item = item, .priority = -1, .enabled = TRUE, .warn_evttypes = TRUE };
        g_autofree char *object = NULL;
        guint32 append = 0, replace = 0;
        gboolean has_append = FALSE, good;

        if (!bh_load_scalar(l, item, "rule", BH_KEY_NEEDED, &s.name))
                return;
        if (strlen(s.name->text) != s.name->n) {
                bad(l, s.name, "LOAD_ERR_YAML_VALIDATE", "the name of a rule cannot hold a NUL byte");
                return;
        }
        g_autofree char *q = bh_load_quote(s.name->text, s.name->n);
        l->object = object = g_strdup_printf("rule %s", q);
        if (!bh_load_unknown_keys(l, item, known, G_N_ELEMENTS(known)))
                return;
        for (guint k = 0; k < K_COUNT; k++)
                if (bh_yaml_get(item, keys[k], NULL))
                        s.has |= BIT(k);
        good = bh_load_scalar(l, item, "source", BH_KEY_OPTIONAL_EMPTY, &s.source);
        good = bh_load_bool(l, item, "append", &has_append) && good;
        good = bh_load_override(l, item, keys, K_COUNT, MAY_APPEND, MAY_REPLACE, &append, &replace) && good;
        if (has_append && (append || replace)) {
                bad(l, item, "LOAD_ERR_YAML_VALIDATE", "\"override\" and \"append: true\" cannot stand together: write \"append\" entries under \"override\" alone");
                good = FALSE;
        }
        if (!good)
                return;
        if (append || replace)
                override(l, &s, append, replace);
        else if (has_append)
                deprecated_append(l, &s);
        else if (!(s.has & (BIT(K_CONDITION) | BIT(K_OUTPUT) | BIT(K_DESC) | BIT(K_PRIORITY))))
                enable_only(l, &s);
        else
                define(l, &s);
        g_clear_pointer(&s.exceptions, g_ptr_array_unref);
}

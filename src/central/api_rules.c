/* SPDX-License-Identifier: Apache-2.0 */
/* rules: what the nodes run, and the files that are managed here */
#include <string.h>

#include "ask.h"
#include "bus/body.h"
#include "bus/bus.pb-c.h"
#include "event/codec.h"
#include "events.h"
#include "json_out.h"
#include "routes.h"
#include "rules.h"
#include "rules/engine.h"
#include "store/store_rules.h"

#define PROBLEMS_MAX 200u /* told; more are counted */
#define PREVIEW_EVENTS 10000u /* the last ones of each node that a preview looks at; BH_ASK_BYTES is the other bound */
#define PREVIEW_SHOWN 50u
#define PREVIEW_HOURS 24
#define PREVIEW_OF_EVENT 8u /* matches of one event that are told; all are counted */
#define PREVIEW_SECONDS 10  /* of evaluating: a file may have thousands of costly rules */

/* ---- what runs ---- */

void bh_api_rules(BhCall *call) {
        g_autoptr(BhAsk) q = bh_ask(call, "rules", NULL);
        guint bad = 0;

        if (!q)
                return;

        GString *out = g_string_sized_new(65536);
        bh_json_open(out, NULL, '{');
        bh_json_open(out, "rules", '[');
        for (guint i = 0; i < q->answers->len; i++) {
                const BhAnswer *a = q->answers->pdata[i];
                g_autoptr(GString) text = g_string_new(NULL);

                for (guint k = 0; k < a->chunks->len; k++)
                        g_string_append_len(text, g_bytes_get_data(a->chunks->pdata[k], NULL), (gssize) g_bytes_get_size(a->chunks->pdata[k]));

                json_auto_t *rules = json_loadb(text->str, text->len, JSON_REJECT_DUPLICATES, NULL);
                json_t *rule;
                size_t n;

                bad += !json_is_array(rules) && a->chunks->len;
                json_array_foreach(rules, n, rule) {
                        if (!json_is_object(rule))
                                continue;
                        json_object_set_new(rule, "node", json_string(a->node));
                        g_autofree char *one = json_dumps(rule, JSON_COMPACT);
                        bh_json_raw(out, NULL, one);
                }
        }
        bh_json_close(out, ']');
        bh_ask_append_nodes(out, q, bad);
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}

/* ---- managed files ---- */

static void append_file(GString *out, const BhStoreText *f, gboolean text) {
        bh_json_open(out, NULL, '{');
        bh_json_text(out, "name", f->name);
        bh_json_uint(out, "bytes", strlen(f->text));
        bh_json_text(out, "changed_by", f->changed_by);
        bh_json_time(out, "changed", f->changed_ns);
        if (text)
                bh_json_text(out, "text", f->text);
        bh_json_close(out, '}');
}

void bh_api_rule_files(BhCall *call) {
        GError *error = NULL;
        g_autoptr(GPtrArray) files = bh_store_rule_files(call->central->store, &error);

        if (!files) {
                bh_call_store_error(call, error);
                return;
        }

        GString *out = g_string_new(NULL);
        bh_json_open(out, NULL, '{');
        bh_json_open(out, "files", '[');
        for (guint i = 0; i < files->len; i++)
                append_file(out, files->pdata[i], FALSE);
        bh_json_close(out, ']');
        bh_rules_append_nodes(call->central->rules, out);
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}

void bh_api_rule_file(BhCall *call) {
        GError *error = NULL;
        g_autoptr(BhStoreText) f = bh_store_rule_file(call->central->store, call->captures[0], &error);

        if (!f) {
                bh_call_store_error(call, error);
                return;
        }

        GString *out = g_string_new(NULL);
        append_file(out, f, TRUE);
        bh_call_json(call, 200, out);
}

/* What loading and compiling all files together said: a change of one may break another. */
typedef struct {
        BhRuleSet *set;
        GPtrArray *compiled; /* of BhEngineProblem */
} Checked;

static void checked_clear(Checked *c) {
        g_clear_pointer(&c->set, bh_rule_set_unref);
        g_clear_pointer(&c->compiled, g_ptr_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Checked, checked_clear)

static guint64 errors_of(const Checked *c) {
        guint64 n = bh_rule_set_errors(c->set);

        for (guint i = 0; i < c->compiled->len; i++)
                n += ((const BhEngineProblem *) c->compiled->pdata[i])->error != FALSE;
        return n;
}

static void append_compiled(GString *out, const Checked *c, guint told) {
        const GPtrArray *rules = bh_rule_set_rules(c->set);

        for (guint i = 0; i < c->compiled->len && told < PROBLEMS_MAX; i++, told++) {
                const BhEngineProblem *p = c->compiled->pdata[i];

                bh_json_open(out, NULL, '{');
                bh_json_text(out, "severity", p->error ? "error" : "warning");
                bh_json_text(out, "file", p->pos.line ? bh_rule_set_file(c->set, p->pos.file) : NULL);
                bh_json_uint(out, "line", p->pos.line);
                bh_json_uint(out, "column", p->pos.column);
                bh_json_text(out, "code", p->error ? "LOAD_ERR_COMPILE_CONDITION" : "LOAD_COMPILE_CONDITION");
                bh_json_text(out, "what", p->what);
                bh_json_text(out, "object", p->rule < rules->len ? ((const BhRule *) rules->pdata[p->rule])->name : NULL);
                bh_json_close(out, '}');
        }
}

static void append_problems(GString *out, const Checked *c) {
        const BhRuleSet *set = c->set;
        const GPtrArray *problems = bh_rule_set_problems(set);
        guint64 errors = errors_of(c);

        bh_json_uint(out, "errors", errors);
        bh_json_uint(out, "warnings", bh_rule_set_warnings(set) + c->compiled->len - (errors - bh_rule_set_errors(set)));
        bh_json_uint(out, "rules", bh_rule_set_rules(set)->len);
        bh_json_open(out, "problems", '[');
        for (guint i = 0; i < problems->len && i < PROBLEMS_MAX; i++) {
                const BhRuleProblem *p = g_ptr_array_index(problems, i);

                bh_json_open(out, NULL, '{');
                bh_json_text(out, "severity", p->error ? "error" : "warning");
                bh_json_text(out, "file", p->pos.line ? bh_rule_set_file(set, p->pos.file) : NULL);
                bh_json_uint(out, "line", p->pos.line);
                bh_json_uint(out, "column", p->pos.column);
                bh_json_text(out, "code", p->code);
                bh_json_text(out, "what", p->what);
                bh_json_text(out, "object", p->object);
                bh_json_close(out, '}');
        }
        append_compiled(out, c, MIN(problems->len, PROBLEMS_MAX));
        bh_json_close(out, ']');
}

/* The set with this file, or (text NULL) without it. FALSE: answered. */
static gboolean check(BhCall *call, const char *name, const char *text, Checked *out) {
        GError *error = NULL;

        if (!bh_store_rule_name_valid(name)) {
                bh_call_error(call, 400, "bad_name", "the name of a rule file has letters, digits, '.', '_' and '-', at most 100, and ends in .yaml or .yml");
                return FALSE;
        }
        out->set = bh_rules_check(call->central->rules, call->central->store, name, text, &out->compiled, &error);
        if (!out->set)
                bh_call_store_error(call, error);
        return out->set != NULL;
}

static void answer(BhCall *call, guint status, const Checked *checked, const char *error) {
        GString *out = g_string_new(NULL);

        bh_json_open(out, NULL, '{');
        if (error) {
                bh_json_open(out, "error", '{');
                bh_json_text(out, "code", "bad_rules");
                bh_json_text(out, "message", error);
                bh_json_close(out, '}');
        }
        append_problems(out, checked);
        bh_json_close(out, '}');
        bh_call_json(call, status, out);
}

static const BhBodyField file_fields[] = { { "text", BH_BODY_LINES, TRUE, BH_STORE_RULE_FILE_MAX } };

void bh_api_rules_check(BhCall *call) {
        static const BhBodyField fields[] = { { "name", BH_BODY_TEXT, TRUE, 100 }, { "text", BH_BODY_LINES, TRUE, BH_STORE_RULE_FILE_MAX } };
        json_auto_t *body = bh_call_body(call, fields, G_N_ELEMENTS(fields));

        if (!body)
                return;
        const char *name = bh_body_text(body, "name");
        g_auto(Checked) checked = { NULL, NULL };

        if (!check(call, name, bh_body_text(body, "text"), &checked))
                return;
        bh_call_audit_write(call, name, "ok", errors_of(&checked) ? "it has errors" : NULL); /* who tries what is worth knowing */
        answer(call, 200, &checked, NULL);
}

/* ---- what it would have matched ---- */

typedef struct {
        guint64 time_ns;
        guint32 rule;
        char *output, *event;
} Match;

static void match_free(gpointer data) {
        Match *m = data;

        g_free(m->output);
        g_free(m->event);
        g_free(m);
}

static gint newest_first(gconstpointer a, gconstpointer b) {
        const Match *x = *(const Match *const *) a, *y = *(const Match *const *) b;

        return x->time_ns > y->time_ns ? -1 : x->time_ns < y->time_ns;
}

typedef struct {
        BhRuleEngine *engine;
        BhRuleRun *run;
        GPtrArray *shown; /* of Match */
        guint64 *matches, *last_ns; /* per rule */
        guint64 looked_at, left, matched, oldest_ns; /* left: after the deadline */
        gint64 deadline_us;
} Preview;

static void look_at(const struct bh_event *e, gpointer data) {
        Preview *p = data;
        const guint32 *rules;
        guint64 time_ns = bh_event_has(e, BH_F_time) ? e->time : 0;

        if (g_get_monotonic_time() > p->deadline_us) {
                p->left++;
                return;
        }
        guint n = bh_rule_run_event(p->run, p->engine, e, NULL, &rules);

        p->looked_at++;
        if (time_ns && (!p->oldest_ns || time_ns < p->oldest_ns))
                p->oldest_ns = time_ns;
        p->matched += n > 0;
        for (guint i = 0; i < n; i++) {
                p->matches[rules[i]]++;
                p->last_ns[rules[i]] = MAX(p->last_ns[rules[i]], time_ns);
        }
        for (guint i = 0; i < MIN(n, PREVIEW_OF_EVENT); i++) {
                g_autoptr(GString) output = g_string_new(NULL), event = g_string_new(NULL), fields = g_string_new(NULL);
                Match *m;

                bh_rule_run_output(p->run, p->engine, rules[i], output, fields);
                bh_event_to_json(e, event);
                m = g_new0(Match, 1);
                m->time_ns = time_ns;
                m->rule = rules[i];
                m->output = g_string_free(g_steal_pointer(&output), FALSE);
                m->event = g_string_free(g_steal_pointer(&event), FALSE);
                g_ptr_array_add(p->shown, m);
                if (p->shown->len >= 4 * PREVIEW_SHOWN) { /* the newest stay */
                        g_ptr_array_sort(p->shown, newest_first);
                        g_ptr_array_set_size(p->shown, PREVIEW_SHOWN);
                }
        }
}

static void append_preview(GString *out, const Checked *c, const char *file, Preview *p) {
        const GPtrArray *rules = bh_rule_set_rules(c->set);

        bh_json_uint(out, "looked_at", p->looked_at);
        bh_json_uint(out, "not_looked_at", p->left);
        bh_json_uint(out, "matched", p->matched);
        bh_json_time(out, "oldest", (gint64) p->oldest_ns);
        bh_json_open(out, "matches", '[');
        for (guint i = 0; i < rules->len; i++) {
                const BhRule *rule = rules->pdata[i];

                if (!bh_rule_of_file(c->set, rule, file))
                        continue;
                bh_json_open(out, NULL, '{');
                bh_json_text(out, "rule", rule->name);
                bh_json_text(out, "priority", bh_priority_name(rule->priority));
                bh_json_uint(out, "line", rule->pos.line);
                bh_json_bool(out, "runs", rule->enabled && !rule->skipped);
                bh_json_uint(out, "matches", p->matches[i]);
                bh_json_time(out, "last", (gint64) p->last_ns[i]);
                bh_json_close(out, '}');
        }
        bh_json_close(out, ']');
        g_ptr_array_sort(p->shown, newest_first);
        bh_json_open(out, "events", '[');
        for (guint i = 0; i < p->shown->len && i < PREVIEW_SHOWN; i++) {
                const Match *m = p->shown->pdata[i];

                bh_json_open(out, NULL, '{');
                bh_json_text(out, "rule", ((const BhRule *) rules->pdata[m->rule])->name);
                bh_json_text(out, "output", m->output);
                bh_json_raw(out, "event", m->event);
                bh_json_close(out, '}');
        }
        bh_json_close(out, ']');
}

/* The last recorded events of kinds that the engine's rules can match. NULL: answered. */
static BhAsk *ask_events(BhCall *call, const BhRuleEngine *engine, gint64 since_ns) {
        Bulkhead__Bus__V1__EventsRequest wanted = BULKHEAD__BUS__V1__EVENTS_REQUEST__INIT;
        char *types[128];
        guint64 needs[2];

        bh_rule_engine_needs(engine, needs);
        wanted.types = types;
        for (guint kind = 0; kind < 128; kind++)
                if (needs[kind / 64] >> kind % 64 & 1 && bh_event_type_name(kind))
                        types[wanted.n_types++] = (char *) bh_event_type_name(kind);
        wanted.since_ns = since_ns;
        wanted.limit = PREVIEW_EVENTS;

        g_autoptr(GBytes) body = bh_bus_body_pack(&wanted.base);
        return bh_ask(call, "events", body);
}

void bh_api_rules_preview(BhCall *call) {
        static const BhBodyField fields[] = { { "name", BH_BODY_TEXT, TRUE, 100 }, { "text", BH_BODY_LINES, TRUE, BH_STORE_RULE_FILE_MAX }, { "hours", BH_BODY_INT, FALSE, 24 * 31 } };
        json_auto_t *body = bh_call_body(call, fields, G_N_ELEMENTS(fields));
        g_auto(Checked) checked = { NULL, NULL };
        g_autoptr(BhRuleEngine) engine = NULL;
        g_autoptr(BhRuleRun) run = NULL;
        g_autoptr(GPtrArray) shown = NULL;
        g_autofree guint64 *matches = NULL, *last_ns = NULL;
        g_autoptr(BhAsk) q = NULL;
        guint bad = 0;

        if (!body)
                return;
        const char *name = bh_body_text(body, "name");
        json_t *given = json_object_get(body, "hours");
        gint64 hours = given ? json_integer_value(given) : PREVIEW_HOURS;
        gint64 since_ns = g_get_real_time() * 1000 - hours * 3600 * G_GINT64_CONSTANT(1000000000);
        if (!check(call, name, bh_body_text(body, "text"), &checked))
                return;
        if (errors_of(&checked)) { /* nothing to try out yet: the errors are the answer */
                bh_call_audit_write(call, name, "ok", "it has errors");
                answer(call, 200, &checked, NULL);
                return;
        }
        engine = bh_rule_engine_new(checked.set, &(BhEngineOptions) { .file = name }, NULL, NULL);
        q = ask_events(call, engine, since_ns);
        if (!q)
                return;
        bh_call_audit_write(call, name, "ok", NULL);

        guint n = bh_rule_set_rules(checked.set)->len;
        run = bh_rule_run_new();
        shown = g_ptr_array_new_with_free_func(match_free);
        matches = g_new0(guint64, n + 1);
        last_ns = g_new0(guint64, n + 1);
        Preview p = { .engine = engine, .run = run, .shown = shown, .matches = matches, .last_ns = last_ns, .deadline_us = g_get_monotonic_time() + PREVIEW_SECONDS * G_USEC_PER_SEC };
        for (guint i = 0; i < q->answers->len; i++) {
                const BhAnswer *a = q->answers->pdata[i];

                for (guint k = 0; k < a->chunks->len; k++)
                        bad += bh_events_each(a->chunks->pdata[k], look_at, &p);
        }

        GString *out = g_string_new(NULL);
        bh_json_open(out, NULL, '{');
        append_problems(out, &checked);
        bh_json_time(out, "since", since_ns);
        bh_json_uint(out, "bound", PREVIEW_EVENTS);
        append_preview(out, &checked, name, &p);
        bh_ask_append_nodes(out, q, bad);
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}

/* ---- changing them ---- */

/* `text` NULL: removes. */
static void change(BhCall *call, const char *name, const char *text) {
        g_auto(Checked) checked = { NULL, NULL };
        GError *error = NULL;

        if (!check(call, name, text, &checked))
                return;
        if (errors_of(&checked)) {
                bh_call_audit_write(call, name, "refused", "the rules would have errors");
                answer(call, 422, &checked, text ? "nothing was changed: with this file the rules have errors" : "nothing was changed: without this file the rules have errors");
                return;
        }

        BhStoreAuditEntry audit = bh_call_audit(call, name, "ok", text ? NULL : "removed");
        if (!bh_store_rule_file_set(call->central->store, name, text, call->who.name, &audit, &error)) {
                bh_call_store_error(call, error);
                return;
        }
        bh_rules_changed(call->central->rules);
        answer(call, 200, &checked, NULL);
}

void bh_api_rule_file_set(BhCall *call) {
        json_auto_t *body = bh_call_body(call, file_fields, G_N_ELEMENTS(file_fields));

        if (body)
                change(call, call->captures[0], bh_body_text(body, "text"));
}

void bh_api_rule_file_remove(BhCall *call) {
        change(call, call->captures[0], NULL);
}

/* What a condition can ask for: a table of the program's own, the same for all nodes of its version. */
void bh_api_rule_fields(BhCall *call) {
        guint n;
        const BhRuleField *rows = bh_rule_fields(&n);
        GString *out = g_string_sized_new(64 * 1024);

        bh_json_open(out, NULL, '{');
        bh_json_open(out, "fields", '[');
        for (guint i = 0; i < n; i++) {
                const BhRuleField *f = &rows[i];
                g_autofree char *name = g_strdup_printf("%s%s", f->name, bh_rule_arg_form(f->arg));

                bh_json_open(out, NULL, '{');
                bh_json_text(out, "name", name);
                bh_json_text(out, "type", bh_rule_type_name(f->type));
                bh_json_bool(out, "list", f->list);
                bh_json_text(out, "meaning", f->doc);
                bh_json_text(out, "why_not", f->why_not);
                bh_json_bool(out, "deprecated", f->flags & BH_FF_DEPRECATED);
                bh_json_close(out, '}');
        }
        bh_json_close(out, ']');
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}

/* Nodes read the files that they were started with anew. */
void bh_api_rules_reload(BhCall *call) {
        g_autoptr(BhAsk) q = bh_ask(call, "rules_reload", NULL);
        const BhAnswer *first = NULL; /* of those that kept what they had */
        guint failed = 0;

        if (!q)
                return;
        for (guint i = 0; i < q->answers->len; i++) {
                const BhAnswer *a = q->answers->pdata[i];

                if (a->error && !failed++)
                        first = a;
        }
        bh_call_audit_write(call, bh_call_param(call, "node"), failed ? "failed" : "ok", NULL);

        GString *out = g_string_new(NULL);
        bh_json_open(out, NULL, '{');
        if (failed) {
                g_autofree char *others = failed > 1 ? g_strdup_printf(" (and %u other nodes)", failed - 1) : g_strdup("");
                g_autofree char *message = g_strdup_printf("node %s has not said that it took its rules anew%s: %s", first->node, others, first->error);

                bh_json_open(out, "error", '{');
                bh_json_text(out, "code", "bad_rules");
                bh_json_text(out, "message", message);
                bh_json_close(out, '}');
        }
        bh_ask_append_nodes(out, q, 0);
        bh_json_close(out, '}');
        bh_call_json(call, failed ? 422 : 200, out);
}

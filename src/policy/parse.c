/* SPDX-License-Identifier: Apache-2.0 */
/* Policies from YAML: all that is wrong, in one pass. */
#include <string.h>
#include <xxhash.h>

#include "incident/incident.h"
#include "policy/policy.h"
#include "response/deny.h"
#include "rules/yamltree.h"

#define SURPRISE_MAX 100u

typedef struct {
        BhYamlFile *file;
        BhPolicy *policy;
        GPtrArray *problems;
        guint documents;
        gboolean items; /* the elements of a list are what is read: told once */
} Reader;

void bh_policy_problem_free(gpointer problem) {
        BhPolicyProblem *p = problem;

        g_free(p->what);
        g_free(p);
}

static void tell(Reader *r, guint32 at, const char *format, ...) G_GNUC_PRINTF(3, 4);
static void tell(Reader *r, guint32 at, const char *format, ...) {
        va_list ap;

        if (r->problems->len >= BH_POLICY_PROBLEMS_MAX)
                return;
        BhPolicyProblem *p = g_new0(BhPolicyProblem, 1);

        bh_yaml_place(r->file, at, &p->line, &p->column);
        va_start(ap, format);
        p->what = g_strdup_vprintf(format, ap);
        va_end(ap);
        g_ptr_array_add(r->problems, p);
}

/* ---- values ---- */

static gboolean text_of(Reader *r, const BhYaml *n, const char *name, const char **text) {
        if (n->kind != BH_YAML_SCALAR || !n->n || strlen(n->text) != n->n) {
                tell(r, n->start, "%s takes a text that is not empty", name);
                return FALSE;
        }
        if (n->n > BH_POLICY_WORD_MAX) {
                tell(r, n->start, "%s has %u bytes, and may have %u: shorten it, \"*\" stands for anything", name, n->n, BH_POLICY_WORD_MAX);
                return FALSE;
        }
        *text = n->text;
        return TRUE;
}

static gboolean truth_of(Reader *r, const BhYaml *n, const char *name, gboolean *value) {
        if (bh_yaml_is(n, "true") || bh_yaml_is(n, "false")) {
                *value = bh_yaml_is(n, "true");
                return TRUE;
        }
        tell(r, n->start, "%s takes true or false", name);
        return FALSE;
}

static gboolean number_in(const char *text, guint min, guint max, guint *value) {
        guint64 v;

        if (!g_ascii_string_to_unsigned(text, 10, min, max, &v, NULL))
                return FALSE;
        *value = (guint) v;
        return TRUE;
}

static gboolean number_of(Reader *r, const BhYaml *n, const char *name, guint min, guint max, guint *value) {
        if (n->kind == BH_YAML_SCALAR && number_in(n->text, min, max, value))
                return TRUE;
        tell(r, n->start, "%s takes a whole number from %u to %u", name, min, max);
        return FALSE;
}

/* "90s", "10m", "2h", "1d"; seconds. */
static gboolean seconds_in(const char *text, guint max, guint *value) {
        static const struct {
                char unit;
                guint seconds;
        } units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
        gsize len = strlen(text);
        guint n;

        for (guint i = 0; len > 1 && i < G_N_ELEMENTS(units); i++)
                if (text[len - 1] == units[i].unit) {
                        g_autofree char *digits = g_strndup(text, len - 1);

                        if (!number_in(digits, 1, max / units[i].seconds, &n))
                                return FALSE;
                        *value = n * units[i].seconds;
                        return TRUE;
                }
        return FALSE;
}

static gboolean seconds_of(Reader *r, const BhYaml *n, const char *name, guint max, guint *value) {
        if (n->kind == BH_YAML_SCALAR && seconds_in(n->text, max, value))
                return TRUE;
        tell(r, n->start, "%s takes a time like 90s, 10m, 2h or 1d, at most %ud", name, max / 86400);
        return FALSE;
}

/* "10 per 1h" */
static gboolean rate_of(Reader *r, const BhYaml *n, guint *count, guint *seconds) {
        g_auto(GStrv) words = n->kind == BH_YAML_SCALAR ? g_strsplit(n->text, " ", 4) : NULL;

        if (words && g_strv_length(words) == 3 && g_str_equal(words[1], "per") && number_in(words[0], 1, BH_POLICY_RATE_MAX, count) && seconds_in(words[2], BH_POLICY_TIME_MAX, seconds))
                return TRUE;
        tell(r, n->start, "rate takes how many within which time, like \"10 per 1h\": at most %u, within at most %ud", BH_POLICY_RATE_MAX, BH_POLICY_TIME_MAX / 86400);
        return FALSE;
}

/* A list of texts, or one text; `known` (may be NULL): what there is, NULL-terminated. */
static void list_of(Reader *r, const BhYaml *n, const char *name, guint max, const char *const *known, char ***out) {
        g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
        const BhYaml *one[] = { n };
        const BhYaml *const *nodes = n->kind == BH_YAML_SEQUENCE ? (const BhYaml *const *) n->nodes : one;
        guint count = n->kind == BH_YAML_SEQUENCE ? n->n : 1;

        if (n->kind == BH_YAML_SEQUENCE && !count)
                tell(r, n->start, "%s is an empty list, which nothing matches: leave it out where all are meant", name);
        if (count > max)
                tell(r, n->start, "%s has %u entries, and may have %u: use patterns with \"*\"", name, count, max);
        for (guint i = 0; i < MIN(count, max); i++) {
                const char *text;

                if (!text_of(r, nodes[i], name, &text))
                        continue;
                if (known && !g_strv_contains(known, text)) {
                        g_autofree char *all = g_strjoinv(", ", (char **) known);

                        tell(r, nodes[i]->start, "%s has no \"%.80s\": there are %s", name, text, all);
                        continue;
                }
                g_ptr_array_add(texts, g_strdup(text));
        }
        g_ptr_array_add(texts, NULL);
        if (*out == NULL)
                *out = (char **) g_ptr_array_free(g_steal_pointer(&texts), FALSE);
}

static gboolean is_map(Reader *r, const BhYaml *n, const char *name, const char *example) {
        if (n->kind == BH_YAML_MAP)
                return TRUE;
        tell(r, n->start, "%s takes keys with values, like %s", name, example);
        return FALSE;
}

/* Each key of a map once, and only these. FALSE: not to be looked at. */
static gboolean good_key(Reader *r, const BhYaml *map, guint i, const char *where, const char *const *known, const char **key) {
        const BhYaml *k = map->nodes[i];

        if (k->kind != BH_YAML_SCALAR || strlen(k->text) != k->n) {
                tell(r, k->start, "a key of %s must be a text", where);
                return FALSE;
        }
        if (known && !g_strv_contains(known, k->text)) {
                g_autofree char *all = g_strjoinv(", ", (char **) known);

                tell(r, k->start, "%s has no key \"%.80s\": it takes %s", where, k->text, all);
                return FALSE;
        }
        for (guint m = 0; m < i; m += 2)
                if (bh_yaml_is(map->nodes[m], k->text)) {
                        tell(r, k->start, "\"%.80s\" is here twice: remove one of them", k->text);
                        return FALSE;
                }
        *key = k->text;
        return TRUE;
}

/* ---- parts ---- */

static void read_anomaly(Reader *r, const BhYaml *n) {
        static const char *const keys[] = { "families", "surprise", "model", NULL };
        static const char *const families[] = {
#define BH_FAMILY(number, id, kind, title, actor, object, detail, risk, doc) kind,
#include "model/families.tbl.h"
                NULL,
        };
        const char *key;

        r->policy->kind = BH_POLICY_ANOMALY;
        if (!is_map(r, n, "anomaly", "{families: [exec]}"))
                return;
        for (guint i = 0; i + 1 < n->n; i += 2) {
                const BhYaml *v = n->nodes[i + 1];
                guint whole = 0;

                if (!good_key(r, n, i, "anomaly", keys, &key))
                        continue;
                if (g_str_equal(key, "families"))
                        list_of(r, v, key, BH_POLICY_LIST_MAX, families, &r->policy->families);
                else if (g_str_equal(key, "surprise") && number_of(r, v, key, 0, SURPRISE_MAX, &whole))
                        r->policy->surprise = whole * 100;
                else if (g_str_equal(key, "model") && (bh_yaml_is(v, "locked") || bh_yaml_is(v, "any")))
                        r->policy->locked = bh_yaml_is(v, "locked");
                else if (g_str_equal(key, "model"))
                        tell(r, v->start, "model takes any, or locked: only what a person locked, or what is known so well that less than 0.1 new is to be expected in a container's day");
        }
}

static void read_incident(Reader *r, const BhYaml *n) {
        static const char *const keys[] = { "severity", "stages", NULL };
        const char *stages[BH_TACTICS + 1] = { NULL };
        const char *key;

        r->policy->kind = BH_POLICY_INCIDENT;
        for (guint t = 0; t < BH_TACTICS; t++)
                stages[t] = bh_tactic_name(t);
        if (!is_map(r, n, "incident", "{severity: high}"))
                return;
        for (guint i = 0; i + 1 < n->n; i += 2) {
                const BhYaml *v = n->nodes[i + 1];

                if (!good_key(r, n, i, "incident", keys, &key))
                        continue;
                if (g_str_equal(key, "stages")) {
                        list_of(r, v, key, BH_POLICY_LIST_MAX, stages, &r->policy->stages);
                        continue;
                }
                guint s = 0;
                while (s < BH_SEVERITIES && !bh_yaml_is(v, bh_severity_name(s)))
                        s++;
                if (s < BH_SEVERITIES)
                        r->policy->severity = s;
                else
                        tell(r, v->start, "severity takes low, medium, high or critical");
        }
}

static void read_when(Reader *r, const BhYaml *n) {
        static const char *const keys[] = { "rules", "tags", "priority", "anomaly", "incident", NULL };
        guint rule = 0, others = 0;
        const char *key;

        if (!is_map(r, n, "when", "{rules: [Shell spawned by web server]}"))
                return;
        for (guint i = 0; i + 1 < n->n; i += 2) {
                const BhYaml *v = n->nodes[i + 1];

                if (!good_key(r, n, i, "when", keys, &key))
                        continue;
                if (g_str_equal(key, "anomaly") || g_str_equal(key, "incident")) {
                        others++;
                        if (*key == 'a')
                                read_anomaly(r, v);
                        else
                                read_incident(r, v);
                        continue;
                }
                rule++;
                if (g_str_equal(key, "rules")) {
                        list_of(r, v, key, BH_POLICY_LIST_MAX, NULL, &r->policy->rules);
                } else if (g_str_equal(key, "tags")) {
                        list_of(r, v, key, BH_POLICY_LIST_MAX, NULL, &r->policy->tags);
                } else {
                        int p = v->kind == BH_YAML_SCALAR ? bh_priority_from_name(v->text, v->n) : -1;

                        if (p < 0)
                                tell(r, v->start, "priority takes the least grave that counts: emergency, alert, critical, error, warning, notice, informational or debug");
                        else
                                r->policy->priority = p;
                }
        }
        if (others > 1 || (others && rule))
                tell(r, n->start, "when takes one of three: rules, tags and priority together, or anomaly, or incident: write a policy for each");
        else if (!others && !rule)
                tell(r, n->start, "when is empty: it takes rules, tags and priority, or anomaly, or incident; \"rules: '*'\" is any rule");
}

static void read_scope(Reader *r, const BhYaml *n) {
        static const char *const keys[] = { "containers", "workloads", "applications", "images", "nodes", "labels", NULL };
        char ***lists[] = { &r->policy->containers, &r->policy->workloads, &r->policy->applications, &r->policy->images, &r->policy->nodes };
        const char *key;

        if (!is_map(r, n, "scope", "{applications: [shop]}"))
                return;
        for (guint i = 0; i + 1 < n->n; i += 2) {
                const BhYaml *v = n->nodes[i + 1];
                guint k = 0;

                if (!good_key(r, n, i, "scope", keys, &key))
                        continue;
                while (!g_str_equal(keys[k], key))
                        k++;
                if (k < G_N_ELEMENTS(lists)) {
                        list_of(r, v, key, BH_POLICY_LIST_MAX, NULL, lists[k]);
                        continue;
                }
                if (!is_map(r, v, "labels", "{tier: front}"))
                        continue;
                if (v->n > 2 * BH_POLICY_LIST_MAX)
                        tell(r, v->start, "labels has %u entries, and may have %u", v->n / 2, BH_POLICY_LIST_MAX);
                g_autoptr(GPtrArray) pairs = g_ptr_array_new_with_free_func(g_free);
                for (guint m = 0; m + 1 < MIN(v->n, 2 * BH_POLICY_LIST_MAX); m += 2) {
                        const char *label, *value;

                        if (good_key(r, v, m, "labels", NULL, &label) && text_of(r, v->nodes[m + 1], "a label's value", &value)) {
                                g_ptr_array_add(pairs, g_strdup(label));
                                g_ptr_array_add(pairs, g_strdup(value));
                        }
                }
                g_ptr_array_add(pairs, NULL);
                r->policy->labels = (char **) g_ptr_array_free(g_steal_pointer(&pairs), FALSE);
        }
}

static void read_radius(Reader *r, const BhYaml *n) {
        static const char *const keys[] = { "containers", "percent", NULL };
        const char *key;

        if (!is_map(r, n, "blast_radius", "{containers: 5, percent: 50}"))
                return;
        for (guint i = 0; i + 1 < n->n; i += 2)
                if (good_key(r, n, i, "blast_radius", keys, &key)) {
                        gboolean all = *key == 'c';

                        number_of(r, n->nodes[i + 1], key, 1, all ? BH_POLICY_CONTAINERS_MAX : 100, all ? &r->policy->max_containers : &r->policy->percent);
                }
}

static void read_peers(Reader *r, const BhYaml *n, const char *key, char ***out) {
        g_autoptr(GError) error = NULL;

        list_of(r, n, key, BH_RESPONSE_PEERS_MAX, NULL, out);
        /* what is refused may be more than peers */
        g_autoptr(GArray) peers = NULL;
        g_autoptr(GPtrArray) denies = *key == 'd' ? bh_denies_parse((const char *const *) *out, g_strv_length(*out), &peers, &error) : NULL;
        if (*key != 'd')
                peers = bh_peers_parse((const char *const *) *out, g_strv_length(*out), &error);
        g_autoptr(GArray) nets = peers && (*key == 'd' || bh_peers_have_server((const char *const *) *out, g_strv_length(*out), &error)) ? bh_peers_merge(peers, &error) : NULL;
        if (!nets)
                tell(r, n->start, "%s: %s", key, error->message);
}

static void read_action(Reader *r, const BhYaml *n) {
        if (n->kind == BH_YAML_SCALAR && bh_response_action_parse(n->text, &r->policy->action) && bh_response_action_by_policy(r->policy->action))
                return;
        g_autoptr(GString) all = g_string_new(NULL);
        for (guint i = 0; i < BH_RESPONSE_N_ACTIONS; i++)
                if (bh_response_action_by_policy((BhResponseAction) i))
                        g_string_append_printf(all, "%s%s", all->len ? ", " : "", bh_response_action_name((BhResponseAction) i));
        tell(r, n->start, "action takes one of %s", all->str);
}

static void read_one(Reader *r, const char *key, const BhYaml *v) {
        BhPolicy *p = r->policy;
        const char *text;

        if (g_str_equal(key, "name")) {
                if (text_of(r, v, key, &text) && !bh_policy_name_valid(text))
                        tell(r, v->start, "name takes lower-case letters, digits and \"-\", at most %u, and neither begins nor ends with \"-\"", BH_POLICY_NAME_MAX);
                else if (v->kind == BH_YAML_SCALAR) {
                        g_free(p->name);
                        p->name = g_strdup(v->text);
                }
        } else if (g_str_equal(key, "description")) {
                if (text_of(r, v, key, &text)) {
                        g_free(p->description);
                        p->description = g_strdup(text);
                }
        } else if (g_str_equal(key, "enabled")) {
                truth_of(r, v, key, &p->enabled);
        } else if (g_str_equal(key, "dry_run")) {
                truth_of(r, v, key, &p->dry_run);
        } else if (g_str_equal(key, "best_effort")) {
                truth_of(r, v, key, &p->best_effort);
        } else if (g_str_equal(key, "when")) {
                read_when(r, v);
        } else if (g_str_equal(key, "scope")) {
                read_scope(r, v);
        } else if (g_str_equal(key, "action")) {
                read_action(r, v);
        } else if (g_str_equal(key, "allow")) {
                read_peers(r, v, key, &p->allow);
        } else if (g_str_equal(key, "deny")) {
                read_peers(r, v, key, &p->deny);
        } else if (g_str_equal(key, "ttl")) {
                seconds_of(r, v, key, BH_RESPONSE_TTL_MAX_S, &p->ttl_s);
        } else if (g_str_equal(key, "rate")) {
                rate_of(r, v, &p->rate, &p->rate_s);
        } else if (g_str_equal(key, "cool_down")) {
                seconds_of(r, v, key, BH_POLICY_TIME_MAX, &p->cool_down_s);
        } else {
                read_radius(r, v);
        }
}

static void read_policy(Reader *r, const BhYaml *n) {
        static const char *const keys[] = { "name", "description", "enabled", "dry_run", "best_effort", "when", "scope", "action", "allow", "deny", "ttl", "rate", "cool_down", "blast_radius", NULL };
        static const char *const needed[] = { "name", "when", "action" };
        const BhYaml *at;
        const char *key;

        for (guint i = 0; i + 1 < n->n; i += 2)
                if (good_key(r, n, i, "a policy", keys, &key))
                        read_one(r, key, n->nodes[i + 1]);
        for (guint i = 0; i < G_N_ELEMENTS(needed); i++)
                if (!bh_yaml_get(n, needed[i], NULL))
                        tell(r, n->start, "there is no %s: a policy needs name, when and action", needed[i]);
        if (!bh_yaml_get(n, "action", NULL))
                return;
        if (bh_yaml_get(n, "ttl", &at) && !bh_response_action_holds(r->policy->action))
                tell(r, at->start, "ttl goes with what can be released: isolate, quarantine, pause, block");
        if (bh_yaml_get(n, "allow", &at) && !bh_response_action_isolates(r->policy->action))
                tell(r, at->start, "allow goes with isolate and quarantine: remove it, or change the action");
        if (bh_yaml_get(n, "deny", &at) && r->policy->action != BH_RESPONSE_BLOCK)
                tell(r, at->start, "deny goes with block: remove it, or change the action");
        if (r->policy->action == BH_RESPONSE_BLOCK && !bh_yaml_get(n, "deny", NULL))
                tell(r, n->start, "to block needs deny: a list of what is refused");
}

static void on_document(gpointer user, const BhYaml *n) {
        Reader *r = user;

        if (r->documents++) {
                tell(r, n->start, "a text has one policy: put this one into a file of its own");
        } else if (n->kind != BH_YAML_MAP) {
                tell(r, n->start, "a policy begins with keys and values: \"name: …\"");
        } else {
                read_policy(r, n);
        }
}

static void on_item(gpointer user, const BhYaml *n) {
        Reader *r = user;

        if (!r->items)
                tell(r, n->start, "a text has one policy, not a list of them: leave out the \"- \"");
        r->items = TRUE;
}

static void on_problem(gpointer user, guint32 at, const char *code, const char *what) {
        tell(user, at, "%s", what);
}

BhPolicy *bh_policy_parse(const char *text, gsize len, GPtrArray **problems) {
        static const BhYamlCalls calls = { .item = on_item, .document = on_document, .problem = on_problem };
        g_autoptr(BhYamlFile) file = bh_yaml_file_new("policy", 0, text, MIN(len, BH_POLICY_TEXT_MAX));
        g_autoptr(BhPolicy) p = g_new0(BhPolicy, 1);
        Reader r = { .file = file, .policy = p, .problems = g_ptr_array_new_with_free_func(bh_policy_problem_free) };

        g_atomic_ref_count_init(&p->refs);
        p->name = g_strdup("");
        p->description = g_strdup("");
        p->enabled = p->dry_run = TRUE;
        p->priority = BH_PRIO_COUNT;
        p->rate = 10;
        p->rate_s = 3600;
        p->cool_down_s = 300;
        p->max_containers = 5;
        p->percent = 50;
        p->text_hash = XXH3_64bits(text, len);
        *problems = r.problems;
        if (len > BH_POLICY_TEXT_MAX) {
                tell(&r, 0, "a policy has at most %u bytes", BH_POLICY_TEXT_MAX);
                return NULL;
        }
        bh_yaml_read(file, &calls, &r);
        if (!r.documents && !r.problems->len)
                tell(&r, 0, "there is no policy in this text: it begins with \"name: …\"");
        return r.problems->len ? NULL : g_steal_pointer(&p);
}

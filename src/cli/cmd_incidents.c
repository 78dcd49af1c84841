/* SPDX-License-Identifier: Apache-2.0 */
/* `bulkhead incidents`, `bulkhead incident ID [assign|comment|close …]` */
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "base/escape.h"
#include "commands.h"
#include "lists.h"
#include "output.h"

#define INCIDENTS_DEFAULT 50
#define WIDTH 100 /* of a paragraph */

static BhStyle style_of(const json_t *i) {
        const char *severity = bh_json_text(i, "severity");

        if (!g_str_equal(bh_json_text(i, "state"), "open"))
                return BH_STYLE_DIM;
        return g_str_equal(severity, "critical") || g_str_equal(severity, "high") ? BH_STYLE_BAD : BH_STYLE_NONE;
}

/* "a, b and 3 more" of an array of texts. Caller frees. */
static char *some_of(const json_t *list) {
        GString *out = g_string_new(NULL);
        json_t *v;
        size_t i;

        json_array_foreach(list, i, v) {
                if (i == 2) {
                        g_string_append_printf(out, " and %zu more", json_array_size(list) - 2);
                        break;
                }
                g_string_append_printf(out, "%s%s", i ? ", " : "", json_string_value(v));
        }
        return g_string_free(out, FALSE);
}

static void print_table(const json_t *list) {
        static const char *const headers[] = { ">ID", "LAST", "SEVERITY", "STATE", ">STAGES", ">FINDINGS", "WORKLOADS", "ASSIGNED", "WHAT", NULL };
        g_autoptr(BhTable) t = bh_table_new(headers);

        for (size_t n = json_array_size(list); n-- > 0;) { /* the latest at the bottom, as findings */
                json_t *i = json_array_get(list, n);
                g_autofree char *when = bh_json_when(i, "last"), *workloads = some_of(json_object_get(i, "workloads"));

                bh_table_number(t, bh_json_number(i, "id"));
                bh_table_cell(t, when, BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(i, "severity"), style_of(i));
                bh_table_cell(t, bh_json_text(i, "state"), BH_STYLE_NONE);
                bh_table_number(t, json_array_size(json_object_get(i, "tactics")));
                bh_table_number(t, bh_json_number(i, "findings"));
                bh_table_cell(t, *workloads ? workloads : "-", BH_STYLE_NONE);
                bh_table_cell(t, bh_json_dash(i, "assignee"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(i, "title"), BH_STYLE_BOLD);
        }
        bh_table_print(t);
}

int bh_cmd_incidents(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE, all = FALSE;
        gint limit = -1;
        g_autofree char *state = NULL, *severity = NULL, *container = NULL, *workload = NULL, *application = NULL, *node = NULL, *search = NULL, *since = NULL;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "one JSON object a line, the latest first", NULL },
                { "all", 'a', 0, G_OPTION_ARG_NONE, &all, "closed ones as well", NULL },
                { "state", 0, 0, G_OPTION_ARG_STRING, &state, "only those that are open, closed or merged", "STATE" },
                { "severity", 0, 0, G_OPTION_ARG_STRING, &severity, "only of this severity or above: low, medium, high, critical", "S" },
                { "container", 'c', 0, G_OPTION_ARG_STRING, &container, "only with this container: name or id", "C" },
                { "workload", 0, 0, G_OPTION_ARG_STRING, &workload, "only with this workload", "WORKLOAD" },
                { "application", 0, 0, G_OPTION_ARG_STRING, &application, "only with this application", "APP" },
                { "node", 0, 0, G_OPTION_ARG_STRING, &node, "only with this node", "NODE" },
                { "search", 0, 0, G_OPTION_ARG_STRING, &search, "only with this text in title or story", "TEXT" },
                { "since", 's', 0, G_OPTION_ARG_STRING, &since, "only what went on within 90s, 10m, 2h, 1d", "TIME" },
                { "limit", 'n', 0, G_OPTION_ARG_INT, &limit, "the last N (default 50; 0: all)", "N" },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) target = g_string_new("/api/v1/incidents");

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, NULL, "Lists incidents: findings that one cause ties together, each as one story.",
                              "Without --all and --state those that are open. \"bulkhead incident ID\" tells one.\n"))
                return BH_EXIT_USAGE;
        if (argc > 1)
                return bh_cli_usage("it takes no arguments but options, not \"%s\"; \"bulkhead incident %s\" tells one", argv[1], argv[1]);
        if (limit < -1)
                return bh_cli_usage("--limit must not be negative");
        if (all && state)
                return bh_cli_usage("--all and --state exclude each other");
        if (!bh_list_since(target, since))
                return BH_EXIT_USAGE;
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        bh_api_param(target, "state", all ? NULL : state ? state : "open");
        bh_api_param(target, "severity", severity);
        bh_api_param(target, "container", container);
        bh_api_param(target, "workload", workload);
        bh_api_param(target, "application", application);
        bh_api_param(target, "node", node);
        bh_api_param(target, "search", search);
        return bh_list_print(api, target->str, "incidents", limit < 0 ? INCIDENTS_DEFAULT : (guint) limit, json, print_table, all || state ? "no incidents" : "no open incidents");
}

/* ---- one ---- */

static void heading(const char *text) {
        printf("\n%s%s%s\n", bh_out_style(BH_STYLE_BOLD), text, bh_out_style(BH_STYLE_NONE));
}

/* Broken at blanks, so that it can be read. */
static void paragraph(const char *text) {
        g_autofree char *safe = bh_escape_cell(text, -1);
        g_auto(GStrv) words = g_strsplit(safe, " ", -1);
        glong column = 0;

        for (guint i = 0; words[i]; i++) {
                glong n = g_utf8_strlen(words[i], -1);

                if (column && column + 1 + n > WIDTH) {
                        putchar('\n');
                        column = 0;
                }
                printf("%s%s", column ? " " : "", words[i]);
                column += n + (column ? 1 : 0);
        }
        putchar('\n');
}

static void print_timeline(const json_t *list) {
        static const char *const headers[] = { "TIME", "PRIORITY", ">COUNT", "WHERE", "RULE", "PROGRAM", "OBJECT", "TIED BY", "FINDING", NULL };
        g_autoptr(BhTable) t = bh_table_new(headers);
        json_t *l;
        size_t i;

        json_array_foreach(list, i, l) {
                g_autofree char *when = bh_json_when(l, "time"), *host = g_strdup_printf("node %s", bh_json_text(l, "node"));
                const char *container = *bh_json_text(l, "container_name") ? bh_json_text(l, "container_name") : bh_json_text(l, "container_id");
                const char *priority = bh_json_text(l, "priority");
                gboolean bad = g_str_equal(priority, "critical") || g_str_equal(priority, "error") || g_str_equal(priority, "alert") || g_str_equal(priority, "emergency");

                bh_table_cell(t, when, BH_STYLE_DIM);
                bh_table_cell(t, priority, bad ? BH_STYLE_BAD : BH_STYLE_NONE);
                bh_table_number(t, bh_json_number(l, "count"));
                bh_table_cell(t, *container ? container : host, BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(l, "rule"), BH_STYLE_NONE);
                bh_table_cell(t, *bh_json_text(l, "command") ? bh_json_text(l, "command") : bh_json_dash(l, "exe"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_dash(l, "object"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_dash(l, "joined_by"), BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(l, "finding"), BH_STYLE_DIM);
        }
        bh_table_print(t);
}

static void print_containers(const json_t *list) {
        static const char *const headers[] = { "CONTAINER", "ASSET", "WORKLOAD", "APPLICATION", "NODE", "STATE", "ENDED", "IMAGE", NULL };
        g_autoptr(BhTable) t = bh_table_new(headers);
        json_t *c;
        size_t i;

        json_array_foreach(list, i, c) {
                g_autofree char *ended = bh_json_when(c, "ended");

                bh_table_cell(t, *bh_json_text(c, "name") ? bh_json_text(c, "name") : bh_json_text(c, "id"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_dash(c, "asset"), *bh_json_text(c, "asset") ? BH_STYLE_BAD : BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(c, "workload"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(c, "application"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(c, "node"), BH_STYLE_NONE);
                bh_table_cell(t, *bh_json_text(c, "state") ? bh_json_text(c, "state") : "not known any more", BH_STYLE_NONE);
                bh_table_cell(t, ended, BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(c, "image"), BH_STYLE_NONE);
        }
        bh_table_print(t);
}

/* What was done about it, and what that kept from happening. */
static void print_responses(const json_t *list) {
        static const char *const headers[] = { "CREATED", "ACTION", "STATE", "CONTAINER", "REFUSES", ">ACTS", ">PACKETS", ">CALLS", "ACTOR", "REASON", "ID", NULL };
        g_autoptr(BhTable) t = bh_table_new(headers);

        for (size_t n = json_array_size(list); n-- > 0;) { /* as the timeline: the latest at the bottom */
                const json_t *r = json_array_get(list, n), *refused = json_object_get(r, "refused");
                g_autofree char *when = bh_json_when(r, "created"), *deny = some_of(json_object_get(r, "deny"));

                bh_table_cell(t, when, BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(r, "action"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(r, "state"), g_str_equal(bh_json_text(r, "state"), "failed") ? BH_STYLE_BAD : BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(r, "container_name"), BH_STYLE_NONE);
                bh_table_cell(t, *deny ? deny : "-", BH_STYLE_NONE);
                bh_table_number(t, bh_json_number(refused, "acts"));
                bh_table_number(t, bh_json_number(refused, "packets"));
                bh_table_number(t, bh_json_number(refused, "calls"));
                bh_table_cell(t, bh_json_text(r, "actor"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_dash(r, "reason"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(r, "id"), BH_STYLE_DIM);
        }
        bh_table_print(t);
        for (size_t n = json_array_size(list); n-- > 0;) {
                const json_t *r = json_array_get(list, n);
                g_autofree char *last = bh_json_cell(json_object_get(r, "refused"), "last");

                if (*last)
                        printf("%s, last: %s\n", bh_json_text(r, "id"), last);
        }
}

/* ---- processes ---- */

#define PROCESSES_SHOWN 256u
#define DEPTH_MAX 32u
#define NOBODY G_MAXUINT

/* Where the parent of each is in the list. */
static void find_parents(const json_t *list, guint n, guint *parents) {
        for (guint i = 0; i < n; i++) {
                const json_t *p = json_array_get(list, i);

                parents[i] = NOBODY;
                for (guint k = 0; k < n && parents[i] == NOBODY; k++) {
                        const json_t *x = json_array_get(list, k);

                        if (k != i && json_equal(json_object_get(x, "pid"), json_object_get(p, "parent_pid")) && json_equal(json_object_get(x, "started"), json_object_get(p, "parent_started")) &&
                            g_str_equal(bh_json_text(x, "node"), bh_json_text(p, "node")))
                                parents[i] = k;
                }
        }
}

static void print_process(const json_t *p, guint depth) {
        g_autoptr(GString) command = g_string_new(NULL);
        json_t *a;
        size_t n;

        json_array_foreach(json_object_get(p, "args"), n, a) {
                g_autofree char *safe = bh_escape_cell(json_string_value(a), -1);

                g_string_append_printf(command, "%s%.100s", n ? " " : "", safe);
                if (command->len > WIDTH)
                        break;
        }
        g_autofree char *exe = bh_json_cell(p, "exe"), *container = bh_json_cell(p, "container_id"), *origin = bh_json_cell(p, "origin_id");
        printf("%*s%" G_GUINT64_FORMAT " %s%s%s", (int) depth * 2, "", bh_json_number(p, "pid"), command->len ? command->str : exe, *container ? "  in " : "  on the node", "");
        if (*container)
                printf("%.12s", container);
        else if (*origin)
                printf(", out of %.12s", origin);
        putchar('\n');
}

static void print_below(const json_t *list, guint n, const guint *parents, guint of, guint depth) {
        for (guint i = 0; i < n; i++) {
                if (parents[i] != of)
                        continue;
                print_process(json_array_get(list, i), depth);
                if (depth < DEPTH_MAX)
                        print_below(list, n, parents, i, depth + 1);
        }
}

static void print_processes(const json_t *list) {
        guint all = (guint) json_array_size(list), n = MIN(all, PROCESSES_SHOWN);
        g_autofree guint *parents = g_new(guint, n);

        find_parents(list, n, parents);
        print_below(list, n, parents, NOBODY, 0);
        if (n < all)
                printf("and %u more: --json has them\n", all - n);
}

static void print_paths(const json_t *list) {
        json_t *f;
        size_t n;

        json_array_foreach(list, n, f) {
                g_autofree char *path = bh_json_cell(f, "path"), *act = bh_json_cell(f, "act"), *container = bh_json_cell(f, "container_name"), *node = bh_json_cell(f, "node");

                printf("%s  %s, %s%s\n", path, act, *container ? "in " : "on node ", *container ? container : node);
        }
}

static void print_flows(const json_t *list) {
        json_t *f;
        size_t n;

        json_array_foreach(list, n, f) {
                g_autofree char *peer = bh_json_cell(f, "peer"), *container = bh_json_cell(f, "container_name"), *node = bh_json_cell(f, "node");

                printf("%s %s %s port %" G_GUINT64_FORMAT "\n", *container ? container : node, g_str_equal(bh_json_text(f, "direction"), "in") ? "from" : "to", peer, bh_json_number(f, "port"));
        }
}

static void print_detail(const json_t *i) {
        const struct {
                const char *name, *title;
                void (*print)(const json_t *list);
        } parts[] = { { "processes", "Processes", print_processes }, { "files", "Files", print_paths }, { "credentials", "Credentials", print_paths }, { "flows", "Connections", print_flows } };

        for (guint n = 0; n < G_N_ELEMENTS(parts); n++)
                if (json_array_size(json_object_get(i, parts[n].name))) {
                        heading(parts[n].title);
                        parts[n].print(json_object_get(i, parts[n].name));
                }
}

/* ---- evidence ---- */

#define EVIDENCE_ASKED "500"
#define EVIDENCE_SHOWN 40u

/* Things that one would look into by themselves; looks at processes, events and containers come in numbers. */
static gboolean is_thing(const char *kind) {
        static const char *const others[] = { "process", "events", "container", NULL };

        return !g_strv_contains(others, kind);
}

/* The numbers are what "bulkhead evidence show" takes. */
static void print_evidence(const json_t *i, const json_t *answer) {
        const json_t *list = json_object_get(answer, "evidence");
        gboolean all = !json_is_string(json_object_get(answer, "next"));
        json_auto_t *shown = json_array();
        guint things = 0, others = 0;
        json_t *e;
        size_t n;

        json_array_foreach(list, n, e) {
                if (!is_thing(bh_json_text(e, "kind"))) {
                        others++;
                        continue;
                }
                if (things++ < EVIDENCE_SHOWN)
                        json_array_append(shown, e);
        }
        if (!things && !others)
                return;
        heading("Evidence");
        if (things)
                bh_cli_print_evidence(shown);
        if (things > EVIDENCE_SHOWN || others)
                printf("and %u more%s: bulkhead evidence list --incident %" G_GUINT64_FORMAT "\n", others + things - MIN(things, EVIDENCE_SHOWN), all ? "" : " of the latest " EVIDENCE_ASKED, bh_json_number(i, "id"));
        printf("Bytes of one: bulkhead evidence show ID -o FILE. All of it: bulkhead evidence export --incident %" G_GUINT64_FORMAT " -o FILE.tar\n", bh_json_number(i, "id"));
}

/* What the verdict changed of models, and what it could not; NULL: it teaches nothing. */
static void print_taught(const json_t *taught) {
        static const struct {
                const char *key, *says;
        } rest[] = { { "known", "accepted before" }, { "forbidden", "forbidden by name, which stays" }, { "gone", "not in the model any more" }, { "failed", "accepted, but not stored: see the central's log" } };

        if (!taught)
                return;
        printf("Items of models accepted: %" G_GUINT64_FORMAT, bh_json_number(taught, "accepted"));
        for (guint n = 0; n < G_N_ELEMENTS(rest); n++)
                if (bh_json_number(taught, rest[n].key))
                        printf("; %s: %" G_GUINT64_FORMAT, rest[n].says, bh_json_number(taught, rest[n].key));
        printf("%s. For rules: bulkhead incident ID exceptions.\n\n", json_is_true(json_object_get(taught, "more")) ? "; there are more findings than were looked at" : "");
}

/* "; of 14 points: stages 9, way out 3, surprise 2". `part`: not of all its lines, which the severity is of. */
static void print_weighed(const json_t *weighed, gboolean part) {
        static const struct {
                const char *key, *says;
        } parts[] = { { "stages", "stages" }, { "way_out", "way out" }, { "node", "node" }, { "asset", "asset" }, { "surprise", "surprise" } };
        g_autoptr(GString) text = g_string_new(NULL);
        guint64 sum = 0;

        for (guint n = 0; n < G_N_ELEMENTS(parts); n++) {
                const guint64 points = bh_json_number(weighed, parts[n].key);

                if (points)
                        g_string_append_printf(text, "%s%s %" G_GUINT64_FORMAT, text->len ? ", " : "", parts[n].says, points);
                sum += points;
        }
        if (sum)
                printf("Severity of %s%" G_GUINT64_FORMAT " points: %s (7 are high, 12 critical)\n", part ? "at least " : "", sum, text->str);
}

/* `evidence`: the answer to the question for it; NULL: none came. */
static void print_whole(const json_t *i, const json_t *evidence) {
        g_autofree char *title = bh_json_cell(i, "title"), *first = bh_json_when(i, "first"), *last = bh_json_when(i, "last"), *closed = bh_json_when(i, "closed");
        g_autofree char *assignee = bh_json_cell(i, "assignee"), *by = bh_json_cell(i, "closed_by"), *verdict = bh_json_cell(i, "verdict");
        json_t *comments = json_object_get(i, "comments"), *c;
        size_t n;

        printf("%sIncident %" G_GUINT64_FORMAT ": %s%s\n", bh_out_style(BH_STYLE_BOLD), bh_json_number(i, "id"), title, bh_out_style(BH_STYLE_NONE));
        printf("%s%s%s, %s, %s to %s%s%s\n", bh_out_style(style_of(i)), bh_json_text(i, "severity"), bh_out_style(BH_STYLE_NONE), bh_json_text(i, "state"), first, last,
               *assignee ? ", assigned to " : "", assignee);
        print_weighed(json_object_get(i, "weighed"), bh_json_number(i, "dropped") > 0);
        putchar('\n');
        if (json_object_get(i, "merged_into"))
                printf("It goes on as incident %" G_GUINT64_FORMAT ".\n\n", bh_json_number(i, "merged_into"));
        if (*verdict)
                printf("Closed %s by %s: %s.\n\n", closed, by, verdict);
        print_taught(json_object_get(i, "taught"));
        paragraph(bh_json_text(i, "story"));
        if (*bh_json_text(i, "now"))
                paragraph(bh_json_text(i, "now"));
        heading("Timeline");
        print_timeline(json_object_get(i, "timeline"));
        if (bh_json_number(i, "dropped"))
                printf("and %" G_GUINT64_FORMAT " more kinds of findings: \"bulkhead findings\" has them\n", bh_json_number(i, "dropped"));
        if (json_array_size(json_object_get(i, "containers"))) {
                heading("Containers");
                print_containers(json_object_get(i, "containers"));
        }
        if (json_array_size(json_object_get(i, "responses"))) {
                heading("Responses");
                print_responses(json_object_get(i, "responses"));
        }
        print_detail(i);
        print_evidence(i, evidence);
        if (json_array_size(comments))
                heading("Comments");
        json_array_foreach(comments, n, c) {
                g_autofree char *when = bh_json_when(c, "time"), *who = bh_json_cell(c, "who"), *text = bh_json_cell(c, "text");

                printf("%s  %s: %s\n", when, who, text);
        }
}

/* The error is read here, because the first argument sets it. */
static int show(BhApi *api, json_t *answer, gboolean json, GError *const *error) {
        json_auto_t *i = answer, *evidence = NULL;

        if (!i)
                return bh_cli_fail(*error);
        if (json) {
                bh_out_json(i);
        } else {
                g_autofree char *target = g_strdup_printf("/api/v1/evidence?limit=" EVIDENCE_ASKED "&incident=%" G_GUINT64_FORMAT, bh_json_number(i, "id"));
                g_autoptr(GError) why = NULL;

                evidence = bh_api_get(api, target, &why);
                print_whole(i, evidence);
                if (!evidence)
                        printf("\nIts evidence cannot be listed: %s\n", why->message);
        }
        return bh_out_finish();
}

static int show_exceptions(json_t *answer, gboolean json, GError *const *error) {
        json_auto_t *o = answer;

        if (!o)
                return bh_cli_fail(*error);
        if (json)
                bh_out_json(o);
        else
                fputs(bh_json_text(o, "yaml"), stdout);
        return bh_out_finish();
}

typedef struct {
        const char *name, *takes, *member;
        gboolean number, many;
} Act;

static const Act *act_of(const char *name) {
        static const Act acts[] = {
                { "exceptions", NULL, NULL, FALSE, FALSE },
                { "assign", "a user", "user", FALSE, FALSE },
                { "comment", "a text", "text", FALSE, FALSE },
                { "close", "true_positive, false_positive or benign", "verdict", FALSE, FALSE },
                { "merge", "the number of the incident that goes on", "into", TRUE, FALSE },
                { "split", "findings of its timeline: \"bulkhead incident ID\" has them in the last column", "findings", FALSE, TRUE },
        };

        for (guint n = 0; n < G_N_ELEMENTS(acts); n++)
                if (g_str_equal(name, acts[n].name))
                        return &acts[n];
        return NULL;
}

int bh_cmd_incident(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE;
        g_autofree char *comment = NULL;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "as JSON", NULL },
                { "comment", 'm', 0, G_OPTION_ARG_STRING, &comment, "with close: why", "TEXT" },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) target = g_string_new("/api/v1/incidents");

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, "ID [assign USER | comment TEXT | close VERDICT | merge ID | split FINDING… | exceptions]", "Tells an incident: what happened, in order, where, and what became of the containers.",
                              "close takes true_positive, false_positive or benign; assign \"\" takes it from whoever has it. merge puts all of it into the incident with the number given, which goes on;\n"
                              "split makes lines of the timeline, named by their findings, an incident of their own. exceptions prints a rule file that would have kept it quiet.\n"))
                return BH_EXIT_USAGE;
        const char *id = argc > 1 ? argv[1] : NULL, *act = argc > 2 ? argv[2] : NULL, *value = argc > 3 ? argv[3] : NULL;
        if (!id || !g_ascii_isdigit(*id) || strspn(id, "0123456789") != strlen(id))
                return bh_cli_usage("it takes the number of an incident: \"bulkhead incidents\" lists them");
        const Act *a = act ? act_of(act) : NULL;
        if (act && !a)
                return bh_cli_usage("an incident can be assigned (assign USER), commented (comment TEXT), closed (close VERDICT), merged (merge ID) and split (split FINDING…), or asked for exceptions, not \"%s\"", act);
        if (argc > 4 && !(a && a->many))
                return bh_cli_usage("a text with blanks goes into quotes, not \"%s\" behind it", argv[4]);
        if (a && !a->takes && value)
                return bh_cli_usage("%s takes nothing, not \"%s\"", act, value);
        if (a && a->takes && !value)
                return bh_cli_usage("%s takes %s", act, a->takes);
        if (a && a->number && (!g_ascii_isdigit(*value) || strspn(value, "0123456789") != strlen(value) || strlen(value) > 15))
                return bh_cli_usage("%s takes %s", act, a->takes);
        if (comment && (!act || !g_str_equal(act, "close")))
                return bh_cli_usage("--comment goes with close");
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        bh_api_segment(target, id);
        if (!act)
                return show(api, bh_api_get(api, target->str, &error), json, &error);
        bh_api_segment(target, act);
        if (!a->takes)
                return show_exceptions(bh_api_get(api, target->str, &error), json, &error);
        json_t *body = json_object();
        g_autofree char *values = a->many ? g_strjoinv(",", argv + 3) : g_strdup(value);
        json_object_set_new(body, a->member, a->number ? json_integer((json_int_t) g_ascii_strtoull(value, NULL, 10)) : json_string(values));
        if (comment)
                json_object_set_new(body, "comment", json_string(comment));
        return show(api, bh_api_send(api, "POST", target->str, body, &error), json, &error);
}

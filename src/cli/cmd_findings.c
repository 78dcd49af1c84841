/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "base/escape.h"
#include "commands.h"
#include "lists.h"
#include "event/codec.h"
#include "output.h"
#include "signals.h"

#define FINDINGS_DEFAULT 100
#define AGAIN_US (60 * G_USEC_PER_SEC) /* a finding that grows is shown again after so long */
#define SHOWN_MAX 10000u

static const char *const priorities[] = { "emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug" };

/* 8: none of them. */
static guint rank_of(const char *priority) {
        for (guint i = 0; i < G_N_ELEMENTS(priorities); i++)
                if (g_ascii_strcasecmp(priority, priorities[i]) == 0)
                        return i;
        return G_N_ELEMENTS(priorities);
}

static BhStyle style_of(const json_t *finding) {
        return rank_of(bh_json_text(finding, "priority")) <= 3 ? BH_STYLE_BAD : BH_STYLE_NONE;
}

/* "web", "0123456789ab", "-" on the host. Caller frees. */
static char *container_of(const json_t *f) {
        const char *name = bh_json_text(f, "container_name"), *id = bh_json_text(f, "container_id");

        return *name ? g_strdup(name) : *id ? g_strndup(id, 12) : g_strdup("-");
}

/* ---- lists ---- */

static void print_table(const json_t *list) {
        static const char *const headers[] = { "LAST", "PRIORITY", ">COUNT", "RULE", "NODE", "CONTAINER", "ID", "WHAT", NULL };
        g_autoptr(BhTable) t = bh_table_new(headers);

        for (size_t i = json_array_size(list); i-- > 0;) { /* the latest at the bottom, as events */
                json_t *f = json_array_get(list, i);
                g_autofree char *when = bh_json_when(f, "last"), *container = container_of(f);

                bh_table_cell(t, when, BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(f, "priority"), style_of(f));
                bh_table_number(t, bh_json_number(f, "count"));
                bh_table_cell(t, bh_json_text(f, "rule"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(f, "node"), BH_STYLE_NONE);
                bh_table_cell(t, container, BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(f, "id"), BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(f, "output"), BH_STYLE_NONE);
        }
        bh_table_print(t);
}

static void print_line(const json_t *f) {
        g_autofree char *when = bh_json_when(f, "last"), *container = container_of(f), *shown = bh_escape_cell(container, -1), *rule = bh_json_cell(f, "rule");
        g_autofree char *output = bh_json_cell(f, "output"), *priority = bh_json_cell(f, "priority");
        guint64 count = bh_json_number(f, "count");

        printf("%s%s%s  %s%-8s%s  %s  %s  %s", bh_out_style(BH_STYLE_DIM), when, bh_out_style(BH_STYLE_NONE), bh_out_style(style_of(f)), priority, bh_out_style(BH_STYLE_NONE), shown,
               rule, output);
        if (count > 1)
                printf("  (%" G_GUINT64_FORMAT " times)", count);
        putchar('\n');
}

/* ---- one, with all that is known of it ---- */

static void print_pair(const char *name, const json_t *v) {
        char *text = json_is_string(v) ? NULL : json_dumps(v, JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
        g_autofree char *key = bh_escape_cell(name, -1), *cell = bh_escape_cell(text ? text : json_string_value(v), -1);

        if (*cell && !g_str_equal(cell, "[]") && !g_str_equal(cell, "{}"))
                printf("  %-22s %s\n", key, g_str_equal(cell, "null") ? "<NA>" : cell);
        free(text);
}

static void heading(const char *text) {
        printf("\n%s%s%s\n", bh_out_style(BH_STYLE_BOLD), text, bh_out_style(BH_STYLE_NONE));
}

static void print_lineage(const json_t *lineage) {
        json_t *p, *arg;
        size_t i, k;

        if (!json_array_size(lineage))
                return;
        heading("Process, its parent, and so on");
        json_array_foreach(lineage, i, p) {
                g_autoptr(GString) args = g_string_new(NULL);

                if (!json_is_object(p)) {
                        printf("  … more that are not known\n");
                        continue;
                }
                json_array_foreach(json_object_get(p, "args"), k, arg) {
                        g_autofree char *one = bh_escape_cell(json_string_value(arg), -1);

                        g_string_append_printf(args, "%s%s", k ? " " : "", one);
                }
                g_autofree char *exe = bh_json_cell(p, "exe"), *user = bh_json_cell(p, "user"), *in = g_strndup(bh_json_text(p, "container_id"), 12), *where = bh_escape_cell(in, -1);
                g_autofree char *began = bh_json_when(p, "started");
                printf("  %*s%" G_GUINT64_FORMAT "  %s", (int) MIN(i, 20) * 2, "", bh_json_number(p, "pid"), *exe ? exe : "?");
                if (args->len)
                        printf("  [%s]", args->str);
                printf("  user %s%s%s, since %s, %s %s\n", *user ? user : "", *user ? " " : "", "", began, *where ? "in" : "on the", *where ? where : "host");
        }
}

static void print_container(const json_t *c) {
        static const char *const shown[] = { "name", "id", "image", "image_digest", "runtime", "workload", "application", "user", "network_mode", "pid_mode", "started" };
        static const char *const levers[] = { "privileged", "host_network", "host_pid", "host_ipc", "host_userns" };
        g_autoptr(GString) has = g_string_new(NULL);

        if (!json_is_object(c))
                return;
        heading("Container, as it was then");
        for (guint i = 0; i < G_N_ELEMENTS(shown); i++)
                if (json_object_get(c, shown[i]) && !json_is_null(json_object_get(c, shown[i])))
                        print_pair(shown[i], json_object_get(c, shown[i]));
        for (guint i = 0; i < G_N_ELEMENTS(levers); i++)
                if (json_is_true(json_object_get(c, levers[i])))
                        g_string_append_printf(has, "%s%s", has->len ? ", " : "", levers[i]);
        printf("  %-22s %s\n", "levers on the host", has->len ? has->str : "none of privileged and host namespaces");
        print_pair("mounts", json_object_get(c, "mounts"));
}

static void print_whole(const json_t *f) {
        static const char *const shown[] = { "id", "rule", "priority", "kind", "source", "output", "tags", "node", "hostname", "container_name", "container_id", "image", "workload", "application" };
        g_autofree char *first = bh_json_when(f, "time"), *last = bh_json_when(f, "last"), *what = bh_json_cell(f, "description"), *advice = bh_json_cell(f, "advice");
        guint64 count = bh_json_number(f, "count");
        const char *name;
        json_t *v;

        for (guint i = 0; i < G_N_ELEMENTS(shown); i++)
                print_pair(shown[i], json_object_get(f, shown[i]));
        printf("  %-22s %s\n", count > 1 ? "first" : "time", first);
        if (count > 1)
                printf("  %-22s %s\n  %-22s %" G_GUINT64_FORMAT " equal ones\n", "last", last, "count", count);
        if (*what)
                printf("\n%s\n", what);
        if (*advice) {
                heading("What to do");
                printf("%s\n", advice);
        }
        if (json_object_size(json_object_get(f, "output_fields"))) {
                heading("Fields of the output");
                json_object_foreach(json_object_get(f, "output_fields"), name, v)
                        print_pair(name, v);
        }
        print_lineage(json_object_get(f, "lineage"));
        print_container(json_object_get(f, "container"));
        if (json_is_object(json_object_get(f, "event"))) {
                heading(count > 1 ? "Event, of the first" : "Event");
                json_object_foreach(json_object_get(f, "event"), name, v)
                        print_pair(name, v);
        }
}

static int one_finding(BhApi *api, const char *id, gboolean json, GError **error) {
        g_autoptr(GString) target = g_string_new("/api/v1/findings");

        bh_api_segment(target, id);
        json_auto_t *f = bh_api_get(api, target->str, error);
        if (!f)
                return bh_cli_fail(*error);
        if (json)
                bh_out_json(f);
        else
                print_whole(f);
        return bh_out_finish();
}

/* ---- live ---- */

typedef struct {
        gboolean json;
        guint max_rank;
        const char *rule, *container, *workload, *application, *node, *search;
        gboolean listing;  /* recorded ones are still being asked for */
        GPtrArray *early;  /* json_t: what came meanwhile */
        GHashTable *shown; /* char *id -> gint64 * when */
        char *reset;
} Live;

/* The same patterns as the API's: * and ?. */
static gboolean glob(const char *pattern, const char *text) {
        const char *star = NULL, *resume = NULL;

        while (*text) {
                if (*pattern == '*') {
                        star = pattern++;
                        resume = text;
                } else if (*pattern == '?' || *pattern == *text) {
                        text = *pattern == '?' ? g_utf8_next_char(text) : text + 1;
                        pattern++;
                } else if (star) {
                        pattern = star + 1;
                        text = ++resume;
                } else {
                        return FALSE;
                }
        }
        while (*pattern == '*')
                pattern++;
        return !*pattern;
}

static gboolean is(const char *wanted, const json_t *f, const char *key) {
        return !wanted || g_str_equal(wanted, bh_json_text(f, key));
}

static gboolean contains(const json_t *f, const char *text) {
        g_autofree char *all = g_strjoin(" ", bh_json_text(f, "rule"), bh_json_text(f, "output"), bh_json_text(f, "container_name"), NULL);
        g_autofree char *hay = g_ascii_strdown(all, -1), *needle = g_ascii_strdown(text, -1);

        return strstr(hay, needle) != NULL;
}

static gboolean wanted(const Live *l, const json_t *f) {
        const char *c = l->container, *id = bh_json_text(f, "container_id");

        return rank_of(bh_json_text(f, "priority")) <= l->max_rank && (!l->rule || glob(l->rule, bh_json_text(f, "rule"))) &&
               (!c || g_str_equal(c, id) || g_str_equal(c, bh_json_text(f, "container_name")) || (strlen(c) >= 4 && g_str_has_prefix(id, c))) &&
               is(l->workload, f, "workload") && is(l->application, f, "application") && is(l->node, f, "node") && (!l->search || contains(f, l->search));
}

static void show_live(Live *l, const json_t *f) {
        const char *id = bh_json_text(f, "id");
        gint64 now = g_get_monotonic_time(), *when = g_hash_table_lookup(l->shown, id);

        if (!wanted(l, f) || (when && now - *when < AGAIN_US))
                return;
        if (g_hash_table_size(l->shown) >= SHOWN_MAX)
                g_hash_table_remove_all(l->shown);
        g_hash_table_insert(l->shown, g_strdup(id), g_memdup2(&now, sizeof(now)));
        if (l->json)
                bh_out_json(f);
        else
                print_line(f);
}

static gboolean on_event(const char *event, const char *data, gsize len, gpointer user) {
        Live *l = user;

        if (g_str_equal(event, "reset"))
                fprintf(stderr, "bulkhead: some findings were missed here; \"bulkhead findings\" lists all\n");
        if (!g_str_equal(event, "finding"))
                return TRUE;
        json_auto_t *change = json_loadb(data, len, JSON_ALLOW_NUL, NULL);
        json_t *f = json_object_get(change, "object");
        if (!json_is_object(f))
                return TRUE;
        if (l->listing)
                g_ptr_array_add(l->early, json_incref(f));
        else
                show_live(l, f);
        return TRUE;
}

static void unref_json(gpointer o) {
        json_decref(o);
}

/* Shows the recorded ones, then what comes. */
static int follow(BhApi *api, const char *recorded, guint limit, Live *l, GError **error) {
        BhClientState state = BH_CLIENT_MORE;

        bh_stop_install();
        setvbuf(stdout, NULL, _IOLBF, 65536);
        l->early = g_ptr_array_new_with_free_func(unref_json);
        l->shown = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        l->listing = recorded != NULL;
        g_autoptr(BhApiStream) stream = bh_api_stream_new(api, "/api/v1/stream", on_event, l);
        if (recorded) {
                /* what happens between is in both, or in the stream */
                for (guint i = 0; i < 3 && state == BH_CLIENT_MORE; i++)
                        state = bh_api_stream_run(stream, 100, error);
                json_auto_t *list = state == BH_CLIENT_MORE ? bh_api_list(api, recorded, "findings", limit, NULL, error) : NULL;
                if (!list)
                        return bh_cli_fail(*error);
                for (size_t i = json_array_size(list); i-- > 0;)
                        show_live(l, json_array_get(list, i));
                l->listing = FALSE;
                for (guint i = 0; i < l->early->len; i++)
                        show_live(l, l->early->pdata[i]);
        }
        while (state == BH_CLIENT_MORE && !bh_stop_asked() && !ferror(stdout))
                state = bh_api_stream_run(stream, 500, error);
        g_ptr_array_unref(l->early);
        g_hash_table_unref(l->shown);
        if (bh_stop_asked())
                return bh_out_finish();
        if (state == BH_CLIENT_FAILED)
                return bh_cli_fail(*error);
        if (!ferror(stdout))
                fprintf(stderr, "bulkhead: the central closed the stream: is it stopping?\n");
        return bh_out_finish() || !ferror(stdout) ? BH_EXIT_FAILED : BH_EXIT_OK;
}

/* ---- the command ---- */

int bh_cmd_findings(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE, live = FALSE;
        gint limit = -1;
        g_autofree char *priority = NULL, *rule = NULL, *node = NULL, *container = NULL, *workload = NULL, *application = NULL, *search = NULL, *since = NULL;
        GOptionEntry entries[] = {
                { "follow", 'f', 0, G_OPTION_ARG_NONE, &live, "show findings as they come; one that comes again and again is shown once a minute", NULL },
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "one JSON object a line, with the names of Falco's alerts; the latest first", NULL },
                { "priority", 'p', 0, G_OPTION_ARG_STRING, &priority, "only of this priority or a more important one (warning, error, …)", "P" },
                { "rule", 0, 0, G_OPTION_ARG_STRING, &rule, "only of rules like this, with * (at most three) and ?", "RULE" },
                { "container", 'c', 0, G_OPTION_ARG_STRING, &container, "only of this container: name, id, or the id's beginning", "C" },
                { "workload", 0, 0, G_OPTION_ARG_STRING, &workload, "only of this workload", "WORKLOAD" },
                { "application", 0, 0, G_OPTION_ARG_STRING, &application, "only of this application", "APP" },
                { "node", 0, 0, G_OPTION_ARG_STRING, &node, "only of this node", "NODE" },
                { "search", 0, 0, G_OPTION_ARG_STRING, &search, "only with this text in rule, output or the container's name", "TEXT" },
                { "since", 's', 0, G_OPTION_ARG_STRING, &since, "only of the last 90s, 10m, 2h, 1d", "TIME" },
                { "limit", 'n', 0, G_OPTION_ARG_INT, &limit, "the last N (default 100, with -f none; 0: all)", "N" },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) target = g_string_new("/api/v1/findings");

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, "[ID]", "Lists findings: what rules matched, and what is wrong with sensors. With an ID: that one, with its event, processes and container.",
                              "Equal findings are one row with their number. \"bulkhead output\" sends findings elsewhere.\n"))
                return BH_EXIT_USAGE;
        if (argc > 2)
                return bh_cli_usage("it takes one ID at most, not \"%s\" as well", argv[2]);
        if (limit < -1)
                return bh_cli_usage("--limit must not be negative");
        if (live && argc > 1)
                return bh_cli_usage("--follow and an ID exclude each other");
        if (priority && rank_of(priority) >= G_N_ELEMENTS(priorities))
                return bh_cli_usage("--priority takes emergency, alert, critical, error, warning, notice, informational or debug, not \"%s\"", priority);
        if (!bh_list_since(target, since))
                return BH_EXIT_USAGE;
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        if (argc > 1)
                return one_finding(api, argv[1], json, &error);
        bh_api_param(target, "priority", priority);
        bh_api_param(target, "rule_glob", rule);
        bh_api_param(target, "container", container);
        bh_api_param(target, "workload", workload);
        bh_api_param(target, "application", application);
        bh_api_param(target, "node", node);
        bh_api_param(target, "search", search);
        if (live) {
                Live l = { .json = json, .max_rank = priority ? rank_of(priority) : G_N_ELEMENTS(priorities), .rule = rule, .container = container, .workload = workload,
                           .application = application, .node = node, .search = search };

                return follow(api, since || limit >= 0 ? target->str : NULL, limit >= 0 ? (guint) limit : 0, &l, &error);
        }

        return bh_list_print(api, target->str, "findings", limit < 0 ? FINDINGS_DEFAULT : (guint) limit, json, print_table, "no findings");
}

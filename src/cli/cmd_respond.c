/* SPDX-License-Identifier: Apache-2.0 */
/* `bulkhead respond ACTION TARGET`, `bulkhead responses [ID]` */
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "base/escape.h"
#include "commands.h"
#include "lists.h"
#include "output.h"

#define RESPONSES_DEFAULT 50

static const char *const actions[] = { "isolate", "quarantine", "pause", "block", "decoy", "kill", "stop", "restart", "kill-process", "kill-tree", "scale-to-zero", "release", NULL };

static BhStyle style_of(const json_t *r) {
        const char *state = bh_json_text(r, "state");

        return g_str_equal(state, "failed") ? BH_STYLE_BAD : g_str_equal(state, "active") || g_str_equal(state, "pending") ? BH_STYLE_BOLD : BH_STYLE_DIM;
}

static void print_table(const json_t *list) {
        static const char *const headers[] = { "ID", "CREATED", "ACTION", "STATE", "CONTAINER", "WORKLOAD", "NODE", "UNTIL", "ACTOR", "REASON", "RESULT", NULL };
        g_autoptr(BhTable) t = bh_table_new(headers);

        for (size_t n = json_array_size(list); n-- > 0;) { /* the latest at the bottom, as findings */
                json_t *r = json_array_get(list, n);
                g_autofree char *when = bh_json_when(r, "created"), *until = bh_json_when(r, "until");
                gboolean releasing = json_is_true(json_object_get(r, "releasing"));

                bh_table_cell(t, bh_json_text(r, "id"), BH_STYLE_NONE);
                bh_table_cell(t, when, BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(r, "action"), BH_STYLE_NONE);
                bh_table_cell(t, releasing ? "releasing" : bh_json_text(r, "state"), style_of(r));
                bh_table_cell(t, bh_json_text(r, "container_name"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(r, "workload"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(r, "node"), BH_STYLE_NONE);
                bh_table_cell(t, until && *until ? until : "-", BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(r, "actor"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_dash(r, "reason"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(r, "result"), BH_STYLE_NONE);
        }
        bh_table_print(t);
}

static void print_sentences(const char *what, const json_t *list) {
        json_t *one;
        size_t i;

        json_array_foreach(list, i, one) {
                g_autofree char *text = bh_escape_cell(json_string_value(one) ? json_string_value(one) : "", -1);

                printf("  %s: %s\n", what, text);
        }
}

/* Exit code: what was asked for did not come to be. */
static int print_one(const json_t *r, gboolean json) {
        const char *state = bh_json_text(r, "state");
        g_autofree char *container = bh_json_cell(r, "container_name"), *result = bh_json_cell(r, "result"), *until = bh_json_when(r, "until");
        json_t *detail = json_object_get(r, "detail"), *led = json_object_get(detail, "led"), *last_led = json_object_get(detail, "last_led"), *processes = json_object_get(detail, "process_list"), *one;
        size_t i;

        if (json) {
                bh_out_json(r);
        } else {
                printf("%s %s of %s on %s: %s%s%s, %s%s%s\n", bh_json_text(r, "id"), bh_json_text(r, "action"), container, bh_json_text(r, "node"), bh_out_style(style_of(r)), state, bh_out_style(BH_STYLE_NONE), result,
                       json_is_string(json_object_get(r, "until")) ? ", until " : "", json_is_string(json_object_get(r, "until")) ? until : "");
                print_sentences("still open", json_object_get(detail, "open"));
                print_sentences("note", json_object_get(detail, "notes"));
                if (led)
                        printf("  led to the decoy: %" JSON_INTEGER_FORMAT " connections\n", json_integer_value(json_object_get(led, "connections")));
                json_array_foreach(last_led, i, one) {
                        g_autofree char *comm = bh_json_cell(one, "comm"), *time = bh_json_cell(one, "time"), *asked = bh_json_cell(one, "asked"), *from = bh_json_cell(one, "from");

                        printf("  %s %s (pid %" JSON_INTEGER_FORMAT ") from %s asked for %s\n", time, comm, json_integer_value(json_object_get(one, "pid")), from, asked);
                }
                json_array_foreach(processes, i, one) {
                        g_autofree char *comm = bh_json_cell(one, "comm"), *started = bh_json_cell(one, "started");

                        printf("  process %" JSON_INTEGER_FORMAT " started %s: %s\n", json_integer_value(json_object_get(one, "pid")), started, comm);
                }
        }
        return bh_out_finish() == BH_EXIT_OK && !g_str_equal(state, "failed") ? BH_EXIT_OK : BH_EXIT_FAILED;
}

/* ID, or whatever goes on of this container. NULL with *error. */
static json_t *to_release(BhApi *api, const char *target, GError **error) {
        g_autoptr(GString) one = g_string_new("/api/v1/responses"), all = g_string_new("/api/v1/responses");
        g_autoptr(GError) none = NULL;

        bh_api_segment(one, target);
        json_t *r = bh_api_get(api, one->str, &none);
        if (r) {
                json_t *list = json_array();

                json_array_append_new(list, r);
                return list;
        }
        if (!g_error_matches(none, BH_API_ERROR, BH_API_ERROR_NOT_FOUND)) {
                g_propagate_error(error, g_steal_pointer(&none));
                return NULL;
        }
        bh_api_param(all, "container", target);
        bh_api_param(all, "open", "true");
        return bh_api_list(api, all->str, "responses", 0, NULL, error);
}

static int release(BhApi *api, const char *target, const char *reason, gboolean force, gboolean json) {
        g_autoptr(GError) error = NULL;
        json_auto_t *list = to_release(api, target, &error);
        json_t *r;
        size_t i;
        int code = BH_EXIT_OK;

        if (!list)
                return bh_cli_fail(error);
        if (!json_array_size(list)) {
                g_set_error(&error, BH_API_ERROR, BH_API_ERROR_NOT_FOUND, "there is no response \"%s\", and none that goes on of a container of that name: \"bulkhead responses\" lists them", target);
                return bh_cli_fail(error);
        }
        json_array_foreach(list, i, r) {
                g_autoptr(GString) path = g_string_new("/api/v1/responses");
                json_t *body = json_object();

                bh_api_segment(path, bh_json_text(r, "id"));
                bh_api_segment(path, "release");
                if (reason)
                        json_object_set_new(body, "reason", json_string(reason));
                if (force)
                        json_object_set_new(body, "force", json_true());
                json_auto_t *done = bh_api_send(api, "POST", path->str, body, &error);
                if (!done)
                        return bh_cli_fail(error);
                code = MAX(code, print_one(done, json));
        }
        return code;
}

static void set_lines(json_t *body, const char *name, char **texts) {
        g_autofree char *lines = texts ? g_strjoinv("\n", texts) : NULL;

        if (lines)
                json_object_set_new(body, name, json_string(lines));
}

/* What a block refuses: see response/deny.h. */
static char **denied(char **peers, char **exec, char **only, char **hash, char **file, char **cap, const gboolean *flags) {
        static const char *const words[] = { "exec-not-in-image", "mount", "ptrace", "module", "observe" };
        g_autoptr(GStrvBuilder) all = g_strv_builder_new();
        const struct {
                char **texts;
                const char *before;
        } lists[] = { { peers, "" }, { exec, "exec:" }, { only, "exec-only:" }, { hash, "exec-hash:" }, { file, "file:" }, { cap, "cap:" } };
        gboolean any = FALSE;

        for (guint i = 0; i < G_N_ELEMENTS(lists); i++)
                for (char **t = lists[i].texts; t && *t; t++) {
                        g_autofree char *text = g_strconcat(lists[i].before, *t, NULL);

                        g_strv_builder_add(all, text);
                        any = TRUE;
                }
        for (guint i = 0; i < G_N_ELEMENTS(words); i++)
                if (flags[i]) {
                        g_strv_builder_add(all, words[i]);
                        any = TRUE;
                }
        return any ? g_strv_builder_end(all) : NULL;
}

int bh_cmd_respond(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE, dry = FALSE, best = FALSE, force = FALSE, project = FALSE;
        g_autofree char *ttl = NULL, *reason = NULL, *node = NULL, *confirm = NULL, *started = NULL;
        gint pid = 0;
        g_autofree char *to = NULL;
        g_auto(GStrv) allow = NULL, deny = NULL, lead = NULL, exec = NULL, only = NULL, hash = NULL, file = NULL, cap = NULL, refused = NULL;
        gboolean flags[5] = { FALSE }; /* as in denied() */
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "as JSON", NULL },
                { "dry-run", 0, 0, G_OPTION_ARG_NONE, &dry, "say what would be done", NULL },
                { "ttl", 0, 0, G_OPTION_ARG_STRING, &ttl, "release it by itself after 90s, 10m, 2h, 1d (default: never)", "TIME" },
                { "reason", 'm', 0, G_OPTION_ARG_STRING, &reason, "why, for the ledger", "TEXT" },
                { "allow", 0, 0, G_OPTION_ARG_STRING_ARRAY, &allow, "isolate, quarantine: a peer that remains (10.0.0.1:443/tcp, peer:www.example.com); may be given several times", "PEER" },
                { "deny", 0, 0, G_OPTION_ARG_STRING_ARRAY, &deny, "block: a peer that is refused (10.0.0.0/8, peer:*.example.com:443); may be given several times", "PEER" },
                { "lead", 0, 0, G_OPTION_ARG_STRING_ARRAY, &lead, "decoy: a destination, to which TCP connections are led to the decoy and all else is refused (10.0.0.9:6379, 203.0.113.0/24, *:22); several times", "PEER" },
                { "to", 0, 0, G_OPTION_ARG_STRING, &to, "decoy: where it listens, as the container reaches it (10.0.0.5:7000)", "ADDRESS:PORT" },
                { "exec", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &exec, "block: a program that must not run, by its path in the container; several times", "PATH" },
                { "exec-only", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &only, "block: nothing runs but these programs of the image, or with any: before the path whatever is there; several times", "[any:]PATH" },
                { "observe", 0, 0, G_OPTION_ARG_NONE, &flags[4], "with --exec-only: tell what would be refused, and let it run", NULL },
                { "exec-hash", 0, 0, G_OPTION_ARG_STRING_ARRAY, &hash, "block: programs of this content, wherever they are, like sha256:1f…; takes --best-effort; several times", "HASH" },
                { "exec-not-in-image", 0, 0, G_OPTION_ARG_NONE, &flags[0], "block: programs that are not from the image", NULL },
                { "file", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &file, "block: a file, or a folder with / at its end; several times", "[rwcd:]PATH" },
                { "cap", 0, 0, G_OPTION_ARG_STRING_ARRAY, &cap, "block: the use of a capability, like net_raw; several times", "NAME" },
                { "mount", 0, 0, G_OPTION_ARG_NONE, &flags[1], "block: mounting", NULL },
                { "ptrace", 0, 0, G_OPTION_ARG_NONE, &flags[2], "block: tracing other processes", NULL },
                { "module", 0, 0, G_OPTION_ARG_NONE, &flags[3], "block: loading kernel modules", NULL },
                { "best-effort", 0, 0, G_OPTION_ARG_NONE, &best, "also where the node cannot close every way", NULL },
                { "force", 0, 0, G_OPTION_ARG_NONE, &force, "also beyond the bound of what may be held at once; release: also a workload that cannot be scaled back, which is left as it is", NULL },
                { "confirm", 0, 0, G_OPTION_ARG_STRING, &confirm, "kill, kill-process, kill-tree, stop, restart: the container's name once more; scale-to-zero: the service's, or with --project the project's", "NAME" },
                { "pid", 0, 0, G_OPTION_ARG_INT, &pid, "kill-process, kill-tree: the process's number on its node", "PID" },
                { "started", 0, 0, G_OPTION_ARG_STRING, &started, "with --pid: when it began, as --dry-run, events and lists of processes tell it", "TIME" },
                { "project", 0, 0, G_OPTION_ARG_NONE, &project, "scale-to-zero: all services of its project of Compose", NULL },
                { "node", 0, 0, G_OPTION_ARG_STRING, &node, "the container's node, with its whole id as target", "NODE" },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, "isolate|quarantine|pause|block|decoy|kill|stop|restart|kill-process|kill-tree|scale-to-zero|release TARGET", "Acts on a container: cuts it off, freezes it, leads it to a decoy, ends it; and undoes that.",
                              "TARGET is a container's name or id; of release also a response's id.\n"
                              "PEER is an address, a network, a port, a protocol: 10.0.0.1, 10.0.0.0/8, 10.0.0.1:443, [fd00::1]:53/udp, *:53/udp.\n"
                              "Docker's own name server is 127.0.0.11 inside containers.\n"
                              "A process is named by its number and when it began, so that none is meant that has the number by now: kill-process and kill-tree with --pid and\n"
                              "--dry-run tell it. A tree is all that descend from it, whoever their parent is now. scale-to-zero takes all containers of the target's service away, of a\n"
                              "Swarm or of Compose, until it is released.\n"
                              "What a node can refuse, and how surely, says \"bulkhead status --json\": responses.guarantees.\n"))
                return BH_EXIT_USAGE;
        const char *action = argc > 1 ? argv[1] : NULL, *target = argc > 2 ? argv[2] : NULL;
        if (!action || !g_strv_contains(actions, action))
                return bh_cli_usage("it takes what to do: isolate, quarantine, pause, block, decoy, kill, stop, restart, kill-process, kill-tree, scale-to-zero or release%s%s", action ? ", not " : "", action ? action : "");
        if (!target)
                return bh_cli_usage("%s takes a container: its name or id", action);
        if (argc > 3)
                return bh_cli_usage("one target at a time, not also \"%s\"", argv[3]);
        if ((lead || to) && !g_str_equal(action, "decoy"))
                return bh_cli_usage("--lead and --to go with decoy");
        if (g_str_equal(action, "decoy") && (!lead || !to))
                return bh_cli_usage("decoy takes --lead PEER, from where is led, and --to ADDRESS:PORT, where the decoy listens");
        if (ttl && !bh_cli_duration(ttl))
                return bh_cli_usage("--ttl takes a number with s, m, h or d, like 10m, not \"%s\"", ttl);
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        if (g_str_equal(action, "release"))
                return release(api, target, reason, force, json);

        json_t *body = json_object();
        json_object_set_new(body, "action", json_string(action));
        json_object_set_new(body, "container", json_string(target));
        if (node)
                json_object_set_new(body, "node", json_string(node));
        if (reason)
                json_object_set_new(body, "reason", json_string(reason));
        if (confirm)
                json_object_set_new(body, "confirm", json_string(confirm));
        if (ttl)
                json_object_set_new(body, "ttl", json_integer((json_int_t) (bh_cli_duration(ttl) / G_USEC_PER_SEC / 1000)));
        if (pid)
                json_object_set_new(body, "pid", json_integer(pid));
        if (started)
                json_object_set_new(body, "started", json_string(started));
        if (project)
                json_object_set_new(body, "project", json_true());
        set_lines(body, "allow", allow);
        refused = denied(deny, exec, only, hash, file, cap, flags);
        for (char **t = refused; t && *t; t++)
                if (!g_utf8_validate(*t, -1, NULL)) {
                        json_decref(body);
                        return bh_cli_usage("paths must be UTF-8");
                }
        set_lines(body, "deny", refused);
        set_lines(body, "lead", lead);
        if (to)
                json_object_set_new(body, "to", json_string(to));
        json_object_set_new(body, "dry_run", json_boolean(dry));
        json_object_set_new(body, "best_effort", json_boolean(best));
        json_object_set_new(body, "force", json_boolean(force));
        json_auto_t *done = bh_api_send(api, "POST", "/api/v1/responses", body, &error);
        return done ? print_one(done, json) : bh_cli_fail(error);
}

int bh_cmd_responses(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE, open = FALSE;
        gint limit = -1;
        g_autofree char *state = NULL, *container = NULL, *node = NULL, *workload = NULL, *application = NULL;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "one JSON object a line, the latest first", NULL },
                { "open", 0, 0, G_OPTION_ARG_NONE, &open, "only those that go on", NULL },
                { "state", 0, 0, G_OPTION_ARG_STRING, &state, "only those that are pending, active, released, gone, done or failed", "STATE" },
                { "container", 'c', 0, G_OPTION_ARG_STRING, &container, "only of this container: name or whole id", "C" },
                { "workload", 0, 0, G_OPTION_ARG_STRING, &workload, "only of this workload", "WORKLOAD" },
                { "application", 0, 0, G_OPTION_ARG_STRING, &application, "only of this application", "APP" },
                { "node", 0, 0, G_OPTION_ARG_STRING, &node, "only on this node", "NODE" },
                { "limit", 'n', 0, G_OPTION_ARG_INT, &limit, "the last N (default 50; 0: all)", "N" },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) target = g_string_new("/api/v1/responses");

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, "[ID]", "Lists what was done to containers, by whom, why and until when; with ID tells one whole.", NULL))
                return BH_EXIT_USAGE;
        if (argc > 2)
                return bh_cli_usage("it takes one id, not also \"%s\"", argv[2]);
        if (limit < -1)
                return bh_cli_usage("--limit must not be negative");
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        if (argc == 2) {
                bh_api_segment(target, argv[1]);
                json_auto_t *one = bh_api_get(api, target->str, &error);
                if (!one)
                        return bh_cli_fail(error);
                print_one(one, json);
                return bh_out_finish();
        }
        bh_api_param(target, "state", state);
        bh_api_param(target, "open", open ? "true" : NULL);
        bh_api_param(target, "container", container);
        bh_api_param(target, "workload", workload);
        bh_api_param(target, "application", application);
        bh_api_param(target, "node", node);
        return bh_list_print(api, target->str, "responses", limit < 0 ? RESPONSES_DEFAULT : (guint) limit, json, print_table, open ? "no responses go on" : "no responses");
}

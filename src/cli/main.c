/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/escape.h"
#include "commands.h"

static const struct {
        const char *name, *help;
        int (*run)(const BhCliPaths *paths, int argc, char **argv);
} commands[] = {
        { "up", "start Bulkhead on this machine and show live events", bh_cmd_up },
        { "status", "central and sensors: what is wrong, kernel hooks, rates, losses", bh_cmd_status },
        { "events", "recorded and live events", bh_cmd_events },
        { "containers", "every container that was found", bh_cmd_containers },
        { "workloads", "what the containers are replicas of", bh_cmd_workloads },
        { "applications", "what the workloads belong to", bh_cmd_applications },
        { "resources", "services, tasks, nodes, networks, images, …", bh_cmd_resources },
        { "graph", "who talks to whom", bh_cmd_graph },
        { "listeners", "where something listens", bh_cmd_listeners },
        { "endpoints", "HTTP requests that workloads answer and make, with their parameters", bh_cmd_endpoints },
        { "findings", "what was found wrong", bh_cmd_findings },
        { "incidents", "findings as stories: what happened, in order", bh_cmd_incidents },
        { "incident", "one of them: its story and timeline; assign, comment, close, merge, split", bh_cmd_incident },
        { "evidence", "what nodes kept of attacks: list, show, export, verify", bh_cmd_evidence },
        { "respond", "act on a container, a process of it or its service: isolate, block, kill; release", bh_cmd_respond },
        { "responses", "what was done to containers, by whom and why", bh_cmd_responses },
        { "policy", "what is done by itself: list, show, set, remove, check", bh_cmd_policy },
        { "output", "where findings are sent: files, syslog, webhooks", bh_cmd_output },
        { "setting", "what is kept for how long, and other bounds of the central", bh_cmd_setting },
        { "user", "who may log in, and as what", bh_cmd_user },
        { "token", "tokens for programs", bh_cmd_token },
        { "audit", "who did what", bh_cmd_audit },
        { "record", "write live events to a capture file", bh_cmd_record },
        { "replay", "read a capture file or a flight recorder", bh_cmd_replay },
        { "model", "behaviour models: what workloads were learned to do, and what is new", bh_cmd_model },
        { "rules", "rules: check, list, manage; the fields that they can use", bh_cmd_rules },
        { "uninstall", "release everything, and delete what Bulkhead keeps on this machine", bh_cmd_uninstall },
};

static BhCliPaths paths = { .run_dir = "/run/bulkhead", .data_dir = "/var/lib/bulkhead" };

static void usage(FILE *to) {
        fputs("Usage: bulkhead [--run-dir DIR] [--data-dir DIR] COMMAND [OPTION...]\n\nContainer runtime security.\n\nCommands:\n", to);
        for (gsize i = 0; i < G_N_ELEMENTS(commands); i++)
                fprintf(to, "  %-12s %s\n", commands[i].name, commands[i].help);
        fputs("\nOptions, before or after the command:\n"
              "  --run-dir DIR    where the sockets are (default /run/bulkhead)\n"
              "  --data-dir DIR   where recorder and database are (default /var/lib/bulkhead)\n"
              "  --server URL     ask that central, not the one on this machine (BULKHEAD_SERVER)\n"
              "  --token T        as whom (better: BULKHEAD_TOKEN, which other users of this machine cannot read)\n"
              "  --cacert FILE    the central's certificate, if this machine does not trust it anyhow\n"
              "  --version        print the version\n"
              "\nBegin with \"sudo bulkhead up\". \"bulkhead COMMAND --help\" says more.\nExit status: 0 ok, 1 failed, 2 wrong usage.\n", to);
}

typedef enum { ASKS_NOBODY, ASKS_CENTRAL, ASKS_BOTH } Asks;

static gboolean parse(int *argc, char ***argv, GOptionEntry *entries, Asks asks, const char *arguments, const char *summary, const char *examples) {
        g_autofree char *name = g_strdup_printf("bulkhead %s", (*argv)[0]), *run_dir = NULL, *data_dir = NULL, *server = NULL, *token = NULL, *cacert = NULL;
        GOptionEntry common[] = {
                { "run-dir", 0, 0, G_OPTION_ARG_FILENAME, &run_dir, "where the sockets are (default /run/bulkhead)", "DIR" },
                { "data-dir", 0, 0, G_OPTION_ARG_FILENAME, &data_dir, "where recorder and database are (default /var/lib/bulkhead)", "DIR" },
                G_OPTION_ENTRY_NULL,
        };
        GOptionEntry central[] = {
                { "server", 0, 0, G_OPTION_ARG_STRING, &server, "the central to ask (default: this machine's; or BULKHEAD_SERVER)", "URL" },
                { "token", 0, 0, G_OPTION_ARG_STRING, &token, "as whom; better in BULKHEAD_TOKEN, which other users cannot read", "TOKEN" },
                { "cacert", 0, 0, G_OPTION_ARG_FILENAME, &cacert, "the central's certificate, if it is not trusted anyhow", "FILE" },
                G_OPTION_ENTRY_NULL,
        };
        GOptionEntry both[] = {
                { "sensor", 0, 0, G_OPTION_ARG_NONE, &paths.sensor, "ask the sensor on this machine, also where a central answers", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GOptionContext) context = g_option_context_new(arguments);
        g_autoptr(GError) error = NULL;

        g_set_prgname(name);
        g_option_context_set_summary(context, summary);
        if (examples)
                g_option_context_set_description(context, examples);
        g_option_context_add_main_entries(context, entries, NULL);
        if (asks == ASKS_BOTH)
                g_option_context_add_main_entries(context, both, NULL);
        if (asks != ASKS_NOBODY)
                g_option_context_add_main_entries(context, central, NULL);
        g_option_context_add_main_entries(context, common, NULL);
        if (!g_option_context_parse(context, argc, argv, &error)) {
                bh_cli_usage("%s", error->message);
                return FALSE;
        }

        /* live as long as the program */
        const struct {
                const char **to;
                char **from;
        } given[] = { { &paths.run_dir, &run_dir }, { &paths.data_dir, &data_dir }, { &paths.server, &server }, { &paths.token, &token }, { &paths.cacert, &cacert } };
        for (gsize i = 0; i < G_N_ELEMENTS(given); i++)
                if (*given[i].from)
                        *given[i].to = g_steal_pointer(given[i].from);
        if (paths.sensor && paths.server) {
                bh_cli_usage("--sensor and --server exclude each other");
                return FALSE;
        }
        return TRUE;
}

gboolean bh_cli_parse(int *argc, char ***argv, GOptionEntry *entries, const char *arguments, const char *summary, const char *examples) {
        return parse(argc, argv, entries, ASKS_NOBODY, arguments, summary, examples);
}

gboolean bh_cli_parse_api(int *argc, char ***argv, GOptionEntry *entries, gboolean sensor_too, const char *arguments, const char *summary, const char *examples) {
        return parse(argc, argv, entries, sensor_too ? ASKS_BOTH : ASKS_CENTRAL, arguments, summary, examples);
}

int bh_cli_sub(const BhCliSub *subs, gsize n, const char *summary, const BhCliPaths *cli_paths, int argc, char **argv) {
        g_autofree char *name = g_strdup_printf("bulkhead %s", argv[0]);
        const char *wanted = argc > 1 ? argv[1] : NULL;
        gboolean help = wanted && (g_str_equal(wanted, "--help") || g_str_equal(wanted, "-h") || g_str_equal(wanted, "help"));

        g_set_prgname(name);
        for (gsize i = 0; wanted && i < n; i++) {
                if (!g_str_equal(wanted, subs[i].name))
                        continue;
                argv[1] = g_strdup_printf("%s %s", argv[0], subs[i].name); /* lives as long as the program */
                return subs[i].run(cli_paths, argc - 1, argv + 1);
        }
        if (wanted && !help)
                return bh_cli_usage("there is no \"%s %s\"", argv[0], wanted);

        FILE *to = help ? stdout : stderr;
        fprintf(to, "Usage: %s COMMAND [OPTION...]\n\n%s\n\nCommands:\n", name, summary);
        for (gsize i = 0; i < n; i++) {
                g_autofree char *call = g_strdup_printf("%s %s", subs[i].name, subs[i].arguments);

                fprintf(to, "  %-22s %s\n", call, subs[i].help);
        }
        fprintf(to, "\n\"%s COMMAND --help\" says more.\n", name);
        return help ? BH_EXIT_OK : BH_EXIT_USAGE;
}

int bh_cli_fail(const GError *error) {
        g_autofree char *message = bh_escape_cell(error->message, -1);

        fflush(stdout);
        fprintf(stderr, "bulkhead: %s\n", message);
        return BH_EXIT_FAILED;
}

int bh_cli_usage(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_autofree char *text = g_strdup_vprintf(format, ap), *message = bh_escape_cell(text, -1);
        va_end(ap);
        fprintf(stderr, "%s: %s; see \"%s --help\"\n", g_get_prgname(), message, g_get_prgname());
        return BH_EXIT_USAGE;
}

guint64 bh_cli_duration(const char *text) {
        char *end;
        guint64 n = g_ascii_isdigit(*text) ? g_ascii_strtoull(text, &end, 10) : 0, unit;

        if (!n)
                return 0;
        unit = *end == 's' || !*end ? 1 : *end == 'm' ? 60 : *end == 'h' ? 3600 : *end == 'd' ? 86400 : 0;
        if ((*end && end[1]) || n > 100 * 366 * 86400ull)
                return 0;
        n *= unit;
        return n > 100 * 366 * 86400ull ? 0 : n * 1000000000;
}

gboolean bh_cli_types(char **names, guint64 types[BH_TYPE_WORDS]) {
        memset(types, 0, BH_TYPE_WORDS * sizeof(*types));
        for (guint i = 0; names && names[i]; i++) {
                g_auto(GStrv) parts = g_strsplit(names[i], ",", -1);

                for (guint k = 0; parts[k]; k++) {
                        int type = bh_event_type_from_name(parts[k]);

                        if (type < 0) {
                                g_autoptr(GString) all = g_string_new(NULL);

                                for (guint32 t = 0; t < BH_EV_MAX; t++)
                                        if (bh_event_type_name(t))
                                                g_string_append_printf(all, " %s", bh_event_type_name(t));
                                bh_cli_usage("there is no kind of event \"%s\", but:%s", parts[k], all->str);
                                return FALSE;
                        }
                        types[type / 64] |= 1ull << (type % 64);
                }
        }
        return TRUE;
}

json_t *bh_cli_events_request(const char *form, gboolean follow, const char *container, const guint64 types[BH_TYPE_WORDS]) {
        json_t *list = json_array(), *request;

        for (guint32 t = 0; t < BH_EV_MAX; t++)
                if (types[t / 64] >> (t % 64) & 1)
                        json_array_append_new(list, json_string(bh_event_type_name(t)));
        request = json_pack("{s:s, s:s, s:b, s:o}", "cmd", "events", "form", form, "follow", follow, "types", list);
        if (container)
                json_object_set_new(request, "container", json_string(container));
        return request;
}

int main(int argc, char **argv) {
        int i = 1;

        setlocale(LC_CTYPE, "C.UTF-8"); /* for GLib's own messages; what this program writes is UTF-8 anyhow */
        signal(SIGPIPE, SIG_IGN);
        g_set_prgname("bulkhead");
        for (; i < argc && argv[i][0] == '-'; i++) {
                const struct {
                        const char *name, **to;
                } options[] = {
                        { "--run-dir", &paths.run_dir }, { "--data-dir", &paths.data_dir }, { "--server", &paths.server }, { "--token", &paths.token }, { "--cacert", &paths.cacert },
                };
                const char **where = NULL, *value = strchr(argv[i], '=');
                gsize len = value ? (gsize) (value - argv[i]) : strlen(argv[i]);

                for (gsize k = 0; k < G_N_ELEMENTS(options); k++)
                        if (strlen(options[k].name) == len && strncmp(argv[i], options[k].name, len) == 0)
                                where = options[k].to;
                if (g_str_equal(argv[i], "--help") || g_str_equal(argv[i], "-h")) {
                        usage(stdout);
                        return BH_EXIT_OK;
                }
                if (g_str_equal(argv[i], "--version")) {
                        puts("bulkhead " BH_VERSION);
                        return BH_EXIT_OK;
                }
                if (!where)
                        return bh_cli_usage("there is no option \"%s\"", argv[i]);
                if (!value && i + 1 >= argc)
                        return bh_cli_usage("%s needs a value", argv[i]);
                *where = value ? value + 1 : argv[++i];
        }
        if (i == argc) {
                usage(stderr);
                return BH_EXIT_USAGE;
        }
        if (g_str_equal(argv[i], "help")) {
                usage(stdout);
                return BH_EXIT_OK;
        }
        for (gsize k = 0; k < G_N_ELEMENTS(commands); k++)
                if (g_str_equal(argv[i], commands[k].name))
                        return commands[k].run(&paths, argc - i, argv + i);
        return bh_cli_usage("there is no command \"%s\"", argv[i]);
}

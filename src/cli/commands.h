/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of `bulkhead`. Each gets its own arguments (argv[0] is its name) and returns the exit code: 0 ok, 1 failed, 2 usage. */
#pragma once
#include <jansson.h>

#include "client.h"
#include "event/select.h"

enum { BH_EXIT_OK = 0, BH_EXIT_FAILED = 1, BH_EXIT_USAGE = 2 };

int bh_cmd_up(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_status(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_events(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_containers(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_resources(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_workloads(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_applications(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_endpoints(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_graph(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_listeners(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_findings(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_incidents(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_evidence(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_incident(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_output(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_setting(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_user(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_token(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_audit(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_record(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_replay(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_model(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_respond(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_responses(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_policy(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_uninstall(const BhCliPaths *paths, int argc, char **argv);
int bh_cmd_rules(const BhCliPaths *paths, int argc, char **argv);

/* One container as the central or the sensor tells it, for people. */
void bh_container_print(const json_t *container);

/*
 * Parses options, among them --run-dir and --data-dir, which every command takes; on a wrong one prints what to do and returns FALSE (exit
 * with BH_EXIT_USAGE). --help is GLib's and exits 0. Names of arguments stand in `arguments`; examples follow the options.
 */
gboolean bh_cli_parse(int *argc, char ***argv, GOptionEntry *entries, const char *arguments, const char *summary, const char *examples);

/* The same for a command that asks the central: --server, --token and --cacert as well, and --sensor where the sensor can answer, too. */
gboolean bh_cli_parse_api(int *argc, char ***argv, GOptionEntry *entries, gboolean sensor_too, const char *arguments, const char *summary, const char *examples);

/* A command of commands, like `bulkhead user list`. */
typedef struct {
        const char *name, *arguments, *help;
        int (*run)(const BhCliPaths *paths, int argc, char **argv); /* argv[0] is "user list" */
} BhCliSub;
int bh_cli_sub(const BhCliSub *subs, gsize n, const char *summary, const BhCliPaths *paths, int argc, char **argv);

/* Prints "bulkhead: MESSAGE" and returns BH_EXIT_FAILED. */
int bh_cli_fail(const GError *error);

/* Prints "bulkhead COMMAND: MESSAGE; see …--help" and returns BH_EXIT_USAGE. */
int bh_cli_usage(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* "90", "90s", "10m", "2h", "1d": ns; 0 if it is none of these. */
guint64 bh_cli_duration(const char *text);

/* The kinds named by --type options, each of which may be a list a,b,c. On an unknown one prints what there is and returns FALSE (usage). */
gboolean bh_cli_types(char **names, guint64 types[BH_TYPE_WORDS]);

/* The request for events of that form, "text", "json" or "wire". New reference. */
json_t *bh_cli_events_request(const char *form, gboolean follow, const char *container, const guint64 types[BH_TYPE_WORDS]);

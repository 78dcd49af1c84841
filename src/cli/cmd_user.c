/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "api.h"
#include "base/escape.h"
#include "child.h"
#include "commands.h"
#include "output.h"

#define USERS "/api/v1/users"
#define PASSWORD_LINE_MAX 1024

/* The options that are all a command has; the number of arguments is checked. NULL: exit with BH_EXIT_USAGE, all is said. */
static BhApi *begin(const BhCliPaths *paths, int argc, char **argv, int arguments, const char *what, int *code) {
        g_autoptr(GError) error = NULL;
        BhApi *api;

        *code = BH_EXIT_USAGE;
        if (argc - 1 != arguments) {
                bh_cli_usage("it takes %s", what);
                return NULL;
        }
        if (!(api = bh_api_new(paths, &error)))
                *code = bh_cli_fail(error);
        return api;
}

/* What the answer (stolen) says of the user; `said` is what was done. The error is read here, because the answer's argument sets it. */
static int show_user(json_t *answer, gboolean json, const char *said, GError *const *error) {
        json_t *user = json_object_get(answer, "user");
        const char *password = json_string_value(json_object_get(answer, "password"));

        if (!answer)
                return bh_cli_fail(*error);
        if (json) {
                bh_out_json(password ? answer : user);
        } else {
                g_autofree char *name = bh_json_cell(user, "name"), *role = bh_json_cell(user, "role");

                printf("%s %s (%s%s)\n", name, said, role, json_is_true(json_object_get(user, "disabled")) ? ", disabled" : "");
                if (password)
                        printf("first password: %s\nIt is shown this once, and must be changed at the next login.\n", password);
        }
        json_decref(answer);
        return bh_out_finish();
}

/* One line of standard input as {"password"}; NULL with an error. */
static gboolean password_line(json_t *body, GError **error) {
        char line[PASSWORD_LINE_MAX];
        gboolean ok = fgets(line, sizeof(line), stdin) != NULL;

        if (ok) {
                line[strcspn(line, "\r\n")] = '\0';
                ok = *line && json_object_set_new(body, "password", json_string(line)) == 0;
        }
        memset(line, 0, sizeof(line));
        if (!ok)
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "--password-stdin wants a password in UTF-8 as the first line of standard input");
        return ok;
}

static int list(const BhCliPaths *paths, int argc, char **argv) {
        static const char *const headers[] = { "NAME", "ROLE", "STATE", "CREATED", "LAST LOGIN", NULL };
        gboolean json = FALSE;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "one JSON object a line", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        int code;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, NULL, "Lists who may log in.", NULL))
                return BH_EXIT_USAGE;
        g_autoptr(BhApi) api = begin(paths, argc, argv, 0, "no arguments but options", &code);
        if (!api)
                return code;

        json_auto_t *answer = bh_api_get(api, USERS, &error);
        json_t *u;
        size_t i;
        if (!answer)
                return bh_cli_fail(error);
        g_autoptr(BhTable) t = bh_table_new(headers);
        json_array_foreach(json_object_get(answer, "users"), i, u) {
                g_autofree char *created = bh_json_when(u, "created"), *login = bh_json_when(u, "last_login");
                gboolean disabled = json_is_true(json_object_get(u, "disabled"));

                if (json) {
                        bh_out_json(u);
                        continue;
                }
                bh_table_cell(t, bh_json_text(u, "name"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(u, "role"), BH_STYLE_NONE);
                bh_table_cell(t, disabled ? "disabled" : json_is_true(json_object_get(u, "must_change_password")) ? "must change the password" : "ok", disabled ? BH_STYLE_DIM : BH_STYLE_NONE);
                bh_table_cell(t, created, BH_STYLE_DIM);
                bh_table_cell(t, login, BH_STYLE_DIM);
        }
        if (!json)
                bh_table_print(t);
        return bh_out_finish();
}

static int add(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE, from_stdin = FALSE;
        g_autofree char *role = NULL;
        GOptionEntry entries[] = {
                { "role", 'r', 0, G_OPTION_ARG_STRING, &role, "admin, analyst or viewer (default)", "ROLE" },
                { "password-stdin", 0, 0, G_OPTION_ARG_NONE, &from_stdin, "read the first password from standard input instead of making one", NULL },
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "a JSON object", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        int code;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, "NAME", "Makes a user, and prints the first password, which must be changed at the first login.",
                              "A viewer sees, an analyst sees settings as well, an admin may do everything.\n"))
                return BH_EXIT_USAGE;
        g_autoptr(BhApi) api = begin(paths, argc, argv, 1, "one name", &code);
        if (!api)
                return code;

        json_t *body = json_pack("{s:s*, s:s*}", "name", argv[1], "role", role ? role : "viewer");
        if (!body)
                return bh_cli_usage("the name must be UTF-8");
        if (from_stdin && !password_line(body, &error)) {
                json_decref(body);
                return bh_cli_fail(error);
        }
        return show_user(bh_api_send(api, "POST", USERS, body, &error), json, "may log in now", &error);
}

/* role, disable, enable: PATCH with the body (stolen). */
static int change(BhApi *api, const char *name, json_t *body, gboolean json, const char *said) {
        g_autoptr(GString) target = g_string_new(USERS);
        g_autoptr(GError) error = NULL;

        bh_api_segment(target, name);
        return show_user(bh_api_send(api, "PATCH", target->str, body, &error), json, said, &error);
}

static int role_cmd(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "a JSON object", NULL },
                G_OPTION_ENTRY_NULL,
        };
        int code;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, "NAME ROLE", "Gives a user another role: admin, analyst or viewer. Tokens have at most their user's role from then on.", NULL))
                return BH_EXIT_USAGE;
        g_autoptr(BhApi) api = begin(paths, argc, argv, 2, "a name and a role", &code);
        if (!api)
                return code;
        return change(api, argv[1], json_pack("{s:s}", "role", argv[2]), json, "has the role now");
}

static int set_disabled(const BhCliPaths *paths, int argc, char **argv, gboolean disabled) {
        gboolean json = FALSE;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "a JSON object", NULL },
                G_OPTION_ENTRY_NULL,
        };
        int code;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, "NAME",
                              disabled ? "Keeps a user out: sessions end, and tokens are refused, at once." : "Lets a disabled user in again.", NULL))
                return BH_EXIT_USAGE;
        g_autoptr(BhApi) api = begin(paths, argc, argv, 1, "one name", &code);
        if (!api)
                return code;
        return change(api, argv[1], json_pack("{s:b}", "disabled", disabled), json, disabled ? "is kept out now" : "may log in again");
}

static int disable(const BhCliPaths *paths, int argc, char **argv) {
        return set_disabled(paths, argc, argv, TRUE);
}

static int enable(const BhCliPaths *paths, int argc, char **argv) {
        return set_disabled(paths, argc, argv, FALSE);
}

static int remove_cmd(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "a JSON object", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) target = g_string_new(USERS);
        int code;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, "NAME", "Removes a user, with sessions and tokens. The audit log keeps the name.", NULL))
                return BH_EXIT_USAGE;
        g_autoptr(BhApi) api = begin(paths, argc, argv, 1, "one name", &code);
        if (!api)
                return code;
        bh_api_segment(target, argv[1]);
        json_auto_t *answer = bh_api_send(api, "DELETE", target->str, NULL, &error);
        if (!answer)
                return bh_cli_fail(error);
        if (json) {
                json_auto_t *said = json_pack("{s:s}", "removed", argv[1]);
                bh_out_json(said);
        } else {
                printf("%s is removed\n", argv[1]); /* a name that the central knows is plain */
        }
        return bh_out_finish();
}

/* ---- password ---- */

/* Without the API: the central's program writes into the database itself. It goes on as the directory's owner. */
static int reset(const BhCliPaths *paths, const char *name, gboolean json) {
        g_autofree char *dir = g_build_filename(paths->data_dir, "central", NULL), *uid = NULL, *out = NULL;
        g_autoptr(GError) error = NULL;
        struct stat st;
        int status = 0;

        if (geteuid() != 0) {
                fprintf(stderr, "bulkhead: --reset is for root on the central's machine: run it with sudo\n");
                return BH_EXIT_FAILED;
        }
        if (stat(dir, &st)) {
                fprintf(stderr, "bulkhead: there is no central's data in %s (%s): name the directory with --data-dir; a central that never ran makes its first user itself\n", dir, g_strerror(errno));
                return BH_EXIT_FAILED;
        }
        uid = g_strdup_printf("%u", st.st_uid);

        g_autofree char *program = bh_child_find("bulkhead-central", &error);
        if (!program)
                return bh_cli_fail(error);
        const char *argv[] = { program, "--run-dir", paths->run_dir, "--data-dir", paths->data_dir, "--user", uid, "--set-password", name, NULL };
        if (!g_spawn_sync(NULL, (char **) argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &out, NULL, &status, &error))
                return bh_cli_fail(error);

        json_auto_t *answer = json_loads(out, 0, NULL);
        const char *password = json_string_value(json_object_get(answer, "password"));
        if (!WIFEXITED(status) || WEXITSTATUS(status) || !password) {
                fprintf(stderr, "bulkhead: the password was not reset; the message above says why\n");
                return BH_EXIT_FAILED;
        }
        if (json) {
                bh_out_json(answer);
        } else {
                g_autofree char *shown = bh_json_cell(answer, "user");

                printf("%s has a new password: %s\nIt is shown this once, and must be changed at the next login.\n", shown, password);
        }
        return bh_out_finish();
}

static int password(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE, from_stdin = FALSE, without_api = FALSE;
        GOptionEntry entries[] = {
                { "reset", 0, 0, G_OPTION_ARG_NONE, &without_api, "as root on the central's machine, without logging in, also while no central runs", NULL },
                { "password-stdin", 0, 0, G_OPTION_ARG_NONE, &from_stdin, "read the password from standard input instead of making one", NULL },
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "a JSON object", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) target = g_string_new(USERS);
        int code;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, "NAME", "Gives a user a new password, which is printed, and must be changed at the next login. Ends the user's sessions.",
                              "--reset also enables the user, and makes \"admin\" again if it was removed: the way back in when nobody can log in.\n"))
                return BH_EXIT_USAGE;
        if (argc != 2)
                return bh_cli_usage("it takes one name");
        if (without_api && (from_stdin || paths->server))
                return bh_cli_usage("--reset makes a password itself, on this machine: it goes with neither --password-stdin nor --server");
        if (without_api)
                return reset(paths, argv[1], json);
        g_autoptr(BhApi) api = begin(paths, argc, argv, 1, "one name", &code);
        if (!api)
                return code;

        json_t *body = json_object();
        if (from_stdin && !password_line(body, &error)) {
                json_decref(body);
                return bh_cli_fail(error);
        }
        bh_api_segment(target, argv[1]);
        bh_api_segment(target, "password");
        return show_user(bh_api_send(api, "POST", target->str, body, &error), json, "has a new password", &error);
}

int bh_cmd_user(const BhCliPaths *paths, int argc, char **argv) {
        static const BhCliSub subs[] = {
                { "list", "", "everybody who may log in", list },
                { "add", "NAME", "make a user", add },
                { "role", "NAME ROLE", "give another role", role_cmd },
                { "disable", "NAME", "keep out", disable },
                { "enable", "NAME", "let in again", enable },
                { "password", "NAME", "give a new password; --reset: without logging in", password },
                { "remove", "NAME", "remove, with sessions and tokens", remove_cmd },
        };

        return bh_cli_sub(subs, G_N_ELEMENTS(subs), "Who may log in, and as what. For administrators.", paths, argc, argv);
}

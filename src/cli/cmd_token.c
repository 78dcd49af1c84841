/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "commands.h"
#include "output.h"

#define TOKENS "/api/v1/tokens"

static BhStyle state_of(const json_t *t, const char **word) {
        gboolean valid = json_is_true(json_object_get(t, "valid")), revoked = json_is_string(json_object_get(t, "revoked"));

        *word = valid ? "valid" : revoked ? "revoked" : "expired or its user disabled";
        return valid ? BH_STYLE_NONE : BH_STYLE_DIM;
}

static int list(const BhCliPaths *paths, int argc, char **argv) {
        static const char *const headers[] = { "ID", "NAME", "USER", "ROLE", "STATE", "CREATED", "EXPIRES", "LAST USED", NULL };
        gboolean json = FALSE, all = FALSE;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "one JSON object a line", NULL },
                { "all", 'a', 0, G_OPTION_ARG_NONE, &all, "everybody's, for administrators", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) target = g_string_new(TOKENS);

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, NULL, "Lists API tokens, without their secrets: the own ones, and for root on the central's machine all.", NULL))
                return BH_EXIT_USAGE;
        if (argc > 1)
                return bh_cli_usage("it takes no arguments but options, not \"%s\"", argv[1]);
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        bh_api_param(target, "all", all ? "true" : NULL);

        json_auto_t *answer = bh_api_get(api, target->str, &error);
        json_t *tokens = json_object_get(answer, "tokens"), *token;
        size_t i;
        if (!answer)
                return bh_cli_fail(error);
        g_autoptr(BhTable) t = bh_table_new(headers);
        json_array_foreach(tokens, i, token) {
                g_autofree char *created = bh_json_when(token, "created"), *expires = bh_json_when(token, "expires"), *used = bh_json_when(token, "last_used");
                const char *word;
                BhStyle style = state_of(token, &word);

                if (json) {
                        bh_out_json(token);
                        continue;
                }
                bh_table_cell(t, bh_json_text(token, "id"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(token, "name"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(token, "user"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(token, "role"), BH_STYLE_NONE);
                bh_table_cell(t, word, style);
                bh_table_cell(t, created, BH_STYLE_DIM);
                bh_table_cell(t, g_str_equal(expires, "-") ? "never" : expires, BH_STYLE_DIM);
                bh_table_cell(t, used, BH_STYLE_DIM);
        }
        if (!json && json_array_size(tokens))
                bh_table_print(t);
        else if (!json)
                puts("no tokens");
        return bh_out_finish();
}

static int create(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE;
        g_autofree char *role = NULL, *user = NULL;
        gint days = -1;
        GOptionEntry entries[] = {
                { "user", 'u', 0, G_OPTION_ARG_STRING, &user, "whose token, for root on the central's machine", "USER" },
                { "role", 'r', 0, G_OPTION_ARG_STRING, &role, "admin, analyst or viewer; at most the user's own (default: that)", "ROLE" },
                { "days", 'd', 0, G_OPTION_ARG_INT, &days, "how long it is valid; 0: until it is revoked (default 90)", "N" },
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "a JSON object", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, "NAME", "Makes an API token and prints its secret, which is shown this once.",
                              "NAME says what it is for. Use the secret in BULKHEAD_TOKEN, or as Authorization: Bearer in HTTP.\n"))
                return BH_EXIT_USAGE;
        if (argc != 2)
                return bh_cli_usage("it takes one name, which says what the token is for");
        if (days < -1)
                return bh_cli_usage("--days must not be negative");
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        if (!user && bh_api_is_local_root(api))
                return bh_cli_usage("root has no account in Bulkhead: say whose token it is to be with --user NAME (\"bulkhead user list\")");

        json_t *body = json_pack("{s:s, s:s*, s:s*}", "name", argv[1], "role", role, "user", user);
        if (!body)
                return bh_cli_usage("the name must be UTF-8");
        if (days >= 0)
                json_object_set_new(body, "days", json_integer(days));
        json_auto_t *answer = bh_api_send(api, "POST", TOKENS, body, &error);
        json_t *token = json_object_get(answer, "token");
        if (!answer)
                return bh_cli_fail(error);
        if (json) {
                bh_out_json(answer);
        } else {
                g_autofree char *id = bh_json_cell(token, "id"), *owner = bh_json_cell(token, "user"), *as = bh_json_cell(token, "role"), *secret = bh_json_cell(answer, "secret"),
                                *until = bh_json_when(token, "expires");

                printf("%s\nShown this once. Token %s of %s, role %s, %s%s.\n", secret, id, owner, as, g_str_equal(until, "-") ? "valid until it is revoked" : "valid until ",
                       g_str_equal(until, "-") ? "" : until);
        }
        return bh_out_finish();
}

static int revoke_cmd(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "a JSON object", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) target = g_string_new(TOKENS);

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, "ID", "Revokes a token: it is refused from now on, and its streams end.", "\"bulkhead token list\" shows the ids.\n"))
                return BH_EXIT_USAGE;
        if (argc != 2)
                return bh_cli_usage("it takes the id of one token");
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        bh_api_segment(target, argv[1]);
        json_auto_t *answer = bh_api_send(api, "DELETE", target->str, NULL, &error);
        if (!answer)
                return bh_cli_fail(error);
        if (json) {
                json_auto_t *said = json_pack("{s:s}", "revoked", argv[1]);
                bh_out_json(said);
        } else {
                printf("token %s is revoked\n", argv[1]); /* an id that the central knows is plain */
        }
        return bh_out_finish();
}

int bh_cmd_token(const BhCliPaths *paths, int argc, char **argv) {
        static const BhCliSub subs[] = {
                { "list", "", "the tokens there are", list },
                { "create", "NAME", "make one", create },
                { "revoke", "ID", "refuse one from now on", revoke_cmd },
        };

        return bh_cli_sub(subs, G_N_ELEMENTS(subs), "Tokens with which programs, and this command line from elsewhere, use the API.", paths, argc, argv);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "commands.h"
#include "lists.h"
#include "output.h"

#define SETTINGS "/api/v1/settings"

/* A value as people read it; caller frees. */
static char *shown(const json_t *setting, const char *key) {
        const json_t *v = json_object_get(setting, key);

        if (json_is_integer(v))
                return g_strdup_printf("%" JSON_INTEGER_FORMAT, json_integer_value(v));
        return g_strdup(*bh_json_text(setting, key) ? bh_json_text(setting, key) : "-");
}

static void print_table(const json_t *settings) {
        static const char *const headers[] = { "SETTING", ">VALUE", ">DEFAULT", ">FROM", ">TO", "MEANING", NULL };
        g_autoptr(BhTable) t = bh_table_new(headers);
        json_t *s;
        size_t i;

        json_array_foreach(settings, i, s) {
                g_autofree char *value = shown(s, "value"), *fallback = shown(s, "default");

                bh_table_cell(t, bh_json_text(s, "key"), BH_STYLE_NONE);
                bh_table_cell(t, value, g_str_equal(value, fallback) ? BH_STYLE_NONE : BH_STYLE_BOLD);
                bh_table_cell(t, fallback, BH_STYLE_DIM);
                bh_table_number(t, bh_json_number(s, "min"));
                bh_table_number(t, bh_json_number(s, "max"));
                bh_table_cell(t, bh_json_text(s, "description"), BH_STYLE_DIM);
        }
        bh_table_print(t);
}

static int list(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "one JSON object a line", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, NULL, "Lists the central's settings, with their bounds.", "FROM and TO of a text are its bytes.\n"))
                return BH_EXIT_USAGE;
        if (argc > 1)
                return bh_cli_usage("it takes no arguments but options, not \"%s\"", argv[1]);
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        json_auto_t *answer = bh_api_get(api, SETTINGS, &error);
        if (!answer)
                return bh_cli_fail(error);
        bh_list_show(json_object_get(answer, "settings"), json, print_table, "no settings");
        return bh_out_finish();
}

/* The value as the setting wants it, a number or a text; NULL: the error says which number it takes; without an error it is not UTF-8. */
static json_t *value_of(const json_t *setting, const char *text, GError **error) {
        char *end;

        if (!json_is_integer(json_object_get(setting, "value")))
                return json_string(text);
        errno = 0;
        gint64 n = g_ascii_strtoll(text, &end, 10);
        if (errno || !*text || *end || n < 0) {
                g_set_error(error, BH_API_ERROR, BH_API_ERROR_FAILED, "%s takes a whole number from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT ", not \"%s\"", bh_json_text(setting, "key"),
                            bh_json_number(setting, "min"), bh_json_number(setting, "max"), text);
                return NULL;
        }
        return json_integer(n);
}

static int set(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE, back = FALSE;
        GOptionEntry entries[] = {
                { "default", 0, 0, G_OPTION_ARG_NONE, &back, "instead of VALUE: what it is unless somebody says otherwise", NULL },
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "a JSON object", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GString) target = g_string_new(SETTINGS);
        g_autoptr(GError) error = NULL;
        const json_t *setting = NULL;
        json_t *s;
        size_t i;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, "SETTING VALUE", "Changes a setting of the central. For administrators.",
                              "A smaller bound of what is kept takes effect within the hour: the oldest goes, and does not come back.\n"
                              "Example:\n  bulkhead setting set retention.days 90\n"))
                return BH_EXIT_USAGE;
        if (argc != (back ? 2 : 3))
                return bh_cli_usage("it takes a setting and its value, or a setting and --default");
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        json_auto_t *all = bh_api_get(api, SETTINGS, &error);
        if (!all)
                return bh_cli_fail(error);
        json_array_foreach(json_object_get(all, "settings"), i, s)
                if (g_str_equal(bh_json_text(s, "key"), argv[1]))
                        setting = s;
        if (!setting)
                return bh_cli_usage("there is no setting \"%s\"; \"bulkhead setting list\" shows them", argv[1]);

        json_t *value = back ? json_copy(json_object_get(setting, "default")) : value_of(setting, argv[2], &error);
        if (error)
                return bh_cli_fail(error);
        if (!value)
                return bh_cli_usage("the value must be UTF-8");
        bh_api_segment(target, argv[1]);
        json_auto_t *said = json_pack("{s:s, s:O}", "key", argv[1], "value", value);
        json_auto_t *answer = bh_api_send(api, "PUT", target->str, json_pack("{s:o}", "value", value), &error);
        if (!answer)
                return bh_cli_fail(error);
        if (json) {
                bh_out_json(said);
        } else {
                g_autofree char *now = shown(said, "value");

                printf("%s is %s now\n", argv[1], *now ? now : "-"); /* both are plain: the central took them */
        }
        return bh_out_finish();
}

int bh_cmd_setting(const BhCliPaths *paths, int argc, char **argv) {
        static const BhCliSub subs[] = {
                { "list", "", "the settings, and their bounds", list },
                { "set", "SETTING VALUE", "change one", set },
        };

        return bh_cli_sub(subs, G_N_ELEMENTS(subs), "Settings of the central: what is kept for how long, sessions, models.", paths, argc, argv);
}

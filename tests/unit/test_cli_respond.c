/* SPDX-License-Identifier: Apache-2.0 */
/* What `bulkhead respond` and `bulkhead responses ID` print of a response, with a stand-in for the central. */
#include <string.h>

#include "cli/api.h"
#include "cli/commands.h"
#include "cli/lists.h"

/* ---- the stand-ins ---- */

static const char *answer;

GQuark bh_api_error_quark(void) {
        return g_quark_from_static_string("bh-api-error");
}

BhApi *bh_api_new(const BhCliPaths *paths, GError **error) {
        return (BhApi *) g_strdup("");
}

void bh_api_free(BhApi *api) {
        g_free(api);
}

void bh_api_segment(GString *target, const char *segment) {
        g_string_append_printf(target, "/%s", segment);
}

void bh_api_param(GString *target, const char *name, const char *value) {
}

json_t *bh_api_get(BhApi *api, const char *target, GError **error) {
        return json_loads(answer, 0, NULL);
}

json_t *bh_api_send(BhApi *api, const char *method, const char *target, json_t *body, GError **error) {
        json_decref(body);
        return json_loads(answer, 0, NULL);
}

json_t *bh_api_list(BhApi *api, const char *target, const char *member, guint max, gboolean *more, GError **error) {
        g_assert_not_reached();
}

int bh_list_print(BhApi *api, const char *target, const char *member, guint max, gboolean json, BhListTable table, const char *nothing) {
        g_assert_not_reached();
}

gboolean bh_cli_parse_api(int *argc, char ***argv, GOptionEntry *entries, gboolean sensor_too, const char *arguments, const char *summary, const char *examples) {
        g_autoptr(GOptionContext) options = g_option_context_new(arguments);

        g_option_context_add_main_entries(options, entries, NULL);
        return g_option_context_parse(options, argc, argv, NULL);
}

int bh_cli_fail(const GError *error) {
        g_error("%s", error->message);
}

int bh_cli_usage(const char *format, ...) {
        g_error("%s", format);
}

guint64 bh_cli_duration(const char *text) {
        return 0;
}

/* ---- */

/* A list of programs that is not what the container runs says so there: it is not open, and not refused. */
static void notes_are_printed(void) {
        const BhCliPaths paths = { 0 };
        const char *respond[] = { "respond", "block", "web-1", "--exec-only", "/bin/a", NULL }, *responses[] = { "responses", "a1", NULL };

        answer = "{\"id\":\"a1\",\"action\":\"block\",\"container_name\":\"web-1\",\"node\":\"n1\",\"state\":\"active\",\"result\":\"in force\",\"until\":null,"
                 "\"detail\":{\"open\":[\"a way\"],\"notes\":[\"/bin/b runs and is not\\u001b[1m on the list\",\"/bin/a is not there\"]}}";
        if (g_test_subprocess()) {
                g_assert_cmpint(bh_cmd_respond(&paths, 5, (char **) respond), ==, BH_EXIT_OK);
                g_assert_cmpint(bh_cmd_responses(&paths, 2, (char **) responses), ==, BH_EXIT_OK);
                return;
        }
        g_test_trap_subprocess(NULL, 0, 0);
        g_test_trap_assert_passed();
        g_test_trap_assert_stdout("*still open: a way\n  note: /bin/b runs and is not*on the list\n  note: /bin/a is not there\na1*still open: a way\n  note: /bin/b*\n  note: /bin/a is not there\n*");
        g_test_trap_assert_stdout_unmatched("*\x1b*");
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/cli/respond/notes_are_printed", notes_are_printed);
        return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The table of routes: lookups, and that api/openapi.yaml says the same. */
#include <glib.h>
#include <string.h>

#include "central/routes.h"

static const BhRoute *find(const char *method, const char *path, const char *captures[BH_ROUTE_CAPTURES], char **allow) {
        static char **segments; /* captures point into them */
        g_auto(BhHttpTarget) t = { 0 };
        BhHttpRefusal r;

        g_assert_true(bh_http_target_parse(path, &t, &r));
        g_strfreev(segments);
        segments = g_steal_pointer(&t.segments);
        return bh_route_find(method, segments, captures, allow);
}

static void paths_find_their_routes(void) {
        const char *captures[BH_ROUTE_CAPTURES] = { NULL };
        char *allow = NULL;

        g_assert_cmpstr(find("GET", "/healthz", captures, &allow)->pattern, ==, "/healthz");
        g_assert_cmpstr(find("HEAD", "/healthz", captures, &allow)->method, ==, "GET");
        g_assert_cmpstr(find("GET", "/api/v1/containers/abc", captures, &allow)->pattern, ==, "/api/v1/containers/{id}");
        g_assert_cmpstr(captures[0], ==, "abc");
        g_assert_cmpstr(find("POST", "/api/v1/users/x/password", captures, &allow)->pattern, ==, "/api/v1/users/{name}/password");
        g_assert_cmpstr(captures[0], ==, "x");
        g_assert_cmpstr(find("GET", "/api/v1/events/live", captures, &allow)->pattern, ==, "/api/v1/events/live");
        g_assert_null(allow);
}

static void wrong_methods_are_told_the_right_ones(void) {
        const char *captures[BH_ROUTE_CAPTURES] = { NULL };
        char *allow = NULL;

        g_assert_null(find("DELETE", "/api/v1/users", captures, &allow));
        g_assert_cmpstr(allow, ==, "GET, POST");
        g_clear_pointer(&allow, g_free);
        g_assert_null(find("GET", "/api/v1/login", captures, &allow));
        g_assert_cmpstr(allow, ==, "POST");
        g_clear_pointer(&allow, g_free);
        g_assert_null(find("GET", "/api/v1/usersx", captures, &allow));
        g_assert_null(find("GET", "/api/v1", captures, &allow));
        g_assert_null(find("GET", "/", captures, &allow));
        g_assert_null(find("GET", "/api/v1/users/a/b", captures, &allow));
        g_assert_null(allow);
}

static void every_write_is_audited_and_needs_a_login(void) {
        for (guint i = 0; i < bh_n_routes; i++) {
                const BhRoute *r = &bh_routes[i];
                gboolean write = strcmp(r->method, "GET") != 0;

                g_assert_cmpint(write, ==, r->audit != NULL);
                g_assert_true(r->body_max <= BH_HTTP_BODY_MAX);
                g_assert_true(r->role != BH_STORE_ROLE_NONE || g_str_has_suffix(r->pattern, "z") || g_str_equal(r->pattern, "/api/v1/login"));
                g_assert_true(!write || g_str_equal(r->method, "DELETE") || r->body_max > 0);
        }
}

static void parameters_are_known_by_whole_names(void) {
        const BhRoute route = { .params = "node,container,limit" };

        g_assert_true(bh_route_has_param(&route, "node"));
        g_assert_true(bh_route_has_param(&route, "limit"));
        g_assert_false(bh_route_has_param(&route, "nod"));
        g_assert_false(bh_route_has_param(&route, "node,container"));
        g_assert_false(bh_route_has_param(&route, ""));
}

/* ---- against the contract, whose layout is fixed: paths at two blanks, methods at four, their members at six */

typedef struct {
        char *method, *path, *role, *audit;
        GString *params; /* "a,b," in the order of the file */
} Described;

static GPtrArray *described(void) {
        g_autofree char *text = NULL, *path = NULL;
        GPtrArray *out = g_ptr_array_new();
        gboolean in_paths = FALSE;
        Described *d = NULL;

        g_assert_true(g_file_get_contents(BH_SOURCE_ROOT "/api/openapi.yaml", &text, NULL, NULL));
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        for (guint i = 0; lines[i]; i++) {
                char *line = lines[i];
                gsize indent = strspn(line, " ");

                if (!indent && *line)
                        in_paths = g_str_equal(line, "paths:");
                if (!in_paths)
                        continue;
                if (indent == 2 && line[2] == '/') {
                        g_free(path);
                        path = g_strndup(line + 2, strlen(line) - 3);
                        d = NULL;
                } else if (indent == 4 && !g_str_equal(line + 4, "parameters:")) {
                        d = g_new0(Described, 1);
                        d->method = g_ascii_strup(line + 4, (gssize) strlen(line) - 5);
                        d->path = g_strdup(path);
                        d->params = g_string_new(NULL);
                        g_ptr_array_add(out, d);
                } else if (d && indent == 6 && g_str_has_prefix(line + 6, "x-role: ")) {
                        d->role = g_strdup(line + 14);
                } else if (d && indent == 6 && g_str_has_prefix(line + 6, "x-audit: ")) {
                        d->audit = g_strdup(line + 15);
                } else if (d && indent == 8 && g_str_has_prefix(line + 8, "- {name: ") && strstr(line, "in: query")) {
                        g_string_append_len(d->params, line + 17, (gssize) strcspn(line + 17, ","));
                        g_string_append_c(d->params, ',');
                } else if (d && indent == 8 && g_str_has_prefix(line + 8, "- {$ref: '#/components/parameters/")) {
                        const char *name = strrchr(line, '/') + 1;

                        g_string_append_len(d->params, name, (gssize) strcspn(name, "'"));
                        g_string_append_c(d->params, ',');
                }
        }
        return out;
}

static void the_contract_and_the_table_are_the_same(void) {
        GPtrArray *contract = described();

        g_assert_cmpuint(contract->len, ==, bh_n_routes);
        for (guint i = 0; i < bh_n_routes; i++) {
                const BhRoute *r = &bh_routes[i];
                const Described *found = NULL;
                g_autofree char *params = g_strdup_printf("%s%s", r->params, *r->params ? "," : "");

                for (guint k = 0; k < contract->len && !found; k++) {
                        const Described *d = contract->pdata[k];

                        if (g_str_equal(d->method, r->method) && g_str_equal(d->path, r->pattern))
                                found = d;
                }
                if (!found)
                        g_error("%s %s is not in api/openapi.yaml", r->method, r->pattern);
                g_assert_cmpstr(found->role, ==, bh_store_role_name(r->role));
                g_assert_cmpstr(found->audit, ==, r->audit);
                g_assert_cmpstr(found->params->str, ==, params);
        }
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/central/routes/paths_find_their_routes", paths_find_their_routes);
        g_test_add_func("/central/routes/wrong_methods_are_told_the_right_ones", wrong_methods_are_told_the_right_ones);
        g_test_add_func("/central/routes/every_write_is_audited_and_needs_a_login", every_write_is_audited_and_needs_a_login);
        g_test_add_func("/central/routes/parameters_are_known_by_whole_names", parameters_are_known_by_whole_names);
        g_test_add_func("/central/routes/the_contract_and_the_table_are_the_same", the_contract_and_the_table_are_the_same);
        return g_test_run();
}

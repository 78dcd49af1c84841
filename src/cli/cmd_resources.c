/* SPDX-License-Identifier: Apache-2.0 */
/* resources: what runtimes and orchestrators know beside containers. */
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "commands.h"
#include "output.h"

static const char *const kinds[] = { "service", "task", "node", "stack", "pod", "network", "config", "secret", "image", "volume" };
#define KINDS "service, task, node, stack, pod, network, config, secret, image, volume"

static void word(GString *out, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void word(GString *out, const char *format, ...) {
        va_list args;

        if (out->len)
                g_string_append(out, ", ");
        va_start(args, format);
        g_string_append_vprintf(out, format, args);
        va_end(args);
}

static void text_word(GString *out, const json_t *detail, const char *key) {
        if (*bh_json_text(detail, key))
                word(out, "%s", bh_json_text(detail, key));
}

/* Every text of a list's elements, or of one member of each. */
static void list_words(GString *out, const json_t *list, const char *member, guint max) {
        json_t *e;
        size_t i;

        json_array_foreach((json_t *) list, i, e) {
                const char *s = member ? bh_json_text(e, member) : json_string_value(e);

                if (i == max) {
                        word(out, "and %zu more", json_array_size(list) - i);
                        break;
                }
                if (s && *s)
                        word(out, "%s", s);
        }
}

static void ports(GString *out, const json_t *list) {
        json_t *p;
        size_t i;

        json_array_foreach((json_t *) list, i, p) {
                if (bh_json_number(p, "published"))
                        word(out, "%" G_GUINT64_FORMAT "→%" G_GUINT64_FORMAT "/%s%s", bh_json_number(p, "published"), bh_json_number(p, "target"), bh_json_text(p, "protocol"),
                             g_str_equal(bh_json_text(p, "mode"), "host") ? " on its node" : "");
                else
                        word(out, "%" G_GUINT64_FORMAT "/%s", bh_json_number(p, "target"), bh_json_text(p, "protocol"));
        }
}

/* What matters of a kind, in a few words. */
static char *words_of(const json_t *r) {
        const char *kind = bh_json_text(r, "kind");
        const json_t *d = json_object_get(r, "detail"), *swarm = json_object_get(d, "swarm");
        GString *out = g_string_new(NULL);

        if (g_str_equal(kind, "service")) {
                if (json_object_get(d, "replicas"))
                        word(out, "%s %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT, bh_json_text(d, "mode"), bh_json_number(d, "running"), bh_json_number(d, "replicas"));
                else
                        word(out, "%s %" G_GUINT64_FORMAT, bh_json_text(d, "mode"), bh_json_number(d, "running"));
                text_word(out, d, "image");
                ports(out, json_object_get(d, "ports"));
        } else if (g_str_equal(kind, "task")) {
                text_word(out, d, "state");
                if (!g_str_equal(bh_json_text(d, "state"), bh_json_text(d, "desired")))
                        word(out, "wanted %s", bh_json_text(d, "desired"));
                text_word(out, d, *bh_json_text(d, "node_name") ? "node_name" : "node");
                if (*bh_json_text(d, "container"))
                        word(out, "container %.12s", bh_json_text(d, "container"));
                text_word(out, d, "error");
        } else if (g_str_equal(kind, "node")) {
                text_word(out, d, "role");
                text_word(out, d, "state");
                text_word(out, d, "availability");
                text_word(out, d, "address");
                if (*bh_json_text(d, "engine"))
                        word(out, "engine %s", bh_json_text(d, "engine"));
                if (swarm && *bh_json_text(swarm, "role"))
                        word(out, "Swarm %s", bh_json_text(swarm, "role"));
                list_words(out, json_object_get(d, "addresses"), NULL, 6);
        } else if (g_str_equal(kind, "network")) {
                text_word(out, d, "driver");
                list_words(out, json_object_get(d, "subnets"), "subnet", 4);
                if (json_is_true(json_object_get(d, "internal")))
                        word(out, "internal");
        } else if (g_str_equal(kind, "image")) {
                g_autofree char *size = bh_out_bytes(bh_json_number(d, "size"));

                word(out, "%s", size);
                list_words(out, json_object_get(d, "tags"), NULL, 3);
        } else if (g_str_equal(kind, "stack")) {
                text_word(out, d, "source");
                list_words(out, json_object_get(d, "services"), NULL, 8);
        } else if (g_str_equal(kind, "pod")) {
                if (*bh_json_text(d, "namespace"))
                        word(out, "namespace %s", bh_json_text(d, "namespace"));
                text_word(out, d, "state");
        } else if (g_str_equal(kind, "volume")) {
                text_word(out, d, "driver");
                text_word(out, d, "mountpoint");
        }
        return g_string_free(out, FALSE);
}

static guint rank(const char *kind) {
        guint i = 0;

        while (i < G_N_ELEMENTS(kinds) && !g_str_equal(kinds[i], kind))
                i++;
        return i;
}

static gint by_kind_and_name(gconstpointer pa, gconstpointer pb) {
        const json_t *a = *(json_t *const *) pa, *b = *(json_t *const *) pb;
        guint x = rank(bh_json_text(a, "kind")), y = rank(bh_json_text(b, "kind"));

        if (x != y)
                return x < y ? -1 : 1;
        int order = strcmp(bh_json_text(a, "name"), bh_json_text(b, "name"));
        return order ? order : strcmp(bh_json_text(a, "id"), bh_json_text(b, "id"));
}

static void print_table(const GPtrArray *rows) {
        static const char *const headers[] = { "KIND", "NAME", "ID", "APPLICATION", "OF", "WHAT", NULL };
        g_autoptr(BhTable) table = bh_table_new(headers);

        for (guint i = 0; i < rows->len; i++) {
                const json_t *r = rows->pdata[i];
                const char *id = bh_json_text(r, "id"), *application = bh_json_text(r, "application"), *colon = strchr(id, ':');
                g_autofree char *short_id = g_strndup(g_str_has_prefix(id, "sha256:") ? colon + 1 : id, 12), *words = words_of(r);
                gboolean shared = g_str_has_prefix(bh_json_text(r, "scope"), "swarm:");

                bh_table_cell(table, bh_json_text(r, "kind"), BH_STYLE_NONE);
                bh_table_cell(table, bh_json_dash(r, "name"), BH_STYLE_NONE);
                bh_table_cell(table, short_id, BH_STYLE_DIM);
                bh_table_cell(table, *application ? application : "-", BH_STYLE_NONE);
                bh_table_cell(table, shared ? "the Swarm" : bh_json_text(r, "node"), BH_STYLE_NONE);
                bh_table_cell(table, words, BH_STYLE_NONE);
        }
        bh_table_print(table);
}

int bh_cmd_resources(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE;
        g_autofree char *node = NULL, *application = NULL, *search = NULL, *scope = NULL;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "everything known, one JSON object a line", NULL },
                { "application", 0, 0, G_OPTION_ARG_STRING, &application, "only of this application (\"\": of none)", "APP" },
                { "node", 0, 0, G_OPTION_ARG_STRING, &node, "only what this node told", "NODE" },
                { "scope", 0, 0, G_OPTION_ARG_STRING, &scope, "\"node\": what is a node's own; \"swarm:ID\": what a Swarm shares", "SCOPE" },
                { "search", 0, 0, G_OPTION_ARG_STRING, &search, "only with this text in name, id, application or labels", "TEXT" },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(BhApi) api = NULL;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, "[KIND]", "Lists what runtimes and orchestrators know beside containers.",
                              "Kinds: " KINDS ".\n"
                              "Configs and secrets are known by name alone. A network that spans nodes stands there for the Swarm and for each node that has it.\n"))
                return BH_EXIT_USAGE;
        if (argc > 2)
                return bh_cli_usage("it takes one kind at most, not \"%s\" as well", argv[2]);
        if (argc > 1 && rank(argv[1]) == G_N_ELEMENTS(kinds))
                return bh_cli_usage("there is no kind \"%s\": " KINDS, argv[1]);
        if (!(api = bh_api_new(paths, &error)))
                return bh_cli_fail(error);

        g_autoptr(GString) target = g_string_new("/api/v1/resources");
        bh_api_param(target, "kind", argc > 1 ? argv[1] : NULL);
        bh_api_param(target, "application", application);
        bh_api_param(target, "node", node);
        bh_api_param(target, "scope", scope);
        bh_api_param(target, "search", search);
        json_auto_t *list = bh_api_list(api, target->str, "resources", 0, NULL, &error);
        if (!list)
                return bh_cli_fail(error);

        g_autoptr(GPtrArray) rows = g_ptr_array_new();
        json_t *r;
        size_t i;
        json_array_foreach(list, i, r)
                g_ptr_array_add(rows, r);
        g_ptr_array_sort(rows, by_kind_and_name);
        if (json)
                for (guint k = 0; k < rows->len; k++)
                        bh_out_json(rows->pdata[k]);
        else if (!rows->len)
                puts("nothing is known: no runtime has told yet, or it has none");
        else
                print_table(rows);
        return bh_out_finish();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What files require: a version of the engine, versions of plugins. */
#include <string.h>

#include "rules/load.h"

/* "0.57.0", also with "-rc1" or "+build" after it. */
static gboolean parse_version(const char *text, guint32 v[3]) {
        for (guint i = 0; i < 3; i++) {
                guint64 n = 0;

                if (!g_ascii_isdigit(*text))
                        return FALSE;
                for (; g_ascii_isdigit(*text); text++)
                        if ((n = n * 10 + (guint64) (*text - '0')) > G_MAXUINT32)
                                return FALSE;
                v[i] = (guint32) n;
                if (i < 2 && *text++ != '.')
                        return FALSE;
        }
        return *text == '\0' || *text == '-' || *text == '+';
}

/* Same major, and not older. */
static gboolean compatible(const char *have, const guint32 need[3]) {
        guint32 own[3] = { 0 };

        parse_version(have, own);
        if (own[0] != need[0])
                return FALSE;
        return own[1] != need[1] ? own[1] > need[1] : own[2] >= need[2];
}

static void engine_version(BhLoader *l, const BhYaml *item) {
        static const char *const known[] = { "required_engine_version" };
        const BhYaml *v;
        guint32 need[3] = { 0 };
        guint64 n;

        bh_load_unknown_keys(l, item, known, 1);
        if (!bh_load_scalar(l, item, "required_engine_version", BH_KEY_NEEDED, &v))
                return;
        g_autofree char *q = bh_load_quote(v->text, v->n);
        if (strlen(v->text) == v->n && g_ascii_string_to_unsigned(v->text, 10, 0, G_MAXUINT32, &n, NULL)) {
                need[1] = (guint32) n; /* N alone is 0.N.0 */
        } else if (strlen(v->text) != v->n || !parse_version(v->text, need)) {
                bh_load_problem(l, BH_ERROR, "LOAD_ERR_YAML_VALIDATE", bh_load_pos(l, v), NULL, "%s is no version: write it as in 0.57.0, or as a whole number", q);
                return;
        }
        if (!compatible(BH_RULES_ENGINE_VERSION, need))
                bh_load_problem(l, BH_ERROR, "LOAD_ERR_VALIDATE", bh_load_pos(l, v), NULL,
                                "the rules require version %s of the rule language, and this is version " BH_RULES_ENGINE_VERSION ": upgrade Bulkhead, or take rules for this version", q);
}

static const char *plugin_version(const char *name) {
        return g_str_equal(name, "container") ? BH_RULES_CONTAINER_VERSION : NULL;
}

/* One {name, version}; FALSE: told. *met: it is there. */
static gboolean requirement(BhLoader *l, const BhYaml *map, GHashTable *names, GString *wanted, gboolean *met) {
        const BhYaml *name, *version;
        guint32 need[3];

        if (map->kind != BH_YAML_MAP) {
                bh_load_problem(l, BH_ERROR, "LOAD_ERR_YAML_VALIDATE", bh_load_pos(l, map), NULL, "a required plugin must be a map of \"name\" and \"version\"");
                return FALSE;
        }
        if (!bh_load_scalar(l, map, "name", BH_KEY_NEEDED, &name) || !bh_load_scalar(l, map, "version", BH_KEY_NEEDED, &version))
                return FALSE;
        g_autofree char *qn = bh_load_quote(name->text, name->n), *qv = bh_load_quote(version->text, version->n);
        if (!parse_version(version->text, need)) {
                bh_load_problem(l, BH_ERROR, "LOAD_ERR_VALIDATE", bh_load_pos(l, version), NULL, "%s is no version for the plugin %s: write it as in 0.4.0", qv, qn);
                return FALSE;
        }
        if (!g_hash_table_add(names, (gpointer) name->text)) {
                bh_load_problem(l, BH_ERROR, "LOAD_ERR_VALIDATE", bh_load_pos(l, name), NULL, "the plugin %s is among the alternatives twice: keep one", qn);
                return FALSE;
        }
        g_string_append_printf(wanted, "%s%s (%s or later)", wanted->len ? ", " : "", qn, qv);
        const char *have = plugin_version(name->text);
        *met = *met || (have && compatible(have, need));
        return TRUE;
}

static void plugin_versions(BhLoader *l, const BhYaml *item) {
        static const char *const known[] = { "required_plugin_versions" };
        const BhYaml *k = NULL, *list = bh_yaml_get(item, "required_plugin_versions", &k);

        bh_load_unknown_keys(l, item, known, 1);
        if (list->kind != BH_YAML_SEQUENCE) {
                bh_load_problem(l, BH_ERROR, "LOAD_ERR_YAML_VALIDATE", bh_load_pos(l, k), NULL, "\"required_plugin_versions\" must be a list");
                return;
        }
        for (guint i = 0; i < list->n; i++) {
                g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
                g_autoptr(GString) wanted = g_string_new(NULL);
                const BhYaml *alternatives;
                gboolean met = FALSE, good = requirement(l, list->nodes[i], names, wanted, &met);

                alternatives = bh_yaml_get(list->nodes[i], "alternatives", &k);
                if (alternatives && alternatives->kind != BH_YAML_SEQUENCE) {
                        bh_load_problem(l, BH_ERROR, "LOAD_ERR_YAML_VALIDATE", bh_load_pos(l, k), NULL, "\"alternatives\" must be a list");
                        good = FALSE;
                        alternatives = NULL;
                }
                for (guint j = 0; alternatives && j < MIN(alternatives->n, 100); j++)
                        good = requirement(l, alternatives->nodes[j], names, wanted, &met) && good;
                if (good && !met)
                        bh_load_problem(l, BH_ERROR, "LOAD_ERR_VALIDATE", bh_load_pos(l, list->nodes[i]), NULL,
                                        "the rules require one of the plugins %s: there are no plugins here but \"container\" " BH_RULES_CONTAINER_VERSION
                                        ", which is native; take the requirement and the rules that need it away",
                                        wanted->str);
        }
}

void bh_load_requirements(BhLoader *l, const BhYaml *item) {
        if (bh_yaml_get(item, "required_engine_version", NULL))
                engine_version(l, item);
        else
                plugin_versions(l, item);
}

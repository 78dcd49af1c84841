/* SPDX-License-Identifier: Apache-2.0 */
#include "rules.h"

#include <string.h>

#include "base/fdio.h"
#include "base/log.h"
#include "bus/body.h"
#include "bus/bus.pb-c.h"
#include "rules/engine.h"
#include "spread.h"
#include "store/store_rules.h"

#include <fcntl.h>

struct BhRules {
        GPtrArray *default_names, *default_texts;
        BhCentral *central;
        GMutex check_lock;
        BhSpread *spread; /* NULL: not started */
};

static int by_name(gconstpointer a, gconstpointer b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

BhRules *bh_rules_new(const char *default_dir) {
        BhRules *r = g_new0(BhRules, 1);
        g_autoptr(GDir) dir = default_dir ? g_dir_open(default_dir, 0, NULL) : NULL;

        g_mutex_init(&r->check_lock);
        r->default_names = g_ptr_array_new_with_free_func(g_free);
        r->default_texts = g_ptr_array_new_with_free_func(g_free);
        for (const char *name; dir && (name = g_dir_read_name(dir)); )
                if (bh_store_rule_name_valid(name))
                        g_ptr_array_add(r->default_names, g_strdup(name));
        g_ptr_array_sort(r->default_names, by_name);
        for (guint i = 0; i < r->default_names->len; i++) {
                g_autofree char *path = g_build_filename(default_dir, r->default_names->pdata[i], NULL);
                g_autoptr(GError) error = NULL;
                char *text = bh_file_read(AT_FDCWD, path, BH_RULES_FILE_MAX, NULL, NULL, &error);

                if (!text)
                        bh_warn("cannot read a default rule file", "error", error->message);
                g_ptr_array_add(r->default_texts, text ? text : g_strdup(""));
        }
        return r;
}

void bh_rules_free(BhRules *r) {
        if (!r)
                return;
        bh_spread_free(r->spread);
        g_ptr_array_unref(r->default_names);
        g_ptr_array_unref(r->default_texts);
        g_mutex_clear(&r->check_lock);
        g_free(r);
}

/* ---- checking ---- */

static void problem_free(gpointer data) {
        BhEngineProblem *p = data;

        g_free(p->what);
        g_free(p);
}

BhRuleSet *bh_rules_check(BhRules *r, BhStore *store, const char *name, const char *text, GPtrArray **compiled, GError **error) {
        g_autoptr(GMutexLocker) one = g_mutex_locker_new(&r->check_lock);
        g_autoptr(GPtrArray) files = bh_store_rule_files(store, error);
        g_autoptr(GArray) sources = g_array_new(FALSE, TRUE, sizeof(BhRuleSource));
        gboolean put = !text;

        if (!files)
                return NULL;
        for (guint i = 0; i < r->default_names->len; i++) {
                BhRuleSource s = { r->default_names->pdata[i], r->default_texts->pdata[i], strlen(r->default_texts->pdata[i]) };

                g_array_append_val(sources, s);
        }
        /* by name, as the nodes load them */
        for (guint i = 0; i <= files->len; i++) {
                const BhStoreText *f = i < files->len ? files->pdata[i] : NULL;

                if (!put && (!f || strcmp(f->name, name) >= 0)) {
                        BhRuleSource s = { name, text, strlen(text) };

                        g_array_append_val(sources, s);
                        put = TRUE;
                }
                if (f && (!name || strcmp(f->name, name) != 0)) {
                        BhRuleSource s = { f->name, f->text, strlen(f->text) };

                        g_array_append_val(sources, s);
                }
        }

        BhRuleSet *set = bh_rule_set_load((const BhRuleSource *) (gpointer) sources->data, sources->len, NULL);
        *compiled = g_ptr_array_new_with_free_func(problem_free);
        if (!bh_rule_set_errors(set)) /* patterns are the compiler's to refuse */
                bh_rule_engine_unref(bh_rule_engine_new(set, NULL, *compiled, NULL));
        return set;
}

/* ---- sending ---- */

static GBytes *pack(gpointer data, char **digest) {
        BhRules *r = data;
        g_autoptr(GError) error = NULL;
        g_autoptr(GPtrArray) files = bh_store_rule_files(r->central->store, &error);
        Bulkhead__Bus__V1__RulesSet m = BULKHEAD__BUS__V1__RULES_SET__INIT;

        if (!files) {
                bh_error("cannot read the rule files", "error", error->message);
                return NULL;
        }

        g_autofree Bulkhead__Bus__V1__RuleFile *each = g_new0(Bulkhead__Bus__V1__RuleFile, files->len + 1);
        g_autofree Bulkhead__Bus__V1__RuleFile **list = g_new0(Bulkhead__Bus__V1__RuleFile *, files->len + 1);
        for (guint i = 0; i < files->len; i++) {
                const BhStoreText *f = files->pdata[i];

                bulkhead__bus__v1__rule_file__init(&each[i]);
                each[i].name = f->name;
                each[i].text = bh_bus_text(f->text);
                list[i] = &each[i];
        }
        m.files = list;
        m.n_files = files->len;
        *digest = bh_spread_digest(files);
        m.digest = bh_bus_text(*digest);
        return bh_bus_body_pack(&m.base);
}

/* A refusal is told line by line, each with a place in a file; anything else is the connection's. */
static gboolean refused(const char *error) {
        return strstr(error, "error:") != NULL;
}

void bh_rules_start(BhRules *r, BhCentral *c) {
        static const BhSpreadWhat what = { "rules_set", "bh-rules", pack, refused };

        r->central = c;
        r->spread = bh_spread_new(c, &what, r);
}

void bh_rules_stop(BhRules *r) {
        if (r)
                bh_spread_stop(r->spread);
}

void bh_rules_node_up(BhRules *r, const char *node) {
        if (r)
                bh_spread_node_up(r->spread, node);
}

void bh_rules_changed(BhRules *r) {
        bh_spread_changed(r->spread);
}

void bh_rules_append_nodes(BhRules *r, GString *out) {
        bh_spread_append_nodes(r->spread, out);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Files, their items, lists and macros; then all that was read becomes rules. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/escape.h"
#include "base/fdio.h"
#include "rules/load.h"

/* --- problems ---------------------------------------------------------------------------------------------------- */

static void keep(BhLoader *l, gboolean error, const char *code, struct bh_pos pos, const char *object, char *what) {
        g_autofree char *key = g_strdup_printf("%u:%u:%u:%s:%s", pos.file, pos.line, pos.column, code, what);

        if (g_hash_table_contains(l->told, key)) {
                g_free(what);
                return;
        }
        if (g_hash_table_size(l->told) < 4 * BH_RULES_PROBLEMS_MAX)
                g_hash_table_add(l->told, g_steal_pointer(&key));
        if (error)
                l->set->errors++;
        else
                l->set->warnings++;
        if (l->set->problems->len >= BH_RULES_PROBLEMS_MAX) {
                /* errors are worth more than warnings */
                BhRuleProblem *last = error ? g_ptr_array_index(l->set->problems, l->set->problems->len - 1) : NULL;

                if (!last || last->error) {
                        g_free(what);
                        return;
                }
                g_ptr_array_set_size(l->set->problems, (gint) l->set->problems->len - 1);
        }
        BhRuleProblem *p = g_new0(BhRuleProblem, 1);
        p->error = error;
        p->code = g_strdup(code);
        p->pos = pos;
        p->what = what;
        p->object = g_strdup(object);
        g_ptr_array_add(l->set->problems, p);
}

void bh_load_problem(BhLoader *l, gboolean error, const char *code, struct bh_pos pos, const char *object, const char *format, ...) {
        va_list args;

        va_start(args, format);
        keep(l, error, code, pos, object, g_strdup_vprintf(format, args));
        va_end(args);
}

/* An error of the item that is being read. */
static gboolean bad(BhLoader *l, const BhYaml *at, const char *format, ...) G_GNUC_PRINTF(3, 4);
static gboolean bad(BhLoader *l, const BhYaml *at, const char *format, ...) {
        va_list args;

        va_start(args, format);
        keep(l, BH_ERROR, "LOAD_ERR_YAML_VALIDATE", bh_load_pos(l, at), l->object, g_strdup_vprintf(format, args));
        va_end(args);
        return FALSE;
}

/* --- values of keys ---------------------------------------------------------------------------------------------- */

gboolean bh_load_scalar(BhLoader *l, const BhYaml *map, const char *key, BhKeyNeed need, const BhYaml **out) {
        const BhYaml *k = NULL, *v = bh_yaml_get(map, key, &k);

        *out = NULL;
        if (!v)
                return need == BH_KEY_NEEDED ? bad(l, map, "the key \"%s\" is missing: add it", key) : TRUE;
        if (v->kind == BH_YAML_NULL || (v->kind == BH_YAML_SCALAR && !v->n))
                return need == BH_KEY_OPTIONAL_EMPTY ? TRUE : bad(l, k, "the key \"%s\" has no value: add one, or take the key away", key);
        if (v->kind != BH_YAML_SCALAR)
                return bad(l, v, "\"%s\" must be one value, not a %s", key, v->kind == BH_YAML_MAP ? "map" : "list");
        *out = v;
        return TRUE;
}

gboolean bh_load_bool(BhLoader *l, const BhYaml *map, const char *key, gboolean *out) {
        static const struct {
                const char *text;
                gboolean value;
        } words[] = { { "true", TRUE }, { "false", FALSE }, { "yes", TRUE }, { "no", FALSE }, { "on", TRUE }, { "off", FALSE }, { "y", TRUE }, { "n", FALSE } };
        const BhYaml *v;

        if (!bh_load_scalar(l, map, key, BH_KEY_OPTIONAL, &v))
                return FALSE;
        if (!v)
                return TRUE;
        for (gsize i = 0; i < G_N_ELEMENTS(words); i++) {
                g_autofree char *upper = g_ascii_strup(words[i].text, -1), *first = g_strdup(words[i].text);

                first[0] = g_ascii_toupper(first[0]);
                if (bh_yaml_is(v, words[i].text) || bh_yaml_is(v, upper) || bh_yaml_is(v, first)) {
                        *out = words[i].value;
                        return TRUE;
                }
        }
        g_autofree char *q = bh_load_quote(v->text, v->n);
        return bad(l, v, "\"%s\" must be true or false, not %s", key, q);
}

gboolean bh_load_count(BhLoader *l, const BhYaml *map, const char *key, guint32 *out) {
        const BhYaml *v;
        guint64 n;

        if (!bh_load_scalar(l, map, key, BH_KEY_OPTIONAL, &v))
                return FALSE;
        if (!v)
                return TRUE;
        if (strlen(v->text) != v->n || !g_ascii_string_to_unsigned(v->text, 10, 0, G_MAXUINT32, &n, NULL)) {
                g_autofree char *q = bh_load_quote(v->text, v->n);

                return bad(l, v, "\"%s\" must be a whole number from 0 to 4294967295, not %s", key, q);
        }
        *out = (guint32) n;
        return TRUE;
}

gboolean bh_load_sequence(BhLoader *l, const BhYaml *map, const char *key, BhKeyNeed need, const BhYaml **out) {
        const BhYaml *k = NULL, *v = bh_yaml_get(map, key, &k);

        *out = NULL;
        if (!v)
                return need == BH_KEY_NEEDED ? bad(l, map, "the key \"%s\" is missing: add it", key) : TRUE;
        if (v->kind == BH_YAML_NULL && need == BH_KEY_OPTIONAL_EMPTY)
                return TRUE;
        if (v->kind != BH_YAML_SEQUENCE)
                return bad(l, v->kind == BH_YAML_NULL ? k : v, "\"%s\" must be a list, as in [a, b]", key);
        for (guint i = 0; i < v->n; i++)
                if (v->nodes[i]->kind != BH_YAML_SCALAR && v->nodes[i]->kind != BH_YAML_NULL)
                        return bad(l, v->nodes[i], "\"%s\" must hold single values only, no lists or maps", key);
                else if (v->nodes[i]->kind == BH_YAML_NULL)
                        return bad(l, v->nodes[i], "\"%s\" holds a value that is nothing: put it in quotes if it is a text", key);
        *out = v;
        return TRUE;
}

gboolean bh_load_unknown_keys(BhLoader *l, const BhYaml *map, const char *const known[], guint n) {
        if (map->kind != BH_YAML_MAP)
                return TRUE;
        if (map->n > 2 * BH_RULES_KEYS_MAX)
                return bad(l, map, "more than 100 keys: a map here has fifteen at most");
        for (guint i = 0; i + 1 < map->n; i += 2) {
                const BhYaml *k = map->nodes[i];
                gboolean found = FALSE;

                for (guint j = 0; j < n && !found; j++)
                        found = bh_yaml_is(k, known[j]);
                if (found) {
                        if (bh_yaml_get(map, k->text, NULL) != map->nodes[i + 1])
                                bh_load_problem(l, BH_WARN, "LOAD_UNKNOWN_KEY", bh_load_pos(l, k), l->object, "the key \"%s\" is here twice: the first one counts", k->text);
                        continue;
                }
                g_autofree char *q = k->kind == BH_YAML_SCALAR ? bh_load_quote(k->text, k->n) : g_strdup("that is no text");
                g_autofree char *like = k->kind == BH_YAML_SCALAR ? bh_load_like_words(l, known, n, k->text, k->n) : g_strdup("");
                bh_load_problem(l, BH_WARN, "LOAD_UNKNOWN_KEY", bh_load_pos(l, k), l->object, "the key %s is unknown here and is ignored%s", q, like);
        }
        return TRUE;
}

gboolean bh_load_override(BhLoader *l, const BhYaml *item, const char *const keys[], guint n, guint32 may_append, guint32 may_replace, guint32 *append, guint32 *replace) {
        const BhYaml *o = bh_yaml_get(item, "override", NULL);
        gboolean good = TRUE;

        *append = *replace = 0;
        if (!o || o->kind == BH_YAML_NULL)
                return TRUE;
        if (o->kind != BH_YAML_MAP || o->n > 2 * BH_RULES_KEYS_MAX)
                return bad(l, o, "\"override\" must be a map of keys to append or replace, as in \"condition: append\"");
        for (guint i = 0; i + 1 < o->n; i += 2) {
                const BhYaml *k = o->nodes[i], *v = o->nodes[i + 1];
                guint32 bit = 0;

                for (guint j = 0; j < n; j++)
                        if (bh_yaml_is(k, keys[j]))
                                bit = 1u << j;
                g_autofree char *q = k->kind == BH_YAML_SCALAR ? bh_load_quote(k->text, k->n) : g_strdup("that is no text");
                g_autofree char *like = !bit && k->kind == BH_YAML_SCALAR ? bh_load_like_words(l, keys, n, k->text, k->n) : g_strdup("");
                if (bh_yaml_is(v, "append")) {
                        if (bit & may_append)
                                *append |= bit;
                        else
                                good = bad(l, k, "the key %s cannot be appended to%s%s", q, bit & may_replace ? ": use replace" : "", like);
                } else if (bh_yaml_is(v, "replace")) {
                        if (bit & may_replace)
                                *replace |= bit;
                        else
                                good = bad(l, k, "the key %s cannot be replaced%s", q, like);
                } else {
                        good = bad(l, v, "the override of %s must be %s", q, bit & may_append ? "append or replace" : bit & may_replace ? "replace" : "of a key that can be overridden");
                }
        }
        return good;
}

/* --- lists and macros -------------------------------------------------------------------------------------------- */

static const BhYaml *named(BhLoader *l, const BhYaml *item, const char *kind, char **object) {
        const BhYaml *name;

        *object = NULL;
        if (!bh_load_scalar(l, item, kind, BH_KEY_NEEDED, &name))
                return NULL;
        if (strlen(name->text) != name->n) {
                bad(l, name, "the name of a %s cannot hold a NUL byte", kind);
                return NULL;
        }
        g_autofree char *q = bh_load_quote(name->text, name->n);
        *object = g_strdup_printf("%s %s", kind, q);
        l->object = *object;
        return name;
}

/* append: true and override of `key`, the item's only one. FALSE: told. */
static gboolean appending(BhLoader *l, const BhYaml *item, const char *key, gboolean *append) {
        const char *keys[] = { key };
        guint32 appended, replaced;
        const BhYaml *k = NULL;

        *append = FALSE;
        if (!bh_load_bool(l, item, "append", append))
                return FALSE;
        if (*append) {
                bh_yaml_get(item, "append", &k);
                bh_load_problem(l, BH_WARN, "LOAD_DEPRECATED_ITEM", bh_load_pos(l, k), l->object, "\"append: true\" is deprecated: write \"%s: append\" under \"override\" instead", key);
        }
        if (!bh_load_override(l, item, keys, 1, 1, 1, &appended, &replaced))
                return FALSE;
        if (*append && (appended || replaced))
                return bad(l, item, "\"override\" and \"append: true\" cannot stand together: write \"%s: append\" under \"override\" alone", key);
        *append = *append || appended;
        return TRUE;
}

static gboolean all_of(const BhYaml *name, gsize (*lex)(BhParser *)) {
        BhParser p = { .s = name->text, .n = name->n };

        return lex(&p) == name->n;
}

static void load_list(BhLoader *l, const BhYaml *item) {
        static const char *const known[] = { "list", "items", "append", "override" };
        g_autofree char *object = NULL;
        const BhYaml *name = named(l, item, "list", &object), *items;
        gboolean append, good = name != NULL, odd;

        good = bh_load_unknown_keys(l, item, known, G_N_ELEMENTS(known)) && good;
        good = bh_load_sequence(l, item, "items", BH_KEY_NEEDED, &items) && good;
        good = appending(l, item, "items", &append) && good;
        if (!good)
                return;
        if ((odd = !all_of(name, bh_lex_bare)))
                bh_load_problem(l, BH_WARN, "LOAD_INVALID_LIST_NAME", bh_load_pos(l, name), object, "a list's name should have no blanks and none of ()\"'=, in it");
        BhListDef *d = g_hash_table_lookup(l->lists_by, name->text);
        if (append && !d) {
                g_autofree char *like = bh_load_like(l, l->lists_by, name->text, name->n);

                bh_load_problem(l, BH_ERROR, "LOAD_ERR_VALIDATE", bh_load_pos(l, name), object, "no list of that name stands before, to append to%s", like);
                return;
        }
        if (!d) {
                d = g_new0(BhListDef, 1);
                d->name = g_strdup(name->text);
                d->items = g_array_new(FALSE, FALSE, sizeof(BhItem));
                d->index = l->next_index;
                g_ptr_array_add(l->lists, d);
                g_hash_table_insert(l->lists_by, d->name, d);
                if (odd && l->odd_lists->len < BH_RULES_ODD_LISTS_MAX)
                        g_ptr_array_add(l->odd_lists, d);
        }
        if (!append) {
                g_array_set_size(d->items, 0);
                d->pos = bh_load_pos(l, item);
        }
        d->visibility = l->next_index++;
        if (d->items->len + items->n > BH_RULES_ITEMS_MAX) {
                bh_load_problem(l, BH_ERROR, "LOAD_ERR_VALIDATE", bh_load_pos(l, items), object, "a list of more than 1,000,000 items is refused: split it");
                return;
        }
        for (guint i = 0; i < items->n; i++) {
                BhItem it = { .text = items->nodes[i]->text, .len = items->nodes[i]->n, .file = bh_yaml_file_number(l->file), .off = items->nodes[i]->start };

                g_array_append_val(d->items, it);
        }
}

static void load_macro(BhLoader *l, const BhYaml *item) {
        static const char *const known[] = { "macro", "condition", "append", "override" };
        g_autofree char *object = NULL;
        const BhYaml *name = named(l, item, "macro", &object), *condition;
        gboolean append, good = name != NULL;

        good = bh_load_unknown_keys(l, item, known, G_N_ELEMENTS(known)) && good;
        good = bh_load_scalar(l, item, "condition", BH_KEY_NEEDED, &condition) && good;
        good = appending(l, item, "condition", &append) && good;
        if (!good)
                return;
        if (!all_of(name, bh_lex_identifier))
                bh_load_problem(l, BH_WARN, "LOAD_INVALID_MACRO_NAME", bh_load_pos(l, name), object,
                                "no condition can use a macro of this name: write letters, digits and \"_\" only, a letter first");
        BhMacroDef *d = g_hash_table_lookup(l->macros_by, name->text);
        if (append && !d) {
                g_autofree char *like = bh_load_like(l, l->macros_by, name->text, name->n);

                bh_load_problem(l, BH_ERROR, "LOAD_ERR_VALIDATE", bh_load_pos(l, name), object, "no macro of that name stands before, to append to%s", like);
                return;
        }
        if (!d) {
                if (l->macros->len >= BH_RULES_RULES_MAX) {
                        bh_load_problem(l, BH_ERROR, "LOAD_ERR_VALIDATE", bh_load_pos(l, name), object, "more than 20,000 macros: the others are not read");
                        return;
                }
                d = g_new0(BhMacroDef, 1);
                d->name = g_strdup(name->text);
                d->condition = bh_text_new();
                d->faults = g_ptr_array_new_with_free_func(bh_fault_free);
                d->index = l->next_index;
                g_ptr_array_add(l->macros, d);
                g_hash_table_insert(l->macros_by, d->name, d);
        }
        if (!append) {
                bh_text_clear(d->condition);
                d->pos = bh_load_pos(l, item);
        }
        d->visibility = l->next_index++;
        bh_text_add(d->condition, l->file, condition);
}

/* --- files ------------------------------------------------------------------------------------------------------- */

static void on_item(gpointer user, const BhYaml *item) {
        BhLoader *l = user;

        l->object = NULL;
        if (item->kind != BH_YAML_MAP) {
                bad(l, item, "an element of a rules file must be a map that begins with \"rule:\", \"macro:\" or \"list:\"");
        } else if (bh_yaml_get(item, "required_engine_version", NULL) || bh_yaml_get(item, "required_plugin_versions", NULL)) {
                bh_load_requirements(l, item);
        } else if (bh_yaml_get(item, "list", NULL)) {
                load_list(l, item);
        } else if (bh_yaml_get(item, "macro", NULL)) {
                load_macro(l, item);
        } else if (bh_yaml_get(item, "rule", NULL)) {
                bh_load_rule(l, item);
        } else {
                static const char *const known[] = { "rule", "macro", "list", "required_engine_version", "required_plugin_versions" };
                const BhYaml *k = item->n ? item->nodes[0] : NULL;
                g_autofree char *like = k && k->kind == BH_YAML_SCALAR ? bh_load_like_words(l, known, G_N_ELEMENTS(known), k->text, k->n) : g_strdup("");

                bh_load_problem(l, BH_WARN, "LOAD_UNKNOWN_ITEM", bh_load_pos(l, item), NULL, "this is neither rule, macro, list nor requirement, and is ignored%s", like);
        }
        l->object = NULL;
}

static void on_document(gpointer user, const BhYaml *node) {
        BhLoader *l = user;

        l->object = NULL;
        if (bh_load_is_config(node))
                bh_load_config(l, node);
        else
                bad(l, node, node->kind == BH_YAML_MAP ? "a rules file must be a list: begin each rule, macro and list with \"- \" at the line's start"
                                                       : "this is no rules file: it must be a list of rules, macros and lists");
}

static void on_problem(gpointer user, guint32 at, const char *code, const char *what) {
        BhLoader *l = user;
        g_autofree char *clean = bh_escape_cell(what, -1);

        bh_load_problem(l, BH_ERROR, code, bh_load_pos_at(l, bh_yaml_file_number(l->file), at), NULL, "%s", clean);
}

static void unreadable(BhLoader *l, guint number, const char *what) {
        bh_load_problem(l, BH_ERROR, "LOAD_ERR_FILE_READ", (struct bh_pos) { .file = number }, NULL, "%s", what);
}

/* The bytes of a rules file; NULL: told. */
static char *read_file(BhLoader *l, guint number, const char *path, gsize *len) {
        g_auto(BhFd) fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        g_autofree char *text = NULL;
        struct stat st;
        gssize got;

        if (fd < 0 || fstat(fd, &st) < 0) {
                unreadable(l, number, g_strerror(errno));
                return NULL;
        }
        if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode)) {
                unreadable(l, number, S_ISDIR(st.st_mode) ? "this is a directory: name the files in it" : "this is no file");
                return NULL;
        }
        if (st.st_size > (off_t) BH_RULES_FILE_MAX) {
                unreadable(l, number, "a rules file of more than 16 MiB is refused: split it");
                return NULL;
        }
        /* a pipe has no size, and a file may grow while it is read */
        gsize room = S_ISREG(st.st_mode) ? (gsize) st.st_size + 1 : 64u << 10;
        text = g_malloc(room);
        *len = 0;
        for (;;) {
                if (*len == room)
                        text = g_realloc(text, room = MIN(2 * room, BH_RULES_FILE_MAX + 1));
                got = read(fd, text + *len, room - *len);
                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0) {
                        unreadable(l, number, g_strerror(errno));
                        return NULL;
                }
                *len += (gsize) got;
                if (*len > BH_RULES_FILE_MAX) {
                        unreadable(l, number, "a rules file of more than 16 MiB is refused: split it");
                        return NULL;
                }
                if (!got)
                        return g_steal_pointer(&text);
        }
}

static void load_file(BhLoader *l, const BhRuleSource *source) {
        static const BhYamlCalls calls = { on_item, on_document, on_problem };
        guint number = l->files->len;
        g_autofree char *own = NULL;
        const char *text = source->text;
        gsize len = source->len;

        g_ptr_array_add(l->set->files, g_strdup(source->name));
        if (!text)
                text = own = read_file(l, number, source->name, &len);
        if (text && len > BH_RULES_FILE_MAX) {
                unreadable(l, number, "a rules file of more than 16 MiB is refused: split it");
                text = NULL;
        }
        if (text && l->bytes + len > BH_RULES_TOTAL_MAX) {
                unreadable(l, number, "all rules files together have more than 32 MiB: this one is not read");
                text = NULL;
        }
        l->bytes += text ? len : 0;
        /* an unreadable file is an empty one, so that numbers stay */
        BhYamlFile *f = bh_yaml_file_new(source->name, number, text ? text : "", text ? len : 0);
        g_ptr_array_add(l->files, f);
        l->file = f;
        bh_yaml_read(f, &calls, l);
}

/* --- the whole --------------------------------------------------------------------------------------------------- */

static void list_free(gpointer p) {
        BhListDef *d = p;

        g_free(d->name);
        g_array_unref(d->items);
        g_clear_pointer(&d->values, g_ptr_array_unref);
        g_free(d);
}

static void macro_free(gpointer p) {
        BhMacroDef *d = p;

        g_free(d->name);
        bh_text_free(d->condition);
        bh_cond_free(d->tree);
        g_ptr_array_unref(d->faults);
        g_free(d);
}

static void rule_def_free(gpointer p) {
        BhRuleDef *d = p;

        bh_rule_free(d->rule);
        bh_text_free(d->condition);
        bh_text_free(d->output);
        g_ptr_array_unref(d->exceptions);
        g_free(d);
}

static void append_free(gpointer p) {
        BhAppendDef *a = p;

        g_free(a->rule);
        g_free(a->source);
        g_ptr_array_unref(a->tags);
        bh_text_free(a->output);
        g_ptr_array_unref(a->fields);
        g_ptr_array_unref(a->fields_text);
        g_free(a);
}

BhLoader *bh_loader_new(const BhRuleLoadOptions *options) {
        static const BhRuleLoadOptions none = { 0 };
        BhLoader *l = g_new0(BhLoader, 1);

        l->set = bh_rule_set_new();
        l->options = options ? options : &none;
        l->set->matching_all = l->options->rule_matching_all;
        l->files = g_ptr_array_new_with_free_func((GDestroyNotify) bh_yaml_file_free);
        l->lists = g_ptr_array_new_with_free_func(list_free);
        l->macros = g_ptr_array_new_with_free_func(macro_free);
        l->rules = g_ptr_array_new_with_free_func(rule_def_free);
        l->appends = g_ptr_array_new_with_free_func(append_free);
        l->lists_by = g_hash_table_new(g_str_hash, g_str_equal);
        l->macros_by = g_hash_table_new(g_str_hash, g_str_equal);
        l->rules_by = g_hash_table_new(g_str_hash, g_str_equal);
        l->odd_lists = g_ptr_array_new();
        l->lists_of = g_hash_table_new(NULL, NULL);
        l->macros_told = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        l->told = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        return l;
}

void bh_loader_free(BhLoader *l) {
        if (!l)
                return;
        g_hash_table_unref(l->lists_by);
        g_hash_table_unref(l->lists_of);
        g_hash_table_unref(l->macros_by);
        g_hash_table_unref(l->rules_by);
        g_hash_table_unref(l->told);
        g_hash_table_unref(l->macros_told);
        g_ptr_array_unref(l->odd_lists);
        g_ptr_array_unref(l->lists);
        g_ptr_array_unref(l->macros);
        g_ptr_array_unref(l->rules);
        g_ptr_array_unref(l->appends);
        g_ptr_array_unref(l->files);
        bh_rule_set_unref(l->set);
        g_free(l);
}

BhText *bh_loader_text(BhLoader *l, const char *text, gsize len) {
        BhTextRun run = { 0 };
        BhText *t = bh_text_new();

        g_ptr_array_add(l->set->files, g_strdup("condition"));
        g_ptr_array_add(l->files, bh_yaml_file_new("condition", 0, text, len));
        g_string_append_len(t->s, text, (gssize) len);
        g_array_append_val(t->runs, run);
        return t;
}

BhRuleSet *bh_rule_set_load(const BhRuleSource *files, guint n_files, const BhRuleLoadOptions *options) {
        g_autoptr(BhLoader) l = bh_loader_new(options);

        for (guint i = 0; i < n_files; i++) {
                if (i >= BH_RULES_FILES_MAX) {
                        unreadable(l, i - 1, "more than 1,024 files: the others are not read");
                        break;
                }
                load_file(l, &files[i]);
        }
        bh_rules_make(l);
        l->set->n_lists = l->lists->len;
        l->set->n_macros = l->macros->len;
        bh_rule_set_sort(l->set);
        return bh_rule_set_ref(l->set);
}

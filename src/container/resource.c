/* SPDX-License-Identifier: Apache-2.0 */
#include "container/resource.h"

#include <string.h>

static void clear_label(gpointer p) {
        BhKeyValue *l = p;

        g_free(l->key);
        g_free(l->value);
}

static char *bounded(const char *text) {
        g_autofree char *cut = g_strndup(text ? text : "", BH_CONTAINER_MAX_TEXT);

        /* the cut may have gone through a character */
        return g_utf8_validate(cut, -1, NULL) ? g_steal_pointer(&cut) : g_utf8_make_valid(cut, -1);
}

BhResource *bh_resource_new(const char *kind, const char *id, const char *name) {
        BhResource *r = g_new0(BhResource, 1);

        r->kind = g_strdup(kind);
        r->id = bounded(id);
        r->name = bounded(name);
        r->application = g_strdup("");
        r->detail = g_strdup("{}");
        r->labels = g_array_new(FALSE, FALSE, sizeof(BhKeyValue));
        g_array_set_clear_func(r->labels, clear_label);
        return r;
}

void bh_resource_free(BhResource *r) {
        if (!r)
                return;
        g_free(r->kind);
        g_free(r->id);
        g_free(r->name);
        g_free(r->application);
        g_free(r->detail);
        g_array_unref(r->labels);
        g_free(r);
}

static gint by_key(gconstpointer a, gconstpointer b) {
        return strcmp(((const BhKeyValue *) a)->key, ((const BhKeyValue *) b)->key);
}

const char *bh_resource_label(const BhResource *r, const char *key) {
        for (guint i = 0; i < r->labels->len; i++)
                if (!strcmp(g_array_index(r->labels, BhKeyValue, i).key, key))
                        return g_array_index(r->labels, BhKeyValue, i).value;
        return NULL;
}

void bh_resource_take_labels(BhResource *r, const json_t *labels) {
        /* the same order as for containers: bh_workload_derive() */
        static const char *const groups[] = { "com.docker.stack.namespace", "com.docker.compose.project", "io.podman.compose.project", "app.kubernetes.io/part-of",
                                              "io.kubernetes.pod.namespace" };
        const char *key;
        json_t *value;

        json_object_foreach((json_t *) labels, key, value) {
                const char *text = json_string_value(value);

                if (!text || r->labels->len >= BH_CONTAINER_MAX_LABELS || strlen(key) > BH_CONTAINER_MAX_LABEL_KEY)
                        continue;
                BhKeyValue l = { g_strdup(key), bounded(text) };
                g_array_append_val(r->labels, l);
        }
        g_array_sort(r->labels, by_key);
        for (gsize i = 0; i < G_N_ELEMENTS(groups); i++) {
                value = json_object_get(labels, groups[i]);
                if (!json_is_string(value) || !*json_string_value(value))
                        continue;
                g_free(r->application);
                r->application = bounded(json_string_value(value));
                break;
        }
}

void bh_resource_set_detail(BhResource *r, json_t *detail) {
        char *text = json_dumps(detail, JSON_COMPACT);

        json_decref(detail);
        g_free(r->detail);
        r->detail = text && strlen(text) <= BH_RESOURCE_DETAIL_MAX ? g_strdup(text) : g_strdup("{\"refused\":true}");
        free(text);
}

/* ---- sets ---- */

BhResourceSet *bh_resource_set_new(const char *source, const char *scope) {
        BhResourceSet *s = g_new0(BhResourceSet, 1);

        g_atomic_ref_count_init(&s->refs);
        s->source = g_strdup(source);
        s->scope = g_strdup(scope);
        s->resources = g_ptr_array_new_with_free_func((GDestroyNotify) bh_resource_free);
        return s;
}

BhResourceSet *bh_resource_set_ref(BhResourceSet *s) {
        g_atomic_ref_count_inc(&s->refs);
        return s;
}

void bh_resource_set_unref(BhResourceSet *s) {
        if (!s || !g_atomic_ref_count_dec(&s->refs))
                return;
        g_free(s->source);
        g_free(s->scope);
        g_ptr_array_unref(s->resources);
        g_free(s);
}

static gsize size_of(const BhResource *r) {
        gsize n = strlen(r->kind) + strlen(r->id) + strlen(r->name) + strlen(r->application) + strlen(r->detail) + 64;

        for (guint i = 0; i < r->labels->len; i++)
                n += strlen(g_array_index(r->labels, BhKeyValue, i).key) + strlen(g_array_index(r->labels, BhKeyValue, i).value) + 8;
        return n;
}

gboolean bh_resource_set_add(BhResourceSet *s, BhResource *r) {
        if (!r)
                return FALSE;
        gsize n = size_of(r);

        if (s->resources->len >= BH_RESOURCE_MAX || s->bytes + n > BH_RESOURCE_SET_BYTES) {
                s->refused++;
                bh_resource_free(r);
                return FALSE;
        }
        s->bytes += n;
        g_ptr_array_add(s->resources, r);
        return TRUE;
}

void bh_resource_set_keep(BhResourceSet *s, const BhResourceSet *from, const char *kind) {
        for (guint i = 0; from && i < from->resources->len; i++) {
                const BhResource *r = from->resources->pdata[i];

                if (strcmp(r->kind, kind))
                        continue;
                BhResource *copy = bh_resource_new(r->kind, r->id, r->name);
                for (guint j = 0; j < r->labels->len; j++) {
                        const BhKeyValue *l = &g_array_index(r->labels, BhKeyValue, j);
                        BhKeyValue mine = { g_strdup(l->key), g_strdup(l->value) };

                        g_array_append_val(copy->labels, mine);
                }
                g_free(copy->application);
                copy->application = g_strdup(r->application);
                g_free(copy->detail);
                copy->detail = g_strdup(r->detail);
                copy->created_ns = r->created_ns;
                copy->updated_ns = r->updated_ns;
                bh_resource_set_add(s, copy);
        }
}

static gint by_kind_and_id(gconstpointer pa, gconstpointer pb) {
        const BhResource *a = *(BhResource *const *) pa, *b = *(BhResource *const *) pb;
        int order = strcmp(a->kind, b->kind);

        return order ? order : strcmp(a->id, b->id);
}

void bh_resource_set_sort(BhResourceSet *s) {
        g_ptr_array_sort(s->resources, by_kind_and_id);
}

static gboolean same(const BhResource *a, const BhResource *b) {
        if (strcmp(a->kind, b->kind) || strcmp(a->id, b->id) || strcmp(a->name, b->name) || strcmp(a->application, b->application) || strcmp(a->detail, b->detail) ||
            a->created_ns != b->created_ns || a->updated_ns != b->updated_ns || a->labels->len != b->labels->len)
                return FALSE;
        for (guint i = 0; i < a->labels->len; i++) {
                const BhKeyValue *x = &g_array_index(a->labels, BhKeyValue, i), *y = &g_array_index(b->labels, BhKeyValue, i);

                if (strcmp(x->key, y->key) || strcmp(x->value, y->value))
                        return FALSE;
        }
        return TRUE;
}

gboolean bh_resource_set_equal(const BhResourceSet *a, const BhResourceSet *b) {
        if (!a || !b)
                return a == b;
        if (strcmp(a->source, b->source) || strcmp(a->scope, b->scope) || a->refused != b->refused || a->resources->len != b->resources->len)
                return FALSE;
        for (guint i = 0; i < a->resources->len; i++)
                if (!same(a->resources->pdata[i], b->resources->pdata[i]))
                        return FALSE;
        return TRUE;
}

const BhResource *bh_resource_set_find(const BhResourceSet *s, const char *kind, const char *id) {
        for (guint i = 0; s && i < s->resources->len; i++) {
                const BhResource *r = s->resources->pdata[i];

                if (!strcmp(r->kind, kind) && !strcmp(r->id, id))
                        return r;
        }
        return NULL;
}

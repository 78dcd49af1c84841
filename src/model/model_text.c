/* SPDX-License-Identifier: Apache-2.0 */
/* Models as text: for review, for another installation, for other tools. */
#include <gio/gio.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "model/template.h"

#define LINE_BYTES (16u << 10)

static int by_text(gconstpointer pa, gconstpointer pb) {
        const BhItem *a = *(const BhItem *const *) pa, *b = *(const BhItem *const *) pb;
        int c = (int) a->family - (int) b->family;

        if (!c)
                c = strcmp(a->actor, b->actor);
        if (!c)
                c = strcmp(a->object, b->object);
        if (!c)
                c = strcmp(a->detail, b->detail);
        return c ? c : (a->uid > b->uid) - (a->uid < b->uid);
}

static GPtrArray *sorted(const BhModelVersion *v) {
        GPtrArray *all = g_ptr_array_new();
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, v->facets->items);
        while (g_hash_table_iter_next(&it, &p, NULL))
                g_ptr_array_add(all, p);
        g_ptr_array_sort(all, by_text);
        return all;
}

/* Texts of a model are UTF-8: who makes acts sees to it. One that is not is left out of the text, and so of what is imported. */
static void append_object(GString *out, json_t *o) {
        char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;

        if (text)
                g_string_append_printf(out, "%s\n", text);
        free(text);
        json_decref(o);
}

char *bh_model_export(const BhModel *m, const BhModelVersion *v) {
        GString *out = g_string_new(NULL);
        g_autoptr(GPtrArray) all = sorted(v);

        append_object(out, json_pack("{s:i, s:s, s:s, s:s, s:f, s:I}", "bulkhead_model", 1, "application", m->application, "workload", m->workload, "image_digest", v->digest,
                                     "container_hours", v->facets->trials * m->scale->slot_ns / 3600e9, "starts", (json_int_t) MIN(v->facets->starts, G_MAXINT64)));
        for (guint k = 0; k < all->len; k++) {
                const BhItem *i = all->pdata[k];

                if (i->flags & (BH_ITEM_LEARNED | BH_ITEM_FORBIDDEN))
                        append_object(out, json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:b}", "family", bh_family_kind(i->family), "actor", i->actor, "object", i->object, "detail", i->detail, "uid",
                                                     (json_int_t) i->uid, "count", (json_int_t) MIN(i->count, G_MAXINT64), "forbidden", !!(i->flags & BH_ITEM_FORBIDDEN)));
        }
        return g_string_free(out, FALSE);
}

static gboolean wrong(GError **error, guint line, const char *what) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "line %u: %s", line, what);
        return FALSE;
}

static const char *text_of(json_t *o, const char *key) {
        const char *text = json_string_value(json_object_get(o, key));

        return text && strlen(text) <= BH_FACET_TEXT ? text : NULL;
}

static gboolean read_item(json_t *o, guint line, BhItem *out, GError **error) {
        const char *kind = text_of(o, "family");
        json_int_t uid = json_integer_value(json_object_get(o, "uid"));

        *out = (BhItem){
                .family = kind ? (guint8) bh_family_from_kind(kind) : 0,
                .actor = text_of(o, "actor"),
                .object = text_of(o, "object"),
                .detail = text_of(o, "detail"),
                .example = "",
                .why = "",
                .uid = (guint32) uid,
                .slot = -1,
                .count = (guint64) MAX(json_integer_value(json_object_get(o, "count")), 0),
                .flags = json_is_true(json_object_get(o, "forbidden")) ? BH_ITEM_FORBIDDEN : BH_ITEM_LEARNED | BH_ITEM_ACCEPTED | BH_ITEM_INHERITED,
        };
        if (out->family == BH_FAMILY_NONE)
                return wrong(error, line, "\"family\" is none that this Bulkhead knows");
        if (!out->actor || !out->object || !out->detail)
                return wrong(error, line, "an item needs the texts \"actor\", \"object\" and \"detail\", of at most 1024 bytes each");
        if (uid < 0 || uid > G_MAXUINT32)
                return wrong(error, line, "\"uid\" is no user id");
        return TRUE;
}

int bh_model_import(BhModel *m, const char *text, gsize len, const char *digest, gint64 now_ns, GError **error) {
        g_autoptr(GPtrArray) objects = g_ptr_array_new_with_free_func((GDestroyNotify) json_decref);
        g_autoptr(GArray) items = g_array_new(FALSE, FALSE, sizeof(BhItem));
        g_autofree char *of = g_strdup(digest);
        gboolean headed = FALSE;
        gsize bytes = 0;
        guint line = 0;

        if (len > BH_MODEL_TEXT_MAX)
                return wrong(error, 0, "the text is larger than 4 MiB, as no exported model is") - 1;
        for (gsize at = 0; at < len;) {
                const char *end = memchr(text + at, '\n', len - at);
                gsize n = end ? (gsize) (end - (text + at)) : len - at;
                const char *begin = text + at;

                at += n + 1;
                line++;
                if (!n)
                        continue;
                if (n > LINE_BYTES)
                        return wrong(error, line, "the line is longer than 16 KiB") - 1;
                json_t *o = json_loadb(begin, n, JSON_REJECT_DUPLICATES, NULL);
                if (!json_is_object(o)) {
                        json_decref(o);
                        return wrong(error, line, "this is not a JSON object") - 1;
                }
                g_ptr_array_add(objects, o);
                if (!headed) {
                        if (json_integer_value(json_object_get(o, "bulkhead_model")) != 1)
                                return wrong(error, line, "the first line must have \"bulkhead_model\": 1; is this an exported model?") - 1;
                        if (!of)
                                of = g_strdup(text_of(o, "image_digest") ? text_of(o, "image_digest") : "");
                        headed = TRUE;
                        continue;
                }
                BhItem i;
                if (!read_item(o, line, &i, error))
                        return -1;
                i.first_ns = i.last_ns = now_ns;
                bytes += sizeof(i) + strlen(i.actor) + strlen(i.object) + strlen(i.detail) + 64;
                g_array_append_val(items, i);
        }
        if (!headed)
                return wrong(error, 1, "there is no model in this text") - 1;
        if (bh_model_bytes(m) + bytes > BH_MODEL_BYTES - BH_MODEL_PENDING)
                return wrong(error, line, "so many items do not fit into a model (256 KiB with what is there)") - 1;

        BhModelVersion *v = bh_model_version(m, of);
        if (!v) {
                v = g_new0(BhModelVersion, 1);
                v->digest = g_strdup(of);
                v->facets = bh_facets_new();
                v->first_ns = now_ns;
                if (m->versions->len >= BH_MODEL_VERSIONS)
                        g_ptr_array_remove_index(m->versions, 0);
                g_ptr_array_add(m->versions, v);
        }
        for (guint k = 0; k < items->len; k++) {
                const BhItem *like = &g_array_index(items, BhItem, k);
                const BhAct a = bh_item_act(like);
                BhItem *have = bh_facets_find(v->facets, &a);

                if (!have)
                        bh_facets_restore(v->facets, like);
                else if (like->flags & BH_ITEM_FORBIDDEN)
                        bh_model_forbid(m, v, have->hash);
                else
                        bh_model_accept(m, v, have->hash);
        }
        m->dirty = TRUE;
        return (int) items->len;
}

char *bh_model_allow_list(const BhModel *m, const BhModelVersion *v) {
        json_t *top = json_pack("{s:s, s:s, s:s}", "application", m->application, "workload", m->workload, "image_digest", v->digest);
        g_autoptr(GPtrArray) all = sorted(v);

        for (guint k = 0; top && k < all->len; k++) {
                const BhItem *i = all->pdata[k];
                const char *kind = bh_family_kind(i->family);
                json_t *list = json_object_get(top, kind);

                if (!(i->flags & BH_ITEM_LEARNED) || i->family == BH_FAMILY_ARGS)
                        continue;
                if (!list) {
                        list = json_array();
                        json_object_set_new(top, kind, list);
                }
                json_t *o = json_pack("{s:s, s:s, s:s, s:I}", "actor", i->actor, "object", i->object, "detail", i->detail, "uid", (json_int_t) i->uid);
                if (o)
                        json_array_append_new(list, o);
        }
        char *text = top ? json_dumps(top, JSON_INDENT(2)) : NULL, *out = g_strdup(text ? text : "{}");
        free(text);
        json_decref(top);
        return out;
}

/* "/bin/busybox cat" is that file; NULL: the text names no file that could be looked up. Caller frees. */
static char *file_of(const char *program) {
        static const char *const many[] = { "/busybox ", "/toybox ", "/coreutils " };

        if (*program != '/' || !program[1] || g_str_has_prefix(program, "/memfd:") || strpbrk(program, "\n\r") || g_str_has_suffix(program, " (deleted)"))
                return NULL;
        for (guint i = 0; i < G_N_ELEMENTS(many); i++) {
                const char *found = strstr(program, many[i]);

                if (found)
                        return g_strndup(program, (gsize) (found - program) + strlen(many[i]) - 1);
        }
        return g_strdup(program);
}

/* Said of the file, and not of who started it (never.c). */
static gboolean not_of_image(const BhItem *i) {
        return g_str_has_prefix(i->why, "a program ");
}

static int by_name(gconstpointer pa, gconstpointer pb) {
        return strcmp(*(const char *const *) pa, *(const char *const *) pb);
}

char **bh_model_programs(const BhModelVersion *v) {
        g_autoptr(GHashTable) known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL), refused = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_autoptr(GPtrArray) all = sorted(v), out = g_ptr_array_new();
        GHashTableIter it;
        gpointer file, any;

        for (guint k = 0; k < all->len; k++) {
                const BhItem *i = all->pdata[k];
                g_autofree char *program = i->family == BH_FAMILY_EXEC ? file_of(i->object) : NULL;

                if (!program)
                        continue;
                if (!(i->flags & BH_ITEM_LEARNED))
                        g_hash_table_add(refused, g_steal_pointer(&program));
                else if (i->flags & BH_ITEM_ACCEPTED && not_of_image(i))
                        g_hash_table_insert(known, g_steal_pointer(&program), GUINT_TO_POINTER(1));
                else if (!g_hash_table_contains(known, program))
                        g_hash_table_insert(known, g_steal_pointer(&program), NULL);
        }
        /* who starts them ran, though perhaps before anybody looked: but for what was seen to start and is not known */
        for (guint k = 0; k < all->len; k++) {
                const BhItem *i = all->pdata[k];
                g_autofree char *program = i->family == BH_FAMILY_EXEC && i->flags & BH_ITEM_LEARNED ? file_of(i->actor) : NULL;

                if (program && !g_hash_table_contains(known, program) && !g_hash_table_contains(refused, program) && !bh_template_writable(program, strlen(program)))
                        g_hash_table_insert(known, g_steal_pointer(&program), NULL);
        }
        g_hash_table_iter_init(&it, known);
        while (g_hash_table_iter_next(&it, &file, &any))
                g_ptr_array_add(out, any ? g_strconcat("any:", file, NULL) : g_strdup(file));
        g_ptr_array_sort(out, by_name);
        g_ptr_array_add(out, NULL);
        return (char **) g_ptr_array_free(g_steal_pointer(&out), FALSE);
}

/* A YAML text that nothing in it can leave: a JSON string is one. */
static void append_quoted(GString *out, const char *text, gsize len) {
        json_t *s = json_stringn(text, len);
        char *quoted = s ? json_dumps(s, JSON_ENCODE_ANY) : NULL;

        g_string_append(out, quoted ? quoted : "\"\"");
        free(quoted);
        json_decref(s);
}

static void append_rule(GString *out, const BhItem *i, gboolean egress) {
        const char *slash = strchr(i->detail, '/'), *proto = strchr(i->detail, ' ');
        gboolean workload = g_str_has_prefix(i->object, "workload "), network = g_str_has_prefix(i->object, "network ");
        guint64 port = slash ? g_ascii_strtoull(slash + 1, NULL, 10) : 0;

        if (!workload && !network) {
                g_string_append(out, "    # no selector for: ");
                append_quoted(out, i->object, strlen(i->object));
                g_string_append(out, "\n");
                return;
        }
        g_string_append_printf(out, "    - %s:\n", egress ? "to" : "from");
        if (workload) {
                const char *name = strrchr(i->object, '/');

                g_string_append(out, "        - podSelector:\n            matchLabels:\n              app: ");
                append_quoted(out, name ? name + 1 : i->object, strlen(name ? name + 1 : i->object));
                g_string_append(out, "\n");
        } else {
                g_string_append(out, "        - ipBlock:\n            cidr: ");
                append_quoted(out, i->object + 8, strlen(i->object + 8));
                g_string_append(out, "\n");
        }
        if (port && port < 65536)
                g_string_append_printf(out, "      ports:\n        - protocol: %s\n          port: %u\n", proto && g_str_has_prefix(proto + 1, "udp") ? "UDP" : "TCP", (guint) port);
}

char *bh_model_network_policy(const BhModel *m, const BhModelVersion *v) {
        GString *out = g_string_new("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: ");
        g_autoptr(GPtrArray) all = sorted(v);

        append_quoted(out, m->workload, strlen(m->workload));
        g_string_append(out, "\nspec:\n  podSelector:\n    matchLabels:\n      app: ");
        append_quoted(out, m->workload, strlen(m->workload));
        g_string_append(out, "\n  policyTypes: [Ingress, Egress]\n");
        for (guint egress = 0; egress < 2; egress++) {
                gboolean any = FALSE;

                for (guint k = 0; k < all->len; k++) {
                        const BhItem *i = all->pdata[k];

                        if (i->family != BH_FAMILY_PEER || !(i->flags & BH_ITEM_LEARNED) || g_str_has_prefix(i->detail, "out ") != !!egress)
                                continue;
                        if (!any)
                                g_string_append(out, egress ? "  egress:\n" : "  ingress:\n");
                        any = TRUE;
                        append_rule(out, i, egress);
                }
                if (!any)
                        g_string_append(out, egress ? "  egress: []\n" : "  ingress: []\n");
        }
        return g_string_free(out, FALSE);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Layers of containerd's images: decoding, and the client's way to them. */
#include "container/containerd_layers.h"

#include <string.h>
#include <sys/utsname.h>

#include "container/containerd_private.h"
#include "container/docker_json.h"

#define IMAGES_MAX 4096u /* whose layers are kept */
#define AT_ONCE 4u       /* blobs that are read */

/* ---- bytes ---- */

GByteArray *bh_containerd_content(const guint8 *body, gsize len) {
        g_autoptr(GByteArray) out = g_byte_array_new();
        const guint8 *data;
        gsize from = 0, n;
        BhGrpcTake took;

        while ((took = bh_grpc_take(body, len, &from, &data, &n)) == BH_GRPC_MESSAGE)
                if (!bh_containerd_content_piece(data, n, BH_CONTAINERD_BLOB_MAX, out))
                        return NULL;
        return took == BH_GRPC_MORE && from == len && out->len ? g_steal_pointer(&out) : NULL;
}

static const char *text_of(const json_t *o, const char *key) {
        const char *s = json_string_value(json_object_get(o, key));

        return s ? s : "";
}

/* The manifest of this platform; one that names none serves where it is the only one. */
static const char *choose(const json_t *manifests, const char *architecture) {
        size_t i;
        json_t *m;

        json_array_foreach((json_t *) manifests, i, m) {
                const json_t *platform = json_object_get(m, "platform");

                if (!strcmp(text_of(platform, "os"), "linux") && !strcmp(text_of(platform, "architecture"), architecture))
                        return text_of(m, "digest");
        }
        return json_array_size(manifests) == 1 ? text_of(json_array_get(manifests, 0), "digest") : "";
}

gboolean bh_containerd_blob(char *text, gsize len, const char *architecture, char **next, char ***layers) {
        json_t *doc = bh_docker_json_load(text, len, NULL), *manifests = json_object_get(doc, "manifests"), *ids = json_object_get(json_object_get(doc, "rootfs"), "diff_ids"), *e;
        const char *digest = json_is_array(manifests) ? choose(manifests, architecture) : text_of(json_object_get(doc, "config"), "digest");
        g_autoptr(GPtrArray) out = g_ptr_array_new();
        size_t i;

        *next = NULL;
        *layers = NULL;
        json_array_foreach(ids, i, e)
                if (json_is_string(e) && out->len < BH_CONTAINER_MAX_LIST)
                        g_ptr_array_add(out, (gpointer) json_string_value(e));
        if (bh_docker_id_is_safe(digest)) {
                *next = g_strdup(digest);
        } else if (out->len) {
                g_ptr_array_add(out, NULL);
                *layers = g_strdupv((char **) out->pdata);
        }
        json_decref(doc);
        return *next || *layers;
}

/* ---- the client ---- */

/* As images call what uname calls otherwise. */
static const char *architecture(void) {
        static const char *const names[][2] = { { "x86_64", "amd64" }, { "aarch64", "arm64" }, { "armv7l", "arm" }, { "i686", "386" }, { "loongarch64", "loong64" } };
        static char own[sizeof((struct utsname *) NULL)->machine];
        struct utsname u;

        if (*own)
                return own;
        if (uname(&u) == 0)
                g_strlcpy(own, u.machine, sizeof own);
        for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
                if (!strcmp(own, names[i][0]))
                        g_strlcpy(own, names[i][1], sizeof own);
        return own;
}

/* Starts as many of those that wait as may be at once. A target is "NAMESPACE IMAGE BLOB DEPTH". */
static void go_on(BhContainerd *d) {
        while (d->reading < AT_ONCE && !g_queue_is_empty(&d->to_read)) {
                g_autofree char *target = g_queue_pop_head(&d->to_read);
                g_auto(GStrv) parts = g_strsplit(target, " ", 4);

                bh_containerd_ask_for(d, CALL_CONTENT, target, parts[0], parts[2]);
                d->reading++;
        }
}

static void read_blob(BhContainerd *d, const char *namespace, const char *image, const char *blob, guint depth) {
        g_queue_push_tail(&d->to_read, g_strdup_printf("%s %s %s %u", namespace, image, blob, depth));
        go_on(d);
}

void bh_containerd_set_layers(BhContainerd *d, const char *namespace, BhContainer *c) {
        char **layers = NULL;

        if (!*c->image_id || c->layers[0])
                return;
        if (g_hash_table_lookup_extended(d->layers, c->image_id, NULL, (gpointer *) &layers)) {
                if (layers)
                        bh_container_set_list(c, &c->layers, (const char *const *) layers, -1);
                return;
        }
        if (g_hash_table_size(d->layers) >= IMAGES_MAX) {
                COUNT(d, layers_refused);
                return;
        }
        g_hash_table_insert(d->layers, g_strdup(c->image_id), NULL);
        read_blob(d, namespace, c->image_id, c->image_id, 1);
}

static void publish(BhContainerd *d, const char *image) {
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, d->known);
        while (g_hash_table_iter_next(&it, NULL, &p)) {
                Known *k = p;

                if (strcmp(k->c->image_id, image) || k->c->layers[0])
                        continue;
                BhContainer *c = bh_container_dup(k->c);
                bh_containerd_set_layers(d, k->namespace, c);
                bh_containerd_publish(d, k, c);
        }
}

void bh_containerd_take_blob(BhContainerd *d, const BhGrpcCall *call, gboolean ok) {
        g_auto(GStrv) parts = g_strsplit(call->target, " ", 4), layers = NULL;
        g_autoptr(GByteArray) blob = ok ? bh_containerd_content(call->body->data, call->body->len) : NULL;
        guint depth = (guint) g_ascii_strtoull(parts[3], NULL, 10);
        g_autofree char *next = NULL;

        d->reading--;
        if (blob) {
                g_autofree char *text = g_strndup((const char *) blob->data, blob->len);

                if (!bh_containerd_blob(text, strlen(text), architecture(), &next, &layers) || (next && depth >= BH_CONTAINERD_BLOBS))
                        COUNT(d, answers_bad);
        } else if (ok) {
                COUNT(d, answers_bad);
        }
        if (next && depth < BH_CONTAINERD_BLOBS) {
                read_blob(d, parts[0], parts[1], next, depth + 1);
        } else if (layers) {
                g_hash_table_insert(d->layers, g_strdup(parts[1]), g_steal_pointer(&layers));
                publish(d, parts[1]);
        }
        go_on(d);
}

static gboolean is_unknown(gpointer image, gpointer layers, gpointer data) {
        return layers == NULL;
}

void bh_containerd_forget_reading(BhContainerd *d) {
        d->reading = 0;
        g_queue_clear_full(&d->to_read, g_free);
        g_hash_table_foreach_remove(d->layers, is_unknown, NULL);
}

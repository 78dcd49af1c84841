/* SPDX-License-Identifier: Apache-2.0 */
/* What containerd's socket, OCI specifications and the Docker Engine's lists of resources carry: the first byte chooses the decoder, the rest is its input. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "container/containerd_layers.h"
#include "container/containerd_messages.h"
#include "container/docker_things.h"
#include "container/grpc.h"
#include "container/oci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(BhContainer *c) {
        g_autoptr(BhContainer) copy = bh_container_dup(c);
        json_t *a = bh_container_to_json(c), *b = bh_container_to_json(copy);

        assert(json_equal(a, b));
        assert(c->runs->len <= BH_CONTAINER_MAX_RUNS && g_strv_length(c->risks) <= BH_CONTAINER_MAX_RISKS && g_strv_length(c->capabilities) <= 41);
        json_decref(a);
        json_decref(b);
}

static void use_all(GPtrArray *list) {
        for (guint i = 0; list && i < list->len; i++)
                use(list->pdata[i]);
        if (list)
                g_ptr_array_unref(list);
}

/* A stream of messages, each an event, as the client reads it. */
static void fuzz_stream(const uint8_t *data, size_t size) {
        const guint8 *message;
        gsize from = 0, len;
        BhGrpcTake took;

        while ((took = bh_grpc_take(data, size, &from, &message, &len)) == BH_GRPC_MESSAGE) {
                g_autoptr(BhContainerdEvent) ev = bh_containerd_event(message, len);

                assert(from <= size && message >= data && message + len <= data + size);
                assert(!ev || (ev->topic && ev->id && ev->exec_id && ev->image && ev->namespace));
        }
        assert(took == BH_GRPC_MORE || took == BH_GRPC_BAD);
}

/* An answer of the content store, and what is in it. */
static void fuzz_blob(const uint8_t *data, size_t size) {
        g_autoptr(GByteArray) content = bh_containerd_content(data, size);
        g_autofree char *copy = content ? g_strndup((const char *) content->data, content->len) : g_strndup((const char *) data, size), *next = NULL;
        g_auto(GStrv) layers = NULL;
        gboolean leads = bh_containerd_blob(copy, strlen(copy), "amd64", &next, &layers);

        assert(leads == (next || layers) && !(next && layers) && (!content || content->len <= BH_CONTAINERD_BLOB_MAX));
        assert(!next || bh_docker_id_is_safe(next));
        assert(!layers || g_strv_length(layers) <= BH_CONTAINER_MAX_LIST);
}

static void fuzz_spec(const uint8_t *data, size_t size) {
        g_autofree char *copy = g_strndup((const char *) data, size);
        json_t *spec = bh_oci_load(copy, strlen(copy), NULL);
        g_autoptr(BhContainer) c = bh_container_new("c", "runc");

        if (spec) {
                bh_oci_apply(c, spec);
                c->level = BH_CONTAINER_FULL;
                bh_container_finish(c);
                use(c);
        }
        json_decref(spec);
}

static void check(BhResourceSet *s) {
        if (!s)
                return;
        assert(s->resources->len <= BH_RESOURCE_MAX && s->bytes <= BH_RESOURCE_SET_BYTES);
        for (guint i = 0; i < s->resources->len; i++) {
                const BhResource *r = s->resources->pdata[i];
                json_t *detail = json_loads(r->detail, 0, NULL);

                assert(json_is_object(detail) && strlen(r->detail) <= BH_RESOURCE_DETAIL_MAX);
                assert(g_utf8_validate(r->id, -1, NULL) && g_utf8_validate(r->name, -1, NULL));
                json_decref(detail);
        }
        assert(bh_resource_set_equal(s, s));
        bh_resource_set_unref(s);
}

/* The next byte says of which question it is the answer. */
static void fuzz_things(const uint8_t *data, size_t size) {
        if (size < 1)
                return;
        g_autofree char *copy = g_strndup((const char *) data + 1, size - 1);
        json_t *doc = bh_docker_json_load(copy, strlen(copy), NULL);
        BhDockerThings t = { .info = { .known = TRUE, .manager = TRUE, .cluster_id = "c" }, .engine_version = "1" };

        if (!doc)
                return;
        if (data[0] % 10 == 9) {
                bh_docker_json_info(doc, &t.info, NULL);
                json_decref(doc);
        } else if (data[0] % 10 == 8) {
                g_auto(GStrv) layers = bh_docker_json_image_layers(doc);

                assert(layers);
                t.inspected = g_ptr_array_new_with_free_func((GDestroyNotify) json_decref);
                g_ptr_array_add(t.inspected, doc);
                t.answers[BH_DOCKER_NETWORKS] = json_pack("[O]", doc);
        } else {
                t.answers[data[0] % 10] = doc;
        }
        check(bh_docker_node_set(&t, NULL, NULL));
        check(bh_docker_swarm_set(&t, NULL));
        bh_docker_things_clear(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        guint bad = 0;

        if (size < 1)
                return 0;
        const uint8_t *in = data + 1;
        size_t n = size - 1;
        switch (data[0] % 9) {
        case 0:
                fuzz_stream(in, n);
                break;
        case 1:
                use_all(bh_containerd_containers(in, n, "n", FALSE, &bad));
                break;
        case 2:
                use_all(bh_containerd_containers(in, n, "n", TRUE, &bad));
                break;
        case 3: {
                g_autoptr(GArray) tasks = bh_containerd_tasks(in, n, &bad);

                assert(!tasks || tasks->len <= n);
                break;
        }
        case 4: {
                g_autoptr(GPtrArray) images = bh_containerd_images(in, n, "n", &bad);

                assert(!images || images->len <= n);
                break;
        }
        case 5: {
                g_auto(GStrv) names = bh_containerd_namespaces(in, n);
                g_autofree char *version = bh_containerd_version(in, n);

                assert((!names || g_strv_length(names) <= 256) && (!version || g_utf8_validate(version, -1, NULL)));
                break;
        }
        case 6:
                fuzz_spec(in, n);
                break;
        case 8:
                fuzz_blob(in, n);
                break;
        default:
                fuzz_things(in, n);
        }
        return 0;
}

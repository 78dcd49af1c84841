/* SPDX-License-Identifier: Apache-2.0 */
#include "container/oci_storage.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fdio.h"
#include "container/docker_json.h"
#include "container/oci.h"
#include "container/oci_state.h"
#include "container/workload.h"

#define CONTAINERS "-containers"
#define IMAGES "-images"

static const char *const defaults[] = { "/run/containers/storage/overlay" CONTAINERS, "/var/lib/containers/storage/overlay" CONTAINERS, "/var/lib/containers/storage/vfs" CONTAINERS,
                                        "/var/lib/containers/storage/btrfs" CONTAINERS };

json_t *bh_oci_read_json(const char *path, gsize max) {
        g_auto(BhFd) fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        gboolean truncated = FALSE;
        struct stat st;
        gsize len;

        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != 0 || (guint64) st.st_size > max)
                return NULL;
        g_autofree char *proc = g_strdup_printf("/proc/self/fd/%d", fd), *text = bh_file_read(AT_FDCWD, proc, max, &len, &truncated, NULL);
        return text && !truncated ? bh_docker_json_load(text, len, NULL) : NULL;
}

static const char *text_of(const json_t *o, const char *key) {
        const char *s = json_string_value(json_object_get(o, key));

        return s ? s : "";
}

/* Places of a storage's containers, where the bundle's is first: char *, owned by the array. "/ROOT/overlay-containers/ID/userdata" is a bundle in one. */
static GPtrArray *places(const char *prefix, const char *bundle) {
        GPtrArray *out = g_ptr_array_new_with_free_func(g_free);
        g_autofree char *own = g_path_get_dirname(bundle), *place = g_path_get_dirname(own);

        if (*bundle == '/' && g_str_has_suffix(place, CONTAINERS))
                g_ptr_array_add(out, g_strconcat(prefix, place, NULL));
        for (gsize i = 0; i < G_N_ELEMENTS(defaults); i++)
                if (strcmp(defaults[i], place))
                        g_ptr_array_add(out, g_strconcat(prefix, defaults[i], NULL));
        return out;
}

json_t *bh_oci_storage_spec(const char *prefix, const char *bundle, const char *id) {
        g_autoptr(GPtrArray) all = places(prefix, bundle);
        json_t *doc = NULL;

        for (guint i = 0; i < all->len && !doc; i++) {
                g_autofree char *path = g_strdup_printf("%s/%s/userdata/config.json", (const char *) all->pdata[i], id);

                doc = bh_oci_read_json(path, BH_OCI_MAX_TEXT);
        }
        return doc;
}

/* The element of the list in that file whose id it is: a new reference, NULL if there is none. */
static json_t *element(const char *place, const char *file, const char *id) {
        g_autofree char *path = g_build_filename(place, file, NULL);
        json_t *list = bh_oci_read_json(path, BH_OCI_NAMES_MAX), *found = NULL, *e;
        size_t i;

        json_array_foreach(list, i, e)
                if (!strcmp(text_of(e, "id"), id)) {
                        found = json_incref(e);
                        break;
                }
        json_decref(list);
        return found;
}

/* {"id", "digest", "names": []}, and its configuration: {"rootfs": {"diff_ids": []}}, kept under the base 64 of "sha256:ID". */
static void take_image(BhContainer *c, const char *place, const char *id) {
        g_autofree char *images = g_strdup_printf("%.*s" IMAGES, (int) (strlen(place) - strlen(CONTAINERS)), place);
        g_autofree char *name = g_strconcat("sha256:", id, NULL), *encoded = g_base64_encode((const guchar *) name, strlen(name));
        g_autofree char *path = g_strdup_printf("%s/%s/=%s", images, id, encoded), *repository = bh_workload_image_repository(c->image);
        json_t *image = element(images, "images.json", id), *config = bh_oci_read_json(path, BH_OCI_MAX_TEXT), *e;
        g_autoptr(GPtrArray) layers = g_ptr_array_new();
        size_t i;

        if (*text_of(image, "digest") && *repository) {
                g_autofree char *digest = g_strdup_printf("%s@%s", repository, text_of(image, "digest"));

                bh_container_set(c, &c->image_digest, digest);
        }
        json_array_foreach(json_object_get(json_object_get(config, "rootfs"), "diff_ids"), i, e)
                if (json_is_string(e))
                        g_ptr_array_add(layers, (gpointer) json_string_value(e));
        if (layers->len)
                bh_container_set_list(c, &c->layers, (const char *const *) layers->pdata, layers->len);
        json_decref(image);
        json_decref(config);
}

/* {"id", "names": [], "image": id, "metadata": "{\"image-name\": …, \"name\": …}", "created"} */
static void take(BhContainer *c, const char *place, const json_t *e) {
        g_autofree char *copy = g_strdup(text_of(e, "metadata")), *image = NULL;
        json_t *metadata = bh_docker_json_load(copy, strlen(copy), NULL);
        const char *name = json_string_value(json_array_get(json_object_get(e, "names"), 0));

        /* a renamed one has its new name here alone */
        bh_container_set(c, &c->name, name && *name ? name : text_of(metadata, "name"));
        bh_container_set(c, &c->image, text_of(metadata, "image-name"));
        if (bh_docker_id_is_safe(text_of(e, "image"))) {
                image = g_strconcat("sha256:", text_of(e, "image"), NULL);
                bh_container_set(c, &c->image_id, image);
                take_image(c, place, text_of(e, "image"));
        }
        c->created_ns = bh_time_parse(text_of(e, "created"));
        json_decref(metadata);
}

gboolean bh_oci_storage_describe(const char *prefix, const char *bundle, BhContainer *c) {
        static const char *const lists[] = { "containers.json", "volatile-containers.json" };
        g_autoptr(GPtrArray) all = places(prefix, bundle);
        json_t *e = NULL;

        for (guint i = 0; i < all->len && !e; i++)
                for (gsize k = 0; k < G_N_ELEMENTS(lists) && !e; k++) {
                        e = element(all->pdata[i], lists[k], c->id);
                        if (e)
                                take(c, all->pdata[i], e);
                }
        gboolean found = e != NULL;
        json_decref(e);
        return found;
}

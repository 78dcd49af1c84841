/* SPDX-License-Identifier: Apache-2.0 */
#include "container/containerd_messages.h"

#include <protobuf-c/protobuf-c.h>
#include <stdlib.h>
#include <string.h>

#include "container/containerd.pb-c.h"
#include "container/docker_json.h"
#include "container/oci.h"
#include "container/workload.h"

#define MEMORY_MIN (64u << 10)
#define MEMORY_MAX (256u << 20)
#define NAMESPACES_MAX 256u

typedef Bulkhead__Containerd__Container Container;
typedef Bulkhead__Containerd__Timestamp Timestamp;

/* ---- memory in proportion to what came: empty elements of a list cost two bytes there and many here ---- */

typedef struct {
        ProtobufCAllocator allocator;
        gsize left;
} Budget;

static void *budget_alloc(void *data, size_t size) {
        Budget *b = data;

        if (size > b->left)
                return NULL;
        b->left -= size;
        return malloc(size);
}

static void budget_free(void *data, void *p) {
        free(p);
}

static gpointer unpack(const ProtobufCMessageDescriptor *what, const guint8 *data, gsize len) {
        Budget b = { { budget_alloc, budget_free, NULL }, CLAMP(len * 32, MEMORY_MIN, MEMORY_MAX) };

        b.allocator.allocator_data = &b;
        return protobuf_c_message_unpack(what, &b.allocator, len, data);
}

static void release(gpointer m) {
        if (m)
                protobuf_c_message_free_unpacked(m, NULL);
}

static char *text(ProtobufCBinaryData b) {
        g_autofree char *s = g_strndup(b.data ? (const char *) b.data : "", MIN(b.len, BH_CONTAINER_MAX_TEXT));

        return g_utf8_validate(s, -1, NULL) ? g_steal_pointer(&s) : g_utf8_make_valid(s, -1);
}

static gint64 time_of(const Timestamp *t) {
        return t && t->seconds > 0 && t->seconds < G_MAXINT64 / 1000000000 - 1 && t->nanos >= 0 && t->nanos < 1000000000 ? t->seconds * 1000000000 + t->nanos : 0;
}

static gint32 pid_of(guint32 pid) {
        return pid <= G_MAXINT32 ? (gint32) pid : 0;
}

static gint32 exit_of(guint32 status) {
        return status <= G_MAXINT32 ? (gint32) status : -1;
}

/* ---- answers ---- */

char *bh_containerd_version(const guint8 *data, gsize len) {
        Bulkhead__Containerd__VersionResponse *m = unpack(&bulkhead__containerd__version_response__descriptor, data, len);
        char *out = m ? text(m->version) : NULL;

        release(m);
        return out;
}

char **bh_containerd_namespaces(const guint8 *data, gsize len) {
        Bulkhead__Containerd__ListNamespacesResponse *m = unpack(&bulkhead__containerd__list_namespaces_response__descriptor, data, len);
        GPtrArray *out = m ? g_ptr_array_new() : NULL;

        if (!m)
                return NULL;
        for (gsize i = 0; i < m->n_namespaces && out->len < NAMESPACES_MAX; i++) {
                g_autofree char *name = text(m->namespaces[i]->name);

                if (bh_docker_id_is_safe(name))
                        g_ptr_array_add(out, g_steal_pointer(&name));
        }
        g_ptr_array_add(out, NULL);
        release(m);
        return (char **) g_ptr_array_free(out, FALSE);
}

static gboolean is_hex64(const char *s) {
        return strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

/* Whoever manages containerd keeps the name that people know in a label. */
static void set_name(BhContainer *c) {
        static const char *const labels[] = { "nerdctl/name", "io.kubernetes.container.name" };

        for (gsize i = 0; i < G_N_ELEMENTS(labels); i++)
                for (guint j = 0; j < c->labels->len; j++) {
                        const BhKeyValue *l = &g_array_index(c->labels, BhKeyValue, j);

                        if (!strcmp(l->key, labels[i]) && *l->value) {
                                bh_container_set(c, &c->name, l->value);
                                return;
                        }
                }
        if (!is_hex64(c->id))
                bh_container_set(c, &c->name, c->id);
}

static BhContainer *describe(const Container *m, const char *namespace) {
        g_autofree char *id = text(m->id), *image = text(m->image), *sandbox = text(m->sandbox);

        if (!bh_docker_id_is_safe(id))
                return NULL;
        BhContainer *c = bh_container_new(id, "containerd");
        c->level = BH_CONTAINER_FULL;
        c->state = BH_CONTAINER_CREATED;
        bh_container_set(c, &c->image, image);
        c->created_ns = time_of(m->created_at);
        for (gsize i = 0; i < m->n_labels; i++) {
                g_autofree char *key = text(m->labels[i]->key), *value = text(m->labels[i]->value);

                bh_container_add_label(c, key, value);
        }
        if (m->spec && m->spec->value.len) {
                g_autofree char *copy = g_strndup((const char *) m->spec->value.data, m->spec->value.len);
                json_t *spec = bh_oci_load(copy, strlen(copy), NULL);

                if (spec)
                        bh_oci_apply(c, spec);
                else
                        c->refused++;
                json_decref(spec);
        }
        if (*sandbox && strcmp(sandbox, id) && !*c->network_of)
                bh_container_set(c, &c->network_of, sandbox);
        set_name(c);
        bh_container_finish(c);
        return c;
}

GPtrArray *bh_containerd_containers(const guint8 *data, gsize len, const char *namespace, gboolean single, guint *bad) {
        Bulkhead__Containerd__ListContainersResponse *list = single ? NULL : unpack(&bulkhead__containerd__list_containers_response__descriptor, data, len);
        Bulkhead__Containerd__GetContainerResponse *one = single ? unpack(&bulkhead__containerd__get_container_response__descriptor, data, len) : NULL;
        GPtrArray *out;

        if (!list && !one)
                return NULL;
        out = g_ptr_array_new_with_free_func((GDestroyNotify) bh_container_unref);
        for (gsize i = 0; i < (list ? list->n_containers : one->container ? 1 : 0); i++) {
                BhContainer *c = describe(list ? list->containers[i] : one->container, namespace);

                if (c)
                        g_ptr_array_add(out, c);
                else
                        ++*bad;
        }
        release(list);
        release(one);
        return out;
}

static void clear_task(gpointer p) {
        g_free(((BhContainerdTask *) p)->id);
}

GArray *bh_containerd_tasks(const guint8 *data, gsize len, guint *bad) {
        static const BhContainerState states[] = { BH_CONTAINER_STATE_UNKNOWN, BH_CONTAINER_CREATED, BH_CONTAINER_RUNNING, BH_CONTAINER_EXITED, BH_CONTAINER_PAUSED,
                                                   BH_CONTAINER_PAUSED };
        Bulkhead__Containerd__ListTasksResponse *m = unpack(&bulkhead__containerd__list_tasks_response__descriptor, data, len);
        GArray *out;

        if (!m)
                return NULL;
        out = g_array_new(FALSE, FALSE, sizeof(BhContainerdTask));
        g_array_set_clear_func(out, clear_task);
        for (gsize i = 0; i < m->n_tasks; i++) {
                const Bulkhead__Containerd__Process *p = m->tasks[i];
                /* the list names a container's first process by the container's id alone */
                g_autofree char *id = text(p->container_id.len ? p->container_id : p->id);

                if (!bh_docker_id_is_safe(id)) {
                        ++*bad;
                        continue;
                }
                BhContainerdTask t = {
                        .id = g_steal_pointer(&id),
                        .pid = pid_of(p->pid),
                        .state = p->status >= 0 && p->status < (int) G_N_ELEMENTS(states) ? states[p->status] : BH_CONTAINER_STATE_UNKNOWN,
                        .exit_code = exit_of(p->exit_status),
                        .exited_ns = time_of(p->exited_at),
                };
                g_array_append_val(out, t);
        }
        release(m);
        return out;
}

char *bh_containerd_digest_of(const char *image, const char *digest) {
        g_autofree char *repository = bh_workload_image_repository(image);

        return *repository && *digest ? g_strdup_printf("%s@%s", repository, digest) : g_strdup("");
}

GPtrArray *bh_containerd_images(const guint8 *data, gsize len, const char *namespace, guint *bad) {
        Bulkhead__Containerd__ListImagesResponse *m = unpack(&bulkhead__containerd__list_images_response__descriptor, data, len);
        GPtrArray *out;

        if (!m)
                return NULL;
        out = g_ptr_array_new_with_free_func((GDestroyNotify) bh_resource_free);
        for (gsize i = 0; i < m->n_images; i++) {
                const Bulkhead__Containerd__Image *image = m->images[i];
                g_autofree char *name = text(image->name), *digest = image->target ? text(image->target->digest) : g_strdup("");

                if (!*name || !bh_docker_id_is_safe(digest)) {
                        ++*bad;
                        continue;
                }
                BhResource *r = bh_resource_new("image", digest, name);
                r->created_ns = time_of(image->created_at);
                r->updated_ns = time_of(image->updated_at);
                bh_resource_set_detail(r, json_pack("{s:[s], s:s}", "tags", r->name, "namespace", namespace));
                g_ptr_array_add(out, r);
        }
        release(m);
        return out;
}

gboolean bh_containerd_content_piece(const guint8 *data, gsize len, gsize max, GByteArray *out) {
        Bulkhead__Containerd__ReadContentResponse *m = unpack(&bulkhead__containerd__read_content_response__descriptor, data, len);
        gboolean fits = m && m->data.len <= max && out->len <= max - m->data.len;

        if (fits)
                g_byte_array_append(out, m->data.data, (guint) m->data.len);
        release(m);
        return fits;
}

/* ---- events ---- */

void bh_containerd_event_free(BhContainerdEvent *ev) {
        if (!ev)
                return;
        g_free(ev->namespace);
        g_free(ev->topic);
        g_free(ev->id);
        g_free(ev->exec_id);
        g_free(ev->image);
        g_free(ev);
}

static gboolean take_body(BhContainerdEvent *ev, ProtobufCBinaryData b) {
        if (!strcmp(ev->topic, "/tasks/create")) {
                Bulkhead__Containerd__TaskCreate *m = unpack(&bulkhead__containerd__task_create__descriptor, b.data, b.len);

                if (!m)
                        return FALSE;
                ev->id = text(m->container_id);
                ev->pid = pid_of(m->pid);
                release(m);
        } else if (!strcmp(ev->topic, "/tasks/start")) {
                Bulkhead__Containerd__TaskStart *m = unpack(&bulkhead__containerd__task_start__descriptor, b.data, b.len);

                if (!m)
                        return FALSE;
                ev->id = text(m->container_id);
                ev->pid = pid_of(m->pid);
                release(m);
        } else if (!strcmp(ev->topic, "/tasks/exit")) {
                Bulkhead__Containerd__TaskExit *m = unpack(&bulkhead__containerd__task_exit__descriptor, b.data, b.len);

                if (!m)
                        return FALSE;
                ev->id = text(m->container_id);
                ev->exec_id = text(m->id);
                ev->pid = pid_of(m->pid);
                ev->exit_code = exit_of(m->exit_status);
                ev->exited_ns = time_of(m->exited_at);
                release(m);
                /* of the container itself */
                if (!strcmp(ev->exec_id, ev->id))
                        *ev->exec_id = '\0';
        } else if (g_str_has_prefix(ev->topic, "/tasks/exec-")) {
                Bulkhead__Containerd__ExecEvent *m = unpack(&bulkhead__containerd__exec_event__descriptor, b.data, b.len);

                if (!m)
                        return FALSE;
                ev->id = text(m->container_id);
                ev->exec_id = text(m->exec_id);
                ev->pid = pid_of(m->pid);
                release(m);
        } else if (g_str_has_prefix(ev->topic, "/tasks/")) {
                Bulkhead__Containerd__TaskEvent *m = unpack(&bulkhead__containerd__task_event__descriptor, b.data, b.len);

                if (!m)
                        return FALSE;
                ev->id = text(m->container_id);
                release(m);
        } else if (g_str_has_prefix(ev->topic, "/containers/")) {
                Bulkhead__Containerd__ContainerEvent *m = unpack(&bulkhead__containerd__container_event__descriptor, b.data, b.len);

                if (!m)
                        return FALSE;
                ev->id = text(m->id);
                /* of an update, the second field is the image as well */
                ev->image = text(m->image);
                release(m);
        } else if (g_str_has_prefix(ev->topic, "/images/")) {
                Bulkhead__Containerd__ImageEvent *m = unpack(&bulkhead__containerd__image_event__descriptor, b.data, b.len);

                if (!m)
                        return FALSE;
                ev->image = text(m->name);
                release(m);
        }
        return TRUE;
}

BhContainerdEvent *bh_containerd_event(const guint8 *data, gsize len) {
        Bulkhead__Containerd__Envelope *m = unpack(&bulkhead__containerd__envelope__descriptor, data, len);
        g_autoptr(BhContainerdEvent) ev = NULL;
        gboolean ok;

        if (!m)
                return NULL;
        ev = g_new0(BhContainerdEvent, 1);
        ev->time_ns = time_of(m->timestamp);
        ev->namespace = text(m->namespace_);
        ev->topic = text(m->topic);
        ok = *ev->topic && (!m->event || take_body(ev, m->event->value));
        release(m);
        if (!ev->id)
                ev->id = g_strdup("");
        if (!ev->exec_id)
                ev->exec_id = g_strdup("");
        if (!ev->image)
                ev->image = g_strdup("");
        return ok ? g_steal_pointer(&ev) : NULL;
}

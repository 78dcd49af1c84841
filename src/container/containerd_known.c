/* SPDX-License-Identifier: Apache-2.0 */
/* containerd's listings and events, and what is known of each container because of them. */
#include "container/containerd_private.h"

#include <string.h>

#include "container/docker_json.h"

/* ---- what is told ---- */

/* Takes the reference to c. */
void bh_containerd_publish(BhContainerd *d, Known *k, BhContainer *c) {
        bh_container_unref(k->c);
        k->c = c;
        if (d->config.on_container)
                d->config.on_container(c, d->config.data);
}

static void deliver(BhContainerd *d, BhRuntimeEvent *ev) {
        if (ev->synthetic)
                COUNT(d, events_synthetic);
        else
                COUNT(d, events);
        if (d->config.on_event)
                d->config.on_event(ev, d->config.data);
}

static void add_attribute(BhRuntimeEvent *ev, const char *key, const char *value) {
        BhKeyValue a = { g_strdup(key), g_strdup(value) };

        if (*value)
                g_array_append_val(ev->attributes, a);
        else {
                g_free(a.key);
                g_free(a.value);
        }
}

static BhRuntimeEvent *event_of(const Known *k, const char *action, gint64 time_ns, gboolean synthetic) {
        BhRuntimeEvent *ev = bh_runtime_event_new(BH_RUNTIME_CONTAINER, "container", action, k->c->id, time_ns);

        ev->container = bh_container_ref(k->c);
        ev->synthetic = synthetic;
        add_attribute(ev, "image", k->c->image);
        add_attribute(ev, "name", k->c->name);
        add_attribute(ev, "namespace", k->namespace);
        return ev;
}

static void tell(BhContainerd *d, const Known *k, const char *action, gint64 time_ns, gboolean synthetic) {
        g_autoptr(BhRuntimeEvent) ev = event_of(k, action, time_ns, synthetic);

        if (!strcmp(action, "die"))
                ev->exit_code = k->c->exit_code;
        deliver(d, ev);
}

static gint64 wall_ns(void) {
        return g_get_real_time() * 1000;
}

/* ---- listings ---- */

void bh_containerd_list_soon(BhContainerd *d, gint64 delay_us) {
        gint64 at = g_get_monotonic_time() + delay_us;

        if (!d->list_at_us || at < d->list_at_us)
                d->list_at_us = at;
}

void bh_containerd_start_listing(BhContainerd *d, gint64 now) {
        GHashTableIter it;
        gpointer p;

        COUNT(d, listings);
        d->list_at_us = 0;
        d->listing = TRUE;
        d->listing_since_us = now;
        g_hash_table_iter_init(&it, d->known);
        while (g_hash_table_iter_next(&it, NULL, &p))
                ((Known *) p)->listed = ((Known *) p)->tasked = FALSE;
        g_clear_pointer(&d->images, g_ptr_array_unref);
        d->images = g_ptr_array_new_with_free_func((GDestroyNotify) bh_resource_free);
        bh_containerd_ask(d, CALL_NAMESPACES, NULL, NULL, NULL, 0);
}

static gboolean alive(const BhContainer *c) {
        return c->state == BH_CONTAINER_RUNNING || c->state == BH_CONTAINER_PAUSED;
}

/* A container as it is described now, with what only events and tasks tell kept. */
void bh_containerd_take_described(BhContainerd *d, Known *k, BhContainer *c) {
        const BhContainer *old = k->c;
        g_autofree char *key = g_strdup_printf("%s %s", k->namespace, c->image);
        const char *digest = g_hash_table_lookup(d->digests, key);

        if (old) {
                c->state = old->state;
                c->init_pid = old->init_pid;
                c->started_ns = old->started_ns;
                c->finished_ns = old->finished_ns;
                c->exit_code = old->exit_code;
                c->oom_killed = old->oom_killed;
                bh_container_take_runs(c, old);
        }
        if (old && *old->image_id && !strcmp(old->image, c->image)) {
                /* a name may come to mean another image; the container is still of the one that it meant */
                bh_container_set(c, &c->image_digest, old->image_digest);
                bh_container_set(c, &c->image_id, old->image_id);
        } else if (digest) {
                g_autofree char *whole = bh_containerd_digest_of(c->image, digest);

                bh_container_set(c, &c->image_digest, whole);
                bh_container_set(c, &c->image_id, digest);
        }
        bh_containerd_set_layers(d, k->namespace, c);
}

static gboolean equal(const BhContainer *a, const BhContainer *b) {
        json_t *x = bh_container_to_json(a), *y = bh_container_to_json(b);
        gboolean same = a->level == b->level && json_equal(x, y);

        json_decref(x);
        json_decref(y);
        return same;
}

/* NULL, counted, when there are too many or the id is another namespace's. */
static Known *know(BhContainerd *d, const char *id, const char *namespace) {
        Known *k = g_hash_table_lookup(d->known, id);

        if (k && strcmp(k->namespace, namespace)) {
                COUNT(d, ids_twice);
                return NULL;
        }
        if (!k && g_hash_table_size(d->known) >= BH_CONTAINERD_MAX_CONTAINERS) {
                COUNT(d, containers_refused);
                return NULL;
        }
        if (!k) {
                k = g_new0(Known, 1);
                k->namespace = g_strdup(namespace);
                g_hash_table_insert(d->known, g_strdup(id), k);
        }
        return k;
}

void bh_containerd_containers_listed(BhContainerd *d, const char *namespace, GPtrArray *list) {
        for (guint i = 0; i < list->len; i++) {
                BhContainer *c = list->pdata[i];
                Known *k = know(d, c->id, namespace);

                if (!k)
                        continue;
                gboolean fresh = !k->c;
                k->listed = TRUE;
                bh_containerd_take_described(d, k, c);
                if (!fresh && equal(k->c, c))
                        continue;
                bh_containerd_publish(d, k, bh_container_ref(c));
                if (fresh && d->ever_listed)
                        tell(d, k, "create", c->created_ns ? c->created_ns : wall_ns(), TRUE);
        }
}

static void task_is(BhContainerd *d, Known *k, const BhContainerdTask *t) {
        gboolean was = alive(k->c), is = t->state == BH_CONTAINER_RUNNING || t->state == BH_CONTAINER_PAUSED;
        BhContainer *c = bh_container_dup(k->c);

        c->state = t->state;
        c->init_pid = is || t->state == BH_CONTAINER_CREATED ? t->pid : 0;
        if (t->state == BH_CONTAINER_EXITED && (t->exited_ns ? t->exited_ns != c->finished_ns : was)) {
                c->finished_ns = t->exited_ns ? t->exited_ns : wall_ns();
                c->exit_code = t->exit_code;
                bh_container_add_run(c, c->started_ns, c->finished_ns, t->exit_code, c->oom_killed, NULL, TRUE);
        }
        if (is && !was && d->ever_listed)
                c->started_ns = wall_ns();
        if (equal(c, k->c)) {
                bh_container_unref(c);
                return;
        }
        bh_containerd_publish(d, k, c);
        /* the first listing of all is no news */
        if (!d->ever_listed)
                return;
        if (is && !was)
                tell(d, k, "start", c->started_ns, TRUE);
        else if (was && !is)
                tell(d, k, "die", c->finished_ns, TRUE);
}

void bh_containerd_tasks_listed(BhContainerd *d, const char *namespace, GArray *tasks) {
        GHashTableIter it;
        gpointer p;

        for (guint i = 0; i < tasks->len; i++) {
                const BhContainerdTask *t = &g_array_index(tasks, BhContainerdTask, i);
                Known *k = g_hash_table_lookup(d->known, t->id);

                if (!k || strcmp(k->namespace, namespace))
                        continue;
                k->tasked = TRUE;
                if (k->touched_us < d->listing_since_us)
                        task_is(d, k, t);
        }
        /* without a task it does not run */
        g_hash_table_iter_init(&it, d->known);
        while (g_hash_table_iter_next(&it, NULL, &p)) {
                Known *k = p;
                BhContainerdTask gone = { .state = BH_CONTAINER_EXITED, .exit_code = -1 };

                if (!strcmp(k->namespace, namespace) && k->listed && !k->tasked && alive(k->c) && k->touched_us < d->listing_since_us)
                        task_is(d, k, &gone);
        }
}

static void remove_known(BhContainerd *d, const char *id, gint64 time_ns, gboolean synthetic) {
        Known *k = g_hash_table_lookup(d->known, id);
        gboolean was = alive(k->c);
        BhContainer *c = bh_container_dup(k->c);

        c->state = BH_CONTAINER_REMOVED;
        c->init_pid = 0;
        bh_containerd_publish(d, k, c);
        if (was)
                tell(d, k, "die", time_ns, TRUE);
        tell(d, k, "destroy", time_ns, synthetic);
        g_hash_table_remove(d->known, id);
}

static gboolean pod_of(BhResourceSet *s, const Known *k) {
        const BhContainer *c = k->c;
        const char *kind = bh_container_label(c, "io.cri-containerd.kind"), *name = bh_container_label(c, "io.kubernetes.pod.name");
        const char *namespace = bh_container_label(c, "io.kubernetes.pod.namespace"), *uid = bh_container_label(c, "io.kubernetes.pod.uid");

        if (g_strcmp0(kind, "sandbox") || !name)
                return FALSE;
        BhResource *r = bh_resource_new("pod", uid && *uid ? uid : c->id, name);
        g_free(r->application);
        r->application = g_strdup(c->application);
        r->created_ns = c->created_ns;
        bh_resource_set_detail(r, json_pack("{s:s, s:s, s:s}", "namespace", namespace ? namespace : "", "sandbox", c->id, "state", bh_container_state_name(c->state)));
        return bh_resource_set_add(s, r);
}

static void tell_resources(BhContainerd *d) {
        BhResourceSet *s = bh_resource_set_new("containerd", "node");
        json_t *detail = json_object(), *names = json_array();
        BhResource *self = bh_resource_new("node", "containerd", d->version ? d->version : "");
        GHashTableIter it;
        gpointer p;

        for (char **n = d->namespaces; n && *n; n++)
                json_array_append_new(names, json_string(*n));
        json_object_set_new(detail, "engine", json_string(d->version ? d->version : ""));
        json_object_set_new(detail, "namespaces", names);
        bh_resource_set_detail(self, detail);
        bh_resource_set_add(s, self);
        g_hash_table_iter_init(&it, d->known);
        while (g_hash_table_iter_next(&it, NULL, &p))
                pod_of(s, p);
        /* one image has several names, and each namespace its own: each digest once, the first name stands */
        g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
        while (d->images && d->images->len) {
                BhResource *r = g_ptr_array_steal_index(d->images, 0);

                if (g_hash_table_contains(seen, r->id))
                        bh_resource_free(r);
                else if (bh_resource_set_add(s, r))
                        g_hash_table_add(seen, r->id);
        }
        bh_resource_set_sort(s);
        if (bh_resource_set_equal(s, d->set)) {
                bh_resource_set_unref(s);
                return;
        }
        bh_resource_set_unref(d->set);
        d->set = s;
        if (d->config.on_resources)
                d->config.on_resources(s, d->config.data);
}

/* The next namespace, or the end. */
void bh_containerd_list_next(BhContainerd *d) {
        g_autofree char *namespace = g_queue_pop_head(&d->to_list);
        g_autoptr(GPtrArray) gone = g_ptr_array_new_with_free_func(g_free);
        GHashTableIter it;
        gpointer id, p;

        if (namespace) {
                /* images first, so that containers have their digests at once */
                bh_containerd_ask(d, CALL_IMAGES, namespace, namespace, NULL, 0);
                return;
        }
        g_hash_table_iter_init(&it, d->known);
        while (g_hash_table_iter_next(&it, &id, &p)) {
                Known *k = p;

                /* what an event brought while the listing went on is in no list */
                if (!k->listed && k->touched_us < d->listing_since_us)
                        g_ptr_array_add(gone, g_strdup(id));
        }
        for (guint i = 0; i < gone->len; i++)
                remove_known(d, gone->pdata[i], wall_ns(), TRUE);
        d->listing = FALSE;
        tell_resources(d);
        if (!d->listed) {
                d->listed = d->ever_listed = TRUE;
                bh_containerd_list_soon(d, BH_CONTAINERD_SETTLE_US);
        } else {
                bh_containerd_list_soon(d, BH_CONTAINERD_RESYNC_US);
        }
        bh_containerd_tell_state(d);
}

/* ---- events ---- */

static void get(BhContainerd *d, const char *id, const char *namespace) {
        g_autofree char *target = g_strdup_printf("%s %s", namespace, id);

        bh_containerd_ask_for(d, CALL_GET, target, namespace, id);
}

static void exec_event(BhContainerd *d, Known *k, const BhContainerdEvent *e, const char *action) {
        g_autoptr(BhRuntimeEvent) ev = event_of(k, action, e->time_ns, FALSE);

        g_free(ev->exec_id);
        ev->exec_id = g_strdup(e->exec_id);
        ev->exec_pid = e->pid;
        if (!strcmp(action, "exec_die"))
                ev->exit_code = e->exit_code;
        deliver(d, ev);
}

static void container_event(BhContainerd *d, const BhContainerdEvent *e) {
        Known *k = g_hash_table_lookup(d->known, e->id);
        const char *action = NULL;
        gboolean twin = FALSE; /* a listing was quicker, and it was told as concluded */
        BhContainer *c;

        if (!bh_docker_id_is_safe(e->id)) {
                COUNT(d, events_bad);
                return;
        }
        if (k && strcmp(k->namespace, e->namespace)) {
                COUNT(d, ids_twice);
                return;
        }
        if (!strcmp(e->topic, "/containers/delete")) {
                if (k)
                        remove_known(d, e->id, e->time_ns, FALSE);
                return;
        }
        if (!k) {
                if (!(k = know(d, e->id, e->namespace)))
                        return;
                k->c = bh_container_new(e->id, "containerd");
                k->c->level = BH_CONTAINER_FROM_EVENT;
                if (strlen(e->id) != 64)
                        bh_container_set(k->c, &k->c->name, e->id);
        }
        k->touched_us = g_get_monotonic_time();
        c = bh_container_dup(k->c);
        if (!strcmp(e->topic, "/containers/create")) {
                action = "create";
                twin = k->c->level == BH_CONTAINER_FULL;
                c->state = BH_CONTAINER_CREATED;
                c->created_ns = e->time_ns;
                if (!*c->image)
                        bh_container_set(c, &c->image, e->image);
        } else if (!strcmp(e->topic, "/tasks/create")) {
                c->state = BH_CONTAINER_CREATED;
                c->init_pid = e->pid;
        } else if (!strcmp(e->topic, "/tasks/start")) {
                action = "start";
                twin = k->c->state == BH_CONTAINER_RUNNING && k->c->init_pid == e->pid && k->c->started_ns;
                c->state = BH_CONTAINER_RUNNING;
                c->init_pid = e->pid;
                c->started_ns = e->time_ns;
                c->oom_killed = FALSE;
        } else if (!strcmp(e->topic, "/tasks/paused")) {
                action = "pause";
                c->state = BH_CONTAINER_PAUSED;
        } else if (!strcmp(e->topic, "/tasks/resumed")) {
                action = "unpause";
                c->state = BH_CONTAINER_RUNNING;
        } else if (!strcmp(e->topic, "/tasks/oom")) {
                action = "oom";
                c->oom_killed = TRUE;
        } else if (!strcmp(e->topic, "/tasks/exit") && !*e->exec_id) {
                action = "die";
                twin = k->c->state == BH_CONTAINER_EXITED && e->exited_ns && k->c->finished_ns == e->exited_ns;
                c->state = BH_CONTAINER_EXITED;
                c->init_pid = 0;
                c->exit_code = e->exit_code;
                c->finished_ns = e->exited_ns ? e->exited_ns : e->time_ns;
                bh_container_add_run(c, c->started_ns, c->finished_ns, e->exit_code, c->oom_killed, NULL, FALSE);
        }
        bh_container_finish(c);
        bh_containerd_publish(d, k, c);
        if (action && twin)
                COUNT(d, events_duplicate);
        else if (action)
                tell(d, k, action, e->time_ns, FALSE);
        else if (!strcmp(e->topic, "/tasks/exec-added"))
                exec_event(d, k, e, "exec_create");
        else if (!strcmp(e->topic, "/tasks/exec-started"))
                exec_event(d, k, e, "exec_start");
        else if (!strcmp(e->topic, "/tasks/exit"))
                exec_event(d, k, e, "exec_die");
        if (c->level < BH_CONTAINER_FULL || !strcmp(e->topic, "/containers/update"))
                get(d, e->id, e->namespace);
}

static void one_event(BhContainerd *d, const guint8 *data, gsize len) {
        g_autoptr(BhContainerdEvent) e = bh_containerd_event(data, len);

        if (!e) {
                COUNT(d, events_bad);
                bh_containerd_list_soon(d, SECOND_US);
                return;
        }
        if (bh_containerd_skipped(d, e->namespace))
                return;
        if (g_str_has_prefix(e->topic, "/containers/") || g_str_has_prefix(e->topic, "/tasks/")) {
                container_event(d, e);
        } else if (g_str_has_prefix(e->topic, "/images/")) {
                g_autoptr(BhRuntimeEvent) ev = bh_runtime_event_new(BH_RUNTIME_IMAGE, "image", e->topic + strlen("/images/"), e->image, e->time_ns);

                g_autofree char *name = g_strdup_printf("%s %s", e->namespace, e->image);

                add_attribute(ev, "namespace", e->namespace);
                deliver(d, ev);
                /* what it means now says the next listing: a container that is made before has no digest rather than another image's */
                g_hash_table_remove(d->digests, name);
                bh_containerd_list_soon(d, 2 * SECOND_US);
        } else if (g_str_has_prefix(e->topic, "/namespaces/")) {
                bh_containerd_list_soon(d, SECOND_US);
        }
}

void bh_containerd_read_events(BhContainerd *d) {
        BhGrpcCall *call = d->stream;
        const guint8 *data;
        gsize from = 0, len;
        BhGrpcTake took;

        while ((took = bh_grpc_take(call->body->data, call->body->len, &from, &data, &len)) == BH_GRPC_MESSAGE)
                one_event(d, data, len);
        if (took == BH_GRPC_BAD) {
                COUNT(d, events_bad);
                bh_containerd_disconnect(d, "containerd's stream of events cannot be read any further: it is opened again", FALSE);
                return;
        }
        if (from)
                g_byte_array_remove_range(call->body, 0, (guint) from);
}

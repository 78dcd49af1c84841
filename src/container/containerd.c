/* SPDX-License-Identifier: Apache-2.0 */
#include "container/containerd.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fdio.h"
#include "container/containerd_messages.h"
#include "container/docker_json.h"
#include "container/grpc.h"

#define SECOND_US G_USEC_PER_SEC
#define BACKOFF_FIRST_US (SECOND_US / 10)
#define BACKOFF_MAX_US (5 * SECOND_US)
#define CALL_TIMEOUT_MS 30000
#define ERRORS_KEPT 512u

typedef enum { CALL_VERSION, CALL_SUBSCRIBE, CALL_NAMESPACES, CALL_CONTAINERS, CALL_TASKS, CALL_IMAGES, CALL_GET } CallKind;
typedef enum { DOWN, VERSION, UP } Phase;

static const char *const methods[] = {
        [CALL_VERSION] = "containerd.services.version.v1.Version/Version",
        [CALL_SUBSCRIBE] = "containerd.services.events.v1.Events/Subscribe",
        [CALL_NAMESPACES] = "containerd.services.namespaces.v1.Namespaces/List",
        [CALL_CONTAINERS] = "containerd.services.containers.v1.Containers/List",
        [CALL_TASKS] = "containerd.services.tasks.v1.Tasks/List",
        [CALL_IMAGES] = "containerd.services.images.v1.Images/List",
        [CALL_GET] = "containerd.services.containers.v1.Containers/Get",
};

typedef struct {
        BhContainer *c; /* best known: published last */
        char *namespace;
        gint64 touched_us; /* when an event was told of it last: an older listing knows less */
        gboolean listed, tasked; /* met in the listing under way */
} Known;

struct BhContainerd {
        BhContainerdConfig config;
        char *socket_path, **skip;
        GThread *thread;
        BhGrpc *grpc;
        gint stop; /* atomic */
        GMutex stats_lock;
        BhContainerdStats stats;

        /* the rest is the thread's */
        Phase phase;
        char *version, *error, **namespaces;
        gboolean absent, listed, ever_listed;
        BhGrpcCall *stream;
        gint64 retry_at_us, backoff_us, list_at_us, listing_since_us;
        gboolean listing;
        GHashTable *known; /* id → Known */
        GQueue to_list;    /* names of namespaces, of the listing under way */
        GHashTable *digests; /* "namespace image" → digest */
        GPtrArray *images;   /* BhResource, of the listing under way */
        BhResourceSet *set;  /* told last */
};

#define COUNT(d, field)                           \
        do {                                      \
                g_mutex_lock(&(d)->stats_lock);   \
                (d)->stats.field++;               \
                g_mutex_unlock(&(d)->stats_lock); \
        } while (0)

static void known_free(gpointer p) {
        Known *k = p;

        bh_container_unref(k->c);
        g_free(k->namespace);
        g_free(k);
}

static void tell_state(BhContainerd *d) {
        static const char *const none[] = { NULL };
        BhContainerdState s = {
                .absent = d->absent,
                .connected = d->phase == UP,
                .listed = d->listed,
                .socket_path = d->socket_path,
                .version = d->version ? d->version : "",
                .error = d->error ? d->error : "",
                .namespaces = d->namespaces ? (const char *const *) d->namespaces : none,
                .containers = g_hash_table_size(d->known),
        };

        if (d->config.on_state)
                d->config.on_state(&s, d->config.data);
}

static void set_error(BhContainerd *d, const char *text) {
        g_autofree char *copy = g_strdup(text);

        g_free(d->error);
        d->error = g_steal_pointer(&copy);
}

static gboolean skipped(const BhContainerd *d, const char *namespace) {
        return d->skip && g_strv_contains((const char *const *) d->skip, namespace);
}

/* ---- what is told ---- */

/* Takes the reference to c. */
static void publish(BhContainerd *d, Known *k, BhContainer *c) {
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

/* ---- connection ---- */

static BhGrpcCall *ask(BhContainerd *d, CallKind kind, const char *target, const char *namespace, const void *message, gsize len) {
        gboolean stream = kind == CALL_SUBSCRIBE;

        if (!stream)
                COUNT(d, calls);
        return bh_grpc_call(d->grpc, (int) kind, target, methods[kind], namespace, message, len, stream, stream ? 0 : CALL_TIMEOUT_MS);
}

static void disconnect(BhContainerd *d, const char *why, gboolean absent) {
        gboolean was_up = d->phase == UP, news = was_up || absent != d->absent || g_strcmp0(d->error, why) != 0;

        bh_grpc_cancel_all(d->grpc);
        d->stream = NULL;
        d->phase = DOWN;
        d->listed = d->listing = FALSE;
        d->absent = absent;
        g_queue_clear_full(&d->to_list, g_free);
        g_clear_pointer(&d->images, g_ptr_array_unref);
        d->backoff_us = was_up || !d->backoff_us ? BACKOFF_FIRST_US : MIN(d->backoff_us * 2, BACKOFF_MAX_US);
        d->retry_at_us = g_get_monotonic_time() + d->backoff_us;
        if (was_up)
                COUNT(d, disconnects);
        set_error(d, why);
        if (news)
                tell_state(d);
}

/* libcurl says only "Couldn't connect": what can the user do about it? *absent: nothing, there is none. */
static char *explain(BhContainerd *d, const BhGrpcCall *call, gboolean *absent) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        g_auto(BhFd) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int code = 0;

        *absent = FALSE;
        if (strlen(d->socket_path) >= sizeof sa.sun_path)
                return g_strdup_printf("the path of containerd's socket is too long (%s): give a shorter one with --containerd", d->socket_path);
        g_strlcpy(sa.sun_path, d->socket_path, sizeof sa.sun_path);
        if (!call->headers_done && fd >= 0 && connect(fd, (struct sockaddr *) &sa, sizeof sa) < 0)
                code = errno;
        switch (code) {
        case ENOENT:
                if (d->ever_listed)
                        return g_strdup_printf("containerd's socket %s is gone: start it (systemctl start containerd); it is tried again by itself", d->socket_path);
                *absent = TRUE;
                return NULL;
        case ECONNREFUSED:
                return g_strdup_printf("the containerd behind %s is not running: start it (systemctl start containerd); it is tried again by itself", d->socket_path);
        case EACCES:
        case EPERM:
                return g_strdup_printf("no permission for containerd's socket %s: run as root", d->socket_path);
        case ENOTSOCK:
                return g_strdup_printf("%s is not a socket: give containerd's with --containerd", d->socket_path);
        default:
                break;
        }
        g_autofree char *message = g_utf8_make_valid(call->message, MIN((gssize) strlen(call->message), (gssize) ERRORS_KEPT));
        if (call->status == 12)
                return g_strdup_printf("what listens at %s does not know %s: containerd 1.6 or newer is needed", d->socket_path, methods[call->kind]);
        if (call->status > 0)
                return g_strdup_printf("the containerd behind %s refused %s with status %d (%s): look at its log", d->socket_path, methods[call->kind], call->status, message);
        if (call->http_status && call->http_status != 200)
                return g_strdup_printf("what listens at %s answers with HTTP status %ld and is no containerd: give its socket with --containerd", d->socket_path, call->http_status);
        return g_strdup_printf("the connection to the containerd behind %s ended (%s): it is tried again by itself", d->socket_path, *call->why ? call->why : "no status came");
}

/* ---- listings ---- */

static void list_soon(BhContainerd *d, gint64 delay_us) {
        gint64 at = g_get_monotonic_time() + delay_us;

        if (!d->list_at_us || at < d->list_at_us)
                d->list_at_us = at;
}

static void start_listing(BhContainerd *d, gint64 now) {
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
        ask(d, CALL_NAMESPACES, NULL, NULL, NULL, 0);
}

static gboolean alive(const BhContainer *c) {
        return c->state == BH_CONTAINER_RUNNING || c->state == BH_CONTAINER_PAUSED;
}

/* A container as it is described now, with what only events and tasks tell kept. */
static void take_described(BhContainerd *d, Known *k, BhContainer *c) {
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
        if (digest) {
                g_autofree char *whole = bh_containerd_digest_of(c->image, digest);

                bh_container_set(c, &c->image_digest, whole);
                bh_container_set(c, &c->image_id, digest);
        }
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

static void containers_listed(BhContainerd *d, const char *namespace, GPtrArray *list) {
        for (guint i = 0; i < list->len; i++) {
                BhContainer *c = list->pdata[i];
                Known *k = know(d, c->id, namespace);

                if (!k)
                        continue;
                gboolean fresh = !k->c;
                k->listed = TRUE;
                take_described(d, k, c);
                if (!fresh && equal(k->c, c))
                        continue;
                publish(d, k, bh_container_ref(c));
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
        publish(d, k, c);
        /* the first listing of all is no news */
        if (!d->ever_listed)
                return;
        if (is && !was)
                tell(d, k, "start", c->started_ns, TRUE);
        else if (was && !is)
                tell(d, k, "die", c->finished_ns, TRUE);
}

static void tasks_listed(BhContainerd *d, const char *namespace, GArray *tasks) {
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
        publish(d, k, c);
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
static void list_next(BhContainerd *d) {
        g_autofree char *namespace = g_queue_pop_head(&d->to_list);
        g_autoptr(GPtrArray) gone = g_ptr_array_new_with_free_func(g_free);
        GHashTableIter it;
        gpointer id, p;

        if (namespace) {
                /* images first, so that containers have their digests at once */
                ask(d, CALL_IMAGES, namespace, namespace, NULL, 0);
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
                list_soon(d, BH_CONTAINERD_SETTLE_US);
        } else {
                list_soon(d, BH_CONTAINERD_RESYNC_US);
        }
        tell_state(d);
}

/* ---- events ---- */

static void get(BhContainerd *d, const char *id, const char *namespace) {
        g_autofree char *target = g_strdup_printf("%s %s", namespace, id);
        guint8 message[2 + 128];
        gsize n = MIN(strlen(id), 127);

        /* GetRequest: field 1, its length, itself */
        message[0] = 1 << 3 | 2;
        message[1] = (guint8) n;
        memcpy(message + 2, id, n);
        ask(d, CALL_GET, target, namespace, message, n + 2);
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
        publish(d, k, c);
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
                list_soon(d, SECOND_US);
                return;
        }
        if (skipped(d, e->namespace))
                return;
        if (g_str_has_prefix(e->topic, "/containers/") || g_str_has_prefix(e->topic, "/tasks/")) {
                container_event(d, e);
        } else if (g_str_has_prefix(e->topic, "/images/")) {
                g_autoptr(BhRuntimeEvent) ev = bh_runtime_event_new(BH_RUNTIME_IMAGE, "image", e->topic + strlen("/images/"), e->image, e->time_ns);

                add_attribute(ev, "namespace", e->namespace);
                deliver(d, ev);
                list_soon(d, 2 * SECOND_US);
        } else if (g_str_has_prefix(e->topic, "/namespaces/")) {
                list_soon(d, SECOND_US);
        }
}

static void read_events(BhContainerd *d) {
        BhGrpcCall *call = d->stream;
        const guint8 *data;
        gsize from = 0, len;
        BhGrpcTake took;

        while ((took = bh_grpc_take(call->body->data, call->body->len, &from, &data, &len)) == BH_GRPC_MESSAGE)
                one_event(d, data, len);
        if (took == BH_GRPC_BAD) {
                COUNT(d, events_bad);
                disconnect(d, "containerd's stream of events cannot be read any further: it is opened again", FALSE);
                return;
        }
        if (from)
                g_byte_array_remove_range(call->body, 0, (guint) from);
}

/* ---- answers ---- */

static void take_images(BhContainerd *d, const char *namespace, GPtrArray *images) {
        while (images->len) {
                BhResource *r = g_ptr_array_steal_index(images, 0);

                if (g_hash_table_size(d->digests) < 4 * BH_RESOURCE_MAX)
                        g_hash_table_insert(d->digests, g_strdup_printf("%s %s", namespace, r->name), g_strdup(r->id));
                g_ptr_array_add(d->images, r);
        }
}

static void got(BhContainerd *d, const BhGrpcCall *call, const guint8 *data, gsize len) {
        g_auto(GStrv) parts = g_strsplit(call->target ? call->target : "", " ", 2);
        g_autoptr(GPtrArray) rows = NULL;
        g_autoptr(GArray) tasks = NULL;
        gboolean ok = TRUE;
        guint bad = 0;

        switch ((CallKind) call->kind) {
        case CALL_VERSION:
                g_free(d->version);
                d->version = bh_containerd_version(data, len);
                ok = d->version != NULL;
                break;
        case CALL_NAMESPACES: {
                char **names = bh_containerd_namespaces(data, len);

                if (!(ok = names != NULL))
                        break;
                g_autoptr(GPtrArray) kept = g_ptr_array_new();
                for (char **n = names; *n; n++)
                        if (skipped(d, *n)) {
                                g_free(*n);
                        } else {
                                g_ptr_array_add(kept, *n);
                                g_queue_push_tail(&d->to_list, g_strdup(*n));
                        }
                g_ptr_array_add(kept, NULL);
                g_free(names);
                g_strfreev(d->namespaces);
                d->namespaces = (char **) g_ptr_array_steal(kept, NULL);
                break;
        }
        case CALL_IMAGES:
                rows = bh_containerd_images(data, len, call->target, &bad);
                if ((ok = rows != NULL) && d->images)
                        take_images(d, call->target, rows);
                break;
        case CALL_CONTAINERS:
                rows = bh_containerd_containers(data, len, call->target, FALSE, &bad);
                if ((ok = rows != NULL))
                        containers_listed(d, call->target, rows);
                break;
        case CALL_TASKS:
                tasks = bh_containerd_tasks(data, len, &bad);
                if ((ok = tasks != NULL))
                        tasks_listed(d, call->target, tasks);
                break;
        case CALL_GET:
                rows = bh_containerd_containers(data, len, parts[0], TRUE, &bad);
                ok = rows != NULL;
                if (ok && rows->len && parts[0] && parts[1]) {
                        BhContainer *c = rows->pdata[0];
                        Known *k = g_hash_table_lookup(d->known, parts[1]);

                        if (!k || strcmp(k->namespace, parts[0]) || strcmp(c->id, parts[1]))
                                break;
                        take_described(d, k, c);
                        publish(d, k, bh_container_ref(c));
                }
                break;
        case CALL_SUBSCRIBE:
                break;
        }
        if (!ok || bad)
                COUNT(d, answers_bad);
}

/* What comes after an answer, or after none. */
static void go_on(BhContainerd *d, CallKind kind, const char *target, gboolean ok) {
        switch (kind) {
        case CALL_NAMESPACES:
                if (ok) {
                        list_next(d);
                } else {
                        d->listing = FALSE;
                        list_soon(d, BACKOFF_MAX_US);
                }
                break;
        case CALL_IMAGES:
                ask(d, CALL_CONTAINERS, target, target, NULL, 0);
                break;
        case CALL_CONTAINERS:
                if (ok) {
                        ask(d, CALL_TASKS, target, target, NULL, 0);
                        break;
                }
                /* its containers are as they were; nothing is concluded from a list that did not come */
                GHashTableIter it;
                gpointer p;

                g_hash_table_iter_init(&it, d->known);
                while (g_hash_table_iter_next(&it, NULL, &p))
                        if (!strcmp(((Known *) p)->namespace, target))
                                ((Known *) p)->listed = TRUE;
                list_next(d);
                list_soon(d, BACKOFF_MAX_US);
                break;
        case CALL_TASKS:
                list_next(d);
                break;
        default:
                break;
        }
}

static void answer(BhContainerd *d, BhGrpcCall *call, gboolean ok) {
        CallKind kind = (CallKind) call->kind;
        gboolean absent;
        const guint8 *data;
        gsize from = 0, len;

        if (kind == CALL_SUBSCRIBE || (kind == CALL_VERSION && !ok)) {
                g_autofree char *why = explain(d, call, &absent);

                disconnect(d, why, absent);
                return;
        }
        if (ok && bh_grpc_take(call->body->data, call->body->len, &from, &data, &len) == BH_GRPC_MESSAGE) {
                got(d, call, data, len);
        } else if (ok || call->too_large) {
                if (call->too_large)
                        COUNT(d, answers_refused);
                else
                        COUNT(d, answers_bad);
                ok = FALSE;
        } else {
                /* a container that is gone by now is no failure */
                if (!(kind == CALL_GET && call->status == 5))
                        COUNT(d, calls_failed);
                if (call->status < 0) {
                        g_autofree char *why = explain(d, call, &absent);

                        disconnect(d, why, absent);
                        return;
                }
        }
        if (kind == CALL_VERSION) {
                if (!ok || !d->version) {
                        g_autofree char *why = g_strdup_printf("what listens at %s is no containerd: give its socket with --containerd", d->socket_path);

                        disconnect(d, why, FALSE);
                        return;
                }
                COUNT(d, connects);
                d->phase = UP;
                d->absent = FALSE;
                d->backoff_us = 0;
                set_error(d, NULL);
                d->stream = ask(d, CALL_SUBSCRIBE, NULL, NULL, NULL, 0);
                start_listing(d, g_get_monotonic_time());
                tell_state(d);
                return;
        }
        go_on(d, kind, call->target, ok);
}

/* ---- the thread ---- */

static void step(BhContainerd *d) {
        gint64 now = g_get_monotonic_time(), wake = now + SECOND_US;
        BhGrpcCall *call;
        gboolean ok;

        if (d->phase == DOWN) {
                if (now >= d->retry_at_us) {
                        d->phase = VERSION;
                        ask(d, CALL_VERSION, NULL, NULL, NULL, 0);
                } else {
                        wake = MIN(wake, d->retry_at_us);
                }
        } else if (d->phase == UP && d->list_at_us && !d->listing) {
                if (d->list_at_us <= now)
                        start_listing(d, now);
                else
                        wake = MIN(wake, d->list_at_us);
        }
        bh_grpc_run(d->grpc, (int) MAX((wake - now + 999) / 1000, 0));
        if (d->stream && d->stream->body->len)
                read_events(d);
        while ((call = bh_grpc_next(d->grpc, &ok))) {
                if (call == d->stream) {
                        read_events(d);
                        /* the call is no longer among those that run: a disconnection meanwhile has not freed it */
                        d->stream = NULL;
                }
                answer(d, call, ok);
                bh_grpc_call_free(call);
        }
}

static gpointer thread_main(gpointer data) {
        BhContainerd *d = data;

        while (!g_atomic_int_get(&d->stop))
                step(d);
        bh_grpc_cancel_all(d->grpc);
        return NULL;
}

BhContainerd *bh_containerd_new(const BhContainerdConfig *config) {
        BhContainerd *d = g_new0(BhContainerd, 1);

        d->config = *config;
        d->socket_path = g_strdup(config->socket_path ? config->socket_path : BH_CONTAINERD_DEFAULT_SOCKET);
        d->skip = g_strdupv((char **) config->skip);
        d->config.socket_path = NULL;
        d->config.skip = NULL;
        g_mutex_init(&d->stats_lock);
        d->known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, known_free);
        d->digests = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        g_queue_init(&d->to_list);
        return d;
}

gboolean bh_containerd_start(BhContainerd *d, GError **error) {
        g_assert(!d->thread);
        d->grpc = bh_grpc_new(d->socket_path);
        if (!d->grpc) {
                g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "cannot start the client for containerd's socket %s: libcurl has no resources, or no HTTP/2", d->socket_path);
                return FALSE;
        }
        d->thread = g_thread_try_new("containerd", thread_main, d, error);
        return d->thread != NULL;
}

void bh_containerd_stop(BhContainerd *d) {
        if (!d->thread)
                return;
        g_atomic_int_set(&d->stop, 1);
        bh_grpc_wake(d->grpc);
        g_thread_join(g_steal_pointer(&d->thread));
}

void bh_containerd_free(BhContainerd *d) {
        if (!d)
                return;
        bh_containerd_stop(d);
        bh_grpc_free(d->grpc);
        g_queue_clear_full(&d->to_list, g_free);
        g_clear_pointer(&d->images, g_ptr_array_unref);
        bh_resource_set_unref(d->set);
        g_hash_table_unref(d->known);
        g_hash_table_unref(d->digests);
        g_strfreev(d->namespaces);
        g_strfreev(d->skip);
        g_free(d->version);
        g_free(d->error);
        g_free(d->socket_path);
        g_mutex_clear(&d->stats_lock);
        g_free(d);
}

void bh_containerd_get_stats(BhContainerd *d, BhContainerdStats *out) {
        g_mutex_lock(&d->stats_lock);
        *out = d->stats;
        g_mutex_unlock(&d->stats_lock);
}

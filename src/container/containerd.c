/* SPDX-License-Identifier: Apache-2.0 */
#include "container/containerd.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fdio.h"
#include "container/containerd_private.h"

static const char *const methods[] = {
        [CALL_VERSION] = "containerd.services.version.v1.Version/Version",
        [CALL_SUBSCRIBE] = "containerd.services.events.v1.Events/Subscribe",
        [CALL_NAMESPACES] = "containerd.services.namespaces.v1.Namespaces/List",
        [CALL_CONTAINERS] = "containerd.services.containers.v1.Containers/List",
        [CALL_TASKS] = "containerd.services.tasks.v1.Tasks/List",
        [CALL_IMAGES] = "containerd.services.images.v1.Images/List",
        [CALL_GET] = "containerd.services.containers.v1.Containers/Get",
        [CALL_CONTENT] = "containerd.services.content.v1.Content/Read",
};

static void known_free(gpointer p) {
        Known *k = p;

        bh_container_unref(k->c);
        g_free(k->namespace);
        g_free(k);
}

void bh_containerd_tell_state(BhContainerd *d) {
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

gboolean bh_containerd_skipped(const BhContainerd *d, const char *namespace) {
        return d->skip && g_strv_contains((const char *const *) d->skip, namespace);
}
/* ---- connection ---- */

BhGrpcCall *bh_containerd_ask(BhContainerd *d, CallKind kind, const char *target, const char *namespace, const void *message, gsize len) {
        gboolean stream = kind == CALL_SUBSCRIBE;

        if (!stream)
                COUNT(d, calls);
        return bh_grpc_call(d->grpc, (int) kind, target, methods[kind], namespace, message, len, stream, stream ? 0 : CALL_TIMEOUT_MS);
}

void bh_containerd_ask_for(BhContainerd *d, CallKind kind, const char *target, const char *namespace, const char *text) {
        guint8 message[2 + 128];
        gsize n = MIN(strlen(text), 127);

        message[0] = 1 << 3 | 2;
        message[1] = (guint8) n;
        memcpy(message + 2, text, n);
        bh_containerd_ask(d, kind, target, namespace, message, n + 2);
}

void bh_containerd_disconnect(BhContainerd *d, const char *why, gboolean absent) {
        gboolean was_up = d->phase == UP, news = was_up || absent != d->absent || g_strcmp0(d->error, why) != 0;

        bh_grpc_cancel_all(d->grpc);
        d->stream = NULL;
        d->phase = DOWN;
        d->listed = d->listing = FALSE;
        d->absent = absent;
        g_queue_clear_full(&d->to_list, g_free);
        bh_containerd_forget_reading(d);
        g_clear_pointer(&d->images, g_ptr_array_unref);
        d->backoff_us = was_up || !d->backoff_us ? BACKOFF_FIRST_US : MIN(d->backoff_us * 2, BACKOFF_MAX_US);
        d->retry_at_us = g_get_monotonic_time() + d->backoff_us;
        if (was_up)
                COUNT(d, disconnects);
        set_error(d, why);
        if (news)
                bh_containerd_tell_state(d);
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
                        if (bh_containerd_skipped(d, *n)) {
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
                        bh_containerd_containers_listed(d, call->target, rows);
                break;
        case CALL_TASKS:
                tasks = bh_containerd_tasks(data, len, &bad);
                if ((ok = tasks != NULL))
                        bh_containerd_tasks_listed(d, call->target, tasks);
                break;
        case CALL_GET:
                rows = bh_containerd_containers(data, len, parts[0], TRUE, &bad);
                ok = rows != NULL;
                if (ok && rows->len && parts[0] && parts[1]) {
                        BhContainer *c = rows->pdata[0];
                        Known *k = g_hash_table_lookup(d->known, parts[1]);

                        if (!k || strcmp(k->namespace, parts[0]) || strcmp(c->id, parts[1]))
                                break;
                        bh_containerd_take_described(d, k, c);
                        bh_containerd_publish(d, k, bh_container_ref(c));
                }
                break;
        case CALL_CONTENT:
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
                        bh_containerd_list_next(d);
                } else {
                        d->listing = FALSE;
                        bh_containerd_list_soon(d, BACKOFF_MAX_US);
                }
                break;
        case CALL_IMAGES:
                bh_containerd_ask(d, CALL_CONTAINERS, target, target, NULL, 0);
                break;
        case CALL_CONTAINERS:
                if (ok) {
                        bh_containerd_ask(d, CALL_TASKS, target, target, NULL, 0);
                        break;
                }
                /* its containers are as they were; nothing is concluded from a list that did not come */
                GHashTableIter it;
                gpointer p;

                g_hash_table_iter_init(&it, d->known);
                while (g_hash_table_iter_next(&it, NULL, &p))
                        if (!strcmp(((Known *) p)->namespace, target))
                                ((Known *) p)->listed = TRUE;
                bh_containerd_list_next(d);
                bh_containerd_list_soon(d, BACKOFF_MAX_US);
                break;
        case CALL_TASKS:
                bh_containerd_list_next(d);
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

                bh_containerd_disconnect(d, why, absent);
                return;
        }
        if (kind == CALL_CONTENT && (ok || call->status >= 0 || call->too_large)) {
                /* a blob that was never fetched, or is gone, is no failure */
                if (!ok && call->status != 5)
                        COUNT(d, calls_failed);
                bh_containerd_take_blob(d, call, ok);
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

                        bh_containerd_disconnect(d, why, absent);
                        return;
                }
        }
        if (kind == CALL_VERSION) {
                if (!ok || !d->version) {
                        g_autofree char *why = g_strdup_printf("what listens at %s is no containerd: give its socket with --containerd", d->socket_path);

                        bh_containerd_disconnect(d, why, FALSE);
                        return;
                }
                COUNT(d, connects);
                d->phase = UP;
                d->absent = FALSE;
                d->backoff_us = 0;
                set_error(d, NULL);
                d->stream = bh_containerd_ask(d, CALL_SUBSCRIBE, NULL, NULL, NULL, 0);
                bh_containerd_start_listing(d, g_get_monotonic_time());
                bh_containerd_tell_state(d);
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
                        bh_containerd_ask(d, CALL_VERSION, NULL, NULL, NULL, 0);
                } else {
                        wake = MIN(wake, d->retry_at_us);
                }
        } else if (d->phase == UP && d->list_at_us && !d->listing) {
                if (d->list_at_us <= now)
                        bh_containerd_start_listing(d, now);
                else
                        wake = MIN(wake, d->list_at_us);
        }
        bh_grpc_run(d->grpc, (int) MAX((wake - now + 999) / 1000, 0));
        if (d->stream && d->stream->body->len)
                bh_containerd_read_events(d);
        while ((call = bh_grpc_next(d->grpc, &ok))) {
                if (call == d->stream) {
                        bh_containerd_read_events(d);
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
        d->layers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify) g_strfreev);
        g_queue_init(&d->to_list);
        g_queue_init(&d->to_read);
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
        g_queue_clear_full(&d->to_read, g_free);
        g_hash_table_unref(d->layers);
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

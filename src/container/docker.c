/* SPDX-License-Identifier: Apache-2.0 */
#include "container/docker.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fdio.h"
#include "container/docker_private.h"

static void known_free(gpointer p) {
        Known *k = p;

        bh_container_unref(k->c);
        bh_container_unref(k->told);
        g_free(k);
}

static void image_free(gpointer p) {
        Image *i = p;

        g_free(i->digest);
        g_strfreev(i->layers);
        g_free(i);
}

static void exec_free(gpointer p) {
        Exec *e = p;

        g_free(e->container_id);
        g_free(e->command);
        g_free(e);
}

void bh_docker_tell_state(BhDocker *d) {
        BhDockerState s = {
                .connected = d->phase >= BACKLOG,
                .listed = d->listed,
                .socket_path = d->socket_path,
                .engine_version = d->version.version,
                .api_version = d->api,
                .error = d->error ? d->error : "",
                .containers = g_hash_table_size(d->known),
        };

        if (d->config.on_state)
                d->config.on_state(&s, d->config.data);
}

void bh_docker_set_error(BhDocker *d, const char *text) {
        g_free(d->error);
        d->error = g_strdup(text);
}

/* ---- connection ---- */

BhDockerRequest *bh_docker_ask(BhDocker *d, RequestKind kind, const char *target, const char *path, long timeout_ms) {
        g_autofree char *full = *d->api ? g_strdup_printf("/v%s%s", d->api, path) : g_strdup(path);

        if (kind != REQ_STREAM)
                d->active++;
        return bh_docker_http_get(d->http, (int) kind, target, full, kind == REQ_STREAM, timeout_ms);
}

static void disconnect(BhDocker *d, const char *why) {
        GHashTableIter it;
        gpointer id, p;
        gboolean was_up = d->phase >= BACKLOG;
        gboolean news = was_up || g_strcmp0(d->error, why) != 0;

        bh_docker_http_cancel_all(d->http);
        bh_docker_gather_reset(d);
        d->stream = NULL;
        d->active = 0;
        d->phase = DOWN;
        d->api[0] = '\0';
        d->listed = FALSE;
        d->not_answering = FALSE;
        d->pings_failed = 0;
        d->resync_at_us = 0;
        g_clear_pointer(&d->skipped_line, g_free);
        d->unchecked = 0;
        d->missing = 0;
        g_queue_clear_full(&d->jobs, g_free);
        g_hash_table_remove_all(d->asked);
        g_hash_table_iter_init(&it, d->known);
        while (g_hash_table_iter_next(&it, &id, &p)) {
                Known *k = p;

                k->queued = k->inflight = k->again = k->check = FALSE;
                k->gone_at_us = 0;
                if (k->removed)
                        g_hash_table_iter_remove(&it);
        }
        g_hash_table_iter_init(&it, d->execs);
        while (g_hash_table_iter_next(&it, &id, &p))
                ((Exec *) p)->inflight = FALSE;
        d->backoff_us = was_up || !d->backoff_us ? BACKOFF_FIRST_US : MIN(d->backoff_us * 2, BACKOFF_MAX_US);
        d->retry_at_us = g_get_monotonic_time() + d->backoff_us;
        if (was_up)
                COUNT(d, disconnects);
        if (news) {
                bh_docker_set_error(d, why);
                bh_docker_tell_state(d);
        }
}

/* libcurl says only "Couldn't connect": find out what the user can do about it. */
static char *explain(BhDocker *d, const BhDockerRequest *r, CURLcode result) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        g_auto(BhFd) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int code = 0;

        if (strlen(d->socket_path) >= sizeof sa.sun_path)
                return g_strdup_printf("the path of Docker's socket is too long (%s): give a shorter one with --docker", d->socket_path);
        if (result != CURLE_OK && fd >= 0) {
                g_strlcpy(sa.sun_path, d->socket_path, sizeof sa.sun_path);
                if (connect(fd, (struct sockaddr *) &sa, sizeof sa) < 0)
                        code = errno;
        }
        switch (code) {
        case ENOENT:
                return g_strdup_printf("there is no Docker socket at %s: if Docker runs here, give its socket with --docker; containers are still seen by "
                                       "their cgroups, without names", d->socket_path);
        case ECONNREFUSED:
                return g_strdup_printf("the Docker Engine behind %s is not running: start it (systemctl start docker); it is tried again by itself", d->socket_path);
        case EACCES:
        case EPERM:
                return g_strdup_printf("no permission for Docker's socket %s: run as root or as a member of the docker group", d->socket_path);
        case ENOTSOCK:
                return g_strdup_printf("%s is not a socket: give Docker's with --docker", d->socket_path);
        default:
                break;
        }
        if (result == CURLE_OK)
                return g_strdup_printf("the Docker Engine behind %s answered with HTTP status %ld: look at its log", d->socket_path, r->status);
        return g_strdup_printf("the connection to the Docker Engine behind %s ended (%s): it is tried again by itself", d->socket_path,
                               *r->why ? r->why : curl_easy_strerror(result));
}

static void start_listing(BhDocker *d) {
        COUNT(d, listings);
        d->resync_at_us = 0;
        bh_docker_ask(d, REQ_LIST, NULL, "/containers/json?all=1", LIST_TIMEOUT_MS);
}

static void stream_opened(BhDocker *d) {
        COUNT(d, connects);
        d->backoff_us = 0;
        d->last_traffic_us = g_get_monotonic_time();
        bh_docker_set_error(d, NULL);
        if (!d->ever_connected) {
                d->ever_connected = TRUE;
                d->phase = LISTING;
                d->cutoff_ns = 0;
                start_listing(d);
        } else {
                /* bounded by `until`, so that its end is seen: after it, all that happened before is known or is lost */
                gint64 since = d->last_event_ns ? d->last_event_ns : d->first_connect_ns;
                g_autofree char *path = NULL;

                d->phase = BACKLOG;
                d->replay_until_ns = wall_ns();
                d->cutoff_ns = d->replay_until_ns;
                path = g_strdup_printf("/events?since=%" G_GINT64_FORMAT ".%09d&until=%" G_GINT64_FORMAT ".%09d", since / 1000000000, (int) (since % 1000000000),
                                       d->replay_until_ns / 1000000000, (int) (d->replay_until_ns % 1000000000));
                bh_docker_ask(d, REQ_BACKLOG, NULL, path, LIST_TIMEOUT_MS);
        }
        bh_docker_tell_state(d);
}

static void open_stream(BhDocker *d) {
        if (!d->first_connect_ns)
                d->first_connect_ns = d->config.since_ns ? d->config.since_ns + 1 : wall_ns();
        gint64 since = d->last_event_ns ? d->last_event_ns : d->first_connect_ns;
        g_autofree char *path = g_strdup_printf("/events?since=%" G_GINT64_FORMAT ".%09d", since / 1000000000, (int) (since % 1000000000));

        d->phase = OPENING;
        d->stream = bh_docker_ask(d, REQ_STREAM, NULL, path, 0);
}

/* A sign of life: bytes of the event stream, an answer of any kind. */
static void heard_engine(BhDocker *d) {
        d->last_traffic_us = g_get_monotonic_time();
        d->pings_failed = 0;
        if (!d->not_answering)
                return;
        d->not_answering = FALSE;
        bh_docker_set_error(d, NULL);
        bh_docker_tell_state(d);
}

static void ask_for_life(BhDocker *d) {
        bh_docker_ask(d, REQ_PING, NULL, "/_ping", (long) MIN(PING_TIMEOUT_MS, MAX(d->config.idle_us / 2000, 1)));
}

/* ---- what ended ---- */

static void answer(BhDocker *d, BhDockerRequest *r, CURLcode result) {
        gboolean ok = result == CURLE_OK && r->status == 200;

        if (r->kind != REQ_STREAM) {
                d->active--;
                /* whatever it answers, it answers */
                if (result == CURLE_OK)
                        heard_engine(d);
        }
        switch ((RequestKind) r->kind) {
        case REQ_VERSION: {
                json_t *doc = ok ? bh_docker_json_load((char *) r->body->data, r->body->len, NULL) : NULL;
                g_autoptr(GError) why = NULL;

                if (!doc || !bh_docker_json_version(doc, &d->version, &why)) {
                        g_autofree char *text = why || ok ? g_strdup_printf("%s does not speak the Docker Engine API: give Docker's socket with --docker", d->socket_path)
                                                          : explain(d, r, result);
                        disconnect(d, text);
                } else {
                        bh_docker_pick_api(&d->version, d->api);
                        open_stream(d);
                }
                json_decref(doc);
                break;
        }
        case REQ_STREAM: {
                g_autofree char *text = explain(d, r, result == CURLE_OK && r->status == 200 ? CURLE_RECV_ERROR : result);

                d->stream = NULL;
                bh_docker_event_lines(d, r, &d->skipped_line);
                disconnect(d, text);
                break;
        }
        case REQ_BACKLOG: {
                g_autofree char *skipped = NULL;

                /* the stream sends the same; a backlog that fails costs only the proof that it is complete */
                if (ok)
                        bh_docker_event_lines(d, r, &skipped);
                d->phase = LISTING;
                start_listing(d);
                break;
        }
        case REQ_LIST:
                bh_docker_list_answer(d, r, result);
                break;
        case REQ_INSPECT:
                bh_docker_inspect_answer(d, r, result);
                break;
        case REQ_EXEC:
                bh_docker_exec_answer(d, r, result);
                break;
        case REQ_IMAGE:
                bh_docker_image_answer(d, r, result);
                break;
        case REQ_INFO:
        case REQ_THING:
        case REQ_NETWORK:
                bh_docker_gather_answer(d, r, result);
                break;
        case REQ_PING:
                if (result == CURLE_OK)
                        break;
                if (++d->pings_failed < PING_TRIES) {
                        /* when this process could not run for a while, the answer was there and only its time was over */
                        ask_for_life(d);
                } else if (!d->not_answering) {
                        d->not_answering = TRUE;
                        bh_docker_set_error(d, "the Docker Engine has not answered for some time: its process may be stopped or overloaded; events arrive late");
                        bh_docker_tell_state(d);
                }
                break;
        }
}

/* ---- the thread ---- */

static void run_jobs(BhDocker *d) {
        while (d->active < BH_DOCKER_PARALLEL && !g_queue_is_empty(&d->jobs)) {
                g_autofree char *id = g_queue_pop_head(&d->jobs);
                Known *k = g_hash_table_lookup(d->known, id);

                if (!k || k->removed || !k->queued)
                        continue;
                g_autofree char *path = g_strdup_printf("/containers/%s/json", id);
                k->queued = FALSE;
                k->inflight = TRUE;
                bh_docker_ask(d, REQ_INSPECT, id, path, INSPECT_TIMEOUT_MS);
        }
}

static void run_execs(BhDocker *d, gint64 now, gint64 *wake) {
        GHashTableIter it;
        gpointer id, p;

        g_hash_table_iter_init(&it, d->execs);
        while (g_hash_table_iter_next(&it, &id, &p)) {
                Exec *e = p;

                if (!e->next_at_us || e->inflight)
                        continue;
                if (e->next_at_us <= now && d->active < 2 * BH_DOCKER_PARALLEL) {
                        g_autofree char *path = g_strdup_printf("/exec/%s/json", (char *) id);

                        e->inflight = TRUE;
                        bh_docker_ask(d, REQ_EXEC, id, path, SHORT_TIMEOUT_MS);
                } else {
                        earlier(wake, MAX(e->next_at_us, now + 1000));
                }
        }
}

static void step(BhDocker *d) {
        gint64 now = g_get_monotonic_time(), wake = now + SECOND_US;
        BhDockerRequest *r;
        CURLcode result;

        if (d->phase == DOWN) {
                if (now >= d->retry_at_us) {
                        d->phase = VERSION;
                        bh_docker_ask(d, REQ_VERSION, NULL, "/version", SHORT_TIMEOUT_MS);
                } else {
                        earlier(&wake, d->retry_at_us);
                }
        } else if (d->phase == OPENING && now - d->stream->started_us > SHORT_TIMEOUT_MS * 1000LL) {
                disconnect(d, "the Docker Engine does not open its event stream: its process may be stopped or overloaded; it is tried again by itself");
        } else if (d->phase >= BACKLOG) {
                run_jobs(d);
                run_execs(d, now, &wake);
                bh_docker_run_missing(d, now, &wake);
                bh_docker_gather_run(d, now, &wake);
                if (d->phase == UP && d->resync_at_us && d->resync_at_us <= now) {
                        d->phase = LISTING;
                        d->cutoff_ns = wall_ns() - RESYNC_DELAY_US * 1000 / 2;
                        start_listing(d);
                }
                earlier(&wake, d->resync_at_us);
                if (!d->active && now - d->last_traffic_us > d->config.idle_us) {
                        d->last_traffic_us = now;
                        ask_for_life(d);
                } else if (!d->active) {
                        earlier(&wake, d->last_traffic_us + d->config.idle_us + 1000);
                }
        }

        bh_docker_http_run(d->http, (int) MAX((wake - now + 999) / 1000, 0));

        if (d->stream) {
                if (d->stream->headers_done && d->phase == OPENING && d->stream->status == 200)
                        stream_opened(d);
                if (d->stream->body->len && d->stream->status == 200) {
                        heard_engine(d);
                        bh_docker_event_lines(d, d->stream, &d->skipped_line);
                }
        }
        while ((r = bh_docker_http_next(d->http, &result))) {
                answer(d, r, result);
                bh_docker_request_free(r);
        }
}

static gpointer thread_main(gpointer data) {
        BhDocker *d = data;

        while (!g_atomic_int_get(&d->stop))
                step(d);
        bh_docker_http_cancel_all(d->http);
        return NULL;
}

BhDocker *bh_docker_new(const BhDockerConfig *config) {
        BhDocker *d = g_new0(BhDocker, 1);

        d->config = *config;
        d->socket_path = g_strdup(config->socket_path ? config->socket_path : BH_DOCKER_DEFAULT_SOCKET);
        d->config.socket_path = d->socket_path;
        if (!d->config.idle_us)
                d->config.idle_us = IDLE_US;
        d->max_line = BH_DOCKER_MAX_EVENT_LINE;
        d->gather_at_us = 1;
        g_mutex_init(&d->stats_lock);
        d->known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, known_free);
        d->execs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, exec_free);
        d->images = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, image_free);
        d->asked = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        d->replayed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_queue_init(&d->jobs);
        g_queue_init(&d->replay_order);
        g_queue_init(&d->networks);
        return d;
}

gboolean bh_docker_start(BhDocker *d, GError **error) {
        g_assert(!d->thread);
        d->http = bh_docker_http_new(d->socket_path);
        if (!d->http) {
                g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "cannot start the HTTP client for Docker's socket %s: libcurl has no resources", d->socket_path);
                return FALSE;
        }
        d->thread = g_thread_try_new("docker", thread_main, d, error);
        return d->thread != NULL;
}

void bh_docker_stop(BhDocker *d) {
        if (!d->thread)
                return;
        g_atomic_int_set(&d->stop, 1);
        bh_docker_http_wake(d->http);
        g_thread_join(g_steal_pointer(&d->thread));
}

void bh_docker_free(BhDocker *d) {
        if (!d)
                return;
        bh_docker_stop(d);
        bh_docker_http_free(d->http);
        g_queue_clear_full(&d->jobs, g_free);
        g_queue_clear(&d->replay_order);
        g_hash_table_unref(d->known);
        g_hash_table_unref(d->execs);
        g_hash_table_unref(d->images);
        bh_docker_gather_reset(d);
        bh_resource_set_unref(d->node_set);
        bh_resource_set_unref(d->swarm_set);
        g_hash_table_unref(d->asked);
        g_hash_table_unref(d->replayed);
        g_mutex_clear(&d->stats_lock);
        g_free(d->skipped_line);
        g_free(d->error);
        g_free(d->socket_path);
        g_free(d);
}

void bh_docker_get_stats(BhDocker *d, BhDockerStats *out) {
        g_mutex_lock(&d->stats_lock);
        *out = d->stats;
        g_mutex_unlock(&d->stats_lock);
}

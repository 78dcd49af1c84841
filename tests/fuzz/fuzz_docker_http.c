/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Docker client behind its socket. The first byte chooses:
 *  even: a script of what an engine sends: pieces of the event stream, answers to listings, inspects, execs and images, broken off
 *        or not. The stream is torn differently for a second client, which must hear the same.
 *  odd:  the rest is what a peer writes to the socket in answer to one request, through libcurl's own parser.
 */
#include <assert.h>
#include <glib/gstdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "container/docker_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_LINE 300u
#define LINE_REST 128u /* of a line being skipped */

/* ---- the client without its thread ---- */

static void hear_container(BhContainer *c, gpointer log) {
        g_string_append_printf(log, "[%s %s %d %d]", c->id, c->name, (int) c->level, (int) c->state);
}

static void hear_event(BhRuntimeEvent *ev, gpointer log) {
        assert(ev->kind != BH_RUNTIME_CONTAINER || bh_docker_id_is_safe(ev->actor_id));
        assert(ev->attributes->len <= BH_RUNTIME_EVENT_MAX_ATTRIBUTES);
        g_string_append_printf(log, "<%s %s %s %d %d>", ev->kind_name, ev->action, ev->actor_id, ev->synthetic, ev->exit_code);
}

static BhDocker *client(GString *log) {
        BhDockerConfig config = { .socket_path = "/nonexistent", .on_container = hear_container, .on_event = hear_event, .data = log };
        BhDocker *d = bh_docker_new(&config);

        d->http = bh_docker_http_new("/nonexistent");
        assert(d->http);
        d->phase = UP;
        d->first_connect_ns = 1;
        d->max_line = MAX_LINE;
        return d;
}

static BhDockerRequest *request(int kind, const char *target, const uint8_t *data, size_t size) {
        BhDockerRequest *r = g_new0(BhDockerRequest, 1);

        r->kind = kind;
        r->target = g_strdup(target);
        r->status = 200;
        r->started_us = g_get_monotonic_time();
        r->body = g_byte_array_new();
        g_byte_array_append(r->body, data, (guint) size);
        return r;
}

static void drop(BhDockerRequest *r) {
        g_byte_array_unref(r->body);
        g_free(r->target);
        g_free(r);
}

static void feed(BhDocker *d, BhDockerRequest *r, const uint8_t *data, size_t size) {
        g_byte_array_append(r->body, data, (guint) size);
        bh_docker_event_lines(d, r, &d->skipped_line);
        assert(!memchr(r->body->data ? (char *) r->body->data : "", '\n', r->body->len));
        assert(r->body->len <= (d->skipped_line ? LINE_REST : MAX_LINE));
}

static void check(BhDocker *d) {
        GHashTableIter it;
        gpointer id, p;
        guint missing = 0, unchecked = 0;

        g_hash_table_iter_init(&it, d->known);
        while (g_hash_table_iter_next(&it, &id, &p)) {
                const Known *k = p;

                assert(k->c && !strcmp(k->c->id, id));
                missing += k->gone_at_us != 0;
                unchecked += k->check;
        }
        assert(missing == d->missing && unchecked == d->unchecked);
        assert(g_queue_get_length(&d->replay_order) == g_hash_table_size(d->replayed) && g_hash_table_size(d->replayed) <= REPLAY_KEYS);
}

/* The first container known, or one that is not. */
static char *some_id(BhDocker *d, uint8_t choice) {
        g_autoptr(GList) ids = g_list_sort(g_hash_table_get_keys(d->known), (GCompareFunc) strcmp);

        return g_strdup(ids ? g_list_nth_data(ids, choice % g_list_length(ids)) : "aa");
}

static char *some_exec(BhDocker *d) {
        g_autoptr(GList) ids = g_hash_table_get_keys(d->execs);

        return g_strdup(ids ? ids->data : "e");
}

/* Operations: a byte op, a byte choice, two bytes length, so many bytes. */
static void script(const uint8_t *data, size_t size) {
        g_autoptr(GString) log = g_string_new(NULL), log2 = g_string_new(NULL);
        BhDocker *d = client(log), *torn = client(log2);
        BhDockerRequest *s = request(REQ_STREAM, NULL, NULL, 0), *s2 = request(REQ_STREAM, NULL, NULL, 0);
        gboolean only_stream = TRUE;
        guint count = 0;

        while (size >= 4 && count++ < 40) {
                uint8_t op = data[0] % 8, choice = data[1];
                size_t len = MIN((size_t) (data[2] | data[3] << 8), size - 4);
                const uint8_t *body = data + 4;
                gint64 wake = G_MAXINT64;

                data += 4 + len;
                size -= 4 + len;
                if (op < 3) {
                        size_t piece = choice ? choice : 1;

                        feed(d, s, body, len);
                        for (size_t at = 0; at < len; at += piece)
                                feed(torn, s2, body + at, MIN(piece, len - at));
                        check(d);
                        continue;
                }
                only_stream = FALSE;
                g_autofree char *id = op == 5 ? some_exec(d) : some_id(d, choice);
                BhDockerRequest *r = request(0, id, body, len);

                r->status = choice & 128 ? 404 : 200;
                r->too_large = (choice & 64) != 0;
                CURLcode result = choice & 32 || r->too_large ? CURLE_WRITE_ERROR : CURLE_OK;
                if (op == 3) {
                        d->cutoff_ns = choice & 16 ? G_MAXINT64 : 0;
                        r->started_us++;
                        bh_docker_list_answer(d, r, result);
                } else if (op == 4) {
                        bh_docker_inspect_answer(d, r, result);
                } else if (op == 5) {
                        bh_docker_exec_answer(d, r, result);
                } else if (op == 6) {
                        g_free(r->target);
                        r->target = g_strdup("sha256:12 i");
                        bh_docker_image_answer(d, r, result);
                } else {
                        bh_docker_run_missing(d, g_get_monotonic_time() + 2 * GONE_GRACE_US, &wake);
                }
                drop(r);
                check(d);
        }
        if (only_stream) {
                if (strcmp(log->str, log2->str) || d->stats.events_bad != torn->stats.events_bad) {
                        g_printerr("whole: %s\ntorn:  %s\n", log->str, log2->str);
                        abort();
                }
        }
        drop(s);
        drop(s2);
        bh_docker_free(d);
        bh_docker_free(torn);
}

/* ---- through libcurl ---- */

static char *dir, *path;
static int listener = -1;

static void clean_up(void) {
        g_unlink(path);
        g_rmdir(dir);
}

static void open_listener(void) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        int ok;

        dir = g_dir_make_tmp("bulkhead-fuzz-XXXXXX", NULL);
        path = g_build_filename(dir, "s", NULL);
        g_strlcpy(sa.sun_path, path, sizeof sa.sun_path);
        listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ok = listener >= 0 && bind(listener, (struct sockaddr *) &sa, sizeof sa) == 0 && listen(listener, 8) == 0;
        assert(ok);
        if (!ok)
                abort();
        atexit(clean_up);
}

static void wire(const uint8_t *data, size_t size) {
        BhDockerRequest *r = NULL;
        CURLcode result;
        struct timeval wait = { .tv_usec = 500000 };

        if (listener < 0)
                open_listener();
        BhDockerHttp *h = bh_docker_http_new(path);
        BhDockerRequest *asked = bh_docker_http_get(h, REQ_STREAM, "t", "/events", TRUE, 2000);
        bh_docker_http_run(h, 0);
        setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
        int fd = accept(listener, NULL, NULL);
        assert(fd >= 0);
        bh_docker_http_run(h, 0);
        /* the answer fits into the socket's buffer; then the peer is gone */
        if (send(fd, data, MIN(size, 65536), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && size)
                abort();
        shutdown(fd, SHUT_WR);
        for (guint i = 0; !r && i < 2000; i++) {
                bh_docker_http_run(h, 1);
                r = bh_docker_http_next(h, &result);
        }
        assert(r == asked);
        assert(r->body->len <= size);
        if (result == CURLE_OK)
                assert(r->headers_done && r->status >= 200);
        assert(memchr(r->why, 0, sizeof r->why));

        g_autoptr(GString) log = g_string_new(NULL);
        BhDocker *d = client(log);
        bh_docker_event_lines(d, r, &d->skipped_line);
        check(d);
        bh_docker_free(d);
        bh_docker_request_free(r);
        bh_docker_http_free(h);
        close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size < 1)
                return 0;
        if (data[0] % 2)
                wire(data + 1, size - 1);
        else
                script(data + 1, size - 1);
        return 0;
}

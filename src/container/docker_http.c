/* SPDX-License-Identifier: Apache-2.0 */
#include "container/docker_http.h"

#include <string.h>

#include "container/docker.h"

struct BhDockerHttp {
        CURLM *multi;
        char *socket_path;
        GHashTable *running; /* BhDockerRequest, set */
};

BhDockerHttp *bh_docker_http_new(const char *socket_path) {
        static gsize once = 0;

        if (g_once_init_enter(&once)) {
                gsize ok = curl_global_init(CURL_GLOBAL_NOTHING) == CURLE_OK ? 1 : 2;
                g_once_init_leave(&once, ok);
        }
        CURLM *multi = once == 1 ? curl_multi_init() : NULL;
        if (!multi)
                return NULL;

        BhDockerHttp *h = g_new0(BhDockerHttp, 1);
        h->multi = multi;
        h->socket_path = g_strdup(socket_path);
        h->running = g_hash_table_new(NULL, NULL);
        return h;
}

void bh_docker_request_free(BhDockerRequest *r) {
        if (!r)
                return;
        curl_easy_cleanup(r->easy);
        g_byte_array_unref(r->body);
        g_free(r->target);
        g_free(r);
}

void bh_docker_http_cancel_all(BhDockerHttp *h) {
        GHashTableIter it;
        gpointer r;

        g_hash_table_iter_init(&it, h->running);
        while (g_hash_table_iter_next(&it, &r, NULL)) {
                curl_multi_remove_handle(h->multi, ((BhDockerRequest *) r)->easy);
                bh_docker_request_free(r);
                g_hash_table_iter_remove(&it);
        }
}

void bh_docker_http_free(BhDockerHttp *h) {
        if (!h)
                return;
        bh_docker_http_cancel_all(h);
        g_hash_table_unref(h->running);
        curl_multi_cleanup(h->multi);
        g_free(h->socket_path);
        g_free(h);
}

static size_t on_body(char *data, size_t size, size_t n, void *user) {
        BhDockerRequest *r = user;

        /* a stream's reader consumes after each run, which moves less than this; anything else has the stated bound */
        if (r->body->len + n > BH_DOCKER_MAX_BODY) {
                r->too_large = TRUE;
                return 0;
        }
        g_byte_array_append(r->body, (const guint8 *) data, (guint) n);
        return n;
}

static size_t on_header(char *data, size_t size, size_t n, void *user) {
        BhDockerRequest *r = user;

        if (n <= 2) {
                curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &r->status);
                r->headers_done = r->status >= 200;
        }
        return n;
}

BhDockerRequest *bh_docker_http_get(BhDockerHttp *h, int kind, const char *target, const char *path, gboolean stream, long timeout_ms) {
        BhDockerRequest *r = g_new0(BhDockerRequest, 1);
        g_autofree char *url = g_strconcat("http://docker", path, NULL);

        r->kind = kind;
        r->target = g_strdup(target);
        r->stream = stream;
        r->started_us = g_get_monotonic_time();
        r->body = g_byte_array_new();
        r->easy = curl_easy_init();
        g_assert(r->easy);
        curl_easy_setopt(r->easy, CURLOPT_URL, url);
        curl_easy_setopt(r->easy, CURLOPT_UNIX_SOCKET_PATH, h->socket_path);
        curl_easy_setopt(r->easy, CURLOPT_PROXY, "");
        curl_easy_setopt(r->easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
        curl_easy_setopt(r->easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(r->easy, CURLOPT_TCP_KEEPALIVE, 0L);
        curl_easy_setopt(r->easy, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
        curl_easy_setopt(r->easy, CURLOPT_TIMEOUT_MS, timeout_ms);
        curl_easy_setopt(r->easy, CURLOPT_USERAGENT, "bulkhead");
        curl_easy_setopt(r->easy, CURLOPT_ERRORBUFFER, r->why);
        curl_easy_setopt(r->easy, CURLOPT_PRIVATE, r);
        curl_easy_setopt(r->easy, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(r->easy, CURLOPT_WRITEDATA, r);
        curl_easy_setopt(r->easy, CURLOPT_HEADERFUNCTION, on_header);
        curl_easy_setopt(r->easy, CURLOPT_HEADERDATA, r);
        curl_multi_add_handle(h->multi, r->easy);
        g_hash_table_add(h->running, r);
        return r;
}

void bh_docker_http_run(BhDockerHttp *h, int timeout_ms) {
        int running;

        /* the wait comes first: what a transfer brings must reach the caller before the next wait; a new request ends it at once */
        curl_multi_poll(h->multi, NULL, 0, timeout_ms, NULL);
        curl_multi_perform(h->multi, &running);
}

BhDockerRequest *bh_docker_http_next(BhDockerHttp *h, CURLcode *result) {
        int left;
        CURLMsg *m;

        while ((m = curl_multi_info_read(h->multi, &left))) {
                BhDockerRequest *r;

                if (m->msg != CURLMSG_DONE)
                        continue;
                *result = m->data.result;
                curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **) &r);
                /* a head that breaks off is an end like any other to libcurl */
                if (*result == CURLE_OK && !r->headers_done)
                        *result = CURLE_WEIRD_SERVER_REPLY;
                curl_multi_remove_handle(h->multi, r->easy);
                g_hash_table_remove(h->running, r);
                return r;
        }
        return NULL;
}

void bh_docker_http_wake(BhDockerHttp *h) {
        curl_multi_wakeup(h->multi);
}

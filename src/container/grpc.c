/* SPDX-License-Identifier: Apache-2.0 */
#include "container/grpc.h"

#include <stdlib.h>
#include <string.h>

#define PREFIX 5u

struct BhGrpc {
        CURLM *multi;
        char *socket_path;
        GHashTable *running; /* BhGrpcCall, set */
};

BhGrpcTake bh_grpc_take(const guint8 *body, gsize body_len, gsize *from, const guint8 **data, gsize *len) {
        const guint8 *p = body + *from;
        gsize left = body_len - *from;

        if (left < PREFIX)
                return BH_GRPC_MORE;
        gsize n = (gsize) p[1] << 24 | (gsize) p[2] << 16 | (gsize) p[3] << 8 | p[4];
        if (p[0] || n > BH_GRPC_MAX_BODY - PREFIX)
                return BH_GRPC_BAD;
        if (left - PREFIX < n)
                return BH_GRPC_MORE;
        *data = p + PREFIX;
        *len = n;
        *from += PREFIX + n;
        return BH_GRPC_MESSAGE;
}

BhGrpc *bh_grpc_new(const char *socket_path) {
        static gsize once = 0;

        if (g_once_init_enter(&once)) {
                gsize ok = curl_global_init(CURL_GLOBAL_NOTHING) == CURLE_OK ? 1 : 2;

                g_once_init_leave(&once, ok);
        }
        if (once != 1 || !(curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_HTTP2))
                return NULL;
        CURLM *multi = curl_multi_init();
        if (!multi)
                return NULL;
        BhGrpc *g = g_new0(BhGrpc, 1);

        g->multi = multi;
        g->socket_path = g_strdup(socket_path);
        g->running = g_hash_table_new(NULL, NULL);
        return g;
}

void bh_grpc_call_free(BhGrpcCall *call) {
        if (!call)
                return;
        curl_easy_cleanup(call->easy);
        curl_slist_free_all(call->headers);
        g_byte_array_unref(call->body);
        g_byte_array_unref(call->request);
        g_free(call->target);
        g_free(call->message);
        g_free(call);
}

void bh_grpc_cancel_all(BhGrpc *g) {
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, g->running);
        while (g_hash_table_iter_next(&it, &p, NULL)) {
                curl_multi_remove_handle(g->multi, ((BhGrpcCall *) p)->easy);
                bh_grpc_call_free(p);
                g_hash_table_iter_remove(&it);
        }
}

void bh_grpc_free(BhGrpc *g) {
        if (!g)
                return;
        bh_grpc_cancel_all(g);
        g_hash_table_unref(g->running);
        curl_multi_cleanup(g->multi);
        g_free(g->socket_path);
        g_free(g);
}

static size_t on_body(char *data, size_t size, size_t n, void *user) {
        BhGrpcCall *call = user;

        if (call->body->len + n > BH_GRPC_MAX_BODY) {
                call->too_large = TRUE;
                return 0;
        }
        g_byte_array_append(call->body, (const guint8 *) data, (guint) n);
        return n;
}

/* The value of a header line if it is that one; without its end of line. Caller frees. */
static char *header(const char *data, gsize n, const char *name) {
        gsize skip = strlen(name);

        if (n <= skip || g_ascii_strncasecmp(data, name, skip) || data[skip] != ':')
                return NULL;
        return g_strstrip(g_strndup(data + skip + 1, MIN(n - skip - 1, 1024)));
}

/* Heads and trailers alike. */
static size_t on_header(char *data, size_t size, size_t n, void *user) {
        BhGrpcCall *call = user;
        g_autofree char *status = header(data, n, "grpc-status"), *message = header(data, n, "grpc-message");

        if (status && g_ascii_isdigit(*status))
                call->status = atoi(status);
        if (message) {
                g_free(call->message);
                call->message = g_steal_pointer(&message);
        }
        if (n <= 2) {
                curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &call->http_status);
                call->headers_done = call->http_status >= 200;
        }
        return n;
}

BhGrpcCall *bh_grpc_call(BhGrpc *g, int kind, const char *target, const char *method, const char *namespace, const void *message, gsize len, gboolean stream, long timeout_ms) {
        BhGrpcCall *call = g_new0(BhGrpcCall, 1);
        g_autofree char *url = g_strconcat("http://containerd/", method, NULL);
        guint8 prefix[PREFIX] = { 0, (guint8) (len >> 24), (guint8) (len >> 16), (guint8) (len >> 8), (guint8) len };

        call->kind = kind;
        call->target = g_strdup(target);
        call->stream = stream;
        call->started_us = g_get_monotonic_time();
        call->status = -1;
        call->message = g_strdup("");
        call->body = g_byte_array_new();
        call->request = g_byte_array_new();
        g_byte_array_append(call->request, prefix, PREFIX);
        if (len)
                g_byte_array_append(call->request, message, (guint) len);
        call->headers = curl_slist_append(call->headers, "Content-Type: application/grpc");
        call->headers = curl_slist_append(call->headers, "TE: trailers");
        call->headers = curl_slist_append(call->headers, "Expect:");
        call->headers = curl_slist_append(call->headers, "Accept:");
        if (namespace) {
                g_autofree char *line = g_strconcat("containerd-namespace: ", namespace, NULL);

                call->headers = curl_slist_append(call->headers, line);
        }
        call->easy = curl_easy_init();
        g_assert(call->easy);
        curl_easy_setopt(call->easy, CURLOPT_URL, url);
        curl_easy_setopt(call->easy, CURLOPT_UNIX_SOCKET_PATH, g->socket_path);
        curl_easy_setopt(call->easy, CURLOPT_PROXY, "");
        curl_easy_setopt(call->easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
        /* libcurl 7.88 cannot use such a connection twice (it begins HTTP/2 on it once more); on this machine a new one costs little */
        curl_easy_setopt(call->easy, CURLOPT_FRESH_CONNECT, 1L);
        curl_easy_setopt(call->easy, CURLOPT_FORBID_REUSE, 1L);
        curl_easy_setopt(call->easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(call->easy, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
        curl_easy_setopt(call->easy, CURLOPT_TIMEOUT_MS, timeout_ms);
        curl_easy_setopt(call->easy, CURLOPT_USERAGENT, "bulkhead");
        curl_easy_setopt(call->easy, CURLOPT_POST, 1L);
        curl_easy_setopt(call->easy, CURLOPT_POSTFIELDS, (char *) call->request->data);
        curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE, (long) call->request->len);
        curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
        curl_easy_setopt(call->easy, CURLOPT_ERRORBUFFER, call->why);
        curl_easy_setopt(call->easy, CURLOPT_PRIVATE, call);
        curl_easy_setopt(call->easy, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(call->easy, CURLOPT_WRITEDATA, call);
        curl_easy_setopt(call->easy, CURLOPT_HEADERFUNCTION, on_header);
        curl_easy_setopt(call->easy, CURLOPT_HEADERDATA, call);
        curl_multi_add_handle(g->multi, call->easy);
        g_hash_table_add(g->running, call);
        return call;
}

void bh_grpc_run(BhGrpc *g, int timeout_ms) {
        int running;

        /* the wait comes first: what a call brings must reach the caller before the next wait; a new call ends it at once */
        curl_multi_poll(g->multi, NULL, 0, timeout_ms, NULL);
        curl_multi_perform(g->multi, &running);
}

BhGrpcCall *bh_grpc_next(BhGrpc *g, gboolean *ok) {
        CURLMsg *m;
        int left;

        while ((m = curl_multi_info_read(g->multi, &left))) {
                BhGrpcCall *call;

                if (m->msg != CURLMSG_DONE)
                        continue;
                CURLcode result = m->data.result;

                curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **) &call);
                if (result != CURLE_OK && !*call->why)
                        g_strlcpy(call->why, curl_easy_strerror(result), sizeof call->why);
                *ok = result == CURLE_OK && call->http_status == 200 && call->status == 0;
                curl_multi_remove_handle(g->multi, call->easy);
                g_hash_table_remove(g->running, call);
                return call;
        }
        return NULL;
}

void bh_grpc_wake(BhGrpc *g) {
        curl_multi_wakeup(g->multi);
}

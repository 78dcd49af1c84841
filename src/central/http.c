/* SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/escape.h"
#include "base/log.h"
#include "http_private.h"

#define EVENT_THREADS 2
#define CONNECTION_MEMORY (48 * 1024) /* holds a head of 16 KiB and libmicrohttpd's records of its fields */
#define TICK_MS 250
#define STOP_SECONDS 5
#define NEVER G_MAXINT64

static const char csp[] = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/* One TCP or Unix connection; what happens on it must happen before `until`. */
typedef struct {
        BhHttp *http;
        int fd;
        gboolean local;
        uid_t uid;
        char address[INET6_ADDRSTRLEN + 16];
        gint64 until;
        gboolean cut;
        BhHttpStream *stream; /* that is being sent on it, borrowed: see on_completed() */
} Connection;

typedef struct Exchange Exchange;

struct BhHttp {
        BhHttpOps ops;
        gpointer data;
        struct MHD_Daemon *daemons[2];
        GThreadPool *workers;
        GThread *clock;
        GMutex lock; /* connections, streams */
        GCond idle;
        GHashTable *connections; /* Connection, a set */
        GPtrArray *streams;      /* live ones, referenced */
        guint busy;              /* requests that are a worker's, with their connections suspended */
        gint stopping;
        gsize bodies; /* bytes reserved for bodies that are being read */
        gsize answers; /* bytes of large answers that are not yet taken */
        BhHttpStats stats;
};

/* One request. */
struct Exchange {
        BhHttpRequest request; /* first: handlers get a pointer to it */
        BhHttp *http;
        Connection *connection;
        struct MHD_Connection *mhd;
        const char *uri_at; /* where the target lies in the received bytes */
        char *uri;
        gsize body_len, answer_len; /* as counted in bodies and answers */
        gboolean begun, handed, close, drain, sent; /* drain: answered, the body is thrown away */
        guint status;
        struct MHD_Response *response;
        GPtrArray *headers; /* name, value, name, value … */
        GBytes *bytes;
        BhHttpStream *stream;
};

static gint64 now(void) {
        return g_get_monotonic_time();
}

static void allow(Exchange *x, gint64 seconds) {
        g_mutex_lock(&x->http->lock);
        x->connection->until = seconds ? now() + seconds * G_USEC_PER_SEC : NEVER;
        g_mutex_unlock(&x->http->lock);
}

gboolean bh_http_stopping(BhHttp *h) {
        return h && g_atomic_int_get(&h->stopping) != 0;
}

/* ---- what handlers see ---- */

const char *bh_http_header(BhHttpRequest *r, const char *name) {
        return MHD_lookup_connection_value(((Exchange *) r)->mhd, MHD_HEADER_KIND, name);
}

const char *bh_http_param(BhHttpRequest *r, const char *name) {
        return g_hash_table_lookup(r->target.params, name);
}

gboolean bh_http_add_header(BhHttpRequest *r, const char *name, const char *value) {
        Exchange *x = (Exchange *) r;

        for (const char *p = value; *p; p++)
                if ((guchar) *p < 0x20 || *p == 0x7f)
                        return FALSE;
        g_ptr_array_add(x->headers, g_strdup(name));
        g_ptr_array_add(x->headers, g_strdup(value));
        return TRUE;
}

/* Clients that ask and do not read would make this program grow: what is large must find room. */
static gboolean reserve_answer(Exchange *x, gsize len) {
        BhHttp *h = x->http;

        if (len <= BH_HTTP_ANSWER_SMALL || x->request.answered)
                return TRUE;
        g_mutex_lock(&h->lock);
        gboolean room = len <= BH_HTTP_ANSWERS_MAX && h->answers <= BH_HTTP_ANSWERS_MAX - len;
        if (room)
                h->answers += x->answer_len = len;
        else
                h->stats.refused_answers++;
        g_mutex_unlock(&h->lock);
        return room;
}

void bh_http_answer(BhHttpRequest *r, guint status, const char *type, GBytes *body) {
        if (reserve_answer((Exchange *) r, g_bytes_get_size(body))) {
                bh_http_answer_shared(r, status, type, body);
                return;
        }
        g_bytes_unref(body);
        bh_http_add_header(r, "Retry-After", "5");
        bh_http_answer_error(r, 503, "answers_too_large", "the answers under way are too large together: try again, or ask for less (limit, since, filters)");
}

void bh_http_answer_shared(BhHttpRequest *r, guint status, const char *type, GBytes *body) {
        Exchange *x = (Exchange *) r;

        if (r->answered) {
                g_bytes_unref(body);
                return;
        }
        r->answered = TRUE;
        x->status = status;
        x->bytes = body;
        if (type)
                bh_http_add_header(r, "Content-Type", type);
}

void bh_http_answer_error(BhHttpRequest *r, guint status, const char *code, const char *format, ...) {
        GString *out = g_string_new("{\"error\":{\"code\":");
        va_list ap;

        va_start(ap, format);
        g_autofree char *message = g_strdup_vprintf(format, ap);
        va_end(ap);
        bh_escape_append_json(out, code, -1);
        g_string_append(out, ",\"message\":");
        bh_escape_append_json(out, message, -1);
        g_string_append(out, "}}\n");
        bh_http_answer(r, status, "application/json", g_string_free_to_bytes(out));
}

void bh_http_answer_stream(BhHttpRequest *r, const char *type, BhHttpStream *s) {
        Exchange *x = (Exchange *) r;

        if (r->answered) {
                bh_http_stream_end(s);
                return;
        }
        r->answered = TRUE;
        x->status = 200;
        x->stream = bh_http_stream_ref(s);
        bh_http_add_header(r, "Content-Type", type);
        bh_http_add_header(r, "X-Accel-Buffering", "no");
}

/* ---- answers ---- */

static const char *header_set(Exchange *x, const char *name) {
        for (guint i = 0; i + 1 < x->headers->len; i += 2)
                if (g_ascii_strcasecmp(x->headers->pdata[i], name) == 0)
                        return x->headers->pdata[i + 1];
        return NULL;
}

static void on_stream_gone(BhHttpStream *s, gpointer data) {
        BhHttp *h = data;

        g_mutex_lock(&h->lock);
        gboolean found = g_ptr_array_remove_fast(h->streams, s);
        g_mutex_unlock(&h->lock);
        if (found)
                bh_http_stream_unref(s);
}

static void free_bytes(void *bytes) {
        g_bytes_unref(bytes);
}

static enum MHD_Result send_answer(Exchange *x) {
        BhHttp *h = x->http;
        struct MHD_Response *response = NULL;

        /* a libmicrohttpd that is being stopped takes no answer, says that it did, and asks again */
        if (x->sent)
                return MHD_NO;
        x->sent = TRUE;
        if (x->stream) {
                if (!(response = bh_http_stream_response(x->stream, x->mhd, on_stream_gone, h)))
                        return MHD_NO;
                g_mutex_lock(&h->lock);
                g_ptr_array_add(h->streams, bh_http_stream_ref(x->stream));
                x->connection->stream = x->stream;
                g_mutex_unlock(&h->lock);
                if (bh_http_stopping(h))
                        bh_http_stream_end(x->stream);
                allow(x, 0);
        } else {
                GBytes *bytes = g_steal_pointer(&x->bytes);
                gsize len;
                const void *data = g_bytes_get_data(bytes, &len);

                response = MHD_create_response_from_buffer_with_free_callback_cls(len, (void *) (gsize) (data ? data : ""), free_bytes, bytes);
                if (!response) {
                        g_bytes_unref(bytes);
                        return MHD_NO;
                }
                allow(x, BH_HTTP_ANSWER_SECONDS);
        }
        for (guint i = 0; i + 1 < x->headers->len; i += 2)
                MHD_add_response_header(response, x->headers->pdata[i], x->headers->pdata[i + 1]);
        if (!header_set(x, "Cache-Control"))
                MHD_add_response_header(response, "Cache-Control", "no-store");
        MHD_add_response_header(response, "Content-Security-Policy", csp);
        MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
        MHD_add_response_header(response, "X-Frame-Options", "DENY");
        MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
        MHD_add_response_header(response, "Cross-Origin-Opener-Policy", "same-origin");
        MHD_add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
        if (x->close || bh_http_stopping(h))
                MHD_add_response_header(response, "Connection", "close");

        enum MHD_Result ok = MHD_queue_response(x->mhd, x->status, response);
        MHD_destroy_response(response);
        return ok;
}

static enum MHD_Result refuse(Exchange *x, const BhHttpRefusal *r) {
        g_mutex_lock(&x->http->lock);
        x->http->stats.refused_heads++;
        g_mutex_unlock(&x->http->lock);
        x->close = TRUE;
        bh_http_answer_error(&x->request, r->status, r->code, "%s", r->why);
        return send_answer(x);
}

/* ---- a request's way in ---- */

static void *on_uri(void *cls, const char *uri, struct MHD_Connection *mhd) {
        BhHttp *h = cls;
        Exchange *x = g_new0(Exchange, 1);
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

        x->http = h;
        x->mhd = mhd;
        x->connection = info ? info->socket_context : NULL;
        x->uri_at = uri;
        x->uri = g_strndup(uri ? uri : "", BH_HTTP_URI_MAX + 1);
        x->headers = g_ptr_array_new_with_free_func(g_free);
        if (x->connection)
                allow(x, BH_HTTP_HEAD_SECONDS);
        return x;
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode why) {
        Exchange *x = *context;
        BhHttp *h = cls;

        *context = NULL;
        if (!x)
                return;
        if (x->connection)
                allow(x, BH_HTTP_IDLE_SECONDS);
        g_mutex_lock(&h->lock);
        h->bodies -= x->body_len;
        h->answers -= x->answer_len;
        if (x->connection)
                x->connection->stream = NULL;
        g_mutex_unlock(&h->lock);
        g_clear_pointer(&x->bytes, g_bytes_unref);
        if (x->stream) {
                bh_http_stream_end(x->stream); /* also when it never became a response */
                bh_http_stream_unref(x->stream);
        }
        if (x->request.body)
                g_byte_array_unref(x->request.body);
        bh_http_target_clear(&x->request.target);
        g_ptr_array_unref(x->headers);
        g_free(x->uri);
        g_free(x);
}

typedef struct {
        BhHttpField fields[BH_HTTP_FIELDS_MAX];
        guint n;
        gboolean too_many;
} Fields;

static enum MHD_Result on_field(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len, const char *value, size_t value_len) {
        Fields *f = cls;

        if (f->n == BH_HTTP_FIELDS_MAX) {
                f->too_many = TRUE;
                return MHD_NO;
        }
        f->fields[f->n++] = (BhHttpField){ .name = name, .name_len = name_len, .value = value, .value_len = value_len };
        return MHD_YES;
}

static const char *method_name(const char *method) {
        static const char *const names[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE" };

        for (guint i = 0; i < G_N_ELEMENTS(names); i++)
                if (g_str_equal(names[i], method))
                        return names[i];
        return "?";
}

/*
 * An answer that does not need the body. A small one is read and thrown away first: closing on unread data resets the connection, and the
 * client might never see the answer. Who asked whether to send it at all, or sends a large one, is answered now.
 */
static enum MHD_Result send_early(Exchange *x, guint64 length) {
        x->close = length > 0;
        if (!length || length > BH_HTTP_BODY_MAX || bh_http_header(&x->request, "Expect"))
                return send_answer(x);
        x->drain = TRUE;
        allow(x, BH_HTTP_BODY_SECONDS);
        return MHD_YES;
}

static enum MHD_Result begin(Exchange *x, const char *method, const char *version) {
        BhHttp *h = x->http;
        BhHttpRefusal r = { 0 };
        Fields fields = { .n = 0 };
        guint64 length = 0;
        gsize max = 0;

        x->begun = TRUE;
        MHD_get_connection_values_n(x->mhd, MHD_HEADER_KIND, on_field, &fields);
        const union MHD_ConnectionInfo *size = MHD_get_connection_info(x->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
        BhHttpHead head = {
                .method = method,
                .uri = x->uri_at,
                .version = version,
                .head_len = size ? size->header_size : 0,
                .fields = fields.fields,
                .n_fields = fields.n,
                .too_many = fields.too_many,
        };
        g_mutex_lock(&h->lock);
        h->stats.requests++;
        g_mutex_unlock(&h->lock);
        x->request.method = method_name(method);
        x->request.address = x->connection->address;
        x->request.local = x->connection->local;
        x->request.peer_uid = x->connection->uid;
        /* the copy of the target was made before libmicrohttpd cut it at its '?': its length in the head is that of the original */
        if (!x->uri_at || !bh_http_target_parse(x->uri, &x->request.target, &r)) {
                if (!x->uri_at)
                        r = (BhHttpRefusal){ 400, "bad_path", "the request has no target" };
                return refuse(x, &r);
        }
        head.uri_len = strlen(x->uri);
        if (!bh_http_head_check(&head, &length, &r))
                return refuse(x, &r);
        if (bh_http_stopping(h)) {
                x->close = TRUE;
                bh_http_answer_error(&x->request, 503, "stopping", "the central is being stopped");
                return send_answer(x);
        }
        if (!h->ops.begin(&x->request, &max, h->data))
                return send_early(x, length);

        gboolean too_large = length > MIN(max, (gsize) BH_HTTP_BODY_MAX), full = FALSE;
        g_mutex_lock(&h->lock);
        if (!too_large && !(full = h->bodies + length > BH_HTTP_BODIES_MAX))
                h->bodies += x->body_len = (gsize) length;
        if (too_large || full)
                h->stats.refused_bodies++;
        g_mutex_unlock(&h->lock);
        if (too_large || full) {
                if (too_large)
                        bh_http_answer_error(&x->request, 413, "body_too_large", "the body is larger than the %" G_GSIZE_FORMAT " bytes that this accepts", max);
                else
                        bh_http_answer_error(&x->request, 503, "busy", "too many requests with bodies at once; try again");
                return send_early(x, length);
        }
        x->request.body = g_byte_array_sized_new((guint) length + 1);
        allow(x, BH_HTTP_BODY_SECONDS);
        return MHD_YES;
}

static void work(gpointer data, gpointer user) {
        Exchange *x = data;
        BhHttp *h = user;

        h->ops.handle(&x->request, h->data);
        if (!x->request.answered)
                bh_http_answer_error(&x->request, 500, "internal", "the request was not answered; this is a bug");
        /* once resumed, the exchange is the event thread's again */
        MHD_resume_connection(x->mhd);
        g_mutex_lock(&h->lock);
        if (--h->busy == 0)
                g_cond_broadcast(&h->idle);
        g_mutex_unlock(&h->lock);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url, const char *method, const char *version, const char *data, size_t *len,
                                  void **context) {
        BhHttp *h = cls;
        Exchange *x = *context;

        if (!x || !x->connection)
                return MHD_NO;
        if (!x->begun)
                return begin(x, method, version);
        if (x->drain && *len) {
                *len = 0;
                return MHD_YES;
        }
        if (x->drain)
                return send_answer(x);
        if (*len) {
                /* no more comes than was announced: libmicrohttpd counts it */
                if (x->request.body->len + *len > x->body_len)
                        return MHD_NO;
                g_byte_array_append(x->request.body, (const guint8 *) data, (guint) *len);
                *len = 0;
                return MHD_YES;
        }
        if (!x->handed) {
                x->handed = TRUE;
                g_byte_array_append(x->request.body, (const guint8 *) "", 1);
                g_byte_array_set_size(x->request.body, x->request.body->len - 1);
                allow(x, 0);
                g_mutex_lock(&h->lock);
                h->busy++;
                g_mutex_unlock(&h->lock);
                MHD_suspend_connection(mhd);
                g_thread_pool_push(h->workers, x, NULL);
                return MHD_YES;
        }
        return send_answer(x);
}

/* ---- connections ---- */

/* With the lock held. A user of a namespace has thousands of uids, so there is a bound for all that are not root's, too. */
static gboolean too_many_of(BhHttp *h, uid_t uid) {
        guint same = 0, others = 0;
        GHashTableIter it;
        Connection *c;

        g_hash_table_iter_init(&it, h->connections);
        while (g_hash_table_iter_next(&it, (gpointer *) &c, NULL)) {
                same += c->local && c->uid == uid;
                others += c->local && c->uid != 0;
        }
        return same >= BH_HTTP_PER_UID || others >= BH_HTTP_OTHERS;
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode code) {
        BhHttp *h = cls;

        if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
                Connection *c = *context;

                if (!c)
                        return;
                *context = NULL;
                g_mutex_lock(&h->lock);
                g_hash_table_remove(h->connections, c);
                g_mutex_unlock(&h->lock);
                g_free(c);
                return;
        }

        const union MHD_ConnectionInfo *fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
        const union MHD_ConnectionInfo *addr = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
        const struct sockaddr *sa = addr ? addr->client_addr : NULL;
        Connection *c = g_new0(Connection, 1);

        c->http = h;
        c->fd = fd ? fd->connect_fd : -1;
        c->uid = (uid_t) -1;
        c->until = now() + BH_HTTP_HEAD_SECONDS * G_USEC_PER_SEC;
        if (sa && sa->sa_family == AF_INET) {
                inet_ntop(AF_INET, &((const struct sockaddr_in *) (const void *) sa)->sin_addr, c->address, sizeof(c->address));
        } else if (sa && sa->sa_family == AF_INET6) {
                inet_ntop(AF_INET6, &((const struct sockaddr_in6 *) (const void *) sa)->sin6_addr, c->address, sizeof(c->address));
        } else {
                struct ucred peer = { .uid = (uid_t) -1 };
                socklen_t len = sizeof(peer);

                if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0) {
                        c->local = TRUE;
                        c->uid = peer.uid;
                }
                g_snprintf(c->address, sizeof(c->address), "unix:uid=%u", c->uid);
        }
        *context = c;

        g_mutex_lock(&h->lock);
        h->stats.connections++;
        if (c->local && c->uid != 0 && too_many_of(h, c->uid)) {
                h->stats.refused_uid++;
                c->cut = TRUE;
                shutdown(c->fd, SHUT_RDWR);
        }
        g_hash_table_add(h->connections, c);
        g_mutex_unlock(&h->lock);
}

static gboolean hung_up(int fd) {
        struct pollfd p = { .fd = fd, .events = POLLRDHUP };

        return poll(&p, 1, 0) == 1 && p.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

/*
 * Ends what takes too long: libmicrohttpd's own timeout starts anew with each byte, so a client that drips would stay for ever. And ends
 * streams whose client is gone: libmicrohttpd does not look at a connection that waits for data from us.
 */
static gpointer tick(gpointer data) {
        BhHttp *h = data;
        g_autoptr(GPtrArray) over = g_ptr_array_new_with_free_func((GDestroyNotify) bh_http_stream_unref);

        while (g_atomic_int_get(&h->stopping) < 2) {
                GHashTableIter it;
                Connection *c;
                gint64 t = now();

                g_mutex_lock(&h->lock);
                g_hash_table_iter_init(&it, h->connections);
                while (g_hash_table_iter_next(&it, (gpointer *) &c, NULL)) {
                        if (c->stream && hung_up(c->fd))
                                g_ptr_array_add(over, bh_http_stream_ref(c->stream));
                        if (c->cut || t < c->until)
                                continue;
                        c->cut = TRUE;
                        h->stats.timeouts++;
                        shutdown(c->fd, SHUT_RDWR); /* the event thread finds it closed; the descriptor stays its own */
                }
                g_mutex_unlock(&h->lock);
                for (guint i = 0; i < over->len; i++)
                        bh_http_stream_end(over->pdata[i]);
                g_ptr_array_set_size(over, 0);
                g_usleep(TICK_MS * 1000);
        }
        return NULL;
}

/* ---- life ---- */

static size_t keep_escaped(void *cls, struct MHD_Connection *mhd, char *s) {
        return strlen(s); /* targets are decoded by bh_http_target_parse() alone */
}

static struct MHD_Daemon *start_daemon(BhHttp *h, const BhHttpConfig *config, gboolean tls) {
        unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | (tls ? MHD_USE_TLS : 0);
        struct MHD_OptionItem items[] = {
                { MHD_OPTION_LISTEN_SOCKET, tls ? config->tcp_fd : config->unix_fd, NULL },
                { MHD_OPTION_STRICT_FOR_CLIENT, 0, NULL }, /* at 1 its own refusal of a missing Host is sent twice; http_check.c is stricter */
                { MHD_OPTION_CONNECTION_LIMIT, tls ? BH_HTTP_CONNECTIONS : BH_HTTP_CONNECTIONS / 2, NULL },
                { MHD_OPTION_CONNECTION_TIMEOUT, BH_HTTP_IDLE_SECONDS + 1, NULL },
                { MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, NULL },
                { MHD_OPTION_URI_LOG_CALLBACK, (intptr_t) on_uri, h },
                { MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t) keep_escaped, h },
                { MHD_OPTION_NOTIFY_COMPLETED, (intptr_t) on_completed, h },
                { MHD_OPTION_NOTIFY_CONNECTION, (intptr_t) on_connection, h },
                { tls ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END, EVENT_THREADS, NULL },
                { MHD_OPTION_PER_IP_CONNECTION_LIMIT, BH_HTTP_PER_ADDRESS, NULL },
                { tls ? MHD_OPTION_HTTPS_CERT_CALLBACK : MHD_OPTION_END, 0, (void *) config->certificate },
                { MHD_OPTION_HTTPS_PRIORITIES, 0, (void *) (gsize) "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2" },
                { MHD_OPTION_END, 0, NULL },
        };

        return MHD_start_daemon(flags, 0, NULL, NULL, on_request, h, MHD_OPTION_ARRAY, items, MHD_OPTION_END);
}

BhHttp *bh_http_new(const BhHttpConfig *config) {
        BhHttp *h = g_new0(BhHttp, 1);

        h->ops = config->ops;
        h->data = config->data;
        g_mutex_init(&h->lock);
        g_cond_init(&h->idle);
        h->connections = g_hash_table_new(NULL, NULL);
        h->streams = g_ptr_array_new();
        h->workers = g_thread_pool_new(work, h, BH_HTTP_WORKERS, FALSE, NULL);
        return h;
}

gboolean bh_http_start(BhHttp *h, const BhHttpConfig *config, GError **error) {
        for (int i = 0; i < 2; i++) {
                int fd = i == 0 ? config->tcp_fd : config->unix_fd;

                if (fd >= 0 && !(h->daemons[i] = start_daemon(h, config, i == 0))) {
                        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "cannot start the HTTP server %s: %s", i == 0 ? "with TLS" : "on the local socket",
                                    g_strerror(errno));
                        close(fd);
                        if (i == 0 && config->unix_fd >= 0)
                                close(config->unix_fd);
                        bh_http_stop(h);
                        return FALSE;
                }
        }
        h->clock = g_thread_new("bh-http-clock", tick, h);
        return TRUE;
}

static void end_streams(BhHttp *h) {
        g_autoptr(GPtrArray) streams = g_ptr_array_new_with_free_func((GDestroyNotify) bh_http_stream_unref);

        /* not under the lock: a stream that ends may take it */
        g_mutex_lock(&h->lock);
        for (guint i = 0; i < h->streams->len; i++)
                g_ptr_array_add(streams, bh_http_stream_ref(h->streams->pdata[i]));
        g_mutex_unlock(&h->lock);
        for (guint i = 0; i < streams->len; i++)
                bh_http_stream_end(streams->pdata[i]);
}

void bh_http_stop(BhHttp *h) {
        gint64 until = now() + STOP_SECONDS * G_USEC_PER_SEC;

        g_atomic_int_set(&h->stopping, 1);
        for (guint i = 0; i < G_N_ELEMENTS(h->daemons); i++) {
                if (!h->daemons[i])
                        continue;
                int fd = MHD_quiesce_daemon(h->daemons[i]);
                if (fd >= 0)
                        close(fd);
        }
        g_mutex_lock(&h->lock);
        while (h->busy && g_cond_wait_until(&h->idle, &h->lock, until))
                ;
        g_mutex_unlock(&h->lock);
        /* handlers that began before may have started streams */
        end_streams(h);
        g_mutex_lock(&h->lock);
        while (h->busy) /* libmicrohttpd does not stop with suspended connections; handlers have deadlines */
                g_cond_wait(&h->idle, &h->lock);
        g_mutex_unlock(&h->lock);
        for (guint i = 0; i < G_N_ELEMENTS(h->daemons); i++)
                g_clear_pointer(&h->daemons[i], MHD_stop_daemon);
}

void bh_http_free(BhHttp *h) {
        if (!h)
                return;
        g_atomic_int_set(&h->stopping, 2);
        if (h->clock)
                g_thread_join(h->clock);
        g_thread_pool_free(h->workers, FALSE, TRUE);
        g_ptr_array_unref(h->streams);
        g_hash_table_unref(h->connections);
        g_cond_clear(&h->idle);
        g_mutex_clear(&h->lock);
        g_free(h);
}

void bh_http_stats(BhHttp *h, BhHttpStats *out) {
        g_mutex_lock(&h->lock);
        *out = h->stats;
        out->open = g_hash_table_size(h->connections);
        out->streams = h->streams->len;
        g_mutex_unlock(&h->lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "api.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define CALL_MS 60000L
#define CONNECT_MS 5000L
#define PAGE 1000
#define TOKEN_MAX 256

G_DEFINE_QUARK(bh-api-error-quark, bh_api_error)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CURLU, curl_url_cleanup)

struct BhApi {
        char *base;   /* "https://host:port", "http://central" over the socket */
        char *socket; /* NULL: over TLS */
        char *shown;  /* for people */
        char *bearer; /* "Authorization: …" or NULL */
        char *cacert; /* may be NULL */
        char *data_dir;
        gboolean loopback;
        CURL *easy;
};

static gboolean fail(GError **error, BhApiError code, const char *format, ...) G_GNUC_PRINTF(3, 4);
static gboolean fail(GError **error, BhApiError code, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_propagate_error(error, g_error_new_valist(BH_API_ERROR, (gint) code, format, ap));
        va_end(ap);
        return FALSE;
}

/* ---- where ---- */

static gboolean is_this_machine(const char *host) {
        return g_ascii_strcasecmp(host, "localhost") == 0 || g_str_has_prefix(host, "127.") || g_str_equal(host, "::1") || g_str_equal(host, "[::1]") ||
               g_ascii_strcasecmp(host, g_get_host_name()) == 0;
}

/* "central.example:8443", "https://central.example:8443/": base and host. */
static gboolean parse_server(BhApi *api, const char *text, GError **error) {
        g_autofree char *whole = strstr(text, "://") ? g_strdup(text) : g_strconcat("https://", text, NULL);
        g_autoptr(CURLU) url = curl_url();
        char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL, *user = NULL;
        gboolean ok = url && curl_url_set(url, CURLUPART_URL, whole, 0) == CURLUE_OK && curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                      curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK;

        if (ok) {
                curl_url_get(url, CURLUPART_PORT, &port, 0);
                curl_url_get(url, CURLUPART_PATH, &path, 0);
                curl_url_get(url, CURLUPART_USER, &user, 0);
        }
        if (!ok || (path && !g_str_equal(path, "/")) || user) {
                ok = fail(error, BH_API_ERROR_UNREACHABLE, "--server must be the central's address, like https://central.example:8443, not \"%s\"", text);
        } else if (!g_str_equal(scheme, "https")) {
                ok = fail(error, BH_API_ERROR_UNREACHABLE, "the central is asked over TLS only: write https:// instead of %s:// in --server", scheme);
        } else {
                api->base = g_strdup_printf("https://%s:%s", host, port ? port : "8443");
                api->shown = g_strdup(api->base);
                api->loopback = is_this_machine(host);
        }
        curl_free(scheme);
        curl_free(host);
        curl_free(port);
        curl_free(path);
        curl_free(user);
        return ok;
}

/* Whether somebody listens: asked before anything else, because the answer decides whom a command asks. */
static gboolean parse_socket(BhApi *api, const char *run_dir, GError **error) {
        struct sockaddr_un at = { .sun_family = AF_UNIX };
        g_autofree char *path = g_build_filename(run_dir, "central", "api.sock", NULL);
        g_auto(BhFd) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (strlen(path) >= sizeof(at.sun_path))
                return fail(error, BH_API_ERROR_NOBODY, "the socket path %s is too long; choose a shorter --run-dir", path);
        memcpy(at.sun_path, path, strlen(path) + 1);
        if (fd < 0 || connect(fd, (struct sockaddr *) &at, sizeof(at))) {
                int code = errno;

                if (code == EACCES || code == EPERM)
                        return fail(error, BH_API_ERROR_NOBODY, "may not reach the central at %s: run this as root (sudo)", path);
                return fail(error, BH_API_ERROR_NOBODY, "no central answers at %s%s%s: start one with \"sudo bulkhead up\", name its directory with --run-dir, or another machine's central with --server",
                            path, code == ENOENT || code == ECONNREFUSED ? "" : ": ", code == ENOENT || code == ECONNREFUSED ? "" : g_strerror(code));
        }
        api->socket = g_steal_pointer(&path);
        api->shown = g_strdup(api->socket);
        api->base = g_strdup("http://central");
        api->loopback = TRUE;
        return TRUE;
}

static gboolean set_token(BhApi *api, const char *token, GError **error) {
        if (!token || !*token)
                return TRUE;
        for (const char *p = token; *p; p++)
                if (!g_ascii_isgraph(*p))
                        return fail(error, BH_API_ERROR_ACCESS, "the token in --token or BULKHEAD_TOKEN has a character that no token has; \"bulkhead token create\" makes one");
        if (strlen(token) > TOKEN_MAX)
                return fail(error, BH_API_ERROR_ACCESS, "the token in --token or BULKHEAD_TOKEN is too long to be one; \"bulkhead token create\" makes one");
        api->bearer = g_strconcat("Authorization: Bearer ", token, NULL);
        return TRUE;
}

BhApi *bh_api_new(const BhCliPaths *paths, GError **error) {
        const char *server = paths->server ? paths->server : g_getenv("BULKHEAD_SERVER");
        const char *token = paths->token ? paths->token : g_getenv("BULKHEAD_TOKEN");
        static gsize once = 0;

        if (g_once_init_enter(&once))
                g_once_init_leave(&once, curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 1 : 2);

        g_autoptr(BhApi) api = g_new0(BhApi, 1);
        api->data_dir = g_strdup(paths->data_dir);
        api->cacert = g_strdup(paths->cacert);
        if (!(server && *server ? parse_server(api, server, error) : parse_socket(api, paths->run_dir, error)) || !set_token(api, token, error))
                return NULL;
        if (once != 1 || !(api->easy = curl_easy_init())) {
                fail(error, BH_API_ERROR_FAILED, "cannot begin with HTTP: libcurl does not start");
                return NULL;
        }
        return g_steal_pointer(&api);
}

void bh_api_free(BhApi *api) {
        if (!api)
                return;
        if (api->easy)
                curl_easy_cleanup(api->easy);
        g_free(api->base);
        g_free(api->socket);
        g_free(api->shown);
        g_free(api->bearer);
        g_free(api->cacert);
        g_free(api->data_dir);
        g_free(api);
}

gboolean bh_api_is_local_root(const BhApi *api) {
        return api->socket && !api->bearer && geteuid() == 0;
}

gboolean bh_api_choose(const BhCliPaths *paths, BhApi **api, GError **error) {
        g_autoptr(GError) e = NULL;

        *api = NULL;
        if (paths->sensor)
                return TRUE;
        *api = bh_api_new(paths, &e);
        if (*api || g_error_matches(e, BH_API_ERROR, BH_API_ERROR_NOBODY))
                return TRUE;
        g_propagate_error(error, g_steal_pointer(&e));
        return FALSE;
}

/* ---- targets ---- */

void bh_api_segment(GString *target, const char *segment) {
        g_string_append_c(target, '/');
        g_string_append_uri_escaped(target, segment, NULL, FALSE);
}

void bh_api_param(GString *target, const char *name, const char *value) {
        if (!value)
                return;
        g_string_append_printf(target, "%c%s=", strchr(target->str, '?') ? '&' : '?', name);
        g_string_append_uri_escaped(target, value, NULL, FALSE);
}

/* ---- a transfer ---- */

typedef struct {
        BhApi *api;
        CURL *easy;
        struct curl_slist *headers;
        char why[CURL_ERROR_SIZE];
        GString *body; /* the whole answer, or that of an error */
        long retry_after;
        gboolean too_large;
        /* of a stream */
        BhSse sse;
        BhSseFunc each;
        gpointer user;
        gboolean enough;
} Transfer;

static size_t on_header(char *data, size_t size, size_t n, void *user) {
        Transfer *t = user;

        if (n > 12 && g_ascii_strncasecmp(data, "Retry-After:", 12) == 0) {
                g_autofree char *value = g_strndup(data + 12, n - 12);
                t->retry_after = strtol(value, NULL, 10);
        }
        return n;
}

static size_t on_body(char *data, size_t size, size_t n, void *user) {
        Transfer *t = user;
        long status = 0;

        curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
        if (t->each && status == 200) {
                BhSseState state = bh_sse_feed(&t->sse, data, n, t->each, t->user);

                t->enough = state == BH_SSE_ENOUGH;
                t->too_large = state == BH_SSE_TOO_LARGE;
                return state == BH_SSE_MORE ? n : 0;
        }
        if (t->body->len + n > BH_API_ANSWER_MAX) {
                t->too_large = TRUE;
                return 0;
        }
        g_string_append_len(t->body, data, (gssize) n);
        return n;
}

static void transfer_begin(Transfer *t, BhApi *api, CURL *easy, const char *target, const char *own_cert) {
        g_autofree char *url = g_strconcat(api->base, target, NULL);

        t->api = api;
        t->easy = easy;
        t->body = g_string_new(NULL);
        if (api->bearer)
                t->headers = curl_slist_append(t->headers, api->bearer);
        curl_easy_setopt(easy, CURLOPT_URL, url);
        curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L); /* the central says what is wrong with a path */
        if (api->socket)
                curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, api->socket);
        if (api->loopback)
                curl_easy_setopt(easy, CURLOPT_PROXY, "");
        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, api->socket ? "http" : "https");
        if (api->cacert)
                curl_easy_setopt(easy, CURLOPT_CAINFO, api->cacert);
        else if (own_cert)
                curl_easy_setopt(easy, CURLOPT_CAINFO, own_cert); /* besides those of the system's directory */
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
        curl_easy_setopt(easy, CURLOPT_USERAGENT, "bulkhead/" BH_VERSION);
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->why);
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
        curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
        curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
}

static void transfer_clear(Transfer *t) {
        curl_slist_free_all(t->headers);
        if (t->body)
                g_string_free(t->body, TRUE);
        bh_sse_clear(&t->sse);
}

/* The certificate that a central on this machine made, if it is to be trusted. NULL: none, or it cannot be read. Caller frees. */
static char *own_certificate(const BhApi *api) {
        g_autofree char *path = api->loopback && !api->socket ? g_build_filename(api->data_dir, "central", "tls", "cert.pem", NULL) : NULL;

        return path && access(path, R_OK) == 0 ? g_steal_pointer(&path) : NULL;
}

static gboolean unreachable(const Transfer *t, CURLcode code, GError **error) {
        const char *where = t->api->shown, *why = *t->why ? t->why : curl_easy_strerror(code);

        if (t->too_large)
                return fail(error, BH_API_ERROR_FAILED, "the answer of %s is larger than this program takes: ask for less, with --limit or --since", where);
        switch (code) {
        case CURLE_PEER_FAILED_VERIFICATION:
                return fail(error, BH_API_ERROR_UNREACHABLE,
                            "the certificate of %s is not trusted here (%s): copy the central's <data-dir>/central/tls/cert.pem and name it with --cacert, or use the name or address that is in it", where, why);
        case CURLE_SSL_CACERT_BADFILE:
                return fail(error, BH_API_ERROR_UNREACHABLE, "cannot read the certificate %s: %s", t->api->cacert ? t->api->cacert : "of the central", why);
        case CURLE_COULDNT_RESOLVE_HOST:
                return fail(error, BH_API_ERROR_UNREACHABLE, "the name of the central, %s, is not known: look at --server and BULKHEAD_SERVER", where);
        case CURLE_COULDNT_CONNECT:
                return fail(error, BH_API_ERROR_UNREACHABLE, "no central answers at %s: is it running (\"bulkhead up\"), and is --server its address?", where);
        case CURLE_OPERATION_TIMEDOUT:
                return fail(error, BH_API_ERROR_UNREACHABLE, "the central at %s does not answer in time; its log says why, or the way to it is closed", where);
        case CURLE_SSL_CONNECT_ERROR:
        case CURLE_WEIRD_SERVER_REPLY:
        case CURLE_UNSUPPORTED_PROTOCOL:
                return fail(error, BH_API_ERROR_UNREACHABLE, "what answers at %s is no Bulkhead central (%s): look at --server", where, why);
        default:
                return fail(error, BH_API_ERROR_FAILED, "the connection to the central at %s broke: %s; try again", where, why);
        }
}

/* What the central says itself, and what to do where it cannot know. */
static gboolean refused(const Transfer *t, long status, GError **error) {
        json_auto_t *answer = json_loadb(t->body->str, t->body->len, 0, NULL);
        json_t *e = json_object_get(answer, "error");
        const char *message = json_string_value(json_object_get(e, "message")), *code = json_string_value(json_object_get(e, "code"));

        if (!message)
                return fail(error, BH_API_ERROR_FAILED, "what answers at %s with status %ld is no Bulkhead central, or one of another version", t->api->shown, status);
        if (status == 401 && t->api->bearer)
                return fail(error, BH_API_ERROR_ACCESS, "the central does not accept the token: it is mistyped, expired or revoked; \"bulkhead token create\" on the central's machine makes another");
        if (status == 401)
                return fail(error, BH_API_ERROR_ACCESS,
                            "the central wants to know who asks: give a token in BULKHEAD_TOKEN (\"sudo bulkhead token create\" on its machine makes one)%s", t->api->socket ? ", or run this as root (sudo)" : "");
        if (status == 429 && t->retry_after > 0)
                return fail(error, BH_API_ERROR_FAILED, "the central says: %s (in %ld s)", message, t->retry_after);
        if (status == 400 && g_strcmp0(code, "unknown_parameter") == 0)
                return fail(error, BH_API_ERROR_FAILED, "the central is of another version than this program: %s", message);
        return fail(error, status == 403 ? BH_API_ERROR_ACCESS : status == 404 ? BH_API_ERROR_NOT_FOUND : status == 503 ? BH_API_ERROR_AWAY : BH_API_ERROR_FAILED, "the central says: %s", message);
}

/* ---- calls ---- */

/* The text of the answer; takes nothing. */
static GString *call(BhApi *api, const char *method, const char *target, const char *body, GError **error) {
        g_autofree char *own = own_certificate(api);
        Transfer t = { 0 };
        GString *out = NULL;
        long status = 0;

        curl_easy_reset(api->easy);
        transfer_begin(&t, api, api->easy, target, own);
        curl_easy_setopt(api->easy, CURLOPT_TIMEOUT_MS, CALL_MS);
        if (!g_str_equal(method, "GET"))
                curl_easy_setopt(api->easy, CURLOPT_CUSTOMREQUEST, method);
        if (body) {
                t.headers = curl_slist_append(t.headers, "Content-Type: application/json");
                t.headers = curl_slist_append(t.headers, "Expect:");
                curl_easy_setopt(api->easy, CURLOPT_POSTFIELDSIZE, (long) strlen(body));
                curl_easy_setopt(api->easy, CURLOPT_POSTFIELDS, body);
        } else if (g_str_equal(method, "POST")) {
                curl_easy_setopt(api->easy, CURLOPT_POSTFIELDSIZE, 0L); /* a length is said in any case: the central wants one */
                curl_easy_setopt(api->easy, CURLOPT_POSTFIELDS, "");
        }
        curl_easy_setopt(api->easy, CURLOPT_HTTPHEADER, t.headers);

        CURLcode code = curl_easy_perform(api->easy);
        curl_easy_getinfo(api->easy, CURLINFO_RESPONSE_CODE, &status);
        if (code != CURLE_OK)
                unreachable(&t, code, error);
        else if (status < 200 || status > 299)
                refused(&t, status, error);
        else
                out = g_steal_pointer(&t.body);
        transfer_clear(&t);
        return out;
}

static json_t *parse(const BhApi *api, GString *text, GError **error) {
        json_t *answer = text->len ? json_loadb(text->str, text->len, JSON_ALLOW_NUL, NULL) : json_object();

        if (!json_is_object(answer)) {
                json_decref(answer);
                answer = NULL;
                fail(error, BH_API_ERROR_FAILED, "what %s answered is not what this program knows: is it of another version?", api->shown);
        }
        g_string_free(text, TRUE);
        return answer;
}

json_t *bh_api_get(BhApi *api, const char *target, GError **error) {
        GString *text = call(api, "GET", target, NULL, error);

        return text ? parse(api, text, error) : NULL;
}

json_t *bh_api_send(BhApi *api, const char *method, const char *target, json_t *body, GError **error) {
        g_autofree char *sent = body ? json_dumps(body, JSON_COMPACT) : NULL;
        GString *text;

        if (body && !sent) {
                json_decref(body);
                fail(error, BH_API_ERROR_FAILED, "cannot ask the central: an argument is not UTF-8");
                return NULL;
        }
        json_decref(body);
        text = call(api, method, target, sent, error);
        return text ? parse(api, text, error) : NULL;
}

GString *bh_api_get_text(BhApi *api, const char *target, GError **error) {
        return call(api, "GET", target, NULL, error);
}

json_t *bh_api_list(BhApi *api, const char *target, const char *member, guint max, gboolean *more, GError **error) {
        g_autofree char *cursor = NULL;
        json_auto_t *rows = json_array();

        for (;;) {
                g_autoptr(GString) page = g_string_new(target);
                gsize have = json_array_size(rows);
                g_autofree char *limit = g_strdup_printf("%u", (guint) (max ? MIN(PAGE, max - have) : PAGE));
                const char *next;

                bh_api_param(page, "limit", limit);
                bh_api_param(page, "cursor", cursor);
                json_auto_t *answer = bh_api_get(api, page->str, error);
                if (!answer)
                        return NULL;
                if (!json_is_array(json_object_get(answer, member))) {
                        fail(error, BH_API_ERROR_FAILED, "what %s answered has no \"%s\": is it of another version?", api->shown, member);
                        return NULL;
                }
                json_array_extend(rows, json_object_get(answer, member));
                next = json_string_value(json_object_get(answer, "next"));
                if (!next || (max && json_array_size(rows) >= max)) {
                        if (more)
                                *more = next != NULL;
                        return g_steal_pointer(&rows);
                }
                g_free(cursor);
                cursor = g_strdup(next);
        }
}

/* ---- streams ---- */

struct BhApiStream {
        Transfer t;
        CURLM *multi;
        char *own_cert;
};

BhApiStream *bh_api_stream_new(BhApi *api, const char *target, BhSseFunc each, gpointer user) {
        BhApiStream *s = g_new0(BhApiStream, 1);
        CURL *easy = curl_easy_init();

        s->multi = curl_multi_init();
        g_assert(s->multi && easy);
        s->own_cert = own_certificate(api);
        bh_sse_init(&s->t.sse);
        s->t.each = each;
        s->t.user = user;
        transfer_begin(&s->t, api, easy, target, s->own_cert);
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, s->t.headers);
        /* heartbeats come each 15 s */
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, 60L);
        curl_multi_add_handle(s->multi, easy);
        return s;
}

BhClientState bh_api_stream_run(BhApiStream *s, int ms, GError **error) {
        int running = 0, left;
        CURLMsg *m;
        long status = 0;

        curl_multi_perform(s->multi, &running);
        if (running) {
                curl_multi_poll(s->multi, NULL, 0, ms, NULL);
                curl_multi_perform(s->multi, &running);
        }
        m = curl_multi_info_read(s->multi, &left);
        if (!m || m->msg != CURLMSG_DONE)
                return s->t.enough ? BH_CLIENT_ENOUGH : BH_CLIENT_MORE;
        if (s->t.enough)
                return BH_CLIENT_ENOUGH;
        curl_easy_getinfo(s->t.easy, CURLINFO_RESPONSE_CODE, &status);
        if (m->data.result != CURLE_OK)
                unreachable(&s->t, m->data.result, error);
        else if (status != 200)
                refused(&s->t, status, error);
        else
                return BH_CLIENT_END;
        return BH_CLIENT_FAILED;
}

void bh_api_stream_free(BhApiStream *s) {
        if (!s)
                return;
        curl_multi_remove_handle(s->multi, s->t.easy);
        curl_easy_cleanup(s->t.easy);
        curl_multi_cleanup(s->multi);
        transfer_clear(&s->t);
        g_free(s->own_cert);
        g_free(s);
}

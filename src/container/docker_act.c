/* SPDX-License-Identifier: Apache-2.0 */
#include "container/docker_act.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX (4u << 20)

static size_t collect(char *bytes, size_t size, size_t n, void *data) {
        GString *s = data;

        if (s->len + size * n > ANSWER_MAX)
                return 0;
        g_string_append_len(s, bytes, (gssize) (size * n));
        return size * n;
}

/* What it said, with its status; NULL with *error: it said nothing. */
static GString *ask(const char *socket_path, const char *url, const char *body, guint timeout_ms, long *status, GError **error) {
        g_autoptr(GString) answer = g_string_new(NULL);
        CURL *easy = curl_easy_init();

        if (!easy) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOMEM, "no memory for a question to the Docker Engine");
                return NULL;
        }
        struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, socket_path);
        curl_easy_setopt(easy, CURLOPT_URL, url);
        if (body) {
                curl_easy_setopt(easy, CURLOPT_POST, 1L);
                curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
                curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) strlen(body));
                if (*body)
                        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
        }
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long) timeout_ms);
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, collect);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, answer);
        CURLcode rc = curl_easy_perform(easy);
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, status);
        curl_easy_cleanup(easy);
        curl_slist_free_all(headers);
        if (rc == CURLE_OK)
                return g_steal_pointer(&answer);
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "the Docker Engine at %s did not do it: %s", socket_path, curl_easy_strerror(rc));
        return NULL;
}

static void refused(const GString *answer, long status, GError **error) {
        json_auto_t *said = json_loadb(answer->str, answer->len, 0, NULL);
        const char *why = json_string_value(json_object_get(said, "message"));

        g_set_error(error, G_FILE_ERROR, status == 404 ? G_FILE_ERROR_NOENT : G_FILE_ERROR_FAILED, "the Docker Engine refused (%ld): %s", status, why ? why : "it gave no reason");
}

/* What is there. NULL with *error. */
static json_t *get_object(const char *socket_path, const char *url, guint timeout_ms, GError **error) {
        long status = 0;
        g_autoptr(GString) answer = ask(socket_path, url, NULL, timeout_ms, &status, error);
        json_t *object = answer && status == 200 ? json_loadb(answer->str, answer->len, 0, NULL) : NULL;

        if (json_is_object(object))
                return object;
        json_decref(object);
        if (answer)
                refused(answer, status, error);
        return NULL;
}

static gboolean is_container(const char *id, GError **error) {
        gboolean ok = *id && strspn(id, "0123456789abcdef") == strlen(id);

        if (!ok)
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "a Docker Engine knows no container of that id");
        return ok;
}

gboolean bh_docker_act(const char *socket_path, const char *id, const char *act, guint timeout_ms, GError **error) {
        long status = 0;

        if (!is_container(id, error))
                return FALSE;
        g_autofree char *url = g_strdup_printf("http://docker/containers/%s/%s", id, act);
        g_autoptr(GString) answer = ask(socket_path, url, "", timeout_ms, &status, error);
        if (!answer || status == 204 || status == 304 || status == 200)
                return answer != NULL;
        refused(answer, status, error);
        return FALSE;
}

json_t *bh_docker_container(const char *socket_path, const char *id, guint timeout_ms, GError **error) {
        if (!is_container(id, error))
                return NULL;
        g_autofree char *url = g_strdup_printf("http://docker/containers/%s/json", id);
        return get_object(socket_path, url, timeout_ms, error);
}

static gboolean is_service(const char *id, GError **error) {
        gboolean ok = *id && strlen(id) <= 64 && strspn(id, "0123456789abcdefghijklmnopqrstuvwxyz") == strlen(id);

        if (!ok)
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "a Swarm knows no service of that id");
        return ok;
}

json_t *bh_docker_service(const char *socket_path, const char *id, guint timeout_ms, GError **error) {
        if (!is_service(id, error))
                return NULL;
        g_autofree char *url = g_strdup_printf("http://docker/services/%s", id);
        return get_object(socket_path, url, timeout_ms, error);
}

gboolean bh_docker_service_replicas(const json_t *service, gint64 *replicas) {
        json_t *mode = json_object_get(json_object_get(json_object_get(service, "Spec"), "Mode"), "Replicated"), *n = json_object_get(mode, "Replicas");

        if (mode)
                *replicas = json_is_integer(n) ? json_integer_value(n) : 1; /* the engine's default */
        return mode != NULL;
}

gboolean bh_docker_service_scale(const char *socket_path, const json_t *service, gint64 replicas, guint timeout_ms, GError **error) {
        const char *id = json_string_value(json_object_get(service, "ID"));
        json_auto_t *spec = json_deep_copy(json_object_get(service, "Spec"));
        long status = 0;

        if (!is_service(id ? id : "", error))
                return FALSE;
        json_object_set_new(json_object_get(json_object_get(spec, "Mode"), "Replicated"), "Replicas", json_integer(replicas));
        char *body = json_dumps(spec, JSON_COMPACT);
        g_autofree char *url = g_strdup_printf("http://docker/services/%s/update?version=%" JSON_INTEGER_FORMAT, id, json_integer_value(json_object_get(json_object_get(service, "Version"), "Index")));
        g_autoptr(GString) answer = ask(socket_path, url, body ? body : "{}", timeout_ms, &status, error);
        free(body);
        if (!answer || status == 200)
                return answer != NULL;
        refused(answer, status, error);
        if (error && *error && strstr((*error)->message, "out of sequence"))
                (*error)->code = G_FILE_ERROR_AGAIN;
        return FALSE;
}

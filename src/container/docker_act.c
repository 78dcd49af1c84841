/* SPDX-License-Identifier: Apache-2.0 */
#include "container/docker_act.h"

#include <curl/curl.h>
#include <jansson.h>
#include <string.h>

#define ANSWER_MAX 65536u

static size_t collect(char *bytes, size_t size, size_t n, void *data) {
        GString *s = data;

        if (s->len + size * n > ANSWER_MAX)
                return 0;
        g_string_append_len(s, bytes, (gssize) (size * n));
        return size * n;
}

gboolean bh_docker_act(const char *socket_path, const char *id, const char *act, guint timeout_ms, GError **error) {
        g_autofree char *url = NULL;
        g_autoptr(GString) answer = g_string_new(NULL);
        long status = 0;

        if (!*id || strspn(id, "0123456789abcdef") != strlen(id)) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "a Docker Engine knows no container of that id");
                return FALSE;
        }
        CURL *easy = curl_easy_init();
        if (!easy) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOMEM, "no memory for a question to the Docker Engine");
                return FALSE;
        }
        url = g_strdup_printf("http://docker/containers/%s/%s", id, act);
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, socket_path);
        curl_easy_setopt(easy, CURLOPT_URL, url);
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, 0L);
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long) timeout_ms);
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, collect);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, answer);
        CURLcode rc = curl_easy_perform(easy);
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_cleanup(easy);
        if (rc == CURLE_OK && (status == 204 || status == 304 || status == 200))
                return TRUE;
        if (rc != CURLE_OK) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "the Docker Engine at %s did not do it: %s", socket_path, curl_easy_strerror(rc));
                return FALSE;
        }
        json_auto_t *said = json_loadb(answer->str, answer->len, 0, NULL);
        const char *why = json_string_value(json_object_get(said, "message"));
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "the Docker Engine refused (%ld): %s", status, why ? why : "it gave no reason");
        return FALSE;
}

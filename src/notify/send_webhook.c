/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP(S): one POST an alert */
#include <curl/curl.h>
#include <string.h>

#include "notify/send_private.h"

#define BODY_MAX (4u << 20)
#define CONNECT_SECONDS 10

typedef struct {
        CURL *curl;
        BhSender *sender;
        struct curl_slist *headers; /* that are the same for all */
        char *url;
        gsize answered; /* bytes of the answer's body */
        char why[CURL_ERROR_SIZE];
} Hook;

/* What a server says in words is not kept; more of it than this is no answer to a POST. */
#define ANSWER_MAX (64u << 10)

static size_t on_body(char *data, size_t size, size_t n, void *user) {
        Hook *h = user;

        h->answered += size * n;
        return h->answered > ANSWER_MAX ? 0 : size * n;
}

static int on_progress(void *user, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal, curl_off_t ulnow) {
        Hook *h = user;
        guint64 n;

        /* the event stays readable: others wait for it, too */
        if (read(h->sender->stop_fd, &n, sizeof(n)) < 0)
                return 0;
        bh_sender_stop(h->sender);
        return 1;
}

static gpointer hook_open(BhSender *s) {
        g_autofree char *content = g_strdup_printf("Content-Type: %s", bh_format_content_type(s->output->format)), *agent = g_strdup_printf("Bulkhead/%s", s->place->version);
        Hook *h = g_new0(Hook, 1);
        GHashTableIter it;
        gpointer name, value;

        h->sender = s;
        h->curl = curl_easy_init();
        h->url = g_strconcat(s->output->url, s->output->url_secret, NULL);
        h->headers = curl_slist_append(NULL, content);
        h->headers = curl_slist_append(h->headers, "Expect:"); /* no question beforehand */
        g_hash_table_iter_init(&it, s->output->headers);
        while (g_hash_table_iter_next(&it, &name, &value)) {
                /* "Name;" is how an empty value is said */
                g_autofree char *line = *(char *) value ? g_strdup_printf("%s: %s", (char *) name, (char *) value) : g_strdup_printf("%s;", (char *) name);

                h->headers = curl_slist_append(h->headers, line);
        }
        curl_easy_setopt(h->curl, CURLOPT_URL, h->url);
        curl_easy_setopt(h->curl, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(h->curl, CURLOPT_FOLLOWLOCATION, 0L);
        curl_easy_setopt(h->curl, CURLOPT_PROXY, "");
        curl_easy_setopt(h->curl, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(h->curl, CURLOPT_USERAGENT, agent);
        curl_easy_setopt(h->curl, CURLOPT_TIMEOUT, (long) s->output->timeout);
        curl_easy_setopt(h->curl, CURLOPT_CONNECTTIMEOUT, (long) MIN(CONNECT_SECONDS, s->output->timeout));
        curl_easy_setopt(h->curl, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(h->curl, CURLOPT_WRITEDATA, h);
        curl_easy_setopt(h->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
        curl_easy_setopt(h->curl, CURLOPT_XFERINFODATA, h);
        curl_easy_setopt(h->curl, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(h->curl, CURLOPT_ERRORBUFFER, h->why);
        curl_easy_setopt(h->curl, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
        curl_easy_setopt(h->curl, CURLOPT_POST, 1L);
        if (s->output->ca) {
                struct curl_blob ca = { s->output->ca, strlen(s->output->ca), CURL_BLOB_NOCOPY };

                curl_easy_setopt(h->curl, CURLOPT_CAINFO_BLOB, &ca);
        }
        if (s->output->certificate) {
                struct curl_blob cert = { s->output->certificate, strlen(s->output->certificate), CURL_BLOB_NOCOPY }, key = { s->output->key, strlen(s->output->key), CURL_BLOB_NOCOPY };

                curl_easy_setopt(h->curl, CURLOPT_SSLCERT_BLOB, &cert);
                curl_easy_setopt(h->curl, CURLOPT_SSLKEY_BLOB, &key);
        }
        return h;
}

static void hook_close(gpointer state) {
        Hook *h = state;

        curl_easy_cleanup(h->curl);
        curl_slist_free_all(h->headers);
        g_free(h->url);
        g_free(h);
}

/* 4xx: the server has understood and does not want it, and never will; these few say "later". */
static gboolean later(long status) {
        return status == 408 || status == 425 || status == 429 || status >= 500;
}

static BhSendResult judge(Hook *h, BhSendNote *note, GError **error) {
        curl_off_t after = 0;
        long status = 0;

        curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
        if (status >= 200 && status < 300)
                return BH_SEND_OK;
        if (later(status)) {
                curl_easy_getinfo(h->curl, CURLINFO_RETRY_AFTER, &after);
                note->retry_after_s = (guint) CLAMP(after, 0, BH_SEND_RETRY_AFTER_MAX);
                return bh_send_failed(BH_SEND_RETRY, error, "the server answered %ld", status);
        }
        if (status >= 300 && status < 400)
                return bh_send_failed(BH_SEND_REFUSED, error, "the server answered %ld: redirects are not followed; give the address that it leads to", status);
        return bh_send_failed(BH_SEND_REFUSED, error, "the server answered %ld: it does not take this alert", status);
}

static BhSendResult hook_send(BhSender *s, gpointer state, const BhAlert *a, BhSendNote *note, GError **error) {
        g_autoptr(GString) body = bh_format(a, s->output->format, BODY_MAX, &note->cut);
        g_autoptr(GString) id = g_string_new("Bulkhead-Delivery-Id: ");
        Hook *h = state;
        struct curl_slist *last = h->headers;

        for (const char *p = a->id; *p; p++) /* a node's name may hold anything */
                (guint8) *p > 0x20 && (guint8) *p < 0x7f && *p != '%' ? g_string_append_c(id, *p) : g_string_append_printf(id, "%%%02x", (guint8) *p);
        while (last->next)
                last = last->next;
        struct curl_slist own = { .data = id->str };
        last->next = &own;
        curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, h->headers);
        curl_easy_setopt(h->curl, CURLOPT_POSTFIELDS, body->str);
        curl_easy_setopt(h->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) body->len);
        h->answered = 0;
        h->why[0] = '\0';
        CURLcode code = curl_easy_perform(h->curl);
        last->next = NULL;
        curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, h->headers);

        if (code == CURLE_OK)
                return judge(h, note, error);
        if (code == CURLE_WRITE_ERROR && h->answered > ANSWER_MAX)
                return judge(h, note, error); /* it has answered; that it goes on talking is its affair */
        if (code == CURLE_ABORTED_BY_CALLBACK)
                return bh_send_failed(BH_SEND_RETRY, error, "it was stopped");
        return bh_send_failed(BH_SEND_RETRY, error, "%s", h->why[0] ? h->why : curl_easy_strerror(code));
}

const BhSendKind bh_send_webhook = { hook_open, hook_close, hook_send, NULL };

/* SPDX-License-Identifier: Apache-2.0 */
#include <curl/curl.h>
#include <gnutls/gnutls.h>
#include <sys/eventfd.h>

#include "notify/send_private.h"

gint bh_send_reopened;

BhSendResult bh_send_failed(BhSendResult result, GError **error, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_autofree char *text = g_strdup_vprintf(format, ap);
        va_end(ap);
        g_set_error_literal(error, BH_NOTIFY_ERROR, BH_NOTIFY_ERROR_FAILED, text);
        return result;
}

static const BhSendKind *kind_of(const BhOutput *o) {
        switch (o->type) {
        case BH_OUTPUT_FILE:
                return &bh_send_file;
        case BH_OUTPUT_SYSLOG:
                return o->transport == BH_SYSLOG_TCP || o->transport == BH_SYSLOG_TLS ? &bh_send_stream : &bh_send_datagram;
        case BH_OUTPUT_WEBHOOK:
                return &bh_send_webhook;
        default:
                return &bh_send_stdout;
        }
}

BhSender *bh_sender_new(const BhOutput *o, const BhSendPlace *place) {
        BhSender *s = g_new0(BhSender, 1);

        s->output = o;
        s->place = place;
        s->kind = kind_of(o);
        s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        s->state = s->kind->open(s);
        return s;
}

void bh_sender_free(BhSender *s) {
        if (!s)
                return;
        s->kind->close(s->state);
        bh_fd_clear(&s->stop_fd);
        g_free(s);
}

BhSendResult bh_sender_send(BhSender *s, const BhAlert *a, BhSendNote *note, GError **error) {
        *note = (BhSendNote){ 0 };
        return s->kind->send(s, s->state, a, note, error);
}

BhSendResult bh_sender_flush(BhSender *s, GError **error) {
        return s->kind->flush ? s->kind->flush(s, s->state, error) : BH_SEND_OK;
}

void bh_sender_stop(BhSender *s) {
        guint64 one = 1;

        /* it can be full only when it was told before */
        if (write(s->stop_fd, &one, sizeof(one)) < 0)
                return;
}

void bh_send_reopen(void) {
        g_atomic_int_inc(&bh_send_reopened);
}

void bh_send_global_init(void) {
        curl_global_init(CURL_GLOBAL_ALL);
        gnutls_global_init();
}

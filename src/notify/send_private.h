/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of senders. Private to send*.c and net.c. */
#pragma once
#include "base/fdio.h"
#include "notify/send.h"

typedef struct {
        gpointer (*open)(BhSender *s); /* its state; never fails */
        void (*close)(gpointer state);
        BhSendResult (*send)(BhSender *s, gpointer state, const BhAlert *a, BhSendNote *note, GError **error);
        BhSendResult (*flush)(BhSender *s, gpointer state, GError **error); /* NULL: nothing to do */
} BhSendKind;

extern const BhSendKind bh_send_file, bh_send_stdout, bh_send_datagram, bh_send_stream, bh_send_webhook;

struct BhSender {
        const BhOutput *output;
        const BhSendPlace *place;
        const BhSendKind *kind;
        gpointer state;
        BhFd stop_fd; /* an eventfd: readable once it is to stop */
};

extern gint bh_send_reopened; /* atomic: how often */

BhSendResult bh_send_failed(BhSendResult result, GError **error, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* ---- net.c: connections that never wait longer than until `until` (monotonic us) ---- */

/* Waits for `events` on fd. FALSE with an error: time is up, or it is to stop. */
gboolean bh_net_wait(BhSender *s, int fd, short events, gint64 until, GError **error);
/* A connected, non-blocking socket. `type`: SOCK_STREAM or SOCK_DGRAM. -1 with an error. */
int bh_net_connect(BhSender *s, const char *host, guint16 port, int type, gint64 until, GError **error);
/* The same to a Unix socket. */
int bh_net_connect_local(const char *path, GError **error);

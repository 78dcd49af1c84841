/* SPDX-License-Identifier: Apache-2.0 */
/* syslog over UDP, TCP, TLS and to the local daemon */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "notify/send_private.h"

#define VERDICT_MS 3000 /* for a server that asked for a certificate to say that it does not like it */

/* ---- datagrams ---- */

typedef struct {
        BhFd fd;
} Datagram;

static gpointer datagram_open(BhSender *s) {
        Datagram *d = g_new0(Datagram, 1);

        d->fd = -1;
        return d;
}

static void datagram_close(gpointer state) {
        Datagram *d = state;

        bh_fd_clear(&d->fd);
        g_free(d);
}

static BhSendResult datagram_send(BhSender *s, gpointer state, const BhAlert *a, BhSendNote *note, GError **error) {
        gboolean local = s->output->transport == BH_SYSLOG_LOCAL;
        gint64 until = g_get_monotonic_time() + BH_SEND_MS * 1000;
        gsize max = local ? BH_SEND_LOCAL_MAX : BH_SEND_UDP_MAX;
        Datagram *d = state;

        /* the second try is for a daemon that was started anew: its old socket is gone. The last ones for a path that takes less */
        for (guint attempt = 0;; attempt++) {
                if (d->fd < 0)
                        d->fd = local ? bh_net_connect_local(s->place->dev_log, error) : bh_net_connect(s, s->output->host, s->output->port, SOCK_DGRAM, until, error);
                if (d->fd < 0)
                        return BH_SEND_RETRY;

                g_autoptr(GString) m = local ? bh_syslog_local(s->output, a, s->place->proc_id, max, &note->cut) : bh_syslog_message(s->output, a, s->place->proc_id, max, &note->cut);
                if (!bh_net_wait(s, d->fd, POLLOUT, until, error))
                        return BH_SEND_RETRY;
                if (send(d->fd, m->str, m->len, MSG_NOSIGNAL) == (ssize_t) m->len)
                        return BH_SEND_OK;
                int code = errno;
                if (code == EMSGSIZE && max > 2048)
                        max /= 2;
                else if (attempt || code == EAGAIN)
                        return bh_send_failed(BH_SEND_RETRY, error, "cannot send to %s: %s", local ? s->place->dev_log : s->output->host, g_strerror(code));
                if (code != EMSGSIZE)
                        bh_fd_clear(&d->fd);
        }
}

/* ---- streams ---- */

typedef struct {
        BhSender *sender;
        BhFd fd;
        gint64 until;
        gnutls_certificate_credentials_t credentials;
        gnutls_session_t session; /* NULL: no TLS */
} Stream;

static gpointer stream_open(BhSender *s) {
        Stream *t = g_new0(Stream, 1);

        t->sender = s;
        t->fd = -1;
        return t;
}

static void disconnect(Stream *t) {
        g_clear_pointer(&t->session, gnutls_deinit);
        g_clear_pointer(&t->credentials, gnutls_certificate_free_credentials);
        bh_fd_clear(&t->fd);
}

static void stream_close(gpointer state) {
        Stream *t = state;

        /* a short word of farewell, if it can go at once */
        if (t->session)
                gnutls_bye(t->session, GNUTLS_SHUT_WR);
        disconnect(t);
        g_free(t);
}

static gboolean load_pem(Stream *t, GError **error) {
        const BhOutput *o = t->sender->output;
        int r;

        if (o->ca) {
                gnutls_datum_t ca = { (unsigned char *) o->ca, (unsigned) strlen(o->ca) };

                r = gnutls_certificate_set_x509_trust_mem(t->credentials, &ca, GNUTLS_X509_FMT_PEM);
        } else {
                r = gnutls_certificate_set_x509_system_trust(t->credentials);
        }
        if (r <= 0) {
                bh_send_failed(BH_SEND_RETRY, error, "there is no certificate to trust: %s", r ? gnutls_strerror(r) : "the list is empty; give \"ca\"");
                return FALSE;
        }
        if (o->certificate) {
                gnutls_datum_t cert = { (unsigned char *) o->certificate, (unsigned) strlen(o->certificate) }, key = { (unsigned char *) o->key, (unsigned) strlen(o->key) };

                if ((r = gnutls_certificate_set_x509_key_mem(t->credentials, &cert, &key, GNUTLS_X509_FMT_PEM)) < 0) {
                        bh_send_failed(BH_SEND_RETRY, error, "\"certificate\" and \"key\" cannot be used: %s", gnutls_strerror(r));
                        return FALSE;
                }
        }
        return TRUE;
}

/* What GnuTLS waits for, after it said "again". */
static gboolean wait_tls(Stream *t, GError **error) {
        return bh_net_wait(t->sender, t->fd, gnutls_record_get_direction(t->session) ? POLLOUT : POLLIN, t->until, error);
}

static gboolean shake_hands(Stream *t, GError **error) {
        const BhOutput *o = t->sender->output;
        int r;

        if (gnutls_certificate_allocate_credentials(&t->credentials) || !load_pem(t, error) || gnutls_init(&t->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL)) {
                if (error && !*error)
                        bh_send_failed(BH_SEND_RETRY, error, "no memory for TLS");
                return FALSE;
        }
        gnutls_set_default_priority(t->session);
        gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, t->credentials);
        gnutls_server_name_set(t->session, GNUTLS_NAME_DNS, o->host, strlen(o->host));
        gnutls_session_set_verify_cert(t->session, o->host, 0);
        gnutls_transport_set_int(t->session, t->fd);
        while ((r = gnutls_handshake(t->session)) < 0) {
                if (r == GNUTLS_E_AGAIN || r == GNUTLS_E_INTERRUPTED || !gnutls_error_is_fatal(r)) {
                        if (!wait_tls(t, error))
                                return FALSE;
                        continue;
                }
                gnutls_datum_t why = { NULL, 0 };
                if (r == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR && gnutls_certificate_verification_status_print(gnutls_session_get_verify_cert_status(t->session), GNUTLS_CRT_X509, &why, 0) == 0)
                        bh_send_failed(BH_SEND_RETRY, error, "the certificate of %s is not trusted: %s", o->host, g_strchomp((char *) why.data));
                else
                        bh_send_failed(BH_SEND_RETRY, error, "no TLS with %s: %s", o->host, gnutls_strerror(r));
                gnutls_free(why.data);
                return FALSE;
        }
        return TRUE;
}

/* A syslog server says nothing; one that closed must be noticed before more is given to it. FALSE: it is gone. */
static gboolean peer_is_there(Stream *t) {
        char nothing[256];

        for (guint i = 0; i < 16; i++) {
                ssize_t n = t->session ? gnutls_record_recv(t->session, nothing, sizeof(nothing)) : recv(t->fd, nothing, sizeof(nothing), MSG_DONTWAIT);

                if (t->session ? n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED : n < 0 && (errno == EAGAIN || errno == EINTR))
                        return TRUE;
                if (t->session && n < 0 && !gnutls_error_is_fatal((int) n))
                        continue;
                if (n <= 0)
                        return FALSE;
        }
        return TRUE;
}

/*
 * With TLS 1.3 the client is ready before the server has looked at its certificate: what is sent meanwhile is acknowledged by the machine of a server that then refuses the certificate, and
 * lost. Where one was asked for, nothing is sent before the server's next word, which is a ticket or an alert, or VERDICT_MS have passed, as some have no ticket.
 */
static gboolean is_let_in(Stream *t, GError **error) {
        gint64 until = MIN(t->until, g_get_monotonic_time() + VERDICT_MS * 1000);

        if (gnutls_protocol_get_version(t->session) < GNUTLS_TLS1_3 || !gnutls_certificate_client_get_request_status(t->session))
                return TRUE;
        while (peer_is_there(t)) {
                if (gnutls_session_get_flags(t->session) & GNUTLS_SFLAGS_SESSION_TICKET || !bh_net_wait(t->sender, t->fd, POLLIN, until, NULL))
                        return TRUE;
        }
        bh_send_failed(BH_SEND_RETRY, error, "%s ended the connection after the handshake: %s", t->sender->output->host, t->sender->output->certificate ? "it may refuse \"certificate\"" : "it asks for a \"certificate\"");
        return FALSE;
}

static gboolean connect_stream(Stream *t, GError **error) {
        const BhOutput *o = t->sender->output;

        if (t->fd >= 0)
                return TRUE;
        if ((t->fd = bh_net_connect(t->sender, o->host, o->port, SOCK_STREAM, t->until, error)) < 0)
                return FALSE;
        if (o->transport != BH_SYSLOG_TLS || (shake_hands(t, error) && is_let_in(t, error)))
                return TRUE;
        disconnect(t);
        return FALSE;
}

static gboolean write_all(Stream *t, const char *data, gsize len, GError **error) {
        while (len) {
                ssize_t n = t->session ? gnutls_record_send(t->session, data, len) : send(t->fd, data, len, MSG_NOSIGNAL);

                if (n > 0) {
                        data += n;
                        len -= (gsize) n;
                } else if (t->session ? n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED : n < 0 && (errno == EAGAIN || errno == EINTR)) {
                        if (!(t->session ? wait_tls(t, error) : bh_net_wait(t->sender, t->fd, POLLOUT, t->until, error)))
                                return FALSE;
                } else {
                        bh_send_failed(BH_SEND_RETRY, error, "cannot send to %s: %s", t->sender->output->host, t->session ? gnutls_strerror((int) n) : g_strerror(errno));
                        return FALSE;
                }
        }
        return TRUE;
}

static BhSendResult stream_send(BhSender *s, gpointer state, const BhAlert *a, BhSendNote *note, GError **error) {
        g_autoptr(GString) m = bh_syslog_message(s->output, a, s->place->proc_id, BH_SEND_SYSLOG_MAX, &note->cut);
        g_autofree char *octets = g_strdup_printf("%" G_GSIZE_FORMAT " ", m->len);
        Stream *t = state;

        g_string_prepend(m, octets);
        t->until = g_get_monotonic_time() + BH_SEND_MS * 1000;
        if (!connect_stream(t, error))
                return BH_SEND_RETRY;
        if (!peer_is_there(t)) {
                disconnect(t);
                return bh_send_failed(BH_SEND_RETRY, error, "%s closed the connection", s->output->host);
        }
        if (write_all(t, m->str, m->len, error))
                return BH_SEND_OK;
        /* part of a message may have gone out: whatever follows needs a new connection */
        disconnect(t);
        return BH_SEND_RETRY;
}

/* Until the peer's machine has acknowledged every byte. */
static BhSendResult stream_flush(BhSender *s, gpointer state, GError **error) {
        gint64 until = g_get_monotonic_time() + BH_SEND_MS * 1000;
        Stream *t = state;
        int left = 0;

        if (t->fd < 0)
                return BH_SEND_OK;
        for (guint wait_ms = 1;; wait_ms = MIN(wait_ms * 2, 50)) {
                if (ioctl(t->fd, SIOCOUTQ, &left))
                        left = 0; /* it cannot be known here */
                if (!peer_is_there(t)) {
                        disconnect(t);
                        return bh_send_failed(BH_SEND_RETRY, error, "%s closed the connection", s->output->host);
                }
                if (!left)
                        return BH_SEND_OK;
                struct pollfd p = { .fd = s->stop_fd, .events = POLLIN };
                if (g_get_monotonic_time() > until || poll(&p, 1, (int) wait_ms) > 0) {
                        disconnect(t);
                        return bh_send_failed(BH_SEND_RETRY, error, "%s does not acknowledge what was sent", s->output->host);
                }
        }
}

const BhSendKind bh_send_datagram = { datagram_open, datagram_close, datagram_send, NULL };
const BhSendKind bh_send_stream = { stream_open, stream_close, stream_send, stream_flush };

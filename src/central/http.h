/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server: libmicrohttpd with TLS on a TCP port, and without TLS on a Unix socket, the same handlers behind both.
 *
 * Event threads read heads and bodies and never block; a request that is whole is handed to one of BH_HTTP_WORKERS workers, which may
 * (passwords are hashed, the store is asked, a sensor answers). A request is owned by the server; a handler may use it until it
 * returns, and must answer it exactly once before. What a handler leaves unanswered is answered with 500.
 *
 * An answer that needs no body waits until a small body was read and thrown away, so that the client sees it.
 *
 * Bounds: BH_HTTP_CONNECTIONS in all, BH_HTTP_PER_ADDRESS from one address, BH_HTTP_PER_UID from one local user other than root, and
 * BH_HTTP_OTHERS from all of these (one user may have many uids) of the half that the local socket has;
 * head 16 KiB within 10 s; body as the route says, at most 1 MiB within 20 s, all bodies together 16 MiB; answers must be taken within 60 s,
 * those over BH_HTTP_ANSWER_SMALL are at most BH_HTTP_ANSWERS_MAX together, else 503; an idle connection is closed after 60 s. Each refusal is
 * counted.
 */
#pragma once
#include <glib.h>
#include <gnutls/abstract.h>
#include <sys/types.h>

#include "http_check.h"

#define BH_HTTP_WORKERS 12 /* four may wait for nodes, five for a password */
#define BH_HTTP_CONNECTIONS 256
#define BH_HTTP_PER_ADDRESS 128
#define BH_HTTP_PER_UID 16
#define BH_HTTP_OTHERS 96
#define BH_HTTP_BODY_MAX (1024 * 1024)
#define BH_HTTP_BODIES_MAX (16 * 1024 * 1024)
#define BH_HTTP_ANSWER_SMALL (64 * 1024)
#define BH_HTTP_ANSWERS_MAX (128 * 1024 * 1024)
#define BH_HTTP_HEAD_SECONDS 10
#define BH_HTTP_BODY_SECONDS 20
#define BH_HTTP_ANSWER_SECONDS 60
#define BH_HTTP_IDLE_SECONDS 60

typedef struct BhHttp BhHttp;
typedef struct BhHttpStream BhHttpStream;

typedef struct {
        const char *method;
        BhHttpTarget target;
        GByteArray *body;    /* followed by a NUL that is not counted */
        const char *address; /* "127.0.0.1", "::1", or "unix:uid=1000" */
        gboolean local;      /* came over the Unix socket: peer_uid says who */
        uid_t peer_uid;
        gconstpointer route; /* for the user of this module */
        gboolean answered;
} BhHttpRequest;

typedef struct {
        /*
         * The head is fine: chooses the route. Called on an event thread: must not block. TRUE with *body_max set: go on. FALSE: it was
         * answered (nothing more is read).
         */
        gboolean (*begin)(BhHttpRequest *r, gsize *body_max, gpointer data);
        /* The request is whole. Called on a worker. */
        void (*handle)(BhHttpRequest *r, gpointer data);
} BhHttpOps;

typedef struct {
        int tcp_fd, unix_fd; /* listening; both are the server's to close from the start on, also when that fails. -1: none */
        gnutls_certificate_retrieve_function2 *certificate; /* asked at each handshake (tls_live.h) */
        BhHttpOps ops;
        gpointer data;
} BhHttpConfig;

typedef struct {
        guint64 connections, requests, refused_heads, refused_bodies, refused_answers, timeouts, refused_uid;
        guint open, streams;
} BhHttpStats;

BhHttp *bh_http_new(const BhHttpConfig *config);
/* Requests may come before this returns. FALSE: stopped again, to be freed. */
gboolean bh_http_start(BhHttp *h, const BhHttpConfig *config, GError **error);
/* No new requests; streams end; waits for the handlers. Then bh_http_free(). A handler that waits for something asks bh_http_stopping(). */
void bh_http_stop(BhHttp *h);
void bh_http_free(BhHttp *h);
gboolean bh_http_stopping(BhHttp *h); /* FALSE for NULL */
void bh_http_stats(BhHttp *h, BhHttpStats *out);

/* ---- within a handler ---- */

/* Value of a request's header, NULL if there is none. Lives as long as the request. */
const char *bh_http_header(BhHttpRequest *r, const char *name);
/* Value of a parameter of the query, NULL if there is none. */
const char *bh_http_param(BhHttpRequest *r, const char *name);

/* For the answer that follows. Controls are refused with FALSE. */
gboolean bh_http_add_header(BhHttpRequest *r, const char *name, const char *value);
/* Answers with these bytes; takes the reference. A Cache-Control header other than no-store is up to the caller. */
void bh_http_answer(BhHttpRequest *r, guint status, const char *type, GBytes *body);
/* The same with bytes that are in memory anyway, and so do not count for the bound. */
void bh_http_answer_shared(BhHttpRequest *r, guint status, const char *type, GBytes *body);
/* {"error":{"code":…,"message":…}} */
void bh_http_answer_error(BhHttpRequest *r, guint status, const char *code, const char *format, ...) G_GNUC_PRINTF(4, 5);
/* Answers 200 with whatever is put into the stream; the caller keeps its reference. */
void bh_http_answer_stream(BhHttpRequest *r, const char *type, BhHttpStream *s);

/* ---- streams: an answer of unknown length, written by any thread, read by one client ---- */

/* `bound`: bytes that may wait for the client. */
BhHttpStream *bh_http_stream_new(gsize bound);
BhHttpStream *bh_http_stream_ref(BhHttpStream *s);
void bh_http_stream_unref(BhHttpStream *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhHttpStream, bh_http_stream_unref)
/* FALSE, and nothing is written, when the bound would be exceeded or the client is gone. */
gboolean bh_http_stream_put(BhHttpStream *s, const void *data, gsize len);
/* Bytes that may be put now; 0 when the client is gone. */
gsize bh_http_stream_room(BhHttpStream *s);
/* Waits at most `ms` until `len` bytes may be put, or the client is gone, or the server stops. */
gboolean bh_http_stream_wait(BhHttpStream *s, gsize len, guint ms);
/* No more comes. What was put is still delivered. Idempotent. */
void bh_http_stream_end(BhHttpStream *s);
/* The client is gone, or the server ended the stream. */
gboolean bh_http_stream_gone(BhHttpStream *s);

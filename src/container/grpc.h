/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of a gRPC server over a Unix socket: HTTP/2 without TLS by libcurl, many at a time, each on a connection of its own, in one thread
 * (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
 *
 * A BhGrpc and its calls belong to the thread that made it, but for bh_grpc_wake(). What arrives is collected in a call's `body`, at most BH_GRPC_MAX_BODY
 * bytes; bh_grpc_take() takes whole messages from it, of a streaming call while it runs. The server is trusted to be the server, not to be right.
 */
#pragma once
#include <curl/curl.h>
#include <glib.h>

#define BH_GRPC_MAX_BODY (64u << 20)

typedef struct BhGrpc BhGrpc;

typedef struct {
        int kind;     /* the caller's */
        char *target; /* the caller's */
        gint64 started_us;
        GByteArray *body;
        gboolean stream, too_large;
        gboolean headers_done; /* the head of the answer is here: whoever is there speaks HTTP/2 */
        long http_status;
        int status;    /* grpc-status: 0 = OK; -1 = none came */
        char *message; /* grpc-message, as sent; "" = none. Foreign text */
        char why[CURL_ERROR_SIZE];

        CURL *easy; /* the module's own from here on */
        struct curl_slist *headers;
        GByteArray *request;
} BhGrpcCall;

/* NULL when libcurl cannot start, or has no HTTP/2. */
BhGrpc *bh_grpc_new(const char *socket_path);
void bh_grpc_free(BhGrpc *g);

/*
 * Calls "package.Service/Method" with one message. `namespace` (may be NULL) goes into containerd's header of that name. timeout_ms 0 = none (streams). The
 * call stays g's until bh_grpc_next() returns it or it is cancelled.
 */
BhGrpcCall *bh_grpc_call(BhGrpc *g, int kind, const char *target, const char *method, const char *namespace, const void *message, gsize len, gboolean stream, long timeout_ms);
/* Moves data, waiting at most timeout_ms for some. */
void bh_grpc_run(BhGrpc *g, int timeout_ms);
/* A call that ended, or NULL; the caller frees it. *ok: the server answered with status 0. */
BhGrpcCall *bh_grpc_next(BhGrpc *g, gboolean *ok);
void bh_grpc_call_free(BhGrpcCall *call);
void bh_grpc_cancel_all(BhGrpc *g);
/* Ends a wait in bh_grpc_run(); from any thread. */
void bh_grpc_wake(BhGrpc *g);

typedef enum {
        BH_GRPC_MESSAGE, /* *data, *len: the message, inside body from *from on; *from is now behind it */
        BH_GRPC_MORE,    /* not whole yet, or nothing left */
        BH_GRPC_BAD,     /* compressed, which was not asked for, or larger than BH_GRPC_MAX_BODY: nothing behind it can be read */
} BhGrpcTake;

/* The next message of what arrived: a byte that says whether it is compressed, its length in four bytes, most significant first, itself. Pure. */
BhGrpcTake bh_grpc_take(const guint8 *body, gsize body_len, gsize *from, const guint8 **data, gsize *len);

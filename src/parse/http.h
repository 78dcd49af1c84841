/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP messages and exchanges as the parsers of this directory tell them, and what they may cost.
 *
 * A parser is fed the bytes of each direction in the order of their stream, in pieces of any size, and never blocks. It calls its sink for each
 * request when the whole of it is known, so that it can be judged before the answer, and for each exchange when the response has ended; requests
 * are answered in order in HTTP/1 and by stream in HTTP/2. Messages belong to the exchange, an exchange to the parser: both are good during the call
 * unless the sink takes the exchange with bh_http_exchange_steal().
 *
 * Bounds of one connection, all counted or flagged where they cut: BH_HTTP_HEAD_MAX bytes of a head, BH_HTTP_FIELDS_MAX fields, `body_keep` bytes of a decoded
 * body (default BH_HTTP_BODY_KEEP), BH_HTTP_OPEN_MAX requests without their response. Memory of a connection is at most
 * BH_HTTP_OPEN_MAX × (BH_HTTP_HEAD_MAX + body_keep) and two decoders; a decoder has at most BH_HTTP_DECODER_MAX.
 *
 * Texts may have any byte but NUL (a NUL in a head becomes '?' and is flagged). Nothing is redacted here: redact.h.
 */
#pragma once
#include <glib.h>

#define BH_HTTP_HEAD_MAX (32u << 10)
#define BH_HTTP_FIELDS_MAX 128u
#define BH_HTTP_BODY_KEEP (64u << 10)
#define BH_HTTP_OPEN_MAX 16u
#define BH_HTTP_DECODER_MAX (5u << 20) /* what brotli takes for a window of 4 MiB; a larger one is "compression-bad" */
#define BH_HTTP_RATIO_MAX 100u

enum {
#define BH_HTTP_ANOMALY(ID, bit, name, meaning) BH_HTTP_##ID = 1u << bit,
#include "parse/http_anomalies.tbl.h"
#undef BH_HTTP_ANOMALY
};

typedef struct {
        char *name;  /* as it was sent (HTTP/2: lower case) */
        char *value; /* without white space around it */
} BhHttpField;

typedef struct {
        guint version;        /* 10, 11, 20 */
        guint64 number;       /* of its direction, from 0; HTTP/2: the stream */
        guint32 anomalies;
        gint64 begin_ns, end_ns; /* as the feeder's clock says: first byte, last byte */
        /* a request's */
        char *method, *target; /* as sent; "" in a response */
        char *authority;       /* Host or :authority; "" = none */
        char *scheme;          /* HTTP/2; else "" */
        /* a response's; 0 in a request */
        guint status;
        BhHttpField *fields;
        guint n_fields;
        guint fields_dropped;
        GByteArray *body;      /* decoded, its first bytes */
        guint64 head_bytes, body_bytes; /* as sent; the body's without the framing of chunks */
        gboolean body_cut;     /* there was more of it than `body` has */
} BhHttpMessage;

typedef struct {
        BhHttpMessage *request;  /* NULL: a response whose request was before the capture */
        BhHttpMessage *response; /* NULL in the sink for requests, or when the connection ended before it */
} BhHttpExchange;

typedef struct {
        /* Either may be NULL. `request` comes before its `exchange`. */
        void (*request)(const BhHttpMessage *request, gpointer data);
        void (*exchange)(BhHttpExchange *exchange, gpointer data);
        gpointer data;
} BhHttpSink;

BhHttpMessage *bh_http_message_new(void);
/* NULL is allowed. */
void bh_http_message_free(BhHttpMessage *m);
void bh_http_exchange_free(BhHttpExchange *x);
/* The sink's way to keep an exchange: what is left is empty. */
BhHttpExchange *bh_http_exchange_steal(BhHttpExchange *x);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhHttpMessage, bh_http_message_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhHttpExchange, bh_http_exchange_free)

/* Keeps a field, or counts it as dropped. */
void bh_http_add_field(BhHttpMessage *m, const char *name, gsize name_len, const char *value, gsize value_len);
/* The first field of this name in any case; NULL when there is none. */
const char *bh_http_field(const BhHttpMessage *m, const char *name);
/* Where the query begins in the target, behind its '?'; "" when there is none. */
const char *bh_http_query(const BhHttpMessage *m);
/* The target without scheme, authority, query and fragment. Caller frees. */
char *bh_http_path(const BhHttpMessage *m);
/* What can be grouped by: segments that are numbers, UUIDs, hashes, dates or long tokens become "{n}", "{uuid}", "{hex}", "{date}", "{token}"; at most 16 segments. Caller frees. */
char *bh_http_path_template(const char *path);
/* "lengths", …; NULL for a bit that has none. */
const char *bh_http_anomaly_name(guint bit);

/* ---- bodies */

typedef struct BhHttpBody BhHttpBody;

/* Puts what it decodes into m->body, at most `keep` bytes. `coding`: Content-Encoding's value, NULL or "" for none. */
BhHttpBody *bh_http_body_new(BhHttpMessage *m, const char *coding, gsize keep);
void bh_http_body_feed(BhHttpBody *b, const guint8 *bytes, gsize len);
/* Whether it has a decoder. NULL is allowed. */
gboolean bh_http_body_decodes(const BhHttpBody *b);
/* NULL is allowed. `ended`: the message's body ended, so an unfinished coding is an anomaly. */
void bh_http_body_free(BhHttpBody *b, gboolean ended);

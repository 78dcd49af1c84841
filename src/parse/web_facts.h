/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an inspector of the web tells of connections, and how it lies on the wire (inspect_wire.h says how such bytes are to be taken). Plain data: the sensor reads it
 * without the engine that made it.
 *
 * A request of kind WEB brings the next bytes of one direction of one connection; the answer has what they complete: a REQUEST as soon as its whole is known (judged, if the
 * filter wants it), an EXCHANGE when its response has ended. Connections are numbered by the asker, never again after CLOSE, and kept by the inspector between requests. When it is started anew, or had to give up a
 * connection for memory, its next bytes come to a connection that is not known: BH_WEB_UNKNOWN, unless BH_WEB_OPEN says that they are the first.
 *
 * Everything is redacted, printable ASCII (other bytes are '?'; the whole of a request has lines), and cut at the bounds below.
 */
#pragma once
#include <glib.h>

#define BH_WEB_RECORDS_MAX 64u   /* of one answer; more are counted */
#define BH_WEB_TARGET_MAX 1024u
#define BH_WEB_TEXT_MAX 255u
#define BH_WEB_WHOLE_MAX 2048u
#define BH_WEB_WHOLES_MAX 8u /* of one answer, the first */
#define BH_WEB_FACT_MATCHES_MAX 32u /* of one request, those with the highest scores */
#define BH_WEB_FACT_PARAMS_MAX 32u  /* of one exchange */

/* Flags of a request. */
enum {
        BH_WEB_CLIENT = 1, /* the bytes are the client's */
        BH_WEB_OPEN = 2,   /* the connection's first of all */
        BH_WEB_CLOSE = 4,  /* the connection has ended: tells what is open, and is forgotten */
        BH_WEB_STRICT = 8, /* with OPEN: its workload wants paranoia level 3 or 4 (waf_filter.h) */
        BH_WEB_UNJUDGED = 16, /* with OPEN: facts alone are wanted of this connection, no request of it is judged */
        BH_WEB_FLAGS = 31,
};

typedef struct {
        guint64 connection;
        guint flags;
        guint64 gap;            /* bytes before these that were not captured */
        gint64 at_ns;           /* the asker's clock */
        const char *client, *server; /* addresses as text, for the rules; may be "" */
        guint16 port;
        const guint8 *bytes;
        gsize len;
} BhWebInput;

enum {
        BH_WEB_UNKNOWN = 255, /* a state beside those of web_stream.h */
};

/* Parameters of requests: web_params.h says what is told of them. */
#define BH_WEB_PARAM_NAME_MAX 48u
#define BH_WEB_PARAM_LENGTHS 7u /* classes: up to so many bytes each, and more */
#define BH_WEB_LENGTH_BOUNDS 0, 4, 16, 64, 256, 1024

typedef enum { BH_WEB_PLACE_QUERY, BH_WEB_PLACE_FORM, BH_WEB_PLACE_JSON, BH_WEB_PLACES } BhWebPlace;

typedef enum {
        BH_WEB_TYPE_EMPTY, /* nothing, or null */
        BH_WEB_TYPE_BOOLEAN,
        BH_WEB_TYPE_NUMBER,
        BH_WEB_TYPE_ID,   /* UUID, hash, random text */
        BH_WEB_TYPE_WORD, /* letters, digits, '_', '-', '.' */
        BH_WEB_TYPE_TEXT,
        BH_WEB_TYPE_CODE, /* with characters that mean something to an interpreter */
        BH_WEB_TYPE_BINARY,
        BH_WEB_TYPE_OBJECT,
        BH_WEB_TYPE_ARRAY,
        BH_WEB_TYPE_FILE,
        BH_WEB_TYPE_SECRET, /* by its name; its length is none */
        BH_WEB_TYPES
} BhWebType;

typedef struct {
        guint8 place, type, length; /* length: a class, 0 … BH_WEB_PARAM_LENGTHS - 1; the largest of those of this name and type */
        char *name;
} BhWebParam;

/* "query number, up to 16 bytes". Caller frees. */
char *bh_web_param_say(guint place, guint type, guint length);

typedef struct {
        guint32 rule;
        guint8 level, score;
        guint16 count;
        char *message, *matched;
} BhWebMatch;

typedef struct {
        gboolean exchange; /* FALSE: a request */
        guint8 version;
        guint64 number;
        gint64 begin_ns, end_ns;            /* of the exchange: its request's begin, its response's end */
        char *method, *target, *path, *authority, *agent; /* path: as a template */
        char *forwarded;                    /* X-Forwarded-For as it came, the end of it when it is too long; "" = none. Whoever asks decides whether to believe it */
        guint16 status;                     /* 0: no response */
        guint32 request_anomalies, response_anomalies;
        guint64 request_bytes, response_bytes; /* of the bodies, as sent */
        char *wanted;                       /* why the filter wanted it; "" = it did not, and nothing was judged */
        guint32 score;
        BhWebMatch *matches;                /* of a request; of an exchange: none */
        guint n_matches, matches_dropped;
        char *whole;                        /* of a request with matches: its first bytes, head and decoded body; "" = not kept */
        BhWebParam *params;                 /* of an exchange: its request's; of a request: none */
        guint n_params, params_dropped;
} BhWebRecord;

typedef struct {
        guint state;            /* BhWebState, or BH_WEB_UNKNOWN */
        BhWebRecord *records;
        guint n_records, dropped;
        guint partial;          /* requests of which only a part was kept since the last answer, because too many of this connection were open */
} BhWebFacts;

/* NULL is allowed. */
void bh_web_facts_free(BhWebFacts *f);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhWebFacts, bh_web_facts_free)

/* "protocol", "scanner", "lfi", "rfi", "rce", "php", "nodejs", "xss", "sqli", "session-fixation", "java", "leak", "multipart", "method"; "other". */
const char *bh_web_class(guint rule);
/* Whether that class says of a request merely that it is odd, as clients of one's own may be, too: "protocol", "scanner", "method". */
gboolean bh_web_class_is_odd(const char *class);

void bh_inspect_pack_web_input(GByteArray *out, const BhWebInput *in);
/* *in points into `body` and into *texts, which the caller frees. */
gboolean bh_inspect_unpack_web_input(const guint8 *body, gsize len, BhWebInput *in, GStringChunk **texts);
void bh_inspect_pack_web(GByteArray *out, const BhWebFacts *f);
/* NULL when the bytes are not exactly one well-formed result. */
BhWebFacts *bh_inspect_unpack_web(const guint8 *body, gsize len);

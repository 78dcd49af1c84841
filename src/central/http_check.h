/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict reading of a request's head, on top of what libmicrohttpd lets pass.
 *
 * libmicrohttpd 0.9.75 is lenient where two programs on one connection could disagree about where a request ends: it accepts lines
 * that end with a bare LF, spaces before a header's colon, folded headers, several Content-Length headers (the first one counts),
 * Content-Length beside Transfer-Encoding, NUL bytes, absolute URIs, and any Transfer-Encoding. All of these are refused here. The
 * bytes themselves are not handed out, but the pointers into them are: every byte of the head is accounted for by arithmetic on
 * pointers, so nothing can hide between two fields (see bh_http_head_check()).
 *
 * One thing it does by itself, before anybody is asked: a Content-Length that is no number is answered with 400 and Connection: close,
 * in 0.9.75 twice over. Nothing behind it is read.
 *
 * All functions are pure and thread-safe; input is hostile (fuzz_central).
 */
#pragma once
#include <glib.h>

#define BH_HTTP_HEAD_MAX 16384 /* bytes of request line and headers together */
#define BH_HTTP_URI_MAX 4096
#define BH_HTTP_FIELDS_MAX 64
#define BH_HTTP_PARAMS_MAX 32 /* of the query */
#define BH_HTTP_SEGMENTS_MAX 16

/* One header, as pointers into the bytes that were received. */
typedef struct {
        const char *name, *value;
        gsize name_len, value_len;
} BhHttpField;

typedef struct {
        const char *method, *uri, *version; /* pointers into the received head; a NUL replaced the separator behind each */
        gsize uri_len;                      /* as received: libmicrohttpd cuts the target at its '?' */
        gsize head_len;                     /* from the method's first byte to behind the empty line */
        const BhHttpField *fields;
        guint n_fields;
        gboolean too_many; /* there were more fields than the array holds */
} BhHttpHead;

typedef struct {
        guint status;     /* 400, 411, 413, 431 … : what to answer */
        const char *code; /* for programs, static */
        const char *why;  /* for people, static */
} BhHttpRefusal;

/*
 * Checks request line, framing and headers. On success *body_len is the length of the body that follows (0 for none). FALSE: *r says
 * what to answer; the connection must be closed, because its framing is not to be trusted.
 */
gboolean bh_http_head_check(const BhHttpHead *head, guint64 *body_len, BhHttpRefusal *r);

/* A decoded target. Clear with bh_http_target_clear(); an all-zero value is empty. */
typedef struct {
        char *path;          /* decoded, canonical: begins with '/', no empty, "." or ".." segment, valid UTF-8 without controls */
        char **segments;     /* of the path, NULL-terminated; none for "/" */
        GHashTable *params;  /* char * -> char *, each name once */
} BhHttpTarget;

/*
 * Decodes an origin-form target ("/path?query"). Refuses absolute URIs, "//", "/./", "/../", encoded dots, slashes, backslashes, NUL
 * and control bytes, what is not UTF-8, a name given twice in the query, and what exceeds the bounds above. Nothing is normalised: a
 * path that would need it is refused, so there is one spelling of each.
 */
gboolean bh_http_target_parse(const char *uri, BhHttpTarget *target, BhHttpRefusal *r);
void bh_http_target_clear(BhHttpTarget *target);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BhHttpTarget, bh_http_target_clear)

/* Value of a cookie in a Cookie header, exactly one of that name, else NULL. Caller frees. */
char *bh_http_cookie(const char *header, const char *name);

/* Whether the media type of a Content-Type header is this one, parameters aside. */
gboolean bh_http_media_type_is(const char *header, const char *type);

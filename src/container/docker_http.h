/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP requests over one Unix socket, many at a time, in one thread (libcurl's multi interface).
 *
 * A BhDockerHttp and its requests belong to the thread that made it, but for bh_docker_http_wake(). Answers are collected whole, up
 * to BH_DOCKER_MAX_BODY; a streaming request keeps its bytes in `body`, from which the caller consumes.
 */
#pragma once
#include <curl/curl.h>
#include <glib.h>

typedef struct BhDockerHttp BhDockerHttp;

typedef struct {
        int kind;             /* the caller's */
        char *target;         /* the caller's: what the request is about; freed with the request */
        gint64 started_us;    /* monotonic */
        GByteArray *body;
        gboolean stream;
        gboolean headers_done; /* the answer's head has arrived; status is valid */
        gboolean too_large;
        long status;
        CURL *easy;
        char why[CURL_ERROR_SIZE];
} BhDockerRequest;

/* NULL when libcurl cannot start. */
BhDockerHttp *bh_docker_http_new(const char *socket_path);
void bh_docker_http_free(BhDockerHttp *h);

/* GET path. timeout_ms 0 = none (streams). The request stays the http object's until it is returned by _next() or cancelled. */
BhDockerRequest *bh_docker_http_get(BhDockerHttp *h, int kind, const char *target, const char *path, gboolean stream, long timeout_ms);
/* Moves data, waiting at most timeout_ms for some. */
void bh_docker_http_run(BhDockerHttp *h, int timeout_ms);
/* A request that ended, or NULL; the caller frees it. *result is CURLE_OK when a whole answer arrived, whatever its status. */
BhDockerRequest *bh_docker_http_next(BhDockerHttp *h, CURLcode *result);
void bh_docker_request_free(BhDockerRequest *r);
/* Drops all requests that run. */
void bh_docker_http_cancel_all(BhDockerHttp *h);
/* Ends a wait in bh_docker_http_run(); from any thread. */
void bh_docker_http_wake(BhDockerHttp *h);

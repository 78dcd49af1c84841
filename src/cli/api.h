/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line's side of the central's HTTP interface (api/openapi.yaml).
 *
 * Where: --server or BULKHEAD_SERVER, over TLS; else <run>/central/api.sock, where root is an administrator without a login. Who: --token or
 * BULKHEAD_TOKEN. A server's certificate must be one that this machine trusts, or --cacert's; for a server on this machine the central's own
 * in <data>/central/tls is trusted as well, where it can be read.
 *
 * One thread. Every error is one sentence that says what to do; foreign text in it is not escaped (bh_cli_fail() does). A call waits at most
 * 60 seconds; an answer has at most BH_API_ANSWER_MAX bytes.
 */
#pragma once
#include "client.h"
#include "sse.h"

#define BH_API_ANSWER_MAX (256u << 20)

#define BH_API_ERROR bh_api_error_quark()
GQuark bh_api_error_quark(void);

typedef enum {
        BH_API_ERROR_NOBODY,      /* no central is at the socket */
        BH_API_ERROR_UNREACHABLE, /* a server that was named does not answer, or is not trusted */
        BH_API_ERROR_ACCESS,      /* 401, 403 */
        BH_API_ERROR_NOT_FOUND,   /* 404 */
        BH_API_ERROR_AWAY,        /* 503: the node, or all nodes, are not connected */
        BH_API_ERROR_FAILED,      /* everything else */
} BhApiError;

typedef struct BhApi BhApi;

/* Nothing is sent yet, but that a socket has somebody behind it is known. */
BhApi *bh_api_new(const BhCliPaths *paths, GError **error);
void bh_api_free(BhApi *api);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhApi, bh_api_free)

/* Root on the central's own machine, without a token. */
gboolean bh_api_is_local_root(const BhApi *api);

/*
 * Whom a command asks that both can answer. TRUE: *api is the central, or NULL: the sensor on this machine, because --sensor says so or
 * because no central is here. FALSE: a central was named and cannot be used.
 */
gboolean bh_api_choose(const BhCliPaths *paths, BhApi **api, GError **error);

/* A target in parts: "/api/v1/users", then segments, then parameters. A NULL value is left out. */
void bh_api_segment(GString *target, const char *segment);
void bh_api_param(GString *target, const char *name, const char *value);

/* GET. New reference. */
json_t *bh_api_get(BhApi *api, const char *target, GError **error);
/* The same for other methods; takes `body`, which may be NULL. What has no answer gives an empty object. */
json_t *bh_api_send(BhApi *api, const char *method, const char *target, json_t *body, GError **error);
/* GET of a text, NDJSON for example. Caller frees. */
GString *bh_api_get_text(BhApi *api, const char *target, GError **error);

/* All pages of a list, at most `max` rows (0: all): a new array. *more (may be NULL) is set if there are more. */
json_t *bh_api_list(BhApi *api, const char *target, const char *member, guint max, gboolean *more, GError **error);

/* A stream of server-sent events. It keeps `api` in use until it is freed, other calls go on beside it. */
typedef struct BhApiStream BhApiStream;
BhApiStream *bh_api_stream_new(BhApi *api, const char *target, BhSseFunc each, gpointer user);
/* Waits for at most `ms` and tells what came. END: the central closed it in order. */
BhClientState bh_api_stream_run(BhApiStream *s, int ms, GError **error);
void bh_api_stream_free(BhApiStream *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhApiStream, bh_api_stream_free)

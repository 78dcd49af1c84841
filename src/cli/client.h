/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line's side of the sensor's socket (src/sensor/control.h has the protocol). Messages of errors say what to do.
 */
#pragma once
#include <glib.h>
#include <jansson.h>

#include "base/fdio.h"

typedef struct {
        const char *run_dir;
        const char *data_dir;
        /* of the central, for the commands that ask one; NULL: not given */
        const char *server, *token, *cacert;
        gboolean sensor; /* ask the sensor on this machine, not the central */
} BhCliPaths;

/* Connects and sends the request (stolen). The descriptor, or -1 with an error; G_FILE_ERROR_NOENT when no sensor answers. */
int bh_client_request(const BhCliPaths *paths, json_t *request, GError **error);

/* Called for each object that the sensor answers; `line` is its text without newline, NUL-terminated. FALSE: enough. */
typedef gboolean (*BhClientLine)(const char *line, gsize len, gpointer data);

typedef enum {
        BH_CLIENT_MORE,
        BH_CLIENT_END,    /* the sensor closed in order */
        BH_CLIENT_ENOUGH, /* the callback has what it wants */
        BH_CLIENT_FAILED,
} BhClientState;

/*
 * One read(2) of the answer, and the callback for each line that is whole then; `rest` keeps the beginning of the next. Lines have a bound.
 * An answer {"error": …} is BH_CLIENT_FAILED with that as the error.
 */
BhClientState bh_client_read_lines(int fd, GString *rest, BhClientLine each, gpointer data, GError **error);

/* The same until the answer ends. TRUE also if `each` has what it wants. */
gboolean bh_client_lines(int fd, BhClientLine each, gpointer data, GError **error);

/* The sensor's status, new reference. A sensor that does not answer within `seconds` is an error. */
json_t *bh_client_status(const BhCliPaths *paths, guint seconds, GError **error);
/* The containers that it knows, an array. */
json_t *bh_client_containers(const BhCliPaths *paths, guint seconds, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sensor's Unix socket: root's programs ask it things. One request a connection:
 *
 *   client sends one line, a JSON object {"cmd": …}; the sensor answers JSON objects, one a line, and closes. An error is {"error": "sentence"}.
 *   {"cmd":"status"}                      one object
 *   {"cmd":"containers"}                  one object a container
 *   {"cmd":"rules"}                       one object a rule
 *   {"cmd":"events", "form":"json"|"text"|"wire", "follow":bool, "types":["exec",…], "container":"…", "filter":"…", "since":ns, "until":ns, "limit":n}
 *                                         recorded events, then (follow) live ones; text: lines for people; wire: u32 LE length and protobuf.
 *                                         Where a slow reader missed some: {"dropped":n}; wire: length 0xffffffff and u64 LE n
 *   {"cmd":"stop"}                        ends the sensor; answers {"stopping":true}
 *
 * The socket is 0600: who may write to it is root already. A thread a connection, at most 64; requests are read with a limit and a deadline.
 */
#pragma once
#include <glib.h>
#include <jansson.h>

#include "feed.h"

typedef struct {
        json_t *(*status)(gpointer data);                  /* new reference; any thread */
        json_t *(*containers)(gpointer data);              /* array, new reference; any thread */
        json_t *(*rules)(gpointer data);                   /* the same */
        void (*flush)(gpointer data);                      /* what happened until now is to be readable from the recorder */
        void (*stop)(gpointer data);
        void (*replaced)(gpointer data);                   /* the socket file was gone and has been made again; the listening thread; may be NULL */
        BhFeed *feed;
        const char *recorder_dir;
        gpointer data;
} BhControlOps;

typedef struct BhControl BhControl;

/* Listens at `path`; a socket file that nobody answers at is replaced, and one that is removed is made again. `ops` is copied. */
BhControl *bh_control_start(const char *path, const BhControlOps *ops, GError **error);
/* Ends all connections and removes the socket. */
void bh_control_free(BhControl *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhControl, bh_control_free)

/* SPDX-License-Identifier: Apache-2.0 */
/* Server-sent events out of a stream's bytes, in whatever pieces they come. Pure; one thread. */
#pragma once
#include <glib.h>

/* `event` is "message" where the stream names none; `data` has its lines joined, and a NUL. FALSE: enough. */
typedef gboolean (*BhSseFunc)(const char *event, const char *data, gsize len, gpointer user);

typedef struct {
        GString *line, *event, *data;
        gboolean some; /* a data line was there */
} BhSse;

void bh_sse_init(BhSse *s);
void bh_sse_clear(BhSse *s);

typedef enum {
        BH_SSE_MORE,
        BH_SSE_ENOUGH,    /* `each` has what it wants */
        BH_SSE_TOO_LARGE, /* an event of more than BH_SSE_MAX bytes */
} BhSseState;

#define BH_SSE_MAX (64u << 20)

/* Takes the bytes and tells the events that are whole then. */
BhSseState bh_sse_feed(BhSse *s, const char *bytes, gsize len, BhSseFunc each, gpointer user);

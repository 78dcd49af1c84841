/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The open streams: GET /api/v1/stream (what changed, from the store's change log), and the watch over every stream's right to go on.
 *
 * One thread serves all readers of the change log. Readers are pulled, not pushed: each has a position in the log and a buffer of
 * BH_HUB_BUFFER bytes; one that reads slowly falls behind and loses nothing until its position has left the log (100,000 changes), when it
 * gets "reset" and loads anew. Changes of the same object within a batch are one. A comment is sent every BH_HUB_BEAT_SECONDS.
 *
 * A stream whose session or token has ended is ended: at once after bh_hub_recheck(), else within BH_HUB_CHECK_SECONDS.
 */
#pragma once
#include "central.h"

#define BH_HUB_BUFFER (512 * 1024)
#define BH_HUB_BATCH 256
#define BH_HUB_BEAT_SECONDS 15
#define BH_HUB_CHECK_SECONDS 5

BhHub *bh_hub_new(BhCentral *c);
/* Ends the thread; call it when the HTTP server is stopped. */
void bh_hub_free(BhHub *h);

/* Something may have changed, or someone's rights. Quick; any thread. */
void bh_hub_wake(BhHub *h);
void bh_hub_recheck(BhHub *h);
/* The map changed: every reader is told {"kind":"graph","generation":N}, without an id. Quick; any thread. */
void bh_hub_graph(BhHub *h, guint64 generation);

/*
 * Watches the identity behind a stream; NULL for `after`: only that. Else the stream is a reader of the change log that begins behind *after.
 * FALSE when the user has BH_STREAMS_PER_USER already, or there are BH_STREAMS_MAX.
 */
gboolean bh_hub_add(BhHub *h, BhHttpStream *s, const BhIdentity *who, const guint64 *after);
guint bh_hub_count(BhHub *h);

/* ---- the wire form (pure; sse.c) */

/* "id: …\nevent: …\ndata: …\n\n"; id 0 and event NULL are left out. Line ends within the data become lines of their own. */
void bh_sse_append(GString *out, guint64 id, const char *event, const char *data);
/* A number of at most 15 digits. */
gboolean bh_sse_parse_id(const char *text, guint64 *id);

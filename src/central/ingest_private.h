/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kinds of messages share on their way into the store. Private to ingest*.c. One thread at a time works with an arena.
 */
#pragma once
#include <protobuf-c/protobuf-c.h>

#include "bus/bus.pb-c.h"
#include "store/store_inventory.h"

/* What a batch's rows point to; freed when they are stored, and entered into the map. */
typedef struct {
        GPtrArray *texts;    /* char * */
        GPtrArray *messages; /* ProtobufCMessage * */
        GPtrArray *arrays;   /* g_free */
} BhIngestArena;

/* Takes the text. */
char *bh_ingest_keep(BhIngestArena *a, char *text);
/* Up to the first NUL. Never NULL. */
char *bh_ingest_text(BhIngestArena *a, ProtobufCBinaryData b);
/* A JSON array of texts. */
char *bh_ingest_list(BhIngestArena *a, ProtobufCBinaryData *items, gsize n);

void bh_ingest_container(BhIngestArena *a, const Bulkhead__Bus__V1__Container *c, BhStoreContainer *out);

/* Rows of flows and listeners (ingest_flow.c). */
void bh_ingest_flows(BhIngestArena *a, const Bulkhead__Bus__V1__FlowBatch *m, BhStoreFlows *out);
void bh_ingest_listeners(BhIngestArena *a, const Bulkhead__Bus__V1__ListenerList *m, BhStoreListeners *out);

#define BH_INGEST_LINEAGE 64 /* processes of one finding; more are left out, and that is said */

/*
 * The row of a finding (ingest_finding.c). What the publisher left out is filled in: see Finding in api/bus.proto. out->event is the
 * caller's to unref.
 */
void bh_ingest_finding(BhIngestArena *a, const char *node, const Bulkhead__Bus__V1__Finding *m, BhStoreFinding *out);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the bus into the store: bodies are decoded (they are foreign: bus/body.h bounds their memory) and stored with the publisher's
 * position in one transaction, which is what makes delivery exactly once. A body that cannot be decoded is counted, logged once for each
 * connection, and passed over: the position moves on, so a sensor of another version cannot get stuck.
 *
 * deliver runs on the bus's delivery thread and waits for the disk. Node states come on its I/O thread and are handed to a thread of
 * their own (at most BH_INGEST_QUEUE wait; more are dropped, the next ones replace them).
 */
#pragma once
#include "central.h"

#define BH_INGEST_QUEUE 1024

/* The callbacks for bh_bus_listen(). */
BhBusCallbacks bh_ingest_callbacks(BhCentral *c);
void bh_ingest_start(BhCentral *c);
/* After the bus is closed. */
void bh_ingest_stop(void);

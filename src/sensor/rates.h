/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much a program of a container does in a minute: programs started, files touched, connections made and taken, names asked for, bytes sent and received by
 * connections that ended. What is told is that a step was reached, as "64 or more a minute": steps are powers of four from BH_RATES_FIRST on (of bytes from BH_RATES_FIRST_BYTES
 * on), each told once a minute, as soon as it is reached. So the most that a workload ever did stands in its model with a factor of four on it, and what goes
 * beyond is new there. What lies below the first step is told of nothing: small numbers say little.
 *
 * Bound: BH_RATES_PLACES programs of containers at a time; where two fall on one place the one that acts takes it and begins anew (counted): it is told of later then, never too early.
 *
 * Not thread-safe. No allocation after the beginning.
 */
#pragma once
#include "event/event.h"

#define BH_RATES_PLACES 1024u
#define BH_RATES_NS 60000000000ull
#define BH_RATES_FIRST 16u
#define BH_RATES_FIRST_BYTES (1u << 20)
#define BH_RATES_STEPS 20u

typedef enum { BH_RATE_EXEC, BH_RATE_FILE, BH_RATE_CONNECT, BH_RATE_ACCEPT, BH_RATE_NAME, BH_RATE_SENT, BH_RATE_RECEIVED, BH_RATES } BhRate;

typedef struct BhRates BhRates;

BhRates *bh_rates_new(void);
void bh_rates_free(BhRates *r);

/* What an event adds to: at most two, with how much. */
guint bh_rates_of(const struct bh_event *e, BhRate which[2], guint64 much[2]);

/* Adds; who: a hash of the container and the program. Calls for each step that is reached now, the lowest first. */
void bh_rates_add(BhRates *r, guint64 who, BhRate which, guint64 much, guint64 time_ns, void (*reached)(BhRate which, guint64 step, guint64 now, gpointer data), gpointer data);

/* "connections made"; "64 or more a minute", "16 MiB or more a minute". Room for 64 bytes. */
const char *bh_rate_title(BhRate which);
const char *bh_rate_step(BhRate which, guint64 step, char out[64]);
guint64 bh_rates_displaced(const BhRates *r);

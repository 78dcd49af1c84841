/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slows down guessing of passwords. Failures of a device that is not known are counted by address and user together, and by address alone (one
 * password tried on many users); failures of a known device (device.h) by that device and user only, so that who guesses behind an address does
 * not lock out those who have logged in there before. After BH_LIMIT_FREE failures each further one closes the door for twice as long, from one
 * second to fifteen minutes. A success clears the pair. Nobody can lock a user out from another address. An IPv6 address counts as its /64, for that is
 * what one host has.
 *
 * The table holds BH_LIMIT_ENTRIES; the one that has been quiet longest goes (and is counted). Failures are forgotten after an hour
 * of quiet. Time is monotonic and given by the caller, so a clock that is set opens no door. Thread-safe. Kept in memory only.
 */
#pragma once
#include <glib.h>

#define BH_LIMIT_FREE 5
#define BH_LIMIT_FREE_ADDRESS 30
#define BH_LIMIT_ENTRIES 4096
#define BH_LIMIT_MAX_SECONDS 900

typedef struct BhLimit BhLimit;

BhLimit *bh_limit_new(void);
void bh_limit_free(BhLimit *l);

/* Who tries. Strings are borrowed. `device` NULL: it is not known, and its address counts. */
typedef struct {
        const char *address, *device, *user;
} BhLimitWho;

/* Seconds to wait, 0 = may try. */
guint bh_limit_wait(BhLimit *l, const BhLimitWho *who, gint64 now_us);
/* TRUE when this failure closed the door: worth a line in the audit log. */
gboolean bh_limit_failed(BhLimit *l, const BhLimitWho *who, gint64 now_us);
void bh_limit_succeeded(BhLimit *l, const BhLimitWho *who);
/* Entries thrown out for lack of room. */
guint64 bh_limit_evicted(BhLimit *l);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delivers what the queue holds: a thread for each output, so that one that hangs holds up no other.
 *
 * An output gets its alerts in order, one after another. What fails for now is tried again after 1 s, 2 s, 4 s … 5 min, each between half of that and
 * the whole by chance (a hundred senders must not come at the same moment), and not before a server's Retry-After; what follows waits behind it. What
 * is refused for good is counted and passed over. Delivered ones leave the queue at the latest 250 ms later (more when a delivery takes longer), in one
 * transaction: so much is delivered twice, with the same id, when the process is killed.
 *
 * Threads: any, one at a time for each notifier but bh_notifier_test(). The queue, outputs and place must outlive it.
 */
#pragma once
#include "notify/queue.h"
#include "notify/send.h"

#define BH_NOTIFIER_RETRY_MS 1000
#define BH_NOTIFIER_RETRY_MAX_MS (300 * 1000)

typedef struct BhNotifier BhNotifier;

/* `outputs`: GPtrArray of BhOutput. `retry_ms` 0: BH_NOTIFIER_RETRY_MS. Starts the threads. */
BhNotifier *bh_notifier_new(BhQueue *queue, GPtrArray *outputs, const BhSendPlace *place, guint retry_ms);
/* What is under way is given `grace_ms` to end. TRUE: all threads have ended, and it is freed; FALSE: some hang in the system, end the process. */
gboolean bh_notifier_stop(BhNotifier *n, guint grace_ms);

/*
 * A new JSON array with an object for each output: name, state ("idle", "delivering", "waiting" for its next try, "off"), queued, queued_bytes, delivered,
 * refused, cut, lost, failures (in a row), problem (the last one's sentence, "" when it works), problem_at, delivered_at, next_try (times as text or null).
 */
json_t *bh_notifier_status(BhNotifier *n);

/* How long to wait after `failures` (from 1) in a row: pure but for chance; `chance` from 0 to 1. */
guint64 bh_notifier_backoff_ms(guint base_ms, guint failures, guint retry_after_s, double chance);

/* Sends one alert by itself, around the queue, on the calling thread. NULL: it was taken; else why not, a sentence. Caller frees. */
char *bh_notifier_test(const BhOutput *o, const BhSendPlace *place, const BhAlert *a);

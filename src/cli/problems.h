/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a sensor, and what to do about it, from its status object. Pure. */
#pragma once
#include <glib.h>
#include <jansson.h>

/* Sentences, each one line, escaped for a terminal, worst first. Free with g_ptr_array_unref(). */
GPtrArray *bh_problems_of(const json_t *status);

/* "ring_full 12, busy 1" of an object of counts; "" if all are 0. *total (may be NULL) is their sum. Caller frees. */
char *bh_problems_counts(const json_t *counts, guint64 *total);

/* How far a hook is seen: TRUE if it has a backend and its last test, if there is one, had an effect. */
gboolean bh_problems_hook_seen(const json_t *hook);

/* Why a hook is not attached on purpose, or its events are not generated; NULL: it is wanted. */
const char *bh_problems_hook_off(const json_t *hook);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel side for tests: the sensor's own hooks in this process, whose acts are then events, and the records of one ring read as they come.
 * One backend at a time. For one thread.
 */
#pragma once
#include <glib.h>

#include "sensor/hooks.h"

/*
 * Makes it so that these kinds are generated with that backend. FALSE where this kernel has no such backend (said by g_test_skip()); any other failure ends the
 * test program.
 */
gboolean kernel_use(BhBackend backend, const char *kinds);
BhHooks *kernel_hooks(void);
void kernel_end(void);

/* TRUE: this is the record that is waited for. It is copied. */
typedef gboolean (*KernelMatch)(const struct bh_rec *rec, const struct bh_addr *addr, gconstpointer data);

/* The next record of the kind that matches, among those that came since the last call with `forget`; NULL after `ms`. Caller frees. */
struct bh_rec *kernel_wait(guint32 type, KernelMatch match, gconstpointer data, guint ms);
void kernel_forget(void);
/* Of a record of kernel_wait(). NULL: it has none. */
const struct bh_addr *kernel_addr(const struct bh_rec *rec);

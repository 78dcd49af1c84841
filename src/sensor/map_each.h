/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All entries of a kernel hash map, some hundred with each system call (a call each for the next key and for its value is what reading a map costs
 * otherwise, and every system call passes the sensor's own hooks).
 */
#pragma once
#include <glib.h>

/*
 * Calls `each` for each entry. `value_size` is the whole value: of a per-CPU map the rounded size times the possible CPUs. Entries that come or go meanwhile
 * may be seen or not; one that stays is seen once. `each` must not change the map. FALSE with errno if the kernel refuses; some may have been seen.
 */
gboolean bh_map_each(int fd, guint key_size, guint value_size, void (*each)(const void *key, const void *value, gpointer data), gpointer data);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes away all that the sensor (and the central, below the same directories) has left on this machine: for `bulkhead uninstall`, while neither runs.
 *
 * What is stopped to be copied or frozen goes on, what is cut off is connected again, what is refused is not any more: from the kernel's own pins and the keeper of file denials, so also where the
 * ledger is gone. Then pins, links, filters of interfaces and mounts; then the run directory's and the data directory's files. Of these only names that are Bulkhead's go, without following links or
 * crossing mounts: a directory that somebody named by mistake keeps what is his; of a data directory that no sensor and no central has kept anything in, nothing goes. Both directories go when they
 * are empty then.
 */
#pragma once
#include <glib.h>

/*
 * Says on standard output what it did and what it left. `v2_mount`: of the control groups, NULL: there is none. FALSE with *error: something is left in the kernel, or of the files; whatever could go
 * went. The caller holds the run directory's lock.
 */
gboolean bh_uninstall(const char *run_dir, const char *data_dir, const char *v2_mount, gboolean keep_data, GError **error);

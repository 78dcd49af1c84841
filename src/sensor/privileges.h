/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What root may do and the sensor need not: given up at its start, for it and for every child.
 *
 * Capabilities belong to threads: call it while there is one. What the process has not got (it runs in a container that was given less) it
 * cannot keep; what then fails says so itself.
 */
#pragma once
#include <glib.h>

/*
 * Keeps the capabilities of privileges.tbl.h in the permitted and effective sets, and no others there or in the bounding set; none are inheritable or
 * ambient; no program that is executed from here on gains any (no_new_privs). FALSE with *error: the kernel refuses, and nothing may be relied on.
 */
gboolean bh_privileges_drop(GError **error);
/* The same with a list of the caller's (CAP_…): for its own children and the like. */
gboolean bh_privileges_keep(const int *keep, gsize n, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dispatcher's table: the map `syscalls`, by which the one fallback program tail-calls the handler (program sx_<handler>) of a system call. Which
 * handler has which numbers is in hooks.tbl.h.
 *
 * Works on a BhHooks of the caller's whose maps are open, and owns nothing: entered handlers are in its `attached`. Not thread-safe, as BhHooks.
 */
#pragma once
#include <bpf/libbpf.h>
#include <glib.h>

#include "hooks.h"

/* Puts a loaded handler into the table at the numbers of its system calls. On error some of them may be there. */
gboolean bh_dispatcher_enter(BhHooks *h, struct bpf_program *p, GError **error);

/*
 * Tells the dispatcher which numbers have handlers now, and of which only bulk events can come: those it leaves at once when the host's processes make
 * them. To be called after handlers were entered or taken out.
 */
gboolean bh_dispatcher_watch(BhHooks *h, GError **error);

/*
 * Takes the handlers that are not in `want` out of the table, tells the dispatcher, and notes them as not attached. One that stands where a wanted one does
 * is left alone.
 */
gboolean bh_dispatcher_prune(BhHooks *h, GHashTable *want, GError **error);

/* Notes as attached the handlers that have all their entries, and as not attached the others. */
void bh_dispatcher_look(BhHooks *h);

/*
 * FALSE if a handler that this kind of event's fallback wants lacks an entry, or the dispatcher is not told to look for it. The calls that the canary does not make (sister calls, 32-bit ones) are
 * looked after by this.
 */
gboolean bh_dispatcher_whole(BhHooks *h, guint32 type);

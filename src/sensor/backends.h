/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which programs make which hook on this kernel: reads hooks.tbl.h, knows what the kernel can do (its type information, whether fexit programs run,
 * what it refused so far) and chooses a backend for each hook. Attaches nothing for good.
 *
 * Works on a BhHooks of the caller's, after bh_loader_init(), and owns nothing. Not thread-safe, as BhHooks, but bh_backends_function_id(),
 * bh_backends_known() and bh_backends_common_only() may be called from any thread.
 */
#pragma once
#include <glib.h>

#include "hooks.h"

/* Id of a kernel function in the kernel's type information; negative: there is none of that name. */
gint32 bh_backends_function_id(BhHooks *h, const char *name);

/*
 * Loads and attaches a program that does nothing to the exit of setns, and takes it away: says whether fentry/fexit are to be had, by effect of the
 * attempt. If not, `why` is set, to be freed by the caller.
 */
gboolean bh_backends_fexit_works(BhHooks *h, char **why);

/* Whether there is a hook for this kind of event. */
gboolean bh_backends_known(guint32 type);

/* Whether that hook needs no choice: all its programs are common to both backends. FALSE also if there is no hook. */
gboolean bh_backends_common_only(guint32 type);

/*
 * Adds the names (the set owns them) of the programs that `type` has with this backend to `set`; returns how many, those common to both
 * backends left out. What is known to be refused or to lack its kernel function is left out.
 */
guint bh_backends_programs(BhHooks *h, guint32 type, BhBackend backend, GHashTable *set);

/* Adds to `kinds` those whose programs keep what hooks in it are made of, as their backends are now. */
void bh_backends_close(const BhHooks *h, BhKinds *kinds);

/* Sets the backend of `type`: the preferred one if it has programs here and `wanted` is not the fallback; `why_not`: why it is not, NULL if not known. */
void bh_backends_choose(BhHooks *h, guint32 type, BhBackend wanted, const char *why_not);

/*
 * Sets the `refused` of the hook's state: programs of its backend that this kernel's verifier refuses and for which no other stands in, with the reason,
 * for people. Such a hook does not see all of its acts.
 */
void bh_backends_note_refused(BhHooks *h, guint32 type);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gets programs and maps into the kernel: opens the BPF objects that are built into the sensor, fits them to this kernel, loads what the chosen
 * backends want, attaches and pins it. A program that the verifier refuses is noted with the reason, and its hooks make do without it.
 *
 * Works on a BhHooks of the caller's, which owns what is made here. Not thread-safe, as BhHooks; loading uses threads of its own, which are done when
 * the call returns. On error what was attached and pinned before stays so: the caller takes it away.
 */
#pragma once
#include <glib.h>

#include "hooks.h"

/* Reads the kernel's type information and which programs there are. First of all calls, once for each BhHooks; needs its options. */
gboolean bh_loader_init(BhHooks *h, GError **error);

/*
 * The kernel's type information, five to eight MiB; NULL without it. It is read again when it was forgotten, which happens to what nobody has asked
 * for in a while: use it at once, and ask again for the next use. Any thread.
 */
struct btf *bh_loader_btf(BhHooks *h);
void bh_loader_forget_btf(BhHooks *h);
/* Finds the kernel's variables that preferred programs read. Takes some milliseconds: only where there are such programs. */
void bh_loader_find_symbols(BhHooks *h);

/* Identity of the programs of this build and of the layout of their records. */
guint64 bh_loader_build_id(void);

/* Makes and pins all maps, and opens them. */
gboolean bh_loader_make_maps(BhHooks *h, GError **error);

/* Opens the maps that are pinned and not open yet, and maps the configuration and the canary's counts into memory. */
gboolean bh_loader_open_maps(BhHooks *h, GError **error);
void bh_loader_close_maps(BhHooks *h);

/* Names of the programs that the hooks' backends want and the kernel does not refuse, as far as is known. Caller frees. */
GHashTable *bh_loader_wanted(BhHooks *h);

/* Loads and attaches what the hooks' backends want and is not attached. May change the choice of hooks whose programs the kernel refuses. */
gboolean bh_loader_load(BhHooks *h, GError **error);

/* Detaches and takes out of the dispatcher's table what is attached and not wanted. */
gboolean bh_loader_prune(BhHooks *h, GError **error);

/* Takes a program's pin away and detaches its link, if this process has it. */
void bh_loader_detach(BhHooks *h, const char *program);

/*
 * Loads an object whose programs are no hook's, with all of them and none attached: it shares the hooks' maps and has others of its own, which end with
 * it. The caller closes it. `h` must be open. Any thread.
 */
struct bpf_object *bh_loader_load_apart(BhHooks *h, const char *name, const void *bytes, gsize size, GError **error);

/*
 * The same with these programs of it alone (NULL ends): others may be what this kernel does not have. `maps` (may be NULL): name → fd + 1
 * of maps of its own that are there already.
 */
struct bpf_object *bh_loader_load_some(BhHooks *h, const char *name, const void *bytes, gsize size, const char *const *programs, GHashTable *maps, GError **error);

/* Whether this kernel has a tracepoint of that name for tp_btf programs. */
gboolean bh_loader_has_tracepoint(BhHooks *h, const char *name);

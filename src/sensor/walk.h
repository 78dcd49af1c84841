/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel program that goes through something that the kernel has (a BPF iterator), and what it writes: nothing is attached to anything, it runs while it is read. One thread at a time. */
#pragma once
#include "hooks.h"

struct bpf_link;
struct bpf_object;

typedef struct {
        struct bpf_object *object; /* private to this module but for its maps */
        struct bpf_link *link;
        const char *through;       /* for errors */
} BhWalk;

/* `bytes`: the object; `program`: of it; `through`: "the sockets of all processes". FALSE: to be cleared all the same. */
gboolean bh_walk_load(BhWalk *w, BhHooks *hooks, const char *name, const void *bytes, gsize size, const char *program, const char *through, GError **error);
void bh_walk_clear(BhWalk *w);

/* Takes what is whole of the *have bytes in `buf`, moves the rest to its beginning and says in *have how much that is. FALSE: they are not of this build. */
typedef gboolean (*BhWalkTake)(guint8 *buf, gsize *have, gpointer data);
/* Once through all of it. FALSE: it broke off, or `take` said so. */
gboolean bh_walk_run(const BhWalk *w, BhWalkTake take, gpointer data, GError **error);

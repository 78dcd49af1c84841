/* SPDX-License-Identifier: Apache-2.0 */
/*
 * By which name did a container find an address? From the answers that it got from resolvers: address → the name that it had asked for, also when the answer led
 * there through aliases. The newest answer wins, for the container that got it and for no other.
 *
 * An answer is what a resolver says, which may be the asker's own. A name that is nobody's in the world (RFC 6761, 6762, 8375, 9476: "db", "shop.internal", …) is not
 * taken for an address of the world. Where one resolver claims an address for more than BH_FLOW_NAMES_CLAIMS names within BH_FLOW_NAMES_WINDOW_NS, the last before that
 * stays, and is shown with the resolver's address; so is what a container hears from a resolver at its own loopback, but the runtime's.
 *
 * Bounds: BH_FLOW_NAMES_MAX in all, BH_FLOW_NAMES_PER_CONTAINER of one container; the one heard of longest ago goes. Names are hostile text, at most 255 bytes. One thread.
 */
#pragma once
#include "event/event.h"

#define BH_FLOW_NAMES_MAX 32768u
#define BH_FLOW_NAMES_PER_CONTAINER 1024u

#define BH_FLOW_NAMES_CLAIMS 8u
#define BH_FLOW_NAMES_WINDOW_NS (60 * G_GINT64_CONSTANT(1000000000))

typedef struct BhFlowNames BhFlowNames;

BhFlowNames *bh_flow_names_new(void);
void bh_flow_names_free(BhFlowNames *n);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhFlowNames, bh_flow_names_free)

/* From a dns event that is an answer; others are passed over. Returns how many addresses it named. */
guint bh_flow_names_learn(BhFlowNames *n, const struct bh_event *e);
/* `container` "": the host. NULL: not known. Good until the next answer is learned. */
const char *bh_flow_names_find(BhFlowNames *n, const char *container, const struct bh_ip *ip);
guint bh_flow_names_count(const BhFlowNames *n);

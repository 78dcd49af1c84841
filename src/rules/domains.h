/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of addresses, as DNS answers on this node gave them: what fd.sip.name and its like show. A name is that of the question, whatever aliases led to the
 * address, since that is what the program asked for. Fed by events; the last answer counts.
 *
 * Bound: BH_DOMAINS_MAX addresses; beyond it the oldest goes, counted. One thread.
 */
#pragma once
#include "event/event.h"

#define BH_DOMAINS_MAX 16384u

typedef struct BhDomains BhDomains;

BhDomains *bh_domains_new(void);
void bh_domains_free(BhDomains *d);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhDomains, bh_domains_free)

/* Takes in the answers of a dns event; of others nothing. */
void bh_domains_feed(BhDomains *d, const struct bh_event *e);
/* *name is good until the next feed. */
gboolean bh_domains_find(const BhDomains *d, const struct bh_ip *ip, struct bh_str *name);
guint64 bh_domains_evicted(const BhDomains *d);

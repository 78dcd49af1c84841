/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What open connections have moved is told while they are open, and again as a part of what they moved in all when they have ended. Who adds up keeps how much of a
 * half is counted already ("ahead") and takes it off then. That goes well as long as both are told of the same half. They are not always: who is at the other end of a
 * connection may be found out, or turn out to be another, between the two; and its program, or an address's translation. So:
 *
 *   ahead      of a flow: how much whoever adds up has counted ahead, reckoned here as it is there (store/flows.c)
 *   elsewhere  of a flow: what its connections moved and is counted in another half, because the peer was taken for another then
 *
 * A connection that ends in another flow leaves what was told of it where it was told, and brings the rest. A flow whose peer turns out to be another closes the half
 * that was told with what was told of it, and goes on from there. The sum is exact either way; bytes are in the half that was right when they were told.
 */
#include "graph/flow_private.h"

static const struct {
        gsize added, now;
} moved[BH_FLOW_MOVED] = {
        { offsetof(BhFlowCounts, bytes_out), offsetof(BhFlowOpen, bytes_out) },
        { offsetof(BhFlowCounts, bytes_in), offsetof(BhFlowOpen, bytes_in) },
        { offsetof(BhFlowCounts, packets_out), offsetof(BhFlowOpen, packets_out) },
        { offsetof(BhFlowCounts, packets_in), offsetof(BhFlowOpen, packets_in) },
};
#define ADDED(c, i) G_STRUCT_MEMBER(guint64, c, moved[i].added)
#define NOW(o, i) G_STRUCT_MEMBER(guint64, o, moved[i].now)

static guint64 less(guint64 a, guint64 b) {
        return a > b ? a - b : 0;
}

void bh_flow_leaves(BhFlowTable *t, Flow *f, const Conn *c, gint64 ns, guint64 told[BH_FLOW_MOVED]) {
        const guint64 of_conn[BH_FLOW_MOVED] = { c->bytes_out, c->bytes_in, c->packets_out, c->packets_in };
        gboolean any = FALSE;

        for (guint i = 0; i < BH_FLOW_MOVED; i++) {
                told[i] = MIN(of_conn[i], less(f->ahead[i] + f->elsewhere[i], ADDED(&f->added, i) + NOW(&f->now, i)));
                ADDED(&f->added, i) += told[i];
                any |= told[i] != 0;
        }
        if (!any)
                return;
        f->added.last_ns = MAX(f->added.last_ns, ns);
        bh_flow_touch(t, f);
}

void bh_flow_not_again(BhFlowCounts *c, const guint64 told[BH_FLOW_MOVED]) {
        for (guint i = 0; i < BH_FLOW_MOVED; i++)
                ADDED(c, i) = less(ADDED(c, i), told[i]);
}

gboolean bh_flow_is_ahead(const Flow *f) {
        for (guint i = 0; i < BH_FLOW_MOVED; i++)
                if (f->ahead[i])
                        return TRUE;
        return FALSE;
}

gboolean bh_flow_peer_changes(BhFlowTable *t, Flow *f, Box *peer, BhFlow *out) {
        Box *before = f->told_peer;
        BhFlowCounts settled = { 0 };
        gboolean any = FALSE;

        if (before == peer)
                return FALSE;
        for (guint i = 0; i < BH_FLOW_MOVED; i++) {
                ADDED(&settled, i) = f->ahead[i];
                any |= f->ahead[i] != 0;
                f->elsewhere[i] += f->ahead[i];
                f->ahead[i] = 0;
        }
        if (any) {
                out->peer_container_id = before ? before->id : "";
                out->peer_is_host = before == t->host;
                out->peer_exe = "";
                out->added = settled;
                out->now = (BhFlowOpen){ 0 };
        }
        f->told_peer = peer;
        if (peer)
                peer->refs++;
        if (before)
                bh_flow_box_unref(t, before);
        return any;
}

void bh_flow_tells(Flow *f, BhFlow *out) {
        for (guint i = 0; i < BH_FLOW_MOVED; i++) {
                guint64 *added = &ADDED(&out->added, i), *now = &NOW(&out->now, i), off = MIN(f->elsewhere[i], *added);

                *added -= off;
                f->elsewhere[i] -= off;
                *now = less(*now, f->elsewhere[i]);
                f->ahead[i] = *added + *now >= f->ahead[i] ? *now : f->ahead[i] - *added;
        }
}

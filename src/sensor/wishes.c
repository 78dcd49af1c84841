/* SPDX-License-Identifier: Apache-2.0 */
#include "wishes.h"

#include "backends.h"
#include "hooks_private.h"

/* Without these there are neither processes nor containers to tell events of. */
static const guint32 lifecycle[] = { BH_EV_EXEC, BH_EV_FORK, BH_EV_EXIT, BH_EV_CGROUP_CREATE, BH_EV_CGROUP_REMOVE, BH_EV_CGROUP_ATTACH };

const char *bh_consumer_name(BhConsumer who) {
        static const char *const names[BH_CONSUMERS] = { "sensor", "recorder", "rules", "evidence", "live" };

        return who < BH_CONSUMERS ? names[who] : "?";
}

void bh_wishes_begin(BhHooks *h) {
        for (guint i = 0; i < G_N_ELEMENTS(lifecycle); i++)
                bh_kinds_add(&h->wishes[BH_CONSUMER_SENSOR], lifecycle[i]);
        bh_wishes_sum(h);
}

void bh_wishes_set(BhHooks *h, BhConsumer who, const BhKinds *kinds) {
        g_mutex_lock(&h->wish_lock);
        h->wishes[who] = *kinds;
        g_mutex_unlock(&h->wish_lock);
        bh_wishes_sum(h);
}

void bh_wishes_sum(BhHooks *h) {
        BhKinds all = { 0 }, wanted = { 0 };

        g_mutex_lock(&h->wish_lock);
        for (guint i = 0; i < BH_CONSUMERS; i++)
                bh_kinds_unite(&all, &h->wishes[i]);
        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++)
                if (bh_backends_known(type) && bh_kinds_has(&all, type))
                        bh_kinds_add(&wanted, type);
        h->wanted = h->needed = wanted;
        bh_backends_close(h, &h->needed);
        g_mutex_unlock(&h->wish_lock);
        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++) {
                g_atomic_int_set(&h->state[type].wanted, bh_kinds_has(&h->wanted, type));
                g_atomic_int_set(&h->state[type].attached, bh_kinds_has(&h->needed, type));
        }
}

void bh_wishes_hold(BhHooks *h) {
        for (guint i = 0; i < G_N_ELEMENTS(h->off); i++)
                h->config->off[i] = h->off[i];
}

void bh_wishes_stop(BhHooks *h) {
        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++)
                if (!bh_kinds_has(&h->wanted, type))
                        h->off[type / 64] |= 1ull << type % 64;
        bh_wishes_hold(h);
}

void bh_wishes_go(BhHooks *h) {
        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++)
                if (bh_kinds_has(&h->wanted, type))
                        h->off[type / 64] &= ~(1ull << type % 64);
        bh_wishes_hold(h);
}

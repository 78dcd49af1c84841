/* SPDX-License-Identifier: Apache-2.0 */
#include "rates.h"

#include <string.h>

typedef struct {
        guint64 who, minute;
        guint64 sum[BH_RATES];
        guint8 told[BH_RATES]; /* steps */
} Place;

struct BhRates {
        Place places[BH_RATES_PLACES];
        guint64 displaced;
};

BhRates *bh_rates_new(void) {
        return g_new0(BhRates, 1);
}

void bh_rates_free(BhRates *r) {
        g_free(r);
}

guint bh_rates_of(const struct bh_event *e, BhRate which[2], guint64 much[2]) {
        much[0] = e->count;
        switch (e->type) {
        case BH_EV_EXEC:
                which[0] = BH_RATE_EXEC;
                return 1;
        case BH_EV_CONNECT:
                which[0] = BH_RATE_CONNECT;
                return 1;
        case BH_EV_ACCEPT:
                which[0] = BH_RATE_ACCEPT;
                return 1;
        case BH_EV_DNS:
                /* answers are events as well; one that only counts does not say what it was */
                which[0] = BH_RATE_NAME;
                return !bh_event_has(e, BH_F_dns_type) || (e->dns_type.len == 5 && memcmp(e->dns_type.p, "query", 5) == 0);
        case BH_EV_NET_CLOSE:
                which[0] = BH_RATE_SENT;
                which[1] = BH_RATE_RECEIVED;
                much[0] = bh_event_has(e, BH_F_bytes_out) ? e->bytes_out : 0;
                much[1] = bh_event_has(e, BH_F_bytes_in) ? e->bytes_in : 0;
                return 2;
        default:
                which[0] = BH_RATE_FILE;
                return e->type >= BH_EV_OPEN && e->type <= BH_EV_SETXATTR;
        }
}

static guint64 first_of(BhRate which) {
        return which >= BH_RATE_SENT ? BH_RATES_FIRST_BYTES : BH_RATES_FIRST;
}

void bh_rates_add(BhRates *r, guint64 who, BhRate which, guint64 much, guint64 time_ns, void (*reached)(BhRate, guint64, guint64, gpointer), gpointer data) {
        Place *p = &r->places[who % BH_RATES_PLACES];
        guint64 minute = time_ns / BH_RATES_NS;

        if (p->who != who || minute > p->minute) { /* what comes a little late counts for the minute that has begun */
                r->displaced += p->who && p->who != who && p->minute == minute;
                *p = (Place){ .who = who, .minute = minute };
        }
        p->sum[which] = much > G_MAXUINT64 - p->sum[which] ? G_MAXUINT64 : p->sum[which] + much;
        while (p->told[which] < BH_RATES_STEPS && p->sum[which] >= first_of(which) << 2 * p->told[which]) {
                guint64 step = first_of(which) << 2 * p->told[which]++;

                reached(which, step, p->sum[which], data);
        }
}

const char *bh_rate_title(BhRate which) {
        static const char *const titles[BH_RATES] = { "programs started", "files touched", "connections made", "connections taken", "names asked for", "bytes sent", "bytes received" };

        return which < BH_RATES ? titles[which] : "?";
}

const char *bh_rate_step(BhRate which, guint64 step, char out[64]) {
        if (which >= BH_RATE_SENT)
                g_snprintf(out, 64, "%" G_GUINT64_FORMAT " MiB or more a minute", step >> 20);
        else
                g_snprintf(out, 64, "%" G_GUINT64_FORMAT " or more a minute", step);
        return out;
}

guint64 bh_rates_displaced(const BhRates *r) {
        return r->displaced;
}

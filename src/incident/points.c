/* SPDX-License-Identifier: Apache-2.0 */
/* How grave an incident is: what its lines weigh together. */
#include "incident/group.h"

#define SURE 691   /* hundredths of a natural logarithm: one in a thousand … */
#define SURER 921  /* … and in ten thousand */

guint bh_incident_surprise(gint64 hundredths, gboolean strict) {
        return strict || hundredths >= SURER ? 2 : hundredths >= SURE ? 1 : 0;
}

static guint weight(guint rank) {
        return rank <= 2 ? 4 : rank <= 5 ? 6 - rank : 0;
}

void bh_incident_weigh(BhIncidentWeight *w, const BhIncidentLine *l) {
        const gboolean alone = l->rank <= BH_INCIDENT_RANK_ALONE;

        w->tactics |= l->tactics;
        w->asset = MAX(w->asset, l->asset);
        w->escape |= l->escape && alone;
        w->host |= l->of_host && alone;
        /* what is a note to a model is none to an incident either */
        if (l->rank <= BH_INCIDENT_RANK)
                w->surprise = (guint8) MAX(w->surprise, l->surprise);
        if (!l->tactics)
                w->alone = (guint8) MAX(w->alone, weight(l->rank));
        for (guint t = 0; t < BH_TACTICS; t++)
                if (l->tactics >> t & 1)
                        w->of[t] = (guint8) MAX(w->of[t], weight(l->rank));
}

void bh_incident_weigh_more(BhIncidentWeight *w, const BhIncidentWeight *more) {
        w->tactics |= more->tactics;
        w->asset = MAX(w->asset, more->asset);
        w->escape |= more->escape;
        w->host |= more->host;
        w->surprise = MAX(w->surprise, more->surprise);
        w->alone = MAX(w->alone, more->alone);
        for (guint t = 0; t < BH_TACTICS; t++)
                w->of[t] = MAX(w->of[t], more->of[t]);
}

BhIncidentPoints bh_incident_weight_points(const BhIncidentWeight *w) {
        static const guint worth[BH_ASSETS] = { [BH_ASSET_HIGH] = 3, [BH_ASSET_CRITICAL] = 5 };
        /* the way out of the container, and what stays on the node when the container is gone */
        BhIncidentPoints p = { .way_out = w->escape ? 3 : 0, .node = w->host ? 3 : 0, .asset = worth[w->asset], .surprise = MIN(w->surprise, BH_INCIDENT_SURPRISE_MAX) };

        for (guint t = 0; t < BH_TACTICS; t++)
                p.stages += w->of[t];
        p.stages = MAX(p.stages, w->alone);
        return p;
}

BhIncidentPoints bh_incident_points(const GPtrArray *lines) {
        BhIncidentWeight w = { 0 };

        for (guint n = 0; n < lines->len; n++)
                bh_incident_weigh(&w, lines->pdata[n]);
        return bh_incident_weight_points(&w);
}

BhSeverity bh_incident_severity(const BhIncidentPoints *p) {
        const guint score = p->stages + p->way_out + p->node + p->asset + p->surprise;

        return score >= 12 ? BH_SEVERITY_CRITICAL : score >= 7 ? BH_SEVERITY_HIGH : score >= 4 ? BH_SEVERITY_MEDIUM : BH_SEVERITY_LOW;
}

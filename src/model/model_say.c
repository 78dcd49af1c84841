/* SPDX-License-Identifier: Apache-2.0 */
/* Verdicts in words. */
#include <math.h>
#include <string.h>

#include "model/model.h"

#define EXPECTED 3u /* alternatives that are named */

guint bh_verdict_priority(const BhVerdict *v) {
        /* how sure it is that this is new: 1 from one in a thousand trials on */
        double sure = v->vouched ? 1 : CLAMP(v->surprise / log(1000), 0, 1);
        double weight = v->kind == BH_VERDICT_FORBIDDEN || v->kind == BH_VERDICT_REFUSED ? MAX(v->risk, 0.85) : v->risk * (0.6 + 0.4 * sure);

        if (v->kind == BH_VERDICT_DRIFT)
                return 5;
        return weight >= 0.85 ? 2 : weight >= 0.7 ? 3 : weight >= 0.4 ? 4 : 5;
}

static int by_count(gconstpointer pa, gconstpointer pb) {
        const BhItem *a = *(const BhItem *const *) pa, *b = *(const BhItem *const *) pb;

        return a->count != b->count ? (a->count < b->count ? 1 : -1) : strcmp(a->object, b->object);
}

/* What would be worst first. */
static int by_risk(gconstpointer pa, gconstpointer pb) {
        const BhAct a = bh_item_act(*(const BhItem *const *) pa), b = bh_item_act(*(const BhItem *const *) pb);
        double x = bh_act_risk(&a), y = bh_act_risk(&b);

        return x != y ? (x < y ? 1 : -1) : by_count(pa, pb);
}

/* The same program's, else the family's: most frequent first. */
static GPtrArray *alternatives(const BhModelVersion *v, const BhAct *a, gboolean of_actor) {
        GPtrArray *out = g_ptr_array_new();
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, v->facets->items);
        while (g_hash_table_iter_next(&it, &p, NULL)) {
                const BhItem *i = p;

                if ((i->flags & BH_ITEM_LEARNED) && i->family == a->family && (!of_actor || g_str_equal(i->actor, a->actor)))
                        g_ptr_array_add(out, p);
        }
        g_ptr_array_sort(out, by_count);
        return out;
}

static void say_expected(GString *out, const BhModelVersion *v, const BhAct *a) {
        g_autoptr(GPtrArray) same = alternatives(v, a, TRUE), all = same->len ? g_ptr_array_ref(same) : alternatives(v, a, FALSE);

        if (!all->len) {
                g_string_append_printf(out, "nothing of the kind (%s) had ever been seen", bh_family_title(a->family));
                return;
        }
        g_string_append(out, same->len ? "expected of that program: " : "that program had done nothing of the kind; expected of the workload: ");
        for (guint i = 0; i < MIN(all->len, EXPECTED); i++) {
                const BhItem *item = all->pdata[i];

                g_string_append_printf(out, "%s%s%s%s (%" G_GUINT64_FORMAT " times)", i ? ", " : "", same->len ? "" : item->actor, same->len ? "" : " → ",
                                       *item->object ? item->object : "no arguments", item->count);
        }
        if (all->len > EXPECTED)
                g_string_append_printf(out, " and %u more", all->len - EXPECTED);
}

char *bh_verdict_say(const BhModel *m, const BhVerdict *v, const BhAct *a) {
        g_autofree char *act = bh_act_say(a);
        const BhFacets *f = v->version->facets;
        GString *out = g_string_new(NULL);
        guint replicas = v->item ? bh_item_replicas(v->item) : 1;
        double hours = f->trials * m->scale->slot_ns / 3600e9;

        g_string_append_printf(out, "%s/%s: %s", m->application, m->workload, act);
        if (v->kind == BH_VERDICT_FORBIDDEN)
                g_string_append(out, ", which a person has forbidden");
        else if (v->kind == BH_VERDICT_REFUSED && a->why && *a->why)
                g_string_append_printf(out, ", which is not learned: %s", a->why);
        else
                g_string_append(out, v->version->shadow ? ", which neither the image before did nor most replicas do" : ", which is not in its model");
        g_string_append(out, ". ");

        gsize at = out->len;
        say_expected(out, v->version, a);
        out->str[at] = g_ascii_toupper(out->str[at]);
        g_string_append_printf(out, ". Seen in %u of %u replicas; after %.1f container-hours fewer than %.2g new %s an hour were to be expected.", replicas, MAX(v->version->running, replicas), hours,
                               bh_facet_upper(f->families[a->family].singles, f->families[a->family].doubles, f->trials) * 3600e9 / m->scale->slot_ns, bh_family_title(a->family));
        return g_string_free(out, FALSE);
}

char *bh_model_say_drift(const BhModel *m, const BhModelVersion *v) {
        g_autoptr(GPtrArray) all = g_ptr_array_new();
        GString *out = g_string_new(NULL);
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, v->facets->items);
        while (g_hash_table_iter_next(&it, &p, NULL))
                if (((BhItem *) p)->flags & BH_ITEM_DRIFT)
                        g_ptr_array_add(all, p);
        g_ptr_array_sort(all, by_risk);
        g_string_append_printf(out, "%s/%s: %s does %u thing%s that its model does not know, in most of its replicas: ", m->application, m->workload,
                               v->shadow ? "a new version" : "it", all->len, all->len == 1 ? "" : "s");
        for (guint i = 0; i < MIN(all->len, EXPECTED); i++) {
                const BhAct a = bh_item_act(all->pdata[i]);
                g_autofree char *act = bh_act_say(&a);

                g_string_append_printf(out, "%s%s", i ? "; " : "", act);
        }
        if (all->len > EXPECTED)
                g_string_append_printf(out, "; and %u more", all->len - EXPECTED);
        g_string_append_printf(out, ". Image %s.", *v->digest ? v->digest : "(digest not known)");
        return g_string_free(out, FALSE);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "net_alerts.h"

#include <string.h>

#include "ancestry.h"
#include "bus/body.h"
#include "bus/bus.pb-c.h"
#include "inventory.h"

typedef struct {
        char *key, *id;
        gint64 until_us, first_ns, last_ns;
        guint64 repeats; /* since it was told last */
        GBytes *sample; /* of the first that was not told at once; NULL: none, as of most */
} Window;

struct BhNetAlerts {
        char *node;
        void (*publish)(GBytes *body, gpointer data);
        gpointer data;
        GHashTable *windows; /* key → Window */
        GQueue open;         /* Window, in the order of their ends */
        gsize bytes;
        BhNetAlertsStats stats;
};

static void window_free(gpointer p) {
        Window *w = p;

        g_bytes_unref(w->sample);
        g_free(w->key);
        g_free(w->id);
        g_free(w);
}

BhNetAlerts *bh_net_alerts_new(const char *node, void (*publish)(GBytes *body, gpointer data), gpointer data) {
        BhNetAlerts *a = g_new0(BhNetAlerts, 1);

        a->node = g_strdup(node);
        a->publish = publish;
        a->data = data;
        a->windows = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, window_free);
        return a;
}

/* ---- alerts */

static BhNetField *add_field(BhNetAlert *alert, const char *name) {
        g_assert(alert->n_fields < BH_NET_ALERTS_FIELDS_MAX);
        BhNetField *f = &alert->fields[alert->n_fields++];

        *f = (BhNetField){ .name = name };
        return f;
}

void bh_net_alert_text(BhNetAlert *alert, const char *name, const char *text) {
        if (text && *text)
                add_field(alert, name)->text = text;
}

void bh_net_alert_number(BhNetAlert *alert, const char *name, gint64 number) {
        add_field(alert, name)->number = number;
}

void bh_net_alert_list(BhNetAlert *alert, const char *name, const char *const *list) {
        if (list && *list)
                add_field(alert, name)->list = list;
}

/* ---- bodies */

static void output_field_free(gpointer p) {
        Bulkhead__Bus__V1__OutputField *f = p;

        g_free(f->list);
        g_free(f);
}

static Bulkhead__Bus__V1__OutputField *output_field(const BhNetField *from) {
        Bulkhead__Bus__V1__OutputField *f = g_new(Bulkhead__Bus__V1__OutputField, 1);

        bulkhead__bus__v1__output_field__init(f);
        f->name = (char *) from->name;
        if (from->list) {
                f->type = BULKHEAD__BUS__V1__OUTPUT_FIELD__TYPE__TYPE_LIST;
                f->list = g_new0(ProtobufCBinaryData, BH_NET_ALERTS_LIST_MAX);
                for (; from->list[f->n_list] && f->n_list < BH_NET_ALERTS_LIST_MAX; f->n_list++)
                        f->list[f->n_list] = bh_bus_text(from->list[f->n_list]);
        } else if (from->text) {
                f->type = BULKHEAD__BUS__V1__OUTPUT_FIELD__TYPE__TYPE_TEXT;
                f->text = bh_bus_text(from->text);
        } else {
                f->type = BULKHEAD__BUS__V1__OUTPUT_FIELD__TYPE__TYPE_NUMBER;
                f->number = from->number;
        }
        return f;
}

static Bulkhead__Bus__V1__Container *container_of(const BhContainer *c) {
        g_autoptr(GBytes) body = c ? bh_inventory_container(c) : NULL;

        return body ? (void *) bh_bus_body_unpack(&bulkhead__bus__v1__container__descriptor, body, NULL) : NULL;
}

static GBytes *pack(const BhNetAlerts *a, const BhNetAlert *alert, const char *key, const struct bh_lineage *lineage) {
        g_autoptr(GPtrArray) fields = g_ptr_array_new_with_free_func(output_field_free), processes = g_ptr_array_new_with_free_func(g_free);
        ProtobufCBinaryData tags[16];
        Bulkhead__Bus__V1__Finding m;

        bulkhead__bus__v1__finding__init(&m);
        for (guint i = 0; i < alert->n_fields; i++)
                g_ptr_array_add(fields, output_field(&alert->fields[i]));
        for (; alert->tags && m.n_tags < G_N_ELEMENTS(tags) && alert->tags[m.n_tags]; m.n_tags++)
                tags[m.n_tags] = bh_bus_text(alert->tags[m.n_tags]);
        m.id = (char *) alert->id;
        m.time_ns = m.last_ns = alert->time_ns;
        m.rule = bh_bus_text(alert->rule);
        m.priority = (char *) alert->priority;
        m.source = (char *) alert->source;
        m.kind = (char *) alert->kind;
        m.output = bh_bus_text(alert->output);
        m.node = a->node;
        m.tags = tags;
        m.description = bh_bus_text(alert->description);
        m.advice = bh_bus_text(alert->advice);
        m.count = 1;
        m.fold_key = bh_bus_text(key);
        m.container = container_of(alert->container);
        m.lineage_cut = bh_ancestry_add(processes, alert->pid, alert->start, lineage);
        m.lineage = (Bulkhead__Bus__V1__Process **) processes->pdata;
        m.n_lineage = processes->len;
        m.output_fields = (Bulkhead__Bus__V1__OutputField **) fields->pdata;
        m.n_output_fields = fields->len;

        GBytes *body = bh_bus_body_pack(&m.base);
        if (m.container)
                bulkhead__bus__v1__container__free_unpacked(m.container, NULL);
        return body;
}

/* The body of one with the number and the times of all that were counted: another message of the same finding. */
static GBytes *pack_repeats(const Window *w) {
        Bulkhead__Bus__V1__Finding *m = (void *) bh_bus_body_unpack(&bulkhead__bus__v1__finding__descriptor, w->sample, NULL);

        g_assert(m); /* we made it */
        g_free(m->id);
        m->id = g_strdup_printf("%s-%" G_GINT64_MODIFIER "x", w->id, w->last_ns);
        m->count = w->repeats;
        m->time_ns = w->first_ns;
        m->last_ns = w->last_ns;
        GBytes *body = bh_bus_body_pack(&m->base);
        bulkhead__bus__v1__finding__free_unpacked(m, NULL);
        return body;
}

/* Read by other threads. */
static void count(guint64 *n) {
        __atomic_fetch_add(n, 1, __ATOMIC_RELAXED);
}

static void tell(BhNetAlerts *a, GBytes *body) {
        count(&a->stats.told);
        a->publish(body, a->data);
}

/* ---- folding */

void bh_net_alerts_add(BhNetAlerts *a, const BhNetAlert *alert, const struct bh_lineage *lineage, gint64 now_us) {
        const char *key = alert->key;
        Window *w = g_hash_table_lookup(a->windows, key);

        count(&a->stats.found);
        if (!w && (a->open.length >= BH_NET_ALERTS_KEYS || a->bytes >= BH_NET_ALERTS_BYTES)) {
                key = alert->coarse;
                w = g_hash_table_lookup(a->windows, key);
                if (!w && (a->open.length >= 2 * BH_NET_ALERTS_KEYS || a->bytes >= 2 * BH_NET_ALERTS_BYTES)) {
                        count(&a->stats.refused);
                        return;
                }
                count(&a->stats.coarse);
        }
        if (w && !w->sample && a->bytes >= 2 * BH_NET_ALERTS_BYTES) {
                count(&a->stats.refused);
                return;
        }
        if (w) {
                if (!w->sample) {
                        w->sample = pack(a, alert, w->key, lineage);
                        a->bytes += g_bytes_get_size(w->sample);
                }
                w->first_ns = w->repeats ? MIN(w->first_ns, alert->time_ns) : alert->time_ns;
                w->last_ns = w->repeats ? MAX(w->last_ns, alert->time_ns) : alert->time_ns;
                w->repeats++;
                count(&a->stats.repeated);
                return;
        }
        w = g_new0(Window, 1);
        w->key = g_strdup(key);
        w->id = g_strdup(alert->id);
        w->until_us = now_us + BH_NET_ALERTS_WINDOW_US;
        g_hash_table_insert(a->windows, w->key, w);
        g_queue_push_tail(&a->open, w);
        tell(a, pack(a, alert, key, lineage));
}

const char *bh_net_alerts_id(const BhNetAlerts *a, const char *key) {
        const Window *w = g_hash_table_lookup(a->windows, key);

        return w ? w->id : NULL;
}

void bh_net_alerts_round(BhNetAlerts *a, gint64 now_us) {
        while (a->open.head && ((Window *) a->open.head->data)->until_us <= now_us) {
                Window *w = g_queue_pop_head(&a->open);

                if (!w->repeats) {
                        a->bytes -= w->sample ? g_bytes_get_size(w->sample) : 0;
                        g_hash_table_remove(a->windows, w->key);
                        continue;
                }
                tell(a, pack_repeats(w));
                w->repeats = 0;
                w->until_us = now_us + BH_NET_ALERTS_WINDOW_US;
                g_queue_push_tail(&a->open, w);
        }
}

void bh_net_alerts_stats(const BhNetAlerts *a, BhNetAlertsStats *out) {
        *out = (BhNetAlertsStats) {
                .found = __atomic_load_n(&a->stats.found, __ATOMIC_RELAXED),
                .told = __atomic_load_n(&a->stats.told, __ATOMIC_RELAXED),
                .repeated = __atomic_load_n(&a->stats.repeated, __ATOMIC_RELAXED),
                .coarse = __atomic_load_n(&a->stats.coarse, __ATOMIC_RELAXED),
                .refused = __atomic_load_n(&a->stats.refused, __ATOMIC_RELAXED),
        };
}

void bh_net_alerts_free(BhNetAlerts *a) {
        if (!a)
                return;
        for (Window *w; (w = g_queue_pop_head(&a->open));)
                if (w->repeats)
                        tell(a, pack_repeats(w));
        g_hash_table_unref(a->windows);
        g_free(a->node);
        g_free(a);
}

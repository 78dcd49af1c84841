/* SPDX-License-Identifier: Apache-2.0 */
#include "findings.h"

#include "bus/body.h"
#include "bus/bus.pb-c.h"
#include "describe.h"

/* What tells two events of an action apart; anything else in them is how often or how much. */
static const char *const identity[] = { "type", "reason", "cgroup", "container", "state", "why", "end", "rule", "response" };

static const struct {
        const char *action, *rule, *priority;
} rules[] = {
#define BH_FINDING(action, rule, priority) { action, rule, priority },
#include "findings.tbl.h"
#undef BH_FINDING
};

typedef struct {
        char *key;
        guint rule;
        gint64 until_us;
        guint64 repeats, count; /* since the last one was told; count: the sum of their "count" */
        struct bh_event *event; /* the last of them; NULL: none in this window */
        GBytes *wire;
} Window;

struct BhFindings {
        GMutex lock;
        char *node;
        GHashTable *windows; /* key -> Window */
        GQueue open;         /* Window, in the order of their end */
        GQueue ready;        /* GBytes */
        guint64 ends; /* bodies of ends that were put into `ready` */
        BhFindingsStats stats;
};

static void window_free(gpointer p) {
        Window *w = p;

        g_clear_pointer(&w->wire, g_bytes_unref);
        g_free(w->event);
        g_free(w->key);
        g_free(w);
}

BhFindings *bh_findings_new(const char *node) {
        BhFindings *f = g_new0(BhFindings, 1);

        g_mutex_init(&f->lock);
        f->node = g_strdup(node);
        f->windows = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, window_free);
        g_queue_init(&f->open);
        g_queue_init(&f->ready);
        return f;
}

void bh_findings_free(BhFindings *f) {
        if (!f)
                return;
        g_queue_clear(&f->open);
        g_hash_table_unref(f->windows);
        g_queue_clear_full(&f->ready, (GDestroyNotify) g_bytes_unref);
        g_mutex_clear(&f->lock);
        g_free(f->node);
        g_free(f);
}

/* ---- bodies ---- */

static ProtobufCBinaryData data_of(struct bh_str s) {
        return (ProtobufCBinaryData){ .len = s.len, .data = (uint8_t *) s.p };
}

static GBytes *pack(const BhFindings *f, guint rule, const struct bh_event *e, GBytes *wire, guint64 repeats, guint64 count) {
        const char *end = bh_describe_attribute(e, "end");
        g_autofree char *id = end ? g_strdup_printf("%s-end-%.64s", f->node, end) : g_strdup_printf("%s-%" G_GUINT64_FORMAT "-%" G_GINT64_MODIFIER "x", f->node, e->id, e->time);
        g_autofree char *number = g_strdup_printf("%" G_GUINT64_FORMAT, repeats), *sum = g_strdup_printf("%" G_GUINT64_FORMAT, count);
        g_autoptr(GPtrArray) fields = g_ptr_array_new_with_free_func(g_free);
        const char *id_of = bh_describe_attribute(e, "container"), *name_of = bh_describe_attribute(e, "container_name"), *key, *value;
        ProtobufCBinaryData tag = bh_bus_text("sensor");
        struct bh_str rest = bh_event_has(e, BH_F_attributes) ? e->attributes : (struct bh_str){ "", 0 };
        Bulkhead__Bus__V1__Finding m;
        gsize len;

        bulkhead__bus__v1__finding__init(&m);
        while (bh_describe_next(&rest, &key, &value)) {
                Bulkhead__Bus__V1__KeyValue *kv = g_new(Bulkhead__Bus__V1__KeyValue, 1);

                bulkhead__bus__v1__key_value__init(kv);
                kv->key = bh_bus_text(key);
                kv->value = bh_bus_text(strcmp(key, "count") == 0 && count ? sum : value);
                g_ptr_array_add(fields, kv);
        }

        Bulkhead__Bus__V1__KeyValue times;
        bulkhead__bus__v1__key_value__init(&times);
        times.key = bh_bus_text("repeats");
        times.value = bh_bus_text(number);
        m.id = id;
        m.time_ns = (gint64) e->time;
        m.rule = bh_bus_text(rules[rule].rule);
        m.priority = (char *) rules[rule].priority;
        m.source = (char *) "sensor";
        if (bh_event_has(e, BH_F_message))
                m.output = data_of(e->message);
        m.node = f->node;
        m.kind = (char *) "sensor";
        m.count = repeats;
        m.container_id = bh_bus_text(id_of);
        m.container_name = bh_bus_text(name_of);
        m.tags = &tag;
        m.n_tags = 1;
        m.event.data = (uint8_t *) g_bytes_get_data(wire, &len);
        m.event.len = len;
        m.n_fields = fields->len + 1;
        g_ptr_array_add(fields, NULL);
        m.fields = (Bulkhead__Bus__V1__KeyValue **) fields->pdata;
        m.fields[m.n_fields - 1] = &times;

        GBytes *body = bh_bus_body_pack(&m.base);
        m.fields[m.n_fields - 1] = NULL;
        return body;
}

static void ready(BhFindings *f, GBytes *body, gboolean end) {
        if (f->ready.length >= BH_FINDINGS_WAITING) {
                f->stats.refused++;
                g_bytes_unref(body);
                return;
        }
        g_queue_push_tail(&f->ready, body);
        f->ends += end;
}

static int rule_of(const struct bh_event *e) {
        if (e->type != BH_EV_SENSOR || !bh_event_has(e, BH_F_action))
                return -1;
        for (guint i = 0; i < G_N_ELEMENTS(rules); i++)
                if (strlen(rules[i].action) == e->action.len && memcmp(rules[i].action, e->action.p, e->action.len) == 0)
                        return (int) i;
        return -1;
}

gboolean bh_findings_event(BhFindings *f, const struct bh_event *e, const guint8 *wire, guint32 wire_len, gint64 now_us) {
        int rule = rule_of(e);

        if (rule < 0)
                return FALSE;

        const char *counted = bh_describe_attribute(e, "count");
        guint64 count = counted ? g_ascii_strtoull(counted, NULL, 10) : 0;
        GString *key = g_string_new(rules[rule].action);

        g_mutex_lock(&f->lock);
        f->stats.events++;
        if (f->open.length < BH_FINDINGS_KEYS) {
                for (guint i = 0; i < G_N_ELEMENTS(identity); i++) {
                        const char *value = bh_describe_attribute(e, identity[i]);

                        g_string_append_printf(key, "\n%s", value ? value : "");
                }
        }

        Window *w = g_hash_table_lookup(f->windows, key->str);
        if (w) {
                g_free(w->event);
                g_clear_pointer(&w->wire, g_bytes_unref);
                w->event = bh_event_copy(e);
                w->wire = g_bytes_new(wire, wire_len);
                w->repeats++;
                w->count += count;
                f->stats.repeated++;
        } else {
                g_autoptr(GBytes) bytes = g_bytes_new(wire, wire_len);

                w = g_new0(Window, 1);
                w->key = g_strdup(key->str);
                w->rule = (guint) rule;
                w->until_us = now_us + BH_FINDINGS_WINDOW_US;
                g_hash_table_insert(f->windows, w->key, w);
                g_queue_push_tail(&f->open, w);
                ready(f, pack(f, (guint) rule, e, bytes, 1, count), bh_describe_attribute(e, "end") != NULL);
        }
        g_mutex_unlock(&f->lock);
        g_string_free(key, TRUE);
        return TRUE;
}

GBytes *bh_findings_take(BhFindings *f, gboolean all, gint64 now_us) {
        g_mutex_lock(&f->lock);
        while (!f->ready.length && f->open.head && (all || ((Window *) f->open.head->data)->until_us <= now_us)) {
                Window *w = g_queue_pop_head(&f->open);

                if (!w->event) {
                        g_hash_table_remove(f->windows, w->key);
                        continue;
                }
                ready(f, pack(f, w->rule, w->event, w->wire, w->repeats, w->count), FALSE);
                g_clear_pointer(&w->event, g_free);
                g_clear_pointer(&w->wire, g_bytes_unref);
                w->repeats = w->count = 0;
                w->until_us = now_us + BH_FINDINGS_WINDOW_US;
                g_queue_push_tail(&f->open, w);
        }

        GBytes *body = g_queue_pop_head(&f->ready);
        f->stats.told += body != NULL;
        if (!f->ready.length)
                f->stats.ends = f->ends;
        g_mutex_unlock(&f->lock);
        return body;
}

void bh_findings_stats(BhFindings *f, BhFindingsStats *out) {
        g_mutex_lock(&f->lock);
        *out = f->stats;
        g_mutex_unlock(&f->lock);
}

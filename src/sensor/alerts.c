/* SPDX-License-Identifier: Apache-2.0 */
#include "alerts.h"

#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#define XXH_STATIC_LINKING_ONLY /* a state on the stack */
#include <xxhash.h>

#include "ancestry.h"
#include "base/fdio.h"
#include "bus/body.h"
#include "bus/bus.pb-c.h"
#include "inventory.h"

#define ADVICE_MARK "What to do:" /* in a rule's description: what follows is advice */

/* What is equal and still counted. The first one's alert is kept, so that the number can be told with it. */
typedef struct {
        guint64 key;
        gint64 until_us;
        guint64 repeats; /* since the last one was told */
        guint64 first_ns, last_ns; /* of the repeats */
        GBytes *sample; /* the body of the first */
        char *id;       /* of its finding */
} Window;

struct BhAlerts {
        BhAlertsTold told; /* NULL: nobody wants to know */
        gpointer told_data;
        BhAlertsTold matched; /* the same */
        gpointer matched_data;
        GMutex lock;
        char *node, *boot_id;
        BhContainerTable *containers;
        guint64 seed;
        GHashTable *windows; /* key -> Window */
        GQueue open;         /* Window, in the order of their end */
        GQueue ready;        /* GBytes */
        GString *output, *fields; /* the drain thread's */
        gsize sample_bytes;
        BhAlertsStats stats;
};

static void window_free(gpointer p) {
        Window *w = p;

        g_clear_pointer(&w->sample, g_bytes_unref);
        g_free(w->id);
        g_free(w);
}

BhAlerts *bh_alerts_new(BhContainerTable *containers, guint64 seed) {
        BhAlerts *a = g_new0(BhAlerts, 1);

        g_mutex_init(&a->lock);
        a->node = g_strdup("");
        a->containers = containers;
        a->seed = seed;
        a->boot_id = bh_file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, NULL, NULL, NULL);
        if (!a->boot_id)
                a->boot_id = g_strdup("unknown");
        a->windows = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, window_free);
        a->output = g_string_sized_new(1024);
        a->fields = g_string_sized_new(4096);
        g_queue_init(&a->open);
        g_queue_init(&a->ready);
        return a;
}

void bh_alerts_tell(BhAlerts *a, BhAlertsTold told, gpointer data) {
        a->told = told;
        a->told_data = data;
}

void bh_alerts_watch(BhAlerts *a, BhAlertsTold matched, gpointer data) {
        a->matched = matched;
        a->matched_data = data;
}

void bh_alerts_free(BhAlerts *a) {
        if (!a)
                return;
        g_queue_clear(&a->open);
        g_hash_table_unref(a->windows);
        g_queue_clear_full(&a->ready, (GDestroyNotify) g_bytes_unref);
        g_mutex_clear(&a->lock);
        g_string_free(a->output, TRUE);
        g_string_free(a->fields, TRUE);
        g_free(a->node);
        g_free(a->boot_id);
        g_free(a);
}

void bh_alerts_name(BhAlerts *a, const char *node) {
        g_free(a->node);
        a->node = g_strdup(node);
}

/* ---- what is equal ---- */

static void hash_text(XXH3_state_t *h, const struct bh_event *e, enum bh_field f, const struct bh_str *s) {
        guint32 len = bh_event_has(e, f) ? s->len : G_MAXUINT32;

        XXH3_64bits_update(h, &len, sizeof(len));
        if (len != G_MAXUINT32)
                XXH3_64bits_update(h, s->p, len);
}

static void hash_number(XXH3_state_t *h, const struct bh_event *e, enum bh_field f, guint64 n) {
        n = bh_event_has(e, f) ? n : G_MAXUINT64;
        XXH3_64bits_update(h, &n, sizeof(n));
}

/* How much of an event tells it from others: all that matters, its container, nothing. */
enum detail { DETAIL_OBJECT, DETAIL_CONTAINER, DETAIL_RULE };

static guint64 key_of(guint64 seed, const struct bh_event *e, const char *rule, enum detail detail) {
        XXH3_state_t h;

        XXH3_INITSTATE(&h); /* a seed that is there already is taken for one whose secret is there as well */
        XXH3_64bits_reset_withSeed(&h, seed);
        XXH3_64bits_update(&h, rule, strlen(rule));
        XXH3_64bits_update(&h, &detail, sizeof(detail));
        if (detail < DETAIL_RULE) {
                hash_text(&h, e, BH_F_container_id, &e->container_id);
                /* what two containers' processes do on the node is not one act */
                hash_text(&h, e, BH_F_origin_id, &e->origin_id);
        }
        if (detail < DETAIL_CONTAINER) {
                hash_number(&h, e, BH_F_type, e->type);
                hash_text(&h, e, BH_F_exe, &e->exe);
                hash_text(&h, e, BH_F_parent_exe, &e->parent_exe);
                hash_text(&h, e, BH_F_path, &e->path);
                hash_text(&h, e, BH_F_path2, &e->path2);
                if (bh_event_has(e, BH_F_raddr))
                        XXH3_64bits_update(&h, e->raddr.b, e->raddr.len);
                hash_number(&h, e, BH_F_rport, e->rport);
                hash_text(&h, e, BH_F_target_exe, &e->target_exe);
                hash_text(&h, e, BH_F_target_container_id, &e->target_container_id);
                hash_text(&h, e, BH_F_action, &e->action);
        }
        return XXH3_64bits_digest(&h);
}

/* ---- bodies ---- */

static ProtobufCBinaryData data_of(struct bh_str s) {
        return (ProtobufCBinaryData){ .len = s.len, .data = (uint8_t *) s.p };
}

static ProtobufCBinaryData data_if(const struct bh_event *e, enum bh_field f, struct bh_str s) {
        return bh_event_has(e, f) ? data_of(s) : (ProtobufCBinaryData){ 0, NULL };
}

static void output_field_free(gpointer p) {
        Bulkhead__Bus__V1__OutputField *f = p;

        g_free(f->list);
        g_free(f);
}

/* Text of a JSON string; it belongs to the value. */
static ProtobufCBinaryData json_data(const json_t *v) {
        return (ProtobufCBinaryData){ .len = json_string_length(v), .data = (uint8_t *) json_string_value(v) };
}

static Bulkhead__Bus__V1__OutputField *output_field(const char *name, json_t *v) {
        Bulkhead__Bus__V1__OutputField *f = g_new(Bulkhead__Bus__V1__OutputField, 1);
        json_t *item;
        size_t i;

        bulkhead__bus__v1__output_field__init(f);
        f->name = (char *) name;
        switch (json_typeof(v)) {
        case JSON_STRING:
                f->type = BULKHEAD__BUS__V1__OUTPUT_FIELD__TYPE__TYPE_TEXT;
                f->text = json_data(v);
                break;
        case JSON_INTEGER:
                f->type = BULKHEAD__BUS__V1__OUTPUT_FIELD__TYPE__TYPE_NUMBER;
                f->number = json_integer_value(v);
                break;
        case JSON_REAL:
                f->type = BULKHEAD__BUS__V1__OUTPUT_FIELD__TYPE__TYPE_REAL;
                f->real = json_real_value(v);
                break;
        case JSON_TRUE:
        case JSON_FALSE:
                f->type = BULKHEAD__BUS__V1__OUTPUT_FIELD__TYPE__TYPE_TRUTH;
                f->truth = json_is_true(v);
                break;
        case JSON_ARRAY:
                f->type = BULKHEAD__BUS__V1__OUTPUT_FIELD__TYPE__TYPE_LIST;
                f->list = g_new0(ProtobufCBinaryData, json_array_size(v) + 1);
                json_array_foreach(v, i, item)
                        if (json_is_string(item))
                                f->list[f->n_list++] = json_data(item);
                break;
        default: /* null, and what no field is */
                break;
        }
        return f;
}

/* The acting process and those that it descends from. */
static gboolean add_lineage(GPtrArray *out, const struct bh_event *e, const struct bh_lineage *lineage) {
        return bh_event_has(e, BH_F_pid) && bh_ancestry_add(out, e->pid, bh_event_has(e, BH_F_proc_start) ? e->proc_start : 0, lineage);
}

/* As it is described now, with everything; NULL: none, or not known. Free with bulkhead__bus__v1__container__free_unpacked(). */
static Bulkhead__Bus__V1__Container *container_of(const BhAlerts *a, const struct bh_event *e) {
        if (!a->containers || !bh_event_has(e, BH_F_container_id))
                return NULL;

        g_autofree char *id = g_strndup(e->container_id.p, e->container_id.len);
        g_autoptr(BhContainer) c = bh_container_table_get(a->containers, id);
        g_autoptr(GBytes) body = c ? bh_inventory_container(c) : NULL;
        return body ? (void *) bh_bus_body_unpack(&bulkhead__bus__v1__container__descriptor, body, NULL) : NULL;
}

/* "What to do: …" at a description's end is advice. */
static void set_description(Bulkhead__Bus__V1__Finding *m, const char *desc) {
        const char *advice = desc ? g_strstr_len(desc, -1, ADVICE_MARK) : NULL;

        m->description = bh_bus_text(desc);
        if (!advice)
                return;
        m->description.len = (gsize) (advice - desc);
        while (m->description.len && g_ascii_isspace(desc[m->description.len - 1]))
                m->description.len--;
        for (advice += strlen(ADVICE_MARK); g_ascii_isspace(*advice); advice++)
                ;
        m->advice = bh_bus_text(advice);
}

/*
 * By what the kernel says of the act, and not by the event's number: a sensor that takes over from a killed one may number an event anew that was told already.
 */
static char *id_of(const BhAlerts *a, const BhRule *rule, const struct bh_event *e) {
        guint32 hash = (guint32) XXH3_64bits(rule->name, strlen(rule->name));

        if (!bh_event_has(e, BH_F_boottime) || !bh_event_has(e, BH_F_pid))
                return g_strdup_printf("%s-%" G_GUINT64_FORMAT "-%" G_GINT64_MODIFIER "x-%08x", a->node, e->id, e->time, hash);
        return g_strdup_printf("%s-%.8s-%" G_GINT64_MODIFIER "x-%x-%08x", a->node, a->boot_id, e->boottime, bh_event_has(e, BH_F_tid) ? e->tid : e->pid, hash);
}

static GBytes *pack(const BhAlerts *a, const BhRule *rule, guint64 key, const struct bh_event *e, const guint8 *wire, guint32 wire_len, const struct bh_lineage *lineage) {
        g_autofree char *id = id_of(a, rule, e);
        g_autoptr(GPtrArray) fields = g_ptr_array_new_with_free_func(output_field_free), processes = g_ptr_array_new_with_free_func(g_free), tags = g_ptr_array_new();
        g_autofree ProtobufCBinaryData *tag_data = g_new0(ProtobufCBinaryData, rule->tags->len + 1);
        json_auto_t *values = json_loadb(a->fields->str, a->fields->len, JSON_ALLOW_NUL, NULL);
        g_autofree char *fold = g_strdup_printf("%016" G_GINT64_MODIFIER "x", key);
        Bulkhead__Bus__V1__Finding m;
        const char *name;
        json_t *value;

        bulkhead__bus__v1__finding__init(&m);
        json_object_foreach(values, name, value)
                g_ptr_array_add(fields, output_field(name, value));
        for (guint i = 0; i < rule->tags->len; i++)
                tag_data[i] = bh_bus_text(g_ptr_array_index(rule->tags, i));
        m.id = id;
        m.kind = (char *) "rule";
        m.time_ns = m.last_ns = (gint64) e->time;
        m.rule = bh_bus_text(rule->name);
        m.priority = (char *) bh_priority_name(rule->priority);
        m.source = rule->source;
        m.output = (ProtobufCBinaryData){ .len = a->output->len, .data = (uint8_t *) a->output->str };
        m.node = a->node;
        m.container_id = data_if(e, BH_F_container_id, e->container_id);
        m.container_name = data_if(e, BH_F_container_name, e->container_name);
        m.workload = data_if(e, BH_F_workload, e->workload);
        m.application = data_if(e, BH_F_application, e->application);
        m.tags = tag_data;
        m.n_tags = rule->tags->len;
        m.event = (ProtobufCBinaryData){ .len = wire_len, .data = (uint8_t *) wire };
        set_description(&m, rule->desc);
        m.count = 1;
        m.fold_key = bh_bus_text(fold);
        m.container = container_of(a, e);
        m.lineage_cut = add_lineage(processes, e, lineage);
        m.lineage = (Bulkhead__Bus__V1__Process **) processes->pdata;
        m.n_lineage = processes->len;
        m.output_fields = (Bulkhead__Bus__V1__OutputField **) fields->pdata;
        m.n_output_fields = fields->len;

        GBytes *body = bh_bus_body_pack(&m.base);
        if (m.container)
                bulkhead__bus__v1__container__free_unpacked(m.container, NULL);
        return body;
}

/* The first one's body again, with the number and the time of those that came after it. Its number makes it another message of the same finding. */
static GBytes *pack_repeats(const Window *w) {
        g_autoptr(GError) error = NULL;
        Bulkhead__Bus__V1__Finding *m = (void *) bh_bus_body_unpack(&bulkhead__bus__v1__finding__descriptor, w->sample, &error);
        GBytes *body;

        g_assert(m); /* we made it */
        g_autofree char *first = g_steal_pointer(&m->id);
        m->id = g_strdup_printf("%s-%" G_GINT64_MODIFIER "x", first, w->last_ns); /* another message */
        m->count = w->repeats;
        m->time_ns = (gint64) w->first_ns;
        m->last_ns = (gint64) w->last_ns;
        body = bh_bus_body_pack(&m->base);
        bulkhead__bus__v1__finding__free_unpacked(m, NULL);
        return body;
}

/* ---- matches ---- */

/* The window that the match falls into, or NULL and the key of the one to be made: in less detail, the more there are already. */
static Window *find(BhAlerts *a, const struct bh_event *e, const char *rule, guint64 *key) {
        guint open = a->open.length;
        gsize bytes = a->sample_bytes;
        enum detail wanted = open < BH_ALERTS_KEYS && bytes < BH_ALERTS_BYTES ? DETAIL_OBJECT : open < 2 * BH_ALERTS_KEYS && bytes < 2 * BH_ALERTS_BYTES ? DETAIL_CONTAINER : DETAIL_RULE;
        Window *w = NULL;

        for (enum detail d = DETAIL_OBJECT; d <= wanted && !w; d++) {
                *key = key_of(a->seed, e, rule, d);
                w = g_hash_table_lookup(a->windows, key);
        }
        return w;
}

gboolean bh_alerts_match(BhAlerts *a, BhRuleRun *run, const BhRuleEngine *engine, const BhRule *rule, guint32 number, const struct bh_event *e,
                         const guint8 *wire, guint32 wire_len, const struct bh_lineage *lineage, gint64 now_us) {
        g_mutex_lock(&a->lock);
        guint64 key;
        Window *w = find(a, e, rule->name, &key);

        a->stats.matches += e->count > 1 ? e->count : 1;
        if (a->matched) { /* within the lock: what was found stays */
                g_autofree char *id = w ? NULL : id_of(a, rule, e);

                a->matched(rule, w ? w->id : id, e, a->matched_data);
        }
        if (w) {
                if (!w->repeats)
                        w->first_ns = e->time;
                w->repeats += e->count > 1 ? e->count : 1;
                w->last_ns = MAX(w->last_ns, e->time);
                a->stats.repeated++;
                g_mutex_unlock(&a->lock);
                return FALSE;
        }
        if (a->ready.length >= BH_ALERTS_WAITING) {
                a->stats.refused++;
                g_mutex_unlock(&a->lock);
                return TRUE;
        }
        g_mutex_unlock(&a->lock);

        /* formatted outside of the lock: only this thread makes windows */
        g_string_truncate(a->output, 0);
        g_string_truncate(a->fields, 0);
        bh_rule_run_output(run, engine, number, a->output, a->fields);

        w = g_new0(Window, 1);
        w->key = key;
        w->until_us = now_us + BH_ALERTS_WINDOW_US;
        w->first_ns = w->last_ns = e->time;
        w->repeats = e->count > 1 ? e->count - 1 : 0;
        w->sample = pack(a, rule, key, e, wire, wire_len, lineage);
        w->id = id_of(a, rule, e);
        if (a->told)
                a->told(rule, w->id, e, a->told_data);
        g_mutex_lock(&a->lock);
        g_hash_table_insert(a->windows, &w->key, w);
        g_queue_push_tail(&a->open, w);
        a->sample_bytes += g_bytes_get_size(w->sample);
        g_queue_push_tail(&a->ready, g_bytes_ref(w->sample));
        g_mutex_unlock(&a->lock);
        return TRUE;
}

GBytes *bh_alerts_take(BhAlerts *a, gboolean all, gint64 now_us) {
        g_mutex_lock(&a->lock);
        while (!a->ready.length && a->open.head && (all || ((Window *) a->open.head->data)->until_us <= now_us)) {
                Window *w = g_queue_pop_head(&a->open);

                if (!w->repeats) {
                        a->sample_bytes -= g_bytes_get_size(w->sample);
                        g_hash_table_remove(a->windows, &w->key);
                        continue;
                }
                g_queue_push_tail(&a->ready, pack_repeats(w));
                w->repeats = 0;
                w->until_us = now_us + BH_ALERTS_WINDOW_US;
                g_queue_push_tail(&a->open, w);
        }

        GBytes *body = g_queue_pop_head(&a->ready);
        a->stats.told += body != NULL;
        g_mutex_unlock(&a->lock);
        return body;
}

void bh_alerts_settle(BhAlerts *a) {
        g_mutex_lock(&a->lock);
        for (Window *w; (w = g_queue_pop_head(&a->open)); ) {
                if (w->repeats)
                        g_queue_push_tail(&a->ready, pack_repeats(w));
                a->sample_bytes -= g_bytes_get_size(w->sample);
                g_hash_table_remove(a->windows, &w->key);
        }
        g_mutex_unlock(&a->lock);
}

void bh_alerts_stats(BhAlerts *a, BhAlertsStats *out) {
        g_mutex_lock(&a->lock);
        *out = a->stats;
        out->windows = a->open.length;
        g_mutex_unlock(&a->lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "base/escape.h"
#include "bus/body.h"
#include "event/codec.h"
#include "ingest_private.h"
#include "json_out.h"
#include "views.h"

static const char *or_else(const char *text, const char *otherwise) {
        return *text ? text : otherwise;
}

/* One of the eight, as the API writes them; Falco's rule files also say "info". What is none of them stays as it is. */
static const char *priority_of(const char *text) {
        static const char *const names[] = { "emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug" };

        if (g_ascii_strcasecmp(text, "info") == 0)
                return "informational";
        for (guint i = 0; i < G_N_ELEMENTS(names); i++)
                if (g_ascii_strcasecmp(text, names[i]) == 0)
                        return names[i];
        return text;
}

/* Whole: a NUL does not end it, it is shown. */
static char *whole_text(BhIngestArena *a, ProtobufCBinaryData b) {
        GString *out = g_string_sized_new(b.len + 1);

        for (gsize i = 0; i < b.len; i++)
                b.data[i] ? g_string_append_c(out, (char) b.data[i]) : g_string_append(out, "\\x00");
        return bh_ingest_keep(a, g_string_free(out, FALSE));
}

/* ---- output_fields ---- */

static void append_value(GString *out, const Bulkhead__Bus__V1__OutputField *f) {
        char number[G_ASCII_DTOSTR_BUF_SIZE];

        switch (f->type) {
        case BULKHEAD__BUS__V1__OUTPUT_FIELD__TYPE__TYPE_TEXT:
                bh_escape_append_json(out, f->text.data ? (const char *) f->text.data : "", (gssize) f->text.len);
                break;
        case BULKHEAD__BUS__V1__OUTPUT_FIELD__TYPE__TYPE_NUMBER:
                g_string_append_printf(out, "%" G_GINT64_FORMAT, f->number);
                break;
        case BULKHEAD__BUS__V1__OUTPUT_FIELD__TYPE__TYPE_NATURAL:
                /* many readers of JSON refuse what is over 63 bits, and the whole object with it */
                g_string_append_printf(out, f->natural > G_MAXINT64 ? "\"%" G_GUINT64_FORMAT "\"" : "%" G_GUINT64_FORMAT, f->natural);
                break;
        case BULKHEAD__BUS__V1__OUTPUT_FIELD__TYPE__TYPE_TRUTH:
                g_string_append(out, f->truth ? "true" : "false");
                break;
        case BULKHEAD__BUS__V1__OUTPUT_FIELD__TYPE__TYPE_REAL:
                /* JSON has neither infinity nor NaN */
                g_string_append(out, isfinite(f->real) ? g_ascii_dtostr(number, sizeof(number), f->real) : "null");
                break;
        case BULKHEAD__BUS__V1__OUTPUT_FIELD__TYPE__TYPE_LIST:
                g_string_append_c(out, '[');
                for (gsize i = 0; i < f->n_list; i++) {
                        if (i)
                                g_string_append_c(out, ',');
                        bh_escape_append_json(out, f->list[i].data ? (const char *) f->list[i].data : "", (gssize) f->list[i].len);
                }
                g_string_append_c(out, ']');
                break;
        default:
                g_string_append(out, "null");
        }
        g_string_append_c(out, ',');
}

static char *fields_of(BhIngestArena *a, const Bulkhead__Bus__V1__Finding *m) {
        /* an object with a key twice is read differently by different readers: the first one counts */
        g_autoptr(GHashTable) seen = g_hash_table_new_full(g_bytes_hash, g_bytes_equal, (GDestroyNotify) g_bytes_unref, NULL);
        GString *out = g_string_new("{");

        for (gsize i = 0; i < m->n_output_fields; i++) {
                const Bulkhead__Bus__V1__OutputField *f = m->output_fields[i];

                if (!g_hash_table_add(seen, g_bytes_new(f->name, strlen(f->name))))
                        continue;
                bh_escape_append_json(out, f->name, -1);
                g_string_append_c(out, ':');
                append_value(out, f);
        }
        for (gsize i = 0; i < m->n_fields; i++) {
                const Bulkhead__Bus__V1__KeyValue *f = m->fields[i];

                if (!g_hash_table_add(seen, g_bytes_new(f->key.data, f->key.len)))
                        continue;
                bh_escape_append_json(out, f->key.data ? (const char *) f->key.data : "", (gssize) f->key.len);
                g_string_append_c(out, ':');
                bh_escape_append_json(out, f->value.data ? (const char *) f->value.data : "", (gssize) f->value.len);
                g_string_append_c(out, ',');
        }
        bh_json_end(out);
        g_string_append_c(out, '}');
        return bh_ingest_keep(a, g_string_free(out, FALSE));
}

/* ---- lineage and container ---- */

static void append_text(GString *out, const char *key, ProtobufCBinaryData b) {
        g_string_append_printf(out, "\"%s\":", key);
        bh_escape_append_json(out, b.data ? (const char *) b.data : "", (gssize) b.len);
        g_string_append_c(out, ',');
}

static void append_process(GString *out, const Bulkhead__Bus__V1__Process *p) {
        bh_json_open(out, NULL, '{');
        bh_json_uint(out, "pid", p->pid);
        bh_json_uint(out, "vpid", p->vpid);
        bh_json_uint(out, "ppid", p->ppid);
        bh_json_time(out, "started", p->started_ns);
        append_text(out, "container_id", p->container_id);
        append_text(out, "origin_id", p->origin_id);
        append_text(out, "comm", p->comm);
        append_text(out, "exe", p->exe);
        bh_json_open(out, "args", '[');
        for (gsize i = 0; i < p->args.len;) {
                gsize n = strnlen((const char *) p->args.data + i, p->args.len - i);

                bh_escape_append_json(out, (const char *) p->args.data + i, (gssize) n);
                g_string_append_c(out, ',');
                i += n + 1;
        }
        bh_json_close(out, ']');
        bh_json_uint(out, "uid", p->uid);
        bh_json_uint(out, "gid", p->gid);
        append_text(out, "user", p->user);
        append_text(out, "group", p->group);
        bh_json_close(out, '}');
}

/* Over the store's bound of a list the oldest ancestors go, not all: who acted is worth more than who began. */
static char *lineage_of(BhIngestArena *a, const Bulkhead__Bus__V1__Finding *m) {
        GString *out = g_string_new("[");
        gboolean cut = m->lineage_cut;

        if (!m->n_lineage) {
                g_string_free(out, TRUE);
                return (char *) "";
        }
        for (gsize i = 0; i < m->n_lineage; i++) {
                gsize before = out->len;

                append_process(out, m->lineage[i]);
                if (i < BH_INGEST_LINEAGE && out->len < BH_STORE_JSON_MAX - 64)
                        continue;
                g_string_truncate(out, before);
                cut = TRUE;
                break;
        }
        if (cut)
                g_string_append(out, "null,");
        bh_json_end(out);
        g_string_append_c(out, ']');
        return bh_ingest_keep(a, g_string_free(out, FALSE));
}

static char *container_of(BhIngestArena *a, const char *node, const Bulkhead__Bus__V1__Finding *m) {
        GString *out = g_string_new(NULL);
        BhStoreContainer c;

        bh_ingest_container(a, m->container, &c);
        c.node = (char *) node;
        bh_view_container(out, NULL, &c);
        bh_json_end(out);
        return bh_ingest_keep(a, g_string_free(out, FALSE));
}

/* ---- what makes findings equal ---- */

static void add_part(GString *key, gboolean has, struct bh_str s) {
        g_string_append_c(key, '\n');
        if (has)
                g_string_append_len(key, s.p, s.len);
}

/* Executable and object of the event. Only what tells apart, not how often or when: no pid, no port of the caller's end. */
static char *fold_of(BhIngestArena *a, const Bulkhead__Bus__V1__Finding *m) {
        GString *key;
        struct bh_event e;

        if (m->fold_key.len) {
                /* a hash or anything else: every byte counts */
                key = g_string_sized_new(2 * m->fold_key.len);
                for (gsize i = 0; i < m->fold_key.len; i++)
                        m->fold_key.data[i] && m->fold_key.data[i] != '\\' ? g_string_append_c(key, (char) m->fold_key.data[i])
                                                                           : g_string_append_printf(key, "\\%02x", m->fold_key.data[i]);
                return bh_ingest_keep(a, g_string_free(key, FALSE));
        }
        if (!m->event.len || !bh_event_decode(&e, m->event.data, m->event.len, NULL))
                return NULL;
        const char *type = bh_event_has(&e, BH_F_type) ? bh_event_type_name(e.type) : NULL;

        key = g_string_new(type ? type : "");
        add_part(key, bh_event_has(&e, BH_F_exe), e.exe);
        add_part(key, bh_event_has(&e, BH_F_path), e.path);
        add_part(key, bh_event_has(&e, BH_F_path2), e.path2);
        add_part(key, bh_event_has(&e, BH_F_target_exe), e.target_exe);
        add_part(key, bh_event_has(&e, BH_F_origin_id), e.origin_id);
        if (bh_event_has(&e, BH_F_raddr))
                for (guint i = 0; i < MIN(e.raddr.len, sizeof(e.raddr.b)); i++)
                        g_string_append_printf(key, "%02x", e.raddr.b[i]);
        if (bh_event_has(&e, BH_F_rport))
                g_string_append_printf(key, ":%u", e.rport);
        for (gsize i = 0; i < key->len; i++)
                if (!key->str[i])
                        key->str[i] = 1; /* it becomes a C text */
        return bh_ingest_keep(a, g_string_free(key, FALSE));
}

void bh_ingest_finding(BhIngestArena *a, const char *node, const Bulkhead__Bus__V1__Finding *m, BhStoreFinding *out) {
        static const Bulkhead__Bus__V1__Container none = BULKHEAD__BUS__V1__CONTAINER__INIT;
        const Bulkhead__Bus__V1__Container *c = m->container ? m->container : &none;
        gboolean of_sensor = *m->kind ? g_str_equal(m->kind, "sensor") : g_str_equal(m->source, "sensor");

        *out = (BhStoreFinding){
                .id = m->id,
                .time_ns = m->time_ns,
                .rule = bh_ingest_text(a, m->rule),
                .priority = (char *) priority_of(m->priority),
                .source = m->source,
                .output = whole_text(a, m->output),
                .container_id = (char *) or_else(bh_ingest_text(a, m->container_id), bh_ingest_text(a, c->id)),
                .container_name = (char *) or_else(bh_ingest_text(a, m->container_name), bh_ingest_text(a, c->name)),
                .workload = (char *) or_else(bh_ingest_text(a, m->workload), bh_ingest_text(a, c->workload)),
                .application = (char *) or_else(bh_ingest_text(a, m->application), bh_ingest_text(a, c->application)),
                .image = bh_ingest_text(a, c->image),
                .tags = bh_ingest_list(a, m->tags, m->n_tags),
                .fields = fields_of(a, m),
                .kind = (char *) or_else(m->kind, of_sensor ? "sensor" : "rule"),
                .hostname = bh_ingest_text(a, m->hostname),
                .description = whole_text(a, m->description),
                .advice = whole_text(a, m->advice),
                .container = m->container ? container_of(a, node, m) : NULL,
                .lineage = lineage_of(a, m),
                .count = m->count,
                .last_ns = m->last_ns,
                /* what the sensor says of itself it has folded already, each with numbers of its own */
                .fold = of_sensor && !m->fold_key.len ? NULL : fold_of(a, m),
        };
        if (m->event.len)
                out->event = g_bytes_new(m->event.data, m->event.len);
}

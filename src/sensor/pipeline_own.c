/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "describe.h"
#include "pipeline_private.h"

#define COMMIT_WAIT_MS 50

void bh_pipeline_tell(BhPipeline *p, const char *action, const char *text, const GByteArray *attributes) {
        struct bh_event e;

        bh_describe_begin(&e, BH_EV_SENSOR, BH_SOURCE_SENSOR, bh_pipeline_boottime() + p->c.clock.now, p->c.clock.now);
        BH_SET_STR(&e, action, action);
        BH_SET_STR(&e, message, text);
        if (attributes && attributes->len)
                BH_SET(&e, attributes, ((struct bh_str){ (const char *) attributes->data, attributes->len }));
        bh_pipeline_emit(p, &e, 0);
}

void bh_pipeline_tell_number(BhPipeline *p, const char *action, const char *text, const char *key, guint64 n) {
        g_autoptr(GByteArray) attributes = g_byte_array_new();
        g_autofree char *number = g_strdup_printf("%" G_GUINT64_FORMAT, n);

        bh_describe_pair(attributes, key, number);
        bh_pipeline_tell(p, action, text, attributes);
}

/* ---- what the kernel counted ---- */

static void repeat_record(const struct bh_rec *rec, guint32 len, gpointer data) {
        BhPipeline *p = data;

        bh_pipeline_process_record(p, rec, len, BH_RING_MAX, 0);
}

static void on_lost(const BhAccountNews *n, gpointer data) {
        BhPipeline *p = data;
        g_autoptr(GByteArray) attributes = g_byte_array_new();
        g_autofree char *count = g_strdup_printf("%" G_GUINT64_FORMAT, n->more), *group = g_strdup_printf("%" G_GUINT64_FORMAT, n->cgroup);
        g_autofree char *path = bh_container_table_path(p->c.containers, n->cgroup);
        g_auto(BhContainerLookup) l = { 0 };
        g_autofree char *text = g_strdup_printf("%s %s events were lost in the kernel: %s", count, bh_event_type_name(n->type), bh_lost_reason_name(n->reason));

        bh_container_table_lookup(p->c.containers, n->cgroup, &l);
        bh_describe_pair(attributes, "type", bh_event_type_name(n->type));
        bh_describe_pair(attributes, "reason", bh_lost_reason_name(n->reason));
        bh_describe_pair(attributes, "count", count);
        bh_describe_pair(attributes, "cgroup", group);
        if (path)
                bh_describe_pair(attributes, "cgroup_path", path);
        if (l.container) {
                bh_describe_pair(attributes, "container", l.container->id);
                bh_describe_pair(attributes, "container_name", l.container->name);
        }
        bh_pipeline_tell(p, "lost", text, attributes);
}

/* Lost acts are said as the sensor's event; acts over budget are an event of their kind without details. */
static void on_news(const BhAccountNews *n, gpointer data) {
        struct bh_rec rec = { .size = sizeof(rec), .type = (guint16) n->type, .cgroup = n->cgroup, .ts = bh_pipeline_boottime(), .flags = BH_RF_OVER_BUDGET };

        if (n->reason < BH_LOST_MAX) {
                on_lost(n, data);
                return;
        }
        rec.a[4] = n->bytes;
        for (guint64 left = n->more; left; left -= rec.count) {
                rec.count = (guint32) MIN(left, G_MAXUINT32);
                bh_pipeline_process_record(data, &rec, sizeof(rec), BH_RING_MAX, 0);
                rec.a[4] = 0;
        }
}

void bh_pipeline_tell_counts(BhPipeline *p, gboolean all) {
        guint told = bh_account_sweep(p->account, all, repeat_record, p);
        guint64 last;

        told += bh_account_update(p->account, on_news, p);
        last = p->next_id - 1;
        if (told) {
                bh_recorder_flush(p->c.recorder, FALSE);
                for (guint i = 0; i < COMMIT_WAIT_MS; i++, g_usleep(1000)) {
                        BhRecorderStats r;

                        bh_recorder_stats(p->c.recorder, &r);
                        if (r.durable_seq >= last || r.state != BH_RECORDER_OK)
                                break;
                }
        }
        bh_account_commit(p->account);
}

/* ---- each second ---- */

static void restore_cgroups(BhPipeline *p) {
        guint64 restored = bh_cgroups_restore(p->c.cgroups);

        if (restored)
                bh_pipeline_tell_number(p, "cgroups_restored", "the kernel's map of cgroups lacked entries or had wrong ones; they were put back", "count", restored);
}

/* A recorder that cannot write is said at once (to whoever listens), and again with its losses when it can. */
static void watch_recorder(BhPipeline *p) {
        g_autoptr(GByteArray) attributes = g_byte_array_new();
        BhRecorderStats r;
        guint64 lost = 0;

        bh_recorder_stats(p->c.recorder, &r);
        for (guint i = 0; i < BH_RECORDER_LOST_REASONS; i++)
                lost += r.lost[i];
        /* short troubles show in the count alone */
        if (r.state == p->recorder_state && (r.state != BH_RECORDER_OK || lost == p->recorder_lost))
                return;

        g_autofree char *number = g_strdup_printf("%" G_GUINT64_FORMAT, lost - p->recorder_lost);
        bh_describe_pair(attributes, "state", bh_recorder_state_name(r.state));
        bh_describe_pair(attributes, "problem", r.problem);
        bh_describe_pair(attributes, "lost", number);
        if (r.state != BH_RECORDER_OK) {
                bh_pipeline_tell(p, "recorder_degraded", "the flight recorder cannot write; events that it cannot hold are lost to it and counted", attributes);
        } else {
                bh_pipeline_tell(p, "recorder_recovered", "the flight recorder writes again", attributes);
                p->recorder_lost = lost;
        }
        p->recorder_state = r.state;
}

static void sweep_leftovers(BhPipeline *p) {
        guint64 forgotten = bh_leftovers_sweep(p->leftovers);

        if (forgotten)
                bh_pipeline_tell_number(p, "writes_forgotten", "processes ended unseen, with files open that they had written to; no event will tell of those", "count", forgotten);
}

void bh_pipeline_tell_own(BhPipeline *p) {
        bh_pipeline_tell_counts(p, FALSE);
        restore_cgroups(p);
        sweep_leftovers(p);
        watch_recorder(p);
}

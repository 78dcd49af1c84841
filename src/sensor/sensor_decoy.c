/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that were led to a decoy, in the sensor as a whole: each is a finding of its container and process (kind "decoy"), so that it joins their incident; and where the decoy writes down what it is
 * sent in this node's <data>/decoy, that is kept as evidence of the finding. A thread reads it, while there is something that may come.
 */
#include <string.h>

#include "decoy_records.h"
#include "sensor.h"

#define TURN_US (G_USEC_PER_SEC / 2)
#define ROUNDS_US (2 * BH_NET_ALERTS_WINDOW_US) /* so long after the last one its repeats may be due */

struct BhDecoyWatch {
        BhSensor *sensor;
        BhNetAlerts *alerts; /* the drain thread's */
        guint64 number;      /* the same */
        BhDecoyRecords *records; /* turns are the thread's */
        GMutex lock;         /* of all below; never held while files are read or the drain thread is waited for */
        GCond moved;
        gboolean stopping;
        gint64 last_us;
        GThread *thread;
};

typedef struct {
        BhDecoyWatch *watch;
        const char *response, *container;
        const BhLedConnection *led;
        char *finding; /* out: which it is, or is told with */
} Tale;

/* Equal are those of one response and destination: the attacker chooses how many there are. */
static void tell(gpointer data) {
        static const char *const tags[] = { "network", "decoy", "mitre_lateral_movement", "T1021", NULL };
        Tale *t = data;
        BhDecoyWatch *w = t->watch;
        BhSensor *s = w->sensor;
        g_autoptr(BhContainer) c = bh_container_table_get(s->containers, t->container);
        g_autofree char *key = g_strdup_printf("decoy\n%s\n%s", t->response, t->led->asked), *coarse = g_strdup_printf("decoy\n%s", t->response);
        g_autofree char *id = g_strdup_printf("%s-decoy-%" G_GINT64_MODIFIER "x-%" G_GUINT64_FORMAT, bh_report_node(s->report), (guint64) g_get_real_time(), ++w->number);
        g_autofree char *comm = g_utf8_make_valid(t->led->comm, -1);
        g_autofree char *output = g_strdup_printf("%s (pid %u) of container %s asked for %s and was led to the decoy %s, from %s, by response %s", comm, t->led->pid, c ? c->name : t->container, t->led->asked,
                                                  t->led->to, t->led->from, t->response);
        BhNetAlert a = {
                .id = id,
                .key = key,
                .coarse = coarse,
                .kind = "decoy",
                .source = "decoy",
                .rule = "Connection led to a decoy",
                .priority = "warning",
                .output = output,
                .description = "A contained container tried to connect to a destination that it is led away from. The decoy took the connection, and wrote down what it was sent.",
                .advice = "Look at what the decoy recorded: the evidence of this finding has it where the decoy writes into this node's data. Nothing reached the destination.",
                .tags = tags,
                .time_ns = t->led->time_ns,
                .pid = t->led->pid,
                .container = c,
        };

        bh_net_alert_text(&a, "decoy.asked", t->led->asked);
        bh_net_alert_text(&a, "decoy.address", t->led->to);
        bh_net_alert_text(&a, "decoy.from", t->led->from);
        bh_net_alert_text(&a, "decoy.response", t->response);
        bh_net_alert_text(&a, "proc.name", comm);
        bh_net_alert_number(&a, "proc.pid", t->led->pid);
        bh_net_alert_number(&a, "user.uid", t->led->uid);
        bh_net_alerts_add(w->alerts, &a, bh_lineage_answers(s->lineage), g_get_monotonic_time());
        const char *told = bh_net_alerts_id(w->alerts, key);
        t->finding = g_strdup(told ? told : id);
}

static void rounds(gpointer data) {
        bh_net_alerts_round(((BhDecoyWatch *) data)->alerts, g_get_monotonic_time());
}

static void on_recorded(const BhDecoyExpected *e, GBytes *bytes, guint64 all, const char *end, gpointer data) {
        BhDecoyWatch *w = data;

        if (w->sensor->evidence)
                bh_evidence_decoy(w->sensor->evidence, e->container, e->finding, e->asked, e->from, e->pid, e->time_ns, bytes, all);
}

static gpointer work(gpointer data) {
        BhDecoyWatch *w = data;

        for (gboolean stopping = FALSE; !stopping;) {
                BhDecoyRecordsStats n;
                gint64 now = g_get_monotonic_time();

                g_mutex_lock(&w->lock);
                stopping = w->stopping;
                gboolean due = now - w->last_us < ROUNDS_US;
                g_mutex_unlock(&w->lock);
                bh_decoy_records_turn(w->records, now, on_recorded, w); /* with the end, too */
                if (stopping)
                        break;
                if (due)
                        bh_pipeline_call(w->sensor->pipeline, rounds, w);
                g_mutex_lock(&w->lock);
                bh_decoy_records_stats(w->records, &n); /* within the lock: what is expected after it signals */
                if (!w->stopping && (n.waiting || now - w->last_us < ROUNDS_US))
                        g_cond_wait_until(&w->moved, &w->lock, now + TURN_US);
                else if (!w->stopping)
                        g_cond_wait(&w->moved, &w->lock);
                g_mutex_unlock(&w->lock);
        }
        return NULL;
}

void bh_sensor_led(const char *response, const char *container, const BhLedConnection *led, gpointer sensor) {
        BhSensor *s = sensor;
        BhDecoyWatch *w = s->decoy;
        Tale t = { .watch = w, .response = response, .container = container, .led = led };

        if (!w || !g_atomic_int_get(&s->piped))
                return;
        bh_pipeline_call(s->pipeline, tell, &t);
        const BhDecoyExpected e = { .from = g_strdup(led->from), .asked = g_strdup(led->asked), .container = g_strdup(container), .finding = t.finding, .pid = led->pid, .time_ns = led->time_ns };
        bh_decoy_records_expect(w->records, &e, g_get_monotonic_time());
        g_mutex_lock(&w->lock);
        w->last_us = g_get_monotonic_time();
        if (!w->thread && !w->stopping)
                w->thread = g_thread_new("bh-decoy", work, w);
        g_cond_signal(&w->moved);
        g_mutex_unlock(&w->lock);
}

json_t *bh_sensor_decoy_status(BhSensor *s) {
        BhDecoyRecordsStats n = { 0 };

        if (!s->decoy)
                return json_null();
        bh_decoy_records_stats(s->decoy->records, &n);
        return json_pack("{s:i,s:I,s:I,s:I,s:I}", "waiting", (int) n.waiting, "sealed", (json_int_t) n.sealed, "empty", (json_int_t) n.empty, "missing", (json_int_t) n.missing, "unread", (json_int_t) n.unread);
}

/* ---- life ---- */

void bh_sensor_open_decoy(BhSensor *s) {
        g_autofree char *dir = g_build_filename(s->options.data_dir, "decoy", NULL);

        if (!s->report)
                return;
        BhDecoyWatch *w = g_new0(BhDecoyWatch, 1);
        w->sensor = s;
        w->last_us = g_get_monotonic_time() - ROUNDS_US;
        g_mutex_init(&w->lock);
        g_cond_init(&w->moved);
        w->alerts = bh_net_alerts_new(bh_report_node(s->report), bh_sensor_publish_finding, s);
        w->records = bh_decoy_records_new(dir);
        s->decoy = w;
}

void bh_sensor_settle_decoy(BhSensor *s) {
        BhDecoyWatch *w = s->decoy;

        if (!w)
                return;
        g_mutex_lock(&w->lock);
        w->stopping = TRUE;
        g_cond_signal(&w->moved);
        GThread *thread = g_steal_pointer(&w->thread);
        g_mutex_unlock(&w->lock);
        if (thread)
                g_thread_join(thread);
}

void bh_sensor_free_decoy(BhSensor *s) {
        BhDecoyWatch *w = g_steal_pointer(&s->decoy);

        if (!w)
                return;
        bh_net_alerts_free(w->alerts);
        bh_decoy_records_free(w->records);
        g_mutex_clear(&w->lock);
        g_cond_clear(&w->moved);
        g_free(w);
}

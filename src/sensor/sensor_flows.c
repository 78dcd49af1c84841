/* SPDX-License-Identifier: Apache-2.0 */
/* The sensor's flows: what they are given of the rest of the sensor. */
#include "sensor.h"

static void on_publish(const char *topic, GBytes *body, gpointer data) {
        bh_report_publish(((BhSensor *) data)->report, topic, body);
}

static void on_spooled(gpointer data) {
        bh_report_spooled(((BhSensor *) data)->report);
}

static guint64 on_connections(gpointer data) {
        return bh_report_connections(((BhSensor *) data)->report);
}

static void on_say(const char *action, const char *message, const char *container, const char *why, gpointer data) {
        bh_pipeline_say(((BhSensor *) data)->pipeline, action, message, "container", container, "why", why, NULL);
}

static void on_call(void (*what)(gpointer), gpointer arg, gpointer data) {
        bh_pipeline_call(((BhSensor *) data)->pipeline, what, arg);
}

void bh_sensor_open_flows(BhSensor *s, struct bh_clock clock) {
        BhFlowsConfig config = {
                .data_dir = s->options.data_dir,
                .recorder_dir = s->recorder_dir,
                .proc_path = s->proc_path,
                .node = s->report ? bh_report_node(s->report) : NULL,
                .boot_id = s->report ? bh_report_boot_id(s->report) : NULL,
                .conntrack = s->conntrack,
                .hooks = s->hooks,
                .inspector = s->inspector,
                .containers = s->containers,
                .processes = s->processes,
                .recorder = s->recorder,
                .found = &s->found,
                .recorded = s->options.events,
                .clock = clock,
                .walk_ms = s->options.walk_ms == -1 ? 0 : (guint) s->options.walk_ms,
                .after_crash = s->after_crash,
                .publish = on_publish,
                .spooled = on_spooled,
                .connections = on_connections,
                .say = on_say,
                .call = on_call,
                .data = s,
        };

        if (!s->report) { /* nobody is told: the kernel need not go on telling */
                if (s->options.bus)
                        bh_flows_close_conntrack(&s->conntrack);
                return;
        }
        s->conntrack = (BhConntrackSockets){ .events = -1, .listing = -1 };
        s->flows = bh_flows_new(&config);
        bh_flows_catch_up(s->flows);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Evidence in the sensor as a whole. */
#include "base/log.h"
#include "sensor.h"

static void on_flush(gpointer data) {
        BhSensor *s = data;

        if (g_atomic_int_get(&s->piped))
                bh_pipeline_flush(s->pipeline);
}

/* From now on the container's connections are looked at. */
static void suspect(BhSensor *s, const BhRule *rule, const char *id, const struct bh_event *e) {
        const guint64 container = bh_event_has(e, BH_F_cgroup) ? bh_payload_container(s->payload, e->cgroup) : 0;
        g_autofree char *name = bh_event_has(e, BH_F_container_id) ? g_strndup(e->container_id.p, e->container_id.len) : g_strdup("");

        if (container)
                bh_suspects_finding(s->suspects, container, name, id, rule->name, bh_priority_name(rule->priority), e, g_get_monotonic_time());
}

static void on_told(const BhRule *rule, const char *id, const struct bh_event *e, gpointer data) {
        BhSensor *s = data;

        bh_evidence_finding(s->evidence, rule, id, e);
        if (s->suspects && rule->priority <= BH_PRIO_WARNING && g_str_equal(rule->source, "syscall"))
                suspect(s, rule, id, e);
}

void bh_sensor_open_evidence(BhSensor *s) {
        g_autofree char *dir = g_build_filename(s->options.data_dir, "evidence", NULL), *broken = NULL;
        g_autoptr(GError) error = NULL;
        BhEvidenceConfig config = {
                .dir = dir,
                .node = s->report ? bh_report_node(s->report) : s->node,
                .proc_path = s->proc_path,
                .host_root = s->options.host_root,
                .max_bytes = (guint64) (s->options.evidence_mib > 0 ? s->options.evidence_mib : BH_EVIDENCE_STORE_MIB) << 20,
                .heads = s->options.evidence_heads,
                .containers = s->containers,
                .source = { .feed = s->feed, .recorder_dir = s->recorder_dir, .flush = on_flush, .data = s },
        };

        if (s->options.no_evidence)
                return;
        s->evidence = bh_evidence_new(&config, &broken, &error);
        if (!s->evidence) {
                s->evidence_error = g_strdup(error->message);
                bh_error("no evidence will be kept", "error", error->message);
                return;
        }
        if (broken) {
                s->evidence_broken = g_steal_pointer(&broken);
                bh_error("the chain of evidence on this node was tampered with; it is set aside and a new one begins", "why", s->evidence_broken, "directory", dir);
        }
        if (s->ruling)
                bh_ruling_tell(s->ruling, on_told, s);
}

void bh_sensor_open_pause(BhSensor *s) {
        guint left = bh_pause_recover(s->pin_dir, s->proc_path);
        g_autofree char *count = g_strdup_printf("%u", left);

        if (left)
                bh_warn("processes go on that the sensor before had stopped to copy what they run", "count", count);
        if (!s->options.no_hold && !s->options.no_evidence)
                s->pause = bh_pause_new(s->pin_dir, s->proc_path);
}

static gboolean on_stopped(const struct bh_pause_record *r, gpointer data) {
        return bh_evidence_stopped(((BhSensor *) data)->evidence, r);
}

void bh_sensor_start_evidence(BhSensor *s) {
        g_autoptr(GError) error = NULL;

        if (!s->evidence)
                return;
        bh_evidence_start(s->evidence, s->report);
        if (s->pause && !bh_pause_start(s->pause, s->hooks, on_stopped, s, &error))
                bh_warn("programs that end at once may be missed by evidence: they cannot be stopped to be copied", "why", error->message);
        if (s->evidence_broken)
                bh_pipeline_say(s->pipeline, "evidence_broken", "the chain of evidence on this node was tampered with", "why", s->evidence_broken, NULL);
}

void bh_sensor_early(const struct bh_decoded *d, guint64 cgroup, gpointer data) {
        BhSensor *s = data;

        if (s->evidence)
                bh_evidence_early(s->evidence, d, cgroup);
        bh_sensor_integrity_early(s, d, cgroup);
}

json_t *bh_sensor_evidence_status(BhSensor *s) {
        json_t *o = s->evidence ? bh_evidence_status(s->evidence) : json_pack("{s:s}", "state", s->options.no_evidence ? "off" : "failed");

        json_object_set_new(o, "hold", bh_pause_status(s->pause));
        if (s->suspects)
                json_object_set_new(o, "streams", bh_suspects_status(s->suspects));
        json_object_set_new(o, "error", json_string(s->evidence_error ? s->evidence_error : ""));
        json_object_set_new(o, "broken", json_string(s->evidence_broken ? s->evidence_broken : ""));
        return o;
}

json_t *bh_sensor_verify_evidence(const char *heads, gsize len, gpointer data) {
        BhSensor *s = data;

        return s->evidence ? bh_evidence_verify_all(s->evidence, heads, len) : NULL;
}

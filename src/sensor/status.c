/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "sensor.h"

static json_t *number(guint64 n) {
        return json_integer((json_int_t) n);
}

static json_t *text(const char *s) {
        g_autofree char *valid = g_utf8_make_valid(s ? s : "", -1);

        return json_string(valid);
}

static json_t *lost_of(const struct bh_acct *a) {
        json_t *o = json_object();

        for (guint32 r = 0; r < BH_LOST_MAX; r++)
                json_object_set_new(o, bh_lost_reason_name(r), number(a->lost[r]));
        return o;
}

static json_t *hooks_of(BhSensor *s, const BhAccountTotals *totals) {
        json_t *list = json_array();

        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++) {
                const BhHookState *h = bh_hooks_state(s->hooks, type);
                const struct bh_acct *a = &totals->sum[type];

                if (!h)
                        continue;

                gboolean wanted = g_atomic_int_get(&h->wanted), attached = g_atomic_int_get(&h->attached);
                const char *why = __atomic_load_n(&h->why, __ATOMIC_ACQUIRE), *refused = __atomic_load_n(&h->refused, __ATOMIC_ACQUIRE); /* repair may set others at this moment */

                json_t *o = json_pack("{s:s, s:s, s:b, s:b, s:b}", "type", bh_event_type_name(type), "backend", bh_backend_name(h->backend), "effective", h->effective && !refused, "seen", h->effective,
                                      "tested", bh_canary_tests(type));
                json_object_set_new(o, "wanted", json_boolean(wanted));
                if (!wanted)
                        json_object_set_new(o, "off", json_string(attached ? "nobody needs its events; its programs serve another hook" : "nobody needs it"));
                json_object_set_new(o, "generated", number(a->generated));
                json_object_set_new(o, "delivered", number(a->delivered));
                json_object_set_new(o, "folded", number(a->folded));
                json_object_set_new(o, "lost", lost_of(a));
                json_object_set_new(o, "received", number(totals->received[type]));
                if (why)
                        json_object_set_new(o, "why", text(why));
                if (refused)
                        json_object_set_new(o, "refused", text(refused));
                json_array_append_new(list, o);
        }
        return list;
}

/* What each consumer needs, by its name: a list as --events takes it. */
static json_t *wishes_of(BhSensor *s) {
        json_t *o = json_object();

        for (BhConsumer who = BH_CONSUMER_SENSOR; who < BH_CONSUMERS; who++) {
                BhKinds wish = bh_hooks_wish(s->hooks, who);
                g_autofree char *list = bh_kinds_format(&wish);

                json_object_set_new(o, bh_consumer_name(who), json_string(list));
        }
        return o;
}

static json_t *rings_of(const BhPipelineStats *stats) {
        static const char *const names[BH_RING_MAX] = { "life", "key", "bulk" };
        json_t *o = json_object();

        for (guint i = 0; i < BH_RING_MAX; i++)
                json_object_set_new(o, names[i], json_pack("{s:o, s:o, s:o, s:o}", "bytes", number(stats->bytes_size[i]), "used", number(stats->bytes_used[i]),
                                                           "high_water", number(stats->high_water[i]), "records", number(stats->read[i])));
        return o;
}

static json_t *recorder_of(BhSensor *s) {
        BhRecorderStats r;
        json_t *o = json_object(), *lost = json_object();

        bh_recorder_stats(s->recorder, &r);
        json_object_set_new(o, "dir", text(s->recorder_dir));
        json_object_set_new(o, "state", text(bh_recorder_state_name(r.state)));
        json_object_set_new(o, "problem", text(r.problem));
        json_object_set_new(o, "bytes", number(r.bytes));
        json_object_set_new(o, "segments", number(r.segments));
        json_object_set_new(o, "appended", number(r.appended));
        json_object_set_new(o, "written", number(r.written));
        json_object_set_new(o, "raw_bytes", number(r.raw_bytes));
        json_object_set_new(o, "stored_bytes", number(r.stored_bytes));
        json_object_set_new(o, "dropped_segments", number(r.dropped_segments));
        json_object_set_new(o, "clock_distrusted", json_boolean(r.clock_distrusted));
        json_object_set_new(o, "dropped_records", number(r.dropped_records));
        json_object_set_new(o, "cut_bytes_at_start", number(s->found.cut_bytes));
        for (guint i = 0; i < BH_RECORDER_LOST_REASONS; i++)
                json_object_set_new(lost, bh_recorder_lost_name(i), number(r.lost[i]));
        json_object_set_new(o, "lost", lost);
        return o;
}

/* The cgroups with the most losses: at most 20. */
static int by_loss(gconstpointer a, gconstpointer b) {
        const BhAccountRow *x = a, *y = b;
        guint64 lx = x->acct.folded, ly = y->acct.folded;

        for (guint i = 0; i < BH_LOST_MAX; i++) {
                lx += x->acct.lost[i] << 20;
                ly += y->acct.lost[i] << 20;
        }
        return lx > ly ? -1 : lx < ly;
}

static json_t *losses_of(BhSensor *s) {
        g_autoptr(GArray) rows = bh_account_rows(bh_pipeline_account(s->pipeline));
        json_t *list = json_array();

        g_array_sort(rows, by_loss);
        for (guint i = 0; i < MIN(rows->len, 20); i++) {
                const BhAccountRow *row = &g_array_index(rows, BhAccountRow, i);
                g_auto(BhContainerLookup) l = { 0 };
                g_autofree char *path = bh_container_table_path(s->containers, row->cgroup);
                json_t *o = json_pack("{s:s}", "type", bh_event_type_name(row->type));

                bh_container_table_lookup(s->containers, row->cgroup, &l);
                json_object_set_new(o, "cgroup", number(row->cgroup));
                json_object_set_new(o, "cgroup_path", text(path));
                if (l.container)
                        json_object_set_new(o, "container", text(*l.container->name ? l.container->name : l.container->id));
                json_object_set_new(o, "generated", number(row->acct.generated));
                json_object_set_new(o, "delivered", number(row->acct.delivered));
                json_object_set_new(o, "folded", number(row->acct.folded));
                json_object_set_new(o, "lost", lost_of(&row->acct));
                json_array_append_new(list, o);
        }
        return list;
}

static json_t *containerd_of(BhSensor *s) {
        json_t *o = json_object();
        BhContainerdStats d;

        if (!s->containerd)
                return json_pack("{s:s}", "state", "off");
        g_mutex_lock(&s->lock);
        json_object_set_new(o, "state", json_string(s->containerd_connected ? "connected" : s->containerd_absent ? "absent" : "not connected"));
        json_object_set_new(o, "listed", json_boolean(s->containerd_listed));
        json_object_set_new(o, "version", text(s->containerd_version));
        json_object_set_new(o, "error", text(s->containerd_error));
        g_mutex_unlock(&s->lock);
        json_object_set_new(o, "socket", text(s->options.containerd));
        bh_containerd_get_stats(s->containerd, &d);
        json_object_set_new(o, "events", number(d.events));
        json_object_set_new(o, "events_refused", number(d.events_bad));
        json_object_set_new(o, "calls", number(d.calls));
        json_object_set_new(o, "calls_failed", number(d.calls_failed + d.answers_bad + d.answers_refused));
        json_object_set_new(o, "containers_refused", number(d.containers_refused + d.ids_twice));
        json_object_set_new(o, "layers_refused", number(d.layers_refused));
        json_object_set_new(o, "connects", number(d.connects));
        return o;
}

static json_t *docker_of(BhSensor *s) {
        json_t *o = json_object();

        if (s->options.no_docker) {
                json_object_set_new(o, "state", json_string("off"));
                return o;
        }
        g_mutex_lock(&s->lock);
        json_object_set_new(o, "state", json_string(s->docker_connected ? "connected" : "not connected"));
        json_object_set_new(o, "socket", text(s->options.docker));
        json_object_set_new(o, "listed", json_boolean(s->docker_listed));
        json_object_set_new(o, "version", text(s->docker_version));
        json_object_set_new(o, "error", text(s->docker_error));
        g_mutex_unlock(&s->lock);

        BhDockerStats d;
        bh_docker_get_stats(s->docker, &d);
        json_object_set_new(o, "events", number(d.events));
        json_object_set_new(o, "events_refused", number(d.events_refused + d.events_bad));
        json_object_set_new(o, "inspects", number(d.inspects));
        json_object_set_new(o, "inspects_failed", number(d.inspects_failed));
        json_object_set_new(o, "connects", number(d.connects));
        json_object_set_new(o, "gatherings", number(d.gatherings));
        json_object_set_new(o, "gatherings_failed", number(d.gatherings_failed));
        return o;
}

static json_t *runtimes_of(BhSensor *s) {
        return json_pack("{s:o, s:o}", "docker", docker_of(s), "containerd", containerd_of(s));
}

static json_t *bus_of(BhSensor *s) {
        json_t *o = s->report ? bh_report_status(s->report) : json_pack("{s:s}", "state", s->report_error ? "failed" : "off");

        if (s->report_error)
                json_object_set_new(o, "problem", text(s->report_error));
        if (s->options.bus)
                json_object_set_new(o, "address", text(s->options.bus));
        return o;
}

static json_t *rules_of(BhSensor *s) {
        return s->ruling ? bh_ruling_status(s->ruling) : json_pack("{s:s}", "state", "off");
}

static json_t *inspector_of(BhSensor *s) {
        json_t *o = s->inspector ? bh_inspector_status(s->inspector) : json_pack("{s:s}", "state", s->inspector_error ? "failed" : "off");

        if (s->inspector_error)
                json_object_set_new(o, "problem", text(s->inspector_error));
        return o;
}

json_t *bh_sensor_status(BhSensor *s) {
        g_autofree BhAccountTotals *totals = g_new0(BhAccountTotals, 1);
        BhPipelineStats p;
        BhContainerTableStats c;
        json_t *o = json_object(), *part;
        guint64 lost = 0;

        bh_account_copy(bh_pipeline_account(s->pipeline), totals);
        bh_pipeline_stats(s->pipeline, &p);
        bh_container_table_get_stats(s->containers, &c);

        json_object_set_new(o, "ready", json_true());
        json_object_set_new(o, "version", json_string(BH_VERSION));
        json_object_set_new(o, "node", text(s->node));
        json_object_set_new(o, "kernel", text(s->kernel));
        json_object_set_new(o, "pid", json_integer(getpid()));
        json_object_set_new(o, "uptime_s", number((guint64) (g_get_monotonic_time() - s->started_us) / G_USEC_PER_SEC));
        json_object_set_new(o, "adopted", json_boolean(bh_hooks_adopted(s->hooks)));
        json_object_set_new(o, "away_ms", number(s->away_ms));
        json_object_set_new(o, "host_events", json_boolean(s->options.host_events));
        json_object_set_new(o, "cgroup", json_pack("{s:s, s:s, s:s}", "mode",
                                                   s->cgroups->mode == BH_CGROUP_V1 ? "v1" : s->cgroups->mode == BH_CGROUP_V2 ? "v2" : "hybrid", "controller",
                                                   s->cgroups->controller, "mount", s->cgroups->mount));
        json_object_set_new(o, "events_wanted", wishes_of(s));
        json_object_set_new(o, "hooks", hooks_of(s, totals));
        for (guint32 t = 0; t < BH_EV_KERNEL_MAX; t++)
                for (guint32 r = 0; r < BH_LOST_MAX; r++)
                        lost += totals->sum[t].lost[r];
        json_object_set_new(o, "lost", number(lost));
        json_object_set_new(o, "recursion_misses", number(totals->recursion));
        json_object_set_new(o, "rings", rings_of(&p));
        json_object_set_new(o, "recorder", recorder_of(s));
        json_object_set_new(o, "runtimes", runtimes_of(s));
        json_object_set_new(o, "bus", bus_of(s));
        json_object_set_new(o, "rules", rules_of(s));
        json_object_set_new(o, "flows", s->flows ? bh_flows_status(s->flows) : json_pack("{s:s}", "state", "off"));
        json_object_set_new(o, "inspector", inspector_of(s));
        json_object_set_new(o, "web", bh_sensor_web_status(s));
        json_object_set_new(o, "integrity", bh_sensor_integrity_status(s));
        json_object_set_new(o, "evidence", bh_sensor_evidence_status(s));
        json_object_set_new(o, "calls", bh_sensor_calls_status(s));
        json_object_set_new(o, "responses", bh_sensor_respond_status(s));
        json_object_set_new(o, "policies", bh_sensor_policies_status(s));

        part = json_object();
        json_object_set_new(part, "recorded", number(p.events));
        json_object_set_new(part, "undecodable", number(p.undecodable));
        json_object_set_new(part, "waited_for_metadata", number(p.waited));
        json_object_set_new(part, "released_without_metadata", number(p.released_unready));
        json_object_set_new(part, "already_recorded", number(p.skipped));
        json_object_set_new(part, "stalls", number(p.stalls));
        json_object_set_new(part, "subscribers", number(bh_feed_subscribers(s->feed)));
        json_object_set_new(part, "dropped_for_subscribers", number(bh_feed_dropped(s->feed)));
        json_object_set_new(o, "events", part);

        part = json_object();
        json_object_set_new(part, "live", number(p.processes.live));
        json_object_set_new(part, "dead", number(p.processes.dead));
        json_object_set_new(part, "bytes", number(p.processes.bytes));
        json_object_set_new(part, "evicted_live", number(p.processes.evicted_live));
        json_object_set_new(part, "unknown", number(p.processes.unknown));
        json_object_set_new(part, "exits_missed", number(p.processes.exits_missed));
        json_object_set_new(o, "processes", part);

        part = json_object();
        json_object_set_new(part, "containers", number(c.containers));
        json_object_set_new(part, "cgroups", number(c.cgroups));
        json_object_set_new(part, "refused", number(c.cgroups_refused + c.containers_refused));
        json_object_set_new(part, "impostors", number(c.impostors));
        BhOciWatchStats files;
        bh_oci_watch_stats(s->oci, &files);
        json_object_set_new(part, "described_from_files", number(files.described));
        json_object_set_new(part, "not_described", number(files.missed));
        json_object_set_new(o, "containers", part);
        json_object_set_new(o, "losses", losses_of(s));

        g_mutex_lock(&s->lock);
        json_object_set_new(o, "canary", json_pack("{s:i, s:s}", "pid", (int) bh_canary_pid(s->canary), "error", s->canary_error ? s->canary_error : ""));
        g_mutex_unlock(&s->lock);
        return o;
}

json_t *bh_sensor_rules(BhSensor *s) {
        return s->ruling ? bh_ruling_list(s->ruling) : json_array();
}

json_t *bh_sensor_containers(BhSensor *s) {
        g_autoptr(GPtrArray) all = bh_container_table_snapshot(s->containers);
        json_t *list = json_array();

        for (guint i = 0; i < all->len; i++)
                json_array_append_new(list, bh_container_to_json(g_ptr_array_index(all, i)));
        return list;
}

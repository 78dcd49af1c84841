/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <fcntl.h>
#include <string.h>

#include "base/fdio.h"
#include "base/log.h"
#include "bus/body.h"
#include "bus/bus.pb-c.h"
#include "inventory.h"
#include "report_private.h"

#define ENDS_WAIT_MS 1000 /* for the disk to have the findings that tell ends of the sensor; then in the next round */
#define OBSERVATIONS_AT_ONCE 64u /* taken under the lock that the drain thread needs */

/* ---- what is told ---- */

static void publish(BhReport *r, const char *topic, GBytes *body) {
        bh_bus_publish(r->bus, topic, body);
        g_bytes_unref(body);
}

static void tell_inventory(BhReport *r, gboolean full) {
        guint max = full ? G_MAXUINT : BH_REPORT_CONTAINERS;

        for (gboolean first = TRUE;; first = FALSE) {
                guint64 since = full ? 0 : r->version;
                g_autoptr(GPtrArray) containers = bh_container_table_changes(r->c.containers, since, max, &r->version);

                if (!containers->len && !full)
                        return;

                g_autoptr(GPtrArray) bodies = bh_inventory_pack(bh_bus_publisher_node(r->bus), r->boot_id, containers, full, g_get_real_time() * 1000);
                for (guint i = 0; i < bodies->len; i++)
                        bh_bus_publish(r->bus, "inventory", g_ptr_array_index(bodies, i));
                g_mutex_lock(&r->lock);
                r->inventories += containers->len;
                r->full_lists += full && first;
                g_mutex_unlock(&r->lock);
                if (full || containers->len < max)
                        return;
        }
}

/* A set of resources, and whether the central has it. */
typedef struct {
        BhResourceSet *set;
        gboolean news;
} Told;

static void told_free(gpointer p) {
        bh_resource_set_unref(((Told *) p)->set);
        g_free(p);
}

/* The node's own addresses: interfaces come and go with networks of containers. */
static void look_at_host(BhReport *r, gint64 now_us) {
        if (!r->c.host || (r->host_us && now_us - r->host_us < BH_REPORT_HOST_MS * 1000))
                return;
        r->host_us = now_us;
        BhResourceSet *set = r->c.host(r->c.data);
        if (set && !bh_resource_set_equal(set, r->host)) {
                bh_report_resources(r, set);
                bh_resource_set_unref(r->host);
                r->host = bh_resource_set_ref(set);
        }
        bh_resource_set_unref(set);
}

static void tell_resources(BhReport *r, gboolean all) {
        g_autoptr(GPtrArray) sets = g_ptr_array_new_with_free_func((GDestroyNotify) bh_resource_set_unref);
        GHashTableIter it;
        gpointer p;

        g_mutex_lock(&r->lock);
        if (r->resources_moved || all) {
                g_hash_table_iter_init(&it, r->resources);
                while (g_hash_table_iter_next(&it, NULL, &p)) {
                        Told *t = p;

                        if (t->news || all)
                                g_ptr_array_add(sets, bh_resource_set_ref(t->set));
                        t->news = FALSE;
                }
                r->resources_moved = FALSE;
                r->resource_lists += sets->len;
        }
        g_mutex_unlock(&r->lock);
        for (guint i = 0; i < sets->len; i++)
                publish(r, "resources", bh_inventory_resources(bh_bus_publisher_node(r->bus), sets->pdata[i], g_get_real_time() * 1000));
}

void bh_report_resources(BhReport *r, BhResourceSet *set) {
        g_autofree char *key = g_strdup_printf("%s %s", set->source, set->scope);
        Told *t;

        g_mutex_lock(&r->lock);
        t = g_hash_table_lookup(r->resources, key);
        if (!t && g_hash_table_size(r->resources) >= BH_REPORT_SCOPES) {
                r->resource_sets_refused++;
        } else {
                t = g_new0(Told, 1);
                t->set = bh_resource_set_ref(set);
                t->news = TRUE;
                g_hash_table_replace(r->resources, g_steal_pointer(&key), t);
                r->resources_moved = TRUE;
        }
        g_mutex_unlock(&r->lock);
}

typedef struct {
        BhReport *report;
        GPtrArray *bodies;
} Packing;

static ProtobufCBinaryData data_of(struct bh_str s) {
        return (ProtobufCBinaryData){ .len = s.len, .data = (uint8_t *) s.p };
}

static void pack_observation(const BhObservation *what, gpointer data) {
        Packing *p = data;
        Bulkhead__Bus__V1__Observation m;

        bulkhead__bus__v1__observation__init(&m);
        m.node = (char *) bh_bus_publisher_node(p->report->bus);
        m.container_id = bh_bus_text(what->container_id);
        m.workload = bh_bus_text(what->workload);
        m.application = bh_bus_text(what->application);
        m.image_digest = bh_bus_text(what->image_digest);
        m.kind = (char *) what->kind;
        m.detail = data_of(what->detail);
        m.uid = what->uid;
        m.example = data_of(what->example);
        m.suspicious = what->suspicious;
        m.why = bh_bus_text(what->why);
        m.subject = data_of(what->subject);
        m.parent = data_of(what->parent);
        m.count = what->count;
        m.first_ns = what->first_ns;
        m.last_ns = what->last_ns;
        g_ptr_array_add(p->bodies, bh_bus_body_pack(&m.base));
}

static void tell_observations(BhReport *r, gboolean all) {
        gint64 now_us = g_get_monotonic_time();
        guint n;

        do {
                g_autoptr(GPtrArray) bodies = g_ptr_array_new_with_free_func((GDestroyNotify) g_bytes_unref);
                Packing packing = { r, bodies };

                n = bh_observe_take(r->observe, all, now_us, OBSERVATIONS_AT_ONCE, pack_observation, &packing);
                /* a killed sensor's successor reads anew what the recorder has not written, and would tell it a second time */
                if (n && !all)
                        r->c.flush(r->c.data);
                for (guint i = 0; i < bodies->len; i++)
                        bh_bus_publish(r->bus, "observation", g_ptr_array_index(bodies, i));
        } while (n);
}

/* What goes beyond the bounds of rules and observations is said, as often as findings are. */
static void say_rest(BhReport *r) {
        BhObserveStats o;
        BhRulingTrouble t;

        while (r->c.ruling && bh_ruling_trouble(r->c.ruling, &t)) {
                r->c.say(t.action, t.message, "rule", t.rule, r->c.data);
                bh_ruling_trouble_clear(&t);
        }
        bh_observe_stats(r->observe, &o);
        if (o.rest == r->rest_said)
                return;
        r->rest_said = o.rest;
        r->c.say("observations_full", "a container runs more different programs than are told apart; the rest is counted together", "container", o.full, r->c.data);
}

static void tell_findings(BhReport *r, gboolean all) {
        for (GBytes *body; (body = bh_findings_take(r->findings, all, g_get_monotonic_time())); )
                publish(r, "finding", body);
        for (GBytes *body; r->c.ruling && (body = bh_ruling_take(r->c.ruling, all)); )
                publish(r, "finding", body);
}

/* What tells ends of the sensor must be on disk before it is forgotten that it is to be told. */
static void settle_ends(BhReport *r) {
        BhFindingsStats f;

        if (!r->ends)
                return;
        bh_findings_stats(r->findings, &f);
        if (f.ends < r->ends || !bh_bus_publisher_flush(r->bus, ENDS_WAIT_MS))
                return;
        r->ends = 0;
        r->c.ends_told(r->c.data);
}

GBytes *bh_report_pack_status(BhReport *r) {
        json_t *status = r->c.status(r->c.data);
        g_autofree char *text = json_dumps(status, JSON_COMPACT | JSON_ENSURE_ASCII);
        Bulkhead__Bus__V1__NodeStatus m;

        json_decref(status);
        bulkhead__bus__v1__node_status__init(&m);
        m.node = (char *) bh_bus_publisher_node(r->bus);
        m.json = bh_bus_text(text);
        m.time_ns = g_get_real_time() * 1000;
        return bh_bus_body_pack(&m.base);
}

static void tell_status(BhReport *r) {
        g_autoptr(GBytes) body = bh_report_pack_status(r);

        bh_bus_publish_latest(r->bus, "status", body);
}

/* ---- the worker ---- */

static gpointer work(gpointer data) {
        BhReport *r = data;
        gboolean stopping = FALSE, urgent = FALSE;
        gint64 round_us = 0;

        tell_inventory(r, TRUE);
        while (!stopping) {
                BhBusPublisherStats bus;
                gint64 now_us = g_get_monotonic_time();

                /* many findings at once are told together */
                if (now_us - round_us < BH_REPORT_SOON_MS * 1000) {
                        g_usleep((gulong) (BH_REPORT_SOON_MS * 1000 - (now_us - round_us)));
                        now_us = g_get_monotonic_time();
                }
                round_us = now_us;
                bh_bus_publisher_stats(r->bus, &bus);
                gboolean anew = bus.connections != r->connections;
                r->connections = bus.connections;
                tell_inventory(r, anew);
                look_at_host(r, now_us);
                tell_resources(r, anew);
                tell_findings(r, FALSE);
                settle_ends(r);
                tell_observations(r, FALSE);
                if (urgent || anew || now_us - r->status_us >= BH_REPORT_STATUS_MS * 1000) {
                        r->status_us = now_us;
                        say_rest(r);
                        tell_status(r);
                }

                gint64 until = now_us + BH_REPORT_TICK_MS * 1000;
                g_mutex_lock(&r->lock);
                while (!r->stopping && !r->soon && g_cond_wait_until(&r->moved, &r->lock, until))
                        ;
                r->soon = FALSE;
                stopping = r->stopping;
                urgent = r->urgent;
                r->urgent = FALSE;
                g_mutex_unlock(&r->lock);
        }
        return NULL;
}

/* ---- the drain thread ---- */

void bh_report_urgent(BhReport *r) {
        g_mutex_lock(&r->lock);
        r->urgent = TRUE;
        g_mutex_unlock(&r->lock);
}

void bh_report_event(BhReport *r, const struct bh_event *e, const guint8 *wire, guint32 wire_len, const struct bh_lineage *lineage) {
        if (r->c.ruling && bh_ruling_event(r->c.ruling, e, wire, wire_len, lineage)) {
                g_mutex_lock(&r->lock);
                r->soon = TRUE;
                g_cond_broadcast(&r->moved);
                g_mutex_unlock(&r->lock);
        }
        bh_observe_event(r->observe, e, r->c.ruling ? bh_ruling_suspects(r->c.ruling) : NULL, g_get_monotonic_time());
        if (e->type == BH_EV_SENSOR && bh_findings_event(r->findings, e, wire, wire_len, g_get_monotonic_time())) {
                bh_report_urgent(r);
        }
}

void bh_report_observe(BhReport *r, const BhObservation *what) {
        bh_observe_act(r->observe, what, g_get_monotonic_time());
}

/* ---- life ---- */

static void notice(gboolean trouble, const char *text, gpointer data) {
        bh_log(trouble ? BH_LOG_WARN : BH_LOG_INFO, "bus", "what", text, NULL);
}

BhReport *bh_report_new(const BhReportConfig *config, GError **error) {
        g_autoptr(BhReport) r = g_new0(BhReport, 1);
        BhBusPublisherOptions options;
        BhBusSpoolFound found = { 0 };

        g_mutex_init(&r->lock);
        g_cond_init(&r->moved);
        r->resources = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, told_free);
        r->c = *config;
        r->recorder_dir = g_strdup(config->recorder_dir);
        r->boot_id = bh_file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, NULL, NULL, NULL);
        g_strchomp(r->boot_id ? r->boot_id : (r->boot_id = g_strdup("unknown")));
        bh_bus_publisher_options_init(&options);
        options.node = config->node;
        options.version = config->version;
        if (config->spool_bytes)
                options.spool_max_bytes = config->spool_bytes;
        options.notice = notice;
        if (!(r->bus = bh_bus_publisher_new(config->address, config->spool, &options, &found, error)))
                return NULL;
        r->findings = bh_findings_new(bh_bus_publisher_node(r->bus));
        if (r->c.ruling)
                bh_ruling_name(r->c.ruling, bh_bus_publisher_node(r->bus));
        r->observe = bh_observe_new();
        bh_report_serve(r);
        if (*found.damaged_kept_as) {
                bh_error("the spool of messages for the central was damaged; began a new one", "damage", found.damage, "kept_as", found.damaged_kept_as);
                r->damage = g_strdup(found.damage);
        }
        return g_steal_pointer(&r);
}

void bh_report_start(BhReport *r, guint ends) {
        r->ends = ends;
        bh_bus_publisher_start(r->bus);
        if (r->damage)
                r->c.say("spool_damaged", "the spool of messages for the central was damaged and has been set aside; what it held is lost", "why", r->damage, r->c.data);
        r->worker = g_thread_new("bh-report", work, r);
}

void bh_report_settle(BhReport *r) {
        g_mutex_lock(&r->lock);
        r->stopping = TRUE;
        g_cond_broadcast(&r->moved);
        while (r->answers)
                g_cond_wait(&r->moved, &r->lock);
        g_mutex_unlock(&r->lock);
        if (r->worker)
                g_thread_join(g_steal_pointer(&r->worker));
}

void bh_report_free(BhReport *r) {
        if (!r)
                return;
        if (r->bus && r->findings) {
                bh_report_settle(r);
                tell_inventory(r, FALSE);
                tell_resources(r, FALSE);
                tell_findings(r, TRUE);
                settle_ends(r);
                tell_observations(r, TRUE);
        }
        bh_bus_publisher_free(r->bus);
        bh_findings_free(r->findings);
        if (r->observe)
                bh_observe_free(r->observe);
        g_hash_table_unref(r->resources);
        bh_resource_set_unref(r->host);
        g_mutex_clear(&r->lock);
        g_cond_clear(&r->moved);
        g_free(r->recorder_dir);
        g_free(r->boot_id);
        g_free(r->damage);
        g_free(r);
}

/* ---- for others ---- */

#define SPOOLED_MS 200

const char *bh_report_node(const BhReport *r) {
        return bh_bus_publisher_node(r->bus);
}

const char *bh_report_boot_id(const BhReport *r) {
        return r->boot_id;
}

void bh_report_publish(BhReport *r, const char *topic, GBytes *body) {
        bh_bus_publish(r->bus, topic, body);
}

void bh_report_spooled(BhReport *r) {
        bh_bus_publisher_flush(r->bus, SPOOLED_MS);
}

gboolean bh_report_flush(BhReport *r, guint ms) {
        return bh_bus_publisher_flush(r->bus, ms);
}

guint64 bh_report_waiting(BhReport *r) {
        BhBusPublisherStats bus;

        bh_bus_publisher_stats(r->bus, &bus);
        return bus.queued_bytes + bus.spooled_bytes;
}

void bh_report_positions(BhReport *r, guint64 *last, guint64 *acknowledged) {
        BhBusPublisherStats bus;

        bh_bus_publisher_stats(r->bus, &bus);
        *last = bus.last_seq;
        *acknowledged = bus.acked_seq;
}

guint64 bh_report_connections(BhReport *r) {
        BhBusPublisherStats bus;

        bh_bus_publisher_stats(r->bus, &bus);
        return bus.connections;
}

/* ---- status ---- */

static json_t *number(guint64 n) {
        return json_integer((json_int_t) n);
}

json_t *bh_report_status(BhReport *r) {
        BhBusPublisherStats b;
        BhFindingsStats f;
        BhObserveStats o;
        json_t *out = json_object();

        bh_bus_publisher_stats(r->bus, &b);
        bh_findings_stats(r->findings, &f);
        bh_observe_stats(r->observe, &o);
        g_autofree char *problem = g_utf8_make_valid(b.problem, -1);

        json_object_set_new(out, "state", json_string(b.connected ? "connected" : "not connected"));
        json_object_set_new(out, "problem", json_string(problem));
        json_object_set_new(out, "connections", number(b.connections));
        json_object_set_new(out, "published", number(b.published));
        json_object_set_new(out, "acknowledged", number(b.acknowledged));
        json_object_set_new(out, "lost", number(b.lost));
        json_object_set_new(out, "spool", json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "messages", number(b.spooled), "bytes", number(b.spooled_bytes), "queued", number(b.queued),
                                                    "queued_bytes", number(b.queued_bytes), "commit_errors", number(b.commit_errors), "damaged", number(b.damaged)));
        json_object_set_new(out, "answers", json_pack("{s:o, s:o, s:o}", "begun", number(b.streams), "refused", number(b.streams_refused), "dropped", number(b.chunk_drops)));
        json_object_set_new(out, "observations", json_pack("{s:o, s:o, s:o, s:o}", "keys", number(o.keys), "counted", number(o.counted), "told", number(o.told), "beyond_bounds", number(o.rest)));
        json_object_set_new(out, "findings", json_pack("{s:o, s:o, s:o}", "events", number(f.events), "told", number(f.told), "refused", number(f.refused)));
        g_mutex_lock(&r->lock);
        json_object_set_new(out, "inventory", json_pack("{s:o, s:o, s:o, s:o}", "containers", number(r->inventories), "full_lists", number(r->full_lists),
                                                        "resource_lists", number(r->resource_lists), "resource_sets_refused", number(r->resource_sets_refused)));
        g_mutex_unlock(&r->lock);
        return out;
}

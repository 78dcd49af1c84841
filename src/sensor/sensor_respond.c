/* SPDX-License-Identifier: Apache-2.0 */
/* Responses: the sensor's part in wiring them to the central. */
#include <string.h>

#include "base/log.h"
#include "bus/body.h"
#include "bus/bus.pb-c.h"
#include "sensor.h"

static void on_say(const char *action, const char *message, const char *key, const char *value, gpointer data) {
        BhSensor *s = data;

        if (g_atomic_int_get(&s->piped))
                bh_pipeline_say(s->pipeline, action, message, key, value, NULL);
}

typedef struct {
        BhSensor *sensor;
        const char *container;
        GArray *out;
        guint64 last; /* the cgroup that was asked for last, and what it was */
        gboolean was;
} Strays;

static gboolean is_of(Strays *s, guint64 cgroup) {
        g_auto(BhContainerLookup) l = { 0 };

        if (cgroup == s->last)
                return s->was;
        bh_container_table_lookup(s->sensor->containers, cgroup, &l);
        s->last = cgroup;
        s->was = l.container && g_str_equal(l.container->id, s->container);
        return s->was;
}

static gboolean add_stray(const struct bh_process_view *v, gpointer data) {
        const BhStray stray = { .pid = (gint) v->pid, .start = v->start };
        Strays *s = data;

        if (is_of(s, v->origin ? v->origin : v->cgroup))
                g_array_append_val(s->out, stray);
        return TRUE;
}

static void find_strays(gpointer data) {
        bh_process_each(((Strays *) data)->sensor->processes, add_stray, data);
}

/* Who was in another container first is that one's. */
static GArray *on_strays(const char *container, gpointer data) {
        BhSensor *s = data;
        Strays strays = { .sensor = s, .container = container, .out = g_array_new(FALSE, FALSE, sizeof(BhStray)) };

        if (g_atomic_int_get(&s->piped))
                bh_pipeline_call(s->pipeline, find_strays, &strays);
        return strays.out;
}

typedef struct {
        Strays of; /* whose container's */
        const BhProcessName *name;
        gboolean tree, known;
        GHashTable *ancestors; /* struct bh_key: whether it is the process, or descends from it */
} Tree;

struct bh_key {
        guint64 start;
        guint32 pid;
};

static guint hash_key(gconstpointer p) {
        const struct bh_key *k = p;

        return g_int64_hash(&k->start) ^ k->pid;
}

static gboolean equal_keys(gconstpointer pa, gconstpointer pb) {
        const struct bh_key *a = pa, *b = pb;

        return a->start == b->start && a->pid == b->pid;
}

static gint64 started(const Tree *t, const struct bh_process_view *v) {
        return (gint64) bh_clock_start(&t->of.sensor->listing.clock, v->start);
}

static gboolean is_named(const Tree *t, const struct bh_process_view *v) {
        return v->pid == (guint32) t->name->pid && (!t->name->started_ns || started(t, v) == t->name->started_ns);
}

/* By whom it was forked, and by whom that one was: who its parent is now does not matter. Each ancestor is asked about once. */
static gboolean descends(Tree *t, const struct bh_process_view *v) {
        g_autoptr(GPtrArray) path = g_ptr_array_new();
        struct bh_process_view at = *v;
        gpointer known = NULL;
        gboolean found = FALSE;

        while (at.parent_pid) {
                const struct bh_key key = { .start = at.parent_start, .pid = at.parent_pid };

                if (g_hash_table_lookup_extended(t->ancestors, &key, NULL, &known)) {
                        found = GPOINTER_TO_INT(known);
                        break;
                }
                struct bh_key *kept = g_memdup2(&key, sizeof(key));
                g_hash_table_insert(t->ancestors, kept, GINT_TO_POINTER(FALSE)); /* also against a circle, which there should be none of */
                g_ptr_array_add(path, kept);
                if (!bh_process_find(t->of.sensor->processes, key.pid, key.start, &at))
                        break;
                if (is_named(t, &at)) { /* the root is the container's: else a tree would be all that a runtime ever started in it */
                        found = is_of(&t->of, at.origin ? at.origin : at.cgroup);
                        break;
                }
        }
        for (guint i = 0; found && i < path->len; i++)
                g_hash_table_insert(t->ancestors, g_memdup2(path->pdata[i], sizeof(struct bh_key)), GINT_TO_POINTER(TRUE));
        return found;
}

static gboolean add_of_tree(const struct bh_process_view *v, gpointer data) {
        Tree *t = data;
        BhStray s = { .pid = (gint) v->pid, .start = v->start };

        if (!is_of(&t->of, v->origin ? v->origin : v->cgroup) || !(is_named(t, v) || (t->tree && descends(t, v))))
                return TRUE;
        s.started_ns = started(t, v);
        g_strlcpy(s.comm, v->comm ? v->comm : "", sizeof(s.comm));
        g_array_append_val(t->of.out, s);
        return TRUE;
}

static void find_tree(gpointer data) {
        Tree *t = data;
        struct bh_process_view v;

        bh_process_each(t->of.sensor->processes, add_of_tree, t);
        t->known = t->of.out->len || (bh_process_find(t->of.sensor->processes, (guint32) t->name->pid, 0, &v) && is_named(t, &v) && is_of(&t->of, v.origin ? v.origin : v.cgroup));
}

static GArray *on_tree(const char *container, const BhProcessName *name, gboolean tree, gboolean *known, gpointer data) {
        BhSensor *s = data;
        g_autoptr(GHashTable) ancestors = g_hash_table_new_full(hash_key, equal_keys, g_free, NULL);
        Tree t = { .of = { .sensor = s, .container = container }, .name = name, .tree = tree, .ancestors = ancestors };

        if (!g_atomic_int_get(&s->piped))
                return NULL;
        t.of.out = g_array_new(FALSE, FALSE, sizeof(BhStray));
        bh_pipeline_call(s->pipeline, find_tree, &t);
        *known = t.known;
        return t.of.out;
}

void bh_sensor_open_respond(BhSensor *s) {
        g_autofree char *dir = g_build_filename(s->options.data_dir, "responses", NULL), *pins = g_build_filename(s->options.run_dir, "enforce", NULL);
        g_autofree char *acts = g_build_filename(s->options.run_dir, "block", NULL);
        g_autoptr(GError) error = NULL;
        BhRespondConfig config = {
                .dir = dir,
                .pin_dir = pins,
                .acts_dir = acts,
                .v2_mount = s->cgroups->v2_mount ? s->cgroups->v2_mount : s->cgroups->version == 2 ? s->cgroups->mount : NULL,
                .proc_path = s->proc_path,
                .docker_socket = s->options.no_docker ? NULL : s->options.docker,
                .names_problem = s->options.no_inspector ? "the sensor was told to run no inspector, which reads DNS" : !bh_kinds_has(&s->options.events, BH_EV_DNS) ? "the sensor was told to leave dns events out" : NULL,
                .containers = s->containers,
                .say = on_say,
                .strays = on_strays,
                .tree = on_tree,
                .led = bh_sensor_led,
                .data = s,
        };

        s->respond = bh_respond_new(&config, &error);
        if (!s->respond) {
                s->respond_error = g_strdup(error->message);
                bh_error("no responses can be carried out", "error", error->message);
        }
}

static void on_report(GBytes *body, gpointer data) {
        bh_report_publish(((BhSensor *) data)->report, "response", body);
}

static void on_match(const BhRule *rule, const char *id, const struct bh_event *e, gpointer data) {
        bh_node_policies_match(((BhSensor *) data)->policies, rule, id, e);
}

void bh_sensor_open_policies(BhSensor *s) {
        g_autofree char *path = g_build_filename(s->options.data_dir, "policies", NULL);
        BhNodePoliciesConfig config = { .path = path, .respond = s->respond, .containers = s->containers, .publish = on_report, .say = on_say, .data = s };

        if (!s->respond || !s->ruling || !s->report)
                return;
        config.node = bh_report_node(s->report);
        s->policies = bh_node_policies_new(&config);
        bh_ruling_watch(s->ruling, on_match, s);
}

gboolean bh_sensor_set_policies(GBytes *body, gpointer sensor, GError **error) {
        return bh_node_policies_set(((BhSensor *) sensor)->policies, body, error);
}

static GMutex ending; /* of the responses, while the drain thread goes on */

void bh_sensor_respond_event(BhSensor *s, const struct bh_event *e) {
        if (e->type != BH_EV_DNS)
                return;
        g_mutex_lock(&ending);
        if (s->respond)
                bh_respond_dns(s->respond, e);
        g_mutex_unlock(&ending);
}

void bh_sensor_start_respond(BhSensor *s) {
        if (s->respond)
                bh_respond_start(s->respond);
        if (s->policies)
                bh_node_policies_start(s->policies);
}

json_t *bh_sensor_policies_status(BhSensor *s) {
        return s->policies ? bh_node_policies_status(s->policies) : json_null();
}

void bh_sensor_free_respond(BhSensor *s) {
        bh_node_policies_settle(s->policies);
        g_mutex_lock(&ending);
        g_autoptr(BhRespond) respond = g_steal_pointer(&s->respond);
        g_mutex_unlock(&ending);
}

json_t *bh_sensor_respond_status(BhSensor *s) {
        if (s->respond) {
                json_t *status = bh_respond_status(s->respond);

                json_object_set_new(status, "recordings", bh_sensor_decoy_status(s));
                return status;
        }
        return json_pack("{s:s}", "problem", s->respond_error ? s->respond_error : "the sensor starts");
}

/* ---- the wire ---- */

static const char **texts_of(ProtobufCBinaryData *data, gsize n) {
        const char **texts = g_new0(const char *, n + 1);

        for (gsize i = 0; i < n; i++)
                texts[i] = bh_bus_text_dup(data[i]);
        return texts;
}

static json_t *carry_out(BhSensor *s, const Bulkhead__Bus__V1__ResponseOrder *m) {
        g_autofree char *container = bh_bus_text_dup(m->container), *reason = bh_bus_text_dup(m->reason), *actor = bh_bus_text_dup(m->actor), *subject = bh_bus_text_dup(m->subject);
        g_auto(GStrv) allow = (char **) texts_of(m->allow, m->n_allow), deny = (char **) texts_of(m->deny, m->n_deny);
        const BhOrder order = {
                .id = m->id,
                .action = m->action,
                .container = container,
                .subject = subject,
                .reason = reason,
                .actor = actor,
                .allow = (const char *const *) allow,
                .deny = (const char *const *) deny,
                .n_allow = m->n_allow,
                .n_deny = m->n_deny,
                .until_ns = m->until_ns,
                .dry_run = m->dry_run,
                .best_effort = m->best_effort,
                .release = m->release,
                .give_up = m->give_up,
        };

        return bh_respond_order(s->respond, &order);
}

static const char *text_at(json_t *o, const char *name) {
        const char *v = json_string_value(json_object_get(o, name));

        return v ? v : "";
}

static GBytes *pack(json_t *results, gboolean whole) {
        gsize n = json_array_size(results);
        g_autofree Bulkhead__Bus__V1__ResponseResult *rows = g_new0(Bulkhead__Bus__V1__ResponseResult, n + 1);
        g_autofree Bulkhead__Bus__V1__ResponseResult **pointers = g_new0(Bulkhead__Bus__V1__ResponseResult *, n + 1);
        g_autoptr(GPtrArray) details = g_ptr_array_new_with_free_func(free);
        Bulkhead__Bus__V1__ResponseResults m = BULKHEAD__BUS__V1__RESPONSE_RESULTS__INIT;

        for (gsize i = 0; i < n; i++) {
                json_t *o = json_array_get(results, i);
                char *detail = json_dumps(json_object_get(o, "detail"), JSON_COMPACT | JSON_ENSURE_ASCII);

                g_ptr_array_add(details, detail);
                bulkhead__bus__v1__response_result__init(&rows[i]);
                rows[i].id = (char *) text_at(o, "id");
                rows[i].state = (char *) text_at(o, "state");
                rows[i].result = bh_bus_text(text_at(o, "result"));
                rows[i].detail = bh_bus_text(detail);
                rows[i].container_id = bh_bus_text(text_at(o, "container"));
                rows[i].time_ns = json_integer_value(json_object_get(o, "time_ns"));
                pointers[i] = &rows[i];
        }
        m.results = pointers;
        m.n_results = n;
        m.whole = whole;
        return bh_bus_body_pack(&m.base);
}

GPtrArray *bh_sensor_respond(GBytes *body, gpointer sensor, GError **error) {
        BhSensor *s = sensor;
        g_autoptr(GPtrArray) pieces = g_ptr_array_new_with_free_func((GDestroyNotify) g_bytes_unref);
        Bulkhead__Bus__V1__ResponseOrders *m = (void *) bh_bus_body_unpack(&bulkhead__bus__v1__response_orders__descriptor, body, error);

        if (!m)
                return NULL;
        for (gsize i = 0; i < m->n_orders; i++) {
                json_auto_t *results = json_array();

                json_array_append_new(results, carry_out(s, m->orders[i]));
                g_ptr_array_add(pieces, pack(results, FALSE));
        }
        bulkhead__bus__v1__response_orders__free_unpacked(m, NULL);
        json_auto_t *all = bh_respond_list(s->respond);
        g_ptr_array_add(pieces, pack(all, TRUE));
        return g_steal_pointer(&pieces);
}

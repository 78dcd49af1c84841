/* SPDX-License-Identifier: Apache-2.0 */
/* What runtimes' clients tell, and containerd's. */
#include <string.h>

#include "base/log.h"
#include "container/netns.h"
#include "describe.h"
#include "sensor.h"

#define TO_ASK_MAX 256u /* of what runtimes told and the kernel has not come to */
#define LISTED_WAIT_US (2 * G_USEC_PER_SEC) /* so that containers that run already have their names on the first events */

void bh_sensor_container(BhContainer *c, gpointer data) {
        BhSensor *s = data;
        guint32 net_ns = c->init_pid > 0 ? bh_netns_of(s->proc_path, c->init_pid, c->id) : 0;
        g_autoptr(BhContainer) mine = net_ns && net_ns != c->net_ns ? bh_container_dup(c) : bh_container_ref(c);

        if (mine != c)
                mine->net_ns = net_ns;
        bh_container_table_upsert(s->containers, mine, g_get_monotonic_time());
        /* one that has a name of its own is known as a container only after its cgroup was told */
        for (char **path = c->cgroup_paths; c->unattended && *path; path++) {
                g_autofree char *by = bh_askers_made(s->askers, *path);

                if (by)
                        bh_container_table_asked(s->containers, c->id, *c->created_by ? NULL : by, by, NULL);
        }
}

void bh_sensor_resources(BhResourceSet *set, gpointer data) {
        BhSensor *s = data;

        if (s->report)
                bh_report_resources(s->report, set);
}

void bh_sensor_runtime_event(BhRuntimeEvent *ev, gpointer data) {
        bh_pipeline_runtime_event(((BhSensor *) data)->pipeline, ev);
}

const char *bh_sensor_host_name(const BhSensor *s, const char *path) {
        gsize n = strlen(s->options.host_root);

        while (n && s->options.host_root[n - 1] == '/')
                n--;
        return n && strncmp(path, s->options.host_root, n) == 0 && path[n] == '/' ? path + n : path;
}

/* A restart policy is the engine's own doing, a task Swarm's: nobody at the socket asked for these. */
static char *asked_by(BhSensor *s, const struct bh_event *e, const BhContainer *c, gboolean start) {
        const char *service = bh_container_label(c, "com.docker.swarm.service.name");

        if (service && bh_container_label(c, "com.docker.swarm.task.id"))
                return g_strdup_printf("Docker Swarm, for the service %s (its labels say so)", service);
        if (start && c->runs->len && *c->restart_policy && strcmp(c->restart_policy, "no") != 0)
                return g_strdup("");
        return bh_askers_of(s->askers, e);
}

/* Without a daemon it is whoever made the container's cgroup; what lies below that is the container's own doing. */
static void made(BhSensor *s, const struct bh_event *e, const struct bh_lineage *lineage) {
        static const char *const daemons[] = { "docker", "containerd", "buildkit", NULL };
        g_autofree char *path = g_strndup(e->cgroup_path.p, e->cgroup_path.len), *id = g_strndup(e->container_id.p, e->container_id.len);
        g_autoptr(BhContainer) c = bh_container_table_get(s->containers, id);

        if (!c || (!c->unattended && g_strv_contains(daemons, c->runtime)) || !g_strv_contains((const char *const *) c->cgroup_paths, path))
                return;

        g_autofree char *by = bh_askers_maker(e, lineage);
        bh_container_table_asked(s->containers, id, *c->created_by ? NULL : by, by, NULL);
}

/* Swarm ends its tasks itself; but so can whoever is at the socket. */
static char *killed_by(BhSensor *s, const struct bh_event *e, const BhContainer *c) {
        const char *service = bh_container_label(c, "com.docker.swarm.service.name");
        g_autofree char *by = bh_askers_of(s->askers, e);

        if (!service || !bh_container_label(c, "com.docker.swarm.task.id"))
                return g_steal_pointer(&by);
        return g_strdup_printf("Docker Swarm, for the service %s%s%s", service, *by ? ", or " : "", by);
}

/* Others (a hangup, a user's signal) are no order to end. Those by which an image wants to be stopped may be any: of these the engine says "stop" afterwards. */
static gboolean ends_it(const struct bh_event *e) {
        static const char *const signals[] = { "2", "3", "6", "9", "15", NULL };
        const char *signal = bh_describe_attribute(e, "signal");

        return !signal || g_strv_contains(signals, signal);
}

/* Lays what the runtime told by `e` at somebody's door. */
static void ask(BhSensor *s, const struct bh_event *e) {
        g_autofree char *action = g_strndup(e->action.p, e->action.len), *id = g_strndup(e->container_id.p, e->container_id.len), *by = NULL;
        const gboolean start = strcmp(action, "start") == 0, create = strcmp(action, "create") == 0, kill = strcmp(action, "kill") == 0, die = strcmp(action, "die") == 0,
                       stop = strcmp(action, "stop") == 0;
        g_autoptr(BhContainer) c = start || create || (kill && ends_it(e)) || die || stop ? bh_container_table_get(s->containers, id) : NULL;

        if (!c)
                return;
        if (kill) {
                by = killed_by(s, e, c);
                bh_askers_kill(s->askers, id, by, e->time);
        } else if (die) {
                by = bh_askers_killer(s->askers, id, e->time);
                bh_container_table_asked(s->containers, id, NULL, NULL, by ? by : "");
        } else if (stop) { /* told after its end, while who asked waits for that */
                by = killed_by(s, e, c);
                if (*by && !*c->ended_by)
                        bh_container_table_asked(s->containers, id, NULL, NULL, by);
        } else {
                by = asked_by(s, e, c, start);
                bh_container_table_asked(s->containers, id, start ? NULL : by, start ? by : NULL, start ? "" : NULL);
        }
}

void bh_sensor_asked(BhSensor *s, const struct bh_event *e, const struct bh_lineage *lineage) {
        struct bh_event *asked;

        bh_askers_event(s->askers, e);
        if (e->type == BH_EV_CGROUP_CREATE && bh_event_has(e, BH_F_cgroup_path)) {
                if (bh_event_has(e, BH_F_container_id))
                        made(s, e, lineage);
                else
                        bh_askers_keep_maker(s->askers, e, lineage);
        }
        if (e->type == BH_EV_CONTAINER && bh_event_has(e, BH_F_action) && bh_event_has(e, BH_F_container_id))
                g_queue_push_tail(&s->to_ask, bh_event_copy(e));
        /* The runtime's word comes by a way of its own. Who asked is known once the kernel's has come as far: that is told in the order of time, but may be seconds late. */
        while ((asked = g_queue_peek_head(&s->to_ask)) && (g_queue_get_length(&s->to_ask) > TO_ASK_MAX || (e->source == BH_SOURCE_KERNEL && e->time > asked->time))) {
                ask(s, asked);
                g_free(g_queue_pop_head(&s->to_ask));
        }
}

static void on_containerd_state(const BhContainerdState *state, gpointer data) {
        BhSensor *s = data;

        bh_container_table_set_namespaces(s->containers, state->namespaces);
        g_mutex_lock(&s->lock);
        gboolean changed = state->connected != s->containerd_connected;
        s->containerd_absent = state->absent;
        s->containerd_connected = state->connected;
        s->containerd_listed = state->listed;
        g_free(s->containerd_version);
        s->containerd_version = g_strdup(state->version);
        g_free(s->containerd_error);
        s->containerd_error = g_strdup(state->error);
        g_cond_broadcast(&s->changed);
        g_mutex_unlock(&s->lock);

        if (changed)
                bh_pipeline_say(s->pipeline, state->connected ? "runtime_connected" : "runtime_lost",
                                state->connected ? "connected to containerd" : "lost containerd; its containers are told by their cgroups until it is back", "socket",
                                state->socket_path, "version", state->version, "error", state->error, NULL);
        if (*state->error)
                bh_warn("containerd", "error", state->error);
}

gboolean bh_sensor_start_containerd(BhSensor *s, GError **error) {
        /* the Docker Engine describes its own better; without it they are anybody's */
        static const char *const engines[] = { "moby", "plugins.moby", NULL };
        BhContainerdConfig config = { .socket_path = s->options.containerd, .skip = s->options.no_docker ? NULL : engines, .on_container = bh_sensor_container, .on_event = bh_sensor_runtime_event,
                                      .on_state = on_containerd_state, .on_resources = bh_sensor_resources, .data = s };
        gint64 until = g_get_monotonic_time() + LISTED_WAIT_US;

        s->containerd = bh_containerd_new(&config);
        if (!bh_containerd_start(s->containerd, error))
                return FALSE;
        g_mutex_lock(&s->lock);
        while (!s->containerd_listed && !s->containerd_absent && !(s->containerd_error && *s->containerd_error) && g_cond_wait_until(&s->changed, &s->lock, until))
                ;
        g_mutex_unlock(&s->lock);
        return TRUE;
}

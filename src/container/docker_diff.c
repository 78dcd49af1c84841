/* SPDX-License-Identifier: Apache-2.0 */
#include "container/docker_diff.h"

#include <string.h>

#define SECOND G_GINT64_CONSTANT(1000000000)

static gboolean alive(const BhContainer *c) {
        return c->state == BH_CONTAINER_RUNNING || c->state == BH_CONTAINER_PAUSED;
}

static BhRuntimeEvent *add(GPtrArray *out, BhContainer *c, const char *action, gint64 ns, gint64 cutoff_ns) {
        if (ns >= cutoff_ns)
                return NULL;

        BhRuntimeEvent *ev = bh_runtime_event_new(BH_RUNTIME_CONTAINER, "container", action, c->id, ns);
        ev->synthetic = TRUE;
        ev->container = bh_container_ref(c);
        g_ptr_array_add(out, ev);
        return ev;
}

static void add_attribute(BhRuntimeEvent *ev, const char *key, const char *value) {
        BhKeyValue a = { g_strdup(key), g_strdup(value) };

        g_array_append_val(ev->attributes, a);
}

GPtrArray *bh_docker_diff(const BhContainer *before, BhContainer *now, gint64 cutoff_ns, gint64 seen_ns) {
        GPtrArray *out = g_ptr_array_new_with_free_func((GDestroyNotify) bh_runtime_event_unref);
        gboolean was = before && alive(before), is = alive(now);
        gint64 started_before = before ? before->started_ns : 0;
        /* a start event is some time younger than the engine's StartedAt */
        gboolean started_again = now->started_ns && (!started_before ? !was : now->started_ns > started_before + SECOND);

        if (!before)
                add(out, now, "create", now->created_ns, cutoff_ns);
        else if (*before->name && strcmp(before->name, now->name)) {
                BhRuntimeEvent *ev = add(out, now, "rename", seen_ns, G_MAXINT64);
                add_attribute(ev, "name", now->name);
                add_attribute(ev, "oldName", before->name);
        }
        if (now->oom_killed && !(before && before->oom_killed))
                add(out, now, "oom", now->finished_ns ? now->finished_ns : seen_ns, cutoff_ns);
        /* with a start since, this run's end has left no exit code behind, at most its time */
        if (was && started_again)
                add(out, now, "die", now->finished_ns && now->finished_ns < now->started_ns ? now->finished_ns : now->started_ns, cutoff_ns);
        if (started_again)
                add(out, now, "start", now->started_ns, cutoff_ns);
        if (!is && (was || started_again) && now->finished_ns) {
                BhRuntimeEvent *ev = add(out, now, "die", now->finished_ns, cutoff_ns);

                if (ev)
                        ev->exit_code = now->exit_code;
        }
        if (now->state == BH_CONTAINER_PAUSED && !(before && before->state == BH_CONTAINER_PAUSED))
                add(out, now, "pause", seen_ns, G_MAXINT64);
        else if (before && before->state == BH_CONTAINER_PAUSED && now->state == BH_CONTAINER_RUNNING && !started_again)
                add(out, now, "unpause", seen_ns, G_MAXINT64);
        return out;
}

void bh_docker_state_at(const BhContainer *c, gint64 at_ns, BhContainerState *state, gint64 *started_ns) {
        *state = c->state;
        *started_ns = c->started_ns;
        if (c->started_ns < at_ns) {
                if (c->finished_ns >= at_ns)
                        *state = BH_CONTAINER_RUNNING;
        } else if (c->finished_ns >= at_ns && c->finished_ns < c->started_ns) {
                /* the end of the run before is all that is left of it */
                *state = BH_CONTAINER_RUNNING;
                *started_ns = 1;
        } else {
                *state = BH_CONTAINER_CREATED;
                *started_ns = 0;
        }
}

gboolean bh_docker_apply_event(BhContainer *c, const BhRuntimeEvent *ev) {
        const char *a = ev->action;

        if (!strcmp(a, "create")) {
                c->state = BH_CONTAINER_CREATED;
                if (!c->created_ns)
                        c->created_ns = ev->time_ns;
        } else if (!strcmp(a, "start")) {
                c->state = BH_CONTAINER_RUNNING;
                c->started_ns = ev->time_ns;
                c->init_pid = 0;
                c->oom_killed = FALSE;
        } else if (!strcmp(a, "pause")) {
                c->state = BH_CONTAINER_PAUSED;
        } else if (!strcmp(a, "unpause")) {
                c->state = BH_CONTAINER_RUNNING;
        } else if (!strcmp(a, "die")) {
                c->state = BH_CONTAINER_EXITED;
                c->finished_ns = ev->time_ns;
                c->exit_code = ev->exit_code;
                bh_container_add_run(c, c->started_ns, ev->time_ns, ev->exit_code, c->oom_killed, NULL, ev->synthetic);
                c->init_pid = 0;
        } else if (!strcmp(a, "oom")) {
                c->oom_killed = TRUE;
        } else if (!strcmp(a, "destroy")) {
                c->state = BH_CONTAINER_REMOVED;
                c->init_pid = 0;
        } else if (!strcmp(a, "health_status")) {
                bh_container_set(c, &c->health, ev->detail);
        } else if (!strcmp(a, "rename")) {
                const char *name = bh_runtime_event_attribute(ev, "name");

                if (!name || !*name)
                        return FALSE;
                bh_container_set(c, &c->name, name[0] == '/' ? name + 1 : name);
                bh_container_finish(c);
        } else {
                return FALSE;
        }
        return TRUE;
}

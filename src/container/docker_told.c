/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What events told the listeners of each container, and what is concluded from it.
 *
 * An inspect may see more than the events have told so far: one that an `oom` led to already finds the container exited while its `die` is
 * still on the way, and is lost if the stream breaks then. So a gap is closed by comparing with Known.told, which only events move,
 * and never with Known.c.
 */
#include "container/docker_private.h"

#include <string.h>

#include "container/docker_diff.h"

static unsigned act_of(const BhRuntimeEvent *ev) {
        static const struct {
                const char *action;
                unsigned act;
        } acts[] = {
                { "create", ACT_CREATE }, { "start", ACT_START },   { "die", ACT_DIE },        { "pause", ACT_PAUSE },
                { "unpause", ACT_PAUSE }, { "oom", ACT_OOM },
        };

        for (gsize i = 0; i < G_N_ELEMENTS(acts); i++)
                if (!strcmp(ev->action, acts[i].action))
                        return acts[i].act;
        return 0;
}

static gboolean told_alive(const Known *k) {
        return k->told && (k->told->state == BH_CONTAINER_RUNNING || k->told->state == BH_CONTAINER_PAUSED);
}

void bh_docker_listed_first(Known *k) {
        k->told = bh_container_new(k->c->id, k->c->runtime);
        bh_container_set(k->told, &k->told->name, k->c->name);
        k->told->state = k->c->state;
        k->ungrounded = TRUE;
}

void bh_docker_tell(BhDocker *d, Known *k, BhRuntimeEvent *ev) {
        if (!k->told) {
                k->told = bh_container_new(k->c->id, k->c->runtime);
                bh_container_set(k->told, &k->told->name, k->c->name);
        }
        bh_docker_apply_event(k->told, ev);
        if (!ev->synthetic) {
                k->heard |= act_of(ev);
                k->told_ns = MAX(k->told_ns, ev->time_ns);
        }
        bh_docker_deliver(d, ev);
}

/*
 * The engine orders a container's acts by their time, so a concluded act's own event is the one dated before the next act that was
 * concluded with it; any other says that it is lost for good.
 */
gboolean bh_docker_concluded_already(Known *k, const BhRuntimeEvent *ev) {
        gboolean twin = FALSE;

        switch (act_of(ev)) {
        case ACT_CREATE:
                twin = k->create_concluded;
                k->create_concluded = FALSE;
                break;
        case ACT_START:
                twin = ev->time_ns < k->start_concluded_ns;
                k->start_concluded_ns = 0;
                if (!twin)
                        k->die_concluded_ns = 0;
                break;
        case ACT_DIE:
                twin = ev->time_ns < k->die_concluded_ns;
                k->die_concluded_ns = 0;
                if (!twin)
                        k->start_concluded_ns = 0;
                break;
        default:
                break;
        }
        return twin;
}

/* Of a container that was met before events told its beginning: what was so before the first event can have told otherwise. */
static void ground(BhDocker *d, Known *k) {
        gint64 at = MAX(d->first_connect_ns, k->told_ns);
        BhContainerState state;
        gint64 started;

        if (!k->told || k->c->level < BH_CONTAINER_FULL)
                return;
        k->ungrounded = FALSE;
        bh_docker_state_at(k->c, at, &state, &started);
        if (!(k->heard & (ACT_START | ACT_DIE | ACT_PAUSE)))
                k->told->state = state;
        if (!k->told->started_ns)
                k->told->started_ns = started;
        if (k->c->oom_killed && k->c->finished_ns < at)
                k->told->oom_killed = TRUE;
}

void bh_docker_conclude(BhDocker *d, Known *k) {
        if (k->ungrounded)
                ground(d, k);
        if (k->check && d->cutoff_ns) {
                g_autoptr(GPtrArray) lost = bh_docker_diff(k->fresh ? NULL : k->told, k->c, d->cutoff_ns, wall_ns());

                for (guint i = 0; i < lost->len; i++) {
                        BhRuntimeEvent *ev = lost->pdata[i];
                        unsigned act = act_of(ev);

                        /* the stream was quicker than the comparison */
                        if (k->fresh && (k->heard & act))
                                continue;
                        bh_docker_tell(d, k, ev);
                        if (act == ACT_CREATE) {
                                k->create_concluded = TRUE;
                        } else if (act == ACT_START) {
                                k->start_concluded_ns = G_MAXINT64;
                                k->die_concluded_ns = MIN(k->die_concluded_ns, ev->time_ns);
                        } else if (act == ACT_DIE) {
                                k->die_concluded_ns = G_MAXINT64;
                                k->start_concluded_ns = MIN(k->start_concluded_ns, ev->time_ns);
                        }
                }
                if (!k->told)
                        k->told = bh_container_new(k->c->id, k->c->runtime);
                bh_container_set(k->told, &k->told->name, k->c->name);
        }
        bh_docker_checked(d, k);
}

void bh_docker_conclude_end(BhDocker *d, Known *k) {
        g_autoptr(BhRuntimeEvent) die = NULL;
        gboolean dated = k->c->state == BH_CONTAINER_EXITED || k->c->state == BH_CONTAINER_DEAD || k->c->state == BH_CONTAINER_REMOVED;

        if (!told_alive(k))
                return;
        /* of this run's end? */
        dated = dated && k->c->finished_ns && k->c->finished_ns >= k->c->started_ns;
        die = bh_runtime_event_new(BH_RUNTIME_CONTAINER, "container", "die", k->c->id, dated ? k->c->finished_ns : wall_ns());
        die->synthetic = TRUE;
        die->container = bh_container_ref(k->c);
        if (dated)
                die->exit_code = k->c->exit_code;
        bh_docker_tell(d, k, die);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workloads scaled to zero, and back: a service of a Swarm by its manager's engine, which remembers what is wanted; services of Compose by stopping their containers. What was there before is in the
 * ledger before anything is changed, so that whoever is killed when, it can be scaled back. An order is pending there until it is known to be done: what is not is undone, by this sensor or its
 * successor, and while that cannot be it goes on as active, with the reason why its end is wanted (BH_ENTRY_UNDO).
 *
 * Nothing of this is in the kernel: somebody who scales it up again meanwhile is not hindered.
 */
#include <string.h>

#include "base/log.h"
#include "container/docker_act.h"
#include "enforce_link.h"
#include "respond_private.h"

#define ENGINE_MS 30000u
#define TRIES 5u       /* a service that others change at the same time */
#define AT_ONCE 8      /* containers that are stopped or started at a time */
#define AGAIN_US (5 * G_USEC_PER_SEC)
#define LOOK_US G_USEC_PER_SEC /* how often it is looked whether somebody started what was stopped */
#define GRACE_S 15 /* of a container that is stopped, at most: the engine has answered, and is done, before nobody waits for it any more (ENGINE_MS) */
#define GRACE_OWN_S 10 /* the engine's own, of a container that has none */
#define STOPPING_MS ((GRACE_S + 5) * 1000u) /* for so long an engine may go on with a stop whose asker is gone: what is started meanwhile runs still, and ends then */
#define CONTAINERS_MAX 1024u

static const char *after(const char *text, const char *prefix) {
        return g_str_has_prefix(text, prefix) ? text + strlen(prefix) : NULL;
}

/* ---- Compose ---- */

static gboolean is_of(const BhContainer *c, const char *scope) {
        const char *project = bh_container_label(c, BH_LABEL_COMPOSE_PROJECT), *service = bh_container_label(c, BH_LABEL_COMPOSE_SERVICE), *slash = strchr(scope, '/');
        gsize n = slash ? (gsize) (slash - scope) : strlen(scope);

        return project && strlen(project) == n && memcmp(project, scope, n) == 0 && (!slash || g_strcmp0(service, slash + 1) == 0);
}

static gboolean is_of_swarm(const BhContainer *c, const char *service) {
        return g_strcmp0(bh_container_label(c, BH_LABEL_SWARM_SERVICE), service) == 0;
}

/* What was there, as the ledger has it. Strings are the job's own: it is done with the lock given up. */
typedef struct {
        char *socket, *subject;
        json_t *stopped, *paused; /* ids; NULL: none. Compose */
        gint64 replicas;          /* Swarm */
} Job;

static Job job_of(const BhRespond *r, const BhEntry *e) {
        return (Job){
                .socket = g_strdup(r->docker ? r->docker : ""),
                .subject = g_strdup(e->subject),
                .stopped = json_incref(json_object_get(e->detail, "stopped")),
                .paused = json_incref(json_object_get(e->detail, "paused")),
                .replicas = json_integer_value(json_object_get(e->detail, "replicas")),
        };
}

static void job_clear(Job *job) {
        g_clear_pointer(&job->socket, g_free);
        g_clear_pointer(&job->subject, g_free);
        g_clear_pointer(&job->stopped, json_decref);
        g_clear_pointer(&job->paused, json_decref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Job, job_clear)

/* Why its end is wanted, which failed until now. NULL: it is not. */
static const char *undo_of(const BhEntry *e) {
        return json_string_value(json_object_get(e->detail, BH_ENTRY_UNDO));
}

/* Running ones of this engine: JSON array of ids; which of them are paused, and what is left alone, into the detail. NULL with *error: one is protected, or there are none. */
static json_t *running_of(BhRespond *r, const char *subject, json_t *detail, GError **error) {
        const char *scope = after(subject, BH_SCALE_COMPOSE), *service = after(subject, BH_SCALE_SWARM);
        g_autoptr(GPtrArray) all = bh_container_table_snapshot(r->c.containers);
        json_auto_t *ids = json_array(), *paused = json_array();
        guint jobs = 0;

        for (guint i = 0; i < all->len; i++) {
                const BhContainer *c = all->pdata[i];

                if (!g_str_equal(c->runtime, "docker") || c->depth || !(scope ? is_of(c, scope) : is_of_swarm(c, service)) ||
                    !(c->state == BH_CONTAINER_RUNNING || c->state == BH_CONTAINER_PAUSED || c->state == BH_CONTAINER_RESTARTING))
                        continue;
                if (scope && g_strcmp0(bh_container_label(c, BH_LABEL_COMPOSE_ONE_OFF), "True") == 0) { /* started again it would do its job once more */
                        jobs++;
                        continue;
                }
                g_autofree char *why = bh_respond_protects(r, c);
                if (why) {
                        bh_enforce_fail(error, "the container %s of it is protected: %s", c->name, why);
                        return NULL;
                }
                json_array_append_new(ids, json_string(c->id));
                if (c->state == BH_CONTAINER_PAUSED)
                        json_array_append_new(paused, json_string(c->id));
        }
        if (scope && json_array_size(paused))
                json_object_set(detail, "paused", paused);
        if (jobs)
                json_object_set_new(detail, "notes", json_pack("[o]", json_sprintf("%u one-off jobs of it (docker compose run) are left alone", jobs)));
        if (scope && !json_array_size(ids)) {
                bh_enforce_fail(error, "none of its containers runs on this node%s", jobs ? " but one-off jobs, which are left alone" : "");
                return NULL;
        }
        if (json_array_size(ids) > CONTAINERS_MAX) {
                bh_enforce_fail(error, "it has more than %u containers on this node", CONTAINERS_MAX);
                return NULL;
        }
        return json_incref(ids);
}

typedef struct {
        const char *socket, *act;
        gint done, gone; /* atomic */
        GMutex lock;
        char *failed; /* what the engine said of one */
} Acts;

/* With its own grace, but no longer than the engine is waited for. Caller frees. */
static char *stop_of(const char *socket, const char *id) {
        json_auto_t *container = bh_docker_container(socket, id, ENGINE_MS, NULL);
        json_t *own = json_object_get(json_object_get(container, "Config"), "StopTimeout");
        json_int_t s = json_is_integer(own) ? json_integer_value(own) : GRACE_OWN_S; /* -1: as long as it takes */

        return g_strdup_printf("stop?t=%d", s < 0 || s > GRACE_S ? GRACE_S : (int) s);
}

static void act_on(gpointer id, gpointer data) {
        Acts *a = data;
        g_autofree char *stop = g_str_equal(a->act, "stop") ? stop_of(a->socket, id) : NULL;
        g_autoptr(GError) error = NULL;

        if (bh_docker_act(a->socket, id, stop ? stop : a->act, ENGINE_MS, &error)) {
                g_atomic_int_inc(&a->done);
        } else if (g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
                g_atomic_int_inc(&a->gone);
        } else {
                g_mutex_lock(&a->lock);
                if (!a->failed)
                        a->failed = g_strdup(error->message);
                g_mutex_unlock(&a->lock);
        }
}

/* All of them, some at a time. FALSE with *error: one failed. */
static gboolean act_on_all(const char *socket, json_t *ids, const char *act, guint *done, GError **error) {
        Acts a = { .socket = socket, .act = act };
        GThreadPool *pool;
        json_t *id;
        size_t i;

        g_mutex_init(&a.lock);
        pool = g_thread_pool_new(act_on, &a, AT_ONCE, FALSE, NULL);
        json_array_foreach(ids, i, id)
                if (json_is_string(id))
                        g_thread_pool_push(pool, (gpointer) json_string_value(id), NULL);
        g_thread_pool_free(pool, FALSE, TRUE);
        g_mutex_clear(&a.lock);
        *done = (guint) a.done;
        g_autofree char *failed = a.failed;
        return !failed || bh_enforce_fail(error, "%u of %zu were told to %s: %s", *done, json_array_size(ids), act, failed);
}

/* ---- Swarm ---- */

static const char *label_of(const json_t *labels, const char *key) {
        return json_string_value(json_object_get(labels, key));
}

/* NULL with *error: it cannot be scaled, or must not. */
static json_t *service_of(BhRespond *r, const char *id, gint64 *replicas, GError **error) {
        json_auto_t *service = bh_docker_service(r->docker, id, ENGINE_MS, error);
        json_t *spec = json_object_get(service, "Spec");
        const char *why;

        if (!service) {
                g_prefix_error(error, "a service of a Swarm is scaled by an engine that is its manager, which this node's may not be: ");
                return NULL;
        }
        if (!bh_docker_service_replicas(service, replicas)) {
                bh_enforce_fail(error, "the service is a global one, or a job: it has no number of replicas, so that it cannot be scaled");
                return NULL;
        }
        why = bh_response_protects(label_of(json_object_get(spec, "Labels"), BH_RESPONSE_LABEL_PROTECTED), NULL);
        if (!why)
                why = bh_response_protects(label_of(json_object_get(json_object_get(json_object_get(spec, "TaskTemplate"), "ContainerSpec"), "Labels"), BH_RESPONSE_LABEL_PROTECTED), NULL);
        if (why) {
                bh_enforce_fail(error, "the service is protected: %s", why);
                return NULL;
        }
        return json_incref(service);
}

/* From what to what; *was NULL is allowed. FALSE with *error; G_FILE_ERROR_EXIST: it has another number than `from` by now, which is in *was. */
static gboolean scale_service(const char *socket, const char *id, gint64 from, gint64 to, gint64 *was, GError **error) {
        for (guint i = 0;; i++) {
                g_autoptr(GError) failed = NULL;
                json_auto_t *service = bh_docker_service(socket, id, ENGINE_MS, error);
                gint64 now = 0;

                if (!service)
                        return FALSE;
                if (!bh_docker_service_replicas(service, &now) || now != from) {
                        *was = now;
                        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_EXIST, "somebody changed it meanwhile");
                        return FALSE;
                }
                if (bh_docker_service_scale(socket, service, to, ENGINE_MS, &failed))
                        return TRUE;
                if (i + 1 < TRIES && g_error_matches(failed, G_FILE_ERROR, G_FILE_ERROR_AGAIN))
                        continue;
                g_propagate_error(error, g_steal_pointer(&failed));
                return FALSE;
        }
}

/* ---- orders ---- */

/* What there is now, into the detail: "replicas" and "service" of a Swarm, "stopped" and "paused" of Compose. With the lock given up. */
static gboolean look(BhRespond *r, BhEntry *e, json_t *detail, GError **error) {
        const char *id = after(e->subject, BH_SCALE_SWARM);
        json_auto_t *running = running_of(r, e->subject, detail, error);
        gint64 replicas = 0;

        if (!running)
                return FALSE;
        if (!id) {
                json_object_set(detail, "stopped", running);
                return TRUE;
        }
        json_auto_t *service = service_of(r, id, &replicas, error);
        const char *name = json_string_value(json_object_get(json_object_get(service, "Spec"), "Name"));
        if (!service)
                return FALSE;
        if (!replicas)
                return bh_enforce_fail(error, "it is at zero already");
        json_object_set_new(detail, "replicas", json_integer(replicas));
        json_object_set_new(detail, "service", json_string(name ? name : ""));
        return TRUE;
}

/* What failed on its way: half of it is no answer to anything, and an engine that did not answer may have done it all the same. With the lock given up. FALSE with *error: it may be in force. */
static gboolean undo(const Job *job, const GError *why, GError **error) {
        const char *service = after(job->subject, BH_SCALE_SWARM);
        g_autoptr(GError) failed = NULL;
        gint64 was = 0;
        guint done = 0;

        if (!service) {
                gboolean ok = act_on_all(job->socket, job->stopped, "start", &done, error);

                act_on_all(job->socket, job->paused, "pause", &done, NULL); /* those that were not stopped are paused still, and refuse it */
                return ok;
        }
        if (g_error_matches(why, G_FILE_ERROR, G_FILE_ERROR_EXIST) || g_error_matches(why, G_FILE_ERROR, G_FILE_ERROR_AGAIN) || g_error_matches(why, G_FILE_ERROR, G_FILE_ERROR_NOENT))
                return TRUE; /* nothing was changed */
        if (scale_service(job->socket, service, 0, job->replicas, &was, &failed) || g_error_matches(failed, G_FILE_ERROR, G_FILE_ERROR_EXIST) || g_error_matches(failed, G_FILE_ERROR, G_FILE_ERROR_NOENT))
                return TRUE; /* what is not at zero is as it was, or as others want it */
        g_propagate_error(error, g_steal_pointer(&failed));
        return FALSE;
}

/* Its end is wanted, and cannot be now: it goes on until it can. */
static void stay(BhRespond *r, BhEntry *e, const char *why, const char *result) {
        json_object_set_new(e->detail, BH_ENTRY_UNDO, json_string(why));
        e->looked_us = g_get_monotonic_time();
        if (!e->complained)
                bh_respond_say(r, "response_lost", e, result);
        e->complained = TRUE;
        bh_respond_end(r, e, BH_RESPONSE_STATE_ACTIVE, result);
}

static json_t *begin(BhRespond *r, BhEntry *e) {
        const char *service = after(e->subject, BH_SCALE_SWARM);
        g_auto(Job) job = job_of(r, e);
        g_autoptr(GError) error = NULL, left = NULL;
        g_autofree char *what = NULL;
        gint64 was = 0;
        guint done = 0;

        if (!bh_entry_save(r->dir, e)) /* as pending: a successor undoes it, whatever was done of it */
                return bh_respond_fail_entry(r, e, "it cannot be written to the node's ledger, so that it could not be scaled back after the sensor's end: see the sensor's log");
        e->busy = TRUE;
        g_mutex_unlock(&r->lock);
        gboolean ok = service ? scale_service(job.socket, service, job.replicas, 0, &was, &error) : act_on_all(job.socket, job.stopped, "stop", &done, &error);
        gboolean undone = ok || undo(&job, error, &left);
        g_mutex_lock(&r->lock);
        e->busy = FALSE;
        if (ok) {
                what = service ? g_strdup_printf("in force: from %" G_GINT64_FORMAT " replicas to none", job.replicas) : g_strdup_printf("in force: %u containers were stopped", done);
                bh_respond_end(r, e, BH_RESPONSE_STATE_ACTIVE, what);
                bh_respond_say(r, "response_active", e, "is in force");
        } else if (undone) {
                return bh_respond_fail_entry(r, e, error->message);
        } else {
                what = g_strdup_printf("it failed, and what was done of it cannot be undone now, which is tried again: %s; %s", error->message, left->message);
                stay(r, e, "it failed", what);
        }
        return bh_entry_tell(e);
}

json_t *bh_respond_scale_new(BhRespond *r, const BhOrder *o) {
        const char *subject = o->subject ? o->subject : "", *service = after(subject, BH_SCALE_SWARM), *scope = after(subject, BH_SCALE_COMPOSE);
        g_autoptr(BhContainer) c = bh_container_table_get(r->c.containers, o->container), named = bh_container_new(o->container, "docker");
        g_autoptr(GError) error = NULL;

        if (!(service && *service) && !(scope && *scope))
                return bh_respond_fail(o, "the order names no service, of a Swarm or of Compose");
        if (!r->docker)
                return bh_respond_fail(o, "this node's sensor asks no Docker Engine, which scaling is done by");
        if (bh_respond_held_now(r) >= BH_RESPOND_HELD)
                return bh_respond_fail(o, "as many responses go on here as there may be: release others first");
        bh_container_set(named, &named->name, scope ? scope : c && *c->name ? c->name : service);
        BhEntry *e = bh_entry_new(o, BH_RESPONSE_SCALE, named, "", ++r->serial, g_get_real_time() * 1000);
        e->state = BH_RESPONSE_STATE_PENDING;
        e->busy = TRUE;
        g_hash_table_insert(r->entries, e->id, e); /* the same order, sent again, finds it */
        json_auto_t *detail = json_object();
        g_mutex_unlock(&r->lock);
        gboolean ok = look(r, e, detail, &error);
        g_mutex_lock(&r->lock);
        e->busy = FALSE;
        json_object_update(e->detail, detail);
        if (!ok && !o->dry_run)
                return bh_respond_fail_entry(r, e, error->message);
        if (!o->dry_run)
                return begin(r, e);
        e->state = ok ? BH_RESPONSE_STATE_DRY_RUN : BH_RESPONSE_STATE_FAILED;
        g_free(e->result);
        json_t *stopped = json_object_get(e->detail, "stopped");
        e->result = !ok ? g_strdup(error->message) : stopped ? g_strdup_printf("would be done: %zu containers are stopped", json_array_size(stopped))
                                                              : g_strdup_printf("would be done: from %" JSON_INTEGER_FORMAT " replicas to none", json_integer_value(json_object_get(e->detail, "replicas")));
        json_t *told = bh_entry_tell(e);
        g_hash_table_remove(r->entries, e->id);
        return told;
}

/* ---- and back ---- */

/* With the lock given up. *result: what came of it, caller frees; NULL with *error: nothing, it is to be tried again. */
static BhResponseState scale_back(const Job *job, char **result, GError **error) {
        const char *service = after(job->subject, BH_SCALE_SWARM);
        g_autoptr(GError) failed = NULL;
        gint64 was = 0;
        guint done = 0, paused = 0;

        *result = NULL;
        if (!service) {
                if (!act_on_all(job->socket, job->stopped, "start", &done, error))
                        return BH_RESPONSE_STATE_ACTIVE;
                const gboolean ok = act_on_all(job->socket, job->paused, "pause", &paused, &failed);
                g_autofree char *again = !ok ? g_strdup_printf("; what was paused is not: %s", failed->message) : paused ? g_strdup_printf(", and %u of them paused", paused) : NULL;
                *result = done ? g_strdup_printf("%u of %zu containers were started again%s", done, json_array_size(job->stopped), again ? again : "") : g_strdup("its containers were removed");
                return done ? BH_RESPONSE_STATE_RELEASED : BH_RESPONSE_STATE_GONE;
        }
        if (scale_service(job->socket, service, 0, job->replicas, &was, &failed)) {
                *result = g_strdup_printf("scaled back to %" G_GINT64_FORMAT " replicas", job->replicas);
        } else if (g_error_matches(failed, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
                *result = g_strdup("the service was removed");
                return BH_RESPONSE_STATE_GONE;
        } else if (g_error_matches(failed, G_FILE_ERROR, G_FILE_ERROR_EXIST)) { /* by an update of ours as well, whose answer was lost */
                *result = was == job->replicas ? g_strdup_printf("scaled back to %" G_GINT64_FORMAT " replicas", was)
                                               : g_strdup_printf("somebody scaled it to %" G_GINT64_FORMAT " since: left as it is", was);
        } else {
                g_propagate_error(error, g_steal_pointer(&failed));
                return BH_RESPONSE_STATE_ACTIVE;
        }
        return BH_RESPONSE_STATE_RELEASED;
}

static void end_it(BhRespond *r, BhEntry *e, const char *reason) {
        g_auto(Job) job = job_of(r, e);
        g_autofree char *what = NULL, *why = NULL;
        g_autoptr(GError) error = NULL;

        if (e->state != BH_RESPONSE_STATE_ACTIVE || e->busy)
                return;
        e->busy = TRUE;
        g_mutex_unlock(&r->lock);
        BhResponseState state = scale_back(&job, &what, &error);
        g_mutex_lock(&r->lock);
        e->busy = FALSE;
        if (state == BH_RESPONSE_STATE_ACTIVE) {
                why = g_strdup_printf("it cannot be scaled back now, which is tried again: %s", error->message);
                stay(r, e, reason, why);
                return;
        }
        json_object_del(e->detail, BH_ENTRY_UNDO);
        why = g_strdup_printf("%s: %s", reason, what);
        bh_respond_end(r, e, state, why);
        bh_respond_say(r, "response_released", e, why);
}

void bh_respond_scale_release(BhRespond *r, BhEntry *e, gboolean give_up) {
        if (!undo_of(e)) /* else it is tried already, and whoever says it again each second need not wait for the engine */
                end_it(r, e, "released");
        if (!give_up || !undo_of(e) || e->state != BH_RESPONSE_STATE_ACTIVE || e->busy) /* busy: it is being tried; the central says it again */
                return;
        g_autofree char *result = g_strdup_printf("given up by force, and left as it is, at zero or not; the last that was known: %s", e->result);
        json_object_del(e->detail, BH_ENTRY_UNDO);
        bh_respond_end(r, e, BH_RESPONSE_STATE_RELEASED, result);
        bh_respond_say(r, "response_released", e, result);
}

void bh_respond_scale_take_up(BhRespond *r, BhEntry *e) {
        const gboolean known = json_object_get(e->detail, "stopped") || json_object_get(e->detail, "replicas");

        if (e->state == BH_RESPONSE_STATE_PENDING && known) {
                json_object_set_new(e->detail, BH_ENTRY_UNDO, json_string("the sensor ended while it was carried out"));
                bh_respond_end(r, e, BH_RESPONSE_STATE_ACTIVE, "the sensor ended while it was carried out: it is undone");
        }
        if (undo_of(e) && after(e->subject, BH_SCALE_COMPOSE))
                e->looked_us = g_get_monotonic_time() + (r->c.stopping_ms ? r->c.stopping_ms : STOPPING_MS) * G_GINT64_CONSTANT(1000) - AGAIN_US;
}

/* ---- with time ---- */

/* An engine starts again what has a restart policy of "always" when it is started itself, and people may: nothing hinders them, but it is said, and again when none of them ran in between. */
static void look_for_started(BhRespond *r, BhEntry *e) {
        json_t *stopped = json_object_get(e->detail, "stopped"), *id;
        size_t i, n = 0;

        e->strays_us = g_get_monotonic_time();
        json_array_foreach(stopped, i, id) {
                g_autoptr(BhContainer) c = bh_container_table_get(r->c.containers, json_is_string(id) ? json_string_value(id) : "");

                n += c && c->state == BH_CONTAINER_RUNNING && c->started_ns > e->time_ns; /* what is known of it may be of before it was stopped */
        }
        g_autofree char *what = g_strdup_printf("is in force no more: %zu of its containers were started again, by the engine (restart policy) or by somebody", n);
        if (n && !e->started_again)
                bh_respond_say(r, "response_lost", e, what);
        e->started_again = n > 0;
}

typedef struct {
        BhRespond *r;
        char *id;
} Back;

/* The entry by its id: it may have ended, and be forgotten. */
static gpointer back(gpointer data) {
        g_autofree Back *b = data;
        g_autofree char *id = b->id, *reason = NULL;
        BhRespond *r = b->r;

        g_mutex_lock(&r->lock);
        BhEntry *e = g_hash_table_lookup(r->entries, id);
        if (e) {
                reason = g_strdup(undo_of(e) ? undo_of(e) : "its time was over");
                end_it(r, e, reason);
        }
        r->scaling_back = FALSE;
        g_cond_signal(&r->moved);
        g_mutex_unlock(&r->lock);
        return NULL;
}

void bh_respond_scale_turn(BhRespond *r) {
        const gint64 now = g_get_real_time() * 1000, now_us = g_get_monotonic_time();
        GHashTableIter it;
        BhEntry *e;

        g_hash_table_iter_init(&it, r->entries);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &e)) {
                if (e->action != BH_RESPONSE_SCALE || e->state != BH_RESPONSE_STATE_ACTIVE || e->busy)
                        continue;
                if (!undo_of(e) && now_us - e->strays_us >= LOOK_US)
                        look_for_started(r, e);
                if (r->scaling_back || !(undo_of(e) || (e->until_ns && now >= e->until_ns)) || (e->looked_us && now_us - e->looked_us < AGAIN_US))
                        continue;
                Back *b = g_new0(Back, 1);
                *b = (Back){ .r = r, .id = g_strdup(e->id) };
                e->looked_us = now_us;
                g_clear_pointer(&r->scaler, g_thread_join); /* one that is done: it has the lock no more */
                r->scaling_back = TRUE;
                r->scaler = g_thread_new("bh-scale", back, b);
        }
}

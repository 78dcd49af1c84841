/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client of one Docker Engine over its Unix socket (Docker 20.10 and newer, and what speaks the same API).
 *
 * A thread of its own keeps the event stream open, lists all containers, inspects each, and again when an event says that it
 * changed. Three rules make its picture reliable:
 *
 *  - Name, image and labels of a new container are published at once from the create event itself (BH_CONTAINER_FROM_EVENT); the
 *    inspect that follows can take as long as the container's start, because the engine answers it under the container's lock.
 *    Several inspects run at a time, so one that waits holds up no other.
 *  - After a gap (the engine restarted, the stream broke, a line was refused) the stream is opened again from the last event
 *    seen, what the engine still remembers is replayed without doubles, and the rest is concluded from a new listing and
 *    delivered as events marked `synthetic`, with the engine's own times where it keeps them. What was lost is decided by what events
 *    had told, not by what an inspect may have seen meanwhile; a lost event that comes late after all is dropped as a duplicate.
 *  - Whatever is refused (too large, not understood) is counted and leads to a new listing; an event that is too large is delivered
 *    without its attributes.
 *
 * Callbacks run in the client's thread and must not block for long nor call bh_docker_stop(). Objects passed to them are borrowed:
 * take a reference to keep one. on_container comes before on_event when one event leads to both.
 *
 * The engine is trusted to be the engine, not to be right: see docker_json.h. Reading needs write permission on its socket (root).
 */
#pragma once
#include "container/resource.h"
#include "container/runtime_event.h"

#define BH_DOCKER_DEFAULT_SOCKET "/var/run/docker.sock"
#define BH_DOCKER_MAX_BODY (64u << 20)
#define BH_DOCKER_MAX_EVENT_LINE (1u << 20)
#define BH_DOCKER_MAX_CONTAINERS 100000u
#define BH_DOCKER_MAX_EXECS 10000u
#define BH_DOCKER_THINGS_US (60 * G_USEC_PER_SEC)
#define BH_DOCKER_THINGS_MIN_US (2 * G_USEC_PER_SEC)
#define BH_DOCKER_MAX_NETWORKS 256u /* that span nodes and are inspected one by one */
#define BH_DOCKER_PARALLEL 8u /* requests at a time, besides the event stream */

typedef struct {
        gboolean connected; /* the event stream is open */
        gboolean listed;    /* all containers that existed at (re)connection are published, inspected or known to be gone */
        const char *socket_path;
        const char *engine_version, *api_version; /* "" until known */
        const char *error; /* "" or a sentence: what is wrong and what to do about it */
        guint containers;
} BhDockerState;

typedef struct {
        guint64 events, events_refused, events_bad, events_duplicate, events_synthetic;
        guint64 inspects, inspects_failed, bodies_refused, bodies_bad, containers_refused, execs_refused;
        guint64 connects, disconnects, listings;
        guint64 gatherings, gatherings_failed; /* of resources; failed: a question of one was not answered, what was known of it stays */
} BhDockerStats;

typedef struct {
        const char *socket_path; /* NULL: BH_DOCKER_DEFAULT_SOCKET */
        void (*on_container)(BhContainer *c, gpointer data);
        void (*on_event)(BhRuntimeEvent *ev, gpointer data);
        void (*on_state)(const BhDockerState *state, gpointer data); /* on each change */
        /*
         * Networks, volumes, images, projects of Compose, and the Swarm's things where this engine is a manager: a whole set when it is new or differs from the
         * one told before. Looked at after events about them, at most each BH_DOCKER_THINGS_MIN_US, and each BH_DOCKER_THINGS_US.
         */
        void (*on_resources)(BhResourceSet *set, gpointer data);
        gpointer data;
        gint64 since_ns; /* what happened after this is asked for at the first connection as well, since the epoch: the engine remembers its last 256 events. 0: nothing of before */
        gint64 idle_us; /* after so long without a sign of life the engine is asked for one; 0 = 10 s */
} BhDockerConfig;

typedef struct BhDocker BhDocker;

/* Copies the configuration. Any callback may be NULL. */
BhDocker *bh_docker_new(const BhDockerConfig *config);
/* Starts the thread. Fails only for want of resources: an engine that does not answer is reported by on_state and tried again. */
gboolean bh_docker_start(BhDocker *d, GError **error);
/* Ends the thread and waits for it; no callback runs afterwards. May be called twice, and without start. */
void bh_docker_stop(BhDocker *d);
/* Stops if need be. NULL is allowed. */
void bh_docker_free(BhDocker *d);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhDocker, bh_docker_free)

/* From any thread. */
void bh_docker_get_stats(BhDocker *d, BhDockerStats *out);

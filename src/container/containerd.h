/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client of one containerd over its Unix socket (gRPC; containerd 1.6 and newer).
 *
 * A thread of its own subscribes to events, lists every namespace's containers, tasks and images, and lists again BH_CONTAINERD_SETTLE_US after the
 * subscription began, each BH_CONTAINERD_RESYNC_US, and after anything that was refused: containerd neither says when a subscription is in force nor replays
 * events, so what fell into a gap is concluded from the next listing and delivered as events marked `synthetic`. A container is published when its creation
 * is told (BH_CONTAINER_FROM_EVENT) and again when it is described.
 *
 * Namespaces in `skip` are another client's to describe ("moby" is the Docker Engine's). Of two containers with one id in two namespaces the one met first is
 * described, the other one counted: the rest of the program knows a container by its id.
 *
 * Callbacks run in the client's thread and must not block for long nor call bh_containerd_stop(). Objects passed to them are borrowed. on_container comes
 * before on_event. Without a socket at its place there is no containerd, which is no error; it is looked for again every few seconds.
 */
#pragma once
#include "container/resource.h"
#include "container/runtime_event.h"

#define BH_CONTAINERD_DEFAULT_SOCKET "/run/containerd/containerd.sock"
#define BH_CONTAINERD_MAX_CONTAINERS 20000u
#define BH_CONTAINERD_SETTLE_US (1 * G_USEC_PER_SEC)
#define BH_CONTAINERD_RESYNC_US (60 * G_USEC_PER_SEC)

typedef struct {
        gboolean absent;    /* there is no socket */
        gboolean connected; /* it answers, and events are subscribed to */
        gboolean listed;    /* everything that existed at (re)connection is published */
        const char *socket_path, *version;
        const char *error; /* "" or a sentence: what is wrong and what to do about it */
        const char *const *namespaces; /* that are read, NULL-terminated; never NULL */
        guint containers;
} BhContainerdState;

typedef struct {
        guint64 events, events_bad, events_synthetic, events_duplicate;
        guint64 calls, calls_failed, answers_refused, answers_bad, containers_refused, ids_twice, layers_refused; /* images whose layers were not kept */
        guint64 connects, disconnects, listings;
} BhContainerdStats;

typedef struct {
        const char *socket_path; /* NULL: BH_CONTAINERD_DEFAULT_SOCKET */
        const char *const *skip; /* names of namespaces; may be NULL */
        void (*on_container)(BhContainer *c, gpointer data);
        void (*on_event)(BhRuntimeEvent *ev, gpointer data);
        void (*on_state)(const BhContainerdState *state, gpointer data); /* on each change */
        void (*on_resources)(BhResourceSet *set, gpointer data);         /* source "containerd", scope "node": images, pods, itself */
        gpointer data;
} BhContainerdConfig;

typedef struct BhContainerd BhContainerd;

/* Copies the configuration. Any callback may be NULL. */
BhContainerd *bh_containerd_new(const BhContainerdConfig *config);
/* Starts the thread. Fails only for want of resources: a containerd that does not answer is reported by on_state and tried again. */
gboolean bh_containerd_start(BhContainerd *d, GError **error);
/* Ends the thread and waits for it; no callback runs afterwards. May be called twice, and without start. */
void bh_containerd_stop(BhContainerd *d);
void bh_containerd_free(BhContainerd *d);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhContainerd, bh_containerd_free)
/* Any thread. */
void bh_containerd_get_stats(BhContainerd *d, BhContainerdStats *out);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Something that a container runtime says happened: a container's life cycle, an exec, an image, a network, a volume, the daemon.
 *
 * Reference-counted and unchanging once delivered, like BhContainer. Strings are never NULL, and foreign.
 */
#pragma once
#include "container/container.h"

#define BH_RUNTIME_EVENT_MAX_ATTRIBUTES 256

typedef enum {
        BH_RUNTIME_CONTAINER,
        BH_RUNTIME_IMAGE,
        BH_RUNTIME_NETWORK,
        BH_RUNTIME_VOLUME,
        BH_RUNTIME_DAEMON,
        BH_RUNTIME_OTHER, /* plugins, Swarm's services, nodes, secrets…: kind_name says which */
} BhRuntimeKind;

typedef struct {
        gatomicrefcount refs;
        gint64 time_ns; /* the engine's clock, since the epoch */
        BhRuntimeKind kind;
        char *kind_name;        /* as sent: "container", "image", … */
        char *action;           /* "create", "start", "exec_start", "health_status", …; "exec_running" is ours: the exec's pid is now known */
        char *detail;           /* what the engine put behind the action: the exec's command, "healthy", … */
        char *actor_id;         /* of the container, image, network, … */
        BhContainer *container; /* best known description, also of one that is just destroyed; NULL when none is concerned */
        GArray *attributes;     /* BhKeyValue, sorted; as sent, so a container's labels are among them */
        char *exec_id, *exec_command; /* of exec_* events */
        gint32 exec_pid;        /* in the engine's pid namespace, 0 = not known */
        gint32 exit_code;       /* of die and exec_die, else -1 */
        gint32 signal;          /* of kill, else 0 */
        gboolean synthetic;     /* the engine did not send it: concluded from a listing after a gap in the stream */
        guint32 refused;        /* attributes over the bound or not strings */
} BhRuntimeEvent;

BhRuntimeEvent *bh_runtime_event_new(BhRuntimeKind kind, const char *kind_name, const char *action, const char *actor_id, gint64 time_ns);
BhRuntimeEvent *bh_runtime_event_ref(BhRuntimeEvent *ev);
void bh_runtime_event_unref(BhRuntimeEvent *ev);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhRuntimeEvent, bh_runtime_event_unref)

/* Value of an attribute, NULL if there is none. */
const char *bh_runtime_event_attribute(const BhRuntimeEvent *ev, const char *key);

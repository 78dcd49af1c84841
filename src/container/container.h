/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One container as a runtime (or its cgroup alone) describes it.
 *
 * A BhContainer is reference-counted and never changes once it is published: the thread that learned something new makes a
 * copy (bh_container_dup), changes that and publishes it, so a reader may keep the older version as long as it likes. Reference
 * counting is atomic; a published container may be read from any thread.
 *
 * All strings are never NULL ("" = not known) and belong to the container. They are foreign: a label may hold any UTF-8, a
 * name that came from a cgroup path any bytes; escape them before they reach a log line or a terminal. Values of environment
 * variables are not kept anywhere. What exceeds the bounds below is left out and counted in `refused`.
 */
#pragma once
#include <glib.h>
#include <jansson.h>

#define BH_CONTAINER_ID_SHORT 12
#define BH_CONTAINER_MAX_LABELS 256
#define BH_CONTAINER_MAX_LABEL_KEY 256
#define BH_CONTAINER_MAX_LABEL_VALUE 4096
#define BH_CONTAINER_MAX_TEXT 4096
#define BH_CONTAINER_MAX_MOUNTS 512
#define BH_CONTAINER_MAX_LIST 1024 /* networks, ports, capabilities, devices, environment names, security options: each */
#define BH_CONTAINER_MAX_CGROUPS 16

typedef enum {
        BH_CONTAINER_CREATED,
        BH_CONTAINER_RUNNING,
        BH_CONTAINER_PAUSED,
        BH_CONTAINER_RESTARTING,
        BH_CONTAINER_EXITED,
        BH_CONTAINER_DEAD,
        BH_CONTAINER_REMOVED,
        BH_CONTAINER_STATE_UNKNOWN,
} BhContainerState;

/* How much is known. Each level includes the ones before. */
typedef enum {
        BH_CONTAINER_FROM_CGROUP, /* id, runtime (from the path's shape), cgroup path */
        BH_CONTAINER_FROM_EVENT,  /* + name, image, labels, state: what an event or a list entry carries */
        BH_CONTAINER_FULL,        /* + everything: inspected */
} BhContainerLevel;

typedef struct {
        char *key, *value;
} BhKeyValue;

typedef struct {
        char *type, *source, *destination;
        gboolean rw;
        gboolean sensitive; /* gives a way to the host: see bh_mount_is_sensitive() */
} BhMount;

typedef struct {
        char *name, *id, *ip, *ip6, *mac;
} BhContainerNetwork;

typedef struct {
        char *host_ip;
        char protocol[8];
        guint16 container_port, host_port; /* host_port 0: exposed but not published */
} BhPort;

typedef struct {
        gatomicrefcount refs;
        BhContainerLevel level;
        char *id;   /* full; 64 hex digits with Docker and most others */
        char *name; /* without Docker's leading '/' */
        char *image, *image_id, *image_digest; /* as given by the user; sha256:…; repository@sha256:… */
        char *runtime;                         /* docker, containerd, podman, crio, runc, buildkit, unknown */
        BhContainerState state;
        char *workload, *application; /* DESIGN: a workload is named by the pair; application "" = none */
        char *outer_id;               /* container in which this one runs (Docker in Docker), "" for none */
        guint depth;                  /* 0 = directly on the host */
        GArray *labels;               /* BhKeyValue, sorted by key */
        GArray *mounts;               /* BhMount, sorted by destination */
        GArray *networks;             /* BhContainerNetwork, sorted by name */
        GArray *ports;                /* BhPort */
        char **cap_add, **cap_drop, **devices, **security_opt, **env_names, **cgroup_paths; /* never NULL */
        char *network_mode, *pid_mode, *ipc_mode, *user, *health, *cgroup_parent;
        gboolean privileged, host_network, host_pid, host_ipc, host_userns, readonly_rootfs, oom_killed;
        gint32 init_pid;                               /* in the engine's pid namespace; 0 = not running or not known */
        gint64 created_ns, started_ns, finished_ns;    /* since the epoch; 0 = not known or not yet */
        gint32 exit_code;                              /* of the last run; meaningful once finished_ns is set */
        guint32 restart_count;
        guint32 refused; /* labels, mounts, … that were over a bound or of the wrong type, and texts that were cut */
} BhContainer;

/* A container that nobody has published yet: one reference, level BH_CONTAINER_FROM_CGROUP, everything else unknown. */
BhContainer *bh_container_new(const char *id, const char *runtime);
BhContainer *bh_container_ref(BhContainer *c);
void bh_container_unref(BhContainer *c);
/* A deep copy with one reference, to be changed before it is published. */
BhContainer *bh_container_dup(const BhContainer *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhContainer, bh_container_unref)

/* For builders, before publishing. Texts are cut at their bound, at a UTF-8 boundary. */
void bh_container_set(BhContainer *c, char **field, const char *value);
void bh_container_add_label(BhContainer *c, const char *key, const char *value);
void bh_container_add_mount(BhContainer *c, const char *type, const char *source, const char *destination, gboolean rw);
/* Adds a path to cgroup_paths unless it is there; the oldest goes when there are BH_CONTAINER_MAX_CGROUPS. TRUE if it changed. */
gboolean bh_container_add_cgroup(BhContainer *c, const char *path);
/* Sorts the lists, derives workload, application and the host-namespace flags. Must be called before publishing. */
void bh_container_finish(BhContainer *c);

/* Value of a label, NULL if there is none. */
const char *bh_container_label(const BhContainer *c, const char *key);
/* Name for people: the name, else the first 12 characters of the id (into buf). */
const char *bh_container_display_name(const BhContainer *c, char buf[BH_CONTAINER_ID_SHORT + 1]);
/* TRUE when a bind mount of this host path hands the container a lever on the host (the root, /proc, /etc, a runtime's socket…). */
gboolean bh_mount_is_sensitive(const char *type, const char *source, gboolean rw);

const char *bh_container_state_name(BhContainerState state);
/* BH_CONTAINER_STATE_UNKNOWN for a name that is not one of Docker's. */
BhContainerState bh_container_state_parse(const char *name);
const char *bh_container_level_name(BhContainerLevel level);

/* All fields as an object; times as RFC 3339 text with nanoseconds or null; invalid UTF-8 escaped as in base/escape.h. New reference. */
json_t *bh_container_to_json(const BhContainer *c);

/* RFC 3339 time to nanoseconds since the epoch; 0 for Docker's zero time and for anything that is not a time. */
gint64 bh_time_parse(const char *text);
/* The reverse, UTC; caller frees. */
char *bh_time_format(gint64 ns);

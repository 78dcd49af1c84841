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
#define BH_CONTAINER_MAX_ALIASES 64 /* of a network */
#define BH_CONTAINER_MAX_CGROUPS 16
#define BH_CONTAINER_MAX_RUNS 16 /* the latest stay */
#define BH_CONTAINER_MAX_RISKS 64

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
        char **aliases; /* other names that it is found by in this network; never NULL, at most BH_CONTAINER_MAX_ALIASES */
} BhContainerNetwork;

typedef struct {
        char *host_ip;
        char protocol[8];
        guint16 container_port, host_port; /* host_port 0: exposed but not published */
} BhPort;

/* A run that has ended. */
typedef struct {
        gint64 started_ns, finished_ns; /* since the epoch; started 0 = not known */
        gint32 exit_code;
        gboolean oom_killed;
        char *error;       /* why the runtime could not start it; "" for none */
        gboolean surmised; /* from a description, not from an event: that may still come */
} BhRun;

typedef struct {
        gatomicrefcount refs;
        BhContainerLevel level;
        char *id;   /* full; 64 hex digits with Docker and most others */
        char *name; /* without Docker's leading '/' */
        char *image, *image_id, *image_digest; /* as given by the user; sha256:…; repository@sha256:… */
        char *runtime;                         /* docker, containerd, podman, crio, runc, crun, buildkit, unknown */
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

        char **layers; /* digests of the image's layers, the lowest first */
        /* Who asked the runtime for it. No runtime says so: "" unless somebody who saw it fills it in. */
        char *created_by, *started_by, *ended_by;
        char *seccomp; /* "default", "unconfined", "custom", a profile's name; "" = not known */
        char *lsm;     /* "apparmor:NAME", "selinux:LABEL", "unconfined"; "" = not known */
        char *uts_mode, *cgroupns_mode;
        gboolean host_uts, host_cgroupns, no_new_privileges;
        gint64 memory_limit, cpu_limit, pids_limit; /* bytes, billionths of a CPU, processes; 0 = none (or not known) */
        char *restart_policy; /* "no", "always", "on-failure", "unless-stopped"; "" = not known, or the runtime has none */
        char **command;       /* what it runs */
        char **health_command; /* what the health check runs, a shell's line with its shell; {"NONE"}: switched off; empty: none is configured */
        GArray *runs;         /* BhRun, the latest first, at most BH_CONTAINER_MAX_RUNS */
        char **capabilities;  /* "CAP_…", in the order of their numbers: the bounding set, which is what a root process in it has */
        char **risks;         /* a sentence for each thing that gives a way to the host; made by bh_container_finish() */
        guint32 net_ns;       /* inode number of its network namespace; 0 = not known */
        char *network_of;     /* id of the container or pod sandbox whose network it shares; "" = has its own */
        gboolean unattended;  /* described from files: no runtime will tell its end, its cgroup does */
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
/*
 * A run ended. From an event it takes the place of one that a description had surmised; surmised, it is only added if nobody told of it yet.
 * started_ns 0 = not known, error may be NULL.
 */
void bh_container_add_run(BhContainer *c, gint64 started_ns, gint64 finished_ns, gint32 exit_code, gboolean oom_killed, const char *error, gboolean surmised);
/* The runs of `from` in the place of the container's own: an earlier description of the same container. */
void bh_container_take_runs(BhContainer *c, const BhContainer *from);
/* Replaces a list by the first `n` (-1: all) of `values`; those over the bounds are left out and counted. */
void bh_container_set_list(BhContainer *c, char ***field, const char *const *values, gssize n);
/* Sorts the lists, derives workload, application, the host-namespace flags and risks. Must be called before publishing. */
void bh_container_finish(BhContainer *c);

/* Value of a label, NULL if there is none. */
const char *bh_container_label(const BhContainer *c, const char *key);
/* Name for people: the name, else the first 12 characters of the id (into buf). */
const char *bh_container_display_name(const BhContainer *c, char buf[BH_CONTAINER_ID_SHORT + 1]);
/* Which image it is, as events and observations have it: the digest, else the image's id. */
const char *bh_container_digest(const BhContainer *c);
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

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's control groups, read from its file system: which hierarchy tells containers apart, what is in it, and what a path says.
 *
 * All host paths start at host_root ("" or "/" on the host itself, e.g. "/host" in a container that has the host's / mounted there).
 * Paths of cgroups are relative to their hierarchy's root and begin with '/', as the kernel's own cgroup_path gives them.
 * Nothing here keeps state; all functions are thread-safe. Names in paths are foreign: a container may create any.
 */
#pragma once
#include <glib.h>

#define BH_CGROUP_ID_MAX 128 /* of a container id, with its NUL */
#define BH_CGROUP_MAX_DEPTH 64
#define BH_CGROUP_MAX_WALK 200000u

typedef enum {
        BH_CGROUP_V1 = 1,     /* version 1 hierarchies only */
        BH_CGROUP_V2 = 2,     /* the unified hierarchy only */
        BH_CGROUP_HYBRID = 3, /* version 1 controllers, and a version 2 hierarchy beside them */
} BhCgroupMode;

/* The hierarchy whose cgroups identify containers. */
typedef struct {
        BhCgroupMode mode;
        int version;         /* of the chosen hierarchy: 1 or 2 */
        char controller[16]; /* version 1: "pids", "memory", "devices" or "cpu"; else "" */
        char *mount;         /* where this process sees the hierarchy, host_root included */
        char *mount_root;    /* which cgroup the mount shows; "/" unless the sensor sees a part of the hierarchy only */
        char *v2_mount;      /* of the version 2 hierarchy, NULL if there is none */
} BhCgroupLayout;

/*
 * Chooses: version 2 where it stands alone, else the first mounted version 1 controller of pids, memory, devices, cpu. Reads the
 * host's mountinfo (<host_root>/proc/1, or /proc/1 when /proc is the host's), else this process's own.
 */
BhCgroupLayout *bh_cgroup_detect(const char *host_root, GError **error);
void bh_cgroup_layout_free(BhCgroupLayout *l);
BhCgroupLayout *bh_cgroup_layout_dup(const BhCgroupLayout *l);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhCgroupLayout, bh_cgroup_layout_free)

/* The choice alone, from a mountinfo's text (proc_pid_mountinfo(5)). `mount` is then as the text says, without a prefix. */
BhCgroupLayout *bh_cgroup_parse_mountinfo(const char *text, gsize len, GError **error);

/*
 * The kernel's id of a cgroup (what bpf_get_current_cgroup_id and its relatives for a given hierarchy give): its kernfs node's, from
 * name_to_handle_at, else its inode number, which is the same on 64-bit kernels. 0 if there is no such directory.
 */
guint64 bh_cgroup_id(int dirfd, const char *path);

/* Return FALSE to end the walk. */
typedef gboolean (*BhCgroupVisit)(guint64 id, const char *path, gpointer data);

typedef struct {
        guint visited;
        guint refused; /* below BH_CGROUP_MAX_DEPTH or beyond BH_CGROUP_MAX_WALK */
        guint vanished; /* removed while being looked at */
} BhCgroupWalkStats;

/* Visits each cgroup once, parents before children, the root included. What comes or goes meanwhile may or may not be seen. */
gboolean bh_cgroup_walk(const BhCgroupLayout *l, BhCgroupVisit visit, gpointer data, BhCgroupWalkStats *stats, GError **error);

typedef struct {
        char id[BH_CGROUP_ID_MAX];       /* of the innermost container */
        char outer_id[BH_CGROUP_ID_MAX]; /* of the outermost; equal to id when depth is 0 */
        char runtime[16];                /* docker, containerd, podman, crio, buildkit, runc, crun, unknown */
        guint depth;                     /* containers around the innermost one */
        gsize own_len;                   /* length of the innermost container's own cgroup path; more follows in cgroups inside it */
        gsize outer_len;                 /* the same for the outermost */
} BhCgroupContainer;

/*
 * What a path's shape says: TRUE if it is a container's cgroup or lies inside one.
 *   …/docker/<64 hex>  …/<any parent>/<64 hex>  docker-<id>.scope  cri-containerd-<id>.scope  crio-<id>.scope  libpod-<id>.scope
 *   crio-<id>  libpod-<id>  kubepods/…/<id>  …:cri-containerd:<id>  /k8s.io/<id>  docker/buildkit/<id>
 * The monitors' scopes (libpod-conmon-…, crio-conmon-…) are none. The deepest match is the container, the first the outermost one.
 */
gboolean bh_cgroup_parse(const char *path, BhCgroupContainer *out);

/*
 * Containers with names of their own, which only the runtime's state on disk proves: plain runc (<host_root>/run/runc/NAME/state.json,
 * when that gives this cgroup's full path in `layout`'s hierarchy as the host mounts it; none without a layout), plain crun (<host_root>/run/crun/NAME/status, when that gives this path) and containerd's (/NAMESPACE/NAME for a namespace in `namespaces`, NULL for none, or with a task
 * directory under <host_root>/run/containerd). Reads files: not for hot paths.
 */
gboolean bh_cgroup_probe(const char *host_root, const BhCgroupLayout *layout, const char *const *namespaces, const char *path, BhCgroupContainer *out);

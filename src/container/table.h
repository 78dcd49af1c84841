/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which container does a cgroup belong to, and what is known of it?
 *
 * Cgroups come from one side (a scan at start, then the kernel's mkdir and rmdir events), descriptions from the other (a runtime's
 * client, in its own thread), in any order; the table joins them by container id. A lookup is one hash lookup under a mutex that nobody
 * holds for long, and hands out a reference.
 *
 *  - A cgroup below a container's own (made by the container, or by a runtime in it) resolves to that container; if it is another
 *    container's (Docker in Docker) to the innermost, with outer_id and depth. A nested cgroup that bears the name of a container which
 *    the host's own runtime runs elsewhere is an impostor: it resolves to the container that made it, and is counted.
 *  - A container that no runtime describes is made up from its cgroup (BH_CONTAINER_FROM_CGROUP).
 *  - After its end (rmdir) a cgroup still resolves for `keep_us`, so that late events find it; the oldest go earlier when there are more
 *    than `max_ended`. A container goes when it has no cgroup left and its runtime removed it or never knew it.
 *
 * Times are monotonic microseconds and given by the caller. All functions may be called from any thread.
 */
#pragma once
#include "container/cgroup.h"
#include "container/container.h"

#define BH_CONTAINER_TABLE_KEEP_US (5 * 60 * G_USEC_PER_SEC)
#define BH_CONTAINER_TABLE_MAX_ENDED 20000u
#define BH_CONTAINER_TABLE_MAX_CGROUPS 250000u
#define BH_CONTAINER_TABLE_MAX_CONTAINERS 120000u
#define BH_CONTAINER_TABLE_UNDECIDED_US (10 * G_USEC_PER_SEC)

typedef struct {
        const char *host_root;                     /* NULL = "/" */
        const BhCgroupLayout *layout;              /* the hierarchy that the bound paths belong to; NULL: as bh_cgroup_detect() finds it; copied */
        const char *const *containerd_namespaces;  /* see bh_cgroup_probe(); may be NULL */
        gint64 keep_us;                            /* 0 = the default above */
        guint max_ended, max_cgroups, max_containers; /* 0 = the defaults above */
        /* A description arrived or got better: events that wait for one may be released. Runs in the thread that brought it, without locks. */
        void (*changed)(gpointer data);
        gpointer data;
} BhContainerTableConfig;

typedef struct {
        BhContainer *container; /* a reference for the caller; NULL: none, or is_container with the table full */
        gboolean known;         /* the cgroup id is bound; all below is FALSE if not */
        gboolean is_container;
        gboolean described;     /* a runtime gave name, image and labels */
        gboolean complete;      /* and everything else */
        gboolean ended;         /* the cgroup is gone */
        gboolean undecided;     /* not a container by its path's shape, but young: bh_container_table_recheck() may still find a runtime's state */
} BhContainerLookup;

typedef struct {
        guint cgroups, ended, containers, undecided;
        guint64 cgroups_refused, containers_refused, impostors, expired, evicted; /* evicted: before keep_us, by max_ended */
        guint64 generation; /* grows with each description */
} BhContainerTableStats;

typedef struct BhContainerTable BhContainerTable;

BhContainerTable *bh_container_table_new(const BhContainerTableConfig *config);
void bh_container_table_free(BhContainerTable *t);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhContainerTable, bh_container_table_free)

/* A cgroup exists: from the scan or a mkdir event; parents should come before children. Binding it again changes nothing; with another path it moves. */
void bh_container_table_bind(BhContainerTable *t, guint64 cgroup_id, const char *path, gint64 now_us);
/* It is gone. */
void bh_container_table_unbind(BhContainerTable *t, guint64 cgroup_id, gint64 now_us);
/* Ends every live cgroup bound before `bound_before_us` that is not among the given: after a gap in the kernel's events. Returns how many. */
guint bh_container_table_sync(BhContainerTable *t, const guint64 *ids, gsize n, gint64 bound_before_us, gint64 now_us);

/* Names of containerd's namespaces as they are now: see bh_cgroup_probe(). Copied; NULL for none. */
void bh_container_table_set_namespaces(BhContainerTable *t, const char *const *namespaces);

/*
 * A runtime describes a container. A cgroup at one of the paths that it gives becomes the container's, also one that is bound later. Cgroup paths and nesting known so far are carried
 * over; the published object may be a copy.
 */
void bh_container_table_upsert(BhContainerTable *t, BhContainer *c, gint64 now_us);

/*
 * Who asked the runtime for this container, for its running now, and for its last end; NULL: as it was. Kept over later descriptions that do not say it. Nothing happens where the container is not known.
 */
void bh_container_table_asked(BhContainerTable *t, const char *id, const char *created_by, const char *started_by, const char *ended_by);

/* Fills *out; release with bh_container_lookup_clear(). */
void bh_container_table_lookup(BhContainerTable *t, guint64 cgroup_id, BhContainerLookup *out);
void bh_container_lookup_clear(BhContainerLookup *l);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BhContainerLookup, bh_container_lookup_clear)

/* Path of a bound cgroup (also an ended one); NULL if not bound. Caller frees. */
char *bh_container_table_path(BhContainerTable *t, guint64 cgroup_id);
/* By full id. A reference, or NULL. */
BhContainer *bh_container_table_get(BhContainerTable *t, const char *id);
/* By full id, name, or an unambiguous beginning of the id: what people type. Living ones before removed ones. A reference, or NULL. */
BhContainer *bh_container_table_find(BhContainerTable *t, const char *text);
/* All containers, oldest first: BhContainer *, owned by the array. */
GPtrArray *bh_container_table_snapshot(BhContainerTable *t);

/*
 * What was published after `since` (0: everything there is), each container once, in its newest description, the oldest change first, at most
 * `max`: BhContainer *, owned by the array. *version is what to ask with the next time.
 */
GPtrArray *bh_container_table_changes(BhContainerTable *t, guint64 since, guint max, guint64 *version);

/* Looks again for runtimes' state of undecided cgroups (reads files); some ten times a second while there are any. TRUE if one became a container. */
gboolean bh_container_table_recheck(BhContainerTable *t, gint64 now_us);
/* Lets go of what ended long enough ago; every few seconds. */
void bh_container_table_expire(BhContainerTable *t, gint64 now_us);

void bh_container_table_get_stats(BhContainerTable *t, BhContainerTableStats *out);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process table: who every process is and where it came from.
 *
 * A process is named by its pid and its start time, so the reuse of a pid never mixes two. An entry lives from the fork (or the scan) until
 * `retain_ns` after the exit, and longer while something that descends from it is in the table, so that late events and lineage
 * still resolve. Lineage follows the parent at the time of the fork, whatever becomes of `ppid` later. The origin container of a
 * process is what the kernel says, else what its parent had; it never changes once it is known.
 *
 * Start times from /proc come in ticks of 10 ms, those from the kernel in ns: they are the same process if the pid is and they are
 * less than two ticks apart, and the entry then takes the exact one.
 *
 * Bounds: live and dead entries and bytes of text. Beyond them the oldest dead entry goes, or the live one that was not heard of for the
 * longest time; its children are then linked to its parent. Both are counted.
 *
 * The table belongs to one thread. What enrichment and look-ups give points into the table and is good until the next call that is not
 * const: copy the event (bh_event_copy) to keep it longer.
 *
 * Per event: bh_process_update(), then bh_process_enrich().
 */
#pragma once
#include "event/record_decode.h"

typedef struct BhProcessTable BhProcessTable;

struct bh_process_config {
        const char *proc_path;         /* of the node: "/proc", or below the host root; its pid namespace must be the initial one. NULL: "/proc" */
        const char *cgroup_root;       /* mount of the hierarchy that names containers; NULL: the scan gives no cgroup ids */
        const char *cgroup_controller; /* NULL: cgroup v2; else the v1 controller ("cpu") or named hierarchy ("name=systemd") */
        struct bh_clock clock;
        /* Id of the container cgroup that this cgroup is or is below, 0: none. `path` may be NULL. NULL: nobody knows. */
        guint64 (*container_of)(guint64 cgroup, const char *path, gpointer data);
        gpointer data;
        /* 0: the default */
        guint max_live;     /* 65,536 */
        guint max_dead;     /* 16,384 */
        gsize max_text;     /* 32 MiB of executables, arguments and credentials, each content once */
        guint64 retain_ns;  /* 30 s */
};

struct bh_process_stats {
        guint live, dead;
        gsize bytes; /* of entries and text, without the allocator's own */
        guint64 evicted_live, evicted_dead;
        guint64 text_refused;
        guint64 lazy_reads;   /* processes first heard of by an event, and found in /proc */
        guint64 unknown;      /* those not found any more */
        guint64 exits_missed; /* found to be gone: their pid was used again, or a scan did not see them */
};

/* A look at an entry. Texts may be NULL. */
struct bh_process_view {
        guint32 pid, vpid, ppid;
        guint64 start;  /* CLOCK_BOOTTIME ns */
        guint64 exited; /* the same; 0: alive */
        guint64 cgroup, origin;
        const char *comm;
        struct bh_str exe, args;
        guint32 parent_pid; /* lineage; 0: not known */
        guint64 parent_start;
        gboolean has_cred;
        guint32 uid, gid; /* effective, node's user namespace */
};

BhProcessTable *bh_process_table_new(const struct bh_process_config *config);
void bh_process_table_free(BhProcessTable *t);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhProcessTable, bh_process_table_free)

/*
 * Tells the table of an event: fork, exec, exit, creds, comm and cgroup_attach change it, others do not. Creds events get their old_*
 * fields from the table where the kernel gave none.
 */
void bh_process_update(BhProcessTable *t, struct bh_decoded *d);

/*
 * Completes the event with what is known of the acting process (executable, arguments, vpid, parent, on exec and process events
 * the ancestors) and of the target. d->origin is filled where the kernel had none. A process that is not in the table is looked up in
 * /proc once; if it is not there any more the event is marked BH_RF_UNKNOWN_PROCESS. Fields that are set stay.
 */
void bh_process_enrich(BhProcessTable *t, struct bh_decoded *d);

/* Lets go of what is due at `now` (CLOCK_BOOTTIME ns). Exits do it too; call it now and then in quiet times. */
void bh_process_sweep(BhProcessTable *t, guint64 now);

/* FALSE if there is no such process. start 0: the pid's present or last process. */
gboolean bh_process_find(BhProcessTable *t, guint32 pid, guint64 start, struct bh_process_view *view);

/* Every living process, the one that was not heard of for the longest time first, until `each` returns FALSE. It must not change the table. */
void bh_process_each(BhProcessTable *t, gboolean (*each)(const struct bh_process_view *view, gpointer data), gpointer data);

/* Sets the origin of a process that has none. */
void bh_process_set_origin(BhProcessTable *t, guint32 pid, guint64 start, guint64 origin);

/*
 * What a sensor before this one recorded of a process: an event of its, in their order, before the scan and before live events. Then what the kernel kept meanwhile of a process that has ended since is told with its
 * executable all the same. The scan ends what /proc does not have any more, and announces what it has.
 */
void bh_process_recall(BhProcessTable *t, const struct bh_event *e);

/* Given to the scan's caller for each process found: a process event with everything in it, already enriched. Good during the call. */
typedef void (*BhProcessFound)(struct bh_decoded *found, gpointer data);

/*
 * Reads every process of /proc (threads are not processes) into the table. `since` is when the fork and exec hooks were in place
 * (CLOCK_BOOTTIME ns): a process that is surely younger has a live fork event, so that it is taken in and not announced; so is
 * one that live events told of already, whose entry only gets what was missing. All others are announced, oldest first. Entries that
 * /proc does not have any more are marked as exited. Processes that exit during the scan are left out.
 *
 * Call it from the table's thread after the hooks are in place and before or between live events. Returns the number announced, -1 with
 * an error if /proc cannot be read.
 */
gint bh_process_scan(BhProcessTable *t, guint64 since, BhProcessFound found, gpointer data, GError **error);

void bh_process_table_stats(const BhProcessTable *t, struct bh_process_stats *stats);

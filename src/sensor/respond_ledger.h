/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's ledger of responses: an entry is a file ID.json, root's alone, and its snapshot ID.snapshot.json. Part of respond.h; the caller locks.
 */
#pragma once
#include "container/container.h"
#include "respond.h"
#include "respond_names.h"
#include "response/response.h"

#define BH_SNAPSHOT_PROCESSES 2048u /* of a snapshot; more are counted */
#define BH_SNAPSHOT_FILES 64u       /* open ones, of a process */
#define BH_SNAPSHOT_BYTES (8u << 20) /* of arguments and paths, which the container chose, of all; null stands for those beyond, further processes are counted */

#define BH_ENTRY_ELSEWHERE G_MAXUINT64
#define BH_ENTRY_UNDO "undo" /* of the detail, while what was scaled to zero could not be scaled back: why that is wanted */
#define BH_ENTRY_FROZE "froze" /* of the detail, true while the container is frozen for it, which is for a moment */
#define BH_ENTRY_HALTED "halted" /* of the detail, while a tree is killed: who was stopped for it, [pid, start as BhStray has it] each; of this boot alone */

/* Programs that were refused: for their content; since it could not be told. */
typedef struct {
        guint64 programs, untold;
} BhEntryCounts;

typedef struct {
        char *id, *container, *name, *reason, *actor, *result, *cgroup, *subject; /* never NULL */
        BhResponseAction action;
        BhResponseState state;
        char **allow, **deny;
        gint64 until_ns, time_ns; /* time_ns: when it came to its state */
        guint64 serial;           /* in the order of their coming */
        gboolean best_effort;
        json_t *detail;
        GArray *bound; /* BhBound: addresses of names; NULL: none */
        guint64 cgroup_id; /* in which it is in force; 0: in none; kept as of this boot, BH_ENTRY_ELSEWHERE: of another */
        BhEntryCounts before; /* what the keeper of file denials had counted of its container when it began */
        /* not kept */
        gint64 looked_us, strays_us; /* when the paths that it names were looked at last; who left its container */
        gboolean busy, complained;
        gboolean started_again; /* scaled to zero: some of what was stopped runs, which was told */
        BhEntryCounts counted; /* by the keeper, as was told */
        gboolean out; /* who cannot be brought back was told */
        guint missed; /* times that the keeper did not have it */
        gboolean unsaved, names_complained; /* addresses that the file does not have; that the kernel does not */
        guint unbound, cut_answers; /* addresses left out; answers that may have had more */
        gboolean unkept; /* its denials of files were not in force, and nobody was told yet */
} BhEntry;

BhEntry *bh_entry_new(const BhOrder *o, BhResponseAction action, const BhContainer *c, const char *cgroup, guint64 serial, gint64 now_ns);
void bh_entry_free(BhEntry *e);

/* {"id","state","result","detail","time_ns","container"}. New reference. */
json_t *bh_entry_tell(const BhEntry *e);
/* Puts the snapshot, if there is one, into the told "detail" as "snapshot". */
void bh_entry_add_snapshot(const char *dir, const BhEntry *e, json_t *told);

/* Durable when it returns. FALSE: logged. */
gboolean bh_entry_save(const char *dir, const BhEntry *e);
/* Makes the directory if need be. Files that are none are logged and left alone. *serial: the largest. */
gboolean bh_entries_load(const char *dir, GHashTable *entries, guint64 *serial, GError **error);
/* Of those that ended the newest `max` stay. */
void bh_entries_prune(const char *dir, GHashTable *entries, guint max);

/* What the processes of its cgroup are and have open: to be taken while they are frozen. Their number. */
guint bh_entry_snapshot(const char *dir, const BhEntry *e, const BhContainer *c, const char *v2_mount, const char *proc_path);

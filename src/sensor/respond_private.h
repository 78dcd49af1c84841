/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of respond.h (respond.c, respond_watch.c). The caller has the lock. */
#pragma once
#include "block.h"
#include "enforce.h"
#include "filekeeper.h"
#include "respond.h"
#include "respond_ledger.h"
#include "respond_names.h"

struct BhRespond {
        char *dir, *v2, *proc, *docker;
        BhRespondConfig c;
        GMutex lock; /* of all below */
        GCond moved;
        GHashTable *entries; /* by id */
        BhEnforce *enforce;
        BhFileKeeper *keeper;
        guint keeper_restarts; /* of its worker, that were told */
        gint64 keeper_asked_us;
        char *problem; /* why there is no enforce */
        BhBlock *block;
        GHashTable *told; /* refused acts of this tick: sentence → how often */
        gint64 led_saved_us;
        guint led_told; /* connections since then, told one by one */
        guint64 serial, done, failed;
        gint64 started_us, started_ns; /* when it began to look after them, by either clock */
        BhNameBook *book;
        gint answered; /* atomic: answers of DNS wait */
        gint64 names_looked_us;
        gboolean unsettled, uncut; /* what was found in force may hold what the ledger does not know; of networks as well, for some could not be taken up */
        gboolean stopping;
        GThread *thread, *scaler; /* scaler: waits for a Docker Engine meanwhile, while scaling_back; joined by the next one, or at the end */
        gboolean scaling_back;
};

/* respond.c */
/* A finding or an event of this response, by what was done. */
void bh_respond_say(BhRespond *r, const char *action, const BhEntry *e, const char *what);

/* respond_where.c */
gboolean bh_respond_is_there(const BhRespond *r, const char *cgroup);
/* In the version 2 hierarchy. NULL: it has none now. Caller frees. */
char *bh_respond_cgroup_of(const BhRespond *r, const BhContainer *c);
/* 0: it is not there. */
guint64 bh_respond_cgroup_id(const BhRespond *r, const char *cgroup);
gboolean bh_respond_shares_network(const BhRespond *r, const BhContainer *c);
/* Another container is in its pid namespace. */
gboolean bh_respond_shares_pids(const BhRespond *r, const BhContainer *c);
/* NULL: it may be touched. Caller frees. */
char *bh_respond_protected_by(const BhRespond *r, const BhContainer *c, const char *cgroup);

/* respond.c */
gboolean bh_respond_holds_now(const BhEntry *e, const char *container);
/* Whether the keeper is told of it. */
gboolean bh_respond_denies_files(const BhEntry *e);
/* Each that is not over; what is called may end it. */
void bh_respond_each_open(BhRespond *r, void (*call)(BhRespond *r, BhEntry *e));

/* respond_names.c */

/* What is in force for a container by all that hold it. */
typedef struct {
        gboolean isolated, frozen, network, refuses; /* refuses: peers, though there may be none yet */
        GArray *allow, *deny, *lead; /* BhPeerNet; lead NULL: nothing is led */
        BhPeer to; /* where to */
} BhLists;

void bh_respond_lists_clear(BhLists *l);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BhLists, bh_respond_lists_clear)
gboolean bh_respond_lists(BhRespond *r, const char *container, BhLists *out, GError **error);
/* They point into it. */
BhEnforceRules bh_respond_rules(const BhLists *l);
gboolean bh_respond_has_names(const BhEntry *e);
/* Which names of the container are waited for has changed. */
void bh_respond_names_watch(BhRespond *r, const char *container);
/* A new one, and one that is taken up: what is known already. */
void bh_respond_names_begin(BhRespond *r, BhEntry *e);
/* With each tick: new addresses are put in force, those whose time is over go. */
void bh_respond_names_turn(BhRespond *r);
/* For the status, by response: {"names": [{"name", "known", "addresses"}], "left_out", "cut_answers"} */
json_t *bh_respond_names_status(BhRespond *r);
/* What goes on all the same, and what is to be known. */
void bh_respond_names_ways(const BhRespond *r, const BhEntry *e, json_t *ways);
void bh_respond_names_note(const BhEntry *e, json_t *notes);
/* respond_strays.c */
/* Brings back into the container's cgroup who left it. How many could not be; *brought: so many more were. */
guint bh_respond_gather(BhRespond *r, const char *container, const char *cgroup, guint *brought);
/* Kills who left it. How many are still there. */
guint bh_respond_kill_strays(BhRespond *r, const char *container, const char *cgroup);

/* Those that are meant and live: BhStray. NULL with *error; *ended: they lived once. */
GArray *bh_respond_tree(BhRespond *r, const char *container, const BhProcessName *name, gboolean tree, gboolean *ended, GError **error);
/*
 * Kills them, and appends them to `killed`. How many are still there. `frozen`: nobody moves in the entry's control group, so that only those outside are stopped first. Who is to be stopped is in the
 * ledger before (BH_ENTRY_HALTED): those that a sensor stopped that was killed then are killed, too.
 */
guint bh_respond_kill_tree(BhRespond *r, BhEntry *e, const BhProcessName *name, gboolean frozen, GArray *killed);

/* respond_decoy.c */
/* Whether this order can be carried out for the container. FALSE with *error. */
gboolean bh_respond_decoy_check(BhRespond *r, const BhOrder *o, const BhContainer *c, GError **error);
/* What was led until now, into the detail of one that is told. */
void bh_respond_add_led(BhRespond *r, const BhEntry *e, json_t *detail);
/* With each tick, and before one ends: each connection that was led since the last call. */
void bh_respond_tell_led(BhRespond *r);

/* respond_process.c */
/* What would be killed, into the detail; FALSE with *error: nothing can be. Of a tree nobody need live just then, but for a dry run. */
gboolean bh_respond_processes_tell(BhRespond *r, BhEntry *e, const BhContainer *c, gboolean dry_run, GError **error);
/* Does it, and tells. Others wait meanwhile, so that nobody freezes or thaws the container. */
gboolean bh_respond_processes_kill(BhRespond *r, BhEntry *e, GError **error);
/* One that was under way when a sensor was killed: a tree is killed to the end, for some of it may be stopped; what it froze is thawed. Ends the entry where somebody was killed. */
void bh_respond_processes_settle(BhRespond *r, BhEntry *e);

/* respond_scale.c */
/* A new order: takes it into the ledger, and gives up the lock while the engine is asked. New reference, as bh_respond_order() gives it. */
json_t *bh_respond_scale_new(BhRespond *r, const BhOrder *o);
/* Scales back, with the lock given up meanwhile. Where that fails now the entry goes on, and is tried again with the ticks; to say it again has no effect. `give_up`: it ends then. */
void bh_respond_scale_release(BhRespond *r, BhEntry *e, gboolean give_up);
/* Of the ledger of a sensor that was killed: what was under way is to be undone, by the ticks. */
void bh_respond_scale_take_up(BhRespond *r, BhEntry *e);
/* With each tick: those whose time is over, or whose end failed, one at a time in a thread of its own, and what was started again meanwhile is told. Never waits for an engine. */
void bh_respond_scale_turn(BhRespond *r);

/* respond.c */
json_t *bh_respond_fail(const BhOrder *o, const char *why);
json_t *bh_respond_fail_entry(BhRespond *r, BhEntry *e, const char *why);
void bh_respond_end(BhRespond *r, BhEntry *e, BhResponseState state, const char *result);
guint bh_respond_held_now(const BhRespond *r);

/* respond_watch.c */
/* A process by which the container's files are reached; 0: none lives, or its runtime has not changed to the container's root yet. */
pid_t bh_respond_process_of(const BhRespond *r, const BhContainer *c, const char *cgroup);
/* At the start: what was denied no more while the sensor was away is marked, and told with the first look. */
void bh_respond_find_unkept(BhRespond *r);
/* What the keeper has of containers that nothing in the ledger denies files to goes. */
void bh_respond_settle_files(BhRespond *r);
/* A new one, before it is held: of what was refused for others until now nothing is told. */
void bh_respond_programs_begin(BhRespond *r, BhEntry *e);
/* No fail-open without a word: with each tick. */
void bh_respond_look_after_keeper(BhRespond *r);
/* One finding for each different act that was refused since the last call. */
void bh_respond_tell_refused(BhRespond *r);

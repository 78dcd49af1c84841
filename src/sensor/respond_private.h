/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of respond.h (respond.c, respond_watch.c). The caller has the lock. */
#pragma once
#include "block.h"
#include "enforce.h"
#include "filekeeper.h"
#include "respond.h"
#include "respond_ledger.h"

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
        guint64 serial, done, failed;
        gint64 started_us;
        gboolean stopping;
        GThread *thread;
};

/* respond.c */
/* A finding or an event of this response, by what was done. */
void bh_respond_say(BhRespond *r, const char *action, const BhEntry *e, const char *what);
gboolean bh_respond_is_there(const BhRespond *r, const char *cgroup);
gboolean bh_respond_holds_now(const BhEntry *e, const char *container);
/* Whether the keeper is told of it. */
gboolean bh_respond_denies_files(const BhEntry *e);
/* Each that is not over; what is called may end it. */
void bh_respond_each_open(BhRespond *r, void (*call)(BhRespond *r, BhEntry *e));

/* respond_strays.c */
/* Brings back into the container's cgroup who left it. How many could not be; *brought: so many more were. */
guint bh_respond_gather(BhRespond *r, const char *container, const char *cgroup, guint *brought);
/* Kills who left it. How many are still there. */
guint bh_respond_kill_strays(BhRespond *r, const char *container, const char *cgroup);

/* respond_watch.c */
/* At the start: what was denied no more while the sensor was away is marked, and told with the first look. */
void bh_respond_find_unkept(BhRespond *r);
/* What the keeper has of containers that nothing in the ledger denies files to goes. */
void bh_respond_settle_files(BhRespond *r);
/* No fail-open without a word: with each tick. */
void bh_respond_look_after_keeper(BhRespond *r);
/* One finding for each different act that was refused since the last call. */
void bh_respond_tell_refused(BhRespond *r);

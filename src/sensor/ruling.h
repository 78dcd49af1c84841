/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of this node: which files, what became of them, and their evaluation on each event.
 *
 * Files, in this order, as later ones may change what earlier ones define:
 *   the default rules   the *.yaml of a directory, by name; left out with no_default
 *   the user's own      files and directories named at the start
 *   the managed ones    the *.yaml of <data>/rules: what the central sent (bh_ruling_manage()), kept so that a node without a central has them
 *
 * A load never changes anything unless all files are free of errors: the rules that ran go on. Swapping loses no event: the drain thread takes
 * the new engine between two events. At the start errors in the user's own files refuse the start (the caller ends); errors in managed or default files
 * are said and those files left out.
 *
 * Threads: bh_ruling_event() is the drain thread's; everything else may be called from any thread, loads one at a time.
 */
#pragma once
#include <jansson.h>

#include "alerts.h"

typedef struct {
        const char *default_dir; /* NULL: none */
        const char *const *user; /* NULL-terminated; files or directories */
        const char *managed_dir;
        BhContainerTable *containers; /* for findings; may be NULL */
        guint64 seed; /* of what makes findings equal: secret, and the same at each start of the node */
        const guint64 *available; /* kinds of events that this node sees, 128 bits; copied. NULL: all */
        const guint64 *host;      /* of these, what it is told of processes outside of containers; copied. NULL: all */
        /* The kinds of events that rules need now: called by each load that changed them. NULL: nobody asks. */
        void (*needs)(const guint64 kinds[2], gpointer data);
        gpointer data;
} BhRulingConfig;

typedef struct BhRuling BhRuling;

/* One file as the central sends it. */
typedef struct {
        const char *name; /* "site.yaml": [A-Za-z0-9._-]+, ending in .yaml or .yml, not beginning with '.' */
        const char *text;
        gsize len;
} BhRulingFile;

/* Strings are copied. Loads; NULL with all problems in *error, a line each, if the user's own files have errors. */
BhRuling *bh_ruling_new(const BhRulingConfig *config, GError **error);
void bh_ruling_free(BhRuling *r);

/* How the bus names this node; before the first event. */
void bh_ruling_name(BhRuling *r, const char *node);
/* See bh_alerts_tell(). */
void bh_ruling_tell(BhRuling *r, BhAlertsTold told, gpointer data);
/* See bh_alerts_watch(). */
void bh_ruling_watch(BhRuling *r, BhAlertsTold matched, gpointer data);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhRuling, bh_ruling_free)

/* Reads all files anew. FALSE with all errors, a line each; what ran goes on. */
gboolean bh_ruling_reload(BhRuling *r, GError **error);

/*
 * Replaces the managed files by these, if all rules together are then free of errors; else nothing changes. `digest`: the sender's name for this state, letters and digits,
 * at most 128; it is kept with the files and shown by the status, so that the sender knows what this node has; the one that it has already changes
 * nothing (*changed FALSE).
 */
gboolean bh_ruling_manage(BhRuling *r, const BhRulingFile *files, guint n, const char *digest, gsize digest_len, gboolean *changed, GError **error);

/* The drain thread: evaluates, and queues what matched. TRUE if something should be told at once. */
gboolean bh_ruling_event(BhRuling *r, const struct bh_event *e, const guint8 *wire, guint32 wire_len, const struct bh_lineage *lineage);

/* Name of a rule of priority Error or higher that the last event matched; NULL: none. The drain thread; until the next event. */
const char *bh_ruling_suspects(const BhRuling *r);
/* As bh_alerts_settle(); while no event comes. */
void bh_ruling_settle(BhRuling *r);

/* Bodies of findings, as bh_alerts_take(). */
GBytes *bh_ruling_take(BhRuling *r, gboolean all);

/*
 * What is to be said of the rules themselves: a pattern that took more than its bound and so counted as no match, each once a load; an event with more than the evaluator's
 * memory holds, once. Action (a literal), sentence and the rule ("": none in particular); FALSE: nothing now. Caller frees. Bound: BH_RULING_TROUBLES wait; the status counts all.
 */
#define BH_RULING_TROUBLES 64u
typedef struct {
        const char *action;
        char *message, *rule;
} BhRulingTrouble;
gboolean bh_ruling_trouble(BhRuling *r, BhRulingTrouble *out);
void bh_ruling_trouble_clear(BhRulingTrouble *t);

/* For the status: files, counts, problems, matches. New reference. */
json_t *bh_ruling_status(BhRuling *r);

/*
 * Every rule as an array of objects: name, priority, source, tags, desc, enabled, runs, file, line, matches since the start, problem if there is one.
 * New reference.
 */
json_t *bh_ruling_list(BhRuling *r);

/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the sensor's evidence: jobs, and who reads what they name. */
#pragma once
#include <sys/stat.h>

#include "evidence.h"
#include "evidence/layer.h"

typedef enum { BH_JOB_EXE, BH_JOB_FILE, BH_JOB_FD, BH_JOB_HOLD, BH_JOB_PROCESS, BH_JOB_WINDOW, BH_JOB_CONTAINER, BH_JOB_DIFF, BH_JOB_TEXT } BhJobKind;

typedef struct {
        BhJobKind kind;
        guint32 pid;
        guint64 start; /* CLOCK_BOOTTIME ns, exact; 0: not known */
        gint64 start_ns, time_ns; /* since the epoch */
        int fd; /* of the process: FD, HOLD */
        guint64 cgroup, origin;   /* 0: none */
        char *container, *origin_id; /* ids; NULL: none, or not known yet */
        char *exe, *args, *path;
        guint32 dev;
        guint64 ino; /* of the file; 0: any */
        gboolean only_written; /* the file counts only if a container wrote it */
        gboolean last;         /* DIFF: the container ends */
        char *why, *rule, *priority, *finding, *text_kind;
        GBytes *text;
        gint64 begun_us; /* by a worker */
        gboolean stalled;
} BhJob;

typedef struct {
        guint64 dev, ino;
        int fd;
        gint64 until_us;
        /* of a program that was stopped at its start (pause.h): that process's alone */
        guint32 pid;        /* 0: a memfd that was made */
        guint64 start;      /* CLOCK_BOOTTIME ns */
        gsize copied;       /* bytes; 0: `fd` is the file itself */
        struct stat st;     /* of the file */
} BhHold;

struct BhEvidence {
        BhEvidenceConfig c;
        char *dir, *node, *proc_path, *host_root, *heads;
        BhVault *vault;
        GThreadPool *pool;
        BhReport *report;
        GThread *sender, *timer;

        GMutex lock; /* of all below */
        GCond moved;
        gboolean stopping, busy_disk;
        gboolean abandoned;   /* the sensor ended, and a worker is held up: what it comes back to is this alone */
        GPtrArray *running;   /* BhJob: with workers */
        guint stalled;        /* of these */
        GHashTable *written;  /* guint64 *: of (device, inode) and of (cgroup, path) */
        GHashTable *seen_exe; /* guint64 *: of executables that were looked at */
        GHashTable *spent;    /* container id → Spent */
        GHashTable *windows;  /* container id, "" for the host → Due */
        GHashTable *marked;   /* ids of containers with evidence: those whose end matters */
        GHashTable *diffs;    /* container id → where its layer is (evidence_diff.c) */
        GHashTable *told;     /* guint64 *: of what equal files are one item by */
        BhHold holds[BH_EVIDENCE_HOLDS];
        gsize copied_now;     /* bytes of copies in `holds` */
        guint64 queue_full, over_budget, missed, missed_processes, missed_diffs, diffs_kept, refused_windows, failed, files, processes, windows_kept, hold_full, send_failed, refused_stalled, equal_items, copied, not_copied;
        gint64 heads_us;
        guint64 heads_seq;
};

void bh_job_free(BhJob *j);
/* Id of the container whose share it is of; "": the host's. */
const char *bh_job_owner(const BhJob *j);
gboolean bh_evidence_was_written(BhEvidence *v, guint64 dev, guint64 ino);
guint64 bh_evidence_file_key(guint64 dev, guint64 ino);
/* Within the lock: TRUE if it is new there. A set that is full begins anew: what is forgotten is looked at once more, or missed as a written one. */
gboolean bh_evidence_note(GHashTable *set, guint64 key);

/* ---- evidence_keep.c: a worker's */

void bh_evidence_work(gpointer job, gpointer evidence);

/* ---- evidence_hold.c: files that stay open, or copied, for the job that is about to come */

/* A worker's: a memfd that was made. */
void bh_evidence_hold(BhEvidence *v, const BhJob *j);
/* What was kept when this very process was stopped at its start, with what the file was: it is the caller's now. -1: nothing. */
int bh_evidence_take_copy(BhEvidence *v, const BhJob *j, struct stat *st);
/* A file with that number. -1: none is held. */
int bh_evidence_take_hold(BhEvidence *v, const BhJob *j);
/* Within the lock, or when nobody else has it: those whose time is over. */
void bh_evidence_drop_holds(BhEvidence *v, gint64 now_us);

/* ---- evidence_read.c: a worker's */

/* The directory in /proc of whoever has that number; -1. */
int bh_evidence_open_pid(BhEvidence *v, guint32 pid);
/* The process's directory in /proc, if it is still the same one; -1. */
int bh_evidence_open_process(BhEvidence *v, const BhJob *j);
/* The file that the job names, and what it is; -1: it is nowhere any more. */
int bh_evidence_open_file(BhEvidence *v, const BhJob *j, struct stat *st);
/* What the process in that directory runs; -1. */
int bh_evidence_open_exe(const BhJob *j, int dir);
/* A look at the process, as text. NULL: it is gone. */
GString *bh_evidence_look(BhEvidence *v, const BhJob *j);

/* ---- evidence_diff.c */

/* Whether the container's layer may be looked at again: at once, then ever less often, once a minute at last. "": no. */
gboolean bh_evidence_diff_due(BhEvidence *v, const char *id);
/* A worker's. NULL: no overlay, gone, or known better. */
GString *bh_evidence_diff(BhEvidence *v, const BhJob *j, BhLayerCounts *counts);
void bh_evidence_diff_free(gpointer diff);

/* ---- evidence_stall.c */

/* FALSE: a worker is held up by what this container gave it to read, so this is left out, counted. */
gboolean bh_evidence_begin(BhEvidence *v, BhJob *j);
/* One that runs goes on as another kind, from now on. FALSE as above, and it is still to be ended. */
gboolean bh_evidence_turn(BhEvidence *v, BhJob *j, BhJobKind kind);
void bh_evidence_end(BhEvidence *v, BhJob *j);
/* Within the lock, now and then: another worker for each that is held up. */
void bh_evidence_watch_workers(BhEvidence *v, gint64 now_us);
/* Waits for what is to be done, but not for who is held up. Then only v->lock, the vault and the job are theirs. */
void bh_evidence_end_workers(BhEvidence *v);
/* For workers: NULL: not known, or the sensor ended. A reference. */
BhContainer *bh_evidence_container(BhEvidence *v, const char *id);

/* ---- evidence_send.c */

gpointer bh_evidence_send(gpointer evidence);
void bh_evidence_tell_heads(BhEvidence *v, gboolean now);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evidence on the node: what is copied, before it can vanish, into the vault (evidence/vault.h), and how it gets to the central.
 *
 *   file       bytes of a program that is not of its container's image, written before it was run, run from memory, or deleted; of a script like that; of a kernel module; of what a process
 *              that came from a container wrote outside of it; and of the file that a finding speaks of, where it was written
 *   process    of a finding: command line, names of the environment (of LD_* and PATH the values too), maps, open files, namespaces, mounts, credentials
 *   events     of a finding: what the recorder has of its container, or of processes that came from it, around it; once more when the container ends
 *   container  its description then
 *   request    of a web attack: the first bytes of the request, redacted; BH_EVIDENCE_REQUESTS of a container in an hour
 *   decoy      what a decoy was sent by a connection that was led there
 *   stream     of a finding that is about a connection: its first bytes both ways, redacted (suspects.h); BH_EVIDENCE_STREAMS of a container in an hour
 *   diff       of a finding, and when the container ends: what it changed of its image (evidence/layer.h)
 *
 * The drain thread only notes what is to be read (a hash, a queue); BH_EVIDENCE_THREADS workers read it, some milliseconds later, through /proc/PID/exe, /proc/PID/fd or the process's root, where
 * an unlinked file still is; programs that were stopped at their start (pause.h) are copied before they go on. A file system that its owner makes wait holds up a worker: after BH_EVIDENCE_STALL_US another one takes its place (BH_EVIDENCE_STALLED_MAX at most), nothing more is
 * read of that container until then, counted, and the end of the sensor does not wait for it. What a process that ended at once left nowhere is counted (`missed`). Anonymous memory files are held
 * open from their creation, so that they outlive their process: BH_EVIDENCE_HOLDS of them, BH_EVIDENCE_HOLD_US each.
 *
 * Equal bytes of one container, for one reason and by one name, are one item; the others are counted (`equal_items`).
 *
 * Bounds: files BH_EVIDENCE_FILE_MAX each (cut, and said), a queue of BH_EVIDENCE_QUEUE, BH_EVIDENCE_CONTAINER_BYTES of a container in an hour (so that no container can push out what was
 * kept of others), BH_EVIDENCE_WINDOW_BYTES of events. Each refusal is counted by reason.
 */
#pragma once
#include <jansson.h>

#include "answer.h"
#include "container/table.h"
#include "event/lineage.h"
#include "event/record_decode.h"
#include "event/kinds.h"
#include "evidence/vault.h"
#include "pause_record.h"
#include "report.h"
#include "rules/ruleset.h"
#include "suspects.h"
#include "web_watch.h"

#define BH_EVIDENCE_THREADS 2u
#define BH_EVIDENCE_STALL_US (5 * G_USEC_PER_SEC)
#define BH_EVIDENCE_STALLED_MAX 6u
#define BH_EVIDENCE_QUEUE 1024u
#define BH_EVIDENCE_FILE_MAX (32u << 20)
#define BH_EVIDENCE_STORE_MIB 1024
#define BH_EVIDENCE_CONTAINER_BYTES (128u << 20)
#define BH_EVIDENCE_HOLDS 1024u
#define BH_EVIDENCE_COPY_MAX (8u << 20)
#define BH_EVIDENCE_COPIES_MAX (32u << 20)
#define BH_EVIDENCE_HOLD_US (30 * G_USEC_PER_SEC)
#define BH_EVIDENCE_WINDOW_BYTES (4u << 20)
#define BH_EVIDENCE_WINDOW_BEFORE_S 60
#define BH_EVIDENCE_WINDOW_AFTER_US (2 * G_USEC_PER_SEC) /* events behind the finding are part of it */
#define BH_EVIDENCE_WINDOWS 256u
#define BH_EVIDENCE_REQUESTS 64u
#define BH_EVIDENCE_STREAMS 64u
#define BH_EVIDENCE_DIFFS 1024u /* containers whose layer is remembered */
#define BH_EVIDENCE_WRITTEN 16384u /* files that are remembered as written by containers */

typedef struct {
        const char *dir, *node, *proc_path, *host_root;
        guint64 max_bytes;
        const char *heads; /* file that heads are appended to, off the node at best; NULL: none */
        BhContainerTable *containers;
        BhAnswerSource source; /* for windows of events */
} BhEvidenceConfig;

typedef struct BhEvidence BhEvidence;

/* NULL with *error. *broken as bh_vault_open() says. */
BhEvidence *bh_evidence_new(const BhEvidenceConfig *config, char **broken, GError **error);
/* To the central as well; NULL: there is none. Starts a thread. Once. */
void bh_evidence_start(BhEvidence *v, BhReport *report);
/* What waits is kept; nothing is asked of the rest of the sensor when this returns. */
void bh_evidence_settle(BhEvidence *v);
void bh_evidence_free(BhEvidence *v); /* NULL is allowed */

/* What it learns from: the kinds of events that bh_evidence_early() looks at. */
BhKinds bh_evidence_kinds(void);

/* ---- the drain thread */

/* Each kernel event as early as it is decoded, long before its container is described. */
void bh_evidence_early(BhEvidence *v, const struct bh_decoded *d, guint64 cgroup);
/* Each event when it is recorded: containers that end. */
void bh_evidence_seen(BhEvidence *v, const struct bh_event *e);
/* A finding that is told by itself. */
void bh_evidence_finding(BhEvidence *v, const BhRule *rule, const char *id, const struct bh_event *e);
/*
 * A process is stopped ahead of its first instruction (pause.h): what it runs is copied, for the job that its exec is going to make; beyond BH_EVIDENCE_COPY_MAX, or with
 * BH_EVIDENCE_COPIES_MAX of copies that wait, it is kept open (`not_copied`), which outlives the process, and whoever has it open for writing can change it. FALSE: too much waits. One thread.
 */
gboolean bh_evidence_stopped(BhEvidence *v, const struct bh_pause_record *r);
/* A request of a container's of which that finding was told. */
void bh_evidence_request(BhEvidence *v, const BhWebKept *request);
/* What a decoy was sent by a connection that was led there: these bytes of `all`. `asked`, `from`: its ends. Any thread. */
void bh_evidence_decoy(BhEvidence *v, const char *container, const char *finding, const char *asked, const char *from, guint32 pid, gint64 time_ns, GBytes *bytes, guint64 all);
/* First bytes of a connection that a finding is about. start_ns, time_ns: since the epoch. Any thread. */
void bh_evidence_stream(BhEvidence *v, const BhSuspectKept *kept, gint64 start_ns, gint64 time_ns);
/* The sensor keeps this text as evidence of a finding of its own. Any thread. */
void bh_evidence_text(BhEvidence *v, const char *kind, const char *finding, const char *why, const char *path, const char *text, gsize len);
/* A file of the node, by its path as the sensor sees it; the same. */
void bh_evidence_host_file(BhEvidence *v, const char *finding, const char *why, const char *path);

/* Whether the path, as the container calls it, is in a mount that gives a way to the host. `c` NULL: not known, no. */
gboolean bh_evidence_in_host_mount(const BhContainer *c, struct bh_str path);

/* For the status. New reference; any thread. */
json_t *bh_evidence_status(BhEvidence *v);
/* Verifies the vault against these heads (evidence.h); "{}"-like JSON with "head" and "report". New reference. */
json_t *bh_evidence_verify_all(BhEvidence *v, const char *heads, gsize len);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a decoy writes down: a directory with
 *
 *     connections.jsonl    a line for each connection that ended: {"time","ms","peer","port","bytes","left_out","sha256","end"}
 *     connections.1.jsonl  the lines before these: what connections.jsonl was when it was full
 *     bytes/SHA256         what its other end sent, as far as it was kept; equal bytes once
 *     part-N               of a connection that is open; a decoy that was killed leaves it, and the next one keeps it with "end":"unfinished" and without a peer
 *     counts.json          what was seen and what was left out, written over each second in which something changed: its place is taken at the start, so that a full disk is told, too
 *
 * `bytes` of a line are all that came; `left_out` of them those that were not kept, beyond the bound of a connection or of the disk, or because the disk took nothing. Where none were kept `sha256` is "".
 *
 * Bounds: `max` bytes of disk in all, of which either file of lines takes a sixteenth, and what was sent the rest, counted in blocks and with 512 bytes for each file's inode and name; `max_files` of such files. What is
 * beyond them makes what was kept for longest go (`let_go`; its line stays), and the older file of lines: whoever wants it for longer has read it before. What open connections have sent does not go: only where they have
 * all the room is something left out. A line is synced within a second.
 * Nothing that is recorded names a file: names are hashes and numbers.
 *
 * One thread.
 */
#pragma once
#include <glib.h>
#include <netinet/in.h>

typedef struct BhRecording BhRecording;
typedef struct BhPart BhPart;

typedef struct {
        guint64 connections; /* that ended */
        guint64 refused;     /* at once, as they could not be served: no descriptor, no memory */
        guint64 bytes, kept, left_out, lost_lines, write_errors;
        guint64 let_go; /* files, for newer ones */
} BhRecordingCounts;

/* Takes up what is in `dir`, which is there. NULL with *error. */
BhRecording *bh_recording_open(const char *dir, guint64 max, guint64 max_each, guint max_files, GError **error);
/* NULL is allowed. */
void bh_recording_free(BhRecording *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhRecording, bh_recording_free)

/* A connection began. */
BhPart *bh_recording_begin(BhRecording *r, const struct sockaddr_in6 *peer, guint16 port);
/* It sent this. */
void bh_recording_add(BhRecording *r, BhPart *p, const guint8 *bytes, gsize len);
/* It ended, for that reason: a word of ours. Frees it. */
void bh_recording_end(BhRecording *r, BhPart *p, const char *end);
void bh_recording_refused(BhRecording *r);
/* Now and then: syncs, and writes the counts. */
void bh_recording_round(BhRecording *r);
const BhRecordingCounts *bh_recording_counts(const BhRecording *r);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capture files: one stream of records, in the same format as a segment of the flight recorder (a segment is a capture).
 *
 * Files may come from anybody: the reader takes nothing on trust, and its memory is bounded by two blocks (32 MiB) whatever
 * the file says. Both ends work on pipes. A writer or reader belongs to one thread at a time.
 */
#pragma once
#include "recorder/recorder.h"

typedef struct BhCaptureWriter BhCaptureWriter;
typedef struct BhCaptureReader BhCaptureReader;

/* `path` is created 0600 or truncated; "-" is standard output. `node` may be NULL. */
BhCaptureWriter *bh_capture_writer_new(const char *path, const char *node, guint32 schema, GError **error);

/* Writes to `fd` from its current position, which counts as the file's start. The descriptor stays the caller's. */
BhCaptureWriter *bh_capture_writer_new_fd(int fd, const char *name, const char *node, guint32 schema, GError **error);

/* FALSE with an error if a block could not be written; the writer is then good for nothing but _free. */
gboolean bh_capture_writer_append(BhCaptureWriter *w, guint64 time_ns, guint64 container, guint64 seq, const void *data,
                                  guint32 len, GError **error);

/* Writes the block begun, for a live reader at the other end of a pipe. */
gboolean bh_capture_writer_flush(BhCaptureWriter *w, GError **error);

/* Writes the rest, the index and the end mark. A capture without it reads as truncated. */
gboolean bh_capture_writer_finish(BhCaptureWriter *w, GError **error);

/* Frees without finishing. NULL is allowed. */
void bh_capture_writer_free(BhCaptureWriter *w);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhCaptureWriter, bh_capture_writer_free)

/* "-" is standard input. Errors: BH_RECORDER_ERROR_IO, _NOT_CAPTURE, _VERSION, _TRUNCATED, _CORRUPT (the file header). */
BhCaptureReader *bh_capture_reader_new(const char *path, GError **error);

/* Reads `fd` sequentially from its current position. The descriptor stays the caller's. */
BhCaptureReader *bh_capture_reader_new_fd(int fd, const char *name, GError **error);

const char *bh_capture_reader_node(const BhCaptureReader *r);
guint32 bh_capture_reader_schema(const BhCaptureReader *r);
/* Records that the recorder had to drop between the blocks read so far. */
guint64 bh_capture_reader_lost(const BhCaptureReader *r);

/*
 * The next record. FALSE without an error at the end of a whole capture; FALSE with _CORRUPT for each damaged place, after which
 * the caller may go on calling; FALSE with _TRUNCATED once at an end that came too early, or _IO.
 */
gboolean bh_capture_reader_next(BhCaptureReader *r, BhRecord *out, GError **error);

void bh_capture_reader_free(BhCaptureReader *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhCaptureReader, bh_capture_reader_free)

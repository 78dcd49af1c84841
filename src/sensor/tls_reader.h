/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of containers, opened and copied with a limit of time: a file system in user space (FUSE) may answer each call of it when it likes, or never. Each call is made by a thread of its
 * own; whoever asks waits BH_TLS_READER_MS at most, and then leaves the thread behind. It frees what it has when the file system answers after all, also when the reader is long gone.
 *
 * One thread asks. BH_TLS_READER_STUCK threads may be left behind at a time: beyond it nothing is read, and the error says so.
 */
#pragma once
#include "parse/rootfile.h"

#define BH_TLS_READER_MS 2000u
#define BH_TLS_READER_STUCK 64u

typedef enum {
        BH_TLS_READER_ERROR_STUCK, /* no answer in time … */
        BH_TLS_READER_ERROR_FULL,  /* … from so many that no more is asked, or there is no thread to be had */
} BhTlsReaderError;
#define BH_TLS_READER_ERROR (bh_tls_reader_error_quark())
GQuark bh_tls_reader_error_quark(void);

/* As bh_rootfile_mapped() and bh_rootfile_mapped_memfd(). */
typedef struct {
        int (*mapped)(const char *path, BhRootfileInfo *info, GError **error);
        int (*copy)(int place, guint64 max, GError **error);
} BhTlsReaderCalls;

typedef struct BhTlsReader BhTlsReader;

/* `calls`: NULL for those of rootfile.h; others for tests. */
BhTlsReader *bh_tls_reader_new(const BhTlsReaderCalls *calls);
/* Waits for nobody. NULL is allowed. */
void bh_tls_reader_free(BhTlsReader *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhTlsReader, bh_tls_reader_free)

/* The file as a place; -1 with *error, also one of rootfile.h. Caller closes. */
int bh_tls_reader_mapped(BhTlsReader *r, const char *path, BhRootfileInfo *info, GError **error);
/* A sealed memfd with its bytes; -1 with *error. `place` stays the caller's. Caller closes. */
int bh_tls_reader_copy(BhTlsReader *r, int place, guint64 max, GError **error);
/* The question that was left behind last, after BH_TLS_READER_ERROR_STUCK, and whether it still waits: a slow disk answers after all. */
guint64 bh_tls_reader_last_left(BhTlsReader *r);
gboolean bh_tls_reader_is_left(BhTlsReader *r, guint64 question);
/* Threads that wait for a file system now. */
guint bh_tls_reader_stuck(BhTlsReader *r);

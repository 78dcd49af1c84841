/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file <data>/flows.mark: which batch of connections was told last, as bounds of events' numbers. Written before the batch is published (flows.c).
 *
 * It also says up to which number events may have been told of though the recorder has none of them (its disk was full): numbers must go on behind that, for the central leaves out
 * a batch whose bound it has.
 *
 * One thread at a time.
 */
#pragma once
#include <glib.h>

#define BH_FLOW_MARK "flows.mark"

typedef struct {
        char boot_id[64];
        guint64 after, through, failed_after, failed_through;
        gboolean gone; /* the recorder did not take these events, and will not: its disk is full or broken */
} BhFlowMark;

/* FALSE: there is none that makes sense. */
gboolean bh_flow_mark_read(const char *path, BhFlowMark *m);
/* Whole or not at all; on a full disk in the old one's place, which takes no room. */
gboolean bh_flow_mark_write(const char *path, const BhFlowMark *m, GError **error);
/*
 * The highest number of an event that was, or may have been, told of and that the recorder does not have; 0: none. Of events that it was only slow to take the
 * kernel's rings still have the records: those get the same numbers again.
 */
guint64 bh_flow_mark_through(const char *data_dir);

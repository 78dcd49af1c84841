/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node observed, as acts of a model: the one way from an Observation (api/bus.proto; sensor/facts.h) to what is judged, for the living analyzer and for a replay.
 *
 * Texts are made UTF-8 of a bounded length; what is cut still tells apart. A file that is many programs (busybox) is the program that it was called as. A program's start is two acts: that
 * it was started (BH_FAMILY_EXEC), and with which arguments (BH_FAMILY_ARGS). The second is to be judged only when the first is normal: a program that is new says it all.
 *
 * Pure; nothing fails. The texts are foreign.
 */
#pragma once
#include "model/act.h"

typedef struct {
        const char *kind, *subject, *parent, *detail, *example, *why; /* NULL: "" */
        guint32 uid;
        gboolean suspicious;
        guint64 count;
        gint64 first_ns, last_ns;
} BhObserved;

typedef struct {
        BhAct acts[2]; /* replica and starting are the caller's to set */
        guint n;       /* 0: nothing that models judge */
        char *texts[5];
} BhObservedActs;

void bh_observed_acts(const BhObserved *o, BhObservedActs *out);
void bh_observed_clear(BhObservedActs *acts);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BhObservedActs, bh_observed_clear)

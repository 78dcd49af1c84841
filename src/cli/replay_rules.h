/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules over recorded events: who every process was, what containers are labelled with and which names addresses have is put together again from the recording
 * alone. One thread.
 */
#pragma once
#include "event/event.h"

typedef struct BhReplayRules BhReplayRules;

/* Loads and compiles; says problems on standard error. NULL with an error if the rules cannot be run. */
BhReplayRules *bh_replay_rules_new(char **files, gboolean all, GError **error);
void bh_replay_rules_free(BhReplayRules *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhReplayRules, bh_replay_rules_free)

/* Every event of the recording, in order; `shown` FALSE: only learn from it. Appends a line for each match. */
void bh_replay_rules_event(BhReplayRules *r, const struct bh_event *e, gboolean shown, gboolean json, GString *out);

/* On standard error: events looked at, matches, what hit a limit. */
void bh_replay_rules_summary(const BhReplayRules *r);

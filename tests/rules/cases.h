/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parts of the runner of conformance cases. A file's form is checked as it is read; what is wrong with it ends the program
 * (bh_case_bail). One thread.
 */
#pragma once
#include <glib.h>
#include <jansson.h>

#include "rules/engine.h"

/* Ends the run with a reason: the file of cases is wrong. */
_Noreturn void bh_case_bail(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* Says how a case went. `spec` may be the case's mapping, for its "deviation". */
void bh_case_result(const char *name, const json_t *spec, gboolean ok, const char *expected, const char *seen);

/* Member of a mapping that must be there, and of that type. `of` names the case in a complaint. */
const json_t *bh_case_get(const json_t *object, const char *key, json_type type, const char *of);
const char *bh_case_text(const json_t *object, const char *key, const char *of);

/* No other keys than these: a misspelt expectation would expect nothing. NULL-terminated. */
void bh_case_only(const json_t *object, const char *of, const char *const *allowed);

/* An event of a file, with what is known of its process and the ancestors. */
typedef struct {
        struct bh_event *event;
        struct bh_lineage_process *processes; /* the process itself, its ancestors, parent first, then others */
        guint n, chain;                       /* all; how many of them are the process and its ancestors. 0: no lineage */
        struct bh_lineage lineage;
        GPtrArray *texts; /* GString: lists as events have them */
} BhCaseEvent;

typedef struct BhCaseEvents BhCaseEvents;

BhCaseEvents *bh_case_events_new(const json_t *file);
void bh_case_events_free(BhCaseEvents *events);
const BhCaseEvent *bh_case_event(const BhCaseEvents *events, const char *name);

/* NULL where the case gives none: ancestors are then what the event carries. */
const struct bh_lineage *bh_case_lineage(const BhCaseEvent *event);

/* "formats": outputs of one rule for one event. "loads": rule files. */
void bh_case_run_formats(const json_t *file, const BhCaseEvents *events);
void bh_case_run_loads(const json_t *file, const BhCaseEvents *events);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills the fields of an event that do not come from the kernel: the container that it happened in, the one that its process came from, what a
 * container runtime told.
 *
 * Pure functions, any thread. The event points into what it was described with (container, runtime event, byte arrays): the caller keeps that until
 * the event is used. Nothing fails.
 */
#pragma once
#include <glib.h>

#include "container/runtime_event.h"
#include "container/table.h"
#include "event/event.h"

/* An event with these fields and no other. `time`: ns since the epoch; `clock_offset`: ns from CLOCK_BOOTTIME to that. */
void bh_describe_begin(struct bh_event *e, guint32 type, enum bh_source source, guint64 time, guint64 clock_offset);

/* Appends a pair to a list of pairs of strings, as container_labels and attributes are. */
void bh_describe_pair(GByteArray *out, const char *key, const char *value);

/* The first pair of such a list, which goes on behind it; FALSE at its end. `key` and `value` are of the list, each with its NUL. */
gboolean bh_describe_next(struct bh_str *list, const char **key, const char **value);
/* What the event has by that name among its attributes; NULL: nothing. */
const char *bh_describe_attribute(const struct bh_event *e, const char *name);

/* The container that the event happened in. `labels`: its labels are put there and told; NULL: they are left out. */
void bh_describe_container(struct bh_event *e, const BhContainer *c, GByteArray *labels);

/* The container that the process came from, told only if it is not the one that it is in; call it after bh_describe_container(). */
void bh_describe_origin(struct bh_event *e, const BhContainer *c);

/* What the runtime told, on an event that was begun, its container left out. `attributes` is appended to. */
void bh_describe_runtime(struct bh_event *e, const BhRuntimeEvent *ev, GByteArray *attributes);

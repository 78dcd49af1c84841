/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events as JSON and as protobuf, both ways, driven by the field table.
 *
 * The protobuf message is `bulkhead.v1.Event` of api/bulkhead.proto, which `bulkhead-proto` (built from the same table) prints: a test
 * holds the file against it. The encoder writes it directly, without an object in between: this is the event path.
 *
 * On the wire every field has presence: one that is set is written, also when it is 0 or empty. Text is `bytes`, because names, paths and
 * arguments may hold any byte. LIST and PAIRS are one `bytes` of NUL-terminated strings, as in /proc/PID/cmdline, so that neither
 * side needs to allocate. ENUM is uint32 (a reader must expect numbers it does not know), TIME is fixed64, signed numbers are sint.
 */
#pragma once
#include "event/event.h"

/*
 * Appends one JSON object, no newline. Missing fields are left out. Strings are made valid UTF-8 as base/escape.h says,
 * so any bytes are safe. `node` etc. are fields like all others.
 */
void bh_event_to_json(const struct bh_event *e, GString *out);

/*
 * The event that bh_event_to_json() wrote: that text gives the same JSON and the same line for people again. Members that are no field
 * are passed over (a newer program wrote them). NULL with an error that names the member where the text is something else. It owns all its
 * bytes in one allocation: free with g_free().
 */
struct bh_event *bh_event_from_json(const char *text, gsize len, GError **error);

/* Appends the wire form of the event to `out`. */
void bh_event_encode(const struct bh_event *e, GByteArray *out);

/*
 * Decodes one message. Strings point into `data`. Unknown fields are skipped (a newer sensor wrote them); anything malformed gives
 * FALSE and an error with the byte offset, and *e is then undefined. Never reads outside data[0..len).
 */
gboolean bh_event_decode(struct bh_event *e, const void *data, gsize len, GError **error);

/* One line for people, as `bulkhead events` prints it: time, container, process, kind, what. No control bytes. Appends, no newline. */
void bh_event_to_text(const struct bh_event *e, GString *out);

/* The text of api/bulkhead.proto, and of docs/events.md. Caller frees. */
char *bh_event_proto(void);
char *bh_event_docs(void);

#define BH_EVENT_ERROR bh_event_error_quark()
GQuark bh_event_error_quark(void);

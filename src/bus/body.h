/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies of messages, encoded and decoded with bounded memory: a few hostile bytes must not become gigabytes of small objects.
 * Pure functions, any thread.
 *
 *     Bulkhead__Bus__V1__Finding *f = (void *) bh_bus_body_unpack(&bulkhead__bus__v1__finding__descriptor, body, &error);
 *     …
 *     bulkhead__bus__v1__finding__free_unpacked(f, NULL);
 */
#pragma once
#include <glib.h>
#include <protobuf-c/protobuf-c.h>

/* Memory for one decoded body: this, or 16 times its length if that is less (but at least 64 KiB). */
#define BH_BUS_BODY_MAX_MEMORY (64u << 20)

/* NULL with BH_BUS_ERROR_BODY when the bytes are no such message or would take too much memory. Free with the generated …__free_unpacked(m, NULL). */
ProtobufCMessage *bh_bus_body_unpack(const ProtobufCMessageDescriptor *what, GBytes *body, GError **error);

/* The encoded message. */
GBytes *bh_bus_body_pack(const ProtobufCMessage *m);

/* A `bytes` field from text (NULL = empty), which must outlive the message; and back, as text that ends at the first NUL. */
static inline ProtobufCBinaryData bh_bus_text(const char *text) {
        return (ProtobufCBinaryData) { .len = text ? __builtin_strlen(text) : 0, .data = (uint8_t *) (text ? text : "") };
}

static inline char *bh_bus_text_dup(ProtobufCBinaryData b) {
        return g_strndup(b.data ? (const char *) b.data : "", b.len);
}

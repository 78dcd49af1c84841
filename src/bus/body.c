/* SPDX-License-Identifier: Apache-2.0 */
#include "bus/body.h"

#include <stdlib.h>

#include "bus/bus.h"

#define MEMORY_MIN 65536u

typedef struct {
        ProtobufCAllocator allocator;
        gsize left;
} Budget;

/* What was given back is not given out again: the sum is bounded, and free() needs no sizes. */
static void *budget_alloc(void *data, size_t size) {
        Budget *b = data;

        if (size > b->left)
                return NULL;
        b->left -= size;
        return malloc(size ? size : 1);
}

static void budget_free(void *data, void *pointer) {
        free(pointer); /* as the default allocator does, so that …__free_unpacked(m, NULL) is right */
}

ProtobufCMessage *bh_bus_body_unpack(const ProtobufCMessageDescriptor *what, GBytes *body, GError **error) {
        gsize len;
        const guint8 *data = g_bytes_get_data(body, &len);
        Budget b = { .allocator = { .alloc = budget_alloc, .free = budget_free, .allocator_data = &b },
                     .left = MIN((gsize) BH_BUS_BODY_MAX_MEMORY, MAX(len * 16, (gsize) MEMORY_MIN)) };
        ProtobufCMessage *m = protobuf_c_message_unpack(what, &b.allocator, len, data);

        if (!m)
                g_set_error(error, BH_BUS_ERROR, BH_BUS_ERROR_BODY, "%zu bytes that should be a %s are not one, or need more memory than is allowed",
                            len, what->name);
        return m;
}

GBytes *bh_bus_body_pack(const ProtobufCMessage *m) {
        gsize len = protobuf_c_message_get_packed_size(m);
        guint8 *data = g_malloc(len ? len : 1);

        protobuf_c_message_pack(m, data);
        return g_bytes_new_take(data, len);
}

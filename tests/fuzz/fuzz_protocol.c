/* SPDX-License-Identifier: Apache-2.0 */
/* First bytes of a connection: flags, where the server's begin, and the bytes of both. What is told must fit into an answer and come out of it. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "parse/inspect_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Of its own, so that a read beyond the end is seen. */
static guint8 *copy(const uint8_t *p, size_t n) {
        guint8 *c = malloc(n ? n : 1);

        memcpy(c, p, n);
        return c;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        g_autoptr(GByteArray) out = g_byte_array_new(), twice = g_byte_array_new();
        BhProtocolFacts f;

        if (size < 3)
                return 0;
        size_t split = (size_t) data[1] << 8 | data[2], rest = size - 3;

        split = split > rest ? rest : split;
        guint8 *client = copy(data + 3, split), *server = copy(data + 3 + split, rest - split);
        BhProtocolInput in = { .client = client, .client_len = split, .server = server, .server_len = rest - split, .flags = data[0] & 3 };
        gboolean found = bh_protocol_recognise(&in, &f);

        assert(found == (f.protocol != BH_PROTOCOL_UNKNOWN) && found == (f.confidence != BH_PROTOCOL_NONE));
        assert(f.protocol < BH_PROTOCOLS && (!found || *bh_protocol_name(f.protocol)));
        bh_inspect_pack_protocol(out, &f);
        g_autofree BhProtocolFacts *again = bh_inspect_unpack_protocol(out->data, out->len);
        assert(again);
        bh_inspect_pack_protocol(twice, again);
        assert(twice->len == out->len && memcmp(twice->data, out->data, out->len) == 0);
        free(client);
        free(server);
        return 0;
}

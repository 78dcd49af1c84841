/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of an inspector that has been taken over: the only bytes of its that the sensor reads. The first byte chooses the result. What is
 * taken must be what packing it again gives.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "parse/inspect_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        g_autoptr(GByteArray) again = g_byte_array_new();
        const uint8_t *body = data + 1;
        gboolean taken = FALSE;

        if (size < 1)
                return 0;
        size--;
        switch (data[0] & 7) {
        case 0: {
                g_autoptr(BhDnsMessage) m = bh_inspect_unpack_dns(body, size);

                if ((taken = m != NULL))
                        bh_inspect_pack_dns(again, m);
                break;
        }
        case 1: {
                g_autoptr(BhPasswd) p = bh_inspect_unpack_passwd(body, size);

                if ((taken = p != NULL))
                        bh_inspect_pack_passwd(again, p);
                break;
        }
        case 2: {
                g_autoptr(BhElf) e = bh_inspect_unpack_elf(body, size);

                if ((taken = e != NULL))
                        bh_inspect_pack_elf(again, e);
                break;
        }
        case 3: {
                g_autofree BhProtocolFacts *f = bh_inspect_unpack_protocol(body, size);

                if ((taken = f != NULL))
                        bh_inspect_pack_protocol(again, f);
                break;
        }
        case 4: {
                BhProtocolInput in;

                if ((taken = bh_inspect_unpack_look(body, size, &in)))
                        bh_inspect_pack_look(again, &in);
                break;
        }
        case 6: {
                g_autoptr(BhWebFacts) f = bh_inspect_unpack_web(body, size);

                if ((taken = f != NULL))
                        bh_inspect_pack_web(again, f);
                break;
        }
        case 7: {
                GStringChunk *texts;
                BhWebInput in;

                if ((taken = bh_inspect_unpack_web_input(body, size, &in, &texts))) {
                        bh_inspect_pack_web_input(again, &in);
                        g_string_chunk_free(texts);
                }
                break;
        }
        default: {
                g_auto(GStrv) names = NULL;
                BhElfWanted w;

                if ((taken = bh_inspect_unpack_wanted(body, size, &w, &names)))
                        bh_inspect_pack_wanted(again, &w);
        }
        }
        assert(!taken || (again->len == size && memcmp(again->data, body, size) == 0));
        return 0;
}

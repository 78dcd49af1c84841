/* SPDX-License-Identifier: Apache-2.0 */
/* An ELF file; the first byte says what is asked of it. Work and results are bounded, offsets lie in the file. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "parse/inspect_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char *const names[] = { "SSL_read", "SSL_write", "main", "hidden" };
        g_autoptr(GByteArray) out = g_byte_array_new(), again = g_byte_array_new(), body = g_byte_array_new();

        if (size < 1)
                return 0;
        bh_inspect_pack_wanted(body, &(BhElfWanted) { .names = names, .n_names = data[0] & 3, .list = data[0] & 0x80 ? BH_ELF_SYMBOLS_MAX : data[0] >> 2 & 7 });
        BhInspectStatus status = bh_inspect_answer(BH_INSPECT_ELF, body->data, body->len, data + 1, size - 1, out);
        assert(status == BH_INSPECT_OK || status == BH_INSPECT_MALFORMED);
        assert(out->len <= BH_INSPECT_ANSWER_MAX);
        if (status != BH_INSPECT_OK)
                return 0;
        g_autoptr(BhElf) e = bh_inspect_unpack_elf(out->data, out->len);
        assert(e && e->n_symbols <= BH_ELF_SYMBOLS_MAX && e->n_needed <= BH_ELF_NEEDED_MAX);
        for (guint32 i = 0; i < e->n_symbols; i++)
                assert(e->symbols[i].offset < size - 1 && strlen(e->symbols[i].name) <= BH_ELF_NAME_MAX);
        bh_inspect_pack_elf(again, e);
        assert(again->len == out->len && memcmp(again->data, out->data, out->len) == 0);
        return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A container's passwd or group file: bounded, consistent, and the same after it went through an answer. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "parse/inspect_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        g_autoptr(GByteArray) out = g_byte_array_new(), again = g_byte_array_new();
        guint n;

        if (size < 1)
                return 0;
        BhInspectStatus status = bh_inspect_answer(data[0] & 1 ? BH_INSPECT_GROUPS : BH_INSPECT_USERS, data + 1, size - 1, NULL, 0, out);
        assert(status == BH_INSPECT_OK || size - 1 > BH_PASSWD_FILE_MAX);
        if (status != BH_INSPECT_OK)
                return 0;
        assert(out->len <= BH_INSPECT_ANSWER_MAX);
        g_autoptr(BhPasswd) p = bh_inspect_unpack_passwd(out->data, out->len);
        assert(p);
        const BhPasswdEntry *e = bh_passwd_entries(p, &n);
        for (guint i = 0; i < n; i++) {
                const char *name = bh_passwd_name(p, e[i].id);
                guint32 id, group;

                assert(name && bh_passwd_id(p, e[i].name, &id, &group));
                assert(*name && strlen(name) <= BH_PASSWD_NAME_MAX && id != G_MAXUINT32);
        }
        bh_inspect_pack_passwd(again, p);
        assert(again->len == out->len && memcmp(again->data, out->data, out->len) == 0);
        return 0;
}

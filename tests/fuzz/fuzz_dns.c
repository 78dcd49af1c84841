/* SPDX-License-Identifier: Apache-2.0 */
/* A DNS message, through the parser, into an answer and out of it: what is packed must be unpacked and be the same. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "parse/inspect_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const char *name, gboolean may_be_empty) {
        assert(strlen(name) < BH_DNS_NAME_MAX && (may_be_empty || *name));
        for (; *name; name++)
                assert(*name > 0x20 && *name < 0x7f);
}

static void check(const BhDnsMessage *m) {
        gsize len, sum = 0;

        assert(m->problem < BH_DNS_PROBLEMS && m->n_questions <= BH_DNS_QUESTIONS_MAX && m->n_records <= BH_DNS_RECORDS_MAX);
        for (guint32 i = 0; i < m->n_questions; i++)
                check_name(m->questions[i].name, FALSE);
        for (guint32 i = 0; i < m->n_records; i++) {
                const BhDnsRecord *r = &m->records[i];

                check_name(r->name, FALSE);
                check_name(r->target, TRUE);
                for (guint32 k = 0; k < r->data_len; k++)
                        sum += r->data[k];
                for (guint16 key = 0; key < 8; key++) {
                        const guint8 *v = bh_dns_svc_param(r, key, &len);

                        assert(!v || (v > r->data && v + len <= r->data + r->data_len));
                }
                bh_dns_type_name(r->type);
        }
        assert(sum < G_MAXUINT32);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        g_autoptr(GByteArray) out = g_byte_array_new(), again = g_byte_array_new();
        guint kind = size && data[0] & 1 ? BH_INSPECT_DNS_TCP : BH_INSPECT_DNS;

        if (size < 1)
                return 0;
        BhInspectStatus status = bh_inspect_answer(kind, data + 1, size - 1, NULL, 0, out);
        assert(status == BH_INSPECT_OK || status == BH_INSPECT_MALFORMED);
        assert(out->len > 0 && out->len <= BH_INSPECT_ANSWER_MAX);
        if (status != BH_INSPECT_OK)
                return 0;
        g_autoptr(BhDnsMessage) m = bh_inspect_unpack_dns(out->data, out->len);
        assert(m);
        check(m);
        bh_inspect_pack_dns(again, m);
        assert(again->len == out->len && memcmp(again->data, out->data, out->len) == 0);
        return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/tls_certificate.h"

#include <string.h>

#include "parse/bytes.h"

#define RECORD_HANDSHAKE 22
#define RECORD_MAX (16384u + 256u)
#define MESSAGE_CERTIFICATE 11
#define MESSAGES_MAX 8u   /* of a handshake, before and with the certificate */
#define ATTRIBUTES_MAX 32u /* of a name, names of a certificate */

enum { TAG_OID = 0x06, TAG_SEQUENCE = 0x30, TAG_SET = 0x31, TAG_OCTETS = 0x04, TAG_VERSION = 0xa0, TAG_EXTENSIONS = 0xa3, TAG_DNS_NAME = 0x82, TAG_BOOLEAN = 0x01 };

/* The handshake's bytes out of the records in front. */
static gsize gather(const guint8 *bytes, gsize len, guint8 *to) {
        BhBytes in = bh_bytes(bytes, len);
        gsize n = 0;

        while (bh_bytes_left(&in) && n < BH_TLS_HELLO_MAX) {
                guint8 kind = bh_bytes_u8(&in);
                guint16 version = bh_bytes_u16(&in), size = bh_bytes_u16(&in);

                if (in.bad || kind != RECORD_HANDSHAKE || version < 0x0300 || version > 0x0304 || !size || size > RECORD_MAX)
                        break;
                BhBytes record = bh_bytes_sub(&in, size);
                gsize take = MIN(bh_bytes_left(&record), BH_TLS_HELLO_MAX - n);
                memcpy(to + n, record.at, take);
                n += take;
        }
        return n;
}

/* The next value of `in`: its tag, and as a window what there is of its bytes; *cut: there should be more. 0: no value. */
static guint8 take_value(BhBytes *in, BhBytes *value, gboolean *cut) {
        guint8 tag = bh_bytes_u8(in), first = bh_bytes_u8(in);
        gsize len = first;

        if (first > 0x84 || first == 0x80) /* longer than any that is read, or of a length that is not said */
                return 0;
        if (first > 0x80)
                len = bh_bytes_number(in, first & 0x7fu);
        if (in->bad)
                return 0;
        *cut = len > bh_bytes_left(in);
        *value = bh_bytes_sub(in, len);
        return tag;
}

static gboolean enter(BhBytes *in, guint8 tag, BhBytes *value, gboolean *cut) {
        return take_value(in, value, cut) == tag;
}

/* FALSE: it does not fit; nothing was added. */
static gboolean add(char *out, const char *between, const char *name, BhBytes value) {
        gsize begin = strlen(out), at = begin + g_strlcpy(out + begin, begin ? between : "", BH_TLS_SUBJECT_MAX + 1 - begin);

        if (at <= BH_TLS_SUBJECT_MAX)
                at += g_strlcpy(out + at, name, BH_TLS_SUBJECT_MAX + 1 - at);
        for (gsize i = 0, n = bh_bytes_left(&value); i < n && at + 2 <= BH_TLS_SUBJECT_MAX; i++) {
                guint8 c = value.at[i];

                if (c == ',' || c == '=' || c == '\\')
                        out[at++] = '\\';
                out[at++] = c >= 0x20 && c < 0x7f ? (char) c : '?';
        }
        if (at + 2 > BH_TLS_SUBJECT_MAX) {
                out[begin] = 0;
                return FALSE;
        }
        out[at] = 0;
        return TRUE;
}

static void take_name(BhBytes name, char *out) {
        static const struct {
                guint8 number; /* behind 2.5.4 */
                const char *text;
        } known[] = { { 3, "CN=" }, { 10, "O=" }, { 11, "OU=" }, { 6, "C=" }, { 7, "L=" }, { 8, "ST=" } };
        gboolean cut;

        for (guint parts = 0; bh_bytes_left(&name) && parts < ATTRIBUTES_MAX; parts++) {
                BhBytes set, pair, oid, text;

                if (!enter(&name, TAG_SET, &set, &cut) || !enter(&set, TAG_SEQUENCE, &pair, &cut) || !enter(&pair, TAG_OID, &oid, &cut) || !take_value(&pair, &text, &cut) || cut)
                        return;
                if (bh_bytes_left(&oid) != 3 || oid.at[0] != 0x55 || oid.at[1] != 4 || !bh_bytes_left(&text))
                        continue;
                for (gsize i = 0; i < G_N_ELEMENTS(known); i++)
                        if (known[i].number == oid.at[2] && !add(out, ", ", known[i].text, text))
                                return;
        }
}

static void take_names(BhBytes extensions, char *out) {
        static const guint8 alternative[] = { 0x55, 0x1d, 0x11 };
        BhBytes list;
        gboolean cut;

        if (!enter(&extensions, TAG_SEQUENCE, &list, &cut))
                return;
        while (bh_bytes_left(&list)) {
                BhBytes extension, oid, value, names, name;
                guint8 tag;

                if (!enter(&list, TAG_SEQUENCE, &extension, &cut) || !enter(&extension, TAG_OID, &oid, &cut))
                        return;
                if (bh_bytes_left(&oid) != sizeof(alternative) || memcmp(oid.at, alternative, sizeof(alternative)) != 0)
                        continue;
                tag = take_value(&extension, &value, &cut);
                if (tag == TAG_BOOLEAN)
                        tag = take_value(&extension, &value, &cut);
                if (tag != TAG_OCTETS || !enter(&value, TAG_SEQUENCE, &names, &cut))
                        return;
                for (guint n = 0; bh_bytes_left(&names) && n < ATTRIBUTES_MAX; n++) {
                        tag = take_value(&names, &name, &cut);
                        if (!tag || cut)
                                return;
                        if (tag == TAG_DNS_NAME && !add(out, ",", "", name))
                                return;
                }
                return;
        }
}

/* Of what there is of a certificate. */
static void read_certificate(BhBytes der, BhTlsCertificate *out) {
        BhBytes certificate, tbs, value;
        gboolean cut;
        guint8 tag;

        if (!enter(&der, TAG_SEQUENCE, &certificate, &cut) || !enter(&certificate, TAG_SEQUENCE, &tbs, &cut))
                return;
        tag = take_value(&tbs, &value, &cut);
        if (tag == TAG_VERSION)
                tag = take_value(&tbs, &value, &cut); /* the serial number … */
        if (!tag || !enter(&tbs, TAG_SEQUENCE, &value, &cut)) /* … and the signature's algorithm */
                return;
        if (!enter(&tbs, TAG_SEQUENCE, &value, &cut))
                return;
        take_name(value, out->issuer);
        if (cut || !enter(&tbs, TAG_SEQUENCE, &value, &cut) || !enter(&tbs, TAG_SEQUENCE, &value, &cut)) /* validity, subject */
                return;
        take_name(value, out->subject);
        while (!cut && bh_bytes_left(&tbs) && (tag = take_value(&tbs, &value, &cut)))
                if (tag == TAG_EXTENSIONS)
                        take_names(value, out->names);
}

BhTlsResult bh_tls_certificate(const guint8 *bytes, gsize len, BhTlsCertificate *out) {
        guint8 handshake[BH_TLS_HELLO_MAX];
        BhBytes in;

        memset(out, 0, sizeof(*out));
        in = bh_bytes(handshake, gather(bytes, len, handshake));
        for (guint i = 0; bh_bytes_left(&in) >= 4 && i < MESSAGES_MAX; i++) {
                guint8 type = bh_bytes_u8(&in);
                gsize size = bh_bytes_number(&in, 3);
                gboolean cut = size > bh_bytes_left(&in);
                BhBytes message = bh_bytes_sub(&in, size);

                if (type != MESSAGE_CERTIFICATE)
                        continue;
                gsize all = bh_bytes_number(&message, 3), first = bh_bytes_number(&message, 3);
                if (message.bad || first + 3 > all || !first)
                        return cut ? BH_TLS_CUT : BH_TLS_NOT;
                cut = first > bh_bytes_left(&message);
                read_certificate(bh_bytes_sub(&message, first), out);
                return cut ? BH_TLS_CUT : BH_TLS_WHOLE;
        }
        return BH_TLS_NOT;
}

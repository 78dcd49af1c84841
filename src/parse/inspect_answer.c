/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/inspect_wire.h"

#include <string.h>

static BhInspectStatus say(GByteArray *out, BhInspectStatus status, const char *text) {
        g_byte_array_append(out, (const guint8 *) text, (guint) strlen(text));
        return status;
}

static BhInspectStatus answer_dns(const guint8 *body, gsize len, gboolean tcp, GByteArray *out) {
        g_autoptr(GError) error = NULL;
        g_autoptr(BhDnsMessage) m = NULL;
        gsize behind = 0;

        if (tcp) {
                if (len < 2)
                        return say(out, BH_INSPECT_MALFORMED, "the stream ends within the length of its first DNS message");
                gsize message = (gsize) body[0] << 8 | body[1];

                body += 2;
                len -= 2;
                if (len > message) {
                        behind = len - message;
                        len = message;
                }
        }
        m = bh_dns_parse(body, len, &error);
        if (!m)
                return say(out, BH_INSPECT_MALFORMED, error->message);
        m->trailing += (guint32) behind;
        bh_inspect_pack_dns(out, m);
        return BH_INSPECT_OK;
}

static BhInspectStatus answer_passwd(BhPasswdFormat format, const guint8 *body, gsize len, GByteArray *out) {
        g_autoptr(GError) error = NULL;
        g_autoptr(BhPasswd) p = bh_passwd_parse(format, (const char *) body, len, &error);

        if (!p)
                return say(out, BH_INSPECT_MALFORMED, error->message);
        bh_inspect_pack_passwd(out, p);
        return BH_INSPECT_OK;
}

static BhInspectStatus answer_elf(const guint8 *body, gsize len, const guint8 *file, gsize file_len, GByteArray *out) {
        g_autoptr(GError) error = NULL;
        g_auto(GStrv) names = NULL;
        BhElfWanted wanted;

        if (!bh_inspect_unpack_wanted(body, len, &wanted, &names))
                return say(out, BH_INSPECT_REFUSED, "the request does not say which functions are wanted");
        g_autoptr(BhElf) e = bh_elf_parse(file, file_len, &wanted, &error);
        if (!e)
                return say(out, BH_INSPECT_MALFORMED, error->message);
        bh_inspect_pack_elf(out, e);
        return BH_INSPECT_OK;
}

static BhInspectStatus answer_protocol(const guint8 *body, gsize len, GByteArray *out) {
        BhProtocolInput in;
        BhProtocolFacts f;

        if (!bh_inspect_unpack_look(body, len, &in))
                return say(out, BH_INSPECT_REFUSED, "the request does not hold the first bytes of a connection");
        bh_protocol_recognise(&in, &f);
        bh_inspect_pack_protocol(out, &f);
        return BH_INSPECT_OK;
}

BhInspectStatus bh_inspect_answer(guint kind, const guint8 *body, gsize len, const guint8 *file, gsize file_len, GByteArray *out) {
        if (!bh_inspect_kind_name(kind))
                return say(out, BH_INSPECT_REFUSED, "there is no such kind of request");
        if (bh_inspect_kind_takes_file(kind) && !file)
                return say(out, BH_INSPECT_REFUSED, "the request has no file that could be read");
        switch ((BhInspectKind) kind) {
        case BH_INSPECT_PING:
                if (len > BH_INSPECT_ANSWER_MAX)
                        return say(out, BH_INSPECT_REFUSED, "the bytes to send back are more than an answer holds");
                g_byte_array_append(out, body, (guint) len);
                return BH_INSPECT_OK;
        case BH_INSPECT_DNS:
                return answer_dns(body, len, FALSE, out);
        case BH_INSPECT_DNS_TCP:
                return answer_dns(body, len, TRUE, out);
        case BH_INSPECT_USERS:
                return answer_passwd(BH_PASSWD_USERS, body, len, out);
        case BH_INSPECT_GROUPS:
                return answer_passwd(BH_PASSWD_GROUPS, body, len, out);
        case BH_INSPECT_ELF:
                return answer_elf(body, len, file, file_len, out);
        case BH_INSPECT_PROTOCOL:
                return answer_protocol(body, len, out);
        case BH_INSPECT_WEB:
        case BH_INSPECT_REDACT:
                return say(out, BH_INSPECT_REFUSED, "this inspector does not read the web: bulkhead-inspect-web does");
        }
        return BH_INSPECT_REFUSED;
}

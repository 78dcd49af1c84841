/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/tls.h"

#include <stdlib.h>
#include <string.h>

#include "parse/bytes.h"

#define RECORD_HANDSHAKE 22
#define RECORD_MAX (16384u + 256u)
#define CLIENT_HELLO 1
#define SERVER_HELLO 2

enum { EXT_SERVER_NAME = 0, EXT_SIGNATURES = 13, EXT_ALPN = 16, EXT_VERSIONS = 43 };

typedef struct {
        guint16 v[BH_TLS_LIST_MAX];
        guint n;
        gboolean over;
} List;

/* RFC 8701: values that clients put in so that servers stay tolerant. */
static gboolean grease(guint16 v) {
        return (v & 0x0f0f) == 0x0a0a && v >> 8 == (v & 0xff);
}

static void add(List *l, guint16 v) {
        if (grease(v))
                return;
        if (l->n < BH_TLS_LIST_MAX)
                l->v[l->n++] = v;
        else
                l->over = TRUE;
}

const char *bh_tls_version_name(guint16 version) {
        switch (version) {
        case 0x0304:
                return "1.3";
        case 0x0303:
                return "1.2";
        case 0x0302:
                return "1.1";
        case 0x0301:
                return "1.0";
        case 0x0300:
                return "ssl3";
        }
        return "";
}

static void append_text(char *out, gsize room, const guint8 *p, gsize n, gboolean lower) {
        gsize at = strlen(out);

        for (gsize i = 0; i < n && at + 1 < room; i++) {
                char c = p[i] > 0x20 && p[i] < 0x7f ? (char) p[i] : '?';

                out[at++] = lower ? g_ascii_tolower(c) : c;
        }
        out[at] = 0;
}

/* The handshake message out of its records into `message`. *whole: all of it is there. -1 = not a handshake that begins with `type`. */
static gssize gather(const guint8 *bytes, gsize len, guint8 type, guint8 *message, gboolean *whole) {
        BhBytes in = bh_bytes(bytes, len);
        gsize n = 0, want = 4;

        *whole = FALSE;
        while (n < want && bh_bytes_left(&in)) {
                guint8 kind = bh_bytes_u8(&in);
                guint16 version = bh_bytes_u16(&in), size = bh_bytes_u16(&in);

                if (in.bad)
                        return n >= 4 ? (gssize) n : -1;
                if (kind != RECORD_HANDSHAKE || version < 0x0300 || version > 0x0304 || size == 0 || size > RECORD_MAX)
                        return -1;
                gsize take = MIN(MIN(size, bh_bytes_left(&in)), BH_TLS_HELLO_MAX - n);
                memcpy(message + n, in.at, take);
                bh_bytes_take(&in, size);
                n += take;
                if (n && message[0] != type)
                        return -1;
                if (n >= 4)
                        want = 4u + ((gsize) message[1] << 16 | (gsize) message[2] << 8 | message[3]);
                if (n == BH_TLS_HELLO_MAX)
                        break;
        }
        *whole = n >= 4 && n >= want;
        return n < 4 ? -1 : (gssize) MIN(n, want);
}

/* The common beginning: legacy version, random, session id. FALSE when the fixed part is not what a hello has. */
static gboolean take_head(BhBytes *b, guint16 *version) {
        bh_bytes_take(b, 4);
        *version = bh_bytes_u16(b);
        if (b->bad || *version < 0x0300 || *version > 0x0304)
                return FALSE;
        bh_bytes_take(b, 32);
        guint8 session = bh_bytes_u8(b);
        if (session > 32)
                return FALSE;
        bh_bytes_take(b, session);
        return TRUE;
}

static void take_server_name(BhBytes e, BhTlsClientHello *out) {
        BhBytes list = bh_bytes_sub(&e, bh_bytes_u16(&e));

        while (bh_bytes_left(&list)) {
                guint8 type = bh_bytes_u8(&list);
                BhBytes name = bh_bytes_sub(&list, bh_bytes_u16(&list));

                if (type == 0 && !list.bad && !*out->server_name)
                        append_text(out->server_name, sizeof(out->server_name), name.at, bh_bytes_left(&name), TRUE);
        }
}

/* `first`: the first two and last bytes of the first name, as the fingerprint wants them. */
static void take_alpn(BhBytes e, char *alpn, gsize room, char first[3]) {
        BhBytes list = bh_bytes_sub(&e, bh_bytes_u16(&e));
        gboolean begun = FALSE;

        while (bh_bytes_left(&list)) {
                BhBytes name = bh_bytes_sub(&list, bh_bytes_u8(&list));
                gsize n = bh_bytes_left(&name);

                if (list.bad || !n)
                        return;
                if (!begun && first) {
                        static const char hex[] = "0123456789abcdef";
                        guint8 a = name.at[0], z = name.at[n - 1];
                        gboolean plain = g_ascii_isalnum(a) && g_ascii_isalnum(z);

                        first[0] = plain ? (char) a : hex[a >> 4];
                        first[1] = plain ? (char) z : hex[z & 15];
                }
                begun = TRUE;
                if (grease((guint16) (n == 2 ? name.at[0] << 8 | name.at[1] : 0)))
                        continue;
                if (strlen(alpn) + n + 2 > room)
                        return;
                if (*alpn)
                        append_text(alpn, room, (const guint8 *) ",", 1, FALSE);
                append_text(alpn, room, name.at, n, FALSE);
        }
}

static int by_value(const void *a, const void *b) {
        guint16 x = *(const guint16 *) a, y = *(const guint16 *) b;

        return (x > y) - (x < y);
}

static void append_hex(GString *s, const List *l) {
        for (guint i = 0; i < l->n; i++)
                g_string_append_printf(s, "%s%04x", i ? "," : "", l->v[i]);
}

static void append_hash(char *out, gsize room, const GString *text) {
        g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guint8 *) text->str, text->len);

        g_strlcat(out, "_", room);
        sum[12] = 0;
        g_strlcat(out, text->len ? sum : "000000000000", room);
}

static void fingerprint(BhTlsClientHello *out, List *ciphers, List *extensions, const List *signatures, const char first[3]) {
        static const struct {
                guint16 version;
                const char *name;
        } versions[] = { { 0x0304, "13" }, { 0x0303, "12" }, { 0x0302, "11" }, { 0x0301, "10" }, { 0x0300, "s3" } };
        g_autoptr(GString) a = g_string_new(NULL), b = g_string_new(NULL);
        const char *version = "00";
        guint n_extensions = extensions->n, kept = 0;

        if (ciphers->over || extensions->over || signatures->over)
                return;
        for (gsize i = 0; i < G_N_ELEMENTS(versions); i++)
                if (versions[i].version == out->version)
                        version = versions[i].name;
        for (guint i = 0; i < extensions->n; i++)
                if (extensions->v[i] != EXT_SERVER_NAME && extensions->v[i] != EXT_ALPN)
                        extensions->v[kept++] = extensions->v[i];
        extensions->n = kept;
        qsort(ciphers->v, ciphers->n, sizeof(guint16), by_value);
        qsort(extensions->v, extensions->n, sizeof(guint16), by_value);
        append_hex(a, ciphers);
        append_hex(b, extensions);
        if (b->len && signatures->n) {
                g_string_append_c(b, '_');
                append_hex(b, signatures);
        }
        g_snprintf(out->ja4, sizeof(out->ja4), "t%s%c%02u%02u%s", version, out->has_server_name ? 'd' : 'i', MIN(ciphers->n, 99u), MIN(n_extensions, 99u), first);
        append_hash(out->ja4, sizeof(out->ja4), a);
        append_hash(out->ja4, sizeof(out->ja4), b);
}

static BhTlsResult read_client(const guint8 *bytes, gsize len, BhTlsClientHello *out) {
        guint8 message[BH_TLS_HELLO_MAX];
        gboolean whole;
        List ciphers = { .n = 0 }, extensions = { .n = 0 }, signatures = { .n = 0 };
        char first[3] = "00";
        guint16 version;

        gssize n = gather(bytes, len, CLIENT_HELLO, message, &whole);
        if (n < 0)
                return BH_TLS_NOT;
        BhBytes b = bh_bytes(message, (gsize) n);
        if (!take_head(&b, &version))
                return BH_TLS_NOT;
        out->version = version;

        guint16 cipher_bytes = bh_bytes_u16(&b);
        if (!b.bad && (cipher_bytes < 2 || cipher_bytes & 1))
                return BH_TLS_NOT;
        for (BhBytes list = bh_bytes_sub(&b, cipher_bytes); bh_bytes_left(&list) >= 2;)
                add(&ciphers, bh_bytes_u16(&list));
        guint8 methods = bh_bytes_u8(&b);
        const guint8 *method = bh_bytes_take(&b, methods);
        if (!b.bad && (!methods || !memchr(method, 0, methods)))
                return BH_TLS_NOT;
        /* a hello without extensions may end here */
        BhBytes all = { 0 };
        if (!whole || bh_bytes_left(&b))
                all = bh_bytes_sub(&b, bh_bytes_u16(&b));
        while (bh_bytes_left(&all)) {
                guint16 type = bh_bytes_u16(&all), size = bh_bytes_u16(&all);
                gboolean complete = !all.bad && bh_bytes_left(&all) >= size;
                BhBytes e = bh_bytes_sub(&all, size);

                if (!complete)
                        break;
                add(&extensions, type);
                if (type == EXT_SERVER_NAME) {
                        out->has_server_name = TRUE;
                        take_server_name(e, out);
                } else if (type == EXT_ALPN && !*out->alpn) {
                        take_alpn(e, out->alpn, sizeof(out->alpn), first);
                } else if (type == EXT_SIGNATURES) {
                        for (BhBytes list = bh_bytes_sub(&e, bh_bytes_u16(&e)); bh_bytes_left(&list) >= 2;)
                                add(&signatures, bh_bytes_u16(&list));
                } else if (type == EXT_VERSIONS) {
                        guint16 best = 0;

                        for (BhBytes list = bh_bytes_sub(&e, bh_bytes_u8(&e)); bh_bytes_left(&list) >= 2;) {
                                guint16 v = bh_bytes_u16(&list);

                                if (*bh_tls_version_name(v))
                                        best = MAX(best, v);
                        }
                        if (best)
                                out->version = best;
                }
        }
        if (whole && (b.bad || all.bad))
                return BH_TLS_NOT; /* lengths that lead out of the message */
        if (!whole)
                return BH_TLS_CUT;
        fingerprint(out, &ciphers, &extensions, &signatures, first);
        return BH_TLS_WHOLE;
}

static BhTlsResult read_server(const guint8 *bytes, gsize len, BhTlsServerHello *out) {
        guint8 message[BH_TLS_HELLO_MAX];
        gboolean whole;
        guint16 version;

        gssize n = gather(bytes, len, SERVER_HELLO, message, &whole);
        if (n < 0)
                return BH_TLS_NOT;
        BhBytes b = bh_bytes(message, (gsize) n);
        if (!take_head(&b, &version))
                return BH_TLS_NOT;
        out->version = version;
        out->cipher = bh_bytes_u16(&b);
        guint8 method = bh_bytes_u8(&b);
        if (!b.bad && method > 1)
                return BH_TLS_NOT;
        BhBytes all = { 0 };
        if (bh_bytes_left(&b))
                all = bh_bytes_sub(&b, bh_bytes_u16(&b));
        while (bh_bytes_left(&all)) {
                guint16 type = bh_bytes_u16(&all), size = bh_bytes_u16(&all);
                BhBytes e = bh_bytes_sub(&all, size);

                if (all.bad)
                        break;
                if (type == EXT_VERSIONS && size == 2)
                        out->version = bh_bytes_u16(&e);
                else if (type == EXT_ALPN)
                        take_alpn(e, out->alpn, sizeof(out->alpn), NULL);
        }
        if (whole && (b.bad || all.bad))
                return BH_TLS_NOT;
        return whole ? BH_TLS_WHOLE : BH_TLS_CUT;
}

BhTlsResult bh_tls_client_hello(const guint8 *bytes, gsize len, BhTlsClientHello *out) {
        memset(out, 0, sizeof(*out));
        BhTlsResult r = read_client(bytes, len, out);
        if (r == BH_TLS_NOT)
                memset(out, 0, sizeof(*out));
        return r;
}

BhTlsResult bh_tls_server_hello(const guint8 *bytes, gsize len, BhTlsServerHello *out) {
        memset(out, 0, sizeof(*out));
        BhTlsResult r = read_server(bytes, len, out);
        if (r == BH_TLS_NOT)
                memset(out, 0, sizeof(*out));
        return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* One pass over the fields that are set, straight into the string's memory. */
#include <arpa/inet.h>

#include "base/escape.h"
#include "event/codec.h"

/* "name": of each field, made by the compiler. */
static const struct {
        const char *text;
        guint8 len;
} keys[BH_F_COUNT] = {
#define BH_FIELD(num, kind, member, name, doc) [BH_F_##member] = { ",\"" name "\":", sizeof(",\"" name "\":") - 1 },
#include "event/fields.tbl.h"
};

/* Bytes that a JSON string holds as they are. */
static const guint8 plain[256] = { [' ' ... '!'] = 1, ['#' ... '['] = 1, [']' ... 0x7e] = 1 };

static const char digits[] = "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
                             "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

/* Makes room for n bytes and a NUL behind the text; the text stays as it is. */
static inline char *reserve(GString *out, gsize n) {
        if (out->allocated_len - out->len <= n) {
                gsize len = out->len;

                g_string_set_size(out, len + n);
                out->len = len;
        }
        return out->str + out->len;
}

static inline void advance(GString *out, char *end) {
        out->len = (gsize) (end - out->str);
        *end = '\0';
}

static inline char *put_u64(char *p, guint64 v) {
        char buf[20], *q = buf + sizeof(buf);

        while (v >= 100) {
                q -= 2;
                memcpy(q, digits + v % 100 * 2, 2);
                v /= 100;
        }
        if (v >= 10) {
                q -= 2;
                memcpy(q, digits + v * 2, 2);
        } else {
                *--q = (char) ('0' + v);
        }

        gsize n = (gsize) (buf + sizeof(buf) - q);
        memcpy(p, q, n);
        return p + n;
}

static inline char *put_i64(char *p, gint64 v) {
        if (v < 0) {
                *p++ = '-';
                return put_u64(p, 0 - (guint64) v);
        }
        return put_u64(p, (guint64) v);
}

static char *put_hex(char *p, guint64 v) {
        guint shift = v ? (63u - (guint) __builtin_clzll(v)) / 4 * 4 : 0;

        *p++ = '0';
        *p++ = 'x';
        for (;; shift -= 4) {
                *p++ = "0123456789abcdef"[v >> shift & 15];
                if (!shift)
                        return p;
        }
}

static inline char *put_2(char *p, guint v) {
        memcpy(p, digits + v * 2, 2);
        return p + 2;
}

/* "2026-11-24T03:08:20.123456789Z"; days to a date as in Hinnant, "chrono-compatible low-level date algorithms". */
static char *put_time(char *p, guint64 ns) {
        guint64 seconds = ns / 1000000000u;
        guint frac = (guint) (ns % 1000000000u), of_day = (guint) (seconds % 86400);
        guint z = (guint) (seconds / 86400) + 719468, era = z / 146097, doe = z - era * 146097;
        guint yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365, doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
        guint day = doy - (153 * mp + 2) / 5 + 1, month = mp < 10 ? mp + 3 : mp - 9, year = yoe + era * 400 + (month <= 2);

        p = put_2(p, year / 100);
        p = put_2(p, year % 100);
        *p++ = '-';
        p = put_2(p, month);
        *p++ = '-';
        p = put_2(p, day);
        *p++ = 'T';
        p = put_2(p, of_day / 3600);
        *p++ = ':';
        p = put_2(p, of_day / 60 % 60);
        *p++ = ':';
        p = put_2(p, of_day % 60);
        *p++ = '.';
        *p++ = (char) ('0' + frac / 100000000);
        frac %= 100000000;
        p = put_2(p, frac / 1000000);
        p = put_2(p, frac / 10000 % 100);
        p = put_2(p, frac / 100 % 100);
        p = put_2(p, frac % 100);
        *p++ = 'Z';
        return p;
}

static void append_text(GString *out, const char *text, gsize len) {
        gsize i = 0;

        while (i < len && plain[(guint8) text[i]])
                i++;
        if (i < len) {
                bh_escape_append_json(out, text, (gssize) len);
                return;
        }

        char *p = reserve(out, len + 2);

        *p++ = '"';
        if (len)
                memcpy(p, text, len);
        p += len;
        *p++ = '"';
        advance(out, p);
}

/* Next string of a list; its NUL may be missing at the end. FALSE when there is none. */
static gboolean next(struct bh_str *rest, struct bh_str *item) {
        if (!rest->len)
                return FALSE;

        const char *nul = memchr(rest->p, 0, rest->len);
        guint32 used;

        item->p = rest->p;
        item->len = nul ? (guint32) (nul - rest->p) : rest->len;
        used = item->len + (nul != NULL);
        rest->p += used;
        rest->len -= used;
        return TRUE;
}

static void append_list(GString *out, struct bh_str list) {
        struct bh_str item;
        char sep = '[';

        if (!list.len)
                g_string_append_c(out, sep);
        while (next(&list, &item)) {
                g_string_append_c(out, sep);
                append_text(out, item.p, item.len);
                sep = ',';
        }
        g_string_append_c(out, ']');
}

static void append_pairs(GString *out, struct bh_str list) {
        struct bh_str key, value;
        char sep = '{';

        if (!list.len)
                g_string_append_c(out, sep);
        while (next(&list, &key)) {
                g_string_append_c(out, sep);
                append_text(out, key.p, key.len);
                g_string_append_c(out, ':');
                if (!next(&list, &value))
                        value = (struct bh_str){ "", 0 };
                append_text(out, value.p, value.len);
                sep = ',';
        }
        g_string_append_c(out, '}');
}

static void append_base64(GString *out, struct bh_str bytes) {
        gint state = 0, save = 0;
        char *p = reserve(out, (bytes.len / 3 + 1) * 4 + 6 + bytes.len / 54);
        gsize n;

        *p++ = '"';
        n = g_base64_encode_step((const guchar *) bytes.p, bytes.len, FALSE, p, &state, &save);
        n += g_base64_encode_close(FALSE, p + n, &state, &save);
        p[n++] = '"';
        advance(out, p + n);
}

static void append_flags(GString *out, enum bh_field field, guint64 value) {
        const char *names[BH_FLAG_NAMES_MAX];
        guint64 rest;
        guint n = bh_flag_names(field, value, names, &rest);
        char *p = reserve(out, n * 32 + 32);

        *p++ = '[';
        for (guint i = 0; i < n; i++) {
                gsize len = strlen(names[i]);

                *p++ = '"';
                memcpy(p, names[i], len);
                p += len;
                *p++ = '"';
                *p++ = ',';
        }
        if (rest) {
                *p++ = '"';
                p = put_hex(p, rest);
                *p++ = '"';
        } else if (n) {
                p--;
        }
        *p++ = ']';
        advance(out, p);
}

static char *put_ip(char *p, const struct bh_ip *ip) {
        *p++ = '"';
        if (ip->len == 4) {
                for (guint i = 0; i < 4; i++) {
                        p = put_u64(p, ip->b[i]);
                        *p++ = i < 3 ? '.' : '"';
                }
                return p;
        }
        inet_ntop(AF_INET6, ip->b, p, INET6_ADDRSTRLEN);
        p += strlen(p);
        *p++ = '"';
        return p;
}

void bh_event_to_json(const struct bh_event *e, GString *out) {
        gsize start = out->len;

        for (guint w = 0; w < G_N_ELEMENTS(e->has); w++) {
                for (guint64 bits = e->has[w]; bits; bits &= bits - 1) {
                        guint i = w * 64 + (guint) __builtin_ctzll(bits);
                        const void *v = (const char *) e + bh_fields[i].offset;
                        char *p = reserve(out, 320);

                        memcpy(p, keys[i].text, keys[i].len);
                        p += keys[i].len;
                        switch ((enum bh_kind) bh_fields[i].kind) {
                        case BH_KIND_U64:
                                /* a caller can choose some of these, and parsers with 64-bit signed integers refuse the whole line */
                                if (*(const guint64 *) v > G_MAXINT64) {
                                        *p++ = '"';
                                        p = put_u64(p, *(const guint64 *) v);
                                        *p++ = '"';
                                } else {
                                        p = put_u64(p, *(const guint64 *) v);
                                }
                                break;
                        case BH_KIND_I64:
                                p = put_i64(p, *(const gint64 *) v);
                                break;
                        case BH_KIND_U32:
                                p = put_u64(p, *(const guint32 *) v);
                                break;
                        case BH_KIND_I32:
                                p = put_i64(p, *(const gint32 *) v);
                                break;
                        case BH_KIND_BOOL:
                                if (*(const gboolean *) v)
                                        p = mempcpy(p, "true", 4);
                                else
                                        p = mempcpy(p, "false", 5);
                                break;
                        case BH_KIND_TIME:
                                *p++ = '"';
                                p = put_time(p, *(const guint64 *) v);
                                *p++ = '"';
                                break;
                        case BH_KIND_HEX:
                                *p++ = '"';
                                p = put_hex(p, *(const guint64 *) v);
                                *p++ = '"';
                                break;
                        case BH_KIND_KEY:
                                *p++ = '"';
                                p = put_u64(p, *(const guint64 *) v);
                                *p++ = '"';
                                break;
                        case BH_KIND_IP:
                                p = put_ip(p, v);
                                break;
                        case BH_KIND_ENUM: {
                                const char *name = bh_enum_name(i, *(const guint32 *) v);

                                if (name) {
                                        *p++ = '"';
                                        p = stpcpy(p, name);
                                        *p++ = '"';
                                } else {
                                        p = put_u64(p, *(const guint32 *) v);
                                }
                                break;
                        }
                        case BH_KIND_STR:
                                advance(out, p);
                                append_text(out, ((const struct bh_str *) v)->p, ((const struct bh_str *) v)->len);
                                continue;
                        case BH_KIND_LIST:
                                advance(out, p);
                                append_list(out, *(const struct bh_str *) v);
                                continue;
                        case BH_KIND_PAIRS:
                                advance(out, p);
                                append_pairs(out, *(const struct bh_str *) v);
                                continue;
                        case BH_KIND_BYTES:
                                advance(out, p);
                                append_base64(out, *(const struct bh_str *) v);
                                continue;
                        case BH_KIND_FLAGS:
                                advance(out, p);
                                append_flags(out, i, *(const guint64 *) v);
                                continue;
                        }
                        advance(out, p);
                }
        }
        if (out->len == start)
                g_string_append_c(out, '{');
        else
                out->str[start] = '{';
        g_string_append_c(out, '}');
}

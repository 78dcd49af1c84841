/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event from its JSON. Texts are written behind the event, into one allocation: none is longer than the JSON that it stands in, for an
 * escaped byte has more characters, and a list's comma or quotes have room for a NUL.
 */
#include <arpa/inet.h>
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#include "base/escape.h"
#include "event/codec.h"

typedef struct {
        char *at, *end;
} Room;

static gboolean put_byte(Room *r, char c) {
        if (r->at == r->end)
                return FALSE;
        *r->at++ = c;
        return TRUE;
}

/* Undoes what bh_escape_append_json() does beyond JSON itself: \xXX is a byte that is no UTF-8, two backslashes are one. */
static gboolean put_text(Room *r, const char *p, gsize len) {
        for (gsize i = 0; i < len; i++) {
                char c = p[i];

                if (c == '\\' && len - i >= 4 && p[i + 1] == 'x' && g_ascii_isxdigit(p[i + 2]) && g_ascii_isxdigit(p[i + 3])) {
                        c = (char) (g_ascii_xdigit_value(p[i + 2]) << 4 | g_ascii_xdigit_value(p[i + 3]));
                        i += 3;
                } else if (c == '\\' && len - i >= 2 && p[i + 1] == '\\') {
                        i++;
                }
                if (!put_byte(r, c))
                        return FALSE;
        }
        return TRUE;
}

/* One string of a list, with the NUL that ends it: there is none inside. */
static gboolean put_item(Room *r, const char *p, gsize len) {
        const char *from = r->at;

        return put_text(r, p, len) && !memchr(from, 0, (gsize) (r->at - from)) && put_byte(r, '\0');
}

static gboolean read_u64(const json_t *v, guint64 *n) {
        const char *text = json_string_value(v);
        char *end;

        if (json_is_integer(v)) {
                *n = (guint64) json_integer_value(v);
                return json_integer_value(v) >= 0;
        }
        if (!text || !g_ascii_isdigit(*text))
                return FALSE;
        *n = g_ascii_strtoull(text, &end, g_str_has_prefix(text, "0x") ? 16 : 10);
        return !*end;
}

static gboolean read_time(const json_t *v, guint64 *ns) {
        const char *text = json_string_value(v);
        struct tm tm = { 0 };
        char frac[10], rest;

        if (!text || sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%9[0-9]Z%c", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, frac, &rest) != 7 ||
            strlen(frac) != 9)
                return FALSE;
        tm.tm_year -= 1900;
        tm.tm_mon--;

        gint64 s = timegm(&tm);
        if (s < 0 || (guint64) s >= G_MAXUINT64 / 1000000000)
                return FALSE;
        *ns = (guint64) s * 1000000000 + g_ascii_strtoull(frac, NULL, 10);
        return TRUE;
}

static gboolean read_ip(const json_t *v, struct bh_ip *ip) {
        const char *text = json_string_value(v);

        if (text && inet_pton(AF_INET, text, ip->b) == 1)
                ip->len = 4;
        else if (text && inet_pton(AF_INET6, text, ip->b) == 1)
                ip->len = 16;
        else
                return FALSE;
        return TRUE;
}

static gboolean read_flags(enum bh_field field, const json_t *v, guint64 *flags) {
        json_t *name;
        size_t i;

        if (!json_is_array(v))
                return FALSE;
        json_array_foreach(v, i, name) {
                guint64 bits;

                if (!json_is_string(name) || (!bh_flag_value(field, json_string_value(name), &bits) && !read_u64(name, &bits)))
                        return FALSE;
                *flags |= bits;
        }
        return TRUE;
}

static gboolean read_text(enum bh_kind kind, const json_t *v, Room *r, struct bh_str *s) {
        char *from = r->at;
        gboolean ok = FALSE;
        const char *key;
        json_t *item;
        size_t i;

        switch (kind) {
        case BH_KIND_STR:
                ok = json_is_string(v) && put_text(r, json_string_value(v), json_string_length(v));
                break;
        case BH_KIND_LIST:
                ok = json_is_array(v);
                json_array_foreach(v, i, item)
                        ok = ok && json_is_string(item) && put_item(r, json_string_value(item), json_string_length(item));
                break;
        case BH_KIND_PAIRS:
                ok = json_is_object(v);
                json_object_foreach((json_t *) v, key, item)
                        ok = ok && json_is_string(item) && put_item(r, key, strlen(key)) && put_item(r, json_string_value(item), json_string_length(item));
                break;
        default:
                if (json_is_string(v) && json_string_length(v) / 4 * 3 <= (gsize) (r->end - r->at)) {
                        gint state = 0;
                        guint save = 0;

                        r->at += g_base64_decode_step(json_string_value(v), json_string_length(v), (guchar *) r->at, &state, &save);
                        ok = TRUE;
                }
        }
        *s = (struct bh_str){ from, (guint32) (r->at - from) };
        return ok;
}

static gboolean read_field(enum bh_field field, const json_t *v, Room *r, void *to) {
        guint64 n = 0;

        switch ((enum bh_kind) bh_fields[field].kind) {
        case BH_KIND_U64:
        case BH_KIND_HEX:
        case BH_KIND_KEY:
                return read_u64(v, to);
        case BH_KIND_TIME:
                return read_time(v, to);
        case BH_KIND_I64:
                *(gint64 *) to = json_integer_value(v);
                return json_is_integer(v);
        case BH_KIND_U32:
                *(guint32 *) to = (guint32) json_integer_value(v);
                return json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) <= G_MAXUINT32;
        case BH_KIND_I32:
                *(gint32 *) to = (gint32) json_integer_value(v);
                return json_is_integer(v) && json_integer_value(v) >= G_MININT32 && json_integer_value(v) <= G_MAXINT32;
        case BH_KIND_BOOL:
                *(gboolean *) to = json_is_true(v);
                return json_is_boolean(v);
        case BH_KIND_IP:
                return read_ip(v, to);
        case BH_KIND_ENUM:
                if (json_is_string(v))
                        return bh_enum_value(field, json_string_value(v), to);
                *(guint32 *) to = (guint32) json_integer_value(v);
                return json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) <= G_MAXUINT32;
        case BH_KIND_FLAGS:
                if (!read_flags(field, v, &n))
                        return FALSE;
                *(guint64 *) to = n;
                return TRUE;
        default:
                return read_text(bh_fields[field].kind, v, r, to);
        }
}

struct bh_event *bh_event_from_json(const char *text, gsize len, GError **error) {
        json_error_t why;
        json_t *object = json_loadb(text, len, JSON_ALLOW_NUL, &why), *value;
        g_autofree struct bh_event *e = NULL;
        const char *name, *bad = NULL;

        if (!json_is_object(object)) {
                g_autofree char *near = bh_escape_cell(why.text, -1); /* it quotes what is wrong */

                g_set_error(error, BH_EVENT_ERROR, 0, "this is no event: %s", object ? "it must be a JSON object" : near);
                json_decref(object);
                return NULL;
        }
        e = g_malloc(sizeof(*e) + len);
        memset(e, 0, sizeof(*e));

        Room room = { (char *) (e + 1), (char *) (e + 1) + len };
        json_object_foreach(object, name, value) {
                const struct bh_field_info *f = bh_field_find(name);
                enum bh_field field = f ? (enum bh_field)(f - bh_fields) : BH_F_COUNT;

                if (!f)
                        continue;
                if (!read_field(field, value, &room, (char *) e + f->offset)) {
                        bad = f->name;
                        break;
                }
                bh_event_mark(e, field);
        }
        json_decref(object);
        if (bad) {
                g_set_error(error, BH_EVENT_ERROR, 0, "this is no event: \"%s\" has no value that this program knows", bad);
                return NULL;
        }
        return g_steal_pointer(&e);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/redact.h"

#include <string.h>

#define NAME_MAX_LEN 128u
#define HEAD_LEN 2048u  /* of a part of a multipart form */
#define ATTRIBUTES_LEN 512u /* of an XML element */
#define KEY_LINE 40u /* base64 characters that make a line one of a key's */
#define ENDS " \t&;,\"'<>)}]" /* of a value in running text */
#define FIRST_LEN 1024u /* of a JSON web token's first part: what is longer is none. Searches are bounded, so that a text costs no more than in proportion */

/* ---- names */

static gboolean in_list(const char *const *list, const char *name, gboolean part) {
        for (; *list; list++)
                if (part ? strstr(name, *list) != NULL : strcmp(name, *list) == 0)
                        return TRUE;
        return FALSE;
}

gboolean bh_redact_is_secret(const char *name, gsize len) {
        static const char *const parts[] = { "password", "passwd", "passwort", "passphrase", "passcode", "secret", "token", "apikey", "accesskey", "privatekey", "credential", "sessionid", "jsessionid",
                                             "phpsessid", "sessid", "authorization", "cardnumber", "creditcard", "ccnumber", "cardno", "securitycode", "xauth", "csrf", "xsrf", NULL };
        static const char *const whole[] = { "pwd", "pass", "pw", "auth", "sid", "session", "pin", "otp", "totp", "cvv", "cvc", "cvv2", "ssn", "jwt", "sig", "signature", "card", "pan", "iban", "bearer",
                                             "userpass", "dbpass", "newpass", "oldpass", "pass1", "pass2", "nonce", "assertion", "samlresponse", NULL };
        char plain[NAME_MAX_LEN + 1];
        gsize n = 0;

        for (gsize i = 0; i < len && n < NAME_MAX_LEN; i++) {
                char c = name[i];

                if (c == '%' && i + 2 < len && g_ascii_isxdigit(name[i + 1]) && g_ascii_isxdigit(name[i + 2])) {
                        c = (char) (g_ascii_xdigit_value(name[i + 1]) << 4 | g_ascii_xdigit_value(name[i + 2]));
                        i += 2;
                } else if (c == '\\' && i + 5 < len && name[i + 1] == 'u' && name[i + 2] == '0' && name[i + 3] == '0' && g_ascii_isxdigit(name[i + 4]) &&
                           g_ascii_isxdigit(name[i + 5])) { /* JSON's way to hide a letter */
                        c = (char) (g_ascii_xdigit_value(name[i + 4]) << 4 | g_ascii_xdigit_value(name[i + 5]));
                        i += 5;
                }
                if (g_ascii_isalnum(c))
                        plain[n++] = g_ascii_tolower(c);
        }
        plain[n] = 0;
        return n && (in_list(parts, plain, TRUE) || in_list(whole, plain, FALSE));
}

/* ---- forms of secrets */

static gboolean token_char(char c) {
        return g_ascii_isalnum(c) || c == '-' || c == '_' || c == '.' || c == '+' || c == '/' || c == '=' || c == '~' || c == '%';
}

static gboolean base64url(char c) {
        return g_ascii_isalnum(c) || c == '-' || c == '_';
}

/* A card number at p: how many bytes, 0 when there is none. Between its digits may be one space, dash, plus or "%20". *digits: how many there are. */
static gsize card(const char *p, gsize n, guint *digits) {
        guint8 d[20];
        guint count = 0, sum = 0;
        gsize i = 0, end = 0;

        while (i < n && count < 20) {
                if (g_ascii_isdigit(p[i])) {
                        d[count++] = (guint8) (p[i++] - '0');
                        end = i;
                        continue;
                }
                if (i + 3 < n && p[i] == '%' && p[i + 1] == '2' && (p[i + 2] == '0' || p[i + 2] == 'D' || p[i + 2] == 'd') && g_ascii_isdigit(p[i + 3]))
                        i += 3;
                else if ((p[i] == ' ' || p[i] == '-' || p[i] == '+') && i + 1 < n && g_ascii_isdigit(p[i + 1]))
                        i++;
                else
                        break;
        }
        if (count < 13 || count > 19)
                return 0;
        for (guint k = 0; k < count; k++) {
                guint v = d[count - 1 - k];

                if (k & 1)
                        v = v * 2 > 9 ? v * 2 - 9 : v * 2;
                sum += v;
        }
        gboolean same = TRUE;
        for (guint k = 1; k < count; k++)
                same &= d[k] == d[0];
        *digits = count;
        return sum % 10 == 0 && !same ? end : 0;
}

static void append_card(GString *out, const char *p, gsize n, guint digits) {
        guint seen = 0;

        for (gsize i = 0; i < n; i++) {
                /* of a "%20" between them no digit counts */
                if (p[i] == '%' && i + 2 < n) {
                        g_string_append_len(out, p + i, 3);
                        i += 2;
                } else if (g_ascii_isdigit(p[i])) {
                        g_string_append_c(out, ++seen + 4 > digits ? p[i] : '*');
                } else {
                        g_string_append_c(out, p[i]);
                }
        }
}

static gboolean word_at(const char *p, gsize n, const char *word) {
        gsize w = strlen(word);

        return n >= w && g_ascii_strncasecmp(p, word, w) == 0;
}

/* A secret by its form at p. *keep: bytes that stay; returns how many bytes it has in all, 0 for none. */
static gsize formed(const char *p, gsize n, gsize *keep) {
        static const char *const schemes[] = { "Bearer ", "Basic ", "Bearer+", "Basic+", "Bearer%20", "Basic%20" };
        gsize i;

        *keep = 0;
        for (gsize s = 0; s < G_N_ELEMENTS(schemes); s++) {
                gsize w = strlen(schemes[s]);

                if (!word_at(p, n, schemes[s]))
                        continue;
                for (i = w; i < n && token_char(p[i]); i++)
                        ;
                if (i - w >= 8) {
                        *keep = w;
                        return i;
                }
        }
        if (word_at(p, n, "eyJ") && p[0] == 'e') {
                guint dots = 0;

                for (i = 0; i < n && (dots || i < FIRST_LEN) && (base64url(p[i]) || (p[i] == '.' && dots < 4)); i++)
                        dots += p[i] == '.';
                if (dots >= 1 && i >= 20)
                        return i;
        }
        if ((word_at(p, n, "AKIA") || word_at(p, n, "ASIA")) && p[0] == 'A') {
                for (i = 4; i < n && (g_ascii_isupper(p[i]) || g_ascii_isdigit(p[i])); i++)
                        ;
                if (i == 20)
                        return i;
        }
        if (word_at(p, n, "-----BEGIN") && memmem(p, MIN(n, 64u), "PRIVATE KEY", 11)) {
                const char *end = memmem(p + 10, n - 10, "-----END", 8);

                return end ? (gsize) (end - p) : n;
        }
        /* ://user:password@ */
        if (word_at(p, n, "://")) {
                gsize colon = 0;

                for (i = 3; i < n && i < 512 && !strchr("/?#@ \t\r\n\"'<>", p[i]); i++)
                        if (p[i] == ':' && !colon)
                                colon = i;
                if (i < n && p[i] == '@' && colon) {
                        *keep = colon + 1;
                        return i;
                }
        }
        return 0;
}

/* ---- values behind a secret's name */

/* A string within a string, such as JSON in JSON: p is its quote, behind `slashes` backslashes, and it ends at one that has as many before it, or is the outer string's. */
static gsize nested_len(const char *p, gsize n, gsize slashes) {
        gsize run = 0;

        for (gsize i = 1; i < n; i++) {
                if (p[i] == '\\')
                        run++;
                else if (p[i] == *p && run <= slashes)
                        return i - run;
                else
                        run = 0;
        }
        return n;
}

/* Ends of a value in running text. */
static gboolean ends_value(char c, const char *ends) {
        return !c || (guchar) c < 0x20 || strchr(ends, c);
}

/*
 * How long the value at p is: a quoted string, an object or array as a whole, or a word up to one of `ends`. Where it does not end in what is there, it is all
 * of it. `*quote`: its quotes stay.
 */
static gsize value_len(const char *p, gsize n, const char *ends, gboolean *quote) {
        *quote = FALSE;
        if (!n)
                return 0;
        if (*p == '"' || *p == '\'') {
                *quote = TRUE;
                for (gsize i = 1; i < n; i++) {
                        if (p[i] == '\\')
                                i++;
                        else if (p[i] == *p)
                                return i + 1;
                }
                return n;
        }
        if (*p == '{' || *p == '[') {
                guint depth = 0;
                gboolean inside = FALSE;

                for (gsize i = 0; i < n; i++) {
                        if (inside) {
                                if (p[i] == '\\')
                                        i++;
                                else if (p[i] == '"')
                                        inside = FALSE;
                        } else if (p[i] == '"') {
                                inside = TRUE;
                        } else if (p[i] == '{' || p[i] == '[') {
                                depth++;
                        } else if ((p[i] == '}' || p[i] == ']') && --depth == 0) {
                                return i + 1;
                        }
                }
                return n;
        }
        gsize i = 0;
        while (i < n && !ends_value(p[i], ends))
                i++;
        return i;
}

/* Where the content of the element begins whose name is what is between `word` and `i`, behind its attributes; 0: it is none, or an empty one. */
static gsize content_at(const char *p, gsize n, gsize word, gsize i) {
        gsize open = word;
        char quote = 0;

        if (!word || (p[word - 1] != '<' && p[word - 1] != ':'))
                return 0;
        if (i >= n || !p[i] || !strchr("> \t\r\n", p[i]))
                return 0;
        while (open && word - open < NAME_MAX_LEN && (g_ascii_isalnum(p[open - 1]) || strchr(":-_.", p[open - 1])))
                open--;
        if (!open || p[open - 1] != '<')
                return 0;
        for (gsize k = i; k < n && k - i < ATTRIBUTES_LEN; k++) {
                if (quote)
                        quote = p[k] == quote ? 0 : quote;
                else if (p[k] == '"' || p[k] == '\'')
                        quote = p[k];
                else if (p[k] == '<' || p[k] == '>')
                        return p[k] == '>' && p[k - 1] != '/' ? k + 1 : 0;
        }
        return 0;
}

/* How long an element's content is: up to the next end of an element. */
static gsize content_len(const char *p, gsize n) {
        gsize from = 0;
        const char *end;

        while (from < n && p[from] && strchr(" \t\r\n", p[from]))
                from++;
        if (word_at(p + from, n - from, "<![CDATA[")) {
                end = memmem(p + from, n - from, "]]>", 3);
                from = end ? (gsize) (end - p) : n;
        }
        end = memmem(p + from, n - from, "</", 2);
        return end ? (gsize) (end - p) : n;
}

static gboolean name_char(char c) {
        return g_ascii_isalnum(c) || c == '_' || c == '-' || c == '.' || c == '[' || c == ']' || c == '%' || c == '\\' || c == '$' || c == ':' || c == '@';
}

static gboolean is_scheme(const char *p, gsize n) {
        static const char *const schemes[] = { "Bearer", "Basic", "Token", "Negotiate", "NTLM", "ApiKey", "Digest" };

        for (gsize i = 0; i < G_N_ELEMENTS(schemes); i++)
                if (n == strlen(schemes[i]) && word_at(p, n, schemes[i]))
                        return TRUE;
        return FALSE;
}

/*
 * Names and values in running text, JSON and XML: `name=value`, `name: value`, `"name": value`, `<name>value<`, `name="password" … value` of a multipart form.
 * Everything else goes through as it is, but for secrets that have a form.
 */
static void scan(GString *out, const char *p, gsize n, const char *ends) {
        gsize i = 0, content = 0; /* of an element that is a secret's: where it begins */

        while (i < n) {
                if (content && i >= content) {
                        gsize value = content_len(p + i, n - i);

                        if (value)
                                g_string_append(out, BH_REDACTED);
                        content = 0;
                        i += value;
                        continue;
                }
                gsize keep, len = formed(p + i, n - i, &keep);
                guint digits;

                if (len) {
                        g_string_append_len(out, p + i, (gssize) keep);
                        g_string_append(out, BH_REDACTED);
                        i += len;
                        continue;
                }
                if (g_ascii_isdigit(p[i]) && (i == 0 || (!g_ascii_isalnum(p[i - 1]) && p[i - 1] != '.')) && (len = card(p + i, n - i, &digits))) {
                        append_card(out, p + i, len, digits);
                        i += len;
                        continue;
                }
                if (!name_char(p[i])) {
                        g_string_append_c(out, p[i++]);
                        continue;
                }
                /* a word, and what follows it */
                gsize word = i;
                while (i < n && name_char(p[i]) && p[i] != ':') {
                        /* "Bearer", a key or a card may begin behind punctuation of the same word */
                        if (i > word && !g_ascii_isalnum(p[i - 1]) && (p[i - 1] != '_') && (formed(p + i, n - i, &keep) || (g_ascii_isdigit(p[i]) && card(p + i, n - i, &digits))))
                                break;
                        i++;
                }
                if (i == word) { /* a colon alone */
                        g_string_append_c(out, p[i++]);
                        continue;
                }
                gsize at = i;
                if (at < n && (p[at] == '"' || p[at] == '\''))
                        at++;
                while (at < n && (p[at] == ' ' || p[at] == '\t' || p[at] == '\n' || p[at] == '\r'))
                        at++;
                gboolean assigned = at < n && (p[at] == '=' || p[at] == ':');
                gsize inside = assigned ? 0 : content_at(p, n, word, i);
                if (!(assigned || inside) || !bh_redact_is_secret(p + word, i - word)) {
                        g_string_append_len(out, p + word, (gssize) (i - word));
                        continue;
                }
                if (inside) {
                        g_string_append_len(out, p + word, (gssize) (i - word));
                        content = MAX(content, inside);
                        continue;
                }
                if (p[i] == ':' && word && p[word - 1] == '<') { /* or "<auth:Password>" */
                        gsize local = i + 1;

                        while (local < n && local - i < NAME_MAX_LEN && name_char(p[local]))
                                local++;
                        content = MAX(content, content_at(p, n, i + 1, local));
                }
                at++;
                if (at < n && p[at - 1] == ':' && p[at] == '=')
                        at++;
                while (at < n && (p[at] == ' ' || p[at] == '\t' || p[at] == '\n' || p[at] == '\r'))
                        at++;
                gsize slashes = 0;
                while (at + slashes < n && p[at + slashes] == '\\')
                        slashes++;
                if (slashes && at + slashes < n && (p[at + slashes] == '"' || p[at + slashes] == '\''))
                        at += slashes;
                else
                        slashes = 0;
                gboolean quoted = FALSE;
                gsize value = slashes ? nested_len(p + at, n - at, slashes) : value_len(p + at, n - at, ends, &quoted);
                /* of "Bearer xyz" both words */
                if (!quoted && value && at + value < n && p[at + value] == ' ' && is_scheme(p + at, value))
                        for (value++; at + value < n && !ends_value(p[at + value], ends);)
                                value++;
                g_string_append_len(out, p + word, (gssize) (at - word));
                if (slashes) { /* what ends it stands behind it */
                        g_string_append_printf(out, "%c" BH_REDACTED, p[at]);
                } else if (value && quoted) {
                        g_string_append_printf(out, "%c" BH_REDACTED, p[at]);
                        if (value > 1 && p[at + value - 1] == p[at])
                                g_string_append_c(out, p[at]);
                } else if (value) {
                        g_string_append(out, BH_REDACTED);
                }
                i = at + value;
        }
}

char *bh_redact_text(const char *text, gsize len) {
        GString *out = g_string_sized_new(len + 16);

        scan(out, text, len, ENDS);
        return g_string_free(out, FALSE);
}

/* What a form's or a query's piece says, percent-encoding undone: but for what would make of it another text, as line ends, zeros and the '&' that it is within. */
static GString *decoded(const char *p, gsize n) {
        GString *out = g_string_sized_new(n);

        for (gsize i = 0; i < n; i++) {
                guchar byte = 0;

                if (p[i] == '%' && i + 2 < n && g_ascii_isxdigit(p[i + 1]) && g_ascii_isxdigit(p[i + 2]))
                        byte = (guchar) (g_ascii_xdigit_value(p[i + 1]) << 4 | g_ascii_xdigit_value(p[i + 2]));
                if (byte == '\t' || byte == '\r' || byte == '\n')
                        byte = ' ';
                if (byte >= 0x20 && byte < 0x7f && byte != '&') {
                        g_string_append_c(out, (char) byte);
                        i += 2;
                } else {
                        g_string_append_c(out, p[i] == '+' ? ' ' : p[i]);
                }
        }
        return out;
}

static gboolean has_encoded(const char *p, gsize n) {
        for (const char *at = p; (at = memchr(at, '%', n - (gsize) (at - p))); at++)
                if (word_at(at, n - (gsize) (at - p), "%22") || word_at(at, n - (gsize) (at - p), "%3D") || word_at(at, n - (gsize) (at - p), "%3A") || word_at(at, n - (gsize) (at - p), "%5C"))
                        return TRUE;
        return FALSE;
}

/* One of a form: as it is, and, where names and values may be within it, as what it says, which is told if there was a secret. */
static void scan_piece(GString *out, const char *p, gsize n) {
        gsize from = out->len;

        scan(out, p, n, "&");
        if (!has_encoded(out->str + from, out->len - from))
                return;
        g_autoptr(GString) plain = decoded(out->str + from, out->len - from), clean = g_string_sized_new(plain->len + 16);
        scan(clean, plain->str, plain->len, "&");
        if (g_string_equal(plain, clean))
                return;
        g_string_truncate(out, from);
        g_string_append_len(out, clean->str, (gssize) clean->len);
}

/* `all`: every value is one, as of cookies. */
static void scan_pairs(GString *out, const char *p, gsize n, const char *separators, gboolean all) {
        gsize i = 0;

        while (i < n) {
                gsize end = i, equals;

                while (end < n && !strchr(separators, p[end] ? p[end] : 1))
                        end++;
                for (equals = i; equals < end && p[equals] != '=';)
                        equals++;
                gsize name = i;
                while (name < equals && p[name] == ' ')
                        name++;
                if (equals < end && (all || bh_redact_is_secret(p + name, equals - name))) {
                        if (all)
                                g_string_append_len(out, p + i, (gssize) (equals - i));
                        else /* it may be anything: JSON as a form has its first '=' somewhere in a value */
                                scan_piece(out, p + i, equals - i);
                        g_string_append_c(out, '=');
                        if (equals + 1 < end)
                                g_string_append(out, BH_REDACTED);
                } else if (all && name < end) {
                        g_string_append(out, BH_REDACTED); /* a cookie without a name is its value */
                } else {
                        scan_piece(out, p + i, end - i);
                }
                if (end < n)
                        g_string_append_c(out, p[end]);
                i = end + 1;
        }
}

char *bh_redact_form(const char *text, gsize len) {
        GString *out = g_string_sized_new(len + 16);

        scan_pairs(out, text, len, "&;", FALSE);
        return g_string_free(out, FALSE);
}

/* ---- messages */

char *bh_redact_field(const char *name, const char *value) {
        gsize n = strlen(value);

        if (g_ascii_strcasecmp(name, "Cookie") == 0) {
                GString *out = g_string_new(NULL);

                scan_pairs(out, value, n, ";", TRUE);
                return g_string_free(out, FALSE);
        }
        if (g_ascii_strcasecmp(name, "Set-Cookie") == 0) {
                gsize first = strcspn(value, ";"), equals = strcspn(value, "=");
                GString *out = g_string_new(NULL);

                if (equals < first)
                        g_string_append_len(out, value, (gssize) equals + 1);
                g_string_append(out, BH_REDACTED);
                g_string_append(out, value + first);
                return g_string_free(out, FALSE);
        }
        if (g_ascii_strcasecmp(name, "Authorization") == 0 || g_ascii_strcasecmp(name, "Proxy-Authorization") == 0) {
                gsize scheme = strcspn(value, " ");

                return value[scheme] ? g_strdup_printf("%.*s " BH_REDACTED, (int) scheme, value) : g_strdup(BH_REDACTED);
        }
        if (bh_redact_is_secret(name, strlen(name)))
                return g_strdup(n ? BH_REDACTED : "");
        if (g_ascii_strcasecmp(name, "Referer") == 0 || g_ascii_strcasecmp(name, "Location") == 0)
                return bh_redact_form(value, n);
        return bh_redact_text(value, n);
}

static char *redact_target(const char *target) {
        gsize path = strcspn(target, "?");
        g_autofree char *front = bh_redact_text(target, path);

        if (!target[path])
                return g_steal_pointer(&front);
        g_autofree char *query = bh_redact_form(target + path + 1, strlen(target + path + 1));
        return g_strconcat(front, "?", query, NULL);
}

static const char *part_name(const char *p, gsize n, gsize from) {
        const char *found;

        while ((found = memmem(p + from, n - from, "name=", 5))) {
                if (found == p || (found[-1] && strchr(" ;\t\r\n", found[-1])))
                        break;
                from = (gsize) (found - p) + 5; /* "username=", "filename=" */
        }
        return found;
}

/* Parts of a multipart form whose name is a secret's lose their content; the others go through the scan, and so do names: it may be content that looks like one. */
static void redact_multipart(GString *out, const char *p, gsize n) {
        gsize i = 0;

        while (i < n) {
                const char *found = part_name(p, n, i);
                gsize at = found ? (gsize) (found - p) : n;

                scan(out, p + i, at - i, ENDS);
                if (!found)
                        return;
                gboolean quoted;
                gsize name = at + 5, len = value_len(p + name, n - name, ";\r\n", &quoted), skip = quoted && len > 1;
                gboolean secret = bh_redact_is_secret(p + name + skip, len - skip);
                const char *blank = memmem(p + name + len, MIN(n - name - len, HEAD_LEN), "\r\n\r\n", 4);

                i = name + len;
                scan(out, p + at, i - at, ENDS);
                if (!secret || !blank)
                        continue;
                gsize content = (gsize) (blank - p) + 4;
                const char *end = memmem(p + content, n - content, "\r\n--", 4);
                g_string_append_len(out, p + i, (gssize) (content - i));
                g_string_append(out, BH_REDACTED);
                i = end ? (gsize) (end - p) : n;
        }
}

void bh_redact_message(BhHttpMessage *m) {
        const char *type = bh_http_field(m, "Content-Type");
        GString *out = g_string_sized_new(m->body->len + 16);

        if (type && word_at(type, strlen(type), "application/x-www-form-urlencoded"))
                scan_pairs(out, (const char *) m->body->data, m->body->len, "&", FALSE);
        else if (type && word_at(type, strlen(type), "multipart/"))
                redact_multipart(out, (const char *) m->body->data, m->body->len);
        else if (m->body->len)
                scan(out, (const char *) m->body->data, m->body->len, ENDS);
        g_byte_array_set_size(m->body, 0);
        g_byte_array_append(m->body, (const guint8 *) out->str, (guint) out->len);
        g_string_free(out, TRUE);

        char *target = redact_target(m->target);
        g_free(m->target);
        m->target = target;
        for (guint i = 0; i < m->n_fields; i++) {
                char *value = bh_redact_field(m->fields[i].name, m->fields[i].value);

                g_free(m->fields[i].value);
                m->fields[i].value = value;
        }
}

/* ---- bytes of a connection */

/* Of the message whose head is being read. */
typedef struct {
        gboolean is, form, multipart, bounded; /* is: there is one */
        guint64 length;                        /* of its body, when it is bounded */
} Head;

/* Behind the line that begins at i. */
static gsize line_end(const char *p, gsize n, gsize i) {
        const char *end = memchr(p + i, '\n', n - i);

        return end ? (gsize) (end - p) + 1 : n;
}

/* Without what ends the line. */
static gsize trimmed(const char *p, gsize n) {
        while (n && (p[n - 1] == '\n' || p[n - 1] == '\r' || p[n - 1] == ' ' || p[n - 1] == '\t'))
                n--;
        return n;
}

/* Up to where a line is what a request asks for, " HTTP/1.1" is behind it; 0: it begins no request. */
static gsize target_end(const char *p, gsize n) {
        gsize end = trimmed(p, n), i = end;

        while (i && end - i < 10 && p[i - 1] != ' ')
                i--;
        return i > 1 && p[i - 1] == ' ' && word_at(p + i, end - i, "HTTP/") ? i - 1 : 0;
}

static gboolean begins_message(const char *p, gsize n) {
        return word_at(p, n, "HTTP/1.") || target_end(p, n);
}

static gboolean token_of_name(char c) {
        return g_ascii_isalnum(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* Where the name of a field begins that this line has, and (returned) how long it is; 0: it has none. As a tool shows them ("> Host: x"), too. */
static gsize field_at(const char *p, gsize n, gsize *at) {
        gsize i = 0, end;

        while (i < n && (p[i] == ' ' || p[i] == '\t' || p[i] == '<' || p[i] == '>'))
                i++;
        for (*at = end = i; end < n && end - i < NAME_MAX_LEN && token_of_name(p[end]);)
                end++;
        for (i = end; i < n && (p[i] == ' ' || p[i] == '\t');)
                i++;
        return i < n && p[i] == ':' ? end - *at : 0;
}

/* Fields that are known as such where no beginning of a message was seen; of types those alone that no part of a body has. */
static gboolean is_of_head(const char *name, const char *line, gsize n) {
        static const char *const names[] = { "cookie", "set-cookie", "authorization", "proxy-authorization", NULL };
        g_autofree char *lower = g_ascii_strdown(name, -1);

        if (g_str_equal(lower, "content-type"))
                return memmem(line, n, "x-www-form-urlencoded", 21) || memmem(line, n, "multipart/form-data", 19);
        return in_list(names, lower, FALSE);
}

static void scan_any(GString *out, const char *p, gsize n) {
        if (memmem(p, n, "form-data", 9))
                redact_multipart(out, p, n);
        else
                scan(out, p, n, ENDS);
}

static void note_field(Head *h, const char *name, const char *value) {
        h->is = TRUE;
        if (g_ascii_strcasecmp(name, "Content-Type") == 0) {
                h->form = word_at(value, strlen(value), "application/x-www-form-urlencoded");
                h->multipart = word_at(value, strlen(value), "multipart/");
        } else if (g_ascii_strcasecmp(name, "Content-Length") == 0) {
                h->bounded = TRUE;
                h->length = g_ascii_strtoull(value, NULL, 10);
        }
}

/* The field whose name is `len` bytes at p, of n with all lines that go on with it. */
static void redact_line(GString *out, Head *h, const char *p, gsize n, const char *name) {
        gsize value = (gsize) ((const char *) memchr(p, ':', n) - p) + 1, end = trimmed(p, n);

        while (value < end && (p[value] == ' ' || p[value] == '\t'))
                value++;
        end = MAX(end, value);
        g_autofree char *text = g_strndup(p + value, end - value), *clean = bh_redact_field(name, text);
        note_field(h, name, text);
        g_string_append_len(out, p, (gssize) value);
        g_string_append(out, clean);
        g_string_append_len(out, p + end, (gssize) (n - end));
}

/* A body: as long as its head says, but no further than to where a next message begins. Where it ends. */
static gsize redact_body(GString *out, const Head *h, const char *p, gsize n, gsize from) {
        const gsize bound = h->bounded && h->length < n - from ? from + (gsize) h->length : n;
        gsize end = from;

        for (gsize next; end < bound && !begins_message(p + end, (next = line_end(p, bound, end)) - end);)
                end = next;
        if (h->form)
                scan_pairs(out, p + from, end - from, "&", FALSE);
        else if (h->multipart)
                redact_multipart(out, p + from, end - from);
        else
                scan_any(out, p + from, end - from);
        return end;
}

/*
 * Lines: heads of messages field by field, their bodies as what they are; anything else as free text, as much of it at once as there is, for a value may go over lines.
 * No message need be whole, or well-formed.
 */
static void redact_lines(GString *out, const char *p, gsize n) {
        Head h = { 0 };
        gsize free_text = 0;

        for (gsize i = 0, end; i < n; i = end) {
                const char *line = p + i;
                gsize at, len;

                end = line_end(p, n, i);
                if (begins_message(line, end - i)) {
                        gsize target = target_end(line, end - i);
                        g_autofree char *asked = g_strndup(line, target), *clean = redact_target(asked);

                        scan_any(out, p + free_text, i - free_text);
                        g_string_append(out, clean);
                        scan(out, line + target, end - i - target, ENDS);
                        h = (Head){ .is = TRUE };
                        free_text = end;
                        continue;
                }
                if (h.is && !trimmed(line, end - i)) {
                        scan_any(out, p + free_text, end - free_text);
                        free_text = end = redact_body(out, &h, p, n, end);
                        h = (Head){ 0 };
                        continue;
                }
                len = field_at(line, end - i, &at);
                g_autofree char *name = g_strndup(line + at, len);
                if (len && (h.is || is_of_head(name, line, end - i))) {
                        while (end < n && (p[end] == ' ' || p[end] == '\t')) { /* its value goes on */
                                gsize next = line_end(p, n, end);

                                if (!trimmed(p + end, next - end))
                                        break;
                                end = next;
                        }
                        scan_any(out, p + free_text, i - free_text);
                        redact_line(out, &h, line, end - i, name);
                        free_text = end;
                } else if (word_at(line, end - i, "-----")) { /* a key, whose lines belong together */
                        h = (Head){ 0 };
                }
        }
        scan_any(out, p + free_text, n - free_text);
}

static gboolean is_base64(const char *p, gsize n) {
        for (gsize i = 0; i < n; i++)
                if (!g_ascii_isalnum(p[i]) && p[i] != '+' && p[i] != '/' && p[i] != '=')
                        return FALSE;
        return n > 0;
}

/* Lines at the beginning that are, or may be, those of a key of which the beginning was not seen. */
static gsize rest_of_key(const char *p, gsize n, gboolean cut) {
        gboolean any = FALSE, closed;
        gsize i = 0, end;

        for (; i < n; i = end) {
                end = line_end(p, n, i);
                gsize len = trimmed(p + i, end - i);

                closed = end == n || word_at(p + end, n - end, "-----END");
                if (!is_base64(p + i, len) || (i && len < KEY_LINE && !closed))
                        break;
                any |= len >= KEY_LINE;
        }
        return (any && cut) || word_at(p + i, n - i, "-----END") ? i : 0;
}

char *bh_redact_bytes(const guint8 *bytes, gsize len, gboolean cut) {
        g_autofree char *plain = g_malloc(len + 1);
        GString *out = g_string_sized_new(len + 16);

        for (gsize i = 0; i < len; i++) {
                const gboolean end = bytes[i] == '\r' && i + 1 < len && bytes[i + 1] == '\n';

                plain[i] = end || (bytes[i] >= 0x20 && bytes[i] <= 0x7e) || bytes[i] == '\n' || bytes[i] == '\t' ? (char) bytes[i] : '?';
        }
        plain[len] = 0;
        const gsize rest = rest_of_key(plain, len, cut);
        if (rest)
                g_string_append(out, rest < len ? BH_REDACTED "\n" : BH_REDACTED);
        redact_lines(out, plain + rest, len - rest);
        for (gsize i = 0; i < out->len; i++)
                if (out->str[i] == '\r')
                        out->str[i] = ' ';
        return g_string_free(out, FALSE);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Protocols whose first bytes are lines of text. */
#include <string.h>

#include "parse/protocol_signs.h"

/* The line at the beginning, without its end. FALSE when no end of a line is there; *line is then all that there is. */
static gboolean first_line(const BhBytes *b, BhBytes *line) {
        gsize n = bh_bytes_left(b);
        const guint8 *end = n ? memchr(b->at, '\n', n) : NULL;

        *line = *b;
        if (!end)
                return FALSE;
        line->end = end > b->at && end[-1] == '\r' ? end - 1 : end;
        return TRUE;
}

/* The next line, and `b` behind it. FALSE when there is no whole one. */
static gboolean take_line(BhBytes *b, BhBytes *line) {
        if (!first_line(b, line))
                return FALSE;
        const guint8 *end = memchr(b->at, '\n', bh_bytes_left(b));
        bh_bytes_take(b, (gsize) (end + 1 - b->at));
        return TRUE;
}

static gboolean printable(const guint8 *p, gsize n) {
        for (gsize i = 0; i < n; i++)
                if (p[i] < 0x20 || p[i] >= 0x7f)
                        return FALSE;
        return TRUE;
}

static gboolean ends_in_crlf(const BhBytes *line) {
        return *line->end == '\r';
}

/* Begins with one of the words (up to a NULL), in any case, and then a space or the line's end. NULL = none. */
static const char *verb_of(const BhBytes *line, const char *const *words, gboolean any_case) {
        gsize n = bh_bytes_left(line);

        for (; *words; words++) {
                gsize w = strlen(*words);

                if (n < w || (n > w && line->at[w] != ' '))
                        continue;
                if (any_case ? g_ascii_strncasecmp((const char *) line->at, *words, w) == 0 : memcmp(line->at, *words, w) == 0)
                        return *words;
        }
        return NULL;
}

static gboolean contains(const BhBytes *line, const char *word) {
        gsize n = bh_bytes_left(line), w = strlen(word);

        for (gsize i = 0; i + w <= n; i++)
                if (g_ascii_strncasecmp((const char *) line->at + i, word, w) == 0)
                        return TRUE;
        return FALSE;
}

/* ---- HTTP/1 */

static const char *const http_methods[] = { "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK",
                                            "UNLOCK", "REPORT", "SEARCH", "PURGE", NULL };

/* Values of the first header fields of these names. */
static void http_fields(BhBytes b, const char *first, char *first_out, gsize first_room, const char *host, char *host_out) {
        BhBytes line;

        for (guint i = 0; i < 64 && take_line(&b, &line); i++) {
                gsize n = bh_bytes_left(&line);
                const guint8 *colon = n ? memchr(line.at, ':', n) : NULL;

                if (!colon)
                        return;
                gsize name = (gsize) (colon - line.at);
                if (name == strlen(first) && g_ascii_strncasecmp((const char *) line.at, first, name) == 0)
                        bh_protocol_text(first_out, first_room, colon + 1, n - name - 1);
                else if (host && name == strlen(host) && g_ascii_strncasecmp((const char *) line.at, host, name) == 0)
                        bh_protocol_name_of(host_out, colon + 1, n - name - 1);
        }
}

static gboolean http_version(const guint8 *p, char *out) {
        if (memcmp(p, "HTTP/1.", 7) != 0 || !g_ascii_isdigit(p[7]))
                return FALSE;
        g_snprintf(out, 32, "1.%c", p[7]);
        return TRUE;
}

static BhSign http_request(BhBytes b, BhProtocolFacts *f) {
        BhBytes line;
        gboolean whole = first_line(&b, &line);
        const char *method = verb_of(&line, http_methods, FALSE);
        gsize n = bh_bytes_left(&line), at = 0;

        if (!whole) {
                /* a target longer than the bytes: only what can be no sentence of another protocol */
                if (!method || n < 64 || !printable(line.at, n))
                        return BH_SIGN_NO;
                at = strlen(method) + 1;
                gboolean target = line.at[at] == '/' || memcmp(line.at + at, "http", 4) == 0;
                return target && !memchr(line.at + at, ' ', n - at) ? BH_SIGN_FAIR : BH_SIGN_NO;
        }
        if (!method) {
                /* any token, but then with a field of HTTP behind it */
                while (at < n && at < 32 && (g_ascii_isupper(line.at[at]) || line.at[at] == '-' || line.at[at] == '_'))
                        at++;
                if (at == 0 || at >= n || line.at[at] != ' ')
                        return BH_SIGN_NO;
        } else {
                at = strlen(method);
        }
        if (n < at + 2 + 8 || line.at[n - 9] != ' ' || !http_version(line.at + n - 8, f->version))
                return BH_SIGN_NO;
        b.at = line.end;
        if (*b.at == '\r')
                b.at++;
        b.at++;
        http_fields(b, "User-Agent", f->client, sizeof(f->client), "Host", f->server_name);
        return BH_SIGN_STRONG;
}

static BhSign http_response(BhBytes b, BhProtocolFacts *f) {
        BhBytes line;

        if (bh_bytes_left(&b) < 12 || !http_version(b.at, f->version) || b.at[8] != ' ' || b.at[9] < '1' || b.at[9] > '9' || !g_ascii_isdigit(b.at[10]) || !g_ascii_isdigit(b.at[11]))
                return BH_SIGN_NO;
        if (take_line(&b, &line))
                http_fields(b, "Server", f->server, sizeof(f->server), NULL, NULL);
        return BH_SIGN_STRONG;
}

void bh_try_http1(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f) {
        if (*client == BH_SIGN_NO)
                *client = http_request(l->client, f);
        if (*server == BH_SIGN_NO)
                *server = http_response(l->server, f);
}

/* ---- SSH */

static BhSign ssh_banner(BhBytes b, char *version, char *software) {
        BhBytes line;

        /* RFC 4253 §4.2: a server may say lines before its version */
        for (guint i = 0; i < 8 && first_line(&b, &line); i++) {
                gsize n = bh_bytes_left(&line);

                if (bh_bytes_starts(&line, "SSH-2.0-") || bh_bytes_starts(&line, "SSH-1.")) {
                        const guint8 *dash = memchr(line.at + 4, '-', n - 4);

                        if (!dash || n > 253 || !printable(line.at, n))
                                return BH_SIGN_NO;
                        bh_protocol_text(version, 32, line.at + 4, (gsize) (dash - line.at) - 4);
                        bh_protocol_text(software, BH_PROTOCOL_TEXT_MAX + 1, dash + 1, (gsize) (line.end - dash) - 1);
                        return BH_SIGN_STRONG;
                }
                if (!printable(line.at, n))
                        return BH_SIGN_NO;
                (void) take_line(&b, &line);
        }
        return BH_SIGN_NO;
}

void bh_try_ssh(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f) {
        if (*client == BH_SIGN_NO)
                *client = ssh_banner(l->client, f->version, f->client);
        if (*server == BH_SIGN_NO)
                *server = ssh_banner(l->server, f->version, f->server);
}

/* ---- Redis */

/* "<kind>digits\r\n" at *b; -1 is a number as well. FALSE when it is not there whole. */
static gboolean resp_number(BhBytes *b, char kind, gint64 *out) {
        BhBytes line;
        gsize i = 1;
        gint64 v = 0;

        if (!bh_bytes_left(b) || *b->at != kind || !take_line(b, &line) || !ends_in_crlf(&line))
                return FALSE;
        gsize n = bh_bytes_left(&line);
        gboolean minus = n > 1 && line.at[1] == '-';

        i += minus;
        if (i >= n || n - i > 9)
                return FALSE;
        for (; i < n; i++) {
                if (!g_ascii_isdigit(line.at[i]))
                        return FALSE;
                v = v * 10 + (line.at[i] - '0');
        }
        *out = minus ? -v : v;
        return TRUE;
}

/* A bulk string whose end is in the bytes. */
static gboolean resp_bulk(BhBytes *b, BhBytes *text) {
        gint64 n;

        if (!resp_number(b, '$', &n) || n < 0 || (gsize) n + 2 > bh_bytes_left(b))
                return FALSE;
        *text = bh_bytes_sub(b, (gsize) n);
        const guint8 *end = bh_bytes_take(b, 2);
        return end && end[0] == '\r' && end[1] == '\n';
}

static const char *const redis_inline[] = { "PING", "INFO", "AUTH", "HELLO", "SELECT", "CLIENT", "CONFIG", "KEYS", "DBSIZE", "GET", "SET", "INCR", "DEL", "EXISTS", "LPUSH", "SADD",
                                            "SUBSCRIBE", "REPLCONF", "PSYNC", "SLAVEOF", "MODULE", "FLUSHALL", "FLUSHDB", "COMMAND", "MONITOR", "SAVE", "BGSAVE", "EVAL", "DEBUG", NULL };
/* these are no command of memcached or NATS, whatever their case */
static const char *const redis_own[] = { "HELLO", "SELECT", "CONFIG", "DBSIZE", "REPLCONF", "PSYNC", "SLAVEOF", "FLUSHDB", "FLUSHALL", "LPUSH", "SADD", "BGSAVE", "COMMAND", NULL };

static BhSign redis_client(BhBytes b) {
        BhBytes word, line;
        gint64 n;

        if (*b.at == '*') {
                if (!resp_number(&b, '*', &n) || n < 1 || n > 1024 * 1024)
                        return BH_SIGN_NO;
                if (!resp_bulk(&b, &word) || !bh_bytes_left(&word) || bh_bytes_left(&word) > 64)
                        return BH_SIGN_NO;
                for (const guint8 *c = word.at; c < word.end; c++)
                        if (!g_ascii_isalnum(*c) && *c != '.' && *c != '_' && *c != '-' && *c != '|')
                                return BH_SIGN_NO;
                return BH_SIGN_STRONG;
        }
        if (!first_line(&b, &line) || !printable(line.at, bh_bytes_left(&line)) || !verb_of(&line, redis_inline, TRUE) || contains(&line, " HTTP/1."))
                return BH_SIGN_NO;
        return verb_of(&line, redis_own, FALSE) ? BH_SIGN_FAIR : BH_SIGN_WEAK;
}

static BhSign redis_server(BhBytes b, BhProtocolFacts *f) {
        static const char *const errors[] = { "-ERR ", "-NOAUTH ", "-WRONGTYPE ", "-WRONGPASS ", "-MOVED ", "-ASK ", "-LOADING ", "-DENIED ", "-NOPERM ", "-READONLY ", "-MISCONF ",
                                              "-BUSY ", "-CLUSTERDOWN ", "-OOM ", "-NOSCRIPT ", "-EXECABORT ", "-MASTERDOWN ", "-CROSSSLOT " };
        BhBytes line, text, at = b;
        gint64 n;

        if (!first_line(&b, &line) || !ends_in_crlf(&line) || !printable(line.at, bh_bytes_left(&line)))
                return BH_SIGN_NO;
        switch (*b.at) {
        case '+':
                /* "+OK" alone is also what NATS and POP3 say */
                return bh_bytes_starts(&line, "+PONG") && bh_bytes_left(&line) == 5 ? BH_SIGN_FAIR : BH_SIGN_WEAK;
        case '-':
                for (gsize i = 0; i < G_N_ELEMENTS(errors); i++)
                        if (bh_bytes_starts(&line, errors[i]))
                                return i == 0 ? BH_SIGN_WEAK : BH_SIGN_FAIR;
                return BH_SIGN_NO;
        case ':':
                return resp_number(&at, ':', &n) ? BH_SIGN_WEAK : BH_SIGN_NO;
        case '$':
                if (resp_bulk(&at, &text)) {
                        if (bh_bytes_starts(&text, "# Server\r\nredis_version:")) {
                                const guint8 *v = text.at + 24, *end = memchr(v, '\r', (gsize) (text.end - v));

                                if (end)
                                        bh_protocol_text(f->server, sizeof(f->server), v, (gsize) (end - v));
                        }
                        return bh_bytes_left(&text) ? BH_SIGN_FAIR : BH_SIGN_WEAK;
                }
                at = b;
                return resp_number(&at, '$', &n) && n >= -1 ? BH_SIGN_WEAK : BH_SIGN_NO;
        case '*':
        case '%':
        case '~':
        case '>':
                if (!resp_number(&at, (char) *b.at, &n) || n < -1)
                        return BH_SIGN_NO;
                return resp_bulk(&at, &text) ? BH_SIGN_STRONG : BH_SIGN_WEAK;
        case '_':
        case '#':
        case ',':
                return BH_SIGN_WEAK;
        default:
                return BH_SIGN_NO;
        }
}

void bh_try_redis(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f) {
        if (*client == BH_SIGN_NO)
                *client = redis_client(l->client);
        if (*server == BH_SIGN_NO)
                *server = redis_server(l->server, f);
}

/* ---- memcached */

/* The binary form: 24 bytes of header, lengths that agree with each other. */
static BhSign memcached_binary(BhBytes b, guint8 magic) {
        guint8 m = bh_bytes_u8(&b), opcode = bh_bytes_u8(&b);
        guint16 key = bh_bytes_u16(&b);
        guint8 extras = bh_bytes_u8(&b), type = bh_bytes_u8(&b);
        guint16 status = bh_bytes_u16(&b);
        guint32 body = bh_bytes_u32(&b);

        bh_bytes_take(&b, 12);
        if (b.bad || m != magic || opcode > 0x40 || type != 0 || key > 250 || extras > 20 || body < (guint32) key + extras || body > (1u << 20) + 270u)
                return BH_SIGN_NO;
        if (magic == 0x81 && status > 0x86)
                return BH_SIGN_NO;
        if (magic == 0x80 && status > 1024) /* a bucket */
                return BH_SIGN_NO;
        /* the whole of a message that is short is there, and another one may follow */
        if (body < bh_bytes_left(&b) && b.at[body] != magic)
                return BH_SIGN_NO;
        return BH_SIGN_FAIR;
}

static gboolean number_words(const BhBytes *line, guint skip, guint least) {
        const guint8 *c = line->at;
        guint words = 0, numbers = 0;

        while (c < line->end) {
                const guint8 *word = c;
                gboolean number = TRUE;

                for (; c < line->end && *c != ' '; c++)
                        number &= g_ascii_isdigit(*c) || (*c == '-' && c == word);
                words++;
                if (words > skip) {
                        if (!number && words <= skip + least)
                                return FALSE;
                        numbers += number;
                }
                if (c < line->end)
                        c++;
        }
        return numbers >= least;
}

void bh_try_memcached(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f) {
        static const char *const store[] = { "set", "add", "replace", "append", "prepend", "cas", NULL };
        static const char *const other[] = { "get", "gets", "gat", "delete", "incr", "decr", "touch", "stats", "version", "flush_all", "verbosity", "quit", "mg", "ms", "md", "mn", NULL };
        static const char *const says[] = { "STORED", "NOT_STORED", "END", "DELETED", "NOT_FOUND", "EXISTS", "TOUCHED", "HD", "EN", "MN", NULL };
        BhBytes line;

        if (*client == BH_SIGN_NO) {
                if (*l->client.at == 0x80)
                        *client = memcached_binary(l->client, 0x80);
                else if (first_line(&l->client, &line) && ends_in_crlf(&line) && printable(line.at, bh_bytes_left(&line)))
                        *client = verb_of(&line, store, FALSE) ? (number_words(&line, 2, 3) ? BH_SIGN_STRONG : BH_SIGN_NO) : verb_of(&line, other, FALSE) ? BH_SIGN_WEAK : BH_SIGN_NO;
        }
        if (*server == BH_SIGN_NO) {
                if (*l->server.at == 0x81)
                        *server = memcached_binary(l->server, 0x81);
                else if (first_line(&l->server, &line) && ends_in_crlf(&line) && printable(line.at, bh_bytes_left(&line))) {
                        if (bh_bytes_starts(&line, "VALUE ") && number_words(&line, 2, 2))
                                *server = BH_SIGN_STRONG;
                        else if (bh_bytes_starts(&line, "STAT pid ") || bh_bytes_starts(&line, "CLIENT_ERROR ") || bh_bytes_starts(&line, "SERVER_ERROR "))
                                *server = BH_SIGN_FAIR;
                        else if (bh_bytes_starts(&line, "VERSION ")) {
                                *server = BH_SIGN_FAIR;
                                bh_protocol_text(f->server, sizeof(f->server), line.at + 8, bh_bytes_left(&line) - 8);
                        } else if (verb_of(&line, says, FALSE) || bh_bytes_starts(&line, "ERROR"))
                                *server = BH_SIGN_WEAK;
                }
        }
}

/* ---- NATS */

/* The value of "key":"text" somewhere in a line of JSON. Not a parser: for showing only. */
static void json_text(const BhBytes *line, const char *key, char *out, gsize room) {
        g_autofree char *quoted = g_strdup_printf("\"%s\":\"", key);
        gsize n = bh_bytes_left(line), q = strlen(quoted);

        for (gsize i = 0; i + q <= n; i++) {
                if (memcmp(line->at + i, quoted, q) != 0)
                        continue;
                const guint8 *v = line->at + i + q, *end = memchr(v, '"', (gsize) (line->end - v));

                if (end)
                        bh_protocol_text(out, room, v, (gsize) (end - v));
                return;
        }
}

void bh_try_nats(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f) {
        static const char *const client_says[] = { "PUB", "HPUB", "SUB", "UNSUB", "PING", "PONG", NULL };
        static const char *const server_says[] = { "MSG", "HMSG", "PING", "PONG", "+OK", "-ERR", NULL };
        BhBytes line;

        if (*client == BH_SIGN_NO) {
                gboolean crlf = first_line(&l->client, &line) && ends_in_crlf(&line);

                if (bh_bytes_starts(&line, "CONNECT {")) {
                        *client = BH_SIGN_STRONG;
                        json_text(&line, "lang", f->client, sizeof(f->client));
                } else if (crlf && verb_of(&line, client_says, FALSE)) {
                        *client = bh_bytes_starts(&line, "PUB ") && number_words(&line, 2, 1) ? BH_SIGN_FAIR : BH_SIGN_WEAK;
                }
        }
        if (*server == BH_SIGN_NO) {
                gboolean crlf = first_line(&l->server, &line) && ends_in_crlf(&line);

                if (bh_bytes_starts(&line, "INFO {") && (contains(&line, "\"server_id\"") || contains(&line, "\"max_payload\""))) {
                        *server = BH_SIGN_STRONG;
                        json_text(&line, "version", f->server, sizeof(f->server));
                } else if (crlf && bh_bytes_starts(&line, "MSG ") && number_words(&line, 3, 1)) {
                        *server = BH_SIGN_FAIR;
                } else if (crlf && verb_of(&line, server_says, FALSE)) {
                        *server = BH_SIGN_WEAK;
                }
        }
}

/* ---- greetings of servers with three digits, and mail */

static gboolean greeting(const BhBytes *b, const char *code, BhBytes *line) {
        return first_line(b, line) && ends_in_crlf(line) && bh_bytes_starts(line, code) && bh_bytes_left(line) >= 4 && (line->at[3] == ' ' || line->at[3] == '-') &&
               printable(line->at, bh_bytes_left(line));
}

static const char *client_verb(const BhLook *l, const char *const *verbs) {
        BhBytes line;

        return first_line(&l->client, &line) && ends_in_crlf(&line) && printable(line.at, bh_bytes_left(&line)) ? verb_of(&line, verbs, TRUE) : NULL;
}

void bh_try_smtp(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f) {
        static const char *const verbs[] = { "EHLO", "HELO", "LHLO", NULL };
        BhBytes line;

        if (*client == BH_SIGN_NO && client_verb(l, verbs)) {
                *client = BH_SIGN_FAIR;
                (void) first_line(&l->client, &line);
                bh_protocol_text(f->client, sizeof(f->client), line.at + 4, bh_bytes_left(&line) - 4);
        }
        if (*server == BH_SIGN_NO && (greeting(&l->server, "220", &line) || greeting(&l->server, "554", &line))) {
                *server = contains(&line, "SMTP") ? BH_SIGN_STRONG : contains(&line, "FTP") ? BH_SIGN_NO : BH_SIGN_WEAK;
                bh_protocol_text(f->server, sizeof(f->server), line.at + 4, bh_bytes_left(&line) - 4);
        }
}

void bh_try_ftp(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f) {
        static const char *const verbs[] = { "USER", "AUTH", "FEAT", "OPTS", "SYST", "QUIT", NULL };
        BhBytes line;

        if (*client == BH_SIGN_NO && client_verb(l, verbs))
                *client = BH_SIGN_WEAK;
        if (*server == BH_SIGN_NO && greeting(&l->server, "220", &line)) {
                gboolean smtp = contains(&line, "SMTP");

                *server = smtp ? BH_SIGN_NO : contains(&line, "FTP") || contains(&line, "FileZilla") ? BH_SIGN_STRONG : BH_SIGN_WEAK;
                bh_protocol_text(f->server, sizeof(f->server), line.at + 4, bh_bytes_left(&line) - 4);
        }
}

void bh_try_pop3(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f) {
        static const char *const verbs[] = { "USER", "APOP", "CAPA", "AUTH", "STLS", "QUIT", "STAT", NULL };
        BhBytes line;

        if (*client == BH_SIGN_NO && client_verb(l, verbs))
                *client = BH_SIGN_WEAK;
        if (*server == BH_SIGN_NO && first_line(&l->server, &line) && ends_in_crlf(&line) && bh_bytes_starts(&line, "+OK ") && printable(line.at, bh_bytes_left(&line))) {
                *server = contains(&line, "POP") || contains(&line, "Dovecot") ? BH_SIGN_FAIR : BH_SIGN_WEAK;
                bh_protocol_text(f->server, sizeof(f->server), line.at + 4, bh_bytes_left(&line) - 4);
        }
}

void bh_try_imap(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f) {
        static const char *const verbs[] = { "CAPABILITY", "LOGIN", "STARTTLS", "AUTHENTICATE", "ID", "NOOP", "LOGOUT", NULL };
        BhBytes line;

        if (*client == BH_SIGN_NO && first_line(&l->client, &line) && ends_in_crlf(&line) && printable(line.at, bh_bytes_left(&line))) {
                const guint8 *space = memchr(line.at, ' ', bh_bytes_left(&line));

                if (space && space > line.at && space - line.at <= 16) {
                        BhBytes rest = { .at = space + 1, .end = line.end };

                        if (verb_of(&rest, verbs, TRUE))
                                *client = BH_SIGN_WEAK;
                }
        }
        if (*server == BH_SIGN_NO && first_line(&l->server, &line) && ends_in_crlf(&line) && printable(line.at, bh_bytes_left(&line)) &&
            (bh_bytes_starts(&line, "* OK") || bh_bytes_starts(&line, "* PREAUTH"))) {
                *server = contains(&line, "IMAP") ? BH_SIGN_STRONG : BH_SIGN_WEAK;
                bh_protocol_text(f->server, sizeof(f->server), line.at + 4, bh_bytes_left(&line) - 4);
        }
}

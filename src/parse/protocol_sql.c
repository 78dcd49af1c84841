/* SPDX-License-Identifier: Apache-2.0 */
/* PostgreSQL and MySQL. */
#include <string.h>

#include "parse/protocol_signs.h"

static gboolean visible(const guint8 *p, gsize n) {
        for (gsize i = 0; i < n; i++)
                if ((p[i] < 0x20 && p[i] != '\t' && p[i] != '\n' && p[i] != '\r') || p[i] == 0x7f)
                        return FALSE;
        return TRUE;
}

static gboolean take_cstring(BhBytes *b, BhBytes *text) {
        gsize n = bh_bytes_left(b);
        const guint8 *nul = n ? memchr(b->at, 0, n) : NULL;

        if (!nul)
                return FALSE;
        *text = bh_bytes_sub(b, (gsize) (nul - b->at));
        bh_bytes_take(b, 1);
        return visible(text->at, bh_bytes_left(text));
}

/* ---- PostgreSQL, protocol 3 */

#define PG_SSL 80877103u
#define PG_GSS 80877104u
#define PG_CANCEL 80877102u

static BhSign pg_startup(BhBytes b, BhProtocolFacts *f) {
        guint32 n = bh_bytes_u32(&b), code = bh_bytes_u32(&b);
        BhBytes key, value;

        if (b.bad || n < 8 || n > 10000)
                return BH_SIGN_NO;
        if (code == PG_CANCEL)
                return n == 16 ? BH_SIGN_STRONG : BH_SIGN_NO;
        if (code >> 16 != 3 || code & 0xfff0)
                return BH_SIGN_NO;
        if (!take_cstring(&b, &key) || !bh_bytes_left(&key) || !g_ascii_isalpha(*key.at))
                return BH_SIGN_NO;
        g_snprintf(f->version, sizeof(f->version), "3.%u", code & 15);
        /* "user" is not told on: who logs in is nobody's business here; what the program calls itself is */
        for (guint i = 0; i < 32 && take_cstring(&b, &value); i++) {
                if (bh_bytes_starts(&key, "application_name"))
                        bh_protocol_text(f->client, sizeof(f->client), value.at, bh_bytes_left(&value));
                if (!take_cstring(&b, &key) || !bh_bytes_left(&key))
                        break;
        }
        return BH_SIGN_STRONG;
}

static BhSign pg_message(guint8 type, guint32 n, BhBytes m, gboolean whole, gboolean server) {
        BhBytes text;

        if (server) {
                switch (type) {
                case 'Z':
                        return n == 5 && bh_bytes_left(&m) && strchr("ITE", *m.at) && *m.at ? BH_SIGN_FAIR : BH_SIGN_NO;
                case 'R':
                        return n >= 8 && n <= 4096 && bh_bytes_left(&m) >= 4 && bh_bytes_u32(&m) <= 12 ? BH_SIGN_FAIR : BH_SIGN_NO;
                case 'E':
                case 'N':
                        return n > 8 && bh_bytes_left(&m) > 2 && *m.at == 'S' && g_ascii_isupper(m.at[1]) && take_cstring(&m, &text) ? BH_SIGN_FAIR : BH_SIGN_NO;
                case 'S':
                        if (!whole || !take_cstring(&m, &text) || !bh_bytes_left(&text) || !take_cstring(&m, &text))
                                return BH_SIGN_NO;
                        return BH_SIGN_FAIR;
                case 'C':
                        return n < 64 && bh_bytes_left(&m) && g_ascii_isupper(*m.at) && (!whole || (take_cstring(&m, &text) && !bh_bytes_left(&m))) ? BH_SIGN_WEAK : BH_SIGN_NO;
                case 'K':
                        return n >= 12 && n <= 264 ? BH_SIGN_WEAK : BH_SIGN_NO;
                case '1':
                case '2':
                case '3':
                case 'n':
                case 's':
                case 'I':
                        return n == 4 ? BH_SIGN_WEAK : BH_SIGN_NO;
                case 'T':
                case 'D':
                        return n >= 6 && bh_bytes_left(&m) >= 2 && bh_bytes_u16(&m) <= 1664 ? BH_SIGN_WEAK : BH_SIGN_NO;
                case 't':
                case 'A':
                case 'G':
                case 'H':
                case 'W':
                case 'd':
                case 'c':
                case 'v':
                        return n >= 4 && n < 1u << 24 ? BH_SIGN_WEAK : BH_SIGN_NO;
                default:
                        return BH_SIGN_NO;
                }
        }
        switch (type) {
        case 'Q':
                if (n < 6 || n > 1u << 24 || bh_bytes_left(&m) < 1 || !(g_ascii_isalpha(*m.at) || strchr("(-/; \n", *m.at)))
                        return BH_SIGN_NO;
                if (!whole)
                        return visible(m.at, bh_bytes_left(&m)) && bh_bytes_left(&m) > 32 ? BH_SIGN_FAIR : BH_SIGN_NO;
                return take_cstring(&m, &text) && !bh_bytes_left(&m) ? BH_SIGN_FAIR : BH_SIGN_NO;
        case 'P':
                return n >= 8 && n < 1u << 24 && take_cstring(&m, &text) && bh_bytes_left(&m) > 2 && take_cstring(&m, &text) ? BH_SIGN_FAIR : BH_SIGN_NO;
        case 'S':
        case 'H':
        case 'X':
        case 'c':
                return n == 4 ? BH_SIGN_WEAK : BH_SIGN_NO;
        case 'p':
                return n > 4 && n < 4096 ? BH_SIGN_WEAK : BH_SIGN_NO;
        case 'B':
        case 'E':
        case 'D':
        case 'C':
        case 'F':
        case 'd':
        case 'f':
                return n >= 5 && n < 1u << 24 ? BH_SIGN_WEAK : BH_SIGN_NO;
        default:
                return BH_SIGN_NO;
        }
}

/* Typed messages, each where the last one ends: all must be good, and one of them a sign of its own. */
static BhSign pg_messages(BhBytes b, gboolean server) {
        BhSign best = BH_SIGN_NO;
        guint count = 0;

        while (bh_bytes_left(&b) >= 5) {
                guint8 type = bh_bytes_u8(&b);
                guint32 n = bh_bytes_u32(&b);

                if (n < 4)
                        return BH_SIGN_NO;
                gsize have = MIN(n - 4, bh_bytes_left(&b));
                BhSign s = pg_message(type, n, bh_bytes(b.at, have), have == n - 4, server);

                if (s == BH_SIGN_NO)
                        return BH_SIGN_NO;
                bh_bytes_take(&b, have);
                best = MAX(best, s);
                count++;
        }
        return best == BH_SIGN_FAIR && count > 1 ? BH_SIGN_STRONG : best;
}

void bh_try_postgresql(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f) {
        BhBytes answers = l->server;
        gboolean asked = FALSE;

        if (*client == BH_SIGN_NO) {
                BhBytes b = l->client;

                /* a client may ask for GSSAPI, be refused, and ask for TLS */
                for (guint i = 0; i < 2 && bh_bytes_left(&b) >= 8; i++) {
                        BhBytes ask = b;
                        guint32 n = bh_bytes_u32(&ask), code = bh_bytes_u32(&ask);

                        if (n != 8 || (code != PG_SSL && code != PG_GSS))
                                break;
                        asked = TRUE;
                        b = ask;
                        if (bh_bytes_left(&answers) && strchr("SNG", *answers.at) && *answers.at)
                                bh_bytes_take(&answers, 1);
                }
                *client = asked ? BH_SIGN_STRONG : pg_startup(b, f);
                if (*client == BH_SIGN_NO)
                        *client = pg_messages(b, FALSE);
                if (asked && bh_bytes_left(&b) && pg_startup(b, f) == BH_SIGN_NO)
                        (void) bh_protocol_tls_client(b, FALSE, f);
                /* the version is PostgreSQL's */
                if (f->signs & BH_PROTOCOL_ENCRYPTED)
                        *f->version = 0;
        }
        if (*server == BH_SIGN_NO) {
                if (asked && (!bh_bytes_left(&answers) || f->signs & BH_PROTOCOL_ENCRYPTED))
                        *server = answers.at > l->server.at ? BH_SIGN_WEAK : BH_SIGN_NO;
                else
                        *server = pg_messages(answers, TRUE);
        }
}

/* ---- MySQL */

static BhSign mysql_greeting(BhBytes b, BhProtocolFacts *f) {
        guint32 n = bh_bytes_number_le(&b, 3);
        guint8 sequence = bh_bytes_u8(&b), protocol = bh_bytes_u8(&b);
        BhBytes version;

        if (b.bad || sequence || n < 9 || n > 1024)
                return BH_SIGN_NO;
        if (protocol == 0xff) { /* "Host … is not allowed", "Too many connections" */
                guint16 code = (guint16) bh_bytes_number_le(&b, 2);

                return code >= 1000 && code < 4000 && n - 3 == bh_bytes_left(&b) && visible(b.at, n - 3) ? BH_SIGN_FAIR : BH_SIGN_NO;
        }
        if (protocol != 10 || !take_cstring(&b, &version) || bh_bytes_left(&version) < 3 || bh_bytes_left(&version) > 64 || !g_ascii_isdigit(*version.at))
                return BH_SIGN_NO;
        bh_bytes_take(&b, 4 + 8);
        if (bh_bytes_u8(&b) != 0 || b.bad)
                return BH_SIGN_NO;
        bh_protocol_text(f->server, sizeof(f->server), version.at, bh_bytes_left(&version));
        return BH_SIGN_STRONG;
}

/* The client's second packet, or a command later. */
static BhSign mysql_client(BhBytes b, gboolean midstream, BhProtocolFacts *f) {
        static const char *const words[] = { "SELECT", "INSERT", "UPDATE", "DELETE", "SHOW", "SET", "BEGIN", "COMMIT", "ROLLBACK", "START", "USE", "CREATE", "ALTER", "CALL", "REPLACE", "DESCRIBE" };
        guint32 n = bh_bytes_number_le(&b, 3);
        guint8 sequence = bh_bytes_u8(&b);
        gsize have = bh_bytes_left(&b);

        if (b.bad || !n || (n < have && sequence != 1))
                return BH_SIGN_NO;
        if (sequence == 1 && n >= 32) {
                guint32 can = bh_bytes_number_le(&b, 4), most = bh_bytes_number_le(&b, 4);

                bh_bytes_take(&b, 1);
                const guint8 *filler = bh_bytes_take(&b, 19);
                /* protocol 4.1 with its authentication, and 19 of the 23 bytes that are zero (MariaDB uses the last four) */
                if (!filler || (can & 0x8200) != 0x8200 || most > 1u << 30)
                        return BH_SIGN_NO;
                for (guint i = 0; i < 19; i++)
                        if (filler[i])
                                return BH_SIGN_NO;
                bh_bytes_take(&b, 4);
                if (can & 0x800 && n == 32) { /* TLS comes next */
                        f->signs |= BH_PROTOCOL_ENCRYPTED;
                        if (bh_bytes_left(&b))
                                (void) bh_protocol_tls_client(b, FALSE, f);
                        *f->version = 0;
                }
                return BH_SIGN_FAIR;
        }
        if (!midstream || sequence)
                return BH_SIGN_NO;
        guint8 command = bh_bytes_u8(&b);
        if (command == 14 && n == 1)
                return BH_SIGN_WEAK;
        if ((command != 3 && command != 22) || n < 5 || n > 1u << 24)
                return BH_SIGN_NO;
        for (gsize i = 0; i < G_N_ELEMENTS(words); i++) {
                gsize w = strlen(words[i]);

                if (bh_bytes_left(&b) >= w && g_ascii_strncasecmp((const char *) b.at, words[i], w) == 0)
                        return BH_SIGN_FAIR;
        }
        return BH_SIGN_NO;
}

void bh_try_mysql(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f) {
        if (*server == BH_SIGN_NO)
                *server = mysql_greeting(l->server, f);
        if (*client == BH_SIGN_NO)
                *client = mysql_client(l->client, l->midstream, f);
        /* results of commands have no sign of their own */
        if (l->midstream && *client == BH_SIGN_FAIR && *server == BH_SIGN_NO && bh_bytes_left(&l->server) > 4 && l->server.at[3] == 1)
                *server = BH_SIGN_WEAK;
}

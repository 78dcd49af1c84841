/* SPDX-License-Identifier: Apache-2.0 */
#include <glib.h>
#include <string.h>

#include "parse/redact.h"

static void names_of_secrets_are_known(void) {
        static const char *const secret[] = { "password", "User[Pass%77ord]", "API-Key", "access_token", "X-CSRF-Token", "PHPSESSID", "pwd", "otp", "pass\\u0077ord", "db_password_old" };
        static const char *const plain[] = { "user", "id", "passenger", "page", "author", "key1", "sidebar", "compass", "q", "", "cardigan" };

        for (gsize i = 0; i < G_N_ELEMENTS(secret); i++)
                if (!bh_redact_is_secret(secret[i], strlen(secret[i])))
                        g_error("%s must be taken for a secret", secret[i]);
        for (gsize i = 0; i < G_N_ELEMENTS(plain); i++)
                if (bh_redact_is_secret(plain[i], strlen(plain[i])))
                        g_error("%s must not be taken for a secret", plain[i]);
}

static void any_bytes_become_lines_without_secrets(void) {
        static const guint8 bytes[] = "$ export DB_PASSWORD=hunter2\r\nid\n\x1b[31m\0\xff\tcurl -H 'Authorization: Bearer abcdefghijkl'\n-----BEGIN PRIVATE KEY-----\nMIIabc\n-----END PRIVATE KEY-----\n";
        g_autofree char *text = bh_redact_bytes(bytes, sizeof(bytes) - 1, FALSE), *none = bh_redact_bytes(bytes, 0, TRUE);

        g_assert_cmpstr(none, ==, "");
        g_assert_null(strstr(text, "hunter2"));
        g_assert_null(strstr(text, "abcdefghijkl"));
        g_assert_null(strstr(text, "MIIabc"));
        g_assert_nonnull(strstr(text, "id\n?[31m??\tcurl"));
        for (const char *p = text; *p; p++)
                g_assert_true(*p == '\n' || *p == '\t' || (*p >= 0x20 && *p <= 0x7e));
}

static char *of_stream(const char *bytes, gboolean cut) {
        return bh_redact_bytes((const guint8 *) bytes, strlen(bytes), cut);
}

/* What is HTTP in a stream goes by fields and bodies, whole or in part. */
static void messages_in_streams_lose_their_secrets(void) {
#define FORM "Content-Type: application/x-www-form-urlencoded\r\n"
#define PARTS "--B\r\nContent-Disposition: form-data; name=\"password\"\r\nContent-Type: text/plain\r\n\r\nhunter2 more\r\n--B\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\nyes\r\n--B--\r\n"
#define GONE "--B \nContent-Disposition: form-data; name=\"password\" \nContent-Type: text/plain \n \n*** \n--B \nContent-Disposition: form-data; name=\"x\" \n \nyes \n--B-- \n"
        static const char *const cases[][2] = {
                { "GET /a?password=a,b&x=1 HTTP/1.1\r\nHost: h\r\nCOOKIE:connect.sid=s%3Aabc; laravel_session=eyi\r\n\r\n", "GET /a?password=***&x=1 HTTP/1.1 \nHost: h \nCOOKIE:connect.sid=***; laravel_session=*** \n \n" },
                { "HTTP/1.1 200 OK\r\nSet-Cookie: connect.sid=abc; Path=/\r\nX-Auth: a b\r\n\r\nhello", "HTTP/1.1 200 OK \nSet-Cookie: connect.sid=***; Path=/ \nX-Auth: *** \n \nhello" },
                { "authorization: Negotiate YIIabc==\r\n", "authorization: Negotiate *** \n" },
                { "Authorization: NTLM TlRM\nProxy-Authorization: ApiKey x", "Authorization: NTLM ***\nProxy-Authorization: ApiKey ***" },
                { "Authorization:  Digest username=\"a\", uri=\"/\", response=\"abc\"\r\n", "Authorization:  Digest *** \n" },
                { "> Cookie: a=b\n", "> Cookie: a=***\n" },
                { "GET / HTTP/1.0\nCookie: a=b;\n c=d\n\n", "GET / HTTP/1.0\nCookie: a=***;\n c=***\n\n" },
                { "curl -H 'Authorization: Negotiate YIIabc=='", "curl -H 'Authorization: ***'" },
                { "POST /l HTTP/1.1\r\n" FORM "\r\nu=a&password=a,b;c d\"e&x=1", "POST /l HTTP/1.1 \nContent-Type: application/x-www-form-urlencoded \n \nu=a&password=***&x=1" },
                { FORM "\r\npin=a,b", "Content-Type: application/x-www-form-urlencoded \n \npin=***" },
                { "POST /l HTTP/1.1\r\n" FORM "Content-Length: 9\r\n\r\npin=1,2,3GET /?pin=4,5 HTTP/1.1\r\nCookie: s=1\r\n\r\n",
                  "POST /l HTTP/1.1 \nContent-Type: application/x-www-form-urlencoded \nContent-Length: 9 \n \npin=***GET /?pin=*** HTTP/1.1 \nCookie: s=*** \n \n" },
                { "POST /l HTTP/1.1\r\n" FORM "\r\npin=1,2\r\nGET / HTTP/1.1\r\nCookie: s=1\r\n\r\n", "POST /l HTTP/1.1 \nContent-Type: application/x-www-form-urlencoded \n \npin=***GET / HTTP/1.1 \nCookie: s=*** \n \n" },
                { "POST /l HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=B\r\n\r\n" PARTS, "POST /l HTTP/1.1 \nContent-Type: multipart/form-data; boundary=B \n \n" GONE },
                { PARTS, GONE },
                { "Content-Type: text/plain\n-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIabc\n-----END", "Content-Type: text/plain\n***-----END" },
                { "POST / HTTP/1.1\n-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIabc\n-----END", "POST / HTTP/1.1\n***-----END" },
                { "{\"password\":\n\"a\nb: c\"}\nid\n", "{\"password\":\n\"***\"}\nid\n" },
                { "", "" },
                { "\r\n: x\r\n HTTP/1.1\r\nHTTP/\n\r", " \n: x \n HTTP/1.1 \nHTTP/\n?" },
        };

        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *v = of_stream(cases[i][0], FALSE);

                g_assert_cmpstr(v, ==, cases[i][1]);
        }
}

#define LINE "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"
/* The rest of a key has no BEGIN. */
static void keys_without_a_beginning_go(void) {
        static const struct {
                const char *bytes;
                gboolean cut;
                const char *text;
        } cases[] = {
                { "wggSj\n" LINE "\n" LINE "\nabc=\n-----END PRIVATE KEY-----\nid\n", TRUE, "***\n-----END PRIVATE KEY-----\nid\n" },
                { "wggSj\r\nabc=\r\n-----END PRIVATE KEY-----\r\n", FALSE, "***\n-----END PRIVATE KEY----- \n" },
                { LINE "\n" LINE, TRUE, "***" },
                { LINE "\n$ id\n", TRUE, "***\n$ id\n" },
                { LINE "\n$ id\n", FALSE, LINE "\n$ id\n" }, /* what is told from its first byte has its BEGIN */
                { "root\nwww\n", TRUE, "root\nwww\n" },
                { "$ id\n" LINE "\n", TRUE, "$ id\n" LINE "\n" },
        };

        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *v = of_stream(cases[i].bytes, cases[i].cut);

                g_assert_cmpstr(v, ==, cases[i].text);
        }
}

/* Whatever the bytes are: printable, and within bounds. */
static void any_bytes_of_a_stream_are_borne(void) {
        static const char *const parts[] = { "GET /?a=", " HTTP/1.1", "\r\n", "\n", "\r\n\r\n", "Cookie:", "Set-Cookie: ", "Authorization: ", "Content-Length: ", "99999999999999999999", "5", "Content-Type: multipart/form-data; b=B",
                                             FORM, "name=\"pin\"", "--B", " ", "\t", ":", "=", "&", ";", "\"", "-----BEGIN PRIVATE KEY", "-----END", LINE, "x", "\x80", "form-data" };
        g_autoptr(GRand) rand = g_rand_new_with_seed(7);

        for (guint i = 0; i < 20000; i++) {
                g_autoptr(GString) s = g_string_new(NULL);

                for (gint n = g_rand_int_range(rand, 0, 30); n > 0; n--)
                        g_string_append(s, parts[g_rand_int_range(rand, 0, G_N_ELEMENTS(parts))]);
                if (g_rand_boolean(rand))
                        g_string_append_c(s, 0);
                g_autofree char *exact = g_memdup2(s->str, s->len), *v = bh_redact_bytes((const guint8 *) exact, s->len, g_rand_boolean(rand));
                for (const char *p = v; *p; p++)
                        g_assert_true(*p == '\n' || *p == '\t' || (*p >= 0x20 && *p <= 0x7e));
        }
}

static void fields_lose_their_secrets(void) {
        static const char *const cases[][3] = {
                { "Cookie", "sid=abc; theme=dark; bare", "sid=***; theme=***;***" },
                { "Set-Cookie", "sid=abc; Path=/; HttpOnly", "sid=***; Path=/; HttpOnly" },
                { "authorization", "Basic dXNlcjpwYXNz", "Basic ***" },
                { "Proxy-Authorization", "opaque", "***" },
                { "X-Api-Key", "123", "***" },
                { "Referer", "https://a/b?token=1&x=2", "https://a/b?token=***&x=2" },
                { "Referer", "https://a/b?next=%2Flogin%3Fpassword%3dhunter2&x=%3A", "https://a/b?next=/login?password=***&x=%3A" },
                { "X-Forwarded", "Bearer abcdefghijkl", "Bearer ***" },
                { "Accept", "text/html", "text/html" },
        };

        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *v = bh_redact_field(cases[i][0], cases[i][1]);

                g_assert_cmpstr(v, ==, cases[i][2]);
        }
}

static void texts_lose_their_secrets(void) {
        static const char *const cases[][2] = {
                { "{\"user\":\"a\",\"password\": \"p\\\"q\",\"n\":1}", "{\"user\":\"a\",\"password\": \"***\",\"n\":1}" },
                { "{\"token\":{\"a\":[1,2,\"}\"]},\"b\":2}", "{\"token\":***,\"b\":2}" },
                { "{\"pin\":1234}", "{\"pin\":***}" },
                { "{\"password\":\"cut in the mid", "{\"password\":\"***" },
                { "<user>x</user><password>hunter2</password>", "<user>x</user><password>***</password>" },
                { "login user=bob password=hunter2 ok", "login user=bob password=*** ok" },
                { "secret: 'a b' c", "secret: '***' c" },
                { "card 4111 1111 1111 1111.", "card **** **** **** 1111." },
                { "n=4111%201111-11111111", "n=****%20****-****1111" },
                { "4111111111111112", "4111111111111112" },
                { "0000000000000000", "0000000000000000" },
                { "x eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc y", "x *** y" },
                { "postgres://app:hunter2@db/shop", "postgres://app:***@db/shop" },
                { "AKIAABCDEFGHIJKLMNOP", "***" },
                { "{\"query\":\"mutation{login(password:\\\"hunter2\\\", user: 1)}\"}", "{\"query\":\"mutation{login(password:\\\"***\\\", user: 1)}\"}" },
                { "{\"body\":\"{\\\"password\\\": \\\"hun\\\\\\\"ter2\\\",\\\"n\\\":1}\"}", "{\"body\":\"{\\\"password\\\": \\\"***\\\",\\\"n\\\":1}\"}" },
                { "{\"a\":\"{\\\"b\\\":\\\"{\\\\\\\"pin\\\\\\\":\\\\\\\"1234\\\\\\\"}\\\"}\",\"c\":1}", "{\"a\":\"{\\\"b\\\":\\\"{\\\\\\\"pin\\\\\\\":\\\\\\\"***\\\\\\\"}\\\"}\",\"c\":1}" },
                { "{\"body\":\"password=\\\"cut\",\"n\":1}", "{\"body\":\"password=\\\"***\",\"n\":1}" },
                { "{\"a\":\"{\\u0022pin\\u0022:\\u00221234\\u0022}\"}", "{\"a\":\"{\\u0022pin\\u0022:***}\"}" },
                { "<wsse:Password Type=\"http://a/b>c#PasswordText\">hunter2</wsse:Password><a>b</a>", "<wsse:Password Type=\"http://a/b>c#PasswordText\">***</wsse:Password><a>b</a>" },
                { "<password><![CDATA[hun</ter2]]></password><a>b</a>", "<password>***</password><a>b</a>" },
                { "<password token='x'>a<!-- -->b</password>", "<password token='***'>***</password>" },
                { "<auth:Password>hunter2</auth:Password>", "<auth:***>***</auth:***>" },
                { "<password/><user id='1'>bob</user><pin></pin>", "<password/><user id='1'>bob</user><pin></pin>" },
                { "a < password > b", "a < password > b" },
                { "id=1' or '1'='1", "id=1' or '1'='1" },
                { "../../etc/passwd", "../../etc/passwd" },
                { "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----", "***-----END RSA PRIVATE KEY-----" },
        };

        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *v = bh_redact_text(cases[i][0], strlen(cases[i][0]));

                g_assert_cmpstr(v, ==, cases[i][1]);
        }
}

static BhHttpMessage *message(const char *type, const char *body) {
        BhHttpMessage *m = bh_http_message_new();

        g_free(m->target);
        m->target = g_strdup("/login?next=/&access_token=abc");
        bh_http_add_field(m, "Content-Type", 12, type, strlen(type));
        bh_http_add_field(m, "Cookie", 6, "a=b", 3);
        g_byte_array_append(m->body, (const guint8 *) body, (guint) strlen(body));
        return m;
}

static void messages_lose_their_secrets(void) {
        static const char *const cases[][3] = {
                { "application/x-www-form-urlencoded", "user=a&pass%77ord=b%20c&x=1", "user=a&pass%77ord=***&x=1" },
                { "application/json", "{\"credentials\":{\"u\":1},\"v\":2}", "{\"credentials\":***,\"v\":2}" },
                { "multipart/form-data; boundary=B", "--B\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nhunter2\r\n--B\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\ny\r\n--B--",
                  "--B\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n***\r\n--B\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\ny\r\n--B--" },
                { "application/x-www-form-urlencoded", "{\"password\":\"hunter2\",\"next\":\"/a?b=c\"}", "{\"password\":\"***\",\"next\":\"/a?b=***" },
                { "multipart/form-data; boundary=B", "--B\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nusername=bob&password=x\r\n name=bob&password=y\r\n--B--",
                  "--B\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nusername=bob&password=***\r\n name=bob&password=***\r\n--B--" },
                { "multipart/form-data; boundary=B", "--B\r\nContent-Disposition: form-data; filename=\"a\"; name=\"pin\"\r\n\r\n1234\r\n--B--",
                  "--B\r\nContent-Disposition: form-data; filename=\"a\"; name=\"pin\"\r\n\r\n***\r\n--B--" },
                { "application/x-www-form-urlencoded", "a=1&data=%7B%22password%22%3A+%22hunter2%22%2C%22n%22%3A1%7D&b=%22", "a=1&data={\"password\": \"***\",\"n\":1}&b=%22" },
                { "application/x-www-form-urlencoded", "next=%2Flogin%3Fpassword%3Dhunter2%26x%00&b=1", "next=/login?password=***&b=1" },
                { "application/x-www-form-urlencoded", "%7B%22password%22%3A%22hunter2%22%2C%22next%22%3A%22/a?b=c%22%7D", "{\"password\":\"***\",\"next\":\"/a?b=***" },
                { "application/x-www-form-urlencoded", "q=%22a%22%3Db%26c&d=Bearer%20abc%22defgh", "q=%22a%22%3Db%26c&d=Bearer%20***" },
                { "multipart/form-data; boundary=B", "--B\r\nContent-Disposition: form-data;\r\nname=\"pin\"\r\n\r\n1234\r\n--B--", "--B\r\nContent-Disposition: form-data;\r\nname=\"pin\"\r\n\r\n***\r\n--B--" },
                { "text/plain", "the token=abc", "the token=***" },
        };

        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(BhHttpMessage) m = message(cases[i][0], cases[i][1]);

                bh_redact_message(m);
                g_byte_array_append(m->body, (const guint8 *) "", 1);
                g_assert_cmpstr((const char *) m->body->data, ==, cases[i][2]);
                g_assert_cmpstr(m->target, ==, "/login?next=/&access_token=***");
                g_assert_cmpstr(bh_http_field(m, "Cookie"), ==, "a=***");
        }
}

/* A zero ends nothing. */
static void zeros_hide_nothing(void) {
        static const char before[] = "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\0\r\n--B\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nhun\0ter2\r\n--B--";
        static const char after[] = "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\0\r\n--B\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n***\r\n--B--";
        g_autoptr(BhHttpMessage) m = message("multipart/form-data; boundary=B", "");

        g_byte_array_append(m->body, (const guint8 *) before, sizeof(before) - 1);
        bh_redact_message(m);
        g_assert_cmpmem(m->body->data, m->body->len, after, sizeof(after) - 1);
}

/* Whatever is around it: a canary under a secret's name never comes out. */
static void canary_never_comes_out(void) {
        static const char *const around[] = { "password=%s", "password=%s&a=b", "{\"password\":\"%s\"}", "{\"a\":{\"password\":[\"%s\"]}}", "<password>%s</password>", "x; password: %s; y", "Authorization=Bearer %sabcdefgh",
                                              "password='%s'", "a=1&client_secret=%s", "{ \"api_key\" :\n \"%s\" }",
                                              "{\"password\":\"%s\",\"next\":\"/a?b=c\"}", "{\"query\":\"mutation{login(password:\\\"%s\\\")}\"}",
                                              "{\"body\":\"{\\\"password\\\":\\\"%s\\\"}\"}", "<wsse:Password Type=\"a#PasswordText\">%s</wsse:Password>", "<password><![CDATA[%s]]></password>" };
        static const char *const types[] = { "application/x-www-form-urlencoded", "application/json", "text/plain", "multipart/form-data; boundary=x", "application/octet-stream", "" };

        for (gsize i = 0; i < G_N_ELEMENTS(around); i++)
                for (gsize t = 0; t < G_N_ELEMENTS(types); t++) {
                        g_autofree char *head = g_strndup(around[i], (gsize) (strstr(around[i], "%s") - around[i]));
                        g_autofree char *body = g_strconcat(head, "CANARY", strstr(around[i], "%s") + 2, NULL);
                        g_autoptr(BhHttpMessage) m = message(types[t], body);

                        bh_redact_message(m);
                        if (g_strstr_len((const char *) m->body->data, m->body->len, "CANARY"))
                                g_error("as %s: %.*s", types[t], (int) m->body->len, (const char *) m->body->data);
                }
}

/* 64 KiB of what costs most: time in proportion, so a second is far more than enough. */
static void time_is_in_proportion(void) {
        static const char *const units[] = { "-eyJ", "a%22=", "<pin a='", "password=\\\"", "name=", "-----BEGIN ", "password=[", "://a:", "4111 1111 ", "Bearer ", "{\"token\":{", "<password>",
                                             "Cookie: a=\r\n", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\n\n", "HTTP/1.1\nContent-Length: 1\n\n", " \n", "\r", "Set-Cookie:\n ", "a:", FORM "\r\n", "form-data\nCookie: name=\n" };

        for (gsize i = 0; i < G_N_ELEMENTS(units); i++) {
                g_autoptr(GString) s = g_string_new(NULL);

                while (s->len < 64 << 10)
                        g_string_append(s, units[i]);
                g_autoptr(BhHttpMessage) m = message("multipart/form-data", s->str);
                gint64 begin = g_get_monotonic_time();
                bh_redact_message(m);
                gint64 took = g_get_monotonic_time() - begin;
                g_test_message("%s: %" G_GINT64_FORMAT " us", units[i], took);
                g_assert_cmpint(took, <, 5 * G_USEC_PER_SEC);
                begin = g_get_monotonic_time();
                g_autofree char *text = of_stream(s->str, TRUE);
                took = g_get_monotonic_time() - begin;
                g_test_message("%s as a stream: %" G_GINT64_FORMAT " us", units[i], took);
                g_assert_cmpint(took, <, 5 * G_USEC_PER_SEC);
        }
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/redact/names-of-secrets-are-known", names_of_secrets_are_known);
        g_test_add_func("/redact/any-bytes-become-lines", any_bytes_become_lines_without_secrets);
        g_test_add_func("/redact/messages-in-streams-lose-their-secrets", messages_in_streams_lose_their_secrets);
        g_test_add_func("/redact/keys-without-a-beginning-go", keys_without_a_beginning_go);
        g_test_add_func("/redact/any-bytes-of-a-stream-are-borne", any_bytes_of_a_stream_are_borne);
        g_test_add_func("/redact/fields-lose-their-secrets", fields_lose_their_secrets);
        g_test_add_func("/redact/texts-lose-their-secrets", texts_lose_their_secrets);
        g_test_add_func("/redact/messages-lose-their-secrets", messages_lose_their_secrets);
        g_test_add_func("/redact/zeros-hide-nothing", zeros_hide_nothing);
        g_test_add_func("/redact/canary-never-comes-out", canary_never_comes_out);
        g_test_add_func("/redact/time-is-in-proportion", time_is_in_proportion);
        return g_test_run();
}

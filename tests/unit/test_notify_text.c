/* SPDX-License-Identifier: Apache-2.0 */
/* What outputs write, and what configures them. */
#include "notify_alerts.h"

/* ---- formats ---- */

static void assert_line(const char *s, gsize len) {
        g_assert_cmpuint(strlen(s), ==, len);
        g_assert_true(g_utf8_validate(s, -1, NULL));
        for (const char *p = s; *p; p = g_utf8_next_char(p)) {
                gunichar c = g_utf8_get_char(p);

                g_assert_cmpuint(c, >=, 0x20);
                g_assert_false(c >= 0x7f && c < 0xa0);
                g_assert_false(c >= 0x202a && c <= 0x202e);
        }
}

static void text_is_falcos_line(void) {
        g_autoptr(BhAlert) a = alert("f", 1, 0), many = alert("f", 12, 1);
        g_autoptr(GString) one = bh_format(a, BH_FORMAT_TEXT, 0, NULL), more = bh_format(many, BH_FORMAT_TEXT, 0, NULL);

        g_assert_cmpstr(one->str, ==, "2026-11-26T19:13:07.123456789Z: Critical A shell a\\x09b\\x0ac\\x0d\\x7f\\u{009b}\\u{202e}\"\\\xc3\xa9");
        g_assert_true(g_str_has_prefix(more->str, one->str));
        g_assert_true(g_str_has_suffix(more->str, " [12 equal ones until 2026-11-26T19:14:07.000000000Z]"));
        assert_line(one->str, one->len);
}

/* The members of Falco's alert, no more, no less, in this order. */
static void assert_falco(const char *text) {
        static const char *const members[] = { "time", "rule", "priority", "source", "hostname", "output", "tags", "output_fields" };
        json_auto_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        const char *name;
        guint i = 0;
        json_t *v;

        g_assert_nonnull(o);
        json_object_foreach(o, name, v) {
                g_assert_cmpuint(i, <, G_N_ELEMENTS(members));
                g_assert_cmpstr(name, ==, members[i++]);
        }
        g_assert_cmpuint(i, ==, G_N_ELEMENTS(members));
        for (i = 0; i < 6; i++)
                g_assert_true(json_is_string(json_object_get(o, members[i])));
        g_assert_true(json_is_array(json_object_get(o, "tags")));
        g_assert_true(json_is_object(json_object_get(o, "output_fields")));
}

static void json_is_falcos_alert(void) {
        g_autoptr(BhAlert) a = alert("n/1 x", 12, 1);
        g_autoptr(GString) text = bh_format(a, BH_FORMAT_FALCO, 0, NULL);
        json_auto_t *o = json_loads(text->str, 0, NULL);
        json_t *fields = json_object_get(o, "output_fields");

        assert_falco(text->str);
        assert_line(text->str, text->len);
        for (gsize i = 0; i < text->len; i++)
                g_assert_cmpuint((guint8) text->str[i], <, 0x80);
        g_assert_cmpstr(json_string_value(json_object_get(o, "time")), ==, "2026-11-26T19:13:07.123456789Z");
        g_assert_cmpstr(json_string_value(json_object_get(o, "priority")), ==, "Critical");
        g_assert_true(g_str_has_prefix(json_string_value(json_object_get(o, "output")), "2026-11-26T19:13:07.123456789Z: Critical A shell "));
        g_assert_true(json_is_null(json_object_get(fields, "fd.name")));
        g_assert_cmpint(json_integer_value(json_object_get(fields, "proc.pid")), ==, 42);
        g_assert_true(json_is_true(json_object_get(fields, "proc.is_exe")));
        g_assert_cmpstr(json_string_value(json_object_get(fields, "bulkhead.id")), ==, "n/1 x/12");
        g_assert_cmpint(json_integer_value(json_object_get(fields, "bulkhead.count")), ==, 12);
        g_assert_null(json_object_get(o, "description"));
}

static void bulkheads_json_has_everything(void) {
        g_autoptr(BhAlert) a = alert("f", 12, 3);
        g_autoptr(GString) text = bh_format(a, BH_FORMAT_BULKHEAD, 0, NULL);
        json_auto_t *o = json_loads(text->str, 0, NULL), *whole = finding("f", 12);
        json_t *delivery = json_object_get(o, "delivery"), *v;
        const char *name;

        g_assert_cmpstr(json_string_value(json_object_get(o, "schema")), ==, "bulkhead.finding.v1");
        g_assert_cmpstr(json_string_value(json_object_get(delivery, "id")), ==, "f/12");
        g_assert_true(json_is_false(json_object_get(delivery, "first")));
        g_assert_cmpint(json_integer_value(json_object_get(delivery, "more")), ==, 9);
        json_object_foreach(whole, name, v)
                g_assert_true(json_equal(v, json_object_get(o, name)));
        g_autoptr(BhAlert) first = alert("f", 1, 0);
        g_autoptr(GString) first_text = bh_format(first, BH_FORMAT_BULKHEAD, 0, NULL);
        g_assert_nonnull(strstr(first_text->str, "\"first\":true"));
}

static void too_long_is_cut_and_stays_whole(void) {
        json_t *o = finding("f", 1);
        g_autofree char *x = g_strnfill(30000, 'x'), *e = g_strdup("");
        for (guint i = 0; i < 12; i++) {
                char *twice = g_strconcat(e, e, *e ? "" : "\xc3\xa9\xe2\x82\xac", NULL);
                g_free(e);
                e = twice;
        }
        json_object_set_new(o, "output", json_string(e));
        json_object_set_new(json_object_get(o, "output_fields"), "proc.cmdline", json_string(x));
        g_autoptr(BhAlert) a = bh_alert_new(o, 0, NULL);

        for (gsize max = 1024; max < 10000; max += 377) {
                for (guint f = 0; f < BH_FORMATS; f++) {
                        gboolean cut = FALSE;
                        g_autoptr(GString) text = bh_format(a, (BhFormat) f, max, &cut);

                        g_assert_cmpuint(text->len, <=, max);
                        assert_line(text->str, text->len);
                        g_assert_true(cut);
                        if (f == BH_FORMAT_FALCO)
                                assert_falco(text->str);
                        if (f == BH_FORMAT_BULKHEAD) {
                                json_auto_t *shorter = json_loads(text->str, JSON_REJECT_DUPLICATES, NULL);

                                g_assert_true(json_is_object(shorter));
                        }
                }
        }
        /* names beyond all measure */
        json_object_set_new(o, "rule", json_string(x));
        json_object_set_new(o, "hostname", json_string(x));
        g_autoptr(BhAlert) names = bh_alert_new(json_deep_copy(o), 0, NULL);
        gboolean cut = FALSE;
        g_autoptr(GString) text = bh_format(names, BH_FORMAT_FALCO, 1024, &cut);
        g_assert_cmpuint(text->len, <=, 1024);
        assert_falco(text->str);
}

static void foreign_findings_are_refused(void) {
        static const char *const bad[] = { "", "[]", "1", "{}", "{\"id\":\"\"}", "{\"id\":1}", "{\"id\":\"x\",\"tags\":{}}", "{\"id\":\"x\",\"output_fields\":[]}", "{\"id\":\"x\"" };
        g_autofree char *deep = g_strnfill(100000, '[');

        for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_autoptr(GError) error = NULL;

                g_assert_null(bh_alert_parse(bad[i], strlen(bad[i]), 0, &error));
                g_assert_error(error, BH_NOTIFY_ERROR, BH_NOTIFY_ERROR_INVALID);
        }
        g_assert_null(bh_alert_parse(deep, strlen(deep), 0, NULL));
        g_autoptr(BhAlert) least = bh_alert_parse("{\"id\":\"x\"}", 10, 0, NULL);
        for (guint f = 0; f < BH_FORMATS; f++) {
                g_autoptr(GString) text = bh_format(least, (BhFormat) f, 0, NULL);

                g_assert_cmpuint(text->len, >, 0);
        }
}

/* ---- syslog: read by a parser of the grammar in RFC 5424, section 6, written for this test ---- */

typedef struct {
        guint pri;
        char *time, *host, *app, *proc, *id, *data, *msg;
} Parsed;

static char *take_printable(const char **p, guint max) {
        const char *begin = *p;

        while (**p && **p != ' ') {
                g_assert_cmpuint((guint8) **p, >=, 33);
                g_assert_cmpuint((guint8) **p, <=, 126);
                (*p)++;
        }
        g_assert_cmpuint(*p - begin, >=, 1);
        g_assert_cmpuint(*p - begin, <=, max);
        g_assert_cmpuint(**p, ==, ' ');
        return g_strndup(begin, (gsize) ((*p)++ - begin));
}

static guint digits(const char **p, guint least, guint most, guint lowest, guint highest) {
        guint n = 0, value = 0;

        for (; n < most && g_ascii_isdigit(**p); n++)
                value = value * 10 + (guint) (*(*p)++ - '0');
        g_assert_cmpuint(n, >=, least);
        g_assert_cmpuint(value, >=, lowest);
        g_assert_cmpuint(value, <=, highest);
        return value;
}

static void expect(const char **p, char c) {
        g_assert_cmpint(*(*p)++, ==, c);
}

static void check_time(const char *t) {
        if (g_str_equal(t, "-"))
                return;
        digits(&t, 4, 4, 0, 9999);
        expect(&t, '-');
        digits(&t, 2, 2, 1, 12);
        expect(&t, '-');
        digits(&t, 2, 2, 1, 31);
        expect(&t, 'T');
        digits(&t, 2, 2, 0, 23);
        expect(&t, ':');
        digits(&t, 2, 2, 0, 59);
        expect(&t, ':');
        digits(&t, 2, 2, 0, 59);
        if (*t == '.') {
                t++;
                digits(&t, 1, 6, 0, 999999);
        }
        expect(&t, 'Z');
        expect(&t, '\0');
}

static void parse_syslog(const char *text, Parsed *out) {
        const char *p = text;

        expect(&p, '<');
        out->pri = digits(&p, 1, 3, 0, 191);
        expect(&p, '>');
        digits(&p, 1, 3, 1, 1);
        expect(&p, ' ');
        out->time = take_printable(&p, 32);
        check_time(out->time);
        out->host = take_printable(&p, 255);
        out->app = take_printable(&p, 48);
        out->proc = take_printable(&p, 128);
        out->id = take_printable(&p, 32);
        out->data = take_printable(&p, 1);
        out->msg = g_strdup(p);
}

static void parsed_clear(Parsed *p) {
        char *texts[] = { p->time, p->host, p->app, p->proc, p->id, p->data, p->msg };

        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                g_free(texts[i]);
}

static void syslog_follows_the_grammar(void) {
        g_autoptr(BhOutput) text = output("s", "{\"type\":\"syslog\",\"transport\":\"udp\",\"host\":\"h\",\"facility\":\"local3\"}");
        g_autoptr(BhOutput) json = output("s", "{\"type\":\"syslog\",\"transport\":\"tcp\",\"host\":\"h\",\"format\":\"falco\"}");
        g_autoptr(BhAlert) a = alert("f", 1, 0);
        Parsed p;

        g_autoptr(GString) m = bh_syslog_message(text, a, 17, 8192, NULL);
        assert_line(strstr(m->str, "\xef\xbb\xbf") + 3, strlen(strstr(m->str, "\xef\xbb\xbf") + 3));
        parse_syslog(m->str, &p);
        g_assert_cmpuint(p.pri, ==, 19 * 8 + 2); /* local3, critical */
        g_assert_cmpstr(p.time, ==, "2026-11-26T19:13:07.123456Z");
        g_assert_cmpstr(p.host, ==, "node_one");
        g_assert_cmpstr(p.app, ==, "bulkhead");
        g_assert_cmpstr(p.proc, ==, "17");
        g_assert_cmpstr(p.data, ==, "-");
        g_assert_true(g_str_has_prefix(p.msg, "\xef\xbb\xbf" "2026-11-26T19:13:07.123456789Z: Critical A shell"));
        parsed_clear(&p);

        g_autoptr(GString) j = bh_syslog_message(json, a, 17, 8192, NULL);
        parse_syslog(j->str, &p);
        assert_falco(p.msg);
        parsed_clear(&p);
}

static void hostile_names_break_no_syslog(void) {
        static const char *const texts[] = { "", " ", "a b]\"\n<1>", "\xe2\x82\xac\xe2\x82\xac", "2026-11-26T19:13:07.12345678xZ", "2026-11-26T19:13:07.123456789Z" };
        g_autoptr(BhOutput) text = output("s", "{\"type\":\"syslog\",\"transport\":\"udp\",\"host\":\"h\"}");
        g_autofree char *lots = g_strnfill(9000, 'h');

        for (guint i = 0; i <= G_N_ELEMENTS(texts); i++) {
                const char *t = i < G_N_ELEMENTS(texts) ? texts[i] : lots;
                json_t *o = finding("f", 1);
                Parsed p;

                json_object_set_new(o, "hostname", json_string(t));
                json_object_set_new(o, "time", json_string(t));
                json_object_set_new(o, "priority", json_string(t));
                json_object_set_new(o, "output", json_string(t));
                g_autoptr(BhAlert) a = bh_alert_new(o, 0, NULL);
                g_autoptr(GString) m = bh_syslog_message(text, a, 1, 2048, NULL), local = bh_syslog_local(text, a, 1, 2048, NULL);
                g_assert_cmpuint(m->len, <=, 2048);
                g_assert_cmpuint(local->len, <=, 2048);
                g_assert_null(strchr(m->str, '\n'));
                g_assert_null(strchr(local->str, '\n'));
                parse_syslog(m->str, &p);
                parsed_clear(&p);
        }
}

/* ---- configuration ---- */

static void wrong_configurations_say_what_is_wrong(void) {
        static const struct {
                const char *json, *says;
        } wrong[] = {
                { "", "not JSON" },
                { "[]", "a JSON object" },
                { "{}", "\"type\"" },
                { "{\"type\":\"mail\"}", "one of stdout, file, syslog, webhook" },
                { "{\"type\":\"stdout\",\"file\":\"x\"}", "has no \"file\"" },
                { "{\"type\":\"stdout\",\"enabled\":1}", "\"enabled\"" },
                { "{\"type\":\"stdout\",\"format\":\"xml\"}", "one of text, falco, bulkhead" },
                { "{\"type\":\"stdout\",\"minimum_priority\":\"high\"}", "not \"high\"" },
                { "{\"type\":\"stdout\",\"rules\":\"x\"}", "\"rules\" must be a list" },
                { "{\"type\":\"stdout\",\"rules\":[1]}", "\"rules\" must be a list" },
                { "{\"type\":\"stdout\",\"type\":\"file\"}", "not JSON" },
                { "{\"type\":\"file\"}", "\"file\" must be a name" },
                { "{\"type\":\"file\",\"file\":\"../x\"}", "\"file\" must be a name" },
                { "{\"type\":\"file\",\"file\":\".x\"}", "\"file\" must be a name" },
                { "{\"type\":\"file\",\"file\":\"a/b\"}", "\"file\" must be a name" },
                { "{\"type\":\"syslog\"}", "\"transport\"" },
                { "{\"type\":\"syslog\",\"transport\":\"udp\"}", "\"host\"" },
                { "{\"type\":\"syslog\",\"transport\":\"udp\",\"host\":\"a b\"}", "\"host\"" },
                { "{\"type\":\"syslog\",\"transport\":\"udp\",\"host\":\"a\",\"port\":0}", "\"port\"" },
                { "{\"type\":\"syslog\",\"transport\":\"udp\",\"host\":\"a\",\"ca\":\"-----BEGIN CERTIFICATE-----\"}", "for TLS" },
                { "{\"type\":\"syslog\",\"transport\":\"tls\",\"host\":\"a\",\"ca\":\"x\"}", "PEM" },
                { "{\"type\":\"syslog\",\"transport\":\"tls\",\"host\":\"a\",\"key\":\"-----BEGIN PRIVATE KEY-----\"}", "go together" },
                { "{\"type\":\"syslog\",\"transport\":\"local\",\"host\":\"a\"}", "/dev/log" },
                { "{\"type\":\"webhook\"}", "\"url\"" },
                { "{\"type\":\"webhook\",\"url\":\"ftp://x/\"}", "\"url\"" },
                { "{\"type\":\"webhook\",\"url\":\"file:///etc/passwd\"}", "\"url\"" },
                { "{\"type\":\"webhook\",\"url\":\"https:///x\"}", "\"url\"" },
                { "{\"type\":\"webhook\",\"url\":\"https://u:p@h/\"}", "Authorization" },
                { "{\"type\":\"webhook\",\"url\":\"https://h/#x\"}", "fragment" },
                { "{\"type\":\"webhook\",\"url\":\"https://h\",\"url_secret\":\".evil\"}", "must have a path" },
                { "{\"type\":\"webhook\",\"url\":\"https://h/\",\"url_secret\":\"a\\nb\"}", "\"url_secret\"" },
                { "{\"type\":\"webhook\",\"url\":\"https://h/\",\"headers\":{\"A\":\"b\\r\\nC: d\"}}", "control characters" },
                { "{\"type\":\"webhook\",\"url\":\"https://h/\",\"headers\":{\"A b\":\"c\"}}", "cannot be called" },
                { "{\"type\":\"webhook\",\"url\":\"https://h/\",\"headers\":{\"Bulkhead-Delivery-ID\":\"c\"}}", "cannot be called" },
                { "{\"type\":\"webhook\",\"url\":\"https://h/\",\"headers\":{\"A\":true}}", "must be given" },
                { "{\"type\":\"webhook\",\"url\":\"https://h/\",\"timeout\":61}", "\"timeout\"" },
                { "{\"type\":\"webhook\",\"url\":\"http://h/\",\"ca\":\"-----BEGIN CERTIFICATE-----\"}", "for TLS" },
        };

        for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
                g_autoptr(GError) error = NULL;
                BhOutput *o = bh_output_parse("x", "x", wrong[i].json, strlen(wrong[i].json), NULL, &error);

                if (o)
                        g_error("accepted: %s", wrong[i].json);
                g_assert_error(error, BH_NOTIFY_ERROR, BH_NOTIFY_ERROR_INVALID);
                if (!strstr(error->message, wrong[i].says))
                        g_error("%s: expected \"%s\" in \"%s\"", wrong[i].json, wrong[i].says, error->message);
        }
        static const char *const names[] = { "", "A", "-a", "a b", "a/b", "\xc3\xa9" };
        for (guint i = 0; i < G_N_ELEMENTS(names); i++)
                g_assert_false(bh_output_check_name(names[i], NULL));
}

#define HOOK "{\"type\":\"webhook\",\"url\":\"https://h/x\",\"url_secret\":\"?t=URLSECRET\",\"headers\":{\"Authorization\":\"HEADSECRET\",\"X\":\"\"}," \
             "\"certificate\":\"-----BEGIN CERTIFICATE-----\",\"key\":\"-----BEGIN PRIVATE KEY-----KEYSECRET\"}"

static void secrets_are_written_and_not_read(void) {
        g_autoptr(BhOutput) o = output("w", HOOK);
        g_autofree char *shown = bh_output_dump(o, FALSE), *whole = bh_output_dump(o, TRUE), *target = bh_output_target(o);
        g_autoptr(BhOutput) again = output("w", whole);

        g_assert_null(strstr(shown, "SECRET"));
        g_assert_null(strstr(target, "SECRET"));
        g_assert_cmpstr(again->url_secret, ==, "?t=URLSECRET");
        g_assert_cmpstr(g_hash_table_lookup(again->headers, "Authorization"), ==, "HEADSECRET");
        g_assert_cmpstr(g_hash_table_lookup(again->headers, "X"), ==, "");

        /* what was shown can be given back: secrets stay */
        g_autoptr(BhOutput) kept = bh_output_parse("w", "w", shown, strlen(shown), o, NULL);
        g_autofree char *kept_whole = bh_output_dump(kept, TRUE);
        g_assert_cmpstr(kept_whole, ==, whole);
        /* left out: the same */
        static const char without[] = "{\"type\":\"webhook\",\"url\":\"https://H:443/other\"}";
        g_autoptr(BhOutput) left = bh_output_parse("w", "w", without, strlen(without), o, NULL);
        g_assert_cmpstr(left->url_secret, ==, "?t=URLSECRET");
        g_assert_cmpstr(g_hash_table_lookup(left->headers, "Authorization"), ==, "HEADSECRET");
        /* but nowhere else */
        static const char *const elsewhere[] = { "https://evil/x", "http://h/x", "https://h:8443/x" };
        for (guint i = 0; i < G_N_ELEMENTS(elsewhere); i++) {
                g_autofree char *json = g_strdup_printf("{\"type\":\"webhook\",\"url\":\"%s\"}", elsewhere[i]);
                g_autoptr(BhOutput) moved = bh_output_parse("w", "w", json, strlen(json), o, NULL);
                g_autofree char *dump = bh_output_dump(moved, TRUE);

                g_assert_null(strstr(dump, "SECRET"));
                g_autofree char *asked = g_strdup_printf("{\"type\":\"webhook\",\"url\":\"%s\",\"headers\":{\"Authorization\":true}}", elsewhere[i]);
                g_assert_null(bh_output_parse("w", "w", asked, strlen(asked), o, NULL));
        }
}

static void filters_choose(void) {
        g_autoptr(BhAlert) a = alert("f", 1, 0); /* critical, syscall, T1059 and mitre_execution, "Terminal shell in container" */
        static const struct {
                const char *filter;
                gboolean wants;
        } cases[] = {
                { "", TRUE },
                { ",\"minimum_priority\":\"critical\"", TRUE },
                { ",\"minimum_priority\":\"Alert\"", FALSE },
                { ",\"sources\":[\"sys*\"]", TRUE },
                { ",\"sources\":[\"docker\"]", FALSE },
                { ",\"tags\":[\"x\",\"T1*\"]", TRUE },
                { ",\"tags\":[\"T1\"]", FALSE },
                { ",\"rules\":[\"*shell*\"]", TRUE },
                { ",\"rules\":[\"shell\"]", FALSE },
                { ",\"rules\":[\"*shell*\"],\"tags\":[\"T9\"]", FALSE },
        };

        for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *json = g_strdup_printf("{\"type\":\"stdout\"%s}", cases[i].filter);
                g_autoptr(BhOutput) o = output("o", json);

                g_assert_cmpint(bh_output_wants(o, a), ==, cases[i].wants);
        }
        g_autofree char *pattern = g_strnfill(400, '*'), *text = g_strnfill(4000, 'a'), *hard = g_strconcat(pattern, "b", NULL);
        g_assert_false(bh_output_glob(hard, text));
        g_assert_true(bh_output_glob("a?c*", "a\xc3\xa9" "cd"));
        g_assert_true(bh_output_glob("*a*b", "aXbab"));
        g_assert_false(bh_output_glob("?", ""));
        g_assert_true(bh_output_glob("", ""));
}

static void ports_are_known_beforehand(void) {
        static const struct {
                const char *json;
                guint port;
                gboolean name, network;
        } cases[] = {
                { "{\"type\":\"stdout\"}", 0, FALSE, FALSE },
                { "{\"type\":\"syslog\",\"transport\":\"local\"}", 0, FALSE, FALSE },
                { "{\"type\":\"syslog\",\"transport\":\"udp\",\"host\":\"h\"}", 0, TRUE, TRUE },
                { "{\"type\":\"syslog\",\"transport\":\"tcp\",\"host\":\"10.0.0.1\"}", 514, FALSE, TRUE },
                { "{\"type\":\"syslog\",\"transport\":\"tls\",\"host\":\"fd00::1\"}", 6514, FALSE, TRUE },
                { "{\"type\":\"webhook\",\"url\":\"https://h/\"}", 443, TRUE, TRUE },
                { "{\"type\":\"webhook\",\"url\":\"HTTP://[::1]/\"}", 80, FALSE, TRUE },
                { "{\"type\":\"webhook\",\"url\":\"http://h:8080/\"}", 8080, TRUE, TRUE },
        };

        for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(BhOutput) o = output("o", cases[i].json);
                gboolean name;

                g_assert_cmpuint(bh_output_tcp_port(o, &name), ==, cases[i].port);
                g_assert_cmpint(name, ==, cases[i].name);
                g_assert_cmpint(bh_output_needs_network(o), ==, cases[i].network);
        }
}

static void back_off_doubles_within_its_bounds(void) {
        g_assert_cmpuint(bh_notifier_backoff_ms(1000, 1, 0, 0), ==, 500);
        g_assert_cmpuint(bh_notifier_backoff_ms(1000, 1, 0, 1), ==, 1000);
        g_assert_cmpuint(bh_notifier_backoff_ms(1000, 4, 0, 1), ==, 8000);
        g_assert_cmpuint(bh_notifier_backoff_ms(1000, 4, 0, 0.5), ==, 6000);
        g_assert_cmpuint(bh_notifier_backoff_ms(1000, 1000, 0, 1), ==, BH_NOTIFIER_RETRY_MAX_MS);
        g_assert_cmpuint(bh_notifier_backoff_ms(1000, 1, 90, 1), ==, 90000);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/notify/text/text_is_falcos_line", text_is_falcos_line);
        g_test_add_func("/notify/text/json_is_falcos_alert", json_is_falcos_alert);
        g_test_add_func("/notify/text/bulkheads_json_has_everything", bulkheads_json_has_everything);
        g_test_add_func("/notify/text/too_long_is_cut_and_stays_whole", too_long_is_cut_and_stays_whole);
        g_test_add_func("/notify/text/foreign_findings_are_refused", foreign_findings_are_refused);
        g_test_add_func("/notify/text/syslog_follows_the_grammar", syslog_follows_the_grammar);
        g_test_add_func("/notify/text/hostile_names_break_no_syslog", hostile_names_break_no_syslog);
        g_test_add_func("/notify/text/wrong_configurations_say_what_is_wrong", wrong_configurations_say_what_is_wrong);
        g_test_add_func("/notify/text/secrets_are_written_and_not_read", secrets_are_written_and_not_read);
        g_test_add_func("/notify/text/filters_choose", filters_choose);
        g_test_add_func("/notify/text/ports_are_known_beforehand", ports_are_known_beforehand);
        g_test_add_func("/notify/text/back_off_doubles_within_its_bounds", back_off_doubles_within_its_bounds);
        return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the notifier reads: the first byte chooses an output's configuration (what is accepted must survive being written and read, and its secrets
 * must not be in what is shown), a pattern, or a finding, which every format must turn into one line.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "notify/send.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void config(const char *text, size_t size) {
        g_autoptr(GError) error = NULL, again = NULL;
        g_autoptr(BhOutput) o = bh_output_parse("x", "x", text, size, NULL, &error);

        assert(!o == (error != NULL));
        if (!o) {
                assert(error->message[0]);
                return;
        }
        g_autofree char *whole = bh_output_dump(o, TRUE), *shown = bh_output_dump(o, FALSE), *target = bh_output_target(o);
        g_autoptr(BhOutput) copy = bh_output_parse("x", "x", whole, strlen(whole), NULL, &again);
        assert(copy);
        g_autofree char *copied = bh_output_dump(copy, TRUE);
        assert(g_str_equal(whole, copied) && target);
        /* given back as it was shown it is the same */
        g_autoptr(BhOutput) kept = bh_output_parse("x", "x", shown, strlen(shown), o, &again);
        assert(kept);
        g_autofree char *kept_whole = bh_output_dump(kept, TRUE);
        assert(g_str_equal(whole, kept_whole));
        gboolean names;
        bh_output_tcp_port(o, &names);
}

static void check_line(const char *s, size_t len) {
        assert(strlen(s) == len && g_utf8_validate(s, (gssize) len, NULL));
        for (; *s; s++)
                assert((uint8_t) *s >= 0x20 && *s != 0x7f);
}

static void finding(const char *text, size_t size) {
        static const char *const kinds[] = { "{\"type\":\"syslog\",\"transport\":\"udp\",\"host\":\"h\"}", "{\"type\":\"syslog\",\"transport\":\"udp\",\"host\":\"h\",\"format\":\"falco\"}" };
        g_autoptr(BhAlert) a = bh_alert_parse(text, size, size % 7, NULL);

        if (!a)
                return;
        for (guint f = 0; f < BH_FORMATS; f++) {
                g_autoptr(GString) whole = bh_format(a, (BhFormat) f, 0, NULL), cut = bh_format(a, (BhFormat) f, 1024, NULL);

                check_line(whole->str, whole->len);
                check_line(cut->str, cut->len);
                assert(cut->len <= 1024);
                if (f != BH_FORMAT_TEXT) {
                        json_t *o = json_loadb(whole->str, whole->len, JSON_ALLOW_NUL, NULL), *c = json_loadb(cut->str, cut->len, JSON_ALLOW_NUL, NULL);

                        assert(json_is_object(o) && json_is_object(c));
                        json_decref(o);
                        json_decref(c);
                }
        }
        for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
                g_autoptr(BhOutput) o = bh_output_parse("x", "x", kinds[i], strlen(kinds[i]), NULL, NULL);
                g_autoptr(GString) m = bh_syslog_message(o, a, 1, 2048, NULL), l = bh_syslog_local(o, a, 1, 2048, NULL);

                check_line(m->str, m->len);
                check_line(l->str, l->len);
                assert(m->len <= 2048 && l->len <= 2048);
                bh_output_wants(o, a);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (!size)
                return 0;
        g_autofree char *text = g_strndup((const char *) data + 1, size - 1);

        switch (data[0] % 3) {
        case 0:
                config(text, size - 1);
                break;
        case 1:
                finding(text, size - 1);
                break;
        default: {
                char *bar = strchr(text, '|');

                if (!bar || !g_utf8_validate(text, -1, NULL))
                        return 0;
                *bar = '\0';
                bh_output_glob(text, bar + 1);
        }
        }
        return 0;
}

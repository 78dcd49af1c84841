/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

#include "base/escape.h"
#include "base/fdio.h"

static void json_escapes_any_bytes(void) {
        static const struct {
                const char *in;
                gssize len;
                const char *out;
        } cases[] = {
                { "plain", -1, "\"plain\"" },
                { "q\"b\\n\n", -1, "\"q\\\"b\\\\\\\\n\\u000a\"" },
                { "\xff\xfe", -1, "\"\\\\xff\\\\xfe\"" },
                { "\\xff", -1, "\"\\\\\\\\xff\"" },
                { "a\0b", 3, "\"a\\u0000b\"" },
                { "\xc3\xa4\xf0\x9f\x98\x80", -1, "\"\xc3\xa4\xf0\x9f\x98\x80\"" },
                { "\xc3", -1, "\"\\\\xc3\"" },
                { "\xed\xa0\x80", -1, "\"\\\\xed\\\\xa0\\\\x80\"" },
                { "\xc0\xaf", -1, "\"\\\\xc0\\\\xaf\"" },
                { "\xf4\x90\x80\x80", -1, "\"\\\\xf4\\\\x90\\\\x80\\\\x80\"" },
                { NULL, -1, "\"\"" },
        };

        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(GString) s = g_string_new(NULL);

                bh_escape_append_json(s, cases[i].in, cases[i].len);
                g_assert_cmpstr(s->str, ==, cases[i].out);
                g_assert_true(g_utf8_validate(s->str, -1, NULL));
        }
}

static void terminal_text_has_no_controls(void) {
        g_autofree char *cell = bh_escape_cell("\x1b[31mred\x07 \xc2\x9b \xe2\x80\xae ok\n", -1);

        g_assert_cmpstr(cell, ==, "\\x1b[31mred\\x07 \\xc2\\x9b \\xe2\\x80\\xae ok\\n");
}

static void file_read_says_when_it_cut(void) {
        g_autofree char *name = NULL;
        g_auto(BhFd) fd = g_file_open_tmp("bulkhead-XXXXXX", &name, NULL);
        g_autofree char *big = g_malloc0(10000);

        g_assert_true(bh_fd_write_all(fd, big, 10000, name, NULL));

        gsize len;
        gboolean cut;
        g_autofree char *whole = bh_file_read(AT_FDCWD, name, 10000, &len, &cut, NULL);
        g_assert_cmpuint(len, ==, 10000);
        g_assert_false(cut);

        g_autofree char *part = bh_file_read(AT_FDCWD, name, 9999, &len, &cut, NULL);
        g_assert_cmpuint(len, ==, 9999);
        g_assert_true(cut);
        g_unlink(name);

        g_autoptr(GError) error = NULL;
        g_assert_null(bh_file_read(AT_FDCWD, name, 1, &len, &cut, &error));
        g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT);
        g_assert_nonnull(strstr(error->message, name));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/base/json_escapes_any_bytes", json_escapes_any_bytes);
        g_test_add_func("/base/terminal_text_has_no_controls", terminal_text_has_no_controls);
        g_test_add_func("/base/file_read_says_when_it_cut", file_read_says_when_it_cut);
        return g_test_run();
}

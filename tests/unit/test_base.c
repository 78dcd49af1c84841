/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

#include "base/escape.h"
#include "base/fdio.h"
#include "base/turn_lock.h"

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

typedef struct {
        BhTurnLock lock;
        gint stop, readers, together, during_write; /* atomic */
        gboolean writing;
} Turns;

/* Whoever is in stays until another is in, or for a while: with a lock that prefers readers there is always one. */
static gpointer read_on(gpointer data) {
        Turns *t = data;

        while (!g_atomic_int_get(&t->stop)) {
                bh_turn_lock_read(&t->lock);
                if (g_atomic_int_add(&t->readers, 1) > 0)
                        g_atomic_int_inc(&t->together);
                if (t->writing)
                        g_atomic_int_inc(&t->during_write);
                g_usleep(2000);
                for (guint i = 0; i < 10 && g_atomic_int_get(&t->readers) < 2; i++)
                        g_usleep(1000);
                g_atomic_int_add(&t->readers, -1);
                bh_turn_lock_read_done(&t->lock);
        }
        return NULL;
}

static gpointer write_some(gpointer data) {
        Turns *t = data;

        for (guint i = 0; i < 20; i++) {
                bh_turn_lock_write(&t->lock);
                g_assert_cmpint(g_atomic_int_get(&t->readers), ==, 0);
                t->writing = TRUE;
                g_usleep(100);
                t->writing = FALSE;
                bh_turn_lock_write_done(&t->lock);
                g_usleep(1000);
        }
        g_atomic_int_set(&t->stop, 1);
        return NULL;
}

static void a_writer_gets_in_among_readers_that_overlap(void) {
        Turns t = { 0 };
        GThread *readers[3], *writer;
        gint64 until = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;

        bh_turn_lock_init(&t.lock);
        for (guint i = 0; i < G_N_ELEMENTS(readers); i++)
                readers[i] = g_thread_new("reader", read_on, &t);
        while (!g_atomic_int_get(&t.together) && g_get_monotonic_time() < until)
                g_usleep(1000);
        g_assert_cmpint(g_atomic_int_get(&t.together), >, 0); /* readers are not kept apart */
        writer = g_thread_new("writer", write_some, &t);
        while (!g_atomic_int_get(&t.stop) && g_get_monotonic_time() < until)
                g_usleep(1000);
        g_assert_cmpint(g_atomic_int_get(&t.stop), ==, 1);
        g_thread_join(writer);
        for (guint i = 0; i < G_N_ELEMENTS(readers); i++)
                g_thread_join(readers[i]);
        g_assert_cmpint(g_atomic_int_get(&t.during_write), ==, 0);
        bh_turn_lock_clear(&t.lock);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/base/json_escapes_any_bytes", json_escapes_any_bytes);
        g_test_add_func("/base/terminal_text_has_no_controls", terminal_text_has_no_controls);
        g_test_add_func("/base/file_read_says_when_it_cut", file_read_says_when_it_cut);
        g_test_add_func("/base/a_writer_gets_in_among_readers_that_overlap", a_writer_gets_in_among_readers_that_overlap);
        return g_test_run();
}

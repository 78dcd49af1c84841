/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of alerts: once in, until out; folding; bounds; killed, damaged, without room. */
#include <glib/gstdio.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "notify_alerts.h"
#include "scratch.h"

typedef char TempDir;
static void temp_dir_free(TempDir *dir) {
        bh_test_remove(dir);
        g_free(dir);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TempDir, temp_dir_free)

static TempDir *temp_dir(void) {
        return g_dir_make_tmp("bh-notify-XXXXXX", NULL);
}

#define MINUTE ((gint64) BH_QUEUE_FOLD_MS)
#define T0 G_GINT64_CONSTANT(1800000000000)

static BhQueue *must_open(const char *dir) {
        g_autoptr(GError) error = NULL;
        BhQueueFound found;
        BhQueue *q = bh_queue_open(dir, BH_QUEUE_FOLD_MS, 5000, &found, &error);

        g_assert_no_error(error);
        g_assert_null(found.damaged_kept_as);
        return q;
}

static GPtrArray *outputs_of(BhOutput *first, ...) {
        GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify) bh_output_free);
        va_list ap;

        va_start(ap, first);
        for (BhOutput *o = first; o; o = va_arg(ap, BhOutput *))
                g_ptr_array_add(list, o);
        va_end(ap);
        return list;
}

static void add(BhQueue *q, const char *id, json_int_t count, gint64 position, gint64 now_ms) {
        g_autofree char *text = finding_text(id, count);
        const BhQueueItem item = { text, strlen(text) };
        g_autoptr(GError) error = NULL;

        bh_queue_add(q, &item, 1, position, now_ms, &error);
        g_assert_no_error(error);
}

/* "id+more id+more …" of what waits. */
static char *waiting(BhQueue *q, const BhOutput *o) {
        g_autoptr(GPtrArray) list = bh_queue_peek(q, o, 0, 1000, NULL);
        GString *out = g_string_new(NULL);

        for (guint i = 0; i < list->len; i++) {
                const BhQueued *one = list->pdata[i];
                g_autoptr(BhAlert) a = bh_alert_parse(one->json, one->len, one->told, NULL);

                g_string_append_printf(out, "%s%s+%" G_GUINT64_FORMAT, out->len ? " " : "", a->id, a->more);
        }
        return g_string_free(out, FALSE);
}

static void assert_waiting(BhQueue *q, const BhOutput *o, const char *expected) {
        g_autofree char *got = waiting(q, o);

        g_assert_cmpstr(got, ==, expected);
}

static gint64 position_of(BhQueue *q) {
        gint64 p = -2;

        g_assert_true(bh_queue_position(q, &p, NULL));
        return p;
}

static void deliver(BhQueue *q, const BhOutput *o, guint n, BhQueueEnd end) {
        g_autoptr(GPtrArray) list = bh_queue_peek(q, o, 0, n, NULL);
        guint8 ends[1000];

        memset(ends, (int) end, sizeof(ends));
        g_assert_true(bh_queue_done(q, o, list, ends, list->len, NULL));
}

static gint64 fold(BhQueue *q, gint64 now_ms) {
        gint64 next = -1;

        g_assert_true(bh_queue_fold(q, now_ms, &next, NULL));
        return next;
}

/* ---- */

static void each_output_gets_what_it_wants_once(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(GPtrArray) outputs = outputs_of(output("all", "{\"type\":\"stdout\"}"), output("none", "{\"type\":\"stdout\",\"rules\":[\"x\"]}"),
                                                  output("off", "{\"type\":\"stdout\",\"enabled\":false}"), NULL);
        g_autoptr(BhQueue) q = must_open(dir);
        BhQueueOutputStats s;

        g_assert_true(bh_queue_set_outputs(q, outputs, NULL));
        g_assert_cmpint(position_of(q), ==, -1);
        add(q, "a", 1, 5, T0);
        add(q, "b", 1, 6, T0);
        g_assert_cmpint(position_of(q), ==, 6);
        assert_waiting(q, outputs->pdata[0], "a/1+1 b/1+1");
        assert_waiting(q, outputs->pdata[1], "");
        assert_waiting(q, outputs->pdata[2], "");
        deliver(q, outputs->pdata[0], 1, BH_QUEUE_DELIVERED);
        deliver(q, outputs->pdata[0], 1, BH_QUEUE_REFUSED);
        add(q, "c", 1, 7, T0);
        deliver(q, outputs->pdata[0], 1, BH_QUEUE_CUT);
        assert_waiting(q, outputs->pdata[0], "");
        g_assert_true(bh_queue_output_stats(q, outputs->pdata[0], &s, NULL));
        g_assert_cmpuint(s.delivered, ==, 2);
        g_assert_cmpuint(s.refused, ==, 1);
        g_assert_cmpuint(s.cut, ==, 1);
        g_assert_cmpuint(s.queued, ==, 0);
        g_assert_cmpuint(s.queued_bytes, ==, 0);
}

static void what_grows_is_told_once_a_minute(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(GPtrArray) outputs = outputs_of(output("o", "{\"type\":\"stdout\"}"), NULL);
        const BhOutput *o = outputs->pdata[0];
        BhQueue *q = must_open(dir);

        bh_queue_set_outputs(q, outputs, NULL);
        add(q, "a", 1, 1, T0);
        for (guint i = 2; i <= 10000; i += 100)
                add(q, "a", i, i, T0 + i);
        add(q, "a", 10000, 10000, T0 + 30000);
        g_assert_cmpint(fold(q, T0 + 30000), ==, MINUTE - 30000);
        assert_waiting(q, o, "a/1+1");
        /* killed and begun again: what has grown is not forgotten */
        bh_queue_close(q);
        q = must_open(dir);
        bh_queue_set_outputs(q, outputs, NULL);
        fold(q, T0 + MINUTE);
        assert_waiting(q, o, "a/1+1 a/10000+9999");
        /* the same number again is nothing new; a larger one waits its minute */
        add(q, "a", 10000, 10001, T0 + MINUTE + 1);
        add(q, "a", 10001, 10002, T0 + MINUTE + 2);
        fold(q, T0 + 2 * MINUTE - 1);
        assert_waiting(q, o, "a/1+1 a/10000+9999");
        fold(q, T0 + 2 * MINUTE);
        assert_waiting(q, o, "a/1+1 a/10000+9999 a/10001+1");
        g_assert_cmpint(fold(q, T0 + 3 * MINUTE), ==, MINUTE);
        /* a clock that was set back by years holds nothing back */
        add(q, "a", 10005, 10003, T0 + 4 * MINUTE);
        fold(q, 1000);
        assert_waiting(q, o, "a/1+1 a/10000+9999 a/10001+1 a/10005+4");
        bh_queue_close(q);
}

static void oldest_go_at_the_bound_and_are_counted(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(GPtrArray) outputs = outputs_of(output("o", "{\"type\":\"stdout\"}"), output("p", "{\"type\":\"stdout\"}"), NULL);
        g_autoptr(BhQueue) q = must_open(dir);
        g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GArray) items = g_array_new(FALSE, FALSE, sizeof(BhQueueItem));
        BhQueueOutputStats s;

        bh_queue_set_outputs(q, outputs, NULL);
        for (guint i = 0; i < BH_QUEUE_ALERTS + 7; i++) {
                char id[16];

                g_snprintf(id, sizeof(id), "%u", i);
                char *text = finding_text(id, 1);
                const BhQueueItem item = { text, strlen(text) };
                g_ptr_array_add(texts, text);
                g_array_append_val(items, item);
        }
        g_assert_true(bh_queue_add(q, (BhQueueItem *) (void *) items->data, items->len, 1, T0, NULL));
        for (guint k = 0; k < 2; k++) {
                g_assert_true(bh_queue_output_stats(q, outputs->pdata[k], &s, NULL));
                g_assert_cmpuint(s.queued, ==, BH_QUEUE_ALERTS);
                g_assert_cmpuint(s.lost, ==, 7);
        }
        g_autoptr(GPtrArray) first = bh_queue_peek(q, outputs->pdata[0], 0, 1, NULL);
        g_assert_nonnull(strstr(((BhQueued *) first->pdata[0])->json, "\"id\":\"7\""));

        /* bytes */
        json_auto_t *big = finding("big", 1);
        g_autofree char *fill = g_strnfill(3 << 20, 'x');
        json_object_set_new(big, "output", json_string(fill));
        for (guint i = 0; i < 30; i++) {
                char id[16];

                g_snprintf(id, sizeof(id), "big%u", i);
                json_object_set_new(big, "id", json_string(id));
                g_autofree char *text = json_dumps(big, JSON_COMPACT);
                const BhQueueItem item = { text, strlen(text) };
                g_assert_true(bh_queue_add(q, &item, 1, 2, T0, NULL));
        }
        g_assert_true(bh_queue_output_stats(q, outputs->pdata[0], &s, NULL));
        g_assert_cmpuint(s.queued_bytes, <=, BH_QUEUE_BYTES);
        g_assert_cmpuint(s.queued, ==, BH_QUEUE_BYTES / (3u << 20) - (BH_QUEUE_BYTES % (3u << 20) ? 0 : 1));
        g_assert_cmpuint(s.queued + s.lost, ==, BH_QUEUE_ALERTS + 7 + 30);
        /* nothing is kept that nobody waits for */
        deliver(q, outputs->pdata[0], 1000, BH_QUEUE_DELIVERED);
        deliver(q, outputs->pdata[1], 1000, BH_QUEUE_DELIVERED);
}

static void another_output_of_the_name_gets_nothing_old(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(GPtrArray) outputs = outputs_of(output("o", "{\"type\":\"stdout\"}"), NULL), others = outputs_of(output("o", "{\"type\":\"stdout\"}"), NULL);
        g_autoptr(BhQueue) q = must_open(dir);

        bh_queue_set_outputs(q, outputs, NULL);
        add(q, "a", 1, 1, T0);
        g_free(((BhOutput *) others->pdata[0])->id);
        ((BhOutput *) others->pdata[0])->id = g_strdup("o@2");
        bh_queue_set_outputs(q, others, NULL);
        assert_waiting(q, others->pdata[0], "");
        bh_queue_set_outputs(q, outputs, NULL);
        assert_waiting(q, outputs->pdata[0], "");
}

static void unreadable_ones_hold_nothing_up(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(GPtrArray) outputs = outputs_of(output("o", "{\"type\":\"stdout\"}"), NULL);
        g_autoptr(BhQueue) q = must_open(dir);
        g_autofree char *good = finding_text("a", 1);
        const BhQueueItem items[] = { { "nonsense", 8 }, { good, strlen(good) }, { NULL, 0 } };
        BhQueueStats s;

        bh_queue_set_outputs(q, outputs, NULL);
        g_assert_true(bh_queue_add(q, items, 3, 9, T0, NULL));
        bh_queue_stats(q, &s);
        g_assert_cmpuint(s.unreadable, ==, 1);
        assert_waiting(q, outputs->pdata[0], "a/1+1");
        g_assert_cmpint(position_of(q), ==, 9);
}

static void damaged_file_is_set_aside(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autofree char *path = g_build_filename(dir, "queue.db", NULL), *kept = g_strconcat(path, ".damaged", NULL);
        g_autoptr(GError) error = NULL;
        BhQueueFound found;

        bh_queue_close(must_open(dir));
        g_assert_true(g_file_set_contents(path, "this is no database, whatever it was once, and is long enough to be looked at", -1, NULL));
        BhQueue *q = bh_queue_open(dir, BH_QUEUE_FOLD_MS, 1000, &found, &error);
        g_assert_no_error(error);
        g_assert_cmpstr(found.damaged_kept_as, ==, kept);
        g_assert_true(g_file_test(kept, G_FILE_TEST_EXISTS));
        g_free(found.damaged_kept_as);
        g_assert_cmpint(position_of(q), ==, -1);
        /* two at a time would deliver twice */
        BhQueueFound other;
        g_assert_null(bh_queue_open(dir, BH_QUEUE_FOLD_MS, 50, &other, &error));
        g_assert_error(error, BH_NOTIFY_ERROR, BH_NOTIFY_ERROR_FAILED);
        bh_queue_close(q);
}

static void without_room_nothing_moves_and_nothing_is_lost(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(GPtrArray) outputs = outputs_of(output("o", "{\"type\":\"stdout\"}"), NULL);
        g_autoptr(BhQueue) q = must_open(dir);
        struct rlimit was, small = { 400 << 10, RLIM_INFINITY };
        json_auto_t *big = finding("big", 1);
        g_autofree char *fill = g_strnfill(600 << 10, 'x');
        g_autoptr(GError) error = NULL;

        bh_queue_set_outputs(q, outputs, NULL);
        add(q, "a", 1, 1, T0);
        json_object_set_new(big, "output", json_string(fill));
        g_autofree char *text = json_dumps(big, JSON_COMPACT);
        const BhQueueItem item = { text, strlen(text) };
        signal(SIGXFSZ, SIG_IGN);
        getrlimit(RLIMIT_FSIZE, &was);
        small.rlim_max = was.rlim_max;
        g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &small), ==, 0);
        gboolean ok = bh_queue_add(q, &item, 1, 2, T0, &error);
        setrlimit(RLIMIT_FSIZE, &was);
        g_assert_false(ok);
        g_assert_error(error, BH_NOTIFY_ERROR, BH_NOTIFY_ERROR_FAILED);
        g_assert_cmpint(position_of(q), ==, 1);
        assert_waiting(q, outputs->pdata[0], "a/1+1");
        g_assert_true(bh_queue_add(q, &item, 1, 2, T0, NULL));
        assert_waiting(q, outputs->pdata[0], "a/1+1 big/1+1");
}

/* ---- SIGKILL ---- */

#define KILLS 20
#define FINDINGS 400

/*
 * The child takes in findings 0 … N-1 from the position on that it has, one a transaction, and delivers: each delivery is a line in a file, written
 * before the queue is told. It is killed at random.
 */
static void child(const char *dir, const char *delivered) {
        g_autoptr(GPtrArray) outputs = outputs_of(output("o", "{\"type\":\"stdout\"}"), NULL);
        BhQueue *q = must_open(dir);
        FILE *out = fopen(delivered, "a");

        bh_queue_set_outputs(q, outputs, NULL);
        for (gint64 at = position_of(q) + 1; at < FINDINGS; at++) {
                g_autofree char *id = g_strdup_printf("f%d", (int) at);

                add(q, id, 1, at, T0);
                if (at % 3)
                        continue;
                g_autoptr(GPtrArray) list = bh_queue_peek(q, outputs->pdata[0], 0, 5, NULL);
                guint8 ends[5] = { 0 };
                for (guint i = 0; i < list->len; i++) {
                        const BhQueued *one = list->pdata[i];
                        g_autoptr(BhAlert) a = bh_alert_parse(one->json, one->len, one->told, NULL);

                        fprintf(out, "%s\n", a->id);
                        fflush(out);
                }
                bh_queue_done(q, outputs->pdata[0], list, ends, list->len, NULL);
        }
        _exit(0);
}

static void killed_at_random_nothing_is_lost(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autofree char *path = g_build_filename(dir, "delivered", NULL), *text = NULL;
        guint kills = 0;

        g_random_set_seed((guint32) g_get_monotonic_time());
        for (int status = -1; status != 0;) {
                pid_t pid = fork();

                if (pid == 0)
                        child(dir, path);
                if (kills < KILLS) {
                        g_usleep((gulong) g_random_int_range(1000, 60000));
                        kill(pid, SIGKILL);
                        kills++;
                }
                g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        }
        /* the rest */
        g_autoptr(GPtrArray) outputs = outputs_of(output("o", "{\"type\":\"stdout\"}"), NULL);
        g_autoptr(BhQueue) q = must_open(dir);
        g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        bh_queue_set_outputs(q, outputs, NULL);
        g_autofree char *rest = waiting(q, outputs->pdata[0]);
        g_auto(GStrv) left = g_strsplit(rest, " ", -1);
        guint twice = 0;
        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

        for (char **l = lines; *l; l++)
                if (**l && !g_hash_table_add(seen, g_strdup(*l)))
                        twice++;
        for (char **l = left; *l; l++) {
                if (**l) {
                        char *plus = strchr(*l, '+');

                        *plus = '\0';
                        g_hash_table_add(seen, g_strdup(*l));
                }
        }
        for (guint i = 0; i < FINDINGS; i++) {
                g_autofree char *id = g_strdup_printf("f%u/1", i);

                if (!g_hash_table_contains(seen, id))
                        g_error("%s was lost after %u kills", id, kills);
        }
        g_assert_cmpuint(g_hash_table_size(seen), ==, FINDINGS);
        g_test_message("%u kills, %u delivered twice", kills, twice);
        g_assert_cmpuint(twice, <=, 5 * kills);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/notify/queue/each_output_gets_what_it_wants_once", each_output_gets_what_it_wants_once);
        g_test_add_func("/notify/queue/what_grows_is_told_once_a_minute", what_grows_is_told_once_a_minute);
        g_test_add_func("/notify/queue/oldest_go_at_the_bound_and_are_counted", oldest_go_at_the_bound_and_are_counted);
        g_test_add_func("/notify/queue/another_output_of_the_name_gets_nothing_old", another_output_of_the_name_gets_nothing_old);
        g_test_add_func("/notify/queue/unreadable_ones_hold_nothing_up", unreadable_ones_hold_nothing_up);
        g_test_add_func("/notify/queue/damaged_file_is_set_aside", damaged_file_is_set_aside);
        g_test_add_func("/notify/queue/without_room_nothing_moves_and_nothing_is_lost", without_room_nothing_moves_and_nothing_is_lost);
        g_test_add_func("/notify/queue/killed_at_random_nothing_is_lost", killed_at_random_nothing_is_lost);
        return g_test_run();
}

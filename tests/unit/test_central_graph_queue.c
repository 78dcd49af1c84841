/* SPDX-License-Identifier: Apache-2.0 */
/* What waits for the map: whoever hands over does not wait for readers, whoever asks sees what was handed over before, and what waits is bounded. */
#include <glib.h>

#include "base/turn_lock.h"
#include "central/graph_queue.h"

typedef struct {
        BhTurnLock lock; /* readers of the map have it */
        GArray *entered; /* guint, with `lock` */
        gint freed;
        BhGraphQueue *q;
} Map;

static Map *map;

static void enter(gpointer piece, gpointer data) {
        Map *m = data;
        guint n = GPOINTER_TO_UINT(piece);

        bh_turn_lock_write(&m->lock);
        g_array_append_val(m->entered, n);
        bh_turn_lock_write_done(&m->lock);
}

static void free_piece(gpointer piece) {
        g_atomic_int_inc(&map->freed);
}

static void map_init(Map *m) {
        map = m;
        bh_turn_lock_init(&m->lock);
        m->entered = g_array_new(FALSE, FALSE, sizeof(guint));
        m->freed = 0;
        m->q = bh_graph_queue_new(enter, free_piece, m);
}

static void map_clear(Map *m) {
        bh_graph_queue_free(m->q);
        bh_turn_lock_clear(&m->lock);
        g_array_unref(m->entered);
}

static gint64 in(guint seconds) {
        return g_get_monotonic_time() + seconds * G_USEC_PER_SEC;
}

static void handing_over_does_not_wait_for_readers(void) {
        Map m;

        map_init(&m);
        bh_turn_lock_read(&m.lock);
        /* the reader is this thread: whoever waited for it would wait for ever */
        for (guint i = 1; i <= 100; i++)
                bh_graph_queue_push(m.q, GUINT_TO_POINTER(i), 1);
        g_assert_false(bh_graph_queue_wait(m.q, g_get_monotonic_time()));
        bh_turn_lock_read_done(&m.lock);
        /* and the next one sees all of it, in order */
        g_assert_true(bh_graph_queue_wait(m.q, in(60)));
        bh_turn_lock_read(&m.lock);
        g_assert_cmpuint(m.entered->len, ==, 100);
        for (guint i = 0; i < 100; i++)
                g_assert_cmpuint(g_array_index(m.entered, guint, i), ==, i + 1);
        bh_turn_lock_read_done(&m.lock);
        map_clear(&m);
        g_assert_cmpint(m.freed, ==, 100);
}

static gpointer push_one_more(gpointer data) {
        bh_graph_queue_push(data, GUINT_TO_POINTER(3), 10);
        return NULL;
}

static void what_waits_is_bounded_and_who_waits_for_room_is_counted(void) {
        BhGraphQueueStats s;
        Map m;

        map_init(&m);
        bh_turn_lock_read(&m.lock);
        /* more than the bound, for it is the first; the next one waits until that is entered */
        bh_graph_queue_push(m.q, GUINT_TO_POINTER(1), 2 * BH_GRAPH_QUEUE_MAX);
        g_autoptr(GThread) other = g_thread_new("other", push_one_more, m.q);
        do {
                g_usleep(1000);
                bh_graph_queue_stats(m.q, &s);
        } while (!s.stalled);
        g_assert_cmpuint(s.pushed, ==, 1);
        g_assert_cmpuint(s.waiting, ==, 1);
        bh_turn_lock_read_done(&m.lock);
        g_thread_join(g_steal_pointer(&other));
        g_assert_true(bh_graph_queue_wait(m.q, in(60)));
        bh_graph_queue_stats(m.q, &s);
        g_assert_cmpuint(s.cost, ==, 0);
        g_assert_cmpuint(s.pushed, ==, 2);
        g_assert_cmpuint(s.stalled, ==, 1);
        map_clear(&m);
}

static void what_is_left_at_the_end_is_freed(void) {
        Map m;

        map_init(&m);
        bh_turn_lock_read(&m.lock);
        for (guint i = 1; i <= 10; i++)
                bh_graph_queue_push(m.q, GUINT_TO_POINTER(i), 1);
        bh_turn_lock_read_done(&m.lock);
        map_clear(&m);
        g_assert_cmpint(m.freed, ==, 10);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/central/graph_queue/handing_over_does_not_wait_for_readers", handing_over_does_not_wait_for_readers);
        g_test_add_func("/central/graph_queue/what_waits_is_bounded_and_who_waits_for_room_is_counted", what_waits_is_bounded_and_who_waits_for_room_is_counted);
        g_test_add_func("/central/graph_queue/what_is_left_at_the_end_is_freed", what_is_left_at_the_end_is_freed);
        return g_test_run();
}

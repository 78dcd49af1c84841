/* SPDX-License-Identifier: Apache-2.0 */
/* What every node is to have: who is told that a node has it, and when. */
#include "central/json_out.h"
#include "central/spread.h"

#include "bus_env.h"

/* What is spread: a number, made while nobody holds `gate`. */
typedef struct {
        gint number, making; /* atomic; making: a pack waits at the gate */
        GMutex gate;
        gint fails; /* so many times it cannot be made */
} Thing;

static GBytes *pack(gpointer data, char **digest) {
        Thing *t = data;

        g_atomic_int_inc(&t->making);
        g_mutex_lock(&t->gate);
        g_mutex_unlock(&t->gate);
        g_atomic_int_add(&t->making, -1);
        if (g_atomic_int_get(&t->fails)) {
                g_atomic_int_add(&t->fails, -1);
                return NULL;
        }
        *digest = g_strdup_printf("%d", g_atomic_int_get(&t->number));
        return g_bytes_new(*digest, strlen(*digest));
}

static gboolean refused(const char *error) {
        return g_str_has_prefix(error, "thing ");
}

/* The node's side: what it was sent last; a negative number is refused. */
static void on_thing(BhBusStream *stream, GBytes *body, gpointer has) {
        g_autofree char *text = g_strndup(g_bytes_get_data(body, NULL), g_bytes_get_size(body));
        int n = atoi(text);

        if (n < 0) {
                bh_bus_stream_end(stream, "thing is not for this node");
                return;
        }
        g_atomic_int_set((gint *) has, n);
        bh_bus_stream_end(stream, NULL);
}

static gboolean in_state(BhSpread *s, const char *state) {
        GString *out = g_string_new(NULL);
        g_autofree char *wanted = g_strdup_printf("\"state\":\"%s\"", state);

        bh_json_open(out, NULL, '{');
        bh_spread_append_nodes(s, out);
        bh_json_close(out, '}');
        bh_json_end(out);
        g_autofree char *text = g_string_free(out, FALSE);
        return strstr(text, wanted) != NULL;
}

static void test_a_node_is_current_only_with_what_is_there_now(void) {
        static const BhSpreadWhat what = { "thing_set", "bh-test-spread", pack, refused };
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        Thing thing = { .number = 1 };
        gint has = 0;

        g_mutex_init(&thing.gate);
        subscriber_listen(s, dir, NULL);
        BhCentral central = { .bus = s->listener };
        g_autoptr(BhBusPublisher) node = publisher_with(dir, NULL, NULL);
        bh_bus_serve(node, "thing_set", on_thing, &has);
        bh_bus_publisher_start(node);
        BhSpread *spread = bh_spread_new(&central, &what, &thing);
        WAIT_FOR(in_state(spread, "current"));
        g_assert_cmpint(g_atomic_int_get(&has), ==, 1);

        /* changed, and not made yet: before the thread has looked, and while it looks */
        g_mutex_lock(&thing.gate);
        g_atomic_int_set(&thing.number, 2);
        bh_spread_changed(spread);
        g_assert_true(in_state(spread, "sending"));
        WAIT_FOR(g_atomic_int_get(&thing.making));
        g_assert_true(in_state(spread, "sending"));
        /* and changed again meanwhile: what is made now may be of before */
        bh_spread_changed(spread);
        g_mutex_unlock(&thing.gate);
        WAIT_FOR(in_state(spread, "current"));
        g_assert_cmpint(g_atomic_int_get(&has), ==, 2);

        /* each time that it is told to be there, it is */
        for (int n = 3; n < 100; n++) {
                g_atomic_int_set(&thing.number, n);
                bh_spread_changed(spread);
                WAIT_FOR(in_state(spread, "current"));
                g_assert_cmpint(g_atomic_int_get(&has), ==, n);
        }

        /* what cannot be made is tried again, and what a node does not take is its own state */
        g_atomic_int_set(&thing.fails, 1);
        g_atomic_int_set(&thing.number, 100);
        bh_spread_changed(spread);
        g_assert_true(in_state(spread, "sending"));
        WAIT_FOR(in_state(spread, "current"));
        g_assert_cmpint(g_atomic_int_get(&has), ==, 100);
        g_atomic_int_set(&thing.number, -1);
        bh_spread_changed(spread);
        WAIT_FOR(in_state(spread, "refused"));
        bh_spread_free(spread);
        g_mutex_clear(&thing.gate);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/spread/a_node_is_current_only_with_what_is_there_now", test_a_node_is_current_only_with_what_is_there_now);
        return g_test_run();
}

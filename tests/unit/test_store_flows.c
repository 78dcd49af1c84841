/* SPDX-License-Identifier: Apache-2.0 */
/* Halves of connections in the store: exactly once, what open connections moved, windows, bounds, retention. */
#include "store_rows.h"

#define MINUTE_NS (60 * G_GINT64_CONSTANT(1000000000))
#define HOUR_NS (60 * MINUTE_NS)

static gint64 the_time = T0;

static gint64 fixed_now(void) {
        return the_time;
}

static BhStore *open_at(const char *dir, gint64 now) {
        BhStore *s = must_open(dir, NULL);

        the_time = now;
        s->now = fixed_now;
        s->opened_now = now;
        return s;
}

static BhHalf half_of(guint32 port) {
        return (BhHalf){ .container_id = "c1", .exe = "/bin/web", .role = BH_HALF_CLIENT, .proto = 6, .port = port, .path = "", .peer_container_id = "", .peer_name = "", .peer_exe = "",
                         .network_id = "", .protocol = "", .server_name = "", .peer = { 4, { 10, 0, 0, 7 } }, .first_ns = the_time, .last_ns = the_time };
}

static BhStoreMessage batch_of(BhHalf *halves, guint n, guint64 through) {
        return (BhStoreMessage){ .kind = BH_STORE_MESSAGE_FLOWS, .flows = { .boot_id = "boot-1", .through = through, .time_ns = the_time, .halves = halves, .n_halves = n } };
}

static void put(BhStore *s, BhStoreMessage *m) {
        must_put(s, NODE, m, 1);
        bh_store_flows_clear(&m->flows);
}

typedef struct {
        guint n;
        BhHalfCounts counts;
        guint64 open;
        char *name, *peer;
} Seen;

static gboolean see(const BhHalf *h, gpointer data) {
        Seen *s = data;

        s->n++;
        bh_half_counts_add(&s->counts, &h->counts);
        s->open += h->open;
        g_free(s->name);
        g_free(s->peer);
        s->name = g_strdup(h->peer_name);
        s->peer = g_strdup(h->peer_container_id);
        return TRUE;
}

static Seen seen(BhStore *s) {
        g_autoptr(GError) error = NULL;
        Seen out = { 0 };

        g_assert_true(bh_store_halves(s, see, &out, &error));
        g_assert_no_error(error);
        return out;
}

static void seen_clear(Seen *s) {
        g_free(s->name);
        g_free(s->peer);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Seen, seen_clear)

static void sum(gint64 half, gint64 start_s, const BhHalfCounts *c, gpointer data) {
        bh_half_counts_add(data, c);
}

static BhHalfCounts window(BhStore *s, gint64 since, gint64 until, gint64 *from, gint64 *to) {
        g_autoptr(GError) error = NULL;
        BhHalfCounts total = { 0 };

        g_assert_true(bh_store_flow_buckets(s, &since, &until, sum, &total, &error));
        g_assert_no_error(error);
        if (from)
                *from = since;
        if (to)
                *to = until;
        return total;
}

static void a_batch_counts_once(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = open_at(dir, T0);

        for (guint i = 0; i < 3; i++) {
                BhHalf h = half_of(80);
                h.counts.connections = 5;
                h.open = i;
                BhStoreMessage m = batch_of(&h, 1, 100); /* three times the same bounds */

                put(s, &m);
                g_assert_cmpint(m.flows.counted, ==, i == 0);
                g_assert_cmpuint(h.counts.connections, ==, i == 0 ? 5 : 0);
                g_assert_cmpint(h.id, ==, 1);
        }
        g_auto(Seen) x = seen(s);
        g_assert_cmpuint(x.n, ==, 1);
        g_assert_cmpuint(x.counts.connections, ==, 5);
        g_assert_cmpuint(x.open, ==, 2); /* how it is now is taken from a repetition */

        BhHalf old = half_of(81);
        BhStoreMessage m = batch_of(&old, 1, 99); /* from before */
        put(s, &m);
        g_assert_cmpint(old.id, ==, 0);
        BhHalf next = half_of(80);
        next.counts.connections = 1;
        m = batch_of(&next, 1, 101);
        put(s, &m);
        BhHalf other_boot = half_of(80);
        other_boot.counts.connections = 1;
        m = batch_of(&other_boot, 1, 7);
        m.flows.boot_id = "boot-2";
        put(s, &m);
        g_auto(Seen) after = seen(s);
        g_assert_cmpuint(after.counts.connections, ==, 7);

        /* also over a restart */
        g_clear_pointer(&s, bh_store_close);
        s = open_at(dir, T0);
        BhHalf again = half_of(80);
        again.counts.connections = 1;
        m = batch_of(&again, 1, 101);
        put(s, &m);
        g_auto(Seen) last = seen(s);
        g_assert_cmpuint(last.counts.connections, ==, 7);
}

static void open_connections_count_as_they_grow_and_not_again_at_their_end(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = open_at(dir, T0);
        const struct {
                guint64 ended, open, full;
                guint64 total;
        } steps[] = {
                { 0, 100, 0, 100 },  { 0, 250, 0, 250 }, { 400, 0, 0, 400 }, { 50, 0, 0, 450 },
                { 0, 70, 0, 520 },   { 0, 60, 0, 520 }, /* less than before: set off */
                { 60, 15, 0, 525 },  { 0, 15, 1, 525 },
        };

        for (guint i = 0; i < G_N_ELEMENTS(steps); i++) {
                BhHalf h = half_of(80);
                the_time = T0 + (gint64) i * MINUTE_NS;
                h.last_ns = the_time;
                h.counts.bytes_in = steps[i].ended;
                h.open = steps[i].open > 0;
                h.open_bytes_in = steps[i].open;
                BhStoreMessage m = batch_of(&h, 1, i + 1);
                m.flows.full = steps[i].full != 0;
                put(s, &m);
                g_auto(Seen) x = seen(s);
                g_test_message("step %u", i);
                g_assert_cmpuint(x.counts.bytes_in, ==, steps[i].total);
                g_assert_cmpuint(window(s, T0, the_time + MINUTE_NS, NULL, NULL).bytes_in, ==, steps[i].total);
        }
}

static void a_full_batch_closes_what_it_does_not_know(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = open_at(dir, T0);
        BhHalf two[2] = { half_of(80), half_of(81) };

        two[0].open = two[1].open = 3;
        two[0].open_bytes_in = two[1].open_bytes_in = 1000;
        BhStoreMessage m = batch_of(two, 2, 1);
        put(s, &m);
        BhHalf one = half_of(80);
        one.open = 1;
        one.open_bytes_in = 1100;
        m = batch_of(&one, 1, 2);
        m.flows.full = TRUE;
        must_put(s, NODE, &m, 1);
        g_assert_nonnull(m.flows.closed);
        g_assert_cmpuint(m.flows.closed->len, ==, 1);
        g_assert_cmpint(g_array_index(m.flows.closed, gint64, 0), ==, two[1].id);
        bh_store_flows_clear(&m.flows);
        g_auto(Seen) x = seen(s);
        g_assert_cmpuint(x.open, ==, 1);
        g_assert_cmpuint(x.counts.bytes_in, ==, 2100);
        /* the same connection's successor counts from its beginning */
        BhHalf later = half_of(81);
        later.counts.bytes_in = 10;
        m = batch_of(&later, 1, 3);
        put(s, &m);
        g_auto(Seen) y = seen(s);
        g_assert_cmpuint(y.counts.bytes_in, ==, 2110);
}

static void windows_are_exact_to_the_minute_and_wide_ones_to_the_hour(void) {
        g_autoptr(TempDir) dir = temp_dir();
        const gint64 hour = T0 - T0 % HOUR_NS, now = hour + 20 * HOUR_NS;
        g_autoptr(BhStore) s = open_at(dir, now);
        gint64 from, to;

        for (guint i = 0; i < 20 * 60; i++) {
                BhHalf h = half_of(80);
                h.last_ns = hour + (gint64) i * MINUTE_NS + 1;
                h.counts.connections = 1;
                BhStoreMessage m = batch_of(&h, 1, i + 1);
                put(s, &m);
        }
        g_assert_cmpuint(window(s, hour + 10 * MINUTE_NS, hour + 75 * MINUTE_NS, &from, &to).connections, ==, 65);
        g_assert_cmpint(from, ==, hour + 10 * MINUTE_NS);
        g_assert_cmpint(to, ==, hour + 75 * MINUTE_NS);
        /* widened to whole minutes */
        g_assert_cmpuint(window(s, hour + 10 * MINUTE_NS + 7, hour + 11 * MINUTE_NS + 7, &from, &to).connections, ==, 2);
        g_assert_cmpint(to, ==, hour + 12 * MINUTE_NS);
        /* longer than twelve hours: whole hours */
        g_assert_cmpuint(window(s, hour + 30 * MINUTE_NS, hour + 13 * HOUR_NS, &from, &to).connections, ==, 13 * 60);
        g_assert_cmpint(from, ==, hour);
        /* two windows side by side have everything once */
        g_assert_cmpuint(window(s, hour, hour + 7 * MINUTE_NS, NULL, NULL).connections + window(s, hour + 7 * MINUTE_NS, hour + 600 * MINUTE_NS, NULL, NULL).connections, ==, 600);
        g_assert_cmpuint(window(s, 0, 1, NULL, NULL).connections, ==, 0);
        g_assert_cmpuint(window(s, 0, G_MAXINT64, NULL, NULL).connections, ==, 1200);

        /* minutes go, hours stay */
        g_autoptr(GError) error = NULL;
        g_autoptr(GArray) gone = NULL;
        g_assert_true(bh_store_flows_expire(s, 5 * HOUR_NS, 30 * 24 * HOUR_NS, &gone, &error));
        g_assert_cmpuint(gone->len, ==, 0);
        g_assert_cmpuint(window(s, hour + 10 * MINUTE_NS, hour + 75 * MINUTE_NS, &from, &to).connections, ==, 120);
        g_assert_cmpint(from, ==, hour);
        g_assert_cmpint(to, ==, hour + 2 * HOUR_NS);
        g_assert_cmpuint(window(s, now - 3 * HOUR_NS + 10 * MINUTE_NS, now, NULL, NULL).connections, ==, 170);
        /* across the border between them */
        g_assert_cmpuint(window(s, hour + 14 * HOUR_NS, hour + 16 * HOUR_NS + 5 * MINUTE_NS, NULL, NULL).connections, ==, 125);
        /* and then everything */
        the_time = s->opened_now = now + 40 * 24 * HOUR_NS;
        g_autoptr(GArray) all = NULL;
        g_assert_true(bh_store_flows_expire(s, 5 * HOUR_NS, 30 * 24 * HOUR_NS, &all, &error));
        g_assert_cmpuint(all->len, ==, 1);
        g_assert_cmpuint(window(s, 0, G_MAXINT64, NULL, NULL).connections, ==, 0);
        g_auto(Seen) x = seen(s);
        g_assert_cmpuint(x.n, ==, 0);
}

static void what_is_told_later_is_kept_with_the_same_half(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = open_at(dir, T0);
        BhHalf h = half_of(80);

        h.counts.connections = 1;
        BhStoreMessage m = batch_of(&h, 1, 1);
        put(s, &m);
        h = half_of(80);
        h.peer_name = "db.example";
        h.peer_container_id = "c2";
        h.counts.connections = 1;
        m = batch_of(&h, 1, 2);
        put(s, &m);
        h = half_of(80);
        h.peer_container_id = "c2";
        h.counts.connections = 1;
        m = batch_of(&h, 1, 3);
        put(s, &m);
        g_auto(Seen) x = seen(s);
        g_assert_cmpuint(x.n, ==, 1);
        g_assert_cmpuint(x.counts.connections, ==, 3);
        g_assert_cmpstr(x.name, ==, "db.example");
        g_assert_cmpstr(x.peer, ==, "c2");
}

static void each_container_has_its_bound_and_nothing_is_lost_beyond(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = open_at(dir, T0);
        const guint n = BH_STORE_HALVES_PER_CONTAINER + 500;
        g_autofree BhHalf *halves = g_new(BhHalf, n);
        BhStoreStats stats;

        for (guint i = 0; i < n; i++) {
                halves[i] = half_of(80);
                halves[i].peer = (BhHalfAddress){ 4, { 9, (guint8) (i >> 16), (guint8) (i >> 8), (guint8) i } };
                halves[i].counts.connections = 1;
        }
        BhStoreMessage m = batch_of(halves, n, 1);
        put(s, &m);
        g_auto(Seen) x = seen(s);
        g_assert_cmpuint(x.n, ==, BH_STORE_HALVES_PER_CONTAINER + 1);
        g_assert_cmpuint(x.counts.connections, ==, n);
        bh_store_stats(s, &stats);
        g_assert_cmpuint(stats.halves_folded, ==, 500);
        /* another container is not concerned */
        BhHalf other = half_of(80);
        other.container_id = "c2";
        m = batch_of(&other, 1, 2);
        put(s, &m);
        bh_store_stats(s, &stats);
        g_assert_cmpuint(stats.halves_folded, ==, 500);
}

/* A node that makes up containers and ports. */
static void flood(BhStore *s, const char *node, guint n, guint64 through, guint *stored) {
        g_autofree BhHalf *halves = g_new(BhHalf, n);
        g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);

        for (guint i = 0; i < n; i++) {
                char *name = g_strdup_printf("%s-%" G_GUINT64_FORMAT "-%u", node, through, i);

                g_ptr_array_add(names, name);
                halves[i] = half_of(i + 1);
                halves[i].container_id = name;
                halves[i].counts.connections = 1;
                halves[i].counts.bytes_out = 10;
        }
        BhStoreMessage m = batch_of(halves, n, through);
        must_put(s, node, &m, 1);
        *stored = 0;
        for (guint i = 0; i < n; i++)
                *stored += halves[i].id > 0;
        bh_store_flows_clear(&m.flows);
}

static void one_node_fills_neither_the_store_nor_the_place_of_others(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = open_at(dir, T0);
        g_autoptr(GError) error = NULL;
        guint64 connections, bytes;
        guint stored;

        s->halves_max = 400;
        s->halves_least = 50;
        for (guint i = 1; i <= 5; i++)
                flood(s, "liar", 300, i, &stored);
        g_assert_cmpuint(stored, ==, 0);
        g_auto(Seen) x = seen(s);
        g_assert_cmpuint(x.n, ==, 500); /* a quarter more of those that are put together */
        /* what has no half is counted */
        g_assert_true(bh_store_flow_rest(s, &connections, &bytes, &error));
        g_assert_cmpuint(x.counts.connections + connections, ==, 1500);
        g_assert_cmpuint(bytes, ==, connections * 10);
        /* the other has its least */
        flood(s, "honest", 60, 1, &stored);
        g_assert_cmpuint(stored, ==, 50);
        flood(s, "honest", 10, 2, &stored);
        g_assert_cmpuint(stored, ==, 0);
        /* what is known is told on */
        BhHalf again = half_of(1);
        again.container_id = "honest-1-0";
        again.counts.connections = 1;
        BhStoreMessage m = batch_of(&again, 1, 3);
        must_put(s, "honest", &m, 1);
        g_assert_cmpint(again.id, >, 0);
        bh_store_flows_clear(&m.flows);
}

/* Halves of programs with long names. */
static void flood_texts(BhStore *s, const char *node, guint n, gsize length, guint64 through, guint *stored) {
        g_autofree BhHalf *halves = g_new(BhHalf, n);
        g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);

        for (guint i = 0; i < n; i++) {
                char *exe = g_strnfill(length, 'x');

                g_snprintf(exe, 24, "/%05u", i);
                exe[6] = 'x';
                g_ptr_array_add(texts, exe);
                halves[i] = half_of(1);
                halves[i].exe = exe;
                halves[i].counts.connections = 1;
        }
        BhStoreMessage m = batch_of(halves, n, through);
        must_put(s, node, &m, 1);
        *stored = 0;
        for (guint i = 0; i < n; i++)
                *stored += strlen(halves[i].exe) > 0;
        bh_store_flows_clear(&m.flows);
}

static gint64 bytes_of_texts(BhStore *s) {
        gint64 n;

        g_assert_true(bh_db_get_int(s->writer, &n, NULL, NULL,
                                    "SELECT sum(length(container_id) + length(exe) + length(path) + length(peer_container_id) + length(peer_name) + length(peer_exe) + length(network_id) + "
                                    "length(protocol) + length(server_name)) FROM flow_halves", ""));
        return n;
}

static void texts_of_one_node_are_bounded_and_leave_room_for_others(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = open_at(dir, T0);
        BhStoreStats stats;
        guint stored;

        s->texts_max = 300000;
        s->texts_node = 250000;
        s->texts_least = 60000;
        flood_texts(s, "liar", 200, 3000, 1, &stored);
        g_assert_cmpuint(stored, >, 70);
        g_assert_cmpuint(stored, <, 84);
        bh_store_stats(s, &stats);
        g_assert_cmpuint(stats.halves_folded, ==, 200 - stored);
        g_assert_cmpint(bytes_of_texts(s), <=, 260000);
        g_assert_cmpint(bytes_of_texts(s), ==, s->texts);
        /* another one takes what is left of all, and has its least when nothing is */
        flood_texts(s, "liar2", 100, 3000, 1, &stored);
        g_assert_cmpuint(stored, >, 15);
        flood_texts(s, "honest", 40, 1000, 1, &stored);
        g_assert_cmpuint(stored, ==, 40);
        g_assert_cmpint(bytes_of_texts(s), ==, s->texts);
        /* what is known is told on, but takes no more room by what is told of it later */
        BhHalf again = half_of(1);
        g_autofree char *exe = g_strnfill(3000, 'x'), *name = g_strnfill(200, 'n');
        memcpy(exe, "/00000", 6);
        again.exe = exe;
        again.server_name = name;
        again.counts.connections = 1;
        BhStoreMessage m = batch_of(&again, 1, 9);
        must_put(s, "liar", &m, 1);
        g_assert_cmpint(again.id, >, 0);
        g_assert_cmpstr(again.server_name, ==, "");
        bh_store_flows_clear(&m.flows);
        gint64 before = s->texts;
        g_assert_cmpint(bytes_of_texts(s), ==, before);
        bh_store_close(s);
        /* the same after a restart */
        s = open_at(dir, T0);
        flood_texts(s, "new", 1, 100, 1, &stored);
        g_assert_cmpint(bytes_of_texts(s), ==, s->texts);
        g_assert_cmpint(s->texts, >, before);
        bh_store_close(s);
}

static void ports_of_one_container_are_bounded_too(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = open_at(dir, T0);
        g_autoptr(GError) error = NULL;
        const guint n = 3 * BH_STORE_HALVES_PER_CONTAINER;
        g_autofree BhHalf *halves = g_new(BhHalf, n);
        guint64 connections, bytes;

        for (guint i = 0; i < n; i++) {
                halves[i] = half_of(i + 1);
                halves[i].counts.connections = 1;
        }
        BhStoreMessage m = batch_of(halves, n, 1);
        put(s, &m);
        g_auto(Seen) x = seen(s);
        g_assert_cmpuint(x.n, ==, 2 * BH_STORE_HALVES_PER_CONTAINER);
        g_assert_true(bh_store_flow_rest(s, &connections, &bytes, &error));
        g_assert_cmpuint(x.counts.connections + connections, ==, n);
}

static void of_a_node_the_last_boots_are_known(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = open_at(dir, T0);
        g_autoptr(GError) error = NULL;
        gint64 rows;

        for (guint i = 0; i < 3 * BH_STORE_BOOTS_PER_NODE; i++) {
                g_autofree char *boot = g_strdup_printf("boot %u", i);

                for (guint again = 0; again < 2; again++) {
                        BhHalf h = half_of(80);
                        h.counts.connections = 1;
                        BhStoreMessage m = batch_of(&h, 1, 1);
                        m.flows.boot_id = boot;
                        put(s, &m);
                        g_assert_cmpint(m.flows.counted, ==, !again);
                }
        }
        g_assert_true(bh_db_get_int(s->writer, &rows, NULL, &error, "SELECT count(*) FROM flow_positions", ""));
        g_assert_cmpint(rows, ==, BH_STORE_BOOTS_PER_NODE);
}

typedef struct {
        GHashTable *wanted;
        BhHalfCounts counts;
        guint foreign;
} Filtered;

static void take_wanted(gint64 half, gint64 start_s, const BhHalfCounts *c, gpointer data) {
        Filtered *f = data;

        if (g_hash_table_contains(f->wanted, (gpointer) (gsize) half))
                bh_half_counts_add(&f->counts, c);
        else
                f->foreign++;
}

/* Whether few are looked up or all are read: the same as all, of which some are taken. */
static void buckets_of_some_are_those_of_all_that_are_theirs(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = open_at(dir, T0);
        BhHalf halves[40];

        for (guint64 i = 1; i <= 90; i++) {
                the_time = T0 + (gint64) i * 7 * MINUTE_NS;
                for (guint k = 0; k < G_N_ELEMENTS(halves); k++) {
                        halves[k] = half_of(k + 1);
                        halves[k].counts.connections = i * (k + 1);
                }
                BhStoreMessage m = batch_of(halves, G_N_ELEMENTS(halves), i);
                put(s, &m);
        }
        for (guint n = 0; n <= G_N_ELEMENTS(halves); n += n < 3 ? 1 : 12)
                for (guint hours = 1; hours <= 20; hours += 6) {
                        Filtered of = { .wanted = g_hash_table_new(NULL, NULL) }, all = { .wanted = of.wanted };
                        gint64 since = the_time - hours * HOUR_NS, until = the_time + 1, all_since = since, all_until = until;
                        g_autoptr(GError) error = NULL;

                        for (guint k = 0; k < n; k++)
                                g_hash_table_add(of.wanted, (gpointer) (gsize) halves[k].id);
                        g_assert_true(bh_store_flow_buckets_of(s, of.wanted, &since, &until, take_wanted, &of, &error));
                        g_assert_true(bh_store_flow_buckets(s, &all_since, &all_until, take_wanted, &all, &error));
                        g_assert_cmpint(since, ==, all_since);
                        g_assert_cmpint(until, ==, all_until);
                        g_assert_cmpuint(of.foreign, ==, 0);
                        g_assert_cmpint(of.counts.connections > 0, ==, n > 0);
                        g_assert_cmpmem(&of.counts, sizeof(of.counts), &all.counts, sizeof(all.counts));
                        g_hash_table_unref(of.wanted);
                }
}

static void numbers_and_times_beyond_all_bounds_are_kept_sane(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = open_at(dir, T0);

        for (guint i = 0; i < 4; i++) {
                BhHalf h = half_of(80);
                h.counts = (BhHalfCounts){ .connections = G_MAXUINT64, .bytes_in = G_MAXUINT64, .duration_ns = G_MAXUINT64 };
                h.open = h.half_open = h.open_bytes_in = G_MAXUINT64;
                h.first_ns = i % 2 ? G_MAXINT64 : G_MININT64;
                h.last_ns = i % 2 ? G_MININT64 : G_MAXINT64;
                h.exe = "/bin/\xff\xfe<img src=x onerror=alert(1)>\x1b[31m";
                h.peer_name = "\x80name";
                BhStoreMessage m = batch_of(&h, 1, i ? G_MAXUINT64 - 4 + i : 1);
                m.flows.time_ns = G_MININT64;
                m.flows.rest_connections = m.flows.rest_bytes = G_MAXUINT64;
                must_put(s, NODE, &m, 1);
                /* what it became is good behind the transaction */
                g_assert_true(g_utf8_validate(h.exe, -1, NULL) && g_str_has_prefix(h.exe, "/bin/"));
                g_assert_cmpstr(h.node, ==, NODE);
                bh_store_flows_clear(&m.flows);
        }
        g_auto(Seen) x = seen(s);
        g_assert_cmpuint(x.n, ==, 1);
        g_assert_true(g_utf8_validate(x.name, -1, NULL));
        g_assert_cmpuint(x.counts.connections, >, 0);
        g_assert_cmpuint(window(s, T0 - HOUR_NS, T0 + HOUR_NS, NULL, NULL).connections, >, 0);
        g_autoptr(GError) error = NULL;
        guint64 connections, bytes;
        g_assert_true(bh_store_flow_rest(s, &connections, &bytes, &error));
        g_assert_cmpuint(connections, >, 0);
}

static void listeners_are_replaced_and_found(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = open_at(dir, T0);
        g_autoptr(GError) error = NULL;
        BhStoreContainer c = { .id = "c1", .name = "web", .workload = "web", .application = "shop", .state = "running", .level = "full" };
        BhStoreListener three[] = {
                { .container_id = "c1", .exe = "/bin/web", .path = "", .pid = 7, .proto = 6, .port = 80, .ip = { 4, { 0 } }, .first_ns = T0 },
                { .container_id = "", .exe = "/usr/sbin/sshd", .path = "", .pid = 1, .proto = 6, .port = 22, .ip = { 16, { 0 } }, .first_ns = T0 },
                { .container_id = "", .exe = "/usr/bin/dockerd", .path = "/run/docker.sock", .pid = 2, .first_ns = T0 },
        };
        BhStoreMessage m = { .kind = BH_STORE_MESSAGE_LISTENERS, .listeners = { three, 3 } };
        const struct {
                BhStoreListenerFilter f;
                guint n;
        } cases[] = { { { 0 }, 3 }, { { .port = 22 }, 1 }, { { .container_id = "" }, 2 }, { { .application = "shop" }, 1 }, { { .application = "shop", .workload = "db" }, 0 }, { { .node = "x" }, 0 } };

        must_put_containers(s, NODE, FALSE, &c, 1);
        must_put(s, NODE, &m, 1);
        for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(BhStorePage) page = bh_store_listeners(s, &cases[i].f, NULL, 10, &error);

                g_assert_no_error(error);
                g_test_message("case %u", i);
                g_assert_cmpuint(page->rows->len, ==, cases[i].n);
        }
        g_autoptr(BhStorePage) first = bh_store_listeners(s, NULL, NULL, 2, &error);
        g_assert_cmpuint(first->rows->len, ==, 2);
        g_autoptr(BhStorePage) second = bh_store_listeners(s, NULL, first->next, 2, &error);
        g_assert_cmpuint(second->rows->len, ==, 1);
        g_assert_cmpstr(((BhStoreListener *) second->rows->pdata[0])->path, ==, "/run/docker.sock");
        g_assert_null(second->next);
        m.listeners.n_listeners = 1;
        must_put(s, NODE, &m, 1);
        g_autoptr(BhStorePage) now = bh_store_listeners(s, NULL, NULL, 10, &error);
        g_assert_cmpuint(now->rows->len, ==, 1);
}

static void what_grows_most_is_what_goes_at_the_bound(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = open_at(dir, T0);
        g_autoptr(GError) error = NULL;
        BhStoreExpired gone = { 0 };
        BhHalf halves[500];

        for (guint64 i = 1; i <= 60; i++) {
                the_time = T0 + (gint64) i * MINUTE_NS;
                for (guint k = 0; k < 500; k++) {
                        halves[k] = half_of(k + 1);
                        halves[k].counts.connections = 1;
                }
                BhStoreMessage m = batch_of(halves, 500, i);
                put(s, &m);
        }
        g_assert_true(bh_store_expire(s, 0, 900000, &gone, &error));
        g_assert_no_error(error);
        g_assert_cmpuint(gone.buckets, >, 0);
        g_assert_false(gone.still_over);
        /* halves and their totals stay, and the newest minutes */
        g_auto(Seen) x = seen(s);
        g_assert_cmpuint(x.counts.connections, ==, 30000);
        g_assert_cmpuint(window(s, the_time, the_time + 1, NULL, NULL).connections, ==, 500);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/store/flows/" #name, name)
        TEST(a_batch_counts_once);
        TEST(open_connections_count_as_they_grow_and_not_again_at_their_end);
        TEST(a_full_batch_closes_what_it_does_not_know);
        TEST(windows_are_exact_to_the_minute_and_wide_ones_to_the_hour);
        TEST(what_is_told_later_is_kept_with_the_same_half);
        TEST(each_container_has_its_bound_and_nothing_is_lost_beyond);
        TEST(one_node_fills_neither_the_store_nor_the_place_of_others);
        TEST(texts_of_one_node_are_bounded_and_leave_room_for_others);
        TEST(ports_of_one_container_are_bounded_too);
        TEST(of_a_node_the_last_boots_are_known);
        TEST(buckets_of_some_are_those_of_all_that_are_theirs);
        TEST(numbers_and_times_beyond_all_bounds_are_kept_sane);
        TEST(listeners_are_replaced_and_found);
        TEST(what_grows_most_is_what_goes_at_the_bound);
        return g_test_run();
}

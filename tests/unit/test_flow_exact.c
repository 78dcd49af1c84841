/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is told of connections adds up to what they moved, in whatever order events, walks and cuts come, and whatever is found out meanwhile of who is at their ends.
 * Told flows are added up here as the central does it (store/flows.c): bytes of open connections are counted as they grow, and set off when they end.
 */
#include "flow_lines.h"

typedef struct {
        guint64 total, ahead;
} Sum;

/* Bytes out of all halves of that container and role. */
typedef struct {
        GHashTable *halves; /* char * → Sum */
        guint64 connections, through;
} Central;

static void central_init(Central *c) {
        c->halves = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        c->connections = c->through = 0;
}

static void central_clear(Central *c) {
        g_hash_table_unref(c->halves);
}

/* `event`: others of the node's events have come meanwhile, as they do; else a batch may have the number of the one before, and what it adds is not counted. */
static void central_take_after(Central *c, BhFlowTable *t, const char *box, BhFlowRole role, gboolean event) {
        BhFlowCut cut;

        now_us += G_USEC_PER_SEC;
        if (event)
                bh_flow_table_advance(t, ++next_id);
        bh_flow_table_cut(t, FALSE, now_us, &cut);
        gboolean counted = cut.through > c->through;
        if (cut.flows->len)
                c->through = cut.through;
        for (guint i = 0; i < cut.flows->len; i++) {
                const BhFlow *f = &g_array_index(cut.flows, BhFlow, i);
                GString *key = g_string_new(NULL);

                if (strcmp(f->container_id, box) || f->role != role) {
                        g_string_free(key, TRUE);
                        continue;
                }
                g_string_append_printf(key, "%s %u %u %s %u ", f->exe, f->port, f->dialled_port, f->peer_container_id, f->peer_is_host);
                add_ip(key, &f->peer_ip);
                add_ip(key, &f->dialled_ip);
                Sum *s = g_hash_table_lookup(c->halves, key->str);
                if (!s) {
                        s = g_new0(Sum, 1);
                        g_hash_table_insert(c->halves, g_strdup(key->str), s);
                }
                g_string_free(key, TRUE);
                guint64 added = counted ? f->added.bytes_out : 0, sum = added + f->now.bytes_out;
                if (sum >= s->ahead) {
                        s->total += sum - s->ahead;
                        s->ahead = f->now.bytes_out;
                } else {
                        s->ahead -= added;
                }
                c->connections += counted ? f->added.connections : 0;
        }
}

static void central_take(Central *c, BhFlowTable *t, const char *box, BhFlowRole role) {
        central_take_after(c, t, box, role, TRUE);
}

static guint64 central_sum(const Central *c) {
        GHashTableIter it;
        guint64 sum = 0;
        gpointer p;

        g_hash_table_iter_init(&it, c->halves);
        while (g_hash_table_iter_next(&it, NULL, &p))
                sum += ((const Sum *) p)->total;
        return sum;
}

static void walk_one(BhFlowTable *t, const BhFlowSocket *s) {
        bh_flow_table_walk_begin(t, now_ns);
        if (s)
                g_assert_true(bh_flow_table_walk_socket(t, s));
        bh_flow_table_walk_end(t, TRUE);
}

static BhFlowSocket client(const char *exe, guint16 port, const char *to, guint16 to_port, guint64 moved) {
        BhFlowSocket s = socket_of(WEB, exe, "172.18.0.2", port, to, to_port);

        s.role = BH_FLOW_CLIENT;
        s.bytes_out = moved;
        return s;
}

/* A walk that could not say whose it is, and the end that can. */
static void test_program_that_is_known_at_the_end(void) {
        g_autoptr(BhFlowTable) t = table();
        BhFlowSocket s = client("", 40000, "172.18.0.3", 5432, 70);
        Central c;

        central_init(&c);
        walk_one(t, &s);
        central_take(&c, t, WEB, BH_FLOW_CLIENT);
        g_assert_cmpuint(central_sum(&c), ==, 70);
        closed(t, WEB, "/php", TRUE, "172.18.0.2:40000", "172.18.0.3:5432", 100, 0, 0);
        central_take(&c, t, WEB, BH_FLOW_CLIENT);
        g_assert_cmpuint(central_sum(&c), ==, 100);
        /* and nothing of what comes later is set off against it */
        closed(t, WEB, "", TRUE, "172.18.0.2:40001", "172.18.0.3:5432", 5, 0, 0);
        closed(t, WEB, "/php", TRUE, "172.18.0.2:40002", "172.18.0.3:5432", 5, 0, 0);
        central_take(&c, t, WEB, BH_FLOW_CLIENT);
        g_assert_cmpuint(central_sum(&c), ==, 110);
        g_assert_cmpuint(c.connections, ==, 3);
        central_clear(&c);
}

/* A container in the host's network began to listen, and its runtime has not said yet that it is there. */
static void test_peer_that_is_found_out_while_it_is_open(void) {
        g_autoptr(BhFlowTable) t = table();
        BhFlowSocket s = client("/php", 40000, "172.18.0.1", 7200, 70), listener = socket_of(DB, "/hostd", "0.0.0.0", 7200, "0.0.0.0", 0);
        BhContainer *db = container(DB, "host", NULL);

        walk_one(t, &s);
        g_autofree char *before = cut(t, FALSE);
        g_assert_cmpstr(before, ==, "aaaa:/php > 172.18.0.1:7200 [host] @front open=1 oout=70");
        db->host_network = TRUE;
        know(t, container(WEB, "front", "172.18.0.2"), db);
        listener.net_ns = HOST_NS;
        bh_flow_table_walk_begin(t, now_ns);
        s.bytes_out = 90;
        bh_flow_table_walk_socket(t, &s);
        bh_flow_table_walk_socket(t, &listener);
        bh_flow_table_walk_end(t, TRUE);
        expect(t, FALSE, ""); /* what it would add has no number */
        bh_flow_table_advance(t, ++next_id);
        expect(t, FALSE,
               "aaaa:/php > 172.18.0.1:7200 [bbbb] /hostd @front open=1 oout=20\n"
               "aaaa:/php > 172.18.0.1:7200 [host] @front out=70");
        closed(t, WEB, "/php", TRUE, "172.18.0.2:40000", "172.18.0.1:7200", 100, 0, 0);
        closed(t, WEB, "/php", TRUE, "172.18.0.2:40001", "172.18.0.1:7200", 3, 0, 0);
        expect(t, FALSE, "aaaa:/php > 172.18.0.1:7200 [bbbb] /hostd @front n=2 out=33");
}

/* The kernel's word about a translation comes after the connection was told. */
static void test_translation_that_is_told_late(void) {
        g_autoptr(BhFlowTable) t = table();
        BhFlowSocket s = client("/curl", 40000, "10.0.0.5", 8080, 70);
        BhConntrackEntry entry = { .proto = 6, .translated = TRUE, .original = { ip("172.18.0.2"), ip("10.0.0.5"), 40000, 8080 }, .reply = { ip("172.18.0.3"), ip("172.18.0.1"), 80, 61000 } };

        walk_one(t, &s);
        expect(t, FALSE, "aaaa:/curl > 10.0.0.5:8080 [host] @front open=1 oout=70");
        bh_conntrack_apply(bh_flow_table_conntrack(t), &entry, now_us);
        closed(t, WEB, "/curl", TRUE, "172.18.0.2:40000", "10.0.0.5:8080", 100, 0, 0);
        expect(t, FALSE,
               "aaaa:/curl > 10.0.0.5:8080 [host] @front out=70\n"
               "aaaa:/curl > 172.18.0.3:80 via 10.0.0.5:8080 [bbbb] @front n=1 out=30");
}

/* A walk that meets a connection before its event does not say whose it is: the process may have become another program since anybody heard of it. */
static void test_walk_that_is_ahead_of_the_event(void) {
        g_autoptr(BhFlowTable) t = table();
        BhFlowSocket s = client("/runc", 40000, "172.18.0.3", 5432, 70);

        s.fresh = TRUE;
        walk_one(t, &s);
        expect(t, FALSE, "");
        struct bh_event e = event(BH_EV_CONNECT, WEB, "/php", "172.18.0.2:40000", "172.18.0.3:5432");
        bh_flow_table_event(t, &e);
        walk_one(t, &s);
        expect(t, FALSE, "aaaa:/php > 172.18.0.3:5432 [bbbb] @front open=1 oout=70");
}

/* A walk does not meet it any more, and the event of its end comes behind. */
static void test_end_that_comes_after_a_walk_missed_it(void) {
        g_autoptr(BhFlowTable) t = table();
        BhFlowSocket s = client("", 40000, "172.18.0.3", 5432, 70);
        BhFlowStats stats;
        Central c;

        central_init(&c);
        walk_one(t, &s);
        central_take(&c, t, WEB, BH_FLOW_CLIENT);
        now_ns += SECOND_NS;
        walk_one(t, NULL);
        central_take(&c, t, WEB, BH_FLOW_CLIENT);
        closed(t, WEB, "/php", TRUE, "172.18.0.2:40000", "172.18.0.3:5432", 100, 0, 0);
        central_take(&c, t, WEB, BH_FLOW_CLIENT);
        g_assert_cmpuint(central_sum(&c), ==, 100);
        bh_flow_table_stats(t, &stats);
        g_assert_cmpuint(stats.vanished, ==, 0);
        g_assert_cmpuint(stats.conns, ==, 0);
        central_clear(&c);
}

/* accept() was interrupted between the note of the connection and the event of it, while a walk was under way. */
static void test_beginning_that_comes_after_the_end(void) {
        g_autoptr(BhFlowTable) t = table();
        BhFlowSocket s = socket_of(DB, "/postgres", "172.18.0.3", 5432, "172.18.0.2", 40000);
        BhFlowStats stats;
        Central c;

        central_init(&c);
        s.role = BH_FLOW_SERVER;
        s.bytes_out = 100;
        bh_flow_table_walk_begin(t, now_ns);
        closed(t, DB, "/postgres", FALSE, "172.18.0.3:5432", "172.18.0.2:40000", 100, 1, 0);
        now_ns += 1000;
        struct bh_event e = event(BH_EV_ACCEPT, DB, "/postgres", "172.18.0.3:5432", "172.18.0.2:40000");
        bh_flow_table_event(t, &e);
        bh_flow_table_walk_socket(t, &s); /* was read before it ended */
        bh_flow_table_walk_end(t, TRUE);
        central_take(&c, t, DB, BH_FLOW_SERVER);
        g_assert_cmpuint(central_sum(&c), ==, 100);
        bh_flow_table_stats(t, &stats);
        g_assert_cmpuint(stats.conns, ==, 0);
        /* another one of the same ends, a while later, is one */
        now_ns += SECOND_NS;
        e = event(BH_EV_ACCEPT, DB, "/postgres", "172.18.0.3:5432", "172.18.0.2:40000");
        bh_flow_table_event(t, &e);
        bh_flow_table_stats(t, &stats);
        g_assert_cmpuint(stats.conns, ==, 1);
        central_clear(&c);
}

/* Datagrams of which no event tells: a walk has counts of the socket, and nobody tells its end. */
static void test_datagrams_that_only_walks_count(void) {
        g_autoptr(BhFlowTable) t = table();
        BhFlowSocket s = client("/statsd", 40000, "172.18.0.3", 8125, 0);
        BhFlowSilent silent[2];
        gboolean look;
        Central c;

        central_init(&c);
        s.proto = 17;
        s.sk = 77;
        s.role = BH_FLOW_ROLE_NONE;
        walk_one(t, &s);
        g_assert_cmpuint(bh_flow_table_silent_datagrams(t, silent, 2, &look), ==, 1);
        g_assert_true(look);
        g_assert_cmpuint(silent[0].sk, ==, 77);
        s.bytes_out = 500;
        s.packets_out = 5;
        walk_one(t, &s);
        central_take(&c, t, WEB, BH_FLOW_CLIENT);
        g_assert_cmpuint(central_sum(&c), ==, 500);
        /* closed since the last walk: the kernel still has what it had moved */
        now_ns += SECOND_NS;
        bh_flow_table_walk_begin(t, now_ns);
        bh_flow_table_walk_datagrams(t, 77, 800, 0, 8, 0);
        bh_flow_table_walk_end(t, TRUE);
        central_take_after(&c, t, WEB, BH_FLOW_CLIENT, FALSE);
        central_take(&c, t, WEB, BH_FLOW_CLIENT);
        g_assert_cmpuint(central_sum(&c), ==, 800);
        g_assert_cmpuint(bh_flow_table_silent_datagrams(t, silent, 2, &look), ==, 0);

        /* one that moves nothing is looked at now and then; one of which events tell is not */
        s.lport = 40001;
        s.bytes_out = s.packets_out = 0;
        s.sk = 78;
        guint looks = 0;
        for (guint i = 0; i < 60; i++) {
                walk_one(t, &s);
                bh_flow_table_silent_datagrams(t, silent, 2, &look);
                looks += look;
        }
        g_assert_cmpuint(looks, >=, 12);
        g_assert_cmpuint(looks, <=, 18);
        struct bh_event e = event(BH_EV_SEND, WEB, "/statsd", "172.18.0.2:40001", "172.18.0.3:8125");
        BH_SET(&e, proto, 17);
        BH_SET(&e, bytes, 7);
        bh_flow_table_event(t, &e);
        walk_one(t, &s);
        g_assert_cmpuint(bh_flow_table_silent_datagrams(t, silent, 2, &look), ==, 0);
        g_assert_false(look);
        central_take(&c, t, WEB, BH_FLOW_CLIENT);
        g_assert_cmpuint(central_sum(&c), ==, 807);
        central_clear(&c);
}

/* ---- any order ---- */

#define CONNECTIONS 12

typedef struct {
        guint64 total; /* so far */
        gboolean begun, ended;
} Truth;

static BhConntrackEntry translation(guint16 port) {
        return (BhConntrackEntry){ .proto = 6, .translated = TRUE, .original = { ip("172.18.0.2"), ip("10.0.0.5"), port, 7200 }, .reply = { ip("172.18.0.3"), ip("172.18.0.1"), 80, port } };
}

/* One step of the world: connections begin, move and end; walks and cuts come; listeners, executables and translations become known and unknown. */
static void step(BhFlowTable *t, GRand *r, Truth *truth, Central *c, gboolean *listens) {
        guint i = (guint) g_rand_int_range(r, 0, CONNECTIONS);
        g_autofree char *local = g_strdup_printf("172.18.0.2:%u", 40000 + i);
        Truth *x = &truth[i];

        now_ns += g_rand_int_range(r, 1, 1500) * G_GINT64_CONSTANT(1000000);
        switch (g_rand_int_range(r, 0, 8)) {
        case 0:
                if (!x->begun) {
                        struct bh_event e = event(BH_EV_CONNECT, WEB, "/php", local, "10.0.0.5:7200");

                        x->begun = TRUE;
                        if (g_rand_boolean(r)) /* or it was there before */
                                bh_flow_table_event(t, &e);
                }
                break;
        case 1:
        case 2:
                if (x->begun && !x->ended)
                        x->total += (guint64) g_rand_int_range(r, 1, 1000);
                break;
        case 3:
                if (x->begun && !x->ended) {
                        x->ended = TRUE;
                        closed(t, WEB, "/php", TRUE, local, "10.0.0.5:7200", x->total, 0, 0);
                }
                break;
        case 4:
        case 5: {
                BhFlowSocket listener = socket_of(DB, "/hostd", "0.0.0.0", 7200, "0.0.0.0", 0);

                listener.net_ns = HOST_NS;
                bh_flow_table_walk_begin(t, now_ns);
                for (guint k = 0; k < CONNECTIONS; k++) {
                        BhFlowSocket s = client(g_rand_boolean(r) ? "/php" : "", (guint16) (40000 + k), "10.0.0.5", 7200, truth[k].total);

                        if (truth[k].begun && !truth[k].ended)
                                bh_flow_table_walk_socket(t, &s);
                }
                if (*listens)
                        bh_flow_table_walk_socket(t, &listener);
                *listens = g_rand_boolean(r);
                bh_flow_table_walk_end(t, TRUE);
                break;
        }
        case 6: {
                BhConntrackEntry entry = translation((guint16) (40000 + i));

                bh_conntrack_apply(bh_flow_table_conntrack(t), &entry, now_us);
                break;
        }
        default:
                central_take_after(c, t, WEB, BH_FLOW_CLIENT, g_rand_boolean(r));
                break;
        }
}

static void test_any_order_is_exact(void) {
        g_autoptr(GRand) r = g_rand_new_with_seed((guint32) g_test_rand_int());

        for (guint round = 0; round < 400; round++) {
                g_autoptr(BhFlowTable) t = table();
                BhContainer *db = container(DB, "host", NULL);
                Truth truth[CONNECTIONS] = { 0 };
                gboolean listens = FALSE;
                guint64 moved = 0, n = 0;
                Central c;

                central_init(&c);
                db->host_network = TRUE;
                know(t, container(WEB, "front", "172.18.0.2"), db);
                for (guint i = 0; i < 150; i++)
                        step(t, r, truth, &c, &listens);
                for (guint i = 0; i < CONNECTIONS; i++) {
                        g_autofree char *local = g_strdup_printf("172.18.0.2:%u", 40000 + i);

                        if (truth[i].begun && !truth[i].ended)
                                closed(t, WEB, "/php", TRUE, local, "10.0.0.5:7200", truth[i].total, 0, 0);
                        moved += truth[i].total;
                        n += truth[i].begun;
                }
                central_take(&c, t, WEB, BH_FLOW_CLIENT);
                g_assert_cmpuint(central_sum(&c), ==, moved);
                g_assert_cmpuint(c.connections, ==, n);
                GHashTableIter it;
                gpointer p;
                g_hash_table_iter_init(&it, c.halves);
                while (g_hash_table_iter_next(&it, NULL, &p))
                        g_assert_cmpuint(((Sum *) p)->ahead, ==, 0);
                central_clear(&c);
        }
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/flow_exact/program_that_is_known_at_the_end", test_program_that_is_known_at_the_end);
        g_test_add_func("/flow_exact/peer_that_is_found_out_while_it_is_open", test_peer_that_is_found_out_while_it_is_open);
        g_test_add_func("/flow_exact/translation_that_is_told_late", test_translation_that_is_told_late);
        g_test_add_func("/flow_exact/walk_that_is_ahead_of_the_event", test_walk_that_is_ahead_of_the_event);
        g_test_add_func("/flow_exact/end_that_comes_after_a_walk_missed_it", test_end_that_comes_after_a_walk_missed_it);
        g_test_add_func("/flow_exact/beginning_that_comes_after_the_end", test_beginning_that_comes_after_the_end);
        g_test_add_func("/flow_exact/datagrams_that_only_walks_count", test_datagrams_that_only_walks_count);
        g_test_add_func("/flow_exact/any_order_is_exact", test_any_order_is_exact);
        return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The flow table and those who would rather not be on the map: false names, sweeps, what is left of who is gone. */
#include <errno.h>

#include "flow_lines.h"

/* A container that is gone and whose flows are forgotten: its address is nobody's, though no other container has come or gone since. */
static void test_address_of_a_forgotten_container(void) {
        g_autoptr(BhFlowTable) t = table();

        closed(t, DB, "/postgres", FALSE, "172.18.0.3:5432", "198.51.100.1:40000", 1, 1, 0);
        know(t, container(WEB, "front", "172.18.0.2"), NULL);
        expect(t, FALSE, "bbbb:/postgres < 198.51.100.1:5432 [] @front n=1 out=1 in=1");
        now_us += 2 * BH_FLOW_QUIET_US;
        expect(t, FALSE, "");
        closed(t, WEB, "/php", TRUE, "172.18.0.2:40000", "172.18.0.3:5432", 1, 1, 0);
        expect(t, FALSE, "aaaa:/php > 172.18.0.3:5432 [] @front n=1 out=1 in=1");
}

/* What a program says of itself in its name and arguments does not hide where it goes, nor who comes to it. */
static void test_false_docker_proxy_is_told(void) {
        g_autoptr(BhFlowTable) t = table();
        struct bh_event e = event(BH_EV_EXEC, "", "/tmp/docker-proxy", NULL, NULL);
        static const char args[] = "docker-proxy\0-proto\0tcp\0-host-ip\0000.0.0.0\0-host-port\0008081\0-container-ip\000198.51.100.66\0-container-port\000443";

        BH_SET(&e, args, ((struct bh_str){ args, sizeof(args) }));
        bh_flow_table_event(t, &e);
        closed(t, "", "/tmp/docker-proxy", TRUE, "10.0.0.5:50001", "198.51.100.66:443", 7, 100, 0);
        closed(t, "", "/tmp/docker-proxy", TRUE, "10.0.0.5:50002", "172.18.0.3:5432", 7, 100, 0);
        closed(t, "", "/tmp/docker-proxy", FALSE, "10.0.0.5:4444", "198.51.100.66:50000", 8, 200, 0);
        expect(t, FALSE,
               "host:/tmp/docker-proxy < 198.51.100.66:4444 [] n=1 out=8 in=200\n"
               "host:/tmp/docker-proxy > 172.18.0.3:5432 [bbbb] n=1 out=7 in=100\n"
               "host:/tmp/docker-proxy > 198.51.100.66:443 [] n=1 out=7 in=100");
        /* open ones are found by a walk */
        struct bh_event one = event(BH_EV_LISTEN, WEB, "/tick", "172.18.0.2:1", NULL);
        bh_flow_table_event(t, &one);
        BhFlowSocket open = socket_of("", "/tmp/docker-proxy", "10.0.0.5", 50003, "198.51.100.67", 443);
        open.role = BH_FLOW_CLIENT;
        bh_flow_table_walk_begin(t, now_ns);
        bh_flow_table_walk_socket(t, &open);
        bh_flow_table_walk_end(t, TRUE);
        expect(t, FALSE, "host:/tmp/docker-proxy > 198.51.100.67:443 [] open=1");

        /* what came out of a container is no engine's */
        BH_SET(&e, pid, 78);
        BH_SET(&e, flags, BH_RF_GRAFTED);
        guint32 pids[8];
        guint before = bh_flow_table_proxies(t, pids, 8, NULL);
        bh_flow_table_event(t, &e);
        g_assert_cmpuint(bh_flow_table_proxies(t, pids, 8, NULL), ==, before);
}

/* What a server speaks is told of all its flows at once. */
static void test_protocol_of_all_flows_of_a_server(void) {
        g_autoptr(BhFlowTable) t = table();
        BhFlowEnds ends = { .container_id = { DB, 4 }, .proto = 6, .lport = 5432, .rport = 40000 };

        for (guint i = 1; i <= 3; i++) {
                g_autofree char *client = g_strdup_printf("198.51.100.%u:40000", i);

                closed(t, DB, "/postgres", FALSE, "172.18.0.3:5432", client, 1, 1, 0);
        }
        g_autofree char *first = cut(t, FALSE);
        g_assert_null(strstr(first, "postgresql"));
        ends.laddr = ip("172.18.0.3");
        ends.raddr = ip("198.51.100.1");
        g_assert_true(bh_flow_table_set_protocol(t, &ends, "postgresql", NULL, NULL));
        struct bh_event one = event(BH_EV_LISTEN, WEB, "/tick", "172.18.0.2:1", NULL);
        bh_flow_table_event(t, &one);
        expect(t, FALSE,
               "bbbb:/postgres < 198.51.100.1:5432 [] @front (postgresql)\n"
               "bbbb:/postgres < 198.51.100.2:5432 [] @front (postgresql)\n"
               "bbbb:/postgres < 198.51.100.3:5432 [] @front (postgresql)");
}

/* Nothing answers, and the kernel goes on trying for minutes: a walk finds them. More than a container has room for. */
static void test_sweep_without_answers_is_one_flow(void) {
        g_autoptr(BhFlowTable) t = table();
        BhFlowStats stats;

        for (guint i = 0; i < 700; i++) {
                g_autofree char *to = g_strdup_printf("192.0.%u.%u", 2 + i / 200, i % 200);

                try_port(t, to, 22, EINPROGRESS);
        }
        now_ns += 2 * SECOND_NS;
        bh_flow_table_walk_begin(t, now_ns);
        for (guint i = 0; i < 700; i++) {
                g_autofree char *to = g_strdup_printf("192.0.%u.%u", 2 + i / 200, i % 200);
                BhFlowSocket s = socket_of(WEB, "/nmap", "172.18.0.2", 44444, to, 22);

                s.state = 2;
                s.role = BH_FLOW_CLIENT;
                g_assert_true(bh_flow_table_walk_socket(t, &s));
        }
        bh_flow_table_walk_end(t, TRUE);
        g_autofree char *got = cut(t, FALSE);
        /* addresses are told apart by a hash, which a few have in common */
        g_assert_true(g_str_has_prefix(got, "aaaa:/nmap > -:22 [] open=700 half=700 addresses=6") || g_str_has_suffix(got, "addresses=700"));
        g_assert_null(strchr(got, '\n'));
        bh_flow_table_stats(t, &stats);
        g_assert_cmpuint(stats.flows, ==, 1);
        g_assert_cmpuint(stats.scans, ==, 1);
}

/* A few that do not answer are no sweep, nor are many that were only just asked. */
static void test_unanswered_tries_that_are_no_sweep(void) {
        g_autoptr(BhFlowTable) t = table();
        BhFlowStats stats;

        for (guint i = 0; i < 100; i++) {
                g_autofree char *to = g_strdup_printf("192.0.2.%u", i);

                try_port(t, to, 22, EINPROGRESS);
        }
        for (guint walk = 0; walk < 2; walk++) {
                bh_flow_table_walk_begin(t, now_ns);
                for (guint i = 0; i < 100; i++) {
                        g_autofree char *to = g_strdup_printf("192.0.2.%u", i);
                        BhFlowSocket s = socket_of(WEB, "/nmap", "172.18.0.2", 44444, to, 22);

                        s.state = walk && i >= 30 ? 1 : 2; /* most answer in the end */
                        s.role = BH_FLOW_CLIENT;
                        g_assert_true(bh_flow_table_walk_socket(t, &s));
                }
                bh_flow_table_walk_end(t, TRUE);
                now_ns += 4 * SECOND_NS;
        }
        bh_flow_table_stats(t, &stats);
        g_assert_cmpuint(stats.scans, ==, 0);
        g_assert_cmpuint(stats.flows, ==, 100);
}

/* ---- behind many others ---- */

static void stay_open(BhFlowTable *t, guint i) {
        g_autofree char *local = g_strdup_printf("172.18.0.2:%u", 20000 + i), *to = g_strdup_printf("10.%u.%u.9:443", i / 250 + 1, i % 250);
        struct bh_event e = event(BH_EV_CONNECT, WEB, "/decoy", local, to);

        bh_flow_table_event(t, &e);
}

/* As many connections as a container has flows, all of them open, and told. */
static BhFlowTable *table_of_decoys(guint more) {
        BhFlowTable *t = table();

        for (guint i = 0; i < BH_FLOW_MAX_PER_CONTAINER + more; i++)
                stay_open(t, i);
        g_autofree char *told = cut(t, FALSE);
        g_assert_nonnull(strstr(told, "aaaa:/decoy > 10.1.0.9:443"));
        return t;
}

static const char *line_with(const char *lines, const char *what) {
        const char *at = strstr(lines, what);

        while (at && at > lines && at[-1] != '\n')
                at--;
        return at;
}

static void test_new_place_is_not_hidden_by_many(void) {
        g_autoptr(BhFlowTable) t = table_of_decoys(100);

        closed(t, WEB, "/decoy", TRUE, "172.18.0.2:40000", "203.0.113.66:443", 5, 6, 0);
        closed(t, WEB, "/sh", TRUE, "172.18.0.2:40001", "203.0.113.67:4444", 7, 8, 0);
        for (guint i = 0; i < 5; i++) {
                g_autofree char *to = g_strdup_printf("10.77.0.%u:22", i + 1);

                closed(t, WEB, "/ssh", TRUE, "172.18.0.2:40001", to, 1, 1, 0);
        }
        g_autofree char *got = cut(t, FALSE);
        g_assert_nonnull(strstr(got, "aaaa:/decoy > 203.0.113.66:443 [] @front n=1 out=5 in=6"));
        g_assert_nonnull(strstr(got, "aaaa:/sh > 203.0.113.67:4444 [] @front n=1 out=7 in=8"));
        /* another program and port of near ones is another crowd */
        g_assert_nonnull(strstr(got, "aaaa:/ssh > -:22 [] @front n=5 out=5 in=5 addresses=5"));
        g_assert_null(strstr(got, "rest"));
}

static void test_much_is_not_hidden_by_many(void) {
        g_autoptr(BhFlowTable) t = table_of_decoys(0);
        BhFlowSocket s = socket_of(WEB, "/decoy", "172.18.0.2", 41000, "198.18.9.9", 443);
        BhFlowStats stats;
        BhFlowCrowd crowd = { 0 };

        /* all that new places have is used up, and what is large by those who move some */
        for (guint i = 0; i < 3000; i++) {
                g_autofree char *to = g_strdup_printf("198.51.%u.%u:443", i / 250, i % 250);

                closed(t, WEB, "/decoy", TRUE, "172.18.0.2:40000", to, i < 200 ? 300000 : 10, 1, 0);
        }
        g_autofree char *before = cut(t, FALSE);
        g_assert_null(strstr(before, "rest"));
        closed(t, WEB, "/decoy", TRUE, "172.18.0.2:40000", "203.0.113.66:443", 50000000, 6, 0);
        /* one that stays open: what is told of it before it is large is not told again */
        s.role = BH_FLOW_CLIENT;
        s.bytes_out = 1000;
        bh_flow_table_walk_begin(t, now_ns);
        bh_flow_table_walk_socket(t, &s);
        bh_flow_table_walk_end(t, FALSE);
        g_autofree char *first = cut(t, FALSE);
        g_assert_nonnull(strstr(first, "aaaa:/decoy > 203.0.113.66:443 [] @front n=1 out=50000000 in=6"));
        g_assert_true(g_str_has_prefix(line_with(first, "oout=1000"), "aaaa:/decoy > -:443 [] @front open=1 oout=1000"));
        s.bytes_out = 70000000;
        bh_flow_table_walk_begin(t, now_ns);
        bh_flow_table_walk_socket(t, &s);
        bh_flow_table_walk_end(t, FALSE);
        bh_flow_table_advance(t, ++next_id);
        g_autofree char *second = cut(t, FALSE);
        g_assert_nonnull(strstr(second, "aaaa:/decoy > 198.18.9.9:443 [] @front open=1 oout=69999000"));
        g_assert_nonnull(strstr(second, "aaaa:/decoy > -:443 [] @front out=1000"));
        closed(t, WEB, "/decoy", TRUE, "172.18.0.2:41000", "198.18.9.9:443", 80000000, 6, 0);
        expect(t, FALSE, "aaaa:/decoy > 198.18.9.9:443 [] @front n=1 out=79999000 in=6");
        bh_flow_table_stats(t, &stats);
        g_assert_cmpuint(stats.flows, <, BH_FLOW_MAX_PER_CONTAINER + 250);
        g_assert_cmpuint(stats.rest_connections, ==, 0);

        /* and it is said, once, that there are more than are told apart */
        g_assert_true(bh_flow_table_next_crowd(t, &crowd));
        g_assert_cmpstr(crowd.container_id, ==, WEB);
        g_assert_cmpstr(crowd.exe, ==, "/decoy");
        g_assert_cmpuint(crowd.port, ==, 443);
        g_assert_cmpuint(crowd.peers, >, 2000);
        g_assert_nonnull(strstr(crowd.newest, "198.18.9.9, 203.0.113.66, 198.51.11.249"));
        bh_flow_crowd_clear(&crowd);
        g_assert_false(bh_flow_table_next_crowd(t, &crowd));
}

/* A server with many visitors is one flow of all that find no place, with their number. */
static void test_many_visitors_are_counted(void) {
        g_autoptr(BhFlowTable) t = table();
        BhFlowCrowd crowd;

        for (guint i = 0; i < 2000; i++) {
                g_autofree char *from = g_strdup_printf("198.51.%u.%u:40000", i / 250, i % 250);

                closed(t, DB, "/nginx", FALSE, "172.18.0.3:443", from, 3, 1, 0);
        }
        g_autofree char *got = cut(t, FALSE);
        g_assert_nonnull(strstr(got, "bbbb:/nginx < -:443 [] @front n=1488 out=4464 in=1488 addresses=1"));
        g_assert_null(strstr(got, "rest"));
        /* which is what servers are there for */
        g_assert_false(bh_flow_table_next_crowd(t, &crowd));
}

/* ---- false names ---- */

static void answer(BhFlowTable *t, const char *box, const char *resolver, const char *name, const char *record) {
        struct bh_event e = event(BH_EV_DNS, box, "/curl", "172.18.0.2:50000", resolver);
        g_autofree char *question = g_strdup_printf("%s.", name);

        BH_SET(&e, proto, 17);
        BH_SET_STR(&e, dns_type, "response");
        BH_SET_STR(&e, dns_question, question);
        BH_SET(&e, dns_answers, ((struct bh_str){ record, (guint32) strlen(record) + 1 }));
        BH_SET(&e, outgoing, FALSE);
        bh_flow_table_event(t, &e);
        now_ns += 1000000;
}

static void visit(BhFlowTable *t, const char *box, const char *local, const char *to) {
        closed(t, box, "/curl", TRUE, local, to, 1, 1, 0);
}

/* A container that asks a server of its own gets any name for any address: it hides behind none, and others are not concerned. */
static void test_names_of_the_asker_s_own(void) {
        g_autoptr(BhFlowTable) t = table();

        answer(t, WEB, "127.0.0.11:53", "db", "A 203.0.113.1");
        answer(t, WEB, "127.0.0.11:53", "backup.shop.internal", "A 203.0.113.2");
        answer(t, WEB, "127.0.0.11:53", "printer.local", "AAAA 2001:db8::5");
        answer(t, WEB, "127.0.0.11:53", "billing.shop.internal", "A 10.9.9.9");
        answer(t, WEB, "127.0.0.1:53", "updates.example.com", "A 203.0.113.3");
        answer(t, "", "127.0.0.53:53", "deb.example.com", "A 203.0.113.4");
        for (guint i = 1; i <= 4; i++) {
                g_autofree char *to = g_strdup_printf("203.0.113.%u:443", i);

                visit(t, i < 4 ? WEB : "", i < 4 ? "172.18.0.2:40000" : "10.0.0.5:40000", to);
        }
        visit(t, WEB, "172.18.0.2:40000", "10.9.9.9:443");
        visit(t, DB, "172.18.0.3:40000", "203.0.113.3:443");
        expect(t, FALSE,
               "aaaa:/curl > 10.9.9.9:443 [] \"billing.shop.internal\" @front n=1 out=1 in=1\n"
               "aaaa:/curl > 203.0.113.1:443 [] @front n=1 out=1 in=1\n"
               "aaaa:/curl > 203.0.113.2:443 [] @front n=1 out=1 in=1\n"
               "aaaa:/curl > 203.0.113.3:443 [] \"updates.example.com (says 127.0.0.1)\" @front n=1 out=1 in=1\n"
               "bbbb:/curl > 203.0.113.3:443 [] @front n=1 out=1 in=1\n"
               "host:/curl > 203.0.113.4:443 [] \"deb.example.com\" n=1 out=1 in=1");
}

static char *name_of_flow(BhFlowTable *t) {
        visit(t, WEB, "172.18.0.2:40000", "203.0.113.9:443");
        g_autofree char *got = cut(t, FALSE);
        char **parts = g_strsplit(got, "\"", 3);
        char *name = g_strdup(parts[1]);

        g_strfreev(parts);
        return name;
}

/* One address under ever new names is one place, by one of them and who says so. */
static void test_many_names_of_one_address(void) {
        g_autoptr(BhFlowTable) t = table();

        for (guint i = 0; i < 8; i++) {
                g_autofree char *name = g_strdup_printf("n%u.example.com", i);

                answer(t, WEB, "198.51.100.53:53", name, "A 203.0.113.9");
        }
        g_autofree char *some = name_of_flow(t);
        g_assert_cmpstr(some, ==, "n7.example.com");
        for (guint i = 8; i < 50; i++) {
                g_autofree char *name = g_strdup_printf("n%u.example.com", i);

                answer(t, WEB, "198.51.100.53:53", name, "A 203.0.113.9");
        }
        g_autofree char *many = name_of_flow(t);
        g_assert_cmpstr(many, ==, "n7.example.com (says 198.51.100.53)");
        /* no longer at it, or another resolver: believed again */
        now_ns += 2 * BH_FLOW_NAMES_WINDOW_NS;
        answer(t, WEB, "198.51.100.53:53", "again.example.com", "A 203.0.113.9");
        g_autofree char *again = name_of_flow(t);
        g_assert_cmpstr(again, ==, "again.example.com");
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/flow_hiding/address_of_a_forgotten_container", test_address_of_a_forgotten_container);
        g_test_add_func("/flow_hiding/false_docker_proxy_is_told", test_false_docker_proxy_is_told);
        g_test_add_func("/flow_hiding/protocol_of_all_flows_of_a_server", test_protocol_of_all_flows_of_a_server);
        g_test_add_func("/flow_hiding/sweep_without_answers_is_one_flow", test_sweep_without_answers_is_one_flow);
        g_test_add_func("/flow_hiding/unanswered_tries_that_are_no_sweep", test_unanswered_tries_that_are_no_sweep);
        g_test_add_func("/flow_hiding/new_place_is_not_hidden_by_many", test_new_place_is_not_hidden_by_many);
        g_test_add_func("/flow_hiding/much_is_not_hidden_by_many", test_much_is_not_hidden_by_many);
        g_test_add_func("/flow_hiding/many_visitors_are_counted", test_many_visitors_are_counted);
        g_test_add_func("/flow_hiding/names_of_the_asker_s_own", test_names_of_the_asker_s_own);
        g_test_add_func("/flow_hiding/many_names_of_one_address", test_many_names_of_one_address);
        return g_test_run();
}

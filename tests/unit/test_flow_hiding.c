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
        g_assert_true(bh_flow_table_set_protocol(t, &ends, "postgresql", NULL));
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

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/flow_hiding/address_of_a_forgotten_container", test_address_of_a_forgotten_container);
        g_test_add_func("/flow_hiding/false_docker_proxy_is_told", test_false_docker_proxy_is_told);
        g_test_add_func("/flow_hiding/protocol_of_all_flows_of_a_server", test_protocol_of_all_flows_of_a_server);
        g_test_add_func("/flow_hiding/sweep_without_answers_is_one_flow", test_sweep_without_answers_is_one_flow);
        g_test_add_func("/flow_hiding/unanswered_tries_that_are_no_sweep", test_unanswered_tries_that_are_no_sweep);
        return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The flow table, from events and walks to cuts. A flow is compared as one line of text. */
#include <errno.h>
#include <malloc.h>

#include "flow_lines.h"

/* ---- connections ---- */

static void test_both_ends_of_a_connection(void) {
        g_autoptr(BhFlowTable) t = table();

        g_assert_true(closed(t, WEB, "/php", TRUE, "172.18.0.2:40000", "172.18.0.3:5432", 10, 20, 0));
        closed(t, DB, "/postgres", FALSE, "172.18.0.3:5432", "172.18.0.2:40000", 20, 10, 0);
        closed(t, WEB, "/php", TRUE, "172.18.0.2:40001", "172.18.0.3:5432", 1, 2, 0);
        expect(t, FALSE,
               "aaaa:/php > 172.18.0.3:5432 [bbbb] @front n=2 out=11 in=22\n"
               "bbbb:/postgres < 172.18.0.2:5432 [aaaa] @front n=1 out=20 in=10");
        expect(t, FALSE, "");
        g_assert_false(closed(t, WEB, "/php", TRUE, "172.18.0.2:40002", "172.18.0.3:5432", 1, 2, -ECONNRESET));
        expect(t, FALSE, "aaaa:/php > 172.18.0.3:5432 [bbbb] @front n=1 reset=1 out=1 in=2");
}

static void test_mapped_addresses_are_ipv4(void) {
        g_autoptr(BhFlowTable) t = table();
        struct bh_event e = event(BH_EV_NET_CLOSE, WEB, "/java", NULL, NULL);

        BH_SET(&e, family, AF_INET6);
        BH_SET(&e, laddr, ip("::ffff:172.18.0.2"));
        BH_SET(&e, raddr, ip("::ffff:172.18.0.3"));
        BH_SET(&e, lport, 40000);
        BH_SET(&e, rport, 5432);
        BH_SET(&e, outgoing, TRUE);
        bh_flow_table_event(t, &e);
        expect(t, FALSE, "aaaa:/java > 172.18.0.3:5432 [bbbb] @front n=1");
}

static void test_failures_by_kind_after_a_while(void) {
        g_autoptr(BhFlowTable) t = table();
        static const int errors[] = { ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, EADDRNOTAVAIL, EINPROGRESS, EINTR };

        for (guint i = 0; i < G_N_ELEMENTS(errors) - 2; i++) {
                struct bh_event e = event(BH_EV_CONNECT, WEB, "/curl", NULL, "172.18.0.3:81");

                BH_SET(&e, ret, -errors[i]);
                BH_SET(&e, count, 2);
                bh_flow_table_event(t, &e);
        }
        closed(t, WEB, "/curl", TRUE, "172.18.0.2:40000", "172.18.0.3:81", 0, 0, -ECONNREFUSED);
        expect(t, FALSE, "");
        for (guint i = 0; i < 4; i++) {
                closed(t, WEB, "/x", TRUE, "172.18.0.2:40000", "172.18.0.3:9", 0, 0, 0);
                g_autofree char *got = cut(t, FALSE);
                if (strstr(got, ":81")) {
                        g_assert_nonnull(strstr(got, "aaaa:/curl > 172.18.0.3:81 [bbbb] @front refused=3 timed=2 unreach=4 failed=2"));
                        return;
                }
        }
        g_assert_not_reached();
}

static void test_outside_has_the_name_that_was_asked_for(void) {
        g_autoptr(BhFlowTable) t = table();
        struct bh_event e = event(BH_EV_DNS, WEB, "/curl", "172.18.0.2:50000", "127.0.0.11:53");
        static const char answers[] = "CNAME edge.example.net\0A 192.0.2.7\0AAAA 2001:db8::7";

        BH_SET(&e, proto, 17);
        BH_SET_STR(&e, dns_type, "response");
        BH_SET_STR(&e, dns_question, "API.example.com.");
        BH_SET(&e, dns_answers, ((struct bh_str){ answers, sizeof(answers) }));
        BH_SET(&e, outgoing, FALSE);
        bh_flow_table_event(t, &e);
        closed(t, WEB, "/curl", TRUE, "172.18.0.2:40000", "192.0.2.7:443", 1, 1, 0);
        closed(t, DB, "/curl", TRUE, "172.18.0.3:40000", "192.0.2.7:443", 1, 1, 0);
        expect(t, FALSE,
               "aaaa:/curl > 192.0.2.7:443 [] \"api.example.com\" @front n=1 out=1 in=1\n"
               "bbbb:/curl > 192.0.2.7:443 [] @front n=1 out=1 in=1");
}

static void send_or_receive(BhFlowTable *t, guint32 type, const char *box, const char *exe, const char *local, const char *remote, guint64 bytes, guint32 count) {
        struct bh_event e = event(type, box, exe, local, remote);

        BH_SET(&e, proto, 17);
        BH_SET(&e, bytes, bytes);
        BH_SET(&e, count, count);
        bh_flow_table_event(t, &e);
}

static void test_datagrams_and_dockers_resolver(void) {
        g_autoptr(BhFlowTable) t = table();

        send_or_receive(t, BH_EV_SEND, WEB, "/app", "172.18.0.2:50000", "172.18.0.3:8125", 300, 3);
        send_or_receive(t, BH_EV_RECV, DB, "/statsd", "172.18.0.3:8125", "172.18.0.2:50000", 300, 3);
        send_or_receive(t, BH_EV_SEND, DB, "/statsd", "172.18.0.3:8125", "172.18.0.2:50000", 10, 1);
        send_or_receive(t, BH_EV_RECV, WEB, "/app", "172.18.0.2:50000", "172.18.0.3:8125", 10, 1);
        send_or_receive(t, BH_EV_SEND, WEB, "/app", "127.0.0.1:50001", "127.0.0.11:53", 40, 1);
        /* nothing tells who serves: who is heard of first, and both ways are one */
        send_or_receive(t, BH_EV_RECV, DB, "/peer", "172.18.0.3:7000", "172.18.0.2:7001", 5, 1);
        send_or_receive(t, BH_EV_SEND, DB, "/peer", "172.18.0.3:7000", "172.18.0.2:7001", 6, 1);
        /* received without asking from whom */
        send_or_receive(t, BH_EV_SEND, WEB, "/recv", "172.18.0.2:50003", "172.18.0.3:8125", 1, 1);
        send_or_receive(t, BH_EV_RECV, WEB, "/recv", "0.0.0.0:50003", NULL, 9, 2);
        send_or_receive(t, BH_EV_RECV, WEB, "/recv", "0.0.0.0:50004", NULL, 9, 2);
        expect(t, FALSE,
               "aaaa:/app > 127.0.0.11:53/udp [host] \"docker-dns\" out=40\n"
               "aaaa:/app > 172.18.0.3:8125/udp [bbbb] @front out=300 in=10\n"
               "aaaa:/recv > 172.18.0.3:8125/udp [bbbb] @front out=1 in=9\n"
               "bbbb:/peer < 172.18.0.2:7000/udp [aaaa] @front out=6 in=5\n"
               "bbbb:/statsd < 172.18.0.2:8125/udp [aaaa] @front out=10 in=300");
}

static void test_unix_sockets(void) {
        g_autoptr(BhFlowTable) t = table();
        struct bh_event e = event(BH_EV_CONNECT, WEB, "/php", NULL, NULL);

        BH_SET(&e, family, AF_UNIX);
        BH_SET_STR(&e, path, "/run/docker.sock");
        BH_SET(&e, target_pid, 9);
        BH_SET_STR(&e, target_exe, "/usr/bin/dockerd");
        BH_SET(&e, count, 4);
        bh_flow_table_event(t, &e);

        struct bh_event accept = event(BH_EV_ACCEPT, DB, "/mysqld", NULL, NULL);
        BH_SET(&accept, family, AF_UNIX);
        BH_SET_STR(&accept, path, "@sock");
        BH_SET(&accept, target_pid, 12);
        BH_SET_STR(&accept, target_container_id, WEB);
        bh_flow_table_event(t, &accept);

        struct bh_event host = event(BH_EV_CONNECT, "", "/systemctl", NULL, NULL);
        BH_SET(&host, family, AF_UNIX);
        BH_SET_STR(&host, path, "/run/dbus");
        BH_SET(&host, target_pid, 1);
        bh_flow_table_event(t, &host);
        expect(t, FALSE,
               "aaaa:/php > /run/docker.sock [host] /usr/bin/dockerd n=4\n"
               "bbbb:/mysqld < @sock [aaaa] n=1");

        /* what they moved comes to the same flows; it is told with the next event, as a batch without one adds nothing */
        BhFlowUnix asked = { .container_id = WEB, .exe = "/php", .role = BH_FLOW_CLIENT, .path = "/run/docker.sock", .peer_known = TRUE, .peer_container_id = "", .peer_exe = "/usr/bin/dockerd",
                             .bytes_out = 70, .messages_out = 2, .first_ns = 1, .last_ns = 2 };
        BhFlowUnix answered = { .container_id = DB, .exe = "/mysqld", .role = BH_FLOW_SERVER, .path = "@sock", .peer_known = TRUE, .peer_container_id = WEB, .bytes_out = 900, .messages_out = 1,
                                .first_ns = 1, .last_ns = 2 };
        BhFlowUnix own = { .container_id = "", .exe = "/systemctl", .role = BH_FLOW_CLIENT, .path = "/run/dbus", .peer_known = TRUE, .bytes_out = 5, .messages_out = 1, .first_ns = 1, .last_ns = 2 };
        bh_flow_table_unix_moved(t, &asked);
        bh_flow_table_unix_moved(t, &answered);
        bh_flow_table_unix_moved(t, &own);
        expect(t, FALSE, "");
        BH_SET(&e, id, ++next_id);
        BH_SET(&e, count, 1);
        bh_flow_table_event(t, &e);
        expect(t, FALSE,
               "aaaa:/php > /run/docker.sock [host] /usr/bin/dockerd n=1 out=70\n"
               "bbbb:/mysqld < @sock [aaaa] out=900");
}

/* ---- translations ---- */

static void test_conntrack_is_undone_on_both_ends(void) {
        g_autoptr(BhFlowTable) t = table();
        BhConntrackEntry entry = {
                .proto = 6,
                .translated = TRUE,
                .original = { ip("172.18.0.2"), ip("10.0.0.5"), 40000, 8080 },
                .reply = { ip("172.18.0.3"), ip("172.18.0.1"), 80, 61000 },
        };

        bh_conntrack_apply(bh_flow_table_conntrack(t), &entry, now_us);
        closed(t, WEB, "/curl", TRUE, "172.18.0.2:40000", "10.0.0.5:8080", 3, 4, 0);
        closed(t, DB, "/nginx", FALSE, "172.18.0.3:80", "172.18.0.1:61000", 4, 3, 0);
        expect(t, FALSE,
               "aaaa:/curl > 172.18.0.3:80 via 10.0.0.5:8080 [bbbb] @front n=1 out=3 in=4\n"
               "bbbb:/nginx < 172.18.0.2:80 via 10.0.0.5:8080 [aaaa] @front n=1 out=4 in=3");
}

static void start_proxy(BhFlowTable *t) {
        struct bh_event e = event(BH_EV_EXEC, "", "/usr/bin/docker-proxy", NULL, NULL);
        static const char args[] = "docker-proxy\0-proto\0tcp\0-host-ip\0000.0.0.0\0-host-port\0008080\0-container-ip\000172.18.0.3\0-container-port\00080";

        BH_SET(&e, args, ((struct bh_str){ args, sizeof(args) }));
        bh_flow_table_event(t, &e);
}

/* Outside and a container of this node through docker-proxy at once: each server's connection has its own client, and the proxy is nobody. */
static void test_docker_proxy_is_seen_through(void) {
        g_autoptr(BhFlowTable) t = table();

        start_proxy(t);
        closed(t, WEB, "/curl", TRUE, "172.18.0.2:41000", "10.0.0.5:8080", 100, 7, 0);
        /* the ends of connections in any order */
        closed(t, DB, "/nginx", FALSE, "172.18.0.3:80", "172.18.0.1:50001", 7, 100, 0);
        closed(t, DB, "/nginx", FALSE, "172.18.0.3:80", "172.18.0.1:50002", 8, 200, 0);
        closed(t, "", "/usr/bin/docker-proxy", FALSE, "10.0.0.5:8080", "198.51.100.9:5555", 8, 200, 0);
        closed(t, "", "/usr/bin/docker-proxy", TRUE, "172.18.0.1:50002", "172.18.0.3:80", 200, 8, 0);
        closed(t, "", "/usr/bin/docker-proxy", TRUE, "172.18.0.1:50001", "172.18.0.3:80", 100, 7, 0);
        closed(t, "", "/usr/bin/docker-proxy", FALSE, "10.0.0.5:8080", "172.18.0.2:41000", 7, 100, 0);
        /* who goes there directly is not taken for it */
        closed(t, DB, "/nginx", FALSE, "172.18.0.3:80", "172.18.0.1:50003", 1, 1, 0);
        closed(t, "", "/usr/bin/wget", TRUE, "172.18.0.1:50003", "172.18.0.3:80", 1, 1, 0);
        /* and the host's own through the published port */
        closed(t, "", "/usr/bin/wget", TRUE, "127.0.0.1:50009", "127.0.0.1:8080", 2, 2, 0);
        expect(t, FALSE,
               "aaaa:/curl > 172.18.0.3:80 via 10.0.0.5:8080 [bbbb] @front n=1 out=100 in=7\n"
               "bbbb:/nginx < 172.18.0.1:80 [host] /usr/bin/wget @front n=1 out=1 in=1\n"
               "bbbb:/nginx < 172.18.0.2:80 via 10.0.0.5:8080 [aaaa] @front n=1 out=7 in=100\n"
               "bbbb:/nginx < 198.51.100.9:80 via 10.0.0.5:8080 [] @front n=1 out=8 in=200\n"
               "host:/usr/bin/wget > 172.18.0.3:80 [bbbb] n=1 out=1 in=1\n"
               "host:/usr/bin/wget > 172.18.0.3:80 via 127.0.0.1:8080 [bbbb] n=1 out=2 in=2");
        BhFlowStats stats;
        bh_flow_table_stats(t, &stats);
        g_assert_cmpuint(stats.unpaired, ==, 0);
}

/* Two engines, each with a network namespace of its own, publish the same port. */
static void test_docker_proxies_on_one_port(void) {
        g_autoptr(BhFlowTable) t = table();
        struct bh_event e = event(BH_EV_EXEC, "", "/usr/bin/docker-proxy", NULL, NULL);
        static const char args[] = "docker-proxy\0-proto\0tcp\0-host-ip\000127.0.0.1\0-host-port\0008080\0-container-ip\00010.99.0.9\0-container-port\00081";
        guint32 pids[4];

        start_proxy(t);
        BH_SET(&e, args, ((struct bh_str){ args, sizeof(args) }));
        BH_SET(&e, pid, 78);
        bh_flow_table_event(t, &e);
        g_assert_cmpuint(bh_flow_table_proxies(t, pids, 4, NULL), ==, 2);
        bh_flow_table_proxy_namespace(t, 77, HOST_NS);
        bh_flow_table_proxy_namespace(t, 78, 99);
        closed(t, "", "/usr/bin/wget", TRUE, "127.0.0.1:50009", "127.0.0.1:8080", 2, 2, 0);
        expect(t, FALSE, "host:/usr/bin/wget > 172.18.0.3:80 via 127.0.0.1:8080 [bbbb] n=1 out=2 in=2");
}

static void test_published_port_without_conntrack(void) {
        g_autoptr(BhFlowTable) t = table();
        BhContainer *c = container(DB, "front", "172.18.0.3");
        BhPort port = { .host_ip = g_strdup("0.0.0.0"), .protocol = "tcp", .container_port = 80, .host_port = 8080 };

        g_array_append_val(c->ports, port);
        know(t, container(WEB, "front", "172.18.0.2"), c);
        closed(t, WEB, "/curl", TRUE, "172.18.0.2:40000", "10.0.0.5:8080", 3, 4, 0);
        closed(t, WEB, "/curl", TRUE, "172.18.0.2:40001", "198.51.100.1:8080", 3, 4, 0); /* somebody else's port of that number */
        expect(t, FALSE,
               "aaaa:/curl > 172.18.0.3:80 via 10.0.0.5:8080 [bbbb] @front n=1 out=3 in=4\n"
               "aaaa:/curl > 198.51.100.1:8080 [] @front n=1 out=3 in=4");
}

/* ---- who is at the other end ---- */

static void test_host_and_loopback(void) {
        g_autoptr(BhFlowTable) t = table();

        /* the host to a container, and back */
        closed(t, DB, "/postgres", FALSE, "172.18.0.3:5432", "172.18.0.1:40000", 2, 1, 0);
        closed(t, "", "/usr/bin/psql", TRUE, "172.18.0.1:40000", "172.18.0.3:5432", 1, 2, 0);
        closed(t, WEB, "/agent", TRUE, "172.18.0.2:40001", "10.0.0.5:9100", 1, 1, 0);
        closed(t, "", "/usr/bin/exporter", FALSE, "10.0.0.5:9100", "172.18.0.2:40001", 1, 1, 0);
        /* a container with itself, the host with itself */
        closed(t, WEB, "/php", TRUE, "127.0.0.1:40002", "127.0.0.1:9000", 5, 5, 0);
        closed(t, WEB, "/fpm", FALSE, "127.0.0.1:9000", "127.0.0.1:40002", 5, 5, 0);
        closed(t, "", "/a", TRUE, "127.0.0.1:40003", "127.0.0.1:631", 5, 5, 0);
        closed(t, "", "/b", FALSE, "127.0.0.1:631", "127.0.0.1:40003", 5, 5, 0);
        /* the host with the world */
        closed(t, "", "/sshd", FALSE, "10.0.0.5:22", "198.51.100.3:999", 5, 5, 0);
        expect(t, FALSE,
               "aaaa:/agent > 10.0.0.5:9100 [host] @front n=1 out=1 in=1\n"
               "aaaa:/fpm < 127.0.0.1:9000 [aaaa] n=1 out=5 in=5\n"
               "aaaa:/php > 127.0.0.1:9000 [aaaa] n=1 out=5 in=5\n"
               "bbbb:/postgres < 172.18.0.1:5432 [host] /usr/bin/psql @front n=1 out=2 in=1\n"
               "host:/sshd < 198.51.100.3:22 [] n=1 out=5 in=5\n"
               "host:/usr/bin/exporter < 172.18.0.2:9100 [aaaa] n=1 out=1 in=1\n"
               "host:/usr/bin/psql > 172.18.0.3:5432 [bbbb] n=1 out=1 in=2");
}

static void test_address_that_moves_to_another_container(void) {
        g_autoptr(BhFlowTable) t = table();
        BhContainer *ended = container(DB, "front", NULL);

        ended->state = BH_CONTAINER_EXITED;
        know(t, container(WEB, "front", "172.18.0.2"), ended);
        closed(t, WEB, "/php", TRUE, "172.18.0.2:40000", "172.18.0.3:5432", 1, 1, 0); /* its last moments */
        expect(t, FALSE, "aaaa:/php > 172.18.0.3:5432 [bbbb] @front n=1 out=1 in=1");
        /* the next one has it, and nobody says so yet */
        know(t, container(WEB, "front", "172.18.0.2"), container("cccc", "front", NULL));
        closed(t, "cccc", "/postgres", FALSE, "172.18.0.3:5432", "172.18.0.2:40000", 1, 1, 0);
        closed(t, WEB, "/php", TRUE, "172.18.0.2:40000", "172.18.0.3:5432", 1, 1, 0);
        expect(t, FALSE,
               "aaaa:/php > 172.18.0.3:5432 [cccc] @front n=1 out=1 in=1\n"
               "cccc:/postgres < 172.18.0.2:5432 [aaaa] n=1 out=1 in=1");
        know(t, container(WEB, "front", "172.18.0.2"), container("cccc", "front", "172.18.0.3"));
        closed(t, WEB, "/php", TRUE, "172.18.0.2:40001", "172.18.0.3:5432", 1, 1, 0);
        expect(t, FALSE, "aaaa:/php > 172.18.0.3:5432 [cccc] @front n=1 out=1 in=1");
}

/* ---- walks ---- */

static void test_open_connections_from_before_the_start(void) {
        g_autoptr(BhFlowTable) t = table();
        BhFlowSocket listener = socket_of(DB, "/postgres", "0.0.0.0", 5432, "0.0.0.0", 0), client = socket_of(WEB, "/php", "172.18.0.2", 40000, "172.18.0.3", 5432),
                     server = socket_of(DB, "/postgres", "172.18.0.3", 5432, "172.18.0.2", 40000), half = socket_of(WEB, "/php", "172.18.0.2", 40001, "192.0.2.1", 25);
        gboolean changed;

        client.bytes_out = server.bytes_in = 11;
        client.bytes_in = server.bytes_out = 22;
        half.state = 2;
        half.role = BH_FLOW_CLIENT;
        bh_flow_table_walk_begin(t, now_ns);
        BhFlowSocket unknown = client;
        unknown.exe = NULL;
        g_assert_false(bh_flow_table_walk_socket(t, &unknown));
        g_assert_true(bh_flow_table_walk_socket(t, &server));
        g_assert_true(bh_flow_table_walk_socket(t, &client));
        g_assert_true(bh_flow_table_walk_socket(t, &half));
        g_assert_true(bh_flow_table_walk_socket(t, &listener));
        bh_flow_table_walk_end(t, TRUE);
        g_assert_true(bh_flow_table_walk_socket(t, &unknown));
        expect(t, TRUE,
               "aaaa:/php > 172.18.0.3:5432 [bbbb] /postgres @front open=1 oout=11 oin=22\n"
               "aaaa:/php > 192.0.2.1:25 [] @front open=1 half=1\n"
               "bbbb:/postgres < 172.18.0.2:5432 [aaaa] @front open=1 oout=22 oin=11");
        const GArray *listeners = bh_flow_table_listeners(t, &changed);
        g_assert_true(changed);
        g_assert_cmpuint(listeners->len, ==, 1);
        g_assert_cmpstr(g_array_index(listeners, BhFlowListener, 0).exe, ==, "/postgres");
        bh_flow_table_listeners(t, &changed);
        g_assert_false(changed);

        /* their end is counted whole, and they are open no more; what a walk does not see is gone */
        closed(t, WEB, "/php", TRUE, "172.18.0.2:40000", "172.18.0.3:5432", 12, 23, 0);
        bh_flow_table_walk_begin(t, now_ns);
        client.bytes_out = 99;
        bh_flow_table_walk_socket(t, &client); /* was read before it ended */
        bh_flow_table_walk_end(t, TRUE);
        expect(t, FALSE, "aaaa:/php > 172.18.0.3:5432 [bbbb] @front n=1 out=12 in=23");
        /* the event of its end may be on its way, for a while */
        now_ns += 2 * SECOND_NS;
        bh_flow_table_walk_begin(t, now_ns);
        bh_flow_table_walk_end(t, TRUE);
        expect(t, FALSE,
               "aaaa:/php > 192.0.2.1:25 [] @front\n"
               "bbbb:/postgres < 172.18.0.2:5432 [aaaa] @front");
        bh_flow_table_listeners(t, &changed);
        g_assert_true(changed);
}

/* Two clients of one server, in one network namespace: the host and a container in it. */
static void test_shared_namespace_tells_clients_apart(void) {
        g_autoptr(BhFlowTable) t = table();
        BhContainer *c = container(DB, "host", NULL);

        c->host_network = TRUE;
        know(t, container(WEB, "front", "172.18.0.2"), c);
        closed(t, DB, "/nginx", FALSE, "127.0.0.1:80", "127.0.0.1:40000", 9, 9, 0);
        closed(t, "", "/usr/bin/curl", TRUE, "127.0.0.1:40000", "127.0.0.1:80", 9, 9, 0);
        closed(t, DB, "/check", TRUE, "127.0.0.1:40001", "127.0.0.1:80", 1, 1, 0);
        closed(t, DB, "/nginx", FALSE, "127.0.0.1:80", "127.0.0.1:40001", 1, 1, 0);
        BhFlowSocket listener = socket_of(DB, "/nginx", "0.0.0.0", 80, "0.0.0.0", 0);
        listener.net_ns = HOST_NS;
        bh_flow_table_walk_begin(t, now_ns);
        bh_flow_table_walk_socket(t, &listener);
        bh_flow_table_walk_end(t, TRUE);
        expect(t, FALSE,
               "bbbb:/check > 127.0.0.1:80 [bbbb] /nginx n=1 out=1 in=1\n"
               "bbbb:/nginx < 127.0.0.1:80 [bbbb] /check n=1 out=1 in=1\n"
               "bbbb:/nginx < 127.0.0.1:80 [host] /usr/bin/curl n=1 out=9 in=9\n"
               "host:/usr/bin/curl > 127.0.0.1:80 [bbbb] /nginx n=1 out=9 in=9");
}

/* Containers that no runtime describes, as those of ctr: their sockets tell their addresses. */
/* A third container is in the second one's network namespace: who has the socket is meant, from the first connection on, not who has the address. */
static void test_shared_address_is_whose_socket_it_is(void) {
        g_autoptr(BhFlowTable) t = table();
        BhFlowSocket s = socket_of(WEB, "/php", "172.18.0.2", 40009, "172.18.0.3", 7300);

        closed(t, WEB, "/php", TRUE, "172.18.0.2:40000", "172.18.0.3:7300", 5, 6, 0);
        closed(t, "cccc", "/side", FALSE, "172.18.0.3:7300", "172.18.0.2:40000", 6, 5, 0);
        closed(t, WEB, "/php", TRUE, "172.18.0.2:40001", "172.18.0.3:5432", 7, 8, 0);
        closed(t, DB, "/postgres", FALSE, "172.18.0.3:5432", "172.18.0.2:40001", 8, 7, 0);
        expect(t, FALSE,
               "aaaa:/php > 172.18.0.3:5432 [bbbb] @front n=1 out=7 in=8\n"
               "aaaa:/php > 172.18.0.3:7300 [cccc] /side @front n=1 out=5 in=6\n"
               "bbbb:/postgres < 172.18.0.2:5432 [aaaa] @front n=1 out=8 in=7\n"
               "cccc:/side < 172.18.0.2:7300 [aaaa] n=1 out=6 in=5");
        /* and when the owner has the port itself, it is its */
        closed(t, DB, "/postgres", FALSE, "172.18.0.3:7300", "172.18.0.2:40003", 1, 1, 0);
        s.role = BH_FLOW_CLIENT;
        bh_flow_table_walk_begin(t, now_ns);
        bh_flow_table_walk_socket(t, &s);
        bh_flow_table_walk_end(t, TRUE);
        expect(t, FALSE,
               "aaaa:/php > 172.18.0.3:7300 [bbbb] @front open=1\n"
               "bbbb:/postgres < 172.18.0.2:7300 [aaaa] @front n=1 out=1 in=1");

        /* by loopback, which is the namespace's */
        struct bh_event e = event(BH_EV_NET_CLOSE, "cccc", "/side", "127.0.0.1:9", "127.0.0.1:50000");
        BH_SET(&e, net_ns, 77);
        bh_flow_table_event(t, &e);
        e = event(BH_EV_NET_CLOSE, DB, "/psql", "127.0.0.1:50000", "127.0.0.1:9");
        BH_SET(&e, net_ns, 77);
        BH_SET(&e, outgoing, TRUE);
        bh_flow_table_event(t, &e);
        expect(t, FALSE,
               "bbbb:/psql > 127.0.0.1:9 [cccc] /side n=1\n"
               "cccc:/side < 127.0.0.1:9 [bbbb] /psql n=1");
}

static void test_containers_without_known_networks(void) {
        g_autoptr(BhFlowTable) t = table();

        know(t, container("dddd", "", NULL), container("eeee", "", NULL));
        closed(t, "dddd", "/php", TRUE, "10.88.0.2:40000", "10.88.0.3:5432", 10, 20, 0);
        closed(t, "eeee", "/postgres", FALSE, "10.88.0.3:5432", "10.88.0.2:40000", 20, 10, 0);
        expect(t, FALSE,
               "dddd:/php > 10.88.0.3:5432 [eeee] n=1 out=10 in=20\n"
               "eeee:/postgres < 10.88.0.2:5432 [dddd] n=1 out=20 in=10");
        know(t, container("cccc", "", NULL), NULL);
        know(t, NULL, NULL);
        closed(t, "cccc", "/php", TRUE, "10.88.0.4:40000", "10.88.0.9:5432", 1, 1, 0);
        expect(t, FALSE, "cccc:/php > 10.88.0.9:5432 [] n=1 out=1 in=1");
}

/* ---- scans ---- */

static char *settle(BhFlowTable *t) {
        g_autoptr(GString) all = g_string_new(NULL);

        for (guint i = 0; i < 6; i++) {
                struct bh_event e = event(BH_EV_LISTEN, WEB, "/tick", "172.18.0.2:1", NULL); /* any event: numbers go on */

                bh_flow_table_event(t, &e);
                g_autofree char *got = cut(t, FALSE);
                if (*got)
                        g_string_append_printf(all, "%s\n", got);
        }
        return g_string_free(g_steal_pointer(&all), FALSE);
}

static void test_scan_of_ports_is_one_flow(void) {
        g_autoptr(BhFlowTable) t = table();
        BhFlowStats stats;

        for (guint16 port = 1; port <= 1000; port++) {
                if (port == 80)
                        closed(t, WEB, "/nmap", TRUE, "172.18.0.2:33333", "172.18.0.3:80", 0, 0, 0);
                else
                        try_port(t, "172.18.0.3", port, ECONNREFUSED);
        }
        g_autofree char *got = settle(t);
        g_assert_cmpstr(got, ==,
                        "aaaa:/nmap > 172.18.0.3:80 [bbbb] @front n=1\n"
                        "aaaa:/nmap > 172.18.0.3:0 [bbbb] @front refused=999 ports=999\n");
        bh_flow_table_stats(t, &stats);
        g_assert_cmpuint(stats.scans, ==, 1);
        g_assert_cmpuint(stats.flows, <=, 3);
}

/* A scanner that does not wait: first all tries, then what becomes of them. */
static void test_scan_without_waiting(void) {
        g_autoptr(BhFlowTable) t = table();
        struct bh_event e;

        for (guint16 port = 1; port <= 100; port++)
                try_port(t, "172.18.0.3", port, EINPROGRESS);
        expect(t, FALSE, "");
        for (guint16 port = 1; port <= 100; port++) {
                g_autofree char *remote = g_strdup_printf("172.18.0.3:%u", port);

                closed(t, WEB, "/nmap", TRUE, "172.18.0.2:44444", remote, 0, 0, -ECONNREFUSED);
        }
        e = event(BH_EV_LISTEN, WEB, "/tick", "172.18.0.2:1", NULL);
        bh_flow_table_event(t, &e);
        g_autofree char *got = settle(t);
        g_assert_cmpstr(got, ==, "aaaa:/nmap > 172.18.0.3:0 [bbbb] @front refused=100 ports=100\n");
}

static void test_sweep_of_addresses_is_one_flow(void) {
        g_autoptr(BhFlowTable) t = table();

        for (guint i = 0; i < 200; i++) {
                g_autofree char *to = g_strdup_printf("192.0.2.%u", i);

                try_port(t, to, 22, ETIMEDOUT);
        }
        g_autofree char *got = settle(t);
        g_assert_cmpstr(got, ==, "aaaa:/nmap > -:22 [] timed=200 addresses=200\n");
}

static void test_many_ports_that_answer_are_no_scan(void) {
        g_autoptr(BhFlowTable) t = table();
        guint lines = 0;

        for (guint16 port = 1; port <= 100; port++) {
                g_autofree char *remote = g_strdup_printf("172.18.0.3:%u", port);

                closed(t, WEB, "/ftp", TRUE, "172.18.0.2:40000", remote, 1, 1, 0);
        }
        g_autofree char *got = cut(t, FALSE);
        for (const char *p = got; (p = strchr(p, '\n')); p++)
                lines++;
        g_assert_cmpuint(lines, ==, 99);
}

/* ---- exactly once ---- */

/* A successor that reads the same events again makes the same batch, and counts what came behind it once. */
static void test_batch_that_is_made_again(void) {
        for (guint killed_at = 1; killed_at < 60; killed_at++) {
                g_autoptr(BhFlowTable) a = table(), b = NULL;
                guint64 connections = 0, refused = 0;
                BhFlowCut told = { 0 }, c;
                struct bh_event all[60];
                guint n = 0;

                for (guint i = 0; i < 60; i++) {
                        all[i] = event(i % 3 ? BH_EV_NET_CLOSE : BH_EV_CONNECT, WEB, "/php", "172.18.0.2:40000", i % 2 ? "172.18.0.3:5432" : "172.18.0.3:6379");
                        BH_SET(&all[i], outgoing, TRUE);
                        if (i % 3 == 0)
                                BH_SET(&all[i], ret, -ECONNREFUSED);
                }
                for (; n < killed_at; n++) {
                        bh_flow_table_event(a, &all[n]);
                        now_us += G_USEC_PER_SEC / 2;
                        if (n % 5 == 4) {
                                bh_flow_table_cut(a, FALSE, now_us, &c);
                                told = c;
                                for (guint i = 0; i < c.flows->len; i++) {
                                        connections += g_array_index(c.flows, BhFlow, i).added.connections;
                                        refused += g_array_index(c.flows, BhFlow, i).added.refused;
                                }
                        }
                }
                /* killed: the last batch may have been told, so it is made again, and left out by who has it */
                b = table();
                if (told.through) {
                        guint64 again = 0, again_refused = 0, last = 0, last_refused = 0;

                        for (guint i = 0; i < told.flows->len; i++) {
                                last += g_array_index(told.flows, BhFlow, i).added.connections;
                                last_refused += g_array_index(told.flows, BhFlow, i).added.refused;
                        }
                        bh_flow_table_begin(b, told.after, told.failed_after, told.failed_through);
                        for (guint i = 0; i < n && all[i].id <= told.through; i++)
                                bh_flow_table_event(b, &all[i]);
                        bh_flow_table_cut(b, FALSE, now_us, &c);
                        for (guint i = 0; i < c.flows->len; i++) {
                                again += g_array_index(c.flows, BhFlow, i).added.connections;
                                again_refused += g_array_index(c.flows, BhFlow, i).added.refused;
                        }
                        g_assert_cmpuint(again, ==, last);
                        g_assert_cmpuint(again_refused, ==, last_refused);
                        bh_flow_table_begin(b, told.through, told.failed_through, told.failed_through);
                } else {
                        bh_flow_table_begin(b, all[0].id - 1, all[0].id - 1, all[0].id - 1);
                }
                for (guint i = 0; i < 60; i++)
                        if (all[i].id > told.through)
                                bh_flow_table_event(b, &all[i]);
                now_us += G_USEC_PER_SEC;
                bh_flow_table_cut(b, TRUE, now_us, &c);
                for (guint i = 0; i < c.flows->len; i++) {
                        connections += g_array_index(c.flows, BhFlow, i).added.connections;
                        refused += g_array_index(c.flows, BhFlow, i).added.refused;
                }
                g_assert_cmpuint(connections, ==, 40);
                g_assert_cmpuint(refused, ==, 20);
        }
}

/* ---- bounds ---- */

static void test_bounds_and_rest(void) {
        BhFlowTableConfig config = { .host_net_ns = HOST_NS, .max_flows = 50, .max_per_container = 30, .max_conns = 5 };
        g_autoptr(BhFlowTable) t = bh_flow_table_new(&config);
        BhFlowStats stats;

        next_id = 0;
        now_ns = BEGIN_NS;
        for (guint16 port = 1; port <= 40; port++) {
                g_autofree char *remote = g_strdup_printf("192.0.2.1:%u", port);

                closed(t, WEB, "/php", TRUE, "172.18.0.2:40000", remote, 1, 1, 0);
        }
        g_autofree char *got = cut(t, FALSE);
        /* those beyond are new, and outside */
        g_assert_null(strstr(got, "rest"));
        bh_flow_table_stats(t, &stats);
        g_assert_cmpuint(stats.flows, <=, 56);
        /* those at rest make room */
        closed(t, WEB, "/php", TRUE, "172.18.0.2:40000", "192.0.2.1:999", 1, 1, 0);
        expect(t, FALSE, "aaaa:/php > 192.0.2.1:999 [] n=1 out=1 in=1");
        for (guint16 port = 1; port <= 10; port++) {
                g_autofree char *local = g_strdup_printf("172.18.0.2:%u", 40000 + port);
                struct bh_event e = event(BH_EV_CONNECT, WEB, "/php", local, "192.0.2.1:999");

                bh_flow_table_event(t, &e);
        }
        bh_flow_table_stats(t, &stats);
        g_assert_cmpuint(stats.conns, ==, 5);
        g_assert_cmpuint(stats.conns_refused, ==, 5);
        /* all that one program does is bounded; what is beyond is counted all the same */
        guint64 n = 0;
        BhFlowCut c;
        for (guint16 port = 1; port <= 2000; port++) {
                g_autofree char *remote = g_strdup_printf("192.0.2.1:%u", 1000 + port), *exe = g_strdup_printf("/php%u", port % 100);

                closed(t, WEB, exe, TRUE, "172.18.0.2:40000", remote, 1, 1, 0);
        }
        bh_flow_table_cut(t, FALSE, now_us, &c);
        for (guint i = 0; i < c.flows->len; i++)
                n += g_array_index(c.flows, BhFlow, i).added.connections;
        g_assert_cmpuint(c.rest_connections, >, 0);
        g_assert_cmpuint(n + c.rest_connections, ==, 2000);
        bh_flow_table_stats(t, &stats);
        g_assert_cmpuint(stats.flows, <=, 56);
}

static void test_protocol_of_a_connection(void) {
        g_autoptr(BhFlowTable) t = table();
        BhFlowEnds ends = { .container_id = { WEB, 4 }, .exe = { "/php", 4 }, .outgoing = TRUE, .proto = 6, .lport = 40000, .rport = 5432 };

        ends.laddr = ip("172.18.0.2");
        ends.raddr = ip("172.18.0.3");
        g_assert_false(bh_flow_table_set_protocol(t, &ends, "postgresql", NULL, NULL));
        struct bh_event e = event(BH_EV_CONNECT, WEB, "/php", "172.18.0.2:40000", "172.18.0.3:5432");
        g_assert_true(bh_flow_table_event(t, &e));
        g_assert_true(bh_flow_table_set_protocol(t, &ends, "postgresql", NULL, NULL));
        expect(t, FALSE, "aaaa:/php > 172.18.0.3:5432 [bbbb] @front (postgresql) open=1");
}

static void test_protocol_of_a_server_is_its_listeners(void) {
        g_autoptr(BhFlowTable) t = table();
        BhFlowSocket listener = socket_of(DB, "/postgres", "0.0.0.0", 5432, "0.0.0.0", 0);
        BhFlowEnds nobody = { .anybody = TRUE, .proto = 6, .net_ns = (guint32) DB[0], .lport = 5432, .rport = 40000 };

        g_assert_false(bh_flow_table_unspoken(t));
        bh_flow_table_walk_begin(t, now_ns);
        bh_flow_table_walk_socket(t, &listener);
        bh_flow_table_walk_end(t, TRUE);
        nobody.laddr = ip("172.18.0.3");
        nobody.raddr = ip("172.18.0.2");
        closed(t, DB, "/postgres", FALSE, "172.18.0.3:5432", "172.18.0.2:40000", 1, 1, 0);
        g_assert_true(bh_flow_table_awaited(t));
        g_assert_true(bh_flow_table_unspoken(t));
        g_assert_false(bh_flow_table_unspoken(t));
        g_assert_true(bh_flow_table_awaited(t));
        /* the kernel does not know yet who accepts it: whoever listens there */
        g_assert_true(bh_flow_table_set_protocol(t, &nobody, "postgresql", "not.the.servers", NULL));
        nobody.lport = 5433;
        g_assert_false(bh_flow_table_set_protocol(t, &nobody, "tls", NULL, NULL));
        closed(t, DB, "/postgres", FALSE, "172.18.0.3:5432", "198.51.100.1:40000", 1, 1, 0);
        closed(t, WEB, "/php", TRUE, "172.18.0.2:40000", "172.18.0.3:5432", 1, 1, 0);
        expect(t, FALSE,
               "aaaa:/php > 172.18.0.3:5432 [bbbb] /postgres @front (postgresql) n=1 out=1 in=1\n"
               "bbbb:/postgres < 172.18.0.2:5432 [aaaa] @front (postgresql) n=1 out=1 in=1\n"
               "bbbb:/postgres < 198.51.100.1:5432 [] @front (postgresql) n=1 out=1 in=1");
        bh_flow_table_unspoken(t);
        /* it is known: nobody waits, and nobody asks again; in vain, not for ever */
        g_assert_false(bh_flow_table_awaited(t));
        closed(t, DB, "/postgres", FALSE, "172.18.0.3:5432", "172.18.0.2:40001", 1, 1, 0);
        g_assert_false(bh_flow_table_unspoken(t));
        for (guint i = 0; i < 20; i++) {
                closed(t, WEB, "/odd", TRUE, "172.18.0.2:40000", "172.18.0.3:9", 1, 1, 0);
                g_assert_true(bh_flow_table_unspoken(t));
        }
        closed(t, WEB, "/odd", TRUE, "172.18.0.2:40000", "172.18.0.3:9", 1, 1, 0);
        g_assert_false(bh_flow_table_unspoken(t));
        /* the host with itself is not told: what it speaks is not asked for */
        closed(t, "", "/redis-benchmark", TRUE, "127.0.0.1:40000", "127.0.0.1:6379", 1, 1, 0);
        closed(t, "", "/redis-server", FALSE, "127.0.0.1:6379", "127.0.0.1:40000", 1, 1, 0);
        g_assert_false(bh_flow_table_unspoken(t));
        closed(t, "", "/curl", TRUE, "172.18.0.1:40000", "172.18.0.3:9", 1, 1, 0);
        g_assert_true(bh_flow_table_unspoken(t));
}

static void test_unix_sockets_matter_where_containers_use_them(void) {
        g_autoptr(BhFlowTable) t = table();
        struct bh_event e = event(BH_EV_CONNECT, "", "/systemctl", NULL, NULL);
        gint64 at = (gint64) e.time;

        BH_SET(&e, family, AF_UNIX);
        BH_SET_STR(&e, path, "/run/dbus");
        BH_SET(&e, target_pid, 1);
        bh_flow_table_event(t, &e);
        g_assert_false(bh_flow_table_unix_used(t, at));

        struct bh_event listen = event(BH_EV_LISTEN, DB, "/mysqld", NULL, NULL);
        BH_SET(&listen, family, AF_UNIX);
        BH_SET_STR(&listen, path, "/run/sock");
        bh_flow_table_event(t, &listen);
        g_assert_true(bh_flow_table_unix_used(t, at));
        g_assert_true(bh_flow_table_unix_used(t, at + BH_FLOW_QUIET_US * G_GINT64_CONSTANT(900)));
        g_assert_false(bh_flow_table_unix_used(t, at + BH_FLOW_QUIET_US * G_GINT64_CONSTANT(1100)));
}

static void test_repeats_allocate_nothing(void) {
        g_autoptr(BhFlowTable) t = table();

        closed(t, WEB, "/php", TRUE, "172.18.0.2:40000", "172.18.0.3:5432", 1, 1, 0);
        closed(t, DB, "/postgres", FALSE, "172.18.0.3:5432", "172.18.0.2:40000", 1, 1, 0);
        struct mallinfo2 before = mallinfo2();
        for (guint i = 0; i < 100000; i++) {
                closed(t, WEB, "/php", TRUE, "172.18.0.2:40000", "172.18.0.3:5432", 1, 1, 0);
                closed(t, DB, "/postgres", FALSE, "172.18.0.3:5432", "172.18.0.2:40000", 1, 1, 0);
        }
        struct mallinfo2 after = mallinfo2();
        g_assert_cmpuint(after.uordblks, <=, before.uordblks + 4096);
        expect(t, FALSE,
               "aaaa:/php > 172.18.0.3:5432 [bbbb] @front n=100001 out=100001 in=100001\n"
               "bbbb:/postgres < 172.18.0.2:5432 [aaaa] @front n=100001 out=100001 in=100001");
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/flow_table/both_ends_of_a_connection", test_both_ends_of_a_connection);
        g_test_add_func("/flow_table/mapped_addresses_are_ipv4", test_mapped_addresses_are_ipv4);
        g_test_add_func("/flow_table/failures_by_kind_after_a_while", test_failures_by_kind_after_a_while);
        g_test_add_func("/flow_table/outside_has_the_name_that_was_asked_for", test_outside_has_the_name_that_was_asked_for);
        g_test_add_func("/flow_table/datagrams_and_dockers_resolver", test_datagrams_and_dockers_resolver);
        g_test_add_func("/flow_table/unix_sockets", test_unix_sockets);
        g_test_add_func("/flow_table/unix_sockets_matter_where_containers_use_them", test_unix_sockets_matter_where_containers_use_them);
        g_test_add_func("/flow_table/conntrack_is_undone_on_both_ends", test_conntrack_is_undone_on_both_ends);
        g_test_add_func("/flow_table/docker_proxy_is_seen_through", test_docker_proxy_is_seen_through);
        g_test_add_func("/flow_table/docker_proxies_on_one_port", test_docker_proxies_on_one_port);
        g_test_add_func("/flow_table/published_port_without_conntrack", test_published_port_without_conntrack);
        g_test_add_func("/flow_table/host_and_loopback", test_host_and_loopback);
        g_test_add_func("/flow_table/address_that_moves_to_another_container", test_address_that_moves_to_another_container);
        g_test_add_func("/flow_table/open_connections_from_before_the_start", test_open_connections_from_before_the_start);
        g_test_add_func("/flow_table/shared_namespace_tells_clients_apart", test_shared_namespace_tells_clients_apart);
        g_test_add_func("/flow_table/shared_address_is_whose_socket_it_is", test_shared_address_is_whose_socket_it_is);
        g_test_add_func("/flow_table/containers_without_known_networks", test_containers_without_known_networks);
        g_test_add_func("/flow_table/scan_of_ports_is_one_flow", test_scan_of_ports_is_one_flow);
        g_test_add_func("/flow_table/scan_without_waiting", test_scan_without_waiting);
        g_test_add_func("/flow_table/sweep_of_addresses_is_one_flow", test_sweep_of_addresses_is_one_flow);
        g_test_add_func("/flow_table/many_ports_that_answer_are_no_scan", test_many_ports_that_answer_are_no_scan);
        g_test_add_func("/flow_table/batch_that_is_made_again", test_batch_that_is_made_again);
        g_test_add_func("/flow_table/bounds_and_rest", test_bounds_and_rest);
        g_test_add_func("/flow_table/protocol_of_a_connection", test_protocol_of_a_connection);
        g_test_add_func("/flow_table/protocol_of_a_server_is_its_listeners", test_protocol_of_a_server_is_its_listeners);
        g_test_add_func("/flow_table/repeats_allocate_nothing", test_repeats_allocate_nothing);
        return g_test_run();
}

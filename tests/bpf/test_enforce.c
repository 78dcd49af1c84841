/* SPDX-License-Identifier: Apache-2.0 */
/* A cgroup is cut off for real and let go, here and on each kernel of tests/vm: sockets of before and new ones, both families, frames of packet sockets; it is led to a decoy; and a successor takes it up. */
#include "sensor/enforce.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container/cgroup.h"
#include "response/response.h"
#include "sensor/enforce_link.h"

#define CGROUP "/bh-test-enforce"

static BhCgroupLayout *layout;
static char *v2, *dir, *cgroup_dir, *pins;

/* ---- a process in the cgroup that does what it is told, a letter each, and answers with a number */

static int orders = -1, answers = -1;
static pid_t inside = -1;
static guint16 tcp_port, udp_port, decoy_port;
static int tcp_server, udp_server, decoy_server, accepted = -1;

static socklen_t loopback(struct sockaddr_in6 *a, int family, guint16 port) {
        memset(a, 0, sizeof(*a));
        a->sin6_family = (sa_family_t) family;
        a->sin6_port = htons(port);
        if (family == AF_INET6)
                a->sin6_addr = in6addr_loopback;
        else
                ((struct sockaddr_in *) a)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

static int frame(void) {
        struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int) if_nametoindex("bhe0"), .sll_halen = 6, .sll_protocol = htons(ETH_P_IP) };
        guint8 bytes[64] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 50, 0, 0, 0, 0, 64, 17, 0, 0, 10, 9, 8, 7, 10, 9, 8, 6, 1, 1, 2, 2, 0, 30 };
        int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_IP)), one = 1;

        setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one));
        int rc = fd < 0 || sendto(fd, bytes, sizeof(bytes), 0, (void *) &to, sizeof(to)) < 0 ? errno : 0;
        close(fd);
        return rc;
}

/* Connects and sends; the port that the process sees as its peer's, or the error, negative. */
static int peer_seen(int family, gboolean mapped) {
        int fd = socket(family, SOCK_STREAM, 0), rc;
        struct sockaddr_in6 a;
        socklen_t n = loopback(&a, family, tcp_port);

        if (mapped)
                inet_pton(AF_INET6, "::ffff:127.0.0.1", &a.sin6_addr);
        rc = connect(fd, (void *) &a, n) || send(fd, "x", 1, MSG_NOSIGNAL) != 1 ? -errno : 0;
        if (!rc && getpeername(fd, (void *) &a, &n))
                rc = -errno;
        if (!rc && family == AF_INET6 && !mapped && memcmp(&a.sin6_addr, &in6addr_loopback, sizeof(in6addr_loopback)))
                rc = -EADDRNOTAVAIL;
        close(fd);
        return rc ? rc : ntohs(a.sin6_port);
}

/* TCP fast open connects in sendto(). */
static int fast_open(void) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        struct sockaddr_in6 a;
        socklen_t n = loopback(&a, AF_INET, tcp_port);
        int rc = sendto(fd, "x", 1, MSG_FASTOPEN, (void *) &a, n) == 1 || errno == EINPROGRESS ? 0 : errno;

        close(fd);
        return rc;
}

static int act(int *stream, char what) {
        struct sockaddr_in6 a;
        int family = what == 'd' || what == 'C' ? AF_INET6 : AF_INET, rc = 0, fd;
        socklen_t n;

        if (what == 'w') /* the connection that was there before */
                return send(*stream, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 ? 0 : errno;
        if (what == 'p' || what == 'P' || what == 'm')
                return peer_seen(what == 'p' ? AF_INET : AF_INET6, what == 'm');
        if (what == 'o')
                return fast_open();
        if (what == 'f')
                return frame();
        if (what == 'n')
                return unshare(CLONE_NEWNET) ? errno : 0;
        if (what == 'i')
                return system("ip link set bhe0 up") ? EIO : 0;
        fd = socket(family, what == 'c' || what == 'C' ? SOCK_STREAM : SOCK_DGRAM, 0);
        n = loopback(&a, family, what == 'c' || what == 'C' ? tcp_port : udp_port);
        if (what == 'c' || what == 'C')
                rc = connect(fd, (void *) &a, n) ? errno : 0;
        else
                rc = sendto(fd, "u", 1, 0, (void *) &a, n) == 1 ? 0 : errno;
        close(fd);
        return rc;
}

static int tell(char what) {
        int rc;

        g_assert_cmpint(write(orders, &what, 1), ==, 1);
        g_assert_cmpint(read(answers, &rc, sizeof(rc)), ==, sizeof(rc));
        return rc;
}

static void begin(void) {
        struct sockaddr_in6 a;
        socklen_t n = sizeof(a);
        int to[2], from[2], zero = 0;

        mkdir(cgroup_dir, 0755);
        g_assert_no_errno(pipe(to));
        g_assert_no_errno(pipe(from));
        tcp_server = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        udp_server = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        decoy_server = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        for (guint i = 0; i < 3; i++) {
                int fd = i == 2 ? decoy_server : i ? udp_server : tcp_server;
                struct sockaddr_in6 any = { .sin6_family = AF_INET6 };

                setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
                g_assert_no_errno(bind(fd, (void *) &any, sizeof(any)));
                n = sizeof(a);
                g_assert_no_errno(getsockname(fd, (void *) &a, &n));
                *(i == 2 ? &decoy_port : i ? &udp_port : &tcp_port) = ntohs(a.sin6_port);
        }
        g_assert_no_errno(listen(decoy_server, 128));
        g_assert_no_errno(listen(tcp_server, 128));
        if ((inside = fork()) == 0) {
                g_autofree char *procs = g_build_filename(cgroup_dir, "cgroup.procs", NULL);
                int fd = open(procs, O_WRONLY), stream, rc;
                char what;

                if (write(fd, "0", 1) != 1)
                        _exit(1);
                stream = socket(AF_INET, SOCK_STREAM, 0);
                n = loopback(&a, AF_INET, tcp_port);
                if (connect(stream, (void *) &a, n))
                        _exit(2);
                close(to[1]);
                while (read(to[0], &what, 1) == 1) {
                        rc = act(&stream, what);
                        if (write(from[1], &rc, sizeof(rc)) != sizeof(rc))
                                break;
                }
                _exit(0);
        }
        orders = to[1];
        answers = from[0];
        close(to[0]);
        close(from[1]);
        accepted = accept(tcp_server, NULL, NULL);
        g_assert_no_errno(accepted);
}

static void finish(void) {
        close(orders);
        close(answers);
        waitpid(inside, NULL, 0);
        close(accepted);
        close(tcp_server);
        close(udp_server);
        close(decoy_server);
        for (guint i = 0; i < 1000 && rmdir(cgroup_dir) && errno == EBUSY; i++)
                g_usleep(1000);
        g_assert_false(g_file_test(cgroup_dir, G_FILE_TEST_EXISTS));
}

/* Whether something came within that time. */
static gboolean comes(int fd, int ms) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        char byte;

        return poll(&p, 1, ms) == 1 && recv(fd, &byte, 1, MSG_DONTWAIT) == 1;
}

static GArray *peers(const char *text) {
        g_autoptr(GArray) list = bh_peers_parse(&text, 1, NULL);

        return bh_peers_merge(list, NULL);
}

static void must_set(BhEnforce *e, const BhEnforceRules *rules, BhEnforceDone *done) {
        g_autoptr(GError) error = NULL;

        bh_enforce_set(e, CGROUP, rules, done, &error);
        g_assert_no_error(error);
}

static BhEnforce *must_open(void) {
        g_autoptr(GError) error = NULL;
        BhEnforce *e = bh_enforce_open(pins, v2, "/proc", &error);

        g_assert_no_error(error);
        return e;
}

static void assert_open(void) {
        g_assert_cmpint(tell('w'), ==, 0);
        g_assert_true(comes(accepted, 20000));
        g_assert_cmpint(tell('c'), ==, 0);
        g_assert_cmpint(tell('u'), ==, 0);
        g_assert_true(comes(udp_server, 20000));
        g_assert_cmpint(tell('d'), ==, 0);
        g_assert_true(comes(udp_server, 20000));
}

static void assert_cut(void) {
        tell('w');
        g_assert_false(comes(accepted, 100));
        g_assert_cmpint(tell('c'), ==, EPERM);
        g_assert_cmpint(tell('C'), ==, EPERM);
        g_assert_cmpint(tell('u'), ==, EPERM);
        g_assert_cmpint(tell('d'), ==, EPERM);
        g_assert_false(comes(udp_server, 100));
}

static void a_cgroup_is_cut_off_and_let_go(void) {
        BhEnforceRules all = { .isolate = TRUE };
        guint64 packets, bytes, calls;
        BhEnforceDone done;

        begin();
        assert_open();
        BhEnforce *e = must_open();
        must_set(e, &all, &done);
        g_assert_true(done.host_network);
        assert_cut();
        g_assert_true(bh_enforce_refused(e, CGROUP, &packets, &bytes, &calls));
        g_assert_cmpuint(packets, >=, 1);
        g_assert_cmpuint(calls, ==, 4);

        /* it goes on without whoever set it, and the successor takes it up */
        bh_enforce_free(e);
        assert_cut();
        e = must_open();
        g_assert_cmpuint(bh_enforce_count(e), ==, 1);
        must_set(e, &all, &done);
        bh_enforce_settle(e);
        g_assert_cmpuint(bh_enforce_count(e), ==, 1);
        assert_cut();
        bh_enforce_clear(e, CGROUP);
        g_assert_true(comes(accepted, 60000)); /* what was sent meanwhile comes with the next retransmission */
        while (comes(accepted, 200))
                ;
        assert_open();
        g_assert_false(g_file_test(pins, G_FILE_TEST_EXISTS));

        /* a successor that knows nothing of it takes it away */
        must_set(e, &all, &done);
        bh_enforce_free(e);
        e = must_open();
        bh_enforce_settle(e);
        g_assert_cmpuint(bh_enforce_count(e), ==, 0);
        assert_open();
        g_assert_false(g_file_test(pins, G_FILE_TEST_EXISTS));
        bh_enforce_free(e);
        finish();
}

static void what_is_allowed_passes_and_what_is_denied_does_not(void) {
        begin();
        g_autofree char *tcp = g_strdup_printf("127.0.0.1:%u/tcp", tcp_port);
        g_autoptr(GArray) only = peers(tcp);
        BhEnforceRules allow = { .isolate = TRUE, .allow = only }, deny = { .deny = only };
        BhEnforceDone done;
        BhEnforce *e = must_open();

        must_set(e, &allow, &done);
        g_assert_cmpint(tell('w'), ==, 0);
        g_assert_true(comes(accepted, 20000));
        g_assert_cmpint(tell('c'), ==, 0);
        g_assert_cmpint(tell('C'), ==, EPERM);
        g_assert_cmpint(tell('u'), ==, EPERM);
        must_set(e, &deny, &done);
        tell('w');
        g_assert_false(comes(accepted, 100));
        g_assert_cmpint(tell('c'), ==, EPERM);
        g_assert_cmpint(tell('C'), ==, 0);
        g_assert_cmpint(tell('u'), ==, 0);
        g_assert_true(comes(udp_server, 20000));
        bh_enforce_clear(e, CGROUP);
        g_assert_cmpint(tell('c'), ==, 0);
        bh_enforce_free(e);
        finish();
}

static struct bh_enforce_led last_led;
static guint leds;

static void on_led(const struct bh_enforce_led *led, gpointer data) {
        last_led = *led;
        leds++;
}

/* The next connection there, and a byte on it. *from: the other end's port. */
static gboolean connection_comes(int server, int ms, guint16 *from) {
        struct pollfd p = { .fd = server, .events = POLLIN };
        struct sockaddr_in6 a;
        socklen_t n = sizeof(a);

        if (poll(&p, 1, ms) != 1)
                return FALSE;
        int fd = accept(server, (void *) &a, &n);
        gboolean came = comes(fd, 20000);
        close(fd);
        *from = ntohs(a.sin6_port);
        return came;
}

static BhEnforceRules leading(GArray *from, const char *to, guint16 port) {
        BhEnforceRules rules = { .deny = from, .lead = from, .to_port = port };

        g_assert_cmpint(inet_pton(AF_INET6, to, rules.to), ==, 1);
        return rules;
}

static void assert_led(BhEnforce *e, char what, guint16 seen) {
        guint before = leds;
        guint16 from;

        g_assert_cmpint(tell(what), ==, seen);
        g_assert_true(connection_comes(decoy_server, 20000, &from));
        g_assert_false(connection_comes(tcp_server, 0, &from));
        bh_enforce_tell(e, on_led, NULL);
        g_assert_cmpuint(leds, ==, before + 1);
        g_assert_cmpuint(last_led.asked_port, ==, tcp_port);
        g_assert_cmpuint(last_led.to_port, ==, decoy_port);
        g_assert_cmpuint(last_led.tgid, ==, inside);
        g_assert_cmpstr(last_led.comm, !=, "");
}

static void connections_are_led_to_a_decoy_and_see_whom_they_asked_for(void) {
        guint64 connections, untold, packets, bytes, calls;
        BhEnforceDone done;
        guint16 from;

        begin();
        while (connection_comes(tcp_server, 0, &from))
                ;
        g_autofree char *both = g_strdup_printf("*:%u", tcp_port);
        g_autoptr(GArray) all = peers(both);
        BhEnforceRules rules = leading(all, "::ffff:127.0.0.1", decoy_port), isolated = rules;
        BhEnforce *e = must_open();

        isolated.isolate = TRUE;
        must_set(e, &rules, &done);
        assert_led(e, 'p', tcp_port);
        static const guint8 v4[16] = { [10] = 0xff, [11] = 0xff, 127, 0, 0, 1 };
        g_assert_cmpmem(last_led.asked, 16, v4, 16);
        g_assert_cmpmem(last_led.from, 16, v4, 16);
        assert_led(e, 'P', tcp_port); /* an IPv6 socket by the mapped address */
        g_assert_cmpmem(last_led.asked, 16, &in6addr_loopback, 16);
        assert_led(e, 'm', tcp_port);
        guint before = leds;
        g_assert_cmpint(tell('o'), ==, 0);
        g_assert_true(connection_comes(decoy_server, 20000, &from));
        bh_enforce_tell(e, on_led, NULL);
        g_assert_cmpuint(leds, ==, before + 1);
        g_assert_cmpuint(last_led.from_port, ==, from);
        g_assert_true(bh_enforce_led(e, CGROUP, &connections, &untold));
        g_assert_cmpuint(connections, ==, 4);
        g_assert_cmpuint(untold, ==, 0);

        /* the connection of before is cut, what is not asked for is left alone */
        tell('w');
        g_assert_false(comes(accepted, 100));
        g_assert_cmpint(tell('u'), ==, 0);
        g_assert_true(comes(udp_server, 20000));
        g_assert_cmpint(tell('d'), ==, 0);
        g_assert_true(comes(udp_server, 20000));

        /* an isolated one is led as well, and has nothing else */
        must_set(e, &isolated, &done);
        assert_led(e, 'p', tcp_port);
        g_assert_cmpint(tell('u'), ==, EPERM);
        g_assert_cmpint(tell('d'), ==, EPERM);

        /* without whoever set it, and what was led meanwhile is told by the successor */
        bh_enforce_free(e);
        g_assert_cmpint(tell('p'), ==, tcp_port);
        g_assert_true(connection_comes(decoy_server, 20000, &from));
        e = must_open();
        must_set(e, &isolated, &done);
        bh_enforce_settle(e);
        before = leds;
        bh_enforce_tell(e, on_led, NULL);
        g_assert_cmpuint(leds, ==, before + 1);
        g_assert_cmpuint(last_led.from_port, ==, from);
        g_assert_true(bh_enforce_led(e, CGROUP, &connections, &untold));
        g_assert_cmpuint(connections, ==, 6);
        assert_led(e, 'p', tcp_port);
        g_assert_true(bh_enforce_refused(e, CGROUP, &packets, &bytes, &calls));

        /* an IPv6 decoy, of IPv6 destinations */
        g_autofree char *six = g_strdup_printf("[::1]:%u", tcp_port);
        g_autoptr(GArray) of_six = peers(six);
        BhEnforceRules other = leading(of_six, "::1", decoy_port);
        must_set(e, &other, &done);
        assert_led(e, 'P', tcp_port);
        g_assert_cmpint(tell('p'), ==, tcp_port);
        g_assert_true(connection_comes(tcp_server, 20000, &from));

        bh_enforce_clear(e, CGROUP);
        g_assert_cmpint(tell('P'), ==, tcp_port);
        g_assert_true(connection_comes(tcp_server, 20000, &from));
        g_assert_false(g_file_test(pins, G_FILE_TEST_EXISTS));
        bh_enforce_free(e);
        finish();
}

/* Whether the interface has a place for filters. A tc that cannot say so fails the test: grep behind a tc that is missing finds nothing, either. */
static gboolean has_filter_place(const char *interface) {
        g_autofree char *command = g_strdup_printf("tc qdisc show dev %s", interface), *out = NULL;
        g_autoptr(GError) error = NULL;
        int status;

        g_assert_true(g_spawn_command_line_sync(command, &out, NULL, &status, &error));
        g_assert_no_error(error);
        g_assert_cmpint(status, ==, 0);
        return strstr(out, "clsact") != NULL;
}

static void frames_of_packet_sockets_are_cut_at_the_interface(void) {
        g_autofree char *add = NULL;
        BhEnforceRules all = { .isolate = TRUE };
        guint64 before, packets, bytes, calls;
        BhEnforceDone done;

        begin();
        g_assert_cmpint(tell('n'), ==, 0);
        add = g_strdup_printf("ip link add bht0 type veth peer name bhe0 netns %d && ip link set bht0 up", (int) inside);
        if (system(add)) {
                g_test_skip("ip cannot make a veth pair here");
                finish();
                return;
        }
        g_assert_cmpint(tell('i'), ==, 0);
        BhEnforce *e = must_open();
        must_set(e, &all, &done);
        g_assert_false(done.host_network);
        g_assert_cmpuint(done.interfaces, ==, 1);
        g_assert_true(bh_enforce_refused(e, CGROUP, &before, &bytes, &calls));
        for (guint i = 0; i < 10; i++)
                g_assert_cmpint(tell('f'), ==, 0);
        for (guint i = 0; i < 1000; i++) {
                bh_enforce_refused(e, CGROUP, &packets, &bytes, &calls);
                if (packets >= before + 10)
                        break;
                g_usleep(10000);
        }
        g_assert_cmpuint(packets, >=, before + 10);
        g_assert_true(has_filter_place("bht0"));
        bh_enforce_clear(e, CGROUP);
        g_assert_false(has_filter_place("bht0"));
        bh_enforce_free(e);
        g_assert_cmpint(system("ip link del bht0"), ==, 0);
        finish();
}

/* The place for filters that was made for us goes with us, but not with what others have put into it since. */
static void a_place_that_others_use_stays(void) {
        if (system("ip link add bht1 type veth peer name bht2 && tc qdisc add dev bht1 clsact")) {
                (void) !system("ip link del bht1 2>/dev/null");
                g_test_skip("ip and tc cannot make an interface with a place for filters here");
                return;
        }
        guint index = if_nametoindex("bht1");
        g_assert_cmpint(system("tc filter add dev bht1 egress pref 2881 handle 0x7 bpf bytecode '1,6 0 0 0' flowid 1:1"), ==, 0); /* as another sensor's */
        bh_link_unfilter(index, 5, TRUE);
        g_assert_cmpint(system("tc filter show dev bht1 egress | grep -q 'handle 0x7'"), ==, 0);
        g_assert_cmpint(system("tc filter del dev bht1 egress pref 2881 handle 0x7 bpf"), ==, 0);
        g_assert_true(has_filter_place("bht1"));
        bh_link_unfilter(index, 5, TRUE);
        g_assert_false(has_filter_place("bht1"));
        g_assert_cmpint(system("ip link del bht1"), ==, 0);
}

static void processes_are_frozen_and_killed(void) {
        g_autoptr(GError) error = NULL;
        struct pollfd p = { .events = POLLIN };
        int rc;

        begin();
        p.fd = answers;
        g_assert_true(bh_cgroup_freeze(v2, CGROUP, TRUE, &error));
        g_assert_cmpint(write(orders, "u", 1), ==, 1);
        g_assert_cmpint(poll(&p, 1, 200), ==, 0);
        g_assert_true(bh_cgroup_freeze(v2, CGROUP, FALSE, &error));
        g_assert_cmpint(poll(&p, 1, 20000), ==, 1);
        g_assert_cmpint(read(answers, &rc, sizeof(rc)), ==, sizeof(rc));
        g_assert_true(bh_cgroup_freeze(v2, CGROUP, TRUE, &error));
        g_assert_true(bh_cgroup_kill(v2, CGROUP, &error));
        g_assert_no_error(error);
        g_assert_cmpint(waitpid(inside, &rc, 0), ==, inside);
        g_assert_true(WIFSIGNALED(rc) && WTERMSIG(rc) == SIGKILL);
        finish();
}

int main(int argc, char **argv) {
        struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
        g_autoptr(GError) error = NULL;

        g_test_init(&argc, &argv, NULL);
        setrlimit(RLIMIT_MEMLOCK, &unlimited);
        if (geteuid() != 0 || !(layout = bh_cgroup_detect("/", &error)) || !(v2 = g_strdup(layout->v2_mount ? layout->v2_mount : layout->version == 2 ? layout->mount : NULL))) {
                printf("1..0 # SKIP it takes root, and a version 2 hierarchy of control groups\n");
                return 0;
        }
        dir = g_dir_make_tmp("bh-enforce-XXXXXX", NULL);
        pins = g_build_filename(dir, "pins", NULL);
        cgroup_dir = g_build_filename(v2, CGROUP, NULL);
        g_test_add_func("/enforce/a_cgroup_is_cut_off_and_let_go", a_cgroup_is_cut_off_and_let_go);
        g_test_add_func("/enforce/what_is_allowed_passes_and_what_is_denied_does_not", what_is_allowed_passes_and_what_is_denied_does_not);
        g_test_add_func("/enforce/connections_are_led_to_a_decoy_and_see_whom_they_asked_for", connections_are_led_to_a_decoy_and_see_whom_they_asked_for);
        g_test_add_func("/enforce/frames_of_packet_sockets_are_cut_at_the_interface", frames_of_packet_sockets_are_cut_at_the_interface);
        g_test_add_func("/enforce/a_place_that_others_use_stays", a_place_that_others_use_stays);
        g_test_add_func("/enforce/processes_are_frozen_and_killed", processes_are_frozen_and_killed);
        int rc = g_test_run();
        rmdir(dir);
        bh_cgroup_layout_free(layout);
        g_free(v2);
        g_free(dir);
        g_free(pins);
        g_free(cgroup_dir);
        return rc;
}

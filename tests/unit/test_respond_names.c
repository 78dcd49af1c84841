/* SPDX-License-Identifier: Apache-2.0 */
/* Peers of responses that are named as DNS has them. */
#include "sensor/respond.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "respond_node.h"
#include "sensor/respond_ledger.h"
#include "sensor/respond_names.h"

/* A message that the container, which is 192.0.2.40, got. */
static void answered_from(BhRespond *r, const char *container, const char *server, guint32 port, const char *name, const char *records, guint32 ttl) {
        g_autofree char *list = g_strdup(records);
        struct bh_event e = { .type = BH_EV_DNS };
        struct bh_ip from = { .len = 4 }, to = { .len = 4 };

        inet_pton(AF_INET, server, from.b);
        inet_pton(AF_INET, "192.0.2.40", to.b);
        BH_SET(&e, laddr, to);
        BH_SET(&e, raddr, from);
        BH_SET(&e, rport, port);
        BH_SET(&e, outgoing, FALSE);
        BH_SET_STR(&e, container_id, container);
        BH_SET_STR(&e, dns_type, "response");
        BH_SET_STR(&e, dns_question, name);
        BH_SET(&e, dns_ttl, ttl);
        BH_SET(&e, dns_answers, ((struct bh_str){ list, (guint32) strlen(list) + 1 }));
        g_strdelimit(list, ",", '\0');
        bh_respond_dns(r, &e);
}

static void answered(BhRespond *r, const char *container, const char *server, const char *name, const char *records, guint32 ttl) {
        answered_from(r, container, server, 53, name, records, ttl);
}

/* How many addresses the list has; 1000: there is no list. */
static guint known(gboolean deny) {
        g_mutex_lock(&kernel.lock);
        const GArray *list = deny ? kernel.deny : kernel.allow;
        guint n = list ? list->len : 1000;
        g_mutex_unlock(&kernel.lock);
        return n;
}

static gboolean lists(gboolean deny, const char *text) {
        gboolean found = FALSE;
        BhPeer p[2];
        guint n;

        g_assert_true(bh_peer_parse(text, p, &n, NULL));
        g_mutex_lock(&kernel.lock);
        const GArray *list = deny ? kernel.deny : kernel.allow;
        for (guint i = 0; list && i < list->len; i++) {
                const BhPeerNet *net = &g_array_index(list, BhPeerNet, i);

                found |= net->bits == p[0].bits && !memcmp(net->addr, p[0].addr, 16) && net->ports[0].port == p[0].port && net->ports[0].proto == p[0].proto;
        }
        g_mutex_unlock(&kernel.lock);
        return found;
}

static void until_listed(gboolean deny, const char *text) {
        for (guint i = 0; !lists(deny, text); i++) {
                g_assert_cmpuint(i, <, 60000);
                g_usleep(1000);
        }
}

static void names_are_refused_by_what_they_resolve_to(Node *n, gconstpointer unused) {
        static const char *const deny[] = { "peer:evil.example:443/tcp", "peer:*.bad.example", "203.0.113.9" };
        const BhOrder o = { .id = "00000000000000000000000000000021", .action = "block", .container = ID, .deny = deny, .n_deny = G_N_ELEMENTS(deny) }, over = { .id = o.id, .release = TRUE };
        g_autofree char *file = g_build_filename(n->ledger, "00000000000000000000000000000021.json", NULL);
        g_autoptr(BhRespond) r = begin(n);

        answered(r, ID, "127.0.0.11", "EVIL.example.", "CNAME other.example,A 192.0.2.1", 1);
        answered(r, ID, "127.0.0.11", "good.example", "A 192.0.2.100", 1);
        json_auto_t *told = bh_respond_order(r, &o);
        g_assert_cmpstr(text_at(told, "state"), ==, "active");
        g_assert_nonnull(strstr(json_string_value(json_array_get(json_object_get(json_object_get(told, "detail"), "notes"), 0)), "DNS over TLS"));
        g_assert_true(lists(TRUE, "192.0.2.1:443/tcp")); /* from before */
        g_assert_true(lists(TRUE, "203.0.113.9"));
        g_assert_cmpuint(known(TRUE), ==, 2);

        /* another's answer is not its own; an alias counts; at once means without another tick */
        answered(r, "bbbb", "127.0.0.11", "evil.example", "A 192.0.2.50", 1);
        answered(r, ID, "192.0.2.53", "innocent.example", "CNAME a.b.bad.example,A 192.0.2.2,AAAA 2001:db8::2", 1);
        until_listed(TRUE, "2001:db8::2");
        g_assert_true(lists(TRUE, "192.0.2.2"));
        g_assert_cmpuint(known(TRUE), ==, 4);
        json_auto_t *status = bh_respond_status(r);
        json_t *names = json_object_get(json_object_get(json_object_get(status, "resolved"), o.id), "names");
        g_assert_cmpint(json_integer_value(json_object_get(json_array_get(names, 0), "known")), ==, 1);
        g_assert_cmpint(json_integer_value(json_object_get(json_array_get(names, 1), "known")), ==, 2);
        g_assert_cmpstr(json_string_value(json_array_get(json_object_get(json_array_get(names, 0), "addresses"), 0)), ==, "192.0.2.1");

        /* its successor knows them */
        for (guint i = 0;; i++) {
                g_autofree char *text = NULL;

                g_assert_cmpuint(i, <, 60000);
                if (g_file_get_contents(file, &text, NULL, NULL) && strstr(text, "20010db8000000000000000000000002"))
                        break;
                g_usleep(1000);
        }
        g_clear_pointer(&r, bh_respond_free);
        keep_lists(&kernel, NULL, NULL, NULL);
        r = begin(n);
        g_assert_cmpuint(known(TRUE), ==, 4);
        answered(r, ID, "127.0.0.11", "evil.example", "A 192.0.2.3", 1);
        until_listed(TRUE, "192.0.2.3:443/tcp");

        json_auto_t *released = bh_respond_order(r, &over);
        g_assert_cmpstr(text_at(released, "state"), ==, "released");
        g_assert_cmpuint(known(TRUE), ==, 1000);
}

/* An IPv6 decoy is nothing to IPv4 sockets: of a name with both the rest is refused. */
static void names_are_led_by_what_they_resolve_to(Node *n, gconstpointer unused) {
        static const char *const deny[] = { "peer:evil.example:443" };
        const BhOrder o = { .id = "00000000000000000000000000000031", .action = "decoy", .container = ID, .subject = "[fd00::5]:7000", .deny = deny, .n_deny = 1 };
        g_autoptr(BhRespond) r = begin(n);

        json_auto_t *told = bh_respond_order(r, &o);
        g_assert_cmpstr(text_at(told, "state"), ==, "active");
        g_assert_cmpuint(kernel.lead->len, ==, 0);
        answered(r, ID, "127.0.0.11", "evil.example", "A 192.0.2.1,AAAA 2001:db8::2", 1);
        until_listed(TRUE, "[2001:db8::2]:443");
        g_mutex_lock(&kernel.lock);
        g_assert_cmpuint(kernel.deny->len, ==, 2);
        g_assert_cmpuint(kernel.lead->len, ==, 1);
        g_assert_cmpuint(g_array_index(kernel.lead, BhPeerNet, 0).addr[0], ==, 0x20);
        g_mutex_unlock(&kernel.lock);
}

static void names_are_allowed_by_their_name_servers_alone(Node *n, gconstpointer unused) {
        static const char *const allow[] = { "peer:collector.example:8443", "192.0.2.53:53", "192.0.2.40", "::" };
        const BhOrder without = { .id = "00000000000000000000000000000022", .action = "isolate", .container = ID, .allow = allow, .n_allow = 1 };
        const BhOrder o = { .id = "00000000000000000000000000000023", .action = "isolate", .container = ID, .allow = allow, .n_allow = 2 };
        const BhOrder best = { .id = "0000000000000000000000000000002b", .action = "isolate", .container = ID, .allow = allow, .n_allow = G_N_ELEMENTS(allow), .best_effort = TRUE };
        g_autoptr(BhRespond) r = begin(n);

        answered(r, ID, "192.0.2.53", "collector.example", "A 192.0.2.66", 1); /* before: the container may have made it up */
        json_auto_t *refused = bh_respond_order(r, &without), *open = bh_respond_order(r, &o), *told = bh_respond_order(r, &best);
        g_assert_cmpstr(text_at(refused, "state"), ==, "failed");
        g_assert_nonnull(strstr(text_at(refused, "result"), "name server"));
        g_assert_cmpstr(text_at(open, "state"), ==, "failed"); /* who makes packets can be the name server */
        g_assert_nonnull(strstr(text_at(open, "result"), "CAP_NET_RAW"));
        g_assert_cmpstr(text_at(told, "state"), ==, "active");
        answered(r, ID, "127.0.0.11", "collector.example", "A 192.0.2.67", 1);
        answered(r, ID, "192.0.2.54", "collector.example", "A 192.0.2.68", 1);
        answered(r, ID, "192.0.2.53", "attacker.example", "CNAME collector.example,A 192.0.2.69", 1);
        answered_from(r, ID, "192.0.2.53", 5353, "collector.example", "A 192.0.2.70", 1);
        answered(r, ID, "192.0.2.40", "collector.example", "A 192.0.2.71", 1); /* from its own address */
        answered(r, ID, "192.0.2.53", "collector.example", "A 192.0.2.1", 1);
        until_listed(FALSE, "192.0.2.1:8443");
        g_assert_cmpuint(known(FALSE), ==, 4);
}

static void addresses_go_when_their_time_is_over(Node *n, gconstpointer unused) {
        static const char *const deny[] = { "peer:evil.example" };
        const BhOrder o = { .id = "00000000000000000000000000000024", .deny = deny, .n_deny = 1 };
        g_autoptr(BhContainer) c = bh_container_new(ID, "docker");
        BhEntry *e = bh_entry_new(&o, BH_RESPONSE_BLOCK, c, CGROUP, 1, 1);
        BhBound soon = { .addr = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1 }, .until_ns = g_get_real_time() * 1000 + 1500 * G_GINT64_CONSTANT(1000000) }, later = soon;

        g_assert_cmpint(g_mkdir_with_parents(n->ledger, 0700), ==, 0);
        later.addr[15] = 2;
        later.until_ns += 3600 * G_GINT64_CONSTANT(1000000000);
        e->state = BH_RESPONSE_STATE_ACTIVE;
        e->bound = g_array_new(FALSE, TRUE, sizeof(BhBound));
        g_array_append_val(e->bound, soon);
        g_array_append_val(e->bound, later);
        g_assert_true(bh_entry_save(n->ledger, e));
        bh_entry_free(e);
        g_autoptr(BhRespond) r = begin(n);
        for (guint i = 0; known(TRUE) != 1; i++) {
                g_assert_cmpuint(i, <, 60000);
                g_usleep(1000);
        }
        g_assert_true(lists(TRUE, "192.0.2.2"));
        answered(r, ID, "127.0.0.11", "evil.example", "A 192.0.2.1", 0); /* what an answer says is short: an hour all the same */
        until_listed(TRUE, "192.0.2.1");
}

/* A name with as many ports as an address may have, and another that has the same address: what has no room is left out and said, and the container stays held. */
static void more_ports_of_an_address_than_there_is_room_for_are_said(Node *n, gconstpointer unused) {
        g_autoptr(GPtrArray) allow = g_ptr_array_new_with_free_func(g_free);
        guint ports = 0;

        for (guint i = 0; i < 16; i++)
                g_ptr_array_add(allow, g_strdup_printf("peer:a.example:%u", 8000 + i));
        g_ptr_array_add(allow, g_strdup("peer:b.example:9000"));
        g_ptr_array_add(allow, g_strdup("192.0.2.53:53"));
        const BhOrder o = { .id = "00000000000000000000000000000029", .action = "isolate", .container = ID, .allow = (const char *const *) allow->pdata, .n_allow = allow->len, .best_effort = TRUE };
        const BhOrder frozen = { .id = "0000000000000000000000000000002a", .action = "pause", .container = ID };
        g_autoptr(BhRespond) r = begin(n);
        json_auto_t *told = bh_respond_order(r, &o);

        g_assert_cmpstr(text_at(told, "state"), ==, "active");
        answered(r, ID, "192.0.2.53", "a.example", "A 192.0.2.1", 1);
        answered(r, ID, "192.0.2.53", "b.example", "A 192.0.2.1,A 192.0.2.2", 1);
        until_said(n, "response_active names_full ");
        until_listed(FALSE, "192.0.2.2:9000");
        g_mutex_lock(&kernel.lock);
        for (guint i = 0; i < kernel.allow->len; i++)
                if (g_array_index(kernel.allow, BhPeerNet, i).addr[15] == 1)
                        ports = g_array_index(kernel.allow, BhPeerNet, i).n;
        g_mutex_unlock(&kernel.lock);
        g_assert_cmpuint(ports, ==, 16);
        json_auto_t *paused = bh_respond_order(r, &frozen);
        g_assert_cmpstr(text_at(paused, "state"), ==, "active");
}

/* What a container was answered before its block was taken up is refused. */
static void answers_from_before_it_is_taken_up_count(Node *n, gconstpointer unused) {
        static const char *const deny[] = { "peer:evil.example" };
        const BhOrder o = { .id = "00000000000000000000000000000028", .deny = deny, .n_deny = 1 };
        g_autoptr(BhContainer) c = bh_container_new(ID, "docker");
        BhEntry *e = bh_entry_new(&o, BH_RESPONSE_BLOCK, c, CGROUP, 1, 1);
        g_autofree char *cgroup = g_build_filename(n->v2, CGROUP, NULL);

        g_assert_cmpint(g_mkdir_with_parents(n->ledger, 0700), ==, 0);
        e->state = BH_RESPONSE_STATE_ACTIVE;
        g_assert_true(bh_entry_save(n->ledger, e));
        bh_entry_free(e);
        remove_tree(cgroup);
        g_autoptr(BhRespond) r = begin(n);
        answered(r, ID, "127.0.0.11", "evil.example", "A 192.0.2.9", 1);
        put(n->v2, CGROUP "/cgroup.procs", "4242\n");
        until_listed(TRUE, "192.0.2.9");
}

static void more_addresses_than_there_is_room_for_are_said(Node *n, gconstpointer unused) {
        static const char *const deny[] = { "peer:*.example" };
        const BhOrder o = { .id = "00000000000000000000000000000025", .action = "block", .container = ID, .deny = deny, .n_deny = 1 };
        g_autoptr(BhRespond) r = begin(n);
        json_auto_t *told = bh_respond_order(r, &o);

        g_assert_cmpstr(text_at(told, "state"), ==, "active");
        for (guint i = 0; i < BH_RESPOND_BOUND + 50; i++) {
                g_autofree char *record = g_strdup_printf("A 198.18.%u.%u", i / 256, i % 256);

                answered(r, ID, "127.0.0.11", "a.example", record, 1);
        }
        until_said(n, "response_active names_full ");
        g_assert_cmpuint(known(TRUE), <=, BH_RESPOND_BOUND);
        until_listed(TRUE, "198.18.0.0"); /* who came first stays */
        until_listed(TRUE, "198.18.0.255");
        g_assert_cmpuint(known(TRUE), ==, BH_RESPOND_BOUND);

        /* the book before a block has a bound as well, and the newest stay */
        g_autoptr(BhNameBook) book = bh_name_book_new();
        for (guint i = 0; i < 2 * BH_RESPOND_BOOK_EACH; i++) {
                g_autofree char *text = g_strdup_printf("n%u.example", i);
                struct bh_event e = { .type = BH_EV_DNS };

                BH_SET_STR(&e, container_id, ID);
                BH_SET_STR(&e, dns_type, "response");
                BH_SET_STR(&e, dns_question, text);
                BH_SET(&e, dns_answers, ((struct bh_str){ "A 192.0.2.1", 12 }));
                g_assert_false(bh_name_book_learn(book, &e, 0));
        }
        g_autoptr(GPtrArray) has = bh_name_book_of(book, ID);
        g_assert_cmpuint(has->len, ==, BH_RESPOND_BOOK_EACH);
        g_assert_cmpstr(((const BhAnswer *) has->pdata[has->len - 1])->names[0], ==, "n1023.example");
}

static void until_known(BhRespond *r, const char *id, gint wanted) {
        for (guint i = 0;; i++) {
                json_auto_t *status = bh_respond_status(r);

                if (json_integer_value(json_object_get(json_array_get(json_object_get(json_object_get(json_object_get(status, "resolved"), id), "names"), 0), "known")) == wanted)
                        return;
                g_assert_cmpuint(i, <, 60000);
                g_usleep(1000);
        }
}

/* What is learned of a container's names while it does not run is nothing lost. */
static void a_container_that_does_not_run_loses_nothing(Node *n, gconstpointer unused) {
        static const char *const deny[] = { "peer:a.example" };
        const BhOrder o = { .id = "00000000000000000000000000000027", .action = "block", .container = ID, .deny = deny, .n_deny = 1 };
        g_autofree char *cgroup = g_build_filename(n->v2, CGROUP, NULL);
        g_autoptr(BhRespond) r = begin(n);
        json_auto_t *told = bh_respond_order(r, &o);

        g_assert_cmpstr(text_at(told, "state"), ==, "active");
        remove_tree(cgroup);
        g_atomic_int_set(&kernel.fails, TRUE);
        answered(r, ID, "127.0.0.11", "a.example", "A 198.18.0.1", 1);
        until_known(r, o.id, 1);
        g_mutex_lock(&n->lock);
        g_assert_cmpstr(n->said->str, ==, "response_active ");
        g_mutex_unlock(&n->lock);
        g_atomic_int_set(&kernel.fails, FALSE);
        put(n->v2, CGROUP "/cgroup.procs", "4242\n");
        until_listed(TRUE, "198.18.0.1");
}

static gpointer flooded; /* atomic: whose answers come one after the other */
static gint64 flood_until_us;

static void flood(void) {
        BhRespond *r = g_atomic_pointer_get(&flooded);

        if (r && g_get_monotonic_time() < flood_until_us)
                answered(r, ID, "127.0.0.11", "a.example", "A 198.18.0.1", 1);
}

/* A container that makes answers for its own blocked name without end, here a new one in each turn, keeps no order waiting. */
static void a_flood_of_answers_holds_no_order_up(Node *n, gconstpointer unused) {
        static const char *const deny[] = { "peer:a.example" };
        const BhOrder o = { .id = "00000000000000000000000000000026", .action = "block", .container = ID, .deny = deny, .n_deny = 1 }, over = { .id = o.id, .release = TRUE };
        acts_kernel.each_turn = flood;
        g_autoptr(BhRespond) r = begin(n);
        json_auto_t *told = bh_respond_order(r, &o);

        g_assert_cmpstr(text_at(told, "state"), ==, "active");
        flood_until_us = g_get_monotonic_time() + 30 * G_USEC_PER_SEC;
        g_atomic_pointer_set(&flooded, r);
        g_usleep(3 * BH_RESPOND_TICK_MS * 1000);
        json_auto_t *released = bh_respond_order(r, &over);
        g_assert_cmpint(g_get_monotonic_time(), <, flood_until_us);
        g_atomic_pointer_set(&flooded, NULL);
        g_assert_cmpstr(text_at(released, "state"), ==, "released");
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add("/respond/names/" #name, Node, NULL, set_up, name, tear_down)
        TEST(names_are_refused_by_what_they_resolve_to);
        TEST(names_are_led_by_what_they_resolve_to);
        TEST(names_are_allowed_by_their_name_servers_alone);
        TEST(addresses_go_when_their_time_is_over);
        TEST(more_ports_of_an_address_than_there_is_room_for_are_said);
        TEST(answers_from_before_it_is_taken_up_count);
        TEST(more_addresses_than_there_is_room_for_are_said);
        TEST(a_container_that_does_not_run_loses_nothing);
        TEST(a_flood_of_answers_holds_no_order_up);
        return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "response/response.h"

#include <string.h>

static void peers_are_read_as_they_are_written(void) {
        static const struct {
                const char *text;
                guint n;
                guint bits, port, proto;
                const char *addr; /* hexadecimal */
        } good[] = {
                { "10.1.2.3", 1, 128, 0, 0, "00000000000000000000ffff0a010203" },
                { "10.1.2.3:443", 1, 128, 443, 0, "00000000000000000000ffff0a010203" },
                { "10.1.2.3:53/UDP", 1, 128, 53, 17, "00000000000000000000ffff0a010203" },
                { "10.1.2.3/8", 1, 104, 0, 0, "00000000000000000000ffff0a000000" },
                { "10.1.2.3/8:22/tcp", 1, 104, 22, 6, "00000000000000000000ffff0a000000" },
                { "0.0.0.0/0", 1, 96, 0, 0, "00000000000000000000ffff00000000" },
                { "fd00::1", 1, 128, 0, 0, "fd000000000000000000000000000001" },
                { "fd00::1/8", 1, 8, 0, 0, "fd000000000000000000000000000000" },
                { "[fd00::1]:443/tcp", 1, 128, 443, 6, "fd000000000000000000000000000001" },
                { "[fd00::1/64]:443", 1, 64, 443, 0, "fd000000000000000000000000000000" },
                { "*:53/udp", 2, 96, 53, 17, "00000000000000000000ffff00000000" },
                { ":53", 2, 96, 53, 0, "00000000000000000000ffff00000000" },
        };
        static const char *const wrong[] = { "10.0.0", "example.com", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:99999999999999999999", "10.0.0.1/33", "fd00::/129", "[fd00::1", "[fd00::1]x", "10.0.0.1:53/icmp",
                                             "10.0.0.1:", "10.0.0.1/", "[]:53", "10.0.0.1:-1", "" };
        BhPeer p[2];
        guint n;

        for (guint i = 0; i < G_N_ELEMENTS(good); i++) {
                g_autoptr(GError) error = NULL;
                g_autoptr(GString) hex = g_string_new(NULL);

                g_assert_true(bh_peer_parse(good[i].text, p, &n, &error));
                for (guint k = 0; k < 16; k++)
                        g_string_append_printf(hex, "%02x", p[0].addr[k]);
                g_assert_cmpuint(n, ==, good[i].n);
                g_assert_cmpstr(hex->str, ==, good[i].addr);
                g_assert_cmpuint(p[0].bits, ==, good[i].bits);
                g_assert_cmpuint(p[0].port, ==, good[i].port);
                g_assert_cmpuint(p[0].proto, ==, good[i].proto);
        }
        for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
                g_autoptr(GError) error = NULL;

                g_test_message("%s", wrong[i]);
                g_assert_false(bh_peer_parse(wrong[i], p, &n, &error));
                g_assert_nonnull(strstr(error->message, "write it like"));
        }
}

/* What the kernel does: the longest match alone, then its ports. */
static gboolean longest_match(const GArray *nets, const BhPeer *asked) {
        const BhPeerNet *best = NULL;

        for (guint i = 0; i < nets->len; i++) {
                const BhPeerNet *n = &g_array_index(nets, BhPeerNet, i);
                gboolean in = TRUE;

                for (guint b = 0; b < n->bits; b++)
                        in = in && !((n->addr[b / 8] ^ asked->addr[b / 8]) & (0x80 >> (b % 8)));
                if (in && (!best || n->bits > best->bits))
                        best = n;
        }
        for (guint i = 0; best && i < best->n; i++)
                if ((!best->ports[i].port || best->ports[i].port == asked->port) && (!best->ports[i].proto || best->ports[i].proto == asked->proto))
                        return TRUE;
        return FALSE;
}

static void a_narrow_network_keeps_what_a_wide_one_says(void) {
        static const char *const texts[] = { "10.0.0.0/8:22", "10.1.0.0/16:443/tcp", "10.1.2.3", "*:53/udp", "10.1.2.3:80" };
        static const struct {
                const char *text;
                gboolean in;
        } asked[] = { { "10.9.9.9:22/tcp", TRUE },  { "10.9.9.9:443/tcp", FALSE }, { "10.1.9.9:443/tcp", TRUE }, { "10.1.9.9:443/udp", FALSE }, { "10.1.9.9:22/tcp", TRUE },
                      { "10.1.2.3:9/tcp", TRUE },   { "10.1.9.9:53/udp", TRUE },   { "[2001::1]:53/udp", TRUE },  { "[2001::1]:53/tcp", FALSE }, { "8.8.8.8:53/udp", TRUE }, { "8.8.8.8:22/tcp", FALSE } };
        g_autoptr(GError) error = NULL;
        g_autoptr(GArray) peers = bh_peers_parse(texts, G_N_ELEMENTS(texts), &error);
        g_autoptr(GArray) nets = bh_peers_merge(peers, &error);

        g_assert_no_error(error);
        g_assert_cmpuint(nets->len, ==, 5);
        for (guint i = 0; i < G_N_ELEMENTS(asked); i++) {
                BhPeer p[2];
                guint n;

                g_assert_true(bh_peer_parse(asked[i].text, p, &n, NULL));
                g_test_message("%s", asked[i].text);
                g_assert_cmpint(longest_match(nets, &p[0]), ==, asked[i].in);
        }
}

static void too_many_are_refused(void) {
        g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GError) error = NULL;

        for (guint i = 1; i <= 17; i++)
                g_ptr_array_add(texts, g_strdup_printf("10.0.0.1:%u", i));
        g_autoptr(GArray) peers = bh_peers_parse((const char *const *) texts->pdata, texts->len, &error);
        g_assert_nonnull(peers);
        g_assert_null(bh_peers_merge(peers, &error));
        g_assert_nonnull(strstr(error->message, "more than 16 ports"));
        g_clear_error(&error);
        g_ptr_array_add(texts, g_strdup("10.0.0.1")); /* says all that they say */
        g_autoptr(GArray) whole = bh_peers_parse((const char *const *) texts->pdata, texts->len, &error), nets = bh_peers_merge(whole, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(nets->len, ==, 1);
        g_assert_cmpuint(g_array_index(nets, BhPeerNet, 0).n, ==, 1);
        /* and of a narrower network, when those are of a wider one */
        g_ptr_array_remove_index(texts, texts->len - 1);
        g_ptr_array_remove_index(texts, texts->len - 1);
        for (guint i = 0; i < texts->len; i++) {
                g_free(texts->pdata[i]);
                texts->pdata[i] = g_strdup_printf("10.0.0.0/8:%u", i + 1);
        }
        g_ptr_array_add(texts, g_strdup("10.0.0.1"));
        g_autoptr(GArray) both = bh_peers_parse((const char *const *) texts->pdata, texts->len, &error), two = bh_peers_merge(both, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(two->len, ==, 2);
        g_assert_cmpuint(g_array_index(two, BhPeerNet, 1).n, ==, 1);
        while (texts->len <= BH_RESPONSE_PEERS_MAX)
                g_ptr_array_add(texts, g_strdup_printf("10.0.%u.%u", texts->len / 256, texts->len % 256));
        g_assert_null(bh_peers_parse((const char *const *) texts->pdata, texts->len, &error));
        g_assert_nonnull(strstr(error->message, "more than 1024 peers"));
}

static void processes_are_named_by_number_and_beginning(void) {
        static const char *const none[] = { "", "@", "4242", "x@2025-11-27T10:00:00Z", "-3@", "0@", "4242@yesterday", "99999999999@", "4242 @", NULL };
        BhProcessName p;

        g_assert_true(bh_process_name_parse("4242@2025-11-27T10:00:00.120000000Z", &p));
        g_assert_cmpint(p.pid, ==, 4242);
        g_assert_cmpint(p.started_ns, ==, G_GINT64_CONSTANT(1764237600120000000));
        g_autofree char *text = bh_process_name_text(&p);
        g_assert_cmpstr(text, ==, "4242@2025-11-27T10:00:00.120000000Z");
        g_assert_true(bh_process_name_parse("4242@", &p));
        g_assert_cmpint(p.started_ns, ==, 0);
        g_autofree char *open = bh_process_name_text(&p);
        g_assert_cmpstr(open, ==, "4242@");
        for (guint i = 0; none[i]; i++)
                g_assert_false(bh_process_name_parse(none[i], &p));
        g_assert_false(bh_process_name_parse(NULL, &p));
        g_assert_true(bh_response_action_by_policy(BH_RESPONSE_KILL));
        g_assert_false(bh_response_action_by_policy(BH_RESPONSE_KILL_TREE) || bh_response_action_by_policy(BH_RESPONSE_SCALE));
}

static void names_are_read_back(void) {
        for (guint i = 0; i < BH_RESPONSE_N_ACTIONS; i++) {
                BhResponseAction a;

                g_assert_true(bh_response_action_parse(bh_response_action_name((BhResponseAction) i), &a));
                g_assert_cmpint((gint) a, ==, (gint) i);
                g_assert_true(bh_response_action_holds(a) || !(bh_response_action_isolates(a) || bh_response_action_freezes(a)));
        }
        for (guint i = 0; i < BH_RESPONSE_N_STATES; i++) {
                BhResponseState s;

                g_assert_true(bh_response_state_parse(bh_response_state_name((BhResponseState) i), &s));
                g_assert_cmpint((gint) s, ==, (gint) i);
        }
        g_assert_false(bh_response_id_valid("../x"));
        g_assert_false(bh_response_id_valid(""));
        g_assert_true(bh_response_id_valid("r1f0"));
}

static void names_of_dns_are_read_as_they_are_written(void) {
        static const struct {
                const char *text, *name;
                gboolean below;
                guint port, proto;
        } good[] = {
                { "peer:evil.example", "evil.example", FALSE, 0, 0 },
                { "peer:EVIL.example.:443", "evil.example", FALSE, 443, 0 },
                { "peer:*.example.com:53/udp", "example.com", TRUE, 53, 17 },
                { "peer:_x-1.db/tcp", "_x-1.db", FALSE, 0, 6 },
                { "peer:db:5432", "db", FALSE, 5432, 0 },
        };
        static const char *const wrong[] = { "peer:", "peer:.", "peer:*", "peer:*.", "peer:a..b", "peer:10.0.0.1", "peer:a b", "peer:*.*.com", "peer:x.*", "peer:a:0", "peer:a:70000", "peer:a/icmp", "peer:a.b-ö", "evil.example",
                                             "peer:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example", "peer:[::1]" };
        static const char *const allow[] = { "peer:a.example", "127.0.0.11", "10.0.0.0/8", "10.0.0.2:443", "*:53/udp", "10.0.0.2:53" };
        g_autofree char *many = g_strnfill(300, 'a'), *longest = g_strconcat("peer:", many, NULL);
        BhPeerName p;

        for (guint i = 0; i < G_N_ELEMENTS(good); i++) {
                g_autoptr(GError) error = NULL;

                g_assert_true(bh_peer_name_parse(good[i].text, &p, &error));
                g_assert_cmpstr(p.name, ==, good[i].name);
                g_assert_cmpint(p.below, ==, good[i].below);
                g_assert_cmpuint(p.port, ==, good[i].port);
                g_assert_cmpuint(p.proto, ==, good[i].proto);
        }
        for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
                g_autoptr(GError) error = NULL;

                g_test_message("%s", wrong[i]);
                g_assert_false(bh_peer_name_parse(wrong[i], &p, &error));
                g_assert_nonnull(strstr(error->message, "written like"));
        }
        g_assert_false(bh_peer_name_parse(longest, &p, NULL));

        g_assert_true(bh_peer_name_parse("peer:*.example.com", &p, NULL));
        g_assert_true(bh_peer_name_matches(&p, "a.b.example.com"));
        g_assert_false(bh_peer_name_matches(&p, "example.com"));
        g_assert_false(bh_peer_name_matches(&p, "badexample.com"));
        g_assert_false(bh_peer_name_matches(&p, ".example.com"));
        g_assert_true(bh_peer_name_parse("peer:example.com", &p, NULL));
        g_assert_true(bh_peer_name_matches(&p, "example.com"));
        g_assert_false(bh_peer_name_matches(&p, "a.example.com"));

        /* in a list they have no address, and count */
        g_autoptr(GArray) peers = bh_peers_parse(allow, G_N_ELEMENTS(allow), NULL);
        g_assert_cmpuint(peers->len, ==, 6); /* *:53 are two */
        g_autoptr(GError) error = NULL;
        g_assert_true(bh_peers_have_server(allow, 6, NULL));
        g_assert_false(bh_peers_have_server(allow, 5, &error));
        g_assert_nonnull(strstr(error->message, "name server"));
        g_assert_true(bh_peers_have_server(allow + 1, 3, NULL)); /* no name: none is needed */
}

static void a_decoy_is_an_address_of_another(void) {
        static const struct {
                const char *text;
                gboolean ok;
        } decoys[] = {
                { "10.0.0.5:7000", TRUE }, { "10.0.0.5:7000/tcp", TRUE }, { "[fd00::5]:7000", TRUE }, { "[::ffff:10.0.0.5]:7000", TRUE }, { "10.0.0.5", FALSE }, { "10.0.0.0/24:7000", FALSE }, { "10.0.0.5:7000/udp", FALSE },
                { "*:7000", FALSE }, { ":7000", FALSE }, { "127.0.0.11:7000", FALSE }, { "[::1]:7000", FALSE }, { "[::]:7000", FALSE }, { "0.0.0.0:7000", FALSE }, { "224.0.0.1:7000", FALSE }, { "[ff02::1]:7000", FALSE },
                { "peer:decoy.example:7000", FALSE }, { "decoy:7000", FALSE }, { "", FALSE }, { "10.0.0.5:0", FALSE },
        };

        for (guint i = 0; i < G_N_ELEMENTS(decoys); i++) {
                g_autoptr(GError) error = NULL;
                BhPeer p = { .port = 1 };
                gboolean ok = bh_decoy_parse(decoys[i].text, &p, &error);

                g_assert_cmpint(ok, ==, decoys[i].ok);
                g_assert_cmpint(ok, ==, error == NULL);
                g_assert_cmpuint(p.port, ==, ok ? 7000 : 1);
        }
}

static void destinations_are_those_that_can_be_led(void) {
        static const struct {
                const char *to, *texts[3];
                gboolean ok;
        } orders[] = {
                { "10.0.0.5:7000", { "10.0.0.9:6379", "203.0.113.0/24", "*:22" }, TRUE },    { "10.0.0.5:7000", { "[fd00::9]:6379", "peer:*.example.com:443" }, TRUE },
                { "10.0.0.5:7000", { NULL }, FALSE },                                          { "10.0.0.5:7000", { "exec:/bin/nc" }, FALSE },
                { "10.0.0.5:7000", { "10.0.0.9", "mount" }, FALSE },                           { "10.0.0.5:7000", { "10.0.0.9:53/udp" }, FALSE },
                { "10.0.0.5:7000", { "10.0.0.9:53/tcp" }, TRUE },                              { "[fd00::5]:7000", { "[fd00::9]:6379", "fd01::/16" }, TRUE },
                { "[fd00::5]:7000", { "fd01::/16", "10.0.0.9" }, FALSE },                      { "[fd00::5]:7000", { "*:22" }, FALSE },
                { "[fd00::5]:7000", { "peer:db.example" }, TRUE },                             { "10.0.0.5:7000", { "not an address" }, FALSE },
        };

        for (guint i = 0; i < G_N_ELEMENTS(orders); i++) {
                g_autoptr(GError) error = NULL;
                BhPeer to;
                gsize n = 0;

                while (n < 3 && orders[i].texts[n])
                        n++;
                g_assert_true(bh_decoy_parse(orders[i].to, &to, NULL));
                g_assert_cmpint(bh_decoy_leads(&to, orders[i].texts, n, &error), ==, orders[i].ok);
                g_assert_cmpint(orders[i].ok, ==, error == NULL);
        }
        g_assert_false(bh_response_action_by_policy(BH_RESPONSE_DECOY));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/response/peers_are_read_as_they_are_written", peers_are_read_as_they_are_written);
        g_test_add_func("/response/a_narrow_network_keeps_what_a_wide_one_says", a_narrow_network_keeps_what_a_wide_one_says);
        g_test_add_func("/response/a_decoy_is_an_address_of_another", a_decoy_is_an_address_of_another);
        g_test_add_func("/response/destinations_are_those_that_can_be_led", destinations_are_those_that_can_be_led);
        g_test_add_func("/response/too_many_are_refused", too_many_are_refused);
        g_test_add_func("/response/names_are_read_back", names_are_read_back);
        g_test_add_func("/response/processes_are_named_by_number_and_beginning", processes_are_named_by_number_and_beginning);
        g_test_add_func("/response/names_of_dns_are_read_as_they_are_written", names_of_dns_are_read_as_they_are_written);
        return g_test_run();
}

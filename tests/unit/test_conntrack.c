/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the kernel's connection tracking, written by hand, and the table of translations. */
#include <arpa/inet.h>
#include <string.h>

#include "graph/conntrack.h"

static struct bh_ip ip(const char *text) {
        struct bh_ip out = { .len = strchr(text, ':') ? 16 : 4 };

        g_assert_cmpint(inet_pton(out.len == 16 ? AF_INET6 : AF_INET, text, out.b), ==, 1);
        return out;
}

static void put(GByteArray *a, const void *data, guint len) {
        static const guint8 zero[4];

        g_byte_array_append(a, data, len);
        g_byte_array_append(a, zero, (4 - len % 4) % 4);
}

/* Begins an attribute; its length is set by attr_end(). */
static guint attr_begin(GByteArray *a, guint16 type) {
        guint16 head[2] = { 0, type };
        guint at = a->len;

        put(a, head, sizeof(head));
        return at;
}

static void attr_end(GByteArray *a, guint at) {
        guint16 len = (guint16) (a->len - at);

        memcpy(a->data + at, &len, sizeof(len));
}

static void attr(GByteArray *a, guint16 type, const void *data, guint16 len) {
        guint16 head[2] = { (guint16) (len + 4), type };

        put(a, head, sizeof(head));
        put(a, data, len);
}

static void tuple(GByteArray *a, guint16 type, const BhConntrackWay *w, guint8 proto) {
        guint at = attr_begin(a, type | 0x8000), in = attr_begin(a, 1 | 0x8000);
        guint16 sport = htons(w->sport), dport = htons(w->dport);
        guint base = w->src.len == 16 ? 3 : 1;

        attr(a, (guint16) base, w->src.b, w->src.len);
        attr(a, (guint16) (base + 1), w->dst.b, w->dst.len);
        attr_end(a, in);
        in = attr_begin(a, 2 | 0x8000);
        attr(a, 1, &proto, 1);
        attr(a, 2, &sport, 2);
        attr(a, 3, &dport, 2);
        attr_end(a, in);
        attr_end(a, at);
}

static void message(GByteArray *a, gboolean destroy, guint8 proto, const BhConntrackWay *original, const BhConntrackWay *reply) {
        guint32 len, status = htonl(0x1be);
        guint16 type = (guint16) (1 << 8 | (destroy ? 2 : 0)), flags = 0;
        guint at = a->len;
        guint32 zero[2] = { 0 };
        guint8 family[4] = { AF_INET };

        put(a, &at, 4);
        put(a, (guint16[]){ type, flags }, 4);
        put(a, zero, 8);
        put(a, family, 4);
        tuple(a, 1, original, proto);
        tuple(a, 2, reply, proto);
        attr(a, 3, &status, 4);
        len = a->len - at;
        memcpy(a->data + at, &len, 4);
}

static void keep(const BhConntrackEntry *e, gpointer data) {
        g_array_append_vals(data, e, 1);
}

static const BhConntrackWay *ways(gboolean six) {
        static BhConntrackWay w[2];

        if (six) {
                w[0] = (BhConntrackWay){ ip("2001:db8::1"), ip("2001:db8::2"), 40000, 443 };
                w[1] = (BhConntrackWay){ ip("fd00::3"), ip("2001:db8::1"), 8443, 40000 };
        } else {
                w[0] = (BhConntrackWay){ ip("172.18.0.2"), ip("10.0.0.5"), 40000, 8080 };
                w[1] = (BhConntrackWay){ ip("172.18.0.3"), ip("172.18.0.1"), 80, 61000 };
        }
        return w;
}

static void test_messages_are_read(void) {
        g_autoptr(GByteArray) a = g_byte_array_new();
        g_autoptr(GArray) got = g_array_new(FALSE, FALSE, sizeof(BhConntrackEntry));
        guint32 done[4] = { 16, 3, 0, 0 }, error[5] = { 20, 2, 0, 0, (guint32) -1 };
        BhConntrackWay plain[2] = { { ip("10.0.0.1"), ip("10.0.0.2"), 1, 2 }, { ip("10.0.0.2"), ip("10.0.0.1"), 2, 1 } };
        gboolean ended = FALSE;
        int err = 0;

        message(a, FALSE, 6, &ways(FALSE)[0], &ways(FALSE)[1]);
        message(a, TRUE, 17, &ways(TRUE)[0], &ways(TRUE)[1]);
        message(a, FALSE, 6, &plain[0], &plain[1]);
        message(a, FALSE, 1, &plain[0], &plain[1]); /* ICMP has no ports */
        put(a, done, sizeof(done));
        put(a, error, sizeof(error));
        g_assert_cmpuint(bh_conntrack_parse(a->data, a->len, keep, got, &ended, &err), ==, 1);
        g_assert_true(ended);
        g_assert_cmpint(err, ==, 1);
        g_assert_cmpuint(got->len, ==, 3);
        const BhConntrackEntry *e = &g_array_index(got, BhConntrackEntry, 0);
        g_assert_cmpint(e[0].change, ==, BH_CONNTRACK_NEW);
        g_assert_cmpuint(e[0].proto, ==, 6);
        g_assert_true(e[0].translated);
        g_assert_cmpuint(e[0].reply.dport, ==, 61000);
        g_assert_cmpmem(e[0].original.dst.b, 4, ip("10.0.0.5").b, 4);
        g_assert_cmpint(e[1].change, ==, BH_CONNTRACK_DESTROY);
        g_assert_cmpuint(e[1].original.src.len, ==, 16);
        g_assert_true(e[1].translated);
        g_assert_false(e[2].translated);
}

/* Every cut of a message, and every byte of it changed, is survived. */
static void test_broken_messages(void) {
        g_autoptr(GByteArray) a = g_byte_array_new();
        g_autoptr(GArray) got = g_array_new(FALSE, FALSE, sizeof(BhConntrackEntry));

        message(a, FALSE, 6, &ways(FALSE)[0], &ways(FALSE)[1]);
        for (guint len = 0; len < a->len; len++) {
                g_autofree guint8 *copy = g_memdup2(a->data, MAX(len, 1));

                bh_conntrack_parse(copy, len, keep, got, NULL, NULL);
        }
        g_assert_cmpuint(got->len, ==, 0);
        for (guint i = 0; i < a->len; i++) {
                for (guint v = 0; v < 256; v += 5) {
                        g_autofree guint8 *copy = g_memdup2(a->data, a->len);

                        copy[i] = (guint8) v;
                        bh_conntrack_parse(copy, a->len, keep, got, NULL, NULL);
                }
        }
}

static void expect_ends(const BhConntrackEnds *e, const char *client, guint16 client_port, const char *server, guint16 server_port) {
        struct bh_ip c = ip(client), s = ip(server);

        g_assert_cmpmem(e->client.b, e->client.len, c.b, c.len);
        g_assert_cmpmem(e->server.b, e->server.len, s.b, s.len);
        g_assert_cmpuint(e->client_port, ==, client_port);
        g_assert_cmpuint(e->server_port, ==, server_port);
}

static void test_translations_are_undone(void) {
        g_autoptr(BhConntrack) c = bh_conntrack_new(0);
        BhConntrackEntry e = { .proto = 6, .translated = TRUE, .original = ways(FALSE)[0], .reply = ways(FALSE)[1] };
        struct bh_ip client = ip("172.18.0.2"), dialled = ip("10.0.0.5"), server = ip("172.18.0.3"), gateway = ip("172.18.0.1");
        BhConntrackEnds ends;

        g_assert_false(bh_conntrack_undo_client(c, 6, &client, 40000, &dialled, 8080, &ends));
        expect_ends(&ends, "172.18.0.2", 40000, "10.0.0.5", 8080);
        bh_conntrack_apply(c, &e, 1);
        g_assert_true(bh_conntrack_undo_client(c, 6, &client, 40000, &dialled, 8080, &ends));
        expect_ends(&ends, "172.18.0.2", 40000, "172.18.0.3", 80);
        g_assert_true(bh_conntrack_undo_server(c, 6, &server, 80, &gateway, 61000, &ends));
        expect_ends(&ends, "172.18.0.2", 40000, "172.18.0.3", 80);
        g_assert_cmpuint(ends.dialled_port, ==, 8080);
        g_assert_false(bh_conntrack_undo_client(c, 17, &client, 40000, &dialled, 8080, &ends));
        g_assert_false(bh_conntrack_undo_server(c, 6, &server, 80, &gateway, 61001, &ends));

        /* its end comes before the last events of it */
        e.change = BH_CONNTRACK_DESTROY;
        bh_conntrack_apply(c, &e, 2);
        g_assert_true(bh_conntrack_undo_client(c, 6, &client, 40000, &dialled, 8080, &ends));
        e.change = BH_CONNTRACK_NEW;
        e.original.sport = 1;
        e.reply.dport = 2;
        bh_conntrack_apply(c, &e, 3 + BH_CONNTRACK_KEEP_US);
        g_assert_false(bh_conntrack_undo_client(c, 6, &client, 40000, &dialled, 8080, &ends));
        /* the same addresses again, without translation */
        e.translated = FALSE;
        bh_conntrack_apply(c, &e, 4);
        g_assert_false(bh_conntrack_undo_client(c, 6, &client, 1, &dialled, 8080, &ends));
}

static void test_the_one_used_longest_ago_goes(void) {
        g_autoptr(BhConntrack) c = bh_conntrack_new(10);
        BhConntrackEntry e = { .proto = 6, .translated = TRUE, .original = ways(FALSE)[0], .reply = ways(FALSE)[1] };
        struct bh_ip client = ip("172.18.0.2"), dialled = ip("10.0.0.5");
        BhConntrackStats stats;
        BhConntrackEnds ends;

        for (guint16 i = 0; i < 100; i++) {
                e.original.sport = (guint16) (1000 + i);
                e.reply.dport = (guint16) (2000 + i);
                bh_conntrack_apply(c, &e, 1);
                bh_conntrack_undo_client(c, 6, &client, 1000, &dialled, 8080, &ends);
        }
        bh_conntrack_stats(c, &stats);
        g_assert_cmpuint(stats.entries, ==, 10);
        g_assert_cmpuint(stats.evicted, ==, 90);
        g_assert_true(bh_conntrack_undo_client(c, 6, &client, 1000, &dialled, 8080, &ends));
        g_assert_true(bh_conntrack_undo_client(c, 6, &client, 1099, &dialled, 8080, &ends));
        g_assert_false(bh_conntrack_undo_client(c, 6, &client, 1050, &dialled, 8080, &ends));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/conntrack/messages_are_read", test_messages_are_read);
        g_test_add_func("/conntrack/broken_messages", test_broken_messages);
        g_test_add_func("/conntrack/translations_are_undone", test_translations_are_undone);
        g_test_add_func("/conntrack/the_one_used_longest_ago_goes", test_the_one_used_longest_ago_goes);
        return g_test_run();
}

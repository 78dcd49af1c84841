/* SPDX-License-Identifier: Apache-2.0 */
#include <glib.h>
#include <string.h>

#include "sensor/tls_hello.h"

typedef struct {
        guint n;
        guint64 connection;
        char client[16], server[16]; /* the beginnings */
        gsize client_len, server_len;
} Seen;

static void on_seen(const BhTlsHandshake *h, gpointer data) {
        Seen *s = data;

        *s = (Seen){ .n = s->n + 1, .connection = h->piece->connection, .client_len = h->client_len, .server_len = h->server_len };
        if (h->client_len)
                memcpy(s->client, h->client, MIN(h->client_len, sizeof(s->client) - 1));
        if (h->server_len) /* NULL where it said nothing */
                memcpy(s->server, h->server, MIN(h->server_len, sizeof(s->server) - 1));
}

static void piece(BhTlsHellos *h, guint64 connection, gboolean sent, guint64 offset, const char *bytes, guint flags) {
        BhPayloadPiece p = { .connection = connection, .sent = sent, .offset = offset, .side = BH_PAYLOAD_CLIENT, .protocol = BH_PAYLOAD_TLS_HELLO, .flags = flags, .bytes = (const guint8 *) bytes,
                             .len = (guint32) strlen(bytes), .total = (guint32) strlen(bytes) };

        bh_tls_hellos_piece(h, &p);
}

static void handshake_is_given_once_when_it_is_over(void) {
        static const guint over[] = { BH_PAYLOAD_TLS_CLOSED, BH_PAYLOAD_TLS, BH_PAYLOAD_CLOSE };

        for (guint i = 0; i < G_N_ELEMENTS(over); i++) {
                Seen seen = { 0 };
                g_autoptr(BhTlsHellos) h = bh_tls_hellos_new(on_seen, &seen);

                piece(h, 1, TRUE, 0, "cli", BH_PAYLOAD_OPEN);
                piece(h, 1, TRUE, 3, "ent", 0);
                piece(h, 1, FALSE, 0, "server", 0);
                piece(h, 1, FALSE, 100, "behind a gap", BH_PAYLOAD_SKIPPED);
                g_assert_cmpuint(seen.n, ==, 0);
                piece(h, 1, TRUE, 6, i == 1 ? "GET /" : "", over[i]);
                g_assert_cmpuint(seen.n, ==, 1);
                g_assert_cmpstr(seen.client, ==, "client");
                g_assert_cmpstr(seen.server, ==, "server");
                piece(h, 1, TRUE, 11, "more", BH_PAYLOAD_TLS);
                piece(h, 1, TRUE, 0, "", BH_PAYLOAD_CLOSE);
                g_assert_cmpuint(seen.n, ==, 1);
                g_assert_cmpuint(bh_tls_hellos_open(h), ==, 0);
        }
}

/* The pieces of a header that stood by itself were told as a proxy's; with another protocol behind it nothing is given. */
static void what_stands_behind_a_proxys_header_is_given(void) {
        for (guint i = 0; i < 3; i++) {
                Seen seen = { 0 };
                g_autoptr(BhTlsHellos) h = bh_tls_hellos_new(on_seen, &seen);
                BhPayloadPiece p = { .connection = 1, .sent = TRUE, .side = BH_PAYLOAD_CLIENT, .protocol = BH_PAYLOAD_PROXY, .flags = BH_PAYLOAD_OPEN, .bytes = (const guint8 *) "PROXY x\r\n", .len = 9 };

                bh_tls_hellos_piece(h, &p);
                g_assert_cmpuint(bh_tls_hellos_open(h), ==, 1);
                if (!i) {
                        piece(h, 1, TRUE, 9, "client", 0);
                        piece(h, 1, FALSE, 0, "server", 0);
                        piece(h, 1, TRUE, 15, "", BH_PAYLOAD_TLS_CLOSED);
                        g_assert_cmpstr(seen.client, ==, "PROXY x\r\nclient");
                        g_assert_cmpstr(seen.server, ==, "server");
                } else {
                        p.protocol = i == 1 ? BH_PAYLOAD_HTTP1 : BH_PAYLOAD_PROXY;
                        p.flags = i == 1 ? 0 : BH_PAYLOAD_CLOSE;
                        bh_tls_hellos_piece(h, &p);
                }
                g_assert_cmpuint(seen.n, ==, !i);
                g_assert_cmpuint(bh_tls_hellos_open(h), ==, 0);
        }
}

static void bounds_hold(void) {
        g_autofree char *many = g_strnfill(BH_TLS_HELLO_BYTES + 7, 'x');
        Seen seen = { 0 };
        g_autoptr(BhTlsHellos) h = bh_tls_hellos_new(on_seen, &seen);

        piece(h, 1, TRUE, 0, many, BH_PAYLOAD_OPEN);
        piece(h, 1, FALSE, 0, many, 0);
        g_assert_cmpuint(seen.n, ==, 1);
        g_assert_cmpuint(seen.client_len, ==, BH_TLS_HELLO_BYTES);
        g_assert_cmpuint(seen.server_len, ==, BH_TLS_HELLO_BYTES);
        for (guint i = 0; i <= BH_TLS_HELLO_OPEN; i++)
                piece(h, 100 + i, TRUE, 0, "a", BH_PAYLOAD_OPEN);
        g_assert_cmpuint(bh_tls_hellos_open(h), ==, BH_TLS_HELLO_OPEN);
        g_assert_cmpuint(seen.n, ==, 2); /* the oldest, as it was */
        g_assert_cmpuint(seen.connection, ==, 100);
        piece(h, 5000, TRUE, 9, "later", 0); /* whose beginning was not seen */
        g_assert_cmpuint(bh_tls_hellos_open(h), ==, BH_TLS_HELLO_OPEN);
}

static void one_container_is_given_so_many_in_a_second(void) {
        Seen seen = { 0 };
        BhTlsHellosStats stats;
        g_autoptr(BhTlsHellos) h = bh_tls_hellos_new(on_seen, &seen);

        for (guint i = 0; i < BH_TLS_HELLO_SECOND + 3; i++) {
                piece(h, 1 + i, TRUE, 0, "a", BH_PAYLOAD_OPEN);
                piece(h, 1 + i, TRUE, 1, "", BH_PAYLOAD_CLOSE);
        }
        bh_tls_hellos_stats(h, &stats);
        g_assert_cmpuint(seen.n, ==, BH_TLS_HELLO_SECOND);
        g_assert_cmpuint(stats.given, ==, BH_TLS_HELLO_SECOND);
        g_assert_cmpuint(stats.passed_over, ==, 3);
        g_assert_cmpuint(bh_tls_hellos_open(h), ==, 0);
        /* another container's, and the next second's, are */
        for (guint i = 0; i < 2; i++) {
                BhPayloadPiece p = { .connection = 90 + i, .sent = TRUE, .side = BH_PAYLOAD_CLIENT, .protocol = BH_PAYLOAD_TLS_HELLO, .flags = BH_PAYLOAD_OPEN, .bytes = (const guint8 *) "a", .len = 1,
                                     .container = i ? 0 : 7, .time_ns = i ? 5000000000 : 0 };

                bh_tls_hellos_piece(h, &p);
                p.flags = BH_PAYLOAD_CLOSE;
                bh_tls_hellos_piece(h, &p);
                g_assert_cmpuint(seen.n, ==, BH_TLS_HELLO_SECOND + 1 + i);
        }
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/tls_hello/handshake_is_given_once_when_it_is_over", handshake_is_given_once_when_it_is_over);
        g_test_add_func("/tls_hello/what_stands_behind_a_proxys_header_is_given", what_stands_behind_a_proxys_header_is_given);
        g_test_add_func("/tls_hello/bounds_hold", bounds_hold);
        g_test_add_func("/tls_hello/one_container_is_given_so_many_in_a_second", one_container_is_given_so_many_in_a_second);
        return g_test_run();
}

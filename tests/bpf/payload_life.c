/* SPDX-License-Identifier: Apache-2.0 */
/* What of a container's connections is looked at, how much of them, and for how long. */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "kernel.h"
#include "payload_env.h"

/* ---- what is looked at, and what is not ---- */

static void act_redis(guint step) {
        move_text(client_fd, server_fd, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n");
        move_text(server_fd, client_fd, "+OK\r\n");
}

static void act_banner(guint step) {
        move_text(server_fd, client_fd, "SSH-2.0-OpenSSH_9.2\r\n");
        move_text(client_fd, server_fd, "GET / HTTP/1.1\r\n\r\n");
}

static void act_http(guint step) {
        move_text(client_fd, server_fd, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
        move_text(server_fd, client_fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

void nothing_of_other_protocols_is_copied(gconstpointer data) {
        static void (*const acts[])(guint) = { act_redis, act_banner };
        BhPayloadAccount before, after;
        BhPayloadStats then, later;

        if (!begin(data))
                return;
        for (guint i = 0; i < G_N_ELEMENTS(acts); i++) {
                check_account(&before);
                bh_payload_stats(payload, &then);
                Child c = child_new(acts[i], 0, TRUE);
                child_step(&c);
                child_step(&c);
                child_end(&c);
                wait_for_all();
                g_assert_cmpuint(count_of(c.client, c.server), ==, 0);
                check_account(&after);
                bh_payload_stats(payload, &later);
                g_assert_cmpuint(after.moved, ==, before.moved);
                g_assert_cmpuint(later.ignored, >=, then.ignored + 2);
                g_assert_cmpuint(later.followed, ==, then.followed);
        }
}

static void set(guint64 of, BhPayloadRule rule) {
        g_autoptr(GError) error = NULL;

        g_assert_true(bh_payload_set(payload, of, &rule, &error));
        g_assert_no_error(error);
}

#define OTHER 300u
static guint8 other_bytes[2000];

/* A shell that calls home: commands one way, what they print the other. */
static void act_shell(guint step) {
        if (step == 0) {
                move_text(client_fd, server_fd, "$ ");
                move_text(server_fd, client_fd, "id\n");
        } else {
                move_bytes(client_fd, server_fd, other_bytes, sizeof(other_bytes));
                move_text(server_fd, client_fd, "exit\n");
        }
}

/* What of it each end told, as OTHER. */
static void assert_other(const Child *c, const char *sent, gsize sent_len, const char *got) {
        guint8 to[sizeof(other_bytes)];
        const Piece *first = piece_with(c->client, c->server, 0, WAIT_MS);

        g_assert_nonnull(first);
        g_assert_cmpmem(to, put_together(c->client, c->server, TRUE, to, sizeof(to)), sent, sent_len);
        g_assert_cmpmem(to, put_together(c->client, c->server, FALSE, to, sizeof(to)), got, strlen(got));
        g_mutex_lock(&lock);
        for (guint i = 0; i < pieces->len; i++) {
                const Piece *p = pieces->pdata[i];

                if (p->p.lport == c->client && p->p.rport == c->server && p->p.len && p->p.offset)
                        g_assert_cmpint(p->p.protocol, ==, BH_PAYLOAD_OTHER);
        }
        g_mutex_unlock(&lock);
}

void other_protocols_are_told_where_that_is_asked_for(gconstpointer data) {
        g_autoptr(GError) error = NULL;
        BhPayloadAccount account;

        if (!begin(data))
                return;
        memset(other_bytes, 'x', sizeof(other_bytes));
        g_assert_true(bh_payload_other(payload, container, OTHER, &error));
        g_assert_no_error(error);
        Child c = child_new(act_shell, 0, TRUE);
        child_step(&c);
        wait_for_all();
        assert_other(&c, "$ ", 2, "id\n");
        child_step(&c);
        child_end(&c);
        wait_for_all();
        check_account(&account);
        guint8 to[sizeof(other_bytes)];
        const guint64 n = put_together(c.client, c.server, TRUE, to, sizeof(to));
        /* the first bytes may have come before it was decided, and are within another bound */
        g_assert_cmpuint(n, >=, OTHER);
        g_assert_cmpuint(n, <=, OTHER + 2);
        g_assert_nonnull(piece_with(c.client, c.server, BH_PAYLOAD_CLOSE, WAIT_MS));

        /* not any more; and of one that is open and was ignored what comes next */
        forget_pieces();
        g_assert_true(bh_payload_other(payload, container, 0, &error));
        c = child_new(act_shell, 0, TRUE);
        child_step(&c);
        wait_for_all();
        g_assert_cmpuint(count_of(c.client, c.server), ==, 0);
        g_assert_true(bh_payload_other(payload, container, OTHER, &error));
        child_step(&c);
        child_end(&c);
        wait_for_all();
        const Piece *next = piece_with(c.client, c.server, 0, WAIT_MS);
        g_assert_nonnull(next);
        g_assert_cmpint(next->p.protocol, ==, BH_PAYLOAD_OTHER);
        g_assert_cmpuint(next->p.offset, ==, next->p.sent ? 2 : 3);
        check_account(&account);

        /* of one that is told so nothing goes on when it is not asked for any more, nor is it counted */
        BhPayloadAccount then;
        forget_pieces();
        c = child_new(act_shell, 0, TRUE);
        child_step(&c);
        wait_for_all();
        assert_other(&c, "$ ", 2, "id\n");
        g_assert_true(bh_payload_other(payload, container, 0, &error));
        check_account(&then);
        child_step(&c);
        child_end(&c);
        wait_for_all();
        assert_other(&c, "$ ", 2, "id\n");
        check_account(&account);
        g_assert_cmpuint(account.moved, ==, then.moved);
        g_assert_true(bh_payload_other(payload, container, OTHER, &error));

        /* requests are followed as ever, and the container's rule is its own */
        forget_pieces();
        set(container, (BhPayloadRule) { .bytes_per_request = 100 });
        c = child_new(act_http, 0, TRUE);
        child_step(&c);
        child_end(&c);
        wait_for_all();
        g_assert_cmpint(piece_with(c.client, c.server, 0, WAIT_MS)->p.protocol, ==, BH_PAYLOAD_HTTP1);
        forget_pieces();
        set(container, (BhPayloadRule) { .off = TRUE });
        c = child_new(act_shell, 0, TRUE);
        child_step(&c);
        child_end(&c);
        wait_for_all();
        g_assert_cmpuint(count_of(c.client, c.server), ==, 0);
        g_assert_true(bh_payload_other(payload, container, 0, &error));
        g_assert_true(bh_payload_set(payload, container, NULL, &error));
        check_account(&account);
}

void nothing_of_the_host_is_looked_at(gconstpointer data) {
        BhPayloadStats then, later;

        if (!begin(data))
                return;
        bh_payload_stats(payload, &then);
        Child c = child_new(act_http, 0, FALSE);
        child_step(&c);
        child_end(&c);
        wait_for_all();
        bh_payload_stats(payload, &later);
        g_assert_cmpuint(count_of(c.client, c.server), ==, 0);
        g_assert_cmpuint(later.followed, ==, then.followed);
}

static void act_tls(guint step) {
        static const guint8 client_hello[] = { 22, 3, 1, 0, 8, 1, 0, 0, 4, 3, 3, 0, 0 }, server_hello[] = { 22, 3, 3, 0, 8, 2, 0, 0, 4, 3, 3, 0, 0 };
        static const guint8 data[] = { 23, 3, 3, 0, 4, 1, 2, 3, 4 };

        if (step == 0) {
                move_bytes(client_fd, server_fd, client_hello, sizeof(client_hello));
                move_bytes(server_fd, client_fd, server_hello, sizeof(server_hello));
        }
        move_bytes(client_fd, server_fd, data, sizeof(data));
        move_bytes(server_fd, client_fd, data, sizeof(data));
}

void of_tls_the_handshake_is_told_and_then_that_it_is_closed(gconstpointer data) {
        BhPayloadAccount before, after;
        const Piece *hello, *closed;

        if (!begin(data))
                return;
        check_account(&before);
        Child c = child_new(act_tls, 0, TRUE);
        child_step(&c);
        child_step(&c);
        child_end(&c);
        g_assert_nonnull(piece_with(c.client, c.server, BH_PAYLOAD_CLOSE, WAIT_MS));
        g_assert_nonnull(piece_with(c.server, c.client, BH_PAYLOAD_CLOSE, WAIT_MS));
        g_assert_nonnull(hello = piece_with(c.client, c.server, BH_PAYLOAD_OPEN, 0));
        g_assert_cmpint(hello->p.protocol, ==, BH_PAYLOAD_TLS_HELLO);
        g_assert_cmpuint(hello->p.len, ==, 13);
        g_assert_nonnull(closed = piece_with(c.client, c.server, BH_PAYLOAD_TLS_CLOSED, 0));
        g_assert_cmpuint(closed->p.len, ==, 0);
        g_assert_cmpuint(closed->p.connection, ==, hello->p.connection);
        /* of each end: both hellos, that it is closed, that it is over */
        g_assert_cmpuint(count_of(c.client, c.server), ==, 8);
        check_account(&after);
        g_assert_cmpuint(after.tls_closed - before.tls_closed, ==, 2);
}

/* TLS behind what a proxy says: in a call of its own, in one with the hello (version 2), in pieces; and HTTP behind it. */
#define V1 "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"
#define V2 "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" "\1\1\1\1\2\2\2\2\3\3\4\4"
#define HELLO "\x16\3\1\0\x08\1\0\0\4\3\3\0\0"

static void tls_goes_on(void) {
        static const guint8 server_hello[] = { 22, 3, 3, 0, 8, 2, 0, 0, 4, 3, 3, 0, 0 }, data[] = { 23, 3, 3, 0, 4, 1, 2, 3, 4 };

        move_bytes(server_fd, client_fd, server_hello, sizeof(server_hello));
        move_bytes(client_fd, server_fd, data, sizeof(data));
        move_bytes(server_fd, client_fd, data, sizeof(data));
}

static void act_proxy_apart(guint step) {
        move_bytes(client_fd, server_fd, V1, sizeof(V1) - 1);
        move_bytes(client_fd, server_fd, HELLO, sizeof(HELLO) - 1);
        tls_goes_on();
}

static void act_proxy_together(guint step) {
        move_bytes(client_fd, server_fd, V2 HELLO, sizeof(V2 HELLO) - 1);
        tls_goes_on();
}

static void act_proxy_pieces(guint step) {
        move_bytes(client_fd, server_fd, V1, 9);
        move_bytes(client_fd, server_fd, V1 HELLO + 9, sizeof(V1 HELLO) - 1 - 9);
        tls_goes_on();
}

/* The head of the hello's record alone, as libraries read it. */
static void act_proxy_head(guint step) {
        move_bytes(client_fd, server_fd, V1, sizeof(V1) - 1);
        move_bytes(client_fd, server_fd, HELLO, 5);
        move_bytes(client_fd, server_fd, HELLO + 5, sizeof(HELLO) - 1 - 5);
        tls_goes_on();
}

/* Requests that look like a proxy's header with a hello behind it, which is the body of the first, or a field of it; the one that follows must be seen. */
#define FAKE_LINE "PROXY / HTTP/1.1\r\n"
#define FAKE_WORD "PROXY UNKNOWN HTTP/1.1\r\n"
#define FAKE_BARE "PROXY TCP4\r\n"
#define FAKE_HEAD "Host: a\r\nContent-Length: 6\r\n\r\n"
#define FAKE_BODY "\x16\3\1\0\2\1"
#define ATTACK "GET /?a=1%27 HTTP/1.1\r\nHost: a\r\n\r\n"

static void proxy_fake(const char *line, const char *head) {
        move_text(client_fd, server_fd, line);
        if (*head)
                move_text(client_fd, server_fd, head);
        move_bytes(client_fd, server_fd, FAKE_BODY, sizeof(FAKE_BODY) - 1);
        move_text(client_fd, server_fd, ATTACK);
        move_text(server_fd, client_fd, "HTTP/1.1 200 O\r\n\r\n");
}

static void act_proxy_fake(guint step) {
        proxy_fake(FAKE_LINE, FAKE_HEAD);
}

static void act_proxy_fake_word(guint step) {
        proxy_fake(FAKE_WORD, "");
}

static void act_proxy_fake_bare(guint step) {
        proxy_fake(FAKE_BARE, FAKE_HEAD);
}

static void act_proxy_fake_pieces(guint step) {
        move_text(client_fd, server_fd, "PROXY ");
        proxy_fake(FAKE_LINE + 6, FAKE_HEAD);
}

static void act_proxy_http(guint step) {
        move_text(client_fd, server_fd, V1);
        move_text(client_fd, server_fd, "GET / HTTP/1.1\r\n\r\n");
        move_text(server_fd, client_fd, "HTTP/1.1 200 O\r\n\r\n");
}

void tls_behind_a_proxys_header_is_told_as_tls(gconstpointer data) {
        static const struct {
                void (*act)(guint step);
                const char *bytes;
                gsize len;
                gboolean tls;
        } cases[] = {
                { act_proxy_apart, V1 HELLO, sizeof(V1 HELLO) - 1, TRUE },
                { act_proxy_together, V2 HELLO, sizeof(V2 HELLO) - 1, TRUE },
                { act_proxy_pieces, V1 HELLO, sizeof(V1 HELLO) - 1, TRUE },
                { act_proxy_head, V1 HELLO, sizeof(V1 HELLO) - 1, TRUE },
                { act_proxy_fake, FAKE_LINE FAKE_HEAD FAKE_BODY ATTACK, sizeof(FAKE_LINE FAKE_HEAD FAKE_BODY ATTACK) - 1, FALSE },
                { act_proxy_fake_word, FAKE_WORD FAKE_BODY ATTACK, sizeof(FAKE_WORD FAKE_BODY ATTACK) - 1, FALSE },
                { act_proxy_fake_bare, FAKE_BARE FAKE_HEAD FAKE_BODY ATTACK, sizeof(FAKE_BARE FAKE_HEAD FAKE_BODY ATTACK) - 1, FALSE },
                { act_proxy_fake_pieces, FAKE_LINE FAKE_HEAD FAKE_BODY ATTACK, sizeof(FAKE_LINE FAKE_HEAD FAKE_BODY ATTACK) - 1, FALSE },
                { act_proxy_http, V1 "GET / HTTP/1.1\r\n\r\n", sizeof(V1) - 1 + 18, FALSE },
        };

        if (!begin(data))
                return;
        for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
                guint8 got[256] = { 0 };
                Child c = child_new(cases[i].act, 0, TRUE);

                child_step(&c);
                child_end(&c);
                for (guint end = 0; end < 2; end++) {
                        guint16 at = end ? c.server : c.client, to = end ? c.client : c.server;
                        const Piece *closed = piece_with(at, to, BH_PAYLOAD_CLOSE, WAIT_MS);

                        g_assert_nonnull(closed);
                        g_assert_cmpint(closed->p.protocol, ==, cases[i].tls ? BH_PAYLOAD_TLS_HELLO : BH_PAYLOAD_HTTP1);
                        g_assert_cmpint(piece_with(at, to, BH_PAYLOAD_TLS_CLOSED, 0) != NULL, ==, cases[i].tls);
                        g_assert_cmpuint(put_together(at, to, !end, got, cases[i].len), ==, cases[i].len);
                        g_assert_cmpmem(got, cases[i].len, cases[i].bytes, cases[i].len);
                }
        }
}

static void act_dns(guint step) {
        static const guint8 query[] = { 0, 19, 1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 0, 0, 1, 0, 1 };

        move_bytes(client_fd, server_fd, query, 2);
        move_bytes(client_fd, server_fd, query + 2, sizeof(query) - 2);
        move_bytes(server_fd, client_fd, query, sizeof(query));
}

void dns_over_tcp_is_followed_on_its_port(gconstpointer data) {
        guint8 got[21] = { 0 };

        if (!begin(data))
                return;
        Child c = child_new(act_dns, 53, TRUE);
        child_step(&c);
        child_end(&c);
        g_assert_nonnull(piece_with(c.client, c.server, BH_PAYLOAD_CLOSE, WAIT_MS));
        g_assert_cmpuint(put_together(c.client, c.server, TRUE, got, sizeof(got)), ==, sizeof(got));
        g_assert_cmpint(piece_with(c.client, c.server, BH_PAYLOAD_CLOSE, 0)->p.protocol, ==, BH_PAYLOAD_DNS);
        g_assert_cmpint(piece_with(c.client, c.server, BH_PAYLOAD_CLOSE, 0)->p.side, ==, BH_PAYLOAD_CLIENT);
        /* the same bytes on another port say nothing */
        c = child_new(act_dns, 0, TRUE);
        child_step(&c);
        child_end(&c);
        wait_for_all();
        g_assert_cmpuint(count_of(c.client, c.server), ==, 0);
}

/* One step of a connection before anybody looks, and two after: what of it the server read is told from its first piece on, which is returned. */
static const Piece *after_start(void (*act)(guint step), Child *c) {
        g_autoptr(GError) error = NULL;
        const Piece *first;

        bh_payload_stop(payload);
        *c = child_new(act, 0, TRUE);
        child_step(c);
        wait_for_all();
        g_assert_cmpuint(count_of(c->client, c->server), ==, 0);
        g_assert_true(bh_payload_start(payload, &error));
        child_step(c);
        child_step(c);
        child_end(c);
        g_assert_nonnull(piece_with(c->server, c->client, BH_PAYLOAD_CLOSE, WAIT_MS));
        first = piece_with(c->server, c->client, BH_PAYLOAD_OPEN, 0);
        g_assert_nonnull(first);
        return first;
}

void connection_that_was_open_before_is_followed_from_its_next_request(gconstpointer data) {
        const Piece *first;
        Child c;

        if (!begin(data))
                return;
        first = after_start(act_http, &c);
        g_assert_cmpuint(first->p.offset, ==, strlen("GET /a HTTP/1.1\r\nHost: x\r\n\r\n"));
        g_assert_true(first->p.flags & BH_PAYLOAD_SKIPPED);
        g_assert_cmpint(first->p.side, ==, BH_PAYLOAD_SERVER);
        g_assert_cmpmem(first->bytes, first->p.len, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n", 28);
}

#define REQUEST "GET /a HTTP/1.1\r\nHost: x\r\n\r\n"

/* What is sent byte by byte from its first byte on, on a connection that was open before, or behind more empty lines than are looked at. */
static void act_single_bytes(guint step) {
        static const char *const texts[] = { REQUEST, "\r\n\r\n\r\n\r\n\r\n" REQUEST };

        for (const char *at = texts[step % 2]; *at; at++)
                move_bytes(client_fd, server_fd, at, 1);
        move_text(server_fd, client_fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

/* What was told of the server's reads, one behind the other from `from` on. */
static char *text_of_reads(const Child *c, guint64 from) {
        GString *text = g_string_new(NULL);

        g_mutex_lock(&lock);
        for (guint i = 0; i < pieces->len; i++) {
                const Piece *x = pieces->pdata[i];

                if (x->p.lport != c->server || x->p.rport != c->client || x->p.sent || !x->p.len)
                        continue;
                g_assert_cmpuint(x->p.offset, ==, from + text->len);
                g_string_append_len(text, (const char *) x->bytes, x->p.len);
        }
        g_mutex_unlock(&lock);
        return g_string_free(text, FALSE);
}

void request_in_single_bytes_is_followed_from_its_first(gconstpointer data) {
        BhPayloadAccount account;
        const Piece *first;
        Child c;

        if (!begin(data))
                return;
        first = after_start(act_single_bytes, &c);
        g_assert_true(first->p.flags & BH_PAYLOAD_TURN);
        g_assert_cmpint(first->p.protocol, ==, BH_PAYLOAD_HTTP1);
        g_autofree char *later = text_of_reads(&c, strlen(REQUEST));
        g_assert_cmpstr(later, ==, "\r\n\r\n\r\n\r\n\r\n" REQUEST REQUEST);
        check_account(&account);

        /* the same on a new connection */
        forget_pieces();
        c = child_new(act_single_bytes, 0, TRUE);
        child_step(&c);
        child_step(&c);
        child_end(&c);
        g_assert_nonnull(piece_with(c.server, c.client, BH_PAYLOAD_CLOSE, WAIT_MS));
        g_autofree char *all = text_of_reads(&c, 0);
        g_assert_cmpstr(all, ==, REQUEST "\r\n\r\n\r\n\r\n\r\n" REQUEST);
        check_account(&account);
}

void connection_that_is_ignored_tells_nothing_more(gconstpointer data) {
        const Piece *first;
        guint n;

        if (!begin(data))
                return;
        Child c = child_new(act_http, 0, TRUE);
        child_step(&c);
        g_assert_nonnull(first = piece_with(c.server, c.client, BH_PAYLOAD_OPEN, WAIT_MS));
        bh_payload_ignore(payload, first->p.connection + 1, first->p.sk); /* another's: nothing happens */
        child_step(&c);
        wait_for_all();
        g_assert_cmpuint(n = count_of(c.client, c.server), ==, 8);
        bh_payload_ignore(payload, first->p.connection, first->p.sk);
        child_step(&c);
        child_end(&c);
        wait_for_all();
        g_assert_cmpuint(count_of(c.client, c.server), ==, n + 3); /* the client's end alone: request, response, its end */
}

/* ---- bounds ---- */

#define LONG 50000u
static guint8 long_request[LONG];

static void act_long(guint step) {
        move_bytes(client_fd, server_fd, long_request, LONG);
        move_text(server_fd, client_fd, "HTTP/1.1 200 OK\r\n\r\n");
}

/* One long request; what the server's end of it has, and its account. */
static void run_long(BhPayloadAccount *by, const Piece **first) {
        BhPayloadAccount before, after;

        memset(long_request, 'a', sizeof(long_request));
        memcpy(long_request, "POST / HTTP/1.1\r\n", 17);
        forget_pieces();
        check_account(&before);
        Child c = child_new(act_long, 0, TRUE);
        child_step(&c);
        child_end(&c);
        wait_for_all();
        check_account(&after);
        for (guint i = 0; i < sizeof(after) / sizeof(guint64); i++)
                ((guint64 *) by)[i] = ((guint64 *) &after)[i] - ((guint64 *) &before)[i];
        *first = piece_with(c.server, c.client, 0, 0);
}

void what_is_beyond_a_bound_is_counted_by_reason(gconstpointer data) {
        enum { ANSWER = 19 };
        g_autoptr(GError) error = NULL;
        BhPayloadAccount by;
        const Piece *first;

        if (!begin(data))
                return;
        run_long(&by, &first);
        g_assert_cmpuint(first->p.len, ==, BH_PAYLOAD_REQUEST);
        g_assert_cmpuint(first->p.total, ==, LONG);
        g_assert_true(first->p.flags & BH_PAYLOAD_CUT);
        g_assert_cmpmem(first->bytes, first->p.len, long_request, BH_PAYLOAD_REQUEST);
        g_assert_cmpuint(by.moved, ==, 2 * (LONG + ANSWER));
        g_assert_cmpuint(by.copied, ==, 2 * (BH_PAYLOAD_REQUEST + ANSWER));
        g_assert_cmpuint(by.skipped[BH_PAYLOAD_SKIPPED_REQUEST], ==, 2 * (LONG - BH_PAYLOAD_REQUEST));

        set(container, (BhPayloadRule) { .bytes_per_request = LONG });
        run_long(&by, &first);
        g_assert_cmpuint(first->p.len, ==, BH_PAYLOAD_PIECE);
        g_assert_cmpmem(first->bytes, first->p.len, long_request, BH_PAYLOAD_PIECE);
        g_assert_cmpuint(by.skipped[BH_PAYLOAD_SKIPPED_CALL], ==, 2 * (LONG - BH_PAYLOAD_PIECE));

        set(container, (BhPayloadRule) { .bytes_per_request = 100 });
        set(0, (BhPayloadRule) { .bytes_per_request = 200 }); /* of those without a rule of their own */
        run_long(&by, &first);
        g_assert_cmpuint(first->p.len, ==, 100);
        g_assert_true(bh_payload_set(payload, container, NULL, &error));
        run_long(&by, &first);
        g_assert_cmpuint(first->p.len, ==, 200);
        g_assert_true(bh_payload_set(payload, 0, NULL, &error));

        /* what came before may have used this second's */
        set(container, (BhPayloadRule) { .bytes_per_second = 10 });
        for (gint64 until = g_get_monotonic_time() + WAIT_MS * 1000; run_long(&by, &first), !by.copied; )
                g_assert_cmpint(g_get_monotonic_time(), <, until);
        g_assert_cmpuint(by.copied, >=, 10);
        g_assert_cmpuint(by.copied, <=, 40); /* four calls: of as many seconds, if this machine is that slow */
        g_assert_cmpuint(by.skipped[BH_PAYLOAD_SKIPPED_CONTAINER], >=, 2 * BH_PAYLOAD_REQUEST - 40);

        set(container, (BhPayloadRule) { .off = TRUE });
        run_long(&by, &first);
        g_assert_null(first);
        g_assert_cmpuint(by.moved, ==, 0);
        g_assert_true(bh_payload_set(payload, container, NULL, &error));
        run_long(&by, &first);
        g_assert_cmpuint(first->p.len, ==, BH_PAYLOAD_REQUEST);

        g_assert_false(bh_payload_set(payload, container, &(BhPayloadRule) { .bytes_per_request = BH_PAYLOAD_REQUEST_MAX + 1 }, &error));
        g_assert_nonnull(error);
}

#define MANY 250u /* a mebibyte, which a connection may have told in a second */

static void act_many(guint step) {
        static guint8 bytes[4096] = "POST / HTTP/1.1\r\n";

        for (guint i = 0; i < MANY; i++) {
                move_bytes(client_fd, server_fd, bytes, sizeof(bytes));
                move_bytes(server_fd, client_fd, bytes, 16);
        }
}

void one_container_does_not_fill_the_ring(gconstpointer data) {
        enum { CONNECTIONS = 8 };
        BhPayloadAccount before, after;

        if (!begin(data))
                return;
        set(container, (BhPayloadRule) { .bytes_per_request = BH_PAYLOAD_REQUEST_MAX, .bytes_per_second = G_MAXUINT32 });
        check_account(&before);
        g_atomic_int_set(&blocked, 1);
        for (guint i = 0; i < CONNECTIONS; i++) {
                Child c = child_new(act_many, 0, TRUE);

                child_step(&c);
                child_end(&c);
        }
        check_account(&after);
        g_atomic_int_set(&blocked, 0);
        g_assert_cmpuint(after.moved - before.moved, ==, CONNECTIONS * 2 * MANY * (4096 + 16));
        /* from where it is half full on, one container fills it slowly, so that there is room for others; a slow machine moves no more than that */
        g_assert_cmpuint(after.skipped[BH_PAYLOAD_SKIPPED_CONTAINER] + after.skipped[BH_PAYLOAD_SKIPPED_FULL], >, before.skipped[BH_PAYLOAD_SKIPPED_CONTAINER] + before.skipped[BH_PAYLOAD_SKIPPED_FULL]);
        wait_for_all();
        bh_payload_set(payload, container, NULL, NULL);
}

void account_of_a_container_that_is_gone_stays_in_the_sum(gconstpointer data) {
        BhPayloadAccount own;
        BhPayloadStats then, later;

        if (!begin(data))
                return;
        Child c = child_new(act_http, 0, TRUE);
        child_step(&c);
        child_end(&c);
        wait_for_all();
        check_account(&own);
        g_assert_cmpuint(own.moved, >, 0);
        bh_payload_stats(payload, &then);
        bh_payload_forget(payload, container);
        bh_payload_stats(payload, &later);
        g_assert_cmpuint(later.all.moved, ==, then.all.moved);
        check_account(&own);
        g_assert_cmpuint(own.moved, ==, 0);
}

/* ---- clear text of TLS ---- */

/* Both ends in one program of the container. It says its ports, waits for a line, and then talks. */
static const char tls_script[] =
        "import signal, socket, ssl, sys, threading\n"
        "signal.alarm(100)\n"
        "open(sys.argv[1] + '/cgroup.procs', 'w').write('0')\n"
        "s = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); s.load_cert_chain(sys.argv[2])\n"
        "c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE\n"
        "l = socket.create_server(('127.0.0.1', 0)); a = socket.create_connection(l.getsockname()); b = l.accept()[0]\n"
        "print(a.getsockname()[1], l.getsockname()[1], flush=True); sys.stdin.readline()\n"
        "def serve():\n"
        "    t = s.wrap_socket(b, server_side=True)\n"
        "    for i in range(2):\n"
        "        got = b''\n"
        "        while not got.endswith(b'\\r\\n\\r\\n'): got += t.read(7)\n"
        "        t.write(b'HTTP/1.1 200 Fine\\r\\n\\r\\n')\n"
        "    t.read(1)\n"
        "h = threading.Thread(target=serve); h.start()\n"
        "t = c.wrap_socket(a)\n"
        "for i in range(2):\n"
        "    r = b'GET /secret HTTP/1.1\\r\\nHost: inside\\r\\n\\r\\n'\n"
        "    for n in range(0, len(r), len(r) if i else 1): t.write(r[n:n + (len(r) if i else 1)])\n"
        "    assert t.read(100) == b'HTTP/1.1 200 Fine\\r\\n\\r\\n'\n"
        "t.shutdown(socket.SHUT_WR); h.join()\n";

typedef struct {
        guint attached;
        GError *error;
} Attaching;

/* As the sensor does with what the inspector says; here this process reads the file itself. */
static void on_tls_file(const BhTlsFile *file, gpointer data) {
        Attaching *to = data;
        g_autofree char *bytes = NULL;
        BhElfWanted wanted = { 0 };
        gsize len;

        wanted.names = bh_tls_symbols(&wanted.n_names);
        if (!g_file_get_contents(file->path, &bytes, &len, NULL))
                return;

        g_autoptr(BhElf) elf = bh_elf_parse((const guint8 *) bytes, len, &wanted, NULL);
        if (elf && !to->error && bh_payload_tls_attach(payload, file->dev, file->ino, file->path, elf, &to->error))
                to->attached++;
}

/* The clear text of one direction, put together. */
static char *clear_of(guint16 lport, guint16 rport, gboolean sent) {
        GString *text = g_string_new(NULL);

        g_mutex_lock(&lock);
        for (guint i = 0; i < pieces->len; i++) {
                const Piece *x = pieces->pdata[i];

                if (x->p.lport != lport || x->p.rport != rport || x->p.sent != sent || !(x->p.flags & BH_PAYLOAD_TLS))
                        continue;
                g_assert_cmpuint(x->p.offset, ==, text->len);
                g_string_append_len(text, (const char *) x->bytes, x->p.len);
        }
        g_mutex_unlock(&lock);
        return g_string_free(text, FALSE);
}

void tls_library_gives_the_clear_text(gconstpointer data) {
        static const char request[] = "GET /secret HTTP/1.1\r\nHost: inside\r\n\r\n", answer[] = "HTTP/1.1 200 Fine\r\n\r\n";
        g_autofree char *requests = g_strconcat(request, request, NULL), *answers = g_strconcat(answer, answer, NULL), *dir = NULL, *cert = NULL, *make = NULL, *line = NULL;
        g_autoptr(GIOChannel) from = NULL;
        g_autoptr(GError) error = NULL;
        Attaching to = { 0 };
        BhPayloadTlsStats stats;
        int in, out, status, client, server;
        GPid pid;

        if (!begin(data))
                return;
        dir = g_dir_make_tmp("bh-payload-XXXXXX", NULL);
        cert = g_build_filename(dir, "c.pem", NULL);
        make = g_strdup_printf("openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout %s/k.pem -out %s/x.pem 2>/dev/null && cat %s/k.pem %s/x.pem > %s && rm %s/k.pem %s/x.pem", dir, dir, dir, dir,
                               cert, dir, dir);
        char *sh[] = { (char *) "sh", (char *) "-c", make, NULL };
        char *argv[] = { (char *) "/usr/bin/python3", (char *) "-c", (char *) tls_script, cgroup_dir, cert, NULL };
        if (!g_spawn_sync(NULL, sh, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status, NULL) || status || access(argv[0], X_OK)) {
                g_rmdir(dir);
                g_test_skip("no openssl program or no /usr/bin/python3 here to talk TLS with");
                return;
        }
        g_assert_true(g_spawn_async_with_pipes(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid, &in, &out, NULL, &error));
        from = g_io_channel_unix_new(out);
        g_assert_cmpint(g_io_channel_read_line(from, &line, NULL, NULL, NULL), ==, G_IO_STATUS_NORMAL);
        g_assert_cmpint(sscanf(line, "%d %d", &client, &server), ==, 2);
        g_assert_true(bh_tls_files("/proc", (guint32) pid, on_tls_file, &to));
        g_assert_no_error(to.error);
        bh_payload_tls_stats(payload, &stats);
        g_assert_cmpuint(stats.files, ==, 1); /* libssl; the interpreter has none of the functions */
        g_assert_cmpuint(stats.functions, ==, 5);
        g_assert_cmpuint(to.attached, >=, 2);
        g_assert_cmpint(write(in, "\n", 1), ==, 1);
        g_assert_no_errno(waitpid(pid, &status, 0));
        g_assert_cmpint(status, ==, 0);
        close(in);
        close(out);
        g_unlink(cert);
        g_rmdir(dir);

        guint16 c = (guint16) client, s = (guint16) server;
        BhPayloadAccount account;
        BhPayloadStats all;
        g_assert_nonnull(piece_with(c, s, BH_PAYLOAD_CLOSE, WAIT_MS));
        g_assert_nonnull(piece_with(s, c, BH_PAYLOAD_CLOSE, WAIT_MS));
        check_account(&account);
        bh_payload_stats(payload, &all);
        g_test_message("clear: %" G_GUINT64_FORMAT " bytes, %" G_GUINT64_FORMAT " copied, %" G_GUINT64_FORMAT " calls of unknown connections, %" G_GUINT64_FORMAT " programs interrupted",
                       account.clear, account.clear_copied, all.clear_unknown, all.interrupted);
        g_autofree char *a = clear_of(c, s, TRUE), *b = clear_of(c, s, FALSE), *d = clear_of(s, c, FALSE), *e = clear_of(s, c, TRUE);
        g_assert_cmpstr(a, ==, requests);
        g_assert_cmpstr(b, ==, answers);
        g_assert_cmpstr(d, ==, requests);
        g_assert_cmpstr(e, ==, answers);
        g_assert_null(piece_with(c, s, BH_PAYLOAD_TLS_CLOSED, 0)); /* it is open */
        g_assert_nonnull(piece_with(c, s, BH_PAYLOAD_OPEN, 0));    /* the handshake is told all the same */
        g_assert_cmpint(piece_with(c, s, BH_PAYLOAD_TLS, 0)->p.protocol, ==, BH_PAYLOAD_HTTP1);
}

/* ---- programs that are taken over ---- */

/* Of a connection that is open meanwhile: its bytes from the next request on, as another connection, with accounts and rules that begin anew. */
void programs_of_one_that_was_killed_are_taken_over(gconstpointer data) {
        const Piece *piece;
        BhPayloadAccount account;
        BhPayloadStats stats;
        guint64 before;

        if (!begin(data))
                return;
        Child c = child_new(act_http, 0, TRUE);
        child_step(&c);
        g_assert_nonnull(piece = piece_with(c.server, c.client, BH_PAYLOAD_OPEN, WAIT_MS));
        before = piece->p.connection;
        wait_for_all();
        g_assert_true(bh_payload_set(payload, container, &(BhPayloadRule){ .off = TRUE }, NULL));
        take_over(&stats);
        g_assert_true(stats.adopted);
        g_assert_cmpuint(stats.followed + stats.ignored + stats.all.moved + stats.interrupted, ==, 0);
        child_step(&c);
        child_end(&c);
        g_assert_nonnull(piece = piece_with(c.server, c.client, 0, WAIT_MS));
        g_assert_cmpuint(piece->p.connection, !=, before);
        g_assert_cmpuint(piece->p.offset, ==, strlen(REQUEST));
        g_assert_cmpmem(piece->bytes, piece->p.len, REQUEST, strlen(REQUEST));
        g_assert_nonnull(piece_with(c.server, c.client, BH_PAYLOAD_CLOSE, WAIT_MS));
        check_account(&account);
        g_assert_cmpuint(account.moved, >, 0);
}

/* Nor such as lack one, as when it was killed while it made their pins. */
void programs_of_another_build_are_not_taken_over(gconstpointer data) {
        BhPayloadStats stats;
        g_autofree char *foreign = g_strdup(BH_HOOKS_KEPT "payload_0123456789abcdef_tp_payload_end");
        g_auto(BhFd) map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "foreign", 4, 4, 1, NULL);
        g_auto(BhFd) left = -1;

        if (!begin(data))
                return;
        bh_hooks_keep_nothing(kernel_hooks());
        g_assert_true(bh_hooks_keep(kernel_hooks(), foreign, map, NULL));
        take_over(&stats);
        g_assert_false(stats.adopted);
        left = bh_hooks_kept(kernel_hooks(), foreign);
        g_assert_cmpint(left, <, 0);
        Child c = child_new(act_http, 0, TRUE);
        child_step(&c);
        child_end(&c);
        g_assert_nonnull(piece_with(c.server, c.client, BH_PAYLOAD_OPEN, WAIT_MS));
}

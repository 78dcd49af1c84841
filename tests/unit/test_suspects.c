/* SPDX-License-Identifier: Apache-2.0 */
/* First bytes of suspicious connections: of whom, how many, and which of them are sealed. */
#include <arpa/inet.h>
#include <string.h>

#include "sensor/suspects.h"

#define BOX 77u
#define US(seconds) ((seconds) * (gint64) G_USEC_PER_SEC)

typedef struct {
        BhSuspects *s;
        GString *asked; /* what was asked of the programs */
        GPtrArray *kept;
        gboolean refuse, late;
        BhSuspectsRedacted done[64];
        gpointer tickets[64];
        char *texts[64];
        guint waiting, cuts;
        guint64 ignored;
} World;

static gboolean on_other(guint64 container, guint32 bytes, gpointer data) {
        World *w = data;

        g_string_append_printf(w->asked, "%" G_GUINT64_FORMAT ":%u ", container, bytes);
        return !w->refuse;
}

static void on_ignore(guint64 connection, G_GNUC_UNUSED guint64 sk, gpointer data) {
        ((World *) data)->ignored = connection;
}

static gboolean on_redact(const guint8 *bytes, gsize len, gboolean cut, BhSuspectsRedacted done, gpointer ticket, gpointer data) {
        World *w = data;
        g_autofree char *text = g_strndup((const char *) bytes, len);

        w->cuts += cut != FALSE;
        if (!w->late) {
                done(text, ticket);
                return TRUE;
        }
        w->done[w->waiting] = done;
        w->texts[w->waiting] = g_steal_pointer(&text);
        w->tickets[w->waiting++] = ticket;
        return TRUE;
}

static void on_keep(const BhSuspectKept *k, gpointer data) {
        g_ptr_array_add(((World *) data)->kept, g_strdup_printf("%s %s %s pid %u: %s", k->finding, k->container, k->peer, k->pid, k->text));
}

static World *world_new(void) {
        World *w = g_new0(World, 1);
        BhSuspectsConfig config = { .other = on_other, .ignore = on_ignore, .redact = on_redact, .keep = on_keep, .data = w };

        w->asked = g_string_new(NULL);
        w->kept = g_ptr_array_new_with_free_func(g_free);
        w->s = bh_suspects_new(&config);
        return w;
}

static void world_free(World *w) {
        bh_suspects_free(w->s);
        g_string_free(w->asked, TRUE);
        g_ptr_array_unref(w->kept);
        g_free(w);
}

static const char *kept(World *w, guint n) {
        g_assert_cmpuint(w->kept->len, >, n);
        return w->kept->pdata[n];
}

static struct bh_event connect_to(const char *address, guint16 port) {
        struct bh_event e = { 0 };

        BH_SET(&e, type, BH_EV_CONNECT);
        BH_SET(&e, pid, 9);
        BH_SET(&e, rport, port);
        e.raddr.len = 4;
        inet_pton(AF_INET, address, e.raddr.b);
        bh_event_mark(&e, BH_F_raddr);
        return e;
}

static void found(World *w, const struct bh_event *e, gint64 now_us) {
        bh_suspects_finding(w->s, BOX, "box", "f1", "rule", "critical", e, now_us);
}

static BhPayloadPiece piece(guint64 connection, const char *peer, gboolean sent, guint64 offset, const char *bytes) {
        BhPayloadPiece p = { .connection = connection, .sk = 5, .container = BOX, .family = AF_INET, .lport = 40000, .rport = 4444, .protocol = BH_PAYLOAD_OTHER, .side = BH_PAYLOAD_CLIENT, .pid = 9, .sent = sent,
                             .offset = offset, .bytes = (const guint8 *) bytes, .len = (guint32) strlen(bytes), .total = (guint32) strlen(bytes) };

        inet_pton(AF_INET, "172.17.0.2", p.laddr);
        inet_pton(AF_INET, peer, p.raddr);
        return p;
}

static gboolean say(World *w, guint64 connection, const char *peer, gboolean sent, guint64 offset, const char *bytes) {
        const BhPayloadPiece p = piece(connection, peer, sent, offset, bytes);

        return bh_suspects_piece(w->s, &p);
}

static void end(World *w, guint64 connection) {
        BhPayloadPiece p = piece(connection, "0.0.0.0", FALSE, 0, "");

        p.flags = BH_PAYLOAD_CLOSE;
        g_assert_false(bh_suspects_piece(w->s, &p));
}

static void nothing_is_looked_at_without_a_finding(void) {
        World *w = world_new();

        g_assert_true(say(w, 1, "203.0.113.9", TRUE, 0, "$ ")); /* nobody else's all the same */
        bh_suspects_round(w->s, US(1));
        g_assert_cmpstr(w->asked->str, ==, "");
        g_assert_cmpuint(w->kept->len, ==, 0);
        world_free(w);
}

static void the_connection_that_a_finding_is_about_is_sealed(void) {
        World *w = world_new();
        const struct bh_event e = connect_to("203.0.113.9", 4444);

        found(w, &e, US(1));
        g_assert_cmpstr(w->asked->str, ==, "77:4096 ");
        found(w, &e, US(2)); /* asked once */
        g_assert_cmpstr(w->asked->str, ==, "77:4096 ");
        say(w, 1, "203.0.113.9", TRUE, 0, "$ ");
        say(w, 1, "203.0.113.9", FALSE, 0, "id\n");
        say(w, 1, "203.0.113.9", TRUE, 2, "uid=0\n");
        say(w, 2, "203.0.113.10", TRUE, 0, "another");
        bh_suspects_round(w->s, US(3));
        g_assert_cmpuint(w->kept->len, ==, 0); /* it goes on */
        end(w, 1);
        bh_suspects_round(w->s, US(4));
        g_assert_cmpuint(w->kept->len, ==, 1);
        g_assert_cmpstr(kept(w, 0), ==,
                        "f1 box 203.0.113.9:4444 pid 9: connection of 172.17.0.2:40000 with 203.0.113.9:4444, which it opened, ended\n\nsent: 8 bytes from 0 on, of at least 8\n$ uid=0\n\n\n"
                        "got: 3 bytes from 0 on, of at least 3\nid\n\n");
        bh_suspects_round(w->s, US(60)); /* once */
        g_assert_cmpuint(w->kept->len, ==, 1);
        /* after ten minutes nothing of it is looked at any more */
        bh_suspects_round(w->s, US(603));
        g_assert_cmpstr(w->asked->str, ==, "77:4096 77:0 ");
        world_free(w);
}

static void what_is_open_is_sealed_when_its_time_has_come_or_it_is_full(void) {
        World *w = world_new();
        const struct bh_event e = connect_to("203.0.113.9", 4444);
        g_autofree char *much = g_strnfill(5000, 'x');

        found(w, &e, US(1));
        say(w, 1, "203.0.113.9", TRUE, 100, "late");  /* it was open before */
        say(w, 1, "203.0.113.9", TRUE, 200, "gap");   /* behind one */
        bh_suspects_round(w->s, US(22));
        g_assert_nonnull(strstr(kept(w, 0), "which it opened, open\n\nsent: 4 bytes from 100 on, of at least 203\nlate\n\ngot: 0 bytes from 0 on, of at least 0\n"));
        g_assert_cmpuint(w->cuts, ==, 1); /* the inspector is told that something was before it */
        found(w, &e, US(30));
        say(w, 2, "203.0.113.9", TRUE, 0, much);
        g_assert_cmpuint(w->ignored, ==, 0);
        say(w, 2, "203.0.113.9", FALSE, 0, much);
        g_assert_cmpuint(w->ignored, ==, 2); /* no more of it is wanted */
        bh_suspects_round(w->s, US(31));
        g_assert_cmpuint(w->kept->len, ==, 2);
        g_assert_nonnull(strstr(kept(w, 1), "sent: 4096 bytes from 0 on, of at least 5000\n"));
        world_free(w);
}

static void without_an_address_it_is_the_processes(void) {
        World *w = world_new();
        struct bh_event e = { 0 };

        BH_SET(&e, type, BH_EV_EXEC);
        BH_SET(&e, pid, 9);
        found(w, &e, US(1));
        say(w, 1, "203.0.113.9", TRUE, 0, "a");
        BhPayloadPiece p = piece(2, "203.0.113.9", TRUE, 0, "b");
        p.pid = 10;
        bh_suspects_piece(w->s, &p);
        end(w, 1);
        end(w, 2);
        bh_suspects_round(w->s, US(2));
        g_assert_cmpuint(w->kept->len, ==, 1);
        world_free(w);
}

static void requests_are_kept_and_go_on_to_whom_they_are_for(void) {
        World *w = world_new();
        const struct bh_event e = connect_to("203.0.113.9", 4444);
        BhPayloadPiece p = piece(1, "203.0.113.9", TRUE, 0, "GET /x HTTP/1.1\r\n\r\n");

        found(w, &e, US(1));
        p.protocol = BH_PAYLOAD_HTTP1;
        g_assert_false(bh_suspects_piece(w->s, &p));
        p.flags = BH_PAYLOAD_TLS; /* another stream */
        p.bytes = (const guint8 *) "clear";
        p.len = 5;
        g_assert_false(bh_suspects_piece(w->s, &p));
        end(w, 1);
        bh_suspects_round(w->s, US(2));
        g_assert_nonnull(strstr(kept(w, 0), "GET /x"));
        g_assert_null(strstr(kept(w, 0), "clear"));
        world_free(w);
}

static void an_inspector_that_is_late_or_gives_nothing_holds_up_nobody(void) {
        World *w = world_new();
        const struct bh_event e = connect_to("203.0.113.9", 4444);

        w->late = TRUE;
        found(w, &e, US(1));
        say(w, 1, "203.0.113.9", TRUE, 0, "one");
        say(w, 1, "203.0.113.9", FALSE, 0, "two");
        end(w, 1);
        bh_suspects_round(w->s, US(2));
        g_assert_cmpuint(w->waiting, ==, 2);
        g_assert_cmpuint(w->kept->len, ==, 0);
        bh_suspects_forget(w->s, BOX);
        bh_suspects_round(w->s, US(3));
        w->done[0](NULL, w->tickets[0]);
        w->done[1](w->texts[1], w->tickets[1]);
        g_assert_cmpuint(w->kept->len, ==, 1);
        g_assert_nonnull(strstr(kept(w, 0), "(could not be read)"));
        g_assert_nonnull(strstr(kept(w, 0), w->texts[1]));
        g_free(w->texts[0]);
        g_free(w->texts[1]);
        json_t *status = bh_suspects_status(w->s);
        g_assert_cmpint(json_integer_value(json_object_get(status, "unread")), ==, 1);
        g_assert_cmpint(json_integer_value(json_object_get(status, "sealed")), ==, 1);
        g_assert_cmpint(json_integer_value(json_object_get(status, "containers")), ==, 0);
        json_decref(status);
        world_free(w);
}

static void there_are_bounds(void) {
        World *w = world_new();
        const struct bh_event e = connect_to("203.0.113.9", 4444);

        for (guint64 n = 1; n <= BH_SUSPECTS_CONTAINERS + 3; n++)
                bh_suspects_finding(w->s, n, "box", "f", "rule", "critical", &e, US((gint64) n));
        json_t *status = bh_suspects_status(w->s);
        g_assert_cmpint(json_integer_value(json_object_get(status, "containers")), ==, BH_SUSPECTS_CONTAINERS);
        g_assert_cmpint(json_integer_value(json_object_get(status, "containers_evicted")), ==, 3);
        json_decref(status);
        found(w, &e, US(100));
        for (guint64 n = 1; n <= BH_SUSPECTS_SHARE + 7; n++)
                say(w, n, "203.0.113.9", TRUE, 0, "x");
        for (guint n = 0; n < BH_SUSPECTS_FINDINGS + 1; n++)
                found(w, &e, US(100));
        status = bh_suspects_status(w->s);
        g_assert_cmpint(json_integer_value(json_object_get(status, "evicted")), ==, 7);
        g_assert_cmpint(json_integer_value(json_object_get(status, "findings_dropped")), >, 0);
        json_decref(status);
        w->refuse = TRUE;
        bh_suspects_finding(w->s, 999, "box", "f", "rule", "critical", &e, US(101));
        status = bh_suspects_status(w->s);
        g_assert_cmpint(json_integer_value(json_object_get(status, "refused")), ==, 1);
        json_decref(status);
        world_free(w);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/suspects/" #name, name)
        TEST(nothing_is_looked_at_without_a_finding);
        TEST(the_connection_that_a_finding_is_about_is_sealed);
        TEST(what_is_open_is_sealed_when_its_time_has_come_or_it_is_full);
        TEST(without_an_address_it_is_the_processes);
        TEST(requests_are_kept_and_go_on_to_whom_they_are_for);
        TEST(an_inspector_that_is_late_or_gives_nothing_holds_up_nobody);
        TEST(there_are_bounds);
        return g_test_run();
}

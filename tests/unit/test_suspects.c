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
        gboolean refuse, busy, late, full;
        BhSuspectsRedacted done[64];
        gpointer tickets[64];
        char *texts[64];
        guint waiting, cuts, offered;
        guint64 ignored;
} World;

static BhSuspectsAnswer on_other(guint64 container, guint32 bytes, gpointer data) {
        World *w = data;

        json_decref(bh_suspects_status(w->s)); /* no lock is held */
        if (w->busy)
                return BH_SUSPECTS_LATER;
        g_string_append_printf(w->asked, "%" G_GUINT64_FORMAT ":%u ", container, bytes);
        return w->refuse ? BH_SUSPECTS_NO : BH_SUSPECTS_YES;
}

static void on_ignore(guint64 connection, G_GNUC_UNUSED guint64 sk, gpointer data) {
        ((World *) data)->ignored = connection;
}

static gboolean on_redact(const guint8 *bytes, gsize len, gboolean cut, BhSuspectsRedacted done, gpointer ticket, gpointer data) {
        World *w = data;
        g_autofree char *text = g_strndup((const char *) bytes, len);

        w->offered++;
        if (w->full)
                return FALSE;
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

static gint64 counted(World *w, const char *what) {
        json_t *status = bh_suspects_status(w->s);
        const gint64 n = json_integer_value(json_object_get(status, what));

        json_decref(status);
        return n;
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
        bh_suspects_round(w->s, now_us);
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
        status = bh_suspects_status(w->s);
        g_assert_cmpint(json_integer_value(json_object_get(status, "evicted")), ==, 7);
        json_decref(status);
        w->refuse = TRUE;
        bh_suspects_finding(w->s, 999, "box", "f", "rule", "critical", &e, US(101));
        bh_suspects_round(w->s, US(101));
        g_assert_cmpint(counted(w, "refused"), ==, 1);
        g_assert_cmpint(counted(w, "containers"), ==, BH_SUSPECTS_CONTAINERS - 1); /* another went for it */
        world_free(w);
}

/* One container's findings push out none of another's, and equal ones none at all. */
static void findings_of_a_container_have_a_share(void) {
        World *w = world_new();
        const struct bh_event e = connect_to("203.0.113.9", 4444);

        bh_suspects_finding(w->s, 5, "other", "f0", "rule", "critical", &e, US(1));
        BhPayloadPiece p = piece(1, "203.0.113.9", TRUE, 0, "x");
        p.container = 5;
        bh_suspects_piece(w->s, &p);
        for (guint n = 0; n < 2 * BH_SUSPECTS_FINDINGS; n++)
                found(w, &e, US(1));
        g_assert_cmpint(counted(w, "findings_dropped"), ==, 0);
        for (guint n = 0; n < 2 * BH_SUSPECTS_FINDINGS; n++) {
                const struct bh_event other = connect_to("203.0.113.9", (guint16) (5000 + n));

                found(w, &other, US(1));
        }
        g_assert_cmpint(counted(w, "findings_dropped"), ==, 2 * BH_SUSPECTS_FINDINGS + 1 - BH_SUSPECTS_FINDINGS_SHARE);
        bh_suspects_round(w->s, US(22));
        g_assert_cmpuint(w->kept->len, ==, 1);
        g_assert_nonnull(strstr(kept(w, 0), "f0 other"));
        world_free(w);
}

/* The first of equal ones has the connections, in whatever order they come and end. */
static void what_ends_before_or_after_its_finding_is_sealed_once(void) {
        World *w = world_new();
        const struct bh_event e = connect_to("203.0.113.9", 4444), far = connect_to("203.0.113.7", 4444);

        bh_suspects_watch(w->s, BOX, US(1));
        bh_suspects_round(w->s, US(1));
        g_assert_cmpstr(w->asked->str, ==, "77:4096 ");
        say(w, 1, "203.0.113.9", TRUE, 0, "before");
        end(w, 1);
        bh_suspects_round(w->s, US(2));
        g_assert_cmpuint(w->kept->len, ==, 0); /* nothing was told of it */
        found(w, &far, US(2));
        found(w, &e, US(3));
        g_assert_cmpuint(w->kept->len, ==, 1);
        g_assert_nonnull(strstr(kept(w, 0), "sent: 6 bytes from 0 on"));
        say(w, 2, "203.0.113.9", TRUE, 0, "after");
        end(w, 2);
        found(w, &e, US(4));
        g_assert_cmpuint(w->kept->len, ==, 2);
        bh_suspects_round(w->s, US(30));
        g_assert_cmpuint(w->kept->len, ==, 2);
        /* and the watch that nothing came to ends by itself */
        bh_suspects_round(w->s, US(605));
        g_assert_cmpstr(w->asked->str, ==, "77:4096 77:0 ");
        world_free(w);
}

/* The programs' lock may be held for long: nobody waits for it, and what was asked for last is told. */
static void programs_that_are_busy_are_asked_again(void) {
        World *w = world_new();
        const struct bh_event e = connect_to("203.0.113.9", 4444);

        w->busy = TRUE;
        found(w, &e, US(1));
        bh_suspects_watch(w->s, 5, US(1));
        bh_suspects_round(w->s, US(1));
        bh_suspects_forget(w->s, 5);
        bh_suspects_round(w->s, US(1));
        g_assert_cmpint(counted(w, "containers"), ==, 1);
        w->busy = FALSE;
        bh_suspects_round(w->s, US(1) + BH_SUSPECTS_RETRY_US);
        g_assert_cmpstr(w->asked->str, ==, "77:4096 5:0 ");
        world_free(w);
}

/* What the inspector does not take is offered again, and counted when its time is over. */
static void a_full_inspector_is_asked_again(void) {
        World *w = world_new();
        const struct bh_event e = connect_to("203.0.113.9", 4444);

        w->full = TRUE;
        found(w, &e, US(1));
        say(w, 1, "203.0.113.9", TRUE, 0, "one");
        say(w, 1, "203.0.113.9", FALSE, 0, "two");
        end(w, 1);
        bh_suspects_round(w->s, US(2));
        g_assert_cmpuint(w->offered, ==, 2);
        bh_suspects_round(w->s, US(2) + 1); /* not at once */
        g_assert_cmpuint(w->offered, ==, 2);
        bh_suspects_round(w->s, US(3));
        g_assert_cmpuint(w->offered, ==, 4);
        g_assert_cmpuint(w->kept->len, ==, 0);
        g_assert_cmpint(counted(w, "unread"), ==, 0);
        w->full = FALSE;
        bh_suspects_round(w->s, US(4));
        g_assert_nonnull(strstr(kept(w, 0), "one\n\ngot: 3 bytes from 0 on, of at least 3\ntwo"));
        /* never */
        w->full = TRUE;
        say(w, 2, "203.0.113.9", TRUE, 0, "three");
        end(w, 2);
        for (guint n = 5; n < 17; n++)
                bh_suspects_round(w->s, US((gint64) n));
        g_assert_cmpint(counted(w, "unread"), ==, 1);
        g_assert_cmpuint(w->kept->len, ==, 2); /* of the other direction nothing is to be read */
        const guint offered = w->offered;
        bh_suspects_round(w->s, US(18));
        g_assert_cmpuint(w->offered, ==, offered);
        /* more than are kept for it, and what is left at the end */
        for (guint n = 0; n < BH_SUSPECTS_AGAIN + 2; n++) {
                say(w, 10 + n, "203.0.113.9", TRUE, 0, "x");
                end(w, 10 + n);
        }
        bh_suspects_round(w->s, US(19));
        g_assert_cmpint(counted(w, "unread"), ==, 3);
        world_free(w);
}

/* With as much as there may be: a round comes with each turn of the drain thread, and pieces wait for it. A look at all takes a millisecond. */
static void rounds_without_news_cost_nothing(void) {
        World *w = world_new();

        for (guint64 box = 1; box <= 4; box++) {
                for (guint n = 0; n < BH_SUSPECTS_FINDINGS_SHARE; n++) {
                        const struct bh_event e = connect_to("203.0.113.9", (guint16) (5000 + n));

                        bh_suspects_finding(w->s, box, "box", "f", "rule", "critical", &e, US(1));
                }
                for (guint n = 0; n < BH_SUSPECTS_SHARE; n++) {
                        BhPayloadPiece p = piece(box << 32 | n, "203.0.113.9", TRUE, 0, "x");

                        p.container = box;
                        bh_suspects_piece(w->s, &p);
                }
        }
        bh_suspects_round(w->s, US(1));
        const gint64 begin = g_get_monotonic_time();
        for (guint n = 0; n < 50000; n++)
                bh_suspects_round(w->s, US(2));
        g_assert_cmpint(g_get_monotonic_time() - begin, <, 2 * G_USEC_PER_SEC);
        g_assert_cmpint(counted(w, "evicted") + counted(w, "findings_dropped"), ==, 0);
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
        TEST(findings_of_a_container_have_a_share);
        TEST(what_ends_before_or_after_its_finding_is_sealed_once);
        TEST(programs_that_are_busy_are_asked_again);
        TEST(rounds_without_news_cost_nothing);
        TEST(a_full_inspector_is_asked_again);
        return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The bus at work: frames, delivery, last values, requests. What goes wrong is in test_bus_faults.c and test_bus_kill.c. */
#include "bus_env.h"

/* ---- frames and bodies */

static BhBusSpan random_span(guint8 *room, gsize max) {
        gsize len = (gsize) g_random_int_range(0, (gint32) max + 1);

        for (gsize i = 0; i < len; i++)
                room[i] = (guint8) g_random_int();
        return (BhBusSpan) { room, len };
}

static guint64 random_number(void) {
        return ((guint64) g_random_int() << 32 | g_random_int()) >> g_random_int_range(0, 64);
}

static void assert_span(BhBusSpan s, ProtobufCBinaryData b) {
        g_assert_cmpmem(s.data, s.len, b.data, b.len);
}

static void frame_is_what_protobuf_says(void) {
        guint8 a[300], b[300], c[300];

        for (guint i = 0; i < 3000; i++) {
                BhBusFrame f = { .kind = g_random_int_range(0, 12), .stream = random_number(), .seq = random_number(), .dropped = random_number(),
                                 .credit = random_number(), .subject = random_span(a, i % 300), .body = random_span(b, i % 300),
                                 .error = random_span(c, i % 300) }, back;
                g_autoptr(GByteArray) out = g_byte_array_new();

                bh_bus_frame_append(out, &f);
                Bulkhead__Bus__V1__Frame *pb = bulkhead__bus__v1__frame__unpack(NULL, out->len - 4, out->data + 4);
                g_assert_nonnull(pb);
                g_assert_cmpuint(pb->kind, ==, f.kind);
                g_assert_cmpuint(pb->stream, ==, f.stream);
                g_assert_cmpuint(pb->seq, ==, f.seq);
                g_assert_cmpuint(pb->dropped, ==, f.dropped);
                g_assert_cmpuint(pb->credit, ==, f.credit);
                assert_span(f.subject, pb->subject);
                assert_span(f.body, pb->body);
                assert_span(f.error, pb->error);

                g_autoptr(GBytes) packed = bh_bus_body_pack(&pb->base);
                g_assert_cmpmem(g_bytes_get_data(packed, NULL), g_bytes_get_size(packed), out->data + 4, out->len - 4);
                g_assert_true(bh_bus_frame_decode(out->data + 4, out->len - 4, &back));
                g_assert_cmpuint(back.kind, ==, f.kind);
                g_assert_cmpuint(back.credit, ==, f.credit);
                assert_span(back.error, pb->error);
                bulkhead__bus__v1__frame__free_unpacked(pb, NULL);
        }
}

static void frame_that_is_none_is_refused(void) {
        static const struct {
                const char *bytes;
                gsize len;
        } bad[] = {
                { "\x08", 1 },                                                 /* no value */
                { "\x08\x80", 2 },                                             /* half a value */
                { "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11 },        /* more than 64 bits */
                { "\x0a\x01x", 3 },                                            /* a number that is bytes */
                { "\x22\x05x", 3 },                                            /* longer than there is */
                { "\x22\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11 },        /* much longer */
                { "\x20\x01", 2 },                                             /* bytes that are a number */
                { "\x00\x01", 2 },                                             /* field 0 */
                { "\x7b", 1 },                                                 /* a group */
                { "\x79xxxxxxx", 8 },                                          /* 64 bits that are 56 */
        };
        BhBusFrame f;

        for (guint i = 0; i < G_N_ELEMENTS(bad); i++)
                g_assert_false(bh_bus_frame_decode((const guint8 *) bad[i].bytes, bad[i].len, &f));
        /* Unknown fields of each wire type are skipped, and the last of a field counts. */
        g_assert_true(bh_bus_frame_decode((const guint8 *) "\x78\x05\x79xxxxxxxx\x7a\x01y\x7dzzzz\x08\x01\x08\x03", 23, &f) && f.kind == BH_BUS_MESSAGE);
        g_assert_true(bh_bus_frame_decode(NULL, 0, &f) && f.kind == 0);
}

static void body_takes_bounded_memory(void) {
        g_autoptr(GByteArray) data = g_byte_array_new();
        g_autoptr(GError) error = NULL;

        g_byte_array_set_size(data, 6u << 20);
        for (guint i = 0; i + 1 < data->len; i += 2)
                memcpy(data->data + i, "\x22\x00", 2); /* 3 million empty containers of half a kilobyte each */
        g_autoptr(GBytes) body = g_bytes_new(data->data, data->len);
        g_assert_null(bh_bus_body_unpack(&bulkhead__bus__v1__inventory__descriptor, body, &error));
        g_assert_error(error, BH_BUS_ERROR, BH_BUS_ERROR_BODY);

        Bulkhead__Bus__V1__Inventory inventory = BULKHEAD__BUS__V1__INVENTORY__INIT;
        Bulkhead__Bus__V1__Container c = BULKHEAD__BUS__V1__CONTAINER__INIT, *list = &c;
        inventory.node = (char *) "n";
        inventory.n_upsert = 1;
        inventory.upsert = &list;
        c.name = bh_bus_text("web");
        g_autoptr(GBytes) good = bh_bus_body_pack(&inventory.base);
        Bulkhead__Bus__V1__Inventory *back = (void *) bh_bus_body_unpack(&bulkhead__bus__v1__inventory__descriptor, good, NULL);
        g_assert_nonnull(back);
        g_autofree char *name = bh_bus_text_dup(back->upsert[0]->name);
        g_assert_cmpstr(name, ==, "web");
        bulkhead__bus__v1__inventory__free_unpacked(back, NULL);
}

static void names_and_addresses_are_checked(void) {
        g_autofree char *long_name = g_strnfill(BH_BUS_MAX_NAME + 1, 'a'), *long_path = g_strconcat("unix:/", long_name, NULL);
        const char *const bad[] = { "", "tcp:1.2.3.4:5", "unix:relative", "/path", long_path };
        struct sockaddr_un a;

        g_assert_true(bh_bus_name_valid("a-B_9", -1, FALSE) && bh_bus_name_valid("a.b", -1, TRUE));
        g_assert_false(bh_bus_name_valid("a.b", -1, FALSE) || bh_bus_name_valid("", -1, TRUE) || bh_bus_name_valid("a b", -1, TRUE) ||
                       bh_bus_name_valid("\xc3\xa4", -1, TRUE) || bh_bus_name_valid(long_name, -1, TRUE));
        g_autofree char *host = bh_bus_host_name();
        g_assert_true(bh_bus_name_valid(host, -1, TRUE));
        for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_autoptr(GError) error = NULL;

                g_assert_false(bh_bus_address_parse(bad[i], &a, &error));
                g_assert_error(error, BH_BUS_ERROR, BH_BUS_ERROR_ADDRESS);
        }
}

/* ---- delivery */

static void messages_arrive_in_order_and_are_forgotten(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        g_autoptr(BhBusPublisher) p = publisher_with(dir, NULL, NULL);
        guint64 last = 0;

        subscriber_listen(s, dir, NULL);
        bh_bus_publisher_start(p);
        for (guint64 i = 1; i <= 5000; i++) {
                guint64 seq = publish(p, i % 3 ? "finding" : "observation", i, i % 200);

                g_assert_cmpuint(seq, >, last);
                last = seq;
        }
        WAIT_FOR(got_count(s) == 5000);
        for (guint i = 0; i < 5000; i++) {
                const Got *g = got_at(s, i);

                g_assert_cmpuint(g->number, ==, i + 1);
                g_assert_cmpstr(g->topic, ==, (i + 1) % 3 ? "finding" : "observation");
                g_assert_cmpstr(g->node, ==, "node-1.example");
        }
        WAIT_FOR(all_acknowledged(p) && stats_of(p).spooled == 0);
        BhBusPublisherStats st = stats_of(p);
        g_assert_cmpuint(st.acknowledged, ==, 5000);
        g_assert_cmpuint(st.lost + st.lost_pending, ==, 0);
        g_assert_cmpuint(st.acked_seq, ==, last);
        g_assert_cmpuint(s->up, ==, 1);
}

static void message_of_each_size_arrives(void) {
        static const gsize sizes[] = { 0, 1, 100, 65536, 1 << 20, 5 << 20, BH_BUS_MAX_BODY - 8 };
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        g_autoptr(BhBusPublisher) p = publisher_with(dir, NULL, NULL);

        for (guint i = 0; i < G_N_ELEMENTS(sizes); i++)
                g_assert_cmpuint(publish(p, "finding", i, sizes[i]), !=, 0);
        g_assert_cmpuint(publish(p, "finding", 99, BH_BUS_MAX_BODY - 7), ==, 0); /* one too many */
        bh_bus_publisher_start(p);
        g_assert_true(bh_bus_publisher_flush(p, DEADLINE_S * 1000)); /* so that they come from the disk */
        subscriber_listen(s, dir, NULL);
        WAIT_FOR(got_count(s) == G_N_ELEMENTS(sizes) + 1);
        for (guint i = 0; i < G_N_ELEMENTS(sizes); i++)
                g_assert_cmpuint(g_bytes_get_size(got_at(s, i)->body), ==, sizes[i] + 8);
        const Got *lost = got_at(s, G_N_ELEMENTS(sizes));
        g_assert_cmpstr(lost->topic, ==, BH_BUS_TOPIC_LOST);
        Bulkhead__Bus__V1__Loss *loss = (void *) bh_bus_body_unpack(&bulkhead__bus__v1__loss__descriptor, lost->body, NULL);
        g_assert_cmpuint(loss->n_items, ==, 1);
        g_assert_cmpstr(loss->items[0]->topic, ==, "finding");
        g_assert_cmpint(loss->items[0]->reason, ==, BULKHEAD__BUS__V1__LOSS__REASON__REASON_TOO_LARGE);
        g_assert_cmpuint(loss->items[0]->count, ==, 1);
        g_assert_cmpint(ABS(loss->items[0]->first_ns / 1000 - g_get_real_time()), <, 60 * G_USEC_PER_SEC);
        bulkhead__bus__v1__loss__free_unpacked(loss, NULL);
}

static void both_sides_may_come_and_go(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        guint64 number = 0;

        for (guint round = 0; round < 6; round++) {
                BhBusSpoolFound found;
                g_autoptr(BhBusPublisher) p = publisher_with(dir, NULL, &found);

                if (round == 1)
                        g_assert_cmpuint(found.messages, ==, 300);
                bh_bus_publisher_start(p);
                for (guint i = 0; i < 300; i++)
                        publish(p, "finding", ++number, 50);
                if (round == 0)
                        continue; /* nobody listens; freeing spools */
                if (!s->listener)
                        subscriber_listen(s, dir, NULL);
                WAIT_FOR(got_count(s) >= number - (round == 3 ? 250 : 0));
                if (round == 3)
                        subscriber_stop(s);
        }
        WAIT_FOR(got_count(s) == number);
        for (guint i = 0; i < number; i++)
                g_assert_cmpuint(got_at(s, i)->number, ==, i + 1);
        subscriber_stop(s);
        for (guint i = 1; i < s->got->len; i++)
                g_assert_cmpuint(got_at(s, i)->seq, >, got_at(s, i - 1)->seq);
}

static void what_could_not_be_stored_comes_again(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        g_autoptr(BhBusPublisher) p = publisher_with(dir, NULL, NULL);

        s->fail = 5;
        subscriber_listen(s, dir, NULL);
        bh_bus_publisher_start(p);
        for (guint64 i = 1; i <= 200; i++)
                publish(p, "finding", i, 0);
        WAIT_FOR(got_count(s) == 200);
        for (guint i = 0; i < 200; i++)
                g_assert_cmpuint(got_at(s, i)->number, ==, i + 1);
        g_assert_cmpuint(listener_stats(s).deliver_failures, ==, 5);
}

static void what_is_there_already_is_not_delivered(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        g_autoptr(GByteArray) buffer = g_byte_array_new();
        BhBusFrame f;

        s->invented_position = 7;
        subscriber_listen(s, dir, NULL);
        g_auto(BhFd) fd = raw_connect(dir);
        g_assert_true(raw_hello(fd, "n", 1, BH_BUS_PROTOCOL) && raw_await(fd, buffer, BH_BUS_WELCOME, &f));
        g_assert_cmpuint(f.seq, ==, 7);
        for (guint64 seq = 5; seq <= 9; seq++)
                g_assert_true(raw_put(fd, &(BhBusFrame) { .kind = BH_BUS_MESSAGE, .seq = seq, .subject = BH_BUS_SPAN_TEXT("finding.n"),
                                                          .body = { (const guint8 *) "\0\0\0\0\0\0\0\1\1", 9 } }));
        do
                g_assert_true(raw_await(fd, buffer, BH_BUS_ACK, &f));
        while (f.seq != 9);
        g_assert_cmpuint(got_count(s), ==, 2);
        g_assert_cmpuint(got_at(s, 0)->seq, ==, 8);
        g_assert_cmpuint(listener_stats(s).duplicates, ==, 3);
}

static void last_value_wins_and_comes_at_each_connection(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        g_autoptr(BhBusPublisher) p = publisher_with(dir, NULL, NULL);
        g_autoptr(GBytes) one = g_bytes_new_static("one", 3), two = g_bytes_new_static("two", 3), large = g_bytes_new_take(g_malloc0(BH_BUS_MAX_LATEST + 1), BH_BUS_MAX_LATEST + 1);

        bh_bus_publisher_start(p);
        g_assert_true(bh_bus_publish_latest(p, "status", one) && bh_bus_publish_latest(p, "status", two));
        g_assert_false(bh_bus_publish_latest(p, "status", large));
        for (guint round = 1; round <= 2; round++) {
                GBytes *now = NULL;

                subscriber_listen(s, dir, NULL);
                for (gint64 until = g_get_monotonic_time() + DEADLINE_S * G_USEC_PER_SEC; !now && g_get_monotonic_time() < until; g_usleep(1000)) {
                        g_mutex_lock(&s->lock);
                        now = g_hash_table_lookup(s->latest, "status");
                        g_mutex_unlock(&s->lock);
                }
                g_assert_true(now && g_bytes_equal(now, two));
                g_assert_cmpuint(listener_stats(s).latest, ==, 1);
                subscriber_stop(s);
                g_hash_table_remove_all(s->latest);
        }
        g_assert_cmpuint(got_count(s), ==, 0);
}

static void window_bounds_what_is_under_way(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        BhBusListenOptions options;
        g_autoptr(BhBusPublisher) p = publisher_with(dir, NULL, NULL);

        bh_bus_listen_options_init(&options);
        options.window_messages = 10;
        s->closed = 1;
        subscriber_listen(s, dir, &options);
        bh_bus_publisher_start(p);
        for (guint64 i = 1; i <= 500; i++)
                publish(p, "finding", i, 10);
        WAIT_FOR(g_atomic_int_get(&s->inside) == 1 && stats_of(p).sent == 10);
        g_assert_true(bh_bus_publisher_flush(p, DEADLINE_S * 1000)); /* the disk takes them all the same */
        g_assert_cmpuint(stats_of(p).sent, ==, 10);
        g_assert_cmpuint(stats_of(p).queued, ==, 0);
        g_atomic_int_set(&s->closed, 0);
        WAIT_FOR(got_count(s) == 500);
        for (guint i = 0; i < 500; i++)
                g_assert_cmpuint(got_at(s, i)->number, ==, i + 1);
        g_assert_cmpuint(listener_stats(s).protocol_errors, ==, 0);
}

static void names_in_use_are_refused(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(GError) error = NULL, second_error = NULL;
        g_autoptr(Subscriber) s = subscriber_new();
        g_autofree char *address = address_in(dir), *spool = spool_in(dir), *file = g_build_filename(dir, "file", NULL);
        g_autofree char *file_address = g_strconcat("unix:", file, NULL);
        BhBusPublisherOptions options;
        struct stat st;

        subscriber_listen(s, dir, NULL);
        g_assert_cmpint(stat(address + 5, &st), ==, 0);
        g_assert_cmpuint(st.st_mode & 0777, ==, 0600);
        g_assert_cmpint(bh_bus_bind(address, &error), ==, -1);
        g_assert_error(error, BH_BUS_ERROR, BH_BUS_ERROR_IN_USE);
        subscriber_stop(s);
        g_assert_false(g_file_test(address + 5, G_FILE_TEST_EXISTS));

        g_assert_true(g_file_set_contents(file, "precious", -1, NULL));
        g_clear_error(&error);
        g_assert_cmpint(bh_bus_bind(file_address, &error), ==, -1);
        g_assert_error(error, BH_BUS_ERROR, BH_BUS_ERROR_IN_USE);
        g_assert_true(g_file_test(file, G_FILE_TEST_IS_REGULAR));

        g_autoptr(BhBusPublisher) p = publisher_with(dir, NULL, NULL);
        bh_bus_publisher_options_init(&options);
        g_assert_null(bh_bus_publisher_new(address, spool, &options, NULL, &second_error));
        g_assert_error(second_error, BH_BUS_ERROR, BH_BUS_ERROR_IN_USE);
        g_assert_cmpint(stat(spool, &st), ==, 0);
        g_assert_cmpuint(st.st_mode & 0777, ==, 0600);
}

/* ---- requests */

typedef struct {
        gint chunks, drops, ended, destroyed, bytes;
        char *error;
        BhBusRequest *r;
} Answer;

static void on_chunk(BhBusRequest *r, GBytes *chunk, guint64 dropped, gpointer data) {
        Answer *a = data;

        g_atomic_int_add(&a->bytes, (gint) g_bytes_get_size(chunk));
        g_atomic_int_add(&a->drops, (gint) dropped);
        g_atomic_int_inc(&a->chunks);
}

static void on_end(BhBusRequest *r, const char *error, gpointer data) {
        Answer *a = data;

        a->error = g_strdup(error);
        g_atomic_int_inc(&a->ended);
}

static void on_destroy(gpointer data) {
        g_atomic_int_inc(&((Answer *) data)->destroyed);
}

static void answer_clear(Answer *a) {
        g_clear_pointer(&a->r, bh_bus_request_unref);
        g_clear_pointer(&a->error, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Answer, answer_clear)

static void ask(Subscriber *s, const char *request, guint credit, Answer *a) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GBytes) body = g_bytes_new_static("question", 8);

        a->r = bh_bus_request(s->listener, "node-1.example", request, body, credit, on_chunk, on_end, a, on_destroy, &error);
        g_assert_no_error(error);
}

typedef struct {
        gint sent, running, refused;
} Server;

/* Sends pieces for ever, the third with drops before it. */
static void serve_endless(BhBusStream *stream, GBytes *body, gpointer data) {
        Server *server = data;
        g_autoptr(GBytes) piece = g_bytes_new_take(g_malloc0(1000), 1000);

        g_assert_cmpmem(g_bytes_get_data(body, NULL), g_bytes_get_size(body), "question", 8);
        g_atomic_int_inc(&server->running);
        for (guint i = 1; bh_bus_stream_send(stream, piece, i == 3 ? 40 : 0); i++)
                g_atomic_int_inc(&server->sent);
        g_assert_false(bh_bus_stream_alive(stream) || bh_bus_stream_ready(stream, 0) || bh_bus_stream_send(stream, piece, 0));
        g_atomic_int_inc(&server->refused);
        g_atomic_int_add(&server->running, -1);
}

static void serve_three(BhBusStream *stream, GBytes *body, gpointer data) {
        g_autoptr(GBytes) piece = g_bytes_new_static("piece", 5);

        g_assert_true(bh_bus_stream_ready(stream, DEADLINE_S * 1000));
        for (guint i = 0; i < 3; i++)
                g_assert_true(bh_bus_stream_send(stream, piece, 0));
}

static void serve_failure(BhBusStream *stream, GBytes *body, gpointer data) {
        bh_bus_stream_end(stream, "the filter is not one: column 3");
}

static BhBusPublisher *server_start(Subscriber *s, const char *dir, BhBusPublisherOptions *options, Server *server) {
        BhBusPublisher *p = publisher_with(dir, options, NULL);

        bh_bus_serve(p, "endless", serve_endless, server);
        bh_bus_serve(p, "three", serve_three, NULL);
        bh_bus_serve(p, "failure", serve_failure, NULL);
        bh_bus_publisher_start(p);
        if (!s->listener)
                subscriber_listen(s, dir, NULL);
        WAIT_FOR(listener_stats(s).peers == 1);
        return p;
}

static void request_is_answered(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        g_autoptr(GError) error = NULL;
        Server server = { 0 };
        g_autoptr(BhBusPublisher) p = server_start(s, dir, NULL, &server);
        g_auto(Answer) three = { 0 }, failure = { 0 }, unknown = { 0 }, nobody = { 0 };

        ask(s, "three", 3, &three);
        ask(s, "failure", 1, &failure);
        ask(s, "unheard-of", 1, &unknown);
        WAIT_FOR(g_atomic_int_get(&three.destroyed) && g_atomic_int_get(&failure.destroyed) && g_atomic_int_get(&unknown.destroyed));
        g_assert_cmpint(three.chunks, ==, 3);
        g_assert_cmpint(three.bytes, ==, 15);
        g_assert_cmpstr(three.error, ==, NULL);
        g_assert_cmpstr(failure.error, ==, "the filter is not one: column 3");
        g_assert_cmpstr(unknown.error, ==, "node node-1.example does not answer \"unheard-of\"");
        bh_bus_request_credit(three.r, 5); /* after the end: nothing */
        bh_bus_request_cancel(three.r);

        g_assert_null(bh_bus_request(s->listener, "elsewhere", "three", NULL, 1, on_chunk, on_end, &nobody, on_destroy, &error));
        g_assert_error(error, BH_BUS_ERROR, BH_BUS_ERROR_PEER);
        g_assert_cmpint(nobody.destroyed, ==, 1);
        g_assert_cmpint(three.ended + failure.ended + unknown.ended + nobody.ended, ==, 3);
        g_auto(GStrv) nodes = bh_bus_listener_nodes(s->listener);
        g_assert_cmpstr(nodes[0], ==, "node-1.example");
        g_assert_null(nodes[1]);
        g_assert_cmpuint(stats_of(p).streams_refused, ==, 1);
}

static void answer_waits_for_credit(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        Server server = { 0 };
        g_autoptr(BhBusPublisher) p = server_start(s, dir, NULL, &server);
        g_auto(Answer) a = { 0 };

        ask(s, "endless", 4, &a);
        WAIT_FOR(g_atomic_int_get(&a.chunks) == 4);
        g_assert_cmpint(g_atomic_int_get(&server.sent), ==, 4);
        g_assert_cmpint(a.drops, ==, 40);
        for (int n = 5; n < 300; n++) {
                bh_bus_request_credit(a.r, 1);
                WAIT_FOR(g_atomic_int_get(&a.chunks) == n);
        }
        bh_bus_request_credit(a.r, 1000);
        WAIT_FOR(g_atomic_int_get(&a.chunks) == 1299);
        g_assert_cmpint(g_atomic_int_get(&server.running), ==, 1);
        g_assert_cmpint(g_atomic_int_get(&server.sent), ==, 1299);
        g_assert_cmpint(a.ended, ==, 0);
        bh_bus_request_cancel(a.r);
        WAIT_FOR(g_atomic_int_get(&a.destroyed) == 1 && g_atomic_int_get(&server.refused) == 1);
        g_assert_cmpstr(a.error, ==, "cancelled");
        g_assert_cmpint(a.chunks, ==, 1299);
        g_assert_cmpint(a.ended, ==, 1);
        g_assert_cmpuint(stats_of(p).chunk_drops, ==, 40);
}

static void answers_end_with_either_side(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        Server server = { 0 };
        BhBusPublisher *p = server_start(s, dir, NULL, &server);
        Answer a[10] = { 0 };

        for (guint i = 0; i < 5; i++)
                ask(s, "endless", 2 + i, &a[i]);
        WAIT_FOR(g_atomic_int_get(&server.sent) == 2 + 3 + 4 + 5 + 6);
        bh_bus_publisher_free(p); /* the publisher goes */
        g_assert_cmpint(server.refused, ==, 5);
        WAIT_FOR(g_atomic_int_get(&a[4].destroyed));
        p = server_start(s, dir, NULL, &server);
        for (guint i = 5; i < 10; i++)
                ask(s, "endless", 1, &a[i]);
        WAIT_FOR(g_atomic_int_get(&server.sent) == 25);
        subscriber_stop(s); /* the subscriber goes */
        WAIT_FOR(g_atomic_int_get(&server.refused) == 10);
        for (guint i = 0; i < 10; i++) {
                g_assert_cmpint(a[i].ended, ==, 1);
                g_assert_cmpint(a[i].destroyed, ==, 1);
                g_assert_true(g_str_has_prefix(a[i].error, "node node-1.example is gone: "));
                bh_bus_request_credit(a[i].r, 1); /* a handle without its listener */
                bh_bus_request_cancel(a[i].r);
                answer_clear(&a[i]);
        }
        bh_bus_publisher_free(p);
}

static void reader_that_forgets_its_answer_loses_it(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        BhBusPublisherOptions options;
        Server server = { 0 };

        bh_bus_publisher_options_init(&options);
        options.stream_wait_ms = 50;
        g_autoptr(BhBusPublisher) p = server_start(s, dir, &options, &server);
        g_auto(Answer) a = { 0 };
        ask(s, "endless", 1, &a);
        WAIT_FOR(g_atomic_int_get(&a.destroyed));
        g_assert_cmpstr(a.error, ==, "the answer waited too long for its reader");
        g_assert_cmpint(a.chunks, ==, 1);
        WAIT_FOR(g_atomic_int_get(&server.refused) == 1);
}

static void answers_are_bounded_in_number(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        g_autoptr(GError) error = NULL;
        Server server = { 0 };
        g_autoptr(BhBusPublisher) p = server_start(s, dir, NULL, &server);
        Answer a[BH_BUS_MAX_STREAMS] = { 0 };
        g_auto(Answer) more = { 0 };

        for (guint i = 0; i < BH_BUS_MAX_STREAMS; i++)
                ask(s, "endless", 1, &a[i]);
        WAIT_FOR(g_atomic_int_get(&server.sent) == BH_BUS_MAX_STREAMS);
        g_assert_null(bh_bus_request(s->listener, "node-1.example", "three", NULL, 1, on_chunk, on_end, &more, NULL, &error));
        g_assert_error(error, BH_BUS_ERROR, BH_BUS_ERROR_PEER);
        for (guint i = 0; i < BH_BUS_MAX_STREAMS; i++)
                bh_bus_request_cancel(a[i].r);
        WAIT_FOR(g_atomic_int_get(&server.refused) == BH_BUS_MAX_STREAMS);
        ask(s, "three", 3, &more);
        WAIT_FOR(g_atomic_int_get(&more.destroyed));
        g_assert_cmpint(more.chunks, ==, 3);
        for (guint i = 0; i < BH_BUS_MAX_STREAMS; i++) {
                g_assert_cmpint(a[i].ended, ==, 1);
                answer_clear(&a[i]);
        }
}

static void messages_flow_beside_an_endless_answer(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        Server server = { 0 };
        g_autoptr(BhBusPublisher) p = server_start(s, dir, NULL, &server);
        g_auto(Answer) a = { 0 };

        ask(s, "endless", BH_BUS_MAX_CREDIT, &a);
        for (guint64 i = 1; i <= 2000; i++) {
                publish(p, "finding", i, 100);
                bh_bus_request_credit(a.r, 10);
        }
        WAIT_FOR(got_count(s) == 2000);
        WAIT_FOR(g_atomic_int_get(&a.chunks) > 1000);
        bh_bus_request_cancel(a.r);
        WAIT_FOR(g_atomic_int_get(&a.destroyed) && g_atomic_int_get(&server.refused));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/bus/frame_is_what_protobuf_says", frame_is_what_protobuf_says);
        g_test_add_func("/bus/frame_that_is_none_is_refused", frame_that_is_none_is_refused);
        g_test_add_func("/bus/body_takes_bounded_memory", body_takes_bounded_memory);
        g_test_add_func("/bus/names_and_addresses_are_checked", names_and_addresses_are_checked);
        g_test_add_func("/bus/messages_arrive_in_order_and_are_forgotten", messages_arrive_in_order_and_are_forgotten);
        g_test_add_func("/bus/message_of_each_size_arrives", message_of_each_size_arrives);
        g_test_add_func("/bus/both_sides_may_come_and_go", both_sides_may_come_and_go);
        g_test_add_func("/bus/what_could_not_be_stored_comes_again", what_could_not_be_stored_comes_again);
        g_test_add_func("/bus/what_is_there_already_is_not_delivered", what_is_there_already_is_not_delivered);
        g_test_add_func("/bus/last_value_wins_and_comes_at_each_connection", last_value_wins_and_comes_at_each_connection);
        g_test_add_func("/bus/window_bounds_what_is_under_way", window_bounds_what_is_under_way);
        g_test_add_func("/bus/names_in_use_are_refused", names_in_use_are_refused);
        g_test_add_func("/bus/request_is_answered", request_is_answered);
        g_test_add_func("/bus/answer_waits_for_credit", answer_waits_for_credit);
        g_test_add_func("/bus/answers_end_with_either_side", answers_end_with_either_side);
        g_test_add_func("/bus/reader_that_forgets_its_answer_loses_it", reader_that_forgets_its_answer_loses_it);
        g_test_add_func("/bus/answers_are_bounded_in_number", answers_are_bounded_in_number);
        g_test_add_func("/bus/messages_flow_beside_an_endless_answer", messages_flow_beside_an_endless_answer);
        return g_test_run();
}

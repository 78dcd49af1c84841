/* SPDX-License-Identifier: Apache-2.0 */
/* The bus when things go wrong: bounds, disks, damaged files, peers that lie or fall silent. Kills are in test_bus_kill.c. */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#include "bus_env.h"

/* ---- what is lost is counted, once */

typedef struct {
        guint64 delivered, told, tellings; /* messages, sum of the counts in the "lost" messages, number of these */
        guint64 finding, observation;      /* of told, by topic */
        gboolean unknown;                  /* a loss of which nobody knows the number */
} Sum;

/* Everything so far, in order and without doubles; the sum of what arrived and what is told to be lost. */
static Sum sum_of(Subscriber *s) {
        Sum sum = { 0 };
        guint64 last_number = 0, last_seq = 0;

        g_mutex_lock(&s->lock);
        for (guint i = 0; i < s->got->len; i++) {
                const Got *g = s->got->pdata[i];

                if (strcmp(g->topic, BH_BUS_TOPIC_LOST) != 0) {
                        g_assert_cmpuint(g->number, >, last_number);
                        last_number = g->number;
                        sum.delivered++;
                } else {
                        Bulkhead__Bus__V1__Loss *loss = (void *) bh_bus_body_unpack(&bulkhead__bus__v1__loss__descriptor, g->body, NULL);

                        g_assert_nonnull(loss);
                        for (gsize k = 0; k < loss->n_items; k++) {
                                sum.told += loss->items[k]->count;
                                sum.finding += strcmp(loss->items[k]->topic, "finding") == 0 ? loss->items[k]->count : 0;
                                sum.observation += strcmp(loss->items[k]->topic, "observation") == 0 ? loss->items[k]->count : 0;
                                sum.unknown |= !loss->items[k]->count;
                        }
                        sum.tellings++;
                        bulkhead__bus__v1__loss__free_unpacked(loss, NULL);
                }
                g_assert_cmpuint(g->seq, >, last_seq);
                last_seq = g->seq;
        }
        g_mutex_unlock(&s->lock);
        return sum;
}

static void small_spool(BhBusPublisherOptions *options) {
        bh_bus_publisher_options_init(options);
        options->wait_ms = DEADLINE_S * 1000;
        options->spool_max_messages = 400; /* the window is a quarter: 100 */
        options->window_messages = 1024;
}

static void spool_drops_the_oldest_and_tells(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        BhBusPublisherOptions options;
        guint64 number = 0;

        for (guint round = 0; round < 3; round++) { /* what is lost is known after a restart, too */
                small_spool(&options);
                g_autoptr(BhBusPublisher) p = publisher_with(dir, &options, NULL);

                bh_bus_publisher_start(p);
                for (guint i = 0; i < 1000; i++) {
                        number++;
                        g_assert_cmpuint(publish(p, number % 4 ? "finding" : "observation", number, 20), !=, 0);
                }
                g_assert_true(bh_bus_publisher_flush(p, DEADLINE_S * 1000));
                g_assert_cmpuint(stats_of(p).spooled, ==, 400);
                g_assert_cmpuint(stats_of(p).lost_pending, ==, number - 400);
                if (round < 2)
                        continue;
                subscriber_listen(s, dir, NULL);
                WAIT_FOR(sum_of(s).delivered + sum_of(s).told == 3000);
                WAIT_FOR(all_acknowledged(p));
                g_assert_cmpuint(stats_of(p).lost_pending, ==, 0);
                g_assert_cmpuint(stats_of(p).lost, ==, 1000); /* of this run */
        }
        Sum sum = sum_of(s);
        g_assert_cmpuint(sum.delivered, ==, 400);
        g_assert_cmpuint(sum.finding + sum.observation, ==, sum.told);
        g_assert_cmpuint(sum.tellings, ==, 1);
        /* The newest stay, and the hundred that a publisher after a restart must take for sent. */
        g_assert_cmpuint(got_at(s, 0)->number, ==, 601);
        g_assert_cmpuint(got_at(s, 99)->number, ==, 700);
        g_assert_cmpuint(got_at(s, 100)->number, ==, 2701);
        g_assert_cmpuint(got_at(s, 399)->number, ==, 3000);
        g_assert_cmpuint(sum.observation, ==, 3000 / 4 - 100);
}

static void bytes_are_bounded_as_well(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        BhBusPublisherOptions options;

        bh_bus_publisher_options_init(&options);
        options.wait_ms = DEADLINE_S * 1000;
        options.spool_max_bytes = 1 << 20;
        g_autoptr(BhBusPublisher) p = publisher_with(dir, &options, NULL);
        bh_bus_publisher_start(p);
        for (guint i = 1; i <= 500; i++)
                publish(p, "finding", i, 10000);
        g_assert_true(bh_bus_publisher_flush(p, DEADLINE_S * 1000));
        g_assert_cmpuint(stats_of(p).spooled_bytes, <=, 1 << 20);
        g_assert_cmpuint(stats_of(p).spooled_bytes, >, (1 << 20) - 11000);
        subscriber_listen(s, dir, NULL);
        WAIT_FOR(sum_of(s).delivered + sum_of(s).told == 500);
}

/* Losses while a slow subscriber takes what is there: nothing is counted both as delivered and as lost. */
static void overflow_beside_a_slow_subscriber_is_exact(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        BhBusPublisherOptions options;
        BhBusListenOptions listen;
        guint64 number = 0;

        small_spool(&options);
        options.commit_messages = 50;
        g_autoptr(BhBusPublisher) p = publisher_with(dir, &options, NULL);
        bh_bus_publisher_start(p);
        bh_bus_listen_options_init(&listen);
        listen.batch_messages = 3;
        s->delay_us = 500;
        for (guint round = 0; round < 6; round++) {
                g_atomic_int_set(&s->fail, (gint) round % 3); /* connections that break now and then */
                if (!s->listener)
                        subscriber_listen(s, dir, &listen);
                for (guint i = 0; i < 2000; i++) {
                        publish(p, "finding", ++number, 30);
                        if (i % 100 == 99)
                                g_assert_true(bh_bus_publisher_flush(p, DEADLINE_S * 1000));
                }
                if (round % 2)
                        subscriber_stop(s);
        }
        s->delay_us = 0;
        subscriber_listen(s, dir, NULL);
        WAIT_FOR(sum_of(s).delivered + sum_of(s).told >= number);
        WAIT_FOR(all_acknowledged(p) && stats_of(p).lost_pending == 0);
        Sum sum = sum_of(s);
        g_assert_cmpuint(sum.delivered + sum.told, ==, number);
        g_assert_cmpuint(sum.told, ==, stats_of(p).lost);
        g_test_message("%" G_GUINT64_FORMAT " delivered, %" G_GUINT64_FORMAT " lost, told in %" G_GUINT64_FORMAT " messages", sum.delivered, sum.told, sum.tellings);
}

static void full_queue_is_counted(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        BhBusPublisherOptions options;
        guint accepted = 0;

        bh_bus_publisher_options_init(&options);
        options.queue_max_messages = 16;
        g_autoptr(BhBusPublisher) p = publisher_with(dir, &options, NULL);
        for (guint i = 1; i <= 50; i++) /* nobody takes them before the start */
                accepted += publish(p, "finding", i, 0) != 0;
        g_assert_cmpuint(accepted, ==, 16);
        g_assert_cmpuint(stats_of(p).lost, ==, 34);
        bh_bus_publisher_start(p);
        subscriber_listen(s, dir, NULL);
        WAIT_FOR(sum_of(s).delivered + sum_of(s).told == 50);
        g_assert_cmpuint(sum_of(s).delivered, ==, 16);
}

/* ---- the disk */

/* In a process of its own, because the limit is one of a process. */
static void disk_that_refuses_stops_no_delivery(void) {
        if (!g_test_subprocess()) {
                g_test_trap_subprocess(NULL, 2 * DEADLINE_S * G_USEC_PER_SEC, G_TEST_SUBPROCESS_DEFAULT);
                g_test_trap_assert_passed();
                return;
        }
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        BhBusPublisherOptions options;
        struct rlimit before, none;

        signal(SIGXFSZ, SIG_IGN);
        getrlimit(RLIMIT_FSIZE, &before);
        none = (struct rlimit) { .rlim_cur = 65536, .rlim_max = before.rlim_max };
        bh_bus_publisher_options_init(&options);
        g_autoptr(BhBusPublisher) p = publisher_with(dir, &options, NULL);
        setrlimit(RLIMIT_FSIZE, &none);
        bh_bus_publisher_start(p);
        for (guint i = 1; i <= 500; i++)
                g_assert_cmpuint(publish(p, "finding", i, 1000), !=, 0);
        WAIT_FOR(stats_of(p).commit_errors >= 2 && *stats_of(p).problem);
        g_assert_nonnull(strstr(stats_of(p).problem, "spool"));
        g_assert_false(bh_bus_publisher_flush(p, 10));
        subscriber_listen(s, dir, NULL);
        WAIT_FOR(got_count(s) == 500); /* out of memory */
        subscriber_stop(s);
        for (guint i = 501; i <= 600; i++)
                publish(p, "finding", i, 1000);
        setrlimit(RLIMIT_FSIZE, &before);
        g_assert_true(bh_bus_publisher_flush(p, DEADLINE_S * 1000)); /* the disk takes them again */
        subscriber_listen(s, dir, NULL);
        WAIT_FOR(got_count(s) == 600 && all_acknowledged(p));
        g_assert_cmpuint(sum_of(s).delivered, ==, 600);
        g_assert_cmpuint(stats_of(p).lost, ==, 0);
}

static void file_of_a_delivered_backlog_shrinks(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        g_autofree char *spool = spool_in(dir);
        BhBusPublisherOptions options;
        struct stat st;

        bh_bus_publisher_options_init(&options);
        options.wait_ms = DEADLINE_S * 1000;
        g_autoptr(BhBusPublisher) p = publisher_with(dir, &options, NULL);
        bh_bus_publisher_start(p);
        for (guint i = 1; i <= 2000; i++)
                publish(p, "finding", i, 10000);
        g_assert_true(bh_bus_publisher_flush(p, DEADLINE_S * 1000));
        WAIT_FOR(stat(spool, &st) == 0 && st.st_size > (10 << 20));
        subscriber_listen(s, dir, NULL);
        WAIT_FOR(got_count(s) == 2000);
        for (guint i = 2001; stat(spool, &st) < 0 || st.st_size > (6 << 20); i++) { /* the log is written back by later commits */
                g_assert_cmpuint(i, <, 20000);
                publish(p, "finding", i, 1000);
                g_assert_true(bh_bus_publisher_flush(p, DEADLINE_S * 1000));
        }
}

static void overwrite(const char *path, goffset from, gsize len) {
        g_auto(BhFd) fd = open(path, O_WRONLY | O_CLOEXEC);
        g_autofree guint8 *noise = g_malloc(len);

        if (fd < 0)
                return;
        for (gsize i = 0; i < len; i++)
                noise[i] = (guint8) g_random_int();
        g_assert_cmpint(pwrite(fd, noise, len, from), ==, (gssize) len);
}

static void fill_spool(const char *dir, guint64 from, guint64 to) {
        BhBusPublisherOptions options;

        bh_bus_publisher_options_init(&options);
        options.wait_ms = DEADLINE_S * 1000;
        g_autoptr(BhBusPublisher) p = publisher_with(dir, &options, NULL);
        bh_bus_publisher_start(p);
        for (guint64 i = from; i <= to; i++)
                publish(p, "finding", i, 300);
        g_assert_true(bh_bus_publisher_flush(p, DEADLINE_S * 1000));
}

static void damaged_spool_is_set_aside(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        g_autofree char *spool = spool_in(dir);
        BhBusSpoolFound found;
        struct stat before, after;

        fill_spool(dir, 1, 1000);
        g_assert_cmpint(stat(spool, &before), ==, 0);
        overwrite(spool, 4096, 100000);
        g_autoptr(BhBusPublisher) p = publisher_with(dir, NULL, &found);
        g_assert_cmpuint(found.messages, ==, 0);
        g_assert_nonnull(strstr(found.damaged_kept_as, ".damaged-"));
        g_assert_cmpstr(found.damage, !=, "");
        g_assert_cmpint(stat(found.damaged_kept_as, &after), ==, 0);
        g_assert_cmpuint(before.st_ino, ==, after.st_ino);
        bh_bus_publisher_start(p);
        publish(p, "finding", 2000, 0);
        subscriber_listen(s, dir, NULL);
        WAIT_FOR(sum_of(s).delivered == 1 && sum_of(s).unknown);
        g_assert_cmpuint(stats_of(p).damaged, ==, 1);
}

static void no_damage_stops_a_publisher(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autofree char *spool = spool_in(dir), *original = NULL;
        gsize len;
        guint aside = 0, kept = 0;
        const char *name;

        fill_spool(dir, 1, 300);
        g_assert_true(g_file_get_contents(spool, &original, &len, NULL));
        for (guint i = 0; i < 40; i++) {
                BhBusSpoolFound found;
                goffset at = i < 5 ? 20 * (goffset) i : g_random_int_range(0, (gint32) len - 64);

                g_assert_true(g_file_set_contents(spool, original, i % 7 == 6 ? g_random_int_range(0, (gint32) len) : (gssize) len, NULL));
                if (i % 7 != 6)
                        overwrite(spool, at, (gsize) g_random_int_range(1, 64));
                g_autoptr(BhBusPublisher) p = publisher_with(dir, NULL, &found);
                g_assert_cmpuint(publish(p, "finding", 1, 10), !=, 0);
                aside += *found.damaged_kept_as != '\0';
        }
        g_autoptr(GDir) d = g_dir_open(dir, 0, NULL);
        while ((name = g_dir_read_name(d)))
                kept += strstr(name, ".damaged-") && !g_str_has_suffix(name, "-wal");
        g_test_message("%u of 40 set aside, %u kept", aside, kept);
        g_assert_cmpuint(aside, >, 5);
        g_assert_cmpuint(kept, ==, BH_BUS_MAX_DAMAGED);
}

static void damage_under_way_is_survived(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        g_autofree char *spool = spool_in(dir), *wal = g_strconcat(spool, "-wal", NULL);
        BhBusPublisherOptions options;
        struct stat st;

        bh_bus_publisher_options_init(&options);
        options.wait_ms = DEADLINE_S * 1000;
        g_autoptr(BhBusPublisher) p = publisher_with(dir, &options, NULL);
        bh_bus_publisher_start(p);
        for (guint i = 1; i <= 20000; i++)
                publish(p, "finding", i, 300);
        g_assert_true(bh_bus_publisher_flush(p, DEADLINE_S * 1000));
        for (guint i = 0; i < 2; i++)
                if (stat(i ? wal : spool, &st) == 0 && st.st_size > 8192)
                        overwrite(i ? wal : spool, i ? 32 : 4096, (gsize) st.st_size - 8192);
        subscriber_listen(s, dir, NULL);
        WAIT_FOR(stats_of(p).damaged == 1);
        for (guint i = 20001; i <= 20500; i++)
                publish(p, "finding", i, 300);
        WAIT_FOR(all_acknowledged(p) && stats_of(p).lost_pending == 0);
        Sum sum = sum_of(s);
        g_assert_cmpuint(sum.delivered, >=, 500);
        g_assert_cmpuint(sum.delivered + sum.told, ==, 20500);
        g_test_message("%" G_GUINT64_FORMAT " delivered, %" G_GUINT64_FORMAT " lost", sum.delivered, sum.told);
}

static void older_copy_of_a_spool_goes_on_under_a_new_id(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        g_autofree char *spool = spool_in(dir), *copy = NULL;
        gsize len;

        fill_spool(dir, 1, 10);
        g_assert_true(g_file_get_contents(spool, &copy, &len, NULL)); /* closed in order: there is no log */
        subscriber_listen(s, dir, NULL);
        for (guint i = 0; i < 5; i++) {
                g_autoptr(BhBusPublisher) p = publisher_with(dir, NULL, NULL);

                bh_bus_publisher_start(p);
                publish(p, "finding", 11 + i, 0);
                WAIT_FOR(all_acknowledged(p));
        }
        g_assert_cmpuint(sum_of(s).delivered, ==, 15);
        g_assert_true(g_file_set_contents(spool, copy, (gssize) len, NULL));
        g_autoptr(BhBusPublisher) p = publisher_with(dir, NULL, NULL);
        bh_bus_publisher_start(p);
        publish(p, "finding", 100, 0);
        /* Nothing is lost; the ten of the copy come again, which only their own ids can tell. */
        WAIT_FOR(got_count(s) == 15 + 11 && all_acknowledged(p));
        g_assert_cmpuint(got_at(s, 25)->number, ==, 100);
        g_assert_cmpuint(g_hash_table_size(s->positions), ==, 2);
}

/* ---- peers that lie */

static BhBusListenOptions impatient(void) {
        BhBusListenOptions o;

        bh_bus_listen_options_init(&o);
        o.hello_ms = o.ping_ms = 50;
        o.dead_ms = 200;
        o.window_messages = 5;
        return o;
}

static int welcomed(const char *dir) {
        g_autoptr(GByteArray) buffer = g_byte_array_new();
        BhBusFrame f;
        int fd = raw_connect(dir);

        g_assert_true(raw_hello(fd, "n", 7, BH_BUS_PROTOCOL) && raw_await(fd, buffer, BH_BUS_WELCOME, &f));
        return fd;
}

static void hostile_publishers_are_disconnected(void) {
        static const BhBusFrame lies[] = {
                { .kind = BH_BUS_HELLO },
                { .kind = BH_BUS_WELCOME },
                { .kind = BH_BUS_ACK, .seq = 1 },
                { .kind = BH_BUS_REQUEST, .stream = 1 },
                { .kind = BH_BUS_CREDIT, .stream = 1 },
                { .kind = BH_BUS_CHUNK, .stream = 1 },                                                /* of an answer nobody asked for */
                { .kind = BH_BUS_MESSAGE, .seq = 1 },                                                 /* no subject */
                { .kind = BH_BUS_MESSAGE, .seq = 1, .subject = { (const guint8 *) "finding.m", 9 } }, /* another node's */
                { .kind = BH_BUS_MESSAGE, .seq = 1, .subject = { (const guint8 *) "findingXn", 9 } },
                { .kind = BH_BUS_MESSAGE, .seq = 1, .subject = { (const guint8 *) ".n", 2 } },
                { .kind = BH_BUS_MESSAGE, .seq = 1, .subject = { (const guint8 *) "a\0b.n", 5 } },
                { .kind = BH_BUS_MESSAGE, .seq = G_MAXUINT64, .subject = { (const guint8 *) "finding.n", 9 } },
        };
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        BhBusListenOptions options = impatient();
        guint64 errors = 0;

        options.hello_ms = options.ping_ms = 5000;
        options.dead_ms = 15000;
        subscriber_listen(s, dir, &options);
        for (guint i = 0; i < G_N_ELEMENTS(lies); i++) {
                g_auto(BhFd) early = raw_connect(dir), late = welcomed(dir);

                raw_put(early, &lies[i]);
                g_assert_true(raw_ends(early));
                raw_put(late, &lies[i]);
                g_assert_true(raw_ends(late));
                errors += 2;
        }
        { /* numbers that do not rise */
                g_auto(BhFd) fd = welcomed(dir);
                BhBusFrame m = { .kind = BH_BUS_MESSAGE, .seq = 5, .subject = BH_BUS_SPAN_TEXT("finding.n"), .body = { (const guint8 *) "\0\0\0\0\0\0\0\1", 8 } };

                raw_put(fd, &m);
                raw_put(fd, &m);
                g_assert_true(raw_ends(fd));
                errors++;
        }
        { /* more than the window */
                g_atomic_int_set(&s->closed, 1);
                g_auto(BhFd) fd = welcomed(dir);
                for (guint64 seq = 10; seq < 40; seq++)
                        raw_put(fd, &(BhBusFrame) { .kind = BH_BUS_MESSAGE, .seq = seq, .subject = BH_BUS_SPAN_TEXT("finding.n"),
                                                    .body = { (const guint8 *) "\0\0\0\0\0\0\0\1", 8 } });
                g_assert_true(raw_ends(fd));
                g_atomic_int_set(&s->closed, 0);
                errors++;
        }
        { /* another version, and names that are none: told why */
                g_autoptr(GByteArray) buffer = g_byte_array_new();
                BhBusFrame f;
                g_auto(BhFd) version = raw_connect(dir), name = raw_connect(dir);

                g_assert_true(raw_hello(version, "n", 1, 2) && raw_get(version, buffer, &f));
                g_assert_true(f.kind == BH_BUS_END && f.error.len > 10);
                g_assert_true(raw_hello(name, "a/b", 1, BH_BUS_PROTOCOL) && raw_get(name, buffer, &f));
                g_assert_true(f.kind == BH_BUS_END && f.error.len > 10);
                errors += 2;
        }
        static const char *const raw[] = { "\xff\xff\xff\x7f", "\x01\0\1\0", "\x02\0\0\0\x00\x01", "\x04\0\0\0\x08\x01\x2a\xff" };
        static const gsize raw_len[] = { 4, 4, 6, 8 }; /* lengths over the bound (before the hello), no frame, a field beyond its frame */
        for (guint i = 0; i < G_N_ELEMENTS(raw); i++) {
                g_auto(BhFd) fd = raw_connect(dir);

                raw_send(fd, raw[i], raw_len[i]);
                g_assert_true(raw_ends(fd));
                errors++;
        }
        WAIT_FOR(listener_stats(s).protocol_errors == errors && listener_stats(s).peers == 0);
        for (guint i = 0; i < 150; i++) { /* noise, torn off anywhere */
                g_auto(BhFd) fd = i % 2 ? welcomed(dir) : raw_connect(dir);
                guint8 noise[256];

                for (guint k = 0; k < sizeof(noise); k++)
                        noise[k] = (guint8) g_random_int();
                if (i % 3) { /* a length that fits, so that the decoder sees the rest */
                        guint32 len = GUINT32_TO_LE((guint32) g_random_int_range(0, 250));
                        memcpy(noise, &len, 4);
                }
                raw_send(fd, noise, (gsize) g_random_int_range(1, sizeof(noise)));
        }
        WAIT_FOR(listener_stats(s).accepted == errors + 150 && listener_stats(s).peers == 0);
        g_autoptr(BhBusPublisher) p = publisher_with(dir, NULL, NULL); /* and an honest one is served */
        bh_bus_publisher_start(p);
        publish(p, "finding", 77, 0);
        WAIT_FOR(all_acknowledged(p));
        g_assert_cmpuint(s->up, ==, s->down + 1);
}

static void silent_peers_are_let_go(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        BhBusListenOptions options = impatient();
        g_autoptr(GByteArray) buffer = g_byte_array_new();
        BhBusFrame f;

        subscriber_listen(s, dir, &options);
        g_auto(BhFd) mute = raw_connect(dir), asleep = welcomed(dir), half = raw_connect(dir);
        raw_send(half, "\x10\0", 2);
        g_assert_true(raw_await(asleep, buffer, BH_BUS_PING, &f)); /* asked for a sign of life first */
        g_assert_true(raw_ends(mute) && raw_ends(half) && raw_ends(asleep));
        g_assert_cmpuint(listener_stats(s).timeouts, ==, 3);
        g_assert_cmpuint(listener_stats(s).peers, ==, 0);
}

static void newer_connection_replaces_the_older(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();

        subscriber_listen(s, dir, NULL);
        g_auto(BhFd) older = welcomed(dir), newer = welcomed(dir);
        g_assert_true(raw_ends(older));
        g_assert_cmpuint(listener_stats(s).peers, ==, 1);
}

static void peers_are_bounded_in_number(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        int fds[BH_BUS_MAX_PEERS + 1];

        subscriber_listen(s, dir, NULL);
        for (guint i = 0; i <= BH_BUS_MAX_PEERS; i++)
                fds[i] = raw_connect(dir);
        g_assert_true(raw_ends(fds[BH_BUS_MAX_PEERS]));
        g_assert_cmpuint(listener_stats(s).refused, ==, 1);
        for (guint i = 0; i <= BH_BUS_MAX_PEERS; i++)
                close(fds[i]);
}

/* ---- subscribers that lie */

static int raw_listen(const char *dir) {
        g_autoptr(GError) error = NULL;
        g_autofree char *address = address_in(dir);
        int fd = bh_bus_bind(address, &error);

        g_assert_no_error(error);
        return fd;
}

static int raw_accept(int fd) {
        struct pollfd p = { .fd = fd, .events = POLLIN };

        g_assert_cmpint(poll(&p, 1, DEADLINE_S * 1000), ==, 1);
        return accept4(fd, NULL, NULL, SOCK_CLOEXEC);
}

static void hostile_subscribers_are_left(void) {
        static const BhBusFrame lies[] = {
                { .kind = BH_BUS_HELLO },
                { .kind = BH_BUS_MESSAGE, .seq = 1 },
                { .kind = BH_BUS_CHUNK, .stream = 1 },
                { .kind = BH_BUS_WELCOME },
                { .kind = BH_BUS_ACK, .seq = G_MAXUINT64 },
                { .kind = BH_BUS_REQUEST, .subject = { (const guint8 *) "a", 1 } },               /* stream 0 */
                { .kind = BH_BUS_REQUEST, .stream = 1 },                                          /* no name */
                { .kind = BH_BUS_REQUEST, .stream = 1, .subject = { (const guint8 *) "../", 3 } },
        };
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        g_autoptr(GByteArray) buffer = g_byte_array_new();
        BhBusPublisherOptions options;
        BhBusFrame f;

        bh_bus_publisher_options_init(&options);
        options.ping_ms = 50;
        options.dead_ms = 200;
        g_autoptr(BhBusPublisher) p = publisher_with(dir, &options, NULL);
        bh_bus_publisher_start(p);
        for (guint64 i = 1; i <= 10; i++)
                publish(p, "finding", i, 0);
        {
                g_auto(BhFd) fd = raw_listen(dir);

                for (guint i = 0; i < 2 * G_N_ELEMENTS(lies); i++) {
                        g_auto(BhFd) conn = raw_accept(fd);

                        g_assert_true(raw_await(conn, buffer, BH_BUS_HELLO, &f));
                        if (i % 2 || lies[i / 2].kind == BH_BUS_WELCOME)
                                g_assert_true(raw_welcome(conn, 0, 3));
                        raw_put(conn, &lies[i / 2]);
                        g_assert_true(raw_ends(conn));
                        g_assert_cmpuint(stats_of(p).protocol_errors, ==, i + 1);
                }
                /* A refusal is shown; silence is left; a window of nothing is one of one. */
                g_auto(BhFd) refusing = raw_accept(fd);
                raw_put(refusing, &(BhBusFrame) { .kind = BH_BUS_END, .error = BH_BUS_SPAN_TEXT("use the same release") });
                g_assert_true(raw_ends(refusing));
                WAIT_FOR(strstr(stats_of(p).problem, "use the same release"));
                g_auto(BhFd) silent = raw_accept(fd);
                g_assert_true(raw_ends(silent));
                g_auto(BhFd) narrow = raw_accept(fd);
                g_assert_true(raw_await(narrow, buffer, BH_BUS_HELLO, &f) && raw_welcome(narrow, 0, 0));
                for (guint i = 0; i < 3; i++) {
                        g_assert_true(raw_await(narrow, buffer, BH_BUS_MESSAGE, &f));
                        struct pollfd more = { .fd = narrow, .events = POLLIN };
                        g_assert_cmpint(poll(&more, 1, 5), ==, 0);
                        g_assert_true(raw_put(narrow, &(BhBusFrame) { .kind = BH_BUS_ACK, .seq = f.seq }));
                }
        }
        subscriber_listen(s, dir, NULL);
        WAIT_FOR(got_count(s) >= 7 && all_acknowledged(p));
        g_assert_cmpuint(got_at(s, got_count(s) - 1)->number, ==, 10);
        g_assert_cmpuint(stats_of(p).lost, ==, 0);
}

static void serve_much(BhBusStream *stream, GBytes *body, gpointer data) {
        g_autoptr(GBytes) piece = g_bytes_new_take(g_malloc0(100000), 100000);

        while (bh_bus_stream_send(stream, piece, 0))
                g_atomic_int_inc((gint *) data);
}

static void subscriber_that_does_not_read_costs_little(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(GByteArray) buffer = g_byte_array_new();
        gint sent = 0, before;
        BhBusFrame f;

        g_autoptr(BhBusPublisher) p = publisher_with(dir, NULL, NULL);
        bh_bus_serve(p, "much", serve_much, &sent);
        bh_bus_publisher_start(p);
        g_auto(BhFd) fd = raw_listen(dir);
        g_auto(BhFd) conn = raw_accept(fd);
        g_assert_true(raw_await(conn, buffer, BH_BUS_HELLO, &f) && raw_welcome(conn, 0, 10));
        for (guint64 i = 1; i <= 4; i++)
                raw_put(conn, &(BhBusFrame) { .kind = BH_BUS_REQUEST, .stream = i, .subject = BH_BUS_SPAN_TEXT("much"), .credit = BH_BUS_MAX_CREDIT });
        WAIT_FOR(g_atomic_int_get(&sent) > 10);
        for (guint quiet = 0; quiet < 50; quiet++) { /* until nothing has moved for a while */
                before = g_atomic_int_get(&sent);
                g_usleep(1000);
                if (g_atomic_int_get(&sent) != before)
                        quiet = 0;
        }
        g_assert_cmpint(g_atomic_int_get(&sent), <, 40); /* 1 MiB queue, a quarter on the link, what the socket took */
        for (guint i = 0; i < 400; i++)
                g_assert_true(raw_await(conn, buffer, BH_BUS_CHUNK, &f) && f.body.len == 100000);
}

/* ---- who may talk */

static void other_users_are_refused(void) {
        if (geteuid() != 0) {
                g_test_skip("needs root to be two users");
                return;
        }
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(Subscriber) s = subscriber_new();
        g_autofree char *address = address_in(dir);
        int status, go[2];

        g_assert_cmpint(pipe(go), ==, 0);
        g_assert_cmpint(chmod(dir, 0777), ==, 0);
        /* A publisher of user 65534 at root's subscriber; then a subscriber of that user in root's folder. Forked before there are threads. */
        pid_t child = fork();
        if (child == 0) {
                char c;

                if (read(go[0], &c, 1) != 1 || setgid(65534) < 0 || setuid(65534) < 0)
                        _exit(1);
                int fd = raw_connect(dir);
                if (!raw_ends(fd) || read(go[0], &c, 1) != 1)
                        _exit(2);
                fd = raw_listen(dir);
                for (guint i = 0; i < 2; i++) { /* comes again, and never says a word */
                        g_autoptr(GByteArray) buffer = g_byte_array_new();
                        BhBusFrame f;
                        int conn = raw_accept(fd);

                        if (raw_get(conn, buffer, &f))
                                _exit(3);
                        close(conn);
                }
                unlink(address + 5);
                _exit(0);
        }
        subscriber_listen(s, dir, NULL);
        g_assert_cmpint(chmod(address + 5, 0666), ==, 0);
        g_assert_cmpint(write(go[1], "1", 1), ==, 1);
        WAIT_FOR(listener_stats(s).refused == 1);
        subscriber_stop(s);
        g_autoptr(BhBusPublisher) p = publisher_with(dir, NULL, NULL);
        bh_bus_publisher_start(p);
        g_assert_cmpint(write(go[1], "2", 1), ==, 1);
        g_assert_cmpint(waitpid(child, &status, 0), ==, child);
        g_assert_cmpint(status, ==, 0);
        close(go[0]);
        close(go[1]);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/bus/spool_drops_the_oldest_and_tells", spool_drops_the_oldest_and_tells);
        g_test_add_func("/bus/bytes_are_bounded_as_well", bytes_are_bounded_as_well);
        g_test_add_func("/bus/overflow_beside_a_slow_subscriber_is_exact", overflow_beside_a_slow_subscriber_is_exact);
        g_test_add_func("/bus/full_queue_is_counted", full_queue_is_counted);
        g_test_add_func("/bus/disk_that_refuses_stops_no_delivery", disk_that_refuses_stops_no_delivery);
        g_test_add_func("/bus/file_of_a_delivered_backlog_shrinks", file_of_a_delivered_backlog_shrinks);
        g_test_add_func("/bus/damaged_spool_is_set_aside", damaged_spool_is_set_aside);
        g_test_add_func("/bus/no_damage_stops_a_publisher", no_damage_stops_a_publisher);
        g_test_add_func("/bus/damage_under_way_is_survived", damage_under_way_is_survived);
        g_test_add_func("/bus/older_copy_of_a_spool_goes_on_under_a_new_id", older_copy_of_a_spool_goes_on_under_a_new_id);
        g_test_add_func("/bus/hostile_publishers_are_disconnected", hostile_publishers_are_disconnected);
        g_test_add_func("/bus/silent_peers_are_let_go", silent_peers_are_let_go);
        g_test_add_func("/bus/newer_connection_replaces_the_older", newer_connection_replaces_the_older);
        g_test_add_func("/bus/peers_are_bounded_in_number", peers_are_bounded_in_number);
        g_test_add_func("/bus/hostile_subscribers_are_left", hostile_subscribers_are_left);
        g_test_add_func("/bus/subscriber_that_does_not_read_costs_little", subscriber_that_does_not_read_costs_little);
        g_test_add_func("/bus/other_users_are_refused", other_users_are_refused);
        return g_test_run();
}

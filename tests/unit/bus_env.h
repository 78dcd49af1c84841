/* SPDX-License-Identifier: Apache-2.0 */
/* Folders, a subscriber that keeps what it is given in memory, and peers that speak frames by hand: shared by the tests of the bus. */
#pragma once
#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fdio.h"
#include "bus/body.h"
#include "bus/bus.h"
#include "bus/bus.pb-c.h"
#include "bus/common.h"
#include "bus/frame.h"

#define DEADLINE_S 20

/* Waits for the condition, and says which one did not come true. */
#define WAIT_FOR(condition)                                                                                             \
        do {                                                                                                            \
                gint64 wait_until = g_get_monotonic_time() + DEADLINE_S * G_USEC_PER_SEC;                               \
                while (!(condition)) {                                                                                  \
                        if (g_get_monotonic_time() > wait_until)                                                        \
                                g_error("%s:%d: not true within %d s: %s", __FILE__, __LINE__, DEADLINE_S, #condition); \
                        g_usleep(1000);                                                                                 \
                }                                                                                                       \
        } while (0)

typedef char TempDir;

static G_GNUC_UNUSED TempDir *temp_dir(void) {
        g_autoptr(GError) error = NULL;
        char *dir = g_dir_make_tmp("bh-bus-XXXXXX", &error);

        g_assert_no_error(error);
        return dir;
}

static G_GNUC_UNUSED void temp_dir_free(TempDir *dir) {
        g_autoptr(GDir) d = g_dir_open(dir, 0, NULL);
        const char *name;

        while (d && (name = g_dir_read_name(d))) {
                g_autofree char *path = g_build_filename(dir, name, NULL);
                g_unlink(path);
        }
        g_rmdir(dir);
        g_free(dir);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TempDir, temp_dir_free)

static G_GNUC_UNUSED char *address_in(const char *dir) {
        return g_strdup_printf("unix:%s/bus.sock", dir);
}

static G_GNUC_UNUSED char *spool_in(const char *dir) {
        return g_build_filename(dir, "bus.db", NULL);
}

/* ---- publisher */

typedef struct {
        guint8 number[8]; /* big-endian */
        guint8 filler[];
} Body;

static G_GNUC_UNUSED guint64 publish(BhBusPublisher *p, const char *topic, guint64 number, gsize filler) {
        g_autofree guint8 *data = g_malloc0(8 + filler);
        guint64 be = GUINT64_TO_BE(number);

        memcpy(data, &be, 8);
        memset(data + 8, (int) (number & 0x7f), filler);
        g_autoptr(GBytes) body = g_bytes_new(data, 8 + filler);
        return bh_bus_publish(p, topic, body);
}

static G_GNUC_UNUSED guint64 number_of(GBytes *body) {
        gsize len;
        const guint8 *data = g_bytes_get_data(body, &len);
        guint64 be;

        g_assert_cmpuint(len, >=, 8);
        memcpy(&be, data, 8);
        guint64 number = GUINT64_FROM_BE(be);
        for (gsize i = 8; i < len; i++)
                g_assert_cmpuint(data[i], ==, number & 0x7f);
        return number;
}

static G_GNUC_UNUSED BhBusPublisher *publisher_with(const char *dir, BhBusPublisherOptions *options, BhBusSpoolFound *found) {
        g_autoptr(GError) error = NULL;
        g_autofree char *address = address_in(dir), *spool = spool_in(dir);
        BhBusPublisherOptions defaults;

        if (!options) {
                bh_bus_publisher_options_init(&defaults);
                options = &defaults;
        }
        if (!options->node)
                options->node = "node-1.example";
        options->backoff_min_ms = 5;
        options->backoff_max_ms = MIN(options->backoff_max_ms, 50);
        BhBusPublisher *p = bh_bus_publisher_new(address, spool, options, found, &error);
        g_assert_no_error(error);
        return p;
}

static G_GNUC_UNUSED BhBusPublisherStats stats_of(BhBusPublisher *p) {
        BhBusPublisherStats s;

        bh_bus_publisher_stats(p, &s);
        return s;
}

static G_GNUC_UNUSED gboolean all_acknowledged(BhBusPublisher *p) {
        BhBusPublisherStats s = stats_of(p);

        return s.connected && !s.queued && s.acked_seq >= s.last_seq;
}

/* ---- subscriber */

typedef struct {
        guint64 seq, number;
        char *topic, *node;
        GBytes *body;
} Got;

typedef struct {
        BhBusListener *listener;
        GMutex lock;
        GHashTable *positions; /* id in hex -> seq */
        GPtrArray *got;
        GHashTable *latest; /* topic -> body */
        guint up, down, batches;
        gint fail;   /* so many delivers fail */
        gint closed; /* delivers wait while this is set */
        gint inside; /* delivers that wait */
        guint delay_us; /* of each deliver */
        guint64 invented_position;
} Subscriber;

static void got_free(gpointer data) {
        Got *g = data;

        g_free(g->topic);
        g_free(g->node);
        g_bytes_unref(g->body);
        g_free(g);
}

static char *hex(const guint8 *id) {
        GString *s = g_string_new(NULL);

        for (guint i = 0; i < BH_BUS_ID_LEN; i++)
                g_string_append_printf(s, "%02x", id[i]);
        return g_string_free(s, FALSE);
}

static gboolean subscriber_positions(const BhBusPeer *peer, guint64 *seq, gpointer data) {
        Subscriber *s = data;
        g_autofree char *id = hex(peer->id);

        g_mutex_lock(&s->lock);
        guint64 *known = g_hash_table_lookup(s->positions, id);
        *seq = s->invented_position ? s->invented_position : known ? *known : 0;
        s->invented_position = 0;
        g_mutex_unlock(&s->lock);
        return TRUE;
}

static gboolean subscriber_deliver(const BhBusPeer *peer, const BhBusMessage *messages, guint n, gpointer data) {
        Subscriber *s = data;
        char *id = hex(peer->id);

        g_atomic_int_inc(&s->inside);
        while (g_atomic_int_get(&s->closed))
                g_usleep(500);
        if (s->delay_us)
                g_usleep(s->delay_us);
        g_atomic_int_add(&s->inside, -1);
        if (g_atomic_int_get(&s->fail) > 0) {
                g_atomic_int_add(&s->fail, -1);
                g_free(id);
                return FALSE;
        }
        g_mutex_lock(&s->lock);
        for (guint i = 0; i < n; i++) {
                Got *g = g_new0(Got, 1);

                g->seq = messages[i].seq;
                g->topic = g_strdup(messages[i].topic);
                g->node = g_strdup(peer->node);
                g->body = g_bytes_ref(messages[i].body);
                g->number = strcmp(g->topic, BH_BUS_TOPIC_LOST) == 0 ? 0 : number_of(g->body);
                g_ptr_array_add(s->got, g);
        }
        s->batches++;
        g_hash_table_replace(s->positions, id, g_memdup2(&messages[n - 1].seq, sizeof(guint64)));
        g_mutex_unlock(&s->lock);
        return TRUE;
}

static void subscriber_latest(const BhBusPeer *peer, const char *topic, GBytes *body, gpointer data) {
        Subscriber *s = data;

        g_mutex_lock(&s->lock);
        g_hash_table_replace(s->latest, g_strdup(topic), g_bytes_ref(body));
        g_mutex_unlock(&s->lock);
}

static void subscriber_peer(const BhBusPeer *peer, gboolean up, gpointer data) {
        Subscriber *s = data;

        g_mutex_lock(&s->lock);
        if (up)
                s->up++;
        else
                s->down++;
        g_mutex_unlock(&s->lock);
}

static G_GNUC_UNUSED Subscriber *subscriber_new(void) {
        Subscriber *s = g_new0(Subscriber, 1);

        g_mutex_init(&s->lock);
        s->positions = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        s->got = g_ptr_array_new_with_free_func(got_free);
        s->latest = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify) g_bytes_unref);
        return s;
}

static G_GNUC_UNUSED void subscriber_listen(Subscriber *s, const char *dir, const BhBusListenOptions *options) {
        g_autoptr(GError) error = NULL;
        g_autofree char *address = address_in(dir);
        BhBusCallbacks callbacks = { .positions = subscriber_positions, .deliver = subscriber_deliver, .latest = subscriber_latest,
                                     .peer = subscriber_peer, .data = s };
        int fd = bh_bus_bind(address, &error);

        g_assert_no_error(error);
        s->listener = bh_bus_listen(fd, &callbacks, options, &error);
        g_assert_no_error(error);
}

static G_GNUC_UNUSED void subscriber_stop(Subscriber *s) {
        bh_bus_listener_free(g_steal_pointer(&s->listener));
}

static G_GNUC_UNUSED void subscriber_free(Subscriber *s) {
        subscriber_stop(s);
        g_hash_table_unref(s->positions);
        g_hash_table_unref(s->latest);
        g_ptr_array_unref(s->got);
        g_mutex_clear(&s->lock);
        g_free(s);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Subscriber, subscriber_free)

static G_GNUC_UNUSED guint got_count(Subscriber *s) {
        g_mutex_lock(&s->lock);
        guint n = s->got->len;
        g_mutex_unlock(&s->lock);
        return n;
}

static G_GNUC_UNUSED const Got *got_at(Subscriber *s, guint i) {
        g_mutex_lock(&s->lock);
        const Got *g = s->got->pdata[i];
        g_mutex_unlock(&s->lock);
        return g;
}

static G_GNUC_UNUSED BhBusListenerStats listener_stats(Subscriber *s) {
        BhBusListenerStats st;

        bh_bus_listener_stats(s->listener, &st);
        return st;
}

/* ---- a peer by hand */

static G_GNUC_UNUSED int raw_connect(const char *dir) {
        g_autofree char *address = address_in(dir);
        struct sockaddr_un a;
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        g_assert_true(bh_bus_address_parse(address, &a, NULL));
        g_assert_cmpint(connect(fd, (const struct sockaddr *) &a, sizeof(a)), ==, 0);
        return fd;
}

/* FALSE when the other side is gone. */
static G_GNUC_UNUSED gboolean raw_send(int fd, const void *data, gsize len) {
        const guint8 *p = data;

        while (len) {
                ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

                if (n <= 0)
                        return FALSE;
                p += n;
                len -= (gsize) n;
        }
        return TRUE;
}

static G_GNUC_UNUSED gboolean raw_put(int fd, const BhBusFrame *f) {
        g_autoptr(GByteArray) out = g_byte_array_new();

        bh_bus_frame_append(out, f);
        return raw_send(fd, out->data, out->len);
}

static G_GNUC_UNUSED gboolean raw_hello(int fd, const char *node, guint8 id_byte, guint32 protocol) {
        Bulkhead__Bus__V1__Hello hello = BULKHEAD__BUS__V1__HELLO__INIT;
        guint8 id[BH_BUS_ID_LEN];

        memset(id, id_byte, sizeof(id));
        hello.protocol = protocol;
        hello.publisher = (ProtobufCBinaryData) { .len = sizeof(id), .data = id };
        hello.node = (char *) node;
        g_autoptr(GBytes) body = bh_bus_body_pack(&hello.base);
        return raw_put(fd, &(BhBusFrame) { .kind = BH_BUS_HELLO, .body = { g_bytes_get_data(body, NULL), g_bytes_get_size(body) } });
}

static G_GNUC_UNUSED gboolean raw_welcome(int fd, guint64 seq, guint32 window) {
        Bulkhead__Bus__V1__Welcome w = BULKHEAD__BUS__V1__WELCOME__INIT;

        w.protocol = BH_BUS_PROTOCOL;
        w.window_messages = window;
        w.window_bytes = 1 << 20;
        g_autoptr(GBytes) body = bh_bus_body_pack(&w.base);
        return raw_put(fd, &(BhBusFrame) { .kind = BH_BUS_WELCOME, .seq = seq, .body = { g_bytes_get_data(body, NULL), g_bytes_get_size(body) } });
}

/* The next frame into `buffer` (of BH_BUS_MAX_FRAME bytes at most; the frame points into it). FALSE when the other side is gone or silent. */
static G_GNUC_UNUSED gboolean raw_get(int fd, GByteArray *buffer, BhBusFrame *f) {
        guint32 len;

        for (gsize have = 0, need = 4; have < need;) {
                struct pollfd p = { .fd = fd, .events = POLLIN };

                g_byte_array_set_size(buffer, (guint) need);
                if (poll(&p, 1, DEADLINE_S * 1000) != 1)
                        return FALSE;
                ssize_t n = recv(fd, buffer->data + have, need - have, 0);
                if (n <= 0)
                        return FALSE;
                have += (gsize) n;
                if (have == 4 && need == 4) {
                        memcpy(&len, buffer->data, 4);
                        need += GUINT32_FROM_LE(len);
                        g_assert_cmpuint(need, <=, BH_BUS_MAX_FRAME + 4);
                }
        }
        return bh_bus_frame_decode(buffer->data + 4, buffer->len - 4, f);
}

/* Frames until one of this kind; pings are answered by nobody here. */
static G_GNUC_UNUSED gboolean raw_await(int fd, GByteArray *buffer, BhBusFrameKind kind, BhBusFrame *f) {
        while (raw_get(fd, buffer, f))
                if (f->kind == kind)
                        return TRUE;
        return FALSE;
}

/* The other side hangs up. */
static G_GNUC_UNUSED gboolean raw_ends(int fd) {
        g_autoptr(GByteArray) buffer = g_byte_array_new();
        BhBusFrame f;

        while (raw_get(fd, buffer, &f))
                ;
        struct pollfd p = { .fd = fd, .events = POLLIN };
        return poll(&p, 1, 0) == 1; /* not just silent */
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The I/O thread of a subscriber. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bus/body.h"
#include "bus/bus.pb-c.h"
#include "bus/listener_private.h"

#define MAX_PENDING (8u << 20)  /* for a peer that does not read */
#define PAUSE_US G_USEC_PER_SEC /* of accepting, when there are no descriptors */

typedef struct {
        BhBusListener *l;
        BhBusCore *c;
        gint64 accept_after_us;
} Io;

/* ---- connections */

static void G_GNUC_PRINTF(3, 4) notice(BhBusCore *c, gboolean trouble, const char *format, ...) {
        va_list ap;

        if (!c->callbacks.notice)
                return;
        va_start(ap, format);
        g_autofree char *text = g_strdup_vprintf(format, ap);
        va_end(ap);
        c->callbacks.notice(trouble, text, c->callbacks.data);
}

static BhBusConn *conn_new(int fd, guint uid) {
        BhBusConn *conn = g_new0(BhBusConn, 1);

        g_atomic_ref_count_init(&conn->refs);
        bh_bus_link_init(&conn->link, fd);
        conn->since_us = conn->pinged_us = g_get_monotonic_time();
        conn->about.uid = uid;
        conn->outbox = g_byte_array_new();
        conn->requests = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, (GDestroyNotify) bh_bus_request_unref);
        return conn;
}

/* Ends the connection; `why` for people. The caller's pointer is not valid any more, unless it has a reference. */
static void conn_close(BhBusCore *c, BhBusConn *conn, gboolean trouble, const char *why) {
        g_autofree char *gone = g_strdup_printf("node %s is gone: %s", conn->about.node ? conn->about.node : "?", why);

        bh_bus_conn_ref(conn);
        g_mutex_lock(&c->lock);
        gboolean up = conn->state == BH_BUS_PEER_UP;
        conn->state = BH_BUS_PEER_CLOSED;
        c->stats.peers -= up;
        g_queue_clear_full(&conn->items, (GDestroyNotify) bh_bus_item_free);
        g_ptr_array_remove(c->conns, conn); /* keeps the order: the youngest is last */
        g_mutex_unlock(&c->lock);
        bh_bus_link_clear(&conn->link);
        bh_bus_request_all_ended(c, conn, gone);
        bh_bus_request_tell_ends(c);
        if (up && c->callbacks.peer)
                c->callbacks.peer(&conn->about, FALSE, c->callbacks.data);
        if (up || trouble)
                notice(c, trouble, "%s", gone);
        bh_bus_conn_unref(conn);
}

static gboolean broken(BhBusCore *c, const char **why, const char *what) {
        g_mutex_lock(&c->lock);
        c->stats.protocol_errors++;
        g_mutex_unlock(&c->lock);
        *why = what;
        return FALSE;
}

/* Tells the publisher, which shows it to its user. The connection ends, too. */
static gboolean refuse(BhBusCore *c, BhBusConn *conn, const char **why, const char *what) {
        const char *ignored;

        bh_bus_link_put(&conn->link, &(BhBusFrame) { .kind = BH_BUS_END, .error = BH_BUS_SPAN_TEXT(what) });
        bh_bus_link_flush(&conn->link, &ignored);
        return broken(c, why, what);
}

/* ---- frames */

static gboolean on_hello(BhBusCore *c, BhBusConn *conn, const BhBusFrame *f, const char **why) {
        g_autoptr(GBytes) body = g_bytes_new(f->body.data, f->body.len);
        Bulkhead__Bus__V1__Hello *hello = (void *) bh_bus_body_unpack(&bulkhead__bus__v1__hello__descriptor, body, NULL);
        BhBusConn *older = NULL;

        if (!hello || conn->state != BH_BUS_PEER_NEW) {
                if (hello)
                        bulkhead__bus__v1__hello__free_unpacked(hello, NULL);
                return broken(c, why, "it says a hello that is none");
        }
        gboolean valid = hello->publisher.len == BH_BUS_ID_LEN && bh_bus_name_valid(hello->node, -1, TRUE);
        guint32 protocol = hello->protocol;
        if (valid) {
                memcpy(conn->about.id, hello->publisher.data, BH_BUS_ID_LEN);
                conn->about.node = g_strdup(hello->node);
                conn->about.version = bh_bus_peer_text((const guint8 *) hello->version, MIN(strlen(hello->version), 64));
        }
        bulkhead__bus__v1__hello__free_unpacked(hello, NULL);
        if (protocol != BH_BUS_PROTOCOL)
                return refuse(c, conn, why, "it speaks another version of the bus's protocol: use the same release on both sides");
        if (!valid)
                return refuse(c, conn, why, "it says a hello without a valid node name or id");

        /* A node that reconnects before its old connection is known to be dead. */
        for (guint i = 0; i < c->conns->len; i++) {
                BhBusConn *other = c->conns->pdata[i];

                if (other != conn && other->state != BH_BUS_PEER_NEW && memcmp(other->about.id, conn->about.id, BH_BUS_ID_LEN) == 0)
                        older = other;
        }
        if (older)
                conn_close(c, older, FALSE, "it connected anew");
        g_mutex_lock(&c->lock);
        conn->state = BH_BUS_PEER_ASKED;
        bh_bus_conn_ready(c, conn);
        g_mutex_unlock(&c->lock);
        return TRUE;
}

static void welcome(BhBusCore *c, BhBusConn *conn) {
        Bulkhead__Bus__V1__Welcome w = BULKHEAD__BUS__V1__WELCOME__INIT;

        w.protocol = BH_BUS_PROTOCOL;
        w.version = c->version;
        w.window_messages = c->options.window_messages;
        w.window_bytes = (guint32) c->options.window_bytes;
        g_autoptr(GBytes) body = bh_bus_body_pack(&w.base);
        conn->about.since_us = g_get_real_time();
        conn->link.max_frame = BH_BUS_MAX_FRAME;
        g_mutex_lock(&c->lock);
        conn->state = BH_BUS_PEER_UP;
        c->stats.peers++;
        guint64 position = conn->position;
        g_mutex_unlock(&c->lock);
        bh_bus_link_put(&conn->link, &(BhBusFrame) { .kind = BH_BUS_WELCOME, .seq = position,
                                                     .body = { g_bytes_get_data(body, NULL), g_bytes_get_size(body) } });
        if (c->callbacks.peer)
                c->callbacks.peer(&conn->about, TRUE, c->callbacks.data);
        notice(c, FALSE, "node %s is connected", conn->about.node);
}

/* The topic of "<topic>.<node>", NULL if the subject is not the peer's own. */
static char *topic_of(const BhBusConn *conn, BhBusSpan subject) {
        gsize node = strlen(conn->about.node);

        if (subject.len < node + 2 || memcmp(subject.data + subject.len - node, conn->about.node, node) != 0 ||
            subject.data[subject.len - node - 1] != '.' || !bh_bus_name_valid((const char *) subject.data, (gssize) (subject.len - node - 1), FALSE))
                return NULL;
        return g_strndup((const char *) subject.data, subject.len - node - 1);
}

static gboolean on_message(BhBusCore *c, BhBusConn *conn, const BhBusFrame *f, const char **why) {
        g_autofree char *topic = topic_of(conn, f->subject);

        if (!topic)
                return broken(c, why, "it sends a subject that is not its own");
        if (f->body.len > (f->seq ? BH_BUS_MAX_BODY : BH_BUS_MAX_LATEST))
                return broken(c, why, "it sends a message that is too large");
        g_autoptr(GBytes) body = g_bytes_new(f->body.data, f->body.len);
        if (!f->seq) {
                g_mutex_lock(&c->lock);
                c->stats.latest++;
                g_mutex_unlock(&c->lock);
                if (c->callbacks.latest)
                        c->callbacks.latest(&conn->about, topic, body, c->callbacks.data);
                return TRUE;
        }
        /* Numbers are signed in every database. */
        if (f->seq <= conn->last_seen || f->seq > G_MAXINT64)
                return broken(c, why, "its sequence numbers do not rise");
        conn->last_seen = f->seq;

        g_mutex_lock(&c->lock);
        gboolean fits = conn->waiting < c->options.window_messages && (!conn->waiting || conn->waiting_bytes + f->body.len <= c->options.window_bytes);
        if (fits) {
                BhBusItem *item = g_new(BhBusItem, 1);

                *item = (BhBusItem) { f->seq, g_steal_pointer(&topic), g_steal_pointer(&body) };
                g_queue_push_tail(&conn->items, item);
                conn->waiting++;
                conn->waiting_bytes += f->body.len;
                bh_bus_conn_ready(c, conn);
        }
        g_mutex_unlock(&c->lock);
        return fits || broken(c, why, "it sends more than the window allows");
}

static gboolean on_frame(BhBusCore *c, BhBusConn *conn, const BhBusFrame *f, const char **why) {
        if (conn->state != BH_BUS_PEER_UP && f->kind != BH_BUS_HELLO && f->kind != BH_BUS_PING && f->kind != BH_BUS_PONG)
                return broken(c, why, "it does not wait for its welcome");
        switch (f->kind) {
        case BH_BUS_HELLO:
                return on_hello(c, conn, f, why);
        case BH_BUS_MESSAGE:
                return on_message(c, conn, f, why);
        case BH_BUS_CHUNK:
                return bh_bus_request_chunk(c, conn, f) || broken(c, why, "it sends a piece of an answer that was not asked for");
        case BH_BUS_END:
                bh_bus_request_ended(c, conn, f);
                return TRUE;
        case BH_BUS_PING:
                if (bh_bus_link_pending(&conn->link) < BH_BUS_FEW_BYTES) /* who does not read needs no answer */
                        bh_bus_link_put(&conn->link, &(BhBusFrame) { .kind = BH_BUS_PONG });
                return TRUE;
        case BH_BUS_WELCOME:
        case BH_BUS_ACK:
        case BH_BUS_REQUEST:
        case BH_BUS_CREDIT:
                return broken(c, why, "it sends what only a subscriber may");
        default:
                return TRUE; /* PONG, and kinds of later versions */
        }
}

/* ---- one round */

static gboolean receive(BhBusCore *c, BhBusConn *conn, const char **why) {
        gboolean open = bh_bus_link_fill(&conn->link, why);
        BhBusFrame f;
        int got;

        while ((got = bh_bus_link_next(&conn->link, &f)) > 0)
                if (!on_frame(c, conn, &f, why))
                        return FALSE;
        if (got < 0)
                return broken(c, why, "it sends a frame that is none, or too large");
        return open;
}

/* What the other threads have for this peer. */
static gboolean collect(BhBusCore *c, BhBusConn *conn, const char **why) {
        g_mutex_lock(&c->lock);
        gboolean failed = conn->failed, known = conn->state == BH_BUS_PEER_ASKED && conn->position_known;
        guint64 ack = conn->state == BH_BUS_PEER_UP && conn->position > conn->acked ? conn->position : 0;
        conn->acked = MAX(conn->acked, ack);
        if (conn->outbox->len) {
                bh_bus_link_put_encoded(&conn->link, conn->outbox);
                g_byte_array_unref(conn->outbox);
                conn->outbox = g_byte_array_new();
        }
        g_mutex_unlock(&c->lock);
        if (ack)
                bh_bus_link_put(&conn->link, &(BhBusFrame) { .kind = BH_BUS_ACK, .seq = ack });
        if (failed) {
                *why = "its messages could not be stored";
                return FALSE;
        }
        if (known)
                welcome(c, conn);
        return TRUE;
}

static gboolean keep_alive(BhBusCore *c, BhBusConn *conn, gint64 now, const char **why) {
        const BhBusListenOptions *o = &c->options;
        gboolean late = conn->state == BH_BUS_PEER_NEW ? now - conn->since_us >= (gint64) o->hello_ms * 1000
                                                       : now - conn->link.heard_us >= (gint64) o->dead_ms * 1000;

        if (late) {
                g_mutex_lock(&c->lock);
                c->stats.timeouts++;
                g_mutex_unlock(&c->lock);
                *why = conn->state == BH_BUS_PEER_NEW ? "it does not say hello" : "it says nothing any more";
                return FALSE;
        }
        if (bh_bus_link_pending(&conn->link) > MAX_PENDING || (conn->link.stuck_us && now - conn->link.stuck_us >= (gint64) o->dead_ms * 1000))
                return broken(c, why, "it does not read");
        if (now - MAX(conn->link.heard_us, conn->pinged_us) >= (gint64) o->ping_ms * 1000) {
                bh_bus_link_put(&conn->link, &(BhBusFrame) { .kind = BH_BUS_PING });
                conn->pinged_us = now;
        }
        return TRUE;
}

/* FALSE when the connection was closed. */
static gboolean serve(BhBusCore *c, BhBusConn *conn, short revents, gint64 now) {
        const char *why = "";
        guint64 errors;

        g_mutex_lock(&c->lock);
        errors = c->stats.protocol_errors + c->stats.deliver_failures;
        g_mutex_unlock(&c->lock);
        if ((!(revents & (POLLIN | POLLHUP | POLLERR)) || receive(c, conn, &why)) && collect(c, conn, &why) && keep_alive(c, conn, now, &why) &&
            bh_bus_link_flush(&conn->link, &why))
                return TRUE;
        g_mutex_lock(&c->lock);
        gboolean trouble = conn->failed || errors != c->stats.protocol_errors + c->stats.deliver_failures;
        g_mutex_unlock(&c->lock);
        conn_close(c, conn, trouble, why);
        return FALSE;
}

static void accept_some(Io *io, gint64 now) {
        BhBusCore *c = io->c;

        for (guint i = 0; i < 16; i++) {
                g_auto(BhFd) fd = accept4(io->l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                guint uid;

                if (fd < 0) {
                        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                                notice(c, TRUE, "cannot accept a connection to the bus: %s", g_strerror(errno));
                                io->accept_after_us = now + PAUSE_US;
                        }
                        return;
                }
                gboolean known = bh_bus_peer_uid(fd, &uid), allowed = known && (uid == 0 || uid == geteuid()), room = c->conns->len < BH_BUS_MAX_PEERS;
                g_mutex_lock(&c->lock);
                if (allowed && room) {
                        c->stats.accepted++;
                        g_ptr_array_add(c->conns, conn_new(bh_fd_steal(&fd), uid));
                } else {
                        c->stats.refused++;
                }
                g_mutex_unlock(&c->lock);
                if (!allowed)
                        notice(c, TRUE, "a connection to the bus was refused: it is user %u's", known ? uid : G_MAXUINT);
                else if (!room)
                        notice(c, TRUE, "a connection to the bus was refused: there are %u already", BH_BUS_MAX_PEERS);
        }
}

static void finish(BhBusCore *c) {
        while (c->conns->len) {
                BhBusConn *conn = c->conns->pdata[c->conns->len - 1];
                const char *why;

                if (collect(c, conn, &why))
                        bh_bus_link_flush(&conn->link, &why); /* the last acknowledgements, if it reads */
                conn_close(c, conn, FALSE, "the bus is being closed");
        }
        bh_bus_request_tell_ends(c);
}

gpointer bh_bus_io_main(gpointer listener) {
        Io io = { .l = listener, .c = ((BhBusListener *) listener)->core };
        BhBusCore *c = io.c;
        g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(struct pollfd));
        g_autoptr(GPtrArray) round = g_ptr_array_new_with_free_func((GDestroyNotify) bh_bus_conn_unref);
        int tick = (int) MIN(1000, MIN(c->options.ping_ms, c->options.hello_ms) / 2 + 1);

        for (;;) {
                gint64 now = g_get_monotonic_time();

                g_mutex_lock(&c->lock);
                gboolean stop = c->stop;
                g_mutex_unlock(&c->lock);
                if (stop)
                        break;

                g_array_set_size(fds, 0);
                g_ptr_array_set_size(round, 0);
                struct pollfd own[] = { { .fd = now >= io.accept_after_us ? io.l->fd : -1, .events = POLLIN }, { .fd = c->wake, .events = POLLIN } };
                g_array_append_vals(fds, own, 2);
                for (guint i = 0; i < c->conns->len; i++) {
                        BhBusConn *conn = c->conns->pdata[i];
                        struct pollfd p = { .fd = conn->link.fd, .events = POLLIN };

                        if (bh_bus_link_pending(&conn->link))
                                p.events |= POLLOUT;
                        g_array_append_val(fds, p);
                        g_ptr_array_add(round, bh_bus_conn_ref(conn));
                }
                if (poll((struct pollfd *) (void *) fds->data, fds->len, tick) < 0 && errno != EINTR)
                        g_error("poll: %s", g_strerror(errno));
                if (g_array_index(fds, struct pollfd, 1).revents)
                        bh_bus_wake_clear(c->wake);
                bh_bus_request_tell_ends(c);
                now = g_get_monotonic_time();
                for (guint i = 0; i < round->len; i++) {
                        BhBusConn *conn = round->pdata[i];

                        if (conn->state != BH_BUS_PEER_CLOSED) /* by one before it in the round */
                                serve(c, conn, g_array_index(fds, struct pollfd, i + 2).revents, now);
                }
                if (g_array_index(fds, struct pollfd, 0).revents)
                        accept_some(&io, now);
        }
        finish(c);
        return NULL;
}

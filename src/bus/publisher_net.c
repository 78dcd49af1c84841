/* SPDX-License-Identifier: Apache-2.0 */
/* The connection's thread of a publisher: connects for ever, sends the window, takes acknowledgements and requests. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "bus/body.h"
#include "bus/bus.pb-c.h"
#include "bus/publisher_private.h"

#define HELLO_US (5 * G_USEC_PER_SEC)
#define MAX_INBOUND (BH_BUS_MAX_REQUEST + 4096u)

typedef struct {
        BhBusPublisher *p;
        BhBusLink link;
        gboolean linked, welcomed;
        gboolean lasting; /* was acknowledged something, or held on: the next back-off is the shortest */
        gint64 since_us, pinged_us, next_try_us;
        guint backoff_ms;
        char why[256];
        char said[256]; /* the last trouble that was told, so that each is told once */
} Net;

static gboolean give_up(Net *n, const char *format, ...) G_GNUC_PRINTF(2, 3);
static gboolean give_up(Net *n, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_vsnprintf(n->why, sizeof(n->why), format, ap);
        va_end(ap);
        return FALSE;
}

static gboolean broken(Net *n, const char *what) {
        g_mutex_lock(&n->p->lock);
        n->p->stats.protocol_errors++;
        g_mutex_unlock(&n->p->lock);
        return give_up(n, "the subscriber at %s breaks the protocol: %s", n->p->address.sun_path, what);
}

/* Only root, or the user whose folder the socket lies in, may be given what happens on this node. */
static gboolean peer_trusted(Net *n, int fd) {
        g_autofree char *dir = g_path_get_dirname(n->p->address.sun_path);
        struct stat st;
        guint uid;

        if (!bh_bus_peer_uid(fd, &uid))
                return give_up(n, "cannot tell who listens at %s", n->p->address.sun_path);
        if (uid == 0)
                return TRUE;
        if (stat(dir, &st) < 0)
                return give_up(n, "cannot look at the folder %s: %s", dir, g_strerror(errno));
        if (st.st_uid != uid)
                return give_up(n, "user %u listens at %s, whose folder is user %u's: refused", uid, n->p->address.sun_path, (guint) st.st_uid);
        return TRUE;
}

static void say_hello(Net *n) {
        Bulkhead__Bus__V1__Hello hello = BULKHEAD__BUS__V1__HELLO__INIT;

        g_mutex_lock(&n->p->lock);
        hello.protocol = BH_BUS_PROTOCOL;
        hello.publisher = (ProtobufCBinaryData) { .len = BH_BUS_ID_LEN, .data = n->p->id };
        hello.node = n->p->node;
        hello.version = n->p->version;
        g_autoptr(GBytes) body = bh_bus_body_pack(&hello.base);
        g_mutex_unlock(&n->p->lock);
        bh_bus_link_put(&n->link, &(BhBusFrame) { .kind = BH_BUS_HELLO, .body = { g_bytes_get_data(body, NULL), g_bytes_get_size(body) } });
}

static gboolean connect_once(Net *n) {
        g_autoptr(GError) error = NULL;
        g_auto(BhFd) fd = bh_bus_connect(&n->p->address, &error);

        if (fd < 0)
                return give_up(n, "%s", error->message);
        if (!peer_trusted(n, fd))
                return FALSE;
        bh_bus_link_init(&n->link, bh_fd_steal(&fd));
        n->link.max_frame = MAX_INBOUND;
        n->linked = TRUE;
        n->welcomed = n->lasting = FALSE;
        n->since_us = n->pinged_us = g_get_monotonic_time();
        say_hello(n);
        return TRUE;
}

static void disconnect(Net *n) {
        BhBusPublisher *p = n->p;
        gint64 now = g_get_monotonic_time();
        GHashTableIter i;
        gpointer latest;

        g_mutex_lock(&p->lock);
        bh_bus_stream_all_over(p);
        bh_bus_window_reset(p, FALSE, p->acked);
        g_strlcpy(p->net_problem, n->why, sizeof(p->net_problem));
        g_hash_table_iter_init(&i, p->latest);
        while (g_hash_table_iter_next(&i, NULL, &latest)) /* each is new to the next connection */
                ((BhBusLatest *) latest)->dirty = p->latest_dirty = TRUE;
        g_mutex_unlock(&p->lock);
        if (n->linked && n->welcomed && now - n->since_us > (gint64) p->options.backoff_max_ms * 1000)
                n->lasting = TRUE;
        if (n->lasting)
                n->backoff_ms = p->options.backoff_min_ms;
        n->next_try_us = now + (gint64) n->backoff_ms * 1000;
        n->backoff_ms = MIN(n->backoff_ms * 2, p->options.backoff_max_ms);
        if (n->linked)
                bh_bus_link_clear(&n->link);
        n->linked = n->welcomed = n->lasting = FALSE;
        if (*n->why && strcmp(n->why, n->said) != 0) {
                g_strlcpy(n->said, n->why, sizeof(n->said));
                bh_bus_publisher_notice(p, TRUE, "%s", n->why);
        }
}

static gboolean on_welcome(Net *n, const BhBusFrame *f) {
        BhBusPublisher *p = n->p;
        g_autoptr(GBytes) body = g_bytes_new(f->body.data, f->body.len);
        Bulkhead__Bus__V1__Welcome *w = (void *) bh_bus_body_unpack(&bulkhead__bus__v1__welcome__descriptor, body, NULL);

        if (!w || n->welcomed) {
                if (w)
                        bulkhead__bus__v1__welcome__free_unpacked(w, NULL);
                return broken(n, "a welcome that is none");
        }
        guint32 protocol = w->protocol, messages = w->window_messages, bytes = w->window_bytes;
        bulkhead__bus__v1__welcome__free_unpacked(w, NULL);
        if (protocol != BH_BUS_PROTOCOL)
                return give_up(n, "the subscriber at %s speaks version %u of the protocol, this program %u", p->address.sun_path, protocol, BH_BUS_PROTOCOL);

        g_mutex_lock(&p->lock);
        if (f->seq >= p->next_seq) {
                p->renew = TRUE;
                g_cond_broadcast(&p->work);
                g_mutex_unlock(&p->lock);
                return give_up(n, "the subscriber has messages that this spool never numbered: the spool is an older copy, and goes on under a new id");
        }
        p->window_limit = CLAMP(messages, 1, p->options.window_messages);
        p->window_bytes_limit = CLAMP(bytes, 1, p->options.window_bytes);
        p->protect = f->seq; /* nothing above it is in anybody's hands now */
        bh_bus_window_reset(p, TRUE, f->seq);
        p->next_delete_us = 0;
        p->stats.connections++;
        *p->net_problem = '\0';
        g_mutex_unlock(&p->lock);
        n->welcomed = TRUE;
        *n->said = '\0';
        bh_bus_publisher_notice(p, FALSE, "connected to the subscriber at %s", p->address.sun_path);
        return TRUE;
}

static gboolean on_ack(Net *n, guint64 seq) {
        BhBusPublisher *p = n->p;

        g_mutex_lock(&p->lock);
        const GList *last_sent = p->unsent ? p->unsent->prev : p->window.tail;
        gboolean valid = seq <= p->acked || (last_sent && seq <= ((const BhBusMsg *) last_sent->data)->seq);
        if (valid && seq > p->acked) {
                bh_bus_window_acked(p, seq);
                n->lasting = TRUE;
        }
        g_mutex_unlock(&p->lock);
        return valid || broken(n, "it acknowledges what was not sent");
}

static gboolean on_frame(Net *n, const BhBusFrame *f) {
        BhBusPublisher *p = n->p;
        gboolean ok = TRUE;

        if (f->kind == BH_BUS_END && !f->stream) {
                g_autofree char *text = bh_bus_peer_text(f->error.data, f->error.len);

                return give_up(n, "the subscriber at %s ended the connection: %s", p->address.sun_path, text);
        }
        if (!n->welcomed && f->kind != BH_BUS_WELCOME && f->kind != BH_BUS_PING && f->kind != BH_BUS_PONG)
                return broken(n, "no welcome");
        switch (f->kind) {
        case BH_BUS_WELCOME:
                return on_welcome(n, f);
        case BH_BUS_ACK:
                return on_ack(n, f->seq);
        case BH_BUS_PING:
                if (bh_bus_link_pending(&n->link) <= 2 * BH_BUS_FEW_BYTES) /* who does not read needs no answer */
                        bh_bus_link_put(&n->link, &(BhBusFrame) { .kind = BH_BUS_PONG });
                return TRUE;
        case BH_BUS_REQUEST:
        case BH_BUS_CREDIT:
        case BH_BUS_END:
                g_mutex_lock(&p->lock);
                if (f->kind == BH_BUS_REQUEST)
                        ok = bh_bus_stream_request(p, f);
                else if (f->kind == BH_BUS_CREDIT)
                        bh_bus_stream_credit(p, f->stream, f->credit);
                else
                        bh_bus_stream_cancel(p, f->stream);
                g_mutex_unlock(&p->lock);
                return ok || broken(n, "a request that is none");
        case BH_BUS_HELLO:
        case BH_BUS_MESSAGE:
        case BH_BUS_CHUNK:
                return broken(n, "it sends what only a publisher may");
        default:
                return TRUE; /* PONG, and kinds of later versions */
        }
}

static void put_message(BhBusPublisher *p, BhBusLink *link, const char *topic, guint64 seq, GBytes *body) {
        char subject[2 * BH_BUS_MAX_NAME + 2];
        gsize len;
        const guint8 *data = g_bytes_get_data(body, &len);
        int n = g_snprintf(subject, sizeof(subject), "%s.%s", topic, p->node);

        bh_bus_link_put(link, &(BhBusFrame) { .kind = BH_BUS_MESSAGE, .seq = seq, .subject = { (const guint8 *) subject, (gsize) n }, .body = { data, len } });
}

static void put_latest(BhBusPublisher *p, BhBusLink *link) {
        GHashTableIter i;
        gpointer topic, value;

        g_hash_table_iter_init(&i, p->latest);
        while (g_hash_table_iter_next(&i, &topic, &value)) {
                BhBusLatest *l = value;

                if (!l->dirty)
                        continue;
                if (bh_bus_link_pending(link) >= BH_BUS_FEW_BYTES)
                        return;
                put_message(p, link, topic, 0, l->body);
                l->dirty = FALSE;
        }
        p->latest_dirty = FALSE;
}

/* Puts what waits on the link, messages first and not more than half, so that neither they nor the answers starve. */
static void fill(Net *n) {
        BhBusPublisher *p = n->p;

        g_mutex_lock(&p->lock);
        if (p->latest_dirty)
                put_latest(p, &n->link);
        while (p->unsent && bh_bus_link_pending(&n->link) < BH_BUS_FEW_BYTES / 2) {
                const BhBusMsg *m = p->unsent->data;

                put_message(p, &n->link, m->topic, m->seq, m->body);
                p->unsent = p->unsent->next;
                p->stats.sent++;
        }
        bh_bus_stream_write(p, &n->link);
        /* If the link is full, the socket wakes us; else a publisher has to. */
        p->net_sleeps = !p->unsent && !p->latest_dirty && g_queue_is_empty(&p->pieces);
        g_mutex_unlock(&p->lock);
}

static gboolean talk(Net *n, short revents) {
        const char *why = NULL;
        BhBusFrame f;
        int got;

        if (revents & (POLLIN | POLLHUP | POLLERR)) {
                gboolean open = bh_bus_link_fill(&n->link, &why);

                while ((got = bh_bus_link_next(&n->link, &f)) > 0)
                        if (!on_frame(n, &f))
                                return FALSE;
                if (got < 0)
                        return broken(n, "a frame that is none, or too large");
                if (!open)
                        return give_up(n, "the connection to %s ended: %s", n->p->address.sun_path, why);
        }
        if (n->welcomed)
                fill(n);
        if (!bh_bus_link_flush(&n->link, &why))
                return give_up(n, "the connection to %s ended: %s", n->p->address.sun_path, why);
        return TRUE;
}

static gboolean keep_alive(Net *n, gint64 now) {
        const BhBusPublisherOptions *o = &n->p->options;

        if (!n->welcomed && now - n->since_us >= HELLO_US)
                return give_up(n, "the subscriber at %s does not answer", n->p->address.sun_path);
        if (now - n->link.heard_us >= (gint64) o->dead_ms * 1000)
                return give_up(n, "the subscriber at %s says nothing for %u s", n->p->address.sun_path, o->dead_ms / 1000);
        if (now - n->link.heard_us >= (gint64) o->ping_ms * 1000 && now - n->pinged_us >= (gint64) o->ping_ms * 1000) {
                bh_bus_link_put(&n->link, &(BhBusFrame) { .kind = BH_BUS_PING });
                n->pinged_us = now;
        }
        return TRUE;
}

static int timeout_of(const Net *n, gint64 now, gboolean asleep) {
        gint64 due = n->next_try_us;

        if (n->linked)
                due = MAX(n->link.heard_us, n->pinged_us) + (gint64) n->p->options.ping_ms * 1000;
        if (n->linked && n->welcomed && !asleep && !bh_bus_link_pending(&n->link))
                return 0;
        return (int) CLAMP((due - now + 999) / 1000, 1, 1000);
}

gpointer bh_bus_net_main(gpointer publisher) {
        BhBusPublisher *p = publisher;
        Net n = { .p = p, .backoff_ms = p->options.backoff_min_ms };

        for (;;) {
                gint64 now = g_get_monotonic_time();

                g_mutex_lock(&p->lock);
                gboolean stop = p->stop, wait = p->renew, asleep = p->net_sleeps;
                g_mutex_unlock(&p->lock);
                if (stop)
                        break;
                if (!n.linked && !wait && now >= n.next_try_us && !connect_once(&n)) {
                        disconnect(&n);
                        continue;
                }

                struct pollfd fds[] = { { .fd = p->wake, .events = POLLIN }, { .fd = n.linked ? n.link.fd : -1, .events = POLLIN } };
                if (n.linked && bh_bus_link_pending(&n.link))
                        fds[1].events |= POLLOUT;
                if (poll(fds, 2, timeout_of(&n, now, asleep)) < 0 && errno != EINTR)
                        g_error("poll: %s", g_strerror(errno));
                if (fds[0].revents)
                        bh_bus_wake_clear(p->wake);
                if (n.linked && (!keep_alive(&n, g_get_monotonic_time()) || !talk(&n, fds[1].revents)))
                        disconnect(&n);
        }
        g_strlcpy(n.why, "", sizeof(n.why));
        disconnect(&n);
        return NULL;
}

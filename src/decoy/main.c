/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead-decoy: where the connections of a contained container are led (docs/response.md). Accepts whoever comes, says nothing, or a banner, and writes down what they send (recording.h).
 *
 * Its peers are attackers: nothing they send is parsed, and no answer depends on it. One thread; no file but in its directory; no privileges (those it begins with it gives up: privileges.h). Bounds: connections at a
 * time, of which the one that was quiet for longest makes place for a new one; bytes of each; disk; time.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fdio.h"
#include "decoy/privileges.h"
#include "decoy/recording.h"

#define PORTS_MAX 64u
#define CONNECTIONS_MAX 4096
#define BANNER_MAX 1024u
#define READ_BYTES (64u << 10)
#define ROUND_MS 1000
#define EVENTS 64
#define UNPRIVILEGED 65534
#define FILES_MAX (1 << 20)

typedef struct {
        int fd;
        guint16 port; /* of a listener; of a connection 0 */
        BhPart *part; /* NULL: a listener */
        gint64 began_us, heard_us;
        gboolean closed; /* in this round: it goes with its end */
        GList *link;
} Socket;

typedef struct {
        int epoll, signals;
        GPtrArray *listeners; /* Socket */
        GQueue open;          /* Socket, who was quiet for longest first */
        BhRecording *recording;
        guint max;
        gint64 idle_us, lifetime_us;
        char *banner;
        GPtrArray *ended; /* Socket: their memory, until nobody can mean them any more */
} Decoy;

static void close_socket(Decoy *d, Socket *s, const char *end) {
        if (s->closed)
                return;
        s->closed = TRUE;
        g_queue_delete_link(&d->open, s->link);
        close(s->fd);
        bh_recording_end(d->recording, s->part, end);
        g_ptr_array_add(d->ended, s);
}

/* An IPv4 peer by its mapped address. */
static int accept_one(int listener, struct sockaddr_in6 *peer) {
        struct sockaddr_storage any = { .ss_family = AF_UNSPEC };
        socklen_t n = sizeof(any);
        int fd = accept4(listener, (void *) &any, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (any.ss_family == AF_INET6) {
                memcpy(peer, &any, sizeof(*peer));
        } else if (any.ss_family == AF_INET) {
                const struct sockaddr_in *v4 = (const void *) &any;

                peer->sin6_port = v4->sin_port;
                peer->sin6_addr.s6_addr[10] = peer->sin6_addr.s6_addr[11] = 0xff;
                memcpy(peer->sin6_addr.s6_addr + 12, &v4->sin_addr, 4);
        }
        return fd;
}

static void accept_all(Decoy *d, Socket *listener) {
        for (guint i = 0; i < EVENTS; i++) {
                struct sockaddr_in6 peer = { .sin6_family = AF_INET6 };
                int fd = accept_one(listener->fd, &peer);

                if (fd < 0) {
                        if (errno == EAGAIN)
                                return;
                        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                                bh_recording_refused(d->recording);
                                if (d->open.length) /* one place, at least for the next one */
                                        close_socket(d, g_queue_peek_head(&d->open), "pushed out");
                        }
                        continue;
                }
                if (d->open.length >= d->max)
                        close_socket(d, g_queue_peek_head(&d->open), "pushed out");
                Socket *s = g_new0(Socket, 1);
                struct epoll_event ev = { .events = EPOLLIN, .data.ptr = s };
                *s = (Socket){ .fd = fd, .part = bh_recording_begin(d->recording, &peer, listener->port), .began_us = g_get_monotonic_time() };
                s->heard_us = s->began_us;
                g_queue_push_tail(&d->open, s);
                s->link = g_queue_peek_tail_link(&d->open);
                if (epoll_ctl(d->epoll, EPOLL_CTL_ADD, fd, &ev))
                        close_socket(d, s, "not served");
                else if (d->banner && send(fd, d->banner, strlen(d->banner), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN)
                        close_socket(d, s, "reset");
        }
}

/* One read a turn: whoever sends without an end does not keep others waiting. */
static void hear(Decoy *d, Socket *s) {
        static guint8 bytes[READ_BYTES];
        gssize n;

        if (s->closed)
                return;
        n = recv(s->fd, bytes, sizeof(bytes), 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                close_socket(d, s, n ? "reset" : "closed");
                return;
        }
        bh_recording_add(d->recording, s->part, bytes, (gsize) n);
        s->heard_us = g_get_monotonic_time();
        g_queue_unlink(&d->open, s->link);
        g_queue_push_tail_link(&d->open, s->link);
}

static void look_at_time(Decoy *d) {
        gint64 now = g_get_monotonic_time();

        for (GList *at = d->open.head, *next; at; at = next) {
                Socket *s = at->data;

                next = at->next;
                if (now - s->began_us > d->lifetime_us)
                        close_socket(d, s, "lifetime");
                else if (now - s->heard_us > d->idle_us)
                        close_socket(d, s, "idle");
        }
        bh_recording_round(d->recording);
}

static int serve(Decoy *d) {
        struct epoll_event events[EVENTS];
        gint64 round_us = g_get_monotonic_time();

        for (;;) {
                int n = epoll_wait(d->epoll, events, EVENTS, ROUND_MS);

                if (n < 0 && errno != EINTR) {
                        fprintf(stderr, "bulkhead-decoy: epoll: %s\n", g_strerror(errno));
                        return 1;
                }
                for (int i = 0; i < n; i++) {
                        Socket *s = events[i].data.ptr;

                        if (!s) { /* a signal */
                                while (d->open.length)
                                        close_socket(d, g_queue_peek_head(&d->open), "stopping");
                                return 0;
                        }
                        if (s->part)
                                hear(d, s);
                        else
                                accept_all(d, s);
                }
                g_ptr_array_set_size(d->ended, 0);
                if (g_get_monotonic_time() - round_us >= ROUND_MS * 1000) {
                        round_us = g_get_monotonic_time();
                        look_at_time(d);
                        g_ptr_array_set_size(d->ended, 0);
                }
        }
}

/* ---- start ---- */

static gboolean watch(Decoy *d, int fd, gpointer what) {
        struct epoll_event ev = { .events = EPOLLIN, .data.ptr = what };

        return epoll_ctl(d->epoll, EPOLL_CTL_ADD, fd, &ev) == 0;
}

/* At all addresses, IPv4 and IPv6; at those of IPv4 alone where the kernel has no other. */
static int bound(guint16 port) {
        const struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
        const struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
        const int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, one = 1, zero = 0;
        gboolean old = FALSE;
        int fd = socket(AF_INET6, type, 0);

        if (fd < 0 && errno == EAFNOSUPPORT) {
                old = TRUE;
                fd = socket(AF_INET, type, 0);
        }
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) || (!old && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero))) ||
            (old ? bind(fd, (const void *) &v4, sizeof(v4)) : bind(fd, (const void *) &any, sizeof(any))) || listen(fd, SOMAXCONN)) {
                int problem = errno;

                if (fd >= 0)
                        close(fd);
                errno = problem;
                return -1;
        }
        return fd;
}

static gboolean listen_at(Decoy *d, guint16 port) {
        int fd = bound(port);

        if (fd < 0) {
                fprintf(stderr, "bulkhead-decoy: cannot listen at port %u: %s\n", port, g_strerror(errno));
                return FALSE;
        }
        Socket *s = g_new0(Socket, 1);
        s->fd = fd;
        s->port = port;
        g_ptr_array_add(d->listeners, s);
        return watch(d, fd, s);
}

static gboolean open_signals(Decoy *d) {
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        signal(SIGPIPE, SIG_IGN);
        signal(SIGXFSZ, SIG_IGN);
        return sigprocmask(SIG_BLOCK, &set, NULL) == 0 && (d->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) >= 0 && watch(d, d->signals, NULL);
}

static int usage(const char *why) {
        fprintf(stderr, "bulkhead-decoy: %s (--help tells more)\n", why);
        return 2;
}

int main(int argc, char **argv) {
        g_auto(GStrv) ports = NULL;
        g_autofree char *dir = NULL, *banner = NULL;
        gint max = 256, mib = 256, kib = 1024, files = 16384, idle = 120, lifetime = 3600, uid = UNPRIVILEGED;
        const GOptionEntry entries[] = {
                { "listen", 'l', 0, G_OPTION_ARG_STRING_ARRAY, &ports, "a TCP port (default 7000); several times, at most 64", "PORT" },
                { "dir", 'd', 0, G_OPTION_ARG_FILENAME, &dir, "where to write: connections.jsonl, connections.1.jsonl, bytes/, counts.json", "DIRECTORY" },
                { "banner", 0, 0, G_OPTION_ARG_STRING, &banner, "what to say at first, with \\r, \\n and the like (default: nothing)", "TEXT" },
                { "connections", 0, 0, G_OPTION_ARG_INT, &max, "at a time; then the one that was quiet for longest is closed (256)", "N" },
                { "kib", 0, 0, G_OPTION_ARG_INT, &kib, "kept of each connection (1024)", "KIB" },
                { "mib", 0, 0, G_OPTION_ARG_INT, &mib, "kept in all; beyond that the oldest go (256)", "MIB" },
                { "files", 0, 0, G_OPTION_ARG_INT, &files, "kept in all, the same (16384)", "N" },
                { "idle", 0, 0, G_OPTION_ARG_INT, &idle, "after which a quiet connection is closed (120)", "SECONDS" },
                { "lifetime", 0, 0, G_OPTION_ARG_INT, &lifetime, "after which any is closed (3600)", "SECONDS" },
                { "uid", 0, 0, G_OPTION_ARG_INT, &uid, "user and group to become where it is started as root (65534)", "N" },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GOptionContext) context = g_option_context_new("- listens, answers nothing, and writes down what it is sent");
        g_autoptr(GError) error = NULL;
        Decoy d = { .signals = -1 };

        g_option_context_add_main_entries(context, entries, NULL);
        if (!g_option_context_parse(context, &argc, &argv, &error))
                return usage(error->message);
        if (argc > 1 || !dir)
                return usage(dir ? "it takes options alone" : "--dir is missing");
        if (max < 1 || max > CONNECTIONS_MAX || mib < 1 || mib > 1 << 20 || kib < 1 || kib > 1 << 20 || files < 1 || files > FILES_MAX || idle < 1 || lifetime < 1 || uid < 1)
                return usage("a bound is out of its range");
        if (ports && g_strv_length(ports) > PORTS_MAX)
                return usage("too many ports");
        d.banner = banner ? g_strcompress(banner) : NULL;
        if (d.banner && strlen(d.banner) > BANNER_MAX)
                return usage("--banner is too long");
        d.max = (guint) max;
        d.idle_us = (gint64) idle * G_USEC_PER_SEC;
        d.lifetime_us = (gint64) lifetime * G_USEC_PER_SEC;
        d.listeners = g_ptr_array_new_with_free_func(g_free);
        d.ended = g_ptr_array_new_with_free_func(g_free);
        const struct rlimit open_files = { (rlim_t) max * 2 + PORTS_MAX + 64, (rlim_t) max * 2 + PORTS_MAX + 64 };
        setrlimit(RLIMIT_NOFILE, &open_files); /* where it may not: what has no descriptor is refused, and counted */
        if ((d.epoll = epoll_create1(EPOLL_CLOEXEC)) < 0 || !open_signals(&d))
                return usage(g_strerror(errno));
        for (guint i = 0; ports ? ports[i] != NULL : i < 1; i++) {
                guint64 port = 0;

                if (!g_ascii_string_to_unsigned(ports ? ports[i] : "7000", 10, 1, 65535, &port, NULL))
                        return usage("--listen takes a port from 1 to 65535");
                if (!listen_at(&d, (guint16) port))
                        return 1;
        }
        if (!bh_decoy_give_up_privileges(uid)) { /* ports below 1024 are bound by now */
                fprintf(stderr, "bulkhead-decoy: cannot give up its privileges, and become user %d where it is root: %s\n", uid, g_strerror(errno));
                return 1;
        }
        if (!(d.recording = bh_recording_open(dir, (guint64) mib << 20, (guint64) kib << 10, (guint) files, &error))) {
                fprintf(stderr, "bulkhead-decoy: %s\n", error->message);
                return 1;
        }
        int rc = serve(&d);
        bh_recording_free(d.recording);
        g_ptr_array_unref(d.ended);
        g_ptr_array_unref(d.listeners);
        g_free(d.banner);
        return rc;
}

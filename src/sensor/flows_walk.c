/* SPDX-License-Identifier: Apache-2.0 */
/* A walk over all sockets, for the flow table; and the addresses of the node. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/fdio.h"
#include "base/log.h"
#include "flows_private.h"
#include "sock_record.h"

#define FILE_MAX (4u << 20)
#define ADDRESSES_MAX 65536u
#define NAMESPACES_MAX 64u
#define PROXIES_MAX 4096u
#define UNKNOWN_MAX 65536u /* sockets a walk whose executable is looked up … */
#define FRESH_NS 2000000000u
#define FIND_AT_ONCE 1024u /* … so many at a time, as the drain thread does nothing else meanwhile */

/* ---- the walk ---- */

/* A socket of which the executable is not known yet. */
typedef struct {
        BhSocket s;
        char *container, *exe;
} Unknown;

typedef struct {
        BhFlows *flows;
        GArray *unknown;
        guint from, to;     /* of these, whose executables are to be found */
        guint64 passed_over; /* for want of room */
        GHashTable *wanted; /* inodes of Unix sockets that have to do with a container: theirs and their peers' */
} Walk;

static void unknown_clear(gpointer p) {
        Unknown *u = p;

        g_free(u->container);
        g_free(u->exe);
}

static gint64 wall(guint64 boottime, guint64 offset) {
        return boottime ? (gint64) (boottime + offset) : 0;
}

static void fill_ip(struct bh_ip *ip, const guint8 bytes[16], guint16 family) {
        ip->len = family == AF_INET6 ? 16 : 4;
        memcpy(ip->b, bytes, ip->len);
}

/* The process table knows of an exec when its event has come through, which a connection that is made at once may be ahead of. */
static gboolean is_fresh(const BhSocket *s) {
        struct timespec t;

        clock_gettime(CLOCK_BOOTTIME, &t);
        return s->tracked && !s->found && s->since && (guint64) t.tv_sec * 1000000000u + (guint64) t.tv_nsec < s->since + FRESH_NS;
}

static BhFlowSocket describe(const BhFlows *f, const BhSocket *s, const char *container, const char *exe) {
        BhFlowSocket out = {
                .container_id = container,
                .exe = exe,
                .pid = s->pid,
                .started_ns = wall(s->start, f->c.clock.start),
                .family = s->family,
                .type = s->type,
                .proto = (guint8) s->proto,
                .state = s->state,
                /* the kernel has no such state for datagrams: who has a port and no peer waits for anybody */
                .listening = s->listening || ((s->family == AF_INET || s->family == AF_INET6) && s->proto == IPPROTO_UDP && s->lport && !s->rport),
                .role = s->role == BH_SOCKET_ROLE_CLIENT ? BH_FLOW_CLIENT : s->role == BH_SOCKET_ROLE_SERVER ? BH_FLOW_SERVER : BH_FLOW_ROLE_NONE,
                .lport = s->lport,
                .rport = s->rport,
                .net_ns = s->net_ns,
                .bytes_out = s->bytes_out,
                .bytes_in = s->bytes_in,
                .packets_out = s->packets_out,
                .packets_in = s->packets_in,
                .since_ns = wall(s->since, f->c.clock.now),
                .fresh = is_fresh(s),
                .path = s->path,
                .path_dev = s->path_dev,
                .path_ino = s->path_ino,
                .ino = s->ino,
                .peer_ino = s->peer_ino,
                .sk = s->sk,
        };

        BhDatagramCounts n;
        if (s->proto == IPPROTO_UDP && s->rport && f->datagrams && bh_datagrams_read(f->datagrams, s->sk, &n)) {
                out.bytes_out = n.bytes_out;
                out.bytes_in = n.bytes_in;
                out.packets_out = n.packets_out;
                out.packets_in = n.packets_in;
        }
        if (s->family == AF_UNIX)
                out.role = s->listening ? BH_FLOW_ROLE_NONE : s->path_of_peer ? BH_FLOW_CLIENT : BH_FLOW_SERVER;
        else
                fill_ip(&out.laddr, s->laddr, s->family), fill_ip(&out.raddr, s->raddr, s->family);
        return out;
}

static void seen(const BhSocket *s, gpointer data) {
        g_auto(BhContainerLookup) l = { 0 };
        Walk *w = data;
        BhFlows *f = w->flows;
        gboolean done = TRUE;

        if (s->family != AF_INET && s->family != AF_INET6 && s->family != AF_UNIX)
                return;
        bh_container_table_lookup(f->c.containers, s->cgroup, &l);

        const char *container = l.container ? l.container->id : "";
        if (s->family == AF_UNIX && !s->listening) {
                if (!s->peer_ino || !*s->path)
                        return;
                if (*container) {
                        g_hash_table_add(w->wanted, GSIZE_TO_POINTER((gsize) s->ino));
                        g_hash_table_add(w->wanted, GSIZE_TO_POINTER((gsize) s->peer_ino));
                }
                done = FALSE;
        } else {
                BhFlowSocket told = describe(f, s, container, NULL);

                g_mutex_lock(&f->lock);
                done = bh_flow_table_walk_socket(f->table, &told);
                g_mutex_unlock(&f->lock);
        }
        if (done)
                return;
        if (w->unknown->len >= UNKNOWN_MAX) {
                w->passed_over++;
                return;
        }
        Unknown u = { .s = *s, .container = g_strdup(container) };
        g_array_append_val(w->unknown, u);
}

/* In the drain thread, which owns the process table. */
static void find_executables(gpointer data) {
        Walk *w = data;

        for (guint i = w->from; i < w->to; i++) {
                Unknown *u = &g_array_index(w->unknown, Unknown, i);
                struct bh_process_view view;

                if (bh_process_find(w->flows->c.processes, u->s.pid, u->s.start, &view) && view.exe.len)
                        u->exe = g_strndup(view.exe.p, view.exe.len);
        }
}

static void drop_unwanted(Walk *w) {
        for (guint i = w->unknown->len; i-- > 0; ) {
                Unknown *u = &g_array_index(w->unknown, Unknown, i);

                if (u->s.family == AF_UNIX && !u->s.listening && !g_hash_table_contains(w->wanted, GSIZE_TO_POINTER((gsize) u->s.ino)))
                        g_array_remove_index_fast(w->unknown, i);
        }
}

static void tell_listeners(BhFlows *f, gboolean anyway) {
        BhFlowStats stats;
        gboolean changed;

        g_mutex_lock(&f->lock);
        const GArray *listeners = bh_flow_table_listeners(f->table, &changed);
        bh_flow_table_stats(f->table, &stats);
        g_mutex_unlock(&f->lock);
        if (!changed && !anyway)
                return;
        /* the list is good until the next walk ends, its texts until the next cut: both are this thread's */
        BhFlowsPacked what = { .node = f->node, .boot_id = f->boot_id };
        g_autoptr(GBytes) body = bh_flows_pack_listeners(&what, listeners, stats.listeners_refused, g_get_real_time() * 1000);
        f->c.publish("listeners", body, f->c.data);
}

/* With the lock. */
static void last_of(guint64 sk, const BhDatagramCounts *n, gpointer data) {
        bh_flow_table_walk_datagrams(data, sk, n->bytes_out, n->bytes_in, n->packets_out, n->packets_in);
}

/* Datagram sockets of containers of which no event tells: what they move is counted from now on. */
static void follow_datagrams(BhFlows *f) {
        g_autofree BhFlowSilent *silent = g_new(BhFlowSilent, BH_DATAGRAMS_MAX);
        g_autofree BhDatagramSocket *sockets = g_new(BhDatagramSocket, BH_DATAGRAMS_MAX);
        g_autoptr(GError) error = NULL;
        gboolean look;

        g_mutex_lock(&f->lock);
        guint n = bh_flow_table_silent_datagrams(f->table, silent, BH_DATAGRAMS_MAX, &look);
        g_mutex_unlock(&f->lock);
        for (guint i = 0; i < n; i++)
                sockets[i] = (BhDatagramSocket){ silent[i].sk, silent[i].lport, silent[i].rport };
        if (bh_datagrams_follow(f->datagrams, sockets, n, look, &error))
                return;
        bh_warn("datagrams that are sent by write() have no bytes in flows", "error", error->message);
        g_mutex_lock(&f->lock);
        g_free(f->datagrams_problem);
        f->datagrams_problem = g_strdup(error->message);
        g_mutex_unlock(&f->lock);
}

void bh_flows_walk(BhFlows *f) {
        g_autoptr(GArray) unknown = g_array_new(FALSE, TRUE, sizeof(Unknown));
        g_autoptr(GHashTable) wanted = g_hash_table_new(NULL, NULL);
        g_autoptr(GError) error = NULL;
        Walk w = { .flows = f, .unknown = unknown, .wanted = wanted };
        BhSocketsStats before, after;
        guint64 connections = f->c.connections(f->c.data);

        g_array_set_clear_func(unknown, unknown_clear);
        g_mutex_lock(&f->lock);
        bh_flow_table_walk_begin(f->table, g_get_real_time() * 1000);
        g_mutex_unlock(&f->lock);

        bh_sockets_stats(f->sockets, &before);
        gboolean whole = bh_sockets_walk(f->sockets, seen, &w, &error);
        bh_sockets_stats(f->sockets, &after);
        /* what was passed over is there, and must not be taken for gone */
        if (whole && (after.refused != before.refused || w.passed_over)) {
                g_set_error(&error, G_IO_ERROR, G_IO_ERROR_NO_SPACE, "there are more sockets than one walk tells; %" G_GUINT64_FORMAT " were passed over",
                            after.refused - before.refused + w.passed_over);
                whole = FALSE;
        }
        drop_unwanted(&w);
        for (; w.from < unknown->len; w.from = w.to) {
                w.to = MIN(w.from + FIND_AT_ONCE, unknown->len);
                f->c.call(find_executables, &w, f->c.data);
        }
        for (guint i = 0; i < unknown->len; i++) {
                Unknown *u = &g_array_index(unknown, Unknown, i);
                g_autofree char *link = g_strdup_printf("%s/%u/exe", f->proc_path, u->s.pid), *read = u->exe ? NULL : g_file_read_link(link, NULL);
                BhFlowSocket told = describe(f, &u->s, u->container, u->exe ? u->exe : read ? read : "");

                g_mutex_lock(&f->lock);
                bh_flow_table_walk_socket(f->table, &told);
                g_mutex_unlock(&f->lock);
        }
        g_mutex_lock(&f->lock);
        bh_datagrams_each(f->datagrams, last_of, f->table);
        f->soon |= bh_flow_table_walk_end(f->table, whole);
        g_clear_pointer(&f->walk_problem, g_free);
        if (!whole) {
                f->walks_failed++;
                f->walk_problem = g_strdup(error->message);
        }
        g_mutex_unlock(&f->lock);
        follow_datagrams(f);
        tell_listeners(f, connections != f->connections);
        f->connections = connections;
}

/* ---- addresses ---- */

static void add(GArray *all, const struct bh_ip *ip) {
        if (all->len < ADDRESSES_MAX)
                g_array_append_vals(all, ip, 1);
}

/* The kernel's routing table of addresses of its own: "|-- 10.0.0.1" and below it "/32 host LOCAL". */
static void read_ipv4(const char *proc, guint32 pid, GArray *all) {
        g_autofree char *path = g_strdup_printf("%s/%u/net/fib_trie", proc, pid), *text = bh_file_read(AT_FDCWD, path, FILE_MAX, NULL, NULL, NULL);
        struct bh_ip ip = { .len = 0 };

        for (char *line = text, *end; line && *line; line = end) {
                end = strchrnul(line, '\n');
                if (*end)
                        *end++ = '\0';
                line += strspn(line, " |");
                if (g_str_has_prefix(line, "-- "))
                        ip.len = inet_pton(AF_INET, line + 3, ip.b) == 1 ? 4 : 0;
                else if (ip.len && g_str_has_prefix(line, "/32 host LOCAL") && ip.b[0] != 127)
                        add(all, &ip);
        }
}

static void read_ipv6(const char *proc, guint32 pid, GArray *all) {
        g_autofree char *path = g_strdup_printf("%s/%u/net/if_inet6", proc, pid), *text = bh_file_read(AT_FDCWD, path, FILE_MAX, NULL, NULL, NULL);

        for (char *line = text, *end; line && *line; line = end) {
                struct bh_ip ip = { .len = 16 };
                guint digits = 0;

                end = strchrnul(line, '\n');
                if (*end)
                        end++;
                for (; digits < 32 && g_ascii_isxdigit(line[digits]); digits++)
                        ip.b[digits / 2] = (guint8) (ip.b[digits / 2] << 4 | (guint8) g_ascii_xdigit_value(line[digits]));
                if (digits == 32)
                        add(all, &ip);
        }
}

void bh_flows_read_addresses(BhFlows *f) {
        g_autoptr(GArray) all = g_array_new(FALSE, TRUE, sizeof(struct bh_ip));
        guint32 pids[PROXIES_MAX];
        ino_t namespaces[NAMESPACES_MAX];
        guint found, n = 0;

        /* each docker-proxy runs where its engine's networks begin, which may be a network namespace of their own */
        g_mutex_lock(&f->lock);
        found = bh_flow_table_proxies(f->table, pids, PROXIES_MAX, &f->proxies);
        g_mutex_unlock(&f->lock);
        for (guint i = 0; i < found; i++) {
                g_autofree char *path = g_strdup_printf("%s/%u/ns/net", f->proc_path, pids[i]);
                struct stat st;
                guint k = 0;

                if (stat(path, &st))
                        continue;
                g_mutex_lock(&f->lock);
                bh_flow_table_proxy_namespace(f->table, pids[i], (guint32) st.st_ino);
                g_mutex_unlock(&f->lock);
                while (k < n && namespaces[k] != st.st_ino)
                        k++;
                if (k == n && n < NAMESPACES_MAX) {
                        namespaces[n] = st.st_ino;
                        pids[n++] = pids[i];
                }
        }

        read_ipv4(f->proc_path, 1, all);
        read_ipv6(f->proc_path, 1, all);
        for (guint i = 0; i < n; i++) {
                read_ipv4(f->proc_path, pids[i], all);
                read_ipv6(f->proc_path, pids[i], all);
        }
        g_mutex_lock(&f->lock);
        bh_flow_table_host_addresses(f->table, (const struct bh_ip *) all->data, all->len);
        g_mutex_unlock(&f->lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "sockets.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "event/record_decode.h"
#include "hooks_private.h"
#include "loader.h"
#include "map_each.h"
#include "sock_record.h"
#include "sockets.skel.h"
#include "walk.h"

#define UNCLEAR_MAX 4096u       /* connections a walk that wait for its second pass; the others for the next walk */
#define PORTS_MAX 16384u        /* as the kernel's map has room for */
#define SWEEP_US (5 * 60 * G_USEC_PER_SEC)
#define STALE_NS (20 * 60 * 1000000000ull) /* a closed connection that is still sending what it had is not seen by walks either */
#define SHARE_OFF 1024 /* entries by which a share may be off before it is counted anew */
#define TCP_LISTEN 10

struct BhSockets {
        BhHooks *hooks;
        BhWalk iterator;
        int walk, listened; /* maps of its object */
        GHashTable *told;    /* addresses of sockets: in the walk that is going on */
        GHashTable *ports;   /* net_ns << 32 | port that somebody listens on */
        GArray *unclear;     /* struct bh_sock_record */
        GArray *entered;     /* struct bh_sock_port in `listened` */
        gint64 swept_us;
        GMutex lock;
        BhSocketsStats stats; /* under the lock */
        guint64 refused;
};

static guint64 boottime(void) {
        struct timespec t;

        clock_gettime(CLOCK_BOOTTIME, &t);
        return (guint64) t.tv_sec * 1000000000u + (guint64) t.tv_nsec;
}

BhSockets *bh_sockets_new(BhHooks *hooks, GError **error) {
        g_autoptr(BhSockets) w = g_new0(BhSockets, 1);
        size_t size;
        const void *bytes = bh_sockets__elf_bytes(&size);

        g_mutex_init(&w->lock);
        w->hooks = hooks;
        w->told = g_hash_table_new(g_direct_hash, g_direct_equal);
        w->ports = g_hash_table_new(g_direct_hash, g_direct_equal);
        w->unclear = g_array_new(FALSE, FALSE, sizeof(struct bh_sock_record));
        w->entered = g_array_new(FALSE, FALSE, sizeof(struct bh_sock_port));
        w->swept_us = g_get_monotonic_time();
        if (!bh_walk_load(&w->iterator, hooks, "sockets", bytes, size, "walk_sockets", "the sockets of all processes", error))
                return NULL;
        w->walk = bpf_object__find_map_fd_by_name(w->iterator.object, "walk");
        w->listened = bpf_object__find_map_fd_by_name(w->iterator.object, "listened");
        return g_steal_pointer(&w);
}

void bh_sockets_free(BhSockets *w) {
        if (!w)
                return;
        bh_walk_clear(&w->iterator);
        g_hash_table_unref(w->told);
        g_hash_table_unref(w->ports);
        g_array_unref(w->unclear);
        g_array_unref(w->entered);
        g_mutex_clear(&w->lock);
        g_free(w);
}

void bh_sockets_stats(BhSockets *w, BhSocketsStats *stats) {
        g_mutex_lock(&w->lock);
        *stats = w->stats;
        g_mutex_unlock(&w->lock);
}

/* ---- one walk ---- */

typedef struct {
        BhSockets *w;
        BhSocketSeen seen;
        gpointer data;
        gboolean again; /* the second pass: only those that the first could not tell */
        GHashTable *wanted; /* their addresses */
} Pass;

/* As events have it: a path ends at its NUL, an abstract name begins with '@' and has one for each NUL in it. */
static void set_path(BhSocket *s, const struct bh_sock_record *r) {
        guint n = MIN(r->path_len, BH_SOCK_PATH_MAX);

        if (!n)
                return;
        if (r->path[0])
                n = (guint) strnlen((const char *) r->path, n);
        for (guint i = 0; i < n; i++)
                s->path[i] = r->path[i] ? (char) r->path[i] : '@';
}

static void tell(Pass *p, const struct bh_sock_record *r) {
        BhSocket s = {
                .sk = r->sk,
                .ino = r->ino,
                .start = r->start,
                .cgroup = r->cgroup,
                .origin = r->origin,
                .pid = r->tgid,
                .uid = r->uid,
                .gid = r->gid,
                .mnt_ns = r->mnt_ns,
                .net_ns = r->net_ns,
                .family = r->addr.family,
                .type = r->addr.type,
                .proto = r->addr.proto,
                .lport = r->addr.lport,
                .rport = r->addr.rport,
                .state = r->state,
                .listening = r->state == TCP_LISTEN,
                .ifindex = r->addr.ifindex,
                .role = r->flags & BH_SOCK_CLIENT ? BH_SOCKET_ROLE_CLIENT : r->flags & BH_SOCK_SERVER ? BH_SOCKET_ROLE_SERVER : BH_SOCKET_ROLE_NONE,
                .tracked = (r->flags & BH_SOCK_TRACKED) != 0,
                .found = (r->flags & BH_SOCK_FOUND) != 0,
                .since = r->since,
                .bytes_out = r->bytes_out,
                .bytes_in = r->bytes_in,
                .packets_out = r->packets_out,
                .packets_in = r->packets_in,
                .peer_ino = r->peer_ino,
                .peer_pid = r->peer_pid,
                .path_ino = r->path_ino,
                .path_dev = r->path_dev ? bh_dev_from_kernel(r->path_dev) : 0,
                .path_of_peer = (r->flags & BH_SOCK_PATH_OF_PEER) != 0,
        };

        if (s.role != BH_SOCKET_ROLE_NONE)
                s.basis = r->flags & BH_SOCK_BY_EVENT ? BH_SOCKET_BY_EVENT : r->flags & BH_SOCK_BY_PORT ? BH_SOCKET_BY_PORT : BH_SOCKET_BY_COUNTERS;
        memcpy(s.comm, r->comm, sizeof(s.comm) - 1);
        memcpy(s.laddr, r->addr.laddr, sizeof(s.laddr));
        memcpy(s.raddr, r->addr.raddr, sizeof(s.raddr));
        set_path(&s, r);
        p->seen(&s, p->data);
}

static gpointer port_key(guint32 net_ns, guint16 port) {
        return GSIZE_TO_POINTER((gsize) net_ns << 16 | port);
}

/* A TCP connection whose side is not known. */
static gboolean is_unclear(const struct bh_sock_record *r) {
        return r->addr.proto == 6 && (r->addr.family == 2 || r->addr.family == 10) && r->state != TCP_LISTEN && r->state != 7 && r->state != 3 &&
               !(r->flags & (BH_SOCK_CLIENT | BH_SOCK_SERVER));
}

static void take(Pass *p, const struct bh_sock_record *r) {
        BhSockets *w = p->w;
        gpointer key = GSIZE_TO_POINTER((gsize) r->sk);

        if (p->again ? !g_hash_table_remove(p->wanted, key) : g_hash_table_contains(w->told, key))
                return;
        if (!p->again) {
                if (g_hash_table_size(w->told) >= BH_SOCKETS_MAX) {
                        w->refused++;
                        return;
                }
                g_hash_table_add(w->told, key);
                if (r->state == TCP_LISTEN && r->addr.proto == 6 && g_hash_table_size(w->ports) < PORTS_MAX)
                        g_hash_table_add(w->ports, port_key(r->net_ns, r->addr.lport));
                if (is_unclear(r) && w->unclear->len < UNCLEAR_MAX) {
                        g_array_append_vals(w->unclear, r, 1);
                        return;
                }
        }
        tell(p, r);
}

/* Records come whole, as a rule; what is left over at the end of `buf` is moved to its beginning. FALSE: not what the programs write. */
static gboolean take_all(guint8 *buf, gsize *have, gpointer data) {
        Pass *p = data;
        gsize at = 0;

        while (*have - at >= BH_SOCK_RECORD_MIN) {
                struct bh_sock_record r = { 0 };
                guint32 size;

                memcpy(&size, buf + at, sizeof(size));
                if (size != sizeof(r) && size != BH_SOCK_RECORD_MIN)
                        return FALSE;
                if (size > *have - at)
                        break;
                memcpy(&r, buf + at, size);
                take(p, &r);
                at += size;
        }
        memmove(buf, buf + at, *have - at);
        *have -= at;
        return TRUE;
}

static gboolean set_state(BhSockets *w, struct bh_sock_walk *state, GError **error) {
        guint32 zero = 0;

        return bpf_map_update_elem(w->walk, &zero, state, BPF_ANY) == 0 || bh_hooks_fail(error, "cannot begin a walk over all sockets: %s", g_strerror(errno));
}

/* Who listens, for the kernel to know. FALSE: not all of them fit. */
static gboolean enter_ports(BhSockets *w) {
        GHashTableIter i;
        gpointer key;
        guint32 one = 1;

        if (g_hash_table_size(w->ports) >= PORTS_MAX)
                return FALSE;
        g_hash_table_iter_init(&i, w->ports);
        while (g_hash_table_iter_next(&i, &key, NULL)) {
                struct bh_sock_port port = { .net_ns = (guint32) (GPOINTER_TO_SIZE(key) >> 16), .port = GPOINTER_TO_SIZE(key) & 0xffff };

                if (bpf_map_update_elem(w->listened, &port, &one, BPF_ANY))
                        return FALSE;
                g_array_append_val(w->entered, port);
        }
        return TRUE;
}

/* Connections of which not even the counters say who began them: now that it is known who listens. */
static gboolean pass_again(Pass *p, struct bh_sock_walk *state, GError **error) {
        BhSockets *w = p->w;
        gboolean ok = TRUE;

        if (enter_ports(w)) {
                Pass second = { .w = w, .seen = p->seen, .data = p->data, .again = TRUE, .wanted = g_hash_table_new(g_direct_hash, g_direct_equal) };

                for (guint i = 0; i < w->unclear->len; i++)
                        g_hash_table_add(second.wanted, GSIZE_TO_POINTER((gsize) g_array_index(w->unclear, struct bh_sock_record, i).sk));
                state->ports_known = 1;
                ok = set_state(w, state, error) && bh_walk_run(&w->iterator, take_all, &second, error);
                g_hash_table_unref(second.wanted);
        } else {
                for (guint i = 0; i < w->unclear->len; i++) {
                        struct bh_sock_record *r = &g_array_index(w->unclear, struct bh_sock_record, i);

                        r->flags |= BH_SOCK_BY_PORT | (g_hash_table_contains(w->ports, port_key(r->net_ns, r->addr.lport)) ? BH_SOCK_SERVER : BH_SOCK_CLIENT);
                        tell(p, r);
                }
        }
        for (guint i = 0; i < w->entered->len; i++)
                bpf_map_delete_elem(w->listened, &g_array_index(w->entered, struct bh_sock_port, i));
        g_array_set_size(w->entered, 0);
        return ok;
}

/* ---- connections whose end was missed ---- */

typedef struct {
        guint64 now;
        GArray *stale;      /* struct bh_conn's keys */
        GHashTable *counts; /* guint64 * → gint64 *: entries of each share, as they are */
        GArray *shares;     /* those of the kernel's table */
} Sweep;

static gboolean is_stale(const struct bh_conn *c, guint64 now) {
        return now > MAX(c->since, c->seen) + STALE_NS;
}

static void count(Sweep *s, guint64 share) {
        gint64 *n = g_hash_table_lookup(s->counts, &share);

        if (!n) {
                n = g_new0(gint64, 1);
                g_hash_table_insert(s->counts, g_memdup2(&share, sizeof(share)), n);
        }
        (*n)++;
}

static void look(const void *key, const void *value, gpointer data) {
        const struct bh_conn *c = value;
        Sweep *s = data;

        if (is_stale(c, s->now)) {
                g_array_append_vals(s->stale, key, 1);
                return;
        }
        count(s, c->share);
        count(s, BH_SHARE_ALL);
}

static void look_share(const void *key, const void *value, gpointer data) {
        g_array_append_vals(((Sweep *) data)->shares, key, 1);
}

static void change_share(int shares, guint64 share, gint64 by) {
        gint64 n;

        if (shares >= 0 && bpf_map_lookup_elem(shares, &share, &n) == 0) {
                n += by;
                bpf_map_update_elem(shares, &share, &n, BPF_EXIST);
        }
}

/*
 * The programs count for themselves. What they may have missed over time is put right here, not what may have changed since it was counted; shares of containers
 * that have nothing any more go.
 */
static void set_shares(int shares, Sweep *s) {
        bh_map_each(shares, sizeof(guint64), sizeof(gint64), look_share, s);
        for (guint i = 0; i < s->shares->len; i++) {
                guint64 share = g_array_index(s->shares, guint64, i);
                const gint64 *is = g_hash_table_lookup(s->counts, &share);
                gint64 said, n = is ? *is : 0;

                if (bpf_map_lookup_elem(shares, &share, &said))
                        continue;
                if (said < 0 || ABS(said - n) > SHARE_OFF)
                        bpf_map_update_elem(shares, &share, &n, BPF_EXIST);
                else if (!said && !n && share != BH_SHARE_HOST && share != BH_SHARE_ALL)
                        bpf_map_delete_elem(shares, &share);
        }
}

void bh_sockets_sweep(BhSockets *w, guint64 now) {
        int conns = bh_hooks_map(w->hooks, "conns"), shares = bh_hooks_map(w->hooks, "conn_shares");
        g_autoptr(GHashTable) counts = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
        g_autoptr(GArray) stale = g_array_new(FALSE, FALSE, sizeof(guint64)), known = g_array_new(FALSE, FALSE, sizeof(guint64));
        Sweep s = { .now = now, .stale = stale, .counts = counts, .shares = known };

        w->swept_us = g_get_monotonic_time();
        if (conns >= 0)
                bh_map_each(conns, sizeof(guint64), sizeof(struct bh_conn), look, &s);
        for (guint i = 0; i < s.stale->len; i++) {
                struct bh_conn c;
                guint64 key = g_array_index(s.stale, guint64, i);

                if (bpf_map_lookup_elem(conns, &key, &c) == 0 && is_stale(&c, s.now) && bpf_map_delete_elem(conns, &key) == 0) {
                        change_share(shares, c.share, -1);
                        change_share(shares, BH_SHARE_ALL, -1);
                        g_mutex_lock(&w->lock);
                        w->stats.forgotten++;
                        g_mutex_unlock(&w->lock);
                }
        }
        if (conns >= 0 && shares >= 0)
                set_shares(shares, &s);
}

gboolean bh_sockets_walk(BhSockets *w, BhSocketSeen seen, gpointer data, GError **error) {
        struct bh_sock_walk state = { .now = boottime() };
        Pass p = { .w = w, .seen = seen, .data = data };
        gint64 began = g_get_monotonic_time();
        guint32 zero = 0;
        gboolean ok;

        w->refused = 0;
        ok = set_state(w, &state, error) && bh_walk_run(&w->iterator, take_all, &p, error);
        guint64 sockets = g_hash_table_size(w->told);
        bpf_map_lookup_elem(w->walk, &zero, &state);
        guint64 descriptors = state.descriptors; /* of the first pass */
        if (ok && w->unclear->len)
                ok = pass_again(&p, &state, error);
        bpf_map_lookup_elem(w->walk, &zero, &state);

        g_mutex_lock(&w->lock);
        w->stats.descriptors = descriptors;
        w->stats.sockets = sockets;
        w->stats.refused += w->refused;
        w->stats.entered += state.entered;
        w->stats.not_entered += state.full;
        w->stats.walks++;
        w->stats.took_us = (guint64) (g_get_monotonic_time() - began);
        g_mutex_unlock(&w->lock);

        g_hash_table_remove_all(w->told);
        g_hash_table_remove_all(w->ports);
        g_array_set_size(w->unclear, 0);
        if (ok && g_get_monotonic_time() - w->swept_us > SWEEP_US)
                bh_sockets_sweep(w, boottime());
        return ok;
}

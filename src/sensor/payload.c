/* SPDX-License-Identifier: Apache-2.0 */
#include "payload.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <time.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fdio.h"
#include "hooks_private.h"
#include "loader.h"
#include "payload_private.h"
#include "payload_record.h"
#include "sock_record.h"

#define LOOK_MIN_US (2 * G_TIME_SPAN_MILLISECOND) /* after something came; doubles while nothing does, up to … */
#define LOOK_MAX_US (32 * G_TIME_SPAN_MILLISECOND)

G_STATIC_ASSERT(BH_PAYLOAD_PIECE == BH_PAYLOAD_RECORD_BYTES);
G_STATIC_ASSERT((int) BH_PAYLOAD_SKIPPED_REASONS == (int) BH_PAYLOAD_S_MAX && (int) BH_PAYLOAD_SKIPPED_BUSY == (int) BH_PAYLOAD_S_BUSY);
G_STATIC_ASSERT((int) BH_PAYLOAD_TURN == (int) BH_PAYLOAD_F_TURN && (int) BH_PAYLOAD_PROXY == (int) BH_PAYLOAD_P_PROXY && (int) BH_PAYLOAD_OTHER == (int) BH_PAYLOAD_P_OTHER);
G_STATIC_ASSERT(BH_PAYLOAD_RING == BH_PAYLOAD_RING_BYTES && BH_PAYLOAD_OPEN_SHARE * 4 == BH_PAYLOAD_SOCKETS);
G_STATIC_ASSERT(sizeof(BhPayloadAccount) == sizeof(struct bh_payload_account));

const char *bh_payload_skipped_name(BhPayloadSkipped why) {
        static const char *const names[] = { "request", "call", "connection", "container", "full", "form", "unreadable", "busy" };

        G_STATIC_ASSERT(G_N_ELEMENTS(names) == BH_PAYLOAD_SKIPPED_REASONS);
        return names[why];
}

/* ---- what comes ---- */

static int on_record(void *ctx, void *data, size_t size) {
        BhPayload *p = ctx;
        struct bh_payload_head h;

        /* what the program wrote is consistent, and would be read out of bounds if it were not */
        if (size < sizeof(h))
                return 0;
        memcpy(&h, data, sizeof(h));
        if (h.len > size - sizeof(h))
                return 0;

        BhPayloadPiece piece = {
                .connection = h.connection,
                .sk = h.sk,
                .time_ns = (gint64) h.ts,
                .offset = h.offset,
                .sent = h.sent != 0,
                .flags = h.flags,
                .side = h.side,
                .protocol = h.protocol,
                .pid = h.tgid,
                .tid = h.tid,
                .start = h.start,
                .cgroup = h.cgroup,
                .container = h.container,
                .net_ns = h.net_ns,
                .family = h.addr.family,
                .lport = h.addr.lport,
                .rport = h.addr.rport,
                .total = h.total,
                .len = h.len,
                .bytes = (const guint8 *) data + sizeof(h),
        };
        memcpy(piece.laddr, h.addr.laddr, sizeof(piece.laddr));
        memcpy(piece.raddr, h.addr.raddr, sizeof(piece.raddr));
        __atomic_fetch_add(&p->told, 1, __ATOMIC_RELAXED);
        p->seen(&piece, p->data);
        return 0;
}

/* The programs wake nobody, which would cost the application at each call: the ring holds what comes in between. */
static gint64 boottime_ns(void) {
        struct timespec t;

        clock_gettime(CLOCK_BOOTTIME, &t);
        return (gint64) t.tv_sec * 1000000000 + t.tv_nsec;
}

gint64 bh_payload_told_ns(BhPayload *p) {
        return (gint64) (guintptr) g_atomic_pointer_get(&p->told_ns);
}

void bh_payload_hurry(BhPayload *p) {
        g_cond_broadcast(&p->changed);
}

static void told_until(BhPayload *p, gint64 ns) {
        g_atomic_pointer_set(&p->told_ns, (gpointer) (guintptr) ns);
}

/* How far the ring was written at a time: when it is read so far, all of before that time was told, though more comes without end. */
typedef struct {
        gint64 ns;
        guint64 position;
} Mark;

static Mark mark_now(BhPayload *p) {
        gint64 ns = boottime_ns();

        return (Mark){ ns, bh_ring_released(p->ring) + bh_ring_used(p->ring) };
}

static void told_mark(BhPayload *p, Mark m) {
        g_mutex_lock(&p->lock);
        if (p->started)
                told_until(p, m.ns);
        g_mutex_unlock(&p->lock);
}

/* How many there were. */
static guint take(BhPayload *p) {
        const struct bh_rec *r;
        Mark mark = mark_now(p);
        guint64 end = bh_ring_released(p->ring);
        guint32 len;
        guint n = 0;

        while ((r = bh_ring_next(p->ring, &end, &len))) {
                on_record(p, (void *) r, len);
                bh_ring_release(p->ring, end);
                n++;
                if (end >= mark.position) {
                        told_mark(p, mark);
                        mark = mark_now(p);
                }
        }
        /* empty; a record that is being written holds up those behind it, and is not told */
        if (bh_ring_released(p->ring) >= mark.position)
                told_mark(p, mark);
        return n;
}

static gpointer run(gpointer data) {
        BhPayload *p = data;
        gint64 pause = LOOK_MAX_US;

        g_mutex_lock(&p->lock);
        while (!p->ends) {
                if (!p->started) {
                        g_cond_wait(&p->changed, &p->lock);
                        continue;
                }
                g_mutex_unlock(&p->lock);
                pause = take(p) ? LOOK_MIN_US : MIN(2 * pause, LOOK_MAX_US);
                g_mutex_lock(&p->lock);
                if (!p->ends)
                        g_cond_wait_until(&p->changed, &p->lock, g_get_monotonic_time() + pause);
        }
        g_mutex_unlock(&p->lock);
        return NULL;
}

/* ---- attached or not; all under the lock ---- */

void bh_payload_config_write(BhPayload *p) {
        guint32 zero = 0;

        bpf_map_update_elem(p->config, &zero, &p->state, BPF_ANY);
}

/* Programs at the tracepoints of everything that sockets move count what Unix sockets do, too, for whom it may concern: see unixes.h. */
static void count_unix(BhPayload *p, gboolean count) {
        volatile struct bh_config *c = bh_hooks_config(p->hooks);
        guint8 ours = BH_UNIX_BY_PAYLOAD;

        if (!g_str_equal(p->backend, "calls"))
                return;
        if (count)
                c->unix_by = BH_UNIX_BY_PAYLOAD;
        else
                __atomic_compare_exchange_n(&c->unix_by, &ours, BH_UNIX_BY_NOBODY, FALSE, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* One byte each way through a connection of our own. */
static gboolean loop_byte(void) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof(a);
        g_auto(BhFd) listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_auto(BhFd) client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_auto(BhFd) server = -1;
        char byte = 'x';

        if (listener < 0 || client < 0 || bind(listener, (struct sockaddr *) &a, len) || listen(listener, 1) || getsockname(listener, (struct sockaddr *) &a, &len) ||
            connect(client, (struct sockaddr *) &a, len))
                return FALSE;
        server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        return server >= 0 && send(client, &byte, 1, MSG_NOSIGNAL) == 1 && recv(server, &byte, 1, 0) == 1;
}

static gboolean probe(BhPayload *p, GError **error) {
        struct bh_payload_counts before = { 0 }, after = { 0 };
        guint32 zero = 0;
        gboolean moved, ok;

        p->state.probe_tgid = (guint32) getpid();
        bh_payload_config_write(p);
        bpf_map_lookup_elem(p->counts, &zero, &before);
        ok = bh_payload_attach(p, error);
        moved = ok && loop_byte();
        if (ok && !moved)
                bh_hooks_fail(error, "cannot test the programs that look at what sockets move with a connection over 127.0.0.1: %s", g_strerror(errno));
        bh_payload_detach(p);
        bpf_map_lookup_elem(p->counts, &zero, &after);
        p->state.probe_tgid = 0;
        bh_payload_config_write(p);
        if (!moved)
                return FALSE;
        return (after.probe_sent > before.probe_sent && after.probe_read > before.probe_read) ||
               bh_hooks_fail(error, "the programs that look at what sockets move load and attach (%s), but are not called", p->backend);
}

/* ---- life cycle ---- */

static void unload(BhPayload *p) {
        g_clear_pointer(&p->ring, bh_ring_free);
        bh_payload_programs_close(p);
}

static gboolean open_ring(BhPayload *p, GError **error) {
        p->ring = bh_ring_open(bh_payload_map(p, "payload_ring"), "payload_ring", error);
        return p->ring != NULL;
}

static gboolean load(BhPayload *p, gboolean fexit, GError **error) {
        if (bh_payload_programs_load(p, fexit, error) && open_ring(p, error) && probe(p, error)) {
                bh_payload_programs_keep(p);
                return TRUE;
        }
        unload(p);
        return FALSE;
}

/*
 * What a sensor that was killed left. It is tested as what is new: somebody may have pinned other programs by these names, or what they are attached to may be called no more; where the kernel attaches
 * none a second time they are loaded anew at the start. What the maps say is of connections whose ends nobody saw, and of settings and calls of then. Pieces that it had not taken are not told any more: what they are a part of has a gap in any case, and one that it may have died of is not to be the next one's first.
 */
static gboolean adopt(BhPayload *p, gboolean fexit) {
        static const char *const maps[] = { "streams", "payload_open", "payload_rules", "payload_accounts", "payload_spent", "tls_calls", "tls_sockets", "batches", "sendings" };
        struct bh_payload_counts none = { 0 };
        guint32 zero = 0, len;
        guint64 end;

        if (!bh_payload_programs_adopt(p, fexit) || !open_ring(p, NULL) || (bh_payload_programs_attachable(p) && !probe(p, NULL))) {
                unload(p);
                return FALSE;
        }
        for (guint i = 0; i < G_N_ELEMENTS(maps); i++)
                bh_payload_map_empty(bh_payload_map(p, maps[i]));
        bpf_map_update_elem(p->counts, &zero, &none, BPF_ANY);
        bh_payload_config_write(p);
        while (bh_ring_next(p->ring, &end, &len)) {
                bh_ring_release(p->ring, end);
                p->unread++;
        }
        return TRUE;
}

BhPayload *bh_payload_new(BhHooks *hooks, BhBackend force, BhPayloadSeen seen, gpointer data) {
        BhPayload *p = g_new0(BhPayload, 1);

        g_mutex_init(&p->lock);
        g_mutex_init(&p->tls_lock);
        g_cond_init(&p->changed);
        p->tls = bh_payload_tls_table();
        p->hooks = hooks;
        p->force = force;
        p->seen = seen;
        p->data = data;
        p->cpus = (guint) libbpf_num_possible_cpus();
        told_until(p, G_MAXINT64);
        return p;
}

gboolean bh_payload_load(BhPayload *p, GError **error) {
        const gboolean fexit = p->force != BH_BACKEND_FALLBACK, calls = p->force != BH_BACKEND_PREFERRED;
        g_autoptr(GError) no_fexit = NULL;
        guint64 others = 0;

        if (!(fexit && adopt(p, TRUE)) && !(calls && adopt(p, FALSE))) {
                bh_hooks_keep_nothing(p->hooks); /* another build's, or not whole */
                if (!(fexit && load(p, TRUE, calls ? &no_fexit : error)) && !(calls && load(p, FALSE, error)))
                        return FALSE;
        }

        /* containers for which the map has no room share one account */
        g_autofree struct bh_payload_account *none = g_new0(struct bh_payload_account, p->cpus);
        bpf_map_update_elem(p->accounts, &others, none, BPF_NOEXIST);
        p->thread = g_thread_new("bh-payload", run, p);
        g_atomic_int_set(&p->loaded, TRUE);
        return TRUE;
}

void bh_payload_end(BhPayload *p) {
        g_mutex_lock(&p->lock);
        p->ends = TRUE;
        g_cond_signal(&p->changed);
        g_mutex_unlock(&p->lock);
        if (p->thread)
                g_thread_join(g_steal_pointer(&p->thread));
}

void bh_payload_free(BhPayload *p) {
        if (!p)
                return;
        bh_payload_end(p);
        if (p->started)
                count_unix(p, FALSE);
        bh_payload_detach(p);
        bh_payload_tls_forget(p);
        g_clear_pointer(&p->tls, g_hash_table_unref);
        unload(p);
        g_mutex_clear(&p->lock);
        g_mutex_clear(&p->tls_lock);
        g_cond_clear(&p->changed);
        g_free(p);
}

gboolean bh_payload_start(BhPayload *p, GError **error) {
        gboolean ok = TRUE;

        g_mutex_lock(&p->tls_lock);
        g_mutex_lock(&p->lock);
        if (!p->started && (ok = bh_payload_attach(p, error))) {
                g_atomic_int_set(&p->started, TRUE);
                told_until(p, 0);
                count_unix(p, TRUE);
        }
        g_cond_signal(&p->changed);
        g_mutex_unlock(&p->lock);
        g_mutex_unlock(&p->tls_lock);
        return ok;
}

void bh_payload_stop(BhPayload *p) {
        g_mutex_lock(&p->tls_lock);
        bh_payload_tls_forget(p);
        g_mutex_lock(&p->lock);
        if (p->started) {
                count_unix(p, FALSE);
                bh_payload_detach(p);
                p->state.tls = 0;
                bh_payload_config_write(p);
                bh_payload_map_empty(p->streams); /* with the programs detached nobody would see the ends of their connections */
                bh_payload_map_empty(p->open);
                g_atomic_int_set(&p->started, FALSE);
                told_until(p, G_MAXINT64);
        }
        g_mutex_unlock(&p->lock);
        g_mutex_unlock(&p->tls_lock);
}

/* ---- from outside ---- */

void bh_payload_ignore(BhPayload *p, guint64 connection, guint64 sk) {
        guint32 at = BH_PAYLOAD_UNWANTED_AT(sk);
        struct bh_payload_stream s;
        guint64 before;

        if (!g_atomic_int_get(&p->loaded) || bpf_map_lookup_elem(p->streams, &sk, &s) || s.id != connection || s.state == BH_PAYLOAD_IGNORED || bpf_map_lookup_elem(p->unwanted, &at, &before) || before == connection ||
            bpf_map_update_elem(p->unwanted, &at, &connection, BPF_ANY))
                return;
        g_mutex_lock(&p->lock);
        p->user_ignored++;
        g_mutex_unlock(&p->lock);
}

/* Under the lock. NULL: none. What is asked for beside it (bh_payload_other()) stays. */
static gboolean enter_rule(BhPayload *p, guint64 container, const struct bh_payload_rule *rule, GError **error) {
        struct bh_payload_rule old;
        gboolean ok = TRUE, had = bpf_map_lookup_elem(p->rules, &container, &old) == 0;

        if (!rule) {
                if (had && bpf_map_delete_elem(p->rules, &container) == 0 && container)
                        p->n_rules--;
        } else if (!had && container && p->n_rules >= BH_PAYLOAD_RULES) {
                ok = bh_hooks_fail(error, "%u containers have a rule of their own for inspection already: no more are taken", p->n_rules);
        } else if (bpf_map_update_elem(p->rules, &container, rule, BPF_ANY)) {
                ok = bh_hooks_fail(error, "cannot enter a rule for inspection: %s", g_strerror(errno));
        } else if (!had && container) {
                p->n_rules++;
        }
        p->state.rules++;
        bh_payload_config_write(p);
        return ok;
}

static gboolean not_loaded(BhPayload *p, GError **error) {
        return !g_atomic_int_get(&p->loaded) && !bh_hooks_fail(error, "the programs that look at what sockets move are not loaded yet");
}

gboolean bh_payload_set(BhPayload *p, guint64 container, const BhPayloadRule *rule, GError **error) {
        struct bh_payload_rule r = { 0 }, old;

        if (rule && rule->bytes_per_request > BH_PAYLOAD_REQUEST_MAX)
                return bh_hooks_fail(error, "%u bytes of each request are more than the %u that can be inspected", rule->bytes_per_request, BH_PAYLOAD_REQUEST_MAX);
        if (not_loaded(p, error))
                return FALSE;
        g_mutex_lock(&p->lock);
        if (bpf_map_lookup_elem(p->rules, &container, &old) == 0)
                r.other = old.other;
        if (rule) {
                r.off = rule->off != FALSE;
                r.per_request = rule->bytes_per_request;
                r.per_second = rule->bytes_per_second;
        }
        gboolean ok = enter_rule(p, container, rule || r.other ? &r : NULL, error);
        g_mutex_unlock(&p->lock);
        return ok;
}

/* Under the lock. */
static gboolean enter_other(BhPayload *p, guint64 container, guint32 bytes, GError **error) {
        struct bh_payload_rule r = { 0 };
        const guint64 others = 0;

        /* those without a rule of their own have that of the others */
        if (bpf_map_lookup_elem(p->rules, &container, &r) && bpf_map_lookup_elem(p->rules, &others, &r))
                memset(&r, 0, sizeof(r));
        r.other = bytes;
        return enter_rule(p, container, r.off || r.per_request || r.per_second || r.other ? &r : NULL, error);
}

gboolean bh_payload_other(BhPayload *p, guint64 container, guint32 bytes, GError **error) {
        if (not_loaded(p, error))
                return FALSE;
        g_mutex_lock(&p->lock);
        gboolean ok = enter_other(p, container, bytes, error);
        g_mutex_unlock(&p->lock);
        return ok;
}

gboolean bh_payload_try_other(BhPayload *p, guint64 container, guint32 bytes, gboolean *busy) {
        *busy = FALSE;
        if (not_loaded(p, NULL))
                return FALSE;
        *busy = !g_mutex_trylock(&p->lock);
        if (*busy)
                return FALSE;
        gboolean ok = enter_other(p, container, bytes, NULL);
        g_mutex_unlock(&p->lock);
        return ok;
}

guint64 bh_payload_container(BhPayload *p, guint64 cgroup) {
        struct bh_cgroup of = { 0 };
        const int map = bh_hooks_map(p->hooks, "cgroups");

        return map >= 0 && bpf_map_lookup_elem(map, &cgroup, &of) == 0 ? of.container : 0;
}

static void add(BhPayloadAccount *sum, const void *part) {
        guint64 *to = (guint64 *) sum;
        const guint64 *from = part;

        for (gsize i = 0; i < sizeof(*sum) / sizeof(guint64); i++)
                to[i] += from[i];
}

static gboolean add_of(BhPayload *p, guint64 container, BhPayloadAccount *sum) {
        g_autofree struct bh_payload_account *of = g_new0(struct bh_payload_account, p->cpus);

        if (!g_atomic_int_get(&p->loaded) || bpf_map_lookup_elem(p->accounts, &container, of))
                return FALSE;
        for (guint i = 0; i < p->cpus; i++)
                add(sum, &of[i]);
        return TRUE;
}

void bh_payload_account(BhPayload *p, guint64 container, BhPayloadAccount *account) {
        memset(account, 0, sizeof(*account));
        add_of(p, container, account);
}

void bh_payload_accounts(BhPayload *p, void (*each)(guint64 container, const BhPayloadAccount *account, gpointer data), gpointer data) {
        guint64 key, next;

        if (!g_atomic_int_get(&p->loaded))
                return;
        g_mutex_lock(&p->lock);
        for (int more = bpf_map_get_next_key(p->accounts, NULL, &next); !more; more = bpf_map_get_next_key(p->accounts, &key, &next)) {
                BhPayloadAccount account = { 0 };

                key = next;
                if (add_of(p, key, &account))
                        each(key, &account, data);
        }
        g_mutex_unlock(&p->lock);
}

void bh_payload_forget(BhPayload *p, guint64 container) {
        if (!g_atomic_int_get(&p->loaded))
                return;
        g_mutex_lock(&p->lock);
        if (add_of(p, container, &p->gone))
                bpf_map_delete_elem(p->accounts, &container);
        bpf_map_delete_elem(p->open, &container);
        if (bpf_map_delete_elem(p->rules, &container) == 0)
                p->n_rules--;
        g_mutex_unlock(&p->lock);
}

void bh_payload_stats(BhPayload *p, BhPayloadStats *stats) {
        struct bh_payload_counts c = { 0 };
        guint64 key, next;
        guint32 zero = 0;

        *stats = (BhPayloadStats) { .backend = "" };
        if (!g_atomic_int_get(&p->loaded))
                return;
        g_mutex_lock(&p->lock);
        bpf_map_lookup_elem(p->counts, &zero, &c);
        *stats = (BhPayloadStats) {
                .started = p->started,
                .backend = p->backend,
                .all = p->gone,
                .told = __atomic_load_n(&p->told, __ATOMIC_RELAXED),
                .followed = c.followed,
                .ignored = c.ignored + p->user_ignored,
                .refused = c.refused,
                .ends_lost = c.ends_lost,
                .clear_unknown = c.clear_unknown,
                .interrupted = bh_payload_misses(p) - p->misses_before,
                .adopted = p->adopted,
                .unread = p->unread,
        };
        for (int more = bpf_map_get_next_key(p->accounts, NULL, &next); !more; more = bpf_map_get_next_key(p->accounts, &key, &next)) {
                key = next;
                add_of(p, key, &stats->all);
        }
        g_mutex_unlock(&p->lock);
}

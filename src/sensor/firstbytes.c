/* SPDX-License-Identifier: Apache-2.0 */
#include "firstbytes.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "first_record.h"
#include "firstbytes.skel.h"
#include "hooks_private.h"
#include "loader.h"

#define LOOK_US (20 * G_TIME_SPAN_MILLISECOND)
#define PAGES_MAX 64u     /* 256 KiB a CPU, there only while attached … */
#define PAGES_MIN 8u
#define PAGES_ALL 1024u   /* … and no more than this of all, where that leaves the least */

G_STATIC_ASSERT(BH_FIRST_BYTES_MAX == BH_FIRST_BYTES);
G_STATIC_ASSERT(BH_FIRST_BYTES_SOCKETS == BH_FIRST_WANTED);

struct BhFirstBytes {
        struct bpf_object *object;
        struct bpf_program *program;
        int wanted, wish, first, samples; /* maps of the object */
        BhFirstBytesSeen seen;
        gpointer data;
        GThread *thread;

        GMutex lock; /* of all below */
        GCond changed;
        struct bpf_link *link;       /* NULL: not attached */
        struct perf_buffer *buffer;  /* as long as it is attached */
        GHashTable *due;             /* gint64 µs until which a socket is wanted, by address */
        gint64 all_due;              /* until then: every connection's first segment; 0: no */
        gint64 attached_us;          /* since when */
        gboolean ends;
        BhFirstBytesStats stats;
};

/* Under the lock: lets the program know what is wanted, so that it need not look for each segment's socket. */
static gboolean tell_wish(BhFirstBytes *f) {
        struct bh_first_wish w = { .sockets = g_hash_table_size(f->due), .all = f->all_due != 0 };
        guint32 zero = 0;

        return bpf_map_update_elem(f->wish, &zero, &w, BPF_ANY) == 0;
}

/* ---- what comes ---- */

static void on_sample(void *ctx, int cpu, void *sample, __u32 size) {
        BhFirstBytes *f = ctx;
        struct bh_first_head h;

        /* perf pads samples; what the program wrote is consistent, and would be read out of bounds if it were not */
        if (size < sizeof(h))
                return;
        memcpy(&h, sample, sizeof(h));
        if (h.len > BH_FIRST_BYTES || (gsize) h.skip + h.len > size - sizeof(h))
                return;

        BhFirstBytesPiece piece = {
                .sk = h.sk,
                .time = h.ts,
                .offset = h.offset,
                .side = h.flags & BH_FIRST_AT_CLIENT ? BH_FIRST_BYTES_OF_SERVER : h.flags & BH_FIRST_AT_SERVER ? BH_FIRST_BYTES_OF_CLIENT : BH_FIRST_BYTES_OF_ANY,
                .pid = h.tgid,
                .start = h.start,
                .cgroup = h.cgroup,
                .net_ns = h.net_ns,
                .family = h.addr.family,
                .lport = h.addr.lport,
                .rport = h.addr.rport,
                .total = h.total,
                .len = h.len,
                .bytes = (const guint8 *) sample + sizeof(h) + h.skip,
        };
        memcpy(piece.laddr, h.addr.laddr, sizeof(piece.laddr));
        memcpy(piece.raddr, h.addr.raddr, sizeof(piece.raddr));

        g_mutex_lock(&f->lock);
        f->stats.told++;
        if (g_hash_table_remove(f->due, GSIZE_TO_POINTER((gsize) h.sk)))
                tell_wish(f);
        g_mutex_unlock(&f->lock);
        f->seen(&piece, f->data);
}

/* ---- attached or not; all under the lock ---- */

static gboolean attach(BhFirstBytes *f, GError **error) {
        guint pages = PAGES_MAX;

        if (f->link)
                return TRUE;
        while (pages > PAGES_MIN && pages * (guint) libbpf_num_possible_cpus() > PAGES_ALL)
                pages /= 2;
        if (!f->buffer) /* else it is about to be taken away, which may be given up */
                f->buffer = perf_buffer__new(f->samples, pages, on_sample, NULL, f, NULL);
        if (!f->buffer)
                return bh_hooks_fail(error, "cannot make a buffer for first bytes of connections: %s", g_strerror(errno));
        f->link = bpf_program__attach(f->program);
        if (!f->link)
                return bh_hooks_fail(error, "cannot look at segments of connections: %s", g_strerror(errno));
        f->attached_us = g_get_monotonic_time();
        g_cond_signal(&f->changed);
        return TRUE;
}

/* Sockets whose time is over. Returns whether anything is wanted still. */
static gboolean expire(BhFirstBytes *f, gint64 now) {
        gboolean less = FALSE;
        GHashTableIter i;
        gpointer sk, until;

        g_hash_table_iter_init(&i, f->due);
        while (g_hash_table_iter_next(&i, &sk, &until)) {
                guint64 key = GPOINTER_TO_SIZE(sk);

                if (*(gint64 *) until > now)
                        continue;
                bpf_map_delete_elem(f->wanted, &key);
                g_hash_table_iter_remove(&i);
                less = TRUE;
        }
        if (f->all_due && f->all_due <= now) {
                f->all_due = 0;
                less = TRUE;
        }
        if (less)
                tell_wish(f);
        return f->all_due || g_hash_table_size(f->due);
}

static gpointer run(gpointer data) {
        BhFirstBytes *f = data;

        g_mutex_lock(&f->lock);
        while (!f->ends) {
                gint64 now = g_get_monotonic_time();
                gboolean more = expire(f, now);

                if (!f->buffer) {
                        g_cond_wait(&f->changed, &f->lock);
                        continue;
                }
                if (!more && f->link) {
                        bpf_link__destroy(g_steal_pointer(&f->link)); /* waits for programs that run */
                        f->stats.attached_ms += (guint64) (now - f->attached_us) / 1000;
                }
                /* only this thread takes the buffer away: it can be read without the lock, which the callback may need */
                g_mutex_unlock(&f->lock);
                perf_buffer__consume(f->buffer);
                g_mutex_lock(&f->lock);
                if (!f->link) {
                        perf_buffer__free(g_steal_pointer(&f->buffer));
                        continue;
                }
                if (!f->ends)
                        g_cond_wait_until(&f->changed, &f->lock, g_get_monotonic_time() + LOOK_US);
        }
        g_mutex_unlock(&f->lock);
        return NULL;
}

/* ---- from outside ---- */

BhFirstBytes *bh_first_bytes_new(BhHooks *hooks, BhFirstBytesSeen seen, gpointer data, GError **error) {
        BhFirstBytes *f = g_new0(BhFirstBytes, 1);
        size_t size;
        const void *bytes = bh_firstbytes__elf_bytes(&size);

        g_mutex_init(&f->lock);
        g_cond_init(&f->changed);
        f->seen = seen;
        f->data = data;
        f->due = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, g_free);
        f->object = bh_loader_load_apart(hooks, "firstbytes", bytes, size, error);
        if (!f->object) {
                bh_first_bytes_free(f);
                return NULL;
        }
        f->program = bpf_object__find_program_by_name(f->object, "tp_first_bytes");
        f->wanted = bpf_object__find_map_fd_by_name(f->object, "wanted");
        f->wish = bpf_object__find_map_fd_by_name(f->object, "wish");
        f->first = bpf_object__find_map_fd_by_name(f->object, "first");
        f->samples = bpf_object__find_map_fd_by_name(f->object, "samples");
        f->thread = g_thread_new("bh-first-bytes", run, f);
        return f;
}

void bh_first_bytes_free(BhFirstBytes *f) {
        if (!f)
                return;
        g_mutex_lock(&f->lock);
        f->ends = TRUE;
        g_cond_signal(&f->changed);
        g_mutex_unlock(&f->lock);
        if (f->thread)
                g_thread_join(f->thread);
        if (f->link)
                bpf_link__destroy(f->link);
        if (f->buffer)
                perf_buffer__free(f->buffer);
        if (f->object)
                bpf_object__close(f->object);
        g_hash_table_unref(f->due);
        g_mutex_clear(&f->lock);
        g_cond_clear(&f->changed);
        g_free(f);
}

static gint64 until(guint seconds) {
        return g_get_monotonic_time() + (gint64) CLAMP(seconds, 1, BH_FIRST_BYTES_SECONDS) * G_USEC_PER_SEC;
}

gboolean bh_first_bytes_want(BhFirstBytes *f, const guint64 *sks, guint n, guint seconds, GError **error) {
        gint64 due = until(seconds);
        gboolean ok;

        g_mutex_lock(&f->lock);
        ok = attach(f, error);
        for (guint i = 0; ok && i < n; i++) {
                guint64 key = sks[i];
                guint32 one = 1;
                gpointer name = GSIZE_TO_POINTER((gsize) key);

                if (!g_hash_table_contains(f->due, name) && g_hash_table_size(f->due) >= BH_FIRST_BYTES_SOCKETS) {
                        f->stats.refused++;
                } else if (bpf_map_update_elem(f->wanted, &key, &one, BPF_ANY)) {
                        f->stats.refused++;
                } else {
                        g_hash_table_replace(f->due, name, g_memdup2(&due, sizeof(due)));
                }
        }
        if (ok && !tell_wish(f))
                ok = bh_hooks_fail(error, "cannot ask for the bytes of connections: %s", g_strerror(errno));
        g_mutex_unlock(&f->lock);
        return ok;
}

gboolean bh_first_bytes_want_new(BhFirstBytes *f, guint seconds, GError **error) {
        gboolean ok;

        g_mutex_lock(&f->lock);
        ok = attach(f, error);
        if (ok) {
                f->all_due = MAX(f->all_due, until(seconds));
                if (!tell_wish(f))
                        ok = bh_hooks_fail(error, "cannot ask for first bytes of connections: %s", g_strerror(errno));
        }
        g_mutex_unlock(&f->lock);
        return ok;
}

void bh_first_bytes_enough(BhFirstBytes *f) {
        g_mutex_lock(&f->lock);
        if (f->all_due) {
                f->all_due = 1; /* its time has come */
                g_cond_signal(&f->changed);
        }
        g_mutex_unlock(&f->lock);
}

void bh_first_bytes_stats(BhFirstBytes *f, BhFirstBytesStats *stats) {
        struct bh_first_state state = { 0 };
        guint32 zero = 0;

        g_mutex_lock(&f->lock);
        *stats = f->stats;
        stats->attached = f->link != NULL;
        stats->wanted = g_hash_table_size(f->due);
        if (f->link)
                stats->attached_ms += (guint64) (g_get_monotonic_time() - f->attached_us) / 1000;
        bpf_map_lookup_elem(f->first, &zero, &state);
        stats->lost = state.full;
        stats->unreadable = state.failed;
        g_mutex_unlock(&f->lock);
}

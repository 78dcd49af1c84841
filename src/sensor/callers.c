/* SPDX-License-Identifier: Apache-2.0 */
#include "callers.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "calls.skel.h"
#include "event/record_decode.h"
#include "hooks_private.h"
#include "loader.h"

#define SETTLE_US 1000 /* in which a program that runs comes to its end */
#define LATE_US (BH_CALLERS_WINDOW_US * 3 / 2)
#define ENOUGH_NS 5e6  /* of the share, to begin again */

struct BhCallers {
        BhHooks *hooks;
        BhCallersSeen seen;
        gpointer data;
        GThread *thread;

        /* the thread's */
        struct bpf_object *object;
        struct bpf_link *link;
        struct bpf_program *program;
        struct bh_call_state *state;
        struct bh_caller *callers;
        gsize callers_bytes;
        int ids, cpus;
        struct bh_call_cpu *of_cpu;
        guint n_cpus;
        gboolean learning;   /* somebody had more to learn in the last windows */
        double tokens_ns;    /* what is left of the share */
        gint64 tokens_us;
        guint64 seen_before, counted_before;

        GMutex lock;
        GCond changed;
        gboolean ends;
        gint64 wake_us; /* no pause until then */
        BhCallersStats stats;
};

static gpointer map_of(BhCallers *c, const char *name, gsize bytes, GError **error) {
        gsize page = (gsize) sysconf(_SC_PAGESIZE);
        void *at = mmap(NULL, (bytes + page - 1) / page * page, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_object__find_map_fd_by_name(c->object, name), 0);

        if (at == MAP_FAILED) {
                bh_hooks_fail(error, "cannot map the counts of system calls: %s", g_strerror(errno));
                return NULL;
        }
        return at;
}

static gboolean load(BhCallers *c, GError **error) {
        int cpus = libbpf_num_possible_cpus();
        size_t size;
        const void *bytes = bh_calls__elf_bytes(&size);

        if (cpus <= 0)
                return bh_hooks_fail(error, "cannot tell how many CPUs there are: %s", g_strerror(-cpus));
        if (!(c->object = bh_loader_load_apart(c->hooks, "calls", bytes, size, error)))
                return FALSE;
        c->n_cpus = (guint) cpus;
        c->of_cpu = g_new0(struct bh_call_cpu, c->n_cpus);
        c->program = bpf_object__find_program_by_name(c->object, "tp_call");
        c->ids = bpf_object__find_map_fd_by_name(c->object, "caller_ids");
        c->cpus = bpf_object__find_map_fd_by_name(c->object, "call_cpus");
        c->callers_bytes = BH_CALLERS_MAX * sizeof(struct bh_caller);
        return (c->state = map_of(c, "call_state", sizeof(*c->state), error)) && (c->callers = map_of(c, "callers", c->callers_bytes, error));
}

static void unload(BhCallers *c) {
        gsize page = (gsize) sysconf(_SC_PAGESIZE);

        if (c->link)
                bpf_link__destroy(g_steal_pointer(&c->link));
        if (c->state)
                munmap(c->state, page);
        if (c->callers)
                munmap(c->callers, (c->callers_bytes + page - 1) / page * page);
        if (c->object)
                bpf_object__close(c->object);
        g_free(c->of_cpu);
}

/* ---- what is in the kernel ---- */

/* Nothing is known any more: places, and what CPUs remember of threads. */
static void clear(BhCallers *c) {
        volatile struct bh_call_state *s = c->state;
        guint n;

        s->paused = 1;
        g_usleep(SETTLE_US);
        n = MIN(s->next, BH_CALLERS_MAX);
        for (guint i = 0; i < n; i++) {
                const struct bh_caller_id id = { .container = c->callers[i].container, .ino = c->callers[i].ino, .dev = c->callers[i].dev };

                bpf_map_delete_elem(c->ids, &id);
                memset(&c->callers[i], 0, sizeof(c->callers[i]));
        }
        s->next = 0;
        s->seed = (guint64) g_random_int() << 32 | g_random_int();
        s->paused = 0;
}

static void count_cpus(BhCallers *c) {
        guint32 zero = 0;
        guint64 seen = 0, counted = 0, full = 0, contended = 0;

        if (bpf_map_lookup_elem(c->cpus, &zero, c->of_cpu))
                return;
        for (guint i = 0; i < c->n_cpus; i++) {
                seen += c->of_cpu[i].seen;
                counted += c->of_cpu[i].counted;
                full += c->of_cpu[i].full;
                contended += c->of_cpu[i].contended;
        }
        c->tokens_ns -= (double) (seen - c->seen_before) * BH_CALLERS_SEEN_NS + (double) (counted - c->counted_before) * BH_CALLERS_COUNTED_NS;
        c->seen_before = seen;
        c->counted_before = counted;
        g_mutex_lock(&c->lock);
        c->stats.seen = seen;
        c->stats.counted = counted;
        c->stats.full = full;
        c->stats.contended = contended;
        g_mutex_unlock(&c->lock);
}

static void refill(BhCallers *c, gint64 now_us) {
        c->tokens_ns = MIN(c->tokens_ns + (double) (now_us - c->tokens_us) * 1000 * BH_CALLERS_SHARE, BH_CALLERS_BURST_NS);
        c->tokens_us = now_us;
}

/* What one place has of the window that ended; the bank is empty then. */
static void take(BhCallers *c, const struct bh_caller *who, struct bh_caller_bank *b, gboolean whole, gint64 time_ns) {
        BhCallCount calls[BH_CALLERS_CALLS];
        guint n = 0;

        for (guint i = 0; i < BH_CALLERS_CALLS; i++)
                if (b->counts[i]) {
                        calls[n++] = (BhCallCount){ .call = (guint16) i, .count = b->counts[i] };
                        b->counts[i] = 0;
                }
        if (!n)
                return;

        char name[BH_CALLERS_NAME + 1] = { 0 };
        memcpy(name, who->name, BH_CALLERS_NAME);
        const BhCallerWindow w = { who->container, bh_dev_from_kernel(who->dev), who->ino, who->tgid, who->start, name, calls, n, b->order, MIN(b->n, BH_CALLERS_ORDER), whole, time_ns };
        c->learning |= c->seen(&w, c->data);
        b->n = b->left = b->claims = 0;
        b->tid = 0;
}

/* The end of a window: the other bank is written from now on. */
static void turn(BhCallers *c, gboolean whole) {
        volatile struct bh_call_state *s = c->state;
        guint was = s->bank & 1;
        gint64 time_ns = g_get_real_time() * 1000;

        s->bank = !was;
        g_usleep(SETTLE_US);
        guint n = MIN(s->next, BH_CALLERS_MAX);
        for (guint i = 0; i < n; i++)
                take(c, &c->callers[i], &c->callers[i].bank[was], whole, time_ns);
        count_cpus(c);
}

/* ---- in turns ---- */

static gboolean hot(const BhCallers *c, gint64 now_us) {
        return c->learning || c->wake_us > now_us;
}

/* One time attached, with the lock, which it lets go of while it waits and reads. */
static void phase(BhCallers *c) {
        gint64 begun_us = g_get_monotonic_time(), from_us = begun_us;

        c->learning = FALSE;
        for (guint windows = 0; !c->ends;) {
                while (!c->ends && g_cond_wait_until(&c->changed, &c->lock, from_us + BH_CALLERS_WINDOW_US))
                        ;

                gint64 now_us = g_get_monotonic_time();
                gboolean whole = !c->ends && now_us - from_us < LATE_US;
                from_us = now_us;
                g_mutex_unlock(&c->lock);
                turn(c, whole);
                refill(c, now_us);
                g_mutex_lock(&c->lock);
                windows++;
                c->stats.windows++;
                c->stats.late += !whole;
                c->stats.throttled += c->tokens_ns <= 0;
                if (c->tokens_ns <= 0 || windows >= BH_CALLERS_PHASE || (windows >= BH_CALLERS_SHORT && !hot(c, now_us)))
                        break;
        }
        c->stats.attached_ms += (guint64) (g_get_monotonic_time() - begun_us) / 1000;
}

/* How long to wait now; 0: go on. */
static gint64 pause_of(BhCallers *c, gint64 now_us) {
        if (c->tokens_ns <= 0)
                return (gint64) ((ENOUGH_NS - c->tokens_ns) / (1000 * BH_CALLERS_SHARE));
        return hot(c, now_us) ? 0 : BH_CALLERS_PAUSE_US;
}

static gpointer run(gpointer data) {
        BhCallers *c = data;
        g_autoptr(GError) error = NULL;

        if (!load(c, &error)) {
                g_mutex_lock(&c->lock);
                g_strlcpy(c->stats.problem, error->message, sizeof(c->stats.problem));
                g_mutex_unlock(&c->lock);
                return NULL;
        }
        malloc_trim(0); /* the kernel's type information */
        c->tokens_ns = BH_CALLERS_BURST_NS;
        c->tokens_us = g_get_monotonic_time();
        g_mutex_lock(&c->lock);
        for (guint64 at_rest = 0; !c->ends;) {
                g_mutex_unlock(&c->lock);
                if (!c->link) {
                        count_cpus(c);
                        guint64 stray = c->seen_before - at_rest;
                        g_mutex_lock(&c->lock);
                        c->stats.stray += stray;
                        g_mutex_unlock(&c->lock);
                }
                clear(c);
                if (!c->link)
                        c->link = bpf_program__attach(c->program);
                int failed = c->link ? 0 : errno;
                g_mutex_lock(&c->lock);
                if (failed) {
                        g_snprintf(c->stats.problem, sizeof(c->stats.problem), "cannot look at system calls: %s", g_strerror(failed));
                        break;
                }
                c->stats.attached_times += !c->stats.attached;
                c->stats.attached = TRUE;
                phase(c);

                gint64 now_us = g_get_monotonic_time(), pause_us = pause_of(c, now_us);
                if (!pause_us && !c->ends)
                        continue;
                gboolean poor = c->tokens_ns <= 0;
                g_mutex_unlock(&c->lock);
                bpf_link__destroy(g_steal_pointer(&c->link));
                g_usleep(SETTLE_US); /* what runs on another CPU yet */
                count_cpus(c);
                at_rest = c->seen_before;
                g_mutex_lock(&c->lock);
                c->stats.attached = FALSE;
                /* who is woken goes on at once, but not who has used up the share */
                while (!c->ends && g_get_monotonic_time() < now_us + pause_us && (poor || c->wake_us <= g_get_monotonic_time()))
                        g_cond_wait_until(&c->changed, &c->lock, now_us + pause_us);
                refill(c, g_get_monotonic_time());
        }
        g_mutex_unlock(&c->lock);
        return NULL;
}

/* ---- from outside ---- */

BhCallers *bh_callers_new(BhHooks *hooks) {
        BhCallers *c = g_new0(BhCallers, 1);

        g_mutex_init(&c->lock);
        g_cond_init(&c->changed);
        c->hooks = hooks;
        return c;
}

void bh_callers_start(BhCallers *c, BhCallersSeen seen, gpointer data) {
        c->seen = seen;
        c->data = data;
        c->thread = g_thread_new("bh-calls", run, c);
}

void bh_callers_stop(BhCallers *c) {
        g_mutex_lock(&c->lock);
        c->ends = TRUE;
        g_cond_signal(&c->changed);
        g_mutex_unlock(&c->lock);
        if (c->thread)
                g_thread_join(g_steal_pointer(&c->thread));
        if (c->link)
                bpf_link__destroy(g_steal_pointer(&c->link));
}

void bh_callers_free(BhCallers *c) {
        if (!c)
                return;
        bh_callers_stop(c);
        unload(c);
        g_mutex_clear(&c->lock);
        g_cond_clear(&c->changed);
        g_free(c);
}

void bh_callers_wake(BhCallers *c, guint seconds) {
        gint64 until = g_get_monotonic_time() + (gint64) seconds * G_USEC_PER_SEC;

        g_mutex_lock(&c->lock);
        if (c->wake_us < until) {
                c->wake_us = until;
                if (!c->stats.attached)
                        g_cond_signal(&c->changed);
        }
        g_mutex_unlock(&c->lock);
}

void bh_callers_stats(BhCallers *c, BhCallersStats *out) {
        g_mutex_lock(&c->lock);
        *out = c->stats;
        g_mutex_unlock(&c->lock);
}

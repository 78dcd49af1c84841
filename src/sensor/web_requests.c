/* SPDX-License-Identifier: Apache-2.0 */
#include "web_requests.h"

#include <string.h>

#include "parse/web_trace.h"

#define CHAIN_MAX 64u /* ancestors that are kept of a process, but for the one that its requests are found by */

typedef struct {
        guint32 pid;
        guint64 start;
        gint64 last_ns;
        gboolean gone; /* it ended */
        gboolean serves; /* a request, at least once */
        GQueue requests; /* BhWebRequest, references, by begin */
} Worker;

/* A process that was created while the table looked. Its parent's is kept for as long as it is: that is how what descends from it finds back. */
typedef struct Fork {
        guint refs;
        struct Fork *up;
        guint depth; /* ancestors above it, at most */
        guint32 pid, by_pid, by_tid;
        gint64 when_ns, gone_ns; /* gone: it ended; 0: not */
        BhWebCause *cause; /* once it is known */
        GList link;
        gboolean listed;
} Fork;

struct BhWebRequests {
        GHashTable *workers; /* pid → Worker */
        GHashTable *forks;   /* pid → Fork */
        GQueue order;        /* Fork, the oldest first */
        GQueue gone;         /* those of them that ended, the longest gone first: they go first */
        GQueue open;         /* BhWebRequest, those in the table, by begin */
        gint64 look_us;      /* when the second began in which … */
        gsize looked;        /* … so many bytes were looked through */
        BhWebRequestsStats stats;
};

/* ---- requests */

BhWebRequest *bh_web_request_ref(BhWebRequest *r) {
        r->refs++;
        return r;
}

static void drop_bytes(BhWebRequest *r) {
        if (r->table && r->bytes)
                r->table->stats.bytes -= r->bytes->len;
        g_clear_pointer(&r->bytes, g_byte_array_unref);
}

void bh_web_request_unref(BhWebRequest *r) {
        if (!r || --r->refs)
                return;
        drop_bytes(r);
        g_clear_pointer(&r->container, bh_container_unref);
        g_free(r->method);
        g_free(r->path);
        g_free(r->target);
        g_free(r->source);
        g_free(r->class);
        g_free(r->finding);
        g_free(r);
}

static void worker_free(gpointer p) {
        Worker *w = p;

        for (BhWebRequest *r; (r = g_queue_pop_head(&w->requests));)
                bh_web_request_unref(r);
        g_free(w);
}

/* Out of the table's own list; whoever has a reference keeps it. */
static void unlist(BhWebRequests *t, BhWebRequest *r) {
        if (!r->listed)
                return;
        g_queue_unlink(&t->open, &r->link);
        r->listed = FALSE;
        drop_bytes(r);
        r->table = NULL;
}

static void forget_oldest(BhWebRequests *t, Worker *w) {
        BhWebRequest *r = g_queue_pop_head(&w->requests);

        unlist(t, r);
        bh_web_request_unref(r);
}

static Worker *worker_of(BhWebRequests *t, guint32 pid, guint64 start) {
        Worker *w = g_hash_table_lookup(t->workers, GUINT_TO_POINTER(pid));

        if (w && !w->start)
                w->start = start; /* it was heard of before */
        if (w && w->start != start) {
                while (w->requests.length)
                        forget_oldest(t, w);
                w->start = start;
                w->gone = FALSE;
        }
        if (!w) {
                w = g_new0(Worker, 1);
                w->pid = pid;
                w->start = start;
                g_hash_table_replace(t->workers, GUINT_TO_POINTER(pid), w);
        }
        return w;
}

BhWebRequest *bh_web_requests_begin(BhWebRequests *t, guint32 pid, guint32 tid, guint64 start, gint64 begin_ns, GByteArray *bytes) {
        g_autoptr(GByteArray) own = bytes;

        if (t->open.length >= BH_WEB_REQUESTS_MAX) {
                t->stats.refused++;
                return NULL;
        }
        Worker *w = worker_of(t, pid, start);
        w->last_ns = begin_ns;
        w->serves = TRUE;
        if (w->requests.length >= BH_WEB_REQUESTS_WORKER) {
                forget_oldest(t, w);
                t->stats.forgotten++;
        }
        BhWebRequest *r = g_new0(BhWebRequest, 1);
        r->refs = 2; /* the worker's, the caller's */
        r->table = t;
        r->pid = pid;
        r->tid = tid;
        r->start = start;
        r->begin_ns = begin_ns;
        if (own && t->stats.bytes + own->len <= BH_WEB_BYTES_MAX) {
                r->bytes = g_steal_pointer(&own);
                t->stats.bytes += r->bytes->len;
        } else if (own) {
                t->stats.bytes_refused++;
        }
        r->link.data = r;
        r->listed = TRUE;
        g_queue_push_tail_link(&t->open, &r->link);
        g_queue_push_tail(&w->requests, r);
        t->stats.begun++;
        return r;
}

void bh_web_request_add_bytes(BhWebRequest *r, const guint8 *bytes, gsize len) {
        if (!r->table || !r->bytes)
                return;
        if (r->table->stats.bytes + len > BH_WEB_BYTES_MAX) {
                r->table->stats.bytes_refused++;
                return;
        }
        g_byte_array_append(r->bytes, bytes, (guint) len);
        r->table->stats.bytes += len;
}

void bh_web_requests_end(BhWebRequests *t, BhWebRequest *r, gint64 end_ns) {
        (void) t;
        if (!r->end_ns)
                r->end_ns = MAX(end_ns, 1);
}

/* ---- processes */

static guint pins(const BhWebCause *c) {
        return c ? c->requests->len + c->others->len : 0;
}

/* Takes the cause. One that there is no room for is not kept. */
static void set_cause(BhWebRequests *t, Fork *f, BhWebCause *cause) {
        t->stats.pinned -= pins(f->cause);
        g_clear_pointer(&f->cause, bh_web_cause_free);
        if (t->stats.pinned + pins(cause) > BH_WEB_PINNED_MAX) {
                t->stats.causes_refused++;
                bh_web_cause_free(cause);
                return;
        }
        t->stats.pinned += pins(cause);
        f->cause = cause;
}

static void fork_unref(BhWebRequests *t, Fork *f) {
        /* a chain of dead ancestors goes without recursion */
        while (f && !--f->refs) {
                Fork *up = f->up;

                set_cause(t, f, NULL);
                g_free(f);
                f = up;
        }
}

static void drop_fork(BhWebRequests *t, Fork *f) {
        g_queue_unlink(f->gone_ns ? &t->gone : &t->order, &f->link);
        g_hash_table_remove(t->forks, GUINT_TO_POINTER(f->pid));
        fork_unref(t, f);
}

/* Whoever looks for requests of what descends from it ends here. */
static gboolean leads(const BhWebRequests *t, const Fork *f) {
        return f->cause || g_hash_table_contains(t->workers, GUINT_TO_POINTER(f->by_pid));
}

/* Processes that each create the next and end would be a chain without end, kept in memory and walked at each act: of one that is long, what leads somewhere stays. */
static Fork *shorten(BhWebRequests *t, Fork *up) {
        if (!up || up->depth < CHAIN_MAX)
                return up;
        while (up && !leads(t, up))
                up = up->up;
        if (up) {
                fork_unref(t, g_steal_pointer(&up->up));
                up->depth = 0;
        }
        return up;
}

void bh_web_requests_fork(BhWebRequests *t, guint32 pid, guint32 tid, guint32 child, gint64 when_ns) {
        Fork *old = g_hash_table_lookup(t->forks, GUINT_TO_POINTER(child)), *up = g_hash_table_lookup(t->forks, GUINT_TO_POINTER(pid)), *f;

        if (old)
                drop_fork(t, old);
        if (up == old)
                up = NULL;
        if (t->order.length + t->gone.length >= BH_WEB_FORKS_MAX) {
                Fork *first = t->gone.length ? t->gone.head->data : t->order.head->data;

                t->stats.forks_forgotten++;
                if (first == up)
                        up = NULL;
                drop_fork(t, first);
        }
        f = g_new0(Fork, 1);
        f->refs = 1;
        f->pid = child;
        f->by_pid = pid;
        f->by_tid = tid;
        f->when_ns = when_ns;
        f->link.data = f;
        if ((up = shorten(t, up))) {
                up->refs++;
                f->up = up;
                f->depth = up->depth + 1;
        }
        g_queue_push_tail_link(&t->order, &f->link);
        g_hash_table_insert(t->forks, GUINT_TO_POINTER(child), f);
}

void bh_web_requests_exit(BhWebRequests *t, guint32 pid, gint64 when_ns) {
        Fork *f = g_hash_table_lookup(t->forks, GUINT_TO_POINTER(pid));

        Worker *w = g_hash_table_lookup(t->workers, GUINT_TO_POINTER(pid));

        if (f && !f->gone_ns) {
                g_queue_unlink(&t->order, &f->link);
                f->gone_ns = MAX(when_ns, 1);
                g_queue_push_tail_link(&t->gone, &f->link);
        }
        if (w)
                w->gone = TRUE;
        /* both stay until the sweep: acts may still be looked at, and its children */
}

void bh_web_requests_accepts(BhWebRequests *t, guint32 pid, gint64 when_ns) {
        Worker *w = g_hash_table_lookup(t->workers, GUINT_TO_POINTER(pid));

        if (!w)
                w = worker_of(t, pid, 0);
        w->gone = FALSE;
        w->last_ns = MAX(w->last_ns, when_ns);
}

gboolean bh_web_requests_related(const BhWebRequests *t, guint32 pid) {
        const Fork *f;

        if (g_hash_table_contains(t->workers, GUINT_TO_POINTER(pid)))
                return TRUE;
        for (f = g_hash_table_lookup(t->forks, GUINT_TO_POINTER(pid)); f; f = f->up)
                if (leads(t, f))
                        return TRUE;
        return FALSE;
}

/* ---- causes */

void bh_web_cause_free(BhWebCause *c) {
        if (!c)
                return;
        g_ptr_array_unref(c->requests);
        g_ptr_array_unref(c->others);
        g_free(c);
}

static BhWebCause *cause_new(void) {
        BhWebCause *c = g_new0(BhWebCause, 1);

        c->requests = g_ptr_array_new_with_free_func((GDestroyNotify) bh_web_request_unref);
        c->others = g_ptr_array_new_with_free_func((GDestroyNotify) bh_web_request_unref);
        return c;
}

BhWebCause *bh_web_cause_copy(const BhWebCause *from) {
        BhWebCause *c = cause_new();

        c->basis = from->basis;
        c->more = from->more;
        c->inherited = from->inherited;
        for (guint i = 0; i < from->requests->len; i++)
                g_ptr_array_add(c->requests, bh_web_request_ref(from->requests->pdata[i]));
        for (guint i = 0; i < from->others->len; i++)
                g_ptr_array_add(c->others, bh_web_request_ref(from->others->pdata[i]));
        return c;
}

static void add(GPtrArray *to, BhWebRequest *r, guint *more) {
        /* who wants to hide a request sends it behind others that he leaves open */
        if (to->len >= BH_WEB_CANDIDATES_MAX) {
                g_ptr_array_remove_index(to, 0);
                (*more)++;
        }
        g_ptr_array_add(to, bh_web_request_ref(r));
}

static gboolean is_open(const BhWebRequest *r, gint64 when_ns) {
        return r->begin_ns <= when_ns && (!r->end_ns || r->end_ns >= when_ns);
}

/* Connections of which this thread has read a request that is open: what another thread has read of them may be its work all the same. */
static guint connections_of(const Worker *w, guint32 tid, gint64 when_ns, guint64 out[BH_WEB_CANDIDATES_MAX]) {
        guint n = 0;

        for (GList *l = w->requests.tail; l && n < BH_WEB_CANDIDATES_MAX; l = l->prev) {
                const BhWebRequest *r = l->data;

                if (r->tid == tid && r->connection && is_open(r, when_ns) && (!n || out[n - 1] != r->connection))
                        out[n++] = r->connection;
        }
        return n;
}

static gboolean has(const guint64 *of, guint n, guint64 connection) {
        for (guint i = 0; i < n; i++)
                if (of[i] == connection)
                        return TRUE;
        return FALSE;
}

static BhWebCause *open_in(const Worker *w, guint32 tid, gint64 when_ns) {
        g_autoptr(BhWebCause) c = cause_new();
        guint64 connections[BH_WEB_CANDIDATES_MAX];
        guint n = connections_of(w, tid, when_ns, connections), more_others = 0;

        for (GList *l = w->requests.head; l; l = l->next) {
                BhWebRequest *r = l->data;

                if (!is_open(r, when_ns))
                        continue;
                if (r->tid == tid || has(connections, n, r->connection))
                        add(c->requests, r, &c->more);
                else
                        add(c->others, r, &more_others);
        }
        gboolean alone = c->requests->len && !c->others->len;
        if (!c->requests->len) {
                GPtrArray *all = c->others;

                c->others = c->requests;
                c->requests = all;
                c->more = more_others;
                alone = TRUE;
        }
        if (!c->requests->len)
                return NULL;
        c->basis = c->requests->len > 1 ? BH_WEB_BASIS_OTHER : alone ? BH_WEB_BASIS_PROCESS : BH_WEB_BASIS_THREAD;
        return g_steal_pointer(&c);
}

/* The caller's own. */
static BhWebCause *inherited(BhWebRequests *t, Fork *f) {
        /* up to where it is known, or the first that was created by a worker */
        for (Fork *at = f; at; at = at->up) {
                const Worker *w;

                if (at->cause)
                        return bh_web_cause_copy(at->cause);
                if (!(w = g_hash_table_lookup(t->workers, GUINT_TO_POINTER(at->by_pid))))
                        continue;
                g_autoptr(BhWebCause) c = open_in(w, at->by_tid, at->when_ns);
                if (c) {
                        c->inherited = TRUE;
                        set_cause(t, at, bh_web_cause_copy(c));
                }
                return g_steal_pointer(&c);
        }
        return NULL;
}

BhWebCause *bh_web_requests_cause(BhWebRequests *t, guint32 pid, guint32 tid, gint64 when_ns) {
        const Worker *w = g_hash_table_lookup(t->workers, GUINT_TO_POINTER(pid));

        if (w && w->serves)
                return open_in(w, tid, when_ns);
        Fork *f = g_hash_table_lookup(t->forks, GUINT_TO_POINTER(pid));
        return f && (!f->gone_ns || when_ns <= f->gone_ns) ? inherited(t, f) : NULL;
}

gsize bh_web_requests_common(BhWebRequests *t, const BhWebRequest *r, const char *text, gsize len) {
        gint64 now_us = g_get_monotonic_time();

        if (!r->bytes)
                return 0;
        if (now_us - t->look_us >= G_USEC_PER_SEC) {
                t->look_us = now_us;
                t->looked = 0;
        }
        if (t->looked >= BH_WEB_LOOK_SECOND) {
                t->stats.not_looked++;
                return 0;
        }
        t->looked += r->bytes->len;
        return bh_web_trace_common(r->bytes, text, len);
}

/* Of these, the one that has the longest part in common with what was done, and how long the longest of another is. */
typedef struct {
        gsize best, second;
        BhWebRequest *of;
} Longest;

static void look_for(BhWebRequests *t, const GPtrArray *requests, const BhWebText *texts, guint n, Longest *l) {
        for (guint i = 0; i < requests->len; i++) {
                BhWebRequest *r = requests->pdata[i];
                gsize here = 0;

                for (guint k = 0; k < n; k++) {
                        gsize common = bh_web_requests_common(t, r, texts[k].text.p, texts[k].text.len);

                        if (!texts[k].whole || common == texts[k].text.len)
                                here = MAX(here, common);
                }
                if (here > l->best) {
                        l->second = l->best;
                        l->best = here;
                        l->of = r;
                } else {
                        l->second = MAX(l->second, here);
                }
        }
}

gboolean bh_web_requests_narrow(BhWebRequests *t, BhWebCause *cause, guint32 pid, const BhWebText *texts, guint n) {
        Longest l = { 0 };

        look_for(t, cause->requests, texts, n, &l);
        look_for(t, cause->others, texts, n, &l);
        if (!l.of || l.best == l.second || cause->more)
                return FALSE;
        bh_web_request_ref(l.of);
        g_ptr_array_set_size(cause->requests, 0);
        g_ptr_array_set_size(cause->others, 0);
        g_ptr_array_add(cause->requests, l.of);
        cause->basis = BH_WEB_BASIS_BYTES;

        const Worker *own = g_hash_table_lookup(t->workers, GUINT_TO_POINTER(pid));
        Fork *f = own && own->serves ? NULL : g_hash_table_lookup(t->forks, GUINT_TO_POINTER(pid));
        if (f)
                set_cause(t, f, bh_web_cause_copy(cause));
        return TRUE;
}

/* ---- life */

static gboolean sweep_worker(gpointer key, gpointer value, gpointer data) {
        const gint64 *now_ns = data;
        Worker *w = value;

        (void) key;
        for (GList *l = w->requests.head, *next; l; l = next) {
                BhWebRequest *r = l->data;

                next = l->next;
                if (r->end_ns ? r->end_ns + BH_WEB_ENDED_NS > *now_ns : r->begin_ns + BH_WEB_OPEN_NS > *now_ns)
                        continue;
                g_queue_delete_link(&w->requests, l);
                unlist(r->table, r);
                bh_web_request_unref(r);
        }
        return !w->requests.length && (w->gone || w->last_ns + BH_WEB_OPEN_NS <= *now_ns);
}

void bh_web_requests_sweep(BhWebRequests *t, gint64 now_ns) {
        g_hash_table_foreach_remove(t->workers, sweep_worker, &now_ns);
        for (GList *l = t->gone.head, *next; l; l = next) {
                Fork *f = l->data;

                next = l->next;
                if (f->gone_ns + BH_WEB_GONE_NS <= now_ns)
                        drop_fork(t, f);
        }
}

BhWebRequests *bh_web_requests_new(void) {
        BhWebRequests *t = g_new0(BhWebRequests, 1);

        t->workers = g_hash_table_new_full(NULL, NULL, NULL, worker_free);
        t->forks = g_hash_table_new(NULL, NULL);
        return t;
}

void bh_web_requests_free(BhWebRequests *t) {
        if (!t)
                return;
        while (t->order.length)
                drop_fork(t, t->order.head->data);
        while (t->gone.length)
                drop_fork(t, t->gone.head->data);
        while (t->open.length)
                unlist(t, t->open.head->data);
        g_hash_table_unref(t->workers);
        g_hash_table_unref(t->forks);
        g_free(t);
}

void bh_web_requests_stats(const BhWebRequests *t, BhWebRequestsStats *out) {
        *out = t->stats;
        out->requests = t->open.length;
        out->workers = g_hash_table_size(t->workers);
        out->forks = t->order.length + t->gone.length;
}

const char *bh_web_basis_name(BhWebBasis basis) {
        static const char *const names[BH_WEB_BASES] = {
                [BH_WEB_BASIS_BYTES] = "bytes of the request found in the act",
                [BH_WEB_BASIS_THREAD] = "only request open in this thread",
                [BH_WEB_BASIS_PROCESS] = "only request open in this process",
                [BH_WEB_BASIS_OTHER] = "one of several requests open",
        };

        return (guint) basis < BH_WEB_BASES ? names[basis] : "?";
}

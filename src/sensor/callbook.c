/* SPDX-License-Identifier: Apache-2.0 */
#include "callbook.h"

#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

typedef struct {
        guint64 order; /* four calls; 0: empty, as nobody makes restart_syscall four times */
        guint32 count;
} Order;

typedef struct {
        char *key; /* its place in `pages` */
        GList link; /* in `recent` */
        guint64 known[BH_CALLERS_CALLS / 64];
        guint64 windows, fresh_at; /* when it made a call for the first time last */
        BhCallModel *model; /* NULL: too many have one */
        gsize model_bytes;
        Order *orders;
        guint n_orders;
        guint64 orders_seen, orders_once;
} Page;

struct BhCallBook {
        GHashTable *pages;
        GQueue recent; /* the one seen last first */
        char *names[BH_CALLERS_CALLS];
        guint64 seed;
        BhCallBookStats stats;
};

static void page_free(gpointer p) {
        Page *page = p;

        bh_calls_free(page->model);
        g_free(page->orders);
        g_free(page->key);
        g_free(page);
}

BhCallBook *bh_callbook_new(void) {
        BhCallBook *b = g_new0(BhCallBook, 1);

        b->pages = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, page_free);
        g_queue_init(&b->recent);
        b->seed = (guint64) g_random_int() << 32 | g_random_int();
        return b;
}

void bh_callbook_free(BhCallBook *b) {
        if (!b)
                return;
        g_hash_table_unref(b->pages);
        for (guint i = 0; i < BH_CALLERS_CALLS; i++)
                g_free(b->names[i]);
        g_free(b);
}

const char *bh_callbook_name(BhCallBook *b, guint16 call) {
        guint at = call % BH_CALLERS_CALLS, number = at % BH_CALLERS_COMPAT;
        gboolean compat = at >= BH_CALLERS_COMPAT;

        if (!b->names[at]) {
                char *name = seccomp_syscall_resolve_num_arch(compat ? SCMP_ARCH_X86 : SCMP_ARCH_X86_64, (int) number);

                if (number == BH_CALLERS_BEYOND)
                        b->names[at] = g_strdup(compat ? "unknown/32" : "unknown");
                else if (name)
                        b->names[at] = g_strconcat(name, compat ? "/32" : "", NULL);
                else
                        b->names[at] = g_strdup_printf("syscall_%u%s", number, compat ? "/32" : "");
                free(name);
        }
        return b->names[at];
}

static void drop(BhCallBook *b, Page *p) {
        g_queue_unlink(&b->recent, &p->link);
        b->stats.models -= p->model != NULL;
        b->stats.bytes -= p->model_bytes;
        b->stats.evicted++;
        g_hash_table_remove(b->pages, p->key);
}

static Page *page_of(BhCallBook *b, const BhCallBookOf *of) {
        gboolean named = *of->workload != '\0';
        g_autofree char *key = g_strdup_printf("%s\n%s\n%s\n%s\n%s", named ? of->application : "", of->workload, of->image_digest, named ? "" : of->container_id, of->exe);
        Page *p = g_hash_table_lookup(b->pages, key);

        if (p) {
                g_queue_unlink(&b->recent, &p->link);
                g_queue_push_head_link(&b->recent, &p->link);
                return p;
        }
        if (g_hash_table_size(b->pages) >= BH_CALLBOOK_MAX)
                drop(b, b->recent.tail->data);
        p = g_new0(Page, 1);
        p->key = g_steal_pointer(&key);
        p->link.data = p;
        if (b->stats.models < BH_CALLBOOK_MODELS) {
                p->model = bh_calls_new(FALSE);
                p->orders = g_new0(Order, BH_CALLBOOK_ORDERS);
                b->stats.models++;
        } else {
                b->stats.refused++;
        }
        g_hash_table_insert(b->pages, p->key, p);
        g_queue_push_head_link(&b->recent, &p->link);
        return p;
}

/* ---- what is told ---- */

typedef struct {
        BhCallBook *book;
        void (*told)(const BhCallFact *fact, gpointer data);
        gpointer data;
        guint n; /* sequences of this window */
} Telling;

static void tell(Telling *t, const BhCallFact *f) {
        t->book->stats.told++;
        t->told(f, t->data);
}

/* FALSE: enough was told of this window. */
static gboolean may_tell(Telling *t) {
        if (t->n++ < BH_CALLBOOK_TOLD)
                return TRUE;
        t->book->stats.left++;
        return FALSE;
}

static void tell_calls(Telling *t, Page *p, const BhCallerWindow *w) {
        for (guint i = 0; i < w->n; i++) {
                guint at = w->calls[i].call % BH_CALLERS_CALLS;
                const char *name = bh_callbook_name(t->book, (guint16) at);
                BhCallFact f = { .kind = "syscall", .count = w->calls[i].count };
                char *slash;

                if (!(p->known[at / 64] >> (at % 64) & 1)) {
                        p->known[at / 64] |= 1ull << (at % 64);
                        p->fresh_at = p->windows;
                }
                g_strlcpy(f.object, name, sizeof(f.object));
                if ((slash = strchr(f.object, '/'))) {
                        *slash = '\0';
                        g_strlcpy(f.detail, "32-bit", sizeof(f.detail));
                }
                tell(t, &f);
        }
}

/* The power of four that is below: what is told has few different numbers. */
static guint32 step_of(guint32 count) {
        guint32 step = 1;

        while (step <= count / 4)
                step *= 4;
        return step;
}

static void tell_model(Telling *t, const Page *p, const BhCallerWindow *w) {
        BhCallScore s;

        bh_calls_score(p->model, w->calls, w->n, &s);
        for (guint i = 0; i < s.n; i++) {
                const BhCallEvidence *e = &s.evidence[i];
                BhCallFact f = { .kind = "sequence", .count = 1 };

                if (e->kind == BH_CALLS_PAIR && e->expected >= BH_CALLBOOK_TOGETHER) {
                        const char *a = bh_callbook_name(t->book, e->a), *b = bh_callbook_name(t->book, e->b);

                        g_snprintf(f.object, sizeof(f.object), "%s + %s", strcmp(a, b) < 0 ? a : b, strcmp(a, b) < 0 ? b : a);
                        g_strlcpy(f.detail, "within 100 ms", sizeof(f.detail));
                } else if (e->kind == BH_CALLS_EXCESS && w->whole && e->count_a / BH_CALLBOOK_EXCESS >= MAX(e->expected, 16)) {
                        g_strlcpy(f.object, bh_callbook_name(t->book, e->a), sizeof(f.object));
                        g_snprintf(f.detail, sizeof(f.detail), "%u times or more within 100 ms", step_of(e->count_a));
                } else {
                        continue;
                }
                if (may_tell(t))
                        tell(t, &f);
        }
}

/* Its place, or a free one; NULL: there is no room. */
static Order *order_at(Page *p, guint64 order, guint64 seed) {
        guint64 at = XXH3_64bits_withSeed(&order, sizeof(order), seed);

        for (guint step = 0; step < BH_CALLBOOK_ORDERS; step++) {
                Order *o = &p->orders[(at + step) % BH_CALLBOOK_ORDERS];

                if (o->order == order)
                        return o;
                if (!o->order)
                        return p->n_orders < BH_CALLBOOK_ORDERS * 3 / 4 ? o : NULL;
        }
        return NULL;
}

static void tell_orders(Telling *t, Page *p, const BhCallerWindow *w) {
        gboolean says = p->windows >= BH_CALLBOOK_WARM && (double) p->orders_once < BH_CALLBOOK_UNSEEN * (double) p->orders_seen;

        for (guint i = 3; i < w->n_order; i++) {
                guint64 order = (guint64) w->order[i - 3] << 48 | (guint64) w->order[i - 2] << 32 | (guint64) w->order[i - 1] << 16 | w->order[i];
                Order *o = order ? order_at(p, order, t->book->seed) : NULL;

                p->orders_seen++;
                if (!o) {
                        /* as if it had come once: with too many different ones nothing is told of any */
                        p->orders_once += order != 0;
                        t->book->stats.left += order != 0;
                        continue;
                }
                if (!o->order) {
                        o->order = order;
                        p->n_orders++;
                        if (says && may_tell(t)) {
                                BhCallFact f = { .kind = "sequence", .count = 1, .detail = "in this order" };

                                g_snprintf(f.object, sizeof(f.object), "%s, %s, %s, %s", bh_callbook_name(t->book, w->order[i - 3]), bh_callbook_name(t->book, w->order[i - 2]),
                                           bh_callbook_name(t->book, w->order[i - 1]), bh_callbook_name(t->book, w->order[i]));
                                tell(t, &f);
                        }
                }
                o->count += o->count < G_MAXUINT32;
                p->orders_once += o->count == 1;
                p->orders_once -= o->count == 2;
        }
}

gboolean bh_callbook_window(BhCallBook *b, const BhCallBookOf *of, const BhCallerWindow *w, void (*told)(const BhCallFact *fact, gpointer data), gpointer data) {
        Telling t = { .book = b, .told = told, .data = data };
        Page *p = page_of(b, of);

        p->windows++;
        b->stats.windows++;
        tell_calls(&t, p, w);
        if (p->model) {
                if (p->windows > BH_CALLBOOK_WARM)
                        tell_model(&t, p, w);
                bh_calls_learn(p->model, w->calls, w->n);
                b->stats.bytes -= p->model_bytes;
                p->model_bytes = bh_calls_bytes(p->model);
                b->stats.bytes += p->model_bytes;
                tell_orders(&t, p, w);
        }
        return p->windows < BH_CALLBOOK_WARM || p->fresh_at > p->windows / 2;
}

void bh_callbook_stats(const BhCallBook *b, BhCallBookStats *out) {
        *out = b->stats;
        out->executables = g_hash_table_size(b->pages);
        out->bytes += out->executables * sizeof(Page) + out->models * BH_CALLBOOK_ORDERS * sizeof(Order);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "account.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "map_each.h"

#define REMEMBERED_MAX 32768u /* like the kernel's map of folds */

typedef struct {
        struct bh_acct_key key;
        struct bh_acct seen;
        struct bh_told told;
        gboolean new_told; /* differs from the map's */
        gint64 gone_at;    /* 0: the cgroup lives */
} Entry;

struct BhAccount {
        BhHooks *hooks;
        int acct_fd, folds_fd, told_fd, spent_fd, cpus;
        struct bh_acct *percpu;
        GHashTable *entries;    /* Entry, by key */
        GHashTable *remembered; /* fold key → last record with it (GBytes) */
        GArray *swept;          /* fold keys that were told and wait for the commit */
        GMutex lock;            /* for totals and entries against readers */
        BhAccountTotals totals;
        guint64 received[BH_EV_KERNEL_MAX];
};

static guint key_hash(gconstpointer p) {
        const struct bh_acct_key *k = p;

        return (guint) (k->cgroup * 0x9e3779b97f4a7c15ull >> 32) ^ k->type;
}

static gboolean key_equal(gconstpointer a, gconstpointer b) {
        return memcmp(a, b, sizeof(struct bh_acct_key)) == 0;
}

BhAccount *bh_account_new(BhHooks *hooks) {
        BhAccount *a = g_new0(BhAccount, 1);

        a->hooks = hooks;
        a->acct_fd = bh_hooks_map(hooks, "acct");
        a->folds_fd = bh_hooks_map(hooks, "folds");
        a->told_fd = bh_hooks_map(hooks, "told");
        a->spent_fd = bh_hooks_map(hooks, "spent");
        a->swept = g_array_new(FALSE, FALSE, sizeof(guint64));
        a->cpus = libbpf_num_possible_cpus();
        a->percpu = g_new0(struct bh_acct, (gsize) a->cpus);
        a->entries = g_hash_table_new_full(key_hash, key_equal, NULL, g_free);
        a->remembered = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, (GDestroyNotify) g_bytes_unref);
        g_mutex_init(&a->lock);

        /* entries of cgroup 0 take what other cgroups' do not fit for, ended ones what is over: they must be there before the maps are full */
        for (guint32 type = 1; type < BH_SPENT_RING + BH_RING_MAX; type++) {
                struct bh_acct_key key = { .type = type }, ended = { .cgroup = BH_ACCT_ENDED, .type = type };
                struct bh_spent none = { 0 };

                if (type < BH_EV_KERNEL_MAX && bh_hooks_state(hooks, type)) {
                        bpf_map_update_elem(a->acct_fd, &key, a->percpu, BPF_NOEXIST);
                        bpf_map_update_elem(a->acct_fd, &ended, a->percpu, BPF_NOEXIST);
                }
                if (type >= BH_SPENT_RING || (type < BH_EV_KERNEL_MAX && bh_hooks_state(hooks, type)))
                        bpf_map_update_elem(a->spent_fd, &key, &none, BPF_NOEXIST);
        }
        return a;
}

void bh_account_free(BhAccount *a) {
        if (!a)
                return;
        g_hash_table_unref(a->entries);
        g_hash_table_unref(a->remembered);
        g_array_unref(a->swept);
        g_mutex_clear(&a->lock);
        g_free(a->percpu);
        g_free(a);
}

static void add(struct bh_acct *to, const struct bh_acct *x) {
        to->generated += x->generated;
        to->delivered += x->delivered;
        to->folded += x->folded;
        to->over += x->over;
        to->over_bytes += x->over_bytes;
        for (guint i = 0; i < BH_LOST_MAX; i++)
                to->lost[i] += x->lost[i];
}

void bh_account_received(BhAccount *a, const struct bh_rec *rec, guint32 len) {
        if (rec->type < BH_EV_KERNEL_MAX)
                a->received[rec->type]++;
        if (!rec->fold_key)
                return;
        if (g_hash_table_size(a->remembered) >= REMEMBERED_MAX && !g_hash_table_contains(a->remembered, &rec->fold_key))
                return; /* repeats of it will be reported without details */

        guint64 *key = g_memdup2(&rec->fold_key, sizeof(*key));
        g_hash_table_replace(a->remembered, key, g_bytes_new(rec, len));
}

static Entry *entry(BhAccount *a, const struct bh_acct_key *key) {
        Entry *e = g_hash_table_lookup(a->entries, key);

        if (e)
                return e;
        e = g_new0(Entry, 1);
        e->key = *key;
        bpf_map_lookup_elem(a->told_fd, key, &e->told);
        g_mutex_lock(&a->lock);
        g_hash_table_insert(a->entries, &e->key, e);
        g_mutex_unlock(&a->lock);
        return e;
}

static guint tell(Entry *e, void (*news)(const BhAccountNews *, gpointer), gpointer data) {
        BhAccountNews n = { .cgroup = e->key.cgroup, .type = e->key.type };
        guint told = 0;

        for (n.reason = 0; n.reason < BH_LOST_MAX; n.reason++)
                if (e->seen.lost[n.reason] > e->told.lost[n.reason]) {
                        n.more = e->seen.lost[n.reason] - e->told.lost[n.reason];
                        news(&n, data);
                        e->told.lost[n.reason] = e->seen.lost[n.reason];
                        told++;
                }
        if (e->seen.over > e->told.over) {
                n.reason = BH_LOST_MAX;
                n.more = e->seen.over - e->told.over;
                n.bytes = e->seen.over_bytes - e->told.over_bytes;
                news(&n, data);
                e->told.over = e->seen.over;
                e->told.over_bytes = e->seen.over_bytes;
                told++;
        }
        e->new_told |= told != 0;
        return told;
}

/* Moves the counts of an entry whose cgroup is gone to the sum of those. */
static void bury(BhAccount *a, const struct bh_acct_key *key) {
        struct bh_acct_key ended = { .cgroup = BH_ACCT_ENDED, .type = key->type };
        Entry *e = g_hash_table_lookup(a->entries, key);

        if (bpf_map_lookup_elem(a->acct_fd, &ended, a->percpu))
                return; /* kept where it is rather than forgotten */
        add(&a->percpu[0], &e->seen);
        if (bpf_map_update_elem(a->acct_fd, &ended, a->percpu, BPF_EXIST))
                return;
        bpf_map_delete_elem(a->acct_fd, key);
        bpf_map_delete_elem(a->told_fd, key);
        bpf_map_delete_elem(a->spent_fd, key);
        for (guint32 ring = 0; ring < BH_RING_MAX; ring++) {
                struct bh_acct_key share = { .cgroup = key->cgroup, .type = BH_SPENT_RING + ring };

                bpf_map_delete_elem(a->spent_fd, &share);
        }
        g_mutex_lock(&a->lock);
        g_hash_table_remove(a->entries, key);
        g_mutex_unlock(&a->lock);
}

typedef struct {
        BhAccount *account;
        BhAccountTotals *now;
        GArray *dead; /* keys */
        gint64 time_us;
        void (*news)(const BhAccountNews *, gpointer);
        gpointer data;
        guint told;
} Update;

static void update_entry(const void *at, const void *percpu, gpointer data) {
        Update *u = data;
        const struct bh_acct *counts = percpu;
        struct bh_acct_key key = *(const struct bh_acct_key *) at;
        struct bh_acct sum = { 0 };

        if (key.type >= BH_EV_KERNEL_MAX)
                return;
        for (int c = 0; c < u->account->cpus; c++)
                add(&sum, &counts[c]);
        add(&u->now->sum[key.type], &sum);
        u->now->entries++;
        if (key.cgroup == BH_ACCT_ENDED)
                return;

        Entry *e = entry(u->account, &key);
        g_mutex_lock(&u->account->lock);
        e->seen = sum;
        g_mutex_unlock(&u->account->lock);
        u->told += tell(e, u->news, u->data);
        if (e->gone_at && u->time_us - e->gone_at > 10 * G_USEC_PER_SEC)
                g_array_append_val(u->dead, key);
}

guint bh_account_update(BhAccount *a, void (*news)(const BhAccountNews *, gpointer), gpointer data) {
        g_autofree BhAccountTotals *now = g_new0(BhAccountTotals, 1);
        g_autoptr(GArray) dead = g_array_new(FALSE, FALSE, sizeof(struct bh_acct_key));
        Update u = { .account = a, .now = now, .dead = dead, .time_us = g_get_monotonic_time(), .news = news, .data = data };

        memcpy(now->received, a->received, sizeof(now->received));
        now->recursion = bh_hooks_recursion_misses(a->hooks);
        G_STATIC_ASSERT(sizeof(struct bh_acct) % 8 == 0);
        if (!bh_map_each(a->acct_fd, sizeof(struct bh_acct_key), (guint) a->cpus * (guint) sizeof(struct bh_acct), update_entry, &u)) {
                bh_warn("cannot read the kernel's counts; those of a second ago stand", "error", g_strerror(errno));
                return u.told;
        }
        for (guint i = 0; i < dead->len; i++)
                bury(a, &g_array_index(dead, struct bh_acct_key, i));
        g_mutex_lock(&a->lock);
        a->totals = *now;
        g_mutex_unlock(&a->lock);
        return u.told;
}

void bh_account_cgroup_gone(BhAccount *a, guint64 cgroup) {
        for (guint32 type = 1; type < BH_EV_KERNEL_MAX; type++) {
                struct bh_acct_key key = { .cgroup = cgroup, .type = type };
                Entry *e = g_hash_table_lookup(a->entries, &key);

                /* one that no update has seen yet: it is looked at then, marked already */
                if (!e && bh_hooks_state(a->hooks, type) && bpf_map_lookup_elem(a->acct_fd, &key, a->percpu) == 0)
                        e = entry(a, &key);
                if (e)
                        e->gone_at = g_get_monotonic_time();
        }
}

static guint64 boottime(void) {
        struct timespec t;

        clock_gettime(CLOCK_BOOTTIME, &t);
        return (guint64) t.tv_sec * 1000000000u + (guint64) t.tv_nsec;
}

typedef struct {
        BhAccount *account;
        guint64 now, window;
        gboolean all;
        void (*repeat)(const struct bh_rec *, guint32, gpointer);
        gpointer data;
        guint told;
} Sweep;

static void sweep_entry(const void *at, const void *value, gpointer data) {
        Sweep *s = data;
        const struct bh_fold *f = value;
        guint64 key = *(const guint64 *) at;

        if (!s->all && (f->last > s->now || s->now - f->last <= 2 * s->window))
                return;
        g_array_append_val(s->account->swept, key);
        if (!f->count)
                return;

        GBytes *last = g_hash_table_lookup(s->account->remembered, &key);
        gsize len = sizeof(struct bh_rec);
        g_autofree struct bh_rec *rec = NULL;

        if (last) {
                rec = g_memdup2(g_bytes_get_data(last, &len), g_bytes_get_size(last));
        } else {
                rec = g_new0(struct bh_rec, 1);
                rec->size = sizeof(*rec);
                rec->type = f->type;
                rec->cgroup = f->cgroup;
                rec->tgid = rec->tid = f->tgid;
                rec->start = f->start;
                rec->fold_key = key;
        }
        rec->ts = MAX(f->last, rec->ts); /* what windows go by is a tick behind */
        rec->count = f->count;
        if (f->bytes)
                rec->a[4] = f->bytes;
        rec->flags |= BH_RF_REPEATS;
        s->repeat(rec, (guint32) len, s->data);
        s->told++;
}

guint bh_account_sweep(BhAccount *a, gboolean all, void (*repeat)(const struct bh_rec *, guint32, gpointer), gpointer data) {
        Sweep s = { .account = a, .now = boottime(), .window = bh_hooks_config(a->hooks)->fold_window, .all = all, .repeat = repeat, .data = data };

        g_array_set_size(a->swept, 0);
        if (!bh_map_each(a->folds_fd, sizeof(guint64), sizeof(struct bh_fold), sweep_entry, &s))
                bh_warn("cannot read the kernel's repeats; they are told later", "error", g_strerror(errno));
        return s.told;
}

void bh_account_commit(BhAccount *a) {
        GHashTableIter i;
        gpointer value;

        for (guint k = 0; k < a->swept->len; k++) {
                guint64 key = g_array_index(a->swept, guint64, k);

                bpf_map_delete_elem(a->folds_fd, &key);
                g_hash_table_remove(a->remembered, &key);
        }
        g_array_set_size(a->swept, 0);
        for (g_hash_table_iter_init(&i, a->entries); g_hash_table_iter_next(&i, NULL, &value); ) {
                Entry *e = value;

                if (e->new_told && bpf_map_update_elem(a->told_fd, &e->key, &e->told, BPF_ANY) == 0)
                        e->new_told = FALSE;
        }
}

void bh_account_copy(BhAccount *a, BhAccountTotals *out) {
        g_mutex_lock(&a->lock);
        *out = a->totals;
        g_mutex_unlock(&a->lock);
}

GArray *bh_account_rows(BhAccount *a) {
        GArray *rows = g_array_new(FALSE, FALSE, sizeof(BhAccountRow));
        GHashTableIter i;
        gpointer value;

        g_mutex_lock(&a->lock);
        for (g_hash_table_iter_init(&i, a->entries); g_hash_table_iter_next(&i, NULL, &value); ) {
                const Entry *e = value;
                guint64 lost = 0;

                for (guint r = 0; r < BH_LOST_MAX; r++)
                        lost += e->seen.lost[r];
                if (lost || e->seen.folded) {
                        BhAccountRow row = { .cgroup = e->key.cgroup, .type = e->key.type, .acct = e->seen };

                        g_array_append_val(rows, row);
                }
        }
        g_mutex_unlock(&a->lock);
        return rows;
}

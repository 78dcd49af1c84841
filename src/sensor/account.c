/* SPDX-License-Identifier: Apache-2.0 */
#include "account.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>
#include <time.h>

#define REMEMBERED_MAX 32768u /* like the kernel's map of folds */

typedef struct {
        struct bh_acct_key key;
        struct bh_acct seen;
        gint64 gone_at; /* 0: the cgroup lives */
} Entry;

struct BhAccount {
        BhHooks *hooks;
        int acct_fd, folds_fd, cpus;
        struct bh_acct *percpu;
        GHashTable *entries;    /* Entry, by key */
        GHashTable *remembered; /* fold key → last record with it (GBytes) */
        struct bh_acct ended[BH_EV_KERNEL_MAX];
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
        a->cpus = libbpf_num_possible_cpus();
        a->percpu = g_new0(struct bh_acct, (gsize) a->cpus);
        a->entries = g_hash_table_new_full(key_hash, key_equal, NULL, g_free);
        a->remembered = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, (GDestroyNotify) g_bytes_unref);
        g_mutex_init(&a->lock);

        /* entries of cgroup 0 take what other cgroups' do not fit for: they must be there before the map is full */
        for (guint32 type = 1; type < BH_EV_KERNEL_MAX; type++) {
                struct bh_acct_key key = { .type = type };

                if (bh_hooks_state(hooks, type))
                        bpf_map_update_elem(a->acct_fd, &key, a->percpu, BPF_NOEXIST);
        }
        return a;
}

void bh_account_free(BhAccount *a) {
        if (!a)
                return;
        g_hash_table_unref(a->entries);
        g_hash_table_unref(a->remembered);
        g_mutex_clear(&a->lock);
        g_free(a->percpu);
        g_free(a);
}

static void add(struct bh_acct *to, const struct bh_acct *x) {
        to->generated += x->generated;
        to->delivered += x->delivered;
        to->folded += x->folded;
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

void bh_account_update(BhAccount *a, void (*lost)(guint64, guint32, guint32, guint64, gpointer), gpointer data) {
        struct bh_acct_key key, *prev = NULL, next;
        BhAccountTotals now = { 0 };
        g_autoptr(GArray) dead = g_array_new(FALSE, FALSE, sizeof(struct bh_acct_key));
        gint64 time_us = g_get_monotonic_time();

        memcpy(now.sum, a->ended, sizeof(now.sum));
        memcpy(now.received, a->received, sizeof(now.received));
        now.recursion = bh_hooks_recursion_misses(a->hooks);
        while (bpf_map_get_next_key(a->acct_fd, prev, &next) == 0) {
                struct bh_acct sum = { 0 };

                key = next;
                prev = &key;
                if (bpf_map_lookup_elem(a->acct_fd, &key, a->percpu) || key.type >= BH_EV_KERNEL_MAX)
                        continue;
                for (int c = 0; c < a->cpus; c++)
                        add(&sum, &a->percpu[c]);
                add(&now.sum[key.type], &sum);
                now.entries++;

                Entry *e = g_hash_table_lookup(a->entries, &key);
                if (!e) {
                        e = g_new0(Entry, 1);
                        e->key = key;
                        g_mutex_lock(&a->lock);
                        g_hash_table_insert(a->entries, &e->key, e);
                        g_mutex_unlock(&a->lock);
                }
                for (guint32 r = 0; r < BH_LOST_MAX; r++)
                        if (sum.lost[r] > e->seen.lost[r])
                                lost(key.cgroup, key.type, r, sum.lost[r] - e->seen.lost[r], data);
                e->seen = sum;
                if (e->gone_at && time_us - e->gone_at > 10 * G_USEC_PER_SEC)
                        g_array_append_val(dead, key);
        }

        g_mutex_lock(&a->lock);
        for (guint i = 0; i < dead->len; i++) {
                const struct bh_acct_key *k = &g_array_index(dead, struct bh_acct_key, i);
                Entry *e = g_hash_table_lookup(a->entries, k);

                add(&a->ended[k->type], &e->seen);
                bpf_map_delete_elem(a->acct_fd, k);
                g_hash_table_remove(a->entries, k);
        }
        a->totals = now;
        g_mutex_unlock(&a->lock);
}

void bh_account_cgroup_gone(BhAccount *a, guint64 cgroup) {
        for (guint32 type = 1; type < BH_EV_KERNEL_MAX; type++) {
                struct bh_acct_key key = { .cgroup = cgroup, .type = type };
                Entry *e = g_hash_table_lookup(a->entries, &key);

                if (e) {
                        e->gone_at = g_get_monotonic_time();
                } else if (bh_hooks_state(a->hooks, type)) {
                        /* not seen by an update yet: look at it then, marked already */
                        struct bh_acct *probe = a->percpu;

                        if (bpf_map_lookup_elem(a->acct_fd, &key, probe) == 0) {
                                e = g_new0(Entry, 1);
                                e->key = key;
                                e->gone_at = g_get_monotonic_time();
                                g_mutex_lock(&a->lock);
                                g_hash_table_insert(a->entries, &e->key, e);
                                g_mutex_unlock(&a->lock);
                        }
                }
        }
}

static guint64 boottime(void) {
        struct timespec t;

        clock_gettime(CLOCK_BOOTTIME, &t);
        return (guint64) t.tv_sec * 1000000000u + (guint64) t.tv_nsec;
}

void bh_account_sweep(BhAccount *a, gboolean all, void (*repeat)(const struct bh_rec *, guint32, gpointer), gpointer data) {
        guint64 now = boottime(), window = bh_hooks_config(a->hooks)->fold_window, key, next, *prev = NULL;
        g_autoptr(GArray) stale = g_array_new(FALSE, FALSE, sizeof(guint64));

        while (bpf_map_get_next_key(a->folds_fd, prev, &next) == 0) {
                struct bh_fold f;

                key = next;
                prev = &key;
                if (bpf_map_lookup_elem(a->folds_fd, &key, &f) == 0 && (all || now - f.last > 2 * window || (f.count && now - f.first > 2 * window)))
                        g_array_append_val(stale, key);
        }
        for (guint i = 0; i < stale->len; i++) {
                struct bh_fold f;

                key = g_array_index(stale, guint64, i);
                if (bpf_map_lookup_elem(a->folds_fd, &key, &f))
                        continue;
                bpf_map_delete_elem(a->folds_fd, &key);
                if (f.count) {
                        GBytes *last = g_hash_table_lookup(a->remembered, &key);
                        gsize len = sizeof(struct bh_rec);
                        g_autofree struct bh_rec *rec = NULL;

                        if (last) {
                                rec = g_memdup2(g_bytes_get_data(last, &len), g_bytes_get_size(last));
                        } else {
                                rec = g_new0(struct bh_rec, 1);
                                rec->size = sizeof(*rec);
                                rec->type = f.type;
                                rec->cgroup = f.cgroup;
                                rec->tgid = rec->tid = f.tgid;
                                rec->start = f.start;
                                rec->fold_key = key;
                        }
                        rec->ts = f.last;
                        rec->count = f.count;
                        if (f.bytes || f.over_budget)
                                rec->a[4] = f.bytes;
                        rec->flags |= f.over_budget ? BH_RF_OVER_BUDGET : BH_RF_REPEATS;
                        repeat(rec, (guint32) len, data);
                }
                g_hash_table_remove(a->remembered, &key);
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

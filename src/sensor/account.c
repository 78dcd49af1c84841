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

guint bh_account_update(BhAccount *a, void (*news)(const BhAccountNews *, gpointer), gpointer data) {
        struct bh_acct_key key, *prev = NULL, next;
        g_autofree BhAccountTotals *now = g_new0(BhAccountTotals, 1);
        g_autoptr(GArray) dead = g_array_new(FALSE, FALSE, sizeof(struct bh_acct_key)), keys = g_array_new(FALSE, FALSE, sizeof(struct bh_acct_key));
        gint64 time_us = g_get_monotonic_time();
        guint told = 0;

        memcpy(now->received, a->received, sizeof(now->received));
        now->recursion = bh_hooks_recursion_misses(a->hooks);
        while (bpf_map_get_next_key(a->acct_fd, prev, &next) == 0) {
                key = next;
                prev = &key;
                if (key.type < BH_EV_KERNEL_MAX)
                        g_array_append_val(keys, key);
        }
        for (guint i = 0; i < keys->len; i++) {
                struct bh_acct sum = { 0 };

                key = g_array_index(keys, struct bh_acct_key, i);
                if (bpf_map_lookup_elem(a->acct_fd, &key, a->percpu))
                        continue;
                for (int c = 0; c < a->cpus; c++)
                        add(&sum, &a->percpu[c]);
                add(&now->sum[key.type], &sum);
                now->entries++;
                if (key.cgroup == BH_ACCT_ENDED)
                        continue;

                Entry *e = entry(a, &key);
                g_mutex_lock(&a->lock);
                e->seen = sum;
                g_mutex_unlock(&a->lock);
                told += tell(e, news, data);
                if (e->gone_at && time_us - e->gone_at > 10 * G_USEC_PER_SEC)
                        g_array_append_val(dead, key);
        }
        for (guint i = 0; i < dead->len; i++)
                bury(a, &g_array_index(dead, struct bh_acct_key, i));
        g_mutex_lock(&a->lock);
        a->totals = *now;
        g_mutex_unlock(&a->lock);
        return told;
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

guint bh_account_sweep(BhAccount *a, gboolean all, void (*repeat)(const struct bh_rec *, guint32, gpointer), gpointer data) {
        guint64 now = boottime(), window = bh_hooks_config(a->hooks)->fold_window, key, next, *prev = NULL;
        guint told = 0;

        g_array_set_size(a->swept, 0);
        while (bpf_map_get_next_key(a->folds_fd, prev, &next) == 0) {
                struct bh_fold f;

                key = next;
                prev = &key;
                if (bpf_map_lookup_elem(a->folds_fd, &key, &f) || (!all && (f.last > now || now - f.last <= 2 * window)))
                        continue;
                g_array_append_val(a->swept, key);
                if (!f.count)
                        continue;

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
                rec->ts = MAX(f.last, rec->ts); /* what windows go by is a tick behind */
                rec->count = f.count;
                if (f.bytes)
                        rec->a[4] = f.bytes;
                rec->flags |= BH_RF_REPEATS;
                repeat(rec, (guint32) len, data);
                told++;
        }
        return told;
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

/* SPDX-License-Identifier: Apache-2.0 */
#include "observe.h"

#include <xxhash.h>

typedef struct {
        guint refs; /* keys of it */
        char *container_id, *workload, *application, *image_digest; /* one allocation, begins at container_id */
        struct Key *rest;
} Group;

/* A key is in one of three lists: `fresh` (never told), `repeats` (told, counted since), `idle`; each in the order of what it waits for. */
typedef struct Key {
        Group *group;
        struct bh_str subject, parent; /* behind the struct */
        guint64 count;
        gint64 first_ns, last_ns, due_us;
        GQueue *in;
        GList link;
        gboolean rest;
} Key;

/* What is looked for, in the event's own memory. */
typedef struct {
        struct bh_str container_id, workload, application, image_digest;
} Description;

struct BhObserve {
        GMutex lock;
        GHashTable *groups; /* Group, by its texts */
        GHashTable *keys;   /* Key, by group, subject, parent */
        GQueue fresh, repeats, idle;
        Group *last;        /* the one found last: events of a container come in rows */
        BhObserveStats stats;
};

static gboolean same(const char *text, struct bh_str s) {
        return strlen(text) == s.len && memcmp(text, s.p, s.len) == 0;
}

static gboolean is_group(const Group *g, const Description *d) {
        return same(g->container_id, d->container_id) && same(g->workload, d->workload) && same(g->application, d->application) && same(g->image_digest, d->image_digest);
}

static guint key_hash(gconstpointer p) {
        const Key *k = p;
        guint64 h = XXH3_64bits_withSeed(k->subject.p, k->subject.len, (XXH64_hash_t) (uintptr_t) k->group);

        return (guint) XXH3_64bits_withSeed(k->parent.p, k->parent.len, h + k->rest);
}

static gboolean str_equal(struct bh_str a, struct bh_str b) {
        return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

static gboolean key_equal(gconstpointer pa, gconstpointer pb) {
        const Key *a = pa, *b = pb;

        return a->group == b->group && a->rest == b->rest && str_equal(a->subject, b->subject) && str_equal(a->parent, b->parent);
}

static guint64 container_hash(const char *id, gsize len) {
        return XXH3_64bits(id, len);
}

BhObserve *bh_observe_new(void) {
        BhObserve *o = g_new0(BhObserve, 1);

        g_mutex_init(&o->lock);
        o->groups = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        o->keys = g_hash_table_new(key_hash, key_equal);
        g_queue_init(&o->fresh);
        g_queue_init(&o->repeats);
        g_queue_init(&o->idle);
        return o;
}

/* Groups of one container (it was described anew) are a list: there are hardly ever two. */
static GSList *groups_of(BhObserve *o, guint64 hash) {
        return g_hash_table_lookup(o->groups, &hash);
}

static void group_unref(BhObserve *o, Group *g) {
        if (--g->refs)
                return;
        if (o->last == g)
                o->last = NULL;

        guint64 hash = container_hash(g->container_id, strlen(g->container_id));
        GSList *left = g_slist_remove(groups_of(o, hash), g);
        if (left)
                g_hash_table_replace(o->groups, g_memdup2(&hash, sizeof(hash)), left);
        else
                g_hash_table_remove(o->groups, &hash);
        g_free(g->container_id);
        g_free(g);
        o->stats.containers--;
}

static void forget(BhObserve *o, Key *k) {
        g_hash_table_remove(o->keys, k);
        g_queue_unlink(k->in, &k->link);
        o->stats.bytes -= k->subject.len + k->parent.len;
        if (k->rest)
                k->group->rest = NULL;
        group_unref(o, k->group);
        g_free(k);
}

void bh_observe_free(BhObserve *o) {
        GQueue *lists[] = { &o->fresh, &o->repeats, &o->idle };

        for (guint i = 0; i < G_N_ELEMENTS(lists); i++)
                while (lists[i]->head)
                        forget(o, lists[i]->head->data);
        g_hash_table_unref(o->keys);
        g_hash_table_unref(o->groups);
        g_mutex_clear(&o->lock);
        g_free(o);
}

static char *put(char **at, struct bh_str s) {
        char *text = *at;

        if (s.len)
                memcpy(text, s.p, s.len);
        text[s.len] = '\0';
        *at += s.len + 1;
        return text;
}

static Group *group_of(BhObserve *o, const Description *d) {
        if (o->last && is_group(o->last, d))
                return o->last;

        guint64 hash = container_hash(d->container_id.p, d->container_id.len);
        GSList *list = groups_of(o, hash);
        for (GSList *l = list; l; l = l->next)
                if (is_group(l->data, d))
                        return o->last = l->data;

        Group *g = g_new0(Group, 1);
        char *at = g->container_id = g_malloc((gsize) d->container_id.len + d->workload.len + d->application.len + d->image_digest.len + 4);
        put(&at, d->container_id);
        g->workload = put(&at, d->workload);
        g->application = put(&at, d->application);
        g->image_digest = put(&at, d->image_digest);
        g_hash_table_replace(o->groups, g_memdup2(&hash, sizeof(hash)), g_slist_prepend(list, g));
        o->stats.containers++;
        return o->last = g;
}

static Key *add_key(BhObserve *o, Group *g, struct bh_str subject, struct bh_str parent, gboolean rest) {
        Key *k = g_malloc0(sizeof(*k) + (gsize) subject.len + parent.len + 2);
        char *at = (char *) (k + 1);

        k->group = g;
        k->subject = (struct bh_str){ put(&at, subject), subject.len };
        k->parent = (struct bh_str){ put(&at, parent), parent.len };
        k->rest = rest;
        k->link.data = k;
        k->in = &o->fresh;
        g_queue_push_tail_link(k->in, &k->link);
        g_hash_table_add(o->keys, k);
        g->refs++;
        o->stats.bytes += subject.len + parent.len;
        return k;
}

/* One for each container that went beyond a bound, so these are bounded by the containers. */
static Key *rest_of(BhObserve *o, Group *g) {
        if (!g->rest) {
                g->rest = add_key(o, g, (struct bh_str){ BH_OBSERVE_REST, 1 }, (struct bh_str){ "", 0 }, TRUE);
                g_strlcpy(o->stats.full, g->container_id, sizeof(o->stats.full));
        }
        return g->rest;
}

static void move(Key *k, GQueue *to, gint64 due_us) {
        g_queue_unlink(k->in, &k->link);
        k->in = to;
        k->due_us = due_us;
        g_queue_push_tail_link(to, &k->link);
}

#define FIELD(e, member) (bh_event_has(e, BH_F_##member) ? (e)->member : (struct bh_str){ "", 0 })

void bh_observe_event(BhObserve *o, const struct bh_event *e, gint64 now_us) {
        if (e->type != BH_EV_EXEC || !bh_event_has(e, BH_F_container_id) || !e->container_id.len || !bh_event_has(e, BH_F_exe))
                return;

        Description d = { e->container_id, FIELD(e, workload), FIELD(e, application), FIELD(e, container_image_digest) };
        Key wanted = { .subject = e->exe, .parent = FIELD(e, parent_exe) };

        g_mutex_lock(&o->lock);
        Group *g = wanted.group = group_of(o, &d);
        Key *k = g_hash_table_lookup(o->keys, &wanted);
        if (!k) {
                gboolean full = g->refs - (g->rest != NULL) >= BH_OBSERVE_PER_CONTAINER || g_hash_table_size(o->keys) >= BH_OBSERVE_KEYS ||
                                o->stats.bytes + wanted.subject.len + wanted.parent.len > BH_OBSERVE_BYTES;

                k = full ? rest_of(o, g) : add_key(o, g, wanted.subject, wanted.parent, FALSE);
        }
        if (k->in == &o->idle)
                move(k, &o->repeats, now_us + BH_OBSERVE_REPEAT_US);
        if (!k->count)
                k->first_ns = (gint64) e->time;
        k->count += e->count;
        k->last_ns = (gint64) e->time;
        o->stats.counted += e->count;
        if (k->rest)
                o->stats.rest += e->count;
        g_mutex_unlock(&o->lock);
}

guint bh_observe_take(BhObserve *o, gboolean all, gint64 now_us, guint max, void (*told)(const BhObservation *what, gpointer data), gpointer data) {
        guint n = 0;

        g_mutex_lock(&o->lock);
        for (; n < max; n++) {
                Key *k = o->fresh.head ? o->fresh.head->data : NULL;

                if (!k && o->repeats.head && (all || ((Key *) o->repeats.head->data)->due_us <= now_us))
                        k = o->repeats.head->data;
                if (!k)
                        break;

                BhObservation what = {
                        .container_id = k->group->container_id,
                        .workload = k->group->workload,
                        .application = k->group->application,
                        .image_digest = k->group->image_digest,
                        .subject = k->subject,
                        .parent = k->parent,
                        .count = k->count,
                        .first_ns = k->first_ns,
                        .last_ns = k->last_ns,
                };
                told(&what, data);
                o->stats.told++;
                k->count = 0;
                move(k, &o->idle, now_us + BH_OBSERVE_QUIET_US);
        }
        for (guint i = 0; i < max && o->idle.head && ((Key *) o->idle.head->data)->due_us <= now_us; i++)
                forget(o, o->idle.head->data);
        g_mutex_unlock(&o->lock);
        return n;
}

void bh_observe_stats(BhObserve *o, BhObserveStats *out) {
        g_mutex_lock(&o->lock);
        *out = o->stats;
        out->keys = g_hash_table_size(o->keys);
        g_mutex_unlock(&o->lock);
}

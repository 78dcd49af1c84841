/* SPDX-License-Identifier: Apache-2.0 */
#include "observe.h"

#include "facts.h"
#include "model/never.h"
#include "rates.h"

#include <xxhash.h>

/* Each has its own bound: a flood of one does not make the others unheard. */
typedef enum { SHARE_OTHERS, SHARE_RATES, SHARE_CALLS, SHARES } Share;

static const guint share_bounds[SHARES] = { BH_OBSERVE_PER_CONTAINER, BH_OBSERVE_RATES, BH_OBSERVE_CALLS };

typedef struct {
        guint refs; /* keys of it */
        guint shares[SHARES]; /* the same, but for `rest` */
        guint often; /* of SHARE_OTHERS, those that come in floods */
        struct bh_str container_id, workload, application, image_digest; /* one allocation, begins at container_id; each ends with a NUL */
        struct Key *rest;
} Group;

/* A key is in one of three lists: `fresh` (never told), `repeats` (told, counted since), `idle`; each in the order of what it waits for. */
typedef struct Key {
        Group *group;
        const char *kind; /* static */
        struct bh_str subject, parent, detail, example; /* behind the struct */
        char *why;        /* there, too */
        guint32 uid;
        Share share;
        gboolean suspicious, often;
        guint recent; /* its place there, if it has one */
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

/* Acts on files come most often: what an equal one led to is found without generalising its path again. */
#define RECENT 2048u

struct BhObserve {
        struct {
                guint64 hash; /* 0: empty */
                Key *key;
        } recent[RECENT];
        guint64 seed; /* drawn at the start: nobody can make two acts equal */
        GMutex lock;
        GHashTable *groups; /* Group, by its texts */
        GHashTable *keys;   /* Key, by group, subject, parent */
        GQueue fresh, repeats, slow, idle; /* slow: repeats of what comes in floods */
        BhRates *rates;
        Group *last;        /* the one found last: events of a container come in rows */
        BhObserveStats stats;
};

static gboolean same(const char *text, struct bh_str s) {
        return strlen(text) == s.len && memcmp(text, s.p, s.len) == 0;
}

static gboolean str_equal(struct bh_str a, struct bh_str b) {
        return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

static gboolean is_group(const Group *g, const Description *d) {
        return str_equal(g->container_id, d->container_id) && str_equal(g->workload, d->workload) && str_equal(g->application, d->application) && str_equal(g->image_digest, d->image_digest);
}

static guint key_hash(gconstpointer p) {
        const Key *k = p;
        guint64 h = XXH3_64bits_withSeed(k->subject.p, k->subject.len, (XXH64_hash_t) (uintptr_t) k->group);

        h = XXH3_64bits_withSeed(k->detail.p, k->detail.len, h + k->uid);
        return (guint) XXH3_64bits_withSeed(k->parent.p, k->parent.len, h + (guint64) k->rest + 2 * (guint64) k->suspicious + (guint8) k->kind[0] * 4ull);
}

static gboolean key_equal(gconstpointer pa, gconstpointer pb) {
        const Key *a = pa, *b = pb;

        return a->group == b->group && a->rest == b->rest && a->uid == b->uid && a->suspicious == b->suspicious && g_str_equal(a->kind, b->kind) && str_equal(a->subject, b->subject) &&
               str_equal(a->parent, b->parent) && str_equal(a->detail, b->detail);
}

static guint64 container_hash(const char *id, gsize len) {
        return XXH3_64bits(id, len);
}

BhObserve *bh_observe_new(void) {
        BhObserve *o = g_new0(BhObserve, 1);

        g_mutex_init(&o->lock);
        o->seed = (guint64) g_random_int() << 32 | g_random_int();
        o->groups = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        o->keys = g_hash_table_new(key_hash, key_equal);
        g_queue_init(&o->fresh);
        g_queue_init(&o->repeats);
        g_queue_init(&o->slow);
        g_queue_init(&o->idle);
        o->rates = bh_rates_new();
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

        guint64 hash = container_hash(g->container_id.p, g->container_id.len);
        GSList *left = g_slist_remove(groups_of(o, hash), g);
        if (left)
                g_hash_table_replace(o->groups, g_memdup2(&hash, sizeof(hash)), left);
        else
                g_hash_table_remove(o->groups, &hash);
        g_free((char *) g->container_id.p);
        g_free(g);
        o->stats.containers--;
}

static gsize bytes_of(const Key *k) {
        return k->subject.len + k->parent.len + k->detail.len + k->example.len;
}

static Share share_of(const char *kind) {
        return g_str_equal(kind, "rate") ? SHARE_RATES : g_str_equal(kind, "syscall") ? SHARE_CALLS : SHARE_OTHERS;
}

static void enter(const Key *k, gint sign) {
        k->group->shares[k->share] += (guint) sign;
        k->group->often += (guint) (sign * (k->often && k->share == SHARE_OTHERS));
}

static void forget(BhObserve *o, Key *k) {
        if (o->recent[k->recent].key == k)
                o->recent[k->recent].hash = 0;
        g_hash_table_remove(o->keys, k);
        g_queue_unlink(k->in, &k->link);
        o->stats.bytes -= bytes_of(k);
        if (k->rest)
                k->group->rest = NULL;
        else
                enter(k, -1);
        group_unref(o, k->group);
        g_free(k);
}

void bh_observe_free(BhObserve *o) {
        GQueue *lists[] = { &o->fresh, &o->repeats, &o->slow, &o->idle };

        for (guint i = 0; i < G_N_ELEMENTS(lists); i++)
                while (lists[i]->head)
                        forget(o, lists[i]->head->data);
        g_hash_table_unref(o->keys);
        g_hash_table_unref(o->groups);
        bh_rates_free(o->rates);
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
        char *at = g_malloc((gsize) d->container_id.len + d->workload.len + d->application.len + d->image_digest.len + 4);
        g->container_id = (struct bh_str){ put(&at, d->container_id), d->container_id.len };
        g->workload = (struct bh_str){ put(&at, d->workload), d->workload.len };
        g->application = (struct bh_str){ put(&at, d->application), d->application.len };
        g->image_digest = (struct bh_str){ put(&at, d->image_digest), d->image_digest.len };
        g_hash_table_replace(o->groups, g_memdup2(&hash, sizeof(hash)), g_slist_prepend(list, g));
        o->stats.containers++;
        return o->last = g;
}

/* Lists have NULs between their texts; for people they are one line. */
static struct bh_str example_of(struct bh_str s) {
        while (s.len && !s.p[s.len - 1])
                s.len--;
        return (struct bh_str){ s.p, MIN(s.len, BH_OBSERVE_EXAMPLE) };
}

static Key *add_key(BhObserve *o, Group *g, const BhFact *f, const char *why, const char *rule, gboolean rest) {
        struct bh_str example = example_of(f->example);
        gsize why_len = why ? strlen(why) : 0, rule_len = rule ? strlen(rule) + strlen("rule ") : 0;
        Key *k = g_malloc0(sizeof(*k) + (gsize) f->subject.len + f->parent.len + f->detail.len + example.len + MAX(why_len, rule_len) + 5);
        char *at = (char *) (k + 1);

        k->group = g;
        k->kind = f->kind;
        k->subject = (struct bh_str){ put(&at, f->subject), f->subject.len };
        k->parent = (struct bh_str){ put(&at, f->parent), f->parent.len };
        k->detail = (struct bh_str){ put(&at, f->detail), f->detail.len };
        k->example = (struct bh_str){ at, example.len };
        put(&at, example);
        for (guint i = 0; i < example.len; i++)
                if (!k->example.p[i])
                        ((char *) k->example.p)[i] = ' ';
        k->why = at;
        if (why)
                put(&at, (struct bh_str){ why, (guint32) why_len });
        else if (rule)
                g_snprintf(k->why, rule_len + 1, "rule %s", rule);
        k->uid = f->uid;
        k->suspicious = why || rule;
        k->often = f->often;
        k->share = share_of(f->kind);
        k->rest = rest;
        if (!rest)
                enter(k, 1);
        k->link.data = k;
        k->in = &o->fresh;
        g_queue_push_tail_link(k->in, &k->link);
        g_hash_table_add(o->keys, k);
        g->refs++;
        o->stats.bytes += bytes_of(k);
        return k;
}

/* One for each container that went beyond a bound, so these are bounded by the containers. */
static Key *rest_of(BhObserve *o, Group *g) {
        if (!g->rest) {
                const BhFact all = { .kind = "exec", .subject = { BH_OBSERVE_REST, 1 }, .parent = { "", 0 }, .detail = { "", 0 }, .example = { "", 0 } };

                g->rest = add_key(o, g, &all, NULL, NULL, TRUE);
                g_strlcpy(o->stats.full, g->container_id.p, sizeof(o->stats.full));
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

/* When, and how often. */
typedef struct {
        guint64 count;
        gint64 first_ns, last_ns;
} Times;

static Times times_of(const struct bh_event *e) {
        return (Times){ e->count, (gint64) e->time, (gint64) e->time };
}

static void add(BhObserve *o, Key *k, Times t, gint64 now_us) {
        if (k->in == &o->idle)
                move(k, k->often ? &o->slow : &o->repeats, now_us + (k->often ? BH_OBSERVE_OFTEN_US : BH_OBSERVE_REPEAT_US));
        if (!k->count)
                k->first_ns = t.first_ns;
        k->count += t.count;
        k->last_ns = t.last_ns;
        o->stats.counted += t.count;
        if (k->rest)
                o->stats.rest += t.count;
}

static Key *count(BhObserve *o, Times t, const Description *d, const BhFact *f, const char *why, const char *rule, gint64 now_us) {
        Key wanted = { .kind = f->kind, .subject = f->subject, .parent = f->parent, .detail = f->detail, .uid = f->uid, .suspicious = why || rule };
        Group *g = wanted.group = group_of(o, d);
        Key *k = g_hash_table_lookup(o->keys, &wanted);

        if (!k) {
                Share share = share_of(f->kind);

                if (g->shares[SHARE_OTHERS] >= BH_OBSERVE_ARGUMENTS && f->detail.len && !same(BH_OBSERVE_REST, f->detail) && g_str_equal(f->kind, "exec")) {
                        BhFact bare = *f;

                        bare.detail = (struct bh_str){ BH_OBSERVE_REST, 1 };
                        return count(o, t, d, &bare, why, rule, now_us);
                }
                gboolean full = g->shares[share] >= share_bounds[share] || (share == SHARE_OTHERS && f->often && g->often >= BH_OBSERVE_PER_CONTAINER / 2) || g_hash_table_size(o->keys) >= BH_OBSERVE_KEYS ||
                                o->stats.bytes + f->subject.len + f->parent.len + f->detail.len + BH_OBSERVE_EXAMPLE > BH_OBSERVE_BYTES;

                k = full ? rest_of(o, g) : add_key(o, g, f, why, rule, FALSE);
        }
        add(o, k, t, now_us);
        return k;
}

typedef struct {
        BhObserve *o;
        const struct bh_event *e;
        const Description *d;
        gint64 now_us;
} Reaching;

/* Of what the runtime does, which stands in a container's account as well, nothing is told. */
static void on_rate(BhRate which, guint64 step, guint64 now, gpointer data) {
        const Reaching *r = data;
        BhFact f = { .kind = "rate", .parent = r->e->type == BH_EV_EXEC ? FIELD(r->e, parent_exe) : FIELD(r->e, exe), .example = { "", 0 } };
        const char *title = bh_rate_title(which);
        char text[64];

        if (bh_never_runtime(r->e))
                return;
        bh_rate_step(which, step, text);
        f.subject = (struct bh_str){ title, (guint32) strlen(title) };
        f.detail = (struct bh_str){ text, (guint32) strlen(text) };
        count(r->o, (Times){ 1, (gint64) r->e->time, (gint64) r->e->time }, r->d, &f, NULL, NULL, r->now_us);
}

/* With the lock. */
static void count_rates(BhObserve *o, const struct bh_event *e, const Description *d, gint64 now_us) {
        Reaching r = { o, e, d, now_us };
        BhRate which[2];
        guint64 much[2];
        guint n = bh_rates_of(e, which, much);

        if (!n)
                return;
        struct bh_str exe = e->type == BH_EV_EXEC ? FIELD(e, parent_exe) : FIELD(e, exe);
        guint64 who = XXH3_64bits_withSeed(exe.p, exe.len, XXH3_64bits_withSeed(d->container_id.p, d->container_id.len, o->seed));
        for (guint i = 0; i < n; i++)
                bh_rates_add(o->rates, who, which[i], much[i], e->time, on_rate, &r);
}

/* Of all that a fact about a file is made from. 0: it is not looked for. */
static guint64 file_hash(const BhObserve *o, const struct bh_event *e, const Group *g, const char *rule) {
        gint64 ret = bh_event_has(e, BH_F_ret) ? e->ret : 0;
        const guint64 rest[] = { (guint64) (uintptr_t) g, bh_event_has(e, BH_F_flags) ? e->flags : 0, bh_event_has(e, BH_F_open_flags) ? e->open_flags : 0, ret < 0 ? (guint64) ret : 0, e->type, rule != NULL };
        struct bh_str texts[] = { FIELD(e, exe), FIELD(e, parent_exe), FIELD(e, path), FIELD(e, path2) };
        guint64 h = XXH3_64bits_withSeed(rest, sizeof(rest), o->seed);

        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                h = XXH3_64bits_withSeed(texts[i].p, texts[i].len, h);
        return h;
}

/* With the lock. */
static void count_file(BhObserve *o, const struct bh_event *e, const Description *d, const char *rule, gint64 now_us) {
        BhFact facts[BH_FACTS_MAX];
        gboolean last = o->last && is_group(o->last, d);
        guint64 hash = last ? file_hash(o, e, o->last, rule) : 0;
        guint slot = hash % RECENT;
        if (hash && o->recent[slot].hash == hash) {
                add(o, o->recent[slot].key, times_of(e), now_us);
        } else if (bh_facts_of(e, facts)) {
                Key *k = count(o, times_of(e), d, &facts[0], bh_never_learn(e), rule, now_us);

                if (!k->rest) {
                        /* its group is the last one now, if it was not before */
                        if (!last)
                                hash = file_hash(o, e, o->last, rule);
                        if (o->recent[k->recent].key == k)
                                o->recent[k->recent].hash = 0;
                        k->recent = hash % RECENT;
                        o->recent[k->recent].hash = hash;
                        o->recent[k->recent].key = k;
                }
        }
}

void bh_observe_event(BhObserve *o, const struct bh_event *e, const char *rule, gint64 now_us) {
        BhFact facts[BH_FACTS_MAX];
        gboolean file = e->type >= BH_EV_OPEN && e->type <= BH_EV_SETXATTR;

        if (!bh_event_has(e, BH_F_container_id) || !e->container_id.len)
                return;
        const Description d = { e->container_id, FIELD(e, workload), FIELD(e, application), FIELD(e, container_image_digest) };
        if (file) {
                g_mutex_lock(&o->lock);
                if (bh_facts_says_file(e))
                        count_file(o, e, &d, rule, now_us);
                if (bh_facts_tried_file(e))
                        count_rates(o, e, &d, now_us);
                g_mutex_unlock(&o->lock);
                return;
        }

        guint n = bh_facts_of(e, facts);
        const char *why = n ? bh_never_learn(e) : NULL;
        BhRate which[2];
        guint64 much[2];

        if (!n && !bh_rates_of(e, which, much))
                return;
        g_mutex_lock(&o->lock);
        for (guint i = 0; i < n; i++)
                count(o, times_of(e), &d, &facts[i], why, rule, now_us);
        count_rates(o, e, &d, now_us);
        g_mutex_unlock(&o->lock);
}

static struct bh_str borrowed(const char *text) {
        return (struct bh_str){ text, (guint32) strlen(text) };
}

void bh_observe_act(BhObserve *o, const BhObservation *what, gint64 now_us) {
        const Description d = { borrowed(what->container_id), borrowed(what->workload), borrowed(what->application), borrowed(what->image_digest) };
        const BhFact f = { .kind = what->kind, .subject = what->subject, .parent = what->parent, .detail = what->detail, .example = what->example, .uid = what->uid, .often = TRUE };

        g_mutex_lock(&o->lock);
        count(o, (Times){ what->count, what->first_ns, what->last_ns }, &d, &f, what->suspicious ? what->why : NULL, NULL, now_us);
        g_mutex_unlock(&o->lock);
}

static Key *due_of(GQueue *list, gboolean all, gint64 now_us) {
        Key *k = list->head ? list->head->data : NULL;

        return k && (all || k->due_us <= now_us) ? k : NULL;
}

guint bh_observe_take(BhObserve *o, gboolean all, gint64 now_us, guint max, void (*told)(const BhObservation *what, gpointer data), gpointer data) {
        guint n = 0;

        g_mutex_lock(&o->lock);
        for (; n < max; n++) {
                Key *k = o->fresh.head ? o->fresh.head->data : NULL;

                if (!k && !(k = due_of(&o->repeats, all, now_us)) && !(k = due_of(&o->slow, all, now_us)))
                        break;

                BhObservation what = {
                        .container_id = k->group->container_id.p,
                        .workload = k->group->workload.p,
                        .application = k->group->application.p,
                        .image_digest = k->group->image_digest.p,
                        .subject = k->subject,
                        .kind = k->kind,
                        .parent = k->parent,
                        .detail = k->detail,
                        .example = k->example,
                        .uid = k->uid,
                        .suspicious = k->suspicious,
                        .why = k->why,
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
        out->displaced = bh_rates_displaced(o->rates);
        g_mutex_unlock(&o->lock);
}

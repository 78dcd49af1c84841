/* SPDX-License-Identifier: Apache-2.0 */
#include "model/facet.h"

#include <math.h>
#include <string.h>
#include <xxhash.h>

#include "model/never.h"
#include "model/template.h"

#define DAY_NS 86400e9
#define Z_95 1.6448536 /* of the normal distribution, one-sided */
#define OVERHEAD 40 /* of an allocation and of its place in the table */

const BhModelScale bh_model_scale_default = {
        .slot_ns = 10e9,
        .bound = 1e-3,
        .day_bound = 0.1,
        .alert_day = 0.1,
        .starting_ns = 60 * G_GINT64_CONSTANT(1000000000),
        .hold_ns = 20 * G_GINT64_CONSTANT(1000000000),
        .age_ns = 90 * G_GINT64_CONSTANT(86400000000000),
};

static guint64 hash_of(guint family, const char *actor, const char *object, const char *detail, guint32 uid) {
        guint64 h = XXH3_64bits_withSeed(actor, strnlen(actor, BH_FACET_TEXT), (guint64) family << 32 | uid);

        h = XXH3_64bits_withSeed(object, strnlen(object, BH_FACET_TEXT), h);
        return XXH3_64bits_withSeed(detail, strnlen(detail, BH_FACET_TEXT), h);
}

/* What is beyond the bound is cut in items, and so makes no difference in what is looked for. */
static gboolean same(const char *a, const char *b) {
        return strncmp(a, b, BH_FACET_TEXT) == 0;
}

static guint item_hash(gconstpointer p) {
        return (guint) ((const BhItem *) p)->hash;
}

static gboolean item_equal(gconstpointer pa, gconstpointer pb) {
        const BhItem *a = pa, *b = pb;

        return a->hash == b->hash && a->family == b->family && a->uid == b->uid && same(a->object, b->object) && same(a->actor, b->actor) && same(a->detail, b->detail);
}

BhFacets *bh_facets_new(void) {
        BhFacets *f = g_new0(BhFacets, 1);

        f->items = g_hash_table_new_full(item_hash, item_equal, g_free, NULL);
        return f;
}

void bh_facets_free(BhFacets *f) {
        if (!f)
                return;
        g_hash_table_unref(f->items);
        g_free(f);
}

static BhItem *find(const BhFacets *f, guint family, const char *actor, const char *object, const char *detail, guint32 uid) {
        const BhItem wanted = { .hash = hash_of(family, actor, object, detail, uid), .family = (guint8) family, .uid = uid, .actor = actor, .object = object, .detail = detail };

        return g_hash_table_lookup(f->items, &wanted);
}

/* What stands for this act when there are too many like it. FALSE: nothing may. */
static gboolean wild_of(const BhAct *a, char out[BH_TEMPLATE_MAX]) {
        if (a->family == BH_FAMILY_FILE)
                return bh_template_wild(a->object, strlen(a->object), out);
        if (a->family != BH_FAMILY_ARGS || bh_never_is_shell(a->actor, strlen(a->actor)))
                return FALSE;
        strcpy(out, BH_FACET_ANY);
        return TRUE;
}

BhItem *bh_facets_find(const BhFacets *f, const BhAct *a) {
        char wild[BH_TEMPLATE_MAX];
        BhItem *item = find(f, a->family, a->actor, a->object, a->detail, a->uid);

        return item || !wild_of(a, wild) ? item : find(f, a->family, a->actor, wild, a->detail, a->uid);
}

/* One of q1 or q2. */
static gboolean is_rare(const BhItem *i, guint units) {
        return (i->flags & BH_ITEM_LEARNED) && i->units == units && !(i->flags & (BH_ITEM_ACCEPTED | BH_ITEM_BEFORE | BH_ITEM_STARTING));
}

static void count(BhFacets *f, const BhItem *i, gint sign) {
        BhFacet *facet = &f->families[i->family];

        facet->items += (guint) sign;
        facet->learned += (guint) (sign * !!(i->flags & BH_ITEM_LEARNED));
        facet->accepted += (guint) (sign * ((i->flags & (BH_ITEM_LEARNED | BH_ITEM_ACCEPTED)) == (BH_ITEM_LEARNED | BH_ITEM_ACCEPTED)));
        facet->singles += (guint) (sign * is_rare(i, 1));
        facet->doubles += (guint) (sign * is_rare(i, 2));
}

void bh_facets_flag(BhFacets *f, BhItem *i, guint set, guint clear) {
        count(f, i, -1);
        i->flags = (guint16) ((i->flags & ~clear) | set);
        count(f, i, 1);
}

/* Numbers of replicas are a weak hash: mixed once more (Murmur3's finaliser). */
static guint64 replica_bit(guint32 id) {
        id = (id ^ id >> 16) * 0x85ebca6bu;
        id = (id ^ id >> 13) * 0xc2b2ae35u;
        return G_GUINT64_CONSTANT(1) << ((id ^ id >> 16) & 63);
}

guint bh_item_replicas(const BhItem *i) {
        guint set = (guint) __builtin_popcountll(i->replica_bits);

        if (i->n_replicas < BH_FACET_REPLICAS)
                return i->n_replicas;
        return set == 64 ? BH_FACET_CROWD : MAX(BH_FACET_REPLICAS, (guint) lrint(-64 * log(1 - set / 64.0)));
}

static guint32 short_of(guint64 replica) {
        return (guint32) (replica ^ replica >> 32);
}

gboolean bh_item_shown_by(const BhItem *i, guint64 replica) {
        for (guint k = 0; k < i->n_replicas; k++)
                if (i->replicas[k] == short_of(replica))
                        return TRUE;
        return FALSE;
}

static void show(BhItem *i, guint64 replica) {
        guint32 short_id = short_of(replica);

        if (!replica)
                return;
        i->replica_bits |= replica_bit(short_id);
        if (bh_item_shown_by(i, replica))
                return;
        if (i->n_replicas < BH_FACET_REPLICAS)
                i->replicas[i->n_replicas++] = short_id;
}

void bh_facets_touch(BhFacets *f, BhItem *i, const BhAct *a, const BhModelScale *scale) {
        gint64 first = (gint64) ((double) a->first_ns / scale->slot_ns), last = (gint64) ((double) a->last_ns / scale->slot_ns);
        /* other containers at the same time, and what is told late of a time that others have shown, are no further trials */
        guint more = first > i->slot ? 1 + (guint) (last > first) : (guint) (last > i->slot);

        i->count += a->count;
        f->families[i->family].acts += a->count;
        i->first_ns = MIN(i->first_ns, a->first_ns);
        i->last_ns = MAX(i->last_ns, a->last_ns);
        show(i, a->replica);
        gboolean runs = (i->flags & BH_ITEM_STARTING) && !a->starting;
        if (!more && !runs && !(i->flags & BH_ITEM_INHERITED))
                return;
        count(f, i, -1);
        i->units = MIN(i->units + more, G_MAXUINT16);
        i->slot = MAX(i->slot, last);
        if (runs) {
                /* from now on it is one of the running time's, which has shown it once */
                i->flags = (guint16) (i->flags & ~(guint) BH_ITEM_STARTING);
                i->units = 1 + (last > first);
        }
        i->flags = (guint16) (i->flags & ~(guint) BH_ITEM_INHERITED);
        count(f, i, 1);
}

static gsize text_len(const char *text) {
        return text ? MIN(strlen(text), BH_FACET_TEXT) : 0;
}

static const char *put(char **at, const char *text, gsize len) {
        char *begin = *at;

        if (len)
                memcpy(begin, text, len);
        begin[len] = '\0';
        *at += len + 1;
        return begin;
}

/* Texts beyond their bound are cut. */
static BhItem *make(guint family, const char *actor, const char *object, const char *detail, guint32 uid, const char *example, const char *why, gsize *size) {
        const char *texts[] = { actor, object, detail, example, why };
        gsize lens[G_N_ELEMENTS(texts)], sum = sizeof(BhItem) + G_N_ELEMENTS(texts);

        for (guint k = 0; k < G_N_ELEMENTS(texts); k++)
                sum += lens[k] = text_len(texts[k]);
        BhItem *i = g_malloc0(sum);
        char *at = (char *) (i + 1);
        i->actor = put(&at, actor, lens[0]);
        i->object = put(&at, object, lens[1]);
        i->detail = put(&at, detail, lens[2]);
        i->example = put(&at, example, lens[3]);
        i->why = put(&at, why, lens[4]);
        i->uid = uid;
        i->family = (guint8) family;
        i->hash = hash_of(family, i->actor, i->object, i->detail, uid);
        *size = sum + OVERHEAD;
        return i;
}

static gsize size_of(const BhItem *i) {
        return sizeof(*i) + strlen(i->actor) + strlen(i->object) + strlen(i->detail) + strlen(i->example) + strlen(i->why) + 5 + OVERHEAD;
}

void bh_facets_remove(BhFacets *f, BhItem *i) {
        count(f, i, -1);
        f->bytes -= size_of(i);
        g_hash_table_remove(f->items, i);
}

static void enter(BhFacets *f, BhItem *i, gsize size) {
        f->bytes += size;
        g_hash_table_add(f->items, i);
        count(f, i, 1);
}

/* TRUE: items like this one are so many that `wild` is to stand for them; they are gone then. Only what was learned by itself is put together. */
static gboolean put_together(BhFacets *f, const BhAct *a, const char *wild, BhItem *sum) {
        g_autoptr(GPtrArray) like = g_ptr_array_new();
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, f->items);
        while (g_hash_table_iter_next(&it, &p, NULL)) {
                const BhItem *i = p;
                const BhAct other = bh_item_act(i);
                char its[BH_TEMPLATE_MAX];

                if (i->family == a->family && i->uid == a->uid && (i->flags & BH_ITEM_LEARNED) && !(i->flags & BH_ITEM_ACCEPTED) && g_str_equal(i->actor, a->actor) &&
                    g_str_equal(i->detail, a->detail) && wild_of(&other, its) && g_str_equal(its, wild))
                        g_ptr_array_add(like, p);
        }
        if (like->len + 1 < BH_FACET_WILD)
                return FALSE;
        for (guint k = 0; k < like->len; k++) {
                BhItem *i = like->pdata[k];

                sum->count += i->count;
                sum->first_ns = sum->first_ns ? MIN(sum->first_ns, i->first_ns) : i->first_ns;
                sum->units = MIN(sum->units + i->units, G_MAXUINT16);
                sum->replica_bits |= i->replica_bits;
                for (guint r = 0; r < i->n_replicas && sum->n_replicas < BH_FACET_REPLICAS; r++) {
                        gboolean has = FALSE;

                        for (guint s = 0; s < sum->n_replicas; s++)
                                has |= sum->replicas[s] == i->replicas[r];
                        if (!has)
                                sum->replicas[sum->n_replicas++] = i->replicas[r];
                }
                bh_facets_remove(f, i);
        }
        return TRUE;
}

BhItem *bh_facets_add(BhFacets *f, const BhAct *a, guint flags, gsize room, const BhModelScale *scale, gboolean *known) {
        gboolean learned = (flags & BH_ITEM_LEARNED) != 0;
        char wild[BH_TEMPLATE_MAX];
        BhItem sum = { 0 };
        gsize size;
        BhItem *i;

        *known = FALSE;
        gboolean many = learned && wild_of(a, wild) && put_together(f, a, wild, &sum);
        if (many) {
                i = make(a->family, a->actor, wild, a->detail, a->uid, NULL, NULL, &size);
                i->count = sum.count;
                i->first_ns = sum.first_ns;
                i->last_ns = a->last_ns;
                i->units = sum.units;
                i->n_replicas = sum.n_replicas;
                i->replica_bits = sum.replica_bits;
                memcpy(i->replicas, sum.replicas, sizeof(i->replicas));
                flags |= BH_ITEM_WILD;
                *known = TRUE;
        } else {
                i = make(a->family, a->actor, a->object, a->detail, a->uid, learned ? NULL : a->example, learned ? NULL : a->why, &size);
                i->first_ns = a->first_ns;
        }
        /* what is put together has made more room than it takes */
        if (!many && size > room) {
                g_free(i);
                f->families[a->family].over += a->count;
                f->families[a->family].fresh_at = f->trials;
                return NULL;
        }
        i->flags = (guint16) (flags | (a->starting ? BH_ITEM_STARTING : 0));
        i->slot = -1;
        enter(f, i, size);
        if (!a->starting)
                f->families[a->family].fresh_at = f->trials;
        bh_facets_touch(f, i, a, scale);
        return i;
}

BhItem *bh_facets_inherit(BhFacets *f, const BhItem *from) {
        gsize size;
        BhItem *i;

        if (g_hash_table_contains(f->items, from))
                return NULL;
        i = make(from->family, from->actor, from->object, from->detail, from->uid, from->example, from->why, &size);
        i->flags = (guint16) ((from->flags & (BH_ITEM_LEARNED | BH_ITEM_ACCEPTED | BH_ITEM_FORBIDDEN | BH_ITEM_WILD | BH_ITEM_STARTING | BH_ITEM_NOVEL | BH_ITEM_QUIET)) |
                              BH_ITEM_INHERITED | BH_ITEM_BEFORE);
        i->first_ns = from->first_ns;
        i->last_ns = from->last_ns;
        i->units = from->units;
        i->slot = from->slot;
        enter(f, i, size);
        return i;
}

BhItem *bh_facets_restore(BhFacets *f, const BhItem *like) {
        gsize size;
        BhItem *i = make(like->family, like->actor, like->object, like->detail, like->uid, like->example, like->why, &size);

        if (g_hash_table_contains(f->items, i)) {
                g_free(i);
                return NULL;
        }
        i->count = like->count;
        i->first_ns = like->first_ns;
        i->last_ns = like->last_ns;
        i->slot = like->slot;
        i->units = like->units;
        i->flags = like->flags;
        i->n_replicas = (guint8) MIN(like->n_replicas, BH_FACET_REPLICAS);
        memcpy(i->replicas, like->replicas, sizeof(i->replicas));
        i->replica_bits = like->replica_bits;
        /* what was stored before there were bits */
        for (guint k = 0; k < i->n_replicas; k++)
                i->replica_bits |= replica_bit(i->replicas[k]);
        enter(f, i, size);
        return i;
}

BhAct bh_item_act(const BhItem *i) {
        return (BhAct){
                .family = i->family,
                .actor = i->actor,
                .object = i->object,
                .detail = i->detail,
                .uid = i->uid,
                .count = i->count,
                .first_ns = i->first_ns,
                .last_ns = i->last_ns,
                .example = i->example,
                .why = i->why,
        };
}

/* ---- how much is yet to be seen ---- */

/* Upper limit of a Poisson mean at 95 % when k were seen: the mean at which k or fewer have a chance of 5 %. */
static double poisson_upper(guint k) {
        double low = k, high = k + 10 + 4 * sqrt(k + 1.0);

        if (k > 100) {
                /* Wilson and Hilferty 1931 */
                double n = k + 1.0, root = 1 - 1 / (9 * n) + Z_95 / (3 * sqrt(n));

                return n * root * root * root;
        }
        for (guint step = 0; step < 60; step++) {
                double mean = (low + high) / 2, term = exp(-mean), sum = term;

                for (guint i = 1; i <= k; i++)
                        sum += term *= mean / i;
                if (sum > 0.05)
                        low = mean;
                else
                        high = mean;
        }
        return high;
}

double bh_facet_upper(guint singles, guint doubles, double trials) {
        double esty = singles + Z_95 * sqrt(singles + 2.0 * doubles);

        return trials > 0 ? MIN(1, MAX(esty, poisson_upper(singles)) / trials) : 1;
}

static double upper_of(const BhFacets *f, BhFamily family) {
        return bh_facet_upper(f->families[family].singles, f->families[family].doubles, f->trials);
}

gboolean bh_facet_scored(const BhFacets *f, BhFamily family, const BhModelScale *scale) {
        const BhFacet *facet = &f->families[family];

        return !facet->over && upper_of(f, family) < scale->bound && facet->fresh_at <= f->trials / 2;
}

gboolean bh_facet_enforceable(const BhFacets *f, BhFamily family, const BhModelScale *scale) {
        return f->starts >= 2 && bh_facet_scored(f, family, scale) && upper_of(f, family) * DAY_NS / scale->slot_ns < scale->day_bound;
}

static gboolean same_kind(const BhItem *i, const BhAct *a, double risk) {
        const BhAct other = bh_item_act(i);

        if (i->family != a->family || !g_str_equal(i->actor, a->actor))
                return FALSE;
        if ((a->family == BH_FAMILY_FILE && !g_str_equal(i->detail, a->detail)) || (a->family == BH_FAMILY_RATE && !g_str_equal(i->object, a->object)))
                return FALSE;
        return fabs(bh_act_risk(&other) - risk) < 1e-9;
}

/* Of so many of a kind that were seen at one time, and at two. */
static double a_day(guint singles, guint doubles, double days) {
        if (!singles && !doubles)
                return 0;
        return days > 0 ? (singles + Z_95 * sqrt(singles + 2.0 * doubles)) / days : HUGE_VAL;
}

gboolean bh_item_says_more(const BhItem *i, double risk) {
        return (i->flags & BH_ITEM_NOVEL) && (i->units == 1 || i->units == 2) && risk < BH_FACET_SMALL && i->family != BH_FAMILY_RATE;
}

double bh_facets_expected(const BhFacets *f, const BhAct *a, const BhModelScale *scale) {
        const double risk = bh_act_risk(a), own = f->trials * scale->slot_ns / DAY_NS, before = f->families[a->family].before * scale->slot_ns / DAY_NS;
        guint singles = 0, doubles = 0, own_singles = 0, own_doubles = 0, ran = 0;
        gboolean all_own = TRUE;
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, f->items);
        while (g_hash_table_iter_next(&it, &p, NULL)) {
                const BhItem *i = p;
                gboolean learned = (i->flags & BH_ITEM_LEARNED) && !(i->flags & (BH_ITEM_ACCEPTED | BH_ITEM_STARTING)), is_own = !(i->flags & BH_ITEM_BEFORE);

                /* of what runs on from the start on, and of what a person judged, or is to judge, it is not the question how often it began */
                if (i->family == BH_FAMILY_EXEC && a->family != BH_FAMILY_PEER && g_str_equal(i->object, a->actor)) {
                        ran += learned ? i->units : 3;
                        all_own &= is_own;
                }
                if ((i->units != 1 && i->units != 2) || (!learned && !bh_item_says_more(i, risk)) || !same_kind(i, a, risk))
                        continue;
                singles += i->units == 1;
                doubles += i->units == 2;
                own_singles += is_own && i->units == 1;
                own_doubles += is_own && i->units == 2;
        }
        /* seen so seldom it has shown hardly anything of what it does: it is itself one of the rare ones */
        singles += ran == 1;
        doubles += ran == 2;
        own_singles += ran == 1 && all_own;
        own_doubles += ran == 2 && all_own;
        return MAX(a_day(singles, doubles, before + own), a_day(own_singles, own_doubles, MIN(before, BH_FACET_BEFORE_DAYS) + own));
}

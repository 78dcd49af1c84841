/* SPDX-License-Identifier: Apache-2.0 */
#include "model/model.h"

#include <math.h>
#include <string.h>

#include "model/template.h"

#define OUTSTANDING (BH_ITEM_HELD | BH_ITEM_DRIFT | BH_ITEM_NOVEL | BH_ITEM_REFUSED | BH_ITEM_QUIET)
#define COMPARED 3u /* replicas that can be compared: what one does is no half of them */
#define ITEM_VERSION_OVERHEAD 2048 /* the tables of a version */

const char *bh_model_state_name(BhModelState state) {
        static const char *const names[] = { "learning", "shadow", "scored", "enforceable" };

        return (guint) state < G_N_ELEMENTS(names) ? names[state] : "?";
}

static void version_free(gpointer p) {
        BhModelVersion *v = p;

        g_free(v->digest);
        bh_facets_free(v->facets);
        g_free(v);
}

BhModel *bh_model_new(const char *application, const char *workload, const BhModelScale *scale) {
        BhModel *m = g_new0(BhModel, 1);

        m->application = g_strdup(application);
        m->workload = g_strdup(workload);
        m->versions = g_ptr_array_new_with_free_func(version_free);
        m->scale = scale;
        m->dirty = TRUE;
        return m;
}

void bh_model_free(BhModel *m) {
        if (!m)
                return;
        g_ptr_array_unref(m->versions);
        g_free(m->application);
        g_free(m->workload);
        g_free(m);
}

BhModelVersion *bh_model_version(const BhModel *m, const char *digest) {
        if (!digest)
                return m->versions->len ? m->versions->pdata[m->versions->len - 1] : NULL;
        for (guint i = m->versions->len; i-- > 0;) {
                BhModelVersion *v = m->versions->pdata[i];

                if (g_str_equal(v->digest, digest))
                        return v;
        }
        return NULL;
}

gsize bh_model_bytes(const BhModel *m) {
        gsize sum = sizeof(*m);

        for (guint i = 0; i < m->versions->len; i++)
                sum += ((BhModelVersion *) m->versions->pdata[i])->facets->bytes + ITEM_VERSION_OVERHEAD;
        return sum;
}

static gsize pending_bytes(const BhModelVersion *v) {
        gsize sum = 0;
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, v->facets->items);
        while (g_hash_table_iter_next(&it, &p, NULL)) {
                const BhItem *i = p;

                if (!(i->flags & (BH_ITEM_LEARNED | BH_ITEM_FORBIDDEN)))
                        sum += sizeof(*i) + strlen(i->actor) + strlen(i->object) + strlen(i->detail) + strlen(i->example) + strlen(i->why);
        }
        return sum;
}

/* It shows when somebody looks, or when a minute has passed, and not as soon as it is done. */
static gboolean is_late(guint family) {
        return family == BH_FAMILY_SYSCALL || family == BH_FAMILY_SEQUENCE || family == BH_FAMILY_RATE;
}

/* What is known, what people set, */
static gboolean is_known(const BhItem *i) {
        return (i->flags & (BH_ITEM_LEARNED | BH_ITEM_FORBIDDEN)) != 0;
}

/* and what was only looked at: that says what more of its kind is to be expected, and is no news of the next version either. */
static gboolean was_looked_at(const BhItem *i) {
        const BhAct a = bh_item_act(i);

        return !is_known(i) && (i->flags & BH_ITEM_QUIET) && bh_item_says_more(i, bh_act_risk(&a));
}

static void bring_along(const BhModel *m, BhModelVersion *v, const BhModelVersion *from, gboolean (*which)(const BhItem *), gsize max) {
        const gsize begin = v->facets->bytes;
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, from->facets->items);
        while (g_hash_table_iter_next(&it, &p, NULL))
                if (which(p) && v->facets->bytes - begin < max && bh_model_bytes(m) + v->facets->bytes < BH_MODEL_BYTES - BH_MODEL_PENDING)
                        bh_facets_inherit(v->facets, p);
}

/* Trials of this version and of those before it. */
static double earlier(const BhFacets *f, guint family) {
        return MIN(f->families[family].before + f->trials, BH_FACET_TRIALS);
}

/* What the version before knows comes along. */
static void inherit(BhModel *m, BhModelVersion *v) {
        const BhModelVersion *from = bh_model_version(m, NULL);

        if (!from)
                return;
        v->shadow = TRUE;
        memset(v->states, BH_MODEL_SHADOW, sizeof(v->states));
        for (guint family = 1; family < BH_FAMILIES; family++) {
                v->facets->families[family].before = earlier(from->facets, family);
                if (is_late(family) && from->states[family] == BH_MODEL_LEARNING && from->facets->trials < BH_MODEL_LATE_TRIALS)
                        v->states[family] = BH_MODEL_LEARNING;
        }
        /* what is known comes first; what was looked at leaves room for what this version has to show itself */
        bring_along(m, v, from, is_known, G_MAXSIZE);
        bring_along(m, v, from, was_looked_at, BH_MODEL_PENDING / 4);
}

/* The oldest that does not run makes room; if all run, the oldest. */
static void make_room(BhModel *m) {
        guint out = 0;

        if (m->versions->len < BH_MODEL_VERSIONS)
                return;
        for (guint i = 0; i + 1 < m->versions->len; i++)
                if (!((BhModelVersion *) m->versions->pdata[i])->running) {
                        out = i;
                        break;
                }
        g_ptr_array_remove_index(m->versions, out);
}

/* Of what is over half of the memory, versions that run no more go first. */
static void thin(BhModel *m) {
        for (guint i = 0; i + 2 < m->versions->len && bh_model_bytes(m) > BH_MODEL_BYTES / 2;)
                if (!((BhModelVersion *) m->versions->pdata[i])->running)
                        g_ptr_array_remove_index(m->versions, i);
                else
                        i++;
}

static BhModelVersion *version_for(BhModel *m, const char *digest, gint64 now_ns) {
        /* a container that nobody has described yet is one of the latest version, and no version of its own */
        BhModelVersion *v = bh_model_version(m, *digest || !m->versions->len ? digest : NULL);

        if (v)
                return v;
        /* the first acts came before anybody had described their container: they are this version's, which has no other before it */
        if (m->versions->len == 1 && !*(v = m->versions->pdata[0])->digest) {
                g_free(v->digest);
                v->digest = g_strdup(digest);
                m->dirty = TRUE;
                return v;
        }
        make_room(m);
        thin(m);
        v = g_new0(BhModelVersion, 1);
        v->digest = g_strdup(digest);
        v->facets = bh_facets_new();
        v->first_ns = now_ns;
        inherit(m, v);
        g_ptr_array_add(m->versions, v);
        m->dirty = TRUE;
        return v;
}

gboolean bh_model_locked(const BhModelVersion *v, guint family) {
        return (v->locked >> family & 1) && (!is_late(family) || v->facets->trials >= BH_MODEL_LATE_TRIALS || v->facets->families[family].accepted);
}

static gboolean is_scored(const BhModelVersion *v, guint family) {
        return v->states[family] >= BH_MODEL_SCORED || bh_model_locked(v, family);
}

/*
 * More than half of the replicas. One replica alone has nobody to be compared with; and what only the first start shows that anybody saw can be compared with no other start.
 */
static gboolean most_do(const BhModelVersion *v, const BhItem *i) {
        return bh_item_replicas(i) >= MIN(v->running / 2 + 1, BH_FACET_CROWD) || ((i->flags & BH_ITEM_STARTING) && v->facets->starts <= 1);
}

static void surprise(const BhModelVersion *v, BhVerdict *out, const BhAct *a) {
        const BhFacet *facet = &v->facets->families[a->family];

        out->risk = bh_act_risk(a);
        out->vouched = bh_model_locked(v, a->family);
        out->surprise = log((v->facets->trials + 1) / (facet->singles + 1));
}

/* The actor was told as a new program, and is no known one in any other way: its libraries and data come with it, and the calls that every program makes. */
static gboolean is_implied(const BhModelVersion *v, const BhAct *a, double risk) {
        gboolean told = FALSE;
        GHashTableIter it;
        gpointer p;

        if (a->family == BH_FAMILY_FILE ? risk >= BH_MODEL_MIDDLE : risk > BH_MODEL_PLAIN || (!is_late(a->family) && a->family != BH_FAMILY_DNS))
                return FALSE;
        g_hash_table_iter_init(&it, v->facets->items);
        while (g_hash_table_iter_next(&it, &p, NULL)) {
                const BhItem *i = p;

                if (i->family != BH_FAMILY_EXEC || !g_str_equal(i->object, a->actor))
                        continue;
                if (i->flags & BH_ITEM_LEARNED)
                        return FALSE;
                told |= (i->flags & (BH_ITEM_NOVEL | BH_ITEM_REFUSED | BH_ITEM_FORBIDDEN)) != 0;
        }
        return told;
}

/* The most that was ever reached is the step below, or less than the first one: it may be hardly more than that. */
static gboolean is_next_step(const BhModelVersion *v, const BhAct *a) {
        char *unit, below[64];
        guint64 step = g_ascii_strtoull(a->detail, &unit, 10);
        BhAct was = *a;

        /* the lowest steps that there are: what was below was told of nothing (sensor/rates.h) */
        if (step <= (g_str_has_prefix(unit, " MiB") ? 1 : 16))
                return step > 0;
        g_snprintf(below, sizeof(below), "%" G_GUINT64_FORMAT "%s", step / 4, unit);
        was.detail = below;
        const BhItem *i = bh_facets_find(v->facets, &was);
        return i && (i->flags & BH_ITEM_LEARNED);
}

/* What any program may find in the image's own places when it begins; who writes there is told. */
static gboolean is_loading(const BhAct *a) {
        if (a->family != BH_FAMILY_FILE || !g_str_equal(a->detail, "read"))
                return FALSE;
        return g_str_equal(a->object, "/etc/ld.so.cache") || ((g_str_has_prefix(a->object, "/usr/lib") || g_str_has_prefix(a->object, "/lib")) && strstr(a->object, ".so"));
}

/* Who makes a file in a place that is emptied at each start removes it when it ends: its process's number, its socket, what is temporary. */
static gboolean is_clearing(const BhModelVersion *v, const BhAct *a) {
        /* renamed: it was written under another name, and put there whole */
        static const char *const made[] = { "create", "rename" };
        BhAct other = *a;

        if (a->family != BH_FAMILY_FILE || !g_str_equal(a->detail, "delete") || !bh_template_writable(a->object, strlen(a->object)))
                return FALSE;
        for (guint k = 0; k < G_N_ELEMENTS(made); k++) {
                other.detail = made[k];
                const BhItem *i = bh_facets_find(v->facets, &other);

                if (i && (i->flags & BH_ITEM_LEARNED))
                        return TRUE;
        }
        return FALSE;
}

/* The largest class of length is told alone, and anew by each node and start: the parameter is known to be longer. */
static gboolean is_shorter(const BhModelVersion *v, const BhAct *a) {
        static const char up_to[] = ", up to ", more[] = ", more than ";
        const char *end = a->family == BH_FAMILY_PARAMETER ? strstr(a->detail, up_to) : NULL;
        GHashTableIter it;
        gpointer p;

        if (!end)
                return FALSE;
        const gsize head = (gsize) (end - a->detail);
        const guint64 bytes = g_ascii_strtoull(end + strlen(up_to), NULL, 10);
        g_hash_table_iter_init(&it, v->facets->items);
        while (g_hash_table_iter_next(&it, &p, NULL)) {
                const BhItem *i = p;

                if (i->family != a->family || !(i->flags & BH_ITEM_LEARNED) || !g_str_equal(i->actor, a->actor) || !g_str_equal(i->object, a->object) || strncmp(i->detail, a->detail, head))
                        continue;
                if (g_str_has_prefix(i->detail + head, more) || (g_str_has_prefix(i->detail + head, up_to) && g_ascii_strtoull(i->detail + head + strlen(up_to), NULL, 10) > bytes))
                        return TRUE;
        }
        return FALSE;
}

/* Who creates a file writes it, and writes it anew where it was not removed: one of both that is normal, or was told of this container or as drift, says it. */
static gboolean is_same_writing(const BhModelVersion *v, const BhAct *a) {
        gboolean creates = g_str_equal(a->detail, "create");
        BhAct other = *a;

        if (a->family != BH_FAMILY_FILE || (!creates && !g_str_equal(a->detail, "write")))
                return FALSE;
        other.detail = creates ? "write" : "create";
        const BhItem *i = bh_facets_find(v->facets, &other);
        return i && !(i->flags & BH_ITEM_FORBIDDEN) && ((i->flags & (BH_ITEM_LEARNED | BH_ITEM_DRIFT)) || ((i->flags & BH_ITEM_NOVEL) && bh_item_shown_by(i, a->replica)));
}

/* To be told, at once and whatever was to be expected. */
static gboolean is_grave(const BhAct *a, double risk) {
        return risk >= (a->family == BH_FAMILY_EXEC ? BH_MODEL_HASTE : BH_MODEL_GRAVE);
}

/* New, and no finding: see bh_model_observe(). */
static gboolean is_quiet(const BhModel *m, const BhModelVersion *v, const BhAct *a, double risk, gboolean starting) {
        if (is_implied(v, a, risk) || is_same_writing(v, a))
                return TRUE;
        if (is_grave(a, risk))
                return FALSE;
        return is_loading(a) || is_clearing(v, a) || is_shorter(v, a) || (starting && v->facets->starts < BH_MODEL_STARTS && a->family != BH_FAMILY_PEER) ||
               (a->family == BH_FAMILY_RATE && is_next_step(v, a)) || bh_facets_expected(v->facets, a, m->scale) > m->scale->alert_day;
}

static BhVerdict judge_known(BhModel *m, BhModelVersion *v, BhItem *i, const BhAct *a) {
        BhVerdict out = { .kind = BH_VERDICT_KNOWN, .version = v, .item = i };
        guint replicas = bh_item_replicas(i);

        bh_facets_touch(v->facets, i, a, m->scale);
        out.of_replica = bh_item_replicas(i) > replicas;
        if (i->flags & BH_ITEM_FORBIDDEN)
                out.kind = BH_VERDICT_FORBIDDEN;
        else if (i->flags & BH_ITEM_LEARNED)
                return out;
        else
                out.kind = i->flags & BH_ITEM_DRIFT ? BH_VERDICT_DRIFT : i->flags & BH_ITEM_HELD ? BH_VERDICT_HELD : i->flags & BH_ITEM_REFUSED ? BH_VERDICT_REFUSED : BH_VERDICT_NOVEL;
        surprise(v, &out, a);
        out.quiet = (i->flags & BH_ITEM_QUIET) || (out.kind == BH_VERDICT_NOVEL && is_implied(v, a, out.risk));
        /* what the others begin to do as well is no longer what one does */
        if (out.kind == BH_VERDICT_NOVEL && v->running >= COMPARED && most_do(v, i)) {
                bh_facets_flag(v->facets, i, BH_ITEM_DRIFT, BH_ITEM_NOVEL);
                out.kind = BH_VERDICT_DRIFT;
                out.fresh = !out.quiet;
                v->drift += out.fresh;
        }
        return out;
}

/* Parameters of the same program and "METHOD path": how many were learned, and *all. */
static guint parameters_like(const BhModelVersion *v, const BhAct *a, guint *all) {
        const char *name = strrchr(a->object, ' ');
        gsize len = name ? MIN((gsize) (name - a->object) + 1, BH_FACET_TEXT) : 0;
        guint learned = 0;
        GHashTableIter it;
        gpointer p;

        *all = 0;
        g_hash_table_iter_init(&it, v->facets->items);
        while (g_hash_table_iter_next(&it, &p, NULL)) {
                const BhItem *i = p;

                if (i->family != BH_FAMILY_PARAMETER || strncmp(i->actor, a->actor, BH_FACET_TEXT) || strncmp(i->object, a->object, len))
                        continue;
                learned += (i->flags & BH_ITEM_LEARNED) != 0;
                ++*all;
        }
        return learned;
}

BhVerdict bh_model_observe(BhModel *m, const char *digest, const BhAct *a) {
        BhModelVersion *v = version_for(m, digest, a->first_ns);
        BhVerdict out = { .kind = BH_VERDICT_LEARNED, .version = v, .fresh = TRUE, .of_replica = TRUE };
        guint flags = BH_ITEM_LEARNED;
        /* but for a family that a person has made learn anew */
        gboolean together, waits, shadow = v->shadow && v->states[a->family] != BH_MODEL_LEARNING;

        m->dirty = TRUE;
        v->last_ns = MAX(v->last_ns, a->last_ns);
        if ((out.item = bh_facets_find(v->facets, a)))
                return judge_known(m, v, out.item, a);

        surprise(v, &out, a);
        if (a->suspicious) {
                out.kind = BH_VERDICT_REFUSED;
                flags = BH_ITEM_REFUSED;
        } else if (!shadow && a->starting && v->facets->starts <= 1 && !bh_model_locked(v, a->family)) {
                /* nobody has seen it begin before: of a family that is trusted already it is told as drift, once, and otherwise learned */
                if (is_scored(v, a->family)) {
                        out.kind = BH_VERDICT_HELD;
                        flags = BH_ITEM_HELD;
                }
        } else if (is_scored(v, a->family) || (shadow && out.risk >= BH_MODEL_HASTE)) {
                out.kind = BH_VERDICT_NOVEL;
                flags = BH_ITEM_NOVEL;
        } else if (shadow) {
                out.kind = BH_VERDICT_HELD;
                flags = BH_ITEM_HELD;
        }

        if (out.kind == BH_VERDICT_NOVEL && (out.quiet = is_quiet(m, v, a, out.risk, a->starting)))
                flags |= BH_ITEM_QUIET;
        if (a->family == BH_FAMILY_PARAMETER) {
                guint like, learned = parameters_like(v, a, &like);

                /* clients choose these names: beyond the bound it is this endpoint that nothing is known of, and not the family that is not whole */
                if (like >= BH_MODEL_PARAMETERS_OF_ONE) {
                        m->over += a->count;
                        if (out.kind == BH_VERDICT_LEARNED || out.kind == BH_VERDICT_HELD || (out.kind == BH_VERDICT_NOVEL && learned >= BH_MODEL_PARAMETERS_OF_ONE))
                                out.kind = BH_VERDICT_FULL;
                        return out;
                }
        }
        /* a job that comes round comes round in all of them: what most do is no anomaly of one */
        if ((waits = out.kind == BH_VERDICT_NOVEL && !out.quiet && v->running >= COMPARED && !is_grave(a, out.risk))) {
                out.kind = BH_VERDICT_HELD;
                flags = BH_ITEM_HELD;
        }
        gsize all = bh_model_bytes(m), bound = BH_MODEL_BYTES - (flags & BH_ITEM_LEARNED ? BH_MODEL_PENDING : 0), room = all < bound ? bound - all : 0;
        if (!(flags & BH_ITEM_LEARNED) && pending_bytes(v) >= BH_MODEL_PENDING)
                room = 0;
        /* nor do they take room from what else is learned */
        if (a->family == BH_FAMILY_PARAMETER && v->facets->families[a->family].items >= BH_MODEL_PARAMETERS)
                room = 0;
        out.item = bh_facets_add(v->facets, a, flags, room, m->scale, &together);
        if (!out.item) {
                m->over += a->count;
                /* nothing that was told of is remembered: the caller bounds how often it tells; nor can that wait of which nothing is kept */
                if (waits)
                        out.kind = BH_VERDICT_NOVEL;
                else if (out.kind == BH_VERDICT_LEARNED || out.kind == BH_VERDICT_HELD)
                        out.kind = BH_VERDICT_FULL;
                return out;
        }
        v->novel += out.kind == BH_VERDICT_NOVEL && !out.quiet;
        v->refused += out.kind == BH_VERDICT_REFUSED;
        v->held += out.kind == BH_VERDICT_HELD;
        return out;
}

void bh_model_expose(BhModel *m, const char *digest, guint running, double container_ns) {
        BhModelVersion *v = bh_model_version(m, digest);

        if (!v)
                return;
        v->running = running;
        if (container_ns > 0) {
                v->facets->trials += container_ns / m->scale->slot_ns;
                m->dirty = TRUE;
        }
}

void bh_model_start(BhModel *m, const char *digest, gint64 now_ns) {
        version_for(m, digest, now_ns)->facets->starts++;
        m->dirty = TRUE;
}

gboolean bh_model_converge(BhModel *m) {
        gboolean changed = FALSE;

        for (guint k = 0; k < m->versions->len; k++) {
                BhModelVersion *v = m->versions->pdata[k];

                for (guint family = 1; family < BH_FAMILIES; family++) {
                        guint was = v->states[family], is = was;

                        if (!(m->seen >> family & 1))
                                continue;
                        /* what a person locked stays so; what has converged does not fall back, as nothing more is learned */
                        if (was < BH_MODEL_SCORED && bh_facet_scored(v->facets, family, m->scale))
                                is = BH_MODEL_SCORED;
                        if (is == BH_MODEL_SCORED && bh_facet_enforceable(v->facets, family, m->scale))
                                is = BH_MODEL_ENFORCEABLE;
                        v->states[family] = (guint8) is;
                        changed |= is != was;
                }
        }
        m->dirty |= changed;
        return changed;
}

/* Programs first: what comes with one is told by it; and who creates a file before that it writes it. */
static int rank(const BhItem *i) {
        return i->family == BH_FAMILY_EXEC ? 0 : i->family == BH_FAMILY_FILE && g_str_equal(i->detail, "create") ? 1 : 2;
}

static int by_rank(gconstpointer a, gconstpointer b) {
        return rank(*(const BhItem *const *) a) - rank(*(const BhItem *const *) b);
}

void bh_model_settle(BhModel *m, gint64 now_ns, void (*decided)(BhModel *, const BhVerdict *, gpointer), gpointer data) {
        for (guint k = 0; k < m->versions->len; k++) {
                BhModelVersion *v = m->versions->pdata[k];
                g_autoptr(GPtrArray) due = g_ptr_array_new();
                GHashTableIter it;
                gpointer p;

                if (!v->held)
                        continue;
                g_hash_table_iter_init(&it, v->facets->items);
                while (g_hash_table_iter_next(&it, &p, NULL)) {
                        const BhItem *i = p;

                        if ((i->flags & BH_ITEM_HELD) && i->first_ns + m->scale->hold_ns <= now_ns)
                                g_ptr_array_add(due, p);
                }
                g_ptr_array_sort(due, by_rank);
                for (guint d = 0; d < due->len; d++) {
                        BhItem *i = due->pdata[d];
                        BhAct a = bh_item_act(i);
                        BhVerdict out = { .version = v, .item = i, .fresh = TRUE };
                        /* it waited for others, which are gone and had not done it */
                        const gboolean alone = v->running < COMPARED && bh_item_replicas(i) == 1 && is_scored(v, i->family) && !(i->flags & BH_ITEM_STARTING);

                        a.replica = i->n_replicas ? i->replicas[0] : 0;
                        surprise(v, &out, &a);
                        out.kind = most_do(v, i) && !alone ? BH_VERDICT_DRIFT : BH_VERDICT_NOVEL;
                        /* that others of the version do not do it says more than how seldom such things were seen */
                        if (out.kind == BH_VERDICT_NOVEL)
                                out.quiet = v->running >= COMPARED ? is_implied(v, &a, out.risk) || is_same_writing(v, &a) || is_shorter(v, &a) || (a.family == BH_FAMILY_RATE && is_next_step(v, &a))
                                                                   : is_quiet(m, v, &a, out.risk, (i->flags & BH_ITEM_STARTING) != 0);
                        bh_facets_flag(v->facets, i, out.kind == BH_VERDICT_DRIFT ? BH_ITEM_DRIFT : BH_ITEM_NOVEL | (out.quiet ? BH_ITEM_QUIET : 0), BH_ITEM_HELD);
                        v->held--;
                        v->drift += out.kind == BH_VERDICT_DRIFT;
                        v->novel += out.kind == BH_VERDICT_NOVEL && !out.quiet;
                        m->dirty = TRUE;
                        decided(m, &out, data);
                }
        }
}

guint bh_model_age(BhModel *m, gint64 now_ns) {
        guint gone = 0;

        for (guint k = 0; k < m->versions->len; k++) {
                BhModelVersion *v = m->versions->pdata[k];
                g_autoptr(GPtrArray) old = g_ptr_array_new();
                GHashTableIter it;
                gpointer p;

                g_hash_table_iter_init(&it, v->facets->items);
                while (g_hash_table_iter_next(&it, &p, NULL)) {
                        const BhItem *i = p;

                        if (!(i->flags & (BH_ITEM_ACCEPTED | BH_ITEM_FORBIDDEN | BH_ITEM_HELD)) && i->last_ns + m->scale->age_ns < now_ns)
                                g_ptr_array_add(old, p);
                }
                for (guint d = 0; d < old->len; d++)
                        bh_facets_remove(v->facets, old->pdata[d]);
                gone += old->len;
        }
        m->dirty |= gone > 0;
        return gone;
}

/* ---- people ---- */

void bh_model_lock(BhModel *m, BhModelVersion *v, guint32 families) {
        v->locked |= families;
        m->dirty = TRUE;
}

void bh_model_relearn(BhModel *m, BhModelVersion *v, guint32 families) {
        g_autoptr(GPtrArray) out = g_ptr_array_new();
        GHashTableIter it;
        gpointer p;

        v->locked &= ~families;
        g_hash_table_iter_init(&it, v->facets->items);
        while (g_hash_table_iter_next(&it, &p, NULL)) {
                const BhItem *i = p;

                if ((families >> i->family & 1) && !(i->flags & (BH_ITEM_ACCEPTED | BH_ITEM_FORBIDDEN)))
                        g_ptr_array_add(out, p);
        }
        for (guint k = 0; k < out->len; k++) {
                if (((BhItem *) out->pdata[k])->flags & BH_ITEM_HELD)
                        v->held--;
                bh_facets_remove(v->facets, out->pdata[k]);
        }
        for (guint family = 1; family < BH_FAMILIES; family++) {
                BhFacet *facet = &v->facets->families[family];

                facet->fresh_at = 0;
                if (families >> family & 1) {
                        v->states[family] = BH_MODEL_LEARNING;
                        facet->over = 0;
                        facet->before = 0;
                } else {
                        facet->before = earlier(v->facets, family);
                }
        }
        /* trials are of all families: those of others are earlier ones from now on, and so is what they have shown */
        g_hash_table_iter_init(&it, v->facets->items);
        while (g_hash_table_iter_next(&it, &p, NULL))
                if (!(families >> ((BhItem *) p)->family & 1))
                        bh_facets_flag(v->facets, p, BH_ITEM_BEFORE, 0);
        v->facets->trials = 0;
        if (families == BH_MODEL_ALL)
                v->shadow = FALSE;
        m->dirty = TRUE;
}

BhItem *bh_model_item(const BhModelVersion *v, guint64 item) {
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, v->facets->items);
        while (g_hash_table_iter_next(&it, &p, NULL))
                if (((BhItem *) p)->hash == item)
                        return p;
        return NULL;
}

static gboolean set(BhModel *m, BhModelVersion *v, guint64 item, guint flags) {
        BhItem *i = bh_model_item(v, item);

        if (!i)
                return FALSE;
        if (i->flags & BH_ITEM_HELD)
                v->held--;
        bh_facets_flag(v->facets, i, flags, OUTSTANDING | BH_ITEM_LEARNED | BH_ITEM_ACCEPTED | BH_ITEM_FORBIDDEN);
        m->dirty = TRUE;
        return TRUE;
}

gboolean bh_model_accept(BhModel *m, BhModelVersion *v, guint64 item) {
        return set(m, v, item, BH_ITEM_LEARNED | BH_ITEM_ACCEPTED);
}

gboolean bh_model_forbid(BhModel *m, BhModelVersion *v, guint64 item) {
        return set(m, v, item, BH_ITEM_FORBIDDEN);
}

guint bh_model_accept_drift(BhModel *m, BhModelVersion *v) {
        g_autoptr(GArray) all = g_array_new(FALSE, FALSE, sizeof(guint64));
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, v->facets->items);
        while (g_hash_table_iter_next(&it, &p, NULL))
                if (((BhItem *) p)->flags & BH_ITEM_DRIFT)
                        g_array_append_val(all, ((BhItem *) p)->hash);
        for (guint k = 0; k < all->len; k++)
                bh_model_accept(m, v, g_array_index(all, guint64, k));
        return all->len;
}

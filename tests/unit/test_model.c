/* SPDX-License-Identifier: Apache-2.0 */
#include "model/model.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#define S G_GINT64_CONSTANT(1000000000)
#define SLOT (10 * S)

static BhModel *new_model(void) {
        BhModel *m = bh_model_new("shop", "web", &bh_model_scale_default);

        m->seen = BH_MODEL_ALL;
        return m;
}

static BhAct exec_act(const char *parent, const char *exe, gint64 at_ns, guint64 replica) {
        return (BhAct){ .family = BH_FAMILY_EXEC, .actor = parent, .object = exe, .detail = "", .uid = 33, .count = 1, .first_ns = at_ns, .last_ns = at_ns, .replica = replica };
}

static BhVerdictKind act_at(BhModel *m, const char *digest, const char *exe, gint64 at_ns, guint64 replica) {
        const BhAct a = exec_act("/usr/sbin/nginx", exe, at_ns, replica);

        return bh_model_observe(m, digest, &a).kind;
}

/* A worker in each of `replicas` containers, seen in many trials; `hours` of all containers together. */
static void live(BhModel *m, const char *digest, guint replicas, double hours) {
        bh_model_start(m, digest, S);
        for (guint i = 0; i < 20; i++)
                for (guint r = 1; r <= replicas; r++)
                        act_at(m, digest, "/usr/bin/worker", i * SLOT, r);
        bh_model_expose(m, digest, replicas, hours * 3600e9);
}

/* ---- statistics ---- */

/*
 * Items of chances p_k a trial (Zipf). After T trials the true expectation of new items in the next one is the sum of the chances of those not seen. The bound must hold in 95 of a
 * hundred worlds, and must be of use: not many times the truth.
 */
static void unseen_mass_is_bounded_as_often_as_claimed(void) {
        enum { WORLDS = 400, ITEMS = 300, TRIALS = 400 };
        g_autoptr(GRand) rand = g_rand_new_with_seed(8);
        guint held = 0;
        double truth_sum = 0, bound_sum = 0;

        for (guint w = 0; w < WORLDS; w++) {
                double truth = 0;
                guint singles = 0, doubles = 0;

                for (guint k = 0; k < ITEMS; k++) {
                        double p = 0.5 / pow(k + 1, 1.2);
                        guint units = 0;

                        for (guint t = 0; t < TRIALS; t++)
                                units += g_rand_double(rand) < p;
                        singles += units == 1;
                        doubles += units == 2;
                        truth += units ? 0 : p;
                }
                double bound = bh_facet_upper(singles, doubles, TRIALS);
                held += truth <= bound;
                truth_sum += truth;
                bound_sum += bound;
        }
        g_test_message("held in %u of %u; mean truth %.4f, mean bound %.4f", held, WORLDS, truth_sum / WORLDS, bound_sum / WORLDS);
        g_assert_cmpuint(held, >=, WORLDS * 93 / 100);
        g_assert_cmpfloat(bound_sum, <, 2 * truth_sum);
}

static void poisson_limits_are_those_of_the_tables(void) {
        /* chi-square(0.95; 2k + 2) / 2 */
        static const struct { guint k; double limit; } rows[] = { { 0, 2.9957 }, { 1, 4.7439 }, { 2, 6.2958 }, { 5, 10.513 }, { 10, 16.962 }, { 50, 63.287 }, { 200, 224.89 } };
        /* limits of the tables where nothing was seen twice */

        for (guint i = 0; i < G_N_ELEMENTS(rows); i++)
                g_assert_cmpfloat_with_epsilon(bh_facet_upper(rows[i].k, 0, 1e6) * 1e6, rows[i].limit, 0.01 * rows[i].limit);
        g_assert_cmpfloat(bh_facet_upper(0, 0, 0), ==, 1);
        g_assert_cmpfloat(bh_facet_upper(5, 0, 2), ==, 1);
}

static void repeats_within_a_trial_are_no_evidence(void) {
        g_autoptr(BhModel) m = new_model();

        bh_model_start(m, "a", S);
        for (guint i = 0; i < 1000; i++)
                act_at(m, "a", "/usr/bin/once", 5 * SLOT + i, 1);
        g_assert_cmpuint(bh_model_version(m, "a")->facets->families[BH_FAMILY_EXEC].singles, ==, 1);
        act_at(m, "a", "/usr/bin/once", 6 * SLOT, 1);
        g_assert_cmpuint(bh_model_version(m, "a")->facets->families[BH_FAMILY_EXEC].singles, ==, 0);
}

/* A job of the full hour: what all replicas begin together was seen at one time. */
static void what_all_replicas_do_at_one_time_was_shown_once(void) {
        g_autoptr(BhModel) m = new_model();

        bh_model_start(m, "a", S);
        for (guint r = 1; r <= 3; r++)
                act_at(m, "a", "/usr/bin/job", 6 * SLOT + r, r);
        const BhFacet *f = &bh_model_version(m, "a")->facets->families[BH_FAMILY_EXEC];
        g_assert_cmpuint(f->singles, ==, 1);
        /* told late of a time that has passed: no other trial */
        act_at(m, "a", "/usr/bin/job", 5 * SLOT, 2);
        g_assert_cmpuint(f->singles, ==, 1);
        act_at(m, "a", "/usr/bin/job", 366 * SLOT, 2);
        g_assert_cmpuint(f->singles, ==, 0);
        g_assert_cmpuint(f->doubles, ==, 1);
}

/* ---- convergence ---- */

static void families_converge_by_evidence_and_not_before(void) {
        g_autoptr(BhModel) m = new_model();

        live(m, "a", 1, 4); /* 1440 trials: 3.0 / 1440 is above 1e-3 */
        g_assert_false(bh_model_converge(m));
        g_assert_cmpint(act_at(m, "a", "/usr/bin/other", 100 * SLOT, 1), ==, BH_VERDICT_LEARNED);
        act_at(m, "a", "/usr/bin/other", 101 * SLOT, 1);
        bh_model_expose(m, "a", 1, 3.9 * 3600e9); /* twice 1440, less a little */
        bh_model_converge(m);
        g_assert_cmpint(bh_model_version(m, "a")->states[BH_FAMILY_EXEC], ==, BH_MODEL_LEARNING);
        bh_model_expose(m, "a", 1, 0.7 * 3600e9);
        g_assert_true(bh_model_converge(m));
        g_assert_cmpint(bh_model_version(m, "a")->states[BH_FAMILY_EXEC], ==, BH_MODEL_SCORED);
        g_assert_cmpint(act_at(m, "a", "/usr/bin/third", 4000 * SLOT, 1), ==, BH_VERDICT_NOVEL);
        g_assert_cmpint(act_at(m, "a", "/usr/bin/worker", 4000 * SLOT, 1), ==, BH_VERDICT_KNOWN);
}

static void one_item_seen_once_holds_convergence_up(void) {
        g_autoptr(BhModel) m = new_model();

        live(m, "a", 1, 0);
        act_at(m, "a", "/usr/bin/rare", 50 * SLOT, 1);
        bh_model_expose(m, "a", 1, 3500 * 10e9); /* 3.0 / 3500 would do, 4.7 / 3500 does not */
        bh_model_converge(m);
        g_assert_cmpint(bh_model_version(m, "a")->states[BH_FAMILY_EXEC], ==, BH_MODEL_LEARNING);
        g_assert_cmpint(bh_model_version(m, "a")->states[BH_FAMILY_FILE], ==, BH_MODEL_SCORED);
        bh_model_expose(m, "a", 1, 1500 * 10e9);
        g_assert_true(bh_model_converge(m));
        g_assert_cmpint(bh_model_version(m, "a")->states[BH_FAMILY_EXEC], ==, BH_MODEL_SCORED);
}

static void enforceable_takes_a_month_of_containers_and_a_restart(void) {
        g_autoptr(BhModel) m = new_model();

        live(m, "a", 1, 24 * 40);
        bh_model_converge(m);
        g_assert_cmpint(bh_model_version(m, "a")->states[BH_FAMILY_EXEC], ==, BH_MODEL_SCORED);
        bh_model_start(m, "a", 2 * S);
        bh_model_converge(m);
        g_assert_cmpint(bh_model_version(m, "a")->states[BH_FAMILY_EXEC], ==, BH_MODEL_ENFORCEABLE);
}

/* What no sensor has ever told of is not known to be absent. */
static void silence_of_a_kind_that_nobody_tells_proves_nothing(void) {
        g_autoptr(BhModel) m = new_model();

        m->seen = 1u << BH_FAMILY_EXEC;
        live(m, "a", 1, 1000);
        bh_model_converge(m);
        g_assert_cmpint(bh_model_version(m, "a")->states[BH_FAMILY_EXEC], ==, BH_MODEL_SCORED);
        g_assert_cmpint(bh_model_version(m, "a")->states[BH_FAMILY_DNS], ==, BH_MODEL_LEARNING);
}

static void what_begins_with_a_container_is_no_rarity(void) {
        g_autoptr(BhModel) m = new_model();
        BhAct a = exec_act("/bin/runc", "/entry", S, 1);

        a.starting = TRUE;
        bh_model_start(m, "a", S);
        g_assert_cmpint(bh_model_observe(m, "a", &a).kind, ==, BH_VERDICT_LEARNED);
        g_assert_cmpuint(bh_model_version(m, "a")->facets->families[BH_FAMILY_EXEC].singles, ==, 0);
        /* later, while it runs: then it is one */
        a.starting = FALSE;
        a.first_ns = a.last_ns = 100 * SLOT;
        g_assert_cmpint(bh_model_observe(m, "a", &a).kind, ==, BH_VERDICT_KNOWN);
        g_assert_cmpuint(bh_model_version(m, "a")->facets->families[BH_FAMILY_EXEC].singles, ==, 1);
}

static guint drifts, novels, loud;
static void decided(BhModel *m, const BhVerdict *v, gpointer data) {
        drifts += v->kind == BH_VERDICT_DRIFT;
        novels += v->kind == BH_VERDICT_NOVEL;
        loud += v->kind == BH_VERDICT_NOVEL && !v->quiet;
}

/* Containers ran before anybody looked, and a family is trusted by what they did: what the first start shows is no way round that. */
static void the_first_start_of_a_trusted_family_is_looked_at_and_not_learned(void) {
        g_autoptr(BhModel) m = new_model();
        BhAct a = exec_act("/bin/entry", "/usr/bin/setup", 9000 * SLOT, 1);

        m->seen = 1u << BH_FAMILY_EXEC;
        for (guint i = 0; i < 20; i++)
                act_at(m, "a", "/usr/bin/worker", i * SLOT, 1);
        bh_model_expose(m, "a", 1, 24 * 3600e9);
        g_assert_true(bh_model_converge(m));
        bh_model_start(m, "a", 9000 * SLOT);
        a.starting = TRUE;
        g_assert_cmpint(bh_model_observe(m, "a", &a).kind, ==, BH_VERDICT_HELD);
        drifts = novels = 0;
        bh_model_expose(m, "a", 3, 0);
        bh_model_settle(m, 9000 * SLOT + 21 * S, decided, NULL);
        g_assert_cmpuint(drifts, ==, 1); /* one notice, no storm: nobody has seen another start to compare with */
        g_assert_cmpuint(novels, ==, 0);
        /* of a family that learns yet it is learned */
        a.family = BH_FAMILY_LISTEN;
        g_assert_cmpint(bh_model_observe(m, "a", &a).kind, ==, BH_VERDICT_LEARNED);
        /* once a start was seen, the next one's novelty is an anomaly */
        bh_model_start(m, "a", 9900 * SLOT);
        a = exec_act("/bin/entry", "/usr/bin/other", 9900 * SLOT, 1);
        a.starting = TRUE;
        g_assert_cmpint(bh_model_observe(m, "a", &a).kind, ==, BH_VERDICT_NOVEL);
}

/* ---- poisoning, people ---- */

static void suspicious_acts_are_never_learned_but_by_a_person(void) {
        g_autoptr(BhModel) m = new_model();
        BhAct a = exec_act("/usr/sbin/nginx", "/bin/sh", S, 1);

        a.suspicious = TRUE;
        a.why = "a shell started by a server";
        a.example = "sh -c id";
        for (guint i = 0; i < 100; i++) {
                BhVerdict v;

                a.first_ns = a.last_ns = i * SLOT;
                v = bh_model_observe(m, "a", &a);
                g_assert_cmpint(v.kind, ==, BH_VERDICT_REFUSED);
                g_assert_true(v.fresh == (i == 0));
        }
        BhModelVersion *version = bh_model_version(m, "a");
        g_assert_cmpuint(version->facets->families[BH_FAMILY_EXEC].learned, ==, 0);
        a.suspicious = FALSE; /* the rule is gone: it stays refused */
        BhVerdict v = bh_model_observe(m, "a", &a);
        g_assert_cmpint(v.kind, ==, BH_VERDICT_REFUSED);
        g_assert_true(bh_model_accept(m, version, v.item->hash));
        g_assert_cmpint(bh_model_observe(m, "a", &a).kind, ==, BH_VERDICT_KNOWN);
        g_assert_true(bh_model_forbid(m, version, v.item->hash));
        g_assert_cmpint(bh_model_observe(m, "a", &a).kind, ==, BH_VERDICT_FORBIDDEN);
        g_assert_false(bh_model_accept(m, version, 1));
}

static void a_person_locks_and_lets_learn_anew(void) {
        g_autoptr(BhModel) m = new_model();

        live(m, "a", 1, 0.01);
        BhModelVersion *v = bh_model_version(m, "a");
        bh_model_lock(m, v, BH_MODEL_ALL);
        g_assert_cmpint(act_at(m, "a", "/usr/bin/new", 50 * SLOT, 1), ==, BH_VERDICT_NOVEL);
        bh_model_relearn(m, v, BH_MODEL_ALL);
        g_assert_cmpuint(g_hash_table_size(v->facets->items), ==, 0);
        g_assert_cmpint(act_at(m, "a", "/usr/bin/new", 51 * SLOT, 1), ==, BH_VERDICT_LEARNED);
}

static BhVerdictKind late_at(BhModel *m, const char *digest, BhFamily family, const char *object, gint64 at_ns) {
        const BhAct a = { .family = family, .actor = "/usr/bin/worker", .object = object, .detail = "", .count = 1, .first_ns = at_ns, .last_ns = at_ns, .replica = 1 };

        return bh_model_observe(m, digest, &a).kind;
}

static void an_early_lock_waits_for_what_shows_late(void) {
        static const BhFamily late[] = { BH_FAMILY_SYSCALL, BH_FAMILY_SEQUENCE, BH_FAMILY_RATE };
        const double enough_ns = BH_MODEL_LATE_TRIALS * (double) SLOT;
        g_autoptr(BhModel) m = new_model();

        live(m, "a", 1, 0.01);
        BhModelVersion *v = bh_model_version(m, "a");
        bh_model_lock(m, v, BH_MODEL_ALL);
        g_assert_true(bh_model_locked(v, BH_FAMILY_EXEC));
        g_assert_cmpint(act_at(m, "a", "/usr/bin/new", 50 * SLOT, 1), ==, BH_VERDICT_NOVEL);
        for (guint i = 0; i < G_N_ELEMENTS(late); i++) {
                g_assert_false(bh_model_locked(v, late[i]));
                g_assert_cmpint(late_at(m, "a", late[i], "early", 50 * SLOT), ==, BH_VERDICT_LEARNED);
        }
        /* what follows one that nothing is known of has nothing to be judged by, and is judged in all else */
        bh_model_start(m, "b", 60 * SLOT);
        g_assert_cmpint(late_at(m, "b", BH_FAMILY_RATE, "first", 61 * SLOT), ==, BH_VERDICT_LEARNED);
        g_assert_cmpint(act_at(m, "b", "/usr/bin/feature", 61 * SLOT, 1), ==, BH_VERDICT_HELD);

        bh_model_expose(m, "a", 1, enough_ns);
        for (guint i = 0; i < G_N_ELEMENTS(late); i++) {
                g_assert_true(bh_model_locked(v, late[i]));
                g_assert_cmpint(late_at(m, "a", late[i], "early", 70 * SLOT), ==, BH_VERDICT_KNOWN);
                g_assert_cmpint(late_at(m, "a", late[i], "late", 70 * SLOT), ==, BH_VERDICT_NOVEL);
        }
        /* "b" was seen for long enough to be what others are judged by */
        bh_model_expose(m, "b", 1, enough_ns);
        bh_model_start(m, "c", 80 * SLOT);
        g_assert_cmpint(late_at(m, "c", BH_FAMILY_RATE, "first", 81 * SLOT), ==, BH_VERDICT_KNOWN);
        g_assert_cmpint(late_at(m, "c", BH_FAMILY_RATE, "second", 81 * SLOT), ==, BH_VERDICT_HELD);
}

static void one_family_that_learns_anew_leaves_the_others_in_the_shadow(void) {
        g_autoptr(BhModel) m = new_model();

        live(m, "old", 3, 24);
        bh_model_start(m, "new", 1000 * SLOT);
        bh_model_expose(m, "new", 3, 0);
        bh_model_relearn(m, bh_model_version(m, "new"), 1u << BH_FAMILY_DNS);
        g_assert_cmpint(act_at(m, "new", "/usr/bin/feature", 1001 * SLOT, 11), ==, BH_VERDICT_HELD);
        const BhAct name = { .family = BH_FAMILY_DNS, .actor = "x", .object = "a.example", .detail = "A", .count = 1, .first_ns = 1002 * SLOT, .last_ns = 1002 * SLOT };
        g_assert_cmpint(bh_model_observe(m, "new", &name).kind, ==, BH_VERDICT_LEARNED);
}

/* ---- versions and replicas ---- */

static void what_all_replicas_of_an_upgrade_do_is_drift_and_what_one_does_an_anomaly(void) {
        g_autoptr(BhModel) m = new_model();

        live(m, "old", 3, 24);
        bh_model_converge(m);
        bh_model_start(m, "new", 1000 * SLOT);
        bh_model_expose(m, "new", 3, 0);
        g_assert_cmpint(act_at(m, "new", "/usr/bin/worker", 1000 * SLOT, 11), ==, BH_VERDICT_KNOWN); /* comes along */
        for (guint r = 11; r <= 13; r++)
                g_assert_cmpint(act_at(m, "new", "/usr/bin/feature", 1001 * SLOT, r), ==, BH_VERDICT_HELD);
        g_assert_cmpint(act_at(m, "new", "/usr/bin/strange", 1001 * SLOT, 12), ==, BH_VERDICT_HELD);
        /* what is dangerous does not wait */
        g_assert_cmpint(act_at(m, "new", "/bin/bash", 1001 * SLOT, 12), ==, BH_VERDICT_NOVEL);

        drifts = novels = 0;
        bh_model_settle(m, 1001 * SLOT + 1, decided, NULL);
        g_assert_cmpuint(drifts + novels, ==, 0);
        bh_model_settle(m, 1001 * SLOT + 21 * S, decided, NULL);
        g_assert_cmpuint(drifts, ==, 1);
        g_assert_cmpuint(novels, ==, 1);
        g_assert_cmpint(act_at(m, "new", "/usr/bin/feature", 1010 * SLOT, 13), ==, BH_VERDICT_DRIFT);
        g_assert_cmpint(act_at(m, "new", "/usr/bin/strange", 1010 * SLOT, 12), ==, BH_VERDICT_NOVEL);

        BhModelVersion *v = bh_model_version(m, "new");
        g_autofree char *said = bh_model_say_drift(m, v);
        g_assert_nonnull(strstr(said, "/usr/bin/feature"));
        g_assert_null(strstr(said, "/usr/bin/strange"));
        g_assert_cmpuint(bh_model_accept_drift(m, v), ==, 1);
        g_assert_cmpint(act_at(m, "new", "/usr/bin/feature", 1011 * SLOT, 13), ==, BH_VERDICT_KNOWN);
}

static void an_anomaly_that_most_replicas_show_becomes_drift(void) {
        g_autoptr(BhModel) m = new_model();

        live(m, "a", 2, 24);
        bh_model_converge(m);
        g_assert_cmpint(act_at(m, "a", "/usr/bin/new", 2000 * SLOT, 1), ==, BH_VERDICT_NOVEL); /* two cannot be compared */
        bh_model_expose(m, "a", 3, 0);
        g_assert_cmpint(act_at(m, "a", "/usr/bin/new", 2000 * SLOT, 1), ==, BH_VERDICT_NOVEL);
        g_assert_cmpint(act_at(m, "a", "/usr/bin/new", 2001 * SLOT, 2), ==, BH_VERDICT_DRIFT);
}

/* A job that comes round comes round in all replicas: no anomaly of the first of them. What is dangerous does not wait. */
static void what_one_of_several_replicas_does_waits_for_the_others(void) {
        g_autoptr(BhModel) m = new_model();

        live(m, "a", 3, 24);
        bh_model_converge(m);
        drifts = novels = 0;
        g_assert_cmpint(act_at(m, "a", "/usr/bin/job", 2000 * SLOT, 1), ==, BH_VERDICT_HELD);
        g_assert_cmpint(act_at(m, "a", "/usr/bin/job", 2000 * SLOT + S, 2), ==, BH_VERDICT_HELD);
        g_assert_cmpint(act_at(m, "a", "/usr/bin/odd", 2000 * SLOT, 3), ==, BH_VERDICT_HELD);
        g_assert_cmpint(act_at(m, "a", "/bin/bash", 2000 * SLOT, 3), ==, BH_VERDICT_NOVEL);
        bh_model_settle(m, 2000 * SLOT + 19 * S, decided, NULL);
        g_assert_cmpuint(drifts + novels, ==, 0);
        bh_model_settle(m, 2000 * SLOT + 21 * S, decided, NULL);
        g_assert_cmpuint(drifts, ==, 1);
        g_assert_cmpuint(novels, ==, 1);
        g_assert_cmpint(act_at(m, "a", "/usr/bin/odd", 2003 * SLOT, 3), ==, BH_VERDICT_NOVEL);
        g_assert_cmpint(act_at(m, "a", "/usr/bin/job", 2003 * SLOT, 3), ==, BH_VERDICT_DRIFT);
}

/* Who waited for others that are gone meanwhile (a rolling update, a scaling) is an anomaly, and not most of what is left. */
static void what_waited_for_replicas_that_went_is_told(void) {
        g_autoptr(BhModel) m = new_model();

        live(m, "a", 3, 24);
        bh_model_converge(m);
        for (guint left = 0; left < 3; left++) {
                g_autofree char *odd = g_strdup_printf("/usr/bin/odd-%c", 'a' + left);
                const gint64 at = (2000 + 10 * left) * SLOT;

                bh_model_expose(m, "a", 3, 0);
                drifts = novels = 0;
                g_assert_cmpint(act_at(m, "a", odd, at, 1), ==, BH_VERDICT_HELD);
                bh_model_expose(m, "a", left, 0);
                bh_model_settle(m, at + 21 * S, decided, NULL);
                g_assert_cmpuint(drifts, ==, 0);
                g_assert_cmpuint(novels, ==, 1);
        }
}

/* Who creates a file writes it: one finding, also where both waited. */
static void creating_and_writing_are_told_once(void) {
        BhAct write = { .family = BH_FAMILY_FILE, .actor = "/usr/sbin/nginx", .object = "/srv/x.php", .detail = "write", .count = 1, .first_ns = 2000 * SLOT, .last_ns = 2000 * SLOT, .replica = 1 }, create = write;
        g_autoptr(BhModel) m = new_model();

        create.detail = "create";
        live(m, "a", 3, 24);
        bh_model_lock(m, bh_model_version(m, "a"), BH_MODEL_ALL);
        g_assert_cmpint(bh_model_observe(m, "a", &write).kind, ==, BH_VERDICT_HELD);
        g_assert_cmpint(bh_model_observe(m, "a", &create).kind, ==, BH_VERDICT_HELD);
        loud = 0;
        bh_model_settle(m, 2000 * SLOT + 21 * S, decided, NULL);
        g_assert_cmpuint(loud, ==, 1);
}

/* A process of the container that lists all looks at the first one as well; its memory or root are another matter. */
static void listing_processes_is_no_reach_for_the_first(void) {
        const BhAct stat = { .family = BH_FAMILY_FILE, .actor = "/bin/ps", .object = "/proc/1/stat", .detail = "read" }, environ = { .family = BH_FAMILY_FILE, .actor = "/bin/ps", .object = "/proc/1/environ", .detail = "read" },
                    root = { .family = BH_FAMILY_FILE, .actor = "/bin/ps", .object = "/proc/1/root/etc/x", .detail = "read" }, write = { .family = BH_FAMILY_FILE, .actor = "/bin/ps", .object = "/proc/1/comm", .detail = "write" };

        g_assert_cmpfloat(bh_act_risk(&stat), <, BH_MODEL_MIDDLE);
        g_assert_cmpfloat(bh_act_risk(&environ), >, BH_MODEL_GRAVE);
        g_assert_cmpfloat(bh_act_risk(&root), >, BH_MODEL_GRAVE);
        g_assert_cmpfloat(bh_act_risk(&write), >, BH_MODEL_GRAVE);
}

static void what_a_new_program_reads_is_told_with_it_unless_it_is_grave(void) {
        g_autoptr(BhModel) m = new_model();
        BhAct read = { .family = BH_FAMILY_FILE, .actor = "/usr/bin/tool", .object = "/usr/lib/libz.so.1", .detail = "read", .count = 1, .first_ns = 2001 * SLOT, .last_ns = 2001 * SLOT, .replica = 1 };

        live(m, "a", 2, 24);
        bh_model_converge(m);
        /* nobody was told of this program; what it loads is what all load */
        g_assert_true(bh_model_observe(m, "a", &read).quiet);
        read.object = "/etc/hosts";
        g_assert_false(bh_model_observe(m, "a", &read).quiet);
        g_assert_cmpint(act_at(m, "a", "/usr/bin/tool", 2000 * SLOT, 1), ==, BH_VERDICT_NOVEL);
        read.object = "/etc/services";
        for (guint i = 0; i < 2; i++) {
                BhVerdict v = bh_model_observe(m, "a", &read);

                g_assert_cmpint(v.kind, ==, BH_VERDICT_NOVEL);
                g_assert_true(v.quiet);
        }
        read.object = "/root/.ssh/id_rsa";
        g_assert_false(bh_model_observe(m, "a", &read).quiet);
        read.object = "/srv/data";
        read.detail = "write";
        g_assert_true(bh_model_observe(m, "a", &read).quiet);
        read.object = "/srv/page.php";
        g_assert_false(bh_model_observe(m, "a", &read).quiet);
        read.object = "/etc/profile";
        g_assert_false(bh_model_observe(m, "a", &read).quiet);
        /* the calls that every program makes are no news of it, others are */
        BhAct call = { .family = BH_FAMILY_SYSCALL, .actor = "/usr/bin/tool", .object = "read", .detail = "", .count = 1, .first_ns = 2001 * SLOT, .last_ns = 2001 * SLOT, .replica = 1 };
        g_assert_true(bh_model_observe(m, "a", &call).quiet);
        call.object = "ptrace";
        g_assert_false(bh_model_observe(m, "a", &call).quiet);
        /* a program that is known says nothing of itself by running */
        read = (BhAct){ .family = BH_FAMILY_FILE, .actor = "/usr/bin/worker", .object = "/etc/services", .detail = "read", .count = 1, .first_ns = 2001 * SLOT, .last_ns = 2001 * SLOT, .replica = 1 };
        g_assert_false(bh_model_observe(m, "a", &read).quiet);
}

static void most_of_a_hundred_replicas_is_more_than_a_few(void) {
        g_autoptr(BhModel) m = new_model();

        live(m, "a", 3, 24);
        bh_model_converge(m);
        bh_model_expose(m, "a", 100, 0);
        /* twenty of a hundred do it: an anomaly, however many are remembered by name */
        for (guint r = 1; r <= 20; r++)
                g_assert_cmpint(act_at(m, "a", "/usr/bin/some", 2000 * SLOT, r * 7919), ==, BH_VERDICT_HELD);
        novels = 0;
        bh_model_settle(m, 2003 * SLOT, decided, NULL);
        g_assert_cmpuint(novels, ==, 1);
        guint until = 21;
        while (until <= 100 && act_at(m, "a", "/usr/bin/some", 2001 * SLOT, until * 7919) == BH_VERDICT_NOVEL)
                until++;
        g_assert_cmpuint(until, >, 40);
        g_assert_cmpuint(until, <, 65);

        /* also after it was stored */
        for (guint r = 1; r <= 20; r++)
                act_at(m, "a", "/usr/bin/few", 2002 * SLOT, r * 104729);
        g_autoptr(GBytes) bytes = bh_model_pack(m);
        g_autoptr(BhModel) again = bh_model_unpack(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), &bh_model_scale_default, NULL);
        const BhAct a = exec_act("/usr/sbin/nginx", "/usr/bin/few", 0, 1);
        guint before = bh_item_replicas(bh_facets_find(bh_model_version(m, "a")->facets, &a));
        g_assert_cmpuint(before, >=, 15);
        g_assert_cmpuint(before, <=, 25);
        g_assert_cmpuint(bh_item_replicas(bh_facets_find(bh_model_version(again, "a")->facets, &a)), ==, before);
}

static void an_act_of_a_container_not_yet_described_makes_no_version(void) {
        g_autoptr(BhModel) m = new_model();

        live(m, "a", 2, 24);
        g_assert_cmpint(act_at(m, "", "/usr/bin/worker", 50 * SLOT, 1), ==, BH_VERDICT_KNOWN);
        g_assert_cmpuint(m->versions->len, ==, 1);
        bh_model_lock(m, bh_model_version(m, NULL), BH_MODEL_ALL);
        g_assert_cmpint(act_at(m, "", "/usr/bin/other", 51 * SLOT, 1), ==, BH_VERDICT_NOVEL);
        g_assert_cmpint(act_at(m, "a", "/usr/bin/third", 51 * SLOT, 1), ==, BH_VERDICT_NOVEL);
}

static void what_came_before_a_container_was_described_is_of_its_version(void) {
        g_autoptr(BhModel) m = new_model();

        live(m, "", 3, 1);
        g_assert_cmpint(act_at(m, "a", "/usr/bin/worker", 50 * SLOT, 1), ==, BH_VERDICT_KNOWN);
        g_assert_cmpint(act_at(m, "a", "/usr/bin/other", 51 * SLOT, 1), ==, BH_VERDICT_LEARNED);
        g_assert_cmpuint(m->versions->len, ==, 1);
        g_assert_false(bh_model_version(m, "a")->shadow);
        /* the next one is a new version as ever */
        g_assert_cmpint(act_at(m, "b", "/usr/bin/third", 52 * SLOT, 1), ==, BH_VERDICT_HELD);
        g_assert_cmpuint(m->versions->len, ==, 2);
}

static void old_versions_make_room(void) {
        g_autoptr(BhModel) m = new_model();

        for (guint i = 0; i < 20; i++) {
                g_autofree char *digest = g_strdup_printf("d%u", i);

                live(m, digest, 1, 0);
                bh_model_expose(m, digest, 0, 0);
        }
        g_assert_cmpuint(m->versions->len, <=, BH_MODEL_VERSIONS);
        g_assert_nonnull(bh_model_version(m, "d19"));
        g_assert_null(bh_model_version(m, "d0"));
}

/* ---- bounds ---- */

static void invented_parameters_take_no_room_from_programs(void) {
        g_autoptr(BhModel) m = new_model();
        guint over = 0;

        bh_model_start(m, "a", S);
        for (guint i = 0; i < 5000; i++) {
                g_autofree char *object = i ? g_strdup_printf("GET /items/%u/{n} x%u", i / 30, i) : g_strdup("GET /items/{n} x0");
                const BhAct a = { .family = BH_FAMILY_PARAMETER, .actor = "/usr/sbin/nginx", .object = object, .detail = "server query number, up to 4 bytes", .count = 1, .first_ns = i * SLOT, .last_ns = i * SLOT, .replica = 1 };
                g_autofree char *says = i ? NULL : bh_act_say(&a);

                over += bh_model_observe(m, "a", &a).kind == BH_VERDICT_FULL;
                if (says)
                        g_assert_cmpstr(says, ==, "/usr/sbin/nginx was given parameter x0 with GET /items/{n} (server query number, up to 4 bytes)");
        }
        g_assert_cmpuint(over, ==, 5000 - BH_MODEL_PARAMETERS);
        g_assert_cmpuint(bh_model_bytes(m), <, BH_MODEL_BYTES / 2);
        g_assert_cmpint(act_at(m, "a", "/usr/bin/worker", 5000 * SLOT, 1), ==, BH_VERDICT_LEARNED);
}

static BhVerdict has_parameter(BhModel *m, const char *endpoint, guint name, gint64 slot) {
        g_autofree char *object = g_strdup_printf("%s x%u", endpoint, name);
        const BhAct a = { .family = BH_FAMILY_PARAMETER, .actor = "/usr/sbin/nginx", .object = object, .detail = "server query number, up to 4 bytes", .count = 1, .first_ns = slot * SLOT, .last_ns = slot * SLOT, .replica = 1 };

        return bh_model_observe(m, "a", &a);
}

static void parameters_invented_at_one_endpoint_are_that_ones_loss(void) {
        g_autoptr(BhModel) m = new_model();
        guint full = 0;

        bh_model_start(m, "a", S);
        /* seen again and again, as what is seen but once says that there is more */
        for (guint i = 0; i < 4; i++)
                for (guint k = 0; k < 1000; k++)
                        full += has_parameter(m, "GET /search", k, 10 + i).kind == BH_VERDICT_FULL;
        for (guint i = 0; i < 4; i++)
                for (guint k = 0; k < 3; k++)
                        g_assert_cmpint(has_parameter(m, "GET /search/{n}", k, 20 + i).kind, ==, i ? BH_VERDICT_KNOWN : BH_VERDICT_LEARNED);
        BhModelVersion *v = bh_model_version(m, "a");
        g_assert_cmpuint(full, ==, 4 * (1000 - BH_MODEL_PARAMETERS_OF_ONE));
        g_assert_cmpuint(m->over, ==, full);
        g_assert_cmpuint(v->facets->families[BH_FAMILY_PARAMETER].over, ==, 0);
        bh_model_expose(m, "a", 1, 86400e9);
        bh_model_converge(m);
        g_assert_cmpint(v->states[BH_FAMILY_PARAMETER], >=, BH_MODEL_SCORED);
        /* of what is not known whole nothing is said; of others all is */
        g_assert_cmpint(has_parameter(m, "GET /search", 2000, 9000).kind, ==, BH_VERDICT_FULL);
        for (guint k = 0; k < 100; k++) {
                BhVerdict new = has_parameter(m, "GET /search/{n}", 100 + k, 9000 + k);

                g_assert_cmpint(new.kind, ==, BH_VERDICT_NOVEL);
                g_assert_cmpint(new.item != NULL, ==, k < BH_MODEL_PARAMETERS_OF_ONE - 3);
        }
}

static void a_flood_stays_in_its_bounds_and_is_counted(void) {
        g_autoptr(BhModel) m = new_model();
        guint over = 0;

        bh_model_start(m, "a", S);
        for (guint i = 0; i < 5000; i++) {
                g_autofree char *exe = g_strdup_printf("/usr/bin/some-longer-name-of-a-program-%c%c%c", 'a' + i % 26, 'a' + i / 26 % 26, 'a' + i / 676);

                over += act_at(m, "a", exe, i * SLOT, 1) == BH_VERDICT_FULL;
        }
        g_assert_cmpuint(over, >, 0);
        g_assert_cmpuint(m->over, ==, over);
        g_assert_cmpuint(bh_model_bytes(m), <=, BH_MODEL_BYTES);
        bh_model_expose(m, "a", 1, 1e20);
        bh_model_converge(m);
        /* what could not be learned whole is not trusted */
        g_assert_cmpint(bh_model_version(m, "a")->states[BH_FAMILY_EXEC], ==, BH_MODEL_LEARNING);
        /* and there is room for what matters */
        bh_model_lock(m, bh_model_version(m, "a"), BH_MODEL_ALL);
        const BhAct shell = exec_act("/usr/sbin/nginx", "/bin/sh", S, 1);
        BhVerdict v = bh_model_observe(m, "a", &shell);
        g_assert_cmpint(v.kind, ==, BH_VERDICT_NOVEL);
        g_assert_nonnull(v.item);
}

static void many_files_of_a_directory_become_one_item(void) {
        g_autoptr(BhModel) m = new_model();
        BhAct a = { .family = BH_FAMILY_FILE, .actor = "/usr/bin/app", .detail = "write", .count = 1, .replica = 1 };

        bh_model_start(m, "a", S);
        for (guint i = 0; i < 200; i++) {
                g_autofree char *path = g_strdup_printf("/var/lib/app/user%c%c.jpg", 'a' + i % 26, 'a' + i / 26);

                a.object = path;
                a.first_ns = a.last_ns = i * SLOT;
                bh_model_observe(m, "a", &a);
        }
        BhModelVersion *v = bh_model_version(m, "a");
        g_assert_cmpuint(v->facets->families[BH_FAMILY_FILE].items, ==, 1);
        bh_model_lock(m, v, BH_MODEL_ALL);
        a.object = "/var/lib/app/anything.jpg";
        g_assert_cmpint(bh_model_observe(m, "a", &a).kind, ==, BH_VERDICT_KNOWN);
        a.object = "/var/lib/app/shell.php";
        g_assert_cmpint(bh_model_observe(m, "a", &a).kind, ==, BH_VERDICT_NOVEL);
        a.object = "/var/lib/app/anything.jpg";
        a.detail = "read";
        g_assert_cmpint(bh_model_observe(m, "a", &a).kind, ==, BH_VERDICT_NOVEL);
}

static void unused_items_age_out_but_for_those_of_people(void) {
        g_autoptr(BhModel) m = new_model();
        const gint64 later = bh_model_scale_default.age_ns + 1000 * SLOT;

        live(m, "a", 1, 1);
        act_at(m, "a", "/usr/bin/kept", SLOT, 1);
        BhModelVersion *v = bh_model_version(m, "a");
        const BhAct kept = exec_act("/usr/sbin/nginx", "/usr/bin/kept", SLOT, 1);
        bh_model_accept(m, v, bh_facets_find(v->facets, &kept)->hash);
        g_assert_cmpuint(bh_model_age(m, 1000 * SLOT), ==, 0);
        g_assert_cmpuint(bh_model_age(m, later), ==, 1);
        g_assert_nonnull(bh_facets_find(v->facets, &kept));
}

/* ---- words, text, bytes ---- */

static void an_anomaly_says_what_was_seen_and_what_expected(void) {
        g_autoptr(BhModel) m = new_model();
        BhAct a = exec_act("/usr/sbin/nginx", "/bin/sh", 5000 * SLOT, 2);

        live(m, "a", 3, 24);
        bh_model_converge(m);
        a.example = "sh -c 'cat /etc/shadow'";
        BhVerdict v = bh_model_observe(m, "a", &a);
        g_autofree char *said = bh_verdict_say(m, &v, &a);
        g_test_message("%s", said);
        g_assert_cmpuint(bh_verdict_priority(&v), ==, 2);
        g_assert_nonnull(strstr(said, "/usr/sbin/nginx started /bin/sh"));
        g_assert_nonnull(strstr(said, "cat /etc/shadow"));
        g_assert_nonnull(strstr(said, "/usr/bin/worker (60 times)"));
        g_assert_nonnull(strstr(said, "1 of 3 replicas"));
}

static void severity_grows_with_risk_and_with_what_is_known(void) {
        BhVerdict v = { .kind = BH_VERDICT_NOVEL, .risk = 0.95, .surprise = 8 }, low = { .kind = BH_VERDICT_NOVEL, .risk = 0.25, .surprise = 8 },
                  unsure = { .kind = BH_VERDICT_NOVEL, .risk = 0.95, .surprise = 0.5 };

        g_assert_cmpuint(bh_verdict_priority(&v), ==, 2);
        g_assert_cmpuint(bh_verdict_priority(&low), ==, 5);
        g_assert_cmpuint(bh_verdict_priority(&unsure), >, bh_verdict_priority(&v));
}

static void stored_and_read_it_judges_the_same(void) {
        g_autoptr(BhModel) m = new_model();
        g_autoptr(GError) error = NULL;

        live(m, "a", 3, 24);
        bh_model_converge(m);
        act_at(m, "a", "/bin/sh", 3000 * SLOT, 1);
        g_autoptr(GBytes) bytes = bh_model_pack(m);
        g_autoptr(BhModel) again = bh_model_unpack(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), &bh_model_scale_default, &error);
        g_assert_no_error(error);
        again->seen = BH_MODEL_ALL;
        g_assert_cmpuint(bh_model_bytes(again), ==, bh_model_bytes(m));
        g_assert_cmpint(bh_model_version(again, "a")->states[BH_FAMILY_EXEC], ==, BH_MODEL_SCORED);
        g_assert_cmpint(act_at(again, "a", "/usr/bin/worker", 3001 * SLOT, 1), ==, BH_VERDICT_KNOWN);
        const BhAct sh = exec_act("/usr/sbin/nginx", "/bin/sh", 3002 * SLOT, 1);
        g_assert_false(bh_model_observe(again, "a", &sh).fresh);
        g_assert_cmpint(act_at(again, "a", "/bin/ash", 3001 * SLOT, 1), ==, BH_VERDICT_NOVEL);
        /* each prefix is refused, whole */
        for (gsize n = 0; n < g_bytes_get_size(bytes); n++)
                g_assert_null(bh_model_unpack(g_bytes_get_data(bytes, NULL), n, &bh_model_scale_default, NULL));
}

static void exported_and_imported_it_knows_the_same(void) {
        g_autoptr(BhModel) m = new_model(), other = new_model();
        g_autoptr(GError) error = NULL;

        live(m, "sha256:a", 1, 1);
        BhModelVersion *v = bh_model_version(m, "sha256:a");
        g_autofree char *text = bh_model_export(m, v), *twice = bh_model_export(m, v);
        g_assert_cmpstr(text, ==, twice);
        g_assert_cmpint(bh_model_import(other, text, strlen(text), NULL, S, &error), ==, 1);
        g_assert_no_error(error);
        bh_model_lock(other, bh_model_version(other, "sha256:a"), BH_MODEL_ALL);
        g_assert_cmpint(act_at(other, "sha256:a", "/usr/bin/worker", 1, 1), ==, BH_VERDICT_KNOWN);
        g_assert_cmpint(act_at(other, "sha256:a", "/usr/bin/x", 1, 1), ==, BH_VERDICT_NOVEL);
}

/* Somebody vouches for a list of calls: it holds from the first one on, and what the list has none of waits as ever. */
static void an_imported_and_locked_list_of_late_families_holds_at_once(void) {
        static const char text[] = "{\"bulkhead_model\":1,\"image_digest\":\"sha256:a\"}\n{\"family\":\"syscall\",\"actor\":\"/usr/bin/worker\",\"object\":\"read\",\"detail\":\"\",\"uid\":0}\n";
        g_autoptr(BhModel) m = new_model();
        g_autoptr(GError) error = NULL;

        g_assert_cmpint(bh_model_import(m, text, sizeof(text) - 1, NULL, S, &error), ==, 1);
        BhModelVersion *v = bh_model_version(m, "sha256:a");
        bh_model_lock(m, v, BH_MODEL_ALL);
        g_assert_true(bh_model_locked(v, BH_FAMILY_SYSCALL));
        g_assert_false(bh_model_locked(v, BH_FAMILY_RATE));
        g_assert_cmpint(late_at(m, "sha256:a", BH_FAMILY_SYSCALL, "read", S), ==, BH_VERDICT_KNOWN);
        g_assert_cmpint(late_at(m, "sha256:a", BH_FAMILY_SYSCALL, "ptrace", S), ==, BH_VERDICT_NOVEL);
        g_assert_cmpint(late_at(m, "sha256:a", BH_FAMILY_RATE, "r", S), ==, BH_VERDICT_LEARNED);
        g_assert_true(bh_model_forbid(m, v, bh_facets_find(v->facets, &(BhAct){ .family = BH_FAMILY_SYSCALL, .actor = "/usr/bin/worker", .object = "read", .detail = "" })->hash));
        g_assert_false(bh_model_locked(v, BH_FAMILY_SYSCALL));
}

static void a_wrong_text_is_refused_with_its_line(void) {
        static const struct { const char *text, *says; } rows[] = {
                { "", "line 1" }, { "{}\n", "line 1" }, { "[1]\n", "line 1" }, { "{\"bulkhead_model\":1}\nnonsense\n", "line 2" }, { "{\"bulkhead_model\":1}\n\n{\"family\":\"exec\"}\n", "line 3" },
                { "{\"bulkhead_model\":1}\n{\"family\":\"none\",\"actor\":\"\",\"object\":\"\",\"detail\":\"\"}\n", "family" },
                { "{\"bulkhead_model\":1}\n{\"family\":\"exec\",\"actor\":\"\",\"object\":\"\",\"detail\":\"\",\"uid\":-1}\n", "uid" },
        };

        for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
                g_autoptr(BhModel) m = new_model();
                g_autoptr(GError) error = NULL;

                g_assert_cmpint(bh_model_import(m, rows[i].text, strlen(rows[i].text), NULL, S, &error), ==, -1);
                g_assert_nonnull(error);
                g_assert_nonnull(strstr(error->message, rows[i].says));
                g_assert_cmpuint(m->versions->len, ==, 0);
        }
}

static void makes_call(BhModel *m, const char *call, const char *detail) {
        const BhAct a = { .family = BH_FAMILY_SYSCALL, .actor = "/usr/bin/worker", .object = call, .detail = detail, .count = 1, .first_ns = S, .last_ns = S, .replica = 1 };

        bh_model_observe(m, "a", &a);
}

static void a_seccomp_profile_has_what_was_learned_and_what_the_runtime_needs(void) {
        g_autoptr(BhModel) m = new_model();
        g_autoptr(GError) error = NULL;

        live(m, "a", 1, 1);
        g_assert_null(bh_model_seccomp(m, bh_model_version(m, "a"), &error));
        g_assert_nonnull(strstr(error->message, "no system calls were learned of shop/web"));

        makes_call(m, "sendfile", "");
        makes_call(m, "syscall_999", "");
        makes_call(m, "a\"b", "");
        g_autofree char *text = bh_model_seccomp(m, bh_model_version(m, "a"), NULL);
        json_t *top = json_loads(text, 0, NULL), *rules = json_object_get(top, "syscalls");
        g_assert_nonnull(top);
        g_assert_cmpstr(json_string_value(json_object_get(top, "defaultAction")), ==, "SCMP_ACT_ERRNO");
        g_assert_cmpuint(json_array_size(json_object_get(top, "architectures")), ==, 1);
        g_assert_cmpuint(json_array_size(rules), ==, 2);
        const json_t *learned = json_object_get(json_array_get(rules, 0), "names");
        g_assert_cmpuint(json_array_size(learned), ==, 2); /* what has no name cannot be named */
        g_assert_cmpstr(json_string_value(json_array_get(learned, 0)), ==, "a\"b");
        g_assert_cmpstr(json_string_value(json_array_get(learned, 1)), ==, "sendfile");
        g_assert_nonnull(strstr(text, "\"execve\""));
        g_assert_null(strstr(text, "\"ptrace\""));
        json_decref(top);

        /* what nobody may do is in none, though it was seen; a program of the other interface has it allowed */
        makes_call(m, "ptrace", "32-bit");
        const BhAct ptrace = { .family = BH_FAMILY_SYSCALL, .actor = "/usr/bin/worker", .object = "ptrace", .detail = "32-bit" };
        g_autofree char *more = bh_model_seccomp(m, bh_model_version(m, "a"), NULL);
        g_assert_nonnull(strstr(more, "\"ptrace\""));
        g_assert_nonnull(strstr(more, "SCMP_ARCH_X86\""));
        g_assert_true(bh_model_forbid(m, bh_model_version(m, "a"), bh_facets_find(bh_model_version(m, "a")->facets, &ptrace)->hash));
        g_autofree char *less = bh_model_seccomp(m, bh_model_version(m, "a"), NULL);
        g_assert_null(strstr(less, "\"ptrace\""));
}

static void a_network_policy_says_what_peers_say(void) {
        g_autoptr(BhModel) m = new_model();
        BhAct a = { .family = BH_FAMILY_PEER, .actor = "", .object = "workload shop/db", .detail = "out tcp/5432", .count = 1 };

        bh_model_observe(m, "a", &a);
        a.object = "network 10.1.0.0/16";
        a.detail = "in tcp/80";
        bh_model_observe(m, "a", &a);
        a.object = "name evil\"\n  - x";
        bh_model_observe(m, "a", &a);
        g_autofree char *text = bh_model_network_policy(m, bh_model_version(m, "a")), *list = bh_model_allow_list(m, bh_model_version(m, "a"));
        g_assert_nonnull(strstr(text, "app: \"db\""));
        g_assert_nonnull(strstr(text, "port: 5432"));
        g_assert_nonnull(strstr(text, "cidr: \"10.1.0.0/16\""));
        g_assert_null(strstr(text, "\n  - x"));
        g_assert_nonnull(strstr(list, "workload shop/db"));
}

static void starts(BhModel *m, const char *parent, const char *exe, const char *why) {
        BhAct a = exec_act(parent, exe, S, 1);

        a.suspicious = why != NULL;
        a.why = why ? why : "";
        bh_model_observe(m, "a", &a);
}

static char *programs_of(const BhModel *m) {
        g_auto(GStrv) list = bh_model_programs(bh_model_version(m, "a"));

        return g_strjoinv(" ", list);
}

static guint64 item_of(const BhModel *m, const char *parent, const char *exe) {
        const BhAct a = exec_act(parent, exe, 0, 0);

        return bh_facets_find(bh_model_version(m, "a")->facets, &a)->hash;
}

/* What an intruder's program did while it was learned does not make it known, and the first of all was never seen to start. */
static void programs_that_may_run_are_files_that_were_learned_or_accepted(void) {
        g_autoptr(BhModel) m = new_model();
        BhModelVersion *v;

        starts(m, "/usr/sbin/nginx", "/usr/bin/worker", NULL);
        starts(m, "/usr/bin/worker", "/bin/busybox cat", NULL);
        starts(m, "/usr/bin/worker", "/bin/busybox wc", NULL);
        starts(m, "/usr/bin/worker", "/opt/tool", "a program that is not in the image");
        starts(m, "/opt/tool", "/usr/bin/id", NULL);
        starts(m, "/tmp/odd", "/usr/bin/id", NULL);
        starts(m, "/usr/bin/worker", "/memfd:x", "a program that is only in memory");
        g_autofree char *first = programs_of(m);
        g_assert_cmpstr(first, ==, "/bin/busybox /usr/bin/id /usr/bin/worker /usr/sbin/nginx");

        v = bh_model_version(m, "a");
        bh_model_lock(m, v, 1u << BH_FAMILY_EXEC);
        starts(m, "/usr/bin/worker", "/usr/bin/new", NULL);
        starts(m, "/usr/bin/worker", "/bin/sh", "a shell started by a server");
        g_autofree char *locked = programs_of(m);
        g_assert_cmpstr(locked, ==, first);

        /* as a person says */
        g_assert_true(bh_model_accept(m, v, item_of(m, "/usr/bin/worker", "/opt/tool")));
        g_assert_true(bh_model_accept(m, v, item_of(m, "/usr/bin/worker", "/usr/bin/new")));
        g_assert_true(bh_model_accept(m, v, item_of(m, "/usr/bin/worker", "/bin/sh")));
        g_assert_true(bh_model_accept(m, v, item_of(m, "/usr/bin/worker", "/memfd:x")));
        g_assert_true(bh_model_forbid(m, v, item_of(m, "/opt/tool", "/usr/bin/id")));
        g_assert_true(bh_model_forbid(m, v, item_of(m, "/tmp/odd", "/usr/bin/id")));
        g_autofree char *judged = programs_of(m);
        g_assert_cmpstr(judged, ==, "/bin/busybox /bin/sh /usr/bin/new /usr/bin/worker /usr/sbin/nginx any:/opt/tool");
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/model/programs_that_may_run_are_files_that_were_learned_or_accepted", programs_that_may_run_are_files_that_were_learned_or_accepted);
        g_test_add_func("/model/unseen_mass_is_bounded_as_often_as_claimed", unseen_mass_is_bounded_as_often_as_claimed);
        g_test_add_func("/model/poisson_limits_are_those_of_the_tables", poisson_limits_are_those_of_the_tables);
        g_test_add_func("/model/repeats_within_a_trial_are_no_evidence", repeats_within_a_trial_are_no_evidence);
        g_test_add_func("/model/what_all_replicas_do_at_one_time_was_shown_once", what_all_replicas_do_at_one_time_was_shown_once);
        g_test_add_func("/model/families_converge_by_evidence_and_not_before", families_converge_by_evidence_and_not_before);
        g_test_add_func("/model/one_item_seen_once_holds_convergence_up", one_item_seen_once_holds_convergence_up);
        g_test_add_func("/model/enforceable_takes_a_month_of_containers_and_a_restart", enforceable_takes_a_month_of_containers_and_a_restart);
        g_test_add_func("/model/silence_of_a_kind_that_nobody_tells_proves_nothing", silence_of_a_kind_that_nobody_tells_proves_nothing);
        g_test_add_func("/model/what_begins_with_a_container_is_no_rarity", what_begins_with_a_container_is_no_rarity);
        g_test_add_func("/model/the_first_start_of_a_trusted_family_is_looked_at_and_not_learned", the_first_start_of_a_trusted_family_is_looked_at_and_not_learned);
        g_test_add_func("/model/what_a_new_program_reads_is_told_with_it_unless_it_is_grave", what_a_new_program_reads_is_told_with_it_unless_it_is_grave);
        g_test_add_func("/model/most_of_a_hundred_replicas_is_more_than_a_few", most_of_a_hundred_replicas_is_more_than_a_few);
        g_test_add_func("/model/suspicious_acts_are_never_learned_but_by_a_person", suspicious_acts_are_never_learned_but_by_a_person);
        g_test_add_func("/model/a_person_locks_and_lets_learn_anew", a_person_locks_and_lets_learn_anew);
        g_test_add_func("/model/an_early_lock_waits_for_what_shows_late", an_early_lock_waits_for_what_shows_late);
        g_test_add_func("/model/one_family_that_learns_anew_leaves_the_others_in_the_shadow", one_family_that_learns_anew_leaves_the_others_in_the_shadow);
        g_test_add_func("/model/what_all_replicas_of_an_upgrade_do_is_drift_and_what_one_does_an_anomaly", what_all_replicas_of_an_upgrade_do_is_drift_and_what_one_does_an_anomaly);
        g_test_add_func("/model/an_anomaly_that_most_replicas_show_becomes_drift", an_anomaly_that_most_replicas_show_becomes_drift);
        g_test_add_func("/model/what_one_of_several_replicas_does_waits_for_the_others", what_one_of_several_replicas_does_waits_for_the_others);
        g_test_add_func("/model/what_waited_for_replicas_that_went_is_told", what_waited_for_replicas_that_went_is_told);
        g_test_add_func("/model/creating_and_writing_are_told_once", creating_and_writing_are_told_once);
        g_test_add_func("/model/listing_processes_is_no_reach_for_the_first", listing_processes_is_no_reach_for_the_first);
        g_test_add_func("/model/an_act_of_a_container_not_yet_described_makes_no_version", an_act_of_a_container_not_yet_described_makes_no_version);
        g_test_add_func("/model/what_came_before_a_container_was_described_is_of_its_version", what_came_before_a_container_was_described_is_of_its_version);
        g_test_add_func("/model/old_versions_make_room", old_versions_make_room);
        g_test_add_func("/model/invented_parameters_take_no_room_from_programs", invented_parameters_take_no_room_from_programs);
        g_test_add_func("/model/parameters_invented_at_one_endpoint_are_that_ones_loss", parameters_invented_at_one_endpoint_are_that_ones_loss);
        g_test_add_func("/model/a_flood_stays_in_its_bounds_and_is_counted", a_flood_stays_in_its_bounds_and_is_counted);
        g_test_add_func("/model/many_files_of_a_directory_become_one_item", many_files_of_a_directory_become_one_item);
        g_test_add_func("/model/unused_items_age_out_but_for_those_of_people", unused_items_age_out_but_for_those_of_people);
        g_test_add_func("/model/an_anomaly_says_what_was_seen_and_what_expected", an_anomaly_says_what_was_seen_and_what_expected);
        g_test_add_func("/model/severity_grows_with_risk_and_with_what_is_known", severity_grows_with_risk_and_with_what_is_known);
        g_test_add_func("/model/stored_and_read_it_judges_the_same", stored_and_read_it_judges_the_same);
        g_test_add_func("/model/exported_and_imported_it_knows_the_same", exported_and_imported_it_knows_the_same);
        g_test_add_func("/model/an_imported_and_locked_list_of_late_families_holds_at_once", an_imported_and_locked_list_of_late_families_holds_at_once);
        g_test_add_func("/model/a_wrong_text_is_refused_with_its_line", a_wrong_text_is_refused_with_its_line);
        g_test_add_func("/model/a_seccomp_profile_has_what_was_learned_and_what_the_runtime_needs", a_seccomp_profile_has_what_was_learned_and_what_the_runtime_needs);
        g_test_add_func("/model/a_network_policy_says_what_peers_say", a_network_policy_says_what_peers_say);
        return g_test_run();
}

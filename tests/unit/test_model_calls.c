/* SPDX-License-Identifier: Apache-2.0 */
#include "model/calls.h"

#include <math.h>
#include <stdio.h>

/* "1:3 2:1": call 1 three times, call 2 once. */
static guint window_of(const char *text, BhCallCount *out) {
        g_auto(GStrv) parts = g_strsplit(text, " ", -1);
        guint n = 0;

        for (guint i = 0; parts[i]; i++) {
                guint call, count;

                if (sscanf(parts[i], "%u:%u", &call, &count) == 2)
                        out[n++] = (BhCallCount){ .call = (guint16) call, .count = count };
        }
        return n;
}

static void learn(BhCallModel *m, const char *text, guint times) {
        BhCallCount w[256];
        guint n = window_of(text, w);

        while (times--)
                bh_calls_learn(m, w, n);
}

static BhCallScore score(const BhCallModel *m, const char *text) {
        BhCallCount w[256];
        BhCallScore s;

        bh_calls_score(m, w, window_of(text, w), &s);
        return s;
}

static const BhCallEvidence *find(const BhCallScore *s, BhCallEvidenceKind kind) {
        for (guint i = 0; i < s->n; i++)
                if (s->evidence[i].kind == kind)
                        return &s->evidence[i];
        return NULL;
}

static void what_was_learned_is_no_surprise(void) {
        g_autoptr(BhCallModel) m = bh_calls_new(TRUE);
        BhCallScore s = score(m, "1:1 2:1");

        g_assert_cmpfloat(s.novelty + s.excess + s.level, ==, 0); /* an empty model knows nothing */
        learn(m, "1:4 2:4", 100);
        learn(m, "1:8 3:1", 100);
        for (guint i = 0; i < 2; i++) {
                s = score(m, i ? "1:8 3:1" : "1:4 2:4");
                g_assert_cmpfloat(s.novelty, ==, 0);
                g_assert_cmpfloat(s.excess, <=, 0);
                g_assert_cmpfloat(s.level, ==, 0);
                g_assert_cmpuint(s.n, ==, 0);
        }
        g_assert_cmpuint(bh_calls_windows(m), ==, 200);
        g_assert_cmpuint(bh_calls_seen(m, 1), ==, 200);
        g_assert_cmpuint(bh_calls_seen(m, 3), ==, 100);
        g_assert_cmpuint(bh_calls_seen(m, 9), ==, 0);
}

static void a_call_never_made_weighs_by_how_rarely_new_ones_came(void) {
        g_autoptr(BhCallModel) m = bh_calls_new(TRUE);

        learn(m, "1:4 2:4", 199);
        BhCallScore s = score(m, "1:4 7:2");
        const BhCallEvidence *e = find(&s, BH_CALLS_NEVER);
        g_assert_nonnull(e);
        g_assert_cmpuint(e->a, ==, 7);
        g_assert_cmpuint(e->count_a, ==, 2);
        g_assert_cmpfloat_with_epsilon(s.novelty, log(200), 1e-9);
        /* two singletons: something new was not that rare */
        learn(m, "5:1", 1);
        learn(m, "6:1", 1);
        s = score(m, "1:4 7:2");
        g_assert_cmpfloat_with_epsilon(s.novelty, log(202.0 / 3), 1e-9);
}

static void a_pair_never_made_weighs_by_the_rarer_call(void) {
        g_autoptr(BhCallModel) m = bh_calls_new(TRUE);

        learn(m, "1:1", 500);
        learn(m, "2:1", 49);
        BhCallScore s = score(m, "1:1 2:1");
        const BhCallEvidence *e = find(&s, BH_CALLS_PAIR);
        g_assert_nonnull(e);
        g_assert_cmpuint(MIN(e->a, e->b), ==, 1);
        g_assert_cmpuint(MAX(e->a, e->b), ==, 2);
        g_assert_cmpuint(e->expected, ==, 49);
        g_assert_cmpfloat_with_epsilon(s.novelty, log(2 * 50.0), 1e-9);
        learn(m, "1:1 2:1", 1);
        s = score(m, "1:1 2:1");
        g_assert_cmpfloat(s.novelty, ==, 0);
}

static void excess_is_in_deviations_above_the_greatest(void) {
        g_autoptr(BhCallModel) m = bh_calls_new(TRUE);
        const BhCallEvidence *e;
        BhCallScore s;

        learn(m, "1:10", 50);
        learn(m, "1:20", 50);
        s = score(m, "1:20");
        g_assert_cmpfloat(s.excess, ==, 0);
        s = score(m, "1:400");
        double deviation = (log1p(20) - log1p(10)) / 2;
        g_assert_cmpfloat_with_epsilon(s.excess, (log1p(400) - log1p(20)) / (deviation + 0.1), 1e-9);
        g_assert_nonnull(e = find(&s, BH_CALLS_EXCESS));
        g_assert_cmpuint(e->expected, ==, 20);
        g_assert_cmpuint(e->count_a, ==, 400);
}

static void proportions_that_were_always_kept_are_levels(void) {
        g_autoptr(BhCallModel) m = bh_calls_new(TRUE);
        BhCallScore s;

        learn(m, "1:2 2:2", 100);
        learn(m, "1:64 2:64", 100);
        s = score(m, "1:64 2:2");
        g_assert_cmpfloat_with_epsilon(s.level, log(101), 1e-9);
        g_assert_cmpfloat(s.novelty, ==, 0);
        g_assert_cmpfloat(s.excess, <=, 0);
        const BhCallEvidence *e = find(&s, BH_CALLS_LEVEL);
        g_assert_nonnull(e);
        g_assert_cmpuint(e->count_a + e->count_b, ==, 66);
        /* being absent is a level */
        s = score(m, "1:64");
        g_assert_cmpfloat(s.level, ==, 0); /* call 2 was never absent: not a level that was learned */
        learn(m, "3:1", 40);
        s = score(m, "1:64"); /* without call 2 there was never so much of call 1, and never no call 3 */
        g_assert_cmpfloat_with_epsilon(s.level, 2 * log(41), 1e-9);
        g_assert_cmpuint(find(&s, BH_CALLS_LEVEL)->count_a * find(&s, BH_CALLS_LEVEL)->count_b, ==, 0);
}

static void a_call_that_comes_late_was_absent_before(void) {
        g_autoptr(BhCallModel) m = bh_calls_new(TRUE);

        learn(m, "1:2", 100);
        learn(m, "1:2 2:1", 100);
        g_assert_cmpfloat(score(m, "1:2").level, ==, 0);
        g_assert_cmpfloat(score(m, "1:2 2:1").level, ==, 0);
}

static void without_levels_the_rest_is_the_same(void) {
        g_autoptr(BhCallModel) m = bh_calls_new(FALSE), whole = bh_calls_new(TRUE);
        static const char *const windows[] = { "1:4 2:4", "1:8 3:1", "5:1 6:3", "1:4 2:400 9:1", "2:4 3:1", "1:4" };

        learn(m, "1:4 2:4", 100);
        learn(whole, "1:4 2:4", 100);
        learn(m, "1:8 3:1", 100);
        learn(whole, "1:8 3:1", 100);
        for (guint i = 0; i < G_N_ELEMENTS(windows); i++) {
                BhCallScore a = score(m, windows[i]), b = score(whole, windows[i]);

                g_assert_cmpfloat(a.novelty, ==, b.novelty);
                g_assert_cmpfloat(a.excess, ==, b.excess);
                g_assert_cmpfloat(a.level, ==, 0);
                g_assert_null(find(&a, BH_CALLS_LEVEL));
        }
        g_assert_cmpfloat(score(whole, "1:4").level, >, 0);
        for (guint call = 0; call < BH_CALLS_MAX + 10; call++) {
                BhCallCount w = { (guint16) call, 1u << (call % 31) };

                bh_calls_learn(m, &w, 1);
        }
        g_assert_cmpuint(bh_calls_refused(m), >, 0);
        g_assert_cmpuint(bh_calls_bytes(m), <=, 42 * 1024);
}

static void bounds_hold_and_are_counted(void) {
        g_autoptr(BhCallModel) m = bh_calls_new(TRUE);
        BhCallCount w[2] = { 0 };

        for (guint call = 0; call < 2000; call++) {
                w[0] = (BhCallCount){ (guint16) call, 1 };
                w[1] = (BhCallCount){ (guint16) (call % 128), 1u << (call % 31) };
                bh_calls_learn(m, w, call % 128 == call ? 1 : 2);
        }
        g_assert_cmpuint(bh_calls_refused(m), >=, 2000 - 128);
        g_assert_cmpuint(bh_calls_bytes(m), <=, 80 * 1024);
        BhCallScore s = score(m, "1999:4294967295 0:4294967295");
        g_assert_true(isfinite(s.novelty) && isfinite(s.excess) && isfinite(s.level));
        g_assert_cmpuint(s.n, <=, BH_CALLS_EVIDENCE);
}

static void evidence_of_each_kind_survives_a_crowd(void) {
        g_autoptr(BhCallModel) m = bh_calls_new(TRUE);
        g_autoptr(GString) crowd = g_string_new(NULL);
        BhCallScore s;

        learn(m, "1:1", 100);
        learn(m, "2:1", 100);
        for (guint i = 100; i < 160; i++)
                g_string_append_printf(crowd, "%u:1 ", i);
        g_string_append(crowd, "1:900 2:1");
        s = score(m, crowd->str);
        g_assert_cmpuint(s.n, ==, BH_CALLS_EVIDENCE);
        g_assert_nonnull(find(&s, BH_CALLS_NEVER));
        g_assert_nonnull(find(&s, BH_CALLS_PAIR));
        g_assert_nonnull(find(&s, BH_CALLS_EXCESS));
}

static void unseen_mass_falls_with_exposure(void) {
        g_autoptr(BhCallModel) m = bh_calls_new(TRUE);
        double bound;

        g_assert_cmpfloat(bh_calls_unseen(m, &bound), ==, 1);
        g_assert_cmpfloat(bound, ==, 1);
        learn(m, "1:1 2:1", 1);
        g_assert_cmpfloat(bh_calls_unseen(m, NULL), ==, 1);
        learn(m, "1:1 2:1", 2999);
        g_assert_cmpfloat(bh_calls_unseen(m, &bound), ==, 0);
        g_assert_cmpfloat(bound, >, 0.0009);
        g_assert_cmpfloat(bound, <=, 0.0011); /* three in three thousand */
        learn(m, "3:1", 1);
        g_assert_cmpfloat_with_epsilon(bh_calls_unseen(m, NULL), 1.0 / 3001, 1e-9);
}

static void limits_are_quantiles(void) {
        double scores[] = { 5, 1, 3, 2, 4 };

        g_assert_cmpfloat(bh_calls_limit(scores, 5, 1), ==, 5);
        g_assert_cmpfloat(bh_calls_limit(scores, 5, 0), ==, 1);
        g_assert_cmpfloat(bh_calls_limit(scores, 5, 0.5), ==, 3);
        g_assert_cmpfloat_with_epsilon(bh_calls_limit(scores, 5, 0.9), 4.6, 1e-9);
        g_assert_cmpfloat(bh_calls_limit(scores, 0, 0.9), ==, 0);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/model/calls/what_was_learned_is_no_surprise", what_was_learned_is_no_surprise);
        g_test_add_func("/model/calls/a_call_never_made_weighs_by_how_rarely_new_ones_came", a_call_never_made_weighs_by_how_rarely_new_ones_came);
        g_test_add_func("/model/calls/a_pair_never_made_weighs_by_the_rarer_call", a_pair_never_made_weighs_by_the_rarer_call);
        g_test_add_func("/model/calls/excess_is_in_deviations_above_the_greatest", excess_is_in_deviations_above_the_greatest);
        g_test_add_func("/model/calls/proportions_that_were_always_kept_are_levels", proportions_that_were_always_kept_are_levels);
        g_test_add_func("/model/calls/a_call_that_comes_late_was_absent_before", a_call_that_comes_late_was_absent_before);
        g_test_add_func("/model/calls/without_levels_the_rest_is_the_same", without_levels_the_rest_is_the_same);
        g_test_add_func("/model/calls/bounds_hold_and_are_counted", bounds_hold_and_are_counted);
        g_test_add_func("/model/calls/evidence_of_each_kind_survives_a_crowd", evidence_of_each_kind_survives_a_crowd);
        g_test_add_func("/model/calls/unseen_mass_falls_with_exposure", unseen_mass_falls_with_exposure);
        g_test_add_func("/model/calls/limits_are_quantiles", limits_are_quantiles);
        return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A new version goes on where the one before ended: what was known is no news, what was to be expected still is, and what is small and new is told on the first day. */
#include "model/model.h"

#include <string.h>

#define S G_GINT64_CONSTANT(1000000000)
#define SLOT (10 * S)
#define DAYS(n) ((n) * 86400e9)
#define FILES 12u

static BhModel *new_model(void) {
        BhModel *m = bh_model_new("shop", "web", &bh_model_scale_default);

        m->seen = BH_MODEL_ALL;
        return m;
}

/* Small: a file in no sensitive place is read. */
static BhAct read_act(const char *path, gint64 slot, guint64 replica) {
        return (BhAct){ .family = BH_FAMILY_FILE, .actor = "/usr/bin/worker", .object = path, .detail = "read", .count = 1, .first_ns = slot * SLOT, .last_ns = slot * SLOT, .replica = replica };
}

static BhVerdict reads(BhModel *m, const char *digest, const char *path, gint64 slot, guint64 replica) {
        const BhAct a = read_act(path, slot, replica);

        return bh_model_observe(m, digest, &a);
}

/* Two replicas, which read FILES files now and then, and one when they begin; for so long. */
static BhModel *long_learned(double days) {
        BhModel *m = new_model();
        BhAct a = read_act("/srv/begin.conf", 0, 1);

        bh_model_start(m, "old", 0);
        a.starting = TRUE;
        bh_model_observe(m, "old", &a);
        for (guint i = 0; i < FILES; i++)
                for (guint k = 0; k < 5; k++) {
                        g_autofree char *path = g_strdup_printf("/srv/%c.conf", 'a' + i);

                        reads(m, "old", path, 10 + i + 100 * k, 1 + k % 2);
                }
        bh_model_expose(m, "old", 2, DAYS(days));
        g_assert_true(bh_model_converge(m));
        return m;
}

/* The next version does the same, each once. */
static void deploy(BhModel *m, guint replicas) {
        BhAct a = read_act("/srv/begin.conf", 5000, 11);

        bh_model_start(m, "new", 5000 * SLOT);
        bh_model_expose(m, "new", replicas, 0);
        a.starting = TRUE;
        bh_model_observe(m, "new", &a);
        for (guint i = 0; i < FILES; i++) {
                g_autofree char *path = g_strdup_printf("/srv/%c.conf", 'a' + i);

                g_assert_cmpint(reads(m, "new", path, 5001 + i, 11).kind, ==, BH_VERDICT_KNOWN);
        }
}

static guint told, quiet, drifts;
static void decided(BhModel *m, const BhVerdict *v, gpointer data) {
        drifts += v->kind == BH_VERDICT_DRIFT;
        told += v->kind == BH_VERDICT_NOVEL && !v->quiet;
        quiet += v->kind == BH_VERDICT_NOVEL && v->quiet;
}

static void settle(BhModel *m, gint64 slot) {
        told = quiet = drifts = 0;
        bh_model_settle(m, slot * SLOT, decided, NULL);
}

static void a_small_new_act_soon_after_a_deploy_is_told(void) {
        g_autoptr(BhModel) m = long_learned(100);

        deploy(m, 2);
        g_assert_cmpint(reads(m, "new", "/srv/customers.db", 5100, 11).kind, ==, BH_VERDICT_HELD);
        settle(m, 5110);
        g_assert_cmpuint(told, ==, 1);
        g_assert_cmpuint(quiet + drifts, ==, 0);
        /* nor later, when it has proved itself: what it has waited for is not to be waited for twice */
        bh_model_expose(m, "new", 2, DAYS(0.4));
        g_assert_true(bh_model_converge(m));
        BhVerdict v = reads(m, "new", "/srv/more.db", 9000, 12);
        g_assert_cmpint(v.kind, ==, BH_VERDICT_NOVEL);
        g_assert_false(v.quiet);
}

/* And of one that was learned for an hour it is not: nobody knows yet what is normal. */
static void of_a_version_that_hardly_ran_the_next_knows_no_more(void) {
        g_autoptr(BhModel) m = new_model();

        bh_model_start(m, "old", 0);
        reads(m, "old", "/srv/begin.conf", 1, 1);
        for (guint i = 0; i < FILES; i++) {
                g_autofree char *path = g_strdup_printf("/srv/%c.conf", 'a' + i);

                reads(m, "old", path, 10 + i, 1);
        }
        bh_model_expose(m, "old", 2, DAYS(0.04));
        deploy(m, 2);
        reads(m, "new", "/srv/customers.db", 5100, 11);
        settle(m, 5110);
        g_assert_cmpuint(quiet, ==, 1);
        g_assert_cmpuint(told, ==, 0);
}

static void what_all_of_a_deploy_do_is_drift_and_told_together(void) {
        g_autoptr(BhModel) m = long_learned(100);
        BhModelVersion *v;

        deploy(m, 3);
        for (guint i = 0; i < 40; i++)
                for (guint r = 11; r <= 13; r++) {
                        g_autofree char *path = g_strdup_printf("/srv/feature/%c%c.tpl", 'a' + i / 26, 'a' + i % 26);

                        reads(m, "new", path, 5100 + i, r);
                }
        settle(m, 5200);
        v = bh_model_version(m, "new");
        g_assert_cmpuint(drifts, ==, 40);
        g_assert_cmpuint(v->drift, ==, 40);
        g_assert_cmpuint(told + quiet, ==, 0);
        g_assert_cmpuint(v->novel, ==, 0);
        g_autofree char *says = bh_model_say_drift(m, v);
        g_assert_nonnull(strstr(says, "does 40 things that its model does not know"));
}

/* Two replicas that do the same are on both sides of an edge now and then. */
static void a_rate_of_one_replica_at_the_edge_of_a_step_is_only_looked_at(void) {
        static const struct { const char *detail; guint told; } rows[] = { { "16 or more a minute", 0 }, { "64 or more a minute", 1 } };

        for (guint k = 0; k < G_N_ELEMENTS(rows); k++) {
                g_autoptr(BhModel) m = long_learned(100);
                BhAct a = read_act("files touched", 5100, 11);

                deploy(m, 3);
                a.family = BH_FAMILY_RATE;
                a.detail = rows[k].detail;
                g_assert_cmpint(bh_model_observe(m, "new", &a).kind, ==, BH_VERDICT_HELD);
                settle(m, 5200);
                g_assert_cmpuint(told, ==, rows[k].told);
                g_assert_cmpuint(quiet, ==, 1 - rows[k].told);
        }
}

/* What a sensor tells of a parameter after its start begins with short values again. */
static void a_shorter_value_of_a_known_parameter_is_only_looked_at(void) {
        static const struct { const char *object, *detail; gboolean quiet; } rows[] = {
                { "GET /find q", "server query text, up to 16 bytes", TRUE },
                { "GET /find q", "server query text, up to 256 bytes", FALSE },
                { "GET /find q", "server query text, more than 1024 bytes", FALSE },
                { "GET /find q", "server query code, up to 16 bytes", FALSE },
                { "GET /find r", "server query text, up to 16 bytes", FALSE },
        };
        g_autoptr(BhModel) m = new_model();
        BhAct a = { .family = BH_FAMILY_PARAMETER, .actor = "/usr/sbin/nginx", .object = "GET /find q", .detail = "server query text, up to 64 bytes", .count = 1, .first_ns = 10 * SLOT, .last_ns = 10 * SLOT, .replica = 1 };

        bh_model_start(m, "old", 0);
        for (guint k = 0; k < 5; k++) {
                a.first_ns = a.last_ns = (10 + 100 * k) * SLOT;
                bh_model_observe(m, "old", &a);
        }
        bh_model_expose(m, "old", 1, DAYS(100));
        bh_model_lock(m, bh_model_version(m, "old"), BH_MODEL_ALL);
        for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
                a.object = rows[i].object;
                a.detail = rows[i].detail;
                a.first_ns = a.last_ns = (900000 + i) * SLOT;
                BhVerdict out = bh_model_observe(m, "old", &a);
                g_assert_cmpint(out.kind, ==, BH_VERDICT_NOVEL);
                g_assert_cmpint(out.quiet, ==, rows[i].quiet);
        }
}

static void what_was_known_before_is_nothing_new_of_the_version(void) {
        g_autoptr(BhModel) m = long_learned(100);

        deploy(m, 2);
        BhModelVersion *v = bh_model_version(m, "new");
        g_assert_cmpuint(v->facets->families[BH_FAMILY_FILE].learned, ==, FILES + 1);
        g_assert_cmpuint(v->facets->families[BH_FAMILY_FILE].singles, ==, 0);
        /* so the version proves itself by its own time alone, and by no more of it than any */
        bh_model_expose(m, "new", 2, 2990 * 10e9);
        bh_model_converge(m);
        g_assert_cmpint(v->states[BH_FAMILY_FILE], ==, BH_MODEL_SHADOW);
        bh_model_expose(m, "new", 2, 20 * 10e9);
        bh_model_converge(m);
        g_assert_cmpint(v->states[BH_FAMILY_FILE], ==, BH_MODEL_SCORED);

        /* also what had been seen but once, or twice with this version */
        g_autoptr(BhModel) other = new_model();
        bh_model_start(other, "old", 0);
        reads(other, "old", "/srv/rare.conf", 10, 1);
        bh_model_expose(other, "old", 1, DAYS(1));
        g_assert_cmpuint(bh_model_version(other, "old")->facets->families[BH_FAMILY_FILE].singles, ==, 1);
        bh_model_start(other, "new", 9000 * SLOT);
        const BhFacet *f = &bh_model_version(other, "new")->facets->families[BH_FAMILY_FILE];
        g_assert_cmpuint(f->learned, ==, 1);
        g_assert_cmpuint(f->singles, ==, 0);
        g_assert_cmpint(reads(other, "new", "/srv/rare.conf", 9001, 1).kind, ==, BH_VERDICT_KNOWN);
        g_assert_cmpuint(f->singles + f->doubles, ==, 0);
}

/* A hundred days or ten years of silence: the version says itself what it is like. */
static void a_version_that_has_become_various_is_told_of_four_times(void) {
        static const struct { double days; guint told; } rows[] = { { 10, 1 }, { 100, 4 }, { 3650, 4 } };

        for (guint k = 0; k < G_N_ELEMENTS(rows); k++) {
                g_autoptr(BhModel) m = long_learned(rows[k].days);

                deploy(m, 2);
                for (guint i = 0; i < 30; i++) {
                        g_autofree char *path = g_strdup_printf("/srv/made/%c%c.txt", 'a' + i / 26, 'a' + i % 26);

                        reads(m, "new", path, 5100 + i, 11 + i % 2);
                }
                settle(m, 5200);
                g_assert_cmpuint(told, ==, rows[k].told);
                g_assert_cmpuint(quiet, ==, 30 - rows[k].told);
        }
}

static void what_was_only_looked_at_is_no_finding_of_the_next_version(void) {
        g_autoptr(BhModel) m = long_learned(1);
        BhModelVersion *v = bh_model_version(m, "old");

        bh_model_lock(m, v, BH_MODEL_ALL);
        g_assert_false(reads(m, "old", "/srv/first.db", 4000, 1).quiet);
        g_assert_true(reads(m, "old", "/srv/second.db", 4001, 1).quiet);
        deploy(m, 2);
        BhVerdict again = reads(m, "new", "/srv/second.db", 5100, 11);
        g_assert_cmpint(again.kind, ==, BH_VERDICT_NOVEL);
        g_assert_true(again.quiet);
        g_assert_false(again.fresh);
        /* it says of the kind what it said */
        const BhAct a = read_act("/srv/third.db", 5101, 11);
        g_assert_cmpfloat(bh_facets_expected(again.version->facets, &a, m->scale), >, m->scale->alert_day);
        /* what was told waits for a person in its own version: in this one it is new */
        g_assert_cmpint(reads(m, "new", "/srv/first.db", 5102, 11).kind, ==, BH_VERDICT_HELD);
}

/* Else the next version, which holds what is new until others show it, would keep nothing. */
static void what_was_only_looked_at_leaves_room_to_the_next_version(void) {
        g_autoptr(BhModel) m = long_learned(1);
        guint looked_at = 0, came = 0;
        GHashTableIter it;
        gpointer p;

        bh_model_lock(m, bh_model_version(m, "old"), BH_MODEL_ALL);
        for (guint i = 0; i < 1000; i++) {
                g_autofree char *path = g_strdup_printf("/srv/%c%c/a-somewhat-longer-name-of-a-file-that-is-read-once-and-never-again-%c.db", 'a' + i / 26 % 26, 'a' + i / 676, 'a' + i % 26);
                BhVerdict v = reads(m, "old", path, 4000 + i, 1);

                looked_at += v.quiet && v.item;
        }
        deploy(m, 2);
        BhModelVersion *v = bh_model_version(m, "new");
        g_hash_table_iter_init(&it, v->facets->items);
        while (g_hash_table_iter_next(&it, &p, NULL))
                came += (((const BhItem *) p)->flags & BH_ITEM_QUIET) != 0;
        g_assert_cmpuint(came, >, 10);
        g_assert_cmpuint(came, <, looked_at / 2);
        g_assert_cmpuint(v->facets->families[BH_FAMILY_FILE].learned, ==, FILES + 1);
        BhVerdict new = reads(m, "new", "/srv/customers.db", 6000, 11);
        g_assert_cmpint(new.kind, ==, BH_VERDICT_HELD);
        g_assert_nonnull(new.item);
}

static void a_family_that_learns_anew_takes_nothing_from_what_others_have_proved(void) {
        g_autoptr(BhModel) m = long_learned(100);
        BhModelVersion *v = bh_model_version(m, "old");

        reads(m, "old", "/srv/twice.conf", 3000, 1);
        reads(m, "old", "/srv/twice.conf", 3001, 1);
        bh_model_relearn(m, v, 1u << BH_FAMILY_DNS);
        BhVerdict new = reads(m, "old", "/srv/customers.db", 4000, 1);
        g_assert_cmpint(new.kind, ==, BH_VERDICT_NOVEL);
        g_assert_false(new.quiet);
        /* of what learns anew nothing of before counts */
        g_assert_cmpfloat(v->facets->families[BH_FAMILY_DNS].before, ==, 0);
        bh_model_relearn(m, v, 1u << BH_FAMILY_FILE);
        g_assert_cmpfloat(v->facets->families[BH_FAMILY_FILE].before, ==, 0);
        g_assert_cmpint(reads(m, "old", "/srv/customers.db", 4001, 1).kind, ==, BH_VERDICT_LEARNED);
}

/* ---- stored ---- */

static BhModel *stored(BhModel *m) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GBytes) bytes = bh_model_pack(m);
        BhModel *again = bh_model_unpack(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), &bh_model_scale_default, &error);

        g_assert_no_error(error);
        again->seen = BH_MODEL_ALL;
        return again;
}

static void stored_it_is_a_version_that_others_were_before(void) {
        g_autoptr(BhModel) m = long_learned(100);

        deploy(m, 2);
        g_autoptr(BhModel) again = stored(m);
        g_assert_cmpfloat(bh_model_version(again, "new")->facets->families[BH_FAMILY_FILE].before, ==, 100 * 8640);
        g_assert_cmpuint(bh_model_version(again, "new")->facets->families[BH_FAMILY_FILE].singles, ==, 0);
        bh_model_expose(again, "new", 2, 0);
        reads(again, "new", "/srv/customers.db", 5100, 11);
        settle(again, 5110);
        g_assert_cmpuint(told, ==, 1);
        /* however long they were, what is stored can be read */
        for (guint i = 0; i < 4; i++) {
                g_autofree char *digest = g_strdup_printf("v%u", i);

                bh_model_version(m, NULL)->facets->trials = BH_FACET_TRIALS;
                bh_model_start(m, digest, 6000 * SLOT);
        }
        bh_model_free(stored(m));
}

/* A worker seen often, a program seen once, a day; then a version that has shown the worker again. As it was written before versions remembered earlier ones. */
static void what_was_stored_before_is_read(void) {
        static const char text[] =
                "QkhNAgQAc2hvcAMAd2ViAAAAAAAAAAACAAAAAAAAAAMAb2xkAAAAAAAAAAAAypo7AAAAAAC4ZNlFAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA4MBAAQAAAAAAAAAPAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
                "AAAAAAAVAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIAAAAAAAAAAQEAARQAAAAhAAAAAAAAABQAAAAAAAAAAAAAAAAAAAAA7OE8LAAAABMAAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAgAAPAC91c3Iv"
                "c2Jpbi9uZ2lueA8AL3Vzci9iaW4vd29ya2VyAAAAAAAAAQEAAQEAAAAhAAAAAAAAAAEAAAAAAAAAALhk2UUAAAAAuGTZRQAAAB4AAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAgAAPAC91c3Ivc2Jpbi9uZ2lueA0AL3Vz"
                "ci9iaW4vb25jZQAAAAAAAAMAbmV3AQAAAAAAAAAAoAfC2lEAAACEExbdUQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQAAAAAAAAAPAAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQAAAAAAAAABAAAAAAAAAAAA"
                "AAAAAAAAAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
                "AAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
                "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABAAAAAAAA"
                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIAAAAAAAAAAQEAAQEAAAAhAAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAAhBMW3VEAACkjAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAgAAPAC91c3Ivc2Jpbi9uZ2lueA8AL3Vz"
                "ci9iaW4vd29ya2VyAAAAAAAAAQkAAAEAAAAhAAAAAAAAAAAAAAAAAAAAALhk2UUAAAAAuGTZRQAAAP//////////AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAPAC91c3Ivc2Jpbi9uZ2lueA0AL3Vzci9iaW4vb25jZQAAAAAA"
                "AA==";
        g_autoptr(GError) error = NULL;
        gsize len;
        g_autofree guchar *bytes = g_base64_decode(text, &len);
        g_autoptr(BhModel) m = bh_model_unpack(bytes, len, &bh_model_scale_default, &error);

        g_assert_no_error(error);
        g_assert_cmpint(bytes[3], ==, 2);
        m->seen = BH_MODEL_ALL;
        BhModelVersion *old = bh_model_version(m, "old"), *new = bh_model_version(m, "new");
        g_assert_cmpfloat(old->facets->trials, ==, 8640);
        g_assert_cmpuint(old->facets->families[BH_FAMILY_EXEC].singles, ==, 1);
        g_assert_cmpfloat(new->facets->families[BH_FAMILY_EXEC].before, ==, 0);
        g_assert_cmpuint(g_hash_table_size(new->facets->items), ==, 2);
        /* what had come along and was not seen yet is nothing new when it is seen */
        const BhAct once = { .family = BH_FAMILY_EXEC, .actor = "/usr/sbin/nginx", .object = "/usr/bin/once", .detail = "", .uid = 33, .count = 1, .first_ns = 9100 * SLOT, .last_ns = 9100 * SLOT, .replica = 1 };
        const guint singles = new->facets->families[BH_FAMILY_EXEC].singles;
        g_assert_cmpint(bh_model_observe(m, "new", &once).kind, ==, BH_VERDICT_KNOWN);
        g_assert_cmpuint(new->facets->families[BH_FAMILY_EXEC].singles, ==, singles);
        /* a family that there was not then begins now: the day that was seen before says nothing of it */
        bh_model_converge(m);
        g_assert_cmpint(old->states[BH_FAMILY_FILE], >=, BH_MODEL_SCORED);
        g_assert_cmpint(old->states[BH_FAMILY_PARAMETER], ==, BH_MODEL_LEARNING);
        bh_model_expose(m, "old", 1, DAYS(1) + SLOT);
        bh_model_converge(m);
        g_assert_cmpint(old->states[BH_FAMILY_PARAMETER], >=, BH_MODEL_SCORED);
        g_autoptr(GBytes) packed = bh_model_pack(m);
        g_assert_cmpint(((const guint8 *) g_bytes_get_data(packed, NULL))[3], ==, 3);
        bh_model_free(stored(m));
        /* nor did who locked all that there was lock that */
        const gsize at = strlen("BHM2") + 2 + strlen("shop") + 2 + strlen("web") + 2 * 8 + 2 + strlen("old") + 4;
        for (gsize k = 0; k < 4; k++) {
                g_assert_cmpuint(bytes[at + k], ==, 0);
                bytes[at + k] = 0xff;
        }
        g_autoptr(BhModel) locked = bh_model_unpack(bytes, len, &bh_model_scale_default, &error);
        g_assert_no_error(error);
        g_assert_true(bh_model_locked(bh_model_version(locked, "old"), BH_FAMILY_RATE));
        g_assert_false(bh_model_locked(bh_model_version(locked, "old"), BH_FAMILY_PARAMETER));
        /* each prefix is refused */
        for (gsize n = 0; n < len; n++)
                g_assert_null(bh_model_unpack(bytes, n, &bh_model_scale_default, NULL));
}

/* Ages are added to times. */
static void times_beyond_all_measure_are_refused(void) {
        static const gint64 times[][3] = { { 1, 2, TRUE }, { G_MAXINT64 / 2, G_MAXINT64 / 2, TRUE }, { G_MAXINT64 / 2 + 1, 2, FALSE }, { 1, G_MAXINT64, FALSE }, { -1, 2, FALSE }, { 1, -1, FALSE } };

        for (guint k = 0; k < G_N_ELEMENTS(times); k++) {
                g_autoptr(BhModel) m = new_model();
                BhVerdict v = reads(m, "old", "/srv/a.conf", 1, 1);

                v.item->first_ns = times[k][0];
                v.item->last_ns = times[k][1];
                g_autoptr(GBytes) bytes = bh_model_pack(m);
                g_autoptr(BhModel) again = bh_model_unpack(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), &bh_model_scale_default, NULL);
                g_assert_cmpint(again != NULL, ==, times[k][2]);
                if (again)
                        bh_model_age(again, G_MAXINT64);
        }
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/model_versions/a_small_new_act_soon_after_a_deploy_is_told", a_small_new_act_soon_after_a_deploy_is_told);
        g_test_add_func("/model_versions/of_a_version_that_hardly_ran_the_next_knows_no_more", of_a_version_that_hardly_ran_the_next_knows_no_more);
        g_test_add_func("/model_versions/what_all_of_a_deploy_do_is_drift_and_told_together", what_all_of_a_deploy_do_is_drift_and_told_together);
        g_test_add_func("/model_versions/a_rate_of_one_replica_at_the_edge_of_a_step_is_only_looked_at", a_rate_of_one_replica_at_the_edge_of_a_step_is_only_looked_at);
        g_test_add_func("/model_versions/a_shorter_value_of_a_known_parameter_is_only_looked_at", a_shorter_value_of_a_known_parameter_is_only_looked_at);
        g_test_add_func("/model_versions/what_was_known_before_is_nothing_new_of_the_version", what_was_known_before_is_nothing_new_of_the_version);
        g_test_add_func("/model_versions/a_version_that_has_become_various_is_told_of_four_times", a_version_that_has_become_various_is_told_of_four_times);
        g_test_add_func("/model_versions/what_was_only_looked_at_is_no_finding_of_the_next_version", what_was_only_looked_at_is_no_finding_of_the_next_version);
        g_test_add_func("/model_versions/a_family_that_learns_anew_takes_nothing_from_what_others_have_proved", a_family_that_learns_anew_takes_nothing_from_what_others_have_proved);
        g_test_add_func("/model_versions/stored_it_is_a_version_that_others_were_before", stored_it_is_a_version_that_others_were_before);
        g_test_add_func("/model_versions/what_was_stored_before_is_read", what_was_stored_before_is_read);
        g_test_add_func("/model_versions/times_beyond_all_measure_are_refused", times_beyond_all_measure_are_refused);
        g_test_add_func("/model_versions/what_was_only_looked_at_leaves_room_to_the_next_version", what_was_only_looked_at_leaves_room_to_the_next_version);
        return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the new acts are findings: normal work that goes on after learning is none, though its names change; attackers who wait, or come while it is learned, are. */
#include "model/model.h"

#include <math.h>
#include <string.h>

#include "model/observed.h"
#include "sensor/observe.h"

#define S G_GINT64_CONSTANT(1000000000)
#define SLOT (10 * S)
#define HOUR (3600 * S)
#define REPLICAS 3u

static BhModel *new_model(void) {
        BhModel *m = bh_model_new("shop", "web", &bh_model_scale_default);

        m->seen = BH_MODEL_ALL;
        return m;
}

static BhAct exec_act(const char *parent, const char *exe, gint64 at_ns, guint64 replica) {
        return (BhAct){ .family = BH_FAMILY_EXEC, .actor = parent, .object = exe, .detail = "", .uid = 33, .count = 1, .first_ns = at_ns, .last_ns = at_ns, .replica = replica };
}

/* A worker in each of `replicas` containers, seen in many trials; `hours` of all containers together. */
static void live(BhModel *m, const char *digest, guint replicas, double hours) {
        bh_model_start(m, digest, S);
        for (guint i = 0; i < 20; i++)
                for (guint r = 1; r <= replicas; r++) {
                        const BhAct a = exec_act("/usr/sbin/nginx", "/usr/bin/worker", i * SLOT, r);

                        bh_model_observe(m, digest, &a);
                }
        bh_model_expose(m, digest, replicas, hours * 3600e9);
}

/* ---- the budget ---- */

static BhVerdict judged(BhModel *m, const char *actor, const char *exe, gint64 slot) {
        const BhAct a = exec_act(actor, exe, slot * SLOT, 1);

        return bh_model_observe(m, "a", &a);
}

/* Jobs of a shell come one after the other, each once; a server starts nothing. */
static void of_a_kind_that_still_brings_news_a_new_one_is_only_kept(void) {
        g_autoptr(BhModel) m = new_model();

        live(m, "a", 3, 1);
        judged(m, "/bin/dash", "/usr/bin/gzip", 100);
        judged(m, "/bin/dash", "/usr/bin/find", 200);
        BhModelVersion *v = bh_model_version(m, "a");
        bh_model_lock(m, v, BH_MODEL_ALL);

        BhVerdict first = judged(m, "/bin/dash", "/usr/bin/sort", 400);
        g_assert_cmpint(first.kind, ==, BH_VERDICT_NOVEL);
        g_assert_true(first.quiet);
        g_assert_cmpuint(v->novel, ==, 0);
        /* it stays so, and waits for a person with what is outstanding */
        g_assert_true(judged(m, "/bin/dash", "/usr/bin/sort", 401).quiet);
        g_assert_false(first.item->flags & BH_ITEM_LEARNED);
        g_autoptr(GBytes) bytes = bh_model_pack(m);
        g_autoptr(BhModel) again = bh_model_unpack(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), &bh_model_scale_default, NULL);
        g_assert_true(judged(again, "/bin/dash", "/usr/bin/sort", 402).quiet);
        g_assert_true(bh_model_accept(m, v, first.item->hash));
        g_assert_cmpint(judged(m, "/bin/dash", "/usr/bin/sort", 403).kind, ==, BH_VERDICT_KNOWN);
        /* of the same shell what is worse is told, and of another program all is: the jobs' variety is not the server's */
        g_assert_false(judged(m, "/bin/dash", "/usr/bin/nc", 404).quiet);
        g_assert_false(judged(m, "/bin/dash", "/tmp/x", 404).quiet);
        g_assert_false(judged(m, "/usr/sbin/nginx", "/usr/bin/sort", 404).quiet);
        BhAct refused = exec_act("/bin/dash", "/usr/bin/refused", 405 * SLOT, 1);
        refused.suspicious = TRUE;
        g_assert_cmpint(bh_model_observe(m, "a", &refused).kind, ==, BH_VERDICT_REFUSED);
        g_assert_false(bh_model_observe(m, "a", &refused).quiet);

        /* a year of containers without another one: two in a year are below the budget */
        bh_model_expose(m, "a", 3, 365 * 86400e9);
        g_assert_false(judged(m, "/bin/dash", "/usr/bin/comm", 500).quiet);
}

static void the_budget_is_what_is_expected_a_container_day(void) {
        g_autoptr(BhModel) m = new_model();
        BhAct a = exec_act("/bin/dash", "/usr/bin/new", 0, 1);

        live(m, "a", 1, 24);
        const BhFacets *f = bh_model_version(m, "a")->facets;
        g_assert_cmpfloat(bh_facets_expected(f, &a, m->scale), ==, 0); /* nothing of the kind */
        judged(m, "/bin/dash", "/usr/bin/gzip", 100);
        g_assert_cmpfloat_with_epsilon(bh_facets_expected(f, &a, m->scale), 1 + 1.645, 0.01);
        judged(m, "/bin/dash", "/usr/bin/gzip", 101);
        g_assert_cmpfloat_with_epsilon(bh_facets_expected(f, &a, m->scale), 1.645 * sqrt(2), 0.01);
        judged(m, "/bin/dash", "/usr/bin/gzip", 102);
        g_assert_cmpfloat(bh_facets_expected(f, &a, m->scale), ==, 0);
        a.actor = "/usr/sbin/nginx";
        g_assert_cmpfloat(bh_facets_expected(f, &a, m->scale), ==, 0);
}

/* What a program did in the one run that was seen says little of the next; what a server did not in thousands of requests says much. */
static void a_program_seen_once_or_twice_is_not_taken_at_its_word(void) {
        const BhAct peer = { .family = BH_FAMILY_PEER, .actor = "/usr/bin/find", .object = "workload shop/db", .detail = "out tcp/5432", .count = 1, .first_ns = 400 * SLOT, .last_ns = 400 * SLOT };

        for (guint runs = 1; runs <= 3; runs++) {
                g_autoptr(BhModel) m = new_model();

                live(m, "a", 2, 1);
                for (guint i = 0; i < runs; i++)
                        judged(m, "/bin/dash", "/usr/bin/find", 100 + i);
                bh_model_lock(m, bh_model_version(m, "a"), BH_MODEL_ALL);
                BhVerdict v = judged(m, "/usr/bin/find", "/usr/bin/rm", 400);
                g_assert_cmpint(v.kind, ==, BH_VERDICT_NOVEL);
                g_assert_true(v.quiet == (runs < 3));
                /* whom it calls is told, and what is grave; and all of others */
                g_assert_false(bh_model_observe(m, "a", &peer).quiet);
                g_assert_false(judged(m, "/usr/bin/find", "/bin/bash", 401).quiet);
                g_assert_false(judged(m, "/usr/sbin/nginx", "/usr/bin/rm", 402).quiet);
                /* once in a month is no more than the budget */
                bh_model_expose(m, "a", 2, 50 * 86400e9);
                g_assert_false(judged(m, "/usr/bin/find", "/usr/bin/comm", 500).quiet);
        }
        /* what runs on from its container's start was started once as well, and is none of these */
        g_autoptr(BhModel) m = new_model();
        BhAct a = exec_act("/usr/bin/runc", "/usr/sbin/server", 0, 1);
        a.starting = TRUE;
        bh_model_start(m, "a", 0);
        bh_model_observe(m, "a", &a);
        bh_model_expose(m, "a", 1, 3600e9);
        bh_model_lock(m, bh_model_version(m, "a"), BH_MODEL_ALL);
        g_assert_false(judged(m, "/usr/sbin/server", "/usr/bin/rm", 400).quiet);
}

static void who_creates_a_file_is_not_told_for_writing_it_too(void) {
        g_autoptr(BhModel) m = new_model();
        BhAct a = { .family = BH_FAMILY_FILE, .actor = "/usr/bin/job", .object = "/var/log/jobs.log", .detail = "create", .count = 1, .replica = 1 };

        live(m, "a", 1, 24);
        for (guint i = 0; i < 5; i++) {
                a.first_ns = a.last_ns = i * SLOT;
                bh_model_observe(m, "a", &a);
        }
        bh_model_lock(m, bh_model_version(m, "a"), BH_MODEL_ALL);
        a.first_ns = a.last_ns = 1000 * SLOT;
        a.detail = "write";
        g_assert_true(bh_model_observe(m, "a", &a).quiet);
        a.detail = "delete";
        g_assert_false(bh_model_observe(m, "a", &a).quiet);
        /* what was told of one container was not told of another */
        a.object = "/etc/ld.so.preload";
        a.detail = "create";
        BhVerdict v = bh_model_observe(m, "a", &a);
        g_assert_false(v.quiet);
        a.detail = "write";
        a.replica = 2;
        g_assert_false(bh_model_observe(m, "a", &a).quiet);
        bh_facets_remove(v.version->facets, bh_facets_find(v.version->facets, &a));
        a.replica = 1;
        g_assert_true(bh_model_observe(m, "a", &a).quiet);
        /* nor is it where a person forbade the other */
        bh_facets_remove(v.version->facets, bh_facets_find(v.version->facets, &a));
        g_assert_true(bh_model_forbid(m, v.version, v.item->hash));
        g_assert_false(bh_model_observe(m, "a", &a).quiet);
}

/* A container ends less often than it begins; what is cleared away then is no loss. */
static void who_made_a_file_of_its_run_may_remove_it(void) {
        static const struct { const char *object, *made, *actor; gboolean quiet; } rows[] = {
                { "/run/app.pid", "create", "/usr/bin/app", TRUE },      { "/run/app.pid", "create", "/usr/bin/rm", FALSE },      { "/run/put.pid", "rename", "/usr/bin/app", TRUE },
                { "/run/other.pid", "read", "/usr/bin/app", FALSE },     { "/var/log/app", "create", "/usr/bin/app", FALSE },     { "/run/secrets/db", "create", "/usr/bin/app", FALSE },
        };
        g_autoptr(BhModel) m = new_model();

        live(m, "a", 1, 24);
        for (guint i = 0; i < G_N_ELEMENTS(rows); i++)
                for (guint k = 0; k < 5; k++) {
                        const BhAct a = { .family = BH_FAMILY_FILE, .actor = "/usr/bin/app", .object = rows[i].object, .detail = rows[i].made, .count = 1, .first_ns = k * SLOT, .last_ns = k * SLOT, .replica = 1 };

                        bh_model_observe(m, "a", &a);
                }
        bh_model_lock(m, bh_model_version(m, "a"), BH_MODEL_ALL);
        for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
                const BhAct a = { .family = BH_FAMILY_FILE, .actor = rows[i].actor, .object = rows[i].object, .detail = "delete", .count = 1, .first_ns = 1000 * SLOT, .last_ns = 1000 * SLOT, .replica = 1 };
                BhVerdict v = bh_model_observe(m, "a", &a);

                g_test_message("%s %s", a.actor, a.object);
                g_assert_cmpint(v.kind, ==, BH_VERDICT_NOVEL);
                g_assert_true(v.quiet == rows[i].quiet);
        }
}

/* A value at the edge of a step is above it once in a while. */
static void a_rate_is_told_two_steps_above_the_most_that_was(void) {
        g_autoptr(BhModel) m = new_model();
        BhAct a = { .family = BH_FAMILY_RATE, .actor = "/usr/bin/worker", .object = "connections made", .detail = "16 or more a minute", .count = 1, .replica = 1 };
        static const struct { const char *object, *detail; gboolean quiet; } rows[] = {
                { "connections made", "64 or more a minute", TRUE },   { "connections made", "256 or more a minute", FALSE }, { "bytes sent", "1 MiB or more a minute", TRUE },
                { "bytes sent", "4 MiB or more a minute", FALSE },     { "files touched", "16 or more a minute", TRUE },      { "files touched", "64 or more a minute", FALSE },
                { "programs started", "64 or more a minute", FALSE },
        };

        live(m, "a", 1, 1);
        for (guint i = 0; i < 10; i++) {
                a.first_ns = a.last_ns = i * SLOT;
                bh_model_observe(m, "a", &a);
        }
        bh_model_lock(m, bh_model_version(m, "a"), BH_MODEL_ALL);
        for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
                a.object = rows[i].object;
                a.detail = rows[i].detail;
                a.first_ns = a.last_ns = 1000 * SLOT;
                BhVerdict v = bh_model_observe(m, "a", &a);
                g_test_message("%s: %s", a.object, a.detail);
                g_assert_cmpint(v.kind, ==, BH_VERDICT_NOVEL);
                g_assert_true(v.quiet == rows[i].quiet);
        }
}

static void what_is_new_in_a_start_is_kept_until_starts_are_known(void) {
        g_autoptr(BhModel) m = new_model();
        BhAct a = exec_act("/bin/entry", "/usr/bin/other", 9900 * SLOT, 1);

        live(m, "a", 1, 24);
        bh_model_lock(m, bh_model_version(m, "a"), BH_MODEL_ALL);
        bh_model_start(m, "a", 9900 * SLOT);
        a.starting = TRUE;
        g_assert_true(bh_model_observe(m, "a", &a).quiet);
        a.object = "/bin/bash";
        g_assert_false(bh_model_observe(m, "a", &a).quiet);
        BhAct peer = { .family = BH_FAMILY_PEER, .actor = "/bin/entry", .object = "workload shop/db", .detail = "out tcp/5432", .count = 1, .starting = TRUE, .first_ns = 9900 * SLOT, .last_ns = 9900 * SLOT };
        g_assert_false(bh_model_observe(m, "a", &peer).quiet);
        for (guint i = 0; i < BH_MODEL_STARTS; i++)
                bh_model_start(m, "a", 9901 * SLOT);
        a.object = "/usr/bin/third";
        g_assert_false(bh_model_observe(m, "a", &a).quiet);
}

/* ---- normal work, through the sensor's observing ---- */

/*
 * An act of a job. In texts '#' is the number of the run, '@' six letters and digits as mkstemp(3) makes them, '~' a date; '|' parts arguments. Which are told of each run anew.
 */
typedef struct {
        guint32 type;
        const char *exe, *parent, *text, *text2;
        guint64 flags; /* BH_RF_… */
        guint32 open_flags;
} Step;

#define EXEC(parent, exe, args) { BH_EV_EXEC, exe, parent, args, NULL, BH_RF_EXE_LOWER, 0 }
#define READ(exe, path) { BH_EV_OPEN, exe, "", path, NULL, 0, 0 }
#define WRITE(exe, path) { BH_EV_OPEN, exe, "", path, NULL, 0, 1 }
#define CREATE(exe, path) { BH_EV_OPEN, exe, "", path, NULL, BH_RF_CREATED, 1 }
#define DELETE(exe, path) { BH_EV_UNLINK, exe, "", path, NULL, 0, 0 }
#define RENAME(exe, from, to) { BH_EV_RENAME, exe, "", from, to, 0, 0 }
#define END { 0, NULL, NULL, NULL, NULL, 0, 0 }

typedef struct {
        const char *name;
        guint period_s;
        Step steps[12];
} Work;

/* What must stay quiet once it was learned. */
static const Work works[] = {
        { "health checks", 30, { EXEC("/usr/bin/runc", "/bin/busybox", "busybox|wget|-q|-O|/dev/null|http://127.0.0.1/health?n=#"), READ("/bin/busybox", "/etc/resolv.conf"), END } },
        { "an operator's exec", 900, { EXEC("/usr/bin/runc", "/usr/bin/redis-cli", "redis-cli|info"), READ("/usr/bin/redis-cli", "/etc/localtime"), END } },
        { "a cron job", 60, { EXEC("/usr/sbin/cron", "/usr/bin/dash", "sh|-c|/app/job --run #"), EXEC("/usr/bin/dash", "/usr/bin/sort", "sort|-T|/tmp/sort@"), CREATE("/usr/bin/sort", "/tmp/sort@"),
                              DELETE("/usr/bin/sort", "/tmp/sort@"), END } },
        { "log rotation", 600, { EXEC("/usr/sbin/cron", "/usr/sbin/logrotate", "logrotate|/etc/logrotate.conf"), RENAME("/usr/sbin/logrotate", "/var/log/app/access.log", "/var/log/app/access.log-~"),
                                 CREATE("/usr/sbin/logrotate", "/var/log/app/access.log"), EXEC("/usr/sbin/logrotate", "/usr/bin/gzip", "gzip|/var/log/app/access.log-~"),
                                 CREATE("/usr/bin/gzip", "/var/log/app/access.log-~.gz"), DELETE("/usr/bin/gzip", "/var/log/app/access.log-~"), CREATE("/usr/sbin/logrotate", "/var/lib/logrotate/status.tmp"), END } },
        { "vacuum and backup", 900, { EXEC("/usr/sbin/cron", "/usr/bin/pg_dump", "pg_dump|-f|/backup/shop-~.sql"), CREATE("/usr/bin/pg_dump", "/backup/shop-~.sql"), EXEC("/usr/sbin/cron", "/usr/bin/vacuumdb", "vacuumdb|-a"),
                                      CREATE("/usr/lib/postgresql/15/bin/postgres", "/var/lib/postgresql/15/main/base/16384/1#"), DELETE("/usr/lib/postgresql/15/bin/postgres", "/var/lib/postgresql/15/main/base/16384/1#"), END } },
        { "certificate renewal", 1200, { EXEC("/usr/sbin/cron", "/usr/bin/certbot", "certbot|renew|-q"), CREATE("/usr/bin/certbot", "/etc/letsencrypt/archive/shop.example/privkey#.pem"),
                                         CREATE("/usr/bin/certbot", "/etc/letsencrypt/archive/shop.example/fullchain#.pem"), READ("/usr/sbin/nginx", "/etc/letsencrypt/archive/shop.example/fullchain#.pem"), END } },
        { "a rotated token", 1200, { READ("/usr/bin/app", "/run/secrets/kubernetes.io/serviceaccount/..2026_11_27_10_00_#.12345#/token"), END } },
        { "just-in-time code", 300, { CREATE("/usr/lib/jvm/java", "/tmp/hsperfdata_app/#"), CREATE("/usr/lib/jvm/java", "/tmp/perf-#.map"), CREATE("/usr/lib/jvm/java", "/tmp/jna@.tmp"), DELETE("/usr/lib/jvm/java", "/tmp/jna@.tmp"), END } },
        { "an init system", 120, { EXEC("/usr/bin/s6-supervise", "/usr/bin/app", "app|--instance|#"), READ("/usr/bin/s6-supervise", "/proc/#/stat"), RENAME("/usr/bin/s6-supervise", "/run/s6/status.new", "/run/s6/status"), END } },
        { "a monitoring agent", 60, { READ("/usr/bin/node_exporter", "/proc/#/status"), READ("/usr/bin/node_exporter", "/proc/#/stat"), READ("/usr/bin/node_exporter", "/sys/class/net/eth0/statistics/rx_bytes"), END } },
};

typedef struct {
        BhObserve *observe;
        BhModel *model;
        guint findings, quiet, refused;
        gint64 now_ns;
        const char *work;
        GString *says;
} World;

static void observed(const BhObservation *o, gpointer data) {
        World *w = data;
        g_autofree char *subject = g_strndup(o->subject.p, o->subject.len), *parent = g_strndup(o->parent.p, o->parent.len), *detail = g_strndup(o->detail.p, o->detail.len),
                        *example = g_strndup(o->example.p, o->example.len);
        const BhObserved what = { .kind = o->kind, .subject = subject, .parent = parent, .detail = detail, .example = example, .why = o->why, .uid = o->uid, .suspicious = o->suspicious, .count = o->count,
                                  .first_ns = o->first_ns, .last_ns = o->last_ns };
        g_auto(BhObservedActs) acts;

        bh_observed_acts(&what, &acts);
        for (guint i = 0; i < acts.n; i++) {
                acts.acts[i].replica = g_str_hash(o->container_id);
                BhVerdict v = bh_model_observe(w->model, o->image_digest, &acts.acts[i]);
                gboolean new = v.kind == BH_VERDICT_NOVEL || v.kind == BH_VERDICT_REFUSED || v.kind == BH_VERDICT_FORBIDDEN || (v.kind == BH_VERDICT_DRIFT && v.fresh);

                w->refused += v.kind == BH_VERDICT_REFUSED;
                w->quiet += new && v.quiet;
                if (new && !v.quiet) {
                        g_autofree char *says = bh_verdict_say(w->model, &v, &acts.acts[i]);

                        w->findings++;
                        g_string_append_printf(w->says, "%s: %s\n", w->work, says);
                }
                if (v.kind != BH_VERDICT_KNOWN && v.kind != BH_VERDICT_LEARNED)
                        break;
        }
}

/* Of run n. */
static char *filled(const char *text, guint n, gsize *len) {
        static const char letters[] = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
        GString *out = g_string_new(NULL);

        for (; *text; text++)
                if (*text == '#')
                        g_string_append_printf(out, "%u", 10 + n % 80);
                else if (*text == '~')
                        g_string_append_printf(out, "2026-%02u-%02u", 1 + n / 28 % 12, 1 + n % 28);
                else if (*text == '@')
                        g_string_append_printf(out, "%cQ%c%u%c%c", letters[n % 24], letters[(n * 7 + 3) % 24], 2 + n % 8, letters[24 + n * 11 % 24], letters[n * 5 % 24]);
                else
                        g_string_append_c(out, *text == '|' ? '\0' : *text);
        *len = out->len;
        return g_string_free(out, FALSE);
}

static void step(World *w, const Step *s, guint n, guint replica) {
        struct bh_event e = { 0 };
        gsize len, len2 = 0;
        g_autofree char *text = filled(s->text, n, &len), *text2 = s->text2 ? filled(s->text2, n, &len2) : NULL, *id = g_strdup_printf("container-%u", replica);

        BH_SET(&e, type, s->type);
        BH_SET(&e, count, 1);
        BH_SET(&e, time, (guint64) w->now_ns);
        BH_SET(&e, flags, s->flags);
        BH_SET(&e, open_flags, s->open_flags);
        BH_SET_STR(&e, container_id, id);
        BH_SET_STR(&e, workload, "web");
        BH_SET_STR(&e, application, "shop");
        BH_SET_STR(&e, container_image_digest, "sha256:a");
        BH_SET_STR(&e, exe, s->exe);
        BH_SET_STR(&e, parent_exe, s->parent);
        if (s->type == BH_EV_EXEC)
                BH_SET(&e, args, ((struct bh_str){ text, (guint32) len }));
        else
                BH_SET(&e, path, ((struct bh_str){ text, (guint32) len }));
        if (text2)
                BH_SET(&e, path2, ((struct bh_str){ text2, (guint32) len2 }));
        bh_observe_event(w->observe, &e, NULL, w->now_ns / 1000);
}

static void run(World *w, const Work *work, guint n) {
        w->work = work->name;
        for (guint r = 0; r < REPLICAS; r++)
                for (const Step *s = work->steps; s->type; s++)
                        step(w, s, n, r);
        while (bh_observe_take(w->observe, FALSE, w->now_ns / 1000, 256, observed, w))
                ;
}

static void settled(BhModel *m, const BhVerdict *v, gpointer data) {
        World *w = data;
        const BhAct a = bh_item_act(v->item);
        g_autofree char *says = bh_verdict_say(m, v, &a);

        w->quiet += v->quiet;
        if (v->quiet)
                return;
        w->findings++;
        g_string_append_printf(w->says, "%s: %s\n", w->work, says);
}

/* What waited for the other replicas. */
static void settle(World *w) {
        bh_model_settle(w->model, w->now_ns + 21 * S, settled, w);
}

static void pass(World *w, double hours) {
        const gint64 end = w->now_ns + (gint64) (hours * (double) HOUR);

        for (; w->now_ns < end; w->now_ns += 30 * S) {
                for (guint k = 0; k < G_N_ELEMENTS(works); k++)
                        if (w->now_ns / S % works[k].period_s < 30)
                                run(w, &works[k], (guint) (w->now_ns / S / works[k].period_s));
                bh_model_expose(w->model, "sha256:a", REPLICAS, REPLICAS * 30e9);
                bh_model_converge(w->model);
                settle(w);
        }
}

static World world_make(void) {
        World w = { .observe = bh_observe_new(), .model = new_model(), .now_ns = 1000 * HOUR, .says = g_string_new(NULL) };

        bh_model_start(w.model, "sha256:a", w.now_ns);
        return w;
}

static void world_free(World *w) {
        bh_observe_free(w->observe);
        bh_model_free(w->model);
        g_string_free(w->says, TRUE);
}

static void normal_work_goes_on_without_a_finding(void) {
        World w = world_make();

        pass(&w, 4);
        g_assert_cmpuint(w.findings, ==, 0);
        /* by evidence, not by a lock */
        pass(&w, 16);
        const BhModelVersion *v = bh_model_version(w.model, NULL);
        g_assert_cmpint(v->states[BH_FAMILY_EXEC], >=, BH_MODEL_SCORED);
        g_assert_cmpint(v->states[BH_FAMILY_FILE], >=, BH_MODEL_SCORED);
        pass(&w, 48);
        g_assert_cmpstr(w.says->str, ==, "");
        g_assert_cmpuint(w.findings, ==, 0);
        /* a workload that does all of that is a typical one at the most */
        g_test_message("%u items, %" G_GSIZE_FORMAT " bytes, %u quiet", g_hash_table_size(v->facets->items), bh_model_bytes(w.model), w.quiet);
        g_assert_cmpuint(bh_model_bytes(w.model), <=, 64 << 10);

        /* and it is no blindness: each of these is told, in the midst of it */
        static const Step attacks[] = {
                EXEC("/usr/bin/app", "/usr/bin/dash", "sh|-c|id"), EXEC("/usr/bin/runc", "/usr/bin/id", "id"), EXEC("/usr/bin/dash", "/usr/bin/nc.openbsd", "nc|203.0.113.7|4444"), READ("/usr/bin/app", "/etc/shadow"),
                CREATE("/usr/sbin/nginx", "/var/www/html/x.php"), WRITE("/usr/sbin/cron", "/etc/cron.d/zz"), CREATE("/usr/sbin/logrotate", "/etc/ld.so.preload"), READ("/usr/bin/app", "/root/.ssh/id_rsa"),
                CREATE("/usr/bin/certbot", "/etc/letsencrypt/renewal-hooks/deploy/x.sh"), READ("/usr/bin/node_exporter", "/proc/1/environ"),
        };
        for (guint i = 0; i < G_N_ELEMENTS(attacks); i++) {
                const guint before = w.findings;

                w.work = "attack";
                step(&w, &attacks[i], 7, 1);
                while (bh_observe_take(w.observe, FALSE, w.now_ns / 1000, 256, observed, &w))
                        ;
                settle(&w);
                g_test_message("%s %s", attacks[i].exe, attacks[i].text);
                g_assert_cmpuint(w.findings, >, before);
        }
        world_free(&w);
}

/* A person who locks after an hour has not seen the jobs of the day: those of programs that run jobs are kept, what else is new is told. */
static void a_job_that_learning_has_not_seen_is_kept_where_jobs_are_many(void) {
        static const Work daily = { "a job of the day", 86400, { EXEC("/usr/sbin/cron", "/usr/bin/savelog", "savelog|-c|7|/var/log/dmesg"), CREATE("/usr/bin/savelog", "/var/log/dmesg.0"), END } };
        static const Work hourly = { "a job of the hour", 3600, { EXEC("/usr/sbin/cron", "/usr/bin/updatedb", "updatedb"), CREATE("/usr/bin/updatedb", "/var/lib/plocate/plocate.db"), END } };
        World w = world_make();

        pass(&w, 1);
        run(&w, &hourly, 1); /* in all replicas, at one time */
        bh_model_lock(w.model, bh_model_version(w.model, NULL), BH_MODEL_ALL);
        w.now_ns += HOUR / 2;
        run(&w, &daily, 1);
        g_assert_cmpuint(w.findings, ==, 0);
        g_assert_cmpuint(w.quiet, >, 0);
        world_free(&w);
}

/* ---- poisoning ---- */

/* One step an hour from the first day on, and always the same: nothing of it becomes normal. */
static void who_is_slow_while_it_is_learned_is_told_and_not_learned(void) {
        static const Step slow[] = {
                { BH_EV_EXEC, "/usr/bin/implant", "/usr/bin/app", "implant", NULL, BH_RF_EXE_UPPER, 0 }, { BH_EV_EXEC, "/tmp/x", "/usr/bin/app", "x", NULL, BH_RF_EXE_UPPER, 0 },
                EXEC("/usr/sbin/nginx", "/usr/bin/dash", "sh|-c|id"), READ("/usr/bin/app", "/etc/shadow"), { BH_EV_SETNS, "/usr/bin/app", "", "", NULL, 0, 0 }, { BH_EV_PTRACE, "/usr/bin/app", "", "", NULL, 0, 0 },
        };
        World w = world_make();

        for (guint hour = 0; hour < 48; hour++) {
                const guint before = w.refused;

                pass(&w, 1);
                w.work = "attack";
                step(&w, &slow[hour % G_N_ELEMENTS(slow)], hour, 1);
                while (bh_observe_take(w.observe, FALSE, w.now_ns / 1000, 256, observed, &w))
                        ;
                settle(&w);
                g_assert_cmpuint(w.refused, >, before);
        }
        GHashTableIter it;
        gpointer p;
        g_hash_table_iter_init(&it, bh_model_version(w.model, NULL)->facets->items);
        while (g_hash_table_iter_next(&it, &p, NULL)) {
                const BhItem *i = p;

                if (strstr(i->object, "implant") || g_str_equal(i->object, "/tmp/x") || g_str_equal(i->object, "/etc/shadow") || g_str_equal(i->object, "setns") || g_str_equal(i->object, "ptrace") ||
                    (g_str_equal(i->actor, "/usr/sbin/nginx") && g_str_equal(i->object, "/usr/bin/dash")))
                        g_assert_false(i->flags & BH_ITEM_LEARNED);
        }
        /* each of them once, however often it came: repeats are no new finding for a person */
        g_assert_cmpuint(bh_model_version(w.model, NULL)->refused, ==, G_N_ELEMENTS(slow));
        world_free(&w);
}

/* Who makes a program's acts so various that more is to be expected of it has hidden small things, and nothing of what harms. */
static void noise_made_while_it_is_learned_hides_nothing_grave(void) {
        World w = world_make();

        pass(&w, 1);
        for (guint i = 0; i < 26; i++) {
                g_autofree char *exe = g_strdup_printf("/usr/bin/tool-%c", 'a' + i), *path = g_strdup_printf("/srv/data/file-%c.php", 'a' + i);
                const Step noise[] = { EXEC("/usr/bin/app", exe, "x"), CREATE("/usr/bin/app", path), READ("/usr/bin/app", path) };

                for (guint k = 0; k < G_N_ELEMENTS(noise); k++)
                        step(&w, &noise[k], i, 1);
                w.now_ns += 60 * S;
        }
        while (bh_observe_take(w.observe, FALSE, w.now_ns / 1000, 256, observed, &w))
                ;
        bh_model_lock(w.model, bh_model_version(w.model, NULL), BH_MODEL_ALL);
        g_assert_cmpuint(w.findings, ==, 0);

        static const struct { Step does; gboolean told; } rows[] = {
                { EXEC("/usr/bin/app", "/usr/bin/tool-zz", "x"), FALSE },          { CREATE("/usr/bin/app", "/srv/data/file-zz.php"), FALSE }, { EXEC("/usr/bin/app", "/usr/bin/dash", "sh"), TRUE },
                { EXEC("/usr/bin/app", "/usr/bin/curl", "curl|x"), TRUE },         { READ("/usr/bin/app", "/run/secrets/db"), TRUE },            { CREATE("/usr/bin/app", "/etc/cron.d/x"), TRUE },
                { CREATE("/usr/bin/app", "/etc/ld.so.preload"), TRUE },            { READ("/usr/bin/app", "/proc/1/root/etc/shadow"), TRUE },    { EXEC("/usr/sbin/nginx", "/usr/bin/tool-a", "x"), TRUE },
        };
        for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
                const guint before = w.findings;

                w.work = "after";
                step(&w, &rows[i].does, 1, 1);
                while (bh_observe_take(w.observe, FALSE, w.now_ns / 1000, 256, observed, &w))
                        ;
                settle(&w);
                g_test_message("%s %s", rows[i].does.exe, rows[i].does.text);
                g_assert_true((w.findings > before) == rows[i].told);
        }
        /* a peer is told of as well, whatever the program does else */
        const BhAct peer = { .family = BH_FAMILY_PEER, .actor = "/usr/bin/app", .object = "network 203.0.113.7", .detail = "out tcp/443", .count = 1, .first_ns = w.now_ns, .last_ns = w.now_ns };
        BhVerdict v = bh_model_observe(w.model, "sha256:a", &peer);
        g_assert_cmpint(v.kind, ==, BH_VERDICT_NOVEL);
        g_assert_false(v.quiet);
        world_free(&w);
}

/* B18: one of three who does what the others do is known; who does more is told, in learning never believed for being one of many. */
static void who_imitates_a_replica_is_told_by_what_it_does_more(void) {
        World w = world_make();

        pass(&w, 20);
        const guint before = w.findings;
        run(&w, &works[2], 7); /* the imitation itself */
        g_assert_cmpuint(w.findings, ==, before);
        const Step more = EXEC("/usr/sbin/cron", "/usr/bin/socat", "socat|-|x");
        step(&w, &more, 1, 2);
        while (bh_observe_take(w.observe, FALSE, w.now_ns / 1000, 256, observed, &w))
                ;
        g_assert_cmpuint(w.findings, ==, before + 1);
        world_free(&w);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/model_work/of_a_kind_that_still_brings_news_a_new_one_is_only_kept", of_a_kind_that_still_brings_news_a_new_one_is_only_kept);
        g_test_add_func("/model_work/the_budget_is_what_is_expected_a_container_day", the_budget_is_what_is_expected_a_container_day);
        g_test_add_func("/model_work/a_program_seen_once_or_twice_is_not_taken_at_its_word", a_program_seen_once_or_twice_is_not_taken_at_its_word);
        g_test_add_func("/model_work/who_creates_a_file_is_not_told_for_writing_it_too", who_creates_a_file_is_not_told_for_writing_it_too);
        g_test_add_func("/model_work/who_made_a_file_of_its_run_may_remove_it", who_made_a_file_of_its_run_may_remove_it);
        g_test_add_func("/model_work/a_rate_is_told_two_steps_above_the_most_that_was", a_rate_is_told_two_steps_above_the_most_that_was);
        g_test_add_func("/model_work/what_is_new_in_a_start_is_kept_until_starts_are_known", what_is_new_in_a_start_is_kept_until_starts_are_known);
        g_test_add_func("/model_work/normal_work_goes_on_without_a_finding", normal_work_goes_on_without_a_finding);
        g_test_add_func("/model_work/a_job_that_learning_has_not_seen_is_kept_where_jobs_are_many", a_job_that_learning_has_not_seen_is_kept_where_jobs_are_many);
        g_test_add_func("/model_work/who_is_slow_while_it_is_learned_is_told_and_not_learned", who_is_slow_while_it_is_learned_is_told_and_not_learned);
        g_test_add_func("/model_work/noise_made_while_it_is_learned_hides_nothing_grave", noise_made_while_it_is_learned_hides_nothing_grave);
        g_test_add_func("/model_work/who_imitates_a_replica_is_told_by_what_it_does_more", who_imitates_a_replica_is_told_by_what_it_does_more);
        return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ruling.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"

#define FILES_MAX 1000u       /* of a directory, and managed */
#define DIGEST_MAX 128u
#define DIGEST_FILE ".state"  /* in the directory of managed files */
#define PROBLEMS_IN_ERROR 20u /* told in one sentence's place; the others are counted */

/* What runs: read by the drain thread without a lock once it has taken it. */
typedef struct {
        gatomicrefcount refs;
        BhRuleSet *set;
        BhRuleEngine *engine;
        GPtrArray *problems; /* of BhEngineProblem */
        guint64 *matches;    /* by rule */
        guint n_rules;
        gint64 loaded_ns;
        guint files;
} Loaded;

struct BhRuling {
        BhRulingConfig c;
        char *default_dir, *managed_dir;
        GStrv user;
        guint64 available[2], host[2];
        GMutex load_lock; /* one load at a time */
        GMutex lock;      /* of what follows */
        Loaded *current;
        char *digest;  /* the sender's name for the managed files; "": none */
        char *problem; /* of the last load that changed nothing; NULL: none */
        const char *suspects; /* the drain thread's: bh_ruling_suspects() */
        guint64 loads, refused;
        guint64 limits, cut; /* bounds that were hit, of patterns and of scratch memory */
        GQueue troubles;     /* BhRulingTrouble */
        gboolean cut_said;
        gint fresh; /* current is another than the drain thread's */
        /* the drain thread's */
        Loaded *mine;
        BhRuleRun *run;
        BhAlerts *alerts;
};

static void engine_problem_free(gpointer p) {
        BhEngineProblem *e = p;

        g_free(e->what);
        g_free(e);
}

static void loaded_unref(Loaded *l) {
        if (!l || !g_atomic_ref_count_dec(&l->refs))
                return;
        bh_rule_engine_unref(l->engine);
        bh_rule_set_unref(l->set);
        g_ptr_array_unref(l->problems);
        g_free(l->matches);
        g_free(l);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Loaded, loaded_unref)

static gboolean fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static gboolean fail(GError **error, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_autofree char *text = g_strdup_vprintf(format, ap);
        va_end(ap);
        g_set_error_literal(error, BH_RULES_ERROR, 0, text);
        return FALSE;
}

/* ---- files ---- */

static gboolean is_rule_file(const char *name) {
        return name[0] != '.' && (g_str_has_suffix(name, ".yaml") || g_str_has_suffix(name, ".yml"));
}

static int by_name(gconstpointer a, gconstpointer b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* The rule files of a directory, by name. A directory that is not there has none. */
static gboolean add_dir(GPtrArray *paths, const char *dir, gboolean must, GError **error) {
        g_autoptr(GError) why = NULL;
        g_autoptr(GDir) d = g_dir_open(dir, 0, &why);
        guint before = paths->len;

        if (!d) {
                if (!must && g_error_matches(why, G_FILE_ERROR, G_FILE_ERROR_NOENT))
                        return TRUE;
                return fail(error, "cannot read the directory of rules %s: %s", dir, why->message);
        }

        g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
        for (const char *name; (name = g_dir_read_name(d)); )
                if (is_rule_file(name))
                        g_ptr_array_add(names, g_strdup(name));
        g_ptr_array_sort(names, by_name);
        if (names->len > FILES_MAX)
                return fail(error, "%s has %u rule files, and %u are allowed; put several rules in a file", dir, names->len, FILES_MAX);
        for (guint i = 0; i < names->len; i++)
                g_ptr_array_add(paths, g_build_filename(dir, g_ptr_array_index(names, i), NULL));
        if (must && paths->len == before)
                return fail(error, "%s has no rule file; their names end in .yaml or .yml", dir);
        return TRUE;
}

static gboolean add_user(GPtrArray *paths, const char *const *user, GError **error) {
        for (; user && *user; user++) {
                struct stat st;

                if (stat(*user, &st))
                        return fail(error, "cannot read the rules %s: %s", *user, g_strerror(errno));
                if (S_ISDIR(st.st_mode)) {
                        if (!add_dir(paths, *user, TRUE, error))
                                return FALSE;
                } else {
                        g_ptr_array_add(paths, g_strdup(*user));
                }
        }
        return TRUE;
}

/* ---- loading ---- */

static void append_problems(GString *out, const BhRuleSet *set) {
        const GPtrArray *problems = bh_rule_set_problems(set);
        guint told = 0;

        for (guint i = 0; i < problems->len && told < PROBLEMS_IN_ERROR; i++) {
                const BhRuleProblem *p = g_ptr_array_index(problems, i);

                if (!p->error)
                        continue;

                g_autofree char *line = bh_rule_problem_text(set, p);
                g_string_append_printf(out, "%s%s", told++ ? "\n" : "", line);
        }
        if (bh_rule_set_errors(set) > told)
                g_string_append_printf(out, "\nand %" G_GUINT64_FORMAT " more; \"bulkhead rules check\" shows all", bh_rule_set_errors(set) - told);
}

static void append_engine_problems(GString *out, const BhRuleSet *set, const GPtrArray *problems) {
        const GPtrArray *rules = bh_rule_set_rules(set);
        guint told = 0;

        for (guint i = 0; i < problems->len && told < PROBLEMS_IN_ERROR; i++) {
                const BhEngineProblem *p = g_ptr_array_index(problems, i);

                if (!p->error)
                        continue;

                const BhRule *rule = p->rule < rules->len ? g_ptr_array_index(rules, p->rule) : NULL;
                g_string_append_printf(out, "%s%s:%u:%u: error: %s (rule \"%s\")", told++ ? "\n" : "", p->pos.line ? bh_rule_set_file(set, p->pos.file) : "?", p->pos.line, p->pos.column,
                                       p->what, rule ? rule->name : "?");
        }
}

static gboolean has_errors(const GPtrArray *problems) {
        for (guint i = 0; i < problems->len; i++)
                if (((const BhEngineProblem *) g_ptr_array_index(problems, i))->error)
                        return TRUE;
        return FALSE;
}

/* NULL with every error in *error, a line each. */
static Loaded *compile(const BhRuling *r, const BhRuleSource *files, guint n, GError **error) {
        g_autoptr(Loaded) l = g_new0(Loaded, 1);
        BhEngineOptions options = { .available = r->c.available ? r->available : NULL, .host = r->c.host ? r->host : NULL };
        g_autoptr(GString) text = g_string_new(NULL);

        g_atomic_ref_count_init(&l->refs);
        l->problems = g_ptr_array_new_with_free_func(engine_problem_free);
        l->set = bh_rule_set_load(files, n, NULL);
        l->files = n;
        l->loaded_ns = g_get_real_time() * 1000;
        if (bh_rule_set_errors(l->set)) {
                append_problems(text, l->set);
                fail(error, "%s", text->str);
                return NULL;
        }
        l->engine = bh_rule_engine_new(l->set, &options, l->problems, error);
        if (!l->engine)
                return NULL;
        if (has_errors(l->problems)) {
                append_engine_problems(text, l->set, l->problems);
                fail(error, "%s", text->str);
                return NULL;
        }
        l->n_rules = bh_rule_set_rules(l->set)->len;
        l->matches = g_new0(guint64, MAX(l->n_rules, 1));
        return g_steal_pointer(&l);
}

static Loaded *load_paths(const BhRuling *r, const GPtrArray *paths, const BhRulingFile *managed, guint n_managed, GError **error) {
        g_autofree BhRuleSource *files = g_new0(BhRuleSource, paths->len + n_managed + 1);

        for (guint i = 0; i < paths->len; i++)
                files[i].name = g_ptr_array_index(paths, i);
        for (guint i = 0; i < n_managed; i++)
                files[paths->len + i] = (BhRuleSource){ managed[i].name, managed[i].text, managed[i].len };
        return compile(r, files, paths->len + n_managed, error);
}

/* What the rules ask for and this node does not have, a line each. */
static void log_problems(const Loaded *l) {
        const GPtrArray *rules = bh_rule_set_rules(l->set);

        for (guint i = 0; i < MIN(l->problems->len, PROBLEMS_IN_ERROR); i++) {
                const BhEngineProblem *p = g_ptr_array_index(l->problems, i);
                const BhRule *rule = p->rule < rules->len ? g_ptr_array_index(rules, p->rule) : NULL;
                g_autofree char *at = g_strdup_printf("%s:%u:%u", p->pos.line ? bh_rule_set_file(l->set, p->pos.file) : "?", p->pos.line, p->pos.column);

                bh_warn("a rule asks for what this node does not have", "rule", rule ? rule->name : "?", "at", at, "problem", p->what);
        }
        if (l->problems->len > PROBLEMS_IN_ERROR)
                bh_warn("more rules ask for what this node does not have; the list of rules has all");
}

static void install(BhRuling *r, Loaded *l) {
        guint64 needs[2];

        log_problems(l);
        bh_rule_engine_needs(l->engine, needs);
        if (r->c.needs)
                r->c.needs(needs, r->c.data);
        g_mutex_lock(&r->lock);
        Loaded *old = r->current;
        r->current = l;
        r->loads++;
        g_clear_pointer(&r->problem, g_free);
        g_atomic_int_set(&r->fresh, 1);
        g_mutex_unlock(&r->lock);
        loaded_unref(old);
}

static void refuse(BhRuling *r, const char *why) {
        g_mutex_lock(&r->lock);
        r->refused++;
        g_free(r->problem);
        r->problem = g_strdup(why);
        g_mutex_unlock(&r->lock);
}

static char *read_digest(const BhRuling *r) {
        g_autofree char *path = r->managed_dir ? g_build_filename(r->managed_dir, DIGEST_FILE, NULL) : NULL;
        char *text = path ? bh_file_read(AT_FDCWD, path, DIGEST_MAX, NULL, NULL, NULL) : NULL;

        return text ? text : g_strdup("");
}

gboolean bh_ruling_reload(BhRuling *r, GError **error) {
        g_autoptr(GMutexLocker) one = g_mutex_locker_new(&r->load_lock);
        g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GError) why = NULL;
        Loaded *l = NULL;

        if ((!r->default_dir || add_dir(paths, r->default_dir, FALSE, &why)) && add_user(paths, (const char *const *) r->user, &why) &&
            (!r->managed_dir || add_dir(paths, r->managed_dir, FALSE, &why)))
                l = load_paths(r, paths, NULL, 0, &why);
        if (!l) {
                refuse(r, why->message);
                g_propagate_error(error, g_steal_pointer(&why));
                return FALSE;
        }
        install(r, l);
        if (r->managed_dir) { /* which is part of it now, also where it was left out at the start */
                g_autofree char *digest = read_digest(r), *old = NULL;

                g_mutex_lock(&r->lock);
                old = g_steal_pointer(&r->digest);
                r->digest = g_steal_pointer(&digest);
                g_mutex_unlock(&r->lock);
        }
        return TRUE;
}

/* ---- managed files ---- */

static gboolean good_name(const char *name) {
        gsize len = strlen(name);

        return len <= 100 && is_rule_file(name) && strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

static gboolean write_file(const char *dir, const BhRulingFile *f, GError **error) {
        g_autofree char *path = g_build_filename(dir, f->name, NULL);

        return g_file_set_contents_full(path, f->text, (gssize) f->len, G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600, error);
}

static void remove_tree(const char *dir) {
        g_autoptr(GDir) d = g_dir_open(dir, 0, NULL);

        for (const char *name; d && (name = g_dir_read_name(d)); ) {
                g_autofree char *path = g_build_filename(dir, name, NULL);
                unlink(path);
        }
        rmdir(dir);
}

/* The new directory takes the old one's place in one step, so that a sensor killed in between finds the one or the other. */
static gboolean keep_managed(const BhRuling *r, const BhRulingFile *files, guint n, const char *digest, GError **error) {
        const BhRulingFile state = { DIGEST_FILE, digest, strlen(digest) };

        g_autofree char *next = g_strconcat(r->managed_dir, ".new", NULL), *old = g_strconcat(r->managed_dir, ".old", NULL);

        remove_tree(next);
        remove_tree(old);
        if (g_mkdir_with_parents(next, 0700))
                return fail(error, "cannot make %s: %s", next, g_strerror(errno));
        for (guint i = 0; i < n; i++)
                if (!write_file(next, &files[i], error))
                        return FALSE;
        if (!write_file(next, &state, error))
                return FALSE;
        if (rename(r->managed_dir, old) && errno != ENOENT)
                return fail(error, "cannot move %s away: %s", r->managed_dir, g_strerror(errno));
        if (rename(next, r->managed_dir)) {
                int why = errno;

                if (rename(old, r->managed_dir))
                        bh_error("the managed rules could not be put back", "path", old);
                return fail(error, "cannot move %s into place: %s", next, g_strerror(why));
        }
        remove_tree(old);
        return TRUE;
}

/* A sensor killed between the two renames left the old directory under its other name. */
static void mend_managed(const BhRuling *r) {
        g_autofree char *old = g_strconcat(r->managed_dir, ".old", NULL);

        if (access(r->managed_dir, F_OK) && access(old, F_OK) == 0 && rename(old, r->managed_dir))
                bh_error("the managed rules could not be put back", "path", old);
}

static gboolean manage(BhRuling *r, const BhRulingFile *files, guint n, const char *digest, gsize digest_len, gboolean *changed, GError **error) {
        g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
        g_autofree char *name = g_strndup(digest, digest_len);
        g_autoptr(Loaded) l = NULL;

        g_mutex_lock(&r->lock);
        *changed = FALSE;
        gboolean same = g_str_equal(name, r->digest) && *name;
        g_mutex_unlock(&r->lock);
        if (same)
                return TRUE;
        if (!r->managed_dir)
                return fail(error, "this sensor keeps no rules from the central");
        if (n > FILES_MAX)
                return fail(error, "%u rule files are more than the %u that are allowed; put several rules in a file", n, FILES_MAX);
        for (const char *c = name; *c; c++)
                if (!g_ascii_isalnum(*c) || c - name >= DIGEST_MAX)
                        return fail(error, "the name of this state of the rules must be at most %u letters and digits", DIGEST_MAX);
        for (guint i = 0; i < n; i++) {
                if (!good_name(files[i].name))
                        return fail(error, "\"%.100s\" cannot be the name of a rule file: letters, digits, dots, dashes and underscores, ending in .yaml", files[i].name);
                if (!g_hash_table_add(names, (gpointer) files[i].name))
                        return fail(error, "there are two rule files \"%s\"", files[i].name);
        }
        if ((r->default_dir && !add_dir(paths, r->default_dir, FALSE, error)) || !add_user(paths, (const char *const *) r->user, error))
                return FALSE;
        if (!(l = load_paths(r, paths, files, n, error)) || !keep_managed(r, files, n, name, error))
                return FALSE;
        g_mutex_lock(&r->lock);
        g_free(r->digest);
        r->digest = g_steal_pointer(&name);
        g_mutex_unlock(&r->lock);
        install(r, g_steal_pointer(&l));
        *changed = TRUE;
        return TRUE;
}

gboolean bh_ruling_manage(BhRuling *r, const BhRulingFile *files, guint n, const char *digest, gsize digest_len, gboolean *changed, GError **error) {
        g_autoptr(GMutexLocker) one = g_mutex_locker_new(&r->load_lock);
        g_autoptr(GError) why = NULL;

        if (manage(r, files, n, digest, digest_len, changed, &why))
                return TRUE;
        refuse(r, why->message);
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
}

/* ---- life ---- */

/* What is wrong with files that are not the user's own must not keep the sensor from running: without them, then, and said. */
static Loaded *load_at_start(BhRuling *r, GError **error) {
        g_autoptr(GPtrArray) user = g_ptr_array_new_with_free_func(g_free), most = g_ptr_array_new_with_free_func(g_free), all = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GError) why = NULL;
        Loaded *l = NULL;

        if (!add_user(user, (const char *const *) r->user, error))
                return NULL;
        if ((!r->default_dir || add_dir(all, r->default_dir, FALSE, &why)) && add_user(all, (const char *const *) r->user, &why) &&
            (!r->managed_dir || add_dir(all, r->managed_dir, FALSE, &why)) && (l = load_paths(r, all, NULL, 0, &why)))
                return l;

        *r->digest = '\0'; /* so that the central, which sends them again, learns that this node does not have them */
        g_autoptr(GError) without = NULL;
        if ((!r->default_dir || add_dir(most, r->default_dir, FALSE, &without)) && add_user(most, (const char *const *) r->user, &without) &&
            (l = load_paths(r, most, NULL, 0, &without))) {
                bh_error("the rules that the central sent have errors and are left out", "problem", why->message);
                refuse(r, why->message);
                return l;
        }
        if (r->user && *r->user) {
                g_propagate_error(error, g_steal_pointer(&without));
                return NULL;
        }
        bh_error("the default rules have errors and are left out", "problem", without->message);
        refuse(r, without->message);
        return compile(r, NULL, 0, error);
}

BhRuling *bh_ruling_new(const BhRulingConfig *config, GError **error) {
        g_autoptr(BhRuling) r = g_new0(BhRuling, 1);
        Loaded *l;

        g_mutex_init(&r->load_lock);
        g_mutex_init(&r->lock);
        r->c = *config;
        r->default_dir = g_strdup(config->default_dir);
        r->managed_dir = g_strdup(config->managed_dir);
        r->user = g_strdupv((char **) config->user);
        if (config->available)
                memcpy(r->available, config->available, sizeof(r->available));
        if (config->host)
                memcpy(r->host, config->host, sizeof(r->host));
        g_queue_init(&r->troubles);
        r->alerts = bh_alerts_new(config->containers, config->seed);
        r->run = bh_rule_run_new();
        if (r->managed_dir)
                mend_managed(r);
        r->digest = read_digest(r);
        if (!(l = load_at_start(r, error)))
                return NULL;

        g_autofree char *problem = g_steal_pointer(&r->problem);
        install(r, l);
        r->problem = g_steal_pointer(&problem);
        return g_steal_pointer(&r);
}

void bh_ruling_free(BhRuling *r) {
        if (!r)
                return;
        loaded_unref(r->mine);
        loaded_unref(r->current);
        bh_rule_run_free(r->run);
        bh_alerts_free(r->alerts);
        g_strfreev(r->user);
        g_free(r->default_dir);
        g_free(r->managed_dir);
        g_free(r->problem);
        g_free(r->digest);
        for (BhRulingTrouble *t; (t = g_queue_pop_head(&r->troubles)); g_free(t))
                bh_ruling_trouble_clear(t);
        g_mutex_clear(&r->load_lock);
        g_mutex_clear(&r->lock);
        g_free(r);
}

/* ---- events ---- */

void bh_ruling_name(BhRuling *r, const char *node) {
        bh_alerts_name(r->alerts, node);
}

static void take_fresh(BhRuling *r) {
        g_mutex_lock(&r->lock);
        Loaded *old = r->mine;
        r->mine = r->current;
        g_atomic_ref_count_inc(&r->mine->refs);
        g_atomic_int_set(&r->fresh, 0);
        g_mutex_unlock(&r->lock);
        loaded_unref(old);
}

typedef struct {
        BhRuling *ruling;
        const struct bh_event *event;
} Limited;

static void add_trouble(BhRuling *r, const char *action, const char *rule, char *message) {
        if (r->troubles.length < BH_RULING_TROUBLES) {
                BhRulingTrouble *t = g_new(BhRulingTrouble, 1);

                *t = (BhRulingTrouble){ action, message, g_strdup(rule ? rule : "") };
                g_queue_push_tail(&r->troubles, t);
        } else {
                g_free(message);
        }
}

/* The texts are an attacker's: what made it costly is in the recorder, not in the sentence. */
static void on_limit(const char *rule, const char *pattern, gpointer data) {
        const Limited *l = data;
        const struct bh_event *e = l->event;
        struct bh_str name = bh_event_has(e, BH_F_container_name) ? e->container_name : (struct bh_str){ "the node", 8 };

        add_trouble(l->ruling, "pattern_limit", rule,
                    g_strdup_printf("a pattern took more than it may for an event of %.*s and counted as no match there: rule \"%s\", pattern \"%.200s\"; write it so that it needs less", (int) MIN(name.len, 128),
                                    name.p, rule ? rule : "?", pattern));
}

/* Bounds that the event hit. */
static void limited(BhRuling *r, const struct bh_event *e) {
        Limited l = { r, e };
        BhRuleRunStats stats;

        g_mutex_lock(&r->lock);
        if (bh_rule_run_limited(r->run, r->mine->engine, on_limit, &l)) {
                bh_rule_run_stats(r->run, &stats);
                r->limits = stats.limits;
                if (stats.cut && !r->cut_said) {
                        r->cut_said = TRUE;
                        add_trouble(r, "rules_cut", NULL, g_strdup("an event has more than rules can look at together: some of its fields were missing for them; the event is whole in the recorder"));
                }
                r->cut = stats.cut;
        }
        g_mutex_unlock(&r->lock);
}

gboolean bh_ruling_trouble(BhRuling *r, BhRulingTrouble *out) {
        g_mutex_lock(&r->lock);
        BhRulingTrouble *t = g_queue_pop_head(&r->troubles);
        g_mutex_unlock(&r->lock);
        if (!t)
                return FALSE;
        *out = *t;
        g_free(t);
        return TRUE;
}

void bh_ruling_trouble_clear(BhRulingTrouble *t) {
        g_clear_pointer(&t->message, g_free);
        g_clear_pointer(&t->rule, g_free);
}

gboolean bh_ruling_event(BhRuling *r, const struct bh_event *e, const guint8 *wire, guint32 wire_len, const struct bh_lineage *lineage) {
        const guint32 *matches;
        gboolean urgent = FALSE;

        if (g_atomic_int_get(&r->fresh))
                take_fresh(r);

        r->suspects = NULL;
        guint n = bh_rule_run_event(r->run, r->mine->engine, e, lineage, &matches);
        if (bh_rule_run_hit(r->run))
                limited(r, e);
        if (n == 0)
                return FALSE;

        const GPtrArray *rules = bh_rule_set_rules(r->mine->set);
        gint64 now_us = g_get_monotonic_time();
        for (guint i = 0; i < n; i++) {
                guint32 rule = matches[i];

                const BhRule *matched = g_ptr_array_index(rules, rule);

                if (matched->priority <= BH_PRIO_ERROR)
                        r->suspects = matched->name;
                __atomic_add_fetch(&r->mine->matches[rule], 1, __ATOMIC_RELAXED);
                urgent |= bh_alerts_match(r->alerts, r->run, r->mine->engine, g_ptr_array_index(rules, rule), rule, e, wire, wire_len, lineage, now_us);
        }
        return urgent;
}

const char *bh_ruling_suspects(const BhRuling *r) {
        return r->suspects;
}

void bh_ruling_tell(BhRuling *r, BhAlertsTold told, gpointer data) {
        bh_alerts_tell(r->alerts, told, data);
}

void bh_ruling_watch(BhRuling *r, BhAlertsTold matched, gpointer data) {
        bh_alerts_watch(r->alerts, matched, data);
}

void bh_ruling_settle(BhRuling *r) {
        bh_alerts_settle(r->alerts);
}

GBytes *bh_ruling_take(BhRuling *r, gboolean all) {
        return bh_alerts_take(r->alerts, all, g_get_monotonic_time());
}

/* ---- for people ---- */

static Loaded *current(BhRuling *r) {
        g_mutex_lock(&r->lock);
        Loaded *l = r->current;
        g_atomic_ref_count_inc(&l->refs);
        g_mutex_unlock(&r->lock);
        return l;
}

static json_t *number(guint64 n) {
        return json_integer((json_int_t) n);
}

static json_t *text_json(const char *text) {
        g_autofree char *valid = g_utf8_make_valid(text ? text : "", -1);

        return json_string(valid);
}

static guint64 matches_of(const Loaded *l, guint rule) {
        return __atomic_load_n(&l->matches[rule], __ATOMIC_RELAXED);
}

/* All of the rule's, "; " between them; NULL: none. Free it. */
static char *problems_of(const Loaded *l, guint rule) {
        GString *all = NULL;

        for (guint i = 0; i < l->problems->len; i++) {
                const BhEngineProblem *p = g_ptr_array_index(l->problems, i);

                if (p->rule != rule)
                        continue;
                if (!all)
                        all = g_string_new(p->what);
                else
                        g_string_append_printf(all, "; %s", p->what);
        }
        return all ? g_string_free(all, FALSE) : NULL;
}

json_t *bh_ruling_status(BhRuling *r) {
        g_autoptr(Loaded) l = current(r);
        const GPtrArray *rules = bh_rule_set_rules(l->set);
        json_t *out = json_object();
        guint enabled = 0, skipped = 0;
        guint64 matches = 0;
        BhAlertsStats a;

        for (guint i = 0; i < rules->len; i++) {
                const BhRule *rule = g_ptr_array_index(rules, i);

                enabled += rule->enabled && !rule->skipped;
                skipped += rule->skipped;
                matches += matches_of(l, i);
        }
        bh_alerts_stats(r->alerts, &a);
        g_mutex_lock(&r->lock);
        json_object_set_new(out, "problem", text_json(r->problem));
        json_object_set_new(out, "managed", text_json(r->digest));
        json_object_set_new(out, "loads", number(r->loads));
        json_object_set_new(out, "refused_loads", number(r->refused));
        json_object_set_new(out, "pattern_limits", number(r->limits));
        json_object_set_new(out, "cut_values", number(r->cut));
        g_mutex_unlock(&r->lock);
        json_object_set_new(out, "files", number(l->files));
        json_object_set_new(out, "rules", number(rules->len));
        json_object_set_new(out, "enabled", number(enabled));
        json_object_set_new(out, "skipped", number(skipped));
        json_object_set_new(out, "with_problems", number(l->problems->len));
        json_object_set_new(out, "loaded_ns", json_integer(l->loaded_ns));
        json_object_set_new(out, "matches", number(matches));
        json_object_set_new(out, "findings", json_pack("{s:o, s:o, s:o, s:o}", "told", number(a.told), "repeated", number(a.repeated), "refused", number(a.refused), "open", number(a.windows)));
        return out;
}

json_t *bh_ruling_list(BhRuling *r) {
        g_autoptr(Loaded) l = current(r);
        const GPtrArray *rules = bh_rule_set_rules(l->set);
        json_t *out = json_array();

        for (guint i = 0; i < rules->len; i++) {
                const BhRule *rule = g_ptr_array_index(rules, i);
                const char *file = bh_rule_set_file(l->set, rule->pos.file);
                g_autofree char *problem = problems_of(l, i);
                json_t *one = json_object(), *tags = json_array();

                for (guint t = 0; rule->tags && t < rule->tags->len; t++)
                        json_array_append_new(tags, text_json(g_ptr_array_index(rule->tags, t)));
                json_object_set_new(one, "name", text_json(rule->name));
                json_object_set_new(one, "priority", json_string(bh_priority_name(rule->priority)));
                json_object_set_new(one, "source", text_json(rule->source));
                json_object_set_new(one, "tags", tags);
                json_object_set_new(one, "description", text_json(rule->desc));
                json_object_set_new(one, "enabled", json_boolean(rule->enabled));
                json_object_set_new(one, "runs", json_boolean(rule->enabled && !rule->skipped));
                json_object_set_new(one, "file", text_json(file));
                json_object_set_new(one, "line", number(rule->pos.line));
                json_object_set_new(one, "matches", number(matches_of(l, i)));
                if (problem)
                        json_object_set_new(one, "problem", text_json(problem));
                json_array_append_new(out, one);
        }
        return out;
}

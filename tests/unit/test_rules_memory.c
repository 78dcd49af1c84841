/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evaluation takes no memory: what the C library gives out is counted while the default rules, all of them, look at events of every kind, those that match as well. This program's
 * malloc() comes before the C library's, for GLib and PCRE2 too; a sanitizer's build counts by the sanitizer's hooks.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "event_fill.h"
#include "rules_event.h"

static gboolean counting;
static guint64 allocations;

static void count(void) {
        allocations += counting;
}

#if defined(__SANITIZE_ADDRESS__)
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t), void (*on_free)(const volatile void *));

static void on_malloc(const volatile void *p, size_t n) {
        count();
}

static void on_free(const volatile void *p) {
}

static void begin(void) {
        g_assert_cmpint(__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free), >, 0);
}
#else
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t alignment, size_t n);

void *malloc(size_t n) {
        count();
        return __libc_malloc(n);
}

void *calloc(size_t n, size_t size) {
        count();
        return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n) {
        count();
        return __libc_realloc(p, n);
}

void *aligned_alloc(size_t alignment, size_t n) {
        count();
        return __libc_memalign(alignment, n);
}

int posix_memalign(void **p, size_t alignment, size_t n) {
        count();
        *p = __libc_memalign(alignment, n);
        return *p ? 0 : ENOMEM;
}

static void begin(void) {
}
#endif

/* ---- events ---- */

#define EVENTS 2000u

static struct bh_event events[EVENTS];
static char long_args[32768], long_env[12288];

static void make_events(void) {
        static const char *const paths[] = { "/etc/shadow", "/proc/1/root/etc/passwd", "/usr/bin/x", "/var/log/app.log", "/root/.ssh/id_rsa", "/run/docker.sock", "/memfd:x", "/srv/www/index.html" };
        static const char *const programs[] = { "/usr/bin/bash", "/bin/busybox", "/usr/sbin/nginx", "/usr/bin/java", "/tmp/x", "/usr/bin/cat", "/usr/sbin/php-fpm7.4" };

        g_random_set_seed(1);
        memset(long_args, 'a', sizeof(long_args));
        memset(long_env, 'E', sizeof(long_env));
        for (gsize i = 63; i < sizeof(long_args); i += 64)
                long_args[i] = 0;
        for (gsize i = 63; i < sizeof(long_env); i += 64)
                long_env[i] = 0;
        for (guint i = 0; i < EVENTS; i++) {
                struct bh_event *e = &events[i];
                const char *path = paths[g_random_int_range(0, G_N_ELEMENTS(paths))], *program = programs[g_random_int_range(0, G_N_ELEMENTS(programs))];

                if (i % 4 == 0) { /* every field, with anything in it */
                        bh_test_fill(e, 2);
                        e->type = 1 + i / 4 % (BH_EV_MAX - 1);
                        e->count = 1;
                } else {
                        *e = i % 4 == 1 ? exec_event() : i % 4 == 2 ? open_event(g_random_int_range(0, 2) ? O_RDONLY : O_WRONLY | O_CREAT) : connect_event("10.0.0.5", 40000, "93.184.216.34", (guint32) g_random_int_range(20, 11000));
                        BH_SET_STR(e, exe, program);
                        if (i % 4 != 3)
                                BH_SET_STR(e, path, path);
                        if (i % 8 == 1) {
                                BH_SET(e, args, ((struct bh_str){ long_args, sizeof(long_args) }));
                                BH_SET(e, env, ((struct bh_str){ long_env, sizeof(long_env) }));
                                BH_SET(e, flags, BH_RF_ARGS_CUT | BH_RF_EXE_LOWER);
                        }
                        if (i % 3 == 0)
                                BH_SET_STR(e, parent_exe, programs[g_random_int_range(0, G_N_ELEMENTS(programs))]);
                }
        }
}

/* Six generations of the same program. */
static gboolean find(gpointer data, guint32 pid, guint64 start, struct bh_lineage_process *out) {
        *out = (struct bh_lineage_process){ .pid = pid, .ppid = pid - 1, .start = start, .comm = STR("sh"), .exe = STR("/usr/bin/dash"), .args = { long_args, 4096 } };
        return TRUE;
}

static gboolean parent(gpointer data, const struct bh_lineage_process *of, struct bh_lineage_process *out) {
        if (of->pid % 8 == 0)
                return FALSE;
        return find(data, of->pid - 1, 0, out);
}

static int by_name(gconstpointer a, gconstpointer b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static BhRuleSet *load(gboolean everything) {
        static const char all[] = "rule_matching: all\n";
        g_autoptr(GDir) dir = g_dir_open(BH_SOURCE_ROOT "/rules", 0, NULL);
        g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
        BhRuleSource files[32] = { 0 };
        guint n = 0;

        g_assert_nonnull(dir);
        for (const char *name; (name = g_dir_read_name(dir)); )
                if (g_str_has_suffix(name, ".yaml"))
                        g_ptr_array_add(paths, g_build_filename(BH_SOURCE_ROOT "/rules", name, NULL));
        g_ptr_array_sort(paths, by_name);
        for (guint i = 0; i < paths->len; i++)
                files[n++].name = paths->pdata[i];

        /* those that are off as well */
        g_autoptr(GString) on = g_string_new(NULL);
        g_autoptr(BhRuleSet) set = bh_rule_set_load(files, n, NULL);
        const GPtrArray *rules = bh_rule_set_rules(set);
        for (guint i = 0; everything && i < rules->len; i++)
                g_string_append_printf(on, "- rule: %s\n  enabled: true\n  override: {enabled: replace}\n", ((const BhRule *) rules->pdata[i])->name);
        files[n++] = (BhRuleSource){ "on", on->len ? on->str : "[]", on->len ? on->len : 2 };
        files[n++] = (BhRuleSource){ "all", all, sizeof(all) - 1 };
        BhRuleSet *out = bh_rule_set_load(files, n, NULL);
        g_assert_cmpuint(bh_rule_set_errors(out), ==, 0);
        g_assert_cmpuint(bh_rule_set_rules(out)->len, >, 70);
        return out;
}

static void no_event_takes_memory(void) {
        g_autoptr(BhRuleSet) set = load(TRUE);
        g_autoptr(GError) error = NULL;
        g_autoptr(BhRuleEngine) engine = bh_rule_engine_new(set, NULL, NULL, &error);
        g_autoptr(BhRuleRun) run = bh_rule_run_new();
        struct bh_lineage lineage = { .find = find, .parent = parent };
        const guint32 *matches;
        BhRuleRunStats stats;

        g_assert_no_error(error);
        /* the first event of an engine makes the arrays; the list of an event's matches and PCRE2's stack grow to what they need, and stay */
        for (guint i = 0; i < EVENTS; i++)
                bh_rule_run_event(run, engine, &events[i], &lineage, &matches);
        allocations = 0;
        for (guint round = 0; round < 3; round++) {
                for (guint i = 0; i < EVENTS; i++) {
                        guint64 before = allocations;

                        counting = TRUE;
                        bh_rule_run_event(run, engine, &events[i], round ? &lineage : NULL, &matches);
                        counting = FALSE;
                        if (allocations != before)
                                g_test_message("event %u (%s) took memory %" G_GUINT64_FORMAT " times", i, bh_event_type_name(events[i].type), allocations - before);
                }
        }
        bh_rule_run_stats(run, &stats);
        g_test_message("%" G_GUINT64_FORMAT " events, %" G_GUINT64_FORMAT " conditions begun, %" G_GUINT64_FORMAT " matches", stats.events, stats.evaluated, stats.matches);
        g_assert_cmpuint(stats.matches, >, EVENTS / 4); /* or the events would show little */
        g_assert_cmpuint(stats.evaluated, >, EVENTS);
        g_assert_cmpuint(allocations, ==, 0);
}

/* Else none of this means anything. */
static void what_is_taken_is_counted(void) {
        allocations = 0;
        counting = TRUE;
        g_free(g_malloc(100));
        g_string_free(g_string_sized_new(5000), TRUE);
        counting = FALSE;
        g_assert_cmpuint(allocations, >=, 3);
}

int main(int argc, char **argv) {
        if (!getenv("G_SLICE")) { /* GLib's slices are to be seen as well, and it reads this when it is loaded */
                setenv("G_SLICE", "always-malloc", 1);
                execv("/proc/self/exe", argv);
        }
        begin();
        g_test_init(&argc, &argv, NULL);
        make_events();
        g_test_add_func("/rules/memory/what_is_taken_is_counted", what_is_taken_is_counted);
        g_test_add_func("/rules/memory/no_event_takes_memory", no_event_takes_memory);
        return g_test_run();
}

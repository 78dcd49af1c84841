/* SPDX-License-Identifier: Apache-2.0 */
/* Many rules together against each rule by itself and against its parts: what is shared, reduced and woken must not change what is true. */
#include "rules_event.h"

static const char *const checks[] = {
        "evt.type = open", "evt.type in (execve, openat)", "evt.type != connect", "proc.name = bash", "proc.name in (bash, sh, nginx)", "proc.name != sh", "proc.name startswith ba", "proc.name contains in",
        "fd.name startswith /etc", "fd.name endswith su", "fd.name contains pam", "fd.name = /etc/pam.d/su", "fd.name glob '/etc/*/s?'", "fd.name glob '*passwd'", "fd.name pmatch (/etc/pam.d, /usr)", "fd.name regex '/etc/.*'",
        "fd.directory = /etc/pam.d", "fd.typechar = f", "evt.is_open_write = true", "evt.is_open_read = true", "container.id != host", "container.id = host", "proc.pname exists", "fd.name exists",
        "fd.sport = 443", "fd.sport >= 80", "fd.sip = 93.184.216.34", "fd.net != 10.0.0.0/8", "proc.tty != 0", "proc.aname = sshd", "proc.cmdline contains id", "user.uid = 0", "evt.rawres >= 0", "fd.num >= 0",
        "proc.args icontains ID", "evt.failed = true", "proc.name = val(proc.pname)", "toupper(proc.name) = BASH", "fd.name startswith oneof (/etc, /etc/pam)", "proc.name in (nginx)",
};

#define CHECKS G_N_ELEMENTS(checks)
#define EVENTS 24u

static BhRuleEngine *single[CHECKS];
static struct bh_event events[EVENTS];
static gboolean truth[CHECKS][EVENTS];

static gboolean run_one(const BhRuleEngine *engine, const struct bh_event *e) {
        g_autoptr(BhRuleRun) run = bh_rule_run_new();
        const guint32 *matches;

        return bh_rule_run_event(run, engine, e, NULL, &matches) == 1;
}

static void make_events(void) {
        for (guint i = 0; i < EVENTS; i++) {
                struct bh_event *e = &events[i];

                switch (i % 4) {
                case 0: *e = open_event(i & 4 ? O_RDONLY : O_RDWR); break;
                case 1: *e = exec_event(); break;
                case 2: *e = connect_event("10.0.0.5", 40000, i & 4 ? "93.184.216.34" : "10.9.9.9", i & 8 ? 443 : 22); break;
                default: *e = open_event(O_WRONLY); ADD(e, path, "/usr/share/passwd"); break;
                }
                if (i & 8)
                        ADD(e, comm, "nginx");
                if (i & 16) {
                        e->has[BH_F_container_id / 64] &= ~(1ull << BH_F_container_id % 64);
                        BH_SET(e, ret, -2);
                }
                if (i % 5 == 0)
                        ADD(e, parent_comm, "bash");
        }
}

/* A random condition, its text, and for each event whether it is true. */
static void grow(GString *text, gboolean want[EVENTS], guint depth) {
        guint kind = depth ? (guint) g_test_rand_int_range(0, 4) : 3;

        if (kind == 3) {
                guint check = (guint) g_test_rand_int_range(0, CHECKS);

                g_string_append(text, checks[check]);
                memcpy(want, truth[check], sizeof(truth[check]));
        } else if (kind == 2) {
                g_string_append(text, "not (");
                grow(text, want, depth - 1);
                g_string_append_c(text, ')');
                for (guint i = 0; i < EVENTS; i++)
                        want[i] = !want[i];
        } else {
                guint n = (guint) g_test_rand_int_range(2, 5);

                for (guint k = 0; k < n; k++) {
                        gboolean part[EVENTS];

                        g_string_append(text, k ? (kind ? " or (" : " and (") : "(");
                        grow(text, part, depth - 1);
                        g_string_append_c(text, ')');
                        for (guint i = 0; i < EVENTS; i++)
                                want[i] = k == 0 ? part[i] : kind ? want[i] || part[i] : want[i] && part[i];
                }
        }
}

#define RULES 40u

static void together_is_as_alone(void) {
        for (guint round = 0; round < 25; round++) {
                g_autoptr(GString) yaml = g_string_new(NULL);
                static gboolean want[RULES][EVENTS];
                char *texts[RULES];

                for (guint i = 0; i < RULES; i++) {
                        g_autoptr(GString) text = g_string_new(NULL);

                        grow(text, want[i], 1 + i % 4);
                        texts[i] = g_strdup(text->str);
                        g_string_append_printf(yaml, "- rule: R%u\n  desc: d\n  condition: >-\n    %s\n  output: o\n  priority: INFO\n", i, text->str);
                        g_autoptr(BhRuleEngine) alone = filter(text->str);
                        for (guint k = 0; k < EVENTS; k++) {
                                if (run_one(alone, &events[k]) != want[i][k])
                                        g_error("event %u should make it %s: %s", k, want[i][k] ? "true" : "false", text->str);
                        }
                }
                for (guint all = 0; all < 2; all++) {
                        BhRuleSource source = { .name = "random", .text = yaml->str, .len = yaml->len };
                        BhRuleLoadOptions options = { .rule_matching_all = all != 0 };
                        g_autoptr(BhRuleSet) set = bh_rule_set_load(&source, 1, &options);
                        g_autoptr(BhRuleEngine) engine = bh_rule_engine_new(set, NULL, NULL, NULL);
                        g_autoptr(BhRuleRun) run = bh_rule_run_new();

                        g_assert_nonnull(engine);
                        for (guint k = 0; k < EVENTS; k++) {
                                const guint32 *matches;
                                guint n = bh_rule_run_event(run, engine, &events[k], NULL, &matches), at = 0;

                                for (guint i = 0; i < RULES; i++) {
                                        if (!want[i][k])
                                                continue;
                                        if (at >= n || matches[at] != i)
                                                g_error("event %u should match rule %u: %s", k, i, texts[i]);
                                        at++;
                                        if (!all)
                                                break;
                                }
                                g_assert_cmpuint(at, ==, n);
                        }
                }
                for (guint i = 0; i < RULES; i++)
                        g_free(texts[i]);
        }
}

static void a_run_follows_a_new_engine(void) {
        g_autoptr(BhRuleEngine) one = filter("proc.name = bash"), two = filter("proc.name = sh or fd.name startswith /etc or proc.aname = cron");
        g_autoptr(BhRuleRun) run = bh_rule_run_new();
        struct bh_event e = exec_event(), open = open_event(O_RDONLY);
        const guint32 *matches;

        for (guint i = 0; i < 3; i++) {
                g_assert_cmpuint(bh_rule_run_event(run, one, &e, NULL, &matches), ==, 1);
                g_assert_cmpuint(bh_rule_run_event(run, two, &e, NULL, &matches), ==, 0);
                g_assert_cmpuint(bh_rule_run_event(run, two, &open, NULL, &matches), ==, 1);
        }

        BhRuleRunStats stats;
        bh_rule_run_stats(run, &stats);
        g_assert_cmpuint(stats.events, ==, 9);
        g_assert_cmpuint(stats.matches, ==, 6);
}

static void limits_are_counted(void) {
        g_autoptr(BhRuleEngine) engine = filter("proc.exepath regex '(a|aa)+[bc]'");
        g_autoptr(BhRuleRun) run = bh_rule_run_new();
        g_autofree char *text = g_strnfill(5000, 'a');
        struct bh_event e = exec_event();
        const guint32 *matches;
        BhRuleRunStats stats;

        BH_SET(&e, exe, ((struct bh_str){ text, 5000 }));
        g_assert_cmpuint(bh_rule_run_event(run, engine, &e, NULL, &matches), ==, 0);
        bh_rule_run_stats(run, &stats);
        g_assert_cmpuint(stats.limits, ==, 1);
}

static void add_limit(const char *rule, const char *pattern, gpointer data) {
        g_string_append_printf(data, "%s: %s\n", rule ? rule : "none", pattern);
}

static void costly_patterns_are_named_once(void) {
        static const char yaml[] = "- rule: Cheap\n  desc: d\n  condition: evt.type = execve and proc.name = nobody\n  output: o\n  priority: INFO\n"
                                   "- rule: Dear\n  desc: d\n  condition: evt.type = execve and (proc.exepath exists and not proc.exepath regex '(a|aa)+[bc]')\n  output: o\n  priority: INFO\n"
                                   "- rule: Glob\n  desc: d\n  condition: evt.type = execve and proc.cwd glob '*[ab]?c'\n  output: o\n  priority: INFO\n"
                                   "- rule: Long\n  desc: d\n  condition: evt.type = execve and proc.name = y and proc.env[A] glob '*c*d'\n  output: o\n  priority: INFO\n";
        BhRuleSource sources[] = { { .name = "x", .text = yaml, .len = sizeof(yaml) - 1 }, { .name = "all", .text = "rule_matching: all", .len = 18 } };
        g_autoptr(BhRuleSet) set = bh_rule_set_load(sources, 2, NULL);
        g_autoptr(GError) error = NULL;
        g_autoptr(BhRuleEngine) engine = bh_rule_engine_new(set, NULL, NULL, &error);
        g_autoptr(BhRuleRun) run = bh_rule_run_new();
        g_autoptr(GString) told = g_string_new(NULL);
        g_autofree char *text = g_strnfill(5000, 'a'), *huge = g_strnfill(1500000, 'b');
        struct bh_event e = exec_event();
        const guint32 *matches;

        g_assert_no_error(error);
        bh_rule_run_event(run, engine, &e, NULL, &matches);
        g_assert_false(bh_rule_run_hit(run));
        BH_SET(&e, exe, ((struct bh_str){ text, 5000 }));
        huge[1499999] = 'c';
        BH_SET(&e, cwd, ((struct bh_str){ huge, 1500000 }));
        for (guint i = 0; i < 3; i++) {
                bh_rule_run_event(run, engine, &e, NULL, &matches);
                g_assert_true(bh_rule_run_hit(run));
                g_assert_true(bh_rule_run_limited(run, engine, add_limit, told));
                g_assert_false(bh_rule_run_limited(run, engine, add_limit, told));
        }
        g_assert_cmpstr(told->str, ==, "Dear: (a|aa)+[bc]\nGlob: *[ab]?c\n");
}

static void problems_are_told_per_rule(void) {
        static const char yaml[] = "- rule: A\n  desc: d\n  condition: evt.type = read\n  output: o\n  priority: INFO\n"
                                   "- rule: B\n  desc: d\n  condition: evt.type = open and proc.nthreads > 1\n  output: o\n  priority: INFO\n"
                                   "- rule: C\n  desc: d\n  condition: evt.type in (open, connect)\n  output: o\n  priority: INFO\n";
        BhRuleSource source = { .name = "x", .text = yaml, .len = sizeof(yaml) - 1 };
        g_autoptr(BhRuleSet) set = bh_rule_set_load(&source, 1, NULL);
        g_autoptr(GPtrArray) problems = g_ptr_array_new();
        guint64 available[2] = { ~(1ull << BH_EV_CONNECT), ~0ull };
        g_autoptr(BhRuleEngine) engine = bh_rule_engine_new(set, &(BhEngineOptions){ .available = available }, problems, NULL);
        guint told[3] = { 0 };

        g_assert_nonnull(engine);
        for (guint i = 0; i < problems->len; i++) {
                const BhEngineProblem *p = g_ptr_array_index(problems, i);

                g_assert_false(p->error);
                g_assert_cmpuint(p->pos.line, >, 0);
                told[p->rule]++;
                if (p->rule == 2)
                        g_assert_nonnull(strstr(p->what, "connect"));
        }
        g_assert_cmpuint(told[0], ==, 2); /* no such event, so that it can match nothing */
        g_assert_cmpuint(told[1], ==, 2); /* a field that is never there, so that it can match nothing */
        g_assert_cmpuint(told[2], ==, 1);
}

/* A node that is not told what files its own processes open says so of rules about those, and of no other. */
static void rules_about_the_host_alone_are_told(void) {
        static const struct {
                const char *condition;
                gboolean told;
        } cases[] = {
                { "evt.type = open and container.id = host", TRUE },
                { "evt.type = open and not container.id != host", TRUE },
                { "evt.type in (open, execve) and (container.id in (host) and fd.name = /x)", TRUE },
                { "evt.type = open and (container.id = host or container.id = host and proc.name = x)", TRUE },
                { "evt.type = open", FALSE },
                { "evt.type = open and container.id != host", FALSE },
                { "evt.type = open and (container.id = host or fd.name = /x)", FALSE },
                { "evt.type = open and not container.id = host", FALSE },
                { "evt.type = execve and container.id = host", FALSE },
                { "evt.type = open and container.name = host", FALSE },
        };
        const guint64 host[2] = { ~(1ull << BH_EV_OPEN), ~0ull };

        for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *yaml = g_strdup_printf("- rule: A\n  desc: d\n  condition: %s\n  output: o\n  priority: INFO\n", cases[i].condition);
                BhRuleSource source = { .name = "x", .text = yaml, .len = strlen(yaml) };
                g_autoptr(BhRuleSet) set = bh_rule_set_load(&source, 1, NULL);
                g_autoptr(GPtrArray) problems = g_ptr_array_new();
                g_autoptr(BhRuleEngine) engine = bh_rule_engine_new(set, &(BhEngineOptions){ .host = host }, problems, NULL);

                g_assert_nonnull(engine);
                if ((problems->len == 1) != cases[i].told)
                        g_error("%s: expected it %stold, saw %u problems", cases[i].condition, cases[i].told ? "" : "not ", problems->len);
                if (cases[i].told) {
                        const BhEngineProblem *p = g_ptr_array_index(problems, 0);

                        g_assert_false(p->error);
                        g_assert_nonnull(strstr(p->what, "events: open; start it with --host-events"));
                }
        }
}

/* Conditions as deep and wide as the loader lets through. */
static void large_conditions(void) {
        g_autoptr(GString) deep = g_string_new("proc.name = bash"), wide = g_string_new("proc.name in (x");
        struct bh_event e = exec_event();

        for (guint i = 0; i < 18; i++) {
                g_string_prepend(deep, i % 2 ? "not (" : "(proc.pname = sshd and ");
                g_string_append_c(deep, ')');
        }
        g_assert_false(holds(&e, deep->str)); /* nine times not */
        for (guint i = 0; i < 7000; i++)
                g_string_append_printf(wide, ", n%u", i);
        g_string_append(wide, ", bash)");
        YES(&e, wide->str);
}

static void a_file_is_tried_out_alone(void) {
        static const char ours[] = "- rule: First\n  desc: d\n  condition: evt.type = execve\n  output: o\n  priority: INFO\n- rule: Changed\n  desc: d\n  condition: evt.type = connect\n  output: o\n  priority: INFO\n";
        static const char theirs[] = "- rule: Second\n  desc: d\n  condition: evt.type = execve\n  output: o\n  priority: INFO\n- rule: Third\n  desc: d\n  condition: evt.type = execve\n  output: o\n  priority: INFO\n"
                                     "- rule: Changed\n  condition: evt.type = execve\n  override: {condition: replace}\n";
        BhRuleSource sources[] = { { "ours.yaml", ours, sizeof(ours) - 1 }, { "theirs.yaml", theirs, sizeof(theirs) - 1 } };
        g_autoptr(BhRuleSet) set = bh_rule_set_load(sources, 2, NULL);
        g_autoptr(BhRuleEngine) all = bh_rule_engine_new(set, NULL, NULL, NULL);
        g_autoptr(BhRuleEngine) alone = bh_rule_engine_new(set, &(BhEngineOptions) { .file = "theirs.yaml" }, NULL, NULL);
        g_autoptr(BhRuleRun) run = bh_rule_run_new();
        struct bh_event exec = exec_event();
        const guint32 *matches;
        guint64 needs[2];

        g_assert_nonnull(all);
        g_assert_nonnull(alone);
        g_assert_cmpuint(bh_rule_run_event(run, all, &exec, NULL, &matches), ==, 1); /* the first one defined tells */
        g_assert_cmpuint(matches[0], ==, 0);
        g_assert_cmpuint(bh_rule_run_event(run, alone, &exec, NULL, &matches), ==, 3); /* none of another file hides them */
        g_assert_cmpuint(matches[0], ==, 1); /* whose condition is theirs */
        g_assert_cmpuint(matches[1], ==, 2);
        g_assert_cmpuint(matches[2], ==, 3);
        bh_rule_engine_needs(alone, needs);
        g_assert_true(needs[0] >> exec.type & 1);
        g_assert_cmpuint(needs[0] & ~(1ull << exec.type), ==, 0);
        g_assert_cmpuint(needs[1], ==, 0);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        make_events();
        for (guint c = 0; c < CHECKS; c++) {
                single[c] = filter(checks[c]);
                for (guint k = 0; k < EVENTS; k++)
                        truth[c][k] = run_one(single[c], &events[k]);
        }
        g_test_add_func("/rules/engine/together_is_as_alone", together_is_as_alone);
        g_test_add_func("/rules/engine/a_run_follows_a_new_engine", a_run_follows_a_new_engine);
        g_test_add_func("/rules/engine/limits_are_counted", limits_are_counted);
        g_test_add_func("/rules/engine/costly_patterns_are_named_once", costly_patterns_are_named_once);
        g_test_add_func("/rules/engine/problems_are_told_per_rule", problems_are_told_per_rule);
        g_test_add_func("/rules/engine/rules_about_the_host_alone_are_told", rules_about_the_host_alone_are_told);
        g_test_add_func("/rules/engine/large_conditions", large_conditions);
        g_test_add_func("/rules/engine/a_file_is_tried_out_alone", a_file_is_tried_out_alone);
        int status = g_test_run();
        for (guint c = 0; c < CHECKS; c++)
                bh_rule_engine_unref(single[c]);
        return status;
}

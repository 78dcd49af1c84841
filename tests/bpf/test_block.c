/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs are refused for real, here and on each kernel of tests/vm, with each backend that the kernel has: whatever way they are run, no instruction of theirs leaves a trace, and the
 * neighbour's runs each time. BH_TRIES=N: so many tries (default 500), of several processes at once, with the backend that the kernel is given.
 */
#include "block_env.h"

static void blocked_programs_never_run(void) {
        const guint tries = backend != chosen ? 100 : getenv("BH_TRIES") ? (guint) atoi(getenv("BH_TRIES")) : 500;
        const guint ways = stopping_ways();
        gint *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        Work job = { .rounds = (tries + WORKERS * ways - 1) / (WORKERS * ways), .slipped = shared, .script_slipped = shared + 1 };
        g_autofree char *secret = g_strdup_printf("exec:%s/secret", neighbour);
        g_autoptr(GPtrArray) programs = block_blocked(), script = denies(secret, NULL);
        const BhBlockRule rules[] = { { RULE, programs, FALSE }, { SCRIPT_RULE, script, FALSE } };
        const BhBlockSubject subject = { .init_pid = getpid() };
        guint64 acts, untold, told = 0;
        pid_t pids[WORKERS];

        make_cgroup();
        in_cgroup(run_all_blocked, NULL);
        g_autoptr(BhBlock) b = begin();
        must_set(b, rules, 2, &subject, 0);
        for (guint i = 0; i < WORKERS; i++)
                pids[i] = begin_in_cgroup(work, &job);
        for (guint i = 0; i < WORKERS; i++) {
                int status = 0;
                pid_t pid;

                while ((pid = waitpid(pids[i], &status, WNOHANG)) == 0) { /* what is told has little room */
                        bh_block_tell(b, say_told, &told);
                        g_usleep(1000);
                }
                g_assert_cmpint(pid, ==, pids[i]);
                g_assert_cmphex((guint) status, ==, 0);
        }
        bh_block_tell(b, say_told, &told);
        must_run_all(blocked, 'b'); /* of another cgroup */
        g_assert_true(bh_block_refused(b, RULE, &acts, &untold));
        g_test_message("%u ways, %" G_GUINT64_FORMAT " tries were refused", ways, acts);
        g_assert_cmpuint(acts + (guint) shared[0], ==, WORKERS * job.rounds * ways);
        g_assert_cmpuint(told + untold, ==, acts);
        g_assert_true(bh_block_refused(b, SCRIPT_RULE, &acts, &untold));
        g_assert_cmpuint(acts + (guint) shared[1], ==, WORKERS * job.rounds);
        if (shared[0] || shared[1])
                g_test_message("%d programs and %d scripts ran all the same: the kernel left programs out %" G_GUINT64_FORMAT " times", shared[0], shared[1], bh_block_skipped(b));
        g_assert_cmpuint((guint) (shared[0] + shared[1]), <=, bh_block_skipped(b));
        munmap(shared, 4096);
        bh_block_clear(b, CGROUP);
        g_assert_false(bh_block_refused(b, RULE, &acts, &untold));
        in_cgroup(run_all_blocked, NULL);
        g_assert_false(g_file_test(pins, G_FILE_TEST_EXISTS));
        remove_cgroup();
}

/* ---- names change */

static void rename_and_run(gpointer data) {
        g_autofree char *prog = g_build_filename(blocked, "prog", NULL), *other = g_build_filename(blocked, "other", NULL), *good = g_build_filename(neighbour, "prog", NULL);

        g_assert_no_errno(rename(prog, other));
        assert_stopped("renamed", bh_way_run(other));
        /* another file at its place is refused as well, at once */
        g_assert_no_errno(link(good, prog));
        assert_stopped("put at its place", bh_way_run(prog));
        assert_ran("where it was", bh_way_run(good), 'n');
        g_assert_no_errno(unlink(prog));
        g_assert_no_errno(rename(other, prog));
}

/* Two names change places all the time: whichever file the kernel runs is the one that was judged. */
static void race(gpointer data) {
        g_autofree char *a = g_build_filename(dir, "race-a", NULL), *c = g_build_filename(dir, "race-c", NULL);
        guint ran = 0, stopped = 0;
        pid_t swapper = fork();

        if (swapper == 0)
                for (;;)
                        syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, c, 2 /* RENAME_EXCHANGE */);
        for (guint i = 0; ran < 30 || stopped < 30; i++) {
                BhWayResult r = bh_way_run(a);

                g_assert_cmpuint(i, <, 100000);
                if (r.mark) {
                        assert_ran("race", r, 'n');
                        ran++;
                } else {
                        assert_stopped("race", r);
                        stopped++;
                }
        }
        kill(swapper, SIGKILL);
        waitpid(swapper, NULL, 0);
}

static void names_do_not_matter(void) {
        g_autofree char *a = g_build_filename(dir, "race-a", NULL), *c = g_build_filename(dir, "race-c", NULL), *prog = g_build_filename(blocked, "prog", NULL), *good = g_build_filename(neighbour, "prog", NULL);
        g_autoptr(GPtrArray) programs = block_blocked();
        const BhBlockRule rule = { RULE, programs, FALSE };
        const BhBlockSubject subject = { .init_pid = getpid() };

        make_cgroup();
        g_autoptr(BhBlock) b = begin();
        must_set(b, &rule, 1, &subject, 0);
        in_cgroup(rename_and_run, NULL);
        g_assert_no_errno(link(prog, a));
        g_assert_no_errno(link(good, c));
        in_cgroup(race, NULL);
        unlink(a);
        unlink(c);
        bh_block_clear(b, CGROUP);
        remove_cgroup();
}

/* ---- without the sensor */

static void what_is_in_force_outlives_who_set_it(void) {
        g_autoptr(GPtrArray) programs = block_blocked();
        const BhBlockRule rule = { RULE, programs, FALSE };
        const BhBlockSubject subject = { .init_pid = getpid() };
        guint64 acts, untold, told = 0;

        make_cgroup();
        BhBlock *b = begin();
        must_set(b, &rule, 1, &subject, 0);
        bh_block_free(b);
        in_cgroup(stop_one, NULL);
        b = begin();
        g_assert_cmpuint(bh_block_count(b), ==, 1);
        must_set(b, &rule, 1, &subject, 0);
        bh_block_settle(b);
        in_cgroup(stop_one, NULL);
        bh_block_tell(b, say_told, &told);
        g_assert_true(bh_block_refused(b, RULE, &acts, &untold));
        g_assert_cmpuint(acts, ==, 2);
        g_assert_cmpuint(told, ==, 2); /* that of before, too */
        bh_block_free(b);

        /* one that could not set it again can take it away all the same */
        b = begin();
        bh_block_clear(b, CGROUP);
        g_assert_cmpuint(bh_block_count(b), ==, 0);
        in_cgroup(run_all_blocked, NULL);
        must_set(b, &rule, 1, &subject, 0);
        bh_block_free(b);

        /* a successor that knows nothing of it takes it away */
        b = begin();
        bh_block_settle(b);
        g_assert_cmpuint(bh_block_count(b), ==, 0);
        in_cgroup(run_all_blocked, NULL);
        g_assert_false(g_file_test(pins, G_FILE_TEST_EXISTS));
        bh_block_free(b);
        remove_cgroup();
}

/* ---- who leaves the cgroup */

static void leave_and_run(gpointer data) {
        const int *ends = data; /* to tell who it is, and to wait */
        char byte;
        pid_t pid;

        g_assert_no_errno(unshare(CLONE_NEWPID));
        if ((pid = fork()) == 0) { /* first of its namespace */
                g_assert_cmpint(read(ends[1], &byte, 1), ==, 1);
                enter(v2);
                assert_stopped("path", bh_way_try(0, blocked));
                assert_ran("path", bh_way_try(0, neighbour), 'n');
                _exit(0);
        }
        g_assert_cmpint(write(ends[0], &pid, sizeof(pid)), ==, sizeof(pid));
        must_end(pid);
}

static void who_leaves_the_cgroup_is_still_in_its_pid_namespace(void) {
        g_autoptr(GPtrArray) programs = block_blocked();
        const BhBlockRule rule = { RULE, programs, FALSE };
        int told[2], go[2];
        pid_t first;

        make_cgroup();
        g_assert_no_errno(pipe(told));
        g_assert_no_errno(pipe(go));
        int ends[] = { told[1], go[0] };
        pid_t pid = begin_in_cgroup(leave_and_run, ends);
        g_assert_cmpint(read(told[0], &first, sizeof(first)), ==, sizeof(first));
        g_autoptr(BhBlock) b = begin();
        const BhBlockSubject subject = { .init_pid = first, .own_pids = TRUE };
        must_set(b, &rule, 1, &subject, 0);
        g_assert_cmpint(write(go[1], "x", 1), ==, 1);
        must_end(pid);
        for (guint i = 0; i < 2; i++) {
                close(told[i]);
                close(go[i]);
        }
        bh_block_clear(b, CGROUP);
        remove_cgroup();
}

/* ---- what is not from the image */

static void what_is_not_from_the_image_does_not_run(void) {
        g_autoptr(GPtrArray) rest = denies("exec-not-in-image", NULL);
        const BhBlockRule rule = { RULE, rest, FALSE };
        guint64 acts, untold;
        Boxed box;

        begin_box(&box, run_box);
        wait_box(&box);
        g_autoptr(BhBlock) b = begin();
        const BhBlockSubject subject = { .init_pid = box.pid };
        must_set(b, &rule, 1, &subject, 0);
        go_on(&box);
        must_end(box.pid);
        g_assert_true(bh_block_refused(b, RULE, &acts, &untold));
        g_assert_cmpuint(acts, ==, 30);
        bh_block_clear(b, CGROUP);
        end_box(&box);
}

/* ---- other acts */

/* In a mount namespace of the caller's own. */
static int try_acts(void) {
        static const char none[4096];
        pid_t child;
        int status, refused = 0;

        refused |= mount("tmpfs", "/tmp", "tmpfs", 0, NULL) ? (errno == EPERM ? 1 : 64) : 0;
        if ((child = fork()) == 0)
                for (;;)
                        pause();
        refused |= syscall(SYS_ptrace, 16 /* PTRACE_ATTACH */, child, 0, 0) ? (errno == EPERM ? 2 : 64) : 0;
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        refused |= syscall(SYS_init_module, none, sizeof(none), "") && errno == EPERM ? 4 : 0; /* else it is no module */
        refused |= chroot("/") && errno == EPERM ? 8 : 0;
        return refused;
}

static void acts_are_open(gpointer data) {
        g_assert_cmpint(try_acts() & ~4, ==, 0);
}

static void acts_are_refused(gpointer data) {
        g_assert_cmpint(try_acts(), ==, 15);
}

/* In a child, whose mounts nobody else sees; it is in the cgroup, or not, when it acts. */
static void act_apart(void (*run)(gpointer data), gboolean inside) {
        pid_t pid = fork();

        g_assert_no_errno(pid);
        if (pid == 0) {
                g_assert_no_errno(unshare(CLONE_NEWNS));
                g_assert_no_errno(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
                if (inside)
                        enter(cgroup_dir);
                run(NULL);
                fflush(NULL);
                _exit(0);
        }
        must_end(pid);
}

static void other_acts_are_refused_or_said_to_be_open(void) {
        g_autoptr(GPtrArray) list = denies("mount", "ptrace", "module", "cap:sys_chroot", NULL);
        const BhBlockRule rule = { RULE, list, FALSE };
        const BhBlockSubject subject = { .init_pid = getpid() };
        gboolean deny = backend != BH_BLOCK_BACKEND_TRACEPOINT;
        guint64 acts, untold;

        make_cgroup();
        g_autoptr(BhBlock) b = begin();
        act_apart(acts_are_open, TRUE);
        must_set(b, &rule, 1, &subject, deny ? 0 : 4);
        act_apart(deny ? acts_are_refused : acts_are_open, TRUE);
        act_apart(acts_are_open, FALSE);
        if (deny) {
                g_assert_true(bh_block_refused(b, RULE, &acts, &untold));
                g_assert_cmpuint(acts, ==, 4);
        }
        bh_block_clear(b, CGROUP);
        remove_cgroup();
}

/* ---- what it costs */

#define ENTRIES 1000u
#define RUNS 300u

static void run_neighbour(gpointer data) {
        for (guint i = 0; i < RUNS; i++)
                assert_ran("path", bh_way_try(0, neighbour), 'n');
}

static void print_costs(BhBlock *b, const char *who, struct bpf_prog_info *before) {
        for (guint i = 0; i < BLOCK_PROGRAMS; i++) {
                struct bpf_prog_info info = { 0 };
                __u32 size = sizeof(info);

                if (b->programs[i] < 0 || bpf_obj_get_info_by_fd(b->programs[i], &info, &size) || info.run_cnt == before[i].run_cnt)
                        continue;
                g_test_message("%s: %s: %" G_GUINT64_FORMAT " ns a decision (%" G_GUINT64_FORMAT ")", who, info.name, (guint64) ((info.run_time_ns - before[i].run_time_ns) / (info.run_cnt - before[i].run_cnt)),
                               (guint64) (info.run_cnt - before[i].run_cnt));
                before[i] = info;
        }
}

static guint64 runs_of(const struct bpf_prog_info *info) {
        guint64 n = 0;

        for (guint i = 0; i < BLOCK_PROGRAMS; i++)
                n += info[i].run_cnt;
        return n;
}

/* The figures are printed; in an emulated machine they say nothing. */
static void a_thousand_entries_hinder_nobody_else(void) {
        g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify) bh_deny_free);
        const BhBlockRule rule = { RULE, list, FALSE };
        const BhBlockSubject subject = { .init_pid = getpid() };
        struct bpf_prog_info before[BLOCK_PROGRAMS] = { 0 };
        g_autoptr(GError) error = NULL;

        if (backend != chosen) {
                g_test_skip("done with the backend that this kernel is given");
                return;
        }
        make_cgroup();
        int stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
        for (guint i = 0; i < ENTRIES; i++) {
                g_autofree char *path = g_strdup_printf("%s/entry-%u", blocked, i), *text = g_strdup_printf("exec:%s", path);

                g_file_set_contents(path, "x", 1, &error);
                g_assert_no_error(error);
                g_ptr_array_add(list, bh_deny_parse(text, NULL));
        }
        g_autoptr(BhBlock) b = begin();
        must_set(b, &rule, 1, &subject, 0);
        print_costs(b, "setting", before);
        in_cgroup(run_neighbour, NULL);
        print_costs(b, "in the container", before);
        g_assert_cmpuint(runs_of(before), >=, RUNS);
        run_neighbour(NULL);
        print_costs(b, "elsewhere", before);
        g_assert_cmpuint(runs_of(before), >=, 2 * RUNS);
        close(stats);
        bh_block_clear(b, CGROUP);
        for (guint i = 0; i < ENTRIES; i++) {
                g_autofree char *path = g_strdup_printf("%s/entry-%u", blocked, i);

                unlink(path);
        }
        remove_cgroup();
}

/* ---- what cannot be */

static void bad_wishes_are_refused_and_leave_nothing(void) {
        static const char *const texts[] = { "exec:/nowhere/at/all", "exec:/tmp" };
        const BhBlockSubject subject = { .init_pid = getpid() };

        make_cgroup();
        g_autoptr(BhBlock) b = begin();
        for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
                g_autoptr(GPtrArray) list = denies(texts[i], NULL);
                const BhBlockRule rule = { RULE, list, FALSE };
                g_auto(BhBlockDone) done = { 0 };
                g_autoptr(GError) error = NULL;

                g_assert_false(bh_block_set(b, CGROUP, &rule, 1, &subject, &done, &error));
                g_assert_nonnull(strstr(error->message, texts[i] + strlen("exec:")));
                g_assert_cmpuint(bh_block_count(b), ==, 0);
                g_assert_false(g_file_test(pins, G_FILE_TEST_EXISTS));
        }
        remove_cgroup();
}

static const struct {
        const char *name;
        void (*run)(void);
} tests[] = {
        { "blocked_programs_never_run", blocked_programs_never_run },
        { "names_do_not_matter", names_do_not_matter },
        { "what_is_in_force_outlives_who_set_it", what_is_in_force_outlives_who_set_it },
        { "who_leaves_the_cgroup_is_still_in_its_pid_namespace", who_leaves_the_cgroup_is_still_in_its_pid_namespace },
        { "what_is_not_from_the_image_does_not_run", what_is_not_from_the_image_does_not_run },
        { "what_is_not_listed_does_not_run", what_is_not_listed_does_not_run },
        { "lists_that_change_refuse_nothing_that_is_on_all", lists_that_change_refuse_nothing_that_is_on_all },
        { "links_list_nothing_that_the_image_did_not_bring", links_list_nothing_that_the_image_did_not_bring },
        { "another_root_lists_nothing", another_root_lists_nothing },
        { "another_build_knows_the_root_of_before", another_build_knows_the_root_of_before },
        { "another_mount_namespace_lists_nothing", another_mount_namespace_lists_nothing },
        { "what_is_mounted_over_the_image_is_not_listed", what_is_mounted_over_the_image_is_not_listed },
        { "mounts_that_cannot_be_read_change_nothing", mounts_that_cannot_be_read_change_nothing },
        { "a_list_of_which_nothing_is_left_refuses_all_and_fails_no_other", a_list_of_which_nothing_is_left_refuses_all_and_fails_no_other },
        { "a_bit_that_is_another_lists_now_lists_nothing_of_the_old_one", a_bit_that_is_another_lists_now_lists_nothing_of_the_old_one },
        { "who_has_the_number_of_a_blocked_file_is_not_that_file", who_has_the_number_of_a_blocked_file_is_not_that_file },
        { "what_is_over_in_a_look_is_looked_at_in_the_next_one", what_is_over_in_a_look_is_looked_at_in_the_next_one },
        { "other_acts_are_refused_or_said_to_be_open", other_acts_are_refused_or_said_to_be_open },
        { "a_thousand_entries_hinder_nobody_else", a_thousand_entries_hinder_nobody_else },
        { "bad_wishes_are_refused_and_leave_nothing", bad_wishes_are_refused_and_leave_nothing },
};
static const struct {
        BhBlockBackend backend;
        const char *name;
} backends[] = { { BH_BLOCK_BACKEND_LSM, "lsm" }, { BH_BLOCK_BACKEND_RETURN, "return" }, { BH_BLOCK_BACKEND_TRACEPOINT, "tracepoint" } };

static BhBlockBackend choose(void) {
        g_autoptr(BhBlock) b = bh_block_open(pins, v2, "/proc");

        bh_block_prepare(b, NULL);
        return bh_block_backend(b);
}

static void run_with(gconstpointer data) {
        guint n = GPOINTER_TO_UINT(data);
        g_autoptr(GError) error = NULL;
        g_autoptr(BhBlock) b = bh_block_open(pins, v2, "/proc");

        backend = backends[n / 100].backend;
        bh_block_want(b, backend);
        if (!bh_block_prepare(b, &error) && backend != BH_BLOCK_BACKEND_TRACEPOINT) {
                g_test_skip(error->message);
                return;
        }
        g_assert_no_error(error);
        tests[n % 100].run();
}

int main(int argc, char **argv) {
        struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
        g_autoptr(GError) error = NULL;
        g_autofree char *secret = NULL, *text = NULL;

        if (argc == 2 && g_str_equal(argv[1], "--version")) /* the canary: see block.h */
                return 0;
        g_test_init(&argc, &argv, NULL);
        setrlimit(RLIMIT_MEMLOCK, &unlimited);
        if (geteuid() != 0 || !(layout = bh_cgroup_detect("/", &error)) || !(v2 = g_strdup(layout->v2_mount ? layout->v2_mount : layout->version == 2 ? layout->mount : NULL))) {
                printf("1..0 # SKIP it takes root, and a version 2 hierarchy of control groups\n");
                return 0;
        }
        dir = g_dir_make_tmp("bh-block-XXXXXX", NULL);
        g_assert_no_errno(chmod(dir, 0755));
        pins = g_build_filename(dir, "pins", NULL);
        cgroup_dir = g_build_filename(v2, CGROUP, NULL);
        blocked = g_build_filename(dir, "blocked", NULL);
        neighbour = g_build_filename(dir, "neighbour", NULL);
        bh_ways_make(blocked, 'b');
        bh_ways_make(neighbour, 'n');
        secret = g_build_filename(neighbour, "secret", NULL);
        text = g_strdup_printf("#!%s/prog\n", neighbour);
        g_assert_true(g_file_set_contents(secret, text, -1, NULL));
        g_assert_no_errno(chmod(secret, 0755));
        chosen = choose();
        for (guint k = 0; k < G_N_ELEMENTS(backends); k++)
                for (guint i = 0; i < G_N_ELEMENTS(tests); i++) {
                        g_autofree char *name = g_strdup_printf("/block/%s/%s", backends[k].name, tests[i].name);

                        g_test_add_data_func(name, GUINT_TO_POINTER(k * 100 + i), run_with);
                }
        int rc = g_test_run();
        bh_ways_remove(blocked);
        bh_ways_remove(neighbour);
        rmdir(dir);
        bh_cgroup_layout_free(layout);
        g_free(v2);
        g_free(dir);
        g_free(pins);
        g_free(cgroup_dir);
        g_free(blocked);
        g_free(neighbour);
        return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs are refused for real, here and on each kernel of tests/vm, with each backend that the kernel has: whatever way they are run, no instruction of theirs leaves a trace, and the
 * neighbour's runs each time. BH_TRIES=N: so many tries (default 500), of several processes at once, with the backend that the kernel is given.
 */
#include "sensor/block_private.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "block_ways.h"
#include "container/cgroup.h"
#include "response/files.h"

#define CGROUP "/bh-test-block"
#define WORKERS 4u
#define RULE 7u
#define SCRIPT_RULE 8u
#define TRIED_RULE 9u /* of a list that is only observed */

static BhCgroupLayout *layout;
static char *v2, *dir, *cgroup_dir, *pins, *blocked, *neighbour;
static BhBlockBackend backend, chosen; /* under test; what this kernel is given */

/* ---- the block */

static void say_told(const struct bh_block_act *a, gpointer data) {
        guint64 *told = data;

        g_assert_cmpuint(a->how, ==, a->rule == TRIED_RULE ? BH_BLOCK_OBSERVED : backend == BH_BLOCK_BACKEND_TRACEPOINT ? BH_BLOCK_KILLED : BH_BLOCK_DENIED);
        if (a->rule == RULE)
                (*told)++;
}

static BhBlock *begin(void) {
        g_autoptr(GError) error = NULL;
        BhBlock *b = bh_block_open(pins, v2, "/proc");

        bh_block_want(b, backend);
        bh_block_prepare(b, &error);
        g_assert_no_error(error);
        g_assert_cmpint(bh_block_backend(b), ==, backend);
        return b;
}

static GPtrArray *denies(const char *first, ...) {
        GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify) bh_deny_free);
        va_list ap;

        va_start(ap, first);
        for (const char *text = first; text; text = va_arg(ap, const char *)) {
                g_autoptr(GError) error = NULL;

                g_ptr_array_add(list, bh_deny_parse(text, &error));
                g_assert_no_error(error);
        }
        va_end(ap);
        return list;
}

static void must_set(BhBlock *b, const BhBlockRule *rules, guint n, const BhBlockSubject *subject, guint open) {
        g_autoptr(GError) error = NULL;
        g_auto(BhBlockDone) done = { 0 };

        bh_block_set(b, CGROUP, rules, n, subject, &done, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(done.open->len, ==, open);
}

static void enter(const char *dir_of_cgroup) {
        g_autofree char *procs = g_build_filename(dir_of_cgroup, "cgroup.procs", NULL);
        int fd = open(procs, O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, "0", 1) != 1)
                _exit(99);
        close(fd);
}

/* Runs it in the cgroup, in a process of its own, which ends well if all asserts hold. */
static pid_t begin_in_cgroup(void (*run)(gpointer data), gpointer data) {
        pid_t pid = fork();

        g_assert_no_errno(pid);
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL); /* nothing is left behind by a test that breaks off, and whoever reads its output is not kept waiting */
                enter(cgroup_dir);
                run(data);
                fflush(NULL);
                _exit(0);
        }
        return pid;
}

static void must_end(pid_t pid) {
        int status;

        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_cmphex((guint) status, ==, 0);
}

static void in_cgroup(void (*run)(gpointer data), gpointer data) {
        must_end(begin_in_cgroup(run, data));
}

static void make_cgroup(void) {
        mkdir(cgroup_dir, 0755);
}

static void remove_cgroup(void) {
        for (guint i = 0; i < 5000 && rmdir(cgroup_dir) && errno == EBUSY; i++)
                g_usleep(1000);
        g_assert_false(g_file_test(cgroup_dir, G_FILE_TEST_EXISTS));
}

/* ---- what is expected */

static void assert_stopped(const char *how, BhWayResult r) {
        /* SIGSEGV: who is killed before the new image is in place cannot go back to the old one; the kernel says it so */
        gboolean killed = WIFSIGNALED(r.status) && (WTERMSIG(r.status) == SIGKILL || WTERMSIG(r.status) == SIGSEGV), denied = WIFEXITED(r.status) && WEXITSTATUS(r.status) == 100 + EPERM;

        if (g_str_equal(how, BH_WAY_LOADER) && backend != BH_BLOCK_BACKEND_TRACEPOINT)
                denied = WIFEXITED(r.status) && WEXITSTATUS(r.status) == 127; /* what the loader says */
        if (backend == BH_BLOCK_BACKEND_RETURN && WIFSIGNALED(r.status) && WTERMSIG(r.status) == SIGSEGV)
                denied = TRUE; /* the look at its start was left out (bh_block_skipped()), the one at the mapping of its file was not */
        if (r.mark || !(backend == BH_BLOCK_BACKEND_TRACEPOINT ? killed : denied))
                g_error("%s: expected that it is stopped; mark %d, status %x", how, r.mark, (guint) r.status);
}

static void assert_ran(const char *how, BhWayResult r, char mark) {
        if (r.mark != mark || !r.done)
                g_error("%s: expected that it runs; mark %d, status %x", how, r.mark, (guint) r.status);
}

typedef struct {
        guint rounds;
        gint *slipped, *script_slipped; /* shared by all workers */
} Work;

/* The kernel may have left the programs out (bh_block_skipped()): how often is compared with that. Those of BPF LSM it never does. */
static void expect_stopped(const char *how, BhWayResult r, gint *slipped) {
        if (backend != BH_BLOCK_BACKEND_LSM && r.mark)
                g_atomic_int_inc(slipped);
        else
                assert_stopped(how, r);
}

static guint stopping_ways(void) {
        guint n = 0;

        for (guint w = 0; w < bh_ways(); w++)
                n += bh_way_possible(w);
        return n;
}

static void work(gpointer data) {
        const Work *job = data;
        g_autofree char *secret = g_build_filename(neighbour, "secret", NULL);

        for (guint i = 0; i < job->rounds; i++) {
                for (guint w = 0; w < bh_ways(); w++) {
                        if (!bh_way_possible(w))
                                continue;
                        expect_stopped(bh_way_name(w), bh_way_try(w, blocked), job->slipped);
                        /* the loader may load nothing at all where the kernel cannot see what it loads */
                        if (!g_str_equal(bh_way_name(w), BH_WAY_LOADER) || backend != BH_BLOCK_BACKEND_TRACEPOINT)
                                assert_ran(bh_way_name(w), bh_way_try(w, neighbour), 'n');
                }
                expect_stopped("a script that is blocked itself", bh_way_run(secret), job->script_slipped);
        }
}

static void must_run_all(const char *folder, char mark) {
        for (guint w = 0; w < bh_ways(); w++)
                if (bh_way_possible(w))
                        assert_ran(bh_way_name(w), bh_way_try(w, folder), mark);
}

static void run_all_blocked(gpointer data) {
        must_run_all(blocked, 'b');
}

static void stop_one(gpointer data) {
        assert_stopped("path", bh_way_try(0, blocked));
        assert_ran("path", bh_way_try(0, neighbour), 'n');
}

static GPtrArray *block_blocked(void) {
        g_autofree char *prog = g_strdup_printf("exec:%s/prog", blocked), *dynamic = g_strdup_printf("exec:%s/dynamic", blocked);

        return denies(prog, dynamic, NULL);
}

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

typedef struct {
        char *layers; /* its files */
        int ready, go;
} Box;

/* A container's root: an overlay, with the programs below and one that was written since. */
static void enter_box(const Box *box) {
        g_autofree char *lower = g_build_filename(box->layers, "lower", NULL), *options = g_strdup_printf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", lower, box->layers, box->layers);
        g_autofree char *root = g_build_filename(box->layers, "root", NULL);

        g_assert_no_errno(unshare(CLONE_NEWNS));
        g_assert_no_errno(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
        g_assert_no_errno(mount("overlay", root, "overlay", 0, options));
        g_assert_no_errno(chroot(root));
        g_assert_no_errno(chdir("/"));
        g_autofree char *bytes = NULL;
        gsize len;
        g_assert_true(g_file_get_contents("/image/prog", &bytes, &len, NULL));
        g_assert_true(g_file_set_contents("/written", bytes, (gssize) len, NULL));
        g_assert_no_errno(chmod("/written", 0755));
        g_assert_no_errno(mount("tmpfs", "/volume", "tmpfs", 0, NULL));
        g_assert_true(g_file_set_contents("/volume/prog", bytes, (gssize) len, NULL));
        g_assert_no_errno(chmod("/volume/prog", 0755));
        assert_ran("written", bh_way_run("/written"), 'n');
        assert_ran("from memory", bh_way_memfd("/image/prog"), 'n');
}

/* Says that it has come so far, and waits for the other. */
static void meet(const Box *box) {
        char byte;

        g_assert_cmpint(write(box->ready, "x", 1), ==, 1);
        g_assert_cmpint(read(box->go, &byte, 1), ==, 1);
}

static void run_box(gpointer data) {
        enter_box(data);
        meet(data);
        for (guint i = 0; i < 10; i++) {
                assert_ran("from the image", bh_way_run("/image/prog"), 'n');
                assert_ran("script of the image", bh_way_run("/image/script"), 'n');
                assert_stopped("written", bh_way_run("/written"));
                assert_stopped("from a volume", bh_way_run("/volume/prog"));
                assert_stopped("from memory", bh_way_memfd("/image/prog"));
        }
}

/* The container's and the test's ends of what they tell one another by. */
typedef struct {
        Box box;
        char *layers;
        int ready, go;
        pid_t pid;
} Boxed;

static void begin_box(Boxed *b, void (*run)(gpointer data)) {
        static const char *const folders[] = { "lower", "lower/volume", "upper", "work", "root" };
        int ready[2], go[2];

        make_cgroup();
        b->layers = g_build_filename(dir, "layers", NULL);
        g_autofree char *image = g_build_filename(b->layers, "lower", "image", NULL), *script = g_build_filename(image, "script", NULL), *other = g_build_filename(image, "other-script", NULL);
        g_autofree char *further = g_build_filename(b->layers, "lower", "further", NULL);
        g_assert_no_errno(g_mkdir(b->layers, 0755));
        g_assert_no_errno(mount("tmpfs", b->layers, "tmpfs", 0, NULL)); /* an overlay is no upper layer */
        for (guint i = 0; i < G_N_ELEMENTS(folders); i++) {
                g_autofree char *path = g_build_filename(b->layers, folders[i], NULL);

                g_assert_no_errno(g_mkdir(path, 0755));
        }
        bh_ways_make(image, 'n');
        bh_ways_make(further, 'f');
        g_assert_true(g_file_set_contents(script, "#!/image/prog\n", -1, NULL));
        g_assert_true(g_file_set_contents(other, "#!/further/prog\n", -1, NULL));
        g_assert_no_errno(chmod(script, 0755));
        g_assert_no_errno(chmod(other, 0755));
        g_assert_no_errno(pipe(ready));
        g_assert_no_errno(pipe(go));
        b->box = (Box){ .layers = b->layers, .ready = ready[1], .go = go[0] };
        b->pid = begin_in_cgroup(run, &b->box);
        close(ready[1]);
        b->ready = ready[0];
        b->go = go[1];
}

static void wait_box(const Boxed *b) {
        char byte;

        g_assert_cmpint(read(b->ready, &byte, 1), ==, 1);
}

static void go_on(const Boxed *b) {
        g_assert_cmpint(write(b->go, "x", 1), ==, 1);
}

static void end_box(Boxed *b) {
        close(b->ready);
        close(b->go);
        close(b->box.go);
        umount2(b->layers, MNT_DETACH);
        g_rmdir(b->layers);
        g_free(b->layers);
        remove_cgroup();
}

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

/* ---- what alone may run */

static void change_file(const char *path) {
        int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

        g_assert_no_errno(fd);
        g_assert_cmpint(write(fd, "x", 1), ==, 1);
        close(fd);
}

static void must_run_listed(void) {
        assert_ran("listed", bh_way_run("/image/prog"), 'n');
        assert_ran("script of what is listed", bh_way_run("/image/script"), 'n');
        assert_ran("by a link", bh_way_run("/image/sym"), 'n');
        assert_ran("listed, whatever is there", bh_way_run("/volume/prog"), 'n');
}

static void run_listed(gpointer data) {
        enter_box(data);
        meet(data); /* observed: all run */
        must_run_listed();
        assert_ran("not listed", bh_way_run("/further/prog"), 'f');
        assert_ran("written", bh_way_run("/written"), 'n');
        meet(data); /* in force */
        for (guint i = 0; i < 10; i++) {
                must_run_listed();
                assert_stopped("not listed", bh_way_run("/further/prog"));
                assert_stopped("script of what is not listed", bh_way_run("/image/other-script"));
                assert_stopped("a copy elsewhere", bh_way_run("/written"));
                assert_stopped("from memory", bh_way_memfd("/image/prog"));
        }
        meet(data); /* one more is listed, and this one not any more; without a moment in which the others are refused */
        must_run_listed();
        assert_ran("listed by now", bh_way_run("/further/prog"), 'f');
        assert_ran("script of what is listed by now", bh_way_run("/image/other-script"), 'f');
        /* changed: not the image's any more, at once and after another look */
        change_file("/image/prog");
        assert_stopped("changed", bh_way_run("/image/prog"));
        meet(data);
        assert_stopped("changed, and looked at again", bh_way_run("/image/prog"));
        assert_ran("the other", bh_way_run("/further/prog"), 'f');
        meet(data); /* the list is gone */
        assert_ran("changed", bh_way_run("/image/prog"), 'n');
        assert_ran("from memory", bh_way_memfd("/image/prog"), 'n');
}

static void what_is_not_listed_does_not_run(void) {
        g_autoptr(GPtrArray) tried = denies("exec-only:/image/prog", "exec-only:any:/volume/prog", "exec-only:/not/there", "observe", NULL);
        g_autoptr(GPtrArray) first = denies("exec-only:/image/prog", "exec-only:any:/volume/prog", NULL), second = denies("exec-only:/image/prog", "exec-only:any:/volume/prog", "exec-only:/further/prog", NULL);
        g_autoptr(GPtrArray) none = denies("exec-only:/not/there", NULL);
        const BhBlockRule observed = { TRIED_RULE, tried, FALSE }, rule = { RULE, first, FALSE }, more[] = { { SCRIPT_RULE, second, FALSE }, { RULE, first, FALSE } };
        g_autoptr(GError) error = NULL;
        g_auto(BhBlockDone) done = { 0 };
        guint64 acts, untold, told = 0;
        Boxed box;

        begin_box(&box, run_listed);
        wait_box(&box);
        g_autoptr(BhBlock) b = begin();
        const BhBlockSubject subject = { .init_pid = box.pid };
        const BhBlockRule empty = { RULE, none, TRUE };
        g_assert_false(bh_block_set(b, CGROUP, &empty, 1, &subject, &done, &error));
        g_assert_nonnull(strstr(error->message, "none of the programs"));
        must_set(b, &observed, 1, &subject, 0);
        go_on(&box);
        wait_box(&box);
        bh_block_tell(b, say_told, &told);
        g_assert_true(bh_block_refused(b, TRIED_RULE, &acts, &untold));
        g_assert_cmpuint(acts, ==, 2);

        must_set(b, &rule, 1, &subject, 0);
        go_on(&box);
        wait_box(&box);
        bh_block_tell(b, say_told, &told);
        g_assert_true(bh_block_refused(b, RULE, &acts, &untold));
        g_assert_cmpuint(acts, ==, 40);
        g_assert_cmpuint(told, ==, 40);
        g_assert_false(bh_block_refused(b, TRIED_RULE, &acts, &untold));

        /* two lists: what is on one alone does not run; then the wider one alone, as when a model learned something */
        must_set(b, more, 2, &subject, 0);
        must_set(b, more, 1, &subject, 0);
        go_on(&box);
        wait_box(&box);
        must_set(b, more, 1, &subject, 0); /* another look */
        go_on(&box);
        wait_box(&box);
        bh_block_clear(b, CGROUP);
        go_on(&box);
        must_end(box.pid);
        end_box(&box);
}

/* While rules come and go, what is on all lists runs each time. */
static void run_on(gpointer data) {
        const Box *box = data;
        struct pollfd enough = { .fd = box->go, .events = POLLIN };
        char byte;

        enter_box(data);
        meet(data);
        for (guint i = 0; i < 300 || poll(&enough, 1, 0) == 0; i++)
                must_run_listed();
        g_assert_cmpint(read(box->go, &byte, 1), ==, 1);
        meet(data);
}

#define CHANGES 100u

static void lists_that_change_refuse_nothing_that_is_on_all(void) {
        g_autoptr(GPtrArray) list = denies("exec-only:/image/prog", "exec-only:any:/volume/prog", NULL);
        guint number = RULE, rounds = 0;
        Boxed box;

        begin_box(&box, run_on);
        wait_box(&box);
        g_autoptr(BhBlock) b = begin();
        const BhBlockSubject subject = { .init_pid = box.pid };
        const BhBlockRule before = { number, list, FALSE };
        must_set(b, &before, 1, &subject, 0);
        go_on(&box);
        for (struct pollfd p = { .fd = box.ready, .events = POLLIN }; poll(&p, 1, 0) == 0; rounds++) {
                if (rounds == CHANGES)
                        go_on(&box); /* it may end */
                const BhBlockRule both[] = { { number, list, FALSE }, { number + 1, list, FALSE } };

                must_set(b, both, 2, &subject, 0);
                must_set(b, both + 1, 1, &subject, 0);
                number++;
        }
        wait_box(&box);
        go_on(&box);
        must_end(box.pid);
        g_test_message("the list changed %u times", rounds);
        g_assert_cmpuint(rounds, >, CHANGES);
        bh_block_clear(b, CGROUP);
        end_box(&box);
}

/* ---- whoever is in the container leads paths elsewhere */

static void put_copy(const char *of, const char *at) {
        g_autofree char *bytes = NULL;
        gsize len;

        g_assert_true(g_file_get_contents(of, &bytes, &len, NULL));
        g_assert_true(g_file_set_contents(at, bytes, (gssize) len, NULL));
        g_assert_no_errno(chmod(at, 0755));
}

/* In a process of its own, whose root is this one. mark 0: it is stopped. */
static void assert_from(int root, const char *path, char mark) {
        pid_t pid = fork();

        if (pid == 0) {
                g_assert_no_errno(fchdir(root));
                g_assert_no_errno(chroot("."));
                if (mark)
                        assert_ran(path, bh_way_run(path), mark);
                else
                        assert_stopped(path, bh_way_run(path));
                _exit(0);
        }
        must_end(pid);
}

static void must_run_own(int root) {
        assert_from(root, "/image/prog", 'n');
        assert_from(root, "/image/sym", 'n');
        assert_from(root, "/volume/prog", 'n');
        assert_from(root, "/written", 0);
}

static void lead_by_links(gpointer data) {
        enter_box(data);
        put_copy("/image/prog", "/volume/evil");
        g_assert_no_errno(symlink("prog", "/volume/link"));
        g_assert_no_errno(symlink("/further/hard", "/volume/out"));
        meet(data);
        assert_ran("listed", bh_way_run("/further/prog"), 'f');
        assert_ran("listed", bh_way_run("/further/hard"), 'f');
        assert_stopped("not listed", bh_way_run("/volume/evil"));
        g_assert_no_errno(unlink("/further/prog"));
        g_assert_no_errno(symlink("/volume/evil", "/further/prog"));
        g_assert_no_errno(unlink("/further/dynamic"));
        g_assert_no_errno(symlink("/further/hard", "/further/dynamic"));
        for (guint i = 0; i < 3; i++) {
                meet(data);
                assert_stopped("a link to a volume", bh_way_run("/further/prog"));
                assert_stopped("where it leads", bh_way_run("/volume/evil"));
                assert_stopped("a link to another program of the image", bh_way_run("/further/dynamic"));
                assert_stopped("where it leads", bh_way_run("/further/hard"));
                assert_stopped("a link out of a volume", bh_way_run("/volume/out"));
                assert_ran("listed", bh_way_run("/image/prog"), 'n');
                assert_ran("by the image's own link", bh_way_run("/image/sym"), 'n');
                assert_ran("on a volume", bh_way_run("/volume/prog"), 'n');
                assert_ran("by a link of the volume's", bh_way_run("/volume/link"), 'n');
        }
}

/* What a list has, each time that it is looked at, and what a successor makes of it. */
static void look_again(BhBlock **b, Boxed *box, const BhBlockRule *rule, guint times, gboolean succeed) {
        const BhBlockSubject subject = { .init_pid = box->pid };

        for (guint i = 0; i < times; i++) {
                wait_box(box);
                if (succeed && i == times - 1) {
                        bh_block_free(*b);
                        *b = begin();
                }
                must_set(*b, rule, 1, &subject, 0);
                bh_block_settle(*b);
                go_on(box);
        }
        must_end(box->pid);
        bh_block_clear(*b, CGROUP);
        bh_block_free(*b);
        end_box(box);
}

static void try_to_lead(void (*run)(gpointer data), guint times, gboolean succeed, const char *further) {
        g_autoptr(GPtrArray) list = denies("exec-only:/image/prog", "exec-only:/image/sym", "exec-only:/volume/prog", further, NULL);
        BhBlockRule rule = { RULE, list, TRUE };
        Boxed box;

        begin_box(&box, run);
        wait_box(&box);
        BhBlock *b = begin();
        const BhBlockSubject subject = { .init_pid = box.pid };
        must_set(b, &rule, 1, &subject, 0);
        rule.fresh = FALSE;
        go_on(&box);
        look_again(&b, &box, &rule, times, succeed);
}

static void links_list_nothing_that_the_image_did_not_bring(void) {
        g_autoptr(GPtrArray) list = denies("exec-only:/image/prog", "exec-only:/image/sym", "exec-only:/volume/prog", "exec-only:/volume/link", "exec-only:/volume/out", "exec-only:/further/prog", "exec-only:/further/dynamic", NULL);
        BhBlockRule rule = { RULE, list, TRUE };
        Boxed box;

        begin_box(&box, lead_by_links);
        wait_box(&box);
        BhBlock *b = begin();
        const BhBlockSubject subject = { .init_pid = box.pid };
        must_set(b, &rule, 1, &subject, 0);
        rule.fresh = FALSE;
        go_on(&box);
        look_again(&b, &box, &rule, 3, TRUE);
}

static void lead_by_root(gpointer data) {
        enter_box(data);
        int low = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), root = fcntl(low, F_DUPFD_CLOEXEC, 64); /* out of the way of what block_ways.c counts on */
        g_assert_no_errno(root);
        close(low);
        meet(data);
        must_run_own(root);
        g_assert_no_errno(g_mkdir("/volume/image", 0755));
        g_assert_no_errno(g_mkdir("/volume/further", 0755));
        g_assert_no_errno(g_mkdir("/volume/empty", 0755));
        put_copy("/further/prog", "/volume/image/prog");
        put_copy("/further/prog", "/volume/further/prog");
        g_assert_no_errno(chroot("/volume"));
        g_assert_no_errno(chdir("/"));
        for (guint i = 0; i < 4; i++) {
                meet(data);
                if (i < 2) {
                        assert_stopped("in another root", bh_way_run("/image/prog"));
                        assert_stopped("in another root", bh_way_run("/further/prog"));
                }
                must_run_own(root);
                if (i == 1)
                        g_assert_no_errno(chroot("/empty"));
        }
}

static void another_root_lists_nothing(void) {
        try_to_lead(lead_by_root, 4, TRUE, "exec-only:/further/prog");
}

static void lead_by_root_once(gpointer data) {
        enter_box(data);
        meet(data);
        g_assert_no_errno(g_mkdir("/volume/image", 0755));
        put_copy("/further/prog", "/volume/image/prog");
        g_assert_no_errno(chroot("/volume"));
        g_assert_no_errno(chdir("/"));
        meet(data);
        assert_stopped("in another root", bh_way_run("/image/prog"));
}

/* Nothing of what it listed is known to another build, but through which root that was. */
static void another_build_knows_the_root_of_before(void) {
        g_autoptr(GPtrArray) list = denies("exec-only:/image/prog", NULL);
        BhBlockRule rule = { RULE, list, TRUE };
        g_autofree char *older = g_build_filename(pins, "0123456789abcdef", NULL);
        Boxed box;

        begin_box(&box, lead_by_root_once);
        wait_box(&box);
        BhBlock *b = begin();
        const BhBlockSubject subject = { .init_pid = box.pid };
        must_set(b, &rule, 1, &subject, 0);
        rule.fresh = FALSE;
        go_on(&box);
        wait_box(&box);
        g_assert_no_errno(rename(b->home, older));
        bh_block_free(b);
        b = begin();
        g_assert_cmpuint(bh_block_count(b), ==, 0);
        must_set(b, &rule, 1, &subject, 0);
        g_autofree char *pin = g_build_filename(older, "map_subjects", NULL);
        const guint64 cgroup = bh_cgroup_id(AT_FDCWD, cgroup_dir);
        struct bh_block_subject v;
        int subjects = bpf_obj_get(pin);
        g_assert_no_errno(subjects);
        g_assert_cmpint(bpf_map_lookup_elem(subjects, &cgroup, &v), !=, 0); /* it is this one's by now, also before all are */
        close(subjects);
        bh_block_settle(b);
        g_assert_false(g_file_test(older, G_FILE_TEST_EXISTS));
        go_on(&box);
        must_end(box.pid);
        bh_block_clear(b, CGROUP);
        bh_block_free(b);
        end_box(&box);
}

static void lead_by_mounts(gpointer data, gboolean apart) {
        enter_box(data);
        meet(data);
        assert_ran("listed", bh_way_run("/further/prog"), 'f');
        if (apart)
                g_assert_no_errno(unshare(CLONE_NEWNS));
        g_assert_no_errno(mount("tmpfs", "/further", "tmpfs", 0, NULL));
        put_copy("/image/prog", "/further/prog");
        for (guint i = 0; i < 3; i++) {
                meet(data);
                assert_stopped("mounted over", bh_way_run("/further/prog"));
                assert_ran("listed", bh_way_run("/image/prog"), 'n');
                assert_ran("listed", bh_way_run("/volume/prog"), 'n');
        }
}

static void lead_by_mount_namespace(gpointer data) {
        lead_by_mounts(data, TRUE);
}

static void another_mount_namespace_lists_nothing(void) {
        try_to_lead(lead_by_mount_namespace, 3, TRUE, "exec-only:/further/prog");
}

static void lead_by_mounting_over(gpointer data) {
        lead_by_mounts(data, FALSE);
}

/* As long as the same sensor looks. */
static void what_is_mounted_over_the_image_is_not_listed(void) {
        try_to_lead(lead_by_mounting_over, 3, FALSE, "exec-only:/further/prog");
}

static void mount_more_than_are_read(gpointer data) {
        enter_box(data);
        meet(data);
        g_assert_no_errno(g_mkdir("/volume/many", 0755));
        for (guint i = 0; i <= BH_FILE_MOUNTS_MAX; i++)
                g_assert_no_errno(mount("tmpfs", "/volume/many", "tmpfs", 0, "size=4k"));
        for (guint i = 0; i < 2; i++) {
                meet(data);
                assert_ran("listed", bh_way_run("/image/prog"), 'n');
                assert_ran("listed", bh_way_run("/further/prog"), 'f');
                assert_stopped("not listed", bh_way_run("/written"));
        }
}

static void mounts_that_cannot_be_read_change_nothing(void) {
        try_to_lead(mount_more_than_are_read, 2, TRUE, "exec-only:/further/prog");
}

/* All that was listed is the image's no more. */
static void change_all(gpointer data) {
        enter_box(data);
        meet(data);
        assert_ran("listed", bh_way_run("/image/prog"), 'n');
        g_assert_no_errno(chmod("/image/prog", 0777));
        for (guint i = 0; i < 2; i++) {
                meet(data);
                assert_stopped("changed", bh_way_run("/image/prog"));
                assert_stopped("not listed", bh_way_run("/further/prog"));
        }
        meet(data); /* the list is gone, the other rule is not */
        assert_ran("not listed any more", bh_way_run("/image/prog"), 'n');
        assert_stopped("blocked", bh_way_run("/further/prog"));
}

static void a_list_of_which_nothing_is_left_refuses_all_and_fails_no_other(void) {
        g_autoptr(GPtrArray) list = denies("exec-only:/image/prog", NULL), other = denies("exec:/further/prog", NULL);
        BhBlockRule rules[] = { { RULE, list, TRUE }, { SCRIPT_RULE, other, TRUE } };
        Boxed box;

        begin_box(&box, change_all);
        wait_box(&box);
        BhBlock *b = begin();
        const BhBlockSubject subject = { .init_pid = box.pid };
        must_set(b, rules, 1, &subject, 0);
        rules[0].fresh = FALSE;
        go_on(&box);
        wait_box(&box);
        must_set(b, rules, 2, &subject, 0);
        go_on(&box);
        wait_box(&box);
        bh_block_free(b);
        b = begin();
        must_set(b, rules, 2, &subject, 0);
        bh_block_settle(b);
        go_on(&box);
        wait_box(&box);
        must_set(b, rules + 1, 1, &subject, 0);
        go_on(&box);
        must_end(box.pid);
        bh_block_clear(b, CGROUP);
        bh_block_free(b);
        end_box(&box);
}

/* ---- numbers that are used again */

#define MANY 1000u

typedef struct {
        BhBlock *b;
        struct bh_block_key key;
        guint64 cgroup;
        guint32 wanted;
        gint stop, seen, listed; /* atomic */
} Spy;

/* Whether a file is on the list that has this bit now, in the moment in which that list is new. */
static gpointer spy(gpointer data) {
        Spy *s = data;

        while (!g_atomic_int_get(&s->stop)) {
                struct bh_block_subject v;
                struct bh_block_file f;

                if (bpf_map_lookup_elem(s->b->maps[BLOCK_SUBJECTS], &s->cgroup, &v) || v.list_rules[0] != s->wanted)
                        continue;
                if (bpf_map_lookup_elem(s->b->maps[BLOCK_FILES], &s->key, &f) == 0 && f.listed & 1)
                        g_atomic_int_set(&s->listed, TRUE);
                g_atomic_int_set(&s->seen, TRUE);
        }
        return NULL;
}

static void only_meet(gpointer data) {
        enter_box(data);
        meet(data);
}

static void a_bit_that_is_another_lists_now_lists_nothing_of_the_old_one(void) {
        g_autoptr(GPtrArray) first = denies("exec-only:/further/prog", NULL), second = denies("exec-only:/further/prog", NULL), third = denies("exec-only:/image/prog", NULL);
        Boxed box;

        for (guint i = 0; i < MANY; i++) { /* so that what goes takes its time */
                g_autofree char *text = g_strdup_printf("exec-only:any:/volume/%u", i);

                g_ptr_array_add(second, bh_deny_parse(text, NULL));
        }
        const BhBlockRule rules[] = { { RULE, first, TRUE }, { RULE + 1, second, TRUE } }, last = { RULE + 2, third, TRUE };
        begin_box(&box, only_meet);
        wait_box(&box);
        g_autoptr(BhBlock) b = begin();
        const BhBlockSubject subject = { .init_pid = box.pid };
        Spy s = { .b = b, .wanted = RULE + 2, .cgroup = bh_cgroup_id(AT_FDCWD, cgroup_dir) };
        for (guint i = 0; i < 10; i++) {
                const struct bh_block_key *key;
                const struct bh_block_file *file;
                gboolean found = FALSE;
                GHashTableIter it;

                must_set(b, rules, 2, &subject, 0);
                must_set(b, rules + 1, 1, &subject, 0);
                g_hash_table_iter_init(&it, ((BlockSubject *) g_hash_table_lookup(b->subjects, &s.cgroup))->keys);
                while (g_hash_table_iter_next(&it, (gpointer *) &key, (gpointer *) &file))
                        if (file->listed & 1) {
                                s.key = *key;
                                found = TRUE;
                        }
                g_assert_true(found);
                g_atomic_int_set(&s.stop, FALSE);
                GThread *thread = g_thread_new("spy", spy, &s);
                must_set(b, &last, 1, &subject, 0);
                for (guint k = 0; !g_atomic_int_get(&s.seen); k++) {
                        g_assert_cmpuint(k, <, 60000);
                        g_usleep(1000);
                }
                g_atomic_int_set(&s.stop, TRUE);
                g_thread_join(thread);
                g_assert_false(g_atomic_int_get(&s.listed));
                bh_block_clear(b, CGROUP);
        }
        go_on(&box);
        must_end(box.pid);
        end_box(&box);
}

static void run_successor(gpointer data) {
        enter_box(data);
        meet(data);
        assert_stopped("blocked", bh_way_run("/volume/prog"));
        g_assert_no_errno(rename("/volume/prog", "/volume/other"));
        meet(data);
        assert_ran("listed, with the number of one that was blocked", bh_way_run("/volume/other"), 'n');
}

/* File systems give the number of a file that is gone to the next one; its generation is another. */
static void who_has_the_number_of_a_blocked_file_is_not_that_file(void) {
        g_autoptr(GPtrArray) blocks = denies("exec:/volume/prog", NULL), list = denies("exec-only:/volume/other", "exec-only:/image/prog", NULL);
        const BhBlockRule rules[] = { { RULE, blocks, FALSE }, { SCRIPT_RULE, list, FALSE } };
        struct bh_block_key *key;
        struct bh_block_file *file;
        GHashTableIter it;
        guint changed = 0;
        Boxed box;

        begin_box(&box, run_successor);
        wait_box(&box);
        g_autoptr(BhBlock) b = begin();
        const BhBlockSubject subject = { .init_pid = box.pid };
        const guint64 cgroup = bh_cgroup_id(AT_FDCWD, cgroup_dir);
        must_set(b, rules, 1, &subject, 0);
        go_on(&box);
        wait_box(&box);
        g_hash_table_iter_init(&it, ((BlockSubject *) g_hash_table_lookup(b->subjects, &cgroup))->keys);
        while (g_hash_table_iter_next(&it, (gpointer *) &key, (gpointer *) &file))
                if (!key->name && !file->loader && file->generation) {
                        file->generation ^= 1;
                        if (!file->generation)
                                file->generation = 2;
                        changed++;
                }
        g_assert_cmpuint(changed, ==, 1);
        must_set(b, rules, 2, &subject, 0);
        go_on(&box);
        must_end(box.pid);
        bh_block_clear(b, CGROUP);
        end_box(&box);
}

/* ---- how long a look takes */

#define CHAINED 600u
#define PARTS 236u /* of a path, all but as many as are looked at */

/* Ways on which one goes to and fro. */
static void chain_links(gpointer data) {
        g_autoptr(GString) way = g_string_new("/volume");

        enter_box(data);
        for (guint i = 0; i < PARTS / 2; i++)
                g_string_append(way, "/x/..");
        g_autofree char *near = g_strconcat(way->str, "/x/prog", NULL), *far = g_strconcat(way->str, "/x/../x/../x/../x/../x/../x/../x/../x/../x/../x/../far", NULL);
        g_assert_no_errno(g_mkdir("/volume/x", 0755));
        put_copy("/image/prog", "/volume/x/prog");
        put_copy("/image/prog", "/volume/far");
        g_assert_no_errno(symlink(far, "/volume/too-far"));
        for (guint i = 0; i < CHAINED; i++) {
                g_autofree char *at = g_strdup_printf("/volume/p%u", i);

                if (i == CHAINED - 2)
                        put_copy("/image/prog", at);
                else
                        g_assert_no_errno(symlink(near, at));
        }
        meet(data);
        assert_ran("listed", bh_way_run("/volume/p0"), 'n');
        assert_stopped("too far", bh_way_run("/volume/too-far"));
        g_assert_no_errno(unlink("/volume/p599"));
        put_copy("/image/prog", "/volume/p599");
        meet(data);
        assert_ran("listed", bh_way_run("/volume/p0"), 'n');
        assert_ran("listed", bh_way_run("/volume/p598"), 'n');
        assert_stopped("it had no turn", bh_way_run("/volume/p599"));
        meet(data);
        assert_ran("it had its turn", bh_way_run("/volume/p599"), 'n');
        assert_ran("listed", bh_way_run("/volume/p0"), 'n');
}

static guint turns_had(const BhBlock *b) {
        const guint64 cgroup = bh_cgroup_id(AT_FDCWD, cgroup_dir);

        return ((const BlockSubject *) g_hash_table_lookup(b->subjects, &cgroup))->from;
}

static void what_is_over_in_a_look_is_looked_at_in_the_next_one(void) {
        g_autoptr(GPtrArray) list = denies("exec-only:/volume/too-far", NULL);
        BhBlockRule rule = { RULE, list, TRUE };
        guint before = 0, looks = 1;
        Boxed box;

        for (guint i = 0; i < CHAINED; i++) {
                g_autofree char *text = g_strdup_printf("exec-only:/volume/p%u", i);

                g_ptr_array_add(list, bh_deny_parse(text, NULL));
        }
        begin_box(&box, chain_links);
        wait_box(&box);
        g_autoptr(BhBlock) b = begin();
        const BhBlockSubject subject = { .init_pid = box.pid };
        must_set(b, &rule, 1, &subject, 0); /* what is new is looked at once, however long that takes */
        g_assert_cmpuint(turns_had(b), ==, 0);
        rule.fresh = FALSE;
        go_on(&box);
        wait_box(&box);
        must_set(b, &rule, 1, &subject, 0);
        go_on(&box);
        wait_box(&box);
        for (guint now; (now = turns_had(b)); looks++) {
                g_assert_cmpuint(now, >, before);
                g_assert_cmpuint((now - before) * PARTS, <=, BH_BLOCK_STEPS);
                before = now;
                must_set(b, &rule, 1, &subject, 0);
        }
        g_assert_cmpuint(looks, >=, CHAINED * PARTS / BH_BLOCK_STEPS);
        go_on(&box);
        must_end(box.pid);
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

/* SPDX-License-Identifier: Apache-2.0 */
#include "block_env.h"

BhCgroupLayout *layout;
char *v2, *dir, *cgroup_dir, *pins, *blocked, *neighbour;
BhBlockBackend backend, chosen; /* under test; what this kernel is given */

/* ---- the block */

void say_told(const struct bh_block_act *a, gpointer data) {
        guint64 *told = data;

        g_assert_cmpuint(a->how, ==, a->rule == TRIED_RULE ? BH_BLOCK_OBSERVED : backend == BH_BLOCK_BACKEND_TRACEPOINT ? BH_BLOCK_KILLED : BH_BLOCK_DENIED);
        if (a->rule == RULE)
                (*told)++;
}

BhBlock *begin(void) {
        g_autoptr(GError) error = NULL;
        BhBlock *b = bh_block_open(pins, v2, "/proc");

        bh_block_want(b, backend);
        bh_block_prepare(b, &error);
        g_assert_no_error(error);
        g_assert_cmpint(bh_block_backend(b), ==, backend);
        return b;
}

GPtrArray *denies(const char *first, ...) {
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

void must_set(BhBlock *b, const BhBlockRule *rules, guint n, const BhBlockSubject *subject, guint open) {
        g_autoptr(GError) error = NULL;
        g_auto(BhBlockDone) done = { 0 };

        bh_block_set(b, CGROUP, rules, n, subject, &done, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(done.open->len, ==, open);
}

void enter(const char *dir_of_cgroup) {
        g_autofree char *procs = g_build_filename(dir_of_cgroup, "cgroup.procs", NULL);
        int fd = open(procs, O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, "0", 1) != 1)
                _exit(99);
        close(fd);
}

/* Runs it in the cgroup, in a process of its own, which ends well if all asserts hold. */
pid_t begin_in_cgroup(void (*run)(gpointer data), gpointer data) {
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

void must_end(pid_t pid) {
        int status;

        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_cmphex((guint) status, ==, 0);
}

void in_cgroup(void (*run)(gpointer data), gpointer data) {
        must_end(begin_in_cgroup(run, data));
}

void make_cgroup(void) {
        mkdir(cgroup_dir, 0755);
}

void remove_cgroup(void) {
        for (guint i = 0; i < 5000 && rmdir(cgroup_dir) && errno == EBUSY; i++)
                g_usleep(1000);
        g_assert_false(g_file_test(cgroup_dir, G_FILE_TEST_EXISTS));
}

/* ---- what is expected */

void assert_stopped(const char *how, BhWayResult r) {
        /* SIGSEGV: who is killed before the new image is in place cannot go back to the old one; the kernel says it so */
        gboolean killed = WIFSIGNALED(r.status) && (WTERMSIG(r.status) == SIGKILL || WTERMSIG(r.status) == SIGSEGV), denied = WIFEXITED(r.status) && WEXITSTATUS(r.status) == 100 + EPERM;

        if (g_str_equal(how, BH_WAY_LOADER) && backend != BH_BLOCK_BACKEND_TRACEPOINT)
                denied = WIFEXITED(r.status) && WEXITSTATUS(r.status) == 127; /* what the loader says */
        if (backend == BH_BLOCK_BACKEND_RETURN && WIFSIGNALED(r.status) && WTERMSIG(r.status) == SIGSEGV)
                denied = TRUE; /* the look at its start was left out (bh_block_skipped()), the one at the mapping of its file was not */
        if (r.mark || !(backend == BH_BLOCK_BACKEND_TRACEPOINT ? killed : denied))
                g_error("%s: expected that it is stopped; mark %d, status %x", how, r.mark, (guint) r.status);
}

void assert_ran(const char *how, BhWayResult r, char mark) {
        if (r.mark != mark || !r.done)
                g_error("%s: expected that it runs; mark %d, status %x", how, r.mark, (guint) r.status);
}

/* The kernel may have left the programs out (bh_block_skipped()): how often is compared with that. Those of BPF LSM it never does. */
void expect_stopped(const char *how, BhWayResult r, gint *slipped) {
        if (backend != BH_BLOCK_BACKEND_LSM && r.mark)
                g_atomic_int_inc(slipped);
        else
                assert_stopped(how, r);
}

guint stopping_ways(void) {
        guint n = 0;

        for (guint w = 0; w < bh_ways(); w++)
                n += bh_way_possible(w);
        return n;
}

void work(gpointer data) {
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

void must_run_all(const char *folder, char mark) {
        for (guint w = 0; w < bh_ways(); w++)
                if (bh_way_possible(w))
                        assert_ran(bh_way_name(w), bh_way_try(w, folder), mark);
}

void run_all_blocked(gpointer data) {
        must_run_all(blocked, 'b');
}

void stop_one(gpointer data) {
        assert_stopped("path", bh_way_try(0, blocked));
        assert_ran("path", bh_way_try(0, neighbour), 'n');
}

GPtrArray *block_blocked(void) {
        g_autofree char *prog = g_strdup_printf("exec:%s/prog", blocked), *dynamic = g_strdup_printf("exec:%s/dynamic", blocked);

        return denies(prog, dynamic, NULL);
}

/* ---- what is not from the image */

/* A container's root: an overlay, with the programs below and one that was written since. */
void enter_box(const Box *box) {
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
void meet(const Box *box) {
        char byte;

        g_assert_cmpint(write(box->ready, "x", 1), ==, 1);
        g_assert_cmpint(read(box->go, &byte, 1), ==, 1);
}

void run_box(gpointer data) {
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

void begin_box(Boxed *b, void (*run)(gpointer data)) {
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

void wait_box(const Boxed *b) {
        char byte;

        g_assert_cmpint(read(b->ready, &byte, 1), ==, 1);
}

void go_on(const Boxed *b) {
        g_assert_cmpint(write(b->go, "x", 1), ==, 1);
}

void end_box(Boxed *b) {
        close(b->ready);
        close(b->go);
        close(b->box.go);
        umount2(b->layers, MNT_DETACH);
        g_rmdir(b->layers);
        g_free(b->layers);
        remove_cgroup();
}

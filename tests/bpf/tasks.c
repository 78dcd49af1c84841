/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk over all processes, and what it is for: the kernel's list of real processes beside /proc, and those that a mount over their directory hides. Mounts are made in a mount namespace of the
 * test's own. The walk needs hooks, of either backend: what it knows of origins is theirs.
 */
#include "sensor/tasks.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fdio.h"
#include "kernel.h"
#include "network.h"
#include "sensor/hidden.h"

#define STORM 4u
#define LOOKS 60u
#define LOOKS_MIN 2u
#define FORKS_MIN 100 /* before the storm is believed to have been one */
#define STORM_MS 20000
#define WAIT_MS 60000

static BhTasks *walker;

static gboolean begin(gconstpointer data) {
        static BhBackend of;
        BhBackend backend = (BhBackend) GPOINTER_TO_INT(data);
        g_autoptr(GError) error = NULL;

        if (backend != of)
                g_clear_pointer(&walker, bh_tasks_free);
        if (!kernel_use(backend, "connect"))
                return FALSE;
        of = backend;
        if (!walker)
                walker = bh_tasks_new(kernel_hooks(), &error);
        g_assert_no_error(error);
        return TRUE;
}

static gboolean list(GArray *out, gpointer data) {
        g_autoptr(GError) error = NULL;

        if (!bh_tasks_list(walker, out, &error))
                g_test_message("%s", error->message);
        return !error;
}

static GArray *list_now(void) {
        GArray *out = g_array_new(FALSE, FALSE, sizeof(struct bh_task_record));

        g_assert_true(list(out, NULL));
        return out;
}

/* NULL: it is not in it; it must not be twice. */
static const struct bh_task_record *find(const GArray *tasks, pid_t pid) {
        const struct bh_task_record *found = NULL;

        for (guint i = 0; i < tasks->len; i++) {
                const struct bh_task_record *t = &g_array_index(tasks, struct bh_task_record, i);

                if (t->tgid != (guint32) pid)
                        continue;
                g_assert_null(found);
                found = t;
        }
        return found;
}

/* Waits for death with the test. */
static pid_t start(void (*body)(void)) {
        pid_t pid = fork();

        g_assert_no_errno(pid);
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                body();
                for (;;)
                        pause();
        }
        return pid;
}

static void end(pid_t pid) {
        kill(pid, SIGKILL);
        g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
}

static void hostile_name(void) {
        prctl(PR_SET_NAME, "a\n\033[31m\") x");
}

static void ends(void) {
        _exit(0);
}

static gpointer waits(gpointer unused) {
        for (;;)
                pause();
        return NULL;
}

static void *waits_of(void *unused) {
        return waits(unused);
}

static void first_thread_ends(void) {
        pthread_t t;

        if (pthread_create(&t, NULL, waits_of, NULL))
                _exit(1);
        pthread_exit(NULL);
}

/* Its state in /proc: a letter. */
static char state_of(pid_t pid) {
        g_autofree char *path = g_strdup_printf("/proc/%d/stat", pid), *text = bh_file_read(AT_FDCWD, path, 4096, NULL, NULL, NULL);
        const char *p = text ? strrchr(text, ')') : NULL;

        return p && p[1] ? p[2] : 0;
}

static void wait_state(pid_t pid, char want) {
        for (gint64 until = g_get_monotonic_time() + WAIT_MS * 1000; state_of(pid) != want;) {
                g_assert_cmpint(g_get_monotonic_time(), <, until);
                g_usleep(1000);
        }
}

static void name_is_hostile(pid_t pid) {
        g_autofree char *path = g_strdup_printf("/proc/%d/comm", pid);

        for (gint64 until = g_get_monotonic_time() + WAIT_MS * 1000;;) {
                g_autofree char *comm = bh_file_read(AT_FDCWD, path, 64, NULL, NULL, NULL);

                if (comm && g_str_has_prefix(comm, "a\n"))
                        return;
                g_assert_cmpint(g_get_monotonic_time(), <, until);
                g_usleep(1000);
        }
}

static void every_process_is_listed_once_and_as_it_is(gconstpointer data) {
        if (!begin(data))
                return;
        pid_t named = start(hostile_name), zombie = start(ends), headless = start(first_thread_ends);
        GThread *thread = g_thread_new("other", waits, NULL); /* goes with the process */

        g_assert_nonnull(thread);
        name_is_hostile(named);
        wait_state(zombie, 'Z');
        wait_state(headless, 'Z');
        g_autoptr(GArray) tasks = list_now();
        const struct bh_task_record *self = find(tasks, getpid()), *a = find(tasks, named), *z = find(tasks, zombie), *h = find(tasks, headless), *first = find(tasks, 1);
        g_assert_nonnull(self);
        g_assert_cmpuint(self->flags, ==, BH_TASK_SELF);
        g_assert_nonnull(a);
        g_assert_cmpuint(a->flags, ==, 0);
        g_assert_cmpstr(a->comm, ==, "a\n\033[31m\") x");
        g_assert_cmpuint(a->cgroup, ==, self->cgroup);
        g_assert_cmpuint(a->start, >=, self->start);
        g_assert_nonnull(z);
        g_assert_cmpuint(z->flags, ==, BH_TASK_DYING);
        g_assert_nonnull(h);
        g_assert_cmpuint(h->flags, ==, 0); /* its first thread has ended, it has not */
        if (!first) /* seen on one: 6.18 in Firecracker */
                g_test_message("this kernel does not give its first process to iterators");
        const struct bh_task_record *kthreadd = find(tasks, 2);
        g_assert_true(!kthreadd || kthreadd->flags == BH_TASK_KERNEL);

        /* no thread is taken for a process: /proc lists the same, but for what came and went */
        g_autoptr(GArray) again = list_now();
        DIR *d = opendir("/proc");
        struct dirent *e;
        guint both = 0, listed = 0;
        g_assert_nonnull(d);
        while ((e = readdir(d)))
                if (g_ascii_isdigit(*e->d_name))
                        listed++;
        closedir(d);
        for (guint i = 0; i < tasks->len; i++)
                both += find(again, (pid_t) g_array_index(tasks, struct bh_task_record, i).tgid) != NULL;
        g_assert_cmpuint(both, >, tasks->len / 2);
        g_assert_cmpuint(tasks->len, <, 2 * listed);
        for (guint i = 1; i < tasks->len; i++)
                g_assert_cmpuint(g_array_index(tasks, struct bh_task_record, i - 1).tgid, <, g_array_index(tasks, struct bh_task_record, i).tgid);
        end(named);
        end(headless);
        waitpid(zombie, NULL, 0);
}

static BhHiddenFound look(void) {
        BhHiddenSource source = { "/proc", list, NULL };
        BhHiddenFound found;

        bh_hidden_find(&source, &found);
        if (found.problem)
                g_test_message("%s", found.problem);
        return found;
}

/* In a mount namespace of its own: a mount on that process's directory. 0: it alone was found, with what hides it. Says otherwise. */
static int hide_and_look(pid_t pid, pid_t neighbour, const char *from) {
        g_autofree char *point = g_strdup_printf("/proc/%d", pid), *below = g_strdup_printf("/proc/%d/cmdline", neighbour), *text = NULL;

        if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
                return 2;
        if (from ? mount(from, point, NULL, MS_BIND, NULL) : mount("hider", point, "tmpfs", 0, "size=4k"))
                return 3;
        BhHiddenFound found = look();
        if (found.problem || found.hidden->len != 1)
                return 4;
        const BhHidden *h = &g_array_index(found.hidden, BhHidden, 0);
        const BhProcMount *m = bh_hidden_mount_of(found.mounts, (guint32) pid);
        if (h->task.tgid != (guint32) pid || h->how != BH_HIDDEN_COVERED || !m)
                return 5;
        text = bh_hidden_text(h, m);
        if (!strstr(text, point) || !strstr(text, from ? strrchr(from, '/') : "tmpfs hider"))
                return 6;
        bh_hidden_found_clear(&found);
        /* one of its files alone */
        if (umount(point) || mount("/dev/null", below, NULL, MS_BIND, NULL))
                return 7;
        found = look();
        if (found.problem || found.hidden->len != 1 || g_array_index(found.hidden, BhHidden, 0).task.tgid != (guint32) neighbour)
                return 8;
        bh_hidden_found_clear(&found);
        if (umount(below))
                return 9;
        found = look();
        if (found.problem || found.hidden->len)
                return 10;
        bh_hidden_found_clear(&found);
        return 0;
}

static void mount_over_a_process_is_seen_here(const char *from) {
        pid_t hidden = start(hostile_name), neighbour = start(hostile_name), looks = fork();
        int status;

        g_assert_no_errno(looks);
        if (looks == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                _exit(hide_and_look(hidden, neighbour, from));
        }
        g_assert_cmpint(waitpid(looks, &status, 0), ==, looks);
        end(hidden);
        end(neighbour);
        g_assert_true(WIFEXITED(status));
        g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

static void process_below_a_mount_is_found(gconstpointer data) {
        if (!begin(data))
                return;
        g_autofree char *empty = g_dir_make_tmp("bh-empty-XXXXXX", NULL);

        mount_over_a_process_is_seen_here(NULL);  /* tmpfs */
        mount_over_a_process_is_seen_here(empty); /* bind of an empty directory */
        mount_over_a_process_is_seen_here("/proc/1"); /* of another process's */
        g_assert_no_errno(rmdir(empty));
}

static gint *forks; /* shared with who forks */

static void forks_for_ever(void) {
        for (;;) {
                pid_t pid = fork();

                if (pid == 0)
                        _exit(0);
                if (pid > 0)
                        waitpid(pid, NULL, 0);
                g_atomic_int_inc(forks);
        }
}

static void storm_of_short_processes_hides_nothing(gconstpointer data) {
        pid_t storm[STORM];

        if (!begin(data))
                return;
        gint64 until = g_get_monotonic_time() + STORM_MS * 1000;
        forks = mmap(NULL, sizeof(*forks), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        g_assert_true(forks != MAP_FAILED);
        for (guint i = 0; i < STORM; i++)
                storm[i] = start(forks_for_ever);
        /* on an emulated machine a look takes seconds beside a storm */
        for (guint i = 0; i < LOOKS_MIN || g_atomic_int_get(forks) < FORKS_MIN || (i < LOOKS && g_get_monotonic_time() < until); i++) {
                g_auto(BhHiddenFound) found = look();

                for (guint k = 0; k < found.hidden->len; k++) {
                        const BhHidden *h = &g_array_index(found.hidden, BhHidden, k);

                        g_test_message("found hidden: %u (%s), how %u, flags %u", h->task.tgid, h->task.comm, h->how, h->task.flags);
                }
                g_assert_null(found.problem);
                g_assert_cmpuint(found.hidden->len, ==, 0);
        }
        for (guint i = 0; i < STORM; i++)
                end(storm[i]);
        munmap(forks, sizeof(*forks));
}

static guint64 cpu_us(void) {
        struct timespec t;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return (guint64) t.tv_sec * 1000000u + (guint64) t.tv_nsec / 1000u;
}

static void nothing(void) {
}

static void speed(gconstpointer data) {
        g_autofree pid_t *pids = NULL;
        guint n = 1000;

        if (!g_test_perf()) {
                g_test_skip("only with -m perf");
                return;
        }
        if (!begin(data))
                return;
        pids = g_new(pid_t, n);
        for (guint i = 0; i < n; i++)
                pids[i] = start(nothing);
        for (guint i = 0; i < 10; i++) {
                gint64 began = g_get_monotonic_time();
                guint64 cpu = cpu_us();
                g_auto(BhHiddenFound) found = look();

                cpu = cpu_us() - cpu;
                g_test_message("%u processes: %" G_GINT64_FORMAT " us, of the processor %" G_GUINT64_FORMAT, found.living->len, g_get_monotonic_time() - began, cpu);
        }
        for (guint i = 0; i < n; i++)
                end(pids[i]);
}

void tasks_add(BhBackend with) {
        static const struct {
                const char *name;
                void (*run)(gconstpointer data);
        } tests[] = {
                { "every_process_is_listed_once_and_as_it_is", every_process_is_listed_once_and_as_it_is },
                { "process_below_a_mount_is_found", process_below_a_mount_is_found },
                { "storm_of_short_processes_hides_nothing", storm_of_short_processes_hides_nothing },
                { "speed", speed },
        };

        for (guint i = 0; i < G_N_ELEMENTS(tests); i++) {
                g_autofree char *path = g_strdup_printf("/%s/tasks/%s", bh_backend_name(with), tests[i].name);

                g_test_add_data_func(path, GINT_TO_POINTER(with), tests[i].run);
        }
}

void tasks_end(void) {
        g_clear_pointer(&walker, bh_tasks_free);
}

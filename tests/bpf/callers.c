/* SPDX-License-Identifier: Apache-2.0 */
/* System calls of a process in a container, counted by the kernel: the right ones, in their order, of the program that makes them; nothing while nobody looks. */
#include "sensor/callers.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"
#include "network.h"

#define WAIT_US (60 * G_USEC_PER_SEC)

static char *cgroup_dir;
static guint64 container;
static struct stat self;
static volatile guint *made; /* calls of the one in the container, in memory that it shares with the test */

typedef struct {
        GMutex lock;
        guint32 tgid;           /* a process that is looked for */
        guint64 priority, alarm, in_order, others;
        gboolean more;          /* what `seen` says */
        char name[BH_CALLERS_NAME];
} Seen;

static gboolean on_window(const BhCallerWindow *w, gpointer data) {
        Seen *s = data;
        guint last = 0;

        g_mutex_lock(&s->lock);
        s->others += w->container != container || w->ino != self.st_ino;
        for (guint i = 0; i < w->n; i++) {
                s->priority += w->calls[i].call == SYS_getpriority ? w->calls[i].count : 0;
                s->alarm += w->calls[i].call == SYS_alarm ? w->calls[i].count : 0;
        }
        for (guint i = 0; i < w->n_order; i++) {
                s->in_order += last == SYS_getpriority && w->order[i] == SYS_alarm;
                last = w->order[i];
        }
        g_strlcpy(s->name, w->name, sizeof(s->name));
        gboolean more = s->more;
        g_mutex_unlock(&s->lock);
        return more;
}

static void container_make(void) {
        const char *root = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/unified";
        struct bh_cgroup is = { 0 };
        struct stat st;

        cgroup_dir = g_strdup_printf("%s/bh-callers-%d", root, (int) getpid());
        g_assert_no_errno(mkdir(cgroup_dir, 0755));
        g_assert_no_errno(stat(cgroup_dir, &st));
        container = is.container = st.st_ino;
        g_assert_no_errno(bpf_map_update_elem(bh_hooks_map(kernel_hooks(), "cgroups"), &container, &is, BPF_ANY));
}

/* Makes two calls that nobody else makes, again and again, in the container or outside of it, until it is killed. */
static pid_t begin_calls(gboolean inside) {
        pid_t pid = fork();

        g_assert_no_errno(pid);
        if (pid)
                return pid;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (inside) {
                g_autofree char *procs = g_build_filename(cgroup_dir, "cgroup.procs", NULL);
                int fd = open(procs, O_WRONLY | O_CLOEXEC);

                if (fd < 0 || write(fd, "0", 1) != 1)
                        _exit(9);
                close(fd);
        }
        for (;;) {
                syscall(SYS_getpriority, 0, 0);
                syscall(SYS_alarm, 0);
                if (inside)
                        ++*made;
                usleep(2000);
        }
}

/* Up to a million calls a second, with pauses in which others come to their turn. */
static pid_t begin_flood(void) {
        pid_t pid = fork();

        g_assert_no_errno(pid);
        if (pid)
                return pid;
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* nothing goes on after a test that broke off */

        g_autofree char *procs = g_build_filename(cgroup_dir, "cgroup.procs", NULL);
        int fd = open(procs, O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, "0", 1) != 1)
                _exit(9);
        for (;;) {
                for (guint i = 0; i < 400; i++)
                        syscall(SYS_getpriority, 0, 0);
                usleep(200);
        }
}

static void end_calls(pid_t pid) {
        int status;

        kill(pid, SIGKILL);
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_true(WIFSIGNALED(status));
}

static Seen so_far(Seen *s) {
        g_mutex_lock(&s->lock);
        Seen copy = *s;
        g_mutex_unlock(&s->lock);
        return copy;
}

static void calls_are_counted_in_containers_alone_and_only_while_somebody_looks(gconstpointer data) {
        Seen seen = { .more = TRUE }, is = { 0 };
        BhCallersStats stats = { 0 };
        gint64 until;

        if (!kernel_use((BhBackend) GPOINTER_TO_INT(data), "chdir"))
                return;
        g_assert_no_errno(stat("/proc/self/exe", &self));
        g_mutex_init(&seen.lock);
        container_make();
        made = mmap(NULL, sizeof(*made), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        g_assert_true(made != MAP_FAILED);

        BhCallers *c = bh_callers_new(kernel_hooks());
        pid_t outside = begin_calls(FALSE), inside = begin_calls(TRUE);

        bh_callers_start(c, on_window, &seen);
        for (until = g_get_monotonic_time() + WAIT_US; g_get_monotonic_time() < until && is.in_order < 20 && !*stats.problem; g_usleep(20000)) {
                is = so_far(&seen);
                bh_callers_stats(c, &stats);
        }
        g_assert_cmpstr(stats.problem, ==, "");
        g_assert_cmpuint(is.in_order, >=, 20);
        /* both calls come in turns, so that their numbers differ by one where a window begins between them, and at the windows that were lost */
        g_assert_cmpuint(is.priority + is.alarm, >=, 2 * is.in_order);
        g_assert_cmpuint(MAX(is.priority, is.alarm) - MIN(is.priority, is.alarm), <=, stats.windows + 1);
        /* the same program outside is not counted: what is told is the container's, by the file that runs */
        g_assert_cmpuint(is.others, ==, 0);
        g_assert_true(g_str_has_prefix(is.name, "test_network"));
        g_assert_cmpuint(stats.seen, >, stats.counted);
        g_assert_cmpuint(stats.full, ==, 0);

        /* nothing more to learn: the program goes, and calls pay nothing */
        g_mutex_lock(&seen.lock);
        seen.more = FALSE;
        g_mutex_unlock(&seen.lock);
        for (until = g_get_monotonic_time() + WAIT_US; g_get_monotonic_time() < until && stats.attached; g_usleep(20000))
                bh_callers_stats(c, &stats);
        g_assert_false(stats.attached);
        /* the process goes on calling meanwhile */
        for (guint from = *made; g_get_monotonic_time() < until && *made - from < 50; g_usleep(20000))
                ;
        guint64 times = stats.attached_times;
        is = so_far(&seen);
        /* and comes at once when it is asked for */
        bh_callers_wake(c, 1);
        for (until = g_get_monotonic_time() + WAIT_US; g_get_monotonic_time() < until && so_far(&seen).priority == is.priority; g_usleep(20000))
                ;
        g_assert_cmpuint(so_far(&seen).priority, >, is.priority);
        bh_callers_stats(c, &stats);
        g_assert_cmpuint(stats.attached_times, >, times);
        /* what the kernel counted between the last look and this one is known now */
        g_assert_cmpuint(stats.stray, ==, 0);

        bh_callers_free(c);
        end_calls(inside);
        end_calls(outside);
        for (until = g_get_monotonic_time() + WAIT_US; rmdir(cgroup_dir) && g_get_monotonic_time() < until; g_usleep(5000))
                ;
        g_clear_pointer(&cgroup_dir, g_free);
        munmap((void *) made, sizeof(*made));
        g_mutex_clear(&seen.lock);
}

static double cost_ns(const BhCallersStats *stats) {
        return (double) stats->seen * BH_CALLERS_SEEN_NS + (double) stats->counted * BH_CALLERS_COUNTED_NS;
}

static void what_is_learned_of_many_calls_costs_the_share_from_the_first_second_on(gconstpointer data) {
        Seen seen = { .more = TRUE };
        BhCallersStats stats = { 0 };
        gint64 from, now;

        if (!kernel_use((BhBackend) GPOINTER_TO_INT(data), "chdir"))
                return;
        g_assert_no_errno(stat("/proc/self/exe", &self));
        g_mutex_init(&seen.lock);
        container_make();

        BhCallers *c = bh_callers_new(kernel_hooks());
        pid_t flood = begin_flood();

        from = g_get_monotonic_time();
        bh_callers_start(c, on_window, &seen);
        do {
                g_usleep(50000);
                bh_callers_stats(c, &stats);
                now = g_get_monotonic_time();
        } while (!*stats.problem && (now - from < 3 * G_USEC_PER_SEC || stats.windows < 5) && now - from < WAIT_US);
        g_assert_cmpstr(stats.problem, ==, "");
        g_assert_cmpuint(stats.windows, >=, 5);
        g_assert_cmpuint(so_far(&seen).priority, >, 0);
        /* a window goes on to its end, and is longer where the machine is busy */
        double window_ns = cost_ns(&stats) / (double) stats.windows, most_ns = 1.5e7 + 1e3 * (double) (now - from) * BH_CALLERS_SHARE + window_ns * (2 + (double) stats.late);
        g_test_message("%.1f ms in %" G_GINT64_FORMAT " ms, %" G_GUINT64_FORMAT " windows, %" G_GUINT64_FORMAT " times throttled; at most %.1f ms", cost_ns(&stats) / 1e6, (now - from) / 1000, stats.windows,
                       stats.throttled, most_ns / 1e6);
        g_assert_cmpfloat(cost_ns(&stats), <=, most_ns);

        bh_callers_free(c);
        end_calls(flood);
        for (now = g_get_monotonic_time(); rmdir(cgroup_dir) && g_get_monotonic_time() < now + WAIT_US; g_usleep(5000))
                ;
        g_clear_pointer(&cgroup_dir, g_free);
        g_mutex_clear(&seen.lock);
}

void callers_add(BhBackend with) {
        g_autofree char *path = g_strdup_printf("/%s/callers/calls_are_counted_in_containers_alone_and_only_while_somebody_looks", bh_backend_name(with));

        g_test_add_data_func(path, GINT_TO_POINTER((int) with), calls_are_counted_in_containers_alone_and_only_while_somebody_looks);

        g_autofree char *share = g_strdup_printf("/%s/callers/what_is_learned_of_many_calls_costs_the_share_from_the_first_second_on", bh_backend_name(with));

        g_test_add_data_func(share, GINT_TO_POINTER((int) with), what_is_learned_of_many_calls_costs_the_share_from_the_first_second_on);
}

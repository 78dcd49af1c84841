/* SPDX-License-Identifier: Apache-2.0 */
#include "block_ways.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRACE_FD 9
#define LOADER "/lib64/ld-linux-x86-64.so.2"
#define MARK "BHMARK="

static char *none[] = { NULL };

static char *in(const char *folder, const char *name) {
        return g_build_filename(folder, name, NULL);
}

static void run_path(const char *path) {
        char *argv[] = { (char *) path, NULL };

        execve(path, argv, none);
}

static void by_path(const char *folder) {
        run_path(in(folder, "prog"));
}

static void by_symlink(const char *folder) {
        run_path(in(folder, "sym"));
}

static void by_hard_link(const char *folder) {
        run_path(in(folder, "hard"));
}

static void from_its_folder(const char *folder) {
        if (chdir(folder) == 0)
                run_path("./prog");
}

static void by_descriptor(const char *folder) {
        int fd = open(in(folder, "prog"), O_RDONLY);

        syscall(SYS_execveat, fd, "", none, none, AT_EMPTY_PATH);
}

static void by_proc(const char *folder) {
        g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", open(in(folder, "prog"), O_PATH));

        run_path(path);
}

static void as_interpreter(const char *folder) {
        run_path(in(folder, "script"));
}

static void as_interpreter_of_a_script(const char *folder) {
        run_path(in(folder, "nested"));
}

static void as_a_dynamic_program(const char *folder) {
        run_path(in(folder, "dynamic"));
}

static void by_loader(const char *folder) {
        char *argv[] = { (char *) "ld.so", in(folder, "dynamic"), NULL };

        execve(LOADER, argv, none);
}

static gboolean has_loader(void) {
        return g_access(LOADER, X_OK) == 0;
}

static void *run_in_thread(void *folder) {
        by_path(folder);
        _exit(100 + errno % 100); /* errno is the thread's */
}

static void by_a_thread(const char *folder) {
        pthread_t thread;

        if (pthread_create(&thread, NULL, run_in_thread, (void *) folder) == 0)
                pthread_join(thread, NULL);
}

static void by_bind_mount(const char *folder) {
        g_autofree char *place = in(folder, "place");

        if (unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && mount(in(folder, "prog"), place, NULL, MS_BIND, NULL) == 0)
                run_path(place);
}

#ifdef __x86_64__
/* As a 32-bit program would: numbers and pointers of that interface. */
static void by_compat_call(const char *folder) {
        char *low = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
        guint32 *argv = (void *) low;
        long rc;

        if (low == MAP_FAILED)
                return;
        g_strlcpy(low + 64, in(folder, "prog"), 4096);
        argv[0] = (guint32) (gsize) (low + 64);
        __asm__ volatile("int $0x80" : "=a"(rc) : "a"(11), "b"((guint32) (gsize) (low + 64)), "c"((guint32) (gsize) low), "d"((guint32) (gsize) (low + 8)) : "memory");
        errno = (int) -rc;
}

/* Kernels without that interface end a process that uses it. */
static gboolean has_compat(void) {
        int status;
        pid_t pid = fork();

        if (pid == 0) {
                long rc;

                __asm__ volatile("int $0x80" : "=a"(rc) : "a"(20));
                _exit(rc == getpid() ? 0 : 1);
        }
        return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}
#endif

static gboolean always(void) {
        return TRUE;
}

static const struct {
        const char *name;
        void (*go)(const char *folder); /* returns when the program could not be run */
        gboolean (*possible)(void);
} ways[] = {
        { "path", by_path, always },
        { "symbolic link", by_symlink, always },
        { "hard link", by_hard_link, always },
        { "relative path", from_its_folder, always },
        { "execveat of a descriptor", by_descriptor, always },
        { "/proc/self/fd", by_proc, always },
        { "interpreter", as_interpreter, always },
        { "interpreter of an interpreter", as_interpreter_of_a_script, always },
        { "dynamic program", as_a_dynamic_program, has_loader },
        { BH_WAY_LOADER, by_loader, has_loader },
        { "another thread", by_a_thread, always },
        { "bind mount", by_bind_mount, always },
#ifdef __x86_64__
        { "32-bit call", by_compat_call, has_compat },
#endif
};

guint bh_ways(void) {
        return G_N_ELEMENTS(ways);
}

const char *bh_way_name(guint way) {
        return ways[way].name;
}

gboolean bh_way_possible(guint way) {
        static gint8 known[G_N_ELEMENTS(ways)]; /* 1: no, 2: yes */

        if (!known[way])
                known[way] = ways[way].possible() ? 2 : 1;
        return known[way] == 2;
}

static BhWayResult in_child(void (*go)(const char *), const char *what) {
        BhWayResult r = { 0 };
        int trace[2];

        g_assert_no_errno(pipe2(trace, O_CLOEXEC));
        pid_t pid = fork();
        g_assert_no_errno(pid);
        if (pid == 0) {
                if (dup2(trace[1], TRACE_FD) < 0)
                        _exit(2);
                go(what);
                _exit(100 + errno % 100);
        }
        close(trace[1]);
        if (read(trace[0], &r.mark, 1) != 1)
                r.mark = 0;
        close(trace[0]);
        g_assert_cmpint(waitpid(pid, &r.status, 0), ==, pid);
        r.done = r.status == 0;
        return r;
}

BhWayResult bh_way_try(guint way, const char *folder) {
        return in_child(ways[way].go, folder);
}

BhWayResult bh_way_run(const char *path) {
        return in_child(run_path, path);
}

static void in_memory(const char *path) {
        g_autofree char *bytes = NULL;
        gsize len;
        int fd = (int) syscall(SYS_memfd_create, "x", 0);

        if (g_file_get_contents(path, &bytes, &len, NULL) && write(fd, bytes, len) == (gssize) len)
                syscall(SYS_execveat, fd, "", none, none, AT_EMPTY_PATH);
}

BhWayResult bh_way_memfd(const char *path) {
        return in_child(in_memory, path);
}

/* ---- folders */

static void copy_program(const char *name, const char *to, char mark) {
        g_autofree char *self = g_file_read_link("/proc/self/exe", NULL), *beside = g_path_get_dirname(self), *from = g_build_filename(beside, name, NULL), *bytes = NULL;
        g_autoptr(GError) error = NULL;
        gsize len;

        g_file_get_contents(from, &bytes, &len, &error);
        g_assert_no_error(error);
        char *at = memmem(bytes, len, MARK, strlen(MARK));
        g_assert_nonnull(at);
        at[strlen(MARK)] = mark;
        g_assert_true(g_file_set_contents(to, bytes, (gssize) len, &error));
        g_assert_no_errno(chmod(to, 0755));
}

static void make_script(const char *folder, const char *name, const char *interpreter) {
        g_autofree char *path = in(folder, name), *run = in(folder, interpreter), *text = g_strdup_printf("#!%s\n", run);

        g_assert_true(g_file_set_contents(path, text, -1, NULL));
        g_assert_no_errno(chmod(path, 0755));
}

void bh_ways_make(const char *folder, char mark) {
        g_autofree char *prog = in(folder, "prog"), *dynamic = in(folder, "dynamic"), *sym = in(folder, "sym"), *hard = in(folder, "hard"), *place = in(folder, "place");

        g_assert_no_errno(g_mkdir(folder, 0755));
        copy_program("trace", prog, mark);
        copy_program("trace_dynamic", dynamic, mark);
        g_assert_no_errno(symlink("prog", sym));
        g_assert_no_errno(link(prog, hard));
        make_script(folder, "script", "prog");
        make_script(folder, "nested", "script");
        g_assert_true(g_file_set_contents(place, "", 0, NULL));
}

void bh_ways_remove(const char *folder) {
        g_autoptr(GDir) d = g_dir_open(folder, 0, NULL);

        for (const char *name; d && (name = g_dir_read_name(d));) {
                g_autofree char *path = in(folder, name);

                g_unlink(path);
        }
        g_rmdir(folder);
}

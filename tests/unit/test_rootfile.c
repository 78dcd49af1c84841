/* SPDX-License-Identifier: Apache-2.0 */
/* A directory stands for the container's root. What needs mounts runs in a mount namespace of its own, as root. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fdio.h"
#include "parse/rootfile.h"

#include "scratch.h"

typedef struct {
        char *dir;
        int root;
} Place;

static void put(const Place *p, const char *name, const char *text) {
        g_autofree char *path = g_build_filename(p->dir, name, NULL);

        g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void link_to(const Place *p, const char *name, const char *target) {
        g_assert_cmpint(symlinkat(target, p->root, name), ==, 0);
}

static void set_up(Place *p, gconstpointer data) {
        g_autofree char *etc = NULL;

        p->dir = g_dir_make_tmp("bulkhead-XXXXXX", NULL);
        etc = g_build_filename(p->dir, "etc", NULL);
        g_assert_cmpint(g_mkdir(etc, 0755), ==, 0);
        p->root = open(p->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        put(p, "etc/passwd", "root:x:0:0:::\n");
        put(p, "etc/empty", "");
}

static void tear_down(Place *p, gconstpointer data) {
        close(p->root);
        bh_test_remove(p->dir);
        g_free(p->dir);
}

static void expect(const Place *p, const char *path, BhRootfileFlags flags, const char *text) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GBytes) b = bh_rootfile_read(p->root, path, 100, flags, NULL, &error);

        if (!b)
                g_error("%s: %s", path, error->message);
        g_assert_cmpmem(g_bytes_get_data(b, NULL), g_bytes_get_size(b), text, strlen(text));
}

static void refuse(const Place *p, const char *path, BhRootfileFlags flags, BhRootfileError code) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GBytes) b = bh_rootfile_read(p->root, path, 100, flags, NULL, &error);

        if (b)
                g_error("%s was read", path);
        if (!g_error_matches(error, BH_ROOTFILE_ERROR, (gint) code))
                g_error("%s: %s (code %d, not %d)", path, error->message, error->code, code);
}

static void file_is_read_with_what_it_is(Place *p, gconstpointer data) {
        BhRootfileInfo info;
        g_autoptr(GError) error = NULL;
        g_autoptr(GBytes) b = bh_rootfile_read(p->root, "/etc/passwd", 100, 0, &info, &error);
        struct stat st;

        g_assert_no_error(error);
        g_assert_cmpint(fstatat(p->root, "etc/passwd", &st, 0), ==, 0);
        g_assert_cmpuint(g_bytes_get_size(b), ==, 14);
        g_assert_cmpuint(info.size, ==, 14);
        g_assert_cmpuint(info.ino, ==, st.st_ino);
        g_assert_cmpuint(info.dev, ==, st.st_dev);
        g_assert_cmpint(info.ctime_ns, ==, (gint64) st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec);
        expect(p, "etc/passwd", 0, "root:x:0:0:::\n");
        expect(p, "etc/empty", 0, "");
}

static void links_stay_inside(Place *p, gconstpointer data) {
        g_autofree char *outside = g_strdup_printf("%s-outside", p->dir), *relative = g_strdup_printf("../../../../../../../../..%s", outside);

        g_assert_true(g_file_set_contents(outside, "secret", -1, NULL));
        put(p, "inside", "inside");
        link_to(p, "absolute", "/inside");
        link_to(p, "up", "../../../inside");
        link_to(p, "escape", outside);
        link_to(p, "escape-up", relative);
        link_to(p, "loop", "loop");
        link_to(p, "etc/host", "/../../inside");
        expect(p, "/absolute", 0, "inside");
        expect(p, "/up", 0, "inside");
        expect(p, "/etc/host", 0, "inside");
        expect(p, "../../inside", 0, "inside");
        refuse(p, "/escape", 0, BH_ROOTFILE_ERROR_GONE);
        refuse(p, "/escape-up", 0, BH_ROOTFILE_ERROR_GONE);
        refuse(p, "/loop", 0, BH_ROOTFILE_ERROR_KIND);
        g_unlink(outside);
}

static void what_is_no_regular_file_is_not_opened(Place *p, gconstpointer data) {
        g_assert_cmpint(mkfifoat(p->root, "fifo", 0644), ==, 0);
        link_to(p, "to-fifo", "/fifo");
        refuse(p, "/fifo", 0, BH_ROOTFILE_ERROR_KIND); /* and does not wait for a writer */
        refuse(p, "/to-fifo", 0, BH_ROOTFILE_ERROR_KIND);
        refuse(p, "/etc", 0, BH_ROOTFILE_ERROR_KIND);
        refuse(p, "/", 0, BH_ROOTFILE_ERROR_KIND);
        refuse(p, "/absent", 0, BH_ROOTFILE_ERROR_GONE);
        refuse(p, "/etc/passwd/x", 0, BH_ROOTFILE_ERROR_GONE);
        refuse(p, "", 0, BH_ROOTFILE_ERROR_GONE);
        if (geteuid() == 0 && mknodat(p->root, "null", S_IFCHR | 0666, makedev(1, 3)) == 0)
                refuse(p, "/null", 0, BH_ROOTFILE_ERROR_KIND);
}

static void size_is_bounded(Place *p, gconstpointer data) {
        g_autofree char *text = g_strnfill(101, 'x');

        put(p, "large", text);
        refuse(p, "/large", 0, BH_ROOTFILE_ERROR_TOO_LARGE);
        text[100] = '\0';
        put(p, "large", text);
        expect(p, "/large", 0, text);
}

static void message_has_the_path_escaped(Place *p, gconstpointer data) {
        g_autoptr(GError) error = NULL;

        g_assert_cmpint(bh_rootfile_open(p->root, "/a\x1b[31m\n", 10, 0, NULL, &error), ==, -1);
        g_assert_nonnull(strstr(error->message, "/a\\x1b[31m\\n"));
}

static void memfd_is_sealed(Place *p, gconstpointer data) {
        BhRootfileInfo info;
        g_autoptr(GError) error = NULL;
        g_auto(BhFd) fd = bh_rootfile_memfd(p->root, "/etc/passwd", 100, 0, &info, &error);
        char text[32] = "";

        g_assert_no_error(error);
        g_assert_cmpint(fcntl(fd, F_GET_SEALS), ==, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
        g_assert_cmpint(pread(fd, text, sizeof(text), 0), ==, 14);
        g_assert_cmpstr(text, ==, "root:x:0:0:::\n");
        g_assert_cmpint(write(fd, "x", 1), ==, -1);
        g_assert_cmpuint(info.size, ==, 14);

        g_autofree char *large = g_strnfill(300000, 'y');
        put(p, "large", large);
        g_auto(BhFd) big = bh_rootfile_memfd(p->root, "/large", 300000, 0, NULL, &error);
        struct stat st;
        g_assert_cmpint(fstat(big, &st), ==, 0);
        g_assert_cmpint(st.st_size, ==, 300000);
        g_assert_cmpint(bh_rootfile_memfd(p->root, "/large", 299999, 0, NULL, NULL), ==, -1);
}

static void root_of_a_process_is_opened(Place *p, gconstpointer data) {
        g_autoptr(GError) error = NULL;
        g_auto(BhFd) root = bh_rootfile_root("/proc", getpid(), &error);

        g_assert_no_error(error);
        g_assert_cmpint(bh_rootfile_root("/proc", 0, &error), ==, -1);
        g_assert_error(error, BH_ROOTFILE_ERROR, BH_ROOTFILE_ERROR_GONE);
        /* magic links lead out of any root */
        g_assert_cmpint(bh_rootfile_open(root, "/proc/self/exe", G_MAXUINT32, BH_ROOTFILE_ANY_MOUNT, NULL, NULL), ==, -1);
        g_assert_cmpint(bh_rootfile_open(root, "/proc/version", G_MAXUINT32, BH_ROOTFILE_ANY_MOUNT, NULL, NULL), ==, -1);
        g_assert_cmpint(bh_rootfile_open(root, "/sys/kernel/mm/transparent_hugepage/enabled", G_MAXUINT32, BH_ROOTFILE_ANY_MOUNT, NULL, NULL), ==, -1);
}

/* In the child: the exit status says which step failed. */
static int in_own_mounts(const Place *p) {
        g_autofree char *volume = g_build_filename(p->dir, "volume", NULL), *file = g_build_filename(volume, "f", NULL), *proc = g_build_filename(p->dir, "proc", NULL);
        g_autoptr(GError) error = NULL;

        if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mkdir(volume, 0755) || mkdir(proc, 0755))
                return 77;
        if (mount("none", volume, "tmpfs", 0, NULL) || mount("none", proc, "proc", 0, NULL) || !g_file_set_contents(file, "volume", -1, NULL))
                return 77;
        int root = open(p->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        Place here = { p->dir, root };

        refuse(&here, "/volume/f", 0, BH_ROOTFILE_ERROR_KIND);
        expect(&here, "/volume/f", BH_ROOTFILE_ANY_MOUNT, "volume");
        refuse(&here, "/proc/version", 0, BH_ROOTFILE_ERROR_KIND);
        refuse(&here, "/proc/version", BH_ROOTFILE_ANY_MOUNT, BH_ROOTFILE_ERROR_KIND);
        link_to(&here, "etc/group", "/proc/kmsg");
        refuse(&here, "/etc/group", 0, BH_ROOTFILE_ERROR_KIND);
        refuse(&here, "/etc/group", BH_ROOTFILE_ANY_MOUNT, BH_ROOTFILE_ERROR_KIND);
        return 0;
}

static void mounts_are_entered_only_when_allowed(Place *p, gconstpointer data) {
        int status;

        if (geteuid() != 0) {
                g_test_skip("needs root to mount");
                return;
        }
        pid_t pid = fork();
        if (pid == 0)
                _exit(in_own_mounts(p));
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
                g_test_skip("this environment allows no mounts");
        else
                g_assert_cmpint(status, ==, 0);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add("/rootfile/" #name, Place, NULL, set_up, name, tear_down)
        TEST(file_is_read_with_what_it_is);
        TEST(links_stay_inside);
        TEST(what_is_no_regular_file_is_not_opened);
        TEST(size_is_bounded);
        TEST(message_has_the_path_escaped);
        TEST(memfd_is_sealed);
        TEST(root_of_a_process_is_opened);
        TEST(mounts_are_entered_only_when_allowed);
#undef TEST
        return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Acts: opens by every call and every kind of path, and bytes written. */
#include "acts.h"

#include <grp.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

/* ---- open ---- */

enum { OPEN, OPENAT, OPENAT2, CREAT, BY_HANDLE, CREATE, TMPFILE, O_PATH_, ENOENT_, EACCES_, EEXIST_, ELOOP_, REL_CHDIR, REL_FCHDIR, REL_DIRFD, SYMLINK, SYMLINK_PARENT, HARDLINK,
       BIND, PROC_ROOT, PROC_CWD, PROC_FD, DOTDOT, SLASHES, QUOTES, NEWLINE, CONTROL, INVALID_UTF8, UTF8, LONG_NAME, LONG_PATH, TRUNC, DIRECTORY, INT80_OPEN, INT80_OPENAT,
       CHROOTED, RDWR, APPEND, OPENAT2_BENEATH };

/* As the kernel hands it out; a larger one than any file system uses. */
static struct {
        struct file_handle h;
        unsigned char bytes[128];
} handle;

static long do_open(const char *path, int flags, int mode) {
        act_str("arg", path);
        act_int("open_flags", flags);
        errno = 0;
        return act_ret(SYSC(SYS_openat, AT_FDCWD, path, flags, mode));
}

static const char *named(const char *name) {
        return act_file(name, "named");
}

static void run_open(const struct act *a) {
        static char path[PATH_MAX + 64];
        struct open_how how = { .flags = O_RDONLY | O_CLOEXEC };
        const char *file = act_file("file", "content"), *base;
        int dir = open(env.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), flags = O_RDONLY | O_CLOEXEC, mount_id, at;
        long fd = -1;

        errno = 0;
        switch (a->arg) {
        case OPEN:
                act_str("arg", file);
                act_int("open_flags", flags);
                fd = act_ret(SYSC(SYS_open, file, flags));
                break;
        case OPENAT: fd = do_open(file, flags, 0); break;
        case RDWR: fd = do_open(file, O_RDWR | O_CLOEXEC, 0); break;
        case APPEND: fd = do_open(file, O_WRONLY | O_APPEND | O_CLOEXEC, 0); break;
        case OPENAT2:
        case OPENAT2_BENEATH:
                if (a->arg == OPENAT2_BENEATH)
                        how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
                act_str("arg", a->arg == OPENAT2 ? file : "file");
                act_int("open_flags", (long long) how.flags);
                act_int("resolve", (long long) how.resolve);
                fd = act_ret(SYSC(SYS_openat2, a->arg == OPENAT2 ? AT_FDCWD : dir, a->arg == OPENAT2 ? file : "file", &how, sizeof how));
                break;
        case CREAT:
                file = act_path("created");
                act_str("arg", file);
                act_int("open_flags", O_CREAT | O_WRONLY | O_TRUNC);
                fd = act_ret(SYSC(SYS_creat, file, 0640));
                break;
        case BY_HANDLE:
                handle.h.handle_bytes = sizeof handle.bytes;
                if (name_to_handle_at(AT_FDCWD, file, &handle.h, &mount_id, 0) < 0)
                        act_unsupported("no file handles on this file system");
                act_int("open_flags", flags);
                errno = 0;
                fd = act_ret(SYSC(SYS_open_by_handle_at, dir, &handle, flags));
                break;
        case CREATE: fd = do_open(act_path("new"), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600); break;
        case TRUNC: fd = do_open(file, O_WRONLY | O_TRUNC | O_CLOEXEC, 0); break;
        case DIRECTORY: fd = do_open(env.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0); break;
        case TMPFILE: fd = do_open(env.dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600); break;
        case O_PATH_: fd = do_open(file, O_PATH | O_CLOEXEC, 0); break;
        case ENOENT_:
                fd = do_open(act_path("missing"), flags, 0);
                act_str("path", act_path("missing"));
                break;
        case EACCES_:
                chmod(file, 0600);
                if (setgroups(0, NULL) < 0 || setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
                        act_unsupported("cannot become nobody");
                fd = do_open(file, flags, 0);
                act_path_facts(file);
                break;
        case EEXIST_:
                fd = do_open(file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
                act_path_facts(file);
                break;
        case ELOOP_:
                if (symlink(file, act_path("link")) < 0)
                        act_unsupported("symlink");
                fd = do_open(act_path("link"), O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0);
                act_path_facts(act_path("link"));
                break;
        case REL_CHDIR:
                if (chdir(env.dir) < 0)
                        act_unsupported("chdir");
                fd = do_open("file", flags, 0);
                break;
        case REL_FCHDIR:
                if (fchdir(dir) < 0)
                        act_unsupported("fchdir");
                fd = do_open("./file", flags, 0);
                break;
        case REL_DIRFD:
                act_str("arg", "file");
                act_int("open_flags", flags);
                act_int("dirfd", dir);
                fd = act_ret(SYSC(SYS_openat, dir, "file", flags));
                break;
        case SYMLINK:
                if (symlink(file, act_path("link")) < 0)
                        act_unsupported("symlink");
                fd = do_open(act_path("link"), flags, 0);
                break;
        case SYMLINK_PARENT:
                if (symlink(env.dir, act_path("parent")) < 0)
                        act_unsupported("symlink");
                fd = do_open(act_path("parent/file"), flags, 0);
                break;
        case HARDLINK:
                if (link(file, act_path("hard")) < 0)
                        act_unsupported("link");
                fd = do_open(act_path("hard"), flags, 0);
                break;
        case BIND:
                act_private_mounts();
                if (mkdir(act_path("from"), 0755) < 0 || mkdir(act_path("to"), 0755) < 0 || mount(act_path("from"), act_path("to"), NULL, MS_BIND, NULL) < 0)
                        act_unsupported("cannot bind-mount");
                act_file("from/inside", "x");
                fd = do_open(act_path("to/inside"), flags, 0);
                break;
        case PROC_ROOT:
                snprintf(path, sizeof path, "/proc/self/root%s", file);
                fd = do_open(path, flags, 0);
                break;
        case PROC_CWD:
                if (chdir(env.dir) < 0)
                        act_unsupported("chdir");
                fd = do_open("/proc/self/cwd/file", flags, 0);
                break;
        case PROC_FD:
                at = open(file, O_PATH | O_CLOEXEC);
                snprintf(path, sizeof path, "/proc/self/fd/%d", at);
                fd = do_open(path, flags, 0);
                break;
        case CHROOTED:
                act_path_facts(file); /* as seen from outside */
                if (chroot(env.dir) < 0)
                        act_unsupported("chroot");
                act_int("fd", do_open("/file", flags, 0));
                act_end();
                return;
        case DOTDOT:
                if (mkdir(act_path("a"), 0755) < 0)
                        act_unsupported("mkdir");
                fd = do_open(act_path("a/../file"), flags, 0);
                break;
        case SLASHES:
                snprintf(path, sizeof path, "/%s///.//file", env.dir);
                fd = do_open(path, flags, 0);
                break;
        case QUOTES: fd = do_open(named("q\"uo'te\\back \\xff"), flags, 0); break;
        case NEWLINE: fd = do_open(named("new\nline {\"forged\":1}"), flags, 0); break;
        case CONTROL: fd = do_open(named("\x1b[2J\x01\t\r\x7f"), flags, 0); break;
        case INVALID_UTF8: fd = do_open(named("\xff\xfe\xc3(\xed\xa0\x80\xf5\x80"), flags, 0); break;
        case UTF8: fd = do_open(named("caf\xc3\xa9\xe2\x80\xae\xf0\x9f\x9a\xa2"), flags, 0); break;
        case LONG_NAME:
                memset(path, 'n', 255);
                path[255] = 0;
                fd = do_open(named(path), flags, 0);
                break;
        case LONG_PATH:
                at = act_deep(4090, path, &base);
                fd = openat(at, base, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
                if (fd < 0)
                        act_unsupported("cannot make a file so deep");
                close((int) fd);
                fd = do_open(path, flags, 0);
                break;
        case INT80_OPEN:
                file = act_low(file, strlen(file));
                act_str("arg", file);
                act_int("open_flags", flags);
                errno = 0;
                fd = act_ret(INT80(5 /* open */, file, flags));
                break;
        case INT80_OPENAT:
                file = act_low(file, strlen(file));
                act_str("arg", file);
                act_int("open_flags", flags);
                errno = 0;
                fd = act_ret(INT80(295 /* openat */, AT_FDCWD, file, flags));
                break;
        default: break;
        }
        if (fd >= 0)
                act_fd_facts((int) fd);
        act_end();
        if (a->arg == TMPFILE && fd >= 0) { /* the other half: the file gets its name */
                char proc[64];
                snprintf(proc, sizeof proc, "/proc/self/fd/%ld", fd);
                static const struct act half = { "link", "tmpfile", "link", "linkat", NULL, 0, 0 };
                act_begin(&half);
                errno = 0;
                act_ret(SYSC(SYS_linkat, AT_FDCWD, proc, AT_FDCWD, act_path("named"), AT_SYMLINK_FOLLOW));
                act_str("arg", proc);
                act_path_facts(act_path("named"));
                act_end();
        }
}

/* ---- written bytes, told at close ---- */

enum { WRITE, PWRITE, WRITEV, PWRITEV, PWRITEV2, SENDFILE, SPLICE, COPY_RANGE, FTRUNCATE, NO_CLOSE, MANY, DUPED, READ, FORKED, MSYNC };

/* Written by a child, so that the act's own process writes nothing but what it says. */
static void fill_source(void *arg) {
        static char data[7000];
        int fd = open(act_path("source"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

        memset(data, 's', sizeof data);
        act_shared()->done = write(fd, data, sizeof data) == sizeof data;
}

static void run_write(const struct act *a) {
        static char data[10000];
        const char *path = act_path("written"), *from = act_path("source");
        struct iovec v[3] = { { data, 100 }, { data, 0 }, { data, 2345 } };
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644), in, p[2], second;
        long long written = 0, reads = 0;
        long r = -1;
        loff_t from_at = 0, to_at = 0;

        memset(data, 'w', sizeof data);
        act_child(fill_source, NULL, NULL);
        in = open(from, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || in < 0 || !act_shared()->done || pipe2(p, O_CLOEXEC) < 0)
                act_unsupported("cannot make the files");
        errno = 0;
        switch (a->arg) {
        case WRITE: r = SYSC(SYS_write, fd, data, 4321); break;
#ifdef __i386__
        case PWRITE: r = SYSC(SYS_pwrite64, fd, data, 1234, 100, 0); break;
#else
        case PWRITE: r = SYSC(SYS_pwrite64, fd, data, 1234, 100); break;
#endif
        case WRITEV: r = SYSC(SYS_writev, fd, v, 3); break;
        case PWRITEV: r = SYSC(SYS_pwritev, fd, v, 3, 10, 0); break;
        case PWRITEV2: r = SYSC(SYS_pwritev2, fd, v, 3, 10, 0, 0); break;
        case SENDFILE: r = SYSC(SYS_sendfile, fd, in, NULL, 6500); break;
        case SPLICE:
                if (write(p[1], data, 3000) != 3000)
                        act_unsupported("cannot fill a pipe");
                r = SYSC(SYS_splice, p[0], NULL, fd, NULL, 3000, 0);
                break;
        case COPY_RANGE: r = SYSC(SYS_copy_file_range, in, &from_at, fd, &to_at, 5000, 0); break;
        case FTRUNCATE:
                r = SYSC(SYS_ftruncate, fd, 8192, 0);
                break;
        case NO_CLOSE: r = SYSC(SYS_write, fd, data, 777); break;
        case MANY:
                for (int i = 0; i < 100; i++)
                        if ((r = SYSC(SYS_write, fd, data, 10 + i)) > 0)
                                written += r;
                break;
        case DUPED: /* one open file, two descriptors: one event, at the last close */
                second = dup(fd);
                if (SYSC(SYS_write, fd, data, 500) == 500)
                        written = 500;
                close(fd);
                fd = second;
                if ((r = SYSC(SYS_write, fd, data, 250)) > 0)
                        written += r;
                break;
        case READ:
                close(fd);
                fd = in;
                if ((r = SYSC(SYS_read, fd, data, 6000)) > 0)
                        reads = r;
                break;
        case FORKED: {
                pid_t pid = act_fork();
                if (pid == 0)
                        _exit(SYSC(SYS_write, fd, data, 333) != 333);
                act_wait(pid);
                act_int("writer", pid);
                written = 333;
                if ((r = SYSC(SYS_write, fd, data, 111)) > 0)
                        written += r;
                break;
        }
        case MSYNC: { /* through a mapping: no byte is "written" by a call, yet the file changes */
                if (ftruncate(fd, 4096) < 0)
                        act_unsupported("ftruncate");
                char *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
                if (m == MAP_FAILED)
                        act_unsupported("mmap");
                memset(m, 'm', 4096);
                r = SYSC(SYS_msync, m, 4096, MS_SYNC);
                munmap(m, 4096);
                break;
        }
        default: break;
        }
        act_ret(r);
        if (!written && r > 0 && a->arg != READ)
                written = r;
        act_int("bytes", written);
        act_int("bytes_read", reads);
        act_fd_facts(fd);
        if (a->arg == NO_CLOSE) { /* the exit closes it */
                act_end();
                _exit(0);
        }
        close(fd);
        act_end();
}

const struct act acts_file[] = {
#define OPENS(form, syscall, variant) { "open", form, "open", syscall, run_open, variant, 0 }
        OPENS("open", "open", OPEN),
        OPENS("openat", "openat", OPENAT),
        OPENS("openat2", "openat2", OPENAT2),
        OPENS("openat2_beneath", "openat2", OPENAT2_BENEATH),
        OPENS("creat", "creat", CREAT),
        OPENS("by_handle", "open_by_handle_at", BY_HANDLE),
        OPENS("create_new", "openat", CREATE),
        OPENS("rdwr", "openat", RDWR),
        OPENS("append", "openat", APPEND),
        OPENS("trunc", "openat", TRUNC),
        OPENS("directory", "openat", DIRECTORY),
        OPENS("tmpfile_linkat", "openat", TMPFILE),
        OPENS("o_path", "openat", O_PATH_),
        OPENS("enoent", "openat", ENOENT_),
        OPENS("eacces", "openat", EACCES_),
        OPENS("eexist", "openat", EEXIST_),
        OPENS("nofollow_eloop", "openat", ELOOP_),
        OPENS("relative_chdir", "openat", REL_CHDIR),
        OPENS("relative_fchdir", "openat", REL_FCHDIR),
        OPENS("relative_dirfd", "openat", REL_DIRFD),
        OPENS("symlink", "openat", SYMLINK),
        OPENS("symlink_parent", "openat", SYMLINK_PARENT),
        OPENS("hardlink", "openat", HARDLINK),
        OPENS("bind_mount", "openat", BIND),
        OPENS("chrooted", "openat", CHROOTED),
        OPENS("proc_self_root", "openat", PROC_ROOT),
        OPENS("proc_self_cwd", "openat", PROC_CWD),
        OPENS("proc_self_fd", "openat", PROC_FD),
        OPENS("dotdot", "openat", DOTDOT),
        OPENS("slashes", "openat", SLASHES),
        OPENS("name_quotes", "openat", QUOTES),
        OPENS("name_newline", "openat", NEWLINE),
        OPENS("name_control", "openat", CONTROL),
        OPENS("name_invalid_utf8", "openat", INVALID_UTF8),
        OPENS("name_utf8", "openat", UTF8),
        OPENS("name_255", "openat", LONG_NAME),
        OPENS("path_4090", "openat", LONG_PATH),
        { "open", "int80", "open", "open", run_open, INT80_OPEN, ACT_X86_64 | ACT_INT80 },
        { "open", "int80_openat", "open", "openat", run_open, INT80_OPENAT, ACT_X86_64 | ACT_INT80 },

#define WRITES(form, syscall, variant, flags) { "write", form, "close_write", syscall, run_write, variant, flags }
        WRITES("write", "write", WRITE, 0),
        WRITES("pwrite", "pwrite64", PWRITE, 0),
        WRITES("writev", "writev", WRITEV, 0),
        WRITES("pwritev", "pwritev", PWRITEV, 0),
        WRITES("pwritev2", "pwritev2", PWRITEV2, 0),
        WRITES("sendfile", "sendfile", SENDFILE, 0),
        WRITES("splice", "splice", SPLICE, 0),
        WRITES("copy_file_range", "copy_file_range", COPY_RANGE, 0),
        WRITES("100_writes", "write", MANY, 0),
        WRITES("dup", "write", DUPED, 0),
        WRITES("fork", "write", FORKED, 0),
        WRITES("exit_without_close", "write", NO_CLOSE, 0),
        WRITES("ftruncate", "ftruncate", FTRUNCATE, ACT_QUIET),
        WRITES("mmap_shared", "msync", MSYNC, ACT_QUIET),
        WRITES("read_only", "read", READ, ACT_QUIET),
        { NULL, NULL, NULL, NULL, NULL, 0, 0 },
};

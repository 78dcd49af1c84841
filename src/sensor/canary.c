/* SPDX-License-Identifier: Apache-2.0 */
#include "canary.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fdio.h"
#include "record.h"

#define END_MS 2000u

struct BhCanary {
        pid_t pid;
        BhFd fd;
};

#define ACTS(X) \
        X(FORK) X(SETNS) X(UNSHARE) X(CHROOT) X(CHDIR) X(DUP_STDIO) X(COMM) X(SECCOMP) X(PTRACE) X(VM_WRITE) X(PIDFD_GETFD) X(MEMFD_CREATE) \
        X(MPROTECT_EXEC) X(MMAP_EXEC) X(SIGNAL) X(CREDS) X(OPEN) X(RENAME) X(LINK) X(SYMLINK) X(UNLINK) X(MKDIR) X(RMDIR) X(MKNOD) X(CHMOD) X(CHOWN) \
        X(SETXATTR) X(MOUNT) X(UMOUNT) X(PIVOT_ROOT) X(MOVE_MOUNT) X(CLOSE_WRITE) X(SOCKET) X(CONNECT) X(BIND) X(LISTEN) X(ACCEPT) X(SEND) X(RECV) \
        X(MODULE_LOAD) X(MODULE_UNLOAD) X(BPF) X(KEXEC) X(PERF_EVENT_OPEN) X(USERFAULTFD) X(IO_URING_SETUP) X(MEM_WRITE)

gboolean bh_canary_tests(guint32 type) {
        switch (type) {
#define TESTED(id) case BH_EV_##id:
                ACTS(TESTED)
                return TRUE;
        default:
                return FALSE;
        }
}

/* Everything below runs in the child. Calls are raw so that libc adds nothing; results do not matter, only that the call was made. */

static void files(int dir) {
        int fd = openat(dir, "a", O_CREAT | O_RDWR | O_CLOEXEC, 0600);

        if (fd >= 0) {
                if (write(fd, "x", 1) < 0)
                        return;
                fchmod(fd, 0640);
                (void) !fchown(fd, 0, 0);
                fsetxattr(fd, "security.bulkhead", "x", 1, 0);
                close(fd);
        }
        syscall(SYS_renameat2, dir, "a", dir, "b", 0);
        syscall(SYS_linkat, dir, "b", dir, "c", 0);
        syscall(SYS_symlinkat, "b", dir, "d");
        syscall(SYS_mkdirat, dir, "e", 0700);
        syscall(SYS_unlinkat, dir, "e", AT_REMOVEDIR);
        syscall(SYS_mknodat, dir, "f", S_IFIFO | 0600, 0);
        for (const char *n = "abcdf"; *n; n++) {
                char name[2] = { *n, 0 };

                syscall(SYS_unlinkat, dir, name, 0);
        }
}

static void sockets(void) {
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof(to);
        int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int u = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        if (bind(l, (void *) &to, sizeof(to)) == 0 && listen(l, 1) == 0 && getsockname(l, (void *) &to, &len) == 0 && connect(c, (void *) &to, sizeof(to)) == 0) {
                int a = accept4(l, NULL, NULL, SOCK_CLOEXEC);

                if (a >= 0)
                        close(a);
        }
        to.sin_port = 0;
        len = sizeof(to);
        if (bind(u, (void *) &to, sizeof(to)) == 0 && getsockname(u, (void *) &to, &len) == 0) {
                struct timeval wait = { .tv_usec = 500000 }; /* also over loopback it takes its way through a softirq */
                char byte;

                setsockopt(u, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
                if (sendto(u, "x", 1, MSG_DONTWAIT, (void *) &to, sizeof(to)) == 1)
                        (void) !recv(u, &byte, 1, 0);
        }
        close(l);
        close(c);
        close(u);
}

static void act(int dir) {
        long page = sysconf(_SC_PAGESIZE);
        struct iovec iov = { &page, sizeof(page) }, far = { (void *) 16, sizeof(page) };
        struct io_uring_params ring = { 0 };
        char path[64];
        int fd;

        if (fork() == 0)
                _exit(0);
        (void) wait(NULL);

        fd = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
        syscall(SYS_setns, fd, CLONE_NEWUTS);
        close(fd);
        syscall(SYS_unshare, 0);
        syscall(SYS_unshare, CLONE_FS);
        syscall(SYS_chroot, "/");
        syscall(SYS_chdir, "/");
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        syscall(SYS_dup3, fd, 0, 0);
        close(fd);
        prctl(PR_SET_NAME, "bulkhead-canary");
        syscall(SYS_seccomp, 1, ~0u, NULL);
        syscall(SYS_ptrace, 16 /* ATTACH */, 0, 0, 0);
        syscall(SYS_process_vm_writev, getppid(), &iov, 1, &far, 1, 0);
        syscall(SYS_pidfd_getfd, -1, 0, 0);
        close((int) syscall(SYS_memfd_create, "canary", 1u /* MFD_CLOEXEC */));
        void *m = mmap(NULL, (size_t) page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (m != MAP_FAILED) {
                *(volatile char *) m = 0;
                mprotect(m, (size_t) page, PROT_READ | PROT_EXEC);
                munmap(m, (size_t) page);
        }
        m = mmap(NULL, (size_t) page, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (m != MAP_FAILED)
                munmap(m, (size_t) page);
        kill(getppid(), SIGCONT);
        syscall(SYS_setresuid, -1, 1, -1);
        syscall(SYS_setresuid, -1, 0, -1);

        files(dir);
        syscall(SYS_mount, "none", "/", "bulkhead-canary", 0, NULL);
        syscall(SYS_umount2, "/proc/self/fd", 0);
        syscall(SYS_pivot_root, "/proc/self", "/proc/self");
        syscall(SYS_move_mount, -1, "", -1, "", 0);
        snprintf(path, sizeof(path), "/proc/%d/mem", getpid());
        fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd >= 0) {
                (void) !pwrite(fd, &page, sizeof(page), (off_t) (uintptr_t) &page);
                close(fd);
        }
        sockets();
        syscall(SYS_finit_module, -1, "", 0);
        syscall(SYS_delete_module, "bulkhead-canary", O_NONBLOCK);
        syscall(SYS_bpf, -1, NULL, 0);
        syscall(SYS_kexec_load, 0, 0, NULL, ~0ul);
        syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0);
        close((int) syscall(SYS_userfaultfd, O_CLOEXEC));
        fd = (int) syscall(SYS_io_uring_setup, 1, &ring);
        if (fd >= 0)
                close(fd);
}

static G_NORETURN void run(int fd) {
        char dir[] = "/tmp/.bulkhead-canary-XXXXXX", byte;
        sigset_t none;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_NAME, "bulkhead-canary");
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGINT, SIG_IGN);
        signal(SIGTERM, SIG_IGN);

        gboolean settled = FALSE;
        int at = -1;
        while (read(fd, &byte, 1) == 1) {
                /* a mount namespace of its own: its directory is on a private tmpfs, and nothing it mounts could reach the host. Not before the first
                 * request: until then the kernel does not know this process as the canary. */
                if (!settled && (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("none", "/tmp", "tmpfs", 0, "size=64k") || !mkdtemp(dir)))
                        _exit(1);
                if (!settled)
                        at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
                settled = TRUE;
                act(at);
                if (write(fd, &byte, 1) != 1)
                        break;
        }
        _exit(0);
}

static gboolean spawn(BhCanary *c, GError **error) {
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "cannot make the canary's socket: %s", g_strerror(errno));
                return FALSE;
        }

        pid_t pid = fork();
        if (pid < 0) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "cannot fork the canary: %s", g_strerror(errno));
                close(pair[0]);
                close(pair[1]);
                return FALSE;
        }
        if (pid == 0) {
                /* nothing from here on takes a lock that another thread of the sensor may have held (memory, streams). It keeps nothing of the sensor's open. */
                if (dup2(pair[1], 3) != 3)
                        _exit(1);
                syscall(SYS_close_range, 4u, ~0u, 0);
                run(3);
        }
        close(pair[1]);
        c->pid = pid;
        c->fd = pair[0];
        return TRUE;
}

/* One that is frozen does not die before it thaws: it is not waited for, and left behind until the sensor ends. */
static void end(BhCanary *c) {
        bh_fd_clear(&c->fd);
        if (c->pid > 0) {
                kill(c->pid, SIGKILL);
                for (guint i = 0; i < END_MS && waitpid(c->pid, NULL, WNOHANG) == 0; i++)
                        g_usleep(1000);
        }
        c->pid = 0;
}

BhCanary *bh_canary_start(GError **error) {
        BhCanary *c = g_new0(BhCanary, 1);

        c->fd = -1;
        if (!spawn(c, error)) {
                g_free(c);
                return NULL;
        }
        return c;
}

gboolean bh_canary_revive(BhCanary *c, GError **error) {
        end(c);
        return spawn(c, error);
}

void bh_canary_free(BhCanary *c) {
        if (!c)
                return;
        end(c);
        g_free(c);
}

pid_t bh_canary_pid(const BhCanary *c) {
        return c->pid;
}

gboolean bh_canary_act(BhCanary *c, int timeout_ms, GError **error) {
        struct pollfd p = { .fd = c->fd, .events = POLLIN };
        char byte = 1;

        if (c->fd < 0 || send(c->fd, &byte, 1, MSG_NOSIGNAL) != 1) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_PIPE, "the canary process %d is gone", (int) c->pid);
                return FALSE;
        }
        int ready = poll(&p, 1, timeout_ms);
        if (ready == 1 && read(c->fd, &byte, 1) != 1) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_PIPE, "the canary process %d is gone", (int) c->pid);
                return FALSE;
        }
        if (ready != 1) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_IO, "the canary process %d did not answer within %d ms", (int) c->pid, timeout_ms);
                return FALSE;
        }
        return TRUE;
}

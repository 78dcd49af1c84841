/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <pwd.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fdio.h"

#define FALLBACK_ID 64055

/* Of newer kernels than the headers may know (landlock.h of 6.10 and 6.12). */
#define LL_FS_REFER (1ull << 13)      /* version 2 */
#define LL_FS_TRUNCATE (1ull << 14)   /* version 3 */
#define LL_FS_IOCTL_DEV (1ull << 15)  /* version 5 */
#define LL_NET_BIND_TCP (1ull << 0)   /* version 4 */
#define LL_NET_CONNECT_TCP (1ull << 1)
#define LL_SCOPE_ABSTRACT (1ull << 0) /* version 6 */
#define LL_SCOPE_SIGNAL (1ull << 1)

struct ll_ruleset {
        guint64 fs, net, scoped;
};

static gboolean fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static gboolean fail(GError **error, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_propagate_error(error, g_error_new_valist(G_FILE_ERROR, G_FILE_ERROR_PERM, format, ap));
        va_end(ap);
        return FALSE;
}

/* ---- who ---- */

gboolean bh_sandbox_user(const char *wanted, uid_t *uid, gid_t *gid, GError **error) {
        const struct passwd *pw = getpwnam(wanted ? wanted : "bulkhead");
        char *end = NULL;
        guint64 number = wanted ? g_ascii_strtoull(wanted, &end, 10) : FALLBACK_ID;

        if (pw) {
                *uid = pw->pw_uid;
                *gid = pw->pw_gid;
        } else if (wanted && (end == wanted || *end || number > G_MAXUINT32 - 1)) {
                return fail(error, "there is no user \"%s\": create it, or give --user a number", wanted);
        } else {
                *uid = (uid_t) number;
                pw = getpwuid(*uid);
                *gid = pw ? pw->pw_gid : (gid_t) number;
        }
        if (*uid == 0 || *gid == 0)
                return fail(error, "the central does not run as root: give --user a user that is not root");
        return TRUE;
}

gboolean bh_sandbox_drop(uid_t uid, gid_t gid, GError **error) {
        uid_t r, e, s;

        if (geteuid() == 0) {
                for (int cap = 0; cap <= CAP_LAST_CAP || prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
                        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) && errno != EINVAL)
                                return fail(error, "cannot give up capabilities: %s", g_strerror(errno));
                if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
                        return fail(error, "cannot become uid %u: %s", uid, g_strerror(errno));
        } else if (geteuid() != uid) {
                return fail(error, "only root can become uid %u: start it as root (sudo), or as that user", uid);
        }

        cap_t none = cap_init();
        gboolean ok = none && cap_set_proc(none) == 0;

        cap_free(none);
        if (!ok)
                return fail(error, "cannot give up capabilities: %s", g_strerror(errno));
        if (getresuid(&r, &e, &s) || !r || !e || !s || !getgid() || !getegid())
                return fail(error, "still root after becoming uid %u", uid);
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
                return fail(error, "cannot set no_new_privs: %s", g_strerror(errno));
        /* passwords and session keys pass through this memory: no core files, no ptrace by the same user */
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        return TRUE;
}

/* ---- files ---- */

static gboolean allow_below(int ruleset, const BhSandboxPath *p, guint64 handled, GError **error) {
        g_auto(BhFd) fd = open(p->path, O_PATH | O_CLOEXEC);
        struct landlock_path_beneath_attr rule = { .allowed_access = LANDLOCK_ACCESS_FS_READ_FILE, .parent_fd = fd };
        struct stat st;

        if (fd < 0 && errno == ENOENT)
                return TRUE;
        if (fd < 0)
                return fail(error, "cannot open %s: %s", p->path, g_strerror(errno));
        if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
                rule.allowed_access |= LANDLOCK_ACCESS_FS_READ_DIR; /* refused for a file */
        if (p->write)
                rule.allowed_access |= LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_MAKE_DIR |
                                       LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LL_FS_REFER | LL_FS_TRUNCATE;
        rule.allowed_access &= handled;
        if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0))
                return fail(error, "cannot allow %s in Landlock: %s", p->path, g_strerror(errno));
        return TRUE;
}

/* linux/landlock.h of 6.7 */
#define LL_RULE_NET_PORT 2
struct ll_net_port {
        guint64 access, port;
};

static gboolean allow_port(int ruleset, guint16 port, GError **error) {
        struct ll_net_port rule = { .access = LL_NET_CONNECT_TCP, .port = port };

        if (syscall(SYS_landlock_add_rule, ruleset, LL_RULE_NET_PORT, &rule, 0))
                return fail(error, "cannot allow the port %u in Landlock: %s", port, g_strerror(errno));
        return TRUE;
}

static gboolean landlock(const BhSandboxPath *paths, const guint16 *ports, guint n_ports, guint *version, GError **error) {
        long v = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
        struct ll_ruleset set = { .fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1 };
        gsize size = sizeof(guint64);

        *version = 0;
        if (v < 1)
                return TRUE; /* not in this kernel, or switched off: own uid, file modes and seccomp remain */
        if (v >= 2)
                set.fs |= LL_FS_REFER;
        if (v >= 3)
                set.fs |= LL_FS_TRUNCATE;
        if (v >= 4) {
                set.net = LL_NET_BIND_TCP | LL_NET_CONNECT_TCP;
                size = 2 * sizeof(guint64);
        }
        if (v >= 5)
                set.fs |= LL_FS_IOCTL_DEV;
        if (v >= 6) {
                set.scoped = LL_SCOPE_ABSTRACT | LL_SCOPE_SIGNAL;
                size = sizeof(set);
        }

        g_auto(BhFd) fd = (int) syscall(SYS_landlock_create_ruleset, &set, size, 0);
        if (fd < 0)
                return fail(error, "cannot make a Landlock rule set: %s", g_strerror(errno));
        for (; paths->path; paths++)
                if (!allow_below(fd, paths, set.fs, error))
                        return FALSE;
        for (guint i = 0; i < n_ports && set.net; i++)
                if (!allow_port(fd, ports[i], error))
                        return FALSE;
        if (syscall(SYS_landlock_restrict_self, fd, 0))
                return fail(error, "cannot enter the Landlock rule set: %s", g_strerror(errno));
        *version = (guint) v;
        return TRUE;
}

/* ---- system calls ---- */

static const char *const allowed[] = {
        /* memory and threads */
        "brk", "munmap", "mremap", "madvise", "futex", "futex_time64", "set_robust_list", "get_robust_list", "rseq", "sched_yield", "sched_getaffinity",
        "set_tid_address", "membarrier", "exit", "exit_group", "gettid", "getpid", "getppid", "tgkill", "mlock", "munlock", "sched_setscheduler", "sched_getscheduler", "sched_getparam",
        "sched_getattr", "sched_setattr", "getcpu",
        /* time and signals */
        "clock_gettime", "clock_gettime64", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "restart_syscall", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
        "sigaltstack", "pause", "rt_sigtimedwait", "timerfd_create", "timerfd_settime", "timerfd_gettime",
        /* files below the directories that Landlock leaves */
        "open", "openat", "openat2", "close", "close_range", "read", "readv", "pread64", "preadv", "write", "writev", "pwrite64", "pwritev", "lseek", "_llseek", "fstat", "stat", "lstat", "newfstatat",
        "statx", "access", "faccessat", "faccessat2", "readlink", "readlinkat", "getcwd", "getdents64", "ftruncate", "truncate", "fallocate", "fsync", "fdatasync", "rename", "renameat",
        "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "fchmod", "chmod", "fchmodat", "umask", "flock", "fcntl", "fcntl64", "fadvise64", "statfs", "fstatfs", "dup", "dup2", "dup3",
        "utimensat", "sendfile", "copy_file_range", "fchown",
        /* sockets that are there, and Unix sockets */
        "bind", "connect", "getsockname", "getpeername", "getsockopt", "setsockopt", "shutdown", "send", "sendto", "sendmsg", "sendmmsg", "recv", "recvfrom",
        "recvmsg", "recvmmsg", "poll", "ppoll", "select", "_newselect", "pselect6", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd2", "eventfd",
        "pipe", "pipe2",
        /* what it asks about itself */
        "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getrandom", "uname", "sysinfo", "getrusage", "prlimit64", "getrlimit",
};

/* Who listens. */
static const char *const serving[] = { "accept", "accept4", "listen" };

/* A program that gets here has been taken over: it ends. */
static const char *const fatal[] = {
        "execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd", "mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree",
        "fsopen", "fsmount", "setns", "unshare", "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff", "bpf", "perf_event_open",
        "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl", "add_key", "request_key", "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid",
        "setgroups", "setfsuid", "setfsgid", "capset", "personality", "open_by_handle_at", "name_to_handle_at", "iopl", "ioperm", "acct", "quotactl", "settimeofday", "clock_settime", "mknod",
        "mknodat", "symlink", "symlinkat", "link", "linkat", "fanotify_init", "memfd_create", "modify_ldt", "lookup_dcookie", "syslog",
};

static int add(scmp_filter_ctx f, guint32 action, const char *const *names, gsize n) {
        for (gsize i = 0; i < n; i++) {
                int nr = seccomp_syscall_resolve_name(names[i]), r;

                if (nr == __NR_SCMP_ERROR || nr < 0)
                        continue; /* not on this architecture */
                if ((r = seccomp_rule_add(f, action, nr, 0)) < 0)
                        return r;
        }
        return 0;
}

typedef enum { INSIDE, OUT_LOCAL, OUT_NETWORK } Way;

/* What the notifier may beyond: sockets to elsewhere, which it cannot listen on. */
static int add_way_out(scmp_filter_ctx f, Way way) {
        static const int families[] = { AF_INET, AF_INET6 };
        int r = 0;

        for (guint i = 0; way == OUT_NETWORK && !r && i < G_N_ELEMENTS(families); i++)
                r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t) families[i]));
        /* the resolver asks which addresses this machine has */
        if (way == OUT_NETWORK && !r)
                r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, SCMP_A0(SCMP_CMP_EQ, AF_NETLINK), SCMP_A2(SCMP_CMP_EQ, 0));
        /* what a TCP peer has not acknowledged yet */
        return r ? r : seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, SIOCOUTQ));
}

static gboolean seccomp(Way way, GError **error) {
        scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
        int r = f ? 0 : -ENOMEM;

        if (!r && way != INSIDE)
                r = add_way_out(f, way);

        if (!r)
                r = add(f, SCMP_ACT_ALLOW, allowed, G_N_ELEMENTS(allowed));
        if (!r && way == INSIDE)
                r = add(f, SCMP_ACT_ALLOW, serving, G_N_ELEMENTS(serving));
        if (!r)
                r = add(f, SCMP_ACT_KILL_PROCESS, fatal, G_N_ELEMENTS(fatal));
        /* threads, not processes; clone3 hides its flags in memory, so the C library is sent back to clone */
        if (!r)
                r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_NEWUSER | CLONE_NEWNS, CLONE_THREAD));
        if (!r)
                r = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
        /* no new code: every library is loaded by now */
        if (!r)
                r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
        if (!r)
                r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
        if (!r)
                r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
        if (!r)
                r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
        if (!r)
                r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, FIONREAD));
        if (!r)
                r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, FIONBIO));
        if (!r) /* names of threads */
                r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
        /* a signal to itself only: abort(); pid 0 and others are not for it */
        if (!r)
                r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(kill), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t) getpid()));
        if (!r)
                r = seccomp_load(f);
        seccomp_release(f);
        return r ? fail(error, "cannot load the system call filter: %s", g_strerror(-r)) : TRUE;
}

gboolean bh_sandbox_enclose(const BhSandboxPath *paths, guint *version, GError **error) {
        return landlock(paths, NULL, 0, version, error) && seccomp(INSIDE, error);
}

gboolean bh_sandbox_enclose_out(const BhSandboxPath *paths, const guint16 *ports, guint n_ports, gboolean network, guint *version, GError **error) {
        return landlock(paths, ports, n_ports, version, error) && seccomp(network ? OUT_NETWORK : OUT_LOCAL, error);
}

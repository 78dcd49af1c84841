/* SPDX-License-Identifier: Apache-2.0 */
#include "inspect/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "parse/inspect_wire.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZER 1
#endif
#endif
#ifndef SANITIZER
#define SANITIZER 0
#endif

static gboolean fail(GError **error, const char *what, int number) {
        g_set_error(error, G_FILE_ERROR, (gint) g_file_error_from_errno(number), "%s: %s", what, g_strerror(number));
        return FALSE;
}

/* ---- prepare */

static gboolean close_others(int keep) {
        if (keep > 3 && syscall(SYS_close_range, 3u, (unsigned) keep - 1, 0u))
                return FALSE;
        return syscall(SYS_close_range, (unsigned) keep + 1, ~0u, 0u) == 0;
}

static gboolean limit(int what, guint64 n) {
        struct rlimit r = { .rlim_cur = n, .rlim_max = n }, old;

        /* one that is lower already stays */
        if (getrlimit((__rlimit_resource_t) what, &old) == 0 && old.rlim_max < n)
                r.rlim_cur = r.rlim_max = old.rlim_max;
        return setrlimit((__rlimit_resource_t) what, &r) == 0;
}

gboolean bh_sandbox_prepare(int keep, GError **error) {
        g_auto(BhFd) null = -1, oom = -1;

        if (keep < 3 || !close_others(keep))
                return fail(error, "cannot close the descriptors that were inherited", keep < 3 ? EBADF : errno);
        null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null < 0)
                return fail(error, "cannot open /dev/null", errno);
        for (int fd = 0; fd <= (SANITIZER ? 1 : 2); fd++)
                if (dup2(null, fd) < 0)
                        return fail(error, "cannot put /dev/null on the standard descriptors", errno);

        /* When memory is short this process goes, not the sensor that it was started by. */
        oom = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
        if (oom >= 0)
                (void) !write(oom, "700", 3);

        if (!limit(RLIMIT_CORE, 0) || !limit(RLIMIT_NOFILE, BH_SANDBOX_FILES) || !limit(RLIMIT_MEMLOCK, 0) || !limit(RLIMIT_MSGQUEUE, 0) || !limit(RLIMIT_NPROC, 0) ||
            (!SANITIZER && (!limit(RLIMIT_FSIZE, 0) || !limit(RLIMIT_AS, BH_SANDBOX_ADDRESS_SPACE))))
                return fail(error, "cannot set the process's limits", errno);
        /* a write to a sensor that is gone is an error, not a signal */
        signal(SIGPIPE, SIG_IGN);
        return TRUE;
}

/* ---- confine */

/*
 * Where nothing is. A file system of one directory is mounted somewhere, made the root, and the old one taken away. Needs a mount namespace
 * of our own. FALSE, and the root as it was or worse, when the kernel refuses.
 */
static gboolean empty_root(void) {
        static const char *const places[] = { "/tmp", "/run", "/proc", "/dev", "/etc" };
        const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
        const char *place = NULL;

        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
                return FALSE;
        for (gsize i = 0; i < G_N_ELEMENTS(places) && !place; i++)
                if (mount("none", places[i], "tmpfs", flags, "size=4k,nr_inodes=2,mode=0555") == 0)
                        place = places[i];
        if (!place || chdir(place))
                return FALSE;
        /* old root and new root in the same place: the old one lies on top and is taken off (pivot_root(2), NOTES) */
        if (syscall(SYS_pivot_root, ".", ".") == 0) {
                if (umount2(".", MNT_DETACH))
                        return FALSE;
        } else if (chroot(".")) { /* an initramfs cannot be pivoted away from */
                return FALSE;
        }
        return chdir("/") == 0 && mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | flags, NULL) == 0;
}

/* Whether / is empty and refuses to be written, by trying. */
static gboolean root_is_empty(void) {
        char entries[1024];
        g_auto(BhFd) fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        long n = fd < 0 ? -1 : syscall(SYS_getdents64, fd, entries, sizeof(entries));
        struct stat root, up;

        /* "." and ".." take 24 bytes each; nothing is above */
        if (n < 0 || n > 48 || mkdir("/d", 0700) == 0)
                return FALSE;
        return stat("/", &root) == 0 && stat("/..", &up) == 0 && root.st_ino == up.st_ino && root.st_dev == up.st_dev;
}

static gboolean drop_ids(GError **error) {
        if (geteuid() == 0 || getuid() == 0) {
                if (setgroups(0, NULL))
                        return fail(error, "cannot give up the groups (is CAP_SETGID missing?)", errno);
                if (setresgid(BH_SANDBOX_ID, BH_SANDBOX_ID, BH_SANDBOX_ID))
                        return fail(error, "cannot become group 65534 (is CAP_SETGID missing?)", errno);
                if (setresuid(BH_SANDBOX_ID, BH_SANDBOX_ID, BH_SANDBOX_ID))
                        return fail(error, "cannot become user 65534 (is CAP_SETUID missing?)", errno);
                if (getgroups(0, NULL) != 0)
                        return fail(error, "groups are left after they were given up", EPERM);
        }

        uid_t r, e, s;
        gid_t gr, ge, gs;
        if (getresuid(&r, &e, &s) || getresgid(&gr, &ge, &gs) || r == 0 || r != e || e != s || gr == 0 || gr != ge || ge != gs)
                return fail(error, "the process still has a user or group that it can change to", EPERM);
        return TRUE;
}

static gboolean drop_capabilities(GError **error) {
        cap_t none = cap_init(), now;

        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        gboolean set = none && cap_set_proc(none) == 0;
        now = cap_get_proc();
        gboolean ok = set && now && cap_compare(now, none) == 0;
        cap_free(none);
        cap_free(now);
        return ok ? TRUE : fail(error, "cannot give up the capabilities", EPERM);
}

/* Our own declarations: the build machine's headers may be older than the kernel. */
struct landlock_ruleset {
        guint64 fs, net, scoped; /* ABI 1, 4, 6 */
};

/* A ruleset that handles everything and allows nothing. FALSE where the kernel has no Landlock. */
static gboolean landlock(void) {
        static const struct {
                int abi;
                struct landlock_ruleset all;
        } versions[] = {
                { 6, { 0xffff, 3, 3 } },  /* scopes: abstract sockets, signals */
                { 5, { 0xffff, 3, 0 } },  /* ioctl of devices */
                { 4, { 0x7fff, 3, 0 } },  /* TCP bind, connect */
                { 3, { 0x7fff, 0, 0 } },  /* truncate */
                { 2, { 0x3fff, 0, 0 } },  /* link and rename across directories */
                { 1, { 0x1fff, 0, 0 } },
        };
        long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1u /* version */);

        for (gsize i = 0; i < G_N_ELEMENTS(versions); i++) {
                if (abi < versions[i].abi)
                        continue;
                gsize size = versions[i].abi >= 6 ? 24 : versions[i].abi >= 4 ? 16 : 8;
                g_auto(BhFd) rules = (int) syscall(SYS_landlock_create_ruleset, &versions[i].all, size, 0u);

                if (rules < 0 || syscall(SYS_landlock_restrict_self, rules, 0u))
                        return FALSE;
                g_auto(BhFd) root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                return root < 0 && errno == EACCES;
        }
        return FALSE;
}

/* So that not even a new program could have one again; harmless where it is not allowed. */
static void drop_bounding_set(void) {
        for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
                prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
}

static guint32 own_namespaces(int user) {
        if (unshare(user | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWNS | CLONE_NEWUTS))
                return 0;
        return BH_INSPECT_NAMESPACES | (empty_root() && root_is_empty() ? BH_INSPECT_EMPTY_ROOT : 0);
}

gboolean bh_sandbox_confine(guint32 *layers, GError **error) {
        pid_t parent = getppid();
        guint32 spaces = own_namespaces(0);

        drop_bounding_set();
        if (!drop_ids(error))
                return FALSE;
        *layers |= BH_INSPECT_UNPRIVILEGED;
        /*
         * Without the right to have namespaces, a user namespace may give it; its capabilities go below. Only now: in one that maps no ids
         * root looks like nobody, and could not be given up any more.
         */
        if (!spaces && (spaces = own_namespaces(CLONE_NEWUSER)))
                drop_bounding_set();
        *layers |= spaces;
        if (!drop_capabilities(error))
                return FALSE;
        *layers |= BH_INSPECT_NO_CAPABILITIES;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
                return fail(error, "cannot set no_new_privs", errno);
        *layers |= BH_INSPECT_NO_NEW_PRIVS;
        /* Changing ids clears this, so it comes after. The parent may have ended before it. */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) || getppid() != parent)
                return fail(error, "the process that started this one is gone", ESRCH);
        if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
                return fail(error, "cannot forbid others to trace this process", errno);
        if (landlock())
                *layers |= BH_INSPECT_LANDLOCK;
        return TRUE;
}

/* ---- seal */

static int allow(scmp_filter_ctx f, int call) {
        return seccomp_rule_add(f, SCMP_ACT_ALLOW, call, 0);
}

static int allow_on(scmp_filter_ctx f, int call, int fd) {
        return seccomp_rule_add(f, SCMP_ACT_ALLOW, call, 1, SCMP_A0_32(SCMP_CMP_EQ, (guint32) fd));
}

static int build(scmp_filter_ctx f, int fd, gboolean web) {
        /* what the C library's and GLib's memory and mutexes need in one thread; nothing here takes a path, a process or an address */
        static const int calls[] = {
                SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(futex), SCMP_SYS(close), SCMP_SYS(exit_group),
                SCMP_SYS(rt_sigreturn),
        };
        const guint64 data = PROT_READ | PROT_WRITE;
        int problem = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

        for (gsize i = 0; i < G_N_ELEMENTS(calls) && !problem; i++)
                problem = allow(f, calls[i]);
        /* memory that can be executed is never to be had */
        if (!problem)
                problem = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2_64(SCMP_CMP_MASKED_EQ, ~data, 0));
        if (!problem)
                problem = allow_on(f, SCMP_SYS(recvmsg), fd);
        /* the web-attack engine: its XML parser asks for the directory, and learns that it is in "/"; it measures what it uses, of this process alone, and no other clock */
        if (!problem && web)
                problem = allow(f, SCMP_SYS(getcwd));
        if (!problem && web)
                problem = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clock_gettime), 1, SCMP_A0_32(SCMP_CMP_EQ, CLOCK_PROCESS_CPUTIME_ID));
        /* not sendmsg: it could hand descriptors to the sensor */
        if (!problem)
                problem = allow_on(f, SCMP_SYS(write), fd);
        return problem;
}

gboolean bh_sandbox_seal(int fd, gboolean web, guint32 *layers, GError **error) {
        if (SANITIZER)
                return TRUE;

        scmp_filter_ctx f = seccomp_init(SCMP_ACT_KILL_PROCESS);
        if (!f)
                return fail(error, "cannot begin the system-call filter", ENOMEM);
        int problem = build(f, fd, web);
        if (!problem)
                problem = seccomp_load(f);
        seccomp_release(f);
        if (problem)
                return fail(error, "cannot load the system-call filter", -problem);
        *layers |= BH_INSPECT_SECCOMP;
        return TRUE;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Acts: exec, fork, exit, namespaces, directories, standard streams, names, seccomp. */
#include "acts.h"

#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* ---- exec ---- */

enum { EXECVE, EXECVEAT, EXECVEAT_DIRFD, EMPTY_PATH, MEMFD, FEXECVE, SCRIPT, THREAD, LONG_ARGV, MANY_ARGV, HOSTILE_ARGV, EMPTY_ARGV0, FORGED_ARGV0, NO_ARGV,
       LONG_PATH, SYMLINK, RENAMED, DELETED, HOSTILE_NAME, LONG_ENV, ENOENT_, EACCES_, ENOEXEC_, INT80_EXEC, SPAWN };

static struct {
        long mode;
        const char *path;
        int fd;
        char **argv, **envp;
} ex;

static void note_exec_failure(void) {
        act_shared()->ret = -1;
        act_shared()->err = errno;
        _exit(127);
}

static void *exec_thread(void *arg) {
        act_shared()->tid = (pid_t) syscall(SYS_gettid);
        SYSC(SYS_execve, ex.path, ex.argv, ex.envp);
        note_exec_failure();
        return NULL;
}

static void exec_child(void *arg) {
        pthread_t t;

        act_shared()->done = 1; /* on success nobody comes back: ret stays 0 */
        switch (ex.mode) {
        case EXECVEAT: SYSC(SYS_execveat, AT_FDCWD, ex.path, ex.argv, ex.envp, 0); break;
        case EXECVEAT_DIRFD: SYSC(SYS_execveat, ex.fd, "prog", ex.argv, ex.envp, 0); break;
        case EMPTY_PATH:
        case MEMFD:
        case DELETED: SYSC(SYS_execveat, ex.fd, "", ex.argv, ex.envp, AT_EMPTY_PATH); break;
        case FEXECVE: fexecve(ex.fd, ex.argv, ex.envp); break;
        case THREAD:
                if (!pthread_create(&t, NULL, exec_thread, NULL))
                        pthread_join(t, NULL);
                break;
        case NO_ARGV: SYSC(SYS_execve, ex.path, NULL, ex.envp); break;
        case INT80_EXEC: {
                uint32_t list[8] = { 0 };
                for (size_t i = 0; ex.argv[i] && i < 7; i++)
                        list[i] = (uint32_t) (uintptr_t) act_low(ex.argv[i], strlen(ex.argv[i]));
                uint32_t none = 0;
                INT80(11 /* execve */, act_low(ex.path, strlen(ex.path)), act_low(list, sizeof list), act_low(&none, sizeof none));
                break;
        }
        default: SYSC(SYS_execve, ex.path, ex.argv, ex.envp);
        }
        note_exec_failure();
}

static char *filled(size_t n, char c) {
        char *p = malloc(n + 1);

        if (!p)
                abort();
        memset(p, c, n);
        p[n] = 0;
        return p;
}

static void run_exec(const struct act *a) {
        static char *plain[] = { (char *) "acts", (char *) "true", (char *) "plain", NULL }, *few_env[] = { (char *) "ACTS_ENV=one", (char *) "LANG=C", NULL };
        static char *hostile[] = { (char *) "acts", (char *) "true", (char *) "double\"quote", (char *) "single'quote", (char *) "new\nline", (char *) "tab\tcr\r\x1b[31m\x01\x7f",
                                   (char *) "invalid\xff\xfe\xc3(", (char *) "caf\xc3\xa9 \xf0\x9f\x9a\xa2", (char *) "back\\slash \\xff", (char *) "", NULL };
        static char *empty0[] = { (char *) "", (char *) "true", NULL }, *forged0[] = { (char *) "/usr/sbin/nginx: worker process", (char *) "true", NULL }, *none[] = { NULL };
        static char *long_argv[] = { (char *) "acts", (char *) "true", NULL, (char *) "last", NULL }, *long_env[] = { (char *) "ACTS_ENV=one", NULL, (char *) "LAST=1", NULL };
        static char path[PATH_MAX];
        const char *prog = act_path("prog"), *base;
        char id[32];

        snprintf(id, sizeof id, "exec-%ld", env.seq);
        plain[2] = id;
        ex.mode = a->arg;
        ex.path = prog;
        ex.argv = plain;
        ex.envp = few_env;
        ex.fd = -1;
        if (ex.mode != ENOENT_ && ex.mode != LONG_PATH && ex.mode != ENOEXEC_)
                act_copy_self(AT_FDCWD, prog);
        switch (ex.mode) {
        case EXECVEAT_DIRFD: ex.fd = open(env.dir, O_PATH | O_DIRECTORY | O_CLOEXEC); break;
        case EMPTY_PATH:
        case FEXECVE: ex.fd = open(prog, O_PATH | O_CLOEXEC); break;
        case DELETED:
                ex.fd = open(prog, O_PATH | O_CLOEXEC);
                unlink(prog);
                break;
        case MEMFD: {
                ex.fd = (int) SYSC(SYS_memfd_create, "acts-payload", MFD_CLOEXEC);
                char link[32];
                snprintf(link, sizeof link, "/proc/self/fd/%d", ex.fd);
                int in = open(prog, O_RDONLY | O_CLOEXEC);
                static char buf[65536];
                for (ssize_t n; ex.fd >= 0 && (n = read(in, buf, sizeof buf)) > 0;)
                        if (write(ex.fd, buf, (size_t) n) != n)
                                act_unsupported("cannot fill a memfd");
                close(in);
                char *stay = getenv("ACTS_STAY"); /* seconds that what runs from memory stays, for those who must catch it there */
                if (stay) {
                        plain[1] = (char *) "sleep";
                        plain[2] = stay;
                }
                break;
        }
        case SCRIPT: {
                char text[PATH_MAX + 16];
                snprintf(text, sizeof text, "#!%s true\n", prog);
                ex.path = act_file("script", text);
                chmod(ex.path, 0755);
                act_str("interpreter", prog);
                break;
        }
        case LONG_ARGV:
                long_argv[2] = filled(100 * 1024, 'L');
                ex.argv = long_argv;
                break;
        case MANY_ARGV: {
                char **list = calloc(4003, sizeof *list);
                list[0] = plain[0];
                list[1] = plain[1];
                for (int i = 2; i < 4002; i++) {
                        list[i] = malloc(16);
                        snprintf(list[i], 16, "arg-%d", i);
                }
                ex.argv = list;
                break;
        }
        case LONG_ENV:
                long_env[1] = filled(60 * 1024, 'E');
                memcpy(long_env[1], "LONG=", 5);
                ex.envp = long_env;
                break;
        case HOSTILE_ARGV: ex.argv = hostile; break;
        case EMPTY_ARGV0: ex.argv = empty0; break;
        case FORGED_ARGV0: ex.argv = forged0; break;
        case NO_ARGV: ex.argv = none; break;
        case LONG_PATH: {
                int at = act_deep(PATH_MAX - 1, path, &base);
                act_copy_self(at, base);
                ex.path = path;
                break;
        }
        case SYMLINK:
                ex.path = act_path("link");
                if (symlink(prog, ex.path) < 0)
                        act_unsupported("symlink");
                break;
        case RENAMED:
                ex.path = act_path("sshd");
                if (rename(prog, ex.path) < 0)
                        act_unsupported("rename");
                break;
        case HOSTILE_NAME:
                ex.path = act_path("pro\"g'\n\x1b[1m\xff\xfe");
                if (rename(prog, ex.path) < 0)
                        act_unsupported("rename");
                break;
        case EACCES_:
                chmod(prog, 0644);
                break;
        case ENOEXEC_:
                ex.path = act_file("junk", "\x7f" "ELFjunk");
                chmod(ex.path, 0755);
                break;
        case INT80_EXEC:
                act_low("", 0); /* ends the act here where int 0x80 does not work */
                ex.envp = none;
                break;
        default: break;
        }
        int status = -1;
        if (ex.mode == SPAWN) {
                pid_t pid = 0;
                int e = posix_spawn(&pid, ex.path, NULL, NULL, ex.argv, ex.envp);
                act_shared()->pid = pid;
                act_shared()->done = e == 0;
                errno = e;
                status = e ? -1 : act_wait(pid);
        } else {
                status = act_child(exec_child, NULL, NULL);
        }
        act_from_child();
        act_str("arg", ex.path);
        if (ex.fd >= 0 && ex.mode != EXECVEAT_DIRFD) {
                act_fd_facts(ex.fd);
        } else {
                char *real = realpath(ex.path, NULL);
                act_path_facts(real ? real : ex.path);
        }
        act_strs("argv", ex.argv);
        act_strs("envp", ex.envp);
        act_int("status", status);
        act_end();
}

/* The same process executes twice: two events, one pid. "acts again" is what executes "acts true again". */
static void run_exec_twice(const struct act *a) {
        pid_t pid = act_fork();

        if (pid == 0) {
                execl("/proc/self/exe", "acts", "again", NULL);
                _exit(127);
        }
        int status = act_wait(pid);
        for (int i = 0; i < 2; i++) {
                if (i)
                        act_next();
                act_who(pid, pid);
                act_ret(status ? -1 : 0);
                act_path_facts(env.self);
                act_raw("argv", i ? "[\"acts\",\"true\",\"again\"]" : "[\"acts\",\"again\"]");
                act_end();
        }
}

/* ---- fork ---- */

enum { FORK, VFORK, CLONE, CLONE3, CLONE_NS, CLONE3_NS, CLONE_PARENT_, CLONE_THREAD_, CLONE3_TID, CLONE3_CGROUP };

static void *nothing(void *arg) {
        act_shared()->tid = (pid_t) syscall(SYS_gettid);
        return NULL;
}

static void run_fork(const struct act *a) {
        struct clone_args args = { .exit_signal = SIGCHLD };
        volatile uint64_t flags = 0; /* volatile: vfork returns twice */
        pid_t pid = -1;
        pthread_t t;
        int e = 0;

        switch (a->arg) {
        case FORK: pid = (pid_t) SYSC(SYS_fork); break;
        case VFORK: pid = vfork(); break;
        case CLONE: pid = (pid_t) SYSC(SYS_clone, SIGCHLD); break;
        case CLONE_PARENT_:
                flags = CLONE_PARENT;
                pid = (pid_t) SYSC(SYS_clone, flags | SIGCHLD);
                break;
        case CLONE_NS:
                flags = CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET;
                pid = (pid_t) SYSC(SYS_clone, flags | SIGCHLD);
                break;
        case CLONE3_NS: flags = CLONE_NEWUSER | CLONE_NEWPID; __attribute__((fallthrough));
        case CLONE3:
                args.flags = flags;
                pid = (pid_t) SYSC(SYS_clone3, &args, sizeof args);
                break;
        case CLONE3_CGROUP:
                args.flags = flags = CLONE_INTO_CGROUP;
                args.cgroup = (uint64_t) open(env.cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC);
                pid = (pid_t) SYSC(SYS_clone3, &args, sizeof args);
                break;
        case CLONE_THREAD_:
                e = pthread_create(&t, NULL, nothing, NULL);
                if (!e)
                        pthread_join(t, NULL);
                act_ret_err(e ? -1 : 0, e);
                act_int("thread", act_shared()->tid);
                act_end();
                return;
        default: break;
        }
        if (pid == 0)
                _exit(0);
        e = errno;
        if (pid > 0 && a->arg != CLONE_PARENT_)
                act_wait(pid);
        act_ret_err(pid, e);
        act_int("child_pid", pid);
        act_int("clone_flags", (long long) flags);
        act_end();
}

/* ---- exit ---- */

enum { STATUS7, SIGKILLED, SIGSEGVED, FROM_THREAD, LEADER_FIRST, RAW_EXIT, CORE };

static void *exit_from_thread(void *arg) {
        act_shared()->tid = (pid_t) syscall(SYS_gettid);
        SYSC(SYS_exit_group, 11);
        return NULL;
}

static void *outlive_leader(void *arg) {
        char state[256];

        act_shared()->tid = (pid_t) syscall(SYS_gettid);
        for (int i = 0; i < 2000; i++) { /* until the leader is a zombie */
                int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
                ssize_t n = fd < 0 ? -1 : read(fd, state, sizeof state - 1);
                close(fd);
                state[n > 0 ? n : 0] = 0;
                if (strstr(state, ") Z "))
                        break;
                usleep(1000);
        }
        act_shared()->x[0] = 1;
        SYSC(SYS_exit, 12); /* last thread */
        return NULL;
}

static void exit_child(void *arg) {
        pthread_t t;

        act_shared()->done = 1;
        switch ((long) (intptr_t) arg) {
        case STATUS7: SYSC(SYS_exit_group, 7); break;
        case RAW_EXIT: SYSC(SYS_exit, 9); break;
        case SIGKILLED:
                for (;;)
                        pause();
        case SIGSEGVED: SYSC(SYS_kill, getpid(), SIGSEGV); break;
        case FROM_THREAD:
                pthread_create(&t, NULL, exit_from_thread, NULL);
                pthread_join(t, NULL);
                break;
        case LEADER_FIRST:
                pthread_create(&t, NULL, outlive_leader, NULL);
                SYSC(SYS_exit, 5);
        }
}

static void run_exit(const struct act *a) {
        pid_t pid = act_fork();

        if (pid == 0) {
                exit_child((void *) (intptr_t) a->arg);
                _exit(99);
        }
        if (a->arg == SIGKILLED) {
                while (!act_shared()->done)
                        usleep(100);
                kill(pid, SIGKILL);
        }
        int status = act_wait(pid);
        act_ret(0);
        act_who(pid, act_shared()->tid ? act_shared()->tid : pid);
        act_int("exit_status", status);
        act_int("exit_code", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
        act_int("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
        act_end();
}

/* ---- namespaces and roots ---- */

enum { OWN_NS, OTHER_NS, PIDFD_NS };

static const struct { int flag; const char *name; } spaces[] = { { CLONE_NEWNS, "mnt" }, { CLONE_NEWUTS, "uts" }, { CLONE_NEWIPC, "ipc" }, { CLONE_NEWUSER, "user" },
        { CLONE_NEWPID, "pid" }, { CLONE_NEWNET, "net" }, { CLONE_NEWCGROUP, "cgroup" }, { CLONE_NEWTIME, "time" } };

static void ns_facts(long flags) {
        char link[64], text[64], key[32];

        act_int("ns_flags", flags);
        for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
                if (!(flags & spaces[i].flag))
                        continue;
                bool child = spaces[i].flag == CLONE_NEWPID || spaces[i].flag == CLONE_NEWTIME;
                snprintf(link, sizeof link, "/proc/self/ns/%s%s", spaces[i].name, child ? "_for_children" : "");
                ssize_t n = readlink(link, text, sizeof text - 1);
                text[n > 0 ? n : 0] = 0;
                snprintf(key, sizeof key, "ns_%s", spaces[i].name);
                char *open_bracket = strchr(text, '[');
                act_int(key, open_bracket ? atoll(open_bracket + 1) : 0);
        }
}

/* arg: the namespace's clone flag; its own namespace by /proc/self/ns, which the kernel allows for all but user. */
static void run_setns(const struct act *a) {
        char path[64];

        for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++)
                if (spaces[i].flag == a->arg)
                        snprintf(path, sizeof path, "/proc/self/ns/%s", spaces[i].name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                act_unsupported("no %s", path);
        act_ret(SYSC(SYS_setns, fd, a->arg));
        act_int("fd", fd);
        ns_facts(a->arg);
        act_end();
}

static void run_setns_other(const struct act *a) {
        int up[2], down[2];
        char c, path[64];

        if (pipe2(up, O_CLOEXEC) < 0 || pipe2(down, O_CLOEXEC) < 0)
                act_unsupported("cannot make a pipe");
        pid_t pid = act_fork();
        if (pid == 0) {
                close(down[1]);
                c = unshare(CLONE_NEWUTS | CLONE_NEWNET) == 0;
                if (write(up[1], &c, 1) == 1 && read(down[0], &c, 1) >= 0)
                        _exit(0);
                _exit(1);
        }
        close(down[0]);
        if (read(up[0], &c, 1) != 1 || !c) {
                errno = EPERM;
                act_unsupported("cannot make namespaces to join");
        }
        long flags = CLONE_NEWNET;
        int fd;
        if (a->arg == PIDFD_NS) {
                flags = CLONE_NEWNET | CLONE_NEWUTS;
                fd = (int) SYSC(SYS_pidfd_open, pid, 0);
        } else {
                snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
                fd = open(path, O_RDONLY | O_CLOEXEC);
        }
        act_ret(SYSC(SYS_setns, fd, flags));
        close(down[1]);
        act_wait(pid);
        act_int("target_pid", pid);
        act_int("fd", fd);
        ns_facts(flags);
        act_end();
}

static void run_unshare(const struct act *a) {
        act_ret(SYSC(SYS_unshare, a->arg));
        ns_facts(a->arg);
        act_end();
}

enum { CHROOT, CHDIR, FCHDIR, CHDIR_REL };

static void run_dir(const struct act *a) {
        const char *dir = act_path("inner dir");

        if (mkdir(dir, 0755) < 0)
                act_unsupported("mkdir");
        int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        act_path_facts(dir);
        switch (a->arg) {
        case CHROOT: act_ret(SYSC(SYS_chroot, dir)); break;
        case CHDIR: act_ret(SYSC(SYS_chdir, dir)); break;
        case CHDIR_REL:
                if (chdir(env.dir) < 0)
                        act_unsupported("chdir");
                act_ret(SYSC(SYS_chdir, "inner dir"));
                break;
        case FCHDIR:
                act_ret(SYSC(SYS_fchdir, fd));
                act_int("fd", fd);
                break;
        default: break;
        }
        act_end();
}

/* ---- standard streams ---- */

enum { DUP2, DUP3, DUP, F_DUPFD_, F_DUPFD_CLOEXEC_, DUP2_HIGH };

/* arg: variant | target << 8 | socket << 16 */
static void run_dup(const struct act *a) {
        int pair[2] = { -1, -1 }, target = a->arg >> 8 & 0xff, fd;
        bool is_socket = a->arg >> 16;

        if (is_socket ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 : (pair[0] = open(act_file("stream", ""), O_RDWR | O_CLOEXEC)) < 0)
                act_unsupported("cannot make the descriptor");
        fd = fcntl(pair[0], F_DUPFD_CLOEXEC, 50); /* well away from the target */
        close(pair[0]);
        long r = -1;
        switch (a->arg & 0xff) {
        case DUP2: r = SYSC(SYS_dup2, fd, target); break;
        case DUP2_HIGH: r = SYSC(SYS_dup2, fd, target); break;
        case DUP3: r = SYSC(SYS_dup3, fd, target, O_CLOEXEC); break;
        case DUP:
                for (int i = 0; i < target; i++) /* dup gives the lowest: all below must be open */
                        if (fcntl(i, F_GETFD) < 0 && open("/", O_PATH) != i)
                                act_unsupported("cannot fill descriptor %d", i);
                close(target);
                r = SYSC(SYS_dup, fd);
                break;
        case F_DUPFD_:
                close(target);
                r = SYSC(SYS_fcntl, fd, F_DUPFD, target);
                break;
        case F_DUPFD_CLOEXEC_:
                close(target);
                r = SYSC(SYS_fcntl, fd, F_DUPFD_CLOEXEC, target);
                break;
        default: break;
        }
        act_ret(r);
        act_int("old_fd", fd);
        act_int("new_fd", r);
        act_bool("socket", is_socket);
        act_fd_facts(fd);
        act_end();
}

/* ---- names, seccomp ---- */

enum { SET_NAME, WRITE_COMM };

static void run_name(const struct act *a) {
        char name[16];

        snprintf(name, sizeof name, "act%c\x1b%ld", '"', env.seq);
        act_str("name", name);
        if (a->arg == SET_NAME) {
                act_ret(SYSC(SYS_prctl, PR_SET_NAME, name));
        } else {
                int fd = open("/proc/self/comm", O_WRONLY | O_CLOEXEC);
                if (fd < 0)
                        act_unsupported("no /proc/self/comm");
                act_ret(SYSC(SYS_write, fd, name, strlen(name)));
        }
        act_end();
}

enum { PRCTL_STRICT, PRCTL_FILTER, SECCOMP_FILTER, SECCOMP_STRICT, SECCOMP_TSYNC };

static void seccomp_child(void *arg) {
        struct sock_filter allow[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
        struct sock_fprog prog = { 1, allow };
        struct act_shared *s = act_shared();
        long r = -1;

        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        switch ((long) (intptr_t) arg) {
        case PRCTL_STRICT: r = SYSC(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_STRICT); break;
        case SECCOMP_STRICT: r = SYSC(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL); break;
        case PRCTL_FILTER: r = SYSC(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog); break;
        case SECCOMP_FILTER: r = SYSC(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog); break;
        case SECCOMP_TSYNC: r = SYSC(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog); break;
        default: break;
        }
        s->ret = r;
        s->err = errno;
        s->done = 1;
        SYSC(SYS_exit, 0); /* all that strict mode leaves */
}

static void run_seccomp(const struct act *a) {
        bool strict = a->arg == PRCTL_STRICT || a->arg == SECCOMP_STRICT;

        act_int("status", act_child(seccomp_child, (void *) (intptr_t) a->arg, NULL));
        act_from_child();
        act_int("operation", strict ? SECCOMP_SET_MODE_STRICT : SECCOMP_SET_MODE_FILTER);
        act_end();
}

#define DUPS(form, syscall, variant, target, sock) { "dup", form, "dup_stdio", syscall, run_dup, (variant) | (target) << 8 | (sock) << 16, 0 }

const struct act acts_process[] = {
        { "exec", "execve", "exec", "execve", run_exec, EXECVE, 0 },
        { "exec", "execveat", "exec", "execveat", run_exec, EXECVEAT, 0 },
        { "exec", "execveat_dirfd", "exec", "execveat", run_exec, EXECVEAT_DIRFD, 0 },
        { "exec", "execveat_empty_path", "exec", "execveat", run_exec, EMPTY_PATH, 0 },
        { "exec", "execveat_memfd", "exec", "execveat", run_exec, MEMFD, 0 },
        { "exec", "fexecve", "exec", "execveat", run_exec, FEXECVE, 0 },
        { "exec", "deleted", "exec", "execveat", run_exec, DELETED, 0 },
        { "exec", "script", "exec", "execve", run_exec, SCRIPT, 0 },
        { "exec", "thread", "exec", "execve", run_exec, THREAD, 0 },
        { "exec", "argv_100k", "exec", "execve", run_exec, LONG_ARGV, 0 },
        { "exec", "argv_many", "exec", "execve", run_exec, MANY_ARGV, 0 },
        { "exec", "argv_hostile", "exec", "execve", run_exec, HOSTILE_ARGV, 0 },
        { "exec", "argv0_empty", "exec", "execve", run_exec, EMPTY_ARGV0, 0 },
        { "exec", "argv0_forged", "exec", "execve", run_exec, FORGED_ARGV0, 0 },
        { "exec", "argv_none", "exec", "execve", run_exec, NO_ARGV, 0 },
        { "exec", "env_60k", "exec", "execve", run_exec, LONG_ENV, 0 },
        { "exec", "path_4095", "exec", "execve", run_exec, LONG_PATH, 0 },
        { "exec", "symlink", "exec", "execve", run_exec, SYMLINK, 0 },
        { "exec", "renamed", "exec", "execve", run_exec, RENAMED, 0 },
        { "exec", "name_hostile", "exec", "execve", run_exec, HOSTILE_NAME, 0 },
        { "exec", "posix_spawn", "exec", "execve", run_exec, SPAWN, 0 },
        { "exec", "enoent", "exec", "execve", run_exec, ENOENT_, ACT_QUIET },
        { "exec", "eacces", "exec", "execve", run_exec, EACCES_, ACT_QUIET },
        { "exec", "enoexec", "exec", "execve", run_exec, ENOEXEC_, ACT_QUIET },
        { "exec", "int80", "exec", "execve", run_exec, INT80_EXEC, ACT_X86_64 | ACT_INT80 },
        { "exec", "twice", "exec", "execve", run_exec_twice, 0, 0 },

        { "fork", "fork", "fork", "fork", run_fork, FORK, 0 },
        { "fork", "vfork", "fork", "vfork", run_fork, VFORK, 0 },
        { "fork", "clone", "fork", "clone", run_fork, CLONE, 0 },
        { "fork", "clone3", "fork", "clone3", run_fork, CLONE3, 0 },
        { "fork", "clone_parent", "fork", "clone", run_fork, CLONE_PARENT_, 0 },
        { "fork", "clone_ns", "fork", "clone", run_fork, CLONE_NS, 0 },
        { "fork", "clone3_userns", "fork", "clone3", run_fork, CLONE3_NS, 0 },
        { "fork", "clone3_cgroup", "fork", "clone3", run_fork, CLONE3_CGROUP, ACT_CGROUP },
        { "fork", "thread", "fork", "clone3", run_fork, CLONE_THREAD_, ACT_QUIET },

        { "exit", "status", "exit", "exit_group", run_exit, STATUS7, 0 },
        { "exit", "raw_exit", "exit", "exit", run_exit, RAW_EXIT, 0 },
        { "exit", "sigkill", "exit", "kill", run_exit, SIGKILLED, 0 },
        { "exit", "sigsegv", "exit", "kill", run_exit, SIGSEGVED, 0 },
        { "exit", "group_from_thread", "exit", "exit_group", run_exit, FROM_THREAD, 0 },
        { "exit", "leader_first", "exit", "exit", run_exit, LEADER_FIRST, 0 },

        { "setns", "net", "setns", "setns", run_setns, CLONE_NEWNET, 0 },
        { "setns", "mnt", "setns", "setns", run_setns, CLONE_NEWNS, 0 },
        { "setns", "uts", "setns", "setns", run_setns, CLONE_NEWUTS, 0 },
        { "setns", "ipc", "setns", "setns", run_setns, CLONE_NEWIPC, 0 },
        { "setns", "pid", "setns", "setns", run_setns, CLONE_NEWPID, 0 },
        { "setns", "cgroup", "setns", "setns", run_setns, CLONE_NEWCGROUP, 0 },
        { "setns", "user_refused", "setns", "setns", run_setns, CLONE_NEWUSER, 0 },
        { "setns", "other_net", "setns", "setns", run_setns_other, OTHER_NS, 0 },
        { "setns", "pidfd", "setns", "setns", run_setns_other, PIDFD_NS, 0 },
        { "unshare", "mnt", "unshare", "unshare", run_unshare, CLONE_NEWNS, 0 },
        { "unshare", "uts", "unshare", "unshare", run_unshare, CLONE_NEWUTS, 0 },
        { "unshare", "ipc", "unshare", "unshare", run_unshare, CLONE_NEWIPC, 0 },
        { "unshare", "user", "unshare", "unshare", run_unshare, CLONE_NEWUSER, 0 },
        { "unshare", "pid", "unshare", "unshare", run_unshare, CLONE_NEWPID, 0 },
        { "unshare", "net", "unshare", "unshare", run_unshare, CLONE_NEWNET, 0 },
        { "unshare", "cgroup", "unshare", "unshare", run_unshare, CLONE_NEWCGROUP, 0 },
        { "unshare", "time", "unshare", "unshare", run_unshare, CLONE_NEWTIME, 0 },
        { "unshare", "user_net_mnt", "unshare", "unshare", run_unshare, CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS, 0 },

        { "chroot", "chroot", "chroot", "chroot", run_dir, CHROOT, 0 },
        { "chdir", "chdir", "chdir", "chdir", run_dir, CHDIR, 0 },
        { "chdir", "relative", "chdir", "chdir", run_dir, CHDIR_REL, 0 },
        { "chdir", "fchdir", "chdir", "fchdir", run_dir, FCHDIR, 0 },

        DUPS("dup2", "dup2", DUP2, 0, 0),
        DUPS("dup2_socket_0", "dup2", DUP2, 0, 1),
        DUPS("dup2_socket_1", "dup2", DUP2, 1, 1),
        DUPS("dup2_socket_2", "dup2", DUP2, 2, 1),
        DUPS("dup3_socket_1", "dup3", DUP3, 1, 1),
        DUPS("dup_0", "dup", DUP, 0, 1),
        DUPS("dup_1", "dup", DUP, 1, 1),
        DUPS("dup_2", "dup", DUP, 2, 1),
        DUPS("fcntl", "fcntl", F_DUPFD_, 0, 1),
        DUPS("fcntl_cloexec", "fcntl", F_DUPFD_CLOEXEC_, 0, 1),
        { "dup", "not_standard", "dup_stdio", "dup2", run_dup, DUP2_HIGH | 60 << 8 | 1 << 16, ACT_QUIET },

        { "comm", "prctl", "comm", "prctl", run_name, SET_NAME, 0 },
        { "comm", "proc_comm", "comm", "write", run_name, WRITE_COMM, 0 },
        { "seccomp", "prctl_strict", "seccomp", "prctl", run_seccomp, PRCTL_STRICT, 0 },
        { "seccomp", "prctl_filter", "seccomp", "prctl", run_seccomp, PRCTL_FILTER, 0 },
        { "seccomp", "seccomp_filter", "seccomp", "seccomp", run_seccomp, SECCOMP_FILTER, 0 },
        { "seccomp", "seccomp_strict", "seccomp", "seccomp", run_seccomp, SECCOMP_STRICT, 0 },
        { "seccomp", "seccomp_tsync", "seccomp", "seccomp", run_seccomp, SECCOMP_TSYNC, 0 },
        { NULL, NULL, NULL, NULL, NULL, 0, 0 },
};

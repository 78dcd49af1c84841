/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acts steps, acts driver, acts pidreuse: numbered acts that a test matches one to one with what the sensor recorded.
 *
 * Step N is: exec of this program with argv "acts true step-N"; connect to 127.0.0.1, port given or 20000 + N % 20000; chmod of a new file
 * "step-N"; setuid(100000 + N) in a child; delete_module("bh_step_N"). Each line says what was done, after it was done.
 */
#include "acts.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

static volatile sig_atomic_t stopped;

static void on_stop(int sig) {
        stopped = 1;
}

static long long clock_ns(clockid_t clock) {
        struct timespec t;

        clock_gettime(clock, &t);
        return (long long) t.tv_sec * 1000000000LL + t.tv_nsec;
}

struct step {
        const char *dir;
        int out;
        int port; /* 0: by number */
        bool failed;
};

/* Tells what has just been done, in one write(2). */
static void tell(struct step *s, long n, const char *act, pid_t pid, const char *key, const char *value, long ret, int err) {
        char text[PATH_MAX + 512];
        int len = snprintf(text, sizeof text, "{\"step\":%ld,\"act\":\"%s\",\"pid\":%d,\"%s\":\"%s\",\"ret\":%ld,\"errno\":%s%s%s,\"boottime\":%lld,\"time\":%lld}\n", n, act, pid,
                           key, value, ret, ret < 0 ? "\"" : "", ret < 0 ? strerrorname_np(err) : "null", ret < 0 ? "\"" : "", clock_ns(CLOCK_BOOTTIME),
                           clock_ns(CLOCK_REALTIME));

        if (write(s->out, text, (size_t) len) != len)
                s->failed = true;
}

static void do_step(struct step *s, long n) {
        char id[64], path[PATH_MAX];
        struct act_shared *sh = act_shared();
        pid_t pid, me = getpid();
        int status;

        snprintf(id, sizeof id, "step-%ld", n);
        pid = fork();
        if (pid == 0) {
                execl(env.self, "acts", "true", id, NULL);
                _exit(127);
        }
        status = pid < 0 ? -1 : act_wait(pid);
        tell(s, n, "exec", pid, "arg", id, status ? -1 : 0, ENOEXEC);

        int port = s->port ? s->port : 20000 + (int) (n % 20000), fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t) port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        long r = connect(fd, (struct sockaddr *) &to, sizeof to);
        int e = errno;
        close(fd);
        snprintf(id, sizeof id, "127.0.0.1:%d", port);
        tell(s, n, "connect", me, "addr", id, r, e);

        snprintf(path, sizeof path, "%s/step-%ld", s->dir, n);
        close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        r = chmod(path, 0640);
        e = errno;
        tell(s, n, "chmod", me, "path", path, r, e);
        unlink(path);

        pid = fork();
        if (pid == 0) {
                sh->ret = SYSC(SYS32(setuid), 100000 + n % 1000000);
                sh->err = errno;
                _exit(0);
        }
        if (pid > 0)
                act_wait(pid);
        snprintf(id, sizeof id, "%ld", 100000 + n % 1000000);
        tell(s, n, "setuid", pid, "uid", id, sh->ret, sh->err);

        snprintf(id, sizeof id, "bh_step_%ld", n);
        r = SYSC(SYS_delete_module, id, O_NONBLOCK);
        e = errno;
        tell(s, n, "delete_module", me, "name", id, r, e);
}

static int usage(const char *text) {
        fprintf(stderr, "usage: acts %s\n", text);
        return 2;
}

static int numbered(int argc, char **argv, bool driver) {
        static const struct option options[] = { { "count", 1, NULL, 'c' }, { "interval-ms", 1, NULL, 'i' }, { "first", 1, NULL, 'f' }, { "port", 1, NULL, 'p' },
                                                 { "until", 1, NULL, 'u' }, { "log", 1, NULL, 'l' },         { "dir", 1, NULL, 'd' },   { NULL, 0, NULL, 0 } };
        static char made[] = "/tmp/steps.XXXXXX", made_at_root[] = "/steps.XXXXXX";
        const char *until = NULL, *log = NULL;
        struct sigaction sa = { .sa_handler = on_stop };
        struct step s = { .out = STDOUT_FILENO };
        long count = driver ? LONG_MAX : 1, interval = 0, first = 1;

        for (int o; (o = getopt_long(argc, argv, "", options, NULL)) >= 0;)
                switch (o) {
                case 'c': count = atol(optarg); break;
                case 'i': interval = atol(optarg); break;
                case 'f': first = atol(optarg); break;
                case 'p': s.port = atoi(optarg); break;
                case 'u': until = optarg; break;
                case 'l': log = optarg; break;
                case 'd': s.dir = optarg; break;
                default: return usage(driver ? "driver --log FILE [--until FILE] [--interval-ms M] [--first N] [--dir D]"
                                             : "steps [--count N] [--interval-ms M] [--first N] [--port P] [--log FILE] [--dir D]");
                }
        if (optind < argc || (driver && !log))
                return usage("driver --log FILE [--until FILE] [--interval-ms M] [--first N]");
        if (log && (s.out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) < 0) {
                fprintf(stderr, "acts: %s: %s\n", log, strerror(errno));
                return 1;
        }
        bool mine = !s.dir;
        if (!s.dir && !(s.dir = mkdtemp(made)) && !(s.dir = mkdtemp(made_at_root))) {
                fprintf(stderr, "acts: no directory to work in: %s\n", strerror(errno));
                return 1;
        }
        sigaction(SIGTERM, &sa, NULL);
        sigaction(SIGINT, &sa, NULL);
        for (long i = 0; i < count && !stopped && !s.failed && !(until && access(until, F_OK) == 0); i++) {
                do_step(&s, first + i);
                if (interval && i + 1 < count && !stopped)
                        nanosleep(&(struct timespec){ interval / 1000, interval % 1000 * 1000000 }, NULL);
        }
        if (mine)
                rmdir(s.dir);
        return s.failed;
}

int steps_main(int argc, char **argv) {
        return numbered(argc, argv, false);
}

int driver_main(int argc, char **argv) {
        return numbered(argc, argv, true);
}

/* ---- one pid, two processes ---- */

static void run_true(const char *id) {
        execl(env.self, "acts", "true", id, NULL);
        _exit(127);
}

/* A child with that pid: by clone3, or by telling the kernel what the last pid was. 0 in the child, -1 when it cannot be had. */
static pid_t fork_as(pid_t want, const char **how) {
        pid_t tid = want;
        struct clone_args args = { .exit_signal = SIGCHLD, .set_tid = (uint64_t) (uintptr_t) &tid, .set_tid_size = 1 };

        *how = "clone3";
        pid_t pid = (pid_t) SYSC(SYS_clone3, &args, sizeof args);
        if (pid >= 0 || errno == EEXIST)
                return pid;
        *how = "ns_last_pid";
        for (int i = 0; i < 200; i++) { /* others fork too: the number may be gone in between */
                char text[16];
                int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC), n = snprintf(text, sizeof text, "%d", want - 1);
                if (fd < 0)
                        return -1;
                if (write(fd, text, (size_t) n) != n) {
                        int e = errno;
                        close(fd);
                        errno = e;
                        return -1;
                }
                pid = fork();
                close(fd);
                if (pid == 0 && getpid() != want)
                        _exit(100);
                if (pid == 0 || pid == want)
                        return pid;
                if (pid > 0)
                        act_wait(pid);
        }
        errno = EEXIST;
        return -1;
}

static int reuse(const char *level) {
        const char *how = "fork";
        char id[64];
        pid_t want = 0;

        for (int i = 1; i <= 2; i++) {
                snprintf(id, sizeof id, "incarnation-%d", i);
                pid_t pid = i == 1 ? fork() : fork_as(want, &how);
                if (pid == 0)
                        run_true(id);
                if (pid < 0) {
                        printf("{\"act\":\"pidreuse\",\"level\":\"%s\",\"supported\":false,\"why\":\"%s: %s\"}\n", level, how, strerrorname_np(errno));
                        return 1;
                }
                want = pid;
                int status = act_wait(pid);
                printf("{\"act\":\"pidreuse\",\"level\":\"%s\",\"incarnation\":%d,\"pid\":%d,\"how\":\"%s\",\"argv\":[\"acts\",\"true\",\"%s\"],\"status\":%d,\"boottime\":%lld,\"supported\":true}\n",
                       level, i, pid, how, id, status, clock_ns(CLOCK_BOOTTIME));
        }
        return 0;
}

int pidreuse_main(int argc, char **argv) {
        setvbuf(stdout, NULL, _IOLBF, 0);
        if (reuse("own") == 0)
                return 0;
        /* not allowed here: in a pid namespace of its own the numbers are free to choose (seen from outside the pids then differ) */
        if (unshare(CLONE_NEWPID) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0) {
                printf("{\"act\":\"pidreuse\",\"level\":\"nested\",\"supported\":false,\"why\":\"%s\"}\n", strerrorname_np(errno));
                return 1;
        }
        pid_t init = fork();
        if (init == 0)
                exit(reuse("nested"));
        return act_wait(init) != 0;
}

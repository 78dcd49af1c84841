/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acts flood: as many acts as the processors can make, counted exactly. What a thread counts it has done; the counts are printed as one
 * JSON line when the time is over, the wanted number is reached, or SIGTERM or SIGINT comes. Works as process 1 of a container.
 * "counts" is what the worker threads did (an act that failed counts, and counts among "errors" too); "setup" is what the main thread did
 * before and after with the same kinds of acts, so that a sensor's totals for the process are counts + setup.
 */
#include "acts.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

/* What is counted, in the words of the event types where there is one. */
enum { N_OPEN, N_CLOSE, N_GETPPID, N_FORK, N_EXIT, N_EXEC, N_CONNECT, N_STAT, N_WRITE, N_SEND, N_UNLINK, N_SOCKET, N_CHMOD, N_TALK, N_ERRORS, N_KINDS };
static const char *const count_names[N_KINDS] = { "open", "close", "getppid", "fork", "exit", "exec", "connect", "stat", "write", "send", "unlink", "socket", "chmod", "talk", "errors" };

struct worker {
        pthread_t thread;
        int index;
        void (*step)(struct worker *w);
        int fd;
        char path[PATH_MAX];
        struct sockaddr_in to;
        uint64_t n, counts[N_KINDS];
        int held[256]; /* sockets kept open for a while */
} __attribute__((aligned(128)));

static _Atomic bool stop;
static uint64_t most = UINT64_MAX;
static char top[PATH_MAX - 64];

static void counted(struct worker *w, int kind, bool ok) {
        w->counts[kind]++;
        w->counts[N_ERRORS] += !ok;
}

static void step_open(struct worker *w) {
        int fd = open(w->path, O_RDONLY | O_CLOEXEC);

        counted(w, N_OPEN, fd >= 0);
        counted(w, N_CLOSE, close(fd) == 0);
}

static void step_getppid(struct worker *w) {
        syscall(SYS_getppid);
        w->counts[N_GETPPID]++;
}

static void step_stat(struct worker *w) {
        struct stat st;

        counted(w, N_STAT, stat(w->path, &st) == 0);
}

static void step_write(struct worker *w) {
        counted(w, N_WRITE, pwrite(w->fd, "flood", 5, 0) == 5);
}

/* Over a stream socket: what most writes and receives of a server are. */
static void step_talk(struct worker *w) {
        char text[8];

        if (w->held[0] < 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, w->held))
                w->counts[N_ERRORS]++;
        counted(w, N_TALK, write(w->held[0], "flood", 5) == 5 && recv(w->held[1], text, sizeof text, 0) == 5);
}

static void step_chmod(struct worker *w) {
        counted(w, N_CHMOD, chmod(w->path, w->n & 1 ? 0600 : 0644) == 0);
}

static void step_fork(struct worker *w) {
        pid_t pid = fork();

        if (pid == 0)
                _exit(0);
        if (pid < 0) { /* not an act: the limit of the cgroup or the user */
                w->counts[N_ERRORS]++;
                usleep(1000);
                return;
        }
        w->counts[N_FORK]++;
        act_wait(pid);
        w->counts[N_EXIT]++;
}

static void step_exec(struct worker *w) {
        pid_t pid = vfork();

        if (pid == 0) {
                execl(env.self, "acts", "true", "flood", NULL);
                _exit(127);
        }
        if (pid < 0) {
                w->counts[N_ERRORS]++;
                usleep(1000);
                return;
        }
        w->counts[N_FORK]++;
        counted(w, N_EXEC, act_wait(pid) == 0);
        w->counts[N_EXIT]++;
}

static void step_connect(struct worker *w) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        counted(w, N_SOCKET, fd >= 0);
        counted(w, N_CONNECT, connect(fd, (struct sockaddr *) &w->to, sizeof w->to) < 0 && errno == ECONNREFUSED);
        counted(w, N_CLOSE, close(fd) == 0);
}

static void step_udp(struct worker *w) {
        counted(w, N_SEND, sendto(w->fd, "flood", 5, 0, (struct sockaddr *) &w->to, sizeof w->to) == 5 || errno == ECONNREFUSED);
}

static void step_paths(struct worker *w) {
        char path[PATH_MAX + 64];

        snprintf(path, sizeof path, "%s/p-%d-%llu", top, w->index, (unsigned long long) w->n);
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        counted(w, N_OPEN, fd >= 0);
        counted(w, N_CLOSE, close(fd) == 0);
        counted(w, N_UNLINK, unlink(path) == 0);
}

/* Many sockets, each with a peer of its own, some hundred of them alive at a time. */
static void step_sockets(struct worker *w) {
        struct sockaddr_in to = w->to;
        int *slot = &w->held[w->n % 256];

        if (*slot >= 0)
                counted(w, N_CLOSE, close(*slot) == 0);
        to.sin_addr.s_addr = htonl(0x7f000000u | (uint32_t) (w->n % 0xfffff0 + 1));
        to.sin_port = htons((uint16_t) (1024 + w->n / 0xfffff0));
        *slot = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        counted(w, N_SOCKET, *slot >= 0);
        counted(w, N_CONNECT, connect(*slot, (struct sockaddr *) &to, sizeof to) == 0);
}

static const struct { const char *name; void (*step)(struct worker *); } kinds[] = {
        { "open", step_open }, { "getppid", step_getppid }, { "fork", step_fork },   { "exec", step_exec },   { "connect", step_connect }, { "stat", step_stat },
        { "write", step_write }, { "udp", step_udp },       { "paths", step_paths }, { "sockets", step_sockets }, { "chmod", step_chmod },
        { "talk", step_talk },
};

static void *work(void *arg) {
        struct worker *w = arg;

        while (!stop && w->n < most) {
                w->step(w);
                w->n++;
        }
        for (size_t i = 0; i < sizeof w->held / sizeof *w->held; i++)
                if (w->held[i] >= 0)
                        counted(w, N_CLOSE, close(w->held[i]) == 0);
        return NULL;
}

static int usage(void) {
        fprintf(stderr, "usage: acts flood KIND[,KIND]... [--seconds S] [--threads N] [--max ACTS_PER_THREAD] [--dir D]\nkinds:");
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
                fprintf(stderr, " %s", kinds[i].name);
        fputc('\n', stderr);
        return 2;
}

/* A loopback port that is closed: bound once to learn a free number. */
static struct sockaddr_in closed_port(void) {
        struct sockaddr_in u = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t n = sizeof u;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (bind(fd, (struct sockaddr *) &u, n) < 0 || getsockname(fd, (struct sockaddr *) &u, &n) < 0)
                u.sin_port = htons(9);
        close(fd);
        return u;
}

static double seconds_now(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

int flood_main(int argc, char **argv) {
        static const struct option options[] = { { "seconds", 1, NULL, 's' }, { "threads", 1, NULL, 't' }, { "max", 1, NULL, 'm' }, { "dir", 1, NULL, 'd' }, { NULL, 0, NULL, 0 } };
        static char made[] = "/tmp/flood.XXXXXX", made_at_root[] = "/flood.XXXXXX";
        double seconds = 1e9;
        long threads = 2, udp = 0;
        const char *dir = NULL;
        size_t nkinds = 0;
        void (*steps[16])(struct worker *);
        sigset_t set;

        for (int o; (o = getopt_long(argc, argv, "", options, NULL)) >= 0;)
                switch (o) {
                case 's': seconds = strtod(optarg, NULL); break;
                case 't': threads = atol(optarg); break;
                case 'm': most = strtoull(optarg, NULL, 10); break;
                case 'd': dir = optarg; break;
                default: return usage();
                }
        if (optind + 1 != argc || threads < 1 || threads > 1024)
                return usage();
        char *list = strdup(argv[optind]);
        for (char *save, *k = strtok_r(list, ",", &save); k; k = strtok_r(NULL, ",", &save)) {
                size_t i = 0;
                while (i < sizeof kinds / sizeof *kinds && strcmp(kinds[i].name, k))
                        i++;
                if (i == sizeof kinds / sizeof *kinds || nkinds == 16)
                        return usage();
                steps[nkinds++] = kinds[i].step;
        }
        bool mine = !dir;
        if (!dir && !(dir = mkdtemp(made)))
                dir = mkdtemp(made_at_root);
        if (threads < (long) nkinds)
                threads = (long) nkinds;
        if (!nkinds || !dir) {
                fprintf(stderr, "acts flood: no directory to work in: %s\n", strerror(errno));
                return 1;
        }
        snprintf(top, sizeof top, "%s", dir);

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGUSR2); /* a worker is done */
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        struct worker *w = aligned_alloc(128, (size_t) threads * sizeof *w);
        struct sockaddr_in to = closed_port();
        memset(w, 0, (size_t) threads * sizeof *w);
        for (long i = 0; i < threads; i++) {
                w[i].index = (int) i;
                w[i].step = steps[(size_t) i % nkinds];
                w[i].to = to;
                memset(w[i].held, -1, sizeof w[i].held);
                snprintf(w[i].path, sizeof w[i].path, "%s/file-%ld", top, i);
                int fd = open(w[i].path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
                udp += w[i].step == step_udp;
                w[i].fd = w[i].step == step_udp ? socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) : fd;
                if (fd < 0 || w[i].fd < 0) {
                        fprintf(stderr, "acts flood: %s: %s\n", w[i].path, strerror(errno));
                        return 1;
                }
        }
        double begin = seconds_now(), end = begin + seconds;
        for (long i = 0; i < threads; i++)
                if (pthread_create(&w[i].thread, NULL, work, &w[i])) {
                        fprintf(stderr, "acts flood: cannot start thread %ld\n", i);
                        return 1;
                }
        for (bool over = false; !over && seconds_now() < end;) {
                struct timespec tick = { 0, 20000000 };
                int sig = sigtimedwait(&set, NULL, &tick);
                over = sig == SIGTERM || sig == SIGINT;
                bool all = true;
                for (long i = 0; i < threads; i++)
                        all &= __atomic_load_n(&w[i].n, __ATOMIC_RELAXED) >= most;
                over |= all;
        }
        stop = true;
        uint64_t total[N_KINDS] = { 0 };
        for (long i = 0; i < threads; i++) {
                pthread_join(w[i].thread, NULL);
                for (int k = 0; k < N_KINDS; k++)
                        total[k] += w[i].counts[k];
        }
        double took = seconds_now() - begin;
        for (long i = 0; i < threads; i++)
                unlink(w[i].path);
        if (mine)
                rmdir(top);
        uint64_t n = 0;
        printf("{\"flood\":\"%s\",\"pid\":%d,\"threads\":%ld,\"seconds\":%.3f,\"counts\":{", argv[optind], getpid(), threads, took);
        for (int k = 0; k < N_KINDS; k++) {
                printf("%s\"%s\":%llu", k ? "," : "", count_names[k], (unsigned long long) total[k]);
                n += k == N_ERRORS ? 0 : total[k];
        }
        printf("},\"setup\":{\"open\":%ld,\"unlink\":%ld,\"socket\":%ld},\"port\":%d,\"per_second\":%.0f}\n", threads, threads, 1 + udp, ntohs(to.sin_port), (double) n / took);
        return total[N_ERRORS] ? 3 : 0;
}

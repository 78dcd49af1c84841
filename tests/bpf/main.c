/* SPDX-License-Identifier: Apache-2.0 */
/* acts: the command line and the runner. */
#include "acts.h"

#include <dirent.h>
#include <fnmatch.h>
#include <getopt.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#define ACT_SECONDS 20 /* an act that takes longer is stuck */

static const struct act *const tables[] = { acts_process, acts_cred, acts_memory, acts_file, acts_path, acts_net, acts_kernel, acts_uring };
#define TABLES (sizeof tables / sizeof *tables)

static const char usage[] =
        "usage: acts [--dir D] [--count N] [--out FILE] [--cgroup PATH] NAME[.FORM]... | --all\n"
        "       acts --list [--json]\n"
        "       acts flood KIND --seconds S --threads N\n"
        "       acts steps --count N --interval-ms M [--first N] [--port P]\n"
        "       acts driver --log FILE [--until FILE] [--interval-ms M]\n"
        "       acts pidreuse | sleep SECONDS | true [ID]\n";

/* Removes what is under `name`, never following a link or crossing into another device's tree. */
static void remove_tree(int dirfd, const char *name) {
        if (unlinkat(dirfd, name, 0) == 0 || (errno != EISDIR && errno != EPERM))
                return;
        int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        DIR *d = fd < 0 ? NULL : fdopendir(fd);
        for (struct dirent *e; d && (e = readdir(d));)
                if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
                        remove_tree(fd, e->d_name);
        if (d)
                closedir(d);
        unlinkat(dirfd, name, AT_REMOVEDIR);
}

static bool present(const struct act *a) {
        return !(a->flags & (sizeof(long) == 4 ? ACT_X86_64 : ACT_I386));
}

static bool wanted(const struct act *a, char **names, int n) {
        char full[128];

        snprintf(full, sizeof full, "%s.%s", a->name, a->form);
        for (int i = 0; i < n; i++)
                if (!strcmp(names[i], a->name) || !fnmatch(names[i], full, 0))
                        return true;
        return n == 0;
}

static void list(bool json) {
        for (size_t t = 0; t < TABLES; t++)
                for (const struct act *a = tables[t]; a->name; a++) {
                        if (!present(a))
                                continue;
                        if (json)
                                printf("{\"act\":\"%s\",\"form\":\"%s\",\"type\":\"%s\",\"syscall\":\"%s\",\"counts\":%s,\"needs_cgroup\":%s}\n", a->name,
                                       a->form, a->type, a->syscall, a->flags & ACT_QUIET ? "false" : "true", a->flags & ACT_CGROUP ? "true" : "false");
                        else
                                printf("%s.%s\n", a->name, a->form);
                }
}

/* One act in a process and a process group of its own. False when it died without saying what it did. */
static bool run_one(const struct act *a, const char *top, int top_fd) {
        char name[32];
        int status = 0;

        snprintf(name, sizeof name, "%ld", ++env.seq);
        if (snprintf(env.dir, sizeof env.dir, "%s/%s", top, name) >= (int) sizeof env.dir) {
                fprintf(stderr, "acts: --dir is too long\n");
                return false;
        }
        if (mkdir(env.dir, 0755) < 0) {
                fprintf(stderr, "acts: %s: %s\n", env.dir, strerror(errno));
                return false;
        }
        struct act_shared *s = act_shared();
        memset(s, 0, sizeof *s);
        pid_t parent = getpid(), pid = fork();
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() != parent)
                        _exit(1);
                setpgid(0, 0);
                alarm(ACT_SECONDS);
                act_begin(a);
                if (a->flags & ACT_CGROUP && !env.cgroup) {
                        errno = 0;
                        act_unsupported("no --cgroup given");
                }
                errno = 0;
                a->run(a);
                _exit(0);
        }
        while (pid > 0 && waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
                ;
        while (waitpid(-1, NULL, WNOHANG | __WALL) > 0) /* a child that an act made with CLONE_PARENT */
                ;
        remove_tree(top_fd, name);
        if (pid > 0 && s->x[7] > 0)
                return true;
        char text[256];
        int n = snprintf(text, sizeof text, "{\"act\":\"%s\",\"form\":\"%s\",\"seq\":%ld,\"pid\":%d,\"crashed\":true,\"status\":%d}\n", a->name, a->form, env.seq, pid,
                         status);
        if (write(env.out, text, (size_t) n) != n)
                perror("acts: write");
        return false;
}

static int run(int argc, char **argv) {
        static const struct option options[] = { { "dir", 1, NULL, 'd' }, { "count", 1, NULL, 'c' }, { "out", 1, NULL, 'o' },  { "cgroup", 1, NULL, 'g' },
                                                 { "all", 0, NULL, 'a' }, { "list", 0, NULL, 'l' },  { "json", 0, NULL, 'j' }, { NULL, 0, NULL, 0 } };
        static char made[] = "/tmp/acts.XXXXXX", made_at_root[] = "/acts.XXXXXX";
        const char *dir = NULL, *out = NULL;
        bool all = false, do_list = false, json = false, ok = true;
        long count = 1, ran = 0;

        for (int o; (o = getopt_long(argc, argv, "", options, NULL)) >= 0;)
                switch (o) {
                case 'd': dir = optarg; break;
                case 'c': count = atol(optarg); break;
                case 'o': out = optarg; break;
                case 'g': env.cgroup = optarg; break;
                case 'a': all = true; break;
                case 'l': do_list = true; break;
                case 'j': json = true; break;
                default: fputs(usage, stderr); return 2;
                }
        if (do_list) {
                list(json);
                return 0;
        }
        if (all == (optind < argc)) {
                fputs(usage, stderr);
                return 2;
        }
        int fd = out ? open(out, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : STDOUT_FILENO;
        if (fd >= 0) /* away from the standard streams, which acts replace */
                env.out = fcntl(fd, F_DUPFD_CLOEXEC, 200);
        if (fd < 0 || env.out < 0) {
                fprintf(stderr, "acts: %s: %s\n", out ? out : "standard output", strerror(errno));
                return 1;
        }
        if (out)
                close(fd);
        bool mine = !dir;
        if (!dir)
                dir = mkdtemp(made);
        if (!dir)
                dir = mkdtemp(made_at_root);
        char top[PATH_MAX];
        if (!dir || !realpath(dir, top)) {
                fprintf(stderr, "acts: %s: %s\n", dir ? dir : "/tmp/acts.XXXXXX", strerror(errno));
                return 1;
        }
        chmod(top, 0755); /* acts that drop their privileges must still get here */
        int top_fd = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
        for (long i = 0; i < count; i++)
                for (size_t t = 0; t < TABLES; t++)
                        for (const struct act *a = tables[t]; a->name; a++)
                                if (present(a) && wanted(a, argv + optind, all ? 0 : argc - optind)) {
                                        ok &= run_one(a, top, top_fd);
                                        ran++;
                                }
        if (mine)
                rmdir(top);
        if (!ran)
                fprintf(stderr, "acts: no such act; see acts --list\n");
        return ran && ok ? 0 : 1;
}

int main(int argc, char **argv) {
        ssize_t n = readlink("/proc/self/exe", env.self, sizeof env.self - 1);
        const char *verb = argc > 1 ? argv[1] : "";

        /* exec acts start this program with hostile argument lists: "true" comes first, an empty list is it as well */
        if (!strcmp(verb, "true") || argc == 0 || (argc == 1 && !argv[0][0]))
                return 0;
        if (n < 0) {
                fprintf(stderr, "acts: /proc is needed: %s\n", strerror(errno));
                return 1;
        }
        if (!strcmp(verb, "again")) {
                execl("/proc/self/exe", "acts", "true", "again", NULL);
                return 127;
        }
        act_shared_init();
        if (!strcmp(verb, "sleep")) {
                double s = argc > 2 ? strtod(argv[2], NULL) : 1;
                struct timespec t = { (time_t) s, (long) ((s - (double) (time_t) s) * 1e9) };
                while (nanosleep(&t, &t) < 0 && errno == EINTR)
                        ;
                return 0;
        }
        if (!strcmp(verb, "flood"))
                return flood_main(argc - 1, argv + 1);
        if (!strcmp(verb, "steps"))
                return steps_main(argc - 1, argv + 1);
        if (!strcmp(verb, "driver"))
                return driver_main(argc - 1, argv + 1);
        if (!strcmp(verb, "pidreuse"))
                return pidreuse_main(argc - 1, argv + 1);
        return run(argc, argv);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fleeting memory|unlinked|script COUNT MARK: runs COUNT programs that end at once, each with other bytes, one after the other. A program is the one that /tiny holds, with "MARK-N\n" behind it; a
 * script is "#!/bin/true\n# MARK-N\n". memory: from a memfd that is closed then; unlinked, script: from a file in /tmp that is unlinked as soon as it runs. Prints one JSON object: how many ran,
 * and µs from the exec to the end, the median and the largest.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char tiny[4096];
static ssize_t tiny_len;

static long long now_us(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * 1000000ll + t.tv_nsec / 1000;
}

static void fill(int fd, int script, const char *mark, int n) {
        char line[256];
        int len = snprintf(line, sizeof line, "%s%s-%d\n", script ? "#!/bin/true\n# " : "", mark, n);

        if ((!script && write(fd, tiny, (size_t) tiny_len) != tiny_len) || write(fd, line, (size_t) len) != len)
                abort();
}

/* TRUE: it ran and ended with 0. */
static int run(int fd, const char *path) {
        static char *argv[] = { "fleeting-child", NULL }, *envp[] = { NULL };
        int status;
        pid_t pid = vfork();

        if (pid == 0) {
                if (path)
                        execve(path, argv, envp);
                else
                        syscall(SYS_execveat, fd, "", argv, envp, AT_EMPTY_PATH);
                _exit(127);
        }
        if (path)
                unlink(path); /* vfork: it runs by now */
        return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static int by_value(const void *a, const void *b) {
        long long x = *(const long long *) a, y = *(const long long *) b;

        return (x > y) - (x < y);
}

int main(int argc, char **argv) {
        int count = argc == 4 ? atoi(argv[2]) : 0, ran = 0, script = argc == 4 && !strcmp(argv[1], "script"), memory = argc == 4 && !strcmp(argv[1], "memory");
        int in = open("/tiny", O_RDONLY | O_CLOEXEC);

        if (count < 1 || in < 0 || (tiny_len = read(in, tiny, sizeof tiny)) <= 0)
                return 2;
        long long *us = calloc((size_t) count, sizeof *us);
        for (int n = 0; n < count; n++) {
                char path[64];
                int fd;

                snprintf(path, sizeof path, "/tmp/fleeting-%d-%d", (int) getpid(), n);
                fd = memory ? memfd_create("fleeting", MFD_CLOEXEC) : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
                fill(fd, script, argv[3], n);
                if (!memory)
                        close(fd);
                long long begin = now_us();
                ran += run(fd, memory ? NULL : path);
                us[n] = now_us() - begin;
                if (memory)
                        close(fd);
        }
        qsort(us, (size_t) count, sizeof *us, by_value);
        printf("{\"ran\": %d, \"median_us\": %lld, \"max_us\": %lld}\n", ran, us[count / 2], us[count - 1]);
        return ran == count ? 0 : 1;
}

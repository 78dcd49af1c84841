/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For LD_PRELOAD: the wall clock of a program under test, moved by what stands in a file, which the test changes while the program runs: a gint64 of
 * seconds in $BH_CLOCK_SHIFT. Mapped at the start, so that a program that closes its sandbox behind itself sees it, too.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t *shift;

__attribute__((constructor)) static void map_shift(void) {
        const char *path = getenv("BH_CLOCK_SHIFT");
        int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        void *at = fd >= 0 ? mmap(NULL, sizeof(*shift), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

        if (at != MAP_FAILED)
                shift = at;
        if (fd >= 0)
                close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *t) {
        int r = (int) syscall(SYS_clock_gettime, clock, t);

        if (r == 0 && shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
                t->tv_sec += *shift;
        return r;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone) {
        struct timespec t;
        int r = clock_gettime(CLOCK_REALTIME, &t);

        if (r == 0)
                *tv = (struct timeval){ t.tv_sec, t.tv_nsec / 1000 };
        return r;
}

time_t time(time_t *out) {
        struct timespec t;

        clock_gettime(CLOCK_REALTIME, &t);
        if (out)
                *out = t.tv_sec;
        return t.tv_sec;
}

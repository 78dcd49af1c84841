/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/paused.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"

#define TICK_NS 10000000u /* /proc/PID/stat: 1/100 s */
#define SETTLE_US 20000   /* longer than a program of the kernel runs */

static gsize map_size(void) {
        gsize page = (gsize) sysconf(_SC_PAGESIZE), need = BH_PAUSE_SLOTS * sizeof(struct bh_paused);

        return (need + page - 1) / page * page;
}

struct bh_paused *bh_paused_map_fd(int fd) {
        void *at = mmap(NULL, map_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        return at == MAP_FAILED ? NULL : at;
}

struct bh_paused *bh_paused_map(const char *pin) {
        union bpf_attr attr;

        memset(&attr, 0, sizeof(attr));
        attr.pathname = (guint64) (gsize) pin;
        g_auto(BhFd) fd = (int) syscall(SYS_bpf, BPF_OBJ_GET, &attr, sizeof(attr));
        return fd >= 0 ? bh_paused_map_fd(fd) : NULL;
}

void bh_paused_unmap(struct bh_paused *slots) {
        if (slots)
                munmap(slots, map_size());
}

static guint64 boottime(void) {
        struct timespec t;

        clock_gettime(CLOCK_BOOTTIME, &t);
        return (guint64) t.tv_sec * 1000000000u + (guint64) t.tv_nsec;
}

/* Field 22 of /proc/PID/stat; the name in brackets may hold anything. 0: it cannot be read. */
static guint64 start_ticks(const char *proc, guint32 pid) {
        char path[256], text[1024], *at;
        ssize_t n;

        snprintf(path, sizeof(path), "%s/%u/stat", proc, pid);
        g_auto(BhFd) fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || (n = read(fd, text, sizeof(text) - 1)) <= 0)
                return 0;
        text[n] = 0;
        at = strrchr(text, ')');
        for (guint i = 0; at && i < 20; i++)
                at = strchr(at + 1, ' ');
        return at ? strtoull(at + 1, NULL, 10) : 0;
}

/* By a descriptor, so that it is the process whose start was looked at. One whose start cannot be read (hidden) gets the signal: nothing may stay stopped. */
static void let_run(const char *proc, guint32 pid, guint64 start) {
        g_auto(BhFd) fd = pid ? (int) syscall(SYS_pidfd_open, pid, 0) : -1;
        guint64 ticks = fd >= 0 ? start_ticks(proc, pid) : 0;

        if (fd >= 0 && (!ticks || ticks == start / TICK_NS))
                syscall(SYS_pidfd_send_signal, fd, SIGCONT, NULL, 0);
}

gboolean bh_paused_continue_one(struct bh_paused *slots, guint slot, const char *proc, guint64 since) {
        struct bh_paused *p = &slots[slot % BH_PAUSE_SLOTS];
        guint64 expected = since;

        if (!since || __atomic_load_n(&p->since, __ATOMIC_ACQUIRE) != since)
                return FALSE;
        let_run(proc, p->tgid, p->start);
        if (!__atomic_compare_exchange_n(&p->since, &expected, 0, FALSE, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
                return FALSE;
        __atomic_fetch_sub(&p->taken, 1, __ATOMIC_RELEASE);
        return TRUE;
}

guint bh_paused_continue(struct bh_paused *slots, const char *proc, guint64 ns) {
        guint64 now = boottime();
        guint n = 0;

        for (guint i = 0; i < BH_PAUSE_SLOTS; i++) {
                guint64 since = __atomic_load_n(&slots[i].since, __ATOMIC_ACQUIRE);

                if (since && now >= since && now - since >= ns)
                        n += bh_paused_continue_one(slots, i, proc, since);
        }
        return n;
}

guint bh_paused_continue_all(struct bh_paused *slots, const char *proc) {
        struct {
                guint32 pid;
                guint64 start;
        } seen[BH_PAUSE_SLOTS];
        guint n = 0, continued;

        if (!slots)
                return 0;
        for (guint i = 0; i < BH_PAUSE_SLOTS; i++) {
                if (!__atomic_load_n(&slots[i].since, __ATOMIC_ACQUIRE))
                        continue;
                seen[n].pid = slots[i].tgid;
                seen[n++].start = slots[i].start;
        }
        continued = bh_paused_continue(slots, proc, 0);
        g_usleep(SETTLE_US);
        for (guint i = 0; i < n; i++) /* the stop itself may have come behind the signal */
                let_run(proc, seen[i].pid, seen[i].start);
        return continued + bh_paused_continue(slots, proc, 0);
}

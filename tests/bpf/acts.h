/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acts: a program that really does what the sensor must see, and says exactly what it did.
 *
 * Every act runs in a process of its own, forked by the runner (acts.c), in a fresh directory <dir>/<seq>. It performs ONE system call
 * that matters (or one per line printed) and reports it as one JSON line, so that a test can compare what the sensor said with what was
 * done. Text in the lines is escaped as the product's own JSON is (src/base/escape.h), so strings can be compared as they stand.
 *
 * The program is linked statically and uses nothing but the C library: it runs in an empty container, and as i386 (acts32), where every
 * SYSC() is an int 0x80 and never a call that libc would choose instead. An act that cannot be reached (kernel or privileges lack what
 * must come before it) reports supported=false and why; an act that was tried and refused is an act: it reports its errno.
 *
 * Threads: an act's process is single-threaded but for acts about threads, which report through act_shared() after the thread ended.
 * Failure: a helper that fails ends the act with act_unsupported(); the runner reports an act that died or hung without a line.
 */
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum {
        ACT_I386 = 1,    /* only in the 32-bit build */
        ACT_X86_64 = 2,  /* only in the 64-bit build */
        ACT_QUIET = 4,   /* must NOT be reported as an event of `type`: "counts":false */
        ACT_CGROUP = 8,  /* needs --cgroup */
        ACT_INT80 = 16,  /* 64-bit code that enters the kernel by int 0x80 */
};

struct act {
        const char *name;    /* "open" */
        const char *form;    /* "openat2": unique within the name */
        const char *type;    /* event type that the sensor should report */
        const char *syscall; /* the system call as strace names it */
        void (*run)(const struct act *a);
        long arg;            /* selects the variant in `run` */
        unsigned flags;
};

extern const struct act acts_process[], acts_cred[], acts_memory[], acts_file[], acts_path[], acts_net[], acts_kernel[], acts_uring[]; /* each ends with name == NULL */

/* What an act process knows. Set by the runner. */
struct act_env {
        char self[PATH_MAX];   /* this program's file */
        char dir[PATH_MAX];    /* the act's own directory; the current directory is NOT there */
        const char *cgroup;    /* --cgroup, or NULL */
        long seq;              /* number of the act, unique in a run */
        int out;               /* where lines go */
};
extern struct act_env env;

/* Memory shared with the children of an act: what a child saw. */
struct act_shared {
        volatile long ret;
        volatile int err;
        volatile pid_t pid, tid;
        volatile long x[8];
        volatile int done;
};
struct act_shared *act_shared(void);
void act_shared_init(void);

/* ---- reporting (acts.c) ---- */

/* Begins the line: the caller is the performer. act_end() prints it. Facts in between, in any order. */
void act_begin(const struct act *a);
/* Begins another line about what was done since act_begin(). */
void act_next(void);
void act_str(const char *key, const char *text);
void act_mem(const char *key, const char *text, size_t len);
void act_strs(const char *key, char *const list[]);
void act_int(const char *key, long long value);
void act_bool(const char *key, bool value);
void act_raw(const char *key, const char *json);
/* Another process or thread performed it. */
void act_who(pid_t pid, pid_t tid);
/* Result of the call: returns it. -1 takes errno, ENOSYS means unsupported. */
long act_ret(long ret);
long act_ret_err(long ret, int err);
/* Result that a child left in act_shared(), with the child as performer. */
void act_from_child(void);
/* The call could not be reached: prints the line and exits the act's process. */
void act_unsupported(const char *why, ...) __attribute__((noreturn, format(printf, 1, 2)));
void act_end(void);

/* Facts about an open file: path as the kernel resolves it, dev, ino, mode. */
void act_fd_facts(int fd);
/* The same about a path that is not (or no longer) open, the last component not followed. */
void act_path_facts(const char *path);
void act_addr_facts(const char *prefix, const struct sockaddr *sa, socklen_t len);
/* Uids, gids and capability sets of the calling thread, each key with this prefix. */
void act_cred_facts(const char *prefix);

/* ---- doing ---- */

/* Raw system call: syscall(2) on x86-64, int 0x80 on i386. -1 and errno on failure. */
long act_sys(long nr, long a, long b, long c, long d, long e, long f);
#define SYSC_(nr, a, b, c, d, e, f, ...) act_sys((nr), (long) (a), (long) (b), (long) (c), (long) (d), (long) (e), (long) (f))
#define SYSC(...) SYSC_(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)
/* int 0x80 with i386 numbers, from either build. Pointers must lie below 4 GiB: see act_low(). -1 and errno on failure. */
long act_int80(long nr, long a, long b, long c, long d, long e, long f);
#define INT80_(nr, a, b, c, d, e, f, ...) act_int80((nr), (long) (a), (long) (b), (long) (c), (long) (d), (long) (e), (long) (f))
#define INT80(...) INT80_(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)
/* A copy of `len` bytes below 4 GiB. Ends the act when int 0x80 does not work here. */
void *act_low(const void *data, size_t len);

#ifdef __i386__
#define SYS32(x) SYS_##x##32
#else
#define SYS32(x) SYS_##x
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

/* Path of `name` in the act's directory: static storage, four results live at once. */
const char *act_path(const char *name);
/* Creates it with `text` and mode 0644, returns its path (as act_path). */
const char *act_file(const char *name, const char *text);
/* Copies this program to `name` in `dirfd` (AT_FDCWD: a path), mode 0755. */
void act_copy_self(int dirfd, const char *name);
/*
 * Makes nested directories under the act's directory and writes to `path` (PATH_MAX bytes) the absolute path, `len` characters long, of a
 * file to be in the deepest; the deepest directory is returned open (O_PATH) and `*base` is the file's name in it.
 */
int act_deep(size_t len, char *path, const char **base);
/* fork() whose child dies with its parent. */
pid_t act_fork(void);
/* Runs fn(arg) in a forked child that then exits with 0; waits; returns the status. The child stores its results in act_shared(). */
int act_child(void (*fn)(void *arg), void *arg, pid_t *pid);
int act_wait(pid_t pid);
/* A child that handles SIGUSR1, owns `word` (at the same address as ours) and waits until act_peer_stop(); no signal is used. */
#define PEER_AFTER 0x66746572L /* a peer that finds this in its word exits with 3 */
struct act_peer {
        pid_t pid;
        int ctl;      /* closing it lets the child go */
        long *word;
        int file;     /* a descriptor number open in the child (and here): its pipe */
};
struct act_peer act_peer_start(void);
int act_peer_stop(struct act_peer *p);
/* Private mount namespace, nothing propagates out. Goes on without where every mount will be refused anyway; else ends the act. */
void act_private_mounts(void);
/* New network namespace with its loopback up. Ends the act when it may not. */
void act_private_net(void);
/* The same for acts that can also be tried without: false when it may not. */
bool act_try_private_net(void);

/* ---- programs of their own (flood.c, steps.c) ---- */
int flood_main(int argc, char **argv);
int steps_main(int argc, char **argv);
int driver_main(int argc, char **argv);
int pidreuse_main(int argc, char **argv);

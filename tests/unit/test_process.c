/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "process/procfs.h"
#include "process/table.h"

#define SECOND 1000000000ull
#define T0 (1000 * SECOND)
#define assert_str(s, text) g_assert_cmpmem((s).p, (s).len, text, sizeof(text) - 1)
#define HAS(d, member) bh_event_has(&(d).event, BH_F_##member)

/* --- what the kernel would say --- */

struct record {
        union {
                struct bh_rec rec;
                guint8 raw[16384];
        };
};

static void put(struct record *r, enum bh_tag tag, const void *data, gsize len) {
        struct bh_chunk c = { (guint16) tag, (guint16) len };

        memcpy(r->raw + r->rec.size, &c, sizeof(c));
        memcpy(r->raw + r->rec.size + sizeof(c), data, len);
        r->rec.size += (guint32) (sizeof(c) + len);
}

static void init(struct record *r, enum bh_event_type type, guint32 pid, guint64 start, guint64 now) {
        r->rec = (struct bh_rec){ .size = sizeof(struct bh_rec), .type = (guint16) type, .ts = now, .start = start, .tgid = pid, .tid = pid, .count = 1, .cgroup = 50 };
}

static void feed(BhProcessTable *t, struct record *r, struct bh_decoded *d) {
        static const struct bh_clock clock = { .now = 0, .start = 0 };
        g_autoptr(GError) error = NULL;

        g_assert_true(bh_record_decode(&r->rec, r->rec.size, &clock, d, &error));
        bh_process_update(t, d);
        bh_process_enrich(t, d);
}

static void forked(BhProcessTable *t, guint32 pid, guint64 start, guint32 child, guint64 child_start) {
        struct record r;
        struct bh_decoded d;

        init(&r, BH_EV_FORK, pid, start, child_start);
        r.rec.a[0] = child;
        r.rec.a[1] = child_start;
        r.rec.a[4] = 50;
        feed(t, &r, &d);
}

static struct bh_decoded execed(BhProcessTable *t, guint32 pid, guint64 start, guint32 ppid, const char *exe, const char *args, gsize args_len) {
        static struct record r; /* the event's text points into it */
        struct bh_decoded d;
        struct bh_exec_info info = { .ino = 7, .dev = 8u << 20 | 1, .vpid = 3 };
        struct bh_cred cred = { .uid = 33, .euid = 33, .egid = 34, .cap_effective = 1 };

        init(&r, BH_EV_EXEC, pid, start, start + 1);
        r.rec.ppid = ppid;
        g_strlcpy(r.rec.comm, strrchr(exe, '/') + 1, sizeof(r.rec.comm));
        put(&r, BH_TAG_EXE, exe, strlen(exe));
        put(&r, BH_TAG_ARGV, args, args_len);
        put(&r, BH_TAG_EXEC, &info, sizeof(info));
        put(&r, BH_TAG_CRED, &cred, sizeof(cred));
        feed(t, &r, &d);
        return d;
}

static void exited(BhProcessTable *t, guint32 pid, guint64 start, guint64 now) {
        struct record r;
        struct bh_decoded d;

        init(&r, BH_EV_EXIT, pid, start, now);
        feed(t, &r, &d);
}

/* Any other event of the process. */
static struct bh_decoded acts(BhProcessTable *t, guint32 pid, guint64 start, guint32 ppid) {
        static struct record r;
        struct bh_decoded d;

        init(&r, BH_EV_CHDIR, pid, start, start + 5);
        r.rec.ppid = ppid;
        g_strlcpy(r.rec.comm, "worker", sizeof(r.rec.comm));
        feed(t, &r, &d);
        return d;
}

/* Pids of these tests are beyond pid_max: /proc has none of them. */
#define PID 5000000u

static BhProcessTable *table(guint max_live, guint max_dead) {
        struct bh_process_config config = { .max_live = max_live, .max_dead = max_dead };

        return bh_process_table_new(&config);
}

/* --- lineage --- */

static void lineage_follows_the_parent_at_fork(void) {
        g_autoptr(BhProcessTable) t = table(0, 0);
        struct bh_decoded d;

        execed(t, PID, T0, 1, "/sbin/init", "init\0", 5);
        forked(t, PID, T0, PID + 1, T0 + 1);
        execed(t, PID + 1, T0 + 1, PID, "/usr/sbin/nginx", "nginx\0-g\0", 9);
        forked(t, PID + 1, T0 + 1, PID + 2, T0 + 2);

        /* between fork and exec it runs its parent's program */
        d = acts(t, PID + 2, T0 + 2, PID + 1);
        assert_str(d.event.exe, "/usr/sbin/nginx");
        assert_str(d.event.args, "nginx\0-g\0");
        assert_str(d.event.parent_comm, "nginx");
        g_assert_cmpuint(d.event.exe_ino, ==, 7);
        g_assert_false(HAS(d, ancestors));
        g_assert_false(HAS(d, flags));

        d = execed(t, PID + 2, T0 + 2, PID + 1, "/bin/sh", "sh\0-c\0id\0", 9);
        assert_str(d.event.exe, "/bin/sh");
        assert_str(d.event.parent_exe, "/usr/sbin/nginx");
        assert_str(d.event.parent_args, "nginx\0-g\0");
        assert_str(d.event.ancestors, "/usr/sbin/nginx\0/sbin/init\0");
        g_assert_cmpuint(d.event.parent_start, ==, bh_start_shown(T0 + 1));

        d = acts(t, PID + 2, T0 + 2, PID + 1);
        assert_str(d.event.exe, "/bin/sh");
        g_assert_cmpuint(d.event.vpid, ==, 3);
}

static void double_fork_keeps_its_lineage(void) {
        g_autoptr(BhProcessTable) t = table(0, 0);
        struct bh_decoded d;

        execed(t, PID, T0, 1, "/usr/bin/attack", "attack\0", 7);
        forked(t, PID, T0, PID + 1, T0 + 1);
        forked(t, PID + 1, T0 + 1, PID + 2, T0 + 2);
        exited(t, PID + 1, T0 + 1, T0 + 3);
        d = execed(t, PID + 2, T0 + 2, 1, "/bin/daemon", "d\0", 2);
        g_assert_cmpuint(d.event.ppid, ==, 1); /* of init now */
        assert_str(d.event.parent_exe, "/usr/bin/attack");
        assert_str(d.event.ancestors, "/usr/bin/attack\0/usr/bin/attack\0");

        /* long after, the dead parent is held for its child, and the grandparent for it */
        exited(t, PID, T0, T0 + 4);
        bh_process_sweep(t, T0 + 3600 * SECOND);
        d = acts(t, PID + 2, T0 + 2, 1);
        assert_str(d.event.parent_exe, "/usr/bin/attack");

        struct bh_process_stats s;
        bh_process_table_stats(t, &s);
        g_assert_cmpuint(s.dead, ==, 2);
        exited(t, PID + 2, T0 + 2, T0 + 3601 * SECOND);
        bh_process_sweep(t, T0 + 3700 * SECOND);
        bh_process_table_stats(t, &s);
        g_assert_cmpuint(s.dead + s.live, ==, 0);
        g_assert_cmpuint(s.bytes, ==, 0);
}

static void reused_pid_is_another_process(void) {
        g_autoptr(BhProcessTable) t = table(0, 0);
        struct bh_decoded d;
        struct bh_process_view v;
        struct bh_process_stats s;

        execed(t, PID, T0, 1, "/bin/first", "first\0", 6);
        exited(t, PID, T0, T0 + 100);
        execed(t, PID, T0 + 200, 1, "/bin/second", "second\0", 7);
        d = acts(t, PID, T0 + 200, 1);
        assert_str(d.event.exe, "/bin/second");
        d = acts(t, PID, T0, 1); /* late */
        assert_str(d.event.exe, "/bin/first");
        g_assert_true(bh_process_find(t, PID, 0, &v));
        g_assert_cmpuint(v.start, ==, T0 + 200);
        g_assert_cmpuint(v.exited, ==, 0);

        /* the exit was lost */
        execed(t, PID, T0 + 500 * SECOND, 1, "/bin/third", "third\0", 6);
        g_assert_true(bh_process_find(t, PID, T0 + 200, &v));
        g_assert_cmpuint(v.exited, !=, 0);
        bh_process_table_stats(t, &s);
        g_assert_cmpuint(s.exits_missed, ==, 1);

        /* retention over for the first two, the third is there */
        bh_process_sweep(t, T0 + 600 * SECOND);
        g_assert_false(bh_process_find(t, PID, T0, &v));
        g_assert_false(bh_process_find(t, PID, T0 + 200, &v));
        g_assert_true(bh_process_find(t, PID, T0 + 500 * SECOND, &v));
}

static void exit_is_kept_for_a_while(void) {
        g_autoptr(BhProcessTable) t = table(0, 0);
        struct bh_process_view v;

        execed(t, PID, T0, 1, "/bin/a", "a\0", 2);
        exited(t, PID, T0, T0 + SECOND);
        bh_process_sweep(t, T0 + 30 * SECOND);
        g_assert_true(bh_process_find(t, PID, T0, &v));
        g_assert_cmpuint(v.exited, ==, T0 + SECOND);
        bh_process_sweep(t, T0 + 31 * SECOND);
        g_assert_false(bh_process_find(t, PID, T0, &v));
}

static void bounds_hold_and_are_counted(void) {
        g_autoptr(BhProcessTable) t = table(100, 50);
        struct bh_process_stats s;
        struct bh_decoded d;

        /* a chain: each forks the next and exits, so that all are held for the last */
        execed(t, PID, T0, 1, "/bin/chain", "chain\0", 6);
        for (guint i = 0; i < 1000; i++) {
                forked(t, PID + i, T0 + i, PID + i + 1, T0 + i + 1);
                exited(t, PID + i, T0 + i, T0 + i + 2);
        }
        bh_process_table_stats(t, &s);
        g_assert_cmpuint(s.live, ==, 1);
        g_assert_cmpuint(s.dead, ==, 50);
        g_assert_cmpuint(s.evicted_dead, ==, 950);
        d = execed(t, PID + 1000, T0 + 1000, 1, "/bin/end", "end\0", 4);
        assert_str(d.event.parent_exe, "/bin/chain");

        /* a bomb: all live; what was heard of last stays */
        for (guint i = 0; i < 1000; i++) {
                forked(t, PID + 1000, T0 + 1000, PID + 2000 + i, T0 + 2000 + i);
                g_assert_true(bh_process_find(t, PID + 1000, T0 + 1000, &(struct bh_process_view){ 0 }));
        }
        bh_process_table_stats(t, &s);
        g_assert_cmpuint(s.live, ==, 100);
        g_assert_cmpuint(s.evicted_live, ==, 901);
        g_assert_cmpuint(s.dead, <=, 50);
}

static void evicted_parent_is_remembered_by_its_child(void) {
        g_autoptr(BhProcessTable) t = table(0, 1);
        struct bh_decoded d;

        execed(t, PID, T0, 1, "/bin/top", "top\0", 4);
        forked(t, PID, T0, PID + 1, T0 + 1);
        execed(t, PID + 1, T0 + 1, PID, "/bin/mid", "mid\0", 4);
        forked(t, PID + 1, T0 + 1, PID + 2, T0 + 2);
        exited(t, PID + 1, T0 + 1, T0 + 3);
        execed(t, PID + 9, T0 + 4, 1, "/bin/other", "o\0", 2);
        exited(t, PID + 9, T0 + 4, T0 + 5);
        g_assert_false(bh_process_find(t, PID + 1, T0 + 1, &(struct bh_process_view){ 0 }));
        d = execed(t, PID + 2, T0 + 2, 1, "/bin/low", "low\0", 4);
        assert_str(d.event.parent_exe, "/bin/mid");
        assert_str(d.event.parent_comm, "mid");
        assert_str(d.event.ancestors, "/bin/mid\0/bin/top\0");
        g_assert_false(HAS(d, parent_start));
}

static void lineage_is_never_a_circle(void) {
        g_autoptr(BhProcessTable) t = table(0, 0);

        execed(t, PID, T0, 1, "/bin/a", "a\0", 2);
        forked(t, PID, T0, PID, T0); /* its own child */
        forked(t, PID, T0, PID + 1, T0 + 1);
        forked(t, PID + 1, T0 + 1, PID + 2, T0 + 2);
        forked(t, PID + 2, T0 + 2, PID, T0); /* its own ancestor */

        struct bh_decoded d = execed(t, PID + 2, T0 + 2, PID + 1, "/bin/b", "b\0", 2);
        assert_str(d.event.ancestors, "/bin/a\0/bin/a\0");
}

/* --- origin, credentials, names --- */

static guint64 container_of(guint64 cgroup, const char *path, gpointer data) {
        return cgroup == 77 ? 70 : 0;
}

static void origin_outlives_moves_and_parents(void) {
        struct bh_process_config config = { .container_of = container_of };
        g_autoptr(BhProcessTable) t = bh_process_table_new(&config);
        struct record r;
        struct bh_decoded d;

        execed(t, PID, T0, 1, "/usr/bin/runc", "runc\0", 5);
        g_assert_cmpuint(acts(t, PID, T0, 1).origin, ==, 0);
        init(&r, BH_EV_CGROUP_ATTACH, PID + 5, T0 + 5, T0 + 10); /* somebody moves it into the container */
        r.rec.a[0] = 77;
        r.rec.a[1] = PID;
        r.rec.a[2] = T0;
        feed(t, &r, &d);
        g_assert_cmpuint(acts(t, PID, T0, 1).origin, ==, 70);

        forked(t, PID, T0, PID + 1, T0 + 20);
        exited(t, PID, T0, T0 + 21);
        init(&r, BH_EV_CGROUP_ATTACH, PID + 1, T0 + 20, T0 + 22); /* it leaves */
        r.rec.a[0] = 1;
        r.rec.a[1] = PID + 1;
        r.rec.a[2] = T0 + 20;
        feed(t, &r, &d);
        g_assert_cmpuint(acts(t, PID + 1, T0 + 20, 1).origin, ==, 70);

        /* what the kernel says comes first */
        forked(t, PID + 1, T0 + 20, PID + 2, T0 + 30);
        init(&r, BH_EV_CHDIR, PID + 3, T0 + 40, T0 + 41);
        r.rec.origin = 99;
        feed(t, &r, &d);
        g_assert_cmpuint(acts(t, PID + 3, T0 + 40, 1).origin, ==, 99);
}

static void creds_before_and_after(void) {
        g_autoptr(BhProcessTable) t = table(0, 0);
        struct bh_cred now = { .uid = 33, .euid = 0, .egid = 34, .cap_effective = 0x1ff, .cap_permitted = 0x1ff }, then = { .euid = 5 };
        struct record r;
        struct bh_decoded d;

        execed(t, PID, T0, 1, "/bin/a", "a\0", 2); /* uid 33 */
        init(&r, BH_EV_CREDS, PID, T0, T0 + 5);
        put(&r, BH_TAG_CRED, &now, sizeof(now));
        feed(t, &r, &d);
        g_assert_cmpuint(d.event.old_euid, ==, 33);
        g_assert_cmpuint(d.event.old_egid, ==, 34);
        g_assert_cmpuint(d.event.old_cap_effective, ==, 1);
        g_assert_cmpuint(d.event.euid, ==, 0);
        feed(t, &r, &d);
        g_assert_cmpuint(d.event.old_euid, ==, 0);
        g_assert_cmpuint(d.event.old_cap_permitted, ==, 0x1ff);
        put(&r, BH_TAG_CRED_OLD, &then, sizeof(then)); /* the kernel knows better */
        feed(t, &r, &d);
        g_assert_cmpuint(d.event.old_euid, ==, 5);

        init(&r, BH_EV_CREDS, PID + 1, T0, T0 + 5); /* nobody knows */
        put(&r, BH_TAG_CRED, &now, sizeof(now));
        feed(t, &r, &d);
        g_assert_false(HAS(d, old_euid));
}

static void comm_and_target(void) {
        g_autoptr(BhProcessTable) t = table(0, 0);
        struct record r;
        struct bh_decoded d;

        execed(t, PID, T0, 1, "/bin/victim", "v\0", 2);
        init(&r, BH_EV_COMM, PID, T0, T0 + 1);
        put(&r, BH_TAG_NAME, "kworker/0:1-longer-than", 23);
        feed(t, &r, &d);
        r.rec.tid++; /* a thread's name is not the process's */
        put(&r, BH_TAG_NAME, "thread", 6);
        feed(t, &r, &d);

        init(&r, BH_EV_PTRACE, PID + 1, T0, T0 + 2);
        r.rec.a[1] = PID;
        r.rec.a[2] = T0;
        feed(t, &r, &d);
        assert_str(d.event.target_comm, "kworker/0:1-lon");
        assert_str(d.event.target_exe, "/bin/victim");

        init(&r, BH_EV_CONNECT, PID + 1, T0, T0 + 2); /* pid alone */
        r.rec.a[1] = PID;
        feed(t, &r, &d);
        assert_str(d.event.target_exe, "/bin/victim");
        g_assert_cmpuint(d.target_start, ==, T0);
}

static void long_arguments_are_cut_and_said(void) {
        g_autoptr(BhProcessTable) t = table(0, 0);
        g_autofree char *args = g_malloc(8000);
        struct bh_decoded d;

        memset(args, 'x', 8000);
        d = execed(t, PID, T0, 1, "/bin/a", args, 8000);
        g_assert_cmpuint(d.event.args.len, ==, 8000);
        g_assert_false(HAS(d, flags));
        d = acts(t, PID, T0, 1);
        g_assert_cmpuint(d.event.args.len, ==, 4096);
        g_assert_cmpuint(d.event.flags, ==, BH_RF_ARGS_CUT);
}

/* --- the real /proc --- */

static guint64 boottime(void) {
        struct timespec ts;

        clock_gettime(CLOCK_BOOTTIME, &ts);
        return (guint64) ts.tv_sec * SECOND + (guint64) ts.tv_nsec;
}

/* A child that has done its exec (or is at its pause, without one). */
static pid_t child(const char *path, char *const argv[], char *const env[]) {
        int sync[2];
        char byte;
        pid_t pid;

        g_assert_cmpint(pipe2(sync, O_CLOEXEC), ==, 0);
        pid = fork();
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (path) {
                        execve(path, argv, env);
                        _exit(127);
                }
                prctl(PR_SET_NAME, ") R 1 (\n");
                close(sync[1]);
                for (;;)
                        pause();
        }
        close(sync[1]);
        g_assert_cmpint(read(sync[0], &byte, 1), ==, 0); /* closed by the exec */
        close(sync[0]);
        return pid;
}

static void end(pid_t pid) {
        int status;

        kill(pid, SIGKILL);
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_true(WIFSIGNALED(status));
}

struct hunt {
        guint32 pid;
        guint times;
        struct bh_event *event;
        GHashTable *seen;
};

static void hunt(struct bh_decoded *d, gpointer data) {
        struct hunt *h = data;

        g_assert_cmpuint(d->event.type, ==, BH_EV_PROCESS);
        g_assert_cmpuint(d->event.source, ==, BH_SOURCE_SCAN);
        if (h->seen)
                g_assert_true(g_hash_table_add(h->seen, GUINT_TO_POINTER(d->event.pid)));
        if (d->event.pid != h->pid)
                return;
        h->times++;
        g_free(h->event);
        h->event = bh_event_copy(&d->event);
}

static void *wait_for_byte(void *fd) {
        char byte;

        return GINT_TO_POINTER((gint) read(GPOINTER_TO_INT(fd), &byte, 1));
}

static void scan_finds_weird_processes_whole(void) {
        g_autofree char *dir = g_dir_make_tmp("bh-process-XXXXXX", NULL), *exe = g_strdup_printf("%s/a \n\xff(deleted)", dir), *sleep_bytes = NULL;
        gsize len;
        g_autoptr(BhProcessTable) t = table(0, 0);
        g_autoptr(GError) error = NULL;
        g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
        struct stat st;
        int hold[2];
        pthread_t thread;

        g_assert_true(g_file_get_contents("/bin/sleep", &sleep_bytes, &len, NULL));
        g_assert_true(g_file_set_contents_full(exe, sleep_bytes, (gssize) len, G_FILE_SET_CONTENTS_NONE, 0755, NULL));
        g_assert_cmpint(stat(exe, &st), ==, 0);

        /* a thread of ours must not be found as a process */
        g_assert_cmpint(pipe(hold), ==, 0);
        pthread_create(&thread, NULL, wait_for_byte, GINT_TO_POINTER(hold[0]));

        pid_t pid = child(exe, (char *[]){ "na\nme", "1000", "1e3", NULL }, (char *[]){ "K=\xfe\n", "E=", NULL });
        struct hunt h = { .pid = (guint32) pid, .seen = seen };

        gint n = bh_process_scan(t, 0, hunt, &h, &error);
        g_assert_no_error(error);
        g_assert_cmpint(n, >=, 2);
        g_assert_cmpuint(g_hash_table_size(seen), ==, (guint) n);
        g_assert_true(g_hash_table_contains(seen, GUINT_TO_POINTER((guint) getpid())));

        end(pid);
        g_assert_cmpuint(h.times, ==, 1);
        g_assert_cmpmem(h.event->exe.p, h.event->exe.len, exe, strlen(exe));
        assert_str(h.event->args, "na\nme\0" "1000\0" "1e3\0");
        assert_str(h.event->env, "K=\xfe\n\0E=\0");
        g_assert_cmpmem(h.event->comm.p, h.event->comm.len, "a \n\xff(deleted)", 13);
        g_assert_cmpuint(h.event->ppid, ==, (guint) getpid());
        g_assert_cmpuint(h.event->uid, ==, geteuid());
        g_assert_cmpuint(h.event->exe_ino, ==, st.st_ino);
        g_assert_cmpuint(h.event->exe_dev, ==, st.st_dev);
        g_assert_cmpuint(h.event->exe_mode, ==, st.st_mode);
        g_assert_cmpuint(h.event->exe_uid, ==, st.st_uid);
        g_assert_cmpuint(h.event->sid, ==, (guint) getsid(0));
        g_assert_cmpuint(h.event->pgid, ==, (guint) getpgid(0));
        g_assert_true(bh_event_has(h.event, BH_F_cap_effective));
        g_assert_true(bh_event_has(h.event, BH_F_flags) == FALSE);
        g_assert_nonnull(memmem(h.event->parent_exe.p, h.event->parent_exe.len, "test_process", 12));
        g_assert_cmpint(stat("/proc/self/ns/mnt", &st), ==, 0);
        g_assert_cmpuint(h.event->mnt_ns, ==, st.st_ino);

        g_assert_cmpint(write(hold[1], "x", 1), ==, 1);
        pthread_join(thread, NULL);
        close(hold[0]);
        close(hold[1]);
        g_unlink(exe);
        g_rmdir(dir);
        g_free(h.event);
}

static void scan_survives_a_name_made_to_break_parsers(void) {
        g_autoptr(BhProcessTable) t = table(0, 0);
        pid_t pid = child(NULL, NULL, NULL);
        struct hunt h = { .pid = (guint32) pid };

        g_assert_cmpint(bh_process_scan(t, 0, hunt, &h, NULL), >, 0);
        end(pid);
        g_assert_cmpuint(h.times, ==, 1);
        assert_str(h.event->comm, ") R 1 (\n");
        g_assert_cmpuint(h.event->ppid, ==, (guint) getpid());
        g_free(h.event);
}

static char *const sleep_argv[] = { "sleep", "1000", NULL };
static char *const no_env[] = { NULL };

static guint64 tick_start(pid_t pid) {
        g_auto(BhFd) proc = open("/proc", O_RDONLY | O_DIRECTORY);
        BhProcfs p;

        g_assert_true(bh_procfs_read_stat(proc, (guint32) pid, &p, NULL));
        return p.start;
}

static void scan_and_live_events_meet_once(void) {
        g_autoptr(BhProcessTable) t = table(0, 0);
        pid_t before = child("/bin/sleep", sleep_argv, no_env), after = child("/bin/sleep", sleep_argv, no_env);
        guint64 exact_before = tick_start(before) + 1234567, exact_after = tick_start(after) + 7654321;
        struct hunt h = { .pid = (guint32) before };
        struct bh_process_view v;
        struct bh_process_stats s;
        struct bh_decoded d;

        /* its exec event came first: the scan does not tell of it again, and what it knows stands */
        execed(t, (guint32) before, exact_before, (guint32) getpid(), "/live/sleep", "live\0", 5);
        g_assert_cmpint(bh_process_scan(t, 0, hunt, &h, NULL), >, 0);
        g_assert_cmpuint(h.times, ==, 0);
        g_assert_true(bh_process_find(t, (guint32) before, exact_before, &v));
        assert_str(v.exe, "/live/sleep");
        g_assert_cmpuint(v.start, ==, exact_before);
        g_assert_cmpuint(v.parent_pid, ==, (guint) getpid()); /* what was missing came from the scan */

        /* the other was found by the scan; its event, made before, is read after: the same process, now with its exact start */
        g_assert_true(bh_process_find(t, (guint32) after, exact_after, &v));
        g_assert_cmpuint(v.start, ==, tick_start(after));
        bh_process_table_stats(t, &s);

        guint live = s.live;
        forked(t, (guint32) getpid(), tick_start(getpid()) + 99, (guint32) after, exact_after);
        d = acts(t, (guint32) after, exact_after, (guint32) getpid());
        g_assert_nonnull(memmem(d.event.exe.p, d.event.exe.len, "sleep", 5));
        g_assert_cmpuint(d.event.proc_start, ==, tick_start(after)); /* the same name as in its process event */
        d = execed(t, (guint32) after, exact_after, (guint32) getpid(), "/live/other", "other\0", 6);
        g_assert_true(bh_process_find(t, (guint32) after, exact_after, &v));
        g_assert_cmpuint(v.start, ==, exact_after);
        assert_str(v.exe, "/live/other");
        bh_process_table_stats(t, &s);
        g_assert_cmpuint(s.live, ==, live);

        /* a second scan has nothing new to say of them, and sees who went without an event */
        end(before);
        h = (struct hunt){ .pid = (guint32) after };
        bh_process_scan(t, 0, hunt, &h, NULL);
        g_assert_cmpuint(h.times, ==, 0);
        g_assert_true(bh_process_find(t, (guint32) before, exact_before, &v));
        g_assert_cmpuint(v.exited, !=, 0);
        end(after);
}

static void scan_leaves_the_young_to_live_events(void) {
        g_autoptr(BhProcessTable) t = table(0, 0);
        guint64 since = boottime();

        while (bh_start_shown(boottime()) == bh_start_shown(since)) /* until the next tick */
                sched_yield();
        pid_t pid = child("/bin/sleep", sleep_argv, no_env);
        struct hunt h = { .pid = (guint32) pid };

        g_assert_cmpint(bh_process_scan(t, since, hunt, &h, NULL), >, 0);
        g_assert_cmpuint(h.times, ==, 0);
        g_assert_true(bh_process_find(t, (guint32) pid, 0, &(struct bh_process_view){ 0 }));
        end(pid);
}

static void unknown_process_is_looked_up_once(void) {
        g_autoptr(BhProcessTable) t = table(0, 0);
        pid_t pid = child("/bin/sleep", sleep_argv, no_env);
        guint64 start = tick_start(pid);
        struct bh_process_stats s;
        struct bh_decoded d;

        d = acts(t, (guint32) pid, start + 5000000, (guint32) getpid());
        assert_str(d.event.args, "sleep\0" "1000\0");
        g_assert_false(HAS(d, flags));
        acts(t, (guint32) pid, start + 5000000, (guint32) getpid());

        /* same pid, another start: not that process */
        d = acts(t, (guint32) pid, start - 60 * SECOND, (guint32) getpid());
        g_assert_false(HAS(d, args));
        g_assert_cmpuint(d.event.flags, ==, BH_RF_UNKNOWN_PROCESS);
        d = acts(t, (guint32) pid, start - 60 * SECOND, (guint32) getpid());
        g_assert_cmpuint(d.event.flags, ==, BH_RF_UNKNOWN_PROCESS);
        bh_process_table_stats(t, &s);
        g_assert_cmpuint(s.lazy_reads, ==, 1);
        g_assert_cmpuint(s.unknown, ==, 1);
        end(pid);
}

static guint64 own_start(void) {
        g_auto(BhFd) proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        g_auto(BhProcfs) own = { 0 };

        g_assert_true(bh_procfs_read_stat(proc, (guint32) getpid(), &own, NULL));
        return own.start;
}

/* A sensor was killed, and the process ended before the next one looked: what the kernel kept of it is told with what was recorded. */
static void what_was_recorded_names_those_that_ended_since(void) {
        g_autoptr(BhProcessTable) before = table(0, 0), t = table(0, 0);
        struct bh_process_stats stats;
        struct bh_decoded d;

        /* from its exec; from another act of it; one that ended while it was watched; one that was another program in between */
        d = execed(before, PID, T0, 1, "/opt/first", "first\0-x\0", 9);
        bh_process_recall(t, &d.event);
        d = execed(before, PID + 1, T0, PID, "/opt/second", "second\0", 7);
        d = acts(before, PID + 1, T0, PID);
        bh_process_recall(t, &d.event);
        d = execed(before, PID + 2, T0, 1, "/opt/third", "third\0", 6);
        bh_process_recall(t, &d.event);
        d = execed(before, PID + 2, T0, 1, "/opt/fourth", "fourth\0", 7);
        bh_process_recall(t, &d.event);

        /* one that lives, and was another program when it was recorded: this test itself */
        guint64 start = own_start();
        d = execed(before, (guint32) getpid(), start, 1, "/opt/sh", "sh\0", 3);
        bh_process_recall(t, &d.event);

        g_assert_cmpint(bh_process_scan(t, 0, NULL, NULL, NULL), >, 0);
        bh_process_table_stats(t, &stats);
        g_assert_cmpuint(stats.exits_missed, ==, 0);
        d = acts(t, (guint32) getpid(), start, 1);
        g_assert_true(HAS(d, exe) && d.event.exe.len > 12 && memcmp(d.event.exe.p + d.event.exe.len - 12, "test_process", 12) == 0);
        g_assert_false(HAS(d, args) && memcmp(d.event.args.p, "sh", 3) == 0);

        d = acts(t, PID, T0 + 3, 1); /* what is recorded has the time by ticks */
        assert_str(d.event.exe, "/opt/first");
        assert_str(d.event.args, "first\0-x\0");
        g_assert_cmpuint(d.event.flags & BH_RF_UNKNOWN_PROCESS, ==, 0);
        d = acts(t, PID + 1, T0, PID);
        assert_str(d.event.exe, "/opt/second");
        assert_str(d.event.parent_exe, "/opt/first");
        d = acts(t, PID + 2, T0, 1);
        assert_str(d.event.exe, "/opt/fourth");
        /* another process of the same pid is not it */
        d = acts(t, PID + 2, T0 + SECOND, 1);
        g_assert_false(HAS(d, exe));
        g_assert_cmpuint(d.event.flags & BH_RF_UNKNOWN_PROCESS, !=, 0);
}

static void scan_of_nothing_is_an_error(void) {
        struct bh_process_config config = { .proc_path = "/nonexistent/proc" };
        g_autoptr(BhProcessTable) t = bh_process_table_new(&config);
        g_autoptr(GError) error = NULL;

        g_assert_cmpint(bh_process_scan(t, 0, NULL, NULL, &error), ==, -1);
        g_assert_nonnull(strstr(error->message, "/nonexistent/proc"));
}

static void ten_thousand_processes_fit(void) {
        g_autoptr(BhProcessTable) t = table(0, 0);
        struct mallinfo2 before = mallinfo2(), after;
        struct bh_process_stats s;

        for (guint i = 0; i < 10000; i++) {
                g_autofree char *exe = g_strdup_printf("/usr/lib/service-%u/bin/service-main", i % 200);
                g_autofree char *args = g_strdup_printf("service-main --config=/etc/service/%u.conf --listen=0.0.0.0:%u --log-level=info --data-directory=/var/lib/service/%u", i, i, i);

                gsize len = strlen(args) + 1;

                for (gsize k = 0; k < len; k++)
                        args[k] = args[k] == ' ' ? '\0' : args[k];
                if (i)
                        forked(t, PID + (i - 1) / 10, T0 + (i - 1) / 10 * SECOND, PID + i, T0 + i * SECOND);
                execed(t, PID + i, T0 + i * SECOND, PID + i / 10, exe, args, len);
        }
        after = mallinfo2();
        bh_process_table_stats(t, &s);
        g_assert_cmpuint(s.live, ==, 10000);
        g_test_message("10,000 processes: %zu KiB in the table, %zu KiB of the allocator", s.bytes >> 10, (after.uordblks - before.uordblks) >> 10);
        g_assert_cmpuint(s.bytes, <, 12u << 20);
        g_assert_cmpuint(after.uordblks - before.uordblks, <, 16u << 20);
}

/* In us; other programs on the machine do not count. */
static gint64 cpu_time(void) {
        struct timespec ts;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
        return ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void speed(void) {
        if (!g_test_perf()) {
                g_test_skip("figures only, with -m perf");
                return;
        }

        g_autoptr(BhProcessTable) t = table(0, 0);
        enum { N = 300000 };
        gint64 t0 = cpu_time();

        execed(t, PID, T0, 1, "/bin/a", "a\0b\0", 4);
        for (guint i = 0; i < N; i++)
                acts(t, PID, T0, 1);
        gint64 t1 = cpu_time();
        for (guint i = 1; i < N; i++) {
                forked(t, PID, T0, PID + i, T0 + i);
                execed(t, PID + i, T0 + i, PID, "/bin/b", "b\0c\0", 4);
                exited(t, PID + i, T0 + i, T0 + i + 1);
        }
        gint64 t2 = cpu_time();
        g_test_message("decode and enrich %" G_GINT64_FORMAT " ns; fork, exec and exit %" G_GINT64_FORMAT " ns", (t1 - t0) * 1000 / N, (t2 - t1) * 1000 / N);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/process/lineage_follows_the_parent_at_fork", lineage_follows_the_parent_at_fork);
        g_test_add_func("/process/double_fork_keeps_its_lineage", double_fork_keeps_its_lineage);
        g_test_add_func("/process/reused_pid_is_another_process", reused_pid_is_another_process);
        g_test_add_func("/process/exit_is_kept_for_a_while", exit_is_kept_for_a_while);
        g_test_add_func("/process/bounds_hold_and_are_counted", bounds_hold_and_are_counted);
        g_test_add_func("/process/evicted_parent_is_remembered_by_its_child", evicted_parent_is_remembered_by_its_child);
        g_test_add_func("/process/lineage_is_never_a_circle", lineage_is_never_a_circle);
        g_test_add_func("/process/origin_outlives_moves_and_parents", origin_outlives_moves_and_parents);
        g_test_add_func("/process/creds_before_and_after", creds_before_and_after);
        g_test_add_func("/process/comm_and_target", comm_and_target);
        g_test_add_func("/process/long_arguments_are_cut_and_said", long_arguments_are_cut_and_said);
        g_test_add_func("/process/scan_finds_weird_processes_whole", scan_finds_weird_processes_whole);
        g_test_add_func("/process/scan_survives_a_name_made_to_break_parsers", scan_survives_a_name_made_to_break_parsers);
        g_test_add_func("/process/scan_and_live_events_meet_once", scan_and_live_events_meet_once);
        g_test_add_func("/process/scan_leaves_the_young_to_live_events", scan_leaves_the_young_to_live_events);
        g_test_add_func("/process/unknown_process_is_looked_up_once", unknown_process_is_looked_up_once);
        g_test_add_func("/process/what_was_recorded_names_those_that_ended_since", what_was_recorded_names_those_that_ended_since);
        g_test_add_func("/process/scan_of_nothing_is_an_error", scan_of_nothing_is_an_error);
        g_test_add_func("/process/ten_thousand_processes_fit", ten_thousand_processes_fit);
        g_test_add_func("/process/speed", speed);
        return g_test_run();
}

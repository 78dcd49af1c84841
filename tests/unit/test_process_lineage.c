/* SPDX-License-Identifier: Apache-2.0 */
/* What rules are told of processes: from the kernel's records, and from recorded events alone. */
#include <glib.h>

#include "process/lineage.h"

#define SECOND 1000000000ull
#define EPOCH (1700000000ull * SECOND)
#define STR(text) ((struct bh_str){ (text), sizeof(text) - 1 })
#define assert_str(s, text) g_assert_cmpmem((s).p, (s).len, text, sizeof(text) - 1)
#define PID 5000000u /* beyond pid_max: /proc has none of them */

/* ---- live ---- */

struct record {
        union {
                struct bh_rec rec;
                guint8 raw[8192];
        };
};

static const struct bh_clock clock_of = { .now = EPOCH, .start = EPOCH + 3 }; /* starts of events are in steps of 10 ms from an odd point */

static void put(struct record *r, enum bh_tag tag, const void *data, gsize len) {
        struct bh_chunk c = { (guint16) tag, (guint16) len };

        memcpy(r->raw + r->rec.size, &c, sizeof(c));
        memcpy(r->raw + r->rec.size + sizeof(c), data, len);
        r->rec.size += (guint32) (sizeof(c) + len);
}

static void feed(BhProcessTable *t, struct record *r, struct bh_decoded *d) {
        g_autoptr(GError) error = NULL;

        g_assert_true(bh_record_decode(&r->rec, r->rec.size, &clock_of, d, &error));
        bh_process_update(t, d);
        bh_process_enrich(t, d);
}

static void begin(struct record *r, guint type, guint32 pid, guint64 start, guint64 now) {
        r->rec = (struct bh_rec){ .size = sizeof(struct bh_rec), .type = (guint16) type, .ts = now, .start = start, .tgid = pid, .tid = pid, .count = 1, .cgroup = 50 };
}

static struct bh_event exec_live(BhProcessTable *t, guint32 pid, guint64 start, const char *comm, const struct bh_exec_info *info) {
        static struct record r;
        static struct bh_decoded d;
        struct bh_cred cred = { .euid = 33, .egid = 34, .cap_effective = 5 };
        static const char env[] = "A=b\0LD_PRELOAD=/x.so";

        begin(&r, BH_EV_EXEC, pid, start, start + SECOND);
        g_strlcpy(r.rec.comm, comm, sizeof(r.rec.comm));
        r.rec.flags = BH_RF_EXE_UPPER;
        put(&r, BH_TAG_EXE, "/bin/x", 6);
        put(&r, BH_TAG_ARGV, "x\0-a\0", 5);
        put(&r, BH_TAG_ENVP, env, sizeof(env));
        put(&r, BH_TAG_CWD, "/work", 5);
        put(&r, BH_TAG_EXEC, info, sizeof(*info));
        put(&r, BH_TAG_CRED, &cred, sizeof(cred));
        feed(t, &r, &d);
        return d.event;
}

static void fork_live(BhProcessTable *t, guint32 pid, guint64 start, guint32 child, guint64 child_start) {
        struct record r;
        static struct bh_decoded d;

        begin(&r, BH_EV_FORK, pid, start, child_start);
        g_strlcpy(r.rec.comm, "shell", sizeof(r.rec.comm));
        r.rec.a[0] = child;
        r.rec.a[1] = child_start;
        r.rec.a[3] = 9;
        feed(t, &r, &d);
}

static void live_processes_are_remembered(void) {
        struct bh_process_config config = { .clock = clock_of };
        g_autoptr(BhProcessTable) t = bh_process_table_new(&config);
        struct bh_exec_info info = { .ino = 7, .dev = 8u << 20 | 1, .vpid = 3, .sid = PID, .pgid = PID, .tty = 34816, .loginuid = 1000, .mode = 0100755, .owner_uid = 12 };
        struct bh_lineage lineage = { 0 };
        struct bh_lineage_process p, up;
        guint64 start = 1000 * SECOND + 12345678, child_start = start + 5 * SECOND;
        struct bh_event e;

        bh_process_lineage(t, &lineage);
        e = exec_live(t, PID, start, "shell", &info);
        g_assert_true(lineage.find(lineage.data, PID, e.proc_start, &p));
        g_assert_cmpuint(p.start, ==, e.proc_start);
        assert_str(p.comm, "shell");
        assert_str(p.exe, "/bin/x");
        assert_str(p.args, "x\0-a\0");
        assert_str(p.cwd, "/work");
        assert_str(p.env, "A=b\0LD_PRELOAD=/x.so\0");
        g_assert_cmphex(p.flags, ==, BH_LP_CRED | BH_LP_SESSION | BH_LP_LOGIN | BH_LP_EXE | BH_LP_EXE_UPPER);
        g_assert_cmpuint(p.sid, ==, PID);
        g_assert_cmpuint(p.tty, ==, 34816);
        g_assert_cmpuint(p.loginuid, ==, 1000);
        g_assert_cmpuint(p.exe_mode, ==, 0100755);
        g_assert_cmpuint(p.exe_uid, ==, 12);
        g_assert_cmpuint(p.cap_effective, ==, 5);
        g_assert_cmpuint(p.uid, ==, 33);

        /* a child has it all, until it runs something itself */
        fork_live(t, PID, start, PID + 1, child_start);
        g_assert_true(lineage.find(lineage.data, PID + 1, 0, &p));
        g_assert_cmpuint(p.vpid, ==, 9);
        assert_str(p.comm, "shell");
        assert_str(p.env, "A=b\0LD_PRELOAD=/x.so\0");
        g_assert_cmpuint(p.sid, ==, PID);
        g_assert_true(lineage.parent(lineage.data, &p, &up));
        g_assert_cmpuint(up.pid, ==, PID);
        g_assert_cmpuint(up.start, ==, e.proc_start);
        g_assert_false(lineage.parent(lineage.data, &up, &p));
        info.sid = PID + 1;
        exec_live(t, PID + 1, child_start, "tool", &info);
        g_assert_true(lineage.find(lineage.data, PID + 1, 0, &p));
        assert_str(p.comm, "tool");
        g_assert_cmpuint(p.sid, ==, PID + 1);
        g_assert_false(lineage.find(lineage.data, PID, e.proc_start + 10 * SECOND, &p)); /* another with that pid */
        g_assert_false(lineage.find(lineage.data, PID + 9, 0, &p));
}

/* ---- replay ---- */

static struct bh_event recorded(guint type, guint32 pid, guint64 start, const char *comm) {
        struct bh_event e = { 0 };

        BH_SET(&e, type, type);
        BH_SET(&e, time, start + SECOND);
        BH_SET(&e, pid, pid);
        BH_SET(&e, tid, pid);
        BH_SET(&e, proc_start, start);
        BH_SET_STR(&e, comm, comm);
        BH_SET(&e, ret, 0);
        return e;
}

static void a_recording_is_enough(void) {
        g_autoptr(BhProcessTable) t = bh_process_table_new_replay();
        struct bh_lineage lineage = { 0 };
        struct bh_lineage_process p, up;
        struct bh_event e;

        bh_process_lineage(t, &lineage);

        /* one that was there at the start of the recording */
        e = recorded(BH_EV_PROCESS, 10, EPOCH + 7, "sshd");
        BH_SET(&e, args, STR("sshd: me\0"));
        BH_SET(&e, exe, STR("/usr/sbin/sshd"));
        BH_SET(&e, sid, 10);
        BH_SET(&e, pgid, 10);
        BH_SET(&e, tty, 0);
        BH_SET(&e, loginuid, 1000);
        BH_SET(&e, env, STR("X=y\0"));
        bh_process_feed(t, &e);

        e = recorded(BH_EV_FORK, 10, EPOCH + 7, "sshd");
        BH_SET(&e, child_pid, 20);
        BH_SET(&e, child_start, EPOCH + 5 * SECOND + 7);
        BH_SET(&e, child_vpid, 20);
        bh_process_feed(t, &e);
        e = recorded(BH_EV_EXEC, 20, EPOCH + 5 * SECOND + 7, "bash");
        BH_SET(&e, exe, STR("/bin/bash"));
        BH_SET(&e, args, STR("-bash\0"));
        BH_SET(&e, flags, BH_RF_EXE_LOWER);
        bh_process_feed(t, &e);
        g_assert_true(lineage.find(lineage.data, 20, EPOCH + 5 * SECOND + 7, &p));
        assert_str(p.comm, "bash");
        g_assert_cmpuint(p.start, ==, EPOCH + 5 * SECOND + 7);
        g_assert_cmpuint(p.loginuid, ==, 1000);
        assert_str(p.env, "X=y\0");
        g_assert_true(p.flags & BH_LP_EXE_LOWER);
        g_assert_true(lineage.parent(lineage.data, &p, &up));
        assert_str(up.comm, "sshd");
        assert_str(up.args, "sshd: me\0");

        /* one of which only its acts are recorded, with the parent that they name */
        e = recorded(BH_EV_OPEN, 30, EPOCH + 6 * SECOND, "worker");
        BH_SET(&e, exe, STR("/bin/worker"));
        BH_SET(&e, ppid, 25);
        BH_SET(&e, parent_start, EPOCH + 2 * SECOND);
        BH_SET(&e, parent_comm, STR("master"));
        bh_process_feed(t, &e);
        g_assert_true(lineage.find(lineage.data, 30, EPOCH + 6 * SECOND, &p));
        assert_str(p.exe, "/bin/worker");
        g_assert_true(lineage.parent(lineage.data, &p, &up));
        assert_str(up.comm, "master");
        g_assert_cmpuint(up.pid, ==, 25);

        /* names, users and ends */
        e = recorded(BH_EV_COMM, 20, EPOCH + 5 * SECOND + 7, "bash");
        BH_SET(&e, name, STR("renamed"));
        bh_process_feed(t, &e);
        e = recorded(BH_EV_CREDS, 20, EPOCH + 5 * SECOND + 7, "renamed");
        BH_SET(&e, euid, 0);
        BH_SET(&e, cap_effective, 77);
        bh_process_feed(t, &e);
        g_assert_true(lineage.find(lineage.data, 20, 0, &p));
        assert_str(p.comm, "renamed");
        g_assert_cmpuint(p.cap_effective, ==, 77);
        e = recorded(BH_EV_EXIT, 20, EPOCH + 5 * SECOND + 7, "renamed");
        BH_SET(&e, time, EPOCH + 60 * SECOND);
        bh_process_feed(t, &e);
        g_assert_true(lineage.find(lineage.data, 20, 0, &p));
        g_assert_true(p.flags & BH_LP_EXITED);
        e = recorded(BH_EV_EXIT, 30, EPOCH + 6 * SECOND, "worker");
        BH_SET(&e, time, EPOCH + 600 * SECOND);
        bh_process_feed(t, &e);
        g_assert_false(lineage.find(lineage.data, 20, 0, &p)); /* long over */
}

static void odd_recordings_do_no_harm(void) {
        g_autoptr(BhProcessTable) t = bh_process_table_new_replay();
        struct bh_lineage lineage = { 0 };
        struct bh_lineage_process p, up;
        struct bh_event e = { 0 };

        bh_process_lineage(t, &lineage);
        bh_process_feed(t, &e);
        e = recorded(BH_EV_OPEN, 5, EPOCH, "self");
        BH_SET(&e, ppid, 5); /* its own parent */
        BH_SET(&e, parent_start, EPOCH);
        bh_process_feed(t, &e);
        g_assert_true(lineage.find(lineage.data, 5, 0, &p));
        g_assert_false(lineage.parent(lineage.data, &p, &up));
        /* two that are each other's parent */
        for (guint i = 0; i < 2; i++) {
                e = recorded(BH_EV_OPEN, 6 + i, EPOCH, "circle");
                BH_SET(&e, ppid, 7 - i);
                BH_SET(&e, parent_start, EPOCH);
                bh_process_feed(t, &e);
        }
        g_assert_true(lineage.find(lineage.data, 6, 0, &p));
        for (guint n = 0; lineage.parent(lineage.data, &p, &up); n++) {
                g_assert_cmpuint(n, <, 3);
                p = up;
        }
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/process/lineage/live_processes_are_remembered", live_processes_are_remembered);
        g_test_add_func("/process/lineage/a_recording_is_enough", a_recording_is_enough);
        g_test_add_func("/process/lineage/odd_recordings_do_no_harm", odd_recordings_do_no_harm);
        return g_test_run();
}

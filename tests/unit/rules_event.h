/* SPDX-License-Identifier: Apache-2.0 */
/* Events and conditions for tests of the rule engine. */
#pragma once
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/socket.h>

#include "rules/engine.h"

#define STR(text) ((struct bh_str){ (text), sizeof(text) - 1 })
#define ADD(e, member, text) BH_SET(e, member, STR(text))

/* An act of "bash" (pid 100, child of "sshd" 90) in a container. */
static inline struct bh_event base_event(guint32 type) {
        struct bh_event e = { 0 };

        BH_SET(&e, type, type);
        BH_SET(&e, id, 7);
        BH_SET(&e, time, 1700000000123456789ull);
        BH_SET(&e, pid, 100);
        BH_SET(&e, tid, 100);
        BH_SET(&e, ppid, 90);
        BH_SET(&e, vpid, 5);
        BH_SET(&e, proc_start, 1699999999000000000ull);
        ADD(&e, comm, "bash");
        ADD(&e, exe, "/usr/bin/bash");
        ADD(&e, args, "-bash\0-c\0id; ls");
        ADD(&e, parent_comm, "sshd");
        ADD(&e, parent_exe, "/usr/sbin/sshd");
        BH_SET(&e, uid, 0);
        BH_SET(&e, gid, 0);
        BH_SET(&e, ret, 0);
        ADD(&e, container_id, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
        ADD(&e, container_name, "web");
        ADD(&e, container_image, "registry.local:5000/shop/web:1.2");
        return e;
}

static inline struct bh_event exec_event(void) {
        struct bh_event e = base_event(BH_EV_EXEC);

        ADD(&e, env, "PATH=/usr/bin\0LD_PRELOAD=/tmp/x.so\0EMPTY=");
        ADD(&e, cwd, "/root");
        ADD(&e, parent_args, "sshd: root [priv]");
        ADD(&e, ancestors, "/usr/sbin/sshd\0/usr/lib/systemd/systemd");
        BH_SET(&e, tty, 34816);
        BH_SET(&e, sid, 100);
        BH_SET(&e, pgid, 100);
        BH_SET(&e, loginuid, 1000);
        BH_SET(&e, cap_effective, 1ull << 21 | 1ull << 0);
        BH_SET(&e, cap_permitted, 1ull << 21 | 1ull << 0);
        return e;
}

static inline struct bh_event open_event(guint64 flags) {
        struct bh_event e = base_event(BH_EV_OPEN);

        ADD(&e, path, "/etc/pam.d/su");
        BH_SET(&e, open_flags, flags);
        return e;
}

static inline void set_ip(struct bh_event *e, gboolean local, const char *text, guint32 port) {
        struct bh_ip ip = { .len = strchr(text, ':') ? 16 : 4 };

        g_assert_cmpint(inet_pton(ip.len == 4 ? AF_INET : AF_INET6, text, ip.b), ==, 1);
        if (local) {
                BH_SET(e, laddr, ip);
                BH_SET(e, lport, port);
        } else {
                BH_SET(e, raddr, ip);
                BH_SET(e, rport, port);
        }
        BH_SET(e, family, ip.len == 4 ? AF_INET : AF_INET6);
        BH_SET(e, sock_type, SOCK_STREAM);
        BH_SET(e, proto, IPPROTO_TCP);
}

static inline struct bh_event connect_event(const char *from, guint32 from_port, const char *to, guint32 to_port) {
        struct bh_event e = base_event(BH_EV_CONNECT);

        set_ip(&e, TRUE, from, from_port);
        set_ip(&e, FALSE, to, to_port);
        BH_SET(&e, fd, 3);
        return e;
}

static inline BhRuleEngine *filter(const char *condition) {
        g_autoptr(GError) error = NULL;
        BhCond *c = bh_condition_parse(condition, strlen(condition), &error);
        BhRuleEngine *e;

        if (!c)
                g_error("%s: %s", condition, error->message);
        e = bh_rule_engine_new_filter(c, &error);
        if (!e)
                g_error("%s: %s", condition, error->message);
        return e;
}

static inline gboolean holds_with(const struct bh_event *e, const struct bh_lineage *lineage, const char *condition) {
        g_autoptr(BhRuleEngine) engine = filter(condition);
        g_autoptr(BhRuleRun) run = bh_rule_run_new();
        const guint32 *matches;

        return bh_rule_run_event(run, engine, e, lineage, &matches) == 1;
}

static inline void rules_fail(const char *what, const char *file, int line, const char *condition) {
        g_printerr("%s:%d: %s: %s\n", file, line, what, condition);
        g_test_fail();
}

#define holds(e, condition) holds_with(e, NULL, condition)
#define YES(e, condition) \
        do { \
                if (!holds(e, condition)) \
                        rules_fail("is not true and should be", __FILE__, __LINE__, condition); \
        } while (0)
#define NO(e, condition) \
        do { \
                if (holds(e, condition)) \
                        rules_fail("is true and should not be", __FILE__, __LINE__, condition); \
        } while (0)

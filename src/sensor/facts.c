/* SPDX-License-Identifier: Apache-2.0 */
#include "facts.h"

#include <errno.h>
#include <stdio.h>

#include "model/never.h"

#define TEXT(e, member) (bh_event_has(e, BH_F_##member) ? (e)->member : (struct bh_str){ "", 0 })
#define NUMBER(e, member, otherwise) (bh_event_has(e, BH_F_##member) ? (e)->member : (otherwise))

static struct bh_str literal(const char *text) {
        return (struct bh_str){ text, (guint32) strlen(text) };
}

static void set_subject(BhFact *f, const char *text) {
        g_strlcpy(f->subject_text, text, sizeof(f->subject_text));
        f->subject = literal(f->subject_text);
}

static void set_path(BhFact *f, struct bh_str path) {
        f->subject.len = (guint32) bh_template_path(path.p, path.len, f->subject_text);
        f->subject.p = f->subject_text;
        f->example = path;
}

static guint exec(const struct bh_event *e, BhFact *f) {
        struct bh_str args = TEXT(e, args);

        f->kind = "exec";
        f->subject = TEXT(e, exe);
        /* runc's sealed copy of itself, which has no name: where the machine is slow it is in the container's cgroup before it runs. Started by what has no name either it may be anybody's */
        if (f->subject.len == 1 && TEXT(e, parent_exe).len > 1 && bh_never_runtime(e))
                return 0;
        f->parent = TEXT(e, parent_exe);
        f->uid = NUMBER(e, uid, 0);
        f->detail.len = (guint32) bh_template_args(f->subject.p, f->subject.len, args.p, args.len, f->detail_text);
        f->detail.p = f->detail_text;
        f->example = args;
        return f->subject.len > 0;
}

/* Events that only count: what they repeat was told when it was described, and whoever did it may be another program by now. */
#define ONLY_COUNTS (BH_RF_OVER_BUDGET | BH_RF_REPEATS)

gboolean bh_facts_tried_file(const struct bh_event *e) {
        gint64 ret = NUMBER(e, ret, 0);

        return ret >= 0 || ret == -EACCES || ret == -EPERM || ret == -EROFS;
}

gboolean bh_facts_says_file(const struct bh_event *e) {
        return bh_facts_tried_file(e) && !(NUMBER(e, flags, 0) & ONLY_COUNTS);
}

static guint file(const struct bh_event *e, BhFact *f, const char *operation, struct bh_str path) {
        /* pipes, sockets and memory have names of another form */
        if (!bh_facts_says_file(e) || !path.len || path.p[0] != '/')
                return 0;
        f->kind = "file";
        f->often = TRUE;
        f->detail = literal(operation);
        set_path(f, path);
        return 1;
}

static guint opened(const struct bh_event *e, BhFact *f) {
        guint64 flags = NUMBER(e, open_flags, 0), marks = NUMBER(e, flags, 0);
        gboolean created = (marks & BH_RF_CREATED) != 0;

        return file(e, f, created ? "create" : (flags & 3) ? "write" : "read", TEXT(e, path));
}

static guint listens(const struct bh_event *e, BhFact *f) {
        guint32 port = NUMBER(e, lport, 0), proto = NUMBER(e, proto, 6);
        char text[32];

        if (NUMBER(e, ret, 0) < 0 || !port)
                return 0;
        snprintf(text, sizeof(text), "%s/%u", proto == 17 ? "udp" : proto == 132 ? "sctp" : "tcp", port);
        f->kind = "listen";
        set_subject(f, text);
        return 1;
}

static guint asks(const struct bh_event *e, BhFact *f) {
        struct bh_str type = TEXT(e, dns_type), name = TEXT(e, dns_question);

        if (type.len != 5 || memcmp(type.p, "query", 5) || !name.len)
                return 0;
        f->kind = "dns";
        f->often = TRUE;
        f->subject.len = (guint32) bh_template_name(name.p, name.len, f->subject_text);
        f->subject.p = f->subject_text;
        f->detail = TEXT(e, dns_qtype);
        f->example = name;
        return f->subject.len > 0;
}

static const char *const capabilities[] = {
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE",
        "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE",
        "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE",
        "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
};

#define USUAL 0xa80425fbull /* what Docker and containerd give by default */

static guint becomes(const struct bh_event *e, BhFact out[BH_FACTS_MAX]) {
        guint64 gained = bh_event_has(e, BH_F_old_cap_effective) ? NUMBER(e, cap_effective, 0) & ~e->old_cap_effective : 0;
        guint n = 0;

        if (NUMBER(e, ret, 0) < 0)
                return 0;
        if (bh_event_has(e, BH_F_euid) && bh_event_has(e, BH_F_old_euid) && e->euid != e->old_euid) {
                char text[32];

                snprintf(text, sizeof(text), "uid %u", e->euid);
                out[n].kind = "credential";
                set_subject(&out[n++], text);
        }
        /* first what a container's root does not have anyway: there is room for few */
        for (guint pass = 0; pass < 2; pass++)
                for (guint bit = 0; bit < G_N_ELEMENTS(capabilities) && n < BH_FACTS_MAX; bit++)
                        if ((gained >> bit & 1) && (USUAL >> bit & 1) == pass) {
                                out[n].kind = "capability";
                                out[n].subject = literal(capabilities[bit]);
                                out[n++].detail = literal("gained");
                        }
        return n;
}

static guint isolates(const struct bh_event *e, BhFact *f, gboolean path) {
        f->kind = "namespace";
        f->subject = literal(bh_event_type_name(e->type));
        if (path) {
                struct bh_str where = TEXT(e, path);

                f->detail.len = (guint32) bh_template_path(where.p, where.len, f->detail_text);
                f->detail.p = f->detail_text;
                f->example = where;
        } else {
                const char *names[BH_FLAG_NAMES_MAX];
                guint64 rest;
                guint n = bh_flag_names(BH_F_ns_flags, NUMBER(e, ns_flags, 0), names, &rest);

                for (guint i = 0; i < n; i++) {
                        if (i)
                                g_strlcat(f->detail_text, " ", sizeof(f->detail_text));
                        g_strlcat(f->detail_text, names[i], sizeof(f->detail_text));
                }
                f->detail = literal(f->detail_text);
        }
        return 1;
}

static guint reaches(const struct bh_event *e, BhFact *f) {
        f->kind = "kernel";
        f->subject = literal(bh_event_type_name(e->type));
        if (bh_event_has(e, BH_F_operation)) {
                snprintf(f->detail_text, sizeof(f->detail_text), "request %" G_GINT64_FORMAT, e->operation);
                f->detail = literal(f->detail_text);
        }
        f->example = bh_event_has(e, BH_F_target_exe) ? e->target_exe : TEXT(e, name);
        return 1;
}

static guint fill(const struct bh_event *e, BhFact out[BH_FACTS_MAX]) {
        switch (e->type) {
        case BH_EV_EXEC:
                return exec(e, out);
        case BH_EV_OPEN:
                return opened(e, out);
        case BH_EV_UNLINK:
        case BH_EV_RMDIR:
                return file(e, out, "delete", TEXT(e, path));
        case BH_EV_RENAME:
                return file(e, out, "rename", TEXT(e, path2));
        case BH_EV_LINK:
        case BH_EV_SYMLINK:
                return file(e, out, "link", e->type == BH_EV_LINK ? TEXT(e, path2) : TEXT(e, path));
        case BH_EV_MKDIR:
        case BH_EV_MKNOD:
                return file(e, out, "create", TEXT(e, path));
        case BH_EV_CHMOD:
        case BH_EV_CHOWN:
        case BH_EV_SETXATTR:
                return file(e, out, "attributes", TEXT(e, path));
        case BH_EV_LISTEN:
                return listens(e, out);
        case BH_EV_DNS:
                return asks(e, out);
        case BH_EV_CREDS:
                return becomes(e, out);
        case BH_EV_SETNS:
        case BH_EV_UNSHARE:
                return isolates(e, out, FALSE);
        case BH_EV_CHROOT:
        case BH_EV_MOUNT:
        case BH_EV_UMOUNT:
        case BH_EV_PIVOT_ROOT:
        case BH_EV_MOVE_MOUNT:
                return isolates(e, out, TRUE);
        case BH_EV_PTRACE:
        case BH_EV_VM_WRITE:
        case BH_EV_PIDFD_GETFD:
        case BH_EV_MEM_WRITE:
        case BH_EV_MEMFD_CREATE:
        case BH_EV_MODULE_LOAD:
        case BH_EV_MODULE_UNLOAD:
        case BH_EV_BPF:
        case BH_EV_KEXEC:
        case BH_EV_PERF_EVENT_OPEN:
        case BH_EV_USERFAULTFD:
        case BH_EV_IO_URING_SETUP:
                return reaches(e, out);
        default:
                return 0;
        }
}

static gboolean is_told(guint32 type) {
        return type == BH_EV_EXEC || type == BH_EV_CREDS || (type >= BH_EV_SETNS && type <= BH_EV_CHROOT) || (type >= BH_EV_PTRACE && type <= BH_EV_MEMFD_CREATE) ||
               (type >= BH_EV_OPEN && type <= BH_EV_MOVE_MOUNT) || type == BH_EV_LISTEN || type == BH_EV_DNS || (type >= BH_EV_MODULE_LOAD && type <= BH_EV_IO_URING_SETUP);
}

guint bh_facts_of(const struct bh_event *e, BhFact out[BH_FACTS_MAX]) {
        struct bh_str actor = TEXT(e, exe);

        if (NUMBER(e, flags, 0) & ONLY_COUNTS)
                return 0;
        if (!is_told(e->type) || !bh_event_has(e, BH_F_container_id) || !e->container_id.len || (e->type != BH_EV_EXEC && bh_never_runtime(e)))
                return 0;
        for (guint i = 0; i < BH_FACTS_MAX; i++) {
                out[i].subject = out[i].detail = out[i].example = (struct bh_str){ "", 0 };
                out[i].parent = actor;
                out[i].uid = 0;
                out[i].often = FALSE;
                out[i].detail_text[0] = '\0';
                if (e->type != BH_EV_CREDS)
                        break;
        }
        return fill(e, out);
}

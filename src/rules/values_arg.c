/* SPDX-License-Identifier: Apache-2.0 */
/* evt.arg.NAME, evt.arg[N], evt.rawarg.NAME and evt.args, from args.tbl.h. */
#include <arpa/inet.h>

#include "rules/names.h"
#include "rules/value.h"

#define HAS(member) bh_event_has(e, BH_F_##member)

enum getter {
        ACTION, ACTOR, ADDRESS, ARGS, BACKLOG, BPF, BYTES, CAP_EFFECTIVE, CAP_INHERITABLE, CAP_PERMITTED, CHILD_VPID, CLONE_FLAGS, COMM, CWD, DEV, DOMAIN, ENV, EXE, EXEPATH, EXE_CTIME,
        EXE_FLAGS, EXE_INO, EXE_MTIME, EXIT_CODE, EXIT_SIGNAL, FD, FILENAME, GID, INO, LOCAL, LOGINUID, MEMFD_FLAGS, MESSAGE, MMAP_FLAGS, MODE_FLAGS, MODE_HEX, MODE_OCTAL,
        MODULE_FLAGS, MOUNT_FLAGS, NAME, NEW_FD, NEW_GID, NEW_RGID, NEW_RUID, NEW_SGID, NEW_SUID, NEW_UID, NS_FLAGS, OLD_FD, OPEN_FLAGS, OPERATION, OP_FLAGS, OWNER_GID, OWNER_UID, PATH,
        PATH2, PAYLOAD, PGID, PID, PROT, PROTO, PR_SET_NAME, PR_SET_SECCOMP, PTID, PTRACE, RDEV, REMOTE, RENAME_FLAGS, RES, RET, SIGNAL, SOCK_TYPE, STATUS, SUBJECT, TARGET_PID, TID, TTY, TUPLE,
        UID, UMOUNT_FLAGS, UNLOAD_FLAGS, VPGID,
};

struct arg {
        guint16 kind;
        guint8 getter;
        gboolean alias;
        const char *name;
};

static const struct arg args[] = {
#define BH_RULE_ARG(KIND, name, getter) { BH_EV_##KIND, getter, FALSE, name },
#define BH_RULE_ALIAS(KIND, name, getter) { BH_EV_##KIND, getter, TRUE, name },
#include "rules/args.tbl.h"
};

static struct {
        guint16 first, end;
} rows[BH_EV_MAX];

__attribute__((constructor)) static void index_rows(void) {
        for (guint i = 0; i < G_N_ELEMENTS(args); i++) {
                if (!rows[args[i].kind].end)
                        rows[args[i].kind].first = (guint16) i;
                rows[args[i].kind].end = (guint16) (i + 1);
        }
}

/* The row of a kind by name or number, NULL: it has none. */
static const struct arg *find(guint32 kind, const struct bh_field_ref *f) {
        guint32 number = 0;

        if (kind >= BH_EV_MAX)
                return NULL;
        for (guint i = rows[kind].first; i < rows[kind].end; i++) {
                if (args[i].kind != kind)
                        continue;
                if (f->has_index) {
                        if (!args[i].alias && number++ == f->index)
                                return &args[i];
                } else if (strlen(args[i].name) == f->arg.len && memcmp(args[i].name, f->arg.p, f->arg.len) == 0) {
                        return &args[i];
                }
        }
        return NULL;
}

void bh_rule_arg_calls(const struct bh_field_ref *f, guint64 calls[(BH_CALL_COUNT + 63) / 64]) {
        memset(calls, 0, sizeof(guint64) * ((BH_CALL_COUNT + 63) / 64));
        for (guint c = 0; c < BH_CALL_COUNT; c++) {
                if (find(bh_rule_calls[c].kind, f))
                        calls[c / 64] |= 1ull << (c % 64);
        }
}

static gboolean number(BhRuleScene *s, gboolean there, gint64 n, gboolean raw, const char *format, struct bh_value *out) G_GNUC_PRINTF(5, 0);
static gboolean number(BhRuleScene *s, gboolean there, gint64 n, gboolean raw, const char *format, struct bh_value *out) {
        if (!there)
                return FALSE;
        if (raw)
                return bh_value_num(out, n);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        return bh_value_str(out, bh_scene_print(s, format, n));
#pragma GCC diagnostic pop
}

#define DECIMAL "%" G_GINT64_FORMAT
#define HEXADECIMAL "0x%" G_GINT64_MODIFIER "x"
#define OCTAL "0%" G_GINT64_MODIFIER "o"

/* A number that has a text of its own. */
static gboolean named(gboolean there, gint64 n, gboolean raw, struct bh_str text, struct bh_value *out) {
        return !there ? FALSE : raw ? bh_value_num(out, n) : bh_value_str(out, text);
}

static gboolean result(BhRuleScene *s, gboolean raw, struct bh_value *out) {
        const struct bh_event *e = s->event;

        if (!HAS(ret))
                return FALSE;
        if (!raw && e->ret < 0 && HAS(error))
                return bh_value_str(out, e->error);
        return number(s, TRUE, e->ret, raw, DECIMAL, out);
}

/* A descriptor as "<f>/etc/passwd", the error where there is none. */
static gboolean descriptor(BhRuleScene *s, gboolean raw, struct bh_value *out) {
        const struct bh_event *e = s->event;
        struct bh_value num, type, name;
        char *p;
        gsize n;

        if (HAS(ret) && e->ret < 0 && !HAS(fd))
                return result(s, raw, out);
        if (!bh_value_fd(s, &(struct bh_field_ref){ .id = BH_FLD_FD_NUM }, &num)) {
                if (!HAS(fd))
                        return FALSE;
                bh_value_num(&num, e->fd);
        }
        if (raw) {
                *out = num;
                return TRUE;
        }
        if (!bh_value_fd(s, &(struct bh_field_ref){ .id = BH_FLD_FD_TYPECHAR }, &type) || !bh_value_fd(s, &(struct bh_field_ref){ .id = BH_FLD_FD_NAME }, &name))
                return num.kind == BH_VALUE_NUM && bh_value_str(out, bh_scene_print(s, DECIMAL, num.n));
        if (!(p = bh_scene_room(s, name.s.len + 4)))
                return FALSE;
        n = (gsize) g_snprintf(p, 4, "<%c>", type.s.len ? type.s.p[0] : 'o');
        memcpy(p + n, name.s.p, name.s.len);
        return bh_value_str(out, bh_scene_take(s, n + name.s.len));
}

/* A user id as its name; -1 leaves it as it is. */
static gboolean user(BhRuleScene *s, gboolean there, guint32 id, gboolean group, gboolean raw, struct bh_value *out) {
        const struct bh_event *e = s->event;
        struct bh_str name;

        if (!there)
                return FALSE;
        if (raw)
                return bh_value_num(out, id == G_MAXUINT32 ? -1 : (gint64) id);
        if (id == G_MAXUINT32)
                return bh_value_text(out, "<NONE>");
        /* what the event carries is the name of the id after the act */
        if (group ? HAS(proc_group) && HAS(gid) && e->gid == id : HAS(proc_user) && HAS(uid) && e->uid == id)
                return bh_value_str(out, group ? e->proc_group : e->proc_user);
        if (s->lineage && s->lineage->user && s->lineage->user(s->lineage->data, e, id, group, &name) && name.len)
                return bh_value_str(out, name);
        return bh_value_text(out, id == 0 ? "root" : "<NA>");
}

static gboolean proc(BhRuleScene *s, guint id, gboolean raw, struct bh_value *out) {
        if (!bh_value_proc(s, &(struct bh_field_ref){ .id = id }, out))
                return FALSE;
        return raw || out->kind != BH_VALUE_NUM ? TRUE : bh_value_str(out, bh_scene_print(s, DECIMAL, out->n));
}

static gboolean one_side(BhRuleScene *s, gboolean local, struct bh_value *out) {
        const struct bh_event *e = s->event;
        struct bh_value ip, port;
        char text[INET6_ADDRSTRLEN];

        if (HAS(path) && !HAS(laddr) && !HAS(raddr))
                return bh_value_str(out, e->path);
        if (!bh_value_fd(s, &(struct bh_field_ref){ .id = local ? BH_FLD_FD_LIP : BH_FLD_FD_RIP }, &ip) ||
            !bh_value_fd(s, &(struct bh_field_ref){ .id = local ? BH_FLD_FD_LPORT : BH_FLD_FD_RPORT }, &port) ||
            !inet_ntop(ip.ip.len == 4 ? AF_INET : AF_INET6, ip.ip.b, text, sizeof(text)))
                return FALSE;
        return bh_value_str(out, bh_scene_print(s, "%s:" DECIMAL, text, port.n));
}

static gboolean target(BhRuleScene *s, gboolean raw, struct bh_value *out) {
        const struct bh_event *e = s->event;

        if (!HAS(target_pid))
                return FALSE;
        return !raw && HAS(target_comm) ? bh_value_str(out, e->target_comm) : number(s, TRUE, e->target_pid, raw, DECIMAL, out);
}

static gboolean get(BhRuleScene *s, enum getter g, gboolean raw, struct bh_value *out) {
        const struct bh_event *e = s->event;

#define TEXT(member) (HAS(member) ? bh_value_str(out, e->member) : FALSE)
#define NUM(member, format) number(s, HAS(member), (gint64) e->member, raw, format, out)
#define NAMED(member, text) (HAS(member) ? named(TRUE, (gint64) e->member, raw, raw ? (struct bh_str){ "", 0 } : (text), out) : FALSE)
        switch (g) {
        case ACTION: return TEXT(action);
        case ACTOR: return TEXT(actor);
        case MESSAGE: return TEXT(message);
        case PATH: return HAS(path) ? bh_value_str(out, e->path) : e->type <= BH_EV_CHOWN && e->type >= BH_EV_OPEN ? TEXT(name) : FALSE;
        case PATH2: return TEXT(path2);
        case NAME: return TEXT(name);
        case PAYLOAD: return TEXT(payload);
        case ADDRESS: return NUM(address, HEXADECIMAL);
        case BACKLOG: return NUM(backlog, DECIMAL);
        case BYTES: return NUM(bytes, DECIMAL);
        case CHILD_VPID: return NUM(child_vpid, DECIMAL);
        case DEV: return NUM(dev, HEXADECIMAL);
        case INO: return NUM(ino, DECIMAL);
        case RDEV: return NUM(rdev, DECIMAL);
        case EXIT_CODE: return NUM(exit_code, DECIMAL);
        case STATUS: return NUM(exit_status, DECIMAL);
        case OPERATION: return NUM(operation, DECIMAL);
        case OP_FLAGS: return NUM(op_flags, HEXADECIMAL);
        case SUBJECT: return NUM(subject, DECIMAL);
        case SOCK_TYPE: return NUM(sock_type, DECIMAL);
        case PROTO: return NUM(proto, DECIMAL);
        case MODE_OCTAL: return NUM(mode, OCTAL);
        case MODE_HEX: return NUM(mode, HEXADECIMAL);
        case RET: return result(s, raw, out);
        case RES: return result(s, raw, out);
        case BPF: return NAMED(operation, bh_rule_bpf(s, e->operation));
        case PTRACE: return NAMED(operation, bh_rule_ptrace(s, e->operation));
        case CLONE_FLAGS: return NAMED(clone_flags, bh_rule_flags(s, BH_F_clone_flags, e->clone_flags));
        case NS_FLAGS: return NAMED(ns_flags, bh_rule_flags(s, BH_F_ns_flags, e->ns_flags));
        case OPEN_FLAGS: return NAMED(open_flags, bh_rule_open_flags(s, e));
        case PROT: return NAMED(prot, bh_rule_flags(s, BH_F_prot, e->prot));
        case DOMAIN: return NAMED(family, bh_rule_family(s, e->family));
        case MEMFD_FLAGS: return NAMED(op_flags, bh_rule_memfd_flags(s, e->op_flags));
        case MMAP_FLAGS: return NAMED(op_flags, bh_rule_mmap_flags(s, e->op_flags));
        case RENAME_FLAGS: return NAMED(op_flags, bh_rule_rename_flags(s, e->op_flags));
        case MOUNT_FLAGS: return NAMED(op_flags, bh_rule_mount_flags(s, e->op_flags));
        case UMOUNT_FLAGS: return NAMED(op_flags, bh_rule_umount_flags(s, e->op_flags));
        case MODULE_FLAGS: return NAMED(op_flags, bh_rule_module_flags(s, e->op_flags, FALSE));
        case UNLOAD_FLAGS: return NAMED(op_flags, bh_rule_module_flags(s, e->op_flags, TRUE));
        case MODE_FLAGS: return NAMED(mode, bh_rule_mode(s, e->mode));
        case SIGNAL: return NAMED(signal, bh_rule_signal(s, e->signal));
        case EXIT_SIGNAL: return NAMED(exit_signal, bh_rule_signal(s, e->exit_signal));
        case PR_SET_NAME: return raw ? bh_value_num(out, 15) : bh_value_text(out, "PR_SET_NAME");
        case PR_SET_SECCOMP: return raw ? bh_value_num(out, 22) : bh_value_text(out, "PR_SET_SECCOMP");
        case FD:
        case NEW_FD: return descriptor(s, raw, out);
        case OLD_FD: return NUM(old_fd, DECIMAL);
        case OWNER_UID: return user(s, HAS(owner_uid), e->owner_uid, FALSE, raw, out);
        case OWNER_GID: return user(s, HAS(owner_gid), e->owner_gid, TRUE, raw, out);
        case NEW_UID: return user(s, HAS(euid), e->euid, FALSE, raw, out);
        case NEW_RUID: return user(s, HAS(ruid), e->ruid, FALSE, raw, out);
        case NEW_SUID: return user(s, HAS(suid), e->suid, FALSE, raw, out);
        case NEW_GID: return user(s, HAS(egid), e->egid, TRUE, raw, out);
        case NEW_RGID: return user(s, HAS(rgid), e->rgid, TRUE, raw, out);
        case NEW_SGID: return user(s, HAS(sgid), e->sgid, TRUE, raw, out);
        case UID: return user(s, HAS(uid), e->uid, FALSE, raw, out);
        case GID: return user(s, HAS(gid), e->gid, TRUE, raw, out);
        case TARGET_PID: return target(s, raw, out);
        case TUPLE: return bh_value_fd(s, &(struct bh_field_ref){ .id = BH_FLD_FD_NAME }, out) && out->s.len;
        case LOCAL: return one_side(s, TRUE, out);
        case REMOTE: return one_side(s, FALSE, out);
        case EXE_FLAGS: return bh_value_str(out, bh_rule_exe_flags(s));
        case FILENAME: return HAS(script) ? bh_value_str(out, e->script) : TEXT(exe);
        case EXE: return proc(s, BH_FLD_PROC_EXE, raw, out);
        case EXEPATH: return proc(s, BH_FLD_PROC_EXEPATH, raw, out);
        case ARGS: return proc(s, BH_FLD_PROC_ARGS, raw, out);
        case ENV: return proc(s, BH_FLD_PROC_ENV, raw, out);
        case CWD: return proc(s, BH_FLD_PROC_CWD, raw, out);
        case COMM: return proc(s, BH_FLD_PROC_NAME, raw, out);
        case TID: return proc(s, BH_FLD_THREAD_TID, raw, out);
        case PID: return proc(s, BH_FLD_PROC_PID, raw, out);
        case PTID: return proc(s, BH_FLD_PROC_PPID, raw, out);
        case PGID: return proc(s, BH_FLD_PROC_PGID, raw, out);
        case VPGID: return proc(s, BH_FLD_PROC_VPGID, raw, out);
        case TTY: return proc(s, BH_FLD_PROC_TTY, raw, out);
        case LOGINUID: return proc(s, raw ? BH_FLD_USER_LOGINUID : BH_FLD_USER_LOGINNAME, raw, out);
        case EXE_INO: return proc(s, BH_FLD_PROC_EXE_INO, raw, out);
        case EXE_CTIME: return proc(s, BH_FLD_PROC_EXE_CTIME, raw, out);
        case EXE_MTIME: return proc(s, BH_FLD_PROC_EXE_MTIME, raw, out);
        case CAP_INHERITABLE: return proc(s, BH_FLD_THREAD_CAP_INHERITABLE, raw, out);
        case CAP_PERMITTED: return proc(s, BH_FLD_THREAD_CAP_PERMITTED, raw, out);
        case CAP_EFFECTIVE: return proc(s, BH_FLD_THREAD_CAP_EFFECTIVE, raw, out);
        }
        return FALSE;
}

gboolean bh_value_arg(BhRuleScene *s, const struct bh_field_ref *f, gboolean raw, struct bh_value *out) {
        const struct arg *arg = find(s->event->type, f);

        return arg && get(s, (enum getter) arg->getter, raw, out);
}

#define SHOWN_MAX 32u /* arguments of a kind */

void bh_value_args(BhRuleScene *s, struct bh_value *out) {
        guint32 kind = s->event->type;
        struct {
                const char *name;
                struct bh_str text;
        } shown[SHOWN_MAX];
        gsize len = 0, used = 0;
        guint n = 0;
        struct bh_value v;
        char *p;

        for (guint i = kind < BH_EV_MAX ? rows[kind].first : 0; kind < BH_EV_MAX && i < rows[kind].end && n < SHOWN_MAX; i++) {
                if (args[i].kind != kind || args[i].alias || args[i].getter == PAYLOAD || !get(s, (enum getter) args[i].getter, FALSE, &v) || v.kind != BH_VALUE_STR)
                        continue;
                shown[n].name = args[i].name;
                shown[n++].text = v.s;
                len += strlen(args[i].name) + v.s.len + 2;
        }
        if (!(p = bh_scene_room(s, len))) {
                bh_value_str(out, (struct bh_str){ "", 0 });
                return;
        }
        for (guint i = 0; i < n; i++) {
                gsize name = strlen(shown[i].name);

                if (i)
                        p[used++] = ' ';
                memcpy(p + used, shown[i].name, name);
                used += name;
                p[used++] = '=';
                memcpy(p + used, shown[i].text.p ? shown[i].text.p : "", shown[i].text.len);
                used += shown[i].text.len;
        }
        bh_value_str(out, bh_scene_take(s, used));
}

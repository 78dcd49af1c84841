/* SPDX-License-Identifier: Apache-2.0 */
#include "event/record_decode.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "event/codec.h"

/* One row of event_args.tbl.h. Rows of a kind stand together. */
static const struct arg {
        guint16 type;
        guint8 index, field;
} args[] = {
#define BH_EVENT_ARG(TYPE, index_, member) { BH_EV_##TYPE, index_, BH_F_##member },
#include "event_args.tbl.h"
};
#define BH_EVENT_ARG(TYPE, index_, member) _Static_assert(index_ < BH_ARGS_MAX, "a[] has room");
#include "event_args.tbl.h"

static struct {
        guint8 first, n;
} args_of[BH_EV_KERNEL_MAX];
_Static_assert(G_N_ELEMENTS(args) < 256, "args_of holds an index in a byte");

__attribute__((constructor)) static void index_args(void) {
        for (guint i = 0; i < G_N_ELEMENTS(args); i++) {
                if (!args_of[args[i].type].n)
                        args_of[args[i].type].first = (guint8) i;
                /* also right should rows of a kind ever stand apart: then it covers foreign rows, which the loop skips */
                args_of[args[i].type].n = (guint8) (i + 1 - args_of[args[i].type].first);
        }
}

static gboolean result_is_missing(guint type) {
        switch (type) {
        case BH_EV_EXIT:
        case BH_EV_CGROUP_CREATE:
        case BH_EV_CGROUP_REMOVE:
        case BH_EV_CGROUP_ATTACH:
        case BH_EV_CLOSE_WRITE:
                return TRUE;
        }
        return FALSE;
}

/* Kinds whose `fd` is what the call returned, so that there is none where it failed. */
static gboolean fd_is_result(guint type) {
        switch (type) {
        case BH_EV_OPEN:
        case BH_EV_SOCKET:
        case BH_EV_ACCEPT:
        case BH_EV_MEMFD_CREATE:
        case BH_EV_USERFAULTFD:
        case BH_EV_IO_URING_SETUP:
                return TRUE;
        }
        return FALSE;
}

static void set_arg(struct bh_decoded *out, guint type, guint field, guint64 v, const struct bh_rec *rec, const struct bh_clock *clock) {
        struct bh_event *e = &out->event;

        switch (field) {
        case BH_F_dev:
                v = bh_dev_from_kernel((guint32) v);
                if (!v)
                        return;
                break;
        case BH_F_child_start:
                out->child_start = v;
                if (!v)
                        return;
                v = bh_clock_start(clock, v);
                break;
        case BH_F_target_start:
                out->target_start = v;
                if (!v)
                        return;
                v = bh_clock_start(clock, v);
                break;
        case BH_F_target_pid:
                if ((gint32) v <= 0)
                        return;
                break;
        case BH_F_ino:
        case BH_F_rdev: /* as the caller gave it, which is as stat(2) has it; 0: not a device node */
        case BH_F_ctime:
        case BH_F_exe_mtime:
        case BH_F_address:
        case BH_F_target_cgroup:
        case BH_F_parent_cgroup:
        case BH_F_child_cgroup:
        case BH_F_fd_mode:
        case BH_F_net_ns:
                if (!v)
                        return;
                break;
        case BH_F_mode:
                if (!v && type == BH_EV_OPEN)
                        return;
                break;
        case BH_F_fd:
                if ((gint32) v < 0 || (rec->ret < 0 && fd_is_result(type)))
                        return;
                break;
        case BH_F_old_fd:
                if ((gint32) v < 0)
                        return;
                break;
        }

        void *member = (char *) e + bh_fields[field].offset;
        switch ((enum bh_kind) bh_fields[field].kind) {
        case BH_KIND_BOOL:
                *(gboolean *) member = v != 0;
                break;
        case BH_KIND_U32:
        case BH_KIND_I32:
        case BH_KIND_ENUM:
                *(guint32 *) member = (guint32) v;
                break;
        default:
                *(guint64 *) member = v;
                break;
        }
        bh_event_mark(e, field);
}
/* set_arg() writes numbers only. */
#define NUMBER_U64 1
#define NUMBER_I64 1
#define NUMBER_U32 1
#define NUMBER_I32 1
#define NUMBER_BOOL 1
#define NUMBER_TIME 1
#define NUMBER_HEX 1
#define NUMBER_KEY 1
#define NUMBER_ENUM 1
#define NUMBER_FLAGS 1
#define NUMBER_STR 0
#define NUMBER_LIST 0
#define NUMBER_PAIRS 0
#define NUMBER_IP 0
#define NUMBER_BYTES 0
enum {
#define BH_FIELD(num, kind, member, name, doc) number_##member = NUMBER_##kind,
#include "event/fields.tbl.h"
};
#define BH_EVENT_ARG(TYPE, index_, member) _Static_assert(number_##member, "an argument is a number");
#include "event_args.tbl.h"

static void set_ip(struct bh_event *e, enum bh_field field, guint family, const guint8 *b) {
        struct bh_ip ip = { .len = family == AF_INET ? 4 : 16 };

        memcpy(ip.b, b, ip.len);
        if (field == BH_F_laddr)
                BH_SET(e, laddr, ip);
        else
                BH_SET(e, raddr, ip);
}

static void set_addr(struct bh_event *e, guint type, const struct bh_addr *a) {
        static const guint8 zero[16];

        BH_SET(e, family, a->family);
        BH_SET(e, sock_type, a->type);
        BH_SET(e, proto, a->proto);
        if (a->ifindex)
                BH_SET(e, ifindex, a->ifindex);
        if (a->family != AF_INET && a->family != AF_INET6)
                return;

        /* the wildcard is an answer where a local address was chosen, and a destination (this host) where one was named */
        gboolean local = type == BH_EV_BIND || type == BH_EV_LISTEN || memcmp(a->laddr, zero, sizeof(zero)) != 0;
        gboolean remote = type == BH_EV_CONNECT || memcmp(a->raddr, zero, sizeof(zero)) != 0;

        if (local)
                set_ip(e, BH_F_laddr, a->family, a->laddr);
        if (local || a->lport)
                BH_SET(e, lport, a->lport);
        if (remote)
                set_ip(e, BH_F_raddr, a->family, a->raddr);
        if (remote || a->rport)
                BH_SET(e, rport, a->rport);
}

void bh_event_set_cred(struct bh_event *e, const struct bh_cred *c) {
        BH_SET(e, ruid, c->uid);
        BH_SET(e, euid, c->euid);
        BH_SET(e, suid, c->suid);
        BH_SET(e, fsuid, c->fsuid);
        BH_SET(e, rgid, c->gid);
        BH_SET(e, egid, c->egid);
        BH_SET(e, sgid, c->sgid);
        BH_SET(e, fsgid, c->fsgid);
        BH_SET(e, cap_effective, c->cap_effective);
        BH_SET(e, cap_permitted, c->cap_permitted);
        BH_SET(e, cap_inheritable, c->cap_inheritable);
        BH_SET(e, cap_bounding, c->cap_bounding);
        BH_SET(e, cap_ambient, c->cap_ambient);
        if (c->user_ns)
                BH_SET(e, user_ns, c->user_ns);
}

void bh_event_set_cred_old(struct bh_event *e, const struct bh_cred *c) {
        BH_SET(e, old_euid, c->euid);
        BH_SET(e, old_egid, c->egid);
        BH_SET(e, old_ruid, c->uid);
        BH_SET(e, old_cap_effective, c->cap_effective);
        BH_SET(e, old_cap_permitted, c->cap_permitted);
}

static void set_exec(struct bh_event *e, const struct bh_exec_info *x) {
        if (x->dev)
                BH_SET(e, exe_dev, bh_dev_from_kernel(x->dev));
        if (x->ino)
                BH_SET(e, exe_ino, x->ino);
        if (x->ctime)
                BH_SET(e, exe_ctime, x->ctime);
        BH_SET(e, exe_mode, x->mode);
        BH_SET(e, exe_uid, x->owner_uid);
        BH_SET(e, sid, x->sid);
        BH_SET(e, pgid, x->pgid);
        BH_SET(e, tty, x->tty);
        BH_SET(e, loginuid, x->loginuid);
        if (x->vpid)
                BH_SET(e, vpid, x->vpid);
        if (x->pid_ns)
                BH_SET(e, pid_ns, x->pid_ns);
        if (x->net_ns)
                BH_SET(e, net_ns, x->net_ns);
        if (x->user_ns)
                BH_SET(e, user_ns, x->user_ns);
        if (x->ipc_ns)
                BH_SET(e, ipc_ns, x->ipc_ns);
        if (x->uts_ns)
                BH_SET(e, uts_ns, x->uts_ns);
        if (x->cgroup_ns)
                BH_SET(e, cgroup_ns, x->cgroup_ns);
}

/*
 * The directory that a text starts from (for an absolute one the root of its process) and the text, as one absolute path into `buf` (as long as
 * both and two more). `dir` may be missing.
 */
static struct bh_str join(struct bh_str dir, struct bh_str path, char *buf) {
        struct bh_str parts[2] = { dir, path };
        guint32 n = 0, floor = 0; /* ".." of an absolute text does not lead out of the root */

        for (guint k = 0; k < 2; k++) {
                const char *p = parts[k].p, *end = p + parts[k].len;

                if (k && p[0] == '/')
                        floor = n;
                while (p < end) {
                        const char *slash = memchr(p, '/', (gsize) (end - p));
                        guint32 len = (guint32) ((slash ? slash : end) - p);

                        if (len == 2 && p[0] == '.' && p[1] == '.') {
                                while (n > floor && buf[--n] != '/')
                                        ;
                        } else if (len && !(len == 1 && p[0] == '.')) {
                                buf[n++] = '/';
                                memcpy(buf + n, p, len);
                                n += len;
                        }
                        p += len + (slash != NULL);
                }
        }
        if (!n)
                buf[n++] = '/';
        return (struct bh_str){ buf, n };
}

/* An unresolved path that can be said better. A relative one whose directory is not known stays as it is. */
static gboolean improves(const struct bh_str *path, const struct bh_str *dir) {
        if (path->len > BH_PATH_MAX || dir->len > BH_PATH_MAX || !path->len)
                return FALSE;
        if (dir->len > 0)
                return dir->p[0] == '/' && (path->p[0] != '/' || dir->len > 1 || memmem(path->p, path->len, "/.", 2) || memmem(path->p, path->len, "//", 2));
        return path->p[0] == '/' && (memmem(path->p, path->len, "/.", 2) || memmem(path->p, path->len, "//", 2));
}

static void complete_paths(struct bh_decoded *out, struct bh_str dir2) {
        struct bh_event *e = &out->event;

        /* kinds whose NAME is the first path as it was written; that of others is an attribute, a file system, a module */
        if (e->type >= BH_EV_OPEN && e->type <= BH_EV_CHOWN && !bh_event_has(e, BH_F_path) && bh_event_has(e, BH_F_name) && e->name.len)
                BH_SET(e, path, e->name);
        /* abstract sockets and the targets of symbolic links are no paths of the caller's directory */
        if (bh_event_has(e, BH_F_path) && e->path.len && e->path.p[0] != '@' && improves(&e->path, &e->cwd)) {
                if (!bh_event_has(e, BH_F_name))
                        BH_SET(e, name, e->path);
                e->path = join(e->cwd, e->path, out->text);
        }
        if (bh_event_has(e, BH_F_path2) && e->type != BH_EV_SYMLINK && improves(&e->path2, &dir2))
                e->path2 = join(dir2, e->path2, out->text + sizeof(out->text) / 2);
        if (e->type != BH_EV_EXEC)
                e->has[BH_F_cwd / 64] &= ~(1ull << BH_F_cwd % 64);
}

static gboolean bad(GError **error, const struct bh_rec *rec, const char *what, guint64 n) {
        g_set_error(error, BH_EVENT_ERROR, 1, "kernel record of type %u, %u bytes, is malformed: %s (%" G_GUINT64_FORMAT ")", rec->type, rec->size, what, n);
        return FALSE;
}

gboolean bh_record_decode(const struct bh_rec *rec, gsize size, const struct bh_clock *clock, struct bh_decoded *out, GError **error) {
        struct bh_event *e = &out->event;

        if (size < sizeof(*rec)) {
                g_set_error(error, BH_EVENT_ERROR, 1, "kernel record of %zu bytes is shorter than its header", (size_t) size);
                return FALSE;
        }
        if (rec->size < sizeof(*rec) || rec->size > size)
                return bad(error, rec, "its size is not that of what was received", size);
        if (rec->type >= BH_EV_KERNEL_MAX || !bh_event_type_name(rec->type))
                return bad(error, rec, "no such type", rec->type);

        memset(out, 0, offsetof(struct bh_decoded, text));
        out->origin = rec->origin;
        out->start = rec->start;
        out->fold_key = rec->fold_key;
        BH_SET(e, type, rec->type);
        BH_SET(e, source, BH_SOURCE_KERNEL);
        BH_SET(e, time, rec->ts + clock->now);
        BH_SET(e, boottime, rec->ts);
        BH_SET(e, count, rec->count ? rec->count : 1);
        if (rec->flags)
                BH_SET(e, flags, rec->flags);
        BH_SET(e, pid, rec->tgid);
        BH_SET(e, tid, rec->tid);
        BH_SET(e, ppid, rec->ppid);
        BH_SET(e, uid, rec->uid);
        BH_SET(e, gid, rec->gid);
        if (rec->start)
                BH_SET(e, proc_start, bh_clock_start(clock, rec->start));
        if (rec->mnt_ns)
                BH_SET(e, mnt_ns, rec->mnt_ns);
        if (rec->cgroup)
                BH_SET(e, cgroup, rec->cgroup);
        if (rec->comm[0])
                BH_SET(e, comm, ((struct bh_str){ rec->comm, (guint32) strnlen(rec->comm, sizeof(rec->comm)) }));
        if (!result_is_missing(rec->type)) {
                BH_SET(e, ret, rec->ret);
                if (rec->ret < 0 && rec->ret > -4096)
                        BH_SET_STR(e, error, bh_errno_name((int) -rec->ret));
        }

        /* a record that only stands for acts over budget describes none of them */
        if (!(rec->flags & BH_RF_OVER_BUDGET)) {
                for (guint i = args_of[rec->type].first, end = i + args_of[rec->type].n; i < end; i++) {
                        if (args[i].type == rec->type)
                                set_arg(out, rec->type, args[i].field, rec->a[args[i].index], rec, clock);
                }
        }
        if (rec->type == BH_EV_FORK)
                out->child_origin = rec->a[5];
        if (rec->type == BH_EV_EXIT) {
                int status = (int) rec->a[0];

                if (WIFEXITED(status))
                        BH_SET(e, exit_code, WEXITSTATUS(status));
                else if (WIFSIGNALED(status))
                        BH_SET(e, exit_signal, (guint32) WTERMSIG(status));
        }

        struct bh_str dir2 = { NULL, 0 };
        const guint8 *p = (const guint8 *) rec + sizeof(*rec), *end = (const guint8 *) rec + rec->size;
        while (p < end) {
                struct bh_chunk chunk;

                if ((gsize) (end - p) < sizeof(chunk))
                        return bad(error, rec, "a chunk's head runs over the end at byte", (guint64) (p - (const guint8 *) rec));
                memcpy(&chunk, p, sizeof(chunk));
                p += sizeof(chunk);
                if (chunk.len > end - p)
                        return bad(error, rec, "a chunk runs over the end, tag", chunk.tag);

                struct bh_str s = { (const char *) p, chunk.len };

#define TEXT(TAG, member) \
        case BH_TAG_##TAG: \
                BH_SET(e, member, s); \
                break
#define FIXED(TAG, member) \
        case BH_TAG_##TAG: \
                if (chunk.len != sizeof(out->member)) \
                        return bad(error, rec, "a chunk of a fixed size has another, tag", chunk.tag); \
                memcpy(&out->member, p, sizeof(out->member)); \
                out->has_##member = TRUE; \
                break

                switch (chunk.tag) {
                TEXT(PATH, path);
                TEXT(PATH2, path2);
                TEXT(NAME, name);
                TEXT(ARGV, args);
                TEXT(ENVP, env);
                TEXT(EXE, exe);
                TEXT(CWD, cwd);
                TEXT(PAYLOAD, payload);
                TEXT(COMM, target_comm);
                TEXT(SCRIPT, script);
                FIXED(ADDR, addr);
                FIXED(CRED, cred);
                FIXED(CRED_OLD, cred_old);
                FIXED(EXEC, exec);
                case BH_TAG_CWD2:
                        dir2 = s;
                        break;
                default:
                        return bad(error, rec, "no such chunk tag", chunk.tag);
                }
#undef TEXT
#undef FIXED
                p += chunk.len;
        }
        if (rec->flags & BH_RF_PATH_USER)
                complete_paths(out, dir2);
        if (bh_event_has(e, BH_F_path) && (rec->type == BH_EV_CGROUP_CREATE || rec->type == BH_EV_CGROUP_REMOVE || rec->type == BH_EV_CGROUP_ATTACH)) {
                BH_SET(e, cgroup_path, e->path);
                e->has[BH_F_path / 64] &= ~(1ull << BH_F_path % 64);
        }
        if (out->has_addr)
                set_addr(e, rec->type, &out->addr);
        if (out->has_exec)
                set_exec(e, &out->exec);
        if (out->has_cred)
                bh_event_set_cred(e, &out->cred);
        if (out->has_cred_old)
                bh_event_set_cred_old(e, &out->cred_old);
        /* what was asked for is news only where it is not the executable itself */
        if (bh_event_has(e, BH_F_script) && bh_event_has(e, BH_F_exe) && e->script.len == e->exe.len && memcmp(e->script.p, e->exe.p, e->exe.len) == 0)
                e->has[BH_F_script / 64] &= ~(1ull << (BH_F_script % 64));
        return TRUE;
}

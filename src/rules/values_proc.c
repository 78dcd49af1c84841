/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of the acting process, its ancestors, thread, user and group. */
#include "rules/value.h"

#define HAS(member) bh_event_has(e, BH_F_##member)

typedef const struct bh_lineage_process Process;

/* ---- texts of any process ---- */

/* argv[0] and what follows it; the list is NUL-terminated texts one after the other. */
static gboolean split_args(struct bh_str args, struct bh_str *first, struct bh_str *rest) {
        const char *nul;

        if (!args.len)
                return FALSE;
        nul = memchr(args.p, 0, args.len);
        *first = (struct bh_str){ args.p, nul ? (guint32) (nul - args.p) : args.len };
        *rest = nul ? (struct bh_str){ nul + 1, args.len - first->len - 1 } : (struct bh_str){ args.p + args.len, 0 };
        if (rest->len && rest->p[rest->len - 1] == 0)
                rest->len--;
        return TRUE;
}

/* `head`, if any, and the list's texts, blanks between. Without a head and with one text nothing is copied. */
static gboolean join(BhRuleScene *s, const struct bh_str *head, struct bh_str list, struct bh_value *out) {
        gsize len = (head ? head->len + 1 : 0) + list.len;
        char *p;
        gsize n = 0;

        if (!head && !memchr(list.p ? list.p : "", 0, list.len))
                return bh_value_str(out, list.p ? list : (struct bh_str){ "", 0 });
        if (head && !list.len)
                return bh_value_str(out, *head);
        if (!(p = bh_scene_room(s, len)))
                return FALSE;
        if (head) {
                memcpy(p, head->p, head->len);
                n = head->len;
                p[n++] = ' ';
        }
        for (guint32 i = 0; i < list.len; i++)
                p[n++] = list.p[i] ? list.p[i] : ' ';
        return bh_value_str(out, bh_scene_take(s, n));
}

static gboolean nth_text(struct bh_str list, guint32 index, struct bh_str *text) {
        const char *p = list.p, *end = list.p + list.len;

        for (;;) {
                const char *nul = memchr(p, 0, (gsize) (end - p));

                if (!index) {
                        *text = (struct bh_str){ p, (guint32) ((nul ? nul : end) - p) };
                        return p < end || nul != NULL;
                }
                if (!nul)
                        return FALSE;
                p = nul + 1;
                index--;
        }
}

static gboolean exe_of(struct bh_str args, struct bh_value *out) {
        struct bh_str first, rest;

        return split_args(args, &first, &rest) && bh_value_str(out, first);
}

static gboolean args_of(BhRuleScene *s, struct bh_str args, gboolean has_index, guint32 index, struct bh_value *out) {
        struct bh_str first, rest, text;

        if (!split_args(args, &first, &rest))
                return FALSE;
        if (has_index)
                return rest.p < args.p + args.len && nth_text(rest, index, &text) && bh_value_str(out, text);
        return join(s, NULL, rest, out);
}

static gboolean cmdline_of(BhRuleScene *s, struct bh_str comm, struct bh_str args, struct bh_value *out) {
        struct bh_str first, rest;

        if (!split_args(args, &first, &rest))
                return comm.len && bh_value_str(out, comm);
        return join(s, &comm, rest, out);
}

static gboolean env_of(BhRuleScene *s, struct bh_str env, const struct bh_str *name, struct bh_value *out) {
        if (!env.len)
                return FALSE;

        const char *p = env.p, *end = env.p + env.len;

        if (!name) {
                if (env.p[env.len - 1] == 0)
                        env.len--;
                return join(s, NULL, env, out);
        }
        while (p < end) {
                const char *nul = memchr(p, 0, (gsize) (end - p)), *stop = nul ? nul : end;
                gsize n = (gsize) (stop - p);

                if (n > name->len && p[name->len] == '=' && memcmp(p, name->p, name->len) == 0)
                        return bh_value_str(out, (struct bh_str){ p + name->len + 1, (guint32) (n - name->len - 1) });
                p = stop + 1;
        }
        return FALSE;
}

static gboolean text_of(struct bh_str text, struct bh_value *out) {
        return text.len ? bh_value_str(out, text) : FALSE;
}

/* ---- one ancestor ---- */

static gboolean of_ancestor(BhRuleScene *s, guint id, Process *p, struct bh_value *out) {
        switch (id) {
        case BH_FLD_PROC_PEXE:
        case BH_FLD_PROC_AEXE: return exe_of(p->args, out);
        case BH_FLD_PROC_PEXEPATH:
        case BH_FLD_PROC_AEXEPATH: return text_of(p->exe, out);
        case BH_FLD_PROC_PNAME:
        case BH_FLD_PROC_ANAME: return text_of(p->comm, out);
        case BH_FLD_PROC_AARGS: return args_of(s, p->args, FALSE, 0, out);
        case BH_FLD_PROC_PCMDLINE:
        case BH_FLD_PROC_ACMDLINE: return cmdline_of(s, p->comm, p->args, out);
        case BH_FLD_PROC_AENV: return env_of(s, p->env, NULL, out);
        case BH_FLD_PROC_APID: return p->pid ? bh_value_num(out, p->pid) : FALSE;
        }
        return FALSE;
}

static const guint own_field[][2] = {
        { BH_FLD_PROC_AEXE, BH_FLD_PROC_EXE },         { BH_FLD_PROC_AEXEPATH, BH_FLD_PROC_EXEPATH }, { BH_FLD_PROC_ANAME, BH_FLD_PROC_NAME },
        { BH_FLD_PROC_AARGS, BH_FLD_PROC_ARGS },       { BH_FLD_PROC_ACMDLINE, BH_FLD_PROC_CMDLINE }, { BH_FLD_PROC_AENV, BH_FLD_PROC_ENV },
        { BH_FLD_PROC_APID, BH_FLD_PROC_PID },
};

static gboolean ancestor_value(BhRuleScene *s, const struct bh_field_ref *f, struct bh_value *out) {
        if (f->id == BH_FLD_PROC_AENV && !f->has_index) {
                Process *p;

                for (guint n = 1; (p = bh_scene_ancestor(s, n)); n++) {
                        if (env_of(s, p->env, &f->arg, out))
                                return TRUE;
                }
                return FALSE;
        }
        if (f->index == 0) {
                for (guint i = 0; i < G_N_ELEMENTS(own_field); i++) {
                        if (own_field[i][0] == f->id)
                                return bh_value_proc(s, &(struct bh_field_ref){ .id = own_field[i][1] }, out);
                }
                return FALSE;
        }

        Process *p = bh_scene_ancestor(s, f->index);
        return p && of_ancestor(s, f->id, p, out);
}

guint bh_value_proc_ancestors(BhRuleScene *s, const struct bh_field_ref *f, struct bh_value *out) {
        guint count = 0;
        Process *p;

        for (guint n = 1; (p = bh_scene_ancestor(s, n)); n++)
                count += of_ancestor(s, f->id, p, &out[count]) ? 1 : 0;
        return count;
}

/* ---- groups of processes ---- */

static gboolean session_known(BhRuleScene *s, guint32 *sid, guint32 *pgid) {
        const struct bh_event *e = s->event;
        Process *self;

        if (HAS(sid) && HAS(pgid)) {
                *sid = e->sid;
                *pgid = e->pgid;
                return TRUE;
        }
        self = bh_scene_self(s);
        if (!self || !(self->flags & BH_LP_SESSION))
                return FALSE;
        *sid = self->sid;
        *pgid = self->pgid;
        return TRUE;
}

/* The leader: the process itself, the one with that pid, or the eldest ancestor in the group. */
static gboolean leader(BhRuleScene *s, gboolean session, struct bh_lineage_process *found) {
        const struct bh_event *e = s->event;
        guint32 sid, pgid, id;
        Process *p, *self = bh_scene_self(s), *eldest = self;

        if (!session_known(s, &sid, &pgid))
                return FALSE;
        id = session ? sid : pgid;
        if (id == e->pid) {
                *found = (struct bh_lineage_process){ .pid = e->pid, .vpid = e->vpid, .comm = HAS(comm) ? e->comm : (struct bh_str){ "", 0 },
                                                      .exe = HAS(exe) ? e->exe : (struct bh_str){ "", 0 }, .args = HAS(args) ? e->args : (struct bh_str){ "", 0 } };
                return TRUE;
        }
        if (s->lineage && s->lineage->find(s->lineage->data, id, 0, found) && (!found->start || found->start <= e->time))
                return TRUE;
        for (guint n = 1; (p = bh_scene_ancestor(s, n)); n++) {
                if (!(p->flags & BH_LP_SESSION) || (session ? p->sid : p->pgid) != id)
                        break;
                eldest = p;
        }
        if (!eldest)
                return FALSE;
        *found = *eldest;
        return TRUE;
}

static gboolean of_leader(BhRuleScene *s, gboolean session, guint what, struct bh_value *out) {
        struct bh_lineage_process p;

        if (!leader(s, session, &p))
                return FALSE;
        return what == 0 ? text_of(p.comm, out) : what == 1 ? exe_of(p.args, out) : text_of(p.exe, out);
}

static gboolean vpgid(BhRuleScene *s, struct bh_value *out) {
        const struct bh_event *e = s->event;
        struct bh_lineage_process p;
        guint32 sid, pgid;

        if (!session_known(s, &sid, &pgid))
                return FALSE;
        if (pgid == e->pid)
                return HAS(vpid) ? bh_value_num(out, e->vpid) : FALSE;
        if (HAS(vpid) && e->vpid == e->pid) /* the node's own namespace */
                return bh_value_num(out, pgid);
        return leader(s, FALSE, &p) && p.pid == pgid && p.vpid && bh_value_num(out, p.vpid);
}

static gboolean login_shell(BhRuleScene *s, struct bh_value *out) {
        const struct bh_event *e = s->event;
        gint64 found = 0;
        Process *p;

        if (HAS(comm) && e->comm.len >= 2 && memcmp(e->comm.p + e->comm.len - 2, "sh", 2) == 0)
                found = e->pid;
        for (guint n = 1; (p = bh_scene_ancestor(s, n)); n++) {
                if (p->comm.len >= 2 && memcmp(p->comm.p + p->comm.len - 2, "sh", 2) == 0 && p->pid)
                        found = p->pid;
        }
        return found && bh_value_num(out, found);
}

static gboolean pidns_start(BhRuleScene *s, guint64 *start) {
        const struct bh_event *e = s->event;
        struct bh_lineage_process init;
        Process *p;

        if (HAS(vpid) && e->vpid == 1 && HAS(proc_start)) {
                *start = e->proc_start;
                return TRUE;
        }
        if (HAS(vpid) && e->vpid == e->pid) {
                if (!s->lineage || !s->lineage->find(s->lineage->data, 1, 0, &init) || !init.start)
                        return FALSE;
                *start = init.start;
                return TRUE;
        }
        for (guint n = 1; (p = bh_scene_ancestor(s, n)); n++) {
                if (p->vpid == 1 && p->pid != 1 && p->start) {
                        *start = p->start;
                        return TRUE;
                }
        }
        return FALSE;
}

/* ---- the executable ---- */

static gboolean exe_flag(BhRuleScene *s, guint32 record, guint32 known, struct bh_value *out) {
        const struct bh_event *e = s->event;
        Process *self;

        if (HAS(flags) && (e->flags & record))
                return bh_value_num(out, 1);
        self = bh_scene_self(s);
        return bh_value_num(out, self && (self->flags & known));
}

static gboolean exe_number(BhRuleScene *s, guint id, struct bh_value *out) {
        const struct bh_event *e = s->event;
        Process *self = NULL;

        if (!(id == BH_FLD_PROC_EXE_INO ? HAS(exe_ino) : id == BH_FLD_PROC_EXE_CTIME ? HAS(exe_ctime) : id == BH_FLD_PROC_EXE_MTIME ? HAS(exe_mtime) : FALSE))
                self = bh_scene_self(s);
        switch (id) {
        case BH_FLD_PROC_EXE_INO: return HAS(exe_ino) ? bh_value_num(out, (gint64) e->exe_ino) : self && self->exe_ino ? bh_value_num(out, (gint64) self->exe_ino) : FALSE;
        case BH_FLD_PROC_EXE_CTIME: return HAS(exe_ctime) ? bh_value_num(out, (gint64) e->exe_ctime) : self && self->exe_ctime ? bh_value_num(out, (gint64) self->exe_ctime) : FALSE;
        case BH_FLD_PROC_EXE_MTIME: return HAS(exe_mtime) ? bh_value_num(out, (gint64) e->exe_mtime) : self && self->exe_mtime ? bh_value_num(out, (gint64) self->exe_mtime) : FALSE;
        case BH_FLD_BH_EXE_MODE: return HAS(exe_mode) ? bh_value_num(out, e->exe_mode) : self && (self->flags & BH_LP_EXE) ? bh_value_num(out, self->exe_mode) : FALSE;
        case BH_FLD_BH_EXE_UID: return HAS(exe_uid) ? bh_value_num(out, e->exe_uid) : self && (self->flags & BH_LP_EXE) ? bh_value_num(out, self->exe_uid) : FALSE;
        }
        return FALSE;
}

/* By owner and mode alone: the owner may make it writable, and a capability overrides both. */
static gboolean exe_writable(BhRuleScene *s, struct bh_value *out) {
        const struct bh_event *e = s->event;
        struct bh_value mode, owner;
        guint64 caps;
        Process *self = bh_scene_self(s);

        if (self && (self->flags & BH_LP_EXE_WRITABLE))
                return bh_value_num(out, 1);
        if (!exe_number(s, BH_FLD_BH_EXE_MODE, &mode) || !exe_number(s, BH_FLD_BH_EXE_UID, &owner) || !HAS(uid))
                return bh_value_num(out, 0);
        caps = HAS(cap_effective) ? e->cap_effective : self && (self->flags & BH_LP_CRED) ? self->cap_effective : e->uid == 0 ? ~0ull : 0;
        return bh_value_num(out, (mode.n & 0002) || e->uid == (guint32) owner.n || (caps & (1u << 1 /* CAP_DAC_OVERRIDE */ | 1u << 3 /* CAP_FOWNER */)));
}

static gboolean exe_age(BhRuleScene *s, gboolean of_namespace, struct bh_value *out) {
        struct bh_value ctime;
        guint64 start = s->event->proc_start;

        if (!exe_number(s, BH_FLD_PROC_EXE_CTIME, &ctime))
                return FALSE;
        if (of_namespace) {
                if (!pidns_start(s, &start) || (guint64) ctime.n < start)
                        return FALSE;
                return bh_value_num(out, ctime.n - (gint64) start);
        }
        if (!bh_event_has(s->event, BH_F_proc_start))
                return FALSE;
        return bh_value_num(out, (gint64) start > ctime.n ? (gint64) start - ctime.n : 0);
}

/* ---- users ---- */

static gboolean user_name(BhRuleScene *s, guint32 id, gboolean group, struct bh_str carried, struct bh_value *out) {
        struct bh_str name;

        if (carried.len)
                return bh_value_str(out, carried);
        if (s->lineage && s->lineage->user && s->lineage->user(s->lineage->data, s->event, id, group, &name) && name.len)
                return bh_value_str(out, name);
        return bh_value_text(out, id == 0 ? "root" : "<NA>");
}

/* An act is its doer's: the user before a change of users. */
static guint32 uid_of(const struct bh_event *e) {
        return e->type == BH_EV_CREDS && HAS(old_euid) ? e->old_euid : e->uid;
}

static guint32 gid_of(const struct bh_event *e) {
        return e->type == BH_EV_CREDS && HAS(old_egid) ? e->old_egid : e->gid;
}

static gboolean login_uid(BhRuleScene *s, guint32 *uid) {
        const struct bh_event *e = s->event;
        Process *self;

        if (HAS(loginuid)) {
                *uid = e->loginuid;
                return TRUE;
        }
        self = bh_scene_self(s);
        if (!self || !(self->flags & BH_LP_LOGIN))
                return FALSE;
        *uid = self->loginuid;
        return TRUE;
}

static gboolean user_field(BhRuleScene *s, guint id, struct bh_value *out) {
        static const struct bh_str none = { "", 0 };
        const struct bh_event *e = s->event;
        guint32 login;

        switch (id) {
        case BH_FLD_USER_UID: return HAS(uid) ? bh_value_num(out, uid_of(e)) : FALSE;
        case BH_FLD_USER_NAME: return HAS(uid) ? user_name(s, uid_of(e), FALSE, HAS(proc_user) && uid_of(e) == e->uid ? e->proc_user : none, out) : FALSE;
        case BH_FLD_GROUP_GID: return HAS(gid) ? bh_value_num(out, gid_of(e)) : FALSE;
        case BH_FLD_GROUP_NAME: return HAS(gid) ? user_name(s, gid_of(e), TRUE, HAS(proc_group) && gid_of(e) == e->gid ? e->proc_group : none, out) : FALSE;
        case BH_FLD_USER_LOGINUID: return login_uid(s, &login) ? bh_value_num(out, (gint32) login) : FALSE;
        case BH_FLD_USER_LOGINNAME:
                if (!login_uid(s, &login))
                        return FALSE;
                return login == G_MAXUINT32 ? bh_value_text(out, "<NA>") : user_name(s, login, FALSE, none, out);
        }
        return FALSE;
}

static gboolean caps(BhRuleScene *s, guint id, struct bh_value *out) {
        const struct bh_event *e = s->event;
        guint64 bits;

        if (HAS(cap_effective)) {
                bits = id == BH_FLD_THREAD_CAP_PERMITTED ? e->cap_permitted : id == BH_FLD_THREAD_CAP_INHERITABLE ? e->cap_inheritable : e->cap_effective;
        } else {
                Process *self = bh_scene_self(s);

                if (!self || !(self->flags & BH_LP_CRED))
                        return FALSE;
                bits = id == BH_FLD_THREAD_CAP_PERMITTED ? self->cap_permitted : id == BH_FLD_THREAD_CAP_INHERITABLE ? self->cap_inheritable : self->cap_effective;
        }
        return bh_value_str(out, bh_value_caps(s, bits));
}

/* ---- health checks ---- */

/* A process whose command line is the check's, or a descendant of one in the container. */
static gboolean runs(BhRuleScene *s, struct bh_str command, struct bh_value *out) {
        const struct bh_event *e = s->event;
        struct bh_value line;
        Process *p;

        if (!command.len || (command.len == 4 && memcmp(command.p, "NONE", 4) == 0) || !HAS(args))
                return bh_value_num(out, 0);
        for (guint n = 0; n <= 8; n++) {
                struct bh_str args = e->args;

                if (n) {
                        if (!(p = bh_scene_ancestor(s, n)))
                                break;
                        args = p->args;
                }
                if (args.len && args.p[args.len - 1] == 0)
                        args.len--;
                if (args.len == command.len && join(s, NULL, args, &line) && memcmp(line.s.p, command.p, command.len) == 0)
                        return bh_value_num(out, 1);
        }
        return bh_value_num(out, 0);
}

static gboolean health(BhRuleScene *s, guint id, struct bh_value *out) {
        const struct bh_lineage_container *c = bh_scene_container(s);

        if (!c)
                return bh_value_num(out, 0);
        return runs(s, id == BH_FLD_PROC_HEALTHCHECK ? c->healthcheck : id == BH_FLD_PROC_LIVENESS ? c->liveness : c->readiness, out);
}

static gboolean cwd(BhRuleScene *s, struct bh_value *out) {
        const struct bh_event *e = s->event;
        Process *self = NULL;
        struct bh_str dir;
        char *p;

        if (HAS(cwd))
                dir = e->cwd;
        else if ((self = bh_scene_self(s)))
                dir = self->cwd;
        else
                return FALSE;
        if (!dir.len)
                return FALSE;
        if (dir.p[dir.len - 1] == '/')
                return bh_value_str(out, dir);
        if (!(p = bh_scene_room(s, dir.len + 1)))
                return FALSE;
        memcpy(p, dir.p, dir.len);
        p[dir.len] = '/';
        return bh_value_str(out, bh_scene_take(s, dir.len + 1));
}

static struct bh_str env_text(BhRuleScene *s) {
        const struct bh_event *e = s->event;
        Process *self;

        if (HAS(env))
                return e->env;
        self = bh_scene_self(s);
        return self ? self->env : (struct bh_str){ NULL, 0 };
}

static struct bh_str args_text(BhRuleScene *s) {
        const struct bh_event *e = s->event;
        Process *self;

        if (HAS(args))
                return e->args;
        self = bh_scene_self(s);
        return self ? self->args : (struct bh_str){ NULL, 0 };
}

static gboolean count_args(BhRuleScene *s, gboolean bytes, struct bh_value *out) {
        struct bh_str first, rest;
        gint64 n = 0, len = 0;

        if (!split_args(args_text(s), &first, &rest))
                return FALSE;
        for (guint32 i = 0; i < rest.len; i++)
                *(rest.p[i] ? &len : &n) += 1;
        /* the last one has no NUL here; an empty last one does not count */
        return bh_value_num(out, bytes ? len : n + (rest.len > 0));
}

gboolean bh_value_proc(BhRuleScene *s, const struct bh_field_ref *f, struct bh_value *out) {
        const struct bh_event *e = s->event;
        struct bh_str first, rest;
        guint32 sid, pgid, tty;
        guint64 start;
        Process *p;

        if (f->id >= BH_FLD_USER_UID && f->id <= BH_FLD_GROUP_NAME)
                return user_field(s, f->id, out);
        switch ((enum bh_rule_field_id) f->id) {
        case BH_FLD_PROC_EXE: return exe_of(args_text(s), out);
        case BH_FLD_PROC_EXEPATH: return HAS(exe) ? bh_value_str(out, e->exe) : FALSE;
        case BH_FLD_PROC_NAME: return HAS(comm) ? bh_value_str(out, e->comm) : FALSE;
        case BH_FLD_PROC_PNAME:
                if (HAS(parent_comm))
                        return bh_value_str(out, e->parent_comm);
                p = bh_scene_ancestor(s, 1);
                return p && text_of(p->comm, out);
        case BH_FLD_PROC_PEXEPATH:
                if (HAS(parent_exe))
                        return bh_value_str(out, e->parent_exe);
                p = bh_scene_ancestor(s, 1);
                return p && text_of(p->exe, out);
        case BH_FLD_PROC_PEXE:
        case BH_FLD_PROC_PCMDLINE:
                p = bh_scene_ancestor(s, 1);
                return p && of_ancestor(s, f->id, p, out);
        case BH_FLD_PROC_AEXE:
        case BH_FLD_PROC_AEXEPATH:
        case BH_FLD_PROC_ANAME:
        case BH_FLD_PROC_AARGS:
        case BH_FLD_PROC_ACMDLINE:
        case BH_FLD_PROC_AENV:
        case BH_FLD_PROC_APID:
                /* in output without an index: the nearest ancestor */
                return f->has_arg ? ancestor_value(s, f, out) : (p = bh_scene_ancestor(s, 1)) && of_ancestor(s, f->id, p, out);
        case BH_FLD_PROC_ARGS: return args_of(s, args_text(s), f->has_index, f->index, out);
        case BH_FLD_PROC_CMDLINE: return cmdline_of(s, HAS(comm) ? e->comm : (struct bh_str){ "", 0 }, args_text(s), out);
        case BH_FLD_PROC_CMDNARGS: return count_args(s, FALSE, out);
        case BH_FLD_PROC_CMDLENARGS: return count_args(s, TRUE, out);
        case BH_FLD_PROC_EXELINE: return split_args(args_text(s), &first, &rest) && join(s, &first, rest, out);
        case BH_FLD_PROC_ENV: return env_of(s, env_text(s), f->has_arg ? &f->arg : NULL, out);
        case BH_FLD_PROC_CWD: return cwd(s, out);
        case BH_FLD_PROC_LOGINSHELLID: return login_shell(s, out);
        case BH_FLD_PROC_TTY:
                p = HAS(tty) ? NULL : bh_scene_self(s);
                tty = HAS(tty) ? e->tty : p && (p->flags & BH_LP_SESSION) ? p->tty : G_MAXUINT32;
                return tty != G_MAXUINT32 && bh_value_num(out, tty);
        case BH_FLD_PROC_PID: return HAS(pid) ? bh_value_num(out, e->pid) : FALSE;
        case BH_FLD_PROC_PPID: return HAS(ppid) ? bh_value_num(out, e->ppid) : FALSE;
        case BH_FLD_PROC_VPID: return HAS(vpid) ? bh_value_num(out, e->vpid) : FALSE;
        case BH_FLD_PROC_PVPID:
                p = bh_scene_ancestor(s, 1);
                return p && p->vpid ? bh_value_num(out, p->vpid) : FALSE;
        case BH_FLD_PROC_SID: return session_known(s, &sid, &pgid) && bh_value_num(out, sid);
        case BH_FLD_PROC_PGID: return session_known(s, &sid, &pgid) && bh_value_num(out, pgid);
        case BH_FLD_PROC_VPGID: return vpgid(s, out);
        case BH_FLD_PROC_SNAME:
        case BH_FLD_PROC_SID_EXE:
        case BH_FLD_PROC_SID_EXEPATH: return of_leader(s, TRUE, f->id - BH_FLD_PROC_SNAME, out);
        case BH_FLD_PROC_VPGID_NAME:
        case BH_FLD_PROC_VPGID_EXE:
        case BH_FLD_PROC_VPGID_EXEPATH: return of_leader(s, FALSE, f->id - BH_FLD_PROC_VPGID_NAME, out);
        case BH_FLD_PROC_PGID_NAME:
        case BH_FLD_PROC_PGID_EXE:
        case BH_FLD_PROC_PGID_EXEPATH: return of_leader(s, FALSE, f->id - BH_FLD_PROC_PGID_NAME, out);
        case BH_FLD_PROC_IS_SID_LEADER: return session_known(s, &sid, &pgid) && bh_value_num(out, sid == e->pid);
        case BH_FLD_PROC_IS_VPGID_LEADER:
        case BH_FLD_PROC_IS_PGID_LEADER: return session_known(s, &sid, &pgid) && bh_value_num(out, pgid == e->pid);
        case BH_FLD_PROC_DURATION: return HAS(proc_start) ? bh_value_num(out, e->time > e->proc_start ? (gint64) (e->time - e->proc_start) : 0) : FALSE;
        case BH_FLD_PROC_PID_TS: return HAS(proc_start) ? bh_value_num(out, (gint64) e->proc_start) : FALSE;
        case BH_FLD_PROC_PPID_DURATION:
        case BH_FLD_PROC_PPID_TS:
                p = HAS(parent_start) ? NULL : bh_scene_ancestor(s, 1);
                start = HAS(parent_start) ? e->parent_start : p ? p->start : 0;
                if (!start)
                        return FALSE;
                return bh_value_num(out, f->id == BH_FLD_PROC_PPID_TS ? (gint64) start : e->time > start ? (gint64) (e->time - start) : 0);
        case BH_FLD_PROC_EXE_WRITABLE: return exe_writable(s, out);
        case BH_FLD_PROC_EXE_UPPER: return exe_flag(s, BH_RF_EXE_UPPER, BH_LP_EXE_UPPER, out);
        case BH_FLD_PROC_EXE_LOWER: return exe_flag(s, BH_RF_EXE_LOWER, BH_LP_EXE_LOWER, out);
        case BH_FLD_PROC_EXE_MEMFD: return exe_flag(s, BH_RF_EXE_MEMFD, BH_LP_EXE_MEMFD, out);
        case BH_FLD_PROC_EXE_INO:
        case BH_FLD_PROC_EXE_CTIME:
        case BH_FLD_PROC_EXE_MTIME: return exe_number(s, f->id, out);
        case BH_FLD_PROC_EXE_CTIME_START: return exe_age(s, FALSE, out);
        case BH_FLD_PROC_EXE_CTIME_PIDNS: return exe_age(s, TRUE, out);
        case BH_FLD_PROC_PIDNS_START: return pidns_start(s, &start) && bh_value_num(out, (gint64) start);
        case BH_FLD_PROC_HEALTHCHECK:
        case BH_FLD_PROC_LIVENESS:
        case BH_FLD_PROC_READINESS: return health(s, f->id, out);
        case BH_FLD_THREAD_CAP_PERMITTED:
        case BH_FLD_THREAD_CAP_INHERITABLE:
        case BH_FLD_THREAD_CAP_EFFECTIVE: return caps(s, f->id, out);
        case BH_FLD_THREAD_TID: return HAS(tid) ? bh_value_num(out, e->tid) : FALSE;
        case BH_FLD_THREAD_ISMAIN: return HAS(tid) && HAS(pid) ? bh_value_num(out, e->tid == e->pid) : FALSE;
        case BH_FLD_THREAD_VTID: return HAS(vpid) && HAS(tid) && e->tid == e->pid ? bh_value_num(out, e->vpid) : FALSE;
        case BH_FLD_THREAD_NAMETID: return HAS(comm) && HAS(tid) ? bh_value_str(out, bh_scene_print(s, "%.*s:%u", (int) e->comm.len, e->comm.p, e->tid)) : FALSE;
        case BH_FLD_THREAD_CGROUPS: return HAS(cgroup_path) ? bh_value_str(out, e->cgroup_path) : FALSE;
        case BH_FLD_THREAD_CGROUP: return HAS(cgroup_path) ? bh_value_str(out, e->cgroup_path) : FALSE;
        case BH_FLD_BH_EXE_MODE:
        case BH_FLD_BH_EXE_UID: return exe_number(s, f->id, out);
        default: return FALSE;
        }
}

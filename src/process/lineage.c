/* SPDX-License-Identifier: Apache-2.0 */
#include "process/lineage.h"

#include <stddef.h>

#include "process/table_private.h"

static guint64 shown_start(const BhProcessTable *t, const struct bh_process *p) {
        return t->replay ? p->start : bh_clock_start(&t->config.clock, p->start);
}

static struct bh_str text_of(const struct bh_shared *s) {
        return s ? (struct bh_str){ s->data, s->len } : (struct bh_str){ NULL, 0 };
}

static void describe(const BhProcessTable *t, const struct bh_process *p, struct bh_lineage_process *out) {
        *out = (struct bh_lineage_process){
                .pid = p->pid,
                .vpid = p->vpid,
                .ppid = p->ppid,
                .start = shown_start(t, p),
                .comm = { p->comm, (guint32) strnlen(p->comm, sizeof(p->comm)) },
                .exe = text_of(p->exe),
                .args = text_of(p->args),
                .cwd = text_of(p->cwd),
                .env = text_of(p->env),
                .sid = p->sid,
                .pgid = p->pgid,
                .tty = p->tty,
                .loginuid = p->loginuid,
                .exe_mode = p->exe_mode,
                .exe_uid = p->exe_uid,
                .exe_dev = p->exe_dev,
                .exe_ino = p->exe_ino,
                .exe_ctime = p->exe_ctime,
                .exe_mtime = p->exe_mtime,
                .flags = p->known | (p->flags & BH_RF_EXE_UPPER ? BH_LP_EXE_UPPER : 0) | (p->flags & BH_RF_EXE_MEMFD ? BH_LP_EXE_MEMFD : 0) | (p->exited ? BH_LP_EXITED : 0),
                .cgroup = p->cgroup,
                .ref = p,
        };
        if (p->flags & BH_RF_EXE_LOWER)
                out->flags |= BH_LP_EXE_LOWER;
        if (p->cred) {
                struct bh_cred cred;

                memcpy(&cred, p->cred->data, sizeof(cred));
                out->flags |= BH_LP_CRED;
                out->uid = cred.euid;
                out->gid = cred.egid;
                out->cap_effective = cred.cap_effective;
                out->cap_permitted = cred.cap_permitted;
                out->cap_inheritable = cred.cap_inheritable;
        }
}

static gboolean find(gpointer data, guint32 pid, guint64 start, struct bh_lineage_process *out) {
        BhProcessTable *t = data;
        guint64 own = t->replay || !start ? start : start - t->config.clock.start;
        const struct bh_process *p = bh_table_find(t, pid, own, FALSE);

        if (!p || (p->stub && !p->comm[0]))
                return FALSE;
        describe(t, p, out);
        return TRUE;
}

static gboolean parent(gpointer data, const struct bh_lineage_process *of, struct bh_lineage_process *out) {
        BhProcessTable *t = data;
        const struct bh_process *p = of->ref;

        if (!p)
                return FALSE;
        /* the parent's own entry has gone: what it was is remembered, what came before it goes on from there */
        if (p->relinked && (p->gone_comm || p->gone_exe) && of->pid) {
                *out = (struct bh_lineage_process){ .comm = text_of(p->gone_comm), .exe = text_of(p->gone_exe), .flags = BH_LP_EXITED, .ref = p };
                return TRUE;
        }
        if (!p->parent)
                return FALSE;
        describe(t, p->parent, out);
        return TRUE;
}

void bh_process_lineage(BhProcessTable *t, struct bh_lineage *lineage) {
        lineage->find = find;
        lineage->parent = parent;
        lineage->data = t;
}

/* ---- replay ---- */

BhProcessTable *bh_process_table_new_replay(void) {
        struct bh_process_config config = { .proc_path = "" };
        BhProcessTable *t = bh_process_table_new(&config);

        t->replay = TRUE;
        return t;
}

static gboolean cred_of(const struct bh_event *e, struct bh_cred *c) {
        if (!bh_event_has(e, BH_F_euid) || !bh_event_has(e, BH_F_cap_effective))
                return FALSE;
        *c = (struct bh_cred){ .uid = e->ruid, .gid = e->rgid, .suid = e->suid, .sgid = e->sgid, .euid = e->euid, .egid = e->egid, .fsuid = e->fsuid, .fsgid = e->fsgid,
                               .cap_inheritable = e->cap_inheritable, .cap_permitted = e->cap_permitted, .cap_effective = e->cap_effective, .cap_bounding = e->cap_bounding,
                               .cap_ambient = e->cap_ambient, .user_ns = e->user_ns };
        return TRUE;
}

/* What an enriched event says of the acting process, where its entry does not know it. */
static void complete(BhProcessTable *t, struct bh_process *p, const struct bh_event *e) {
        if (!p->exe && bh_event_has(e, BH_F_exe)) {
                bh_table_set(t, &p->exe, e->exe.p, e->exe.len);
                p->exe_dev = e->exe_dev;
                p->exe_ino = e->exe_ino;
                p->exe_ctime = e->exe_ctime;
                p->flags |= (guint32) e->flags & (BH_RF_EXE_DELETED | BH_RF_EXE_MEMFD | BH_RF_EXE_UPPER | BH_RF_EXE_LOWER);
        }
        if (!p->args && bh_event_has(e, BH_F_args))
                bh_table_set_args(t, p, e->args.p, e->args.len, (e->flags & BH_RF_ARGS_CUT) != 0);
        if (!p->comm[0] && bh_event_has(e, BH_F_comm))
                bh_table_set_comm(p, &e->comm);
        if (!p->vpid && bh_event_has(e, BH_F_vpid))
                p->vpid = e->vpid;
        if (!p->ppid && bh_event_has(e, BH_F_ppid))
                p->ppid = e->ppid;
}

/* The parent that an event names, made if there is none. */
static struct bh_process *parent_of_event(BhProcessTable *t, const struct bh_process *p, const struct bh_event *e) {
        struct bh_process *up;

        if (!bh_event_has(e, BH_F_ppid) || !e->ppid)
                return NULL;
        if (!bh_event_has(e, BH_F_parent_start))
                return bh_table_parent_of(t, p, e->ppid);
        up = bh_table_find(t, e->ppid, e->parent_start, FALSE);
        if (!up && e->parent_start <= p->start)
                up = bh_table_insert(t, e->ppid, e->parent_start, TRUE);
        if (!up || up == p)
                return NULL;
        if (!up->comm[0] && bh_event_has(e, BH_F_parent_comm))
                bh_table_set_comm(up, &e->parent_comm);
        if (!up->exe && bh_event_has(e, BH_F_parent_exe))
                bh_table_set(t, &up->exe, e->parent_exe.p, e->parent_exe.len);
        if (!up->args && bh_event_has(e, BH_F_parent_args))
                bh_table_set_args(t, up, e->parent_args.p, e->parent_args.len, FALSE);
        return up;
}

void bh_process_feed(BhProcessTable *t, const struct bh_event *e) {
        g_autofree struct bh_decoded *d = NULL;
        struct bh_process *p, *up;

        if (!bh_event_has(e, BH_F_pid) || !bh_event_has(e, BH_F_proc_start) || !e->proc_start)
                return;
        p = bh_table_find(t, e->pid, e->proc_start, FALSE);
        if (!p)
                p = bh_table_insert(t, e->pid, e->proc_start, TRUE);
        if (!p->parent && (up = parent_of_event(t, p, e)))
                bh_table_link(p, up);

        switch (e->type) {
        case BH_EV_FORK:
        case BH_EV_EXEC:
        case BH_EV_EXIT:
        case BH_EV_CREDS:
        case BH_EV_COMM:
        case BH_EV_CHDIR:
                complete(t, p, e);
                d = g_malloc(sizeof(*d));
                memset(d, 0, offsetof(struct bh_decoded, text));
                d->event = *e;
                d->event.boottime = e->time;
                d->start = p->start;
                d->child_start = bh_event_has(e, BH_F_child_start) ? e->child_start : 0;
                d->target_start = bh_event_has(e, BH_F_target_start) ? e->target_start : 0;
                d->has_cred = cred_of(e, &d->cred);
                bh_process_update(t, d);
                break;
        case BH_EV_PROCESS: {
                struct bh_cred cred;

                if (cred_of(e, &cred))
                        bh_table_set(t, &p->cred, &cred, sizeof(cred));
                bh_table_set_more(t, p, e);
                complete(t, p, e);
                break;
        }
        default:
                complete(t, p, e);
                bh_table_touch(t, p);
                break;
        }
}

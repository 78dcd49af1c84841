/* SPDX-License-Identifier: Apache-2.0 */
#include "process/table_private.h"

#define ANCESTORS_MAX 8
#define EXE_FLAGS (BH_RF_EXE_DELETED | BH_RF_EXE_MEMFD | BH_RF_EXE_UPPER | BH_RF_EXE_LOWER)

static struct bh_str str_of(const struct bh_shared *s) {
        return (struct bh_str){ s->data, s->len };
}

/* Sets a text field that is missing. */
#define FILL(e, member, share) \
        do { \
                const struct bh_shared *s_ = (share); \
                if (s_ && !bh_event_has(e, BH_F_##member)) \
                        BH_SET(e, member, str_of(s_)); \
        } while (0)

/* First heard of by this event: /proc may still have it. A stub tells later events that it was looked for in vain. */
static struct bh_process *look_up(BhProcessTable *t, struct bh_decoded *d) {
        struct bh_event *e = &d->event;
        g_auto(BhProcfs) info = { 0 };
        gboolean found = FALSE;
        struct bh_process *p;

        if (!d->start)
                return NULL;
        if (t->proc >= 0 && bh_procfs_read(t->proc, e->pid, t->cgroup_controller, &info, NULL)) {
                guint64 apart = info.start > d->start ? info.start - d->start : d->start - info.start;

                found = apart < BH_START_SLACK_NS;
        }
        p = bh_table_insert(t, e->pid, d->start, TRUE);
        p->ppid = e->ppid;
        if (found) {
                t->stats.lazy_reads++;
                bh_table_fill(t, p, &info, e->cgroup);
        } else {
                t->stats.unknown++;
                p->stub = TRUE;
                memcpy(p->comm, e->comm.p ? e->comm.p : "", MIN(e->comm.len, sizeof(p->comm) - 1));
                bh_table_set_cgroup(t, p, e->cgroup, NULL);
                bh_table_link(p, bh_table_parent_of(t, p, e->ppid));
                if (!p->origin && p->parent)
                        p->origin = p->parent->origin;
                bh_table_exit(t, p, e->boottime);
        }
        return p;
}

static void ancestors(BhProcessTable *t, struct bh_event *e, const struct bh_process *p) {
        guint n = 0;

        g_string_truncate(t->scratch, 0);
        while (p && n < ANCESTORS_MAX) {
                const struct bh_process *up = p->parent;

                if (p->relinked && p->gone_exe) {
                        g_string_append_len(t->scratch, p->gone_exe->data, p->gone_exe->len);
                        g_string_append_c(t->scratch, '\0');
                        n++;
                }
                if (up && up->exe && n < ANCESTORS_MAX) {
                        g_string_append_len(t->scratch, up->exe->data, up->exe->len);
                        g_string_append_c(t->scratch, '\0');
                        n++;
                }
                p = up;
        }
        if (n)
                BH_SET(e, ancestors, ((struct bh_str){ t->scratch->str, (guint32) t->scratch->len }));
}

static void parent(struct bh_event *e, const BhProcessTable *t, const struct bh_process *p, gboolean all) {
        const struct bh_process *up = p->relinked ? NULL : p->parent;

        if (!up) {
                FILL(e, parent_comm, p->gone_comm);
                FILL(e, parent_exe, p->gone_exe);
                return;
        }
        if (up->comm[0])
                BH_SET_STR(e, parent_comm, up->comm);
        FILL(e, parent_exe, up->exe);
        if (!bh_event_has(e, BH_F_parent_start))
                BH_SET(e, parent_start, bh_clock_start(&t->config.clock, up->start));
        if (all)
                FILL(e, parent_args, up->args);
}

void bh_process_enrich(BhProcessTable *t, struct bh_decoded *d) {
        struct bh_event *e = &d->event;
        gboolean all = e->type == BH_EV_EXEC || e->type == BH_EV_PROCESS;
        struct bh_process *p;

        if (!bh_event_has(e, BH_F_pid))
                return;
        p = bh_table_find(t, e->pid, d->start, e->source == BH_SOURCE_KERNEL);
        if (!p)
                p = look_up(t, d);
        if (!p || p->stub)
                BH_SET(e, flags, e->flags | BH_RF_UNKNOWN_PROCESS);
        if (p) {
                bh_table_touch(t, p);
                if (e->ppid)
                        p->ppid = e->ppid;
                if (e->cgroup && e->cgroup != p->cgroup && e->type != BH_EV_EXIT)
                        bh_table_set_cgroup(t, p, e->cgroup, NULL);
                if (!p->origin)
                        p->origin = d->origin;
                if (!d->origin)
                        d->origin = p->origin;
                FILL(e, exe, p->exe);
                if (!bh_event_has(e, BH_F_args) && p->args) {
                        BH_SET(e, args, str_of(p->args));
                        if (p->flags & BH_RF_ARGS_CUT)
                                BH_SET(e, flags, e->flags | BH_RF_ARGS_CUT);
                }
                if (p->flags & EXE_FLAGS)
                        BH_SET(e, flags, e->flags | (p->flags & EXE_FLAGS));
                if (p->exe_ino && !bh_event_has(e, BH_F_exe_ino)) {
                        BH_SET(e, exe_ino, p->exe_ino);
                        BH_SET(e, exe_dev, p->exe_dev);
                        BH_SET(e, exe_ctime, p->exe_ctime);
                }
                if (p->vpid && !bh_event_has(e, BH_F_vpid))
                        BH_SET(e, vpid, p->vpid);
                if (!bh_event_has(e, BH_F_comm) && p->comm[0])
                        BH_SET_STR(e, comm, p->comm);
                if (!bh_event_has(e, BH_F_proc_start))
                        BH_SET(e, proc_start, bh_clock_start(&t->config.clock, p->start));
                parent(e, t, p, all);
                if (all)
                        ancestors(t, e, p);
        }

        if (bh_event_has(e, BH_F_target_pid)) {
                struct bh_process *other = bh_table_find(t, e->target_pid, d->target_start, TRUE);

                if (!other)
                        return;
                if (!bh_event_has(e, BH_F_target_comm) && other->comm[0])
                        BH_SET_STR(e, target_comm, other->comm);
                FILL(e, target_exe, other->exe);
                if (!d->target_start)
                        d->target_start = other->start;
                if (!bh_event_has(e, BH_F_target_start))
                        BH_SET(e, target_start, bh_clock_start(&t->config.clock, other->start));
        }
}

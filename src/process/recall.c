/* SPDX-License-Identifier: Apache-2.0 */
#include "process/table_private.h"

void bh_process_recall(BhProcessTable *t, const struct bh_event *e) {
        const struct bh_clock *clock = &t->config.clock;

        if (!bh_event_has(e, BH_F_pid) || !bh_event_has(e, BH_F_proc_start) || e->proc_start <= clock->start)
                return;

        guint64 start = e->proc_start - clock->start;
        struct bh_process *p = bh_table_find(t, e->pid, start, FALSE);

        if (e->type == BH_EV_EXIT) { /* no other act of it follows */
                if (p)
                        bh_table_exit(t, p, start);
                return;
        }
        if (!p) {
                p = bh_table_insert(t, e->pid, start, FALSE);
                p->recalled = TRUE;
                p->ppid = e->ppid;
                bh_table_link(p, bh_table_parent_of(t, p, e->ppid));
        }
        if (e->type == BH_EV_EXEC || (!p->exe && bh_event_has(e, BH_F_exe))) {
                bh_table_set(t, &p->exe, e->exe.p, e->exe.len);
                bh_table_set_args(t, p, e->args.p, e->args.len, (e->flags & BH_RF_ARGS_CUT) != 0);
                p->flags = (p->flags & BH_RF_ARGS_CUT) | ((guint32) e->flags & (BH_RF_EXE_DELETED | BH_RF_EXE_MEMFD | BH_RF_EXE_UPPER | BH_RF_EXE_LOWER));
                p->exe_dev = e->exe_dev;
                p->exe_ino = e->exe_ino;
                p->exe_ctime = e->exe_ctime;
                bh_table_set_more(t, p, e);
        }
        if (bh_event_has(e, BH_F_comm))
                bh_table_set_comm(p, &e->comm);
        if (bh_event_has(e, BH_F_vpid))
                p->vpid = e->vpid;
        bh_table_set_cgroup(t, p, e->cgroup, NULL);
        if (!p->origin && p->parent)
                p->origin = p->parent->origin;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ancestry.h"

#include "bus/bus.pb-c.h"

static ProtobufCBinaryData data_of(struct bh_str s) {
        return (ProtobufCBinaryData){ .len = s.len, .data = (uint8_t *) s.p };
}

static Bulkhead__Bus__V1__Process *process_of(const struct bh_lineage_process *p) {
        Bulkhead__Bus__V1__Process *m = g_new(Bulkhead__Bus__V1__Process, 1);

        bulkhead__bus__v1__process__init(m);
        m->pid = p->pid;
        m->vpid = p->vpid;
        m->ppid = p->ppid;
        m->started_ns = (gint64) p->start;
        if (p->comm.len)
                m->comm = data_of(p->comm);
        if (p->exe.len)
                m->exe = data_of(p->exe);
        if (p->args.len)
                m->args = data_of(p->args);
        if (p->container_id.len)
                m->container_id = data_of(p->container_id);
        if (p->flags & BH_LP_CRED) {
                m->uid = p->uid;
                m->gid = p->gid;
        }
        return m;
}

gboolean bh_ancestry_add(GPtrArray *out, guint32 pid, guint64 start, const struct bh_lineage *lineage) {
        struct bh_lineage_process p, parent;

        if (!lineage || !pid || !lineage->find(lineage->data, pid, start, &p))
                return FALSE;
        for (guint i = 0; i <= BH_ANCESTRY_MAX; i++) {
                g_ptr_array_add(out, process_of(&p));
                if (!lineage->parent(lineage->data, &p, &parent))
                        return FALSE;
                p = parent;
        }
        return TRUE;
}

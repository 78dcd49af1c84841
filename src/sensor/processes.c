/* SPDX-License-Identifier: Apache-2.0 */
#include "processes.h"

#include <string.h>

#include "bus/body.h"
#include "bus/bus.pb-c.h"

typedef Bulkhead__Bus__V1__Process Process;

typedef struct {
        const BhProcessesConfig *config;
        const char *id; /* of the container; "" = the host; NULL: all */
        guint limit;
        GArray *rows; /* Process, texts in `text` */
        GStringChunk *text;
        gsize bytes;
} Copy;

static ProtobufCBinaryData keep(Copy *c, const char *p, gsize len) {
        if (!len)
                return (ProtobufCBinaryData){ 0 };
        c->bytes += len;
        return (ProtobufCBinaryData){ .len = len, .data = (uint8_t *) g_string_chunk_insert_len(c->text, p, (gssize) len) };
}

static ProtobufCBinaryData container_of(Copy *c, guint64 cgroup) {
        g_auto(BhContainerLookup) l = { 0 };

        if (cgroup)
                bh_container_table_lookup(c->config->containers, cgroup, &l);
        return l.container ? keep(c, l.container->id, strlen(l.container->id)) : (ProtobufCBinaryData){ 0 };
}

static gboolean is(ProtobufCBinaryData b, const char *text) {
        return b.len == strlen(text) && (!b.len || memcmp(b.data, text, b.len) == 0);
}

static void set_names(Copy *c, Process *p) {
        g_autofree char *id = p->container_id.len ? g_strndup((const char *) p->container_id.data, p->container_id.len) : NULL;
        const char *user = NULL, *group = NULL;

        if (c->config->inspector)
                bh_inspector_names(c->config->inspector, id, p->uid, p->gid, &user, &group);
        p->user = keep(c, user, user ? strlen(user) : 0);
        p->group = keep(c, group, group ? strlen(group) : 0);
}

static gboolean copy_one(const struct bh_process_view *v, gpointer data) {
        Copy *c = data;
        Process p;

        bulkhead__bus__v1__process__init(&p);
        p.container_id = container_of(c, v->cgroup);
        p.origin_id = v->origin && v->origin != v->cgroup ? container_of(c, v->origin) : (ProtobufCBinaryData){ 0 };
        if (p.origin_id.len == p.container_id.len && p.origin_id.len && memcmp(p.origin_id.data, p.container_id.data, p.origin_id.len) == 0)
                p.origin_id.len = 0;
        if (c->id && !is(p.container_id, c->id) && (!*c->id || !is(p.origin_id, c->id)))
                return TRUE;
        p.pid = v->pid;
        p.vpid = v->vpid;
        p.ppid = v->ppid;
        p.start_ns = v->start;
        p.started_ns = (gint64) bh_clock_start(&c->config->clock, v->start);
        p.comm = keep(c, v->comm, v->comm ? strlen(v->comm) : 0);
        if (c->bytes < BH_PROCESSES_TEXT_BYTES) {
                p.exe = keep(c, v->exe.p, v->exe.len);
                p.args = keep(c, v->args.p, v->args.len);
        }
        if (v->has_cred) {
                p.uid = v->uid;
                p.gid = v->gid;
                set_names(c, &p);
        }
        g_array_append_val(c->rows, p);
        return c->rows->len < c->limit;
}

static void copy_all(gpointer data) {
        Copy *c = data;

        bh_process_each(c->config->processes, copy_one, c);
}

static GPtrArray *pack(GArray *rows) {
        GPtrArray *out = g_ptr_array_new_with_free_func((GDestroyNotify) g_bytes_unref);
        g_autofree Process **list = g_new(Process *, rows->len + 1);

        for (guint i = 0; i < rows->len; i++)
                list[i] = &g_array_index(rows, Process, i);
        for (guint from = 0; from < rows->len || !out->len; ) {
                Bulkhead__Bus__V1__ProcessList m;
                gsize bytes = 0;

                bulkhead__bus__v1__process_list__init(&m);
                m.processes = list + from;
                while (from < rows->len && m.n_processes < BH_PROCESSES_PIECE && bytes < BH_PROCESSES_PIECE_BYTES) {
                        bytes += protobuf_c_message_get_packed_size(&list[from++]->base);
                        m.n_processes++;
                }
                g_ptr_array_add(out, bh_bus_body_pack(&m.base));
        }
        return out;
}

GPtrArray *bh_processes_list(const BhProcessesConfig *config, const char *container, guint limit) {
        g_autoptr(BhContainer) found = container && strcmp(container, "host") ? bh_container_table_find(config->containers, container) : NULL;
        g_autoptr(GArray) rows = g_array_new(FALSE, FALSE, sizeof(Process));
        Copy copy = {
                .config = config,
                .id = !container ? NULL : found ? found->id : strcmp(container, "host") == 0 ? "" : "?", /* no container's id is that */
                .limit = limit,
                .rows = rows,
                .text = g_string_chunk_new(65536),
        };

        bh_pipeline_call(config->pipeline, copy_all, &copy);

        GPtrArray *out = pack(rows);
        g_string_chunk_free(copy.text);
        return out;
}

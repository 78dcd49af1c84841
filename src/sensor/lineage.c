/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage.h"

#include <string.h>

#include "process/lineage.h"

/* A container in the rules' form. */
typedef struct {
        BhContainer *of;
        GByteArray *labels, *mounts;
        char *health; /* the check's command line */
        struct bh_lineage_container answer;
} Told;

struct BhLineage {
        struct bh_lineage answers, processes;
        BhContainerTable *containers;
        BhInspector *inspector;
        Told told[BH_LINEAGE_CONTAINERS];
        guint next; /* to be given up */
};

static void told_clear(Told *t) {
        g_clear_pointer(&t->of, bh_container_unref);
        g_clear_pointer(&t->labels, g_byte_array_unref);
        g_clear_pointer(&t->mounts, g_byte_array_unref);
        g_clear_pointer(&t->health, g_free);
}

static struct bh_str str(const char *text) {
        return (struct bh_str){ text, text ? (guint32) strlen(text) : 0 };
}

static struct bh_str bytes(const GByteArray *a) {
        return (struct bh_str){ (const char *) a->data, a->len };
}

static void add(GByteArray *a, const char *text) {
        g_byte_array_append(a, (const guint8 *) text, (guint) strlen(text) + 1);
}

static void tell(Told *t, BhContainer *c) {
        gint8 known = c->level > BH_CONTAINER_FROM_CGROUP;

        t->of = c;
        t->labels = g_byte_array_new();
        t->mounts = g_byte_array_new();
        for (guint i = 0; i < c->labels->len; i++) {
                const BhKeyValue *kv = &g_array_index(c->labels, BhKeyValue, i);

                add(t->labels, kv->key);
                add(t->labels, kv->value);
        }
        for (guint i = 0; i < c->mounts->len; i++) {
                const BhMount *m = &g_array_index(c->mounts, BhMount, i);

                add(t->mounts, m->source);
                add(t->mounts, m->destination);
                add(t->mounts, m->rw ? "rw" : "ro");
                add(t->mounts, m->rw ? "true" : "false");
                add(t->mounts, "");
        }
        /* joined like the argument vector of the process that it becomes */
        t->health = g_strjoinv(" ", c->health_command);
        t->answer = (struct bh_lineage_container){
                .id = str(c->id),
                .name = str(c->name),
                .image = str(c->image),
                .image_id = str(c->image_id),
                .image_digest = str(c->image_digest),
                .runtime = str(c->runtime),
                .workload = str(c->workload),
                .application = str(c->application),
                .ip = c->networks->len ? str(g_array_index(c->networks, BhContainerNetwork, 0).ip) : (struct bh_str){ NULL, 0 },
                .healthcheck = str(t->health),
                .labels = bytes(t->labels),
                .mounts = bytes(t->mounts),
                .started = (guint64) MAX(c->started_ns, 0),
                .privileged = (gint8) (known ? c->privileged != 0 : -1),
                .host_pid = (gint8) (known ? c->host_pid != 0 : -1),
                .host_network = (gint8) (known ? c->host_network != 0 : -1),
                .host_ipc = (gint8) (known ? c->host_ipc != 0 : -1),
        };
}

static gboolean find(gpointer data, guint32 pid, guint64 start, struct bh_lineage_process *out) {
        BhLineage *l = data;

        return l->processes.find(l->processes.data, pid, start, out);
}

static gboolean parent(gpointer data, const struct bh_lineage_process *of, struct bh_lineage_process *out) {
        BhLineage *l = data;

        return l->processes.parent(l->processes.data, of, out);
}

static gboolean container(gpointer data, struct bh_str id, struct bh_lineage_container *out) {
        BhLineage *l = data;
        char key[129];

        if (!id.len || id.len >= sizeof(key))
                return FALSE;
        memcpy(key, id.p, id.len);
        key[id.len] = '\0';

        BhContainer *now = bh_container_table_get(l->containers, key);
        if (!now)
                return FALSE;
        for (guint i = 0; i < BH_LINEAGE_CONTAINERS; i++) {
                if (l->told[i].of == now) { /* published ones never change: another description is another object */
                        bh_container_unref(now);
                        *out = l->told[i].answer;
                        return TRUE;
                }
        }

        Told *t = &l->told[l->next++ % BH_LINEAGE_CONTAINERS];
        told_clear(t);
        tell(t, now);
        *out = t->answer;
        return TRUE;
}

static gboolean user(gpointer data, const struct bh_event *e, guint32 id, gboolean group, struct bh_str *name) {
        BhLineage *l = data;
        const char *user_name = NULL, *group_name = NULL;
        char key[129] = "";
        gboolean inside = bh_event_has(e, BH_F_container_id);

        if (!l->inspector || (inside && e->container_id.len >= sizeof(key)))
                return FALSE;
        if (inside) {
                memcpy(key, e->container_id.p, e->container_id.len);
                key[e->container_id.len] = '\0';
        }
        bh_inspector_names(l->inspector, inside ? key : NULL, id, id, &user_name, &group_name);
        *name = str(group ? group_name : user_name);
        return name->len > 0;
}

BhLineage *bh_lineage_new(BhProcessTable *processes, BhContainerTable *containers, BhInspector *inspector) {
        BhLineage *l = g_new0(BhLineage, 1);

        l->containers = containers;
        l->inspector = inspector;
        bh_process_lineage(processes, &l->processes);
        l->answers = (struct bh_lineage){ .find = find, .parent = parent, .container = container, .user = user, .data = l };
        return l;
}

void bh_lineage_free(BhLineage *l) {
        if (!l)
                return;
        for (guint i = 0; i < BH_LINEAGE_CONTAINERS; i++)
                told_clear(&l->told[i]);
        g_free(l);
}

const struct bh_lineage *bh_lineage_answers(const BhLineage *l) {
        return &l->answers;
}

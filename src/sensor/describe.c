/* SPDX-License-Identifier: Apache-2.0 */
#include "describe.h"

#include <string.h>

void bh_describe_begin(struct bh_event *e, guint32 type, enum bh_source source, guint64 time, guint64 clock_offset) {
        memset(e->has, 0, sizeof(e->has));
        BH_SET(e, type, type);
        BH_SET(e, source, source);
        BH_SET(e, time, time);
        BH_SET(e, boottime, time - clock_offset);
        BH_SET(e, count, 1);
        BH_SET(e, flags, 0);
}

void bh_describe_pair(GByteArray *out, const char *key, const char *value) {
        g_byte_array_append(out, (const guint8 *) key, (guint) strlen(key) + 1);
        g_byte_array_append(out, (const guint8 *) value, (guint) strlen(value) + 1);
}

gboolean bh_describe_next(struct bh_str *list, const char **key, const char **value) {
        for (guint i = 0; i < 2; i++) {
                const char *nul = list->len ? memchr(list->p, 0, list->len) : NULL;

                if (!nul)
                        return FALSE;
                *(i ? value : key) = list->p;
                list->len -= (guint32) (nul - list->p) + 1;
                list->p = nul + 1;
        }
        return TRUE;
}

const char *bh_describe_attribute(const struct bh_event *e, const char *name) {
        struct bh_str rest = bh_event_has(e, BH_F_attributes) ? e->attributes : (struct bh_str){ "", 0 };

        for (const char *key, *value; bh_describe_next(&rest, &key, &value); )
                if (strcmp(key, name) == 0)
                        return value;
        return NULL;
}

void bh_describe_container(struct bh_event *e, const BhContainer *c, GByteArray *labels) {
        BH_SET_STR(e, container_id, c->id);
        BH_SET_STR(e, container_name, c->name);
        BH_SET_STR(e, container_image, c->image);
        BH_SET_STR(e, container_image_digest, bh_container_digest(c));
        BH_SET_STR(e, container_runtime, c->runtime);
        BH_SET_STR(e, workload, c->workload);
        BH_SET_STR(e, application, c->application);
        if (c->level == BH_CONTAINER_FULL)
                BH_SET(e, container_privileged, c->privileged);
        if (!labels || !c->labels->len)
                return;
        g_byte_array_set_size(labels, 0);
        for (guint i = 0; i < c->labels->len; i++) {
                const BhKeyValue *kv = &g_array_index(c->labels, BhKeyValue, i);

                bh_describe_pair(labels, kv->key, kv->value);
        }
        BH_SET(e, container_labels, ((struct bh_str){ (const char *) labels->data, labels->len }));
}

void bh_describe_origin(struct bh_event *e, const BhContainer *c) {
        if (bh_event_has(e, BH_F_container_id) && e->container_id.len == strlen(c->id) && memcmp(e->container_id.p, c->id, e->container_id.len) == 0)
                return; /* it is where it came from */
        BH_SET_STR(e, origin_id, c->id);
        BH_SET_STR(e, origin_name, c->name);
        BH_SET_STR(e, origin_image, c->image);
        if (!bh_event_has(e, BH_F_container_id))
                BH_SET(e, flags, e->flags | BH_RF_GRAFTED);
}

void bh_describe_runtime(struct bh_event *e, const BhRuntimeEvent *ev, GByteArray *attributes) {
        char number[24];

        BH_SET_STR(e, action, ev->action);
        BH_SET_STR(e, actor, ev->actor_id);
        bh_describe_pair(attributes, "kind", ev->kind_name);
        if (*ev->detail)
                bh_describe_pair(attributes, "detail", ev->detail);
        if (*ev->exec_id)
                bh_describe_pair(attributes, "exec_id", ev->exec_id);
        if (*ev->exec_command)
                bh_describe_pair(attributes, "exec_command", ev->exec_command);
        if (ev->exec_pid) {
                g_snprintf(number, sizeof(number), "%d", ev->exec_pid);
                bh_describe_pair(attributes, "exec_pid", number);
        }
        if (ev->exit_code >= 0) {
                g_snprintf(number, sizeof(number), "%d", ev->exit_code);
                bh_describe_pair(attributes, "exit_code", number);
        }
        if (ev->signal > 0) {
                g_snprintf(number, sizeof(number), "%d", ev->signal);
                bh_describe_pair(attributes, "signal", number);
        }
        if (ev->synthetic)
                bh_describe_pair(attributes, "synthetic", "true");
        for (guint i = 0; i < ev->attributes->len; i++) {
                const BhKeyValue *kv = &g_array_index(ev->attributes, BhKeyValue, i);

                if (!ev->container || !bh_container_label(ev->container, kv->key))
                        bh_describe_pair(attributes, kv->key, kv->value);
        }
        BH_SET(e, attributes, ((struct bh_str){ (const char *) attributes->data, attributes->len }));
}

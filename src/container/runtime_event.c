/* SPDX-License-Identifier: Apache-2.0 */
#include "container/runtime_event.h"

#include <string.h>

static void clear_attribute(gpointer p) {
        BhKeyValue *a = p;

        g_free(a->key);
        g_free(a->value);
}

BhRuntimeEvent *bh_runtime_event_new(BhRuntimeKind kind, const char *kind_name, const char *action, const char *actor_id, gint64 time_ns) {
        BhRuntimeEvent *ev = g_new0(BhRuntimeEvent, 1);

        g_atomic_ref_count_init(&ev->refs);
        ev->time_ns = time_ns;
        ev->kind = kind;
        ev->kind_name = g_strdup(kind_name);
        ev->action = g_strdup(action);
        ev->detail = g_strdup("");
        ev->actor_id = g_strdup(actor_id);
        ev->attributes = g_array_new(FALSE, FALSE, sizeof(BhKeyValue));
        g_array_set_clear_func(ev->attributes, clear_attribute);
        ev->exec_id = g_strdup("");
        ev->exec_command = g_strdup("");
        ev->exit_code = -1;
        return ev;
}

BhRuntimeEvent *bh_runtime_event_ref(BhRuntimeEvent *ev) {
        g_atomic_ref_count_inc(&ev->refs);
        return ev;
}

void bh_runtime_event_unref(BhRuntimeEvent *ev) {
        if (!ev || !g_atomic_ref_count_dec(&ev->refs))
                return;
        g_free(ev->kind_name);
        g_free(ev->action);
        g_free(ev->detail);
        g_free(ev->actor_id);
        g_free(ev->exec_id);
        g_free(ev->exec_command);
        g_array_unref(ev->attributes);
        bh_container_unref(ev->container);
        g_free(ev);
}

const char *bh_runtime_event_attribute(const BhRuntimeEvent *ev, const char *key) {
        for (guint i = 0; i < ev->attributes->len; i++) {
                const BhKeyValue *a = &g_array_index(ev->attributes, BhKeyValue, i);

                if (!strcmp(a->key, key))
                        return a->value;
        }
        return NULL;
}

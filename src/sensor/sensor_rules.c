/* SPDX-License-Identifier: Apache-2.0 */
/* The sensor's rules: where they are, what they need of the kernel, when they are read again, and what a killed sensor left to be looked at. */
#include <string.h>

#include "base/log.h"
#include "event/codec.h"
#include "recorder/query.h"
#include "sensor.h"

#define CATCH_UP_NS 3000000000ull

char *bh_sensor_default_rules(void) {
        g_autofree char *self = g_file_read_link("/proc/self/exe", NULL), *dir = self ? g_path_get_dirname(self) : NULL;
        g_autofree char *beside = dir ? g_build_filename(dir, "..", "..", "rules", NULL) : NULL;

        /* in a build tree */
        if (beside && g_str_has_suffix(dir, "/src/sensor") && g_file_test(beside, G_FILE_TEST_IS_DIR))
                return g_steal_pointer(&beside);
        return g_strdup("/usr/share/bulkhead/rules");
}

/* SIGHUP. Reading the files takes a while: not in the main loop's thread. */
static gpointer reload(gpointer data) {
        BhSensor *s = data;
        g_autoptr(GError) error = NULL;

        if (bh_ruling_reload(s->ruling, &error)) {
                bh_info("rules were read again");
                bh_pipeline_say(s->pipeline, "rules_changed", "the rules were read again, and are in force", NULL);
        } else {
                bh_error("the rules have errors; those that ran go on", "problem", error->message);
                bh_pipeline_say(s->pipeline, "rules_refused", "the rules have errors; those that ran go on", "why", error->message, NULL);
        }
        g_atomic_int_set(&s->reloading, 0);
        return NULL;
}

gboolean bh_sensor_on_hangup(gpointer data) {
        BhSensor *s = data;

        if (s->ruling && g_atomic_int_compare_and_exchange(&s->reloading, 0, 1))
                g_thread_unref(g_thread_new("bh-reload", reload, s));
        return G_SOURCE_CONTINUE;
}

/* Rules see what the recorder does not keep as well. */
static void on_needs(const guint64 needs[2], gpointer data) {
        BhSensor *s = data;
        g_autoptr(GError) error = NULL;
        BhKinds kinds = { 0 };

        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++)
                if (needs[type / 64] >> (type % 64) & 1)
                        bh_kinds_add(&kinds, type);
        if (!bh_hooks_want(s->hooks, BH_CONSUMER_RULES, &kinds, &error))
                bh_error("cannot attach the hooks that the rules need", "error", error->message);
}

gboolean bh_sensor_open_rules(BhSensor *s, GError **error) {
        g_autofree char *managed = g_build_filename(s->options.data_dir, "rules", NULL);
        guint64 available[2] = { 0, ~0ull }; /* what is not the kernel's is always there */
        BhRulingConfig config = {
                .default_dir = s->options.default_rules,
                .user = (const char *const *) s->options.rules,
                .managed_dir = managed,
                .containers = s->containers,
                .available = available,
                .needs = on_needs,
                .data = s,
        };

        if (!s->options.bus)
                return TRUE;
        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++) {
                const BhHookState *h = bh_hooks_state(s->hooks, type);

                if (h && (h->backend != BH_BACKEND_NONE || !h->wanted)) /* not known before it is wanted */
                        available[type / 64] |= 1ull << (type % 64);
        }
        s->ruling = bh_ruling_new(&config, error);
        return s->ruling != NULL;
}

/*
 * What a killed sensor recorded last may not have been told as findings yet: the rules look at it once more. Findings have the same numbers again, so that the central
 * leaves out those that it has. Ancestors are what the events have of them.
 */
void bh_sensor_catch_up(BhSensor *s) {
        guint64 since = s->found.last_time_ns > CATCH_UP_NS ? s->found.last_time_ns - CATCH_UP_NS : 0;
        g_autoptr(GError) error = NULL;
        BhRecord rec;

        if (!s->ruling || !s->report || !s->after_crash || !s->found.last_time_ns)
                return;
        g_autoptr(BhRecorderQuery) records = bh_recorder_query(s->recorder_dir, since, 0, BH_RECORDER_ANY, 0, &error);
        if (!records) {
                bh_warn("cannot look at the last events once more", "error", error->message);
                return;
        }
        while (bh_recorder_query_next(records, &rec)) {
                struct bh_event e;

                if (bh_event_decode(&e, rec.data, rec.len, NULL))
                        bh_ruling_event(s->ruling, &e, rec.data, (guint32) rec.len, NULL);
        }
}

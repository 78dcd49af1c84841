/* SPDX-License-Identifier: Apache-2.0 */
/* What a sensor that starts finds: how those before it ended, and what became of the hooks. Said once, as events of the sensor. */
#include <unistd.h>

#include "base/log.h"
#include "sensor.h"

#define UNSEEN_NS (600 * G_GINT64_CONSTANT(1000000000)) /* what happened longer ago without a sensor is told by what there is now */

void bh_sensor_look_back(BhSensor *s, guint64 beat, guint64 now) {
        g_autofree char *running = g_build_filename(s->options.data_dir, "running", NULL), *run = g_strdup_printf("%" G_GINT64_FORMAT, s->started_ns);
        g_autoptr(GError) error = NULL;

        s->ends = bh_ends_open(running, run);
        if (beat && !bh_ends_found_ns(s->ends)) {
                g_autofree char *name = g_strdup_printf("beat-%" G_GUINT64_FORMAT, beat);

                bh_ends_add(s->ends, name);
        }
        s->after_crash = bh_ends_count(s->ends) > 0;
        if (s->after_crash) /* last sign: the kernel side's, else an event in the recorder, else that it had started */
                s->away_ms = beat ? (now - beat) / 1000000 : (guint64) MAX(s->started_ns - MAX(bh_ends_found_ns(s->ends), (gint64) s->found.last_time_ns), 0) / 1000000;
        if (!bh_ends_mark(s->ends, &error))
                bh_warn("cannot note that the sensor runs; if it is killed, its successor will not say so", "error", error->message);
}

gint64 bh_sensor_unseen_since(const BhSensor *s) {
        const gint64 last = (gint64) s->found.last_time_ns;

        return last > s->started_ns - UNSEEN_NS && last < s->started_ns ? last : 0;
}

guint bh_sensor_say_ends(BhSensor *s) {
        gboolean adopted = bh_hooks_adopted(s->hooks);
        g_autofree char *away = g_strdup_printf("%" G_GUINT64_FORMAT, s->away_ms), *pid = g_strdup_printf("%d", getpid()), *more = g_strdup_printf("%" G_GUINT64_FORMAT, bh_ends_more(s->ends));
        guint n = bh_ends_count(s->ends);

        if (bh_ends_more(s->ends)) {
                g_autofree char *name = g_strdup_printf("before-%s", bh_ends_name(s->ends, 0));

                bh_pipeline_say(s->pipeline, "returned", "sensors before those that are told one by one ended unexpectedly, too", "end", name, "count", more, NULL);
        }
        for (guint i = 0; i + 1 < n; i++)
                bh_pipeline_say(s->pipeline, "returned", "a sensor before the last one ended unexpectedly as well, and nobody lived to tell it until now", "end", bh_ends_name(s->ends, i), "pid", pid, NULL);
        if (n)
                bh_pipeline_say(s->pipeline, adopted ? "returned" : "gap",
                                adopted ? "the sensor is back after it ended unexpectedly; the kernel went on and kept what it could, losses are counted"
                                        : "the sensor is back after it ended unexpectedly; its hooks were gone, so nothing was seen in between",
                                "away_ms", away, "pid", pid, "version", BH_VERSION, "end", bh_ends_name(s->ends, n - 1), NULL);
        else
                bh_pipeline_say(s->pipeline, "started", "the sensor started", "away_ms", away, "pid", pid, "version", BH_VERSION, NULL);
        return n + (bh_ends_more(s->ends) > 0);
}

void bh_sensor_on_ends_told(gpointer data) {
        g_autoptr(GError) error = NULL;

        if (!bh_ends_told(((BhSensor *) data)->ends, &error))
                bh_warn("cannot note that ends of the sensor were told; the next one tells them again, under the same numbers", "error", error->message);
}

void bh_sensor_say_found_lost(BhSensor *s) {
        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++) {
                const char *programs = bh_hooks_found_lost(s->hooks, type), *name = bh_event_type_name(type);
                g_autofree char *lost = NULL, *back = NULL;

                if (!programs)
                        continue;
                lost = g_strdup_printf("hook %s was detached, in part or whole, while the sensor was away; what it would have seen since then is not known", name);
                back = g_strdup_printf("hook %s is attached again", name);
                bh_error("hook was lost while the sensor was away", "type", name, "programs", programs);
                bh_pipeline_say(s->pipeline, "hook_lost", lost, "type", name, "programs", programs, NULL);
                bh_pipeline_say(s->pipeline, "hook_back", back, "type", name, "programs", programs, NULL);
        }
}

void bh_sensor_say_refused(BhSensor *s) {
        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++) {
                const BhHookState *h = bh_hooks_state(s->hooks, type);
                g_autofree char *text = NULL;

                if (!h || !g_atomic_int_get(&h->wanted) || (!h->refused && h->backend != BH_BACKEND_NONE))
                        continue;
                text = g_strdup_printf("the kernel refuses programs of the hook %s; some such acts are not seen", bh_event_type_name(type));
                bh_pipeline_say(s->pipeline, "hook_refused", text, "type", bh_event_type_name(type), "refused", h->refused ? h->refused : h->why, NULL);
        }
}

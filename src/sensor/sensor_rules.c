/* SPDX-License-Identifier: Apache-2.0 */
/* The sensor's rules: where they are, what they need of the kernel, when they are read again, and what a killed sensor left to be looked at. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/escape.h"
#include "base/fdio.h"
#include "base/log.h"
#include "bus/body.h"
#include "bus/bus.pb-c.h"
#include "event/codec.h"
#include "recorder/query.h"
#include "sensor.h"

#define CATCH_UP_NS 3000000000ull
#define RECALL_NS 10000000000ull

char *bh_sensor_default_rules(void) {
        g_autofree char *self = g_file_read_link("/proc/self/exe", NULL), *dir = self ? g_path_get_dirname(self) : NULL;
        g_autofree char *beside = dir ? g_build_filename(dir, "..", "..", "rules", NULL) : NULL;

        /* in a build tree */
        if (beside && g_str_has_suffix(dir, "/src/sensor") && g_file_test(beside, G_FILE_TEST_IS_DIR))
                return g_steal_pointer(&beside);
        return g_strdup("/usr/share/bulkhead/rules");
}

/* SIGHUP: rules, and settings of web traffic. Reading the files takes a while: not in the main loop's thread. */
static gpointer reload(gpointer data) {
        BhSensor *s = data;
        g_autoptr(GError) error = NULL;

        if (s->ruling && bh_ruling_reload(s->ruling, &error)) {
                bh_info("rules were read again");
                bh_pipeline_say(s->pipeline, "rules_changed", "the rules were read again, and are in force", NULL);
        } else if (s->ruling) {
                bh_error("the rules have errors; those that ran go on", "problem", error->message);
                bh_pipeline_say(s->pipeline, "rules_refused", "the rules have errors; those that ran go on", "why", error->message, NULL);
        }
        g_clear_error(&error);
        if (!bh_sensor_reload_web(s, &error)) {
                bh_error("the settings of web traffic have errors; those that were go on", "problem", error->message);
                bh_pipeline_say(s->pipeline, "web_settings_refused", "the settings of web traffic have errors; those that were go on", "why", error->message, NULL);
        } else if (s->web && s->options.web_settings) {
                bh_info("settings of web traffic were read again");
                bh_pipeline_say(s->pipeline, "web_settings_changed", "the settings of web traffic were read again, and are in force", NULL);
        }
        g_atomic_int_set(&s->reloading, 0);
        return NULL;
}

gboolean bh_sensor_on_hangup(gpointer data) {
        BhSensor *s = data;

        if ((s->ruling || s->web) && g_atomic_int_compare_and_exchange(&s->reloading, 0, 1))
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

/* Kept, so that what is equal before and after a restart is one finding at the central. */
static guint64 read_seed(const char *data_dir) {
        g_autofree char *path = g_build_filename(data_dir, "seed", NULL), *text = bh_file_read(AT_FDCWD, path, 64, NULL, NULL, NULL), *line = NULL;
        guint64 seed = text ? g_ascii_strtoull(text, NULL, 16) : 0;
        g_autoptr(GError) error = NULL;

        if (seed)
                return seed;
        while (!seed)
                if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
                        seed = 0;
        line = g_strdup_printf("%016" G_GINT64_MODIFIER "x\n", seed);
        if (!g_file_set_contents_full(path, line, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, &error))
                bh_warn("cannot keep the seed of findings; equal ones are told apart after the next start", "error", error->message);
        return seed;
}

/* Kinds that the kernel programs make events of for processes outside of containers, when bulk acts of those are left out. */
static void kinds_of_host(guint64 kinds[2]) {
        static const guint8 rings[BH_EV_MAX] = {
#define BH_EVENT_TYPE(num, id, name, ring, folds, doc) [num] = BH_RING_##ring,
#include "event_types.tbl.h"
        };

        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++)
                if (rings[type] != BH_RING_BULK || type == BH_EV_NET_CLOSE)
                        kinds[type / 64] |= 1ull << (type % 64);
}

gboolean bh_sensor_open_rules(BhSensor *s, GError **error) {
        g_autofree char *managed = g_build_filename(s->options.data_dir, "rules", NULL);
        guint64 available[2] = { 0, ~0ull }, host[2] = { 0, ~0ull }; /* what is not the kernel's is always there */
        BhRulingConfig config = {
                .default_dir = s->options.default_rules,
                .user = (const char *const *) s->options.rules,
                .managed_dir = managed,
                .containers = s->containers,
                .seed = read_seed(s->options.data_dir),
                .available = available,
                .host = s->options.host_events ? NULL : host,
                .needs = on_needs,
                .data = s,
        };

        if (!s->options.bus && !(s->options.rules && *s->options.rules))
                return TRUE;
        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++) {
                const BhHookState *h = bh_hooks_state(s->hooks, type);

                if (h && (h->backend != BH_BACKEND_NONE || !h->wanted)) /* not known before it is wanted */
                        available[type / 64] |= 1ull << (type % 64);
        }
        kinds_of_host(host);
        s->ruling = bh_ruling_new(&config, error);
        if (s->ruling)
                bh_ruling_name(s->ruling, s->node);
        return s->ruling != NULL;
}

/* ---- without a central */

void bh_sensor_seen_alone(const struct bh_event *e, const guint8 *wire, guint32 wire_len, const struct bh_lineage *lineage, gpointer data) {
        bh_ruling_event(((BhSensor *) data)->ruling, e, wire, wire_len, lineage);
}

/* "12:34:56.123456789: Warning text", as people know it; and how many more there were. */
static void print_finding(GBytes *body) {
        Bulkhead__Bus__V1__Finding *m = (void *) bh_bus_body_unpack(&bulkhead__bus__v1__finding__descriptor, body, NULL);
        g_autoptr(GString) line = g_string_new(NULL);

        g_assert(m); /* we made it */
        g_autoptr(GDateTime) when = g_date_time_new_from_unix_utc(m->time_ns / 1000000000);
        g_autofree char *clock = when ? g_date_time_format(when, "%H:%M:%S") : g_strdup("?");
        g_string_append_printf(line, "%s.%09d: %c%s ", clock, (int) (m->time_ns % 1000000000), g_ascii_toupper(*m->priority), *m->priority ? m->priority + 1 : "");
        g_autofree char *text = bh_escape_cell((const char *) m->output.data, (gssize) m->output.len);
        g_string_append(line, text);
        if (m->count > 1)
                g_string_append_printf(line, " (%" G_GUINT64_FORMAT " times)", (guint64) m->count);
        printf("%s\n", line->str);
        bulkhead__bus__v1__finding__free_unpacked(m, NULL);
}

void bh_sensor_print_findings(BhSensor *s, gboolean all) {
        BhRulingTrouble t;

        for (GBytes *body; (body = bh_ruling_take(s->ruling, all)); g_bytes_unref(body))
                print_finding(body);
        fflush(stdout);
        while (bh_ruling_trouble(s->ruling, &t)) {
                bh_warn("rules", "what", t.message);
                bh_ruling_trouble_clear(&t);
        }
}

gboolean bh_sensor_on_alone(gpointer data) {
        bh_sensor_print_findings(data, FALSE);
        return G_SOURCE_CONTINUE;
}

/*
 * Two things are to be had of what a killed sensor recorded last. Who the processes were: one that ended before this sensor looked is known by that alone, and the kernel kept acts of it. And findings, which may not have
 * been told yet: the rules look at its last events once more. They have the same numbers again, so that the central leaves out those that it has; in the number of one that it has they may be counted once more. Ancestors
 * are what the events have of them.
 */
void bh_sensor_catch_up(BhSensor *s) {
        gboolean rules = s->ruling && s->report, processes = bh_hooks_adopted(s->hooks);
        guint64 last = s->found.last_time_ns, back = processes ? RECALL_NS : CATCH_UP_NS, of_rules = last > CATCH_UP_NS ? last - CATCH_UP_NS : 0;
        g_autoptr(GError) error = NULL;
        BhRecord rec;

        if (!(rules || processes) || !s->after_crash || !last)
                return;
        g_autoptr(BhRecorderQuery) records = bh_recorder_query(s->recorder_dir, last > back ? last - back : 0, 0, BH_RECORDER_ANY, 0, &error);
        if (!records) {
                bh_warn("cannot look at the last events once more", "error", error->message);
                return;
        }
        while (bh_recorder_query_next(records, &rec)) {
                struct bh_event e;

                if (!bh_event_decode(&e, rec.data, rec.len, NULL))
                        continue;
                if (processes)
                        bh_process_recall(s->processes, &e);
                if (rules && rec.time_ns >= of_rules)
                        bh_ruling_event(s->ruling, &e, rec.data, (guint32) rec.len, NULL);
        }
        /* most of these were told; what comes now is equal to none of them, or it would wait for a minute, and be lost to the next kill */
        if (rules)
                bh_ruling_settle(s->ruling);
}

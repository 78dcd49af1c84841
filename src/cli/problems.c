/* SPDX-License-Identifier: Apache-2.0 */
#include "problems.h"

#include "event/event.h"
#include "output.h"

static void say(GPtrArray *list, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void say(GPtrArray *list, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_ptr_array_add(list, g_strdup_vprintf(format, ap));
        va_end(ap);
}

gboolean bh_problems_hook_seen(const json_t *hook) {
        return !g_str_equal(bh_json_text(hook, "backend"), "none") && json_is_true(json_object_get(hook, "effective"));
}

const char *bh_problems_hook_off(const json_t *hook) {
        return json_is_false(json_object_get(hook, "wanted")) ? bh_json_text(hook, "off") : NULL;
}

char *bh_problems_counts(const json_t *counts, guint64 *total) {
        g_autoptr(GString) out = g_string_new(NULL);
        guint64 sum = 0;
        const char *name;
        json_t *value;

        json_object_foreach((json_t *) counts, name, value) {
                guint64 n = (guint64) json_integer_value(value);

                sum += n;
                if (n)
                        g_string_append_printf(out, "%s%s %" G_GUINT64_FORMAT, out->len ? ", " : "", name, n);
        }
        if (total)
                *total = sum;
        return g_string_free(g_steal_pointer(&out), FALSE);
}

static void hooks(const json_t *status, GPtrArray *list) {
        json_t *all = json_object_get(status, "hooks"), *hook;
        g_autoptr(GString) unseen = g_string_new(NULL), without = g_string_new(NULL), refused = g_string_new(NULL);
        g_autofree char *why = NULL;
        gboolean several = FALSE;
        size_t i;

        json_array_foreach(all, i, hook) {
                if (bh_problems_hook_off(hook))
                        continue;
                if (*bh_json_text(hook, "refused")) {
                        g_autofree char *kind = bh_json_cell(hook, "type"), *reason = bh_json_cell(hook, "refused");

                        g_string_append_printf(refused, "%s%s (%s)", refused->len ? ", " : "", kind, reason);
                }

                g_autofree char *type = bh_json_cell(hook, "type"), *reason = bh_json_cell(hook, "why");

                if (g_str_equal(bh_json_text(hook, "backend"), "none")) {
                        g_string_append_printf(without, "%s%s", without->len ? ", " : "", type);
                        several |= why && !g_str_equal(why, reason);
                        g_free(why);
                        why = g_steal_pointer(&reason);
                } else if (*bh_json_text(hook, "refused") ? json_is_false(json_object_get(hook, "seen")) : !bh_problems_hook_seen(hook)) {
                        g_string_append_printf(unseen, "%s%s", unseen->len ? ", " : "", type);
                }
        }
        if (refused->len)
                say(list, "NOT ALL SEEN: %s; please report it with the kernel's version", refused->str);
        if (unseen->len)
                say(list, "NOT SEEN: %s: the hook is attached, but a test act did not reach it. Something detached it or changed its table: it is attached anew every second; if this stays, restart with \"bulkhead up\" and look for who did it",
                    unseen->str);
        if (without->len)
                say(list, "NOT SEEN: %s: this kernel offers no hook for it%s%s", without->str, several ? "; the table says why" : *why ? ": " : "", several ? "" : why);
}

/* Kernel losses: one line a reason, with the kinds that lost most. */
static void losses(const json_t *status, GPtrArray *list) {
        static const char *const advice[BH_LOST_MAX] = {
                [BH_LOST_RING_FULL] = "give larger rings (--ring-kib) or a smaller --budget, and see \"losses\" below for who floods",
                [BH_LOST_BUSY] = "nothing to do: it is counted because it cannot be avoided",
                [BH_LOST_STATE_FULL] = "more is going on at once than the kernel's maps hold; see \"losses\" below for who does it",
        };

        for (guint32 r = 0; r < BH_LOST_MAX; r++) {
                const char *name = bh_lost_reason_name(r), *doc = bh_lost_reason_doc(r);
                g_autoptr(GString) kinds = g_string_new(NULL);
                json_t *hook;
                guint64 sum = 0;
                size_t i;

                json_array_foreach(json_object_get(status, "hooks"), i, hook) {
                        guint64 n = name ? bh_json_number(json_object_get(hook, "lost"), name) : 0;
                        g_autofree char *type = bh_json_cell(hook, "type");

                        sum += n;
                        if (n && kinds->len < 60)
                                g_string_append_printf(kinds, "%s%s %" G_GUINT64_FORMAT, kinds->len ? ", " : "", type, n);
                        else if (n && !g_str_has_suffix(kinds->str, "…"))
                                g_string_append(kinds, ", …");
                }
                if (sum)
                        say(list, "LOST in the kernel since the hooks were loaded: %" G_GUINT64_FORMAT " events, %s (%s): %s; %s", sum, name, kinds->str, doc ? doc : "",
                            advice[r] ? advice[r] : "see \"losses\" below");
        }
}

static void recorder(const json_t *status, GPtrArray *list) {
        json_t *r = json_object_get(status, "recorder");
        g_autofree char *problem = bh_json_cell(r, "problem"), *dir = bh_json_cell(r, "dir"), *state = bh_json_cell(r, "state");
        guint64 lost;
        g_autofree char *reasons = bh_problems_counts(json_object_get(r, "lost"), &lost);

        if (*state && !g_str_equal(state, "ok"))
                say(list, "RECORDER %s: %s; make room or repair %s, recording goes on by itself", state, *problem ? problem : "events are not kept", dir);
        if (lost)
                say(list, "NOT KEPT since the start: %" G_GUINT64_FORMAT " events (%s)%s%s; they were seen, and shown to who listened, but are not in %s", lost, reasons,
                    *problem ? ": " : "", problem, dir);
        if (json_is_true(json_object_get(r, "clock_distrusted")))
                say(list, "CLOCK: it jumped ahead by more than an hour; recordings grow old by the time since boot, so that none goes for that. Set it back, or if it is right now, restart the sensor");
        if (bh_json_number(r, "cut_bytes_at_start"))
                say(list, "recorder: %" G_GUINT64_FORMAT " bytes of a block that was being written when the sensor or machine last died were cut off", bh_json_number(r, "cut_bytes_at_start"));
}

static void runtimes(const json_t *status, GPtrArray *list) {
        json_t *docker = json_object_get(json_object_get(status, "runtimes"), "docker");
        g_autofree char *error = bh_json_cell(docker, "error"), *socket = bh_json_cell(docker, "socket");

        /* the sensor's sentence says what to do */
        if (g_str_equal(bh_json_text(docker, "state"), "not connected") && *error)
                say(list, "Docker: %s. Without any runtime: --no-docker", error);
        else if (g_str_equal(bh_json_text(docker, "state"), "not connected"))
                say(list, "Docker has not answered yet at %s: until it does, containers are known by their cgroups alone, without names and images", socket);
        else if (*error)
                say(list, "Docker: %s", error);
        json_t *containerd = json_object_get(json_object_get(status, "runtimes"), "containerd");
        g_autofree char *why = bh_json_cell(containerd, "error");
        if (*why)
                say(list, "containerd: %s. Without it: --no-containerd", why);
        if (bh_json_number(containerd, "events_refused"))
                say(list, "containerd: %" G_GUINT64_FORMAT " messages could not be understood and were left out", bh_json_number(containerd, "events_refused"));
        if (bh_json_number(docker, "events_refused"))
                say(list, "Docker: %" G_GUINT64_FORMAT " messages could not be understood and were left out", bh_json_number(docker, "events_refused"));
}

/* The way to the central. */
static void bus(const json_t *status, GPtrArray *list) {
        json_t *b = json_object_get(status, "bus"), *spool = json_object_get(b, "spool");
        g_autofree char *problem = bh_json_cell(b, "problem"), *bytes = bh_out_bytes(bh_json_number(spool, "bytes"));
        guint64 lost = bh_json_number(b, "lost"), waiting = bh_json_number(spool, "messages");

        if (g_str_equal(bh_json_text(b, "state"), "failed"))
                say(list, "CENTRAL: it hears nothing of this node: %s", problem);
        else if (g_str_equal(bh_json_text(b, "state"), "not connected") && waiting)
                say(list, "CENTRAL: it does not answer; %" G_GUINT64_FORMAT " messages (%s) wait for it%s%s. \"bulkhead up\" starts one; a sensor that is to have none gets --no-bus", waiting, bytes,
                    *problem ? ": " : "", problem);
        if (lost)
                say(list, "LOST before the central had them: %" G_GUINT64_FORMAT " messages, the oldest: it was away longer than the spool holds. It is told how many; events are in the recorder", lost);
        if (bh_json_number(spool, "commit_errors"))
                say(list, "SPOOL: %" G_GUINT64_FORMAT " writes failed%s%s; make room beside the recorder", bh_json_number(spool, "commit_errors"), *problem ? ": " : "", problem);
        if (bh_json_number(spool, "damaged"))
                say(list, "SPOOL: its file was damaged and has been set aside; what it held for the central is lost");
}

static void inspector(const json_t *status, GPtrArray *list) {
        json_t *i = json_object_get(status, "inspector");
        g_autofree char *problem = bh_json_cell(i, "problem");
        guint64 lost;
        g_autofree char *reasons = bh_problems_counts(json_object_get(i, "lost"), &lost);

        if (g_str_equal(bh_json_text(i, "state"), "failed") || (g_str_equal(bh_json_text(i, "state"), "not ready") && *problem))
                say(list, "INSPECTOR: payloads are not read: %s; events are recorded without what it would add", problem);
        if (lost)
                say(list, "INSPECTOR: %" G_GUINT64_FORMAT " questions got no answer (%s); their events are there, and say so", lost, reasons);
}

/* Hidden processes. */
static void integrity(const json_t *status, GPtrArray *list) {
        json_t *p = json_object_get(json_object_get(status, "integrity"), "processes");
        g_autofree char *problem = bh_json_cell(p, "problem");

        if (g_str_equal(bh_json_text(p, "list"), "process table"))
                say(list, "INTEGRITY: the kernel's own list of processes cannot be had: %s; hidden ones are found by mounts over /proc/PID, and by what hooks told", problem);
        else if (*problem)
                say(list, "INTEGRITY: the last look for hidden processes found nothing out: %s", problem);
}

GPtrArray *bh_problems_of(const json_t *status) {
        GPtrArray *list = g_ptr_array_new_with_free_func(g_free);
        json_t *events = json_object_get(status, "events"), *processes = json_object_get(status, "processes"), *containers = json_object_get(status, "containers");
        g_autofree char *canary = bh_json_cell(json_object_get(status, "canary"), "error");
        guint64 n;

        hooks(status, list);
        if (*canary)
                say(list, "hooks cannot be tested: %s; whether they still see anything is not known", canary);
        recorder(status, list);
        losses(status, list);
        if ((n = bh_json_number(status, "recursion_misses")))
                say(list, "LOST in the kernel: %" G_GUINT64_FORMAT " acts happened inside another hook on the same CPU and could not be seen; nothing to do, they are counted", n);
        if ((n = bh_json_number(status, "away_ms")))
                say(list, "the sensor was away for %.1f s before this start; \"bulkhead events --type sensor\" says what became of that time", (double) n / 1000);
        bus(status, list);
        inspector(status, list);
        integrity(status, list);
        if ((n = bh_json_number(json_object_get(status, "rules"), "pattern_limits")))
                say(list, "RULES: %" G_GUINT64_FORMAT " times a pattern took more than it may and counted as no match; findings of the sensor name rule and pattern", n);
        if ((n = bh_json_number(json_object_get(status, "rules"), "cut_values")))
                say(list, "RULES: %" G_GUINT64_FORMAT " values of fields were missing for rules, because their events have more than rules can look at; the events are whole in the recorder", n);
        runtimes(status, list);
        if ((n = bh_json_number(events, "undecodable")))
                say(list, "%" G_GUINT64_FORMAT " kernel records could not be decoded: sensor and kernel programs do not fit each other; restart, and report it", n);
        if ((n = bh_json_number(events, "released_without_metadata")))
                say(list, "%" G_GUINT64_FORMAT " events were recorded without their container's name and image, because the runtime did not describe it in time (flag no_metadata)", n);
        if ((n = bh_json_number(events, "dropped_for_subscribers")))
                say(list, "%" G_GUINT64_FORMAT " live events were left out for readers that were too slow; they are in the recorder", n);
        if ((n = bh_json_number(processes, "evicted_live")))
                say(list, "%" G_GUINT64_FORMAT " running processes were forgotten because there are more than the table holds; their later events lack ancestors", n);
        if ((n = bh_json_number(containers, "refused")))
                say(list, "%" G_GUINT64_FORMAT " containers or cgroups are more than the table holds; their events lack names", n);
        if ((n = bh_json_number(containers, "impostors")))
                say(list, "%" G_GUINT64_FORMAT " cgroups look like a container's and are not: somebody made them by hand", n);
        return list;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <time.h>

#include "base/escape.h"
#include "commands.h"
#include "output.h"
#include "problems.h"
#include "status.h"

#define CERTIFICATE_SOON_S (14 * 86400)

static void say(GPtrArray *list, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void say(GPtrArray *list, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_ptr_array_add(list, g_strdup_vprintf(format, ap));
        va_end(ap);
}

static gint64 seconds_until(const json_t *o, const char *key) {
        const char *text = json_string_value(json_object_get(o, key));
        g_autoptr(GDateTime) when = text ? g_date_time_new_from_iso8601(text, NULL) : NULL;

        return when ? g_date_time_to_unix(when) - (gint64) time(NULL) : G_MAXINT64;
}

/* ---- what is wrong ---- */

static void output_problems(const json_t *outputs, GPtrArray *list) {
        guint64 lost = bh_json_number(outputs, "lost"), gaps = bh_json_number(outputs, "gaps");
        json_t *failing = json_object_get(outputs, "failing"), *one;
        size_t i;

        if (!outputs)
                return;
        if (!json_is_true(json_object_get(outputs, "running")))
                say(list, "ALERTS are not delivered: the process that does it is not running; the central's log says why");
        json_array_foreach(failing, i, one) {
                g_autofree char *name = bh_json_cell(one, "name"), *problem = bh_json_cell(one, "problem");

                say(list, "ALERTS do not reach the output %s: %s. They wait; \"bulkhead output list\" says how many", name, problem);
        }
        if (lost || gaps)
                say(list, "ALERTS were lost: %" G_GUINT64_FORMAT " given up because an output's queue was full or damaged, %" G_GUINT64_FORMAT " times some because the notifier was away too long; the findings are in \"bulkhead findings\"",
                    lost, gaps);
}

/* Nodes that contradict each other: either of them may have been taken over. */
static void contest_problems(const json_t *map, GPtrArray *list) {
        guint64 contested = bh_json_number(map, "contested"), swarm = bh_json_number(map, "swarm_conflicts");
        const json_t *one = json_array_get(json_object_get(map, "contested_addresses"), 0);
        g_autofree char *address = bh_json_cell(one, "address"), *node = bh_json_cell(one, "node"), *rival = bh_json_cell(one, "rival");

        if (contested)
                say(list, "CONTESTED: %" G_GUINT64_FORMAT " addresses are called their own by several nodes, like %s by %s and %s; the first of them is believed. Is that one address for several on purpose?", contested, address,
                    node, rival);
        if (swarm)
                say(list, "CONTESTED: %" G_GUINT64_FORMAT " lists of a Swarm came from nodes that do not manage it, and were not believed: \"bulkhead findings\" says from which", swarm);
}

static void central_problems(const json_t *s, GPtrArray *list) {
        json_t *c = json_object_get(s, "central"), *store = json_object_get(c, "store"), *upkeep = json_object_get(c, "upkeep");
        g_autofree char *restored = bh_json_cell(store, "restored_from"), *kept = bh_json_cell(store, "damaged_kept_as"), *problem = bh_json_cell(upkeep, "problem");
        gint64 left = seconds_until(c, "certificate_expires");

        if (*restored)
                say(list, "DATABASE: it was damaged and has been restored from %s: what was stored after that backup is gone; the damaged file is kept as %s", restored, kept);
        if (bh_json_number(store, "failed"))
                say(list, "DATABASE: %" G_GUINT64_FORMAT " writes have failed since the central started; its log says why. Nodes keep what is not stored and send it again", bh_json_number(store, "failed"));
        if (*problem)
                say(list, "DATABASE: %s", problem);
        if (json_is_true(json_object_get(upkeep, "over_bound")))
                say(list, "DATABASE: it is larger than its bound although the oldest was deleted; give it more room (setting retention.mib)");
        contest_problems(json_object_get(c, "map"), list);
        output_problems(json_object_get(c, "outputs"), list);
        if (left < 0)
                say(list, "the central's certificate has expired: replace it in its tls directory; it is taken over within seconds");
        else if (left < CERTIFICATE_SOON_S)
                say(list, "the central's certificate expires in %" G_GINT64_FORMAT " days", left / 86400);
        if (!json_array_size(json_object_get(s, "nodes")))
                say(list, "no sensor has ever told this central anything: \"bulkhead status --sensor\" says how the one on this machine is");
}

static void node_problems(const json_t *s, GPtrArray *list) {
        json_t *nodes = json_object_get(s, "nodes"), *n, *loss;
        gboolean several = json_array_size(nodes) > 1;
        size_t i;

        json_array_foreach(nodes, i, n) {
                g_autofree char *name = bh_json_cell(n, "name"), *seen = bh_json_when(n, "last_seen");
                g_autoptr(GPtrArray) own = json_object_size(json_object_get(n, "status")) ? bh_problems_of(json_object_get(n, "status")) : NULL;

                if (!json_is_true(json_object_get(n, "up"))) {
                        say(list, "NODE %s is away since %s: is its sensor running? It keeps what it has to tell, and sends it when it is back", name, seen);
                        continue; /* what it said last may not be true any more */
                }
                for (guint k = 0; own && k < own->len; k++)
                        say(list, "%s%s%s", several ? name : "", several ? ": " : "", (char *) own->pdata[k]);
        }
        json_array_foreach(json_object_get(s, "losses"), i, loss) {
                g_autofree char *name = bh_json_cell(loss, "node"), *topic = bh_json_cell(loss, "topic"), *reason = bh_json_cell(loss, "reason"), *last = bh_json_when(loss, "last");
                guint64 count = bh_json_number(loss, "count");
                g_autofree char *number = count ? g_strdup_printf("%" G_GUINT64_FORMAT, count) : g_strdup("an unknown number of");

                say(list, "LOST on the way from %s: %s %s messages (%s), the last at %s%s", name, number, *topic ? topic : "(some)", reason, last,
                    g_str_equal(reason, "spool_full") ? "; the central was away longer than the node's spool holds" : "");
        }
}

/* ---- what is there ---- */

static void central(const json_t *s) {
        json_t *c = json_object_get(s, "central"), *o = json_object_get(s, "overview"), *store = json_object_get(c, "store");
        g_autofree char *version = bh_json_cell(c, "version"), *up = bh_out_span(bh_json_number(c, "uptime_s")), *used = bh_out_bytes(bh_json_number(store, "bytes_used"));
        g_autofree char *backup = bh_json_when(store, "last_backup"), *until = bh_json_when(c, "certificate_expires");
        guint64 landlock = bh_json_number(c, "landlock");

        printf("central    Bulkhead %s, up %s, %s\n", version, up, landlock ? "enclosed by Landlock and system call filter" : "enclosed by its uid and system call filter; this kernel has no Landlock");
        printf("database   %s used, last backup %s\n", used, backup);
        printf("clients    %" G_GUINT64_FORMAT " connections, %" G_GUINT64_FORMAT " streams; certificate until %s\n", bh_json_number(c, "connections"), bh_json_number(c, "streams"), until);
        printf("nodes      %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " connected\n", bh_json_number(o, "nodes_up"), bh_json_number(o, "nodes"));
        printf("inventory  %" G_GUINT64_FORMAT " containers, %" G_GUINT64_FORMAT " running, %" G_GUINT64_FORMAT " workloads, %" G_GUINT64_FORMAT " applications\n", bh_json_number(o, "containers"),
               bh_json_number(o, "running"), bh_json_number(o, "workloads"), bh_json_number(o, "applications"));
        printf("kept       %" G_GUINT64_FORMAT " observations, %" G_GUINT64_FORMAT " findings; %" G_GUINT64_FORMAT " messages lost on the way\n", bh_json_number(o, "observations"),
               bh_json_number(o, "findings"), bh_json_number(o, "lost"));
}

static void nodes(const json_t *s) {
        json_t *n;
        size_t i;

        json_array_foreach(json_object_get(s, "nodes"), i, n) {
                json_t *status = json_object_get(n, "status");
                g_autofree char *name = bh_json_cell(n, "name"), *version = bh_json_cell(n, "version"), *when = bh_json_when(n, "status_time"), *seen = bh_json_when(n, "last_seen");
                gboolean up = json_is_true(json_object_get(n, "up"));

                printf("\n%sNode %s%s  %s", bh_out_style(BH_STYLE_BOLD), name, bh_out_style(BH_STYLE_NONE), up ? "connected" : "AWAY");
                if (!up)
                        printf(" since %s; below is what it said then", seen);
                printf("\n");
                if (json_object_size(status))
                        bh_status_print_sensor(status);
                else
                        printf("sensor     Bulkhead %s; it has not told its status yet (%s)\n", version, when);
        }
}

int bh_status_of_central(BhApi *api, gboolean json) {
        g_autoptr(GError) error = NULL;
        json_auto_t *s = bh_api_get(api, "/api/v1/status", &error), *losses = s ? bh_api_get(api, "/api/v1/losses", &error) : NULL;

        if (!losses)
                return bh_cli_fail(error);
        json_object_set(s, "losses", json_object_get(losses, "losses"));
        if (json) {
                bh_status_print_json(s);
                return bh_out_finish();
        }

        g_autoptr(GPtrArray) problems = g_ptr_array_new_with_free_func(g_free);
        central_problems(s, problems);
        node_problems(s, problems);
        bh_status_print_problems(problems);
        central(s);
        nodes(s);
        return bh_out_finish();
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "rules/alert.h"

#include <time.h>

#include "base/escape.h"

#define NSEC 1000000000u

void bh_rule_alert_text(BhRuleRun *r, const BhRuleEngine *e, const BhRule *rule, guint32 index, const struct bh_event *event, GString *out) {
        time_t seconds = (time_t) (event->time / NSEC);
        g_autoptr(GString) text = g_string_new(NULL);
        g_autofree char *cell = NULL;
        struct tm tm = { 0 };

        localtime_r(&seconds, &tm);
        bh_rule_run_output(r, e, index, text, NULL);
        cell = bh_escape_cell(text->str, (gssize) text->len);
        g_string_append_printf(out, "%02d:%02d:%02d.%09u: %s %s", tm.tm_hour, tm.tm_min, tm.tm_sec, (guint) (event->time % NSEC), bh_priority_name(rule->priority), cell);
}

void bh_rule_alert_json(BhRuleRun *r, const BhRuleEngine *e, const BhRule *rule, guint32 index, const struct bh_event *event, GString *out) {
        time_t seconds = (time_t) (event->time / NSEC);
        g_autoptr(GString) text = g_string_new(NULL), fields = g_string_new(NULL);
        struct tm tm = { 0 };

        gmtime_r(&seconds, &tm);
        bh_rule_run_output(r, e, index, text, fields);
        g_string_append(out, "{\"hostname\":");
        if (bh_event_has(event, BH_F_node))
                bh_escape_append_json(out, event->node.p, (gssize) event->node.len);
        else
                bh_escape_append_json(out, g_get_host_name(), -1);
        g_string_append(out, ",\"output\":");
        bh_escape_append_json(out, text->str, (gssize) text->len);
        g_string_append_printf(out, ",\"output_fields\":%s,\"priority\":\"%s\",\"rule\":", fields->str, bh_priority_name(rule->priority));
        bh_escape_append_json(out, rule->name, -1);
        g_string_append(out, ",\"source\":");
        bh_escape_append_json(out, rule->source ? rule->source : "syscall", -1);
        g_string_append(out, ",\"tags\":[");
        for (guint i = 0; rule->tags && i < rule->tags->len; i++) {
                if (i)
                        g_string_append_c(out, ',');
                bh_escape_append_json(out, g_ptr_array_index(rule->tags, i), -1);
        }
        g_string_append_printf(out, "],\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%09uZ\"}", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                               (guint) (event->time % NSEC));
}

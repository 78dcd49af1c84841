/* SPDX-License-Identifier: Apache-2.0 */
/* Alerts for the tests of src/notify. */
#pragma once
#include <string.h>

#include "notify/notifier.h"

#define HOSTILE "a\tb\nc\r\x7f\xc2\x9b\xe2\x80\xae\"\\\xc3\xa9"

/* A finding as the central writes it. */
static G_GNUC_UNUSED json_t *finding(const char *id, json_int_t count) {
        return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:{s:s, s:I, s:n, s:b}, s:[s,s], s:s, s:s, s:s, s:I, s:s, s:[{s:i}]}", "id", id, "time", "2026-11-26T19:13:07.123456789Z", "rule",
                         "Terminal shell in container", "priority", "critical", "source", "syscall", "hostname", "node one", "output", "A shell " HOSTILE, "output_fields", "proc.name", "sh",
                         "proc.pid", (json_int_t) 42, "fd.name", "proc.is_exe", 1, "tags", "T1059", "mitre_execution", "container_name", "web", "workload", "web", "last",
                         "2026-11-26T19:14:07.000000000Z", "count", count, "description", "what it means", "lineage", "pid", 42);
}

static G_GNUC_UNUSED char *finding_text(const char *id, json_int_t count) {
        json_auto_t *o = finding(id, count);

        return json_dumps(o, JSON_COMPACT);
}

static G_GNUC_UNUSED BhAlert *alert(const char *id, json_int_t count, guint64 told) {
        BhAlert *a = bh_alert_new(finding(id, count), told, NULL);

        g_assert_nonnull(a);
        return a;
}

static G_GNUC_UNUSED BhOutput *output(const char *name, const char *json) {
        g_autoptr(GError) error = NULL;
        BhOutput *o = bh_output_parse(name, name, json, strlen(json), NULL, &error);

        g_assert_no_error(error);
        return o;
}

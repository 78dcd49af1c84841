/* SPDX-License-Identifier: Apache-2.0 */
/* containers ID: one container, for people to read. */
#include <stdio.h>
#include <string.h>

#include "base/escape.h"
#include "commands.h"
#include "output.h"

#define LABELS_SHOWN 32u

static void line(const char *name, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void line(const char *name, const char *format, ...) {
        va_list args;

        va_start(args, format);
        g_autofree char *text = g_strdup_vprintf(format, args), *safe = bh_escape_cell(text, -1);
        va_end(args);
        if (*safe)
                printf("%-16s %s\n", name, safe);
}

static void text(const json_t *c, const char *name, const char *key) {
        line(name, "%s", bh_json_text(c, key));
}

/* "a, b"; with `prefix` "+a, +b" */
static char *joined(const json_t *list, const char *separator) {
        GString *out = g_string_new(NULL);
        json_t *e;
        size_t i;

        json_array_foreach((json_t *) list, i, e)
                g_string_append_printf(out, "%s%s", out->len ? separator : "", json_string_value(e) ? json_string_value(e) : "");
        return g_string_free(out, FALSE);
}

static void list(const json_t *c, const char *name, const char *key, const char *separator) {
        g_autofree char *all = joined(json_object_get(c, key), separator);

        line(name, "%s", all);
}

static void when(const json_t *c, const char *name, const char *key, const char *by) {
        g_autofree char *time = bh_json_when(c, key);

        if (!g_str_equal(time, "-"))
                line(name, "%s%s%s", time, *bh_json_text(c, by) ? " by " : "", bh_json_text(c, by));
}

static void limits(const json_t *c) {
        GString *out = g_string_new(NULL);
        guint64 memory = bh_json_number(c, "memory_limit"), cpu = bh_json_number(c, "cpu_limit"), pids = bh_json_number(c, "pids_limit");
        g_autofree char *bytes = bh_out_bytes(memory), *all = NULL;

        if (memory)
                g_string_append_printf(out, "memory %s", bytes);
        if (cpu)
                g_string_append_printf(out, "%s%.2f CPUs", out->len ? ", " : "", (double) cpu / 1e9);
        if (pids)
                g_string_append_printf(out, "%s%" G_GUINT64_FORMAT " processes", out->len ? ", " : "", pids);
        all = g_string_free(out, FALSE);
        line("limits", "%s", *all ? all : "none");
}

static void namespaces(const json_t *c) {
        static const struct {
                const char *key, *word;
        } shared[] = { { "host_pid", "processes" }, { "host_network", "network" },       { "host_ipc", "IPC" },
                       { "host_uts", "UTS" },       { "host_cgroupns", "control groups" }, { "host_userns", "users" } };
        g_autoptr(GString) out = g_string_new(NULL);

        for (gsize i = 0; i < G_N_ELEMENTS(shared); i++)
                if (json_is_true(json_object_get(c, shared[i].key)))
                        g_string_append_printf(out, "%s%s", out->len ? ", " : "", shared[i].word);
        line("shares with host", "%s", out->str);
        if (*bh_json_text(c, "network_of"))
                line("network of", "%.12s", bh_json_text(c, "network_of"));
}

static void places(const json_t *c) {
        json_t *e;
        size_t i;

        json_array_foreach(json_object_get(c, "networks"), i, e) {
                g_autofree char *names = joined(json_object_get(e, "aliases"), ", ");

                line(i ? "" : "networks", "%s%s%s%s%s%s%s%s", bh_json_text(e, "name"), *bh_json_text(e, "ip") ? " " : "", bh_json_text(e, "ip"), *bh_json_text(e, "ip6") ? " " : "",
                     bh_json_text(e, "ip6"), *names ? " (as " : "", names, *names ? ")" : "");
        }
        json_array_foreach(json_object_get(c, "ports"), i, e) {
                guint64 host = bh_json_number(e, "host_port");
                const char *ip = *bh_json_text(e, "host_ip") ? bh_json_text(e, "host_ip") : "*";
                gboolean six = strchr(ip, ':') != NULL;
                g_autofree char *at = host ? g_strdup_printf(" at %s%s%s:%" G_GUINT64_FORMAT, six ? "[" : "", ip, six ? "]" : "", host) : g_strdup("");

                line(i ? "" : "ports", "%" G_GUINT64_FORMAT "/%s%s", bh_json_number(e, "container_port"), bh_json_text(e, "protocol"), at);
        }
        json_array_foreach(json_object_get(c, "mounts"), i, e)
                line(i ? "" : "mounts", "%s %s%s%s%s", bh_json_text(e, "destination"), bh_json_text(e, "type"), *bh_json_text(e, "source") ? " of " : "", bh_json_text(e, "source"),
                     json_is_true(json_object_get(e, "rw")) ? "" : " (read only)");
}

/* Of an ended one with what it ended, if that was told. */
static void state(const json_t *c) {
        const char *health = bh_json_text(c, "health");
        json_int_t code = json_integer_value(json_object_get(c, "exit_code"));
        gboolean ended = g_str_equal(bh_json_text(c, "state"), "exited") || g_str_equal(bh_json_text(c, "state"), "dead");
        g_autofree char *with = ended && code >= 0 ? g_strdup_printf(" (exit %" JSON_INTEGER_FORMAT "%s)", code, json_is_true(json_object_get(c, "oom_killed")) ? ", out of memory" : "")
                              : ended              ? g_strdup("")
                              : *health            ? g_strdup_printf(" (%s)", health)
                                                   : g_strdup("");

        line("state", "%s%s", bh_json_text(c, "state"), with);
}

static void labels(const json_t *c) {
        const json_t *all = json_object_get(c, "labels");
        const char *key, *name = "labels";
        json_t *value;
        size_t n = 0;

        json_object_foreach((json_t *) all, key, value) {
                if (n++ == LABELS_SHOWN) {
                        line("", "and %zu more: --json has them", json_object_size(all) - LABELS_SHOWN);
                        break;
                }
                line(name, "%s=%s", key, json_string_value(value) ? json_string_value(value) : "");
                name = "";
        }
}

static void runs(const json_t *c) {
        json_t *r;
        size_t i;

        json_array_foreach(json_object_get(c, "runs"), i, r) {
                g_autofree char *from = bh_json_when(r, "started"), *to = bh_json_when(r, "finished");

                line(i ? "" : "runs that ended", "%s to %s, exit %" JSON_INTEGER_FORMAT "%s%s%s", from, to, json_integer_value(json_object_get(r, "exit_code")),
                     json_is_true(json_object_get(r, "oom_killed")) ? ", out of memory" : "", *bh_json_text(r, "error") ? ": " : "", bh_json_text(r, "error"));
        }
}

void bh_container_print(const json_t *c) {
        json_t *e;
        size_t i;

        text(c, "name", *bh_json_text(c, "display_name") ? "display_name" : "name");
        text(c, "id", "id");
        text(c, "node", "node");
        state(c);
        line("workload", "%s%s%s", bh_json_text(c, "workload"), *bh_json_text(c, "application") ? " of " : "", bh_json_text(c, "application"));
        text(c, "image", "image");
        text(c, "image id", "image_id");
        text(c, "digest", "image_digest");
        json_array_foreach(json_object_get(c, "layers"), i, e)
                line(i ? "" : "layers", "%s", json_string_value(e) ? json_string_value(e) : "");
        text(c, "runtime", "runtime");
        when(c, "created", "created", "created_by");
        when(c, "started", "started", "started_by");
        when(c, "finished", "finished", "ended_by");
        if (bh_json_number(c, "init_pid"))
                line("first process", "%" G_GUINT64_FORMAT, bh_json_number(c, "init_pid"));
        list(c, "command", "command", " ");
        text(c, "user", "user");
        list(c, "health check", "health_command", " ");
        text(c, "restarts", "restart_policy");
        if (bh_json_number(c, "restart_count"))
                line("restarted", "%" G_GUINT64_FORMAT " times", bh_json_number(c, "restart_count"));
        limits(c);
        places(c);
        namespaces(c);
        list(c, "capabilities", "capabilities", " ");
        if (json_is_true(json_object_get(c, "privileged")))
                line("privileged", "%s", "yes");
        text(c, "seccomp", "seccomp");
        text(c, "LSM", "lsm");
        if (json_is_true(json_object_get(c, "no_new_privileges")))
                line("privileges", "%s", "no new ones");
        if (json_is_true(json_object_get(c, "readonly_rootfs")))
                line("file system", "%s", "read only");
        list(c, "devices", "devices", " ");
        list(c, "environment", "env_names", " ");
        labels(c);
        runs(c);
        json_array_foreach(json_object_get(c, "risks"), i, e) {
                g_autofree char *safe = bh_escape_cell(json_string_value(e) ? json_string_value(e) : "", -1);

                printf("%s%s\n", i ? "  " : "\nWays to the host:\n  ", safe);
        }
}

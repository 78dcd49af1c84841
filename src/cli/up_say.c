/* SPDX-License-Identifier: Apache-2.0 */
/* What `bulkhead up` says of the start, and at the end. */
#include <stdio.h>
#include <string.h>

#include "base/escape.h"
#include "commands.h"
#include "output.h"
#include "problems.h"
#include "up.h"

#define SHOWN_MAX 8u /* containers that are named at the start */

static void say_hooks(const json_t *status) {
        static const char *const backends[] = { "preferred", "fallback", "tracepoint" };
        guint n[G_N_ELEMENTS(backends)] = { 0 }, seen = 0, untested = 0, off = 0;
        json_t *all = json_object_get(status, "hooks"), *h;
        g_autoptr(GPtrArray) why = g_ptr_array_new_with_free_func(g_free);
        size_t i;

        json_array_foreach(all, i, h) {
                const char *backend = bh_json_text(h, "backend"), *reason = bh_json_text(h, "why");

                if (bh_problems_hook_off(h)) {
                        off++;
                        continue;
                }
                for (guint b = 0; b < G_N_ELEMENTS(backends); b++)
                        n[b] += g_str_equal(backend, backends[b]);
                seen += bh_problems_hook_seen(h);
                untested += bh_problems_hook_seen(h) && !json_is_true(json_object_get(h, "tested"));
                if (g_str_equal(backend, "fallback") && *reason && !g_ptr_array_find_with_equal_func(why, reason, g_str_equal, NULL))
                        g_ptr_array_add(why, g_strdup(reason));
        }
        printf("  hooks       %u of %zu see their acts%s:", seen, json_array_size(all) - off, untested == seen && seen ? " (untested)" : "");
        for (guint b = 0, some = 0; b < G_N_ELEMENTS(backends); b++)
                if (n[b])
                        printf("%s %u %s", some++ ? "," : "", n[b], backends[b]);
        if (off)
                printf("; %u off, which nobody needs", off);
        putchar('\n');
        if (n[1]) {
                g_autofree char *reason = bh_escape_cell(why->len ? g_ptr_array_index(why, 0) : "", -1);

                printf("              fallback%s%s%s; it sees the same acts and costs more. \"bulkhead status\" has each hook\n", *reason ? ": " : "", reason,
                       why->len > 1 ? ", and other reasons" : "");
        }
}

static gboolean is_running(const json_t *c) {
        const char *state = bh_json_text(c, "state");

        return g_str_equal(state, "running") || g_str_equal(state, "unknown");
}

static void say_containers(const BhCliPaths *paths) {
        g_autoptr(GError) error = NULL;
        json_auto_t *list = bh_client_containers(paths, 10, &error);
        json_t *c;
        size_t i;
        guint running = 0, shown = 0;

        if (!list) {
                printf("  containers  %s\n", error->message);
                return;
        }
        json_array_foreach(list, i, c)
                running += is_running(c);
        printf("  containers  %zu found, %u running%s", json_array_size(list), running, running ? ": " : "; each new one is found when it starts");
        /* those with names first: what a runtime does not know is told by its number, and says a reader less */
        for (guint nameless = 0; nameless < 2 && shown <= SHOWN_MAX; nameless++) {
                json_array_foreach(list, i, c) {
                        g_autofree char *name = bh_json_cell(c, "name"), *image = bh_json_cell(c, "image");

                        if (!is_running(c) || g_str_has_prefix(bh_json_text(c, "id"), bh_json_text(c, "name")) != (nameless == 1))
                                continue;
                        if (shown++ == SHOWN_MAX) {
                                printf(", …");
                                break;
                        }
                        printf("%s%s%s%s%s", shown > 1 ? ", " : "", name, *image ? " (" : "", image, *image ? ")" : "");
                }
        }
        putchar('\n');
}

static void say_central(const BhUpCentral *c) {
        g_autofree char *url = bh_escape_cell(c->url ? c->url : "", -1), *user = bh_escape_cell(c->user ? c->user : "", -1), *password = bh_escape_cell(c->password ? c->password : "", -1);

        if (!c->wanted)
                return;
        if (!c->ready) {
                printf("  central     does not run, as said above; the sensor keeps what it has to tell it\n");
                return;
        }
        printf("  web         %s%s%s (central pid %d)\n", bh_out_style(BH_STYLE_BOLD), url, bh_out_style(BH_STYLE_NONE), (int) c->pid);
        if (c->password)
                printf("              log in as %s with the password %s%s%s, shown this once\n", user, bh_out_style(BH_STYLE_BOLD), password, bh_out_style(BH_STYLE_NONE));
}

void bh_up_say_start(const BhCliPaths *paths, pid_t sensor, const json_t *status, const BhUpCentral *central, gboolean feed) {
        g_autoptr(GPtrArray) problems = bh_problems_of(status);
        json_t *cgroup = json_object_get(status, "cgroup"), *docker = json_object_get(json_object_get(status, "runtimes"), "docker");
        g_autofree char *node = bh_json_cell(status, "node"), *kernel = bh_json_cell(status, "kernel"), *version = bh_json_cell(status, "version");
        g_autofree char *mode = bh_json_cell(cgroup, "mode"), *controller = bh_json_cell(cgroup, "controller"), *mount = bh_json_cell(cgroup, "mount");
        g_autofree char *state = bh_json_cell(docker, "state"), *engine = bh_json_cell(docker, "version"), *socket = bh_json_cell(docker, "socket");
        g_autofree char *dir = bh_json_cell(json_object_get(status, "recorder"), "dir");

        printf("%sBulkhead %s%s watches %s, kernel %s (sensor pid %d)\n", bh_out_style(BH_STYLE_BOLD), version, bh_out_style(BH_STYLE_NONE), node, kernel, (int) sensor);
        say_hooks(status);
        printf("  cgroups     %s%s%s at %s\n", mode, *controller ? ", controller " : "", controller, mount);
        if (g_str_equal(state, "connected"))
                printf("  runtimes    Docker Engine %s at %s\n", engine, socket);
        else if (g_str_equal(state, "off"))
                printf("  runtimes    not asked (--no-docker); containers are told by their cgroups\n");
        else
                printf("  runtimes    none answers; containers are told by their cgroups\n");
        say_containers(paths);
        printf("  recorder    %s\n", dir);
        say_central(central);
        for (guint i = 0; i < problems->len; i++)
                printf("  %s!%s %s\n", bh_out_style(BH_STYLE_BAD), bh_out_style(BH_STYLE_NONE), (char *) g_ptr_array_index(problems, i));
        puts(feed ? "Live events follow; Ctrl-C stops.\n" : "Running; Ctrl-C stops.");
        fflush(stdout);
}

void bh_up_say_summary(const json_t *status, gint64 us) {
        guint64 lost = bh_json_number(status, "lost") + bh_json_number(status, "recursion_misses"), unkept;
        json_t *recorder = json_object_get(status, "recorder");
        g_autofree char *reasons = bh_problems_counts(json_object_get(recorder, "lost"), &unkept), *dir = bh_json_cell(recorder, "dir");
        g_autofree char *span = bh_out_span((guint64) us / G_USEC_PER_SEC);

        if (!status)
                printf("Stopped after %s.\n", span);
        else
                printf("Stopped after %s: %" G_GUINT64_FORMAT " events recorded in %s, %" G_GUINT64_FORMAT " lost in the kernel, %" G_GUINT64_FORMAT " not kept.\n", span,
                       bh_json_number(json_object_get(status, "events"), "recorded"), dir, lost, unkept);
        fflush(stdout);
}

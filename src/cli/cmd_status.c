/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/escape.h"
#include "commands.h"
#include "output.h"
#include "problems.h"
#include "status.h"

static void heading(const char *text) {
        printf("\n%s%s%s\n", bh_out_style(BH_STYLE_BOLD), text, bh_out_style(BH_STYLE_NONE));
}

static void header(const json_t *s) {
        json_t *cgroup = json_object_get(s, "cgroup"), *docker = json_object_get(json_object_get(s, "runtimes"), "docker");
        g_autofree char *node = bh_json_cell(s, "node"), *kernel = bh_json_cell(s, "kernel"), *version = bh_json_cell(s, "version"), *up = bh_out_span(bh_json_number(s, "uptime_s"));
        g_autofree char *mode = bh_json_cell(cgroup, "mode"), *controller = bh_json_cell(cgroup, "controller"), *mount = bh_json_cell(cgroup, "mount");
        g_autofree char *state = bh_json_cell(docker, "state"), *engine = bh_json_cell(docker, "version"), *socket = bh_json_cell(docker, "socket");

        printf("node       %s, %s\n", node, kernel);
        printf("sensor     Bulkhead %s, pid %" G_GUINT64_FORMAT ", up %s%s\n", version, bh_json_number(s, "pid"), up,
               json_is_true(json_object_get(s, "adopted")) ? ", took over the kernel programs of the one before" : "");
        printf("cgroups    %s%s%s at %s\n", mode, *controller ? ", controller " : "", controller, mount);
        if (g_str_equal(state, "connected"))
                printf("docker     Engine %s at %s, %" G_GUINT64_FORMAT " runtime events\n", engine, socket, bh_json_number(docker, "events"));
        else
                printf("docker     %s%s%s\n", state, *socket ? ", " : "", socket);

        json_t *containerd = json_object_get(json_object_get(s, "runtimes"), "containerd");
        g_autofree char *cd_state = bh_json_cell(containerd, "state"), *cd_version = bh_json_cell(containerd, "version"), *cd_socket = bh_json_cell(containerd, "socket");
        if (g_str_equal(cd_state, "connected"))
                printf("containerd %s at %s, %" G_GUINT64_FORMAT " runtime events\n", cd_version, cd_socket, bh_json_number(containerd, "events"));
        else if (*cd_state && !g_str_equal(cd_state, "absent"))
                printf("containerd %s%s%s\n", cd_state, *cd_socket ? ", " : "", cd_socket);
}

/* The way to the central. */
static void bus(const json_t *s) {
        json_t *b = json_object_get(s, "bus"), *spool = json_object_get(b, "spool");
        g_autofree char *state = bh_json_cell(b, "state"), *bytes = bh_out_bytes(bh_json_number(spool, "bytes"));

        if (!json_is_object(b))
                return;
        printf("bus        %s", state);
        if (json_is_object(spool))
                printf(", spool: %" G_GUINT64_FORMAT " messages, %s; since the start: %" G_GUINT64_FORMAT " told, %" G_GUINT64_FORMAT " acknowledged, %" G_GUINT64_FORMAT " lost",
                       bh_json_number(spool, "messages"), bytes, bh_json_number(b, "published"), bh_json_number(b, "acknowledged"), bh_json_number(b, "lost"));
        putchar('\n');
}

/* Connections, and what hinders seeing all of them. */
static void flows(const json_t *s) {
        json_t *f = json_object_get(s, "flows"), *conntrack = json_object_get(f, "conntrack"), *walk = json_object_get(f, "walk"), *rest = json_object_get(f, "rest");
        g_autofree char *nat = bh_json_cell(conntrack, "state"), *nat_problem = bh_json_cell(conntrack, "problem"), *problem = bh_json_cell(walk, "problem");
        guint64 beyond = bh_json_number(rest, "connections") + bh_json_number(rest, "open_refused") + bh_json_number(rest, "listeners_refused") + bh_json_number(rest, "cut_off");

        if (!json_is_object(conntrack))
                return;
        printf("flows      %" G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT " open connections, %" G_GUINT64_FORMAT " listeners, %" G_GUINT64_FORMAT " scans; translations: %s%s%s%s", bh_json_number(f, "flows"),
               bh_json_number(f, "open_connections"), bh_json_number(f, "listeners"), bh_json_number(f, "scans"), nat, *nat_problem ? " (" : "", nat_problem, *nat_problem ? ")" : "");
        if (*problem)
                printf("; sockets are not walked: %s", problem);
        if (beyond)
                printf("; %" G_GUINT64_FORMAT " beyond the bounds", beyond);
        putchar('\n');
}

static void inspector(const json_t *s) {
        json_t *i = json_object_get(s, "inspector");
        g_autofree char *state = bh_json_cell(i, "state");
        guint64 lost;
        g_autofree char *reasons = bh_problems_counts(json_object_get(i, "lost"), &lost);

        if (!json_is_object(i))
                return;
        printf("inspector  %s%s%" G_GUINT64_FORMAT " requests, %" G_GUINT64_FORMAT " lost%s%s%s, started %" G_GUINT64_FORMAT " times\n", state, *state ? ", " : "",
               bh_json_number(i, "asked"), lost, lost ? " (" : "", reasons, lost ? ")" : "", bh_json_number(i, "starts"));
}

/* What this node does to containers, and what each of that guarantees. */
static void responses(const json_t *s) {
        json_t *r = json_object_get(s, "responses"), *g;
        g_autofree char *problem = bh_json_cell(r, "problem");
        size_t i;

        if (!json_is_object(r))
                return;
        printf("responses  %" G_GUINT64_FORMAT " in force, %" G_GUINT64_FORMAT " done, %" G_GUINT64_FORMAT " failed%s%s\n", bh_json_number(r, "held"), bh_json_number(r, "done"), bh_json_number(r, "failed"),
               *problem ? "; containers cannot be held: " : "", problem);
        if (!bh_json_number(r, "held"))
                return;
        json_array_foreach(json_object_get(r, "guarantees"), i, g)
                printf("           %-10s %-4s %s\n", bh_json_text(g, "action"), bh_json_text(g, "guarantee"), bh_json_text(g, "what"));
}

/* Web traffic: what is looked at, and what was not. */
static void web(const json_t *s) {
        json_t *w = json_object_get(s, "web"), *capture = json_object_get(w, "capture"), *skipped = json_object_get(w, "skipped"), *c;
        g_autofree char *state = bh_json_cell(w, "state"), *problem = bh_json_cell(w, "problem"), *backend = bh_json_cell(capture, "backend");
        guint64 lost, missed, left_out = bh_json_number(skipped, "requests");
        size_t i;
        g_autofree char *reasons = bh_problems_counts(json_object_get(w, "lost"), &lost), *uncopied = bh_problems_counts(json_object_get(capture, "skipped"), &missed);

        if (!json_is_object(w))
                return;
        printf("web        %s", state);
        if (json_is_object(capture))
                printf(" (%s), %" G_GUINT64_FORMAT " connections, %" G_GUINT64_FORMAT " requests, %" G_GUINT64_FORMAT " judged, %" G_GUINT64_FORMAT " attacks; %" G_GUINT64_FORMAT
                       " requests left out above capacity, %" G_GUINT64_FORMAT " pieces lost%s%s%s, %" G_GUINT64_FORMAT " connections closed to it by TLS, started %" G_GUINT64_FORMAT " times",
                       backend, bh_json_number(w, "connections"), bh_json_number(w, "requests"), bh_json_number(w, "judged"), bh_json_number(w, "attacks"), left_out, lost, lost ? " (" : "", reasons,
                       lost ? ")" : "", bh_json_number(w, "tls_closed"), bh_json_number(w, "starts"));
        if (*problem)
                printf("; %s", problem);
        putchar('\n');
        if (missed)
                printf("           bytes that were not copied: %s\n", uncopied);
        json_array_foreach(json_object_get(capture, "containers"), i, c) {
                g_autofree char *name = bh_json_cell(c, "container"), *why = bh_problems_counts(json_object_get(c, "skipped"), &missed);

                printf("           %s: %s\n", name, why);
        }
        if (bh_json_number(capture, "unread"))
                printf("           %" G_GUINT64_FORMAT " pieces that the sensor before this one, which was killed, had not taken were not looked at\n", bh_json_number(capture, "unread"));
        if (bh_json_number(capture, "more"))
                printf("           and %" G_GUINT64_FORMAT " containers more\n", bh_json_number(capture, "more"));
}

/* Of which containers' TLS the clear text is had. */
static void tls(const json_t *s) {
        json_t *t = json_object_get(json_object_get(s, "web"), "tls"), *c;
        g_autofree char *problem = bh_json_cell(t, "problem");
        guint64 left = bh_json_number(t, "passed_over"), failed = bh_json_number(t, "unreadable") + bh_json_number(t, "unparsed") + bh_json_number(t, "refused"), more = bh_json_number(t, "more");
        size_t i;

        if (!json_is_object(t))
                return;
        printf("tls        %" G_GUINT64_FORMAT " files with probes on %" G_GUINT64_FORMAT " functions", bh_json_number(t, "files"), bh_json_number(t, "functions"));
        if (left)
                printf(", %" G_GUINT64_FORMAT " looks at processes passed over", left);
        if (failed)
                printf(", %" G_GUINT64_FORMAT " files not looked into (%s)", failed, problem);
        putchar('\n');
        json_array_foreach(json_object_get(t, "containers"), i, c) {
                g_autofree char *name = bh_json_cell(c, "container"), *what = bh_json_cell(c, "tls");

                printf("           %s: %s\n", name, what);
        }
        if (more)
                printf("           and %" G_GUINT64_FORMAT " containers more\n", more);
}

/* Reasons repeat from hook to hook: each gets a number. */
static guint note(GPtrArray *notes, const char *why) {
        for (guint i = 0; i < notes->len; i++)
                if (g_str_equal(g_ptr_array_index(notes, i), why))
                        return i + 1;
        g_ptr_array_add(notes, g_strdup(why));
        return notes->len;
}

static void hooks(const json_t *s) {
        static const char *const headers[] = { "HOOK", "BACKEND", "EFFECT", ">GENERATED", ">DELIVERED", ">FOLDED", ">LOST", "BY REASON", "WHY", NULL };
        g_autoptr(BhTable) table = bh_table_new(headers);
        g_autoptr(GPtrArray) notes = g_ptr_array_new_with_free_func(g_free);
        json_t *h;
        size_t i;

        json_array_foreach(json_object_get(s, "hooks"), i, h) {
                const char *off = bh_problems_hook_off(h);
                gboolean seen = bh_problems_hook_seen(h), tested = json_is_true(json_object_get(h, "tested"));
                guint64 lost;
                g_autofree char *reasons = bh_problems_counts(json_object_get(h, "lost"), &lost), *why = NULL;

                if (off)
                        why = g_strdup_printf("[%u]", note(notes, off));
                else if (*bh_json_text(h, "why"))
                        why = g_strdup_printf("[%u]", note(notes, bh_json_text(h, "why")));
                bh_table_cell(table, bh_json_text(h, "type"), BH_STYLE_NONE);
                bh_table_cell(table, bh_json_text(h, "backend"), BH_STYLE_NONE);
                if (off)
                        bh_table_cell(table, "off", BH_STYLE_DIM);
                else
                        bh_table_cell(table, !seen ? "NOT SEEN" : tested ? "seen" : "untested", !seen ? BH_STYLE_BAD : tested ? BH_STYLE_GOOD : BH_STYLE_DIM);
                bh_table_number(table, bh_json_number(h, "generated"));
                bh_table_number(table, bh_json_number(h, "delivered"));
                bh_table_number(table, bh_json_number(h, "folded"));
                bh_table_number(table, lost);
                bh_table_cell(table, reasons, BH_STYLE_BAD);
                bh_table_cell(table, why, BH_STYLE_DIM);
        }
        heading("Kernel hooks");
        bh_table_print(table);
        for (guint n = 0; n < notes->len; n++) {
                g_autofree char *text = bh_escape_cell(g_ptr_array_index(notes, n), -1);

                printf("[%u] %s\n", n + 1, text);
        }
}

static void rings(const json_t *s) {
        static const char *const headers[] = { "RING", ">SIZE", ">USED", ">HIGH WATER", ">RECORDS", NULL };
        g_autoptr(BhTable) table = bh_table_new(headers);
        const char *name;
        json_t *ring;

        if (!bh_json_number(json_object_get(json_object_get(s, "rings"), "life"), "bytes"))
                return; /* just started: nothing was read yet */
        json_object_foreach(json_object_get(s, "rings"), name, ring) {
                guint64 size = bh_json_number(ring, "bytes"), used = bh_json_number(ring, "used"), high = bh_json_number(ring, "high_water");
                g_autofree char *size_text = bh_out_bytes(size), *fill = g_strdup_printf("%.1f %%", 100.0 * (double) used / (double) size);
                g_autofree char *high_text = g_strdup_printf("%.1f %%", 100.0 * (double) high / (double) size);

                bh_table_cell(table, name, BH_STYLE_NONE);
                bh_table_cell(table, size_text, BH_STYLE_NONE);
                bh_table_cell(table, fill, BH_STYLE_NONE);
                bh_table_cell(table, high_text, high > size / 10 * 9 ? BH_STYLE_BAD : BH_STYLE_NONE);
                bh_table_number(table, bh_json_number(ring, "records"));
        }
        heading("Ring buffers");
        bh_table_print(table);
}

static void recorder(const json_t *s) {
        json_t *r = json_object_get(s, "recorder");
        guint64 raw = bh_json_number(r, "raw_bytes"), stored = bh_json_number(r, "stored_bytes"), lost;
        g_autofree char *dir = bh_json_cell(r, "dir"), *state = bh_json_cell(r, "state"), *bytes = bh_out_bytes(bh_json_number(r, "bytes"));
        g_autofree char *reasons = bh_problems_counts(json_object_get(r, "lost"), &lost);

        heading("Flight recorder");
        printf("%s  %s, %s in %" G_GUINT64_FORMAT " segments\n", dir, state, bytes, bh_json_number(r, "segments"));
        printf("since the start: %" G_GUINT64_FORMAT " events accepted, %" G_GUINT64_FORMAT " written", bh_json_number(r, "appended"), bh_json_number(r, "written"));
        if (stored)
                printf(" (compressed %.1f to 1)", (double) raw / (double) stored);
        printf(", %" G_GUINT64_FORMAT " lost%s%s%s\n", lost, lost ? " (" : "", reasons, lost ? ")" : "");
        if (bh_json_number(r, "dropped_segments"))
                printf("made room: %" G_GUINT64_FORMAT " oldest segments with %" G_GUINT64_FORMAT " events were deleted\n", bh_json_number(r, "dropped_segments"),
                       bh_json_number(r, "dropped_records"));
}

static void tables(const json_t *s) {
        json_t *p = json_object_get(s, "processes"), *c = json_object_get(s, "containers"), *e = json_object_get(s, "events");
        g_autofree char *bytes = bh_out_bytes(bh_json_number(p, "bytes"));

        heading("Tables");
        printf("processes  %" G_GUINT64_FORMAT " running, %" G_GUINT64_FORMAT " ended and kept, %s; %" G_GUINT64_FORMAT " unknown, %" G_GUINT64_FORMAT " exits missed\n",
               bh_json_number(p, "live"), bh_json_number(p, "dead"), bytes, bh_json_number(p, "unknown"), bh_json_number(p, "exits_missed"));
        printf("containers %" G_GUINT64_FORMAT ", cgroups %" G_GUINT64_FORMAT "\n", bh_json_number(c, "containers"), bh_json_number(c, "cgroups"));
        printf("events     %" G_GUINT64_FORMAT " enriched; %" G_GUINT64_FORMAT " waited for a container's description; live readers: %" G_GUINT64_FORMAT "\n",
               bh_json_number(e, "recorded"), bh_json_number(e, "waited_for_metadata"), bh_json_number(e, "subscribers"));
}

static void losses(const json_t *s) {
        static const char *const headers[] = { "HOOK", ">GENERATED", ">DELIVERED", ">FOLDED", ">LOST", "BY REASON", "CONTAINER OR CGROUP", NULL };
        g_autoptr(BhTable) table = NULL;
        json_t *row;
        size_t i;

        json_array_foreach(json_object_get(s, "losses"), i, row) {
                guint64 lost;
                g_autofree char *reasons = bh_problems_counts(json_object_get(row, "lost"), &lost);
                const char *who = bh_json_text(row, "container");

                if (!lost)
                        continue;
                if (!table)
                        table = bh_table_new(headers);
                bh_table_cell(table, bh_json_text(row, "type"), BH_STYLE_NONE);
                bh_table_number(table, bh_json_number(row, "generated"));
                bh_table_number(table, bh_json_number(row, "delivered"));
                bh_table_number(table, bh_json_number(row, "folded"));
                bh_table_number(table, lost);
                bh_table_cell(table, reasons, BH_STYLE_BAD);
                bh_table_cell(table, *who ? who : bh_json_text(row, "cgroup_path"), BH_STYLE_NONE);
        }
        if (!table)
                return;
        heading("Losses by container, the most first");
        bh_table_print(table);
}

void bh_status_print_problems(GPtrArray *problems) {
        for (guint i = 0; i < problems->len; i++)
                printf("%s!%s %s\n", bh_out_style(BH_STYLE_BAD), bh_out_style(BH_STYLE_NONE), (char *) g_ptr_array_index(problems, i));
        if (problems->len)
                putchar('\n');
}

void bh_status_print_sensor(const json_t *s) {
        header(s);
        bus(s);
        flows(s);
        inspector(s);
        web(s);
        tls(s);
        responses(s);
        hooks(s);
        rings(s);
        recorder(s);
        tables(s);
        losses(s);
}

static int of_sensor(const BhCliPaths *paths, gboolean json) {
        g_autoptr(GError) error = NULL;
        json_auto_t *s = bh_client_status(paths, 15, &error);

        if (!s)
                return bh_cli_fail(error);
        if (json) {
                bh_status_print_json(s);
                return bh_out_finish();
        }

        g_autoptr(GPtrArray) problems = bh_problems_of(s);
        bh_status_print_problems(problems);
        bh_status_print_sensor(s);
        return bh_out_finish();
}

void bh_status_print_json(const json_t *status) {
        char *text;

        if (!bh_out_terminal()) {
                bh_out_json(status);
                return;
        }
        text = json_dumps(status, JSON_INDENT(2) | JSON_ENSURE_ASCII);
        if (text && bh_out_write(text, strlen(text)))
                bh_out_write("\n", 1);
        free(text);
}

int bh_cmd_status(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "one JSON object", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(BhApi) api = NULL;

        if (!bh_cli_parse_api(&argc, &argv, entries, TRUE, NULL,
                              "Says how central and sensors are: first what is wrong and what to do, then the central, then each node's hooks, rings, recorder and losses.",
                              "For each hook: generated = delivered + folded + lost. Folded acts are repeats that one event with a count stands for.\n"
                              "EFFECT is what a test act, repeated every second, had: seen, or NOT SEEN.\n"))
                return BH_EXIT_USAGE;
        if (argc > 1)
                return bh_cli_usage("it takes no arguments but options, not \"%s\"", argv[1]);
        if (!bh_api_choose(paths, &api, &error))
                return bh_cli_fail(error);
        return api ? bh_status_of_central(api, json) : of_sensor(paths, json);
}

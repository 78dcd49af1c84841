/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "output.h"

typedef struct {
        gboolean text;
} Form;

static gboolean print_line(const char *line, gsize len, gpointer data) {
        const Form *form = data;
        const char *dim = form->text ? bh_out_style(BH_STYLE_DIM) : "", *space = memchr(line, ' ', len);
        gsize time = space ? (gsize) (space - line) : 0;

        if (g_str_has_prefix(line, "{\"dropped\"")) {
                json_auto_t *mark = json_loadb(line, len, 0, NULL);

                fprintf(stderr, "bulkhead: %" G_GUINT64_FORMAT " events are left out here, because this reader is too slow; they are recorded\n", bh_json_number(mark, "dropped"));
                return TRUE;
        }
        if (*dim && !(bh_out_write(dim, strlen(dim)) && bh_out_write(line, time) && bh_out_write(bh_out_style(BH_STYLE_NONE), strlen(bh_out_style(BH_STYLE_NONE)))))
                return FALSE;
        return bh_out_write(line + (*dim ? time : 0), len - (*dim ? time : 0)) && bh_out_write("\n", 1);
}

int bh_cmd_events(const BhCliPaths *paths, int argc, char **argv) {
        gboolean follow = FALSE, json = FALSE;
        g_autofree char *container = NULL, *since = NULL;
        g_auto(GStrv) names = NULL;
        gint limit = 0;
        guint64 types[BH_TYPE_WORDS];
        GOptionEntry entries[] = {
                { "follow", 'f', 0, G_OPTION_ARG_NONE, &follow, "show events as they happen", NULL },
                { "container", 'c', 0, G_OPTION_ARG_STRING, &container, "only of this container (name, id or its beginning; \"host\": of none)", "NAME" },
                { "type", 't', 0, G_OPTION_ARG_STRING_ARRAY, &names, "only these kinds (may be repeated, or a,b,c)", "KIND" },
                { "since", 's', 0, G_OPTION_ARG_STRING, &since, "recorded events of the last 90s, 10m, 2h, 1d", "TIME" },
                { "limit", 'n', 0, G_OPTION_ARG_INT, &limit, "the last N recorded events", "N" },
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "one JSON object a line", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;

        if (!bh_cli_parse(&argc, &argv, entries, NULL, "Shows recorded events, oldest first, or live ones with -f (after recorded ones with --since or --limit).",
                          "Examples:\n"
                          "  bulkhead events -f                            everything, live\n"
                          "  bulkhead events -c web -t exec,connect -s 1h  what web ran and whom it called in the last hour\n"
                          "  bulkhead events -n 20 --json | jq .           the last twenty, for programs\n"))
                return BH_EXIT_USAGE;

        guint64 ago = since ? bh_cli_duration(since) : 0;
        if (argc > 1)
                return bh_cli_usage("it takes no arguments but options, not \"%s\"", argv[1]);
        if (limit < 0)
                return bh_cli_usage("--limit must not be negative");
        if (since && !ago)
                return bh_cli_usage("--since takes a number with s, m, h or d, like 10m, not \"%s\"", since);
        if (container && !*container)
                return bh_cli_usage("--container needs a name or an id");
        if (!bh_cli_types(names, types))
                return BH_EXIT_USAGE;

        Form form = { .text = !json };
        json_t *request = bh_cli_events_request(json ? "json" : "text", follow, container, types);
        guint64 now = (guint64) g_get_real_time() * 1000;
        if (ago)
                json_object_set_new(request, "since", json_integer((json_int_t) (now > ago ? now - ago : 1)));
        if (limit)
                json_object_set_new(request, "limit", json_integer(limit));

        g_auto(BhFd) fd = bh_client_request(paths, request, &error);
        setvbuf(stdout, NULL, follow ? _IOLBF : _IOFBF, 65536);
        if (fd < 0 || !bh_client_lines(fd, print_line, &form, &error))
                return bh_cli_fail(error);
        return bh_out_finish();
}

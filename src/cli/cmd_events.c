/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "events.h"
#include "output.h"

typedef struct {
        gboolean text;
} Form;

gboolean bh_events_print_text(const char *line, gsize len) {
        const char *dim = bh_out_style(BH_STYLE_DIM), *none = bh_out_style(BH_STYLE_NONE), *space = memchr(line, ' ', len);
        gsize time = *dim && space ? (gsize) (space - line) : 0;

        if (time && !(bh_out_write(dim, strlen(dim)) && bh_out_write(line, time) && bh_out_write(none, strlen(none))))
                return FALSE;
        return bh_out_write(line + time, len - time) && bh_out_write("\n", 1);
}

static gboolean print_line(const char *line, gsize len, gpointer data) {
        const Form *form = data;

        if (g_str_has_prefix(line, "{\"dropped\"")) {
                json_auto_t *mark = json_loadb(line, len, 0, NULL);

                fprintf(stderr, "bulkhead: %" G_GUINT64_FORMAT " events are left out here, because this reader is too slow; they are recorded\n", bh_json_number(mark, "dropped"));
                return TRUE;
        }
        return form->text ? bh_events_print_text(line, len) : bh_out_write(line, len) && bh_out_write("\n", 1);
}

int bh_cmd_events(const BhCliPaths *paths, int argc, char **argv) {
        gboolean follow = FALSE, json = FALSE;
        g_autofree char *container = NULL, *since = NULL, *node = NULL, *filter = NULL;
        g_auto(GStrv) names = NULL;
        gint limit = 0;
        guint64 types[BH_TYPE_WORDS];
        GOptionEntry entries[] = {
                { "follow", 'f', 0, G_OPTION_ARG_NONE, &follow, "show events as they happen", NULL },
                { "container", 'c', 0, G_OPTION_ARG_STRING, &container, "only of this container (name, id or its beginning; \"host\": of none)", "NAME" },
                { "type", 't', 0, G_OPTION_ARG_STRING_ARRAY, &names, "only these kinds (may be repeated, or a,b,c)", "KIND" },
                { "filter", 0, 0, G_OPTION_ARG_STRING, &filter, "only what this condition is true for, in the language of rules", "CONDITION" },
                { "since", 's', 0, G_OPTION_ARG_STRING, &since, "recorded events of the last 90s, 10m, 2h, 1d", "TIME" },
                { "limit", 'n', 0, G_OPTION_ARG_INT, &limit, "the last N recorded events", "N" },
                { "node", 0, 0, G_OPTION_ARG_STRING, &node, "only of this node (default: of all)", "NODE" },
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "one JSON object a line", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(BhApi) api = NULL;

        if (!bh_cli_parse_api(&argc, &argv, entries, TRUE, NULL, "Shows recorded events, oldest first, or live ones with -f (after recorded ones with --since or --limit).",
                          "Examples:\n"
                          "  bulkhead events -f                            everything, live\n"
                          "  bulkhead events -c web -t exec,connect -s 1h  what web ran and whom it called in the last hour\n"
                          "  bulkhead events --filter 'proc.name in (sh, bash) and container.id != host'\n"
                          "  bulkhead events -n 20 --json | jq .           the last twenty, for programs\n"
                          "Events stay on their nodes. A central asks the nodes for the last " G_STRINGIFY(BH_EVENTS_MAX) " at most; on a node, --sensor gives all.\n"))
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
        if (filter && !g_utf8_validate(filter, -1, NULL))
                return bh_cli_usage("--filter must be UTF-8");
        if (!bh_cli_types(names, types))
                return BH_EXIT_USAGE;

        if (!bh_api_choose(paths, &api, &error))
                return bh_cli_fail(error);
        setvbuf(stdout, NULL, follow ? _IOLBF : _IOFBF, 65536);
        if (api) {
                const BhEventsAsk ask = { .follow = follow, .json = json, .node = node, .container = container, .filter = filter, .types = types, .ago_ns = ago, .limit = (guint) limit };

                return bh_events_of_central(api, &ask);
        }
        if (node) {
                fprintf(stderr, "bulkhead: --node is the central's to answer, and here is a sensor alone\n");
                return BH_EXIT_FAILED;
        }

        Form form = { .text = !json };
        json_t *request = bh_cli_events_request(json ? "json" : "text", follow, container, types);
        guint64 now = (guint64) g_get_real_time() * 1000;
        if (ago)
                json_object_set_new(request, "since", json_integer((json_int_t) (now > ago ? now - ago : 1)));
        if (filter)
                json_object_set_new(request, "filter", json_string(filter));
        if (limit)
                json_object_set_new(request, "limit", json_integer(limit));

        g_auto(BhFd) fd = bh_client_request(paths, request, &error);
        if (fd < 0 || !bh_client_lines(fd, print_line, &form, &error))
                return bh_cli_fail(error);
        return bh_out_finish();
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/escape.h"
#include "commands.h"
#include "event/codec.h"
#include "output.h"
#include "recorder/capture.h"
#include "recorder/query.h"
#include "replay_rules.h"

#define BATCH 65536
#define DAMAGE_SAID_MAX 10u /* a hostile file may have any number of damaged places */

typedef struct {
        const char *container;
        guint64 types[BH_TYPE_WORDS];
        gboolean json;
        BhReplayRules *rules; /* NULL: events are shown, not what rules say of them */
        GString *out;
        guint64 undecodable, damaged, lost;
        gboolean bad, gone; /* something could not be read; nobody reads on */
} Replay;

static void trouble(Replay *r, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void trouble(Replay *r, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_autofree char *text = g_strdup_vprintf(format, ap), *message = bh_escape_cell(text, -1);
        va_end(ap);
        fprintf(stderr, "bulkhead: %s\n", message);
        r->bad = TRUE;
}

static void put(Replay *r) {
        if (!bh_out_write(r->out->str, r->out->len))
                r->gone = TRUE;
        g_string_truncate(r->out, 0);
}

static void show(Replay *r, const BhRecord *record) {
        struct bh_event e;

        if (!bh_event_decode(&e, record->data, record->len, NULL)) {
                r->undecodable++;
                return;
        }
        gboolean selected = bh_event_selected(&e, r->types, r->container);
        if (r->rules) {
                /* also others tell of processes and containers */
                bh_replay_rules_event(r->rules, &e, selected, r->json, r->out);
        } else {
                if (!selected)
                        return;
                if (r->json)
                        bh_event_to_json(&e, r->out);
                else
                        bh_event_to_text(&e, r->out);
                g_string_append_c(r->out, '\n');
        }
        if (r->out->len >= BATCH)
                put(r);
}

/* FALSE: it could not even be opened. */
static gboolean replay_file(Replay *r, const char *path) {
        g_autoptr(GError) error = NULL;
        g_autoptr(BhCaptureReader) reader = bh_capture_reader_new(path, &error);
        BhRecord record;

        if (!reader) {
                trouble(r, "%s", error->message);
                return FALSE;
        }
        while (!r->gone) {
                if (bh_capture_reader_next(reader, &record, &error)) {
                        show(r, &record);
                        continue;
                }
                if (!error)
                        break;
                gboolean damage = g_error_matches(error, BH_RECORDER_ERROR, BH_RECORDER_ERROR_CORRUPT);
                r->damaged += damage;
                if (!damage || r->damaged <= DAMAGE_SAID_MAX)
                        trouble(r, "%s", error->message);
                g_clear_error(&error);
                if (!damage)
                        break;
        }
        if (r->damaged > DAMAGE_SAID_MAX)
                trouble(r, "%" G_GUINT64_FORMAT " more places of %s are damaged", r->damaged - DAMAGE_SAID_MAX, path);
        r->lost = bh_capture_reader_lost(reader);
        return TRUE;
}

static gboolean replay_directory(Replay *r, const char *given) {
        g_autofree char *inner = g_build_filename(given, "recorder", NULL);
        const char *path = g_file_test(inner, G_FILE_TEST_IS_DIR) ? inner : given; /* a data directory */
        g_autoptr(GError) error = NULL;
        g_autoptr(BhRecorderQuery) query = bh_recorder_query(path, 0, 0, BH_RECORDER_ANY, 0, &error);
        BhRecord record;

        if (!query) {
                trouble(r, "%s", error->message);
                return FALSE;
        }
        while (!r->gone && bh_recorder_query_next(query, &record))
                show(r, &record);

        const BhRecorderQueryStats *s = bh_recorder_query_stats(query);
        if (!s->segments_read && !s->segments_unreadable && !s->segments_gone)
                trouble(r, "there is no recording in %s", path);
        if (s->segments_unreadable)
                trouble(r, "%" G_GUINT64_FORMAT " segments of %s cannot be read: damaged, of another version, or no permission", s->segments_unreadable, path);
        if (s->damaged_regions)
                trouble(r, "%s is damaged in %" G_GUINT64_FORMAT " places: %" G_GUINT64_FORMAT " bytes are unreadable", path, s->damaged_regions, s->damaged_bytes);
        /* no failure: the recorder that writes here may be writing it right now */
        if (s->torn_bytes)
                fprintf(stderr, "bulkhead: the last %" G_GUINT64_FORMAT " bytes are not a whole block (yet)\n", s->torn_bytes);
        if (s->segments_gone)
                fprintf(stderr, "bulkhead: %" G_GUINT64_FORMAT " of the oldest segments were deleted meanwhile, to make room\n", s->segments_gone);
        r->lost = s->lost;
        return TRUE;
}

int bh_cmd_replay(const BhCliPaths *paths, int argc, char **argv) {
        g_autofree char *container = NULL;
        g_auto(GStrv) names = NULL, files = NULL;
        g_autoptr(BhReplayRules) rules = NULL;
        g_autoptr(GError) error = NULL;
        gboolean all = FALSE;
        g_autoptr(GString) out = g_string_sized_new(BATCH + 8192);
        Replay r = { .out = out };
        struct stat st;
        GOptionEntry entries[] = {
                { "container", 'c', 0, G_OPTION_ARG_STRING, &container, "only of this container (name, id or its beginning; \"host\": of none)", "NAME" },
                { "type", 't', 0, G_OPTION_ARG_STRING_ARRAY, &names, "only these kinds (may be repeated, or a,b,c)", "KIND" },
                { "rules", 'r', 0, G_OPTION_ARG_FILENAME_ARRAY, &files, "print the alerts of these rules instead (may be repeated; later files change earlier ones)", "FILE" },
                { "all", 0, 0, G_OPTION_ARG_NONE, &all, "with --rules: all rules that match an event, not only the first", NULL },
                { "json", 0, 0, G_OPTION_ARG_NONE, &r.json, "one JSON object a line", NULL },
                G_OPTION_ENTRY_NULL,
        };

        if (!bh_cli_parse(&argc, &argv, entries, "FILE", "Prints the events of a capture, a segment of a flight recorder, or a recorder's directory, as fast as it can.",
                          "FILE may be \"-\", standard input. A damaged or truncated file is printed as far as it is readable, and the exit status is 1.\n"))
                return BH_EXIT_USAGE;
        if (argc == 3 && g_str_equal(argv[1], "--")) {
                argv[1] = argv[2];
                argc = 2;
        }
        if (argc != 2)
                return argc < 2 ? bh_cli_usage("say which FILE") : bh_cli_usage("it takes one FILE; \"%s\" is too much", argv[2]);
        if (container && !*container)
                return bh_cli_usage("--container needs a name or an id");
        if (!bh_cli_types(names, r.types))
                return BH_EXIT_USAGE;
        r.container = container;
        if (all && !files)
                return bh_cli_usage("--all goes with --rules");
        if (files) {
                r.rules = rules = bh_replay_rules_new(files, all, &error);
                if (!rules)
                        return bh_cli_fail(error);
        }

        const char *path = argv[1];
        setvbuf(stdout, NULL, _IOFBF, BATCH);
        if (!(stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? replay_directory(&r, path) : replay_file(&r, path)))
                return BH_EXIT_FAILED;
        put(&r);

        int status = bh_out_finish();
        if (rules)
                bh_replay_rules_summary(rules);
        if (r.undecodable)
                trouble(&r, "%" G_GUINT64_FORMAT " records of %s are no events that this program can read", r.undecodable, path);
        if (r.lost)
                fprintf(stderr, "bulkhead: %" G_GUINT64_FORMAT " events are not in it: the recorder had to drop them when they happened\n", r.lost);
        return r.bad ? BH_EXIT_FAILED : status;
}

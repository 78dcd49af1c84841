/* SPDX-License-Identifier: Apache-2.0 */
/* `bulkhead output`: where alerts are sent. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "base/fdio.h"
#include "commands.h"
#include "output.h"

#define OUTPUTS "/api/v1/outputs"
#define FILE_MAX (64u << 10)

static BhStyle style_of(const json_t *status, const char **word) {
        const char *state = bh_json_text(status, "state"), *problem = bh_json_text(status, "problem");

        *word = *problem ? "failing" : *state ? state : "starting";
        return *problem ? BH_STYLE_BAD : BH_STYLE_NONE;
}

static void print_table(const json_t *outputs) {
        static const char *const headers[] = { "NAME", "STATE", ">QUEUED", ">DELIVERED", ">REFUSED", ">LOST", "FORMAT", "FROM PRIORITY", "TARGET", "PROBLEM", NULL };
        g_autoptr(BhTable) t = bh_table_new(headers);
        json_t *o;
        size_t i;

        json_array_foreach(outputs, i, o) {
                json_t *config = json_object_get(o, "config"), *status = json_object_get(o, "status");
                const char *word;
                BhStyle style = style_of(status, &word);

                bh_table_cell(t, bh_json_text(o, "name"), BH_STYLE_NONE);
                bh_table_cell(t, word, style);
                bh_table_number(t, bh_json_number(status, "queued"));
                bh_table_number(t, bh_json_number(status, "delivered"));
                bh_table_number(t, bh_json_number(status, "refused"));
                bh_table_number(t, bh_json_number(status, "lost"));
                bh_table_cell(t, bh_json_text(config, "format"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(config, "minimum_priority"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(o, "target"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(status, "problem"), BH_STYLE_NONE);
        }
        bh_table_print(t);
}

static int list(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "one JSON object a line", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, NULL, "Lists outputs, how they are, and what waits. For administrators.", NULL))
                return BH_EXIT_USAGE;
        if (argc > 1)
                return bh_cli_usage("it takes no arguments but options, not \"%s\"", argv[1]);
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        json_auto_t *answer = bh_api_get(api, OUTPUTS, &error);
        if (!answer)
                return bh_cli_fail(error);

        json_t *outputs = json_object_get(answer, "outputs"), *notifier = json_object_get(answer, "notifier"), *o;
        g_autofree char *problem = bh_json_cell(notifier, "problem");
        size_t i;
        if (json) {
                json_array_foreach(outputs, i, o)
                        bh_out_json(o);
        } else if (json_array_size(outputs)) {
                print_table(outputs);
        } else {
                puts("no outputs: findings are kept and shown, and sent nowhere (\"bulkhead output set --help\")");
        }
        int code = bh_out_finish();
        if (!json_is_true(json_object_get(notifier, "running")))
                fprintf(stderr, "bulkhead: the process that delivers alerts does not run: alerts wait; the central's log says why\n");
        else if (*problem)
                fprintf(stderr, "bulkhead: alerts wait: %s\n", problem);
        return code;
}

/* The one argument; NULL: usage was said. */
static const char *the_name(int argc, char **argv) {
        if (argc == 2)
                return argv[1];
        bh_cli_usage("it takes the name of one output");
        return NULL;
}

static void target_of(GString *target, const char *name) {
        g_string_assign(target, OUTPUTS);
        bh_api_segment(target, name);
}

static void print_members(const json_t *o, const char *indent) {
        const char *key;
        json_t *v;

        json_object_foreach((json_t *) o, key, v) {
                if (json_is_object(v)) {
                        if (json_object_size(v))
                                printf("%s%s\n", indent, key);
                        print_members(v, "    ");
                        continue;
                }
                char *text = json_is_string(v) ? NULL : json_dumps(v, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
                json_auto_t *holder = json_pack("{s:s}", "v", text ? text : json_string_value(v));
                g_autofree char *cell = bh_json_cell(holder, "v");
                gboolean secret = json_is_true(v) && (g_str_equal(key, "url_secret") || g_str_equal(key, "key") || (*indent && strlen(indent) == 4));

                if (*cell && !g_str_equal(cell, "null") && !g_str_equal(cell, "[]"))
                        printf("%s%-18s %s\n", indent, key, secret ? "(set; not shown)" : cell);
                free(text);
        }
}

static int show(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "a JSON object", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) target = g_string_new(NULL);
        const char *name;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, "NAME", "Shows an output: its configuration without secrets, and how it is. For administrators.", NULL) || !(name = the_name(argc, argv)))
                return BH_EXIT_USAGE;
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        target_of(target, name);
        json_auto_t *o = bh_api_get(api, target->str, &error);
        if (!o)
                return bh_cli_fail(error);
        if (json)
                bh_out_json(o);
        else
                print_members(o, "");
        return bh_out_finish();
}

/* ---- set ---- */

static gboolean put_file(json_t *config, const char *member, const char *path) {
        g_autoptr(GError) error = NULL;
        gboolean cut;
        gsize len;

        if (!path)
                return TRUE;
        g_autofree char *text = bh_file_read(AT_FDCWD, path, FILE_MAX, &len, &cut, &error);
        json_t *v = text && !cut ? json_stringn(text, len) : NULL;
        if (!v) {
                fprintf(stderr, "bulkhead: %s\n", error ? error->message : "the file is too large, or no text");
                return FALSE;
        }
        json_object_set_new(config, member, v);
        return TRUE;
}

static gboolean put_text(json_t *config, const char *member, const char *text) {
        if (!text)
                return TRUE;
        json_t *v = json_string(text);
        if (!v)
                bh_cli_usage("--%s must be UTF-8", member);
        else
                json_object_set_new(config, member, v);
        return v != NULL;
}

static void put_list(json_t *config, const char *member, char **list_) {
        if (!list_)
                return;
        json_t *a = json_array();
        for (char **p = list_; *p; p++)
                if (**p)
                        json_array_append_new(a, json_string(*p));
        json_object_set_new(config, member, a);
}

/* "Name: value", added to those that there are. */
static gboolean put_headers(json_t *config, char **headers) {
        json_t *o = json_object_get(config, "headers");

        if (!headers)
                return TRUE;
        if (!json_is_object(o)) {
                o = json_object();
                json_object_set_new(config, "headers", o);
        }
        for (char **h = headers; *h; h++) {
                char *colon = strchr(*h, ':');

                if (!colon || colon == *h) {
                        bh_cli_usage("--header takes \"Name: value\"");
                        return FALSE;
                }
                g_autofree char *name = g_strndup(*h, (gsize) (colon - *h));
                json_object_set_new(o, name, json_string(g_strstrip(colon + 1)));
        }
        return TRUE;
}

/* What it is now, with true for secrets, or an empty one. NULL: failed, said. */
static json_t *config_now(BhApi *api, const char *target, const char *type) {
        g_autoptr(GError) error = NULL;
        json_auto_t *o = bh_api_get(api, target, &error);

        if (!o && !g_error_matches(error, BH_API_ERROR, BH_API_ERROR_NOT_FOUND)) {
                bh_cli_fail(error);
                return NULL;
        }
        json_t *config = json_object_get(o, "config");
        /* another type has other members */
        if (!config || (type && !g_str_equal(type, bh_json_text(config, "type"))))
                return json_object();
        return json_incref(config);
}

static json_t *config_of_file(const char *path) {
        g_autoptr(GError) error = NULL;
        gboolean cut = FALSE;
        gsize len;
        g_autofree char *text = bh_file_read(AT_FDCWD, g_str_equal(path, "-") ? "/dev/stdin" : path, FILE_MAX, &len, &cut, &error);
        json_error_t e;
        json_t *o = text ? json_loadb(text, len, JSON_REJECT_DUPLICATES, &e) : NULL;

        if (json_is_object(o))
                return o;
        json_decref(o);
        if (!text)
                bh_cli_fail(error);
        else
                fprintf(stderr, "bulkhead: %s must hold a JSON object of at most %u bytes (docs/outputs.md): line %d, column %d\n", path, FILE_MAX, o ? 1 : e.line, o ? 1 : e.column);
        return NULL;
}

static int set(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE, disable = FALSE, enable = FALSE;
        gint port = 0, timeout = 0;
        g_autofree char *type = NULL, *format = NULL, *priority = NULL, *file = NULL, *transport = NULL, *host = NULL, *facility = NULL, *url = NULL, *url_secret = NULL, *ca = NULL,
                        *certificate = NULL, *key = NULL, *config_file = NULL;
        g_auto(GStrv) headers = NULL, sources = NULL, tags = NULL, rules = NULL;
        GOptionEntry entries[] = {
                { "type", 't', 0, G_OPTION_ARG_STRING, &type, "file, syslog, webhook or stdout", "T" },
                { "format", 0, 0, G_OPTION_ARG_STRING, &format, "text, falco (JSON as Falco's) or bulkhead (JSON with everything)", "F" },
                { "minimum-priority", 'p', 0, G_OPTION_ARG_STRING, &priority, "only of this priority or a more important one", "P" },
                { "source", 0, 0, G_OPTION_ARG_STRING_ARRAY, &sources, "only of sources like this, with * and ?; may be repeated, \"\": all", "S" },
                { "tag", 0, 0, G_OPTION_ARG_STRING_ARRAY, &tags, "only with a tag like this", "TAG" },
                { "rule", 0, 0, G_OPTION_ARG_STRING_ARRAY, &rules, "only of rules like this", "RULE" },
                { "disable", 0, 0, G_OPTION_ARG_NONE, &disable, "send nothing until it is enabled again", NULL },
                { "enable", 0, 0, G_OPTION_ARG_NONE, &enable, "send again", NULL },
                { "file", 0, 0, G_OPTION_ARG_STRING, &file, "file: its name in the directory for alerts", "NAME" },
                { "transport", 0, 0, G_OPTION_ARG_STRING, &transport, "syslog: udp, tcp, tls, or local for this machine's", "T" },
                { "host", 0, 0, G_OPTION_ARG_STRING, &host, "syslog: the server", "HOST" },
                { "port", 0, 0, G_OPTION_ARG_INT, &port, "syslog: its port (default 514, with tls 6514)", "N" },
                { "facility", 0, 0, G_OPTION_ARG_STRING, &facility, "syslog: the facility (default local0)", "F" },
                { "url", 0, 0, G_OPTION_ARG_STRING, &url, "webhook: the address", "URL" },
                { "url-secret", 0, 0, G_OPTION_ARG_FILENAME, &url_secret, "webhook: a file with what is put behind the address and never shown", "FILE" },
                { "header", 0, 0, G_OPTION_ARG_STRING_ARRAY, &headers, "webhook: a header; other users of this machine can see it here, but not in a file given with --config", "NAME: VALUE" },
                { "timeout", 0, 0, G_OPTION_ARG_INT, &timeout, "webhook: seconds for one delivery (default 10)", "S" },
                { "ca", 0, 0, G_OPTION_ARG_FILENAME, &ca, "tls and https: certificates to trust instead of the system's", "FILE" },
                { "certificate", 0, 0, G_OPTION_ARG_FILENAME, &certificate, "tls and https: the own certificate", "FILE" },
                { "key", 0, 0, G_OPTION_ARG_FILENAME, &key, "its key, which nobody can read back", "FILE" },
                { "config", 0, 0, G_OPTION_ARG_FILENAME, &config_file, "all of it as JSON (docs/outputs.md); -: standard input", "FILE" },
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "a JSON object", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) target = g_string_new(NULL);
        const char *name;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, "NAME", "Makes an output, or changes what is given of one. For administrators.",
                              "  bulkhead output set alerts -t file --file alerts.json\n"
                              "  bulkhead output set siem -t syslog --transport tls --host log.example --ca ca.pem -p warning\n"
                              "  bulkhead output set hook -t webhook --url https://hooks.example/in --config - < secrets.json\n\n"
                              "\"bulkhead output test NAME\" sends a test.\n") ||
            !(name = the_name(argc, argv)))
                return BH_EXIT_USAGE;
        if (disable && enable)
                return bh_cli_usage("--disable and --enable exclude each other");
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        target_of(target, name);
        json_t *config = config_file ? config_of_file(config_file) : config_now(api, target->str, type);
        if (!config)
                return BH_EXIT_FAILED;

        const struct {
                const char *member, *text;
        } texts[] = { { "type", type }, { "format", format }, { "minimum_priority", priority }, { "file", file }, { "transport", transport }, { "host", host }, { "facility", facility },
                      { "url", url } }, files[] = { { "url_secret", url_secret }, { "ca", ca }, { "certificate", certificate }, { "key", key } };
        gboolean ok = TRUE;
        for (guint i = 0; ok && i < G_N_ELEMENTS(texts); i++)
                ok = put_text(config, texts[i].member, texts[i].text);
        for (guint i = 0; ok && i < G_N_ELEMENTS(files); i++)
                ok = put_file(config, files[i].member, files[i].text);
        ok = ok && put_headers(config, headers);
        if (!ok) {
                json_decref(config);
                return BH_EXIT_FAILED;
        }
        /* a file that ends with a newline, as they do */
        if (url_secret) {
                g_autofree char *secret = g_strchomp(g_strdup(bh_json_text(config, "url_secret")));

                json_object_set_new(config, "url_secret", json_string(secret));
        }
        put_list(config, "sources", sources);
        put_list(config, "tags", tags);
        put_list(config, "rules", rules);
        if (port)
                json_object_set_new(config, "port", json_integer(port));
        if (timeout)
                json_object_set_new(config, "timeout", json_integer(timeout));
        if (disable || enable)
                json_object_set_new(config, "enabled", json_boolean(enable));
        json_auto_t *answer = bh_api_send(api, "PUT", target->str, config, &error);
        if (!answer)
                return bh_cli_fail(error);
        if (json) {
                bh_out_json(answer);
        } else {
                g_autofree char *to = bh_json_cell(answer, "target");

                printf("output %s sends to %s; \"bulkhead output test %s\" tries it\n", name, to, name);
        }
        return bh_out_finish();
}

static int remove_cmd(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "a JSON object", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) target = g_string_new(NULL);
        const char *name;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, "NAME", "Removes an output, and what waits for it. For administrators.", NULL) || !(name = the_name(argc, argv)))
                return BH_EXIT_USAGE;
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        target_of(target, name);
        json_auto_t *answer = bh_api_send(api, "DELETE", target->str, NULL, &error);
        if (!answer)
                return bh_cli_fail(error);
        if (json) {
                json_auto_t *said = json_pack("{s:s}", "removed", name);

                bh_out_json(said);
        } else {
                printf("output %s is removed\n", name);
        }
        return bh_out_finish();
}

static int test(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "a JSON object", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) target = g_string_new(NULL);
        const char *name;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, "NAME", "Sends a test alert, at once and whatever the filters are, and says whether it was taken. For administrators.",
                              "Exits with 1 when it was not.\n") || !(name = the_name(argc, argv)))
                return BH_EXIT_USAGE;
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        target_of(target, name);
        g_string_append(target, "/test");
        json_auto_t *answer = bh_api_send(api, "POST", target->str, json_object(), &error);
        if (!answer)
                return bh_cli_fail(error);

        gboolean ok = json_is_true(json_object_get(answer, "ok"));
        g_autofree char *problem = bh_json_cell(answer, "problem");
        if (json)
                bh_out_json(answer);
        else if (ok)
                printf("the test was taken\n");
        else
                fprintf(stderr, "bulkhead: the test was not taken: %s\n", problem);
        return bh_out_finish() || !ok ? BH_EXIT_FAILED : BH_EXIT_OK;
}

int bh_cmd_output(const BhCliPaths *paths, int argc, char **argv) {
        static const BhCliSub subs[] = {
                { "list", "", "outputs, how they are, and what waits", list },
                { "show", "NAME", "one output", show },
                { "set", "NAME", "make or change one", set },
                { "remove", "NAME", "remove one, and what waits for it", remove_cmd },
                { "test", "NAME", "send a test alert", test },
        };

        return bh_cli_sub(subs, G_N_ELEMENTS(subs), "Where findings are sent: files, syslog, webhooks.", paths, argc, argv);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cases_yaml.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

typedef struct {
        yaml_parser_t yaml;
        const char *path;
        GError *error;
} Reader;

static json_t *read_node(Reader *r, const yaml_event_t *event);

static void complain(Reader *r, yaml_mark_t at, const char *what) {
        if (!r->error)
                r->error = g_error_new(G_FILE_ERROR, G_FILE_ERROR_INVAL, "%s:%zu: %s", r->path, at.line + 1, what);
}

static gboolean next(Reader *r, yaml_event_t *event) {
        if (yaml_parser_parse(&r->yaml, event))
                return TRUE;
        complain(r, r->yaml.problem_mark, r->yaml.problem ? r->yaml.problem : "this is no YAML");
        return FALSE;
}

static json_t *read_scalar(const yaml_event_t *event) {
        const char *text = (const char *) event->data.scalar.value;
        gsize len = event->data.scalar.length;
        gint64 number;

        if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
                if (g_str_equal(text, "null") || g_str_equal(text, "~") || !len)
                        return json_null();
                if (g_str_equal(text, "true") || g_str_equal(text, "false"))
                        return json_boolean(*text == 't');
                if (len < 20 && g_ascii_string_to_signed(text, 10, G_MININT64, G_MAXINT64, &number, NULL) && *text != '+')
                        return json_integer(number);
        }
        return json_stringn(text, len);
}

static json_t *read_sequence(Reader *r) {
        json_t *list = json_array(), *item;
        yaml_event_t event;

        while (!r->error && next(r, &event)) {
                gboolean end = event.type == YAML_SEQUENCE_END_EVENT;

                item = end ? NULL : read_node(r, &event);
                yaml_event_delete(&event);
                if (end)
                        break;
                json_array_append_new(list, item);
        }
        return list;
}

static json_t *read_mapping(Reader *r) {
        json_t *map = json_object();
        yaml_event_t event;

        while (!r->error && next(r, &event)) {
                gboolean end = event.type == YAML_MAPPING_END_EVENT;
                g_autofree char *key = NULL;

                if (event.type == YAML_SCALAR_EVENT)
                        key = g_strdup((const char *) event.data.scalar.value);
                else if (!end)
                        complain(r, event.start_mark, "a key must be text");
                if (key && json_object_get(map, key))
                        complain(r, event.start_mark, "this key stands twice");
                yaml_event_delete(&event);
                if (end || !key || !next(r, &event))
                        break;
                json_object_set_new(map, key, read_node(r, &event));
                yaml_event_delete(&event);
        }
        return map;
}

static json_t *read_node(Reader *r, const yaml_event_t *event) {
        switch (event->type) {
        case YAML_SCALAR_EVENT:
                return read_scalar(event);
        case YAML_SEQUENCE_START_EVENT:
                return read_sequence(r);
        case YAML_MAPPING_START_EVENT:
                return read_mapping(r);
        default:
                complain(r, event->start_mark, "only texts, lists and mappings belong here");
                return json_null();
        }
}

json_t *bh_cases_read(const char *path, GError **error) {
        Reader r = { .path = path };
        json_t *tree = NULL;
        FILE *f = fopen(path, "re");
        yaml_event_t event;

        if (!f) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "%s cannot be read", path);
                return NULL;
        }
        yaml_parser_initialize(&r.yaml);
        yaml_parser_set_input_file(&r.yaml, f);
        while (!r.error && next(&r, &event)) {
                gboolean end = event.type == YAML_STREAM_END_EVENT;

                if (event.type == YAML_MAPPING_START_EVENT && !tree)
                        tree = read_node(&r, &event);
                else if (event.type == YAML_SCALAR_EVENT || event.type == YAML_SEQUENCE_START_EVENT || event.type == YAML_MAPPING_START_EVENT)
                        complain(&r, event.start_mark, "a file of cases is one mapping");
                yaml_event_delete(&event);
                if (end)
                        break;
        }
        yaml_parser_delete(&r.yaml);
        fclose(f);
        if (!tree && !r.error)
                r.error = g_error_new(G_FILE_ERROR, G_FILE_ERROR_INVAL, "%s: it is empty", path);
        if (r.error) {
                json_decref(tree);
                g_propagate_error(error, r.error);
                return NULL;
        }
        return tree;
}

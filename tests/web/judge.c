/* SPDX-License-Identifier: Apache-2.0 */
/*
 * judge [--level N] [--rules DIR]: the inspector's parser and web-attack engine over requests, for tests and measurements.
 *
 * Reads from standard input one connection after another: a line with a decimal number of bytes, then that many bytes that a client sends. Writes one line of JSON
 * for each connection: {"requests": [{method, target, status: 0, anomalies: [...], score, rules: [{id, class, level, score, count, message, matched}], us,
 * wanted, why, filter_us}], "state"}: of each request, whether the filter wants it judged, and what both took. The engine judges it in any case.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parse/http1.h"
#include "parse/waf.h"
#include "parse/waf_filter.h"

#define CONNECTION_MAX (16u << 20)

typedef struct {
        BhWaf *waf;
        BhWafFilter *filter;
        json_t *requests;
        gboolean strict;
} Judge;

static json_t *text(const char *s) {
        g_autofree char *valid = g_utf8_make_valid(s, -1);

        return json_string(valid);
}

static void on_request(const BhHttpMessage *m, gpointer data) {
        Judge *j = data;
        const char *why;
        gint64 filter_begin = g_get_monotonic_time();
        gboolean wanted = bh_waf_filter_wants(j->filter, m, j->strict, &why);
        gint64 filter_took = g_get_monotonic_time() - filter_begin;
        json_t *o = json_object(), *rules = json_array(), *anomalies = json_array();
        gint64 begin = g_get_monotonic_time();
        g_autoptr(BhWafResult) r = bh_waf_judge(j->waf, m, NULL, "192.0.2.1", "192.0.2.2", 80);
        gint64 took = g_get_monotonic_time() - begin;

        for (guint i = 0; i < r->n_matches; i++) {
                const BhWafMatch *w = &r->matches[i];

                json_array_append_new(rules, json_pack("{s:i, s:s, s:i, s:i, s:i, s:o, s:o}", "id", (int) w->rule, "class", w->class, "level", (int) w->level, "score", (int) w->score, "count",
                                                       (int) w->count, "message", text(w->message), "matched", text(w->matched)));
        }
        for (guint bit = 0; bh_http_anomaly_name(bit); bit++)
                if (m->anomalies >> bit & 1)
                        json_array_append_new(anomalies, json_string(bh_http_anomaly_name(bit)));
        json_object_set_new(o, "method", text(m->method));
        json_object_set_new(o, "target", text(m->target));
        json_object_set_new(o, "anomalies", anomalies);
        json_object_set_new(o, "score", json_integer(r->score));
        json_object_set_new(o, "rules", rules);
        json_object_set_new(o, "us", json_integer(took));
        json_object_set_new(o, "wanted", json_boolean(wanted));
        json_object_set_new(o, "why", json_string(wanted ? why : ""));
        json_object_set_new(o, "filter_us", json_integer(filter_took));
        json_array_append_new(j->requests, o);
}

int main(int argc, char **argv) {
        BhWafConfig config = { .level = 4 };
        g_autoptr(GError) error = NULL;
        Judge j = { 0 };
        char line[32];

        for (int i = 1; i < argc; i++) {
                if (strcmp(argv[i], "--level") == 0 && i + 1 < argc && atoi(argv[i + 1]) >= 1 && atoi(argv[i + 1]) <= 4) {
                        config.level = (guint) atoi(argv[++i]);
                } else if (strcmp(argv[i], "--rules") == 0 && i + 1 < argc) {
                        config.rules_dir = argv[++i];
                } else {
                        fprintf(stderr, "usage: judge [--level 1..4] [--rules DIR] < CONNECTIONS\n");
                        return 2;
                }
        }
        gint64 begin = g_get_monotonic_time();
        j.strict = config.level >= 3;
        j.waf = bh_waf_new(&config, &error);
        j.filter = j.waf ? bh_waf_filter_new(config.rules_dir, &error) : NULL;
        if (!j.filter) {
                fprintf(stderr, "judge: %s\n", error->message);
                return 1;
        }
        fprintf(stderr, "judge: %u rules and %zu bytes of filter loaded in %" G_GINT64_FORMAT " us\n", bh_waf_rules(j.waf), bh_waf_filter_bytes(j.filter), g_get_monotonic_time() - begin);
        while (fgets(line, sizeof(line), stdin)) {
                gsize n = g_ascii_strtoull(line, NULL, 10);
                g_autofree guint8 *bytes = n <= CONNECTION_MAX ? g_malloc(n + 1) : NULL;

                if (!bytes || fread(bytes, 1, n, stdin) != n) {
                        fprintf(stderr, "judge: a connection is longer than 16 MiB, or ends early\n");
                        return 1;
                }
                BhHttpSink sink = { .request = on_request, .data = &j };
                BhHttp1 *p = bh_http1_new(0, &sink);
                j.requests = json_array();
                bh_http1_feed(p, TRUE, bytes, n, 0);
                json_t *o = json_pack("{s:i}", "state", (int) bh_http1_state(p));
                bh_http1_free(p); /* tells what is cut */
                json_object_set_new(o, "requests", j.requests);
                g_autofree char *s = json_dumps(o, JSON_COMPACT);
                puts(s);
                fflush(stdout);
                json_decref(o);
        }
        bh_waf_free(j.waf);
        bh_waf_filter_free(j.filter);
        return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What judging costs: observations a second and core through the shipped model, and bytes of a workload.
 *
 *     bench-models [SECONDS]
 *
 * A workload as a middling service has it (some programs, 200 files, 20 peers and names), in three replicas; acts come in a fixed random order, frequent ones most (Zipf). One line of
 * JSON: known acts, the same with templates made of paths first, and acts that are new each (anomalies), as nanoseconds and as acts a second; bytes with that many items.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "model/model.h"
#include "model/template.h"

#define ITEMS 400u
#define ACTS 65536u

static double now(void) {
        struct timespec t;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
        double seconds = argc > 1 ? g_ascii_strtod(argv[1], NULL) : 1;
        static const BhFamily families[] = { BH_FAMILY_FILE, BH_FAMILY_FILE, BH_FAMILY_FILE, BH_FAMILY_EXEC, BH_FAMILY_PEER, BH_FAMILY_DNS };
        g_autoptr(BhModel) m = bh_model_new("shop", "web", &bh_model_scale_default);
        g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GRand) rand = g_rand_new_with_seed(8);
        BhAct *items = g_new0(BhAct, ITEMS);
        guint *order = g_new(guint, ACTS);
        double rates[3];

        if (!(seconds > 0) || seconds > 600) {
                fprintf(stderr, "bench-models: it takes a number of seconds up to 600\n");
                return 2;
        }
        for (guint i = 0; i < ITEMS; i++) {
                char *path = g_strdup_printf("/srv/app/part%c%c/module-%u/file.%c%c", 'a' + i % 26, 'a' + i / 26, 1000 + i, 'a' + i % 7, 'x');

                g_ptr_array_add(texts, path);
                items[i] = (BhAct){ .family = families[i % G_N_ELEMENTS(families)], .actor = "/usr/sbin/service", .object = path, .detail = "read", .count = 1 };
        }
        for (guint i = 0; i < ACTS; i++)
                order[i] = MIN(ITEMS - 1, (guint) (ITEMS * pow(g_rand_double(rand), 3)));
        bh_model_start(m, "sha256:digest", 1);
        for (guint pass = 0; pass < 3; pass++)
                for (guint i = 0; i < ITEMS; i++) {
                        items[i].replica = pass + 1;
                        items[i].first_ns = items[i].last_ns = (gint64) pass * 10000000000;
                        bh_model_observe(m, "sha256:digest", &items[i]);
                }
        bh_model_lock(m, bh_model_version(m, "sha256:digest"), BH_MODEL_ALL);
        gsize bytes = bh_model_bytes(m);
        guint held = g_hash_table_size(bh_model_version(m, "sha256:digest")->facets->items);

        for (guint kind = 0; kind < 3; kind++) {
                double begin = now(), spent;
                guint64 n = 0;

                do {
                        for (guint i = 0; i < ACTS; i++, n++) {
                                BhAct a = items[order[i]];
                                char text[BH_TEMPLATE_MAX];

                                a.replica = 1 + i % 3;
                                a.first_ns = a.last_ns = 30000000000 + (gint64) n * 1000000;
                                if (kind == 1) {
                                        /* as the sensor does */
                                        bh_template_path(a.object, strlen(a.object), text);
                                } else if (kind == 2) {
                                        g_snprintf(text, sizeof(text), "/srv/new/%" G_GUINT64_FORMAT, n);
                                        a.object = text;
                                }
                                bh_model_observe(m, "sha256:digest", &a);
                        }
                        spent = now() - begin;
                } while (spent < seconds && kind < 2);
                rates[kind] = (double) n / spent;
        }
        printf("{\"known_per_s\": %.0f, \"known_ns\": %.1f, \"with_template_per_s\": %.0f, \"novel_per_s\": %.0f, \"items\": %u, \"bytes\": %zu, \"bytes_per_item\": %.0f, \"bytes_after_flood\": %zu, "
               "\"bound\": %u}\n", rates[0], 1e9 / rates[0], rates[1], rates[2], held, bytes, (double) bytes / MAX(held, 1), bh_model_bytes(m), BH_MODEL_BYTES);
        g_free(items);
        g_free(order);
        return 0;
}

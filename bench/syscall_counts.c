/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-syscall-counts: src/model/calls.h over recorded attacks on containers, given as counts of system calls in windows of 100 ms.
 *
 *     bench-syscall-counts DIR          DIR/compact/NAME.csv.gz, DIR/timing.csv
 *
 * NAME.csv.gz: part (train or test), run, win, then a column for each system call. timing.csv: cve, run, start_win, end_win: the attack. Windows of the test part before
 * it are normal; those after it are neither and not counted.
 *
 * Learnt from train parts alone, limits from training windows alone: each run's are scored by a model of the others. "all" scores the test parts by the model of all
 * runs; "held out" each run's by what the others gave, limits included. Detected: an alarm within the attack. An alarm "told anew" is one with evidence that its run did not have
 * in an alarm before: what a person would see, for repetitions are counted.
 *
 * Prints one JSON line for each NAME. Exit 1 with a sentence for a file that is not of this form.
 */
#include <gio/gio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "model/calls.h"

#define RUNS_MAX 64
#define COLUMNS_MAX 512
#define ALERT_GAP 50 /* alarms less than five seconds apart are one alert */

typedef struct {
        guint32 win;
        guint16 n;
        gboolean train;
        guint32 at; /* in `counts` */
} Window;

typedef struct {
        GArray *windows; /* Window, by number */
        gint64 start, end; /* -1: no attack known */
        gboolean used;
} Run;

typedef struct {
        Run run[RUNS_MAX];
        GArray *counts; /* BhCallCount */
} Data;

typedef struct {
        guint runs, detected, told;
        guint64 normal, alarmed, told_alarms, alerts;
        GArray *delays; /* windows from the begin of the attack */
} Result;

static G_NORETURN void refuse(const char *path, guint line, const char *what) {
        fprintf(stderr, "bench-syscall-counts: %s:%u: %s\n", path, line, what);
        exit(1);
}

static GDataInputStream *open_lines(const char *path) {
        g_autoptr(GFile) file = g_file_new_for_path(path);
        g_autoptr(GError) error = NULL;
        g_autoptr(GInputStream) in = G_INPUT_STREAM(g_file_read(file, NULL, &error));

        if (!in) {
                fprintf(stderr, "bench-syscall-counts: %s\n", error->message);
                exit(1);
        }
        if (g_str_has_suffix(path, ".gz")) {
                g_autoptr(GConverter) gz = G_CONVERTER(g_zlib_decompressor_new(G_ZLIB_COMPRESSOR_FORMAT_GZIP));
                GInputStream *plain = g_converter_input_stream_new(in, gz);

                g_object_unref(in);
                in = plain;
        }
        return g_data_input_stream_new(in);
}

static char *next_line(GDataInputStream *lines, const char *path, guint number) {
        g_autoptr(GError) error = NULL;
        char *line = g_data_input_stream_read_line(lines, NULL, NULL, &error);

        if (error)
                refuse(path, number, error->message);
        return line;
}

static guint64 number_of(const char *path, guint line, const char *text, guint64 max) {
        guint64 n;

        if (!text || !g_ascii_string_to_unsigned(text, 10, 0, max, &n, NULL))
                refuse(path, line, "a number was expected, or it is too large");
        return n;
}

static void read_timing(const char *path, const char *name, Data *d) {
        g_autoptr(GDataInputStream) lines = open_lines(path);
        guint number = 1;

        g_free(next_line(lines, path, number));
        for (char *line; (line = next_line(lines, path, ++number)); g_free(line)) {
                g_auto(GStrv) f = g_strsplit(g_strstrip(line), ",", -1);
                Run *r;

                if (!*f || !**f || strcmp(f[0], name) != 0)
                        continue;
                if (g_strv_length(f) < 4)
                        refuse(path, number, "cve, run, start_win and end_win were expected");
                r = &d->run[number_of(path, number, f[1], RUNS_MAX - 1)];
                r->start = (gint64) number_of(path, number, f[2], G_MAXUINT32);
                r->end = (gint64) number_of(path, number, f[3], G_MAXUINT32);
        }
}

static void read_counts(const char *path, Data *d) {
        g_autoptr(GDataInputStream) lines = open_lines(path);
        g_autofree char *head = next_line(lines, path, 1);
        g_auto(GStrv) names = g_strsplit(head ? g_strstrip(head) : "", ",", -1);
        guint number = 1, columns = g_strv_length(names);

        if (columns < 4 || columns > COLUMNS_MAX || strcmp(names[0], "part") != 0 || strcmp(names[1], "run") != 0 || strcmp(names[2], "win") != 0)
                refuse(path, 1, "the head must be part,run,win and then a name for each system call");
        for (char *line; (line = next_line(lines, path, ++number)); g_free(line)) {
                g_auto(GStrv) f = g_strsplit(g_strstrip(line), ",", -1);
                Window w = { .at = d->counts->len };
                Run *r;

                if (!*f || !**f)
                        continue;
                if (g_strv_length(f) != columns)
                        refuse(path, number, "another number of columns than in the head");
                w.train = strcmp(f[0], "train") == 0;
                if (!w.train && strcmp(f[0], "test") != 0)
                        refuse(path, number, "part is neither train nor test");
                r = &d->run[number_of(path, number, f[1], RUNS_MAX - 1)];
                w.win = (guint32) number_of(path, number, f[2], G_MAXUINT32);
                for (guint i = 3; i < columns; i++) {
                        BhCallCount c = { .call = (guint16) (i - 3), .count = (guint32) number_of(path, number, f[i], G_MAXUINT32) };

                        if (!c.count)
                                continue;
                        g_array_append_val(d->counts, c);
                        w.n++;
                }
                g_array_append_val(r->windows, w);
                r->used = TRUE;
        }
}

static const BhCallCount *counts_of(const Data *d, const Window *w) {
        return w->n ? &g_array_index(d->counts, BhCallCount, w->at) : NULL;
}

static guint64 bit(guint run) {
        return G_GUINT64_CONSTANT(1) << run;
}

/* A model of the train parts of `runs` (a set of bits). */
static BhCallModel *learn(const Data *d, guint64 runs) {
        BhCallModel *m = bh_calls_new(TRUE);

        for (guint r = 0; r < RUNS_MAX; r++)
                for (guint i = 0; runs & bit(r) && i < d->run[r].windows->len; i++) {
                        const Window *w = &g_array_index(d->run[r].windows, Window, i);

                        if (w->train)
                                bh_calls_learn(m, counts_of(d, w), w->n);
                }
        return m;
}

/* Limits from the train parts of `runs`, each scored by the others. */
static void limits_of(const Data *d, guint64 runs, BhCallLimits *limits) {
        g_autoptr(GArray) novelty = g_array_new(FALSE, FALSE, sizeof(double)), excess = g_array_new(FALSE, FALSE, sizeof(double)), level = g_array_new(FALSE, FALSE, sizeof(double));

        for (guint r = 0; r < RUNS_MAX; r++) {
                if (!(runs & bit(r)))
                        continue;

                g_autoptr(BhCallModel) others = learn(d, runs & ~bit(r));
                for (guint i = 0; i < d->run[r].windows->len; i++) {
                        const Window *w = &g_array_index(d->run[r].windows, Window, i);
                        BhCallScore s;

                        if (!w->train)
                                continue;
                        bh_calls_score(others, counts_of(d, w), w->n, &s);
                        g_array_append_val(novelty, s.novelty);
                        g_array_append_val(excess, s.excess);
                        g_array_append_val(level, s.level);
                }
        }
        bh_calls_limits((double *) novelty->data, (double *) excess->data, (double *) level->data, novelty->len, limits);
}

static gboolean is_news(GHashTable *told, const BhCallScore *s) {
        gboolean news = FALSE;

        for (guint i = 0; i < s->n; i++) {
                const BhCallEvidence *e = &s->evidence[i];
                guint64 key = (guint64) e->kind << 40 | (guint64) MAX(e->a, e->b) << 20 | MIN(e->a, e->b);

                news |= g_hash_table_add(told, g_memdup2(&key, sizeof(key)));
        }
        return news;
}

static void judge(const Data *d, guint run, const BhCallModel *m, const BhCallLimits *limits, Result *out) {
        g_autoptr(GHashTable) told = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        const Run *r = &d->run[run];
        gint64 last = G_MININT64 / 2, first = -1;
        gboolean told_in = FALSE;

        if (r->start < 0)
                return;
        for (guint i = 0; i < r->windows->len; i++) {
                const Window *w = &g_array_index(r->windows, Window, i);
                BhCallScore s;
                gboolean news;

                if (w->train || w->win > r->end)
                        continue;
                out->normal += w->win < r->start;
                bh_calls_score(m, counts_of(d, w), w->n, &s);
                if (!bh_calls_is_alarm(&s, limits))
                        continue;
                news = is_news(told, &s);
                if (w->win < r->start) {
                        out->alarmed++;
                        out->told_alarms += news;
                        out->alerts += w->win - last >= ALERT_GAP;
                        last = w->win;
                } else {
                        first = first < 0 ? (gint64) w->win - r->start : first;
                        told_in |= news;
                }
        }
        out->runs++;
        out->detected += first >= 0;
        out->told += told_in;
        if (first >= 0)
                g_array_append_val(out->delays, first);
}

static void print_result(const char *key, const Result *r) {
        printf("\"%s\":{\"runs\":%u,\"detected\":%u,\"told_detected\":%u,\"normal_windows\":%" G_GUINT64_FORMAT ",\"alarmed\":%" G_GUINT64_FORMAT
               ",\"told_anew\":%" G_GUINT64_FORMAT ",\"alerts\":%" G_GUINT64_FORMAT ",\"delays\":[",
               key, r->runs, r->detected, r->told, r->normal, r->alarmed, r->told_alarms, r->alerts);
        for (guint i = 0; i < r->delays->len; i++)
                printf("%s%.1f", i ? "," : "", (double) g_array_index(r->delays, gint64, i) / 10);
        printf("]}");
}

static void work(const char *dir, const char *file) {
        g_autofree char *name = g_strndup(file, strlen(file) - strlen(".csv.gz")), *path = g_build_filename(dir, "compact", file, NULL), *timing = g_build_filename(dir, "timing.csv", NULL);
        Result all = { .delays = g_array_new(FALSE, FALSE, sizeof(gint64)) }, held = { .delays = g_array_new(FALSE, FALSE, sizeof(gint64)) };
        Data d = { .counts = g_array_new(FALSE, FALSE, sizeof(BhCallCount)) };
        BhCallLimits limits;
        guint64 runs = 0, windows = 0;
        clock_t before;

        for (guint r = 0; r < RUNS_MAX; r++)
                d.run[r] = (Run){ .windows = g_array_new(FALSE, FALSE, sizeof(Window)), .start = -1, .end = -1 };
        read_counts(path, &d);
        read_timing(timing, name, &d);
        for (guint r = 0; r < RUNS_MAX; r++)
                runs |= d.run[r].used ? bit(r) : 0;

        before = clock();
        g_autoptr(BhCallModel) model = learn(&d, runs);
        double learning = (double) (clock() - before) / CLOCKS_PER_SEC;
        limits_of(&d, runs, &limits);
        before = clock();
        for (guint r = 0; r < RUNS_MAX; r++)
                if (runs & bit(r))
                        judge(&d, r, model, &limits, &all);
        double judging = (double) (clock() - before) / CLOCKS_PER_SEC;
        for (guint r = 0; r < RUNS_MAX; r++) {
                if (!(runs & bit(r)))
                        continue;

                g_autoptr(BhCallModel) others = learn(&d, runs & ~bit(r));
                limits_of(&d, runs & ~bit(r), &limits);
                judge(&d, r, others, &limits, &held);
                windows += d.run[r].windows->len;
        }
        printf("{\"name\":\"%s\",\"windows\":%" G_GUINT64_FORMAT ",\"bytes\":%zu,\"refused\":%" G_GUINT64_FORMAT ",\"learn_ns\":%.0f,\"score_ns\":%.0f,", name, windows, bh_calls_bytes(model),
               bh_calls_refused(model), learning * 1e9 / (double) MAX(bh_calls_windows(model), 1), judging * 1e9 / (double) MAX(all.normal, 1));
        print_result("all", &all);
        printf(",");
        print_result("held_out", &held);
        printf("}\n");
        fflush(stdout);
        for (guint r = 0; r < RUNS_MAX; r++)
                g_array_unref(d.run[r].windows);
        g_array_unref(d.counts);
        g_array_unref(all.delays);
        g_array_unref(held.delays);
}

static gint by_name(gconstpointer a, gconstpointer b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

int main(int argc, char **argv) {
        g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GError) error = NULL;

        if (argc != 2) {
                fprintf(stderr, "usage: bench-syscall-counts DIR\n");
                return 2;
        }

        g_autofree char *compact = g_build_filename(argv[1], "compact", NULL);
        g_autoptr(GDir) dir = g_dir_open(compact, 0, &error);
        if (!dir) {
                fprintf(stderr, "bench-syscall-counts: %s\n", error->message);
                return 1;
        }
        for (const char *name; (name = g_dir_read_name(dir));)
                if (g_str_has_suffix(name, ".csv.gz"))
                        g_ptr_array_add(files, g_strdup(name));
        if (!files->len) {
                fprintf(stderr, "bench-syscall-counts: %s holds no .csv.gz file\n", compact);
                return 1;
        }
        g_ptr_array_sort(files, by_name);
        for (guint i = 0; i < files->len; i++)
                work(argv[1], g_ptr_array_index(files, i));
        return 0;
}

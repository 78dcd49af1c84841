/* SPDX-License-Identifier: Apache-2.0 */
/* `bulkhead model`: what workloads were learned to do, what is new, and what a person makes of it. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "base/escape.h"
#include "base/fdio.h"
#include "commands.h"
#include "output.h"

#define MODELS "/api/v1/models"
#define TEXT_MAX (1u << 20) /* what the API takes */

/* What every command of these names a model by. Freed by which_clear(). */
typedef struct {
        char *application, *digest, *family, *base, *format, *output, *ttl, *reason, *confirm;
        gboolean json, outstanding, drift, observe;
        BhApi *api;
} Which;

static void which_clear(Which *w) {
        char *texts[] = { w->application, w->digest, w->family, w->base, w->format, w->output, w->ttl, w->reason, w->confirm };

        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                g_free(texts[i]);
        g_clear_pointer(&w->api, bh_api_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Which, which_clear)

enum { FAMILY = 1, OUTSTANDING = 2, DRIFT = 4, BASE = 8, FORMAT = 16, REASON = 32, ENFORCE = 64 | REASON };

static gboolean begin(Which *w, const BhCliPaths *paths, int *argc, char ***argv, guint options, const char *arguments, int least, int most, const char *summary, const char *more, int *code) {
        GArray *entries = g_array_new(TRUE, TRUE, sizeof(GOptionEntry));
        const GOptionEntry always[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &w->json, "JSON", NULL },
                { "application", 'a', 0, G_OPTION_ARG_STRING, &w->application, "application of the workload (needed where several have one of that name)", "NAME" },
                { "image-digest", 0, 0, G_OPTION_ARG_STRING, &w->digest, "version of the model (default: the latest)", "DIGEST" },
        };
        const GOptionEntry family = { "family", 'f', 0, G_OPTION_ARG_STRING, &w->family, "only of this family of behaviour: exec, args, file, listen, peer, dns, …", "FAMILY" };
        const GOptionEntry outstanding = { "outstanding", 'o', 0, G_OPTION_ARG_NONE, &w->outstanding, "only what is not normal: new, observed, held, drift, never learned", NULL };
        const GOptionEntry drift = { "drift", 0, 0, G_OPTION_ARG_NONE, &w->drift, "all that most replicas of the version do, instead of one item", NULL };
        const GOptionEntry base = { "base", 0, 0, G_OPTION_ARG_STRING, &w->base, "version to compare with (default: the one before)", "DIGEST" };
        const GOptionEntry format = { "format", 0, 0, G_OPTION_ARG_STRING, &w->format, "model (default), allow (allow list), networkpolicy (Kubernetes) or seccomp (profile for Docker, podman, runc)", "FORMAT" };
        const GOptionEntry output = { "output", 'O', 0, G_OPTION_ARG_FILENAME, &w->output, "write to this file", "FILE" };
        const GOptionEntry reason = { "reason", 'm', 0, G_OPTION_ARG_STRING, &w->reason, "why, for the ledger", "TEXT" };
        const GOptionEntry enforcing[] = {
                { "observe", 0, 0, G_OPTION_ARG_NONE, &w->observe, "tell what would be refused, and let it happen", NULL },
                { "ttl", 0, 0, G_OPTION_ARG_STRING, &w->ttl, "end it by itself after 90s, 10m, 2h, 1d (default: never)", "TIME" },
                { "confirm", 0, 0, G_OPTION_ARG_STRING, &w->confirm, "without --observe: the workload's name once more", "WORKLOAD" },
        };
        g_autoptr(GError) error = NULL;

        g_array_append_vals(entries, always, G_N_ELEMENTS(always));
        if (options & FAMILY)
                g_array_append_val(entries, family);
        if (options & OUTSTANDING)
                g_array_append_val(entries, outstanding);
        if (options & REASON)
                g_array_append_val(entries, reason);
        if ((options & ENFORCE) == ENFORCE)
                g_array_append_vals(entries, enforcing, G_N_ELEMENTS(enforcing));
        if (options & DRIFT)
                g_array_append_val(entries, drift);
        if (options & BASE)
                g_array_append_val(entries, base);
        if (options & FORMAT) {
                g_array_append_val(entries, format);
                g_array_append_val(entries, output);
        }
        gboolean ok = bh_cli_parse_api(argc, argv, (GOptionEntry *) (void *) entries->data, FALSE, arguments, summary, more);
        g_array_unref(entries);
        *code = BH_EXIT_USAGE;
        if (!ok)
                return FALSE;
        if (*argc - 1 < least || *argc - 1 > most) {
                bh_cli_usage(most ? "it takes %s" : "it takes no arguments but options%s", most ? arguments : "");
                return FALSE;
        }
        *code = BH_EXIT_FAILED;
        if (!(w->api = bh_api_new(paths, &error))) {
                bh_cli_fail(error);
                return FALSE;
        }
        return TRUE;
}

static GString *target_of(const Which *w, const char *path, const char *workload) {
        GString *target = g_string_new(path);

        bh_api_param(target, "application", w->application);
        bh_api_param(target, "workload", workload);
        bh_api_param(target, "image_digest", w->digest);
        bh_api_param(target, "family", w->family);
        return target;
}

static BhStyle standing_style(const char *standing) {
        if (g_str_equal(standing, "novel") || g_str_equal(standing, "refused") || g_str_equal(standing, "forbidden"))
                return BH_STYLE_BAD;
        return g_str_equal(standing, "learned") || g_str_equal(standing, "accepted") ? BH_STYLE_NONE : BH_STYLE_BOLD;
}

/* ---- list ---- */

static int list(const BhCliPaths *paths, int argc, char **argv) {
        static const char *const headers[] = { "APPLICATION", "WORKLOAD", "STATE", ">RUNNING", ">HOURS", ">LEARNED", ">NEW", ">KIB", "IMAGE", NULL };
        g_auto(Which) w = { 0 };
        g_autoptr(GError) error = NULL;
        json_t *m;
        size_t i;
        int code;

        if (!begin(&w, paths, &argc, &argv, 0, "[WORKLOAD]", 0, 1, "Lists the behaviour models of workloads.",
                   "State: learning, shadow (a new version, judged by the one before), scored (what is new is an anomaly), enforceable; of the least trusted family.\n", &code))
                return code;
        g_autoptr(GString) target = target_of(&w, MODELS, argc > 1 ? argv[1] : NULL);
        json_auto_t *models = bh_api_list(w.api, target->str, "models", 0, NULL, &error);
        if (!models)
                return bh_cli_fail(error);
        g_autoptr(BhTable) t = bh_table_new(headers);
        json_array_foreach(models, i, m) {
                const json_t *v = json_array_get(json_object_get(m, "versions"), 0);

                if (w.json) {
                        bh_out_json(m);
                        continue;
                }
                bh_table_cell(t, bh_json_text(m, "application"), BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(m, "workload"), BH_STYLE_BOLD);
                bh_table_cell(t, json_is_true(json_object_get(v, "locked")) ? "locked" : bh_json_text(v, "state"), BH_STYLE_NONE);
                bh_table_number(t, bh_json_number(v, "running"));
                bh_table_number(t, (guint64) json_number_value(json_object_get(v, "container_hours")));
                bh_table_number(t, bh_json_number(v, "learned"));
                bh_table_number(t, bh_json_number(v, "outstanding"));
                bh_table_number(t, bh_json_number(m, "bytes") >> 10);
                bh_table_cell(t, bh_json_text(v, "image_digest"), BH_STYLE_DIM);
        }
        if (!w.json)
                bh_table_print(t);
        return bh_out_finish();
}

/* What is there to be shown to a person. NULL: *code is what the command ends with, JSON was printed or the failure said. */
static json_t *answer_of(const Which *w, const char *target, int *code) {
        g_autoptr(GError) error = NULL;
        json_t *answer = bh_api_get(w->api, target, &error);

        if (answer && !w->json)
                return answer;
        if (answer)
                bh_out_json(answer);
        *code = answer ? bh_out_finish() : bh_cli_fail(error);
        json_decref(answer);
        return NULL;
}

/* ---- show, diff ---- */

static void print_items(const json_t *items) {
        static const char *const headers[] = { "ITEM", "FAMILY", "STANDING", ">COUNT", ">TRIALS", ">REPLICAS", "LAST", "WHAT", NULL };
        g_autoptr(BhTable) t = bh_table_new(headers);
        json_t *one;
        size_t i;

        json_array_foreach(items, i, one) {
                g_autofree char *last = bh_json_when(one, "last");

                bh_table_cell(t, bh_json_text(one, "item"), BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(one, "family"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(one, "standing"), standing_style(bh_json_text(one, "standing")));
                bh_table_number(t, bh_json_number(one, "count"));
                bh_table_number(t, bh_json_number(one, "trials"));
                bh_table_number(t, bh_json_number(one, "replicas"));
                bh_table_cell(t, last, BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(one, "says"), BH_STYLE_NONE);
        }
        bh_table_print(t);
}

static void print_families(const json_t *version) {
        static const char *const headers[] = { "FAMILY", "STATE", ">LEARNED", ">NEW", ">SEEN ONCE", "EXPECTED NEW A TRIAL", NULL };
        g_autoptr(BhTable) t = bh_table_new(headers);
        json_t *f;
        size_t i;

        json_array_foreach(json_object_get(version, "families"), i, f) {
                g_autofree char *bound = g_strdup_printf("< %.2g", json_number_value(json_object_get(f, "new_per_trial")));
                gboolean observed = json_is_true(json_object_get(f, "observed"));

                bh_table_cell(t, bh_json_text(f, "family"), BH_STYLE_NONE);
                bh_table_cell(t, json_is_true(json_object_get(f, "locked")) ? "locked" : observed ? bh_json_text(f, "state") : "not observed", BH_STYLE_NONE);
                bh_table_number(t, bh_json_number(f, "learned"));
                bh_table_number(t, bh_json_number(f, "outstanding"));
                bh_table_number(t, bh_json_number(f, "seen_once"));
                bh_table_cell(t, observed ? bound : "-", BH_STYLE_DIM);
        }
        bh_table_print(t);
}

static int show(const BhCliPaths *paths, int argc, char **argv) {
        g_auto(Which) w = { 0 };
        int code;

        if (!begin(&w, paths, &argc, &argv, FAMILY | OUTSTANDING, "WORKLOAD", 1, 1, "Shows what a workload was learned to do, item by item, and how much it has yet to show.", NULL, &code))
                return code;
        g_autoptr(GString) target = target_of(&w, MODELS "/items", argv[1]);
        bh_api_param(target, "outstanding", w.outstanding ? "true" : NULL);
        json_auto_t *answer = answer_of(&w, target->str, &code);
        if (!answer)
                return code;
        const json_t *version = json_array_get(json_object_get(answer, "version"), 0);
        g_autofree char *application = bh_json_cell(answer, "application"), *workload = bh_json_cell(answer, "workload"), *digest = bh_json_cell(version, "image_digest");
        printf("%s%s/%s%s  %s\n%.1f container-hours, %" G_GUINT64_FORMAT " running, %" G_GUINT64_FORMAT " starts seen\n\n", bh_out_style(BH_STYLE_BOLD), application, workload, bh_out_style(BH_STYLE_NONE), digest,
               json_number_value(json_object_get(version, "container_hours")), bh_json_number(version, "running"), bh_json_number(version, "starts"));
        print_families(version);
        puts("");
        print_items(json_object_get(answer, "items"));
        if (bh_json_number(answer, "left_out"))
                printf("%" G_GUINT64_FORMAT " more are left out; --family narrows it\n", bh_json_number(answer, "left_out"));
        return bh_out_finish();
}

static int diff(const BhCliPaths *paths, int argc, char **argv) {
        g_auto(Which) w = { 0 };
        int code;

        if (!begin(&w, paths, &argc, &argv, BASE, "WORKLOAD", 1, 1, "Shows what a version of a workload does that the version before did not, and what it has not done yet.", NULL, &code))
                return code;
        g_autoptr(GString) target = target_of(&w, MODELS "/diff", argv[1]);
        bh_api_param(target, "base", w.base);
        json_auto_t *answer = answer_of(&w, target->str, &code);
        if (!answer)
                return code;
        g_autofree char *digest = bh_json_cell(answer, "image_digest"), *base = bh_json_cell(answer, "base");
        printf("%s against %s\n\nnew:\n", digest, base);
        print_items(json_object_get(answer, "added"));
        puts("\nnot seen yet:");
        print_items(json_object_get(answer, "not_seen"));
        return bh_out_finish();
}

/* ---- changes ---- */

/* Takes the body. */
static int post(const Which *w, const char *path, json_t *body, const char *done) {
        g_autoptr(GError) error = NULL;
        json_auto_t *answer = bh_api_send(w->api, "POST", path, body, &error);

        if (!answer)
                return bh_cli_fail(error);
        if (w->json)
                bh_out_json(answer);
        else
                puts(done);
        return bh_out_finish();
}

static int change(const Which *w, const char *path, const char *workload, const char *item, const char *verdict, const char *done) {
        return post(w, path, json_pack("{s:s*, s:s, s:s*, s:s*, s:s*, s:s*}", "application", w->application, "workload", workload, "image_digest", w->digest, "family", w->family, "item", item, "verdict", verdict),
                    done);
}

static int families(const BhCliPaths *paths, int argc, char **argv, const char *path, const char *summary, const char *done) {
        g_auto(Which) w = { 0 };
        int code;

        if (!begin(&w, paths, &argc, &argv, FAMILY, "WORKLOAD", 1, 1, summary, NULL, &code))
                return code;
        return change(&w, path, argv[1], NULL, NULL, done);
}

static int lock(const BhCliPaths *paths, int argc, char **argv) {
        return families(paths, argc, argv, MODELS "/lock",
                        "Lets a model learn nothing more by itself: what is new from now on is an anomaly. Of system calls, their patterns and rates, which show late, that begins once the version has run for five container-minutes.",
                        "locked; \"bulkhead model relearn\" undoes it");
}

static int relearn(const BhCliPaths *paths, int argc, char **argv) {
        return families(paths, argc, argv, MODELS "/relearn", "Forgets what a model has learned, but for what people accepted or forbade, and lets it learn anew.", "it learns anew");
}

static int judge(const BhCliPaths *paths, int argc, char **argv, gboolean accept) {
        g_auto(Which) w = { 0 };
        int code;

        if (!begin(&w, paths, &argc, &argv, accept ? DRIFT : 0, accept ? "WORKLOAD [ITEM]" : "WORKLOAD ITEM", 1, 2,
                   accept ? "Takes an item, as findings and \"model show\" name it, for normal." : "Makes an item an anomaly whenever it is seen.", NULL, &code))
                return code;
        if (w.drift == (argc == 3))
                return bh_cli_usage("name %s", accept ? "either an item or --drift" : "an item");
        return change(&w, MODELS "/judge", argv[1], argc == 3 ? argv[2] : NULL, w.drift ? "accept_drift" : accept ? "accept" : "forbid", accept ? "accepted" : "forbidden");
}

static int accept_item(const BhCliPaths *paths, int argc, char **argv) {
        return judge(paths, argc, argv, TRUE);
}

static int forbid_item(const BhCliPaths *paths, int argc, char **argv) {
        return judge(paths, argc, argv, FALSE);
}

static int export_model(const BhCliPaths *paths, int argc, char **argv) {
        g_auto(Which) w = { 0 };
        g_autoptr(GError) error = NULL;
        int code;

        if (!begin(&w, paths, &argc, &argv, FORMAT, "WORKLOAD", 1, 1, "Prints a model as text: JSON lines to review and to import elsewhere, an allow list, a network policy, or a seccomp profile.", NULL, &code))
                return code;
        g_autoptr(GString) target = target_of(&w, MODELS "/text", argv[1]);
        bh_api_param(target, "format", w.format);
        json_auto_t *answer = bh_api_get(w.api, target->str, &error);
        if (!answer)
                return bh_cli_fail(error);
        const char *text = bh_json_text(answer, "text");
        if (w.output)
                return g_file_set_contents(w.output, text, -1, &error) ? BH_EXIT_OK : bh_cli_fail(error);
        bh_out_write(text, strlen(text));
        return bh_out_finish();
}

static int import_model(const BhCliPaths *paths, int argc, char **argv) {
        g_auto(Which) w = { 0 };
        g_autoptr(GError) error = NULL;
        gboolean cut = FALSE;
        gsize len = 0;
        int code;

        if (!begin(&w, paths, &argc, &argv, 0, "WORKLOAD FILE", 2, 2, "Gives a workload the items of an exported model; they count as accepted.", NULL, &code))
                return code;
        g_autofree char *text = bh_file_read(AT_FDCWD, argv[2], TEXT_MAX, &len, &cut, &error);
        if (!text)
                return bh_cli_fail(error);
        if (cut || strlen(text) != len || !g_utf8_validate(text, (gssize) len, NULL)) {
                fprintf(stderr, cut ? "bulkhead: %s is larger than an exported model is\n" : "bulkhead: %s is not UTF-8 text\n", argv[2]);
                return BH_EXIT_FAILED;
        }
        return post(&w, MODELS "/import", json_pack("{s:s*, s:s, s:s*, s:s}", "application", w.application, "workload", argv[1], "image_digest", w.digest, "text", text), "imported");
}

/* ---- enforcing ---- */

static void print_enforced(const json_t *list) {
        static const char *const headers[] = { "APPLICATION", "WORKLOAD", "FAMILY", "MODE", "SINCE", "UNTIL", "BY", ">PROGRAMS", ">RUNNING", ">ACTIVE", ">NOT", ">REFUSED", ">OBSERVED", NULL };
        g_autoptr(BhTable) t = bh_table_new(headers);
        json_t *one;
        size_t i;

        json_array_foreach(list, i, one) {
                const json_t *n = json_object_get(one, "containers");
                g_autofree char *since = bh_json_when(one, "since"), *until = bh_json_when(one, "until");
                const gboolean observe = g_str_equal(bh_json_text(one, "mode"), "observe");

                bh_table_cell(t, bh_json_text(one, "application"), BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(one, "workload"), BH_STYLE_BOLD);
                bh_table_cell(t, bh_json_text(one, "family"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(one, "mode"), observe ? BH_STYLE_NONE : BH_STYLE_BOLD);
                bh_table_cell(t, since, BH_STYLE_DIM);
                bh_table_cell(t, until && *until ? until : "-", BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(one, "by"), BH_STYLE_NONE);
                bh_table_number(t, bh_json_number(one, "programs"));
                bh_table_number(t, bh_json_number(n, "running"));
                bh_table_number(t, bh_json_number(n, "active"));
                bh_table_number(t, bh_json_number(n, "failed") + bh_json_number(n, "not_strict") - bh_json_number(n, "kept") + bh_json_number(n, "protected") + bh_json_number(n, "released"));
                bh_table_number(t, bh_json_number(one, "refused"));
                bh_table_number(t, bh_json_number(one, "observed"));
        }
        bh_table_print(t);
        json_array_foreach(list, i, one) {
                json_t *note;
                size_t k;

                json_array_foreach(json_object_get(one, "notes"), k, note) {
                        g_autofree char *workload = bh_json_cell(one, "workload"), *text = bh_escape_cell(json_string_value(note), -1);

                        printf("%s: %s\n", workload, text);
                }
        }
}

static int enforced(const BhCliPaths *paths, int argc, char **argv) {
        g_auto(Which) w = { 0 };
        int code;

        if (!begin(&w, paths, &argc, &argv, 0, NULL, 0, 0, "Lists the models that are enforced, and in how many of their running containers.",
                   "NOT: containers whose node could not do it, whose version is not known well enough, that are protected, or that a person released.\n", &code))
                return code;
        json_auto_t *answer = answer_of(&w, MODELS "/enforced", &code);
        if (!answer)
                return code;
        print_enforced(json_object_get(answer, "enforced"));
        return bh_out_finish();
}

static int enforce(const BhCliPaths *paths, int argc, char **argv) {
        g_auto(Which) w = { 0 };
        int code;

        if (!begin(&w, paths, &argc, &argv, FAMILY | ENFORCE, "WORKLOAD", 1, 1, "Lets the nodes' kernels refuse what is not in a model, in all containers of the workload, also in those that start later.",
                   "So far that is possible for programs (--family exec, the default): nothing runs but what the model has. The family must be locked, or enforceable.\n"
                   "Observe first: --observe tells what would have been refused, and lets it run. To change from one to the other say it anew.\n", &code))
                return code;
        if (w.ttl && !bh_cli_duration(w.ttl))
                return bh_cli_usage("--ttl takes a number with s, m, h or d, like 10m, not \"%s\"", w.ttl);
        json_t *body = json_pack("{s:s*, s:s, s:s*, s:s*, s:s*, s:b}", "application", w.application, "workload", argv[1], "family", w.family, "reason", w.reason, "confirm", w.confirm, "observe", w.observe);
        if (w.ttl)
                json_object_set_new(body, "ttl", json_integer((json_int_t) (bh_cli_duration(w.ttl) / G_USEC_PER_SEC / 1000)));
        return post(&w, MODELS "/enforce", body, w.observe ? "observed: what would have been refused is told (\"bulkhead model enforced\")" : "enforced; \"bulkhead model enforced\" says in how many containers, \"bulkhead model unenforce\" ends it");
}

static int unenforce(const BhCliPaths *paths, int argc, char **argv) {
        g_auto(Which) w = { 0 };
        int code;

        if (!begin(&w, paths, &argc, &argv, FAMILY | REASON, "WORKLOAD", 1, 1, "Ends that a model is enforced, or observed.", NULL, &code))
                return code;
        return post(&w, MODELS "/unenforce", json_pack("{s:s*, s:s, s:s*, s:s*}", "application", w.application, "workload", argv[1], "family", w.family, "reason", w.reason), "not enforced any more");
}

int bh_cmd_model(const BhCliPaths *paths, int argc, char **argv) {
        static const BhCliSub subs[] = {
                { "list", "[WORKLOAD]", "models, and how far each has come", list },
                { "show", "WORKLOAD", "what one holds, item by item", show },
                { "lock", "WORKLOAD", "let it learn nothing more by itself", lock },
                { "relearn", "WORKLOAD", "let it learn anew", relearn },
                { "accept", "WORKLOAD [ITEM]", "take an item, or all drift, for normal", accept_item },
                { "forbid", "WORKLOAD ITEM", "make an item an anomaly whenever it is seen", forbid_item },
                { "diff", "WORKLOAD", "what a new version does that the one before did not", diff },
                { "enforce", "WORKLOAD", "let nodes refuse what is not in it, or observe what they would", enforce },
                { "unenforce", "WORKLOAD", "end that", unenforce },
                { "enforced", "", "which are, and where", enforced },
                { "export", "WORKLOAD", "a model as text", export_model },
                { "import", "WORKLOAD FILE", "an exported model", import_model },
        };

        return bh_cli_sub(subs, G_N_ELEMENTS(subs), "Behaviour models: what workloads were learned to do, and what is new.", paths, argc, argv);
}

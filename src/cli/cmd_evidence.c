/* SPDX-License-Identifier: Apache-2.0 */
/* `bulkhead evidence list|show|export|heads|verify` */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "base/escape.h"
#include "base/fdio.h"
#include "commands.h"
#include "lists.h"
#include "evidence/evidence.h"
#include "output.h"

#define LIST_DEFAULT 50
#define TAR_MAX (1u << 30)
#define HEADS_MAX (64u << 20)

/* ---- what is asked for */

typedef struct {
        char *node, *container, *incident, *finding, *kind, *since;
} Which;

static void which_clear(Which *w) {
        g_free(w->node);
        g_free(w->container);
        g_free(w->incident);
        g_free(w->finding);
        g_free(w->kind);
        g_free(w->since);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Which, which_clear)

#define WHICH_ENTRIES(w) \
        { "incident", 'i', 0, G_OPTION_ARG_STRING, &(w).incident, "only of this incident", "ID" }, \
        { "container", 'c', 0, G_OPTION_ARG_STRING, &(w).container, "only of this container: name or id", "C" }, \
        { "finding", 0, 0, G_OPTION_ARG_STRING, &(w).finding, "only of this finding", "ID" }, \
        { "kind", 0, 0, G_OPTION_ARG_STRING, &(w).kind, "only file, process, events, container, …", "KIND" }, \
        { "node", 0, 0, G_OPTION_ARG_STRING, &(w).node, "only of this node", "NODE" }, \
        { "since", 's', 0, G_OPTION_ARG_STRING, &(w).since, "only of the last 90s, 10m, 2h, 1d", "TIME" }

static gboolean is_number(const char *text) {
        return text && *text && strspn(text, "0123456789") == strlen(text);
}

/* What is asked for as parameters. FALSE: some of it is malformed, which was said. */
static gboolean which_params(GString *target, const Which *w) {
        if (w->incident && !is_number(w->incident)) {
                bh_cli_usage("--incident takes the number of an incident: \"bulkhead incidents\" lists them");
                return FALSE;
        }
        bh_api_param(target, "incident", w->incident);
        bh_api_param(target, "container", w->container);
        bh_api_param(target, "finding", w->finding);
        bh_api_param(target, "kind", w->kind);
        bh_api_param(target, "node", w->node);
        return bh_list_since(target, w->since);
}

/* ---- list ---- */

void bh_cli_print_evidence(const json_t *list) {
        static const char *const headers[] = { ">ID", "TIME", "KIND", "CONTAINER", ">SIZE", "BYTES", "SHA256", "WHAT", "WHY", NULL };
        g_autoptr(BhTable) t = bh_table_new(headers);

        for (size_t n = json_array_size(list); n-- > 0;) { /* the latest at the bottom */
                json_t *e = json_array_get(list, n);
                g_autofree char *when = bh_json_when(e, "time"), *size = bh_out_bytes(bh_json_number(e, "size")), *hash = g_strndup(bh_json_text(e, "sha256"), 12);
                const char *name = *bh_json_text(e, "container_name") ? bh_json_text(e, "container_name") : bh_json_text(e, "container_id"), *data = bh_json_text(e, "data");
                const char *what = *bh_json_text(e, "path") ? bh_json_text(e, "path") : *bh_json_text(e, "args") ? bh_json_text(e, "args") : bh_json_text(e, "exe");

                bh_table_number(t, bh_json_number(e, "id"));
                bh_table_cell(t, when, BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(e, "kind"), BH_STYLE_NONE);
                bh_table_cell(t, *name ? name : "-", BH_STYLE_NONE);
                bh_table_cell(t, *hash ? size : "-", BH_STYLE_NONE);
                bh_table_cell(t, g_str_equal(data, "none") ? "-" : data, g_str_equal(data, "missing") ? BH_STYLE_BAD : BH_STYLE_NONE);
                bh_table_cell(t, *hash ? hash : "-", BH_STYLE_DIM);
                bh_table_cell(t, *what ? what : "-", BH_STYLE_BOLD);
                bh_table_cell(t, *bh_json_text(e, "rule") ? bh_json_text(e, "rule") : bh_json_text(e, "why"), BH_STYLE_NONE);
        }
        bh_table_print(t);
}

static int list(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE;
        gint limit = -1;
        g_auto(Which) w = { 0 };
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "one JSON object a line, the latest first", NULL },
                WHICH_ENTRIES(w),
                { "limit", 'n', 0, G_OPTION_ARG_INT, &limit, "the last N (default 50; 0: all)", "N" },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GString) target = g_string_new("/api/v1/evidence");
        g_autoptr(GError) error = NULL;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, NULL, "Lists evidence: files, processes, events and containers that nodes kept of attacks.", NULL))
                return BH_EXIT_USAGE;
        if (argc > 1)
                return bh_cli_usage("it takes no arguments but options, not \"%s\"; \"bulkhead evidence show %s\" shows one", argv[1], argv[1]);
        if (limit < -1)
                return bh_cli_usage("--limit must not be negative");
        if (!which_params(target, &w))
                return BH_EXIT_USAGE;
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        return bh_list_print(api, target->str, "evidence", limit < 0 ? LIST_DEFAULT : (guint) limit, json, bh_cli_print_evidence, "no evidence");
}

/* ---- show ---- */

static void print_item(const json_t *e) {
        static const struct {
                const char *key, *label;
        } rows[] = {
                { "kind", "kind" }, { "why", "why" }, { "rule", "rule" }, { "finding", "finding" }, { "node", "node" }, { "container_name", "container" }, { "container_id", "container's id" },
                { "workload", "workload" }, { "exe", "program" }, { "args", "arguments" }, { "path", "path" }, { "sha256", "SHA-256" }, { "data", "bytes" }, { "chain", "chain" },
        };
        g_autofree char *when = bh_json_when(e, "time"), *came = bh_json_when(e, "received"), *size = bh_out_bytes(bh_json_number(e, "size"));

        printf("%sEvidence %" G_GUINT64_FORMAT "%s\n", bh_out_style(BH_STYLE_BOLD), bh_json_number(e, "id"), bh_out_style(BH_STYLE_NONE));
        printf("  %-16s%s (at the central %s)\n", "time", when, came);
        for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
                g_autofree char *text = bh_json_cell(e, rows[i].key);

                if (*text)
                        printf("  %-16s%s\n", rows[i].label, text);
        }
        if (bh_json_number(e, "pid"))
                printf("  %-16s%" G_GUINT64_FORMAT "\n", "process", bh_json_number(e, "pid"));
        printf("  %-16s%s%s\n", "size", size, json_is_true(json_object_get(e, "cut")) ? ", cut at the bound" : "");
        printf("  %-16s%" G_GUINT64_FORMAT "\n", "number in chain", bh_json_number(e, "seq"));
}

/* "-": standard output. */
static int write_file(const char *path, const GString *bytes) {
        g_autoptr(GError) error = NULL;

        if (!g_str_equal(path, "-")) {
                g_auto(BhFd) fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

                if (fd < 0)
                        g_set_error(&error, G_FILE_ERROR, (gint) g_file_error_from_errno(errno), "cannot make %s: %s", path, g_strerror(errno));
                else
                        bh_fd_write_all(fd, bytes->str, bytes->len, path, &error);
                return error ? bh_cli_fail(error) : BH_EXIT_OK;
        }
        if (bh_out_terminal())
                return bh_cli_usage("these bytes are an attacker's: they do not go to a terminal. Name a file with -o");
        bh_out_write(bytes->str, bytes->len);
        return bh_out_finish();
}

static int show(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE, data = FALSE;
        g_autofree char *out = NULL;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "as JSON, with the signed line", NULL },
                { "data", 'd', 0, G_OPTION_ARG_NONE, &data, "its bytes, to -o or to a pipe", NULL },
                { "output", 'o', 0, G_OPTION_ARG_FILENAME, &out, "a new file for its bytes", "FILE" },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GString) target = g_string_new("/api/v1/evidence");
        g_autoptr(GError) error = NULL;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, "ID", "Shows an item of evidence, or gives its bytes.", NULL))
                return BH_EXIT_USAGE;
        if (argc != 2 || !is_number(argv[1]))
                return bh_cli_usage("it takes the number of an item: \"bulkhead evidence list\" lists them");
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        bh_api_segment(target, argv[1]);
        if (data || out) {
                bh_api_segment(target, "data");
                GString *bytes = bh_api_get_text(api, target->str, &error);
                if (!bytes)
                        return bh_cli_fail(error);
                int code = write_file(out ? out : "-", bytes);
                g_string_free(bytes, TRUE);
                return code;
        }
        json_auto_t *e = bh_api_get(api, target->str, &error);
        if (!e)
                return bh_cli_fail(error);
        if (json)
                bh_out_json(e);
        else
                print_item(e);
        return bh_out_finish();
}

/* ---- export, heads ---- */

static int export_(const BhCliPaths *paths, int argc, char **argv) {
        g_autofree char *out = NULL;
        g_auto(Which) w = { 0 };
        GOptionEntry entries[] = {
                { "output", 'o', 0, G_OPTION_ARG_FILENAME, &out, "a new file for the archive (default: standard output)", "FILE" },
                WHICH_ENTRIES(w),
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GString) target = g_string_new("/api/v1/evidence/export");
        g_autoptr(GError) error = NULL;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, "[ID]", "Writes evidence as one tar archive that others can verify: its README says how.", NULL))
                return BH_EXIT_USAGE;
        if (argc > 2 || (argc == 2 && !is_number(argv[1])))
                return bh_cli_usage("it takes the number of one item, or options that choose some");
        if (!which_params(target, &w))
                return BH_EXIT_USAGE;
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        bh_api_param(target, "item", argc == 2 ? argv[1] : NULL);
        GString *bytes = bh_api_get_text(api, target->str, &error);
        if (!bytes)
                return bh_cli_fail(error);
        int code = write_file(out ? out : "-", bytes);
        g_string_free(bytes, TRUE);
        return code;
}

static int heads(const BhCliPaths *paths, int argc, char **argv) {
        g_autofree char *node = NULL;
        GOptionEntry entries[] = { { "node", 0, 0, G_OPTION_ARG_STRING, &node, "only of this node", "NODE" }, G_OPTION_ENTRY_NULL };
        g_autoptr(GString) target = g_string_new("/api/v1/evidence/heads");
        g_autoptr(GError) error = NULL;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, NULL, "Prints the last item of each chain: keep it elsewhere, for \"bulkhead evidence verify --heads\".", NULL))
                return BH_EXIT_USAGE;
        if (argc > 1)
                return bh_cli_usage("it takes no arguments, not \"%s\"", argv[1]);
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        bh_api_param(target, "node", node);
        GString *text = bh_api_get_text(api, target->str, &error);
        if (!text)
                return bh_cli_fail(error);
        bh_out_write(text->str, text->len);
        g_string_free(text, TRUE);
        return bh_out_finish();
}

/* ---- verify ---- */

/* TRUE: all is well. */
static gboolean print_report(const char *where, const json_t *r) {
        g_autofree char *what = bh_escape_cell(where, -1);
        json_t *p;
        size_t i;

        if (json_is_true(json_object_get(r, "ok"))) {
                printf("%s%s: whole%s: %" G_GUINT64_FORMAT " items, %" G_GUINT64_FORMAT " objects", bh_out_style(BH_STYLE_GOOD), what, bh_out_style(BH_STYLE_NONE), bh_json_number(r, "items"),
                       bh_json_number(r, "objects"));
                if (bh_json_number(r, "objects_elsewhere"))
                        printf(", %" G_GUINT64_FORMAT " not part of it", bh_json_number(r, "objects_elsewhere"));
                if (bh_json_number(r, "first_seq") > 1)
                        printf(", from item %" G_GUINT64_FORMAT " on: what was before is not here", bh_json_number(r, "first_seq"));
                if (bh_json_number(r, "gaps"))
                        printf(", with %" G_GUINT64_FORMAT " gaps that are known of", bh_json_number(r, "gaps"));
                printf(", %" G_GUINT64_FORMAT " heads compared\n", bh_json_number(r, "heads_compared"));
                return TRUE;
        }
        printf("%s%s: %" G_GUINT64_FORMAT " problems%s\n", bh_out_style(BH_STYLE_BAD), what, bh_json_number(r, "problem_count"), bh_out_style(BH_STYLE_NONE));
        json_array_foreach(json_object_get(r, "problems"), i, p) {
                g_autofree char *kind = bh_json_cell(p, "what"), *text = bh_json_cell(p, "text");

                printf("  %s: %s\n", kind, text);
        }
        return FALSE;
}

typedef struct {
        GHashTable *members; /* sha256 → GBytes, which point into the archive */
        GHashTable *listed;  /* hashes that the manifest says are in it; NULL: it has none */
} Archive;

static void archive_clear(Archive *a) {
        g_hash_table_unref(a->members);
        g_clear_pointer(&a->listed, g_hash_table_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Archive, archive_clear)

static int open_member(const char *sha256, gpointer data) {
        const Archive *a = data;
        GBytes *member = g_hash_table_lookup(a->members, sha256);

        if (!member)
                return a->listed && !g_hash_table_contains(a->listed, sha256) ? -2 : -1;
        gsize size;
        const void *bytes = g_bytes_get_data(member, &size);
        FILE *f = tmpfile();
        int fd = f && fwrite(bytes, 1, size, f) == size && !fflush(f) ? dup(fileno(f)) : -1;

        if (f)
                fclose(f);
        if (fd >= 0)
                lseek(fd, 0, SEEK_SET);
        return fd;
}

static void read_manifest(Archive *a, const guint8 *data, gsize size) {
        json_auto_t *m = json_loadb((const char *) data, size, 0, NULL);
        json_t *one;
        size_t i;

        if (a->listed || !json_is_array(json_object_get(m, "objects")))
                return;
        a->listed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        json_array_foreach(json_object_get(m, "objects"), i, one)
                if (json_is_string(one))
                        g_hash_table_add(a->listed, g_strdup(json_string_value(one)));
}

static json_t *verify_tar(BhEvidenceVerifier *v, const char *path, GError **error) {
        gsize len = 0, at = 0, size;
        gboolean cut = FALSE, log = FALSE;
        g_autofree char *bytes = bh_file_read(AT_FDCWD, path, TAR_MAX, &len, &cut, error);
        const guint8 *data;
        char name[256];

        if (!bytes)
                return NULL;
        g_auto(Archive) a = { .members = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify) g_bytes_unref) };
        while (bh_tar_next((const guint8 *) bytes, len, &at, name, &data, &size)) {
                const char *sha256 = strrchr(name, '/');

                if (g_str_has_prefix(name, "objects/") && bh_evidence_is_hash(sha256 + 1))
                        g_hash_table_replace(a.members, g_strdup(sha256 + 1), g_bytes_new_static(data, size));
                if (g_str_equal(name, "manifest.json"))
                        read_manifest(&a, data, size);
                if (g_str_equal(name, "heads.jsonl"))
                        bh_evidence_verifier_firsts(v, (const char *) data, size);
                if (!g_str_equal(name, "log"))
                        continue;
                log = TRUE;
                for (gsize i = 0; i < size;) {
                        const guint8 *end = memchr(data + i, '\n', size - i);
                        gsize n = end ? (gsize) (end - (data + i)) : size - i;

                        bh_evidence_verifier_line(v, (const char *) data + i, n);
                        i += n + 1;
                }
        }
        if (!log || cut) {
                g_set_error(error, BH_EVIDENCE_ERROR, BH_EVIDENCE_ERROR_LINE, "%s is no export of evidence: %s", path, cut ? "it is too large" : "there is no \"log\" in it");
                return NULL;
        }
        return bh_evidence_report_json(bh_evidence_verifier_end(v, open_member, &a));
}

/* A directory (a node's <data>/evidence) or an archive, without anybody's help. */
static int verify_here(const char *path, const char *heads_file, gboolean json) {
        g_autoptr(BhEvidenceVerifier) v = bh_evidence_verifier_new();
        g_autoptr(GError) error = NULL;
        const BhEvidenceReport *r = NULL;
        json_auto_t *report = NULL;

        if (!bh_evidence_init())
                return bh_cli_usage("the library of cryptography does not start");
        if (heads_file) {
                gsize len = 0;
                g_autofree char *text = bh_file_read(AT_FDCWD, heads_file, HEADS_MAX, &len, NULL, &error);

                if (!text || !bh_evidence_verifier_heads(v, text, len, &error))
                        return bh_cli_fail(error);
        }
        if (g_file_test(path, G_FILE_TEST_IS_DIR)) {
                if (bh_evidence_verify_dir(v, path, &r, &error))
                        report = bh_evidence_report_json(r);
        } else {
                report = verify_tar(v, path, &error);
        }
        if (!report)
                return bh_cli_fail(error);
        gboolean ok = json_is_true(json_object_get(report, "ok"));
        if (json)
                bh_out_json(report);
        else
                print_report(path, report);
        int code = bh_out_finish();
        return ok ? code : BH_EXIT_FAILED;
}

static int verify(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE, ok;
        g_autofree char *heads_file = NULL, *node = NULL;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "as JSON", NULL },
                { "heads", 0, 0, G_OPTION_ARG_FILENAME, &heads_file, "with PATH: heads that were kept elsewhere, as \"bulkhead evidence heads\" printed them", "FILE" },
                { "node", 0, 0, G_OPTION_ARG_STRING, &node, "only of this node", "NODE" },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GString) target = g_string_new("/api/v1/evidence/verify");
        g_autoptr(GError) error = NULL;
        json_t *n;
        size_t i;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, "[PATH]", "Verifies evidence: that nothing was changed, removed, reordered, cut short or written anew.",
                              "Without PATH: the central's copy, and against it what each connected node has. PATH is an exported archive,\n"
                              "or the directory \"evidence\" of a node's data; nobody else is asked then. Exit status 1: something is wrong.\n"))
                return BH_EXIT_USAGE;
        if (argc > 2)
                return bh_cli_usage("it takes one archive or directory, not \"%s\" as well", argv[2]);
        if (argc == 2)
                return verify_here(argv[1], heads_file, json);
        if (heads_file)
                return bh_cli_usage("--heads goes with an archive or a directory");
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        bh_api_param(target, "node", node);
        json_auto_t *answer = bh_api_get(api, target->str, &error);
        if (!answer)
                return bh_cli_fail(error);
        ok = json_is_true(json_object_get(json_object_get(answer, "central"), "ok"));
        if (!json)
                print_report("central", json_object_get(answer, "central"));
        json_array_foreach(json_object_get(answer, "nodes"), i, n) {
                json_t *report = json_object_get(json_object_get(n, "answer"), "report");
                g_autofree char *name = g_strdup_printf("node %s", bh_json_text(n, "node")), *why = bh_json_cell(n, "error");

                ok &= json_is_true(json_object_get(report, "ok"));
                if (!json && report)
                        print_report(name, report);
                else if (!json)
                        printf("%s: %s\n", name, why);
        }
        if (json)
                bh_out_json(answer);
        int code = bh_out_finish();
        return ok ? code : BH_EXIT_FAILED;
}

int bh_cmd_evidence(const BhCliPaths *paths, int argc, char **argv) {
        static const BhCliSub subs[] = {
                { "list", "", "what there is", list },
                { "show", "ID", "one item, or its bytes", show },
                { "export", "[ID]", "an archive that others can verify", export_ },
                { "heads", "", "the last item of each chain, to be kept elsewhere", heads },
                { "verify", "[PATH]", "whether anything was changed, removed, reordered, cut short or written anew", verify },
        };

        return bh_cli_sub(subs, G_N_ELEMENTS(subs), "Evidence: what nodes kept of attacks, signed and chained.", paths, argc, argv);
}

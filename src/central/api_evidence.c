/* SPDX-License-Identifier: Apache-2.0 */
/* evidence: what there is, its bytes, whether it is whole, and an archive that others can verify */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "ask.h"
#include "base/fdio.h"
#include "bus/bus.pb-c.h"
#include "evidence.h"
#include "evidence_archive.h"
#include "evidence/evidence.h"
#include "evidence_report.h"
#include "incident_now.h"
#include "json_out.h"
#include "routes.h"

#define EXPORT_ITEMS 10000u
#define EXPORT_LINES (16u << 20) /* of lines of items: beyond, or beyond their number, the oldest are not listed, and the manifest says that there are more */
#define EXPORT_WHOLE (16u << 20) /* of chains that go on to their end: evidence_archive.h */
#define EXPORT_BYTES (64u << 20) /* objects beyond are named as left out */

static gboolean number(const char *text, guint64 *out) {
        char *end;

        *out = text ? g_ascii_strtoull(text, &end, 10) : 0;
        return text && g_ascii_isdigit(*text) && !*end && *out && strlen(text) < 16;
}

static gboolean read_filter(BhCall *call, BhStoreEvidenceFilter *f) {
        const char *incident = bh_call_param(call, "incident");

        *f = (BhStoreEvidenceFilter){
                .node = bh_call_param(call, "node"),
                .container = bh_call_param(call, "container"),
                .finding = bh_call_param(call, "finding"),
                .kind = bh_call_param(call, "kind"),
        };
        if (!bh_call_time(call, "since", &f->since_ns) || !bh_call_time(call, "until", &f->until_ns))
                return FALSE;
        if (incident && !number(incident, &f->incident)) {
                bh_call_error(call, 400, "bad_incident", "\"incident\" must be the number of an incident");
                return FALSE;
        }
        return TRUE;
}

/* ---- items ---- */

/* "here", "dropped", "missing" (not yet, or lost on the way), "none". */
static const char *state_of(BhCall *call, const BhStoreEvidence *e) {
        g_autofree char *why = NULL;

        if (!*e->sha256)
                return "none";
        g_auto(BhFd) fd = bh_evidence_open(call->central, e->sha256);
        if (fd >= 0)
                return "here";
        return bh_store_evidence_is_dropped(call->central->store, e->sha256, &why, NULL) && why ? "dropped" : "missing";
}

static void append_item(BhCall *call, GString *out, const BhStoreEvidence *e, gboolean whole) {
        json_auto_t *facts = json_loadb(e->line, strlen(e->line) > 129 ? strlen(e->line) - 129 : 0, 0, NULL);
        json_t *container = json_object_get(facts, "container"), *process = json_object_get(facts, "process");

        bh_json_open(out, NULL, '{');
        bh_json_uint(out, "id", (guint64) e->serial);
        bh_json_text(out, "kind", e->kind);
        bh_json_text(out, "node", e->node);
        bh_json_time(out, "time", e->time_ns);
        bh_json_time(out, "received", e->received_ns);
        bh_json_text(out, "why", json_string_value(json_object_get(facts, "why")));
        bh_json_text(out, "path", json_string_value(json_object_get(facts, "path")));
        bh_json_text(out, "rule", json_string_value(json_object_get(facts, "rule")));
        bh_json_text(out, "finding", e->finding);
        bh_json_text(out, "container_id", e->container_id);
        bh_json_text(out, "container_name", json_string_value(json_object_get(container, "name")));
        bh_json_text(out, "workload", json_string_value(json_object_get(container, "workload")));
        bh_json_uint(out, "pid", e->pid);
        bh_json_time(out, "process_start", e->start_ns);
        bh_json_text(out, "exe", json_string_value(json_object_get(process, "exe")));
        bh_json_text(out, "args", json_string_value(json_object_get(process, "args")));
        bh_json_text(out, "sha256", *e->sha256 ? e->sha256 : NULL);
        bh_json_uint(out, "size", e->size);
        bh_json_bool(out, "cut", json_is_true(json_object_get(json_object_get(facts, "object"), "cut")));
        bh_json_text(out, "data", state_of(call, e));
        bh_json_text(out, "chain", e->chain);
        bh_json_uint(out, "seq", e->seq);
        if (whole)
                bh_json_text(out, "line", e->line);
        bh_json_close(out, '}');
}

static void view_row(GString *out, gconstpointer row, gpointer data) {
        append_item(data, out, row, FALSE);
}

void bh_api_evidence(BhCall *call) {
        BhStoreEvidenceFilter f;
        gboolean counted = FALSE;
        GError *error = NULL;
        guint64 total = 0;
        guint limit;

        if (!bh_call_limit(call, BH_STORE_LIMIT_MAX, &limit) || !bh_call_flag(call, "count", &counted) || !read_filter(call, &f))
                return;
        BhStorePage *page = bh_store_evidence(call->central->store, &f, bh_call_param(call, "cursor"), limit, &error);
        if (page && counted)
                bh_store_evidence_count(call->central->store, &f, &total, &error);
        bh_call_page(call, "evidence", page, view_row, call, counted ? &total : NULL, error);
}

static BhStoreEvidence *item_of(BhCall *call) {
        GError *error = NULL;
        guint64 id;

        if (!number(call->captures[0], &id)) {
                bh_call_error(call, 404, "not_found", "there is no evidence of that number: GET /api/v1/evidence lists what there is");
                return NULL;
        }
        BhStoreEvidence *e = bh_store_evidence_item(call->central->store, (gint64) id, &error);
        if (!e)
                bh_call_store_error(call, error);
        return e;
}

void bh_api_evidence_item(BhCall *call) {
        g_autoptr(BhStoreEvidence) e = item_of(call);

        if (!e)
                return;
        GString *out = g_string_sized_new(4096);
        append_item(call, out, e, TRUE);
        bh_call_json(call, 200, out);
}

static GBytes *bytes_of(BhCentral *c, const char *sha256) {
        g_auto(BhFd) fd = bh_evidence_open(c, sha256);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) || st.st_size > BH_CENTRAL_OBJECT_MAX)
                return NULL;
        g_autofree char *data = g_malloc((gsize) st.st_size + 1);
        if (!bh_fd_read_all(fd, data, (gsize) st.st_size, NULL, sha256, NULL))
                return NULL;
        return g_bytes_new_take(g_steal_pointer(&data), (gsize) st.st_size);
}

void bh_api_evidence_data(BhCall *call) {
        g_autoptr(BhStoreEvidence) e = item_of(call);
        g_autofree char *name = NULL;

        if (!e)
                return;
        GBytes *bytes = *e->sha256 ? bytes_of(call->central, e->sha256) : NULL;
        if (!bytes) {
                const char *state = state_of(call, e);

                bh_call_error(call, 404, "no_data", g_str_equal(state, "none")      ? "this item has no bytes"
                                                    : g_str_equal(state, "dropped") ? "its bytes were dropped for the bound (setting evidence.mib)"
                                                                                    : "its bytes have not come, or were lost on the way: the node may have them still");
                return;
        }
        /* what attackers wrote is to be saved, never shown by a browser */
        name = g_strdup_printf("attachment; filename=\"%.64s.bin\"", e->sha256);
        bh_http_add_header(call->http, "Content-Disposition", name);
        bh_http_answer(call->http, 200, "application/octet-stream", bytes);
}

/* ---- heads ---- */

static void append_heads(GString *out, const GPtrArray *chains) {
        for (guint i = 0; i < chains->len; i++)
                bh_evidence_append_head(out, chains->pdata[i], FALSE);
}

void bh_api_evidence_heads(BhCall *call) {
        GError *error = NULL;
        g_autoptr(GPtrArray) chains = bh_store_evidence_chains(call->central->store, bh_call_param(call, "node"), &error);

        if (!chains) {
                bh_call_store_error(call, error);
                return;
        }
        GString *out = g_string_new(NULL);
        append_heads(out, chains);
        bh_http_answer(call->http, 200, "application/x-ndjson", g_string_free_to_bytes(out));
}

/* ---- verification ---- */

static int open_here(const char *sha256, gpointer data) {
        BhCall *call = data;
        g_autofree char *why = NULL;
        int fd = bh_evidence_open(call->central, sha256);

        if (fd < 0 && bh_store_evidence_is_dropped(call->central->store, sha256, &why, NULL) && why)
                return -2;
        return fd;
}

static gboolean each_line(G_GNUC_UNUSED guint64 seq, const char *line, gsize len, gpointer data) {
        bh_evidence_verifier_line(data, line, len);
        return TRUE;
}

/* The central's own copy. */
static gboolean verify_here(BhCall *call, const GPtrArray *chains, GString *out, GError **error) {
        g_autoptr(BhEvidenceVerifier) v = bh_evidence_verifier_new();
        g_autoptr(GHashTable) last = g_hash_table_new(g_str_hash, g_str_equal); /* node → its chain before */

        for (guint i = 0; i < chains->len; i++) {
                BhStoreEvidenceChain *x = chains->pdata[i];
                const BhStoreEvidenceChain *before = g_hash_table_lookup(last, x->node);

                if (before)
                        bh_evidence_verifier_problem(v, "begun_anew", 0, g_strdup_printf("node %s goes on with chain %.16s, not with chain %.16s, of which %" G_GUINT64_FORMAT " items are here: its evidence there was "
                                                             "tampered with, or its data directory was removed", x->node, x->chain, before->chain, before->last_seq));
                g_hash_table_insert(last, x->node, x);
                if (x->first_seq <= x->last_seq)
                        bh_evidence_verifier_head(v, x->chain, x->last_seq, x->hash);
                for (guint n = 0; n < x->gaps->len; n++)
                        bh_evidence_verifier_gap(v, x->chain, g_array_index(x->gaps, guint64, n));
                if (x->first_seq > 1)
                        bh_evidence_verifier_begins(v, x->chain, x->first_seq);
                if (x->conflicts)
                        bh_evidence_verifier_problem(v, "rewritten", 0, g_strdup_printf("node %s sent %" G_GUINT64_FORMAT " items again with other contents: its chain was rewritten there", x->node, x->conflicts));
                if (!bh_store_evidence_lines(call->central->store, x->chain, 1, each_line, v, error))
                        return FALSE;
        }
        json_auto_t *report = bh_evidence_report_json(bh_evidence_verifier_end(v, open_here, call));
        char *text = json_dumps(report, JSON_COMPACT | JSON_ENSURE_ASCII);
        bh_json_raw(out, "central", text);
        free(text);
        return TRUE;
}

static void append_node(GString *out, const BhAnswer *a) {
        g_autoptr(GString) text = g_string_new(NULL);

        for (guint k = 0; k < a->chunks->len; k++) {
                gsize len;
                const char *part = g_bytes_get_data(a->chunks->pdata[k], &len);

                g_string_append_len(text, part, (gssize) len);
        }
        json_auto_t *answer = json_loadb(text->str, text->len, 0, NULL); /* a node's: it may be anything */
        char *good = json_is_object(answer) ? json_dumps(answer, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
        bh_json_open(out, NULL, '{');
        bh_json_text(out, "node", a->node);
        bh_json_text(out, "error", a->error ? a->error : good ? NULL : "it sent no answer that can be read");
        bh_json_raw(out, "answer", good);
        bh_json_close(out, '}');
        free(good);
}

/* The head that a node is asked to compare: those of others would be missing there, and chains that were set aside before are not in its log any more; the one that it goes on with is the last. */
static GBytes *last_head(BhCall *call, const char *node) {
        g_autoptr(GPtrArray) own = bh_store_evidence_chains(call->central->store, node, NULL);
        GString *out = g_string_new(NULL);

        if (own && own->len) {
                g_ptr_array_remove_range(own, 0, own->len - 1);
                append_heads(out, own);
        }
        return g_string_free_to_bytes(out);
}

/* All at once. FALSE: answered. */
/* Nodes that have evidence and are not connected: nobody knows what theirs is like. */
static void append_away(GString *out, const GPtrArray *chains, const char *const *here) {
        g_autoptr(GHashTable) said = g_hash_table_new(g_str_hash, g_str_equal);

        for (guint i = 0; i < chains->len; i++) {
                char *node = ((BhStoreEvidenceChain *) chains->pdata[i])->node;

                if (g_strv_contains(here, node) || !g_hash_table_add(said, node))
                        continue;
                bh_json_open(out, NULL, '{');
                bh_json_text(out, "node", node);
                bh_json_text(out, "error", "it is not connected now");
                bh_json_raw(out, "answer", NULL);
                bh_json_close(out, '}');
        }
}

static gboolean verify_nodes(BhCall *call, const GPtrArray *chains, GString *out) {
        g_auto(GStrv) here = bh_bus_listener_nodes(call->central->bus);
        const char *wanted = bh_call_param(call, "node");
        g_autoptr(GPtrArray) nodes = g_ptr_array_new(), bodies = g_ptr_array_new_with_free_func((GDestroyNotify) g_bytes_unref);

        for (guint i = 0; here[i]; i++) {
                if (wanted && strcmp(wanted, here[i]))
                        continue;
                g_ptr_array_add(nodes, here[i]);
                g_ptr_array_add(bodies, last_head(call, here[i]));
        }
        append_away(out, chains, (const char *const *) here);
        if (!nodes->len)
                return TRUE;
        g_ptr_array_add(nodes, NULL);
        g_autoptr(BhAsk) q = bh_ask_each(call, (const char *const *) nodes->pdata, "evidence_verify", bodies);
        for (guint k = 0; q && k < q->answers->len; k++)
                append_node(out, q->answers->pdata[k]);
        return q != NULL;
}

void bh_api_evidence_verify(BhCall *call) {
        GError *error = NULL;
        g_autoptr(GPtrArray) chains = bh_store_evidence_chains(call->central->store, bh_call_param(call, "node"), &error);
        gboolean nodes = TRUE;
        GString *out;

        if (!bh_call_flag(call, "nodes", &nodes)) {
                g_clear_error(&error);
                return;
        }
        out = g_string_sized_new(4096);
        bh_json_open(out, NULL, '{');
        if (!chains || !verify_here(call, chains, out, &error)) {
                g_string_free(out, TRUE);
                bh_call_store_error(call, error);
                return;
        }
        bh_json_open(out, "nodes", '[');
        if (nodes && !verify_nodes(call, chains, out)) {
                g_string_free(out, TRUE);
                return;
        }
        bh_json_close(out, ']');
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}

/* ---- export ---- */

static const char how_to[] =
        "Evidence exported by Bulkhead\n\n"
        "log             the chains that this evidence is part of, from its first item on: a JSON object, a blank, an Ed25519 signature (hexadecimal)\n"
        "heads.jsonl     the last item of each chain as the central knew it; \"first\": what was before that item is not here; \"gaps\": nor what was directly before these\n"
        "objects/        bytes, named by their SHA-256\n"
        "report.html     of an incident: what happened, and what of it is here, for people\n"
        "manifest.json   what of it belongs to what was asked for, and what was left out\n\n"
        "To verify: bulkhead evidence verify THIS.tar --heads FILE, with heads that were kept elsewhere.\n"
        "Without Bulkhead, for each line of log: the signature is over \"bulkhead-evidence-1\\n\" and the JSON text, with the key \"key\";\n"
        "\"key\" is \"next\" of the line before (of item 1: \"chain\"); \"prev\" is the SHA-256 of the whole line before, without its line end;\n"
        "\"seq\" counts 1, 2, 3, but for what heads.jsonl names; \"object\".\"sha256\" is the SHA-256 of the file in objects/; lines of heads.jsonl that were kept elsewhere have \"seq\" and \"sha256\" of a line.\n";

/* FALSE: answered. */
static gboolean add_chains(BhCall *call, GByteArray *tar, const GPtrArray *rows, gint64 now_s, guint *parted) {
        g_autoptr(GString) log = g_string_new(NULL), heads = g_string_new(NULL);
        GError *error = NULL;

        if (!bh_evidence_archive_chains(call->central->store, rows, EXPORT_WHOLE, log, heads, parted, &error)) {
                bh_call_store_error(call, error);
                return FALSE;
        }
        bh_tar_add(tar, "log", log->str, log->len, now_s);
        bh_tar_add(tar, "heads.jsonl", heads->str, heads->len, now_s);
        return TRUE;
}

/* The latest, as far as the bounds go. FALSE: answered. */
static gboolean list_items(BhCall *call, const BhStoreEvidenceFilter *f, GPtrArray *rows, gboolean *more) {
        g_autofree char *cursor = NULL;
        gsize bytes = 0;

        for (*more = FALSE;;) {
                GError *error = NULL;
                g_autoptr(BhStorePage) page = bh_store_evidence(call->central->store, f, cursor, BH_STORE_LIMIT_MAX, &error);

                if (!page) {
                        bh_call_store_error(call, error);
                        return FALSE;
                }
                while (page->rows->len) {
                        const BhStoreEvidence *e = page->rows->pdata[0];

                        bytes += strlen(e->line) + 1;
                        *more = rows->len == EXPORT_ITEMS || bytes > EXPORT_LINES;
                        if (*more)
                                return TRUE;
                        g_ptr_array_add(rows, g_ptr_array_steal_index(page->rows, 0));
                }
                if (!page->next)
                        return TRUE;
                g_free(cursor);
                cursor = g_strdup(page->next);
        }
}

/* Without the incident there is none: its evidence is worth no less. */
static void add_report(BhCall *call, GByteArray *tar, guint64 incident, const GPtrArray *rows, gint64 now_s) {
        g_autoptr(BhStoreIncident) i = bh_store_incident(call->central->store, incident, NULL);
        g_autofree char *now = i ? bh_incident_now_whole(call->central, i) : NULL;
        GString *html = i ? bh_evidence_report_html(i, now, now_s * 1000000000, rows) : NULL;

        if (!html)
                return;
        bh_tar_add(tar, "report.html", html->str, html->len, now_s);
        g_string_free(html, TRUE);
}

void bh_api_evidence_export(BhCall *call) {
        const char *item = bh_call_param(call, "item");
        g_autoptr(GHashTable) had = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_autoptr(GByteArray) tar = g_byte_array_new();
        g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify) bh_store_evidence_free);
        gint64 now_s = g_get_real_time() / G_USEC_PER_SEC;
        BhStoreEvidenceFilter f;
        GError *error = NULL;
        gboolean more = FALSE;
        guint parted = 0;
        guint64 id;

        if (!read_filter(call, &f))
                return;
        if (item) {
                BhStoreEvidence *e = number(item, &id) ? bh_store_evidence_item(call->central->store, (gint64) id, &error) : NULL;

                if (!e && !error) {
                        bh_call_error(call, 400, "bad_item", "\"item\" must be the number of an item of evidence");
                        return;
                }
                if (!e) {
                        bh_call_store_error(call, error);
                        return;
                }
                g_ptr_array_add(rows, e);
        } else if (!list_items(call, &f, rows, &more)) {
                return;
        }

        GString *manifest = g_string_sized_new(4096);
        bh_json_open(manifest, NULL, '{');
        bh_json_time(manifest, "exported", g_get_real_time() * 1000);
        bh_json_uint(manifest, "incident", f.incident);
        bh_json_bool(manifest, "more_items", more);
        bh_json_uint(manifest, "max_items", EXPORT_ITEMS);
        bh_json_uint(manifest, "max_item_bytes", EXPORT_LINES);
        bh_json_open(manifest, "items", '[');
        for (guint i = 0; i < rows->len; i++)
                append_item(call, manifest, rows->pdata[i], FALSE);
        bh_json_close(manifest, ']');
        bh_tar_add(tar, "README", how_to, strlen(how_to), now_s);
        if (f.incident)
                add_report(call, tar, f.incident, rows, now_s);
        if (!add_chains(call, tar, rows, now_s, &parted)) {
                g_string_free(manifest, TRUE);
                return;
        }
        bh_json_uint(manifest, "chains_in_parts", parted);
        bh_json_open(manifest, "objects", '[');
        GString *out_list = g_string_new(NULL);
        for (guint i = 0; i < rows->len; i++) {
                const BhStoreEvidence *e = rows->pdata[i];
                char name[100];

                if (!*e->sha256 || !g_hash_table_add(had, g_strdup(e->sha256)))
                        continue;
                g_autoptr(GBytes) bytes = tar->len + e->size < EXPORT_BYTES ? bytes_of(call->central, e->sha256) : NULL;
                if (!bytes) {
                        bh_json_text(out_list, NULL, e->sha256);
                        continue;
                }
                g_snprintf(name, sizeof(name), "objects/%.2s/%s", e->sha256, e->sha256);
                bh_tar_add(tar, name, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), e->time_ns / 1000000000);
                bh_json_text(manifest, NULL, e->sha256);
        }
        bh_json_close(manifest, ']');
        bh_json_open(manifest, "left_out", '[');
        g_string_append(manifest, out_list->str);
        g_string_free(out_list, TRUE);
        bh_json_close(manifest, ']');
        bh_json_close(manifest, '}');
        bh_json_end(manifest);
        g_string_append_c(manifest, '\n');
        bh_tar_add(tar, "manifest.json", manifest->str, manifest->len, now_s);
        g_string_free(manifest, TRUE);
        bh_tar_add(tar, NULL, NULL, 0, 0);
        bh_http_add_header(call->http, "Content-Disposition", "attachment; filename=\"bulkhead-evidence.tar\"");
        bh_http_answer(call->http, 200, "application/x-tar", g_byte_array_free_to_bytes(g_steal_pointer(&tar)));
}

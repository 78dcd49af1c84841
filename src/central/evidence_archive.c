/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence_archive.h"

#include <string.h>

#include "json_out.h"

void bh_evidence_append_head(GString *out, const BhStoreEvidenceChain *x, gboolean gaps) {
        bh_json_open(out, NULL, '{');
        bh_json_text(out, "node", x->node);
        bh_json_text(out, "chain", x->chain);
        bh_json_uint(out, "seq", x->last_seq);
        bh_json_text(out, "sha256", x->hash);
        bh_json_text(out, "next", x->next);
        bh_json_uint(out, "first", x->first_seq);
        if (gaps) {
                bh_json_open(out, "gaps", '[');
                for (guint i = 0; i < x->gaps->len; i++)
                        bh_json_uint(out, NULL, g_array_index(x->gaps, guint64, i));
                bh_json_close(out, ']');
        }
        bh_json_close(out, '}');
        bh_json_end(out);
        g_string_append_c(out, '\n');
}

/* A chain's lines as they are added to the log. */
typedef struct {
        GString *log;
        gsize max;           /* of the log; 0: none */
        guint64 first, last; /* numbers of what was added; 0: nothing */
        GArray *gaps;        /* of guint64 */
        gboolean full;
} Part;

static void add_line(Part *p, guint64 seq, const char *line, gsize len) {
        if (!p->first)
                p->first = seq;
        else if (seq != p->last + 1)
                g_array_append_val(p->gaps, seq);
        p->last = seq;
        g_string_append_len(p->log, line, (gssize) len);
        g_string_append_c(p->log, '\n');
}

static gboolean each_line(guint64 seq, const char *line, gsize len, gpointer data) {
        Part *p = data;

        p->full = p->max && p->log->len + len >= p->max;
        if (!p->full)
                add_line(p, seq, line, len);
        return !p->full;
}

static gint by_number(gconstpointer a, gconstpointer b) {
        const BhStoreEvidence *x = *(BhStoreEvidence *const *) a, *y = *(BhStoreEvidence *const *) b;

        return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static void part_clear(Part *p, gsize log_len) {
        g_string_truncate(p->log, log_len);
        g_array_set_size(p->gaps, 0);
        p->first = p->last = 0;
}

static gboolean says(const BhStoreEvidenceChain *c, guint64 seq) {
        for (guint i = 0; i < c->gaps->len; i++)
                if (g_array_index(c->gaps, guint64, i) == seq)
                        return TRUE;
        return c->first_seq == seq;
}

/* Of the places where something is missing those that the store knows of, before or after the lines were read: what is merely missing is for the verification to find. */
static gboolean check_gaps(BhStore *s, const BhStoreEvidenceChain *c, GArray *gaps, GError **error) {
        g_autoptr(GPtrArray) later = gaps->len ? bh_store_evidence_chains(s, NULL, error) : NULL;

        if (gaps->len && !later)
                return FALSE;
        for (guint i = gaps->len; i-- > 0;) {
                guint64 seq = g_array_index(gaps, guint64, i);
                gboolean known = says(c, seq);

                for (guint n = 0; !known && n < later->len; n++) {
                        const BhStoreEvidenceChain *x = later->pdata[n];

                        known = g_str_equal(x->chain, c->chain) && says(x, seq);
                }
                if (!known)
                        g_array_remove_index(gaps, i);
        }
        return TRUE;
}

/* `own`: the wanted items of this chain, in their order. */
static gboolean add_chain(BhStore *s, BhStoreEvidenceChain *c, const GPtrArray *own, gsize whole_max, GString *log, guint *parted, GError **error) {
        g_autoptr(GArray) gaps = g_array_new(FALSE, FALSE, sizeof(guint64));
        const BhStoreEvidence *first = own->pdata[0], *last = own->pdata[own->len - 1];
        Part p = { .log = log, .max = whole_max, .gaps = gaps };
        gsize before = log->len;

        if (before < whole_max && !bh_store_evidence_lines(s, c->chain, first->seq, each_line, &p, error))
                return FALSE;
        if (before < whole_max && !p.full) {
                if (!check_gaps(s, c, gaps, error))
                        return FALSE;
        } else {
                ++*parted;
                part_clear(&p, before);
                p.max = 0;
                for (guint i = 0; i < own->len; i++) {
                        const BhStoreEvidence *e = own->pdata[i];

                        add_line(&p, e->seq, e->line, strlen(e->line));
                }
                if (c->last_seq > last->seq && !bh_store_evidence_lines(s, c->chain, MAX(c->last_seq, last->seq + 1), each_line, &p, error))
                        return FALSE;
        }
        c->first_seq = p.first ? p.first : first->seq;
        g_array_set_size(c->gaps, 0);
        if (gaps->len)
                g_array_append_vals(c->gaps, gaps->data, gaps->len);
        return TRUE;
}

gboolean bh_evidence_archive_chains(BhStore *s, const GPtrArray *rows, gsize whole_max, GString *log, GString *heads, guint *parted, GError **error) {
        g_autoptr(GPtrArray) chains = bh_store_evidence_chains(s, NULL, error);
        g_autoptr(GHashTable) wanted = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify) g_ptr_array_unref); /* chain → its rows */

        *parted = 0;
        if (!chains)
                return FALSE;
        for (guint i = 0; i < rows->len; i++) {
                BhStoreEvidence *e = rows->pdata[i];
                GPtrArray *own = g_hash_table_lookup(wanted, e->chain);

                if (!own) {
                        own = g_ptr_array_new();
                        g_hash_table_insert(wanted, e->chain, own);
                }
                g_ptr_array_add(own, e);
        }
        for (guint i = 0; i < chains->len; i++) {
                BhStoreEvidenceChain *c = chains->pdata[i];
                GPtrArray *own = g_hash_table_lookup(wanted, c->chain);

                if (!own)
                        continue;
                g_ptr_array_sort(own, by_number);
                if (!add_chain(s, c, own, whole_max, log, parted, error))
                        return FALSE;
                bh_evidence_append_head(heads, c, TRUE);
        }
        return TRUE;
}

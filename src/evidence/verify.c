/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fdio.h"
#include "evidence/evidence.h"

#define LOG_MAX (256u << 20)

typedef struct {
        char chain[BH_EVIDENCE_HEX], hash[BH_EVIDENCE_HEX];
        guint64 seq;
        gboolean seen;
} Head;

typedef struct {
        guint64 used, dropped, size; /* numbers, counted over all chains */
        guint64 seq;                 /* of the last item that has it */
} Object;

/* Items that are missing within a chain. */
typedef struct {
        char chain[BH_EVIDENCE_HEX];
        guint64 first, last;
} Jump;

struct BhEvidenceVerifier {
        GPtrArray *heads;    /* Head */
        GHashTable *by_line; /* "chain seq" → Head */
        GHashTable *last;    /* chain → guint64 *, its last number */
        GHashTable *objects; /* sha256 → Object */
        GHashTable *begins;  /* "chain seq": an item with which a chain may begin */
        GHashTable *gaps;    /* "chain seq": an item with which a chain may go on behind missing ones */
        GPtrArray *late;     /* "chain seq": those that chains begin with beyond 1 */
        GPtrArray *jumps;    /* Jump */
        guint64 order;
        char next[BH_EVIDENCE_HEX];
        BhEvidenceReport report;
};

static void problem_free(gpointer p) {
        g_free(((BhEvidenceProblem *) p)->text);
        g_free(p);
}

BhEvidenceVerifier *bh_evidence_verifier_new(void) {
        BhEvidenceVerifier *v = g_new0(BhEvidenceVerifier, 1);

        v->heads = g_ptr_array_new_with_free_func(g_free);
        v->by_line = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        v->last = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        v->objects = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        v->begins = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        v->gaps = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        v->late = g_ptr_array_new_with_free_func(g_free);
        v->jumps = g_ptr_array_new_with_free_func(g_free);
        v->report.told = g_ptr_array_new_with_free_func(problem_free);
        return v;
}

void bh_evidence_verifier_free(BhEvidenceVerifier *v) {
        if (!v)
                return;
        g_hash_table_unref(v->by_line);
        g_hash_table_unref(v->last);
        g_hash_table_unref(v->objects);
        g_hash_table_unref(v->begins);
        g_hash_table_unref(v->gaps);
        g_ptr_array_unref(v->late);
        g_ptr_array_unref(v->jumps);
        g_ptr_array_unref(v->heads);
        g_ptr_array_unref(v->report.told);
        g_free(v);
}

void bh_evidence_verifier_problem(BhEvidenceVerifier *v, const char *what, guint64 seq, char *text) {
        v->report.problems++;
        if (v->report.told->len >= BH_EVIDENCE_PROBLEMS) {
                g_free(text);
                return;
        }
        BhEvidenceProblem *p = g_new0(BhEvidenceProblem, 1);
        p->what = what;
        p->seq = seq;
        p->text = text;
        g_ptr_array_add(v->report.told, p);
}

void bh_evidence_verifier_head(BhEvidenceVerifier *v, const char *chain, guint64 seq, const char *hash) {
        g_autofree char *key = g_strdup_printf("%s %" G_GUINT64_FORMAT, chain, seq);
        const Head *known = g_hash_table_lookup(v->by_line, key);

        if (!seq || (known && !strcmp(known->hash, hash)))
                return;
        if (known) {
                bh_evidence_verifier_problem(v, "rewritten", seq, g_strdup_printf("two heads that were kept elsewhere contradict each other about item %" G_GUINT64_FORMAT " of chain %.16s", seq, chain));
                return;
        }
        Head *h = g_new0(Head, 1);
        g_strlcpy(h->chain, chain, sizeof(h->chain));
        g_strlcpy(h->hash, hash, sizeof(h->hash));
        h->seq = seq;
        g_ptr_array_add(v->heads, h);
        g_hash_table_insert(v->by_line, g_steal_pointer(&key), h);
}

gboolean bh_evidence_verifier_heads(BhEvidenceVerifier *v, const char *text, gsize len, GError **error) {
        guint line = 0;

        for (gsize at = 0; at < len;) {
                const char *end = memchr(text + at, '\n', len - at);
                gsize n = end ? (gsize) (end - (text + at)) : len - at;
                json_auto_t *o = n ? json_loadb(text + at, n, 0, NULL) : NULL;
                const char *chain = json_string_value(json_object_get(o, "chain")), *hash = json_string_value(json_object_get(o, "sha256"));
                json_int_t seq = json_integer_value(json_object_get(o, "seq"));

                at += n + 1;
                line++;
                if (!n)
                        continue;
                if (!bh_evidence_is_hash(chain) || !bh_evidence_is_hash(hash) || seq <= 0) {
                        g_set_error(error, BH_EVIDENCE_ERROR, BH_EVIDENCE_ERROR_LINE, "line %u of the heads is none: each is a JSON object with chain, seq and sha256, as \"bulkhead evidence heads\" writes them", line);
                        return FALSE;
                }
                bh_evidence_verifier_head(v, chain, (guint64) seq, hash);
        }
        return TRUE;
}

void bh_evidence_verifier_begins(BhEvidenceVerifier *v, const char *chain, guint64 seq) {
        g_hash_table_add(v->begins, g_strdup_printf("%s %" G_GUINT64_FORMAT, chain, seq));
}

void bh_evidence_verifier_gap(BhEvidenceVerifier *v, const char *chain, guint64 seq) {
        g_hash_table_add(v->gaps, g_strdup_printf("%s %" G_GUINT64_FORMAT, chain, seq));
}

void bh_evidence_verifier_firsts(BhEvidenceVerifier *v, const char *text, gsize len) {
        for (gsize at = 0; at < len;) {
                const char *end = memchr(text + at, '\n', len - at);
                gsize n = end ? (gsize) (end - (text + at)) : len - at;
                json_auto_t *o = n ? json_loadb(text + at, n, 0, NULL) : NULL;
                const char *chain = json_string_value(json_object_get(o, "chain"));
                json_int_t first = json_integer_value(json_object_get(o, "first"));
                json_t *gap;
                size_t i;

                if (bh_evidence_is_hash(chain) && first > 1)
                        bh_evidence_verifier_begins(v, chain, (guint64) first);
                json_array_foreach(bh_evidence_is_hash(chain) ? json_object_get(o, "gaps") : NULL, i, gap)
                        if (json_integer_value(gap) > 1)
                                bh_evidence_verifier_gap(v, chain, (guint64) json_integer_value(gap));
                at += n + 1;
        }
}

/* ---- lines ---- */

static Object *object_of(BhEvidenceVerifier *v, const char *sha256) {
        Object *o = g_hash_table_lookup(v->objects, sha256);

        if (!o) {
                o = g_new0(Object, 1);
                g_hash_table_insert(v->objects, g_strdup(sha256), o);
        }
        return o;
}

static void note_objects(BhEvidenceVerifier *v, const BhEvidenceLine *l) {
        json_t *gone = json_object_get(l->facts, "dropped"), *one;
        size_t i;

        v->order++;
        if (l->object) {
                Object *o = object_of(v, l->object);

                o->used = v->order;
                o->size = l->size;
                o->seq = l->seq;
        }
        if (g_str_equal(l->kind, "rotated") && json_integer_value(json_object_get(l->facts, "first")) > 0)
                bh_evidence_verifier_begins(v, l->chain, (guint64) json_integer_value(json_object_get(l->facts, "first")));
        const char *why = g_str_equal(l->kind, "begin") ? json_string_value(json_object_get(l->facts, "why")) : NULL;
        if (why)
                bh_evidence_verifier_problem(v, "begun_anew", l->seq, g_strdup_printf("the node began chain %.16s anew, for the one before it was tampered with: %s", l->chain, why));
        if (g_str_equal(l->kind, "dropped"))
                json_array_foreach(gone, i, one)
                        if (bh_evidence_is_hash(json_string_value(one)))
                                object_of(v, json_string_value(one))->dropped = v->order;
}

static void note_jump(BhEvidenceVerifier *v, const BhEvidenceLine *l, guint64 first) {
        Jump *j = g_new0(Jump, 1);

        g_strlcpy(j->chain, l->chain, sizeof(j->chain));
        j->first = first;
        j->last = l->seq - 1;
        g_ptr_array_add(v->jumps, j);
}

static void follow(BhEvidenceVerifier *v, const BhEvidenceLine *l) {
        BhEvidenceReport *r = &v->report;

        if (strcmp(r->chain, l->chain)) {
                if (g_hash_table_contains(v->last, l->chain))
                        bh_evidence_verifier_problem(v, "order", l->seq, g_strdup_printf("item %" G_GUINT64_FORMAT " of chain %.16s stands within another chain", l->seq, l->chain));
                r->chains++;
                r->first_seq = l->seq;
                if (l->seq > 1)
                        g_ptr_array_add(v->late, g_strdup_printf("%s %" G_GUINT64_FORMAT, l->chain, l->seq));
                if (l->seq == 1 && (strcmp(l->key, l->chain) || *l->prev))
                        bh_evidence_verifier_problem(v, "rewritten", 1, g_strdup_printf("the first item of chain %.16s is not signed with the key that gives the chain its name", l->chain));
                return;
        }
        if (l->seq <= r->last_seq)
                bh_evidence_verifier_problem(v, "order", l->seq, g_strdup_printf("item %" G_GUINT64_FORMAT " stands behind item %" G_GUINT64_FORMAT ": items were swapped or doubled", l->seq, r->last_seq));
        else if (l->seq > r->last_seq + 1)
                note_jump(v, l, r->last_seq + 1);
        else if (strcmp(l->key, v->next))
                bh_evidence_verifier_problem(v, "rewritten", l->seq, g_strdup_printf("item %" G_GUINT64_FORMAT " is signed with another key than the one that was due: it was written anew by somebody who had no key of that time", l->seq));
        else if (strcmp(l->prev, r->hash))
                bh_evidence_verifier_problem(v, "changed", l->seq, g_strdup_printf("item %" G_GUINT64_FORMAT " does not follow the item before it: that one was changed", l->seq));
}

void bh_evidence_verifier_line(BhEvidenceVerifier *v, const char *text, gsize len) {
        g_auto(BhEvidenceLine) l = { 0 };
        BhEvidenceReport *r = &v->report;
        g_autoptr(GError) error = NULL;

        r->items++;
        if (!bh_evidence_read(text, len, &l, &error)) {
                bh_evidence_verifier_problem(v, "changed", 0, g_strdup_printf("line %" G_GUINT64_FORMAT ": %s", r->items, error->message));
                return;
        }
        follow(v, &l);
        note_objects(v, &l);

        g_autofree char *key = g_strdup_printf("%s %" G_GUINT64_FORMAT, l.chain, l.seq);
        Head *h = g_hash_table_lookup(v->by_line, key);
        if (h) {
                r->anchors += !h->seen;
                h->seen = TRUE;
                if (strcmp(h->hash, l.hash))
                        bh_evidence_verifier_problem(v, "rewritten", l.seq, g_strdup_printf("item %" G_GUINT64_FORMAT " is another one than it was: a head that was kept elsewhere has another hash of it", l.seq));
        }
        g_strlcpy(r->chain, l.chain, sizeof(r->chain));
        g_strlcpy(r->hash, l.hash, sizeof(r->hash));
        g_strlcpy(r->next, l.next, sizeof(r->next));
        g_strlcpy(v->next, l.next, sizeof(v->next));
        r->last_seq = l.seq;
        guint64 *last = g_new(guint64, 1);
        *last = l.seq;
        g_hash_table_replace(v->last, g_strdup(l.chain), last);
}

/* ---- the end ---- */

static void check_object(BhEvidenceVerifier *v, const char *sha256, const Object *o, int taken) {
        g_auto(BhFd) fd = taken;
        crypto_hash_sha256_state state;
        guint8 buf[65536], h[crypto_hash_sha256_BYTES];
        char hex[BH_EVIDENCE_HEX];
        ssize_t n;

        if (taken == -2) {
                v->report.absent++;
                return;
        }
        if (fd < 0) {
                bh_evidence_verifier_problem(v, "object_missing", o->seq, g_strdup_printf("the bytes of item %" G_GUINT64_FORMAT " (%.16s…) are missing, and no item says that they were dropped", o->seq, sha256));
                return;
        }
        crypto_hash_sha256_init(&state);
        while ((n = read(fd, buf, sizeof(buf))) > 0) {
                crypto_hash_sha256_update(&state, buf, (gsize) n);
                v->report.bytes += (guint64) n;
        }
        crypto_hash_sha256_final(&state, h);
        sodium_bin2hex(hex, sizeof(hex), h, sizeof(h));
        v->report.objects++;
        if (n < 0 || strcmp(hex, sha256))
                bh_evidence_verifier_problem(v, "object_changed", o->seq, g_strdup_printf("the bytes of item %" G_GUINT64_FORMAT " (%.16s…) %s", o->seq, sha256, n < 0 ? "cannot be read" : "were changed"));
}

const BhEvidenceReport *bh_evidence_verifier_end(BhEvidenceVerifier *v, int (*fd)(const char *, gpointer), gpointer data) {
        GHashTableIter it;
        gpointer key, value;

        for (guint i = 0; i < v->heads->len; i++) {
                const Head *h = v->heads->pdata[i];
                const guint64 *last = g_hash_table_lookup(v->last, h->chain);

                if (h->seen)
                        continue;
                if (!last)
                        bh_evidence_verifier_problem(v, "rewritten", h->seq, g_strdup_printf("chain %.16s is not there any more, of which item %" G_GUINT64_FORMAT " was known elsewhere: the evidence was begun anew or removed", h->chain, h->seq));
                else if (*last < h->seq)
                        bh_evidence_verifier_problem(v, "truncated", h->seq, g_strdup_printf("chain %.16s ends at item %" G_GUINT64_FORMAT ", but item %" G_GUINT64_FORMAT " was known elsewhere: it was cut short", h->chain, *last, h->seq));
        }
        for (guint i = 0; i < v->late->len; i++) {
                const char *begin = v->late->pdata[i];

                if (!g_hash_table_contains(v->begins, begin))
                        bh_evidence_verifier_problem(v, "removed", 0, g_strdup_printf("chain %.16s begins at item %s, and nothing says that what was before was let go", begin, strchr(begin, ' ') + 1));
        }
        for (guint i = 0; i < v->jumps->len; i++) {
                const Jump *j = v->jumps->pdata[i];
                g_autofree char *on = g_strdup_printf("%s %" G_GUINT64_FORMAT, j->chain, j->last + 1);

                if (g_hash_table_contains(v->gaps, on))
                        v->report.gaps++;
                else
                        bh_evidence_verifier_problem(v, "removed", j->last + 1, g_strdup_printf("items %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT " of chain %.16s are missing", j->first, j->last, j->chain));
        }
        if (fd) {
                g_hash_table_iter_init(&it, v->objects);
                while (g_hash_table_iter_next(&it, &key, &value))
                        if (((Object *) value)->used > ((Object *) value)->dropped)
                                check_object(v, key, value, fd(key, data));
        }
        return &v->report;
}

json_t *bh_evidence_report_json(const BhEvidenceReport *r) {
        json_t *o = json_object(), *list = json_array();

        json_object_set_new(o, "ok", json_boolean(!r->problems));
        json_object_set_new(o, "items", json_integer((json_int_t) r->items));
        json_object_set_new(o, "objects", json_integer((json_int_t) r->objects));
        json_object_set_new(o, "bytes", json_integer((json_int_t) r->bytes));
        json_object_set_new(o, "chains", json_integer((json_int_t) r->chains));
        json_object_set_new(o, "heads_compared", json_integer((json_int_t) r->anchors));
        json_object_set_new(o, "objects_elsewhere", json_integer((json_int_t) r->absent));
        json_object_set_new(o, "gaps", json_integer((json_int_t) r->gaps));
        json_object_set_new(o, "chain", json_string(r->chain));
        json_object_set_new(o, "first_seq", json_integer((json_int_t) r->first_seq));
        json_object_set_new(o, "seq", json_integer((json_int_t) r->last_seq));
        json_object_set_new(o, "sha256", json_string(r->hash));
        json_object_set_new(o, "next", json_string(r->next));
        json_object_set_new(o, "problem_count", json_integer((json_int_t) r->problems));
        for (guint i = 0; i < r->told->len; i++) {
                const BhEvidenceProblem *p = r->told->pdata[i];
                json_t *one = json_object();

                json_object_set_new(one, "what", json_string(p->what));
                json_object_set_new(one, "seq", json_integer((json_int_t) p->seq));
                json_object_set_new(one, "text", json_string(p->text));
                json_array_append_new(list, one);
        }
        json_object_set_new(o, "problems", list);
        return o;
}

/* ---- a directory ---- */

static int open_object(const char *sha256, gpointer data) {
        const int *dir = data;
        char path[128];

        g_snprintf(path, sizeof(path), "objects/%.2s/%s", sha256, sha256);
        return openat(*dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

static gboolean lines_of(BhEvidenceVerifier *v, int dir, const char *name, gboolean must, GError **error) {
        g_autoptr(GError) local = NULL;
        gsize len = 0;
        gboolean cut = FALSE;
        g_autofree char *text = bh_file_read(dir, name, LOG_MAX, &len, &cut, &local);

        if (!text) {
                if (must)
                        g_propagate_error(error, g_steal_pointer(&local));
                return !must;
        }
        if (cut)
                bh_evidence_verifier_problem(v, "unreadable", 0, g_strdup_printf("%s is larger than a log may be", name));
        for (gsize at = 0; at < len;) {
                const char *end = memchr(text + at, '\n', len - at);
                gsize n = end ? (gsize) (end - (text + at)) : len - at;

                bh_evidence_verifier_line(v, text + at, n);
                at += n + 1;
        }
        return TRUE;
}

gboolean bh_evidence_verify_dir(BhEvidenceVerifier *v, const char *path, const BhEvidenceReport **report, GError **error) {
        g_auto(BhFd) dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (dir < 0) {
                g_set_error(error, BH_EVIDENCE_ERROR, BH_EVIDENCE_ERROR_IO, "cannot open the evidence in %s: %s", path, g_strerror(errno));
                return FALSE;
        }
        if (!lines_of(v, dir, "log.old", FALSE, error) || !lines_of(v, dir, "log", TRUE, error))
                return FALSE;
        *report = bh_evidence_verifier_end(v, open_object, &dir);
        return TRUE;
}

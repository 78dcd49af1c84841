/* SPDX-License-Identifier: Apache-2.0 */
#include "rules/strset.h"

#include <stdlib.h>
#include <xxhash.h>

struct literal {
        const char *p;
        guint32 len, atom;
};

/* Atoms that a literal tells: postings[first .. first + n). */
struct posting {
        guint32 first, n;
};

struct whole {
        const char *p;
        guint32 len, hash;
        struct posting told;
};

/* A node of a radix tree: the bytes on the way to it, and its children, which stand together and differ in their first byte. */
struct radix {
        const char *p;
        guint32 len;
        guint32 kids, n_kids;
        struct posting told;
};

/* A state of the automaton. Children stand together, sorted by byte. out: the nearest state on the way of failures that tells something, itself included; 0: none. */
struct state {
        guint32 kids, n_kids, fail, out;
        struct posting told;
};

struct automaton {
        GArray *states; /* of state; 0 is the root */
        guint8 *bytes;  /* of the children: state i's are i's kids .. */
        guint32 *next;
        guint32 root[256];
        gboolean fold;
        guint64 pairs[1024]; /* bit: these two bytes begin a literal, or the first of them is one */
};

struct BhStrSet {
        GStringChunk *text;
        GArray *literals[BH_SS_KINDS]; /* until it is built */
        GArray *postings;              /* of guint32 */
        struct whole *wholes;
        guint32 mask;
        guint n_wholes;
        guint32 min_whole, max_whole;
        GArray *begin, *end; /* of radix; 0 is the root */
        struct automaton part, part_fold;
};

BhStrSet *bh_strset_new(void) {
        BhStrSet *s = g_new0(BhStrSet, 1);

        s->text = g_string_chunk_new(4096);
        for (guint k = 0; k < BH_SS_KINDS; k++)
                s->literals[k] = g_array_new(FALSE, FALSE, sizeof(struct literal));
        s->postings = g_array_new(FALSE, FALSE, sizeof(guint32));
        return s;
}

static void automaton_clear(struct automaton *a) {
        g_clear_pointer(&a->states, g_array_unref);
        g_clear_pointer(&a->bytes, g_free);
        g_clear_pointer(&a->next, g_free);
}

void bh_strset_free(BhStrSet *s) {
        if (!s)
                return;
        g_string_chunk_free(s->text);
        for (guint k = 0; k < BH_SS_KINDS; k++)
                g_clear_pointer(&s->literals[k], g_array_unref);
        g_array_unref(s->postings);
        g_free(s->wholes);
        g_clear_pointer(&s->begin, g_array_unref);
        g_clear_pointer(&s->end, g_array_unref);
        automaton_clear(&s->part);
        automaton_clear(&s->part_fold);
        g_free(s);
}

void bh_strset_add(BhStrSet *s, enum bh_strset_kind kind, const char *literal, gsize len, guint32 atom) {
        struct literal l = { g_string_chunk_insert_len(s->text, literal, (gssize) len), (guint32) len, atom };

        if (kind == BH_SS_END) {
                for (gsize i = 0; i < len; i++)
                        ((char *) l.p)[i] = literal[len - 1 - i];
        } else if (kind == BH_SS_PART_FOLD) {
                for (gsize i = 0; i < len; i++)
                        ((char *) l.p)[i] = g_ascii_tolower(literal[i]);
        }
        g_array_append_val(s->literals[kind], l);
}

static int by_text(gconstpointer a, gconstpointer b) {
        const struct literal *x = a, *y = b;
        int c = memcmp(x->p, y->p, MIN(x->len, y->len));

        if (c)
                return c;
        if (x->len != y->len)
                return x->len < y->len ? -1 : 1;
        return x->atom < y->atom ? -1 : x->atom > y->atom;
}

static gboolean same(const struct literal *a, const struct literal *b) {
        return a->len == b->len && memcmp(a->p, b->p, a->len) == 0;
}

/* Sorts, and puts the atoms of equal literals together. Leaves each literal once, its `atom` the index of its posting. */
static GArray *group(BhStrSet *s, GArray *literals) {
        GArray *told = g_array_new(FALSE, FALSE, sizeof(struct posting));
        guint n = 0;

        g_array_sort(literals, by_text);
        for (guint i = 0; i < literals->len; i++) {
                struct literal *l = &g_array_index(literals, struct literal, i), *last = n ? &g_array_index(literals, struct literal, n - 1) : NULL;

                if (!last || !same(l, last)) {
                        struct posting p = { s->postings->len, 1 };

                        g_array_append_val(s->postings, l->atom);
                        g_array_append_val(told, p);
                        g_array_index(literals, struct literal, n) = (struct literal){ l->p, l->len, told->len - 1 };
                        n++;
                } else if (g_array_index(s->postings, guint32, s->postings->len - 1) != l->atom) {
                        g_array_append_val(s->postings, l->atom);
                        g_array_index(told, struct posting, told->len - 1).n++;
                }
        }
        g_array_set_size(literals, n);
        return told;
}

/* ---- whole texts ---- */

static guint32 hash_of(const char *p, gsize len) {
        return (guint32) XXH3_64bits(p, len) | 1; /* 0: an empty place */
}

static void build_wholes(BhStrSet *s) {
        GArray *l = s->literals[BH_SS_WHOLE];
        g_autoptr(GArray) told = group(s, l);
        guint32 size = 8;

        s->n_wholes = l->len;
        if (!l->len)
                return;
        while (size < l->len * 2)
                size *= 2;
        s->mask = size - 1;
        s->wholes = g_new0(struct whole, size);
        s->min_whole = G_MAXUINT32;
        for (guint i = 0; i < l->len; i++) {
                const struct literal *x = &g_array_index(l, struct literal, i);
                guint32 hash = hash_of(x->p, x->len), at = hash & s->mask;

                while (s->wholes[at].hash)
                        at = (at + 1) & s->mask;
                s->wholes[at] = (struct whole){ x->p, x->len, hash, g_array_index(told, struct posting, x->atom) };
                s->min_whole = MIN(s->min_whole, x->len);
                s->max_whole = MAX(s->max_whole, x->len);
        }
}

/* ---- beginnings and ends ---- */

/* The literals from .. to share their first `depth` bytes; makes node `at` of them. */
static void build_radix(GArray *nodes, const GArray *l, const GArray *told, guint from, guint to, guint32 depth, guint32 at) {
        guint kids = nodes->len, n = 0;

        /* the shortest comes first: it ends here */
        if (from < to && g_array_index(l, struct literal, from).len == depth) {
                g_array_index(nodes, struct radix, at).told = g_array_index(told, struct posting, g_array_index(l, struct literal, from).atom);
                from++;
        }
        for (guint i = from; i < to; n++) {
                char c = g_array_index(l, struct literal, i).p[depth];

                while (i < to && g_array_index(l, struct literal, i).p[depth] == c)
                        i++;
        }
        g_array_index(nodes, struct radix, at).kids = kids;
        g_array_index(nodes, struct radix, at).n_kids = n;
        g_array_set_size(nodes, kids + n);
        for (guint i = from, k = kids; i < to; k++) {
                const struct literal *first = &g_array_index(l, struct literal, i), *last;
                guint end = i;
                guint32 common = depth + 1;

                while (end < to && g_array_index(l, struct literal, end).p[depth] == first->p[depth])
                        end++;
                last = &g_array_index(l, struct literal, end - 1);
                while (common < first->len && common < last->len && first->p[common] == last->p[common])
                        common++;
                g_array_index(nodes, struct radix, k) = (struct radix){ first->p + depth, common - depth, 0, 0, { 0, 0 } };
                build_radix(nodes, l, told, i, end, common, k);
                i = end;
        }
}

static GArray *build_tree(BhStrSet *s, enum bh_strset_kind kind) {
        GArray *l = s->literals[kind], *nodes;
        g_autoptr(GArray) told = group(s, l);

        if (!l->len)
                return NULL;
        nodes = g_array_new(FALSE, TRUE, sizeof(struct radix));
        g_array_set_size(nodes, 1);
        build_radix(nodes, l, told, 0, l->len, 0, 0);
        return nodes;
}

/* ---- parts ---- */

/* A trie first, breadth first, so that children stand together; then the ways of failure. */
static void build_automaton(BhStrSet *s, enum bh_strset_kind kind, struct automaton *a) {
        struct span {
                guint from, to;
                guint32 depth;
        };
        GArray *l = s->literals[kind];
        g_autoptr(GArray) told = group(s, l), spans = g_array_new(FALSE, FALSE, sizeof(struct span)), bytes = g_array_new(FALSE, FALSE, 1);
        struct span whole = { 0, l->len, 0 };

        if (!l->len)
                return;
        a->fold = kind == BH_SS_PART_FOLD;
        a->states = g_array_new(FALSE, TRUE, sizeof(struct state));
        g_array_set_size(a->states, 1);
        g_array_append_val(spans, whole);
        g_array_append_val(bytes, (guint8){ 0 });
        for (guint at = 0; at < spans->len; at++) {
                struct span x = g_array_index(spans, struct span, at);

                if (x.from < x.to && g_array_index(l, struct literal, x.from).len == x.depth) {
                        g_array_index(a->states, struct state, at).told = g_array_index(told, struct posting, g_array_index(l, struct literal, x.from).atom);
                        x.from++;
                }
                g_array_index(a->states, struct state, at).kids = a->states->len;
                for (guint i = x.from; i < x.to;) {
                        struct span kid = { i, i, x.depth + 1 };
                        guint8 c = (guint8) g_array_index(l, struct literal, i).p[x.depth];

                        while (kid.to < x.to && (guint8) g_array_index(l, struct literal, kid.to).p[x.depth] == c)
                                kid.to++;
                        g_array_append_val(spans, kid);
                        g_array_append_val(bytes, c);
                        g_array_set_size(a->states, a->states->len + 1);
                        g_array_index(a->states, struct state, at).n_kids++;
                        i = kid.to;
                }
        }
        a->bytes = g_memdup2(bytes->data, bytes->len);
        for (guint i = 0; i < l->len; i++) {
                const struct literal *x = &g_array_index(l, struct literal, i);

                if (x->len == 1)
                        memset(&a->pairs[(guint8) x->p[0] * 4], 0xff, 4 * sizeof(guint64));
                else if (x->len)
                        a->pairs[(guint8) x->p[0] * 4 + (guint8) x->p[1] / 64] |= 1ull << ((guint8) x->p[1] % 64);
        }

        struct state *st = (struct state *) (void *) a->states->data;
        for (guint i = 0; i < st[0].n_kids; i++)
                a->root[a->bytes[st[0].kids + i]] = st[0].kids + i;
        /* breadth first: a state's failure is shallower, so it is done already */
        for (guint at = 0; at < a->states->len; at++) {
                st[at].out = st[at].told.n ? at : st[st[at].fail].out;
                for (guint i = 0; i < st[at].n_kids; i++) {
                        guint32 kid = st[at].kids + i, f = st[at].fail;
                        guint8 c = a->bytes[kid];

                        if (at == 0) {
                                st[kid].fail = 0;
                                continue;
                        }
                        for (;;) {
                                guint32 found = 0;

                                if (f == 0) {
                                        found = a->root[c];
                                } else {
                                        for (guint k = 0; k < st[f].n_kids; k++) {
                                                if (a->bytes[st[f].kids + k] == c)
                                                        found = st[f].kids + k;
                                        }
                                }
                                if (found || f == 0) {
                                        st[kid].fail = found;
                                        break;
                                }
                                f = st[f].fail;
                        }
                }
        }
}

void bh_strset_build(BhStrSet *s) {
        build_wholes(s);
        s->begin = build_tree(s, BH_SS_BEGIN);
        s->end = build_tree(s, BH_SS_END);
        build_automaton(s, BH_SS_PART, &s->part);
        build_automaton(s, BH_SS_PART_FOLD, &s->part_fold);
        for (guint k = 0; k < BH_SS_KINDS; k++)
                g_clear_pointer(&s->literals[k], g_array_unref);
}

gsize bh_strset_size(const BhStrSet *s) {
        gsize n = sizeof(*s) + s->postings->len * sizeof(guint32);

        n += s->wholes ? (s->mask + 1) * sizeof(struct whole) : 0;
        n += (s->begin ? s->begin->len : 0) * sizeof(struct radix) + (s->end ? s->end->len : 0) * sizeof(struct radix);
        n += (s->part.states ? s->part.states->len : 0) * (sizeof(struct state) + 1) + (s->part_fold.states ? s->part_fold.states->len : 0) * (sizeof(struct state) + 1);
        return n;
}

/* ---- matching ---- */

static inline void told(const BhStrSet *s, struct posting p, BhStrSetTell tell, gpointer data) {
        for (guint32 i = 0; i < p.n; i++)
                tell(g_array_index(s->postings, guint32, p.first + i), data);
}

static void match_begin(const BhStrSet *s, const char *text, gsize len, BhStrSetTell tell, gpointer data) {
        const struct radix *nodes = (const struct radix *) (const void *) s->begin->data, *n = nodes;

        for (;;) {
                const struct radix *kid = nodes + n->kids, *end = kid + n->n_kids;

                told(s, n->told, tell, data);
                if (!len)
                        return;
                while (kid < end && *kid->p != *text)
                        kid++;
                if (kid == end || kid->len > len || memcmp(kid->p, text, kid->len) != 0)
                        return;
                text += kid->len;
                len -= kid->len;
                n = kid;
        }
}

static gboolean is_reversed(const char *reversed, const char *end, gsize n) {
        for (gsize i = 0; i < n; i++) {
                if (reversed[i] != end[-1 - (gssize) i])
                        return FALSE;
        }
        return TRUE;
}

static void match_end(const BhStrSet *s, const char *text, gsize len, BhStrSetTell tell, gpointer data) {
        const struct radix *nodes = (const struct radix *) (const void *) s->end->data, *n = nodes;
        const char *end = text + len;

        for (;;) {
                const struct radix *kid = nodes + n->kids, *last = kid + n->n_kids;

                told(s, n->told, tell, data);
                if (end == text)
                        return;
                while (kid < last && *kid->p != end[-1])
                        kid++;
                if (kid == last || kid->len > (gsize) (end - text) || !is_reversed(kid->p, end, kid->len))
                        return;
                end -= kid->len;
                n = kid;
        }
}

static void match_part(const BhStrSet *s, const struct automaton *a, const char *text, gsize len, BhStrSetTell tell, gpointer data) {
        const struct state *st = (const struct state *) (const void *) a->states->data;
        guint32 at = 0;

        told(s, st[0].told, tell, data);
        for (gsize i = 0; i < len; i++) {
                guint8 c = (guint8) (a->fold ? g_ascii_tolower(text[i]) : text[i]);

                /* nearly all bytes begin some literal, few pairs of bytes do */
                if (!at && i + 1 < len) {
                        guint8 next = (guint8) (a->fold ? g_ascii_tolower(text[i + 1]) : text[i + 1]);

                        if (!(a->pairs[c * 4 + next / 64] >> (next % 64) & 1))
                                continue;
                }
                for (;;) {
                        const struct state *x = &st[at];
                        const guint8 *kid = a->bytes + x->kids;
                        guint32 k = 0;

                        if (!at) {
                                at = a->root[c];
                                break;
                        }
                        while (k < x->n_kids && kid[k] < c)
                                k++;
                        if (k < x->n_kids && kid[k] == c) {
                                at = x->kids + k;
                                break;
                        }
                        at = x->fail;
                }
                for (guint32 out = st[at].out; out; out = st[st[out].fail].out)
                        told(s, st[out].told, tell, data);
        }
}

void bh_strset_match(const BhStrSet *s, const char *text, gsize len, BhStrSetTell tell, gpointer data) {
        if (!text)
                text = "";
        if (s->n_wholes && len >= s->min_whole && len <= s->max_whole) {
                guint32 hash = hash_of(text, len);

                for (guint32 at = hash & s->mask; s->wholes[at].hash; at = (at + 1) & s->mask) {
                        if (s->wholes[at].hash == hash && s->wholes[at].len == len && memcmp(s->wholes[at].p, text, len) == 0) {
                                told(s, s->wholes[at].told, tell, data);
                                break;
                        }
                }
        }
        if (s->begin)
                match_begin(s, text, len, tell, data);
        if (s->end)
                match_end(s, text, len, tell, data);
        if (s->part.states)
                match_part(s, &s->part, text, len, tell, data);
        if (s->part_fold.states)
                match_part(s, &s->part_fold, text, len, tell, data);
}

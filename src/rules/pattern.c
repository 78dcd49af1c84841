/* SPDX-License-Identifier: Apache-2.0 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "rules/pattern.h"

#include <ctype.h>
#include <pcre2.h>
#include <string.h>

#include "rules/ruleset.h"

/* ---- glob ---- */

static guchar folded(guchar c, gboolean fold) {
        return fold ? (guchar) g_ascii_tolower((char) c) : c;
}

static gboolean class_has(const char *name, gsize len, guchar c) {
        static const struct {
                const char *name;
                int (*is)(int);
        } classes[] = {
                { "alpha", isalpha }, { "digit", isdigit }, { "alnum", isalnum }, { "upper", isupper }, { "lower", islower }, { "space", isspace },
                { "blank", isblank }, { "punct", ispunct }, { "print", isprint }, { "graph", isgraph }, { "cntrl", iscntrl }, { "xdigit", isxdigit },
        };

        for (guint i = 0; i < G_N_ELEMENTS(classes); i++) {
                if (strlen(classes[i].name) == len && memcmp(classes[i].name, name, len) == 0)
                        return c < 128 && classes[i].is(c) != 0;
        }
        return FALSE;
}

/* The bracket expression at p, which is behind its '['. Its end (behind ']') or NULL: it is none, and '[' is itself. */
static const char *bracket(const char *p, const char *end, guchar c, gboolean fold, gboolean *matches) {
        gboolean negated = FALSE, hit = FALSE, first = TRUE;

        if (p < end && (*p == '!' || *p == '^')) {
                negated = TRUE;
                p++;
        }
        for (; p < end; first = FALSE) {
                guchar low, high;

                if (*p == ']' && !first) {
                        *matches = hit != negated;
                        return p + 1;
                }
                if (*p == '[' && p + 1 < end && p[1] == ':') {
                        const char *close = memmem(p + 2, (gsize) (end - p - 2), ":]", 2);

                        if (close) {
                                hit |= class_has(p + 2, (gsize) (close - p - 2), c) || (fold && class_has(p + 2, (gsize) (close - p - 2), (guchar) g_ascii_toupper((char) c)));
                                p = close + 2;
                                continue;
                        }
                }
                if (*p == '\\' && p + 1 < end)
                        p++;
                low = high = folded((guchar) *p++, fold);
                if (p + 1 < end && *p == '-' && p[1] != ']') {
                        p++;
                        if (*p == '\\' && p + 1 < end)
                                p++;
                        high = folded((guchar) *p++, fold);
                }
                hit |= c >= low && c <= high;
        }
        return NULL;
}

/* Matches one byte against what stands at p (no star). The place behind it, or NULL. */
static const char *one(const char *p, const char *end, guchar c, gboolean fold) {
        gboolean matches;
        const char *behind;

        c = folded(c, fold);
        switch (*p) {
        case '?': return p + 1;
        case '[':
                behind = bracket(p + 1, end, c, fold, &matches);
                if (behind)
                        return matches ? behind : NULL;
                break;
        case '\\':
                if (p + 1 < end)
                        p++;
                break;
        }
        return folded((guchar) *p, fold) == c ? p + 1 : NULL;
}

gboolean bh_glob_steps(const char *pattern, gsize pattern_len, const char *text, gsize len, gboolean fold, gboolean *limit) {
        const char *p = pattern, *pend = pattern + pattern_len, *t = text, *tend = text + len, *star = NULL, *from = NULL;
        guint steps = 0;

        /* going back to the last star is enough: an earlier one could only leave more to the later */
        while (t < tend) {
                const char *behind;

                if (++steps > BH_GLOB_STEPS_MAX) {
                        *limit = TRUE;
                        return FALSE;
                }
                if (p < pend && *p == '*') {
                        star = ++p;
                        from = t;
                } else if (p < pend && (behind = one(p, pend, (guchar) *t, fold))) {
                        p = behind;
                        t++;
                } else if (star) {
                        p = star;
                        t = ++from;
                } else {
                        return FALSE;
                }
        }
        while (p < pend && *p == '*')
                p++;
        return p == pend;
}

gboolean bh_glob(const char *pattern, gsize pattern_len, const char *text, gsize len, gboolean fold) {
        gboolean limit = FALSE;

        return bh_glob_steps(pattern, pattern_len, text, len, fold, &limit);
}

/* ---- regex ---- */

struct BhRegex {
        pcre2_code *code;
        char *text;
};

struct BhMatcher {
        pcre2_match_context *context;
        pcre2_match_data *data;
};

static gboolean refuse(GError **error, gsize at, const char *what) {
        g_set_error(error, BH_RULES_ERROR, 1, "regular expression: %s at byte %zu", what, at + 1);
        return FALSE;
}

/* Number at *i; FALSE: none, or over 1,000. */
static gboolean repeat_number(const char *p, gsize len, gsize *i) {
        guint n = 0;
        gsize from = *i;

        while (*i < len && g_ascii_isdigit(p[*i])) {
                n = n * 10 + (guint) (p[*i] - '0');
                if (n > 1000)
                        return FALSE;
                (*i)++;
        }
        return *i > from;
}

/*
 * What PCRE2 can and a regular language has not. In a class all but \, [: and ] is itself.
 */
static gboolean check_syntax(const char *p, gsize len, GError **error) {
        gboolean in_class = FALSE, quantified = FALSE;
        gsize class_start = 0;

        for (gsize i = 0; i < len; i++) {
                gboolean was = quantified;

                quantified = FALSE;
                if (p[i] == '\\') {
                        if (++i == len)
                                return refuse(error, i - 1, "a backslash with nothing behind it");
                        if (g_ascii_isdigit(p[i]) && p[i] != '0')
                                return refuse(error, i - 1, "back-references (\\1) are not supported");
                        if (p[i] == 'x' && i + 1 < len && p[i + 1] == '{') {
                                const char *close = memchr(p + i, '}', len - i);

                                if (!close)
                                        return refuse(error, i - 1, "\\x{ without }");
                                i = (gsize) (close - p);
                                continue;
                        }
                        if (g_ascii_isalpha(p[i]) && !strchr(in_class ? "dDsSwWntrfavbx" : "dDsSwWbBAzntrfavx", p[i]))
                                return refuse(error, i - 1, "this escape is not supported");
                        if (p[i] == '0' || (guchar) p[i] >= 128)
                                return refuse(error, i - 1, "this escape is not supported: write \\xHH");
                        continue;
                }
                if (in_class) {
                        if (p[i] == '[' && i + 1 < len && (p[i + 1] == ':' || p[i + 1] == '.' || p[i + 1] == '=')) {
                                char close[] = { p[i + 1], ']' };
                                const char *end = memmem(p + i + 2, len - i - 2, close, 2);

                                if (p[i + 1] != ':' && end)
                                        return refuse(error, i, "collating elements ([. [=) are not supported");
                                if (end)
                                        i = (gsize) (end - p) + 1;
                        } else if (p[i] == ']' && i > class_start) {
                                in_class = FALSE;
                        }
                        continue;
                }
                switch (p[i]) {
                case '[':
                        in_class = TRUE;
                        class_start = i + 1;
                        if (class_start < len && p[class_start] == '^')
                                class_start++;
                        i = class_start - 1;
                        /* "[]" would take the bracket as a member, as POSIX has it: the first place after [ or [^ */
                        break;
                case '(':
                        if (i + 1 < len && p[i + 1] == '*')
                                return refuse(error, i, "verbs (*…) are not supported");
                        if (i + 1 < len && p[i + 1] == '?') {
                                gsize k = i + 2;

                                if (k < len && p[k] == 'P' && k + 1 < len && p[k + 1] == '<')
                                        break;
                                while (k < len && strchr("imsU-", p[k]))
                                        k++;
                                if (k >= len || (p[k] != ':' && p[k] != ')'))
                                        return refuse(error, i, "only (?:…), (?P<name>…) and flags (?i) are supported of (?…");
                        }
                        break;
                case '*':
                case '?':
                        quantified = !was; /* a?? is a lazy one */
                        break;
                case '+':
                        if (was)
                                return refuse(error, i, "possessive repetition (a++) is not supported");
                        quantified = TRUE;
                        break;
                case '{': {
                        gsize k = i + 1;

                        if (k >= len || !g_ascii_isdigit(p[k])) {
                                if (k < len && p[k] == ',' )
                                        return refuse(error, i, "a repetition {,n} needs its lower number: write {0,n}");
                                break; /* itself */
                        }
                        if (!repeat_number(p, len, &k) || (k < len && p[k] == ',' && ++k < len && p[k] != '}' && !repeat_number(p, len, &k)))
                                return refuse(error, i, "a repetition of more than 1,000");
                        if (k < len && p[k] == '}') {
                                i = k;
                                quantified = TRUE;
                        }
                        break;
                }
                }
        }
        return TRUE;
}

BhRegex *bh_regex_new(const char *pattern, gsize len, GError **error) {
        g_autofree char *whole = NULL;
        pcre2_compile_context *context;
        pcre2_code *code;
        PCRE2_SIZE at, size = 0;
        int problem;

        if (len > BH_REGEX_TEXT_MAX) {
                g_set_error(error, BH_RULES_ERROR, 1, "regular expression of %zu bytes: at most %u are supported; write several", len, BH_REGEX_TEXT_MAX);
                return NULL;
        }
        if (!check_syntax(pattern, len, error))
                return NULL;

        context = pcre2_compile_context_create(NULL);
        g_assert(context);
        pcre2_set_parens_nest_limit(context, 250);
        /* by itself first: an unbalanced ')' must not close the group that is put around it */
        code = pcre2_compile((PCRE2_SPTR) pattern, len, PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP, &problem, &at, context);
        if (code) {
                pcre2_code_free(code);
                whole = g_malloc(len + 16);
                memcpy(whole, "\\A(?:", 5);
                memcpy(whole + 5, pattern, len);
                /* flags end with the group, and there are no comments that could swallow its end: (?x) is refused */
                memcpy(whole + 5 + len, ")\\z", 4);
                code = pcre2_compile((PCRE2_SPTR) whole, len + 8, PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NO_AUTO_CAPTURE, &problem, &at, context);
                at = at > 5 ? at - 5 : 0;
        }
        pcre2_compile_context_free(context);
        if (!code) {
                PCRE2_UCHAR text[160];

                pcre2_get_error_message(problem, text, sizeof(text));
                g_set_error(error, BH_RULES_ERROR, 1, "regular expression: %s at byte %zu", (const char *) text, (gsize) at + 1);
                return NULL;
        }
        if (pcre2_pattern_info(code, PCRE2_INFO_SIZE, &size) != 0 || size > BH_REGEX_SIZE_MAX) {
                pcre2_code_free(code);
                g_set_error(error, BH_RULES_ERROR, 1, "regular expression compiles to %zu bytes: at most %u are supported; use smaller repetitions", (gsize) size, BH_REGEX_SIZE_MAX);
                return NULL;
        }

        BhRegex *r = g_new(BhRegex, 1);
        r->code = code;
        r->text = g_strndup(pattern, len);
        return r;
}

const char *bh_regex_text(const BhRegex *r) {
        return r->text;
}

void bh_regex_free(BhRegex *r) {
        if (!r)
                return;
        pcre2_code_free(r->code);
        g_free(r->text);
        g_free(r);
}

BhMatcher *bh_matcher_new(void) {
        BhMatcher *m = g_new(BhMatcher, 1);

        m->context = pcre2_match_context_create(NULL);
        m->data = pcre2_match_data_create(1, NULL);
        g_assert(m->context && m->data);
        pcre2_set_match_limit(m->context, BH_REGEX_MATCH_LIMIT);
        pcre2_set_depth_limit(m->context, BH_REGEX_DEPTH_LIMIT);
        pcre2_set_heap_limit(m->context, BH_REGEX_HEAP_KIB);
        return m;
}

void bh_matcher_free(BhMatcher *m) {
        if (!m)
                return;
        pcre2_match_data_free(m->data);
        pcre2_match_context_free(m->context);
        g_free(m);
}

gboolean bh_regex_match(const BhRegex *r, BhMatcher *m, const char *text, gsize len, gboolean *limit) {
        int rc = pcre2_match(r->code, (PCRE2_SPTR) (text ? text : ""), len, 0, PCRE2_NO_UTF_CHECK, m->data, m->context);

        if (rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT || rc == PCRE2_ERROR_HEAPLIMIT || rc == PCRE2_ERROR_NOMEMORY)
                *limit = TRUE;
        return rc >= 0;
}

/* ---- pmatch ---- */

struct node {
        char *name; /* of its component */
        gsize len;
        gboolean glob, end; /* end: a prefix ends here, what is below does not matter */
        GPtrArray *kids;    /* of node, plain ones sorted by name in front, globs behind */
        guint plain;
};

struct BhPrefixes {
        struct node *root;
};

static struct node *node_new(const char *name, gsize len) {
        struct node *n = g_new0(struct node, 1);

        n->name = g_malloc(len + 1);
        memcpy(n->name, name, len);
        n->len = len;
        for (gsize i = 0; i < len; i++)
                n->glob |= strchr("?*[", name[i]) != NULL && name[i];
        return n;
}

static void node_free(gpointer data) {
        struct node *n = data;

        if (!n)
                return;
        g_clear_pointer(&n->kids, g_ptr_array_unref);
        g_free(n->name);
        g_free(n);
}

BhPrefixes *bh_prefixes_new(void) {
        BhPrefixes *p = g_new(BhPrefixes, 1);

        p->root = node_new("", 0);
        return p;
}

void bh_prefixes_free(BhPrefixes *p) {
        if (!p)
                return;
        node_free(p->root);
        g_free(p);
}

static int order(const struct node *n, const char *name, gsize len) {
        int c = memcmp(n->name, name, MIN(n->len, len));

        return c ? c : n->len < len ? -1 : n->len > len;
}

/* Where a plain component stands, or belongs. */
static guint place(const struct node *n, const char *name, gsize len, gboolean *there) {
        guint low = 0, high = n->plain;

        *there = FALSE;
        while (low < high) {
                guint middle = (low + high) / 2;
                int c = order(g_ptr_array_index(n->kids, middle), name, len);

                if (c == 0) {
                        *there = TRUE;
                        return middle;
                }
                if (c < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

static struct node *child(struct node *n, const char *name, gsize len) {
        struct node *fresh = node_new(name, len);
        gboolean there;
        guint at;

        if (!n->kids)
                n->kids = g_ptr_array_new_with_free_func(node_free);
        if (fresh->glob) {
                for (guint i = n->plain; i < n->kids->len; i++) {
                        if (order(g_ptr_array_index(n->kids, i), name, len) == 0) {
                                node_free(fresh);
                                return g_ptr_array_index(n->kids, i);
                        }
                }
                g_ptr_array_add(n->kids, fresh);
                return fresh;
        }
        at = place(n, name, len, &there);
        if (there) {
                node_free(fresh);
                return g_ptr_array_index(n->kids, at);
        }
        g_ptr_array_insert(n->kids, (gint) at, fresh);
        n->plain++;
        return fresh;
}

/* The next component; FALSE: none is left. */
static gboolean component(const char **p, const char *end, const char **name, gsize *len) {
        while (*p < end && **p == '/')
                (*p)++;
        if (*p == end)
                return FALSE;
        *name = *p;
        while (*p < end && **p != '/')
                (*p)++;
        *len = (gsize) (*p - *name);
        return TRUE;
}

void bh_prefixes_add(BhPrefixes *p, const char *path, gsize path_len) {
        const char *end = path + path_len, *name;
        struct node *n = p->root;
        gsize len;

        while (!n->end && component(&path, end, &name, &len))
                n = child(n, name, len);
        if (!n->end) {
                n->end = TRUE;
                g_clear_pointer(&n->kids, g_ptr_array_unref);
                n->plain = 0;
        }
}

/* Each node is visited once at most, since its depth says which component it is held against. Recursion is as deep as the longest prefix. */
static gboolean match(const struct node *n, const char *path, const char *end, gboolean *limit) {
        const char *name;
        gboolean there;
        gsize len;
        guint at;

        if (n->end)
                return TRUE;
        if (!n->kids || !component(&path, end, &name, &len))
                return FALSE;
        at = place(n, name, len, &there);
        if (there && match(g_ptr_array_index(n->kids, at), path, end, limit))
                return TRUE;
        for (guint i = n->plain; i < n->kids->len; i++) {
                const struct node *kid = g_ptr_array_index(n->kids, i);

                if (bh_glob_steps(kid->name, kid->len, name, len, FALSE, limit) && match(kid, path, end, limit))
                        return TRUE;
        }
        return FALSE;
}

gboolean bh_prefixes_match(const BhPrefixes *p, const char *path, gsize len, gboolean *limit) {
        return match(p->root, path ? path : "", (path ? path : "") + len, limit);
}

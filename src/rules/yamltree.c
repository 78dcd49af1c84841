/* SPDX-License-Identifier: Apache-2.0 */
#include "rules/yamltree.h"

#include <string.h>
#include <yaml.h>

#include "rules/ruleset.h"

#define ARENA_BLOCK (64u << 10)
#define NODES_MAX (2u * BH_RULES_ITEMS_MAX + 100000u)
#define ANCHORS_MAX 10000u
#define PARTS_MAX 100000u /* elements that are read one by one after a syntax error */

struct BhYamlFile {
        char *name, *text; /* with its NUL */
        guint32 len;
        guint number;
        GArray *lines;     /* guint32: where each line begins */
        GPtrArray *blocks; /* of the arena */
        char *free;
        gsize left;
        guint32 n_nodes;
        GHashTable *anchors; /* name → BhYaml */
};

BhYamlFile *bh_yaml_file_new(const char *name, guint number, const char *text, gsize len) {
        BhYamlFile *f = g_new0(BhYamlFile, 1);
        guint32 at = 0;

        f->name = g_strdup(name);
        f->text = g_malloc(len + 1);
        if (len)
                memcpy(f->text, text, len);
        f->text[len] = '\0';
        f->len = (guint32) len;
        f->number = number;
        f->blocks = g_ptr_array_new_with_free_func(g_free);
        f->anchors = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        f->lines = g_array_new(FALSE, FALSE, sizeof(guint32));
        g_array_append_val(f->lines, at);
        for (const char *p = f->text, *end = f->text + len; (p = memchr(p, '\n', (gsize) (end - p))); ) {
                at = (guint32) (++p - f->text);
                g_array_append_val(f->lines, at);
        }
        return f;
}

void bh_yaml_file_free(BhYamlFile *f) {
        if (!f)
                return;
        g_free(f->name);
        g_free(f->text);
        g_array_unref(f->lines);
        g_ptr_array_unref(f->blocks);
        g_hash_table_unref(f->anchors);
        g_free(f);
}

guint bh_yaml_file_number(const BhYamlFile *f) {
        return f->number;
}

void bh_yaml_place(const BhYamlFile *f, guint32 at, guint32 *line, guint32 *column) {
        guint lo = 0, hi = f->lines->len;

        while (hi - lo > 1) {
                guint mid = lo + (hi - lo) / 2;

                if (g_array_index(f->lines, guint32, mid) <= at)
                        lo = mid;
                else
                        hi = mid;
        }
        *line = lo + 1;
        *column = at - g_array_index(f->lines, guint32, lo) + 1;
}

static gpointer take(BhYamlFile *f, gsize size) {
        size = (size + 7) & ~(gsize) 7;
        if (size > ARENA_BLOCK / 4) {
                char *own = g_malloc(size);

                g_ptr_array_add(f->blocks, own);
                return own;
        }
        if (size > f->left) {
                f->free = g_malloc(ARENA_BLOCK);
                f->left = ARENA_BLOCK;
                g_ptr_array_add(f->blocks, f->free);
        }
        gpointer got = f->free;
        f->free += size;
        f->left -= size;
        return got;
}

/* --- events to trees --------------------------------------------------------------------------------------------- */

typedef struct {
        BhYaml *node;
        GPtrArray *nodes;
        char *anchor; /* known only when the node is whole, so that nothing contains itself */
} Frame;

typedef struct {
        BhYamlFile *f;
        const BhYamlCalls *calls;
        gpointer user;
        guint32 base, limit;     /* the part of the file that is read */
        gsize chars;             /* libyaml counts characters: how many there are … */
        guint32 bytes;           /* … before this byte */
        GArray *frames;          /* of Frame */
        guint32 item;            /* where the element of the top sequence begins that is being read, or the last one ended */
        guint problems;
        gboolean stop;
} Reader;

static void tell(Reader *r, guint32 at, const char *what) {
        r->problems++;
        r->calls->problem(r->user, at, "LOAD_ERR_YAML_PARSE", what);
}

/* Marks come in the order of the text, but for those of errors. */
static guint32 byte_of(Reader *r, size_t chars) {
        if (chars < r->chars) {
                r->chars = 0;
                r->bytes = r->base;
        }
        for (; r->chars < chars && r->bytes < r->limit; r->chars++) {
                r->bytes++;
                while (r->bytes < r->limit && ((guchar) r->f->text[r->bytes] & 0xc0) == 0x80)
                        r->bytes++;
        }
        return r->bytes;
}

static void frame_clear(gpointer p) {
        Frame *fr = p;

        if (fr->nodes)
                g_ptr_array_unref(fr->nodes);
        g_free(fr->anchor);
}

static BhYaml *node_new(Reader *r, BhYamlKind kind, guint32 start) {
        BhYaml *n = take(r->f, sizeof *n);

        *n = (BhYaml) { .kind = kind, .start = start, .end = start };
        r->f->n_nodes++;
        return n;
}

static void anchor(Reader *r, char *name, BhYaml *node) {
        if (g_hash_table_size(r->f->anchors) >= ANCHORS_MAX) {
                g_free(name);
                tell(r, node->start, "there are more than 10000 anchors in this file: split it");
                r->stop = TRUE;
                return;
        }
        g_hash_table_replace(r->f->anchors, name, node);
}

/* A whole node goes to what contains it, or out. */
static void deliver(Reader *r, BhYaml *node) {
        if (r->frames->len > 1 || (r->frames->len == 1 && g_array_index(r->frames, Frame, 0).node)) {
                g_ptr_array_add(g_array_index(r->frames, Frame, r->frames->len - 1).nodes, node);
        } else if (r->frames->len == 1) {
                r->item = node->end;
                if (node->kind != BH_YAML_NULL)
                        r->calls->item(r->user, node);
        } else if (node->kind != BH_YAML_NULL) {
                r->calls->document(r->user, node);
        }
}

static gboolean is_null(const yaml_event_t *e) {
        static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };

        if (e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
                return FALSE;
        for (gsize i = 0; i < G_N_ELEMENTS(nulls); i++)
                if (e->data.scalar.length == strlen(nulls[i]) && memcmp(e->data.scalar.value, nulls[i], e->data.scalar.length) == 0)
                        return TRUE;
        return FALSE;
}

static void on_scalar(Reader *r, const yaml_event_t *e, guint32 start) {
        BhYaml *n = node_new(r, is_null(e) ? BH_YAML_NULL : BH_YAML_SCALAR, start);
        gsize len = e->data.scalar.length;
        char *text = take(r->f, len + 1);

        memcpy(text, e->data.scalar.value, len);
        text[len] = '\0';
        n->text = text;
        n->n = (guint32) len;
        n->end = byte_of(r, e->end_mark.index);
        switch (e->data.scalar.style) {
        case YAML_SINGLE_QUOTED_SCALAR_STYLE: n->style = '\''; break;
        case YAML_DOUBLE_QUOTED_SCALAR_STYLE: n->style = '"'; break;
        case YAML_LITERAL_SCALAR_STYLE: n->style = '|'; break;
        case YAML_FOLDED_SCALAR_STYLE: n->style = '>'; break;
        default: n->style = ' '; break;
        }
        if (e->data.scalar.anchor)
                anchor(r, g_strdup((const char *) e->data.scalar.anchor), n);
        deliver(r, n);
}

static void on_begin(Reader *r, BhYamlKind kind, const yaml_char_t *name, guint32 start) {
        Frame fr = { .anchor = g_strdup((const char *) name) };

        if (r->frames->len >= BH_RULES_YAML_DEPTH_MAX) {
                g_free(fr.anchor);
                tell(r, start, "nested deeper than 64 levels: rules need seven at most");
                r->stop = TRUE;
                return;
        }
        /* the top sequence of a document is not kept: its elements go out one by one */
        if (kind == BH_YAML_MAP || r->frames->len) {
                fr.node = node_new(r, kind, start);
                fr.nodes = g_ptr_array_new();
        }
        g_array_append_val(r->frames, fr);
}

static void on_end(Reader *r, guint32 end) {
        Frame fr = g_array_index(r->frames, Frame, r->frames->len - 1);

        /* the frame is taken apart here, not cleared by the array */
        g_array_index(r->frames, Frame, r->frames->len - 1) = (Frame) { 0 };
        g_array_set_size(r->frames, r->frames->len - 1);
        if (fr.node) {
                fr.node->end = end;
                fr.node->n = fr.nodes->len;
                fr.node->nodes = take(r->f, MAX(fr.nodes->len, 1) * sizeof(BhYaml *));
                for (guint i = 0; i < fr.nodes->len; i++)
                        fr.node->nodes[i] = g_ptr_array_index(fr.nodes, i);
                if (fr.anchor)
                        anchor(r, g_steal_pointer(&fr.anchor), fr.node);
                deliver(r, fr.node);
        }
        frame_clear(&fr);
}

static void on_alias(Reader *r, const yaml_event_t *e, guint32 start) {
        BhYaml *node = g_hash_table_lookup(r->f->anchors, (const char *) e->data.alias.anchor);

        if (!node) {
                g_autoptr(GString) what = g_string_new("there is no anchor ");
                g_string_append_printf(what, "\"%.80s\" before this alias, or it contains the alias itself", (const char *) e->data.alias.anchor);
                tell(r, start, what->str);
                node = node_new(r, BH_YAML_NULL, start);
                node->text = "";
        }
        deliver(r, node);
}

static void on_event(Reader *r, const yaml_event_t *e) {
        guint32 start = byte_of(r, e->start_mark.index);

        if (r->frames->len == 1 && !g_array_index(r->frames, Frame, 0).node && e->type != YAML_SEQUENCE_END_EVENT)
                r->item = start;
        switch (e->type) {
        case YAML_SCALAR_EVENT: on_scalar(r, e, start); break;
        case YAML_ALIAS_EVENT: on_alias(r, e, start); break;
        case YAML_SEQUENCE_START_EVENT: on_begin(r, BH_YAML_SEQUENCE, e->data.sequence_start.anchor, start); break;
        case YAML_MAPPING_START_EVENT: on_begin(r, BH_YAML_MAP, e->data.mapping_start.anchor, start); break;
        case YAML_SEQUENCE_END_EVENT:
        case YAML_MAPPING_END_EVENT: on_end(r, byte_of(r, e->end_mark.index)); break;
        default: break;
        }
        if (r->f->n_nodes > NODES_MAX && !r->stop) {
                tell(r, start, "there are more than 2,100,000 values in this file: split it");
                r->stop = TRUE;
        }
}

static char *say_error(const Reader *r, const yaml_parser_t *p, guint32 at) {
        GString *s = g_string_new("this is no YAML: ");

        g_string_append(s, p->problem ? p->problem : "it cannot be read");
        if (p->context)
                g_string_append_printf(s, " %s", p->context);
        if (at < r->limit && r->f->text[at] == '\t')
                g_string_append(s, ": indent with spaces, not with tabs");
        else if (p->problem && strstr(p->problem, "mapping values are not allowed"))
                g_string_append(s, ": put the value in quotes, or after \">\" on lines of its own, if it holds a \": \"");
        else
                g_string_append(s, ": look at quotes, brackets and indentation here and in the line before");
        return g_string_free(s, FALSE);
}

/* FALSE: a syntax error, at *at, which is told unless `quiet`. */
static gboolean read_part(Reader *r, guint32 base, guint32 limit, gboolean quiet, guint32 *at) {
        yaml_parser_t parser;
        gboolean whole = TRUE, done = FALSE;

        if (!yaml_parser_initialize(&parser))
                g_error("out of memory"); /* as GLib does */
        yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
        yaml_parser_set_input_string(&parser, (const guchar *) r->f->text + base, limit - base);
        r->base = r->bytes = base;
        r->limit = limit;
        r->chars = 0;
        r->item = base;
        g_array_set_size(r->frames, 0);
        while (!done && !r->stop) {
                yaml_event_t event;

                if (!yaml_parser_parse(&parser, &event)) {
                        gboolean open = parser.context && strstr(parser.context, "quoted scalar") && strstr(parser.problem, "end of stream");

                        /* a quote that is never closed: where it opens says more than where the text ends */
                        *at = MIN(byte_of(r, open ? parser.context_mark.index : parser.problem_mark.index), limit);
                        if (!quiet) {
                                g_autofree char *what = say_error(r, &parser, *at);

                                tell(r, *at, what);
                        }
                        whole = FALSE;
                        break;
                }
                done = event.type == YAML_STREAM_END_EVENT;
                on_event(r, &event);
                yaml_event_delete(&event);
        }
        yaml_parser_delete(&parser);
        return whole;
}

/* Where the next element of the top sequence, or document, begins: a line further than `from` */
static guint32 next_element(const BhYamlFile *f, guint32 from) {
        const char *end = f->text + f->len;

        for (const char *p = f->text + from; (p = memchr(p, '\n', (gsize) (end - p))); ) {
                p++;
                if ((p[0] == '-' && (p[1] == ' ' || p[1] == '\n' || p[1] == '\r')) || strncmp(p, "---", 3) == 0)
                        return (guint32) (p - f->text);
        }
        return f->len;
}

static guint32 line_start(const BhYamlFile *f, guint32 at) {
        while (at > 0 && f->text[at - 1] != '\n')
                at--;
        return at;
}

void bh_yaml_read(BhYamlFile *f, const BhYamlCalls *calls, gpointer user) {
        Reader r = { .f = f, .calls = calls, .user = user, .frames = g_array_new(FALSE, FALSE, sizeof(Frame)) };
        guint32 start = f->len >= 3 && memcmp(f->text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0, at = 0;
        const char *bad;

        g_array_set_clear_func(r.frames, frame_clear);
        if (!g_utf8_validate_len(f->text, f->len, &bad)) {
                at = (guint32) (bad - f->text);
                tell(&r, at, *bad == '\0' ? "a NUL byte: this is no text file"
                             : at == 0 && ((guchar) *bad == 0xff || (guchar) *bad == 0xfe) ? "the file is UTF-16: save it as UTF-8"
                                                                                           : "the file is not UTF-8 from here on: save it as UTF-8");
                g_array_unref(r.frames);
                return;
        }
        if (!read_part(&r, start, f->len, TRUE, &at)) {
                guint before = r.problems;
                guint32 broken = at, from = line_start(f, MAX(r.item, start)), next;

                /* element by element from the broken one on: an open quote is confined to its own */
                guint parts = 0;
                for (from = MAX(from, start); from < f->len && !r.stop; from = next) {
                        if (parts++ >= PARTS_MAX) {
                                tell(&r, from, "after a syntax error only 100,000 elements are read: mend that first");
                                break;
                        }
                        next = next_element(f, from);
                        read_part(&r, from, next, FALSE, &at);
                }
                if (r.problems == before)
                        tell(&r, broken, "this is no YAML as a whole, though each element by itself is: look at what is between elements");
        }
        g_array_unref(r.frames);
}

/* --- reading trees ----------------------------------------------------------------------------------------------- */

gboolean bh_yaml_is(const BhYaml *scalar, const char *text) {
        return scalar && scalar->kind == BH_YAML_SCALAR && scalar->n == strlen(text) && memcmp(scalar->text, text, scalar->n) == 0;
}

const BhYaml *bh_yaml_get(const BhYaml *map, const char *key, const BhYaml **key_node) {
        if (!map || map->kind != BH_YAML_MAP)
                return NULL;
        for (guint i = 0; i + 1 < map->n; i += 2)
                if (bh_yaml_is(map->nodes[i], key)) {
                        if (key_node)
                                *key_node = map->nodes[i];
                        return map->nodes[i + 1];
                }
        return NULL;
}

static void run_to(GArray *runs, guint32 at, guint32 off) {
        BhYamlRun run = { at, off }, *last = runs->len ? &g_array_index(runs, BhYamlRun, runs->len - 1) : NULL;

        if (!last || off - last->off != at - last->at)
                g_array_append_val(runs, run);
}

static gboolean blank(char c) {
        return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Bytes of the escape that begins at the backslash p[0]; bytes of the value that it makes: one to four. */
static guint32 escape_len(const char *p, guint32 left) {
        guint32 n = left < 2 ? 1 : p[1] == 'x' ? 4 : p[1] == 'u' ? 6 : p[1] == 'U' ? 10 : 2;

        return MIN(n, left);
}

GArray *bh_yaml_runs(const BhYamlFile *f, const BhYaml *scalar) {
        GArray *runs = g_array_new(FALSE, FALSE, sizeof(BhYamlRun));
        guint32 p = scalar->start, end = MIN(scalar->end, f->len), i = 0;

        if (scalar->style == '|' || scalar->style == '>') {
                while (p < end && f->text[p] != '\n')
                        p++;
        } else if ((scalar->style == '"' || scalar->style == '\'')) {
                /* from the quote itself: what stands before it is the anchor or tag */
                while (p < end && f->text[p] != (char) scalar->style)
                        p++;
                p = MIN(p + 1, end);
        }
        while (i < scalar->n) {
                char c = scalar->text[i];

                if (scalar->style == '"' && p < end && f->text[p] == '\\') {
                        guint32 n = escape_len(f->text + p, end - p);

                        if (n >= 2 && (f->text[p + 1] == '\n' || f->text[p + 1] == '\r')) { /* the line goes on */
                                p += 2;
                                while (p < end && blank(f->text[p]))
                                        p++;
                                continue;
                        }
                        run_to(runs, i++, p);
                        while (i < scalar->n && ((guchar) scalar->text[i] & 0xc0) == 0x80)
                                run_to(runs, i++, p);
                        p += n;
                        continue;
                }
                if (!blank(c))
                        while (p < end && f->text[p] != c && blank(f->text[p]))
                                p++;
                if (p < end && f->text[p] == c) {
                        run_to(runs, i++, p);
                        p += scalar->style == '\'' && c == '\'' ? 2 : 1;
                } else {
                        run_to(runs, i++, MIN(p, end)); /* a folded break, or a character that YAML changed */
                }
        }
        if (runs->len == 0)
                run_to(runs, 0, scalar->start);
        return runs;
}

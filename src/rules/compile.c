/* SPDX-License-Identifier: Apache-2.0 */
/* From trees of conditions to slots, atoms and nodes; reduce.c makes code of them. */
#include <arpa/inet.h>
#include <stdlib.h>

#include "rules/names.h"
#include "rules/program.h"

struct builder {
        BhRuleEngine *e;
        GHashTable *slots, *atoms, *nodes; /* GBytes of what it is -> index + 1 */
        GPtrArray *problems;
        BhRuleRun *run;      /* settles atoms by the call */
        guint rule;
        gboolean failed;     /* this rule */
        GHashTable *told;    /* fields that the rule was told of: each once */
};

static void problem_free(gpointer data) {
        BhEngineProblem *p = data;

        g_free(p->what);
        g_free(p);
}

static void problem(struct builder *b, gboolean error, struct bh_pos pos, const char *format, ...) G_GNUC_PRINTF(4, 5);
static void problem(struct builder *b, gboolean error, struct bh_pos pos, const char *format, ...) {
        BhEngineProblem *p = g_new0(BhEngineProblem, 1);
        va_list ap;

        p->rule = b->rule;
        p->error = error;
        p->pos = pos;
        va_start(ap, format);
        p->what = g_strdup_vprintf(format, ap);
        va_end(ap);
        b->failed |= error;
        if (b->problems && b->problems->len < BH_RULES_PROBLEMS_MAX)
                g_ptr_array_add(b->problems, p);
        else
                problem_free(p);
}

/* ---- equal things once ---- */

static void key_number(GByteArray *key, guint64 n) {
        g_byte_array_append(key, (const guint8 *) &n, sizeof(n));
}

static void key_text(GByteArray *key, const char *p, gsize len) {
        key_number(key, len);
        g_byte_array_append(key, (const guint8 *) (p ? p : ""), (guint) len);
}

/* Takes the key. The index, or BH_NONE and the key is entered as `next`. */
static guint32 known(GHashTable *index, GByteArray *key, guint32 next) {
        GBytes *bytes = g_byte_array_free_to_bytes(key);
        gpointer at = g_hash_table_lookup(index, bytes);

        if (at) {
                g_bytes_unref(bytes);
                return GPOINTER_TO_UINT(at) - 1;
        }
        g_hash_table_insert(index, bytes, GUINT_TO_POINTER(next + 1));
        return BH_NONE;
}

guint32 bh_node_add(BhRuleEngine *e, GHashTable *index, enum bh_node_kind kind, const guint32 *kids, guint n) {
        GByteArray *key = g_byte_array_new();
        struct bh_node node = { .kind = (guint8) kind, .n = n, .entry = BH_NONE };
        guint32 at;

        key_number(key, kind);
        g_byte_array_append(key, (const guint8 *) kids, n * (guint) sizeof(guint32));
        at = known(index, key, e->nodes->len);
        if (at != BH_NONE)
                return at;
        if (kind == BH_NODE_AND || kind == BH_NODE_OR) {
                node.first = e->node_kids->len;
                g_array_append_vals(e->node_kids, kids, n);
        } else {
                node.first = n ? kids[0] : 0;
        }
        g_array_append_val(e->nodes, node);
        return e->nodes->len - 1;
}

static guint32 constant(struct builder *b, gboolean truth) {
        return bh_node_add(b->e, b->nodes, truth ? BH_NODE_TRUE : BH_NODE_FALSE, NULL, 0);
}

static guint32 node_of(struct builder *b, guint32 atom) {
        return bh_node_add(b->e, b->nodes, BH_NODE_ATOM, &atom, 1);
}

static guint32 negate(struct builder *b, guint32 node) {
        return bh_node_add(b->e, b->nodes, BH_NODE_NOT, &node, 1);
}

static guint32 both(struct builder *b, enum bh_node_kind kind, guint32 x, guint32 y) {
        guint32 kids[2] = { MIN(x, y), MAX(x, y) };

        return x == y ? x : bh_node_add(b->e, b->nodes, kind, kids, 2);
}

static struct bh_str keep(struct builder *b, const char *p, gsize len) {
        return (struct bh_str){ g_string_chunk_insert_len(b->e->arena, p ? p : "", (gssize) len), (guint32) len };
}

/* ---- operands ---- */

static void calls_of_kinds(enum bh_rule_when when, guint64 calls[BH_CALL_WORDS]) {
        guint64 kinds[BH_KIND_WORDS];

        bh_rule_when_kinds(when, kinds);
        memset(calls, 0, sizeof(guint64) * BH_CALL_WORDS);
        for (guint c = 0; c < BH_CALL_COUNT; c++) {
                guint kind = bh_rule_calls[c].kind;

                if (kinds[kind / 64] >> (kind % 64) & 1)
                        calls[c / 64] |= 1ull << (c % 64);
        }
}

static guint32 slot_add(struct builder *b, GByteArray *key, const struct bh_slot *slot) {
        guint32 at = known(b->slots, key, b->e->slots->len);

        if (at != BH_NONE)
                return at;
        g_array_append_vals(b->e->slots, slot, 1);
        return b->e->slots->len - 1;
}

static guint32 slot_of(struct builder *b, const BhOperand *o);

static guint32 field_slot(struct builder *b, const BhOperand *o) {
        const BhRuleField *f = o->field;
        GByteArray *key = g_byte_array_new();
        struct bh_slot s = { .kind = BH_SLOT_FIELD, .type = (guint8) f->type, .row = f, .values = BH_NONE };

        key_number(key, BH_SLOT_FIELD);
        key_number(key, f->id);
        key_number(key, o->arg != NULL);
        key_text(key, o->arg, o->arg ? strlen(o->arg) : 0);
        s.field = (struct bh_field_ref){ .id = f->id, .has_arg = o->arg != NULL, .has_index = o->has_index, .index = o->index };
        if (o->arg)
                s.field.arg = keep(b, o->arg, strlen(o->arg));
        if (f->id == BH_FLD_EVT_ARG || f->id == BH_FLD_EVT_RAWARG)
                bh_rule_arg_calls(&s.field, s.calls);
        else
                calls_of_kinds(f->when, s.calls);
        s.many = f->flags & BH_FF_EITHER ? BH_MANY_EITHER : f->flags & BH_FF_LIST ? BH_MANY_LIST : (f->flags & BH_FF_ANCESTORS) && !o->arg ? BH_MANY_ANY : BH_MANY_ONE;
        if (s.many != BH_MANY_ONE)
                s.values = b->e->multi++;
        return slot_add(b, key, &s);
}

static guint32 transform_slot(struct builder *b, const BhOperand *o) {
        g_autoptr(GArray) args = g_array_new(FALSE, FALSE, sizeof(guint32));
        struct bh_slot s = { .kind = BH_SLOT_TRANSFORM, .transformer = (guint8) o->transformer, .type = o->transformer == BH_TR_LEN ? BH_RT_NUMBER : BH_RT_STRING, .values = BH_NONE };
        GByteArray *key;

        memset(s.calls, 0xff, sizeof(s.calls));
        for (guint i = 0; o->args && i < o->args->len; i++) {
                const BhOperand *arg = g_ptr_array_index(o->args, i);

                for (guint k = 0, n = arg->kind == BH_OPERAND_LIST ? (arg->args ? arg->args->len : 0) : 1; k < n; k++) {
                        guint32 slot = slot_of(b, arg->kind == BH_OPERAND_LIST ? g_ptr_array_index(arg->args, k) : arg);

                        if (slot == BH_NONE)
                                return BH_NONE;
                        g_array_append_val(args, slot);
                        for (guint w = 0; w < BH_CALL_WORDS; w++)
                                s.calls[w] &= BH_AT(b->e->slots, struct bh_slot, slot).calls[w];
                }
        }
        if (!args->len) {
                problem(b, TRUE, o->pos, "a transformer needs something to transform");
                return BH_NONE;
        }

        const struct bh_slot *first = &BH_AT(b->e->slots, struct bh_slot, g_array_index(args, guint32, 0));
        switch (o->transformer) {
        case BH_TR_GETOPT:
                s.many = o->arg ? BH_MANY_ONE : BH_MANY_LIST;
                s.values = 0;
                break;
        case BH_TR_LEN:
        case BH_TR_JOIN:
        case BH_TR_CONCAT:
                s.many = BH_MANY_ONE;
                break;
        default:
                s.many = first->many;
                s.values = first->values == BH_NONE ? BH_NONE : 0;
                break;
        }
        key = g_byte_array_new();
        key_number(key, BH_SLOT_TRANSFORM);
        key_number(key, o->transformer);
        key_text(key, o->arg, o->arg ? strlen(o->arg) : 0);
        g_byte_array_append(key, (const guint8 *) args->data, args->len * (guint) sizeof(guint32));
        if (o->arg)
                s.text = keep(b, o->arg, strlen(o->arg));
        s.args = b->e->slot_args->len;
        s.n_args = args->len;
        g_array_append_vals(b->e->slot_args, args->data, args->len);
        if (s.values != BH_NONE)
                s.values = b->e->multi++;
        return slot_add(b, key, &s);
}

static guint32 slot_of(struct builder *b, const BhOperand *o) {
        struct bh_slot s = { .kind = BH_SLOT_TEXT, .type = BH_RT_STRING, .values = BH_NONE };
        GByteArray *key;

        switch (o->kind) {
        case BH_OPERAND_FIELD: return field_slot(b, o);
        case BH_OPERAND_TRANSFORM:
                if (o->transformer == BH_TR_VAL && o->args && o->args->len == 1)
                        return slot_of(b, g_ptr_array_index(o->args, 0));
                return transform_slot(b, o);
        case BH_OPERAND_LITERAL: break;
        case BH_OPERAND_LIST:
                problem(b, TRUE, o->pos, "a list cannot stand here");
                return BH_NONE;
        }
        key = g_byte_array_new();
        key_number(key, BH_SLOT_TEXT);
        key_text(key, o->text, o->len);
        s.text = keep(b, o->text, o->len);
        memset(s.calls, 0xff, sizeof(s.calls));
        return slot_add(b, key, &s);
}

/* ---- constants ---- */

static const char *field_name(const struct bh_slot *s) {
        return s->kind == BH_SLOT_FIELD ? s->row->name : bh_rule_type_name(s->type);
}

static gboolean number_of(struct builder *b, const struct bh_slot *s, const BhOperand *o, gint64 *n) {
        gboolean hex = o->len > 2 && o->text[0] == '0' && (o->text[1] == 'x' || o->text[1] == 'X');
        char *end = NULL;

        if (s->type == BH_RT_BOOL) {
                if (g_str_equal(o->text, "true") || g_str_equal(o->text, "1"))
                        return *n = 1, TRUE;
                if (g_str_equal(o->text, "false") || g_str_equal(o->text, "0"))
                        return *n = 0, TRUE;
                problem(b, TRUE, o->pos, "%s is true or false, not \"%s\"", field_name(s), o->text);
                return FALSE;
        }
        *n = g_ascii_strtoll(o->text, &end, hex ? 16 : 10);
        if (o->len && end == o->text + o->len)
                return TRUE;
        if (s->type == BH_RT_PORT) {
                *n = bh_rule_port_number(o->text, o->len);
                if (*n >= 0)
                        return TRUE;
                problem(b, TRUE, o->pos, "\"%s\" is neither a port number nor the name of a service", o->text);
                return FALSE;
        }
        problem(b, TRUE, o->pos, "%s is a number, \"%s\" is not: write a decimal or 0x… one", field_name(s), o->text);
        return FALSE;
}

static gboolean net_of(struct builder *b, const BhOperand *o, struct bh_net *net) {
        g_autofree char *text = g_strndup(o->text, o->len);
        char *slash = strchr(text, '/'), *end = NULL;
        guint64 bits;

        *net = (struct bh_net){ 0 };
        if (slash)
                *slash++ = 0;
        if (inet_pton(AF_INET, text, net->ip.b) == 1)
                net->ip.len = 4;
        else if (inet_pton(AF_INET6, text, net->ip.b) == 1)
                net->ip.len = 16;
        bits = slash ? g_ascii_strtoull(slash, &end, 10) : net->ip.len * 8u;
        if (net->ip.len && (!slash || (*slash && !*end)) && bits <= net->ip.len * 8u) {
                net->bits = (guint8) bits;
                return TRUE;
        }
        problem(b, TRUE, o->pos, "\"%s\" is no address (192.0.2.1, 2001:db8::1) and no network (10.0.0.0/8)", o->text);
        return FALSE;
}

static int by_number(gconstpointer x, gconstpointer y) {
        gint64 a = *(const gint64 *) x, b = *(const gint64 *) y;

        return a < b ? -1 : a > b;
}

static int by_text(gconstpointer x, gconstpointer y) {
        const struct bh_str *a = x, *b = y;
        int c = memcmp(a->p, b->p, MIN(a->len, b->len));

        return c ? c : a->len < b->len ? -1 : a->len > b->len;
}

/* ---- atoms ---- */

/* How often a comparison with a text of that length is true: no more than an order that is good on average. */
static gfloat likely(const struct bh_slot *s, enum bh_op op, gsize len) {
        gfloat p = 1;

        if (s->kind == BH_SLOT_FIELD) {
                switch ((enum bh_rule_field_id) s->row->id) {
                case BH_FLD_FD_TYPECHAR:
                case BH_FLD_FD_TYPE:
                case BH_FLD_FD_L4PROTO:
                case BH_FLD_FD_SOCKFAMILY:
                case BH_FLD_CONTAINER_ID:
                case BH_FLD_USER_NAME:
                case BH_FLD_EVT_RES: return 0.4f;
                case BH_FLD_THREAD_CAP_EFFECTIVE:
                case BH_FLD_THREAD_CAP_PERMITTED: return 0.2f;
                default: break;
                }
        }
        if (op == BH_OP_EQ || op == BH_OP_IN)
                return len ? 0.004f : 0.05f;
        for (gsize i = 0; i < len && i < 24; i++)
                p *= 0.75f;
        return MAX(p, 0.003f);
}

/* ns to have the value of a slot and to look at it once. */
static gfloat price(const struct bh_slot *s) {
        if (s->kind != BH_SLOT_FIELD)
                return 120;
        if (s->many == BH_MANY_ANY)
                return 150;
        switch ((enum bh_rule_field_id) s->row->id) {
        case BH_FLD_EVT_ARG: return 100;
        case BH_FLD_PROC_CMDLINE:
        case BH_FLD_PROC_ARGS:
        case BH_FLD_PROC_EXELINE: return 60;
        case BH_FLD_PROC_PCMDLINE:
        case BH_FLD_PROC_ENV:
        case BH_FLD_EVT_ARGS:
        case BH_FLD_EVT_INFO: return 150;
        case BH_FLD_PROC_NAME:
        case BH_FLD_FD_TYPECHAR:
        case BH_FLD_EVT_IS_OPEN_WRITE:
        case BH_FLD_EVT_IS_OPEN_READ:
        case BH_FLD_CONTAINER_ID: return 4;
        case BH_FLD_FD_NAME:
        case BH_FLD_PROC_PNAME:
        case BH_FLD_PROC_EXEPATH: return 20;
        default: break;
        }
        if (s->row->flags & BH_FF_ANCESTORS)
                return 100;
        return 15;
}

static guint32 atom_add(struct builder *b, GByteArray *key, struct bh_atom *a) {
        guint32 at = known(b->atoms, key, b->e->atoms->len);

        if (at != BH_NONE)
                return at;
        if (a->p <= 0)
                a->p = 0.5f;
        if (a->cost <= 0 && a->slot != BH_NONE)
                a->cost = price(&BH_AT(b->e->slots, struct bh_slot, a->slot)) + (a->how == BH_HOW_REGEX ? 400 : a->how == BH_HOW_PREFIX || a->how == BH_HOW_TEXT ? 30 : 0);
        g_array_append_vals(b->e->atoms, a, 1);
        return b->e->atoms->len - 1;
}

static GByteArray *atom_key(const struct bh_atom *a) {
        GByteArray *key = g_byte_array_new();

        key_number(key, a->how);
        key_number(key, a->op);
        key_number(key, a->slot);
        key_number(key, a->other);
        key_number(key, a->negated_many);
        return key;
}

static guint32 exists(struct builder *b, guint32 slot) {
        struct bh_atom a = { .how = BH_HOW_EXISTS, .op = BH_OP_EXISTS, .slot = slot, .other = BH_NONE, .p = 0.95f };

        return node_of(b, atom_add(b, atom_key(&a), &a));
}

/* With constant texts; SET, TEXT, SUBSET, ANY. */
static guint32 text_atom(struct builder *b, enum bh_atom_how how, enum bh_op op, guint32 slot, GArray *texts) {
        struct bh_atom a = { .how = (guint8) how, .op = (guint8) op, .slot = slot, .other = BH_NONE, .first = b->e->texts->len };
        const struct bh_slot *s = &BH_AT(b->e->slots, struct bh_slot, slot);
        GByteArray *key = atom_key(&a);

        g_array_sort(texts, by_text);
        for (guint i = 0; i < texts->len; i++) {
                const struct bh_str *t = &g_array_index(texts, struct bh_str, i);

                if (i && by_text(t, t - 1) == 0)
                        continue;
                key_text(key, t->p, t->len);
                g_array_append_vals(b->e->texts, t, 1);
                a.p += likely(s, op, t->len);
                a.n++;
        }
        /* of a long list mostly none is met */
        if ((op == BH_OP_EQ || op == BH_OP_IN) && a.n > 4 && a.p < 0.2f * (gfloat) a.n)
                a.p = 0.016f + 0.0008f * (gfloat) (a.n - 4);
        a.p = MIN(a.p, 0.9f);
        return node_of(b, atom_add(b, key, &a));
}

static guint32 number_atom(struct builder *b, enum bh_op op, guint32 slot, GArray *numbers) {
        const struct bh_slot *s = &BH_AT(b->e->slots, struct bh_slot, slot);
        struct bh_atom a = { .how = BH_HOW_NUMBER, .op = (guint8) op, .slot = slot, .other = BH_NONE, .first = b->e->numbers->len, .n = numbers->len };
        GByteArray *key;

        a.negated_many = op == BH_OP_NE && s->many == BH_MANY_EITHER;
        key = atom_key(&a);
        g_array_sort(numbers, by_number);
        g_byte_array_append(key, (const guint8 *) numbers->data, numbers->len * (guint) sizeof(gint64));
        g_array_append_vals(b->e->numbers, numbers->data, numbers->len);
        a.p = op == BH_OP_EQ || op == BH_OP_IN ? MIN(0.05f * (gfloat) numbers->len, 0.9f) : op == BH_OP_NE ? 0.9f : 0.5f;
        if (s->type == BH_RT_BOOL && s->kind == BH_SLOT_FIELD) {
                gboolean wanted = numbers->len == 1 && (g_array_index(numbers, gint64, 0) != 0) == (op != BH_OP_NE);
                gfloat p = s->row->id == BH_FLD_EVT_IS_OPEN_READ ? 0.8f : s->row->id == BH_FLD_EVT_IS_OPEN_WRITE ? 0.2f : s->row->id == BH_FLD_FD_CONNECTED ? 0.5f : 0.03f;

                a.p = wanted ? p : 1 - p;
        }
        return node_of(b, atom_add(b, key, &a));
}

static guint32 net_atom(struct builder *b, enum bh_op op, guint32 slot, GArray *nets) {
        const struct bh_slot *s = &BH_AT(b->e->slots, struct bh_slot, slot);
        struct bh_atom a = { .how = BH_HOW_IP, .op = (guint8) op, .slot = slot, .other = BH_NONE, .first = b->e->nets->len, .n = nets->len };
        GByteArray *key;

        a.negated_many = op == BH_OP_NE && s->many == BH_MANY_EITHER;
        key = atom_key(&a);
        for (guint i = 0; i < nets->len; i++) {
                const struct bh_net *net = &g_array_index(nets, struct bh_net, i);

                g_byte_array_append(key, net->ip.b, sizeof(net->ip.b));
                key_number(key, net->ip.len * 256u + net->bits);
                a.p += net->bits >= 24 ? 0.02f : 0.2f;
        }
        a.p = MIN(a.p, 0.9f);
        if (op == BH_OP_NE)
                a.p = 1 - a.p;
        g_array_append_vals(b->e->nets, nets->data, nets->len);
        return node_of(b, atom_add(b, key, &a));
}

static guint32 regex_atom(struct builder *b, guint32 slot, const BhOperand *o) {
        struct bh_atom a = { .how = BH_HOW_REGEX, .op = BH_OP_REGEX, .slot = slot, .other = BH_NONE, .first = b->e->regexes->len, .n = 1, .p = 0.05f };
        g_autoptr(GError) error = NULL;
        GByteArray *key;
        BhRegex *regex = bh_regex_new(o->text, o->len, &error);
        guint32 before = b->e->atoms->len, at;

        if (!regex) {
                problem(b, TRUE, o->pos, "%s", error->message);
                return BH_NONE;
        }
        key = atom_key(&a);
        key_text(key, o->text, o->len);
        at = atom_add(b, key, &a);
        if (at == before)
                g_ptr_array_add(b->e->regexes, regex);
        else
                bh_regex_free(regex);
        return node_of(b, at);
}

static guint32 prefix_atom(struct builder *b, guint32 slot, GArray *texts) {
        struct bh_atom a = { .how = BH_HOW_PREFIX, .op = BH_OP_PMATCH, .slot = slot, .other = BH_NONE, .first = b->e->prefixes->len, .n = 1, .p = 0.1f };
        GByteArray *key = atom_key(&a);
        guint32 before = b->e->atoms->len, at;

        g_array_sort(texts, by_text);
        for (guint i = 0; i < texts->len; i++)
                key_text(key, g_array_index(texts, struct bh_str, i).p, g_array_index(texts, struct bh_str, i).len);
        at = atom_add(b, key, &a);
        if (at == before) {
                BhPrefixes *p = bh_prefixes_new();

                for (guint i = 0; i < texts->len; i++)
                        bh_prefixes_add(p, g_array_index(texts, struct bh_str, i).p, g_array_index(texts, struct bh_str, i).len);
                g_ptr_array_add(b->e->prefixes, p);
        }
        return node_of(b, at);
}

static int by_index(gconstpointer x, gconstpointer y) {
        guint32 a = *(const guint32 *) x, b = *(const guint32 *) y;

        return a < b ? -1 : a > b;
}

/* AND or OR of nodes, equal ones once. */
static guint32 join_nodes(struct builder *b, enum bh_node_kind kind, GArray *nodes) {
        guint n = 0;

        g_array_sort(nodes, by_index);
        for (guint i = 0; i < nodes->len; i++) {
                guint32 node = g_array_index(nodes, guint32, i);

                if (!n || g_array_index(nodes, guint32, n - 1) != node)
                        g_array_index(nodes, guint32, n++) = node;
        }
        if (n == 1)
                return g_array_index(nodes, guint32, 0);
        return n ? bh_node_add(b->e, b->nodes, kind, (const guint32 *) (const void *) nodes->data, n) : constant(b, kind == BH_NODE_AND);
}

/* ---- what the call settles ---- */

static gboolean settled_by_call(const struct bh_slot *s) {
        if (s->kind != BH_SLOT_FIELD)
                return FALSE;
        switch ((enum bh_rule_field_id) s->row->id) {
        case BH_FLD_EVT_TYPE:
        case BH_FLD_SYSCALL_TYPE:
        case BH_FLD_EVT_TYPE_IS:
        case BH_FLD_EVT_DIR:
        case BH_FLD_EVT_SOURCE:
        case BH_FLD_EVT_CATEGORY:
        case BH_FLD_EVT_IS_ASYNC:
        case BH_FLD_EVT_ASYNCTYPE:
        case BH_FLD_EVT_IS_IO:
        case BH_FLD_EVT_IS_IO_READ:
        case BH_FLD_EVT_IS_IO_WRITE:
        case BH_FLD_EVT_IO_DIR:
        case BH_FLD_EVT_IS_WAIT:
        case BH_FLD_EVT_COUNT:
        case BH_FLD_EVT_COUNT_EXIT:
        case BH_FLD_BH_KIND: return TRUE;
        default: return FALSE;
        }
}

/* An event of which nothing is known but the call. */
static void bare_event(struct bh_event *e, enum bh_rule_call call) {
        memset(e, 0, sizeof(*e));
        BH_SET(e, type, bh_rule_calls[call].kind);
        if (call == BH_CALL_DNS_IN)
                BH_SET(e, outgoing, FALSE);
}

/* evt.type has all names of the call: positive comparisons are true of one of them, != of all. */
static gboolean names_compare(struct builder *b, const struct bh_atom *a, enum bh_rule_call call) {
        gboolean all = a->op == BH_OP_NE, hit = all;

        for (const char *p = bh_rule_calls[call].names; *p;) {
                struct bh_value name;
                gsize n = strcspn(p, " ");

                bh_value_str(&name, (struct bh_str){ p, (guint32) n });
                hit = bh_run_compare(b->run, b->e, a, &name, 1);
                if (hit != all)
                        return hit;
                p += n + (p[n] == ' ');
        }
        return hit;
}

/* Gives an atom that looks at the slot alone its answer for each call. */
static void settle(struct builder *b, struct bh_atom *a) {
        const struct bh_slot *s = &BH_AT(b->e->slots, struct bh_slot, a->slot);
        gboolean by_name = s->kind == BH_SLOT_FIELD && (s->row->id == BH_FLD_EVT_TYPE || s->row->id == BH_FLD_SYSCALL_TYPE);

        for (guint c = 0; c < BH_CALL_COUNT; c++) {
                struct bh_event e;
                struct bh_value values[BH_VALUES_MAX];
                gboolean truth = FALSE;

                if (!(s->calls[c / 64] >> (c % 64) & 1))
                        continue;
                if (by_name && a->how != BH_HOW_EXISTS) {
                        truth = names_compare(b, a, (enum bh_rule_call) c);
                } else {
                        bare_event(&e, (enum bh_rule_call) c);
                        bh_scene_reset(&b->run->scene, &e, NULL);
                        b->run->scene.call = (enum bh_rule_call) c;
                        truth = bh_run_compare(b->run, b->e, a, values, bh_scene_values(&b->run->scene, &s->field, values));
                }
                if (truth)
                        a->calls[c / 64] |= 1ull << (c % 64);
        }
}

/* Says so if no event has a type that the rule asks for: a misspelling, or a call that is not watched. */
static void check_types(struct builder *b, const struct bh_slot *s, enum bh_op op, const GPtrArray *constants) {
        if (s->kind != BH_SLOT_FIELD || (s->row->id != BH_FLD_EVT_TYPE && s->row->id != BH_FLD_SYSCALL_TYPE) || (op != BH_OP_EQ && op != BH_OP_IN && op != BH_OP_NE && op != BH_OP_INTERSECTS))
                return;
        for (guint i = 0; i < constants->len; i++) {
                const BhOperand *o = g_ptr_array_index(constants, i);

                if (!bh_rule_call_known(o->text, o->len))
                        problem(b, FALSE, o->pos, "no event has the type \"%s\" here: what depends on it is never true", o->text);
        }
}

/* ---- checks ---- */

static gboolean op_fits(enum bh_rule_type type, gboolean list, enum bh_op op) {
        if (op == BH_OP_EXISTS)
                return TRUE;
        if (list)
                return op == BH_OP_IN || op == BH_OP_INTERSECTS;
        switch (type) {
        case BH_RT_STRING:
        case BH_RT_FLAGS: return op != BH_OP_BCONTAINS && op != BH_OP_BSTARTSWITH;
        case BH_RT_BYTES:
                return op == BH_OP_EQ || op == BH_OP_NE || op == BH_OP_CONTAINS || op == BH_OP_IN || op == BH_OP_STARTSWITH || op == BH_OP_ENDSWITH || op == BH_OP_INTERSECTS || op == BH_OP_BCONTAINS ||
                       op == BH_OP_BSTARTSWITH;
        case BH_RT_BOOL:
        case BH_RT_IP:
        case BH_RT_NET: return op == BH_OP_EQ || op == BH_OP_NE || op == BH_OP_IN || op == BH_OP_INTERSECTS;
        case BH_RT_NUMBER:
        case BH_RT_TIME:
        case BH_RT_DURATION:
        case BH_RT_PORT: return op == BH_OP_EQ || op == BH_OP_NE || op == BH_OP_IN || op == BH_OP_INTERSECTS || (op >= BH_OP_LT && op <= BH_OP_GE);
        case BH_RT_ANY: return TRUE;
        }
        return FALSE;
}

/* A pattern in which nothing is special is a text. */
static gboolean plain_glob(const BhOperand *o) {
        return strcspn(o->text, "*?[\\") == o->len;
}

/* What a text must begin and end with to match the pattern: literals, which sets tell, stand in front of the pattern itself. */
static guint32 glob_with_ends(struct builder *b, guint32 slot, const BhOperand *o, guint32 glob) {
        gsize head = strcspn(o->text, "*?[\\"), tail = 0;
        g_autoptr(GArray) nodes = g_array_new(FALSE, FALSE, sizeof(guint32)), texts = g_array_new(FALSE, FALSE, sizeof(struct bh_str));

        g_array_append_val(nodes, glob);
        while (tail < o->len && !strchr("*?[]\\", o->text[o->len - 1 - tail]))
                tail++;
        if (head) {
                struct bh_str t = keep(b, o->text, head);

                g_array_append_val(texts, t);
                glob = text_atom(b, BH_HOW_SET, BH_OP_STARTSWITH, slot, texts);
                g_array_append_val(nodes, glob);
                g_array_set_size(texts, 0);
        }
        if (tail && !strpbrk(o->text, "[\\")) {
                struct bh_str t = keep(b, o->text + o->len - tail, tail);

                g_array_append_val(texts, t);
                glob = text_atom(b, BH_HOW_SET, BH_OP_ENDSWITH, slot, texts);
                g_array_append_val(nodes, glob);
        }
        return join_nodes(b, BH_NODE_AND, nodes);
}

static guint32 compare_texts(struct builder *b, guint32 slot, enum bh_op op, const GPtrArray *constants) {
        const struct bh_slot *s = &BH_AT(b->e->slots, struct bh_slot, slot);
        g_autoptr(GArray) texts = g_array_new(FALSE, FALSE, sizeof(struct bh_str));
        gboolean settled = settled_by_call(s), list = s->many == BH_MANY_LIST;

        for (guint i = 0; i < constants->len; i++) {
                const BhOperand *o = g_ptr_array_index(constants, i);
                struct bh_str t = keep(b, o->text, o->len);

                g_array_append_val(texts, t);
        }
        if (op == BH_OP_REGEX)
                return constants->len == 1 ? regex_atom(b, slot, g_ptr_array_index(constants, 0)) : constant(b, FALSE);
        if (op == BH_OP_PMATCH)
                return prefix_atom(b, slot, texts);
        if (op == BH_OP_GLOB && constants->len == 1 && plain_glob(g_ptr_array_index(constants, 0)))
                op = BH_OP_EQ;
        if (list && op == BH_OP_IN)
                return text_atom(b, BH_HOW_SUBSET, BH_OP_EQ, slot, texts);
        if (op == BH_OP_IN || op == BH_OP_INTERSECTS)
                op = BH_OP_EQ;
        if (op == BH_OP_BCONTAINS)
                op = BH_OP_CONTAINS;
        if (op == BH_OP_BSTARTSWITH)
                op = BH_OP_STARTSWITH;
        if (settled)
                return text_atom(b, BH_HOW_TEXT, op, slot, texts);
        switch (op) {
        case BH_OP_EQ:
        case BH_OP_STARTSWITH:
        case BH_OP_ENDSWITH:
        case BH_OP_CONTAINS:
        case BH_OP_ICONTAINS: return text_atom(b, BH_HOW_SET, op, slot, texts);
        case BH_OP_NE:
                if (s->many == BH_MANY_ONE) {
                        guint32 equal = text_atom(b, BH_HOW_SET, BH_OP_EQ, slot, texts);

                        return both(b, BH_NODE_AND, exists(b, slot), negate(b, equal));
                }
                break;
        case BH_OP_GLOB:
                if (s->many == BH_MANY_ONE && constants->len == 1)
                        return glob_with_ends(b, slot, g_ptr_array_index(constants, 0), text_atom(b, BH_HOW_TEXT, op, slot, texts));
                break;
        default: break;
        }
        return text_atom(b, BH_HOW_TEXT, op, slot, texts);
}

/* The slot against constants, as one comparison. */
static guint32 compare_constants(struct builder *b, guint32 slot, enum bh_op op, const GPtrArray *constants) {
        const struct bh_slot *s = &BH_AT(b->e->slots, struct bh_slot, slot);
        g_autoptr(GArray) numbers = g_array_new(FALSE, FALSE, sizeof(gint64)), nets = g_array_new(FALSE, FALSE, sizeof(struct bh_net)), texts = NULL;
        gboolean ok = TRUE;

        if (!constants->len)
                return constant(b, FALSE);
        switch ((enum bh_rule_type) s->type) {
        case BH_RT_STRING:
        case BH_RT_FLAGS:
        case BH_RT_BYTES:
                check_types(b, s, op, constants);
                return compare_texts(b, slot, op, constants);
        case BH_RT_IP:
        case BH_RT_NET:
                for (guint i = 0; i < constants->len; i++) {
                        struct bh_net net;

                        if ((ok &= net_of(b, g_ptr_array_index(constants, i), &net)))
                                g_array_append_val(nets, net);
                }
                return ok ? net_atom(b, op == BH_OP_INTERSECTS ? BH_OP_IN : op, slot, nets) : BH_NONE;
        case BH_RT_ANY:
                if (op == BH_OP_REGEX || op == BH_OP_PMATCH)
                        return compare_texts(b, slot, op, constants);
                texts = g_array_new(FALSE, FALSE, sizeof(struct bh_str));
                for (guint i = 0; i < constants->len; i++) {
                        const BhOperand *o = g_ptr_array_index(constants, i);
                        struct bh_str t = keep(b, o->text, o->len);

                        g_array_append_val(texts, t);
                }
                return text_atom(b, BH_HOW_ANY, op, slot, texts);
        default:
                for (guint i = 0; i < constants->len; i++) {
                        gint64 n;

                        if ((ok &= number_of(b, s, g_ptr_array_index(constants, i), &n)))
                                g_array_append_val(numbers, n);
                }
                return ok ? number_atom(b, op == BH_OP_INTERSECTS || (op == BH_OP_EQ) ? BH_OP_IN : op, slot, numbers) : BH_NONE;
        }
}

static guint32 compare_slot(struct builder *b, guint32 slot, enum bh_op op, const BhOperand *right) {
        struct bh_atom a = { .how = BH_HOW_SLOT, .op = (guint8) op, .slot = slot, .p = 0.1f };

        if (op == BH_OP_REGEX || op == BH_OP_PMATCH) {
                problem(b, TRUE, right->pos, "%s needs patterns that are written down, not the value of a field", bh_op_text(op));
                return BH_NONE;
        }
        a.other = slot_of(b, right);
        if (a.other == BH_NONE)
                return BH_NONE;
        a.negated_many = op == BH_OP_NE && BH_AT(b->e->slots, struct bh_slot, slot).many == BH_MANY_EITHER;
        return node_of(b, atom_add(b, atom_key(&a), &a));
}

static guint32 compare_one(struct builder *b, guint32 slot, enum bh_op op, const BhOperand *value) {
        g_autoptr(GPtrArray) single = NULL;

        if (value->kind != BH_OPERAND_LITERAL)
                return compare_slot(b, slot, op, value);
        single = g_ptr_array_new();
        g_ptr_array_add(single, (gpointer) value);
        return compare_constants(b, slot, op, single);
}

/* The nodes are comparisons by c->op; for != by =, of which all but one must be true. */
static guint32 exactly_one(struct builder *b, const BhCond *c, guint32 slot, const GArray *nodes) {
        struct bh_atom a = { .how = BH_HOW_ONE, .op = (guint8) c->op, .negated_many = c->op == BH_OP_NE, .slot = slot, .other = BH_NONE, .first = b->e->atom_lists->len, .n = nodes->len,
                             .p = 0.1f };
        GByteArray *key = atom_key(&a);

        for (guint i = 0; i < nodes->len; i++) {
                const struct bh_node *node = &BH_AT(b->e->nodes, struct bh_node, g_array_index(nodes, guint32, i));

                if (node->kind != BH_NODE_ATOM) {
                        g_byte_array_unref(key);
                        problem(b, TRUE, c->pos, "%s oneof does not go with these values", bh_op_text(c->op));
                        return BH_NONE;
                }
                key_number(key, node->first);
                g_array_append_val(b->e->atom_lists, node->first);
        }
        return node_of(b, atom_add(b, key, &a));
}

/* Over each value by itself: anyof, allof, oneof (exactly one). */
static guint32 over_values(struct builder *b, const BhCond *c, guint32 slot) {
        g_autoptr(GArray) nodes = g_array_new(FALSE, FALSE, sizeof(guint32));

        for (guint i = 0; c->values && i < c->values->len; i++) {
                enum bh_op op = c->modifier == BH_MOD_ONEOF && c->op == BH_OP_NE ? BH_OP_EQ : c->op;
                guint32 node = compare_one(b, slot, op, g_ptr_array_index(c->values, i));

                if (node == BH_NONE)
                        return BH_NONE;
                g_array_append_val(nodes, node);
        }
        if (!nodes->len)
                return constant(b, FALSE);
        if (c->modifier == BH_MOD_ONEOF && c->op == BH_OP_NE) { /* what is missing differs from nothing */
                guint32 both[2] = { exactly_one(b, c, slot, nodes), exists(b, slot) };

                g_array_set_size(nodes, 0);
                g_array_append_vals(nodes, both, 2);
                return both[0] == BH_NONE ? BH_NONE : join_nodes(b, BH_NODE_AND, nodes);
        }
        if (c->modifier == BH_MOD_ONEOF)
                return exactly_one(b, c, slot, nodes);
        return join_nodes(b, c->modifier == BH_MOD_ALLOF ? BH_NODE_AND : BH_NODE_OR, nodes);
}

/* Of these any value is enough, so that all of them are one comparison. */
static gboolean any_is_one(const struct bh_slot *s, const BhCond *c) {
        if (c->modifier != BH_MOD_ANYOF || (s->type != BH_RT_STRING && s->type != BH_RT_FLAGS && s->type != BH_RT_BYTES) || c->op == BH_OP_REGEX || c->op == BH_OP_NE)
                return FALSE;
        for (guint i = 0; c->values && i < c->values->len; i++) {
                if (((const BhOperand *) g_ptr_array_index(c->values, i))->kind != BH_OPERAND_LITERAL)
                        return FALSE;
        }
        return TRUE;
}

static guint32 build_check(struct builder *b, const BhCond *c) {
        guint32 slot = slot_of(b, c->left);
        g_autoptr(GPtrArray) constants = g_ptr_array_new();
        g_autoptr(GArray) nodes = g_array_new(FALSE, FALSE, sizeof(guint32));
        const struct bh_slot *s;

        if (slot == BH_NONE)
                return BH_NONE;
        s = &BH_AT(b->e->slots, struct bh_slot, slot);
        if (!op_fits((enum bh_rule_type) s->type, s->many == BH_MANY_LIST, c->op)) {
                problem(b, TRUE, c->pos, "%s does not go with %s, which is %s %s", bh_op_text(c->op), field_name(s), s->many == BH_MANY_LIST ? "a list of" : "a", bh_rule_type_name(s->type));
                return BH_NONE;
        }
        if (s->kind == BH_SLOT_FIELD && s->row->why_not && g_hash_table_add(b->told, (gpointer) s->row))
                problem(b, FALSE, c->left->pos, "%s is never there: %s", s->row->name, s->row->why_not);
        if (c->op == BH_OP_EXISTS)
                return exists(b, slot);
        if (c->modifier != BH_MOD_NONE && !any_is_one(s, c))
                return over_values(b, c, slot);
        for (guint i = 0; c->values && i < c->values->len; i++) {
                const BhOperand *o = g_ptr_array_index(c->values, i);
                guint32 node;

                if (o->kind == BH_OPERAND_LITERAL) {
                        g_ptr_array_add(constants, (gpointer) o);
                        continue;
                }
                node = compare_slot(b, slot, c->op, o);
                if (node == BH_NONE)
                        return BH_NONE;
                g_array_append_val(nodes, node);
        }
        if (constants->len || !nodes->len) {
                guint32 node = compare_constants(b, slot, c->op, constants);

                if (node == BH_NONE)
                        return BH_NONE;
                g_array_append_val(nodes, node);
        }
        return join_nodes(b, BH_NODE_OR, nodes);
}

/* BH_NONE: the rule has an error, which was told; the rest is still looked at. */
static guint32 build(struct builder *b, const BhCond *c) {
        g_autoptr(GArray) kids = NULL;
        gboolean ok = TRUE;

        if (c->kind == BH_COND_CHECK)
                return build_check(b, c);
        kids = g_array_new(FALSE, FALSE, sizeof(guint32));
        for (guint i = 0; i < c->kids->len; i++) {
                guint32 kid = build(b, g_ptr_array_index(c->kids, i));

                ok &= kid != BH_NONE;
                g_array_append_val(kids, kid);
        }
        if (!ok)
                return BH_NONE;
        if (c->kind == BH_COND_NOT)
                return negate(b, g_array_index(kids, guint32, 0));
        return join_nodes(b, c->kind == BH_COND_AND ? BH_NODE_AND : BH_NODE_OR, kids);
}

/* ---- engines ---- */

static void slot_clear(gpointer data) {
        bh_strset_free(((struct bh_slot *) data)->set);
}

static void outputs_free(gpointer formats) {
        if (formats)
                g_ptr_array_unref(formats);
}

static BhRuleEngine *engine_alloc(void) {
        static guint64 serials;
        static GMutex lock;
        BhRuleEngine *e = g_new0(BhRuleEngine, 1);

        g_atomic_ref_count_init(&e->refs);
        g_mutex_lock(&lock);
        e->serial = ++serials;
        g_mutex_unlock(&lock);
        e->conditions = g_ptr_array_new_with_free_func((GDestroyNotify) bh_cond_free);
        e->slots = g_array_new(FALSE, FALSE, sizeof(struct bh_slot));
        g_array_set_clear_func(e->slots, slot_clear);
        e->slot_args = g_array_new(FALSE, FALSE, sizeof(guint32));
        e->atoms = g_array_new(FALSE, FALSE, sizeof(struct bh_atom));
        e->atom_lists = g_array_new(FALSE, FALSE, sizeof(guint32));
        e->numbers = g_array_new(FALSE, FALSE, sizeof(gint64));
        e->texts = g_array_new(FALSE, FALSE, sizeof(struct bh_str));
        e->nets = g_array_new(FALSE, FALSE, sizeof(struct bh_net));
        e->regexes = g_ptr_array_new_with_free_func((GDestroyNotify) bh_regex_free);
        e->prefixes = g_ptr_array_new_with_free_func((GDestroyNotify) bh_prefixes_free);
        e->nodes = g_array_new(FALSE, FALSE, sizeof(struct bh_node));
        e->node_kids = g_array_new(FALSE, FALSE, sizeof(guint32));
        e->code = g_array_new(FALSE, FALSE, sizeof(struct bh_ins));
        e->roots = g_array_new(FALSE, FALSE, sizeof(struct bh_root));
        e->call_slots = g_array_new(FALSE, FALSE, sizeof(guint32));
        e->call_atoms = g_array_new(FALSE, FALSE, sizeof(guint32));
        e->wakes = g_array_new(FALSE, FALSE, sizeof(struct bh_wake));
        e->always = g_array_new(FALSE, TRUE, sizeof(guint64));
        e->arena = g_string_chunk_new(16384);
        e->outputs = g_ptr_array_new_with_free_func(outputs_free);
        return e;
}

BhRuleEngine *bh_rule_engine_ref(BhRuleEngine *e) {
        g_atomic_ref_count_inc(&e->refs);
        return e;
}

void bh_rule_engine_unref(BhRuleEngine *e) {
        if (!e || !g_atomic_ref_count_dec(&e->refs))
                return;
        GArray *arrays[] = { e->slots, e->slot_args, e->atoms, e->atom_lists, e->numbers, e->texts, e->nets, e->nodes, e->node_kids, e->code, e->roots, e->call_slots, e->call_atoms, e->wakes, e->always };
        for (guint i = 0; i < G_N_ELEMENTS(arrays); i++)
                g_array_unref(arrays[i]);
        g_ptr_array_unref(e->regexes);
        g_ptr_array_unref(e->prefixes);
        g_ptr_array_unref(e->conditions);
        g_ptr_array_unref(e->outputs);
        g_string_chunk_free(e->arena);
        if (e->set)
                bh_rule_set_unref(e->set);
        g_free(e);
}

void bh_rule_engine_needs(const BhRuleEngine *e, guint64 needs[2]) {
        needs[0] = e->needs[0];
        needs[1] = e->needs[1];
}

static void add_literals(BhRuleEngine *e) {
        for (guint i = 0; i < e->atoms->len; i++) {
                const struct bh_atom *a = &BH_AT(e->atoms, struct bh_atom, i);
                struct bh_slot *s;
                enum bh_strset_kind kind;

                if (a->how != BH_HOW_SET)
                        continue;
                s = &BH_AT(e->slots, struct bh_slot, a->slot);
                if (!s->set)
                        s->set = bh_strset_new();
                switch (a->op) {
                case BH_OP_STARTSWITH: kind = BH_SS_BEGIN; break;
                case BH_OP_ENDSWITH: kind = BH_SS_END; break;
                case BH_OP_CONTAINS: kind = BH_SS_PART; break;
                case BH_OP_ICONTAINS: kind = BH_SS_PART_FOLD; break;
                default: kind = BH_SS_WHOLE; break;
                }
                for (guint k = 0; k < a->n; k++) {
                        const struct bh_str *t = &BH_AT(e->texts, struct bh_str, a->first + k);

                        bh_strset_add(s->set, kind, t->p, t->len, i);
                }
        }
        for (guint i = 0; i < e->slots->len; i++) {
                if (BH_AT(e->slots, struct bh_slot, i).set)
                        bh_strset_build(BH_AT(e->slots, struct bh_slot, i).set);
        }
}

static gboolean settled_but_opens(const struct bh_slot *s) {
        return s->kind == BH_SLOT_FIELD && s->row->id >= BH_FLD_EVT_IS_OPEN_READ && s->row->id <= BH_FLD_EVT_IS_OPEN_CREATE;
}

/* Exactly one of several: they stand in front of it, and are settled already. */
static void settle_one(struct builder *b, struct bh_atom *a) {
        for (guint c = 0; c < BH_CALL_COUNT; c++) {
                guint n = 0;

                for (guint i = 0; i < a->n; i++)
                        n += BH_AT(b->e->atoms, struct bh_atom, BH_AT(b->e->atom_lists, guint32, a->first + i)).calls[c / 64] >> (c % 64) & 1;
                if (n == 1)
                        a->calls[c / 64] |= 1ull << (c % 64);
        }
}

/* Atoms that the call settles: all of evt.type and its like; those of evt.is_open_* for what is no open. */
static void settle_atoms(struct builder *b) {
        for (guint i = 0; i < b->e->atoms->len; i++) {
                struct bh_atom a = BH_AT(b->e->atoms, struct bh_atom, i);
                const struct bh_slot *s = &BH_AT(b->e->slots, struct bh_slot, a.slot);
                gboolean all = settled_by_call(s);

                if (a.how == BH_HOW_SLOT || (!all && !settled_but_opens(s)))
                        continue;
                if (a.how == BH_HOW_ONE)
                        settle_one(b, &a);
                else
                        settle(b, &a);
                if (all)
                        a.how = BH_HOW_CALL;
                else
                        a.partly = TRUE;
                BH_AT(b->e->atoms, struct bh_atom, i) = a;
        }
}

static void builder_init(struct builder *b, BhRuleEngine *e, GPtrArray *problems) {
        *b = (struct builder){ .e = e, .problems = problems };
        b->slots = g_hash_table_new_full(g_bytes_hash, g_bytes_equal, (GDestroyNotify) g_bytes_unref, NULL);
        b->atoms = g_hash_table_new_full(g_bytes_hash, g_bytes_equal, (GDestroyNotify) g_bytes_unref, NULL);
        b->nodes = g_hash_table_new_full(g_bytes_hash, g_bytes_equal, (GDestroyNotify) g_bytes_unref, NULL);
        b->told = g_hash_table_new(NULL, NULL);
        b->run = bh_rule_run_new();
        constant(b, FALSE);
        constant(b, TRUE);
}

static void builder_clear(struct builder *b) {
        g_hash_table_unref(b->slots);
        g_hash_table_unref(b->atoms);
        g_hash_table_unref(b->nodes);
        g_hash_table_unref(b->told);
        bh_rule_run_free(b->run);
}

/* Calls whose events a rule of that source sees. */
static void calls_of_source(const char *source, guint64 calls[BH_CALL_WORDS]) {
        memset(calls, 0, sizeof(guint64) * BH_CALL_WORDS);
        for (guint c = 0; c < BH_CALL_COUNT; c++) {
                guint kind = bh_rule_calls[c].kind;
                const char *of = kind == BH_EV_CONTAINER ? "container" : kind == BH_EV_SENSOR ? "sensor" : "syscall";

                if (!source || g_str_equal(source, of))
                        calls[c / 64] |= 1ull << (c % 64);
        }
}

/* Says which of the kinds that the rule wants this node cannot see; all of them: that it cannot match. */
static void check_available(struct builder *b, const BhRule *rule, const guint64 wanted[2], const BhEngineOptions *options) {
        g_autoptr(GString) names = g_string_new(NULL);

        if (!wanted[0] && !wanted[1] && g_str_equal(rule->source, "syscall"))
                problem(b, FALSE, rule->condition_pos, "the rule can match no event: no kind of event can make its condition true");
        if (!options || !options->available)
                return;
        for (guint k = 0; k < 128; k++) {
                if ((wanted[k / 64] & ~options->available[k / 64]) >> (k % 64) & 1)
                        g_string_append_printf(names, "%s%s", names->len ? ", " : "", bh_event_type_name(k) ? bh_event_type_name(k) : "?");
        }
        if (names->len)
                problem(b, FALSE, rule->condition_pos, "this node cannot see events that the rule asks for: %s", names->str);
}

static void finish(struct builder *b, const guint32 *nodes, const guint64 (*calls)[BH_CALL_WORDS]) {
        settle_atoms(b);
        bh_engine_reduce(b->e, b->nodes, nodes, calls);
        add_literals(b->e);
}

static guint32 format_slot(const BhOperand *o, gpointer data) {
        return slot_of(data, o);
}

/* The rule's output and its extra fields. */
static GPtrArray *formats_of(struct builder *b, const BhRule *rule) {
        GPtrArray *formats = g_ptr_array_new_with_free_func((GDestroyNotify) bh_rule_format_free);

        if (rule->output)
                g_ptr_array_add(formats, bh_rule_format_new(rule->output, NULL, FALSE, format_slot, b));
        for (guint i = 0; rule->extra_fields && i < rule->extra_fields->len; i++) {
                const BhRuleExtra *extra = g_ptr_array_index(rule->extra_fields, i);

                g_ptr_array_add(formats, bh_rule_format_new(extra->format, extra->name, extra->raw, format_slot, b));
        }
        return formats;
}

BhRuleEngine *bh_rule_engine_new(BhRuleSet *set, const BhEngineOptions *options, GPtrArray *problems, GError **error) {
        const GPtrArray *rules = bh_rule_set_rules(set);
        g_autofree guint32 *nodes = NULL;
        g_autofree guint64(*calls)[BH_CALL_WORDS] = NULL;
        BhRuleEngine *e;
        struct builder b;

        if (bh_rule_set_errors(set)) {
                g_set_error(error, BH_RULES_ERROR, 1, "the rules have %" G_GUINT64_FORMAT " errors and are not run", bh_rule_set_errors(set));
                return NULL;
        }
        if (problems)
                g_ptr_array_set_free_func(problems, problem_free);
        e = engine_alloc();
        e->set = bh_rule_set_ref(set);
        e->n_rules = rules->len;
        e->all = bh_rule_set_matching_all(set);
        builder_init(&b, e, problems);
        nodes = g_new(guint32, rules->len + 1);
        calls = g_malloc0((rules->len + 1) * sizeof(*calls));
        for (guint i = 0; i < rules->len; i++) {
                const BhRule *rule = g_ptr_array_index(rules, i);

                b.rule = i;
                b.failed = FALSE;
                g_hash_table_remove_all(b.told);
                nodes[i] = rule->condition && !rule->skipped ? build(&b, rule->condition) : BH_NONE;
                if (b.failed || !rule->enabled)
                        nodes[i] = BH_NONE;
                calls_of_source(rule->source, calls[i]);
                g_ptr_array_add(e->outputs, nodes[i] == BH_NONE ? NULL : formats_of(&b, rule));
        }
        finish(&b, nodes, (const guint64(*)[BH_CALL_WORDS]) calls);

        /* per rule: kinds that are left */
        g_autofree guint64(*wanted)[2] = g_malloc0((rules->len + 1) * sizeof(*wanted));
        for (guint c = 0; c < BH_CALL_COUNT; c++) {
                guint kind = bh_rule_calls[c].kind;

                for (guint i = 0; i < e->calls[c].n_roots && kind < 128; i++)
                        wanted[BH_AT(e->roots, struct bh_root, e->calls[c].roots + i).rule][kind / 64] |= 1ull << (kind % 64);
        }
        for (guint i = 0; i < rules->len; i++) {
                b.rule = i;
                if (nodes[i] != BH_NONE)
                        check_available(&b, g_ptr_array_index(rules, i), wanted[i], options);
        }
        builder_clear(&b);
        return e;
}

BhRuleEngine *bh_rule_engine_new_filter(BhCond *condition, GError **error) {
        g_autoptr(GPtrArray) problems = g_ptr_array_new_with_free_func(problem_free);
        BhRuleEngine *e = engine_alloc();
        guint64 calls[1][BH_CALL_WORDS];
        struct builder b;
        guint32 node;

        g_ptr_array_add(e->conditions, condition);
        e->n_rules = 1;
        builder_init(&b, e, problems);
        node = build(&b, condition);
        for (guint i = 0; node == BH_NONE && i < problems->len; i++) {
                const BhEngineProblem *p = g_ptr_array_index(problems, i);

                if (p->error) {
                        g_set_error(error, BH_RULES_ERROR, 1, "%u:%u: %s", p->pos.line, p->pos.column, p->what);
                        break;
                }
        }
        if (node != BH_NONE) {
                calls_of_source(NULL, calls[0]);
                finish(&b, &node, (const guint64(*)[BH_CALL_WORDS]) calls);
                g_ptr_array_add(e->outputs, NULL);
        }
        builder_clear(&b);
        if (node == BH_NONE)
                g_clear_pointer(&e, bh_rule_engine_unref);
        return e;
}

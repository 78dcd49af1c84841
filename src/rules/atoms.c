/* SPDX-License-Identifier: Apache-2.0 */
/* Comparisons with constants, equal ones once, and what the call alone says of them. */
#include <arpa/inet.h>
#include <stdlib.h>

#include "rules/build.h"
#include "rules/names.h"

/* ---- constants ---- */

const char *bh_slot_name(const struct bh_slot *s) {
        return s->kind == BH_SLOT_FIELD ? s->row->name : bh_rule_type_name(s->type);
}

gboolean bh_build_number(struct bh_builder *b, const struct bh_slot *s, const BhOperand *o, gint64 *n) {
        gboolean hex = o->len > 2 && o->text[0] == '0' && (o->text[1] == 'x' || o->text[1] == 'X');
        char *end = NULL;

        if (s->type == BH_RT_BOOL) {
                if (g_str_equal(o->text, "true") || g_str_equal(o->text, "1"))
                        return *n = 1, TRUE;
                if (g_str_equal(o->text, "false") || g_str_equal(o->text, "0"))
                        return *n = 0, TRUE;
                bh_build_problem(b, TRUE, o->pos, "%s is true or false, not \"%s\"", bh_slot_name(s), o->text);
                return FALSE;
        }
        *n = g_ascii_strtoll(o->text, &end, hex ? 16 : 10);
        if (o->len && end == o->text + o->len)
                return TRUE;
        if (s->type == BH_RT_PORT) {
                *n = bh_rule_port_number(o->text, o->len);
                if (*n >= 0)
                        return TRUE;
                bh_build_problem(b, TRUE, o->pos, "\"%s\" is neither a port number nor the name of a service", o->text);
                return FALSE;
        }
        bh_build_problem(b, TRUE, o->pos, "%s is a number, \"%s\" is not: write a decimal or 0x… one", bh_slot_name(s), o->text);
        return FALSE;
}

gboolean bh_build_net(struct bh_builder *b, const BhOperand *o, struct bh_net *net) {
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
        bh_build_problem(b, TRUE, o->pos, "\"%s\" is no address (192.0.2.1, 2001:db8::1) and no network (10.0.0.0/8)", o->text);
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
                p *= 0.65f;
        return MAX(p, 0.002f);
}

/* ns to have the value of a slot and to look at it once. */
static gfloat price(const struct bh_slot *s) {
        if (s->kind != BH_SLOT_FIELD)
                return 120;
        if (s->many == BH_MANY_ANY)
                return 150;
        switch ((enum bh_rule_field_id) s->row->id) {
        case BH_FLD_EVT_ARG:
        case BH_FLD_BH_FLAGS: return 100;
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

guint32 bh_atom_add(struct bh_builder *b, GByteArray *key, struct bh_atom *a) {
        guint32 at = bh_build_known(b->atoms, key, b->e->atoms->len);

        if (at != BH_NONE)
                return at;
        if (a->p <= 0)
                a->p = 0.5f;
        if (a->cost <= 0 && a->slot != BH_NONE)
                a->cost = price(&BH_AT(b->e->slots, struct bh_slot, a->slot)) + (a->how == BH_HOW_REGEX ? 400 : a->how == BH_HOW_PREFIX || a->how == BH_HOW_TEXT ? 30 : 0);
        g_array_append_vals(b->e->atoms, a, 1);
        return b->e->atoms->len - 1;
}

GByteArray *bh_atom_key(const struct bh_atom *a) {
        GByteArray *key = g_byte_array_new();

        bh_key_number(key, a->how);
        bh_key_number(key, a->op);
        bh_key_number(key, a->slot);
        bh_key_number(key, a->other);
        bh_key_number(key, a->negated_many);
        return key;
}

guint32 bh_atom_exists(struct bh_builder *b, guint32 slot) {
        struct bh_atom a = { .how = BH_HOW_EXISTS, .op = BH_OP_EXISTS, .slot = slot, .other = BH_NONE, .p = 0.95f };

        return bh_build_node_of(b, bh_atom_add(b, bh_atom_key(&a), &a));
}

/* With constant texts; SET, TEXT, SUBSET, ANY. */
guint32 bh_atom_text(struct bh_builder *b, enum bh_atom_how how, enum bh_op op, guint32 slot, GArray *texts) {
        struct bh_atom a = { .how = (guint8) how, .op = (guint8) op, .slot = slot, .other = BH_NONE, .first = b->e->texts->len };
        const struct bh_slot *s = &BH_AT(b->e->slots, struct bh_slot, slot);
        GByteArray *key = bh_atom_key(&a);

        g_array_sort(texts, by_text);
        for (guint i = 0; i < texts->len; i++) {
                const struct bh_str *t = &g_array_index(texts, struct bh_str, i);

                if (i && by_text(t, t - 1) == 0)
                        continue;
                bh_key_text(key, t->p, t->len);
                g_array_append_vals(b->e->texts, t, 1);
                a.p += likely(s, op, t->len);
                a.n++;
        }
        /* of a long list mostly none is met */
        if ((op == BH_OP_EQ || op == BH_OP_IN) && a.n > 4 && a.p < 0.2f * (gfloat) a.n)
                a.p = 0.016f + 0.0008f * (gfloat) (a.n - 4);
        a.p = MIN(a.p, 0.9f);
        return bh_build_node_of(b, bh_atom_add(b, key, &a));
}

/* Fields that mostly have one of a few numbers: most calls succeed, most processes have no terminal. */
static gboolean of_few_numbers(guint id) {
        return id == BH_FLD_EVT_RAWRES || id == BH_FLD_FD_NUM || id == BH_FLD_USER_UID || id == BH_FLD_GROUP_GID || id == BH_FLD_PROC_TTY || id == BH_FLD_USER_LOGINUID || id == BH_FLD_KRSI_RES;
}

guint32 bh_atom_number(struct bh_builder *b, enum bh_op op, guint32 slot, GArray *numbers) {
        const struct bh_slot *s = &BH_AT(b->e->slots, struct bh_slot, slot);
        struct bh_atom a = { .how = BH_HOW_NUMBER, .op = (guint8) op, .slot = slot, .other = BH_NONE, .first = b->e->numbers->len, .n = numbers->len };
        GByteArray *key;

        a.negated_many = op == BH_OP_NE && s->many == BH_MANY_EITHER;
        key = bh_atom_key(&a);
        g_array_sort(numbers, by_number);
        g_byte_array_append(key, (const guint8 *) numbers->data, numbers->len * (guint) sizeof(gint64));
        g_array_append_vals(b->e->numbers, numbers->data, numbers->len);
        a.p = op == BH_OP_EQ || op == BH_OP_IN ? MIN((s->kind == BH_SLOT_FIELD && of_few_numbers(s->row->id) ? 0.7f : 0.05f) * (gfloat) numbers->len, 0.9f) : op == BH_OP_NE ? 0.9f : 0.5f;
        if (s->type == BH_RT_BOOL && s->kind == BH_SLOT_FIELD) {
                gboolean wanted = numbers->len == 1 && (g_array_index(numbers, gint64, 0) != 0) == (op != BH_OP_NE);
                gfloat p = s->row->id == BH_FLD_EVT_IS_OPEN_READ ? 0.8f : s->row->id == BH_FLD_EVT_IS_OPEN_WRITE ? 0.2f : s->row->id == BH_FLD_FD_CONNECTED ? 0.5f : 0.03f;

                a.p = wanted ? p : 1 - p;
        }
        return bh_build_node_of(b, bh_atom_add(b, key, &a));
}

guint32 bh_atom_net(struct bh_builder *b, enum bh_op op, guint32 slot, GArray *nets) {
        const struct bh_slot *s = &BH_AT(b->e->slots, struct bh_slot, slot);
        struct bh_atom a = { .how = BH_HOW_IP, .op = (guint8) op, .slot = slot, .other = BH_NONE, .first = b->e->nets->len, .n = nets->len };
        GByteArray *key;

        a.negated_many = op == BH_OP_NE && s->many == BH_MANY_EITHER;
        key = bh_atom_key(&a);
        for (guint i = 0; i < nets->len; i++) {
                const struct bh_net *net = &g_array_index(nets, struct bh_net, i);

                g_byte_array_append(key, net->ip.b, sizeof(net->ip.b));
                bh_key_number(key, net->ip.len * 256u + net->bits);
                a.p += net->bits >= 24 ? 0.02f : 0.2f;
        }
        a.p = MIN(a.p, 0.9f);
        if (op == BH_OP_NE)
                a.p = 1 - a.p;
        g_array_append_vals(b->e->nets, nets->data, nets->len);
        return bh_build_node_of(b, bh_atom_add(b, key, &a));
}

guint32 bh_atom_regex(struct bh_builder *b, guint32 slot, const BhOperand *o) {
        struct bh_atom a = { .how = BH_HOW_REGEX, .op = BH_OP_REGEX, .slot = slot, .other = BH_NONE, .first = b->e->regexes->len, .n = 1, .p = 0.05f };
        g_autoptr(GError) error = NULL;
        GByteArray *key;
        BhRegex *regex = bh_regex_new(o->text, o->len, &error);
        guint32 before = b->e->atoms->len, at;

        if (!regex) {
                bh_build_problem(b, TRUE, o->pos, "%s", error->message);
                return BH_NONE;
        }
        key = bh_atom_key(&a);
        bh_key_text(key, o->text, o->len);
        at = bh_atom_add(b, key, &a);
        if (at == before)
                g_ptr_array_add(b->e->regexes, regex);
        else
                bh_regex_free(regex);
        return bh_build_node_of(b, at);
}

guint32 bh_atom_prefix(struct bh_builder *b, guint32 slot, GArray *texts) {
        struct bh_atom a = { .how = BH_HOW_PREFIX, .op = BH_OP_PMATCH, .slot = slot, .other = BH_NONE, .first = b->e->prefixes->len, .n = 1, .p = 0.1f };
        GByteArray *key = bh_atom_key(&a);
        guint32 before = b->e->atoms->len, at;

        g_array_sort(texts, by_text);
        for (guint i = 0; i < texts->len; i++)
                bh_key_text(key, g_array_index(texts, struct bh_str, i).p, g_array_index(texts, struct bh_str, i).len);
        at = bh_atom_add(b, key, &a);
        if (at == before) {
                BhPrefixes *p = bh_prefixes_new();

                for (guint i = 0; i < texts->len; i++)
                        bh_prefixes_add(p, g_array_index(texts, struct bh_str, i).p, g_array_index(texts, struct bh_str, i).len);
                g_ptr_array_add(b->e->prefixes, p);
        }
        return bh_build_node_of(b, at);
}

/* ---- what the call settles ---- */

gboolean bh_slot_settled(const struct bh_slot *s) {
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
static gboolean names_compare(struct bh_builder *b, const struct bh_atom *a, enum bh_rule_call call) {
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
static void settle(struct bh_builder *b, struct bh_atom *a) {
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

static gboolean settled_but_opens(const struct bh_slot *s) {
        return s->kind == BH_SLOT_FIELD && s->row->id >= BH_FLD_EVT_IS_OPEN_READ && s->row->id <= BH_FLD_EVT_IS_OPEN_CREATE;
}

/* Exactly one of several: they stand in front of it, and are settled already. */
static void settle_one(struct bh_builder *b, struct bh_atom *a) {
        for (guint c = 0; c < BH_CALL_COUNT; c++) {
                guint n = 0;

                for (guint i = 0; i < a->n; i++)
                        n += BH_AT(b->e->atoms, struct bh_atom, BH_AT(b->e->atom_lists, guint32, a->first + i)).calls[c / 64] >> (c % 64) & 1;
                if (n == (a->negated_many ? a->n - 1 : 1))
                        a->calls[c / 64] |= 1ull << (c % 64);
        }
}

/* Atoms that the call settles: all of evt.type and its like; those of evt.is_open_* for what is no open. */
void bh_build_settle(struct bh_builder *b) {
        for (guint i = 0; i < b->e->atoms->len; i++) {
                struct bh_atom a = BH_AT(b->e->atoms, struct bh_atom, i);
                const struct bh_slot *s = &BH_AT(b->e->slots, struct bh_slot, a.slot);
                gboolean all = bh_slot_settled(s);

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

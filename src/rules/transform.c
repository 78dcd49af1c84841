/* SPDX-License-Identifier: Apache-2.0 */
/* Transformers: operands made of operands. */
#include "rules/program.h"

/* Room for a text of up to n bytes in the event's scratch. */
static char *room(BhRuleRun *r, gsize n) {
        return bh_scene_room(&r->scene, n);
}

static gboolean take(BhRuleRun *r, gsize n, struct bh_value *out) {
        return bh_value_str(out, bh_scene_take(&r->scene, n));
}

static gboolean text_of(BhRuleRun *r, const struct bh_value *v, struct bh_str *text) {
        if (v->kind == BH_VALUE_STR) {
                *text = v->s;
                return TRUE;
        }
        if (v->kind == BH_VALUE_NUM) {
                *text = bh_scene_print(&r->scene, "%" G_GINT64_FORMAT, v->n);
                return TRUE;
        }
        if (v->kind == BH_VALUE_IP) {
                guint n;

                g_string_truncate(r->scratch, 0);
                bh_value_show(bh_rule_fields(&n), v, r->scratch);
                *text = bh_scene_print(&r->scene, "%s", r->scratch->str);
                return TRUE;
        }
        return FALSE;
}

static int digit64(char c) {
        if (c >= 'A' && c <= 'Z')
                return c - 'A';
        if (c >= 'a' && c <= 'z')
                return c - 'a' + 26;
        if (c >= '0' && c <= '9')
                return c - '0' + 52;
        return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Padding may be missing; anything else that is not base64 makes it missing. */
static gboolean base64(BhRuleRun *r, struct bh_str in, struct bh_value *out) {
        char *p = room(r, in.len);
        guint32 bits = 0, have = 0;
        gsize n = 0;

        while (in.len && in.p[in.len - 1] == '=')
                in.len--;
        for (guint32 i = 0; p && i < in.len; i++) {
                int d = digit64(in.p[i]);

                if (d < 0)
                        return FALSE;
                bits = bits << 6 | (guint32) d;
                have += 6;
                if (have >= 8) {
                        have -= 8;
                        p[n++] = (char) (bits >> have);
                }
        }
        return p && in.len % 4 != 1 && take(r, n, out);
}

static gboolean one(BhRuleRun *r, enum bh_transformer t, const struct bh_value *in, struct bh_value *out) {
        struct bh_str text;
        const char *slash;
        char *p;

        if (!text_of(r, in, &text))
                return FALSE;
        switch (t) {
        case BH_TR_TOLOWER:
        case BH_TR_TOUPPER:
                if (!(p = room(r, text.len)))
                        return FALSE;
                for (guint32 i = 0; i < text.len; i++)
                        p[i] = t == BH_TR_TOLOWER ? g_ascii_tolower(text.p[i]) : g_ascii_toupper(text.p[i]);
                return take(r, text.len, out);
        case BH_TR_B64: return base64(r, text, out);
        case BH_TR_BASENAME:
                slash = text.len ? memrchr(text.p, '/', text.len) : NULL;
                return bh_value_str(out, slash ? (struct bh_str){ slash + 1, (guint32) (text.p + text.len - slash - 1) } : text);
        default: return bh_value_str(out, text);
        }
}

/* Arguments of a process are a list where one is wanted. */
static guint list_of(BhRuleRun *r, const BhRuleEngine *e, guint32 slot, const struct bh_value **values, struct bh_value *split) {
        const struct bh_slot *s = &BH_AT(e->slots, struct bh_slot, slot);

        if (s->kind == BH_SLOT_FIELD && s->row->id == BH_FLD_PROC_ARGS && !s->field.has_arg) {
                guint n = 0;

                while (n < BH_VALUES_MAX && bh_value_proc(&r->scene, &(struct bh_field_ref){ .id = BH_FLD_PROC_ARGS, .has_arg = TRUE, .has_index = TRUE, .index = n }, &split[n]))
                        n++;
                *values = split;
                return n;
        }
        return bh_run_slot(r, e, slot, values);
}

/*
 * Options as getopt(3) finds them, without reordering: without a selector a list of all options and what belongs to them; with one the value
 * of that option, or its letter where it takes none.
 */
static guint options(BhRuleRun *r, const struct bh_slot *s, const struct bh_value *args, guint n_args, struct bh_str spec, struct bh_value *out) {
        gboolean selected = s->text.len == 1;
        guint n = 0;

        for (guint i = 0; i < n_args && n + 1 < BH_VALUES_MAX; i++) {
                struct bh_str a = args[i].s;

                if (a.len < 2 || a.p[0] != '-')
                        break;
                if (a.len == 2 && a.p[1] == '-')
                        break;
                if (a.p[1] == '-') /* long options are not its business */
                        continue;
                for (guint32 k = 1; k < a.len && n + 1 < BH_VALUES_MAX; k++) {
                        const char *known = a.p[k] != ':' && spec.len ? memchr(spec.p, a.p[k], spec.len) : NULL;
                        gboolean takes = known && known + 1 < spec.p + spec.len && known[1] == ':';
                        struct bh_str letter = { a.p + k, 1 }, value = letter;
                        gboolean has_value = FALSE;

                        if (!known) {
                                letter = value = (struct bh_str){ "?", 1 };
                        } else if (takes) {
                                if (k + 1 < a.len) {
                                        value = (struct bh_str){ a.p + k + 1, a.len - k - 1 };
                                        has_value = TRUE;
                                } else if (i + 1 < n_args) {
                                        value = args[++i].s;
                                        has_value = TRUE;
                                } else {
                                        letter = value = (struct bh_str){ "", 0 }; /* the value is missing: an empty one stands for it */
                                }
                        }
                        if (selected) {
                                if (known && *known == s->text.p[0]) {
                                        bh_value_str(&out[0], has_value ? value : letter);
                                        n = 1; /* the last one counts */
                                }
                        } else {
                                bh_value_str(&out[n++], letter);
                                if (has_value && n < BH_VALUES_MAX)
                                        bh_value_str(&out[n++], value);
                        }
                        if (takes)
                                break;
                }
        }
        return n;
}

#define PARTS_MAX (2 * BH_VALUES_MAX)

static guint join(BhRuleRun *r, const BhRuleEngine *e, const guint32 *args, guint n_args, gboolean separated, struct bh_value *out) {
        struct bh_value split[BH_VALUES_MAX];
        const struct bh_value *values;
        struct bh_str between = { "", 0 }, parts[PARTS_MAX];
        gsize len = 0, used = 0;
        guint n_parts = 0;
        char *p;

        if (separated) {
                if (!n_args || bh_run_slot(r, e, args[0], &values) != 1 || !text_of(r, &values[0], &between))
                        return 0;
                args++;
                n_args--;
        }
        for (guint i = 0; i < n_args; i++) {
                guint n = separated ? list_of(r, e, args[i], &values, split) : bh_run_slot(r, e, args[i], &values);

                if (!n || n_parts + n > PARTS_MAX)
                        return 0;
                for (guint k = 0; k < n; k++, n_parts++) {
                        if (!text_of(r, &values[k], &parts[n_parts]))
                                return 0;
                        len += parts[n_parts].len + between.len;
                }
        }
        if (!(p = room(r, len)))
                return 0;
        for (guint i = 0; i < n_parts; i++) {
                if (i) {
                        memcpy(p + used, between.p, between.len);
                        used += between.len;
                }
                memcpy(p + used, parts[i].p, parts[i].len);
                used += parts[i].len;
        }
        return take(r, used, out) ? 1 : 0;
}

guint bh_run_transform(BhRuleRun *r, const BhRuleEngine *e, const struct bh_slot *s, struct bh_value *out) {
        const guint32 *args = &BH_AT(e->slot_args, guint32, s->args);
        struct bh_value split[BH_VALUES_MAX];
        const struct bh_value *values, *spec;
        guint n, made = 0;

        switch ((enum bh_transformer) s->transformer) {
        case BH_TR_JOIN: return join(r, e, args, s->n_args, TRUE, out);
        case BH_TR_CONCAT: return join(r, e, args, s->n_args, FALSE, out);
        case BH_TR_GETOPT:
                if (s->n_args < 2 || bh_run_slot(r, e, args[s->n_args - 1], &spec) != 1 || spec->kind != BH_VALUE_STR)
                        return 0;
                if (s->n_args == 2) {
                        n = list_of(r, e, args[0], &values, split);
                        return n ? options(r, s, values, n, spec->s, out) : 0;
                }
                /* a list that was written down: an argument for each item */
                for (n = 0; n + 1 < s->n_args && n < BH_VALUES_MAX; n++) {
                        if (bh_run_slot(r, e, args[n], &values) != 1 || values->kind != BH_VALUE_STR)
                                return 0;
                        split[n] = *values;
                }
                return options(r, s, split, n, spec->s, out);
        case BH_TR_LEN:
                if (s->n_args != 1)
                        return 0;
                n = bh_run_slot(r, e, args[0], &values);
                if (BH_AT(e->slots, struct bh_slot, args[0]).many == BH_MANY_LIST)
                        return bh_value_num(out, n);
                if (!n || values[0].kind != BH_VALUE_STR)
                        return 0;
                return bh_value_num(out, (gint64) values[0].s.len);
        default:
                if (s->n_args != 1)
                        return 0;
                n = bh_run_slot(r, e, args[0], &values);
                for (guint i = 0; i < n; i++)
                        made += one(r, (enum bh_transformer) s->transformer, &values[i], &out[made]) ? 1 : 0;
                return made;
        }
}

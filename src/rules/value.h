/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of fields: from an event, its lineage and its container to what conditions compare and output shows.
 *
 * A BhRuleScene is the event that is looked at and what was already found out for it (ancestors, session leader, container, texts that had to be put
 * together). It belongs to one thread and is reset for each event; values point into the event, the lineage's holder or the scene's scratch and are good until
 * the next reset. A field that the event does not have is missing: FALSE, never an empty text.
 *
 * Bounds: BH_SCENE_ANCESTORS ancestors, BH_SCENE_TEXT bytes of scratch an event: more than all fields of an event with the longest arguments and
 * environment in itself and in all ancestors need, so that nobody can use it up before a rule looks. What does not fit is missing, counted in `cut`.
 */
#pragma once
#include "event/event.h"
#include "event/lineage.h"
#include "rules/field.h"

#define BH_SCENE_ANCESTORS 64u
#define BH_SCENE_TEXT (2u << 20)
#define BH_VALUES_MAX BH_SCENE_ANCESTORS /* values of one operand */

enum bh_value_kind {
        BH_VALUE_STR,
        BH_VALUE_NUM,
        BH_VALUE_IP,
        BH_VALUE_SOME, /* a descriptor whose number is not known: some number >= 0 */
};

struct bh_value {
        struct bh_str s;
        union {
                gint64 n;
                struct bh_ip ip;
        };
        guint8 kind;
};

/* One row of calls.tbl.h. */
enum bh_rule_call {
#define BH_RULE_CALL(ID, KIND, shown, names, category) BH_CALL_##ID,
#include "rules/calls.tbl.h"
        BH_CALL_COUNT
};

struct bh_rule_call_info {
        guint32 kind; /* enum bh_event_type */
        const char *shown, *names, *category;
};
extern const struct bh_rule_call_info bh_rule_calls[BH_CALL_COUNT];

/* BH_CALL_COUNT: no such kind. */
enum bh_rule_call bh_rule_call_of(const struct bh_event *e);
/* `name` is one of the call's names. */
gboolean bh_rule_call_named(enum bh_rule_call call, const char *name, gsize len);
/* Some kind of event has this name. */
gboolean bh_rule_call_known(const char *name, gsize len);

typedef struct {
        const struct bh_event *event;
        const struct bh_lineage *lineage; /* NULL: the event alone */
        enum bh_rule_call call;
        guint64 num, first_time, last_time; /* of the run: number of this event where it has no id, time of the first and of the one before */
        guint64 util_cnt;
        /* lazily */
        guint8 has_self, has_ancestors, has_container, has_sides; /* 0 not looked, 1 there, 2 not there */
        guint n_ancestors;
        struct bh_lineage_process self;
        struct bh_lineage_process *ancestors; /* BH_SCENE_ANCESTORS, allocated once */
        struct bh_lineage_container container;
        struct bh_sides {
                gboolean client_local, known;
        } sides;
        char *text;
        guint32 text_used;
        guint64 cut;
} BhRuleScene;

void bh_scene_init(BhRuleScene *s);
void bh_scene_clear(BhRuleScene *s);
void bh_scene_reset(BhRuleScene *s, const struct bh_event *e, const struct bh_lineage *lineage);

/* A field with its argument, prepared once. `arg` may be NULL. */
struct bh_field_ref {
        guint32 id; /* enum bh_rule_field_id */
        gboolean has_arg, has_index;
        guint32 index;
        struct bh_str arg;
        gint32 getter; /* evt.arg, evt.rawarg: by call, see bh_rule_arg_find(); not used by others */
};

/* The values of a field: their number, 0 = missing. More than one only for BH_FF_LIST, BH_FF_ANCESTORS without an index and BH_FF_EITHER. */
guint bh_scene_values(BhRuleScene *s, const struct bh_field_ref *f, struct bh_value out[BH_VALUES_MAX]);

/* The same for fields that have one value. */
gboolean bh_scene_value(BhRuleScene *s, const struct bh_field_ref *f, struct bh_value *out);

/* A value as output shows it. */
void bh_value_show(const BhRuleField *f, const struct bh_value *v, GString *out);

/* Calls that can have the argument of that name or number (evt.arg.flags, evt.arg[0]), as a bit set. */
void bh_rule_arg_calls(const struct bh_field_ref *f, guint64 calls[(BH_CALL_COUNT + 63) / 64]);

/* ---- for the extractors themselves ---- */

/* Scratch for at least n bytes, NULL (and counted) when the event's bound is reached. Take it with bh_scene_take(). */
char *bh_scene_room(BhRuleScene *s, gsize n);
struct bh_str bh_scene_take(BhRuleScene *s, gsize n);
struct bh_str bh_scene_print(BhRuleScene *s, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* The acting process in the lineage, NULL: not known. Ancestor n, 1 = the parent; NULL: not known or none. */
const struct bh_lineage_process *bh_scene_self(BhRuleScene *s);
const struct bh_lineage_process *bh_scene_ancestor(BhRuleScene *s, guint n);
const struct bh_lineage_container *bh_scene_container(BhRuleScene *s);

static inline gboolean bh_value_str(struct bh_value *v, struct bh_str s) {
        v->kind = BH_VALUE_STR;
        v->s = s;
        return TRUE;
}

static inline gboolean bh_value_text(struct bh_value *v, const char *text) {
        return text ? bh_value_str(v, (struct bh_str){ text, (guint32) strlen(text) }) : FALSE;
}

static inline gboolean bh_value_num(struct bh_value *v, gint64 n) {
        v->kind = BH_VALUE_NUM;
        v->n = n;
        return TRUE;
}

/* One file each. */
gboolean bh_value_evt(BhRuleScene *s, const struct bh_field_ref *f, struct bh_value *out);
gboolean bh_value_proc(BhRuleScene *s, const struct bh_field_ref *f, struct bh_value *out);
gboolean bh_value_fd(BhRuleScene *s, const struct bh_field_ref *f, struct bh_value *out);
gboolean bh_value_container(BhRuleScene *s, const struct bh_field_ref *f, struct bh_value *out);
gboolean bh_value_arg(BhRuleScene *s, const struct bh_field_ref *f, gboolean raw, struct bh_value *out);
void bh_value_args(BhRuleScene *s, struct bh_value *out);
gboolean bh_value_own(BhRuleScene *s, const struct bh_field_ref *f, struct bh_value *out);
guint bh_value_proc_ancestors(BhRuleScene *s, const struct bh_field_ref *f, struct bh_value *out);
guint bh_value_fd_either(BhRuleScene *s, const struct bh_field_ref *f, struct bh_value *out);
/* Names of capability bits, blanks between. */
struct bh_str bh_value_caps(BhRuleScene *s, guint64 caps);

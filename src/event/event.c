/* SPDX-License-Identifier: Apache-2.0 */
#include "event/event.h"

#include <stddef.h>

const struct bh_field_info bh_fields[BH_F_COUNT] = {
#define BH_FIELD(num, kind_, member_, name_, doc_) \
        [BH_F_##member_] = { .number = num, .offset = offsetof(struct bh_event, member_), .kind = BH_KIND_##kind_, .member = #member_, .name = name_, .doc = doc_ },
#include "event/fields.tbl.h"
};
_Static_assert(sizeof(struct bh_event) <= G_MAXUINT16, "offsets are 16 bits");

const struct bh_field_info *bh_field_find(const char *name) {
        static gsize once;
        static GHashTable *by_name;

        if (g_once_init_enter(&once)) {
                by_name = g_hash_table_new(g_str_hash, g_str_equal);
                for (guint i = 0; i < BH_F_COUNT; i++)
                        g_hash_table_insert(by_name, (gpointer) bh_fields[i].name, (gpointer) &bh_fields[i]);
                g_once_init_leave(&once, 1);
        }
        return name ? g_hash_table_lookup(by_name, name) : NULL;
}

static gboolean holds_bytes(guint8 kind) {
        return kind == BH_KIND_STR || kind == BH_KIND_LIST || kind == BH_KIND_PAIRS || kind == BH_KIND_BYTES;
}

struct bh_event *bh_event_copy(const struct bh_event *e) {
        gsize size = sizeof(*e);

        for (guint w = 0; w < G_N_ELEMENTS(e->has); w++) {
                for (guint64 bits = e->has[w]; bits; bits &= bits - 1) {
                        const struct bh_field_info *f = &bh_fields[w * 64 + (guint) __builtin_ctzll(bits)];

                        if (holds_bytes(f->kind))
                                size += ((const struct bh_str *) ((const char *) e + f->offset))->len;
                }
        }

        struct bh_event *copy = g_malloc(size);
        char *p = (char *) (copy + 1);

        memcpy(copy, e, sizeof(*e));
        for (guint w = 0; w < G_N_ELEMENTS(e->has); w++) {
                for (guint64 bits = e->has[w]; bits; bits &= bits - 1) {
                        const struct bh_field_info *f = &bh_fields[w * 64 + (guint) __builtin_ctzll(bits)];

                        if (!holds_bytes(f->kind))
                                continue;

                        struct bh_str *s = (struct bh_str *) ((char *) copy + f->offset);
                        if (s->len)
                                memcpy(p, s->p, s->len);
                        s->p = p;
                        p += s->len;
                }
        }
        return copy;
}

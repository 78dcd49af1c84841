/* SPDX-License-Identifier: Apache-2.0 */
/* Texts put together of pieces of files, and the place of each of their bytes. */
#include <string.h>

#include "rules/load.h"

BhText *bh_text_new(void) {
        BhText *t = g_new0(BhText, 1);

        t->s = g_string_new(NULL);
        t->runs = g_array_new(FALSE, FALSE, sizeof(BhTextRun));
        return t;
}

void bh_text_free(BhText *t) {
        if (!t)
                return;
        g_string_free(t->s, TRUE);
        g_array_unref(t->runs);
        g_free(t);
}

void bh_text_clear(BhText *t) {
        g_string_truncate(t->s, 0);
        g_array_set_size(t->runs, 0);
}

void bh_text_add(BhText *t, const BhYamlFile *f, const BhYaml *scalar) {
        g_autoptr(GArray) runs = bh_yaml_runs(f, scalar);

        if (t->s->len)
                g_string_append_c(t->s, ' ');
        for (guint i = 0; i < runs->len; i++) {
                const BhYamlRun *r = &g_array_index(runs, BhYamlRun, i);
                BhTextRun run = { .at = (guint32) t->s->len + r->at, .file = bh_yaml_file_number(f), .off = r->off };

                g_array_append_val(t->runs, run);
        }
        g_string_append_len(t->s, scalar->text, scalar->n);
}

struct bh_pos bh_load_pos_at(const BhLoader *l, guint32 file, guint32 off) {
        struct bh_pos pos = { .file = file };

        bh_yaml_place(g_ptr_array_index(l->files, file), off, &pos.line, &pos.column);
        return pos;
}

struct bh_pos bh_load_pos(const BhLoader *l, const BhYaml *node) {
        return bh_load_pos_at(l, bh_yaml_file_number(l->file), node->start);
}

struct bh_pos bh_text_pos(const BhLoader *l, const BhText *t, gsize at) {
        guint lo = 0, hi = t->runs->len;

        if (!hi)
                return (struct bh_pos) { 0 };
        while (hi - lo > 1) {
                guint mid = lo + (hi - lo) / 2;

                if (g_array_index(t->runs, BhTextRun, mid).at <= at)
                        lo = mid;
                else
                        hi = mid;
        }
        const BhTextRun *r = &g_array_index(t->runs, BhTextRun, lo);
        gsize into = at < r->at ? 0 : at - r->at;

        return bh_load_pos_at(l, r->file, r->off + (guint32) into);
}

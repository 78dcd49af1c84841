/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model as bytes: "BHM", a version, then numbers little-endian and texts with their length. Everything is checked when it is read; what is odd refuses the whole.
 */
#include <gio/gio.h>
#include <math.h>
#include <string.h>

#include "model/model.h"

#define MAGIC "BHM\3" /* 1: without replica_bits; 2: without what versions before have shown */
#define ITEMS_MAX 16384u
#define TIME_MAX (G_MAXINT64 / 2) /* times that waits and ages are added to */

static void put_int(GByteArray *out, guint64 v) {
        const guint64 le = GUINT64_TO_LE(v);

        g_byte_array_append(out, (const guint8 *) &le, sizeof(le));
}

static void put_real(GByteArray *out, double v) {
        guint64 bits;

        memcpy(&bits, &v, sizeof(bits));
        put_int(out, bits);
}

static void put_text(GByteArray *out, const char *text) {
        gsize len = strlen(text);
        const guint16 le = GUINT16_TO_LE((guint16) MIN(len, G_MAXUINT16));

        g_byte_array_append(out, (const guint8 *) &le, sizeof(le));
        g_byte_array_append(out, (const guint8 *) text, (guint) MIN(len, G_MAXUINT16));
}

static void put_item(GByteArray *out, const BhItem *i) {
        put_int(out, (guint64) i->family | (guint64) i->flags << 8 | (guint64) i->n_replicas << 24 | (guint64) i->units << 32);
        put_int(out, i->uid);
        put_int(out, i->count);
        put_int(out, (guint64) i->first_ns);
        put_int(out, (guint64) i->last_ns);
        put_int(out, (guint64) i->slot);
        for (guint r = 0; r < BH_FACET_REPLICAS; r += 2)
                put_int(out, (guint64) i->replicas[r] | (guint64) i->replicas[r + 1] << 32);
        put_int(out, i->replica_bits);
        put_text(out, i->actor);
        put_text(out, i->object);
        put_text(out, i->detail);
        put_text(out, i->example);
        put_text(out, i->why);
}

GBytes *bh_model_pack(const BhModel *m) {
        GByteArray *out = g_byte_array_new();

        g_byte_array_append(out, (const guint8 *) MAGIC, 4);
        put_text(out, m->application);
        put_text(out, m->workload);
        put_int(out, m->over);
        put_int(out, m->versions->len);
        for (guint k = 0; k < m->versions->len; k++) {
                const BhModelVersion *v = m->versions->pdata[k];
                GHashTableIter it;
                gpointer p;

                put_text(out, v->digest);
                put_int(out, (guint64) v->shadow | (guint64) v->locked << 32);
                put_int(out, (guint64) v->first_ns);
                put_int(out, (guint64) v->last_ns);
                put_int(out, v->novel);
                put_int(out, v->refused);
                put_real(out, v->facets->trials);
                put_int(out, v->facets->starts);
                put_int(out, BH_FAMILIES);
                for (guint family = 0; family < BH_FAMILIES; family++) {
                        put_int(out, v->states[family]);
                        put_int(out, v->facets->families[family].acts);
                        put_int(out, v->facets->families[family].over);
                        put_real(out, v->facets->families[family].fresh_at);
                        put_real(out, v->facets->families[family].before);
                }
                put_int(out, g_hash_table_size(v->facets->items));
                g_hash_table_iter_init(&it, v->facets->items);
                while (g_hash_table_iter_next(&it, &p, NULL))
                        put_item(out, p);
        }
        return g_byte_array_free_to_bytes(out);
}

typedef struct {
        const guint8 *at;
        gsize left;
        guint version;
        gboolean bad;
} Reader;

static guint64 get_int(Reader *r) {
        guint64 v = 0;

        if (r->left < sizeof(v)) {
                r->bad = TRUE;
                return 0;
        }
        memcpy(&v, r->at, sizeof(v));
        r->at += sizeof(v);
        r->left -= sizeof(v);
        return GUINT64_FROM_LE(v);
}

static double get_real(Reader *r) {
        guint64 bits = get_int(r);
        double v;

        memcpy(&v, &bits, sizeof(v));
        if (!(v >= 0) || !isfinite(v) || v > BH_FACET_TRIALS) {
                r->bad = TRUE;
                return 0;
        }
        return v;
}

static char *get_text(Reader *r) {
        guint16 len;

        if (r->left < sizeof(len)) {
                r->bad = TRUE;
                return g_strdup("");
        }
        memcpy(&len, r->at, sizeof(len));
        len = GUINT16_FROM_LE(len);
        r->at += sizeof(len);
        r->left -= sizeof(len);
        if (r->left < len || memchr(r->at, 0, len)) {
                r->bad = TRUE;
                return g_strdup("");
        }
        char *text = g_strndup((const char *) r->at, len);
        r->at += len;
        r->left -= len;
        return text;
}

static void get_item(Reader *r, BhModel *m, BhModelVersion *v) {
        guint64 head = get_int(r), who = get_int(r);
        BhItem i = {
                .family = (guint8) head,
                .flags = (guint16) (head >> 8),
                .n_replicas = (guint8) MIN(head >> 24 & 0xff, BH_FACET_REPLICAS),
                .units = (guint32) MIN(head >> 32, G_MAXUINT16),
                .uid = (guint32) who,
                .count = get_int(r),
                .first_ns = (gint64) get_int(r),
                .last_ns = (gint64) get_int(r),
                .slot = (gint64) get_int(r),
        };

        for (guint k = 0; k < BH_FACET_REPLICAS; k += 2) {
                guint64 two = get_int(r);

                i.replicas[k] = (guint32) two;
                i.replicas[k + 1] = (guint32) (two >> 32);
        }
        if (r->version >= 2)
                i.replica_bits = get_int(r);
        g_autofree char *actor = get_text(r), *object = get_text(r), *detail = get_text(r), *example = get_text(r), *why = get_text(r);
        /* in earlier ones it was known before as long as it was not seen */
        if (r->version < 3 && (i.flags & BH_ITEM_INHERITED))
                i.flags |= BH_ITEM_BEFORE;
        i.actor = actor;
        i.object = object;
        i.detail = detail;
        i.example = example;
        i.why = why;
        if (r->bad || i.family == BH_FAMILY_NONE || i.family >= BH_FAMILIES || i.first_ns < 0 || i.first_ns > TIME_MAX || i.last_ns < 0 || i.last_ns > TIME_MAX || bh_model_bytes(m) > BH_MODEL_BYTES + (64u << 10)) {
                r->bad = TRUE;
                return;
        }
        if (bh_facets_restore(v->facets, &i))
                v->held += (i.flags & BH_ITEM_HELD) != 0;
}

static void get_version(Reader *r, BhModel *m) {
        BhModelVersion *v = g_new0(BhModelVersion, 1);

        v->digest = get_text(r);
        v->facets = bh_facets_new();
        g_ptr_array_add(m->versions, v);
        guint64 head = get_int(r);
        v->shadow = head & 1;
        v->locked = (guint32) (head >> 32);
        v->first_ns = (gint64) get_int(r);
        v->last_ns = (gint64) get_int(r);
        v->novel = get_int(r);
        v->refused = get_int(r);
        v->facets->trials = get_real(r);
        v->facets->starts = get_int(r);

        guint64 families = get_int(r);
        for (guint64 k = 0; k < families && !r->bad; k++) {
                guint64 state = get_int(r), acts = get_int(r), over = get_int(r);
                double fresh_at = get_real(r), before = r->version >= 3 ? get_real(r) : 0;

                if (k >= BH_FAMILIES || state > BH_MODEL_ENFORCEABLE) {
                        r->bad = TRUE;
                        return;
                }
                v->states[k] = (guint8) state;
                v->facets->families[k].acts = acts;
                v->facets->families[k].over = over;
                v->facets->families[k].fresh_at = fresh_at;
                v->facets->families[k].before = before;
        }
        /* what was not known then has shown nothing yet, and nobody locked it */
        if (families < BH_FAMILIES)
                v->locked &= (1u << families) - 1;
        for (guint64 k = families; k < BH_FAMILIES; k++)
                v->facets->families[k].fresh_at = v->facets->trials;
        guint64 items = get_int(r);
        if (items > ITEMS_MAX)
                r->bad = TRUE;
        for (guint64 k = 0; k < items && !r->bad; k++)
                get_item(r, m, v);
}

BhModel *bh_model_unpack(const void *data, gsize len, const BhModelScale *scale, GError **error) {
        Reader r = { .at = data, .left = len };

        if (len < 4 || memcmp(data, MAGIC, 3) || r.at[3] < 1 || r.at[3] > (guint8) MAGIC[3]) {
                g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "this is no stored model, or one of a newer Bulkhead");
                return NULL;
        }
        r.version = r.at[3];
        r.at += 4;
        r.left -= 4;
        g_autofree char *application = get_text(&r), *workload = get_text(&r);
        g_autoptr(BhModel) m = bh_model_new(application, workload, scale);
        m->over = get_int(&r);
        guint64 versions = get_int(&r);
        if (versions > BH_MODEL_VERSIONS)
                r.bad = TRUE;
        for (guint64 k = 0; k < versions && !r.bad; k++)
                get_version(&r, m);
        if (r.bad || r.left) {
                g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "the stored model of %s/%s is damaged", application, workload);
                return NULL;
        }
        m->dirty = FALSE;
        return g_steal_pointer(&m);
}

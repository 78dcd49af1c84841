/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets of kinds of events: what somebody needs, what a rule can match, what a filter lets pass. Plain values, pure functions, any thread.
 */
#pragma once
#include "event/select.h"

typedef struct {
        guint64 of[BH_TYPE_WORDS]; /* a bit for each kind, by its number */
} BhKinds;

static inline void bh_kinds_add(BhKinds *k, guint32 type) {
        if (type < BH_EV_MAX)
                k->of[type / 64] |= 1ull << type % 64;
}

static inline void bh_kinds_remove(BhKinds *k, guint32 type) {
        if (type < BH_EV_MAX)
                k->of[type / 64] &= ~(1ull << type % 64);
}

static inline gboolean bh_kinds_has(const BhKinds *k, guint32 type) {
        return type < BH_EV_MAX && k->of[type / 64] >> type % 64 & 1;
}

static inline void bh_kinds_unite(BhKinds *k, const BhKinds *with) {
        for (guint i = 0; i < BH_TYPE_WORDS; i++)
                k->of[i] |= with->of[i];
}

static inline gboolean bh_kinds_equal(const BhKinds *a, const BhKinds *b) {
        for (guint i = 0; i < BH_TYPE_WORDS; i++)
                if (a->of[i] != b->of[i])
                        return FALSE;
        return TRUE;
}

/* Every kind, of the kernel's and others. */
BhKinds bh_kinds_all(void);

/*
 * A list of names with commas between them, read from left to right: a kind adds itself, "-KIND" takes it away, "all" is every kind, "default" what the
 * flight recorder keeps unless told otherwise (every kind, today), "none" begins anew with nothing. A list that begins with "-KIND" begins with "default".
 * An unknown name is an error that says which names there are.
 */
gboolean bh_kinds_parse(const char *text, BhKinds *out, GError **error);

/* "open,write"; "none" for an empty set, "all" for all. Caller frees. */
char *bh_kinds_format(const BhKinds *k);

/* SPDX-License-Identifier: Apache-2.0 */
/* A text by name that people manage through the central: a rule file, a policy. */
#pragma once
#include "store/store.h"

typedef struct {
        char *name, *text, *changed_by;
        gint64 changed_ns;
} BhStoreText;

void bh_store_text_free(BhStoreText *t);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhStoreText, bh_store_text_free)

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an event says about how a container behaves: facts in the form of the bus's Observation (src/model/families.tbl.h), with paths, arguments and names generalised. Most events say
 * nothing of the kind. What the runtime does to set a container up is passed over.
 *
 * Pure, no allocation. Texts point into the event or into the fact.
 */
#pragma once
#include "event/event.h"
#include "model/template.h"

#define BH_FACTS_MAX 4u /* of one event; of capabilities beyond, those that containers have by default go first */

typedef struct {
        const char *kind; /* static */
        struct bh_str subject, parent, detail;
        struct bh_str example; /* as it was; lists have NULs */
        guint32 uid;
        gboolean often; /* of a kind that comes in floods: told less often, and bounded for itself */
        char subject_text[BH_TEMPLATE_MAX], detail_text[BH_TEMPLATE_MAX];
} BhFact;

/* It took place, or was refused; other failures say nothing of who tried: what is not there is looked for in a dozen places. Repeats, too. */
gboolean bh_facts_tried_file(const struct bh_event *e);
/* Of an act on a file, quickly. FALSE: there is no fact in it, whatever the file is: it was not there, or it is a repeat. */
gboolean bh_facts_says_file(const struct bh_event *e);

guint bh_facts_of(const struct bh_event *e, BhFact out[BH_FACTS_MAX]);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a finding has in common with others: texts that name its containers, processes and files, with what they tie it by. Pure. Private to src/incident.
 */
#pragma once
#include "incident/group.h"

typedef struct {
        char *key; /* its first letter is its kind: c(ontainer), p(rocess), f(ile) */
        BhBasis basis;
        gboolean look, leave; /* for who is there; for who comes later */
        guint target;         /* with processes of the node: hash of the container that they acted on, 0: none */
} BhIncidentKey;

/* Of BhIncidentKey; owns their texts. */
GArray *bh_incident_keys_of(const BhIncidentFinding *f);
/* Caller frees. */
char *bh_incident_container_key(const char *node, const char *id);

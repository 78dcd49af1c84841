/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names by which a container is found in its networks, as Docker's resolver answers them: its own and its aliases (Compose gives it those of its service), of a task of Swarm the
 * service's name and the aliases that the service has in a network, whether they lead to a virtual address or to each task in turn (endpoint mode dnsrr). The default bridge has no names.
 *
 * For the answer to one question: each container and service is read once. One thread.
 */
#pragma once
#include "central.h"

typedef struct BhReached BhReached;

BhReached *bh_reached_new(BhStore *store);
void bh_reached_free(BhReached *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhReached, bh_reached_free)

/* Reads what is said of a container, unless that is done. Failures of the store leave it without names. */
void bh_reached_load(BhReached *r, const char *node, const char *container);
/* Appends "NAME:PORT (service)" and "NAME:PORT (network NET)" for each of the container's names that `out` does not have. */
void bh_reached_names(BhReached *r, const char *node, const char *container, guint32 port, GPtrArray *out);

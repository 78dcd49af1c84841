/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which container a name or an address is, as far as incidents need it: names and addresses of each node; addresses within a network that several nodes share (its id is the same on each: an overlay),
 * for a container that is in that network itself. A private address that two nodes use says nothing about the other's.
 *
 * Connections whose other end is nobody yet wait for its address: it may be told a moment later than the connection. BH_INCIDENT_LATER of them, BH_INCIDENT_LATER_NS each.
 *
 * Bounds: BH_INCIDENTS_KNOWN entries of each kind; what does not fit is not known, and `full` says so. One thread.
 */
#pragma once
#include "incident/incident.h"
#include "store/store_inventory.h"

#define BH_INCIDENT_LATER 256u
#define BH_INCIDENT_LATER_NS (60 * G_GINT64_CONSTANT(1000000000))

typedef struct BhIncidentPlaces BhIncidentPlaces;

BhIncidentPlaces *bh_incident_places_new(void);
/* NULL is allowed. */
void bh_incident_places_free(BhIncidentPlaces *p);
/* All but the connections that wait. */
void bh_incident_places_clear(BhIncidentPlaces *p);
gboolean bh_incident_places_full(const BhIncidentPlaces *p);

/* `found`: the other end of a connection that waited is this container. */
typedef void (*BhIncidentFoundFunc)(gint64 serial, const char *node, const char *container, gint64 time_ns, gpointer data);
void bh_incident_places_learn(BhIncidentPlaces *p, const BhStoreContainer *c, BhIncidentFoundFunc found, gpointer data);

/* What its label says that this container is worth. */
BhAsset bh_incident_places_asset(const BhIncidentPlaces *p, const char *node, const char *container);
/* The same; of one that was never learned, as those that were removed before a start are not, the store is asked once. */
BhAsset bh_incident_places_ask_asset(BhIncidentPlaces *p, BhStore *s, const char *node, const char *container);
/* Id of the container of that name; NULL. */
const char *bh_incident_places_name(const BhIncidentPlaces *p, const char *node, const char *name);
/* What has that address for a container (NULL: the node itself) of that node. FALSE: nobody that is known, or the container itself. Good until the next change. */
gboolean bh_incident_places_peer(const BhIncidentPlaces *p, const char *node, const char *container, const char *address, const char **peer_node, const char **peer);
/* Whether that container had its addresses then: it has run since before. */
gboolean bh_incident_places_had(const BhIncidentPlaces *p, const char *node, const char *container, gint64 time_ns);
/* Whether that container may still have its addresses: one that was removed has them until another one is known to, and the other may be meant. */
gboolean bh_incident_places_sure(const BhIncidentPlaces *p, const char *node, const char *container);
/* A connection of that finding went to an address that is nobody's so far, or one's that was removed. */
void bh_incident_places_later(BhIncidentPlaces *p, gint64 serial, const char *node, const char *container, const char *address, gint64 time_ns);

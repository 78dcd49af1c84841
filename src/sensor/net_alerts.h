/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Findings of what was said over networks: web attacks (web_watch.h), signs in DNS (dns_signs.h). How they are told, and equal ones folded.
 *
 * Equal are those with the same key, which names the container and what was found. The first one is told at once; those within BH_NET_ALERTS_WINDOW_US after it as one message
 * with their number, first and last time. A quiet window ends it.
 *
 * One thread (drain), but for the statistics. Bounds: BH_NET_ALERTS_KEYS windows at a time and BH_NET_ALERTS_BYTES of bodies of those that were found again, beyond which what is new is told under the key that it is coarsely equal to, and beyond twice as many
 * counted as refused.
 */
#pragma once
#include "container/container.h"
#include "event/lineage.h"

#define BH_NET_ALERTS_WINDOW_US (60 * G_USEC_PER_SEC)
#define BH_NET_ALERTS_KEYS 4096u
#define BH_NET_ALERTS_BYTES (8u << 20)
#define BH_NET_ALERTS_FIELDS_MAX 32u
#define BH_NET_ALERTS_LIST_MAX 64u

/* text, list, or neither: the number. */
typedef struct {
        const char *name;
        const char *text;
        const char *const *list; /* NULL-terminated */
        gint64 number;
} BhNetField;

/* All strings are read during the call. */
typedef struct {
        const char *id;            /* unique for ever */
        const char *key, *coarse;  /* what is equal; `coarse`: when there are too many */
        const char *kind, *source, *rule, *priority, *output, *description, *advice;
        const char *const *tags;   /* NULL-terminated */
        gint64 time_ns;            /* since the epoch */
        guint32 pid;               /* 0: no process */
        guint64 start;             /* as events tell it; 0: the pid's present one */
        const BhContainer *container; /* NULL: none */
        BhNetField fields[BH_NET_ALERTS_FIELDS_MAX];
        guint n_fields;
} BhNetAlert;

typedef struct {
        guint64 found;    /* all */
        guint64 told;     /* bodies */
        guint64 repeated; /* of `found`, told as a number */
        guint64 coarse;   /* of `found`, told or counted under the key that it is coarsely equal to, as there were too many */
        guint64 refused;  /* of `found`, neither told nor counted */
} BhNetAlertsStats;

typedef struct BhNetAlerts BhNetAlerts;

/* `publish`: takes the body of each finding that is to be told (topic "finding"), with its reference. */
BhNetAlerts *bh_net_alerts_new(const char *node, void (*publish)(GBytes *body, gpointer data), gpointer data);
/* Tells what was counted. NULL is allowed. */
void bh_net_alerts_free(BhNetAlerts *a);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhNetAlerts, bh_net_alerts_free)

void bh_net_alert_text(BhNetAlert *alert, const char *name, const char *text);
void bh_net_alert_number(BhNetAlert *alert, const char *name, gint64 number);
void bh_net_alert_list(BhNetAlert *alert, const char *name, const char *const *list);

void bh_net_alerts_add(BhNetAlerts *a, const BhNetAlert *alert, const struct bh_lineage *lineage, gint64 now_us);
/* The id of the finding that one with this key would be folded into; NULL: none. Good until the next call. */
const char *bh_net_alerts_id(const BhNetAlerts *a, const char *key);
/* Tells the numbers that are due; now and then. */
void bh_net_alerts_round(BhNetAlerts *a, gint64 now_us);
void bh_net_alerts_stats(const BhNetAlerts *a, BhNetAlertsStats *out);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is delivered: a finding at the moment at which it is told. It begins as the JSON object that the API gives for one finding
 * (api/openapi.yaml, Finding), which is parsed here once more: its texts were written by attackers, and an output's process trusts nobody's JSON.
 *
 * A finding is told at once when it is new, and then, while equal ones come, once a minute with their number. Each telling has an id,
 * "FINDING/COUNT", which stays the same however often it is sent: a receiver that keeps ids can drop what it has.
 *
 * Plain values, any thread, one at a time. An alert owns everything.
 */
#pragma once
#include <glib.h>
#include <jansson.h>

#define BH_ALERT_MAX (4u << 20) /* bytes of the JSON text */

typedef struct {
        json_t *finding; /* the whole object */
        char *id;        /* of this telling */
        /* borrowed from `finding`; valid UTF-8, "" where it has none */
        const char *key, *time, *last, *rule, *priority, *source, *hostname, *output;
        guint rank;      /* 0 = emergency … 7 = debug, 8: none of these */
        guint64 count, more; /* equal ones in total; of these not told before */
} BhAlert;

#define BH_NOTIFY_ERROR bh_notify_error_quark()
GQuark bh_notify_error_quark(void);
typedef enum {
        BH_NOTIFY_ERROR_INVALID, /* what was given is not what it should be; the message says what */
        BH_NOTIFY_ERROR_FAILED,  /* the system refused */
        BH_NOTIFY_ERROR_DAMAGED, /* the queue's file is beyond use */
} BhNotifyError;

/* `told`: how many of it were told before; 0: it is new. NULL with BH_NOTIFY_ERROR_INVALID. */
BhAlert *bh_alert_parse(const char *json, gsize len, guint64 told, GError **error);
/* Takes the object. */
BhAlert *bh_alert_new(json_t *finding, guint64 told, GError **error);
void bh_alert_free(BhAlert *a);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhAlert, bh_alert_free)

/* "Critical" of "critical", as Falco writes them; a name that is none of the eight comes back as it is. */
const char *bh_alert_priority_name(const BhAlert *a);
/* 0 = emergency … 7 = debug; 8 for a name that is none, in whatever case. */
guint bh_alert_rank(const char *priority);

/* One that tells that an output works: rule "Test of an output", priority informational, source "bulkhead". `who` asked for it. */
BhAlert *bh_alert_test(const char *hostname, const char *who);

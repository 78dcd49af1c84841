/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An act of a workload as models see it, and how dangerous it would be if it were an attack. The contract between whoever observes (the sensor; the connection map) and
 * the models. Values only; texts are borrowed.
 */
#pragma once
#include <glib.h>

typedef enum {
        BH_FAMILY_NONE,
#define BH_FAMILY(number, ID, kind, title, actor, object, detail, risk, doc) BH_FAMILY_##ID = number,
#include "model/families.tbl.h"
        BH_FAMILIES
} BhFamily;

typedef struct {
        BhFamily family;
        const char *actor, *object, *detail; /* never NULL; what they hold: families.tbl.h */
        guint32 uid;                         /* EXEC; else 0 */
        guint64 count;                       /* >= 1 */
        gint64 first_ns, last_ns;            /* since the epoch */
        guint64 replica;                     /* hash of the container; 0: not known */
        gboolean starting;                   /* the container had just begun */
        gboolean suspicious;                 /* never to be learned by itself */
        const char *example, *why;           /* the act as it was; why it is suspicious. NULL or "": not known */
} BhAct;

/* "exec", …; NULL / BH_FAMILY_NONE: there is no such family. */
const char *bh_family_kind(BhFamily family);
const char *bh_family_title(BhFamily family);
BhFamily bh_family_from_kind(const char *kind);

/* 0 … 1: how bad it would be if it were an attack. From what it is alone. */
double bh_act_risk(const BhAct *act);

/* One sentence without its full stop, as "/usr/sbin/nginx started /bin/sh as user 33". Foreign bytes are escaped (base/escape.h is the caller's matter: texts come clean). */
char *bh_act_say(const BhAct *act);

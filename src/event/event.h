/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event: one thing that happened, enriched. Everything above the kernel speaks of struct bh_event.
 *
 * A bh_event is a plain value. Its strings, lists and addresses point into memory that somebody else owns (the kernel's record,
 * the process table, a container, a decoded buffer) and that outlives the use of the event; bh_event_copy() makes one that
 * stands alone. A field is there if its bit in `has` is set: use BH_SET() and bh_event_has(). A field that is not set is
 * missing, which is not the same as 0 or "".
 *
 * All functions are pure and thread-safe. Encoders never fail; decoders take hostile bytes.
 */
#pragma once
#include <glib.h>
#include <stdint.h>
#include <string.h>

#include "record.h"

struct bh_str {
        const char *p; /* not NUL-terminated; may hold any byte */
        guint32 len;
};

struct bh_ip {
        guint8 b[16]; /* network order; IPv4 in the first four */
        guint8 len;   /* 4 or 16 */
};

/* One number for each field, dense, in table order: the index of its bit in `has`. */
enum bh_field {
#define BH_FIELD(num, kind, member, name, doc) BH_F_##member,
#include "event/fields.tbl.h"
        BH_F_COUNT
};

enum bh_source {
        BH_SOURCE_KERNEL = 0,
        BH_SOURCE_SCAN = 1,
        BH_SOURCE_RUNTIME = 2,
        BH_SOURCE_SENSOR = 3,
};

#define BH_C_U64 guint64
#define BH_C_I64 gint64
#define BH_C_U32 guint32
#define BH_C_I32 gint32
#define BH_C_BOOL gboolean
#define BH_C_TIME guint64
#define BH_C_HEX guint64
#define BH_C_KEY guint64
#define BH_C_STR struct bh_str
#define BH_C_LIST struct bh_str
#define BH_C_PAIRS struct bh_str
#define BH_C_IP struct bh_ip
#define BH_C_BYTES struct bh_str
#define BH_C_ENUM guint32
#define BH_C_FLAGS guint64

struct bh_event {
        guint64 has[(BH_F_COUNT + 63) / 64];
#define BH_FIELD(num, kind, member, name, doc) BH_C_##kind member;
#include "event/fields.tbl.h"
};

static inline gboolean bh_event_has(const struct bh_event *e, enum bh_field f) {
        return e->has[f / 64] >> (f % 64) & 1;
}

static inline void bh_event_mark(struct bh_event *e, enum bh_field f) {
        e->has[f / 64] |= 1ull << (f % 64);
}

/* BH_SET(e, pid, 42) */
#define BH_SET(e, member_, value_) ((e)->member_ = (value_), bh_event_mark((e), BH_F_##member_))

/* Sets a string field from a C string; NULL or "" leaves it missing. */
#define BH_SET_STR(e, member_, text_) \
        do { \
                const char *t_ = (text_); \
                if (t_ && *t_) \
                        BH_SET(e, member_, ((struct bh_str){ t_, (guint32) strlen(t_) })); \
        } while (0)

/* Description of a field, from the table. */
struct bh_field_info {
        guint32 number; /* protobuf field number */
        guint16 offset; /* in struct bh_event */
        guint8 kind;    /* enum bh_kind */
        const char *member;
        const char *name;
        const char *doc;
};

enum bh_kind {
        BH_KIND_U64, BH_KIND_I64, BH_KIND_U32, BH_KIND_I32, BH_KIND_BOOL, BH_KIND_TIME, BH_KIND_HEX, BH_KIND_KEY, BH_KIND_STR, BH_KIND_LIST, BH_KIND_PAIRS,
        BH_KIND_IP, BH_KIND_BYTES, BH_KIND_ENUM, BH_KIND_FLAGS,
};

extern const struct bh_field_info bh_fields[BH_F_COUNT];

/* Field of that JSON name, or NULL. */
const struct bh_field_info *bh_field_find(const char *name);

/* Event type names: "exec", … ; NULL / -1 if there is no such type. Loss reasons and record flags alike. */
const char *bh_event_type_name(guint32 type);
int bh_event_type_from_name(const char *name);
const char *bh_event_type_doc(guint32 type);
const char *bh_lost_reason_name(guint32 reason);
const char *bh_lost_reason_doc(guint32 reason);
const char *bh_record_flag_name(guint bit);
const char *bh_record_flag_doc(guint bit);
const char *bh_source_name(guint32 source);

/* Name of an errno, also of the kernel's internal ones (ERESTARTSYS, …); NULL if there is none. Static. */
const char *bh_errno_name(int err);

/* Name of an ENUM field's value; NULL if the value has none (it is then printed as a number). Static. */
const char *bh_enum_name(enum bh_field field, guint32 value);

/*
 * Names of a FLAGS field's value, in order; at most `max` are written, the count is returned. What has no name is one number,
 * *rest (0: nothing left). Names are static.
 */
#define BH_FLAG_NAMES_MAX 40
guint bh_flag_names(enum bh_field field, guint64 value, const char *names[BH_FLAG_NAMES_MAX], guint64 *rest);

/* The other way: the number of an ENUM field's name, the bits of one name of a FLAGS field. FALSE: there is no such name. */
gboolean bh_enum_value(enum bh_field field, const char *name, guint32 *value);
gboolean bh_flag_value(enum bh_field field, const char *name, guint64 *value);

/*
 * Start time of a process as events tell it: in steps of 1/100 s since boot, as /proc/PID/stat does. A process has the same start
 * in every event, whether the sensor saw it begin or found it in /proc.
 */
static inline guint64 bh_start_shown(guint64 boottime_ns) {
        return boottime_ns - boottime_ns % 10000000;
}

/* A copy that owns all its bytes in one allocation: free with g_free(). */
struct bh_event *bh_event_copy(const struct bh_event *e);

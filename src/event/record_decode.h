/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the kernel's record (record.h) to an event. The record comes from our own programs and is trusted to be honest, not to be
 * complete: sizes, chunk bounds and fixed-size chunks are checked, and whatever is wrong refuses the whole record.
 *
 * What a kind's a[] means is event_args.tbl.h. A value that says nothing is left missing: device, inode, target, address or
 * time 0, a descriptor below 0, the new descriptor of a call that failed. Devices come out as stat(2) has them. The result is left
 * missing for kinds that have none (exit, cgroups, closes). The path of a cgroup's event is its cgroup_path.
 *
 * Where a path is the caller's text (BH_RF_PATH_USER) it is put behind the directory it starts from and made short by its text alone ("//",
 * "/./", "/../"); what was written is then `name`, unless the kind has another use of that.
 *
 * Pure and thread-safe. Strings of the event point into the record and into *out.
 */
#pragma once
#include "event/event.h"

/*
 * Nanoseconds to add to CLOCK_BOOTTIME to have ns since the epoch. `now` follows the wall clock. `start` is for start times of
 * processes, which are part of their names: it must stay as it is for as long as the machine is up, also across restarts of the sensor.
 */
struct bh_clock {
        guint64 now, start;
};

static inline guint64 bh_clock_start(const struct bh_clock *clock, guint64 boottime) {
        return bh_start_shown(boottime) + clock->start;
}

struct bh_decoded {
        struct bh_event event;
        guint64 origin;       /* cgroup id of the origin container, 0: none */
        guint64 start;        /* of the acting process, CLOCK_BOOTTIME ns: exact, as all below; the event's own times are epoch */
        guint64 child_start;  /* fork */
        guint64 child_origin; /* fork: the child's */
        guint64 target_start; /* 0: not known */
        guint64 fold_key;
        gboolean has_cred, has_cred_old, has_exec, has_addr;
        struct bh_cred cred, cred_old;
        struct bh_exec_info exec;
        struct bh_addr addr;
        char text[2 * (2 * BH_PATH_MAX + 2)]; /* of paths put together; not cleared */
};

/* `size`: bytes at rec, at least rec->size. rec must be 8-aligned. On failure *out is undefined. */
gboolean bh_record_decode(const struct bh_rec *rec, gsize size, const struct bh_clock *clock, struct bh_decoded *out, GError **error);

/* Sets the credential fields / the old_* fields of the event. */
void bh_event_set_cred(struct bh_event *e, const struct bh_cred *cred);
void bh_event_set_cred_old(struct bh_event *e, const struct bh_cred *cred);

/* Kernel device number (major << 20 | minor) to that of stat(2). */
static inline guint32 bh_dev_from_kernel(guint32 dev) {
        guint32 major = dev >> 20, minor = dev & 0xfffff;

        return (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
}

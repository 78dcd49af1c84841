/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel programs' map of cgroups, as the sensor looks after it. The kernel enters each cgroup when it is made, goes by its name to say whether
 * it is a container's, and deletes it when it is removed; the sensor enters what exists at its start, tells what only the container table knows
 * (plain runc, nested containers), and puts back what somebody took away or changed.
 *
 * Records of the rings say late, or never, that a cgroup is gone. So an entry that is not there is put back only if the file system has the cgroup,
 * and said to be somebody's deed only if it was not there in two rounds.
 *
 * One user at a time: the start, then the drain thread. `hooks`, `containers` and `layout` must outlive it.
 */
#pragma once
#include "container/table.h"
#include "hooks.h"

typedef struct BhCgroups BhCgroups;

BhCgroups *bh_cgroups_new(BhHooks *hooks, BhContainerTable *containers, const BhCgroupLayout *layout);
void bh_cgroups_free(BhCgroups *c);

/* A cgroup that was found at the start; it must be bound in the container table. */
void bh_cgroups_found(BhCgroups *c, guint64 id);
/* Entries of the map that are known from nowhere else, of a sensor before this one: to be called once, after what exists was found. */
void bh_cgroups_adopt(BhCgroups *c);

/* A record says that it was made (it must be bound in the container table), or removed. */
void bh_cgroups_made(BhCgroups *c, guint64 id);
void bh_cgroups_removed(BhCgroups *c, guint64 id);

/* Tells the kernel what the container table knows of it, if that is news. */
void bh_cgroups_tell(BhCgroups *c, guint64 id);

/* One round: puts right what is missing or wrong; returns how many entries somebody must have taken away or changed. */
guint64 bh_cgroups_restore(BhCgroups *c);

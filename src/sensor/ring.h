/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reader of a BPF ring buffer that gives room back late.
 *
 * libbpf's reader frees a record as soon as its callback returns. Here a record must stay in the ring until the flight recorder has written it,
 * so that nothing is lost when the sensor is killed: the next sensor reads it again. So reading and releasing are two steps, and
 * records are used where they lie, without a copy, until they are released (but for the rare one that lies across the ring's end).
 *
 * Only what is read and not released is mapped, by half MiB: the whole of the rings would be most of what the sensor has resident, though they are
 * mostly empty. (The memory is the kernel's, and is there in any case.)
 *
 * Layout and memory ordering: kernel/bpf/ringbuf.c (consumer page, producer page, data). One thread only.
 */
#pragma once
#include <glib.h>

#include "record.h"

typedef struct BhRing BhRing;

/* Maps the ring of that map. `fd` stays the caller's, who may close it. */
BhRing *bh_ring_open(int fd, const char *name, GError **error);
void bh_ring_free(BhRing *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhRing, bh_ring_free)

/*
 * Next complete record, or NULL when there is none now. *end is the position just behind it (a byte count since the ring was made).
 * The record is valid until bh_ring_release() is called with a position >= *end. *len is the length the kernel noted.
 */
const struct bh_rec *bh_ring_next(BhRing *r, guint64 *end, guint32 *len);

/* Everything before `position` (one that bh_ring_next gave) may be overwritten by the kernel. Going back is ignored. */
void bh_ring_release(BhRing *r, guint64 position);

/* Goes on reading at `position`, if that is between what is released and what is written. */
void bh_ring_seek(BhRing *r, guint64 position);

guint64 bh_ring_released(const BhRing *r);
guint64 bh_ring_read_position(const BhRing *r);

/* Bytes in the ring that are not released, and its size: how near it is to losing events. */
guint64 bh_ring_used(const BhRing *r);
guint64 bh_ring_size(const BhRing *r);

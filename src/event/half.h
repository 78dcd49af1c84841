/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A half: what one side of equal connections knows of them (message Flow of api/bus.proto). Two halves, often of two nodes, make an edge of the map.
 * The same struct is given to the store, read from it, and given to the graph.
 *
 * Texts are borrowed where a half is given, and never NULL: "" is not known. They are foreign. Nothing here allocates; any thread.
 */
#pragma once
#include <glib.h>
#include <string.h>

typedef enum { BH_HALF_CLIENT = 1, BH_HALF_SERVER = 2 } BhHalfRole;

/* len 0: none; 4 or 16. An IPv4 address in IPv6's clothes is kept as the former. */
typedef struct {
        guint8 len, bytes[16];
} BhHalfAddress;

typedef struct {
#define BH_HALF_COUNT(member, other, meaning) guint64 member;
#include "event/half_counts.tbl.h"
#undef BH_HALF_COUNT
} BhHalfCounts;

#define BH_HALF_SAMPLES 16 /* ports of a scan that are kept */

typedef struct {
        gint64 id; /* the store's; 0: it was left out */

        /* What makes it this one. */
        const char *node, *container_id, *exe; /* the local side; container_id "": a process of the host */
        BhHalfRole role;
        guint32 proto; /* IP protocol; 0: a Unix socket */
        guint32 port;  /* the server's; 0: of several, or a Unix socket */
        const char *path;
        BhHalfAddress peer, dialled;
        guint32 dialled_port;
        const char *peer_container_id;
        gboolean peer_is_host;

        /* What is told of it; the last that is not empty counts. */
        BhHalfAddress local;
        const char *peer_exe, *peer_name, *network_id, *protocol, *server_name, *fingerprint, *certificate;
        guint32 ports, addresses;
        guint32 port_samples[BH_HALF_SAMPLES];
        guint n_port_samples;

        gint64 first_ns, last_ns;
        BhHalfCounts counts; /* given: what is added; read: in total */

        /* As it is now. */
        guint64 open, half_open;
        guint64 open_bytes_out, open_bytes_in, open_packets_out, open_packets_in; /* given only */
} BhHalf;

static inline BhHalfAddress bh_half_address(const void *data, gsize len) {
        static const guint8 mapped[12] = { [10] = 0xff, [11] = 0xff };
        BhHalfAddress a = { 0 };

        if (len == 16 && !memcmp(data, mapped, sizeof(mapped))) {
                data = (const guint8 *) data + 12;
                len = 4;
        }
        if (len == 4 || len == 16) {
                a.len = (guint8) len;
                memcpy(a.bytes, data, len);
        }
        return a;
}

static inline gboolean bh_half_address_equal(const BhHalfAddress *a, const BhHalfAddress *b) {
        return a->len == b->len && !memcmp(a->bytes, b->bytes, a->len);
}

static inline guint64 bh_half_sum(guint64 a, guint64 b) {
        return a > G_MAXUINT64 - b ? G_MAXUINT64 : a + b;
}

static inline void bh_half_counts_add(BhHalfCounts *to, const BhHalfCounts *more) {
#define BH_HALF_COUNT(member, other, meaning) to->member = bh_half_sum(to->member, more->member);
#include "event/half_counts.tbl.h"
#undef BH_HALF_COUNT
}

/* As the other side would count it. */
static inline BhHalfCounts bh_half_counts_turned(const BhHalfCounts *c) {
        return (BhHalfCounts){
#define BH_HALF_COUNT(member, other, meaning) .member = c->other,
#include "event/half_counts.tbl.h"
#undef BH_HALF_COUNT
        };
}

/* The larger of each: two sides tell the same, and one of them may be behind. */
static inline void bh_half_counts_max(BhHalfCounts *to, const BhHalfCounts *other_) {
#define BH_HALF_COUNT(member, other, meaning) to->member = MAX(to->member, other_->member);
#include "event/half_counts.tbl.h"
#undef BH_HALF_COUNT
}

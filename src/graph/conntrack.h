/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel's connection tracking says of translated addresses (NAT): messages of nfnetlink, read, and a table of what they say.
 *
 * A connection has two ways: the original, as its client sent it, and the reply, as its server answers. Without translation the one is the other turned round; with it,
 * the client is the original's source and the server is the reply's source. Only translated ones are kept.
 *
 * Bytes come from the kernel, but what is in them is decided by whoever sends packets, and the socket may be anybody's in a test: the parser trusts no length
 * (fuzz target "conntrack"). Pure; one thread.
 *
 * Bounds: BH_CONNTRACK_MAX translations, the one used longest ago goes; ended ones are kept for BH_CONNTRACK_KEEP_US, because events of the end may come after it.
 */
#pragma once
#include "event/event.h"

#define BH_CONNTRACK_MAX 65536u
#define BH_CONNTRACK_KEEP_US (30 * G_USEC_PER_SEC)

typedef struct {
        struct bh_ip src, dst;
        guint16 sport, dport;
} BhConntrackWay;

typedef enum {
        BH_CONNTRACK_NEW,     /* is there: new, changed or from a listing */
        BH_CONNTRACK_DESTROY, /* is gone */
} BhConntrackChange;

typedef struct {
        BhConntrackChange change;
        guint8 proto;
        BhConntrackWay original, reply;
        gboolean translated; /* the ways are not each other turned round */
} BhConntrackEntry;

/*
 * Reads what a netlink socket gave, message by message. `each` gets every entry of TCP, UDP, SCTP, UDP-Lite or DCCP, translated or not. Returns the number of messages of other
 * kinds and of malformed ones, which are left out; *done (may be NULL) becomes TRUE at the end of a listing, *error_number the errno that the kernel answered.
 */
guint bh_conntrack_parse(const guint8 *bytes, gsize len, void (*each)(const BhConntrackEntry *entry, gpointer data), gpointer data, gboolean *done, int *error_number);

typedef struct BhConntrack BhConntrack;

BhConntrack *bh_conntrack_new(guint max); /* 0: BH_CONNTRACK_MAX */
void bh_conntrack_free(BhConntrack *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhConntrack, bh_conntrack_free)

/* Takes in an entry; one that is not translated takes away what was kept for its addresses. */
void bh_conntrack_apply(BhConntrack *c, const BhConntrackEntry *entry, gint64 now_us);

/*
 * The real ends of a connection, as a socket of its client sees it (local = client, remote = what it dialled) or one of its server (local = server, remote = whom it sees).
 * FALSE: not translated, as far as is known; *client and *server are what was given then.
 */
typedef struct {
        struct bh_ip client, server, dialled;
        guint16 client_port, server_port, dialled_port;
} BhConntrackEnds;

gboolean bh_conntrack_undo_client(BhConntrack *c, guint8 proto, const struct bh_ip *laddr, guint16 lport, const struct bh_ip *raddr, guint16 rport, BhConntrackEnds *out);
gboolean bh_conntrack_undo_server(BhConntrack *c, guint8 proto, const struct bh_ip *laddr, guint16 lport, const struct bh_ip *raddr, guint16 rport, BhConntrackEnds *out);

typedef struct {
        guint entries;
        guint64 seen, evicted;
} BhConntrackStats;

void bh_conntrack_stats(const BhConntrack *c, BhConntrackStats *out);

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What payload.bpf.c and src/sensor/payload.c share. A record of the ring is struct bh_payload_head and `len` bytes.
 */
#ifndef BH_PAYLOAD_RECORD_H
#define BH_PAYLOAD_RECORD_H

#include "record.h"

#define BH_PAYLOAD_RECORD_BYTES 16384 /* of one call */
#define BH_PAYLOAD_HANDSHAKE 8192     /* of TLS, each direction */
#define BH_PAYLOAD_RING_BYTES (8 << 20)
#define BH_PAYLOAD_RING_TURN (1 << 20)  /* of a container in a second, while the ring is more than half full: who filled it waits, others go on */
#define BH_PAYLOAD_OPEN_SHARE 16384     /* connections known of one container: a quarter of all */

/* Numbers as in enum BhPayloadFlags. */
enum bh_payload_flag {
        BH_PAYLOAD_F_OPEN = 1u << 0,
        BH_PAYLOAD_F_CLOSE = 1u << 1,
        BH_PAYLOAD_F_TLS = 1u << 2,
        BH_PAYLOAD_F_CUT = 1u << 3,
        BH_PAYLOAD_F_SKIPPED = 1u << 4,
        BH_PAYLOAD_F_TLS_CLOSED = 1u << 5,
        BH_PAYLOAD_F_TURN = 1u << 6,
};

/* Numbers as in BhPayloadProtocol. */
enum bh_payload_protocol {
        BH_PAYLOAD_P_UNDECIDED,
        BH_PAYLOAD_P_HTTP1,
        BH_PAYLOAD_P_HTTP2,
        BH_PAYLOAD_P_TLS,
        BH_PAYLOAD_P_DNS,
        BH_PAYLOAD_P_PROXY, /* what a proxy says of its client; what comes behind it is not known yet */
        BH_PAYLOAD_P_OTHER, /* none of these, told because the container's rule asks for it */
};

/* Numbers as in BhPayloadSide; 0: not known. */
enum bh_payload_side {
        BH_PAYLOAD_AT_CLIENT = 1,
        BH_PAYLOAD_AT_SERVER = 2,
};

/* Numbers as in BhPayloadSkipped. */
enum bh_payload_skipped {
        BH_PAYLOAD_S_REQUEST,
        BH_PAYLOAD_S_CALL,
        BH_PAYLOAD_S_CONNECTION,
        BH_PAYLOAD_S_CONTAINER,
        BH_PAYLOAD_S_FULL,
        BH_PAYLOAD_S_FORM,
        BH_PAYLOAD_S_UNREADABLE,
        BH_PAYLOAD_S_BUSY,
        BH_PAYLOAD_S_MAX,
};

struct bh_payload_head {
        __u64 connection;
        __u64 sk;
        __u64 ts;     /* CLOCK_BOOTTIME ns */
        __u64 offset;
        __u64 start, cgroup, container;
        __u32 tgid, tid;
        __u32 net_ns;
        __u32 flags;  /* enum bh_payload_flag */
        __u32 total, len;
        __u8 sent, side, protocol, pad[5];
        struct bh_addr addr;
};
_Static_assert(sizeof(struct bh_payload_head) == 136, "shared layout");

struct bh_payload_dir {
        __u64 pos;  /* of what comes next in the stream … */
        __u64 told; /* … and of what follows the last byte that was told */
        __u32 seq;  /* as pos, the kernel's number */
        __u32 left; /* of this request or response that may be told yet */
        __u32 other; /* where the other direction stood at the last call, the kernel's number: the stream turns when that has moved, whether it was seen or not */
        __u32 pad;
};

enum bh_payload_state {
        BH_PAYLOAD_NEW,     /* its first bytes say nothing yet */
        BH_PAYLOAD_LOOKING, /* it was open before: waits for a call that begins like a request */
        BH_PAYLOAD_FOLLOWED,
        BH_PAYLOAD_HELLO,   /* TLS: its handshake is told */
        BH_PAYLOAD_ENDED,   /* TLS: encrypted from here on */
        BH_PAYLOAD_IGNORED, /* for ever, this and the next */
        BH_PAYLOAD_OFF,     /* until the rules change */
};

/* Of the clear text of a TLS connection. */
enum bh_payload_clear {
        BH_PAYLOAD_CLEAR_NONE, /* no call of a TLS library was seen that uses the socket */
        BH_PAYLOAD_CLEAR_NEW,
        BH_PAYLOAD_CLEAR_FOLLOWED,
        BH_PAYLOAD_CLEAR_IGNORED,
};

#define BH_PAYLOAD_FIRST 32
#define BH_PAYLOAD_UNWANTED 65536 /* a power of two */
/*
 * unwanted map: at BH_PAYLOAD_UNWANTED_AT(sk) the `id` of a connection that the sensor wants nothing more of. The programs alone write an entry of `streams`, so they set it to IGNORED
 * at its next call; two whose places are the same take turns, and the sensor says it again while pieces of one still come.
 */
#define BH_PAYLOAD_UNWANTED_AT(sk) ((__u32) ((sk) * 0x9e3779b97f4a7c15ull >> 48))

/* streams map: key the address of the kernel's struct sock; removed when that is destroyed. */
struct bh_payload_stream {
        __u64 id;
        __u64 container;
        __u64 window; /* of the connection's second, CLOCK_BOOTTIME ns */
        __u32 used;   /* bytes in it */
        __u32 ports;  /* local << 16 | remote: an entry whose ports are others is of an earlier socket; 0: it is being made */
        __u32 rules;  /* of struct bh_payload_config, when the next two were looked up */
        __u32 per_request, per_second;
        __u8 state;   /* enum bh_payload_state */
        __u8 protocol, side;
        __u8 looks;   /* in state LOOKING */
        __u8 begun;   /* directions in which there were calls: 1 read, 2 written */
        __u8 opened;  /* something was told */
        __u8 clear;   /* enum bh_payload_clear */
        __u8 first_len;
        __u8 first[BH_PAYLOAD_FIRST];
        struct bh_payload_dir dir[2]; /* [1]: written */
        struct bh_payload_dir text[2]; /* the same of the clear text of a TLS library; `seq` is not used */
        __u32 other; /* of the rules: bytes of each direction that are told of what speaks nothing known */
        __u32 pad;
};
_Static_assert(sizeof(struct bh_payload_stream) == 224, "shared layout");

/* payload_rules map: key the container's cgroup; 0: the others. */
struct bh_payload_rule {
        __u32 off, per_request, per_second;
        __u32 other; /* of each direction of a connection that speaks nothing known; 0: it is ignored */
};

/* payload_config map: one entry, the sensor's. */
struct bh_payload_config {
        __u32 probe_tgid; /* whose calls are counted and not told; 0: nobody's */
        __u32 rules;      /* changes of payload_rules */
        __u32 tls;        /* calls of TLS libraries are looked at */
        __u32 pad;
};

/* payload_counts map: one entry, the programs'. */
struct bh_payload_counts {
        __u64 probe_sent, probe_read;
        __u64 followed, ignored, refused;
        __u64 ends_lost; /* records without bytes for which the ring had no room */
        __u64 clear_unknown; /* calls of a TLS library whose socket is not known */
        __u64 batching;  /* not 0: some thread has used sendmmsg() or recvmmsg() */
};

/* payload_accounts map, per CPU: key the container's cgroup; 0: containers for which there was no room. */
struct bh_payload_account {
        __u64 pieces, moved, copied, skipped[BH_PAYLOAD_S_MAX], tls_closed, clear, clear_copied, clear_skipped[BH_PAYLOAD_S_MAX];
};

/* payload_spent map: key the container's cgroup. */
struct bh_payload_spent {
        __u64 window; /* CLOCK_BOOTTIME ns */
        __u64 used;   /* bytes in this second */
};

#endif

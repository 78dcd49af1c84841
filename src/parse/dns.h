/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS messages (RFC 1035, 2782, 3596, 6891, 9460) as an attacker may have written them.
 *
 * bh_dns_parse() takes the bytes of one message and keeps all that came before the first thing wrong with it: a captured payload is
 * often cut, and a malformed message is itself worth seeing. `problem` says what was wrong. Nothing is believed: counts, lengths and
 * compression pointers are checked (a pointer must lead to before the place that it is in, so no chain of them has a loop).
 *
 * Names are in presentation form: labels with dots between them, no dot at the end, the root is "."; in a label '.' and '\' have a
 * backslash before them and bytes outside 0x21..0x7e are \DDD (decimal). So a name is ASCII without spaces or NUL, and different
 * names stay different. Case is kept as sent.
 *
 * A message owns all that it points to and is never changed after it was made. No globals, any thread. Bounds are below; what is beyond
 * them is BH_DNS_BOUND and dropped.
 */
#pragma once
#include <glib.h>

#define BH_DNS_MESSAGE_MAX 65535u
#define BH_DNS_QUESTIONS_MAX 8u
#define BH_DNS_RECORDS_MAX 128u
#define BH_DNS_NAME_MAX 1024u          /* bytes of a name in presentation form with its NUL: 255 in the message, each \DDD at worst */
#define BH_DNS_TEXT_MAX (32u << 10)    /* of all names of a message together */
#define BH_DNS_DATA_MAX (64u << 10)    /* of all `data` of a message together */

typedef enum {
        BH_DNS_WHOLE,
        BH_DNS_CUT,       /* the bytes end before the message does */
        BH_DNS_MALFORMED, /* a label, pointer, name or length that the standard forbids */
        BH_DNS_BOUND,     /* more than is kept here */
        BH_DNS_PROBLEMS,
} BhDnsProblem;

typedef enum {
        BH_DNS_ANSWER,
        BH_DNS_AUTHORITY,
        BH_DNS_ADDITIONAL,
} BhDnsSection;

enum {
        BH_DNS_A = 1,
        BH_DNS_NS = 2,
        BH_DNS_CNAME = 5,
        BH_DNS_SOA = 6,
        BH_DNS_PTR = 12,
        BH_DNS_MX = 15,
        BH_DNS_TXT = 16,
        BH_DNS_AAAA = 28,
        BH_DNS_SRV = 33,
        BH_DNS_DNAME = 39,
        BH_DNS_OPT = 41,
        BH_DNS_SVCB = 64,
        BH_DNS_HTTPS = 65,
        BH_DNS_ANY = 255,
};

/* Bits of BhDnsMessage.flags, in their place in the header's second word. */
enum {
        BH_DNS_QR = 0x8000,
        BH_DNS_AA = 0x0400,
        BH_DNS_TC = 0x0200,
        BH_DNS_RD = 0x0100,
        BH_DNS_RA = 0x0080,
        BH_DNS_AD = 0x0020,
        BH_DNS_CD = 0x0010,
};

typedef struct {
        const char *name;
        guint16 type, class;
} BhDnsQuestion;

typedef struct {
        const char *name;
        const char *target;   /* CNAME, NS, PTR, DNAME, MX, SRV, SVCB, HTTPS, SOA (its server): the name in the data; else "" */
        const guint8 *data;   /* A: 4 bytes; AAAA: 16; TXT: the strings without their lengths, one after the other; SVCB, HTTPS: the
                                 parameters, see bh_dns_svc_param(); types unknown here: as they are; else none. Never NULL */
        guint32 data_len;
        guint32 ttl;
        guint16 type, class;
        guint16 priority;     /* MX, SRV, SVCB, HTTPS */
        guint16 weight, port; /* SRV */
        guint8 section;       /* BhDnsSection */
} BhDnsRecord;

typedef struct {
        guint16 id;
        guint16 flags;       /* BH_DNS_QR | … */
        guint8 opcode;       /* 0 = query */
        guint16 rcode;       /* 0 = no error, 3 = no such name; with the upper bits that EDNS adds */
        guint16 counts[4];   /* as the header claims: questions, answers, authority, additional */
        gboolean edns;       /* there is an OPT record (never among `records`) */
        guint16 edns_bytes;  /* the UDP payload that the sender takes */
        guint32 edns_data;   /* bytes of its options: a place where data can leave */
        guint32 trailing;    /* bytes after the message's end */
        BhDnsProblem problem;
        const BhDnsQuestion *questions;
        guint32 n_questions;
        const BhDnsRecord *records;
        guint32 n_records;
        GStringChunk *text;  /* what the names and data point into */
} BhDnsMessage;

/* NULL with G_FILE_ERROR_INVAL when there are fewer than the header's 12 bytes or more than BH_DNS_MESSAGE_MAX. */
BhDnsMessage *bh_dns_parse(const guint8 *bytes, gsize len, GError **error);
/* NULL is allowed. */
void bh_dns_free(BhDnsMessage *m);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhDnsMessage, bh_dns_free)

/* "whole", "cut", "malformed", "bound"; "?" for another number. */
const char *bh_dns_problem_name(BhDnsProblem problem);
/* "A", "HTTPS", …; NULL when the type is unknown here. */
const char *bh_dns_type_name(guint16 type);
/*
 * The value of a parameter of an SVCB or HTTPS record: 1 = alpn, 3 = port, 4 = IPv4 addresses, 6 = IPv6 addresses (RFC 9460 §14.3.2).
 * NULL when the record has none; *len is then 0. Points into the message.
 */
const guint8 *bh_dns_svc_param(const BhDnsRecord *r, guint16 key, gsize *len);

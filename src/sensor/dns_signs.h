/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signs in what containers ask of DNS: data that leaves in names, and generated names.
 *
 * Data in names ("tunnel"). Names are put together by container and registered domain (the last two labels, three where the second-last is one like "co" in "co.uk"). Counted are the
 * bytes of labels that look encoded: at least BH_DNS_LABEL_MIN long and with few of the pairs of letters that words have, or with bytes that names do not have. Each name counts once in
 * a window, so whoever asks for the same again and again carries nothing. Where questions are of types that hosts have no use for (TXT, NULL, CNAME, …) or most names do not exist, BH_DNS_TUNNEL_BYTES in a
 * window are enough; where names exist and are asked for their addresses, as those that content networks make of hashes are, it takes BH_DNS_TUNNEL_PLAIN_BYTES; and over an hour four times (and 16 times) as much.
 * Look-ups of addresses (in-addr.arpa, block lists) have short labels and do not count, nor do names that do not leave the site (cluster.local, .internal, …).
 *
 * Generated names ("generated"). By container: different registered domains that do not exist, while hardly any does: BH_DNS_GENERATED of them that no words are in, or BH_DNS_GENERATED_WORDS of any.
 *
 * A pure state machine fed with events; one thread. Bounds: BH_DNS_ZONES domains (the one that was quiet for longest goes, counted), BH_DNS_CONTAINERS containers. A sign of a domain or container is told once in BH_DNS_AGAIN_NS.
 */
#pragma once
#include "base/domain.h"
#include "event/event.h"

#define BH_DNS_WINDOW_NS (30 * G_GINT64_CONSTANT(1000000000))
#define BH_DNS_LONG_NS (3600 * G_GINT64_CONSTANT(1000000000))
#define BH_DNS_AGAIN_NS (600 * G_GINT64_CONSTANT(1000000000))
#define BH_DNS_LABEL_MIN 16u
#define BH_DNS_TUNNEL_NAMES 20u
#define BH_DNS_TUNNEL_BYTES 2048u
#define BH_DNS_TUNNEL_PLAIN_BYTES 16384u
#define BH_DNS_GENERATED 20u
#define BH_DNS_GENERATED_WORDS 100u
#define BH_DNS_ZONES 4096u
#define BH_DNS_CONTAINERS 1024u
#define BH_DNS_EXAMPLE_MAX 255u

typedef enum { BH_DNS_SIGN_TUNNEL, BH_DNS_SIGN_GENERATED } BhDnsSignKind;

typedef struct {
        BhDnsSignKind kind;
        char zone[BH_DOMAIN_MAX + 1];       /* tunnel: the domain; generated: "" */
        char example[BH_DNS_EXAMPLE_MAX + 1]; /* one of the names */
        guint names;      /* different ones: encoded ones under the domain; domains that do not exist */
        guint64 bytes;    /* tunnel: in their labels */
        double entropy;   /* tunnel: bits for each character of these */
        guint odd, missing, questions; /* of all questions about it: of types that hosts have no use for; answered that there is none */
        guint seconds;    /* in which that was */
} BhDnsSign;

typedef struct {
        guint zones, containers;
        guint64 messages, signs, forgotten;
} BhDnsSignsStats;

typedef struct BhDnsSigns BhDnsSigns;

BhDnsSigns *bh_dns_signs_new(void);
/* NULL is allowed. */
void bh_dns_signs_free(BhDnsSigns *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhDnsSigns, bh_dns_signs_free)

/* Takes a dns event of a container; others change nothing. TRUE: it completes a sign. */
gboolean bh_dns_signs_event(BhDnsSigns *s, const struct bh_event *e, BhDnsSign *out);
void bh_dns_signs_stats(const BhDnsSigns *s, BhDnsSignsStats *out);

/* For tests. Whether a label looks encoded or made up rather than of words. */
gboolean bh_dns_label_random(const char *label, gsize len);

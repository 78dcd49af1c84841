/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS messages in one direction of a stream (RFC 1035, 4.2.2; RFC 7858): each has its length before it, in two bytes. What is in a message is not looked at here.
 *
 * Pure; one thread at a time. Of a message BH_DNS_STREAM_KEEP bytes are kept, the rest is counted in its length. A gap within a message cuts it; one that has a length in it ends what can
 * be understood of the direction (`lost`), and so does a length that no message has.
 */
#pragma once
#include <glib.h>

#define BH_DNS_STREAM_KEEP 4096u
#define BH_DNS_STREAM_LEAST 12u /* a header */

/* All zero: nothing was seen. */
typedef struct {
        guint64 next;     /* where the stream goes on */
        gboolean seen, lost, cut;
        guint8 head[2];
        guint n_head;
        guint32 total, left; /* of the message that is under way */
        GByteArray *kept;
} BhDnsStream;

/* `total`: its length as sent, at least `len`. `bytes` are good during the call. */
typedef void (*BhDnsStreamMessage)(const guint8 *bytes, gsize len, guint32 total, gpointer data);

/* `offset`: of bytes[0] in the stream. Bytes that were given before are passed over. */
void bh_dns_stream_feed(BhDnsStream *s, guint64 offset, const guint8 *bytes, gsize len, BhDnsStreamMessage message, gpointer data);
void bh_dns_stream_clear(BhDnsStream *s);

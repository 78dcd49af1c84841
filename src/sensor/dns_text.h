/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A DNS message, as the inspector understood it, as the fields of an event. Pure, any thread.
 */
#pragma once
#include "parse/dns.h"

typedef struct {
        const char *type;        /* "query" or "response" */
        const char *problem;     /* "" = none */
        char *question;          /* "" = none */
        char qtype[16], rcode[16]; /* "" = none */
        GByteArray *answers;     /* NUL-terminated texts */
        gboolean addresses;      /* there are some among them … */
        guint32 ttl;             /* … and the first of them ends after so many seconds */
} BhDnsText;

/* At most `max_answers` records and `max_bytes` of texts; more is the problem "bound". */
void bh_dns_text_init(BhDnsText *t, const BhDnsMessage *m, guint max_answers, guint max_bytes, guint max_text);
/* All zero is allowed. */
void bh_dns_text_clear(BhDnsText *t);

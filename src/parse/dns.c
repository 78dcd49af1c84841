/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/dns.h"

#include <string.h>

#define HEADER 12u
#define WIRE_NAME_MAX 255u /* RFC 1035 §3.1, with the lengths and the root */

typedef struct {
        const guint8 *b; /* the message */
        gsize n;
        GStringChunk *text;
        gsize text_used, data_used;
} Parser;

static guint16 u16(const guint8 *b) {
        return (guint16) (b[0] << 8 | b[1]);
}

static guint32 u32(const guint8 *b) {
        return (guint32) u16(b) << 16 | u16(b + 2);
}

/*
 * The presentation form of the name at *pos into out[BH_DNS_NAME_MAX], *out_len without its NUL; *pos is then behind it. The part before the
 * first pointer must lie below `end`. Each pointer must lead below the lowest place that this name was read from so far: the sequence of
 * starts decreases, so it ends.
 */
static BhDnsProblem take_name(const Parser *p, gsize *pos, gsize end, char *out, gsize *out_len) {
        /* the end of the data is the message's own fault, the end of the bytes that of whoever captured them */
        BhDnsProblem beyond = end == p->n ? BH_DNS_CUT : BH_DNS_MALFORMED;
        gsize at = *pos, lowest = at, behind = 0, wire = 1, o = 0, limit = end;

        for (;;) {
                if (at >= limit)
                        return beyond;
                guint8 len = p->b[at];
                if (len == 0) {
                        if (!behind)
                                behind = at + 1;
                        break;
                }
                if ((len & 0xc0) == 0xc0) {
                        if (at + 1 >= limit)
                                return beyond;
                        gsize to = (gsize) (len & 0x3f) << 8 | p->b[at + 1];
                        if (!behind) {
                                behind = at + 2;
                                /* what a pointer leads to may lie anywhere in the message */
                                limit = p->n;
                                beyond = BH_DNS_CUT;
                        }
                        if (to >= lowest || to < HEADER)
                                return BH_DNS_MALFORMED;
                        at = lowest = to;
                        continue;
                }
                if (len & 0xc0)
                        return BH_DNS_MALFORMED;
                if (len >= limit - at)
                        return beyond;
                wire += 1u + len;
                if (wire > WIRE_NAME_MAX)
                        return BH_DNS_MALFORMED;
                if (o)
                        out[o++] = '.';
                for (const guint8 *c = p->b + at + 1, *last = c + len; c < last; c++) {
                        if (*c == '.' || *c == '\\') {
                                out[o++] = '\\';
                                out[o++] = (char) *c;
                        } else if (*c > 0x20 && *c < 0x7f) {
                                out[o++] = (char) *c;
                        } else {
                                out[o++] = '\\';
                                out[o++] = (char) ('0' + *c / 100);
                                out[o++] = (char) ('0' + *c / 10 % 10);
                                out[o++] = (char) ('0' + *c % 10);
                        }
                }
                at += 1u + len;
        }
        if (o == 0)
                out[o++] = '.';
        out[o] = '\0';
        *out_len = o;
        *pos = behind;
        return BH_DNS_WHOLE;
}
/* 254 bytes of labels at four characters each, and the dots that stand for lengths, are below it */
G_STATIC_ASSERT(BH_DNS_NAME_MAX >= 4 * WIRE_NAME_MAX + 1);

static BhDnsProblem keep_name(Parser *p, gsize *pos, gsize end, const char **kept) {
        char name[BH_DNS_NAME_MAX];
        gsize len = 0;
        BhDnsProblem problem = take_name(p, pos, end, name, &len);

        if (problem != BH_DNS_WHOLE)
                return problem;
        if (p->text_used + len + 1 > BH_DNS_TEXT_MAX)
                return BH_DNS_BOUND;
        p->text_used += len + 1;
        *kept = g_string_chunk_insert_len(p->text, name, (gssize) len);
        return BH_DNS_WHOLE;
}

static BhDnsProblem keep_data(Parser *p, const guint8 *bytes, gsize len, BhDnsRecord *r) {
        if (!len)
                return BH_DNS_WHOLE;
        if (p->data_used + len > BH_DNS_DATA_MAX)
                return BH_DNS_BOUND;
        p->data_used += len;
        r->data = (const guint8 *) g_string_chunk_insert_len(p->text, (const char *) bytes, (gssize) len);
        r->data_len = (guint32) len;
        return BH_DNS_WHOLE;
}

/* The strings of a TXT record, one after the other. */
static BhDnsProblem keep_strings(Parser *p, gsize pos, gsize end, BhDnsRecord *r) {
        g_autofree guint8 *all = g_malloc(end - pos);
        gsize len = 0;

        while (pos < end) {
                gsize n = p->b[pos];

                if (n >= end - pos)
                        return BH_DNS_MALFORMED;
                memcpy(all + len, p->b + pos + 1, n);
                len += n;
                pos += 1 + n;
        }
        return keep_data(p, all, len, r);
}

/* Parameters of SVCB: keys in rising order, each with its length (RFC 9460 §2.2). */
static gboolean svc_params_are_sound(const guint8 *b, gsize len) {
        gint last = -1;

        while (len) {
                if (len < 4 || u16(b) <= last || u16(b + 2) > len - 4)
                        return FALSE;
                last = u16(b);
                gsize whole = 4u + u16(b + 2);
                b += whole;
                len -= whole;
        }
        return TRUE;
}

const guint8 *bh_dns_svc_param(const BhDnsRecord *r, guint16 key, gsize *len) {
        const guint8 *b = r->data;
        gsize left = r->type == BH_DNS_SVCB || r->type == BH_DNS_HTTPS ? r->data_len : 0;

        *len = 0;
        while (left >= 4) {
                gsize n = u16(b + 2);

                if (n > left - 4)
                        break;
                if (u16(b) == key) {
                        *len = n;
                        return b + 4;
                }
                b += 4 + n;
                left -= 4 + n;
        }
        return NULL;
}

static BhDnsProblem take_rdata(Parser *p, gsize pos, gsize end, BhDnsRecord *r) {
        BhDnsProblem problem;

        if (pos == end) /* updates have records without data */
                return BH_DNS_WHOLE;
        switch (r->type) {
        case BH_DNS_A:
                return end - pos == 4 ? keep_data(p, p->b + pos, 4, r) : BH_DNS_MALFORMED;
        case BH_DNS_AAAA:
                return end - pos == 16 ? keep_data(p, p->b + pos, 16, r) : BH_DNS_MALFORMED;
        case BH_DNS_TXT:
                return keep_strings(p, pos, end, r);
        case BH_DNS_MX:
                if (end - pos < 3)
                        return BH_DNS_MALFORMED;
                r->priority = u16(p->b + pos);
                pos += 2;
                break;
        case BH_DNS_SRV:
                if (end - pos < 7)
                        return BH_DNS_MALFORMED;
                r->priority = u16(p->b + pos);
                r->weight = u16(p->b + pos + 2);
                r->port = u16(p->b + pos + 4);
                pos += 6;
                break;
        case BH_DNS_SVCB:
        case BH_DNS_HTTPS:
                if (end - pos < 3)
                        return BH_DNS_MALFORMED;
                r->priority = u16(p->b + pos);
                pos += 2;
                if ((problem = keep_name(p, &pos, end, &r->target)) != BH_DNS_WHOLE)
                        return problem == BH_DNS_CUT ? BH_DNS_MALFORMED : problem;
                return svc_params_are_sound(p->b + pos, end - pos) ? keep_data(p, p->b + pos, end - pos, r) : BH_DNS_MALFORMED;
        case BH_DNS_NS:
        case BH_DNS_CNAME:
        case BH_DNS_PTR:
        case BH_DNS_DNAME:
        case BH_DNS_SOA:
                break;
        default:
                return keep_data(p, p->b + pos, end - pos, r);
        }

        if ((problem = keep_name(p, &pos, end, &r->target)) != BH_DNS_WHOLE)
                return problem == BH_DNS_CUT ? BH_DNS_MALFORMED : problem; /* the data is all there */
        if (r->type == BH_DNS_SOA) {
                char mailbox[BH_DNS_NAME_MAX];
                gsize len;

                problem = take_name(p, &pos, end, mailbox, &len);
                if (problem != BH_DNS_WHOLE || end - pos != 20)
                        return BH_DNS_MALFORMED;
                pos = end;
        }
        return pos == end ? BH_DNS_WHOLE : BH_DNS_MALFORMED;
}

/* One record into *r. An OPT record goes into the message itself; *opt tells. */
static BhDnsProblem take_record(Parser *p, gsize *pos, BhDnsMessage *m, BhDnsRecord *r, gboolean *opt) {
        char name[BH_DNS_NAME_MAX];
        gsize at = *pos, len = 0;
        BhDnsProblem problem = take_name(p, &at, p->n, name, &len);

        if (problem != BH_DNS_WHOLE)
                return problem;
        if (p->n - at < 10)
                return BH_DNS_CUT;
        const guint8 *fixed = p->b + at;
        gsize rdlen = u16(fixed + 8);
        at += 10;
        r->type = u16(fixed);
        r->class = u16(fixed + 2);
        r->ttl = u32(fixed + 4);
        r->target = "";
        r->data = (const guint8 *) "";
        *opt = r->type == BH_DNS_OPT;
        if (*opt && (m->edns || !g_str_equal(name, ".")))
                return BH_DNS_MALFORMED;
        if (rdlen > p->n - at)
                return BH_DNS_CUT;
        if (*opt) {
                m->edns = TRUE;
                m->edns_bytes = r->class;
                m->edns_data = (guint32) rdlen;
                m->rcode |= (guint16) (r->ttl >> 24 << 4);
                *pos = at + rdlen;
                return BH_DNS_WHOLE;
        }
        if (p->text_used + len + 1 > BH_DNS_TEXT_MAX)
                return BH_DNS_BOUND;
        p->text_used += len + 1;
        r->name = g_string_chunk_insert_len(p->text, name, (gssize) len);
        problem = take_rdata(p, at, at + rdlen, r);
        *pos = at + rdlen;
        return problem;
}

BhDnsMessage *bh_dns_parse(const guint8 *bytes, gsize len, GError **error) {
        if (len < HEADER || len > BH_DNS_MESSAGE_MAX) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "a DNS message has %u to %u bytes, not %" G_GSIZE_FORMAT, HEADER, BH_DNS_MESSAGE_MAX, len);
                return NULL;
        }

        BhDnsMessage *m = g_new0(BhDnsMessage, 1);
        Parser p = { .b = bytes, .n = len, .text = m->text = g_string_chunk_new(512) };
        BhDnsQuestion questions[BH_DNS_QUESTIONS_MAX];
        BhDnsRecord records[BH_DNS_RECORDS_MAX];
        gsize pos = HEADER;

        m->id = u16(bytes);
        m->flags = (guint16) (u16(bytes + 2) & (BH_DNS_QR | BH_DNS_AA | BH_DNS_TC | BH_DNS_RD | BH_DNS_RA | BH_DNS_AD | BH_DNS_CD));
        m->opcode = bytes[2] >> 3 & 15;
        m->rcode = bytes[3] & 15;
        for (int i = 0; i < 4; i++)
                m->counts[i] = u16(bytes + 4 + 2 * i);

        for (guint i = 0; i < m->counts[0] && m->problem == BH_DNS_WHOLE; i++) {
                BhDnsQuestion q = { 0 };

                if (i == BH_DNS_QUESTIONS_MAX) {
                        m->problem = BH_DNS_BOUND;
                        break;
                }
                if ((m->problem = keep_name(&p, &pos, len, &q.name)) != BH_DNS_WHOLE)
                        break;
                if (len - pos < 4) {
                        m->problem = BH_DNS_CUT;
                        break;
                }
                q.type = u16(bytes + pos);
                q.class = u16(bytes + pos + 2);
                pos += 4;
                questions[m->n_questions++] = q;
        }
        for (guint section = BH_DNS_ANSWER; section <= BH_DNS_ADDITIONAL; section++)
                for (guint i = 0; i < m->counts[1 + section] && m->problem == BH_DNS_WHOLE; i++) {
                        BhDnsRecord r = { .section = (guint8) section };
                        gboolean opt;

                        if (m->n_records == BH_DNS_RECORDS_MAX) {
                                m->problem = BH_DNS_BOUND;
                                break;
                        }
                        m->problem = take_record(&p, &pos, m, &r, &opt);
                        if (m->problem == BH_DNS_WHOLE && !opt)
                                records[m->n_records++] = r;
                }
        if (m->problem == BH_DNS_WHOLE)
                m->trailing = (guint32) (len - pos);
        m->questions = g_memdup2(questions, m->n_questions * sizeof(*questions));
        m->records = g_memdup2(records, m->n_records * sizeof(*records));
        return m;
}

void bh_dns_free(BhDnsMessage *m) {
        if (!m)
                return;
        g_string_chunk_free(m->text);
        g_free((gpointer) m->questions);
        g_free((gpointer) m->records);
        g_free(m);
}

const char *bh_dns_problem_name(BhDnsProblem problem) {
        static const char *const names[BH_DNS_PROBLEMS] = {
                [BH_DNS_WHOLE] = "whole",
                [BH_DNS_CUT] = "cut",
                [BH_DNS_MALFORMED] = "malformed",
                [BH_DNS_BOUND] = "bound",
        };

        return (guint) problem < BH_DNS_PROBLEMS ? names[problem] : "?";
}

const char *bh_dns_type_name(guint16 type) {
        switch (type) {
#define NAME(id) case BH_DNS_##id: return #id;
                NAME(A)
                NAME(NS)
                NAME(CNAME)
                NAME(SOA)
                NAME(PTR)
                NAME(MX)
                NAME(TXT)
                NAME(AAAA)
                NAME(SRV)
                NAME(DNAME)
                NAME(OPT)
                NAME(SVCB)
                NAME(HTTPS)
                NAME(ANY)
#undef NAME
        default:
                return NULL;
        }
}

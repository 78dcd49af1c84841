/* SPDX-License-Identifier: Apache-2.0 */
#include "dns_text.h"

#include <arpa/inet.h>
#include <string.h>

static void type_text(char out[16], guint16 type) {
        const char *name = bh_dns_type_name(type);

        if (name)
                g_strlcpy(out, name, 16);
        else
                g_snprintf(out, 16, "TYPE%u", type);
}

static void rcode_text(char out[16], guint16 rcode) {
        static const char *const names[] = { "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE" };

        if (rcode < G_N_ELEMENTS(names))
                g_strlcpy(out, names[rcode], 16);
        else
                g_snprintf(out, 16, "RCODE%u", rcode);
}

/* Bytes as names have them: printable ASCII but for what would be mistaken, the rest \DDD. */
static void escaped(GString *out, const guint8 *p, gsize len, guint max) {
        for (gsize i = 0; i < len; i++) {
                if (i == max) {
                        g_string_append(out, "…");
                        return;
                }
                if (p[i] >= ' ' && p[i] < 0x7f && p[i] != '\\')
                        g_string_append_c(out, (char) p[i]);
                else
                        g_string_append_printf(out, "\\%03u", p[i]);
        }
}

static void record(GString *out, const BhDnsRecord *r, guint max_text) {
        char type[16], address[INET6_ADDRSTRLEN];

        type_text(type, r->type);
        g_string_append_printf(out, "%s ", type);
        switch (r->type) {
        case BH_DNS_A:
                if (r->data_len == 4)
                        g_string_append(out, inet_ntop(AF_INET, r->data, address, sizeof(address)));
                break;
        case BH_DNS_AAAA:
                if (r->data_len == 16)
                        g_string_append(out, inet_ntop(AF_INET6, r->data, address, sizeof(address)));
                break;
        case BH_DNS_MX:
        case BH_DNS_SVCB:
        case BH_DNS_HTTPS:
                g_string_append_printf(out, "%u %s", r->priority, r->target);
                break;
        case BH_DNS_SRV:
                g_string_append_printf(out, "%u %u %u %s", r->priority, r->weight, r->port, r->target);
                break;
        default:
                if (*r->target)
                        g_string_append(out, r->target);
                else
                        escaped(out, r->data, r->data_len, max_text);
        }
}

void bh_dns_text_init(BhDnsText *t, const BhDnsMessage *m, guint max_answers, guint max_bytes, guint max_text) {
        g_autoptr(GString) one = g_string_sized_new(64);
        gboolean bound = FALSE;
        guint answers = 0;

        *t = (BhDnsText){ .type = m->flags & BH_DNS_QR ? "response" : "query", .answers = g_byte_array_new() };
        t->question = g_strdup(m->n_questions ? m->questions[0].name : "");
        if (m->n_questions)
                type_text(t->qtype, m->questions[0].type);
        if (m->flags & BH_DNS_QR)
                rcode_text(t->rcode, m->rcode);
        for (guint i = 0; i < m->n_records; i++) {
                if (m->records[i].section != BH_DNS_ANSWER)
                        continue;
                g_string_truncate(one, 0);
                record(one, &m->records[i], max_text);
                if (answers == max_answers || t->answers->len + one->len + 1 > max_bytes) {
                        bound = TRUE;
                        break;
                }
                answers++;
                if (m->records[i].type == BH_DNS_A || m->records[i].type == BH_DNS_AAAA) {
                        t->ttl = t->addresses ? MIN(t->ttl, m->records[i].ttl) : m->records[i].ttl;
                        t->addresses = TRUE;
                }
                g_byte_array_append(t->answers, (const guint8 *) one->str, (guint) one->len + 1);
        }
        t->problem = m->problem != BH_DNS_WHOLE ? bh_dns_problem_name(m->problem) : bound ? bh_dns_problem_name(BH_DNS_BOUND) : "";
}

void bh_dns_text_clear(BhDnsText *t) {
        g_clear_pointer(&t->answers, g_byte_array_unref);
        g_clear_pointer(&t->question, g_free);
}

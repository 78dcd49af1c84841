/* SPDX-License-Identifier: Apache-2.0 */
#include "rules/domains.h"

#include <arpa/inet.h>

struct entry {
        struct bh_ip ip;
        char *name;
        GList link; /* in order of age; data: the entry */
};

struct BhDomains {
        GHashTable *by_ip;
        GQueue ages;
        guint64 evicted;
};

static guint ip_hash(gconstpointer key) {
        const struct bh_ip *ip = key;
        guint h = ip->len;

        for (guint i = 0; i < ip->len; i++)
                h = h * 31 + ip->b[i];
        return h;
}

static gboolean ip_equal(gconstpointer a, gconstpointer b) {
        const struct bh_ip *x = a, *y = b;

        return x->len == y->len && memcmp(x->b, y->b, x->len) == 0;
}

static void entry_free(gpointer data) {
        struct entry *e = data;

        g_free(e->name);
        g_free(e);
}

BhDomains *bh_domains_new(void) {
        BhDomains *d = g_new0(BhDomains, 1);

        d->by_ip = g_hash_table_new_full(ip_hash, ip_equal, NULL, entry_free);
        g_queue_init(&d->ages);
        return d;
}

void bh_domains_free(BhDomains *d) {
        if (!d)
                return;
        g_hash_table_unref(d->by_ip);
        g_free(d);
}

static void put(BhDomains *d, const struct bh_ip *ip, struct bh_str name) {
        struct entry *e = g_hash_table_lookup(d->by_ip, ip);

        if (e) {
                g_queue_unlink(&d->ages, &e->link);
                g_free(e->name);
        } else {
                if (g_hash_table_size(d->by_ip) >= BH_DOMAINS_MAX) {
                        struct entry *oldest = g_queue_pop_head_link(&d->ages)->data;

                        d->evicted++;
                        g_hash_table_remove(d->by_ip, &oldest->ip);
                }
                e = g_new0(struct entry, 1);
                e->ip = *ip;
                e->link.data = e;
                g_hash_table_insert(d->by_ip, &e->ip, e);
        }
        e->name = g_strndup(name.p, name.len);
        g_queue_push_tail_link(&d->ages, &e->link);
}

void bh_domains_feed(BhDomains *d, const struct bh_event *e) {
        struct bh_str name;

        if (e->type != BH_EV_DNS || !bh_event_has(e, BH_F_dns_answers) || !bh_event_has(e, BH_F_dns_question) || !e->dns_question.len)
                return;
        name = e->dns_question;
        if (name.len > 1 && name.p[name.len - 1] == '.')
                name.len--;
        for (const char *p = e->dns_answers.p, *end = p + e->dns_answers.len; p < end;) {
                gsize n = strnlen(p, (gsize) (end - p));
                gboolean six = n > 5 && memcmp(p, "AAAA ", 5) == 0, four = n > 2 && memcmp(p, "A ", 2) == 0;
                char text[INET6_ADDRSTRLEN];
                gsize skip = six ? 5 : 2;

                if ((six || four) && n - skip < sizeof(text)) {
                        struct bh_ip ip = { .len = six ? 16 : 4 };

                        memcpy(text, p + skip, n - skip);
                        text[n - skip] = 0;
                        if (inet_pton(six ? AF_INET6 : AF_INET, text, ip.b) == 1)
                                put(d, &ip, name);
                }
                p += n + 1;
        }
}

gboolean bh_domains_find(const BhDomains *d, const struct bh_ip *ip, struct bh_str *name) {
        const struct entry *e = g_hash_table_lookup(d->by_ip, ip);

        if (!e)
                return FALSE;
        *name = (struct bh_str){ e->name, (guint32) strlen(e->name) };
        return TRUE;
}

guint64 bh_domains_evicted(const BhDomains *d) {
        return d->evicted;
}

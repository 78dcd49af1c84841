/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/flow_names.h"

#include <arpa/inet.h>
#include <xxhash.h>

#define NAME_MAX_LEN 255u

typedef struct {
        char *id;
        GQueue entries; /* the one heard of longest ago first */
} Box;

typedef struct {
        Box *box;
        struct bh_ip ip;
        char *name;
        GList in_all, in_box;
} Entry;

struct BhFlowNames {
        GHashTable *boxes;   /* id → Box */
        GHashTable *entries; /* Entry, by box and address */
        GQueue all;
};

static guint entry_hash(gconstpointer p) {
        const Entry *e = p;

        return (guint) XXH3_64bits_withSeed(e->ip.b, e->ip.len, (XXH64_hash_t) (uintptr_t) e->box);
}

static gboolean entry_equal(gconstpointer pa, gconstpointer pb) {
        const Entry *a = pa, *b = pb;

        return a->box == b->box && a->ip.len == b->ip.len && memcmp(a->ip.b, b->ip.b, a->ip.len) == 0;
}

BhFlowNames *bh_flow_names_new(void) {
        BhFlowNames *n = g_new0(BhFlowNames, 1);

        n->boxes = g_hash_table_new(g_str_hash, g_str_equal);
        n->entries = g_hash_table_new(entry_hash, entry_equal);
        g_queue_init(&n->all);
        return n;
}

static void forget(BhFlowNames *n, Entry *e) {
        Box *box = e->box;

        g_hash_table_remove(n->entries, e);
        g_queue_unlink(&n->all, &e->in_all);
        g_queue_unlink(&box->entries, &e->in_box);
        g_free(e->name);
        g_free(e);
        if (!box->entries.length) {
                g_hash_table_remove(n->boxes, box->id);
                g_free(box->id);
                g_free(box);
        }
}

void bh_flow_names_free(BhFlowNames *n) {
        if (!n)
                return;
        while (n->all.head)
                forget(n, n->all.head->data);
        g_hash_table_unref(n->entries);
        g_hash_table_unref(n->boxes);
        g_free(n);
}

static Box *box_of(BhFlowNames *n, const char *id) {
        Box *box = g_hash_table_lookup(n->boxes, id);

        if (!box) {
                box = g_new0(Box, 1);
                box->id = g_strdup(id);
                g_queue_init(&box->entries);
                g_hash_table_insert(n->boxes, box->id, box);
        }
        return box;
}

static void learn(BhFlowNames *n, const char *container, const struct bh_ip *ip, const char *name) {
        Box *box = box_of(n, container);
        Entry wanted = { .box = box, .ip = *ip };
        Entry *e = g_hash_table_lookup(n->entries, &wanted);

        if (e) {
                if (strcmp(e->name, name) != 0) {
                        g_free(e->name);
                        e->name = g_strdup(name);
                }
                g_queue_unlink(&n->all, &e->in_all);
                g_queue_unlink(&box->entries, &e->in_box);
        } else {
                e = g_new0(Entry, 1);
                e->box = box;
                e->ip = *ip;
                e->name = g_strdup(name);
                e->in_all.data = e->in_box.data = e;
                g_hash_table_add(n->entries, e);
        }
        g_queue_push_tail_link(&n->all, &e->in_all);
        g_queue_push_tail_link(&box->entries, &e->in_box);
        /* never its own: that is the youngest of both */
        if (box->entries.length > BH_FLOW_NAMES_PER_CONTAINER)
                forget(n, box->entries.head->data);
        if (n->all.length > BH_FLOW_NAMES_MAX)
                forget(n, n->all.head->data);
}

/* "A 192.0.2.1", "AAAA 2001:db8::1"; FALSE: another record. */
static gboolean address_of(const char *record, struct bh_ip *ip) {
        memset(ip, 0, sizeof(*ip));
        if (g_str_has_prefix(record, "A ") && inet_pton(AF_INET, record + 2, ip->b) == 1)
                ip->len = 4;
        else if (g_str_has_prefix(record, "AAAA ") && inet_pton(AF_INET6, record + 5, ip->b) == 1)
                ip->len = 16;
        return ip->len != 0;
}

static gboolean is_text(struct bh_str s, const char *text) {
        return s.len == strlen(text) && memcmp(s.p, text, s.len) == 0;
}

guint bh_flow_names_learn(BhFlowNames *n, const struct bh_event *e) {
        char container[129] = "", name[NAME_MAX_LEN + 1];
        guint learned = 0;

        if (e->type != BH_EV_DNS || !bh_event_has(e, BH_F_dns_answers) || !bh_event_has(e, BH_F_dns_question) || !bh_event_has(e, BH_F_dns_type) ||
            !is_text(e->dns_type, "response") || (bh_event_has(e, BH_F_outgoing) && e->outgoing))
                return 0;

        guint32 len = e->dns_question.len;
        if (len > 1 && e->dns_question.p[len - 1] == '.')
                len--;
        if (!len || len > NAME_MAX_LEN || memchr(e->dns_question.p, '\0', len))
                return 0;
        for (guint32 i = 0; i < len; i++) /* resolvers ask with a mixture of cases against forged answers */
                name[i] = g_ascii_tolower(e->dns_question.p[i]);
        name[len] = '\0';
        if (bh_event_has(e, BH_F_container_id) && e->container_id.len < sizeof(container)) {
                memcpy(container, e->container_id.p, e->container_id.len);
                container[e->container_id.len] = '\0';
        }

        const char *p = e->dns_answers.p, *end = p + e->dns_answers.len;
        for (const char *nul; p < end && (nul = memchr(p, '\0', (gsize) (end - p))); p = nul + 1) {
                struct bh_ip ip;

                if (address_of(p, &ip)) {
                        learn(n, container, &ip, name);
                        learned++;
                }
        }
        return learned;
}

const char *bh_flow_names_find(BhFlowNames *n, const char *container, const struct bh_ip *ip) {
        Entry wanted = { .box = g_hash_table_lookup(n->boxes, container), .ip = *ip };
        Entry *e = wanted.box ? g_hash_table_lookup(n->entries, &wanted) : NULL;

        return e ? e->name : NULL;
}

guint bh_flow_names_count(const BhFlowNames *n) {
        return g_hash_table_size(n->entries);
}

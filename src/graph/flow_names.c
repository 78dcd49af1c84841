/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/flow_names.h"

#include <arpa/inet.h>
#include <xxhash.h>

#include "graph/flow_private.h"

#define NAME_MAX_LEN 255u
#define SHOWN_MAX 160 /* of a name that its resolver follows: nobody cuts that off */

typedef struct {
        char *id;
        GQueue entries; /* the one heard of longest ago first */
} Asker;

typedef struct {
        Asker *box;
        struct bh_ip ip, resolver;
        char *name, *shown; /* shown: with the resolver's address; NULL: as it is */
        gint64 since_ns;    /* of the window */
        guint64 claims[BH_FLOW_NAMES_CLAIMS + 1]; /* hashes of different names that the resolver gave in it */
        guint n_claims;
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
        Asker *box = e->box;

        g_hash_table_remove(n->entries, e);
        g_queue_unlink(&n->all, &e->in_all);
        g_queue_unlink(&box->entries, &e->in_box);
        g_free(e->name);
        g_free(e->shown);
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

static Asker *box_of(BhFlowNames *n, const char *id) {
        Asker *box = g_hash_table_lookup(n->boxes, id);

        if (!box) {
                box = g_new0(Asker, 1);
                box->id = g_strdup(id);
                g_queue_init(&box->entries);
                g_hash_table_insert(n->boxes, box->id, box);
        }
        return box;
}

/* ---- what is not believed ---- */

/* Names of one label, and those that nobody in the world has. */
static gboolean is_private_name(const char *name) {
        static const char *const tops[] = { "alt", "arpa", "corp", "home", "internal", "intranet", "invalid", "lan", "local", "localdomain", "localhost", "onion",
                                            "private", "test" };
        const char *top = strrchr(name, '.');

        if (!top)
                return TRUE;
        for (guint i = 0; i < G_N_ELEMENTS(tops); i++)
                if (g_str_equal(top + 1, tops[i]))
                        return TRUE;
        return FALSE;
}

static gboolean is_runtimes(const struct bh_ip *ip) {
        static const guint8 docker[4] = { 127, 0, 0, 11 };

        return ip->len == 4 && memcmp(ip->b, docker, 4) == 0;
}

static void show_resolver(Entry *e) {
        char text[INET6_ADDRSTRLEN] = "nobody known";

        if (e->resolver.len)
                inet_ntop(e->resolver.len == 16 ? AF_INET6 : AF_INET, e->resolver.b, text, sizeof(text));
        g_free(e->shown);
        e->shown = g_strdup_printf("%.*s%s (says %s)", SHOWN_MAX, e->name, strlen(e->name) > SHOWN_MAX ? "..." : "", text);
}

/* TRUE: the resolver has claimed the address for too many names. */
static gboolean claims_too_many(Entry *e, const char *name, const struct bh_ip *resolver, gint64 ns) {
        guint64 hash = XXH3_64bits(name, strlen(name));
        guint i = 0;

        if (ns - e->since_ns > BH_FLOW_NAMES_WINDOW_NS || !bh_flow_ip_equal(&e->resolver, resolver)) {
                e->since_ns = ns;
                e->n_claims = 0;
                e->resolver = *resolver;
        }
        while (i < e->n_claims && e->claims[i] != hash)
                i++;
        if (i == e->n_claims && e->n_claims < G_N_ELEMENTS(e->claims))
                e->claims[e->n_claims++] = hash;
        return e->n_claims > BH_FLOW_NAMES_CLAIMS;
}

static void set_name(Entry *e, const char *container, const char *name, const struct bh_ip *resolver, gint64 ns) {
        gboolean own = *container && bh_flow_ip_is_loopback(resolver) && !is_runtimes(resolver);

        if (claims_too_many(e, name, resolver, ns)) {
                if (!e->shown)
                        show_resolver(e);
                return;
        }
        gboolean changed = !e->name || strcmp(e->name, name) != 0;
        if (changed) {
                g_free(e->name);
                e->name = g_strdup(name);
        }
        if (own && (changed || !e->shown))
                show_resolver(e);
        else if (!own)
                g_clear_pointer(&e->shown, g_free);
}

static void learn(BhFlowNames *n, const char *container, const struct bh_ip *ip, const char *name, const struct bh_ip *resolver, gint64 ns) {
        Asker *box = box_of(n, container);
        Entry wanted = { .box = box, .ip = *ip };
        Entry *e = g_hash_table_lookup(n->entries, &wanted);

        if (e) {
                g_queue_unlink(&n->all, &e->in_all);
                g_queue_unlink(&box->entries, &e->in_box);
        } else {
                e = g_new0(Entry, 1);
                e->box = box;
                e->ip = *ip;
                e->in_all.data = e->in_box.data = e;
                g_hash_table_add(n->entries, e);
        }
        set_name(e, container, name, resolver, ns);
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

        struct bh_ip resolver = bh_event_has(e, BH_F_raddr) ? bh_flow_ip(&e->raddr) : (struct bh_ip){ .len = 0 };
        const char *p = e->dns_answers.p, *end = p + e->dns_answers.len;
        for (const char *nul; p < end && (nul = memchr(p, '\0', (gsize) (end - p))); p = nul + 1) {
                struct bh_ip ip;

                if (address_of(p, &ip) && (bh_flow_ip_is_near(&ip) || !is_private_name(name))) {
                        learn(n, container, &ip, name, &resolver, (gint64) e->time);
                        learned++;
                }
        }
        return learned;
}

const char *bh_flow_names_find(BhFlowNames *n, const char *container, const struct bh_ip *ip) {
        Entry wanted = { .box = g_hash_table_lookup(n->boxes, container), .ip = *ip };
        Entry *e = wanted.box ? g_hash_table_lookup(n->entries, &wanted) : NULL;

        return !e ? NULL : e->shown ? e->shown : e->name;
}

guint bh_flow_names_count(const BhFlowNames *n) {
        return g_hash_table_size(n->entries);
}

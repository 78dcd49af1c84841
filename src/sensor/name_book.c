/* SPDX-License-Identifier: Apache-2.0 */
/* What DNS answered containers lately. */
#include <arpa/inet.h>
#include <string.h>

#include "respond_names.h"

#define PORT_DNS 53u

typedef struct Asker Asker;

typedef struct {
        Asker *asker;
        char *name;
        guint8 addr[16];
        gint64 until_ns;
        GList in_all, in_asker;
} Line;

struct Asker {
        char *id;
        GQueue lines; /* the one heard of longest ago first */
};

struct BhNameBook {
        GMutex lock;
        GHashTable *askers, *lines; /* lines: a set of Line, by asker, name and address */
        GQueue all;
        GHashTable *watched; /* container → GPtrArray of BhPeerName */
        GQueue waiting;      /* BhAnswer */
        guint lost;
};

/* ---- answers ---- */

void bh_answer_free(BhAnswer *a) {
        if (!a)
                return;
        for (guint i = 0; i < a->n_names; i++)
                g_free(a->names[i]);
        g_free(a->container);
        g_free(a);
}

static void map_address(guint8 out[16], const struct bh_ip *ip) {
        memset(out, 0, 16);
        if (ip->len == 4) {
                out[10] = out[11] = 0xff;
                memcpy(out + 12, ip->b, 4);
        } else {
                memcpy(out, ip->b, 16);
        }
}

/* Resolvers ask with a mixture of cases against forged answers. */
static void add_name(BhAnswer *a, const char *name, gsize len) {
        if (len > 1 && name[len - 1] == '.')
                len--;
        if (!len || len > BH_PEER_NAME_MAX || a->n_names > BH_RESPOND_ANSWER_NAMES)
                return;
        a->names[a->n_names++] = g_ascii_strdown(name, (gssize) len);
}

static void add_record(BhAnswer *a, const char *record) {
        guint8 *to = a->addresses[MIN(a->n_addresses, BH_RESPOND_ANSWER_ADDRESSES - 1)];
        struct bh_ip ip = { .len = 0 };

        if (g_str_has_prefix(record, "CNAME ")) {
                add_name(a, record + 6, strlen(record + 6));
                return;
        }
        if (g_str_has_prefix(record, "A ") && inet_pton(AF_INET, record + 2, ip.b) == 1)
                ip.len = 4;
        else if (g_str_has_prefix(record, "AAAA ") && inet_pton(AF_INET6, record + 5, ip.b) == 1)
                ip.len = 16;
        if (!ip.len)
                return;
        if (a->n_addresses == BH_RESPOND_ANSWER_ADDRESSES)
                a->cut = TRUE;
        else
                map_address(to, &ip), a->n_addresses++;
}

static gboolean is_text(struct bh_str s, const char *text) {
        return s.len == strlen(text) && memcmp(s.p, text, s.len) == 0;
}

/* From the address that it was sent to. */
static gboolean is_own(const struct bh_event *e) {
        return bh_event_has(e, BH_F_laddr) && e->laddr.len == e->raddr.len && !memcmp(e->laddr.b, e->raddr.b, e->laddr.len);
}

BhAnswer *bh_answer_new(const struct bh_event *e, gint64 now_ns) {
        if (e->type != BH_EV_DNS || !bh_event_has(e, BH_F_dns_answers) || !bh_event_has(e, BH_F_dns_question) || !bh_event_has(e, BH_F_dns_type) || !bh_event_has(e, BH_F_container_id) ||
            !is_text(e->dns_type, "response") || (bh_event_has(e, BH_F_outgoing) && e->outgoing))
                return NULL;
        g_autoptr(BhAnswer) a = g_new0(BhAnswer, 1);
        const char *p = e->dns_answers.p, *end = p + e->dns_answers.len;
        guint32 ttl = bh_event_has(e, BH_F_dns_ttl) ? e->dns_ttl : 0;

        if (memchr(e->dns_question.p, '\0', e->dns_question.len))
                return NULL;
        add_name(a, e->dns_question.p, e->dns_question.len);
        if (!a->n_names)
                return NULL;
        for (const char *nul; p < end && (nul = memchr(p, '\0', (gsize) (end - p))); p = nul + 1)
                add_record(a, p);
        a->cut |= bh_event_has(e, BH_F_dns_problem);
        if (!a->n_addresses)
                return NULL;
        a->container = g_strndup(e->container_id.p, e->container_id.len);
        if (bh_event_has(e, BH_F_raddr) && bh_event_has(e, BH_F_rport) && e->rport == PORT_DNS && !is_own(e))
                map_address(a->server, &e->raddr);
        a->until_ns = now_ns + (gint64) CLAMP(ttl, BH_RESPOND_NAME_S, BH_RESPOND_NAME_MAX_S) * G_GINT64_CONSTANT(1000000000);
        return g_steal_pointer(&a);
}

/* ---- the book ---- */

static guint line_hash(gconstpointer p) {
        const Line *l = p;
        guint32 words[4];

        memcpy(words, l->addr, sizeof(words));
        return g_str_hash(l->name) ^ words[0] ^ words[1] ^ words[2] ^ words[3] ^ GPOINTER_TO_UINT(l->asker);
}

static gboolean line_equal(gconstpointer pa, gconstpointer pb) {
        const Line *a = pa, *b = pb;

        return a->asker == b->asker && !memcmp(a->addr, b->addr, sizeof(a->addr)) && g_str_equal(a->name, b->name);
}

BhNameBook *bh_name_book_new(void) {
        BhNameBook *b = g_new0(BhNameBook, 1);

        g_mutex_init(&b->lock);
        b->askers = g_hash_table_new(g_str_hash, g_str_equal);
        b->lines = g_hash_table_new(line_hash, line_equal);
        b->watched = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify) g_ptr_array_unref);
        return b;
}

static void forget(BhNameBook *b, Line *l) {
        Asker *asker = l->asker;

        g_hash_table_remove(b->lines, l);
        g_queue_unlink(&b->all, &l->in_all);
        g_queue_unlink(&asker->lines, &l->in_asker);
        g_free(l->name);
        g_free(l);
        if (asker->lines.length)
                return;
        g_hash_table_remove(b->askers, asker->id);
        g_free(asker->id);
        g_free(asker);
}

void bh_name_book_free(BhNameBook *b) {
        if (!b)
                return;
        while (b->all.head)
                forget(b, b->all.head->data);
        g_queue_clear_full(&b->waiting, (GDestroyNotify) bh_answer_free);
        g_hash_table_unref(b->watched);
        g_hash_table_unref(b->lines);
        g_hash_table_unref(b->askers);
        g_mutex_clear(&b->lock);
        g_free(b);
}

static void write_line(BhNameBook *b, const char *container, const char *name, const guint8 *addr, gint64 until_ns) {
        Asker *asker = g_hash_table_lookup(b->askers, container);

        if (!asker) {
                asker = g_new0(Asker, 1);
                asker->id = g_strdup(container);
                g_hash_table_insert(b->askers, asker->id, asker);
        }
        Line wanted = { .asker = asker, .name = (char *) name };
        memcpy(wanted.addr, addr, sizeof(wanted.addr));
        Line *l = g_hash_table_lookup(b->lines, &wanted);

        if (l) {
                g_queue_unlink(&b->all, &l->in_all);
                g_queue_unlink(&asker->lines, &l->in_asker);
        } else {
                l = g_memdup2(&wanted, sizeof(wanted));
                l->name = g_strdup(name);
                l->in_all.data = l->in_asker.data = l;
                g_hash_table_add(b->lines, l);
        }
        l->until_ns = MAX(l->until_ns, until_ns);
        g_queue_push_tail_link(&b->all, &l->in_all);
        g_queue_push_tail_link(&asker->lines, &l->in_asker);
        /* never this one, which is the youngest of both */
        if (asker->lines.length > BH_RESPOND_BOOK_EACH)
                forget(b, asker->lines.head->data);
        if (b->all.length > BH_RESPOND_BOOK)
                forget(b, b->all.head->data);
}

static gboolean is_awaited(BhNameBook *b, const BhAnswer *a) {
        GPtrArray *names = g_hash_table_lookup(b->watched, a->container);

        for (guint i = 0; names && i < names->len; i++)
                for (guint k = 0; k < a->n_names; k++)
                        if (bh_peer_name_matches(names->pdata[i], a->names[k]))
                                return TRUE;
        return FALSE;
}

gboolean bh_name_book_learn(BhNameBook *b, const struct bh_event *e, gint64 now_ns) {
        g_autoptr(BhAnswer) a = bh_answer_new(e, now_ns);
        gboolean awaited;

        if (!a)
                return FALSE;
        g_mutex_lock(&b->lock);
        for (guint i = 0; i < a->n_names; i++)
                for (guint k = 0; k < a->n_addresses; k++)
                        write_line(b, a->container, a->names[i], a->addresses[k], a->until_ns);
        if ((awaited = is_awaited(b, a))) {
                if (b->waiting.length < BH_RESPOND_ANSWERS)
                        g_queue_push_tail(&b->waiting, g_steal_pointer(&a));
                else
                        b->lost++;
        }
        g_mutex_unlock(&b->lock);
        return awaited;
}

void bh_name_book_watch(BhNameBook *b, const char *container, GPtrArray *names) {
        g_mutex_lock(&b->lock);
        if (names)
                g_hash_table_replace(b->watched, g_strdup(container), g_ptr_array_ref(names));
        else
                g_hash_table_remove(b->watched, container);
        g_mutex_unlock(&b->lock);
}

GPtrArray *bh_name_book_take(BhNameBook *b, guint *lost) {
        GPtrArray *out = g_ptr_array_new_with_free_func((GDestroyNotify) bh_answer_free);

        g_mutex_lock(&b->lock);
        for (BhAnswer *a; (a = g_queue_pop_head(&b->waiting));)
                g_ptr_array_add(out, a);
        *lost += b->lost;
        b->lost = 0;
        g_mutex_unlock(&b->lock);
        return out;
}

GPtrArray *bh_name_book_of(BhNameBook *b, const char *container) {
        GPtrArray *out = g_ptr_array_new_with_free_func((GDestroyNotify) bh_answer_free);

        g_mutex_lock(&b->lock);
        Asker *asker = g_hash_table_lookup(b->askers, container);
        for (GList *at = asker ? asker->lines.head : NULL; at; at = at->next) {
                const Line *l = at->data;
                BhAnswer *a = g_new0(BhAnswer, 1);

                a->container = g_strdup(container);
                a->names[a->n_names++] = g_strdup(l->name);
                memcpy(a->addresses[a->n_addresses++], l->addr, 16);
                a->until_ns = l->until_ns;
                g_ptr_array_add(out, a);
        }
        g_mutex_unlock(&b->lock);
        return out;
}

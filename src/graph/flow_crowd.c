/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Beyond a container's bound its peers are told together: one flow, a crowd, for each of its programs, role, protocol and port, with the number of peers. Whoever has
 * many cheap connections to hide one behind them hides nothing that is large, or new in kind:
 *
 *   another program or port    is another crowd
 *   a place in the world       that the container was not seen with gets a flow of its own, the first CROWD_NEW of each crowd and BH_FLOW_CROWD_TOKENS of a container,
 *                              and one more each TOKEN_NS; of the others the last are kept, and told as a finding
 *   much                       gets a flow of its own: 16 of at least 64 KiB, 16 more of at least four times that, and so on: what is larger than any but some
 *                              is told by itself, whatever is done to use that up. What it had moved before stays with the crowd
 *
 * Which peers have moved most is kept by the space-saving algorithm (Metwally, Agrawal, El Abbadi 2005): a peer that is not among those kept takes the place of the one
 * with least, and its number as what it may be too high by.
 */
#include <arpa/inet.h>
#include <string.h>
#include <xxhash.h>

#include "graph/flow_private.h"

#define CROWDS_MAX 64u       /* of a container, by program and port; then by program, … */
#define CROWDS_BY_PROGRAM 16u
#define CROWDS_REST 16u      /* … then of all programs together */
#define CROWD_NEW 4u
#define TOKEN_NS (30 * G_GINT64_CONSTANT(1000000000))
#define LARGE 65536u
#define LARGE_OF_EACH 16u
#define LARGE_STEPS 8u       /* the last: 4 GiB */
#define NEW_MAX 128u         /* of a container */
#define SEEN_BITS 8192u
#define GROWN 4u             /* said again when there are so many times the peers */

struct peer {
        struct bh_ip ip;
        guint64 bytes, over; /* `over`: it may be so much too high */
        gboolean used;
};

struct crowd {
        struct key asked; /* whom the last look-up was about; compared only */
        guint8 seen[SEEN_BITS / 8];
        guint different, said, tokens;
        guint64 bytes;
        struct peer large[BH_FLOW_CROWD_PEERS];
        struct bh_ip newest[BH_FLOW_CROWD_PEERS]; /* a ring */
        guint n_newest;
};

static struct bh_ip peer_ip(const struct key *k) {
        struct bh_ip ip = { .len = k->peer_len };

        memcpy(ip.b, k->peer_ip, k->peer_len);
        return ip;
}

static guint64 large_of(const Box *b) {
        return (guint64) LARGE << 2 * MIN(b->large / LARGE_OF_EACH, LARGE_STEPS);
}

static gboolean is_outside(BhFlowTable *t, const struct key *k) {
        struct bh_ip ip = peer_ip(k);

        return k->role == BH_FLOW_CLIENT && ip.len && !k->peer && !bh_flow_ip_is_near(&ip) && !bh_flow_is_host_address(t, &ip) && !bh_flow_at(t, k->end->box, &ip, NULL);
}

/* TRUE: it was not seen before, as far as the bits tell. */
static gboolean note_peer(struct crowd *c, const struct key *k) {
        guint bit = (guint) (XXH3_64bits(k->peer_ip, sizeof(k->peer_ip)) % SEEN_BITS);

        if (c->seen[bit / 8] & 1u << bit % 8)
                return FALSE;
        c->seen[bit / 8] |= (guint8) (1u << bit % 8);
        c->different++;
        return TRUE;
}

/* Not by the bits: where many peers have set them, some that are new look as if they had been seen. */
static void note_newest(struct crowd *c, const struct key *k) {
        struct bh_ip ip = peer_ip(k);

        for (guint i = 0; i < MIN(c->n_newest, BH_FLOW_CROWD_PEERS); i++)
                if (bh_flow_ip_equal(&c->newest[i], &ip))
                        return;
        c->newest[c->n_newest++ % BH_FLOW_CROWD_PEERS] = ip;
}

/* ---- crowds ---- */

static Flow *crowd_of(BhFlowTable *t, const struct key *of, const char *path) {
        Box *box = of->end->box;
        struct key key = { .end = of->end, .peer = of->proto ? NULL : of->peer, .role = of->role, .proto = of->proto, .port = of->port, .scan = BH_FLOW_CROWD };
        static const guint steps[] = { CROWDS_MAX, CROWDS_MAX + CROWDS_BY_PROGRAM, CROWDS_MAX + CROWDS_BY_PROGRAM + CROWDS_REST };
        End *anybody = NULL;
        Flow *f = NULL;

        for (guint i = 0; i < G_N_ELEMENTS(steps) && !f; i++) {
                if (i == 1)
                        key.port = 0;
                if (i == 2)
                        key.end = anybody = bh_flow_end(t, box, (struct bh_str){ "", 0 });
                f = bh_flow_find(t, &key);
                if (!f && box->crowds < steps[i] && g_hash_table_size(t->flows) < t->c.max_flows + t->c.max_flows / 8) {
                        f = bh_flow_new(t, &key, of->proto ? "" : path);
                        f->crowd = g_new0(struct crowd, 1);
                        f->crowd->tokens = CROWD_NEW;
                        box->crowds++;
                        t->stats.crowds++;
                }
        }
        bh_flow_end_unref(t, anybody);
        return f;
}

/* A place of its own for one of a crowd. */
static Flow *take_out(BhFlowTable *t, const struct key *key, const char *path, guint *of) {
        if (g_hash_table_size(t->flows) >= t->c.max_flows + t->c.max_flows / 8)
                return NULL;

        Flow *f = bh_flow_new(t, key, path);
        f->counted_in = of;
        (*of)++;
        return f;
}

static gboolean token(BhFlowTable *t, Box *b, struct crowd *c) {
        if (b->fresh >= NEW_MAX)
                return FALSE;
        if (c->tokens) {
                c->tokens--;
                return TRUE;
        }
        if (!b->token_ns) {
                b->token_ns = t->now_ns;
                b->tokens = BH_FLOW_CROWD_TOKENS;
        }
        gint64 more = (t->now_ns - b->token_ns) / TOKEN_NS;
        if (more > 0) {
                b->tokens = (guint) MIN(b->tokens + more, BH_FLOW_CROWD_TOKENS);
                b->token_ns += more * TOKEN_NS;
        }
        if (!b->tokens)
                return FALSE;
        b->tokens--;
        return TRUE;
}

Flow *bh_flow_crowd(BhFlowTable *t, const struct key *key, const char *path) {
        Box *box = key->end->box;
        Flow *f = crowd_of(t, key, path);

        if (!f)
                return NULL;
        struct crowd *c = f->crowd;
        gboolean unseen = key->peer_len && note_peer(c, key);
        if (is_outside(t, key)) {
                Flow *own = unseen && token(t, box, c) ? take_out(t, key, path, &box->fresh) : NULL;

                if (own)
                        return own;
                note_newest(c, key);
        }
        c->asked = *key;
        return f;
}

/* Bytes that are surely this peer's. */
static guint64 note_bytes(struct crowd *c, guint64 bytes) {
        struct bh_ip ip = peer_ip(&c->asked);
        struct peer *least = &c->large[0];

        for (guint i = 0; i < BH_FLOW_CROWD_PEERS; i++) {
                struct peer *p = &c->large[i];

                if (p->used && bh_flow_ip_equal(&p->ip, &ip)) {
                        p->bytes += bytes;
                        return p->bytes - p->over;
                }
                if (!p->used || (least->used && p->bytes < least->bytes))
                        least = p;
        }
        least->over = least->used ? least->bytes : 0;
        least->bytes = least->over + bytes;
        least->ip = ip;
        least->used = TRUE;
        return bytes;
}

static Flow *take_out_large(BhFlowTable *t, const Flow *crowd, const struct key *key) {
        Flow *f = take_out(t, key, "", &key->end->box->large);

        if (f) {
                f->local_ip = crowd->local_ip;
                f->net_ns = crowd->net_ns;
        }
        return f;
}

Flow *bh_flow_crowd_counts(BhFlowTable *t, Flow *f, const BhFlowCounts *more) {
        struct crowd *c = f->crowd;
        guint64 bytes = more->bytes_out + more->bytes_in;
        Box *box = f->key.end->box;

        c->bytes += bytes;
        if (!bytes || !c->asked.peer_len)
                return f;
        bytes = note_bytes(c, bytes);
        if (bytes < large_of(box) || box->large >= LARGE_OF_EACH * (LARGE_STEPS + 1))
                return f;
        Flow *own = take_out_large(t, f, &c->asked);
        return own ? own : f;
}

Flow *bh_flow_crowd_moved(BhFlowTable *t, Flow *f, const struct key *key, guint64 bytes) {
        Box *box = f->key.end->box;

        if (bytes < large_of(box) || box->large >= LARGE_OF_EACH * (LARGE_STEPS + 1))
                return NULL;
        return take_out_large(t, f, key);
}

void bh_flow_crowd_drop(Flow *f) {
        if (f->counted_in)
                (*f->counted_in)--;
        if (f->crowd)
                f->key.end->box->crowds--;
        g_free(f->crowd);
}

guint bh_flow_crowd_size(const Flow *f) {
        return f->crowd->different;
}

/* ---- telling ---- */

static void add_address(GString *s, const struct bh_ip *ip) {
        char text[INET6_ADDRSTRLEN] = "";

        if (ip->len)
                inet_ntop(ip->len == 16 ? AF_INET6 : AF_INET, ip->b, text, sizeof(text));
        g_string_append_printf(s, "%s%s", s->len ? ", " : "", text);
}

static int by_bytes(gconstpointer a, gconstpointer b) {
        const struct peer *p = a, *q = b;

        return (p->bytes < q->bytes) - (p->bytes > q->bytes);
}

gboolean bh_flow_table_next_crowd(BhFlowTable *t, BhFlowCrowd *out) {
        for (GList *l = t->ages.head; l; l = l->next) {
                Flow *f = l->data;
                struct crowd *c = f->crowd;

                if (!c || f->key.role != BH_FLOW_CLIENT || !f->key.proto || c->different < MAX(c->said * GROWN, 2))
                        continue;
                c->said = c->different;

                GString *large = g_string_new(NULL), *newest = g_string_new(NULL);
                struct peer sorted[BH_FLOW_CROWD_PEERS];
                memcpy(sorted, c->large, sizeof(sorted));
                qsort(sorted, BH_FLOW_CROWD_PEERS, sizeof(sorted[0]), by_bytes);
                for (guint i = 0; i < BH_FLOW_CROWD_PEERS && sorted[i].used; i++)
                        add_address(large, &sorted[i].ip);
                for (guint i = 1; i <= MIN(c->n_newest, BH_FLOW_CROWD_PEERS); i++)
                        add_address(newest, &c->newest[(c->n_newest - i) % BH_FLOW_CROWD_PEERS]);
                *out = (BhFlowCrowd){ .container_id = g_strdup(f->key.end->box->id), .exe = g_strdup(f->key.end->exe), .proto = f->key.proto, .port = f->key.port,
                                      .peers = c->different, .bytes = c->bytes, .large = g_string_free(large, FALSE), .newest = g_string_free(newest, FALSE) };
                return TRUE;
        }
        return FALSE;
}

void bh_flow_crowd_clear(BhFlowCrowd *c) {
        g_clear_pointer(&c->container_id, g_free);
        g_clear_pointer(&c->exe, g_free);
        g_clear_pointer(&c->large, g_free);
        g_clear_pointer(&c->newest, g_free);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who tries many ports of one peer, or one port of many peers, without success, is told as one flow. What is watched is bounded: for each local end and peer (or
 * port) some values, and a bit for each value once it is a scan.
 */
#include <string.h>
#include <xxhash.h>

#include "graph/flow_private.h"

#define VALUES_MAX 72u /* more than either limit */
#define SUSPECT_PORTS 8u
#define SUSPECT_ADDRESSES 32u
#define SCAN_KEEP_NS (60 * G_GINT64_CONSTANT(1000000000))
#define SEEN_BITS 65536u

enum { OF_PORTS = 1, OF_ADDRESSES = 2 };

/* Hashed as bytes. */
struct breadth_key {
        End *end;
        guint8 ip[16];
        guint16 port;
        guint8 len, proto, kind, pad[3];
};
_Static_assert(sizeof(struct breadth_key) == 32, "no hidden padding");

struct Breadth {
        struct breadth_key key;
        gint64 since_ns, last_ns;
        guint n, n_failed;
        guint32 values[VALUES_MAX];
        gboolean failed[VALUES_MAX];
        gboolean scanning;
        GList age;
};

static guint breadth_hash(gconstpointer p) {
        return (guint) XXH3_64bits(p, sizeof(struct breadth_key));
}

static gboolean breadth_equal(gconstpointer a, gconstpointer b) {
        return memcmp(a, b, sizeof(struct breadth_key)) == 0;
}

void bh_flow_scans_init(BhFlowTable *t) {
        t->breadths = g_hash_table_new(breadth_hash, breadth_equal);
        g_queue_init(&t->breadth_ages);
}

static void forget(BhFlowTable *t, Breadth *b) {
        g_hash_table_remove(t->breadths, &b->key);
        g_queue_unlink(&t->breadth_ages, &b->age);
        bh_flow_end_unref(t, b->key.end);
        g_free(b);
}

void bh_flow_scans_free(BhFlowTable *t) {
        while (t->breadth_ages.head)
                forget(t, t->breadth_ages.head->data);
        g_hash_table_unref(t->breadths);
}

static void set_key(struct breadth_key *k, const struct key *of, guint8 kind) {
        memset(k, 0, sizeof(*k));
        k->end = of->end;
        k->proto = of->proto;
        k->kind = kind;
        if (kind == OF_PORTS) {
                memcpy(k->ip, of->peer_ip, sizeof(k->ip));
                k->len = of->peer_len;
        } else {
                k->port = of->port;
        }
}

static guint32 value_of(const struct key *of, guint8 kind) {
        return kind == OF_PORTS ? of->port : (guint32) XXH3_64bits(of->peer_ip, of->peer_len);
}

static Breadth *breadth_of(BhFlowTable *t, const struct key *of, guint8 kind) {
        struct breadth_key k;

        set_key(&k, of, kind);
        Breadth *b = g_hash_table_lookup(t->breadths, &k);
        if (b) {
                g_queue_unlink(&t->breadth_ages, &b->age);
        } else {
                if (t->breadth_ages.length >= BH_FLOW_MAX_BREADTHS)
                        forget(t, t->breadth_ages.head->data);
                b = g_new0(Breadth, 1);
                b->key = k;
                b->age.data = b;
                b->since_ns = t->now_ns;
                bh_flow_end_ref(k.end);
                g_hash_table_insert(t->breadths, &b->key, b);
        }
        g_queue_push_tail_link(&t->breadth_ages, &b->age);
        if (b->scanning && t->now_ns - b->last_ns > SCAN_KEEP_NS)
                b->scanning = FALSE;
        if (!b->scanning && t->now_ns - b->since_ns > (gint64) BH_FLOW_SCAN_US * 1000) {
                b->n = b->n_failed = 0;
                b->since_ns = t->now_ns;
        }
        b->last_ns = t->now_ns;
        return b;
}

static void note(Breadth *b, guint32 value, gboolean failed) {
        guint i = 0;

        while (i < b->n && b->values[i] != value)
                i++;
        if (i == VALUES_MAX)
                return;
        if (i == b->n) {
                b->values[i] = value;
                b->failed[i] = FALSE;
                b->n++;
        }
        if (failed && !b->failed[i]) {
                b->failed[i] = TRUE;
                b->n_failed++;
        }
}

/* The flow that stands for all of them. */
static Flow *flow_of_scan(BhFlowTable *t, const struct key *of, guint8 kind) {
        struct key key = *of;

        key.scan = kind;
        key.dialled_len = 0;
        key.dialled_port = 0;
        memset(key.dialled_ip, 0, sizeof(key.dialled_ip));
        if (kind == OF_PORTS) {
                key.port = 0;
        } else {
                key.peer_len = 0;
                memset(key.peer_ip, 0, sizeof(key.peer_ip));
        }

        Flow *f = bh_flow_get(t, &key, "");
        if (f && !f->scan) {
                f->scan = g_new0(struct scan, 1);
                f->scan->seen = g_malloc0(SEEN_BITS / 8);
        }
        return f;
}

static void add_value(Flow *f, const struct key *of, guint8 kind) {
        guint32 bit = value_of(of, kind) % SEEN_BITS;
        struct scan *s = f->scan;

        if (s->seen[bit / 8] & 1u << bit % 8)
                return;
        s->seen[bit / 8] |= (guint8) (1u << bit % 8);
        s->different++;
        if (kind == OF_PORTS && s->n_samples < BH_FLOW_SAMPLES)
                s->samples[s->n_samples++] = of->port;
}

static gboolean belongs(const Flow *f, const struct key *of, guint8 kind) {
        const struct key *k = &f->key;

        if (f->told || k->scan || k->end != of->end || k->role != BH_FLOW_CLIENT || k->proto != of->proto || f->added.connections || f->added.bytes_out || f->added.bytes_in ||
            f->now.open != f->now.half_open)
                return FALSE;
        return kind == OF_PORTS ? k->peer_len == of->peer_len && memcmp(k->peer_ip, of->peer_ip, sizeof(k->peer_ip)) == 0 : k->port == of->port;
}

/* What was tried before it was known to be a scan, and has not been told, is part of it. */
static void absorb(BhFlowTable *t, Flow *scan, const struct key *of, guint8 kind) {
        GHashTableIter it;
        gpointer p;

        if (of->end->box->flows.length == 0)
                return;
        g_hash_table_iter_init(&it, t->conns);
        while (g_hash_table_iter_next(&it, &p, NULL)) {
                Conn *c = p;

                if (c->flow && c->half_open && belongs(c->flow, of, kind)) {
                        c->flow->conns--;
                        c->flow->now.open--;
                        c->flow->now.half_open--;
                        c->flow->now.packets_out -= c->packets_out; /* its SYNs */
                        c->flow->now.packets_in -= c->packets_in;
                        add_value(scan, &c->flow->key, kind);
                        c->flow = scan;
                        scan->conns++;
                        scan->now.open++;
                        scan->now.half_open++;
                        scan->now.packets_out += c->packets_out;
                        scan->now.packets_in += c->packets_in;
                }
        }
        for (GList *l = of->end->box->flows.head, *next; l; l = next) {
                Flow *f = l->data;

                next = l->next;
                if (f == scan || !belongs(f, of, kind) || f->conns)
                        continue;
                if (!f->held && !f->dirty)
                        continue;
                add_value(scan, &f->key, kind);
                if (f->held) {
                        if (!scan->held)
                                scan->held = g_new0(struct held, 1);
                        for (guint i = 0; i < 2; i++)
                                bh_flow_add(&scan->held->slot[i], &f->held->slot[i]);
                }
                bh_flow_add(&scan->added, &f->added);
                bh_flow_drop(t, f);
        }
}

Flow *bh_flow_scan_tried(BhFlowTable *t, const struct key *of, gboolean failed) {
        static const struct {
                guint8 kind;
                guint limit;
        } kinds[] = { { OF_PORTS, BH_FLOW_SCAN_PORTS }, { OF_ADDRESSES, BH_FLOW_SCAN_ADDRESSES } };
        Flow *flow = NULL;

        if (of->role != BH_FLOW_CLIENT || of->proto == 0)
                return NULL;
        for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
                Breadth *b = breadth_of(t, of, kinds[i].kind);

                note(b, value_of(of, kinds[i].kind), failed);
                if (flow || (!b->scanning && b->n_failed <= kinds[i].limit))
                        continue;
                /* a port that was found open is a flow of its own, and stays one */
                Flow *known = bh_flow_find(t, of);
                if (known && known->told)
                        continue;
                if (!(flow = flow_of_scan(t, of, kinds[i].kind)))
                        continue;
                if (!b->scanning) {
                        b->scanning = TRUE;
                        t->stats.scans++;
                        absorb(t, flow, of, kinds[i].kind);
                }
                add_value(flow, of, kinds[i].kind);
        }
        return flow;
}

gboolean bh_flow_scan_suspects(BhFlowTable *t, const struct key *of) {
        struct breadth_key ports, addresses;

        set_key(&ports, of, OF_PORTS);
        set_key(&addresses, of, OF_ADDRESSES);
        const Breadth *p = g_hash_table_lookup(t->breadths, &ports), *a = g_hash_table_lookup(t->breadths, &addresses);
        return (p && p->n > SUSPECT_PORTS) || (a && a->n > SUSPECT_ADDRESSES);
}

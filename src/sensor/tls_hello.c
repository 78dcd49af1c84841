/* SPDX-License-Identifier: Apache-2.0 */
#include "tls_hello.h"

#include <string.h>

#include "parse/protocol.h"

G_STATIC_ASSERT(BH_TLS_HELLO_BYTES <= BH_PROTOCOL_BYTES_MAX);

typedef struct {
        guint64 connection; /* the key: first */
        BhPayloadPiece first;
        GByteArray *sent, *read;
        gboolean proxied; /* so far there is only what a proxy says before it */
        GList link;
} Hello;

struct BhTlsHellos {
        void (*seen)(const BhTlsHandshake *handshake, gpointer data);
        gpointer data;
        GHashTable *open; /* connection → Hello */
        GQueue ages;      /* Hello, the oldest first */
        GHashTable *second; /* container → how many of it were given in this … */
        gint64 of;          /* … second of CLOCK_BOOTTIME */
        BhTlsHellosStats stats; /* atomically */
};

static void hello_free(gpointer p) {
        Hello *x = p;

        g_byte_array_unref(x->sent);
        g_byte_array_unref(x->read);
        g_free(x);
}

BhTlsHellos *bh_tls_hellos_new(void (*seen)(const BhTlsHandshake *handshake, gpointer data), gpointer data) {
        BhTlsHellos *h = g_new0(BhTlsHellos, 1);

        h->seen = seen;
        h->data = data;
        h->open = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, hello_free);
        h->second = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        return h;
}

void bh_tls_hellos_free(BhTlsHellos *h) {
        if (!h)
                return;
        g_hash_table_unref(h->open);
        g_hash_table_unref(h->second);
        g_free(h);
}

static gboolean within_second(BhTlsHellos *h, guint64 container, gint64 now_ns) {
        gint64 second = now_ns / 1000000000;
        guint n;

        if (second != h->of)
                g_hash_table_remove_all(h->second);
        h->of = second;
        n = GPOINTER_TO_UINT(g_hash_table_lookup(h->second, &container));
        if (n >= BH_TLS_HELLO_SECOND || (!n && g_hash_table_size(h->second) >= BH_TLS_HELLO_OPEN))
                return FALSE;
        g_hash_table_replace(h->second, g_memdup2(&container, sizeof(container)), GUINT_TO_POINTER(n + 1));
        return TRUE;
}

static void drop(BhTlsHellos *h, Hello *x) {
        g_queue_unlink(&h->ages, &x->link);
        g_hash_table_remove(h->open, &x->connection);
}

static void give(BhTlsHellos *h, Hello *x, gint64 now_ns) {
        gboolean client = x->first.side == BH_PAYLOAD_CLIENT;
        GByteArray *of_client = client ? x->sent : x->read, *of_server = client ? x->read : x->sent;
        BhTlsHandshake handshake = { .piece = &x->first, .client = of_client->data, .client_len = of_client->len, .server = of_server->data, .server_len = of_server->len };

        if (x->proxied || (!of_client->len && !of_server->len)) {
                /* no handshake after all; or nothing of it was in memory */
        } else if (within_second(h, x->first.container, now_ns)) {
                __atomic_fetch_add(&h->stats.given, 1, __ATOMIC_RELAXED);
                h->seen(&handshake, h->data);
        } else {
                __atomic_fetch_add(&h->stats.passed_over, 1, __ATOMIC_RELAXED);
        }
        drop(h, x);
}

static Hello *hello_new(BhTlsHellos *h, const BhPayloadPiece *p) {
        Hello *x = g_new0(Hello, 1);

        if (g_hash_table_size(h->open) >= BH_TLS_HELLO_OPEN)
                give(h, h->ages.head->data, p->time_ns);
        x->connection = p->connection;
        x->first = *p;
        x->first.bytes = NULL;
        x->first.len = 0;
        x->proxied = p->protocol == BH_PAYLOAD_PROXY;
        x->sent = g_byte_array_new();
        x->read = g_byte_array_new();
        x->link.data = x;
        g_queue_push_tail_link(&h->ages, &x->link);
        g_hash_table_insert(h->open, &x->connection, x);
        return x;
}

void bh_tls_hellos_piece(BhTlsHellos *h, const BhPayloadPiece *p) {
        Hello *x = g_hash_table_lookup(h->open, &p->connection);
        gboolean over = (p->flags & (BH_PAYLOAD_CLOSE | BH_PAYLOAD_TLS_CLOSED | BH_PAYLOAD_TLS)) != 0;

        if (!x && (over || (p->protocol != BH_PAYLOAD_TLS_HELLO && p->protocol != BH_PAYLOAD_PROXY) || !(p->flags & BH_PAYLOAD_OPEN)))
                return;
        if (!x)
                x = hello_new(h, p);
        if (p->protocol == BH_PAYLOAD_TLS_HELLO || p->flags & BH_PAYLOAD_TLS) {
                x->proxied = FALSE;
        } else if (x->proxied && p->protocol != BH_PAYLOAD_PROXY) {
                drop(h, x); /* another protocol than TLS behind it */
                return;
        }
        if (!over && p->len) {
                GByteArray *to = p->sent ? x->sent : x->read;

                /* what is behind a gap is not read */
                if (p->offset == to->len && to->len < BH_TLS_HELLO_BYTES)
                        g_byte_array_append(to, p->bytes, MIN(p->len, BH_TLS_HELLO_BYTES - to->len));
        }
        if (over || (x->sent->len >= BH_TLS_HELLO_BYTES && x->read->len >= BH_TLS_HELLO_BYTES))
                give(h, x, p->time_ns);
}

guint bh_tls_hellos_open(const BhTlsHellos *h) {
        return g_hash_table_size(h->open);
}

void bh_tls_hellos_stats(const BhTlsHellos *h, BhTlsHellosStats *out) {
        *out = (BhTlsHellosStats){ __atomic_load_n(&h->stats.given, __ATOMIC_RELAXED), __atomic_load_n(&h->stats.passed_over, __ATOMIC_RELAXED) };
}

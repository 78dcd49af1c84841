/* SPDX-License-Identifier: Apache-2.0 */
#include "incident_sent.h"

#include <arpa/inet.h>
#include <string.h>

#include "incident_row.h"

#define HALVES_READ 4096u

/* A connection that a line told of. Texts are the lines'. */
typedef struct {
        const char *node, *container, *name, *exe, *peer;
        BhHalfAddress address;
        guint port;
        guint64 sent, got;
} Wanted;

typedef struct {
        GPtrArray *wanted;  /* Wanted * */
        GHashTable *halves; /* gint64 as pointer → Wanted * */
        const Wanted *place;
} Look;

/* "10.0.0.3:443", "[::1]:443" */
static gboolean parse_peer(const char *text, BhHalfAddress *address, guint *port) {
        const char *colon = strrchr(text, ':');
        guint8 bytes[16];
        guint64 n;

        if (!colon || !g_ascii_string_to_unsigned(colon + 1, 10, 1, 65535, &n, NULL))
                return FALSE;
        const gboolean v6 = *text == '[' && colon > text + 1 && colon[-1] == ']';
        g_autofree char *host = v6 ? g_strndup(text + 1, (gsize) (colon - text) - 2) : g_strndup(text, (gsize) (colon - text));
        if (inet_pton(v6 ? AF_INET6 : AF_INET, host, bytes) != 1)
                return FALSE;
        *address = bh_half_address(bytes, v6 ? 16 : 4);
        *port = (guint) n;
        return TRUE;
}

static gboolean same_place(const Wanted *a, const Wanted *b) {
        return g_str_equal(a->node, b->node) && g_str_equal(a->container, b->container);
}

static void want(GPtrArray *all, const BhIncidentLine *l) {
        Wanted w = { .node = l->node, .container = l->container_id, .name = *l->container_name ? l->container_name : l->container_id, .exe = l->exe, .peer = l->object };

        if (all->len >= BH_INCIDENT_SENT_CONNECTIONS || !parse_peer(l->object, &w.address, &w.port))
                return;
        for (guint n = 0; n < all->len; n++) {
                const Wanted *x = all->pdata[n];

                /* what else runs on the node has nothing to do with it */
                if (same_place(x, &w) && g_str_equal(x->peer, w.peer) && (*w.container || g_str_equal(x->exe, w.exe)))
                        return;
        }
        g_ptr_array_add(all, g_memdup2(&w, sizeof(w)));
}

static gboolean is_of(const BhHalf *h, const Wanted *w) {
        const gboolean dialled = bh_half_address_equal(&h->dialled, &w->address) && (h->dialled_port ? h->dialled_port : h->port) == w->port;

        if (!*w->container && !g_str_equal(w->exe, h->exe))
                return FALSE;
        return dialled || (bh_half_address_equal(&h->peer, &w->address) && h->port == w->port);
}

static gboolean take_half(const BhHalf *h, gpointer data) {
        Look *look = data;

        for (guint n = 0; n < look->wanted->len; n++) {
                Wanted *w = look->wanted->pdata[n];

                if (!same_place(w, look->place) || !is_of(h, w))
                        continue;
                g_hash_table_insert(look->halves, (gpointer) (gsize) h->id, w);
                break;
        }
        return g_hash_table_size(look->halves) < BH_INCIDENT_SENT_HALVES;
}

static void take_bucket(gint64 half, G_GNUC_UNUSED gint64 start_s, const BhHalfCounts *counts, gpointer data) {
        Wanted *w = g_hash_table_lookup(((Look *) data)->halves, (gpointer) (gsize) half);

        if (!w)
                return;
        w->sent = bh_half_sum(w->sent, counts->bytes_out);
        w->got = bh_half_sum(w->got, counts->bytes_in);
}

static gint most_first(gconstpointer a, gconstpointer b) {
        const BhStorySent *x = a, *y = b;

        return x->sent != y->sent ? (x->sent < y->sent ? 1 : -1) : x->got < y->got ? 1 : x->got > y->got ? -1 : strcmp(x->peer, y->peer);
}

BhIncidentSent *bh_incident_sent(BhStore *s, const BhStoreIncident *i) {
        BhIncidentSent *out = g_new0(BhIncidentSent, 1);
        g_autoptr(GPtrArray) lines = bh_incident_row_read(i->lines), wanted = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GHashTable) halves = g_hash_table_new(NULL, NULL);
        Look look = { wanted, halves, NULL };
        gint64 until_ns = g_get_real_time() * 1000;
        guint places = 0;

        out->rows = g_array_new(FALSE, FALSE, sizeof(BhStorySent));
        out->texts = g_string_chunk_new(512);
        out->since_ns = i->first_ns;
        for (guint n = 0; n < lines->len; n++)
                want(wanted, lines->pdata[n]);
        for (guint n = 0; n < wanted->len && places < BH_INCIDENT_SENT_PLACES && g_hash_table_size(halves) < BH_INCIDENT_SENT_HALVES; n++) {
                gboolean again = FALSE;

                look.place = wanted->pdata[n];
                for (guint k = 0; k < n && !again; k++)
                        again = same_place(wanted->pdata[k], look.place);
                places += !again;
                if (!again)
                        bh_store_halves_of_client(s, look.place->node, look.place->container, i->first_ns, HALVES_READ, take_half, &look, NULL);
        }
        if (g_hash_table_size(halves))
                bh_store_flow_buckets_of(s, halves, &out->since_ns, &until_ns, take_bucket, &look, NULL);
        for (guint n = 0; n < wanted->len; n++) {
                const Wanted *w = wanted->pdata[n];
                g_autofree char *place = *w->container ? g_strconcat("container ", w->name, NULL) : g_strconcat(w->exe, " on node ", w->node, NULL);

                if (!w->sent && !w->got)
                        continue;
                const BhStorySent one = { g_string_chunk_insert_const(out->texts, place), g_string_chunk_insert_const(out->texts, w->peer), w->sent, w->got };
                g_array_append_val(out->rows, one);
        }
        g_array_sort(out->rows, most_first);
        return out;
}

void bh_incident_sent_free(BhIncidentSent *sent) {
        if (!sent)
                return;
        g_array_unref(sent->rows);
        g_string_chunk_free(sent->texts);
        g_free(sent);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "incident_sent.h"

#include <arpa/inet.h>
#include <string.h>

#include "incident_row.h"

/* All that there are (store_flows.h): none is left out for being quiet. */
#define HALVES_READ (2u * BH_STORE_HALVES_PER_CONTAINER)
#define HALVES_READ_OF_NODE (4u * HALVES_READ)

/* A connection that a line told of. Texts are the lines'. */
typedef struct {
        const char *node, *container, *name, *exe, *peer;
        BhHalfAddress address;
        guint port;
        guint64 sent, got;
        gboolean more; /* not all of it was counted */
} Wanted;

/* One that began before the incident: what went since is in its buckets. */
typedef struct {
        gint64 id;
        guint64 bytes; /* in total */
        Wanted *wanted;
} Older;

typedef struct {
        GPtrArray *wanted; /* Wanted *: of this place */
        GArray *older;     /* Older: of all places */
        GHashTable *halves; /* gint64 as pointer → Wanted *: those of them that are looked up */
        gint64 since_ns;
        guint n, max;
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

/* FALSE: there was no room for it. */
static gboolean want(GPtrArray *all, const BhIncidentLine *l) {
        Wanted w = { .node = l->node, .container = l->container_id, .name = *l->container_name ? l->container_name : l->container_id, .exe = l->exe, .peer = l->object };

        if (!parse_peer(l->object, &w.address, &w.port))
                return TRUE;
        for (guint n = 0; n < all->len; n++) {
                const Wanted *x = all->pdata[n];

                /* what else runs on the node has nothing to do with it */
                if (same_place(x, &w) && g_str_equal(x->peer, w.peer) && (*w.container || g_str_equal(x->exe, w.exe)))
                        return TRUE;
        }
        if (all->len >= BH_INCIDENT_SENT_CONNECTIONS)
                return FALSE;
        g_ptr_array_add(all, g_memdup2(&w, sizeof(w)));
        return TRUE;
}

static gboolean is_of(const BhHalf *h, const Wanted *w) {
        const gboolean dialled = bh_half_address_equal(&h->dialled, &w->address) && (h->dialled_port ? h->dialled_port : h->port) == w->port;

        if (!*w->container && !g_str_equal(w->exe, h->exe))
                return FALSE;
        return dialled || (bh_half_address_equal(&h->peer, &w->address) && h->port == w->port);
}

/* Of a container with too many connections the store tells no more apart than their port: what it is of may be among them. */
static gboolean may_be_of(const BhHalf *h, const Wanted *w) {
        return !h->peer.len && !h->dialled.len && !*h->peer_container_id && !h->peer_is_host && !*h->exe && h->port == w->port;
}

static gboolean take_half(const BhHalf *h, gpointer data) {
        Look *look = data;

        for (guint n = 0; n < look->wanted->len; n++) {
                Wanted *w = look->wanted->pdata[n];

                if (!is_of(h, w)) {
                        w->more |= may_be_of(h, w);
                        continue;
                }
                if (h->first_ns >= look->since_ns) {
                        w->sent = bh_half_sum(w->sent, h->counts.bytes_out);
                        w->got = bh_half_sum(w->got, h->counts.bytes_in);
                } else {
                        const Older o = { h->id, bh_half_sum(h->counts.bytes_out, h->counts.bytes_in), w };

                        g_array_append_val(look->older, o);
                }
                break;
        }
        return ++look->n < look->max;
}

static void look_at(BhStore *s, Look *look, const Wanted *place) {
        look->n = 0;
        look->max = *place->container ? HALVES_READ : HALVES_READ_OF_NODE;
        const gboolean ok = bh_store_halves_of_client(s, place->node, place->container, look->since_ns, look->max, take_half, look, NULL);

        for (guint n = 0; n < look->wanted->len; n++)
                ((Wanted *) look->wanted->pdata[n])->more |= !ok || look->n >= look->max;
}

static void take_bucket(gint64 half, G_GNUC_UNUSED gint64 start_s, const BhHalfCounts *counts, gpointer data) {
        Wanted *w = g_hash_table_lookup(((Look *) data)->halves, (gpointer) (gsize) half);

        if (!w)
                return;
        w->sent = bh_half_sum(w->sent, counts->bytes_out);
        w->got = bh_half_sum(w->got, counts->bytes_in);
}

static gint most_bytes_first(gconstpointer a, gconstpointer b) {
        const Older *x = a, *y = b;

        return x->bytes != y->bytes ? (x->bytes < y->bytes ? 1 : -1) : x->id < y->id ? -1 : x->id > y->id;
}

/* Those with most bytes in all; of the others it is said that they are not in it. */
static void look_older_up(BhStore *s, Look *look, gint64 *since_ns) {
        gint64 until_ns = g_get_real_time() * 1000;

        g_array_sort(look->older, most_bytes_first);
        for (guint n = 0; n < look->older->len; n++) {
                const Older *o = &g_array_index(look->older, Older, n);

                if (n < BH_INCIDENT_SENT_HALVES)
                        g_hash_table_insert(look->halves, (gpointer) (gsize) o->id, o->wanted);
                else if (o->bytes)
                        o->wanted->more = TRUE;
        }
        if (!g_hash_table_size(look->halves) || bh_store_flow_buckets_of(s, look->halves, since_ns, &until_ns, take_bucket, look, NULL))
                return;
        for (guint n = 0; n < look->older->len; n++)
                g_array_index(look->older, Older, n).wanted->more = TRUE;
}

static gint most_first(gconstpointer a, gconstpointer b) {
        const BhStorySent *x = a, *y = b;

        return x->sent != y->sent ? (x->sent < y->sent ? 1 : -1) : x->got < y->got ? 1 : x->got > y->got ? -1 : strcmp(x->peer, y->peer);
}

/* Each place's own. */
static guint look_at_places(BhStore *s, Look *look, const GPtrArray *wanted) {
        guint places = 0, unseen = 0;

        for (guint n = 0; n < wanted->len; n++) {
                const Wanted *first = wanted->pdata[n];
                gboolean again = FALSE;

                for (guint k = 0; k < n && !again; k++)
                        again = same_place(wanted->pdata[k], first);
                if (again)
                        continue;
                g_ptr_array_set_size(look->wanted, 0);
                for (guint k = n; k < wanted->len; k++)
                        if (same_place(wanted->pdata[k], first))
                                g_ptr_array_add(look->wanted, wanted->pdata[k]);
                if (places++ < BH_INCIDENT_SENT_PLACES)
                        look_at(s, look, first);
                else
                        unseen += look->wanted->len;
        }
        return unseen;
}

BhIncidentSent *bh_incident_sent(BhStore *s, const BhStoreIncident *i) {
        BhIncidentSent *out = g_new0(BhIncidentSent, 1);
        g_autoptr(GPtrArray) lines = bh_incident_row_read(i->lines), wanted = g_ptr_array_new_with_free_func(g_free), here = g_ptr_array_new();
        g_autoptr(GArray) older = g_array_new(FALSE, FALSE, sizeof(Older));
        g_autoptr(GHashTable) halves = g_hash_table_new(NULL, NULL);
        Look look = { here, older, halves, i->first_ns, 0, 0 };

        out->rows = g_array_new(FALSE, FALSE, sizeof(BhStorySent));
        out->texts = g_string_chunk_new(512);
        out->since_ns = i->first_ns;
        for (guint n = 0; n < lines->len; n++)
                out->unseen += !want(wanted, lines->pdata[n]);
        out->unseen += look_at_places(s, &look, wanted);
        look_older_up(s, &look, &out->since_ns);
        for (guint n = 0; n < wanted->len; n++) {
                const Wanted *w = wanted->pdata[n];
                g_autofree char *place = *w->container ? g_strconcat("container ", w->name, NULL) : g_strconcat(w->exe, " on node ", w->node, NULL);

                if (!w->sent && !w->got) {
                        out->unseen += w->more;
                        continue;
                }
                const BhStorySent one = { g_string_chunk_insert_const(out->texts, place), g_string_chunk_insert_const(out->texts, w->peer), w->sent, w->got, w->more };
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

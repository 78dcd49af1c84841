/* SPDX-License-Identifier: Apache-2.0 */
#include "incident_uses.h"

#include <arpa/inet.h>
#include <string.h>

#include "incident/credential.h"
#include "incident/deed.h"

#define NS_PER_US 1000

typedef struct {
        char *node, *container;
        gint64 first_ns, last_ns; /* of the reads */
        gint64 until_us;          /* 0: it has ended; reads up to last_ns are not looked at again */
} Watch;

struct BhIncidentUses {
        GHashTable *watches; /* char *"node\1container" → Watch * */
        guint watched;       /* of these, those that have not ended */
        gint64 looked_us;
        guint64 dropped;
};

static void watch_free(gpointer p) {
        Watch *w = p;

        g_free(w->node);
        g_free(w->container);
        g_free(w);
}

BhIncidentUses *bh_incident_uses_new(void) {
        BhIncidentUses *u = g_new0(BhIncidentUses, 1);

        u->watches = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, watch_free);
        return u;
}

void bh_incident_uses_free(BhIncidentUses *u) {
        if (!u)
                return;
        g_hash_table_unref(u->watches);
        g_free(u);
}

guint bh_incident_uses_watched(const BhIncidentUses *u) {
        return u->watched;
}

guint64 bh_incident_uses_dropped(const BhIncidentUses *u) {
        return u->dropped;
}

/* What has ended is remembered: its incident tells of the same reads whenever it grows. */
static void end(BhIncidentUses *u, Watch *w) {
        w->until_us = 0;
        u->watched--;
}

/* The one whose time comes first, of those that have not ended; or the oldest read, of those that have. */
static const char *next_of(const BhIncidentUses *u, gboolean ended, Watch **out) {
        const char *next = NULL;
        GHashTableIter it;
        gpointer key, value;

        *out = NULL;
        g_hash_table_iter_init(&it, u->watches);
        while (g_hash_table_iter_next(&it, &key, &value)) {
                Watch *w = value;

                if ((w->until_us == 0) != ended || (*out && (ended ? w->last_ns >= (*out)->last_ns : w->until_us >= (*out)->until_us)))
                        continue;
                *out = w;
                next = key;
        }
        return next;
}

static void make_room(BhIncidentUses *u) {
        Watch *w;

        if (u->watched >= BH_INCIDENT_USES_MAX) {
                next_of(u, FALSE, &w);
                end(u, w);
                u->dropped++;
        }
        if (g_hash_table_size(u->watches) >= BH_INCIDENT_USES_MAX + BH_INCIDENT_USES_ENDED)
                g_hash_table_remove(u->watches, next_of(u, TRUE, &w));
}

static void watch(BhIncidentUses *u, const BhIncidentLine *l, gint64 until_us) {
        g_autofree char *key = g_strconcat(l->node, "\1", l->container_id, NULL);
        Watch *w = g_hash_table_lookup(u->watches, key);

        if (w && w->last_ns >= l->last_ns) {
                if (w->until_us)
                        w->first_ns = MIN(w->first_ns, l->time_ns);
                return;
        }
        if (!w || !w->until_us)
                make_room(u);
        /* it may have been the one that had to go */
        w = g_hash_table_lookup(u->watches, key);
        if (!w) {
                w = g_new0(Watch, 1);
                w->node = g_strdup(l->node);
                w->container = g_strdup(l->container_id);
                w->first_ns = l->time_ns;
                g_hash_table_insert(u->watches, g_steal_pointer(&key), w);
        }
        /* what came of reads before those that ended was looked for; and of who reads day after day nothing begins any more where an older connection led to */
        w->first_ns = MAX(w->until_us ? MIN(w->first_ns, l->time_ns) : MAX(w->last_ns, l->time_ns), l->last_ns - BH_INCIDENT_REACHED_NS);
        w->last_ns = l->last_ns;
        u->watched += !w->until_us;
        w->until_us = MAX(w->until_us, until_us);
}

/* As long as a connection counts, and what the node tells of it may take. */
static const gint64 hour_us = (BH_INCIDENT_CREDENTIAL_NS + BH_INCIDENT_USES_LATE_NS) / NS_PER_US;

void bh_incident_uses_of(BhIncidentUses *u, const BhIncident *i, gint64 now_us) {
        for (guint n = 0; i->state == BH_INCIDENT_OPEN && n < i->lines->len; n++) {
                const BhIncidentLine *l = g_ptr_array_index(i->lines, n);

                if (l->credential && *l->container_id)
                        watch(u, l, now_us + hour_us);
        }
}

void bh_incident_uses_restore(BhIncidentUses *u, const BhIncident *i, gint64 now_us, gint64 now_ns) {
        for (guint n = 0; i->state == BH_INCIDENT_OPEN && n < i->lines->len; n++) {
                const BhIncidentLine *l = g_ptr_array_index(i->lines, n);

                if (l->credential && *l->container_id)
                        watch(u, l, now_us + CLAMP(hour_us - (now_ns - l->last_ns) / NS_PER_US, BH_INCIDENT_USES_LATE_NS / NS_PER_US, hour_us));
        }
}

/* ---- connections */

typedef struct {
        const Watch *watch;
        const BhIncidentPlaces *places;
        GArray *uses; /* BhIncidentUse */
        GStringChunk *texts;
} Look;

/* The container at its other end: the one that its node told of when the connection was made, else the one that has that address and had it then. Addresses are given again. */
static gboolean find_peer(const BhIncidentPlaces *places, const BhHalf *h, const char **node, const char **peer) {
        char address[INET6_ADDRSTRLEN] = "";
        const char *at = NULL, *has = NULL;
        gboolean told = *h->peer_container_id != 0;

        if (h->peer.len)
                inet_ntop(h->peer.len == 16 ? AF_INET6 : AF_INET, h->peer.bytes, address, sizeof(address));
        if (!*address || !bh_incident_places_peer(places, h->node, h->container_id, address, &at, &has) || (told && !g_str_equal(has, h->peer_container_id)))
                has = NULL;
        *node = has ? at : h->node;
        *peer = has ? has : h->peer_container_id;
        return told || (has && bh_incident_places_had(places, at, has, h->first_ns));
}

static gboolean take_half(const BhHalf *h, gpointer data) {
        Look *look = data;
        const guint port = bh_credential_is_asked_for(h->port) ? h->port : h->dialled_port;
        const char *node, *peer;

        /* who was let in got an answer */
        if (h->proto != IPPROTO_TCP || !h->counts.bytes_out || !h->counts.bytes_in || !bh_credential_is_asked_for(port))
                return TRUE;
        if (!find_peer(look->places, h, &node, &peer) || g_str_equal(peer, h->container_id))
                return TRUE;
        const BhIncidentUse use = {
                .node = g_string_chunk_insert_const(look->texts, h->node),
                .container = g_string_chunk_insert_const(look->texts, h->container_id),
                .peer_node = g_string_chunk_insert_const(look->texts, node),
                .peer_container = g_string_chunk_insert_const(look->texts, peer),
                .port = port,
                .time_ns = h->first_ns,
        };
        g_array_append_val(look->uses, use);
        return look->uses->len < BH_INCIDENT_USES_FOUND;
}

void bh_incident_uses_look(BhIncidentUses *u, BhStore *s, const BhIncidentPlaces *places, gint64 now_us, BhIncidentUseFunc found, gpointer data) {
        g_autoptr(GArray) uses = g_array_new(FALSE, FALSE, sizeof(BhIncidentUse));
        GHashTableIter it;
        gpointer value;

        if (u->looked_us && now_us - u->looked_us < BH_INCIDENT_USES_US)
                return;
        u->looked_us = now_us;
        Look look = { NULL, places, uses, g_string_chunk_new(1024) };
        g_hash_table_iter_init(&it, u->watches);
        while (g_hash_table_iter_next(&it, NULL, &value)) {
                look.watch = value;
                if (!look.watch->until_us)
                        continue;
                if (look.watch->until_us < now_us)
                        end(u, value);
                else if (uses->len < BH_INCIDENT_USES_FOUND)
                        bh_store_halves_of_client_begun(s, look.watch->node, look.watch->container, look.watch->first_ns, BH_INCIDENT_USES_HALVES, take_half, &look, NULL);
        }
        /* afterwards: whoever is told may read the store, and watch more */
        for (guint n = 0; n < uses->len; n++)
                found(&g_array_index(uses, BhIncidentUse, n), data);
        g_string_chunk_free(look.texts);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "incident_uses.h"

#include <arpa/inet.h>
#include <string.h>

#include "incident/credential.h"

#define NS_PER_US 1000
#define HALVES_KNOWN (2u * BH_STORE_HALVES_PER_CONTAINER) /* all that there are (store_flows.h) */

typedef struct {
        char *node, *container;
        gint64 first_ns, last_ns; /* of the reads */
        gint64 done_ns;           /* reads up to then have had their time */
        gint64 until_us;          /* 0: it has ended; reads up to last_ns are not looked at again */
        GHashTable *judged;       /* id of a half that began since, as pointer → KNOWN or NEW; NULL: none yet */
} Watch;

enum { UNJUDGED, KNOWN, NEW };

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
        g_clear_pointer(&w->judged, g_hash_table_unref);
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
        g_clear_pointer(&w->judged, g_hash_table_unref);
        w->until_us = 0;
        w->done_ns = w->last_ns;
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

static void since(Watch *w, gint64 first_ns) {
        if (first_ns != w->first_ns)
                g_clear_pointer(&w->judged, g_hash_table_unref);
        w->first_ns = first_ns;
}

static void watch(BhIncidentUses *u, const BhIncidentLine *l, gint64 until_us) {
        g_autofree char *key = g_strconcat(l->node, "\1", l->container_id, NULL);
        Watch *w = g_hash_table_lookup(u->watches, key);
        const gboolean more = !w || l->last_ns > w->last_ns;

        if (!more && (!w->until_us || l->last_ns <= w->done_ns))
                return;
        if (!w || !w->until_us)
                make_room(u);
        /* it may have been the one that had to go */
        w = g_hash_table_lookup(u->watches, key);
        if (!w) {
                w = g_new0(Watch, 1);
                w->node = g_strdup(l->node);
                w->container = g_strdup(l->container_id);
                g_hash_table_insert(u->watches, g_steal_pointer(&key), w);
        }
        const gint64 from = MAX(l->time_ns, w->done_ns);
        w->last_ns = MAX(w->last_ns, l->last_ns);
        /* of who reads day after day nothing begins any more where an older connection led to */
        since(w, MAX(w->until_us ? MIN(w->first_ns, from) : from, w->last_ns - BH_INCIDENT_REACHED_NS));
        u->watched += !w->until_us;
        w->until_us = MAX(w->until_us, more ? until_us : 0);
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
        BhIncidentUse use;
        gint64 half;
        const char *exe, *name; /* name: of the other end, as the container asked for it; "" */
        guint port, dialled_port;
} Candidate;

typedef struct {
        Watch *watch;
        const BhIncidentPlaces *places;
        GArray *uses;   /* Candidate */
        GStringChunk *texts;
        guint from;     /* of these, the watch's first */
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

static guint judged(const Watch *w, gint64 half) {
        return w->judged ? GPOINTER_TO_UINT(g_hash_table_lookup(w->judged, (gpointer) (gsize) half)) : UNJUDGED;
}

static gboolean take_half(const BhHalf *h, gpointer data) {
        Look *look = data;
        const guint port = bh_credential_is_asked_for(h->port) ? h->port : h->dialled_port;
        const char *node, *peer;

        /* who was let in got an answer */
        if (h->proto != IPPROTO_TCP || !h->counts.bytes_out || !h->counts.bytes_in || !bh_credential_is_asked_for(port))
                return TRUE;
        if (judged(look->watch, h->id) == KNOWN || !find_peer(look->places, h, &node, &peer) || g_str_equal(peer, h->container_id))
                return TRUE;
        const Candidate c = {
                .use = {
                        .node = g_string_chunk_insert_const(look->texts, h->node),
                        .container = g_string_chunk_insert_const(look->texts, h->container_id),
                        .peer_node = g_string_chunk_insert_const(look->texts, node),
                        .peer_container = g_string_chunk_insert_const(look->texts, peer),
                        .port = port,
                        .time_ns = h->first_ns,
                },
                .half = h->id,
                .exe = g_string_chunk_insert_const(look->texts, h->exe),
                .name = g_string_chunk_insert_const(look->texts, h->peer_name),
                .port = h->port,
                .dialled_port = h->dialled_port,
        };
        g_array_append_val(look->uses, c);
        return look->uses->len < BH_INCIDENT_USES_FOUND;
}

static void judge(Watch *w, const Candidate *c, guint how) {
        if (!w->judged)
                w->judged = g_hash_table_new(NULL, NULL);
        g_hash_table_insert(w->judged, (gpointer) (gsize) c->half, GUINT_TO_POINTER(how));
}

/* What a program is connected to: the same name, or another container of the same workload. */
static char *known_key(const char *exe, guint port, guint dialled_port, const char *kind, const char *a, const char *b) {
        return g_strdup_printf("%s\1%u\1%u\1%s\1%s\1%s", exe, port, dialled_port, kind, a, b);
}

static void take_known(const BhStoreKnownPeer *p, gpointer data) {
        if (*p->peer_name)
                g_hash_table_add(data, known_key(p->exe, p->port, p->dialled_port, "name", p->peer_name, ""));
        if (*p->workload)
                g_hash_table_add(data, known_key(p->exe, p->port, p->dialled_port, "workload", p->application, p->workload));
}

static gboolean is_known(BhStore *s, GHashTable *known, const Candidate *c) {
        g_autofree char *name = known_key(c->exe, c->port, c->dialled_port, "name", c->name, "");

        if (*c->name && g_hash_table_contains(known, name))
                return TRUE;
        g_autoptr(BhStoreContainer) peer = g_hash_table_size(known) ? bh_store_container(s, c->use.peer_node, c->use.peer_container, NULL) : NULL;
        if (!peer || !*peer->workload)
                return FALSE;
        g_autofree char *workload = known_key(c->exe, c->port, c->dialled_port, "workload", peer->application, peer->workload);
        return g_hash_table_contains(known, workload);
}

/* A database that is deployed anew is another container, and the application's connection to it is as old as it ever was. Each half is judged once. */
static void drop_known(BhStore *s, Look *look) {
        g_autoptr(GHashTable) known = NULL;
        gboolean ok = TRUE;

        for (guint n = look->from; n < look->uses->len;) {
                const Candidate *c = &g_array_index(look->uses, Candidate, n);

                if (judged(look->watch, c->half) == UNJUDGED && !known) {
                        known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
                        ok = bh_store_known_peers(s, look->watch->node, look->watch->container, look->watch->first_ns, HALVES_KNOWN, take_known, known, NULL);
                }
                if (judged(look->watch, c->half) == UNJUDGED && ok)
                        judge(look->watch, c, is_known(s, known, c) ? KNOWN : NEW);
                if (judged(look->watch, c->half) != NEW)
                        g_array_remove_index(look->uses, n);
                else
                        n++;
        }
        look->from = look->uses->len;
}

void bh_incident_uses_look(BhIncidentUses *u, BhStore *s, const BhIncidentPlaces *places, gint64 now_us, BhIncidentUseFunc found, gpointer data) {
        g_autoptr(GArray) uses = g_array_new(FALSE, FALSE, sizeof(Candidate));
        GHashTableIter it;
        gpointer value;

        if (u->looked_us && now_us - u->looked_us < BH_INCIDENT_USES_US)
                return;
        u->looked_us = now_us;
        Look look = { NULL, places, uses, g_string_chunk_new(1024), 0 };
        g_hash_table_iter_init(&it, u->watches);
        while (g_hash_table_iter_next(&it, NULL, &value)) {
                look.watch = value;
                if (!look.watch->until_us)
                        continue;
                if (look.watch->until_us < now_us) {
                        end(u, value);
                } else if (uses->len < BH_INCIDENT_USES_FOUND) {
                        bh_store_halves_of_client_begun(s, look.watch->node, look.watch->container, look.watch->first_ns, BH_INCIDENT_USES_HALVES, take_half, &look, NULL);
                        drop_known(s, &look);
                }
        }
        /* afterwards: whoever is told may read the store, and watch more */
        for (guint n = 0; n < uses->len; n++)
                found(&g_array_index(uses, Candidate, n).use, data);
        g_string_chunk_free(look.texts);
}

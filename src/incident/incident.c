/* SPDX-License-Identifier: Apache-2.0 */
#include "incident/keys.h"

#define CANDIDATES 16

/* Where a key was seen: in which group, and when last. */
typedef struct {
        guint64 group;
        gint64 time_ns;
        gint64 first_ns; /* of `reached`: when this group did so first */
        gint64 serial; /* the finding that left it last */
        guint target;  /* with processes of the node: hash of the container that they acted on, 0: none */
        char *used;    /* of `reached`: a credential for it was read from this file before; NULL: none */
        GList *link;   /* in the group's `own`, as long as there is the group; NULL: it is not of those that are bounded for each */
} Entry;

struct BhIncidents {
        guint64 next;
        GHashTable *groups;  /* guint64 * → BhIncidentGroup *: those that may still grow */
        GHashTable *into;    /* guint64 * → guint64 *: where merged ones went */
        GHashTable *keys;    /* char * → Entry * */
        GHashTable *reached; /* char * → Entry *: containers that a connection of the group led to */
        GHashTable *serials; /* gint64 * → guint64 *: the group of each finding */
        GPtrArray *gone;     /* merged or given up by the last call */
        gboolean lost;       /* groups have gone whose keys are still there */
        BhIncidentStats stats;
};

static void entry_free(gpointer p) {
        g_free(((Entry *) p)->used);
        g_free(p);
}

static gboolean has_text(const char *text) {
        return text && *text;
}

static void group_free(gpointer p) {
        bh_incident_group_free(p);
}

BhIncidents *bh_incidents_new(guint64 next) {
        BhIncidents *g = g_new0(BhIncidents, 1);

        g->next = next;
        g->groups = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, group_free);
        g->into = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
        g->keys = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, entry_free);
        g->reached = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, entry_free);
        g->serials = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
        g->gone = g_ptr_array_new_with_free_func(group_free);
        return g;
}

void bh_incidents_free(BhIncidents *g) {
        if (!g)
                return;
        g_hash_table_destroy(g->groups);
        g_hash_table_destroy(g->into);
        g_hash_table_destroy(g->keys);
        g_hash_table_destroy(g->reached);
        g_hash_table_destroy(g->serials);
        g_ptr_array_unref(g->gone);
        g_free(g);
}

/* ---- groups ---- */

static guint64 *number(guint64 n) {
        return g_memdup2(&n, sizeof(n));
}

static BhIncidentGroup *group_of(BhIncidents *g, guint64 id) {
        const guint64 *to;

        for (guint hops = 0; hops < 64 && (to = g_hash_table_lookup(g->into, &id)); hops++)
                id = *to;
        return g_hash_table_lookup(g->groups, &id);
}

/* The key's entry goes out of its group's list, if there is still one. */
static void unlink_entry(BhIncidents *g, Entry *e) {
        BhIncidentGroup *x = e->link ? group_of(g, e->group) : NULL;

        if (x)
                g_queue_delete_link(x->own, e->link);
        e->link = NULL;
}

static gint64 distance(const BhIncident *i, gint64 time_ns) {
        return time_ns > i->last_ns ? time_ns - i->last_ns : time_ns < i->first_ns ? i->first_ns - time_ns : 0;
}

/* Room for one more: the forming group that was quiet for longest goes, else the open one (which stays where incidents are kept, and grows no more): *given_up, good until the next call. */
static void make_room(BhIncidents *g, BhIncident **given_up) {
        GHashTableIter it;
        gpointer key, value;
        BhIncidentGroup *worst = NULL;

        if (g_hash_table_size(g->groups) < BH_INCIDENTS_MAX)
                return;
        g_hash_table_iter_init(&it, g->groups);
        while (g_hash_table_iter_next(&it, NULL, &value)) {
                BhIncidentGroup *x = value;
                gboolean forming = x->i.state == BH_INCIDENT_FORMING;

                if (!worst || (forming && worst->i.state != BH_INCIDENT_FORMING) || (forming == (worst->i.state == BH_INCIDENT_FORMING) && x->i.last_ns < worst->i.last_ns))
                        worst = x;
        }
        g->stats.given_up++;
        g_hash_table_steal_extended(g->groups, &worst->i.id, &key, &value);
        g_free(key);
        g_ptr_array_add(g->gone, worst);
        g->lost = TRUE;
        *given_up = worst->i.state == BH_INCIDENT_OPEN ? &worst->i : NULL;
}

static BhIncidentGroup *group_new(BhIncidents *g, guint64 id, BhIncident **given_up) {
        BhIncidentGroup *x;

        make_room(g, given_up);
        x = bh_incident_group_new(id);
        g_hash_table_replace(g->groups, number(id), x);
        g->next = MAX(g->next, id + 1);
        return x;
}

/* ---- keys ---- */

/* Files and processes come in any number: of each group the latest BH_INCIDENT_OWN_MAX. */
static gboolean is_own(const char *key) {
        return *key == 'f' || *key == 'p';
}

static void own(BhIncidents *g, BhIncidentGroup *x, Entry *e, char *key) {
        if (x->own->length >= BH_INCIDENT_OWN_MAX) {
                g_hash_table_remove(g->keys, x->own->tail->data);
                g_queue_delete_link(x->own, x->own->tail);
                g->stats.keys_dropped++;
        }
        g_queue_push_head(x->own, key);
        e->link = x->own->head;
}

static void leave(BhIncidents *g, GHashTable *where, const char *key, BhIncidentGroup *x, gint64 first_ns, gint64 time_ns, gint64 serial, guint target, const char *used) {
        gpointer k, v;
        Entry *e;

        if (g_hash_table_lookup_extended(where, key, &k, &v)) {
                e = v;
                if (e->link && group_of(g, e->group) != x) {
                        unlink_entry(g, e);
                        own(g, x, e, k);
                } else if (!e->link && is_own(key)) {
                        own(g, x, e, k);
                }
                /* another group's time is nothing to this one */
                const gboolean mine = group_of(g, e->group) == x;
                e->time_ns = mine ? MAX(e->time_ns, time_ns) : time_ns;
                e->first_ns = mine ? MIN(e->first_ns, first_ns) : first_ns;
                if (used || !mine)
                        g_clear_pointer(&e->used, g_free);
        } else {
                if (g_hash_table_size(where) >= BH_INCIDENT_KEYS_MAX) {
                        g->stats.keys_dropped++;
                        return;
                }
                e = g_new0(Entry, 1);
                e->time_ns = time_ns;
                e->first_ns = first_ns;
                k = g_strdup(key);
                g_hash_table_insert(where, k, e);
                if (is_own(key))
                        own(g, x, e, k);
        }
        e->group = x->i.id;
        e->serial = serial;
        e->target = target;
        if (!e->used)
                e->used = g_strdup(used);
}

/* ---- whose it is ---- */

G_STATIC_ASSERT(CANDIDATES <= G_N_ELEMENTS(((BhIncidentJoin *) NULL)->merged));

typedef struct {
        BhIncidentGroup *groups[CANDIDATES];
        BhBasis basis[CANDIDATES];
        const char *used[CANDIDATES]; /* borrowed of the entry; NULL: nothing */
        guint n;
} Found;

static void found(Found *out, BhIncidentGroup *x, BhBasis basis, const char *used) {
        for (guint n = 0; n < out->n; n++)
                if (out->groups[n] == x)
                        return;
        if (out->n < CANDIDATES) {
                out->groups[out->n] = x;
                out->used[out->n] = used;
                out->basis[out->n++] = used ? BH_BASIS_CREDENTIAL : basis;
        }
}

/* A credential is used by connecting: what was there before did not come of it. */
static gboolean follows(const Entry *e, gint64 time_ns, gint64 within) {
        return e->used ? time_ns >= e->first_ns - BH_INCIDENT_CLOCK_NS && time_ns - e->time_ns <= within : ABS(time_ns - e->time_ns) <= within;
}

static void look(BhIncidents *g, GHashTable *where, const char *key, BhBasis basis, guint target, gint64 time_ns, gint64 within, Found *out) {
        const Entry *e = g_hash_table_lookup(where, key);
        BhIncidentGroup *x;

        if (!e || !(x = group_of(g, e->group)) || (target && e->target && target != e->target))
                return;
        /* numbers of files are given again, so that a file is known by its own time */
        if (basis == BH_BASIS_FILE && ABS(time_ns - e->time_ns) > within)
                return;
        if (basis == BH_BASIS_REACHED ? !follows(e, time_ns, within) : distance(&x->i, time_ns) > within)
                return;
        found(out, x, basis, basis == BH_BASIS_REACHED ? e->used : NULL);
}

/* Whether one of them is an incident: what only forms, a warning that nobody was shown, keeps no attack that comes by a connection from what it does there. */
static gboolean any_open(const Found *who) {
        for (guint n = 0; n < who->n; n++)
                if (who->groups[n]->i.state == BH_INCIDENT_OPEN)
                        return TRUE;
        return FALSE;
}

/* The open one goes on, of two of a kind the older. */
static gboolean goes_on(const BhIncidentGroup *a, const BhIncidentGroup *b) {
        if ((a->i.state == BH_INCIDENT_OPEN) != (b->i.state == BH_INCIDENT_OPEN))
                return a->i.state == BH_INCIDENT_OPEN;
        return a->i.id < b->i.id;
}

/* People took them apart. */
static gboolean apart(BhIncidents *g, const BhIncidentGroup *a, const BhIncidentGroup *b) {
        const BhIncidentGroup *const both[] = { a, b };

        for (guint n = 0; n < 2; n++) {
                GHashTableIter it;
                gpointer id;

                g_hash_table_iter_init(&it, both[n]->apart);
                while (g_hash_table_iter_next(&it, &id, NULL))
                        if (group_of(g, *(guint64 *) id) == both[!n])
                                return TRUE;
        }
        return FALSE;
}

static void merge(BhIncidents *g, BhIncidentGroup *to, BhIncidentGroup *from) {
        gpointer key, value;

        bh_incident_group_take(to, from);
        g_hash_table_replace(g->into, number(from->i.id), number(to->i.id));
        g_hash_table_steal_extended(g->groups, &from->i.id, &key, &value);
        g_free(key);
        g_ptr_array_add(g->gone, from);
        g->stats.merged++;
}

static gboolean incoming(const BhIncidentFinding *f) {
        return !f->event || !bh_event_has(f->event, BH_F_outgoing) ? f->event && f->event->type == BH_EV_ACCEPT : !f->event->outgoing;
}

/* Where a credential of that service was read in this container, at most so long before. NULL: nowhere. */
static const BhIncidentLine *read_for(const BhIncidentGroup *x, const char *node, const char *container, guint port, gint64 time_ns) {
        for (guint n = 0; has_text(container) && bh_credential_is_asked_for(port) && n < x->i.lines->len; n++) {
                const BhIncidentLine *l = g_ptr_array_index(x->i.lines, n);

                if (!l->credential || l->time_ns > time_ns || time_ns - l->last_ns > BH_INCIDENT_CREDENTIAL_NS || !g_str_equal(l->container_id, container) || !g_str_equal(l->node, node ? node : ""))
                        continue;
                if (bh_credential_opens(l->credential, port))
                        return l;
        }
        return NULL;
}

/* One that is told of at its end began so long before. */
static gint64 lasted(const BhIncidentFinding *f) {
        const gboolean ends = f->event && f->event->type == BH_EV_NET_CLOSE && bh_event_has(f->event, BH_F_duration);

        return ends ? (gint64) MIN(f->event->duration, (guint64) MAX(f->time_ns, 0)) : 0;
}

static void leave_all(BhIncidents *g, GArray *keys, const BhIncidentFinding *f, BhIncidentGroup *x) {
        gint64 time_ns = MAX(f->time_ns, f->last_ns);

        for (guint n = 0; n < keys->len; n++) {
                const BhIncidentKey *k = &g_array_index(keys, BhIncidentKey, n);

                if (k->leave)
                        leave(g, g->keys, k->key, x, f->time_ns, time_ns, f->serial, k->target, NULL);
        }
        if (has_text(f->peer_container) && !incoming(f)) {
                g_autofree char *peer = bh_incident_container_key(f->peer_node ? f->peer_node : f->node, f->peer_container);

                const guint port = f->event && bh_event_has(f->event, BH_F_rport) ? f->event->rport : 0;
                const BhIncidentLine *read = read_for(x, f->node, f->container_id, port, f->time_ns);

                leave(g, g->reached, peer, x, f->time_ns - lasted(f), time_ns, f->serial, 0, read ? read->thing : NULL);
        }
        if (g_hash_table_size(g->serials) < BH_INCIDENT_SERIALS_MAX || g_hash_table_contains(g->serials, &f->serial))
                g_hash_table_replace(g->serials, g_memdup2(&f->serial, sizeof(f->serial)), number(x->i.id));
}

/* What came of a connection may be told before it: each node tells at its own pace, and an act of a web request waits for what the inspector says of it. */
static void look_ahead(BhIncidents *g, const BhIncidentFinding *f, Found *out) {
        if (!has_text(f->peer_container) || incoming(f))
                return;
        g_autofree char *peer = bh_incident_container_key(f->peer_node ? f->peer_node : f->node, f->peer_container);
        const Entry *e = g_hash_table_lookup(g->keys, peer);
        BhIncidentGroup *x = e ? group_of(g, e->group) : NULL;

        if (x && x->i.first_ns >= f->time_ns && x->i.first_ns - f->time_ns <= BH_INCIDENT_REACHED_NS)
                found(out, x, BH_BASIS_REACHED, NULL);
}

BhIncidentJoin bh_incidents_finding(BhIncidents *g, const BhIncidentFinding *f) {
        BhIncidentJoin out = { 0 };
        Found who = { 0 };
        const char *used = NULL;
        const guint64 *known = g_hash_table_lookup(g->serials, &f->serial);
        BhIncidentGroup *x = known ? group_of(g, *known) : NULL;
        g_autoptr(GArray) keys = NULL;
        BhIncidentState was;

        g_ptr_array_set_size(g->gone, 0);
        if (!known)
                g->stats.findings++;
        else if (!x)
                return out; /* of one that is closed or has gone */
        keys = bh_incident_keys_of(f);
        if (x) {
                out.basis = BH_BASIS_NONE;
        } else {
                for (guint n = 0; n < keys->len; n++) {
                        const BhIncidentKey *k = &g_array_index(keys, BhIncidentKey, n);

                        if (k->look)
                                look(g, g->keys, k->key, k->basis, k->target, f->time_ns, BH_INCIDENT_QUIET_NS, &who);
                }
                if (!any_open(&who) && has_text(f->container_id)) {
                        g_autofree char *own = bh_incident_container_key(f->node, f->container_id);

                        look(g, g->reached, own, BH_BASIS_REACHED, 0, f->time_ns, BH_INCIDENT_REACHED_NS, &who);
                        if (!who.n && has_text(f->peer_container) && incoming(f)) {
                                g_autofree char *peer = bh_incident_container_key(f->peer_node ? f->peer_node : f->node, f->peer_container);

                                look(g, g->keys, peer, BH_BASIS_REACHED, 0, f->time_ns, BH_INCIDENT_REACHED_NS, &who);
                        }
                }
                if (!who.n && f->rank > BH_INCIDENT_RANK) {
                        g->stats.passed_over++;
                        return out;
                }
                look_ahead(g, f, &who);
                for (guint n = 0; n < who.n; n++)
                        if (!x || goes_on(who.groups[n], x)) {
                                x = who.groups[n];
                                out.basis = who.basis[n];
                                used = who.used[n];
                        }
                if (!x)
                        x = group_new(g, g->next, &out.given_up);
        }
        was = x->i.state;
        for (guint n = 0; n < who.n; n++)
                if (who.groups[n] != x && !apart(g, who.groups[n], x)) {
                        out.merged_open[out.n_merged] = who.groups[n]->i.state == BH_INCIDENT_OPEN;
                        out.merged[out.n_merged++] = &who.groups[n]->i;
                        merge(g, x, who.groups[n]);
                }
        out.is_new_line = bh_incident_group_add(x, f, out.basis, used);
        out.incident = &x->i;
        out.opened = was == BH_INCIDENT_FORMING && x->i.state == BH_INCIDENT_OPEN;
        leave_all(g, keys, f, x);
        return out;
}

/* Entries of groups that are no more. */
static gboolean is_stale(gpointer key, gpointer value, gpointer data) {
        (void) key;
        return group_of(data, ((Entry *) value)->group) == NULL;
}

static gboolean is_lost(gpointer key, gpointer value, gpointer data) {
        (void) key;
        return group_of(data, *(guint64 *) value) == NULL;
}

/* Numbers of groups that went must not lead to others that get them again. */
static void purge(BhIncidents *g) {
        g_hash_table_foreach_remove(g->keys, is_stale, g);
        g_hash_table_foreach_remove(g->reached, is_stale, g);
        g_hash_table_foreach_remove(g->serials, is_lost, g);
        g_hash_table_foreach_remove(g->into, is_lost, g);
        g->lost = FALSE;
}

BhIncident *bh_incidents_restore(BhIncidents *g, guint64 incident, BhIncidentState state, const BhIncidentFinding *f) {
        BhIncidentGroup *x = group_of(g, incident);
        g_autoptr(GArray) keys = bh_incident_keys_of(f);
        BhBasis basis = BH_BASIS_NONE;
        const char *used = NULL;
        Found who = { 0 };
        BhIncident *given_up = NULL;

        g_ptr_array_set_size(g->gone, 0);
        if (!x && g->lost)
                purge(g);
        if (!x)
                x = group_new(g, incident, &given_up);
        /* what tied it to those before it is found as it was then */
        for (guint n = 0; n < keys->len; n++) {
                const BhIncidentKey *k = &g_array_index(keys, BhIncidentKey, n);

                if (k->look)
                        look(g, g->keys, k->key, k->basis, k->target, f->time_ns, BH_INCIDENT_QUIET_NS, &who);
        }
        if (!who.n && has_text(f->container_id)) {
                g_autofree char *own = bh_incident_container_key(f->node, f->container_id);

                look(g, g->reached, own, BH_BASIS_REACHED, 0, f->time_ns, BH_INCIDENT_REACHED_NS, &who);
        }
        for (guint n = 0; n < who.n; n++)
                if (who.groups[n] == x) {
                        basis = who.basis[n];
                        used = who.used[n];
                }
        bh_incident_group_add(x, f, basis, used);
        if (state == BH_INCIDENT_OPEN)
                x->i.state = BH_INCIDENT_OPEN;
        leave_all(g, keys, f, x);
        return &x->i;
}

void bh_incidents_reached(BhIncidents *g, gint64 serial, const char *node, const char *container, gint64 time_ns) {
        const guint64 *known = g_hash_table_lookup(g->serials, &serial);
        BhIncidentGroup *x = known ? group_of(g, *known) : NULL;
        g_autofree char *peer = bh_incident_container_key(node, container);

        if (x)
                leave(g, g->reached, peer, x, time_ns, time_ns, serial, 0, NULL);
}

void bh_incidents_asked(BhIncidents *g, const char *node, const char *asker, const char *container, gint64 time_ns) {
        g_autofree char *from = bh_incident_container_key(node, asker), *to = bh_incident_container_key(node, container);
        const Entry *e = g_hash_table_lookup(g->keys, from);
        BhIncidentGroup *x = e ? group_of(g, e->group) : NULL;

        if (x && distance(&x->i, time_ns) <= BH_INCIDENT_QUIET_NS && !g_hash_table_contains(g->keys, to))
                leave(g, g->keys, to, x, time_ns, time_ns, 0, 0, NULL);
}

static BhIncidentGroup *group_of_container(BhIncidents *g, const char *node, const char *container) {
        g_autofree char *key = bh_incident_container_key(node, container);
        const Entry *e = g_hash_table_lookup(g->keys, key);

        return e ? group_of(g, e->group) : NULL;
}

guint64 bh_incidents_of(BhIncidents *g, const char *node, const char *container) {
        const BhIncidentGroup *x = group_of_container(g, node, container);

        return x && x->i.state == BH_INCIDENT_OPEN ? x->i.id : 0;
}

BhIncident *bh_incidents_asset(BhIncidents *g, const char *node, const char *container, BhAsset asset) {
        BhIncidentGroup *x = group_of_container(g, node, container);

        return x && bh_incident_group_asset(x, node, container, asset) ? &x->i : NULL;
}

/* Where it began in that container; NULL: not there. */
static BhIncidentLine *began_in(const BhIncidentGroup *x, const char *node, const char *container) {
        BhIncidentLine *first = x->i.lines->len ? g_ptr_array_index(x->i.lines, 0) : NULL;

        return first && g_str_equal(first->node, node) && g_str_equal(first->container_id, container) ? first : NULL;
}

/* What comes to the container is this group's, unless a later connection is another's. */
static void leave_use(BhIncidents *g, BhIncidentGroup *x, const BhIncidentUse *u, const BhIncidentLine *read) {
        g_autofree char *key = bh_incident_container_key(u->peer_node, u->peer_container);
        const Entry *e = g_hash_table_lookup(g->reached, key);
        const BhIncidentGroup *has = e ? group_of(g, e->group) : NULL;

        /* said again, and of another program, it is kept: the file that was named first stays, and what follows follows the last */
        if (!has || has == x || e->time_ns < u->time_ns)
                leave(g, g->reached, key, x, u->time_ns, u->time_ns, read->serial, 0, has == x && e->used ? NULL : read->thing);
}

gboolean bh_incidents_used(BhIncidents *g, const BhIncidentUse *u, BhIncidentJoin *out) {
        BhIncidentGroup *x = group_of_container(g, u->node, u->container), *y = group_of_container(g, u->peer_node, u->peer_container);
        const BhIncidentLine *read = x && x->i.state == BH_INCIDENT_OPEN ? read_for(x, u->node, u->container, u->port, u->time_ns) : NULL;

        g_ptr_array_set_size(g->gone, 0);
        *out = (BhIncidentJoin){ .basis = BH_BASIS_CREDENTIAL };
        if (!read || x == y)
                return FALSE;
        leave_use(g, x, u, read);
        BhIncidentLine *first = y && !apart(g, x, y) ? began_in(y, u->peer_node, u->peer_container) : NULL;
        if (!first || y->i.first_ns < u->time_ns - BH_INCIDENT_CLOCK_NS || y->i.first_ns - u->time_ns > BH_INCIDENT_REACHED_NS)
                return FALSE;
        BhIncidentGroup *to = goes_on(y, x) ? y : x, *from = to == x ? y : x;
        /* the line goes along, where there is room for it */
        first->basis = BH_BASIS_CREDENTIAL;
        g_free(first->used);
        first->used = g_strdup(read->thing);
        out->merged_open[0] = from->i.state == BH_INCIDENT_OPEN;
        out->merged[0] = &from->i;
        out->n_merged = 1;
        merge(g, to, from);
        out->incident = &to->i;
        return TRUE;
}

/* ---- what was kept ---- */

void bh_incidents_restore_line(BhIncidents *g, guint64 incident, BhIncidentLine *line) {
        BhIncidentGroup *x = group_of(g, incident);

        if (x)
                bh_incident_group_restore(x, line);
        else
                bh_incident_line_free(line);
}

void bh_incidents_restore_totals(BhIncidents *g, guint64 incident, guint64 findings, guint64 dropped) {
        BhIncidentGroup *x = group_of(g, incident);

        if (!x)
                return;
        x->i.findings = MAX(x->i.findings, findings);
        x->i.lines_dropped = MAX(x->i.lines_dropped, dropped);
}

/* ---- by hand, and by time ---- */

static int by_number(gconstpointer a, gconstpointer b) {
        guint64 x = *(const guint64 *) a, y = *(const guint64 *) b;

        return x < y ? -1 : x > y;
}

GArray *bh_incidents_open(BhIncidents *g) {
        GArray *open = g_array_new(FALSE, FALSE, sizeof(guint64));
        GHashTableIter it;
        gpointer value;

        g_hash_table_iter_init(&it, g->groups);
        while (g_hash_table_iter_next(&it, NULL, &value)) {
                const BhIncidentGroup *x = value;

                if (x->i.state == BH_INCIDENT_OPEN)
                        g_array_append_val(open, x->i.id);
        }
        g_array_sort(open, by_number);
        return open;
}

BhIncident *bh_incidents_get(BhIncidents *g, guint64 id) {
        BhIncidentGroup *x = group_of(g, id);

        return x ? &x->i : NULL;
}

BhIncident *bh_incidents_merge(BhIncidents *g, guint64 into, guint64 from, BhIncident **merged) {
        BhIncidentGroup *a = group_of(g, into), *b = group_of(g, from);

        g_ptr_array_set_size(g->gone, 0);
        if (!a || !b || a == b)
                return NULL;
        /* whoever had taken them apart thinks otherwise now */
        g_hash_table_remove(a->apart, &b->i.id);
        merge(g, a, b);
        *merged = &b->i;
        return &a->i;
}

static gboolean has_container(const BhIncident *i, const char *key) {
        for (guint n = 0; n < i->lines->len; n++) {
                const BhIncidentLine *l = g_ptr_array_index(i->lines, n);
                g_autofree char *own = bh_incident_container_key(l->node, l->container_id);

                if (*l->container_id && g_str_equal(own, key))
                        return TRUE;
        }
        return FALSE;
}

/* What the findings that went had left goes with them; a container only when it is in no line that stays. */
static void move_keys(BhIncidents *g, GHashTable *where, BhIncidentGroup *from, BhIncidentGroup *to, GHashTable *serials) {
        GHashTableIter it;
        gpointer key, value;

        g_hash_table_iter_init(&it, where);
        while (g_hash_table_iter_next(&it, &key, &value)) {
                Entry *e = value;
                gboolean container = *(const char *) key == 'c' && where == g->keys;

                if (group_of(g, e->group) != from)
                        continue;
                if (container ? has_container(&from->i, key) || !has_container(&to->i, key) : !g_hash_table_contains(serials, &e->serial))
                        continue;
                if (e->link) {
                        g_queue_unlink(from->own, e->link);
                        g_queue_push_head_link(to->own, e->link);
                }
                e->group = to->i.id;
        }
}

BhIncident *bh_incidents_split(BhIncidents *g, guint64 id, const char *const *ids, GArray **serials, BhIncident **given_up) {
        BhIncidentGroup *from = group_of(g, id), *to;
        g_autoptr(GHashTable) went = g_hash_table_new(g_int64_hash, g_int64_equal);
        gboolean full = g_hash_table_size(g->groups) >= BH_INCIDENTS_MAX;

        g_ptr_array_set_size(g->gone, 0);
        *given_up = NULL;
        if (!from)
                return NULL;
        to = bh_incident_group_new(g->next);
        *serials = bh_incident_group_split(from, ids, to);
        if (!*serials) {
                bh_incident_group_free(to);
                return NULL;
        }
        if (full) {
                gint64 last = from->i.last_ns;

                from->i.last_ns = G_MAXINT64; /* not this one */
                make_room(g, given_up);
                from->i.last_ns = last;
        }
        g->next++;
        g_hash_table_replace(g->groups, number(to->i.id), to);
        for (guint n = 0; n < (*serials)->len; n++) {
                gint64 *serial = &g_array_index(*serials, gint64, n);

                g_hash_table_add(went, serial);
                if (g_hash_table_contains(g->serials, serial))
                        g_hash_table_replace(g->serials, g_memdup2(serial, sizeof(*serial)), number(to->i.id));
        }
        move_keys(g, g->keys, from, to, went);
        move_keys(g, g->reached, from, to, went);
        g_hash_table_add(from->apart, number(to->i.id));
        g_hash_table_add(to->apart, number(from->i.id));
        return &to->i;
}

void bh_incidents_keep_apart(BhIncidents *g, guint64 a, guint64 b) {
        BhIncidentGroup *x = group_of(g, a), *y = group_of(g, b);

        if (!x || !y || x == y)
                return;
        g_hash_table_add(x->apart, number(y->i.id));
        g_hash_table_add(y->apart, number(x->i.id));
}

gboolean bh_incidents_close(BhIncidents *g, guint64 id) {
        g->lost = TRUE;
        return g_hash_table_remove(g->groups, &id);
}

guint bh_incidents_age(BhIncidents *g, gint64 now_ns, void (*gone)(const BhIncident *i, gpointer data), gpointer data) {
        GHashTableIter it;
        gpointer value;
        guint n = 0;

        g_hash_table_iter_init(&it, g->groups);
        while (g_hash_table_iter_next(&it, NULL, &value)) {
                BhIncidentGroup *x = value;

                if (x->aged_version != x->i.version) {
                        x->aged_version = x->i.version;
                        x->aged_ns = now_ns;
                }
                if (now_ns - MAX(MIN(x->i.last_ns, now_ns), x->aged_ns) <= BH_INCIDENT_QUIET_NS)
                        continue;
                if (gone)
                        gone(&x->i, data);
                g_hash_table_iter_remove(&it);
                n++;
        }
        purge(g);
        return n;
}

void bh_incidents_stats(const BhIncidents *g, BhIncidentStats *out) {
        GHashTableIter it;
        gpointer value;

        *out = g->stats;
        g_hash_table_iter_init(&it, g->groups);
        while (g_hash_table_iter_next(&it, NULL, &value))
                ((BhIncidentGroup *) value)->i.state == BH_INCIDENT_OPEN ? out->open++ : out->forming++;
        out->keys = g_hash_table_size(g->keys) + g_hash_table_size(g->reached);
}

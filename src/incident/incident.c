/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>

#include "incident/group.h"

#define CANDIDATES 16

/* Where a key was seen: in which group, and when last. */
typedef struct {
        guint64 group;
        gint64 time_ns;
        gint64 serial; /* the finding that left it last */
        guint target;  /* with processes of the node: hash of the container that they acted on, 0: none */
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

static void group_free(gpointer p) {
        bh_incident_group_free(p);
}

BhIncidents *bh_incidents_new(guint64 next) {
        BhIncidents *g = g_new0(BhIncidents, 1);

        g->next = next;
        g->groups = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, group_free);
        g->into = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
        g->keys = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        g->reached = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
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

static char *key_of(char kind, const char *node, const char *what) {
        return g_strdup_printf("%c%s\1%s", kind, node ? node : "", what);
}

static char *container_key(const char *node, const char *id) {
        return key_of('c', node, id);
}

static char *process_key(const char *node, guint32 pid, gint64 start_ns) {
        g_autofree char *what = g_strdup_printf("%u\1%" G_GINT64_FORMAT, pid, start_ns);

        return key_of('p', node, what);
}

static char *file_key(const char *node, guint32 dev, guint64 ino) {
        g_autofree char *what = g_strdup_printf("%u\1%" G_GUINT64_FORMAT, dev, ino);

        return key_of('f', node, what);
}

typedef struct {
        char *key;
        BhBasis basis;
        gboolean look, leave; /* for who is there; for who comes later */
        guint target;         /* as in Entry */
} Key;

static void key_clear(gpointer p) {
        g_free(((Key *) p)->key);
}

static void add_key(GArray *keys, char *key, BhBasis basis, gboolean look, gboolean leave) {
        Key k = { key, basis, look, leave, 0 };

        g_array_append_val(keys, k);
}

/* Below these everything on a node begins: to have them in common says nothing. */
static gboolean is_root(const BhIncidentProcess *p) {
        static const char *const names[] = { "systemd", "init", "sshd", "cron", "crond", "dockerd", "containerd", "runc", "crun", "conmon", "crio", "kubelet", "agetty", "login", "atd", "supervisord",
                /* what keeps sessions and containers apart */
                "tmux", "tmux: server", "screen", "SCREEN", "tini", "tini-static", "dumb-init", "catatonit", "s6-svscan", "s6-supervise", "runsv", "runsvdir", "openrc", "anacron", "fcron", "dcron", "busybox-init",
                "systemd-executor", "systemd-logind", "gdm", "lightdm", "sddm", "xrdp", "mosh-server", "ttyd", "podman", "cri-dockerd", "youki", "kata-runtime", "buildkitd", "k3s", "k0s", "rke2", "nomad",
                /* what starts everybody's jobs */
                "Runner.Listener", "Runner.Worker", "gitlab-runner", "buildkite-agent", "agent-runner", "jenkins-agent", "act_runner", "forgejo-runner", "woodpecker-agent", "drone-runner", "concourse",
                "slurmd", "slurmstepd", "pbs_mom", "salt-minion", "puppet", "chef-client", "amazon-ssm-agent", "waagent", "teleport" };
        static const char *const others[] = { "/tmp/", "/var/tmp/", "/dev/shm/", "/run/user/", "/home/", "/root/" };
        g_autofree char *base = p->exe && *p->exe ? g_path_get_basename(p->exe) : NULL;

        if (p->pid <= 2)
                return TRUE;
        if (!base)
                return FALSE;
        /* whoever writes there may call a program what he likes */
        for (guint n = 0; n < G_N_ELEMENTS(others); n++)
                if (g_str_has_prefix(p->exe, others[n]))
                        return FALSE;
        for (guint n = 0; n < G_N_ELEMENTS(names); n++)
                if (g_str_equal(base, names[n]))
                        return TRUE;
        return g_str_has_prefix(base, "containerd-shim") || g_str_has_prefix(base, "systemd-");
}

static gboolean has_text(const char *text) {
        return text && *text;
}

gboolean bh_incident_wrote(const struct bh_event *e) {
        switch (e->type) {
        case BH_EV_OPEN: return bh_event_has(e, BH_F_open_flags) && ((e->open_flags & O_ACCMODE) != O_RDONLY || e->open_flags & (O_CREAT | O_TRUNC));
        case BH_EV_CLOSE_WRITE:
        case BH_EV_RENAME:
        case BH_EV_LINK:
        case BH_EV_CHMOD:
        case BH_EV_CHOWN:
        case BH_EV_SETXATTR:
        case BH_EV_MKNOD: return TRUE;
        default: return FALSE;
        }
}

/* Who writes a file takes nothing from who wrote it before: two who change the same one are two. */
static gboolean takes(const struct bh_event *e) {
        return !bh_incident_wrote(e) || !(e->type == BH_EV_OPEN || e->type == BH_EV_CLOSE_WRITE || e->type == BH_EV_MKNOD);
}

static void keys_of_event(GArray *keys, const BhIncidentFinding *f) {
        const struct bh_event *e = f->event;

        if (bh_event_has(e, BH_F_origin_id) && e->origin_id.len) {
                g_autofree char *origin = g_strndup(e->origin_id.p, e->origin_id.len);

                add_key(keys, container_key(f->node, origin), BH_BASIS_CONTAINER, TRUE, TRUE);
        }
        if (bh_event_has(e, BH_F_dev) && bh_event_has(e, BH_F_ino) && e->ino)
                add_key(keys, file_key(f->node, e->dev, e->ino), BH_BASIS_FILE, takes(e), bh_incident_wrote(e));
        if (bh_event_has(e, BH_F_exe_dev) && bh_event_has(e, BH_F_exe_ino) && e->exe_ino)
                add_key(keys, file_key(f->node, e->exe_dev, e->exe_ino), BH_BASIS_FILE, TRUE, FALSE);
        if (bh_event_has(e, BH_F_target_container_id) && e->target_container_id.len) {
                g_autofree char *target = g_strndup(e->target_container_id.p, e->target_container_id.len);

                add_key(keys, container_key(f->node, target), BH_BASIS_TARGET, TRUE, TRUE);
        } else if (bh_event_has(e, BH_F_target_pid) && bh_event_has(e, BH_F_target_start) && e->target_pid > 2) {
                add_key(keys, process_key(f->node, e->target_pid, (gint64) e->target_start), BH_BASIS_TARGET, TRUE, TRUE);
        }
}

/* The container on which a process of the node acts. Agents go into each, one after the other: that ties no two of them. */
static guint target_of(const struct bh_event *e) {
        if (!e || !bh_event_has(e, BH_F_target_container_id) || !e->target_container_id.len)
                return 0;
        g_autofree char *id = g_strndup(e->target_container_id.p, e->target_container_id.len);
        guint hash = g_str_hash(id);

        return hash ? hash : 1;
}

static GArray *keys_of(const BhIncidentFinding *f) {
        GArray *keys = g_array_new(FALSE, FALSE, sizeof(Key));
        gboolean inside = has_text(f->container_id), from = FALSE;

        g_array_set_clear_func(keys, key_clear);
        if (inside)
                add_key(keys, container_key(f->node, f->container_id), BH_BASIS_CONTAINER, TRUE, TRUE);
        for (guint n = 0; n < f->n_lineage; n++)
                if (has_text(f->lineage[n].origin_id)) {
                        add_key(keys, container_key(f->node, f->lineage[n].origin_id), BH_BASIS_CONTAINER, TRUE, TRUE);
                        from = TRUE;
                }
        if (f->event)
                keys_of_event(keys, f);
        if (!inside && !from && !(f->event && bh_event_has(f->event, BH_F_origin_id))) {
                guint target = target_of(f->event);

                for (guint n = 0; n < f->n_lineage && !is_root(&f->lineage[n]); n++) {
                        add_key(keys, process_key(f->node, f->lineage[n].pid, f->lineage[n].start_ns), BH_BASIS_PROCESS, TRUE, TRUE);
                        g_array_index(keys, Key, keys->len - 1).target = target;
                }
        }
        /* what a process that is known on the node did by its number: a target before */
        else if (f->n_lineage)
                add_key(keys, process_key(f->node, f->lineage[0].pid, f->lineage[0].start_ns), BH_BASIS_TARGET, TRUE, FALSE);
        return keys;
}

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

static void leave(BhIncidents *g, GHashTable *where, const char *key, BhIncidentGroup *x, gint64 time_ns, gint64 serial, guint target) {
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
                e->time_ns = group_of(g, e->group) == x ? MAX(e->time_ns, time_ns) : time_ns;
        } else {
                if (g_hash_table_size(where) >= BH_INCIDENT_KEYS_MAX) {
                        g->stats.keys_dropped++;
                        return;
                }
                e = g_new0(Entry, 1);
                e->time_ns = time_ns;
                k = g_strdup(key);
                g_hash_table_insert(where, k, e);
                if (is_own(key))
                        own(g, x, e, k);
        }
        e->group = x->i.id;
        e->serial = serial;
        e->target = target;
}

/* ---- whose it is ---- */

G_STATIC_ASSERT(CANDIDATES <= G_N_ELEMENTS(((BhIncidentJoin *) NULL)->merged));

typedef struct {
        BhIncidentGroup *groups[CANDIDATES];
        BhBasis basis[CANDIDATES];
        guint n;
} Found;

static void found(Found *out, BhIncidentGroup *x, BhBasis basis) {
        for (guint n = 0; n < out->n; n++)
                if (out->groups[n] == x)
                        return;
        if (out->n < CANDIDATES) {
                out->groups[out->n] = x;
                out->basis[out->n++] = basis;
        }
}

static void look(BhIncidents *g, GHashTable *where, const char *key, BhBasis basis, guint target, gint64 time_ns, gint64 within, Found *out) {
        const Entry *e = g_hash_table_lookup(where, key);
        BhIncidentGroup *x;

        if (!e || !(x = group_of(g, e->group)) || (target && e->target && target != e->target))
                return;
        /* numbers of files are given again, so that a file is known by its own time */
        if (basis == BH_BASIS_FILE && ABS(time_ns - e->time_ns) > within)
                return;
        if (basis == BH_BASIS_REACHED ? ABS(time_ns - e->time_ns) > within : distance(&x->i, time_ns) > within)
                return;
        found(out, x, basis);
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

static void leave_all(BhIncidents *g, GArray *keys, const BhIncidentFinding *f, BhIncidentGroup *x) {
        gint64 time_ns = MAX(f->time_ns, f->last_ns);

        for (guint n = 0; n < keys->len; n++) {
                const Key *k = &g_array_index(keys, Key, n);

                if (k->leave)
                        leave(g, g->keys, k->key, x, time_ns, f->serial, k->target);
        }
        if (has_text(f->peer_container) && !incoming(f)) {
                g_autofree char *peer = container_key(f->peer_node ? f->peer_node : f->node, f->peer_container);

                leave(g, g->reached, peer, x, time_ns, f->serial, 0);
        }
        if (g_hash_table_size(g->serials) < BH_INCIDENT_SERIALS_MAX || g_hash_table_contains(g->serials, &f->serial))
                g_hash_table_replace(g->serials, g_memdup2(&f->serial, sizeof(f->serial)), number(x->i.id));
}

/* What came of a connection may be told before it: each node tells at its own pace, and an act of a web request waits for what the inspector says of it. */
static void look_ahead(BhIncidents *g, const BhIncidentFinding *f, Found *out) {
        if (!has_text(f->peer_container) || incoming(f))
                return;
        g_autofree char *peer = container_key(f->peer_node ? f->peer_node : f->node, f->peer_container);
        const Entry *e = g_hash_table_lookup(g->keys, peer);
        BhIncidentGroup *x = e ? group_of(g, e->group) : NULL;

        if (x && x->i.first_ns >= f->time_ns && x->i.first_ns - f->time_ns <= BH_INCIDENT_REACHED_NS)
                found(out, x, BH_BASIS_REACHED);
}

BhIncidentJoin bh_incidents_finding(BhIncidents *g, const BhIncidentFinding *f) {
        BhIncidentJoin out = { 0 };
        Found who = { 0 };
        const guint64 *known = g_hash_table_lookup(g->serials, &f->serial);
        BhIncidentGroup *x = known ? group_of(g, *known) : NULL;
        g_autoptr(GArray) keys = NULL;
        BhIncidentState was;

        g_ptr_array_set_size(g->gone, 0);
        if (!known)
                g->stats.findings++;
        else if (!x)
                return out; /* of one that is closed or has gone */
        keys = keys_of(f);
        if (x) {
                out.basis = BH_BASIS_NONE;
        } else {
                for (guint n = 0; n < keys->len; n++) {
                        const Key *k = &g_array_index(keys, Key, n);

                        if (k->look)
                                look(g, g->keys, k->key, k->basis, k->target, f->time_ns, BH_INCIDENT_QUIET_NS, &who);
                }
                if (!any_open(&who) && has_text(f->container_id)) {
                        g_autofree char *own = container_key(f->node, f->container_id);

                        look(g, g->reached, own, BH_BASIS_REACHED, 0, f->time_ns, BH_INCIDENT_REACHED_NS, &who);
                        if (!who.n && has_text(f->peer_container) && incoming(f)) {
                                g_autofree char *peer = container_key(f->peer_node ? f->peer_node : f->node, f->peer_container);

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
        out.is_new_line = bh_incident_group_add(x, f, out.basis);
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
        g_autoptr(GArray) keys = keys_of(f);
        BhBasis basis = BH_BASIS_NONE;
        Found who = { 0 };
        BhIncident *given_up = NULL;

        g_ptr_array_set_size(g->gone, 0);
        if (!x && g->lost)
                purge(g);
        if (!x)
                x = group_new(g, incident, &given_up);
        /* what tied it to those before it is found as it was then */
        for (guint n = 0; n < keys->len; n++) {
                const Key *k = &g_array_index(keys, Key, n);

                if (k->look)
                        look(g, g->keys, k->key, k->basis, k->target, f->time_ns, BH_INCIDENT_QUIET_NS, &who);
        }
        if (!who.n && has_text(f->container_id)) {
                g_autofree char *own = container_key(f->node, f->container_id);

                look(g, g->reached, own, BH_BASIS_REACHED, 0, f->time_ns, BH_INCIDENT_REACHED_NS, &who);
        }
        for (guint n = 0; n < who.n; n++)
                if (who.groups[n] == x)
                        basis = who.basis[n];
        bh_incident_group_add(x, f, basis);
        if (state == BH_INCIDENT_OPEN)
                x->i.state = BH_INCIDENT_OPEN;
        leave_all(g, keys, f, x);
        return &x->i;
}

void bh_incidents_reached(BhIncidents *g, gint64 serial, const char *node, const char *container, gint64 time_ns) {
        const guint64 *known = g_hash_table_lookup(g->serials, &serial);
        BhIncidentGroup *x = known ? group_of(g, *known) : NULL;
        g_autofree char *peer = container_key(node, container);

        if (x)
                leave(g, g->reached, peer, x, time_ns, serial, 0);
}

void bh_incidents_asked(BhIncidents *g, const char *node, const char *asker, const char *container, gint64 time_ns) {
        g_autofree char *from = container_key(node, asker), *to = container_key(node, container);
        const Entry *e = g_hash_table_lookup(g->keys, from);
        BhIncidentGroup *x = e ? group_of(g, e->group) : NULL;

        if (x && distance(&x->i, time_ns) <= BH_INCIDENT_QUIET_NS && !g_hash_table_contains(g->keys, to))
                leave(g, g->keys, to, x, time_ns, 0, 0);
}

static BhIncidentGroup *group_of_container(BhIncidents *g, const char *node, const char *container) {
        g_autofree char *key = container_key(node, container);
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
                g_autofree char *own = container_key(l->node, l->container_id);

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

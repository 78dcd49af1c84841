/* SPDX-License-Identifier: Apache-2.0 */
#include "askers.h"

#include <string.h>
#include <sys/socket.h>

#define VAR "/var"

enum { DOCKER, CONTAINERD, SOCKETS };

typedef struct {
        guint32 pid;
        guint64 start;
        guint64 connected_ns, ended_ns; /* since the epoch; ended 0: it lives */
        guint sockets;                  /* bits: to which it connected */
        char *who;
} Asker;

typedef struct {
        char *id, *by;
        guint64 time_ns;
} Kill;

struct BhAskers {
        char *path[SOCKETS];
        GQueue kills; /* Kill, the oldest at the head */
        GQueue askers; /* Asker, the one that connected last at the head */
        gboolean forgot;

        GMutex lock; /* of the two below */
        GHashTable *makers; /* path of a cgroup → who made it */
        GQueue paths;       /* of these, the oldest at the head; owned by the hash table */
};

static void asker_free(gpointer data) {
        Asker *k = data;

        g_free(k->who);
        g_free(k);
}

static void kill_free(gpointer data) {
        Kill *k = data;

        g_free(k->id);
        g_free(k->by);
        g_free(k);
}

/* /var/run is /run wherever these programs run. */
static const char *plain(const char *path) {
        return g_str_has_prefix(path, VAR "/run/") ? path + strlen(VAR) : path;
}

BhAskers *bh_askers_new(const char *docker_socket, const char *containerd_socket) {
        BhAskers *a = g_new0(BhAskers, 1);

        a->path[DOCKER] = g_strdup(docker_socket ? plain(docker_socket) : NULL);
        a->path[CONTAINERD] = g_strdup(containerd_socket ? plain(containerd_socket) : NULL);
        g_queue_init(&a->askers);
        g_queue_init(&a->kills);
        g_mutex_init(&a->lock);
        a->makers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        g_queue_init(&a->paths);
        return a;
}

void bh_askers_free(BhAskers *a) {
        if (!a)
                return;
        for (guint i = 0; i < SOCKETS; i++)
                g_free(a->path[i]);
        g_queue_clear_full(&a->askers, asker_free);
        g_queue_clear_full(&a->kills, kill_free);
        g_queue_clear(&a->paths);
        g_hash_table_unref(a->makers);
        g_mutex_clear(&a->lock);
        g_free(a);
}

static guint socket_of(const BhAskers *a, const struct bh_event *e) {
        if (!bh_event_has(e, BH_F_path) || !bh_event_has(e, BH_F_family) || e->family != AF_UNIX || (bh_event_has(e, BH_F_ret) && e->ret < 0) || bh_event_has(e, BH_F_target_container_id))
                return SOCKETS;

        g_autofree char *path = g_strndup(e->path.p, e->path.len);
        for (guint i = 0; i < SOCKETS; i++)
                if (a->path[i] && strcmp(plain(path), a->path[i]) == 0)
                        return i;
        return SOCKETS;
}

static void append(GString *out, struct bh_str s) {
        g_string_append_len(out, s.p, s.len);
}

static char *tell(struct bh_str program, struct bh_str user, guint32 uid, guint32 pid, const char *relation, struct bh_str container) {
        GString *out = g_string_new(NULL);

        append(out, program);
        g_string_append(out, " (");
        if (user.len) {
                g_string_append(out, "user ");
                append(out, user);
        } else {
                g_string_append_printf(out, "uid %u", uid);
        }
        g_string_append_printf(out, ", pid %u)", pid);
        if (container.len) {
                g_string_append(out, relation);
                append(out, container);
        }
        return g_string_free(out, FALSE);
}

static char *describe(const struct bh_event *e) {
        gboolean in = bh_event_has(e, BH_F_container_id), from = !in && bh_event_has(e, BH_F_origin_id);
        struct bh_str none = { NULL, 0 }, container = none;

        if (in)
                container = bh_event_has(e, BH_F_container_name) ? e->container_name : e->container_id;
        else if (from)
                container = bh_event_has(e, BH_F_origin_name) ? e->origin_name : e->origin_id;
        return tell(bh_event_has(e, BH_F_exe) ? e->exe : e->comm, bh_event_has(e, BH_F_proc_user) ? e->proc_user : none, e->uid, e->pid, in ? " in container " : " from container ", container);
}

/* crun runs from a mount of itself alone, whose path is "/"; others from memory. There its name for itself says more. */
static struct bh_str program_of(const struct bh_lineage_process *p) {
        return p->exe.len > 1 && p->exe.p[0] == '/' ? p->exe : p->comm;
}

/* Programs that a container's engine is made of, from the lowest to those that people call. */
static gboolean is_runtime(const struct bh_lineage_process *p) {
        static const char *const programs[] = { "runc", "crun", "youki", "conmon", "conmonrs", "buildah", "podman", "crio" };
        struct bh_str program = program_of(p);

        if (!program.len)
                return FALSE;
        g_autofree char *path = g_strndup(program.p, program.len), *name = g_path_get_basename(path);

        for (gsize i = 0; i < G_N_ELEMENTS(programs); i++)
                if (strcmp(name, programs[i]) == 0)
                        return TRUE;
        return FALSE;
}

char *bh_askers_maker(const struct bh_event *e, const struct bh_lineage *lineage) {
        struct bh_lineage_process p, up;
        struct bh_lineage_container in = { 0 };
        struct bh_str user = { NULL, 0 };

        if (!lineage->find(lineage->data, e->pid, e->proc_start, &p))
                return g_strdup("");
        for (guint n = 0; n < BH_ASKERS_ABOVE && lineage->parent(lineage->data, &p, &up) && is_runtime(&up); n++)
                p = up;
        if (lineage->user && (p.flags & BH_LP_CRED) && !p.container_id.len && !lineage->user(lineage->data, e, p.uid, FALSE, &user))
                user.len = 0;
        if (p.container_id.len && (!lineage->container || !lineage->container(lineage->data, p.container_id, &in) || !in.name.len))
                in.name = p.container_id;
        return tell(program_of(&p), user, p.uid, p.pid, " in container ", in.name);
}

void bh_askers_keep_maker(BhAskers *a, const struct bh_event *e, const struct bh_lineage *lineage) {
        struct bh_lineage_process p;

        if (!lineage->find(lineage->data, e->pid, e->proc_start, &p) || !is_runtime(&p))
                return;

        char *path = g_strndup(e->cgroup_path.p, e->cgroup_path.len), *who = bh_askers_maker(e, lineage);
        gpointer had;

        g_mutex_lock(&a->lock);
        if (g_hash_table_lookup_extended(a->makers, path, &had, NULL))
                g_queue_remove(&a->paths, had);
        else if (g_queue_get_length(&a->paths) >= BH_ASKERS_MAX)
                g_hash_table_remove(a->makers, g_queue_pop_head(&a->paths));
        g_hash_table_replace(a->makers, path, who);
        g_queue_push_tail(&a->paths, path);
        g_mutex_unlock(&a->lock);
}

char *bh_askers_made(BhAskers *a, const char *path) {
        g_mutex_lock(&a->lock);
        char *who = g_strdup(g_hash_table_lookup(a->makers, path));
        g_mutex_unlock(&a->lock);
        return who;
}

static GList *find(const BhAskers *a, guint32 pid, guint64 start) {
        for (GList *l = a->askers.head; l; l = l->next) {
                const Asker *k = l->data;

                if (k->pid == pid && k->start == start)
                        return l;
        }
        return NULL;
}

/* Makes room for one. */
static void make_room(BhAskers *a, guint64 now_ns) {
        GList *victim = NULL;

        for (GList *l = a->askers.tail, *before; l; l = before) {
                const Asker *k = l->data;

                before = l->prev;
                if (k->ended_ns && now_ns > k->ended_ns + BH_ASKERS_KEEP_NS) {
                        asker_free(l->data);
                        g_queue_delete_link(&a->askers, l);
                } else if (!victim && k->ended_ns) {
                        victim = l;
                }
        }
        if (g_queue_get_length(&a->askers) < BH_ASKERS_MAX)
                return;
        if (!victim) {
                victim = a->askers.tail;
                a->forgot = TRUE;
        }
        asker_free(victim->data);
        g_queue_delete_link(&a->askers, victim);
}

void bh_askers_event(BhAskers *a, const struct bh_event *e) {
        GList *l;

        if (e->type == BH_EV_EXIT) {
                if (a->askers.head && (l = find(a, e->pid, e->proc_start)))
                        ((Asker *) l->data)->ended_ns = e->time;
                return;
        }
        if (e->type != BH_EV_CONNECT)
                return;

        guint socket = socket_of(a, e);
        if (socket == SOCKETS)
                return;
        if ((l = find(a, e->pid, e->proc_start))) {
                g_queue_unlink(&a->askers, l);
                g_queue_push_head_link(&a->askers, l);
                g_free(((Asker *) l->data)->who); /* it may have become another program */
        } else {
                make_room(a, e->time);
                g_queue_push_head(&a->askers, g_new0(Asker, 1));
        }

        Asker *k = a->askers.head->data;
        if (!k->connected_ns)
                k->connected_ns = e->time;
        k->pid = e->pid;
        k->start = e->proc_start;
        k->ended_ns = 0;
        k->sockets |= 1u << socket;
        k->who = describe(e);
}

char *bh_askers_of(const BhAskers *a, const struct bh_event *e) {
        static const char containerd[] = "containerd";
        guint socket = bh_event_has(e, BH_F_container_runtime) && e->container_runtime.len == strlen(containerd) && memcmp(e->container_runtime.p, containerd, strlen(containerd)) == 0 ? CONTAINERD : DOCKER;
        GString *out = g_string_new(NULL);
        guint n = 0;

        for (const GList *l = a->askers.head; l; l = l->next) {
                const Asker *k = l->data;

                if (!(k->sockets >> socket & 1) || k->connected_ns > e->time || (k->ended_ns && k->ended_ns < e->time))
                        continue;
                if (n++ < BH_ASKERS_NAMED)
                        g_string_append_printf(out, "%s%s", out->len ? "; " : "", k->who);
        }
        if (n > BH_ASKERS_NAMED)
                g_string_append_printf(out, "; %u more", n - BH_ASKERS_NAMED);
        if (n && a->forgot)
                g_string_append(out, "; others");
        if (n > 1 || (n && a->forgot))
                g_string_prepend(out, "one of: ");
        return g_string_free(out, FALSE);
}

void bh_askers_kill(BhAskers *a, const char *id, const char *by, guint64 time_ns) {
        Kill *k = g_new(Kill, 1);

        *k = (Kill){ g_strdup(id), g_strdup(by), time_ns };
        g_queue_push_tail(&a->kills, k);
        if (g_queue_get_length(&a->kills) > BH_ASKERS_MAX)
                kill_free(g_queue_pop_head(&a->kills));
}

char *bh_askers_killer(BhAskers *a, const char *id, guint64 time_ns) {
        char *by = NULL;

        for (GList *l = a->kills.tail, *before; l; l = before) {
                Kill *k = l->data;

                before = l->prev;
                if (strcmp(k->id, id) != 0)
                        continue;
                if (!by && *k->by && time_ns <= k->time_ns + BH_ASKERS_KILL_NS)
                        by = g_strdup(k->by);
                kill_free(k);
                g_queue_delete_link(&a->kills, l);
        }
        return by;
}

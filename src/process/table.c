/* SPDX-License-Identifier: Apache-2.0 */
#include "process/table.h"

#include <fcntl.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "process/table_private.h"

/* ---- queues ---- */

static void queue_remove(BhProcessTable *t, struct bh_process *p) {
        struct bh_queue_head *q = &t->queues[p->queue];

        *(p->q_prev ? &p->q_prev->q_next : &q->first) = p->q_next;
        *(p->q_next ? &p->q_next->q_prev : &q->last) = p->q_prev;
        p->q_prev = p->q_next = NULL;
        q->n--;
}

static void queue_append(BhProcessTable *t, struct bh_process *p, enum bh_queue queue) {
        struct bh_queue_head *q = &t->queues[queue];

        p->queue = queue;
        p->q_prev = q->last;
        p->q_next = NULL;
        *(q->last ? &q->last->q_next : &q->first) = p;
        q->last = p;
        q->n++;
}

void bh_table_touch(BhProcessTable *t, struct bh_process *p) {
        if (p->queue == BH_QUEUE_LIVE && p->q_next) {
                queue_remove(t, p);
                queue_append(t, p, BH_QUEUE_LIVE);
        }
}

/* ---- lineage ---- */

static void unlink_child(struct bh_process *p) {
        if (!p->parent)
                return;
        *(p->prev_sibling ? &p->prev_sibling->next_sibling : &p->parent->first_child) = p->next_sibling;
        if (p->next_sibling)
                p->next_sibling->prev_sibling = p->prev_sibling;
        p->parent = p->next_sibling = p->prev_sibling = NULL;
}

static void attach_child(struct bh_process *p, struct bh_process *parent) {
        p->parent = parent;
        if (!parent)
                return;
        p->next_sibling = parent->first_child;
        if (p->next_sibling)
                p->next_sibling->prev_sibling = p;
        parent->first_child = p;
}

void bh_table_link(struct bh_process *p, struct bh_process *parent) {
        /* never a circle, whatever a record or a torn /proc says; what has no children can only close one with itself */
        if (parent == p)
                return;
        for (struct bh_process *up = p->first_child ? parent : NULL; up; up = up->parent) {
                if (up == p)
                        return;
        }
        unlink_child(p);
        attach_child(p, parent);
        p->relinked = FALSE;
}

struct bh_process *bh_table_parent_of(BhProcessTable *t, const struct bh_process *child, guint32 ppid) {
        struct bh_process *p = ppid ? g_hash_table_lookup(t->by_pid, GUINT_TO_POINTER(ppid)) : NULL;

        while (p && p->start > child->start + BH_START_SLACK_NS)
                p = p->older;
        return p == child ? NULL : p;
}

/* ---- entries ---- */

/*
 * A process found in /proc and the same one heard of from the kernel: fewer than two ticks apart. Two exact times must be equal.
 */
struct bh_process *bh_table_find(BhProcessTable *t, guint32 pid, guint64 start, gboolean exact) {
        struct bh_process *p = g_hash_table_lookup(t->by_pid, GUINT_TO_POINTER(pid));

        if (!start)
                return p;
        for (; p; p = p->older) {
                if (p->exact && exact) {
                        if (p->start == start)
                                return p;
                        continue;
                }

                guint64 apart = p->start > start ? p->start - start : start - p->start;
                if (apart >= BH_START_SLACK_NS)
                        continue;
                if (exact) {
                        p->start = start;
                        p->exact = TRUE;
                }
                return p;
        }
        return NULL;
}

static void forget(BhProcessTable *t, struct bh_process *p) {
        struct bh_process *first = g_hash_table_lookup(t->by_pid, GUINT_TO_POINTER(p->pid));

        if (first == p) {
                if (p->older)
                        g_hash_table_insert(t->by_pid, GUINT_TO_POINTER(p->pid), p->older);
                else
                        g_hash_table_remove(t->by_pid, GUINT_TO_POINTER(p->pid));
        } else {
                while (first->older != p)
                        first = first->older;
                first->older = p->older;
        }
}

void bh_table_remove(BhProcessTable *t, struct bh_process *p) {
        while (p) {
                struct bh_process *parent = p->parent, *child;

                /* children go to the grandparent, and remember what the parent was */
                while ((child = p->first_child)) {
                        gboolean first_time = !child->relinked;

                        unlink_child(child);
                        attach_child(child, parent);
                        child->relinked = TRUE;
                        if (first_time) {
                                child->gone_exe = bh_shared_ref(p->exe);
                                if (p->comm[0])
                                        child->gone_comm = bh_shared_get(&t->shared, p->comm, strlen(p->comm));
                        }
                }
                unlink_child(p);
                forget(t, p);
                queue_remove(t, p);
                bh_shared_put(&t->shared, &p->exe);
                bh_shared_put(&t->shared, &p->args);
                bh_shared_put(&t->shared, &p->cred);
                bh_shared_put(&t->shared, &p->env);
                bh_shared_put(&t->shared, &p->cwd);
                bh_shared_put(&t->shared, &p->gone_exe);
                bh_shared_put(&t->shared, &p->gone_comm);
                g_free(p);

                /* one that was held for its descendants only */
                p = parent && parent->queue == BH_QUEUE_HELD && !parent->first_child ? parent : NULL;
        }
}

/* Makes room for one more entry. `keep` stays. */
static void bound(BhProcessTable *t, const struct bh_process *keep) {
        while (t->queues[BH_QUEUE_LIVE].n > t->config.max_live) {
                struct bh_process *p = t->queues[BH_QUEUE_LIVE].first;

                if (p == keep)
                        break;
                t->stats.evicted_live++;
                bh_table_remove(t, p);
        }
        while (t->queues[BH_QUEUE_DEAD].n + t->queues[BH_QUEUE_HELD].n > t->config.max_dead) {
                struct bh_process *p = t->queues[BH_QUEUE_HELD].first ? t->queues[BH_QUEUE_HELD].first : t->queues[BH_QUEUE_DEAD].first;

                if (p == keep)
                        break;
                t->stats.evicted_dead++;
                bh_table_remove(t, p);
        }
}

void bh_table_exit(BhProcessTable *t, struct bh_process *p, guint64 when) {
        if (p->queue != BH_QUEUE_LIVE)
                return;
        p->exited = when ? when : 1;
        queue_remove(t, p);
        queue_append(t, p, BH_QUEUE_DEAD);
        bound(t, p);
}

struct bh_process *bh_table_insert(BhProcessTable *t, guint32 pid, guint64 start, gboolean exact) {
        struct bh_process *first = g_hash_table_lookup(t->by_pid, GUINT_TO_POINTER(pid)), *p = g_new0(struct bh_process, 1);

        p->pid = pid;
        p->start = start;
        p->exact = exact;
        queue_append(t, p, BH_QUEUE_LIVE);
        if (!first || first->start <= start) {
                p->older = first;
                g_hash_table_insert(t->by_pid, GUINT_TO_POINTER(pid), p);
                if (first && first->queue == BH_QUEUE_LIVE) {
                        t->stats.exits_missed++;
                        bh_table_exit(t, first, start);
                }
        } else {
                /* late news of an earlier one: it is over already */
                while (first->older && first->older->start > start)
                        first = first->older;
                p->older = first->older;
                first->older = p;
                bh_table_exit(t, p, first->start);
        }
        bound(t, p);
        return p;
}

void bh_process_sweep(BhProcessTable *t, guint64 now) {
        struct bh_process *p;

        while ((p = t->queues[BH_QUEUE_DEAD].first) && p->exited + t->config.retain_ns <= now) {
                if (p->first_child) {
                        queue_remove(t, p);
                        queue_append(t, p, BH_QUEUE_HELD);
                } else {
                        bh_table_remove(t, p);
                }
        }
}

/* ---- members ---- */

void bh_table_set(BhProcessTable *t, struct bh_shared **member, const void *data, gsize len) {
        struct bh_shared *share = bh_shared_get(&t->shared, data, len);

        bh_shared_put(&t->shared, member);
        *member = share;
}

void bh_table_set_args(BhProcessTable *t, struct bh_process *p, const void *args, gsize len, gboolean cut) {
        bh_table_set(t, &p->args, args, MIN(len, BH_TABLE_ARGS_MAX));
        p->flags &= ~(guint32) BH_RF_ARGS_CUT;
        if (cut || len > BH_TABLE_ARGS_MAX)
                p->flags |= BH_RF_ARGS_CUT;
}

void bh_table_set_cgroup(BhProcessTable *t, struct bh_process *p, guint64 cgroup, const char *path) {
        if (cgroup)
                p->cgroup = cgroup;
        if (!p->origin && cgroup && t->config.container_of)
                p->origin = t->config.container_of(cgroup, path, t->config.data);
}

void bh_table_set_more(BhProcessTable *t, struct bh_process *p, const struct bh_event *e) {
        if (bh_event_has(e, BH_F_sid) && bh_event_has(e, BH_F_pgid)) {
                p->sid = e->sid;
                p->pgid = e->pgid;
                p->tty = e->tty;
                p->known |= BH_LP_SESSION;
        }
        if (bh_event_has(e, BH_F_loginuid)) {
                p->loginuid = e->loginuid;
                p->known |= BH_LP_LOGIN;
        }
        if (bh_event_has(e, BH_F_exe_mode)) {
                p->exe_mode = e->exe_mode;
                p->exe_uid = e->exe_uid;
                p->exe_mtime = e->exe_mtime;
                p->known |= BH_LP_EXE;
        }
        if (bh_event_has(e, BH_F_env))
                bh_table_set(t, &p->env, e->env.p, MIN(e->env.len, BH_TABLE_ENV_MAX));
        if (bh_event_has(e, BH_F_cwd))
                bh_table_set(t, &p->cwd, e->cwd.p, e->cwd.len);
}

void bh_table_set_comm(struct bh_process *p, const struct bh_str *comm) {
        gsize n = MIN(comm->len, sizeof(p->comm) - 1);

        memcpy(p->comm, comm->p, n);
        memset(p->comm + n, 0, sizeof(p->comm) - n);
}

void bh_table_forget_program(BhProcessTable *t, struct bh_process *p, const char *exe, gsize len) {
        struct bh_shared **const members[] = { &p->args, &p->env, &p->cwd };

        for (guint i = 0; i < G_N_ELEMENTS(members); i++)
                bh_shared_put(&t->shared, members[i]);
        p->comm[0] = 0;
        if (p->exe && p->exe->len == len && memcmp(p->exe->data, exe, len) == 0)
                return;
        bh_shared_put(&t->shared, &p->exe);
        p->flags = 0;
}

void bh_table_fill(BhProcessTable *t, struct bh_process *p, const BhProcfs *info, guint64 cgroup) {
        p->stub = FALSE;
        if (!p->exe && info->exe) {
                bh_table_set(t, &p->exe, info->exe, info->exe_len);
                p->exe_dev = info->exe_dev;
                p->exe_ino = info->exe_ino;
                p->exe_ctime = info->exe_ctime;
                p->flags |= info->flags & (BH_RF_EXE_DELETED | BH_RF_EXE_MEMFD);
                p->exe_mode = info->exe_mode;
                p->exe_uid = info->exe_uid;
                p->exe_mtime = info->exe_mtime;
                p->known |= BH_LP_EXE;
        }
        if (!(p->known & BH_LP_SESSION) && info->sid) {
                p->sid = info->sid;
                p->pgid = info->pgid;
                p->tty = info->tty;
                p->known |= BH_LP_SESSION;
        }
        if (!(p->known & BH_LP_LOGIN)) {
                p->loginuid = info->loginuid;
                p->known |= BH_LP_LOGIN;
        }
        if (!p->env && info->env)
                bh_table_set(t, &p->env, info->env, MIN(info->env_len, BH_TABLE_ENV_MAX));
        if (!p->cwd && info->cwd)
                bh_table_set(t, &p->cwd, info->cwd, info->cwd_len);
        if (!p->args && info->args)
                bh_table_set_args(t, p, info->args, info->args_len, (info->flags & BH_RF_ARGS_CUT) != 0);
        if (!p->cred && info->has_cred)
                bh_table_set(t, &p->cred, &info->cred, sizeof(info->cred));
        if (!p->comm[0])
                memcpy(p->comm, info->comm, sizeof(p->comm));
        if (!p->vpid)
                p->vpid = info->vpid;
        if (!p->ppid)
                p->ppid = info->ppid;
        if (!p->cgroup)
                bh_table_set_cgroup(t, p, cgroup, info->cgroup);
        if (!p->parent)
                bh_table_link(p, bh_table_parent_of(t, p, info->ppid));
        if (!p->origin && p->parent)
                p->origin = p->parent->origin;
}

/* ---- events ---- */

/* The actor's entry, made if there is none. */
static struct bh_process *actor(BhProcessTable *t, struct bh_decoded *d) {
        const struct bh_event *e = &d->event;
        struct bh_process *p = bh_table_find(t, e->pid, d->start, TRUE);

        if (p || !d->start)
                return p;
        p = bh_table_insert(t, e->pid, d->start, TRUE);
        p->ppid = e->ppid;
        bh_table_link(p, bh_table_parent_of(t, p, e->ppid));
        bh_table_set_cgroup(t, p, e->cgroup, NULL);
        return p;
}

static void on_fork(BhProcessTable *t, struct bh_decoded *d) {
        const struct bh_event *e = &d->event;
        struct bh_process *parent, *child;

        if (!bh_event_has(e, BH_F_child_pid) || !d->child_start)
                return;
        child = bh_table_find(t, e->child_pid, d->child_start, TRUE);
        if (!child)
                child = bh_table_insert(t, e->child_pid, d->child_start, TRUE);
        /* after the insertion, which may have evicted it */
        parent = bh_table_find(t, e->pid, d->start, TRUE);
        child->announced = TRUE;
        child->ppid = e->clone_flags & CLONE_PARENT ? e->ppid : e->pid;
        child->vpid = e->child_vpid ? e->child_vpid : child->vpid;
        if (parent)
                bh_table_link(child, parent);
        /* a scan or a later event may have told of it before; what it has is younger than the parent's */
        if (parent && !child->exe) {
                child->exe = bh_shared_ref(parent->exe);
                child->exe_dev = parent->exe_dev;
                child->exe_ino = parent->exe_ino;
                child->exe_ctime = parent->exe_ctime;
                child->flags |= parent->flags;
                if (!child->args)
                        child->args = bh_shared_ref(parent->args);
                child->exe_mode = parent->exe_mode;
                child->exe_uid = parent->exe_uid;
                child->exe_mtime = parent->exe_mtime;
                child->known |= parent->known & BH_LP_EXE;
        }
        if (parent && !(child->known & BH_LP_SESSION)) {
                child->sid = parent->sid;
                child->pgid = parent->pgid;
                child->tty = parent->tty;
                child->known |= parent->known & BH_LP_SESSION;
        }
        if (parent && !(child->known & BH_LP_LOGIN)) {
                child->loginuid = parent->loginuid;
                child->known |= parent->known & BH_LP_LOGIN;
        }
        if (parent && !child->env)
                child->env = bh_shared_ref(parent->env);
        if (parent && !child->cwd)
                child->cwd = bh_shared_ref(parent->cwd);
        if (parent && !child->cred)
                child->cred = bh_shared_ref(parent->cred);
        if (!child->comm[0] && bh_event_has(e, BH_F_comm))
                bh_table_set_comm(child, &e->comm);
        if (child->exe)
                child->stub = FALSE;
        if (d->child_origin)
                child->origin = d->child_origin;
        else if (!child->origin && parent)
                child->origin = parent->origin ? parent->origin : d->origin;
        bh_table_set_cgroup(t, child, bh_event_has(e, BH_F_child_cgroup) ? e->child_cgroup : e->cgroup, NULL);
}

static void on_exec(BhProcessTable *t, struct bh_decoded *d) {
        const struct bh_event *e = &d->event;
        struct bh_process *p = actor(t, d);

        if (!p)
                return;
        p->announced = TRUE;
        p->stub = FALSE;
        p->flags = (guint32) e->flags & (BH_RF_EXE_DELETED | BH_RF_EXE_MEMFD | BH_RF_EXE_UPPER | BH_RF_EXE_LOWER);
        if (bh_event_has(e, BH_F_exe))
                bh_table_set(t, &p->exe, e->exe.p, e->exe.len);
        else
                bh_shared_put(&t->shared, &p->exe);
        if (bh_event_has(e, BH_F_args))
                bh_table_set_args(t, p, e->args.p, e->args.len, (e->flags & BH_RF_ARGS_CUT) != 0);
        else
                bh_shared_put(&t->shared, &p->args);
        p->exe_dev = e->exe_dev;
        p->exe_ino = e->exe_ino;
        p->exe_ctime = e->exe_ctime;
        if (bh_event_has(e, BH_F_vpid))
                p->vpid = e->vpid;
        if (bh_event_has(e, BH_F_comm))
                bh_table_set_comm(p, &e->comm);
        if (d->has_cred)
                bh_table_set(t, &p->cred, &d->cred, sizeof(d->cred));
        bh_table_set_more(t, p, e);
        bh_table_set_cgroup(t, p, e->cgroup, NULL);
}

static void on_creds(BhProcessTable *t, struct bh_decoded *d) {
        struct bh_process *p = bh_table_find(t, d->event.pid, d->start, TRUE);

        if (!p)
                return;
        if (!d->has_cred_old && p->cred) {
                memcpy(&d->cred_old, p->cred->data, sizeof(d->cred_old));
                d->has_cred_old = TRUE;
                bh_event_set_cred_old(&d->event, &d->cred_old);
        }
        if (d->has_cred)
                bh_table_set(t, &p->cred, &d->cred, sizeof(d->cred));
}

static void on_cgroup_attach(BhProcessTable *t, struct bh_decoded *d) {
        const struct bh_event *e = &d->event;
        struct bh_process *p = bh_event_has(e, BH_F_target_pid) ? bh_table_find(t, e->target_pid, d->target_start, TRUE) : NULL;

        if (p && bh_event_has(e, BH_F_target_cgroup)) {
                g_autofree char *path = bh_event_has(e, BH_F_cgroup_path) ? g_strndup(e->cgroup_path.p, e->cgroup_path.len) : NULL;

                bh_table_set_cgroup(t, p, e->target_cgroup, path);
        }
}

void bh_process_update(BhProcessTable *t, struct bh_decoded *d) {
        const struct bh_event *e = &d->event;
        struct bh_process *p;

        switch (e->type) {
        case BH_EV_FORK:
                on_fork(t, d);
                break;
        case BH_EV_EXEC:
                on_exec(t, d);
                break;
        case BH_EV_EXIT:
                p = bh_table_find(t, e->pid, d->start, TRUE);
                if (p)
                        bh_table_exit(t, p, e->boottime);
                bh_process_sweep(t, e->boottime);
                break;
        case BH_EV_CREDS:
                on_creds(t, d);
                break;
        case BH_EV_COMM:
                /* other threads have names of their own */
                if (!bh_event_has(e, BH_F_name))
                        break;
                if (bh_event_has(e, BH_F_target_pid))
                        p = bh_table_find(t, e->target_pid, d->target_start, TRUE);
                else
                        p = e->tid == e->pid ? bh_table_find(t, e->pid, d->start, TRUE) : NULL;
                if (p)
                        bh_table_set_comm(p, &e->name);
                break;
        case BH_EV_CGROUP_ATTACH:
                on_cgroup_attach(t, d);
                break;
        case BH_EV_CHDIR:
                p = bh_event_has(e, BH_F_path) && e->ret == 0 ? bh_table_find(t, e->pid, d->start, TRUE) : NULL;
                if (p)
                        bh_table_set(t, &p->cwd, e->path.p, e->path.len);
                break;
        }
}

/* ---- life cycle and questions ---- */

guint64 bh_table_now(void) {
        struct timespec ts;

        clock_gettime(CLOCK_BOOTTIME, &ts);
        return (guint64) ts.tv_sec * 1000000000u + (guint64) ts.tv_nsec;
}

BhProcessTable *bh_process_table_new(const struct bh_process_config *config) {
        BhProcessTable *t = g_new0(BhProcessTable, 1);

        t->config = *config;
        t->config.max_live = config->max_live ? config->max_live : 65536;
        t->config.max_dead = config->max_dead ? config->max_dead : 16384;
        t->config.retain_ns = config->retain_ns ? config->retain_ns : 30000000000u;
        t->by_pid = g_hash_table_new(NULL, NULL);
        t->cgroup_root = g_strdup(config->cgroup_root);
        t->cgroup_controller = g_strdup(config->cgroup_controller);
        t->scratch = g_string_new(NULL);
        t->proc = open(config->proc_path ? config->proc_path : "/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        bh_shared_init(&t->shared, config->max_text ? config->max_text : 32u << 20);
        return t;
}

void bh_process_table_free(BhProcessTable *t) {
        if (!t)
                return;
        for (guint q = 0; q < BH_QUEUES; q++) {
                while (t->queues[q].first)
                        bh_table_remove(t, t->queues[q].first);
        }
        bh_shared_clear(&t->shared);
        g_hash_table_unref(t->by_pid);
        g_string_free(t->scratch, TRUE);
        g_free(t->cgroup_root);
        g_free(t->cgroup_controller);
        if (t->proc >= 0)
                close(t->proc);
        g_free(t);
}

static void view_of(const struct bh_process *p, struct bh_process_view *view) {
        *view = (struct bh_process_view){ .pid = p->pid, .vpid = p->vpid, .ppid = p->ppid, .start = p->start, .exited = p->exited, .cgroup = p->cgroup, .origin = p->origin, .comm = p->comm };
        if (p->exe)
                view->exe = (struct bh_str){ p->exe->data, p->exe->len };
        if (p->args)
                view->args = (struct bh_str){ p->args->data, p->args->len };
        if (p->parent && !p->relinked) {
                view->parent_pid = p->parent->pid;
                view->parent_start = p->parent->start;
        }
        if (p->cred) {
                struct bh_cred cred;

                memcpy(&cred, p->cred->data, sizeof(cred));
                view->has_cred = TRUE;
                view->uid = cred.euid;
                view->gid = cred.egid;
        }
}

gboolean bh_process_find(BhProcessTable *t, guint32 pid, guint64 start, struct bh_process_view *view) {
        const struct bh_process *p = bh_table_find(t, pid, start, FALSE);

        if (p)
                view_of(p, view);
        return p != NULL;
}

void bh_process_each(BhProcessTable *t, gboolean (*each)(const struct bh_process_view *view, gpointer data), gpointer data) {
        struct bh_process_view view;

        for (const struct bh_process *p = t->queues[BH_QUEUE_LIVE].first; p; p = p->q_next) {
                view_of(p, &view);
                if (!each(&view, data))
                        return;
        }
}

void bh_process_set_origin(BhProcessTable *t, guint32 pid, guint64 start, guint64 origin) {
        struct bh_process *p = bh_table_find(t, pid, start, FALSE);

        if (p && !p->origin)
                p->origin = origin;
}

void bh_process_table_stats(const BhProcessTable *t, struct bh_process_stats *stats) {
        *stats = t->stats;
        stats->live = t->queues[BH_QUEUE_LIVE].n;
        stats->dead = t->queues[BH_QUEUE_DEAD].n + t->queues[BH_QUEUE_HELD].n;
        stats->bytes = (stats->live + stats->dead) * sizeof(struct bh_process) + t->shared.bytes;
        stats->text_refused = t->shared.refused;
}

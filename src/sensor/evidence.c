/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence.h"

#include <string.h>
#include <xxhash.h>

#include "base/log.h"
#include "container/container.h"
#include "evidence_private.h"

#define TICK_US (200 * 1000)
#define YOUNG_NS 1000000000ull

typedef struct {
        BhJob *job;
        gint64 due_us, from_ns;
} Due;

static void due_free(gpointer p) {
        bh_job_free(((Due *) p)->job);
        g_free(p);
}

void bh_job_free(BhJob *j) {
        char *texts[] = { j->container, j->origin_id, j->exe, j->args, j->path, j->why, j->rule, j->priority, j->finding, j->text_kind };

        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                g_free(texts[i]);
        g_clear_pointer(&j->text, g_bytes_unref);
        g_free(j);
}

/* ---- what is remembered of files ---- */

guint64 bh_evidence_file_key(guint64 dev, guint64 ino) {
        guint64 both[2] = { dev, ino };

        return XXH3_64bits(both, sizeof(both));
}

static guint64 path_key(guint64 cgroup, struct bh_str path) {
        return XXH3_64bits_withSeed(path.p, path.len, cgroup | 1);
}

gboolean bh_evidence_note(GHashTable *set, guint64 key) {
        if (g_hash_table_size(set) >= BH_EVIDENCE_WRITTEN)
                g_hash_table_remove_all(set);
        return g_hash_table_add(set, g_memdup2(&key, sizeof(key)));
}

gboolean bh_evidence_was_written(BhEvidence *v, guint64 dev, guint64 ino) {
        guint64 key = bh_evidence_file_key(dev, ino);

        g_mutex_lock(&v->lock);
        gboolean yes = g_hash_table_contains(v->written, &key);
        g_mutex_unlock(&v->lock);
        return yes;
}

static gboolean written_path(BhEvidence *v, guint64 cgroup, struct bh_str path) {
        guint64 key = path_key(cgroup, path); /* whole, as the kernel tells paths of files that were closed */

        g_mutex_lock(&v->lock);
        gboolean yes = path.len && *path.p == '/' && g_hash_table_contains(v->written, &key);
        g_mutex_unlock(&v->lock);
        return yes;
}

/* ---- jobs ---- */

static void push(BhEvidence *v, BhJob *j) {
        g_mutex_lock(&v->lock);
        gboolean room = !v->stopping && g_thread_pool_unprocessed(v->pool) < BH_EVIDENCE_QUEUE;
        v->queue_full += !room;
        if (room && *bh_job_owner(j) && j->kind != BH_JOB_HOLD && g_hash_table_size(v->marked) < BH_EVIDENCE_WRITTEN)
                g_hash_table_add(v->marked, g_strdup(bh_job_owner(j)));
        if (room) /* within the lock: bh_evidence_settle() ends the pool */
                g_thread_pool_push(v->pool, j, NULL);
        g_mutex_unlock(&v->lock);
        if (!room)
                bh_job_free(j);
}

/* ---- the drain thread ---- */

static char *dup_if(const struct bh_event *e, enum bh_field f, struct bh_str s) {
        return bh_event_has(e, f) && s.len ? g_strndup(s.p, s.len) : NULL;
}

/* Arguments with blanks between. */
static char *args_of(const struct bh_event *e) {
        char *text = dup_if(e, BH_F_args, e->args);

        for (guint32 i = 0; text && i + 1 < e->args.len; i++)
                if (!text[i])
                        text[i] = ' ';
        return text;
}

static char *container_of(BhEvidence *v, guint64 cgroup) {
        g_auto(BhContainerLookup) l = { 0 };

        if (!cgroup)
                return NULL;
        bh_container_table_lookup(v->c.containers, cgroup, &l);
        return l.is_container && l.container ? g_strdup(l.container->id) : NULL;
}

static BhJob *job_of(BhEvidence *v, BhJobKind kind, const struct bh_event *e, guint64 start, guint64 cgroup, guint64 origin, const char *why) {
        BhJob *j = g_new0(BhJob, 1);

        j->kind = kind;
        j->pid = bh_event_has(e, BH_F_pid) ? e->pid : 0;
        j->start = start;
        j->start_ns = bh_event_has(e, BH_F_proc_start) ? (gint64) e->proc_start : 0;
        j->time_ns = (gint64) e->time;
        j->fd = -1;
        j->cgroup = cgroup;
        j->origin = origin;
        j->container = dup_if(e, BH_F_container_id, e->container_id);
        if (!j->container)
                j->container = container_of(v, cgroup);
        j->origin_id = dup_if(e, BH_F_origin_id, e->origin_id);
        if (!j->origin_id)
                j->origin_id = container_of(v, origin);
        j->exe = dup_if(e, BH_F_exe, e->exe);
        j->args = args_of(e);
        j->why = g_strdup(why);
        return j;
}

/* "./x" of a process in /tmp is "/tmp/x". NULL: nobody knows. */
static char *whole_path(const struct bh_event *e, struct bh_str path) {
        g_autofree char *text = g_strndup(path.p, path.len);
        g_autofree char *cwd = bh_event_has(e, BH_F_cwd) && e->cwd.len && *e->cwd.p == '/' ? g_strndup(e->cwd.p, e->cwd.len) : NULL;
        const char *at = text;

        while (at[0] == '/' && at[1] == '/') /* two in front would stay */
                at++;
        return *at && *at != '-' && (*at == '/' || cwd) ? g_canonicalize_filename(at, cwd ? cwd : "/") : NULL;
}

/* A shell or the like that is given nothing to run reads it from its standard input. */
static gboolean reads_input(const struct bh_event *e) {
        static const char *const names[] = { "sh", "bash", "dash", "ash", "zsh", "ksh", "perl", "python", "php", "node", "ruby", "lua" };
        g_autofree char *exe = bh_event_has(e, BH_F_exe) ? g_strndup(e->exe.p, e->exe.len) : NULL, *base = exe && *exe ? g_path_get_basename(exe) : NULL;
        const char *nul = bh_event_has(e, BH_F_args) && e->args.len ? memchr(e->args.p, 0, e->args.len) : NULL;
        gboolean is_one = FALSE;

        if (base && nul && g_str_equal(base, "busybox")) { /* one program with many names */
                g_free(base);
                base = g_path_get_basename(e->args.p);
        }
        for (guint i = 0; base && i < G_N_ELEMENTS(names); i++) /* "python3.11" is one of these, "shred" is not */
                is_one |= g_str_has_prefix(base, names[i]) && strspn(base + strlen(names[i]), "0123456789.-") == strlen(base + strlen(names[i]));
        gsize behind = nul ? (gsize) (e->args.p + e->args.len - (nul + 1)) : 0;
        return is_one && (!behind || (behind <= 3 && nul[1] == '-' && (behind == 1 || !nul[2] || nul[2] == 's')));
}

/* What an interpreter is given: the script that the kernel found it by, its first arguments, or its standard input. */
static void on_script(BhEvidence *v, const struct bh_decoded *d, guint64 cgroup) {
        static const char why[] = "script that a container wrote was given to an interpreter";
        const struct bh_event *e = &d->event;
        struct bh_str rest = bh_event_has(e, BH_F_args) ? e->args : (struct bh_str){ "", 0 };
        struct bh_str script = bh_event_has(e, BH_F_script) ? e->script : (struct bh_str){ "", 0 };

        for (guint i = 0; i < 4; i++) {
                struct bh_str one = script;

                if (i) {
                        const char *nul = rest.len ? memchr(rest.p, 0, rest.len) : NULL;

                        if (!nul)
                                break;
                        one = (struct bh_str){ rest.p, (guint32) (nul - rest.p) };
                        rest.len -= one.len + 1;
                        rest.p = nul + 1;
                }
                g_autofree char *path = whole_path(e, one);
                if (!path || !written_path(v, d->origin ? d->origin : cgroup, (struct bh_str){ path, (guint32) strlen(path) }))
                        continue;
                BhJob *j = job_of(v, BH_JOB_FILE, e, d->start, cgroup, d->origin, why);

                j->path = g_steal_pointer(&path);
                j->only_written = TRUE;
                push(v, j);
                return;
        }
        if (reads_input(e)) {
                BhJob *j = job_of(v, BH_JOB_FD, e, d->start, cgroup, d->origin, why);

                j->fd = 0;
                j->only_written = TRUE;
                push(v, j);
        }
}

static void on_exec(BhEvidence *v, const struct bh_decoded *d, guint64 cgroup) {
        const struct bh_event *e = &d->event;
        g_auto(BhContainerLookup) l = { 0 };
        const char *why = NULL;

        bh_container_table_lookup(v->c.containers, cgroup, &l);
        if (!l.is_container && !d->origin)
                return;
        if (e->flags & BH_RF_EXE_MEMFD)
                why = "program run from memory";
        else if (e->flags & BH_RF_EXE_DELETED)
                why = "program run from a deleted file";
        else if (bh_event_has(e, BH_F_exe_ino) && bh_evidence_was_written(v, e->exe_dev, e->exe_ino))
                why = "program that a container wrote was run";
        else if (e->flags & BH_RF_EXE_UPPER)
                why = "program that is not of the image was run";

        guint64 key = bh_evidence_file_key(e->exe_dev, e->exe_ino) ^ e->exe_ctime;
        g_mutex_lock(&v->lock);
        /* a number is given again, and a change time tells no two within a tick of the kernel apart: what was written just now may have other bytes */
        gboolean young = e->time < e->exe_ctime + YOUNG_NS || e->flags & (BH_RF_EXE_MEMFD | BH_RF_EXE_DELETED);
        gboolean fresh = why && (bh_evidence_note(v->seen_exe, key) || young);
        g_mutex_unlock(&v->lock);
        if (fresh) {
                BhJob *j = job_of(v, BH_JOB_EXE, e, d->start, cgroup, d->origin, why);

                j->path = g_strdup(j->exe);
                j->dev = e->exe_dev;
                j->ino = e->exe_ino;
                push(v, j);
        }

        on_script(v, d, cgroup);
}

gboolean bh_evidence_in_host_mount(const BhContainer *c, struct bh_str path) {
        for (guint i = 0; c && i < c->mounts->len; i++) {
                const BhMount *m = &g_array_index(c->mounts, BhMount, i);
                gsize n = strlen(m->destination);

                if (m->sensitive && m->rw && path.len > n && !memcmp(path.p, m->destination, n) && (path.p[n] == '/' || (n && m->destination[n - 1] == '/')))
                        return TRUE;
        }
        return FALSE;
}

static void on_close_write(BhEvidence *v, const struct bh_decoded *d, guint64 cgroup) {
        const struct bh_event *e = &d->event;
        g_auto(BhContainerLookup) l = { 0 };

        bh_container_table_lookup(v->c.containers, cgroup, &l);
        if ((!l.is_container && !d->origin) || !bh_event_has(e, BH_F_ino))
                return;
        g_mutex_lock(&v->lock);
        bh_evidence_note(v->written, bh_evidence_file_key(e->dev, e->ino));
        if (bh_event_has(e, BH_F_path))
                bh_evidence_note(v->written, path_key(d->origin ? d->origin : cgroup, e->path));
        g_mutex_unlock(&v->lock);

        gboolean left = d->origin && !l.is_container;
        if (!left && !(bh_event_has(e, BH_F_path) && bh_evidence_in_host_mount(l.container, e->path)))
                return;
        BhJob *j = job_of(v, BH_JOB_FILE, e, d->start, cgroup, d->origin, "file of the node written from a container");
        j->path = dup_if(e, BH_F_path, e->path);
        j->dev = e->dev;
        j->ino = e->ino;
        push(v, j);
}

static void on_rename(BhEvidence *v, const struct bh_decoded *d, guint64 cgroup) {
        const struct bh_event *e = &d->event;

        if (!bh_event_has(e, BH_F_path) || !bh_event_has(e, BH_F_path2) || !written_path(v, d->origin ? d->origin : cgroup, e->path))
                return;
        g_mutex_lock(&v->lock);
        bh_evidence_note(v->written, path_key(d->origin ? d->origin : cgroup, e->path2));
        g_mutex_unlock(&v->lock);
}

static void on_descriptor(BhEvidence *v, const struct bh_decoded *d, guint64 cgroup) {
        const struct bh_event *e = &d->event;
        gboolean module = e->type == BH_EV_MODULE_LOAD;
        g_auto(BhContainerLookup) l = { 0 };

        bh_container_table_lookup(v->c.containers, cgroup, &l);
        if ((!module && !l.is_container && !d->origin) || !bh_event_has(e, BH_F_fd) || e->fd < 0)
                return;
        BhJob *j = job_of(v, module ? BH_JOB_FD : BH_JOB_HOLD, e, d->start, cgroup, d->origin, module ? "kernel module was to be loaded" : NULL);
        j->fd = e->fd;
        j->dev = bh_event_has(e, BH_F_dev) ? e->dev : 0;
        j->ino = bh_event_has(e, BH_F_ino) ? e->ino : 0;
        if (module)
                j->path = dup_if(e, BH_F_path, e->path);
        push(v, j);
}

BhKinds bh_evidence_kinds(void) {
        static const guint32 of[] = { BH_EV_EXEC, BH_EV_CLOSE_WRITE, BH_EV_RENAME, BH_EV_MEMFD_CREATE, BH_EV_MODULE_LOAD };
        BhKinds k = { 0 };

        for (guint i = 0; i < G_N_ELEMENTS(of); i++)
                bh_kinds_add(&k, of[i]);
        return k;
}

void bh_evidence_early(BhEvidence *v, const struct bh_decoded *d, guint64 cgroup) {
        switch (d->event.type) {
        case BH_EV_EXEC:
                on_exec(v, d, cgroup);
                break;
        case BH_EV_CLOSE_WRITE:
                on_close_write(v, d, cgroup);
                break;
        case BH_EV_RENAME:
                on_rename(v, d, cgroup);
                break;
        case BH_EV_MEMFD_CREATE:
        case BH_EV_MODULE_LOAD:
                on_descriptor(v, d, cgroup);
                break;
        default:
                break;
        }
}

/* ---- windows: due a moment after what they are about, one for what comes within that ---- */

static void want_window(BhEvidence *v, BhJob *j, gint64 wait_us) {
        gint64 now_us = g_get_monotonic_time(), from_ns = j->time_ns - BH_EVIDENCE_WINDOW_BEFORE_S * G_GINT64_CONSTANT(1000000000);

        g_mutex_lock(&v->lock);
        Due *d = g_hash_table_lookup(v->windows, bh_job_owner(j));
        if (d) {
                d->from_ns = MIN(d->from_ns, from_ns);
                d->due_us = MIN(d->due_us, now_us + wait_us);
                bh_job_free(j);
        } else if (g_hash_table_size(v->windows) >= BH_EVIDENCE_WINDOWS) {
                v->refused_windows++;
                bh_job_free(j);
        } else {
                d = g_new0(Due, 1);
                d->job = j;
                d->due_us = now_us + wait_us;
                d->from_ns = from_ns;
                g_hash_table_insert(v->windows, g_strdup(bh_job_owner(j)), d);
        }
        g_mutex_unlock(&v->lock);
}

static gpointer keep_time(gpointer data) {
        BhEvidence *v = data;

        g_mutex_lock(&v->lock);
        while (!v->stopping) {
                gint64 now_us = g_get_monotonic_time();
                GHashTableIter it;
                gpointer key, value;

                g_hash_table_iter_init(&it, v->windows);
                while (g_hash_table_iter_next(&it, &key, &value)) {
                        Due *d = value;

                        if (d->due_us > now_us)
                                continue;
                        BhJob *j = g_steal_pointer(&d->job);
                        j->start_ns = d->from_ns;
                        g_hash_table_iter_steal(&it);
                        g_free(key);
                        g_free(d);
                        g_thread_pool_push(v->pool, j, NULL);
                }
                bh_evidence_watch_workers(v, now_us);
                bh_evidence_drop_holds(v, now_us);
                g_cond_wait_until(&v->moved, &v->lock, now_us + TICK_US);
        }
        /* the end: what is not due is kept all the same */
        GHashTableIter rest;
        gpointer value;
        g_hash_table_iter_init(&rest, v->windows);
        while (g_hash_table_iter_next(&rest, NULL, &value)) {
                Due *d = value;
                BhJob *j = g_steal_pointer(&d->job);

                j->start_ns = d->from_ns;
                g_thread_pool_push(v->pool, j, NULL);
                g_free(d);
                g_hash_table_iter_steal(&rest);
        }
        g_mutex_unlock(&v->lock);
        return NULL;
}

void bh_evidence_seen(BhEvidence *v, const struct bh_event *e) {
        static const char *const ends[] = { "die", "destroy", "kill", "remove", "delete" };
        gboolean over = FALSE;

        if (e->type != BH_EV_CONTAINER || !bh_event_has(e, BH_F_action) || !bh_event_has(e, BH_F_container_id))
                return;
        for (guint i = 0; i < G_N_ELEMENTS(ends); i++)
                over |= e->action.len == strlen(ends[i]) && !memcmp(e->action.p, ends[i], e->action.len);
        g_autofree char *id = g_strndup(e->container_id.p, e->container_id.len);
        g_mutex_lock(&v->lock);
        gboolean known = over && g_hash_table_contains(v->marked, id);
        g_mutex_unlock(&v->lock);
        if (!known)
                return;
        /* first: the runtime may be about to remove it */
        BhJob *diff = job_of(v, BH_JOB_DIFF, e, 0, 0, 0, "container with evidence ended");
        diff->last = TRUE;
        push(v, diff);
        push(v, job_of(v, BH_JOB_CONTAINER, e, 0, 0, 0, "container with evidence ended"));
        want_window(v, job_of(v, BH_JOB_WINDOW, e, 0, 0, 0, "container with evidence ended"), BH_EVIDENCE_WINDOW_AFTER_US / 4);
}

static BhJob *finding_job(BhEvidence *v, BhJobKind kind, const BhRule *rule, const char *id, const struct bh_event *e) {
        BhJob *j = job_of(v, kind, e, 0, 0, 0, "finding");

        j->finding = g_strdup(id);
        j->rule = g_strdup(rule->name);
        j->priority = g_strdup(bh_priority_name(rule->priority));
        return j;
}

void bh_evidence_finding(BhEvidence *v, const BhRule *rule, const char *id, const struct bh_event *e) {
        BhJob *j;

        if (rule->priority > BH_PRIO_WARNING || !g_str_equal(rule->source, "syscall"))
                return;
        if (bh_event_has(e, BH_F_pid))
                push(v, finding_job(v, BH_JOB_PROCESS, rule, id, e));
        if (bh_event_has(e, BH_F_path) && bh_event_has(e, BH_F_ino) && (e->type == BH_EV_CLOSE_WRITE || e->type == BH_EV_OPEN || e->type == BH_EV_RENAME)) {
                j = finding_job(v, BH_JOB_FILE, rule, id, e);
                j->path = g_strndup(e->path.p, e->path.len);
                j->dev = e->dev;
                j->ino = e->ino;
                j->only_written = e->type == BH_EV_OPEN;
                push(v, j);
        }
        if (bh_event_has(e, BH_F_container_id) || bh_event_has(e, BH_F_origin_id)) {
                push(v, finding_job(v, BH_JOB_CONTAINER, rule, id, e));
                j = finding_job(v, BH_JOB_DIFF, rule, id, e);
                if (bh_evidence_diff_due(v, bh_job_owner(j)))
                        push(v, j);
                else
                        bh_job_free(j);
        }
        want_window(v, finding_job(v, BH_JOB_WINDOW, rule, id, e), BH_EVIDENCE_WINDOW_AFTER_US);
}

static BhJob *own_job(BhJobKind kind, const char *text_kind, const char *finding, const char *why, const char *path) {
        BhJob *j = g_new0(BhJob, 1);

        j->kind = kind;
        j->fd = -1;
        j->time_ns = g_get_real_time() * 1000;
        j->text_kind = g_strdup(text_kind);
        j->finding = g_strdup(finding);
        j->why = g_strdup(why);
        j->path = g_strdup(path);
        return j;
}

void bh_evidence_text(BhEvidence *v, const char *kind, const char *finding, const char *why, const char *path, const char *text, gsize len) {
        BhJob *j = own_job(BH_JOB_TEXT, kind, finding, why, path);

        j->text = g_bytes_new(text, len);
        push(v, j);
}

void bh_evidence_request(BhEvidence *v, const BhWebKept *r) {
        BhJob *j = own_job(BH_JOB_TEXT, "request", r->finding, "web attack", r->target);

        j->time_ns = r->time_ns;
        j->container = r->container ? g_strdup(r->container->id) : NULL;
        j->pid = r->pid;
        j->start_ns = r->start_ns;
        j->rule = g_strdup(r->rule);
        j->priority = g_strdup(r->priority);
        j->text = g_bytes_new(r->whole, strlen(r->whole));
        push(v, j);
}

void bh_evidence_decoy(BhEvidence *v, const char *container, const char *finding, const char *asked, const char *from, guint32 pid, gint64 time_ns, GBytes *bytes, guint64 all) {
        g_autofree char *why = all > g_bytes_get_size(bytes) ? g_strdup_printf("led to a decoy, from %s; %" G_GUINT64_FORMAT " bytes more were not kept", from, all - g_bytes_get_size(bytes))
                                                             : g_strdup_printf("led to a decoy, from %s", from);
        BhJob *j = own_job(BH_JOB_TEXT, "decoy", finding, why, asked);

        j->time_ns = time_ns;
        j->container = g_strdup(container);
        j->pid = pid;
        j->text = g_bytes_ref(bytes);
        push(v, j);
}

void bh_evidence_stream(BhEvidence *v, const BhSuspectKept *k, gint64 start_ns, gint64 time_ns) {
        BhJob *j = own_job(BH_JOB_TEXT, "stream", k->finding, "suspicious connection", k->peer);

        j->time_ns = time_ns;
        j->container = *k->container ? g_strdup(k->container) : NULL;
        j->pid = k->pid;
        j->start = k->start;
        j->start_ns = start_ns;
        j->rule = g_strdup(k->rule);
        j->priority = g_strdup(k->priority);
        j->text = g_bytes_new(k->text, strlen(k->text));
        push(v, j);
}

void bh_evidence_host_file(BhEvidence *v, const char *finding, const char *why, const char *path) {
        BhJob *j = own_job(BH_JOB_FILE, "file", finding, why, path);

        j->pid = 1;
        push(v, j);
}

/* ---- life ---- */

BhEvidence *bh_evidence_new(const BhEvidenceConfig *config, char **broken, GError **error) {
        BhVault *vault = bh_vault_open(config->dir, config->node, config->max_bytes, broken, error);

        if (!vault)
                return NULL;
        BhEvidence *v = g_new0(BhEvidence, 1);
        g_mutex_init(&v->lock);
        g_cond_init(&v->moved);
        v->c = *config;
        v->dir = g_strdup(config->dir);
        v->node = g_strdup(config->node);
        v->proc_path = g_strdup(config->proc_path);
        v->host_root = g_strdup(config->host_root);
        v->heads = g_strdup(config->heads);
        v->vault = vault;
        v->written = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        v->diffs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, bh_evidence_diff_free);
        v->told = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        v->seen_exe = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        v->spent = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        v->windows = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, due_free);
        v->marked = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        for (guint i = 0; i < BH_EVIDENCE_HOLDS; i++)
                v->holds[i].fd = -1;
        v->running = g_ptr_array_new();
        v->pool = g_thread_pool_new(bh_evidence_work, v, BH_EVIDENCE_THREADS, FALSE, NULL);
        return v;
}

void bh_evidence_start(BhEvidence *v, BhReport *report) {
        v->report = report;
        v->timer = g_thread_new("bh-evidence", keep_time, v);
        v->sender = g_thread_new("bh-evid-send", bh_evidence_send, v);
}

void bh_evidence_settle(BhEvidence *v) {
        g_mutex_lock(&v->lock);
        v->stopping = TRUE;
        g_cond_broadcast(&v->moved);
        g_mutex_unlock(&v->lock);
        if (v->timer)
                g_thread_join(g_steal_pointer(&v->timer));
        if (v->sender)
                g_thread_join(g_steal_pointer(&v->sender));
        bh_evidence_end_workers(v);
        bh_evidence_tell_heads(v, TRUE);
}

void bh_evidence_free(BhEvidence *v) {
        if (!v)
                return;
        bh_evidence_settle(v);
        if (v->abandoned) /* a worker may come back to it */
                return;
        bh_vault_free(v->vault);
        g_ptr_array_unref(v->running);
        bh_evidence_drop_holds(v, G_MAXINT64);
        g_hash_table_unref(v->diffs);
        g_hash_table_unref(v->told);
        g_hash_table_unref(v->written);
        g_hash_table_unref(v->seen_exe);
        g_hash_table_unref(v->spent);
        g_hash_table_unref(v->windows);
        g_hash_table_unref(v->marked);
        g_mutex_clear(&v->lock);
        g_cond_clear(&v->moved);
        g_free(v->dir);
        g_free(v->node);
        g_free(v->proc_path);
        g_free(v->host_root);
        g_free(v->heads);
        g_free(v);
}

/* ---- status ---- */

json_t *bh_evidence_status(BhEvidence *v) {
        json_t *o = json_object();
        BhVaultStats s;

        bh_vault_stats(v->vault, &s);
        g_mutex_lock(&v->lock);
        const struct {
                const char *name;
                guint64 value;
        } numbers[] = {
                { "items", s.items }, { "objects", s.objects }, { "bytes", s.bytes }, { "max_bytes", v->c.max_bytes }, { "last", s.seq }, { "sent", s.sent },
                { "files", v->files }, { "processes", v->processes }, { "windows", v->windows_kept }, { "diffs", v->diffs_kept }, { "equal", s.equal }, { "equal_items", v->equal_items }, { "copied", v->copied }, { "not_copied", v->not_copied },
                { "missed", v->missed }, { "missed_processes", v->missed_processes }, { "missed_diffs", v->missed_diffs }, { "queue_full", v->queue_full }, { "over_budget", v->over_budget }, { "windows_refused", v->refused_windows }, { "holds_cut_short", v->hold_full },
                { "failed", v->failed + s.failed }, { "dropped", s.dropped }, { "dropped_unsent", s.dropped_unsent }, { "dropped_bytes", s.dropped_bytes }, { "torn_bytes", s.torn_bytes },
                { "send_failed", v->send_failed }, { "waiting", v->pool ? g_thread_pool_unprocessed(v->pool) : 0 }, { "busy", v->running->len },
                { "stalled", v->stalled }, { "refused_stalled", v->refused_stalled },
        };
        g_mutex_unlock(&v->lock);
        json_object_set_new(o, "state", json_string("on"));
        for (guint i = 0; i < G_N_ELEMENTS(numbers); i++)
                json_object_set_new(o, numbers[i].name, json_integer((json_int_t) numbers[i].value));
        json_object_set_new(o, "chain", json_string(s.chain));
        return o;
}

json_t *bh_evidence_verify_all(BhEvidence *v, const char *heads, gsize len) {
        json_t *o = json_object(), *head = bh_vault_head(v->vault);

        json_object_set_new(o, "head", head ? head : json_null());
        json_object_set_new(o, "report", bh_vault_verify(v->vault, heads, len));
        return o;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/log.h"
#include "container/container.h"
#include "evidence_private.h"

#define TEXT_MAX 1024u /* of a foreign text in an item */
#define HOUR_US (G_GINT64_CONSTANT(3600) * G_USEC_PER_SEC)
#define SPENT_MAX 4096u
#define TICK_US (200 * 1000)

typedef struct {
        gint64 since_us;
        guint64 bytes;
} Spent;

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

/* Within the lock. A set that is full begins anew: what is forgotten is looked at once more, or missed as a written one. */
static gboolean note(GHashTable *set, guint64 key) {
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
        guint64 key = path_key(cgroup, path);

        g_mutex_lock(&v->lock);
        gboolean yes = path.len && *path.p == '/' && g_hash_table_contains(v->written, &key);
        g_mutex_unlock(&v->lock);
        return yes;
}

/* ---- items ---- */

static void set_text(json_t *o, const char *key, const char *text) {
        g_autofree char *good = text && *text ? g_utf8_make_valid(text, (gssize) strnlen(text, TEXT_MAX)) : NULL;

        if (good)
                json_object_set_new(o, key, json_string(good));
}

static json_t *facts_of(BhEvidence *v, const BhJob *j) {
        json_t *o = json_object(), *p;
        const char *id = j->container ? j->container : j->origin_id;
        g_autoptr(BhContainer) c = bh_evidence_container(v, id);

        set_text(o, "why", j->why);
        set_text(o, "finding", j->finding);
        set_text(o, "rule", j->rule);
        set_text(o, "priority", j->priority);
        if (id) {
                p = json_object();
                set_text(p, "id", id);
                set_text(p, "name", c ? c->name : NULL);
                set_text(p, "image", c ? c->image : NULL);
                set_text(p, "workload", c ? c->workload : NULL);
                set_text(p, "application", c ? c->application : NULL);
                if (!j->container)
                        json_object_set_new(p, "origin", json_true());
                json_object_set_new(o, "container", p);
        }
        if (j->pid) {
                p = json_object();
                json_object_set_new(p, "pid", json_integer(j->pid));
                json_object_set_new(p, "start_ns", json_integer(j->start_ns));
                set_text(p, "exe", j->exe);
                set_text(p, "args", j->args);
                json_object_set_new(o, "process", p);
        }
        set_text(o, "path", j->path);
        return o;
}

static gboolean keep(BhEvidence *v, const BhJob *j, const char *kind, json_t *facts, const BhObject *object) {
        g_autoptr(GError) error = NULL;

        if (bh_vault_add(v->vault, kind, j->time_ns, facts, object, NULL, &error) && bh_vault_commit(v->vault, &error)) {
                g_mutex_lock(&v->lock);
                g_cond_broadcast(&v->moved);
                g_mutex_unlock(&v->lock);
                return TRUE;
        }
        g_mutex_lock(&v->lock);
        if (!v->failed++)
                bh_error("evidence cannot be kept", "why", error->message);
        g_mutex_unlock(&v->lock);
        return FALSE;
}

/* ---- a container's share ---- */

const char *bh_job_owner(const BhJob *j) {
        return j->container ? j->container : j->origin_id ? j->origin_id : "";
}

static gboolean may_spend(BhEvidence *v, const BhJob *j, guint64 bytes) {
        const char *owner = bh_job_owner(j);
        gint64 now_us = g_get_monotonic_time();

        g_mutex_lock(&v->lock);
        Spent *s = g_hash_table_lookup(v->spent, owner);
        if (!s) {
                if (g_hash_table_size(v->spent) >= SPENT_MAX)
                        g_hash_table_remove_all(v->spent);
                s = g_new0(Spent, 1);
                s->since_us = now_us;
                g_hash_table_insert(v->spent, g_strdup(owner), s);
        }
        if (now_us - s->since_us > HOUR_US) {
                s->since_us = now_us;
                s->bytes = 0;
        }
        gboolean ok = s->bytes + bytes <= BH_EVIDENCE_CONTAINER_BYTES;
        if (ok)
                s->bytes += bytes;
        else
                v->over_budget++;
        g_mutex_unlock(&v->lock);
        return ok;
}

static guint64 count(BhEvidence *v, guint64 *counter) {
        g_mutex_lock(&v->lock);
        guint64 n = ++*counter;
        g_mutex_unlock(&v->lock);
        return n;
}

/* ---- workers ---- */

static void keep_file(BhEvidence *v, const BhJob *j, const char *kind) {
        int fd = bh_evidence_open_file(v, j);
        g_autoptr(GError) error = NULL;
        struct stat st = { 0 };
        BhObject o;

        if (fd < 0 || fstat(fd, &st)) {
                if (fd >= 0)
                        close(fd);
                if (!j->only_written)
                        count(v, &v->missed);
                return;
        }
        if ((!j->only_written || bh_evidence_was_written(v, st.st_dev, st.st_ino)) && may_spend(v, j, MIN((guint64) st.st_size, BH_EVIDENCE_FILE_MAX))) {
                if (bh_vault_put_file(v->vault, fd, BH_EVIDENCE_FILE_MAX, &o, &error)) {
                        json_t *facts = facts_of(v, j), *file = json_object();

                        json_object_set_new(file, "dev", json_integer((json_int_t) st.st_dev));
                        json_object_set_new(file, "ino", json_integer((json_int_t) st.st_ino));
                        json_object_set_new(file, "mode", json_integer(st.st_mode));
                        json_object_set_new(file, "uid", json_integer(st.st_uid));
                        json_object_set_new(file, "size", json_integer(st.st_size));
                        json_object_set_new(file, "links", json_integer((json_int_t) st.st_nlink));
                        json_object_set_new(facts, "file", file);
                        if (keep(v, j, kind, facts, &o))
                                count(v, &v->files);
                } else {
                        count(v, &v->failed);
                }
        }
        close(fd);
}

static void hold(BhEvidence *v, const BhJob *j) {
        int fd = bh_evidence_open_file(v, j), let_go = -1;
        gint64 now_us = g_get_monotonic_time();
        BhHold *free_one = NULL, *oldest = NULL;

        if (fd < 0)
                return;
        g_mutex_lock(&v->lock);
        for (guint i = 0; i < BH_EVIDENCE_HOLDS; i++) {
                BhHold *h = &v->holds[i];

                if (h->fd < 0 || h->until_us <= now_us)
                        free_one = h;
                else if (!oldest || h->until_us < oldest->until_us)
                        oldest = h;
        }
        if (!free_one) {
                free_one = oldest;
                v->hold_full++;
        }
        let_go = free_one->fd;
        *free_one = (BhHold){ .dev = j->dev, .ino = j->ino, .fd = fd, .until_us = now_us + BH_EVIDENCE_HOLD_US };
        g_mutex_unlock(&v->lock);
        if (let_go >= 0)
                close(let_go);
}

static gboolean keep_text(BhEvidence *v, const BhJob *j, const char *kind, const char *text, gsize len, const char *media) {
        g_autoptr(GError) error = NULL;
        BhObject o;

        if (!may_spend(v, j, len))
                return FALSE;
        if (!bh_vault_put_bytes(v->vault, text, len, &o, &error)) {
                count(v, &v->failed);
                return FALSE;
        }
        json_t *facts = facts_of(v, j);
        json_object_set_new(facts, "format", json_string(media));
        return keep(v, j, kind, facts, &o);
}

static void keep_process(BhEvidence *v, const BhJob *j) {
        GString *text = bh_evidence_look(v, j);

        if (!text) {
                count(v, &v->missed);
                return;
        }
        if (keep_text(v, j, "process", text->str, text->len, "text"))
                count(v, &v->processes);
        g_string_free(text, TRUE);
}

static void keep_container(BhEvidence *v, const BhJob *j) {
        g_autoptr(BhContainer) c = bh_evidence_container(v, bh_job_owner(j));
        json_auto_t *o = c ? bh_container_to_json(c) : NULL;
        char *text = o ? json_dumps(o, JSON_INDENT(1) | JSON_ENSURE_ASCII) : NULL;

        if (text)
                keep_text(v, j, "container", text, strlen(text), "json");
        free(text);
}

static gboolean window_put(const char *bytes, gsize len, guint64 dropped, gpointer data) {
        GString *out = data;

        if (out->len + len > BH_EVIDENCE_WINDOW_BYTES)
                return FALSE;
        g_string_append_len(out, bytes, (gssize) len);
        return TRUE;
}

static gboolean window_alive(gpointer data) {
        return TRUE;
}

static void keep_window(BhEvidence *v, const BhJob *j, gint64 from_ns) {
        const char *id = bh_job_owner(j);
        g_autoptr(GString) text = g_string_new(NULL);
        g_autofree char *condition = NULL;
        BhAnswerQuestion q = { .filter = { .form = BH_FEED_JSON }, .since_ns = (guint64) MAX(from_ns, 0), .past = TRUE, .limit = 10000 };
        BhAnswerSink sink = { .put = window_put, .alive = window_alive, .data = text };
        g_autoptr(GError) error = NULL;

        if (*id) {
                condition = g_strdup_printf("container.full_id = %s or bh.origin.full_id = %s", id, id);
        } else if (j->pid) {
                condition = g_strdup_printf("proc.pid = %u or proc.ppid = %u", j->pid, j->pid);
        }
        gboolean ok = !condition || bh_answer_where(&q.filter, condition, strlen(condition), &error);
        ok = ok && bh_answer_events(&v->c.source, &q, &sink, &error);
        bh_rule_engine_unref(q.filter.where);
        if (!ok || !text->len) {
                if (!ok && count(v, &v->failed) == 1)
                        bh_warn("events around a finding cannot be kept as evidence", "why", error->message);
                return;
        }
        if (keep_text(v, j, "events", text->str, text->len, "jsonl"))
                count(v, &v->windows_kept);
}

static void work(gpointer data, gpointer user) {
        BhJob *j = data;
        BhEvidence *v = user;

        if (!bh_evidence_begin(v, j)) {
                bh_job_free(j);
                return;
        }
        switch (j->kind) {
        case BH_JOB_EXE:
                keep_file(v, j, "file");
                break;
        case BH_JOB_FILE:
        case BH_JOB_FD:
                keep_file(v, j, j->text_kind ? j->text_kind : "file");
                break;
        case BH_JOB_HOLD:
                hold(v, j);
                break;
        case BH_JOB_PROCESS:
                keep_process(v, j);
                break;
        case BH_JOB_CONTAINER:
                keep_container(v, j);
                break;
        case BH_JOB_WINDOW:
                keep_window(v, j, j->start_ns);
                break;
        case BH_JOB_TEXT:
                keep_text(v, j, j->text_kind, g_bytes_get_data(j->text, NULL), g_bytes_get_size(j->text), "text");
                break;
        }
        bh_evidence_end(v, j);
        bh_job_free(j);
}

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
        gboolean fresh = why && note(v->seen_exe, key);
        g_mutex_unlock(&v->lock);
        if (fresh) {
                BhJob *j = job_of(v, BH_JOB_EXE, e, d->start, cgroup, d->origin, why);

                j->path = g_strdup(j->exe);
                j->dev = e->exe_dev;
                j->ino = e->exe_ino;
                push(v, j);
        }

        /* what an interpreter is given: its first arguments, and the script that the kernel found it by */
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
                if (!written_path(v, d->origin ? d->origin : cgroup, one))
                        continue;
                BhJob *j = job_of(v, BH_JOB_FILE, e, d->start, cgroup, d->origin, "script that a container wrote was given to an interpreter");

                j->path = g_strndup(one.p, one.len);
                j->only_written = TRUE;
                push(v, j);
                break;
        }
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
        note(v->written, bh_evidence_file_key(e->dev, e->ino));
        if (bh_event_has(e, BH_F_path))
                note(v->written, path_key(d->origin ? d->origin : cgroup, e->path));
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
        note(v->written, path_key(d->origin ? d->origin : cgroup, e->path2));
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
                for (guint i = 0; i < BH_EVIDENCE_HOLDS; i++) {
                        if (v->holds[i].fd >= 0 && v->holds[i].until_us <= now_us) {
                                close(v->holds[i].fd);
                                v->holds[i].fd = -1;
                        }
                }
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
        if (bh_event_has(e, BH_F_container_id) || bh_event_has(e, BH_F_origin_id))
                push(v, finding_job(v, BH_JOB_CONTAINER, rule, id, e));
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
        v->heads = g_strdup(config->heads);
        v->vault = vault;
        v->written = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        v->seen_exe = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        v->spent = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        v->windows = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, due_free);
        v->marked = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        for (guint i = 0; i < BH_EVIDENCE_HOLDS; i++)
                v->holds[i].fd = -1;
        v->running = g_ptr_array_new();
        v->pool = g_thread_pool_new(work, v, BH_EVIDENCE_THREADS, FALSE, NULL);
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
        for (guint i = 0; i < BH_EVIDENCE_HOLDS; i++)
                if (v->holds[i].fd >= 0)
                        close(v->holds[i].fd);
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
                { "files", v->files }, { "processes", v->processes }, { "windows", v->windows_kept }, { "equal", s.equal },
                { "missed", v->missed }, { "queue_full", v->queue_full }, { "over_budget", v->over_budget }, { "windows_refused", v->refused_windows }, { "holds_cut_short", v->hold_full },
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

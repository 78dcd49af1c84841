/* SPDX-License-Identifier: Apache-2.0 */
#include "tls_watch.h"

#include <string.h>
#include <unistd.h>

#include "base/escape.h"
#include "base/fdio.h"
#include "base/log.h"
#include "parse/inspect_wire.h"
#include "parse/rootfile.h"
#include "tls_files.h"
#include "tls_reader.h"

#define SWEEP_US (2 * G_USEC_PER_SEC)
#define AGAIN_US (2 * G_USEC_PER_SEC) /* after a file system did not answer, twice as long each time … */
#define AGAIN_MOST 10u                  /* … up to so often */
#define STUCK_US (2 * G_USEC_PER_SEC) /* at the end, for a file that does not answer */
#define PIDS_MAX 65536u
#define FILES_MAX 16384u                /* of which those without TLS are remembered; beyond it they are forgotten, and parsed again */
#define CLOSED_MAX 8u                 /* reasons kept of a container */

/* A file with TLS in it, or one of which it is known that there is none. */
typedef struct {
        guint64 dev, ino, size;
        gint64 mtime_ns, ctime_ns;
        guint64 name; /* with `ino` the payload's name of it */
        char *product; /* NULL: it has none */
        gboolean open, probed;
        guint users;   /* containers */
} File;

typedef struct {
        char *id, *shown, *workload;
        guint waiting;
        guint64 closed;        /* connections */
        GHashTable *programs;  /* Program */
        GPtrArray *uses;       /* File, counted in its users */
        GPtrArray *closed_by;  /* char *, each once */
        /* a file system of its does not answer: nothing of it is looked at before the question that was left behind is answered, and `again_us` */
        gboolean stuck;
        guint64 left;
        gint64 again_us;
        guint times;
        GQueue later; /* Job: what was to be looked at */
} Container;

typedef struct {
        guint64 dev, ino, ctime;
} Program;

typedef struct {
        char *id;
        guint32 pid;
        gboolean closed; /* a connection of it stays closed: why? */
        gboolean known;  /* `program` is to be forgotten if it cannot be looked at */
        Program program;
} Job;

struct BhTlsWatch {
        BhTlsWatchConfig c;
        char *proc;
        BhTlsReader *reader;
        GThread *thread;
        GMutex lock; /* all below */
        GCond changed;
        gboolean started, ended;
        gint stopping; /* atomic */
        GQueue jobs;
        GHashTable *containers; /* id → Container */
        GHashTable *files;      /* File: changed by the thread alone */
        GHashTable *pids;       /* pid and what was asked of it → nothing */
        guint64 looks, refused, unreadable, unparsed, attach_failed, uses_refused, stuck;
        char *problem;
};

static guint file_hash(gconstpointer p) {
        const File *f = p;

        return (guint) (f->ino ^ f->ino >> 32 ^ f->dev * 31 ^ (guint64) f->ctime_ns);
}

static gboolean file_equal(gconstpointer pa, gconstpointer pb) {
        const File *a = pa, *b = pb;

        return a->ino == b->ino && a->dev == b->dev && a->size == b->size && a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

static void file_free(gpointer p) {
        File *f = p;

        g_free(f->product);
        g_free(f);
}

static guint program_hash(gconstpointer p) {
        const Program *x = p;

        return (guint) (x->ino ^ x->ino >> 32 ^ x->dev * 31 ^ x->ctime);
}

static gboolean program_equal(gconstpointer a, gconstpointer b) {
        return memcmp(a, b, sizeof(Program)) == 0;
}

static void job_free(Job *j) {
        g_free(j->id);
        g_free(j);
}

static void container_free(gpointer p) {
        Container *c = p;

        for (Job *j; (j = g_queue_pop_head(&c->later)); job_free(j))
                ;
        g_free(c->id);
        g_free(c->shown);
        g_free(c->workload);
        g_hash_table_unref(c->programs);
        g_ptr_array_unref(c->uses);
        g_ptr_array_unref(c->closed_by);
        g_free(c);
}

/* ---- what is told; under the lock ---- */

static Container *container_of(BhTlsWatch *w, const BhContainer *of) {
        Container *c = g_hash_table_lookup(w->containers, of->id);

        if (c)
                return c;
        if (g_hash_table_size(w->containers) >= BH_TLS_WATCH_CONTAINERS) {
                w->refused++;
                return NULL;
        }
        c = g_new0(Container, 1);
        c->id = g_strdup(of->id);
        c->shown = g_strdup(of->name && *of->name ? of->name : of->id);
        c->workload = g_strdup(of->workload ? of->workload : "");
        c->programs = g_hash_table_new_full(program_hash, program_equal, g_free, NULL);
        c->uses = g_ptr_array_new();
        c->closed_by = g_ptr_array_new_with_free_func(g_free);
        g_hash_table_insert(w->containers, c->id, c);
        return c;
}

static gboolean queue(BhTlsWatch *w, Container *c, guint32 pid, gboolean closed, const Program *program) {
        Job *j;

        if (g_atomic_int_get(&w->stopping) || c->stuck)
                return FALSE;
        if (w->jobs.length >= BH_TLS_WATCH_WAITING || c->waiting >= BH_TLS_WATCH_CONTAINER) {
                w->refused++;
                return FALSE;
        }
        j = g_new0(Job, 1);
        j->id = g_strdup(c->id);
        j->pid = pid;
        j->closed = closed;
        if (program) {
                j->known = TRUE;
                j->program = *program;
        }
        c->waiting++;
        g_queue_push_tail(&w->jobs, j);
        g_cond_signal(&w->changed);
        return TRUE;
}

void bh_tls_watch_process(BhTlsWatch *w, guint32 pid, guint64 cgroup) {
        g_auto(BhContainerLookup) l = { 0 };
        Container *c;

        bh_container_table_lookup(w->c.containers, cgroup, &l);
        if (!l.container)
                return;
        g_mutex_lock(&w->lock);
        if ((c = container_of(w, l.container)))
                queue(w, c, pid, FALSE, NULL);
        g_mutex_unlock(&w->lock);
}

void bh_tls_watch_event(BhTlsWatch *w, const struct bh_event *e, const BhContainer *of) {
        Program program = { 0 };
        gboolean mapping = e->type == BH_EV_MMAP_EXEC, runs = e->type == BH_EV_EXEC || e->type == BH_EV_PROCESS;
        Container *c;

        if (!of || (!mapping && !runs) || !bh_event_has(e, BH_F_pid))
                return;
        if (mapping) {
                g_autofree char *path = bh_event_has(e, BH_F_path) ? g_strndup(e->path.p, e->path.len) : NULL;

                if (!path || !bh_tls_file_named(path))
                        return;
        } else if (bh_event_has(e, BH_F_exe_ino)) {
                program = (Program){ e->exe_dev, e->exe_ino, bh_event_has(e, BH_F_exe_ctime) ? (guint64) e->exe_ctime : 0 };
        }
        g_mutex_lock(&w->lock);
        c = container_of(w, of);
        /* a process that runs already has mapped what it needs: its libraries are not told */
        if (c && e->type != BH_EV_PROCESS && program.ino) {
                if (g_hash_table_size(c->programs) >= BH_TLS_WATCH_PROGRAMS)
                        g_hash_table_remove_all(c->programs);
                if (!g_hash_table_contains(c->programs, &program) && queue(w, c, e->pid, FALSE, &program))
                        g_hash_table_add(c->programs, g_memdup2(&program, sizeof(program)));
        } else if (c) {
                queue(w, c, e->pid, FALSE, NULL);
        }
        g_mutex_unlock(&w->lock);
}

void bh_tls_watch_piece(BhTlsWatch *w, const BhPayloadPiece *p) {
        gboolean closed = (p->flags & BH_PAYLOAD_TLS_CLOSED) != 0, hello = p->flags & BH_PAYLOAD_OPEN && (p->protocol == BH_PAYLOAD_TLS_HELLO || p->protocol == BH_PAYLOAD_PROXY);
        guint64 key[2] = { (guint64) p->pid << 1 | closed, p->start };
        Container *c;

        if ((!closed && !hello) || !p->pid)
                return;

        g_auto(BhContainerLookup) l = { 0 };
        bh_container_table_lookup(w->c.containers, p->container, &l);
        if (!l.container)
                return;
        g_mutex_lock(&w->lock);
        c = container_of(w, l.container);
        if (c && closed)
                c->closed++;
        g_autoptr(GBytes) bytes = g_bytes_new(key, sizeof(key));
        if (c && !g_hash_table_contains(w->pids, bytes)) {
                if (g_hash_table_size(w->pids) >= PIDS_MAX)
                        g_hash_table_remove_all(w->pids);
                if (queue(w, c, p->pid, closed, NULL))
                        g_hash_table_add(w->pids, g_steal_pointer(&bytes));
        }
        g_mutex_unlock(&w->lock);
}

/* ---- the thread ---- */

typedef struct {
        BhTlsWatch *w;
        const Job *job;
        gboolean open;    /* something of it is probed */
        gboolean left;    /* its files do not answer: no more of it is looked at */
        const char *kind; /* of what is not, by its files */
        char *product;    /* the same, by its functions; owned */
        char *name;       /* of the program; owned */
} Look;

static void problem(BhTlsWatch *w, guint64 *counter, const GError *error) {
        g_mutex_lock(&w->lock);
        (*counter)++;
        g_free(w->problem);
        w->problem = g_strdup(error->message);
        g_mutex_unlock(&w->lock);
}

/* Whether the container's file system did not answer: what waits of it is put aside, so that it does not keep the others waiting. */
static gboolean is_stuck(BhTlsWatch *w, const Job *j, const GError *error) {
        Container *c;

        if (!g_error_matches(error, BH_TLS_READER_ERROR, BH_TLS_READER_ERROR_STUCK))
                return FALSE;
        g_mutex_lock(&w->lock);
        w->stuck++;
        c = g_hash_table_lookup(w->containers, j->id);
        if (c) {
                c->stuck = TRUE;
                c->left = bh_tls_reader_last_left(w->reader);
                c->again_us = g_get_monotonic_time() + (AGAIN_US << MIN(c->times, AGAIN_MOST));
                c->times++;
                Job *same = g_memdup2(j, sizeof(*j));
                same->id = g_strdup(j->id);
                g_queue_push_tail(&c->later, same);
        }
        for (GList *l = c ? w->jobs.head : NULL, *next; l; l = next) {
                next = l->next;
                if (!g_str_equal(((Job *) l->data)->id, j->id))
                        continue;
                c->waiting--;
                g_queue_unlink(&w->jobs, l);
                g_queue_push_tail_link(&c->later, l);
        }
        g_mutex_unlock(&w->lock);
        return TRUE;
}

/* The file has changed since: its probes lie where the functions were, and have the name that the new ones are to have. */
static void drop_former(BhTlsWatch *w, const File *f) {
        GHashTableIter i;
        gpointer key;

        for (g_hash_table_iter_init(&i, w->files); g_hash_table_iter_next(&i, &key, NULL); ) {
                File *former = key;

                if (!former->probed || former->name != f->name || former->ino != f->ino)
                        continue;
                w->c.detach(former->name, former->ino, w->c.data);
                g_mutex_lock(&w->lock);
                former->probed = former->open = FALSE;
                g_mutex_unlock(&w->lock);
        }
}

/* Has the file parsed, and probed if there is a reason. */
static File *file_new(Look *l, const BhTlsFile *at, const BhRootfileInfo *info, int place) {
        BhTlsWatch *w = l->w;
        g_autoptr(GError) error = NULL;
        g_auto(BhFd) memfd = bh_tls_reader_copy(w->reader, place, BH_INSPECT_FILE_MAX, &error);
        g_autoptr(BhElf) elf = NULL;
        File *f;

        if (g_atomic_int_get(&w->stopping)) /* it may have taken long */
                return NULL;
        if (memfd < 0 && error->domain == BH_TLS_READER_ERROR) {
                l->left = is_stuck(w, l->job, error);
                problem(w, &w->unreadable, error);
                return NULL; /* it is not known what it is */
        }
        elf = memfd >= 0 ? w->c.parse(memfd, w->c.data, &error) : NULL;
        f = g_new0(File, 1);

        *f = (File){ .dev = info->dev, .ino = info->ino, .size = info->size, .mtime_ns = info->mtime_ns, .ctime_ns = info->ctime_ns };
        /* layers of different images may have files of one number */
        f->name = f->dev ? f->dev : (guint64) f->ctime_ns * 31 + (guint64) f->mtime_ns * 17 + f->size;
        if (elf)
                f->product = bh_tls_library(elf, at->executable, &f->open);
        else if (memfd < 0)
                problem(w, &w->unreadable, error);
        else
                problem(w, &w->unparsed, error);
        drop_former(w, f);
        if (f->open && elf->bits != 64) {
                f->open = FALSE;
        } else if (f->open && w->c.attach(f->name, f->ino, at->path, elf, w->c.data, &error)) {
                f->probed = TRUE;
        } else if (f->open) {
                problem(w, &w->attach_failed, error);
                f->open = FALSE;
        }
        g_mutex_lock(&w->lock);
        g_hash_table_add(w->files, f);
        g_mutex_unlock(&w->lock);
        return f;
}

/* The container may have ended meanwhile: then nobody uses it, and the next sweep lets go of it. */
static void use(BhTlsWatch *w, const char *id, File *f) {
        Container *c;

        g_mutex_lock(&w->lock);
        c = g_hash_table_lookup(w->containers, id);
        if (c && !g_ptr_array_find(c->uses, f, NULL)) {
                if (c->uses->len < BH_TLS_WATCH_USES) {
                        g_ptr_array_add(c->uses, f);
                        f->users++;
                } else {
                        w->uses_refused++;
                }
        }
        g_mutex_unlock(&w->lock);
}

static void on_file(const BhTlsFile *at, gpointer data) {
        Look *l = data;
        BhRootfileInfo info;
        g_autoptr(GError) error = NULL;
        g_auto(BhFd) place = -1;
        File *f;

        if (l->left || g_atomic_int_get(&l->w->stopping))
                return;
        place = bh_tls_reader_mapped(l->w->reader, at->path, &info, &error);
        if (at->executable && !l->name)
                l->name = g_path_get_basename(at->name);
        if (place < 0) {
                l->left = is_stuck(l->w, l->job, error);
                if (!g_error_matches(error, BH_ROOTFILE_ERROR, BH_ROOTFILE_ERROR_GONE))
                        problem(l->w, &l->w->unreadable, error);
                return;
        }
        File key = { .dev = info.dev, .ino = info.ino, .size = info.size, .mtime_ns = info.mtime_ns, .ctime_ns = info.ctime_ns };
        f = g_hash_table_lookup(l->w->files, &key);
        if (!f)
                f = file_new(l, at, &info, place);
        if (!f)
                return;
        if (f->product)
                use(l->w, l->job->id, f);
        if (f->open)
                l->open = TRUE;
        else if (f->product && !l->product)
                l->product = g_strdup(f->product);
}

static const char no_answer[] = "a file system that does not answer";

/* In words for people: why what the process says stays closed. */
static char *why_closed(const Look *l) {
        g_autofree char *name = NULL;

        if (l->left)
                return g_strdup(no_answer);
        if (l->open)
                return g_strdup("a connection of which no call of its library was seen in the handshake");
        if (l->product)
                return g_strdup(l->product);
        if (g_strcmp0(l->name, "java") == 0)
                return g_strdup("Java");
        name = bh_escape_cell(l->name ? l->name : "?", -1);
        return g_strdup_printf("the program %.64s", name);
}

static void note_closed(BhTlsWatch *w, const Job *j, const Look *l) {
        g_autofree char *why = why_closed(l);
        Container *c;

        g_mutex_lock(&w->lock);
        c = g_hash_table_lookup(w->containers, j->id);
        if (c && c->closed_by->len < CLOSED_MAX && !g_ptr_array_find_with_equal_func(c->closed_by, why, g_str_equal, NULL))
                g_ptr_array_add(c->closed_by, g_steal_pointer(&why));
        g_mutex_unlock(&w->lock);
}

static void look(BhTlsWatch *w, const Job *j) {
        Look l = { .w = w, .job = j };
        gboolean there = bh_tls_files(w->proc, j->pid, on_file, &l);
        Container *c;

        g_mutex_lock(&w->lock);
        w->looks++;
        c = g_hash_table_lookup(w->containers, j->id);
        if (c) {
                c->waiting--;
                if (!there && j->known)
                        g_hash_table_remove(c->programs, &j->program);
        }
        g_mutex_unlock(&w->lock);
        if (there && (j->closed || l.left) && !g_atomic_int_get(&w->stopping))
                note_closed(w, j, &l);
        g_free(l.product);
        g_free(l.name);
}

static gboolean has_ended(BhTlsWatch *w, const char *id) {
        g_autoptr(BhContainer) c = bh_container_table_get(w->c.containers, id);

        return !c || c->state == BH_CONTAINER_EXITED || c->state == BH_CONTAINER_DEAD || c->state == BH_CONTAINER_REMOVED;
}

/* What was put aside of containers whose file systems have answered. */
static void look_again(BhTlsWatch *w) {
        GHashTableIter i;
        gpointer value;

        g_mutex_lock(&w->lock);
        for (g_hash_table_iter_init(&i, w->containers); g_hash_table_iter_next(&i, NULL, &value); ) {
                Container *c = value;
                guint at;

                if (!c->stuck || g_get_monotonic_time() < c->again_us || bh_tls_reader_is_left(w->reader, c->left))
                        continue;
                c->stuck = FALSE;
                if (g_ptr_array_find_with_equal_func(c->closed_by, no_answer, g_str_equal, &at))
                        g_ptr_array_remove_index(c->closed_by, at);
                for (Job *j; (j = g_queue_pop_head(&c->later)); job_free(j))
                        if (!queue(w, c, j->pid, j->closed, j->known ? &j->program : NULL) && j->known)
                                g_hash_table_remove(c->programs, &j->program);
        }
        g_mutex_unlock(&w->lock);
}

/* Lets go of containers that have ended, and of the files that nobody uses any more. */
static void sweep(BhTlsWatch *w) {
        g_autoptr(GPtrArray) ids = g_ptr_array_new_with_free_func(g_free), idle = g_ptr_array_new_with_free_func(file_free);
        GHashTableIter i;
        gpointer key, value;
        gboolean all;

        g_mutex_lock(&w->lock);
        all = g_hash_table_size(w->files) > FILES_MAX;
        for (g_hash_table_iter_init(&i, w->containers); g_hash_table_iter_next(&i, &key, &value); )
                if (!((Container *) value)->waiting)
                        g_ptr_array_add(ids, g_strdup(key));
        g_mutex_unlock(&w->lock);
        for (guint n = 0; n < ids->len; n++) {
                Container *c;

                if (!has_ended(w, ids->pdata[n]))
                        continue;
                g_mutex_lock(&w->lock);
                c = g_hash_table_lookup(w->containers, ids->pdata[n]);
                if (c && !c->waiting) {
                        for (guint f = 0; f < c->uses->len; f++)
                                ((File *) c->uses->pdata[f])->users--;
                        g_hash_table_remove(w->containers, c->id);
                }
                g_mutex_unlock(&w->lock);
        }
        g_mutex_lock(&w->lock);
        for (g_hash_table_iter_init(&i, w->files); g_hash_table_iter_next(&i, &key, NULL); )
                if (!((File *) key)->users && (((File *) key)->product || all)) {
                        g_hash_table_iter_steal(&i);
                        g_ptr_array_add(idle, key);
                }
        g_mutex_unlock(&w->lock);
        for (guint n = 0; n < idle->len; n++) {
                File *f = idle->pdata[n];

                if (f->probed)
                        w->c.detach(f->name, f->ino, w->c.data);
        }
}

static gpointer run(gpointer data) {
        BhTlsWatch *w = data;
        gint64 due = g_get_monotonic_time() + SWEEP_US;

        g_mutex_lock(&w->lock);
        while (!g_atomic_int_get(&w->stopping)) {
                Job *j = w->started ? g_queue_pop_head(&w->jobs) : NULL;
                gboolean sweeps = w->started && g_get_monotonic_time() >= due;

                if (!j && !sweeps) {
                        g_cond_wait_until(&w->changed, &w->lock, due);
                        if (!w->started)
                                due = g_get_monotonic_time() + SWEEP_US;
                        continue;
                }
                g_mutex_unlock(&w->lock);
                if (j)
                        look(w, j);
                g_clear_pointer(&j, job_free);
                if (sweeps) {
                        look_again(w);
                        sweep(w);
                        due = g_get_monotonic_time() + SWEEP_US;
                }
                g_mutex_lock(&w->lock);
        }
        w->ended = TRUE;
        g_cond_broadcast(&w->changed);
        g_mutex_unlock(&w->lock);
        return NULL;
}

/* ---- life ---- */

BhTlsWatch *bh_tls_watch_new(const BhTlsWatchConfig *config) {
        BhTlsWatch *w = g_new0(BhTlsWatch, 1);

        w->c = *config;
        w->proc = g_strdup(config->proc);
        w->reader = bh_tls_reader_new(config->calls);
        g_mutex_init(&w->lock);
        g_cond_init(&w->changed);
        w->containers = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, container_free);
        w->files = g_hash_table_new_full(file_hash, file_equal, file_free, NULL);
        w->pids = g_hash_table_new_full(g_bytes_hash, g_bytes_equal, (GDestroyNotify) g_bytes_unref, NULL);
        w->thread = g_thread_new("bh-tls", run, w);
        return w;
}

void bh_tls_watch_start(BhTlsWatch *w) {
        g_mutex_lock(&w->lock);
        w->started = TRUE;
        g_cond_broadcast(&w->changed);
        g_mutex_unlock(&w->lock);
}

void bh_tls_watch_stop(BhTlsWatch *w) {
        gint64 until = g_get_monotonic_time() + STUCK_US;

        if (!w)
                return;
        g_mutex_lock(&w->lock);
        g_atomic_int_set(&w->stopping, TRUE);
        g_cond_broadcast(&w->changed);
        while (!w->ended && g_cond_wait_until(&w->changed, &w->lock, until))
                ;
        gboolean ended = w->ended;
        g_mutex_unlock(&w->lock);
        if (ended && w->thread)
                g_thread_join(g_steal_pointer(&w->thread));
        else if (w->thread)
                bh_warn("a container's file system does not answer; a thread that reads a file of it is left behind");
}

void bh_tls_watch_free(BhTlsWatch *w) {
        bh_tls_watch_stop(w);
        if (!w || w->thread) /* that has it */
                return;
        g_queue_clear_full(&w->jobs, (GDestroyNotify) job_free);
        g_hash_table_unref(w->containers);
        g_hash_table_unref(w->files);
        g_hash_table_unref(w->pids);
        g_mutex_clear(&w->lock);
        g_cond_clear(&w->changed);
        bh_tls_reader_free(w->reader);
        g_free(w->problem);
        g_free(w->proc);
        g_free(w);
}

/* ---- what is known ---- */

static void add_word(GString *to, const char *word) {
        if (to->len)
                g_string_append(to, ", ");
        g_string_append(to, word);
}

/* Under the lock. NULL: no TLS. */
static char *text_of(const Container *c) {
        g_autoptr(GString) clear = g_string_new(NULL), closed = g_string_new(NULL);

        for (guint i = 0; i < c->uses->len; i++) {
                const File *f = c->uses->pdata[i];

                if (f->open && !strstr(clear->str, f->product))
                        add_word(clear, f->product);
        }
        for (guint i = 0; i < c->closed_by->len; i++)
                add_word(closed, c->closed_by->pdata[i]);
        if (!closed->len && c->closed)
                g_string_append(closed, "a program that was gone");
        if (!clear->len && !closed->len)
                return NULL;
        return g_strdup_printf("%s%s%s%s%s", clear->len ? "clear: " : "", clear->str, clear->len && closed->len ? "; " : "", closed->len ? "closed: " : "", closed->str);
}

char *bh_tls_watch_container(BhTlsWatch *w, const char *id) {
        const Container *c;
        char *text;

        g_mutex_lock(&w->lock);
        c = g_hash_table_lookup(w->containers, id);
        text = c ? text_of(c) : NULL;
        g_mutex_unlock(&w->lock);
        return text;
}

static json_t *text(const char *s) {
        g_autofree char *valid = g_utf8_make_valid(s, -1);

        return json_string(valid);
}

json_t *bh_tls_watch_status(BhTlsWatch *w) {
        json_t *o = json_object(), *list = json_array(), *libraries = json_array();
        guint files = 0, more = 0;
        GHashTableIter i;
        gpointer key, value;

        g_mutex_lock(&w->lock);
        for (g_hash_table_iter_init(&i, w->files); g_hash_table_iter_next(&i, &key, NULL); ) {
                const File *f = key;

                if (!f->probed)
                        continue;
                files++;
                json_array_append_new(libraries, json_pack("{s:o,s:i}", "library", text(f->product), "containers", (int) f->users));
        }
        for (g_hash_table_iter_init(&i, w->containers); g_hash_table_iter_next(&i, NULL, &value); ) {
                const Container *c = value;
                g_autofree char *what = text_of(c);

                if (!what)
                        continue;
                if (json_array_size(list) >= BH_TLS_WATCH_SHOWN) {
                        more++;
                        continue;
                }
                json_array_append_new(list, json_pack("{s:o,s:o,s:o,s:o,s:I}", "container", text(c->shown), "id", text(c->id), "workload", text(c->workload), "tls", text(what), "closed",
                                                      (json_int_t) c->closed));
        }
        json_object_set_new(o, "files", json_integer(files));
        json_object_set_new(o, "libraries", libraries);
        json_object_set_new(o, "looks", json_integer((json_int_t) w->looks));
        json_object_set_new(o, "waiting", json_integer(w->jobs.length));
        json_object_set_new(o, "passed_over", json_integer((json_int_t) w->refused));
        json_object_set_new(o, "unreadable", json_integer((json_int_t) w->unreadable));
        json_object_set_new(o, "unparsed", json_integer((json_int_t) w->unparsed));
        json_object_set_new(o, "stuck", json_integer((json_int_t) w->stuck));
        json_object_set_new(o, "refused", json_integer((json_int_t) (w->attach_failed + w->uses_refused)));
        json_object_set_new(o, "problem", text(w->problem ? w->problem : ""));
        json_object_set_new(o, "containers", list);
        json_object_set_new(o, "more", json_integer(more));
        g_mutex_unlock(&w->lock);
        return o;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What workers of evidence do: read what a job names, and keep it. */
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/fdio.h"
#include "base/log.h"
#include "container/container.h"
#include "evidence_private.h"

#define TEXT_MAX 1024u /* of a foreign text in an item */
#define HOUR_US (G_GINT64_CONSTANT(3600) * G_USEC_PER_SEC)
#define SPENT_MAX 4096u

typedef struct {
        gint64 since_us;
        guint64 bytes;
        guint requests, streams;
} Spent;

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
                s->requests = 0;
                s->streams = 0;
        }
        /* whoever sends requests decides how many there are */
        gboolean request = j->kind == BH_JOB_TEXT && g_str_equal(j->text_kind, "request"), stream = j->kind == BH_JOB_TEXT && g_str_equal(j->text_kind, "stream");
        gboolean ok = s->bytes + bytes <= BH_EVIDENCE_CONTAINER_BYTES && !(request && s->requests >= BH_EVIDENCE_REQUESTS) && !(stream && s->streams >= BH_EVIDENCE_STREAMS);
        if (ok) {
                s->bytes += bytes;
                s->requests += request;
                s->streams += stream;
        } else {
                v->over_budget++;
        }
        g_mutex_unlock(&v->lock);
        return ok;
}

static void give_back(BhEvidence *v, const BhJob *j, guint64 bytes) {
        g_mutex_lock(&v->lock);
        Spent *s = g_hash_table_lookup(v->spent, bh_job_owner(j));
        if (s)
                s->bytes -= MIN(s->bytes, bytes);
        g_mutex_unlock(&v->lock);
}

static guint64 count(BhEvidence *v, guint64 *counter) {
        g_mutex_lock(&v->lock);
        guint64 n = ++*counter;
        g_mutex_unlock(&v->lock);
        return n;
}

/* ---- workers ---- */

/* Equal bytes of one container, for the same reason and under the same name, are one item. A put of them is to be let go. *key: what they are known by from now on. */
static gboolean is_told(BhEvidence *v, const BhJob *j, const BhObject *o, guint64 *key) {
        g_autofree char *what = g_strdup_printf("%s %s %s %s", o->sha256, bh_job_owner(j), j->why ? j->why : "", j->finding ? j->finding : "");

        *key = XXH3_64bits_withSeed(what, strlen(what), XXH3_64bits(j->path ? j->path : "", j->path ? strlen(j->path) : 0));
        g_mutex_lock(&v->lock);
        gboolean told = !bh_evidence_note(v->told, *key);
        v->equal_items += told;
        g_mutex_unlock(&v->lock);
        return told;
}

static json_t *file_facts(const struct stat *st) {
        json_t *file = json_object();

        json_object_set_new(file, "dev", json_integer((json_int_t) st->st_dev));
        json_object_set_new(file, "ino", json_integer((json_int_t) st->st_ino));
        json_object_set_new(file, "mode", json_integer(st->st_mode));
        json_object_set_new(file, "uid", json_integer(st->st_uid));
        json_object_set_new(file, "size", json_integer(st->st_size));
        json_object_set_new(file, "links", json_integer((json_int_t) st->st_nlink));
        return file;
}

static void keep_file(BhEvidence *v, const BhJob *j, const char *kind) {
        struct stat st = { 0 };
        g_auto(BhFd) fd = bh_evidence_open_file(v, j, &st);
        guint64 size = MIN((guint64) st.st_size, BH_EVIDENCE_FILE_MAX);
        g_autoptr(GError) error = NULL;
        guint64 key;
        BhObject o;

        if (fd < 0) {
                if (!j->only_written)
                        count(v, &v->missed);
                return;
        }
        if ((j->only_written && !bh_evidence_was_written(v, st.st_dev, st.st_ino)) || !may_spend(v, j, size))
                return;
        if (!bh_vault_put_file(v->vault, fd, BH_EVIDENCE_FILE_MAX, &o, &error)) {
                count(v, &v->failed);
                return;
        }
        if (o.known) /* it takes no room */
                give_back(v, j, size);
        if (is_told(v, j, &o, &key)) {
                bh_vault_let_go(v->vault, &o);
                return;
        }
        json_t *facts = facts_of(v, j);
        json_object_set_new(facts, "file", file_facts(&st));
        if (keep(v, j, kind, facts, &o)) {
                count(v, &v->files);
                return;
        }
        g_mutex_lock(&v->lock); /* the next one is kept, where this could not be */
        g_hash_table_remove(v->told, &key);
        g_mutex_unlock(&v->lock);
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
                count(v, &v->missed_processes);
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

/* Equal ones of one container are one item, and so is one whose reason alone is another. */
static void keep_diff(BhEvidence *v, const BhJob *j) {
        BhLayerCounts n;
        GString *text = bh_evidence_diff(v, j, &n);
        g_autoptr(GError) error = NULL;
        gboolean kept = FALSE;
        guint64 key;
        BhObject o;

        if (!text) {
                count(v, &v->missed_diffs);
                return;
        }
        key = XXH3_64bits_withSeed(text->str, text->len, XXH3_64bits(bh_job_owner(j), strlen(bh_job_owner(j))));
        g_mutex_lock(&v->lock);
        gboolean told = !bh_evidence_note(v->told, key);
        v->equal_items += told;
        g_mutex_unlock(&v->lock);
        if (told) {
                g_string_free(text, TRUE);
                return;
        }
        gboolean room = may_spend(v, j, text->len);
        if (room && bh_vault_put_bytes(v->vault, text->str, text->len, &o, &error)) {
                json_t *facts = facts_of(v, j);

                json_object_set_new(facts, "format", json_string("jsonl"));
                json_object_set_new(facts, "diff", json_pack("{s:i, s:i, s:i, s:b}", "added", (int) n.added, "changed", (int) n.changed, "deleted", (int) n.deleted, "whole", n.whole));
                kept = keep(v, j, "diff", facts, &o);
        } else if (room) {
                count(v, &v->failed);
        }
        g_string_free(text, TRUE);
        g_mutex_lock(&v->lock);
        if (kept)
                v->diffs_kept++;
        else /* the next one is kept, where this could not be */
                g_hash_table_remove(v->told, &key);
        g_mutex_unlock(&v->lock);
}

/* What was done since the finding is in it as well. From here on it is a job that may be held up. */
static void diff_again(BhEvidence *v, BhJob *j) {
        if (!bh_evidence_diff_due(v, bh_job_owner(j)) || !bh_evidence_turn(v, j, BH_JOB_DIFF))
                return;
        j->last = !j->finding; /* of its end */
        keep_diff(v, j);
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

void bh_evidence_work(gpointer data, gpointer user) {
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
                bh_evidence_hold(v, j);
                break;
        case BH_JOB_PROCESS:
                keep_process(v, j);
                break;
        case BH_JOB_CONTAINER:
                keep_container(v, j);
                break;
        case BH_JOB_WINDOW:
                keep_window(v, j, j->start_ns);
                diff_again(v, j);
                break;
        case BH_JOB_DIFF:
                keep_diff(v, j);
                break;
        case BH_JOB_TEXT:
                keep_text(v, j, j->text_kind, g_bytes_get_data(j->text, NULL), g_bytes_get_size(j->text), g_str_equal(j->text_kind, "decoy") ? "bytes" : "text");
                break;
        }
        bh_evidence_end(v, j);
        bh_job_free(j);
}

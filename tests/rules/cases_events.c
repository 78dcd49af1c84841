/* SPDX-License-Identifier: Apache-2.0 */
/* Events of the cases: JSON as `bulkhead events --json` prints, and beside it what a process table would know. */
#include <string.h>

#include "cases.h"
#include "event/codec.h"

struct BhCaseEvents {
        GHashTable *by_name;
        json_t *merged; /* keeps the texts */
};

static gboolean find(gpointer data, guint32 pid, guint64 start, struct bh_lineage_process *out) {
        const BhCaseEvent *e = data;

        for (guint i = 0; i < e->n; i++) {
                if (e->processes[i].pid == pid && (!start || e->processes[i].start == start)) {
                        *out = e->processes[i];
                        return TRUE;
                }
        }
        return FALSE;
}

static gboolean parent(gpointer data, const struct bh_lineage_process *of, struct bh_lineage_process *out) {
        const BhCaseEvent *e = data;

        for (guint i = 0; i + 1 < e->chain; i++) {
                if (e->processes[i].pid == of->pid) {
                        *out = e->processes[i + 1];
                        return TRUE;
                }
        }
        return FALSE;
}

const struct bh_lineage *bh_case_lineage(const BhCaseEvent *event) {
        return event->chain ? &event->lineage : NULL;
}

static struct bh_str text_of(const json_t *v, const char *of) {
        if (!json_is_string(v))
                bh_case_bail("%s: a text is expected", of);
        return (struct bh_str){ json_string_value(v), (guint32) json_string_length(v) };
}

static struct bh_str list_of(BhCaseEvent *e, const json_t *v, const char *of) {
        GString *joined = g_string_new(NULL);
        const json_t *item;
        size_t i;

        if (!json_is_array(v))
                bh_case_bail("%s: a list is expected", of);
        json_array_foreach(v, i, item) {
                struct bh_str s = text_of(item, of);

                g_string_append_len(joined, s.p, s.len);
                g_string_append_c(joined, '\0');
        }
        g_ptr_array_add(e->texts, joined);
        return (struct bh_str){ joined->str, (guint32) joined->len };
}

static guint64 number_of(const json_t *v, const char *of) {
        if (!json_is_integer(v) || json_integer_value(v) < 0)
                bh_case_bail("%s: a number is expected", of);
        return (guint64) json_integer_value(v);
}

static void read_process(BhCaseEvent *e, struct bh_lineage_process *p, const json_t *spec, const char *of) {
        static const struct {
                const char *key;
                guint32 flag;
        } flags[] = { { "exe_upper", BH_LP_EXE_UPPER }, { "exe_lower", BH_LP_EXE_LOWER }, { "exe_memfd", BH_LP_EXE_MEMFD }, { "exe_writable", BH_LP_EXE_WRITABLE }, { "exited", BH_LP_EXITED } };
        const char *key;
        json_t *v;

        json_object_foreach((json_t *) spec, key, v) {
                gboolean known = TRUE;

                if (g_str_equal(key, "pid"))
                        p->pid = (guint32) number_of(v, of);
                else if (g_str_equal(key, "vpid"))
                        p->vpid = (guint32) number_of(v, of);
                else if (g_str_equal(key, "ppid"))
                        p->ppid = (guint32) number_of(v, of);
                else if (g_str_equal(key, "start"))
                        p->start = number_of(v, of);
                else if (g_str_equal(key, "comm"))
                        p->comm = text_of(v, of);
                else if (g_str_equal(key, "exe"))
                        p->exe = text_of(v, of);
                else if (g_str_equal(key, "args"))
                        p->args = list_of(e, v, of);
                else if (g_str_equal(key, "env"))
                        p->env = list_of(e, v, of);
                else if (g_str_equal(key, "cwd"))
                        p->cwd = text_of(v, of);
                else if (g_str_equal(key, "container"))
                        p->container_id = text_of(v, of);
                else if (g_str_equal(key, "uid"))
                        p->uid = (guint32) number_of(v, of), p->flags |= BH_LP_CRED;
                else if (g_str_equal(key, "gid"))
                        p->gid = (guint32) number_of(v, of), p->flags |= BH_LP_CRED;
                else if (g_str_equal(key, "sid"))
                        p->sid = (guint32) number_of(v, of), p->flags |= BH_LP_SESSION;
                else if (g_str_equal(key, "pgid"))
                        p->pgid = (guint32) number_of(v, of), p->flags |= BH_LP_SESSION;
                else if (g_str_equal(key, "tty"))
                        p->tty = (guint32) number_of(v, of), p->flags |= BH_LP_SESSION;
                else if (g_str_equal(key, "loginuid"))
                        p->loginuid = (guint32) number_of(v, of), p->flags |= BH_LP_LOGIN;
                else
                        known = FALSE;
                for (guint i = 0; i < G_N_ELEMENTS(flags); i++) {
                        if (g_str_equal(key, flags[i].key)) {
                                known = TRUE;
                                p->flags |= BH_LP_EXE | (json_is_true(v) ? flags[i].flag : 0);
                        }
                }
                if (!known)
                        bh_case_bail("%s: nobody looks at \"%s\" of a process", of, key);
        }
}

/* What the event itself says of its process: a table knows at least that. */
static void process_of_event(struct bh_lineage_process *p, const struct bh_event *e) {
#define BH_TAKE(member, field) \
        if (bh_event_has(e, BH_F_##field)) \
                p->member = e->field
        BH_TAKE(pid, pid);
        BH_TAKE(vpid, vpid);
        BH_TAKE(ppid, ppid);
        BH_TAKE(start, proc_start);
        BH_TAKE(comm, comm);
        BH_TAKE(exe, exe);
        BH_TAKE(args, args);
        BH_TAKE(cwd, cwd);
        BH_TAKE(env, env);
        BH_TAKE(container_id, container_id);
        BH_TAKE(uid, uid);
        BH_TAKE(gid, gid);
        BH_TAKE(sid, sid);
        BH_TAKE(pgid, pgid);
        BH_TAKE(tty, tty);
        BH_TAKE(loginuid, loginuid);
#undef BH_TAKE
        if (bh_event_has(e, BH_F_uid))
                p->flags |= BH_LP_CRED;
        if (bh_event_has(e, BH_F_sid))
                p->flags |= BH_LP_SESSION;
        if (bh_event_has(e, BH_F_loginuid))
                p->flags |= BH_LP_LOGIN;
}

static void event_free(gpointer data) {
        BhCaseEvent *e = data;

        g_free(e->event);
        g_free(e->processes);
        g_ptr_array_unref(e->texts);
        g_free(e);
}

static void free_text(gpointer text) {
        g_string_free(text, TRUE);
}

static BhCaseEvent *event_new(const char *name, json_t *spec) {
        BhCaseEvent *e = g_new0(BhCaseEvent, 1);
        json_t *lineage = json_object_get(spec, "lineage"), *self = json_object_get(spec, "self"), *others = json_object_get(spec, "others"), *one;
        g_autoptr(GError) error = NULL;
        size_t i;

        e->texts = g_ptr_array_new_with_free_func(free_text);
        e->n = (lineage || self || others ? 1 : 0) + (guint) json_array_size(lineage) + (guint) json_array_size(others);
        e->chain = e->n - (guint) json_array_size(others);
        e->processes = g_new0(struct bh_lineage_process, e->n + 1);
        e->lineage = (struct bh_lineage){ .find = find, .parent = parent, .data = e };

        json_t *plain = json_copy(spec);
        json_object_del(plain, "lineage");
        json_object_del(plain, "self");
        json_object_del(plain, "others");

        const char *key;
        json_t *value;
        json_object_foreach(plain, key, value) {
                if (!bh_field_find(key))
                        bh_case_bail("event %s: an event has no field \"%s\"", name, key);
        }
        char *text = json_dumps(plain, JSON_COMPACT);
        e->event = bh_event_from_json(text, strlen(text), &error);
        free(text);
        json_decref(plain);
        if (!e->event)
                bh_case_bail("event %s: %s", name, error->message);
        if (!e->n)
                return e;
        process_of_event(&e->processes[0], e->event);
        if (self)
                read_process(e, &e->processes[0], self, name);
        json_array_foreach(lineage, i, one)
                read_process(e, &e->processes[1 + i], one, name);
        json_array_foreach(others, i, one)
                read_process(e, &e->processes[e->chain + i], one, name);
        for (guint k = 0; k + 1 < e->chain; k++) {
                if (!e->processes[k].ppid)
                        e->processes[k].ppid = e->processes[k + 1].pid;
        }
        return e;
}

BhCaseEvents *bh_case_events_new(const json_t *file) {
        BhCaseEvents *events = g_new0(BhCaseEvents, 1);
        const json_t *base = json_object_get(file, "base");
        const char *name;
        json_t *spec;

        events->by_name = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, event_free);
        events->merged = json_object();
        json_object_foreach(json_object_get(file, "events"), name, spec) {
                json_t *whole = json_object();

                if (!json_is_object(spec))
                        bh_case_bail("event %s: it must be a mapping", name);
                /* `bare: true`: only what stands there */
                if (base && !json_is_true(json_object_get(spec, "bare")))
                        json_object_update(whole, (json_t *) base);
                json_object_update(whole, spec);
                json_object_del(whole, "bare");
                json_object_set_new(events->merged, name, whole);
                g_hash_table_insert(events->by_name, (gpointer) name, event_new(name, whole));
        }
        return events;
}

void bh_case_events_free(BhCaseEvents *events) {
        g_hash_table_unref(events->by_name);
        json_decref(events->merged);
        g_free(events);
}

const BhCaseEvent *bh_case_event(const BhCaseEvents *events, const char *name) {
        const BhCaseEvent *e = g_hash_table_lookup(events->by_name, name);

        if (!e)
                bh_case_bail("there is no event %s", name);
        return e;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Single processes of a container, and trees of them: named by number and beginning, so that none is meant that has the number by now. */
#include <fcntl.h>

#include "base/fdio.h"
#include "base/log.h"
#include "enforce_link.h"
#include "respond_private.h"

#define TOLD_MAX 64u /* processes that are told one by one */

static json_t *list_of(const GArray *processes) {
        json_t *list = json_array();

        for (guint i = 0; i < MIN(processes->len, TOLD_MAX); i++) {
                const BhStray *s = &g_array_index(processes, BhStray, i);
                g_autofree char *started = bh_time_format(s->started_ns), *comm = g_utf8_make_valid(s->comm, -1);

                json_array_append_new(list, json_pack("{s:i,s:s*,s:s}", "pid", s->pid, "started", s->started_ns ? started : NULL, "comm", comm));
        }
        return list;
}

static void tell(json_t *detail, const GArray *processes) {
        json_object_set_new(detail, "processes", json_integer(processes->len));
        json_object_set_new(detail, "process_list", list_of(processes));
}

static void note(BhEntry *e, const char *text) {
        json_t *notes = json_object_get(e->detail, "notes");

        if (!notes)
                json_object_set_new(e->detail, "notes", notes = json_array());
        json_array_append_new(notes, json_string(text));
}

/* Who forked whom before there was a sensor is known by who the parents were when it came: whoever had lost theirs is not known to descend. */
static void note_age(const BhRespond *r, BhEntry *e, const BhProcessName *name, const GArray *alive) {
        gint64 began = name->started_ns;

        for (guint i = 0; !began && alive && i < alive->len; i++)
                if (g_array_index(alive, BhStray, i).pid == name->pid)
                        began = g_array_index(alive, BhStray, i).started_ns;
        if (began < r->started_ns)
                note(e, "it began before this sensor: those whose parent had ended by then are not known as its descendants; kill takes all");
}

gboolean bh_respond_processes_tell(BhRespond *r, BhEntry *e, const BhContainer *c, gboolean dry_run, GError **error) {
        const gboolean tree = e->action == BH_RESPONSE_KILL_TREE;
        g_autoptr(GError) failed = NULL;
        g_autoptr(GArray) alive = NULL;
        BhProcessName name;
        gboolean ended;

        if (!bh_process_name_parse(e->subject, &name))
                return bh_enforce_fail(error, "the order names no process");
        if (!(alive = bh_respond_tree(r, e->container, &name, tree, &ended, &failed))) {
                if (tree && ended && !dry_run) { /* whoever forks and ends at once is found when it is frozen */
                        note_age(r, e, &name, NULL);
                        return TRUE;
                }
                g_propagate_error(error, g_steal_pointer(&failed));
                return FALSE;
        }
        tell(e->detail, alive);
        for (guint i = 0; c->init_pid > 0 && i < alive->len; i++)
                if (g_array_index(alive, BhStray, i).pid == c->init_pid)
                        note(e, "the container's first process is among them: the container ends with it");
        if (tree)
                note_age(r, e, &name, alive);
        return TRUE;
}

/* What froze it: this, and nobody else. */
static void thaw(BhRespond *r, const BhEntry *e) {
        g_autoptr(GError) error = NULL;
        g_auto(BhLists) l = { .isolated = FALSE };

        if (bh_respond_lists(r, e->container, &l, NULL) && l.frozen)
                return;
        if (bh_respond_is_there(r, e->cgroup) && !bh_cgroup_freeze(r->v2, e->cgroup, FALSE, &error))
                bh_error("a container cannot be thawed after processes of it were killed", "container", e->container, "error", error->message);
}

/*
 * Who forks and ends at once, again and again, is gone before it is found: nobody in the container moves while a tree is looked for, which is for milliseconds. That it was done so is in the ledger
 * first. FALSE: it is frozen already, by whomever, or cannot be: then those that are found are stopped one by one.
 */
static gboolean freeze(BhRespond *r, BhEntry *e) {
        g_autofree char *path = g_build_filename(r->v2 ? r->v2 : "", e->cgroup, "cgroup.freeze", NULL), *text = NULL;

        if (!r->v2 || !*e->cgroup || !(text = bh_file_read(AT_FDCWD, path, 16, NULL, NULL, NULL)) || *text == '1')
                return FALSE;
        json_object_set_new(e->detail, BH_ENTRY_FROZE, json_true());
        if (bh_entry_save(r->dir, e) && bh_cgroup_freeze(r->v2, e->cgroup, TRUE, NULL))
                return TRUE;
        thaw(r, e); /* it may have begun to */
        json_object_del(e->detail, BH_ENTRY_FROZE);
        return FALSE;
}

void bh_respond_processes_settle(BhRespond *r, BhEntry *e) {
        const gboolean froze = r->v2 && *e->cgroup && json_is_true(json_object_get(e->detail, BH_ENTRY_FROZE));
        g_autoptr(GArray) killed = g_array_new(FALSE, FALSE, sizeof(BhStray));
        g_autofree char *result = NULL;
        gboolean frozen = FALSE;
        BhProcessName name;
        guint left = 0;

        if (e->action == BH_RESPONSE_KILL_TREE && bh_process_name_parse(e->subject, &name) && name.started_ns) {
                frozen = froze ? bh_respond_is_there(r, e->cgroup) && bh_cgroup_freeze(r->v2, e->cgroup, TRUE, NULL) : freeze(r, e);
                left = bh_respond_kill_tree(r, e, &name, frozen, killed);
        }
        if (froze || frozen)
                thaw(r, e);
        json_object_del(e->detail, BH_ENTRY_FROZE);
        if (!killed->len)
                return;
        tell(e->detail, killed);
        result = left ? g_strdup_printf("the sensor ended while it was carried out, and its successor went on: %u of the processes are still there after they were killed", left)
                      : g_strdup_printf("done: %u killed by the successor of a sensor that ended while it was carried out", killed->len);
        r->done += !left;
        bh_respond_end(r, e, left ? BH_RESPONSE_STATE_FAILED : BH_RESPONSE_STATE_DONE, result);
        bh_respond_say(r, left ? "response_failed" : "response_done", e, left ? result : "was carried out");
}

gboolean bh_respond_processes_kill(BhRespond *r, BhEntry *e, GError **error) {
        const gboolean tree = e->action == BH_RESPONSE_KILL_TREE;
        g_autoptr(GArray) killed = g_array_new(FALSE, FALSE, sizeof(BhStray));
        BhProcessName name;
        guint left;

        if (!bh_process_name_parse(e->subject, &name) || !name.started_ns)
                return bh_enforce_fail(error, "the order does not say which process: its number, and when it began");
        const gboolean frozen = tree && freeze(r, e);
        left = bh_respond_kill_tree(r, e, &name, frozen, killed);
        if (frozen)
                thaw(r, e);
        json_object_del(e->detail, BH_ENTRY_FROZE);
        tell(e->detail, killed);
        if (!killed->len && !left)
                return bh_enforce_fail(error, "there was nobody left to be killed: %s ended by itself", tree ? "the process, with all that descend from it," : "the process");
        return !left || bh_enforce_fail(error, "%u of the processes are still there after they were killed", left);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a response is told by those who carry it out: by the keeper of file denials, and by the kernel about acts that it refused. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/escape.h"
#include "base/log.h"
#include "cgroup_pids.h"
#include "respond_private.h"

#define TOLD_MAX 16u /* different refused acts told in a tick */
#define REFUSED '\n'  /* between the response and the sentence of what is to be told */
#define OBSERVED '\r' /* of a list that is only tried */

/* ---- by whom its files are reached ---- */

/* Not waited for: a root may be a file system that its container lets answer late. */
static gboolean look_at_root(const char *path, struct statx *s) {
        return statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_INO, s) == 0;
}

static gboolean is_root(const char *path, const struct statx *s) {
        struct statx other;

        return look_at_root(path, &other) && other.stx_dev_major == s->stx_dev_major && other.stx_dev_minor == s->stx_dev_minor && other.stx_ino == s->stx_ino;
}

/* A process by which its files are reached. 0: none lives, or its runtime has not changed to the container's root yet. Where nobody may look at the first process of the host, the own root stands for its. */
pid_t bh_respond_process_of(const BhRespond *r, const BhContainer *c, const char *cgroup) {
        g_autofree char *host = g_build_filename(r->proc, "1/root/.", NULL), *path = c && c->init_pid > 0 ? g_strdup_printf("%s/%d/root/.", r->proc, c->init_pid) : NULL;
        pid_t pid = path ? c->init_pid : 0;
        struct statx its;

        if (!path || !look_at_root(path, &its)) { /* one that ended: its successor may be there before it is told of */
                g_autoptr(GArray) pids = bh_cgroup_pids(r->v2, cgroup, 1, G_MAXUINT, NULL);

                if (!pids->len)
                        return 0;
                g_free(path);
                pid = g_array_index(pids, gint, 0);
                path = g_strdup_printf("%s/%d/root/.", r->proc, pid);
                if (!look_at_root(path, &its))
                        return pid;
        }
        return is_root(host, &its) || is_root("/", &its) ? 0 : pid;
}

/* ---- the keeper of file denials ---- */

/* What the keeper says of it. NULL: nothing. */
static json_t *listed(json_t *list, const char *container) {
        json_t *one;
        size_t i;

        json_array_foreach(json_object_get(list, "containers"), i, one)
                if (g_strcmp0(json_string_value(json_object_get(one, "container")), container) == 0)
                        return one;
        return NULL;
}

static BhEntryCounts counts_of(json_t *one) {
        return (BhEntryCounts){ .programs = (guint64) json_integer_value(json_object_get(one, "programs")), .untold = (guint64) json_integer_value(json_object_get(one, "untold")) };
}

/* What the keeper has of containers that nothing in the ledger denies files to. */
void bh_respond_settle_files(BhRespond *r) {
        json_auto_t *list = bh_filekeeper_list(r->keeper);
        json_t *one;
        size_t i;

        json_array_foreach(json_object_get(list, "containers"), i, one) {
                const char *container = json_string_value(json_object_get(one, "container"));
                g_autoptr(GError) error = NULL;
                gboolean wanted = FALSE;
                GHashTableIter it;
                BhEntry *e;

                g_hash_table_iter_init(&it, r->entries);
                while (g_hash_table_iter_next(&it, NULL, (gpointer *) &e))
                        wanted |= e->action == BH_RESPONSE_BLOCK && bh_respond_holds_now(e, container);
                if (!wanted && !bh_filekeeper_drop(r->keeper, container, &error))
                        bh_error("files are denied for no response", "container", container, "error", error->message);
        }
}

static gboolean denies_programs(const BhEntry *e) {
        for (guint i = 0; e->deny[i]; i++)
                if (g_str_has_prefix(e->deny[i], "exec-hash:"))
                        return TRUE;
        return FALSE;
}

static void mend_files(BhRespond *r, BhEntry *e) {
        if (e->state != BH_RESPONSE_STATE_ACTIVE || !bh_respond_denies_files(e))
                return;
        e->unkept = TRUE;
        e->cgroup_id = 0; /* by look_after() */
}

static void tell_unkept(BhRespond *r, BhEntry *e) {
        if (e->unkept)
                bh_respond_say(r, "keeper_lost", e, "denied no files since the keeper of file denials ended; it is put in force again");
        e->unkept = FALSE;
}

/* The sensor was away: was the keeper, too? Where the cgroup is another one by now its container was, and there was nothing to deny. */
void bh_respond_find_unkept(BhRespond *r) {
        json_auto_t *list = bh_filekeeper_list(r->keeper);
        GHashTableIter it;
        BhEntry *e;

        g_hash_table_iter_init(&it, r->entries);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &e)) {
                gboolean kept = e->state != BH_RESPONSE_STATE_ACTIVE || !r->v2 || !bh_respond_is_there(r, e->cgroup) || !bh_respond_denies_files(e);
                e->unkept = !kept && !listed(list, e->container);
                e->counted = counts_of(listed(list, e->container)); /* told by the sensor before this one, or by none */
                if (e->counted.programs < e->before.programs || e->counted.untold < e->before.untold) /* the keeper was started anew as well */
                        e->before = (BhEntryCounts){ 0 };
        }
}

/* What the keeper had to give up: twice missed, since a container that ends goes from its list a moment before it goes from ours. */
static void find_missing(BhRespond *r, json_t *list) {
        GHashTableIter it;
        BhEntry *e;

        g_hash_table_iter_init(&it, r->entries);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &e)) {
                g_autoptr(GArray) pids = NULL;

                if (e->state != BH_RESPONSE_STATE_ACTIVE || !e->cgroup_id || !bh_respond_denies_files(e) || listed(list, e->container)) {
                        e->missed = 0;
                        continue;
                }
                pids = bh_cgroup_pids(r->v2, e->cgroup, 1, G_MAXUINT, NULL);
                e->missed = pids->len ? e->missed + 1 : 0;
                if (e->missed > 1)
                        mend_files(r, e);
        }
}

void bh_respond_programs_begin(BhRespond *r, BhEntry *e) {
        json_auto_t *list = denies_programs(e) ? bh_filekeeper_list(r->keeper) : NULL;

        e->before = e->counted = counts_of(listed(list, e->container));
}

/* The keeper counts by container, from when it was told of it first. */
static void tell_counts(BhRespond *r, BhEntry *e, const BhEntryCounts *now) {
        g_autoptr(GString) what = g_string_new(NULL);

        if (now->programs < e->counted.programs || now->untold < e->counted.untold) { /* it, or the container, was started anew */
                e->before = e->counted = (BhEntryCounts){ 0 };
                bh_entry_save(r->dir, e);
        }
        if (now->programs != e->counted.programs)
                g_string_append_printf(what, "refused programs for their content before they ran: %" G_GUINT64_FORMAT " until now", now->programs - e->before.programs);
        if (now->untold != e->counted.untold)
                g_string_append_printf(what, "%srefused programs since their content could not be told, or not in time: %" G_GUINT64_FORMAT " until now", what->len ? "; " : "", now->untold - e->before.untold);
        e->counted = *now;
        if (what->len)
                bh_respond_say(r, "response_blocked", e, what->str);
}

static void tell_programs(BhRespond *r, json_t *list) {
        GHashTableIter it;
        BhEntry *e;

        g_hash_table_iter_init(&it, r->entries);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &e)) {
                json_t *one = e->state == BH_RESPONSE_STATE_ACTIVE && denies_programs(e) ? listed(list, e->container) : NULL;
                const BhEntryCounts now = counts_of(one);

                if (one)
                        tell_counts(r, e, &now);
        }
}

/* No fail-open without a word: when the keeper ends the kernel lets through what it asked about. */
void bh_respond_look_after_keeper(BhRespond *r) {
        if (bh_filekeeper_lost(r->keeper)) {
                r->keeper_restarts = 0;
                bh_respond_each_open(r, mend_files);
        }
        bh_respond_each_open(r, tell_unkept);
        if (g_get_monotonic_time() - r->keeper_asked_us < G_USEC_PER_SEC)
                return;
        r->keeper_asked_us = g_get_monotonic_time();
        json_auto_t *list = bh_filekeeper_list(r->keeper);
        guint restarts = (guint) json_integer_value(json_object_get(list, "restarts"));

        if (list && restarts > r->keeper_restarts && r->c.say) {
                g_autofree char *n = g_strdup_printf("%u", restarts);

                r->c.say("keeper_stuck", "what answers the kernel about denied files ended or did not answer, and was started anew: opens waited meanwhile, and those under way were refused", "restarts", n, r->c.data);
        }
        if (list) {
                r->keeper_restarts = restarts;
                find_missing(r, list);
                tell_programs(r, list);
        }
}

/* ---- what was refused ---- */

static void on_told(const struct bh_block_act *a, gpointer data) {
        static const char *const hows[] = { [BH_BLOCK_DENIED] = "was refused", [BH_BLOCK_KILLED] = "was killed before its first instruction", [BH_BLOCK_OBSERVED] = "would have been refused" };
        static const char *const kinds[BH_BLOCK_KINDS] = { [BH_BLOCK_EXEC] = "the program %s", [BH_BLOCK_NOT_IN_IMAGE] = "the program %s, which is not from the image,", [BH_BLOCK_CAP] = "the use of capability %s",
                                                           [BH_BLOCK_MOUNT] = "mounting", [BH_BLOCK_PTRACE] = "tracing another process", [BH_BLOCK_MODULE] = "loading a kernel module",
                                                           [BH_BLOCK_NOT_LISTED] = "the program %s, which is not among those that alone may run," };
        const char mark = a->how == BH_BLOCK_OBSERVED ? OBSERVED : REFUSED;
        g_autofree char *name = bh_escape_cell(a->name, (gssize) strnlen(a->name, sizeof(a->name))), *comm = bh_escape_cell(a->comm, (gssize) strnlen(a->comm, sizeof(a->comm))), *cap = g_strdup_printf("%u", a->cap);
        g_autoptr(GString) text = g_string_new(a->kind < BH_BLOCK_KINDS && kinds[a->kind] ? kinds[a->kind] : "an act");
        BhRespond *r = data;
        GHashTableIter it;
        BhEntry *e, *of = NULL;

        g_hash_table_iter_init(&it, r->entries);
        while (!of && g_hash_table_iter_next(&it, NULL, (gpointer *) &e))
                if ((guint32) e->serial == a->rule)
                        of = e;
        g_string_replace(text, "%s", a->kind == BH_BLOCK_CAP ? cap : name, 1);
        g_string_append_printf(text, " %s; %s (pid %u, user %u)", a->how < G_N_ELEMENTS(hows) && hows[a->how] ? hows[a->how] : "was refused", comm, a->tgid, a->uid);
        g_string_prepend_c(text, mark);
        g_string_prepend(text, of ? of->id : "");
        guint *n = g_hash_table_lookup(r->told, text->str);
        if (n) {
                (*n)++;
                return;
        }
        if (g_hash_table_size(r->told) >= TOLD_MAX) { /* the rest of this tick is one sentence of each response */
                g_string_printf(text, "%s%cother acts %s refused", of ? of->id : "", mark, mark == OBSERVED ? "would have been" : "were");
                if ((n = g_hash_table_lookup(r->told, text->str))) {
                        (*n)++;
                        return;
                }
        }
        n = g_new(guint, 1);
        *n = 1;
        g_hash_table_insert(r->told, g_strdup(text->str), n);
}

/* One finding for each different act of this tick. */
void bh_respond_tell_refused(BhRespond *r) {
        GHashTableIter it;
        gpointer key;
        guint *n;

        bh_block_tell(r->block, on_told, r);
        g_hash_table_iter_init(&it, r->told);
        while (g_hash_table_iter_next(&it, &key, (gpointer *) &n)) {
                char *text = strpbrk(key, (char[]){ REFUSED, OBSERVED, '\0' });
                const gboolean observed = *text == OBSERVED;
                const char *action = observed ? "response_observed" : "response_blocked";
                g_autofree char *id = g_strndup(key, (gsize) (text - (char *) key)), *what = *n > 1 ? g_strdup_printf("%s, %u times", text + 1, *n) : g_strdup(text + 1);
                BhEntry *e = g_hash_table_lookup(r->entries, id);

                if (e) {
                        json_object_set_new(e->detail, observed ? "last_observed" : "last_refused", json_string(what)); /* escaped: valid UTF-8 */
                        bh_respond_say(r, action, e, what);
                } else if (r->c.say) {
                        r->c.say(action, what, "response", id, r->c.data);
                }
        }
        g_hash_table_remove_all(r->told);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "respond.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/escape.h"
#include "base/fdio.h"
#include "base/log.h"
#include "cgroup_pids.h"
#include "container/docker_act.h"
#include "enforce_link.h"
#include "respond_files.h"
#include "respond_private.h"

#define DOCKER_MS 30000
#define GRACE_US (15 * G_USEC_PER_SEC) /* until a runtime has described what it has */
#define LOOK_US G_USEC_PER_SEC /* how often the paths of what is blocked are looked at again */
#define MODELS_HELD 192u /* of BH_RESPOND_HELD, by the actors of models that are enforced (the central's enforced.h): others have room for an emergency */
#define MODELS_CHANGED 16u /* beside them, while they take the place of others of their containers, which are released behind them */
#define ANSWERED_US 5000 /* between two looks at answers of DNS that wait */

static gint64 now_ns(void) {
        return g_get_real_time() * 1000;
}

void bh_respond_say(BhRespond *r, const char *action, const BhEntry *e, const char *what) {
        g_autofree char *text = g_strdup_printf("response %s: %s of %s %s%s%s %s%s%s", e->id, bh_response_action_name(e->action), e->action == BH_RESPONSE_SCALE ? "workload" : "container", *e->name ? e->name : e->container, *e->actor ? " for " : "", e->actor,
                                                what, *e->reason ? ": " : "", e->reason);

        if (r->c.say)
                r->c.say(action, text, "response", e->id, r->c.data);
}

/* ---- holding a container by what is in the ledger ---- */

gboolean bh_respond_holds_now(const BhEntry *e, const char *container) {
        return e->state == BH_RESPONSE_STATE_ACTIVE && g_str_equal(e->container, container);
}

/* What the keeper is told of. */
gboolean bh_respond_denies_files(const BhEntry *e) {
        for (guint i = 0; e->deny[i]; i++) {
                g_autoptr(BhDeny) d = bh_deny_is(e->deny[i]) ? bh_deny_parse(e->deny[i], NULL) : NULL;

                if (d && (d->kind == BH_DENY_EXEC_HASH || (d->kind == BH_DENY_FILE && d->ops & (BH_DENY_READ | BH_DENY_WRITE))))
                        return TRUE;
        }
        return FALSE;
}

/* Something that is refused by what is in the container's file system, so that its root must be there first. */
static gboolean needs_root(const BhEntry *e) {
        for (guint i = 0; e->deny[i]; i++) {
                g_autoptr(BhDeny) d = bh_deny_is(e->deny[i]) ? bh_deny_parse(e->deny[i], NULL) : NULL;

                if (d && (d->kind == BH_DENY_EXEC || d->kind == BH_DENY_EXEC_NOT_IN_IMAGE || d->kind == BH_DENY_EXEC_ONLY))
                        return TRUE;
        }
        return bh_respond_denies_files(e);
}

typedef struct {
        BhEnforceDone done;
        BhBlockDone acts;
        gboolean isolated, frozen, network, led;
        gboolean cut; /* what is about the network is as it should be */
        guint strays, out; /* who had left its cgroup and was brought back, and who could not be */
        GError *acts_failed; /* of another's: what is refused beside stays as it was */
        json_t *ways; /* what goes on all the same, a sentence each */
} Held;

static void held_clear(Held *held) {
        bh_block_done_clear(&held->acts);
        g_clear_pointer(&held->ways, json_decref);
        g_clear_error(&held->acts_failed);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Held, held_clear)

/* Anything but files and contents, which are their keeper's. */
static gboolean names_acts(const GPtrArray *denies) {
        for (guint i = 0; i < denies->len; i++) {
                const BhDenyKind kind = ((const BhDeny *) denies->pdata[i])->kind;

                if (kind != BH_DENY_FILE && kind != BH_DENY_EXEC_HASH)
                        return TRUE;
        }
        return FALSE;
}

/* Whether it refuses anything but peers. */
static gboolean refuses_acts(const BhEntry *e) {
        for (guint i = 0; e->action == BH_RESPONSE_BLOCK && e->deny[i]; i++)
                if (bh_deny_is(e->deny[i]))
                        return TRUE;
        return FALSE;
}

/* What is refused but peers. `fresh`: what was ordered just now, or NULL. `files_too`: files as well, which their keeper looks at again by itself. */
static gboolean hold_acts(BhRespond *r, const BhContainer *c, const char *container, const char *cgroup, const BhEntry *fresh, gboolean files_too, Held *held, GError **error) {
        g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func((GDestroyNotify) g_ptr_array_unref);
        g_autoptr(GArray) rules = g_array_new(FALSE, FALSE, sizeof(BhBlockRule));
        g_autoptr(GPtrArray) files = g_ptr_array_new();
        BhBlockSubject subject = { .init_pid = c && c->init_pid > 0 ? bh_respond_process_of(r, c, cgroup) : 0, .own_pids = c && !bh_respond_shares_pids(r, c) };
        GHashTableIter it;
        BhEntry *e;

        g_hash_table_iter_init(&it, r->entries);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &e)) {
                g_autoptr(GArray) peers = NULL;
                GPtrArray *denies;

                if (!bh_respond_holds_now(e, container) || e->action != BH_RESPONSE_BLOCK)
                        continue;
                if (!(denies = bh_denies_parse((const char *const *) e->deny, g_strv_length(e->deny), &peers, error)))
                        return FALSE;
                g_ptr_array_add(all, denies);
                const BhBlockRule rule = { .number = (guint32) e->serial, .denies = denies, .fresh = e == fresh };
                if (names_acts(denies))
                        g_array_append_val(rules, rule);
        }
        if (!bh_respond_is_there(r, cgroup)) { /* nobody is left to whom anything could be refused */
                bh_block_clear(r->block, cgroup);
                return !files_too || bh_respond_files(r->keeper, container, cgroup, 0, files, held->ways, error);
        }
        for (guint i = 0; i < all->len; i++)
                g_ptr_array_extend(files, all->pdata[i], NULL, NULL);
        const gboolean set = bh_block_set(r->block, cgroup, (const BhBlockRule *) (const void *) rules->data, rules->len, &subject, &held->acts, error);

        return (!files_too || bh_respond_files(r->keeper, container, cgroup, bh_respond_process_of(r, c, cgroup), files, held->ways, set ? error : NULL)) && set;
}

typedef enum { HOLD_FRESH = 1, HOLD_THAW = 2 } Hold; /* it was ordered just now; what we froze is thawed: what others froze stays so */

/*
 * All that is in force for its container, on behalf of this one. Whoever is in the container has a say in whether its programs and files can be looked at, and none in whether it is cut off and frozen: so that is done, and what cannot
 * be looked at fails those alone that are about it.
 */
static gboolean hold(BhRespond *r, const BhContainer *c, const BhEntry *of, Hold how, Held *held, GError **error) {
        const char *container = of->container, *cgroup = of->cgroup;
        g_autoptr(GError) no_acts = NULL;
        g_auto(BhLists) l = { .isolated = FALSE };

        held_clear(held);
        *held = (Held){ .ways = json_array() };
        bh_respond_names_watch(r, container);
        if (!bh_respond_lists(r, container, &l, error))
                return FALSE;
        held->isolated = l.isolated;
        held->frozen = l.frozen;
        held->network = l.network;
        held->led = l.lead != NULL;
        const gboolean acts = hold_acts(r, c, container, cgroup, how & HOLD_FRESH ? of : NULL, TRUE, held, &no_acts);
        BhEnforceRules rules = bh_respond_rules(&l);
        rules.shared_network = held->network && c && bh_respond_shares_network(r, c);

        if (held->network && !r->enforce)
                return bh_enforce_fail(error, "this node cannot cut containers off: %s", r->problem);
        if (r->enforce && !held->network)
                bh_enforce_clear(r->enforce, cgroup);
        else if (held->network && !bh_enforce_set(r->enforce, cgroup, &rules, &held->done, error))
                return FALSE;
        held->cut = TRUE;
        if (bh_respond_is_there(r, cgroup)) {
                if ((held->frozen || how & HOLD_THAW) && !bh_cgroup_freeze(r->v2, cgroup, held->frozen, error))
                        return FALSE;
                if (held->frozen || held->isolated || held->led)
                        held->out = bh_respond_gather(r, container, cgroup, &held->strays);
        }
        if (acts)
                return TRUE;
        if (refuses_acts(of)) {
                g_propagate_error(error, g_steal_pointer(&no_acts));
                return FALSE;
        }
        bh_error("what else is refused to a container cannot be looked at again, and stays as it was", "container", container, "error", no_acts->message);
        held->acts_failed = g_steal_pointer(&no_acts);
        return TRUE;
}

/* What goes on all the same, a sentence each. */
static json_t *open_ways(const BhContainer *c, const Held *held) {
        json_t *open = json_copy(held->ways);
        const char *why = held->done.host_network ? "it has the host's network" : held->done.shared_network ? "it shares its network with other containers"
                          : held->done.no_interfaces && !g_str_equal(c->network_mode, "none") ? "none of its interfaces ends in this network namespace" : NULL;

        if (held->frozen)
                json_array_clear(open);
        if (held->out)
                json_array_append_new(open, json_sprintf("%u of its processes left its control group and cannot be brought back", held->out));
        if (held->frozen)
                return open;
        for (guint i = 0; held->acts.open && i < held->acts.open->len; i++)
                json_array_append_new(open, json_string(held->acts.open->pdata[i]));
        if (held->network && why)
                json_array_append_new(open, json_sprintf("frames of packet sockets and the kernel's own answers (ICMP echo) pass: %s", why));
        for (guint i = 0; held->isolated && i < c->mounts->len; i++) {
                const BhMount *m = &g_array_index(c->mounts, BhMount, i);
                g_autofree char *source = g_utf8_make_valid(m->source, -1);

                if (g_str_has_suffix(m->source, ".sock"))
                        json_array_append_new(open, json_sprintf("the Unix socket %s is mounted in it", source));
        }
        return open;
}

/* Who is out of a container that is held and cannot be brought back: told once for all that hold it, and again when there was nobody in between. `told`: it was said otherwise. */
static void tell_out(BhRespond *r, const BhEntry *of, guint out, gboolean told) {
        g_autofree char *what = g_strdup_printf("does not hold all of it: %u of its processes left its control group and cannot be brought back", out);
        GHashTableIter it;
        BhEntry *e;

        told |= of->out;
        g_hash_table_iter_init(&it, r->entries);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &e))
                if (g_str_equal(e->container, of->container))
                        e->out = out != 0;
        if (out && !told)
                bh_respond_say(r, "response_open", of, what);
}

/* What was held holds these as well; blocks do not. */
static void tell_held_out(BhRespond *r, const BhEntry *of, const Held *held, gboolean told) {
        if (of->action != BH_RESPONSE_BLOCK && (held->frozen || held->isolated || held->led))
                tell_out(r, of, held->out, told);
}

void bh_respond_end(BhRespond *r, BhEntry *e, BhResponseState state, const char *result) {
        e->state = state;
        e->time_ns = now_ns();
        g_free(e->result);
        e->result = g_strdup(result);
        if (state == BH_RESPONSE_STATE_FAILED)
                r->failed++;
        gboolean busy = e->busy;

        bh_entry_save(r->dir, e);
        e->busy = TRUE; /* the caller's: it stays, whatever the clock says */
        bh_entries_prune(r->dir, r->entries, BH_RESPOND_ENDED);
        e->busy = busy;
}

/* Whether packets and calls are refused for it, which are counted for the container. */
static gboolean is_of_network(const BhEntry *e) {
        for (guint i = 0; bh_response_action_denies(e->action) && e->deny[i]; i++)
                if (!bh_deny_is(e->deny[i]))
                        return TRUE;
        return bh_response_action_isolates(e->action);
}

/* What it is about is let through, and told. */
static gboolean observes(const BhEntry *e) {
        return g_strv_contains((const char *const *) e->deny, bh_deny_word(BH_DENY_OBSERVE));
}

/* What it has refused until now. */
static void add_refused(BhRespond *r, const BhEntry *e, json_t *detail) {
        guint64 packets, bytes, calls, acts, untold;

        if (e->state != BH_RESPONSE_STATE_ACTIVE)
                return;
        if (r->enforce && is_of_network(e) && bh_enforce_refused(r->enforce, e->cgroup, &packets, &bytes, &calls))
                json_object_set_new(detail, "refused", json_pack("{s:I,s:I,s:I}", "packets", (json_int_t) packets, "bytes", (json_int_t) bytes, "calls", (json_int_t) calls));
        bh_respond_add_led(r, e, detail);
        if (e->action == BH_RESPONSE_BLOCK && bh_block_refused(r->block, (guint32) e->serial, &acts, &untold))
                json_object_set_new(detail, observes(e) ? "observed_acts" : "refused_acts", json_pack("{s:I,s:I}", "acts", (json_int_t) acts, "untold", (json_int_t) untold));
}

static void let_go(BhRespond *r, BhEntry *e, BhResponseState state, const char *result) {
        g_autoptr(GError) error = NULL;
        g_autoptr(BhContainer) c = bh_container_table_get(r->c.containers, e->container);
        g_autofree char *said = NULL;
        g_auto(Held) held = { 0 };

        bh_respond_tell_refused(r);
        bh_respond_tell_led(r);
        add_refused(r, e, e->detail); /* the kernel forgets it with the response */
        e->state = state;
        if (*e->cgroup && r->v2 && !hold(r, c, e, bh_response_action_freezes(e->action) ? HOLD_THAW : 0, &held, &error)) {
                bh_error("what remains of a container's responses cannot be set", "container", e->container, "error", error->message);
                if (bh_respond_is_there(r, e->cgroup)) /* else there is nothing that anything could be in force for */
                        result = said = g_strdup_printf("%s, but it may still be in force: %s", result, error->message);
        }
        bh_respond_end(r, e, state, result);
        bh_respond_say(r, "response_released", e, result);
}

/* ---- orders ---- */

guint bh_respond_held_now(const BhRespond *r) {
        GHashTableIter it;
        BhEntry *e;
        guint n = 0;

        g_hash_table_iter_init(&it, r->entries);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &e))
                n += e->state == BH_RESPONSE_STATE_ACTIVE;
        return n;
}

/* Of an order that is in no ledger; its id may be anything. */
static json_t *answer(const BhOrder *o, BhResponseState state, const char *why) {
        g_autofree char *id = g_utf8_make_valid(o->id, (gssize) strnlen(o->id, 64)), *text = g_utf8_make_valid(why, -1);

        return json_pack("{s:s,s:s,s:s,s:o,s:I,s:s}", "id", id, "state", bh_response_state_name(state), "result", text, "detail", json_object(), "time_ns", (json_int_t) now_ns(), "container", "");
}

json_t *bh_respond_fail(const BhOrder *o, const char *why) {
        return answer(o, BH_RESPONSE_STATE_FAILED, why);
}

json_t *bh_respond_fail_entry(BhRespond *r, BhEntry *e, const char *why) {
        bh_respond_end(r, e, BH_RESPONSE_STATE_FAILED, why);
        bh_respond_say(r, "response_failed", e, why);
        return bh_entry_tell(e);
}

/* What the others hold remains. */
static json_t *undo_new(BhRespond *r, BhEntry *e, const BhContainer *c, const char *why) {
        g_autoptr(GError) error = NULL;
        g_auto(Held) rest = { 0 };

        e->state = BH_RESPONSE_STATE_FAILED;
        if (!hold(r, c, e, bh_response_action_freezes(e->action) ? HOLD_THAW : 0, &rest, &error))
                bh_error("what remains of a container's responses cannot be set", "container", e->container, "error", error->message);
        return bh_respond_fail_entry(r, e, why);
}

static json_t *hold_new(BhRespond *r, BhEntry *e, const BhContainer *c) {
        g_autoptr(GError) error = NULL;
        g_auto(Held) held = { 0 };

        e->state = BH_RESPONSE_STATE_ACTIVE;
        e->cgroup_id = bh_respond_cgroup_id(r, e->cgroup);
        bh_respond_programs_begin(r, e);
        if (!bh_entry_save(r->dir, e))
                return bh_respond_fail_entry(r, e, "it cannot be written to the node's ledger, so that it would not survive the sensor: see the sensor's log");
        bh_respond_names_begin(r, e);
        if (!hold(r, c, e, HOLD_FRESH, &held, &error))
                return undo_new(r, e, c, error->message);
        bh_respond_names_ways(r, e, held.ways);
        json_t *open = open_ways(c, &held);
        json_object_set_new(e->detail, "open", open);
        json_auto_t *notes = json_array();
        for (guint i = 0; held.acts.notes && e->action == BH_RESPONSE_BLOCK && i < held.acts.notes->len; i++)
                json_array_append_new(notes, json_string(held.acts.notes->pdata[i]));
        if (held.acts_failed) {
                g_autofree char *why = g_strdup_printf("what others block in it cannot be looked at again, and stays as it was: %s", held.acts_failed->message);
                g_autofree char *valid = g_utf8_make_valid(why, -1);

                json_array_append_new(notes, json_string(valid));
        }
        bh_respond_names_note(e, notes);
        if (json_array_size(notes))
                json_object_set(e->detail, "notes", notes);
        json_object_set_new(e->detail, "cgroup", json_string(e->cgroup));
        json_object_set_new(e->detail, "interfaces", json_integer(held.done.interfaces));
        if (held.strays)
                json_object_set_new(e->detail, "strays", json_integer(held.strays));
        if (json_array_size(open) && !e->best_effort) {
                g_autofree char *why = g_strdup_printf("not every way can be closed: %s; nothing was changed, --best-effort does what can be done", json_string_value(json_array_get(open, 0)));

                return undo_new(r, e, c, why);
        }
        if (e->action == BH_RESPONSE_QUARANTINE)
                json_object_set_new(e->detail, "processes", json_integer((json_int_t) bh_entry_snapshot(r->dir, e, c, r->v2, r->proc)));
        bh_respond_end(r, e, BH_RESPONSE_STATE_ACTIVE, json_array_size(open) ? "in force; not every way is closed" : "in force");
        tell_held_out(r, e, &held, TRUE);
        bh_respond_say(r, "response_active", e, "is in force");
        return bh_entry_tell(e);
}

/* Unlocked: a runtime takes its time. */
static gboolean act(BhRespond *r, const BhEntry *e, const BhContainer *c, guint *strays, GError **error) {
        gboolean docker = r->docker && g_str_equal(c->runtime, "docker");
        const char *name = bh_response_action_name(e->action);
        g_autoptr(GError) refused = NULL;
        gboolean kills = e->action == BH_RESPONSE_KILL && r->v2, grouped = kills && *e->cgroup; /* without: its processes ended, but for those that had left it */

        if (grouped && bh_respond_is_there(r, e->cgroup)) /* so that they go at once with the others, whatever they fork */
                bh_respond_gather(r, c->id, e->cgroup, strays);
        if (docker && bh_docker_act(r->docker, c->id, name, DOCKER_MS, &refused) && e->action != BH_RESPONSE_KILL)
                return TRUE;
        if (kills) { /* whatever the runtime says: what is left of it */
                gboolean there = grouped && bh_respond_is_there(r, e->cgroup), ok = !there || bh_cgroup_kill(r->v2, e->cgroup, error);
                guint left = bh_respond_kill_strays(r, c->id, e->cgroup);

                if (ok && left)
                        return bh_enforce_fail(error, "%u of its processes, which had left it, are still there after they were killed", left);
                if (ok && there)
                        return TRUE;
                if (!ok)
                        return FALSE;
        }
        if (e->action == BH_RESPONSE_KILL && !refused)
                return TRUE;
        if (refused)
                g_propagate_error(error, g_steal_pointer(&refused));
        else
                bh_enforce_fail(error, "only a Docker Engine can be asked to %s a container, and %s runs this one: kill works", name, c->runtime);
        return FALSE;
}

static json_t *act_new(BhRespond *r, BhEntry *e, BhContainer *c) {
        g_autoptr(GError) error = NULL;
        g_autofree char *id = g_strdup(e->id);

        const gboolean of_processes = bh_response_action_of_processes(e->action);
        guint strays = 0;
        gboolean ok;

        e->state = BH_RESPONSE_STATE_PENDING;
        bh_entry_save(r->dir, e);
        e->busy = TRUE; /* nobody frees it meanwhile */
        if (of_processes) {
                ok = bh_respond_processes_kill(r, e, &error);
        } else {
                g_mutex_unlock(&r->lock);
                ok = act(r, e, c, &strays, &error);
                g_mutex_lock(&r->lock);
        }
        e->busy = FALSE;
        if (strays)
                json_object_set_new(e->detail, "strays", json_integer(strays));
        if (!ok)
                return bh_respond_fail_entry(r, e, error->message);
        r->done++;
        g_autofree char *killed = of_processes ? g_strdup_printf("done: %" JSON_INTEGER_FORMAT " killed", json_integer_value(json_object_get(e->detail, "processes"))) : NULL;
        bh_respond_end(r, e, BH_RESPONSE_STATE_DONE, killed ? killed : "done");
        bh_respond_say(r, "response_done", e, "was carried out");
        return bh_entry_tell(e);
}

static gboolean has_room_for(const BhRespond *r, const BhOrder *o) {
        guint n = 0, most = MODELS_HELD;
        GHashTableIter it;
        BhEntry *e;

        g_hash_table_iter_init(&it, r->entries);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &e))
                if (e->state == BH_RESPONSE_STATE_ACTIVE && g_str_has_prefix(e->actor, "model:") && ++n && g_str_equal(e->container, o->container) && g_strcmp0(e->actor, o->actor) == 0)
                        most = MODELS_HELD + MODELS_CHANGED;
        return bh_respond_held_now(r) < BH_RESPOND_HELD && (n < most || !o->actor || !g_str_has_prefix(o->actor, "model:"));
}

static json_t *take_new(BhRespond *r, const BhOrder *o) {
        g_autoptr(GError) error = NULL;
        BhResponseAction action;

        if (!bh_response_id_valid(o->id))
                return bh_respond_fail(o, "the order's id is none");
        if (!bh_response_action_parse(o->action, &action))
                return bh_respond_fail(o, "this node knows no such action: is its sensor older than the central?");
        if (action == BH_RESPONSE_SCALE)
                return bh_respond_scale_new(r, o);
        g_autoptr(BhContainer) c = bh_container_table_get(r->c.containers, o->container);
        if (!c || c->state == BH_CONTAINER_REMOVED)
                return bh_respond_fail(o, "there is no such container on the node any more");
        g_autoptr(GArray) allow = bh_peers_parse(o->allow, o->n_allow, &error), deny = NULL;
        g_autoptr(GPtrArray) acts = allow ? bh_denies_parse(o->deny, o->n_deny, &deny, &error) : NULL;
        if (!acts)
                return bh_respond_fail(o, error->message);
        if (!bh_peers_have_server(o->allow, o->n_allow, &error))
                return bh_respond_fail(o, error->message);
        if (action == BH_RESPONSE_DECOY && !bh_respond_decoy_check(r, o, c, &error))
                return bh_respond_fail(o, error->message);
        if (action == BH_RESPONSE_BLOCK && !o->n_deny)
                return bh_respond_fail(o, "to block needs at least one thing that is refused");
        g_autofree char *cgroup = r->v2 ? bh_respond_cgroup_of(r, c) : NULL, *why = bh_respond_protected_by(r, c, cgroup);
        if (why) {
                g_autofree char *text = g_strdup_printf("the container is protected: %s", why);

                return bh_respond_fail(o, text);
        }
        if (bh_response_action_holds(action) && !cgroup)
                return bh_respond_fail(o, r->v2 ? "the container does not run, and has no cgroup to hold" : "this machine has no version 2 hierarchy of control groups, without which no container can be held");
        if (bh_response_action_holds(action) && !has_room_for(r, o))
                return bh_respond_fail(o, "as many responses go on here as there may be, or as many of models that are enforced: release others first");
        if (bh_response_action_holds(action) && action != BH_RESPONSE_PAUSE && !r->enforce)
                return bh_respond_fail(o, r->problem);

        BhEntry *e = bh_entry_new(o, action, c, cgroup ? cgroup : "", ++r->serial, now_ns());
        if (bh_response_action_of_processes(action) && !bh_respond_processes_tell(r, e, c, o->dry_run, &error)) {
                bh_entry_free(e);
                return bh_respond_fail(o, error->message);
        }
        if (o->dry_run) {
                json_t *told;

                json_object_set_new(e->detail, "cgroup", json_string(e->cgroup));
                e->state = BH_RESPONSE_STATE_DRY_RUN;
                g_free(e->result);
                e->result = g_strdup_printf("would be done: %s", bh_response_action_does(action));
                told = bh_entry_tell(e);
                bh_entry_free(e);
                return told;
        }
        g_hash_table_insert(r->entries, e->id, e);
        return bh_response_action_holds(action) ? hold_new(r, e, c) : act_new(r, e, c);
}

json_t *bh_respond_order(BhRespond *r, const BhOrder *o) {
        json_t *told;

        g_mutex_lock(&r->lock);
        BhEntry *e = g_hash_table_lookup(r->entries, o->id);
        if (!e) {
                told = o->release ? answer(o, BH_RESPONSE_STATE_GONE, "the node does not know of it (any more)") : take_new(r, o);
        } else {
                if (o->release && e->action == BH_RESPONSE_SCALE)
                        bh_respond_scale_release(r, e, o->give_up);
                else if (o->release && e->state == BH_RESPONSE_STATE_ACTIVE)
                        let_go(r, e, BH_RESPONSE_STATE_RELEASED, "released");
                told = bh_entry_tell(e);
                bh_entry_add_snapshot(r->dir, e, told);
        }
        if (e == NULL && !o->release && (e = g_hash_table_lookup(r->entries, o->id)))
                bh_entry_add_snapshot(r->dir, e, told);
        g_cond_signal(&r->moved);
        g_mutex_unlock(&r->lock);
        return told;
}

json_t *bh_respond_list(BhRespond *r) {
        json_t *list = json_array();
        GHashTableIter it;
        BhEntry *e;

        g_mutex_lock(&r->lock);
        bh_respond_tell_refused(r); /* what is counted has its sentence */
        bh_respond_tell_led(r);
        g_hash_table_iter_init(&it, r->entries);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &e)) {
                json_t *one = bh_entry_tell(e);

                add_refused(r, e, json_object_get(one, "detail"));
                json_array_append_new(list, one);
        }
        g_mutex_unlock(&r->lock);
        return list;
}

char *bh_respond_protects(BhRespond *r, const BhContainer *c) {
        g_autofree char *cgroup = r->v2 ? bh_respond_cgroup_of(r, c) : NULL;

        return bh_respond_protected_by(r, c, cgroup);
}

gboolean bh_respond_holds(BhRespond *r, const char *actor, const char *container) {
        gboolean found = FALSE;
        GHashTableIter it;
        BhEntry *e;

        g_mutex_lock(&r->lock);
        g_hash_table_iter_init(&it, r->entries);
        while (!found && g_hash_table_iter_next(&it, NULL, (gpointer *) &e))
                found = (e->state == BH_RESPONSE_STATE_ACTIVE || e->state == BH_RESPONSE_STATE_PENDING) && g_str_equal(e->actor, actor) && g_str_equal(e->container, container);
        g_mutex_unlock(&r->lock);
        return found;
}

void bh_respond_each(BhRespond *r, const char *actor, void (*each)(const BhOrder *order, json_t *told, gpointer data), gpointer data) {
        GHashTableIter it;
        BhEntry *e;

        g_mutex_lock(&r->lock);
        g_hash_table_iter_init(&it, r->entries);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &e)) {
                if (!g_str_has_prefix(e->actor, actor))
                        continue;
                json_auto_t *told = bh_entry_tell(e);
                const BhOrder order = {
                        .id = e->id,
                        .action = bh_response_action_name(e->action),
                        .container = e->container,
                        .subject = e->subject,
                        .reason = e->reason,
                        .actor = e->actor,
                        .allow = (const char *const *) e->allow,
                        .deny = (const char *const *) e->deny,
                        .n_allow = e->allow ? g_strv_length(e->allow) : 0,
                        .n_deny = e->deny ? g_strv_length(e->deny) : 0,
                        .until_ns = e->until_ns,
                        .best_effort = e->best_effort,
                };
                each(&order, told, data);
        }
        g_mutex_unlock(&r->lock);
}

json_t *bh_respond_status(BhRespond *r) {
        json_t *guarantees = json_array(), *status;

#define BH_GUARANTEE(action, what, guarantee, by) json_array_append_new(guarantees, json_pack("{s:s,s:s,s:s,s:s}", "action", action, "what", what, "guarantee", guarantee, "by", by));
#define BH_GUARANTEE_KERNEL(action, what, else_guarantee, else_by)                                                                                               \
        json_array_append_new(guarantees, json_pack("{s:s,s:s,s:s,s:s}", "action", action, "what", what, "guarantee", by ? "deny" : known ? else_guarantee : "none", "by", by ? by : known ? else_by : "-"));
        g_mutex_lock(&r->lock);
        const BhBlockBackend backend = bh_block_backend(r->block);
        g_mutex_unlock(&r->lock);
        const char *by = backend == BH_BLOCK_BACKEND_LSM ? "BPF LSM" : backend == BH_BLOCK_BACKEND_RETURN ? "fmod_ret" : NULL;
        const gboolean known = backend != BH_BLOCK_BACKEND_NONE;
#include "response/guarantees.tbl.h"
#undef BH_GUARANTEE
#undef BH_GUARANTEE_KERNEL
        g_mutex_lock(&r->lock);
        status = json_pack("{s:i,s:I,s:I,s:I,s:s?,s:o}", "held", (int) bh_respond_held_now(r), "done", (json_int_t) r->done, "failed", (json_int_t) r->failed, "skipped", (json_int_t) bh_block_skipped(r->block), "problem", r->enforce ? NULL : r->problem, "guarantees", guarantees);
        json_object_set_new(status, "resolved", bh_respond_names_status(r));
        g_mutex_unlock(&r->lock);
        return status;
}

/* ---- time ---- */

/* What all of a container's name is looked up with one of them; who left it as well, but by its own clock: else the one kind of look would never be due where the other is. */
static void all_looked(BhRespond *r, const BhEntry *of, gboolean strays) {
        const gint64 now = g_get_monotonic_time();
        GHashTableIter it;
        BhEntry *e;

        g_hash_table_iter_init(&it, r->entries);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &e))
                if (g_str_equal(e->container, of->container) && g_str_equal(e->cgroup, of->cgroup))
                        *(strays ? &e->strays_us : &e->looked_us) = now;
}

/* Who leaves a container that is held does not get away, and is told. */
static void look_for_strays(BhRespond *r, BhEntry *e) {
        guint brought = 0;

        all_looked(r, e, TRUE);
        tell_out(r, e, bh_respond_gather(r, e->container, e->cgroup, &brought), FALSE);
        if (brought) {
                g_autofree char *what = g_strdup_printf("%u of its processes had left its control group, and were brought back", brought);

                json_object_set_new(e->detail, "strays", json_integer(json_integer_value(json_object_get(e->detail, "strays")) + brought));
                bh_respond_say(r, "response_strays", e, what);
        }
}

/* Its container may have been removed, or be there anew. */
static void look_after(BhRespond *r, BhEntry *e) {
        g_autoptr(BhContainer) c = bh_container_table_get(r->c.containers, e->container);
        g_autoptr(GError) error = NULL;
        g_auto(Held) held = { 0 };

        if (e->state != BH_RESPONSE_STATE_ACTIVE || e->action == BH_RESPONSE_SCALE)
                return;
        if (e->until_ns && now_ns() >= e->until_ns) {
                let_go(r, e, BH_RESPONSE_STATE_RELEASED, "its time was over");
                return;
        }
        if (c ? c->state == BH_CONTAINER_REMOVED : g_get_monotonic_time() - r->started_us > GRACE_US) {
                let_go(r, e, BH_RESPONSE_STATE_GONE, "the container was removed");
                return;
        }
        if (!r->v2 || !c)
                return;
        guint64 id = bh_respond_cgroup_id(r, e->cgroup);
        if (id && id == e->cgroup_id && e->action == BH_RESPONSE_BLOCK && g_get_monotonic_time() - e->looked_us >= LOOK_US) {
                /* what it cannot look at now it looks at the next time: what was refused stays so */
                all_looked(r, e, FALSE);
                hold_acts(r, c, e->container, e->cgroup, NULL, FALSE, &held, NULL);
                return;
        }
        if (id && id == e->cgroup_id && e->action != BH_RESPONSE_BLOCK && g_get_monotonic_time() - e->strays_us >= LOOK_US)
                look_for_strays(r, e);
        if (!id) {
                g_autofree char *cgroup = bh_respond_cgroup_of(r, c);

                if (!cgroup)
                        return; /* it does not run: held again when it does */
                if (!g_str_equal(cgroup, e->cgroup)) {
                        if (r->enforce)
                                bh_enforce_clear(r->enforce, e->cgroup);
                        bh_block_clear(r->block, e->cgroup);
                }
                g_free(e->cgroup);
                e->cgroup = g_steal_pointer(&cgroup);
                id = bh_respond_cgroup_id(r, e->cgroup);
        }
        if (!id || id == e->cgroup_id || (needs_root(e) && !bh_respond_process_of(r, c, e->cgroup)))
                return;
        bh_respond_names_begin(r, e);
        if (!hold(r, c, e, 0, &held, &error)) {
                if (!e->complained) {
                        g_autofree char *why = g_strdup_printf("is in force no more, and tried again: %s", error->message);

                        bh_respond_say(r, "response_lost", e, why);
                }
                e->complained = TRUE;
                return;
        }
        gboolean gap = e->cgroup_id && !e->complained; /* else it was said why */
        e->complained = FALSE;
        e->cgroup_id = id;
        bh_entry_save(r->dir, e);
        tell_held_out(r, e, &held, FALSE);
        bh_respond_say(r, gap ? "response_gap" : "response_active", e, gap ? "was not in force from when the container was started anew until now" : "is in force again");
}

/* What was found in force and is in no ledger goes, but not before all that is in the ledger was taken up: what cannot be yet goes on as it was found, also where another build put it in force. */
static void settle(BhRespond *r) {
        GHashTableIter it;
        BhEntry *e;

        if (!r->unsettled)
                return;
        g_hash_table_iter_init(&it, r->entries);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &e))
                if (e->state == BH_RESPONSE_STATE_ACTIVE && e->action != BH_RESPONSE_SCALE && r->v2 && bh_respond_is_there(r, e->cgroup) && e->cgroup_id != bh_respond_cgroup_id(r, e->cgroup))
                        return;
        if (r->enforce && r->uncut)
                bh_enforce_settle(r->enforce);
        bh_block_settle(r->block);
        r->unsettled = r->uncut = FALSE;
}

/* Each that is not over. What is called may end it, and then others that ended before may be forgotten: so the table is not walked meanwhile. */
void bh_respond_each_open(BhRespond *r, void (*call)(BhRespond *r, BhEntry *e)) {
        g_autoptr(GPtrArray) open = g_ptr_array_new();
        GHashTableIter it;
        BhEntry *e;

        g_hash_table_iter_init(&it, r->entries);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &e))
                if (e->state == BH_RESPONSE_STATE_ACTIVE || e->state == BH_RESPONSE_STATE_PENDING)
                        g_ptr_array_add(open, e);
        for (guint i = 0; i < open->len; i++)
                call(r, open->pdata[i]);
}

static gpointer work(gpointer data) {
        BhRespond *r = data;
        g_autoptr(GError) error = NULL;

        g_mutex_lock(&r->lock);
        if (r->enforce && !bh_enforce_prepare(r->enforce, &error))
                bh_error("this node cannot cut containers off", "error", error->message);
        g_clear_error(&error);
        if (r->v2 && !bh_block_prepare(r->block, &error))
                bh_error("this node cannot refuse programs", "error", error->message);
        while (!r->stopping) {
                bh_respond_names_turn(r);
                bh_respond_look_after_keeper(r);
                bh_respond_tell_refused(r); /* before a response ends by which they were refused */
                bh_respond_tell_led(r);
                bh_respond_each_open(r, look_after);
                settle(r);
                bh_respond_scale_turn(r);
                if (g_atomic_int_get(&r->answered)) { /* others have their turn meanwhile, however many answers a container makes */
                        g_mutex_unlock(&r->lock);
                        g_usleep(ANSWERED_US);
                        g_mutex_lock(&r->lock);
                        continue;
                }
                if (bh_respond_held_now(r))
                        g_cond_wait_until(&r->moved, &r->lock, g_get_monotonic_time() + BH_RESPOND_TICK_MS * 1000);
                else
                        g_cond_wait(&r->moved, &r->lock);
        }
        g_mutex_unlock(&r->lock);
        return NULL;
}

/* ---- life ---- */

BhRespond *bh_respond_new(const BhRespondConfig *config, GError **error) {
        g_autoptr(BhRespond) r = g_new0(BhRespond, 1);
        g_autoptr(GError) problem = NULL;

        r->c = *config;
        r->dir = g_strdup(config->dir);
        r->v2 = g_strdup(config->v2_mount);
        r->proc = g_strdup(config->proc_path);
        r->docker = g_strdup(config->docker_socket);
        g_mutex_init(&r->lock);
        g_cond_init(&r->moved);
        r->entries = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify) bh_entry_free);
        r->book = bh_name_book_new();
        if (!bh_entries_load(r->dir, r->entries, &r->serial, error))
                return NULL;
        g_autofree char *run_dir = g_path_get_dirname(config->pin_dir);
        r->keeper = bh_filekeeper_open(run_dir, r->proc, r->v2);
        r->enforce = bh_enforce_open(config->pin_dir, r->v2, r->proc, &problem);
        if (!r->enforce)
                r->problem = g_strdup(problem->message);
        r->block = bh_block_open(config->acts_dir, r->v2, r->proc);
        r->told = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        return g_steal_pointer(&r);
}

static void take_up(BhRespond *r, BhEntry *e) {
        g_autoptr(BhContainer) c = bh_container_table_get(r->c.containers, e->container);
        g_autoptr(GError) failed = NULL;
        g_auto(Held) held = { 0 };

        if (e->action == BH_RESPONSE_SCALE)
                bh_respond_scale_take_up(r, e);
        if (e->state == BH_RESPONSE_STATE_PENDING)
                bh_respond_processes_settle(r, e);
        if (e->state == BH_RESPONSE_STATE_PENDING)
                bh_respond_end(r, e, BH_RESPONSE_STATE_FAILED, "the sensor ended while it was carried out: it may or may not have been");
        if (e->state != BH_RESPONSE_STATE_ACTIVE || e->action == BH_RESPONSE_SCALE || !r->v2 || !bh_respond_is_there(r, e->cgroup))
                return;
        guint64 before = e->cgroup_id;
        e->cgroup_id = bh_respond_cgroup_id(r, e->cgroup);
        bh_respond_names_begin(r, e);
        if (!hold(r, c, e, 0, &held, &failed)) {
                e->cgroup_id = 0; /* tried again */
                r->uncut |= !held.cut;
                bh_error("a response cannot be taken up again", "response", e->id, "error", failed->message);
                return;
        }
        if (before != e->cgroup_id)
                bh_entry_save(r->dir, e);
        tell_held_out(r, e, &held, FALSE);
        if (before && before != e->cgroup_id)
                bh_respond_say(r, "response_gap", e, before == BH_ENTRY_ELSEWHERE ? "was not in force from when the machine started until now" : "was not in force: the container was started anew while no sensor ran");
}

void bh_respond_start(BhRespond *r) {
        g_mutex_lock(&r->lock);
        r->started_us = g_get_monotonic_time();
        r->started_ns = now_ns();
        bh_respond_find_unkept(r);
        bh_respond_each_open(r, take_up);
        if (r->enforce && !r->uncut)
                bh_enforce_settle(r->enforce);
        r->unsettled = TRUE;
        settle(r);
        bh_respond_settle_files(r);
        g_mutex_unlock(&r->lock);
        r->thread = g_thread_new("bh-respond", work, r);
}

void bh_respond_free(BhRespond *r) {
        if (!r)
                return;
        if (r->thread) {
                g_mutex_lock(&r->lock);
                r->stopping = TRUE;
                g_cond_signal(&r->moved);
                g_mutex_unlock(&r->lock);
                g_thread_join(r->thread);
        }
        g_clear_pointer(&r->scaler, g_thread_join);
        bh_enforce_free(r->enforce);
        bh_filekeeper_free(r->keeper);
        bh_block_free(r->block);
        g_clear_pointer(&r->told, g_hash_table_unref);
        g_hash_table_unref(r->entries);
        bh_name_book_free(r->book);
        g_cond_clear(&r->moved);
        g_mutex_clear(&r->lock);
        g_free(r->problem);
        g_free(r->dir);
        g_free(r->v2);
        g_free(r->proc);
        g_free(r->docker);
        g_free(r);
}

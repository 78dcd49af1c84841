/* SPDX-License-Identifier: Apache-2.0 */
/* The node's responses, with files for cgroups and /proc, and a stand-in for what is cut in the kernel (test_enforce does that for real). */
#include "sensor/respond.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "respond_node.h"
#include "sensor/respond_ledger.h"
#include "sensor/respond_names.h"

/* What was under way when a sensor was killed failed, however much the ledger has of what is over. */
static void what_was_under_way_failed(Node *n, gconstpointer unused) {
        const guint pending = 200;
        guint failed = 0;
        json_t *e;
        size_t i;

        g_assert_cmpint(g_mkdir_with_parents(n->ledger, 0700), ==, 0);
        for (guint k = 0; k < BH_RESPOND_ENDED + pending; k++) {
                g_autofree char *id = g_strdup_printf("%032x", k);
                const BhOrder o = { .id = id };
                g_autoptr(BhContainer) c = bh_container_new(ID, "docker");
                BhEntry *entry = bh_entry_new(&o, BH_RESPONSE_KILL, c, "", k, k);

                g_assert_true(bh_response_id_valid(id));
                entry->state = k < BH_RESPOND_ENDED ? BH_RESPONSE_STATE_DONE : BH_RESPONSE_STATE_PENDING;
                g_assert_true(bh_entry_save(n->ledger, entry));
                bh_entry_free(entry);
        }
        g_autoptr(BhRespond) r = begin(n);
        json_auto_t *list = bh_respond_list(r);
        json_array_foreach(list, i, e)
                failed += g_str_equal(text_at(e, "state"), "failed");
        g_assert_cmpuint(failed, ==, pending);
        g_assert_cmpuint(json_array_size(list), <=, BH_RESPOND_ENDED + 1); /* and the one that ended last */
}

static void what_cannot_be_done_whole_is_undone_and_said_once(Node *n, gconstpointer unused) {
        const BhOrder o = { .id = "00000000000000000000000000000001", .action = "isolate", .container = ID };
        g_autoptr(BhRespond) r = begin(n);

        kernel.host_network = TRUE;
        json_auto_t *told = bh_respond_order(r, &o), *status = bh_respond_status(r);
        g_assert_cmpstr(text_at(told, "state"), ==, "failed");
        g_assert_nonnull(strstr(text_at(told, "result"), "host's network"));
        g_assert_cmpuint(kernel.set, ==, 1);
        g_assert_cmpuint(kernel.cleared, ==, 1);
        g_assert_cmpstr(n->said->str, ==, "response_failed ");
        g_assert_cmpint(json_integer_value(json_object_get(status, "failed")), ==, 1);
        g_assert_cmpint(json_integer_value(json_object_get(status, "held")), ==, 0);
}

/* A container chooses how long its paths and arguments are. */
static void a_snapshot_is_bounded(Node *n, gconstpointer unused) {
        const BhOrder o = { .id = "00000000000000000000000000000002", .action = "quarantine", .container = ID };
        const guint processes = 60;
        g_autoptr(GString) pids = g_string_new(NULL);
        g_autofree char *target = g_strnfill(4000, 'x'), *file = g_build_filename(n->ledger, "00000000000000000000000000000002.snapshot.json", NULL);
        json_error_t where;

        for (guint i = 0; i < processes; i++) {
                g_autofree char *fds = g_strdup_printf("%s/%u/fd", n->proc, 1000 + i);

                g_assert_cmpint(g_mkdir_with_parents(fds, 0700), ==, 0);
                g_string_append_printf(pids, "%u\n", 1000 + i);
                for (guint k = 0; k < BH_SNAPSHOT_FILES; k++) {
                        g_autofree char *fd = g_strdup_printf("%s/%u", fds, k);

                        g_assert_no_errno(symlink(target, fd));
                }
        }
        put(n->v2, CGROUP "/cgroup.procs", pids->str);
        g_autoptr(BhRespond) r = begin(n);
        json_auto_t *told = bh_respond_order(r, &o);
        g_assert_cmpstr(text_at(told, "state"), ==, "active");
        json_auto_t *snapshot = json_load_file(file, 0, &where);
        g_assert_nonnull(snapshot);
        guint had = (guint) json_array_size(json_object_get(snapshot, "processes"));
        g_assert_cmpuint(had, >=, BH_SNAPSHOT_BYTES / (BH_SNAPSHOT_FILES * 4096));
        g_assert_cmpuint(had, <=, BH_SNAPSHOT_BYTES / (BH_SNAPSHOT_FILES * 4000) + 1);
        g_assert_cmpuint(had + (guint) json_integer_value(json_object_get(snapshot, "left_out")), ==, processes);
}

/* What cannot be held again is said once, however often it is tried. */
static void what_is_lost_is_said_and_tried_again(Node *n, gconstpointer unused) {
        const BhOrder o = { .id = "00000000000000000000000000000003" };
        g_autoptr(BhContainer) c = bh_container_new(ID, "docker");
        BhEntry *e = bh_entry_new(&o, BH_RESPONSE_ISOLATE, c, CGROUP, 1, 1);

        g_assert_cmpint(g_mkdir_with_parents(n->ledger, 0700), ==, 0);
        e->state = BH_RESPONSE_STATE_ACTIVE;
        g_assert_true(bh_entry_save(n->ledger, e));
        bh_entry_free(e);
        g_atomic_int_set(&kernel.fails, TRUE);
        g_autoptr(BhRespond) r = begin(n);
        until_said(n, "response_lost ");
        g_usleep(3 * BH_RESPOND_TICK_MS * 1000);
        g_assert_cmpint(g_atomic_int_get(&kernel.settles), ==, 0); /* what may be in force from before stays */
        g_atomic_int_set(&kernel.fails, FALSE);
        until_said(n, "response_lost response_active ");
        for (guint i = 0; !g_atomic_int_get(&kernel.settles); i++) {
                g_assert_cmpuint(i, <, 60000);
                g_usleep(1000);
        }
        g_assert_cmpuint(kernel.set, ==, 1);
}

static const char *const read_shadow[] = { "file:r:/etc/shadow", "file:r:/srv/" }, *const any_shadow[] = { "file:/etc/shadow" };

static void files_go_to_the_keeper_and_are_let_go(Node *n, gconstpointer unused) {
        const BhOrder o = { .id = "04", .action = "block", .container = ID, .deny = read_shadow, .n_deny = 2, .best_effort = TRUE }, off = { .id = "04", .release = TRUE };

        acts_kernel = (struct BhBlock){ 0 };
        g_autoptr(BhRespond) r = begin(n);
        json_auto_t *told = bh_respond_order(r, &o);

        g_assert_cmpstr(text_at(told, "state"), ==, "active");
        g_assert_cmpuint(keeper.rules, ==, 2);
        g_assert_cmpuint(kernel.set, ==, 0);
        g_assert_cmpuint(acts_kernel.rules, ==, 0);
        json_auto_t *released = bh_respond_order(r, &off);
        g_assert_cmpstr(text_at(released, "state"), ==, "released");
        g_assert_cmpuint(keeper.drops, ==, 1);
}

/* Names can be made and removed, and truncate() opens nothing: three ways, with the keeper's own. */
static void what_opens_do_not_tell_of_is_refused_or_said(Node *n, gconstpointer unused) {
        const BhOrder o = { .id = "05", .action = "block", .container = ID, .deny = any_shadow, .n_deny = 1 }, best = { .id = "06", .action = "block", .container = ID, .deny = any_shadow, .n_deny = 1, .best_effort = TRUE };
        g_autoptr(BhRespond) r = begin(n);
        json_auto_t *told = bh_respond_order(r, &o);

        g_assert_cmpstr(text_at(told, "state"), ==, "failed");
        g_assert_nonnull(strstr(text_at(told, "result"), "--best-effort"));
        g_assert_false(keeper.holds);
        json_auto_t *tried = bh_respond_order(r, &best);
        g_assert_cmpstr(text_at(tried, "state"), ==, "active");
        g_assert_cmpuint(json_array_size(json_object_get(json_object_get(tried, "detail"), "open")), ==, 3);
}

static void a_keeper_that_ended_is_said_and_told_again(Node *n, gconstpointer unused) {
        const BhOrder o = { .id = "07", .action = "block", .container = ID, .deny = read_shadow, .n_deny = 2, .best_effort = TRUE };
        g_autoptr(BhRespond) r = begin(n);
        json_auto_t *told = bh_respond_order(r, &o);

        g_assert_cmpstr(text_at(told, "state"), ==, "active");
        g_atomic_int_set(&keeper.lost, 1);
        until_said(n, "response_active keeper_lost response_active ");
        g_assert_cmpuint(keeper.sets, ==, 2);
}

static void a_successor_says_that_the_keeper_was_gone(Node *n, gconstpointer unused) {
        const BhOrder o = { .deny = read_shadow, .n_deny = 2, .id = "08" };
        g_autoptr(BhContainer) c = bh_container_new(ID, "docker");
        BhEntry *e = bh_entry_new(&o, BH_RESPONSE_BLOCK, c, CGROUP, 1, 1);

        g_assert_cmpint(g_mkdir_with_parents(n->ledger, 0700), ==, 0);
        e->state = BH_RESPONSE_STATE_ACTIVE;
        g_assert_true(bh_entry_save(n->ledger, e));
        bh_entry_free(e);
        g_autoptr(BhRespond) r = begin(n);
        until_said(n, "keeper_lost ");
        g_assert_cmpuint(keeper.sets, ==, 1);
}

/* How often a finding about refused acts of the response says so. */
static guint times_blocked(Node *n, const char *id, const char *what) {
        g_autofree char *of = g_strdup_printf("response %s: ", id);
        guint times = 0;

        g_mutex_lock(&n->lock);
        g_auto(GStrv) lines = g_strsplit(n->blocked->str, "\n", -1);
        g_mutex_unlock(&n->lock);
        for (guint i = 0; lines[i]; i++)
                times += g_str_has_prefix(lines[i], of) && strstr(lines[i], what);
        return times;
}

static void until_blocked(Node *n, const char *id, const char *what) {
        for (guint i = 0; !times_blocked(n, id, what); i++) {
                g_assert_cmpuint(i, <, 60000);
                g_usleep(1000);
        }
}

/* The keeper counts by container, and for longer than a sensor lives. */
static void programs_are_told_once_and_of_their_response(Node *n, gconstpointer unused) {
        static const char *const content[] = { "exec-hash:sha256:0000000000000000000000000000000000000000000000000000000000000000" };
        const BhOrder a = { .id = "0a", .action = "block", .container = ID, .deny = content, .n_deny = 1, .best_effort = TRUE }, b = { .id = "0b", .action = "block", .container = ID, .deny = content, .n_deny = 1, .best_effort = TRUE };
        BhRespond *r = begin(n);
        json_auto_t *told = bh_respond_order(r, &a);

        g_assert_cmpstr(text_at(told, "state"), ==, "active");
        g_atomic_int_set(&keeper.programs, 3);
        until_blocked(n, "0a", "before they ran: 3 until now");
        json_auto_t *also = bh_respond_order(r, &b);
        g_assert_cmpstr(text_at(also, "state"), ==, "active");
        g_atomic_int_set(&keeper.programs, 4);
        until_blocked(n, "0a", "before they ran: 4 until now");
        until_blocked(n, "0b", "before they ran: 1 until now");
        bh_respond_free(r);

        r = begin(n);
        g_atomic_int_set(&keeper.programs, 5);
        until_blocked(n, "0a", "before they ran: 5 until now");
        until_blocked(n, "0b", "before they ran: 2 until now");
        g_assert_cmpuint(times_blocked(n, "0a", "before they ran: 4 until now"), ==, 1);
        g_assert_cmpuint(times_blocked(n, "0b", ""), ==, 2);
        g_atomic_int_set(&keeper.programs, 1); /* it was started anew */
        g_atomic_int_set(&keeper.untold, 2);
        until_blocked(n, "0a", "before they ran: 1 until now");
        until_blocked(n, "0a", "could not be told, or not in time: 2 until now");
        bh_respond_free(r);
}

/* What a keeper has that the ledger does not know (the ledger was lost, or the sensor was killed between the two) goes. */
static void what_nobody_ordered_is_let_go(Node *n, gconstpointer unused) {
        keeper.holds = TRUE;
        g_autoptr(BhRespond) r = begin(n);
        g_assert_cmpuint(keeper.drops, ==, 1);
}

static void programs_are_blocked_told_of_and_let_go(Node *n, gconstpointer unused) {
        static const char *const deny[] = { "exec:/bin/nc", "10.0.0.0/8" }, *const bad[] = { "exec:nc" };
        const BhOrder o = { .id = "00000000000000000000000000000004", .action = "block", .container = ID, .deny = deny, .n_deny = 2 };
        const BhOrder wrong = { .id = "00000000000000000000000000000005", .action = "block", .container = ID, .deny = bad, .n_deny = 1 };
        const BhOrder open = { .id = "00000000000000000000000000000006", .action = "block", .container = ID, .deny = deny, .n_deny = 1 };
        const BhOrder release = { .id = "00000000000000000000000000000004", .release = TRUE };

        acts_kernel = (struct BhBlock){ .act = { .kind = BH_BLOCK_EXEC, .how = BH_BLOCK_KILLED, .name = "nc\n\xff", .comm = "sh", .tgid = 5 } };
        g_autoptr(BhRespond) r = begin(n);
        json_auto_t *refused = bh_respond_order(r, &wrong);
        g_assert_nonnull(strstr(text_at(refused, "result"), "begins with a slash"));
        json_auto_t *told = bh_respond_order(r, &o);
        g_assert_cmpstr(text_at(told, "state"), ==, "active");
        g_assert_cmpuint(acts_kernel.rules, ==, 1);
        g_assert_cmpuint(kernel.set, ==, 1); /* the peer */
        until_said(n, "response_active ");
        g_atomic_int_set(&acts_kernel.acts, 3);
        until_said(n, "response_active response_blocked "); /* one finding for three that are alike */
        json_auto_t *list = bh_respond_list(r);
        g_assert_cmpint(json_integer_value(json_object_get(json_object_get(json_object_get(json_array_get(list, 0), "detail"), "refused_acts"), "acts")), ==, 3);

        acts_kernel.open = "a capability: this kernel lets nobody refuse it";
        json_auto_t *half = bh_respond_order(r, &open);
        g_assert_cmpstr(text_at(half, "state"), ==, "failed");
        g_assert_nonnull(strstr(text_at(half, "result"), "--best-effort"));
        g_assert_cmpuint(acts_kernel.rules, ==, 1); /* what was there goes on */
        acts_kernel.open = NULL;
        json_auto_t *released = bh_respond_order(r, &release);
        g_assert_cmpstr(text_at(released, "state"), ==, "released");
        g_assert_cmpuint(acts_kernel.rules, ==, 0);
}

/* Whoever is in a container can keep its programs from being looked at: that keeps nobody from cutting it off, and is the failure of those alone that are about programs. */
static void programs_that_cannot_be_looked_at_keep_no_container_from_being_cut_off(Node *n, gconstpointer unused) {
        static const char *const only[] = { "exec-only:/bin/nc" }, *const peer[] = { "10.0.0.0/8" };
        const BhOrder list = { .id = "b1", .action = "block", .container = ID, .deny = only, .n_deny = 1 }, more = { .id = "b2", .action = "block", .container = ID, .deny = only, .n_deny = 1 };
        const BhOrder cut[] = { { .id = "b3", .action = "isolate", .container = ID }, { .id = "b4", .action = "pause", .container = ID }, { .id = "b5", .action = "quarantine", .container = ID }, { .id = "b6", .action = "block", .container = ID, .deny = peer, .n_deny = 1 } };
        g_autofree char *freezer = g_build_filename(n->v2, CGROUP, "cgroup.freeze", NULL), *frozen = NULL;
        g_autoptr(BhRespond) r = begin(n);
        json_auto_t *told = bh_respond_order(r, &list);

        g_assert_cmpstr(text_at(told, "state"), ==, "active");
        g_assert_cmpint(g_atomic_int_get(&acts_kernel.fresh), ==, 1);
        g_atomic_int_set(&acts_kernel.fails, TRUE);
        for (guint i = 0; i < G_N_ELEMENTS(cut); i++) {
                json_auto_t *one = bh_respond_order(r, &cut[i]);

                g_assert_cmpstr(text_at(one, "state"), ==, "active");
                g_assert_nonnull(strstr(json_string_value(json_array_get(json_object_get(json_object_get(one, "detail"), "notes"), 0)), "mounts cannot be read"));
        }
        g_assert_true(g_file_get_contents(freezer, &frozen, NULL, NULL));
        g_assert_cmpstr(frozen, ==, "1");
        g_assert_cmpuint(kernel.set, >=, 3);
        json_auto_t *failed = bh_respond_order(r, &more);
        g_assert_cmpstr(text_at(failed, "state"), ==, "failed");
        g_assert_nonnull(strstr(text_at(failed, "result"), "mounts cannot be read"));
        g_assert_cmpuint(kernel.cleared, ==, 1); /* by the first order, of which nothing is about the network */
}

static void in_ledger(Node *n, const BhOrder *o, BhResponseAction action, guint64 serial) {
        g_autoptr(BhContainer) c = bh_container_new(ID, "docker");
        BhEntry *e = bh_entry_new(o, action, c, CGROUP, serial, 1);

        g_assert_cmpint(g_mkdir_with_parents(n->ledger, 0700), ==, 0);
        e->state = BH_RESPONSE_STATE_ACTIVE;
        g_assert_true(bh_entry_save(n->ledger, e));
        bh_entry_free(e);
}

/* The same at the start of a sensor; and what is in force from before stays until all is taken up. */
static void what_cannot_be_taken_up_stays_as_it_was_found(Node *n, gconstpointer unused) {
        static const char *const only[] = { "exec-only:/bin/nc" };
        const BhOrder list = { .id = "b1", .deny = only, .n_deny = 1 }, isolated = { .id = "b2" };

        in_ledger(n, &list, BH_RESPONSE_BLOCK, 1);
        in_ledger(n, &isolated, BH_RESPONSE_ISOLATE, 2);
        g_atomic_int_set(&acts_kernel.fails, TRUE);
        g_autoptr(BhRespond) r = begin(n);
        g_assert_cmpuint(kernel.set, >=, 1);
        until_said(n, "response_lost ");
        g_assert_cmpint(g_atomic_int_get(&acts_kernel.settles), ==, 0);
        g_assert_cmpint(g_atomic_int_get(&kernel.settles), ==, 1);
        g_atomic_int_set(&acts_kernel.fails, FALSE);
        until_said(n, "response_lost response_active ");
        for (guint i = 0; !g_atomic_int_get(&acts_kernel.settles); i++) {
                g_assert_cmpuint(i, <, 60000);
                g_usleep(1000);
        }
        g_assert_cmpint(g_atomic_int_get(&acts_kernel.fresh), ==, 0);
}

/* A container that is started again has its runtime's program in its cgroup first, whose root is the host's: nothing is looked up there. */
static void programs_are_looked_up_in_no_other_root(Node *n, gconstpointer unused) {
        static const char *const deny[] = { "exec:/bin/nc" };
        const BhOrder o = { .id = "0a", .action = "block", .container = ID, .deny = deny, .n_deny = 1 };
        g_autofree char *host = g_build_filename(n->proc, "1/root", NULL), *its = g_build_filename(n->proc, "4242", NULL), *root = g_build_filename(its, "root", NULL);
        g_autofree char *cgroup = g_build_filename(n->v2, CGROUP, NULL), *before = g_strconcat(cgroup, ".before", NULL);

        acts_kernel = (struct BhBlock){ 0 };
        g_assert_cmpint(g_mkdir_with_parents(host, 0700), ==, 0);
        g_assert_cmpint(g_mkdir_with_parents(its, 0700), ==, 0);
        g_autoptr(BhRespond) r = begin(n);
        json_auto_t *told = bh_respond_order(r, &o);
        g_assert_cmpstr(text_at(told, "state"), ==, "active");
        g_assert_cmpint(symlink("../1/root", root), ==, 0);
        g_assert_cmpint(rename(cgroup, before), ==, 0);
        put(n->v2, CGROUP "/cgroup.procs", "4242\n");
        g_usleep(3 * BH_RESPOND_TICK_MS * 1000);
        until_said(n, "response_active ");
        g_assert_cmpint(unlink(root), ==, 0);
        g_assert_cmpint(g_mkdir_with_parents(root, 0700), ==, 0);
        until_said(n, "response_active response_gap ");
}

/* What was not in force while no sensor ran is said by the next one; what was is not. */
static void a_gap_is_said(Node *n, gconstpointer unused) {
        const BhOrder o = { .id = "0000000000000000000000000000000a", .action = "isolate", .container = ID };
        g_autofree char *cgroup = g_build_filename(n->v2, CGROUP, NULL), *before = g_build_filename(n->v2, "before", NULL), *file = g_build_filename(n->ledger, "0000000000000000000000000000000a.json", NULL);
        BhRespond *r = begin(n);

        json_auto_t *told = bh_respond_order(r, &o);
        g_assert_cmpstr(text_at(told, "state"), ==, "active");
        bh_respond_free(r);
        bh_respond_free(begin(n));
        g_assert_cmpstr(n->said->str, ==, "response_active ");
        g_assert_cmpint(rename(cgroup, before), ==, 0);
        put(n->v2, CGROUP "/cgroup.procs", "4242\n");
        bh_respond_free(begin(n));
        g_assert_cmpstr(n->said->str, ==, "response_active response_gap ");
        /* another boot, and the container is there later than the sensor */
        json_auto_t *kept = json_load_file(file, 0, NULL);
        json_object_set_new(kept, "boot", json_string("another"));
        g_assert_cmpint(json_dump_file(kept, file, 0), ==, 0);
        remove_tree(cgroup);
        r = begin(n);
        put(n->v2, CGROUP "/cgroup.procs", "4242\n");
        until_said(n, "response_active response_gap response_gap ");
        bh_respond_free(r);
}

static GArray *strays(const char *container, gpointer data) {
        GArray *out = g_array_new(FALSE, FALSE, sizeof(BhStray));
        const BhStray *all = data;

        g_assert_cmpstr(container, ==, ID);
        for (; all->pid; all++)
                g_array_append_val(out, *all);
        return out;
}

/* What the kernel refused of a container's packets is of those responses that refuse packets. */
static void refused_packets_are_of_who_refuses_them(Node *n, gconstpointer unused) {
        static const char *const exec[] = { "exec:/bin/nc" }, *const peer[] = { "10.0.0.0/8" };
        const BhOrder orders[] = { { .id = "a1", .action = "isolate", .container = ID },
                                   { .id = "a2", .action = "block", .container = ID, .deny = peer, .n_deny = 1 },
                                   { .id = "a3", .action = "block", .container = ID, .deny = exec, .n_deny = 1 },
                                   { .id = "a4", .action = "pause", .container = ID } };
        g_autoptr(BhRespond) r = begin(n);
        json_t *one;
        size_t i;

        for (i = 0; i < G_N_ELEMENTS(orders); i++) {
                json_auto_t *told = bh_respond_order(r, &orders[i]);

                g_assert_cmpstr(text_at(told, "state"), ==, "active");
        }
        json_auto_t *list = bh_respond_list(r);
        g_assert_cmpuint(json_array_size(list), ==, G_N_ELEMENTS(orders));
        json_array_foreach(list, i, one)
                g_assert_cmpint(json_object_get(json_object_get(one, "detail"), "refused") != NULL, ==, text_at(one, "id")[1] <= '2');
}

static gint asked; /* atomic: so often it was asked who left */
static BhStray stray_now;

static GArray *stray_of_now(const char *container, gpointer data) {
        GArray *out = g_array_new(FALSE, FALSE, sizeof(BhStray));

        g_atomic_int_inc(&asked);
        return g_array_append_val(out, stray_now);
}

static void is_so(Node *n, pid_t pid, const char *state, guint threads, const char *start, const char *cgroup) {
        g_autofree char *stat = g_strdup_printf("%d/stat", pid), *group = g_strdup_printf("%d/cgroup", pid);
        g_autofree char *text = g_strdup_printf("%d (a) (b) %s 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 %u 0 %s 0\n", pid, state, threads, start), *path = g_strdup_printf("4:memory:/x\n0::%s\n", cgroup);

        put(n->proc, stat, text);
        put(n->proc, group, path);
}

static void is_at(Node *n, pid_t pid, const char *start, const char *cgroup) {
        is_so(n, pid, "S", 1, start, cgroup);
}

/* Who left the cgroup is brought back by what holds it, and killed by what kills it; never another process with its number, and nobody who is in it. */
static void who_left_is_brought_back_or_killed(Node *n, gconstpointer unused) {
        const BhOrder held = { .id = "0000000000000000000000000000000b", .action = "isolate", .container = ID }, killed = { .id = "0000000000000000000000000000000c", .action = "kill", .container = ID };
        const guint64 tick = G_GUINT64_CONSTANT(1000000000) / (guint64) sysconf(_SC_CLK_TCK);
        pid_t left = sleeper(), other = sleeper(), inside = sleeper();
        BhStray all[] = { { .pid = left, .start = 7 * tick + 1 }, { .pid = other, .start = 7 * tick }, { .pid = inside, .start = 7 * tick }, { .pid = 1, .start = 0 }, { .pid = getpid(), .start = 0 }, { .pid = 0, .start = 0 } };
        g_autofree char *procs = g_build_filename(n->v2, CGROUP "/cgroup.procs", NULL), *text = NULL, *expected = g_strdup_printf("%d", left);
        int status;

        is_at(n, left, "7", "/elsewhere");
        is_at(n, other, "8", "/elsewhere");
        is_at(n, inside, "7", CGROUP "/below");
        put(n->v2, CGROUP "/cgroup.procs", "");
        n->config.strays = strays;
        n->config.data = all;
        n->config.say = NULL;
        BhRespond *r = begin(n);
        json_auto_t *told = bh_respond_order(r, &held);
        g_assert_cmpstr(text_at(told, "state"), ==, "active");
        g_assert_cmpint(json_integer_value(json_object_get(json_object_get(told, "detail"), "strays")), ==, 1);
        g_assert_true(g_file_get_contents(procs, &text, NULL, NULL));
        g_assert_cmpstr(text, ==, expected);
        /* killed: the stand-in of a cgroup kills nobody, so who is in it lives */
        put(n->v2, CGROUP "/cgroup.procs", "");
        put(n->v2, CGROUP "/cgroup.kill", "");
        g_assert_cmpint(g_unlink(procs), ==, 0); /* it cannot be brought back */
        json_auto_t *done = bh_respond_order(r, &killed);
        bh_respond_free(r);
        g_assert_cmpint(waitpid(left, &status, 0), ==, left);
        g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        g_assert_cmpint(waitpid(other, &status, WNOHANG), ==, 0);
        g_assert_cmpint(waitpid(inside, &status, WNOHANG), ==, 0);
        g_assert_cmpstr(text_at(done, "state"), ==, "failed"); /* as the stand-in of /proc tells, it is still there */
        g_assert_nonnull(strstr(text_at(done, "result"), "still there"));
        for (guint i = 1; i < 3; i++) {
                kill(all[i].pid, SIGKILL);
                waitpid(all[i].pid, &status, 0);
        }
}

/* Its control group is gone, and who left it is killed all the same. */
static void who_left_a_container_that_is_gone_is_killed(Node *n, gconstpointer unused) {
        const BhOrder killed = { .id = "00000000000000000000000000000010", .action = "kill", .container = ID };
        const guint64 tick = G_GUINT64_CONSTANT(1000000000) / (guint64) sysconf(_SC_CLK_TCK);
        pid_t left = sleeper();
        BhStray all[] = { { .pid = left, .start = 7 * tick }, { .pid = 0, .start = 0 } };
        g_autofree char *cgroup = g_build_filename(n->v2, CGROUP, NULL);
        int status = 0;

        is_at(n, left, "7", "/elsewhere");
        remove_tree(cgroup);
        n->config.strays = strays;
        n->config.data = all;
        n->config.say = NULL;
        BhRespond *r = begin(n);
        json_auto_t *done = bh_respond_order(r, &killed);
        bh_respond_free(r);
        pid_t ended = waitpid(left, &status, WNOHANG);
        kill(left, SIGKILL);
        g_assert_cmpint(ended, ==, left);
        g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        g_assert_cmpstr(text_at(done, "state"), ==, "failed"); /* as the stand-in of /proc tells, it is still there */
        g_assert_nonnull(strstr(text_at(done, "result"), "still there"));
}

/* Said once for as long as there is somebody, by the successor too. */
static void who_cannot_be_brought_back_is_said(Node *n, gconstpointer unused) {
        const BhOrder held = { .id = "00000000000000000000000000000011", .action = "isolate", .container = ID };
        const guint64 tick = G_GUINT64_CONSTANT(1000000000) / (guint64) sysconf(_SC_CLK_TCK);
        pid_t left = sleeper();
        g_autofree char *procs = g_build_filename(n->v2, CGROUP "/cgroup.procs", NULL);
        int status;

        stray_now = (BhStray){ .pid = left, .start = 7 * tick };
        is_at(n, left, "7", CGROUP);
        n->config.strays = stray_of_now;
        BhRespond *r = begin(n);
        json_auto_t *told = bh_respond_order(r, &held);
        g_assert_cmpstr(text_at(told, "state"), ==, "active");
        g_assert_cmpint(g_unlink(procs), ==, 0);
        is_at(n, left, "7", "/elsewhere");
        until_said(n, "response_active response_open ");
        const gint asks = g_atomic_int_get(&asked);
        while (g_atomic_int_get(&asked) < asks + 2)
                g_usleep(1000);
        g_mutex_lock(&n->lock);
        g_assert_cmpstr(n->said->str, ==, "response_active response_open ");
        g_mutex_unlock(&n->lock);
        bh_respond_free(r);
        r = begin(n);
        until_said(n, "response_active response_open response_open ");
        bh_respond_free(r);
        kill(left, SIGKILL);
        waitpid(left, &status, 0);
}

/* A process whose main thread ended is where its others are; one that has no others is over. */
static void who_has_no_main_thread_is_brought_back(Node *n, gconstpointer unused) {
        const BhOrder held = { .id = "0000000000000000000000000000000f", .action = "isolate", .container = ID };
        const guint64 tick = G_GUINT64_CONSTANT(1000000000) / (guint64) sysconf(_SC_CLK_TCK);
        pid_t left = sleeper(), over = sleeper();
        BhStray all[] = { { .pid = left, .start = 7 * tick }, { .pid = over, .start = 7 * tick }, { .pid = 0, .start = 0 } };
        g_autofree char *procs = g_build_filename(n->v2, CGROUP "/cgroup.procs", NULL), *text = NULL, *expected = g_strdup_printf("%d", left);
        g_autofree char *task = g_strdup_printf("%d/task/%d/cgroup", left, left + 1);
        g_autofree char *leader = g_strdup_printf("%d/task/%d/cgroup", left, left), *listed = g_strdup_printf("%d\n", left);
        int status;

        is_so(n, left, "Z", 2, "7", CGROUP); /* where its main thread ended */
        is_so(n, over, "Z", 1, "7", "/elsewhere");
        put(n->proc, leader, "0::" CGROUP "\n");
        put(n->proc, task, "0::/elsewhere\n");
        for (gint i = 2; i < 5; i++) { /* ended as well, and traced */
                g_autofree char *group = g_strdup_printf("%d/task/%d/cgroup", left, left + i), *stat = g_strdup_printf("%d/task/%d/stat", left, left + i);

                put(n->proc, group, "0::" CGROUP "\n");
                put(n->proc, stat, "1 (a) Z 1\n");
        }
        put(n->v2, CGROUP "/cgroup.procs", listed);
        n->config.strays = strays;
        n->config.data = all;
        n->config.say = NULL;
        BhRespond *r = begin(n);
        json_auto_t *told = bh_respond_order(r, &held);
        bh_respond_free(r);
        g_assert_true(g_file_get_contents(procs, &text, NULL, NULL));
        g_assert_true(g_str_has_prefix(text, expected));
        g_assert_cmpint(json_integer_value(json_object_get(json_object_get(told, "detail"), "strays")), >=, 1);
        for (guint i = 0; i < 2; i++) {
                kill(all[i].pid, SIGKILL);
                waitpid(all[i].pid, &status, 0);
        }
}

static GArray *no_strays(const char *container, gpointer data) {
        g_atomic_int_inc(&asked);
        return NULL;
}

/* Both looks go on where a container is blocked and isolated. */
static void who_left_and_what_is_named_are_both_looked_at(Node *n, gconstpointer unused) {
        static const char *const deny[] = { "exec:/bin/nc" };
        const BhOrder block = { .id = "0000000000000000000000000000000d", .action = "block", .container = ID, .deny = deny, .n_deny = 1 };
        const BhOrder isolate = { .id = "0000000000000000000000000000000e", .action = "isolate", .container = ID };

        n->config.strays = no_strays;
        g_autoptr(BhRespond) r = begin(n);
        json_auto_t *blocked = bh_respond_order(r, &block), *isolated = bh_respond_order(r, &isolate);
        const gint asks = g_atomic_int_get(&asked), sets = g_atomic_int_get(&acts_kernel.sets);

        g_assert_cmpstr(text_at(blocked, "state"), ==, "active");
        g_assert_cmpstr(text_at(isolated, "state"), ==, "active");
        for (guint i = 0; g_atomic_int_get(&asked) < asks + 2 || g_atomic_int_get(&acts_kernel.sets) < sets + 2; i++) {
                g_assert_cmpuint(i, <, 20000);
                g_usleep(1000);
        }
}

static void an_answer_is_always_given(Node *n, gconstpointer unused) {
        const BhOrder o = { .id = "\xff\xfe", .action = "isolate", .container = ID }, gone = { .id = "\xff", .release = TRUE };
        g_autoptr(BhRespond) r = begin(n);
        json_auto_t *told = bh_respond_order(r, &o), *released = bh_respond_order(r, &gone);

        g_assert_cmpstr(text_at(told, "state"), ==, "failed");
        g_assert_cmpstr(text_at(released, "state"), ==, "gone");
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add("/respond/" #name, Node, NULL, set_up, name, tear_down)
        TEST(what_was_under_way_failed);
        TEST(what_cannot_be_done_whole_is_undone_and_said_once);
        TEST(a_snapshot_is_bounded);
        TEST(what_is_lost_is_said_and_tried_again);
        TEST(files_go_to_the_keeper_and_are_let_go);
        TEST(what_opens_do_not_tell_of_is_refused_or_said);
        TEST(a_keeper_that_ended_is_said_and_told_again);
        TEST(a_successor_says_that_the_keeper_was_gone);
        TEST(programs_are_told_once_and_of_their_response);
        TEST(what_nobody_ordered_is_let_go);
        TEST(programs_are_blocked_told_of_and_let_go);
        TEST(programs_are_looked_up_in_no_other_root);
        TEST(programs_that_cannot_be_looked_at_keep_no_container_from_being_cut_off);
        TEST(what_cannot_be_taken_up_stays_as_it_was_found);
        TEST(a_gap_is_said);
        TEST(who_left_is_brought_back_or_killed);
        TEST(who_has_no_main_thread_is_brought_back);
        TEST(who_left_a_container_that_is_gone_is_killed);
        TEST(who_cannot_be_brought_back_is_said);
        TEST(refused_packets_are_of_who_refuses_them);
        TEST(who_left_and_what_is_named_are_both_looked_at);
        TEST(an_answer_is_always_given);
        return g_test_run();
}

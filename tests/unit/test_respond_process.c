/* SPDX-License-Identifier: Apache-2.0 */
/* Single processes, by name: real children of this test, and a stand-in for the node's table of processes. */
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "respond_node.h"

#define STARTED G_GINT64_CONSTANT(1764237600120000000)

static struct {
        pid_t pids[4]; /* the first is named, the others descend from it */
        gint64 slip;   /* what the table has of their beginning is off by so much */
        guint asked;
        gint64 started; /* when they all began */
        gboolean halted[4]; /* which of them was seen stopped */
} table;

static char state_of(pid_t pid) {
        g_autofree char *path = g_strdup_printf("/proc/%d/stat", pid), *text = NULL;

        return g_file_get_contents(path, &text, NULL, NULL) ? strrchr(text, ')')[2] : 'X';
}

static guint64 start_of(pid_t pid) {
        g_autofree char *path = g_strdup_printf("/proc/%d/stat", pid), *text = NULL;
        unsigned long long ticks = 0;

        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        g_assert_cmpint(sscanf(strrchr(text, ')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &ticks), ==, 1);
        return ticks * (G_GUINT64_CONSTANT(1000000000) / (guint64) sysconf(_SC_CLK_TCK));
}

static GArray *tree_of(const char *container, const BhProcessName *name, gboolean tree, gboolean *known, gpointer data) {
        GArray *out = g_array_new(FALSE, FALSE, sizeof(BhStray));

        g_assert_cmpstr(container, ==, ID);
        table.asked++;
        for (guint i = 0; i < G_N_ELEMENTS(table.pids); i++)
                table.halted[i] |= table.pids[i] && state_of(table.pids[i]) == 'T';
        *known = name->pid == table.pids[0] && (!name->started_ns || name->started_ns == table.started);
        for (guint i = 0; *known && i < (tree ? G_N_ELEMENTS(table.pids) : 1) && table.pids[i]; i++) {
                g_autofree char *path = g_strdup_printf("/proc/%d/stat", table.pids[i]);
                BhStray s = { .pid = table.pids[i], .started_ns = table.started, .comm = "sleeper" };

                if (!g_file_test(path, G_FILE_TEST_EXISTS))
                        continue;
                s.start = start_of(s.pid) + (guint64) table.slip;
                g_array_append_val(out, s);
        }
        return out;
}

static gboolean lives(pid_t pid) {
        return waitpid(pid, NULL, WNOHANG) == 0;
}

static void end(pid_t pid) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
}

static json_t *order(BhRespond *r, const char *id, const char *action, pid_t pid, const char *started, gboolean dry_run) {
        g_autofree char *subject = g_strdup_printf("%d@%s", pid, started);
        const BhOrder o = { .id = id, .action = action, .container = ID, .subject = subject, .dry_run = dry_run };

        return bh_respond_order(r, &o);
}

static BhRespond *node(Node *n, pid_t first, pid_t second) {
        memset(&table, 0, sizeof(table));
        table.pids[0] = first;
        table.pids[1] = second;
        table.started = STARTED;
        n->config.tree = tree_of;
        n->config.proc_path = "/proc";
        n->config.say = NULL;
        return begin(n);
}

static const char *name_of_time = "2025-11-27T10:00:00.120000000Z";

static void assert_failed(json_t *told, const char *why) {
        g_assert_cmpstr(text_at(told, "state"), ==, "failed");
        if (!strstr(text_at(told, "result"), why))
                g_error("expected a sentence with \"%s\", saw \"%s\"", why, text_at(told, "result"));
        json_decref(told);
}

static void a_process_is_killed_by_its_name_alone(Node *n, gconstpointer unused) {
        pid_t meant = sleeper(), child = sleeper(), other = sleeper();
        BhRespond *r = node(n, meant, child);

        assert_failed(order(r, "1", "kill-process", other, name_of_time, FALSE), "no such process");
        assert_failed(order(r, "2", "kill-process", meant, "2025-11-27T10:00:00.130000000Z", FALSE), "no such process");
        assert_failed(order(r, "3", "kill-process", meant, "", FALSE), "when it began");
        json_auto_t *tried = order(r, "4", "kill-process", meant, "", TRUE);
        g_assert_cmpstr(text_at(tried, "state"), ==, "dry_run");
        json_t *one = json_array_get(json_object_get(json_object_get(tried, "detail"), "process_list"), 0);
        g_assert_cmpint(json_integer_value(json_object_get(one, "pid")), ==, meant);
        g_assert_cmpstr(text_at(one, "started"), ==, name_of_time);
        g_assert_true(lives(meant) && lives(child) && lives(other));

        json_auto_t *done = order(r, "5", "kill-process", meant, name_of_time, FALSE);
        g_assert_cmpstr(text_at(done, "state"), ==, "done");
        g_assert_cmpint(json_integer_value(json_object_get(json_object_get(done, "detail"), "processes")), ==, 1);
        g_assert_false(lives(meant));
        g_assert_true(lives(child) && lives(other));
        assert_failed(order(r, "6", "kill-process", meant, name_of_time, FALSE), "ended already");
        bh_respond_free(r);
        end(child);
        end(other);
}

/* The table is behind: it has a process by a number that another one has by now. */
static void a_number_that_is_anothers_now_is_left_alone(Node *n, gconstpointer unused) {
        pid_t other = sleeper();
        BhRespond *r = node(n, other, 0);

        table.slip = G_GINT64_CONSTANT(1000000000);
        assert_failed(order(r, "1", "kill-process", other, name_of_time, FALSE), "ended already");
        assert_failed(order(r, "2", "kill-tree", other, name_of_time, FALSE), "nobody left");
        g_assert_true(lives(other));
        bh_respond_free(r);
        end(other);
}

static void a_tree_is_killed_whole_and_the_container_is_not_left_frozen(Node *n, gconstpointer unused) {
        pid_t root = sleeper(), child = sleeper(), other = sleeper();
        g_autofree char *freezer = g_build_filename(n->v2, CGROUP "/cgroup.freeze", NULL), *text = NULL;
        BhRespond *r = node(n, root, child);

        json_auto_t *done = order(r, "1", "kill-tree", root, name_of_time, FALSE);
        g_assert_cmpstr(text_at(done, "state"), ==, "done");
        g_assert_cmpint(json_integer_value(json_object_get(json_object_get(done, "detail"), "processes")), ==, 2);
        g_assert_null(json_object_get(json_object_get(done, "detail"), "froze"));
        g_assert_false(lives(root) || lives(child));
        g_assert_true(lives(other));
        g_assert_true(g_file_get_contents(freezer, &text, NULL, NULL));
        g_assert_cmpstr(text, ==, "0");
        bh_respond_free(r);
        end(other);
}

/* Its root ended, and so it is found by who descends from it. */
static void a_tree_outlives_its_root(Node *n, gconstpointer unused) {
        pid_t root = sleeper(), child = sleeper();
        BhRespond *r = node(n, root, child);

        end(root);
        json_auto_t *done = order(r, "1", "kill-tree", root, name_of_time, FALSE);
        g_assert_cmpstr(text_at(done, "state"), ==, "done");
        g_assert_false(lives(child));
        bh_respond_free(r);
}

static const char *note_of(json_t *told) {
        const char *text = json_string_value(json_array_get(json_object_get(json_object_get(told, "detail"), "notes"), 0));

        return text ? text : "";
}

static void what_began_before_the_sensor_may_not_be_known_whole(Node *n, gconstpointer unused) {
        static const char *const started[] = { "", "2025-11-27T10:00:00.120000000Z", "2225-11-27T10:00:00.120000000Z" };
        pid_t root = sleeper();
        BhRespond *r = node(n, root, 0);

        for (guint i = 0; i < G_N_ELEMENTS(started); i++) {
                const gboolean after = i == 2;
                g_autofree char *id = g_strdup_printf("%u", i);
                BhProcessName name;

                g_assert_true(bh_process_name_parse("1@2225-11-27T10:00:00.120000000Z", &name));
                table.started = after ? name.started_ns : STARTED;
                json_auto_t *told = order(r, id, "kill-tree", root, started[i], TRUE);
                g_assert_cmpstr(text_at(told, "state"), ==, "dry_run");
                g_assert_cmpint(strstr(note_of(told), "began before this sensor") != NULL, ==, !after);
        }
        json_auto_t *one = order(r, "9", "kill-process", root, "", TRUE);
        g_assert_cmpstr(note_of(one), ==, "");
        bh_respond_free(r);
        end(root);
}

/* /proc with these two, whose control groups are as they are said to be. */
static void place(Node *n, pid_t pid, const char *cgroup) {
        g_autofree char *file = g_strdup_printf("%d/cgroup", pid), *text = g_strdup_printf("0::%s\n", cgroup), *stat = g_strdup_printf("%s/%d/stat", n->proc, pid), *its = g_strdup_printf("/proc/%d/stat", pid);

        put(n->proc, file, text);
        g_assert_cmpint(symlink(its, stat), ==, 0);
}

/* Whoever is frozen goes on by itself when a killed sensor's successor thaws: who is stopped does not. */
static void who_is_frozen_is_not_stopped_too(Node *n, gconstpointer unused) {
        pid_t root = sleeper(), stray = sleeper();
        BhRespond *r;

        place(n, root, CGROUP "/below");
        place(n, stray, "/elsewhere");
        r = node(n, root, stray);
        bh_respond_free(r);
        n->config.proc_path = n->proc;
        r = begin(n);
        json_auto_t *done = order(r, "1", "kill-tree", root, name_of_time, FALSE);
        g_assert_cmpstr(text_at(done, "state"), ==, "done");
        g_assert_false(lives(root) || lives(stray));
        g_assert_false(table.halted[0]);
        g_assert_true(table.halted[1]);
        g_assert_null(json_object_get(json_object_get(done, "detail"), "halted"));
        bh_respond_free(r);
}

/* A sensor that was killed while it killed a tree: some of it is stopped for good, and some of that is not known any more as being of it. */
static void a_tree_is_killed_to_the_end_by_the_successor(Node *n, gconstpointer unused) {
        g_autofree char *boot = NULL;

        g_assert_true(g_file_get_contents("/proc/sys/kernel/random/boot_id", &boot, NULL, NULL));
        g_strchomp(boot);
        for (guint here = 0; here < 2; here++) {
                pid_t root = sleeper(), child = sleeper(), lost = sleeper(), other = sleeper();
                g_autofree char *subject = g_strdup_printf("%d@%s", root, name_of_time), *id = g_strdup_printf("a%u", here), *file = g_strdup_printf("responses/a%u.json", here);
                json_auto_t *entry = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:{s:b,s:[[i,I]]}}", "boot", here ? boot : "another", "id", id, "action", "kill-tree", "state", "pending", "container", ID, "cgroup", CGROUP,
                                               "subject", subject, "detail", "froze", 1, "halted", lost, (json_int_t) start_of(lost));
                g_autofree char *text = json_dumps(entry, 0), *after = NULL, *freezer = g_build_filename(n->v2, CGROUP "/cgroup.freeze", NULL);

                for (guint i = 0; i < 3; i++)
                        kill((const pid_t[]){ root, child, lost }[i], SIGSTOP);
                put(n->dir, file, text);
                put(n->v2, CGROUP "/cgroup.freeze", "1");
                BhRespond *r = node(n, root, child);
                json_auto_t *all = bh_respond_list(r);
                json_t *told = NULL, *one;
                size_t i;

                json_array_foreach(all, i, one)
                        if (g_str_equal(text_at(one, "id"), id))
                                told = one;
                g_assert_cmpstr(text_at(told, "state"), ==, "done");
                g_assert_cmpint(json_integer_value(json_object_get(json_object_get(told, "detail"), "processes")), ==, here ? 3 : 2);
                g_assert_null(json_object_get(json_object_get(told, "detail"), "halted"));
                g_assert_false(lives(root) || lives(child));
                g_assert_true(lives(other));
                if (here) /* the last to be told to end: soon */
                        g_assert_cmpint(waitpid(lost, NULL, 0), ==, lost);
                else
                        g_assert_true(lives(lost)); /* such a number was another's before the machine started anew */
                g_assert_true(g_file_get_contents(freezer, &after, NULL, NULL));
                g_assert_cmpstr(after, ==, "0");
                bh_respond_free(r);
                end(other);
                if (!here)
                        end(lost);
        }
}

/* A sensor that was killed while a container was frozen for it: its successor thaws it, but not what somebody else froze. */
static void what_was_frozen_for_it_is_thawed_by_the_successor(Node *n, gconstpointer unused) {
        g_autofree char *freezer = g_build_filename(n->v2, CGROUP "/cgroup.freeze", NULL);
        json_t *entry;

        for (guint froze = 0; froze < 2; froze++) {
                g_autofree char *id = g_strdup_printf("a%u", froze), *name = g_strdup_printf("responses/a%u.json", froze), *after = NULL;

                entry = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:{s:b}}", "id", id, "action", "kill-tree", "state", "pending", "container", ID, "cgroup", CGROUP, "subject", "5@", "detail", "froze", (int) froze);
                g_autofree char *text = json_dumps(entry, 0);
                json_decref(entry);
                put(n->dir, name, text);
                put(n->v2, CGROUP "/cgroup.freeze", "1");
                BhRespond *r = node(n, 1, 0);
                bh_respond_free(r);
                g_assert_true(g_file_get_contents(freezer, &after, NULL, NULL));
                g_assert_cmpstr(after, ==, froze ? "0" : "1");
        }
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add("/respond_process/" #name, Node, NULL, set_up, name, tear_down)
        TEST(a_process_is_killed_by_its_name_alone);
        TEST(a_number_that_is_anothers_now_is_left_alone);
        TEST(a_tree_is_killed_whole_and_the_container_is_not_left_frozen);
        TEST(a_tree_outlives_its_root);
        TEST(what_began_before_the_sensor_may_not_be_known_whole);
        TEST(who_is_frozen_is_not_stopped_too);
        TEST(a_tree_is_killed_to_the_end_by_the_successor);
        TEST(what_was_frozen_for_it_is_thawed_by_the_successor);
        return g_test_run();
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "sensor/hidden.h"

#include "scratch.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>

#include "base/fdio.h"

#define MOUNTS \
        "22 1 0:20 / /proc rw - proc proc rw\n" \
        "30 22 0:25 / /proc/4711 rw,relatime shared:7 - tmpfs none rw\n" \
        "31 22 0:26 / /proc/sys/fs/binfmt_misc rw - binfmt_misc x rw\n" \
        "32 22 8:1 /empty\\040dir /proc/12 rw - ext4 /dev/vda1 rw\n" \
        "33 32 8:1 /x /proc/13/cmdline rw - ext4 /dev/vda1 rw\n" \
        "34 22 0:27 / /procedure/5 rw - tmpfs none rw\n" \
        "35 22 0:27 / /proc/5a rw - tmpfs none rw\n" \
        "36 22 0:27 / /proc/99999999999999 rw - tmpfs none rw\n" \
        "37 22 0:27 / /host/proc/8 rw - tmpfs none rw\n" \
        "38 22 0:27 / /proc/9 rw\n" \
        "short\n"

typedef struct {
        guint32 pid;
        guint64 start;
        guint32 flags;
} One;

static GArray *tasks(const One *ones) {
        GArray *out = g_array_new(FALSE, FALSE, sizeof(struct bh_task_record));

        for (; ones->pid; ones++) {
                struct bh_task_record t = { .tgid = ones->pid, .start = ones->start, .flags = ones->flags, .comm = "x" };

                g_array_append_val(out, t);
        }
        return out;
}
#define TASKS(...) tasks((const One[]){ __VA_ARGS__, { 0 } })

/* Pairs of an id and how it is missing; a 0 ends them. */
static GHashTable *missed(const guint32 *pairs) {
        GHashTable *out = g_hash_table_new(NULL, NULL);

        for (; *pairs; pairs += 2)
                g_hash_table_insert(out, GUINT_TO_POINTER(pairs[0]), GUINT_TO_POINTER(pairs[1]));
        return out;
}
#define MISSED(...) missed((const guint32[]){ __VA_ARGS__, 0 })

/* "id:how id:how"; takes all of them. */
static char *compare(GArray *before, GHashTable *first, GHashTable *second, GArray *after) {
        g_autoptr(GArray) found = bh_hidden_compare(before, first, second, after);
        g_autoptr(GString) out = g_string_new(NULL);

        for (guint i = 0; i < found->len; i++)
                g_string_append_printf(out, "%s%u:%u", i ? " " : "", g_array_index(found, BhHidden, i).task.tgid, g_array_index(found, BhHidden, i).how);
        g_array_unref(before);
        g_array_unref(after);
        g_hash_table_unref(first);
        g_hash_table_unref(second);
        return g_strdup(out->str);
}

static void wanted(char *got, const char *want) {
        g_assert_cmpstr(got, ==, want);
        g_free(got);
}

#define ABSENT (BH_HIDDEN_UNLISTED | BH_HIDDEN_ABSENT)

static void what_lives_all_the_time_and_is_missing_twice_is_hidden(void) {
        wanted(compare(TASKS({ 1, 10, 0 }, { 7, 70, 0 }), MISSED(7, BH_HIDDEN_UNLISTED), MISSED(7, BH_HIDDEN_UNLISTED), TASKS({ 1, 10, 0 }, { 7, 70, 0 })), "7:1");
        wanted(compare(TASKS({ 1, 10, 0 }, { 7, 70, 0 }), MISSED(7, ABSENT), MISSED(7, ABSENT), TASKS({ 1, 10, 0 }, { 7, 70, 0 })), "7:3");
        wanted(compare(TASKS({ 7, 70, 0 }, { 8, 80, 0 }), MISSED(7, BH_HIDDEN_COVERED, 8, 1), MISSED(7, BH_HIDDEN_COVERED, 8, 1), TASKS({ 7, 70, 0 }, { 8, 80, 0 })), "7:4 8:1");
        wanted(compare(TASKS({ 1, 10, 0 }), MISSED(0), MISSED(0), TASKS({ 1, 10, 0 })), "");
}

static void what_one_look_alone_missed_is_not(void) {
        wanted(compare(TASKS({ 7, 70, 0 }), MISSED(7, ABSENT), MISSED(0), TASKS({ 7, 70, 0 })), "");
        wanted(compare(TASKS({ 7, 70, 0 }), MISSED(0), MISSED(7, ABSENT), TASKS({ 7, 70, 0 })), "");
        wanted(compare(TASKS({ 7, 70, 0 }), MISSED(7, BH_HIDDEN_UNLISTED), MISSED(7, BH_HIDDEN_COVERED), TASKS({ 7, 70, 0 })), "");
        wanted(compare(TASKS({ 7, 70, 0 }), MISSED(7, BH_HIDDEN_UNLISTED | BH_HIDDEN_COVERED), MISSED(7, BH_HIDDEN_COVERED), TASKS({ 7, 70, 0 })), "7:4");
}

static void what_begins_or_ends_meanwhile_is_not(void) {
        wanted(compare(TASKS({ 1, 10, 0 }), MISSED(7, ABSENT), MISSED(7, ABSENT), TASKS({ 1, 10, 0 }, { 7, 70, 0 })), "");
        wanted(compare(TASKS({ 1, 10, 0 }, { 7, 70, 0 }), MISSED(7, ABSENT), MISSED(7, ABSENT), TASKS({ 1, 10, 0 })), "");
}

static void id_that_is_used_again_is_another_process(void) {
        wanted(compare(TASKS({ 7, 70, 0 }), MISSED(7, ABSENT), MISSED(7, ABSENT), TASKS({ 7, 71, 0 })), "");
}

static void who_ends_or_waits_for_its_parent_is_not_hidden(void) {
        wanted(compare(TASKS({ 7, 70, BH_TASK_DYING }), MISSED(7, ABSENT), MISSED(7, ABSENT), TASKS({ 7, 70, BH_TASK_DYING })), "");
        wanted(compare(TASKS({ 7, 70, 0 }), MISSED(7, ABSENT), MISSED(7, ABSENT), TASKS({ 7, 70, BH_TASK_DYING })), "");
}

static void thread_of_the_kernel_is_compared_as_any(void) {
        wanted(compare(TASKS({ 2, 1, BH_TASK_KERNEL }, { 3, 1, BH_TASK_KERNEL }), MISSED(3, 1), MISSED(3, 1), TASKS({ 2, 1, BH_TASK_KERNEL }, { 3, 1, BH_TASK_KERNEL })), "3:1");
}

static void absence_of_one_that_the_kernel_did_not_list_says_nothing(void) {
        One unsure = { 7, 70, BH_TASK_UNSURE };

        wanted(compare(TASKS(unsure), MISSED(7, ABSENT), MISSED(7, ABSENT), TASKS(unsure)), "");
        wanted(compare(TASKS(unsure), MISSED(7, BH_HIDDEN_UNLISTED), MISSED(7, BH_HIDDEN_UNLISTED), TASKS(unsure)), "7:1");
}

static void many_are_found_in_order(void) {
        g_autoptr(GArray) before = g_array_new(FALSE, FALSE, sizeof(struct bh_task_record));
        g_autoptr(GHashTable) look = g_hash_table_new(NULL, NULL);

        for (guint32 pid = 1; pid <= 20000; pid++) {
                struct bh_task_record t = { .tgid = pid, .start = pid };

                g_array_append_val(before, t);
                if (pid % 2)
                        g_hash_table_insert(look, GUINT_TO_POINTER(pid), GUINT_TO_POINTER(1));
        }
        g_autoptr(GArray) found = bh_hidden_compare(before, look, look, before);
        g_assert_cmpuint(found->len, ==, 10000);
        for (guint i = 0; i < found->len; i++)
                g_assert_cmpuint(g_array_index(found, BhHidden, i).task.tgid, ==, 2 * i + 1);
}

static void mounts_on_processes_are_told_with_their_sources(void) {
        g_autoptr(GPtrArray) found = bh_hidden_mounts(MOUNTS, "/proc"), elsewhere = bh_hidden_mounts(MOUNTS, "/host/proc/");
        static const struct {
                guint32 pid;
                const char *point, *what;
        } want[] = { { 4711, "/proc/4711", "tmpfs none" }, { 12, "/proc/12", "ext4 /dev/vda1 /empty\\040dir" }, { 13, "/proc/13/cmdline", "ext4 /dev/vda1 /x" }, { 9, "/proc/9", "" } };

        g_assert_cmpuint(found->len, ==, G_N_ELEMENTS(want));
        for (guint i = 0; i < found->len; i++) {
                const BhProcMount *m = found->pdata[i];

                g_assert_cmpuint(m->pid, ==, want[i].pid);
                g_assert_cmpstr(m->point, ==, want[i].point);
                g_assert_cmpstr(m->what, ==, want[i].what);
        }
        g_assert_cmpuint(elsewhere->len, ==, 1);
        g_assert_cmpuint(((BhProcMount *) elsewhere->pdata[0])->pid, ==, 8);
}

static void mount_on_the_directory_itself_is_named_first(void) {
        g_autoptr(GPtrArray) found = bh_hidden_mounts("1 1 0:1 / /proc/5/cmdline rw - tmpfs a rw\n2 1 0:1 / /proc/5 rw - tmpfs b rw\n3 1 0:1 / /proc/6 rw - tmpfs c rw\n", "/proc");

        g_assert_cmpstr(bh_hidden_mount_of(found, 5)->what, ==, "tmpfs b");
        g_assert_null(bh_hidden_mount_of(found, 7));
}

static void mount_counts_where_a_process_lives(void) {
        g_autoptr(GPtrArray) mounts = bh_hidden_mounts(MOUNTS, "/proc");
        g_autoptr(GArray) known = TASKS({ 12, 1, 0 }, { 13, 1, BH_TASK_DYING }, { 14, 1, 0 });
        g_autoptr(GHashTable) look = g_hash_table_new(NULL, NULL);

        bh_hidden_look_mounts(mounts, known, look);
        g_assert_cmpuint(g_hash_table_size(look), ==, 1);
        g_assert_cmpuint(GPOINTER_TO_UINT(g_hash_table_lookup(look, GUINT_TO_POINTER(12))), ==, BH_HIDDEN_COVERED);
}

/* A directory stands for /proc; names that are no numbers, and numbers that no process has, say nothing. */
static void look_tells_what_a_directory_does_not_have(void) {
        g_autofree char *dir = g_dir_make_tmp("bh-hidden-XXXXXX", NULL), *seven = g_build_filename(dir, "7", NULL), *other = g_build_filename(dir, "77", NULL), *self = g_build_filename(dir, "self", NULL);
        g_autoptr(GArray) known = TASKS({ 7, 1, 0 }, { 8, 1, 0 }, { 9, 1, BH_TASK_DYING });
        g_autoptr(GHashTable) look = g_hash_table_new(NULL, NULL);

        g_assert_cmpint(g_mkdir(seven, 0700), ==, 0);
        g_assert_cmpint(g_mkdir(other, 0700), ==, 0);
        g_assert_cmpint(g_mkdir(self, 0700), ==, 0);
        g_auto(BhFd) fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        bh_hidden_look(fd, known, look);
        bh_test_remove(dir);
        g_assert_cmpuint(g_hash_table_size(look), ==, 1);
        g_assert_cmpuint(GPOINTER_TO_UINT(g_hash_table_lookup(look, GUINT_TO_POINTER(8))), ==, ABSENT);
}

/* As where descriptors have run out: that nothing could be read is no evidence against anybody. */
static void listing_that_cannot_be_read_says_nothing(void) {
        g_autoptr(GArray) known = TASKS({ 1, 1, 0 }, { 8, 1, 0 });
        g_autoptr(GHashTable) look = g_hash_table_new(NULL, NULL);
        g_auto(BhFd) fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

        bh_hidden_look(fd, known, look);
        bh_hidden_look(-1, known, look);
        g_assert_cmpuint(g_hash_table_size(look), ==, 0);
}

static void ways_are_told_in_words(void) {
        g_autoptr(GPtrArray) mounts = bh_hidden_mounts(MOUNTS, "/proc");
        static const struct {
                guint32 how, pid;
                const char *want;
        } each[] = {
                { BH_HIDDEN_UNLISTED, 12, "not listed in /proc" },
                { ABSENT, 12, "neither listed in /proc nor there when asked for" },
                { BH_HIDDEN_ABSENT, 12, "listed in /proc and not there when asked for" },
                { BH_HIDDEN_COVERED, 12, "a mount lies over /proc/12 (ext4 /dev/vda1 /empty\\040dir)" },
                { BH_HIDDEN_COVERED, 9, "a mount lies over /proc/9" },
                { BH_HIDDEN_COVERED, 5, "a mount lies over /proc/5" },
                { BH_HIDDEN_UNLISTED | BH_HIDDEN_COVERED, 4711, "not listed in /proc; a mount lies over /proc/4711 (tmpfs none)" },
        };

        for (guint i = 0; i < G_N_ELEMENTS(each); i++) {
                BhHidden h = { .task = { .tgid = each[i].pid }, .how = each[i].how };
                g_autofree char *got = bh_hidden_text(&h, bh_hidden_mount_of(mounts, each[i].pid));

                g_assert_cmpstr(got, ==, each[i].want);
        }
}

/* ---- whole looks at this machine's own /proc */

typedef struct {
        GArray *first, *then;
        guint calls;
        gboolean fails;
} Script;

static gboolean scripted(GArray *out, gpointer data) {
        Script *s = data;
        const GArray *from = s->calls++ && s->then ? s->then : s->first;

        g_array_append_vals(out, from->data, from->len);
        return !s->fails;
}

/* An id that no process has stands for one that the whole of /proc hides. */
#define NOBODY 4194305u

static void process_that_proc_does_not_have_is_found(void) {
        guint32 self = (guint32) getpid();
        g_autoptr(GArray) list = TASKS({ self, 5, BH_TASK_SELF }, { NOBODY, 6, 0 });
        Script s = { .first = list };
        BhHiddenSource source = { "/proc", scripted, &s };
        g_auto(BhHiddenFound) found = { 0 };

        bh_hidden_find(&source, &found);
        g_assert_null(found.problem);
        g_assert_cmpuint(s.calls, ==, 2);
        g_assert_cmpuint(found.hidden->len, ==, 1);
        g_assert_cmpuint(g_array_index(found.hidden, BhHidden, 0).task.tgid, ==, NOBODY);
        g_assert_cmpuint(g_array_index(found.hidden, BhHidden, 0).how, ==, ABSENT);
}

static void process_that_ends_during_the_looks_is_not_found(void) {
        guint32 self = (guint32) getpid();
        g_autoptr(GArray) list = TASKS({ self, 5, BH_TASK_SELF }, { NOBODY, 6, 0 }), then = TASKS({ self, 5, BH_TASK_SELF });
        Script s = { .first = list, .then = then };
        BhHiddenSource source = { "/proc", scripted, &s };
        g_auto(BhHiddenFound) found = { 0 };

        bh_hidden_find(&source, &found);
        g_assert_null(found.problem);
        g_assert_cmpuint(found.hidden->len, ==, 0);
}

static void nothing_is_compared_with_a_proc_of_other_numbers(void) {
        g_autofree char *dir = g_dir_make_tmp("bh-hidden-XXXXXX", NULL);
        g_autoptr(GArray) list = TASKS({ NOBODY, 5, BH_TASK_SELF }, { NOBODY + 1, 6, 0 });
        Script s = { .first = list }, broken = { .first = list, .fails = TRUE };
        BhHiddenSource sources[] = { { "/proc", scripted, &s }, { dir, scripted, &s }, { "/proc", scripted, &broken } };

        for (guint i = 0; i < G_N_ELEMENTS(sources); i++) {
                g_auto(BhHiddenFound) found = { 0 };

                bh_hidden_find(&sources[i], &found);
                g_assert_nonnull(found.problem);
                g_assert_cmpuint(found.hidden->len, ==, 0);
                g_assert_cmpuint(found.mounts->len, ==, 0);
        }
        bh_test_remove(dir);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/hidden/" #name, name)
        ADD(what_lives_all_the_time_and_is_missing_twice_is_hidden);
        ADD(what_one_look_alone_missed_is_not);
        ADD(what_begins_or_ends_meanwhile_is_not);
        ADD(id_that_is_used_again_is_another_process);
        ADD(who_ends_or_waits_for_its_parent_is_not_hidden);
        ADD(thread_of_the_kernel_is_compared_as_any);
        ADD(absence_of_one_that_the_kernel_did_not_list_says_nothing);
        ADD(many_are_found_in_order);
        ADD(mounts_on_processes_are_told_with_their_sources);
        ADD(mount_on_the_directory_itself_is_named_first);
        ADD(mount_counts_where_a_process_lives);
        ADD(look_tells_what_a_directory_does_not_have);
        ADD(listing_that_cannot_be_read_says_nothing);
        ADD(ways_are_told_in_words);
        ADD(process_that_proc_does_not_have_is_found);
        ADD(process_that_ends_during_the_looks_is_not_found);
        ADD(nothing_is_compared_with_a_proc_of_other_numbers);
        return g_test_run();
}

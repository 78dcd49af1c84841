/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that were stopped to be copied go on, each once, and those of others are left alone. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "evidence/paused.h"

#define TICK_NS 10000000ull
#define LONG_AGO 1

static struct bh_paused *slots;

static guint64 start_of(pid_t pid) {
        g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int) pid), *text = NULL;

        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        char *at = strrchr(text, ')');
        for (guint i = 0; i < 20; i++)
                at = strchr(at + 1, ' ');
        return strtoull(at + 1, NULL, 10) * TICK_NS;
}

/* A child that is stopped, with a place as the kernel's program would have made it. */
static pid_t stopped(guint slot) {
        pid_t pid = fork();
        int how;

        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                raise(SIGSTOP);
                _exit(7);
        }
        g_assert_cmpint(waitpid(pid, &how, WUNTRACED), ==, pid);
        g_assert_true(WIFSTOPPED(how));
        slots[slot] = (struct bh_paused){ .taken = 1, .tgid = (guint32) pid, .start = start_of(pid) + 1234, .since = LONG_AGO };
        return pid;
}

static void assert_went_on(pid_t pid) {
        int how;

        g_assert_cmpint(waitpid(pid, &how, 0), ==, pid);
        g_assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 7);
}

static void assert_free(guint slot) {
        g_assert_cmpuint(slots[slot].taken, ==, 0);
        g_assert_cmpuint(slots[slot].since, ==, 0);
}

static void all_go_on_and_give_their_places_back(void) {
        pid_t a = stopped(0), b = stopped(BH_PAUSE_SLOTS - 1);

        g_assert_cmpuint(bh_paused_continue_all(slots, "/proc"), ==, 2);
        assert_went_on(a);
        assert_went_on(b);
        assert_free(0);
        assert_free(BH_PAUSE_SLOTS - 1);
        g_assert_cmpuint(bh_paused_continue_all(slots, "/proc"), ==, 0);
        g_assert_cmpuint(bh_paused_continue_all(NULL, "/proc"), ==, 0);
}

static void who_was_just_stopped_is_left_to_the_one_who_copies(void) {
        pid_t pid = stopped(3);
        struct timespec now;
        int how;

        clock_gettime(CLOCK_BOOTTIME, &now);
        slots[3].since = (guint64) now.tv_sec * 1000000000ull + (guint64) now.tv_nsec;
        g_assert_cmpuint(bh_paused_continue(slots, "/proc", 3600 * 1000000000ull), ==, 0);
        g_assert_cmpint(waitpid(pid, &how, WNOHANG), ==, 0);
        g_assert_false(bh_paused_continue_one(slots, 3, "/proc", slots[3].since - 1));
        guint64 since = slots[3].since;
        g_assert_true(bh_paused_continue_one(slots, 3, "/proc", since));
        g_assert_false(bh_paused_continue_one(slots, 3, "/proc", since));
        assert_went_on(pid);
        assert_free(3);
}

/* The id is another process's by now: its place is free, and that one stays as it was. */
static void another_process_with_that_id_is_left_alone(void) {
        pid_t pid = stopped(5);
        int how;

        slots[5].start -= 100 * TICK_NS;
        g_assert_cmpuint(bh_paused_continue_all(slots, "/proc"), ==, 1);
        assert_free(5);
        g_assert_cmpint(waitpid(pid, &how, WNOHANG | WCONTINUED), ==, 0);
        kill(pid, SIGCONT);
        assert_went_on(pid);
}

static void who_is_gone_has_no_place(void) {
        pid_t pid = stopped(6);

        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        g_assert_cmpuint(bh_paused_continue_all(slots, "/proc"), ==, 1);
        assert_free(6);
}

static void what_is_no_pinned_map_is_none(void) {
        g_assert_null(bh_paused_map("/nowhere/paused"));
        g_assert_null(bh_paused_map("/proc/self/status"));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        slots = mmap(NULL, BH_PAUSE_SLOTS * sizeof(*slots), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        g_assert_true(slots != MAP_FAILED);
#define TEST(name) g_test_add_func("/paused/" #name, name)
        TEST(all_go_on_and_give_their_places_back);
        TEST(who_was_just_stopped_is_left_to_the_one_who_copies);
        TEST(another_process_with_that_id_is_left_alone);
        TEST(who_is_gone_has_no_place);
        TEST(what_is_no_pinned_map_is_none);
        return g_test_run();
}

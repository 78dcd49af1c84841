/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of blocks share: a control group, who runs in it, containers of a kind, and what is expected. */
#pragma once
#include "sensor/block_private.h"
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "block_ways.h"
#include "container/cgroup.h"
#include "response/files.h"

#define CGROUP "/bh-test-block"
#define WORKERS 4u
#define RULE 7u
#define SCRIPT_RULE 8u
#define TRIED_RULE 9u /* of a list that is only observed */

typedef struct {
        guint rounds;
        gint *slipped, *script_slipped; /* shared by all workers */
} Work;

typedef struct {
        char *layers; /* its files */
        int ready, go;
} Box;

/* The container's and the test's ends of what they tell one another by. */
typedef struct {
        Box box;
        char *layers;
        int ready, go;
        pid_t pid;
} Boxed;

extern BhCgroupLayout *layout;
extern char *v2, *dir, *cgroup_dir, *pins, *blocked, *neighbour;
extern BhBlockBackend backend, chosen; /* under test; what this kernel is given */

void say_told(const struct bh_block_act *a, gpointer data);
BhBlock *begin(void);
GPtrArray *denies(const char *first, ...);
void must_set(BhBlock *b, const BhBlockRule *rules, guint n, const BhBlockSubject *subject, guint open);
void enter(const char *dir_of_cgroup);
pid_t begin_in_cgroup(void (*run)(gpointer data), gpointer data);
void must_end(pid_t pid);
void in_cgroup(void (*run)(gpointer data), gpointer data);
void make_cgroup(void);
void remove_cgroup(void);
void assert_stopped(const char *how, BhWayResult r);
void assert_ran(const char *how, BhWayResult r, char mark);
void expect_stopped(const char *how, BhWayResult r, gint *slipped);
guint stopping_ways(void);
void work(gpointer data);
void must_run_all(const char *folder, char mark);
void run_all_blocked(gpointer data);
void stop_one(gpointer data);
GPtrArray *block_blocked(void);
void enter_box(const Box *box);
void meet(const Box *box);
void run_box(gpointer data);
void begin_box(Boxed *b, void (*run)(gpointer data));
void wait_box(const Boxed *b);
void go_on(const Boxed *b);
void end_box(Boxed *b);

/* block_lists.c */
void what_is_not_listed_does_not_run(void);
void lists_that_change_refuse_nothing_that_is_on_all(void);
void links_list_nothing_that_the_image_did_not_bring(void);
void another_root_lists_nothing(void);
void another_build_knows_the_root_of_before(void);
void another_mount_namespace_lists_nothing(void);
void what_is_mounted_over_the_image_is_not_listed(void);
void mounts_that_cannot_be_read_change_nothing(void);
void a_list_of_which_nothing_is_left_refuses_all_and_fails_no_other(void);
void a_bit_that_is_another_lists_now_lists_nothing_of_the_old_one(void);
void who_has_the_number_of_a_blocked_file_is_not_that_file(void);
void what_is_over_in_a_look_is_looked_at_in_the_next_one(void);

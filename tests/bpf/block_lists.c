/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of what alone may run, and whoever is in the container against them. */
#include "block_env.h"

static void change_file(const char *path) {
        int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

        g_assert_no_errno(fd);
        g_assert_cmpint(write(fd, "x", 1), ==, 1);
        close(fd);
}

static void must_run_listed(void) {
        assert_ran("listed", bh_way_run("/image/prog"), 'n');
        assert_ran("script of what is listed", bh_way_run("/image/script"), 'n');
        assert_ran("by a link", bh_way_run("/image/sym"), 'n');
        assert_ran("listed, whatever is there", bh_way_run("/volume/prog"), 'n');
}

static void run_listed(gpointer data) {
        enter_box(data);
        meet(data); /* observed: all run */
        must_run_listed();
        assert_ran("not listed", bh_way_run("/further/prog"), 'f');
        assert_ran("written", bh_way_run("/written"), 'n');
        meet(data); /* in force */
        for (guint i = 0; i < 10; i++) {
                must_run_listed();
                assert_stopped("not listed", bh_way_run("/further/prog"));
                assert_stopped("script of what is not listed", bh_way_run("/image/other-script"));
                assert_stopped("a copy elsewhere", bh_way_run("/written"));
                assert_stopped("from memory", bh_way_memfd("/image/prog"));
        }
        meet(data); /* one more is listed, and this one not any more; without a moment in which the others are refused */
        must_run_listed();
        assert_ran("listed by now", bh_way_run("/further/prog"), 'f');
        assert_ran("script of what is listed by now", bh_way_run("/image/other-script"), 'f');
        /* changed: not the image's any more, at once and after another look */
        change_file("/image/prog");
        assert_stopped("changed", bh_way_run("/image/prog"));
        meet(data);
        assert_stopped("changed, and looked at again", bh_way_run("/image/prog"));
        assert_ran("the other", bh_way_run("/further/prog"), 'f');
        meet(data); /* the list is gone */
        assert_ran("changed", bh_way_run("/image/prog"), 'n');
        assert_ran("from memory", bh_way_memfd("/image/prog"), 'n');
}

void what_is_not_listed_does_not_run(void) {
        g_autoptr(GPtrArray) tried = denies("exec-only:/image/prog", "exec-only:any:/volume/prog", "exec-only:/not/there", "observe", NULL);
        g_autoptr(GPtrArray) first = denies("exec-only:/image/prog", "exec-only:any:/volume/prog", NULL), second = denies("exec-only:/image/prog", "exec-only:any:/volume/prog", "exec-only:/further/prog", NULL);
        g_autoptr(GPtrArray) none = denies("exec-only:/not/there", NULL);
        const BhBlockRule observed = { TRIED_RULE, tried, FALSE }, rule = { RULE, first, FALSE }, more[] = { { SCRIPT_RULE, second, FALSE }, { RULE, first, FALSE } };
        g_autoptr(GError) error = NULL;
        g_auto(BhBlockDone) done = { 0 };
        guint64 acts, untold, told = 0;
        Boxed box;

        begin_box(&box, run_listed);
        wait_box(&box);
        g_autoptr(BhBlock) b = begin();
        const BhBlockSubject subject = { .init_pid = box.pid };
        const BhBlockRule empty = { RULE, none, TRUE };
        g_assert_false(bh_block_set(b, CGROUP, &empty, 1, &subject, &done, &error));
        g_assert_nonnull(strstr(error->message, "none of the programs"));
        must_set(b, &observed, 1, &subject, 0);
        go_on(&box);
        wait_box(&box);
        bh_block_tell(b, say_told, &told);
        g_assert_true(bh_block_refused(b, TRIED_RULE, &acts, &untold));
        g_assert_cmpuint(acts, ==, 2);

        must_set(b, &rule, 1, &subject, 0);
        go_on(&box);
        wait_box(&box);
        bh_block_tell(b, say_told, &told);
        g_assert_true(bh_block_refused(b, RULE, &acts, &untold));
        g_assert_cmpuint(acts, ==, 40);
        g_assert_cmpuint(told, ==, 40);
        g_assert_false(bh_block_refused(b, TRIED_RULE, &acts, &untold));

        /* two lists: what is on one alone does not run; then the wider one alone, as when a model learned something */
        must_set(b, more, 2, &subject, 0);
        must_set(b, more, 1, &subject, 0);
        go_on(&box);
        wait_box(&box);
        must_set(b, more, 1, &subject, 0); /* another look */
        go_on(&box);
        wait_box(&box);
        bh_block_clear(b, CGROUP);
        go_on(&box);
        must_end(box.pid);
        end_box(&box);
}

/* While rules come and go, what is on all lists runs each time. */
static void run_on(gpointer data) {
        const Box *box = data;
        struct pollfd enough = { .fd = box->go, .events = POLLIN };
        char byte;

        enter_box(data);
        meet(data);
        for (guint i = 0; i < 300 || poll(&enough, 1, 0) == 0; i++)
                must_run_listed();
        g_assert_cmpint(read(box->go, &byte, 1), ==, 1);
        meet(data);
}

#define CHANGES 100u

void lists_that_change_refuse_nothing_that_is_on_all(void) {
        g_autoptr(GPtrArray) list = denies("exec-only:/image/prog", "exec-only:any:/volume/prog", NULL);
        guint number = RULE, rounds = 0;
        Boxed box;

        begin_box(&box, run_on);
        wait_box(&box);
        g_autoptr(BhBlock) b = begin();
        const BhBlockSubject subject = { .init_pid = box.pid };
        const BhBlockRule before = { number, list, FALSE };
        must_set(b, &before, 1, &subject, 0);
        go_on(&box);
        for (struct pollfd p = { .fd = box.ready, .events = POLLIN }; poll(&p, 1, 0) == 0; rounds++) {
                if (rounds == CHANGES)
                        go_on(&box); /* it may end */
                const BhBlockRule both[] = { { number, list, FALSE }, { number + 1, list, FALSE } };

                must_set(b, both, 2, &subject, 0);
                must_set(b, both + 1, 1, &subject, 0);
                number++;
        }
        wait_box(&box);
        go_on(&box);
        must_end(box.pid);
        g_test_message("the list changed %u times", rounds);
        g_assert_cmpuint(rounds, >, CHANGES);
        bh_block_clear(b, CGROUP);
        end_box(&box);
}

/* ---- whoever is in the container leads paths elsewhere */

static void put_copy(const char *of, const char *at) {
        g_autofree char *bytes = NULL;
        gsize len;

        g_assert_true(g_file_get_contents(of, &bytes, &len, NULL));
        g_assert_true(g_file_set_contents(at, bytes, (gssize) len, NULL));
        g_assert_no_errno(chmod(at, 0755));
}

/* In a process of its own, whose root is this one. mark 0: it is stopped. */
static void assert_from(int root, const char *path, char mark) {
        pid_t pid = fork();

        if (pid == 0) {
                g_assert_no_errno(fchdir(root));
                g_assert_no_errno(chroot("."));
                if (mark)
                        assert_ran(path, bh_way_run(path), mark);
                else
                        assert_stopped(path, bh_way_run(path));
                _exit(0);
        }
        must_end(pid);
}

static void must_run_own(int root) {
        assert_from(root, "/image/prog", 'n');
        assert_from(root, "/image/sym", 'n');
        assert_from(root, "/volume/prog", 'n');
        assert_from(root, "/written", 0);
}

static void lead_by_links(gpointer data) {
        enter_box(data);
        put_copy("/image/prog", "/volume/evil");
        g_assert_no_errno(symlink("prog", "/volume/link"));
        g_assert_no_errno(symlink("/further/hard", "/volume/out"));
        meet(data);
        assert_ran("listed", bh_way_run("/further/prog"), 'f');
        assert_ran("listed", bh_way_run("/further/hard"), 'f');
        assert_stopped("not listed", bh_way_run("/volume/evil"));
        g_assert_no_errno(unlink("/further/prog"));
        g_assert_no_errno(symlink("/volume/evil", "/further/prog"));
        g_assert_no_errno(unlink("/further/dynamic"));
        g_assert_no_errno(symlink("/further/hard", "/further/dynamic"));
        for (guint i = 0; i < 3; i++) {
                meet(data);
                assert_stopped("a link to a volume", bh_way_run("/further/prog"));
                assert_stopped("where it leads", bh_way_run("/volume/evil"));
                assert_stopped("a link to another program of the image", bh_way_run("/further/dynamic"));
                assert_stopped("where it leads", bh_way_run("/further/hard"));
                assert_stopped("a link out of a volume", bh_way_run("/volume/out"));
                assert_ran("listed", bh_way_run("/image/prog"), 'n');
                assert_ran("by the image's own link", bh_way_run("/image/sym"), 'n');
                assert_ran("on a volume", bh_way_run("/volume/prog"), 'n');
                assert_ran("by a link of the volume's", bh_way_run("/volume/link"), 'n');
        }
}

/* What a list has, each time that it is looked at, and what a successor makes of it. */
static void look_again(BhBlock **b, Boxed *box, const BhBlockRule *rule, guint times, gboolean succeed) {
        const BhBlockSubject subject = { .init_pid = box->pid };

        for (guint i = 0; i < times; i++) {
                wait_box(box);
                if (succeed && i == times - 1) {
                        bh_block_free(*b);
                        *b = begin();
                }
                must_set(*b, rule, 1, &subject, 0);
                bh_block_settle(*b);
                go_on(box);
        }
        must_end(box->pid);
        bh_block_clear(*b, CGROUP);
        bh_block_free(*b);
        end_box(box);
}

static void lead_with(const GPtrArray *list, void (*run)(gpointer data), guint times, gboolean succeed) {
        BhBlockRule rule = { RULE, list, TRUE };
        Boxed box;

        begin_box(&box, run);
        wait_box(&box);
        BhBlock *b = begin();
        const BhBlockSubject subject = { .init_pid = box.pid };
        must_set(b, &rule, 1, &subject, 0);
        rule.fresh = FALSE;
        go_on(&box);
        look_again(&b, &box, &rule, times, succeed);
}

static void try_to_lead(void (*run)(gpointer data), guint times, gboolean succeed, const char *further) {
        g_autoptr(GPtrArray) list = denies("exec-only:/image/prog", "exec-only:/image/sym", "exec-only:/volume/prog", further, NULL);

        lead_with(list, run, times, succeed);
}

void links_list_nothing_that_the_image_did_not_bring(void) {
        g_autoptr(GPtrArray) list = denies("exec-only:/image/prog", "exec-only:/image/sym", "exec-only:/volume/prog", "exec-only:/volume/link", "exec-only:/volume/out", "exec-only:/further/prog", "exec-only:/further/dynamic", NULL);

        lead_with(list, lead_by_links, 3, TRUE);
}

static void lead_by_root(gpointer data) {
        enter_box(data);
        int low = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), root = fcntl(low, F_DUPFD_CLOEXEC, 64); /* out of the way of what block_ways.c counts on */
        g_assert_no_errno(root);
        close(low);
        meet(data);
        must_run_own(root);
        g_assert_no_errno(g_mkdir("/volume/image", 0755));
        g_assert_no_errno(g_mkdir("/volume/further", 0755));
        g_assert_no_errno(g_mkdir("/volume/empty", 0755));
        put_copy("/further/prog", "/volume/image/prog");
        put_copy("/further/prog", "/volume/further/prog");
        g_assert_no_errno(chroot("/volume"));
        g_assert_no_errno(chdir("/"));
        for (guint i = 0; i < 4; i++) {
                meet(data);
                if (i < 2) {
                        assert_stopped("in another root", bh_way_run("/image/prog"));
                        assert_stopped("in another root", bh_way_run("/further/prog"));
                }
                must_run_own(root);
                if (i == 1)
                        g_assert_no_errno(chroot("/empty"));
        }
}

void another_root_lists_nothing(void) {
        try_to_lead(lead_by_root, 4, TRUE, "exec-only:/further/prog");
}

static void lead_by_root_once(gpointer data) {
        enter_box(data);
        meet(data);
        g_assert_no_errno(g_mkdir("/volume/image", 0755));
        put_copy("/further/prog", "/volume/image/prog");
        g_assert_no_errno(chroot("/volume"));
        g_assert_no_errno(chdir("/"));
        meet(data);
        assert_stopped("in another root", bh_way_run("/image/prog"));
}

/* Nothing of what it listed is known to another build, but through which root that was. */
void another_build_knows_the_root_of_before(void) {
        g_autoptr(GPtrArray) list = denies("exec-only:/image/prog", NULL);
        BhBlockRule rule = { RULE, list, TRUE };
        g_autofree char *older = g_build_filename(pins, "0123456789abcdef", NULL);
        Boxed box;

        begin_box(&box, lead_by_root_once);
        wait_box(&box);
        BhBlock *b = begin();
        const BhBlockSubject subject = { .init_pid = box.pid };
        must_set(b, &rule, 1, &subject, 0);
        rule.fresh = FALSE;
        go_on(&box);
        wait_box(&box);
        g_assert_no_errno(rename(b->home, older));
        bh_block_free(b);
        b = begin();
        g_assert_cmpuint(bh_block_count(b), ==, 0);
        must_set(b, &rule, 1, &subject, 0);
        g_autofree char *pin = g_build_filename(older, "map_subjects", NULL);
        const guint64 cgroup = bh_cgroup_id(AT_FDCWD, cgroup_dir);
        struct bh_block_subject v;
        int subjects = bpf_obj_get(pin);
        g_assert_no_errno(subjects);
        g_assert_cmpint(bpf_map_lookup_elem(subjects, &cgroup, &v), !=, 0); /* it is this one's by now, also before all are */
        close(subjects);
        bh_block_settle(b);
        g_assert_false(g_file_test(older, G_FILE_TEST_EXISTS));
        go_on(&box);
        must_end(box.pid);
        bh_block_clear(b, CGROUP);
        bh_block_free(b);
        end_box(&box);
}

static void lead_by_mounts(gpointer data, gboolean apart) {
        enter_box(data);
        meet(data);
        assert_ran("listed", bh_way_run("/further/prog"), 'f');
        if (apart)
                g_assert_no_errno(unshare(CLONE_NEWNS));
        g_assert_no_errno(mount("tmpfs", "/further", "tmpfs", 0, NULL));
        put_copy("/image/prog", "/further/prog");
        for (guint i = 0; i < 3; i++) {
                meet(data);
                assert_stopped("mounted over", bh_way_run("/further/prog"));
                assert_ran("listed", bh_way_run("/image/prog"), 'n');
                assert_ran("listed", bh_way_run("/volume/prog"), 'n');
        }
}

static void lead_by_mount_namespace(gpointer data) {
        lead_by_mounts(data, TRUE);
}

void another_mount_namespace_lists_nothing(void) {
        try_to_lead(lead_by_mount_namespace, 3, TRUE, "exec-only:/further/prog");
}

static void lead_by_mounting_over(gpointer data) {
        lead_by_mounts(data, FALSE);
}

/* As long as the same sensor looks. */
void what_is_mounted_over_the_image_is_not_listed(void) {
        try_to_lead(lead_by_mounting_over, 3, FALSE, "exec-only:/further/prog");
}

static void mount_more_than_are_read(gpointer data) {
        enter_box(data);
        meet(data);
        g_assert_no_errno(g_mkdir("/volume/many", 0755));
        for (guint i = 0; i <= BH_FILE_MOUNTS_MAX; i++)
                g_assert_no_errno(mount("tmpfs", "/volume/many", "tmpfs", 0, "size=4k"));
        for (guint i = 0; i < 2; i++) {
                meet(data);
                assert_ran("listed", bh_way_run("/image/prog"), 'n');
                assert_ran("listed", bh_way_run("/further/prog"), 'f');
                assert_stopped("not listed", bh_way_run("/written"));
        }
}

void mounts_that_cannot_be_read_change_nothing(void) {
        try_to_lead(mount_more_than_are_read, 2, TRUE, "exec-only:/further/prog");
}

/* All that was listed is the image's no more. */
static void change_all(gpointer data) {
        enter_box(data);
        meet(data);
        assert_ran("listed", bh_way_run("/image/prog"), 'n');
        g_assert_no_errno(chmod("/image/prog", 0777));
        for (guint i = 0; i < 2; i++) {
                meet(data);
                assert_stopped("changed", bh_way_run("/image/prog"));
                assert_stopped("not listed", bh_way_run("/further/prog"));
        }
        meet(data); /* the list is gone, the other rule is not */
        assert_ran("not listed any more", bh_way_run("/image/prog"), 'n');
        assert_stopped("blocked", bh_way_run("/further/prog"));
}

void a_list_of_which_nothing_is_left_refuses_all_and_fails_no_other(void) {
        g_autoptr(GPtrArray) list = denies("exec-only:/image/prog", NULL), other = denies("exec:/further/prog", NULL);
        BhBlockRule rules[] = { { RULE, list, TRUE }, { SCRIPT_RULE, other, TRUE } };
        Boxed box;

        begin_box(&box, change_all);
        wait_box(&box);
        BhBlock *b = begin();
        const BhBlockSubject subject = { .init_pid = box.pid };
        must_set(b, rules, 1, &subject, 0);
        rules[0].fresh = FALSE;
        go_on(&box);
        wait_box(&box);
        must_set(b, rules, 2, &subject, 0);
        go_on(&box);
        wait_box(&box);
        bh_block_free(b);
        b = begin();
        must_set(b, rules, 2, &subject, 0);
        bh_block_settle(b);
        go_on(&box);
        wait_box(&box);
        must_set(b, rules + 1, 1, &subject, 0);
        go_on(&box);
        must_end(box.pid);
        bh_block_clear(b, CGROUP);
        bh_block_free(b);
        end_box(&box);
}

/* ---- numbers that are used again */

#define MANY 1000u

typedef struct {
        BhBlock *b;
        struct bh_block_key key;
        guint64 cgroup;
        guint32 wanted;
        gint stop, seen, listed; /* atomic */
} Spy;

/* Whether a file is on the list that has this bit now, in the moment in which that list is new. */
static gpointer spy(gpointer data) {
        Spy *s = data;

        while (!g_atomic_int_get(&s->stop)) {
                struct bh_block_subject v;
                struct bh_block_file f;

                if (bpf_map_lookup_elem(s->b->maps[BLOCK_SUBJECTS], &s->cgroup, &v) || v.list_rules[0] != s->wanted)
                        continue;
                if (bpf_map_lookup_elem(s->b->maps[BLOCK_FILES], &s->key, &f) == 0 && f.listed & 1)
                        g_atomic_int_set(&s->listed, TRUE);
                g_atomic_int_set(&s->seen, TRUE);
        }
        return NULL;
}

static void only_meet(gpointer data) {
        enter_box(data);
        meet(data);
}

void a_bit_that_is_another_lists_now_lists_nothing_of_the_old_one(void) {
        g_autoptr(GPtrArray) first = denies("exec-only:/further/prog", NULL), second = denies("exec-only:/further/prog", NULL), third = denies("exec-only:/image/prog", NULL);
        Boxed box;

        for (guint i = 0; i < MANY; i++) { /* so that what goes takes its time */
                g_autofree char *text = g_strdup_printf("exec-only:any:/volume/%u", i);

                g_ptr_array_add(second, bh_deny_parse(text, NULL));
        }
        const BhBlockRule rules[] = { { RULE, first, TRUE }, { RULE + 1, second, TRUE } }, last = { RULE + 2, third, TRUE };
        begin_box(&box, only_meet);
        wait_box(&box);
        g_autoptr(BhBlock) b = begin();
        const BhBlockSubject subject = { .init_pid = box.pid };
        Spy s = { .b = b, .wanted = RULE + 2, .cgroup = bh_cgroup_id(AT_FDCWD, cgroup_dir) };
        for (guint i = 0; i < 10; i++) {
                const struct bh_block_key *key;
                const struct bh_block_file *file;
                gboolean found = FALSE;
                GHashTableIter it;

                must_set(b, rules, 2, &subject, 0);
                must_set(b, rules + 1, 1, &subject, 0);
                g_hash_table_iter_init(&it, ((BlockSubject *) g_hash_table_lookup(b->subjects, &s.cgroup))->keys);
                while (g_hash_table_iter_next(&it, (gpointer *) &key, (gpointer *) &file))
                        if (file->listed & 1) {
                                s.key = *key;
                                found = TRUE;
                        }
                g_assert_true(found);
                g_atomic_int_set(&s.stop, FALSE);
                GThread *thread = g_thread_new("spy", spy, &s);
                must_set(b, &last, 1, &subject, 0);
                for (guint k = 0; !g_atomic_int_get(&s.seen); k++) {
                        g_assert_cmpuint(k, <, 60000);
                        g_usleep(1000);
                }
                g_atomic_int_set(&s.stop, TRUE);
                g_thread_join(thread);
                g_assert_false(g_atomic_int_get(&s.listed));
                bh_block_clear(b, CGROUP);
        }
        go_on(&box);
        must_end(box.pid);
        end_box(&box);
}

static void run_successor(gpointer data) {
        enter_box(data);
        meet(data);
        assert_stopped("blocked", bh_way_run("/volume/prog"));
        g_assert_no_errno(rename("/volume/prog", "/volume/other"));
        meet(data);
        assert_ran("listed, with the number of one that was blocked", bh_way_run("/volume/other"), 'n');
}

/* File systems give the number of a file that is gone to the next one; its generation is another. */
void who_has_the_number_of_a_blocked_file_is_not_that_file(void) {
        g_autoptr(GPtrArray) blocks = denies("exec:/volume/prog", NULL), list = denies("exec-only:/volume/other", "exec-only:/image/prog", NULL);
        const BhBlockRule rules[] = { { RULE, blocks, FALSE }, { SCRIPT_RULE, list, FALSE } };
        struct bh_block_key *key;
        struct bh_block_file *file;
        GHashTableIter it;
        guint changed = 0;
        Boxed box;

        begin_box(&box, run_successor);
        wait_box(&box);
        g_autoptr(BhBlock) b = begin();
        const BhBlockSubject subject = { .init_pid = box.pid };
        const guint64 cgroup = bh_cgroup_id(AT_FDCWD, cgroup_dir);
        must_set(b, rules, 1, &subject, 0);
        go_on(&box);
        wait_box(&box);
        g_hash_table_iter_init(&it, ((BlockSubject *) g_hash_table_lookup(b->subjects, &cgroup))->keys);
        while (g_hash_table_iter_next(&it, (gpointer *) &key, (gpointer *) &file))
                if (!key->name && !file->loader && file->generation) {
                        file->generation ^= 1;
                        if (!file->generation)
                                file->generation = 2;
                        changed++;
                }
        g_assert_cmpuint(changed, ==, 1);
        must_set(b, rules, 2, &subject, 0);
        go_on(&box);
        must_end(box.pid);
        bh_block_clear(b, CGROUP);
        end_box(&box);
}

/* ---- how long a look takes */

#define CHAINED 600u
#define PARTS 236u /* of a path, all but as many as are looked at */

/* Ways on which one goes to and fro. */
static void chain_links(gpointer data) {
        g_autoptr(GString) way = g_string_new("/volume");

        enter_box(data);
        for (guint i = 0; i < PARTS / 2; i++)
                g_string_append(way, "/x/..");
        g_autofree char *near = g_strconcat(way->str, "/x/prog", NULL), *far = g_strconcat(way->str, "/x/../x/../x/../x/../x/../x/../x/../x/../x/../x/../far", NULL);
        g_assert_no_errno(g_mkdir("/volume/x", 0755));
        put_copy("/image/prog", "/volume/x/prog");
        put_copy("/image/prog", "/volume/far");
        g_assert_no_errno(symlink(far, "/volume/too-far"));
        for (guint i = 0; i < CHAINED; i++) {
                g_autofree char *at = g_strdup_printf("/volume/p%u", i);

                if (i == CHAINED - 2)
                        put_copy("/image/prog", at);
                else
                        g_assert_no_errno(symlink(near, at));
        }
        meet(data);
        assert_ran("listed", bh_way_run("/volume/p0"), 'n');
        assert_stopped("too far", bh_way_run("/volume/too-far"));
        g_assert_no_errno(unlink("/volume/p599"));
        put_copy("/image/prog", "/volume/p599");
        meet(data);
        assert_ran("listed", bh_way_run("/volume/p0"), 'n');
        assert_ran("listed", bh_way_run("/volume/p598"), 'n');
        assert_stopped("it had no turn", bh_way_run("/volume/p599"));
        meet(data);
        assert_ran("it had its turn", bh_way_run("/volume/p599"), 'n');
        assert_ran("listed", bh_way_run("/volume/p0"), 'n');
}

static guint turns_had(const BhBlock *b) {
        const guint64 cgroup = bh_cgroup_id(AT_FDCWD, cgroup_dir);

        return ((const BlockSubject *) g_hash_table_lookup(b->subjects, &cgroup))->from;
}

void what_is_over_in_a_look_is_looked_at_in_the_next_one(void) {
        g_autoptr(GPtrArray) list = denies("exec-only:/volume/too-far", NULL);
        BhBlockRule rule = { RULE, list, TRUE };
        guint before = 0, looks = 1;
        Boxed box;

        for (guint i = 0; i < CHAINED; i++) {
                g_autofree char *text = g_strdup_printf("exec-only:/volume/p%u", i);

                g_ptr_array_add(list, bh_deny_parse(text, NULL));
        }
        begin_box(&box, chain_links);
        wait_box(&box);
        g_autoptr(BhBlock) b = begin();
        const BhBlockSubject subject = { .init_pid = box.pid };
        must_set(b, &rule, 1, &subject, 0); /* what is new is looked at once, however long that takes */
        g_assert_cmpuint(turns_had(b), ==, 0);
        rule.fresh = FALSE;
        go_on(&box);
        wait_box(&box);
        must_set(b, &rule, 1, &subject, 0);
        go_on(&box);
        wait_box(&box);
        for (guint now; (now = turns_had(b)); looks++) {
                g_assert_cmpuint(now, >, before);
                g_assert_cmpuint((now - before) * PARTS, <=, BH_BLOCK_STEPS);
                before = now;
                must_set(b, &rule, 1, &subject, 0);
        }
        g_assert_cmpuint(looks, >=, CHAINED * PARTS / BH_BLOCK_STEPS);
        go_on(&box);
        must_end(box.pid);
        bh_block_clear(b, CGROUP);
        end_box(&box);
}

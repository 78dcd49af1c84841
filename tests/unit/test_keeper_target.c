/* SPDX-License-Identifier: Apache-2.0 */
/* Which mounts of a container the keeper has the kernel ask about, and what it says of the others. The kernel's marks, the mount tables and the walk to a mount are stood in for; tests/integration has them all. */
#include "sensor/keeper_target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scratch.h"
#include "sensor/keeper_walk.h"

#define CGROUP "/box.scope"
#define OTHER 4194304 /* no pid of this machine */

static GArray *tables[2]; /* of the container's first process, and of the other */
static GString *marked;   /* ids of mounts */
static guint walked;

int fanotify_mark(int group, unsigned int flags, uint64_t mask, int dir, const char *path) {
        g_string_append_printf(marked, "%u ", walked);
        return 0;
}

gboolean bh_keeper_is_local(const char *type) {
        return !g_str_equal(type, "nfs4");
}

GArray *bh_keeper_mounts(const char *proc, pid_t pid) {
        GArray *of = tables[pid == OTHER];

        return of ? g_array_ref(of) : NULL;
}

/* To the last that lies there; "/" is the root's. */
int bh_keeper_walk(int root, const GArray *mounts, const char *path, const BhFileMount **mount, GError **error) {
        for (guint i = 0; i < mounts->len; i++) {
                const BhFileMount *m = &g_array_index(mounts, BhFileMount, i);

                if (g_str_equal(m->point, path) && !(*mount && g_str_equal(path, "/")))
                        *mount = m;
        }
        walked = (*mount)->id;
        return fcntl(root, F_DUPFD_CLOEXEC, 3);
}

typedef struct {
        char *dir;
        guint root; /* the id of its mount */
        BhKeeperHeld *held;
} Fixture;

static GString *text_of(guint root, const char *type) {
        GString *text = g_string_new(NULL);

        g_string_append_printf(text, "%u 1 8:1 / / rw - %s none rw\n", root, type);
        return text;
}

static void more(GString *text, guint id, const char *point, const char *type) {
        g_string_append_printf(text, "%u 1 8:%u / %s rw - %s none rw\n", id, id & 0xff, point, type);
}

static void put_table(guint which, GString *text) {
        g_clear_pointer(&tables[which], g_array_unref);
        tables[which] = bh_file_mounts_parse(text->str, text->len, "/");
        g_assert_nonnull(tables[which]);
        g_string_free(text, TRUE);
}

static void put(const Fixture *f, const char *text, const char *format, ...) G_GNUC_PRINTF(3, 4);
static void put(const Fixture *f, const char *text, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_autofree char *name = g_strdup_vprintf(format, ap), *path = g_build_filename(f->dir, name, NULL), *parent = g_path_get_dirname(path);
        va_end(ap);
        g_assert_cmpint(g_mkdir_with_parents(parent, 0700), ==, 0);
        g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void put_process(const Fixture *f, pid_t pid) {
        g_autofree char *root = g_strdup_printf("%s/proc/%d/root", f->dir, pid);

        put(f, "0::" CGROUP "\n", "proc/%d/cgroup", pid);
        put(f, "", "proc/%d/mountinfo", pid);
        put(f, "", "proc/%d/ns/mnt", pid);
        g_assert_cmpint(g_mkdir(root, 0700), ==, 0);
}

static void set_up(Fixture *f, gconstpointer unused) {
        g_autofree char *proc = NULL, *v2 = NULL, *rule = g_strdup_printf("exec-hash:sha256:%064d", 0);
        g_autoptr(GError) error = NULL;
        struct statx s;

        f->dir = g_dir_make_tmp("bh-keeper-target-XXXXXX", NULL);
        g_assert_nonnull(f->dir);
        proc = g_build_filename(f->dir, "proc", NULL);
        v2 = g_build_filename(f->dir, "cgroup", NULL);
        put_process(f, getpid());
        put(f, "", "cgroup" CGROUP "/cgroup.procs");
        g_assert_cmpint(statx(AT_FDCWD, f->dir, 0, STATX_MNT_ID, &s), ==, 0);
        f->root = (guint) s.stx_mnt_id;
        json_auto_t *set = json_pack("{s:s,s:s,s:s,s:i,s:[s]}", "container", "box", "cgroup", CGROUP, "v2", v2, "pid", (int) getpid(), "rules", rule);
        f->held = bh_keeper_held_new(set, -1, proc, &error);
        g_assert_no_error(error);
        marked = g_string_new(NULL);
}

static void tear_down(Fixture *f, gconstpointer unused) {
        bh_keeper_held_unref(f->held);
        g_string_free(marked, TRUE);
        for (guint i = 0; i < G_N_ELEMENTS(tables); i++)
                g_clear_pointer(&tables[i], g_array_unref);
        bh_test_remove(f->dir);
        g_free(f->dir);
}

static const char *sentence(json_t *open, size_t i) {
        const char *text = json_string_value(json_array_get(open, i));

        return text ? text : "";
}

static void is_marked(guint id) {
        g_autofree char *one = g_strdup_printf(" %u ", id), *list = g_strconcat(" ", marked->str, NULL);

        if (!strstr(list, one))
                g_error("expected a mark of mount %u, seen are those of%s", id, list);
}

/* Who may mount in the container could end the look otherwise, so that nothing behind it is marked. */
static void what_lies_over_the_root_ends_no_look(Fixture *f, gconstpointer unused) {
        GString *text = text_of(f->root, "ext4");
        json_auto_t *open = json_array();

        more(text, f->root + 1, "/", "nfs4");
        more(text, f->root + 2, "/data", "ext4");
        put_table(0, text);
        g_assert_true(bh_keeper_look(f->held, NULL, TRUE, open, NULL));
        is_marked(f->root);
        is_marked(f->root + 2);
        g_assert_cmpuint(json_array_size(open), ==, 1);
        g_assert_true(g_str_has_prefix(sentence(open, 0), "programs below / run"));
}

static void a_root_that_others_serve_is_refused(Fixture *f, gconstpointer unused) {
        GString *text = text_of(f->root, "nfs4");
        g_autoptr(GError) error = NULL;
        json_auto_t *open = json_array();

        more(text, f->root + 2, "/data", "ext4");
        put_table(0, text);
        g_assert_false(bh_keeper_look(f->held, NULL, TRUE, open, &error));
        g_assert_nonnull(error);
        is_marked(f->root + 2); /* as it is with a look later on, which goes on all the same */
}

/* The walk does not come to it, but somebody may be in it. */
static void a_mount_under_another_is_said(Fixture *f, gconstpointer unused) {
        GString *text = text_of(f->root, "ext4");
        json_auto_t *open = json_array();

        more(text, f->root + 2, "/data", "ext4");
        more(text, f->root + 3, "/data", "ext4");
        put_table(0, text);
        g_assert_true(bh_keeper_look(f->held, NULL, TRUE, open, NULL));
        is_marked(f->root + 3);
        g_assert_cmpuint(json_array_size(open), ==, 1);
        g_assert_nonnull(strstr(sentence(open, 0), "another mount lies over it"));
}

/* One in a cgroup below the container's has mounts of its own. */
static void processes_below_its_cgroup_are_looked_at(Fixture *f, gconstpointer unused) {
        GString *text = text_of(f->root, "ext4");
        g_autofree char *pid = g_strdup_printf("%d\n", OTHER);
        json_auto_t *open = json_array();

        put_table(0, text);
        text = text_of(f->root, "ext4");
        more(text, f->root + 5, "/its", "ext4");
        more(text, f->root + 6, "/served", "nfs4");
        put_table(1, text);
        put_process(f, OTHER);
        put(f, pid, "cgroup" CGROUP "/a/b/cgroup.procs");
        g_assert_true(bh_keeper_look(f->held, NULL, TRUE, open, NULL));
        is_marked(f->root + 5);
        g_assert_cmpuint(json_array_size(open), ==, 1);
        g_assert_nonnull(strstr(sentence(open, 0), "/served"));
}

static void more_processes_than_are_looked_at_are_said(Fixture *f, gconstpointer unused) {
        json_auto_t *open = json_array();

        put_table(0, text_of(f->root, "ext4"));
        for (guint i = 0; i < 300; i++)
                put(f, "", "cgroup" CGROUP "/%u/cgroup.procs", i);
        g_assert_true(bh_keeper_look(f->held, NULL, TRUE, open, NULL));
        g_assert_cmpuint(json_array_size(open), ==, 1);
        g_assert_nonnull(strstr(sentence(open, 0), "more than"));
}

/* The container chose how many there are, and how long. */
static void sentences_have_a_bound(Fixture *f, gconstpointer unused) {
        GString *text = text_of(f->root, "ext4");
        g_autofree char *longest = g_strnfill(4000, '\1'), *dumped = NULL;
        json_auto_t *open = json_array();

        for (guint i = 0; i < 100; i++) {
                g_autofree char *point = g_strdup_printf("/%u%s", i, longest);

                more(text, f->root + 10 + i, point, "nfs4");
                more(text, f->root + 10 + i, "/same", "nfs4"); /* is said once */
        }
        put_table(0, text);
        g_assert_true(bh_keeper_look(f->held, NULL, TRUE, open, NULL));
        g_assert_cmpuint(json_array_size(open), ==, 33);
        g_assert_cmpstr(sentence(open, 32), ==, "and 69 more");
        dumped = json_dumps(open, JSON_COMPACT);
        g_assert_cmpuint(strlen(dumped), <, 96u << 10);
}

#define TEST(name) g_test_add("/keeper_target/" #name, Fixture, NULL, set_up, name, tear_down)

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        TEST(what_lies_over_the_root_ends_no_look);
        TEST(a_root_that_others_serve_is_refused);
        TEST(a_mount_under_another_is_said);
        TEST(processes_below_its_cgroup_are_looked_at);
        TEST(more_processes_than_are_looked_at_are_said);
        TEST(sentences_have_a_bound);
        return g_test_run();
}

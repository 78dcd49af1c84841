/* SPDX-License-Identifier: Apache-2.0 */
/* What a container changed of its image is told, whatever names it gave, and nothing that its links lead to. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "evidence/layer.h"
#include "scratch.h"

#define OPTIONS "lowerdir=/d/l/A:/d/l/B,upperdir=/d/u/diff,workdir=/d/u/work"

#define HOST "30 1 8:1 / / rw - ext4 /dev/sda rw\n31 30 0:31 / /d/merged rw shared:9 - overlay overlay rw,"

static void the_root_is_the_first_overlay_of_that_name(void) {
        g_auto(BhLayer) l = { 0 };

        g_assert_true(bh_layer_parse("20 1 0:5 / /proc rw - proc proc rw\n"
                                     "21 1 0:31 / / rw,relatime master:5 - overlay overlay rw," OPTIONS ",xino=off\n"
                                     "22 21 0:32 / / rw - overlay overlay rw,lowerdir=/etc,upperdir=/root,workdir=/x\n", HOST OPTIONS, &l));
        g_assert_cmpstr(l.upper, ==, "/d/u/diff");
        g_assert_cmpuint(g_strv_length(l.lowers), ==, 2);
        g_assert_cmpstr(l.lowers[0], ==, "/d/l/A");
        g_assert_cmpstr(l.lowers[1], ==, "/d/l/B");
        g_assert_false(l.user);
}

static void paths_are_taken_out_of_their_escapes(void) {
        g_auto(BhLayer) l = { 0 };

        g_assert_true(bh_layer_parse("21 1 0:31 / / rw - overlay overlay rw", HOST "lowerdir+=/a\\040b,lowerdir+=/c\\134:d,upperdir=/e\\134,f,userxattr", &l));
        g_assert_cmpstr(l.lowers[0], ==, "/a b");
        g_assert_cmpstr(l.lowers[1], ==, "/c:d");
        g_assert_cmpstr(l.upper, ==, "/e,f");
        g_assert_true(l.user);
}

static void what_is_no_overlay_with_whole_paths_is_refused(void) {
        static const char *const texts[] = {
                "", "\n\n", "21", "21 1 0:31 / /", "21 1 0:31 / / rw - ext4 /dev/sda rw", "21 1 0:31 / / rw - overlay overlay", "21 1 0:31 / / rw - overlay overlay rw,lowerdir=/a",
                "21 1 0:31 / / rw - overlay overlay rw,lowerdir=l/A:l/B,upperdir=/u", "21 1 0:31 / / rw - overlay overlay rw,lowerdir=/a,upperdir=u/diff", "21 1 0:31 / /x rw - overlay overlay rw," OPTIONS,
                /* what is mounted over it is another one's word */
                "20 1 8:1 / / rw - ext4 /dev/sda rw\n21 1 0:31 / / rw - overlay overlay rw," OPTIONS,
        };

        for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
                g_auto(BhLayer) l = { 0 };

                g_assert_false(bh_layer_parse(texts[i], texts[i], &l));
                g_assert_null(l.upper);
        }
}

/* A container's first process can have a root of its own making, and names of any text. */
static void an_overlay_that_is_not_the_hosts_is_not_believed(void) {
        static const char root[] = "21 1 0:31 / / rw,relatime - overlay overlay rw,lowerdir=/etc,upperdir=/root,workdir=/x\n";
        static const char *const hosts[] = {
                "", "31 30 0:32 / /d/merged rw - overlay overlay rw," OPTIONS "\n", "31 30 0:3 / /d/merged rw - overlay overlay rw," OPTIONS, "31 30 0:311 / /d/merged rw - overlay overlay rw," OPTIONS,
                "31 30 0:31 / /d rw - ext4 overlay rw," OPTIONS, "31 30 0:31 / /d rw - overlay2 overlay rw," OPTIONS,
                /* the number, or the kind, in another field */
                "31 30 8:1 / /d/0:31/merged rw - overlay overlay rw," OPTIONS, "0:31 0:31 8:1 0:31 /d rw - overlay 0:31 rw," OPTIONS, "31 30 0:31 / /-\\040overlay rw - tmpfs -\\040overlay rw," OPTIONS,
                "31 30 0:31 / /d rw - tmpfs - overlay overlay rw," OPTIONS,
        };
        g_auto(BhLayer) l = { 0 };

        for (guint i = 0; i < G_N_ELEMENTS(hosts); i++) {
                g_assert_false(bh_layer_parse(root, hosts[i], &l));
                g_assert_null(l.upper);
        }
        /* and where it is the host's, it is the host's word */
        g_assert_true(bh_layer_parse(root, HOST OPTIONS, &l));
        g_assert_cmpstr(l.upper, ==, "/d/u/diff");
}

/* ---- directories ---- */

typedef struct {
        char *top;
        int fd;
        BhLayer layer;
} Image;

static void put(const Image *i, const char *path, const char *text) {
        g_autofree char *whole = g_strconcat(i->top, path, NULL), *dir = g_path_get_dirname(whole);

        g_assert_cmpint(g_mkdir_with_parents(dir, 0755), ==, 0);
        g_assert_true(g_file_set_contents(whole, text, -1, NULL));
}

static void white_out(const Image *i, const char *path) {
        g_autofree char *whole = g_strconcat(i->top, path, NULL);

        g_assert_cmpint(mknod(whole, S_IFCHR, makedev(0, 0)), ==, 0);
}

static void set_up(Image *i, gconstpointer data) {
        static const char *const lowers[] = { "/mid", "/low", NULL };
        g_autofree char *upper = NULL;

        i->top = g_dir_make_tmp("bh-layer-XXXXXX", NULL);
        i->fd = open(i->top, O_PATH | O_DIRECTORY | O_CLOEXEC);
        i->layer = (BhLayer){ g_strdup("/up"), g_strdupv((char **) lowers), TRUE };
        upper = g_strconcat(i->top, "/up", NULL);
        g_assert_cmpint(g_mkdir(upper, 0755), ==, 0);
        put(i, "/low/bin/ls", "ls");
        put(i, "/low/etc/passwd", "root");
        put(i, "/low/etc/gone", "x");
        put(i, "/low/data/a", "a");
        put(i, "/mid/opt/app", "app");
}

static void tear_down(Image *i, gconstpointer data) {
        bh_test_remove(i->top);
        close(i->fd);
        g_free(i->top);
        bh_layer_clear(&i->layer);
}

static void assert_line(const GString *text, const char *change, const char *path) {
        g_autofree char *want = g_strdup_printf("\n{\"change\":\"%s\",\"path\":\"%s\"", change, path);

        if (!strstr(text->str, want))
                g_error("expected %s, saw %s", want, text->str);
}

static void changes_are_told_against_the_image(Image *i, gconstpointer data) {
        g_autofree char *ls = g_strconcat(i->top, "/up/bin/ls", NULL), *link = g_strconcat(i->top, "/up/etc/link", NULL), *replaced = g_strconcat(i->top, "/up/data", NULL);
        BhLayerCounts n;

        put(i, "/up/bin/ls", "another");
        put(i, "/up/bin/kit", "new");
        put(i, "/up/etc/gone2", "y");
        white_out(i, "/up/etc/gone");
        put(i, "/up/new/dir/file", "z");
        put(i, "/up/data/b", "b");
        white_out(i, "/mid/etc-is-not-here");
        g_assert_cmpint(symlink("/etc/shadow", link), ==, 0);
        gboolean opaque = setxattr(replaced, "user.overlay.opaque", "y", 1, 0) == 0;

        GString *text = bh_layer_diff(i->fd, &i->layer, &n);
        g_assert_nonnull(text);
        assert_line(text, "changed", "/bin/ls");
        assert_line(text, "added", "/bin/kit");
        assert_line(text, "deleted", "/etc/gone");
        assert_line(text, "added", "/new");
        assert_line(text, "added", "/new/dir/file");
        assert_line(text, "added", "/data/b");
        assert_line(text, "added", "/etc/link");
        if (opaque)
                assert_line(text, "replaced", "/data");
        g_assert_nonnull(strstr(text->str, "\"type\":\"link\""));
        g_assert_nonnull(strstr(text->str, "\"to\":\"/etc/shadow\""));
        /* a directory that is there for what is in it is no change */
        g_assert_null(strstr(text->str, "\"path\":\"/etc\""));
        g_assert_cmpuint(n.added, ==, 7);
        g_assert_cmpuint(n.changed, ==, opaque ? 2 : 1);
        g_assert_cmpuint(n.deleted, ==, 1);
        g_assert_true(n.whole);
        g_assert_true(g_str_has_prefix(text->str, "{\"added\":7,"));
        g_string_free(text, TRUE);
}

static void what_a_layer_between_deleted_is_added_again(Image *i, gconstpointer data) {
        BhLayerCounts n;

        g_autofree char *etc = g_strconcat(i->top, "/mid/etc", NULL);
        g_assert_cmpint(g_mkdir(etc, 0755), ==, 0);
        white_out(i, "/mid/etc/passwd");
        put(i, "/up/etc/passwd", "eve");
        GString *text = bh_layer_diff(i->fd, &i->layer, &n);
        assert_line(text, "added", "/etc/passwd");
        g_string_free(text, TRUE);
}

static void links_are_not_followed_and_names_are_escaped(Image *i, gconstpointer data) {
        static const char *const names[] = { "/up/n\"\n{\"change\":\"added\"", "/up/\xff\x1b[31m", "/up/a\\b" };
        g_autofree char *out = g_strconcat(i->top, "/up/out", NULL), *pipe = g_strconcat(i->top, "/up/pipe", NULL), *bin = g_strconcat(i->top, "/up/bin", NULL);
        BhLayerCounts n;

        for (guint k = 0; k < G_N_ELEMENTS(names); k++)
                put(i, names[k], "");
        g_assert_cmpint(symlink("/", out), ==, 0);
        g_assert_cmpint(symlink("../low/bin", bin), ==, 0);
        g_assert_cmpint(mkfifo(pipe, 0600), ==, 0);
        GString *text = bh_layer_diff(i->fd, &i->layer, &n);
        g_assert_cmpuint(n.added, ==, 5);
        g_assert_cmpuint(n.changed, ==, 1); /* /bin, which was a directory */
        for (const char *p = text->str; *p; p++)
                g_assert_true(*p == '\n' || ((guchar) *p >= 0x20 && (guchar) *p < 0x7f));
        guint lines = 0;
        for (const char *p = text->str; *p; p++)
                lines += *p == '\n';
        g_assert_cmpuint(lines, ==, 7);
        assert_line(text, "added", "/\\\\xff\\u001b[31m");
        g_string_free(text, TRUE);
}

static void depth_and_number_are_bounded_and_said(Image *i, gconstpointer data) {
        g_autoptr(GString) deep = g_string_new(i->top);
        BhLayerCounts n;

        g_string_append(deep, "/up");
        for (guint k = 0; k < BH_LAYER_DEPTH_MAX + 8; k++)
                g_string_append(deep, "/d");
        g_assert_cmpint(g_mkdir_with_parents(deep->str, 0755), ==, 0);
        for (guint k = 0; k < 4000; k++) {
                g_autofree char *name = g_strdup_printf("%s/up/%0200u", i->top, k);
                int fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

                g_assert_cmpint(fd, >=, 0);
                close(fd);
        }
        GString *text = bh_layer_diff(i->fd, &i->layer, &n);
        g_assert_cmpuint(n.added, ==, 4000 + BH_LAYER_DEPTH_MAX + 1);
        g_assert_cmpuint(text->len, <=, BH_LAYER_TEXT_MAX + 200);
        g_assert_cmpuint(n.untold, >, 0);
        g_assert_false(n.whole);
        g_string_free(text, TRUE);
}

static void heap(const Image *i, const char *dir, const char *name, guint n) {
        g_autofree char *whole = g_strconcat(i->top, dir, NULL);

        g_assert_cmpint(g_mkdir_with_parents(whole, 0755), ==, 0);
        for (guint k = 0; k < n; k++) {
                g_autofree char *path = g_strdup_printf("%s/%s%u", whole, name, k);

                g_assert_cmpint(mknod(path, S_IFREG | 0600, 0), ==, 0);
        }
}

/* "/!" sorts first, and has more than a share and than there is room to tell of: in the order of names alone nothing else would be told. */
static void a_heap_of_files_hides_no_change(Image *i, gconstpointer data) {
        BhLayerCounts n;

        heap(i, "/up/!", "x", 2500);
        put(i, "/up/bin/ls", "another");
        white_out(i, "/up/bin/gone");
        put(i, "/up/new/deep/er/kit", "kit");
        GString *text = bh_layer_diff(i->fd, &i->layer, &n);
        assert_line(text, "changed", "/bin/ls");
        assert_line(text, "deleted", "/bin/gone");
        assert_line(text, "added", "/new/deep/er/kit");
        /* what is beyond a share comes last, but comes */
        g_assert_true(n.whole);
        g_assert_cmpuint(n.changed, ==, 1);
        g_assert_cmpuint(n.deleted, ==, 1);
        g_assert_cmpuint(n.added, ==, 1 + 2500 + 4);
        g_assert_cmpuint(n.untold, >, 0);
        g_assert_cmpuint(text->len, <=, BH_LAYER_TEXT_MAX + 200);
        guint lines = 0;
        for (const char *p = text->str; *p; p++)
                lines += *p == '\n';
        g_assert_cmpuint(lines, ==, 1 + n.added + n.changed + n.deleted - n.untold);
        g_string_free(text, TRUE);
}

/* What one leaves of the text the other may have, and neither has more than half where both have much. */
static void added_and_changed_have_a_half_each(Image *i, gconstpointer data) {
        BhLayerCounts n;

        heap(i, "/low/bin", "b", 1200);
        heap(i, "/up/bin", "b", 1200);
        heap(i, "/up/opt", "o", 1200);
        GString *text = bh_layer_diff(i->fd, &i->layer, &n);
        const char *first = strstr(text->str, "{\"change\":\"added\"");
        g_assert_nonnull(first);
        g_assert_true(n.whole);
        g_assert_cmpuint(n.untold, >, 0);
        g_assert_cmpint(ABS((gint) (first - text->str) - (gint) BH_LAYER_TEXT_MAX / 2), <, 1000);
        g_assert_cmpint(ABS((gint) text->len - (gint) BH_LAYER_TEXT_MAX), <, 1000);
        g_string_free(text, TRUE);
}

static void what_a_layer_between_replaced_hides_the_one_below(Image *i, gconstpointer data) {
        g_autofree char *data_dir = g_strconcat(i->top, "/mid/data", NULL);
        BhLayerCounts n;

        put(i, "/mid/bin", "a file where a directory was");
        put(i, "/mid/data/b", "b");
        gboolean opaque = setxattr(data_dir, "user.overlay.opaque", "y", 1, 0) == 0;
        put(i, "/up/bin/ls", "new");
        put(i, "/up/data/a", "new");
        put(i, "/up/data/b", "changed");
        put(i, "/up/etc/passwd", "changed");
        GString *text = bh_layer_diff(i->fd, &i->layer, &n);
        assert_line(text, "added", "/bin/ls");
        assert_line(text, opaque ? "added" : "changed", "/data/a");
        assert_line(text, "changed", "/data/b");
        assert_line(text, "changed", "/etc/passwd");
        g_string_free(text, TRUE);
}

static void times_beyond_all_measure_are_told_as_the_bound(Image *i, gconstpointer data) {
        g_autofree char *path = g_strconcat(i->top, "/up/late", NULL);
        const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = G_GINT64_CONSTANT(15000000000) } };
        struct stat st;
        BhLayerCounts n;

        put(i, "/up/late", "");
        if (utimensat(AT_FDCWD, path, times, 0) || stat(path, &st) || st.st_mtim.tv_sec <= G_GINT64_CONSTANT(9000000000)) {
                g_test_skip("times on this file system end before");
                return;
        }
        GString *text = bh_layer_diff(i->fd, &i->layer, &n);
        g_assert_nonnull(strstr(text->str, "\"modified_ns\":9000000000000000000"));
        g_string_free(text, TRUE);
}

static void a_layer_that_is_gone_is_none(Image *i, gconstpointer data) {
        BhLayerCounts n;

        g_free(i->layer.upper);
        i->layer.upper = g_strdup("/../../../none");
        g_assert_null(bh_layer_diff(i->fd, &i->layer, &n));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/layer/the_root_is_the_first_overlay_of_that_name", the_root_is_the_first_overlay_of_that_name);
        g_test_add_func("/layer/paths_are_taken_out_of_their_escapes", paths_are_taken_out_of_their_escapes);
        g_test_add_func("/layer/what_is_no_overlay_with_whole_paths_is_refused", what_is_no_overlay_with_whole_paths_is_refused);
        g_test_add_func("/layer/an_overlay_that_is_not_the_hosts_is_not_believed", an_overlay_that_is_not_the_hosts_is_not_believed);
        g_test_add("/layer/changes_are_told_against_the_image", Image, NULL, set_up, changes_are_told_against_the_image, tear_down);
        g_test_add("/layer/what_a_layer_between_deleted_is_added_again", Image, NULL, set_up, what_a_layer_between_deleted_is_added_again, tear_down);
        g_test_add("/layer/links_are_not_followed_and_names_are_escaped", Image, NULL, set_up, links_are_not_followed_and_names_are_escaped, tear_down);
        g_test_add("/layer/depth_and_number_are_bounded_and_said", Image, NULL, set_up, depth_and_number_are_bounded_and_said, tear_down);
        g_test_add("/layer/a_heap_of_files_hides_no_change", Image, NULL, set_up, a_heap_of_files_hides_no_change, tear_down);
        g_test_add("/layer/added_and_changed_have_a_half_each", Image, NULL, set_up, added_and_changed_have_a_half_each, tear_down);
        g_test_add("/layer/what_a_layer_between_replaced_hides_the_one_below", Image, NULL, set_up, what_a_layer_between_replaced_hides_the_one_below, tear_down);
        g_test_add("/layer/times_beyond_all_measure_are_told_as_the_bound", Image, NULL, set_up, times_beyond_all_measure_are_told_as_the_bound, tear_down);
        g_test_add("/layer/a_layer_that_is_gone_is_none", Image, NULL, set_up, a_layer_that_is_gone_is_none, tear_down);
        return g_test_run();
}

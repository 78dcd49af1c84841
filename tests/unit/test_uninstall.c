/* SPDX-License-Identifier: Apache-2.0 */
/* What an uninstall takes away and what it leaves, with stand-ins for what is in the kernel (test_policies.py does that for real) and for the keeper of file denials. */
#include "sensor/uninstall.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "parse/inspect_client.h"
#include "sensor/block.h"
#include "sensor/cgroup_pids.h"
#include "sensor/enforce.h"
#include "sensor/filekeeper.h"
#include "sensor/hooks.h"
#include "sensor/keeper_wire.h"
#include "sensor/pause.h"

#define HELD_FILES 3

/* ---- the stand-ins */

struct BhEnforce {
        gboolean settled;
} kernel;
struct BhBlock {
        gboolean settled;
} acts;
static gboolean went_on; /* who was stopped */

BhEnforce *bh_enforce_open(const char *dir, const char *v2_mount, const char *proc_path, GError **error) {
        return &kernel;
}

guint bh_enforce_count(const BhEnforce *e) {
        return 1;
}

void bh_enforce_settle(BhEnforce *e) {
        e->settled = TRUE;
}

void bh_enforce_free(BhEnforce *e) {
}

BhBlock *bh_block_open(const char *dir, const char *v2_mount, const char *proc_path) {
        return &acts;
}

guint bh_block_count(const BhBlock *b) {
        return 1;
}

void bh_block_settle(BhBlock *b) {
        b->settled = TRUE;
}

void bh_block_free(BhBlock *b) {
}

guint bh_pause_recover(const char *pin_dir, const char *proc) {
        went_on = TRUE;
        return 1;
}

void bh_hooks_remove(const char *pin_dir) {
        g_assert_true(went_on); /* nobody knows of them any more when the pins are gone */
}

gboolean bh_cgroup_freeze(const char *v2_mount, const char *cgroup, gboolean freeze, GError **error) {
        return TRUE;
}

GArray *bh_cgroup_pids(const char *v2_mount, const char *cgroup, guint max, guint groups, gboolean *more) {
        return g_array_new(FALSE, FALSE, sizeof(gint));
}

/* Never started by an uninstall. */
char *bh_inspect_find_program(const char *name, GError **error) {
        g_assert_not_reached();
}

/* Has files of HELD_FILES containers, and serves one connection. Returns how many it has then. */
static gpointer keep(gpointer listener) {
        int fd = accept4(GPOINTER_TO_INT(listener), NULL, NULL, SOCK_CLOEXEC);
        guint held = HELD_FILES;
        json_t *m;

        for (; (m = bh_keeper_receive_json(fd, NULL)); json_decref(m)) {
                json_t *list = json_array();
                json_auto_t *answer = json_object();

                if (g_str_equal(json_string_value(json_object_get(m, "op")), "drop"))
                        held--;
                for (guint i = 0; i < held; i++)
                        json_array_append_new(list, json_pack("{s:o}", "container", json_sprintf("c%u", i)));
                json_object_set_new(answer, "containers", list);
                g_assert_true(bh_keeper_send_json(fd, answer, -1));
        }
        close(fd);
        return GUINT_TO_POINTER(held);
}

/* ---- places */

typedef struct {
        char *root, *run, *data;
} Place;

static void put(const char *dir, const char *name) {
        g_autofree char *path = g_build_filename(dir, name, NULL), *in = g_path_get_dirname(path);

        g_assert_cmpint(g_mkdir_with_parents(in, 0700), ==, 0);
        g_assert_true(g_file_set_contents(path, "x", 1, NULL));
}

static gboolean is_there(const char *dir, const char *name) {
        g_autofree char *path = g_build_filename(dir, name, NULL);

        return g_file_test(path, G_FILE_TEST_EXISTS);
}

static Place place(void) {
        Place p = { .root = g_dir_make_tmp("bh-uninstall-XXXXXX", NULL) };

        g_assert_nonnull(p.root);
        p.run = g_build_filename(p.root, "run", NULL);
        p.data = g_build_filename(p.root, "data", NULL);
        put(p.run, "sensor.pid");
        went_on = kernel.settled = acts.settled = FALSE;
        return p;
}

/* Everything that is left is one of these. */
static void clear(Place *p, const char *const *left) {
        for (guint i = 0; left[i]; i++) {
                g_autofree char *path = g_build_filename(p->root, left[i], NULL);

                g_assert_cmpint(g_remove(path), ==, 0);
        }
        g_assert_cmpint(g_rmdir(p->root), ==, 0);
        g_free(p->root);
        g_free(p->run);
        g_free(p->data);
}

/* What it says is not the test's output. */
static void uninstall(const Place *p, gboolean keep_data) {
        g_autoptr(GError) error = NULL;
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC), out;

        fflush(stdout);
        out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
        g_assert_true(null >= 0 && out >= 0 && dup2(null, STDOUT_FILENO) == STDOUT_FILENO);
        gboolean ok = bh_uninstall(p->run, p->data, NULL, keep_data, &error);
        fflush(stdout);
        g_assert_cmpint(dup2(out, STDOUT_FILENO), ==, STDOUT_FILENO);
        close(null);
        close(out);
        g_assert_no_error(error);
        g_assert_true(ok && went_on);
}

/* ---- tests */

static void all_that_is_held_is_released(void) {
        Place p = place();
        g_autofree char *path = g_build_filename(p.run, BH_KEEPER_SOCKET, NULL), *enforce = g_build_filename(p.run, "enforce", NULL), *block = g_build_filename(p.run, "block", NULL);
        struct sockaddr_un at = { .sun_family = AF_UNIX };
        int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        g_assert_cmpuint(strlen(path), <, sizeof(at.sun_path));
        memcpy(at.sun_path, path, strlen(path));
        g_assert_cmpint(bind(listener, (const void *) &at, sizeof(at)), ==, 0);
        g_assert_cmpint(listen(listener, 1), ==, 0);
        put(p.run, BH_KEEPER_SOCKET ".lock");
        g_assert_cmpint(g_mkdir(enforce, 0700), ==, 0);
        g_assert_cmpint(g_mkdir(block, 0700), ==, 0);
        GThread *keeper = g_thread_new("keeper", keep, GINT_TO_POINTER(listener));
        uninstall(&p, FALSE);
        g_assert_cmpuint(GPOINTER_TO_UINT(g_thread_join(keeper)), ==, 0);
        g_assert_true(kernel.settled && acts.settled);
        close(listener);
        clear(&p, (const char *const[]){ NULL });
}

static void what_is_not_its_own_stays(void) {
        Place p = place();

        put(p.data, "clock");
        put(p.data, "rules/a.yaml");
        put(p.data, "evidence/objects/aa/b");
        put(p.data, "mine");
        uninstall(&p, TRUE);
        g_assert_true(is_there(p.data, "rules/a.yaml") && is_there(p.data, "clock"));
        uninstall(&p, FALSE);
        g_assert_true(!is_there(p.data, "rules") && !is_there(p.data, "evidence") && !is_there(p.data, "clock"));
        clear(&p, (const char *const[]){ "data/mine", "data", NULL });
}

static void links_are_not_followed(void) {
        Place p = place();
        g_autofree char *link = g_build_filename(p.data, "recorder", NULL), *others = g_build_filename(p.root, "others", NULL);

        put(p.data, "central/bulkhead.db");
        put(others, "file");
        g_assert_cmpint(symlink(others, link), ==, 0);
        uninstall(&p, FALSE);
        g_assert_true(is_there(others, "file"));
        clear(&p, (const char *const[]){ "others/file", "others", NULL });
}

/* A directory that was named by mistake: its "rules" are its owner's. */
static void a_directory_that_was_never_used_keeps_everything(void) {
        Place p = place();

        put(p.data, "rules/a.yaml");
        uninstall(&p, FALSE);
        clear(&p, (const char *const[]){ "data/rules/a.yaml", "data/rules", "data", NULL });
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/uninstall/" #name, name)
        TEST(all_that_is_held_is_released);
        TEST(what_is_not_its_own_stays);
        TEST(links_are_not_followed);
        TEST(a_directory_that_was_never_used_keeps_everything);
        return g_test_run();
}

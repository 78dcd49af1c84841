/* SPDX-License-Identifier: Apache-2.0 */
#include "uninstall.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block.h"
#include "enforce.h"
#include "filekeeper.h"
#include "hooks.h"
#include "keeper_wire.h"
#include "pause.h"
#include "respond_ledger.h"

#define DEPTH_MAX 64u

static const char *const run_names[] = { "sensor.sock", "sensor.pid", BH_KEEPER_SOCKET, BH_KEEPER_SOCKET ".lock", "central", "alerts", NULL };
static const char *const data_names[] = { "recorder", "spool", "running", "responses", "policies", "evidence", "integrity", "seed", "flows.mark", "rules", "rules.old", "rules.next", "central", "clock", NULL };
/* What every sensor, and every central, has in its data directory: there where neither was, "rules" is somebody else's. */
static const char *const marks[] = { "clock", "central/bulkhead.db" };

/* What could not be done: the first is told as the error. */
static void note(GError **error, const char *what, const char *path, int err) {
        if (error && !*error)
                g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(err), "%s %s: %s", what, path, g_strerror(err));
}

/* Everything of that name in `dir`; never through a link, never into another file system. */
static void remove_at(int dir, const char *name, const char *path, dev_t device, guint depth, GError **error) {
        struct stat st;

        if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW)) {
                if (errno != ENOENT)
                        note(error, "cannot look at", path, errno);
                return;
        }
        if (S_ISDIR(st.st_mode)) {
                int fd = st.st_dev == device && depth < DEPTH_MAX ? openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
                DIR *d = fd >= 0 ? fdopendir(fd) : NULL;

                if (!d) {
                        note(error, "cannot remove what is in", path, st.st_dev == device ? errno : EXDEV);
                        if (fd >= 0)
                                close(fd);
                        return;
                }
                for (struct dirent *one; (one = readdir(d));) {
                        g_autofree char *below = g_build_filename(path, one->d_name, NULL);

                        if (!g_str_equal(one->d_name, ".") && !g_str_equal(one->d_name, ".."))
                                remove_at(dirfd(d), one->d_name, below, device, depth + 1, error);
                }
                closedir(d);
        }
        if (unlinkat(dir, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0))
                note(error, "cannot remove", path, errno);
}

static void remove_names(const char *dir, const char *const *names, GError **error) {
        int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct stat st;

        if (fd < 0) {
                if (errno != ENOENT)
                        note(error, "cannot open", dir, errno);
                return;
        }
        if (fstat(fd, &st) == 0)
                for (guint i = 0; names[i]; i++) {
                        g_autofree char *path = g_build_filename(dir, names[i], NULL);

                        remove_at(fd, names[i], path, st.st_dev, 0, error);
                }
        close(fd);
        if (rmdir(dir) == 0)
                printf("removed %s\n", dir);
        else
                printf("left %s: %s\n", dir, errno == ENOTEMPTY ? "something in it is not Bulkhead's" : g_strerror(errno));
}

static gboolean was_kept_in(const char *data_dir) {
        for (guint i = 0; i < G_N_ELEMENTS(marks); i++) {
                g_autofree char *path = g_build_filename(data_dir, marks[i], NULL);

                if (g_file_test(path, G_FILE_TEST_IS_REGULAR))
                        return TRUE;
        }
        return FALSE;
}

/* Also what was frozen while the tree of a process was looked for, by a sensor that was killed meanwhile. */
static gboolean is_frozen(const BhEntry *e) {
        return e->state == BH_RESPONSE_STATE_ACTIVE ? bh_response_action_freezes(e->action) : e->state == BH_RESPONSE_STATE_PENDING && json_is_true(json_object_get(e->detail, BH_ENTRY_FROZE));
}

/* What the ledger says that is frozen. What others froze is not in it. */
static guint thaw(const char *responses, const char *v2_mount, GError **error) {
        g_autoptr(GHashTable) entries = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify) bh_entry_free);
        guint64 serial = 0;
        GHashTableIter it;
        BhEntry *e;
        guint n = 0;

        if (!v2_mount || !g_file_test(responses, G_FILE_TEST_IS_DIR) || !bh_entries_load(responses, entries, &serial, error && !*error ? error : NULL))
                return 0;
        g_hash_table_iter_init(&it, entries);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &e)) {
                g_autofree char *path = g_build_filename(v2_mount, e->cgroup, NULL);

                if (!is_frozen(e) || !*e->cgroup || !g_file_test(path, G_FILE_TEST_IS_DIR))
                        continue;
                n += bh_cgroup_freeze(v2_mount, e->cgroup, FALSE, error && !*error ? error : NULL);
        }
        return n;
}

/* How many containers are free of what the kernel refuses them: packets, programs and other acts, opens of files. */
static guint release(const char *run_dir, const char *enforce, const char *block, const char *v2_mount, GError **error) {
        g_autoptr(BhFileKeeper) keeper = bh_filekeeper_open(run_dir, "/proc", v2_mount);
        guint n = bh_filekeeper_drop_all(keeper, error && !*error ? error : NULL);

        if (g_file_test(block, G_FILE_TEST_IS_DIR)) {
                g_autoptr(BhBlock) b = bh_block_open(block, v2_mount, "/proc");

                n += bh_block_count(b);
                bh_block_settle(b); /* nothing was set: all of it goes, and with the last one programs and mount */
        }
        if (g_file_test(enforce, G_FILE_TEST_IS_DIR)) {
                g_autoptr(GError) closed = NULL;
                g_autoptr(BhEnforce) e = bh_enforce_open(enforce, v2_mount, "/proc", &closed);

                if (e) {
                        n += bh_enforce_count(e);
                        bh_enforce_settle(e); /* the same */
                } else if (error && !*error) {
                        *error = g_steal_pointer(&closed);
                }
        }
        return n;
}

gboolean bh_uninstall(const char *run_dir, const char *data_dir, const char *v2_mount, gboolean keep_data, GError **error) {
        g_autofree char *responses = g_build_filename(data_dir, "responses", NULL), *enforce = g_build_filename(run_dir, "enforce", NULL), *block = g_build_filename(run_dir, "block", NULL);
        g_autofree char *hooks = g_build_filename(run_dir, "bpf", NULL);
        const char *const mounts[] = { enforce, block, hooks };
        g_autoptr(GError) why = NULL;
        guint stopped = bh_pause_recover(hooks, "/proc"), thawed = thaw(responses, v2_mount, &why), held = release(run_dir, enforce, block, v2_mount, &why);

        bh_hooks_remove(hooks);
        printf("released %u containers, let %u go on that were frozen, took the programs out of the kernel\n", held, thawed);
        if (stopped)
                printf("let %u processes go on that were stopped to be copied\n", stopped);
        for (guint i = 0; i < G_N_ELEMENTS(mounts); i++)
                if (g_file_test(mounts[i], G_FILE_TEST_IS_DIR) && rmdir(mounts[i]))
                        note(&why, "cannot remove", mounts[i], errno);
        if (!keep_data && was_kept_in(data_dir))
                remove_names(data_dir, data_names, &why);
        else if (!keep_data && g_file_test(data_dir, G_FILE_TEST_EXISTS))
                printf("left %s: neither a sensor nor a central has kept anything there\n", data_dir);
        remove_names(run_dir, run_names, &why);
        if (!why)
                return TRUE;
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "sensor/tls_files.h"
#include "sensor/tls_watch.h"

#include "scratch.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER "1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define WAIT_US (30 * G_USEC_PER_SEC)

/* So that this program is one that has OpenSSL in it. */
int SSL_read(void);
__attribute__((used, noinline)) int SSL_read(void) {
        return 1;
}

/* A proc directory with processes that map files of the test's, and what became of them. */
typedef struct {
        char *dir;
        BhContainerTable *containers;
        BhTlsWatch *watch;
        gint parsed, attached, detached;
        gboolean refuse;
} Place;

/* Files of this name are on a file system that does not answer before it may. */
#define SLOW "libssl.so.slow"
static GMutex slow_lock;
static GCond slow_changed;
static gboolean slow_answers;
static guint slow_asked, slow_gone;

static void wait_if_slow(gboolean slow) {
        if (!slow)
                return;
        g_mutex_lock(&slow_lock);
        slow_asked++;
        while (!slow_answers)
                g_cond_wait(&slow_changed, &slow_lock);
        slow_gone++;
        g_cond_broadcast(&slow_changed);
        g_mutex_unlock(&slow_lock);
}

static int slow_mapped(const char *path, BhRootfileInfo *info, GError **error) {
        g_autofree char *at = g_file_read_link(path, NULL);

        wait_if_slow(at && g_str_has_suffix(at, SLOW));
        return bh_rootfile_mapped(path, info, error);
}

static int slow_copy(int place, guint64 max, GError **error) {
        g_autofree char *self = g_strdup_printf("/proc/self/fd/%d", place), *at = g_file_read_link(self, NULL);

        wait_if_slow(at && g_str_has_suffix(at, SLOW "-copy"));
        return bh_rootfile_mapped_memfd(place, max, error);
}

static const BhTlsReaderCalls slow_calls = { slow_mapped, slow_copy };

static BhElf *on_parse(int memfd, gpointer data, GError **error) {
        Place *p = data;
        g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", memfd), *bytes = NULL;
        BhElfWanted wanted = { 0 };
        gsize len;

        g_atomic_int_inc(&p->parsed);
        wanted.names = bh_tls_symbols(&wanted.n_names);
        g_assert_true(g_file_get_contents(path, &bytes, &len, NULL));
        return bh_elf_parse((const guint8 *) bytes, len, &wanted, error);
}

static gboolean on_attach(guint64 dev, guint64 ino, const char *path, const BhElf *elf, gpointer data, GError **error) {
        Place *p = data;

        g_assert_nonnull(bh_elf_symbol(elf, "SSL_read"));
        g_assert_true(g_file_test(path, G_FILE_TEST_EXISTS));
        if (p->refuse) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOSPC, "the kernel has no room");
                return FALSE;
        }
        g_atomic_int_inc(&p->attached);
        return TRUE;
}

static void on_detach(guint64 dev, guint64 ino, gpointer data) {
        g_atomic_int_inc(&((Place *) data)->detached);
}

static void describe(Place *p, const char *id, guint64 cgroup, BhContainerState state) {
        g_autofree char *path = g_strdup_printf("/docker/%s", id), *name = g_strdup_printf("box-%.2s", id);
        g_autoptr(BhContainer) c = bh_container_new(id, "docker");

        bh_container_set(c, &c->name, name);
        c->state = state;
        c->level = BH_CONTAINER_FULL;
        bh_container_finish(c);
        bh_container_table_bind(p->containers, cgroup, path, 0);
        bh_container_table_upsert(p->containers, c, 0);
}

static void place_open(Place *p) {
        BhContainerTableConfig table = { 0 };

        *p = (Place){ .dir = g_dir_make_tmp("tls-watch-XXXXXX", NULL) };
        p->containers = bh_container_table_new(&table);
        describe(p, ID, 11, BH_CONTAINER_RUNNING);
        describe(p, OTHER, 12, BH_CONTAINER_RUNNING);
        BhTlsWatchConfig config = { .proc = p->dir, .containers = p->containers, .parse = on_parse, .attach = on_attach, .detach = on_detach, .data = p, .calls = &slow_calls };
        p->watch = bh_tls_watch_new(&config);
}

static void place_close(Place *p) {
        bh_tls_watch_free(p->watch);
        bh_container_table_free(p->containers);
        bh_test_remove(p->dir);
        g_free(p->dir);
}

/* A file of the test's with these bytes (NULL: this program's). Caller frees. */
static char *file(Place *p, const char *name, const char *bytes) {
        char *path = g_build_filename(p->dir, name, NULL);
        g_autofree char *self = NULL;
        gsize len;

        if (!bytes) {
                g_assert_true(g_file_get_contents("/proc/self/exe", &self, &len, NULL));
                g_assert_true(g_file_set_contents(path, self, (gssize) len, NULL));
        } else {
                g_assert_true(g_file_set_contents(path, bytes, -1, NULL));
        }
        return path;
}

static void process(Place *p, guint32 pid, const char *exe, const char *library) {
        const char *const files[] = { exe, library };
        g_autofree char *where = g_strdup_printf("%s/%u", p->dir, pid), *links = g_build_filename(where, "map_files", NULL), *maps = g_build_filename(where, "maps", NULL);
        g_autofree char *of = g_build_filename(where, "exe", NULL);
        g_autoptr(GString) text = g_string_new(NULL);

        g_assert_cmpint(g_mkdir_with_parents(links, 0755), ==, 0);
        g_assert_no_errno(symlink(exe, of));
        for (guint i = 0; i < G_N_ELEMENTS(files) && files[i]; i++) {
                g_autofree char *name = g_strdup_printf("%x000-%x000", i + 1, i + 2), *link = g_build_filename(links, name, NULL);
                struct stat st;

                g_assert_no_errno(stat(files[i], &st));
                g_assert_no_errno(symlink(files[i], link));
                g_string_append_printf(text, "%s r-xp 00000000 08:01 %lu                   %s\n", name, (unsigned long) st.st_ino, files[i]);
                g_string_append_printf(text, "9%x000-9%x000 rw-p 00000000 08:01 %lu                   %s\n", i, i + 1, (unsigned long) st.st_ino, files[i]);
        }
        g_string_append(text, "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n");
        g_assert_true(g_file_set_contents(maps, text->str, -1, NULL));
}

#define wait_until(what) \
        do { \
                gint64 until_ = g_get_monotonic_time() + WAIT_US; \
                while (!(what) && g_get_monotonic_time() < until_) \
                        g_usleep(2000); \
                g_assert_true(what); \
        } while (0)

static gboolean says(Place *p, const char *id, const char *text) {
        g_autofree char *is = bh_tls_watch_container(p->watch, id);

        return g_strcmp0(is, text) == 0;
}

static json_int_t status_of(Place *p, const char *key) {
        json_t *o = bh_tls_watch_status(p->watch);
        json_int_t n = json_integer_value(json_object_get(o, key));

        json_decref(o);
        return n;
}

static void file_is_probed_once_and_until_its_last_container_ends(void) {
        Place p;

        place_open(&p);
        g_autofree char *library = file(&p, "libssl.so.3", NULL), *exe = file(&p, "server", "no ELF");
        process(&p, 100, exe, library);
        process(&p, 101, exe, library);
        bh_tls_watch_process(p.watch, 100, 11);
        bh_tls_watch_process(p.watch, 101, 12);
        g_assert_cmpint(status_of(&p, "looks"), ==, 0); /* before the start */
        bh_tls_watch_start(p.watch);
        wait_until(status_of(&p, "looks") == 2);
        g_assert_cmpint(g_atomic_int_get(&p.attached), ==, 1);
        g_assert_cmpint(g_atomic_int_get(&p.parsed), ==, 2); /* the library and the program, each once */
        g_assert_true(says(&p, ID, "clear: OpenSSL"));
        g_assert_true(says(&p, OTHER, "clear: OpenSSL"));
        g_assert_cmpint(status_of(&p, "unparsed"), ==, 1);
        describe(&p, ID, 11, BH_CONTAINER_EXITED);
        wait_until(says(&p, ID, NULL));
        g_assert_cmpint(g_atomic_int_get(&p.detached), ==, 0);
        describe(&p, OTHER, 12, BH_CONTAINER_REMOVED);
        wait_until(g_atomic_int_get(&p.detached) == 1);
        wait_until(status_of(&p, "files") == 0);
        place_close(&p);
}

/* By another of its times it is another file, of the same name to whoever probes it: the former's probes go first. */
static void file_that_changed_is_probed_anew(void) {
        struct statfs fs;
        Place p;

        place_open(&p);
        g_autofree char *library = file(&p, "libssl.so.3", NULL), *exe = file(&p, "server", "no ELF");
        process(&p, 100, exe, library);
        process(&p, 101, exe, library);
        bh_tls_watch_start(p.watch);
        bh_tls_watch_process(p.watch, 100, 11);
        wait_until(status_of(&p, "looks") == 1);
        g_assert_cmpint(g_atomic_int_get(&p.attached), ==, 1);
        g_assert_no_errno(utimensat(AT_FDCWD, library, (const struct timespec[2]) { { 1, 0 }, { 1, 0 } }, 0));
        bh_tls_watch_process(p.watch, 101, 12);
        wait_until(status_of(&p, "looks") == 2);
        g_assert_cmpint(g_atomic_int_get(&p.attached), ==, 2);
        g_assert_no_errno(statfs(library, &fs));
        /* of a layered file system the times are in the name: two may be two */
        if (fs.f_type != OVERLAYFS_SUPER_MAGIC)
                g_assert_cmpint(g_atomic_int_get(&p.detached), ==, 1);
        describe(&p, ID, 11, BH_CONTAINER_EXITED);
        describe(&p, OTHER, 12, BH_CONTAINER_EXITED);
        wait_until(status_of(&p, "files") == 0);
        wait_until(g_atomic_int_get(&p.detached) == 2);
        place_close(&p);
}

static void program_with_the_library_in_it_is_found_by_its_exec(void) {
        struct bh_event e = { 0 };
        g_autoptr(BhContainer) c = NULL;
        Place p;

        place_open(&p);
        g_autofree char *exe = file(&p, "server", NULL);
        c = bh_container_table_get(p.containers, ID);
        e.type = BH_EV_EXEC;
        BH_SET(&e, pid, 100);
        BH_SET(&e, exe_dev, 1);
        BH_SET(&e, exe_ino, 2);
        bh_tls_watch_start(p.watch);
        /* gone before it could be looked at: so is not known */
        bh_tls_watch_event(p.watch, &e, c);
        wait_until(status_of(&p, "looks") == 1);
        process(&p, 100, exe, NULL);
        bh_tls_watch_event(p.watch, &e, c);
        wait_until(says(&p, ID, "clear: OpenSSL in the program"));
        wait_until(status_of(&p, "looks") == 2);
        bh_tls_watch_event(p.watch, &e, c); /* known */
        e.type = BH_EV_OPEN;
        bh_tls_watch_event(p.watch, &e, c);
        e.type = BH_EV_MMAP_EXEC;
        BH_SET_STR(&e, path, "/usr/lib/libc.so.6");
        bh_tls_watch_event(p.watch, &e, c);
        BH_SET_STR(&e, path, "/usr/lib/libgnutls.so.30");
        bh_tls_watch_event(p.watch, &e, c); /* of these four this alone leads to a look */
        wait_until(status_of(&p, "looks") == 3 && status_of(&p, "waiting") == 0);
        place_close(&p);
}

static void what_stays_closed_has_a_reason(void) {
        BhPayloadPiece piece = { .flags = BH_PAYLOAD_TLS_CLOSED, .protocol = BH_PAYLOAD_TLS_HELLO, .pid = 100, .start = 5, .container = 11 };
        Place p;

        place_open(&p);
        g_autofree char *exe = file(&p, "gopher", "no ELF"), *library = file(&p, "libssl.so.3", NULL);
        process(&p, 100, exe, NULL);
        process(&p, 101, exe, library);
        bh_tls_watch_start(p.watch);
        bh_tls_watch_piece(p.watch, &piece);
        bh_tls_watch_piece(p.watch, &piece);
        wait_until(says(&p, ID, "closed: the program gopher"));
        g_assert_cmpint(status_of(&p, "looks"), ==, 1); /* the same process again */
        p.refuse = TRUE;
        piece.pid = 101;
        piece.container = 12;
        bh_tls_watch_piece(p.watch, &piece);
        wait_until(says(&p, OTHER, "closed: OpenSSL"));
        g_assert_cmpint(status_of(&p, "refused"), ==, 1);
        piece.container = 99; /* of nobody */
        bh_tls_watch_piece(p.watch, &piece);
        g_assert_cmpint(status_of(&p, "looks"), ==, 2);
        place_close(&p);
}

static void one_container_does_not_fill_the_queue(void) {
        Place p;

        place_open(&p);
        for (guint i = 0; i < BH_TLS_WATCH_CONTAINER + 7; i++)
                bh_tls_watch_process(p.watch, 1000 + i, 11);
        bh_tls_watch_process(p.watch, 100, 12);
        g_assert_cmpint(status_of(&p, "passed_over"), ==, 7);
        g_assert_cmpint(status_of(&p, "waiting"), ==, BH_TLS_WATCH_CONTAINER + 1);
        place_close(&p);
}

/* One container's file system, at the open or while it is read: the other container's files are looked at, and the end waits for nobody. */
static void file_system_that_does_not_answer_keeps_nobody_waiting(gconstpointer name) {
        Place p;

        place_open(&p);
        slow_answers = FALSE;
        slow_asked = slow_gone = 0;
        g_autofree char *slow = file(&p, name, NULL), *library = file(&p, "libssl.so.3", NULL), *exe = file(&p, "server", "no ELF");
        process(&p, 100, exe, slow);
        process(&p, 101, exe, slow);
        process(&p, 102, exe, library);
        bh_tls_watch_process(p.watch, 100, 11);
        bh_tls_watch_process(p.watch, 101, 11);
        bh_tls_watch_process(p.watch, 102, 12);
        bh_tls_watch_start(p.watch);
        wait_until(says(&p, OTHER, "clear: OpenSSL"));
        wait_until(says(&p, ID, "closed: a file system that does not answer"));
        g_assert_cmpint(status_of(&p, "stuck"), ==, 1);
        g_assert_cmpint(status_of(&p, "looks"), ==, 2); /* what waited of it was put aside … */
        bh_tls_watch_process(p.watch, 101, 11);        /* … and nothing more of it is taken */
        g_assert_cmpint(status_of(&p, "waiting"), ==, 0);
        g_mutex_lock(&slow_lock);
        g_assert_cmpuint(slow_asked, ==, 1);
        g_mutex_unlock(&slow_lock);
        if (g_str_has_suffix(name, "-copy")) {
                /* it was only slow: what was put aside is looked at */
                g_mutex_lock(&slow_lock);
                slow_answers = TRUE;
                g_cond_broadcast(&slow_changed);
                g_mutex_unlock(&slow_lock);
                wait_until(says(&p, ID, "clear: OpenSSL"));
                wait_until(status_of(&p, "looks") == 4);
        }
        place_close(&p);
        /* what was left behind ends by itself, after all of it is gone */
        g_mutex_lock(&slow_lock);
        slow_answers = TRUE;
        g_cond_broadcast(&slow_changed);
        while (slow_gone < slow_asked)
                g_cond_wait(&slow_changed, &slow_lock);
        g_mutex_unlock(&slow_lock);
}

static void count(const BhTlsFile *f, gpointer data) {
        guint *n = data;

        n[f->executable ? 1 : 0]++;
}

static void a_process_that_is_gone_has_no_files(void) {
        guint n[2] = { 0 };

        g_assert_false(bh_tls_files("/nowhere", 1, count, n));
        g_assert_true(bh_tls_files("/proc", (guint32) getpid(), count, n));
        g_assert_cmpuint(n[1], ==, 1);
        g_assert_true(bh_tls_file_named("/x/libssl.so.1.1"));
        g_assert_false(bh_tls_file_named("/libssl/other.so"));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/tls_watch/file_is_probed_once_and_until_its_last_container_ends", file_is_probed_once_and_until_its_last_container_ends);
        g_test_add_func("/tls_watch/file_that_changed_is_probed_anew", file_that_changed_is_probed_anew);
        g_test_add_func("/tls_watch/program_with_the_library_in_it_is_found_by_its_exec", program_with_the_library_in_it_is_found_by_its_exec);
        g_test_add_func("/tls_watch/what_stays_closed_has_a_reason", what_stays_closed_has_a_reason);
        g_test_add_func("/tls_watch/one_container_does_not_fill_the_queue", one_container_does_not_fill_the_queue);
        g_test_add_data_func("/tls_watch/file_system_that_does_not_answer_keeps_nobody_waiting/open", SLOW, file_system_that_does_not_answer_keeps_nobody_waiting);
        g_test_add_data_func("/tls_watch/file_system_that_does_not_answer_keeps_nobody_waiting/read", SLOW "-copy", file_system_that_does_not_answer_keeps_nobody_waiting);
        g_test_add_func("/tls_watch/a_process_that_is_gone_has_no_files", a_process_that_is_gone_has_no_files);
        return g_test_run();
}

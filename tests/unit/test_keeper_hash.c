/* SPDX-License-Identifier: Apache-2.0 */
/* What the keeper knows of programs' contents. What the kernel says of a file and of its file system is stood in for where a case needs another time or kind. */
#include "sensor/keeper_hash.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

static struct {
        _Atomic gint64 age_s; /* added to the age of each file */
        _Atomic gint changes; /* so many looks at a file find it changed */
        _Atomic gint looks;
        _Atomic gint64 kind; /* of its file system */
        _Atomic gboolean no_threads;
} machine;

int statx(int dir, const char *path, int flags, unsigned mask, struct statx *s) {
        int rc = (int) syscall(SYS_statx, dir, path, flags, mask, s);

        machine.looks++;
        s->stx_ctime.tv_sec -= machine.age_s;
        s->stx_mtime.tv_sec -= machine.age_s;
        if (machine.changes > 0) {
                s->stx_ctime.tv_nsec = (guint32) machine.changes;
                machine.changes--;
        }
        return rc;
}

int fstatfs(int fd, struct statfs *s) {
        memset(s, 0, sizeof(*s));
        s->f_type = (__fsword_t) machine.kind;
        return 0;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *data) {
        int (*real)(pthread_t *, const pthread_attr_t *, void *(*) (void *), void *) = NULL;

        *(void **) &real = dlsym(RTLD_NEXT, "pthread_create");
        return machine.no_threads ? EAGAIN : real(thread, attributes, run, data);
}

static BhKeeperHasher *hasher; /* for as long as the process */
static GAsyncQueue *told_now;  /* the question, and the hash in hexadecimal digits */
static GMutex gates[2];        /* at which its two threads wait after the questions "0" and "1" */

typedef struct {
        int fd;
        gint64 old_s;
} Fixture;

static void on_hashed(gpointer question, const guint8 *hash, gpointer data) {
        GString *text = g_string_new(question);
        const char *name = question;

        for (guint i = 0; hash && i < BH_KEEPER_HASH; i++)
                g_string_append_printf(text, "%02x", hash[i]);
        g_async_queue_push(told_now, g_string_free(text, FALSE));
        if (g_ascii_isdigit(*name)) {
                g_mutex_lock(&gates[*name - '0']);
                g_mutex_unlock(&gates[*name - '0']);
        }
}

#define CONTENT "one content\n"

static void set_up(Fixture *f, gconstpointer unused) {
        static guint cases; /* an inode of an earlier one is used again, in the same moment */
        g_autofree char *path = NULL;

        machine.age_s = f->old_s = 2 * BH_KEEPER_FRESH_S + ++cases;
        machine.changes = 0;
        machine.kind = EXT4_SUPER_MAGIC;
        f->fd = g_file_open_tmp("bh-keeper-hash-XXXXXX", &path, NULL);
        g_assert_cmpint(f->fd, >=, 0);
        g_unlink(path);
        g_assert_cmpint(write(f->fd, CONTENT, strlen(CONTENT)), ==, strlen(CONTENT));
}

static void tear_down(Fixture *f, gconstpointer unused) {
        close(f->fd);
}

static char *asked(Fixture *f) {
        g_assert_true(bh_keeper_hash_read(hasher, f->fd, 0, (gpointer) ""));
        return g_async_queue_pop(told_now);
}

/* Both threads wait, until its gate is opened each. */
static void hold_up(Fixture *f) {
        for (guint i = 0; i < G_N_ELEMENTS(gates); i++) {
                g_mutex_lock(&gates[i]);
                g_assert_true(bh_keeper_hash_read(hasher, f->fd, 0, (gpointer) (i ? "1" : "0")));
                g_free(g_async_queue_pop(told_now));
        }
}

static gboolean knows(Fixture *f) {
        guint8 hash[BH_KEEPER_HASH];

        return bh_keeper_hash_known(hasher, f->fd, hash);
}

static void what_was_read_is_known(Fixture *f, gconstpointer unused) {
        g_autofree char *expected = g_compute_checksum_for_string(G_CHECKSUM_SHA256, CONTENT, -1), *told = NULL;

        g_assert_false(knows(f));
        told = asked(f);
        g_assert_cmpstr(told, ==, expected);
        g_assert_true(knows(f));
}

/* Its reader has a descriptor of its own. */
static void who_asked_may_close(Fixture *f, gconstpointer unused) {
        g_autofree char *expected = g_compute_checksum_for_string(G_CHECKSUM_SHA256, CONTENT, -1), *told = NULL;
        int fd = dup(f->fd);

        hold_up(f);
        g_assert_true(bh_keeper_hash_read(hasher, fd, 0, (gpointer) ""));
        close(fd);
        g_mutex_unlock(&gates[0]);
        g_mutex_unlock(&gates[1]);
        told = g_async_queue_pop(told_now);
        g_assert_cmpstr(told, ==, expected);
}

/* A mapped page may be written for as long as it was not written back. */
static void what_changed_lately_is_read_again(Fixture *f, gconstpointer unused) {
        g_autofree char *told = NULL;

        machine.age_s = 30;
        told = asked(f);
        g_assert_cmpuint(strlen(told), ==, 2 * BH_KEEPER_HASH);
        g_assert_false(knows(f));
        machine.age_s = f->old_s;
        g_assert_false(knows(f));
}

static void what_is_never_written_back_is_read_again(Fixture *f, gconstpointer unused) {
        g_autofree char *told = NULL;

        machine.kind = TMPFS_MAGIC;
        told = asked(f);
        g_assert_cmpuint(strlen(told), ==, 2 * BH_KEEPER_HASH);
        g_assert_false(knows(f));
}

static void what_changes_meanwhile_is_read_anew(Fixture *f, gconstpointer unused) {
        g_autofree char *told = NULL;

        machine.looks = 0;
        machine.changes = 2;
        told = asked(f);
        g_assert_cmpuint(strlen(told), ==, 2 * BH_KEEPER_HASH);
        g_assert_cmpint(machine.looks, ==, 4);
        g_assert_true(knows(f));
}

static void what_changes_all_the_while_cannot_be_told(Fixture *f, gconstpointer unused) {
        g_autofree char *told = NULL;

        machine.changes = 1000;
        told = asked(f);
        g_assert_cmpstr(told, ==, "");
        machine.changes = 0;
        g_assert_false(knows(f));
}

/* Not one container's seconds before another's first. */
static void lower_turns_go_first(Fixture *f, gconstpointer unused) {
        static const struct {
                const char *name;
                guint turn;
        } jobs[] = { { "a ", 1 }, { "b ", 2 }, { "c ", 0 }, { "d ", 1 } };
        hold_up(f);
        for (guint i = 0; i < G_N_ELEMENTS(jobs); i++)
                g_assert_true(bh_keeper_hash_read(hasher, f->fd, jobs[i].turn, (gpointer) jobs[i].name));
        g_mutex_unlock(&gates[0]); /* one after the other */
        for (const char *order = "cadb"; *order; order++) {
                g_autofree char *told = g_async_queue_pop(told_now);

                g_assert_cmpint(*told, ==, *order);
        }
        g_mutex_unlock(&gates[1]);
}

/* Else what is asked would wait for ever. */
static void without_threads_there_is_none(void) {
        g_autoptr(GError) error = NULL;

        machine.no_threads = TRUE;
        BhKeeperHasher *h = bh_keeper_hasher_new(on_hashed, NULL, &error);
        machine.no_threads = FALSE;
        g_assert_null(h);
        g_assert_nonnull(error);
        g_assert_nonnull(strstr(error->message, "threads"));
}

#define TEST(name) g_test_add("/keeper_hash/" #name, Fixture, NULL, set_up, name, tear_down)

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        told_now = g_async_queue_new_full(g_free);
        hasher = bh_keeper_hasher_new(on_hashed, NULL, NULL);
        g_assert_nonnull(hasher);
        g_test_add_func("/keeper_hash/without_threads_there_is_none", without_threads_there_is_none);
        TEST(what_was_read_is_known);
        TEST(who_asked_may_close);
        TEST(what_changed_lately_is_read_again);
        TEST(what_is_never_written_back_is_read_again);
        TEST(what_changes_meanwhile_is_read_anew);
        TEST(what_changes_all_the_while_cannot_be_told);
        TEST(lower_turns_go_first);
        return g_test_run();
}

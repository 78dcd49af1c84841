/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sensor/privileges.h"

static struct {
        BhCanary *canary;
        BhHooks *hooks;
        struct ring_buffer *rings;
        GPtrArray *records; /* struct bh_rec *, whole */
        char *dir;
        BhBackend backend;
        pid_t guard;
        int alive;
} k;

static int on_record(void *data, void *rec, size_t size) {
        g_ptr_array_add(k.records, g_memdup2(rec, size));
        return 0;
}

void kernel_end(void) {
        if (!k.hooks)
                return;

        g_autofree char *pins = g_build_filename(k.dir, "bpf", NULL);
        ring_buffer__free(k.rings);
        bh_hooks_detach(k.hooks);
        bh_hooks_free(k.hooks);
        bh_hooks_remove(pins);
        bh_canary_free(k.canary);
        g_ptr_array_unref(k.records);
        g_rmdir(pins);
        g_rmdir(k.dir);
        close(k.alive);
        waitpid(k.guard, NULL, 0);
        g_free(k.dir);
        memset(&k, 0, sizeof(k));
}

/* A test that fails ends by abort(), and what is pinned would stay attached for all of the machine: a child takes it away when this process is gone. */
static void guard(const char *pins) {
        int alive[2];

        g_assert_no_errno(pipe2(alive, O_CLOEXEC));
        pid_t pid = fork();
        g_assert_no_errno(pid);
        if (pid == 0) {
                char c;

                signal(SIGINT, SIG_IGN);
                signal(SIGTERM, SIG_IGN);
                close(alive[1]);
                while (read(alive[0], &c, 1) < 0 && errno == EINTR)
                        ;
                if (access(pins, F_OK) == 0) {
                        bh_hooks_remove(pins);
                        g_rmdir(pins);
                        g_rmdir(k.dir);
                }
                _exit(0);
        }
        close(alive[0]);
        k.guard = pid;
        k.alive = alive[1]; /* closed by the kernel, at the latest */
}

static void open_hooks(BhBackend backend) {
        static char pins[512];
        BhHooksOptions options = { .pin_dir = pins, .force = backend };
        struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
        g_autoptr(GError) error = NULL;

        setrlimit(RLIMIT_MEMLOCK, &unlimited);
        g_assert_true(bh_privileges_drop(&error)); /* as the sensor does */
        k.dir = g_dir_make_tmp("bh-kernel-XXXXXX", &error);
        g_assert_no_error(error);
        g_snprintf(pins, sizeof(pins), "%s/bpf", k.dir);
        guard(pins);
        k.canary = bh_canary_start(&error);
        g_assert_no_error(error);
        k.hooks = bh_hooks_open(&options, k.canary, &error);
        g_assert_no_error(error);
        k.records = g_ptr_array_new_with_free_func(g_free);
        k.rings = ring_buffer__new(bh_hooks_map(k.hooks, "ring_bulk"), on_record, NULL, NULL);
        g_assert_nonnull(k.rings);
        g_assert_cmpint(ring_buffer__add(k.rings, bh_hooks_map(k.hooks, "ring_key"), on_record, NULL), ==, 0);
        g_assert_cmpint(ring_buffer__add(k.rings, bh_hooks_map(k.hooks, "ring_life"), on_record, NULL), ==, 0);
        k.backend = backend;
}

gboolean kernel_use(BhBackend backend, const char *kinds) {
        g_autoptr(GError) error = NULL;
        BhKinds wanted;
        volatile struct bh_config *config;
        gboolean has = FALSE;

        if (k.hooks && k.backend != backend)
                kernel_end();
        if (!k.hooks)
                open_hooks(backend);
        g_assert_true(bh_kinds_parse(kinds, &wanted, &error));
        g_assert_true(bh_hooks_want(k.hooks, BH_CONSUMER_RECORDER, &wanted, &error));
        g_assert_no_error(error);
        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++)
                if (bh_kinds_has(&wanted, type))
                        has |= bh_hooks_state(k.hooks, type)->backend == backend;
        if (!has) {
                g_autofree char *why = g_strdup_printf("this kernel has no %s backend: %s", bh_backend_name(backend), bh_hooks_state(k.hooks, BH_EV_CONNECT)->why);

                g_test_skip(why);
                return FALSE;
        }
        config = bh_hooks_config(k.hooks);
        config->self_tgid = 0; /* own acts are what is looked at */
        config->fold_window = 0;
        bh_hooks_judge_anew(k.hooks);
        kernel_forget();
        return TRUE;
}

BhHooks *kernel_hooks(void) {
        return k.hooks;
}

void kernel_forget(void) {
        ring_buffer__consume(k.rings);
        g_ptr_array_set_size(k.records, 0);
}

const struct bh_addr *kernel_addr(const struct bh_rec *rec) {
        for (guint32 at = sizeof(*rec); at + sizeof(struct bh_chunk) <= rec->size; ) {
                const struct bh_chunk *c = (const void *) ((const char *) rec + at);

                if (c->tag == BH_TAG_ADDR && c->len == sizeof(struct bh_addr))
                        return (const void *) (c + 1);
                at += (guint32) sizeof(*c) + c->len;
        }
        return NULL;
}

struct bh_rec *kernel_wait(guint32 type, KernelMatch match, gconstpointer data, guint ms) {
        gint64 until = g_get_monotonic_time() + ms * 1000;

        for (;;) {
                ring_buffer__consume(k.rings);
                for (guint i = 0; i < k.records->len; i++) {
                        struct bh_rec *rec = k.records->pdata[i];

                        if (rec->type == type && match(rec, kernel_addr(rec), data))
                                return g_ptr_array_steal_index(k.records, i);
                }
                if (g_get_monotonic_time() >= until)
                        return NULL;
                g_usleep(2000);
        }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A node for test_respond.c: files for cgroups and /proc, and stand-ins for what is cut and refused in the kernel and for the keeper of file denials, which say what they were told last. One includes it. */
#pragma once
#include <glib/gstdio.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "sensor/block.h"
#include "sensor/enforce.h"
#include "sensor/enforce_link.h"
#include "sensor/filekeeper.h"
#include "sensor/respond.h"

#define ID "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define CGROUP "/docker/" ID

/* A child that does nothing, of whichever test needs one. */
static inline pid_t sleeper(void) {
        pid_t pid = fork();

        if (pid)
                return pid;
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* nothing goes on after a test that broke off */
        for (;;)
                pause();
}

/* ---- the stand-in ---- */

struct BhEnforce {
        guint set, cleared;
        gint settles; /* atomic */
        gboolean host_network;
        gint fails; /* atomic */
        GMutex lock;
        GArray *allow, *deny, *lead; /* of the last call; NULL: no such list */
        guint8 to[16];
        guint16 to_port;
        struct bh_enforce_led led; /* told once, where it has a cgroup */
} kernel;

static void keep_lists(BhEnforce *e, const GArray *allow, const GArray *deny, const GArray *lead) {
        g_mutex_lock(&e->lock);
        g_clear_pointer(&e->lead, g_array_unref);
        e->lead = lead ? g_array_copy((GArray *) lead) : NULL;
        g_clear_pointer(&e->allow, g_array_unref);
        g_clear_pointer(&e->deny, g_array_unref);
        e->allow = allow ? g_array_copy((GArray *) allow) : NULL;
        e->deny = deny ? g_array_copy((GArray *) deny) : NULL;
        g_mutex_unlock(&e->lock);
}

gboolean bh_enforce_update(BhEnforce *e, const char *cgroup, const BhEnforceRules *rules, GError **error) {
        g_assert_cmpstr(cgroup, ==, CGROUP);
        if (g_atomic_int_get(&e->fails))
                return bh_enforce_fail(error, "there is no such cgroup");
        keep_lists(e, rules->allow, rules->deny, rules->lead);
        return TRUE;
}

BhEnforce *bh_enforce_open(const char *dir, const char *v2_mount, const char *proc_path, GError **error) {
        return &kernel;
}

void bh_enforce_free(BhEnforce *e) {
}

gboolean bh_enforce_prepare(BhEnforce *e, GError **error) {
        return TRUE;
}

gboolean bh_enforce_set(BhEnforce *e, const char *cgroup, const BhEnforceRules *rules, BhEnforceDone *done, GError **error) {
        g_assert_cmpstr(cgroup, ==, CGROUP);
        if (g_atomic_int_get(&e->fails))
                return bh_enforce_fail(error, "the kernel has no room");
        *done = (BhEnforceDone){ .host_network = e->host_network, .interfaces = !e->host_network };
        e->set++;
        keep_lists(e, rules->isolate ? rules->allow : NULL, rules->deny, rules->lead);
        memcpy(e->to, rules->to, sizeof(e->to));
        e->to_port = rules->to_port;
        return TRUE;
}

void bh_enforce_clear(BhEnforce *e, const char *cgroup) {
        e->cleared++;
        keep_lists(e, NULL, NULL, NULL);
}

void bh_enforce_settle(BhEnforce *e) {
        g_atomic_int_inc(&e->settles);
}

gboolean bh_enforce_refused(BhEnforce *e, const char *cgroup, guint64 *packets, guint64 *bytes, guint64 *calls) {
        *packets = *bytes = *calls = 7;
        return TRUE;
}

gboolean bh_enforce_led(BhEnforce *e, const char *cgroup, guint64 *connections, guint64 *untold) {
        *connections = 3;
        *untold = 1;
        return TRUE;
}

void bh_enforce_tell(BhEnforce *e, BhEnforceTold told, gpointer data) {
        g_mutex_lock(&e->lock);
        const struct bh_enforce_led led = e->led;
        e->led.cgroup = 0;
        g_mutex_unlock(&e->lock);
        if (led.cgroup)
                told(&led, data);
}

struct BhBlock {
        guint rules; /* of the last call */
        gint sets, settles, fresh; /* atomic; fresh: rules that were, of all calls */
        gint fails; /* atomic */
        const char *open; /* what it says is not refused */
        struct bh_block_act act;
        gint acts; /* atomic: so often it was refused and is to be told */
        void (*each_turn)(void);
} acts_kernel;

BhBlock *bh_block_open(const char *dir, const char *v2_mount, const char *proc_path) {
        return &acts_kernel;
}

void bh_block_free(BhBlock *b) {
}

gboolean bh_block_prepare(BhBlock *b, GError **error) {
        return TRUE;
}

BhBlockBackend bh_block_backend(const BhBlock *b) {
        return BH_BLOCK_BACKEND_TRACEPOINT;
}

void bh_block_done_clear(BhBlockDone *done) {
        g_clear_pointer(&done->open, g_ptr_array_unref);
        g_clear_pointer(&done->notes, g_ptr_array_unref);
}

gboolean bh_block_set(BhBlock *b, const char *cgroup, const BhBlockRule *rules, guint n, const BhBlockSubject *subject, BhBlockDone *done, GError **error) {
        *done = (BhBlockDone){ .open = g_ptr_array_new_with_free_func(g_free), .notes = g_ptr_array_new_with_free_func(g_free) };
        if (n && g_atomic_int_get(&b->fails))
                return bh_enforce_fail(error, "the container's mounts cannot be read");
        if (b->open)
                g_ptr_array_add(done->open, g_strdup(b->open));
        b->rules = n;
        g_atomic_int_inc(&b->sets);
        for (guint i = 0; i < n; i++)
                if (rules[i].fresh)
                        g_atomic_int_inc(&b->fresh);
        if (n)
                b->act.rule = rules[0].number;
        return TRUE;
}

void bh_block_clear(BhBlock *b, const char *cgroup) {
}

void bh_block_settle(BhBlock *b) {
        g_atomic_int_inc(&b->settles);
}

guint64 bh_block_skipped(const BhBlock *b) {
        return 0;
}

gboolean bh_block_refused(BhBlock *b, guint32 number, guint64 *acts, guint64 *untold) {
        *acts = 3;
        *untold = 0;
        return number == b->act.rule;
}

void bh_block_tell(BhBlock *b, BhBlockTold told, gpointer data) {
        if (b->each_turn)
                b->each_turn();
        for (; g_atomic_int_get(&b->acts); g_atomic_int_add(&b->acts, -1))
                told(&b->act, data);
}

gboolean bh_enforce_fail(GError **error, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        if (error)
                *error = g_error_new_valist(G_FILE_ERROR, G_FILE_ERROR_FAILED, format, ap);
        va_end(ap);
        return FALSE;
}

/* ---- the keeper of file denials ---- */

struct BhFileKeeper {
        guint rules, sets, drops, restarts;
        gint lost; /* atomic */
        gboolean holds, fails;
        gint programs, untold; /* atomic */
} keeper;

BhFileKeeper *bh_filekeeper_open(const char *run_dir, const char *proc_path, const char *v2_mount) {
        return &keeper;
}

void bh_filekeeper_free(BhFileKeeper *k) {
}

json_t *bh_filekeeper_set(BhFileKeeper *k, const char *container, const char *cgroup, pid_t pid, const GPtrArray *rules, GError **error) {
        g_assert_cmpstr(cgroup, ==, CGROUP);
        if (k->fails) {
                bh_enforce_fail(error, "the file is on a file system that others serve");
                return NULL;
        }
        k->rules = rules->len;
        k->holds = TRUE;
        k->sets++;
        return json_pack("{s:[s]}", "open", "a way of the keeper's");
}

gboolean bh_filekeeper_drop(BhFileKeeper *k, const char *container, GError **error) {
        k->drops += k->holds;
        k->holds = FALSE;
        return TRUE;
}

gboolean bh_filekeeper_lost(BhFileKeeper *k) {
        return g_atomic_int_compare_and_exchange(&k->lost, 1, 0);
}

json_t *bh_filekeeper_list(BhFileKeeper *k) {
        return k->holds ? json_pack("{s:i,s:[{s:s,s:i,s:i}]}", "restarts", (int) k->restarts, "containers", "container", ID, "programs", g_atomic_int_get(&k->programs), "untold", g_atomic_int_get(&k->untold)) : NULL;
}

/* ---- a node ---- */

typedef struct {
        char *dir, *ledger, *v2, *proc;
        BhContainerTable *containers;
        BhRespondConfig config;
        GMutex lock; /* of what was said */
        GString *said;
        GString *blocked; /* sentences of what was refused */
} Node;

static void put(const char *dir, const char *file, const char *text) {
        g_autofree char *path = g_build_filename(dir, file, NULL), *parent = g_path_get_dirname(path);

        g_assert_cmpint(g_mkdir_with_parents(parent, 0700), ==, 0);
        g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void remove_tree(const char *path) {
        g_autoptr(GDir) d = g_dir_open(path, 0, NULL);

        for (const char *name; d && (name = g_dir_read_name(d));) {
                g_autofree char *child = g_build_filename(path, name, NULL);

                if (g_file_test(child, G_FILE_TEST_IS_DIR) && !g_file_test(child, G_FILE_TEST_IS_SYMLINK))
                        remove_tree(child);
                else
                        g_unlink(child);
        }
        g_rmdir(path);
}

static void say(const char *action, const char *message, const char *key, const char *value, gpointer data) {
        Node *n = data;

        g_mutex_lock(&n->lock);
        g_string_append_printf(n->said, "%s ", action);
        if (g_str_equal(action, "response_blocked"))
                g_string_append_printf(n->blocked, "%s\n", message);
        g_mutex_unlock(&n->lock);
}

static void set_up(Node *n, gconstpointer unused) {
        const BhContainerTableConfig table = { .host_root = "/nowhere" };
        g_autoptr(BhContainer) c = bh_container_new(ID, "docker");

        keep_lists(&kernel, NULL, NULL, NULL);
        kernel = (BhEnforce){ 0 };
        keeper = (BhFileKeeper){ 0 };
        acts_kernel = (struct BhBlock){ 0 };
        n->dir = g_dir_make_tmp("bh-respond-XXXXXX", NULL);
        n->ledger = g_build_filename(n->dir, "responses", NULL);
        n->v2 = g_build_filename(n->dir, "cgroup", NULL);
        n->proc = g_build_filename(n->dir, "proc", NULL);
        n->said = g_string_new(NULL);
        n->blocked = g_string_new(NULL);
        put(n->v2, CGROUP "/cgroup.freeze", "0");
        put(n->v2, CGROUP "/cgroup.events", "frozen 1\n");
        put(n->v2, CGROUP "/cgroup.procs", "4242\n");
        n->containers = bh_container_table_new(&table);
        bh_container_table_bind(n->containers, 1, CGROUP, 0);
        bh_container_table_upsert(n->containers, c, 0);
        n->config = (BhRespondConfig){ .dir = n->ledger, .pin_dir = n->dir, .v2_mount = n->v2, .proc_path = n->proc, .containers = n->containers, .say = say, .data = n };
}

static void tear_down(Node *n, gconstpointer unused) {
        bh_container_table_free(n->containers);
        remove_tree(n->dir);
        g_string_free(n->said, TRUE);
        g_string_free(n->blocked, TRUE);
        g_free(n->dir);
        g_free(n->ledger);
        g_free(n->v2);
        g_free(n->proc);
}

static BhRespond *begin(Node *n) {
        g_autoptr(GError) error = NULL;
        BhRespond *r = bh_respond_new(&n->config, &error);

        g_assert_no_error(error);
        bh_respond_start(r);
        return r;
}

static const char *text_at(json_t *o, const char *name) {
        return json_string_value(json_object_get(o, name));
}

G_GNUC_UNUSED static void until_said(Node *n, const char *wanted) {
        gboolean yes = FALSE;

        for (guint i = 0; !yes; i++) {
                g_assert_cmpuint(i, <, 60000);
                g_usleep(1000);
                g_mutex_lock(&n->lock);
                yes = g_str_equal(n->said->str, wanted);
                g_mutex_unlock(&n->lock);
        }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Places for stores, and messages whose content follows from their number: shared by the tests of the store. */
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fdio.h"
#include "store/db.h"
#include "store/schema.h"
#include "store/store.h"
#include "store/store_access.h"
#include "store/store_inventory.h"
#include "store/store_private.h"

static G_GNUC_UNUSED void remove_tree(char *dir) {
        if (!dir)
                return;
        GDir *d = g_dir_open(dir, 0, NULL);
        for (const char *n; d && (n = g_dir_read_name(d));) {
                char *p = g_build_filename(dir, n, NULL);

                if (g_file_test(p, G_FILE_TEST_IS_DIR) && !g_file_test(p, G_FILE_TEST_IS_SYMLINK)) {
                        remove_tree(p);
                } else {
                        g_unlink(p);
                        g_free(p);
                }
        }
        if (d)
                g_dir_close(d);
        g_rmdir(dir);
        g_free(dir);
}

typedef char TempDir;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TempDir, remove_tree)

static G_GNUC_UNUSED char *temp_dir(void) {
        char *dir = g_dir_make_tmp("bulkhead-store-XXXXXX", NULL);

        g_assert_nonnull(dir);
        return dir;
}

static G_GNUC_UNUSED char *db_path(const char *dir) {
        return g_build_filename(dir, "bulkhead.db", NULL);
}

static G_GNUC_UNUSED char *db_uri(const char *dir) {
        return g_strdup_printf("sqlite:%s/bulkhead.db", dir);
}

static G_GNUC_UNUSED BhStore *must_open(const char *dir, BhStoreOpened *opened) {
        g_autoptr(GError) error = NULL;
        g_autofree char *uri = db_uri(dir);
        BhStore *s = bh_store_open(uri, opened, &error);

        g_assert_no_error(error);
        g_assert_nonnull(s);
        return s;
}

/* Opening must fail with this code; returns the message. */
static G_GNUC_UNUSED char *must_refuse(const char *dir, BhStoreError code) {
        g_autoptr(GError) error = NULL;
        g_autofree char *uri = db_uri(dir);

        g_assert_null(bh_store_open(uri, NULL, &error));
        g_assert_error(error, BH_STORE_ERROR, (gint) code);
        return g_strdup(error->message);
}

#define PUBLISHER "00112233445566778899aabbccddeeff"
#define NODE "node-1"
#define T0 (G_GINT64_CONSTANT(1800000000) * 1000000000)

/* A message's texts, which must live as long as it. */
typedef struct {
        char id[40], name[40], subject[64], workload[32];
        BhStoreContainer container;
} Texts;

/* Message `seq`: a finding, an observation or a container by turns. Of 3n messages the store gets n of each. */
static G_GNUC_UNUSED BhStoreMessage make_message(guint64 seq, Texts *t) {
        BhStoreMessage m = { .seq = seq };

        g_snprintf(t->workload, sizeof(t->workload), "web-%u", (guint) (seq / 3 % 20));
        switch (seq % 3) {
        case 0:
                m.kind = BH_STORE_MESSAGE_FINDING;
                g_snprintf(t->id, sizeof(t->id), NODE "-%" G_GUINT64_FORMAT, seq);
                m.finding = (BhStoreFinding) { .id = t->id, .time_ns = T0 + (gint64) seq, .rule = "Terminal shell in container", .priority = "Notice",
                                               .source = "syscall", .output = "A shell was spawned (user=root)", .workload = t->workload,
                                               .application = "shop", .container_id = "c1", .tags = "[\"shell\"]", .fields = "{\"proc.name\":\"sh\"}" };
                break;
        case 1:
                m.kind = BH_STORE_MESSAGE_OBSERVATION;
                g_snprintf(t->subject, sizeof(t->subject), "/usr/bin/tool-%" G_GUINT64_FORMAT, seq / 60 % 500);
                m.observation = (BhStoreObservation) { .container_id = "c1", .workload = t->workload, .application = "shop", .kind = "exec",
                                                       .image_digest = "web@sha256:00", .subject = t->subject, .parent = "/bin/sh", .count = 1,
                                                       .first_ns = T0 + (gint64) seq, .last_ns = T0 + (gint64) seq };
                break;
        default:
                m.kind = BH_STORE_MESSAGE_INVENTORY;
                g_snprintf(t->id, sizeof(t->id), "%032" G_GINT64_MODIFIER "x", seq);
                g_snprintf(t->name, sizeof(t->name), "shop_web_%" G_GUINT64_FORMAT, seq);
                t->container = (BhStoreContainer) { .id = t->id, .name = t->name, .image = "shop/web:1", .runtime = "docker", .state = "running",
                                                    .level = "full", .workload = t->workload, .application = "shop",
                                                    .labels = "{\"tier\":\"front\"}", .created_ns = T0 + (gint64) seq };
                m.inventory = (BhStoreInventory) { .containers = &t->container, .n_containers = 1 };
                break;
        }
        return m;
}

/* Messages first … last as one batch. */
static G_GNUC_UNUSED gboolean ingest_range(BhStore *s, const char *publisher, guint64 first, guint64 last, GError **error) {
        guint n = (guint) (last - first + 1);
        g_autofree BhStoreMessage *m = g_new(BhStoreMessage, n);
        g_autofree Texts *t = g_new0(Texts, n);

        for (guint i = 0; i < n; i++)
                m[i] = make_message(first + i, &t[i]);
        return bh_store_ingest(s, publisher, NODE, m, n, error);
}

static G_GNUC_UNUSED void must_ingest(BhStore *s, guint64 first, guint64 last) {
        g_autoptr(GError) error = NULL;

        ingest_range(s, PUBLISHER, first, last, &error);
        g_assert_no_error(error);
}

static G_GNUC_UNUSED void must_put(BhStore *s, const char *node, BhStoreMessage *m, guint n) {
        g_autoptr(GError) error = NULL;
        guint64 position;

        g_assert_true(bh_store_position(s, node, &position, NULL));
        for (guint i = 0; i < n; i++)
                m[i].seq = position + 1 + i;
        bh_store_ingest(s, node, node, m, n, &error);
        g_assert_no_error(error);
}

static G_GNUC_UNUSED void must_put_containers(BhStore *s, const char *node, gboolean full, BhStoreContainer *c, guint n) {
        BhStoreMessage m = { .kind = BH_STORE_MESSAGE_INVENTORY, .inventory = { .boot_id = "boot-1", .full = full, .containers = c, .n_containers = n } };

        must_put(s, node, &m, 1);
}

static G_GNUC_UNUSED guint64 position_of(BhStore *s, const char *publisher) {
        guint64 seq;

        g_assert_true(bh_store_position(s, publisher, &seq, NULL));
        return seq;
}

static G_GNUC_UNUSED BhStoreOverview overview_of(BhStore *s) {
        g_autoptr(GError) error = NULL;
        BhStoreOverview o = { 0 };

        bh_store_overview(s, &o, &error);
        g_assert_no_error(error);
        return o;
}

static G_GNUC_UNUSED gint64 sum_counts(BhStore *s) {
        g_autoptr(GError) error = NULL;
        BhDb *db = bh_store_read(s, &error);
        gint64 sum = 0;

        bh_db_get_int(db, &sum, NULL, &error, "SELECT sum(count) FROM observations", "");
        bh_store_read_done(s, db);
        g_assert_no_error(error);
        return sum;
}

/* Exactly messages 1 … n have been applied, each once. */
static G_GNUC_UNUSED void assert_exactly(BhStore *s, guint64 n) {
        BhStoreOverview o = overview_of(s);

        g_assert_cmpuint(position_of(s, PUBLISHER), ==, n);
        g_assert_cmpuint(o.findings, ==, n / 3);
        g_assert_cmpint(sum_counts(s), ==, (gint64) ((n + 2) / 3));
        g_assert_cmpuint(o.containers, ==, (n + 1) / 3);
}

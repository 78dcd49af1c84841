/* SPDX-License-Identifier: Apache-2.0 */
#include "upkeep.h"

#include <string.h>

#include "base/log.h"
#include "evidence.h"
#include "graph.h"
#include "json_out.h"
#include "tls_live.h"

#define SECOND_NS ((gint64) 1000000000)
#define DAY_NS (86400 * SECOND_NS)
#define HOUR_US ((gint64) 3600 * G_USEC_PER_SEC)

struct BhUpkeep {
        BhCentral *central;
        GThread *thread;
        GMutex lock;
        GCond woken;
        gboolean stopping;
        char *problem; /* of the last backup or retention, NULL: none */
        BhStoreExpired expired; /* sums, but for bytes and flags */
};

static gint64 setting(BhCentral *c, const char *key, gint64 fallback) {
        g_autofree char *text = bh_store_setting_get(c->store, key, NULL);
        gint64 n = text ? g_ascii_strtoll(text, NULL, 10) : 0;

        return n > 0 ? n : fallback;
}

static void set_problem(BhUpkeep *u, const char *what, const GError *error) {
        g_mutex_lock(&u->lock);
        g_free(u->problem);
        u->problem = error ? g_strdup_printf("%s: %s", what, error->message) : NULL;
        g_mutex_unlock(&u->lock);
        if (error)
                bh_error(what, "error", error->message);
}

static gboolean backup(BhUpkeep *u) {
        g_autofree char *path = NULL;
        g_autoptr(GError) error = NULL;
        gboolean ok = bh_store_backup_rotate(u->central->store, (guint) setting(u->central, "backup.keep", 7), &path, &error);

        set_problem(u, "the backup failed", ok ? NULL : error);
        if (ok)
                bh_info("backup made", "file", path);
        return ok;
}

static void expire(BhUpkeep *u) {
        BhStoreExpired gone = { 0 };
        g_autoptr(GError) error = NULL;
        gint64 days = setting(u->central, "retention.days", 30), mib = setting(u->central, "retention.mib", 4096);

        if (!bh_store_expire(u->central->store, days * DAY_NS, (guint64) mib << 20, &gone, &error)) {
                set_problem(u, "old rows could not be removed", error);
                return;
        }
        bh_evidence_expire(u->central, (guint64) setting(u->central, "evidence.mib", BH_CENTRAL_EVIDENCE_MIB) << 20);
        if (gone.containers || gone.nodes)
                bh_map_reload(u->central->map);
        g_autoptr(GArray) halves = NULL;
        gint64 hours = setting(u->central, "graph.minute_hours", 24), kept = setting(u->central, "graph.hour_days", 30);
        if (!bh_store_flows_expire(u->central->store, hours * DAY_NS / 24, MAX(kept * DAY_NS, hours * DAY_NS / 24), &halves, &error)) {
                set_problem(u, "old connections could not be removed", error);
                return;
        }
        bh_map_forget(u->central->map, halves);
        g_mutex_lock(&u->lock);
        u->expired.buckets += gone.buckets;
        u->expired.findings += gone.findings;
        u->expired.containers += gone.containers;
        u->expired.observations += gone.observations;
        u->expired.audit += gone.audit;
        u->expired.nodes += gone.nodes;
        u->expired.still_over = gone.still_over;
        u->expired.clock_distrusted = gone.clock_distrusted;
        g_mutex_unlock(&u->lock);
        if (gone.still_over)
                bh_warn("the database is over retention.mib, and nothing is left in it that may go");
        if (gone.clock_distrusted)
                bh_warn("the clock jumped ahead; old rows are told by the time since boot");
}

static gpointer run(gpointer data) {
        BhUpkeep *u = data;
        gint64 next_expire = g_get_monotonic_time() + HOUR_US / 60, next_backup = g_get_monotonic_time() + HOUR_US / 30;
        gint64 age = g_get_real_time() * 1000 - bh_store_backup_time(u->central->store), next_tls = g_get_monotonic_time();

        /* a machine that is on for an hour each day gets its backups, too */
        if (age >= 0 && age < DAY_NS)
                next_backup = g_get_monotonic_time() + (DAY_NS - age) / 1000;
        for (;;) {
                g_mutex_lock(&u->lock);
                while (!u->stopping && g_cond_wait_until(&u->woken, &u->lock, MIN(next_tls, MIN(next_expire, next_backup))))
                        ;
                gboolean stopping = u->stopping;
                g_mutex_unlock(&u->lock);
                if (stopping)
                        return NULL;

                gint64 t = g_get_monotonic_time();
                if (t >= next_tls) {
                        bh_tls_live_check();
                        next_tls = g_get_monotonic_time() + BH_TLS_LIVE_CHECK_SECONDS * G_USEC_PER_SEC;
                }
                if (t >= next_expire) {
                        expire(u);
                        next_expire = g_get_monotonic_time() + HOUR_US;
                }
                if (t >= next_backup)
                        next_backup = g_get_monotonic_time() + (backup(u) ? 24 : 1) * HOUR_US;
        }
}

BhUpkeep *bh_upkeep_start(BhCentral *c) {
        BhUpkeep *u = g_new0(BhUpkeep, 1);

        u->central = c;
        g_mutex_init(&u->lock);
        g_cond_init(&u->woken);
        u->thread = g_thread_new("bh-upkeep", run, u);
        return u;
}

void bh_upkeep_free(BhUpkeep *u, gboolean last) {
        if (!u)
                return;
        g_mutex_lock(&u->lock);
        u->stopping = TRUE;
        g_cond_signal(&u->woken);
        g_mutex_unlock(&u->lock);
        g_thread_join(u->thread);
        if (last && g_get_real_time() * 1000 - bh_store_backup_time(u->central->store) > 3600 * SECOND_NS)
                backup(u);
        g_free(u->problem);
        g_cond_clear(&u->woken);
        g_mutex_clear(&u->lock);
        g_free(u);
}

void bh_upkeep_append_json(BhUpkeep *u, GString *out) {
        g_mutex_lock(&u->lock);
        bh_json_open(out, "upkeep", '{');
        bh_json_text(out, "problem", u->problem);
        bh_json_uint(out, "expired_findings", u->expired.findings);
        bh_json_uint(out, "expired_containers", u->expired.containers);
        bh_json_uint(out, "expired_observations", u->expired.observations);
        bh_json_uint(out, "expired_audit", u->expired.audit);
        bh_json_uint(out, "expired_nodes", u->expired.nodes);
        bh_json_bool(out, "over_bound", u->expired.still_over);
        bh_json_close(out, '}');
        g_mutex_unlock(&u->lock);
}

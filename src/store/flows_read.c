/* SPDX-License-Identifier: Apache-2.0 */
/* Halves, buckets, listeners: queries, and what goes when. */
#include <string.h>

#include "store/store_private.h"

#define SECOND_NS G_GINT64_CONSTANT(1000000000)
#define MINUTE 60
#define HOUR 3600
#define ROUND 20000 /* rows of one transaction: ingest waits so long at most */
#define LOOKED_UP 10000 /* buckets that are looked up one by one rather than that all of a time are read */

/* ---- halves */

static void take_samples(BhHalf *h, const char *text) {
        while (*text && h->n_port_samples < BH_HALF_SAMPLES) {
                char *end;
                guint64 port = g_ascii_strtoull(text, &end, 10);

                if (end == text)
                        return;
                h->port_samples[h->n_port_samples++] = (guint32) MIN(port, 65535);
                text = *end ? end + 1 : end;
        }
}

static BhHalfAddress address_at(BhDbStmt *st, guint i) {
        gsize len;
        const void *p = bh_db_peek_blob(st, i, &len);

        return bh_half_address(p, len);
}

static guint32 small(gint64 v) {
        return (guint32) CLAMP(v, 0, (gint64) G_MAXUINT32);
}

#define BH_HALF_COUNT(member, other, meaning) ", " #member
#define HALVES_SQL \
        "SELECT id, node, container_id, exe, role, proto, port, path, peer_ip, dialled_ip, dialled_port, peer_container_id, peer_name, " \
        "peer_is_host, local_ip, peer_exe, network_id, protocol, server_name, ports, addresses, port_samples, first_ns, last_ns, open, half_open"
static const char all_sql[] = HALVES_SQL
#include "event/half_counts.tbl.h"
                              " FROM flow_halves";
static const char client_sql[] = HALVES_SQL
#include "event/half_counts.tbl.h"
                                 " FROM flow_halves WHERE node = ? AND container_id = ? AND role = 1 AND last_ns >= ? ORDER BY last_ns DESC LIMIT ?";
static const char begun_sql[] = HALVES_SQL
#include "event/half_counts.tbl.h"
                                " FROM flow_halves WHERE node = ? AND container_id = ? AND role = 1 AND first_ns >= ? ORDER BY first_ns DESC LIMIT ?";
#undef BH_HALF_COUNT
#undef HALVES_SQL

/* The statement's rows; it is done then. */
static gboolean take_halves(BhDbStmt *st, BhStoreHalfFunc func, gpointer data, GError **error) {
        BhDbStep step = BH_DB_FAILED;
        gboolean more = TRUE;

        while (st && more && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                BhHalf h = {
                        .id = bh_db_int(st, 0),
                        .node = bh_db_peek(st, 1),
                        .container_id = bh_db_peek(st, 2),
                        .exe = bh_db_peek(st, 3),
                        .role = (BhHalfRole) bh_db_int(st, 4),
                        .proto = small(bh_db_int(st, 5)),
                        .port = small(bh_db_int(st, 6)),
                        .path = bh_db_peek(st, 7),
                        .peer = address_at(st, 8),
                        .dialled = address_at(st, 9),
                        .dialled_port = small(bh_db_int(st, 10)),
                        .peer_container_id = bh_db_peek(st, 11),
                        .peer_name = bh_db_peek(st, 12),
                        .peer_is_host = bh_db_int(st, 13) != 0,
                        .local = address_at(st, 14),
                        .peer_exe = bh_db_peek(st, 15),
                        .network_id = bh_db_peek(st, 16),
                        .protocol = bh_db_peek(st, 17),
                        .server_name = bh_db_peek(st, 18),
                        .ports = small(bh_db_int(st, 19)),
                        .addresses = small(bh_db_int(st, 20)),
                        .first_ns = bh_db_int(st, 22),
                        .last_ns = bh_db_int(st, 23),
                        .open = (guint64) MAX(bh_db_int(st, 24), 0),
                        .half_open = (guint64) MAX(bh_db_int(st, 25), 0),
                };
                guint i = 26;

                take_samples(&h, bh_db_peek(st, 21));
#define BH_HALF_COUNT(member, other, meaning) h.counts.member = (guint64) MAX(bh_db_int(st, i), 0), i++;
#include "event/half_counts.tbl.h"
#undef BH_HALF_COUNT
                more = func(&h, data);
        }
        bh_db_done(st);
        return step == BH_DB_DONE || (step == BH_DB_ROW && !more);
}

gboolean bh_store_halves(BhStore *s, BhStoreHalfFunc func, gpointer data, GError **error) {
        BhDb *db = bh_store_read(s, error);

        if (!db)
                return FALSE;
        gboolean ok = take_halves(bh_db_query(db, error, all_sql, ""), func, data, error);
        bh_store_read_done(s, db);
        return ok;
}

static gboolean of_client(BhStore *s, const char *sql, const char *node, const char *container, gint64 since_ns, guint max, BhStoreHalfFunc func, gpointer data, GError **error) {
        BhDb *db = bh_store_read(s, error);

        if (!db)
                return FALSE;
        gboolean ok = take_halves(bh_db_query(db, error, sql, "ttii", node, container, since_ns, (gint64) max), func, data, error);
        bh_store_read_done(s, db);
        return ok;
}

gboolean bh_store_halves_of_client(BhStore *s, const char *node, const char *container, gint64 since_ns, guint max, BhStoreHalfFunc func, gpointer data, GError **error) {
        return of_client(s, client_sql, node, container, since_ns, max, func, data, error);
}

gboolean bh_store_halves_of_client_begun(BhStore *s, const char *node, const char *container, gint64 since_ns, guint max, BhStoreHalfFunc func, gpointer data, GError **error) {
        return of_client(s, begun_sql, node, container, since_ns, max, func, data, error);
}

gboolean bh_store_known_peers(BhStore *s, const char *node, const char *container, gint64 before_ns, guint max, BhStoreKnownPeerFunc func, gpointer data, GError **error) {
        BhDb *db = bh_store_read(s, error);
        BhDbStep step = BH_DB_FAILED;

        if (!db)
                return FALSE;
        BhDbStmt *st = bh_db_query(db, error,
                                   "SELECT h.exe, h.peer_name, coalesce(c.application, ''), coalesce(c.workload, ''), h.port, h.dialled_port FROM flow_halves h LEFT JOIN containers c ON c.node = h.node AND "
                                   "c.id = h.peer_container_id WHERE h.node = ? AND h.container_id = ? AND h.role = 1 AND h.first_ns < ? AND h.bytes_out > 0 AND h.bytes_in > 0 LIMIT ?",
                                   "ttii", node, container, before_ns, (gint64) max);
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                const BhStoreKnownPeer p = { bh_db_peek(st, 0), bh_db_peek(st, 1), bh_db_peek(st, 2), bh_db_peek(st, 3), small(bh_db_int(st, 4)), small(bh_db_int(st, 5)) };

                func(&p, data);
        }
        bh_db_done(st);
        bh_store_read_done(s, db);
        return step == BH_DB_DONE;
}

/* ---- buckets */

static gint64 down(gint64 second, gint64 width) {
        return second - second % width;
}

static gint64 up(gint64 second, gint64 width) {
        return down(second + width - 1, width);
}

#define BH_HALF_COUNT(member, other, meaning) ", " #member
static const char range_sql[] = "SELECT half, start"
#include "event/half_counts.tbl.h"
                                " FROM flow_buckets WHERE width = ? AND start >= ? AND start < ?";
static const char one_sql[] = "SELECT half, start"
#include "event/half_counts.tbl.h"
                              " FROM flow_buckets WHERE width = ? AND start = ? AND half = ?";
#undef BH_HALF_COUNT

/* The statement's rows of these halves (NULL: of all); it is done then. */
static gboolean take_buckets(BhDbStmt *st, GHashTable *halves, BhStoreBucketFunc func, gpointer data, GError **error) {
        BhDbStep step = BH_DB_FAILED;

        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                gint64 half = bh_db_int(st, 0);
                BhHalfCounts c;
                guint i = 2;

                if (halves && !g_hash_table_contains(halves, (gpointer) (gsize) half))
                        continue;
#define BH_HALF_COUNT(member, other, meaning) c.member = (guint64) bh_db_int(st, i++);
#include "event/half_counts.tbl.h"
#undef BH_HALF_COUNT
                func(half, bh_db_int(st, 1), &c, data);
        }
        bh_db_done(st);
        return step == BH_DB_DONE;
}

static gboolean read_range(BhDb *db, GHashTable *halves, gint64 width, gint64 from, gint64 to, BhStoreBucketFunc func, gpointer data, GError **error) {
        GHashTableIter it;
        gpointer half;

        if (from >= to)
                return TRUE;
        if (!halves || (to - from) / width * g_hash_table_size(halves) > LOOKED_UP)
                return take_buckets(bh_db_query(db, error, range_sql, "iii", width, from, to), halves, func, data, error);
        g_hash_table_iter_init(&it, halves);
        while (g_hash_table_iter_next(&it, &half, NULL))
                for (gint64 start = from; start < to; start += width)
                        if (!take_buckets(bh_db_query(db, error, one_sql, "iii", width, start, (gint64) (gsize) half), NULL, func, data, error))
                                return FALSE;
        return TRUE;
}

gboolean bh_store_flow_buckets(BhStore *s, gint64 *since_ns, gint64 *until_ns, BhStoreBucketFunc func, gpointer data, GError **error) {
        return bh_store_flow_buckets_of(s, NULL, since_ns, until_ns, func, data, error);
}

gboolean bh_store_flow_buckets_of(BhStore *s, GHashTable *halves, gint64 *since_ns, gint64 *until_ns, BhStoreBucketFunc func, gpointer data, GError **error) {
        gint64 now = s->now() / SECOND_NS, minutes_from = down(now - g_atomic_pointer_get(&s->minutes_kept) / SECOND_NS, HOUR) + HOUR;
        gint64 since = MAX(*since_ns, 0) / SECOND_NS, until = MAX(*until_ns, 0) / SECOND_NS + (*until_ns > 0 && *until_ns % SECOND_NS != 0), middle_from, middle_to;

        /* beyond any time that is told: keeps the sums below in their range */
        until = MIN(until, now + 366 * 24 * HOUR);
        since = MIN(since, until);
        if (until - since > BH_STORE_WINDOW_HOURS * HOUR) {
                middle_from = since = down(since, HOUR);
                middle_to = until = up(until, HOUR);
        } else {
                /* hours only where there are no minutes any more */
                since = down(since, since < minutes_from ? HOUR : MINUTE);
                until = up(until, until <= minutes_from ? HOUR : MINUTE);
                middle_from = since;
                middle_to = CLAMP(minutes_from, since, until);
        }
        BhDb *db = bh_store_read(s, error);
        if (!db)
                return FALSE;
        gboolean ok = read_range(db, halves, HOUR, middle_from, middle_to, func, data, error) && read_range(db, halves, MINUTE, middle_to, until, func, data, error);
        bh_store_read_done(s, db);
        *since_ns = since * SECOND_NS;
        *until_ns = until * SECOND_NS;
        return ok;
}

gboolean bh_store_flow_rest(BhStore *s, guint64 *connections, guint64 *bytes, GError **error) {
        BhDb *db = bh_store_read(s, error);
        gint64 c = 0, b = 0;

        if (!db)
                return FALSE;
        /* total() is real and cannot overflow */
        gboolean ok = bh_db_get_int(db, &c, NULL, error, "SELECT CAST(min(total(rest_connections), 9e18) AS INTEGER) FROM flow_positions", "") &&
                      bh_db_get_int(db, &b, NULL, error, "SELECT CAST(min(total(rest_bytes), 9e18) AS INTEGER) FROM flow_positions", "");
        bh_store_read_done(s, db);
        *connections = (guint64) c;
        *bytes = (guint64) b;
        return ok;
}

/* ---- listeners */

void bh_store_listener_free(BhStoreListener *l) {
        if (!l)
                return;
        g_free(l->node);
        g_free(l->container_id);
        g_free(l->exe);
        g_free(l->path);
        g_free(l);
}

static char *listener_cursor(gconstpointer row) {
        return g_strdup_printf("%" G_GINT64_FORMAT, ((const BhStoreListener *) row)->id);
}

static gpointer take_listener(BhDbStmt *st) {
        BhStoreListener *l = g_new0(BhStoreListener, 1);

        l->id = bh_db_int(st, 0);
        l->node = bh_db_text(st, 1);
        l->container_id = bh_db_text(st, 2);
        l->exe = bh_db_text(st, 3);
        l->path = bh_db_text(st, 4);
        l->pid = small(bh_db_int(st, 5));
        l->proto = small(bh_db_int(st, 6));
        l->port = small(bh_db_int(st, 7));
        l->net_ns = small(bh_db_int(st, 8));
        l->ip = address_at(st, 9);
        l->started_ns = bh_db_int(st, 10);
        l->first_ns = bh_db_int(st, 11);
        return l;
}

BhStorePage *bh_store_listeners(BhStore *s, const BhStoreListenerFilter *filter, const char *cursor, guint limit, GError **error) {
        static const BhStoreList list = { "SELECT l.id, l.node, l.container_id, l.exe, l.path, l.pid, l.proto, l.port, l.net_ns, l.ip, l.started_ns, l.first_ns "
                                          "FROM listeners l LEFT JOIN containers c ON c.node = l.node AND c.id = l.container_id",
                                          " ORDER BY l.id", take_listener, (GDestroyNotify) bh_store_listener_free, listener_cursor };
        static const BhStoreListenerFilter any;
        const BhStoreListenerFilter *f = filter ? filter : &any;
        g_auto(BhWhere) w;

        bh_where_init(&w);
        bh_where_text(&w, "l.node = ?", f->node);
        bh_where_text(&w, "l.container_id = ?", f->container_id);
        bh_where_text(&w, "coalesce(c.application, '') = ? AND l.container_id <> ''", f->application);
        bh_where_text(&w, "c.workload = ?", f->workload);
        if (f->port)
                bh_where_int(&w, "l.port = ?", f->port);
        return bh_where_cursor(&w, "l.id > ?", 1, cursor, error) ? bh_store_page(s, &w, &list, limit, error) : NULL;
}

/* ---- retention */

gboolean bh_store_drop_buckets(BhStore *s, gint64 max, gint64 *gone, GError **error) {
        /* the oldest minutes, and when there are none hours */
        gboolean ok = bh_db_run(s->writer, error, "DELETE FROM flow_buckets WHERE (width, start, half) IN (SELECT width, start, half FROM flow_buckets "
                                "ORDER BY width, start, half LIMIT ?)", "i", max);
        *gone = ok ? bh_db_changes(s->writer) : 0;
        return ok;
}

static gboolean drop_before(BhStore *s, gint64 width, gint64 before, GError **error) {
        gint64 gone;

        do {
                if (!bh_store_begin(s, error))
                        return FALSE;
                gboolean ok = bh_db_run(s->writer, error, "DELETE FROM flow_buckets WHERE (width, start, half) IN (SELECT width, start, half FROM flow_buckets "
                                        "WHERE width = ? AND start < ? ORDER BY start, half LIMIT ?)", "iii", width, before, (gint64) ROUND);
                gone = ok ? bh_db_changes(s->writer) : 0;
                if (!bh_store_end(s, ok, error))
                        return FALSE;
        } while (gone == ROUND);
        return TRUE;
}

static gboolean drop_halves(BhStore *s, gint64 before_ns, GArray *gone, GError **error) {
        guint n;

        do {
                BhDbStep step = BH_DB_FAILED;
                guint from = gone->len;

                if (!bh_store_begin(s, error))
                        return FALSE;
                BhDbStmt *st = bh_db_query(s->writer, error, "SELECT id FROM flow_halves WHERE last_ns < ? AND ((open = 0 AND half_open = 0) OR node NOT IN (SELECT name FROM nodes WHERE up <> 0)) LIMIT ?", "ii", before_ns, (gint64) ROUND);
                while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                        gint64 id = bh_db_int(st, 0);

                        g_array_append_val(gone, id);
                }
                bh_db_done(st);
                gboolean ok = step == BH_DB_DONE;
                for (guint i = from; ok && i < gone->len; i++)
                        ok = bh_db_run(s->writer, error, "DELETE FROM flow_halves WHERE id = ?", "i", g_array_index(gone, gint64, i));
                n = gone->len - from;
                if (!ok)
                        g_array_set_size(gone, from);
                if (n)
                        s->halves = s->texts = -1;
                if (!bh_store_end(s, ok, error))
                        return FALSE;
        } while (n == ROUND);
        return TRUE;
}

gboolean bh_store_flows_expire(BhStore *s, gint64 minutes_kept_ns, gint64 hours_kept_ns, GArray **gone, GError **error) {
        g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(gint64));
        gint64 now = MIN(s->now(), s->opened_now + (s->boot() - s->opened_boot) + HOUR * SECOND_NS);

        /* an hour is whole in one or the other */
        g_atomic_pointer_set(&s->minutes_kept, minutes_kept_ns);
        if (!drop_before(s, MINUTE, down((now - minutes_kept_ns) / SECOND_NS, HOUR), error) || !drop_before(s, HOUR, (now - hours_kept_ns) / SECOND_NS, error) ||
            !drop_halves(s, now - hours_kept_ns, ids, error))
                return FALSE;
        if (!bh_store_begin(s, error))
                return FALSE;
        gboolean ok = bh_db_run(s->writer, error, "DELETE FROM flow_positions WHERE seen_ns < ?", "i", now - hours_kept_ns) &&
                      bh_db_run(s->writer, error, "DELETE FROM listeners WHERE node NOT IN (SELECT name FROM nodes)", "");
        if (!bh_store_end(s, ok, error))
                return FALSE;
        if (gone)
                *gone = g_steal_pointer(&ids);
        return TRUE;
}

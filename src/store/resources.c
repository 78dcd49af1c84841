/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <string.h>

#include "store/store_private.h"

#define COLUMNS "serial, node, source, scope, kind, id, name, application, labels, detail, created_ns, updated_ns, first_seen_ns, changed_ns"

void bh_store_resource_free(BhStoreResource *r) {
        if (!r)
                return;
        g_free(r->kind);
        g_free(r->id);
        g_free(r->name);
        g_free(r->application);
        g_free(r->labels);
        g_free(r->detail);
        g_free(r->node);
        g_free(r->source);
        g_free(r->scope);
        g_free(r);
}

/* ---- ingest */

typedef struct {
        gint64 serial;
        guint8 digest[32];
        gboolean listed;
} Known;

static void hash_resource(const BhStoreResource *r, guint8 digest[32]) {
        g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
        const char *const texts[] = { r->name, r->application, r->labels, r->detail };
        gsize len = 32;

        for (gsize i = 0; i < G_N_ELEMENTS(texts); i++)
                g_checksum_update(sum, (const guchar *) texts[i], (gssize) strlen(texts[i]) + 1);
        g_checksum_update(sum, (const guchar *) &r->created_ns, sizeof r->created_ns);
        g_checksum_update(sum, (const guchar *) &r->updated_ns, sizeof r->updated_ns);
        g_checksum_get_digest(sum, digest, &len);
}

/* "kind\nid" → Known of a scope. */
static GHashTable *known_of(BhStore *s, const char *owner, GError **error) {
        g_autoptr(GHashTable) known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        BhDbStmt *st = bh_db_query(s->writer, error, "SELECT serial, kind, id, digest FROM resources WHERE owner = ?", "t", owner);
        BhDbStep step = BH_DB_FAILED;

        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                Known *k = g_new0(Known, 1);
                gsize len;
                const void *d = bh_db_peek_blob(st, 3, &len);

                k->serial = bh_db_int(st, 0);
                if (len == sizeof k->digest)
                        memcpy(k->digest, d, len);
                g_hash_table_insert(known, g_strdup_printf("%s\n%s", bh_db_peek(st, 1), bh_db_peek(st, 2)), k);
        }
        bh_db_done(st);
        return step == BH_DB_DONE ? g_steal_pointer(&known) : NULL;
}

static gboolean log_resource(BhStore *s, gint64 serial, guint64 *change, GError **error) {
        g_autofree char *key = g_strdup_printf("%" G_GINT64_FORMAT, serial);

        return bh_store_log(s, BH_STORE_CHANGE_RESOURCE, key, change, error);
}

static gboolean put_one(BhStore *s, GHashTable *known, const char *owner, const char *node, const BhStoreResourceList *list, const BhStoreResource *given, guint64 *change,
                        GError **error) {
        BhStoreResource r = {
                .kind = (char *) bh_store_clean(s, given->kind, BH_STORE_KEY_MAX),
                .id = (char *) bh_store_clean(s, given->id, BH_STORE_KEY_MAX),
                .name = (char *) bh_store_clean(s, given->name, BH_STORE_TEXT_MAX),
                .application = (char *) bh_store_clean(s, given->application, BH_STORE_KEY_MAX),
                .labels = (char *) bh_store_clean_json(s, given->labels, "{}"),
                .detail = (char *) bh_store_clean_json(s, given->detail, "{}"),
                .created_ns = given->created_ns,
                .updated_ns = given->updated_ns,
        };
        g_autofree char *key = g_strdup_printf("%s\n%s", r.kind, r.id);
        Known *k = g_hash_table_lookup(known, key);
        guint8 digest[32];
        gint64 serial = 0;

        hash_resource(&r, digest);
        if (k) {
                gboolean same = !memcmp(k->digest, digest, sizeof digest);

                k->listed = TRUE;
                /* one list that has it twice: the first one counts */
                if (same || !k->serial)
                        return TRUE;
                return bh_db_run(s->writer, error,
                                 "UPDATE resources SET digest = ?, node = ?, name = ?, application = ?, labels = ?, detail = ?, created_ns = ?, updated_ns = ?, "
                                 "changed_ns = ? WHERE serial = ?", "btttttiiii", digest, sizeof digest, node, r.name, r.application, r.labels, r.detail, r.created_ns,
                                 r.updated_ns, s->tx_now, k->serial) &&
                       log_resource(s, k->serial, change, error);
        }
        if (!bh_db_run(s->writer, error,
                       "INSERT INTO resources (owner, kind, id, digest, node, source, scope, name, application, labels, detail, created_ns, updated_ns, first_seen_ns, "
                       "changed_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", "tttbtttttttiiii", owner, r.kind, r.id, digest, sizeof digest, node,
                       bh_store_clean(s, list->source, BH_STORE_KEY_MAX), bh_store_clean(s, list->scope, BH_STORE_KEY_MAX), r.name, r.application, r.labels, r.detail,
                       r.created_ns, r.updated_ns, s->tx_now, s->tx_now))
                return FALSE;
        serial = bh_db_last_id(s->writer);
        k = g_new0(Known, 1);
        k->listed = TRUE;
        g_hash_table_insert(known, g_steal_pointer(&key), k);
        return log_resource(s, serial, change, error);
}

/* A new scope needs a place among the node's. */
static gboolean may_have(BhStore *s, const char *owner, const char *node, gboolean *may, GError **error) {
        gint64 known, scopes;

        if (!bh_db_get_int(s->writer, &known, NULL, error, "SELECT count(*) FROM resource_scopes WHERE owner = ?", "t", owner) ||
            !bh_db_get_int(s->writer, &scopes, NULL, error, "SELECT count(*) FROM resource_scopes WHERE node = ?", "t", node))
                return FALSE;
        *may = known || scopes < BH_STORE_SCOPES_PER_NODE;
        return TRUE;
}

/* ---- whose word counts for what a cluster shares */

/* A node as the cluster's list has it. */
typedef struct {
        gboolean listed, manager;
        char *name;
} Listed;

static void listed_clear(Listed *l) {
        g_free(l->name);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Listed, listed_clear)

/* By `column`, "name" or "id". Of several of one name (host names are the nodes' own word) a manager counts. */
static gboolean look_up_listed(BhStore *s, const char *owner, const char *column, const char *value, Listed *out, GError **error) {
        g_autofree char *sql = g_strdup_printf("SELECT name, detail FROM resources WHERE owner = ? AND kind = 'node' AND %s = ? ORDER BY serial LIMIT 64", column);
        BhDbStmt *st = bh_db_query(s->writer, error, sql, "tt", owner, value);
        BhDbStep step = BH_DB_FAILED;

        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                json_t *detail = json_loads(bh_db_peek(st, 1), 0, NULL);

                out->manager |= !g_strcmp0(json_string_value(json_object_get(detail, "role")), "manager");
                if (!out->listed)
                        out->name = bh_db_text(st, 0);
                out->listed = TRUE;
                json_decref(detail);
        }
        bh_db_done(st);
        return step == BH_DB_DONE;
}

/* Which of the cluster's nodes this one says it is; "": none, several, or one that another said it was before. */
static gboolean own_id(BhStore *s, const char *node, char **id, GError **error) {
        g_autofree char *owner = g_strdup_printf("%s/docker/node", node);
        gint64 serial = 0, before = 0;
        guint n = 0;
        BhDbStmt *st = bh_db_query(s->writer, error, "SELECT id, serial FROM resources WHERE owner = ? AND kind = 'node' LIMIT 2", "t", owner);
        BhDbStep step = BH_DB_FAILED;

        *id = NULL;
        for (; st && (step = bh_db_step(st, error)) == BH_DB_ROW; n++) {
                g_free(*id);
                *id = bh_db_text(st, 0);
                serial = bh_db_int(st, 1);
        }
        bh_db_done(st);
        if (step != BH_DB_DONE || (n == 1 && !bh_db_get_int(s->writer, &before, NULL, error, "SELECT count(*) FROM (SELECT 1 FROM resources WHERE kind = 'node' AND id = ? AND source = 'docker' AND "
                                                            "scope = 'node' AND serial < ? LIMIT 1)", "ti", *id, serial)))
                return FALSE;
        if (n != 1 || before) {
                g_free(*id);
                *id = g_strdup("");
        }
        return TRUE;
}

/* Whether the list that there is names the node as one of the cluster's managers, or as something else. */
static gboolean look_at_list(BhStore *s, const char *owner, const char *node, gboolean *manager, gboolean *other, GError **error) {
        g_auto(Listed) by_name = { 0 }, by_id = { 0 };
        g_autofree char *id = NULL;
        gint64 known = 0;

        if (!look_up_listed(s, owner, "name", node, &by_name, error))
                return FALSE;
        if (by_name.listed) {
                *manager = by_name.manager;
                *other = !by_name.manager;
                return TRUE;
        }
        /* a sensor whose machine has another name for the engine. What it says of itself does not count where the node of that name is known */
        if (!own_id(s, node, &id, error) || (*id && !look_up_listed(s, owner, "id", id, &by_id, error)) ||
            (by_id.listed && !bh_db_get_int(s->writer, &known, NULL, error, "SELECT count(*) FROM nodes WHERE name = ?", "t", by_id.name)))
                return FALSE;
        *manager = by_id.manager && !known;
        *other = by_id.listed && !*manager;
        return TRUE;
}

/*
 * What a whole cluster shares is the word of one of its managers: of the node that told it first, and then of whoever that one's own list names as a manager. Any other node
 * is heard when the one whose word it was has been silent for long, unless the list says that it is a worker.
 */
static gboolean may_tell(BhStore *s, const char *owner, const char *node, gboolean empty, gboolean *may, char **of, GError **error) {
        gboolean manager = FALSE, other = FALSE;
        gint64 heard = 0;
        BhDbStmt *st = bh_db_query(s->writer, error, "SELECT node FROM resource_scopes WHERE owner = ?", "t", owner);
        BhDbStep step = st ? bh_db_step(st, error) : BH_DB_FAILED;

        *of = step == BH_DB_ROW ? bh_db_text(st, 0) : NULL;
        bh_db_done(st);
        *may = !*of || !strcmp(*of, node);
        if (step == BH_DB_FAILED || *may)
                return step != BH_DB_FAILED;
        if (!look_at_list(s, owner, node, &manager, &other, error) ||
            !bh_db_get_int(s->writer, &heard, NULL, error, "SELECT count(*) FROM nodes WHERE name = ? AND (up <> 0 OR last_seen_ns > ?)", "ti", *of,
                           s->tx_now - BH_STORE_MANAGER_SILENT_NS))
                return FALSE;
        /* who leaves the cluster takes away what it said itself, not what another manager said after it */
        *may = !empty && (manager || (!heard && !other));
        return TRUE;
}

static gboolean tell_contested(BhStore *s, const char *node, const char *of, const char *scope, GError **error) {
        g_autofree char *raw = g_strconcat(node, "\n", scope, NULL), *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, raw, -1);
        g_autofree char *id = g_strdup_printf("contested-%.16s-%" G_GINT64_FORMAT, sum, s->tx_now);
        g_autofree char *output = g_strdup_printf("Node %s told of %s, of which node %s tells; it is none of the managers that are known and was not believed", node, scope, of);
        json_t *fields = json_pack("{s:s, s:s, s:s}", "scope", scope, "told_by", node, "managed_by", of);
        g_autofree char *text = fields ? json_dumps(fields, JSON_COMPACT) : NULL;
        const BhStoreFinding f = {
                .id = id,
                .time_ns = s->tx_now,
                .last_ns = s->tx_now,
                .count = 1,
                .rule = (char *) "Swarm told by a node that does not manage it",
                .priority = (char *) "warning",
                .source = (char *) "central",
                .kind = (char *) "sensor",
                .output = output,
                .tags = (char *) "[\"inventory\"]",
                .fields = text,
                .description = (char *) "A node's sensor told the services, tasks and networks of a Swarm that another node manages. A node that was taken over can do that to change what the map shows.",
                .advice = (char *) "Compare `docker node ls` of a manager with the nodes here. If the node became a manager, nothing is to be done: it counts as soon as another manager's list names it. Otherwise look at "
                                   "that node: who runs there as root?",
                .fold = (char *) scope,
        };
        gboolean duplicate;

        json_decref(fields);
        s->tx_contested++;
        return bh_store_put_finding(s, node, &f, NULL, &duplicate, error);
}

gboolean bh_store_put_resources(BhStore *s, const char *node, const BhStoreResourceList *list, guint64 *refused, guint64 *change, GError **error) {
        gboolean shared = g_str_has_prefix(list->scope, "swarm:"), may;
        g_autofree char *raw = shared ? g_strdup(list->scope) : g_strdup_printf("%s/%s/%s", node, list->source, list->scope);
        const char *owner = bh_store_clean(s, raw, BH_STORE_KEY_MAX);
        guint left = list->n_resources;
        g_autofree char *of = NULL;
        GHashTableIter it;
        gpointer p;

        if (shared && !may_tell(s, owner, node, !list->n_resources, &may, &of, error))
                return FALSE;
        if (shared && !may) {
                *refused += list->n_resources;
                return !list->n_resources || tell_contested(s, node, of, bh_store_clean(s, list->scope, BH_STORE_KEY_MAX), error);
        }
        if (!may_have(s, owner, node, &may, error))
                return FALSE;
        if (!may) {
                *refused += list->n_resources + 1;
                return TRUE;
        }
        g_autoptr(GHashTable) known = known_of(s, owner, error);
        if (!known)
                return FALSE;
        for (guint i = 0; i < list->n_resources; i++) {
                const BhStoreResource *r = &list->resources[i];

                if (!r->kind || !*r->kind || !r->id || !*r->id || i >= BH_STORE_RESOURCES_PER_SCOPE) {
                        (*refused)++;
                        left--;
                } else if (!put_one(s, known, owner, node, list, r, change, error)) {
                        return FALSE;
                }
        }
        g_hash_table_iter_init(&it, known);
        while (g_hash_table_iter_next(&it, NULL, &p)) {
                const Known *k = p;

                if (!k->listed && (!bh_db_run(s->writer, error, "DELETE FROM resources WHERE serial = ?", "i", k->serial) || !log_resource(s, k->serial, change, error)))
                        return FALSE;
        }
        /* a scope of which nothing is left needs no place */
        if (!left)
                return bh_db_run(s->writer, error, "DELETE FROM resource_scopes WHERE owner = ?", "t", owner);
        return bh_db_run(s->writer, error,
                         "INSERT INTO resource_scopes (owner, node, source, scope, time_ns, refused) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (owner) DO UPDATE SET "
                         "node = excluded.node, time_ns = excluded.time_ns, refused = excluded.refused", "ttttiu", owner, node,
                         bh_store_clean(s, list->source, BH_STORE_KEY_MAX), bh_store_clean(s, list->scope, BH_STORE_KEY_MAX), list->time_ns, list->refused);
}

gboolean bh_store_drop_silent_resources(BhStore *s, gint64 before, GError **error) {
#define SILENT "(SELECT name FROM nodes WHERE up = 0 AND last_seen_ns < ?)"
        return bh_db_run(s->writer, error, "DELETE FROM resources WHERE owner IN (SELECT owner FROM resource_scopes WHERE node IN " SILENT ")", "i", before) &&
               bh_db_run(s->writer, error, "DELETE FROM resource_scopes WHERE node IN " SILENT, "i", before);
#undef SILENT
}

/* ---- queries */

static gpointer take_row(BhDbStmt *st) {
        BhStoreResource *r = g_new0(BhStoreResource, 1);

        r->serial = bh_db_int(st, 0);
        r->node = bh_db_text(st, 1);
        r->source = bh_db_text(st, 2);
        r->scope = bh_db_text(st, 3);
        r->kind = bh_db_text(st, 4);
        r->id = bh_db_text(st, 5);
        r->name = bh_db_text(st, 6);
        r->application = bh_db_text(st, 7);
        r->labels = bh_db_text(st, 8);
        r->detail = bh_db_text(st, 9);
        r->created_ns = bh_db_int(st, 10);
        r->updated_ns = bh_db_int(st, 11);
        r->first_seen_ns = bh_db_int(st, 12);
        r->changed_ns = bh_db_int(st, 13);
        return r;
}

static void filter_to_where(BhWhere *w, const BhStoreResourceFilter *f) {
        bh_where_init(w);
        if (!f)
                return;
        bh_where_text(w, "kind = ?", f->kind);
        bh_where_text(w, "scope = ?", f->scope);
        bh_where_text(w, "source = ?", f->source);
        bh_where_text(w, "application = ?", f->application);
        bh_where_text(w, "node = ?", f->node);
        bh_where_text(w, "id = ?", f->id);
        bh_where_contains(w, "name || ' ' || id || ' ' || application || ' ' || labels", f->search);
}

static char *cursor_after(gconstpointer row) {
        return g_strdup_printf("%" G_GINT64_FORMAT, ((const BhStoreResource *) row)->serial);
}

BhStorePage *bh_store_resources(BhStore *s, const BhStoreResourceFilter *filter, const char *cursor, guint limit, GError **error) {
        gboolean up = filter && filter->oldest_first;
        const BhStoreList list = { "SELECT " COLUMNS " FROM resources", up ? " ORDER BY serial" : " ORDER BY serial DESC", take_row, (GDestroyNotify) bh_store_resource_free, cursor_after };
        g_auto(BhWhere) w;

        filter_to_where(&w, filter);
        return bh_where_cursor(&w, up ? "serial > ?" : "serial < ?", 1, cursor, error) ? bh_store_page(s, &w, &list, limit, error) : NULL;
}

gboolean bh_store_resources_count(BhStore *s, const BhStoreResourceFilter *filter, guint64 *count, GError **error) {
        g_auto(BhWhere) w;

        filter_to_where(&w, filter);
        return bh_store_count(s, &w, "resources", count, error);
}

BhStoreResource *bh_store_resource(BhStore *s, gint64 serial, GError **error) {
        g_autoptr(BhStoreResource) r = NULL;
        g_autofree char *name = g_strdup_printf("%" G_GINT64_FORMAT, serial);
        BhDbStep step = BH_DB_FAILED;
        BhDb *db = bh_store_read(s, error);

        if (!db)
                return NULL;
        BhDbStmt *st = bh_db_query(db, error, "SELECT " COLUMNS " FROM resources WHERE serial = ?", "i", serial);
        if (st && (step = bh_db_step(st, error)) == BH_DB_ROW)
                r = take_row(st);
        bh_db_done(st);
        bh_store_read_done(s, db);
        if (step == BH_DB_DONE)
                bh_store_not_found(error, "resource", name);
        return g_steal_pointer(&r);
}

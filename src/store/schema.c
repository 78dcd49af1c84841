/* SPDX-License-Identifier: Apache-2.0 */
#include "store/schema.h"

#include "store/schema_evidence.h"
#include "store/schema_flows.h"
#include "store/schema_models.h"

/*
 * STRICT, so that the check at opening also sees values of a wrong type. Integers that are times are nanoseconds since the epoch.
 * Rows that are paged through have a number of their own that is never used again (AUTOINCREMENT): a cursor stays good.
 */
const char *const bh_schema_steps[BH_SCHEMA_VERSION] = {
        /* 1 */
        "CREATE TABLE publishers (id TEXT NOT NULL PRIMARY KEY, node TEXT NOT NULL, position INTEGER NOT NULL, seen_ns INTEGER NOT NULL) STRICT;"

        "CREATE TABLE nodes (name TEXT NOT NULL PRIMARY KEY, version TEXT NOT NULL DEFAULT '', boot_id TEXT NOT NULL DEFAULT '',"
        " up INTEGER NOT NULL DEFAULT 0, first_seen_ns INTEGER NOT NULL, last_seen_ns INTEGER NOT NULL,"
        " status TEXT NOT NULL DEFAULT '{}', status_ns INTEGER NOT NULL DEFAULT 0) STRICT;"

        "CREATE TABLE containers (serial INTEGER PRIMARY KEY AUTOINCREMENT, node TEXT NOT NULL, id TEXT NOT NULL, digest BLOB NOT NULL,"
        " first_seen_ns INTEGER NOT NULL, last_seen_ns INTEGER NOT NULL, ended_ns INTEGER NOT NULL,"
        " name TEXT NOT NULL, image TEXT NOT NULL, image_id TEXT NOT NULL, image_digest TEXT NOT NULL, runtime TEXT NOT NULL,"
        " state TEXT NOT NULL, level TEXT NOT NULL, workload TEXT NOT NULL, application TEXT NOT NULL, outer_id TEXT NOT NULL,"
        " depth INTEGER NOT NULL, labels TEXT NOT NULL, mounts TEXT NOT NULL, networks TEXT NOT NULL, ports TEXT NOT NULL,"
        " cap_add TEXT NOT NULL, cap_drop TEXT NOT NULL, devices TEXT NOT NULL, security_opt TEXT NOT NULL, env_names TEXT NOT NULL,"
        " cgroup_paths TEXT NOT NULL, network_mode TEXT NOT NULL, pid_mode TEXT NOT NULL, ipc_mode TEXT NOT NULL, \"user\" TEXT NOT NULL,"
        " health TEXT NOT NULL, cgroup_parent TEXT NOT NULL, privileged INTEGER NOT NULL, host_network INTEGER NOT NULL,"
        " host_pid INTEGER NOT NULL, host_ipc INTEGER NOT NULL, host_userns INTEGER NOT NULL, readonly_rootfs INTEGER NOT NULL,"
        " oom_killed INTEGER NOT NULL, init_pid INTEGER NOT NULL, created_ns INTEGER NOT NULL, started_ns INTEGER NOT NULL,"
        " finished_ns INTEGER NOT NULL, exit_code INTEGER NOT NULL, restart_count INTEGER NOT NULL, refused INTEGER NOT NULL,"
        " UNIQUE (node, id)) STRICT;"
        "CREATE INDEX containers_id ON containers (id);"
        "CREATE INDEX containers_name ON containers (name);"
        "CREATE INDEX containers_workload ON containers (application, workload, state, node);"
        "CREATE INDEX containers_state ON containers (node, state);"
        "CREATE INDEX containers_ended ON containers (ended_ns);"

        "CREATE TABLE workloads (application TEXT NOT NULL, workload TEXT NOT NULL, first_seen_ns INTEGER NOT NULL,"
        " last_seen_ns INTEGER NOT NULL, observations INTEGER NOT NULL DEFAULT 0, refused INTEGER NOT NULL DEFAULT 0,"
        " PRIMARY KEY (application, workload)) STRICT;"

        /* The key is a hash of what makes a fact: six texts of 4 KiB would make a poor index. */
        "CREATE TABLE observations (id INTEGER PRIMARY KEY AUTOINCREMENT, fact BLOB NOT NULL UNIQUE, received_ns INTEGER NOT NULL,"
        " node TEXT NOT NULL, container_id TEXT NOT NULL, workload TEXT NOT NULL, application TEXT NOT NULL, image_digest TEXT NOT NULL,"
        " kind TEXT NOT NULL, subject TEXT NOT NULL, parent TEXT NOT NULL, count INTEGER NOT NULL, first_ns INTEGER NOT NULL,"
        " last_ns INTEGER NOT NULL) STRICT;"
        "CREATE INDEX observations_workload ON observations (application, workload, id);"
        "CREATE INDEX observations_received ON observations (received_ns);"

        "CREATE TABLE findings (serial INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, received_ns INTEGER NOT NULL,"
        " time_ns INTEGER NOT NULL, rank INTEGER NOT NULL, rule TEXT NOT NULL, priority TEXT NOT NULL, source TEXT NOT NULL,"
        " output TEXT NOT NULL, node TEXT NOT NULL, container_id TEXT NOT NULL, container_name TEXT NOT NULL, workload TEXT NOT NULL,"
        " application TEXT NOT NULL, tags TEXT NOT NULL, fields TEXT NOT NULL, event BLOB NOT NULL) STRICT;"
        "CREATE INDEX findings_time ON findings (time_ns, serial);"
        "CREATE INDEX findings_workload ON findings (application, workload, time_ns);"
        "CREATE INDEX findings_container ON findings (container_id, time_ns);"
        "CREATE INDEX findings_rank ON findings (rank);"

        "CREATE TABLE losses (node TEXT NOT NULL, topic TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL, bytes INTEGER NOT NULL,"
        " times INTEGER NOT NULL, first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL, PRIMARY KEY (node, topic, reason)) STRICT;"

        "CREATE TABLE changes (id INTEGER PRIMARY KEY AUTOINCREMENT, time_ns INTEGER NOT NULL, kind INTEGER NOT NULL, \"key\" TEXT NOT NULL)"
        " STRICT;"

        "CREATE TABLE users (name TEXT NOT NULL PRIMARY KEY, role INTEGER NOT NULL, password TEXT NOT NULL, disabled INTEGER NOT NULL,"
        " must_change INTEGER NOT NULL, created_ns INTEGER NOT NULL, changed_ns INTEGER NOT NULL, last_login_ns INTEGER NOT NULL) STRICT;"

        "CREATE TABLE tokens (id TEXT NOT NULL PRIMARY KEY, hash TEXT NOT NULL UNIQUE,"
        " user_name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE, role INTEGER NOT NULL, name TEXT NOT NULL,"
        " created_ns INTEGER NOT NULL, expires_ns INTEGER NOT NULL, last_used_ns INTEGER NOT NULL, revoked_ns INTEGER NOT NULL) STRICT;"
        "CREATE INDEX tokens_user ON tokens (user_name);"

        "CREATE TABLE sessions (hash TEXT NOT NULL PRIMARY KEY, user_name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,"
        " csrf_hash TEXT NOT NULL, address TEXT NOT NULL, agent TEXT NOT NULL, created_ns INTEGER NOT NULL, last_seen_ns INTEGER NOT NULL,"
        " expires_ns INTEGER NOT NULL) STRICT;"
        "CREATE INDEX sessions_user ON sessions (user_name);"

        "CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, time_ns INTEGER NOT NULL, actor TEXT NOT NULL, role TEXT NOT NULL,"
        " address TEXT NOT NULL, action TEXT NOT NULL, object TEXT NOT NULL, outcome TEXT NOT NULL, detail TEXT NOT NULL,"
        " hash TEXT NOT NULL) STRICT;"
        "CREATE INDEX audit_time ON audit (time_ns);"
        "CREATE TRIGGER audit_is_append_only BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;"

        "CREATE TABLE settings (\"key\" TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT;",

        /* 2: findings of rules, folded; where they are sent. `fold` is empty for those that never fold. */
        "ALTER TABLE findings ADD COLUMN kind TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE findings ADD COLUMN hostname TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE findings ADD COLUMN image TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE findings ADD COLUMN description TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE findings ADD COLUMN advice TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE findings ADD COLUMN container TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE findings ADD COLUMN lineage TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE findings ADD COLUMN count INTEGER NOT NULL DEFAULT 1;"
        "ALTER TABLE findings ADD COLUMN last_ns INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE findings ADD COLUMN fold BLOB NOT NULL DEFAULT x'';"
        "UPDATE findings SET last_ns = time_ns, hostname = node, kind = CASE WHEN source = 'sensor' THEN 'sensor' ELSE 'rule' END;"
        "DROP INDEX findings_time;"
        "CREATE INDEX findings_last ON findings (last_ns, serial);"
        "CREATE INDEX findings_fold ON findings (fold, serial) WHERE length(fold) > 0;"
        "CREATE TABLE outputs (name TEXT NOT NULL PRIMARY KEY, config TEXT NOT NULL, created_ns INTEGER NOT NULL, changed_ns INTEGER NOT NULL) STRICT;",
        /* 3 */
        "CREATE TABLE rule_files (name TEXT NOT NULL PRIMARY KEY, text TEXT NOT NULL, changed_by TEXT NOT NULL, changed_ns INTEGER NOT NULL) STRICT;",
        /* 4: more of a container, and what there is beside containers. `owner` is the scope of what a whole cluster shares, else node and source. */
        "ALTER TABLE containers ADD COLUMN layers TEXT NOT NULL DEFAULT '[]';"
        "ALTER TABLE containers ADD COLUMN created_by TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE containers ADD COLUMN started_by TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE containers ADD COLUMN seccomp TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE containers ADD COLUMN lsm TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE containers ADD COLUMN uts_mode TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE containers ADD COLUMN host_uts INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE containers ADD COLUMN host_cgroupns INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE containers ADD COLUMN no_new_privileges INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE containers ADD COLUMN memory_limit INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE containers ADD COLUMN cpu_limit INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE containers ADD COLUMN pids_limit INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE containers ADD COLUMN restart_policy TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE containers ADD COLUMN command TEXT NOT NULL DEFAULT '[]';"
        "ALTER TABLE containers ADD COLUMN runs TEXT NOT NULL DEFAULT '[]';"
        "ALTER TABLE containers ADD COLUMN capabilities TEXT NOT NULL DEFAULT '[]';"
        "ALTER TABLE containers ADD COLUMN risks TEXT NOT NULL DEFAULT '[]';"
        "ALTER TABLE containers ADD COLUMN health_command TEXT NOT NULL DEFAULT '[]';"
        "ALTER TABLE containers ADD COLUMN net_ns INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE containers ADD COLUMN network_of TEXT NOT NULL DEFAULT '';"
        "CREATE TABLE resources (serial INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL,"
        " digest BLOB NOT NULL, node TEXT NOT NULL, source TEXT NOT NULL, scope TEXT NOT NULL, name TEXT NOT NULL, application TEXT NOT NULL,"
        " labels TEXT NOT NULL, detail TEXT NOT NULL, created_ns INTEGER NOT NULL, updated_ns INTEGER NOT NULL, first_seen_ns INTEGER NOT NULL,"
        " changed_ns INTEGER NOT NULL, UNIQUE (owner, kind, id)) STRICT;"
        "CREATE INDEX resources_kind ON resources (kind, serial);"
        "CREATE INDEX resources_node ON resources (node);"
        "CREATE TABLE resource_scopes (owner TEXT NOT NULL PRIMARY KEY, node TEXT NOT NULL, source TEXT NOT NULL, scope TEXT NOT NULL,"
        " time_ns INTEGER NOT NULL, refused INTEGER NOT NULL) STRICT;",
        /* 5 */
        BH_SCHEMA_FLOWS,
        /* 6: which node called an address its own, the first one first; who says that it is which of a cluster's nodes */
        "CREATE TABLE node_addresses (id INTEGER PRIMARY KEY AUTOINCREMENT, node TEXT NOT NULL, ip BLOB NOT NULL, UNIQUE (node, ip)) STRICT;"
        "CREATE INDEX resources_id ON resources (kind, id);",
        /* 7: findings are counted from indexes alone: their rows have some KiB each */
        "CREATE INDEX findings_count ON findings (last_ns, time_ns, rank, kind, source, node, application, workload, rule);"
        "CREATE INDEX findings_of ON findings (node, container_id, application, workload);",
        /* 8: incidents, the findings that are in them, and what people say of them */
        "CREATE TABLE incidents (id INTEGER PRIMARY KEY, state TEXT NOT NULL, merged_into INTEGER NOT NULL, severity INTEGER NOT NULL, rank INTEGER NOT NULL, tactics INTEGER NOT NULL,"
        " first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL, findings INTEGER NOT NULL, dropped INTEGER NOT NULL, title TEXT NOT NULL, story TEXT NOT NULL, nodes TEXT NOT NULL,"
        " applications TEXT NOT NULL, workloads TEXT NOT NULL, containers TEXT NOT NULL, lines TEXT NOT NULL, assignee TEXT NOT NULL DEFAULT '', verdict TEXT NOT NULL DEFAULT '',"
        " closed_by TEXT NOT NULL DEFAULT '', closed_ns INTEGER NOT NULL DEFAULT 0, opened_ns INTEGER NOT NULL, changed_ns INTEGER NOT NULL) STRICT;"
        "CREATE INDEX incidents_last ON incidents (last_ns, id);"
        "CREATE TABLE incident_findings (serial INTEGER PRIMARY KEY, incident INTEGER NOT NULL) STRICT;"
        "CREATE INDEX incident_findings_of ON incident_findings (incident);"
        "CREATE TABLE incident_notes (id INTEGER PRIMARY KEY AUTOINCREMENT, incident INTEGER NOT NULL, time_ns INTEGER NOT NULL, who TEXT NOT NULL, text TEXT NOT NULL) STRICT;"
        "CREATE INDEX incident_notes_of ON incident_notes (incident);"
        "CREATE TABLE incident_position (one INTEGER PRIMARY KEY, position INTEGER NOT NULL, last INTEGER NOT NULL) STRICT;",
        /* 9 */
        BH_SCHEMA_MODELS,
        /* 10 */
        BH_SCHEMA_EVIDENCE,
        /* 11: the ledger of responses */
        "CREATE TABLE responses (serial INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, action TEXT NOT NULL, state TEXT NOT NULL, node TEXT NOT NULL, container_id TEXT NOT NULL, container_name TEXT NOT NULL,"
        " workload TEXT NOT NULL, application TEXT NOT NULL, actor TEXT NOT NULL, reason TEXT NOT NULL, allow TEXT NOT NULL, deny TEXT NOT NULL, result TEXT NOT NULL, detail TEXT NOT NULL,"
        " until_ns INTEGER NOT NULL, created_ns INTEGER NOT NULL, changed_ns INTEGER NOT NULL, best_effort INTEGER NOT NULL, releasing INTEGER NOT NULL) STRICT;"
        "CREATE INDEX responses_created ON responses (created_ns, serial);"
        "CREATE INDEX responses_open ON responses (node) WHERE state IN ('pending', 'active') OR releasing = 1;",
        /* 12: what responds by itself, and what of the ledger is of one of these, or of one container */
        "CREATE TABLE policies (name TEXT NOT NULL PRIMARY KEY, text TEXT NOT NULL, changed_by TEXT NOT NULL, changed_ns INTEGER NOT NULL) STRICT;"
        "CREATE INDEX responses_actor ON responses (actor, state);"
        "CREATE INDEX responses_container ON responses (container_id, created_ns);",
        /* 13: what is added up of HTTP exchanges, and a way to the parameters of an endpoint */
        "CREATE TABLE http_sums (observation INTEGER PRIMARY KEY REFERENCES observations (id) ON DELETE CASCADE, none INTEGER NOT NULL, s1 INTEGER NOT NULL, s2 INTEGER NOT NULL, s3 INTEGER NOT NULL,"
        " s4 INTEGER NOT NULL, s5 INTEGER NOT NULL, request_bytes INTEGER NOT NULL, response_bytes INTEGER NOT NULL, timed INTEGER NOT NULL, latency_us INTEGER NOT NULL, latency_max_us INTEGER NOT NULL,"
        " beyond INTEGER NOT NULL) STRICT;"
        "CREATE INDEX observations_parameters ON observations (application, workload, subject) WHERE kind = 'parameter';",
        /* 14: a process, or what is scaled */
        "ALTER TABLE responses ADD COLUMN subject TEXT NOT NULL DEFAULT '';",
        /* 15: evidence of open incidents outlasts others', and their findings */
        BH_SCHEMA_EVIDENCE_KEPT,
        /* 16: who asked for a container's end */
        "ALTER TABLE containers ADD COLUMN ended_by TEXT NOT NULL DEFAULT '';",
};

gboolean bh_schema_read_version(BhDb *db, guint *version, GError **error) {
        gint64 v;

        if (!bh_db_get_int(db, &v, NULL, error, "SELECT CAST(value AS INTEGER) FROM meta WHERE \"key\" = 'schema'", ""))
                return FALSE;
        *version = (guint) CLAMP(v, 0, (gint64) G_MAXINT);
        return TRUE;
}

gboolean bh_schema_migrate(BhDb *db, const char *const *steps, guint n, guint *was, GError **error) {
        guint version;

        if (!bh_db_exec(db, "CREATE TABLE IF NOT EXISTS meta (\"key\" TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)", error) ||
            !bh_schema_read_version(db, &version, error))
                return FALSE;
        if (version > n) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_NEWER,
                            "the database %s was written by a newer Bulkhead (its schema is %u, this program knows %u): install that version again, "
                            "or put back a backup from before the upgrade", db->site->path, version, n);
                return FALSE;
        }
        *was = version;
        for (; version < n; version++) {
                g_autofree char *number = g_strdup_printf("%u", version + 1);

                if (!bh_db_begin(db, TRUE, error))
                        return FALSE;
                if (!bh_db_exec(db, steps[version], error) ||
                    !bh_db_run(db, error, "INSERT INTO meta (\"key\", value) VALUES ('schema', ?) ON CONFLICT (\"key\") DO UPDATE SET value = excluded.value",
                               "t", number) ||
                    !bh_db_commit(db, error)) {
                        bh_db_rollback(db);
                        g_prefix_error(error, "cannot bring the database from schema %u to %u: ", version, version + 1);
                        return FALSE;
                }
        }
        return TRUE;
}

gboolean bh_schema_require(BhDb *db, guint n, GError **error) {
        guint version;

        if (!bh_schema_read_version(db, &version, error))
                return FALSE;
        if (version == n)
                return TRUE;
        g_set_error(error, BH_STORE_ERROR, version > n ? BH_STORE_ERROR_NEWER : BH_STORE_ERROR_BUSY,
                    "the database %s is in use by a program of %s version (its schema is %u, this program's is %u): stop that one first",
                    db->site->path, version > n ? "a newer" : "an older", version, n);
        return FALSE;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of the schema with evidence. */
#pragma once

/* Items of nodes' chains, whole in `line`; the rest is read from it. What is known of each chain: where what is kept begins, and items that came twice with different contents. */
#define BH_SCHEMA_EVIDENCE \
        "CREATE TABLE evidence (serial INTEGER PRIMARY KEY AUTOINCREMENT, chain TEXT NOT NULL, seq INTEGER NOT NULL, node TEXT NOT NULL, time_ns INTEGER NOT NULL," \
        " received_ns INTEGER NOT NULL, kind TEXT NOT NULL, container_id TEXT NOT NULL, pid INTEGER NOT NULL, start_ns INTEGER NOT NULL, finding TEXT NOT NULL," \
        " sha256 TEXT NOT NULL, size INTEGER NOT NULL, line TEXT NOT NULL, UNIQUE (chain, seq)) STRICT;" \
        "CREATE INDEX evidence_container ON evidence (container_id, time_ns);" \
        "CREATE INDEX evidence_finding ON evidence (finding);" \
        "CREATE INDEX evidence_object ON evidence (sha256);" \
        "CREATE TABLE evidence_chains (chain TEXT NOT NULL PRIMARY KEY, node TEXT NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, hash TEXT NOT NULL," \
        " next TEXT NOT NULL, conflicts INTEGER NOT NULL, changed_ns INTEGER NOT NULL) STRICT;" \
        "CREATE TABLE evidence_dropped (sha256 TEXT NOT NULL PRIMARY KEY, why TEXT NOT NULL, time_ns INTEGER NOT NULL) STRICT;"

/* Where chains go on after items that went for the bound while older ones stay; findings that are gone themselves, of which evidence is here that belongs to an incident. */
#define BH_SCHEMA_EVIDENCE_KEPT \
        "CREATE TABLE evidence_gaps (chain TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (chain, seq)) STRICT;" \
        "CREATE TABLE evidence_findings (serial INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE) STRICT;"

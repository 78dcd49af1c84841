/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Step 5 of the schema: halves of connections, their time buckets, how far each boot of a node has told of them, listeners. Private to schema.c.
 *
 * A bucket's row is found by its time first: a batch writes to the end of the table, a window reads one range of it, and retention takes its
 * beginning away.
 */
#pragma once

#define BH_SCHEMA_COUNTS \
        " connections INTEGER NOT NULL, refused INTEGER NOT NULL, timed_out INTEGER NOT NULL, unreachable INTEGER NOT NULL," \
        " failed INTEGER NOT NULL, reset INTEGER NOT NULL, bytes_out INTEGER NOT NULL, bytes_in INTEGER NOT NULL," \
        " packets_out INTEGER NOT NULL, packets_in INTEGER NOT NULL, duration_ns INTEGER NOT NULL"

#define BH_SCHEMA_FLOWS \
        "CREATE TABLE flow_halves (id INTEGER PRIMARY KEY AUTOINCREMENT, \"key\" BLOB NOT NULL UNIQUE, node TEXT NOT NULL," \
        " container_id TEXT NOT NULL, exe TEXT NOT NULL, role INTEGER NOT NULL, proto INTEGER NOT NULL, port INTEGER NOT NULL," \
        " path TEXT NOT NULL, peer_ip BLOB NOT NULL, dialled_ip BLOB NOT NULL, dialled_port INTEGER NOT NULL," \
        " peer_container_id TEXT NOT NULL, peer_name TEXT NOT NULL, peer_is_host INTEGER NOT NULL, local_ip BLOB NOT NULL," \
        " peer_exe TEXT NOT NULL, network_id TEXT NOT NULL, protocol TEXT NOT NULL, server_name TEXT NOT NULL, ports INTEGER NOT NULL," \
        " addresses INTEGER NOT NULL, port_samples TEXT NOT NULL, first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL," \
        " open INTEGER NOT NULL, half_open INTEGER NOT NULL, ahead_bytes_out INTEGER NOT NULL, ahead_bytes_in INTEGER NOT NULL," \
        " ahead_packets_out INTEGER NOT NULL, ahead_packets_in INTEGER NOT NULL," BH_SCHEMA_COUNTS ") STRICT;" \
        "CREATE INDEX flow_halves_of ON flow_halves (node, container_id);" \
        "CREATE TABLE flow_buckets (width INTEGER NOT NULL, start INTEGER NOT NULL, half INTEGER NOT NULL," BH_SCHEMA_COUNTS \
        ", PRIMARY KEY (width, start, half)) STRICT, WITHOUT ROWID;" \
        "CREATE TABLE flow_positions (node TEXT NOT NULL, boot_id TEXT NOT NULL, through INTEGER NOT NULL, seen_ns INTEGER NOT NULL," \
        " rest_connections INTEGER NOT NULL, rest_bytes INTEGER NOT NULL, PRIMARY KEY (node, boot_id)) STRICT;" \
        "CREATE TABLE listeners (id INTEGER PRIMARY KEY AUTOINCREMENT, node TEXT NOT NULL, container_id TEXT NOT NULL, exe TEXT NOT NULL," \
        " pid INTEGER NOT NULL, proto INTEGER NOT NULL, ip BLOB NOT NULL, port INTEGER NOT NULL, path TEXT NOT NULL," \
        " started_ns INTEGER NOT NULL, first_ns INTEGER NOT NULL, net_ns INTEGER NOT NULL) STRICT;" \
        "CREATE INDEX listeners_of ON listeners (node, container_id);"

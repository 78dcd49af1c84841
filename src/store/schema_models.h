/* SPDX-License-Identifier: Apache-2.0 */
/* The step of the schema with behaviour models. */
#pragma once

/* More of an observation; models as bytes that src/model reads; when all of them were stored last. */
#define BH_SCHEMA_MODELS \
        "ALTER TABLE observations ADD COLUMN detail TEXT NOT NULL DEFAULT '';" \
        "ALTER TABLE observations ADD COLUMN uid INTEGER NOT NULL DEFAULT 0;" \
        "ALTER TABLE observations ADD COLUMN example TEXT NOT NULL DEFAULT '';" \
        "ALTER TABLE observations ADD COLUMN suspicious INTEGER NOT NULL DEFAULT 0;" \
        "ALTER TABLE observations ADD COLUMN why TEXT NOT NULL DEFAULT '';" \
        "CREATE TABLE models (application TEXT NOT NULL, workload TEXT NOT NULL, changed_ns INTEGER NOT NULL, model BLOB NOT NULL," \
        " PRIMARY KEY (application, workload)) STRICT;"

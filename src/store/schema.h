/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's tables, as numbered migrations. Private to src/store and its tests.
 *
 * A step's text never changes once it is released: a database of version N has been through exactly steps 1 to N. The version is kept in the
 * table "meta", which every version has.
 */
#pragma once
#include "store/db.h"

#define BH_SCHEMA_VERSION 16u

extern const char *const bh_schema_steps[BH_SCHEMA_VERSION];

/* 0 for a database without tables. */
gboolean bh_schema_read_version(BhDb *db, guint *version, GError **error);

/*
 * Brings the database to version `n` of `steps` (bh_schema_steps, BH_SCHEMA_VERSION but for tests), each step in a transaction of its
 * own. *was receives the version found. BH_STORE_ERROR_NEWER when that is above n: then nothing is written.
 */
gboolean bh_schema_migrate(BhDb *db, const char *const *steps, guint n, guint *was, GError **error);

/* Fails unless the database is of version `n`: for a process that may not migrate, because others have it open. */
gboolean bh_schema_require(BhDb *db, guint n, GError **error);

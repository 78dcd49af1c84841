/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A YAML file as a tree of JSON, for the conformance cases: plain scalars null, true, false and whole numbers have their type, all else is text.
 * A key that stands twice in one mapping is an error, since one of the two would never be looked at.
 */
#pragma once
#include <glib.h>
#include <jansson.h>

/* The caller's reference; NULL with an error that says file:line. */
json_t *bh_cases_read(const char *path, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the findings of an incident know beyond its timeline. At most one finding for each of its lines (BH_INCIDENT_LINES_MAX) is read, and nothing is kept. Any thread.
 */
#pragma once
#include "store/store.h"

/*
 * Appends members to an object of JSON (json_out.h): "processes" (a forest: each names its parent by pid and start), "files", "flows", "credentials" (files of credential access), "missing": lines whose finding is not
 * kept any more. `lines`: the row's.
 */
void bh_incident_detail(BhStore *s, GString *out, const char *lines);

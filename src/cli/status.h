/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of `bulkhead status`, for a sensor's own and for the central's. */
#pragma once
#include "api.h"

/* Prints the central, and each node as its sensor told it; or one JSON object of it all. The exit status. */
int bh_status_of_central(BhApi *api, gboolean json);

/* "! sentence" each. */
void bh_status_print_problems(GPtrArray *problems);
/* Everything of a sensor's status but its problems. */
void bh_status_print_sensor(const json_t *status);
/* One line; indented for a terminal. */
void bh_status_print_json(const json_t *status);

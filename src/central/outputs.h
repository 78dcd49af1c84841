/* SPDX-License-Identifier: Apache-2.0 */
/* Where alerts go, for the API's other parts. Any thread. */
#pragma once
#include "central.h"

/* "outputs": {"count", "running", "queued", "lost", "failing": [{"name", "problem"}]}, for the status. */
void bh_outputs_append_json(BhCentral *c, GString *out);
void bh_outputs_append_metrics(BhCentral *c, GString *out);

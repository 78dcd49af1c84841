/* SPDX-License-Identifier: Apache-2.0 */
/* /metrics: Prometheus's text form. Any thread that may ask the store. */
#pragma once
#include "central.h"

void bh_metrics_append(BhCentral *c, GString *out);

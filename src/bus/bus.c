/* SPDX-License-Identifier: Apache-2.0 */
#include "bus/bus.h"

G_DEFINE_QUARK(bh-bus-error-quark, bh_bus_error)

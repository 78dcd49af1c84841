/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store.h"

#include "store/store_access.h"
#include "store/store_inventory.h"

G_DEFINE_QUARK(bh-store-error-quark, bh_store_error)

/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the vault: its key on disk (vault_state.c). */
#pragma once
#include "evidence/vault.h"

/* FALSE: there is no valid key. `generation` rises with each that is written. */
gboolean bh_vault_key_read(int fd, BhEvidenceKey *out, guint64 *generation);
/* The new one is on disk before the old one is overwritten, and that is on disk when this returns. FALSE with errno. */
gboolean bh_vault_key_write(int fd, const BhEvidenceKey *k, guint64 *generation);

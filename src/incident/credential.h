/* SPDX-License-Identifier: Apache-2.0 */
/* What kind of secret a file is, by its path, and which services it opens (credential.tbl.h). Pure; texts are static. */
#pragma once
#include <glib.h>

typedef enum {
        BH_CREDENTIAL_NONE,
#define BH_CREDENTIAL(id, title, paths, ports) BH_CREDENTIAL_##id,
#include "incident/credential.tbl.h"
        BH_CREDENTIALS
} BhCredential;

/* NONE: it is no secret that one reaches another container with. Public halves of keys are none. */
BhCredential bh_credential_of_path(const char *path);
gboolean bh_credential_opens(BhCredential c, guint port);
/* Whether any does. */
gboolean bh_credential_is_asked_for(guint port);
/* "SSH key"; "" for NONE. */
const char *bh_credential_title(BhCredential c);

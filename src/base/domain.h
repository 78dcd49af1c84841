/* SPDX-License-Identifier: Apache-2.0 */
/* Whose a DNS name is. */
#pragma once
#include <glib.h>

#define BH_DOMAIN_MAX 128u

/*
 * The registered domain of a name of `len` bytes, in lower case: its last two labels, three where the second-last is one like "co" in "co.uk"; "" for names that do not leave the site or have none, and where it is
 * longer than BH_DOMAIN_MAX bytes. A dot behind a backslash is no end of a label.
 */
void bh_domain_of(const char *name, gsize len, char domain[BH_DOMAIN_MAX + 1]);

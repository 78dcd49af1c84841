/* SPDX-License-Identifier: Apache-2.0 */
/* The host's ends of a container's interfaces, found and filtered by rtnetlink. Part of enforce.h. */
#pragma once
#include <glib.h>

#include "enforce_pin.h"

/* GArray of guint: interfaces of this network namespace whose peers are in that of `netns_fd`. NULL with *error. */
GArray *bh_links_into(int netns_fd, GError **error);
/* Both directions of an interface go through these programs. `slot` (not 0): whose they are, beside those of other sensors. *made: there was no place for filters, and it was made. FALSE with *error: one may be there. */
gboolean bh_link_filter(guint index, guint32 slot, int from_fd, int to_fd, gboolean *made, GError **error);
/* `made`: the place goes, too, unless somebody else has a filter in it by now. An interface that is gone is no error. */
void bh_link_unfilter(guint index, guint32 slot, gboolean made);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Acts that no model learns by itself, at any time: what an attacker does first, and what would make the rest of an attack look normal once it was learned. Told by
 * the node, as it alone sees the event (Observation.suspicious). A person may accept such an item afterwards.
 *
 *     a program that is not in the image, or only in memory, is run; one in a place where anybody may write
 *     a shell is started by a server
 *     namespaces are entered, file systems mounted, the root changed; another process is attached to or written into; BPF, modules, another kernel are loaded
 *     secrets are read by what does not check passwords
 *
 * What the runtime does to set a container up, from within its cgroup, is none of these: bh_never_runtime().
 *
 * Pure, thread-safe. The event is foreign: any field may be missing or hold any bytes.
 */
#pragma once
#include "event/event.h"

/* Why, a static text of a few words ("a program that is not in the image"); NULL: it may be learned. */
const char *bh_never_learn(const struct bh_event *e);

/* The runtime itself, which acts inside a container's cgroup before there is a container to speak of. */
gboolean bh_never_runtime(const struct bh_event *e);

/* By name of the file: sh, bash, dash, …; busybox is one when it was called by such a name. */
gboolean bh_never_is_shell(const char *exe, gsize len);
/* Programs that serve others: nginx, postgres, node, … */
gboolean bh_never_is_server(const char *exe, gsize len);

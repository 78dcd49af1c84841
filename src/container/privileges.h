/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container may do on its host: the capabilities that it ends up with, and sentences for people about what gives a way out of it.
 *
 * Pure functions over a container that nobody has published yet; no threads, no failure. Names in sentences are foreign (paths, device names).
 */
#pragma once
#include "container/container.h"

#define BH_CAPABILITIES 41u /* that Linux 6.12 knows: capabilities(7) */

/* "CAP_CHOWN" for 0, …; NULL beyond the last one known. */
const char *bh_capability_name(guint number);

/*
 * The capabilities that Docker gives: its default set without what is dropped and with what is added; "ALL" in either list; everything when privileged.
 * Names may be given with or without "CAP_", in either case; one that is not known is left out.
 */
void bh_container_docker_capabilities(BhContainer *c);

/* Names, in whatever form, as a container's `capabilities`. */
void bh_container_set_capabilities(BhContainer *c, const char *const *names);

/* Derives c->risks from everything else. Each sentence once, at most BH_CONTAINER_MAX_RISKS. bh_container_finish() calls it. */
void bh_container_assess(BhContainer *c);

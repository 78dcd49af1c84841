/* SPDX-License-Identifier: Apache-2.0 */
/* The node itself as a resource: by which addresses it is reached. Reads the kernel's interfaces; keeps nothing; thread-safe. */
#pragma once
#include "container/resource.h"

/*
 * Source "host", scope "node": one resource "node" with the addresses of the interfaces of this process's network namespace, without loopback and
 * link-local ones. NULL where that is not the host's (`proc_path`/1 is in another), or cannot be told.
 */
BhResourceSet *bh_host_set(const char *node, const char *proc_path);

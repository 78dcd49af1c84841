/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an OCI runtime specification (config.json: https://github.com/opencontainers/runtime-spec) says of a container. Pure functions over parsed JSON;
 * thread-safe; hostile input: members of the wrong type count as absent, what is over a container's bounds is left out and counted.
 */
#pragma once
#include <jansson.h>

#include "container/container.h"

#define BH_OCI_MAX_TEXT (4u << 20) /* of a specification's text */

/* A parsed specification; also makes its NULs visible. `data` is changed in place. NULL with *error: no JSON object, or over BH_OCI_MAX_TEXT. */
json_t *bh_oci_load(char *data, gsize len, GError **error);

/*
 * Fills in command, user, names of variables, mounts, capabilities, namespaces, limits, seccomp, LSM, devices, cgroup path, and what annotations tell of pods.
 * An OCI specification knows neither names of profiles (seccomp is "filter" or "unconfined") nor "privileged": that is concluded from every device and
 * CAP_SYS_ADMIN. Does not finish the container.
 */
void bh_oci_apply(BhContainer *c, const json_t *spec);

/* Value of an annotation, NULL if there is none. */
const char *bh_oci_annotation(const json_t *spec, const char *key);

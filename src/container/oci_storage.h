/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What containers/storage keeps on disk of a container of podman, CRI-O or buildah (https://github.com/containers/storage): name, image, the image's digest and
 * layers, and the container's specification.
 *
 * A storage has a place for each of its drivers: DRIVER-containers/containers.json, with volatile-containers.json beside it for those that need not outlive a reboot (all of CRI-O's, podman's with
 * --rm), DRIVER-containers/ID/userdata/config.json, DRIVER-images/images.json and DRIVER-images/IMAGE/=BASE64 with the image's configuration. It is looked for where the container's bundle is, and
 * at the places that root's podman and CRI-O have by default. Files count under the rules of oci_state.h. Reads files; thread-safe.
 */
#pragma once
#include <jansson.h>

#include "container/container.h"

/* JSON of a regular file of root's that is no link and has at most `max` bytes; NULL otherwise. */
json_t *bh_oci_read_json(const char *path, gsize max);

/* The specification of container `id`; NULL: there is none. `prefix` is the host's root, "" for "/". `bundle` may be "". */
json_t *bh_oci_storage_spec(const char *prefix, const char *bundle, const char *id);

/* Fills in name, image, image_id, image_digest, layers and created_ns, as far as a storage knows them; others stay as they are. TRUE if one has the container. */
gboolean bh_oci_storage_describe(const char *prefix, const char *bundle, BhContainer *c);

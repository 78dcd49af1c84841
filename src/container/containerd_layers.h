/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way from an image's digest to its layers through containerd's content store, as bytes: an index names manifests by platform, a manifest its configuration, a configuration
 * the digests of the layers' files (https://github.com/opencontainers/image-spec). Untrusted bytes in, our types out. Pure; thread-safe.
 */
#pragma once
#include <glib.h>

#define BH_CONTAINERD_BLOB_MAX (4u << 20)
#define BH_CONTAINERD_BLOBS 4u /* from an image to its layers: indexes, manifest, configuration */

/* The data of the messages of an answer to Content/Read, which comes in pieces; `body` is as bh_grpc_take() takes it. NULL: no such answer, nothing in it, or more than BH_CONTAINERD_BLOB_MAX. */
GByteArray *bh_containerd_content(const guint8 *body, gsize len);

/*
 * What a blob leads to: *next is the digest to read (an index's manifest for linux and `architecture`, a manifest's configuration), or *layers the layers, the lowest first; the other is NULL.
 * FALSE: neither. `text` is changed in place. The caller frees.
 */
gboolean bh_containerd_blob(char *text, gsize len, const char *architecture, char **next, char ***layers);

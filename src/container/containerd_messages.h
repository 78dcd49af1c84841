/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of containerd's gRPC interface, decoded: untrusted bytes in, our types out, in memory bounded by the bytes that came. Pure; thread-safe.
 *
 * Texts are made valid UTF-8 and end at the first NUL. Elements without a usable id are left out and counted in *bad. NULL or FALSE for bytes that are
 * no such message.
 */
#pragma once
#include "container/resource.h"

/* Version/Version: what it calls itself; caller frees. */
char *bh_containerd_version(const guint8 *data, gsize len);

/* Namespaces/List: NULL-terminated, at most 256. Caller frees (g_strfreev). */
char **bh_containerd_namespaces(const guint8 *data, gsize len);

/*
 * Containers/List, or with `single` Containers/Get: BhContainer * at level BH_CONTAINER_FULL, state created (tasks tell the rest), finished; owned by the
 * array.
 */
GPtrArray *bh_containerd_containers(const guint8 *data, gsize len, const char *namespace, gboolean single, guint *bad);

typedef struct {
        char *id;
        gint32 pid;
        BhContainerState state;
        gint32 exit_code;
        gint64 exited_ns;
} BhContainerdTask;

/* Tasks/List: BhContainerdTask, owned by the array. */
GArray *bh_containerd_tasks(const guint8 *data, gsize len, guint *bad);

/* Images/List: BhResource * of kind "image", id = digest, name = the image's; owned by the array. */
GPtrArray *bh_containerd_images(const guint8 *data, gsize len, const char *namespace, guint *bad);

/* One message of Content/Read: appends its data. FALSE: no such message, or `out` would have more than `max` bytes. */
gboolean bh_containerd_content_piece(const guint8 *data, gsize len, gsize max, GByteArray *out);

typedef struct {
        gint64 time_ns;
        char *namespace, *topic; /* "/tasks/exit" */
        char *id, *exec_id, *image; /* of the container, "" where the topic has none */
        gint32 pid, exit_code;
        gint64 exited_ns;
} BhContainerdEvent;

/* One Envelope of Events/Subscribe. */
BhContainerdEvent *bh_containerd_event(const guint8 *data, gsize len);
void bh_containerd_event_free(BhContainerdEvent *ev);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhContainerdEvent, bh_containerd_event_free)

/* "repository@sha256:…" of an image's name and digest; caller frees. */
char *bh_containerd_digest_of(const char *image, const char *digest);

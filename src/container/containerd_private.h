/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of containerd's client, shared by its files: containerd.c (thread, connection, answers), containerd_known.c (listings, events, and what is
 * known of each container because of them), containerd_layers.c (layers of images). Everything here belongs to the client's thread, but for what is marked otherwise.
 */
#pragma once
#include "container/containerd.h"
#include "container/containerd_layers.h"
#include "container/containerd_messages.h"
#include "container/grpc.h"

#define SECOND_US G_USEC_PER_SEC
#define BACKOFF_FIRST_US (SECOND_US / 10)
#define BACKOFF_MAX_US (5 * SECOND_US)
#define CALL_TIMEOUT_MS 30000
#define ERRORS_KEPT 512u

typedef enum { CALL_VERSION, CALL_SUBSCRIBE, CALL_NAMESPACES, CALL_CONTAINERS, CALL_TASKS, CALL_IMAGES, CALL_GET, CALL_CONTENT } CallKind;
typedef enum { DOWN, VERSION, UP } Phase;

typedef struct {
        BhContainer *c; /* best known: published last */
        char *namespace;
        gint64 touched_us; /* when an event was told of it last: an older listing knows less */
        gboolean listed, tasked; /* met in the listing under way */
} Known;

struct BhContainerd {
        BhContainerdConfig config;
        char *socket_path, **skip;
        GThread *thread;
        BhGrpc *grpc;
        gint stop; /* atomic */
        GMutex stats_lock;
        BhContainerdStats stats;

        /* the rest is the thread's */
        Phase phase;
        char *version, *error, **namespaces;
        gboolean absent, listed, ever_listed;
        BhGrpcCall *stream;
        gint64 retry_at_us, backoff_us, list_at_us, listing_since_us;
        gboolean listing;
        GHashTable *known; /* id → Known */
        GQueue to_list;    /* names of namespaces, of the listing under way */
        GHashTable *digests; /* "namespace image" → digest */
        GHashTable *layers;  /* digest of an image → its layers; NULL: asked for, or they cannot be had */
        GQueue to_read;      /* blobs that wait to be */
        guint reading;       /* and those that are */
        GPtrArray *images;   /* BhResource, of the listing under way */
        BhResourceSet *set;  /* told last */
};

#define COUNT(d, field)                           \
        do {                                      \
                g_mutex_lock(&(d)->stats_lock);   \
                (d)->stats.field++;               \
                g_mutex_unlock(&(d)->stats_lock); \
        } while (0)

/* containerd.c */
void bh_containerd_tell_state(BhContainerd *d);
gboolean bh_containerd_skipped(const BhContainerd *d, const char *namespace);
BhGrpcCall *bh_containerd_ask(BhContainerd *d, CallKind kind, const char *target, const char *namespace, const void *message, gsize len);
/* The same with a message that has one text, of at most 127 bytes, as its first field. */
void bh_containerd_ask_for(BhContainerd *d, CallKind kind, const char *target, const char *namespace, const char *text);
/* `why` NULL: it is just not there. */
void bh_containerd_disconnect(BhContainerd *d, const char *why, gboolean absent);

/* containerd_known.c */
/* Takes the reference to c. */
void bh_containerd_publish(BhContainerd *d, Known *k, BhContainer *c);
void bh_containerd_list_soon(BhContainerd *d, gint64 delay_us);
void bh_containerd_start_listing(BhContainerd *d, gint64 now);
/* A container as it is described now, with what only events and tasks tell kept. */
void bh_containerd_take_described(BhContainerd *d, Known *k, BhContainer *c);
void bh_containerd_containers_listed(BhContainerd *d, const char *namespace, GPtrArray *list);
void bh_containerd_tasks_listed(BhContainerd *d, const char *namespace, GArray *tasks);
/* The next namespace, or the end of the listing: what it did not have is gone. */
void bh_containerd_list_next(BhContainerd *d);
/* Consumes the whole events of the stream. */
void bh_containerd_read_events(BhContainerd *d);

/* containerd_layers.c */
/* Those of its image, if they are known; if not, they are asked for, and the container is published again when they come. */
void bh_containerd_set_layers(BhContainerd *d, const char *namespace, BhContainer *c);
void bh_containerd_take_blob(BhContainerd *d, const BhGrpcCall *call, gboolean ok);
/* The connection is gone: what it did not bring is to be asked for anew. */
void bh_containerd_forget_reading(BhContainerd *d);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the Docker client, shared by its files: docker.c (thread, connection, public functions), docker_events.c (the event
 * stream), docker_answers.c (all other answers), docker_told.c
 * (what is concluded after a gap), docker_gather.c (resources). Everything here belongs to the client's thread, but for what is marked otherwise.
 */
#pragma once
#include <string.h>

#include "container/docker.h"
#include "container/docker_http.h"
#include "container/docker_json.h"
#include "container/docker_things.h"

#define SECOND_US G_USEC_PER_SEC
#define BACKOFF_FIRST_US (SECOND_US / 10)
#define BACKOFF_MAX_US (5 * SECOND_US)
#define INSPECT_TIMEOUT_MS 60000 /* an inspect waits for the container's lock, which a start holds */
#define INSPECT_TRIES 3
#define LIST_TIMEOUT_MS 60000
#define SHORT_TIMEOUT_MS 10000
#define EXEC_TRIES 10 /* 5 ms, doubling: five seconds in all */
#define EXEC_STALE_US (60 * SECOND_US)
#define GONE_GRACE_US SECOND_US /* how long a container missing from a listing may still have its destroy event come */
#define RESYNC_DELAY_US SECOND_US
#define IDLE_US (10 * SECOND_US)
#define PING_TIMEOUT_MS 5000
#define PING_TRIES 2
#define REPLAY_KEYS 4096
#define DIGEST_CACHE 4096

typedef enum { REQ_VERSION, REQ_STREAM, REQ_BACKLOG, REQ_LIST, REQ_INSPECT, REQ_EXEC, REQ_IMAGE, REQ_PING, REQ_INFO, REQ_THING, REQ_NETWORK } RequestKind;

typedef enum {
        DOWN,    /* waits for retry_at */
        VERSION, /* asks for the version */
        OPENING, /* the event stream is asked for, its head not here yet */
        BACKLOG, /* reads what the engine remembers of the gap */
        LISTING, /* waits for the list */
        UP,
} Phase;

/* Acts of a container's life that events tell. */
enum { ACT_CREATE = 1, ACT_START = 2, ACT_DIE = 4, ACT_PAUSE = 8, ACT_OOM = 16 };

typedef struct {
        BhContainer *c;    /* best known: the last one published */
        BhContainer *told; /* name, state, start, oom as events told them, or a listing before there were any; NULL: nothing told yet */
        gint64 told_ns;    /* time of the last event, 0 = none */
        gint64 start_concluded_ns, die_concluded_ns; /* concluded: its own event, if it still comes, is dated before this; 0 = not */
        unsigned heard;            /* ACT_… of the engine's own events */
        gboolean create_concluded;
        gboolean ungrounded;       /* first met by something else than its creation: `told` waits for the first inspect */
        gint64 first_seen_us, gone_at_us; /* gone_at_us 0 = not missing */
        guint tries;
        gboolean queued, inflight;
        gboolean again;   /* an event came while the inspect ran: its answer may be the older news */
        gboolean check;   /* the next inspect is to be compared: what happened in the gap? */
        gboolean fresh;   /* first met after a gap, its creation not told yet */
        gboolean removed; /* destroyed; goes when its inspect ends */
} Known;

typedef struct {
        char *container_id, *command;
        gint64 next_at_us, created_us;
        guint tries;
        gint32 pid;
        gboolean started, ended, inflight;
} Exec;

typedef struct {
        char *digest;
        char **layers;
} Image;

struct BhDocker {
        BhDockerConfig config;
        char *socket_path;
        GThread *thread;
        BhDockerHttp *http;
        gint stop; /* atomic */
        GMutex stats_lock;
        BhDockerStats stats;

        /* the rest is the thread's */
        Phase phase;
        BhDockerVersion version;
        char api[16];
        char *error;
        gboolean listed, ever_connected, not_answering;
        guint pings_failed;
        gsize max_line;     /* BH_DOCKER_MAX_EVENT_LINE; tests of the rebuilding of events lower it */
        char *skipped_line; /* beginning of a line over the bound whose end is not here yet */
        BhDockerRequest *stream;
        gint64 retry_at_us, backoff_us, resync_at_us, last_traffic_us;
        gint64 last_event_ns; /* 0 = none yet */
        gint64 first_connect_ns, replay_until_ns, cutoff_ns;
        guint active;    /* requests besides the stream */
        guint unchecked; /* containers of the last listing not inspected yet */
        guint missing;   /* Known with gone_at_us */
        GHashTable *known;   /* id → Known */
        GHashTable *execs;   /* exec id → Exec */
        GHashTable *images;  /* image id → Image */
        GHashTable *asked;   /* image ids being asked for */
        GQueue jobs;         /* ids to inspect */
        GHashTable *replayed; /* keys of events that a replay may send again */
        GQueue replay_order;

        /* resources */
        BhDockerInfo info; /* of the last answer; survives a reconnection until the next one */
        BhDockerThings things; /* of the gathering under way */
        gboolean gathering;
        guint thing;           /* asked for now */
        GQueue networks;       /* ids to inspect */
        guint settling;        /* times in a row that it was looked again because of tasks on their way */
        gint64 gather_at_us, gathered_us; /* when to begin; when it began last. 0 = not yet */
        BhResourceSet *node_set, *swarm_set; /* told last */
};

#define COUNT(d, field)                            \
        do {                                       \
                g_mutex_lock(&(d)->stats_lock);    \
                (d)->stats.field++;                \
                g_mutex_unlock(&(d)->stats_lock);  \
        } while (0)

static inline gint64 wall_ns(void) {
        return g_get_real_time() * 1000;
}

static inline void earlier(gint64 *wake, gint64 at) {
        if (at && at < *wake)
                *wake = at;
}

/* docker.c */
void bh_docker_tell_state(BhDocker *d);
/* NULL: none. Does not tell. */
void bh_docker_set_error(BhDocker *d, const char *text);
BhDockerRequest *bh_docker_ask(BhDocker *d, RequestKind kind, const char *target, const char *path, long timeout_ms);

/* docker_events.c */
/* Takes the reference to c. */
void bh_docker_publish(BhDocker *d, Known *k, BhContainer *c);
void bh_docker_deliver(BhDocker *d, BhRuntimeEvent *ev);
void bh_docker_want_inspect(BhDocker *d, const char *id, Known *k);
/* NULL, counted, when there are too many. */
Known *bh_docker_add_known(BhDocker *d, const char *id);
/* The comparison after a listing is over for this container. */
void bh_docker_checked(BhDocker *d, Known *k);
void bh_docker_not_missing(BhDocker *d, Known *k);
/* The container is destroyed; k may be freed. */
void bh_docker_forget(BhDocker *d, const char *id, Known *k);
/* Consumes the whole lines of a body. A line over the bound is skipped to its end; *skipped keeps its beginning meanwhile. */
void bh_docker_event_lines(BhDocker *d, BhDockerRequest *r, char **skipped);

/* docker_told.c */
/* The first listing of all: what it says is not news. */
void bh_docker_listed_first(Known *k);
/* Delivers an event of a known container and remembers that. */
void bh_docker_tell(BhDocker *d, Known *k, BhRuntimeEvent *ev);
/* TRUE for an event that only repeats what was concluded. */
gboolean bh_docker_concluded_already(Known *k, const BhRuntimeEvent *ev);
/* k->c is as good as it gets: tells what events should have, if there was a gap. */
void bh_docker_conclude(BhDocker *d, Known *k);
/* It is destroyed: tells its death if no event has. */
void bh_docker_conclude_end(BhDocker *d, Known *k);

/* docker_answers.c */
void bh_docker_list_answer(BhDocker *d, BhDockerRequest *r, CURLcode result);
void bh_docker_inspect_answer(BhDocker *d, BhDockerRequest *r, CURLcode result);
void bh_docker_exec_answer(BhDocker *d, BhDockerRequest *r, CURLcode result);
void bh_docker_image_answer(BhDocker *d, BhDockerRequest *r, CURLcode result);

/* docker_gather.c */
/* Something changed: look soon, but not more often than is allowed. */
void bh_docker_gather_soon(BhDocker *d);
/* Asks what is to be asked; to be called in each round while the stream is open. */
void bh_docker_gather_run(BhDocker *d, gint64 now, gint64 *wake);
void bh_docker_gather_answer(BhDocker *d, BhDockerRequest *r, CURLcode result);
/* The connection is gone: the gathering under way is void. What was told stays. */
void bh_docker_gather_reset(BhDocker *d);

/* Containers that a listing no longer had and whose destroy event did not come either. */
void bh_docker_run_missing(BhDocker *d, gint64 now, gint64 *wake);

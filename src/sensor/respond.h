/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's side of responses: carries out orders (response/response.h) on its own containers, keeps those that go on, ends them when their time is over, and
 * takes them up again after a restart, also without the central.
 *
 * Each response that goes on is a file in `dir`, written and synced before the kernel is told and removed after it was told to stop: whoever is killed when, the successor does what the files
 * say. Ended ones stay as files, the last BH_RESPOND_ENDED, so that a central that was away learns of them. What they touch in the kernel: enforce.h.
 *
 * Several responses may hold one container. It is isolated while one isolates, with the allow list of the newest; refused are the peers of all that block; frozen while one freezes; one alone leads to a decoy. A container
 * that is started again is held again, at the latest BH_RESPOND_TICK_MS after it has its cgroup.
 *
 * Processes that left the container's control group are brought back into it by what isolates and freezes, and killed by what kills (respond_strays.c).
 *
 * Single processes and trees of them are killed by name (respond_process.c); workloads are scaled to zero and back through a Docker Engine (respond_scale.c), which nothing in the kernel is for.
 *
 * Never done to: the host; the sensor's own container; containers with the label bulkhead.protected=true, and those of the namespaces kube-system and kube-node-lease.
 *
 * Any thread may call; orders are carried out one at a time. A thread ("bh-respond") looks after time; it never waits for an engine, which "bh-scale" does for what is scaled back by itself.
 */
#pragma once
#include <jansson.h>

#include "container/table.h"
#include "response/response.h"

#define BH_RESPOND_TICK_MS 100u
#define BH_RESPOND_ENDED 256u
#define BH_RESPOND_HELD 256u /* that go on */

/* A process: its number, and when it began (CLOCK_BOOTTIME ns). */
typedef struct {
        gint pid;
        guint64 start;
        gint64 started_ns; /* as events tell it: the name's other half (response/response.h) */
        char comm[16];
} BhStray;

/* Ends as texts, "10.0.0.9:6379". */
typedef struct {
        char asked[56], to[56], from[56]; /* whom it asked for; the decoy; the container's own end */
        gint64 time_ns;
        guint32 pid, uid;
        char comm[17];
} BhLedConnection;

typedef struct {
        const char *dir;        /* of the files */
        const char *pin_dir;    /* see bh_enforce_open() */
        const char *acts_dir;   /* see bh_block_open() */
        const char *v2_mount;   /* NULL: there is none, and nothing that holds a container is possible */
        const char *proc_path, *docker_socket; /* docker_socket NULL: no engine is asked */
        guint stopping_ms; /* for tests: what respond_scale.c has as STOPPING_MS; 0: that */
        const char *names_problem; /* why DNS is not read here; NULL: it is. Static */
        BhContainerTable *containers;
        /* Something about the sensor, as its event: action, sentence, one attribute. Any thread. */
        void (*say)(const char *action, const char *message, const char *key, const char *value, gpointer data);
        /* New array of BhStray: who is in this container, or came from it, wherever it is now. May wait. NULL: nobody knows. */
        GArray *(*strays)(const char *container, gpointer data);
        /*
         * The same of one process of it, which may live no more; `tree`: and of all that descend from it, whoever their parent is now, and are the container's. Those that live; an unset
         * started_ns is whatever process has the number. *known: it is, or was, the container's. May wait. NULL: nobody knows.
         */
        GArray *(*tree)(const char *container, const BhProcessName *name, gboolean tree, gboolean *known, gpointer data);
        /* A connection of this container's was led, by this response. The thread of responses; may be NULL. */
        void (*led)(const char *response, const char *container, const BhLedConnection *led, gpointer data);
        gpointer data;
} BhRespondConfig;

struct bh_event;
typedef struct BhRespond BhRespond;

/* Reads the files. Strings are copied. NULL with *error: the directory cannot be used. */
BhRespond *bh_respond_new(const BhRespondConfig *config, GError **error);
/* Holds again what is held, and starts the thread; once the containers are known. */
void bh_respond_start(BhRespond *r);
/* What is held stays held. NULL is allowed. */
void bh_respond_free(BhRespond *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhRespond, bh_respond_free)

typedef struct {
        const char *id, *action, *container, *reason, *actor;
        const char *subject; /* see response/response.h; NULL: none */
        const char *const *allow, *const *deny;
        gsize n_allow, n_deny;
        gint64 until_ns;
        gboolean dry_run, best_effort, release;
        gboolean give_up; /* with release, scaled to zero: it ends also where it cannot be scaled back */
} BhOrder;

/* Does it, and tells what came of it: {"id","state","result","detail","time_ns","container"}. New reference, never NULL. */
json_t *bh_respond_order(BhRespond *r, const BhOrder *order);
/* All in the ledger, in that form. New reference. */
json_t *bh_respond_list(BhRespond *r);
/* For the status: what is held, what was done, and what this node can guarantee. */
json_t *bh_respond_status(BhRespond *r);

/* Each dns event, completed; the drain thread, which never waits for responses. */
void bh_respond_dns(BhRespond *r, const struct bh_event *e);

/* For policies: any thread. Why this container is never touched, caller frees; NULL: it may be. */
char *bh_respond_protects(BhRespond *r, const BhContainer *c);
/* Something that this actor did to the container goes on, or is under way. */
gboolean bh_respond_holds(BhRespond *r, const char *actor, const char *container);
/* Each in the ledger whose actor begins so, as it was ordered, and what bh_respond_list() tells of it. The call must not call back. */
void bh_respond_each(BhRespond *r, const char *actor, void (*each)(const BhOrder *order, json_t *told, gpointer data), gpointer data);

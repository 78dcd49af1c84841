/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead-keeper: denies opens of files to containers by fanotify's permission events, where the kernel has no BPF LSM. A process of its own, so that what it denies stays denied when the sensor is killed.
 *
 * Two processes. The *guard* (keeper_main.c) holds the fanotify groups, one a container, and the list; it touches no file system, and waits. Its child, the *worker* (keeper_worker.c), answers the kernel in
 * one thread and looks files up in another. A worker that dies or does not answer for BH_KEEPER_STUCK_MS is killed and replaced: opens wait meanwhile, none is let through, for the guard has the groups; those that
 * the dead one had taken are refused by its successor. When the guard ends the worker does, and the kernel lets everything through: the sensor sees its socket closed, says so, and starts another.
 *
 * Between sensor and guard: a Unix socket (SOCK_SEQPACKET) in the run directory, root alone; one JSON object a message, one answer for each, the newest client is served.
 *      {"op":"set","container":ID,"cgroup":PATH,"v2":DIR,"pid":N,"rules":[TEXT…]}      -> {"marks":N,"open":[sentence…]} or {"error":sentence}: as it was before
 *      {"op":"drop","container":ID}                                                  -> {}
 *      {"op":"list"}                                                                 -> {"restarts":N,"containers":[{"container","cgroup","opens","denied","unsure","programs","untold"}…]}
 * The same "set" and "drop" go from guard to worker, with the group as a descriptor. The worker says of itself {"gone":ID} when a container's first process ended, {"wide":ID} when it
 * came to watch more than single files of one, and {"failed":sentence} when it cannot begin.
 */
#pragma once
#include <glib.h>
#include <jansson.h>
#include <stdatomic.h>

#define BH_KEEPER_SOCKET "keeper.sock"
#define BH_KEEPER_MESSAGE_MAX (192u << 10)
#define BH_KEEPER_CONTAINERS 64u /* the kernel gives a user 128 groups */
#define BH_KEEPER_STUCK_MS 5000
#define BH_KEEPER_FDS 20480u /* of a worker: bounds the numbers that the kernel knows opens by */

/* What the worker leaves behind, whatever happens to it. */
typedef struct {
        _Atomic gint64 beat_us; /* the answering thread was alive */
        struct {
                _Atomic guint64 opens, denied, unsure; /* unsure: denied since it could not be told whether it was meant */
                _Atomic guint64 programs; /* of the denied: programs, by their content */
                _Atomic guint64 untold;   /* of the unsure: programs, whose content could not be told, or not in time */
        } slots[BH_KEEPER_CONTAINERS];
} BhKeeperShared;

/* NULL: the other end is closed, or it was no message. *fd (may be NULL): what came with it, -1: nothing. */
json_t *bh_keeper_receive_json(int socket, int *fd);
/* `fd`: -1: none goes with it. FALSE with errno. */
gboolean bh_keeper_send_json(int socket, json_t *message, int fd);

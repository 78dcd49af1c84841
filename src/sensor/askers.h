/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who asked a runtime: the processes that are connected to its socket, so that a container's creation, start and end can be laid at somebody's door.
 *
 * A runtime does not say who a request came from. What can be known is which processes have connected to its socket and still live: one of them it was. Of one, that is an
 * answer; of several, all are named. The socket is told by the name that the runtime bound it to, whatever it is called where a container has it mounted, and by a listener that is
 * not in a container: a socket of an attacker's own by the same name does not count.
 *
 * Not known: processes whose connection is older than the sensor, and that have not connected again since. Connections through a proxy are the proxy's.
 *
 * One thread, but for bh_askers_made(). Bound: BH_ASKERS_MAX processes; those that ended go first, then those that connected longest ago, after which answers say that there may be others.
 */
#pragma once
#include "event/lineage.h"

#define BH_ASKERS_MAX 256u
#define BH_ASKERS_NAMED 4u /* in an answer; more are counted */
#define BH_ASKERS_ABOVE 16u /* programs of a runtime, one above the other */
#define BH_ASKERS_KILL_NS G_GUINT64_CONSTANT(60000000000) /* from the order to the end: a stop gives ten seconds */
#define BH_ASKERS_KEEP_NS G_GUINT64_CONSTANT(10000000000) /* those that ended, for events of the runtime that come late */

typedef struct BhAskers BhAskers;

/* Paths of the sockets, as the sensor was told; NULL: there is no such runtime. */
BhAskers *bh_askers_new(const char *docker_socket, const char *containerd_socket);
/* NULL is allowed. */
void bh_askers_free(BhAskers *a);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhAskers, bh_askers_free)

/* Every event, in order; all but connect and exit are passed over. */
void bh_askers_event(BhAskers *a, const struct bh_event *e);

/*
 * Who made a container that no daemon's socket leads to (plain runc and crun, podman, CRI-O), told by the event of kind cgroup_create of its own cgroup: its process, or of those that created
 * that one the last that is still a part of a runtime, as podman above conmon above crun. Told as bh_askers_of() does; the caller frees. Needs no BhAskers.
 */
char *bh_askers_maker(const struct bh_event *e, const struct bh_lineage *lineage);

/*
 * Makers of cgroups of which it is not known yet whether they are a container's: the last BH_ASKERS_MAX that a runtime's program made. bh_askers_made() gives that of the cgroup at
 * `path`, NULL for none; the caller frees; any thread.
 */
void bh_askers_keep_maker(BhAskers *a, const struct bh_event *e, const struct bh_lineage *lineage);
char *bh_askers_made(BhAskers *a, const char *path);

/*
 * Who can have asked for what the runtime tells by event `e` (of kind container): "/usr/bin/docker (user root, pid 812)", with " in container web" or " from container web" where that is so;
 * "one of: …; …". "" for nobody that is known. The caller frees.
 */
char *bh_askers_of(const BhAskers *a, const struct bh_event *e);

/*
 * A runtime was told to kill or stop container `id`, by whom bh_askers_of() said; the last BH_ASKERS_MAX are remembered. bh_askers_killer() says who it was when the container ends at `time_ns`, if that is
 * at most BH_ASKERS_KILL_NS later, and forgets it; NULL: nobody was. The caller frees.
 */
void bh_askers_kill(BhAskers *a, const char *id, const char *by, guint64 time_ns);
char *bh_askers_killer(BhAskers *a, const char *id, guint64 time_ns);

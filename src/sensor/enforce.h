/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's part of responses: cuts cgroups off from the network, wholly or from some peers (bpf/enforce.bpf.c), and freezes them.
 *
 * What is in force stays so without this process: programs, maps and links are pinned in a BPF file system of their own, filters of interfaces and frozen cgroups are the
 * kernel's anyway. Another process that opens the same directory goes on with them: it sets again what its ledger knows (nothing is open for a moment meanwhile) and then calls
 * bh_enforce_settle(), which takes away what nobody set, and the programs of another build.
 *
 * What it needs: the version 2 hierarchy (alone or beside version 1), CAP_SYS_ADMIN, CAP_NET_ADMIN. Effect is tested: bh_enforce_set() reads back what the kernel has attached.
 *
 * Guarantee, on all kernels alike. Packets of the container's sockets (TCP, UDP, ICMP, raw, old connections and new ones, io_uring, compat calls) are dropped on both ways; connect() and
 * sendmsg() fail with EPERM. Frames of packet sockets, and what the kernel answers by itself, are dropped at the host's end of the container's interfaces: only where its network
 * namespace is its own and has such an end (veth). BhEnforceDone says where they are not. Unix sockets are not cut. Ports of later fragments are not known, so those pass only where a whole address does.
 *
 * One thread at a time; the caller locks.
 */
#pragma once
#include <glib.h>

#include "enforce_record.h"

#define BH_ENFORCE_CGROUPS 256u /* in force at a time */

typedef struct BhEnforce BhEnforce;

/* Loads nothing yet where nothing is pinned. `dir` becomes a mount point when it is needed. NULL with *error: what is pinned cannot be used. */
BhEnforce *bh_enforce_open(const char *dir, const char *v2_mount, const char *proc_path, GError **error);
/* What is in force stays. NULL is allowed. */
void bh_enforce_free(BhEnforce *e);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhEnforce, bh_enforce_free)

/* Loads the programs, attached to nothing: the next that is held does not wait for it. */
gboolean bh_enforce_prepare(BhEnforce *e, GError **error);

typedef struct {
        gboolean isolate;
        const GArray *allow; /* BhPeerNet: what remains of an isolated one; may be NULL */
        const GArray *deny;  /* BhPeerNet: what is refused; NULL: nothing, empty: nothing yet, see bh_enforce_update() */
        const GArray *lead;  /* BhPeerNet: new TCP connections to these go to `to` and `to_port` instead, whatever else holds; NULL and empty as for deny */
        guint8 to[16];       /* mapped, where it is IPv4: an IPv4 socket cannot be led to an IPv6 address, so `lead` has none of IPv4 then */
        guint16 to_port;
        gboolean shared_network; /* other containers are in its network namespace */
} BhEnforceRules;

typedef struct {
        guint interfaces;       /* whose host's end is cut */
        gboolean host_network;  /* it has the host's network: no interface of its own */
        gboolean shared_network; /* others would be cut with it, so its interfaces are left alone */
        gboolean no_interfaces; /* none of its interfaces has an end here */
} BhEnforceDone;

/*
 * `cgroup`: path of a cgroup relative to the v2 hierarchy. In force when it returns: programs first, then in one step what they do. Replaces what was set for it before. FALSE with *error: as before.
 */
gboolean bh_enforce_set(BhEnforce *e, const char *cgroup, const BhEnforceRules *rules, BhEnforceDone *done, GError **error);
/* Its lists, and nothing else, become these: no moment of it is open, or cut, in between. A list that it does not have stays so. FALSE with *error: the one that is new may be there in part. */
gboolean bh_enforce_update(BhEnforce *e, const char *cgroup, const BhEnforceRules *rules, GError **error);
/* Takes everything away from it, also where the cgroup is gone. With the last one the programs and the mount go, too. */
void bh_enforce_clear(BhEnforce *e, const char *cgroup);
/* What was found pinned and was not set since then goes. */
void bh_enforce_settle(BhEnforce *e);
guint bh_enforce_count(const BhEnforce *e);

/* What was dropped and refused for it by the kernel. FALSE: nothing is set for it. */
gboolean bh_enforce_refused(BhEnforce *e, const char *cgroup, guint64 *packets, guint64 *bytes, guint64 *calls);

/* Connections that were led for it, and how many of them nobody was told of. FALSE: nothing is led. */
gboolean bh_enforce_led(BhEnforce *e, const char *cgroup, guint64 *connections, guint64 *untold);
typedef void (*BhEnforceTold)(const struct bh_enforce_led *led, gpointer data);
/* Each that was led since the last call, once its first packet has gone out; also what another process, or build, left. */
void bh_enforce_tell(BhEnforce *e, BhEnforceTold told, gpointer data);

/* ---- processes of a cgroup and all below it; these need nothing of the above */

/* Frozen when it returns (waits, at most a second). FALSE with *error. Kernels before 5.2 have no such file. */
gboolean bh_cgroup_freeze(const char *v2_mount, const char *cgroup, gboolean freeze, GError **error);
/* All are killed, those that fork meanwhile too (by cgroup.kill, or while frozen). */
gboolean bh_cgroup_kill(const char *v2_mount, const char *cgroup, GError **error);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the central gives up what it does not need. Each step is one way.
 *
 *   bh_sandbox_drop()     uid, gid, groups, every capability, also of the bounding set; no_new_privs; not dumpable. Never root after it.
 *   bh_sandbox_enclose()  Landlock: files only below the given directories, no TCP to anywhere, no signals and no abstract sockets out
 *                         (as far as the kernel has it); seccomp: an allow list. What a program like this never does (exec, ptrace,
 *                         mounts, modules, BPF, keys, other users) kills the process; anything else outside the list fails with EPERM.
 *
 * bh_sandbox_enclose() must be called before other threads begin: both filters are inherited, not spread.
 */
#pragma once
#include <glib.h>
#include <sys/types.h>

/* The user to become: a name or a number, NULL = "bulkhead" where that user exists, else 64055. uid 0 is refused. */
gboolean bh_sandbox_user(const char *wanted, uid_t *uid, gid_t *gid, GError **error);

/* Becomes that user. When the process is not root already it must be that user (or any, when wanted was NULL: then it stays itself). */
gboolean bh_sandbox_drop(uid_t uid, gid_t gid, GError **error);

typedef struct {
        const char *path;
        gboolean write; /* make, change, rename and remove files and sockets below it */
} BhSandboxPath;

/* `paths` ends with a NULL path; those that do not exist are left out. *landlock becomes the kernel's version, 0 = there is none. */
gboolean bh_sandbox_enclose(const BhSandboxPath *paths, guint *landlock, GError **error);

/*
 * The same for the process that delivers alerts: TCP to these ports alone (where Landlock has that, from its version 4), with `network` also
 * datagrams, and without it no sockets but local ones. It can listen on none.
 */
gboolean bh_sandbox_enclose_out(const BhSandboxPath *paths, const guint16 *ports, guint n_ports, gboolean network, guint *landlock, GError **error);

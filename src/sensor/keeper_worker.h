/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker of bulkhead-keeper (keeper_wire.h): answers the kernel, and looks up what is denied. Two threads, and those of the hasher.
 *
 * The *answering* thread decides on each open from what is in memory and what the kernel has in memory (statx without asking the file system, links and texts of /proc): never from disk or network. Files for the
 * kernel's question are opened without waiting (O_NONBLOCK), so that a lease holds nobody up. What cannot be told is denied, and counted as `unsure`.
 *
 * A program is asked about before the kernel opens it to run it (also a script, its interpreter, the loader). What the hasher (keeper_hash.h) knows is answered at once; else it reads the file and answers itself, and only
 * who runs that program waits for the disk: for 10 s, then the answering thread refuses it as one that cannot be told. The hasher reads on, so that it may be known the next time. It has at most 16 programs of a container;
 * further ones are refused at once. Those of containers for which fewer are read go first.
 *
 * The *looking* thread carries out what the guard says, and looks again each second, and when mounts of a container change: a file that took the place of a denied one is denied as well, and so are mounts made later.
 *
 * What an open is held against. A *file*: by device and inode, so by each of its names. A *tree*: by the path that the kernel gives, in the mount namespace and in the file system (so a second mount of it is the same
 * place); the tree's own name is asked each time, so it may be renamed. Who opens: a process of the container's cgroup or of its mount namespace; others are let through.
 *
 * Which opens the kernel asks about. Of a single file: its inode alone, no other open costs anything. Of trees, and of files with several names on a layered file system (whose names are several inodes until one is
 * written): all of the file system where it is the container's own (overlay, a tmpfs of its own), so also in mounts and mount namespaces made later; else all of the mount.
 */
#pragma once
#include "keeper_wire.h"

/* `socket`: to the guard. Returns when that is closed. */
int bh_keeper_work(int socket, BhKeeperShared *shared, const char *proc);

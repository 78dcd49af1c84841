/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a response guarantees, by what it is about. The first kind is the same on all kernels: programs of cgroups and interfaces, and the freezer. The second is denied where
 * the kernel's security hooks can be had (block.h), else what is said of that.
 *
 *     BH_GUARANTEE(action, what, guarantee, by)
 *     BH_GUARANTEE_KERNEL(action, what, guarantee elsewhere, by)
 *
 * deny: it does not happen. led: it happens with the decoy. none: it goes on, and the response says so.
 */
BH_GUARANTEE("isolate", "packets of the container's sockets: TCP, UDP, ICMP, raw, IPv4 and IPv6, old connections and new ones", "deny", "cgroup_skb")
BH_GUARANTEE("isolate", "connect() and sendmsg() to who is not allowed", "deny", "cgroup connect, sendmsg")
BH_GUARANTEE("isolate", "frames of packet sockets, and the kernel's own answers; own network namespace with an interface that ends on the host", "deny", "traffic control")
BH_GUARANTEE("isolate", "frames of packet sockets, and the kernel's own answers; the host's network, or one shared with other containers", "none", "-")
BH_GUARANTEE("isolate", "who is allowed by DNS name: addresses that no name server on the list answered, of processes that cannot make packets", "deny", "DNS events, cgroup_skb, connect, sendmsg")
BH_GUARANTEE("isolate", "such addresses, of processes that may make packets (CAP_NET_RAW, CAP_NET_ADMIN, a user namespace) and answer in the name server's name", "none", "-")
BH_GUARANTEE("isolate", "Unix sockets that are mounted into the container", "none", "-")
BH_GUARANTEE("quarantine", "everything its processes do", "deny", "freezer")
BH_GUARANTEE("pause", "everything its processes do", "deny", "freezer")
BH_GUARANTEE("block", "a destination: address, network, port; also of connections that exist", "deny", "cgroup_skb, connect, sendmsg")
BH_GUARANTEE("block", "a destination by DNS name: addresses of answers in plain DNS that the container got, before or since", "deny, some milliseconds after the answer", "DNS events, cgroup_skb, connect, sendmsg")
BH_GUARANTEE("block", "such addresses known by other means: DNS over TLS or HTTPS, answers taken with read() where the sensor has no fentry, a hosts file, the program itself", "none", "-")
BH_GUARANTEE("decoy", "new TCP connections to a destination, by any call (connect, TCP fast open, io_uring), of processes in the container's control group: to the decoy; getpeername tells the one that was asked for", "led", "cgroup connect, getpeername")
BH_GUARANTEE("decoy", "all else to it: UDP, ICMP, raw sockets, connections of before", "deny", "cgroup_skb, connect, sendmsg")
BH_GUARANTEE("decoy", "that it is a decoy: /proc/net/tcp and sock_diag tell its address, and what it answers tells the rest", "none", "-")
BH_GUARANTEE_KERNEL("block", "a program by its file, under all names, by execve, execveat, as a script, from a descriptor", "kill before the first instruction", "tracepoint of exec")
BH_GUARANTEE_KERNEL("block", "such a program, mapped by another that loads it (ld.so PROGRAM)", "kill before the first instruction: its loader may not be run by itself", "tracepoint of exec")
BH_GUARANTEE_KERNEL("block", "programs that are not from the image; the root is an overlay", "kill before the first instruction", "tracepoint of exec")
BH_GUARANTEE_KERNEL("block", "programs that are not on a list of those that alone may run (exec-only, a model that is enforced), whatever the way; changed ones of the image", "kill before the first instruction", "tracepoint of exec")
BH_GUARANTEE("block", "what a listed program reads and interprets, or loads: scripts, libraries; a listed program on a volume, changed in place", "none", "-")
BH_GUARANTEE("block", "a program by its content (exec-hash), run from a file: under all names, in all copies, the first time as well, as a script or interpreter", "deny", "fanotify, by a keeper process")
BH_GUARANTEE("block", "such a program in memory (memfd), on a file system that others serve, or loaded by another (ld.so PROGRAM)", "none", "-")
BH_GUARANTEE("block", "such a program on a volume, through a mount that the container makes later", "deny, after up to a second", "fanotify, by a keeper process")
BH_GUARANTEE_KERNEL("block", "the use of a capability", "none", "-")
BH_GUARANTEE_KERNEL("block", "mounting", "none", "-")
BH_GUARANTEE_KERNEL("block", "tracing other processes", "none", "-")
BH_GUARANTEE_KERNEL("block", "loading a kernel module", "none", "-")
BH_GUARANTEE("block", "opens of a file, to read or to write, by each of its names", "deny", "fanotify, by a keeper process")
BH_GUARANTEE("block", "opens of what is in a folder; the container's own file systems (overlay, its tmpfs), in all mount namespaces", "deny", "fanotify, by a keeper process")
BH_GUARANTEE("block", "opens of what is in a folder; volumes: mounts that the container makes later", "deny, after up to a second", "fanotify, by a keeper process")
BH_GUARANTEE("block", "opens on file systems that others serve (fuse, nfs, 9p), of devices, FIFOs and the kernel's own files; what was open before; memory files", "none", "-")
BH_GUARANTEE("block", "making, removing and renaming names; truncate() by name", "none", "-")

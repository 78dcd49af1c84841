/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a response guarantees, by what it is about. The same on all kernels today: programs of cgroups and interfaces, and the freezer; nothing needs BPF LSM yet.
 *
 *     BH_GUARANTEE(action, what, guarantee, by)
 *
 * deny: it does not happen. none: it goes on, and the response says so.
 */
BH_GUARANTEE("isolate", "packets of the container's sockets: TCP, UDP, ICMP, raw, IPv4 and IPv6, old connections and new ones", "deny", "cgroup_skb")
BH_GUARANTEE("isolate", "connect() and sendmsg() to who is not allowed", "deny", "cgroup connect, sendmsg")
BH_GUARANTEE("isolate", "frames of packet sockets, and the kernel's own answers; own network namespace with an interface that ends on the host", "deny", "traffic control")
BH_GUARANTEE("isolate", "frames of packet sockets, and the kernel's own answers; the host's network, or one shared with other containers", "none", "-")
BH_GUARANTEE("isolate", "Unix sockets that are mounted into the container", "none", "-")
BH_GUARANTEE("quarantine", "everything its processes do", "deny", "freezer")
BH_GUARANTEE("pause", "everything its processes do", "deny", "freezer")
BH_GUARANTEE("block", "a destination: address, network, port; also of connections that exist", "deny", "cgroup_skb, connect, sendmsg")
BH_GUARANTEE("block", "an executable, a file, a capability, a mount", "none", "-")

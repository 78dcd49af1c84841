/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The capabilities that the sensor keeps; it drops all others at its start, for good. SECURITY.md tells people; a test holds the process against this table.
 *
 * BH_KEEP(CAPABILITY, "what for")
 */
BH_KEEP(CAP_SYS_ADMIN, "loads, pins and attaches BPF programs, also later when somebody detached them; mounts its BPF file system; namespaces of the inspector and the canary")
BH_KEEP(CAP_SYS_PTRACE, "reads other users' /proc/PID: executables, namespaces, roots of containers")
BH_KEEP(CAP_DAC_OVERRIDE, "reads environments of processes and files of containers; connects to the sockets of the central and of container runtimes")
BH_KEEP(CAP_KILL, "ends an inspector that hangs: it runs as nobody; kills containers' processes when that is ordered")
BH_KEEP(CAP_NET_ADMIN, "attaches the programs that cut containers off to cgroups and to the host's ends of their interfaces")
BH_KEEP(CAP_SETUID, "the inspector becomes nobody; the canary changes its user for a moment")
BH_KEEP(CAP_SETGID, "the inspector leaves root's groups")
BH_KEEP(CAP_SETPCAP, "the inspector empties its bounding set")
BH_KEEP(CAP_SYS_CHROOT, "the inspector has an empty root directory also where the node runs from an initramfs, which cannot be pivoted away from")

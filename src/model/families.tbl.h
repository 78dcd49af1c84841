/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Families of behaviour: each has its own probability of something new, and is trusted by itself.
 *
 *     BH_FAMILY(number, ID, "kind", "title", "actor", "object", "detail", risk, "documentation")
 *
 * Numbers are permanent: they stand in stored models. `kind` is the observation's (api/bus.proto), or "peer" for what the connection map says; its parent
 * is the actor, its subject the object. actor, object, detail: what these texts hold. Two acts are the same item when all three, and the uid where the
 * family has one, are equal. Risk: weight of an act of which nothing else is known, in percent.
 */
BH_FAMILY(1, EXEC, "exec", "programs", "executable that starts it", "executable", "", 80, "which program starts which, and as whom (uid)")
BH_FAMILY(2, FILE, "file", "files", "executable", "template of the path", "operation: read, write, create, delete, rename, link, attributes", 40, "which program does what to which files")
BH_FAMILY(3, LISTEN, "listen", "listeners", "executable", "protocol and port: tcp/80", "", 60, "which program listens where")
BH_FAMILY(4, PEER, "peer", "peers", "executable; empty where several or none is known", "identity of the other end: workload app/name, host NODE, name DOMAIN, network CIDR", "direction, protocol and port: out tcp/5432", 60, "who talks to whom; from the connection map, not from sensors")
BH_FAMILY(5, DNS, "dns", "names asked for", "executable", "template of the name's suffix: *.example.com", "type of the question", 30, "which program asks for which names")
BH_FAMILY(6, CAPABILITY, "capability", "capabilities", "executable", "capability: CAP_NET_RAW", "gained, used", 70, "which program has which capability")
BH_FAMILY(7, NAMESPACE, "namespace", "namespaces and mounts", "executable", "act: setns, unshare, mount, pivot_root, chroot", "kinds of namespaces, or template of the path", 90, "which program changes namespaces, mounts or its root")
BH_FAMILY(8, CREDENTIAL, "credential", "users", "executable", "change: uid 33, gid 33", "", 70, "which program becomes which user")
BH_FAMILY(9, KERNEL, "kernel", "kernel interfaces", "executable", "act: ptrace, bpf, module_load, memfd_create, …", "request or kind", 90, "which program uses interfaces of the kernel that reach beyond it")
BH_FAMILY(10, HTTP, "http", "requests", "executable that serves, or asks", "METHOD /path/template", "server, client", 30, "which requests a workload answers or makes")
BH_FAMILY(11, ARGS, "args", "arguments", "executable", "template of the arguments", "", 30, "with which arguments programs are started; from observations of kind exec")
BH_FAMILY(12, SYSCALL, "syscall", "system calls", "executable", "name of the call", "32-bit, if of that interface", 30, "which program makes which system calls; sensors look in turns, see src/sensor/callers.h")
BH_FAMILY(13, SEQUENCE, "sequence", "patterns of system calls", "executable", "calls: two within 100 ms, one far more often than ever, four of a thread in their order", "which of these", 20, "how a program makes its system calls; told only of what is new on a node, see src/sensor/callbook.h")
BH_FAMILY(14, RATE, "rate", "rates and volumes", "executable", "what is counted: connections made, bytes sent, …", "step that was reached: 64 or more a minute", 35, "how much a program does in a minute, in steps of a factor of four, see src/sensor/rates.h")
BH_FAMILY(15, PARAMETER, "parameter", "parameters of requests", "executable that serves, or asks", "METHOD /path/template, space, name", "server or client, place, type and length: server query number, up to 16 bytes", 25, "with which parameters requests come to a workload, or are made; never what they hold")
#undef BH_FAMILY

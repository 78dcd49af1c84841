/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every field of a container as the store keeps it, in the order of BhContainer (src/container/container.h) where it has it.
 *
 *     BH_STORE_FIELD(kind, member)
 *
 * TEXT   const char * / char *, never NULL when read; NULL given = ""
 * LIST   JSON array as text, "[]" when empty or NULL given
 * MAP    JSON object as text, "{}" when empty or NULL given
 * BOOL   gboolean          INT   gint64          TIME  gint64, nanoseconds since the epoch, 0 = not known
 *
 * Read by: the struct in store_inventory.h, the statements of inventory.c, and whoever turns a container into JSON. A new row needs a
 * migration in schema.c that adds the column of the same name.
 */
BH_STORE_FIELD(TEXT, name)
BH_STORE_FIELD(TEXT, image)        /* as given by the user */
BH_STORE_FIELD(TEXT, image_id)     /* sha256:… */
BH_STORE_FIELD(TEXT, image_digest) /* repository@sha256:… */
BH_STORE_FIELD(TEXT, runtime)
BH_STORE_FIELD(TEXT, state)        /* created, running, paused, restarting, exited, dead, removed, unknown */
BH_STORE_FIELD(TEXT, level)        /* how much is known: cgroup, event, full */
BH_STORE_FIELD(TEXT, workload)
BH_STORE_FIELD(TEXT, application)
BH_STORE_FIELD(TEXT, outer_id)     /* the container in which this one runs */
BH_STORE_FIELD(INT, depth)
BH_STORE_FIELD(MAP, labels)
BH_STORE_FIELD(LIST, mounts)       /* {type, source, destination, rw, sensitive} */
BH_STORE_FIELD(LIST, networks)     /* {name, id, ip, ip6, mac} */
BH_STORE_FIELD(LIST, ports)        /* {host_ip, protocol, container_port, host_port} */
BH_STORE_FIELD(LIST, cap_add)
BH_STORE_FIELD(LIST, cap_drop)
BH_STORE_FIELD(LIST, devices)
BH_STORE_FIELD(LIST, security_opt)
BH_STORE_FIELD(LIST, env_names)
BH_STORE_FIELD(LIST, cgroup_paths)
BH_STORE_FIELD(TEXT, network_mode)
BH_STORE_FIELD(TEXT, pid_mode)
BH_STORE_FIELD(TEXT, ipc_mode)
BH_STORE_FIELD(TEXT, user)
BH_STORE_FIELD(TEXT, health)
BH_STORE_FIELD(TEXT, cgroup_parent)
BH_STORE_FIELD(BOOL, privileged)
BH_STORE_FIELD(BOOL, host_network)
BH_STORE_FIELD(BOOL, host_pid)
BH_STORE_FIELD(BOOL, host_ipc)
BH_STORE_FIELD(BOOL, host_userns)
BH_STORE_FIELD(BOOL, readonly_rootfs)
BH_STORE_FIELD(BOOL, oom_killed)
BH_STORE_FIELD(INT, init_pid)
BH_STORE_FIELD(TIME, created_ns)
BH_STORE_FIELD(TIME, started_ns)
BH_STORE_FIELD(TIME, finished_ns)
BH_STORE_FIELD(INT, exit_code)
BH_STORE_FIELD(INT, restart_count)
BH_STORE_FIELD(INT, refused)       /* labels, mounts, … that were over a bound and left out */
/* since schema 4 */
BH_STORE_FIELD(LIST, layers)       /* digests of the image's layers, the lowest first */
BH_STORE_FIELD(TEXT, created_by)
BH_STORE_FIELD(TEXT, started_by)
BH_STORE_FIELD(TEXT, seccomp)      /* default, unconfined, a profile's name */
BH_STORE_FIELD(TEXT, lsm)          /* apparmor:NAME, selinux:LABEL, unconfined */
BH_STORE_FIELD(TEXT, uts_mode)
BH_STORE_FIELD(BOOL, host_uts)
BH_STORE_FIELD(BOOL, host_cgroupns)
BH_STORE_FIELD(BOOL, no_new_privileges)
BH_STORE_FIELD(INT, memory_limit)  /* bytes, 0 = none */
BH_STORE_FIELD(INT, cpu_limit)     /* billionths of a CPU, 0 = none */
BH_STORE_FIELD(INT, pids_limit)    /* 0 = none */
BH_STORE_FIELD(TEXT, restart_policy)
BH_STORE_FIELD(LIST, command)
BH_STORE_FIELD(LIST, runs)         /* {started, finished, exit_code, oom_killed, error}, the latest first */
BH_STORE_FIELD(LIST, capabilities)
BH_STORE_FIELD(LIST, risks)        /* sentences */
BH_STORE_FIELD(LIST, health_command)
BH_STORE_FIELD(INT, net_ns)
BH_STORE_FIELD(TEXT, network_of)
/* since schema 16 */
BH_STORE_FIELD(TEXT, ended_by)

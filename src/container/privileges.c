/* SPDX-License-Identifier: Apache-2.0 */
#include "container/privileges.h"

#include <stdarg.h>
#include <string.h>

/* In the order of their numbers (include/uapi/linux/capability.h). */
static const char *const names[BH_CAPABILITIES] = {
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP",
        "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
        "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE",
        "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP",
        "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
        "CAP_CHECKPOINT_RESTORE",
};

/* What Docker gives without being asked (https://docs.docker.com/engine/security/#linux-kernel-capabilities). */
static const char *const docker_default[] = {
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
        "CAP_NET_RAW", "CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_AUDIT_WRITE", "CAP_SETFCAP",
};

const char *bh_capability_name(guint number) {
        return number < BH_CAPABILITIES ? names[number] : NULL;
}

#define ALL ((G_GUINT64_CONSTANT(1) << BH_CAPABILITIES) - 1)

static guint64 bit_of(const char *name) {
        if (!g_ascii_strncasecmp(name, "CAP_", 4))
                name += 4;
        for (guint i = 0; i < BH_CAPABILITIES; i++)
                if (!g_ascii_strcasecmp(name, names[i] + 4))
                        return G_GUINT64_CONSTANT(1) << i;
        return !g_ascii_strcasecmp(name, "ALL") ? ALL : 0;
}

static guint64 bits_of(const char *const *list, gsize n, gboolean *all) {
        guint64 bits = 0;

        for (gsize i = 0; n ? i < n : list[i] != NULL; i++) {
                guint64 bit = bit_of(list[i]);

                if (bit == ALL)
                        *all = TRUE;
                else
                        bits |= bit;
        }
        return bits;
}

static void set_bits(BhContainer *c, guint64 bits) {
        const char *have[BH_CAPABILITIES];
        gssize n = 0;

        for (guint i = 0; i < BH_CAPABILITIES; i++)
                if (bits & G_GUINT64_CONSTANT(1) << i)
                        have[n++] = names[i];
        bh_container_set_list(c, &c->capabilities, have, n);
}

void bh_container_set_capabilities(BhContainer *c, const char *const *list) {
        gboolean all = FALSE;
        guint64 bits = list && list[0] ? bits_of(list, 0, &all) : 0;

        set_bits(c, all ? ALL : bits);
}

void bh_container_docker_capabilities(BhContainer *c) {
        gboolean add_all = FALSE, drop_all = FALSE, none = FALSE;
        guint64 add = bits_of((const char *const *) c->cap_add, 0, &add_all), drop = bits_of((const char *const *) c->cap_drop, 0, &drop_all);
        guint64 bits;

        if (c->privileged)
                bits = ALL;
        else if (add_all)
                bits = ALL & ~drop;
        else if (drop_all)
                bits = add;
        else
                bits = (bits_of(docker_default, G_N_ELEMENTS(docker_default), &none) & ~drop) | add;
        set_bits(c, bits);
}

/* ---- risks ---- */

static void say(GPtrArray *out, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void say(GPtrArray *out, const char *format, ...) {
        va_list args;

        if (out->len >= BH_CONTAINER_MAX_RISKS)
                return;
        va_start(args, format);
        g_autofree char *text = g_strdup_vprintf(format, args);
        va_end(args);
        for (guint i = 0; i < out->len; i++)
                if (!strcmp(out->pdata[i], text))
                        return;
        g_ptr_array_add(out, g_steal_pointer(&text));
}

static gboolean at_or_under(const char *path, const char *dir) {
        gsize n = strlen(dir);

        return !strncmp(path, dir, n) && (!path[n] || path[n] == '/');
}

/* What a host's directory gives away, the first that fits. */
static const struct {
        const char *dir, *why;
        gboolean only_rw;
} places[] = {
        { "/proc", "through it every process of the host can be read, and programs of its own run on the host (core_pattern)", FALSE },
        { "/sys/fs/cgroup", "through it limits can be lifted and, with a release agent, programs run on the host", TRUE },
        { "/sys", "through it devices and kernel settings of the host can be changed", TRUE },
        { "/dev", "through it the host's disks and memory can be reached", FALSE },
        { "/etc", "it holds the host's users, passwords, services and scheduled jobs", FALSE },
        { "/root", "it holds the keys and start scripts of the host's administrator", FALSE },
        { "/home", "it holds the keys and start scripts of the host's users", FALSE },
        { "/boot", "it holds the kernel that the host starts next", TRUE },
        { "/usr", "it holds the programs that the host runs", TRUE },
        { "/bin", "it holds the programs that the host runs", TRUE },
        { "/sbin", "it holds the programs that the host runs", TRUE },
        { "/lib", "it holds the libraries that the host's programs load", TRUE },
        { "/lib64", "it holds the libraries that the host's programs load", TRUE },
        { "/var/lib/docker", "it holds the files of all other containers", FALSE },
        { "/var/lib/containerd", "it holds the files of all other containers", FALSE },
        { "/var/lib/containers", "it holds the files of all other containers", FALSE },
        { "/var/lib/kubelet", "it holds the secrets of all pods of this node", FALSE },
        { "/var/lib/etcd", "it holds the state and the secrets of the whole cluster", FALSE },
        { "/var/spool/cron", "it holds the host's scheduled jobs", FALSE },
};

static void assess_mount(GPtrArray *out, const BhMount *m) {
        static const char *const sockets[] = { "docker.sock", "containerd.sock", "crio.sock", "podman.sock", "cri-dockerd.sock", "dockershim.sock" };
        g_autofree char *base = g_path_get_basename(m->source), *where = g_strdup_printf("%s is mounted at %s%s", m->source, m->destination, m->rw ? "" : " (read only)");

        if ((!strcmp(m->type, "sysfs") || !strcmp(m->type, "cgroup") || !strcmp(m->type, "cgroup2")) && m->rw) {
                say(out, "the kernel's settings at %s can be written", m->destination);
                return;
        }
        if (!m->sensitive)
                return;
        for (gsize i = 0; i < G_N_ELEMENTS(sockets); i++)
                if (!strcmp(base, sockets[i])) {
                        /* read only keeps nobody from writing to a socket */
                        say(out, "the runtime's socket %s is mounted at %s: whoever talks to it controls the host", m->source, m->destination);
                        return;
                }
        if (!strcmp(m->source, "/")) {
                say(out, "the host's whole file system is mounted at %s%s", m->destination, m->rw ? ": it can be changed as root of the host may" : " (read only): every secret of the host can be read");
                return;
        }
        for (gsize i = 0; i < G_N_ELEMENTS(places); i++)
                if (at_or_under(m->source, places[i].dir) && (m->rw || !places[i].only_rw)) {
                        say(out, "the host's %s: %s", where, places[i].why);
                        return;
                }
        say(out, "the host's %s: it belongs to the host's own running", where);
}

/* What a capability beyond Docker's default set gives. */
static const struct {
        const char *name, *why;
} dangerous[] = {
        { "CAP_SYS_ADMIN", "it may mount file systems and enter namespaces, which is nearly as much as root of the host" },
        { "CAP_SYS_MODULE", "it may load code into the host's kernel" },
        { "CAP_SYS_PTRACE", "it may read and change other processes, the host's as well where it sees them" },
        { "CAP_SYS_RAWIO", "it may reach the host's memory and ports" },
        { "CAP_DAC_READ_SEARCH", "it may open every file of the host by its handle" },
        { "CAP_SYS_BOOT", "it may restart the host and load another kernel" },
        { "CAP_SYS_TIME", "it may set the host's clock" },
        { "CAP_SYSLOG", "it may read the kernel's log and addresses" },
        { "CAP_BPF", "it may load programs into the host's kernel" },
        { "CAP_PERFMON", "it may observe the whole host" },
        { "CAP_MAC_ADMIN", "it may change the host's security policy" },
        { "CAP_MAC_OVERRIDE", "it is not bound by the host's security policy" },
        { "CAP_AUDIT_CONTROL", "it may switch off the host's audit" },
        { "CAP_NET_ADMIN", "it may change the network that it is in" },
        { "CAP_SYS_RESOURCE", "it may go beyond its limits" },
        { "CAP_CHECKPOINT_RESTORE", "it may choose process numbers and read others' memory maps" },
};

static void assess_capabilities(GPtrArray *out, const BhContainer *c) {
        for (gsize i = 0; i < G_N_ELEMENTS(dangerous); i++) {
                const char *why = dangerous[i].why;

                if (!g_strv_contains((const char *const *) c->capabilities, dangerous[i].name))
                        continue;
                if (!strcmp(dangerous[i].name, "CAP_NET_ADMIN") && c->host_network)
                        why = "with the host's network, it may change addresses, routes and the firewall of the host";
                say(out, "it has %s: %s", dangerous[i].name, why);
        }
}

void bh_container_assess(BhContainer *c) {
        g_autoptr(GPtrArray) out = g_ptr_array_new_with_free_func(g_free);

        if (c->privileged)
                say(out, "it is privileged: it has every capability and device, and no seccomp or LSM profile holds it");
        for (guint i = 0; i < c->mounts->len; i++)
                assess_mount(out, &g_array_index(c->mounts, BhMount, i));
        if (c->host_pid)
                say(out, "it is in the host's process namespace: it sees and may signal the host's processes");
        if (c->host_network)
                say(out, "it is in the host's network namespace: it reaches what listens on the host's loopback, and abstract Unix sockets");
        if (c->host_ipc)
                say(out, "it is in the host's IPC namespace: it shares memory with the host's processes");
        if (c->host_uts)
                say(out, "it is in the host's UTS namespace: it may rename the host where it may administer");
        if (c->host_userns)
                say(out, "it is left out of the engine's user namespace: its root is the host's root");
        /* of a privileged one all follow from the first sentence */
        if (!c->privileged)
                assess_capabilities(out, c);
        if (!c->privileged && !strcmp(c->seccomp, "unconfined"))
                say(out, "no seccomp profile holds it: it may make every system call");
        for (char **d = c->devices; *d && !c->privileged; d++)
                say(out, "the host's device %s is handed in", *d);
        g_ptr_array_add(out, NULL);
        bh_container_set_list(c, &c->risks, (const char *const *) out->pdata, -1);
}

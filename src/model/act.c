/* SPDX-License-Identifier: Apache-2.0 */
#include "model/act.h"

#include <string.h>

#include "model/never.h"
#include "model/template.h"

static const struct {
        const char *kind, *title;
        guint risk;
} families[BH_FAMILIES] = {
#define BH_FAMILY(number, ID, kind, title, actor, object, detail, risk, doc) [number] = { kind, title, risk },
#include "model/families.tbl.h"
};

const char *bh_family_kind(BhFamily family) {
        return (guint) family < BH_FAMILIES ? families[family].kind : NULL;
}

const char *bh_family_title(BhFamily family) {
        return (guint) family < BH_FAMILIES ? families[family].title : NULL;
}

BhFamily bh_family_from_kind(const char *kind) {
        for (guint i = 1; i < BH_FAMILIES; i++)
                if (families[i].kind && g_str_equal(families[i].kind, kind))
                        return (BhFamily) i;
        return BH_FAMILY_NONE;
}

static gboolean is_tool(const char *exe) {
        static const char *const names[] = { "curl", "wget", "nc", "ncat", "nc.traditional", "nc.openbsd", "socat", "nmap", "tcpdump", "gcc", "cc", "make", "apt", "apt-get", "apk", "yum", "dnf", "pip", "pip3", "nsenter", "unshare",
                                             "chroot", "mount", "docker", "kubectl", "crictl", "ctr", "ssh", "scp", "base64", "xxd", "chmod", "chattr", "crontab", "iptables", "nft", "insmod", "modprobe", "strace", "gdb", "busybox", "openssl", "whoami", "id", "uname", "passwd", "su", "sudo" };
        const char *slash = strrchr(exe, '/'), *base = slash ? slash + 1 : exe;

        if (g_str_has_prefix(base, "busybox "))
                base += strlen("busybox ");
        for (guint i = 0; i < G_N_ELEMENTS(names); i++)
                if (g_str_equal(base, names[i]))
                        return TRUE;
        return FALSE;
}

static double risk_of_exec(const BhAct *a) {
        gsize len = strlen(a->object);

        if (bh_never_is_shell(a->object, len) || bh_template_writable(a->object, len) || g_str_has_prefix(a->object, "/memfd:"))
                return 0.95;
        if (is_tool(a->object))
                return 0.9;
        return a->uid == 0 ? 0.85 : 0.8;
}

/* Of the first process: what ps, pidof and agents read of every process, whose container has it or not. Its root, memory, descriptors, namespaces and environment are none of it. */
static gboolean is_listing(const BhAct *a) {
        static const char *const names[] = { "stat", "status", "statm", "cmdline", "comm", "cgroup", "io", "limits", "loginuid", "oom_score", "oom_score_adj", "sched", "schedstat", "sessionid", "wchan" };
        const char *name = a->object + strlen("/proc/1/");

        if (!g_str_equal(a->detail, "read"))
                return FALSE;
        for (guint i = 0; i < G_N_ELEMENTS(names); i++)
                if (g_str_equal(name, names[i]))
                        return TRUE;
        return FALSE;
}

static double risk_of_file(const BhAct *a) {
        gsize len = strlen(a->object);
        gboolean reads = g_str_equal(a->detail, "read");
        char wild[BH_TEMPLATE_MAX];

        if (bh_template_credential(a->object, len) || g_str_has_suffix(a->object, "/docker.sock") || g_str_has_suffix(a->object, "/containerd.sock"))
                return 0.95;
        if ((g_str_has_prefix(a->object, "/proc/1/") && !is_listing(a)) || g_str_has_prefix(a->object, "/host/"))
                return 0.85;
        if (bh_template_sensitive(a->object, len))
                return reads ? 0.4 : 0.85;
        if (!reads && !bh_template_wild(a->object, len, wild))
                return 0.7;
        return reads ? 0.25 : 0.4;
}

static double risk_of_peer(const BhAct *a) {
        gboolean out = g_str_has_prefix(a->detail, "out ");

        if (strstr(a->object, "169.254.169.254") || strstr(a->object, "metadata.google"))
                return 0.95;
        if (!out)
                return 0.45;
        return g_str_has_prefix(a->object, "workload ") ? 0.6 : g_str_has_prefix(a->object, "host ") ? 0.8 : 0.75;
}

/* Calls that reach into other processes, the kernel or other containers, and that few services need. */
static double risk_of_syscall(const BhAct *a) {
        static const char *const names[] = { "ptrace", "process_vm_writev", "process_vm_readv", "process_madvise", "pidfd_getfd", "bpf", "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "mount", "umount2",
                                             "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "pivot_root", "setns", "unshare", "chroot", "userfaultfd", "perf_event_open", "keyctl", "add_key", "request_key",
                                             "open_by_handle_at", "name_to_handle_at", "iopl", "ioperm", "modify_ldt", "swapon", "swapoff", "reboot", "settimeofday", "clock_settime", "acct", "quotactl", "execveat", "memfd_create", "io_uring_setup" };

        for (guint i = 0; i < G_N_ELEMENTS(names); i++)
                if (g_str_equal(a->object, names[i]))
                        return 0.75;
        /* another interface than the program was built for is a way around filters */
        return *a->detail ? 0.6 : families[BH_FAMILY_SYSCALL].risk / 100.0;
}

double bh_act_risk(const BhAct *a) {
        switch (a->family) {
        case BH_FAMILY_EXEC:
                return risk_of_exec(a);
        case BH_FAMILY_FILE:
                return risk_of_file(a);
        case BH_FAMILY_PEER:
                return risk_of_peer(a);
        case BH_FAMILY_SYSCALL:
                return risk_of_syscall(a);
        case BH_FAMILY_ARGS:
                return bh_never_is_shell(a->actor, strlen(a->actor)) ? 0.7 : 0.3;
        default:
                return (guint) a->family < BH_FAMILIES ? families[a->family].risk / 100.0 : 0;
        }
}

static const char *actor_of(const BhAct *a) {
        return *a->actor ? a->actor : "a program";
}

char *bh_act_say(const BhAct *a) {
        const char *example = a->example && *a->example ? a->example : NULL;

        switch (a->family) {
        case BH_FAMILY_EXEC:
                return g_strdup_printf("%s started %s as user %u%s%s%s", actor_of(a), a->object, a->uid, example ? " (" : "", example ? example : "", example ? ")" : "");
        case BH_FAMILY_ARGS:
                return g_strdup_printf("%s was started with %s", actor_of(a), example ? example : *a->object ? a->object : "no arguments");
        case BH_FAMILY_FILE:
                return g_strdup_printf("%s did %s %s", actor_of(a), a->detail, example ? example : a->object);
        case BH_FAMILY_LISTEN:
                return g_strdup_printf("%s listens at %s", actor_of(a), a->object);
        case BH_FAMILY_PEER:
                return g_strdup_printf(g_str_has_prefix(a->detail, "in ") ? "%s was called by %s (%s)" : "%s called %s (%s)", actor_of(a), a->object, a->detail);
        case BH_FAMILY_DNS:
                return g_strdup_printf("%s asked for the name %s", actor_of(a), example ? example : a->object);
        case BH_FAMILY_HTTP:
                return g_strdup_printf(g_str_equal(a->detail, "client") ? "%s requested %s" : "%s was asked for %s", actor_of(a), example ? example : a->object);
        case BH_FAMILY_PARAMETER: {
                const char *name = strrchr(a->object, ' ');

                return g_strdup_printf("%s %s parameter %s with %.*s (%s)", actor_of(a), g_str_has_prefix(a->detail, "client ") ? "sent" : "was given", name ? name + 1 : a->object,
                                       name ? (int) (name - a->object) : 0, a->object, a->detail);
        }
        case BH_FAMILY_SYSCALL:
                return g_strdup_printf("%s made the system call %s%s%s%s", actor_of(a), a->object, *a->detail ? " (" : "", a->detail, *a->detail ? ")" : "");
        case BH_FAMILY_SEQUENCE:
                return g_strdup_printf("%s made the system calls %s %s", actor_of(a), a->object, a->detail);
        case BH_FAMILY_RATE:
                return g_strdup_printf("%s: %s, %s", actor_of(a), a->object, a->detail);
        default:
                return g_strdup_printf("%s: %s%s%s%s%s%s", actor_of(a), a->object, *a->detail ? " " : "", a->detail, example ? " (" : "", example ? example : "", example ? ")" : "");
        }
}

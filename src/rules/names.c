/* SPDX-License-Identifier: Apache-2.0 */
#include "rules/names.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/memfd.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>

struct number {
        guint64 value;
        const char *name;
};

/* Names of the bits that are set, '|' between; what has none as one hexadecimal number. `zero`: what 0 is called. */
static struct bh_str bits(BhRuleScene *s, const struct number *names, gsize n, guint64 value, const char *zero) {
        char *p = bh_scene_room(s, 1024);
        gsize len = 0;

        if (!p)
                return (struct bh_str){ "", 0 };
        for (gsize i = 0; i < n && len < 900; i++) {
                if (!names[i].value || (value & names[i].value) != names[i].value)
                        continue;
                len += (gsize) g_snprintf(p + len, 1024 - len, "%s%s", len ? "|" : "", names[i].name);
                value &= ~names[i].value;
        }
        if (value)
                len += (gsize) g_snprintf(p + len, 1024 - len, "%s0x%" G_GINT64_MODIFIER "x", len ? "|" : "", value);
        if (!len)
                len = (gsize) g_snprintf(p, 1024, "%s", zero);
        return bh_scene_take(s, len);
}

static struct bh_str single(BhRuleScene *s, const struct number *names, gsize n, gint64 value) {
        for (gsize i = 0; i < n; i++) {
                if ((gint64) names[i].value == value)
                        return (struct bh_str){ names[i].name, (guint32) strlen(names[i].name) };
        }
        return bh_scene_print(s, "%" G_GINT64_FORMAT, value);
}

#define N(name) { name, #name }
#define LIST(array) array, G_N_ELEMENTS(array)

struct bh_str bh_rule_flags(BhRuleScene *s, enum bh_field field, guint64 value) {
        const char *names[BH_FLAG_NAMES_MAX];
        guint64 rest;
        guint n = bh_flag_names(field, value, names, &rest);
        char *p = bh_scene_room(s, 2048);
        gsize len = 0;

        if (!p)
                return (struct bh_str){ "", 0 };
        for (guint i = 0; i < n && len < 1900; i++) {
                gsize name = strlen(names[i]);

                if (len)
                        p[len++] = '|';
                memcpy(p + len, names[i], name);
                len += name;
        }
        if (rest)
                len += (gsize) g_snprintf(p + len, 2048 - len, "%s0x%" G_GINT64_MODIFIER "x", len ? "|" : "", rest);
        return bh_scene_take(s, len);
}

struct bh_str bh_rule_open_flags(BhRuleScene *s, const struct bh_event *e) {
        struct bh_str text = bh_rule_flags(s, BH_F_open_flags, e->open_flags & ~(guint64) 0100000 /* O_LARGEFILE: every 64-bit program has it */);

        if (bh_event_has(e, BH_F_flags) && (e->flags & BH_RF_CREATED) && bh_scene_room(s, 16)) {
                /* right behind, so that it is one text */
                struct bh_str more = bh_scene_print(s, "|O_F_CREATED");

                text.len += more.len;
        }
        return text;
}

struct bh_str bh_rule_family(BhRuleScene *s, guint32 family) {
        static const struct number names[] = {
                N(AF_UNSPEC), N(AF_UNIX), N(AF_INET), N(AF_AX25), N(AF_IPX), N(AF_APPLETALK), N(AF_NETROM), N(AF_BRIDGE), N(AF_ATMPVC), N(AF_X25), N(AF_INET6), N(AF_ROSE),
                { 12, "AF_DECnet" }, N(AF_NETBEUI), N(AF_SECURITY), N(AF_KEY), N(AF_NETLINK), N(AF_PACKET), N(AF_ASH), N(AF_ECONET), N(AF_ATMSVC), N(AF_RDS), N(AF_SNA), N(AF_IRDA),
                N(AF_PPPOX), N(AF_WANPIPE), N(AF_LLC), { 27, "AF_IB" }, { 28, "AF_MPLS" }, N(AF_CAN), N(AF_TIPC), N(AF_BLUETOOTH), N(AF_IUCV), N(AF_RXRPC), N(AF_ISDN), N(AF_PHONET),
                N(AF_IEEE802154), N(AF_CAIF), N(AF_ALG), N(AF_NFC), { 40, "AF_VSOCK" }, { 41, "AF_KCM" }, { 42, "AF_QIPCRTR" }, { 43, "AF_SMC" }, { 44, "AF_XDP" }, { 45, "AF_MCTP" },
        };

        return single(s, LIST(names), family);
}

struct bh_str bh_rule_mode(BhRuleScene *s, guint32 mode) {
        static const struct number names[] = {
                N(S_IXOTH), N(S_IWOTH), N(S_IROTH), N(S_IXGRP), N(S_IWGRP), N(S_IRGRP), N(S_IXUSR), N(S_IWUSR), N(S_IRUSR), N(S_ISVTX), N(S_ISGID), N(S_ISUID),
        };
        static const struct number types[] = { N(S_IFREG), N(S_IFCHR), N(S_IFBLK), N(S_IFIFO), N(S_IFSOCK), N(S_IFDIR) };
        struct bh_str text = bits(s, LIST(names), mode & 07777, "0");

        for (gsize i = 0; i < G_N_ELEMENTS(types); i++) {
                if ((mode & S_IFMT) == types[i].value)
                        text.len += bh_scene_print(s, "|%s", types[i].name).len;
        }
        return text;
}

struct bh_str bh_rule_ptrace(BhRuleScene *s, gint64 request) {
        static const struct number names[] = {
                N(PTRACE_TRACEME), N(PTRACE_PEEKTEXT), N(PTRACE_PEEKDATA), { 3, "PTRACE_PEEKUSR" }, N(PTRACE_POKETEXT), N(PTRACE_POKEDATA), { 6, "PTRACE_POKEUSR" }, N(PTRACE_CONT),
                N(PTRACE_KILL), N(PTRACE_SINGLESTEP), N(PTRACE_GETREGS), N(PTRACE_SETREGS), N(PTRACE_GETFPREGS), N(PTRACE_SETFPREGS), N(PTRACE_ATTACH), N(PTRACE_DETACH),
                N(PTRACE_GETFPXREGS), N(PTRACE_SETFPXREGS), { 21, "PTRACE_OLDSETOPTIONS" }, N(PTRACE_SYSCALL), { 25, "PTRACE_GET_THREAD_AREA" }, { 26, "PTRACE_SET_THREAD_AREA" },
                { 30, "PTRACE_ARCH_PRCTL" }, { 31, "PTRACE_SYSEMU" }, { 32, "PTRACE_SYSEMU_SINGLESTEP" }, { 33, "PTRACE_SINGLEBLOCK" }, N(PTRACE_SETOPTIONS), N(PTRACE_GETEVENTMSG),
                N(PTRACE_GETSIGINFO), N(PTRACE_SETSIGINFO), N(PTRACE_GETREGSET), N(PTRACE_SETREGSET), N(PTRACE_SEIZE), N(PTRACE_INTERRUPT), N(PTRACE_LISTEN), N(PTRACE_PEEKSIGINFO),
                N(PTRACE_GETSIGMASK), N(PTRACE_SETSIGMASK),
        };

        return single(s, LIST(names), request);
}

struct bh_str bh_rule_bpf(BhRuleScene *s, gint64 command) {
        static const struct number names[] = {
                N(BPF_MAP_CREATE), N(BPF_MAP_LOOKUP_ELEM), N(BPF_MAP_UPDATE_ELEM), N(BPF_MAP_DELETE_ELEM), N(BPF_MAP_GET_NEXT_KEY), N(BPF_PROG_LOAD), N(BPF_OBJ_PIN), N(BPF_OBJ_GET),
                N(BPF_PROG_ATTACH), N(BPF_PROG_DETACH), N(BPF_PROG_TEST_RUN), N(BPF_PROG_GET_NEXT_ID), N(BPF_MAP_GET_NEXT_ID), N(BPF_PROG_GET_FD_BY_ID), N(BPF_MAP_GET_FD_BY_ID),
                N(BPF_OBJ_GET_INFO_BY_FD), N(BPF_PROG_QUERY), N(BPF_RAW_TRACEPOINT_OPEN), N(BPF_BTF_LOAD), N(BPF_BTF_GET_FD_BY_ID), N(BPF_TASK_FD_QUERY), N(BPF_MAP_LOOKUP_AND_DELETE_ELEM),
                N(BPF_MAP_FREEZE), N(BPF_BTF_GET_NEXT_ID), N(BPF_MAP_LOOKUP_BATCH), N(BPF_MAP_LOOKUP_AND_DELETE_BATCH), N(BPF_MAP_UPDATE_BATCH), N(BPF_MAP_DELETE_BATCH), N(BPF_LINK_CREATE),
                N(BPF_LINK_UPDATE), N(BPF_LINK_GET_FD_BY_ID), N(BPF_LINK_GET_NEXT_ID), N(BPF_ENABLE_STATS), N(BPF_ITER_CREATE), N(BPF_LINK_DETACH), N(BPF_PROG_BIND_MAP),
        };

        return single(s, LIST(names), command);
}

struct bh_str bh_rule_signal(BhRuleScene *s, guint32 number) {
        const char *name = number < NSIG ? sigabbrev_np((int) number) : NULL;

        return name ? bh_scene_print(s, "SIG%s", name) : bh_scene_print(s, "%u", number);
}

struct bh_str bh_rule_mount_flags(BhRuleScene *s, guint64 flags) {
        static const struct number names[] = {
                { MS_RDONLY, "RDONLY" }, { MS_NOSUID, "NOSUID" }, { MS_NODEV, "NODEV" }, { MS_NOEXEC, "NOEXEC" }, { MS_SYNCHRONOUS, "SYNCHRONOUS" }, { MS_REMOUNT, "REMOUNT" },
                { MS_MANDLOCK, "MANDLOCK" }, { MS_DIRSYNC, "DIRSYNC" }, { 256, "NOSYMFOLLOW" }, { MS_NOATIME, "NOATIME" }, { MS_NODIRATIME, "NODIRATIME" }, { MS_BIND, "BIND" },
                { MS_MOVE, "MOVE" }, { MS_REC, "REC" }, { MS_SILENT, "SILENT" }, { MS_POSIXACL, "POSIXACL" }, { MS_UNBINDABLE, "UNBINDABLE" }, { MS_PRIVATE, "PRIVATE" },
                { MS_SLAVE, "SLAVE" }, { MS_SHARED, "SHARED" }, { MS_RELATIME, "RELATIME" }, { MS_KERNMOUNT, "KERNMOUNT" }, { MS_I_VERSION, "I_VERSION" },
                { MS_STRICTATIME, "STRICTATIME" }, { MS_LAZYTIME, "LAZYTIME" },
        };

        return bits(s, LIST(names), flags, "0");
}

struct bh_str bh_rule_umount_flags(BhRuleScene *s, guint64 flags) {
        static const struct number names[] = { { 1, "FORCE" }, { 2, "DETACH" }, { 4, "EXPIRE" }, { 8, "NOFOLLOW" } };

        return bits(s, LIST(names), flags, "0");
}

struct bh_str bh_rule_memfd_flags(BhRuleScene *s, guint64 flags) {
        static const struct number names[] = { N(MFD_CLOEXEC), N(MFD_ALLOW_SEALING), N(MFD_HUGETLB), { 8, "MFD_NOEXEC_SEAL" }, { 16, "MFD_EXEC" } };

        return bits(s, LIST(names), flags, "0");
}

struct bh_str bh_rule_rename_flags(BhRuleScene *s, guint64 flags) {
        static const struct number names[] = { { 1, "RENAME_NOREPLACE" }, { 2, "RENAME_EXCHANGE" }, { 4, "RENAME_WHITEOUT" } };

        return bits(s, LIST(names), flags, "0");
}

struct bh_str bh_rule_mmap_flags(BhRuleScene *s, guint64 flags) {
        static const struct number names[] = {
                N(MAP_SHARED), N(MAP_PRIVATE), N(MAP_FIXED), N(MAP_ANONYMOUS), N(MAP_32BIT), N(MAP_GROWSDOWN), N(MAP_DENYWRITE), N(MAP_EXECUTABLE), N(MAP_LOCKED), N(MAP_NORESERVE),
                N(MAP_POPULATE), N(MAP_NONBLOCK), N(MAP_STACK), N(MAP_HUGETLB), N(MAP_FIXED_NOREPLACE),
        };

        return bits(s, LIST(names), flags, "0");
}

struct bh_str bh_rule_module_flags(BhRuleScene *s, guint64 flags, gboolean unload) {
        static const struct number load[] = { N(MODULE_INIT_IGNORE_MODVERSIONS), N(MODULE_INIT_IGNORE_VERMAGIC), { 4, "MODULE_INIT_COMPRESSED_FILE" } };
        static const struct number away[] = { N(O_NONBLOCK), N(O_TRUNC) };

        return unload ? bits(s, LIST(away), flags, "0") : bits(s, LIST(load), flags, "0");
}

struct bh_str bh_rule_exe_flags(BhRuleScene *s) {
        static const struct {
                guint field;
                const char *name;
        } known[] = {
                { BH_FLD_PROC_EXE_WRITABLE, "EXE_WRITABLE" },
                { BH_FLD_PROC_EXE_UPPER, "EXE_UPPER_LAYER" },
                { BH_FLD_PROC_EXE_MEMFD, "EXE_FROM_MEMFD" },
                { BH_FLD_PROC_EXE_LOWER, "EXE_LOWER_LAYER" },
        };
        char text[128];
        gsize len = 0;
        struct bh_value v;

        text[0] = 0;
        for (guint i = 0; i < G_N_ELEMENTS(known); i++) {
                if (bh_value_proc(s, &(struct bh_field_ref){ .id = known[i].field }, &v) && v.n)
                        len += (gsize) g_snprintf(text + len, sizeof(text) - len, "%s%s", len ? "|" : "", known[i].name);
        }
        return bh_scene_print(s, "%s", text);
}

/* ---- services ---- */

#define SERVICES_MAX 20000u /* lines of /etc/services that are read */

static GHashTable *tcp, *udp, *by_name;

static void service(const char *name, guint32 port, gboolean is_udp) {
        GHashTable *names = is_udp ? udp : tcp;
        char *copy = (char *) g_intern_string(name); /* they live as long as the program */

        /* the first name of a port is its own, others are aliases */
        if (!g_hash_table_contains(names, GUINT_TO_POINTER(port)))
                g_hash_table_insert(names, GUINT_TO_POINTER(port), copy);
        if (!g_hash_table_contains(by_name, copy))
                g_hash_table_insert(by_name, copy, GUINT_TO_POINTER(port));
}

static void read_services(void) {
        static const struct number own[] = {
                { 20, "ftp-data" }, { 21, "ftp" }, { 22, "ssh" }, { 23, "telnet" }, { 25, "smtp" }, { 53, "domain" }, { 67, "bootps" }, { 68, "bootpc" }, { 69, "tftp" },
                { 80, "http" }, { 110, "pop3" }, { 111, "sunrpc" }, { 123, "ntp" }, { 143, "imap2" }, { 161, "snmp" }, { 389, "ldap" }, { 443, "https" }, { 445, "microsoft-ds" },
                { 514, "syslog" }, { 636, "ldaps" }, { 873, "rsync" }, { 993, "imaps" }, { 995, "pop3s" }, { 1433, "ms-sql-s" }, { 2049, "nfs" }, { 3306, "mysql" },
                { 5432, "postgresql" }, { 6379, "redis" }, { 8080, "http-alt" },
        };
        char line[512], name[128], kind[16];
        guint lines = 0, port;

        tcp = g_hash_table_new(NULL, NULL);
        udp = g_hash_table_new(NULL, NULL);
        by_name = g_hash_table_new(g_str_hash, g_str_equal);

        FILE *f = fopen("/etc/services", "re");
        while (f && lines++ < SERVICES_MAX && fgets(line, sizeof(line), f)) {
                if (sscanf(line, "%127s %u/%15s", name, &port, kind) == 3 && name[0] != '#' && port < 65536 && (g_str_equal(kind, "tcp") || g_str_equal(kind, "udp")))
                        service(name, port, g_str_equal(kind, "udp"));
        }
        if (f)
                fclose(f);
        for (guint i = 0; i < G_N_ELEMENTS(own); i++) {
                service(own[i].name, (guint32) own[i].value, FALSE);
                service(own[i].name, (guint32) own[i].value, TRUE);
        }
}

static void services(void) {
        static gsize ready;

        if (g_once_init_enter(&ready)) {
                read_services();
                g_once_init_leave(&ready, 1);
        }
}

const char *bh_rule_port_name(guint32 port, gboolean is_udp) {
        services();
        return g_hash_table_lookup(is_udp ? udp : tcp, GUINT_TO_POINTER(port));
}

gint32 bh_rule_port_number(const char *name, gsize len) {
        g_autofree char *text = g_strndup(name, len);
        gpointer port;

        services();
        return g_hash_table_lookup_extended(by_name, text, NULL, &port) ? (gint32) GPOINTER_TO_UINT(port) : -1;
}

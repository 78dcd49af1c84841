/* SPDX-License-Identifier: Apache-2.0 */
/* Names of numbers: from our own tables, and from the kernel's headers where the number is the kernel's. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "event/event.h"

struct named {
        const char *name, *doc;
};

static const struct named types[BH_EV_MAX] = {
#define BH_EVENT_TYPE(num, id, name, ring, folds, doc) [num] = { name, doc },
#include "event_types.tbl.h"
};

static const struct named reasons[BH_LOST_MAX] = {
#define BH_LOST_REASON(num, id, name, doc) [num] = { name, doc },
#include "reasons.tbl.h"
};

static const struct named record_flags[32] = {
#define BH_RECORD_FLAG(bit, id, name, doc) [bit] = { name, doc },
#include "reasons.tbl.h"
};

static const char *const sources[] = {
        [BH_SOURCE_KERNEL] = "kernel",
        [BH_SOURCE_SCAN] = "scan",
        [BH_SOURCE_RUNTIME] = "runtime",
        [BH_SOURCE_SENSOR] = "sensor",
};

static const char *const families[] = {
        [AF_UNSPEC] = "unspec", [AF_UNIX] = "unix",           [AF_INET] = "ipv4",     [AF_INET6] = "ipv6", [AF_KEY] = "key",   [AF_NETLINK] = "netlink",
        [AF_PACKET] = "packet", [AF_RDS] = "rds",             [AF_CAN] = "can",       [AF_TIPC] = "tipc",  [AF_ALG] = "alg",   [AF_BLUETOOTH] = "bluetooth",
        [AF_VSOCK] = "vsock",   [AF_XDP] = "xdp",
};

static const char *const sock_types[] = {
        [SOCK_STREAM] = "stream", [SOCK_DGRAM] = "dgram", [SOCK_RAW] = "raw", [SOCK_RDM] = "rdm", [SOCK_SEQPACKET] = "seqpacket", [SOCK_DCCP] = "dccp", [SOCK_PACKET] = "packet",
};

const char *bh_event_type_name(guint32 type) {
        return type < G_N_ELEMENTS(types) ? types[type].name : NULL;
}

const char *bh_event_type_doc(guint32 type) {
        return type < G_N_ELEMENTS(types) ? types[type].doc : NULL;
}

int bh_event_type_from_name(const char *name) {
        for (guint i = 0; name && i < G_N_ELEMENTS(types); i++) {
                if (types[i].name && strcmp(types[i].name, name) == 0)
                        return (int) i;
        }
        return -1;
}

const char *bh_lost_reason_name(guint32 reason) {
        return reason < G_N_ELEMENTS(reasons) ? reasons[reason].name : NULL;
}

const char *bh_lost_reason_doc(guint32 reason) {
        return reason < G_N_ELEMENTS(reasons) ? reasons[reason].doc : NULL;
}

const char *bh_record_flag_name(guint bit) {
        return bit < G_N_ELEMENTS(record_flags) ? record_flags[bit].name : NULL;
}

const char *bh_record_flag_doc(guint bit) {
        return bit < G_N_ELEMENTS(record_flags) ? record_flags[bit].doc : NULL;
}

const char *bh_source_name(guint32 source) {
        return source < G_N_ELEMENTS(sources) ? sources[source] : NULL;
}

const char *bh_errno_name(int err) {
        /* include/linux/errno.h of the kernel: seen by hooks, never by the caller */
        switch (err) {
        case 0: return NULL;
        case 512: return "ERESTARTSYS";
        case 513: return "ERESTARTNOINTR";
        case 514: return "ERESTARTNOHAND";
        case 515: return "ENOIOCTLCMD";
        case 516: return "ERESTART_RESTARTBLOCK";
        case 517: return "EPROBE_DEFER";
        case 518: return "EOPENSTALE";
        case 519: return "ENOPARAM";
        case 524: return "ENOTSUPP";
        case 529: return "EIOCBQUEUED";
        }
        return strerrorname_np(err);
}

const char *bh_enum_name(enum bh_field field, guint32 value) {
        switch ((int) field) {
        case BH_F_type: return bh_event_type_name(value);
        case BH_F_source: return bh_source_name(value);
        case BH_F_family: return value < G_N_ELEMENTS(families) ? families[value] : NULL;
        case BH_F_sock_type: return value < G_N_ELEMENTS(sock_types) ? sock_types[value] : NULL;
        }
        return NULL;
}

struct bit {
        guint64 mask;
        const char *name;
};

/* Those of more than one bit come first: O_SYNC contains O_DSYNC, O_TMPFILE contains O_DIRECTORY. */
static const struct bit open_bits[] = {
        { O_TMPFILE, "O_TMPFILE" },     { O_SYNC, "O_SYNC" },           { O_CREAT, "O_CREAT" },       { O_EXCL, "O_EXCL" },
        { O_NOCTTY, "O_NOCTTY" },       { O_TRUNC, "O_TRUNC" },         { O_APPEND, "O_APPEND" },     { O_NONBLOCK, "O_NONBLOCK" },
        { O_DSYNC, "O_DSYNC" },         { O_ASYNC, "O_ASYNC" },         { O_DIRECT, "O_DIRECT" },     { 0100000, "O_LARGEFILE" }, /* glibc says 0 on 64 bits */
        { O_DIRECTORY, "O_DIRECTORY" }, { O_NOFOLLOW, "O_NOFOLLOW" },   { O_NOATIME, "O_NOATIME" },   { O_CLOEXEC, "O_CLOEXEC" },
        { O_PATH, "O_PATH" },
};

static const struct bit prot_bits[] = {
        { PROT_READ, "PROT_READ" }, { PROT_WRITE, "PROT_WRITE" }, { PROT_EXEC, "PROT_EXEC" }, { PROT_GROWSDOWN, "PROT_GROWSDOWN" }, { PROT_GROWSUP, "PROT_GROWSUP" },
};

#define CLONE_NS_BITS \
        { CLONE_NEWNS, "CLONE_NEWNS" }, { CLONE_NEWCGROUP, "CLONE_NEWCGROUP" }, { CLONE_NEWUTS, "CLONE_NEWUTS" }, { CLONE_NEWIPC, "CLONE_NEWIPC" }, \
        { CLONE_NEWUSER, "CLONE_NEWUSER" }, { CLONE_NEWPID, "CLONE_NEWPID" }, { CLONE_NEWNET, "CLONE_NEWNET" }
#define CLONE_SHARE_BITS \
        { CLONE_VM, "CLONE_VM" }, { CLONE_FS, "CLONE_FS" }, { CLONE_FILES, "CLONE_FILES" }, { CLONE_SIGHAND, "CLONE_SIGHAND" }, { CLONE_THREAD, "CLONE_THREAD" }, \
        { CLONE_SYSVSEM, "CLONE_SYSVSEM" }

/* setns and unshare: 0x80 is not a signal number's part here. */
static const struct bit ns_bits[] = { { CLONE_NEWTIME, "CLONE_NEWTIME" }, CLONE_NS_BITS, CLONE_SHARE_BITS };
static const struct bit clone_bits[] = {
        CLONE_NS_BITS,
        CLONE_SHARE_BITS,
        { CLONE_PIDFD, "CLONE_PIDFD" },
        { CLONE_PTRACE, "CLONE_PTRACE" },
        { CLONE_VFORK, "CLONE_VFORK" },
        { CLONE_PARENT, "CLONE_PARENT" },
        { CLONE_SETTLS, "CLONE_SETTLS" },
        { CLONE_PARENT_SETTID, "CLONE_PARENT_SETTID" },
        { CLONE_CHILD_CLEARTID, "CLONE_CHILD_CLEARTID" },
        { CLONE_CHILD_SETTID, "CLONE_CHILD_SETTID" },
        { CLONE_UNTRACED, "CLONE_UNTRACED" },
        { CLONE_IO, "CLONE_IO" },
        { 0x100000000ull, "CLONE_CLEAR_SIGHAND" },
        { 0x200000000ull, "CLONE_INTO_CGROUP" },
};

static guint64 take(const struct bit *bits, gsize n, guint64 value, const char **names, guint *count) {
        for (gsize i = 0; i < n; i++) {
                if ((value & bits[i].mask) == bits[i].mask) {
                        names[(*count)++] = bits[i].name;
                        value &= ~bits[i].mask;
                }
        }
        return value;
}
_Static_assert(G_N_ELEMENTS(clone_bits) + 2 <= BH_FLAG_NAMES_MAX && G_N_ELEMENTS(open_bits) + 2 <= BH_FLAG_NAMES_MAX, "names have room");

guint bh_flag_names(enum bh_field field, guint64 value, const char *names[BH_FLAG_NAMES_MAX], guint64 *rest) {
        static const char *const access[] = { "O_RDONLY", "O_WRONLY", "O_RDWR" };
        guint n = 0;

        switch ((int) field) {
        case BH_F_flags:
                for (guint64 bits = value; bits; bits &= bits - 1) {
                        guint bit = (guint) __builtin_ctzll(bits);

                        if (bh_record_flag_name(bit)) {
                                names[n++] = bh_record_flag_name(bit);
                                value &= ~(1ull << bit);
                        }
                }
                break;
        case BH_F_open_flags:
                if ((value & O_ACCMODE) < G_N_ELEMENTS(access) && !(value & O_PATH)) {
                        names[n++] = access[value & O_ACCMODE];
                        value &= ~(guint64) O_ACCMODE;
                }
                value = take(open_bits, G_N_ELEMENTS(open_bits), value, names, &n);
                break;
        case BH_F_prot:
                if (!value)
                        names[n++] = "PROT_NONE";
                value = take(prot_bits, G_N_ELEMENTS(prot_bits), value, names, &n);
                break;
        case BH_F_ns_flags:
                value = take(ns_bits, G_N_ELEMENTS(ns_bits), value, names, &n);
                break;
        case BH_F_clone_flags:
                value = take(clone_bits, G_N_ELEMENTS(clone_bits), value, names, &n);
                if ((value & CSIGNAL) == SIGCHLD) {
                        names[n++] = "SIGCHLD";
                        value &= ~(guint64) CSIGNAL;
                }
                break;
        }
        *rest = value;
        return n;
}

gboolean bh_enum_value(enum bh_field field, const char *name, guint32 *value) {
        /* every list of names above is shorter */
        for (guint32 v = 0; v < 256; v++) {
                if (g_strcmp0(bh_enum_name(field, v), name) == 0) {
                        *value = v;
                        return TRUE;
                }
        }
        return FALSE;
}
_Static_assert(BH_EV_MAX <= 256 && G_N_ELEMENTS(families) <= 256, "bh_enum_value() looks at all");

gboolean bh_flag_value(enum bh_field field, const char *name, guint64 *value) {
        static const struct {
                enum bh_field field;
                const struct bit *bits;
                gsize n;
        } lists[] = {
                { BH_F_open_flags, open_bits, G_N_ELEMENTS(open_bits) }, { BH_F_prot, prot_bits, G_N_ELEMENTS(prot_bits) },
                { BH_F_ns_flags, ns_bits, G_N_ELEMENTS(ns_bits) },       { BH_F_clone_flags, clone_bits, G_N_ELEMENTS(clone_bits) },
        };
        /* values that are no bits, or no list's */
        static const struct {
                enum bh_field field;
                struct bit bit;
        } single[] = {
                { BH_F_open_flags, { O_RDONLY, "O_RDONLY" } }, { BH_F_open_flags, { O_WRONLY, "O_WRONLY" } }, { BH_F_open_flags, { O_RDWR, "O_RDWR" } },
                { BH_F_prot, { PROT_NONE, "PROT_NONE" } },     { BH_F_clone_flags, { SIGCHLD, "SIGCHLD" } },
        };

        for (guint bit = 0; field == BH_F_flags && bit < G_N_ELEMENTS(record_flags); bit++) {
                if (g_strcmp0(bh_record_flag_name(bit), name) == 0) {
                        *value = 1ull << bit;
                        return TRUE;
                }
        }
        for (gsize i = 0; i < G_N_ELEMENTS(single); i++) {
                if (single[i].field == field && g_str_equal(single[i].bit.name, name)) {
                        *value = single[i].bit.mask;
                        return TRUE;
                }
        }
        for (gsize l = 0; l < G_N_ELEMENTS(lists); l++) {
                for (gsize i = 0; lists[l].field == field && i < lists[l].n; i++) {
                        if (g_str_equal(lists[l].bits[i].name, name)) {
                                *value = lists[l].bits[i].mask;
                                return TRUE;
                        }
                }
        }
        return FALSE;
}

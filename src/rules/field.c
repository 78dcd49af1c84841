/* SPDX-License-Identifier: Apache-2.0 */
#include "rules/field.h"

#include <string.h>

#include "event/event.h"

#define BH_FF_IS(flags, bit) (((flags) & (bit)) != 0)

static const BhRuleField rows[BH_FLD_COUNT] = {
#define BH_RULE_FIELD(ID, name, type, arg, flags, sources, when, why, doc) \
        { name, BH_RT_##type, BH_RA_##arg, flags, BH_FF_IS(flags, BH_FF_DOTTED), BH_FF_IS(flags, BH_FF_LIST), BH_RS_##sources, BH_FLD_##ID, BH_RW_##when, why, doc },
#include "rules/fields.tbl.h"
};

static GHashTable *by_name(void) {
        static gsize ready;
        static GHashTable *names;

        if (g_once_init_enter(&ready)) {
                names = g_hash_table_new(g_str_hash, g_str_equal);
                for (guint i = 0; i < BH_FLD_COUNT; i++)
                        g_hash_table_insert(names, (gpointer) rows[i].name, (gpointer) &rows[i]);
                g_once_init_leave(&ready, 1);
        }
        return names;
}

#define NAME_MAX_LEN 63u

static const BhRuleField *lookup(const char *text, gsize len) {
        char name[NAME_MAX_LEN + 1];

        if (!len || len > NAME_MAX_LEN || memchr(text, 0, len))
                return NULL;
        memcpy(name, text, len);
        name[len] = 0;
        return g_hash_table_lookup(by_name(), name);
}

const BhRuleField *bh_rule_field_find(const char *text, gsize len, gsize *used) {
        const char *bracket = len ? memchr(text, '[', len) : NULL;
        gsize end = bracket ? (gsize) (bracket - text) : len;
        const BhRuleField *f = lookup(text, end);

        if (f) {
                *used = end;
                return f;
        }
        /* name.ARG: the longest dotted field in front of a point */
        for (gsize n = MIN(end, NAME_MAX_LEN + 1); n-- > 1;) {
                if (n < end && text[n] == '.' && (f = lookup(text, n)) && f->dotted) {
                        *used = n;
                        return f;
                }
        }
        return NULL;
}

const BhRuleField *bh_rule_fields(guint *n) {
        *n = BH_FLD_COUNT;
        return rows;
}

const char *bh_rule_type_name(enum bh_rule_type type) {
        switch (type) {
        case BH_RT_STRING: return "text";
        case BH_RT_NUMBER: return "number";
        case BH_RT_BOOL: return "bool";
        case BH_RT_TIME: return "time";
        case BH_RT_DURATION: return "duration";
        case BH_RT_IP: return "address";
        case BH_RT_NET: return "network";
        case BH_RT_PORT: return "port";
        case BH_RT_FLAGS: return "flags";
        case BH_RT_BYTES: return "bytes";
        case BH_RT_ANY: return "any";
        }
        return "any";
}

const char *bh_rule_arg_form(enum bh_rule_arg arg) {
        switch (arg) {
        case BH_RA_NONE: return "";
        case BH_RA_INDEX: return "[N]";
        case BH_RA_INDEX_OPT: return "[N?]";
        case BH_RA_NAME: return "[NAME]";
        case BH_RA_NAME_OPT: return "[NAME?]";
        }
        return "";
}

/* Kinds per class, in the order of enum bh_rule_when. A class that ends in 0 at once is handled below. */
#define KINDS_MAX 40
static const guint8 kinds_of[BH_RW_COUNT][KINDS_MAX] = {
        [BH_RW_RUNTIME] = { BH_EV_CONTAINER, BH_EV_SENSOR },
        [BH_RW_FILE] = { BH_EV_OPEN, BH_EV_CLOSE_WRITE, BH_EV_CHMOD, BH_EV_CHOWN, BH_EV_SETXATTR, BH_EV_CHDIR, BH_EV_MMAP_EXEC, BH_EV_MPROTECT_EXEC, BH_EV_MEMFD_CREATE,
                         BH_EV_DUP_STDIO, BH_EV_MODULE_LOAD, BH_EV_BPF, BH_EV_KEXEC, BH_EV_PERF_EVENT_OPEN, BH_EV_USERFAULTFD, BH_EV_IO_URING_SETUP, BH_EV_SETNS,
                         BH_EV_PIDFD_GETFD, BH_EV_MEM_WRITE },
        [BH_RW_SOCK] = { BH_EV_SOCKET, BH_EV_CONNECT, BH_EV_BIND, BH_EV_LISTEN, BH_EV_ACCEPT, BH_EV_NET_CLOSE, BH_EV_SEND, BH_EV_RECV, BH_EV_DNS, BH_EV_DUP_STDIO },
        [BH_RW_FSPATH] = { BH_EV_OPEN, BH_EV_CLOSE_WRITE, BH_EV_RENAME, BH_EV_LINK, BH_EV_SYMLINK, BH_EV_UNLINK, BH_EV_MKDIR, BH_EV_RMDIR, BH_EV_MKNOD, BH_EV_CHMOD, BH_EV_CHOWN,
                           BH_EV_SETXATTR, BH_EV_MOUNT, BH_EV_UMOUNT, BH_EV_PIVOT_ROOT, BH_EV_MOVE_MOUNT, BH_EV_CHROOT, BH_EV_CHDIR },
        [BH_RW_FSPATH2] = { BH_EV_RENAME, BH_EV_LINK, BH_EV_SYMLINK, BH_EV_MOUNT, BH_EV_MOVE_MOUNT, BH_EV_PIVOT_ROOT },
        [BH_RW_IO] = { BH_EV_SEND, BH_EV_RECV, BH_EV_DNS, BH_EV_CLOSE_WRITE, BH_EV_NET_CLOSE, BH_EV_VM_WRITE, BH_EV_MEM_WRITE, BH_EV_MMAP_EXEC, BH_EV_MPROTECT_EXEC, BH_EV_MODULE_LOAD,
                       BH_EV_SETXATTR },
        [BH_RW_BUFFER] = { BH_EV_DNS, BH_EV_SEND, BH_EV_RECV },
        [BH_RW_EXEC] = { BH_EV_EXEC, BH_EV_PROCESS },
        [BH_RW_MAP] = { BH_EV_MMAP_EXEC, BH_EV_MPROTECT_EXEC, BH_EV_EXEC },
        [BH_RW_TARGET] = { BH_EV_PTRACE, BH_EV_SIGNAL, BH_EV_VM_WRITE, BH_EV_MEM_WRITE, BH_EV_PIDFD_GETFD, BH_EV_SETNS, BH_EV_CGROUP_ATTACH, BH_EV_COMM, BH_EV_PERF_EVENT_OPEN, BH_EV_CONNECT,
                           BH_EV_ACCEPT },
        [BH_RW_DNS] = { BH_EV_DNS },
        [BH_RW_CGROUP] = { BH_EV_CGROUP_CREATE, BH_EV_CGROUP_REMOVE, BH_EV_CGROUP_ATTACH },
        [BH_RW_CREDS] = { BH_EV_CREDS },
};

static void add(guint64 kinds[BH_KIND_WORDS], guint kind) {
        kinds[kind / 64] |= 1ull << (kind % 64);
}

void bh_rule_when_kinds(enum bh_rule_when when, guint64 kinds[BH_KIND_WORDS]) {
        memset(kinds, 0, sizeof(guint64) * BH_KIND_WORDS);
        for (guint k = 1; k < BH_EV_MAX; k++) {
                if (!bh_event_type_name(k))
                        continue;
                if (when == BH_RW_ANY || (when == BH_RW_SYSCALL && k < BH_EV_KERNEL_MAX) || (when == BH_RW_PROC && (k < BH_EV_KERNEL_MAX || k == BH_EV_PROCESS)))
                        add(kinds, k);
        }
        for (guint i = 0; i < KINDS_MAX && kinds_of[when][i]; i++)
                add(kinds, kinds_of[when][i]);
        if (when == BH_RW_FD) {
                for (guint i = 0; i < KINDS_MAX; i++) {
                        if (kinds_of[BH_RW_FILE][i])
                                add(kinds, kinds_of[BH_RW_FILE][i]);
                        if (kinds_of[BH_RW_SOCK][i])
                                add(kinds, kinds_of[BH_RW_SOCK][i]);
                }
        }
}

/* Edits (insert, delete, replace, swap of neighbours) from a to b, at most `bound`. */
static guint distance(const char *a, gsize la, const char *b, gsize lb, guint bound) {
        guint row[3][NAME_MAX_LEN + 2];

        if (la > NAME_MAX_LEN || lb > NAME_MAX_LEN || (la > lb ? la - lb : lb - la) > bound)
                return bound + 1;
        for (gsize j = 0; j <= lb; j++)
                row[0][j] = (guint) j;
        for (gsize i = 1; i <= la; i++) {
                guint *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];

                now[0] = (guint) i;
                for (gsize j = 1; j <= lb; j++) {
                        guint cost = a[i - 1] != b[j - 1];

                        now[j] = MIN(MIN(last[j] + 1, now[j - 1] + 1), last[j - 1] + cost);
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                                now[j] = MIN(now[j], before[j - 2] + 1);
                }
        }
        return row[la % 3][lb];
}

const char **bh_rule_field_like(const char *text, gsize len) {
        const char **best = g_new0(const char *, 4);
        const char *bracket = len ? memchr(text, '[', len) : NULL;
        guint score[3], n = 0, bound;

        if (bracket)
                len = (gsize) (bracket - text);
        bound = (guint) MIN(3, len / 3 + 1);
        for (guint i = 0; i < BH_FLD_COUNT; i++) {
                guint d = distance(text, len, rows[i].name, strlen(rows[i].name), bound), at;

                if (d > bound)
                        continue;
                for (at = n; at > 0 && score[at - 1] > d; at--) {
                        if (at < 3) {
                                score[at] = score[at - 1];
                                best[at] = best[at - 1];
                        }
                }
                if (at < 3) {
                        score[at] = d;
                        best[at] = rows[i].name;
                        n = MIN(n + 1, 3);
                }
        }
        return best;
}

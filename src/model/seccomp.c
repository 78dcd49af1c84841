/* SPDX-License-Identifier: Apache-2.0 */
/* A seccomp profile, as Docker, podman and runc take it, of the system calls that a version was learned to make. */
#include <jansson.h>
#include <string.h>

#include "model/model.h"

/*
 * The runtime's own, between the filter's start and the program's: runc 1.1 and 1.2 and crun change user, capabilities and directory, close descriptors, and wait at a pipe. What models learn has
 * them not, as these are not what a workload does. And what the kernel itself makes a program do: end, return from a signal, go on with a call that was interrupted.
 */
static const char *const runtime[] = {
        "arch_prctl", "brk", "capget", "capset", "chdir", "clone", "clone3", "close", "close_range", "dup3", "epoll_create1", "epoll_ctl", "epoll_pwait", "eventfd2", "execve", "exit", "exit_group",
        "faccessat2", "fchdir", "fchown", "fcntl", "fstat", "fstatfs", "futex", "getcwd", "getdents64", "getpgrp", "getpid", "getppid", "getrandom", "gettid", "getuid", "geteuid", "getgid", "getegid", "getrlimit", "ioctl",
        "lseek", "madvise", "mmap", "mprotect", "munmap", "nanosleep", "newfstatat", "openat", "openat2", "pipe2", "ppoll", "prctl", "pread64", "prlimit64", "read", "readlink", "readlinkat", "restart_syscall",
        "rseq", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sched_getaffinity", "sched_yield", "seccomp", "set_robust_list", "set_tid_address", "setgid", "setgroups", "setsid", "setuid", "sigaltstack", "statx",
        "tgkill", "umask", "write", "writev",
};

static int by_text(gconstpointer a, gconstpointer b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static json_t *rule(GPtrArray *names, const char *why) {
        json_t *list = json_array();

        g_ptr_array_sort(names, by_text);
        for (guint i = 0; i < names->len; i++)
                json_array_append_new(list, json_string(names->pdata[i]));
        return json_pack("{s:o, s:s, s:s}", "names", list, "action", "SCMP_ACT_ALLOW", "comment", why);
}

/* A name that sensors give to what has none for them. */
static gboolean nameless(const char *name) {
        return g_str_has_prefix(name, "syscall_") || g_str_equal(name, "unknown");
}

char *bh_model_seccomp(const BhModel *m, const BhModelVersion *v, GError **error) {
        g_autoptr(GHashTable) known = g_hash_table_new(g_str_hash, g_str_equal);
        g_autoptr(GPtrArray) learned = g_ptr_array_new(), base = g_ptr_array_new();
        json_t *architectures = json_pack("[s]", "SCMP_ARCH_X86_64"), *rules = json_array();
        gboolean compat = FALSE;
        guint left_out = 0;
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, v->facets->items);
        while (g_hash_table_iter_next(&it, &p, NULL)) {
                const BhItem *i = p;

                if (i->family != BH_FAMILY_SYSCALL || !(i->flags & BH_ITEM_LEARNED) || (i->flags & BH_ITEM_FORBIDDEN))
                        continue;
                compat |= g_str_equal(i->detail, "32-bit");
                if (nameless(i->object))
                        left_out++;
                else if (g_hash_table_add(known, (gpointer) i->object))
                        g_ptr_array_add(learned, (gpointer) i->object);
        }
        if (!learned->len) {
                json_decref(architectures);
                json_decref(rules);
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                            "no system calls were learned of %s/%s: let it run for some minutes on a node whose sensor looks at them (\"bulkhead status\" there: calls), or import a model that has them", m->application,
                            m->workload);
                return NULL;
        }
        if (compat)
                json_array_append_new(architectures, json_string("SCMP_ARCH_X86"));
        for (guint k = 0; k < G_N_ELEMENTS(runtime); k++)
                if (!g_hash_table_contains(known, runtime[k]))
                        g_ptr_array_add(base, (gpointer) runtime[k]);

        gboolean scored = v->states[BH_FAMILY_SYSCALL] >= BH_MODEL_SCORED || bh_model_locked(v, BH_FAMILY_SYSCALL);
        g_autofree char *why = g_strdup_printf("learned of %s/%s %s%s%s", m->application, m->workload, v->digest, scored ? "" : "; it is still learning, so that calls may be missing",
                                               left_out ? "; calls without a name on the node were left out" : "");
        json_array_append_new(rules, rule(learned, why));
        json_array_append_new(rules, rule(base, "the runtime's own, before the program starts"));
        json_t *top = json_pack("{s:s, s:i, s:o, s:o}", "defaultAction", "SCMP_ACT_ERRNO", "defaultErrnoRet", 1, "architectures", architectures, "syscalls", rules);
        char *text = json_dumps(top, JSON_INDENT(2)), *out = g_strconcat(text, "\n", NULL);
        free(text);
        json_decref(top);
        return out;
}

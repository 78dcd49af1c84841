/* SPDX-License-Identifier: Apache-2.0 */
#include "model/never.h"

#include "model/template.h"

static const char *base_of(const char *exe, gsize len, gsize *n) {
        const char *slash = len ? memrchr(exe, '/', len) : NULL;
        const char *base = slash ? slash + 1 : exe;

        *n = len - (gsize) (base - exe);
        return base;
}

/* The name, also with a version behind it: python3.11, php-fpm8.2, ruby3. */
static gboolean named(const char *base, gsize n, const char *name) {
        gsize len = strlen(name);

        if (n < len || memcmp(base, name, len))
                return FALSE;
        for (gsize i = len; i < n; i++)
                if (!g_ascii_isdigit(base[i]) && base[i] != '.' && base[i] != '-')
                        return FALSE;
        return TRUE;
}

static gboolean one_of(const char *exe, gsize len, const char *const *names, guint n_names) {
        gsize n;
        const char *base = base_of(exe, len, &n);

        for (guint i = 0; i < n_names; i++)
                if (n && base[0] == names[i][0] && named(base, n, names[i]))
                        return TRUE;
        return FALSE;
}

/* "/bin/busybox sh", as models call one file that is many programs. */
static void applet(const char **exe, gsize *len) {
        const char *found = memmem(*exe, *len, "/busybox ", 9);

        if (found) {
                *len -= (gsize) (found + 9 - *exe);
                *exe = found + 9;
        }
}

gboolean bh_never_is_shell(const char *exe, gsize len) {
        static const char *const names[] = { "sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "rbash", "csh", "tcsh", "fish" };

        applet(&exe, &len);
        return one_of(exe, len, names, G_N_ELEMENTS(names));
}

gboolean bh_never_is_server(const char *exe, gsize len) {
        static const char *const names[] = {
                "nginx", "apache", "httpd", "lighttpd", "caddy", "haproxy", "envoy", "traefik", "php", "php-fpm", "php-cgi", "java", "node", "nodejs", "python", "ruby", "perl", "uwsgi",
                "gunicorn", "unicorn", "puma", "postgres", "mysqld", "mariadbd", "mongod", "redis-server", "valkey-server", "memcached", "mosquitto", "beam.smp", "dotnet", "vsftpd", "proftpd", "exim", "smbd", "named", "tomcat",
        };

        return one_of(exe, len, names, G_N_ELEMENTS(names));
}

static gboolean is_cloned(struct bh_str exe) {
        static const char prefix[] = "/memfd:runc_cloned:";

        return exe.len >= sizeof(prefix) - 1 && memcmp(exe.p, prefix, sizeof(prefix) - 1) == 0;
}

gboolean bh_never_runtime(const struct bh_event *e) {
        static const char *const names[] = { "runc", "crun", "youki", "conmon", "containerd", "containerd-shim", "containerd-shim-runc-v", "dockerd", "crio", "podman", "docker-init" };
        guint64 flags = bh_event_has(e, BH_F_flags) ? e->flags : 0;

        if (!bh_event_has(e, BH_F_exe) || !e->exe.len)
                return FALSE;
        /* runc runs from a sealed copy of itself, without a name or in memory, and was started by the runtime */
        gboolean copy = (e->exe.len == 1 && e->exe.p[0] == '/') || ((flags & BH_RF_EXE_MEMFD) && is_cloned(e->exe));
        gboolean parent = bh_event_has(e, BH_F_parent_exe) && e->parent_exe.len, by_runtime = parent && (one_of(e->parent_exe.p, e->parent_exe.len, names, G_N_ELEMENTS(names)) ||
                                                                                                        (e->parent_exe.len == 1 && e->parent_exe.p[0] == '/') || is_cloned(e->parent_exe));
        if (copy)
                return by_runtime;
        /*
         * Of a container's own layers nothing is the runtime, nor of its tmpfs, which is no layer. A volume is none either, and looks like the host's disk: but what is started in a container has a
         * parent that is no runtime.
         */
        return (by_runtime || !parent) && !(flags & (BH_RF_EXE_UPPER | BH_RF_EXE_LOWER | BH_RF_EXE_MEMFD)) && !bh_template_writable(e->exe.p, e->exe.len) &&
               one_of(e->exe.p, e->exe.len, names, G_N_ELEMENTS(names));
}

static const char *of_exec(const struct bh_event *e, guint64 flags) {
        if (flags & BH_RF_EXE_MEMFD)
                return "a program that is only in memory";
        if (flags & BH_RF_EXE_UPPER)
                return "a program that is not in the image";
        if (flags & BH_RF_EXE_DELETED)
                return "a program whose file was removed";
        if (bh_event_has(e, BH_F_exe) && bh_template_writable(e->exe.p, e->exe.len))
                return "a program in a place where programs may be written";
        if (bh_event_has(e, BH_F_parent_exe) && bh_event_has(e, BH_F_exe) && bh_never_is_server(e->parent_exe.p, e->parent_exe.len)) {
                if (bh_never_is_shell(e->exe.p, e->exe.len))
                        return "a shell started by a server";
                if (bh_event_has(e, BH_F_args) && e->args.len && bh_never_is_shell(e->args.p, strnlen(e->args.p, e->args.len)))
                        return "a shell started by a server";
        }
        return NULL;
}

static const char *of_open(const struct bh_event *e) {
        static const char *const checkers[] = { "su", "sudo", "login", "sshd", "sshd-session", "passwd", "chage", "unix_chkpwd", "chpasswd", "useradd", "usermod", "userdel", "groupadd", "adduser", "cron", "crond", "expiry", "chfn", "chsh", "pwconv", "pwck", "dpkg", "systemd-sysusers" };

        /* most paths end here */
        if (!bh_event_has(e, BH_F_path) || !e->path.len || !memmem(e->path.p, e->path.len, "shadow", 6) || !bh_template_credential(e->path.p, e->path.len))
                return NULL;
        /* tokens and keys are read by whom they are for: novelty tells of others; password files are not */
        if (!memmem(e->path.p, e->path.len, "/etc/shadow", 11) && !memmem(e->path.p, e->path.len, "/etc/gshadow", 12))
                return NULL;
        if (bh_event_has(e, BH_F_exe) && one_of(e->exe.p, e->exe.len, checkers, G_N_ELEMENTS(checkers)))
                return NULL;
        return "a password file opened by a program that checks no passwords";
}

const char *bh_never_learn(const struct bh_event *e) {
        guint64 flags = bh_event_has(e, BH_F_flags) ? e->flags : 0;
        const char *why;

        switch (e->type) {
        case BH_EV_EXEC:
                return bh_never_runtime(e) ? NULL : of_exec(e, flags);
        case BH_EV_OPEN:
                return (why = of_open(e)) && !bh_never_runtime(e) ? why : NULL;
        case BH_EV_SETNS:
        case BH_EV_PIVOT_ROOT:
        case BH_EV_MOUNT:
        case BH_EV_MOVE_MOUNT:
                return bh_never_runtime(e) ? NULL : "namespaces or mounts changed";
        case BH_EV_PTRACE:
        case BH_EV_VM_WRITE:
        case BH_EV_MEM_WRITE:
        case BH_EV_PIDFD_GETFD:
                return bh_never_runtime(e) ? NULL : "another process attached to or written into";
        case BH_EV_MODULE_LOAD:
        case BH_EV_MODULE_UNLOAD:
        case BH_EV_BPF:
        case BH_EV_KEXEC:
                return bh_never_runtime(e) ? NULL : "code loaded into the kernel";
        default:
                return NULL;
        }
}

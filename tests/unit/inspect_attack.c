/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inspector's mind when it has been taken over: what src/inspect/main.c calls instead of the parsers in the test builds inspect-attack
 * (with its whole sandbox) and inspect-attack-bare (without the system-call filter). A ping "attack NAME" tries that row of the table and
 * answers "done" or "failed: …" if it is still alive; other pings misbehave towards the client. Everything else is answered properly.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "inspect_attack.h"
#include "parse/inspect_wire.h"

BhInspectStatus bh_attack_answer(guint kind, const guint8 *body, gsize len, const guint8 *file, gsize file_len, GByteArray *out);

static long try_openat2(void) {
        struct open_how how = { .flags = O_RDONLY };

        return syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", &how, sizeof(how));
}

static long try_stat(void) {
        struct stat st;

        return stat("/etc/passwd", &st);
}

static long try_inet(void) {
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(BH_ATTACK_PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        return fd < 0 ? fd : connect(fd, (struct sockaddr *) &to, sizeof(to));
}

static long try_unix(const char *name, gboolean abstract) {
        struct sockaddr_un to = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);

        g_strlcpy(to.sun_path + abstract, name, sizeof(to.sun_path) - 1);
        return fd < 0 ? fd : connect(fd, (struct sockaddr *) &to, (socklen_t) (offsetof(struct sockaddr_un, sun_path) + abstract + strlen(name)));
}

static long try_socketpair(void) {
        int pair[2];

        return socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
}

static long try_send_descriptor(void) {
        union {
                char bytes[CMSG_SPACE(sizeof(int))];
                struct cmsghdr align;
        } control = { .align = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
        struct msghdr msg = { .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes) };
        int fd = 3;

        memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
        return sendmsg(3, &msg, MSG_DONTWAIT);
}

static long try_fork(void) {
        long pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

        if (pid == 0)
                _exit(0);
        return pid;
}

static long try_clone3(void) {
        struct clone_args args = { .exit_signal = SIGCHLD };
        long pid = syscall(SYS_clone3, &args, sizeof(args));

        if (pid == 0)
                _exit(0);
        return pid;
}

static long try_exec_memory(void) {
        int fd = memfd_create("x", 0);

        return fd < 0 ? fd : syscall(SYS_execveat, fd, "", (char *[]) { (char *) "x", NULL }, NULL, AT_EMPTY_PATH);
}

static long try_vm(gboolean reading) {
        static char mine[8];
        struct iovec local = { mine, sizeof(mine) }, remote = { mine, sizeof(mine) };

        return reading ? process_vm_readv(getppid(), &local, 1, &remote, 1, 0) : process_vm_writev(getppid(), &local, 1, &remote, 1, 0);
}

static long try_capset(void) {
        struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct d[2] = { { .effective = ~0u, .permitted = ~0u }, { 0 } };

        return syscall(SYS_capset, &h, d);
}

static long try_mmap(int prot) {
        return mmap(NULL, 4096, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0;
}

static long try_mprotect(void) {
        void *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        return m == MAP_FAILED ? -1 : mprotect(m, 4096, PROT_READ | PROT_EXEC);
}

static long try_ioctl(void) {
        int n;

        return ioctl(3, FIONREAD, &n);
}

#if defined(__x86_64__)
static long try_i386(void) {
        long result;

        __asm__ volatile("int $0x80" : "=a"(result) : "a"(20 /* getpid */) : "memory", "r8", "r9", "r10", "r11");
        return result;
}
#endif

static const struct {
        const char *name;
        int number;
} attacks[] = {
#define ATTACK(name, without_filter, expression) { #name, __LINE__ },
#include "inspect_attacks.tbl.h"
#undef ATTACK
};

static long attack(int number) {
        switch (number) {
#define ATTACK(name, without_filter, expression) case __LINE__: return (long) (expression);
#include "inspect_attacks.tbl.h"
#undef ATTACK
        default:
                g_assert_not_reached();
        }
}

static BhInspectStatus say(GByteArray *out, const char *text) {
        g_byte_array_append(out, (const guint8 *) text, (guint) strlen(text));
        return BH_INSPECT_OK;
}

static BhInspectStatus misbehave(const char *how, GByteArray *out) {
        volatile guint endless = 1;
        BhInspectHeader h = { .kind = BH_INSPECT_PING, .id = 12345 };

        for (gsize i = 0; i < G_N_ELEMENTS(attacks); i++)
                if (g_str_has_prefix(how, "attack ") && g_str_equal(how + 7, attacks[i].name)) {
                        errno = 0;
                        return attack(attacks[i].number) >= 0 ? say(out, "done") : say(out, g_strdup_printf("failed: %d", errno));
                }
        if (g_str_equal(how, "crash")) {
                *(volatile int *) (gsize) endless = 0;
        } else if (g_str_equal(how, "hang")) {
                while (TRUE)
                        endless = 1;
        } else if (g_str_equal(how, "leave")) {
                _exit(7);
        } else if (g_str_equal(how, "devour")) { /* memory, until there is none: with its limit it dies, and no one else */
                for (gsize n = 0;; n++)
                        memset(g_malloc(1 << 20), 1, 1 << 20);
        } else if (g_str_equal(how, "foreign answer")) {
                (void) !write(3, &h, sizeof(h));
        } else if (g_str_equal(how, "unknown status")) {
                return BH_INSPECT_LOST;
        } else if (g_str_equal(how, "long answer")) {
                g_byte_array_set_size(out, out->len + BH_INSPECT_ANSWER_MAX + 1);
        } else if (g_str_equal(how, "controls")) {
                say(out, "\x1b[31mred\x1b[0m");
                return BH_INSPECT_MALFORMED;
        } else {
                return say(out, how);
        }
        return BH_INSPECT_OK;
}

BhInspectStatus bh_attack_answer(guint kind, const guint8 *body, gsize len, const guint8 *file, gsize file_len, GByteArray *out) {
        g_autofree char *how = g_strndup((const char *) body, len);

        if (kind == BH_INSPECT_PING && len < 100)
                return misbehave(how, out);
        if (kind == BH_INSPECT_DNS && g_str_has_prefix(how, "false answer"))
                return say(out, "what is not a DNS message");
        return bh_inspect_answer(kind, body, len, file, file_len, out);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* acts: the line printed, and the helpers that all acts share. See acts.h. */
#include "acts.h"

#include <arpa/inet.h>
#include <linux/capability.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

struct act_env env;

static struct act_shared *shared;

/* ---- the line ---- */

static struct {
        const struct act *act;
        char *facts;
        size_t len, size;
        pid_t pid, tid;
        long ret;
        int err;
        bool has_ret, supported;
        char why[256];
        uint64_t t0;
} line;

static uint64_t now_ns(clockid_t clock) {
        struct timespec t;

        clock_gettime(clock, &t);
        return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

void act_shared_init(void) {
        shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (shared == MAP_FAILED)
                abort();
}

struct act_shared *act_shared(void) {
        return shared;
}

static void put(const char *data, size_t n) {
        if (line.len + n + 1 > line.size) {
                line.size = (line.len + n + 1) * 2;
                line.facts = realloc(line.facts, line.size);
                if (!line.facts)
                        abort();
        }
        memcpy(line.facts + line.len, data, n);
        line.len += n;
        line.facts[line.len] = 0;
}

static void putf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void putf(const char *fmt, ...) {
        char buf[512];
        va_list ap;

        va_start(ap, fmt);
        int n = vsnprintf(buf, sizeof buf, fmt, ap);
        va_end(ap);
        put(buf, n < (int) sizeof buf ? (size_t) n : sizeof buf - 1);
}

/* Length of the valid UTF-8 sequence at p (RFC 3629), 0 if there is none. */
static size_t sequence(const unsigned char *p, size_t left) {
        static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
        size_t k = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] <= 0xdf ? 2 : p[0] >= 0xe0 && p[0] <= 0xef ? 3 : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4 : 0;

        if (k < 2 || k > left)
                return k == 1;
        uint32_t cp = p[0] & (0xffu >> (k + 1));
        for (size_t i = 1; i < k; i++) {
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
                cp = cp << 6 | (p[i] & 0x3f);
        }
        return cp >= least[k] && cp <= 0x10ffff && (cp < 0xd800 || cp > 0xdfff) ? k : 0;
}

/* The escaping of the product's JSON: control characters \u00XX, other bytes outside UTF-8 "\\xXX", a backslash doubled before JSON. */
static void put_text(const char *text, size_t len) {
        put("\"", 1);
        for (size_t i = 0; i < len;) {
                unsigned char c = (unsigned char) text[i];
                size_t k = sequence((const unsigned char *) text + i, len - i);

                if (!k)
                        putf("\\\\x%02x", c);
                else if (c == '\\')
                        put("\\\\\\\\", 4);
                else if (c == '"')
                        put("\\\"", 2);
                else if (c < 0x20)
                        putf("\\u%04x", c);
                else
                        put(text + i, k);
                i += k ? k : 1;
        }
        put("\"", 1);
}

void act_begin(const struct act *a) {
        char *facts = line.facts;
        size_t size = line.size;

        memset(&line, 0, sizeof line);
        line.facts = facts;
        line.size = size;
        put("", 0);
        line.act = a;
        line.supported = true;
        line.pid = (pid_t) syscall(SYS_getpid);
        line.tid = (pid_t) syscall(SYS_gettid);
        line.t0 = now_ns(CLOCK_BOOTTIME);
}

void act_next(void) {
        uint64_t t0 = line.t0;

        act_begin(line.act);
        line.t0 = t0;
}

void act_mem(const char *key, const char *text, size_t len) {
        putf(",\"%s\":", key);
        put_text(text, len);
}

void act_str(const char *key, const char *text) {
        act_mem(key, text, strlen(text));
}

void act_strs(const char *key, char *const list[]) {
        putf(",\"%s\":[", key);
        for (size_t i = 0; list[i]; i++) {
                if (i)
                        put(",", 1);
                put_text(list[i], strlen(list[i]));
        }
        put("]", 1);
}

void act_int(const char *key, long long value) {
        putf(",\"%s\":%lld", key, value);
}

void act_bool(const char *key, bool value) {
        putf(",\"%s\":%s", key, value ? "true" : "false");
}

void act_raw(const char *key, const char *json) {
        putf(",\"%s\":", key);
        put(json, strlen(json));
}

void act_who(pid_t pid, pid_t tid) {
        line.pid = pid;
        line.tid = tid;
}

long act_ret_err(long ret, int err) {
        line.has_ret = true;
        line.ret = ret;
        line.err = ret == -1 ? err : 0;
        if (line.err == ENOSYS) {
                line.supported = false;
                snprintf(line.why, sizeof line.why, "this kernel has no such call");
        }
        return ret;
}

long act_ret(long ret) {
        return act_ret_err(ret, errno);
}

void act_from_child(void) {
        act_who(shared->pid, shared->tid ? shared->tid : shared->pid);
        if (!shared->done) {
                line.supported = false;
                snprintf(line.why, sizeof line.why, "the child ended before the call");
                return;
        }
        act_ret_err(shared->ret, shared->err);
}

void act_end(void) {
        char head[1536], tail[640];
        const struct act *a = line.act;
        int n = snprintf(head, sizeof head,
                         "{\"act\":\"%s\",\"form\":\"%s\",\"type\":\"%s\",\"syscall\":\"%s\",\"arch\":\"%s\",\"seq\":%ld,\"pid\":%d,\"tid\":%d", a->name, a->form,
                         a->type, a->syscall, (a->flags & ACT_INT80) || sizeof(long) == 4 ? "i386" : "x86_64", env.seq, line.pid, line.tid);

        if (line.has_ret)
                n += snprintf(head + n, sizeof head - (size_t) n, ",\"ret\":%ld,\"errno\":%s%s%s", line.ret, line.err ? "\"" : "",
                              line.err ? strerrorname_np(line.err) : "null", line.err ? "\"" : "");
        else
                n += snprintf(head + n, sizeof head - (size_t) n, ",\"ret\":null,\"errno\":null");
        snprintf(tail, sizeof tail, ",\"counts\":%s,\"t0\":%llu,\"t1\":%llu,\"supported\":%s%s%s%s}\n", a->flags & ACT_QUIET ? "false" : "true",
                 (unsigned long long) line.t0, (unsigned long long) now_ns(CLOCK_BOOTTIME), line.supported ? "true" : "false",
                 line.why[0] ? ",\"why\":\"" : "", line.why, line.why[0] ? "\"" : "");
        put(tail, strlen(tail));
        size_t total = (size_t) n + line.len;
        char *whole = malloc(total);
        if (!whole)
                abort();
        memcpy(whole, head, (size_t) n);
        memcpy(whole + n, line.facts, line.len);
        for (size_t at = 0; at < total;) {
                ssize_t w = write(env.out, whole + at, total - at);
                if (w < 0 && errno != EINTR)
                        _exit(74);
                at += w > 0 ? (size_t) w : 0;
        }
        free(whole);
        shared->x[7]++; /* lines printed: the runner looks */
}

void act_unsupported(const char *why, ...) {
        int saved = errno;
        va_list ap;

        va_start(ap, why);
        vsnprintf(line.why, sizeof line.why, why, ap);
        va_end(ap);
        if (saved) {
                size_t n = strlen(line.why);
                snprintf(line.why + n, sizeof line.why - n, " (%s)", strerrorname_np(saved) ? strerrorname_np(saved) : "?");
        }
        line.supported = false;
        act_end();
        _exit(0);
}

/* ---- facts ---- */

static void stat_facts(const struct stat *st) {
        act_int("dev", (long long) st->st_dev);
        act_int("ino", (long long) st->st_ino);
        act_int("mode", st->st_mode);
        act_int("nlink", (long long) st->st_nlink);
}

void act_fd_facts(int fd) {
        char link[64], path[PATH_MAX];
        struct stat st;

        act_int("fd", fd);
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, path, sizeof path);
        if (n > 0)
                act_mem("path", path, (size_t) n);
        if (fstat(fd, &st) == 0)
                stat_facts(&st);
}

void act_path_facts(const char *path) {
        struct stat st;

        act_str("path", path);
        if (lstat(path, &st) == 0)
                stat_facts(&st);
}

void act_addr_facts(const char *prefix, const struct sockaddr *sa, socklen_t len) {
        char key[64], text[INET6_ADDRSTRLEN];

        if (len < sizeof(sa_family_t))
                return;
        snprintf(key, sizeof key, "%sfamily", prefix);
        act_int(key, sa->sa_family);
        snprintf(key, sizeof key, "%saddr", prefix);
        if (sa->sa_family == AF_INET || sa->sa_family == AF_INET6) {
                const struct sockaddr_in *in = (const void *) sa;
                const struct sockaddr_in6 *in6 = (const void *) sa;
                bool four = sa->sa_family == AF_INET;

                inet_ntop(sa->sa_family, four ? (const void *) &in->sin_addr : (const void *) &in6->sin6_addr, text, sizeof text);
                act_str(key, text);
                snprintf(key, sizeof key, "%sport", prefix);
                act_int(key, ntohs(four ? in->sin_port : in6->sin6_port));
        } else if (sa->sa_family == AF_UNIX) {
                const struct sockaddr_un *un = (const void *) sa;
                size_t n = len - offsetof(struct sockaddr_un, sun_path);

                snprintf(key, sizeof key, "%sunix", prefix);
                if (n && !un->sun_path[0]) { /* abstract: written with a leading @ */
                        char name[sizeof un->sun_path + 1] = "@";
                        memcpy(name + 1, un->sun_path + 1, n - 1);
                        act_mem(key, name, n);
                } else {
                        act_mem(key, un->sun_path, strnlen(un->sun_path, n));
                }
        }
}

void act_cred_facts(const char *prefix) {
        static const char *const wanted[][2] = { { "Uid:", "uid" },       { "Gid:", "gid" },       { "Groups:", "groups" }, { "CapInh:", "cap_inh" },
                                                 { "CapPrm:", "cap_prm" }, { "CapEff:", "cap_eff" }, { "CapBnd:", "cap_bnd" }, { "CapAmb:", "cap_amb" } };
        char row[1024], key[64];
        FILE *f = fopen("/proc/thread-self/status", "re");

        while (f && fgets(row, sizeof row, f))
                for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
                        size_t n = strlen(wanted[i][0]);
                        if (strncmp(row, wanted[i][0], n))
                                continue;
                        char *value = row + n + strspn(row + n, " \t");
                        value[strcspn(value, "\n")] = 0;
                        for (char *t = value; *t; t++)
                                if (*t == '\t')
                                        *t = ' ';
                        snprintf(key, sizeof key, "%s%s", prefix, wanted[i][1]);
                        act_mem(key, value, strlen(value) - (*value && value[strlen(value) - 1] == ' '));
                }
        if (f)
                fclose(f);
}

/* ---- system calls ---- */

/* Register use and stack offsets: the C calling convention of the build on one side, the i386 system call's on the other. */
long act_int80_raw(long nr, long a, long b, long c, long d, long e, long f);
#ifdef __i386__
__asm__(".text\n.globl act_int80_raw\n.type act_int80_raw,@function\nact_int80_raw:\n"
        "push %ebp\npush %ebx\npush %esi\npush %edi\n"
        "mov 20(%esp),%eax\nmov 24(%esp),%ebx\nmov 28(%esp),%ecx\nmov 32(%esp),%edx\nmov 36(%esp),%esi\nmov 40(%esp),%edi\nmov 44(%esp),%ebp\n"
        "int $0x80\n"
        "pop %edi\npop %esi\npop %ebx\npop %ebp\nret\n.size act_int80_raw,.-act_int80_raw\n");
#else
__asm__(".text\n.globl act_int80_raw\n.type act_int80_raw,@function\nact_int80_raw:\n"
        "push %rbx\npush %rbp\n"
        "mov 24(%rsp),%ebp\nmov %edi,%eax\nmov %esi,%ebx\nmov %edx,%r10d\nmov %ecx,%edx\nmov %r10d,%ecx\nmov %r8d,%esi\nmov %r9d,%edi\n"
        "int $0x80\n"
        "movslq %eax,%rax\npop %rbp\npop %rbx\nret\n.size act_int80_raw,.-act_int80_raw\n");
#endif

long act_int80(long nr, long a, long b, long c, long d, long e, long f) {
        long r = act_int80_raw(nr, a, b, c, d, e, f);

        if (r < 0 && r > -4096) {
                errno = (int) -r;
                return -1;
        }
        return r;
}

long act_sys(long nr, long a, long b, long c, long d, long e, long f) {
#ifdef __i386__
        return act_int80(nr, a, b, c, d, e, f);
#else
        return syscall(nr, a, b, c, d, e, f);
#endif
}

static void try_int80(void *arg) {
        shared->done = INT80(20 /* getpid */) > 0;
}

void *act_low(const void *data, size_t len) {
        static int works = -1;
        int flags = MAP_PRIVATE | MAP_ANONYMOUS;

#ifdef __x86_64__
        flags |= MAP_32BIT;
#endif
        if (works < 0) {
                shared->done = 0;
                act_child(try_int80, NULL, NULL);
                works = shared->done;
                shared->done = 0;
        }
        errno = 0;
        if (!works)
                act_unsupported("no int 0x80 on this kernel");
        void *p = mmap(NULL, len + 1, PROT_READ | PROT_WRITE, flags, -1, 0);
        if (p == MAP_FAILED)
                act_unsupported("no memory below 4 GiB");
        memcpy(p, data, len);
        return p;
}

/* ---- helpers ---- */

const char *act_path(const char *name) {
        static char ring[4][PATH_MAX + 512];
        static unsigned next;
        char *p = ring[next++ % 4];

        snprintf(p, sizeof ring[0], "%s/%s", env.dir, name);
        return p;
}

const char *act_file(const char *name, const char *text) {
        const char *path = act_path(name);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t) strlen(text))
                act_unsupported("cannot make a file");
        close(fd);
        return path;
}

void act_copy_self(int dirfd, const char *name) {
        static char buf[1 << 16];
        int in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), out = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
        ssize_t n = -1;

        while (in >= 0 && out >= 0 && (n = read(in, buf, sizeof buf)) > 0)
                if (write(out, buf, (size_t) n) != n)
                        break;
        if (n)
                act_unsupported("cannot copy this program");
        close(in);
        close(out);
}


int act_deep(size_t len, char *path, const char **base) {
        char name[256];
        int at = open(env.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        size_t n = strlen(env.dir);

        memcpy(path, env.dir, n + 1);
        while (at >= 0 && len - n > 250) { /* leaves 1…250 for the file's "/name" */
                size_t part = len - n - 1 > 400 ? 199 : (len - n) / 2;
                memset(name, 'd', part);
                name[part] = 0;
                int next = mkdirat(at, name, 0755) < 0 ? -1 : openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                close(at);
                at = next;
                path[n] = '/';
                memcpy(path + n + 1, name, part + 1);
                n += part + 1;
        }
        if (at < 0)
                act_unsupported("cannot make deep directories");
        path[n] = '/';
        memset(path + n + 1, 'f', len - n - 1);
        path[len] = 0;
        *base = path + n + 1;
        return at;
}

pid_t act_fork(void) {
        pid_t parent = getpid(), pid = fork();

        if (pid < 0)
                act_unsupported("cannot fork");
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() != parent)
                        _exit(0);
        }
        return pid;
}

int act_wait(pid_t pid) {
        int status = -1;

        while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
                ;
        return status;
}

int act_child(void (*fn)(void *), void *arg, pid_t *pid) {
        pid_t child = act_fork();

        if (child == 0) {
                fn(arg);
                _exit(0);
        }
        shared->pid = child;
        if (pid)
                *pid = child;
        return act_wait(child);
}

static void ignore_usr1(int sig) {
}

struct act_peer act_peer_start(void) {
        static volatile long word;
        int down[2], up[2];
        char c;

        if (pipe2(down, O_CLOEXEC) < 0 || pipe2(up, O_CLOEXEC) < 0)
                act_unsupported("cannot make a pipe");
        pid_t pid = act_fork();
        if (pid == 0) {
                struct sigaction sa = { .sa_handler = ignore_usr1, .sa_flags = SA_RESTART };

                sigaction(SIGUSR1, &sa, NULL);
                close(down[1]);
                close(up[0]);
                if (write(up[1], "", 1) != 1)
                        _exit(1);
                while (read(down[0], &c, 1) < 0 && errno == EINTR)
                        ;
                _exit(word == PEER_AFTER ? 3 : 0);
        }
        close(up[1]);
        if (read(up[0], &c, 1) != 1)
                act_unsupported("the peer did not start");
        close(up[0]);
        return (struct act_peer){ .pid = pid, .ctl = down[1], .word = (long *) &word, .file = down[0] };
}

int act_peer_stop(struct act_peer *p) {
        close(p->ctl);
        close(p->file);
        return act_wait(p->pid);
}

static bool may_mount(void) {
        struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
        struct __user_cap_data_struct d[2];

        return syscall(SYS_capget, &h, d) < 0 || (d[0].effective & (1u << CAP_SYS_ADMIN));
}

void act_private_mounts(void) {
        if (unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
                return;
        if (may_mount())
                act_unsupported("no private mount namespace");
}

bool act_try_private_net(void) {
        struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };

        if (unshare(CLONE_NEWNET) < 0)
                return false;
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r = ioctl(fd, SIOCSIFFLAGS, &ifr);
        if (fd >= 0)
                close(fd);
        return r == 0;
}

void act_private_net(void) {
        if (!act_try_private_net())
                act_unsupported("no private network namespace");
}

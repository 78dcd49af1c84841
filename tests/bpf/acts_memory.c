/* SPDX-License-Identifier: Apache-2.0 */
/* Acts: other processes' memory and descriptors, memory made executable, signals. */
#include "acts.h"

#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

/* ---- ptrace and memory of a peer ---- */

enum { TRACEME, ATTACH, SEIZE, POKETEXT, POKEDATA, POKEUSER, SETREGS, VM_WRITEV, VM_READV, PIDFD_GETFD, MEM_PWRITE, MEM_WRITE, MEM_READ };

static void traceme_child(void *arg) {
        struct act_shared *s = act_shared();

        s->ret = SYSC(SYS_ptrace, PTRACE_TRACEME);
        s->err = errno;
        s->done = 1;
}

/* Attached and stopped by SIGSTOP, as debuggers and injectors do it. */
static void attach(pid_t pid) {
        int status;

        if (ptrace(PTRACE_ATTACH, pid, NULL, NULL) < 0)
                act_unsupported("cannot attach");
        if (waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status))
                act_unsupported("the peer did not stop");
}

static void run_ptrace(const struct act *a) {
        if (a->arg == TRACEME) {
                act_child(traceme_child, NULL, NULL);
                act_from_child();
                act_int("operation", PTRACE_TRACEME);
                act_int("target_pid", getpid());
                act_end();
                return;
        }
        struct act_peer p = act_peer_start();
        long r = -1, request = 0;
        struct user_regs_struct regs;
        int e;
        if (a->arg >= POKETEXT && a->arg <= SETREGS)
                attach(p.pid);
        switch (a->arg) {
        case ATTACH: r = SYSC(SYS_ptrace, request = PTRACE_ATTACH, p.pid); break;
        case SEIZE: r = SYSC(SYS_ptrace, request = PTRACE_SEIZE, p.pid); break;
        case POKETEXT: r = SYSC(SYS_ptrace, request = PTRACE_POKETEXT, p.pid, p.word, PEER_AFTER); break;
        case POKEDATA: r = SYSC(SYS_ptrace, request = PTRACE_POKEDATA, p.pid, p.word, PEER_AFTER); break;
        case POKEUSER: r = SYSC(SYS_ptrace, request = PTRACE_POKEUSER, p.pid, offsetof(struct user, u_debugreg), 0); break;
        case SETREGS:
                ptrace(PTRACE_GETREGS, p.pid, NULL, &regs);
                r = SYSC(SYS_ptrace, request = PTRACE_SETREGS, p.pid, 0, &regs);
                break;
        default: break;
        }
        e = errno;
        if (a->arg == ATTACH && r == 0) /* PTRACE_DETACH wants it stopped */
                waitpid(p.pid, NULL, __WALL);
        if (a->arg == SEIZE && r == 0) {
                ptrace(PTRACE_INTERRUPT, p.pid, NULL, NULL);
                waitpid(p.pid, NULL, __WALL);
        }
        ptrace(PTRACE_DETACH, p.pid, NULL, NULL);
        int status = act_peer_stop(&p);
        act_ret_err(r, e);
        act_int("operation", request);
        act_int("target_pid", p.pid);
        act_int("address", (long long) (uintptr_t) p.word);
        act_bool("changed", WIFEXITED(status) && WEXITSTATUS(status) == 3);
        act_end();
}

static void run_memory(const struct act *a) {
        struct act_peer p = act_peer_start();
        long after = PEER_AFTER, seen = 0, r = -1;
        struct iovec local = { a->arg == VM_READV ? &seen : &after, sizeof after }, remote = { p.word, sizeof after };
        char path[64];
        int fd = -1, e;

        snprintf(path, sizeof path, "/proc/%d/mem", p.pid);
        if (a->arg == MEM_PWRITE || a->arg == MEM_WRITE || a->arg == MEM_READ) {
                fd = open(path, O_RDWR | O_CLOEXEC);
                if (fd < 0)
                        act_unsupported("cannot open %s", path);
                act_str("path", path);
        }
        errno = 0;
        switch (a->arg) {
        case VM_WRITEV: r = SYSC(SYS_process_vm_writev, p.pid, &local, 1, &remote, 1, 0); break;
        case VM_READV: r = SYSC(SYS_process_vm_readv, p.pid, &local, 1, &remote, 1, 0); break;
        case PIDFD_GETFD:
                fd = (int) SYSC(SYS_pidfd_open, p.pid, 0);
                r = SYSC(SYS_pidfd_getfd, fd, p.file, 0);
                act_int("pidfd", fd);
                act_int("targetfd", p.file);
                break;
#ifdef __i386__
        case MEM_PWRITE: r = SYSC(SYS_pwrite64, fd, &after, sizeof after, p.word, 0); break;
#else
        case MEM_PWRITE: r = SYSC(SYS_pwrite64, fd, &after, sizeof after, p.word); break;
#endif
        case MEM_WRITE:
                lseek(fd, (off_t) (uintptr_t) p.word, SEEK_SET);
                r = SYSC(SYS_write, fd, &after, sizeof after);
                break;
        case MEM_READ:
                lseek(fd, (off_t) (uintptr_t) p.word, SEEK_SET);
                r = SYSC(SYS_read, fd, &seen, sizeof seen);
                break;
        default: break;
        }
        e = errno;
        int status = act_peer_stop(&p);
        act_ret_err(r, e);
        act_int("target_pid", p.pid);
        act_int("address", (long long) (uintptr_t) p.word);
        act_int("bytes", sizeof after);
        act_bool("changed", WIFEXITED(status) && WEXITSTATUS(status) == 3);
        act_end();
}

/* ---- memfd, mprotect, mmap ---- */

enum { MEMFD, ANON_WRITTEN, ANON_CLEAN, FILE_COW, FILE_CLEAN, RWX, PKEY, STACK, HEAP, MAP_WX, MAP_EXEC_FILE, MAP_EXEC_FILE_SHARED, DOUBLE_MAP, MEMFD_EXEC_MAP, OLD_MMAP, MAP_RW };

static void run_memfd(const struct act *a) {
        const char *name = "act \"memfd\"\n\xff";
        int fd = (int) act_ret(SYSC(SYS_memfd_create, name, MFD_CLOEXEC));

        act_str("name", name);
        act_int("op_flags", MFD_CLOEXEC);
        if (fd >= 0)
                act_fd_facts(fd);
        act_end();
}

static void *map(size_t n, int prot, int flags, int fd) {
        void *p = mmap(NULL, n, prot, flags, fd, 0);

        if (p == MAP_FAILED)
                act_unsupported("mmap");
        return p;
}

static void run_protect(const struct act *a) {
        size_t page = (size_t) sysconf(_SC_PAGESIZE);
        int prot = PROT_READ | PROT_EXEC, fd = -1;
        volatile char *p = NULL;
        bool written = true;
        long key = -1;

        if (a->arg == FILE_COW || a->arg == FILE_CLEAN) {
                fd = open(act_file("mapped", "some bytes"), O_RDWR | O_CLOEXEC);
                if (fd < 0 || ftruncate(fd, 2 * (off_t) page) < 0)
                        act_unsupported("cannot make a file to map");
        }
        switch (a->arg) {
        case FILE_COW:
        case FILE_CLEAN: p = map(page, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd); break;
        case STACK: {
                char here = 0;
                p = (volatile char *) (((uintptr_t) &here) & ~(page - 1));
                prot |= PROT_WRITE;
                break;
        }
        case HEAP:
                p = sbrk((intptr_t) (3 * page));
                p = (volatile char *) (((uintptr_t) p + page) & ~(page - 1));
                prot |= PROT_WRITE;
                break;
        case PKEY:
                key = SYSC(SYS_pkey_alloc, 0, 0); /* -1 where the processor has none: the key that changes nothing */
                __attribute__((fallthrough));
        default: p = map(page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
        }
        if (a->arg == RWX)
                prot |= PROT_WRITE;
        if (a->arg == ANON_CLEAN || a->arg == FILE_CLEAN)
                written = false;
        else if (a->arg != STACK)
                p[1] = 0x55;
        errno = 0;
        if (a->arg == PKEY)
                act_ret(SYSC(SYS_pkey_mprotect, p, page, prot, key));
        else
                act_ret(SYSC(SYS_mprotect, p, page, prot));
        act_int("address", (long long) (uintptr_t) p);
        act_int("bytes", (long long) page);
        act_int("prot", prot);
        act_bool("written", written);
        if (fd >= 0)
                act_fd_facts(fd);
        act_end();
}

static long raw_mmap(size_t n, int prot, int flags, int fd) {
#ifdef __i386__
        return SYSC(SYS_mmap2, NULL, n, prot, flags, fd, 0);
#else
        return SYSC(SYS_mmap, NULL, n, prot, flags, fd, 0);
#endif
}

static void run_mmap(const struct act *a) {
        size_t page = (size_t) sysconf(_SC_PAGESIZE);
        int prot = PROT_READ | PROT_EXEC, flags = MAP_PRIVATE, fd = -1;
        volatile char *w = NULL;

        if (a->arg == MAP_EXEC_FILE || a->arg == MAP_EXEC_FILE_SHARED || a->arg == DOUBLE_MAP) {
                const char *path = act_path("code");
                act_copy_self(AT_FDCWD, path);
                fd = open(path, O_RDWR | O_CLOEXEC);
                if (a->arg != MAP_EXEC_FILE)
                        flags = MAP_SHARED;
        }
        if (a->arg == MEMFD_EXEC_MAP) {
                fd = (int) SYSC(SYS_memfd_create, "acts-code", MFD_CLOEXEC);
                if (fd < 0 || ftruncate(fd, (off_t) page) < 0)
                        act_unsupported("memfd_create");
                flags = MAP_SHARED;
        }
        if (a->arg == DOUBLE_MAP || a->arg == MEMFD_EXEC_MAP) {
                w = map(page, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
                w[0] = w[0];
                act_int("writable_addr", (long long) (uintptr_t) w);
        }
        if (a->arg == MAP_WX || a->arg == OLD_MMAP || a->arg == MAP_RW) {
                flags = MAP_PRIVATE | MAP_ANONYMOUS;
                prot = a->arg == MAP_RW ? PROT_READ | PROT_WRITE : PROT_READ | PROT_WRITE | PROT_EXEC;
        }
        long r;
        errno = 0;
        if (a->arg == OLD_MMAP) {
                long args[6] = { 0, (long) page, prot, flags, -1, 0 };
                r = SYSC(SYS_mmap, args);
        } else {
                r = raw_mmap(page, prot, flags, fd);
        }
        act_ret(r);
        act_int("address", (long long) (unsigned long) r);
        act_int("bytes", (long long) page);
        act_int("prot", prot);
        act_int("op_flags", flags);
        act_bool("file", fd >= 0);
        if (fd >= 0)
                act_fd_facts(fd);
        act_end();
}

/* ---- signals ---- */

enum { KILL, TGKILL, TKILL, RT_SIGQUEUEINFO, RT_TGSIGQUEUEINFO, PIDFD_SEND, KILL_INT80, KILL_ZERO, KILL_SELF, KILL_GROUP, KILL_FATAL, KILL_ESRCH };

static void run_kill(const struct act *a) {
        struct act_peer p = act_peer_start();
        siginfo_t info;
        int sig = a->arg == KILL_ZERO ? 0 : a->arg == KILL_FATAL ? SIGTERM : SIGUSR1, e;
        pid_t target = p.pid;
        long r = -1;

        memset(&info, 0, sizeof info);
        info.si_signo = sig;
        info.si_code = SI_QUEUE;
        info.si_pid = getpid();
        info.si_uid = getuid();
        if (a->arg == KILL_INT80)
                act_low("", 0); /* ends the act where int 0x80 does not work */
        errno = 0;
        switch (a->arg) {
        case KILL_SELF:
                signal(SIGUSR1, SIG_IGN);
                target = getpid();
                __attribute__((fallthrough));
        case KILL:
        case KILL_FATAL:
        case KILL_ZERO: r = SYSC(SYS_kill, target, sig); break;
        case KILL_ESRCH: r = SYSC(SYS_kill, target = 0x3ffffff, sig); break;
        case KILL_GROUP:
                setpgid(p.pid, p.pid);
                r = SYSC(SYS_kill, -p.pid, sig);
                break;
        case TGKILL: r = SYSC(SYS_tgkill, p.pid, p.pid, sig); break;
        case TKILL: r = SYSC(SYS_tkill, p.pid, sig); break;
        case RT_SIGQUEUEINFO: r = SYSC(SYS_rt_sigqueueinfo, p.pid, sig, &info); break;
        case RT_TGSIGQUEUEINFO: r = SYSC(SYS_rt_tgsigqueueinfo, p.pid, p.pid, sig, &info); break;
        case PIDFD_SEND: r = SYSC(SYS_pidfd_send_signal, SYSC(SYS_pidfd_open, p.pid, 0), sig, NULL, 0); break;
        case KILL_INT80: r = INT80(37 /* kill */, p.pid, sig); break;
        default: break;
        }
        e = errno;
        int status = act_peer_stop(&p);
        act_ret_err(r, e);
        act_int("target_pid", target);
        act_int("signal", sig);
        act_int("peer_status", status);
        act_end();
}

#ifdef __i386__
#define MMAP "mmap2"
#else
#define MMAP "mmap"
#endif

const struct act acts_memory[] = {
        { "ptrace", "traceme", "ptrace", "ptrace", run_ptrace, TRACEME, 0 },
        { "ptrace", "attach", "ptrace", "ptrace", run_ptrace, ATTACH, 0 },
        { "ptrace", "seize", "ptrace", "ptrace", run_ptrace, SEIZE, 0 },
        { "ptrace", "poketext", "ptrace", "ptrace", run_ptrace, POKETEXT, 0 },
        { "ptrace", "pokedata", "ptrace", "ptrace", run_ptrace, POKEDATA, 0 },
        { "ptrace", "pokeuser", "ptrace", "ptrace", run_ptrace, POKEUSER, 0 },
        { "ptrace", "setregs", "ptrace", "ptrace", run_ptrace, SETREGS, 0 },
        { "process_vm", "writev", "vm_write", "process_vm_writev", run_memory, VM_WRITEV, 0 },
        { "process_vm", "readv", "vm_write", "process_vm_readv", run_memory, VM_READV, ACT_QUIET },
        { "pidfd_getfd", "pidfd_getfd", "pidfd_getfd", "pidfd_getfd", run_memory, PIDFD_GETFD, 0 },
        { "proc_mem", "pwrite", "mem_write", "pwrite64", run_memory, MEM_PWRITE, 0 },
        { "proc_mem", "write", "mem_write", "write", run_memory, MEM_WRITE, 0 },
        { "proc_mem", "read", "mem_write", "read", run_memory, MEM_READ, ACT_QUIET },

        { "memfd_create", "memfd_create", "memfd_create", "memfd_create", run_memfd, MEMFD, 0 },
        { "mprotect", "anon_written", "mprotect_exec", "mprotect", run_protect, ANON_WRITTEN, 0 },
        { "mprotect", "anon_rwx", "mprotect_exec", "mprotect", run_protect, RWX, 0 },
        { "mprotect", "file_cow", "mprotect_exec", "mprotect", run_protect, FILE_COW, 0 },
        { "mprotect", "stack", "mprotect_exec", "mprotect", run_protect, STACK, 0 },
        { "mprotect", "heap", "mprotect_exec", "mprotect", run_protect, HEAP, 0 },
        { "mprotect", "pkey", "mprotect_exec", "pkey_mprotect", run_protect, PKEY, 0 },
        { "mprotect", "anon_never_written", "mprotect_exec", "mprotect", run_protect, ANON_CLEAN, ACT_QUIET },
        { "mprotect", "file_never_written", "mprotect_exec", "mprotect", run_protect, FILE_CLEAN, ACT_QUIET },
        { "mmap", "anon_wx", "mmap_exec", MMAP, run_mmap, MAP_WX, 0 },
        { "mmap", "old_mmap_wx", "mmap_exec", "mmap", run_mmap, OLD_MMAP, ACT_I386 },
        { "mmap", "file_exec", "mmap_exec", MMAP, run_mmap, MAP_EXEC_FILE, 0 },
        { "mmap", "file_exec_shared", "mmap_exec", MMAP, run_mmap, MAP_EXEC_FILE_SHARED, 0 },
        { "mmap", "double_mapping", "mmap_exec", MMAP, run_mmap, DOUBLE_MAP, 0 },
        { "mmap", "memfd_double_mapping", "mmap_exec", MMAP, run_mmap, MEMFD_EXEC_MAP, 0 },
        { "mmap", "anon_rw", "mmap_exec", MMAP, run_mmap, MAP_RW, ACT_QUIET },

        { "kill", "kill", "signal", "kill", run_kill, KILL, 0 },
        { "kill", "tgkill", "signal", "tgkill", run_kill, TGKILL, 0 },
        { "kill", "tkill", "signal", "tkill", run_kill, TKILL, 0 },
        { "kill", "rt_sigqueueinfo", "signal", "rt_sigqueueinfo", run_kill, RT_SIGQUEUEINFO, 0 },
        { "kill", "rt_tgsigqueueinfo", "signal", "rt_tgsigqueueinfo", run_kill, RT_TGSIGQUEUEINFO, 0 },
        { "kill", "pidfd_send_signal", "signal", "pidfd_send_signal", run_kill, PIDFD_SEND, 0 },
        { "kill", "group", "signal", "kill", run_kill, KILL_GROUP, 0 },
        { "kill", "fatal", "signal", "kill", run_kill, KILL_FATAL, 0 },
        { "kill", "int80", "signal", "kill", run_kill, KILL_INT80, ACT_X86_64 | ACT_INT80 },
        { "kill", "signal_0", "signal", "kill", run_kill, KILL_ZERO, ACT_QUIET },
        { "kill", "self", "signal", "kill", run_kill, KILL_SELF, ACT_QUIET },
        { "kill", "no_such_process", "signal", "kill", run_kill, KILL_ESRCH, ACT_QUIET },
        { NULL, NULL, NULL, NULL, NULL, 0, 0 },
};

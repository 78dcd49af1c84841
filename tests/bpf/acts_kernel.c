/* SPDX-License-Identifier: Apache-2.0 */
/* Acts on the kernel itself, made so that they cannot succeed where success would change the machine; and on cgroups. */
#include "acts.h"

#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/kexec.h>
#include <linux/perf_event.h>
#include <signal.h>

enum { INIT_MODULE, FINIT_MODULE, DELETE_MODULE, DELETE_INT80, BPF_MAP, BPF_JUNK, BPF_PROG, KEXEC, KEXEC_FILE, PERF, USERFAULT, URING };

static void run_kernel(const struct act *a) {
        static const char junk[64] = "not a kernel module";
        union bpf_attr attr;
        struct perf_event_attr perf = { .type = PERF_TYPE_SOFTWARE, .size = sizeof perf, .config = PERF_COUNT_SW_CPU_CLOCK, .disabled = 1, .exclude_kernel = 1 };
        struct io_uring_params params = { .flags = IORING_SETUP_CLAMP };
        /* mov r0, 0; exit */
        const struct bpf_insn nothing[] = { { .code = BPF_ALU64 | BPF_MOV | BPF_K }, { .code = BPF_JMP | BPF_EXIT } };
        char name[64];
        long r = -1;
        int fd = -1;

        memset(&attr, 0, sizeof attr);
        if (a->arg == FINIT_MODULE || a->arg == KEXEC_FILE) {
                const char *path = act_file("junk", junk);
                fd = open(path, O_RDONLY | O_CLOEXEC);
        }
        snprintf(name, sizeof name, "acts_no_such_%ld", env.seq);
        const char *low = a->arg == DELETE_INT80 ? act_low(name, strlen(name)) : name;
        errno = 0;
        switch (a->arg) {
        case INIT_MODULE:
                r = SYSC(SYS_init_module, junk, sizeof junk, "acts=1");
                act_int("bytes", sizeof junk);
                break;
        case FINIT_MODULE: r = SYSC(SYS_finit_module, fd, "acts=1", 0); break;
        case DELETE_MODULE:
        case DELETE_INT80:
                r = a->arg == DELETE_MODULE ? SYSC(SYS_delete_module, name, O_NONBLOCK) : INT80(129 /* delete_module */, low, O_NONBLOCK);
                act_str("name", name);
                act_int("op_flags", O_NONBLOCK);
                break;
        case BPF_MAP:
                attr.map_type = BPF_MAP_TYPE_ARRAY;
                attr.key_size = attr.value_size = 4;
                attr.max_entries = 1;
                memcpy(attr.map_name, "acts_map", 9);
                r = SYSC(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr);
                act_int("operation", BPF_MAP_CREATE);
                act_int("subject", BPF_MAP_TYPE_ARRAY);
                break;
        case BPF_JUNK:
        case BPF_PROG:
                attr.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
                attr.insns = (uint64_t) (uintptr_t) (a->arg == BPF_PROG ? (const void *) nothing : junk);
                attr.insn_cnt = 2;
                attr.license = (uint64_t) (uintptr_t) "GPL";
                r = SYSC(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
                act_int("operation", BPF_PROG_LOAD);
                act_int("subject", BPF_PROG_TYPE_SOCKET_FILTER);
                break;
        case KEXEC: /* more segments than there may be: refused before anything is touched */
                r = SYSC(SYS_kexec_load, 0, KEXEC_SEGMENT_MAX + 1, NULL, KEXEC_ARCH_DEFAULT);
                act_int("op_flags", KEXEC_ARCH_DEFAULT);
                break;
        case KEXEC_FILE: /* flags that do not exist */
#ifdef SYS_kexec_file_load
                r = SYSC(SYS_kexec_file_load, fd, -1, 1, "", 0x40000000);
#else
                errno = ENOSYS;
#endif
                act_int("op_flags", 0x40000000);
                break;
        case PERF:
                r = SYSC(SYS_perf_event_open, &perf, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
                act_int("operation", perf.type);
                act_int("subject", (long long) perf.config);
                act_int("target_pid", getpid());
                act_int("op_flags", PERF_FLAG_FD_CLOEXEC);
                break;
        case USERFAULT:
                r = SYSC(SYS_userfaultfd, O_CLOEXEC);
                act_int("op_flags", O_CLOEXEC);
                break;
        case URING:
                r = SYSC(SYS_io_uring_setup, 8, &params);
                act_int("subject", 8);
                act_int("op_flags", IORING_SETUP_CLAMP);
                break;
        default: break;
        }
        act_ret(r);
        if (a->arg == BPF_MAP || a->arg == BPF_PROG || a->arg >= PERF)
                act_int("fd", r);
        else if (fd >= 0)
                act_fd_facts(fd);
        act_end();
}

/* ---- cgroups ---- */

enum { CG_MKDIR, CG_RMDIR, CG_ATTACH };

static void run_cgroup(const struct act *a) {
        char path[PATH_MAX], procs[PATH_MAX + 16], home[PATH_MAX + 16];
        struct stat st = { 0 };

        snprintf(path, sizeof path, "%s/acts-%ld-%d", env.cgroup, env.seq, getpid());
        snprintf(procs, sizeof procs, "%s/cgroup.procs", path);
        snprintf(home, sizeof home, "%s/cgroup.procs", env.cgroup);
        if (a->arg != CG_MKDIR && mkdir(path, 0755) < 0)
                act_unsupported("cannot make a cgroup");
        errno = 0;
        if (a->arg == CG_MKDIR) {
                act_ret(SYSC(SYS_mkdir, path, 0755));
                stat(path, &st);
        } else {
                stat(path, &st);
                if (a->arg == CG_RMDIR) {
                        act_ret(SYSC(SYS_rmdir, path));
                } else {
                        int fd = open(procs, O_WRONLY | O_CLOEXEC);
                        if (fd < 0)
                                act_unsupported("cannot open cgroup.procs");
                        act_ret(SYSC(SYS_write, fd, "0", 1));
                        close(fd);
                        act_int("target_pid", getpid());
                }
        }
        act_str("path", path);
        act_int("target_cgroup", (long long) st.st_ino);
        act_end();
        if (a->arg == CG_ATTACH) { /* the attached process must be gone before its cgroup can be: back to where it may live */
                int fd = open(home, O_WRONLY | O_CLOEXEC);
                if (fd < 0 || write(fd, "0", 1) < 0) {
                        pid_t me = getpid();
                        if (fork() == 0) { /* outlives us, outside the cgroup or not: the emptied cgroup goes */
                                while (kill(me, 0) == 0)
                                        usleep(1000);
                                rmdir(path);
                                _exit(0);
                        }
                        _exit(0);
                }
        }
        rmdir(path);
}

const struct act acts_kernel[] = {
        { "module_load", "init_module", "module_load", "init_module", run_kernel, INIT_MODULE, 0 },
        { "module_load", "finit_module", "module_load", "finit_module", run_kernel, FINIT_MODULE, 0 },
        { "module_unload", "delete_module", "module_unload", "delete_module", run_kernel, DELETE_MODULE, 0 },
        { "module_unload", "int80", "module_unload", "delete_module", run_kernel, DELETE_INT80, ACT_X86_64 | ACT_INT80 },
        { "bpf", "map_create", "bpf", "bpf", run_kernel, BPF_MAP, 0 },
        { "bpf", "prog_load_junk", "bpf", "bpf", run_kernel, BPF_JUNK, 0 },
        { "bpf", "prog_load", "bpf", "bpf", run_kernel, BPF_PROG, 0 },
        { "kexec", "kexec_load", "kexec", "kexec_load", run_kernel, KEXEC, 0 },
        { "kexec", "kexec_file_load", "kexec", "kexec_file_load", run_kernel, KEXEC_FILE, 0 },
        { "perf_event_open", "perf_event_open", "perf_event_open", "perf_event_open", run_kernel, PERF, 0 },
        { "userfaultfd", "userfaultfd", "userfaultfd", "userfaultfd", run_kernel, USERFAULT, 0 },
        { "io_uring_setup", "io_uring_setup", "io_uring_setup", "io_uring_setup", run_kernel, URING, 0 },
        { "cgroup", "mkdir", "cgroup_create", "mkdir", run_cgroup, CG_MKDIR, ACT_CGROUP },
        { "cgroup", "rmdir", "cgroup_remove", "rmdir", run_cgroup, CG_RMDIR, ACT_CGROUP },
        { "cgroup", "attach", "cgroup_attach", "write", run_cgroup, CG_ATTACH, ACT_CGROUP },
        { NULL, NULL, NULL, NULL, NULL, 0, 0 },
};

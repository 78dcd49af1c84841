/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which kernel programs make a hook (a kind of event), per backend.
 *
 *     BH_HOOK_COMMON(TYPE, program)      attached whatever the backend: a tracepoint that costs nothing elsewhere
 *     BH_HOOK_OBJECT(TYPE, program)      preferred: fentry/fexit on a kernel function; attached if this kernel has the function
 *     BH_HOOK_INSTEAD(TYPE, program, of) preferred, where the program `of` cannot be attached
 *     BH_HOOK_FALLBACK(TYPE, program)    fallback: a tracepoint besides the system-call dispatcher (io_uring)
 *     BH_HOOK_CALL(TYPE, handler, n, c)  system call: fallback sx_<handler> at native number n and 32-bit number c (-1: has none);
 *                                        preferred fx_<handler> and fc_<handler>, where the object has such programs
 */
#ifndef BH_HOOK_COMMON
#define BH_HOOK_COMMON(type, program)
#endif
#ifndef BH_HOOK_OBJECT
#define BH_HOOK_OBJECT(type, program)
#endif
#ifndef BH_HOOK_INSTEAD
#define BH_HOOK_INSTEAD(type, program, of)
#endif
#ifndef BH_HOOK_FALLBACK
#define BH_HOOK_FALLBACK(type, program)
#endif
#ifndef BH_HOOK_CALL
#define BH_HOOK_CALL(type, handler, native, compat)
#endif

/* process.bpf.c */
BH_HOOK_COMMON(EXEC, tp_exec)
BH_HOOK_COMMON(FORK, tp_fork)
BH_HOOK_COMMON(EXIT, tp_exit)
BH_HOOK_COMMON(CGROUP_CREATE, tp_cgroup_create)
BH_HOOK_COMMON(CGROUP_REMOVE, tp_cgroup_remove)
BH_HOOK_COMMON(CGROUP_ATTACH, tp_cgroup_attach)

/* kernel.bpf.c */
BH_HOOK_OBJECT(CREDS, fe_commit_creds)
BH_HOOK_FALLBACK(CREDS, tp_creds_fork)
BH_HOOK_FALLBACK(CREDS, tp_creds_exec)
BH_HOOK_CALL(CREDS, creds, 105, 213)          /* setuid; 32-bit: setuid32, and the one of 16-bit ids below; so for its sisters */
BH_HOOK_CALL(CREDS, creds, -1, 23)
BH_HOOK_CALL(CREDS, creds, 106, 214)          /* setgid */
BH_HOOK_CALL(CREDS, creds, -1, 46)
BH_HOOK_CALL(CREDS, creds, 113, 203)          /* setreuid */
BH_HOOK_CALL(CREDS, creds, -1, 70)
BH_HOOK_CALL(CREDS, creds, 114, 204)          /* setregid */
BH_HOOK_CALL(CREDS, creds, -1, 71)
BH_HOOK_CALL(CREDS, creds, 117, 208)          /* setresuid */
BH_HOOK_CALL(CREDS, creds, -1, 164)
BH_HOOK_CALL(CREDS, creds, 119, 210)          /* setresgid */
BH_HOOK_CALL(CREDS, creds, -1, 170)
BH_HOOK_CALL(CREDS, creds, 116, 206)          /* setgroups */
BH_HOOK_CALL(CREDS, creds, -1, 81)
BH_HOOK_CALL(CREDS, creds, 126, 185)          /* capset */
BH_HOOK_CALL(CREDS, creds_fs, 122, 215)       /* setfsuid */
BH_HOOK_CALL(CREDS, creds_fs, -1, 138)
BH_HOOK_CALL(CREDS, creds_fs, 123, 216)       /* setfsgid */
BH_HOOK_CALL(CREDS, creds_fs, -1, 139)
BH_HOOK_CALL(CREDS, prctl, 157, 172)
BH_HOOK_OBJECT(SECCOMP, fe_seccomp)
BH_HOOK_CALL(SECCOMP, seccomp, 317, 354)
BH_HOOK_CALL(SECCOMP, prctl, 157, 172)        /* one handler, two hooks: on the fallback it serves both */
BH_HOOK_CALL(SETNS, setns, 308, 346)
BH_HOOK_CALL(UNSHARE, unshare, 272, 310)
BH_HOOK_CALL(CHROOT, chroot, 161, 61)
BH_HOOK_CALL(CHDIR, chdir, 80, 12)
BH_HOOK_CALL(CHDIR, fchdir, 81, 133)
BH_HOOK_CALL(DUP_STDIO, dup, 32, 41)
BH_HOOK_CALL(DUP_STDIO, dup2, 33, 63)
BH_HOOK_CALL(DUP_STDIO, dup3, 292, 330)
BH_HOOK_CALL(DUP_STDIO, fcntl, 72, 221)
BH_HOOK_CALL(DUP_STDIO, fcntl, -1, 55)
BH_HOOK_OBJECT(DUP_STDIO, fc_fcntl_old)
BH_HOOK_COMMON(COMM, tp_comm)
BH_HOOK_CALL(MODULE_LOAD, init_module, 175, 128)
BH_HOOK_CALL(MODULE_LOAD, finit_module, 313, 350)
BH_HOOK_CALL(MODULE_UNLOAD, delete_module, 176, 129)
BH_HOOK_CALL(BPF, bpf, 321, 357)
BH_HOOK_CALL(KEXEC, kexec_load, 246, 283)
BH_HOOK_CALL(KEXEC, kexec_file_load, 320, -1)
BH_HOOK_CALL(PERF_EVENT_OPEN, perf_event_open, 298, 336)
BH_HOOK_INSTEAD(PERF_EVENT_OPEN, fe_perf_event_open, fx_perf_event_open)
BH_HOOK_CALL(USERFAULTFD, userfaultfd, 323, 374)
BH_HOOK_CALL(IO_URING_SETUP, io_uring_setup, 425, 425)

/* security.bpf.c */
BH_HOOK_CALL(PTRACE, ptrace, 101, 26)
BH_HOOK_CALL(VM_WRITE, process_vm_writev, 311, 348)
BH_HOOK_OBJECT(VM_WRITE, fc_process_vm_writev_old)
BH_HOOK_CALL(PIDFD_GETFD, pidfd_getfd, 438, 438)
BH_HOOK_CALL(MEMFD_CREATE, memfd_create, 319, 356)
BH_HOOK_CALL(MEMFD_CREATE, memfd_secret, 447, 447)
BH_HOOK_OBJECT(MPROTECT_EXEC, fe_mprotect)
BH_HOOK_OBJECT(MPROTECT_EXEC, fe_mprotect_vma)
BH_HOOK_CALL(MPROTECT_EXEC, mprotect, 10, 125)
BH_HOOK_CALL(MPROTECT_EXEC, mprotect, 329, 380) /* pkey_mprotect */
BH_HOOK_OBJECT(MMAP_EXEC, fe_mmap)
BH_HOOK_CALL(MMAP_EXEC, mmap, 9, 192)
BH_HOOK_CALL(MMAP_EXEC, old_mmap, -1, 90)
BH_HOOK_COMMON(SIGNAL, tp_signal)

/* file.bpf.c */

/* net.bpf.c */
BH_HOOK_COMMON(NET_CLOSE, tp_net_close)
BH_HOOK_OBJECT(SOCKET, fx_sys_socket)
BH_HOOK_OBJECT(SOCKET, fx_uring_socket)
BH_HOOK_OBJECT(CONNECT, fx_connect_file)
BH_HOOK_OBJECT(BIND, fx_sys_bind)
BH_HOOK_OBJECT(BIND, fx_uring_bind)
BH_HOOK_OBJECT(LISTEN, fx_sys_listen)
BH_HOOK_OBJECT(LISTEN, fx_uring_listen)
BH_HOOK_OBJECT(ACCEPT, fx_sys_accept4)
BH_HOOK_OBJECT(ACCEPT, fx_uring_accept)
BH_HOOK_OBJECT(SEND, fx_udp_send)
BH_HOOK_OBJECT(SEND, fx_udp6_send)
BH_HOOK_OBJECT(SEND, fx_raw_send)
BH_HOOK_OBJECT(SEND, fx_raw6_send)
BH_HOOK_OBJECT(SEND, fx_ping_send)
BH_HOOK_OBJECT(SEND, fx_ping6_send)
BH_HOOK_OBJECT(SEND, fx_packet_send)
BH_HOOK_OBJECT(RECV, fe_udp_recv)
BH_HOOK_OBJECT(DNS, fe_udp_send)
BH_HOOK_OBJECT(DNS, fe_udp6_send)
BH_HOOK_OBJECT(DNS, fe_dns_recv)
BH_HOOK_CALL(SOCKET, socket, 41, 359)
BH_HOOK_CALL(SOCKET, socketcall, -1, 102)
BH_HOOK_CALL(CONNECT, connect, 42, 362)
BH_HOOK_CALL(CONNECT, socketcall, -1, 102)
BH_HOOK_CALL(BIND, bind, 49, 361)
BH_HOOK_CALL(BIND, socketcall, -1, 102)
BH_HOOK_CALL(LISTEN, listen, 50, 363)
BH_HOOK_CALL(LISTEN, socketcall, -1, 102)
BH_HOOK_CALL(ACCEPT, accept, 43, -1)
BH_HOOK_CALL(ACCEPT, accept4, 288, 364)
BH_HOOK_CALL(ACCEPT, socketcall, -1, 102)
BH_HOOK_CALL(SEND, sendto, 44, 369)
BH_HOOK_CALL(SEND, sendmsg, 46, 370)
BH_HOOK_CALL(SEND, sendmmsg, 307, 345)
BH_HOOK_CALL(SEND, socketcall, -1, 102)
BH_HOOK_CALL(RECV, recvfrom, 45, 371)
BH_HOOK_CALL(RECV, recvmsg, 47, 372)
BH_HOOK_CALL(RECV, recvmmsg, 299, 337)
BH_HOOK_CALL(RECV, recvmmsg_time64, -1, 417)
BH_HOOK_CALL(RECV, socketcall, -1, 102)
BH_HOOK_CALL(DNS, sendto, 44, 369)
BH_HOOK_CALL(DNS, sendmsg, 46, 370)
BH_HOOK_CALL(DNS, sendmmsg, 307, 345)
BH_HOOK_CALL(DNS, recvfrom, 45, 371)
BH_HOOK_CALL(DNS, recvmsg, 47, 372)
BH_HOOK_CALL(DNS, recvmmsg, 299, 337)
BH_HOOK_CALL(DNS, recvmmsg_time64, -1, 417)
BH_HOOK_CALL(DNS, socketcall, -1, 102)
BH_HOOK_FALLBACK(SOCKET, tp_uring_complete)
BH_HOOK_FALLBACK(CONNECT, tp_uring_complete)
BH_HOOK_FALLBACK(BIND, tp_uring_complete)
BH_HOOK_FALLBACK(LISTEN, tp_uring_complete)
BH_HOOK_FALLBACK(ACCEPT, tp_uring_complete)
BH_HOOK_FALLBACK(SEND, tp_uring_complete)
BH_HOOK_FALLBACK(RECV, tp_uring_complete)
BH_HOOK_FALLBACK(DNS, tp_uring_complete)
BH_HOOK_FALLBACK(CONNECT, tp_uring_submit)
BH_HOOK_FALLBACK(BIND, tp_uring_submit)
BH_HOOK_FALLBACK(ACCEPT, tp_uring_submit)
BH_HOOK_FALLBACK(SEND, tp_uring_submit)
BH_HOOK_FALLBACK(DNS, tp_uring_submit)

#undef BH_HOOK_COMMON
#undef BH_HOOK_OBJECT
#undef BH_HOOK_INSTEAD
#undef BH_HOOK_FALLBACK
#undef BH_HOOK_CALL

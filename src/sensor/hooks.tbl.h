/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which kernel programs make a hook (a kind of event), per backend.
 *
 *     BH_HOOK_COMMON(TYPE, program)      attached whatever the backend: a tracepoint that costs nothing elsewhere
 *     BH_HOOK_OBJECT(TYPE, program)      preferred: fentry/fexit on a kernel function; attached if this kernel has the function
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

/* file.bpf.c */

/* net.bpf.c */

#undef BH_HOOK_COMMON
#undef BH_HOOK_OBJECT
#undef BH_HOOK_FALLBACK
#undef BH_HOOK_CALL

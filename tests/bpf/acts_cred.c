/* SPDX-License-Identifier: Apache-2.0 */
/* Acts: credentials and capabilities. Each in the act's own process, which ends afterwards. */
#include "acts.h"

#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>

#define NOBODY 65534

enum { SETUID, SETGID, SETRESUID, SETRESGID, SETREUID, SETREGID, SETFSUID, SETFSGID, SETGROUPS, SETUID16, SETUID_INT80, SETUID_SAME, CAP_DROP, CAP_INHERIT, CAP_CLEAR,
       BSET_DROP, AMBIENT_RAISE, KEEPCAPS, SETUID_ROOT };

static long capset(bool drop_one, bool inherit, bool clear) {
        struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
        struct __user_cap_data_struct d[2];

        if (SYSC(SYS_capget, &h, d) < 0)
                return -1;
        if (drop_one) {
                d[0].effective &= ~(1u << CAP_NET_RAW);
                d[0].permitted &= ~(1u << CAP_NET_RAW);
        }
        if (inherit)
                d[0].inheritable |= d[0].permitted & (1u << CAP_CHOWN);
        if (clear)
                memset(d, 0, sizeof d);
        return SYSC(SYS_capset, &h, d);
}

static void run_cred(const struct act *a) {
        gid_t groups[] = { 100, NOBODY };
        long r = -1;

        if (a->arg == AMBIENT_RAISE && capset(false, true, false) < 0)
                act_unsupported("cannot make a capability inheritable");
        if (a->arg == SETUID_ROOT) /* from the saved uid back to root */
                if (SYSC(SYS32(setresuid), NOBODY, NOBODY, 0) < 0)
                        act_unsupported("cannot leave root first");
        act_cred_facts("before_");
        if (a->arg == SETUID_INT80)
                act_low("", 0); /* ends the act where int 0x80 does not work */
        errno = 0;
        switch (a->arg) {
        case SETUID: r = SYSC(SYS32(setuid), NOBODY); break;
        case SETUID_SAME: r = SYSC(SYS32(setuid), getuid()); break;
        case SETUID_ROOT: r = SYSC(SYS32(setresuid), -1, 0, -1); break;
        case SETGID: r = SYSC(SYS32(setgid), NOBODY); break;
        case SETRESUID: r = SYSC(SYS32(setresuid), 1001, 1002, 1003); break;
        case SETRESGID: r = SYSC(SYS32(setresgid), 1001, 1002, 1003); break;
        case SETREUID: r = SYSC(SYS32(setreuid), -1, NOBODY); break;
        case SETREGID: r = SYSC(SYS32(setregid), -1, NOBODY); break;
        case SETFSUID: r = SYSC(SYS32(setfsuid), NOBODY); break;
        case SETFSGID: r = SYSC(SYS32(setfsgid), NOBODY); break;
        case SETGROUPS: r = SYSC(SYS32(setgroups), 2, groups); break;
#ifdef __i386__
        case SETUID16: r = SYSC(SYS_setuid, NOBODY); break;
#endif
        case SETUID_INT80: r = INT80(213 /* setuid32 */, NOBODY); break;
        case CAP_DROP: r = capset(true, false, false); break;
        case CAP_INHERIT: r = capset(false, true, false); break;
        case CAP_CLEAR: r = capset(false, false, true); break;
        case BSET_DROP: r = SYSC(SYS_prctl, PR_CAPBSET_DROP, CAP_SYS_TIME); break;
        case AMBIENT_RAISE: r = SYSC(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN); break;
        case KEEPCAPS: r = SYSC(SYS_prctl, PR_SET_KEEPCAPS, 1); break;
        default: break;
        }
        act_ret(r);
        act_cred_facts("");
        act_end();
}

#ifdef __i386__
#define CALL32(x) x "32"
#else
#define CALL32(x) x
#endif

const struct act acts_cred[] = {
        { "setuid", "setuid", "creds", CALL32("setuid"), run_cred, SETUID, 0 },
        { "setuid", "setuid16", "creds", "setuid", run_cred, SETUID16, ACT_I386 },
        { "setuid", "int80", "creds", "setuid32", run_cred, SETUID_INT80, ACT_X86_64 | ACT_INT80 },
        { "setuid", "setresuid", "creds", CALL32("setresuid"), run_cred, SETRESUID, 0 },
        { "setuid", "setreuid", "creds", CALL32("setreuid"), run_cred, SETREUID, 0 },
        { "setuid", "setfsuid", "creds", CALL32("setfsuid"), run_cred, SETFSUID, 0 },
        { "setuid", "back_to_root", "creds", CALL32("setresuid"), run_cred, SETUID_ROOT, 0 },
        { "setuid", "same", "creds", CALL32("setuid"), run_cred, SETUID_SAME, ACT_QUIET },
        { "setgid", "setgid", "creds", CALL32("setgid"), run_cred, SETGID, 0 },
        { "setgid", "setresgid", "creds", CALL32("setresgid"), run_cred, SETRESGID, 0 },
        { "setgid", "setregid", "creds", CALL32("setregid"), run_cred, SETREGID, 0 },
        { "setgid", "setfsgid", "creds", CALL32("setfsgid"), run_cred, SETFSGID, 0 },
        { "setgid", "setgroups", "creds", CALL32("setgroups"), run_cred, SETGROUPS, 0 },
        { "capset", "drop", "creds", "capset", run_cred, CAP_DROP, 0 },
        { "capset", "inheritable", "creds", "capset", run_cred, CAP_INHERIT, 0 },
        { "capset", "clear", "creds", "capset", run_cred, CAP_CLEAR, 0 },
        { "capset", "bset_drop", "creds", "prctl", run_cred, BSET_DROP, 0 },
        { "capset", "ambient_raise", "creds", "prctl", run_cred, AMBIENT_RAISE, 0 },
        { "capset", "keepcaps", "creds", "prctl", run_cred, KEEPCAPS, ACT_QUIET },
        { NULL, NULL, NULL, NULL, NULL, 0, 0 },
};

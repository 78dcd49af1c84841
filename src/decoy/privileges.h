/* SPDX-License-Identifier: Apache-2.0 */
/* A process that talks to attackers has no privileges, whatever it began with. In a header, so that its test needs no other program. */
#pragma once
#include <glib.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As root it becomes this user and group; as another one it stays that, without the capabilities it was given (ambient ones, of the file). FALSE: it has some still. */
static inline gboolean bh_decoy_give_up_privileges(gint uid) {
        struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
        const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
                return FALSE;
        if (geteuid() == 0 && (setgroups(0, NULL) || setresgid((gid_t) uid, (gid_t) uid, (gid_t) uid) || setresuid((uid_t) uid, (uid_t) uid, (uid_t) uid)))
                return FALSE;
        return syscall(SYS_capset, &head, none) == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
}

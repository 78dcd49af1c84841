/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where the bytes of a program that is run come from. */
#ifndef BH_EXE_BPF_H
#define BH_EXE_BPF_H

#include "core.bpf.h"

/* BH_RF_EXE_DELETED: no name leads to it any more. */
static __always_inline bool bh_exe_deleted(struct inode *inode, struct dentry *dentry) {
        return BPF_CORE_READ(inode, i_nlink) == 0 || bh_unlinked(dentry);
}

/* A memfd lives on the kernel's own tmpfs mount under this name. */
static __always_inline bool bh_exe_memfd(struct inode *inode, struct dentry *dentry) {
        char name[8] = {};

        bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(dentry, d_name.name));
        return name[0] == 'm' && name[1] == 'e' && name[2] == 'm' && name[3] == 'f' && name[4] == 'd' && name[5] == ':' && BPF_CORE_READ(inode, i_sb, s_magic) == TMPFS_MAGIC;
}

/* BH_RF_EXE_UPPER, BH_RF_EXE_LOWER: of a container's writable layer, of its image; 0: no overlay. */
static __always_inline __u32 bh_exe_layer(struct inode *inode) {
        void *upper = NULL;

        if (BPF_CORE_READ(inode, i_sb, s_magic) != OVERLAYFS_SUPER_MAGIC)
                return 0;
        /* overlayfs keeps the upper dentry right behind the inode (struct ovl_inode, fs/overlayfs/ovl_entry.h) */
        bh_read(&upper, sizeof(upper), (char *) inode + bpf_core_type_size(struct inode));
        return upper ? BH_RF_EXE_UPPER : BH_RF_EXE_LOWER;
}

#endif

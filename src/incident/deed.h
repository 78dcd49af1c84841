/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a finding says was done that outlasts the act: planted (a file, a module, …), read of secrets, sent out. From its event and tags alone, and never of what the kernel refused.
 *
 *   wrote   a file that persistence or the way out of the container is about was written, renamed or linked into place; rights were given to a file; a program ran that is not in the image
 *   module  a kernel module was loaded      kernel  another kernel was      bpf  a BPF program was
 *   read    a file was opened for reading (with O_PATH nothing can be read) by what a rule says is after credentials. /etc/passwd and /etc/group, which everybody reads, are none
 *   sent    data went out: bytes of a connection, or names of DNS questions that carry some
 *
 * That a file was opened for writing counts as written. Pure.
 */
#pragma once
#include <glib.h>

typedef enum { BH_DEED_NONE, BH_DEED_WROTE, BH_DEED_MODULE, BH_DEED_KERNEL, BH_DEED_BPF, BH_DEED_READ, BH_DEED_SENT, BH_DEEDS } BhDeed;

/* "wrote", …; "" for NONE. Stands in the store. */
const char *bh_deed_name(BhDeed d);
/* NONE where there is none of that name. */
BhDeed bh_deed_of_name(const char *name);
gboolean bh_deed_plants(BhDeed d);

/* The path as it is where it was opened by way of a process's root: "/proc/7/root/etc/x", or again through another's, is "/etc/x". A part of the text. */
const char *bh_deed_path(const char *path);

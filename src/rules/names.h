/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers as rules write them: O_RDONLY|O_CREAT, AF_PACKET, PTRACE_ATTACH, S_ISUID|…, SIGKILL, BPF_PROG_LOAD. Pure; texts are static or in the scene's scratch.
 */
#pragma once
#include "rules/value.h"

struct bh_str bh_rule_open_flags(BhRuleScene *s, const struct bh_event *e);
struct bh_str bh_rule_family(BhRuleScene *s, guint32 family);
/* S_IXOTH|…|S_ISUID; with a type (S_IFCHR) for mknod. */
struct bh_str bh_rule_mode(BhRuleScene *s, guint32 mode);
struct bh_str bh_rule_ptrace(BhRuleScene *s, gint64 request);
struct bh_str bh_rule_bpf(BhRuleScene *s, gint64 command);
struct bh_str bh_rule_signal(BhRuleScene *s, guint32 signal);
struct bh_str bh_rule_mount_flags(BhRuleScene *s, guint64 flags);
struct bh_str bh_rule_umount_flags(BhRuleScene *s, guint64 flags);
struct bh_str bh_rule_memfd_flags(BhRuleScene *s, guint64 flags);
struct bh_str bh_rule_rename_flags(BhRuleScene *s, guint64 flags);
struct bh_str bh_rule_mmap_flags(BhRuleScene *s, guint64 flags);
struct bh_str bh_rule_module_flags(BhRuleScene *s, guint64 flags, gboolean unload);
/* A FLAGS field of events, its names with '|' between. */
struct bh_str bh_rule_flags(BhRuleScene *s, enum bh_field field, guint64 value);
/* EXE_WRITABLE|EXE_UPPER_LAYER|… of an exec. */
struct bh_str bh_rule_exe_flags(BhRuleScene *s);

/* Service of a port, NULL: none. Read once from the node's /etc/services, else a short list of our own. Thread-safe. */
const char *bh_rule_port_name(guint32 port, gboolean udp);
/* Port of a service name, -1: none. */
gint32 bh_rule_port_number(const char *name, gsize len);

/* SPDX-License-Identifier: Apache-2.0 */
/* One line for people. Foreign text that is more than plain printable ASCII stands in quotes, escaped. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/escape.h"
#include "event/codec.h"

#define HAS(member) bh_event_has(e, BH_F_##member)

/* A bare word where nothing in it could be mistaken, else quoted. */
static void word(GString *out, struct bh_str s) {
        gboolean bare = s.len > 0;

        for (guint32 i = 0; bare && i < s.len; i++)
                bare = s.p[i] > ' ' && s.p[i] < 0x7f && s.p[i] != '"' && s.p[i] != '\\';
        if (bare)
                g_string_append_len(out, s.p, s.len);
        else
                bh_escape_append_quoted(out, s.len ? s.p : "", s.len);
}

static void field(GString *out, const char *before, const struct bh_event *e, enum bh_field f) {
        if (!bh_event_has(e, f))
                return;
        g_string_append(out, before);
        word(out, *(const struct bh_str *) ((const char *) e + bh_fields[f].offset));
}

#define WORD(before, member) field(out, before, e, BH_F_##member)

/* Words of a list, at most `max` bytes of it. */
static void words(GString *out, struct bh_str list, guint32 max) {
        gboolean cut = list.len > max;

        if (cut)
                list.len = max;
        while (list.len) {
                const char *nul = memchr(list.p, 0, list.len);
                guint32 n = nul ? (guint32) (nul - list.p) : list.len;

                g_string_append_c(out, ' ');
                word(out, (struct bh_str){ list.p, n });
                n += nul != NULL;
                list.p += n;
                list.len -= n;
        }
        if (cut)
                g_string_append(out, " …");
}

static void flags(GString *out, const char *before, enum bh_field f, guint64 value) {
        const char *names[BH_FLAG_NAMES_MAX];
        guint64 rest;
        guint n = bh_flag_names(f, value, names, &rest);

        if (!n && !rest)
                return;
        g_string_append(out, before);
        for (guint i = 0; i < n; i++)
                g_string_append_printf(out, "%s%s", i ? "|" : "", names[i]);
        if (rest)
                g_string_append_printf(out, "%s0x%" G_GINT64_MODIFIER "x", n ? "|" : "", rest);
}

static void address(GString *out, const struct bh_ip *ip, gboolean has_port, guint32 port) {
        char text[INET6_ADDRSTRLEN];

        inet_ntop(ip->len == 4 ? AF_INET : AF_INET6, ip->b, text, sizeof(text));
        g_string_append_printf(out, has_port && ip->len != 4 ? "[%s]" : "%s", text);
        if (has_port)
                g_string_append_printf(out, ":%u", port);
}

static void local(GString *out, const struct bh_event *e) {
        if (HAS(laddr)) {
                g_string_append_c(out, ' ');
                address(out, &e->laddr, HAS(lport), e->lport);
        }
}

static void remote(GString *out, const struct bh_event *e) {
        if (HAS(raddr)) {
                g_string_append_c(out, ' ');
                address(out, &e->raddr, HAS(rport), e->rport);
        }
}

static void dns(GString *out, const struct bh_event *e) {
        WORD(" ", dns_type);
        WORD(" ", dns_qtype);
        WORD(" ", dns_question);
        WORD(" ", dns_rcode);
        if (HAS(dns_answers)) {
                g_string_append(out, " →");
                words(out, e->dns_answers, 256);
        }
        WORD(" problem=", dns_problem);
}

static void protocol(GString *out, const struct bh_event *e) {
        const char *name = NULL;

        if (HAS(family) && e->family != AF_INET && e->family != AF_INET6) {
                name = bh_enum_name(BH_F_family, e->family);
                if (name)
                        g_string_append_printf(out, " %s", name);
                else
                        g_string_append_printf(out, " family=%u", e->family);
                if (HAS(sock_type) && (name = bh_enum_name(BH_F_sock_type, e->sock_type)))
                        g_string_append_printf(out, " %s", name);
                return;
        }
        if (!HAS(proto))
                return;
        switch (e->proto) {
        case IPPROTO_TCP: name = "tcp"; break;
        case IPPROTO_UDP: name = "udp"; break;
        case IPPROTO_ICMP: name = "icmp"; break;
        case IPPROTO_ICMPV6: name = "icmp6"; break;
        case IPPROTO_SCTP: name = "sctp"; break;
        }
        if (name)
                g_string_append_printf(out, " %s", name);
        else if (e->sock_type == SOCK_RAW)
                g_string_append_printf(out, " raw proto=%u", e->proto);
        else
                g_string_append_printf(out, " proto=%u", e->proto);
}

static void target(GString *out, const struct bh_event *e) {
        if (!HAS(target_pid) && !HAS(target_comm))
                return;
        g_string_append(out, " → ");
        if (HAS(target_comm))
                word(out, e->target_comm);
        if (HAS(target_pid))
                g_string_append_printf(out, "[%u]", e->target_pid);
}

static void bytes(GString *out, const struct bh_event *e) {
        if (HAS(bytes))
                g_string_append_printf(out, " bytes=%" G_GUINT64_FORMAT, e->bytes);
}

static void operation(GString *out, const struct bh_event *e) {
        if (HAS(operation))
                g_string_append_printf(out, " op=%" G_GINT64_FORMAT, e->operation);
        if (HAS(subject))
                g_string_append_printf(out, " subject=%" G_GUINT64_FORMAT, e->subject);
        if (HAS(op_flags) && e->op_flags)
                g_string_append_printf(out, " flags=0x%" G_GINT64_MODIFIER "x", e->op_flags);
}

/* What the kind has of its own. */
static void act(GString *out, const struct bh_event *e) {
        switch (e->type) {
        case BH_EV_EXEC:
        case BH_EV_PROCESS:
                WORD(" ", exe);
                if (HAS(args)) {
                        const char *nul = e->args.len ? memchr(e->args.p, 0, e->args.len) : NULL;
                        struct bh_str rest = { "", 0 };

                        if (nul)
                                rest = (struct bh_str){ nul + 1, e->args.len - (guint32) (nul + 1 - e->args.p) };
                        words(out, rest, 2048);
                }
                WORD("  script=", script);
                if (HAS(uid))
                        g_string_append_printf(out, "  uid=%u", e->uid);
                WORD(" parent=", parent_comm);
                break;
        case BH_EV_FORK:
                if (HAS(child_pid))
                        g_string_append_printf(out, " → [%u]", e->child_pid);
                if (HAS(clone_flags))
                        flags(out, " ", BH_F_ns_flags, e->clone_flags & 0x7e020000);
                break;
        case BH_EV_EXIT:
                if (HAS(exit_signal))
                        g_string_append_printf(out, " signal=%u", e->exit_signal);
                else if (HAS(exit_code))
                        g_string_append_printf(out, " code=%d", e->exit_code);
                WORD("  ", exe);
                break;
        case BH_EV_CGROUP_CREATE:
        case BH_EV_CGROUP_REMOVE:
        case BH_EV_CGROUP_ATTACH:
                if (HAS(cgroup_path))
                        WORD(" ", cgroup_path);
                else
                        WORD(" ", path);
                if (HAS(target_cgroup))
                        g_string_append_printf(out, " id=%" G_GUINT64_FORMAT, e->target_cgroup);
                target(out, e);
                break;
        case BH_EV_CREDS:
                if (HAS(old_euid) && HAS(euid))
                        g_string_append_printf(out, " uid %u→%u", e->old_euid, e->euid);
                else if (HAS(euid))
                        g_string_append_printf(out, " uid %u", e->euid);
                if (HAS(old_egid) && HAS(egid) && e->old_egid != e->egid)
                        g_string_append_printf(out, " gid %u→%u", e->old_egid, e->egid);
                if (HAS(old_cap_effective) && HAS(cap_effective) && e->old_cap_effective != e->cap_effective)
                        g_string_append_printf(out, " caps 0x%" G_GINT64_MODIFIER "x→0x%" G_GINT64_MODIFIER "x", e->old_cap_effective, e->cap_effective);
                break;
        case BH_EV_SETNS:
        case BH_EV_UNSHARE:
                if (HAS(ns_flags))
                        flags(out, " ", BH_F_ns_flags, e->ns_flags);
                break;
        case BH_EV_SIGNAL:
                if (HAS(signal))
                        g_string_append_printf(out, " %u", e->signal);
                target(out, e);
                break;
        case BH_EV_DUP_STDIO:
                g_string_append_printf(out, " %d → %d", e->old_fd, e->fd);
                WORD(" ", path);
                break;
        case BH_EV_MPROTECT_EXEC:
        case BH_EV_MMAP_EXEC:
                if (HAS(path))
                        WORD(" ", path);
                else
                        g_string_append(out, " anonymous");
                if (HAS(prot))
                        flags(out, " ", BH_F_prot, e->prot);
                if (HAS(address))
                        g_string_append_printf(out, " at 0x%" G_GINT64_MODIFIER "x", e->address);
                bytes(out, e);
                break;
        case BH_EV_OPEN:
        case BH_EV_CLOSE_WRITE:
                if (HAS(path))
                        WORD(" ", path);
                else
                        WORD(" ", name);
                if (HAS(open_flags))
                        flags(out, " ", BH_F_open_flags, e->open_flags & ~(guint64) 0100000);
                bytes(out, e);
                break;
        case BH_EV_RENAME:
        case BH_EV_LINK:
        case BH_EV_SYMLINK:
        case BH_EV_MOUNT:
        case BH_EV_MOVE_MOUNT:
        case BH_EV_PIVOT_ROOT:
                WORD(" ", path);
                WORD(e->type == BH_EV_MOUNT ? " from " : " → ", path2);
                WORD(" ", name);
                break;
        case BH_EV_MKDIR:
        case BH_EV_MKNOD:
        case BH_EV_CHMOD:
                WORD(" ", path);
                if (HAS(mode))
                        g_string_append_printf(out, " mode=%04o", e->mode & 07777);
                if (HAS(rdev))
                        g_string_append_printf(out, " rdev=0x%x", e->rdev);
                break;
        case BH_EV_CHOWN:
                WORD(" ", path);
                if (HAS(owner_uid))
                        g_string_append_printf(out, " uid=%d", (gint32) e->owner_uid);
                if (HAS(owner_gid))
                        g_string_append_printf(out, " gid=%d", (gint32) e->owner_gid);
                break;
        case BH_EV_SOCKET:
        case BH_EV_BIND:
        case BH_EV_LISTEN:
                protocol(out, e);
                local(out, e);
                WORD(" ", path);
                break;
        case BH_EV_CONNECT:
        case BH_EV_ACCEPT:
        case BH_EV_SEND:
        case BH_EV_RECV:
        case BH_EV_DNS:
        case BH_EV_NET_CLOSE:
                protocol(out, e);
                if (e->type != BH_EV_CONNECT)
                        local(out, e);
                if (e->type == BH_EV_ACCEPT || e->type == BH_EV_RECV)
                        g_string_append(out, " ←");
                else if (e->type == BH_EV_NET_CLOSE)
                        g_string_append(out, HAS(outgoing) && e->outgoing ? " →" : " ←");
                remote(out, e);
                WORD(" ", path);
                if (e->type == BH_EV_DNS)
                        dns(out, e);
                if (HAS(bytes_out))
                        g_string_append_printf(out, " out=%" G_GUINT64_FORMAT, e->bytes_out);
                if (HAS(bytes_in))
                        g_string_append_printf(out, " in=%" G_GUINT64_FORMAT, e->bytes_in);
                if (HAS(duration))
                        g_string_append_printf(out, " duration=%.3fs", (double) e->duration / 1e9);
                bytes(out, e);
                if (HAS(target_pid))
                        target(out, e);
                break;
        case BH_EV_CONTAINER:
        case BH_EV_SENSOR:
                WORD(" ", action);
                WORD(" ", actor);
                if (HAS(message)) {
                        g_string_append(out, " ");
                        bh_escape_append_quoted(out, e->message.len ? e->message.p : "", e->message.len);
                }
                break;
        default:
                WORD(" ", path);
                WORD(" → ", path2);
                WORD(" ", name);
                operation(out, e);
                target(out, e);
                bytes(out, e);
                break;
        }
}

void bh_event_to_text(const struct bh_event *e, GString *out) {
        const char *type = bh_event_type_name(e->type);

        if (HAS(time)) {
                guint64 s = e->time / 1000000000u % 86400;

                g_string_append_printf(out, "%02u:%02u:%02u.%06u ", (guint) (s / 3600), (guint) (s / 60 % 60), (guint) (s % 60), (guint) (e->time % 1000000000u / 1000));
        }
        if (HAS(container_name) && e->container_name.len)
                word(out, e->container_name);
        else if (HAS(container_id))
                word(out, (struct bh_str){ e->container_id.p, MIN(e->container_id.len, 12) });
        else
                g_string_append(out, "host");
        if (HAS(container_image)) {
                g_string_append(out, " (");
                word(out, e->container_image);
                g_string_append_c(out, ')');
        }
        if (HAS(origin_name) || HAS(origin_id)) {
                g_string_append(out, " (from ");
                if (HAS(origin_name) && e->origin_name.len)
                        word(out, e->origin_name);
                else
                        word(out, (struct bh_str){ e->origin_id.p, MIN(e->origin_id.len, 12) });
                g_string_append_c(out, ')');
        }
        if (HAS(comm) || HAS(pid)) {
                g_string_append_c(out, ' ');
                if (HAS(comm))
                        word(out, e->comm);
                if (HAS(pid))
                        g_string_append_printf(out, "[%u]", e->pid);
        }
        if (type)
                g_string_append_printf(out, " %s", type);
        else
                g_string_append_printf(out, " type=%u", e->type);
        act(out, e);
        if (HAS(ret) && e->ret < 0) {
                if (HAS(error)) {
                        g_string_append(out, " → ");
                        word(out, e->error);
                } else {
                        g_string_append_printf(out, " → %" G_GINT64_FORMAT, e->ret);
                }
        }
        if (HAS(count) && e->count > 1)
                g_string_append_printf(out, " ×%u", e->count);
        if (HAS(flags))
                flags(out, "  ", BH_F_flags, e->flags);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the event is about: files and sockets (fd.*), paths of calls (fs.path.*), and the same as the krsi plugin names it. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "rules/names.h"
#include "rules/value.h"

#define HAS(member) bh_event_has(e, BH_F_##member)

/* ---- what it is ---- */

enum { NOTHING = 0, FILE_ = 'f', DIRECTORY = 'd', IPV4 = '4', IPV6 = '6', UNIX = 'u', PIPE = 'p', NETLINK = 'n', MEMFD = 'm', OTHER = 'o' };

static int socket_char(const struct bh_event *e) {
        switch (HAS(family) ? (int) e->family : -1) {
        case AF_INET: return IPV4;
        case AF_INET6: return IPV6;
        case AF_UNIX: return UNIX;
        case AF_NETLINK: return NETLINK;
        }
        return OTHER;
}

/* Descriptors that no file system names. */
static int anonymous_char(struct bh_str path) {
        static const struct {
                const char *name;
                int type;
        } known[] = {
                { "[eventfd]", 'e' }, { "[eventpoll]", 'l' }, { "[signalfd]", 's' }, { "[timerfd]", 't' }, { "inotify", 'i' }, { "[io_uring]", 'r' }, { "[userfaultfd]", 'u' },
                { "bpf-map", 'b' },   { "bpf-prog", 'b' },    { "[pidfd]", 'P' },    { "memfd:", 'm' },
        };

        for (guint i = 0; i < G_N_ELEMENTS(known); i++) {
                if (memmem(path.p, path.len, known[i].name, strlen(known[i].name)))
                        return known[i].type;
        }
        return OTHER;
}

static int type_char(const struct bh_event *e) {
        switch (e->type) {
        case BH_EV_OPEN: return HAS(open_flags) && (e->open_flags & O_DIRECTORY) && (e->open_flags & O_TMPFILE) != O_TMPFILE ? DIRECTORY : FILE_;
        case BH_EV_CHDIR: return DIRECTORY;
        case BH_EV_SOCKET:
        case BH_EV_CONNECT:
        case BH_EV_BIND:
        case BH_EV_LISTEN:
        case BH_EV_ACCEPT:
        case BH_EV_NET_CLOSE:
        case BH_EV_SEND:
        case BH_EV_RECV: return socket_char(e);
        case BH_EV_DNS: return HAS(family) ? socket_char(e) : OTHER;
        case BH_EV_DUP_STDIO:
                if (!HAS(fd_mode))
                        return HAS(path) ? anonymous_char(e->path) : OTHER;
                switch (e->fd_mode & S_IFMT) {
                case S_IFSOCK: return socket_char(e);
                case S_IFIFO: return PIPE;
                case S_IFDIR: return DIRECTORY;
                case S_IFREG: return HAS(path) && anonymous_char(e->path) == MEMFD ? MEMFD : FILE_;
                case S_IFCHR:
                case S_IFBLK: return FILE_;
                }
                return HAS(path) ? anonymous_char(e->path) : OTHER;
        case BH_EV_MEMFD_CREATE: return MEMFD;
        case BH_EV_BPF: return 'b';
        case BH_EV_USERFAULTFD: return 'u';
        case BH_EV_IO_URING_SETUP: return 'r';
        case BH_EV_PERF_EVENT_OPEN:
        case BH_EV_PIDFD_GETFD: return OTHER;
        case BH_EV_MMAP_EXEC:
        case BH_EV_MPROTECT_EXEC: return HAS(path) ? FILE_ : NOTHING;
        case BH_EV_MODULE_LOAD: return HAS(fd) ? FILE_ : NOTHING;
        case BH_EV_CLOSE_WRITE:
        case BH_EV_CHMOD:
        case BH_EV_CHOWN:
        case BH_EV_SETXATTR:
        case BH_EV_KEXEC:
        case BH_EV_SETNS:
        case BH_EV_MEM_WRITE: return FILE_;
        }
        return NOTHING;
}

static const char *type_name(int c) {
        switch (c) {
        case FILE_: return "file";
        case DIRECTORY: return "directory";
        case IPV4: return "ipv4";
        case IPV6: return "ipv6";
        case UNIX: return "unix";
        case PIPE: return "pipe";
        case NETLINK: return "netlink";
        case MEMFD: return "memfd";
        case 'e': return "event";
        case 'l': return "eventpoll";
        case 's': return "signalfd";
        case 't': return "timerfd";
        case 'i': return "inotify";
        case 'b': return "bpf";
        case 'r': return "io_uring";
        case 'P': return "pidfd";
        }
        return "unknown";
}

static const char *type_text(int c) {
        static const char text[256][2] = {
                ['f'] = "f", ['d'] = "d", ['4'] = "4", ['6'] = "6", ['u'] = "u", ['p'] = "p", ['n'] = "n", ['m'] = "m",
                ['o'] = "o", ['e'] = "e", ['l'] = "l", ['s'] = "s", ['t'] = "t", ['i'] = "i", ['b'] = "b", ['r'] = "r", ['P'] = "P",
        };

        return text[c & 0xff];
}

/* ---- sides of a connection ---- */

/* Of datagrams only the ports tell who asks and who answers: the one with the lower, well-known port answers. */
static gboolean remote_serves(const struct bh_event *e) {
        guint32 l = HAS(lport) ? e->lport : 0, r = HAS(rport) ? e->rport : 0;

        if (r == 53 || l == 53)
                return r == 53;
        if ((r < 1024) != (l < 1024) && l && r)
                return r < 1024;
        return e->type == BH_EV_SEND || e->type == BH_EV_DNS;
}

static gboolean client_is_local(const struct bh_event *e) {
        switch (e->type) {
        case BH_EV_CONNECT: return TRUE;
        case BH_EV_ACCEPT:
        case BH_EV_LISTEN:
        case BH_EV_BIND: return FALSE;
        case BH_EV_NET_CLOSE: return !HAS(outgoing) || e->outgoing;
        case BH_EV_DUP_STDIO: return TRUE;
        }
        return remote_serves(e);
}

struct side {
        const struct bh_ip *ip;
        guint32 port;
        gboolean has_port;
};

static struct side side_of(const struct bh_event *e, gboolean local) {
        struct side s = { NULL, 0, FALSE };

        if (local) {
                s.ip = HAS(laddr) ? &e->laddr : NULL;
                s.port = HAS(lport) ? e->lport : 0;
                s.has_port = HAS(lport);
        } else {
                s.ip = HAS(raddr) ? &e->raddr : NULL;
                s.port = HAS(rport) ? e->rport : 0;
                s.has_port = HAS(rport);
        }
        return s;
}

static struct side client(const struct bh_event *e) {
        return side_of(e, client_is_local(e));
}

static struct side server(const struct bh_event *e) {
        return side_of(e, !client_is_local(e));
}

static gboolean ip_value(const struct bh_ip *ip, struct bh_value *out) {
        if (!ip)
                return FALSE;
        out->kind = BH_VALUE_IP;
        out->ip = *ip;
        /* an IPv4 address in IPv6's clothes is what it is */
        if (ip->len == 16 && memcmp(ip->b, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0) {
                memcpy(out->ip.b, ip->b + 12, 4);
                out->ip.len = 4;
        }
        return TRUE;
}

static gboolean port_value(struct side s, struct bh_value *out) {
        return s.has_port ? bh_value_num(out, s.port) : FALSE;
}

static gboolean is_ip(const struct bh_event *e) {
        return HAS(family) && (e->family == AF_INET || e->family == AF_INET6);
}

static const char *l4proto(const struct bh_event *e) {
        if (HAS(sock_type) && e->sock_type == SOCK_RAW)
                return "raw";
        if (HAS(proto)) {
                switch (e->proto) {
                case IPPROTO_TCP: return "tcp";
                case IPPROTO_UDP: return "udp";
                case IPPROTO_ICMP:
                case IPPROTO_ICMPV6: return "icmp";
                }
        }
        if (HAS(sock_type) && (!HAS(proto) || !e->proto))
                return e->sock_type == SOCK_STREAM ? "tcp" : e->sock_type == SOCK_DGRAM ? "udp" : NULL;
        return e->type == BH_EV_DNS ? "udp" : "<NA>";
}

static gboolean proto_value(BhRuleScene *s, struct side side, struct bh_value *out) {
        const char *name;

        if (!side.has_port)
                return FALSE;
        name = bh_rule_port_name(side.port, g_strcmp0(l4proto(s->event), "udp") == 0);
        return name ? bh_value_text(out, name) : bh_value_str(out, bh_scene_print(s, "%u", side.port));
}

static gboolean domain(BhRuleScene *s, const struct bh_ip *ip, struct bh_value *out) {
        struct bh_value v;
        struct bh_str name;

        if (!ip || !s->lineage || !s->lineage->domain || !ip_value(ip, &v) || !s->lineage->domain(s->lineage->data, &v.ip, &name))
                return FALSE;
        return bh_value_str(out, name);
}

/* ---- names ---- */

static gsize put_side(char *p, gsize room, const struct bh_event *e, struct side s) {
        char text[INET6_ADDRSTRLEN];
        struct bh_value v;

        if (!ip_value(s.ip, &v))
                return (gsize) g_snprintf(p, room, e->family == AF_INET6 ? ":::%u" : "0.0.0.0:%u", s.port);
        if (!inet_ntop(v.ip.len == 4 ? AF_INET : AF_INET6, v.ip.b, text, sizeof(text)))
                return 0;
        return (gsize) g_snprintf(p, room, "%s:%u", text, s.port);
}

static gboolean tuple(BhRuleScene *s, struct bh_value *out) {
        const struct bh_event *e = s->event;
        gboolean local = HAS(laddr) || HAS(lport), remote = HAS(raddr) || HAS(rport);
        char *p = bh_scene_room(s, 160);
        gsize n;

        if (!p)
                return FALSE;
        if (!local && !remote)
                return bh_value_str(out, (struct bh_str){ "", 0 });
        if (!remote) { /* one that listens or was bound */
                n = put_side(p, 160, e, side_of(e, TRUE));
                return bh_value_str(out, bh_scene_take(s, n));
        }
        n = put_side(p, 80, e, client(e));
        memcpy(p + n, "->", 2);
        n += 2;
        n += put_side(p + n, 160 - n, e, server(e));
        return bh_value_str(out, bh_scene_take(s, n));
}

static gboolean fd_name(BhRuleScene *s, struct bh_value *out) {
        const struct bh_event *e = s->event;
        int c = type_char(e);

        if (c == NOTHING)
                return FALSE;
        if (c == IPV4 || c == IPV6)
                return tuple(s, out);
        if (e->type == BH_EV_MEMFD_CREATE && HAS(name))
                return bh_value_str(out, e->name);
        if (HAS(path))
                return bh_value_str(out, e->path);
        return c == UNIX || c == NETLINK || c == OTHER ? bh_value_str(out, (struct bh_str){ "", 0 }) : FALSE;
}

static gboolean directory(BhRuleScene *s, struct bh_value *out) {
        int c = type_char(s->event);
        const char *slash;

        if ((c != FILE_ && c != DIRECTORY) || !fd_name(s, out))
                return FALSE;
        if (c == DIRECTORY)
                return TRUE;
        slash = memrchr(out->s.p, '/', out->s.len);
        if (!slash || slash == out->s.p)
                return bh_value_text(out, "/");
        if (slash < out->s.p + out->s.len - 1)
                out->s.len = (guint32) (slash - out->s.p);
        return TRUE;
}

static gboolean filename(BhRuleScene *s, struct bh_value *out) {
        const char *slash;

        if (type_char(s->event) != FILE_ || !fd_name(s, out))
                return FALSE;
        slash = memrchr(out->s.p, '/', out->s.len);
        if (!slash)
                return bh_value_text(out, "/");
        if (slash < out->s.p + out->s.len - 1) {
                out->s.len -= (guint32) (slash + 1 - out->s.p);
                out->s.p = slash + 1;
        }
        return TRUE;
}

/* What the caller wrote, where it is known to differ. */
static gboolean raw_path(const struct bh_event *e, struct bh_value *out) {
        switch (e->type) {
        case BH_EV_MOUNT:
        case BH_EV_SETXATTR:
        case BH_EV_MEMFD_CREATE:
        case BH_EV_MODULE_LOAD:
        case BH_EV_COMM: break; /* their text is another */
        case BH_EV_OPEN: /* always says what was asked for: /proc/1/root/etc/shadow, which leads to another file than its name says */
                if (HAS(name))
                        return bh_value_str(out, e->name);
                break;
        default:
                if (HAS(name) && HAS(flags) && (e->flags & BH_RF_PATH_USER))
                        return bh_value_str(out, e->name);
        }
        return HAS(path) ? bh_value_str(out, e->path) : FALSE;
}

static gboolean fd_num(const struct bh_event *e, struct bh_value *out) {
        if (type_char(e) == NOTHING)
                return FALSE;
        if (HAS(fd) && (e->fd >= 0 || !HAS(ret) || e->ret < 0))
                return bh_value_num(out, e->fd);
        switch (e->type) {
        case BH_EV_OPEN:
        case BH_EV_SOCKET:
        case BH_EV_ACCEPT:
        case BH_EV_MEMFD_CREATE:
        case BH_EV_BPF:
        case BH_EV_USERFAULTFD:
        case BH_EV_IO_URING_SETUP:
        case BH_EV_PERF_EVENT_OPEN:
        case BH_EV_PIDFD_GETFD:
                if (HAS(ret) && e->ret < 0)
                        return bh_value_num(out, -1);
        }
        out->kind = BH_VALUE_SOME;
        return TRUE;
}

static gboolean device(const struct bh_event *e, guint id, struct bh_value *out) {
        if (!HAS(dev))
                return FALSE;
        return bh_value_num(out, id == BH_FLD_FD_DEV ? (gint64) e->dev : id == BH_FLD_FD_DEV_MAJOR ? (gint64) major(e->dev) : (gint64) minor(e->dev));
}

static gboolean in_container(BhRuleScene *s, gboolean of_directory, struct bh_value *out) {
        struct bh_value id, name;
        char *p;

        if (!bh_value_container(s, &(struct bh_field_ref){ .id = BH_FLD_CONTAINER_ID }, &id) || !(of_directory ? directory(s, &name) : fd_name(s, &name)))
                return FALSE;
        if (!(p = bh_scene_room(s, id.s.len + name.s.len + 1)))
                return FALSE;
        memcpy(p, id.s.p, id.s.len);
        p[id.s.len] = ':';
        memcpy(p + id.s.len + 1, name.s.p, name.s.len);
        return bh_value_str(out, bh_scene_take(s, id.s.len + name.s.len + 1));
}

/* fs.path.*: kinds with one path, and with two. */
static gboolean two_paths(const struct bh_event *e) {
        switch (e->type) {
        case BH_EV_RENAME:
        case BH_EV_LINK:
        case BH_EV_SYMLINK:
        case BH_EV_MOUNT:
        case BH_EV_MOVE_MOUNT:
        case BH_EV_PIVOT_ROOT: return TRUE;
        }
        return FALSE;
}

/* The record has the link and the mount point as first path: what they lead to is the source. */
static gboolean second_is_source(const struct bh_event *e) {
        return e->type == BH_EV_SYMLINK || e->type == BH_EV_MOUNT;
}

static gboolean fs_path(BhRuleScene *s, guint id, struct bh_value *out) {
        const struct bh_event *e = s->event;
        guint64 kinds[BH_KIND_WORDS];
        gboolean source = id == BH_FLD_FS_SOURCE || id == BH_FLD_FS_SOURCERAW, second;

        bh_rule_when_kinds(BH_RW_FSPATH, kinds);
        if (!(kinds[e->type / 64] >> (e->type % 64) & 1))
                return FALSE;
        if (id == BH_FLD_FS_NAME || id == BH_FLD_FS_NAMERAW) {
                if (two_paths(e) && e->type != BH_EV_MOUNT)
                        return FALSE;
                return id == BH_FLD_FS_NAMERAW ? raw_path(e, out) : HAS(path) ? bh_value_str(out, e->path) : FALSE;
        }
        if (!two_paths(e))
                return FALSE;
        second = source == second_is_source(e);
        if (second)
                return HAS(path2) ? bh_value_str(out, e->path2) : FALSE;
        return id == BH_FLD_FS_SOURCERAW || id == BH_FLD_FS_TARGETRAW ? raw_path(e, out) : HAS(path) ? bh_value_str(out, e->path) : FALSE;
}

static gboolean krsi(BhRuleScene *s, guint id, struct bh_value *out) {
        const struct bh_event *e = s->event;

        switch (id) {
        case BH_FLD_KRSI_NAME: return e->type == BH_EV_OPEN && HAS(path) ? bh_value_str(out, e->path) : FALSE;
        case BH_FLD_KRSI_FD: return e->type == BH_EV_OPEN || e->type == BH_EV_SOCKET ? fd_num(e, out) : FALSE;
        case BH_FLD_KRSI_FLAGS: return e->type == BH_EV_OPEN && HAS(open_flags) ? bh_value_str(out, bh_rule_open_flags(s, e)) : FALSE;
        case BH_FLD_KRSI_MODE: return HAS(mode) ? bh_value_num(out, e->mode) : FALSE;
        case BH_FLD_KRSI_DEV: return HAS(dev) ? bh_value_num(out, e->dev) : FALSE;
        case BH_FLD_KRSI_INO: return HAS(ino) ? bh_value_num(out, (gint64) e->ino) : FALSE;
        case BH_FLD_KRSI_DOMAIN: return HAS(family) ? bh_value_str(out, bh_rule_family(s, e->family)) : FALSE;
        case BH_FLD_KRSI_TYPE: return HAS(sock_type) ? bh_value_num(out, e->sock_type) : FALSE;
        case BH_FLD_KRSI_PROTOCOL: return HAS(proto) ? bh_value_num(out, e->proto) : FALSE;
        case BH_FLD_KRSI_RES: return HAS(ret) ? bh_value_num(out, e->ret) : FALSE;
        case BH_FLD_KRSI_TARGET: return e->type == BH_EV_SYMLINK && HAS(path2) ? bh_value_str(out, e->path2) : FALSE;
        case BH_FLD_KRSI_LINKPATH: return e->type == BH_EV_SYMLINK && HAS(path) ? bh_value_str(out, e->path) : FALSE;
        case BH_FLD_KRSI_PATH: return (e->type == BH_EV_UNLINK || e->type == BH_EV_RMDIR || e->type == BH_EV_MKDIR) && HAS(path) ? bh_value_str(out, e->path) : FALSE;
        case BH_FLD_KRSI_OLDPATH: return (e->type == BH_EV_RENAME || e->type == BH_EV_LINK) && HAS(path) ? bh_value_str(out, e->path) : FALSE;
        case BH_FLD_KRSI_NEWPATH: return (e->type == BH_EV_RENAME || e->type == BH_EV_LINK) && HAS(path2) ? bh_value_str(out, e->path2) : FALSE;
        case BH_FLD_KRSI_CIP: return ip_value(client(e).ip, out);
        case BH_FLD_KRSI_SIP: return ip_value(server(e).ip, out);
        case BH_FLD_KRSI_CPORT: return port_value(client(e), out);
        case BH_FLD_KRSI_SPORT: return port_value(server(e), out);
        }
        return FALSE;
}

guint bh_value_fd_either(BhRuleScene *s, const struct bh_field_ref *f, struct bh_value *out) {
        const struct bh_event *e = s->event;
        guint n = 0;

        for (guint local = 0; local < 2 && is_ip(e); local++) {
                struct side side = side_of(e, local);

                if (f->id == BH_FLD_FD_IP || f->id == BH_FLD_FD_NET)
                        n += ip_value(side.ip, &out[n]) ? 1 : 0;
                else
                        n += port_value(side, &out[n]) ? 1 : 0;
        }
        return n;
}

gboolean bh_value_fd(BhRuleScene *s, const struct bh_field_ref *f, struct bh_value *out) {
        const struct bh_event *e = s->event;
        struct bh_value v;
        int c;

        if (f->id >= BH_FLD_KRSI_NAME)
                return krsi(s, f->id, out);
        switch ((enum bh_rule_field_id) f->id) {
        case BH_FLD_FD_NUM: return fd_num(e, out);
        case BH_FLD_FD_TYPE: return (c = type_char(e)) != NOTHING ? bh_value_text(out, type_name(c)) : FALSE;
        case BH_FLD_FD_TYPECHAR: return (c = type_char(e)) != NOTHING ? bh_value_text(out, type_text(c)) : FALSE;
        case BH_FLD_FD_NAME: return fd_name(s, out);
        case BH_FLD_FD_NAMERAW: return (c = type_char(e)) == FILE_ || c == DIRECTORY ? raw_path(e, out) : FALSE;
        case BH_FLD_FD_DIRECTORY: return directory(s, out);
        case BH_FLD_FD_FILENAME: return filename(s, out);
        case BH_FLD_FD_CIP:
        case BH_FLD_FD_CNET: return ip_value(client(e).ip, out);
        case BH_FLD_FD_SIP:
        case BH_FLD_FD_SNET: return ip_value(server(e).ip, out);
        case BH_FLD_FD_LIP:
        case BH_FLD_FD_LNET: return ip_value(side_of(e, TRUE).ip, out);
        case BH_FLD_FD_RIP:
        case BH_FLD_FD_RNET: return ip_value(side_of(e, FALSE).ip, out);
        case BH_FLD_FD_CPORT: return port_value(client(e), out);
        case BH_FLD_FD_SPORT: return port_value(server(e), out);
        case BH_FLD_FD_LPORT: return port_value(side_of(e, TRUE), out);
        case BH_FLD_FD_RPORT: return port_value(side_of(e, FALSE), out);
        case BH_FLD_FD_CPROTO: return proto_value(s, client(e), out);
        case BH_FLD_FD_SPROTO: return proto_value(s, server(e), out);
        case BH_FLD_FD_LPROTO: return proto_value(s, side_of(e, TRUE), out);
        case BH_FLD_FD_RPROTO: return proto_value(s, side_of(e, FALSE), out);
        case BH_FLD_FD_L4PROTO: return is_ip(e) ? bh_value_text(out, l4proto(e)) : FALSE;
        case BH_FLD_FD_SOCKFAMILY: return !HAS(family) ? FALSE : is_ip(e) ? bh_value_text(out, "ip") : e->family == AF_UNIX ? bh_value_text(out, "unix") : FALSE;
        case BH_FLD_FD_IS_SERVER: return HAS(family) ? bh_value_num(out, (is_ip(e) || e->family == AF_UNIX) && !client_is_local(e) && e->type != BH_EV_SOCKET) : FALSE;
        case BH_FLD_FD_CONNECTED:
                return HAS(family) ? bh_value_num(out, e->type == BH_EV_CONNECT || e->type == BH_EV_ACCEPT || e->type == BH_EV_NET_CLOSE) : FALSE;
        case BH_FLD_FD_NAME_CHANGED:
                return HAS(family) ? bh_value_num(out, !(HAS(flags) && (e->flags & BH_RF_REPEATS)) && (HAS(raddr) || e->type == BH_EV_CONNECT || e->type == BH_EV_ACCEPT)) : FALSE;
        case BH_FLD_FD_CIP_NAME: return domain(s, client(e).ip, out);
        case BH_FLD_FD_SIP_NAME: return domain(s, server(e).ip, out);
        case BH_FLD_FD_LIP_NAME: return domain(s, side_of(e, TRUE).ip, out);
        case BH_FLD_FD_RIP_NAME: return domain(s, side_of(e, FALSE).ip, out);
        case BH_FLD_FD_UID:
                return fd_num(e, &v) && v.kind == BH_VALUE_NUM && HAS(tid) ? bh_value_str(out, bh_scene_print(s, "%u%" G_GINT64_FORMAT, e->tid, v.n)) : FALSE;
        case BH_FLD_FD_CONTAINERNAME: return in_container(s, FALSE, out);
        case BH_FLD_FD_CONTAINERDIRECTORY: return in_container(s, TRUE, out);
        case BH_FLD_FD_DEV:
        case BH_FLD_FD_DEV_MAJOR:
        case BH_FLD_FD_DEV_MINOR: return device(e, f->id, out);
        case BH_FLD_FD_INO: return HAS(ino) ? bh_value_num(out, (gint64) e->ino) : FALSE;
        case BH_FLD_FS_NAME:
        case BH_FLD_FS_NAMERAW:
        case BH_FLD_FS_SOURCE:
        case BH_FLD_FS_SOURCERAW:
        case BH_FLD_FS_TARGET:
        case BH_FLD_FS_TARGETRAW: return fs_path(s, f->id, out);
        default: return FALSE;
        }
}

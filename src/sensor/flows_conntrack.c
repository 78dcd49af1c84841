/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's address translations, over nfnetlink. The sockets are opened and the listing is asked for while the sensor may still do that (CAP_NET_ADMIN); what
 * comes then needs no privilege. Nothing but translated connections is let through to this process: a filter in the kernel looks at their status.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "flows_private.h"

#define RECEIVE_BYTES (8 << 20) /* waiting in the kernel */
#define READ_BYTES (64u << 10)

static int open_socket(guint32 groups) {
        struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = groups };
        int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER), bytes = RECEIVE_BYTES;

        if (fd < 0)
                return -1;
        if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
                setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
        if (bind(fd, (struct sockaddr *) &address, sizeof(address))) {
                int err = errno;

                close(fd);
                errno = err;
                return -1;
        }
        return fd;
}

/* A notification is one message in one buffer: what is not translated is dropped where it lies. */
static void filter_events(int fd) {
        struct sock_filter code[] = {
                { BPF_LD | BPF_IMM, 0, 0, NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nfgenmsg)) }, /* where attributes begin */
                { BPF_LDX | BPF_IMM, 0, 0, CTA_STATUS },
                { BPF_LD | BPF_W | BPF_ABS, 0, 0, (guint32) (SKF_AD_OFF + SKF_AD_NLATTR) },
                { BPF_JMP | BPF_JEQ | BPF_K, 3, 0, 0 }, /* no status: let it pass */
                { BPF_MISC | BPF_TAX, 0, 0, 0 },
                { BPF_LD | BPF_W | BPF_IND, 0, 0, NLA_HDRLEN },
                { BPF_JMP | BPF_JSET | BPF_K, 0, 1, IPS_SRC_NAT | IPS_DST_NAT },
                { BPF_RET | BPF_K, 0, 0, 0xffffffff },
                { BPF_RET | BPF_K, 0, 0, 0 },
        };
        struct sock_fprog program = { .len = G_N_ELEMENTS(code), .filter = code };

        /* without it there is only more to read */
        setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

static gboolean ask_for_listing(int fd) {
        struct {
                struct nlmsghdr head;
                struct nfgenmsg family;
        } request = {
                .head = { .nlmsg_len = sizeof(request), .nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
                .family = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0 },
        };
        struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

        return sendto(fd, &request, sizeof(request), 0, (struct sockaddr *) &kernel, sizeof(kernel)) == (gssize) sizeof(request);
}

void bh_flows_open_conntrack(BhConntrackSockets *out) {
        *out = (BhConntrackSockets){ .events = -1, .listing = -1 };
        out->events = open_socket(1u << (NFNLGRP_CONNTRACK_NEW - 1) | 1u << (NFNLGRP_CONNTRACK_DESTROY - 1));
        if (out->events < 0) {
                out->problem = g_strdup_printf("cannot listen to the kernel's connection tracking: %s", g_strerror(errno));
                return;
        }
        filter_events(out->events);
        out->listing = open_socket(0);
        if (out->listing < 0 || !ask_for_listing(out->listing))
                out->problem = g_strdup_printf("cannot list the connections that the kernel tracks: %s", g_strerror(errno));
}

void bh_flows_close_conntrack(BhConntrackSockets *sockets) {
        if (sockets->events >= 0)
                close(sockets->events);
        if (sockets->listing >= 0)
                close(sockets->listing);
        g_free(sockets->problem);
        *sockets = (BhConntrackSockets){ .events = -1, .listing = -1 };
}

static void apply(const BhConntrackEntry *entry, gpointer data) {
        BhFlows *f = data;

        f->conntrack_messages++;
        bh_conntrack_apply(bh_flow_table_conntrack(f->table), entry, g_get_monotonic_time());
}

/* FALSE: nothing comes from there any more. */
static gboolean receive(BhFlows *f, int fd, guint8 *buf, gboolean *done) {
        for (guint i = 0; i < 256; i++) {
                gssize n = recv(fd, buf, READ_BYTES, MSG_DONTWAIT | MSG_TRUNC);
                int refused = 0;

                if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
                        return TRUE;
                g_mutex_lock(&f->lock);
                if (n < 0 && errno == ENOBUFS) {
                        f->conntrack_overruns++;
                } else if (n > 0 && n <= (gssize) READ_BYTES) {
                        f->conntrack_refused += bh_conntrack_parse(buf, (gsize) n, apply, f, done, &refused);
                        if (refused) {
                                g_free(f->conntrack_problem);
                                f->conntrack_problem = g_strdup_printf("the kernel refuses to list tracked connections: %s", g_strerror(refused));
                                *done = TRUE;
                        }
                } else if (n > 0) {
                        f->conntrack_refused++;
                }
                g_mutex_unlock(&f->lock);
                if (n == 0 || (n < 0 && errno != ENOBUFS))
                        return FALSE;
        }
        return TRUE;
}

gpointer bh_flows_read_conntrack(gpointer data) {
        BhFlows *f = data;
        g_autofree guint8 *buf = g_malloc(READ_BYTES);
        gboolean listed = f->c.conntrack.listing < 0, unused = FALSE;

        for (;;) {
                struct pollfd fds[] = {
                        { .fd = f->stop_pipe[0], .events = POLLIN },
                        { .fd = f->c.conntrack.events, .events = POLLIN },
                        { .fd = listed ? -1 : f->c.conntrack.listing, .events = POLLIN },
                };

                if (poll(fds, G_N_ELEMENTS(fds), -1) < 0 && errno != EINTR)
                        break;
                if (fds[0].revents)
                        break;
                if (fds[2].revents && !receive(f, fds[2].fd, buf, &listed))
                        listed = TRUE;
                if (fds[1].revents && !receive(f, fds[1].fd, buf, &unused))
                        break;
        }
        return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "enforce_link.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/net_namespace.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fdio.h"

#define PRIORITY 2881 /* of our filters: others have theirs before and behind it */
#define ANSWER 65536
#define TIMEOUT_MS 2000

static int open_route(GError **error) {
        int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
        struct timeval limit = { .tv_sec = TIMEOUT_MS / 1000 };

        if (fd < 0) {
                bh_enforce_fail(error, "cannot ask the kernel for interfaces: %s", g_strerror(errno));
                return -1;
        }
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        return fd;
}

static struct rtattr *attribute(struct rtattr *a, int len, int type) {
        for (; RTA_OK(a, len); a = RTA_NEXT(a, len))
                if ((a->rta_type & NLA_TYPE_MASK) == type)
                        return a;
        return NULL;
}

/* The number that this network namespace has given to the other; -1: none, so that nothing leads there. */
static gboolean number_of(int fd, int netns_fd, gint32 *id, GError **error) {
        struct {
                struct nlmsghdr h;
                struct rtgenmsg g;
                char pad[3];
                struct rtattr a;
                gint32 fd;
        } ask = { .h = { .nlmsg_len = sizeof(ask), .nlmsg_type = RTM_GETNSID, .nlmsg_flags = NLM_F_REQUEST }, .g = { .rtgen_family = AF_UNSPEC },
                  .a = { .rta_len = RTA_LENGTH(sizeof(gint32)), .rta_type = NETNSA_FD }, .fd = netns_fd };
        _Alignas(NLMSG_ALIGNTO) char answer[4096];
        struct nlmsghdr *h = (void *) answer;

        *id = -1;
        if (send(fd, &ask, sizeof(ask), 0) < 0)
                return bh_enforce_fail(error, "cannot ask the kernel for a network namespace: %s", g_strerror(errno));
        gssize n = recv(fd, answer, sizeof(answer), 0);
        if (n < 0 || !NLMSG_OK(h, (guint) n))
                return bh_enforce_fail(error, "the kernel did not tell of a network namespace: %s", g_strerror(n < 0 ? errno : EBADMSG));
        if (h->nlmsg_type == NLMSG_ERROR)
                return bh_enforce_fail(error, "the kernel does not tell of a network namespace: %s", g_strerror(-((struct nlmsgerr *) NLMSG_DATA(h))->error));
        struct rtattr *a = attribute((struct rtattr *) (void *) ((char *) NLMSG_DATA(h) + NLMSG_ALIGN(sizeof(struct rtgenmsg))), (int) h->nlmsg_len - (int) NLMSG_SPACE(sizeof(struct rtgenmsg)), NETNSA_NSID);
        if (a && RTA_PAYLOAD(a) >= sizeof(*id))
                memcpy(id, RTA_DATA(a), sizeof(*id));
        return TRUE;
}

/* Asks for a list, and gives each of it. FALSE with *error: it is not whole. */
static gboolean dump(int fd, const struct nlmsghdr *ask, void (*each)(struct nlmsghdr *, gpointer), gpointer data, GError **error) {
        g_autofree char *answer = g_malloc(ANSWER);

        if (send(fd, ask, ask->nlmsg_len, 0) < 0)
                return bh_enforce_fail(error, "cannot ask the kernel for interfaces: %s", g_strerror(errno));
        for (;;) {
                gssize n = recv(fd, answer, ANSWER, 0);
                guint left = (guint) MAX(n, 0);

                if (n <= 0)
                        return bh_enforce_fail(error, "the kernel did not tell all interfaces: %s", g_strerror(n < 0 ? errno : EBADMSG));
                for (struct nlmsghdr *h = (void *) answer; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
                        if (h->nlmsg_type == NLMSG_DONE)
                                return TRUE;
                        if (h->nlmsg_type == NLMSG_ERROR)
                                return bh_enforce_fail(error, "the kernel does not tell all interfaces: %s", g_strerror(-((struct nlmsgerr *) NLMSG_DATA(h))->error));
                        each(h, data);
                }
        }
}

typedef struct {
        gint32 id;
        GArray *links;
} Into;

static void take(struct nlmsghdr *h, gpointer data) {
        const Into *into = data;
        struct ifinfomsg *i = NLMSG_DATA(h);
        struct rtattr *a = h->nlmsg_type == RTM_NEWLINK ? attribute(IFLA_RTA(i), (int) IFLA_PAYLOAD(h), IFLA_LINK_NETNSID) : NULL;
        gint32 peer;

        if (!a || RTA_PAYLOAD(a) < sizeof(peer))
                return;
        memcpy(&peer, RTA_DATA(a), sizeof(peer));
        if (peer == into->id)
                g_array_append_vals(into->links, &i->ifi_index, 1);
}

GArray *bh_links_into(int netns_fd, GError **error) {
        struct {
                struct nlmsghdr h;
                struct ifinfomsg i;
        } ask = { .h = { .nlmsg_len = sizeof(ask), .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP }, .i = { .ifi_family = AF_UNSPEC } };
        g_autoptr(GArray) links = g_array_new(FALSE, FALSE, sizeof(guint));
        g_auto(BhFd) fd = open_route(error);
        Into into = { .links = links };

        if (fd < 0 || !number_of(fd, netns_fd, &into.id, error) || (into.id >= 0 && !dump(fd, &ask.h, take, &into, error)))
                return NULL;
        return g_steal_pointer(&links);
}

static int attach(guint index, guint32 slot, enum bpf_tc_attach_point where, int prog_fd) {
        LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int) index, .attach_point = where);
        LIBBPF_OPTS(bpf_tc_opts, opts, .handle = slot, .priority = PRIORITY, .prog_fd = prog_fd, .flags = BPF_TC_F_REPLACE);

        return bpf_tc_attach(&hook, &opts);
}

static void note_filter(struct nlmsghdr *h, gpointer any) {
        *(gboolean *) any |= h->nlmsg_type == RTM_NEWTFILTER;
}

/* Whether nobody has a filter there; where that cannot be told somebody has. */
static gboolean is_empty(guint index) {
        static const guint32 parents[] = { TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS), TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS) };
        g_auto(BhFd) fd = open_route(NULL);
        gboolean any = fd < 0;

        for (guint i = 0; !any && i < G_N_ELEMENTS(parents); i++) {
                const struct {
                        struct nlmsghdr h;
                        struct tcmsg t;
                } ask = { .h = { .nlmsg_len = sizeof(ask), .nlmsg_type = RTM_GETTFILTER, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
                          .t = { .tcm_family = AF_UNSPEC, .tcm_ifindex = (int) index, .tcm_parent = parents[i] } };

                any |= !dump(fd, &ask.h, note_filter, &any, NULL);
        }
        return !any;
}

gboolean bh_link_filter(guint index, guint32 slot, int from_fd, int to_fd, gboolean *made, GError **error) {
        LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int) index, .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
        int rc = bpf_tc_hook_create(&hook);

        *made = rc == 0;
        if (rc && rc != -EEXIST)
                return bh_enforce_fail(error, "cannot make a place for filters at interface %u: %s", index, g_strerror(-rc));
        if ((rc = attach(index, slot, BPF_TC_INGRESS, from_fd)) || (rc = attach(index, slot, BPF_TC_EGRESS, to_fd)))
                return bh_enforce_fail(error, "cannot filter interface %u: %s", index, g_strerror(-rc));
        return TRUE;
}

void bh_link_unfilter(guint index, guint32 slot, gboolean made) {
        static const enum bpf_tc_attach_point points[] = { BPF_TC_INGRESS, BPF_TC_EGRESS };

        for (guint i = 0; i < G_N_ELEMENTS(points); i++) {
                LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int) index, .attach_point = points[i]);
                LIBBPF_OPTS(bpf_tc_opts, opts, .handle = slot, .priority = PRIORITY);

                bpf_tc_detach(&hook, &opts);
        }
        if (made && is_empty(index)) {
                LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int) index, .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);

                bpf_tc_hook_destroy(&hook);
        }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of the flow table: events and sockets in few words, and a flow as one line of text. */
#pragma once
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "graph/flow_table.h"

#define WEB "aaaa"
#define DB "bbbb"
#define SECOND_NS G_GINT64_CONSTANT(1000000000)
#define BEGIN_NS (1700000000 * SECOND_NS)
#define HOST_NS 1u

static guint64 next_id;
static gint64 now_ns, now_us;

static inline struct bh_ip ip(const char *text) {
        struct bh_ip out = { .len = strchr(text, ':') ? 16 : 4 };

        g_assert_cmpint(inet_pton(out.len == 16 ? AF_INET6 : AF_INET, text, out.b), ==, 1);
        return out;
}

static inline BhContainer *container(const char *id, const char *network, const char *address) {
        BhContainer *c = bh_container_new(id, "docker");

        c->state = BH_CONTAINER_RUNNING;
        c->level = BH_CONTAINER_FULL;
        if (address) {
                BhContainerNetwork n = { .name = g_strdup(network), .id = g_strdup(network), .ip = g_strdup(address), .ip6 = g_strdup(""), .mac = g_strdup("") };

                g_array_append_val(c->networks, n);
        }
        bh_container_finish(c);
        return c;
}

static inline void know(BhFlowTable *t, BhContainer *first, BhContainer *second) {
        g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func((GDestroyNotify) bh_container_unref);

        if (first)
                g_ptr_array_add(all, first);
        if (second)
                g_ptr_array_add(all, second);
        bh_flow_table_containers(t, all);
}

static inline BhFlowTable *table(void) {
        BhFlowTableConfig c = { .host_net_ns = HOST_NS };
        BhFlowTable *t = bh_flow_table_new(&c);
        struct bh_ip host[] = { ip("10.0.0.5"), ip("172.18.0.1") };

        next_id = 100;
        now_ns = BEGIN_NS;
        now_us = 1000 * G_USEC_PER_SEC;
        bh_flow_table_host_addresses(t, host, G_N_ELEMENTS(host));
        know(t, container(WEB, "front", "172.18.0.2"), container(DB, "front", "172.18.0.3"));
        bh_flow_table_begin(t, next_id, next_id, next_id);
        return t;
}

static inline struct bh_event event(guint32 type, const char *box, const char *exe, const char *local, const char *remote) {
        struct bh_event e = { 0 };
        char address[64];
        const char *colon;

        BH_SET(&e, id, ++next_id);
        BH_SET(&e, time, (guint64) now_ns);
        BH_SET(&e, type, type);
        BH_SET(&e, count, 1);
        BH_SET(&e, pid, 77);
        BH_SET(&e, ret, 0);
        BH_SET_STR(&e, container_id, box);
        BH_SET_STR(&e, exe, exe);
        BH_SET(&e, family, AF_INET);
        BH_SET(&e, proto, 6);
        if (local) {
                colon = strrchr(local, ':');
                g_strlcpy(address, local, (gsize) (colon - local) + 1);
                BH_SET(&e, laddr, ip(address));
                BH_SET(&e, lport, (guint32) atoi(colon + 1));
        }
        if (remote) {
                colon = strrchr(remote, ':');
                g_strlcpy(address, remote, (gsize) (colon - remote) + 1);
                BH_SET(&e, raddr, ip(address));
                BH_SET(&e, rport, (guint32) atoi(colon + 1));
        }
        return e;
}

static inline gboolean closed(BhFlowTable *t, const char *box, const char *exe, gboolean outgoing, const char *local, const char *remote, guint64 out, guint64 in, gint64 ret) {
        struct bh_event e = event(BH_EV_NET_CLOSE, box, exe, local, remote);

        BH_SET(&e, ret, ret);
        BH_SET(&e, outgoing, outgoing);
        BH_SET(&e, bytes_out, out);
        BH_SET(&e, bytes_in, in);
        BH_SET(&e, packets_out, 3);
        BH_SET(&e, packets_in, 2);
        BH_SET(&e, duration, 1000);
        if (!*box)
                BH_SET(&e, net_ns, HOST_NS);
        return bh_flow_table_event(t, &e);
}

static inline void add_ip(GString *s, const struct bh_ip *a) {
        char text[INET6_ADDRSTRLEN] = "-";

        if (a->len)
                inet_ntop(a->len == 16 ? AF_INET6 : AF_INET, a->b, text, sizeof(text));
        g_string_append(s, text);
}

static inline int by_text(gconstpointer a, gconstpointer b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static const struct {
        const char *name;
        gsize offset;
} counters[] = {
        { "n", offsetof(BhFlow, added.connections) },
        { "refused", offsetof(BhFlow, added.refused) },
        { "timed", offsetof(BhFlow, added.timed_out) },
        { "unreach", offsetof(BhFlow, added.unreachable) },
        { "failed", offsetof(BhFlow, added.failed) },
        { "reset", offsetof(BhFlow, added.reset) },
        { "out", offsetof(BhFlow, added.bytes_out) },
        { "in", offsetof(BhFlow, added.bytes_in) },
        { "open", offsetof(BhFlow, now.open) },
        { "half", offsetof(BhFlow, now.half_open) },
        { "oout", offsetof(BhFlow, now.bytes_out) },
        { "oin", offsetof(BhFlow, now.bytes_in) },
};

/* "aaaa:/curl > 172.18.0.3:5432 [bbbb] n=1 out=5": only what is not 0. */
static inline char *line_of(const BhFlow *f) {
        GString *s = g_string_new(NULL);

        g_string_append_printf(s, "%s:%s %s ", *f->container_id ? f->container_id : "host", f->exe, f->role == BH_FLOW_CLIENT ? ">" : "<");
        if (f->proto)
                add_ip(s, &f->peer_ip);
        else
                g_string_append(s, f->path);
        if (f->proto)
                g_string_append_printf(s, ":%u%s", f->port, f->proto == 17 ? "/udp" : "");
        if (f->dialled_ip.len) {
                g_string_append(s, " via ");
                add_ip(s, &f->dialled_ip);
                g_string_append_printf(s, ":%u", f->dialled_port);
        }
        g_string_append_printf(s, " [%s]", f->peer_is_host ? "host" : f->peer_container_id);
        if (*f->peer_exe)
                g_string_append_printf(s, " %s", f->peer_exe);
        if (*f->peer_name)
                g_string_append_printf(s, " \"%s\"", f->peer_name);
        if (*f->network_id)
                g_string_append_printf(s, " @%s", f->network_id);
        if (*f->protocol)
                g_string_append_printf(s, " (%s)", f->protocol);
        for (guint i = 0; i < G_N_ELEMENTS(counters); i++) {
                guint64 n = *(const guint64 *) ((const char *) f + counters[i].offset);

                if (n)
                        g_string_append_printf(s, " %s=%" G_GUINT64_FORMAT, counters[i].name, n);
        }
        if (f->ports)
                g_string_append_printf(s, " ports=%u", f->ports);
        if (f->addresses)
                g_string_append_printf(s, " addresses=%u", f->addresses);
        return g_string_free(s, FALSE);
}

static inline char *cut(BhFlowTable *t, gboolean all) {
        g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
        BhFlowCut c;

        now_us += G_USEC_PER_SEC;
        now_ns += SECOND_NS;
        bh_flow_table_cut(t, all, now_us, &c);
        for (guint i = 0; i < c.flows->len; i++)
                g_ptr_array_add(lines, line_of(&g_array_index(c.flows, BhFlow, i)));
        g_ptr_array_sort(lines, by_text);
        if (c.rest_connections || c.rest_bytes)
                g_ptr_array_add(lines, g_strdup_printf("rest %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT, c.rest_connections, c.rest_bytes));
        g_ptr_array_add(lines, NULL);
        return g_strjoinv("\n", (char **) lines->pdata);
}

static inline void expect(BhFlowTable *t, gboolean all, const char *expected) {
        g_autofree char *got = cut(t, all);

        g_assert_cmpstr(got, ==, expected);
}

static inline BhFlowSocket socket_of(const char *box, const char *exe, const char *local, guint16 lport, const char *remote, guint16 rport) {
        BhFlowSocket s = { .container_id = box, .exe = exe, .pid = 77, .started_ns = BEGIN_NS, .family = AF_INET, .type = SOCK_STREAM, .proto = 6, .state = 1, .lport = lport, .rport = rport,
                           .path = "", .net_ns = *box ? (guint32) box[0] : HOST_NS };

        s.laddr = ip(local);
        s.raddr = ip(remote);
        s.listening = rport == 0;
        return s;
}

static inline void try_port(BhFlowTable *t, const char *to, guint16 port, int err) {
        g_autofree char *remote = g_strdup_printf("%s:%u", to, port);
        struct bh_event e = event(BH_EV_CONNECT, WEB, "/nmap", "172.18.0.2:44444", remote);

        BH_SET(&e, ret, -err);
        bh_flow_table_event(t, &e);
        now_ns += 1000000;
}

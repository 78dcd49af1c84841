/* SPDX-License-Identifier: Apache-2.0 */
#include "response/response.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "container/container.h"
#include "response/deny.h"

static const struct {
        const char *name;
        gboolean holds;
        const char *does;
} actions[] = {
#define X(id, text, holds, does) { text, holds, does },
        BH_RESPONSE_ACTIONS(X)
#undef X
};

static const char *const states[] = {
#define X(id, text) text,
        BH_RESPONSE_STATES(X)
#undef X
};

const char *bh_response_action_name(BhResponseAction a) {
        return actions[a].name;
}

const char *bh_response_action_does(BhResponseAction a) {
        return actions[a].does;
}

gboolean bh_response_action_parse(const char *name, BhResponseAction *a) {
        for (guint i = 0; i < BH_RESPONSE_N_ACTIONS; i++)
                if (name && g_str_equal(name, actions[i].name)) {
                        *a = (BhResponseAction) i;
                        return TRUE;
                }
        return FALSE;
}

gboolean bh_response_action_holds(BhResponseAction a) {
        return actions[a].holds;
}

gboolean bh_response_action_isolates(BhResponseAction a) {
        return a == BH_RESPONSE_ISOLATE || a == BH_RESPONSE_QUARANTINE;
}

gboolean bh_response_action_freezes(BhResponseAction a) {
        return a == BH_RESPONSE_PAUSE || a == BH_RESPONSE_QUARANTINE;
}

gboolean bh_response_action_denies(BhResponseAction a) {
        return a == BH_RESPONSE_BLOCK || a == BH_RESPONSE_DECOY;
}

gboolean bh_response_action_of_processes(BhResponseAction a) {
        return a == BH_RESPONSE_KILL_PROCESS || a == BH_RESPONSE_KILL_TREE;
}

gboolean bh_response_action_by_policy(BhResponseAction a) {
        return !bh_response_action_of_processes(a) && a != BH_RESPONSE_SCALE && a != BH_RESPONSE_DECOY;
}

gboolean bh_process_name_parse(const char *text, BhProcessName *out) {
        BhProcessName name = { 0 };
        char *end = NULL;

        if (!text || !g_ascii_isdigit(*text))
                return FALSE;
        guint64 pid = g_ascii_strtoull(text, &end, 10);
        if (*end != '@' || pid < 1 || pid > G_MAXINT)
                return FALSE;
        name.pid = (gint) pid;
        if (end[1] && !(name.started_ns = bh_time_parse(end + 1)))
                return FALSE;
        *out = name;
        return TRUE;
}

char *bh_process_name_text(const BhProcessName *name) {
        g_autofree char *started = name->started_ns ? bh_time_format(name->started_ns) : g_strdup("");

        return g_strdup_printf("%d@%s", name->pid, started);
}

const char *bh_response_state_name(BhResponseState s) {
        return states[s];
}

gboolean bh_response_state_parse(const char *name, BhResponseState *s) {
        for (guint i = 0; i < BH_RESPONSE_N_STATES; i++)
                if (name && g_str_equal(name, states[i])) {
                        *s = (BhResponseState) i;
                        return TRUE;
                }
        return FALSE;
}

const char *bh_response_protects(const char *is_protected, const char *namespace) {
        if (is_protected && g_str_equal(is_protected, "true"))
                return "its label bulkhead.protected says so";
        if (namespace && (g_str_equal(namespace, "kube-system") || g_str_equal(namespace, "kube-node-lease")))
                return "it belongs to the cluster itself";
        return NULL;
}

gboolean bh_response_id_valid(const char *id) {
        gsize len = strlen(id);

        if (!len || len > BH_RESPONSE_ID_MAX)
                return FALSE;
        for (gsize i = 0; i < len; i++)
                if (!g_ascii_isalnum(id[i]))
                        return FALSE;
        return TRUE;
}

/* ---- peers ---- */

static gboolean bad(GError **error, const char *text, const char *why) {
        g_autofree char *shown = g_utf8_make_valid(text, (gssize) MIN(strlen(text), 100));

        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "\"%s\" %s; write it like 10.0.0.1, 10.0.0.0/8, 10.0.0.1:443, [fd00::1]:53/udp or *:53/udp", shown, why);
        return FALSE;
}

/* A decimal number without a sign; digits alone. */
static gboolean number(const char *text, guint max, guint *out) {
        guint v = 0;

        if (!*text)
                return FALSE;
        for (; *text; text++) {
                if (!g_ascii_isdigit(*text) || v > max)
                        return FALSE;
                v = v * 10 + (guint) (*text - '0');
        }
        *out = v;
        return v <= max;
}

static gboolean protocol(const char *text, guint8 *out) {
        static const struct {
                const char *name;
                guint8 number;
        } known[] = { { "tcp", IPPROTO_TCP }, { "udp", IPPROTO_UDP }, { "sctp", IPPROTO_SCTP } };

        for (guint i = 0; i < G_N_ELEMENTS(known); i++)
                if (g_str_equal(text, known[i].name)) {
                        *out = known[i].number;
                        return TRUE;
                }
        return FALSE;
}

static gboolean address(const char *text, BhPeer *p, guint *width) {
        struct in_addr v4;

        if (inet_pton(AF_INET, text, &v4) == 1) {
                memset(p->addr, 0, 10);
                p->addr[10] = p->addr[11] = 0xff;
                memcpy(p->addr + 12, &v4, 4);
                *width = 32;
                return TRUE;
        }
        *width = 128;
        return inet_pton(AF_INET6, text, p->addr) == 1;
}

static void clear_host_bits(BhPeer *p) {
        for (guint i = p->bits; i < 128; i++)
                p->addr[i / 8] &= (guint8) ~(0x80u >> (i % 8));
}

gboolean bh_peer_parse(const char *text, BhPeer out[2], guint *n, GError **error) {
        g_autofree char *copy = g_strndup(text, 200), *proto = NULL;
        char *port = NULL, *host = copy, *slash;
        BhPeer p = { 0 };
        guint v, width;

        if (strlen(text) > 100)
                return bad(error, text, "is too long for an address");
        /* the protocol is behind a port, a network's bits behind an address */
        if ((slash = strrchr(copy, '/')) && !g_ascii_isdigit(slash[1])) {
                proto = g_ascii_strdown(slash + 1, -1);
                *slash = '\0';
                if (!protocol(proto, &p.proto))
                        return bad(error, text, "names no protocol: tcp, udp or sctp");
        }
        if (*host == '[') {
                char *end = strchr(++host, ']');

                if (!end)
                        return bad(error, text, "has no closing bracket");
                *end = '\0';
                if (end[1] == ':')
                        port = end + 2;
                else if (end[1])
                        return bad(error, text, "is no address");
        } else if ((port = strchr(host, ':')) && !strchr(port + 1, ':')) {
                *port++ = '\0';
        } else {
                port = NULL; /* IPv6 without a port */
        }
        if (port) {
                if (!number(port, 65535, &v) || !v)
                        return bad(error, text, "has no port from 1 to 65535");
                p.port = (guint16) v;
        }
        if (!*host || g_str_equal(host, "*")) {
                if (*copy == '[' || (!*host && !port))
                        return bad(error, text, "is no address");
                p.addr[10] = p.addr[11] = 0xff;
                p.bits = 96;
                out[0] = p;
                memset(p.addr, 0, sizeof(p.addr));
                p.bits = 0;
                out[1] = p;
                *n = 2;
                return TRUE;
        }
        if ((slash = strchr(host, '/')))
                *slash++ = '\0';
        if (!address(host, &p, &width))
                return bad(error, text, "is no address");
        v = width;
        if (slash && !number(slash, width, &v))
                return bad(error, text, "has more bits than such an address");
        p.bits = (guint8) (128 - width + v);
        clear_host_bits(&p);
        out[0] = p;
        *n = 1;
        return TRUE;
}

/* ---- names of DNS ---- */

#define NAME_WORD "peer:"

gboolean bh_peer_is_name(const char *text) {
        return g_str_has_prefix(text, NAME_WORD);
}

static gboolean bad_name(GError **error, const char *text, const char *why) {
        g_autofree char *shown = g_utf8_make_valid(text, (gssize) MIN(strlen(text), 100));

        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "\"%s\" %s; a name is written like peer:www.example.com, peer:*.example.com:443 or peer:db:5432/tcp, an address without \"peer:\"", shown, why);
        return FALSE;
}

/* Labels as DNS has them, in lower case already; what is an address is none. */
static gboolean is_name(const char *name) {
        g_auto(GStrv) labels = g_strsplit(name, ".", -1);
        guint n = g_strv_length(labels);

        for (guint i = 0; i < n; i++) {
                gsize len = strlen(labels[i]);

                if (!len || len > 63 || strspn(labels[i], "abcdefghijklmnopqrstuvwxyz0123456789-_") != len)
                        return FALSE;
        }
        return n && strspn(labels[n - 1], "0123456789") != strlen(labels[n - 1]);
}

gboolean bh_peer_name_parse(const char *text, BhPeerName *out, GError **error) {
        BhPeerName p = { .port = 0 };
        char *port, *proto, *name;
        guint v;

        if (!bh_peer_is_name(text) || strlen(text) > BH_PEER_NAME_MAX + 32)
                return bad_name(error, text, "is no name of DNS");
        g_autofree char *copy = g_ascii_strdown(text + strlen(NAME_WORD), -1);
        name = copy;
        if ((proto = strchr(name, '/'))) {
                *proto++ = '\0';
                if (!protocol(proto, &p.proto))
                        return bad_name(error, text, "names no protocol: tcp, udp or sctp");
        }
        if ((port = strchr(name, ':'))) {
                *port++ = '\0';
                if (!number(port, 65535, &v) || !v)
                        return bad_name(error, text, "has no port from 1 to 65535");
                p.port = (guint16) v;
        }
        if ((p.below = g_str_has_prefix(name, "*.")))
                name += 2;
        if (g_str_has_suffix(name, "."))
                name[strlen(name) - 1] = '\0';
        if (strlen(name) > BH_PEER_NAME_MAX || !is_name(name))
                return bad_name(error, text, "is no name of DNS");
        g_strlcpy(p.name, name, sizeof(p.name));
        *out = p;
        return TRUE;
}

gboolean bh_peer_name_matches(const BhPeerName *p, const char *name) {
        gsize len = strlen(name), own = strlen(p->name);

        if (!p->below)
                return g_str_equal(p->name, name);
        return len > own + 1 && name[len - own - 1] == '.' && g_str_equal(name + len - own, p->name);
}

gboolean bh_peer_is_server(const BhPeer *p) {
        static const guint8 v4[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127 }, v6[16] = { [15] = 1 };

        return p->bits == 128 && (!p->port || p->port == 53) && memcmp(p->addr, v4, sizeof(v4)) != 0 && memcmp(p->addr, v6, sizeof(v6)) != 0;
}

gboolean bh_peers_have_server(const char *const *texts, gsize n, GError **error) {
        const char *named = NULL;
        BhPeer p[2];
        guint got;

        for (gsize i = 0; i < n; i++) {
                if (bh_peer_is_name(texts[i]))
                        named = texts[i];
                else if (bh_peer_parse(texts[i], p, &got, NULL) && bh_peer_is_server(&p[0]))
                        return TRUE;
        }
        return !named || bad_name(error, named, "needs the address of a name server on the list as well, like 10.0.0.2:53, whose answers say what it is: not 127.0.0.11 or another of "
                                                "the container's own, where it could answer itself");
}

GArray *bh_peers_parse(const char *const *texts, gsize n, GError **error) {
        g_autoptr(GArray) peers = g_array_new(FALSE, TRUE, sizeof(BhPeer));
        guint names = 0;

        for (gsize i = 0; i < n; i++) {
                BhPeerName name;
                BhPeer p[2];
                guint got;

                if (bh_peer_is_name(texts[i])) {
                        if (!bh_peer_name_parse(texts[i], &name, error))
                                return NULL;
                        names++;
                } else if (bh_peer_parse(texts[i], p, &got, error)) {
                        g_array_append_vals(peers, p, got);
                } else {
                        return NULL;
                }
                if (peers->len + names > BH_RESPONSE_PEERS_MAX) {
                        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "more than %u peers: name networks instead of single addresses", BH_RESPONSE_PEERS_MAX);
                        return NULL;
                }
        }
        return g_steal_pointer(&peers);
}

static gboolean holds(const guint8 *addr, guint bits, const guint8 *other) {
        guint whole = bits / 8, rest = bits % 8;

        return memcmp(addr, other, whole) == 0 && (!rest || !((addr[whole] ^ other[whole]) & (0xff00u >> rest) & 0xff));
}

static gboolean add_port(BhPeerNet *net, const BhPeer *p) {
        for (guint i = 0; i < net->n; i++)
                if ((!net->ports[i].port || net->ports[i].port == p->port) && (!net->ports[i].proto || net->ports[i].proto == p->proto))
                        return TRUE; /* said already, or by one that says more */
        if (net->n == G_N_ELEMENTS(net->ports))
                return FALSE;
        net->ports[net->n].port = p->port;
        net->ports[net->n].proto = p->proto;
        net->n++;
        return TRUE;
}

static int widest_first(gconstpointer pa, gconstpointer pb) {
        const BhPeer *a = pa, *b = pb;

        if (a->bits != b->bits)
                return a->bits < b->bits ? -1 : 1;
        int c = memcmp(a->addr, b->addr, sizeof(a->addr));
        if (c)
                return c;
        /* those that say most first, so that what they hold needs no place */
        return a->port != b->port ? (a->port < b->port ? -1 : 1) : (int) a->proto - (int) b->proto;
}

gboolean bh_peer_holds(const BhPeer *p, const guint8 *addr) {
        return holds(p->addr, p->bits, addr);
}

GArray *bh_peers_merge(const GArray *peers, GError **error) {
        g_autoptr(GArray) nets = g_array_new(FALSE, TRUE, sizeof(BhPeerNet)), sorted = g_array_new(FALSE, TRUE, sizeof(BhPeer));

        g_array_append_vals(sorted, peers->data, peers->len);
        g_array_sort(sorted, widest_first);
        for (guint i = 0; i < sorted->len; i++) {
                const BhPeer *p = &g_array_index(sorted, BhPeer, i);
                BhPeerNet *last = nets->len ? &g_array_index(nets, BhPeerNet, nets->len - 1) : NULL;

                if (last && last->bits == p->bits && !memcmp(last->addr, p->addr, sizeof(p->addr)))
                        continue;
                BhPeerNet net = { .bits = p->bits };
                memcpy(net.addr, p->addr, sizeof(net.addr));
                for (guint k = 0; !net.n && k < sorted->len && g_array_index(sorted, BhPeer, k).bits <= p->bits; k++) { /* one that says all leaves room, however many ports others name */
                        const BhPeer *wide = &g_array_index(sorted, BhPeer, k);

                        if (!wide->port && !wide->proto && holds(wide->addr, wide->bits, p->addr))
                                add_port(&net, wide);
                }
                for (guint k = 0; k < sorted->len && g_array_index(sorted, BhPeer, k).bits <= p->bits; k++) {
                        const BhPeer *wide = &g_array_index(sorted, BhPeer, k);

                        if (holds(wide->addr, wide->bits, p->addr) && !add_port(&net, wide)) {
                                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "a network would have more than %u ports: name it without a port", (guint) G_N_ELEMENTS(net.ports));
                                return NULL;
                        }
                }
                g_array_append_val(nets, net);
        }
        return g_steal_pointer(&nets);
}

/* ---- decoys ---- */

static gboolean is_ipv4(const BhPeer *p) {
        static const guint8 v4[12] = { [10] = 0xff, [11] = 0xff };

        return p->bits >= 96 && memcmp(p->addr, v4, sizeof(v4)) == 0;
}

static gboolean bad_decoy(GError **error, const char *text, const char *why) {
        g_autofree char *shown = g_utf8_make_valid(text, (gssize) MIN(strlen(text), 100));

        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "\"%s\" %s; where a decoy listens is written like 10.0.0.5:7000 or [fd00::5]:7000", shown, why);
        return FALSE;
}

gboolean bh_decoy_parse(const char *text, BhPeer *out, GError **error) {
        static const guint8 loopback[16] = { [15] = 1 };
        BhPeer p[2];
        guint n;

        if (!bh_peer_parse(text, p, &n, NULL) || n != 1 || p->bits != 128 || !p->port || (p->proto && p->proto != IPPROTO_TCP))
                return bad_decoy(error, text, "is no address with a port");
        if (is_ipv4(p) ? p->addr[12] == 127 || !p->addr[12] || p->addr[12] >= 224 : p->addr[0] == 0xff || memcmp(p->addr, loopback, 15) == 0)
                return bad_decoy(error, text, "is no address of another: in the container it would be the container itself, or nobody");
        *out = *p;
        out->proto = IPPROTO_TCP;
        return TRUE;
}

gboolean bh_decoy_leads(const BhPeer *to, const char *const *texts, gsize n, GError **error) {
        BhPeer p[2];
        guint got;

        for (gsize i = 0; i < n; i++) {
                if (bh_deny_is(texts[i])) {
                        g_autofree char *shown = g_utf8_make_valid(texts[i], (gssize) MIN(strlen(texts[i]), 100));

                        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "\"%s\" is no destination: a decoy is led to from addresses, networks, ports and names, like 10.0.0.9:6379; block refuses the rest", shown);
                        return FALSE;
                }
                if (bh_peer_is_name(texts[i]))
                        continue; /* of IPv6 what it resolves to; whoever sets it in force leaves the others out */
                if (!bh_peer_parse(texts[i], p, &got, error))
                        return FALSE;
                if (p->proto && p->proto != IPPROTO_TCP)
                        return bad_decoy(error, texts[i], "is not of TCP, of which alone connections are led");
                if (is_ipv4(p) && !is_ipv4(to))
                        return bad_decoy(error, texts[i], "has IPv4 addresses, from which nobody can be led to an IPv6 decoy: give the decoy's IPv4 address");
        }
        if (!n)
                g_set_error_literal(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "a decoy needs at least one destination from which is led, like 10.0.0.9:6379");
        return n != 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a block refuses, as people and nodes give it, one a line: what is merged says of each peer what the list said; of the rest what was read is within its bounds. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "response/deny.h"
#include "response/response.h"

/* What is read is written so that it is read as the same. */
static void check_process(const char *line) {
        BhProcessName p, again;

        if (!bh_process_name_parse(line, &p))
                return;
        g_autofree char *text = bh_process_name_text(&p);
        assert(p.pid > 0 && p.started_ns >= 0 && bh_process_name_parse(text, &again) && again.pid == p.pid && again.started_ns == p.started_ns);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static gboolean in(const BhPeerNet *n, const guint8 *addr) {
        for (guint b = 0; b < n->bits; b++)
                if ((n->addr[b / 8] ^ addr[b / 8]) & (0x80 >> (b % 8)))
                        return FALSE;
        return TRUE;
}

static void check_deny(const BhDeny *d) {
        assert(bh_deny_is(d->text) && d->kind < BH_DENY_N_KINDS);
        assert(!d->path == (d->kind != BH_DENY_EXEC && d->kind != BH_DENY_FILE));
        if (d->path) {
                gsize n = strlen(d->path);

                assert(*d->path == '/' && n > 1 && n <= BH_DENY_PATH_MAX && d->path[n - 1] != '/');
                assert(!strpbrk(d->path, "*?[\n\r") && !strstr(d->path, "//") && !strstr(d->path, "/../") && !strstr(d->path, "/./"));
                assert(!g_str_has_suffix(d->path, "/..") && !g_str_has_suffix(d->path, "/."));
        }
        assert(!d->ops == (d->kind != BH_DENY_FILE) && d->ops < 16);
        assert(!d->tree || d->kind == BH_DENY_FILE);
        assert(d->cap < 64);
}

static void check_name(const char *text) {
        g_autoptr(GError) error = NULL;
        BhPeerName p;

        if (!bh_peer_name_parse(text, &p, &error)) {
                assert(g_utf8_validate(error->message, -1, NULL));
                return;
        }
        gsize n = strlen(p.name);
        g_autofree char *below = g_strconcat("a.", p.name, NULL);

        assert(n && n <= BH_PEER_NAME_MAX && p.name[n - 1] != '.' && *p.name != '.' && strspn(p.name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == n);
        assert(bh_peer_name_matches(&p, p.name) == !p.below && bh_peer_name_matches(&p, below) == p.below);
}

/* Both kinds together are what each line is by itself. */
static void check_denies(char **lines) {
        const guint n = g_strv_length(lines);
        g_autoptr(GError) error = NULL;
        g_autoptr(GArray) peers = NULL;
        g_autoptr(GPtrArray) denies = bh_denies_parse((const char *const *) lines, n, &peers, &error);

        assert(!denies == (error != NULL) && !denies == !peers);
        if (!denies) {
                assert(g_utf8_validate(error->message, -1, NULL));
                return;
        }
        assert(denies->len <= BH_DENY_MAX);
        for (guint i = 0, k = 0; i < n; i++) {
                g_autoptr(BhDeny) one = bh_deny_is(lines[i]) ? bh_deny_parse(lines[i], NULL) : NULL;

                assert(!one == !bh_deny_is(lines[i]));
                if (!one)
                        continue;
                const BhDeny *d = denies->pdata[k++];
                assert(one->kind == d->kind && one->ops == d->ops && one->tree == d->tree && one->cap == d->cap && g_strcmp0(one->path, d->path) == 0 && g_str_equal(one->text, lines[i]));
                check_deny(d);
        }
}

/* The first line is where a decoy listens, the others from where is led. */
static void check_decoy(char **lines) {
        const guint n = g_strv_length(lines);
        g_autoptr(GError) bad = NULL, error = NULL;
        BhPeer to;

        if (!n || !bh_decoy_parse(lines[0], &to, &bad)) {
                assert(!n || g_utf8_validate(bad->message, -1, NULL));
                return;
        }
        assert(to.bits == 128 && to.port && to.proto == 6);
        if (!bh_decoy_leads(&to, (const char *const *) lines + 1, n - 1, &error)) {
                assert(g_utf8_validate(error->message, -1, NULL));
                return;
        }
        for (guint i = 1; i < n; i++)
                assert(!bh_deny_is(lines[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        g_autofree char *text = g_strndup((const char *) data, MIN(size, 4096));
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        g_autoptr(GError) error = NULL;

        check_denies(lines);
        check_decoy(lines);
        for (guint i = 0; lines[i]; i++)
                check_process(lines[i]);
        for (guint i = 0; lines[i]; i++)
                if (bh_peer_is_name(lines[i]))
                        check_name(lines[i]);
        g_autoptr(GArray) peers = bh_peers_parse((const char *const *) lines, g_strv_length(lines), &error);

        assert(!peers == (error != NULL));
        if (!peers) {
                assert(g_utf8_validate(error->message, -1, NULL));
                return 0;
        }
        g_autoptr(GArray) nets = bh_peers_merge(peers, &error);
        assert(!nets == (error != NULL));
        if (!nets)
                return 0;
        for (guint i = 0; i < peers->len; i++) {
                const BhPeer *p = &g_array_index(peers, BhPeer, i);
                const BhPeerNet *best = NULL;
                gboolean found = FALSE;

                assert(p->bits <= 128);
                for (guint k = 0; k < nets->len; k++) {
                        const BhPeerNet *n = &g_array_index(nets, BhPeerNet, k);

                        assert(n->n >= 1 && n->n <= G_N_ELEMENTS(n->ports));
                        if (in(n, p->addr) && n->bits <= p->bits && (!best || n->bits > best->bits))
                                best = n;
                }
                assert(best && best->bits == p->bits);
                for (guint k = 0; k < best->n; k++)
                        found |= (!best->ports[k].port || best->ports[k].port == p->port) && (!best->ports[k].proto || best->ports[k].proto == p->proto);
                assert(found);
        }
        return 0;
}

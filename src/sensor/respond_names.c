/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of peers of a container: addresses as they are written, and names by what they resolve to. */
#include <arpa/inet.h>
#include <string.h>

#include "base/log.h"
#include "enforce_link.h"
#include "respond_private.h"

#define LOOK_US G_USEC_PER_SEC /* how often the ends of addresses are looked at, and new ones written to the ledger */
#define SHOWN_MAX 16u          /* addresses of a name that are told */

static gint64 now_ns(void) {
        return g_get_real_time() * 1000;
}

/* Among which its names are; NULL: it has none. */
static char **texts_of(const BhEntry *e) {
        return bh_response_action_denies(e->action) ? e->deny : bh_response_action_isolates(e->action) ? e->allow : NULL;
}

gboolean bh_respond_has_names(const BhEntry *e) {
        char **texts = texts_of(e);

        for (guint i = 0; texts && texts[i]; i++)
                if (bh_peer_is_name(texts[i]))
                        return TRUE;
        return FALSE;
}

/* ---- lists ---- */

static void add_bound(const BhEntry *e, GArray *peers) {
        char **texts = texts_of(e);
        const guint n = texts ? g_strv_length(texts) : 0;

        for (guint i = 0; e->bound && i < e->bound->len; i++) {
                const BhBound *b = &g_array_index(e->bound, BhBound, i);
                BhPeer p = { .bits = 128 };
                BhPeerName name;

                if (b->text >= n || !bh_peer_name_parse(texts[b->text], &name, NULL))
                        continue;
                memcpy(p.addr, b->addr, sizeof(p.addr));
                p.port = name.port;
                p.proto = name.proto;
                g_array_append_val(peers, p);
        }
}

/* Peers alone: see response/deny.h. */
static void add_texts(GPtrArray *to, char **texts) {
        for (guint i = 0; texts && texts[i]; i++)
                if (!bh_deny_is(texts[i]))
                        g_ptr_array_add(to, texts[i]);
}

static GArray *peers_of(const GPtrArray *texts, const GPtrArray *entries, guint *written, GError **error) {
        GArray *peers = bh_peers_parse((const char *const *) texts->pdata, texts->len, error);

        *written = peers ? peers->len : 0;
        for (guint i = 0; peers && i < entries->len; i++)
                add_bound(entries->pdata[i], peers);
        return peers;
}

/* More ports of one address than there is room for: the whole address is refused then. */
static GArray *refused_of(GPtrArray *texts, const GPtrArray *entries, GError **error) {
        guint written;
        g_autoptr(GArray) peers = peers_of(texts, entries, &written, error);
        GArray *nets = peers ? bh_peers_merge(peers, NULL) : NULL;

        if (nets || !peers)
                return nets;
        for (guint i = written; i < peers->len; i++)
                g_array_index(peers, BhPeer, i).port = g_array_index(peers, BhPeer, i).proto = 0;
        return bh_peers_merge(peers, error);
}

/* Whether an address may have the port of the last as well. */
static gboolean has_room(const GArray *peers) {
        const BhPeer *last = &g_array_index(peers, BhPeer, peers->len - 1);
        g_autoptr(GArray) its = g_array_new(FALSE, TRUE, sizeof(BhPeer)), nets = NULL;

        for (guint i = 0; i < peers->len; i++)
                if (bh_peer_holds(&g_array_index(peers, BhPeer, i), last->addr))
                        g_array_append_val(its, g_array_index(peers, BhPeer, i));
        return (nets = bh_peers_merge(its, NULL)) != NULL;
}

/* More ports of one address than there is room for: those that names add are left out then, and *left_out counts them. */
static GArray *allowed_of(GPtrArray *texts, const GPtrArray *entries, guint *left_out, GError **error) {
        guint written;
        g_autoptr(GArray) peers = peers_of(texts, entries, &written, error), kept = NULL;
        GArray *nets = peers ? bh_peers_merge(peers, NULL) : NULL;

        if (nets || !peers)
                return nets;
        kept = g_array_new(FALSE, TRUE, sizeof(BhPeer));
        g_array_append_vals(kept, peers->data, written);
        for (guint i = written; i < peers->len; i++) {
                g_array_append_val(kept, g_array_index(peers, BhPeer, i));
                if (has_room(kept))
                        continue;
                g_array_set_size(kept, kept->len - 1);
                (*left_out)++;
        }
        return bh_peers_merge(kept, error);
}

/* What of the destinations can be led to it: an IPv6 decoy is nothing to IPv4 sockets, and names may stand for both. */
static GArray *led_of(const BhEntry *decoy, BhPeer *to, GError **error) {
        static const guint8 v4[12] = { [10] = 0xff, [11] = 0xff };
        g_autoptr(GPtrArray) texts = g_ptr_array_new(), entries = g_ptr_array_new();
        g_autoptr(GArray) peers = NULL;
        guint written;

        if (!bh_decoy_parse(decoy->subject, to, error))
                return NULL;
        add_texts(texts, decoy->deny);
        g_ptr_array_add(entries, (gpointer) decoy);
        if (!(peers = peers_of(texts, entries, &written, error)))
                return NULL;
        for (guint i = peers->len; memcmp(to->addr, v4, sizeof(v4)) != 0 && i-- > 0;)
                if (g_array_index(peers, BhPeer, i).bits >= 96 && memcmp(g_array_index(peers, BhPeer, i).addr, v4, sizeof(v4)) == 0)
                        g_array_remove_index_fast(peers, i);
        GArray *nets = bh_peers_merge(peers, NULL);
        if (nets)
                return nets;
        for (guint i = 0; i < peers->len; i++) /* as for what is refused: more ports of an address than there is room for, so it is all of it */
                g_array_index(peers, BhPeer, i).port = g_array_index(peers, BhPeer, i).proto = 0;
        return bh_peers_merge(peers, error);
}

void bh_respond_lists_clear(BhLists *l) {
        g_clear_pointer(&l->lead, g_array_unref);
        g_clear_pointer(&l->allow, g_array_unref);
        g_clear_pointer(&l->deny, g_array_unref);
}

BhEnforceRules bh_respond_rules(const BhLists *l) {
        BhEnforceRules rules = { .isolate = l->isolated, .allow = l->allow, .deny = l->refuses ? l->deny : NULL, .lead = l->lead, .to_port = l->to.port };

        memcpy(rules.to, l->to.addr, sizeof(rules.to));
        return rules;
}

gboolean bh_respond_lists(BhRespond *r, const char *container, BhLists *out, GError **error) {
        g_autoptr(GPtrArray) allow = g_ptr_array_new(), deny = g_ptr_array_new(), blocks = g_ptr_array_new(), isolates = g_ptr_array_new();
        g_auto(BhLists) l = { .isolated = FALSE };
        BhEntry *newest = NULL, *decoy = NULL;
        guint left_out = 0;
        GHashTableIter it;
        BhEntry *e;

        g_hash_table_iter_init(&it, r->entries);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &e)) {
                if (!bh_respond_holds_now(e, container))
                        continue;
                if (bh_response_action_isolates(e->action) && (!newest || e->serial > newest->serial))
                        newest = e;
                l.frozen |= bh_response_action_freezes(e->action);
                if (e->action == BH_RESPONSE_DECOY && (!decoy || e->serial > decoy->serial))
                        decoy = e;
                if (bh_response_action_denies(e->action)) { /* a decoy's too: what is not led is refused */
                        add_texts(deny, e->deny);
                        g_ptr_array_add(blocks, e);
                }
        }
        if (newest) {
                add_texts(allow, newest->allow);
                g_ptr_array_add(isolates, newest);
        }
        l.isolated = newest != NULL;
        l.network = l.isolated || deny->len;
        l.refuses = deny->len != 0;
        if (decoy && !(l.lead = led_of(decoy, &l.to, error)))
                return FALSE;
        if (!(l.allow = allowed_of(allow, isolates, &left_out, error)) || !(l.deny = refused_of(deny, blocks, error)))
                return FALSE;
        if (left_out && !newest->unbound) {
                newest->unbound = left_out;
                bh_respond_say(r, "names_full", newest, "has more ports of an address of its names than there may be, and leaves others out");
        }
        *out = l;
        l.allow = l.deny = l.lead = NULL;
        return TRUE;
}

/* ---- what names resolve to ---- */

void bh_respond_names_watch(BhRespond *r, const char *container) {
        g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
        GHashTableIter it;
        BhEntry *e;

        g_hash_table_iter_init(&it, r->entries);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &e)) {
                char **texts = bh_respond_holds_now(e, container) ? texts_of(e) : NULL;

                for (guint i = 0; texts && texts[i]; i++) {
                        BhPeerName name;

                        if (bh_peer_is_name(texts[i]) && bh_peer_name_parse(texts[i], &name, NULL))
                                g_ptr_array_add(names, g_memdup2(&name, sizeof(name)));
                }
        }
        bh_name_book_watch(r->book, container, names->len ? names : NULL);
}

/* Whether who answered is on the list of what is allowed. */
static gboolean is_believed(const BhEntry *e, const BhAnswer *a) {
        static const guint8 nobody[sizeof(a->server)];

        if (!memcmp(a->server, nobody, sizeof(nobody)))
                return FALSE;
        for (guint i = 0; e->allow[i]; i++) {
                BhPeer p[2];
                guint n;

                if (!bh_peer_is_name(e->allow[i]) && bh_peer_parse(e->allow[i], p, &n, NULL) && bh_peer_is_server(&p[0]) && !memcmp(p[0].addr, a->server, sizeof(a->server)))
                        return TRUE;
        }
        return FALSE;
}

/* TRUE: it is new. */
static gboolean bind_address(BhRespond *r, BhEntry *e, guint text, const guint8 *addr, gint64 until_ns) {
        BhBound b = { .text = text, .until_ns = until_ns };

        if (!e->bound)
                e->bound = g_array_new(FALSE, TRUE, sizeof(BhBound));
        for (guint i = 0; i < e->bound->len; i++) {
                BhBound *at = &g_array_index(e->bound, BhBound, i);

                if (at->text == text && !memcmp(at->addr, addr, sizeof(at->addr))) {
                        e->unsaved |= until_ns > at->until_ns;
                        at->until_ns = MAX(at->until_ns, until_ns);
                        return FALSE;
                }
        }
        if (e->bound->len >= BH_RESPOND_BOUND) {
                if (!e->unbound++)
                        bh_respond_say(r, "names_full", e, "knows as many addresses of its names as there may be, and leaves others out");
                return FALSE;
        }
        memcpy(b.addr, addr, sizeof(b.addr));
        g_array_append_val(e->bound, b);
        e->unsaved = TRUE;
        return TRUE;
}

/* TRUE: its list changes. */
static gboolean take_answer(BhRespond *r, BhEntry *e, const BhAnswer *a) {
        char **texts = texts_of(e);
        const gboolean refused = bh_response_action_denies(e->action);
        gboolean changed = FALSE;

        for (guint i = 0; texts && texts[i]; i++) {
                gboolean matches = FALSE;
                BhPeerName name;

                if (!bh_peer_is_name(texts[i]) || !bh_peer_name_parse(texts[i], &name, NULL))
                        continue;
                for (guint k = 0; !matches && k < (refused ? a->n_names : 1); k++)
                        matches = bh_peer_name_matches(&name, a->names[k]);
                if (!matches || (!refused && !is_believed(e, a)))
                        continue;
                e->cut_answers += a->cut;
                for (guint k = 0; k < a->n_addresses; k++)
                        changed |= bind_address(r, e, i, a->addresses[k], a->until_ns);
        }
        return changed;
}

void bh_respond_names_begin(BhRespond *r, BhEntry *e) {
        g_autoptr(GPtrArray) known = NULL;
        const gint64 now = now_ns();

        if (!bh_respond_has_names(e))
                return;
        bh_respond_names_watch(r, e->container);
        if (!bh_response_action_denies(e->action))
                return;
        known = bh_name_book_of(r->book, e->container);
        for (guint i = 0; i < known->len; i++)
                if (((const BhAnswer *) known->pdata[i])->until_ns > now)
                        take_answer(r, e, known->pdata[i]);
}

static gboolean drop_ended(BhEntry *e, gint64 now) {
        gboolean changed = FALSE;

        for (guint i = e->bound ? e->bound->len : 0; i-- > 0;)
                if (g_array_index(e->bound, BhBound, i).until_ns <= now) {
                        g_array_remove_index_fast(e->bound, i);
                        changed = e->unsaved = TRUE;
                }
        return changed;
}

/* The kernel's lists of the container of this one. */
static void put_in_force(BhRespond *r, BhEntry *e) {
        g_autoptr(GError) error = NULL;
        g_auto(BhLists) l = { .isolated = FALSE };
        gboolean ok = FALSE;

        if (!e->cgroup_id || e->cgroup_id == BH_ENTRY_ELSEWHERE || !bh_respond_is_there(r, e->cgroup)) /* it does not run, or is not held now: look_after() sets all */
                return;
        if (r->enforce && bh_respond_lists(r, e->container, &l, &error)) {
                const BhEnforceRules rules = bh_respond_rules(&l);

                ok = bh_enforce_update(r->enforce, e->cgroup, &rules, &error);
        }
        if (ok) {
                e->names_complained = FALSE;
                return;
        }
        if (!e->names_complained) {
                g_autofree char *why = g_strdup_printf("does not have the new addresses of its names: %s", error ? error->message : "nothing can be cut off on this node");

                bh_respond_say(r, "response_lost", e, why);
        }
        e->names_complained = TRUE;
}

void bh_respond_names_turn(BhRespond *r) {
        const gboolean look = g_get_monotonic_time() - r->names_looked_us >= LOOK_US;
        g_autoptr(GPtrArray) answers = NULL;
        guint lost = 0;
        GHashTableIter it;
        BhEntry *e;

        g_atomic_int_set(&r->answered, FALSE);
        answers = bh_name_book_take(r->book, &lost);
        if (!answers->len && !lost && !look)
                return;
        g_hash_table_iter_init(&it, r->entries);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &e)) {
                gboolean changed = FALSE;

                if (e->state != BH_RESPONSE_STATE_ACTIVE || !bh_respond_has_names(e))
                        continue;
                for (guint i = 0; i < answers->len; i++) {
                        const BhAnswer *a = answers->pdata[i];

                        if (g_str_equal(a->container, e->container))
                                changed |= take_answer(r, e, a);
                }
                if (lost && !e->unbound++)
                        bh_respond_say(r, "names_full", e, "lost answers for its names: more came at a time than there is room for");
                changed |= look && drop_ended(e, now_ns());
                if (changed || e->names_complained)
                        put_in_force(r, e);
                if (look && e->unsaved) {
                        e->unsaved = FALSE;
                        bh_entry_save(r->dir, e);
                }
        }
        if (look)
                r->names_looked_us = g_get_monotonic_time();
}

/* ---- telling ---- */

static json_t *tell_names(const BhEntry *e) {
        char **texts = texts_of(e);
        json_t *names = json_array();

        for (guint i = 0; texts && texts[i]; i++) {
                json_t *addresses;
                guint n = 0;

                if (!bh_peer_is_name(texts[i]))
                        continue;
                addresses = json_array();
                for (guint k = 0; e->bound && k < e->bound->len; k++) {
                        const BhBound *b = &g_array_index(e->bound, BhBound, k);
                        static const guint8 v4[12] = { [10] = 0xff, [11] = 0xff };
                        char text[INET6_ADDRSTRLEN];

                        if (b->text != i || n++ >= SHOWN_MAX)
                                continue;
                        if (memcmp(b->addr, v4, sizeof(v4)) == 0)
                                inet_ntop(AF_INET, b->addr + 12, text, sizeof(text));
                        else
                                inet_ntop(AF_INET6, b->addr, text, sizeof(text));
                        json_array_append_new(addresses, json_string(text));
                }
                json_array_append_new(names, json_pack("{s:s,s:i,s:o}", "name", texts[i], "known", (int) n, "addresses", addresses));
        }
        return json_pack("{s:o,s:i,s:i}", "names", names, "left_out", (int) e->unbound, "cut_answers", (int) e->cut_answers);
}

json_t *bh_respond_names_status(BhRespond *r) {
        json_t *all = json_object();
        GHashTableIter it;
        BhEntry *e;

        g_hash_table_iter_init(&it, r->entries);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &e))
                if (e->state == BH_RESPONSE_STATE_ACTIVE && bh_respond_has_names(e))
                        json_object_set_new(all, e->id, tell_names(e));
        return all;
}

void bh_respond_names_ways(const BhRespond *r, const BhEntry *e, json_t *ways) {
        if (!bh_respond_has_names(e))
                return;
        if (r->c.names_problem)
                json_array_append_new(ways, json_sprintf("names stand for no address here: %s", r->c.names_problem));
        else if (bh_response_action_isolates(e->action))
                json_array_append_new(ways, json_string("a process that may make packets (CAP_NET_RAW, CAP_NET_ADMIN, or a user namespace of its own) can answer in the name server's name, "
                                                        "and so choose what a name that is allowed stands for"));
}

void bh_respond_names_note(const BhEntry *e, json_t *notes) {
        if (bh_respond_has_names(e))
                json_array_append_new(notes, json_string(bh_response_action_denies(e->action)
                                                                 ? "names stand for the addresses that DNS gave the container and the node saw; what came by DNS over TLS or HTTPS, by read() on kernels without fentry, from a hosts file, or was known "
                                                                   "already is not among them"
                                                                 : "names are allowed by answers that come from now on from the name servers of the list; a first connection right behind an answer may still be refused"));
}

void bh_respond_dns(BhRespond *r, const struct bh_event *e) {
        if (e->type != BH_EV_DNS || !bh_name_book_learn(r->book, e, now_ns()))
                return;
        g_atomic_int_set(&r->answered, TRUE);
        if (g_mutex_trylock(&r->lock)) { /* else whoever has it lets the thread look before it sleeps */
                g_cond_signal(&r->moved);
                g_mutex_unlock(&r->lock);
        }
}

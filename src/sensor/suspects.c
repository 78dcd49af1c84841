/* SPDX-License-Identifier: Apache-2.0 */
#include "suspects.h"

#include <arpa/inet.h>
#include <string.h>

typedef struct {
        guint64 container;
        gint64 until_us;
} Watch;

typedef struct {
        GByteArray *bytes;
        guint64 from, end; /* in the stream: of bytes[0], and behind the last that is known to have moved */
} Side;

typedef struct {
        guint64 connection, sk, container;
        BhPayloadSide side;
        guint16 family, lport, rport;
        guint8 laddr[16], raddr[16];
        guint32 pid;
        guint64 start;
        gint64 time_ns;
        Side sides[2]; /* [1]: sent */
        gboolean closed, sealed;
        gboolean ready, fresh; /* ready: to be sealed if a finding is about it, which was not looked for yet: fresh */
        GList link;    /* in `quiet` */
} Conn;

/* A finding that is about a connection. */
typedef struct {
        guint64 container;
        char *id, *finding, *rule, *priority;
        struct bh_ip raddr; /* len 0: not known; then of the process */
        guint16 rport;
        guint32 pid;
        gint64 due_us;
        gboolean fresh; /* not looked for yet */
} Want;

/* What the programs are to be told. */
typedef struct {
        guint64 container;
        guint32 bytes;
} Ask;

/* One connection on its way through the inspector. */
typedef struct {
        BhSuspects *s;
        char *id, *finding, *rule, *priority, *peer, *head[2];
        guint32 pid;
        guint64 start;
        gint64 time_ns;
        char *text[2];
        guint open;
} Seal;

typedef struct {
        Seal *seal;
        guint which;
} Ticket;

/* What the inspector is to be asked. */
typedef struct {
        Seal *seal;
        GByteArray *bytes[2]; /* NULL: it was */
        gboolean cut[2]; /* they are not the first of their direction */
        gint64 until_us; /* how long it is tried */
} Job;

struct BhSuspects {
        BhSuspectsConfig c;
        gint n_watches;    /* atomically: pieces need not look otherwise */
        gint stirred;      /* atomically: the next round has something to do before `next_us` */
        gint64 next_us, again_us; /* of the thread of rounds, as is: */
        GQueue again;      /* Job *, which the inspector did not take */
        GMutex lock;       /* all below */
        GHashTable *watches; /* guint64 * → Watch * */
        GHashTable *conns;   /* guint64 * → Conn * */
        GQueue quiet;        /* Conn: the one that was heard of longest ago first */
        GQueue wants;        /* Want *, the oldest first */
        GQueue asks;         /* Ask *, of a container the latest alone */
        guint64 connections, evicted, sealed, unread, containers_evicted, findings_dropped, refused;
};

static void want_free(Want *w) {
        g_free(w->id);
        g_free(w->finding);
        g_free(w->rule);
        g_free(w->priority);
        g_free(w);
}

static void conn_free(gpointer p) {
        Conn *c = p;

        g_byte_array_unref(c->sides[0].bytes);
        g_byte_array_unref(c->sides[1].bytes);
        g_free(c);
}

BhSuspects *bh_suspects_new(const BhSuspectsConfig *config) {
        BhSuspects *s = g_new0(BhSuspects, 1);

        s->c = *config;
        g_mutex_init(&s->lock);
        s->watches = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
        s->conns = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, conn_free);
        g_queue_init(&s->quiet);
        g_queue_init(&s->wants);
        g_queue_init(&s->asks);
        g_queue_init(&s->again);
        s->next_us = G_MAXINT64;
        return s;
}

/* Something for the next round. */
static void stir(BhSuspects *s) {
        g_atomic_int_set(&s->stirred, TRUE);
}

/* ---- containers */

/* The programs are told by the next round, without the lock: theirs may be held for long. Under the lock. */
static void ask(BhSuspects *s, guint64 container, guint32 bytes) {
        for (GList *l = s->asks.head; l; l = l->next)
                if (((Ask *) l->data)->container == container) {
                        g_free(l->data);
                        g_queue_delete_link(&s->asks, l);
                        break;
                }
        Ask *a = g_new(Ask, 1);
        *a = (Ask){ container, bytes };
        g_queue_push_tail(&s->asks, a);
        stir(s);
}

/* Under the lock. */
static void drop_conn(BhSuspects *s, Conn *c) {
        g_queue_unlink(&s->quiet, &c->link);
        g_hash_table_remove(s->conns, &c->connection);
}

static void drop_conns_of(BhSuspects *s, guint64 container) {
        for (GList *l = s->quiet.head, *next; l; l = next) {
                Conn *c = l->data;

                next = l->next;
                if (c->container == container)
                        drop_conn(s, c);
        }
}

static void unwatch(BhSuspects *s, Watch *w) {
        const guint64 container = w->container;

        drop_conns_of(s, container);
        g_hash_table_remove(s->watches, &container);
        g_atomic_int_set(&s->n_watches, (gint) g_hash_table_size(s->watches));
        stir(s); /* what waits for its connections waits for nothing any more */
}

static void end_watch(BhSuspects *s, Watch *w) {
        ask(s, w->container, 0);
        unwatch(s, w);
}

static Watch *first_to_end(BhSuspects *s) {
        GHashTableIter it;
        Watch *first = NULL;
        gpointer w;

        g_hash_table_iter_init(&it, s->watches);
        while (g_hash_table_iter_next(&it, NULL, &w))
                if (!first || ((Watch *) w)->until_us < first->until_us)
                        first = w;
        return first;
}

static void watch(BhSuspects *s, guint64 container, gint64 now_us) {
        Watch *w = g_hash_table_lookup(s->watches, &container);

        if (w) {
                w->until_us = now_us + BH_SUSPECTS_US;
                return;
        }
        if (g_hash_table_size(s->watches) >= BH_SUSPECTS_CONTAINERS) {
                s->containers_evicted++;
                end_watch(s, first_to_end(s));
        }
        w = g_new(Watch, 1);
        *w = (Watch){ container, now_us + BH_SUSPECTS_US };
        g_hash_table_insert(s->watches, &w->container, w);
        g_atomic_int_set(&s->n_watches, (gint) g_hash_table_size(s->watches));
        ask(s, container, BH_SUSPECTS_BYTES);
}

void bh_suspects_watch(BhSuspects *s, guint64 container, gint64 now_us) {
        g_mutex_lock(&s->lock);
        watch(s, container, now_us);
        g_mutex_unlock(&s->lock);
}

void bh_suspects_forget(BhSuspects *s, guint64 container) {
        g_mutex_lock(&s->lock);
        Watch *w = g_hash_table_lookup(s->watches, &container);
        if (w)
                w->until_us = 0; /* what its findings wait for is sealed first */
        stir(s);
        g_mutex_unlock(&s->lock);
}

/* ---- findings */

static void drop_want(BhSuspects *s, GList *link) {
        s->findings_dropped++;
        want_free(link->data);
        g_queue_delete_link(&s->wants, link);
}

static gboolean equal_wants(const Want *a, const Want *b) {
        return a->container == b->container && a->pid == b->pid && a->rport == b->rport && a->raddr.len == b->raddr.len && !memcmp(a->raddr.b, b->raddr.b, MIN(a->raddr.len, sizeof(a->raddr.b)));
}

/* An equal one that waits stands for it: of the same connections one finding has them. The oldest of the container that has its share goes, or of all. */
static void add_want(BhSuspects *s, Want *w) {
        GList *oldest = NULL;
        guint n = 0;

        for (GList *l = s->wants.head; l; l = l->next) {
                const Want *other = l->data;

                if (equal_wants(other, w)) {
                        want_free(w);
                        return;
                }
                if (other->container == w->container && !n++)
                        oldest = l;
        }
        if (n >= BH_SUSPECTS_FINDINGS_SHARE)
                drop_want(s, oldest);
        else if (s->wants.length >= BH_SUSPECTS_FINDINGS)
                drop_want(s, s->wants.head);
        g_queue_push_tail(&s->wants, w);
        stir(s);
}

void bh_suspects_finding(BhSuspects *s, guint64 container, const char *container_id, const char *finding, const char *rule, const char *priority, const struct bh_event *e, gint64 now_us) {
        const gboolean peer = bh_event_has(e, BH_F_raddr) && bh_event_has(e, BH_F_rport);

        g_mutex_lock(&s->lock);
        watch(s, container, now_us);
        if (peer || bh_event_has(e, BH_F_pid)) {
                Want *w = g_new0(Want, 1);

                *w = (Want){ .container = container, .id = g_strdup(container_id), .finding = g_strdup(finding), .rule = g_strdup(rule), .priority = g_strdup(priority), .pid = bh_event_has(e, BH_F_pid) ? e->pid : 0,
                             .due_us = now_us + BH_SUSPECTS_WAIT_US, .fresh = TRUE };
                if (peer) {
                        w->raddr = e->raddr;
                        w->rport = (guint16) e->rport;
                }
                add_want(s, w);
        }
        g_mutex_unlock(&s->lock);
}

/* ---- pieces */

static gboolean is_full(const Conn *c) {
        return c->sides[0].bytes->len >= BH_SUSPECTS_BYTES && c->sides[1].bytes->len >= BH_SUSPECTS_BYTES;
}

static guint conns_of(BhSuspects *s, guint64 container) {
        guint n = 0;

        for (GList *l = s->quiet.head; l; l = l->next)
                n += ((Conn *) l->data)->container == container;
        return n;
}

/* The one that was heard of longest ago: of the container that has its share, or of all. */
static void make_room(BhSuspects *s, guint64 container) {
        const gboolean share = conns_of(s, container) >= BH_SUSPECTS_SHARE;

        for (GList *l = s->quiet.head; l && (share || s->quiet.length >= BH_SUSPECTS_CONNECTIONS); l = l->next)
                if (!share || ((Conn *) l->data)->container == container) {
                        s->evicted++;
                        drop_conn(s, l->data);
                        return;
                }
}

static Conn *conn_of(BhSuspects *s, const BhPayloadPiece *p) {
        Conn *c = g_hash_table_lookup(s->conns, &p->connection);

        if (c || p->flags & BH_PAYLOAD_CLOSE || !p->len)
                return c;
        make_room(s, p->container);
        c = g_new0(Conn, 1);
        *c = (Conn){ .connection = p->connection, .sk = p->sk, .container = p->container, .side = p->side, .family = p->family, .lport = p->lport, .rport = p->rport, .pid = p->pid, .start = p->start,
                     .time_ns = p->time_ns };
        memcpy(c->laddr, p->laddr, sizeof(c->laddr));
        memcpy(c->raddr, p->raddr, sizeof(c->raddr));
        for (guint i = 0; i < 2; i++)
                c->sides[i].bytes = g_byte_array_new();
        c->link.data = c;
        g_hash_table_insert(s->conns, &c->connection, c);
        g_queue_push_tail_link(&s->quiet, &c->link);
        s->connections++;
        return c;
}

/* What follows what is there; behind a gap nothing more is taken, but told that it moved. */
static void take_bytes(Side *side, const BhPayloadPiece *p) {
        guint room = BH_SUSPECTS_BYTES - MIN(side->bytes->len, BH_SUSPECTS_BYTES);

        if (!side->bytes->len)
                side->from = p->offset;
        if (p->offset == side->from + side->bytes->len)
                g_byte_array_append(side->bytes, p->bytes, MIN(room, p->len));
        side->end = MAX(side->end, p->offset + p->total);
}

gboolean bh_suspects_piece(BhSuspects *s, const BhPayloadPiece *p) {
        const gboolean other = p->protocol == BH_PAYLOAD_OTHER && !(p->flags & (BH_PAYLOAD_CLOSE | BH_PAYLOAD_TLS));
        guint64 ignore = 0, sk = 0;

        if (!g_atomic_int_get(&s->n_watches))
                return other;
        g_mutex_lock(&s->lock);
        Conn *c = g_hash_table_contains(s->watches, &p->container) ? conn_of(s, p) : NULL;
        /* of TLS the clear text is another stream, of which the web's part is told as such; the connection's own bytes are here */
        if (c && !(p->flags & BH_PAYLOAD_TLS)) {
                if (p->len)
                        take_bytes(&c->sides[p->sent], p);
                c->closed |= (p->flags & BH_PAYLOAD_CLOSE) != 0;
                if (!c->ready && (c->closed || is_full(c))) {
                        c->ready = c->fresh = TRUE;
                        if (s->wants.length)
                                stir(s);
                }
                g_queue_unlink(&s->quiet, &c->link);
                g_queue_push_tail_link(&s->quiet, &c->link);
                if (other && is_full(c)) {
                        ignore = c->connection;
                        sk = c->sk;
                }
        }
        g_mutex_unlock(&s->lock);
        if (ignore)
                s->c.ignore(ignore, sk, s->c.data);
        return other;
}

/* ---- sealing */

static char *endpoint(guint16 family, const guint8 addr[16], guint16 port) {
        char text[INET6_ADDRSTRLEN] = "?";

        inet_ntop(family == AF_INET6 ? AF_INET6 : AF_INET, addr, text, sizeof(text));
        return g_strdup_printf(family == AF_INET6 ? "[%s]:%u" : "%s:%u", text, port);
}

/* Addresses as they are compared: an IPv4 one in IPv6's clothes is the former. */
static gboolean same_address(const Conn *c, const struct bh_ip *ip) {
        static const guint8 mapped[12] = { [10] = 0xff, [11] = 0xff };
        const guint8 *mine = c->raddr, *its = ip->b;
        guint mine_len = c->family == AF_INET6 ? 16 : 4, its_len = ip->len;

        if (mine_len == 16 && !memcmp(mine, mapped, sizeof(mapped)))
                mine += 12, mine_len = 4;
        if (its_len == 16 && !memcmp(its, mapped, sizeof(mapped)))
                its += 12, its_len = 4;
        return mine_len == its_len && !memcmp(mine, its, mine_len);
}

static gboolean is_about(const Want *w, const Conn *c) {
        if (w->container != c->container)
                return FALSE;
        return w->raddr.len ? c->rport == w->rport && same_address(c, &w->raddr) : w->pid && c->pid == w->pid;
}

static void seal_free(Seal *x) {
        for (guint i = 0; i < 2; i++) {
                g_free(x->text[i]);
                g_free(x->head[i]);
        }
        g_free(x->id);
        g_free(x->finding);
        g_free(x->rule);
        g_free(x->priority);
        g_free(x->peer);
        g_free(x);
}

/* One of two texts came, or will not; with the last it is kept. */
static void seal_done(Seal *x, guint which, const char *text) {
        BhSuspects *s = x->s;

        g_mutex_lock(&s->lock);
        x->text[which] = g_strdup(text);
        s->unread += !text;
        const gboolean last = !--x->open, any = x->text[0] || x->text[1];
        s->sealed += last && any;
        g_mutex_unlock(&s->lock);
        if (!last)
                return;
        if (any) {
                g_autofree char *all = g_strconcat(x->head[1], x->text[1] ? x->text[1] : "(could not be read)", "\n\n", x->head[0], x->text[0] ? x->text[0] : "(could not be read)", "\n", NULL);
                const BhSuspectKept kept = { .finding = x->finding, .rule = x->rule, .priority = x->priority, .container = x->id, .peer = x->peer, .text = all, .pid = x->pid, .start = x->start, .time_ns = x->time_ns };

                s->c.keep(&kept, s->c.data);
        }
        seal_free(x);
}

static void on_redacted(const char *text, gpointer data) {
        g_autofree Ticket *t = data;

        seal_done(t->seal, t->which, text);
}

static char *head_of(const Side *side, const char *what) {
        return g_strdup_printf("%s: %u bytes from %" G_GUINT64_FORMAT " on, of at least %" G_GUINT64_FORMAT "\n", what, side->bytes->len, side->from, MAX(side->end, side->from + side->bytes->len));
}

/* Under the lock: what is to be asked of the inspector without it. */
static Job job_of(BhSuspects *s, const Want *w, Conn *c, gint64 now_us) {
        static const char *const opened[] = { "", ", which it opened", ", which it accepted" };
        g_autofree char *local = endpoint(c->family, c->laddr, c->lport);
        Seal *x = g_new0(Seal, 1);
        Job j = { x, { g_byte_array_ref(c->sides[0].bytes), g_byte_array_ref(c->sides[1].bytes) }, { c->sides[0].from > 0, c->sides[1].from > 0 }, now_us + BH_SUSPECTS_AGAIN_US };

        *x = (Seal){ .s = s, .id = g_strdup(w->id), .finding = g_strdup(w->finding), .rule = g_strdup(w->rule), .priority = g_strdup(w->priority), .pid = c->pid, .start = c->start, .time_ns = c->time_ns, .open = 2 };
        x->peer = endpoint(c->family, c->raddr, c->rport);
        g_autofree char *sent = head_of(&c->sides[1], "sent"), *got = head_of(&c->sides[0], "got");
        x->head[1] = g_strdup_printf("connection of %s with %s%s, %s\n\n%s", local, x->peer, c->side <= BH_PAYLOAD_SERVER ? opened[c->side] : "", c->closed ? "ended" : "open", sent);
        x->head[0] = g_steal_pointer(&got);
        c->sealed = TRUE;
        return j;
}

/* Asks for what was not taken yet. TRUE: some of it was not again, and there is time left. */
static gboolean carry_out(BhSuspects *s, Job *j, gint64 now_us) {
        gboolean again = FALSE;

        for (guint i = 0; i < 2; i++) {
                if (!j->bytes[i])
                        continue;
                Ticket *t = g_new(Ticket, 1);
                *t = (Ticket){ j->seal, i };
                if (!j->bytes[i]->len) {
                        on_redacted("", t);
                } else if (!s->c.redact(j->bytes[i]->data, j->bytes[i]->len, j->cut[i], on_redacted, t, s->c.data)) {
                        if (now_us < j->until_us && s->again.length < BH_SUSPECTS_AGAIN) {
                                g_free(t);
                                again = TRUE;
                                continue;
                        }
                        on_redacted(NULL, t);
                }
                g_clear_pointer(&j->bytes[i], g_byte_array_unref);
        }
        return again;
}

/* What is due, and what the inspector did not take before: it may be full, or begin anew. */
static void carry_out_all(BhSuspects *s, GArray *jobs, gint64 now_us) {
        for (guint n = s->again_us <= now_us ? s->again.length : 0; n--;) {
                Job *j = g_queue_pop_head(&s->again);

                if (carry_out(s, j, now_us))
                        g_queue_push_tail(&s->again, j);
                else
                        g_free(j);
        }
        for (guint n = 0; n < jobs->len; n++) {
                Job *j = &g_array_index(jobs, Job, n);

                if (carry_out(s, j, now_us))
                        g_queue_push_tail(&s->again, g_memdup2(j, sizeof(*j)));
        }
        if (s->again.length && s->again_us <= now_us)
                s->again_us = now_us + BH_SUSPECTS_RETRY_US;
        if (s->again.length)
                s->next_us = MIN(s->next_us, s->again_us);
}

/* Both refer to arrays that pieces may still be added to: what is sealed is its own. */
static void detach(Conn *c) {
        for (guint i = 0; i < 2; i++) {
                GByteArray *bytes = g_byte_array_new();

                g_byte_array_append(bytes, c->sides[i].bytes->data, c->sides[i].bytes->len);
                g_byte_array_unref(c->sides[i].bytes);
                c->sides[i].bytes = bytes;
        }
}

static void seal_if_about(BhSuspects *s, const Want *w, Conn *c, gboolean due, GArray *jobs, gint64 now_us) {
        if (c->sealed || !(due || c->ready) || !is_about(w, c))
                return;
        Job j = job_of(s, w, c, now_us);
        detach(c);
        g_array_append_val(jobs, j);
}

/* All connections are looked at for findings that are new or due, and for the others those that are ready since. */
static void look(BhSuspects *s, GArray *jobs, gint64 now_us) {
        g_autoptr(GPtrArray) fresh = g_ptr_array_new();

        for (GList *k = s->wants.head ? s->quiet.head : NULL; k; k = k->next) {
                Conn *c = k->data;

                if (c->fresh)
                        g_ptr_array_add(fresh, c);
                c->fresh = FALSE;
        }
        for (GList *l = s->wants.head, *next; l; l = next) {
                Want *w = l->data;
                const Watch *of = g_hash_table_lookup(s->watches, &w->container);
                const gboolean due = w->due_us <= now_us || !of || of->until_us <= now_us;

                next = l->next;
                if (due || w->fresh)
                        for (GList *k = s->quiet.head; k; k = k->next)
                                seal_if_about(s, w, k->data, due, jobs, now_us);
                else
                        for (guint n = 0; n < fresh->len; n++)
                                seal_if_about(s, w, fresh->pdata[n], FALSE, jobs, now_us);
                w->fresh = FALSE;
                if (due) {
                        g_queue_delete_link(&s->wants, l);
                        want_free(w);
                } else {
                        s->next_us = MIN(s->next_us, w->due_us);
                }
        }
}

/* Nobody of whom it was asked to look: it cannot be. */
static void refuse(BhSuspects *s, guint64 container) {
        g_mutex_lock(&s->lock);
        Watch *w = g_hash_table_lookup(s->watches, &container);
        s->refused++;
        if (w)
                unwatch(s, w);
        g_mutex_unlock(&s->lock);
}

static Ask *next_ask(BhSuspects *s) {
        g_mutex_lock(&s->lock);
        Ask *a = g_queue_pop_head(&s->asks);
        g_mutex_unlock(&s->lock);
        return a;
}

static void tell_programs(BhSuspects *s, gint64 now_us) {
        for (Ask *a; (a = next_ask(s)); g_free(a)) {
                const BhSuspectsAnswer answer = s->c.other(a->container, a->bytes, s->c.data);

                if (answer == BH_SUSPECTS_LATER) {
                        g_mutex_lock(&s->lock);
                        g_queue_push_head(&s->asks, a);
                        g_mutex_unlock(&s->lock);
                        s->next_us = MIN(s->next_us, now_us + BH_SUSPECTS_RETRY_US);
                        return;
                }
                if (answer == BH_SUSPECTS_NO && a->bytes)
                        refuse(s, a->container);
        }
}

void bh_suspects_round(BhSuspects *s, gint64 now_us) {
        g_autoptr(GArray) jobs = NULL;

        if (!g_atomic_int_compare_and_exchange(&s->stirred, TRUE, FALSE) && now_us < s->next_us)
                return;
        jobs = g_array_new(FALSE, FALSE, sizeof(Job));
        s->next_us = G_MAXINT64;
        g_mutex_lock(&s->lock);
        look(s, jobs, now_us);
        for (Watch *w; (w = first_to_end(s)); end_watch(s, w))
                if (w->until_us > now_us) {
                        s->next_us = MIN(s->next_us, w->until_us);
                        break;
                }
        g_mutex_unlock(&s->lock);
        tell_programs(s, now_us);
        carry_out_all(s, jobs, now_us);
}

void bh_suspects_free(BhSuspects *s) {
        if (!s)
                return;
        for (Job *j; (j = g_queue_pop_head(&s->again)); g_free(j)) {
                for (guint i = 0; i < 2; i++)
                        if (j->bytes[i]) {
                                Ticket *t = g_new(Ticket, 1);

                                *t = (Ticket){ j->seal, i };
                                g_byte_array_unref(j->bytes[i]);
                                on_redacted(NULL, t);
                        }
        }
        g_queue_clear_full(&s->asks, g_free);
        g_queue_clear_full(&s->wants, (GDestroyNotify) want_free);
        g_hash_table_unref(s->conns);
        g_hash_table_unref(s->watches);
        g_mutex_clear(&s->lock);
        g_free(s);
}

json_t *bh_suspects_status(BhSuspects *s) {
        g_mutex_lock(&s->lock);
        const struct {
                const char *name;
                guint64 n;
        } rows[] = { { "containers", g_hash_table_size(s->watches) }, { "containers_evicted", s->containers_evicted }, { "refused", s->refused }, { "connections", s->connections }, { "evicted", s->evicted },
                     { "findings_dropped", s->findings_dropped }, { "sealed", s->sealed }, { "unread", s->unread } };
        json_t *o = json_object();

        for (guint n = 0; n < G_N_ELEMENTS(rows); n++)
                json_object_set_new(o, rows[n].name, json_integer((json_int_t) rows[n].n));
        g_mutex_unlock(&s->lock);
        return o;
}

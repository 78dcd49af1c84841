/* SPDX-License-Identifier: Apache-2.0 */
#include "web_watch.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "parse/web_trace.h"
#include "web_private.h"

#define WAIT_MS 5000u
#define METHOD_MAX 20u     /* as the kernel's program has it */
#define STATE_HTTP2 2u     /* BhWebState, of the program that is not linked here */
#define STATE_TUNNEL 4u

/* What is under way to the inspector. */
typedef struct {
        BhWebWatch *w;
        BhWebShare *share;
        guint64 serial;
        gboolean close;
} Feed;

static guint conn_hash(gconstpointer p) {
        const BhWebConn *c = p;

        return (guint) (c->connection ^ c->connection >> 32) * 2 + (c->tls != FALSE);
}

static gboolean conn_equal(gconstpointer pa, gconstpointer pb) {
        const BhWebConn *a = pa, *b = pb;

        return a->connection == b->connection && a->tls == b->tls;
}

gint64 bh_web_epoch_ns(gint64 boottime_ns) {
        struct timespec real, boot;

        clock_gettime(CLOCK_REALTIME, &real);
        clock_gettime(CLOCK_BOOTTIME, &boot);
        return boottime_ns + (real.tv_sec - boot.tv_sec) * 1000000000 + (real.tv_nsec - boot.tv_nsec);
}

/* ---- connections */

static void forget_serial(BhWebWatch *w, BhWebConn *c) {
        if (c->serial)
                g_hash_table_remove(w->serials, &c->serial);
        c->serial = 0;
}

static void conn_free(BhWebWatch *w, BhWebConn *c) {
        forget_serial(w, c);
        g_queue_unlink(&w->quiet, &c->link);
        bh_web_end_open(w, c, 0);
        if (g_hash_table_lookup(w->conns, c) == c)
                g_hash_table_remove(w->conns, c);
        g_clear_pointer(&c->c, bh_container_unref);
        bh_web_plan_free(c->plan);
        g_free(c);
}

static void address(char out[64], guint16 family, const guint8 *ip) {
        if (!inet_ntop(family, ip, out, 64))
                *out = '\0';
}

/* Its container as it is described now, and what people decided for it. */
static void look_up(BhWebWatch *w, BhWebConn *c, guint64 cgroup) {
        g_auto(BhContainerLookup) l = { 0 };

        bh_container_table_lookup(w->c.containers, cgroup, &l);
        if (!c->plan || c->policy != w->policies || (l.container && l.container != c->c)) {
                bh_web_plan_free(c->plan);
                c->policy = w->policies;
                c->plan = bh_web_policy_plan(w->c.policy, l.container);
        }
        if (l.container && l.container != c->c) {
                g_clear_pointer(&c->c, bh_container_unref);
                c->c = g_steal_pointer(&l.container);
        }
}

/* The owner has no use for it any more: the kernel need not copy it. */
static void done(BhWebWatch *w, BhWebConn *c) {
        c->done = TRUE;
        forget_serial(w, c);
        bh_web_end_open(w, c, 0);
        if (w->c.ignore && !c->proxied)
                w->c.ignore(c->connection, c->sk, w->c.data);
}

static void leave_out(BhWebWatch *w, BhWebConn *c) {
        w->n.off++;
        done(w, c);
        /* what is switched off in the kernel is remembered, to be switched on again; beyond the bound each connection is ignored by itself */
        if (!g_hash_table_contains(w->off, &c->container)) {
                if (g_hash_table_size(w->off) >= BH_PAYLOAD_RULES)
                        return;
                g_hash_table_add(w->off, g_memdup2(&c->container, sizeof(c->container)));
        }
        if (w->c.off)
                w->c.off(c->container, TRUE, w->c.data);
}

static BhWebConn *conn_new(BhWebWatch *w, const BhPayloadPiece *p, gboolean tls) {
        BhWebConn *c = g_new0(BhWebConn, 1);
        gboolean client;

        while (g_hash_table_size(w->conns) >= BH_WEB_WATCH_CONNECTIONS) {
                w->n.evicted++;
                conn_free(w, w->quiet.head->data);
        }
        c->connection = p->connection;
        c->sk = p->sk;
        c->container = p->container;
        c->tls = tls;
        c->server = p->side != BH_PAYLOAD_CLIENT;
        c->proxied = !tls && p->protocol == BH_PAYLOAD_PROXY;
        client = !c->server;
        address(client ? c->client : c->host, p->family, p->laddr);
        address(client ? c->host : c->client, p->family, p->raddr);
        c->port = client ? p->rport : p->lport;
        c->link.data = c;
        g_queue_push_tail_link(&w->quiet, &c->link);
        g_hash_table_add(w->conns, c);
        w->n.connections++;
        look_up(w, c, p->cgroup);
        if (c->plan->off)
                leave_out(w, c);
        return c;
}

void bh_web_watch_policy(BhWebWatch *w, const BhWebPolicy *policy) {
        GHashTableIter iter;
        gpointer key;

        g_mutex_lock(&w->lock);
        w->c.policy = policy;
        w->policies++;
        /* the first connection of each that is still to be left out says so again */
        g_hash_table_iter_init(&iter, w->off);
        while (g_hash_table_iter_next(&iter, &key, NULL)) {
                if (w->c.off)
                        w->c.off(*(guint64 *) key, FALSE, w->c.data);
                g_hash_table_iter_remove(&iter);
        }
        g_mutex_unlock(&w->lock);
}

void bh_web_watch_forget(BhWebWatch *w, guint64 container) {
        g_mutex_lock(&w->lock);
        g_hash_table_remove(w->off, &container);
        g_mutex_unlock(&w->lock);
}

/* ---- to the inspector */

static void on_answer(BhInspectAnswer *answer, gpointer data);

static BhWebShare *share_of(BhWebWatch *w, guint64 container) {
        BhWebShare *share = g_hash_table_lookup(w->shares, &container);

        if (!share) {
                share = g_new(BhWebShare, 1);
                *share = (BhWebShare){ container, 0 };
                g_hash_table_insert(w->shares, &share->container, share);
        }
        return share;
}

static void drop_if_idle(BhWebWatch *w, const BhWebShare *share) {
        if (!share->waiting)
                g_hash_table_remove(w->shares, &share->container);
}

/* The end of a connection goes in any case, or the inspector would keep it. */
static gboolean submit(BhWebWatch *w, BhWebConn *c, const BhWebInput *in) {
        g_autoptr(GByteArray) body = NULL;
        BhWebShare *share = share_of(w, c->container);
        Feed *f;

        if (share->waiting >= BH_WEB_WAITING_SHARE && !(in->flags & BH_WEB_CLOSE)) {
                w->n.beyond_share++;
                return FALSE;
        }
        body = g_byte_array_sized_new((guint) in->len + 128);
        f = g_new(Feed, 1);
        *f = (Feed){ w, share, c->serial, (in->flags & BH_WEB_CLOSE) != 0 };
        bh_inspect_pack_web_input(body, in);
        g_autoptr(GBytes) bytes = g_byte_array_free_to_bytes(g_steal_pointer(&body));
        if (!bh_inspect_submit(w->client, BH_INSPECT_WEB, bytes, -1, WAIT_MS, on_answer, f)) {
                g_free(f);
                drop_if_idle(w, share);
                w->n.refused++;
                return FALSE;
        }
        w->waiting++;
        share->waiting++;
        c->under_way++;
        return TRUE;
}

typedef struct {
        void (*redacted)(const char *text, gpointer data);
        gpointer data;
} Redact;

static void on_redacted(BhInspectAnswer *answer, gpointer data) {
        g_autofree Redact *r = data;
        g_autofree char *text = answer->status == BH_INSPECT_OK ? g_strndup((const char *) answer->body, answer->len) : NULL;

        r->redacted(text, r->data);
}

gboolean bh_web_watch_redact(BhWebWatch *w, const guint8 *bytes, gsize len, void (*redacted)(const char *text, gpointer data), gpointer data) {
        g_autoptr(GBytes) body = g_bytes_new(bytes, len);
        g_autofree Redact *r = g_new(Redact, 1);

        *r = (Redact){ redacted, data };
        if (!bh_inspect_submit(w->client, BH_INSPECT_REDACT, body, -1, WAIT_MS, on_redacted, r))
                return FALSE;
        g_steal_pointer(&r);
        return TRUE;
}

/* The stream that the inspector has of it cannot go on. */
static void end_stream(BhWebWatch *w, BhWebConn *c, gint64 at_ns) {
        BhWebInput in = { .connection = c->serial, .flags = BH_WEB_CLOSE, .at_ns = at_ns, .client = "", .server = "" };

        if (c->serial && c->epoch == w->epoch)
                submit(w, c, &in);
        forget_serial(w, c);
        bh_web_end_open(w, c, at_ns);
        c->under_way = 0;
}

/*
 * As the kernel's program and the inspector take it: empty lines may come before it, and a method is any word before a path. A piece that ends within that may be one. What else begins
 * with a capital letter is a field or a part of a body, which must not be read as a request where the one that it is of was lost. What a proxy says before all that, in bytes, begins with
 * empty lines and a zero.
 */
static gboolean begins_request(const BhPayloadPiece *p) {
        static const guint8 proxy[] = "\r\n\r\n\0\r\nQUIT\n";
        guint32 from = 0, end;
        gboolean capitals = TRUE;

        while (from < p->len && (p->bytes[from] == '\r' || p->bytes[from] == '\n'))
                from++;
        for (end = from; end < p->len && end - from <= METHOD_MAX && (g_ascii_isalnum((char) p->bytes[end]) || p->bytes[end] == '-' || p->bytes[end] == '_'); end++)
                capitals &= !g_ascii_islower((char) p->bytes[end]);
        if (from == p->len || memcmp(p->bytes, proxy, MIN(p->len, sizeof(proxy) - 1)) == 0)
                return TRUE; /* empty lines alone: it is behind them */
        if (end == from || end - from > METHOD_MAX)
                return FALSE;
        if (end == p->len)
                return TRUE;
        if (p->bytes[end] != ' ' && p->bytes[end] != '\t')
                return FALSE;
        return capitals || end + 1 == p->len || memchr("/*hH", p->bytes[end + 1], 4) != NULL;
}

static void begin_stream(BhWebWatch *w, BhWebConn *c) {
        c->serial = ++w->last_serial;
        c->epoch = w->epoch;
        c->state = 0;
        c->seen[0] = c->seen[1] = FALSE;
        g_hash_table_insert(w->serials, &c->serial, c);
}

static void begin_request(BhWebWatch *w, BhWebConn *c, const BhPayloadPiece *p) {
        BhWebRequest *r = bh_web_requests_begin(w->requests, p->pid, p->tid, p->start, p->time_ns, bh_web_trace_keep(p->bytes, p->len));

        if (!r)
                return;
        r->connection = c->serial;
        r->container = c->c ? bh_container_ref(c->c) : NULL;
        bh_web_add_open(w, c, r);
}

/* More of the request that was begun last: its body often comes in a piece of its own. */
static void continue_request(BhWebConn *c, const BhPayloadPiece *p) {
        BhWebRequest *r = g_queue_peek_tail(&c->open);

        if (r && !r->known && r->bytes && r->bytes->len < BH_WEB_TRACE_MAX) {
                static const guint8 in_body[] = "\n\n"; /* what comes is no head */
                gsize n = MIN((gsize) p->len, BH_WEB_TRACE_MAX - r->bytes->len);
                g_autofree guint8 *text = g_malloc(n + 2);

                memcpy(text, in_body, 2);
                memcpy(text + 2, p->bytes, n);
                g_autoptr(GByteArray) more = bh_web_trace_keep(text, n + 2);
                if (more->len > 2)
                        bh_web_request_add_bytes(r, more->data + 2, more->len - 2);
        }
}

/* FALSE: of this piece nothing is to be fed. */
static gboolean in_order(BhWebWatch *w, BhWebConn *c, gboolean from_client, const BhPayloadPiece *p, BhWebInput *in) {
        guint64 *next = &c->next[from_client], skip = 0;

        if (c->seen[from_client] && p->offset > *next) {
                in->gap = p->offset - *next;
                w->n.gaps++;
        } else if (c->seen[from_client] && p->offset < *next) {
                skip = *next - p->offset; /* told twice */
        }
        if (skip >= p->len)
                return FALSE;
        in->bytes = p->bytes + skip;
        in->len = p->len - skip;
        *next = p->offset + p->len;
        c->seen[from_client] = TRUE;
        return TRUE;
}

static void note_reader(BhWebConn *c, const BhPayloadPiece *p) {
        const BhWebReader *last = c->n_readers ? &c->readers[c->n_readers - 1] : NULL;

        if (last && last->pid == p->pid && last->tid == p->tid && last->start == p->start)
                return;
        if (c->n_readers == READERS_MAX)
                memmove(c->readers, c->readers + 1, --c->n_readers * sizeof(*c->readers));
        c->readers[c->n_readers++] = (BhWebReader){ p->time_ns, p->pid, p->tid, p->start };
}

const BhWebReader *bh_web_reader_at(const BhWebConn *c, gint64 when_ns) {
        static const BhWebReader nobody;
        guint i = c->n_readers;

        while (i > 1 && c->readers[i - 1].from_ns > when_ns)
                i--;
        return i ? &c->readers[i - 1] : &nobody;
}

/* Whether this request is passed over because there is more than the inspector can do. */
static gboolean skips(BhWebWatch *w, BhWebConn *c, const BhPayloadPiece *p) {
        if (c->suspected || c->state >= STATE_HTTP2)
                return FALSE;
        if (c->plan->level >= 3 || bh_web_trace_suspected(w->words, p->bytes, p->len)) {
                c->suspected = TRUE;
                return FALSE;
        }
        if (w->waiting < BH_WEB_BUSY)
                return FALSE;
        w->n.skipped_requests++;
        return TRUE;
}

static void feed(BhWebWatch *w, BhWebConn *c, const BhPayloadPiece *p) {
        gboolean from_client = c->server ? !p->sent : p->sent;
        /* one that the client sends behind another, without an answer between them, is no turn: such a one must not be passed over with the first */
        gboolean request = from_client && (p->flags & BH_PAYLOAD_TURN || c->skipping);
        BhWebInput in = { .at_ns = p->time_ns, .client = c->client, .server = c->host, .port = c->port };

        if (c->serial && c->epoch != w->epoch)
                end_stream(w, c, p->time_ns); /* that inspector is gone */
        if (request && c->state < STATE_HTTP2 && begins_request(p)) {
                look_up(w, c, p->cgroup);
                if (c->plan->off) {
                        end_stream(w, c, p->time_ns);
                        leave_out(w, c);
                        return;
                }
                c->skipping = skips(w, c, p);
                if (c->skipping && c->serial)
                        end_stream(w, c, p->time_ns);
        }
        if (c->skipping) {
                w->n.skipped_pieces++;
                return;
        }
        if (!c->serial) {
                if (!request || !begins_request(p) || c->state == STATE_HTTP2) {
                        w->n.unbegun++;
                        return;
                }
                begin_stream(w, c);
                in.flags = BH_WEB_OPEN | (c->plan->level >= 3 ? BH_WEB_STRICT : 0) | (c->server ? 0 : BH_WEB_UNJUDGED);
        }
        in.connection = c->serial;
        in.flags |= from_client ? BH_WEB_CLIENT : 0;
        if (!in_order(w, c, from_client, p, &in))
                return;
        if (from_client)
                note_reader(c, p);
        /* of HTTP/2 the inspector alone can tell where a request begins */
        if (from_client && c->server && c->state < STATE_HTTP2 && p->protocol != BH_PAYLOAD_HTTP2) {
                if (request)
                        begin_request(w, c, p);
                else
                        continue_request(c, p);
        }
        if (!submit(w, c, &in))
                end_stream(w, c, p->time_ns);
}

static void closed(BhWebWatch *w, const BhPayloadPiece *p, gboolean tls) {
        BhWebConn key = { .connection = p->connection, .tls = tls }, *c = g_hash_table_lookup(w->conns, &key);
        BhWebInput in = { .flags = BH_WEB_CLOSE, .at_ns = p->time_ns, .client = "", .server = "" };

        if (!c)
                return;
        in.connection = c->serial;
        if (c->serial && c->epoch == w->epoch && submit(w, c, &in)) {
                /* its last answer frees it */
                c->closing = TRUE;
                g_hash_table_remove(w->conns, c);
                return;
        }
        bh_web_end_open(w, c, p->time_ns);
        conn_free(w, c);
}

static gboolean of_interest(const BhPayloadPiece *p) {
        return p->flags & BH_PAYLOAD_TLS || p->protocol == BH_PAYLOAD_HTTP1 || p->protocol == BH_PAYLOAD_PROXY || p->protocol == BH_PAYLOAD_HTTP2 || (p->protocol == BH_PAYLOAD_UNDECIDED && begins_request(p));
}

void bh_web_watch_piece(BhWebWatch *w, const BhPayloadPiece *p) {
        gboolean tls = (p->flags & BH_PAYLOAD_TLS) != 0;
        BhWebConn key = { .connection = p->connection, .tls = tls };

        g_mutex_lock(&w->lock);
        w->n.pieces++;
        if (p->flags & BH_PAYLOAD_CLOSE) {
                closed(w, p, FALSE);
                closed(w, p, TRUE);
        } else if (p->flags & BH_PAYLOAD_TLS_CLOSED) {
                w->n.tls_closed++;
        } else if (p->protocol == BH_PAYLOAD_TLS_HELLO && !tls) {
                /* it was TLS that stood behind what a proxy said: what is to be read is its clear text */
                closed(w, p, FALSE);
        } else if (of_interest(p) && p->len) {
                BhWebConn *c = g_hash_table_lookup(w->conns, &key);

                if (!c)
                        c = conn_new(w, p, tls);
                g_queue_unlink(&w->quiet, &c->link);
                g_queue_push_tail_link(&w->quiet, &c->link);
                c->proxied &= p->protocol == BH_PAYLOAD_PROXY;
                if (!c->done)
                        feed(w, c, p);
                else if (w->c.ignore && !c->proxied) /* another connection's word may have come between: see bh_payload_ignore() */
                        w->c.ignore(c->connection, c->sk, w->c.data);
        }
        g_mutex_unlock(&w->lock);
}

/* ---- from the inspector */

/* The first piece that a dead process had is the one that it worked on. */
static void on_lost(BhWebWatch *w, BhWebConn *c, const BhInspectAnswer *a) {
        gboolean death = a->lost == BH_INSPECT_LOST_DIED || a->lost == BH_INSPECT_LOST_HUNG || a->lost == BH_INSPECT_LOST_RUBBISH;

        w->n.lost[a->lost]++;
        if (!death) {
                if (c && c->closing)
                        conn_free(w, c); /* nothing else is to come that would */
                else if (c)
                        end_stream(w, c, 0);
                return;
        }
        if (g_strcmp0(w->last_problem, a->problem) == 0)
                return;
        g_free(w->last_problem);
        w->last_problem = g_strdup(a->problem);
        w->epoch++;
        if (c) {
                w->n.banned++;
                if (c->closing)
                        conn_free(w, c);
                else
                        done(w, c);
        }
}

static void on_facts(BhWebWatch *w, BhWebConn *c, BhWebFacts *facts) {
        w->n.records_dropped += facts->dropped;
        w->n.partial += facts->partial;
        if (facts->state == BH_WEB_UNKNOWN) {
                w->n.unknown++;
                if (!c->closing) {
                        guint state = c->state;

                        forget_serial(w, c);
                        bh_web_end_open(w, c, 0);
                        c->state = state == STATE_HTTP2 ? state : 0; /* which cannot begin anew */
                }
                return;
        }
        bh_web_take_records(w, c, facts);
        c->state = facts->state;
        if (c->state >= STATE_TUNNEL && !c->closing) {
                w->n.ended_early[MIN(c->state - STATE_TUNNEL, G_N_ELEMENTS(w->n.ended_early) - 1)]++;
                done(w, c);
        }
}

static void on_answer(BhInspectAnswer *answer, gpointer data) {
        g_autofree Feed *f = data;
        BhWebWatch *w = f->w;

        g_mutex_lock(&w->lock);
        BhWebConn *c = g_hash_table_lookup(w->serials, &f->serial);
        w->waiting--;
        f->share->waiting--;
        drop_if_idle(w, f->share);
        if (c && c->under_way)
                c->under_way--;
        if (answer->status == BH_INSPECT_LOST) {
                on_lost(w, c, answer);
        } else if (!answer->web) {
                w->n.malformed++;
                if (c && !c->closing)
                        end_stream(w, c, 0);
        } else if (c) {
                on_facts(w, c, answer->web);
        }
        c = g_hash_table_lookup(w->serials, &f->serial);
        if (f->close && c && c->closing)
                conn_free(w, c);
        g_mutex_unlock(&w->lock);
}

/* ---- life */

static void on_problem(const char *problem, gpointer data) {
        BhWebWatch *w = data;
        BhInspectClient *client = g_atomic_pointer_get(&w->client); /* NULL: its thread was faster than its maker */
        BhInspectStats stats = { 0 };

        if (client)
                bh_inspect_client_stats(client, &stats);
        if (w->c.problem)
                w->c.problem(problem, stats.starts <= stats.start_failures, w->c.data);
}

static void publish(GBytes *body, gpointer data) {
        BhWebWatch *w = data;

        w->c.publish(body, w->c.data);
}

BhWebWatch *bh_web_watch_new(const BhWebWatchConfig *config, GError **error) {
        BhWebWatch *w = g_new0(BhWebWatch, 1);
        BhInspectConfig inspect = { .program = config->program, .max_requests = BH_WEB_WAITING, .max_bytes = BH_WEB_WAITING_BYTES, .on_problem = on_problem, .data = w };

        w->c = *config;
        w->node = g_strdup(config->node);
        w->c.node = w->node;
        w->program = g_strdup(config->program);
        w->c.program = w->program;
        g_mutex_init(&w->lock);
        w->conns = g_hash_table_new(conn_hash, conn_equal);
        w->serials = g_hash_table_new(g_int64_hash, g_int64_equal);
        w->shares = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
        w->off = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        w->words = bh_waf_words_new(NULL, NULL); /* NULL: nothing is passed over */
        w->requests = bh_web_requests_new();
        w->endpoints = bh_web_endpoints_new();
        w->alerts = bh_net_alerts_new(w->node, publish, w);
        BhInspectClient *client = bh_inspect_client_new(&inspect, error);
        if (!client) {
                bh_web_watch_free(w);
                return NULL;
        }
        g_atomic_pointer_set(&w->client, client);
        return w;
}

gboolean bh_web_watch_wait(BhWebWatch *w, guint timeout_ms, GError **error) {
        return bh_inspect_client_wait(w->client, timeout_ms, error);
}

void bh_web_watch_free(BhWebWatch *w) {
        if (!w)
                return;
        bh_inspect_client_free(w->client);
        bh_web_watch_round(w, NULL, G_MAXINT64 / 2);
        bh_web_tell_late(w, NULL, 0, TRUE);
        bh_net_alerts_free(w->alerts);
        while (w->quiet.length)
                conn_free(w, w->quiet.head->data);
        g_queue_clear_full(&w->suspects, (GDestroyNotify) bh_web_suspect_free);
        g_queue_clear_full(&w->ready, (GDestroyNotify) bh_web_suspect_free);
        bh_web_endpoints_free(w->endpoints);
        bh_web_requests_free(w->requests);
        bh_waf_words_free(w->words);
        g_hash_table_unref(w->conns);
        g_hash_table_unref(w->serials);
        g_hash_table_unref(w->shares);
        g_hash_table_unref(w->off);
        g_free(w->last_problem);
        g_free(w->node);
        g_free(w->program);
        g_mutex_clear(&w->lock);
        g_free(w);
}

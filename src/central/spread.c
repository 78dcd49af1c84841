/* SPDX-License-Identifier: Apache-2.0 */
#include "spread.h"

#include <sodium.h>
#include <string.h>

#include "base/log.h"
#include "json_out.h"
#include "store/store_texts.h"

#define TICK_US (G_USEC_PER_SEC)
#define SEND_SECONDS 60 /* a node that has not answered by then is asked again */
#define AGAIN_SECONDS 30 /* after a failure that is not what is sent's */

typedef struct {
        char *name;
        char *digest;        /* sent last */
        char *error;         /* NULL: none */
        gboolean pending, refused;
        gint64 asked_us, time_ns;
        guint64 asked; /* how often: tells the answer that counts, which may come before the request has its handle */
        BhBusRequest *request;
} Node;

struct BhSpread {
        gatomicrefcount refs;
        BhCentral *central;
        BhSpreadWhat what;
        gpointer data;
        GMutex lock;
        GCond moved;
        GThread *thread;
        gboolean stopping;
        guint64 changes, made; /* how often it changed; at which of them `digest` was made: until they are equal, nobody has it */
        char *digest;
        GHashTable *nodes; /* name -> Node */
        /* the thread's */
        GBytes *body;
        guint64 asked; /* requests made; a node that comes back begins with another number */
};

static void node_free(gpointer p) {
        Node *n = p;

        g_clear_pointer(&n->request, bh_bus_request_unref);
        g_free(n->name);
        g_free(n->digest);
        g_free(n->error);
        g_free(n);
}

static void spread_unref(BhSpread *r) {
        if (!g_atomic_ref_count_dec(&r->refs))
                return;
        g_hash_table_unref(r->nodes);
        g_clear_pointer(&r->body, g_bytes_unref);
        g_free(r->digest);
        g_mutex_clear(&r->lock);
        g_cond_clear(&r->moved);
        g_free(r);
}

/* Within the lock, which it lets go of meanwhile. FALSE: not now; logged. */
static gboolean renew(BhSpread *r) {
        char *digest = NULL;
        guint64 made = r->changes;

        g_mutex_unlock(&r->lock);
        GBytes *body = r->what.pack(r->data, &digest);
        g_mutex_lock(&r->lock);
        if (!body)
                return FALSE;
        g_clear_pointer(&r->body, g_bytes_unref);
        r->body = body;
        g_free(r->digest);
        r->digest = digest;
        r->made = made;
        return TRUE;
}

typedef struct {
        BhSpread *spread;
        char *node;
        guint64 asked;
} Sent;

static void sent_free(gpointer data) {
        Sent *s = data;

        spread_unref(s->spread);
        g_free(s->node);
        g_free(s);
}

/* Nothing is answered but the end. */
static void on_chunk(BhBusRequest *request, GBytes *chunk, guint64 dropped, gpointer data) {
}

static void on_end(BhBusRequest *request, const char *error, gpointer data) {
        Sent *s = data;

        g_mutex_lock(&s->spread->lock);
        Node *n = g_hash_table_lookup(s->spread->nodes, s->node);
        if (n && n->pending && n->asked == s->asked) {
                n->pending = FALSE;
                n->refused = error && s->spread->what.refused(error);
                n->time_ns = g_get_real_time() * 1000;
                g_free(n->error);
                n->error = error ? g_utf8_make_valid(error, -1) : NULL;
                if (error)
                        bh_warn("a node did not take what it was sent", "question", s->spread->what.question, "node", s->node, "error", error);
        }
        g_mutex_unlock(&s->spread->lock);
}

static gboolean to_be_asked(const BhSpread *r, const Node *n, gint64 now_us) {
        if (n->pending)
                return now_us - n->asked_us > SEND_SECONDS * G_USEC_PER_SEC;
        if (g_strcmp0(n->digest, r->digest) != 0)
                return TRUE;
        return n->error && !n->refused && now_us - n->asked_us > AGAIN_SECONDS * G_USEC_PER_SEC;
}

static void send(BhSpread *r, Node *n, gint64 now_us) {
        g_autoptr(GError) error = NULL;
        Sent *s = g_new0(Sent, 1);

        s->spread = r;
        g_atomic_ref_count_inc(&r->refs);
        s->node = g_strdup(n->name);
        if (n->request)
                bh_bus_request_cancel(n->request);
        g_clear_pointer(&n->request, bh_bus_request_unref);
        n->pending = TRUE;
        s->asked = n->asked = ++r->asked;
        n->asked_us = now_us;
        g_free(n->digest);
        n->digest = g_strdup(r->digest);
        g_mutex_unlock(&r->lock); /* the answer may come within the call */
        BhBusRequest *request = bh_bus_request(r->central->bus, s->node, r->what.question, r->body, 1, on_chunk, on_end, s, sent_free, &error);
        g_mutex_lock(&r->lock);
        n->request = request;
        if (!request) {
                n->pending = n->refused = FALSE; /* the connection's fault: asked again */
                g_free(n->error);
                n->error = g_strdup(error->message);
        }
}

static gpointer work(gpointer data) {
        BhSpread *r = data;

        g_mutex_lock(&r->lock);
        while (!r->stopping) {
                if (r->made != r->changes && !renew(r)) {
                        g_cond_wait_until(&r->moved, &r->lock, g_get_monotonic_time() + TICK_US);
                        continue;
                }

                g_auto(GStrv) here = bh_bus_listener_nodes(r->central->bus);
                gint64 now_us = g_get_monotonic_time();
                GHashTableIter it;
                Node *n;

                g_hash_table_iter_init(&it, r->nodes);
                while (g_hash_table_iter_next(&it, NULL, (gpointer *) &n))
                        if (!g_strv_contains((const char *const *) here, n->name))
                                g_hash_table_iter_remove(&it);
                for (guint i = 0; here[i]; i++) {
                        if (!(n = g_hash_table_lookup(r->nodes, here[i]))) {
                                n = g_new0(Node, 1);
                                n->name = g_strdup(here[i]);
                                g_hash_table_insert(r->nodes, n->name, n);
                        }
                        if (to_be_asked(r, n, now_us))
                                send(r, n, now_us);
                }
                if (!r->stopping && r->made == r->changes)
                        g_cond_wait_until(&r->moved, &r->lock, g_get_monotonic_time() + TICK_US);
        }
        g_mutex_unlock(&r->lock);
        return NULL;
}

BhSpread *bh_spread_new(BhCentral *c, const BhSpreadWhat *what, gpointer data) {
        BhSpread *r = g_new0(BhSpread, 1);

        g_atomic_ref_count_init(&r->refs);
        r->central = c;
        r->what = *what;
        r->data = data;
        r->changes = 1; /* nothing is made yet */
        g_mutex_init(&r->lock);
        g_cond_init(&r->moved);
        r->nodes = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, node_free);
        r->thread = g_thread_new(what->thread, work, r);
        return r;
}

char *bh_spread_digest(const GPtrArray *texts) {
        crypto_generichash_state hash;
        guint8 sum[16];
        char hex[2 * sizeof(sum) + 1];

        crypto_generichash_init(&hash, NULL, 0, sizeof(sum));
        for (guint i = 0; i < texts->len; i++) {
                const BhStoreText *t = texts->pdata[i];

                crypto_generichash_update(&hash, (const guint8 *) t->name, strlen(t->name) + 1);
                crypto_generichash_update(&hash, (const guint8 *) t->text, strlen(t->text) + 1);
        }
        crypto_generichash_final(&hash, sum, sizeof(sum));
        sodium_bin2hex(hex, sizeof(hex), sum, sizeof(sum));
        return g_strdup(hex);
}

void bh_spread_stop(BhSpread *r) {
        if (!r || !r->thread)
                return;
        g_mutex_lock(&r->lock);
        r->stopping = TRUE;
        g_cond_signal(&r->moved);
        g_mutex_unlock(&r->lock);
        g_thread_join(g_steal_pointer(&r->thread));
}

void bh_spread_free(BhSpread *r) {
        if (!r)
                return;
        bh_spread_stop(r);
        spread_unref(r);
}

void bh_spread_node_up(BhSpread *r, const char *node) {
        if (!r)
                return;
        g_mutex_lock(&r->lock);
        Node *n = g_hash_table_lookup(r->nodes, node);
        if (n) { /* an answer that is under way is another connection's */
                n->pending = FALSE;
                g_clear_pointer(&n->digest, g_free);
        }
        g_cond_signal(&r->moved);
        g_mutex_unlock(&r->lock);
}

void bh_spread_changed(BhSpread *r) {
        if (!r)
                return;
        g_mutex_lock(&r->lock);
        r->changes++;
        g_cond_signal(&r->moved);
        g_mutex_unlock(&r->lock);
}

/* What is not made yet, or was another one, is on its way: who asks after a change must not be told that it is there. */
static const char *state_of(const BhSpread *r, const Node *n) {
        if (n->pending || r->made != r->changes || g_strcmp0(n->digest, r->digest) != 0)
                return "sending";
        return n->refused ? "refused" : n->error ? "failed" : "current";
}

void bh_spread_append_nodes(BhSpread *r, GString *out) {
        GHashTableIter it;
        Node *n;

        bh_json_open(out, "nodes", '[');
        g_mutex_lock(&r->lock);
        g_hash_table_iter_init(&it, r->nodes);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &n)) {
                bh_json_open(out, NULL, '{');
                bh_json_text(out, "node", n->name);
                bh_json_text(out, "state", state_of(r, n));
                bh_json_text(out, "error", n->error);
                bh_json_time(out, "time", n->time_ns);
                bh_json_close(out, '}');
        }
        g_mutex_unlock(&r->lock);
        bh_json_close(out, ']');
}

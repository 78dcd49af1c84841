/* SPDX-License-Identifier: Apache-2.0 */
#include "hub.h"

#include <string.h>

#include "auth.h"
#include "base/log.h"
#include "incidents.h"
#include "policies.h"
#include "responses.h"
#include "json_out.h"
#include "views.h"

#define POLL_SECONDS 2 /* other processes write as well, unheard */
#define TURN_US (G_USEC_PER_SEC / 4) /* of feeding, before rights, newcomers and beats are looked at again */

typedef struct {
        BhHttpStream *stream;
        BhIdentity who;
        gboolean reads;
        guint64 after;
        gint64 beat_us; /* when something was written last */
        guint64 graph;  /* generation of the map that it was told */
} Reader;

struct BhHub {
        BhCentral *central;
        GThread *thread;
        GMutex lock;
        GCond woken;
        gboolean wake, recheck, stopping;
        GPtrArray *added; /* Readers that the thread has not taken over */
        GPtrArray *readers; /* the thread's own */
        GHashTable *per_user; /* name -> count, with the lock */
        guint count;
        guint64 graph; /* with the lock; 0: nothing to tell */
};

static void reader_free(gpointer data) {
        Reader *r = data;

        bh_http_stream_end(r->stream);
        bh_http_stream_unref(r->stream);
        bh_identity_clear(&r->who);
        g_free(r);
}

/* ---- what a change looks like ---- */

static void append_object(BhCentral *c, GString *out, const BhStoreChange *change) {
        if (change->kind == BH_STORE_CHANGE_CONTAINER) {
                const char *slash = strchr(change->key, '/');
                g_autofree char *node = slash ? g_strndup(change->key, (gsize) (slash - change->key)) : NULL;
                g_autoptr(BhStoreContainer) x = slash ? bh_store_container(c->store, node, slash + 1, NULL) : NULL;

                if (x)
                        bh_view_container(out, "object", x);
        } else if (change->kind == BH_STORE_CHANGE_FINDING) {
                g_autoptr(BhStoreFinding) x = bh_store_finding(c->store, change->key, NULL);

                if (x)
                        bh_view_finding(out, "object", x);
        } else if (change->kind == BH_STORE_CHANGE_RESOURCE) {
                g_autoptr(BhStoreResource) x = bh_store_resource(c->store, g_ascii_strtoll(change->key, NULL, 10), NULL);

                if (x)
                        bh_view_resource(out, "object", x);
        } else if (change->kind == BH_STORE_CHANGE_INCIDENT) {
                g_autoptr(BhStoreIncident) x = bh_store_incident(c->store, g_ascii_strtoull(change->key, NULL, 10), NULL);

                if (x)
                        bh_view_incident(out, "object", x);
        } else if (change->kind == BH_STORE_CHANGE_RESPONSE) {
                g_autoptr(BhStoreResponse) x = bh_store_response(c->store, change->key, NULL);

                if (x)
                        bh_view_response(out, "object", x, FALSE);
        } else if (change->kind == BH_STORE_CHANGE_POLICY) {
                g_autoptr(BhStoreText) x = bh_store_policy(c->store, change->key, NULL);

                if (x)
                        bh_view_policy(c->store, out, "object", x, FALSE);
        } else if (change->kind == BH_STORE_CHANGE_NODE) {
                BhStoreNode *x = bh_store_node(c->store, change->key, NULL);

                if (x) {
                        bh_view_node(out, "object", x, FALSE);
                        bh_store_node_free(x);
                }
        }
}

static void append_change(BhCentral *c, GString *out, const BhStoreChange *change) {
        g_autoptr(GString) data = g_string_new(NULL);

        bh_json_open(data, NULL, '{');
        bh_json_text(data, "kind", bh_store_change_kind_name(change->kind));
        bh_json_text(data, "key", change->key);
        bh_json_time(data, "time", change->time_ns);
        append_object(c, data, change);
        bh_json_close(data, '}');
        bh_json_end(data);
        bh_sse_append(out, change->id, bh_store_change_kind_name(change->kind), data->str);
}

/* What a batch says, to an administrator and to others, who do not see the audit log. */
typedef struct {
        guint64 after, upto;
        GString *all, *common;
        gboolean gap;
} Batch;

static void batch_clear(Batch *b) {
        if (b->all)
                g_string_free(b->all, TRUE);
        if (b->common)
                g_string_free(b->common, TRUE);
        *b = (Batch){ 0 };
}

static gboolean batch_load(BhHub *h, Batch *b, guint64 after) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GPtrArray) changes = bh_store_changes_after(h->central->store, after, BH_HUB_BATCH, &b->gap, &error);
        g_autoptr(GHashTable) newest = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

        if (!changes) {
                bh_error("cannot read what changed", "error", error->message);
                return FALSE;
        }
        b->after = b->upto = after;
        b->all = g_string_new(NULL);
        b->common = g_string_new(NULL);
        if (b->gap)
                return bh_store_changes_last(h->central->store, &b->upto, NULL);
        for (guint i = 0; i < changes->len; i++) {
                const BhStoreChange *c = changes->pdata[i];

                g_hash_table_insert(newest, g_strdup_printf("%d %s", c->kind, c->key), (gpointer) c);
        }
        for (guint i = 0; i < changes->len; i++) {
                const BhStoreChange *c = changes->pdata[i];
                g_autofree char *key = g_strdup_printf("%d %s", c->kind, c->key);

                b->upto = c->id;
                if (g_hash_table_lookup(newest, key) != c)
                        continue;
                gsize from = b->all->len;
                append_change(h->central, b->all, c);
                if (c->kind != BH_STORE_CHANGE_AUDIT)
                        g_string_append_len(b->common, b->all->str + from, (gssize) (b->all->len - from));
        }
        return TRUE;
}

/* ---- readers ---- */

static gboolean put(Reader *r, const char *text, gsize len) {
        if (!bh_http_stream_put(r->stream, text, len))
                return FALSE;
        r->beat_us = g_get_monotonic_time();
        return TRUE;
}

/* TRUE when the reader moved on, and there may be more. */
static gboolean feed(BhHub *h, Reader *r, Batch *cache) {
        if (bh_http_stream_room(r->stream) < BH_HUB_BUFFER / 2)
                return FALSE; /* it reads slowly: later */
        if (!cache->all || cache->after != r->after) {
                batch_clear(cache);
                if (!batch_load(h, cache, r->after))
                        return FALSE;
        }
        if (cache->gap) {
                g_autoptr(GString) text = g_string_new(NULL);

                bh_sse_append(text, cache->upto, "reset", "{\"reason\":\"what changed since then is not known any more: load everything anew\"}");
                if (!put(r, text->str, text->len))
                        return FALSE;
        } else {
                const GString *text = r->who.role >= BH_STORE_ROLE_ADMIN ? cache->all : cache->common;

                if (cache->upto == r->after)
                        return FALSE;
                if (text->len && !put(r, text->str, text->len)) {
                        /* larger than the buffer ever is: containers with a great many labels; the client asks for the lists instead */
                        static const char reset[] = "event: reset\ndata: {\"reason\":\"too much changed at once: load everything anew\"}\n\n";

                        if (text->len < BH_HUB_BUFFER || !put(r, reset, sizeof(reset) - 1))
                                return FALSE;
                }
        }
        r->after = cache->upto;
        return TRUE;
}

/* TRUE when there is more to feed. */
/* Not of the change log: the newest is all that counts. A reader without room is told the next one. */
static void tell_graph(BhHub *h) {
        g_autoptr(GString) text = NULL;

        g_mutex_lock(&h->lock);
        guint64 generation = h->graph;
        g_mutex_unlock(&h->lock);
        for (guint i = 0; generation && i < h->readers->len; i++) {
                Reader *r = h->readers->pdata[i];

                if (!r->reads || r->graph == generation)
                        continue;
                if (!text) {
                        g_autofree char *data = g_strdup_printf("{\"kind\":\"graph\",\"generation\":%" G_GUINT64_FORMAT "}", generation);

                        text = g_string_new(NULL);
                        bh_sse_append(text, 0, "graph", data);
                }
                if (put(r, text->str, text->len))
                        r->graph = generation;
        }
}

static gboolean serve(BhHub *h, gboolean recheck) {
        Batch cache = { 0 };
        gint64 now = g_get_monotonic_time();
        gboolean more = TRUE;

        for (guint i = h->readers->len; i-- > 0;) {
                Reader *r = h->readers->pdata[i];

                if (bh_http_stream_gone(r->stream) || (recheck && !bh_auth_still(h->central, &r->who))) {
                        g_mutex_lock(&h->lock);
                        guint n = GPOINTER_TO_UINT(g_hash_table_lookup(h->per_user, r->who.name));
                        if (n > 1)
                                g_hash_table_insert(h->per_user, g_strdup(r->who.name), GUINT_TO_POINTER(n - 1));
                        else
                                g_hash_table_remove(h->per_user, r->who.name);
                        h->count--;
                        g_mutex_unlock(&h->lock);
                        g_ptr_array_remove_index_fast(h->readers, i);
                }
        }
        /* for a while only: readers that are far behind, or changes that never pause, must not keep who was logged out on the stream */
        for (gint64 begun = g_get_monotonic_time(); more && !bh_http_stopping(h->central->http) && g_get_monotonic_time() - begun < TURN_US;) {
                more = FALSE;
                for (guint i = 0; i < h->readers->len; i++)
                        if (((Reader *) h->readers->pdata[i])->reads)
                                more |= feed(h, h->readers->pdata[i], &cache);
        }
        batch_clear(&cache);
        tell_graph(h);
        for (guint i = 0; i < h->readers->len; i++) {
                Reader *r = h->readers->pdata[i];

                if (r->reads && now - r->beat_us > BH_HUB_BEAT_SECONDS * G_USEC_PER_SEC)
                        put(r, ": beat\n\n", 8);
        }
        return more && !bh_http_stopping(h->central->http);
}

static gpointer run(gpointer data) {
        BhHub *h = data;
        gint64 checked = 0;
        gboolean more = FALSE;

        for (;;) {
                gint64 until = g_get_monotonic_time() + POLL_SECONDS * G_USEC_PER_SEC;

                g_mutex_lock(&h->lock);
                while (!more && !h->wake && !h->recheck && !h->added->len && !h->stopping && g_cond_wait_until(&h->woken, &h->lock, until))
                        ;
                gboolean stopping = h->stopping, recheck = h->recheck;
                h->wake = h->recheck = FALSE;
                while (h->added->len)
                        g_ptr_array_add(h->readers, g_ptr_array_steal_index(h->added, 0));
                g_mutex_unlock(&h->lock);
                if (stopping)
                        return NULL;
                if (g_get_monotonic_time() - checked > BH_HUB_CHECK_SECONDS * G_USEC_PER_SEC)
                        recheck = TRUE;
                if (recheck)
                        checked = g_get_monotonic_time();
                more = serve(h, recheck);
        }
}

/* ---- life ---- */

BhHub *bh_hub_new(BhCentral *c) {
        BhHub *h = g_new0(BhHub, 1);

        h->central = c;
        g_mutex_init(&h->lock);
        g_cond_init(&h->woken);
        h->added = g_ptr_array_new_with_free_func(reader_free);
        h->readers = g_ptr_array_new_with_free_func(reader_free);
        h->per_user = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        h->thread = g_thread_new("bh-hub", run, h);
        return h;
}

void bh_hub_free(BhHub *h) {
        if (!h)
                return;
        g_mutex_lock(&h->lock);
        h->stopping = TRUE;
        g_cond_signal(&h->woken);
        g_mutex_unlock(&h->lock);
        g_thread_join(h->thread);
        g_ptr_array_unref(h->added);
        g_ptr_array_unref(h->readers);
        g_hash_table_unref(h->per_user);
        g_cond_clear(&h->woken);
        g_mutex_clear(&h->lock);
        g_free(h);
}

void bh_hub_wake(BhHub *h) {
        g_mutex_lock(&h->lock);
        h->wake = TRUE;
        g_cond_signal(&h->woken);
        g_mutex_unlock(&h->lock);
}

void bh_hub_graph(BhHub *h, guint64 generation) {
        g_mutex_lock(&h->lock);
        h->graph = generation;
        h->wake = TRUE;
        g_cond_signal(&h->woken);
        g_mutex_unlock(&h->lock);
}

void bh_hub_recheck(BhHub *h) {
        g_mutex_lock(&h->lock);
        h->recheck = TRUE;
        g_cond_signal(&h->woken);
        g_mutex_unlock(&h->lock);
}

gboolean bh_hub_add(BhHub *h, BhHttpStream *s, const BhIdentity *who, const guint64 *after) {
        g_mutex_lock(&h->lock);
        guint n = GPOINTER_TO_UINT(g_hash_table_lookup(h->per_user, who->name));
        gboolean ok = n < BH_STREAMS_PER_USER && h->count < BH_STREAMS_MAX;
        if (ok) {
                Reader *r = g_new0(Reader, 1);

                r->stream = bh_http_stream_ref(s);
                bh_identity_copy(&r->who, who);
                r->reads = after != NULL;
                r->after = after ? *after : 0;
                r->beat_us = g_get_monotonic_time();
                r->graph = h->graph; /* it loads what there is */
                g_hash_table_insert(h->per_user, g_strdup(who->name), GUINT_TO_POINTER(n + 1));
                h->count++;
                g_ptr_array_add(h->added, r);
                g_cond_signal(&h->woken);
        }
        g_mutex_unlock(&h->lock);
        return ok;
}

guint bh_hub_count(BhHub *h) {
        g_mutex_lock(&h->lock);
        guint n = h->count;
        g_mutex_unlock(&h->lock);
        return n;
}

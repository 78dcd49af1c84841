/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "http_private.h"

#define BLOCK 16384

struct BhHttpStream {
        gatomicrefcount refs;
        GMutex lock;
        GCond moved;
        GString *buffer; /* from `read` on it waits for the client */
        gsize read, bound;
        struct MHD_Connection *connection;
        gboolean suspended, ended, gone;
        BhHttpStreamGone on_gone;
        gpointer data;
};

BhHttpStream *bh_http_stream_new(gsize bound) {
        BhHttpStream *s = g_new0(BhHttpStream, 1);

        g_atomic_ref_count_init(&s->refs);
        g_mutex_init(&s->lock);
        g_cond_init(&s->moved);
        s->buffer = g_string_new(NULL);
        s->bound = bound;
        return s;
}

BhHttpStream *bh_http_stream_ref(BhHttpStream *s) {
        g_atomic_ref_count_inc(&s->refs);
        return s;
}

void bh_http_stream_unref(BhHttpStream *s) {
        if (!s || !g_atomic_ref_count_dec(&s->refs))
                return;
        g_string_free(s->buffer, TRUE);
        g_cond_clear(&s->moved);
        g_mutex_clear(&s->lock);
        g_free(s);
}

/* With the lock held: the connection to resume once it is released, NULL for none. A suspended connection cannot end by itself, so the pointer is good. */
static struct MHD_Connection *wake(BhHttpStream *s) {
        struct MHD_Connection *c = s->suspended ? s->connection : NULL;

        s->suspended = FALSE;
        g_cond_broadcast(&s->moved);
        return c;
}

static void resume(struct MHD_Connection *c) {
        if (c)
                MHD_resume_connection(c);
}

static gsize room(BhHttpStream *s) {
        gsize waiting = s->buffer->len - s->read;

        return s->gone || s->ended || waiting >= s->bound ? 0 : s->bound - waiting;
}

gboolean bh_http_stream_put(BhHttpStream *s, const void *data, gsize len) {
        struct MHD_Connection *c = NULL;

        g_mutex_lock(&s->lock);
        gboolean ok = len <= room(s);
        if (ok && len) {
                if (s->read > s->bound) {
                        g_string_erase(s->buffer, 0, (gssize) s->read);
                        s->read = 0;
                }
                g_string_append_len(s->buffer, data, (gssize) len);
                c = wake(s);
        }
        g_mutex_unlock(&s->lock);
        resume(c);
        return ok;
}

gsize bh_http_stream_room(BhHttpStream *s) {
        g_mutex_lock(&s->lock);
        gsize n = room(s);
        g_mutex_unlock(&s->lock);
        return n;
}

gboolean bh_http_stream_wait(BhHttpStream *s, gsize len, guint ms) {
        gint64 until = g_get_monotonic_time() + (gint64) ms * 1000;

        g_mutex_lock(&s->lock);
        while (room(s) < len && !s->gone && !s->ended && g_cond_wait_until(&s->moved, &s->lock, until))
                ;
        gboolean ok = room(s) >= len && !s->gone && !s->ended;
        g_mutex_unlock(&s->lock);
        return ok;
}

void bh_http_stream_end(BhHttpStream *s) {
        g_mutex_lock(&s->lock);
        s->ended = TRUE;
        struct MHD_Connection *c = wake(s);
        g_mutex_unlock(&s->lock);
        resume(c);
}

gboolean bh_http_stream_gone(BhHttpStream *s) {
        g_mutex_lock(&s->lock);
        gboolean gone = s->gone || s->ended;
        g_mutex_unlock(&s->lock);
        return gone;
}

static ssize_t on_read(void *cls, uint64_t pos, char *buf, size_t max) {
        BhHttpStream *s = cls;
        ssize_t n = 0;

        g_mutex_lock(&s->lock);
        gsize waiting = s->buffer->len - s->read;
        if (waiting) {
                n = (ssize_t) MIN(waiting, max);
                memcpy(buf, s->buffer->str + s->read, (gsize) n);
                s->read += (gsize) n;
                if (s->read == s->buffer->len) {
                        g_string_truncate(s->buffer, 0);
                        s->read = 0;
                }
                g_cond_broadcast(&s->moved);
        } else if (s->ended) {
                n = MHD_CONTENT_READER_END_OF_STREAM;
        } else {
                s->suspended = TRUE;
                MHD_suspend_connection(s->connection);
        }
        g_mutex_unlock(&s->lock);
        return n;
}

static void on_free(void *cls) {
        BhHttpStream *s = cls;

        g_mutex_lock(&s->lock);
        s->gone = TRUE;
        s->connection = NULL;
        g_cond_broadcast(&s->moved);
        g_mutex_unlock(&s->lock);
        s->on_gone(s, s->data);
        bh_http_stream_unref(s);
}

struct MHD_Response *bh_http_stream_response(BhHttpStream *s, struct MHD_Connection *connection, BhHttpStreamGone gone, gpointer data) {
        struct MHD_Response *response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, on_read, s, on_free);

        if (!response)
                return NULL;
        g_mutex_lock(&s->lock);
        s->connection = connection;
        s->on_gone = gone;
        s->data = data;
        g_mutex_unlock(&s->lock);
        bh_http_stream_ref(s);
        return response;
}

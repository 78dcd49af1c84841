/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/http2.h"

#include <nghttp2/nghttp2.h>
#include <string.h>

#include "parse/bytes.h"

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION };
enum { END_STREAM = 1, END_HEADERS = 4, PADDED = 8, WITH_PRIORITY = 32 };

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

typedef struct {
        guint32 id;
        BhHttpMessage *request, *response;
        BhHttpBody *request_body, *response_body;
        gboolean told; /* the request was */
} Stream;

typedef struct {
        nghttp2_hd_inflater *fields;
        guint preface_left;
        guint8 head[9];
        guint head_len;
        /* the frame that it is in */
        guint8 type, flags;
        guint32 stream;
        gsize left;       /* bytes of its payload to come */
        gsize padding;    /* of DATA: of `left`, bytes at its end */
        gboolean pad_byte; /* of DATA: the length of the padding comes first */
        GByteArray *payload; /* of frames that are read whole */
        /* the block of fields that it is in */
        gboolean in_block, block_ends_stream, trailer;
        guint32 block_stream; /* the stream that the block belongs to; of a promise: the promised one */
        gsize block_len, block_text;
        BhHttpMessage *m;     /* what its fields go to; NULL: nowhere */
        gboolean regular;     /* a field that is no pseudo field came */
        gint64 now_ns;
} Side;

struct BhHttp2 {
        gsize keep;
        BhHttpSink sink;
        gboolean broken;
        Side client, server;
        GHashTable *streams; /* id → Stream */
        guint32 last;        /* highest id that a client began */
        guint64 dropped;
};

static void stream_free(gpointer p) {
        Stream *s = p;

        bh_http_body_free(s->request_body, FALSE);
        bh_http_body_free(s->response_body, FALSE);
        bh_http_message_free(s->request);
        bh_http_message_free(s->response);
        g_free(s);
}

static void side_init(Side *s, guint preface_len) {
        s->preface_left = preface_len;
        s->payload = g_byte_array_new();
        if (nghttp2_hd_inflate_new(&s->fields))
                g_error("no memory for the fields of HTTP/2");
        /* a sender may use what the other side allowed, which may not be known here: the table grows only when the sender says so */
        nghttp2_hd_inflate_change_table_size(s->fields, BH_HTTP2_TABLE_MAX);
}

static Stream *stream_new(BhHttp2 *p, guint32 id) {
        if (g_hash_table_size(p->streams) >= BH_HTTP2_STREAMS_MAX) {
                p->dropped++;
                return NULL;
        }
        Stream *s = g_new0(Stream, 1);
        s->id = id;
        g_hash_table_insert(p->streams, GUINT_TO_POINTER(id), s);
        return s;
}

static Stream *stream_of(BhHttp2 *p, guint32 id) {
        return g_hash_table_lookup(p->streams, GUINT_TO_POINTER(id));
}

BhHttp2 *bh_http2_new(gsize body_keep, const BhHttpSink *sink, BhHttpMessage *upgraded) {
        BhHttp2 *p = g_new0(BhHttp2, 1);

        p->keep = body_keep ? body_keep : BH_HTTP_BODY_KEEP;
        p->sink = *sink;
        p->streams = g_hash_table_new_full(NULL, NULL, NULL, stream_free);
        side_init(&p->client, sizeof(preface) - 1);
        side_init(&p->server, 0);
        if (upgraded) {
                Stream *s = stream_new(p, 1);

                s->request = upgraded;
                s->told = TRUE;
                p->last = 1;
        }
        return p;
}

/* ---- messages */

static void check_length(BhHttpMessage *m, gboolean body) {
        const char *length = m ? bh_http_field(m, "content-length") : NULL;

        /* what a proxy that goes on in HTTP/1.1 would believe */
        if (length && body && g_ascii_strtoull(length, NULL, 10) != m->body_bytes && !(m->anomalies & (BH_HTTP_CUT | BH_HTTP_GAP)))
                m->anomalies |= BH_HTTP_LENGTHS;
}

static void request_ends(BhHttp2 *p, Stream *s, guint32 anomalies) {
        if (s->told || !s->request)
                return;
        s->request->anomalies |= anomalies;
        bh_http_body_free(g_steal_pointer(&s->request_body), !anomalies);
        s->request->end_ns = p->client.now_ns;
        check_length(s->request, TRUE);
        s->told = TRUE;
        if (p->sink.request)
                p->sink.request(s->request, p->sink.data);
}

/* A side may be in a block of a stream that the other side ends. */
static void forget(Side *side, const Stream *s) {
        if (side->m && (side->m == s->request || side->m == s->response))
                side->m = NULL;
}

/* The stream is over, as far as both sides said. */
static void exchange_ends(BhHttp2 *p, Stream *s, guint32 anomalies) {
        g_hash_table_steal(p->streams, GUINT_TO_POINTER(s->id));
        forget(&p->client, s);
        forget(&p->server, s);
        /* a server may answer before the request has ended */
        request_ends(p, s, BH_HTTP_CUT);
        if (s->response) {
                s->response->anomalies |= anomalies;
                bh_http_body_free(g_steal_pointer(&s->response_body), !anomalies);
                s->response->end_ns = p->server.now_ns;
                check_length(s->response, !s->request || strcmp(s->request->method, "HEAD") != 0);
        }
        if (s->request || s->response) {
                BhHttpExchange x = { g_steal_pointer(&s->request), g_steal_pointer(&s->response) };

                if (p->sink.exchange)
                        p->sink.exchange(&x, p->sink.data);
                bh_http_message_free(x.request);
                bh_http_message_free(x.response);
        }
        stream_free(s);
}

static void break_off(BhHttp2 *p) {
        p->broken = TRUE;
        for (guint i = 0; i < 2; i++) {
                Side *s = i ? &p->server : &p->client;

                if (s->m)
                        s->m->anomalies |= BH_HTTP_FRAMES_BAD;
                s->m = NULL;
        }
}

/* ---- fields */

static void set_text(char **to, const guint8 *v, gsize n) {
        g_free(*to);
        *to = g_malloc(n + 1);
        for (gsize i = 0; i < n; i++)
                (*to)[i] = v[i] ? (char) v[i] : '?';
        (*to)[n] = 0;
}

static gboolean name_is(const nghttp2_nv *nv, const char *name) {
        return nv->namelen == strlen(name) && memcmp(nv->name, name, nv->namelen) == 0;
}

static void take_pseudo(Side *s, gboolean client, const nghttp2_nv *nv) {
        BhHttpMessage *m = s->m;
        char **to = NULL;

        if (client && name_is(nv, ":method"))
                to = &m->method;
        else if (client && name_is(nv, ":path"))
                to = &m->target;
        else if (client && name_is(nv, ":authority"))
                to = &m->authority;
        else if (client && name_is(nv, ":scheme"))
                to = &m->scheme;
        if (s->regular || (to && **to))
                m->anomalies |= BH_HTTP_FRAMES_BAD;
        if (to) {
                set_text(to, nv->value, nv->valuelen);
                for (gsize i = 0; i < nv->valuelen && to == &m->target; i++)
                        if (nv->value[i] <= 0x20 || nv->value[i] >= 0x7f)
                                m->anomalies |= BH_HTTP_TARGET_BAD;
        } else if (!client && name_is(nv, ":status") && nv->valuelen == 3 && nv->value[0] >= '1' && nv->value[0] <= '9' && g_ascii_isdigit(nv->value[1]) && g_ascii_isdigit(nv->value[2])) {
                m->status = (guint) (nv->value[0] - '0') * 100u + (guint) (nv->value[1] - '0') * 10u + (guint) (nv->value[2] - '0');
        } else if (!client || !name_is(nv, ":protocol")) {
                m->anomalies |= BH_HTTP_FRAMES_BAD;
        }
}

static void take_field(Side *s, gboolean client, const nghttp2_nv *nv) {
        BhHttpMessage *m = s->m;

        s->block_text += nv->namelen + nv->valuelen;
        if (!m || s->trailer)
                return;
        m->head_bytes += nv->namelen + nv->valuelen;
        if (s->block_text > BH_HTTP_HEAD_MAX) {
                m->fields_dropped++;
                m->anomalies |= BH_HTTP_HEAD_BOUND;
                return;
        }
        if (nv->namelen && nv->name[0] == ':') {
                take_pseudo(s, client, nv);
                return;
        }
        s->regular = TRUE;
        /* what must not be there, and what becomes another field where it is written down as HTTP/1.1 */
        for (gsize i = 0; i < nv->namelen; i++)
                if (g_ascii_isupper(nv->name[i]) || nv->name[i] <= 0x20 || nv->name[i] == ':' || nv->name[i] >= 0x7f)
                        m->anomalies |= BH_HTTP_FRAMES_BAD;
        for (gsize i = 0; i < nv->valuelen; i++)
                if (nv->value[i] == 0 || nv->value[i] == '\r' || nv->value[i] == '\n')
                        m->anomalies |= BH_HTTP_FRAMES_BAD;
        if (name_is(nv, "transfer-encoding"))
                m->anomalies |= BH_HTTP_CODING_BAD;
        if (name_is(nv, "connection") || name_is(nv, "upgrade") || !nv->namelen)
                m->anomalies |= BH_HTTP_FRAMES_BAD;
        bh_http_add_field(m, (const char *) nv->name, nv->namelen, (const char *) nv->value, nv->valuelen);
}

/* FALSE: the block cannot be decompressed. */
static gboolean inflate_block(Side *s, gboolean client, BhBytes b, gboolean last) {
        const guint8 *in = b.at;
        gsize left = bh_bytes_left(&b);

        for (;;) {
                nghttp2_nv nv;
                int flags = 0;
                ssize_t n = nghttp2_hd_inflate_hd2(s->fields, &nv, &flags, in, left, last);

                if (n < 0)
                        return FALSE;
                if (n) /* nothing is nowhere: no block may have come yet */
                        in += n;
                left -= (gsize) n;
                if (flags & NGHTTP2_HD_INFLATE_EMIT)
                        take_field(s, client, &nv);
                if (flags & NGHTTP2_HD_INFLATE_FINAL) {
                        nghttp2_hd_inflate_end_headers(s->fields);
                        return left == 0;
                }
                if (!left && !(flags & NGHTTP2_HD_INFLATE_EMIT))
                        return !last;
        }
}

static void begin_response(BhHttp2 *p, Side *s, Stream *stream) {
        if (stream->response) {
                s->trailer = TRUE;
                s->m = stream->response;
                return;
        }
        s->m = stream->response = bh_http_message_new();
}

/* Where the fields of the block that begins go to. */
static void begin_block(BhHttp2 *p, Side *s, gboolean client) {
        Stream *stream = stream_of(p, s->block_stream);

        s->in_block = TRUE;
        s->trailer = s->regular = FALSE;
        s->block_len = s->block_text = 0;
        s->m = NULL;
        if (!client && s->type != PUSH_PROMISE) {
                if (stream)
                        begin_response(p, s, stream);
        } else if (stream) {
                s->trailer = TRUE;
                s->m = stream->request;
        } else if (client ? s->block_stream > p->last && s->block_stream & 1 : !(s->block_stream & 1)) {
                if (client)
                        p->last = s->block_stream;
                stream = stream_new(p, s->block_stream);
                if (stream)
                        s->m = stream->request = bh_http_message_new();
        }
        if (s->m && !s->trailer) {
                s->m->version = 20;
                s->m->number = s->block_stream;
                s->m->begin_ns = s->now_ns;
        }
}

/* A body, decoded while not too many others are: each decoder may take BH_HTTP_DECODER_MAX. */
static BhHttpBody *body_for(BhHttp2 *p, BhHttpMessage *m) {
        GHashTableIter i;
        gpointer at;
        guint decoders = 0;

        g_hash_table_iter_init(&i, p->streams);
        while (g_hash_table_iter_next(&i, NULL, &at)) {
                const Stream *s = at;

                decoders += bh_http_body_decodes(s->request_body) + bh_http_body_decodes(s->response_body);
        }
        if (decoders < BH_HTTP2_DECODERS_MAX)
                return bh_http_body_new(m, bh_http_field(m, "content-encoding"), p->keep);
        m->anomalies |= BH_HTTP_COMPRESSION_UNKNOWN;
        return bh_http_body_new(m, NULL, p->keep);
}

static void end_block(BhHttp2 *p, Side *s, gboolean client) {
        Stream *stream = stream_of(p, s->block_stream);
        BhHttpMessage *m = g_steal_pointer(&s->m);

        s->in_block = FALSE;
        if (!stream || !m)
                return;
        gboolean request = m == stream->request;
        if (!s->trailer) {
                if (request && (!*m->method || (!*m->target && strcmp(m->method, "CONNECT") != 0)))
                        m->anomalies |= BH_HTTP_FRAMES_BAD;
                if (request && !client) { /* a promise: nothing more comes of it */
                        request_ends(p, stream, 0);
                        return;
                }
                if (!request && m->status < 200) {
                        if (!m->status)
                                m->anomalies |= BH_HTTP_FRAMES_BAD;
                        else
                                g_clear_pointer(&stream->response, bh_http_message_free);
                        if (!s->block_ends_stream)
                                return;
                } else if (request) {
                        stream->request_body = body_for(p, m);
                } else {
                        stream->response_body = body_for(p, m);
                }
        }
        if (!s->block_ends_stream)
                return;
        if (request)
                request_ends(p, stream, 0);
        else
                exchange_ends(p, stream, 0);
}

static gboolean take_block(BhHttp2 *p, Side *s, gboolean client) {
        BhBytes b = bh_bytes(s->payload->data, s->payload->len);
        gsize padding = 0;

        if (s->type != CONTINUATION) {
                if (s->flags & PADDED)
                        padding = bh_bytes_u8(&b);
                s->block_stream = s->stream;
                if (s->type == PUSH_PROMISE)
                        s->block_stream = bh_bytes_u32(&b) & 0x7fffffffu;
                else if (s->flags & WITH_PRIORITY)
                        bh_bytes_take(&b, 5);
                if (b.bad || padding > bh_bytes_left(&b) || !s->stream || s->in_block || (s->type == PUSH_PROMISE && client))
                        return FALSE;
                if (padding)
                        b.end -= padding;
                s->block_ends_stream = s->type == HEADERS && s->flags & END_STREAM;
                begin_block(p, s, client);
        } else if (!s->in_block) {
                return FALSE;
        }
        s->block_len += bh_bytes_left(&b);
        gboolean last = (s->flags & END_HEADERS) != 0;
        if (s->block_len > BH_HTTP2_BLOCK_MAX || !inflate_block(s, client, b, last))
                return FALSE;
        if (last)
                end_block(p, s, client);
        return TRUE;
}

/* ---- frames */

static gboolean frame_begins(BhHttp2 *p, Side *s) {
        s->left = (gsize) s->head[0] << 16 | (gsize) s->head[1] << 8 | s->head[2];
        s->type = s->head[3];
        s->flags = s->head[4];
        s->stream = ((guint32) s->head[5] << 24 | (guint32) s->head[6] << 16 | (guint32) s->head[7] << 8 | s->head[8]) & 0x7fffffffu;
        s->padding = 0;
        s->pad_byte = s->type == DATA && s->flags & PADDED;
        g_byte_array_set_size(s->payload, 0);
        /* nothing may come between the frames of a block */
        if (s->in_block && s->type != CONTINUATION)
                return FALSE;
        if ((s->type == HEADERS || s->type == PUSH_PROMISE || s->type == CONTINUATION) && s->left > BH_HTTP2_FRAME_MAX)
                return FALSE;
        return !(s->pad_byte && !s->left);
}

static gboolean frame_ends(BhHttp2 *p, Side *s, gboolean client) {
        Stream *stream = stream_of(p, s->stream);

        switch (s->type) {
        case DATA:
                if (!stream || !(s->flags & END_STREAM))
                        return TRUE;
                if (client)
                        request_ends(p, stream, 0);
                else if (stream->response)
                        exchange_ends(p, stream, 0);
                return TRUE;
        case HEADERS:
        case PUSH_PROMISE:
        case CONTINUATION:
                return take_block(p, s, client);
        case RST_STREAM:
                if (stream)
                        exchange_ends(p, stream, BH_HTTP_CUT);
                return TRUE;
        default:
                return TRUE;
        }
}

/* Bytes of DATA, whose padding is at its end. */
static gsize take_data(BhHttp2 *p, Side *s, gboolean client, const guint8 *bytes, gsize len) {
        Stream *stream = stream_of(p, s->stream);
        gsize n;

        if (s->pad_byte) {
                s->pad_byte = FALSE;
                s->left--;
                s->padding = bytes[0];
                if (s->padding > s->left)
                        break_off(p);
                return 1;
        }
        gsize content = s->left - s->padding;
        if (!content) {
                n = MIN(len, s->left);
                s->padding -= n;
        } else {
                BhHttpMessage *m = !stream ? NULL : client ? stream->request : stream->response;
                BhHttpBody *body = !stream ? NULL : client ? stream->request_body : stream->response_body;

                n = MIN(len, content);
                if (m && body && !(client && stream->told))
                        bh_http_body_feed(body, bytes, n);
                else if (m && !(client && stream->told))
                        m->body_bytes += n;
        }
        s->left -= n;
        return n;
}

static gsize take_payload(BhHttp2 *p, Side *s, gboolean client, const guint8 *bytes, gsize len) {
        gsize n = MIN(len, s->left);

        if (s->type == DATA)
                return take_data(p, s, client, bytes, len);
        if (s->type == HEADERS || s->type == PUSH_PROMISE || s->type == CONTINUATION)
                g_byte_array_append(s->payload, bytes, (guint) n);
        s->left -= n;
        return n;
}

gboolean bh_http2_feed(BhHttp2 *p, gboolean client, const guint8 *bytes, gsize len, gint64 at_ns) {
        Side *s = client ? &p->client : &p->server;

        s->now_ns = at_ns;
        for (gsize at = 0; !p->broken && at < len;) {
                if (s->preface_left) {
                        if (bytes[at++] != (guint8) preface[sizeof(preface) - 1 - s->preface_left--])
                                break_off(p);
                        continue;
                }
                if (s->head_len < sizeof(s->head)) {
                        s->head[s->head_len++] = bytes[at++];
                        if (s->head_len < sizeof(s->head))
                                continue;
                        if (!frame_begins(p, s)) {
                                break_off(p);
                                break;
                        }
                } else {
                        at += take_payload(p, s, client, bytes + at, len - at);
                }
                if (s->left || p->broken)
                        continue;
                s->head_len = 0;
                if (!frame_ends(p, s, client))
                        break_off(p);
        }
        return !p->broken;
}

gboolean bh_http2_gap(BhHttp2 *p, gboolean client, guint64 n) {
        Side *s = client ? &p->client : &p->server;
        Stream *stream = stream_of(p, s->stream);

        if (p->broken || !n)
                return !p->broken;
        gboolean fields = s->type == HEADERS || s->type == PUSH_PROMISE || s->type == CONTINUATION;
        if (s->preface_left || s->head_len < sizeof(s->head) || fields || s->pad_byte || n > s->left) {
                break_off(p);
                return FALSE;
        }
        if (s->type == DATA && stream) {
                BhHttpMessage *m = client ? stream->request : stream->response;
                BhHttpBody **body = client ? &stream->request_body : &stream->response_body;

                if (m && !(client && stream->told)) {
                        m->anomalies |= BH_HTTP_GAP;
                        m->body_cut = TRUE;
                        m->body_bytes += MIN(n, s->left - s->padding);
                        bh_http_body_free(g_steal_pointer(body), FALSE);
                }
        }
        s->padding -= n > s->left - s->padding ? (gsize) n - (s->left - s->padding) : 0;
        s->left -= (gsize) n;
        if (s->left)
                return TRUE;
        s->head_len = 0;
        if (!frame_ends(p, s, client))
                break_off(p);
        return !p->broken;
}

guint64 bh_http2_dropped(const BhHttp2 *p) {
        return p->dropped;
}

static int by_id(gconstpointer a, gconstpointer b) {
        guint32 x = (*(const Stream *const *) a)->id, y = (*(const Stream *const *) b)->id;

        return (x > y) - (x < y);
}

void bh_http2_free(BhHttp2 *p) {
        if (!p)
                return;
        g_autoptr(GPtrArray) open = g_ptr_array_new();
        GHashTableIter i;
        gpointer s;

        g_hash_table_iter_init(&i, p->streams);
        while (g_hash_table_iter_next(&i, NULL, &s))
                g_ptr_array_add(open, s);
        g_ptr_array_sort(open, by_id);
        for (guint k = 0; k < open->len; k++)
                exchange_ends(p, open->pdata[k], BH_HTTP_CUT);
        g_hash_table_unref(p->streams);
        nghttp2_hd_inflate_del(p->client.fields);
        nghttp2_hd_inflate_del(p->server.fields);
        g_byte_array_unref(p->client.payload);
        g_byte_array_unref(p->server.payload);
        g_free(p);
}

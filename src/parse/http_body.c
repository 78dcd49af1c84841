/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies out of their Content-Encoding. What is beyond `keep` is not even decoded, so that a bomb costs what is kept and no more. */
#include <brotli/decode.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "parse/http.h"

#define PIECE 4096u
#define MEMBERS_MAX 16u    /* of a gzip body */
#define RATIO_FROM 4096u   /* decoded bytes from which on a ratio means something */

typedef enum { PLAIN, GZIP, DEFLATE, BROTLI } Coding;

struct BhHttpBody {
        BhHttpMessage *m;
        gsize keep;
        Coding coding;
        gboolean over;    /* nothing more is decoded: enough, bad, or at its end */
        gboolean ended;   /* the coding says that it is at its end */
        gboolean raw;     /* deflate without zlib's header was tried */
        guint members;
        guint64 in;       /* bytes that the decoder took */
        guint8 first;     /* of them */
        gsize used;       /* of BH_HTTP_DECODER_MAX */
        z_stream z;
        BrotliDecoderState *br;
};

/* Memory of a decoder, counted; each block remembers its size. */
static void *take_memory(void *opaque, size_t n) {
        BhHttpBody *b = opaque;

        if (n > BH_HTTP_DECODER_MAX || b->used + n > BH_HTTP_DECODER_MAX)
                return NULL;
        gsize *p = malloc(n + 16);
        if (!p)
                return NULL;
        *p = n;
        b->used += n;
        return (guint8 *) p + 16;
}

static void give_memory(void *opaque, void *p) {
        BhHttpBody *b = opaque;

        if (!p)
                return;
        gsize *block = (gsize *) (void *) ((guint8 *) p - 16);
        b->used -= *block;
        free(block);
}

static voidpf z_take(voidpf opaque, uInt items, uInt size) {
        return take_memory(opaque, (size_t) items * size);
}

static void z_give(voidpf opaque, voidpf p) {
        give_memory(opaque, p);
}

static void bad(BhHttpBody *b, guint32 anomaly) {
        b->m->anomalies |= anomaly;
        b->over = TRUE;
}

static void keep(BhHttpBody *b, const guint8 *p, gsize n) {
        gsize room = b->keep - b->m->body->len, take = MIN(room, n);

        g_byte_array_append(b->m->body, p, (guint) take);
        if (take < n)
                b->m->body_cut = TRUE;
        if (b->coding != PLAIN && b->m->body->len >= RATIO_FROM && b->m->body->len / BH_HTTP_RATIO_MAX > b->in)
                b->m->anomalies |= BH_HTTP_COMPRESSION_RATIO;
        if (b->m->body->len >= b->keep && b->coding != PLAIN)
                b->over = TRUE;
}

static gboolean z_begin(BhHttpBody *b, int bits) {
        memset(&b->z, 0, sizeof(b->z));
        b->z.zalloc = z_take;
        b->z.zfree = z_give;
        b->z.opaque = b;
        return inflateInit2(&b->z, bits) == Z_OK;
}

BhHttpBody *bh_http_body_new(BhHttpMessage *m, const char *coding, gsize keep_bytes) {
        BhHttpBody *b = g_new0(BhHttpBody, 1);

        b->m = m;
        b->keep = keep_bytes;
        if (!coding || !*coding || g_ascii_strcasecmp(coding, "identity") == 0) {
                b->coding = PLAIN;
        } else if (g_ascii_strcasecmp(coding, "gzip") == 0 || g_ascii_strcasecmp(coding, "x-gzip") == 0) {
                b->coding = z_begin(b, 15 + 16) ? GZIP : PLAIN;
        } else if (g_ascii_strcasecmp(coding, "deflate") == 0) {
                b->coding = z_begin(b, 15) ? DEFLATE : PLAIN;
        } else if (g_ascii_strcasecmp(coding, "br") == 0) {
                b->br = BrotliDecoderCreateInstance(take_memory, give_memory, b);
                b->coding = b->br ? BROTLI : PLAIN;
        } else {
                m->anomalies |= BH_HTTP_COMPRESSION_UNKNOWN;
        }
        return b;
}

/* Behind a member of a gzip body another one may come; what is none ends the body. */
static gboolean next_member(BhHttpBody *b, guint8 first) {
        b->ended = first != 0x1f || inflateReset(&b->z) != Z_OK;
        b->over |= b->ended;
        return !b->ended;
}

static void feed_zlib(BhHttpBody *b, const guint8 *bytes, gsize len) {
        guint8 out[PIECE];
        guint64 earlier = b->in;

        if (b->ended && !next_member(b, bytes[0]))
                return;
        if (!earlier)
                b->first = bytes[0];
        b->z.next_in = (Bytef *) bytes;
        b->z.avail_in = (uInt) len;
        while (!b->over) {
                uInt before = b->z.avail_in;

                b->z.next_out = out;
                b->z.avail_out = sizeof(out);
                int r = inflate(&b->z, Z_NO_FLUSH);

                b->in += before - b->z.avail_in;
                /* "deflate" is zlib's form by the standard and the bare one by habit */
                if (r == Z_DATA_ERROR && b->coding == DEFLATE && !b->raw && b->m->body->len == 0 && b->z.total_out == 0 && b->in <= 2) {
                        inflateEnd(&b->z);
                        b->raw = TRUE;
                        b->in = 0;
                        if (!z_begin(b, -15)) {
                                bad(b, BH_HTTP_COMPRESSION_BAD);
                                return;
                        }
                        if (earlier) { /* its first byte came alone and gives nothing yet */
                                b->z.next_in = &b->first;
                                b->z.avail_in = 1;
                                b->z.next_out = out;
                                b->z.avail_out = sizeof(out);
                                (void) inflate(&b->z, Z_NO_FLUSH);
                        }
                        b->z.next_in = (Bytef *) bytes;
                        b->z.avail_in = (uInt) len;
                        continue;
                }
                keep(b, out, sizeof(out) - b->z.avail_out);
                if (r == Z_STREAM_END) {
                        b->ended = TRUE;
                        b->over = b->coding != GZIP || ++b->members >= MEMBERS_MAX;
                        if (b->over || !b->z.avail_in || !next_member(b, *b->z.next_in))
                                return;
                        continue;
                }
                if (r != Z_OK && r != Z_BUF_ERROR) {
                        bad(b, BH_HTTP_COMPRESSION_BAD);
                        return;
                }
                if (!b->z.avail_in && b->z.avail_out)
                        return;
                if (r == Z_BUF_ERROR)
                        return;
        }
}

static void feed_brotli(BhHttpBody *b, const guint8 *bytes, gsize len) {
        guint8 out[PIECE];
        size_t left = len;

        while (!b->over) {
                guint8 *next = out;
                size_t room = sizeof(out), before = left;
                BrotliDecoderResult r = BrotliDecoderDecompressStream(b->br, &left, &bytes, &room, &next, NULL);

                b->in += before - left;
                keep(b, out, sizeof(out) - room);
                if (r == BROTLI_DECODER_RESULT_ERROR)
                        bad(b, BH_HTTP_COMPRESSION_BAD);
                else if (r == BROTLI_DECODER_RESULT_SUCCESS)
                        b->ended = b->over = TRUE;
                else if (r == BROTLI_DECODER_RESULT_NEEDS_MORE_INPUT)
                        return;
        }
}

void bh_http_body_feed(BhHttpBody *b, const guint8 *bytes, gsize len) {
        b->m->body_bytes += len;
        if (!len)
                return;
        if (b->over) {
                /* enough is kept; at the coding's end there is nothing to come */
                b->m->body_cut |= !b->ended;
                return;
        }
        if (b->coding == PLAIN)
                keep(b, bytes, len);
        else if (b->coding == BROTLI)
                feed_brotli(b, bytes, len);
        else
                feed_zlib(b, bytes, len);
}

gboolean bh_http_body_decodes(const BhHttpBody *b) {
        return b && b->coding != PLAIN;
}

void bh_http_body_free(BhHttpBody *b, gboolean ended) {
        if (!b)
                return;
        if (ended && b->coding != PLAIN && !b->over && !b->ended && b->m->body_bytes)
                b->m->anomalies |= BH_HTTP_COMPRESSION_BAD; /* the coding goes on where the body does not */
        if (b->coding == GZIP || b->coding == DEFLATE)
                inflateEnd(&b->z);
        if (b->br)
                BrotliDecoderDestroyInstance(b->br);
        g_free(b);
}

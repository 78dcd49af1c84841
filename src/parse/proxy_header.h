/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a proxy says of its client before the first byte of a connection (PROXY protocol, versions 1 and 2): recognised and passed over, so that what is behind it is read as the server reads it.
 * The addresses in it are not believed: whoever reaches the server can say them.
 *
 * A line of version 1 may also be a request, of a method that is called PROXY: it is one if its last word is a version of HTTP, unless another request's line follows where a field would have to.
 * Of what is not decided at most BH_PROXY_HELD bytes are held. One thread at a time; a zeroed one is ready.
 */
#pragma once
#include <glib.h>

#define BH_PROXY_LINE 108u /* bytes of a line of version 1 at most, with room for one more */
#define BH_PROXY_WORD 32u  /* of the line behind one that may be a request */
#define BH_PROXY_HELD (BH_PROXY_LINE + BH_PROXY_WORD)

typedef enum {
        BH_PROXY_MORE, /* not known yet, or the header goes on */
        BH_PROXY_DONE, /* `held` is all that was seen of what is to be read: all of it where there is no header */
} BhProxyVerdict;

typedef struct {
        guint8 held[BH_PROXY_HELD];
        guint len, line; /* line: bytes of a first line that may be a request; 0: none */
        guint left;      /* bytes of a header of version 2 that are still to come */
        gboolean passing;
        gboolean found;  /* there was a header */
} BhProxyHeader;

/* One byte. Not to be called again once it is DONE. */
BhProxyVerdict bh_proxy_header_feed(BhProxyHeader *h, guint8 byte);
/* n bytes were not captured. TRUE: they, or all that they hold of it, are the header's; more is as before. */
gboolean bh_proxy_header_gap(BhProxyHeader *h, guint64 n);

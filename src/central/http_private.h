/* SPDX-License-Identifier: Apache-2.0 */
/* What http.c and http_stream.c share. */
#pragma once
#include <microhttpd.h>

#include "http.h"

typedef void (*BhHttpStreamGone)(BhHttpStream *s, gpointer data);

/* The response that reads from the stream on this connection. One for each stream. `gone` is called at its end, on the event thread. */
struct MHD_Response *bh_http_stream_response(BhHttpStream *s, struct MHD_Connection *connection, BhHttpStreamGone gone, gpointer data);

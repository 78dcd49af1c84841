/* SPDX-License-Identifier: Apache-2.0 */
/* The head of an HTTP/1 message. Private to http1.c and http1_head.c. */
#pragma once
#include "parse/http.h"

typedef struct {
        gboolean chunked;
        gboolean has_length;
        guint64 length;
} BhHttp1Frame;

/*
 * Reads `head` (its last line is empty; it is changed in place), into *m and *frame. FALSE when the first line is of no HTTP message: *m then has what
 * there is of it as its target, and is flagged.
 */
gboolean bh_http1_read_head(char *head, gsize len, gboolean response, BhHttpMessage *m, BhHttp1Frame *frame);

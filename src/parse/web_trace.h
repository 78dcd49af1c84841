/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a request, as a client sent them, looked at without understanding them: whether they may be skipped when the inspector has more than it can do, and whether what a
 * process did has a part of them in it.
 *
 * This is the only code with the sensor's privileges that looks at a request's bytes. It has no state, no recursion and allocates what it returns; it is one pass, and its work is
 * bounded by the numbers below.
 *
 * Any thread.
 */
#pragma once
#include "parse/waf_words.h"

#define BH_WEB_TRACE_HEAD_MAX 8192u  /* longer ones are suspected, … */
#define BH_WEB_TRACE_FIELDS_MAX 48u  /* … and those with more fields */
#define BH_WEB_TRACE_MAX 4096u       /* bytes of a request that are kept */
#define BH_WEB_TRACE_TEXT_MAX 1024u  /* bytes of what a process did */
#define BH_WEB_TRACE_LEAST 6u        /* shorter parts that are equal prove nothing */
#define BH_WEB_TRACE_TRIES 8u         /* places of the text at which the same six bytes are tried */
#define BH_WEB_TRACE_WORK (1u << 18)  /* bytes compared; then the longest one until there */

/*
 * FALSE: the bytes are one whole GET or HEAD request of HTTP/1 without a body that the filter (bh_waf_filter_wants(), not strict) lets pass: nothing encoded in its target, no words that attacks are made of, in
 * no field either, and nothing unusual about its form. TRUE for everything else; a fuzz target holds that to be so. `words` NULL: always TRUE.
 */
gboolean bh_web_trace_suspected(const BhWafWords *words, const guint8 *bytes, gsize len);

/*
 * What the client chose in a request: its bytes with percent-encoding and "+" undone, without the fields that name the server or the way to it (Host, Origin, Referer, X-Forwarded-…, …),
 * which what a process does may have in it for other reasons. Caller frees.
 */
GByteArray *bh_web_trace_keep(const guint8 *bytes, gsize len);

/* The length of the longest part of `text` that is in `kept` as it is; 0 when it is shorter than BH_WEB_TRACE_LEAST. */
gsize bh_web_trace_common(const GByteArray *kept, const char *text, gsize len);

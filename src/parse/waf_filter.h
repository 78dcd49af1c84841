/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which requests the web-attack engine must see. Every request goes through here, so it is cheap: one pass over what a client may choose freely.
 *
 * It works the other way round from the engine: it knows what is harmless. A request is harmless when it has a common method, no anomaly (http.h), and every path segment,
 * name and value of query, form, JSON and the fields that programs read has letters, digits and few other characters, once decoded, and none of the words that
 * attacks are made of (waf_words.h). What is not harmless is wanted, and so is whatever this does
 * not know how to read: other bodies, what is encoded twice, a cut body.
 *
 * Immutable once made; any thread.
 */
#pragma once
#include "parse/http.h"

typedef struct BhWafFilter BhWafFilter;

/* Reads word lists of the rule set (waf.h; NULL = BH_WAF_RULES_DIR) before the sandbox closes. NULL with *error: none is there, or too many words. */
BhWafFilter *bh_waf_filter_new(const char *rules_dir, GError **error);
/* NULL is allowed. */
void bh_waf_filter_free(BhWafFilter *f);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhWafFilter, bh_waf_filter_free)
/*
 * strict: for paranoia levels 3 and 4, whose rules also want what is merely unusual: no Accept or User-Agent, an address as host, rare fields, types and extensions, the same parameter
 * twice, and any character but letters, digits and "_.,:-=" in a value. Of most workloads that is a large part of the requests.
 */
/* *why (may be NULL): what is not harmless about it, for counting: "method", "anomaly", "path", "query", "field", "body", "word", "form" (strict). Static; NULL when it is not wanted. */
gboolean bh_waf_filter_wants(const BhWafFilter *f, const BhHttpMessage *request, gboolean strict, const char **why);
/* Bytes of the automaton. */
gsize bh_waf_filter_bytes(const BhWafFilter *f);

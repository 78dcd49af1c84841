/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inspector's side of web_facts.h: connections between requests, each followed (web_stream.h), judged (waf_filter.h, waf.h) and redacted (redact.h).
 *
 * Bounds: BH_WEB_CONNECTIONS_MAX connections, the one that was quiet for longest goes first; and memory: what the process has taken is looked at each BH_WEB_LOOK_BYTES, and while it
 * is above BH_WEB_MEMORY_MAX the quiet ones go. An answer always fits (64 records of at most 4 KiB, and matches and parameters while there is room).
 *
 * bh_web_new() reads files: before the sandbox closes. One thread.
 */
#pragma once
#include "parse/inspect_wire.h"

#define BH_WEB_CONNECTIONS_MAX 4096u
#define BH_WEB_MEMORY_MAX (192u << 20)
#define BH_WEB_LOOK_BYTES (64u << 10)
#define BH_WEB_BODY_KEEP (16u << 10)

typedef struct BhWeb BhWeb;

/* The engine at level 4: who asks chooses by the level of each match. rules_dir NULL: Debian's. NULL with *error. */
BhWeb *bh_web_new(const char *rules_dir, GError **error);
/* NULL is allowed. */
void bh_web_free(BhWeb *w);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhWeb, bh_web_free)
/* As bh_inspect_answer() (inspect_wire.h), for kind WEB. */
BhInspectStatus bh_web_answer(BhWeb *w, const guint8 *body, gsize len, GByteArray *out);
guint bh_web_connections(const BhWeb *w);
/* Connections that were given up for a bound. */
guint64 bh_web_given_up(const BhWeb *w);

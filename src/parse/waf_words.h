/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words that web attacks are made of, and which texts are plain: what the filter before the web-attack engine (waf_filter.h) and the sensor, when there is more than the inspector can do
 * (web_trace.h), have in common. Words are ours (waf_words.c) and those in the rule set's own lists of files, functions, classes, scanners and shells.
 *
 * Found by one automaton over lower-case bytes (Aho and Corasick). Immutable once made; any thread.
 */
#pragma once
#include <glib.h>

#define BH_WAF_RULES_DIR "/usr/share/modsecurity-crs/rules"
#define BH_WAF_WORDS_WORDS_MAX 8192u
#define BH_WAF_WORDS_NODES_MAX 60000u

/* One strong word is enough, or two weak ones in a text; names of scanners count where they call themselves something. */
enum { BH_WAF_STRONG = 1, BH_WAF_WEAK = 2, BH_WAF_SCANNER = 4 };

/* Characters that a text may have; letters and digits always. */
#define BH_WAF_IN_PATH "/_.-~+@,: "
#define BH_WAF_IN_VALUE " _.-~+@,:/"
#define BH_WAF_IN_VALUE_STRICT "_.,:-="
#define BH_WAF_IN_JSON " _.-~+@,:/\r\n\t{}[]\""
#define BH_WAF_IN_FIELD " _.-~+@,:/=;()*?\""

typedef struct BhWafWords BhWafWords;

/* Reads word lists of the rule set; NULL = BH_WAF_RULES_DIR. NULL with *error: none is there, or too many words. */
BhWafWords *bh_waf_words_new(const char *rules_dir, GError **error);
/* NULL is allowed. */
void bh_waf_words_free(BhWafWords *w);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhWafWords, bh_waf_words_free)
/* Bytes of the automaton. */
gsize bh_waf_words_bytes(const BhWafWords *w);

/* How a text is looked at. */
typedef struct {
        const BhWafWords *words;
        guint8 kinds; /* words that count here */
        guint8 allowed[256];
} BhWafLook;

/* `also`: characters that it may have beside letters and digits. */
BhWafLook bh_waf_look_for(const BhWafWords *w, guint8 kinds, const char *also);
/* Whether it has nothing but the characters that it may have; *word is set when it has words, and left alone otherwise. */
gboolean bh_waf_look_plain(const BhWafLook *l, const char *p, gsize n, gboolean *word);
/* Whether the path's last segment has no extension, or one that pages are made of. */
gboolean bh_waf_usual_extension(const char *path, gsize len);

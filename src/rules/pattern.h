/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patterns of rules: glob, iglob, regex and pmatch. Patterns are a rule file's, texts are an attacker's: what a match may cost is bounded in steps, depth and
 * memory, and a match that hits a bound is no match, and counted. All texts are bytes.
 *
 * regex: must match the whole text, as RE2's POSIX syntax does there; done by PCRE2 without JIT. What a regular language has is allowed
 * (groups, classes, alternatives, repetition, anchors, flags); what needs unbounded work or memory of its own (back-references, look-around, recursion, conditions,
 * callouts, verbs, atomic and possessive groups) is refused when it is compiled, with the place. `.` does not match a new line; ^ and $ match at lines.
 *
 * Compiled patterns are read-only and may be used by any number of threads, each with a BhMatcher of its own.
 */
#pragma once
#include <glib.h>

#include "event/event.h"

#define BH_REGEX_TEXT_MAX 8192u      /* bytes of a regular expression */
#define BH_REGEX_SIZE_MAX (1u << 20) /* bytes that it may compile to */
#define BH_REGEX_MATCH_LIMIT 200000u
#define BH_REGEX_DEPTH_LIMIT 5000u
#define BH_REGEX_HEAP_KIB 4096u
#define BH_GLOB_STEPS_MAX 1000000u

/*
 * Whether the whole text matches the pattern: * any bytes, ? one, [a-z!] [^x] [[:digit:]] classes, \ takes a byte as it is. / and a leading point are nothing
 * special. FALSE also if that took more than BH_GLOB_STEPS_MAX steps; bh_glob_steps() says so.
 */
gboolean bh_glob(const char *pattern, gsize pattern_len, const char *text, gsize len, gboolean fold);
/* *limit is set, never cleared, if the bound was hit. */
gboolean bh_glob_steps(const char *pattern, gsize pattern_len, const char *text, gsize len, gboolean fold, gboolean *limit);

typedef struct BhRegex BhRegex;
/* NULL with an error: what is wrong, and at which byte (from 1). */
BhRegex *bh_regex_new(const char *pattern, gsize len, GError **error);
void bh_regex_free(BhRegex *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhRegex, bh_regex_free)
/* As it was written. */
const char *bh_regex_text(const BhRegex *r);

/* Scratch of one thread. */
typedef struct BhMatcher BhMatcher;
BhMatcher *bh_matcher_new(void);
void bh_matcher_free(BhMatcher *m);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhMatcher, bh_matcher_free)

gboolean bh_regex_match(const BhRegex *r, BhMatcher *m, const char *text, gsize len, gboolean *limit);

/*
 * Prefixes of paths, by whole components: /var/log is a prefix of /var/log and /var/log/x, not of /var/logs. Components of a prefix may be globs.
 */
typedef struct BhPrefixes BhPrefixes;
BhPrefixes *bh_prefixes_new(void);
void bh_prefixes_add(BhPrefixes *p, const char *path, gsize len);
void bh_prefixes_free(BhPrefixes *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhPrefixes, bh_prefixes_free)

gboolean bh_prefixes_match(const BhPrefixes *p, const char *path, gsize len, gboolean *limit);

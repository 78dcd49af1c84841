/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Web attacks in HTTP exchanges: libmodsecurity with the OWASP Core Rule Set, in detection mode.
 *
 * bh_waf_new() reads the rules, and is the only part that needs a file system: call it before the sandbox closes. Afterwards nothing opens, connects or starts
 * anything: rule files that would (reputation lists asked over the network, collections kept by address) and those that only add scores up are not loaded.
 * Rules of our own come beside the set's (waf_rules.h).
 * The administrator's own crs-setup.conf is not read: it configures another program.
 *
 * bh_waf_judge() takes one exchange as the parsers told it, before redaction. What it tells is redacted. A request costs milliseconds at level 4: ask
 * bh_waf_filter_wants() first (waf_filter.h), which sees every request in microseconds.
 *
 * A rule's number, class, level and severity are ours or the rule file's; its message and what it matched have the attacker's bytes in them. The engine tells
 * them as one line of text, in which an attacker's bytes come before the number: the place of the rule file in that line is written in a way drawn at random, so that
 * nobody can forge it.
 *
 * A BhWaf is used by one thread at a time. The engine's errors during a judgement are not fatal: the result is then what was found until then.
 */
#pragma once
#include "parse/http.h"
#include "parse/waf_words.h"

#define BH_WAF_MATCHES_MAX 64u  /* different rules of one exchange; more are counted */
#define BH_WAF_MATCHED_MAX 256u /* bytes of a matched part */
#define BH_WAF_BODY_MAX (128u << 10)

typedef struct {
        const char *rules_dir; /* NULL = BH_WAF_RULES_DIR */
        guint level;           /* paranoia level, 1 to 4; 0 = 1 */
        gboolean responses;    /* also rules about responses (leaks) */
} BhWafConfig;

typedef struct {
        guint rule;        /* its number in the rule set */
        guint level;       /* the paranoia level that it belongs to; 0 = unknown */
        guint score;       /* what it adds: 5 critical, 4 error, 3 warning, 2 notice, 0 none */
        guint count;       /* of parts that it matched */
        const char *class; /* "sqli"; see bh_web_class() */
        char *message;     /* the rule's */
        char *matched;     /* of the first: what and where, redacted, cut */
} BhWafMatch;

typedef struct {
        BhWafMatch *matches; /* in the order of the engine */
        guint n_matches, dropped;
        guint score;         /* of all of them, each rule once */
} BhWafResult;

typedef struct BhWaf BhWaf;

/* NULL with *error: no rules there, or one that the engine does not take, with its place. */
BhWaf *bh_waf_new(const BhWafConfig *config, GError **error);
/* NULL is allowed. */
void bh_waf_free(BhWaf *w);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhWaf, bh_waf_free)
/* How many rules were loaded. */
guint bh_waf_rules(const BhWaf *w);

/* response may be NULL. client, server: addresses as text. Never NULL. */
BhWafResult *bh_waf_judge(BhWaf *w, const BhHttpMessage *request, const BhHttpMessage *response, const char *client, const char *server, guint16 port);
/* NULL is allowed. */
void bh_waf_result_free(BhWafResult *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhWafResult, bh_waf_result_free)

/* For the parser of the engine's lines alone, which tests and a fuzz target reach so. `line`: one of the engine's; `place`: what is before the rule file's name in it. */
void bh_waf_take_line(BhWaf *w, const char *line, BhWafResult *r);
const char *bh_waf_place(const BhWaf *w);

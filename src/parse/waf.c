/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/waf.h"

#include <modsecurity/modsecurity.h>
#include <modsecurity/rules_set.h>
#include <modsecurity/transaction.h>
#include <stdlib.h>
#include <string.h>

#include "parse/redact.h"
#include "parse/waf_rules.h"
#include "parse/web_facts.h"

#define PLACE_BITS 64u

typedef struct {
        guint level, score;
} Rule;

struct BhWaf {
        ModSecurity *engine;
        RulesSet *rules;
        GHashTable *known; /* number → Rule */
        char *place;       /* the directory of the rules, as nobody else would write it */
        char *mark;        /* what messages of our own rules begin with */
        guint64 judged;
};

static gboolean wanted_file(const char *name, gboolean responses) {
        /* needs the network, keeps state by address, or only adds up */
        static const char *const not[] = { "REQUEST-903", "REQUEST-910", "REQUEST-912", "REQUEST-949", "RESPONSE-959", "RESPONSE-980" };

        if (!g_str_has_suffix(name, ".conf") || !(g_str_has_prefix(name, "REQUEST-") || (responses && g_str_has_prefix(name, "RESPONSE-"))))
                return FALSE;
        for (gsize i = 0; i < G_N_ELEMENTS(not); i++)
                if (g_str_has_prefix(name, not[i]))
                        return FALSE;
        return TRUE;
}

/* A bit is "/" or "/.": the same directory in 2^64 ways. */
static char *random_place(const char *dir) {
        GString *s = g_string_new(dir);

        for (guint i = 0; i < PLACE_BITS / 32; i++) {
                guint32 bits = g_random_int();

                for (guint k = 0; k < 32; k++)
                        g_string_append(s, bits >> k & 1 ? "/" : "/.");
        }
        g_string_append_c(s, '/');
        return g_string_free(s, FALSE);
}

/* What a file says of its rules: between one number and the next stand its level and its severity. */
static void learn_rules(BhWaf *w, const char *text) {
        static const struct {
                const char *name;
                guint score;
        } severities[] = { { "'CRITICAL'", 5 }, { "'ERROR'", 4 }, { "'WARNING'", 3 }, { "'NOTICE'", 2 } };

        for (const char *at = strstr(text, "id:"); at;) {
                const char *next = strstr(at + 3, "id:"), *end = next ? next : at + strlen(at);
                guint number = (guint) g_ascii_strtoull(at + 3, NULL, 10);
                const char *level = g_strstr_len(at, end - at, "paranoia-level/"), *severity = g_strstr_len(at, end - at, "severity:");
                gboolean begins = at > text && (at[-1] == '"' || at[-1] == ',' || g_ascii_isspace(at[-1]));

                if (number >= 100000 && begins) {
                        Rule *r = g_new0(Rule, 1);

                        r->level = level ? (guint) g_ascii_digit_value(level[15]) : 1;
                        for (gsize i = 0; severity && i < G_N_ELEMENTS(severities); i++)
                                if (g_str_has_prefix(severity + 9, severities[i].name))
                                        r->score = severities[i].score;
                        g_hash_table_insert(w->known, GUINT_TO_POINTER(number), r);
                }
                at = next;
        }
}

static int by_name(gconstpointer a, gconstpointer b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static GPtrArray *list_files(const char *dir, gboolean responses, GError **error) {
        g_autoptr(GDir) d = g_dir_open(dir, 0, error);
        GPtrArray *names;

        if (!d)
                return NULL;
        names = g_ptr_array_new_with_free_func(g_free);
        for (const char *name; (name = g_dir_read_name(d));)
                if (wanted_file(name, responses))
                        g_ptr_array_add(names, g_strdup(name));
        g_ptr_array_sort(names, by_name);
        return names;
}

static gboolean add_text(BhWaf *w, const char *text, GError **error) {
        const char *why = NULL;

        if (msc_rules_add(w->rules, text, &why) >= 0)
                return TRUE;
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "the web-attack engine does not take its settings: %s", why ? why : "no reason given");
        free((void *) why);
        return FALSE;
}

static gboolean add_own(BhWaf *w, GError **error) {
        g_autoptr(GString) text = g_string_new(BH_WAF_OWN_RULES);

        g_string_replace(text, BH_WAF_OWN_MARK, w->mark, 0);
        learn_rules(w, text->str);
        return add_text(w, text->str, error);
}

static gboolean load(BhWaf *w, const BhWafConfig *c, const char *dir, GError **error) {
        guint level = c->level ? c->level : 1;
        g_autofree char *settings = g_strdup_printf(
                "SecRuleEngine DetectionOnly\nSecAuditEngine Off\nSecDebugLogLevel 0\n"
                "SecRequestBodyAccess On\nSecRequestBodyLimit %u\nSecRequestBodyNoFilesLimit %u\nSecRequestBodyLimitAction ProcessPartial\n"
                "SecResponseBodyAccess %s\nSecResponseBodyLimit %u\nSecResponseBodyLimitAction ProcessPartial\nSecResponseBodyMimeType text/plain text/html text/xml application/json\n"
                "SecUploadKeepFiles Off\nSecArgumentSeparator &\nSecXmlExternalEntity Off\n"
                "SecDefaultAction \"phase:1,log,auditlog,pass\"\nSecDefaultAction \"phase:2,log,auditlog,pass\"\n"
                "SecDefaultAction \"phase:3,log,auditlog,pass\"\nSecDefaultAction \"phase:4,log,auditlog,pass\"\n"
                "SecRule REQUEST_HEADERS:Content-Type \"^(?:application(?:/soap\\+|/)|text/)xml\" \"id:200000,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=XML\"\n"
                "SecRule REQUEST_HEADERS:Content-Type \"^application/(?:[\\w.-]+\\+)?json\" \"id:200001,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON\"\n"
                "SecAction \"id:900990,phase:1,nolog,pass,t:none,setvar:tx.crs_setup_version=334\"\n"
                "SecAction \"id:900000,phase:1,nolog,pass,t:none,setvar:tx.paranoia_level=%u,setvar:tx.executing_paranoia_level=%u\"\n",
                BH_WAF_BODY_MAX, BH_WAF_BODY_MAX, c->responses ? "On" : "Off", BH_WAF_BODY_MAX, level, level);
        g_autoptr(GPtrArray) names = list_files(dir, c->responses, error);

        if (!names || !add_text(w, settings, error))
                return FALSE;
        if (!names->len) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT, "no rules of the OWASP Core Rule Set in %s (Debian package modsecurity-crs)", dir);
                return FALSE;
        }
        for (guint i = 0; i < names->len; i++) {
                g_autofree char *path = g_strconcat(w->place, names->pdata[i], NULL), *text = NULL;
                const char *why = NULL;

                if (!g_file_get_contents(path, &text, NULL, error))
                        return FALSE;
                if (msc_rules_add_file(w->rules, path, &why) < 0) {
                        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "the web-attack engine does not take %s/%s: %s", dir, (char *) names->pdata[i], why ? why : "no reason given");
                        free((void *) why);
                        return FALSE;
                }
                learn_rules(w, text);
        }
        /* in memory, by the client's address, for ever: nothing that is loaded reads them */
        return add_text(w, "SecRuleRemoveById 901318 901321\n", error) && add_own(w, error);
}

static void on_line(void *result, const void *line) {
        struct {
                BhWaf *w;
                BhWafResult *r;
        } *to = result;

        if (to)
                bh_waf_take_line(to->w, line, to->r);
}

BhWaf *bh_waf_new(const BhWafConfig *config, GError **error) {
        const char *dir = config->rules_dir ? config->rules_dir : BH_WAF_RULES_DIR;
        g_autoptr(BhWaf) w = g_new0(BhWaf, 1);

        g_assert(config->level <= 4);
        w->known = g_hash_table_new_full(NULL, NULL, NULL, g_free);
        w->place = random_place(dir);
        w->mark = g_strdup_printf("%08x%08x%08x", g_random_int(), g_random_int(), g_random_int());
        w->engine = msc_init();
        w->rules = msc_create_rules_set();
        msc_set_log_cb(w->engine, on_line);
        return load(w, config, dir, error) ? g_steal_pointer(&w) : NULL;
}

void bh_waf_free(BhWaf *w) {
        if (!w)
                return;
        if (w->rules)
                msc_rules_cleanup(w->rules);
        if (w->engine)
                msc_cleanup(w->engine);
        g_hash_table_unref(w->known);
        g_free(w->place);
        g_free(w->mark);
        g_free(w);
}

guint bh_waf_rules(const BhWaf *w) {
        return g_hash_table_size(w->known);
}

const char *bh_waf_place(const BhWaf *w) {
        return w->place;
}

/* ---- what the engine tells */

/* `from` up to the first (or last) `until`. NULL when one of them is missing; *behind is then as it was. */
static char *between(const char *text, const char *from, const char *until, gboolean last, const char **behind) {
        const char *begin = strstr(text, from);

        if (!begin)
                return NULL;
        begin += strlen(from);
        const char *end = last ? g_strrstr(begin, until) : strstr(begin, until);
        if (!end)
                return NULL;
        *behind = end;
        return g_strndup(begin, (gsize) (end - begin));
}

static char *printable(const char *text, gsize most) {
        g_autofree char *redacted = bh_redact_text(text, strlen(text));
        GString *s = g_string_new(NULL);

        for (const char *c = redacted; *c && s->len < most; c++)
                g_string_append_c(s, *c >= 0x20 && *c < 0x7f ? *c : '?');
        return g_string_free(s, FALSE);
}

void bh_waf_take_line(BhWaf *w, const char *line, BhWafResult *r) {
        g_autofree char *mark = g_strconcat("[file \"", w->place, NULL), *own = g_strconcat("[msg \"", w->mark, " ", NULL), *id = NULL, *message = NULL, *data = NULL;
        const char *at = strstr(line, mark);
        gboolean own_rule = FALSE;

        if (!at && (at = strstr(line, own)))
                own_rule = (id = g_strndup(at + strlen(own), 6)) != NULL;
        else if (at)
                id = between(at, "[id \"", "\"]", FALSE, &at);
        if (!id)
                return;
        guint number = (guint) g_ascii_strtoull(id, NULL, 10);
        for (guint i = 0; i < r->n_matches; i++)
                if (r->matches[i].rule == number) {
                        r->matches[i].count++;
                        return;
                }
        if (r->n_matches >= BH_WAF_MATCHES_MAX) {
                r->dropped++;
                return;
        }
        message = own_rule ? between(at, own, "\"] [data \"", FALSE, &at) : between(at, "[msg \"", "\"] [data \"", FALSE, &at);
        if (own_rule && message && strlen(message) > 7)
                memmove(message, message + 7, strlen(message + 7) + 1); /* its number */
        data = between(at, "[data \"", "\"] [severity \"", TRUE, &at);

        const Rule *known = g_hash_table_lookup(w->known, GUINT_TO_POINTER(number));
        r->matches = g_renew(BhWafMatch, r->matches, r->n_matches + 1);
        r->matches[r->n_matches++] = (BhWafMatch) {
                .rule = number,
                .level = known ? known->level : 0,
                .score = known ? known->score : 0,
                .count = 1,
                .class = bh_web_class(number),
                .message = printable(message ? message : "", BH_WAF_MATCHED_MAX),
                .matched = printable(data ? data : "", BH_WAF_MATCHED_MAX),
        };
        r->score += known ? known->score : 0;
}

/* ---- judging */

static void add_fields(Transaction *t, const BhHttpMessage *m, int (*add)(Transaction *, const unsigned char *, size_t, const unsigned char *, size_t)) {
        for (guint i = 0; i < m->n_fields; i++) {
                const char *name = m->fields[i].name, *value = m->fields[i].value;

                add(t, (const unsigned char *) name, strlen(name), (const unsigned char *) value, strlen(value));
        }
}

static const char *version_name(guint version) {
        return version == 20 ? "2.0" : version == 10 ? "1.0" : version == 9 ? "0.9" : "1.1";
}

BhWafResult *bh_waf_judge(BhWaf *w, const BhHttpMessage *request, const BhHttpMessage *response, const char *client, const char *server, guint16 port) {
        BhWafResult *r = g_new0(BhWafResult, 1);
        struct {
                BhWaf *w;
                BhWafResult *r;
        } to = { w, r };
        /* with a number of our own the engine asks neither clock nor chance for one */
        g_autofree char *id = g_strdup_printf("%" G_GUINT64_FORMAT, ++w->judged);
        Transaction *t = msc_new_transaction_with_id(w->engine, w->rules, id, &to);

        msc_process_connection(t, client, 0, server, port);
        msc_process_uri(t, request->target, request->method, version_name(request->version));
        add_fields(t, request, msc_add_n_request_header);
        /* HTTP/2 has its host elsewhere; the rules know Host */
        if (request->version == 20 && *request->authority && !bh_http_field(request, "Host"))
                msc_add_n_request_header(t, (const unsigned char *) "Host", 4, (const unsigned char *) request->authority, strlen(request->authority));
        msc_process_request_headers(t);
        if (request->body->len)
                msc_append_request_body(t, request->body->data, MIN(request->body->len, BH_WAF_BODY_MAX));
        msc_process_request_body(t);
        if (response) {
                add_fields(t, response, msc_add_n_response_header);
                msc_process_response_headers(t, (int) response->status, "HTTP/1.1");
                if (response->body->len)
                        msc_append_response_body(t, response->body->data, MIN(response->body->len, BH_WAF_BODY_MAX));
                msc_process_response_body(t);
        }
        msc_transaction_cleanup(t);
        return r;
}

void bh_waf_result_free(BhWafResult *r) {
        if (!r)
                return;
        for (guint i = 0; i < r->n_matches; i++) {
                g_free(r->matches[i].message);
                g_free(r->matches[i].matched);
        }
        g_free(r->matches);
        g_free(r);
}

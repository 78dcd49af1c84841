/* SPDX-License-Identifier: Apache-2.0 */
#include "notify/output.h"

#include <arpa/inet.h>
#include <string.h>

#define TEXT_MAX 2048u
#define PEM_MAX (32u << 10)
#define TIMEOUT_DEFAULT 10u
#define TIMEOUT_MAX 60u

static const char *const types[BH_OUTPUT_TYPES] = { "stdout", "file", "syslog", "webhook" };
static const char *const transports[BH_SYSLOG_TRANSPORTS] = { "udp", "tcp", "tls", "local" };
static const char *const facilities[] = { "kern",   "user",   "mail",   "daemon", "auth",   "syslog", "lpr",    "news",   "uucp",   "cron",   "authpriv", "ftp",
                                          "ntp",    "audit",  "console", "cron2", "local0", "local1", "local2", "local3", "local4", "local5", "local6",   "local7" };

static gboolean invalid(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static gboolean invalid(GError **error, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_autofree char *text = g_strdup_vprintf(format, ap);
        va_end(ap);
        g_set_error_literal(error, BH_NOTIFY_ERROR, BH_NOTIFY_ERROR_INVALID, text);
        return FALSE;
}

const char *bh_output_type_name(BhOutputType type) {
        return types[type];
}

const char *bh_output_transport_name(BhSyslogTransport transport) {
        return transports[transport];
}

gboolean bh_output_check_name(const char *name, GError **error) {
        gsize len = strlen(name);
        gboolean ok = len > 0 && len <= BH_OUTPUT_NAME_MAX && g_ascii_isalnum(name[0]);

        for (const char *p = name; ok && *p; p++)
                ok = g_ascii_islower(*p) || g_ascii_isdigit(*p) || strchr("._-", *p);
        return ok || invalid(error, "an output's name has 1 to %d of a-z, 0-9, \".\", \"_\" and \"-\", and begins with one of the first two", BH_OUTPUT_NAME_MAX);
}

/* ---- patterns ---- */

gboolean bh_output_glob(const char *pattern, const char *text) {
        const char *star = NULL, *resume = NULL;

        while (*text) {
                if (*pattern == '*') {
                        star = pattern++;
                        resume = text;
                } else if (*pattern == '?' || *pattern == *text) {
                        if (*pattern == '?')
                                text = g_utf8_next_char(text);
                        else
                                text++;
                        pattern++;
                } else if (star) {
                        /* only the last star can take more: what the earlier ones took is the least that fits */
                        pattern = star + 1;
                        text = ++resume;
                } else {
                        return FALSE;
                }
        }
        while (*pattern == '*')
                pattern++;
        return !*pattern;
}

static gboolean any(char *const *patterns, const char *text) {
        for (; *patterns; patterns++)
                if (bh_output_glob(*patterns, text))
                        return TRUE;
        return FALSE;
}

gboolean bh_output_wants(const BhOutput *o, const BhAlert *a) {
        json_t *tags = json_object_get(a->finding, "tags"), *tag;
        size_t i;

        /* what has no known priority is more likely to matter than not */
        if (a->rank < 8 && a->rank > o->max_rank)
                return FALSE;
        if ((*o->sources && !any(o->sources, a->source)) || (*o->rules && !any(o->rules, a->rule)))
                return FALSE;
        /* each of its findings is told already: who wants incidents as well says so */
        if (!*o->sources && g_str_equal(a->source, "incident"))
                return FALSE;
        if (!*o->tags)
                return TRUE;
        json_array_foreach(tags, i, tag)
                if (json_is_string(tag) && any(o->tags, json_string_value(tag)))
                        return TRUE;
        return FALSE;
}

/* ---- members ---- */

typedef struct {
        json_t *o;
        GHashTable *known; /* names that were asked for */
        GError **error;
} Reader;

static json_t *member(Reader *r, const char *name) {
        g_hash_table_add(r->known, (char *) name);
        json_t *v = json_object_get(r->o, name);
        return json_is_null(v) ? NULL : v;
}

/* A text; NULL when it is not there. */
static gboolean text(Reader *r, const char *name, gsize max, gboolean lines, char **out) {
        json_t *v = member(r, name);

        if (!v)
                return TRUE;
        if (!json_is_string(v))
                return invalid(r->error, "\"%s\" must be a text", name);
        if (!json_string_length(v))
                return TRUE;
        if (json_string_length(v) > max)
                return invalid(r->error, "\"%s\" has at most %" G_GSIZE_FORMAT " bytes", name, max);
        for (const char *p = json_string_value(v); *p; p++)
                if (((guint8) *p < 0x20 && !(lines && strchr("\r\n\t", *p))) || *p == 0x7f)
                        return invalid(r->error, "\"%s\" must not hold control characters", name);
        g_free(*out);
        *out = g_strdup(json_string_value(v));
        return TRUE;
}

static gboolean truth(Reader *r, const char *name, gboolean *out) {
        json_t *v = member(r, name);

        if (v && !json_is_boolean(v))
                return invalid(r->error, "\"%s\" must be true or false", name);
        if (v)
                *out = json_is_true(v);
        return TRUE;
}

static gboolean number(Reader *r, const char *name, guint min, guint max, guint *out) {
        json_t *v = member(r, name);

        if (v && (!json_is_integer(v) || json_integer_value(v) < (json_int_t) min || json_integer_value(v) > (json_int_t) max))
                return invalid(r->error, "\"%s\" must be a whole number from %u to %u", name, min, max);
        if (v)
                *out = (guint) json_integer_value(v);
        return TRUE;
}

static gboolean one_of(Reader *r, const char *name, const char *const *names, guint n, guint *out) {
        g_autofree char *given = NULL;

        if (!text(r, name, 64, FALSE, &given))
                return FALSE;
        if (!given)
                return TRUE;
        for (guint i = 0; i < n; i++)
                if (g_str_equal(given, names[i])) {
                        *out = i;
                        return TRUE;
                }
        g_autofree char **list = g_new0(char *, n + 1);
        for (guint i = 0; i < n; i++)
                list[i] = (char *) names[i];
        g_autofree char *all = g_strjoinv(", ", list);
        return invalid(r->error, "\"%s\" must be one of %s", name, all);
}

static gboolean patterns(Reader *r, const char *name, char ***out) {
        json_t *v = member(r, name), *item;
        g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);
        size_t i;

        if (v && (!json_is_array(v) || json_array_size(v) > BH_OUTPUT_LIST_MAX))
                return invalid(r->error, "\"%s\" must be a list of at most %d texts", name, BH_OUTPUT_LIST_MAX);
        json_array_foreach(v, i, item) {
                if (!json_is_string(item) || !json_string_length(item) || json_string_length(item) > 512)
                        return invalid(r->error, "\"%s\" must be a list of texts of 1 to 512 bytes", name);
                g_ptr_array_add(list, g_strdup(json_string_value(item)));
        }
        g_ptr_array_add(list, NULL);
        *out = (char **) g_ptr_array_steal(list, NULL);
        return TRUE;
}

static gboolean filters(Reader *r, BhOutput *o) {
        g_autofree char *priority = NULL;

        if (!text(r, "minimum_priority", 64, FALSE, &priority) || !patterns(r, "sources", &o->sources) || !patterns(r, "tags", &o->tags) || !patterns(r, "rules", &o->rules))
                return FALSE;
        o->max_rank = priority ? bh_alert_rank(priority) : 7;
        return o->max_rank < 8 ||
               invalid(r->error, "\"minimum_priority\" must be emergency, alert, critical, error, warning, notice, informational or debug, not \"%s\"", priority);
}

/* ---- each type's own ---- */

/* Where secrets go: scheme, host, port. */
static char *place_of(const BhOutput *o) {
        if (o->type == BH_OUTPUT_SYSLOG)
                return g_strdup_printf("%s %s %u", transports[o->transport], o->host ? o->host : "", o->port);
        g_autoptr(GUri) uri = o->url ? g_uri_parse(o->url, G_URI_FLAGS_ENCODED, NULL) : NULL;
        if (!uri)
                return g_strdup("");
        g_autofree char *scheme = g_ascii_strdown(g_uri_get_scheme(uri), -1), *host = g_ascii_strdown(g_uri_get_host(uri), -1);
        int port = g_uri_get_port(uri);
        return g_strdup_printf("%s %s %d", scheme, host, port > 0 ? port : g_str_equal(scheme, "https") ? 443 : 80);
}

/* A secret must not be led to another place by who cannot read it. */
static const BhOutput *same_place(const BhOutput *o, const BhOutput *old) {
        if (!old || old->type != o->type)
                return NULL;
        g_autofree char *here = place_of(o), *there = place_of(old);
        return g_str_equal(here, there) ? old : NULL;
}

/* A secret that is not given, or given as true as it was shown, stays. */
static gboolean secret(Reader *r, const char *name, gsize max, gboolean lines, const char *before, char **out) {
        json_t *v = json_object_get(r->o, name);

        if (before && (!v || json_is_true(v))) {
                member(r, name);
                *out = g_strdup(before);
                return TRUE;
        }
        return text(r, name, max, lines, out);
}

static gboolean file_members(Reader *r, BhOutput *o) {
        if (!text(r, "file", 128, FALSE, &o->file))
                return FALSE;
        gboolean ok = o->file && o->file[0] != '.';
        for (const char *p = o->file; ok && *p; p++)
                ok = g_ascii_isalnum(*p) || strchr("._-", *p);
        return ok || invalid(r->error, "\"file\" must be a name of letters, digits, \".\", \"_\" and \"-\" that does not begin with \".\": it is made in the directory for alerts (--alert-dir)");
}

static gboolean is_host(const char *host) {
        if (!host || !*host || strlen(host) > 253)
                return FALSE;
        for (const char *p = host; *p; p++)
                if (!g_ascii_isalnum(*p) && !strchr(".-_:", *p))
                        return FALSE;
        return TRUE;
}

static gboolean pem(Reader *r, const char *name, const char *begins, char **out) {
        if (!text(r, name, PEM_MAX, TRUE, out))
                return FALSE;
        return !*out || strstr(*out, begins) || invalid(r->error, "\"%s\" must be PEM text with \"%s\"", name, begins);
}

/* `same`: the configuration before, if it goes to the same place. */
static gboolean tls_members(Reader *r, BhOutput *o, gboolean used, const BhOutput *same) {
        if (!pem(r, "ca", "-----BEGIN CERTIFICATE-----", &o->ca) || !pem(r, "certificate", "-----BEGIN CERTIFICATE-----", &o->certificate) ||
            !secret(r, "key", PEM_MAX, TRUE, used && o->certificate && same ? same->key : NULL, &o->key))
                return FALSE;
        if (o->key && !strstr(o->key, "PRIVATE KEY-----"))
                return invalid(r->error, "\"key\" must be PEM text with a private key");
        if (!used && (o->ca || o->certificate || o->key))
                return invalid(r->error, "\"ca\", \"certificate\" and \"key\" are for TLS, which this output does not use");
        return TRUE;
}

static gboolean syslog_members(Reader *r, BhOutput *o, const BhOutput *old) {
        guint transport = BH_SYSLOG_TRANSPORTS, facility = 16, port = 0;

        if (!one_of(r, "transport", transports, BH_SYSLOG_TRANSPORTS, &transport) || !one_of(r, "facility", facilities, G_N_ELEMENTS(facilities), &facility) ||
            !text(r, "host", 253, FALSE, &o->host) || !number(r, "port", 1, 65535, &port))
                return FALSE;
        if (transport == BH_SYSLOG_TRANSPORTS)
                return invalid(r->error, "\"transport\" must be one of udp, tcp, tls, local");
        o->transport = (BhSyslogTransport) transport;
        o->facility = facility;
        if (transport == BH_SYSLOG_LOCAL && (o->host || port))
                return invalid(r->error, "\"host\" and \"port\" are not for the local syslog, which is at /dev/log");
        if (transport != BH_SYSLOG_LOCAL && !is_host(o->host))
                return invalid(r->error, "\"host\" must be a name or an address");
        o->port = (guint16) (port ? port : transport == BH_SYSLOG_TLS ? 6514 : 514);
        return tls_members(r, o, transport == BH_SYSLOG_TLS, same_place(o, old));
}

/* http://host[:port]/…, nothing that hides where it goes. */
static gboolean check_url(Reader *r, const BhOutput *o) {
        g_autoptr(GError) why = NULL;
        g_autoptr(GUri) uri = o->url ? g_uri_parse(o->url, G_URI_FLAGS_ENCODED, &why) : NULL;

        if (!uri || !g_uri_get_host(uri) || !*g_uri_get_host(uri) ||
            (g_ascii_strcasecmp(g_uri_get_scheme(uri), "https") && g_ascii_strcasecmp(g_uri_get_scheme(uri), "http")))
                return invalid(r->error, "\"url\" must be an address like https://host:port/path%s%s", why ? ": " : "", why ? why->message : "");
        if (g_uri_get_userinfo(uri))
                return invalid(r->error, "\"url\" must not hold a user or a password: give them as the header Authorization, which nobody can read back");
        if (g_uri_get_fragment(uri))
                return invalid(r->error, "\"url\" must not have a fragment (#…)");
        for (const char *p = o->url_secret; p && *p; p++)
                if ((guint8) *p <= 0x20 || (guint8) *p >= 0x7f || *p == '#')
                        return invalid(r->error, "\"url_secret\" must be the rest of an address: no spaces, no \"#\", nothing but ASCII");
        /* it is glued to the address: without a path there it could become part of the host's name */
        if (o->url_secret && (!g_uri_get_path(uri) || !*g_uri_get_path(uri)))
                return invalid(r->error, "with \"url_secret\", \"url\" must have a path, at least \"/\"");
        return TRUE;
}

static gboolean is_token(const char *s) {
        if (!*s || strlen(s) > 128)
                return FALSE;
        for (; *s; s++)
                if (!g_ascii_isalnum(*s) && !strchr("!#$%&'*+-.^_`|~", *s))
                        return FALSE;
        return TRUE;
}

static gboolean header_members(Reader *r, BhOutput *o, const BhOutput *old) {
        static const char *const ours[] = { "content-type", "content-length", "transfer-encoding", "host", "connection", "expect", "bulkhead-delivery-id", "user-agent", NULL };
        json_t *v = member(r, "headers"), *value;
        const char *name;

        if (v && (!json_is_object(v) || json_object_size(v) > BH_OUTPUT_LIST_MAX))
                return invalid(r->error, "\"headers\" must be an object of at most %d names with texts", BH_OUTPUT_LIST_MAX);
        json_object_foreach(v, name, value) {
                g_autofree char *lower = g_ascii_strdown(name, -1);

                if (!is_token(name) || g_strv_contains(ours, lower))
                        return invalid(r->error, "\"headers\": a header cannot be called \"%.40s\"", name);
                /* true: as it is, which is what a reader was shown */
                if (json_is_true(value) && old && g_hash_table_contains(old->headers, name)) {
                        g_hash_table_insert(o->headers, g_strdup(name), g_strdup(g_hash_table_lookup(old->headers, name)));
                        continue;
                }
                if (!json_is_string(value) || json_string_length(value) > TEXT_MAX)
                        return invalid(r->error, "\"headers\": the value of \"%s\" must be given, as a text of at most %u bytes", name, TEXT_MAX);
                for (const char *p = json_string_value(value); *p; p++)
                        if ((guint8) *p < 0x20 || *p == 0x7f)
                                return invalid(r->error, "\"headers\": the value of \"%s\" must not hold control characters", name);
                g_hash_table_insert(o->headers, g_strdup(name), g_strdup(json_string_value(value)));
        }
        return TRUE;
}

static gboolean webhook_members(Reader *r, BhOutput *o, const BhOutput *old) {
        guint timeout = TIMEOUT_DEFAULT;

        if (!text(r, "url", TEXT_MAX, FALSE, &o->url) || !number(r, "timeout", 1, TIMEOUT_MAX, &timeout))
                return FALSE;
        o->timeout = timeout;
        if (!check_url(r, o))
                return FALSE;

        const BhOutput *same = same_place(o, old);
        if (!secret(r, "url_secret", TEXT_MAX, FALSE, same ? same->url_secret : NULL, &o->url_secret) || !check_url(r, o))
                return FALSE;
        if (same && !json_object_get(r->o, "headers")) {
                GHashTableIter it;
                gpointer name, value;

                member(r, "headers");
                g_hash_table_iter_init(&it, same->headers);
                while (g_hash_table_iter_next(&it, &name, &value))
                        g_hash_table_insert(o->headers, g_strdup(name), g_strdup(value));
        } else if (!header_members(r, o, same)) {
                return FALSE;
        }
        return tls_members(r, o, g_ascii_strncasecmp(o->url, "https:", 6) == 0, same);
}

static gboolean read_all(Reader *r, BhOutput *o, const BhOutput *old) {
        guint type = BH_OUTPUT_TYPES, format;
        const char *name;
        json_t *v;

        if (!one_of(r, "type", types, BH_OUTPUT_TYPES, &type))
                return FALSE;
        if (type == BH_OUTPUT_TYPES)
                return invalid(r->error, "\"type\" must be one of stdout, file, syslog, webhook");
        o->type = (BhOutputType) type;
        o->enabled = TRUE;
        format = type == BH_OUTPUT_WEBHOOK ? BH_FORMAT_BULKHEAD : type == BH_OUTPUT_SYSLOG ? BH_FORMAT_TEXT : BH_FORMAT_FALCO;
        static const char *const formats[] = { "text", "falco", "bulkhead" };
        if (!one_of(r, "format", formats, BH_FORMATS, &format) || !truth(r, "enabled", &o->enabled) || !filters(r, o))
                return FALSE;
        o->format = (BhFormat) format;
        if ((type == BH_OUTPUT_FILE && !file_members(r, o)) || (type == BH_OUTPUT_SYSLOG && !syslog_members(r, o, old)) || (type == BH_OUTPUT_WEBHOOK && !webhook_members(r, o, old)))
                return FALSE;
        if ((o->certificate != NULL) != (o->key != NULL))
                return invalid(r->error, "\"certificate\" and \"key\" go together");
        json_object_foreach(r->o, name, v)
                if (!g_hash_table_contains(r->known, name))
                        return invalid(r->error, "an output of the type %s has no \"%.40s\"", types[type], name);
        return TRUE;
}

BhOutput *bh_output_parse(const char *name, const char *id, const char *json, gsize len, const BhOutput *old, GError **error) {
        g_autoptr(GHashTable) known = g_hash_table_new(g_str_hash, g_str_equal);
        g_autoptr(BhOutput) o = g_new0(BhOutput, 1);
        json_error_t e;
        guint depth = 0;

        o->name = g_strdup(name);
        o->id = g_strdup(id);
        o->headers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        if (!bh_output_check_name(name, error))
                return NULL;
        if (len > BH_OUTPUT_CONFIG_MAX) {
                invalid(error, "an output's configuration has at most %u bytes", BH_OUTPUT_CONFIG_MAX);
                return NULL;
        }
        for (gsize i = 0; i < len; i++) {
                depth += json[i] == '[' || json[i] == '{';
                if (depth > 1024) {
                        invalid(error, "this is no configuration of an output");
                        return NULL;
                }
        }
        json_auto_t *object = json_loadb(json, len, JSON_REJECT_DUPLICATES, &e);
        if (!json_is_object(object)) {
                object ? invalid(error, "an output's configuration is a JSON object") : invalid(error, "not JSON: line %d, column %d", e.line, e.column);
                return NULL;
        }
        Reader r = { object, known, error };
        if (!read_all(&r, o, old))
                return NULL;
        return g_steal_pointer(&o);
}

void bh_output_free(BhOutput *o) {
        if (!o)
                return;
        char *texts[] = { o->name, o->id, o->file, o->host, o->ca, o->certificate, o->key, o->url, o->url_secret };

        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                g_free(texts[i]);
        g_strfreev(o->sources);
        g_strfreev(o->tags);
        g_strfreev(o->rules);
        g_clear_pointer(&o->headers, g_hash_table_unref);
        g_free(o);
}

/* ---- as JSON ---- */

static void set_list(json_t *o, const char *name, char *const *list) {
        json_t *a = json_array();

        for (; list && *list; list++)
                json_array_append_new(a, json_string(*list));
        json_object_set_new(o, name, a);
}

static void set_text(json_t *o, const char *name, const char *text_) {
        json_object_set_new(o, name, text_ ? json_string(text_) : json_null());
}

static void set_secret(json_t *o, const char *name, const char *text_, gboolean secrets) {
        if (text_)
                json_object_set_new(o, name, secrets ? json_string(text_) : json_true());
}

static int by_text(gconstpointer a, gconstpointer b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static void set_headers(json_t *to, const BhOutput *o, gboolean secrets) {
        json_t *headers = json_object();
        guint n;
        g_autofree char **header_names = (char **) g_hash_table_get_keys_as_array(o->headers, &n);

        qsort(header_names, n, sizeof(char *), by_text);
        for (guint i = 0; i < n; i++)
                json_object_set_new(headers, header_names[i], secrets ? json_string(g_hash_table_lookup(o->headers, header_names[i])) : json_true());
        json_object_set_new(to, "headers", headers);
}

char *bh_output_dump(const BhOutput *o, gboolean secrets) {
        static const char *const ranks[] = { "emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug" };
        json_auto_t *out = json_object();

        set_text(out, "type", types[o->type]);
        json_object_set_new(out, "enabled", json_boolean(o->enabled));
        set_text(out, "format", bh_format_name(o->format));
        set_text(out, "minimum_priority", ranks[o->max_rank]);
        set_list(out, "sources", o->sources);
        set_list(out, "tags", o->tags);
        set_list(out, "rules", o->rules);
        if (o->type == BH_OUTPUT_FILE)
                set_text(out, "file", o->file);
        if (o->type == BH_OUTPUT_SYSLOG) {
                set_text(out, "transport", transports[o->transport]);
                set_text(out, "facility", facilities[o->facility]);
                if (o->host) {
                        set_text(out, "host", o->host);
                        json_object_set_new(out, "port", json_integer(o->port));
                }
        }
        if (o->type == BH_OUTPUT_WEBHOOK) {
                set_text(out, "url", o->url);
                set_secret(out, "url_secret", o->url_secret, secrets);
                set_headers(out, o, secrets);
                json_object_set_new(out, "timeout", json_integer(o->timeout));
        }
        if (o->ca)
                set_text(out, "ca", o->ca);
        if (o->certificate)
                set_text(out, "certificate", o->certificate);
        set_secret(out, "key", o->key, secrets);
        return json_dumps(out, JSON_COMPACT);
}

char *bh_output_target(const BhOutput *o) {
        switch (o->type) {
        case BH_OUTPUT_FILE:
                return g_strdup_printf("file %s", o->file);
        case BH_OUTPUT_SYSLOG:
                if (o->transport == BH_SYSLOG_LOCAL)
                        return g_strdup("syslog /dev/log");
                return g_strdup_printf(strchr(o->host, ':') ? "syslog %s [%s]:%u" : "syslog %s %s:%u", transports[o->transport], o->host, o->port);
        case BH_OUTPUT_WEBHOOK:
                return g_strdup_printf("%s%s", o->url, o->url_secret ? "…" : "");
        default:
                return g_strdup("standard output");
        }
}

guint16 bh_output_tcp_port(const BhOutput *o, gboolean *resolves) {
        g_autofree char *url_host = NULL;
        const char *host = o->host;
        guint16 port = o->type == BH_OUTPUT_SYSLOG && (o->transport == BH_SYSLOG_TCP || o->transport == BH_SYSLOG_TLS) ? o->port : 0;
        struct in6_addr any_address;

        if (o->type == BH_OUTPUT_WEBHOOK) {
                g_autoptr(GUri) uri = g_uri_parse(o->url, G_URI_FLAGS_ENCODED, NULL);
                int given = uri ? g_uri_get_port(uri) : 0;

                host = url_host = g_strdup(uri ? g_uri_get_host(uri) : "");
                port = (guint16) (given > 0 ? given : g_ascii_strncasecmp(o->url, "https:", 6) == 0 ? 443 : 80);
        }
        *resolves = host && !inet_pton(AF_INET, host, &any_address) && !inet_pton(AF_INET6, host, &any_address);
        return port;
}

gboolean bh_output_needs_network(const BhOutput *o) {
        return o->type == BH_OUTPUT_WEBHOOK || (o->type == BH_OUTPUT_SYSLOG && o->transport != BH_SYSLOG_LOCAL);
}

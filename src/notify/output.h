/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An output's configuration: where alerts go, in which form, and which of them. One JSON object, as the API takes it (docs/outputs.md):
 *
 *     { "type": "webhook", "enabled": true, "format": "falco", "minimum_priority": "warning", "sources": [], "tags": [], "rules": [],
 *       "url": "https://…", "url_secret": "…", "headers": { "Authorization": "…" }, "ca": "PEM", "timeout": 10 }
 *     { "type": "syslog", "transport": "udp" | "tcp" | "tls" | "local", "host": "…", "port": 514, "facility": "local0", "ca": "PEM", "certificate": "PEM", "key": "PEM", … }
 *     { "type": "file", "file": "NAME", … }     { "type": "stdout", … }
 *
 * Secrets (url_secret, values of headers, key) can be written and never read: bh_output_show() has true in their place. What parses here comes from
 * administrators and from the database: fuzz_notify.
 *
 * Pure; values are immutable once parsed, so any thread may read.
 */
#pragma once
#include "notify/format.h"

#define BH_OUTPUTS_MAX 16
#define BH_OUTPUT_CONFIG_MAX (60u << 10) /* bytes of the JSON text */
#define BH_OUTPUT_NAME_MAX 64
#define BH_OUTPUT_LIST_MAX 64            /* sources, tags, rules, headers */

typedef enum { BH_OUTPUT_STDOUT, BH_OUTPUT_FILE, BH_OUTPUT_SYSLOG, BH_OUTPUT_WEBHOOK, BH_OUTPUT_TYPES } BhOutputType;
typedef enum { BH_SYSLOG_UDP, BH_SYSLOG_TCP, BH_SYSLOG_TLS, BH_SYSLOG_LOCAL, BH_SYSLOG_TRANSPORTS } BhSyslogTransport;

typedef struct {
        char *name; /* [a-z0-9] and then [a-z0-9._-] */
        char *id;   /* names it for the queue: another output of the same name is another one */
        BhOutputType type;
        gboolean enabled;
        BhFormat format;
        guint max_rank;               /* 0 = emergency … 7 = all */
        char **sources, **tags, **rules; /* patterns with * and ?; empty: all, but for the source "incident", which must be asked for */

        char *file;

        BhSyslogTransport transport;
        char *host;
        guint16 port;
        guint facility; /* 0 … 23 */
        char *ca, *certificate, *key; /* PEM, NULL: the system's; none */

        char *url, *url_secret;
        GHashTable *headers; /* char * -> char * */
        guint timeout;       /* seconds */
} BhOutput;

/* A name that an output may have: else a sentence. */
gboolean bh_output_check_name(const char *name, GError **error);

/*
 * The whole of it. BH_NOTIFY_ERROR_INVALID with a sentence that names the member. `old` (may be NULL) is the configuration that this one
 * replaces: secrets that are not given are taken from it, if they would go to the same place (scheme, host and port) as before.
 */
BhOutput *bh_output_parse(const char *name, const char *id, const char *json, gsize len, const BhOutput *old, GError **error);
void bh_output_free(BhOutput *o);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhOutput, bh_output_free)

/* As JSON text: with its secrets, for the store; without, for everybody else. Caller frees. */
char *bh_output_dump(const BhOutput *o, gboolean secrets);
const char *bh_output_type_name(BhOutputType type);
const char *bh_output_transport_name(BhSyslogTransport transport);
/* "syslog tcp log.example:514", "https://host/path", "file alerts.json", "standard output". Caller frees. */
char *bh_output_target(const BhOutput *o);

/* The TCP port that it connects to; 0: none. *names: it must resolve a name. */
guint16 bh_output_tcp_port(const BhOutput *o, gboolean *names);
/* It needs sockets other than of this machine. */
gboolean bh_output_needs_network(const BhOutput *o);

/* Whether it wants this alert. */
gboolean bh_output_wants(const BhOutput *o, const BhAlert *a);

/* * and ?; linear in time whatever the pattern. */
gboolean bh_output_glob(const char *pattern, const char *text);

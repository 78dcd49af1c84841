/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an event needs from bytes that an attacker wrote, read by bulkhead-inspect (parse/inspect_client.h) and never by the sensor: the DNS message
 * that it carries, and the names of its user and group (names.h).
 *
 * The drain thread begins an inspection when an event comes, asks whether it is ready, and finishes it when the event goes on. An event waits
 * for its DNS message at most BH_INSPECTOR_DNS_MS, an exec for the first table of names of its container at most BH_INSPECTOR_NAMES_MS; it then goes on
 * without, a DNS message with the problem "lost: late". The inspector may die, hang or be refused anything: each is a word in dns.problem.
 *
 * An event of another kind, in a container whose names are known, costs one look-up.
 */
#pragma once
#include <jansson.h>

#include "container/container.h"
#include "event/event.h"
#include "parse/elf.h"
#include "parse/protocol.h"

#define BH_INSPECTOR_DNS_MS 200
#define BH_INSPECTOR_NAMES_MS 100
#define BH_INSPECTOR_PROTOCOL_MS 2000   /* nobody waits for it */
#define BH_INSPECTOR_ANSWERS_MAX 64u    /* records of a message that become dns.answers */
#define BH_INSPECTOR_ANSWERS_BYTES 4096u
#define BH_INSPECTOR_TEXT_MAX 255u      /* of a TXT record */

typedef struct BhInspector BhInspector;
typedef struct BhDnsTicket BhDnsTicket;

/* One event's. All zero: nothing to wait for. */
typedef struct {
        BhDnsTicket *dns;
        guint64 names; /* key of the table of names that it waits for; 0: none */
        struct BhWebTicket *web; /* requests that it may be due to (web_watch.h); whoever began it frees it */
} BhInspection;

typedef struct {
        const char *proc, *host_root;
        /* The inspector ended or could not be started: action, sentence, and one attribute. On a thread of its client. */
        void (*say)(const char *action, const char *message, const char *key, const char *value, gpointer data);
        gpointer data;
} BhInspectorConfig;

/* Starts the inspector's client, whose children inherit the caller's privileges but for what they drop. NULL with *error: the program is not there. */
BhInspector *bh_inspector_new(const BhInspectorConfig *config, GError **error);
/* When no drain thread runs any more. NULL is allowed. */
void bh_inspector_free(BhInspector *i);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhInspector, bh_inspector_free)

/* Drain thread. */

/* Takes what has been answered; once in each round. */
void bh_inspector_poll(BhInspector *i);
/* `c`: the container that it is in, as far as is known; `undecided`: it is not known whether there is one. */
BhInspection bh_inspector_begin(BhInspector *i, const struct bh_event *e, const BhContainer *c, gboolean undecided, gint64 now_us);
/* `since_us`: when it began. */
gboolean bh_inspector_ready(BhInspector *i, const BhInspection *x, gint64 since_us, gint64 now_us);
/* Sets the event's fields; they are good until bh_inspection_clear(), and until the next call of poll or begin. */
void bh_inspector_finish(BhInspector *i, BhInspection *x, struct bh_event *e, const BhContainer *c, gint64 now_us);
void bh_inspection_clear(BhInspection *x);
/* Names of ids in the container with that id (NULL: the host); NULL where there are none. */
void bh_inspector_names(BhInspector *i, const char *container, guint32 uid, guint32 gid, const char **user, const char **group);

/*
 * What a connection speaks. `facts`: NULL when the inspector gave no answer, `problem` then says why; with protocol UNKNOWN when the bytes did
 * not tell. Good during the call only. On the inspector's thread: must not block.
 */
typedef void (*BhInspectorProtocol)(const BhProtocolFacts *facts, const char *problem, gpointer data);
/* Any thread. The bytes are copied. FALSE when the inspector takes no more at the moment (counted); `done` is then never called, else exactly once. */
gboolean bh_inspector_protocol(BhInspector *i, const BhProtocolInput *in, BhInspectorProtocol done, gpointer data);

/* What an ELF file has of `wanted`, from a sealed memfd (the caller's). Waits, at most some seconds: not the drain thread. NULL with *error. */
BhElf *bh_inspector_elf(BhInspector *i, int memfd, const BhElfWanted *wanted, GError **error);

/* For the status. New reference; any thread. */
json_t *bh_inspector_status(BhInspector *i);

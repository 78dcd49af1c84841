/* SPDX-License-Identifier: Apache-2.0 */
#include "inspector.h"

#include <string.h>

#include "base/log.h"
#include "dns_text.h"
#include "names.h"
#include "parse/inspect_client.h"

#define ELF_WAIT_MS 5000
#define LATE_US (BH_INSPECTOR_DNS_MS * 1000)

/* Shared by the drain thread, which may go on without it, and the client's. */
struct BhDnsTicket {
        gatomicrefcount refs;
        gint done;
        char problem[64]; /* "" = `text` is filled */
        BhDnsText text;
};

struct BhInspector {
        BhInspectorConfig c;
        BhInspectClient *client;
        BhNames *names;
        GMutex lock;
        guint64 dns, late; /* messages; of these, that were waited for in vain */
        guint64 looked, recognised, unanswered; /* first bytes of connections */
};

/* ---- DNS ---- */

static void ticket_unref(BhDnsTicket *t) {
        if (!g_atomic_ref_count_dec(&t->refs))
                return;
        bh_dns_text_clear(&t->text);
        g_free(t);
}

static void on_dns(BhInspectAnswer *answer, gpointer data) {
        BhDnsTicket *t = data;

        if (answer->dns)
                bh_dns_text_init(&t->text, answer->dns, BH_INSPECTOR_ANSWERS_MAX, BH_INSPECTOR_ANSWERS_BYTES, BH_INSPECTOR_TEXT_MAX);
        else if (answer->status == BH_INSPECT_LOST)
                g_snprintf(t->problem, sizeof(t->problem), "lost: %s", bh_inspect_lost_name(answer->lost));
        else
                g_strlcpy(t->problem, "malformed", sizeof(t->problem));
        g_atomic_int_set(&t->done, 1);
        ticket_unref(t);
}

static BhDnsTicket *ask_dns(BhInspector *i, const struct bh_event *e) {
        BhDnsTicket *t = g_new0(BhDnsTicket, 1);
        g_autoptr(GBytes) payload = g_bytes_new(e->payload.p, e->payload.len);

        g_atomic_ref_count_init(&t->refs);
        g_atomic_ref_count_inc(&t->refs);
        if (!bh_inspect_submit(i->client, BH_INSPECT_DNS, payload, -1, BH_INSPECTOR_DNS_MS, on_dns, t)) {
                g_strlcpy(t->problem, "lost: refused", sizeof(t->problem));
                t->done = 1;
                ticket_unref(t);
        }
        return t;
}

static void set_dns(BhInspector *i, BhDnsTicket *t, struct bh_event *e) {
        gboolean done = g_atomic_int_get(&t->done);

        g_mutex_lock(&i->lock);
        i->dns++;
        i->late += !done;
        g_mutex_unlock(&i->lock);
        if (!done) {
                BH_SET_STR(e, dns_problem, "lost: late");
                return;
        }
        if (*t->problem) {
                BH_SET_STR(e, dns_problem, t->problem);
                return;
        }
        BH_SET_STR(e, dns_type, t->text.type);
        BH_SET_STR(e, dns_question, t->text.question);
        BH_SET_STR(e, dns_qtype, t->text.qtype);
        BH_SET_STR(e, dns_rcode, t->text.rcode);
        BH_SET_STR(e, dns_problem, t->text.problem);
        if (t->text.addresses)
                BH_SET(e, dns_ttl, t->text.ttl);
        if (t->text.answers->len)
                BH_SET(e, dns_answers, ((struct bh_str){ (const char *) t->text.answers->data, t->text.answers->len }));
}

/* ---- life ---- */

static void on_problem(const char *problem, gpointer data) {
        BhInspector *i = data;
        BhInspectClient *client = g_atomic_pointer_get(&i->client); /* NULL: its thread was faster than its maker */
        BhInspectStats stats = { 0 };

        if (client)
                bh_inspect_client_stats(client, &stats);
        bh_warn("the inspector", "problem", problem);
        /* one that cannot be started is tried again and again: equal findings are told once a minute */
        if (stats.starts <= stats.start_failures)
                i->c.say("inspector_away", "the inspector cannot be started; payloads and files of containers are not read", "problem", problem, i->c.data);
        else
                i->c.say("inspector_lost", "the inspector ended and is started again; what it worked on is lost", "problem", problem, i->c.data);
}

BhInspector *bh_inspector_new(const BhInspectorConfig *config, GError **error) {
        g_autofree char *program = bh_inspect_find_program("bulkhead-inspect", error);

        if (!program)
                return NULL;

        BhInspector *i = g_new0(BhInspector, 1);
        i->c = *config;
        g_mutex_init(&i->lock);

        BhInspectConfig config_of = { .program = program, .on_problem = on_problem, .data = i };
        BhInspectClient *client = bh_inspect_client_new(&config_of, error);
        if (!client) {
                g_mutex_clear(&i->lock);
                g_free(i);
                return NULL;
        }
        g_atomic_pointer_set(&i->client, client);
        i->names = bh_names_new(i->client, config->proc, config->host_root);
        return i;
}

void bh_inspector_free(BhInspector *i) {
        if (!i)
                return;
        if (!bh_names_free(i->names)) {
                bh_warn("a container's file system does not answer; a thread that reads it is left behind");
                return;
        }
        bh_inspect_client_free(i->client);
        g_mutex_clear(&i->lock);
        g_free(i);
}

/* ---- the drain thread ---- */

void bh_inspector_poll(BhInspector *i) {
        bh_names_poll(i->names);
}

static guint64 touch(BhInspector *i, const struct bh_event *e, const BhContainer *c, gint64 now_us) {
        return bh_names_touch(i->names, c, bh_event_has(e, BH_F_mnt_ns) ? e->mnt_ns : 0, e->pid, e->type == BH_EV_EXEC, now_us);
}

BhInspection bh_inspector_begin(BhInspector *i, const struct bh_event *e, const BhContainer *c, gboolean undecided, gint64 now_us) {
        BhInspection x = { 0 };

        if (e->type == BH_EV_DNS && bh_event_has(e, BH_F_payload) && e->payload.len)
                x.dns = ask_dns(i, e);
        if (e->type == BH_EV_EXEC && !undecided && bh_event_has(e, BH_F_pid)) {
                x.names = touch(i, e, c, now_us);
                if (!bh_names_pending(i->names, x.names))
                        x.names = 0;
        }
        return x;
}

gboolean bh_inspector_ready(BhInspector *i, const BhInspection *x, gint64 since_us, gint64 now_us) {
        if (x->dns && !g_atomic_int_get(&x->dns->done) && now_us - since_us < LATE_US)
                return FALSE;
        return !x->names || now_us - since_us >= BH_INSPECTOR_NAMES_MS * 1000 || !bh_names_pending(i->names, x->names);
}

void bh_inspector_finish(BhInspector *i, BhInspection *x, struct bh_event *e, const BhContainer *c, gint64 now_us) {
        if (x->dns)
                set_dns(i, x->dns, e);
        if (bh_event_has(e, BH_F_pid) && (bh_event_has(e, BH_F_uid) || bh_event_has(e, BH_F_gid)))
                bh_names_set(i->names, touch(i, e, c, now_us), e);
}

void bh_inspection_clear(BhInspection *x) {
        g_clear_pointer(&x->dns, ticket_unref);
}

void bh_inspector_names(BhInspector *i, const char *container, guint32 uid, guint32 gid, const char **user, const char **group) {
        bh_names_of(i->names, container, uid, gid, user, group);
}

/* ---- protocols of connections ---- */

typedef struct {
        BhInspector *i;
        BhInspectorProtocol done;
        gpointer data;
} Look;

static void count_look(BhInspector *i, gboolean answered, gboolean recognised) {
        g_mutex_lock(&i->lock);
        i->looked++;
        i->recognised += recognised;
        i->unanswered += !answered;
        g_mutex_unlock(&i->lock);
}

static void on_protocol(BhInspectAnswer *answer, gpointer data) {
        g_autofree Look *look = data;

        count_look(look->i, answer->protocol != NULL, answer->protocol && answer->protocol->protocol);
        look->done(answer->protocol, answer->problem, look->data);
}

gboolean bh_inspector_protocol(BhInspector *i, const BhProtocolInput *in, BhInspectorProtocol done, gpointer data) {
        g_autoptr(GByteArray) body = g_byte_array_new();
        g_autofree Look *look = g_new(Look, 1);

        *look = (Look) { i, done, data };
        bh_inspect_pack_look(body, in);
        g_autoptr(GBytes) bytes = g_byte_array_free_to_bytes(g_steal_pointer(&body));
        if (!bh_inspect_submit(i->client, BH_INSPECT_PROTOCOL, bytes, -1, BH_INSPECTOR_PROTOCOL_MS, on_protocol, look)) {
                count_look(i, FALSE, FALSE);
                return FALSE;
        }
        g_steal_pointer(&look);
        return TRUE;
}

/* ---- status ---- */

static json_t *number(guint64 n) {
        return json_integer((json_int_t) n);
}

BhElf *bh_inspector_elf(BhInspector *i, int memfd, const BhElfWanted *wanted, GError **error) {
        g_autoptr(GByteArray) body = g_byte_array_new();
        g_auto(BhInspectAnswer) answer = { 0 };

        bh_inspect_pack_wanted(body, wanted);
        g_autoptr(GBytes) bytes = g_byte_array_free_to_bytes(g_steal_pointer(&body));
        if (!bh_inspect_ask(i->client, BH_INSPECT_ELF, bytes, memfd, ELF_WAIT_MS, &answer, error))
                return NULL;
        return g_steal_pointer(&answer.elf);
}

json_t *bh_inspector_status(BhInspector *i) {
        BhInspectStats s;
        BhNamesStats n;
        json_t *o = json_object(), *lost = json_object();

        bh_inspect_client_stats(i->client, &s);
        bh_names_stats(i->names, &n);
        g_autofree char *problem = g_utf8_make_valid(s.problem, -1);

        json_object_set_new(o, "state", json_string(s.ready ? "ready" : "not ready"));
        json_object_set_new(o, "problem", json_string(problem));
        json_object_set_new(o, "pid", number((guint64) s.pid));
        json_object_set_new(o, "layers", number(s.layers));
        json_object_set_new(o, "starts", number(s.starts));
        json_object_set_new(o, "start_failures", number(s.start_failures));
        json_object_set_new(o, "asked", number(s.submitted));
        json_object_set_new(o, "answered", number(s.answered));
        json_object_set_new(o, "malformed", number(s.malformed));
        json_object_set_new(o, "refused", number(s.refused));
        for (guint r = 0; r < BH_INSPECT_LOST_REASONS; r++)
                json_object_set_new(lost, bh_inspect_lost_name(r), number(s.lost[r]));
        json_object_set_new(o, "lost", lost);
        g_mutex_lock(&i->lock);
        json_object_set_new(o, "dns", json_pack("{s:o, s:o}", "messages", number(i->dns), "late", number(i->late)));
        json_object_set_new(o, "protocols", json_pack("{s:o, s:o, s:o}", "looked", number(i->looked), "recognised", number(i->recognised), "unanswered", number(i->unanswered)));
        g_mutex_unlock(&i->lock);
        json_object_set_new(o, "names", json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "tables", number(n.tables), "bytes", number(n.bytes), "busy", number(n.busy), "loads",
                                                  number(n.loads), "unchanged", number(n.unchanged), "failed", number(n.failed), "refused", number(n.refused), "evicted",
                                                  number(n.evicted)));
        return o;
}

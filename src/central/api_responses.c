/* SPDX-License-Identifier: Apache-2.0 */
/* what is done to containers, by whom and why, and its undoing */
#include <string.h>

#include "json_out.h"
#include "response/deny.h"
#include "response/response.h"
#include "response_subject.h"
#include "responses.h"
#include "routes.h"
#include "store/store_inventory.h"

#define BRIEF_DETAIL_MAX (64u << 10)
#define PEERS_BYTES 49152 /* as many of the longest as there may be */
#define HELD_MAX 50u       /* containers held or ended at a time, where nobody insists */
#define WORKLOAD_PART 2u   /* of a workload's running containers one in so many at most */

/* ---- reading ---- */

/* What it refused, as its node told last. Lists do not read it. An incident has a hundred responses, and a node writes what it wants: beyond `max` bytes it is not looked at. */
static void append_refused(GString *out, const char *detail, gsize max) {
        json_auto_t *d = detail && *detail && strlen(detail) <= max ? json_loads(detail, 0, NULL) : NULL;
        json_t *net = json_object_get(d, "refused");

        if (!d) {
                bh_json_text(out, "refused", NULL);
                return;
        }
        bh_json_open(out, "refused", '{');
        bh_json_uint(out, "acts", (guint64) json_integer_value(json_object_get(json_object_get(d, "refused_acts"), "acts")));
        bh_json_uint(out, "observed", (guint64) json_integer_value(json_object_get(json_object_get(d, "observed_acts"), "acts")));
        bh_json_uint(out, "packets", (guint64) json_integer_value(json_object_get(net, "packets")));
        bh_json_uint(out, "calls", (guint64) json_integer_value(json_object_get(net, "calls")));
        json_t *last = json_object_get(d, "last_refused");
        bh_json_text(out, "last", json_string_value(last ? last : json_object_get(d, "last_observed")));
        bh_json_close(out, '}');
}

void bh_view_response(GString *out, const char *key, const BhStoreResponse *r, gboolean whole) {
        bh_json_open(out, key, '{');
        bh_json_text(out, "id", r->id);
        bh_json_text(out, "action", r->action);
        bh_json_text(out, "state", r->state);
        bh_json_bool(out, "releasing", r->releasing);
        bh_json_text(out, "node", r->node);
        bh_json_text(out, "container_id", r->container_id);
        bh_json_text(out, "container_name", r->container_name);
        bh_json_text(out, "workload", r->workload);
        bh_json_text(out, "application", r->application);
        bh_json_text(out, "subject", r->subject ? r->subject : "");
        bh_json_text(out, "actor", r->actor);
        bh_json_text(out, "reason", r->reason);
        bh_json_raw(out, "allow", r->allow);
        bh_json_raw(out, "deny", r->deny);
        bh_json_bool(out, "best_effort", r->best_effort);
        bh_json_text(out, "result", r->result);
        bh_json_time(out, "until", r->until_ns);
        bh_json_time(out, "created", r->created_ns);
        bh_json_time(out, "changed", r->changed_ns);
        append_refused(out, r->detail, whole ? G_MAXSIZE : BRIEF_DETAIL_MAX);
        if (whole)
                bh_json_raw(out, "detail", r->detail && *r->detail ? r->detail : "{}");
        bh_json_close(out, '}');
}

static gboolean valid_state(const char *state) {
        BhResponseState s;

        return !state || bh_response_state_parse(state, &s);
}

static void view_row(GString *out, gconstpointer row, G_GNUC_UNUSED gpointer data) {
        bh_view_response(out, NULL, row, FALSE);
}

void bh_api_responses(BhCall *call) {
        BhStoreResponseFilter f = {
                .state = bh_call_param(call, "state"),
                .action = bh_call_param(call, "action"),
                .actor = bh_call_param(call, "actor"),
                .node = bh_call_param(call, "node"),
                .container = bh_call_param(call, "container"),
                .application = bh_call_param(call, "application"),
                .workload = bh_call_param(call, "workload"),
        };
        GError *error = NULL;
        guint limit;

        if (!bh_call_limit(call, BH_STORE_LIMIT_MAX, &limit) || !bh_call_flag(call, "open", &f.open))
                return;
        if (!valid_state(f.state)) {
                bh_call_error(call, 400, "bad_state", "\"state\" must be pending, active, released, gone, done, failed or dry_run");
                return;
        }
        BhStorePage *page = bh_store_responses(call->central->store, &f, bh_call_param(call, "cursor"), limit, &error);
        bh_call_page(call, "responses", page, view_row, NULL, NULL, error);
}

static void answer(BhCall *call, const char *id, guint status) {
        GError *error = NULL;
        g_autoptr(BhStoreResponse) r = bh_store_response(call->central->store, id, &error);

        if (!r) {
                bh_call_store_error(call, error);
                return;
        }
        GString *out = g_string_sized_new(4096);
        bh_view_response(out, NULL, r, TRUE);
        bh_call_json(call, status, out);
}

void bh_api_response(BhCall *call) {
        answer(call, call->captures[0], 200);
}

/* ---- ordering ---- */

/* One a line, or peers with blanks or commas between them. FALSE: answered. */
static gboolean read_list(BhCall *call, const char *text, gboolean deny, char **json) {
        g_auto(GStrv) lines = g_strsplit(text ? text : "", "\n", -1);
        g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free), denies = NULL;
        g_autoptr(GArray) peers = NULL, nets = NULL;
        g_autoptr(GString) out = g_string_new(NULL);
        g_autoptr(GError) error = NULL;

        for (guint i = 0; lines[i]; i++) {
                if (deny && bh_deny_is(lines[i])) { /* whole: a path may have blanks and commas */
                        g_ptr_array_add(texts, g_strdup(lines[i]));
                        continue;
                }
                g_auto(GStrv) some = g_strsplit_set(lines[i], ", \t\r", -1);
                for (guint k = 0; some[k]; k++)
                        if (*some[k])
                                g_ptr_array_add(texts, g_strdup(some[k]));
        }
        const char *const *all = (const char *const *) texts->pdata;
        if (!deny)
                peers = bh_peers_parse(all, texts->len, &error);
        else
                denies = bh_denies_parse(all, texts->len, &peers, &error);
        nets = peers && (deny || bh_peers_have_server(all, texts->len, &error)) ? bh_peers_merge(peers, &error) : NULL;
        if (!nets) {
                bh_call_error(call, 400, "bad_peer", "%s", error->message);
                return FALSE;
        }
        bh_json_open(out, NULL, '[');
        for (guint i = 0; i < texts->len; i++)
                bh_json_text(out, NULL, texts->pdata[i]);
        bh_json_close(out, ']');
        bh_json_end(out);
        *json = g_strdup(out->str);
        return TRUE;
}

/* FALSE: answered. */
static gboolean can_lead(BhCall *call, const char *to, const char *destinations) {
        json_auto_t *list = json_loads(destinations, 0, NULL);
        g_autofree const char **texts = g_new0(const char *, json_array_size(list) + 1);
        g_autoptr(GError) error = NULL;
        BhPeer decoy;

        for (size_t i = 0; i < json_array_size(list); i++)
                texts[i] = json_string_value(json_array_get(list, i));
        if (bh_decoy_parse(to, &decoy, &error) && bh_decoy_leads(&decoy, texts, json_array_size(list), &error))
                return TRUE;
        bh_call_error(call, 400, "bad_decoy", "%s", error->message);
        return FALSE;
}

/* From the look at what is held to the row that adds to it: orders that come together must not all find the same room. */
static GMutex ordering;

/* FALSE: answered. Blast radius: what one mistake, or one stolen token, can do at once. */
static gboolean within_limits(BhCall *call, const BhStoreContainer *c, const BhResponseSubject *subject) {
        BhStoreContainerFilter all = { .application = c->application, .workload = subject->project ? NULL : c->workload, .living = TRUE };
        BhStoreResponseFilter open = { .open = TRUE };
        g_autoptr(GHashTable) held = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_autofree char *this = g_strdup_printf("%s/%s", c->node, c->id);
        g_autofree char *cursor = NULL;
        GError *error = NULL;
        guint64 running = 0;
        guint of_workload = 1, scaled = 0;

        do {
                g_autoptr(BhStorePage) page = bh_store_responses(call->central->store, &open, cursor, BH_STORE_LIMIT_MAX, &error);

                if (!page) {
                        bh_call_store_error(call, error);
                        return FALSE;
                }
                for (guint i = 0; i < page->rows->len; i++) {
                        const BhStoreResponse *r = page->rows->pdata[i];
                        char *key = g_strdup_printf("%s/%s", r->node, r->container_id);

                        if (g_str_equal(r->action, bh_response_action_name(BH_RESPONSE_SCALE)))
                                scaled += bh_response_takes(call, r) - 1;
                        if (g_str_equal(r->action, "block") || g_str_equal(r->action, "decoy") || g_str_equal(key, this)) {
                                g_free(key);
                                continue;
                        }
                        if (g_hash_table_add(held, key) && g_str_equal(r->workload, c->workload) && g_str_equal(r->application, c->application))
                                of_workload++;
                }
                g_free(cursor);
                cursor = g_steal_pointer(&page->next);
        } while (cursor);
        if (!bh_store_containers_count(call->central->store, &all, &running, &error)) {
                bh_call_store_error(call, error);
                return FALSE;
        }
        scaled += g_hash_table_size(held);
        if (subject->whole)
                of_workload = (guint) MIN(running, G_MAXINT16);
        if (scaled + (subject->whole ? of_workload : 1) > HELD_MAX) {
                bh_call_error(call, 409, "blast_radius", "%u containers are held already; \"force\": true does it all the same", scaled);
                return FALSE;
        }
        if (running > 1 && of_workload * WORKLOAD_PART > running) {
                bh_call_error(call, 409, "blast_radius", "with this %u of the %" G_GUINT64_FORMAT " running containers of %s would be held; \"force\": true does it all the same", of_workload, running, subject->project ? c->application : c->workload);
                return FALSE;
        }
        return TRUE;
}

/* Writes the row, if there is room for it. FALSE: answered. */
static gboolean add(BhCall *call, const BhStoreResponse *r, const BhStoreContainer *limited, const BhResponseSubject *subject) {
        g_autofree char *object = g_strdup_printf("%s %s", r->node, r->container_name), *detail = g_strdup_printf("%s %s%s%s: %s", r->action, r->id, *r->subject ? " " : "", r->subject, r->reason);
        BhStoreAuditEntry audit = bh_call_audit(call, object, "ok", detail);
        GError *error = NULL;

        g_mutex_lock(&ordering);
        gboolean room = !limited || within_limits(call, limited, subject), ok = room && bh_store_response_add(call->central->store, r, &audit, &error);
        g_mutex_unlock(&ordering);
        if (room && !ok)
                bh_call_store_error(call, error);
        return ok;
}

static void dry_run(BhCall *call, const BhStoreResponse *r) {
        g_autofree char *state = NULL, *result = NULL, *detail = NULL;
        g_autoptr(GError) error = NULL;

        if (!bh_responses_try(call->central->responses, r, &state, &result, &detail, &error)) {
                bh_call_error(call, 503, "node_away", "%s", error->message);
                return;
        }
        BhStoreResponse told = *r;
        told.state = state;
        told.result = result;
        told.detail = detail;
        told.created_ns = told.changed_ns = g_get_real_time() * 1000;
        GString *out = g_string_sized_new(1024);
        bh_view_response(out, NULL, &told, TRUE);
        bh_call_audit_write(call, r->container_name, "ok", "dry run");
        bh_call_json(call, 200, out);
}

void bh_api_response_create(BhCall *call) {
        static const BhBodyField fields[] = {
                { "action", BH_BODY_TEXT, TRUE, 32 },
                { "container", BH_BODY_TEXT, TRUE, BH_STORE_KEY_MAX },
                { "node", BH_BODY_TEXT, FALSE, BH_STORE_KEY_MAX },
                { "reason", BH_BODY_LINES, FALSE, BH_STORE_RESPONSE_REASON_MAX },
                { "ttl", BH_BODY_INT, FALSE, BH_RESPONSE_TTL_MAX_S },
                { "allow", BH_BODY_LINES, FALSE, PEERS_BYTES },
                { "deny", BH_BODY_LINES, FALSE, PEERS_BYTES },
                { "lead", BH_BODY_LINES, FALSE, PEERS_BYTES },
                { "to", BH_BODY_TEXT, FALSE, 128 },
                { "dry_run", BH_BODY_BOOL, FALSE, 0 },
                { "best_effort", BH_BODY_BOOL, FALSE, 0 },
                { "force", BH_BODY_BOOL, FALSE, 0 },
                { "confirm", BH_BODY_TEXT, FALSE, BH_STORE_KEY_MAX },
                { "pid", BH_BODY_INT, FALSE, G_MAXINT },
                { "started", BH_BODY_TEXT, FALSE, 64 },
                { "project", BH_BODY_BOOL, FALSE, 0 },
        };
        json_auto_t *body = bh_call_body(call, fields, G_N_ELEMENTS(fields));
        GError *error = NULL;
        BhResponseAction action;

        if (!body)
                return;
        const char *node = bh_body_text(body, "node"), *confirm = bh_body_text(body, "confirm"), *reason = bh_body_text(body, "reason");
        if (!bh_response_action_parse(bh_body_text(body, "action"), &action)) {
                bh_call_error(call, 400, "bad_action", "\"action\" must be isolate, quarantine, pause, block, decoy, kill, stop, restart, kill-process, kill-tree or scale-to-zero");
                return;
        }
        gboolean holds = bh_response_action_holds(action), dry = json_is_true(json_object_get(body, "dry_run"));
        gint64 ttl = json_integer_value(json_object_get(body, "ttl"));
        if (ttl && !holds) {
                bh_call_error(call, 400, "bad_ttl", "\"ttl\" goes with what can be released: isolate, quarantine, pause, block, decoy, scale-to-zero");
                return;
        }
        if ((bh_body_text(body, "allow") && !bh_response_action_isolates(action)) || (bh_body_text(body, "deny") && action != BH_RESPONSE_BLOCK)) {
                bh_call_error(call, 400, "bad_peer", "\"allow\" goes with isolate and quarantine, \"deny\" with block");
                return;
        }
        const char *lead = bh_body_text(body, "lead");
        if ((lead || bh_body_text(body, "to")) && action != BH_RESPONSE_DECOY) {
                bh_call_error(call, 400, "bad_peer", "\"lead\" and \"to\" go with decoy");
                return;
        }
        g_autoptr(BhStoreContainer) c = node ? bh_store_container(call->central->store, node, bh_body_text(body, "container"), &error) : bh_store_container_find(call->central->store, bh_body_text(body, "container"), &error);
        if (!c) {
                bh_call_store_error(call, error);
                return;
        }
        g_auto(BhResponseSubject) subject = { 0 };
        if (!bh_response_subject_read(call, body, action, c, &subject))
                return;
        if ((!holds || subject.whole) && !dry && g_strcmp0(confirm, subject.confirm) != 0) {
                bh_call_error(call, 400, "not_confirmed", subject.whole ? "%s ends all containers of it: say so by giving its name (%s) as \"confirm\"" : "%s cannot be undone: say so by giving the container's name (%s) as \"confirm\"",
                              bh_response_action_name(action), subject.confirm);
                return;
        }
        g_autofree char *allow = NULL, *deny = NULL, *id = bh_responses_new_id();
        if (!read_list(call, bh_body_text(body, "allow"), FALSE, &allow) || !read_list(call, lead ? lead : bh_body_text(body, "deny"), TRUE, &deny))
                return;
        if (action == BH_RESPONSE_DECOY && !can_lead(call, subject.subject, deny))
                return;
        if (action == BH_RESPONSE_BLOCK && g_str_equal(deny, "[]")) {
                bh_call_error(call, 400, "bad_peer", "\"deny\" must name what is blocked: a peer, exec:PATH, exec-only:PATH, exec-not-in-image, exec-hash:sha256:HEX, file:PATH, cap:NAME, mount, ptrace or module");
                return;
        }
        BhStoreResponse r = {
                .id = id,
                .action = (char *) bh_response_action_name(action),
                .state = (char *) "pending",
                .node = subject.node,
                .container_id = c->id,
                .container_name = c->name,
                .workload = c->workload,
                .application = c->application,
                .actor = call->who.name,
                .reason = (char *) (reason ? reason : ""),
                .allow = allow,
                .deny = deny,
                .subject = subject.subject,
                .result = (char *) "the node has not answered yet",
                .detail = (char *) "{}",
                .until_ns = ttl ? (g_get_real_time() + ttl * G_USEC_PER_SEC) * 1000 : 0,
                .best_effort = json_is_true(json_object_get(body, "best_effort")),
        };
        const BhStoreContainer *limited = json_is_true(json_object_get(body, "force")) || bh_response_action_denies(action) ? NULL : c;
        if (dry) {
                if (!limited || within_limits(call, limited, &subject))
                        dry_run(call, &r);
                return;
        }
        if (!add(call, &r, limited, &subject))
                return;
        g_autoptr(GError) away = NULL;
        answer(call, id, bh_responses_order(call->central->responses, &r, &away) ? 200 : 202);
}

void bh_api_response_release(BhCall *call) {
        static const BhBodyField fields[] = { { "reason", BH_BODY_LINES, FALSE, BH_STORE_RESPONSE_REASON_MAX }, { "force", BH_BODY_BOOL, FALSE, 0 } };
        json_auto_t *body = bh_call_body(call, fields, G_N_ELEMENTS(fields));
        GError *error = NULL;

        if (!body)
                return;
        BhStoreAuditEntry audit = bh_call_audit(call, call->captures[0], "ok", bh_body_text(body, "reason"));
        if (!bh_store_response_release(call->central->store, call->captures[0], json_is_true(json_object_get(body, "force")), &audit, &error)) {
                bh_call_store_error(call, error);
                return;
        }
        g_autoptr(BhStoreResponse) r = bh_store_response(call->central->store, call->captures[0], &error);
        g_autoptr(GError) away = NULL;
        if (!r) {
                bh_call_store_error(call, error);
                return;
        }
        answer(call, r->id, bh_responses_order(call->central->responses, r, &away) ? 200 : 202);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "incident_now.h"

#include <jansson.h>
#include <string.h>

#include "incident/deed.h"
#include "incident/story.h"
#include "incident_ends.h"
#include "incident_sent.h"
#include "response/response.h"
#include "store/store_evidence.h"
#include "store/store_responses.h"

#define CONTAINERS_LOOKED_FOR 32u
#define RESPONSES_LOOKED_FOR 32u
#define EVIDENCE_LOOKED_FOR 500u
#define SIGNATURE 129 /* of an item's line: a blank and 128 digits */

static const char *text_of(const json_t *o, const char *key) {
        const char *t = json_string_value(json_object_get(o, key));

        return t ? t : "";
}

/* ---- containers */

/* What holds most first. */
static const struct {
        BhResponseAction action;
        const char *held;
} holds[] = { { BH_RESPONSE_QUARANTINE, "quarantined" }, { BH_RESPONSE_ISOLATE, "isolated" }, { BH_RESPONSE_PAUSE, "frozen" }, { BH_RESPONSE_SCALE, "scaled to zero" }, { BH_RESPONSE_DECOY, "not isolated, but led to a decoy" }, { BH_RESPONSE_BLOCK, "not isolated, but under a block" } };

/* What is in such a state on it; NULL: nothing. */
static const BhStoreResponse *held_by(const BhStorePage *page, BhResponseState state, const char **held) {
        for (guint h = 0; page && h < G_N_ELEMENTS(holds); h++)
                for (guint n = 0; n < page->rows->len; n++) {
                        const BhStoreResponse *r = page->rows->pdata[n];

                        if (!g_str_equal(r->state, bh_response_state_name(state)) || !g_str_equal(r->action, bh_response_action_name(holds[h].action)))
                                continue;
                        *held = holds[h].held;
                        return r;
                }
        return NULL;
}

typedef struct {
        BhStore *store;
        GArray *shown; /* BhStoryContainer */
        guint living;
        GStringChunk *texts;
        GHashTable *nodes; /* char * → BhStoreNode *, NULL: the store does not give it */
} Now;

static void take_hold(Now *w, const BhStoreResponse *r, const char *held, BhStoryContainer *out) {
        out->held = held;
        out->by = g_string_chunk_insert(w->texts, r->actor);
        out->since_ns = r->created_ns;
}

/* FALSE: the store does not tell. */
static gboolean find_hold(Now *w, const char *node, const char *id, BhStoryContainer *out) {
        const BhStoreResponseFilter of = { .node = node, .container_id = id, .open = TRUE };
        g_autoptr(BhStorePage) page = bh_store_responses(w->store, &of, NULL, RESPONSES_LOOKED_FOR, NULL);
        const char *held = NULL;
        const BhStoreResponse *r = held_by(page, BH_RESPONSE_STATE_ACTIVE, &held);

        if (!page)
                return FALSE;
        if (!page->next) {
                if (r)
                        take_hold(w, r, held, out);
                else if ((r = held_by(page, BH_RESPONSE_STATE_PENDING, &held))) {
                        take_hold(w, r, "", out);
                        out->ordered = g_string_chunk_insert(w->texts, r->action);
                }
                return TRUE;
        }
        /* the latest of many blocks: what holds more may be behind them */
        for (guint h = 0; h < G_N_ELEMENTS(holds); h++) {
                const BhStoreResponseFilter one = { .node = node, .container_id = id, .state = bh_response_state_name(BH_RESPONSE_STATE_ACTIVE), .action = bh_response_action_name(holds[h].action) };
                g_autoptr(BhStorePage) active = bh_store_responses(w->store, &one, NULL, 1, NULL);

                if (!active)
                        return FALSE;
                if (!active->rows->len)
                        continue;
                take_hold(w, active->rows->pdata[0], holds[h].held, out);
                break;
        }
        return TRUE;
}

static const BhStoreNode *node_of(Now *w, const char *name) {
        gpointer n;

        if (!g_hash_table_lookup_extended(w->nodes, name, NULL, &n)) {
                n = bh_store_node(w->store, name, NULL);
                g_hash_table_insert(w->nodes, g_strdup(name), n);
        }
        return n;
}

static void add_container(Now *w, const char *node, const char *id) {
        static const char *const states[] = { "running", "paused", "restarting", NULL };
        g_autoptr(BhStoreContainer) c = bh_store_container(w->store, node, id, NULL);
        BhStoryContainer one = { .held = "", .by = "" };

        if (!c || !g_strv_contains(states, c->state))
                return;
        if (w->shown->len < BH_STORY_NOW_SHOWN) {
                if (!find_hold(w, node, id, &one))
                        return;
                const BhStoreNode *n = node_of(w, node);

                one.name = g_string_chunk_insert(w->texts, *c->name ? c->name : c->id);
                one.state = g_string_chunk_insert(w->texts, c->state);
                one.heard_ns = n && n->up ? 0 : n ? n->last_seen_ns : c->last_seen_ns;
                g_array_append_val(w->shown, one);
        }
        w->living++;
}

/* ---- evidence */

/* `container`: "" for what is the node's own. */
static char *file_key(const char *node, const char *container, const char *path) {
        return g_strconcat(node, "\1", container, "\1", bh_deed_path(path), NULL);
}

/* What the kernel shows as files has no bytes to be kept; and evidence has the whole path of what was opened by way of a process's directory or descriptor, which is not known here. */
static gboolean may_be_kept(const char *thing) {
        const char *path = bh_deed_path(thing);

        return *path && !g_str_has_prefix(path, "/proc/") && !g_str_has_prefix(path, "/sys/");
}

/* char * → NULL: files that were planted or changed. */
static GHashTable *planted_files(const char *lines) {
        GHashTable *files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        json_auto_t *list = *lines ? json_loads(lines, 0, NULL) : NULL;
        json_t *l;
        size_t n;

        json_array_foreach(list, n, l) {
                const char *thing = text_of(l, "thing");

                if (bh_deed_of_name(text_of(l, "deed")) == BH_DEED_WROTE && may_be_kept(thing))
                        g_hash_table_add(files, file_key(text_of(l, "node"), *text_of(l, "origin") ? "" : text_of(l, "container_id"), thing));
        }
        return files;
}

/* Which of the files it is of: the container's, or, as a directory of the node may be mounted there, the node's. What a process wrote that left its container is the node's. NULL: none of them. Caller frees. */
static char *file_of(const BhStoreEvidence *e, const json_t *facts, GHashTable *files) {
        const gboolean left = json_is_true(json_object_get(json_object_get(facts, "container"), "origin"));
        const char *path = text_of(facts, "path"), *const places[] = { left ? "" : e->container_id, "" };

        for (guint n = 0; n < G_N_ELEMENTS(places); n++) {
                g_autofree char *key = file_key(e->node, places[n], path);

                if (g_hash_table_contains(files, key))
                        return g_steal_pointer(&key);
        }
        return NULL;
}

static guint kept_of(BhStore *s, const BhStoreIncident *i, GHashTable *files) {
        const BhStoreEvidenceFilter of = { .incident = i->id, .kind = "file" };
        g_autoptr(BhStorePage) page = g_hash_table_size(files) ? bh_store_evidence(s, &of, NULL, EVIDENCE_LOOKED_FOR, NULL) : NULL;
        g_autoptr(GHashTable) kept = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

        for (guint n = 0; page && n < page->rows->len; n++) {
                const BhStoreEvidence *e = page->rows->pdata[n];
                gsize len = strlen(e->line);
                json_auto_t *facts = json_loadb(e->line, len > SIGNATURE ? len - SIGNATURE : 0, 0, NULL);
                char *key = *e->sha256 ? file_of(e, facts, files) : NULL;

                if (key)
                        g_hash_table_add(kept, key);
        }
        return g_hash_table_size(kept);
}

char *bh_incident_now(BhStore *s, const BhStoreIncident *i, gboolean evidence, const BhIncidentPrograms *programs) {
        json_auto_t *containers = json_loads(i->containers, 0, NULL);
        g_autoptr(GArray) shown = g_array_new(FALSE, FALSE, sizeof(BhStoryContainer));
        g_autoptr(GHashTable) nodes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify) bh_store_node_free);
        g_autoptr(GHashTable) files = planted_files(evidence ? i->lines : "");
        Now w = { s, shown, 0, g_string_chunk_new(1024), nodes };
        guint unseen = 0;
        json_t *c;
        size_t n;

        json_array_foreach(containers, n, c)
                if (n >= CONTAINERS_LOOKED_FOR || (!evidence && shown->len == BH_STORY_NOW_SHOWN))
                        unseen++;
                else
                        add_container(&w, text_of(c, "node"), text_of(c, "id"));
        g_autoptr(BhIncidentSent) sent = evidence ? bh_incident_sent(s, i) : NULL;
        const BhStoryNow now = {
                .containers = (const BhStoryContainer *) shown->data,
                .n = w.living,
                .unseen = unseen,
                .planted = g_hash_table_size(files),
                .kept = kept_of(s, i, files),
                .programs = programs ? (const BhStoryProgram *) programs->rows->data : NULL,
                .n_programs = programs ? programs->rows->len : 0,
                .sent = sent ? (const BhStorySent *) sent->rows->data : NULL,
                .n_sent = sent ? sent->rows->len : 0,
                .sent_unseen = sent ? sent->unseen : 0,
                .sent_since_ns = sent ? sent->since_ns : 0,
        };
        char *text = bh_story_now(&now);
        g_string_chunk_free(w.texts);
        return text;
}

char *bh_incident_now_whole(BhCentral *c, const BhStoreIncident *i) {
        g_autoptr(BhIncidentPrograms) programs = bh_incident_programs(c, i);

        return bh_incident_now(c->store, i, TRUE, programs);
}

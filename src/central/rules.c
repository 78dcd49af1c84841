/* SPDX-License-Identifier: Apache-2.0 */
#include "rules.h"

#include <sodium.h>
#include <string.h>

#include "base/fdio.h"
#include "base/log.h"
#include "bus/body.h"
#include "bus/bus.pb-c.h"
#include "json_out.h"
#include "rules/engine.h"
#include "store/store_rules.h"

#include <fcntl.h>

#define TICK_US (G_USEC_PER_SEC)
#define SEND_SECONDS 60 /* a node that has not answered by then is asked again */
#define AGAIN_SECONDS 30 /* after a failure that is not the rules' */

typedef struct {
        char *name;
        char *digest;        /* sent last */
        char *error;         /* NULL: none */
        gboolean pending, refused;
        gint64 asked_us, time_ns;
        guint64 asked; /* how often: tells the answer that counts, which may come before the request has its handle */
        BhBusRequest *request;
} Node;

struct BhRules {
        gatomicrefcount refs;
        GPtrArray *default_names, *default_texts;
        BhCentral *central;
        GMutex check_lock, lock;
        GCond moved;
        GThread *thread;
        gboolean stopping, changed;
        GHashTable *nodes; /* name -> Node */
        /* the thread's */
        GBytes *body;
        char *digest;
        guint64 asked; /* requests made; a node that comes back begins with another number */
};

static void node_free(gpointer p) {
        Node *n = p;

        g_clear_pointer(&n->request, bh_bus_request_unref);
        g_free(n->name);
        g_free(n->digest);
        g_free(n->error);
        g_free(n);
}

static int by_name(gconstpointer a, gconstpointer b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

BhRules *bh_rules_new(const char *default_dir) {
        BhRules *r = g_new0(BhRules, 1);
        g_autoptr(GDir) dir = default_dir ? g_dir_open(default_dir, 0, NULL) : NULL;

        g_atomic_ref_count_init(&r->refs);
        g_mutex_init(&r->check_lock);
        g_mutex_init(&r->lock);
        g_cond_init(&r->moved);
        r->nodes = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, node_free);
        r->default_names = g_ptr_array_new_with_free_func(g_free);
        r->default_texts = g_ptr_array_new_with_free_func(g_free);
        for (const char *name; dir && (name = g_dir_read_name(dir)); )
                if (bh_store_rule_name_valid(name))
                        g_ptr_array_add(r->default_names, g_strdup(name));
        g_ptr_array_sort(r->default_names, by_name);
        for (guint i = 0; i < r->default_names->len; i++) {
                g_autofree char *path = g_build_filename(default_dir, r->default_names->pdata[i], NULL);
                g_autoptr(GError) error = NULL;
                char *text = bh_file_read(AT_FDCWD, path, BH_RULES_FILE_MAX, NULL, NULL, &error);

                if (!text)
                        bh_warn("cannot read a default rule file", "error", error->message);
                g_ptr_array_add(r->default_texts, text ? text : g_strdup(""));
        }
        return r;
}

static void rules_unref(BhRules *r) {
        if (!g_atomic_ref_count_dec(&r->refs))
                return;
        g_hash_table_unref(r->nodes);
        g_ptr_array_unref(r->default_names);
        g_ptr_array_unref(r->default_texts);
        g_clear_pointer(&r->body, g_bytes_unref);
        g_free(r->digest);
        g_mutex_clear(&r->check_lock);
        g_mutex_clear(&r->lock);
        g_cond_clear(&r->moved);
        g_free(r);
}

void bh_rules_free(BhRules *r) {
        if (r)
                rules_unref(r);
}

/* ---- checking ---- */

static void problem_free(gpointer data) {
        BhEngineProblem *p = data;

        g_free(p->what);
        g_free(p);
}

BhRuleSet *bh_rules_check(BhRules *r, BhStore *store, const char *name, const char *text, GPtrArray **compiled, GError **error) {
        g_autoptr(GMutexLocker) one = g_mutex_locker_new(&r->check_lock);
        g_autoptr(GPtrArray) files = bh_store_rule_files(store, error);
        g_autoptr(GArray) sources = g_array_new(FALSE, TRUE, sizeof(BhRuleSource));
        gboolean put = !text;

        if (!files)
                return NULL;
        for (guint i = 0; i < r->default_names->len; i++) {
                BhRuleSource s = { r->default_names->pdata[i], r->default_texts->pdata[i], strlen(r->default_texts->pdata[i]) };

                g_array_append_val(sources, s);
        }
        /* by name, as the nodes load them */
        for (guint i = 0; i <= files->len; i++) {
                const BhStoreRuleFile *f = i < files->len ? files->pdata[i] : NULL;

                if (!put && (!f || strcmp(f->name, name) >= 0)) {
                        BhRuleSource s = { name, text, strlen(text) };

                        g_array_append_val(sources, s);
                        put = TRUE;
                }
                if (f && (!name || strcmp(f->name, name) != 0)) {
                        BhRuleSource s = { f->name, f->text, strlen(f->text) };

                        g_array_append_val(sources, s);
                }
        }

        BhRuleSet *set = bh_rule_set_load((const BhRuleSource *) (gpointer) sources->data, sources->len, NULL);
        *compiled = g_ptr_array_new_with_free_func(problem_free);
        if (!bh_rule_set_errors(set)) /* patterns are the compiler's to refuse */
                bh_rule_engine_unref(bh_rule_engine_new(set, NULL, *compiled, NULL));
        return set;
}

/* ---- sending ---- */

/* What the nodes are to have, packed, with its name. FALSE: the store fails. */
static gboolean pack(BhRules *r) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GPtrArray) files = bh_store_rule_files(r->central->store, &error);
        Bulkhead__Bus__V1__RulesSet m = BULKHEAD__BUS__V1__RULES_SET__INIT;
        crypto_generichash_state hash;
        guint8 sum[16];
        char hex[2 * sizeof(sum) + 1];

        if (!files) {
                bh_error("cannot read the rule files", "error", error->message);
                return FALSE;
        }

        g_autofree Bulkhead__Bus__V1__RuleFile *each = g_new0(Bulkhead__Bus__V1__RuleFile, files->len + 1);
        g_autofree Bulkhead__Bus__V1__RuleFile **list = g_new0(Bulkhead__Bus__V1__RuleFile *, files->len + 1);
        crypto_generichash_init(&hash, NULL, 0, sizeof(sum));
        for (guint i = 0; i < files->len; i++) {
                const BhStoreRuleFile *f = files->pdata[i];

                bulkhead__bus__v1__rule_file__init(&each[i]);
                each[i].name = f->name;
                each[i].text = bh_bus_text(f->text);
                list[i] = &each[i];
                crypto_generichash_update(&hash, (const guint8 *) f->name, strlen(f->name) + 1);
                crypto_generichash_update(&hash, (const guint8 *) f->text, strlen(f->text) + 1);
        }
        crypto_generichash_final(&hash, sum, sizeof(sum));
        sodium_bin2hex(hex, sizeof(hex), sum, sizeof(sum));
        m.files = list;
        m.n_files = files->len;
        m.digest = bh_bus_text(hex);
        g_clear_pointer(&r->body, g_bytes_unref);
        r->body = bh_bus_body_pack(&m.base);
        g_free(r->digest);
        r->digest = g_strdup(hex);
        return TRUE;
}

typedef struct {
        BhRules *rules;
        char *node;
        guint64 asked;
} Sent;

static void sent_free(gpointer data) {
        Sent *s = data;

        rules_unref(s->rules);
        g_free(s->node);
        g_free(s);
}

static void on_chunk(BhBusRequest *request, GBytes *chunk, guint64 dropped, gpointer data) {
}

/* A refusal is told line by line, each with a place in a file; anything else is the connection's. */
static void on_end(BhBusRequest *request, const char *error, gpointer data) {
        Sent *s = data;

        g_mutex_lock(&s->rules->lock);
        Node *n = g_hash_table_lookup(s->rules->nodes, s->node);
        if (n && n->pending && n->asked == s->asked) {
                n->pending = FALSE;
                n->refused = error && strstr(error, "error:") != NULL;
                n->time_ns = g_get_real_time() * 1000;
                g_free(n->error);
                n->error = error ? g_utf8_make_valid(error, -1) : NULL;
                if (error)
                        bh_warn("a node did not take the rules", "node", s->node, "error", error);
        }
        g_mutex_unlock(&s->rules->lock);
}

static gboolean to_be_asked(const BhRules *r, const Node *n, gint64 now_us) {
        if (n->pending)
                return now_us - n->asked_us > SEND_SECONDS * G_USEC_PER_SEC;
        if (g_strcmp0(n->digest, r->digest) != 0)
                return TRUE;
        return n->error && !n->refused && now_us - n->asked_us > AGAIN_SECONDS * G_USEC_PER_SEC;
}

static void send(BhRules *r, Node *n, gint64 now_us) {
        g_autoptr(GError) error = NULL;
        Sent *s = g_new0(Sent, 1);

        s->rules = r;
        g_atomic_ref_count_inc(&r->refs);
        s->node = g_strdup(n->name);
        if (n->request)
                bh_bus_request_cancel(n->request);
        g_clear_pointer(&n->request, bh_bus_request_unref);
        n->pending = TRUE;
        s->asked = n->asked = ++r->asked;
        n->asked_us = now_us;
        g_free(n->digest);
        n->digest = g_strdup(r->digest);
        g_mutex_unlock(&r->lock); /* the answer may come within the call */
        BhBusRequest *request = bh_bus_request(r->central->bus, s->node, "rules_set", r->body, 1, on_chunk, on_end, s, sent_free, &error);
        g_mutex_lock(&r->lock);
        n->request = request;
        if (!request) {
                n->pending = n->refused = FALSE; /* the connection's fault: asked again */
                g_free(n->error);
                n->error = g_strdup(error->message);
        }
}

static gpointer work(gpointer data) {
        BhRules *r = data;

        while (!pack(r) && !g_atomic_int_get(&r->stopping))
                g_usleep(TICK_US);
        g_mutex_lock(&r->lock);
        while (!r->stopping) {
                if (r->changed) {
                        r->changed = FALSE;
                        g_mutex_unlock(&r->lock);
                        gboolean ok = pack(r);
                        g_mutex_lock(&r->lock);
                        r->changed |= !ok;
                }

                g_auto(GStrv) here = bh_bus_listener_nodes(r->central->bus);
                gint64 now_us = g_get_monotonic_time();
                GHashTableIter it;
                Node *n;

                g_hash_table_iter_init(&it, r->nodes);
                while (g_hash_table_iter_next(&it, NULL, (gpointer *) &n))
                        if (!g_strv_contains((const char *const *) here, n->name))
                                g_hash_table_iter_remove(&it);
                for (guint i = 0; here[i]; i++) {
                        if (!(n = g_hash_table_lookup(r->nodes, here[i]))) {
                                n = g_new0(Node, 1);
                                n->name = g_strdup(here[i]);
                                g_hash_table_insert(r->nodes, n->name, n);
                        }
                        if (to_be_asked(r, n, now_us))
                                send(r, n, now_us);
                }
                if (!r->stopping && !r->changed)
                        g_cond_wait_until(&r->moved, &r->lock, g_get_monotonic_time() + TICK_US);
        }
        g_mutex_unlock(&r->lock);
        return NULL;
}

void bh_rules_start(BhRules *r, BhCentral *c) {
        r->central = c;
        r->thread = g_thread_new("bh-rules", work, r);
}

void bh_rules_stop(BhRules *r) {
        if (!r || !r->thread)
                return;
        g_mutex_lock(&r->lock);
        g_atomic_int_set(&r->stopping, TRUE);
        g_cond_signal(&r->moved);
        g_mutex_unlock(&r->lock);
        g_thread_join(g_steal_pointer(&r->thread));
}

void bh_rules_node_up(BhRules *r, const char *node) {
        if (!r)
                return;
        g_mutex_lock(&r->lock);
        Node *n = g_hash_table_lookup(r->nodes, node);
        if (n) { /* an answer that is under way is another connection's */
                n->pending = FALSE;
                g_clear_pointer(&n->digest, g_free);
        }
        g_cond_signal(&r->moved);
        g_mutex_unlock(&r->lock);
}

void bh_rules_changed(BhRules *r) {
        g_mutex_lock(&r->lock);
        r->changed = TRUE;
        g_cond_signal(&r->moved);
        g_mutex_unlock(&r->lock);
}

void bh_rules_append_nodes(BhRules *r, GString *out) {
        GHashTableIter it;
        Node *n;

        bh_json_open(out, "nodes", '[');
        g_mutex_lock(&r->lock);
        g_hash_table_iter_init(&it, r->nodes);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &n)) {
                bh_json_open(out, NULL, '{');
                bh_json_text(out, "node", n->name);
                bh_json_text(out, "state", n->pending ? "sending" : n->refused ? "refused" : n->error ? "failed" : "current");
                bh_json_text(out, "error", n->error);
                bh_json_time(out, "time", n->time_ns);
                bh_json_close(out, '}');
        }
        g_mutex_unlock(&r->lock);
        bh_json_close(out, ']');
}

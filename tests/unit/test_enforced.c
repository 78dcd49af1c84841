/* SPDX-License-Identifier: Apache-2.0 */
/* Which lists a model that is enforced makes, when, and what becomes of the ones before: over a real store, with stand-ins for nodes, models and the bus. */
#include "central/enforced.h"

#include "central/models.h"
#include "central/policies.h"
#include "central/responses.h"
#include "model/model.h"
#include "response/deny.h"
#include "store_rows.h"

#define S G_GINT64_CONSTANT(1000000000)
#define DIGEST "web@sha256:00"
#define ACTOR "model:shop/web"

/* ---- the stand-ins ---- */

static struct {
        BhModel *model;
        gboolean here, silent;
        const char *answer; /* of a node to a new order */
        void (*when_here)(void); /* after the orders of people were read, and before they are looked at */
        GString *asked; /* "+id -id …": orders and releases, as the node heard of them */
        BhCentral *central;
        guint ids;
} world;

char **bh_bus_listener_nodes(BhBusListener *l) {
        char *here[] = { (char *) "n1", NULL }, *none[] = { NULL };

        if (world.when_here)
                world.when_here();
        return g_strdupv(world.here ? here : none);
}

char *bh_responses_new_id(void) {
        return g_strdup_printf("%012x", ++world.ids);
}

gboolean bh_responses_order(BhResponses *r, const BhStoreResponse *row, GError **error) {
        if (world.silent) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "it does not answer");
                return FALSE;
        }
        g_string_append_printf(world.asked, "%c%x ", row->releasing ? '-' : '+', (guint) g_ascii_strtoull(row->id, NULL, 16));
        g_assert_true(bh_store_response_told(world.central->store, row->node, row->id, row->releasing ? (g_str_equal(row->state, "active") ? "released" : "gone") : world.answer, "said", NULL, NULL));
        return TRUE;
}

void bh_models_acquire(BhModels *m) {
}

void bh_models_release(BhModels *m) {
}

BhModel *bh_models_get(BhModels *m, const char *application, const char *workload) {
        return world.model;
}

const char *bh_policies_protects(const BhStoreContainer *c) {
        return NULL;
}

/* ---- a central ---- */

typedef struct {
        TempDir *dir;
        BhCentral central;
        GPtrArray *containers; /* ids, of shop/web */
} Env;

static void runs(const char *program, gint64 at) {
        const BhAct a = { .family = BH_FAMILY_EXEC, .actor = "/sbin/init", .object = program, .detail = "", .count = 1, .first_ns = at * S, .last_ns = at * S, .replica = 1 };

        bh_model_observe(world.model, DIGEST, &a);
}

static BhModelVersion *version(void) {
        return bh_model_version(world.model, DIGEST);
}

static void lock(void) {
        bh_model_lock(world.model, version(), 1u << BH_FAMILY_EXEC);
        g_assert_true(bh_enforced_strict(version(), BH_FAMILY_EXEC));
}

/* A person accepts another program, so that the list is another one. */
static void accept(const char *program) {
        const BhAct a = { .family = BH_FAMILY_EXEC, .actor = "/sbin/init", .object = program, .detail = "", .count = 1, .first_ns = S, .last_ns = S, .replica = 1 };

        bh_model_observe(world.model, DIGEST, &a);
        const BhItem *i = bh_facets_find(version()->facets, &a);
        g_assert_nonnull(i);
        g_assert_true(bh_model_accept(world.model, version(), i->hash));
}

static void put_containers(Env *e, guint n) {
        BhStoreContainer c[8] = { 0 };

        g_assert_cmpuint(n, <=, G_N_ELEMENTS(c));
        for (guint i = 0; i < n; i++) {
                g_ptr_array_add(e->containers, g_strdup_printf("%064u", i + 1));
                c[i] = (BhStoreContainer){ .id = e->containers->pdata[i], .name = "web-1", .image = "web:1", .image_digest = DIGEST, .runtime = "docker", .state = "running", .level = "full", .workload = "web",
                                           .application = "shop", .labels = "{}", .created_ns = T0 };
        }
        must_put_containers(e->central.store, "n1", TRUE, c, n);
}

static void set_up(Env *e, gconstpointer unused) {
        memset(&world, 0, sizeof(world));
        world.here = TRUE;
        world.answer = "active";
        world.asked = g_string_new(NULL);
        world.central = &e->central;
        world.model = bh_model_new("shop", "web", &bh_model_scale_default);
        world.model->seen = BH_MODEL_ALL;
        bh_model_start(world.model, DIGEST, 0);
        e->containers = g_ptr_array_new_with_free_func(g_free);
        e->dir = temp_dir();
        e->central.store = must_open(e->dir, NULL);
        e->central.enforced = bh_enforced_new(&e->central);
}

static void tear_down(Env *e, gconstpointer unused) {
        bh_enforced_free(e->central.enforced);
        bh_store_close(e->central.store);
        remove_tree(e->dir);
        g_ptr_array_unref(e->containers);
        bh_model_free(world.model);
        g_string_free(world.asked, TRUE);
}

static BhEnforcement some(gboolean observe, gint64 until_ns) {
        return (BhEnforcement){ .application = (char *) "shop", .workload = (char *) "web", .by = (char *) "anna", .reason = (char *) "", .family = BH_FAMILY_EXEC, .observe = observe, .until_ns = until_ns };
}

static void enforce(Env *e, gboolean observe, gint64 until_ns) {
        const BhEnforcement what = some(observe, until_ns);
        g_autoptr(GError) error = NULL;

        bh_enforced_set(e->central.enforced, &what, NULL, &error);
        g_assert_no_error(error);
}

static BhEnforcedCounts look(Env *e) {
        const BhEnforcement what = some(FALSE, 0);
        BhEnforcedCounts n = { 0 };

        g_string_truncate(world.asked, 0);
        bh_enforced_look(e->central.enforced);
        g_assert_true(bh_enforced_counts(e->central.enforced, &what, &n));
        bh_enforced_counts_clear(&n);
        return n;
}

static void until_refused(Env *e, guint64 refused, guint64 observed) {
        BhEnforcedCounts n;

        for (guint i = 0; (n = look(e)).refused != refused || n.observed != observed; i++) {
                g_assert_cmpuint(i, <, 600); /* they are not looked at each time */
                g_usleep(100000);
        }
}

static GPtrArray *rows(Env *e, gboolean open) {
        BhStoreResponseFilter f = { .actor = ACTOR, .open = open };
        g_autoptr(BhStorePage) page = bh_store_responses(e->central.store, &f, NULL, BH_STORE_LIMIT_MAX, NULL);

        g_assert_nonnull(page);
        return g_ptr_array_ref(page->rows);
}

static guint n_rows(Env *e, gboolean open) {
        g_autoptr(GPtrArray) all = rows(e, open);

        return all->len;
}

/* As if what is in the ledger had changed so long ago. */
static void pass(Env *e, gint64 seconds) {
        g_autoptr(GError) error = NULL;

        bh_db_run(e->central.store->writer, &error, "UPDATE responses SET changed_ns = changed_ns - ?", "i", seconds * S);
        g_assert_no_error(error);
}

/* ---- */

static void a_new_list_is_in_force_before_the_old_one_goes(Env *e, gconstpointer unused) {
        runs("/bin/a", 1);
        lock();
        put_containers(e, 1);
        enforce(e, FALSE, 0);
        look(e);
        g_assert_cmpstr(world.asked->str, ==, "+1 ");
        g_assert_cmpuint(look(e).active, ==, 1);
        g_assert_cmpstr(world.asked->str, ==, "");
        accept("/bin/b");
        look(e);
        g_assert_cmpstr(world.asked->str, ==, "+2 -1 ");
        g_autoptr(GPtrArray) open = rows(e, TRUE);
        g_assert_cmpuint(open->len, ==, 1);
        g_assert_nonnull(strstr(((BhStoreResponse *) open->pdata[0])->deny, "/bin/b"));
}

/* A node has room for so many: with each container one more at a time, and not with all of them twice as many. */
static void lists_are_changed_container_by_container(Env *e, gconstpointer unused) {
        runs("/bin/a", 1);
        lock();
        put_containers(e, 3);
        enforce(e, FALSE, 0);
        look(e);
        g_assert_cmpstr(world.asked->str, ==, "+1 +2 +3 ");
        accept("/bin/b");
        look(e);
        g_auto(GStrv) asked = g_strsplit(g_strchomp(world.asked->str), " ", -1);
        g_assert_cmpuint(g_strv_length(asked), ==, 6);
        for (guint i = 0; i < 6; i++)
                g_assert_cmpint(asked[i][0], ==, i % 2 ? '-' : '+');
        g_assert_cmpuint(look(e).active, ==, 3);
}

/* While a node is away: what was wanted once does not come in force when it is back. */
static void what_was_not_in_force_yet_and_is_not_wanted_any_more_never_is(Env *e, gconstpointer unused) {
        runs("/bin/a", 1);
        lock();
        put_containers(e, 1);
        world.here = FALSE;
        enforce(e, FALSE, 0);
        g_assert_cmpuint(look(e).pending, ==, 1);
        enforce(e, TRUE, 0);
        look(e);
        g_autoptr(GPtrArray) open = rows(e, TRUE);
        g_assert_cmpuint(open->len, ==, 2);
        const BhStoreResponse *last = open->pdata[0], *strict = open->pdata[1];
        g_assert_true(g_str_has_suffix(last->deny, "\"observe\"]") && !last->releasing);
        g_assert_true(!strstr(strict->deny, "observe") && strict->releasing);
        g_assert_cmpuint(look(e).pending, ==, 1);
        g_assert_cmpuint(n_rows(e, FALSE), ==, 2);
        /* it is back, and gone again before it answered: what it had by then goes on until it has another one */
        g_assert_true(bh_store_response_told(e->central.store, "n1", strict->id, "gone", "said", NULL, NULL));
        g_assert_true(bh_store_response_told(e->central.store, "n1", last->id, "active", "said", NULL, NULL));
        enforce(e, FALSE, 0);
        g_assert_cmpuint(look(e).pending, ==, 1);
        g_autoptr(GPtrArray) both = rows(e, TRUE);
        g_assert_cmpuint(both->len, ==, 2);
        for (guint i = 0; i < 2; i++)
                g_assert_false(((BhStoreResponse *) both->pdata[i])->releasing);
}

static void extend(void) {
        const BhEnforcement longer = some(FALSE, T0 * 4);

        g_assert_true(bh_enforced_set(world.central->enforced, &longer, NULL, NULL));
}

static void end(void) {
        g_assert_true(bh_enforced_remove(world.central->enforced, "shop", "web", BH_FAMILY_EXEC, NULL, NULL));
}

/* A look may wait for nodes between what it read and what it does: what a person said meanwhile holds. */
static void what_a_person_says_while_it_looks_holds(Env *e, gconstpointer unused) {
        runs("/bin/a", 1);
        lock();
        put_containers(e, 1);
        enforce(e, FALSE, 1);
        world.when_here = extend;
        bh_enforced_look(e->central.enforced);
        world.when_here = NULL;
        g_autoptr(GPtrArray) all = bh_enforced_all(e->central.enforced, NULL);
        g_assert_cmpuint(all->len, ==, 1);
        g_assert_cmpint(((BhEnforcement *) all->pdata[0])->until_ns, ==, T0 * 4);
        g_autoptr(GPtrArray) open = rows(e, TRUE);
        g_assert_cmpuint(open->len, ==, 1);
        g_assert_cmpint(((BhStoreResponse *) open->pdata[0])->until_ns, ==, T0 * 4);

        accept("/bin/b");
        world.when_here = end;
        bh_enforced_look(e->central.enforced);
        world.when_here = NULL;
        g_assert_cmpuint(n_rows(e, TRUE), ==, 0);
        g_assert_cmpuint(n_rows(e, FALSE), ==, 1);
}

/* It ends by itself, and nobody is said to have ended it. */
static void what_is_over_goes_in_nobodys_name(Env *e, gconstpointer unused) {
        BhStoreAuditFilter f = { .action = "model.unenforce" };

        runs("/bin/a", 1);
        lock();
        put_containers(e, 1);
        enforce(e, FALSE, 1);
        bh_enforced_look(e->central.enforced);
        g_autoptr(GPtrArray) all = bh_enforced_all(e->central.enforced, NULL);
        g_assert_cmpuint(all->len, ==, 0);
        g_assert_cmpuint(n_rows(e, FALSE), ==, 0);
        g_autoptr(BhStorePage) audit = bh_store_audit_rows(e->central.store, &f, NULL, 10, NULL);
        g_assert_cmpuint(audit->rows->len, ==, 1);
        g_assert_cmpstr(((BhStoreAuditRow *) audit->rows->pdata[0])->actor, ==, ACTOR);
}

/* Whoever makes its version less certain does not get rid of what it is held by; what a person orders anew does. */
static void what_is_in_force_stays_when_its_version_is_not_strict_any_more(Env *e, gconstpointer unused) {
        runs("/bin/a", 1);
        lock();
        put_containers(e, 2);
        enforce(e, FALSE, 0);
        look(e);
        version()->locked = 0;
        g_assert_false(bh_enforced_strict(version(), BH_FAMILY_EXEC));
        BhEnforcedCounts n = look(e);
        g_assert_cmpuint(n.loose, ==, 2);
        g_assert_cmpuint(n.kept, ==, 2);
        g_assert_cmpuint(n.active, ==, 2);
        g_assert_cmpstr(world.asked->str, ==, "");
        enforce(e, FALSE, 0); /* the same again */
        g_assert_cmpuint(look(e).kept, ==, 2);

        enforce(e, TRUE, 0);
        n = look(e);
        g_assert_cmpuint(n.loose, ==, 2);
        g_assert_cmpuint(n.kept + n.active, ==, 0);
        g_assert_cmpuint(n_rows(e, TRUE), ==, 0);
        g_assert_cmpuint(look(e).loose, ==, 2);
        lock();
        look(e);
        g_assert_cmpuint(look(e).active, ==, 2);

        version()->locked = 0; /* its end is nearer than what goes on has */
        enforce(e, TRUE, T0 * 4);
        g_assert_cmpuint(look(e).kept, ==, 0);
        g_assert_cmpuint(n_rows(e, TRUE), ==, 0);
}

static void tell(Env *e, const BhStoreResponse *row, const char *state, const char *detail) {
        g_autoptr(GError) error = NULL;

        bh_store_response_told(e->central.store, "n1", row->id, state, "said", detail, &error);
        g_assert_no_error(error);
}

/* Also of those that are over, of more than a page, of those that the ledger let go since, and of this order alone. */
static void what_was_refused_is_added_up(Env *e, gconstpointer unused) {
        const BhEnforcement what = some(FALSE, 0);
        const guint more = 2500;

        runs("/bin/a", 1);
        lock();
        put_containers(e, 2);
        enforce(e, FALSE, 0);
        until_refused(e, 0, 0);
        g_autoptr(GPtrArray) open = rows(e, TRUE);
        tell(e, open->pdata[0], "active", "{\"refused_acts\":{\"acts\":3},\"notes\":[\"a runs\",\"b runs\"]}");
        tell(e, open->pdata[1], "active", "{\"refused_acts\":{\"acts\":4},\"observed_acts\":{\"acts\":9},\"notes\":[\"a runs\"]}");
        until_refused(e, 7, 9);
        g_auto(BhEnforcedCounts) n = { 0 };
        g_assert_true(bh_enforced_counts(e->central.enforced, &what, &n));
        g_assert_cmpuint(n.notes->len, ==, 2);

        const BhStoreResponse *first = open->pdata[0];
        g_assert_true(bh_store_response_release(e->central.store, first->id, FALSE, NULL, NULL));
        tell(e, first, "released", "{\"refused_acts\":{\"acts\":5}}");
        until_refused(e, 9, 9);
        g_assert_true(bh_db_run(e->central.store->writer, NULL, "INSERT INTO responses (serial, id, action, state, node, container_id, container_name, workload, application, actor, reason, allow, deny, result, detail, until_ns, "
                                "created_ns, changed_ns, best_effort, subject, releasing) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT 1000000 + i, printf('%012x', 1000000 + i), action, state, "
                                "node, 'another', container_name, workload, application, actor, reason, allow, deny, result, detail, until_ns, created_ns + 1000 + i, changed_ns, best_effort, subject, releasing FROM responses, n WHERE id = ?",
                                "it", (gint64) more, first->id));
        until_refused(e, 9 + 5 * more, 9);
        g_assert_true(bh_db_run(e->central.store->writer, NULL, "DELETE FROM responses WHERE container_id = 'another'", ""));
        tell(e, open->pdata[1], "active", "{\"refused_acts\":{\"acts\":5},\"observed_acts\":{\"acts\":9}}");
        until_refused(e, 10 + 5 * more, 9);
        enforce(e, FALSE, 0);
        g_assert_cmpuint(look(e).refused, ==, 0);
}

/* What fails is tried again ever more seldom, whatever list it had; another list, and a person's word, begin anew. */
static void what_fails_is_tried_again_ever_more_seldom(Env *e, gconstpointer unused) {
        const guint waits[] = { 1, 2, 4, 8, 16, 32, 60, 60, 60 }; /* minutes */

        runs("/bin/a", 1);
        lock();
        put_containers(e, 1);
        world.answer = "failed";
        enforce(e, FALSE, 0);
        look(e);
        for (guint i = 0; i < G_N_ELEMENTS(waits); i++) {
                g_assert_cmpuint(n_rows(e, FALSE), ==, i + 1);
                g_assert_cmpuint(look(e).failed, ==, 1);
                pass(e, 60 * waits[i] - 5);
                look(e);
                g_assert_cmpuint(n_rows(e, FALSE), ==, i + 1);
                pass(e, 10);
                look(e);
        }
        guint before = n_rows(e, FALSE);
        accept("/bin/b");
        pass(e, 50);
        look(e);
        g_assert_cmpuint(n_rows(e, FALSE), ==, before); /* the one that failed is not a minute ago */
        pass(e, 20);
        look(e);
        g_assert_cmpuint(n_rows(e, FALSE), ==, before + 1);
        enforce(e, FALSE, 0);
        look(e);
        g_assert_cmpuint(n_rows(e, FALSE), ==, before + 2);
}

/* What has no row has nothing that says when it was tried; the finding of it is a change of the store, which asks for another look. */
static void a_ledger_without_room_is_left_alone_for_a_while(Env *e, gconstpointer unused) {
        runs("/bin/a", 1);
        lock();
        put_containers(e, 3);
        enforce(e, FALSE, 0);
        g_assert_true(bh_db_run(e->central.store->writer, NULL, "CREATE TRIGGER full BEFORE INSERT ON responses BEGIN SELECT RAISE(ABORT, 'full'); END", ""));
        for (guint i = 0; i < 3; i++)
                look(e);
        g_assert_cmpuint(look(e).failed, ==, 3);
        g_autoptr(BhStorePage) found = bh_store_findings(e->central.store, NULL, NULL, 10, NULL);
        g_assert_cmpuint(found->rows->len, ==, 1);
        g_assert_cmpint(((BhStoreFinding *) found->rows->pdata[0])->count, ==, 1);
}

/* A list that the ledger cannot keep would be kept as another one, and ordered with each look. */
static void a_list_that_the_ledger_cannot_keep_is_not_ordered(Env *e, gconstpointer unused) {
        guint n;

        for (guint i = 0; i < 300; i++) {
                g_autofree char *tail = g_strnfill(180, '\001'), *program = g_strdup_printf("/bin/%03u%s", i, tail);

                runs(program, 1);
        }
        lock();
        put_containers(e, 1);
        g_autofree char *list = bh_enforced_list(version(), FALSE, &n);
        g_assert_cmpuint(n, <=, BH_DENY_MAX);
        g_assert_cmpuint(strlen(list), >, BH_STORE_JSON_MAX);
        world.answer = "failed";
        enforce(e, FALSE, 0);
        for (guint i = 0; i < 3; i++)
                g_assert_cmpuint(look(e).loose, ==, 1);
        g_assert_cmpuint(n_rows(e, FALSE), ==, 0);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add("/enforced/" #name, Env, NULL, set_up, name, tear_down)
        TEST(a_new_list_is_in_force_before_the_old_one_goes);
        TEST(lists_are_changed_container_by_container);
        TEST(what_was_not_in_force_yet_and_is_not_wanted_any_more_never_is);
        TEST(what_a_person_says_while_it_looks_holds);
        TEST(what_is_over_goes_in_nobodys_name);
        TEST(what_is_in_force_stays_when_its_version_is_not_strict_any_more);
        TEST(what_was_refused_is_added_up);
        TEST(what_fails_is_tried_again_ever_more_seldom);
        TEST(a_ledger_without_room_is_left_alone_for_a_while);
        TEST(a_list_that_the_ledger_cannot_keep_is_not_ordered);
        return g_test_run();
}

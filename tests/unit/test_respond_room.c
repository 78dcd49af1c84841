/* SPDX-License-Identifier: Apache-2.0 */
/* How many responses may go on at a node, and for whom there is room. */
#include "sensor/respond.h"

#include "respond_node.h"
#include "sensor/respond_ledger.h"

/* Whoever enforces models in many containers still can act in an emergency; and their lists can be changed. */
static void enforced_models_leave_room_for_emergencies(Node *n, gconstpointer unused) {
        static const char *const deny[] = { "exec:/bin/nc" };
        const guint most = 192, held = 100; /* of containers that others are */
        g_autoptr(BhContainer) other = bh_container_new("bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "docker");

        g_assert_cmpint(g_mkdir_with_parents(n->ledger, 0700), ==, 0);
        for (guint k = 0; k < held; k++) {
                g_autofree char *id = g_strdup_printf("e%031x", k);
                const BhOrder o = { .id = id, .actor = "model:shop/other", .deny = deny, .n_deny = 1 };
                BhEntry *entry = bh_entry_new(&o, BH_RESPONSE_BLOCK, other, "/docker/other", k, k);

                entry->state = BH_RESPONSE_STATE_ACTIVE;
                g_assert_true(bh_entry_save(n->ledger, entry));
                bh_entry_free(entry);
        }
        g_autoptr(BhRespond) r = begin(n);
        for (guint k = held; k <= most + 16; k++) {
                g_autofree char *id = g_strdup_printf("%032x", k), *actor = g_strdup_printf("model:shop/%u", k < most ? k : most - 1); /* from `most` on it changes one */
                const BhOrder o = { .id = id, .action = "block", .container = ID, .actor = actor, .deny = deny, .n_deny = 1 };
                json_auto_t *told = bh_respond_order(r, &o);

                g_assert_cmpstr(text_at(told, "state"), ==, k < most + 16 ? "active" : "failed");
        }
        const BhOrder another = { .id = "a1", .action = "block", .container = ID, .actor = "model:shop/new", .deny = deny, .n_deny = 1 };
        json_auto_t *refused = bh_respond_order(r, &another);
        g_assert_cmpstr(text_at(refused, "state"), ==, "failed");
        g_assert_nonnull(strstr(text_at(refused, "result"), "as many of models that are enforced"));
        for (guint k = 0; k < 48; k++) {
                g_autofree char *id = g_strdup_printf("f%031x", k);
                const BhOrder o = { .id = id, .action = "block", .container = ID, .actor = "anna", .deny = deny, .n_deny = 1 };
                json_auto_t *told = bh_respond_order(r, &o);

                g_assert_cmpstr(text_at(told, "state"), ==, "active");
        }
        const BhOrder over = { .id = "a2", .action = "isolate", .container = ID, .actor = "anna" };
        json_auto_t *full = bh_respond_order(r, &over);
        g_assert_nonnull(strstr(text_at(full, "result"), "as many responses go on here as there may be, or"));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add("/respond/room/enforced_models_leave_room_for_emergencies", Node, NULL, set_up, enforced_models_leave_room_for_emergencies, tear_down);
        return g_test_run();
}

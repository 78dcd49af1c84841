/* SPDX-License-Identifier: Apache-2.0 */
/* Incidents in the store: what the correlation writes, what people write, and that neither undoes the other. */
#include "store_rows.h"

#include "store/store_incidents.h"

static BhStoreIncident row(guint64 id, const char *state, gint64 last) {
        return (BhStoreIncident){ .id = id, .state = (char *) state, .severity = 2, .rank = 2, .tactics = 6, .first_ns = T0, .last_ns = last, .findings = 3, .title = (char *) "Way out of web",
                .story = (char *) "It began.", .nodes = (char *) "[\"n1\"]", .applications = (char *) "[\"shop\"]", .workloads = (char *) "[\"web\",\"a\\\"b\"]",
                .containers = (char *) "[{\"node\":\"n1\",\"id\":\"c1\",\"name\":\"web-1\"}]", .lines = (char *) "[{\"rule\":\"x\"}]" };
}

static void put(BhStore *s, const BhStoreIncident *rows, guint n, guint64 position) {
        g_autoptr(GError) error = NULL;

        bh_store_incidents_put(s, rows, n, NULL, 0, position, &error);
        g_assert_no_error(error);
}

static guint64 count_of(BhStore *s, BhStoreIncidentFilter f) {
        guint64 n = 0;

        g_assert_true(bh_store_incidents_count(s, &f, &n, NULL));
        return n;
}

static void what_people_say_outlasts_what_comes(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        BhStoreIncident one = row(5, "open", T0 + 1);
        g_autoptr(GError) error = NULL;
        guint64 position, last;

        put(s, &one, 1, 77);
        g_assert_true(bh_store_incident_assign(s, 5, "anna", NULL, &error));
        g_assert_true(bh_store_incident_note(s, 5, "anna", "hm", NULL, &error));
        one.findings = 9;
        put(s, &one, 1, 78);
        g_autoptr(BhStoreIncident) i = bh_store_incident(s, 5, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(i->findings, ==, 9);
        g_assert_cmpstr(i->assignee, ==, "anna");
        g_assert_cmpstr(i->lines, ==, "[{\"rule\":\"x\"}]");
        g_assert_true(bh_store_incident_close(s, 5, "benign", "anna", "a test", NULL, &error));
        put(s, &one, 1, 79); /* it was decided before the correlation heard of the closing */
        g_autoptr(BhStoreIncident) closed = bh_store_incident(s, 5, &error);
        g_assert_cmpstr(closed->state, ==, "closed");
        g_assert_cmpstr(closed->verdict, ==, "benign");
        g_assert_false(bh_store_incident_close(s, 5, "benign", "anna", NULL, NULL, &error));
        g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT);
        g_clear_error(&error);
        g_assert_false(bh_store_incident_close(s, 5, "perhaps", "anna", NULL, NULL, &error));
        g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID);
        g_clear_error(&error);
        g_assert_false(bh_store_incident_note(s, 6, "anna", "hm", NULL, &error));
        g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_NOT_FOUND);
        g_autoptr(GPtrArray) notes = bh_store_incident_notes(s, 5, NULL);
        g_assert_cmpuint(notes->len, ==, 2);
        g_assert_cmpstr(((BhStoreIncidentNote *) notes->pdata[1])->text, ==, "a test");
        g_assert_true(bh_store_incidents_position(s, &position, NULL));
        g_assert_true(bh_store_incidents_last(s, &last, NULL));
        g_assert_cmpuint(position, ==, 79);
        g_assert_cmpuint(last, ==, 5);
        bh_store_close(s);
}

static void filters_and_pages(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        BhStoreIncident rows[] = { row(1, "open", T0 + 1), row(2, "forming", T0 + 2), row(3, "open", T0 + 3), row(4, "merged", T0 + 4), row(5, "open", T0 + 5) };

        rows[2].severity = 3;
        rows[2].workloads = (char *) "[\"db\"]";
        rows[3].state = (char *) "open";
        put(s, rows, G_N_ELEMENTS(rows), 1);
        /* it keeps what it told, and nothing that comes late opens it again */
        BhStoreIncident went = { .id = 4, .state = (char *) "merged", .merged_into = 3 };
        put(s, &went, 1, 1);
        put(s, &rows[3], 1, 1);
        g_autoptr(BhStoreIncident) merged = bh_store_incident(s, 4, NULL);
        g_assert_cmpstr(merged->state, ==, "merged");
        g_assert_cmpuint(merged->merged_into, ==, 3);
        g_assert_cmpstr(merged->title, ==, rows[3].title);
        g_assert_cmpstr(merged->lines, ==, rows[3].lines);
        g_assert_cmpuint(count_of(s, (BhStoreIncidentFilter){ 0 }), ==, 3); /* neither what forms nor what went into another */
        g_assert_cmpuint(count_of(s, (BhStoreIncidentFilter){ .state = "merged" }), ==, 1);
        g_assert_cmpuint(count_of(s, (BhStoreIncidentFilter){ .state = "forming" }), ==, 0);
        g_assert_cmpuint(count_of(s, (BhStoreIncidentFilter){ .min_severity = 3 }), ==, 1);
        g_assert_cmpuint(count_of(s, (BhStoreIncidentFilter){ .workload = "db" }), ==, 1);
        g_assert_cmpuint(count_of(s, (BhStoreIncidentFilter){ .workload = "d" }), ==, 0);
        g_assert_cmpuint(count_of(s, (BhStoreIncidentFilter){ .workload = "a\"b" }), ==, 2);
        g_assert_cmpuint(count_of(s, (BhStoreIncidentFilter){ .container = "web-1" }), ==, 3);
        /* keys of the JSON are no names */
        g_assert_cmpuint(count_of(s, (BhStoreIncidentFilter){ .container = "name" }), ==, 0);
        g_assert_cmpuint(count_of(s, (BhStoreIncidentFilter){ .container = "node" }), ==, 0);
        g_assert_cmpuint(count_of(s, (BhStoreIncidentFilter){ .node = "n1", .search = "OUT OF" }), ==, 3);
        g_assert_cmpuint(count_of(s, (BhStoreIncidentFilter){ .since_ns = T0 + 3 }), ==, 2);
        g_assert_null(bh_store_incident(s, 2, NULL));

        g_autoptr(BhStorePage) page = bh_store_incidents(s, NULL, NULL, 2, NULL);
        g_assert_cmpuint(page->rows->len, ==, 2);
        g_assert_cmpuint(((BhStoreIncident *) page->rows->pdata[0])->id, ==, 5);
        g_autoptr(BhStorePage) rest = bh_store_incidents(s, NULL, page->next, 2, NULL);
        g_assert_cmpuint(rest->rows->len, ==, 1);
        g_assert_cmpuint(((BhStoreIncident *) rest->rows->pdata[0])->id, ==, 1);
        g_assert_null(rest->next);

        /* the stream hears of what people see */
        g_autoptr(GPtrArray) changes = bh_store_changes_after(s, 0, 100, NULL, NULL);
        guint told = 0;
        for (guint n = 0; n < changes->len; n++) {
                const BhStoreChange *c = changes->pdata[n];

                told += c->kind == BH_STORE_CHANGE_INCIDENT;
                g_assert_false(c->kind == BH_STORE_CHANGE_INCIDENT && g_str_equal(c->key, "2"));
        }
        g_assert_cmpuint(told, ==, 6);
        bh_store_close(s);
}

static void note_member(const char *finding, guint64 incident, gboolean open, gpointer data) {
        g_string_append_printf(data, "%s>%" G_GUINT64_FORMAT "%s ", finding, incident, open ? "" : "?");
}

static void take_pair(guint64 a, guint64 b, gpointer data) {
        guint64 *pair = data;

        pair[0] = a;
        pair[1] = b;
        pair[2]++;
}

static void what_people_take_out_is_gone(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        BhStoreIncident rows[] = { row(1, "open", T0 + 1), row(2, "open", T0 + 1) };
        const BhStoreIncidentSaid said[] = { { 1, "anna", "a part of it was made incident 2" } };
        BhStoreIncidentApart apart = { 2, 1, TRUE };
        guint64 pair[3] = { 0 };

        rows[0].findings = 7;
        rows[0].severity = 3;
        put(s, rows, 1, 1);
        rows[0].findings = rows[1].findings = 3;
        rows[0].severity = 1;
        /* what comes by itself never shrinks */
        put(s, rows, 1, 1);
        g_autoptr(BhStoreIncident) whole = bh_store_incident(s, 1, NULL);
        g_assert_cmpuint(whole->findings, ==, 7);
        g_assert_true(bh_store_incidents_decide(s, rows, 2, NULL, 0, 1, said, 1, &apart, NULL, NULL));
        g_autoptr(BhStoreIncident) part = bh_store_incident(s, 1, NULL);
        g_autoptr(GPtrArray) notes = bh_store_incident_notes(s, 1, NULL);
        g_assert_cmpuint(part->findings, ==, 3);
        g_assert_cmpuint(part->severity, ==, 1);
        g_assert_cmpint(part->last_ns, ==, T0 + 1);
        g_assert_cmpuint(notes->len, ==, 1);
        g_assert_true(bh_store_incidents_apart(s, take_pair, pair, NULL));
        g_assert_true(pair[0] == 1 && pair[1] == 2 && pair[2] == 1);
        /* whoever puts them together thinks otherwise now */
        apart.apart = FALSE;
        g_assert_true(bh_store_incidents_decide(s, rows, 0, NULL, 0, 1, NULL, 0, &apart, NULL, NULL));
        g_assert_true(bh_store_incidents_apart(s, take_pair, pair, NULL));
        g_assert_cmpuint(pair[2], ==, 1);
        bh_store_close(s);
}

static void members_are_read_back_in_order(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        BhStoreIncident rows[] = { row(1, "open", T0), row(2, "forming", T0), row(3, "closed", T0), row(4, "merged", T0) };
        BhStoreMessage m[6];
        char ids[6][8];

        for (guint n = 0; n < 6; n++) {
                g_snprintf(ids[n], sizeof(ids[n]), "f%u", n + 1);
                m[n] = (BhStoreMessage){ .seq = n + 1, .kind = BH_STORE_MESSAGE_FINDING, .finding = { .id = ids[n], .time_ns = T0, .rule = ids[n], .priority = "error", .source = "x", .output = "o" } };
        }
        g_assert_true(bh_store_ingest(s, PUBLISHER, NODE, m, 6, NULL));
        rows[3].merged_into = 1;
        const BhStoreIncidentMember members[] = { { 1, 1 }, { 2, 2 }, { 3, 3 }, { 4, 4 }, { 5, 1 } };
        g_assert_true(bh_store_incidents_put(s, rows, 4, members, 5, 9, NULL));
        g_autoptr(GString) got = g_string_new(NULL);
        gboolean closed;
        g_assert_true(bh_store_incident_is_closed(s, 3, &closed, NULL) && closed);
        g_assert_true(bh_store_incident_is_closed(s, 1, &closed, NULL) && !closed);
        g_assert_true(bh_store_incident_is_closed(s, 6, &closed, NULL) && !closed);
        g_assert_true(bh_store_incidents_members(s, T0, 100, note_member, got, NULL));
        g_assert_cmpstr(got->str, ==, "f1>1 f2>2? f4>1 f5>1 ");
        g_string_truncate(got, 0);
        g_assert_true(bh_store_incidents_members(s, T0, 2, note_member, got, NULL));
        g_assert_cmpstr(got->str, ==, "f4>1 f5>1 ");
        g_string_truncate(got, 0);
        g_assert_true(bh_store_incidents_members(s, T0 + 1, 100, note_member, got, NULL));
        g_assert_cmpstr(got->str, ==, "");
        bh_store_close(s);
}

static void a_finding_knows_its_incident(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        BhStoreIncident rows[] = { row(1, "open", T0), row(2, "closed", T0) };
        const BhStoreIncidentMember members[] = { { 7, 1 }, { 8, 2 } };
        gboolean ended = TRUE;

        g_assert_true(bh_store_incidents_put(s, rows, 2, members, 2, 9, NULL));
        g_assert_true(bh_store_incident_is_closed(s, 7, &ended, NULL));
        g_assert_false(ended);
        g_assert_true(bh_store_incident_is_closed(s, 8, &ended, NULL));
        g_assert_true(ended);
        g_assert_true(bh_store_incident_is_closed(s, 9, &ended, NULL));
        g_assert_false(ended);
        bh_store_close(s);
}

static void bound_holds(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        enum { BATCH = 5000 };
        g_autofree BhStoreIncident *rows = g_new0(BhStoreIncident, BATCH);
        BhStoreIncident first = row(1, "open", T0), closed = row(2, "closed", T0 + 1);

        put(s, &first, 1, 1);
        put(s, &closed, 1, 2);
        for (guint64 id = 3; id < 3 + BH_STORE_INCIDENTS_MAX; id += BATCH) {
                for (guint n = 0; n < BATCH; n++)
                        rows[n] = row(id + n, n % 2 ? "forming" : "open", T0 + (gint64) (id + n));
                put(s, rows, BATCH, id);
        }
        g_autoptr(BhStoreIncident) oldest = bh_store_incident(s, 1, NULL);
        g_assert_nonnull(oldest); /* what forms went first */
        gint64 have = (gint64) count_of(s, (BhStoreIncidentFilter){ 0 });
        g_assert_cmpint(have, ==, BH_STORE_INCIDENTS_MAX / 2 + 2);
        bh_store_close(s);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/store/incidents/what_people_say_outlasts_what_comes", what_people_say_outlasts_what_comes);
        g_test_add_func("/store/incidents/filters_and_pages", filters_and_pages);
        g_test_add_func("/store/incidents/what_people_take_out_is_gone", what_people_take_out_is_gone);
        g_test_add_func("/store/incidents/members_are_read_back_in_order", members_are_read_back_in_order);
        g_test_add_func("/store/incidents/a_finding_knows_its_incident", a_finding_knows_its_incident);
        g_test_add_func("/store/incidents/bound_holds", bound_holds);
        return g_test_run();
}

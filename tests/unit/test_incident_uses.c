/* SPDX-License-Identifier: Apache-2.0 */
/* What credentials that were read tie together, what went over connections, and how surprise weighs. */
#include "store_rows.h"

#include <fcntl.h>

#include "central/incident_now.h"
#include "central/incident_row.h"
#include "central/incident_sent.h"
#include "central/incident_uses.h"
#include "incident/credential.h"
#include "incident/story.h"
#include "record.h"

#define S G_GINT64_CONSTANT(1000000000)
#define T(name) (1u << BH_TACTIC_##name)

static gint64 next_serial;

static BhIncidentFinding act(const char *container, const char *rule, guint rank, guint32 tactics, gint64 at) {
        return (BhIncidentFinding){ .serial = ++next_serial, .id = "id", .rule = rule, .kind = "rule", .output = "", .rank = rank, .time_ns = (10000 + at) * S, .count = 1, .node = "n",
                .container_id = container, .container_name = container, .workload = container, .application = "app", .tactics = tactics };
}

static BhIncidentJoin tell(BhIncidents *g, BhIncidentFinding f) {
        return bh_incidents_finding(g, &f);
}

static guint64 join(BhIncidents *g, BhIncidentFinding f) {
        BhIncidentJoin j = tell(g, f);

        return j.incident ? j.incident->id : 0;
}

/* Somebody takes a container over and reads that file, at second `at`. */
static guint64 reads(BhIncidents *g, const char *container, const char *path, gint64 at) {
        struct bh_event e = { 0 };
        BhIncidentFinding f = act(container, "Keys or credentials of others read by a tool", 3, T(CREDENTIAL_ACCESS), at);

        BH_SET(&e, type, BH_EV_OPEN);
        BH_SET(&e, open_flags, O_RDONLY);
        BH_SET(&e, ret, 3);
        BH_SET_STR(&e, path, path);
        f.event = &e;
        return join(g, f);
}

/* A connection from web to db. */
static gboolean use(BhIncidents *g, guint port, gint64 at, BhIncidentJoin *j) {
        const BhIncidentUse u = { .node = "n", .container = "web", .peer_node = "n", .peer_container = "db", .port = port, .time_ns = (10000 + at) * S };

        return bh_incidents_used(g, &u, j);
}

static const BhIncidentLine *line(const BhIncident *i, guint n) {
        g_assert_cmpuint(i->lines->len, >, n);
        return g_ptr_array_index(i->lines, n);
}

static void secrets_open_what_they_are_for(void) {
        static const struct {
                const char *path;
                BhCredential kind;
                guint opens, not;
        } rows[] = {
                { "/root/.ssh/id_ed25519", BH_CREDENTIAL_SSH_KEY, 22, 5432 },
                { "/proc/7/root/home/a/.ssh/id_rsa", BH_CREDENTIAL_SSH_KEY, 22, 443 },
                { "/root/.ssh/id_rsa.pub", BH_CREDENTIAL_NONE, 0, 22 },
                { "/run/secrets/kubernetes.io/serviceaccount/token", BH_CREDENTIAL_SERVICE_ACCOUNT, 6443, 22 },
                { "/run/secrets/db_password", BH_CREDENTIAL_SECRET, 5432, 443 },
                { "/root/.pgpass", BH_CREDENTIAL_POSTGRES, 5432, 3306 },
                { "/root/.docker/config.json", BH_CREDENTIAL_REGISTRY, 5000, 2376 },
                { "/root/.aws/credentials", BH_CREDENTIAL_NONE, 0, 443 },
                { "/etc/shadow", BH_CREDENTIAL_NONE, 0, 22 },
                { "", BH_CREDENTIAL_NONE, 0, 0 },
        };

        for (guint n = 0; n < G_N_ELEMENTS(rows); n++) {
                BhCredential c = bh_credential_of_path(rows[n].path);

                if (c != rows[n].kind || (rows[n].opens && !bh_credential_opens(c, rows[n].opens)) || bh_credential_opens(c, rows[n].not))
                        g_error("%s", rows[n].path);
        }
        g_assert_true(bh_credential_is_asked_for(22));
        g_assert_false(bh_credential_is_asked_for(23));
        g_assert_false(bh_credential_is_asked_for(0));
        for (BhCredential c = BH_CREDENTIAL_NONE + 1; c < BH_CREDENTIALS; c++)
                g_assert_cmpstr(bh_credential_title(c), !=, "");
}

static void what_follows_where_it_may_have_been_used_belongs_to_it(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1), again = bh_incidents_new(1);
        guint64 id = reads(g, "web", "/root/.pgpass", 0);
        BhIncidentJoin j;
        BhStoreIncident row;

        g_assert_false(use(g, 5432, 60, &j)); /* nothing is there yet */
        g_assert_cmpuint(join(g, act("db", "Shell run", 3, T(EXECUTION), 120)), ==, id);
        g_assert_cmpuint(join(g, act("db", "Log removed", 4, T(DEFENSE_EVASION), 121)), ==, id);
        const BhIncident *i = bh_incidents_get(g, id);
        g_assert_cmpint(line(i, 1)->basis, ==, BH_BASIS_CREDENTIAL);
        g_assert_cmpstr(line(i, 1)->used, ==, "/root/.pgpass");
        g_assert_cmpint(line(i, 2)->basis, ==, BH_BASIS_CONTAINER);
        g_autofree char *text = bh_story_text(i, NULL, 0);
        g_assert_nonnull(strstr(text, ", in container db reached after the database password /root/.pgpass was read: Shell run"));
        /* it outlives a restart with its row */
        bh_incident_row(i, NULL, 0, &row);
        g_assert_nonnull(strstr(row.lines, "\"joined_by\":\"credential\",\"used\":\"/root/.pgpass\""));
        g_autoptr(GPtrArray) read = bh_incident_row_read(row.lines);
        g_assert_cmpstr(((BhIncidentLine *) read->pdata[1])->used, ==, "/root/.pgpass");
        BhIncidentFinding f = act("web", "x", 3, T(EXECUTION), 0);
        bh_incidents_restore(again, id, BH_INCIDENT_OPEN, &f);
        bh_incident_row_lines(row.lines, again, id);
        g_assert_cmpint(line(i, 0)->credential, ==, BH_CREDENTIAL_POSTGRES);
        g_assert_cmpint(line(i, 1)->credential, ==, BH_CREDENTIAL_NONE);
        const BhIncident *kept = bh_incidents_get(again, id);
        for (guint n = 0; n < kept->lines->len; n++)
                g_assert_cmpint(line(kept, n)->credential, ==, line(kept, n)->deed == BH_DEED_READ ? BH_CREDENTIAL_POSTGRES : BH_CREDENTIAL_NONE);
        g_autofree char *later = bh_story_text(bh_incidents_get(again, id), NULL, 0);
        g_assert_nonnull(strstr(later, "reached after the database password /root/.pgpass was read"));
        bh_incident_row_clear(&row);
}

static void what_was_told_first_is_joined(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        guint64 id = reads(g, "web", "/root/.ssh/id_rsa", 0), other = join(g, act("db", "Shell run", 3, T(EXECUTION), 30));
        BhIncidentJoin j;

        g_assert_cmpuint(id, !=, other);
        g_assert_true(use(g, 22, 20, &j));
        g_assert_cmpuint(j.incident->id, ==, id);
        g_assert_cmpuint(j.n_merged, ==, 1);
        g_assert_cmpuint(j.merged[0]->id, ==, other);
        g_assert_true(j.merged_open[0]);
        g_assert_cmpint(line(j.incident, 1)->basis, ==, BH_BASIS_CREDENTIAL);
        g_assert_cmpstr(line(j.incident, 1)->used, ==, "/root/.ssh/id_rsa");
        g_assert_false(use(g, 22, 20, &j)); /* said again */
        g_assert_cmpuint(join(g, act("db", "y", 3, T(IMPACT), 40)), ==, id);
}

/* The connection is a finding's own: the tie says what was read before it. */
static void a_connection_that_was_told_of_says_so_too(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        guint64 id = reads(g, "web", "/root/.ssh/id_rsa", 0);
        struct bh_event e = { 0 };
        BhIncidentFinding f = act("web", "SSH connection from a container", 5, T(LATERAL_MOVEMENT), 10);

        BH_SET(&e, type, BH_EV_CONNECT);
        BH_SET(&e, rport, 22);
        f.event = &e;
        f.peer_container = "db";
        g_assert_cmpuint(join(g, f), ==, id);
        g_assert_cmpuint(join(g, act("db", "x", 3, T(EXECUTION), 20)), ==, id);
        g_assert_cmpint(line(bh_incidents_get(g, id), 2)->basis, ==, BH_BASIS_CREDENTIAL);
        /* to another service it does not open */
        BH_SET(&e, rport, 80);
        f.serial = ++next_serial;
        f.peer_container = "shop";
        g_assert_cmpuint(join(g, f), ==, id);
        g_assert_cmpuint(join(g, act("shop", "x", 3, T(EXECUTION), 30)), ==, id);
        const BhIncident *i = bh_incidents_get(g, id);
        g_assert_cmpint(line(i, i->lines->len - 1)->basis, ==, BH_BASIS_REACHED);
}

static void what_has_nothing_to_do_with_it_stays_apart(void) {
        static const struct {
                const char *what, *path;
                guint port;
                gint64 read, used, there; /* seconds; there: when db has its first finding */
        } rows[] = {
                { "no secret", "/etc/shadow", 22, 0, 10, 20 },
                { "another service", "/root/.ssh/id_rsa", 5432, 0, 10, 20 },
                { "connected before", "/root/.ssh/id_rsa", 22, 50, 10, 60 },
                { "connected long after", "/root/.ssh/id_rsa", 22, 0, 3700, 3710 },
                { "began before the connection", "/root/.ssh/id_rsa", 22, 0, 30, 20 },
                { "began long after the connection", "/root/.ssh/id_rsa", 22, 0, 30, 7 * 3600 },
        };
        BhIncidentJoin j;

        for (guint n = 0; n < G_N_ELEMENTS(rows); n++)
                for (guint first = 0; first < 2; first++) {
                        g_autoptr(BhIncidents) g = bh_incidents_new(1);
                        guint64 id = reads(g, "web", rows[n].path, rows[n].read), other = 0;

                        if (first)
                                other = join(g, act("db", "x", 3, T(EXECUTION), rows[n].there));
                        if (use(g, rows[n].port, rows[n].used, &j))
                                g_error("%s: tied", rows[n].what);
                        if (!first)
                                other = join(g, act("db", "x", 3, T(EXECUTION), rows[n].there));
                        if (other == id)
                                g_error("%s: joined", rows[n].what);
                }
}

/* It is found again every few seconds, and another program's connection later. */
static void what_follows_the_last_connection_is_told_whenever(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        guint64 id = reads(g, "web", "/root/.ssh/id_rsa", 0);
        BhIncidentJoin j;

        use(g, 22, 20, &j);
        use(g, 22, 3000, &j);
        use(g, 22, 20, &j);
        g_assert_cmpuint(join(g, act("db", "late", 3, T(EXECUTION), 3000 + 6 * 3600 - 60)), ==, id); /* within six hours of the last */
        g_assert_cmpuint(join(g, act("db", "told late", 3, T(IMPACT), 30)), ==, id);
        const BhIncident *i = bh_incidents_get(g, id);
        g_assert_cmpint(line(i, 2)->basis, ==, BH_BASIS_CREDENTIAL);
        g_assert_cmpstr(line(i, 2)->used, ==, "/root/.ssh/id_rsa");

        /* told late, and of the time between both */
        g_autoptr(BhIncidents) h = bh_incidents_new(1);
        id = reads(h, "web", "/root/.ssh/id_rsa", 0);
        use(h, 22, 3000, &j);
        use(h, 22, 20, &j);
        g_assert_cmpuint(join(h, act("db", "told late", 3, T(IMPACT), 30)), ==, id);
}

/* A connection that is told of at its end began before what was done over it. */
static void what_was_done_over_a_connection_comes_before_its_end(void) {
        for (guint n = 0; n < 2; n++) {
                g_autoptr(BhIncidents) g = bh_incidents_new(1);
                guint64 id = reads(g, "web", "/root/.ssh/id_rsa", 0);
                struct bh_event e = { 0 };
                BhIncidentFinding f = act("web", "Much sent", 5, T(EXFILTRATION), 300);

                BH_SET(&e, type, BH_EV_NET_CLOSE);
                BH_SET(&e, outgoing, TRUE);
                BH_SET(&e, rport, 22);
                BH_SET(&e, duration, (guint64) (280 * S));
                f.event = &e;
                f.peer_container = "db";
                g_assert_cmpuint(join(g, f), ==, id);
                g_assert_true((join(g, act("db", "x", 3, T(EXECUTION), n ? 100 : 10)) == id) == n);
        }
}

static void two_attacks_stay_two(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        BhIncidentJoin j;

        reads(g, "web", "/root/.ssh/id_rsa", 0);
        /* another came to db from elsewhere, after the connection */
        guint64 other = join(g, act("front", "x", 3, T(INITIAL_ACCESS), 30));
        BhIncidentFinding f = act("front", "reach", 4, T(LATERAL_MOVEMENT), 35);
        f.peer_container = "db";
        join(g, f);
        g_assert_cmpuint(join(g, act("db", "x", 3, T(EXECUTION), 40)), ==, other);
        g_assert_false(use(g, 22, 20, &j));
        /* whoever connected last has what comes: the earlier connection does not take it away */
        f = act("front", "reach", 4, T(LATERAL_MOVEMENT), 50);
        f.peer_container = "shop";
        join(g, f);
        const BhIncidentUse u = { .node = "n", .container = "web", .peer_node = "n", .peer_container = "shop", .port = 22, .time_ns = 10020 * S };
        g_assert_false(bh_incidents_used(g, &u, &j));
        g_assert_cmpuint(join(g, act("shop", "x", 3, T(EXECUTION), 60)), ==, other);

        /* nothing that only forms, and nobody whom people took apart */
        g_autoptr(BhIncidents) h = bh_incidents_new(1);
        struct bh_event e = { 0 };
        f = act("web", "r", 4, T(CREDENTIAL_ACCESS), 0);
        BH_SET(&e, type, BH_EV_OPEN);
        BH_SET(&e, open_flags, O_RDONLY);
        BH_SET_STR(&e, path, "/root/.ssh/id_rsa");
        f.event = &e;
        g_assert_cmpint(tell(h, f).incident->state, ==, BH_INCIDENT_FORMING);
        guint64 b = join(h, act("db", "x", 3, T(EXECUTION), 30));
        g_assert_false(use(h, 22, 20, &j));
        f = act("web", "more", 3, T(EXECUTION), 5);
        guint64 a = join(h, f);
        bh_incidents_keep_apart(h, a, b);
        g_assert_false(use(h, 22, 20, &j));
}

/* ---- surprise */

static void surprise_raises_and_never_twice(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        BhIncidentFinding f = act("web", "Model: new programs", 3, 0, 0);
        BhIncidentPoints p;

        f.surprise = 2;
        guint64 id = join(g, f);
        const BhIncident *i = bh_incidents_get(g, id);
        g_assert_cmpint(i->severity, ==, BH_SEVERITY_MEDIUM); /* 3 and 2 */
        f = act("web", "Model: new files", 4, 0, 1);
        f.surprise = 2;
        join(g, f);
        f = act("web", "Shell run", 3, T(EXECUTION), 2);
        join(g, f);
        p = bh_incident_points(i->lines);
        g_assert_cmpuint(p.stages, ==, 3);
        g_assert_cmpuint(p.surprise, ==, 2);
        g_assert_cmpint(i->severity, ==, bh_incident_severity(&p));
        /* what is a note to a model is none */
        g_autoptr(BhIncidents) h = bh_incidents_new(1);
        join(h, act("web", "Shell run", 3, T(EXECUTION), 0));
        f = act("web", "Model: new files", 5, 0, 1);
        f.surprise = 2;
        p = bh_incident_points(bh_incidents_get(h, join(h, f))->lines);
        g_assert_cmpuint(p.surprise, ==, 0);
        g_assert_cmpuint(bh_incident_surprise(690, FALSE), ==, 0);
        g_assert_cmpuint(bh_incident_surprise(691, FALSE), ==, 1);
        g_assert_cmpuint(bh_incident_surprise(921, FALSE), ==, 2);
        g_assert_cmpuint(bh_incident_surprise(G_MAXINT64, FALSE), ==, 2);
        g_assert_cmpuint(bh_incident_surprise(-5, FALSE), ==, 0);
        g_assert_cmpuint(bh_incident_surprise(0, TRUE), ==, 2);
}

static void surprise_comes_from_what_models_say(void) {
        static const struct {
                const char *kind, *fields;
                guint want;
        } rows[] = {
                { "model", "{\"model.verdict\":\"novel\",\"model.surprise\":700,\"model.strict\":false}", 1 },
                { "model", "{\"model.verdict\":\"novel\",\"model.surprise\":1200}", 2 },
                { "model", "{\"model.verdict\":\"novel\",\"model.surprise\":100,\"model.strict\":true}", 2 },
                { "model", "{\"model.verdict\":\"refused\",\"model.surprise\":1200}", 0 }, /* while it learns everything is new */
                { "model", "{\"model.verdict\":\"forbidden\",\"model.surprise\":1200,\"model.strict\":true}", 0 },
                { "rule", "{\"model.verdict\":\"novel\",\"model.surprise\":1200}", 0 },
                { "model", "{\"model.verdict\":\"novel\",\"model.surprise\":\"a\"}", 0 },
                { "model", "{", 0 },
        };

        for (guint n = 0; n < G_N_ELEMENTS(rows); n++) {
                const BhStoreFinding f = { .serial = 1, .id = (char *) "f", .rule = (char *) "r", .kind = (char *) rows[n].kind, .priority = (char *) "error", .output = (char *) "", .node = (char *) "n",
                                           .container_id = (char *) "web", .container_name = (char *) "", .workload = (char *) "", .application = (char *) "", .fields = (char *) rows[n].fields, .count = 1 };
                g_auto(BhIncidentInput) in = { 0 };

                bh_incident_input_init(&in, &f);
                if (in.finding.surprise != rows[n].want)
                        g_error("%s: %u", rows[n].fields, in.finding.surprise);
        }
}

/* ---- connections in the store */

static BhHalf half(const char *container, const char *exe, guint8 last, guint port, const char *peer, gint64 at_ns) {
        return (BhHalf){ .container_id = container, .exe = exe, .role = BH_HALF_CLIENT, .proto = 6, .port = port, .path = "", .peer_container_id = peer, .peer_name = "", .peer_exe = "", .network_id = "",
                         .protocol = "", .server_name = "", .fingerprint = "", .certificate = "", .peer = { 4, { 10, 0, 0, last } }, .first_ns = at_ns, .last_ns = at_ns };
}

static void put_halves(BhStore *s, BhHalf *halves, guint n) {
        static guint64 through;
        BhStoreMessage m = { .kind = BH_STORE_MESSAGE_FLOWS, .flows = { .boot_id = "b", .through = ++through, .time_ns = halves->last_ns, .halves = halves, .n_halves = n } };

        must_put(s, "n", &m, 1);
        bh_store_flows_clear(&m.flows);
}

typedef struct {
        guint n;
        char *text;
} Seen;

static void on_use(const BhIncidentUse *u, gpointer data) {
        Seen *seen = data;

        seen->n++;
        g_free(seen->text);
        seen->text = g_strdup_printf("%s/%s to %s/%s port %u at %" G_GINT64_FORMAT, u->node, u->container, u->peer_node, u->peer_container, u->port, u->time_ns / S);
}

static void learn(BhIncidentPlaces *p, const char *node, const char *id, const char *ip, gint64 started_ns) {
        g_autofree char *networks = g_strdup_printf("[{\"id\":\"net\",\"ip\":\"%s\"}]", ip);
        BhStoreContainer c = { .node = (char *) node, .id = (char *) id, .name = (char *) id, .state = (char *) "running", .networks = networks, .created_ns = 1, .started_ns = started_ns };

        bh_incident_places_learn(p, &c, NULL, NULL);
}

static guint look_at(BhIncidents *g, guint64 id, BhStore *s, const BhIncidentPlaces *places, Seen *seen) {
        BhIncidentUses *u = bh_incident_uses_new();

        seen->n = 0;
        bh_incident_uses_of(u, bh_incidents_get(g, id), 1);
        bh_incident_uses_look(u, s, places, 1, on_use, seen);
        bh_incident_uses_look(u, s, places, 2, on_use, seen); /* not again at once */
        guint watched = bh_incident_uses_watched(u);
        bh_incident_uses_free(u);
        return watched;
}

static guint look(BhIncidents *g, guint64 id, BhStore *s, Seen *seen) {
        BhIncidentPlaces *places = bh_incident_places_new();
        guint watched = look_at(g, id, s, places, seen);

        bh_incident_places_free(places);
        return watched;
}

static void connections_are_found_that_are_new_and_went_both_ways(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        guint64 id = reads(g, "web", "/root/.pgpass", 0), none = join(g, act("shop", "Shell run", 3, T(EXECUTION), 0));
        BhHalf halves[] = {
                half("web", "/bin/app", 7, 5432, "db", 9000 * S),    /* it always did */
                half("web", "/bin/psql", 7, 5432, "db", 10020 * S),  /* this is one */
                half("web", "/bin/psql", 8, 5432, "db2", 10020 * S), /* was not answered */
                half("web", "/bin/psql", 9, 81, "other", 10020 * S), /* nothing that is opened by anything */
                half("web", "/bin/psql", 10, 5432, "web", 10020 * S),
                half("web", "/bin/psql", 11, 5432, "", 10020 * S),   /* nobody's, as far as is known */
                half("shop", "/bin/psql", 7, 5432, "db", 10020 * S),
        };
        Seen seen = { 0 };

        for (guint n = 0; n < G_N_ELEMENTS(halves); n++) {
                halves[n].counts = (BhHalfCounts){ .connections = 1, .bytes_out = 100, .bytes_in = n == 2 ? 0 : 50 };
                halves[n].last_ns = 10030 * S;
        }
        put_halves(s, halves, G_N_ELEMENTS(halves));
        g_assert_cmpuint(look(g, id, s, &seen), ==, 1);
        g_assert_cmpuint(seen.n, ==, 1);
        g_assert_cmpstr(seen.text, ==, "n/web to n/db port 5432 at 10020");
        g_assert_cmpuint(look(g, none, s, &seen), ==, 0);
        g_assert_cmpuint(seen.n, ==, 0);
        g_free(seen.text);
        bh_store_close(s);
}

/* An address is soon another container's. */
static void the_other_end_is_who_had_the_address_then(void) {
        static const struct {
                const char *told, *at, *has, *want; /* by the node; who has the address now, on which node; NULL: nobody is found */
                gint64 started;                     /* who has it, in seconds; the connection is of 10020 */
        } rows[] = {
                { "db", "n", "cache", "n/web to n/db port 5432 at 10020", 10500 },
                { "db", "n", "cache", "n/web to n/db port 5432 at 10020", 9000 },
                { "db", "n", "db", "n/web to n/db port 5432 at 10020", 10500 }, /* it was started again */
                { "", "n", "db", "n/web to n/db port 5432 at 10020", 9000 },
                { "", "n", "cache", NULL, 10021 },
                { "", "m", "db", "n/web to m/db port 5432 at 10020", 9000 }, /* in a network of several nodes */
                { "", "m", "cache", NULL, 10021 },
        };

        for (guint n = 0; n < G_N_ELEMENTS(rows); n++) {
                g_autoptr(TempDir) dir = temp_dir();
                BhStore *s = must_open(dir, NULL);
                g_autoptr(BhIncidents) g = bh_incidents_new(1);
                BhIncidentPlaces *places = bh_incident_places_new();
                BhHalf h = half("web", "/bin/psql", 7, 5432, rows[n].told, 10020 * S);
                Seen seen = { 0 };

                h.counts = (BhHalfCounts){ .connections = 1, .bytes_out = 100, .bytes_in = 50 };
                put_halves(s, &h, 1);
                learn(places, "n", "web", "10.0.0.2", 9000 * S);
                learn(places, rows[n].at, rows[n].has, "10.0.0.7", rows[n].started * S);
                look_at(g, reads(g, "web", "/root/.pgpass", 0), s, places, &seen);
                g_assert_cmpstr(seen.text, ==, rows[n].want);
                g_free(seen.text);
                bh_incident_places_free(places);
                bh_store_close(s);
        }
}

#define MINUTES (G_GINT64_CONSTANT(60) * G_USEC_PER_SEC)

/* Each look at a later time: how many connections were found. */
static guint found_at(BhIncidentUses *u, BhStore *s, gint64 us) {
        BhIncidentPlaces *places = bh_incident_places_new();
        Seen seen = { 0 };

        bh_incident_uses_look(u, s, places, us, on_use, &seen);
        bh_incident_places_free(places);
        g_free(seen.text);
        return seen.n;
}

/* What is deployed anew is another container: the application connects to it as it always did. */
static void what_is_deployed_anew_is_no_new_connection(void) {
        static const struct {
                const char *exe, *peer, *name; /* the connection of before the read */
                guint port, in;
                const char *workload;          /* of db2, which is connected to after it by /bin/app under the name "db"; db is db's */
                gboolean is_new;
        } rows[] = {
                { "/bin/app", "", "db", 5432, 50, "other", FALSE },
                { "/bin/app", "db", "", 5432, 50, "db", FALSE },
                { "/bin/app", "db", "", 5432, 50, "other", TRUE },
                { "/bin/app", "db", "db", 5432, 0, "db", TRUE }, /* it was never let in */
                { "/bin/app", "db", "db", 6432, 50, "db", TRUE },
                { "/bin/psql", "db", "db", 5432, 50, "db", TRUE },
                { "/bin/app", "db", "cache", 5432, 50, "", TRUE },
        };

        for (guint n = 0; n < G_N_ELEMENTS(rows); n++) {
                g_autoptr(TempDir) dir = temp_dir();
                BhStore *s = must_open(dir, NULL);
                g_autoptr(BhIncidents) g = bh_incidents_new(1);
                BhIncidentUses *u = bh_incident_uses_new();
                BhHalf before = half("web", rows[n].exe, 7, rows[n].port, rows[n].peer, 9000 * S), after = half("web", "/bin/app", 8, 5432, "db2", 10020 * S);
                BhStoreContainer boxes[] = { { .id = (char *) "db", .name = (char *) "db", .state = (char *) "removed", .workload = (char *) "db", .application = (char *) "shop" },
                                             { .id = (char *) "db2", .name = (char *) "db", .state = (char *) "running", .workload = (char *) rows[n].workload, .application = (char *) "shop" } };

                must_put_containers(s, "n", FALSE, boxes, G_N_ELEMENTS(boxes));
                before.counts = (BhHalfCounts){ .connections = 1, .bytes_out = 100, .bytes_in = rows[n].in };
                before.peer_name = rows[n].name;
                after.counts = (BhHalfCounts){ .connections = 1, .bytes_out = 100, .bytes_in = 50 };
                after.peer_name = "db";
                put_halves(s, &before, 1);
                put_halves(s, &after, 1);
                bh_incident_uses_of(u, bh_incidents_get(g, reads(g, "web", "/root/.pgpass", 0)), 1);
                for (guint k = 1; k < 3; k++)
                        if (found_at(u, s, k * MINUTES) != (guint) rows[n].is_new)
                                g_error("row %u", n);
                bh_incident_uses_free(u);
                bh_store_close(s);
        }
}

static void containers_that_are_watched_are_bounded(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        BhIncidentUses *u = bh_incident_uses_new();

        for (guint n = 0; n < BH_INCIDENT_USES_MAX + 5; n++) {
                g_autofree char *container = g_strdup_printf("c%u", n);

                bh_incident_uses_of(u, bh_incidents_get(g, reads(g, container, "/root/.pgpass", n)), n);
        }
        g_assert_cmpuint(bh_incident_uses_watched(u), ==, BH_INCIDENT_USES_MAX);
        g_assert_cmpuint(bh_incident_uses_dropped(u), ==, 5);
        /* those that had to go do not come back for what they were watched for */
        bh_incident_uses_of(u, bh_incidents_get(g, 1), 1000);
        g_assert_cmpuint(bh_incident_uses_dropped(u), ==, 5);
        bh_incident_uses_free(u);
}

static void an_incident_that_grows_is_not_watched_for_ever(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        BhIncidentUses *u = bh_incident_uses_new();
        guint64 id = reads(g, "web", "/root/.pgpass", 0);
        BhHalf early = half("web", "/bin/psql", 7, 5432, "db", 10020 * S), late = half("web", "/bin/pg_dump", 8, 5432, "db2", 20020 * S);

        early.counts = late.counts = (BhHalfCounts){ .connections = 1, .bytes_out = 100, .bytes_in = 50 };
        put_halves(s, &early, 1);
        bh_incident_uses_of(u, bh_incidents_get(g, id), 1);
        g_assert_cmpuint(found_at(u, s, 1), ==, 1);
        g_assert_cmpuint(found_at(u, s, 61 * MINUTES), ==, 1);
        /* it grows before the time is over and afterwards, but nothing was read again */
        join(g, act("web", "x", 3, T(EXECUTION), 60 * 60));
        bh_incident_uses_of(u, bh_incidents_get(g, id), 61 * MINUTES);
        g_assert_cmpuint(found_at(u, s, 63 * MINUTES), ==, 0);
        g_assert_cmpuint(bh_incident_uses_watched(u), ==, 0);
        join(g, act("web", "y", 3, T(EXECUTION), 64 * 60));
        bh_incident_uses_of(u, bh_incidents_get(g, id), 64 * MINUTES);
        g_assert_cmpuint(bh_incident_uses_watched(u), ==, 0);
        g_assert_cmpuint(found_at(u, s, 64 * MINUTES), ==, 0);
        /* another one is read: what began since then is looked at, and nothing that had its time */
        reads(g, "web", "/srv/a/.pgpass", 10000);
        bh_incident_uses_of(u, bh_incidents_get(g, id), 167 * MINUTES);
        bh_incident_uses_of(u, bh_incidents_get(g, id), 167 * MINUTES);
        put_halves(s, &late, 1);
        g_assert_cmpuint(bh_incident_uses_watched(u), ==, 1);
        g_assert_cmpuint(found_at(u, s, 168 * MINUTES), ==, 1);
        g_assert_cmpuint(found_at(u, s, 230 * MINUTES), ==, 0);
        reads(g, "web", "/root/.pgpass", 20000);
        for (guint n = 0; n < 3; n++)
                bh_incident_uses_of(u, bh_incidents_get(g, id), 333 * MINUTES);
        g_assert_cmpuint(bh_incident_uses_watched(u), ==, 1);
        g_assert_cmpuint(found_at(u, s, 334 * MINUTES), ==, 1); /* of who reads the first file again as well */
        bh_incident_uses_free(u);
        bh_store_close(s);
}

/* At a start the rest of the time counts; of a node that was away for days both may have been told just before. */
static void after_a_start_only_the_rest_of_the_hour_is_looked_at(void) {
        static const struct {
                gint64 read, rest; /* minutes: how long ago it was read; how long it is looked for it then */
        } rows[] = { { 1, 61 }, { 40, 22 }, { 61, 2 }, { 3 * 24 * 60, 2 }, { -100, 62 } };

        for (guint n = 0; n < G_N_ELEMENTS(rows); n++) {
                g_autoptr(TempDir) dir = temp_dir();
                BhStore *s = must_open(dir, NULL);
                g_autoptr(BhIncidents) g = bh_incidents_new(1);
                BhIncidentUses *u = bh_incident_uses_new();

                bh_incident_uses_restore(u, bh_incidents_get(g, reads(g, "web", "/root/.pgpass", 0)), 1, (10000 + rows[n].read * 60) * S);
                found_at(u, s, rows[n].rest * MINUTES);
                g_assert_cmpuint(bh_incident_uses_watched(u), ==, 1);
                found_at(u, s, rows[n].rest * MINUTES + 4 * G_USEC_PER_SEC);
                g_assert_cmpuint(bh_incident_uses_watched(u), ==, 0);
                bh_incident_uses_free(u);
                bh_store_close(s);
        }
}

static void it_says_how_much_went_over_its_connections(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        gint64 now = g_get_real_time() * 1000, begin = now - 600 * S;
        BhStoreIncident i = { .id = 1, .state = (char *) "open", .first_ns = begin, .last_ns = begin, .title = (char *) "", .story = (char *) "", .containers = (char *) "[]",
                              .lines = (char *) "[{\"node\":\"n\",\"container_id\":\"web\",\"container_name\":\"web-1\",\"exe\":\"/bin/sh\",\"object\":\"10.0.0.7:443\"},"
                                                "{\"node\":\"n\",\"container_id\":\"web\",\"container_name\":\"web-1\",\"exe\":\"/bin/nc\",\"object\":\"10.0.0.7:443\"},"
                                                "{\"node\":\"n\",\"container_id\":\"web\",\"object\":\"10.0.0.8:22\"},{\"node\":\"n\",\"container_id\":\"web\",\"object\":\"/etc/shadow:7\"},"
                                                "{\"node\":\"n\",\"container_id\":\"\",\"exe\":\"/bin/nc\",\"object\":\"10.0.0.9:22\"},{\"node\":\"n\",\"object\":\"nginx (pid 7)\"},7]" };
        BhHalf before[] = { half("web", "/bin/sh", 7, 443, "", begin - 3600 * S) }, halves[] = {
                half("web", "/bin/sh", 7, 443, "", begin - 3600 * S), half("web", "/bin/nc", 7, 443, "", begin + S), half("web", "/bin/sh", 7, 444, "", begin + S), half("db", "/bin/sh", 7, 443, "", begin + S),
                half("", "/bin/nc", 9, 22, "", begin + S), half("", "/bin/ssh", 9, 22, "", begin + S) };

        before->counts = (BhHalfCounts){ .connections = 1, .bytes_out = 1000000, .bytes_in = 1000000 };
        put_halves(s, before, 1);
        for (guint n = 0; n < G_N_ELEMENTS(halves); n++) {
                halves[n].counts = (BhHalfCounts){ .connections = 1, .bytes_out = 1000 << n, .bytes_in = 10 };
                halves[n].last_ns = begin + 60 * S;
        }
        put_halves(s, halves, G_N_ELEMENTS(halves));
        BhIncidentSent *sent = bh_incident_sent(s, &i);
        g_assert_cmpuint(sent->rows->len, ==, 2);
        const BhStorySent *node = &g_array_index(sent->rows, BhStorySent, 0), *web = &g_array_index(sent->rows, BhStorySent, 1);
        g_assert_cmpstr(web->place, ==, "container web-1");
        g_assert_cmpstr(web->peer, ==, "10.0.0.7:443");
        g_assert_cmpuint(web->sent, ==, 1000 + 2000); /* of both programs, and nothing of before */
        g_assert_cmpuint(web->got, ==, 20);
        g_assert_cmpstr(node->place, ==, "/bin/nc on node n");
        g_assert_cmpuint(node->sent, ==, 16000); /* that program's alone */
        g_assert_cmpint(sent->since_ns, <=, begin);
        bh_incident_sent_free(sent);
        g_autofree char *text = bh_incident_now(s, &i, TRUE, NULL), *brief = bh_incident_now(s, &i, FALSE, NULL);
        if (!g_pattern_match_simple("*Since * UTC /bin/nc on node n sent 16.0 kB to 10.0.0.9:22 (and got 10 bytes); container web-1 sent 3.0 kB to 10.0.0.7:443 (and got 20 bytes).", text))
                g_error("%s", text);
        g_assert_null(strstr(brief, "sent"));
        bh_store_close(s);
}

/* Many programs, the one that sent most the first of them: nothing that comes later hides it. */
static void what_went_is_never_told_as_less(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        gint64 now = g_get_real_time() * 1000, begin = now - 600 * S;
        BhStoreIncident i = { .id = 1, .state = (char *) "open", .first_ns = begin, .last_ns = begin, .title = (char *) "", .story = (char *) "", .containers = (char *) "[]",
                              .lines = (char *) "[{\"node\":\"n\",\"container_id\":\"web\",\"container_name\":\"web-1\",\"exe\":\"/tmp/a\",\"object\":\"10.0.0.7:443\"}]" };
        GString *lines = g_string_new("[");
        BhHalf h;

        for (guint n = 0; n < 100; n++) {
                g_autofree char *exe = g_strdup_printf("/tmp/a%u", n);

                h = half("web", exe, 7, 443, "", begin + n * S);
                h.counts = (BhHalfCounts){ .connections = 1, .bytes_out = n ? 12 : 1000000000, .bytes_in = 1 };
                put_halves(s, &h, 1);
        }
        BhIncidentSent *sent = bh_incident_sent(s, &i);
        g_assert_cmpuint(sent->rows->len, ==, 1);
        g_assert_cmpuint(g_array_index(sent->rows, BhStorySent, 0).sent, ==, 1000000000 + 99 * 12);
        g_assert_false(g_array_index(sent->rows, BhStorySent, 0).more);
        bh_incident_sent_free(sent);

        /* of those that were there before, those with most, and it says that there was more */
        i.first_ns = begin + 120 * S;
        for (guint n = 0; n < 100; n++) {
                g_autofree char *exe = g_strdup_printf("/tmp/a%u", n);

                h = half("web", exe, 7, 443, "", now - 60 * S);
                h.counts = (BhHalfCounts){ .connections = 1, .bytes_out = n ? 12 : 2000000000, .bytes_in = 1 };
                put_halves(s, &h, 1);
        }
        g_autofree char *text = bh_incident_now(s, &i, TRUE, NULL);
        if (!g_pattern_match_simple("*Since * UTC container web-1 sent at least 2.0 GB to 10.0.0.7:443 (and got at least 12 bytes).", text))
                g_error("%s", text);

        /* in more containers than are looked at */
        for (guint n = 0; n < BH_INCIDENT_SENT_PLACES + 3; n++)
                g_string_append_printf(lines, "%s{\"node\":\"n\",\"container_id\":\"c%u\",\"object\":\"10.0.0.7:443\"}", n ? "," : "", n);
        g_string_append_c(lines, ']');
        i.lines = lines->str;
        g_autofree char *many = bh_incident_now(s, &i, TRUE, NULL);
        g_assert_cmpstr(many, ==, "What went over 3 of its connections was not looked at.");
        g_string_free(lines, TRUE);
        bh_store_close(s);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/incident_uses/" #name, name)
        TEST(secrets_open_what_they_are_for);
        TEST(what_follows_where_it_may_have_been_used_belongs_to_it);
        TEST(what_was_told_first_is_joined);
        TEST(a_connection_that_was_told_of_says_so_too);
        TEST(what_has_nothing_to_do_with_it_stays_apart);
        TEST(what_follows_the_last_connection_is_told_whenever);
        TEST(what_was_done_over_a_connection_comes_before_its_end);
        TEST(two_attacks_stay_two);
        TEST(surprise_raises_and_never_twice);
        TEST(surprise_comes_from_what_models_say);
        TEST(connections_are_found_that_are_new_and_went_both_ways);
        TEST(the_other_end_is_who_had_the_address_then);
        TEST(what_is_deployed_anew_is_no_new_connection);
        TEST(containers_that_are_watched_are_bounded);
        TEST(an_incident_that_grows_is_not_watched_for_ever);
        TEST(after_a_start_only_the_rest_of_the_hour_is_looked_at);
        TEST(it_says_how_much_went_over_its_connections);
        TEST(what_went_is_never_told_as_less);
        return g_test_run();
}

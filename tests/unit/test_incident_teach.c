/* SPDX-License-Identifier: Apache-2.0 */
/* A verdict that an incident was none: the item that its finding names is accepted, the same act is quiet then, and what cannot be taught is told. */
#include <string.h>

#include "central/incident_teach.h"

#define S G_GINT64_CONSTANT(1000000000)
#define SLOT (10 * S)

static BhModel *new_model(void) {
        BhModel *m = bh_model_new("shop", "web", &bh_model_scale_default);

        m->seen = BH_MODEL_ALL;
        bh_model_start(m, "sha256:a", S);
        return m;
}

/* A shell that the web server starts: not learned, whatever it is told. */
static BhAct shell(gint64 at_ns) {
        return (BhAct){ .family = BH_FAMILY_EXEC, .actor = "/usr/sbin/nginx", .object = "/bin/sh", .detail = "", .uid = 33, .count = 1, .first_ns = at_ns, .last_ns = at_ns, .replica = 1, .suspicious = TRUE,
                        .why = "a shell started by a server", .example = "sh -c id" };
}

/* The finding of it, as models tell it. */
static BhStoreFinding finding_of(guint64 item, const char *digest, char *fields, gsize size) {
        g_snprintf(fields, size, "{\"container.id\":\"c1\",\"model.item\":\"%016" G_GINT64_MODIFIER "x\",\"model.verdict\":\"refused\",\"model.image_digest\":\"%s\"}", item, digest);
        return (BhStoreFinding){ .id = "f", .kind = "model", .application = "shop", .workload = "web", .fields = fields };
}

static void a_false_alarm_makes_the_act_known(void) {
        g_autoptr(BhModel) m = new_model();
        BhAct a = shell(SLOT);
        BhVerdict v = bh_model_observe(m, "sha256:a", &a);
        g_autoptr(GError) error = NULL;
        guint64 item = 0;
        char fields[300];

        g_assert_cmpint(v.kind, ==, BH_VERDICT_REFUSED);
        g_assert_true(v.fresh);
        BhStoreFinding f = finding_of(v.item->hash, "sha256:a", fields, sizeof(fields));
        g_assert_cmpint(bh_incident_teach_model(m, &f, &item), ==, BH_TAUGHT_ACCEPTED);
        g_assert_cmpuint(item, ==, v.item->hash);
        a = shell(2 * SLOT);
        v = bh_model_observe(m, "sha256:a", &a);
        g_assert_cmpint(v.kind, ==, BH_VERDICT_KNOWN);
        /* a second finding of the same incident has nothing to add; another shell is as refused as before */
        g_assert_cmpint(bh_incident_teach_model(m, &f, &item), ==, BH_TAUGHT_KNOWN);
        a = shell(3 * SLOT);
        a.object = "/bin/bash";
        g_assert_cmpint(bh_model_observe(m, "sha256:a", &a).kind, ==, BH_VERDICT_REFUSED);
        /* and so it is after a restart */
        g_autoptr(GBytes) bytes = bh_model_pack(m);
        gsize len;
        const void *data = g_bytes_get_data(bytes, &len);
        g_autoptr(BhModel) again = bh_model_unpack(data, len, &bh_model_scale_default, &error);
        g_assert_no_error(error);
        a = shell(4 * SLOT);
        g_assert_cmpint(bh_model_observe(again, "sha256:a", &a).kind, ==, BH_VERDICT_KNOWN);
}

static void what_cannot_be_taught_is_told(void) {
        g_autoptr(BhModel) m = new_model();
        BhAct a = shell(SLOT);
        BhVerdict v = bh_model_observe(m, "sha256:a", &a);
        guint64 item = 0;
        char fields[300];

        BhStoreFinding f = finding_of(v.item->hash, "sha256:a", fields, sizeof(fields));
        g_assert_true(bh_model_forbid(m, v.version, v.item->hash));
        g_assert_cmpint(bh_incident_teach_model(m, &f, &item), ==, BH_TAUGHT_FORBIDDEN);
        a = shell(2 * SLOT);
        g_assert_cmpint(bh_model_observe(m, "sha256:a", &a).kind, ==, BH_VERDICT_FORBIDDEN);
        g_assert_cmpint(bh_incident_teach_model(NULL, &f, &item), ==, BH_TAUGHT_GONE);
        f = finding_of(v.item->hash, "sha256:other", fields, sizeof(fields));
        g_assert_cmpint(bh_incident_teach_model(m, &f, &item), ==, BH_TAUGHT_GONE);
        f = finding_of(0, "sha256:a", fields, sizeof(fields)); /* there was no room for it */
        g_assert_cmpint(bh_incident_teach_model(m, &f, &item), ==, BH_TAUGHT_GONE);
        f.kind = "rule";
        g_assert_cmpint(bh_incident_teach_model(m, &f, &item), ==, BH_TAUGHT_NONE);
        f.kind = "model";
        f.fields = "nonsense";
        g_assert_cmpint(bh_incident_teach_model(m, &f, &item), ==, BH_TAUGHT_NONE);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/incident_teach/" #name, name)
        TEST(a_false_alarm_makes_the_act_known);
        TEST(what_cannot_be_taught_is_told);
        return g_test_run();
}

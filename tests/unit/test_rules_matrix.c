/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every operator on every type of field. Which go together is what the language's engine documents (its table of comparable types): numbers, times, durations and ports are equal, ordered or in a list; truth values,
 * addresses and networks equal or in a list; texts all but the operators on bytes; bytes equal, in a list, or parts in either spelling; a list of texts only in a list. A pair that stands in no row must be
 * refused, with the operator's place, by the loader and for a filter alike; one that does must find what it is to find, must not find what it is not, and is missing where the field is.
 */
#include "rules_event.h"
#include "rules_load_help.h"

typedef struct Row {
        enum bh_rule_type type;
        gboolean list;
        const char *field, *some; /* a value that any operator could take, were it not refused */
        struct bh_event (*event)(void);
        const char *yes[BH_OP_COUNT], *no[BH_OP_COUNT];
} Row;

static struct bh_event payload_event(void) {
        struct bh_event e = connect_event("10.0.0.2", 40000, "93.184.216.34", 443);

        BH_SET(&e, type, BH_EV_SEND);
        ADD(&e, payload, "GET /x");
        return e;
}

static struct bh_event dns_event(void) {
        struct bh_event e = connect_event("10.0.0.2", 40000, "10.0.0.53", 53);

        BH_SET(&e, type, BH_EV_DNS);
        BH_SET(&e, outgoing, 0);
        ADD(&e, dns_answers, "A 192.0.2.1\0CNAME cdn");
        return e;
}

static struct bh_event client_event(void) {
        struct bh_event e = connect_event("172.17.0.2", 40000, "93.184.216.34", 443);

        BH_SET(&e, outgoing, 1);
        return e;
}

#define NUMERIC(equal, less, more) \
        .some = equal, .yes = { [BH_OP_EXISTS] = "", [BH_OP_EQ] = equal, [BH_OP_NE] = more, [BH_OP_LT] = more, [BH_OP_LE] = equal, [BH_OP_GT] = less, [BH_OP_GE] = equal, \
                                [BH_OP_IN] = "(" less ", " equal ")", [BH_OP_INTERSECTS] = "(" less ", " equal ")" }, \
        .no = { [BH_OP_EQ] = less, [BH_OP_NE] = equal, [BH_OP_LT] = equal, [BH_OP_LE] = less, [BH_OP_GT] = equal, [BH_OP_GE] = more, \
                [BH_OP_IN] = "(" less ", " more ")", [BH_OP_INTERSECTS] = "(" less ", " more ")" }
#define EQUALITY(equal, other) \
        .some = equal, .yes = { [BH_OP_EXISTS] = "", [BH_OP_EQ] = equal, [BH_OP_NE] = other, [BH_OP_IN] = "(" equal ")", [BH_OP_INTERSECTS] = "(" other ", " equal ")" }, \
        .no = { [BH_OP_EQ] = other, [BH_OP_NE] = equal, [BH_OP_IN] = "(" other ")", [BH_OP_INTERSECTS] = "(" other ")" }
/* The language orders texts by numbers, or by other fields, only. */
#define TEXTUAL(whole, part, PART, before, le, ge, after, beginning, end, glob, iglob, regex, pmatch) \
        .some = whole, .yes = { [BH_OP_EXISTS] = "", [BH_OP_EQ] = whole, [BH_OP_NE] = part, [BH_OP_LT] = after, [BH_OP_LE] = le, [BH_OP_GT] = before, [BH_OP_GE] = ge, [BH_OP_CONTAINS] = part, \
                                [BH_OP_ICONTAINS] = PART, [BH_OP_STARTSWITH] = beginning, [BH_OP_ENDSWITH] = end, [BH_OP_GLOB] = glob, [BH_OP_IGLOB] = iglob, [BH_OP_REGEX] = regex, \
                                [BH_OP_IN] = "(zzz, " whole ")", [BH_OP_INTERSECTS] = "(zzz, " whole ")", [BH_OP_PMATCH] = pmatch }, \
        .no = { [BH_OP_EQ] = part, [BH_OP_NE] = whole, [BH_OP_LT] = ge, [BH_OP_LE] = before, [BH_OP_GT] = le, [BH_OP_GE] = after, [BH_OP_CONTAINS] = PART, [BH_OP_ICONTAINS] = "zzz", \
                [BH_OP_STARTSWITH] = end, [BH_OP_ENDSWITH] = beginning, [BH_OP_GLOB] = iglob, [BH_OP_IGLOB] = "z*", [BH_OP_REGEX] = part, [BH_OP_IN] = "(" part ")", [BH_OP_INTERSECTS] = "(" part ")", \
                [BH_OP_PMATCH] = "(" end ")" }

static const Row rows[] = {
        { BH_RT_STRING, FALSE, "proc.exepath", .event = exec_event, TEXTUAL("/usr/bin/bash", "bin/ba", "BIN/BA", "-5", "val(proc.exepath)", "val(proc.exepath)", "5", "/usr/", "/bash", "/usr/*/b[a-c]sh", "/USR/*/BASH", "/usr/.*sh", "(/opt, /usr/bin)") },
        { BH_RT_FLAGS, FALSE, "thread.cap_effective", .event = exec_event,
          TEXTUAL("\"CAP_CHOWN CAP_SYS_ADMIN\"", "CHOWN", "chown", "5", "val(thread.cap_permitted)", "val(thread.cap_permitted)", "val(proc.name)", "CAP_CHOWN", "SYS_ADMIN", "CAP_*_ADMIN", "cap_*_admin", "\"CAP_.* CAP_SYS_ADMIN\"", "(\"CAP_CHOWN CAP_SYS_ADMIN\")") },
        { BH_RT_ANY, FALSE, "evt.rawarg.exe", .event = exec_event, TEXTUAL("-bash", "bas", "BAS", "-5", "5", "-5", "5", "-b", "sh", "-b*h", "-B*H", "-b.*h", "(-bash)") },
        { BH_RT_NUMBER, FALSE, "proc.sid", .event = exec_event, NUMERIC("100", "99", "101") },
        { BH_RT_TIME, FALSE, "proc.pid.ts", .event = exec_event, NUMERIC("1699999999000000000", "1699999998999999999", "1699999999000000001") },
        { BH_RT_DURATION, FALSE, "proc.duration", .event = exec_event, NUMERIC("1123456789", "1123456788", "1123456790") },
        { BH_RT_PORT, FALSE, "fd.sport", .event = client_event, NUMERIC("443", "442", "444") },
        { BH_RT_BOOL, FALSE, "fd.is_server", .event = client_event, EQUALITY("false", "true") },
        { BH_RT_IP, FALSE, "fd.sip", .event = client_event, EQUALITY("93.184.216.34", "10.0.0.1") },
        { BH_RT_NET, FALSE, "fd.snet", .event = client_event, EQUALITY("93.184.0.0/16", "10.0.0.0/8") },
        { BH_RT_BYTES, FALSE, "evt.buffer", .some = "4745", .event = payload_event,
          .yes = { [BH_OP_EXISTS] = "", [BH_OP_EQ] = "\"GET /x\"", [BH_OP_NE] = "GET", [BH_OP_CONTAINS] = "T", [BH_OP_STARTSWITH] = "GET", [BH_OP_ENDSWITH] = "/x", [BH_OP_BCONTAINS] = "4554", [BH_OP_BSTARTSWITH] = "474554",
                   [BH_OP_IN] = "(a, \"GET /x\")", [BH_OP_INTERSECTS] = "(a, \"GET /x\")" },
          .no = { [BH_OP_EQ] = "GET", [BH_OP_NE] = "\"GET /x\"", [BH_OP_CONTAINS] = "t", [BH_OP_STARTSWITH] = "ET", [BH_OP_ENDSWITH] = "GET", [BH_OP_BCONTAINS] = "4555", [BH_OP_BSTARTSWITH] = "4554", [BH_OP_IN] = "(GET)",
                  [BH_OP_INTERSECTS] = "(GET)" } },
        { BH_RT_STRING, TRUE, "bh.dns.answers", .some = "x", .event = dns_event,
          .yes = { [BH_OP_EXISTS] = "", [BH_OP_IN] = "(\"A 192.0.2.1\", \"CNAME cdn\", x)", [BH_OP_INTERSECTS] = "(x, \"CNAME cdn\")" },
          .no = { [BH_OP_IN] = "(\"A 192.0.2.1\", x)", [BH_OP_INTERSECTS] = "(x, y)" } },
};

static char *condition(const Row *row, enum bh_op op, const char *value) {
        return g_strdup_printf("%s %s %s", row->field, bh_op_text(op), value);
}

static void pairs_find_what_they_are_to_find(void) {
        const struct bh_event bare = { 0 };

        for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
                struct bh_event e = rows[i].event();

                for (guint op = 0; op < BH_OP_COUNT; op++) {
                        const char *yes = rows[i].yes[op], *no = rows[i].no[op];

                        if (!yes)
                                continue;
                        g_autofree char *t = condition(&rows[i], op, yes);
                        struct bh_event nothing = bare;

                        BH_SET(&nothing, type, BH_EV_CHROOT);
                        YES(&e, t);
                        NO(&nothing, t);
                        g_assert_true((no != NULL) == (op != BH_OP_EXISTS));
                        if (no) {
                                g_autofree char *f = condition(&rows[i], op, no), *negated = g_strdup_printf("not %s", f);

                                NO(&e, f);
                                YES(&e, negated);
                        }
                        if (op == BH_OP_EQ) { /* two spellings */
                                g_autofree char *twice = g_strdup_printf("%s == %s", rows[i].field, yes);

                                YES(&e, twice);
                        }
                }
        }
}

static void other_pairs_are_refused(void) {
        for (guint i = 0; i < G_N_ELEMENTS(rows); i++)
                for (guint op = 0; op < BH_OP_COUNT; op++) {
                        if (rows[i].yes[op])
                                continue;
                        gboolean list = op == BH_OP_IN || op == BH_OP_INTERSECTS || op == BH_OP_PMATCH, order = op >= BH_OP_LT && op <= BH_OP_GE; /* the grammar wants a number there */
                        g_autofree char *value = list ? g_strdup_printf("(%s)", rows[i].some) : g_strdup(order ? "5" : rows[i].some);
                        g_autofree char *text = condition(&rows[i], op, value), *file = g_strdup_printf(RULE("r", "evt.type exists and %s"), text);
                        g_autoptr(BhRuleSet) set = load(file);
                        g_autofree char *problems = all_problems(set), *name = g_strdup_printf("\"%s\"", bh_op_text(op));
                        g_autoptr(GError) error = NULL;
                        g_autoptr(BhRuleEngine) engine = NULL;
                        BhCond *c = bh_condition_parse(text, strlen(text), &error);

                        if (bh_rule_set_errors(set) != 1 || !strstr(problems, name) || !strstr(problems, "a.yaml:3:"))
                                rules_fail("is not refused by the loader with its place", __FILE__, __LINE__, text);
                        engine = c ? bh_rule_engine_new_filter(c, &error) : NULL;
                        if (engine || !error)
                                rules_fail("is not refused as a filter", __FILE__, __LINE__, text);
                }
}

/* The field of a row is of the row's type, and there is a row for each type of field that the table has. */
static void every_type_has_a_row(void) {
        guint n;
        const BhRuleField *all = bh_rule_fields(&n);

        for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
                gsize used;
                const BhRuleField *f = bh_rule_field_find(rows[i].field, strlen(rows[i].field), &used);

                g_assert_nonnull(f);
                g_assert_cmpint(f->type, ==, rows[i].type);
                g_assert_cmpint(f->list, ==, rows[i].list);
        }
        for (guint k = 0; k < n; k++) {
                gboolean found = FALSE;

                for (guint i = 0; i < G_N_ELEMENTS(rows) && !found; i++)
                        found = rows[i].type == all[k].type && rows[i].list == all[k].list;
                if (!found)
                        rules_fail("has a type that no row is about", __FILE__, __LINE__, all[k].name);
        }
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/rules/matrix/every_type_has_a_row", every_type_has_a_row);
        g_test_add_func("/rules/matrix/pairs_find_what_they_are_to_find", pairs_find_what_they_are_to_find);
        g_test_add_func("/rules/matrix/other_pairs_are_refused", other_pairs_are_refused);
        return g_test_run();
}

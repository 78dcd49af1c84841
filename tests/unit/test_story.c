/* SPDX-License-Identifier: Apache-2.0 */
/* What the story says was planted and taken, and what state things are in: from deeds alone, and nothing that was refused or that everybody does. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "incident/story.h"
#include "record.h"

#define S G_GINT64_CONSTANT(1000000000)
#define T(name) (1u << BH_TACTIC_##name)

typedef struct {
        BhIncidents *g;
        guint64 id;
        gint64 n;
} Told;

static Told told_new(void) {
        return (Told){ bh_incidents_new(1), 0, 0 };
}

/* Everything in container "web" of node "n", a second apart, unless the finding says otherwise. */
static BhIncidentFinding finding(guint32 tactics, const struct bh_event *e) {
        return (BhIncidentFinding){ .rule = "r", .kind = "rule", .output = "", .rank = 2, .count = 1, .node = "n", .container_id = "web", .container_name = "web-1", .workload = "web", .application = "app",
                .tactics = tactics, .event = e };
}

static void tell(Told *t, BhIncidentFinding f) {
        g_autofree char *id = g_strdup_printf("f%" G_GINT64_FORMAT, ++t->n);

        f.serial = t->n;
        f.id = id;
        f.time_ns = (1000 + t->n) * S;
        BhIncidentJoin j = bh_incidents_finding(t->g, &f);
        g_assert_nonnull(j.incident);
        t->id = j.incident->id;
}

/* The sentence that begins so; "" for none. */
static char *sentence(Told *t, const char *begin) {
        g_autofree char *text = bh_story_text(bh_incidents_get(t->g, t->id), NULL, 0);
        const char *at = strstr(text, begin), *end = at ? strstr(at, ". ") : NULL;

        g_assert_true(!at || end);
        return at ? g_strndup(at, (gsize) (end - at) + 1) : g_strdup("");
}

static void assert_says(Told *t, const char *planted, const char *read, const char *sent) {
        g_autofree char *a = sentence(t, "Planted or changed: "), *b = sentence(t, "Secrets read: "), *c = sentence(t, "Sent out: ");

        g_assert_cmpstr(a, ==, planted);
        g_assert_cmpstr(b, ==, read);
        g_assert_cmpstr(c, ==, sent);
        bh_incidents_free(t->g);
}

static struct bh_event opened(const char *path, guint64 flags, gint64 ret) {
        struct bh_event e = { 0 };

        BH_SET(&e, type, BH_EV_OPEN);
        BH_SET(&e, open_flags, flags);
        BH_SET(&e, ret, ret);
        BH_SET_STR(&e, path, path);
        return e;
}

static void wrote(Told *t, const char *path) {
        struct bh_event e = opened(path, O_WRONLY | O_CREAT, 0);

        tell(t, finding(T(PERSISTENCE), &e));
}

static void files_are_named_with_where_they_are(void) {
        Told t = told_new();
        struct bh_event e = opened("/etc/cron.d/x", O_WRONLY | O_CREAT, 0), move = { 0 }, link = { 0 };

        wrote(&t, "/host/etc/cron.d/x");
        /* on the node itself, by who came from the container; again, by another program of his, it is the same file */
        BH_SET_STR(&e, origin_id, "web");
        BH_SET_STR(&e, origin_name, "web-1");
        for (guint n = 0; n < 2; n++) {
                BhIncidentFinding f = finding(T(PERSISTENCE), &e);
                f.container_id = f.container_name = "";
                BH_SET_STR(&e, exe, n ? "/bin/tee" : "/bin/sh");
                tell(&t, f);
        }
        BH_SET(&move, type, BH_EV_RENAME);
        BH_SET(&move, ret, 0);
        BH_SET_STR(&move, path, "/tmp/y");
        BH_SET_STR(&move, path2, "/root/.ssh/authorized_keys");
        tell(&t, finding(T(PERSISTENCE), &move));
        /* a link is named by its own name, not by what it leads to */
        BH_SET(&link, type, BH_EV_SYMLINK);
        BH_SET(&link, ret, 0);
        BH_SET_STR(&link, path, "/etc/ld.so.preload");
        BH_SET_STR(&link, path2, "/tmp/z");
        tell(&t, finding(T(PERSISTENCE), &link));
        assert_says(&t, "Planted or changed: /host/etc/cron.d/x in container web-1; /etc/cron.d/x on node n (from container web-1); /root/.ssh/authorized_keys, /etc/ld.so.preload in container web-1.", "", "");
}

static void what_was_refused_is_not_planted(void) {
        Told t = told_new();
        struct bh_event e = opened("/etc/cron.d/x", O_WRONLY | O_CREAT, -EACCES), m = { 0 }, b = { 0 }, gone = { 0 }, unknown = { 0 }, secret = opened("/etc/shadow", O_RDONLY, -EACCES);

        tell(&t, finding(T(PERSISTENCE), &e));
        tell(&t, finding(T(CREDENTIAL_ACCESS), &secret));
        BH_SET(&m, type, BH_EV_MODULE_LOAD);
        BH_SET(&m, ret, -EPERM);
        tell(&t, finding(T(PERSISTENCE), &m));
        BH_SET(&unknown, type, BH_EV_MODULE_LOAD); /* how it went is not known */
        tell(&t, finding(T(PERSISTENCE), &unknown));
        BH_SET(&b, type, BH_EV_BPF);
        BH_SET(&b, operation, 5);
        BH_SET(&b, ret, -EINVAL);
        tell(&t, finding(T(PERSISTENCE), &b));
        BH_SET(&b, operation, 0); /* a map, and no program */
        BH_SET(&b, ret, 3);
        tell(&t, finding(T(PERSISTENCE), &b));
        BH_SET(&gone, type, BH_EV_UNLINK);
        BH_SET(&gone, ret, 0);
        BH_SET_STR(&gone, path, "/usr/bin/ls");
        tell(&t, finding(T(PERSISTENCE), &gone));
        assert_says(&t, "", "", "");
}

static void a_second_try_that_succeeds_is(void) {
        Told t = told_new();
        struct bh_event refused = opened("/etc/cron.d/x", O_WRONLY | O_CREAT, -EACCES), done = opened("/etc/cron.d/x", O_WRONLY | O_CREAT, 0);

        tell(&t, finding(T(PERSISTENCE), &refused));
        tell(&t, finding(T(PERSISTENCE), &done));
        tell(&t, finding(T(PERSISTENCE), &refused));
        g_assert_cmpuint(bh_incidents_get(t.g, t.id)->lines->len, ==, 1);
        assert_says(&t, "Planted or changed: /etc/cron.d/x in container web-1.", "", "");
}

static void a_file_that_is_written_for_other_reasons_is_none(void) {
        Told t = told_new();
        struct bh_event log = opened("/var/log/app.log", O_WRONLY | O_TRUNC, 0), disk = opened("/dev/sda", O_RDWR, 0), mem = opened("/proc/7/mem", O_RDWR, 0), look = opened("/etc/crontab", O_RDONLY, 0);
        BhIncidentFinding f = finding(T(DEFENSE_EVASION), &log);

        tell(&t, f);
        f = finding(T(PRIVILEGE_ESCALATION), &disk);
        f.escape = TRUE;
        tell(&t, f);
        f.event = &mem;
        tell(&t, f);
        tell(&t, finding(T(PERSISTENCE), &look));
        assert_says(&t, "", "", "");
}

static void what_the_kernel_keeps_is_the_nodes(void) {
        Told t = told_new();
        struct bh_event m = { 0 }, b = { 0 }, core = opened("/proc/sys/kernel/core_pattern", O_WRONLY, 0), root = opened("/etc/cron.d/x", O_WRONLY | O_CREAT, 0);
        BhIncidentFinding f = finding(T(PRIVILEGE_ESCALATION), &core);

        BH_SET(&m, type, BH_EV_MODULE_LOAD);
        BH_SET(&m, ret, 0);
        BH_SET_STR(&m, path, "/tmp/kit.ko");
        tell(&t, finding(T(PERSISTENCE), &m));
        BH_SET(&b, type, BH_EV_BPF);
        BH_SET(&b, operation, 5);
        BH_SET(&b, ret, 3);
        tell(&t, finding(T(PERSISTENCE), &b));
        f.escape = TRUE;
        tell(&t, f);
        /* by way of another's root the path inside is not the container's own */
        BH_SET_STR(&root, name, "/proc/1/root/etc/cron.d/x");
        f.event = &root;
        tell(&t, f);
        assert_says(&t, "Planted or changed: kernel module /tmp/kit.ko, a BPF program, /proc/sys/kernel/core_pattern on node n (from container web-1); /proc/1/root/etc/cron.d/x in container web-1.", "", "");
}

static void a_path_by_way_of_a_root_is_the_path_there(void) {
        static const struct {
                const char *path, *is;
        } rows[] = {
                { "/proc/1/root/etc/x", "/etc/x" }, { "/proc/self/root/etc/x", "/etc/x" }, { "/proc/thread-self/root/etc/x", "/etc/x" }, { "/proc/7/task/8/root/etc/x", "/etc/x" },
                { "/proc/1/root/proc/2/root/etc/x", "/etc/x" }, { "/etc/x", "/etc/x" }, { "/proc/1/cwd/x", "/proc/1/cwd/x" }, { "/proc/1/root/proc/1/fd/3", "/proc/1/fd/3" }, { "/proc/1/rootkit/x", "/proc/1/rootkit/x" },
                { "/proc//root/x", "/proc//root/x" }, { "/proc/selfish/root/x", "/proc/selfish/root/x" }, { "/proc/root/x", "/proc/root/x" }, { "/task/1/root/x", "/task/1/root/x" }, { "/proc/1/root", "/proc/1/root" },
                { "/proc/1", "/proc/1" }, { "", "" },
        };
        Told t = told_new();
        struct bh_event e = opened("/etc/cron.d/x", O_WRONLY | O_CREAT, 0), end = { 0 };
        BhIncidentFinding f = finding(T(PERSISTENCE), &e);

        for (guint n = 0; n < G_N_ELEMENTS(rows); n++)
                g_assert_cmpstr(bh_deed_path(rows[n].path), ==, rows[n].is);
        /* one file, told by its end, its name and the way: the way is what tells most */
        BH_SET(&end, type, BH_EV_CLOSE_WRITE);
        BH_SET_STR(&end, path, "/etc/cron.d/x");
        tell(&t, finding(T(PERSISTENCE), &end));
        BH_SET_STR(&e, name, "/proc/1/root/etc/cron.d/x");
        f.escape = TRUE;
        f.rule = "way out";
        tell(&t, f);
        f = finding(T(PERSISTENCE), &end);
        f.rule = "again";
        tell(&t, f);
        assert_says(&t, "Planted or changed: /proc/1/root/etc/cron.d/x in container web-1.", "", "");
}

static void programs_count_where_they_are_not_of_the_image(void) {
        Told t = told_new();
        struct bh_event kit = { 0 }, own = { 0 }, rights = { 0 }, plain = { 0 };
        BhIncidentFinding f = finding(T(EXECUTION), &kit);

        BH_SET(&kit, type, BH_EV_EXEC);
        BH_SET(&kit, flags, BH_RF_EXE_UPPER);
        BH_SET_STR(&kit, exe, "/opt/kit");
        f.tool = TRUE;
        tell(&t, f);
        BH_SET(&own, type, BH_EV_EXEC);
        BH_SET(&own, flags, BH_RF_EXE_LOWER);
        BH_SET_STR(&own, exe, "/usr/bin/curl");
        f.event = &own;
        tell(&t, f);
        own.flags = 0; /* no overlay: it is not known */
        BH_SET_STR(&own, exe, "/usr/bin/wget");
        tell(&t, f);
        BH_SET(&rights, type, BH_EV_CHMOD);
        BH_SET(&rights, ret, 0);
        BH_SET(&rights, mode, 04755);
        BH_SET_STR(&rights, path, "/opt/s");
        f = finding(T(PRIVILEGE_ESCALATION), &rights);
        f.rights = TRUE;
        tell(&t, f);
        plain = rights;
        BH_SET(&plain, mode, 0755);
        BH_SET_STR(&plain, path, "/opt/plain");
        f.event = &plain;
        tell(&t, f);
        assert_says(&t, "Planted or changed: /opt/kit, /opt/s in container web-1.", "", "");
}

static void secrets_are_what_rules_say_are(void) {
        Told t = told_new();
        struct bh_event key = opened("/root/.ssh/id_rsa", O_RDONLY, 0), shadow = opened("/etc/shadow", O_RDWR, 0), all = opened("/etc/passwd", O_RDONLY, 0), group = opened("/host/etc/group", O_RDONLY, 0),
                        index = opened("/www/index.html", O_RDONLY, 0), log = opened("/tmp/keys", O_WRONLY, 0), looked_at = opened("/root/.ssh/id_ed25519", O_PATH, 0), dir = { 0 };

        tell(&t, finding(T(CREDENTIAL_ACCESS), &key));
        tell(&t, finding(T(CREDENTIAL_ACCESS), &shadow));
        tell(&t, finding(T(CREDENTIAL_ACCESS), &all)); /* everybody reads it */
        tell(&t, finding(T(CREDENTIAL_ACCESS), &group));
        tell(&t, finding(T(DISCOVERY), &index));
        tell(&t, finding(T(CREDENTIAL_ACCESS), &log));
        tell(&t, finding(T(CREDENTIAL_ACCESS), &looked_at)); /* not even by who opened it */
        BH_SET(&dir, type, BH_EV_EXEC);
        tell(&t, finding(T(CREDENTIAL_ACCESS), &dir));
        assert_says(&t, "", "Secrets read: /root/.ssh/id_rsa, /etc/shadow in container web-1.", "");
}

static void what_went_out_has_bytes_and_a_place(void) {
        Told t = told_new();
        struct bh_event end = { 0 }, none, in, dns = { 0 };
        BhIncidentFinding f = finding(T(EXFILTRATION), NULL);

        BH_SET(&end, type, BH_EV_NET_CLOSE);
        BH_SET(&end, raddr, ((struct bh_ip){ .len = 4, .b = { 192, 0, 2, 7 } }));
        BH_SET(&end, rport, 443);
        BH_SET(&end, bytes_out, 73400320);
        BH_SET(&end, outgoing, TRUE);
        tell(&t, finding(T(EXFILTRATION), &end));
        none = in = end;
        BH_SET(&none, bytes_out, 0);
        BH_SET(&none, rport, 1);
        tell(&t, finding(T(EXFILTRATION), &none));
        BH_SET(&in, outgoing, FALSE); /* an answer to whoever asked */
        BH_SET(&in, rport, 2);
        tell(&t, finding(T(EXFILTRATION), &in));
        BH_SET(&end, rport, 80); /* a connection that is no way out */
        tell(&t, finding(T(DISCOVERY), &end));
        BH_SET(&dns, type, BH_EV_DNS);
        for (guint n = 0; n < 3; n++) {
                g_autofree char *name = g_strdup_printf("a%u.b.c.example.com", n);

                BH_SET_STR(&dns, dns_question, name);
                tell(&t, finding(T(EXFILTRATION), &dns));
        }
        BH_SET_STR(&dns, dns_question, "a.B.Evil.co.uk."); /* not of all that is below co.uk */
        tell(&t, finding(T(EXFILTRATION), &dns));
        f.sent = "4096 bytes in DNS names below evil.test";
        tell(&t, f);
        assert_says(&t, "", "", "Sent out: at least 73400320 bytes to 192.0.2.7:443, data in DNS names below example.com, data in DNS names below evil.co.uk, 4096 bytes in DNS names below evil.test from container web-1.");
}

static void both_are_one_sentence(void) {
        Told t = told_new();
        struct bh_event key = opened("/root/.ssh/id_rsa", O_RDONLY, 0), dns = { 0 };

        tell(&t, finding(T(CREDENTIAL_ACCESS), &key));
        BH_SET(&dns, type, BH_EV_DNS);
        BH_SET_STR(&dns, dns_question, "x");
        tell(&t, finding(T(EXFILTRATION), &dns));
        assert_says(&t, "", "Secrets read: /root/.ssh/id_rsa in container web-1; sent out: data in DNS names below x from container web-1.", "");
}

static void what_the_node_itself_shows(void) {
        Told t = told_new();
        BhIncidentFinding f = finding(T(PERSISTENCE), NULL);
        struct bh_event e = opened("/etc/cron.d/x", O_WRONLY | O_CREAT, 0);

        /* by whom is known from the container; the same file that a rule told of is no second one */
        f.planted = "/etc/cron.d/x";
        tell(&t, f);
        BH_SET_STR(&e, origin_id, "web");
        BH_SET_STR(&e, origin_name, "web-1");
        f = finding(T(PERSISTENCE), &e);
        f.container_id = f.container_name = "";
        tell(&t, f);
        assert_says(&t, "Planted or changed: /etc/cron.d/x on node n (from container web-1).", "", "");
}

static void many_are_counted_and_hostile_names_are_only_letters(void) {
        Told t = told_new();
        g_autoptr(GString) name = g_string_new("/etc/cron.d/\x1b[31m\n. Nothing was planted. \xe2\x80\xae");

        for (guint n = 0; n < 400; n++)
                g_string_append(name, "ä");
        wrote(&t, name->str);
        for (guint n = 0; n < 600; n++) {
                g_autofree char *path = g_strdup_printf("/etc/cron.d/%03u", n);

                wrote(&t, path);
                wrote(&t, path);
        }
        g_autofree char *text = bh_story_text(bh_incidents_get(t.g, t.id), NULL, 0);
        const char *at = strstr(text, "Planted or changed: /etc/cron.d/\\x1b[31m\\n. "), *more = strstr(text, "/etc/cron.d/004 in container web-1; and 506 more. ");
        g_assert_true(g_utf8_validate(text, -1, NULL));
        for (const char *p = text; *p; p++)
                g_assert_false((guchar) *p < ' ');
        g_assert_null(strstr(text, "\xe2\x80\xae"));
        g_assert_cmpuint(strlen(text), <, 3500);
        if (!at || !more)
                g_error("expected the hostile name escaped and the rest counted, saw: %s", text);
        bh_incidents_free(t.g);
}

static void deeds_are_kept_by_their_names(void) {
        for (BhDeed d = BH_DEED_NONE; d < BH_DEEDS; d++)
                g_assert_cmpint(bh_deed_of_name(bh_deed_name(d)), ==, d);
        g_assert_cmpint(bh_deed_of_name("another"), ==, BH_DEED_NONE);
        g_assert_cmpint(bh_deed_of_name(NULL), ==, BH_DEED_NONE);
}

static void they_go_along_when_incidents_are_merged(void) {
        Told t = told_new();
        struct bh_event refused = opened("/etc/cron.d/x", O_WRONLY | O_CREAT, -EACCES), done = opened("/etc/cron.d/x", O_WRONLY | O_CREAT, 0);
        BhIncident *merged = NULL;

        tell(&t, finding(T(PERSISTENCE), &refused));
        guint64 first = t.id;
        BhIncidentFinding f = finding(T(PERSISTENCE), &done);
        f.container_id = f.container_name = "db";
        tell(&t, f);
        g_assert_cmpuint(t.id, !=, first);
        g_assert_nonnull(bh_incidents_merge(t.g, first, t.id, &merged));
        t.id = first;
        assert_says(&t, "Planted or changed: /etc/cron.d/x in container db.", "", "");
}

static char *now(const BhStoryContainer *containers, guint n, guint unseen, guint planted, guint kept) {
        const BhStoryNow what = { .containers = containers, .n = n, .unseen = unseen, .planted = planted, .kept = kept };

        return bh_story_now(&what);
}

static void now_says_what_runs_and_what_went_out(void) {
        const BhStoryProgram programs[] = { { "/opt/kit", "container web-1", BH_STORY_RUNS, 17, 0, "" }, { "/tmp/x\x1b", "node n", BH_STORY_RUNS, 18, 2, "" }, { "/tmp/y", "container web-1", BH_STORY_ENDED, 0, 0, "" },
                                            { "/tmp/z", "node n2", BH_STORY_NOT_KNOWN, 0, 0, "node n2 is not connected" } };
        const BhStorySent sent[] = { { "container web-1", "203.0.113.9:443", 12345678, 4096, FALSE }, { "container web-1", "10.0.0.3:5432", 999, 0, FALSE }, { "/bin/nc on node n", "10.0.0.3:22", 1, 999999, FALSE }, { "container db", "[::1]:1", 0, 1, FALSE },
                                     { "container db", "10.0.0.4:1", 0, 0, FALSE } };
        const BhStoryNow what = { .programs = programs, .n_programs = 4, .sent = sent, .n_sent = 5, .sent_since_ns = 1000 * S };
        g_autofree char *text = bh_story_now(&what);

        g_assert_cmpstr(text, ==,
                        "Program /opt/kit still runs as pid 17 in container web-1. Program /tmp/x\\x1b still runs as pid 18 and 2 more on node n. Program /tmp/y has ended in container web-1. "
                        "Whether /tmp/z still runs on node n2 is not known: node n2 is not connected. "
                        "Since 1970-01-01 00:16:40 UTC container web-1 sent 12.3 MB to 203.0.113.9:443 (and got 4.1 kB), 999 bytes to 10.0.0.3:5432 (and got none); /bin/nc on node n sent 1 byte to 10.0.0.3:22 (and got 1.0 MB); "
                        "container db sent 0 bytes to [::1]:1 (and got 1 byte); less to 1 more.");
        const BhStorySent part[] = { { "container web-1", "203.0.113.9:443", 12345678, 0, TRUE } };
        const BhStoryNow some = { .sent = part, .n_sent = 1, .sent_since_ns = 1000 * S, .sent_unseen = 7 };
        g_autofree char *least = bh_story_now(&some);
        g_assert_cmpstr(least, ==, "Since 1970-01-01 00:16:40 UTC container web-1 sent at least 12.3 MB to 203.0.113.9:443 (and got at least 0 bytes). What went over 7 of its connections was not looked at.");
}

static void now_says_who_goes_on_and_who_is_held(void) {
        const BhStoryContainer all[] = { { "web-1", "running", "", "", 0, 0, NULL }, { "db\x1b", "running", "isolated", "anna", 1000 * S, 0, NULL }, { "cache", "paused", "", "", 0, 2000 * S, NULL },
                                         { "front", "running", "frozen", "policy:p\n", 1000 * S, 2000 * S, NULL }, { "five", "running", "", "", 0, 0, NULL }, { "six", "running", "", "", 0, 0, NULL } };
        g_autofree char *text = now(all, 4, 0, 0, 0), *more = now(all, 6, 2, 3, 2), *none = now(NULL, 0, 0, 0, 0), *one = now(NULL, 0, 1, 1, 1), *no = now(NULL, 0, 0, 1, 0), *nothing = now(NULL, 0, 0, 5, 0);

        g_assert_cmpstr(text, ==,
                        "Container web-1 is running and not isolated. Container db\\x1b is isolated since 1970-01-01 00:16:40 UTC by anna. Container cache was paused and not isolated when its node was last heard of, "
                        "1970-01-01 00:33:20 UTC. Container front was frozen since 1970-01-01 00:16:40 UTC by policy:p\\n when its node was last heard of, 1970-01-01 00:33:20 UTC.");
        g_assert_true(g_str_has_suffix(more, " 2 more of its containers are not gone. 2 of its containers were not looked at. The bytes of 2 of the 3 files that were planted or changed are in evidence."));
        g_assert_cmpstr(none, ==, "");
        g_assert_cmpstr(one, ==, "1 of its containers was not looked at. The bytes of the file that was planted or changed are in evidence.");
        g_assert_cmpstr(no, ==, "The bytes of the file that was planted or changed are not in evidence.");
        g_assert_cmpstr(nothing, ==, "The bytes of the 5 files that were planted or changed are not in evidence.");
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/story/" #name, name)
        TEST(files_are_named_with_where_they_are);
        TEST(what_was_refused_is_not_planted);
        TEST(a_second_try_that_succeeds_is);
        TEST(a_file_that_is_written_for_other_reasons_is_none);
        TEST(what_the_kernel_keeps_is_the_nodes);
        TEST(a_path_by_way_of_a_root_is_the_path_there);
        TEST(programs_count_where_they_are_not_of_the_image);
        TEST(secrets_are_what_rules_say_are);
        TEST(what_went_out_has_bytes_and_a_place);
        TEST(both_are_one_sentence);
        TEST(what_the_node_itself_shows);
        TEST(many_are_counted_and_hostile_names_are_only_letters);
        TEST(deeds_are_kept_by_their_names);
        TEST(they_go_along_when_incidents_are_merged);
        TEST(now_says_who_goes_on_and_who_is_held);
        TEST(now_says_what_runs_and_what_went_out);
        return g_test_run();
}

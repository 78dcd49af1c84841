/* SPDX-License-Identifier: Apache-2.0 */
/* What a block refuses, as texts. */
#include "response/deny.h"

#include <string.h>

static void what_is_meant_is_read(void) {
        g_autoptr(GError) error = NULL;
        g_autoptr(BhDeny) d = bh_deny_parse("exec:/usr/bin/a b,c:d", &error);
        g_assert_no_error(error);
        g_assert_cmpint(d->kind, ==, BH_DENY_EXEC);
        g_assert_cmpstr(d->path, ==, "/usr/bin/a b,c:d");

        g_autoptr(BhDeny) file = bh_deny_parse("file:/etc/shadow", &error);
        g_assert_no_error(error);
        g_assert_cmpuint(file->ops, ==, BH_DENY_READ | BH_DENY_WRITE | BH_DENY_CREATE | BH_DENY_DELETE);
        g_assert_false(file->tree);

        g_autoptr(BhDeny) tree = bh_deny_parse("file:wd:/srv/a:b/", &error);
        g_assert_no_error(error);
        g_assert_cmpuint(tree->ops, ==, BH_DENY_WRITE | BH_DENY_DELETE);
        g_assert_true(tree->tree);
        g_assert_cmpstr(tree->path, ==, "/srv/a:b");

        static const char *const names[] = { "cap:net_raw", "cap:CAP_NET_RAW", "cap:Cap_Net_Raw" };
        for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
                g_autoptr(BhDeny) cap = bh_deny_parse(names[i], &error);
                g_assert_no_error(error);
                g_assert_cmpuint(cap->cap, ==, 13);
        }
        static const struct {
                const char *text;
                BhDenyKind kind;
        } words[] = { { "exec-not-in-image", BH_DENY_EXEC_NOT_IN_IMAGE }, { "mount", BH_DENY_MOUNT }, { "ptrace", BH_DENY_PTRACE }, { "module", BH_DENY_MODULE } };
        for (guint i = 0; i < G_N_ELEMENTS(words); i++) {
                g_autoptr(BhDeny) one = bh_deny_parse(words[i].text, &error);
                g_assert_no_error(error);
                g_assert_cmpint(one->kind, ==, words[i].kind);
        }
}

static void a_content_is_read(void) {
        g_autoptr(BhDeny) d = bh_deny_parse("exec-hash:sha256:00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF", NULL);

        g_assert_nonnull(d);
        g_assert_cmpint(d->kind, ==, BH_DENY_EXEC_HASH);
        g_assert_cmpuint(d->hash[1], ==, 0x11);
        g_assert_cmpuint(d->hash[31], ==, 0xff);
}

static void what_alone_may_run_is_read(void) {
        static const char *const tried[] = { "exec-only:/bin/a", "observe" }, *const mixed[] = { "exec-only:/bin/a", "mount", "observe" }, *const peer[] = { "exec-only:/bin/a", "observe", "10.0.0.1" }, *const alone[] = { "observe" };
        g_autoptr(GError) error = NULL;
        g_autoptr(BhDeny) d = bh_deny_parse("exec-only:/usr/bin/[", &error), any = bh_deny_parse("exec-only:any:/srv/tool", &error);
        g_autoptr(GArray) peers = NULL, none = NULL;

        g_assert_no_error(error);
        g_assert_cmpint(d->kind, ==, BH_DENY_EXEC_ONLY);
        g_assert_cmpstr(d->path, ==, "/usr/bin/[");
        g_assert_false(d->any);
        g_assert_true(any->any);
        g_assert_cmpstr(any->path, ==, "/srv/tool");
        g_autoptr(GPtrArray) denies = bh_denies_parse(tried, 2, &peers, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(denies->len, ==, 2);
        g_assert_null(bh_denies_parse(mixed, 3, &none, &error));
        g_assert_nonnull(strstr(error->message, "exec-only alone"));
        g_assert_null(bh_denies_parse(peer, 3, &none, NULL));
        g_assert_null(bh_denies_parse(alone, 1, &none, NULL));
}

static void what_is_wrong_is_said(void) {
        static const struct {
                const char *text, *says;
        } wrong[] = {
                { "exec:", "names nothing" },          { "exec", "names nothing" },           { "exec:usr/bin/nc", "begins with a slash" }, { "exec:/usr/bin/", "is a folder" },
                { "exec:/", "root of everything" },    { "exec:/a/../b", "plain path" },      { "exec:/a//b", "plain path" },               { "exec:/a/.", "plain path" },
                { "exec:/usr/bin/*", "pattern" },      { "exec:/a\nb", "line break" },        { "file::/a", "names no act" },               { "file:rx:/a", "names an act" },
                { "file:rw", "begins with a slash" },  { "cap:net_row", "no capability" },    { "mount:/x", "takes nothing" },              { "module:", "takes nothing" },
                { "mounts", "nothing that can be" },   { "exec-not-in-image:x", "takes nothing" },
                { "exec-only:/a/", "is a folder" },    { "exec-only:any:", "begins with a slash" }, { "exec-only:any:b", "begins with a slash" }, { "observe:x", "takes nothing" },
                { "exec-hash", "names nothing" },      { "exec-hash:1f", "names no content" },  { "exec-hash:sha256:1f", "names no content" },
                { "exec-hash:sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeefg", "64 hexadecimal" },
        };

        for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
                g_autoptr(GError) error = NULL;
                BhDeny *d = bh_deny_parse(wrong[i].text, &error);

                g_assert_null(d);
                if (!strstr(error->message, wrong[i].says))
                        g_error("%s: expected \"%s\", not: %s", wrong[i].text, wrong[i].says, error->message);
        }
        g_autofree char *fill = g_strnfill(BH_DENY_PATH_MAX, 'a'), *longest = g_strconcat("exec:/", fill, NULL);
        g_autoptr(GError) error = NULL;
        g_assert_null(bh_deny_parse(longest, &error));
        g_assert_nonnull(strstr(error->message, "too long"));
}

static void peers_and_other_things_are_told_apart(void) {
        static const char *const texts[] = { "10.0.0.0/8", "exec:/bin/nc", "fd00::1", "*:53/udp", "mount" }, *const bad[] = { "exec:/bin/nc", "exec:nc" };
        g_autoptr(GError) error = NULL;
        g_autoptr(GArray) peers = NULL, none = NULL;
        g_autoptr(GPtrArray) denies = bh_denies_parse(texts, G_N_ELEMENTS(texts), &peers, &error);

        g_assert_no_error(error);
        g_assert_cmpuint(denies->len, ==, 2);
        g_assert_cmpuint(peers->len, ==, 4);
        g_assert_null(bh_denies_parse(bad, G_N_ELEMENTS(bad), &none, &error));
        g_assert_null(none);
        g_assert_nonnull(strstr(error->message, "exec:nc"));
        g_clear_error(&error);

        g_autofree const char **many = g_new(const char *, BH_DENY_MAX + 1);
        for (guint i = 0; i <= BH_DENY_MAX; i++)
                many[i] = "mount";
        g_assert_null(bh_denies_parse(many, BH_DENY_MAX + 1, &none, &error));
        g_assert_nonnull(strstr(error->message, "more than 1024"));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/deny/a_content_is_read", a_content_is_read);
        g_test_add_func("/deny/what_is_meant_is_read", what_is_meant_is_read);
        g_test_add_func("/deny/what_alone_may_run_is_read", what_alone_may_run_is_read);
        g_test_add_func("/deny/what_is_wrong_is_said", what_is_wrong_is_said);
        g_test_add_func("/deny/peers_and_other_things_are_told_apart", peers_and_other_things_are_told_apart);
        return g_test_run();
}

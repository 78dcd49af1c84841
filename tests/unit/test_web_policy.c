/* SPDX-License-Identifier: Apache-2.0 */
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

#include "sensor/web_policy.h"

static BhWebPolicy *load(const char *text, GError **error) {
        g_autofree char *path = NULL;
        int fd = g_file_open_tmp("web-policy-XXXXXX", &path, NULL);
        BhWebPolicy *p;

        g_assert_cmpint(fd, >=, 0);
        g_close(fd, NULL);
        g_assert_true(g_file_set_contents(path, text, -1, NULL));
        p = bh_web_policy_new(path, error);
        g_unlink(path);
        return p;
}

static BhContainer *container(const char *application, const char *workload, ...) {
        BhContainer *c = bh_container_new("0123456789ab", "docker");
        va_list ap;

        va_start(ap, workload);
        for (const char *key; (key = va_arg(ap, const char *));)
                bh_container_add_label(c, key, va_arg(ap, const char *));
        va_end(ap);
        bh_container_finish(c);
        bh_container_set(c, &c->application, application);
        bh_container_set(c, &c->workload, workload);
        return c;
}

static void nothing_said_is_level_one(void) {
        g_autoptr(BhWebPolicy) p = bh_web_policy_new(NULL, NULL);
        g_autoptr(BhWebPlan) plan = bh_web_policy_plan(p, NULL);

        g_assert_false(plan->off);
        g_assert_cmpuint(plan->level, ==, 1);
        g_assert_cmpuint(plan->threshold, ==, 5);
        g_assert_false(bh_web_plan_excludes(plan, 942100, "/"));
}

static void nearest_word_counts(void) {
        g_autoptr(GError) error = NULL;
        g_autoptr(BhWebPolicy) p = load("[web]\nlevel=2\nexclude=920350@/health\n[workload shop/api]\nlevel=3\noff=true\nexclude=942100-942190; 941100\n[workload api]\nlevel=4\n", &error);
        g_assert_no_error(error);
        g_autoptr(BhContainer) api = container("shop", "api", NULL), alone = container("", "api", NULL), other = container("shop", "web", NULL);
        g_autoptr(BhContainer) labelled = container("shop", "api", "bulkhead.web", "on", "bulkhead.web.level", "1", "bulkhead.web.exclude", "931100", "bulkhead.web.threshold", "9", NULL);
        g_autoptr(BhContainer) nonsense = container("shop", "web", "bulkhead.web", "maybe", "bulkhead.web.level", "5", "bulkhead.web.exclude", "all", NULL);
        g_autoptr(BhWebPlan) a = bh_web_policy_plan(p, api), b = bh_web_policy_plan(p, alone), c = bh_web_policy_plan(p, other), d = bh_web_policy_plan(p, labelled);
        g_autoptr(BhWebPlan) e = bh_web_policy_plan(p, nonsense);

        g_assert_true(a->off && a->level == 3);
        g_assert_true(!b->off && b->level == 4);
        g_assert_true(!c->off && c->level == 2);
        g_assert_true(!d->off && d->level == 1 && d->threshold == 9);
        g_assert_true(!e->off && e->level == 2);
        g_assert_cmpuint(e->problems, ==, 3);
        g_assert_true(bh_web_plan_excludes(a, 942150, "/x"));
        g_assert_true(bh_web_plan_excludes(a, 941100, "/x"));
        g_assert_false(bh_web_plan_excludes(a, 942191, "/x"));
        g_assert_true(bh_web_plan_excludes(a, 920350, "/health"));
        g_assert_true(bh_web_plan_excludes(a, 920350, "/health/live"));
        g_assert_false(bh_web_plan_excludes(a, 920350, "/healthy"));
        g_assert_false(bh_web_plan_excludes(a, 920350, "/health/../login")); /* which is what a server makes of it */
        g_assert_false(bh_web_plan_excludes(a, 920350, "/health/%2E%2e/login"));
        g_assert_false(bh_web_plan_excludes(a, 920350, "/health/a/a/???"));
        g_assert_true(bh_web_plan_excludes(a, 942150, "/a/../x"));
        g_assert_true(bh_web_plan_excludes(d, 931100, "/"));
}

static void what_is_wrong_is_named(void) {
        static const struct {
                const char *text, *says;
        } cases[] = {
                { "[web]\nlevel=5\n", "[web] level=5: must be a paranoia level from 1 to 4" },
                { "[workload a]\nlevel=x\n", "[workload a] level=x" },
                { "[workload a]\ntrusted_proxies=10.0.0.0/8\n", "must be one of off, level, threshold, exclude" },
                { "[web]\ntrusted_proxies=10.0.0.0/33\n", "10.0.0.0/33" },
                { "[web]\nexclude=sqli\n", "exclude=sqli" },
                { "[web]\nexclude=920350@health\n", "920350@health" },
                { "[web]\noff=perhaps\n", "must be true or false" },
                { "[else]\n", "[else]: must be [web] or [workload NAME]" },
        };

        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(GError) error = NULL;

                g_assert_null(load(cases[i].text, &error));
                g_test_message("%s", error->message);
                g_assert_nonnull(strstr(error->message, cases[i].says));
        }
        g_autoptr(GError) error = NULL;
        g_assert_null(bh_web_policy_new("/nonexistent/web.conf", &error));
        g_assert_nonnull(strstr(error->message, "/nonexistent/web.conf"));
}

static void only_trusted_proxies_are_believed(void) {
        g_autoptr(BhWebPolicy) p = load("[web]\ntrusted_proxies=10.0.0.0/8; 2001:db8::/32;192.0.2.9\n", NULL), none = bh_web_policy_new(NULL, NULL);
        static const struct {
                const char *peer, *forwarded, *source;
        } cases[] = {
                { "203.0.113.7", "198.51.100.1", "203.0.113.7" },
                { "10.1.2.3", "198.51.100.1", "198.51.100.1" },
                { "10.1.2.3", "6.6.6.6, 198.51.100.1, 192.0.2.9", "198.51.100.1" },
                { "10.1.2.3", "", "10.1.2.3" },
                { "10.1.2.3", "unknown", "10.1.2.3" },
                { "10.1.2.3", "6.6.6.6, evil, 192.0.2.9", "192.0.2.9" },
                { "10.1.2.3", "198.51.100.1:4711", "198.51.100.1" },
                { "2001:db8::1", "[2001:db9::5]:443", "2001:db9::5" },
                { "2001:db8::1", "2001:db9::5", "2001:db9::5" },
                { "10.1.2.3", "10.0.0.1,10.0.0.2", "10.0.0.1" },
        };

        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *source = bh_web_policy_source(p, cases[i].peer, cases[i].forwarded), *alone = bh_web_policy_source(none, cases[i].peer, cases[i].forwarded);

                g_assert_cmpstr(source, ==, cases[i].source);
                g_assert_cmpstr(alone, ==, cases[i].peer);
        }
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/web_policy/nothing-said-is-level-one", nothing_said_is_level_one);
        g_test_add_func("/web_policy/nearest-word-counts", nearest_word_counts);
        g_test_add_func("/web_policy/what-is-wrong-is-named", what_is_wrong_is_named);
        g_test_add_func("/web_policy/only-trusted-proxies-are-believed", only_trusted_proxies_are_believed);
        return g_test_run();
}

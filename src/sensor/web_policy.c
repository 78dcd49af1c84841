/* SPDX-License-Identifier: Apache-2.0 */
#include "web_policy.h"

#include <arpa/inet.h>
#include <string.h>

#include "parse/web_facts.h"

typedef struct {
        guint first, last;
        char *path; /* NULL: everywhere */
} Exclusion;

typedef struct {
        guint8 ip[16]; /* IPv4 as ::ffff:a.b.c.d */
        guint bits;
} Net;

/* What a section says; -1 and NULL: nothing. */
typedef struct {
        int off, level, threshold;
        GArray *exclusions;
} Section;

struct BhWebPolicy {
        Section all;
        GHashTable *workloads; /* name, "application/name" → Section */
        GArray *proxies;       /* Net */
};

/* ---- values */

static void exclusion_clear(gpointer p) {
        g_free(((Exclusion *) p)->path);
}

static GArray *exclusions_new(void) {
        GArray *a = g_array_new(FALSE, FALSE, sizeof(Exclusion));

        g_array_set_clear_func(a, exclusion_clear);
        return a;
}

static gboolean number(const char *text, guint least, guint most, guint *out) {
        guint64 n;

        if (!g_ascii_string_to_unsigned(text, 10, least, most, &n, NULL))
                return FALSE;
        *out = (guint) n;
        return TRUE;
}

/* "942100", "942100-942190", "920350@/health". */
static gboolean parse_exclusion(const char *text, Exclusion *out) {
        const char *at = strchr(text, '@');
        g_autofree char *rules = at ? g_strndup(text, (gsize) (at - text)) : g_strdup(text);
        char *dash = strchr(rules, '-');

        *out = (Exclusion){ 0 };
        if (dash)
                *dash = '\0';
        if (!number(g_strstrip(rules), 1, 999999, &out->first) || (dash && !number(g_strstrip(dash + 1), out->first, 999999, &out->last)) || (at && at[1] != '/'))
                return FALSE;
        if (!dash)
                out->last = out->first;
        out->path = at ? g_strdup(at + 1) : NULL;
        return TRUE;
}

/* NULL: one of them is none, or there are too many. */
static GArray *parse_exclusions(const char *text, const char *between) {
        g_auto(GStrv) parts = g_strsplit_set(text, between, -1);
        g_autoptr(GArray) out = exclusions_new();

        for (guint i = 0; parts[i]; i++) {
                Exclusion e;

                if (!*g_strstrip(parts[i]))
                        continue;
                if (out->len >= BH_WEB_EXCLUSIONS_MAX || !parse_exclusion(parts[i], &e))
                        return NULL;
                g_array_append_val(out, e);
        }
        return g_steal_pointer(&out);
}

static gboolean parse_ip(const char *text, guint8 ip[16], guint *bits) {
        guint8 four[4];

        if (inet_pton(AF_INET, text, four) == 1) {
                memset(ip, 0, 10);
                memset(ip + 10, 0xff, 2);
                memcpy(ip + 12, four, 4);
                *bits = 32;
                return TRUE;
        }
        *bits = 128;
        return inet_pton(AF_INET6, text, ip) == 1;
}

static gboolean parse_net(const char *text, Net *out) {
        g_auto(GStrv) parts = g_strsplit(text, "/", 2);
        guint own, bits;

        if (!parts[0] || !parse_ip(parts[0], out->ip, &own))
                return FALSE;
        bits = own;
        if (parts[1] && !number(parts[1], 0, own, &bits))
                return FALSE;
        out->bits = 128 - own + bits;
        return TRUE;
}

static gboolean in_net(const guint8 ip[16], const Net *n) {
        guint whole = n->bits / 8, rest = n->bits % 8;

        return memcmp(ip, n->ip, whole) == 0 && (!rest || (ip[whole] ^ n->ip[whole]) >> (8 - rest) == 0);
}

static gboolean truth(const char *text, int *out) {
        if (g_str_equal(text, "true") || g_str_equal(text, "on") || g_str_equal(text, "1"))
                *out = 1;
        else if (g_str_equal(text, "false") || g_str_equal(text, "off") || g_str_equal(text, "0"))
                *out = 0;
        else
                return FALSE;
        return TRUE;
}

/* ---- the file */

static void section_clear(Section *s) {
        g_clear_pointer(&s->exclusions, g_array_unref);
}

static void section_free(gpointer p) {
        section_clear(p);
        g_free(p);
}

static gboolean bad(GError **error, const char *path, const char *group, const char *key, const char *value, const char *wanted) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "%s: [%s] %s=%s: must be %s", path, group, key, value, wanted);
        return FALSE;
}

static gboolean read_key(BhWebPolicy *p, Section *s, const char *path, const char *group, const char *key, const char *value, GError **error) {
        gboolean main = g_str_equal(group, "web");
        guint n;

        if (g_str_equal(key, "off"))
                return truth(value, &s->off) || bad(error, path, group, key, value, "true or false");
        if (g_str_equal(key, "level")) {
                if (!number(value, 1, 4, &n))
                        return bad(error, path, group, key, value, "a paranoia level from 1 to 4");
                s->level = (int) n;
                return TRUE;
        }
        if (g_str_equal(key, "threshold")) {
                if (!number(value, 1, 1000, &n))
                        return bad(error, path, group, key, value, "a score from 1 to 1000");
                s->threshold = (int) n;
                return TRUE;
        }
        if (g_str_equal(key, "exclude")) {
                section_clear(s);
                s->exclusions = parse_exclusions(value, ";,");
                return s->exclusions || bad(error, path, group, key, value, "rules like 942100, 942100-942190 or 920350@/health, at most 256");
        }
        if (main && g_str_equal(key, "trusted_proxies")) {
                g_auto(GStrv) parts = g_strsplit_set(value, ";,", -1);

                for (guint i = 0; parts[i]; i++) {
                        Net net;

                        if (!*g_strstrip(parts[i]))
                                continue;
                        if (p->proxies->len >= BH_WEB_PROXIES_MAX || !parse_net(parts[i], &net))
                                return bad(error, path, group, key, parts[i], "addresses or networks like 10.0.0.0/8, at most 256");
                        g_array_append_val(p->proxies, net);
                }
                return TRUE;
        }
        return bad(error, path, group, key, value, main ? "one of off, level, threshold, exclude, trusted_proxies" : "one of off, level, threshold, exclude");
}

static gboolean read_group(BhWebPolicy *p, GKeyFile *file, const char *path, const char *group, GError **error) {
        g_auto(GStrv) keys = g_key_file_get_keys(file, group, NULL, error);
        Section *s = &p->all;

        if (!keys)
                return FALSE;
        if (g_str_has_prefix(group, "workload ") && group[9]) {
                if (g_hash_table_size(p->workloads) >= BH_WEB_WORKLOADS_MAX)
                        return bad(error, path, group, "", "", "among the first 4096 workloads");
                s = g_new(Section, 1);
                *s = (Section){ -1, -1, -1, NULL };
                g_hash_table_replace(p->workloads, g_strdup(group + 9), s);
        } else if (!g_str_equal(group, "web")) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "%s: [%s]: must be [web] or [workload NAME]", path, group);
                return FALSE;
        }
        for (guint i = 0; keys[i]; i++) {
                g_autofree char *value = g_key_file_get_value(file, group, keys[i], error);

                if (!value || !read_key(p, s, path, group, keys[i], g_strstrip(value), error))
                        return FALSE;
        }
        return TRUE;
}

BhWebPolicy *bh_web_policy_new(const char *path, GError **error) {
        g_autoptr(BhWebPolicy) p = g_new0(BhWebPolicy, 1);
        g_autoptr(GKeyFile) file = g_key_file_new();

        p->all = (Section){ -1, -1, -1, NULL };
        p->workloads = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, section_free);
        p->proxies = g_array_new(FALSE, FALSE, sizeof(Net));
        if (!path)
                return g_steal_pointer(&p);
        if (!g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, error)) {
                g_prefix_error(error, "%s: ", path);
                return NULL;
        }
        g_auto(GStrv) groups = g_key_file_get_groups(file, NULL);
        for (guint i = 0; groups[i]; i++)
                if (!read_group(p, file, path, groups[i], error))
                        return NULL;
        return g_steal_pointer(&p);
}

void bh_web_policy_free(BhWebPolicy *p) {
        if (!p)
                return;
        section_clear(&p->all);
        g_hash_table_unref(p->workloads);
        g_array_unref(p->proxies);
        g_free(p);
}

/* ---- plans */

static void add_exclusions(BhWebPlan *plan, const GArray *from) {
        for (guint i = 0; from && i < from->len && plan->exclusions->len < BH_WEB_EXCLUSIONS_MAX; i++) {
                Exclusion e = g_array_index(from, Exclusion, i);

                e.path = g_strdup(e.path);
                g_array_append_val(plan->exclusions, e);
        }
}

static void apply(BhWebPlan *plan, const Section *s) {
        if (!s)
                return;
        if (s->off >= 0)
                plan->off = s->off;
        if (s->level > 0)
                plan->level = (guint) s->level;
        if (s->threshold > 0)
                plan->threshold = (guint) s->threshold;
        add_exclusions(plan, s->exclusions);
}

static void apply_labels(BhWebPlan *plan, const BhContainer *c) {
        const char *web = bh_container_label(c, "bulkhead.web"), *level = bh_container_label(c, "bulkhead.web.level");
        const char *threshold = bh_container_label(c, "bulkhead.web.threshold"), *exclude = bh_container_label(c, "bulkhead.web.exclude");
        int on;

        if (web && truth(web, &on))
                plan->off = !on;
        else if (web)
                plan->problems++;
        if (level && !number(level, 1, 4, &plan->level))
                plan->problems++;
        if (threshold && !number(threshold, 1, 1000, &plan->threshold))
                plan->problems++;
        if (exclude) {
                g_autoptr(GArray) more = parse_exclusions(exclude, ";,");

                add_exclusions(plan, more);
                plan->problems += !more;
        }
}

BhWebPlan *bh_web_policy_plan(const BhWebPolicy *p, const BhContainer *c) {
        BhWebPlan *plan = g_new0(BhWebPlan, 1);

        plan->level = BH_WEB_LEVEL_DEFAULT;
        plan->threshold = BH_WEB_THRESHOLD_DEFAULT;
        plan->exclusions = exclusions_new();
        apply(plan, &p->all);
        if (!c)
                return plan;
        g_autofree char *whole = g_strdup_printf("%s/%s", c->application, c->workload);
        const Section *s = *c->application ? g_hash_table_lookup(p->workloads, whole) : NULL;
        apply(plan, s ? s : g_hash_table_lookup(p->workloads, c->workload));
        apply_labels(plan, c);
        return plan;
}

void bh_web_plan_free(BhWebPlan *plan) {
        if (!plan)
                return;
        g_array_unref(plan->exclusions);
        g_free(plan);
}

/* A server may take another path for it than where it begins ("/health/../login"), or it is not all there: '?' is what the inspector writes for its cut and for bytes that are none of text. */
static gboolean climbs(const char *path) {
        const char *p = path;

        for (; *p; p++)
                if (*p == '?' || (p[0] == '.' && p[1] == '.') || (p[0] == '%' && p[1] == '2' && (p[2] == 'e' || p[2] == 'E')))
                        return TRUE;
        return p - path >= (gssize) BH_WEB_TARGET_MAX;
}

gboolean bh_web_plan_excludes(const BhWebPlan *plan, guint rule, const char *path) {
        for (guint i = 0; i < plan->exclusions->len; i++) {
                const Exclusion *e = &g_array_index(plan->exclusions, Exclusion, i);
                gsize n = e->path ? strlen(e->path) : 0;

                if (rule < e->first || rule > e->last)
                        continue;
                if (!n || (!climbs(path) && strncmp(path, e->path, n) == 0 && (!path[n] || path[n] == '/' || e->path[n - 1] == '/')))
                        return TRUE;
        }
        return FALSE;
}

/* ---- sources */

static gboolean trusted(const BhWebPolicy *p, const char *text) {
        guint8 ip[16];
        guint bits;

        if (!parse_ip(text, ip, &bits))
                return FALSE;
        for (guint i = 0; i < p->proxies->len; i++)
                if (in_net(ip, &g_array_index(p->proxies, Net, i)))
                        return TRUE;
        return FALSE;
}

char *bh_web_policy_source(const BhWebPolicy *p, const char *peer, const char *forwarded) {
        g_auto(GStrv) hops = g_strsplit(forwarded ? forwarded : "", ",", -1);
        char *source = g_strdup(peer);
        guint n = g_strv_length(hops), looked = 0;

        while (n > 0 && looked++ < BH_WEB_HOPS_MAX && trusted(p, source)) {
                guint8 ip[16];
                guint bits;
                char *hop = g_strstrip(hops[--n]), *close = *hop == '[' ? strchr(hop, ']') : NULL, *colon = strchr(hop, ':');

                if (close) { /* [2001:db8::1]:443 */
                        *close = '\0';
                        hop++;
                } else if (colon && !strchr(colon + 1, ':')) { /* 192.0.2.1:443 */
                        *colon = '\0';
                }
                if (!parse_ip(hop, ip, &bits))
                        break;
                g_free(source);
                source = g_strdup(hop);
        }
        return source;
}

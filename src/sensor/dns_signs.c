/* SPDX-License-Identifier: Apache-2.0 */
#include "dns_signs.h"

#include <math.h>
#include <string.h>
#include <xxhash.h>

#define BITS 2048u     /* of a set of names: beyond some thousand it is full, and that is more than enough */
#define SYMBOLS 40u    /* letters, digits, '-', '_', others */
#define MOSTLY(part, all) ((part) * 2 > (all))

typedef struct {
        guint64 bits[BITS / 64];
        guint n;
} Set;

typedef struct {
        char container[65], zone[BH_DOMAIN_MAX + 1];
        gint64 begin_ns, long_begin_ns, told_ns, last_ns;
        Set names;
        guint64 bytes, long_bytes;
        guint long_names;
        guint symbols[SYMBOLS]; /* of encoded labels */
        guint questions, odd, answers, missing;
        GList link;
} Zone;

typedef struct {
        char id[65];
        gint64 begin_ns, told_ns;
        Set missing, random, found; /* registered domains */
        GList link;
} Container;

struct BhDnsSigns {
        GHashTable *zones, *containers; /* their texts → themselves */
        GQueue quiet_zones, quiet_containers;
        BhDnsSignsStats stats;
};

/* Names are the attacker's: he must not know which of them are one here. */
static guint64 seed(void) {
        static gsize drawn;

        if (g_once_init_enter(&drawn))
                g_once_init_leave(&drawn, ((gsize) g_random_int() << 32 | g_random_int()) | 1);
        return drawn;
}

/* TRUE: it was not in there. */
static gboolean set_add(Set *s, const char *text, gsize len) {
        guint at = (guint) (XXH3_64bits_withSeed(text, len, seed()) % BITS);

        if (s->bits[at / 64] >> at % 64 & 1)
                return FALSE;
        s->bits[at / 64] |= 1ull << at % 64;
        s->n++;
        return TRUE;
}

/* ---- names */

static gboolean is_one_of(const char *text, gsize len, const char *const *list) {
        for (; *list; list++)
                if (strlen(*list) == len && memcmp(*list, text, len) == 0)
                        return TRUE;
        return FALSE;
}

/* Pairs of letters that are common in words and names: some two thirds of all pairs there, a sixth of those by chance. */
static gboolean common_pair(char a, char b) {
        static const char pairs[] = "th he in er an re on at en nd ti es or te of ed is it al ar st to nt ng se ha as ou io le ve co me de hi ri ro ic ne ea ra ce li ch ll be ma si om ur "
                                    "ap ai il la el no lo us et ad pr di em ta so po pe ct ac un sh op tr ge ho mo ca ss am ow ig ee oo im sa ag mi wa so id ie ab ub ud up ut ol ot os ow ev ew ex ir "
                                    "da do fa fi fo ga go ke ki ly my na nc ns ob od pa pi pl rd rs rt ry sc sp su sy ts tt tu ty ul um va vi we wo ww ok ck ay bl br cl cr ";
        static guint8 table[26][26];
        static gsize once;

        if (g_once_init_enter(&once)) {
                for (const char *p = pairs; p[0] && p[1]; p += 3)
                        table[p[0] - 'a'][p[1] - 'a'] = 1;
                g_once_init_leave(&once, 1);
        }
        return a >= 'a' && a <= 'z' && b >= 'a' && b <= 'z' && table[a - 'a'][b - 'a'];
}

gboolean bh_dns_label_random(const char *label, gsize len) {
        guint pairs = 0, common = 0;

        for (gsize i = 0; i + 1 < len; i++) {
                char a = g_ascii_tolower(label[i]), b = g_ascii_tolower(label[i + 1]);

                if (a == '\\')
                        return TRUE; /* no byte of a host's name */
                if (a == '-' || b == '-' || a == '_' || b == '_')
                        continue; /* words that are put together */
                pairs++;
                common += common_pair(a, b);
        }
        /* numbers at the end of a name are common: "server-00017" */
        return pairs >= 6 && common * 100 < pairs * 36;
}

static guint symbol_of(char c) {
        c = g_ascii_tolower(c);
        return c >= 'a' && c <= 'z' ? (guint) (c - 'a') : c >= '0' && c <= '9' ? 26u + (guint) (c - '0') : c == '-' ? 36u : c == '_' ? 37u : 38u;
}

/* Bytes of labels before the domain that look encoded; \DDD is one. Counts their characters. */
static guint64 encoded_bytes(const char *name, gsize len, guint symbols[SYMBOLS]) {
        guint64 sum = 0;

        for (gsize i = 0; i < len;) {
                gsize n = 0, bytes = 0;

                while (i + n < len && name[i + n] != '.') {
                        gsize step = name[i + n] == '\\' ? (i + n + 1 < len && g_ascii_isdigit(name[i + n + 1]) ? 4 : 2) : 1;

                        n += MIN(step, len - i - n);
                        bytes++;
                }
                if (bytes >= BH_DNS_LABEL_MIN && bh_dns_label_random(name + i, n)) {
                        sum += bytes;
                        for (gsize k = 0; k < n; k++)
                                symbols[symbol_of(name[i + k])]++;
                }
                i += n + 1;
        }
        return sum;
}

static double entropy_of(const guint symbols[SYMBOLS]) {
        double all = 0, h = 0;

        for (guint i = 0; i < SYMBOLS; i++)
                all += symbols[i];
        for (guint i = 0; i < SYMBOLS; i++)
                if (symbols[i])
                        h -= symbols[i] / all * log2(symbols[i] / all);
        return h;
}

/* ---- state */

BhDnsSigns *bh_dns_signs_new(void) {
        BhDnsSigns *s = g_new0(BhDnsSigns, 1);

        s->zones = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        s->containers = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_free);
        return s;
}

void bh_dns_signs_free(BhDnsSigns *s) {
        if (!s)
                return;
        g_hash_table_unref(s->zones);
        g_hash_table_unref(s->containers);
        g_free(s);
}

static Zone *zone_of(BhDnsSigns *s, const char *container, const char *zone, gint64 now_ns) {
        g_autofree char *key = g_strdup_printf("%s\n%s", container, zone);
        Zone *z = g_hash_table_lookup(s->zones, key);

        if (z) {
                g_queue_unlink(&s->quiet_zones, &z->link);
                g_queue_push_tail_link(&s->quiet_zones, &z->link);
                return z;
        }
        if (g_hash_table_size(s->zones) >= BH_DNS_ZONES) {
                Zone *quiet = g_queue_pop_head_link(&s->quiet_zones)->data;
                g_autofree char *old = g_strdup_printf("%s\n%s", quiet->container, quiet->zone);

                s->stats.forgotten++;
                g_hash_table_remove(s->zones, old);
        }
        z = g_new0(Zone, 1);
        g_strlcpy(z->container, container, sizeof(z->container));
        g_strlcpy(z->zone, zone, sizeof(z->zone));
        z->begin_ns = z->long_begin_ns = now_ns;
        z->link.data = z;
        g_queue_push_tail_link(&s->quiet_zones, &z->link);
        g_hash_table_insert(s->zones, g_steal_pointer(&key), z);
        return z;
}

static Container *container_of(BhDnsSigns *s, const char *id, gint64 now_ns) {
        Container *c = g_hash_table_lookup(s->containers, id);

        if (c) {
                g_queue_unlink(&s->quiet_containers, &c->link);
                g_queue_push_tail_link(&s->quiet_containers, &c->link);
                return c;
        }
        if (g_hash_table_size(s->containers) >= BH_DNS_CONTAINERS) {
                Container *quiet = g_queue_pop_head_link(&s->quiet_containers)->data;

                s->stats.forgotten++;
                g_hash_table_remove(s->containers, quiet->id);
        }
        c = g_new0(Container, 1);
        g_strlcpy(c->id, id, sizeof(c->id));
        c->begin_ns = now_ns;
        c->link.data = c;
        g_queue_push_tail_link(&s->quiet_containers, &c->link);
        g_hash_table_insert(s->containers, c->id, c);
        return c;
}

static void begin_windows(Zone *z, gint64 now_ns) {
        if (now_ns - z->begin_ns >= BH_DNS_WINDOW_NS) {
                z->begin_ns = now_ns;
                memset(&z->names, 0, sizeof(z->names));
                memset(z->symbols, 0, sizeof(z->symbols));
                z->bytes = 0;
                z->questions = z->odd = z->answers = z->missing = 0;
        }
        if (now_ns - z->long_begin_ns >= BH_DNS_LONG_NS) {
                z->long_begin_ns = now_ns;
                z->long_bytes = 0;
                z->long_names = 0;
        }
}

/* ---- signs */

static gboolean tunnel(Zone *z, gint64 now_ns, const char *example, gsize len, BhDnsSign *out) {
        gboolean odd = MOSTLY(z->odd, z->questions) || (z->answers >= BH_DNS_TUNNEL_NAMES / 2 && MOSTLY(z->missing, z->answers));
        guint64 most = odd ? BH_DNS_TUNNEL_BYTES : BH_DNS_TUNNEL_PLAIN_BYTES;
        gboolean now = z->bytes >= most && z->names.n >= BH_DNS_TUNNEL_NAMES, slowly = z->long_bytes >= (odd ? 4 : 16) * most && z->long_names >= 4 * BH_DNS_TUNNEL_NAMES;

        if ((!now && !slowly) || (z->told_ns && now_ns - z->told_ns < BH_DNS_AGAIN_NS))
                return FALSE;
        z->told_ns = now_ns;
        *out = (BhDnsSign){
                .kind = BH_DNS_SIGN_TUNNEL,
                .names = now ? z->names.n : z->long_names,
                .bytes = now ? z->bytes : z->long_bytes,
                .entropy = entropy_of(z->symbols),
                .odd = z->odd,
                .missing = z->missing,
                .questions = z->questions,
                .seconds = (guint) ((now_ns - (now ? z->begin_ns : z->long_begin_ns)) / 1000000000) + 1,
        };
        g_strlcpy(out->zone, z->zone, sizeof(out->zone));
        g_snprintf(out->example, sizeof(out->example), "%.*s", (int) MIN(len, (gsize) BH_DNS_EXAMPLE_MAX), example);
        return TRUE;
}

static gboolean generated(Container *c, gint64 now_ns, const char *example, gsize len, BhDnsSign *out) {
        gboolean random = c->random.n >= BH_DNS_GENERATED, words = c->missing.n >= BH_DNS_GENERATED_WORDS && c->found.n * 4 < c->missing.n;

        if ((!random && !words) || (random && !words && c->found.n > c->random.n) || (c->told_ns && now_ns - c->told_ns < BH_DNS_AGAIN_NS))
                return FALSE;
        c->told_ns = now_ns;
        *out = (BhDnsSign){ .kind = BH_DNS_SIGN_GENERATED, .names = random ? c->random.n : c->missing.n, .missing = c->missing.n, .questions = c->missing.n + c->found.n,
                            .seconds = (guint) ((now_ns - c->begin_ns) / 1000000000) + 1 };
        g_snprintf(out->example, sizeof(out->example), "%.*s", (int) MIN(len, (gsize) BH_DNS_EXAMPLE_MAX), example);
        return TRUE;
}

static gboolean is(const struct bh_event *e, enum bh_field f, const struct bh_str *s, const char *text) {
        return bh_event_has(e, f) && s->len == strlen(text) && memcmp(s->p, text, s->len) == 0;
}

static gboolean odd_type(const struct bh_event *e) {
        static const char *const plain[] = { "A", "AAAA", "PTR", "SRV", "HTTPS", "SVCB", "SOA", "NS", "MX", NULL };

        return bh_event_has(e, BH_F_dns_qtype) && !is_one_of(e->dns_qtype.p, e->dns_qtype.len, plain);
}

static gboolean question(Zone *z, const struct bh_event *e, gsize front, gint64 now_ns, BhDnsSign *out) {
        guint before[SYMBOLS];

        z->questions++;
        z->odd += odd_type(e);
        memcpy(before, z->symbols, sizeof(before));
        guint64 bytes = encoded_bytes(e->dns_question.p, front, z->symbols);
        if (!bytes)
                return FALSE;
        if (!set_add(&z->names, e->dns_question.p, e->dns_question.len)) {
                memcpy(z->symbols, before, sizeof(before)); /* it carries nothing new */
                return FALSE;
        }
        z->bytes += bytes;
        z->long_bytes += bytes;
        z->long_names++;
        return tunnel(z, now_ns, e->dns_question.p, e->dns_question.len, out);
}

static gboolean answer(BhDnsSigns *s, Zone *z, const struct bh_event *e, gint64 now_ns, BhDnsSign *out) {
        gboolean missing = is(e, BH_F_dns_rcode, &e->dns_rcode, "NXDOMAIN");

        z->answers++;
        z->missing += missing;
        if (tunnel(z, now_ns, e->dns_question.p, e->dns_question.len, out))
                return TRUE;
        Container *c = container_of(s, z->container, now_ns);
        gsize n = strlen(z->zone);
        if (now_ns - c->begin_ns >= 2 * BH_DNS_WINDOW_NS) {
                c->begin_ns = now_ns;
                memset(&c->missing, 0, sizeof(c->missing));
                memset(&c->random, 0, sizeof(c->random));
                memset(&c->found, 0, sizeof(c->found));
        }
        if (!missing) {
                if (is(e, BH_F_dns_rcode, &e->dns_rcode, "NOERROR"))
                        set_add(&c->found, z->zone, n);
                return FALSE;
        }
        if (!set_add(&c->missing, z->zone, n))
                return FALSE;
        const char *dot = strchr(z->zone, '.');
        gsize label = dot ? (gsize) (dot - z->zone) : n;
        if (label >= 8 && bh_dns_label_random(z->zone, label))
                set_add(&c->random, z->zone, n);
        return generated(c, now_ns, e->dns_question.p, e->dns_question.len, out);
}

gboolean bh_dns_signs_event(BhDnsSigns *s, const struct bh_event *e, BhDnsSign *out) {
        char zone[BH_DOMAIN_MAX + 1], container[65];
        gint64 now_ns = (gint64) (bh_event_has(e, BH_F_boottime) ? e->boottime : e->time);

        if (e->type != BH_EV_DNS || !bh_event_has(e, BH_F_container_id) || !bh_event_has(e, BH_F_dns_question) || !bh_event_has(e, BH_F_dns_type) || e->container_id.len >= sizeof(container))
                return FALSE;
        s->stats.messages++;
        bh_domain_of(e->dns_question.p, e->dns_question.len, zone);
        if (!*zone)
                return FALSE;
        memcpy(container, e->container_id.p, e->container_id.len);
        container[e->container_id.len] = '\0';
        Zone *z = zone_of(s, container, zone, now_ns);
        gsize front = e->dns_question.len - MIN(strlen(zone), (gsize) e->dns_question.len);
        gboolean sign;

        begin_windows(z, now_ns);
        z->last_ns = now_ns;
        sign = is(e, BH_F_dns_type, &e->dns_type, "query") ? question(z, e, front, now_ns, out) : answer(s, z, e, now_ns, out);
        s->stats.signs += sign;
        return sign;
}

void bh_dns_signs_stats(const BhDnsSigns *s, BhDnsSignsStats *out) {
        *out = s->stats;
        out->zones = g_hash_table_size(s->zones);
        out->containers = g_hash_table_size(s->containers);
}

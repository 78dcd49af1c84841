/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

#include "web_private.h"

/* ---- classes */

/* MITRE: exploiting a public-facing application; what is more than that by class. `effect`: what works gives the attacker something. */
static const struct {
        const char *class, *name, *technique;
        gboolean effect;
} classes[] = {
        { "rce", "remote command execution", "T1059", TRUE },
        { "sqli", "SQL injection", NULL, TRUE },
        { "lfi", "file access", "T1083", TRUE },
        { "rfi", "remote file inclusion", "T1105", TRUE },
        { "php", "PHP injection", "T1059", TRUE },
        { "java", "Java injection", "T1059.007", TRUE },
        { "nodejs", "Node.js injection", "T1059.007", TRUE },
        { "xss", "cross-site scripting", "T1189", FALSE },
        { "session-fixation", "session fixation", "T1539", FALSE },
        { "multipart", "multipart evasion", NULL, FALSE },
        { "protocol", "protocol violation", NULL, FALSE },
        { "scanner", "scanner", "T1595", FALSE },
        { "method", "method not allowed", NULL, FALSE },
        { "leak", "information leak", NULL, FALSE },
};

static gsize class_of(const char *class) {
        for (gsize i = 0; i < G_N_ELEMENTS(classes); i++)
                if (g_strcmp0(classes[i].class, class) == 0)
                        return i;
        return G_N_ELEMENTS(classes);
}

static gboolean has_effect(const char *class) {
        gsize i = class_of(class);

        return i < G_N_ELEMENTS(classes) && classes[i].effect;
}

const char *bh_web_class_name(const char *class) {
        gsize i = class_of(class);

        return i < G_N_ELEMENTS(classes) ? classes[i].name : "suspicious request";
}

/* ---- requests and exchanges */

/* Who sends it is part of what is equal, of IPv6 the network that a customer has: another one's attack is not hidden behind the first one's. */
char *bh_web_suspect_key(const BhWebRequest *q) {
        g_autofree char *network = g_strdup(q->source);
        guint8 ip[16];

        if (network && strchr(network, ':') && inet_pton(AF_INET6, network, ip) == 1) {
                char text[64];

                memset(ip + 8, 0, 8);
                inet_ntop(AF_INET6, ip, text, sizeof(text));
                g_free(network);
                network = g_strdup(text);
        }
        return g_strdup_printf("web\n%s\n%u\n%s %s\n%s", q->container ? q->container->id : "", q->rule, q->method, q->path, network ? network : "");
}

void bh_web_suspect_free(BhWebSuspect *s) {
        for (guint i = 0; i < s->n_matches; i++) {
                g_free(s->matches[i].message);
                g_free(s->matches[i].matched);
        }
        bh_web_request_unref(s->request);
        g_free(s->agent);
        g_free(s->authority);
        g_free(s->peer);
        g_free(s->key);
        g_free(s->whole);
        g_free(s);
}

void bh_web_end_open(BhWebWatch *w, BhWebConn *c, gint64 end_ns) {
        for (BhWebRequest *r; (r = g_queue_pop_head(&c->open));) {
                /* 0: it is not known when; what is begun later is not due to it */
                bh_web_requests_end(w->requests, r, end_ns ? end_ns : r->begin_ns);
                bh_web_request_unref(r);
        }
}

void bh_web_add_open(BhWebWatch *w, BhWebConn *c, BhWebRequest *r) {
        if (c->open.length >= OPEN_MAX) {
                BhWebRequest *oldest = g_queue_pop_head(&c->open);

                bh_web_requests_end(w->requests, oldest, r->begin_ns);
                bh_web_request_unref(oldest);
        }
        g_queue_push_tail(&c->open, r);
        g_atomic_int_set(&w->busy, 1);
}

/* The request that was begun when its first bytes came, or one that came in the same piece. */
static BhWebRequest *request_of(BhWebWatch *w, BhWebConn *c, const BhWebRecord *r) {
        for (GList *l = c->open.head; l; l = l->next) {
                BhWebRequest *open = l->data;

                if (!open->known && open->begin_ns == r->begin_ns)
                        return open;
        }
        const BhWebReader *by = bh_web_reader_at(c, r->begin_ns);
        BhWebRequest *more = bh_web_requests_begin(w->requests, by->pid, by->tid, by->start, r->begin_ns, NULL);
        if (!more)
                return NULL;
        more->connection = c->serial;
        more->container = c->c ? bh_container_ref(c->c) : NULL;
        bh_web_add_open(w, c, more);
        return more;
}

/* Matches that count for this workload: their number; the score of all of them. */
static guint weigh(const BhWebConn *c, const BhWebRecord *r, const BhWebMatch *counted[BH_WEB_FACT_MATCHES_MAX], guint *score) {
        guint n = 0;

        *score = 0;
        for (guint i = 0; i < r->n_matches; i++) {
                const BhWebMatch *m = &r->matches[i];

                if (m->level > c->plan->level || bh_web_plan_excludes(c->plan, m->rule, r->path))
                        continue;
                *score += m->score;
                counted[n++] = m;
        }
        return n;
}

static void suspect(BhWebWatch *w, BhWebConn *c, const BhWebRecord *r, BhWebRequest *q) {
        const BhWebMatch *counted[BH_WEB_FACT_MATCHES_MAX];
        guint score, n = weigh(c, r, counted, &score);

        if (!n || score < c->plan->threshold)
                return;
        w->n.attacks++;
        c->suspected = TRUE;
        /* what says what an attack is comes before what says that the request is odd */
        const BhWebMatch *first = counted[0];
        for (guint i = 0; i < n; i++) {
                gsize k = class_of(bh_web_class(counted[i]->rule)), best = class_of(bh_web_class(first->rule));

                if (counted[i]->score == first->score && k < best)
                        first = counted[i];
        }
        q->rule = first->rule;
        for (guint i = 0; i < n; i++)
                q->gains |= !bh_web_class_is_odd(bh_web_class(counted[i]->rule));
        q->class = g_strdup(bh_web_class(first->rule));
        if (w->suspects.length + w->ready.length >= BH_WEB_FINDINGS_WAITING) {
                w->n.suspects_refused++;
                return;
        }
        BhWebSuspect *s = g_new0(BhWebSuspect, 1);
        s->request = bh_web_request_ref(q);
        s->score = score;
        s->level = c->plan->level;
        s->agent = g_strdup(r->agent);
        s->authority = g_strdup(r->authority);
        s->peer = g_strdup(c->client);
        s->whole = g_strdup(r->whole);
        s->key = bh_web_suspect_key(q);
        s->due_us = g_get_monotonic_time() + BH_WEB_RESPONSE_US;
        for (guint i = 0; i < n; i++) {
                const BhWebMatch *m = counted[i];

                s->rules[s->n_rules++] = m->rule;
                if (s->n_matches >= MATCHES_KEPT) {
                        s->more++;
                        continue;
                }
                BhWebMatch copy = *m;
                copy.message = g_strdup(m->message);
                copy.matched = g_strdup(m->matched);
                /* the one that names it stands first */
                if (m == first && s->n_matches) {
                        s->matches[s->n_matches++] = s->matches[0];
                        s->matches[0] = copy;
                } else {
                        s->matches[s->n_matches++] = copy;
                }
        }
        q->finding = g_strdup_printf("%s-web-%" G_GINT64_MODIFIER "x-%" G_GINT64_MODIFIER "x-%" G_GINT64_MODIFIER "x", w->node, (guint64) q->begin_ns, q->connection, q->number);
        g_queue_push_tail(&w->suspects, s);
}

static void take_request(BhWebWatch *w, BhWebConn *c, const BhWebRecord *r) {
        w->n.requests++;
        if (*r->wanted)
                w->n.judged++;
        if (!c->server)
                return;
        w->n.served++;
        BhWebRequest *q = request_of(w, c, r);
        if (!q)
                return;
        q->known = TRUE;
        q->number = r->number;
        q->method = g_strdup(r->method);
        q->path = g_strdup(r->path);
        q->target = g_strdup(r->target);
        q->source = bh_web_policy_source(w->c.policy, c->client, r->forwarded);
        suspect(w, c, r, q);
}

static void answered(BhWebWatch *w, const BhWebRequest *q) {
        for (GList *l = w->suspects.head; l; l = l->next) {
                BhWebSuspect *s = l->data;

                if (s->request != q)
                        continue;
                s->answered = TRUE;
                g_queue_delete_link(&w->suspects, l);
                g_queue_push_tail(&w->ready, s);
                return;
        }
}

static void take_exchange(BhWebWatch *w, BhWebConn *c, const BhWebRecord *r) {
        const BhWebReader *by = bh_web_reader_at(c, r->begin_ns);
        BhWebExchangeFact fact = { .container = c->c, .client = !c->server, .method = r->method, .path = r->path, .peer = *r->authority ? r->authority : c->host, .status = r->status,
                                   .request_bytes = r->request_bytes, .response_bytes = r->response_bytes, .begin_ns = r->begin_ns, .end_ns = r->end_ns, .pid = by->pid, .start = by->start,
                                   .params = r->params, .n_params = r->n_params, .params_dropped = r->params_dropped };

        w->n.exchanges++;
        for (GList *l = c->open.head; l; l = l->next) {
                BhWebRequest *q = l->data;

                if (!q->known || q->number != r->number)
                        continue;
                fact.pid = q->pid;
                fact.start = q->start;
                q->status = r->status;
                if (q->rule) /* nobody learns from an attack which parameters there are */
                        fact.n_params = fact.params_dropped = 0;
                bh_web_requests_end(w->requests, q, r->end_ns);
                answered(w, q);
                g_queue_delete_link(&c->open, l);
                bh_web_request_unref(q);
                break;
        }
        if (c->c && r->method && *r->method)
                bh_web_endpoints_add(w->endpoints, &fact, g_get_monotonic_time());
}

void bh_web_take_records(BhWebWatch *w, BhWebConn *c, BhWebFacts *facts) {
        for (guint i = 0; i < facts->n_records; i++)
                if (facts->records[i].exchange)
                        take_exchange(w, c, &facts->records[i]);
                else
                        take_request(w, c, &facts->records[i]);
}

/* ---- findings */

/* What succeeds weighs more than what was refused; what could give the attacker something more than what could not. */
static const char *priority_of(const BhWebRequest *q, gboolean known) {
        gboolean effect = has_effect(q->class), refused = q->status >= 400 && q->status < 500;

        if (!known)
                return effect ? "warning" : "notice";
        if (effect)
                return refused ? "notice" : "error"; /* an error of the server's is often how such an attack shows */
        return refused ? "informational" : q->status < 400 ? "warning" : "notice";
}

static char *status_text(const BhWebRequest *q, gboolean answered) {
        return q->status ? g_strdup_printf("answered %u", q->status) : g_strdup(answered ? "without an answer" : "no answer yet");
}

void bh_web_tell_suspect(BhWebWatch *w, const BhWebSuspect *s, const struct bh_lineage *lineage, gint64 now_us) {
        static const char description[] = "A request that a container served matches rules of the OWASP Core Rule Set. They look at the request alone: whether the attack did anything is told by the answer, and by "
                                          "what the process did while it served it.";
        static const char advice[] = "Look at the matched part and at what followed. If the request is one that this service is meant to take, exclude the rule for its path (docs/web.md).";
        const BhWebRequest *q = s->request;
        gsize k = class_of(q->class);
        g_autofree char *status = status_text(q, s->answered), *rule = g_strdup_printf("Web attack: %s", bh_web_class_name(q->class));
        g_autofree char *output = g_strdup_printf("%s from %s: %s %s, %s; rule %u (%s): %s", bh_web_class_name(q->class), q->source, q->method, q->target, status, q->rule, s->matches[0].message,
                                                  s->matches[0].matched);
        g_autofree char *coarse = g_strdup_printf("web\n%s\n%s", q->container ? q->container->id : "", q->class), *class_tag = g_strdup_printf("web_%s", q->class);
        const char *tags[] = { "web", class_tag, "mitre_initial_access", "T1190", k < G_N_ELEMENTS(classes) ? classes[k].technique : NULL, NULL };
        g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func(g_free), rules = g_ptr_array_new_with_free_func(g_free);
        BhNetAlert a = {
                .id = q->finding,
                .key = s->key,
                .coarse = coarse,
                .kind = "web",
                .source = "web",
                .rule = rule,
                .priority = priority_of(q, s->answered && q->status),
                .output = output,
                .description = description,
                .advice = advice,
                .tags = tags,
                .time_ns = bh_web_epoch_ns(q->begin_ns),
                .pid = q->pid,
                .start = bh_start_shown(q->start) + w->c.clock_start,
                .container = q->container,
        };

        for (guint i = 0; i < s->n_matches; i++)
                g_ptr_array_add(all, g_strdup_printf("%u %s (level %u, score %u): %s: %s", s->matches[i].rule, bh_web_class(s->matches[i].rule), s->matches[i].level, s->matches[i].score,
                                                     s->matches[i].message, s->matches[i].matched));
        g_ptr_array_add(all, NULL);
        bh_net_alert_number(&a, "web.rule", q->rule);
        bh_net_alert_text(&a, "web.class", q->class);
        bh_net_alert_text(&a, "web.message", s->matches[0].message);
        bh_net_alert_text(&a, "web.matched", s->matches[0].matched);
        bh_net_alert_number(&a, "web.score", s->score);
        bh_net_alert_number(&a, "web.level", s->level);
        bh_net_alert_text(&a, "web.method", q->method);
        bh_net_alert_text(&a, "web.path", q->path);
        bh_net_alert_text(&a, "web.target", q->target);
        bh_net_alert_text(&a, "web.host", s->authority);
        bh_net_alert_text(&a, "web.agent", s->agent);
        bh_net_alert_text(&a, "web.source", q->source);
        bh_net_alert_text(&a, "web.peer", s->peer);
        if (q->status)
                bh_net_alert_number(&a, "web.status", q->status);
        if (q->end_ns > q->begin_ns && q->status)
                bh_net_alert_number(&a, "web.duration_us", (q->end_ns - q->begin_ns) / 1000);
        bh_net_alert_number(&a, "proc.pid", q->pid);
        for (guint i = 0; i < s->n_rules; i++)
                g_ptr_array_add(rules, g_strdup_printf("%u", s->rules[i]));
        g_ptr_array_add(rules, NULL);
        bh_net_alert_list(&a, "web.rules", (const char *const *) rules->pdata);
        if (s->n_matches > 1)
                bh_net_alert_list(&a, "web.matches", (const char *const *) all->pdata);
        if (s->more)
                bh_net_alert_number(&a, "web.matches_more", s->more);
        bh_net_alerts_add(w->alerts, &a, lineage, now_us);
        /* of equal ones the first */
        if (w->c.keep && s->whole && *s->whole && g_strcmp0(bh_net_alerts_id(w->alerts, s->key), q->finding) == 0) {
                const BhWebKept kept = { q->container, q->finding, rule, a.priority, q->target, s->whole, a.time_ns, q->pid, (gint64) a.start };

                w->c.keep(&kept, w->c.data);
        }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Events and web requests: which requests an act may be due to, and what of that is worth a finding. The drain thread. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "parse/web_trace.h"
#include "web_private.h"

#define SWEEP_NS G_GINT64_CONSTANT(1000000000)
#define FACTS_AT_ONCE 64u
#define LOOK_BYTES (64u << 10) /* of requests that are looked through for a file that is opened */

struct BhWebTicket {
        BhWebWatch *w;
        guint32 pid, tid;
        gint64 ns;
        gboolean exits;     /* the process ends: what is known of it goes when the event does */
        gboolean resolved;  /* `cause` is what there is */
        gboolean waits;     /* for the inspector to tell of the requests */
        char *segment;      /* of the path that is opened */
        BhWebCause *cause;
        GString *requests;  /* NUL-terminated texts */
        char *method, *path, *source, *rule, *basis, *finding;
};

static void ticket_clear(BhWebTicket *t) {
        if (t->cause) { /* references are counted under the lock */
                g_mutex_lock(&t->w->lock);
                bh_web_cause_free(t->cause);
                g_mutex_unlock(&t->w->lock);
        }
        g_free(t->segment);
        if (t->requests)
                g_string_free(t->requests, TRUE);
        g_free(t->method);
        g_free(t->path);
        g_free(t->source);
        g_free(t->rule);
        g_free(t->basis);
        g_free(t->finding);
}

void bh_web_ticket_free(BhWebTicket *t) {
        if (!t)
                return;
        ticket_clear(t);
        g_free(t);
}

/*
 * What of a path a request must have, all of it: its last segment, or when that is short the last two. What comes before is common to many paths.
 * Empty: too short to prove anything.
 */
static struct bh_str last_part(struct bh_str path) {
        guint32 at = path.len;

        for (guint i = 0; i < 2 && path.len - at < BH_WEB_TRACE_LEAST; i++) {
                while (at > 0 && path.p[at - 1] == '/')
                        at--;
                while (at > 0 && path.p[at - 1] != '/')
                        at--;
        }
        return path.len - at < BH_WEB_TRACE_LEAST ? (struct bh_str){ "", 0 } : (struct bh_str){ path.p + at, path.len - at };
}

/* ---- which events */

static gboolean writes(const struct bh_event *e) {
        return bh_event_has(e, BH_F_open_flags) && (e->open_flags & O_ACCMODE || e->open_flags & (O_CREAT | O_TRUNC));
}

/* Acts that are given requests. Reading files is given too: that is what a traversal comes to. */
static gboolean is_act(const struct bh_event *e) {
        switch (e->type) {
        case BH_EV_EXEC:
        case BH_EV_CONNECT:
        case BH_EV_BIND:
        case BH_EV_LISTEN:
        case BH_EV_OPEN:
        case BH_EV_CLOSE_WRITE:
        case BH_EV_RENAME:
        case BH_EV_LINK:
        case BH_EV_SYMLINK:
        case BH_EV_UNLINK:
        case BH_EV_CHMOD:
        case BH_EV_CREDS:
        case BH_EV_SETNS:
        case BH_EV_UNSHARE:
        case BH_EV_PTRACE:
        case BH_EV_MEMFD_CREATE:
        case BH_EV_DUP_STDIO:
        case BH_EV_DNS:
        case BH_EV_SEND:
                return TRUE;
        default:
                return FALSE;
        }
}

/* Those that are worth waiting for the inspector. */
static gboolean is_grave(const struct bh_event *e) {
        return e->type == BH_EV_EXEC || e->type == BH_EV_CONNECT || e->type == BH_EV_CLOSE_WRITE || e->type == BH_EV_DUP_STDIO || e->type == BH_EV_LISTEN;
}

static gboolean is_told(const BhWebWatch *w, gint64 ns) {
        return !w->c.told_ns || w->c.told_ns(w->c.data) >= ns;
}

/* Under the lock. Of what reads a file, what is worth waiting for is a file that a request names. */
static void resolve(BhWebWatch *w, BhWebTicket *t) {
        gsize bytes = 0;

        t->resolved = TRUE;
        t->cause = bh_web_requests_cause(w->requests, t->pid, t->tid, t->ns);
        guint mine = t->cause ? t->cause->requests->len : 0, all = t->cause ? mine + t->cause->others->len : 0;
        for (guint i = 0; t->segment && i < all && !t->waits; i++) {
                const BhWebRequest *r = i < mine ? t->cause->requests->pdata[i] : t->cause->others->pdata[i - mine];

                if (!r->bytes || (bytes += r->bytes->len) > LOOK_BYTES)
                        continue;
                t->waits = bh_web_requests_common(w->requests, r, t->segment, strlen(t->segment)) == strlen(t->segment);
        }
}

static BhWebTicket *ticket_new(BhWebWatch *w, const struct bh_event *e) {
        BhWebTicket *t = g_new0(BhWebTicket, 1);

        t->w = w;
        t->pid = e->pid;
        t->tid = bh_event_has(e, BH_F_tid) ? e->tid : e->pid;
        t->ns = (gint64) e->boottime;
        t->waits = is_grave(e);
        if (e->type == BH_EV_OPEN && bh_event_has(e, BH_F_path)) {
                struct bh_str part = last_part(e->path);

                t->segment = part.len ? g_strndup(part.p, part.len) : NULL;
        }
        return t;
}

BhWebTicket *bh_web_watch_event(BhWebWatch *w, const struct bh_event *e) {
        gboolean life = e->type == BH_EV_FORK || e->type == BH_EV_EXIT || e->type == BH_EV_ACCEPT;
        BhWebTicket *t = NULL;
        gboolean hurry = FALSE;

        /* as long as nothing is served there is nothing to look for; but children are remembered from the start */
        if (!bh_event_has(e, BH_F_pid) || !bh_event_has(e, BH_F_boottime) || (!life && (!g_atomic_int_get(&w->busy) || !is_act(e))))
                return NULL;
        g_mutex_lock(&w->lock);
        if (e->type == BH_EV_FORK) {
                if (bh_event_has(e, BH_F_child_pid))
                        bh_web_requests_fork(w->requests, e->pid, bh_event_has(e, BH_F_tid) ? e->tid : e->pid, e->child_pid, (gint64) e->boottime);
        } else if (e->type == BH_EV_ACCEPT) {
                bh_web_requests_accepts(w->requests, e->pid, (gint64) e->boottime);
                g_atomic_int_set(&w->busy, 1);
        } else if (e->type == BH_EV_EXIT) {
                /* acts of it may still wait: it goes after them */
                t = ticket_new(w, e);
                t->exits = TRUE;
        } else if (bh_web_requests_related(w->requests, e->pid)) {
                t = ticket_new(w, e);
                if (is_told(w, t->ns))
                        resolve(w, t);
                else
                        hurry = TRUE;
                if (t->resolved && !t->cause)
                        g_clear_pointer(&t, bh_web_ticket_free);
        }
        g_mutex_unlock(&w->lock);
        if (hurry && w->c.hurry)
                w->c.hurry(w->c.data);
        return t;
}

gboolean bh_web_watch_ready(BhWebWatch *w, BhWebTicket *t) {
        gboolean ready = TRUE;

        if (t->exits || (t->resolved && (!t->waits || !t->cause)))
                return TRUE;
        if (!t->resolved && !is_told(w, t->ns))
                return FALSE;
        g_mutex_lock(&w->lock);
        if (!t->resolved)
                resolve(w, t);
        /* one whose response has ended will not be told of any more: its stream broke */
        for (guint i = 0; t->cause && t->waits && i < t->cause->requests->len && ready; i++) {
                const BhWebRequest *r = t->cause->requests->pdata[i];

                ready = r->known || r->end_ns || t->ns - r->begin_ns > BH_WEB_YOUNG_NS;
        }
        g_mutex_unlock(&w->lock);
        return ready;
}

/* ---- what the act has in it */

#define TEXTS_MAX 8u

typedef struct {
        BhWebText of[TEXTS_MAX];
        guint n;
        char peer[80], ip[64], args[BH_WEB_TRACE_TEXT_MAX];
        struct bh_str domain;
} Texts;

static void add_text(Texts *t, struct bh_str s) {
        if (s.len && t->n < TEXTS_MAX)
                t->of[t->n++] = (BhWebText){ s, FALSE };
}

/* What the request must have all of. */
static void add_whole(Texts *t, struct bh_str s) {
        if (t->n < TEXTS_MAX)
                t->of[t->n++] = (BhWebText){ s, TRUE };
}

static void add_path(Texts *t, struct bh_str path) {
        struct bh_str part = last_part(path);

        if (part.len)
                add_whole(t, part);
}

static void texts_of(Texts *t, const struct bh_event *e, const struct bh_lineage *lineage) {
        memset(t, 0, sizeof(*t));
        if (e->type == BH_EV_EXEC && bh_event_has(e, BH_F_args)) {
                guint32 n = MIN(e->args.len, (guint32) sizeof(t->args));

                /* as a shell's line has them */
                for (guint32 i = 0; i < n; i++)
                        t->args[i] = e->args.p[i] ? e->args.p[i] : ' ';
                add_text(t, (struct bh_str){ t->args, n });
        }
        if (bh_event_has(e, BH_F_path))
                add_path(t, e->path);
        if (bh_event_has(e, BH_F_path2))
                add_path(t, e->path2);
        if (bh_event_has(e, BH_F_dns_question))
                add_text(t, e->dns_question);
        if (bh_event_has(e, BH_F_raddr) && inet_ntop(e->raddr.len == 4 ? AF_INET : AF_INET6, e->raddr.b, t->ip, sizeof(t->ip))) {
                g_snprintf(t->peer, sizeof(t->peer), "%s:%u", t->ip, e->rport);
                add_text(t, (struct bh_str){ t->peer, (guint32) strlen(t->peer) });
                if (lineage && lineage->domain && lineage->domain(lineage->data, &e->raddr, &t->domain))
                        add_text(t, t->domain);
        }
}

/* ---- findings of acts */

/*
 * What is due to an attack only if a part of the request is in it; a program that is run is told without, too. Of a request that is merely odd (a host by its number, a scanner's name), only a program that
 * is run with a part of it: whoever uploads a file through such a request has it written, too. `q` NULL: not known yet what it is.
 */
static gboolean worth_telling(const struct bh_event *e, BhWebBasis basis, const BhWebRequest *q) {
        if (bh_event_has(e, BH_F_ret) && e->ret < 0 && e->type != BH_EV_CONNECT)
                return FALSE;
        if (q && !q->gains)
                return e->type == BH_EV_EXEC && basis == BH_WEB_BASIS_BYTES;
        switch (e->type) {
        case BH_EV_EXEC:
                return TRUE;
        case BH_EV_CONNECT:
        case BH_EV_OPEN:
        case BH_EV_CLOSE_WRITE:
        case BH_EV_RENAME:
        case BH_EV_DNS:
                return basis == BH_WEB_BASIS_BYTES;
        default:
                return FALSE;
        }
}

static char *act_text(const struct bh_event *e, const Texts *t) {
        g_autoptr(GString) s = g_string_new(NULL);

        switch (e->type) {
        case BH_EV_EXEC:
                g_string_append(s, "ran ");
                for (guint32 i = 0; bh_event_has(e, BH_F_args) && i < e->args.len && i < 512; i++)
                        g_string_append_c(s, e->args.p[i] ? e->args.p[i] : ' ');
                if (!bh_event_has(e, BH_F_args) && bh_event_has(e, BH_F_exe))
                        g_string_append_len(s, e->exe.p, e->exe.len);
                break;
        case BH_EV_CONNECT:
                g_string_append_printf(s, "connected to %s", t->peer);
                if (t->domain.len)
                        g_string_append_printf(s, " (%.*s)", (int) t->domain.len, t->domain.p);
                break;
        case BH_EV_DNS:
                g_string_append_printf(s, "asked for the name %.*s", (int) e->dns_question.len, e->dns_question.p);
                break;
        default:
                g_string_append(s, e->type == BH_EV_OPEN ? (writes(e) ? "opened for writing " : "opened ") : e->type == BH_EV_RENAME ? "renamed " : "wrote ");
                if (bh_event_has(e, BH_F_path))
                        g_string_append_len(s, e->path.p, MIN(e->path.len, 512u));
        }
        return g_utf8_make_valid(g_strchomp(s->str), -1);
}

static const char *act_priority(BhWebBasis basis, gboolean inherited) {
        if (basis == BH_WEB_BASIS_BYTES)
                return "critical";
        return basis == BH_WEB_BASIS_OTHER ? "warning" : inherited ? "error" : "error";
}

static void tell_act(BhWebWatch *w, const BhWebTicket *t, const BhWebRequest *q, const struct bh_event *e, const Texts *texts, const struct bh_lineage *lineage) {
        static const char description[] = "A process did this while it served a request that is an attack, or one of its children did that was created meanwhile. The basis says how sure it is that the one is due to the "
                                          "other.";
        static const char advice[] = "Treat the container as taken over if the basis is bytes of the request: keep it as evidence, isolate it, and look at what followed.";
        const char *tags[] = { "web", "mitre_execution", "T1190", e->type == BH_EV_EXEC ? "T1059" : NULL, NULL };
        g_autofree char *act = act_text(e, texts), *id = g_strdup_printf("%s-act-%" G_GUINT64_FORMAT "-%" G_GINT64_MODIFIER "x", w->node, bh_event_has(e, BH_F_boottime) ? e->boottime : 0, q->begin_ns);
        g_autofree char *output = g_strdup_printf("%s after %s %s from %s (%s): %s", act, q->method, q->target, q->source, bh_web_class_name(q->class), t->basis);
        g_autofree char *object = g_strndup(texts->n && e->type != BH_EV_EXEC ? texts->of[0].text.p : "", texts->n && e->type != BH_EV_EXEC ? texts->of[0].text.len : 0);
        g_autofree char *exe = bh_event_has(e, BH_F_exe) ? g_strndup(e->exe.p, e->exe.len) : g_strdup("");
        g_autofree char *key = g_strdup_printf("act\n%s\n%u\n%s %s\n%u\n%s\n%s", q->container ? q->container->id : "", q->rule, q->method, q->path, e->type, exe, object);
        g_autofree char *coarse = g_strdup_printf("act\n%s\n%u", q->container ? q->container->id : "", e->type);
        g_autofree char *web_key = bh_web_suspect_key(q);
        const char *finding = bh_net_alerts_id(w->alerts, web_key);
        BhNetAlert a = {
                .id = id,
                .key = key,
                .coarse = coarse,
                .kind = "web",
                .source = "web",
                .rule = e->type == BH_EV_EXEC ? "Program run by a web attack" : e->type == BH_EV_CONNECT || e->type == BH_EV_DNS ? "Connection made by a web attack" : "File reached by a web attack",
                .priority = act_priority(t->cause->basis, t->cause->inherited),
                .output = output,
                .description = description,
                .advice = advice,
                .tags = tags,
                .time_ns = bh_event_has(e, BH_F_time) ? (gint64) e->time : bh_web_epoch_ns((gint64) e->boottime),
                .pid = e->pid,
                .start = bh_event_has(e, BH_F_proc_start) ? e->proc_start : 0,
                .container = q->container,
        };

        bh_net_alert_text(&a, "web.act", act);
        bh_net_alert_text(&a, "web.act_type", bh_event_type_name(e->type));
        bh_net_alert_text(&a, "web.basis", bh_web_basis_name(t->cause->basis));
        bh_net_alert_number(&a, "web.candidates", t->cause->requests->len + t->cause->more);
        bh_net_alert_text(&a, "web.finding", finding ? finding : q->finding);
        bh_net_alert_number(&a, "web.rule", q->rule);
        bh_net_alert_text(&a, "web.class", q->class);
        bh_net_alert_text(&a, "web.method", q->method);
        bh_net_alert_text(&a, "web.path", q->path);
        bh_net_alert_text(&a, "web.target", q->target);
        bh_net_alert_text(&a, "web.source", q->source);
        bh_net_alert_text(&a, "proc.exe", exe);
        bh_net_alert_number(&a, "proc.pid", e->pid);
        bh_net_alert_number(&a, "evt.id", bh_event_has(e, BH_F_id) ? (gint64) e->id : 0);

        g_auto(GStrv) list = g_new0(char *, BH_NET_ALERTS_LIST_MAX + 1);
        guint n = 0;
        for (gsize i = 0; t->requests && i < t->requests->len && n < BH_NET_ALERTS_LIST_MAX; i += strlen(t->requests->str + i) + 1)
                list[n++] = g_strdup(t->requests->str + i);
        if (n > 1)
                bh_net_alert_list(&a, "web.requests", (const char *const *) list);
        bh_net_alerts_add(w->alerts, &a, lineage, g_get_monotonic_time());
}

/* ---- acts that went on before their request was told of */

typedef struct {
        struct bh_event *event;
        guint32 pid, tid;
        gint64 ns;
        BhWebCause *cause; /* NULL: what was served is not known yet either */
        gint64 until_us;
} Late;

/* Under the lock. */
static void look_again(BhWebWatch *w, const BhWebTicket *t, const struct bh_event *e, gboolean caused) {
        if (w->late.length >= BH_WEB_LATE_MAX) {
                w->late_refused++;
                return;
        }
        Late *l = g_new(Late, 1);
        *l = (Late){ bh_event_copy(e), t->pid, t->tid, t->ns, caused ? bh_web_cause_copy(t->cause) : NULL, g_get_monotonic_time() + BH_WEB_LATE_US };
        g_queue_push_tail(&w->late, l);
}

static BhWebRequest *describe(BhWebTicket *t);

void bh_web_tell_late(BhWebWatch *w, const struct bh_lineage *lineage, gint64 now_us, gboolean all) {
        for (GList *at = w->late.head, *next; at; at = next) {
                Late *l = at->data;
                BhWebTicket t = { .w = w };
                BhWebRequest *attack;
                gboolean known;
                Texts texts;

                next = at->next;
                if (!l->cause && !all && now_us < l->until_us && !is_told(w, l->ns))
                        continue;
                texts_of(&texts, l->event, lineage);
                g_mutex_lock(&w->lock);
                if (!l->cause && is_told(w, l->ns)) {
                        l->cause = bh_web_requests_cause(w->requests, l->pid, l->tid, l->ns);
                        if (l->cause)
                                bh_web_requests_narrow(w->requests, l->cause, l->pid, texts.of, texts.n);
                        if (!l->cause || !worth_telling(l->event, l->cause->basis, NULL))
                                l->until_us = 0; /* nothing comes of it */
                }
                known = l->cause && l->until_us;
                t.cause = l->cause;
                for (guint i = 0; known && i < l->cause->requests->len; i++)
                        known &= ((BhWebRequest *) l->cause->requests->pdata[i])->known;
                attack = known ? describe(&t) : NULL;
                if (attack && !worth_telling(l->event, l->cause->basis, attack))
                        attack = NULL;
                if (attack) {
                        gboolean tell = attack->acts++ < BH_WEB_ACTS_MAX;

                        w->n.acts += tell;
                        w->n.acts_refused += !tell;
                        attack = tell ? attack : NULL;
                }
                g_mutex_unlock(&w->lock);
                if (attack)
                        tell_act(w, &t, attack, l->event, &texts, lineage);
                t.cause = NULL;
                ticket_clear(&t);
                if (!known && !all && now_us < l->until_us)
                        continue;
                g_mutex_lock(&w->lock);
                g_clear_pointer(&l->cause, bh_web_cause_free);
                g_mutex_unlock(&w->lock);
                g_free(l->event);
                g_free(l);
                g_queue_delete_link(&w->late, at);
        }
}

/* ---- an event goes on */

static void set_fields(BhWebTicket *t, struct bh_event *e) {
        if (t->requests->len)
                BH_SET(e, web_requests, ((struct bh_str){ t->requests->str, (guint32) t->requests->len }));
        BH_SET_STR(e, web_method, t->method);
        BH_SET_STR(e, web_path, t->path);
        BH_SET_STR(e, web_source, t->source);
        BH_SET_STR(e, web_rule, t->rule);
        BH_SET_STR(e, web_basis, t->basis);
        BH_SET_STR(e, web_finding, t->finding);
        BH_SET(e, web_candidates, t->cause->requests->len + t->cause->more);
}

/* Under the lock: the texts of the event's fields. The attack, when there is one; it is what people want to see of several. */
static BhWebRequest *describe(BhWebTicket *t) {
        BhWebRequest *attack = NULL, *shown;

        t->requests = g_string_new(NULL);
        for (guint i = 0; i < t->cause->requests->len; i++) {
                BhWebRequest *r = t->cause->requests->pdata[i];

                if (r->known)
                        g_string_append_printf(t->requests, "%s %s from %s", r->method, r->target, r->source);
                else
                        g_string_append(t->requests, "a request of which the inspector has not told");
                if (r->rule)
                        g_string_append_printf(t->requests, " (rule %u, %s)", r->rule, r->class);
                g_string_append_c(t->requests, '\0');
                if (r->rule && (!attack || (r->gains && !attack->gains)))
                        attack = r;
        }
        shown = attack ? attack : t->cause->requests->pdata[0];
        guint n = t->cause->requests->len + t->cause->more;
        t->basis = n > 1 ? g_strdup_printf("one of %u requests open", n) : g_strdup(bh_web_basis_name(t->cause->basis));
        if (n == 1 || attack) {
                t->method = g_strdup(shown->method);
                t->path = g_strdup(shown->path);
                t->source = g_strdup(shown->source);
        }
        if (attack) {
                t->rule = g_strdup_printf("%u %s", attack->rule, attack->class);
                t->finding = g_strdup(attack->finding);
        }
        return attack;
}

void bh_web_watch_finish(BhWebWatch *w, BhWebTicket *t, struct bh_event *e, const struct bh_lineage *lineage) {
        BhWebRequest *attack;
        gboolean again = FALSE;
        Texts texts;

        if (t->exits) {
                g_mutex_lock(&w->lock);
                bh_web_requests_exit(w->requests, t->pid, t->ns);
                g_mutex_unlock(&w->lock);
                return;
        }
        texts_of(&texts, e, lineage);
        g_mutex_lock(&w->lock);
        if (!t->resolved) {
                w->n.waited_in_vain++;
                resolve(w, t);
                /* requests of before it may still come */
                if (worth_telling(e, BH_WEB_BASIS_BYTES, NULL)) {
                        look_again(w, t, e, FALSE);
                        again = TRUE;
                }
        }
        if (t->cause && t->cause->inherited) {
                /* what came before it may have told more of its parent since */
                bh_web_cause_free(t->cause);
                t->cause = bh_web_requests_cause(w->requests, t->pid, t->tid, t->ns);
        }
        if (!t->cause) {
                g_mutex_unlock(&w->lock);
                return;
        }
        bh_web_requests_narrow(w->requests, t->cause, e->pid, texts.of, texts.n);
        attack = describe(t);
        w->n.joined++;
        gboolean open = FALSE;
        for (guint i = 0; i < t->cause->requests->len; i++)
                open |= !((BhWebRequest *) t->cause->requests->pdata[i])->known;
        w->n.waited_in_vain += open && t->waits;
        if (open && !(attack && attack->gains) && !again && worth_telling(e, t->cause->basis, NULL))
                look_again(w, t, e, TRUE);
        gboolean tell = attack && !again && attack->known && worth_telling(e, t->cause->basis, attack);
        if (tell && attack->acts++ >= BH_WEB_ACTS_MAX) {
                w->n.acts_refused++;
                tell = FALSE;
        }
        w->n.acts += tell;
        g_mutex_unlock(&w->lock);
        set_fields(t, e);
        /* its texts do not change any more, and the ticket has a reference */
        if (tell)
                tell_act(w, t, attack, e, &texts, lineage);
}

/* ---- rounds */

typedef struct {
        BhWebWatch *w;
        const struct bh_lineage *lineage;
} Telling;

static void observe(const BhWebEndpoint *endpoint, gpointer data) {
        const Telling *t = data;
        const struct bh_lineage *l = t->lineage;
        struct bh_lineage_process p;
        gboolean known = l && endpoint->pid && l->find(l->data, endpoint->pid, bh_start_shown(endpoint->start) + t->w->c.clock_start, &p);

        t->w->c.observe(endpoint, known ? p.exe : (struct bh_str){ "", 0 }, t->w->c.data);
}

void bh_web_watch_round(BhWebWatch *w, const struct bh_lineage *lineage, gint64 now_us) {
        GQueue ready = G_QUEUE_INIT;
        Telling telling = { w, lineage };
        struct timespec now;
        gint64 now_ns;

        clock_gettime(CLOCK_BOOTTIME, &now);
        now_ns = (gint64) now.tv_sec * 1000000000 + now.tv_nsec;
        g_mutex_lock(&w->lock);
        while (w->suspects.head && ((BhWebSuspect *) w->suspects.head->data)->due_us <= now_us)
                g_queue_push_tail(&w->ready, g_queue_pop_head(&w->suspects));
        ready = w->ready;
        g_queue_init(&w->ready);
        if (now_ns - w->swept_ns >= SWEEP_NS) {
                BhWebRequestsStats stats;

                w->swept_ns = now_ns;
                bh_web_requests_sweep(w->requests, now_ns);
                bh_web_requests_stats(w->requests, &stats);
                if (!stats.workers)
                        g_atomic_int_set(&w->busy, 0);
                if (w->c.observe)
                        bh_web_endpoints_take(w->endpoints, FALSE, now_us, FACTS_AT_ONCE, observe, &telling);
        }
        g_mutex_unlock(&w->lock);
        for (BhWebSuspect *s; (s = g_queue_pop_head(&ready));) {
                bh_web_tell_suspect(w, s, lineage, g_get_monotonic_time());
                g_mutex_lock(&w->lock);
                bh_web_suspect_free(s);
                g_mutex_unlock(&w->lock);
        }
        bh_web_tell_late(w, lineage, g_get_monotonic_time(), FALSE);
        bh_net_alerts_round(w->alerts, g_get_monotonic_time());
}

/* ---- status */

static json_t *number(guint64 n) {
        return json_integer((json_int_t) n);
}

json_t *bh_web_watch_status(BhWebWatch *w) {
        BhInspectStats s;
        BhWebRequestsStats r;
        BhWebEndpointsStats e;
        BhNetAlertsStats f;
        json_t *o = json_object(), *lost = json_object(), *join = json_object();

        bh_inspect_client_stats(w->client, &s);
        bh_net_alerts_stats(w->alerts, &f);
        g_autofree char *problem = g_utf8_make_valid(s.problem, -1);
        json_object_set_new(o, "state", json_string(s.ready ? "ready" : "not ready"));
        json_object_set_new(o, "problem", json_string(problem));
        json_object_set_new(o, "pid", number((guint64) s.pid));
        json_object_set_new(o, "layers", number(s.layers));
        json_object_set_new(o, "starts", number(s.starts));
        json_object_set_new(o, "start_failures", number(s.start_failures));
        g_mutex_lock(&w->lock);
        bh_web_requests_stats(w->requests, &r);
        bh_web_endpoints_stats(w->endpoints, &e);
        json_object_set_new(o, "connections", number(w->n.connections));
        json_object_set_new(o, "connections_open", number(g_hash_table_size(w->conns)));
        json_object_set_new(o, "pieces", number(w->n.pieces));
        json_object_set_new(o, "waiting", number(w->waiting));
        json_object_set_new(o, "requests", number(w->n.requests));
        json_object_set_new(o, "served", number(w->n.served));
        json_object_set_new(o, "exchanges", number(w->n.exchanges));
        json_object_set_new(o, "judged", number(w->n.judged));
        json_object_set_new(o, "attacks", number(w->n.attacks));
        json_object_set_new(o, "skipped", json_pack("{s:o, s:o}", "requests", number(w->n.skipped_requests), "pieces", number(w->n.skipped_pieces)));
        for (guint i = 0; i < BH_INSPECT_LOST_REASONS; i++)
                json_object_set_new(lost, bh_inspect_lost_name(i), number(w->n.lost[i]));
        json_object_set_new(lost, "refused", number(w->n.refused));
        json_object_set_new(lost, "beyond_share", number(w->n.beyond_share));
        json_object_set_new(lost, "malformed", number(w->n.malformed));
        json_object_set_new(lost, "forgotten", number(w->n.unknown));
        json_object_set_new(lost, "without_begin", number(w->n.unbegun));
        json_object_set_new(lost, "records", number(w->n.records_dropped));
        json_object_set_new(lost, "findings", number(w->n.suspects_refused));
        json_object_set_new(o, "lost", lost);
        json_object_set_new(o, "findings", json_pack("{s:o, s:o, s:o, s:o, s:o}", "found", number(f.found), "told", number(f.told), "repeated", number(f.repeated), "coarse", number(f.coarse), "refused",
                                                      number(f.refused)));
        json_object_set_new(o, "partial", number(w->n.partial));
        json_object_set_new(o, "gaps", number(w->n.gaps));
        json_object_set_new(o, "given_up", json_pack("{s:o, s:o, s:o, s:o, s:o}", "inspector_died", number(w->n.banned), "too_many", number(w->n.evicted), "tunnel", number(w->n.ended_early[0]),
                                                      "other_protocol", number(w->n.ended_early[1]), "broken", number(w->n.ended_early[2])));
        json_object_set_new(o, "switched_off", number(w->n.off));
        json_object_set_new(o, "tls_closed", number(w->n.tls_closed));
        json_object_set_new(join, "events", number(w->n.joined));
        json_object_set_new(join, "acts", number(w->n.acts));
        json_object_set_new(join, "acts_not_told", number(w->n.acts_refused));
        json_object_set_new(join, "waited_in_vain", number(w->n.waited_in_vain));
        json_object_set_new(join, "not_looked_at_again", number(w->late_refused));
        json_object_set_new(join, "open_requests", number(r.requests));
        json_object_set_new(join, "workers", number(r.workers));
        json_object_set_new(join, "refused", number(r.refused + r.forgotten));
        json_object_set_new(join, "without_bytes", number(r.bytes_refused));
        json_object_set_new(join, "not_compared", number(r.not_looked));
        json_object_set_new(join, "forks_forgotten", number(r.forks_forgotten));
        json_object_set_new(join, "causes_not_kept", number(r.causes_refused));
        json_object_set_new(o, "join", join);
        json_object_set_new(o, "endpoints", json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "known", number(e.endpoints), "counted", number(e.counted), "told", number(e.told), "beyond_bounds", number(e.rest),
                                                      "refused", number(e.refused), "parameters", number(e.params), "parameters_beyond_bounds", number(e.params_rest)));
        g_mutex_unlock(&w->lock);
        return o;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-services: a recording of containers through the sensor's observing (src/sensor/observe.h) and the models (src/model), as the platform does it live, as fast as it goes.
 *
 *     bench-services CAPTURE TABLE
 *
 * CAPTURE: what `bulkhead record` wrote. TABLE: lines of tab-separated texts, in order of time, the first of which is the time in ns since the epoch:
 *
 *     T container ID NAME WORKLOAD ADDRESS    it runs from here on (again, when the id was there before)
 *     T gone ID                               it was removed
 *     T lock                                  a person locks all models as they are
 *
 * Nothing else is told to it, so that nothing of attacks can leak into what is learned. Each second of the recording observations are taken and judged, running time is counted, and
 * what waits for other replicas is decided. Peers, which live come from the connection map, are made here from connections begun and taken and datagrams sent, by the table's addresses. No rule is run,
 * so that what is told is the models' alone.
 *
 * Beside them, of the same events: "names", a list of executables for each workload; "sets", exact sets of (executable, parent), (executable, file), (executable, peer, port). Both learn up to
 * the lock and tell each new thing once.
 *
 * Prints JSON lines: what each told ("kept": what the models found new and did not tell), and at last what there was in total. Exit 1 with a sentence for what cannot be read.
 */
#include <arpa/inet.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "event/codec.h"
#include "model/model.h"
#include "model/observed.h"
#include "observe.h"
#include "recorder/capture.h"

#define SECOND_NS G_GINT64_CONSTANT(1000000000)
#define TAKE 4096u

typedef struct {
        char *id, *name, *workload, *digest;
        gint64 started_ns;
        gboolean running, counted;
        guint32 replica;
} Box;

typedef struct {
        gint64 t;
        char **f;
} Row;

typedef struct {
        GArray *rows;
        guint at;
        GHashTable *boxes, *addresses; /* Box by id; workload by address */
        GHashTable *models;            /* BhModel by application/workload */
        GHashTable *drifted;           /* when there was drift last, by BhModel */
        GHashTable *names, *sets;      /* what the comparators know */
        BhObserve *observe;
        BhModelScale scale;
        guint32 seen;
        gboolean locked;
        gint64 now_ns;
        double hours_learned, hours_locked;
        guint64 events, acts, undecodable;
        double judging_s;
} Replay;

static G_NORETURN void refuse(const char *what, const char *why) {
        fprintf(stderr, "bench-services: %s: %s\n", what, why);
        exit(1);
}

static double cpu(void) {
        struct timespec t;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static void print(json_t *o) {
        char *text = json_dumps(o, JSON_COMPACT);

        puts(text ? text : "{}");
        free(text);
        json_decref(o);
}

static BhModel *model_of(Replay *r, const char *application, const char *workload, gboolean make) {
        g_autofree char *key = g_strdup_printf("%s/%s", application, workload);
        BhModel *m = g_hash_table_lookup(r->models, key);

        if (!m && make) {
                m = bh_model_new(application, workload, &r->scale);
                g_hash_table_insert(r->models, g_steal_pointer(&key), m);
        }
        return m;
}

/* ---- what is told ---- */

static void tell(Replay *r, BhModel *m, const BhVerdict *v, const BhAct *a, const char *container) {
        g_autofree char *says = bh_verdict_say(m, v, a);
        static const char *const names[] = { [BH_VERDICT_DRIFT] = "drift", [BH_VERDICT_REFUSED] = "refused", [BH_VERDICT_NOVEL] = "novel", [BH_VERDICT_FORBIDDEN] = "forbidden" };

        print(json_pack("{ss ss ss sI sI ss ss ss ss ss ss ss ss si sb}", "by", v->quiet ? "kept" : "models", "container", container, "workload", m->workload, "time", (json_int_t) a->first_ns, "told", (json_int_t) r->now_ns, "verdict",
                        names[v->kind] ? names[v->kind] : "?", "family", bh_family_kind(a->family), "actor", a->actor, "object", a->object, "detail", a->detail, "example", a->example ? a->example : "", "why",
                        a->why ? a->why : "", "says", says, "priority", (int) bh_verdict_priority(v), "fresh", v->fresh));
}

static Box *box_of(Replay *r, const BhModel *m, const BhItem *i) {
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, r->boxes);
        while (i->n_replicas && g_hash_table_iter_next(&it, NULL, &p))
                if (((Box *) p)->replica == i->replicas[0] && g_str_equal(((Box *) p)->workload, m->workload))
                        return p;
        return NULL;
}

typedef struct {
        Replay *r;
        gboolean drift;
} Decided;

static void decided(BhModel *m, const BhVerdict *v, gpointer data) {
        Decided *d = data;
        const BhAct a = bh_item_act(v->item);
        const Box *b = box_of(d->r, m, v->item);

        if (v->kind == BH_VERDICT_NOVEL)
                tell(d->r, m, v, &a, b ? b->id : "");
        d->drift |= v->kind == BH_VERDICT_DRIFT;
}

static BhVerdictKind judge(Replay *r, BhModel *m, const char *digest, BhAct *a, const char *container) {
        const Box *b = g_hash_table_lookup(r->boxes, container);

        a->replica = g_str_hash(container);
        a->starting = b && a->first_ns < b->started_ns + r->scale.starting_ns;
        r->seen |= 1u << a->family;
        m->seen = r->seen;
        r->acts++;
        BhVerdict v = bh_model_observe(m, digest, a);
        gint64 *since = v.kind == BH_VERDICT_DRIFT && v.fresh ? g_hash_table_lookup(r->drifted, m) : NULL;

        if (since)
                *since = r->now_ns;
        if ((v.kind == BH_VERDICT_NOVEL && (!v.quiet || v.fresh)) || v.kind == BH_VERDICT_REFUSED || v.kind == BH_VERDICT_FORBIDDEN)
                tell(r, m, &v, a, container);
        return v.kind;
}

static void observed(const BhObservation *o, gpointer data) {
        Replay *r = data;
        g_autofree char *subject = g_strndup(o->subject.p, o->subject.len), *parent = g_strndup(o->parent.p, o->parent.len), *detail = g_strndup(o->detail.p, o->detail.len),
                        *example = g_strndup(o->example.p, o->example.len);
        const BhObserved what = { .kind = o->kind, .subject = subject, .parent = parent, .detail = detail, .example = example, .why = o->why, .uid = o->uid, .suspicious = o->suspicious, .count = o->count,
                                  .first_ns = o->first_ns, .last_ns = o->last_ns };
        g_auto(BhObservedActs) acts;
        double before = cpu();

        bh_observed_acts(&what, &acts);
        BhModel *m = acts.n && *o->workload ? model_of(r, o->application, o->workload, TRUE) : NULL;
        for (guint i = 0; m && i < acts.n; i++) {
                BhVerdictKind said = judge(r, m, o->image_digest, &acts.acts[i], o->container_id);

                if (said != BH_VERDICT_KNOWN && said != BH_VERDICT_LEARNED)
                        break;
        }
        r->judging_s += cpu() - before;
}

/* ---- time ---- */

static void row_apply(Replay *r, const Row *row) {
        guint n = g_strv_length(row->f);

        if (n >= 6 && g_str_equal(row->f[1], "container")) {
                Box *b = g_hash_table_lookup(r->boxes, row->f[2]);

                if (!b) {
                        b = g_new0(Box, 1);
                        b->id = g_strdup(row->f[2]);
                        b->replica = g_str_hash(b->id);
                        g_hash_table_insert(r->boxes, b->id, b);
                }
                g_free(b->workload);
                g_free(b->name);
                b->name = g_strdup(row->f[3]);
                b->workload = g_strdup(row->f[4]);
                b->started_ns = row->t;
                b->running = TRUE;
                b->counted = FALSE;
                if (row->f[5][0] != '-')
                        g_hash_table_replace(r->addresses, g_strdup(row->f[5]), g_strdup(row->f[4]));
        } else if (n >= 3 && g_str_equal(row->f[1], "gone")) {
                Box *b = g_hash_table_lookup(r->boxes, row->f[2]);

                if (b)
                        b->running = FALSE;
        } else if (g_str_equal(row->f[1], "lock")) {
                GHashTableIter it;
                gpointer p;

                r->locked = TRUE;
                g_hash_table_iter_init(&it, r->models);
                while (g_hash_table_iter_next(&it, NULL, &p))
                        bh_model_lock(p, bh_model_version(p, NULL), BH_MODEL_ALL);
        }
}

static void second(Replay *r) {
        GHashTableIter it;
        gpointer p;

        while (bh_observe_take(r->observe, FALSE, r->now_ns / 1000, TAKE, observed, r) == TAKE) {
        }
        g_hash_table_iter_init(&it, r->models);
        while (g_hash_table_iter_next(&it, NULL, &p)) {
                BhModel *m = p;
                Decided d = { r, FALSE };
                gint64 *since = g_hash_table_lookup(r->drifted, m);

                if (!since)
                        g_hash_table_insert(r->drifted, m, since = g_new0(gint64, 1));
                GHashTableIter boxes;
                gpointer q;

                for (guint k = 0; k < m->versions->len; k++) {
                        BhModelVersion *v = m->versions->pdata[k];
                        guint running = 0, proven = 0;

                        g_hash_table_iter_init(&boxes, r->boxes);
                        while (g_hash_table_iter_next(&boxes, NULL, &q)) {
                                Box *b = q;

                                if (!b->running || !b->digest || !g_str_equal(b->digest, v->digest) || !g_str_equal(b->workload, m->workload))
                                        continue;
                                running++;
                                proven += b->started_ns + r->scale.starting_ns <= r->now_ns;
                        }
                        bh_model_expose(m, v->digest, running, (double) proven * SECOND_NS);
                }
                bh_model_converge(m);
                bh_model_settle(m, r->now_ns, decided, &d);
                for (guint k = 0; k < m->versions->len; k++) {
                        BhModelVersion *v = m->versions->pdata[k];

                        if (d.drift)
                                *since = r->now_ns;
                        /* all of a rollout in one notice, as the analyzer has it */
                        if (!v->drift || v->held || r->now_ns - *since < r->scale.hold_ns)
                                continue;
                        g_autofree char *says = bh_model_say_drift(m, v);
                        print(json_pack("{ss ss ss sI sI ss ss ss ss ss ss ss si sb}", "by", "models", "container", "", "workload", m->workload, "time", (json_int_t) r->now_ns, "told", (json_int_t) r->now_ns, "verdict",
                                        "drift", "family", "", "actor", "", "object", "", "detail", "", "example", "", "says", says, "priority", 5, "fresh", 1));
                        v->drift = 0;
                }
        }
        g_hash_table_iter_init(&it, r->boxes);
        while (g_hash_table_iter_next(&it, NULL, &p))
                if (((Box *) p)->running)
                        *(r->locked ? &r->hours_locked : &r->hours_learned) += 1 / 3600.0;
}

static void advance(Replay *r, gint64 to_ns) {
        if (!r->now_ns)
                r->now_ns = to_ns;
        while (r->now_ns + SECOND_NS <= to_ns) {
                r->now_ns += SECOND_NS;
                for (; r->at < r->rows->len && g_array_index(r->rows, Row, r->at).t <= r->now_ns; r->at++)
                        row_apply(r, &g_array_index(r->rows, Row, r->at));
                second(r);
        }
}

/* ---- events ---- */

static char *text_of(const struct bh_event *e, enum bh_field field, struct bh_str s) {
        return bh_event_has(e, field) ? g_strndup(s.p, s.len) : g_strdup("");
}

/* Who is at an address. NULL: the container itself, or nobody. */
static char *who_at(Replay *r, const struct bh_ip *ip, gboolean out) {
        char text[INET6_ADDRSTRLEN];

        if (!inet_ntop(ip->len == 4 ? AF_INET : AF_INET6, ip->b, text, sizeof(text)))
                return NULL;
        if (g_str_has_prefix(text, "::ffff:"))
                memmove(text, text + 7, strlen(text + 7) + 1);
        if (g_str_has_prefix(text, "127.") || g_str_equal(text, "::1") || g_str_equal(text, "0.0.0.0") || g_str_equal(text, "::"))
                return NULL;
        const char *workload = g_hash_table_lookup(r->addresses, text);
        return workload ? g_strdup_printf("workload shop/%s", workload) : out ? g_strdup_printf("network %s", text) : g_strdup("outside");
}

static gboolean peer_of(Replay *r, const struct bh_event *e, BhAct *a, char **who, char **detail) {
        /* what is sent from a lower port than it goes to is an answer */
        gboolean answer = e->type == BH_EV_SEND && bh_event_has(e, BH_F_lport) && bh_event_has(e, BH_F_rport) && e->lport && e->lport < e->rport, out = e->type != BH_EV_ACCEPT && !answer;
        guint32 port = 0;

        if (e->type != BH_EV_CONNECT && e->type != BH_EV_ACCEPT && e->type != BH_EV_SEND)
                return FALSE;
        if (!bh_event_has(e, BH_F_raddr) || !bh_event_has(e, BH_F_proto) || !(*who = who_at(r, &e->raddr, out)))
                return FALSE;
        port = out ? (bh_event_has(e, BH_F_rport) ? e->rport : 0) : (bh_event_has(e, BH_F_lport) ? e->lport : 0);
        *detail = g_strdup_printf("%s %s/%u", out ? "out" : "in", e->proto == 6 ? "tcp" : e->proto == 17 ? "udp" : "ip", port);
        *a = (BhAct){ .family = BH_FAMILY_PEER, .object = *who, .detail = *detail, .count = e->count, .first_ns = (gint64) e->time, .last_ns = (gint64) e->time };
        return port > 0;
}

static void compare(Replay *r, const char *by, GHashTable *known, char *key, const char *family, const struct bh_event *e, const char *container) {
        if (!g_hash_table_add(known, key) || !r->locked)
                return;
        print(json_pack("{ss ss sI sI ss ss}", "by", by, "container", container, "time", (json_int_t) e->time, "told", (json_int_t) e->time, "family", family, "says", key));
}

static void event(Replay *r, const struct bh_event *e) {
        r->events++;
        advance(r, (gint64) e->time);
        if (!bh_event_has(e, BH_F_container_id) || !bh_event_has(e, BH_F_workload) || !e->workload.len)
                return;
        g_autofree char *id = text_of(e, BH_F_container_id, e->container_id), *workload = text_of(e, BH_F_workload, e->workload), *application = text_of(e, BH_F_application, e->application),
                        *digest = text_of(e, BH_F_container_image_digest, e->container_image_digest), *exe = text_of(e, BH_F_exe, e->exe), *who = NULL, *detail = NULL;
        Box *b = g_hash_table_lookup(r->boxes, id);
        BhAct a;

        if (b && *digest && !b->digest)
                b->digest = g_strdup(digest);
        if (b && b->digest && !b->counted) {
                b->counted = TRUE;
                bh_model_start(model_of(r, application, workload, TRUE), b->digest, (gint64) e->time);
        }
        bh_observe_event(r->observe, e, NULL, (gint64) e->time / 1000);
        if (peer_of(r, e, &a, &who, &detail)) {
                a.actor = exe;
                judge(r, model_of(r, application, workload, TRUE), digest, &a, id);
                compare(r, "sets", r->sets, g_strdup_printf("%s: %s talks to %s %s", workload, exe, who, detail), "peer", e, id);
        } else if (e->type == BH_EV_EXEC) {
                g_autofree char *parent = text_of(e, BH_F_parent_exe, e->parent_exe);

                compare(r, "names", r->names, g_strdup_printf("%s: %s", workload, exe), "exec", e, id);
                compare(r, "sets", r->sets, g_strdup_printf("%s: %s starts %s", workload, parent, exe), "exec", e, id);
        } else if (e->type >= BH_EV_OPEN && e->type <= BH_EV_SETXATTR && bh_event_has(e, BH_F_path) && e->path.len && e->path.p[0] == '/' && !(bh_event_has(e, BH_F_ret) && e->ret < 0)) {
                g_autofree char *path = text_of(e, BH_F_path, e->path);

                compare(r, "sets", r->sets, g_strdup_printf("%s: %s uses %s", workload, exe, path), "file", e, id);
        }
}

static GArray *read_table(const char *path) {
        g_autoptr(GError) error = NULL;
        g_autofree char *text = NULL;
        GArray *rows = g_array_new(FALSE, FALSE, sizeof(Row));

        if (!g_file_get_contents(path, &text, NULL, &error))
                refuse(path, error->message);
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        for (guint i = 0; lines[i]; i++) {
                Row row = { .f = g_strsplit(lines[i], "\t", -1) };

                if (!*lines[i]) {
                        g_strfreev(row.f);
                        continue;
                }
                row.t = g_ascii_strtoll(row.f[0], NULL, 10);
                if (g_strv_length(row.f) < 2 || row.t <= 0 || (rows->len && row.t < g_array_index(rows, Row, rows->len - 1).t))
                        refuse(path, "lines of times in order and of what was then are expected");
                g_array_append_val(rows, row);
        }
        return rows;
}

static void total(Replay *r, guint64 lost) {
        json_t *learned = json_array();
        gsize most = 0, all = 0;
        guint items = 0;
        GHashTableIter it, of;
        gpointer p, q;

        g_hash_table_iter_init(&it, r->models);
        while (g_hash_table_iter_next(&it, NULL, &p)) {
                const BhModel *m = p;
                gsize bytes = bh_model_bytes(m);

                most = MAX(most, bytes);
                all += bytes;
                for (guint k = 0; k < m->versions->len; k++) {
                        const BhModelVersion *v = m->versions->pdata[k];

                        items += g_hash_table_size(v->facets->items);
                        g_hash_table_iter_init(&of, v->facets->items);
                        while (g_hash_table_iter_next(&of, &q, NULL)) {
                                const BhItem *i = q;

                                if (i->family == BH_FAMILY_EXEC && (i->flags & BH_ITEM_LEARNED))
                                        json_array_append_new(learned, json_sprintf("%s: %s → %s", m->workload, i->actor, i->object));
                        }
                }
        }
        print(json_pack("{sI sI sI sI sI sI sI sI sf sf sf so}", "events", (json_int_t) r->events, "undecodable", (json_int_t) r->undecodable, "lost", (json_int_t) lost, "containers",
                        (json_int_t) g_hash_table_size(r->boxes), "acts", (json_int_t) r->acts, "items", (json_int_t) items, "bytes_max", (json_int_t) most, "bytes", (json_int_t) all, "hours_learned", r->hours_learned, "hours_locked",
                        r->hours_locked, "judging_s", r->judging_s, "learned", learned));
}

int main(int argc, char **argv) {
        g_autoptr(GError) error = NULL;
        Replay r = { .scale = bh_model_scale_default };
        BhRecord record;

        if (argc != 3) {
                fprintf(stderr, "usage: bench-services CAPTURE TABLE\n");
                return 2;
        }
        r.rows = read_table(argv[2]);
        r.boxes = g_hash_table_new(g_str_hash, g_str_equal);
        r.addresses = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        r.models = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify) bh_model_free);
        r.drifted = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, g_free);
        r.names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        r.sets = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        r.observe = bh_observe_new();
        g_autoptr(BhCaptureReader) reader = bh_capture_reader_new(argv[1], &error);
        if (!reader)
                refuse(argv[1], error->message);
        while (bh_capture_reader_next(reader, &record, &error)) {
                struct bh_event e;

                if (bh_event_decode(&e, record.data, record.len, NULL))
                        event(&r, &e);
                else
                        r.undecodable++;
        }
        if (error)
                refuse(argv[1], error->message);
        advance(&r, r.now_ns + r.scale.hold_ns + 2 * SECOND_NS);
        total(&r, bh_capture_reader_lost(reader));
        return 0;
}

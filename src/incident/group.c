/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>

#include "incident/group.h"

void bh_incident_line_free(BhIncidentLine *l) {
        if (!l)
                return;
        g_free(l->id);
        g_free(l->rule);
        g_free(l->output);
        g_free(l->node);
        g_free(l->container_id);
        g_free(l->container_name);
        g_free(l->workload);
        g_free(l->application);
        g_free(l->exe);
        g_free(l->object);
        g_free(l->parent);
        g_free(l->command);
        g_free(l->thing);
        g_free(l->origin);
        g_free(l->used);
        g_free(l);
}

static void line_free(gpointer p) {
        bh_incident_line_free(p);
}

BhIncidentGroup *bh_incident_group_new(guint64 id) {
        BhIncidentGroup *g = g_new0(BhIncidentGroup, 1);

        g->i.id = id;
        g->i.rank = 8;
        g->i.lines = g_ptr_array_new_with_free_func(line_free);
        g->by_equal = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g->serials = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
        g->apart = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        g->own = g_queue_new();
        return g;
}

void bh_incident_group_free(BhIncidentGroup *g) {
        g_hash_table_destroy(g->apart);
        g_queue_free(g->own);
        g_hash_table_destroy(g->by_equal);
        g_hash_table_destroy(g->serials);
        g_ptr_array_unref(g->i.lines);
        g_free(g);
}

/* ---- texts ---- */

static char *bounded(const char *text) {
        return g_strndup(text ? text : "", BH_INCIDENT_TEXT_MAX);
}

static gboolean text_of(const struct bh_event *e, enum bh_field field, struct bh_str s, char **out) {
        if (!bh_event_has(e, field) || !s.len)
                return FALSE;
        *out = g_strndup(s.p, MIN(s.len, BH_INCIDENT_TEXT_MAX));
        return TRUE;
}

static char *address_of(const struct bh_event *e) {
        char text[INET6_ADDRSTRLEN] = "";
        gboolean v6 = e->raddr.len == 16;

        inet_ntop(v6 ? AF_INET6 : AF_INET, e->raddr.b, text, sizeof(text));
        if (!bh_event_has(e, BH_F_rport))
                return g_strdup(text);
        return g_strdup_printf(v6 ? "[%s]:%u" : "%s:%u", text, e->rport);
}

char *bh_incident_object(const BhIncidentFinding *f) {
        const struct bh_event *e = f->event;
        char *text = NULL;

        if (!e)
                return bounded(f->planted && *f->planted ? f->planted : f->domain);
        if (bh_event_has(e, BH_F_target_exe) && e->target_exe.len) {
                g_autofree char *exe = g_strndup(e->target_exe.p, MIN(e->target_exe.len, BH_INCIDENT_TEXT_MAX));

                return bh_event_has(e, BH_F_target_pid) ? g_strdup_printf("%s (pid %u)", exe, e->target_pid) : g_steal_pointer(&exe);
        }
        if (bh_event_has(e, BH_F_dns_question) && text_of(e, BH_F_dns_question, e->dns_question, &text))
                return text;
        if (bh_event_has(e, BH_F_raddr))
                return address_of(e);
        /* of renames and links the new name is what is there afterwards */
        if (text_of(e, BH_F_path2, e->path2, &text) || text_of(e, BH_F_path, e->path, &text) || text_of(e, BH_F_name, e->name, &text))
                return text;
        return g_strdup("");
}

/* Each argument as it is; what is cut is said by the event itself. */
static char *command_of(const struct bh_event *e) {
        GString *out;

        if (!e || e->type != BH_EV_EXEC || !bh_event_has(e, BH_F_args))
                return g_strdup("");
        out = g_string_new_len(e->args.p, MIN(e->args.len, BH_INCIDENT_TEXT_MAX));
        while (out->len && !out->str[out->len - 1])
                g_string_truncate(out, out->len - 1);
        for (gsize i = 0; i < out->len; i++)
                if (!out->str[i])
                        out->str[i] = ' ';
        return g_string_free(out, FALSE);
}

static char *exe_of(const BhIncidentFinding *f) {
        char *text = NULL;

        if (f->event && text_of(f->event, BH_F_exe, f->event->exe, &text))
                return text;
        return bounded(f->n_lineage ? f->lineage[0].exe : NULL);
}

/* ---- what follows from the lines ---- */

/* A line that is not kept. */
static void drop(BhIncidentGroup *g, const BhIncidentLine *l) {
        g->i.rank = MIN(g->i.rank, l->rank);
        g->i.lines_dropped++;
        bh_incident_weigh(&g->dropped, l);
}

static void judge(BhIncidentGroup *g) {
        BhIncident *i = &g->i;
        BhIncidentWeight w = g->dropped;

        for (guint n = 0; n < i->lines->len; n++) {
                const BhIncidentLine *l = g_ptr_array_index(i->lines, n);

                i->rank = MIN(i->rank, l->rank);
                bh_incident_weigh(&w, l);
        }
        const BhIncidentPoints points = bh_incident_weight_points(&w);
        i->tactics = w.tactics;
        i->severity = bh_incident_severity(&points);
        if (i->state == BH_INCIDENT_FORMING && (i->rank <= BH_INCIDENT_RANK_ALONE || __builtin_popcount(i->tactics) >= 2))
                i->state = BH_INCIDENT_OPEN;
}

static int by_time(gconstpointer a, gconstpointer b) {
        const BhIncidentLine *x = *(BhIncidentLine *const *) a, *y = *(BhIncidentLine *const *) b;

        return x->time_ns != y->time_ns ? (x->time_ns < y->time_ns ? -1 : 1) : x->serial < y->serial ? -1 : x->serial > y->serial;
}

static void place(BhIncident *i, BhIncidentLine *l) {
        guint n = i->lines->len;

        g_ptr_array_add(i->lines, l);
        if (n && by_time(&g_ptr_array_index(i->lines, n - 1), &l) > 0)
                g_ptr_array_sort(i->lines, by_time);
}

static char *equal_key(const BhIncidentLine *l) {
        return g_strjoin("\1", l->rule, l->node, l->container_id, l->exe, l->object, NULL);
}

static void widen(BhIncident *i, gint64 first, gint64 last) {
        i->first_ns = i->first_ns ? MIN(i->first_ns, first) : first;
        i->last_ns = MAX(i->last_ns, last);
}

/* What is asked for at each finding is found out once. */
static void know_credential(BhIncidentLine *l) {
        l->credential = l->deed == BH_DEED_READ ? bh_credential_of_path(l->thing) : BH_CREDENTIAL_NONE;
}

/* Of equal findings the first may have been refused: the line has the deed of the first that was not. */
static void take_deed(BhIncidentLine *l, BhDeed deed, const char *thing, const char *origin) {
        if (l->deed || !deed)
                return;
        g_free(l->thing);
        g_free(l->origin);
        l->deed = deed;
        l->thing = g_strdup(thing);
        l->origin = g_strdup(origin);
        know_credential(l);
}

static void remember(BhIncidentGroup *g, gint64 serial, guint64 count, BhIncidentLine *line) {
        const BhIncidentSerial known = { count, line };

        if (g_hash_table_size(g->serials) >= BH_INCIDENT_SERIALS_MAX / 4 && !g_hash_table_contains(g->serials, &serial))
                return;
        g_hash_table_replace(g->serials, g_memdup2(&serial, sizeof(serial)), g_memdup2(&known, sizeof(known)));
}

gboolean bh_incident_group_add(BhIncidentGroup *g, const BhIncidentFinding *f, BhBasis basis, const char *used) {
        const BhIncidentSerial *had = g_hash_table_lookup(g->serials, &f->serial);
        guint64 count = MAX(f->count, 1), more = had ? (count > had->count ? count - had->count : 0) : count;
        gint64 last = MAX(f->time_ns, f->last_ns);
        g_autofree char *key = NULL, *thing = NULL, *origin = NULL;
        BhIncidentLine *l = g_new0(BhIncidentLine, 1), *old;
        BhDeed deed = bh_incident_deed(f, &thing, &origin);
        gboolean is_new = FALSE;

        l->serial = f->serial;
        l->rule = bounded(f->rule);
        l->node = bounded(f->node);
        l->container_id = bounded(f->container_id);
        l->exe = exe_of(f);
        l->object = bh_incident_object(f);
        l->tactics = f->tactics;
        l->rank = (guint8) MIN(f->rank, 8);
        l->asset = f->asset;
        l->escape = f->escape;
        l->of_host = f->of_host;
        l->surprise = (guint8) MIN(f->surprise, BH_INCIDENT_SURPRISE_MAX);
        key = equal_key(l);
        old = g_hash_table_lookup(g->by_equal, key);
        if (old) {
                line_free(l);
                old->count += more;
                old->last_ns = MAX(old->last_ns, last);
                old->rank = MIN(old->rank, (guint8) f->rank);
                old->asset = MAX(old->asset, f->asset);
                old->surprise = (guint8) MAX(old->surprise, MIN(f->surprise, BH_INCIDENT_SURPRISE_MAX));
                take_deed(old, deed, thing, origin);
                if (f->time_ns < old->time_ns) {
                        old->time_ns = f->time_ns;
                        g_ptr_array_sort(g->i.lines, by_time);
                }
        } else if (g->i.lines->len >= BH_INCIDENT_LINES_MAX) {
                drop(g, l);
                line_free(l);
                g->i.lines_dropped -= had != NULL;
        } else {
                l->id = bounded(f->id);
                l->output = bounded(f->output);
                l->container_name = bounded(f->container_name);
                l->workload = bounded(f->workload);
                l->application = bounded(f->application);
                l->parent = bounded(f->n_lineage > 1 ? f->lineage[1].exe : NULL);
                l->command = command_of(f->event);
                l->pid = f->n_lineage ? f->lineage[0].pid : f->event && bh_event_has(f->event, BH_F_pid) ? f->event->pid : 0;
                l->basis = basis;
                l->used = bounded(used);
                l->deed = deed;
                l->thing = g_steal_pointer(&thing);
                l->origin = g_steal_pointer(&origin);
                know_credential(l);
                l->time_ns = f->time_ns;
                l->last_ns = last;
                l->count = more ? more : 1;
                place(&g->i, l);
                g_hash_table_insert(g->by_equal, g_steal_pointer(&key), l);
                old = l;
                is_new = TRUE;
        }
        if (!had)
                g->i.findings++;
        remember(g, f->serial, had ? MAX(count, had->count) : count, old);
        widen(&g->i, f->time_ns, last);
        judge(g);
        g->i.version++;
        return is_new;
}

void bh_incident_group_take(BhIncidentGroup *g, BhIncidentGroup *from) {
        g_autoptr(GHashTable) went = g_hash_table_new(NULL, NULL); /* BhIncidentLine * of `from` → of g, NULL: none */
        GHashTableIter it;
        gpointer key, value;

        for (guint n = 0; n < from->i.lines->len; n++) {
                BhIncidentLine *l = g_ptr_array_index(from->i.lines, n);
                g_autofree char *equal = equal_key(l);
                BhIncidentLine *old = g_hash_table_lookup(g->by_equal, equal);

                if (old) {
                        old->count += l->count, old->last_ns = MAX(old->last_ns, l->last_ns), old->time_ns = MIN(old->time_ns, l->time_ns);
                        old->rank = MIN(old->rank, l->rank);
                        old->asset = MAX(old->asset, l->asset);
                        old->surprise = MAX(old->surprise, l->surprise);
                        take_deed(old, l->deed, l->thing, l->origin);
                } else if (g->i.lines->len >= BH_INCIDENT_LINES_MAX) {
                        drop(g, l);
                } else {
                        g_ptr_array_add(g->i.lines, l);
                        g_hash_table_insert(g->by_equal, g_steal_pointer(&equal), l);
                        from->i.lines->pdata[n] = NULL;
                        old = l;
                }
                g_hash_table_insert(went, l, old);
        }
        g_ptr_array_sort(g->i.lines, by_time);
        g_hash_table_remove_all(from->by_equal);
        g_hash_table_iter_init(&it, from->serials);
        while (g_hash_table_iter_next(&it, &key, &value)) {
                const BhIncidentSerial *had = g_hash_table_lookup(g->serials, key), *x = value;

                if (!had || had->count < x->count)
                        remember(g, *(gint64 *) key, x->count, g_hash_table_lookup(went, x->line));
        }
        g_hash_table_remove_all(from->serials);
        g_ptr_array_set_size(from->i.lines, 0);
        while (from->own->length)
                g_queue_push_tail_link(g->own, g_queue_pop_head_link(from->own));
        g->i.findings += from->i.findings;
        g->i.lines_dropped += from->i.lines_dropped;
        g->i.rank = MIN(g->i.rank, from->i.rank);
        bh_incident_weigh_more(&g->dropped, &from->dropped);
        widen(&g->i, from->i.first_ns, from->i.last_ns);
        judge(g);
        g->i.version++;
        from->i.state = BH_INCIDENT_MERGED;
        from->i.merged_into = g->i.id;
        from->i.version++;
}

static void span(BhIncident *i) {
        i->first_ns = i->last_ns = 0;
        i->rank = 8;
        for (guint n = 0; n < i->lines->len; n++) {
                const BhIncidentLine *l = g_ptr_array_index(i->lines, n);

                widen(i, l->time_ns, l->last_ns);
        }
}

GArray *bh_incident_group_split(BhIncidentGroup *g, const char *const *ids, BhIncidentGroup *to) {
        g_autoptr(GHashTable) moved = g_hash_table_new(NULL, NULL);
        GArray *serials;
        GHashTableIter it;
        gpointer key, value;

        for (guint n = 0; n < g->i.lines->len; n++) {
                BhIncidentLine *l = g_ptr_array_index(g->i.lines, n);

                if (g_strv_contains(ids, l->id))
                        g_hash_table_add(moved, l);
        }
        if (!g_hash_table_size(moved) || g_hash_table_size(moved) == g->i.lines->len)
                return NULL;
        serials = g_array_new(FALSE, FALSE, sizeof(gint64));
        g_hash_table_iter_init(&it, g->serials);
        while (g_hash_table_iter_next(&it, &key, &value)) {
                const BhIncidentSerial *x = value;

                if (!x->line || !g_hash_table_contains(moved, x->line))
                        continue;
                remember(to, *(gint64 *) key, x->count, x->line);
                g_array_append_vals(serials, key, 1);
                g_hash_table_iter_remove(&it);
        }
        for (guint n = 0; n < g->i.lines->len;) {
                BhIncidentLine *l = g_ptr_array_index(g->i.lines, n);
                char *equal;

                if (!g_hash_table_contains(moved, l)) {
                        n++;
                        continue;
                }
                equal = equal_key(l);
                g_hash_table_remove(g->by_equal, equal);
                g_hash_table_insert(to->by_equal, equal, l);
                g_ptr_array_steal_index(g->i.lines, n);
                g_ptr_array_add(to->i.lines, l);
        }
        to->i.state = g->i.state;
        to->i.findings = MAX(serials->len, to->i.lines->len);
        g->i.findings -= MIN(g->i.findings, to->i.findings);
        span(&g->i);
        span(&to->i);
        judge(g);
        judge(to);
        g->i.version++;
        to->i.version++;
        return serials;
}

/* Findings without event had no object once, and were one line, whatever they were about. Where its first is told of in another line by now, so are the others: the line of that one. */
static BhIncidentLine *told_apart(BhIncidentGroup *g, const BhIncidentLine *line, const BhIncidentLine *equal) {
        const BhIncidentSerial *had = *line->object ? NULL : g_hash_table_lookup(g->serials, &line->serial);

        return had && had->line != equal ? had->line : NULL;
}

static void take_basis(BhIncidentLine *l, const BhIncidentLine *from) {
        l->basis = from->basis;
        g_free(l->used);
        l->used = g_strdup(from->used);
}

void bh_incident_group_restore(BhIncidentGroup *g, BhIncidentLine *line) {
        char *equal = equal_key(line);
        BhIncidentLine *old = g_hash_table_lookup(g->by_equal, equal), *first = told_apart(g, line, old);

        if (first) {
                /* its count is that of all of them: each has its own */
                take_basis(first, line);
                first->asset = MAX(first->asset, line->asset);
                first->surprise = MAX(first->surprise, line->surprise);
                widen(&g->i, line->time_ns, line->last_ns);
                bh_incident_line_free(line);
                g_free(equal);
        } else if (old) {
                old->count = MAX(old->count, line->count);
                old->time_ns = MIN(old->time_ns, line->time_ns);
                old->last_ns = MAX(old->last_ns, line->last_ns);
                take_basis(old, line);
                old->surprise = MAX(old->surprise, line->surprise);
                old->asset = MAX(old->asset, line->asset);
                take_deed(old, line->deed, line->thing, line->origin);
                bh_incident_line_free(line);
                g_free(equal);
                g_ptr_array_sort(g->i.lines, by_time);
        } else if (g->i.lines->len >= BH_INCIDENT_LINES_MAX) {
                drop(g, line);
                bh_incident_line_free(line);
                g_free(equal);
        } else {
                widen(&g->i, line->time_ns, line->last_ns);
                know_credential(line);
                place(&g->i, line);
                g_hash_table_insert(g->by_equal, equal, line);
        }
        judge(g);
}

gboolean bh_incident_group_asset(BhIncidentGroup *g, const char *node, const char *container, BhAsset asset) {
        gboolean changed = FALSE;

        for (guint n = 0; n < g->i.lines->len; n++) {
                BhIncidentLine *l = g_ptr_array_index(g->i.lines, n);

                if (l->asset >= asset || !g_str_equal(l->container_id, container) || !g_str_equal(l->node, node))
                        continue;
                l->asset = asset;
                changed = TRUE;
        }
        if (changed) {
                judge(g);
                g->i.version++;
        }
        return changed;
}

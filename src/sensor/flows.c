/* SPDX-License-Identifier: Apache-2.0 */
#include "flows.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fdio.h"
#include "base/log.h"
#include "event/codec.h"
#include "flow_mark.h"
#include "flows_private.h"
#include "recorder/query.h"

#define TICK_US (50 * 1000)
#define PROXY_US (20 * 1000)
#define ADDRESSES_US (10 * G_USEC_PER_SEC)
#define DURABLE_WAIT_US (200 * 1000)
#define CROWDS_AT_ONCE 16u

/* ---- the mark: what has been told ---- */

static void write_mark(BhFlows *f, const char *boot_id, const BhFlowCut *cut, gboolean gone) {
        BhFlowMark m = { .gone = gone, .after = cut->after, .through = cut->through, .failed_after = cut->failed_after, .failed_through = cut->failed_through };
        g_autoptr(GError) error = NULL;
        static gboolean said;

        g_strlcpy(m.boot_id, boot_id, sizeof(m.boot_id));
        if (!bh_flow_mark_write(f->mark, &m, &error) && !said) {
                bh_warn("cannot note which flows have been told; should the sensor be killed, some may be told twice or not at all", "error", error->message);
                said = TRUE;
        }
}

/* ---- telling ---- */

/* What a cut counted must be there for a successor to count again. A disk that is slow or full must not hold up the telling for it. TRUE: it never will be. */
static gboolean wait_durable(BhFlows *f, guint64 id) {
        gint64 until = g_get_monotonic_time() + DURABLE_WAIT_US;
        BhRecorderStats r;

        bh_recorder_flush(f->c.recorder, FALSE);
        for (;; g_usleep(2000)) {
                bh_recorder_stats(f->c.recorder, &r);
                if (r.durable_seq >= id)
                        return FALSE;
                if (r.state != BH_RECORDER_OK || g_get_monotonic_time() > until)
                        break;
        }
        g_mutex_lock(&f->lock);
        f->unsafe++;
        g_mutex_unlock(&f->lock);
        return r.state != BH_RECORDER_OK;
}

/* A cut, made safe and told. `boot_id` is of the time that it is about; `recorded`: its events were read from the recorder. */
static void tell_cut(BhFlows *f, const BhFlowCut *cut, const char *boot_id, gboolean full, gboolean recorded) {
        BhFlowsPacked what = { .node = f->node, .boot_id = boot_id, .full = full };
        guint64 cut_off = 0;

        if (!cut->flows->len && !cut->rest_connections && !cut->rest_bytes && !full)
                return;
        g_autoptr(GBytes) body = bh_flows_pack(&what, cut, g_get_real_time() * 1000, &cut_off);
        gboolean gone = recorded ? f->mark_gone : wait_durable(f, cut->through);
        f->c.spooled(f->c.data); /* the batch before, of which the mark says nothing any more */
        write_mark(f, boot_id, cut, gone);
        f->c.publish("flow", body, f->c.data);
        g_mutex_lock(&f->lock);
        f->batches++;
        f->told += cut->flows->len;
        f->cut_off += cut_off;
        g_mutex_unlock(&f->lock);
}

/* A container has more peers than have flows of their own: who might be hidden among them is said. */
static void say_crowds(BhFlows *f) {
        for (guint i = 0; i < CROWDS_AT_ONCE; i++) {
                BhFlowCrowd c = { 0 };

                g_mutex_lock(&f->lock);
                gboolean is = bh_flow_table_next_crowd(f->table, &c);
                g_mutex_unlock(&f->lock);
                if (!is)
                        return;
                g_autofree char *message = g_strdup_printf("%s of %s%.12s talks to at least %u peers on port %u, more than are told apart (%" G_GUINT64_FORMAT " bytes with those that have no flow "
                                                           "of their own). Most of it with %s; the last new ones outside: %s. Look whether one is hidden behind many", *c.exe ? c.exe : "Programs",
                                                           *c.container_id ? "container " : "the node", c.container_id, c.peers, c.port, c.bytes, *c.large ? c.large : "nobody",
                                                           *c.newest ? c.newest : "none");
                g_autofree char *why = g_strdup_printf("%s:%u", c.exe, c.port), *valid = g_utf8_make_valid(message, -1), *valid_why = g_utf8_make_valid(why, -1);

                f->c.say("peers_full", valid, c.container_id, valid_why, f->c.data);
                bh_flow_crowd_clear(&c);
        }
}

static void tell(BhFlows *f, gboolean all) {
        gint64 now_us = g_get_monotonic_time();
        BhFlowCut cut;

        g_mutex_lock(&f->lock);
        /* what is open and has no flow yet would be taken for ended, and counted anew when it has */
        gboolean full = !f->full_told && f->walk_us && (all || !bh_flow_table_assigning(f->table));
        bh_flow_table_advance(f->table, __atomic_load_n(&f->recorded_id, __ATOMIC_ACQUIRE));
        bh_flow_table_cut(f->table, all || full, now_us, &cut);
        f->soon = FALSE;
        g_mutex_unlock(&f->lock);
        f->cut_us = now_us;
        /* what the cut gives is good until the next, which this thread makes */
        tell_cut(f, &cut, f->boot_id, full, FALSE);
        f->full_told |= full;
        if (!all)
                say_crowds(f);
}

/* ---- the worker ---- */

/* With the lock. */
static void take_containers(BhFlows *f) {
        g_autoptr(GPtrArray) changed = bh_container_table_changes(f->c.containers, f->version, G_MAXUINT, &f->version);

        if (!changed->len)
                return;
        g_autoptr(GPtrArray) containers = bh_container_table_snapshot(f->c.containers);
        bh_flow_table_containers(f->table, containers);
}

static void look_around(BhFlows *f) {
        gint64 now_us = g_get_monotonic_time();
        gboolean wanted = FALSE, first = !f->walk_us;
        guint64 proxies;

        g_mutex_lock(&f->lock);
        take_containers(f);
        bh_flow_table_proxies(f->table, NULL, 0, &proxies);
        g_mutex_unlock(&f->lock);
        if (proxies != f->proxies || now_us - f->addresses_us >= ADDRESSES_US) {
                f->addresses_us = now_us;
                bh_flows_read_addresses(f);
        }
        /* at most a fifth of the time, however many descriptors there are */
        if (!f->sockets || now_us - f->walk_us < 4 * f->walk_took_us)
                return;
        if (now_us - f->walk_us >= BH_FLOWS_WALK_SOON_MS * 1000) {
                g_mutex_lock(&f->lock);
                wanted = bh_flow_table_wants_walk(f->table);
                g_mutex_unlock(&f->lock);
        }
        if (wanted || first || now_us - f->walk_us >= (gint64) f->c.walk_ms * 1000) {
                bh_flows_walk(f);
                bh_flows_look(f, TRUE);
                f->walk_us = g_get_monotonic_time();
                f->walk_took_us = f->walk_us - now_us;
        }
}

/* Is it time for a cut? */
static gboolean due(BhFlows *f, gint64 now_us) {
        gboolean is = FALSE;

        g_mutex_lock(&f->lock);
        bh_flow_table_advance(f->table, __atomic_load_n(&f->recorded_id, __ATOMIC_ACQUIRE));
        gint64 since_us = now_us - f->cut_us;
        if (since_us >= BH_FLOWS_TELL_MS * 1000)
                is = bh_flow_table_pending(f->table, now_us);
        else if (f->soon && since_us >= BH_FLOWS_SOON_MS * 1000)
                is = TRUE;
        /* the other ends of connections come a little later */
        if (is && since_us < BH_FLOWS_TELL_MS * 1000 + BH_FLOWS_SETTLE_MS * 1000 && bh_flow_table_unsettled(f->table, now_us, BH_FLOWS_SETTLE_MS * 1000))
                is = FALSE;
        g_mutex_unlock(&f->lock);
        return is;
}

static gpointer work(gpointer data) {
        BhFlows *f = data;
        gboolean stopping = FALSE;

        while (!stopping) {
                look_around(f);
                bh_flows_look(f, FALSE);
                bh_flows_take_unix(f, FALSE);
                if (due(f, g_get_monotonic_time()) || !f->full_told)
                        tell(f, FALSE);

                gint64 until = g_get_monotonic_time() + TICK_US;
                g_mutex_lock(&f->lock);
                while (!f->stopping && g_cond_wait_until(&f->moved, &f->lock, until))
                        ;
                stopping = f->stopping;
                g_mutex_unlock(&f->lock);
        }
        return NULL;
}

/* ---- events ---- */

static gboolean is_recorded(const BhFlows *f, guint32 type) {
        return type >= BH_EV_KERNEL_MAX || bh_kinds_has(&f->c.recorded, type);
}

void bh_flows_event(BhFlows *f, const struct bh_event *e) {
        gboolean new_proxy = FALSE, elsewhere = (e->type == BH_EV_EXEC || e->type == BH_EV_PROCESS || e->type == BH_EV_EXIT) && bh_event_has(e, BH_F_container_id);

        if (!elsewhere && bh_flow_table_wants(e->type) && is_recorded(f, e->type)) {
                guint64 proxies;

                g_mutex_lock(&f->lock);
                proxies = f->proxies;
                /* before its addresses are taken for those of who had them last */
                if (bh_event_has(e, BH_F_container_id) && !bh_flow_table_knows(f->table, e->container_id))
                        take_containers(f);
                f->soon |= bh_flow_table_event(f->table, e);
                if (e->type == BH_EV_EXEC || e->type == BH_EV_PROCESS)
                        bh_flow_table_proxies(f->table, NULL, 0, &proxies);
                new_proxy = proxies != f->proxies;
                g_mutex_unlock(&f->lock);
        }
        /* what is dialled of the addresses that it stands for is known by them: the next event may be of that. Of many proxies the worker does the rest */
        if (new_proxy && g_get_monotonic_time() - f->proxy_us >= PROXY_US) {
                bh_flows_read_addresses(f);
                f->proxy_us = g_get_monotonic_time();
        }
        if (is_recorded(f, e->type))
                __atomic_store_n(&f->recorded_id, e->id, __ATOMIC_RELEASE);
        __atomic_store_n(&f->newest_id, e->id, __ATOMIC_RELEASE);
}

/* ---- after a sensor that was killed ---- */

/* Events from `from` up to `to` (0: all) into the table. Returns how many. */
static guint64 fold_recorded(BhFlows *f, guint64 from, guint64 to) {
        g_autoptr(GError) error = NULL;
        g_autoptr(BhRecorderQuery) q = bh_recorder_query(f->recorder_dir, 0, 0, BH_RECORDER_ANY, from, &error);
        guint64 n = 0;
        BhRecord rec;

        if (!q) {
                bh_warn("cannot read what the sensor before this one may not have told; flows of its last second are missing", "error", error->message);
                return 0;
        }
        while (bh_recorder_query_next(q, &rec)) {
                struct bh_event e;

                if (to && rec.seq > to)
                        break;
                if (!bh_event_decode(&e, rec.data, rec.len, NULL))
                        continue;
                bh_flow_table_event(f->table, &e);
                n++;
        }
        return n;
}

void bh_flows_catch_up(BhFlows *f) {
        guint64 last = f->c.found->last_seq;
        BhFlowCut cut;
        BhFlowMark m;

        f->mark_gone = bh_flow_mark_read(f->mark, &m) && m.gone;
        take_containers(f);
        bh_flows_read_addresses(f);
        f->newest_id = f->recorded_id = last;
        if (!f->c.after_crash || !bh_flow_mark_read(f->mark, &m) || m.through > last) {
                bh_flow_table_begin(f->table, last, last, last);
                cut = (BhFlowCut){ .after = last, .through = last, .failed_after = last, .failed_through = last };
                write_mark(f, f->boot_id, &cut, f->mark_gone);
                return;
        }
        /* the batch that was perhaps told, with the same bounds */
        bh_flow_table_begin(f->table, m.after, m.failed_after, m.failed_through);
        f->caught_up += fold_recorded(f, MIN(m.after, m.failed_after) + 1, m.through);
        bh_flow_table_cut(f->table, FALSE, g_get_monotonic_time(), &cut);
        cut.after = m.after;
        cut.through = m.through;
        cut.failed_after = m.failed_after;
        cut.failed_through = m.failed_through;
        tell_cut(f, &cut, m.boot_id, FALSE, TRUE);
        /* and what came behind it */
        bh_flow_table_begin(f->table, m.through, m.failed_through, m.failed_through);
        f->caught_up += fold_recorded(f, m.through + 1, 0);
        if (strcmp(m.boot_id, f->boot_id) != 0) {
                bh_flow_table_advance(f->table, last);
                bh_flow_table_cut(f->table, TRUE, g_get_monotonic_time(), &cut);
                tell_cut(f, &cut, m.boot_id, FALSE, TRUE);
        }
        bh_info("flows that may not have been told were counted again", "boot", m.boot_id);
}

/* ---- life ---- */

BhFlows *bh_flows_new(const BhFlowsConfig *config) {
        BhFlows *f = g_new0(BhFlows, 1);
        BhFlowTableConfig table = { 0 };
        struct stat st;

        g_mutex_init(&f->lock);
        g_cond_init(&f->moved);
        f->c = *config;
        f->c.walk_ms = f->c.walk_ms ? f->c.walk_ms : BH_FLOWS_WALK_MS;
        f->mark = g_build_filename(config->data_dir, BH_FLOW_MARK, NULL);
        f->recorder_dir = g_strdup(config->recorder_dir);
        f->proc_path = g_strdup(config->proc_path);
        f->node = g_strdup(config->node);
        f->boot_id = g_strdup(config->boot_id);
        f->conntrack_problem = g_steal_pointer(&f->c.conntrack.problem);
        f->stop_pipe[0] = f->stop_pipe[1] = -1;
        f->connections = G_MAXUINT64;
        if (stat("/proc/self/ns/net", &st) == 0) /* where the addresses and translations that it reads are */
                table.host_net_ns = (guint32) st.st_ino;
        f->table = bh_flow_table_new(&table);
        return f;
}

void bh_flows_start(BhFlows *f) {
        g_autoptr(GError) error = NULL;

        if (f->c.hooks && !(f->sockets = bh_sockets_new(f->c.hooks, &error))) {
                bh_warn("open connections and listeners from before cannot be seen", "error", error->message);
                f->walk_problem = g_strdup(error->message);
                f->full_told = TRUE;
        }
        if (f->sockets)
                f->datagrams = bh_datagrams_new(f->c.hooks);
        bh_flows_open_unix(f);
        bh_flows_open_protocols(f);
        if (f->c.conntrack.events >= 0 && pipe2(f->stop_pipe, O_CLOEXEC) == 0) {
                f->conntrack_on = TRUE;
                f->reader = g_thread_new("bh-conntrack", bh_flows_read_conntrack, f);
        }
        f->worker = g_thread_new("bh-flows", work, f);
}

void bh_flows_settle(BhFlows *f) {
        g_mutex_lock(&f->lock);
        f->stopping = TRUE;
        g_cond_broadcast(&f->moved);
        g_mutex_unlock(&f->lock);
        if (f->worker)
                g_thread_join(g_steal_pointer(&f->worker));
        bh_flows_close_unix(f);
        g_clear_pointer(&f->first_bytes, bh_first_bytes_free);
        g_clear_pointer(&f->datagrams, bh_datagrams_free);
        g_clear_pointer(&f->sockets, bh_sockets_free);
}

void bh_flows_free(BhFlows *f) {
        if (!f)
                return;
        bh_flows_settle(f);
        if (f->reader) {
                close(f->stop_pipe[1]);
                g_thread_join(g_steal_pointer(&f->reader));
                close(f->stop_pipe[0]);
                tell(f, TRUE);
        } else if (f->newest_id) {
                tell(f, TRUE);
        }
        bh_flows_close_conntrack(&f->c.conntrack);
        bh_flow_table_free(f->table);
        g_mutex_clear(&f->lock);
        g_cond_clear(&f->moved);
        g_free(f->walk_problem);
        g_free(f->conntrack_problem);
        g_free(f->protocol_problem);
        g_free(f->datagrams_problem);
        g_free(f->unix_problem);
        g_free(f->mark);
        g_free(f->recorder_dir);
        g_free(f->proc_path);
        g_free(f->node);
        g_free(f->boot_id);
        g_free(f);
}

/* ---- status ---- */

static json_t *number(guint64 n) {
        return json_integer((json_int_t) n);
}

static json_t *text(const char *s) {
        g_autofree char *valid = g_utf8_make_valid(s ? s : "", -1);

        return json_string(valid);
}

json_t *bh_flows_status(BhFlows *f) {
        json_t *o = json_object(), *part;
        BhSocketsStats walks = { 0 };
        BhConntrackStats conntrack;
        BhFirstBytesStats bytes = { 0 };
        BhDatagramStats datagrams = { 0 };
        BhUnixesStats unixes = { 0 };
        BhFlowStats s;

        /* not under the lock: bytes are being attached or detached, perhaps, which may take long */
        if (f->first_bytes)
                bh_first_bytes_stats(f->first_bytes, &bytes);
        g_mutex_lock(&f->lock);
        bh_flow_table_stats(f->table, &s);
        bh_conntrack_stats(bh_flow_table_conntrack(f->table), &conntrack);
        if (f->sockets)
                bh_sockets_stats(f->sockets, &walks);
        json_object_set_new(o, "flows", number(s.flows));
        json_object_set_new(o, "open_connections", number(s.conns));
        json_object_set_new(o, "listeners", number(s.listeners));
        json_object_set_new(o, "names", number(s.names));
        json_object_set_new(o, "events", number(s.events));
        json_object_set_new(o, "batches", number(f->batches));
        json_object_set_new(o, "told", number(f->told));
        json_object_set_new(o, "scans", number(s.scans));
        json_object_set_new(o, "caught_up", number(f->caught_up));
        json_object_set_new(o, "unsafe_batches", number(f->unsafe));
        json_object_set_new(o, "unpaired", number(s.unpaired));
        json_object_set_new(o, "vanished", number(s.vanished));
        json_object_set_new(o, "forgotten", number(s.forgotten));
        json_object_set_new(o, "crowds", number(s.crowds));
        json_object_set_new(o, "rest", json_pack("{s:o, s:o, s:o, s:o, s:o}", "connections", number(s.rest_connections), "bytes", number(s.rest_bytes), "open_refused",
                                                 number(s.conns_refused), "listeners_refused", number(s.listeners_refused), "cut_off", number(f->cut_off)));
        part = json_object();
        json_object_set_new(part, "state", json_string(f->conntrack_on && !f->conntrack_problem ? "on" : f->conntrack_on ? "partly" : "off"));
        json_object_set_new(part, "problem", text(f->conntrack_problem));
        json_object_set_new(part, "translations", number(conntrack.entries));
        json_object_set_new(part, "messages", number(f->conntrack_messages));
        json_object_set_new(part, "refused", number(f->conntrack_refused));
        json_object_set_new(part, "overruns", number(f->conntrack_overruns));
        json_object_set_new(part, "evicted", number(conntrack.evicted));
        json_object_set_new(o, "conntrack", part);
        part = json_object();
        json_object_set_new(part, "state", json_string(f->sockets && !f->walk_problem ? "on" : f->sockets ? "failed" : "off"));
        json_object_set_new(part, "problem", text(f->walk_problem));
        json_object_set_new(part, "walks", number(walks.walks));
        json_object_set_new(part, "sockets", number(walks.sockets));
        json_object_set_new(part, "took_us", number(walks.took_us));
        json_object_set_new(part, "refused", number(walks.refused));
        json_object_set_new(part, "failed", number(f->walks_failed));
        json_object_set_new(part, "entered", number(walks.entered));
        json_object_set_new(part, "not_entered", number(walks.not_entered));
        json_object_set_new(part, "forgotten", number(walks.forgotten));
        json_object_set_new(o, "walk", part);
        if (f->datagrams)
                bh_datagrams_stats(f->datagrams, &datagrams);
        if (f->unixes)
                bh_unixes_stats(f->unixes, &unixes);
        part = json_object();
        json_object_set_new(part, "state", json_string(datagrams.attached ? "on" : f->datagrams_problem ? "failed" : "off"));
        json_object_set_new(part, "problem", text(f->datagrams_problem));
        json_object_set_new(part, "followed", number(datagrams.followed));
        json_object_set_new(part, "refused", number(datagrams.refused));
        json_object_set_new(part, "attached", number(datagrams.attached_times));
        json_object_set_new(o, "written_datagrams", part);
        part = json_object();
        json_object_set_new(part, "state", json_string(f->unix_problem ? "failed" : unixes.backend ? "on" : "off"));
        json_object_set_new(part, "problem", text(f->unix_problem));
        json_object_set_new(part, "backend", text(unixes.backend));
        json_object_set_new(part, "entries", number(unixes.entries));
        json_object_set_new(part, "bytes", number(unixes.bytes));
        json_object_set_new(part, "refused", number(unixes.refused));
        json_object_set_new(part, "refused_bytes", number(unixes.refused_bytes));
        json_object_set_new(part, "unaddressed", number(unixes.unaddressed));
        json_object_set_new(part, "unaddressed_bytes", number(unixes.unaddressed_bytes));
        json_object_set_new(o, "unix_sockets", part);
        part = json_object();
        json_object_set_new(part, "state", json_string(f->first_bytes && !f->protocol_problem ? "on" : f->first_bytes ? "failed" : "off"));
        json_object_set_new(part, "problem", text(f->protocol_problem));
        json_object_set_new(part, "attached_ms", number(bytes.attached_ms));
        json_object_set_new(part, "pieces", number(bytes.told));
        json_object_set_new(part, "lost", number(bytes.lost + bytes.unreadable));
        json_object_set_new(part, "refused", number(bytes.refused));
        json_object_set_new(part, "recognised", number(f->recognised));
        json_object_set_new(o, "protocols", part);
        g_mutex_unlock(&f->lock);
        return o;
}

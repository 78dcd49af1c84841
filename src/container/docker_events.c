/* SPDX-License-Identifier: Apache-2.0 */
/* Events of the Docker Engine's stream, and what is known of each container because of them. */
#include "container/docker_private.h"

#include <string.h>

#include "container/docker_diff.h"
#include "container/docker_json.h"

/* What is kept of a line over the bound. g_strrstr_len needs no NUL after the tail, but strtoull a byte that is no digit: there is "}". */
#define LINE_HEAD 16384u
#define LINE_TAIL 128u

/* Takes the reference to c. */
void bh_docker_publish(BhDocker *d, Known *k, BhContainer *c) {
        bh_container_unref(k->c);
        k->c = c;
        if (d->config.on_container)
                d->config.on_container(c, d->config.data);
}

void bh_docker_deliver(BhDocker *d, BhRuntimeEvent *ev) {
        if (ev->synthetic)
                COUNT(d, events_synthetic);
        else
                COUNT(d, events);
        if (d->config.on_event)
                d->config.on_event(ev, d->config.data);
}

void bh_docker_want_inspect(BhDocker *d, const char *id, Known *k) {
        if (k->removed)
                return;
        if (k->inflight) {
                k->again = TRUE;
        } else if (!k->queued) {
                k->queued = TRUE;
                g_queue_push_tail(&d->jobs, g_strdup(id));
        }
}

static void want_resync(BhDocker *d) {
        if (!d->resync_at_us)
                d->resync_at_us = g_get_monotonic_time() + RESYNC_DELAY_US;
}

Known *bh_docker_add_known(BhDocker *d, const char *id) {
        if (g_hash_table_size(d->known) >= BH_DOCKER_MAX_CONTAINERS) {
                COUNT(d, containers_refused);
                return NULL;
        }
        Known *k = g_new0(Known, 1);
        k->first_seen_us = g_get_monotonic_time();
        g_hash_table_insert(d->known, g_strdup(id), k);
        return k;
}

void bh_docker_checked(BhDocker *d, Known *k) {
        if (!k->check)
                return;
        k->check = FALSE;
        k->fresh = FALSE;
        if (--d->unchecked == 0 && d->phase == UP && !d->listed) {
                d->listed = TRUE;
                bh_docker_tell_state(d);
                bh_docker_gather_soon(d);
        }
}

void bh_docker_not_missing(BhDocker *d, Known *k) {
        if (k->gone_at_us) {
                k->gone_at_us = 0;
                d->missing--;
        }
}

static gboolean exec_of(gpointer key, gpointer value, gpointer id) {
        const Exec *e = value;

        return !e->inflight && !strcmp(e->container_id, id);
}

void bh_docker_forget(BhDocker *d, const char *id, Known *k) {
        k->removed = TRUE;
        bh_docker_not_missing(d, k);
        bh_docker_checked(d, k);
        g_hash_table_foreach_remove(d->execs, exec_of, (gpointer) id);
        if (!k->inflight)
                g_hash_table_remove(d->known, id);
}

static gboolean exec_is_stale(gpointer key, gpointer value, gpointer now) {
        const Exec *e = value;

        return !e->started && !e->inflight && e->created_us + EXEC_STALE_US < *(gint64 *) now;
}

static void exec_event(BhDocker *d, BhRuntimeEvent *ev) {
        gint64 now = g_get_monotonic_time();
        Exec *e = g_hash_table_lookup(d->execs, ev->exec_id);
        gboolean begins = !strcmp(ev->action, "exec_create") || !strcmp(ev->action, "exec_start");

        if (!bh_docker_id_is_safe(ev->exec_id))
                return;
        if (!e && begins) {
                if (g_hash_table_size(d->execs) >= BH_DOCKER_MAX_EXECS)
                        g_hash_table_foreach_remove(d->execs, exec_is_stale, &now);
                if (g_hash_table_size(d->execs) >= BH_DOCKER_MAX_EXECS) {
                        COUNT(d, execs_refused);
                        return;
                }
                e = g_new0(Exec, 1);
                e->container_id = g_strdup(ev->actor_id);
                e->command = g_strdup(ev->exec_command);
                e->created_us = now;
                g_hash_table_insert(d->execs, g_strdup(ev->exec_id), e);
        }
        if (!e)
                return;
        if (!*ev->exec_command) {
                g_free(ev->exec_command);
                ev->exec_command = g_strdup(e->command);
        }
        ev->exec_pid = e->pid;
        if (!strcmp(ev->action, "exec_start") && !e->started) {
                /* the event precedes the process: ask at once, and again until it has a pid */
                e->started = TRUE;
                e->next_at_us = now;
        } else if (!strcmp(ev->action, "exec_die")) {
                e->ended = TRUE;
                if (!e->inflight && !e->next_at_us)
                        g_hash_table_remove(d->execs, ev->exec_id);
        }
}

static void container_event(BhDocker *d, BhRuntimeEvent *ev) {
        static const char *const inspected[] = { "create", "start", "restart", "rename", "update", "health_status", "pause", "unpause", "die", "oom" };
        Known *k = g_hash_table_lookup(d->known, ev->actor_id);
        gboolean destroyed = !strcmp(ev->action, "destroy");
        BhContainer *next = NULL;

        if (k && k->removed)
                k = NULL;
        if (k && bh_docker_concluded_already(k, ev)) {
                COUNT(d, events_duplicate);
                bh_docker_not_missing(d, k);
                bh_docker_want_inspect(d, ev->actor_id, k);
                return;
        }
        if (k) {
                bh_docker_not_missing(d, k);
                next = bh_container_dup(k->c);
                if (!bh_docker_apply_event(next, ev))
                        g_clear_pointer(&next, bh_container_unref);
        } else {
                next = bh_docker_event_container(ev);
                bh_docker_apply_event(next, ev);
                /* one that was destroyed before, or is being, needs no place */
                if (!destroyed && !g_hash_table_contains(d->known, ev->actor_id))
                        k = bh_docker_add_known(d, ev->actor_id);
                if (k && strcmp(ev->action, "create")) {
                        k->ungrounded = d->cutoff_ns == 0;
                        k->fresh = !k->ungrounded;
                }
        }
        if (k && next) {
                bh_docker_publish(d, k, next);
        } else if (next) {
                if (d->config.on_container)
                        d->config.on_container(next, d->config.data);
        }
        ev->container = bh_container_ref(k ? k->c : next);
        if (!k)
                bh_container_unref(next);

        if (*ev->exec_id)
                exec_event(d, ev);
        if (k && destroyed)
                bh_docker_conclude_end(d, k);
        if (k)
                bh_docker_tell(d, k, ev);
        else
                bh_docker_deliver(d, ev);

        /* of a project or a task: there is something to say about what it belongs to */
        if (ev->container && (*ev->container->application || bh_container_label(ev->container, "com.docker.swarm.service.id")) && (destroyed || !strcmp(ev->action, "create") || !strcmp(ev->action, "start") || !strcmp(ev->action, "die")))
                bh_docker_gather_soon(d);
        for (gsize i = 0; k && i < G_N_ELEMENTS(inspected); i++)
                if (!strcmp(ev->action, inspected[i]))
                        bh_docker_want_inspect(d, ev->actor_id, k);
        if (k && (!strcmp(ev->action, "die") || destroyed))
                g_hash_table_foreach_remove(d->execs, exec_of, ev->actor_id);
        if (k && destroyed)
                bh_docker_forget(d, ev->actor_id, k);
}

/* An event that a replay may repeat is told apart by its whole text: the engine writes the same event the same way each time. */
static gboolean is_replayed(BhDocker *d, const char *line, gsize len) {
        g_autofree char *key = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *) line, len);

        if (g_hash_table_contains(d->replayed, key))
                return TRUE;
        if (g_queue_get_length(&d->replay_order) >= REPLAY_KEYS)
                g_hash_table_remove(d->replayed, g_queue_pop_head(&d->replay_order));
        g_queue_push_tail(&d->replay_order, key);
        g_hash_table_add(d->replayed, g_steal_pointer(&key));
        return FALSE;
}

static void event_line(BhDocker *d, char *line, gsize len) {
        if (len && line[len - 1] == '\r')
                len--;
        if (!len)
                return;
        if (is_replayed(d, line, len)) {
                COUNT(d, events_duplicate);
                return;
        }

        json_t *doc = bh_docker_json_load(line, len, NULL);
        g_autoptr(BhRuntimeEvent) ev = doc ? bh_docker_json_event(doc, NULL) : NULL;

        json_decref(doc);
        if (!ev || (ev->kind == BH_RUNTIME_CONTAINER && !bh_docker_id_is_safe(ev->actor_id))) {
                COUNT(d, events_bad);
                want_resync(d);
                return;
        }
        if (ev->time_ns)
                d->last_event_ns = ev->time_ns;
        if (ev->kind == BH_RUNTIME_CONTAINER) {
                container_event(d, ev);
                return;
        }

        /* a network's or a volume's event names the container that it concerns */
        const char *id = ev->kind == BH_RUNTIME_NETWORK || ev->kind == BH_RUNTIME_VOLUME ? bh_runtime_event_attribute(ev, "container") : NULL;
        Known *k = id ? g_hash_table_lookup(d->known, id) : NULL;
        if (k)
                ev->container = bh_container_ref(k->c);
        if (ev->kind == BH_RUNTIME_IMAGE && strcmp(ev->action, "push") && strcmp(ev->action, "save"))
                g_hash_table_remove_all(d->images);
        bh_docker_deliver(d, ev);
        bh_docker_gather_soon(d);
        if (k && ev->kind == BH_RUNTIME_NETWORK)
                bh_docker_want_inspect(d, id, k);
}

/*
 * A container with a mebibyte of labels must not be able to keep its life out of the record: of a line over the bound, type, action and
 * actor stand before the attributes and the time after them, so the event is rebuilt without attributes and the rest is inspected.
 */
static void refused_line(BhDocker *d, const char *head, const char *tail, gsize tail_len) {
        static const char *const keys[] = { "\"Type\":\"", "\"Action\":\"", "\"Actor\":{\"ID\":\"" };
        const char *raw[G_N_ELEMENTS(keys)] = { NULL };
        gsize len[G_N_ELEMENTS(keys)] = { 0 };
        const char *time = g_strrstr_len(tail, (gssize) tail_len, "\"timeNano\":");
        gboolean whole = time != NULL;

        COUNT(d, events_refused);
        for (gsize i = 0; whole && i < G_N_ELEMENTS(keys); i++) {
                /* inside a string the quotes would be escaped, so this is no text of a label's */
                const char *at = strstr(head, keys[i]);

                if (at) {
                        raw[i] = at + strlen(keys[i]);
                        while (raw[i][len[i]] && raw[i][len[i]] != '"')
                                len[i] += raw[i][len[i]] == '\\' && raw[i][len[i] + 1] ? 2 : 1;
                }
                whole = at && raw[i][len[i]] == '"';
        }
        if (!whole) {
                want_resync(d);
                return;
        }
        g_autofree char *text = g_strdup_printf("{\"Type\":\"%.*s\",\"Action\":\"%.*s\",\"Actor\":{\"ID\":\"%.*s\",\"Attributes\":{\"\":null}},\"timeNano\":%" G_GUINT64_FORMAT "}",
                                                (int) len[0], raw[0], (int) len[1], raw[1], (int) len[2], raw[2],
                                                g_ascii_strtoull(time + strlen("\"timeNano\":"), NULL, 10));
        event_line(d, text, strlen(text));
}

void bh_docker_event_lines(BhDocker *d, BhDockerRequest *r, char **skipped) {
        gsize from = 0;

        while (from < r->body->len) {
                char *p = (char *) r->body->data + from;
                char *end = memchr(p, '\n', r->body->len - from);

                if (!end)
                        break;
                gsize len = (gsize) (end - p), tail = MIN(len, LINE_TAIL);
                if (*skipped) {
                        refused_line(d, *skipped, end - tail, tail);
                        g_clear_pointer(skipped, g_free);
                } else if (len > d->max_line) {
                        g_autofree char *head = g_strndup(p, MIN(d->max_line, LINE_HEAD));

                        refused_line(d, head, end - tail, tail);
                } else {
                        event_line(d, p, len);
                }
                from += len + 1;
        }
        if (from)
                g_byte_array_remove_range(r->body, 0, (guint) from);
        if (!*skipped && r->body->len > d->max_line)
                *skipped = g_strndup((const char *) r->body->data, MIN(d->max_line, LINE_HEAD));
        if (*skipped && r->body->len > LINE_TAIL)
                g_byte_array_remove_range(r->body, 0, r->body->len - LINE_TAIL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of the Docker Engine to requests: listings, inspects, execs, images. */
#include "container/docker_private.h"

#include <string.h>

#include "container/docker_diff.h"
#include "container/docker_json.h"

void bh_docker_list_answer(BhDocker *d, BhDockerRequest *r, CURLcode result) {
        gint64 now = g_get_monotonic_time();
        g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        gboolean initial = d->cutoff_ns == 0;
        GHashTableIter it;
        gpointer id, p;
        size_t i;
        json_t *entry;
        json_t *doc = NULL;

        if (result == CURLE_OK && r->status == 200)
                doc = bh_docker_json_load((char *) r->body->data, r->body->len, NULL);
        d->phase = UP;
        if (!json_is_array(doc)) {
                if (r->too_large)
                        COUNT(d, bodies_refused);
                else
                        COUNT(d, bodies_bad);
                bh_docker_set_error(d, r->too_large ? "the Docker Engine's list of containers is larger than 64 MiB and was refused: look for containers with huge labels"
                                          : "the Docker Engine's list of containers could not be read: look at its log; it is tried again by itself");
                d->resync_at_us = now + 5 * SECOND_US;
                json_decref(doc);
                bh_docker_tell_state(d);
                return;
        }
        d->not_answering = FALSE;
        if (d->error)
                bh_docker_set_error(d, NULL);

        json_array_foreach(doc, i, entry) {
                g_autoptr(BhContainer) c = bh_docker_json_list_entry(entry, NULL);

                if (!c) {
                        COUNT(d, bodies_bad);
                        continue;
                }
                Known *k = g_hash_table_lookup(d->known, c->id);
                if (k && k->removed)
                        continue;
                g_hash_table_add(seen, g_strdup(c->id));
                if (!k) {
                        k = bh_docker_add_known(d, c->id);
                        if (!k)
                                continue;
                        k->fresh = !initial;
                        bh_docker_publish(d, k, bh_container_ref(c));
                        if (initial)
                                bh_docker_listed_first(k);
                }
                bh_docker_not_missing(d, k);
                if (!k->check) {
                        k->check = TRUE;
                        d->unchecked++;
                }
                k->tries = 0;
                bh_docker_want_inspect(d, c->id, k);
        }
        json_decref(doc);

        g_hash_table_iter_init(&it, d->known);
        while (g_hash_table_iter_next(&it, &id, &p)) {
                Known *k = p;

                if (!k->removed && !k->gone_at_us && k->first_seen_us < r->started_us && !g_hash_table_contains(seen, id)) {
                        k->gone_at_us = now + GONE_GRACE_US;
                        d->missing++;
                }
        }
        d->listed = d->unchecked == 0;
        bh_docker_tell_state(d);
}

/* What the engine's image says, on an unpublished description. TRUE if it is known. */
static gboolean apply_image(BhDocker *d, BhContainer *c) {
        const Image *image = g_hash_table_lookup(d->images, c->image_id);

        if (!image)
                return FALSE;
        bh_container_set(c, &c->image_digest, image->digest);
        bh_container_set_list(c, &c->layers, (const char *const *) image->layers, -1);
        return TRUE;
}

static void ask_image(BhDocker *d, BhContainer *c) {
        if (apply_image(d, c) || !bh_docker_id_is_safe(c->image_id) || g_hash_table_contains(d->asked, c->image_id))
                return;
        g_autofree char *path = g_strdup_printf("/images/%s/json", c->image_id);
        g_autofree char *target = g_strdup_printf("%s %s", c->image_id, c->image);

        g_hash_table_add(d->asked, g_strdup(c->image_id));
        bh_docker_ask(d, REQ_IMAGE, target, path, SHORT_TIMEOUT_MS);
}

void bh_docker_image_answer(BhDocker *d, BhDockerRequest *r, CURLcode result) {
        g_auto(GStrv) parts = g_strsplit(r->target, " ", 2);
        const char *image_id = parts[0];
        Image *image = g_new0(Image, 1);
        GHashTableIter it;
        gpointer id, p;

        g_hash_table_remove(d->asked, image_id);
        if (result == CURLE_OK && r->status == 200) {
                json_t *doc = bh_docker_json_load((char *) r->body->data, r->body->len, NULL);

                if (doc) {
                        image->digest = bh_docker_json_image_digest(doc, parts[1]);
                        image->layers = bh_docker_json_image_layers(doc);
                } else {
                        COUNT(d, bodies_bad);
                }
                json_decref(doc);
        }
        /* no digest (a local build, an image already deleted) is remembered as well */
        if (!image->digest)
                image->digest = g_strdup("");
        if (!image->layers)
                image->layers = g_new0(char *, 1);
        if (g_hash_table_size(d->images) >= DIGEST_CACHE)
                g_hash_table_remove_all(d->images);
        g_hash_table_insert(d->images, g_strdup(image_id), image);
        if (!*image->digest && !image->layers[0])
                return;
        g_hash_table_iter_init(&it, d->known);
        while (g_hash_table_iter_next(&it, &id, &p)) {
                Known *k = p;

                if (!k->removed && !*k->c->image_digest && !k->c->layers[0] && !strcmp(k->c->image_id, image_id)) {
                        BhContainer *c = bh_container_dup(k->c);
                        apply_image(d, c);
                        bh_docker_publish(d, k, c);
                }
        }
}

/* What events told since the inspect was asked for outweighs its answer. */
static void keep_younger(BhContainer *c, const BhContainer *known, gboolean removed) {
        c->state = removed ? BH_CONTAINER_REMOVED : known->state;
        c->started_ns = MAX(c->started_ns, known->started_ns);
        c->finished_ns = MAX(c->finished_ns, known->finished_ns);
        c->exit_code = known->exit_code;
        c->oom_killed |= known->oom_killed;
        if (c->state != BH_CONTAINER_RUNNING && c->state != BH_CONTAINER_PAUSED)
                c->init_pid = 0;
}

/* The engine describes the last run alone; those before are what was told of them. */
static void keep_runs(BhContainer *c, const BhContainer *known) {
        g_autoptr(BhContainer) now = bh_container_new("", "");

        bh_container_take_runs(now, c);
        bh_container_take_runs(c, known);
        for (guint i = 0; i < now->runs->len; i++) {
                const BhRun *r = &g_array_index(now->runs, BhRun, i);

                bh_container_add_run(c, r->started_ns, r->finished_ns, r->exit_code, r->oom_killed, r->error, TRUE);
        }
}

void bh_docker_inspect_answer(BhDocker *d, BhDockerRequest *r, CURLcode result) {
        Known *k = g_hash_table_lookup(d->known, r->target);
        g_autoptr(BhContainer) c = NULL;

        if (!k)
                return;
        k->inflight = FALSE;
        if (result == CURLE_OK && r->status == 200) {
                json_t *doc = bh_docker_json_load((char *) r->body->data, r->body->len, NULL);

                c = doc ? bh_docker_json_inspect(doc, NULL) : NULL;
                json_decref(doc);
                if (!c || strcmp(c->id, r->target)) {
                        COUNT(d, bodies_bad);
                        g_clear_pointer(&c, bh_container_unref);
                }
        } else if (r->too_large) {
                COUNT(d, bodies_refused);
        }

        if (c) {
                g_autoptr(BhContainer) before = bh_container_ref(k->c);

                COUNT(d, inspects);
                k->tries = 0;
                if (k->again || k->removed)
                        keep_younger(c, before, k->removed);
                if ((*before->image_digest || before->layers[0]) && !strcmp(before->image_id, c->image_id)) {
                        bh_container_set(c, &c->image_digest, before->image_digest);
                        bh_container_set_list(c, &c->layers, (const char *const *) before->layers, -1);
                } else {
                        ask_image(d, c);
                }
                keep_runs(c, before);
                bh_docker_apply_info(c, &d->info);
                bh_docker_publish(d, k, g_steal_pointer(&c));
                if (!k->again && !k->removed)
                        bh_docker_conclude(d, k);
        } else {
                COUNT(d, inspects_failed);
                /* 404: destroyed meanwhile; the event says so, unless it was lost */
                if (r->status == 404 && !k->removed && !k->gone_at_us) {
                        k->gone_at_us = g_get_monotonic_time() + GONE_GRACE_US;
                        d->missing++;
                }
                if (r->status == 404 || r->too_large || ++k->tries >= INSPECT_TRIES)
                        bh_docker_conclude(d, k);
                else
                        k->again = TRUE;
        }
        if (k->removed) {
                g_hash_table_remove(d->known, r->target);
        } else if (k->again) {
                k->again = FALSE;
                bh_docker_want_inspect(d, r->target, k);
        }
}

void bh_docker_exec_answer(BhDocker *d, BhDockerRequest *r, CURLcode result) {
        Exec *e = g_hash_table_lookup(d->execs, r->target);
        Known *k = e ? g_hash_table_lookup(d->known, e->container_id) : NULL;
        gboolean running = FALSE;
        gint32 pid = 0;

        if (!e)
                return;
        e->inflight = FALSE;
        /* with the container, its execs are over, whether the engine says so or not */
        e->ended |= !k || k->removed || k->c->state == BH_CONTAINER_EXITED;
        if (result == CURLE_OK && r->status == 200) {
                json_t *doc = bh_docker_json_load((char *) r->body->data, r->body->len, NULL);

                if (!doc || !bh_docker_json_exec(doc, &pid, &running, NULL))
                        COUNT(d, bodies_bad);
                json_decref(doc);
        }
        if (pid) {
                g_autoptr(BhRuntimeEvent) ev = bh_runtime_event_new(BH_RUNTIME_CONTAINER, "container", "exec_running", e->container_id, wall_ns());

                e->pid = pid;
                ev->synthetic = TRUE;
                ev->exec_pid = pid;
                g_free(ev->exec_id);
                ev->exec_id = g_strdup(r->target);
                g_free(ev->exec_command);
                ev->exec_command = g_strdup(e->command);
                ev->container = k ? bh_container_ref(k->c) : NULL;
                e->next_at_us = 0;
                bh_docker_deliver(d, ev);
        } else if (r->status == 404 || e->tries >= EXEC_TRIES) {
                e->next_at_us = 0;
                e->ended |= r->status == 404;
        } else {
                e->next_at_us = g_get_monotonic_time() + (5000LL << e->tries++);
        }
        if (e->ended && !e->next_at_us)
                g_hash_table_remove(d->execs, r->target);
}

/* Containers that a listing no longer had and whose destroy event did not come either. */
void bh_docker_run_missing(BhDocker *d, gint64 now, gint64 *wake) {
        g_autoptr(GPtrArray) gone = g_ptr_array_new_with_free_func(g_free);
        GHashTableIter it;
        gpointer id, p;

        if (!d->missing)
                return;
        g_hash_table_iter_init(&it, d->known);
        while (g_hash_table_iter_next(&it, &id, &p)) {
                Known *k = p;

                if (k->gone_at_us && k->gone_at_us <= now)
                        g_ptr_array_add(gone, g_strdup(id));
                else
                        earlier(wake, k->gone_at_us);
        }
        for (guint i = 0; i < gone->len; i++) {
                Known *k = g_hash_table_lookup(d->known, gone->pdata[i]);
                BhContainer *c = bh_container_dup(k->c);

                c->state = BH_CONTAINER_REMOVED;
                c->init_pid = 0;
                bh_docker_publish(d, k, c);
                bh_docker_conclude_end(d, k);
                g_autoptr(BhRuntimeEvent) ev = bh_runtime_event_new(BH_RUNTIME_CONTAINER, "container", "destroy", c->id, wall_ns());
                ev->synthetic = TRUE;
                ev->container = bh_container_ref(c);
                bh_docker_tell(d, k, ev);
                bh_docker_forget(d, gone->pdata[i], k);
        }
}
